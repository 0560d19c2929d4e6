"""Small records made by hand, for tests of verdicts and reports: each has a default for every field."""

from cenote import records


def spread(mean, width=0.25, count=96):
    return records.Spread(count, mean, mean - abs(mean) * width, mean * 0.98, mean + abs(mean) * width)


def texts_read(**fields):
    default = {"source": "a list", "given": 100, "used": 100, "empty": 0, "fingerprint": "ab"}
    return records.TextsRead(**default | fields)


def verdict(**fields):
    words = {"finding": "cut", "evidence": "so", "limit": "far", "advice": "embed --long"}
    return records.Verdict(**{"model": "m", "subject": "truncation", "grade": "severe"} | words | fields)


def histogram(edges=(0.0, 1.0), counts=(1,)):
    return records.Histogram(edges, counts)


def lengths(**fields):
    default = {"limit": 256, "tokens": records.Spread(100, 60, 10, 50, 300), "histogram": histogram()}
    return records.Lengths(**default | {"cut": 0, "unseen": 0.0, "longest": 0.1} | fields)


def length_bin(low, high, cosine=0.1, count=50):
    return records.LengthBin(
        low=low,
        high=high,
        count=count,
        cosine=records.Estimate(cosine, cosine - 0.012, cosine + 0.013),
        distance=0.9 - cosine / 3,
        uniformity=records.Estimate(-3.2 + cosine, -3.26 + cosine, -3.15 + cosine),
        effective_rank=118.4 - 90 * cosine,
    )


def length_curve(difference=(0.0, -0.01, 0.01), *, mean=0.1, deviation=0.1, **fields):
    """A curve of two bins; `difference` is a value and its interval, `mean` that of all cosines."""
    bins = (length_bin(0, 100), length_bin(100, None))
    default = {"closeness": records.Closeness(spread(mean), deviation), "bins": bins, "notes": ()}
    trend = {"difference": records.Estimate(*difference) if difference else None, "rank_correlation": None}
    return records.LengthCurve(**default | trend | {"slope_per_doubling": None} | fields)


def pairs(socm=0.01, /, **fields):
    default = {"texts": 100, "pairs": 4950, "mean": records.Estimate(socm, socm / 1.1, socm * 1.1)}
    spreads = dict.fromkeys(("d_mu", "d_sigma", "socm"), spread(socm))
    drawn = {"severe": min(1.0, socm), "histogram": histogram(), "shown": (), "worst": ()}
    return records.Pairs(**default | spreads | drawn | fields)


def repeated(last=0.1, first=0.6):
    return (records.Repeated(words=("dog", "cat"), tokens=(3, 256), cosines=(first, last)),)


def run(temperature="1", **fields):
    default = {"change": None, "length": length_curve(), "pairs": None, "given_pairs": None, "repeated": None}
    return records.Run(temperature, **default | {"traced": 0, "untraced": None, "layers": (), "passed": ()} | fields)


def model(*runs, **fields):
    words = {"name": "m", "architecture": "Bert", "pooling": "mean", "temperature": "1", "dimensions": 384}
    default = {"fingerprint": "ab", "revision": None, "lengths": lengths(), "words": None, "runs": runs or (run(),)}
    return records.ModelDiagnosis(**words | default | fields)
