"""Records made by hand, for tests of verdicts and reports: small ones, a rich diagnosis and a poor one."""

import itertools
import math
import random

from cenote import records

# Small records: each has a default for every field.


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


# A rich diagnosis: two models at two temperatures, with texts and names that are hard to show.

MARKUP = "<b>bold</b> <script>alert(1)</script> </script> <!-- & \" ' ` %{x} <img src=x onerror=alert(2)>"
EMOJI = "A boat 🚣🏽‍♀️ on the lake, and 👩‍👩‍👧 on the shore 🏞️ at dawn."
ARABIC = "هذا نص يُقرأ من اليمين إلى اليسار، وفيه رقم 42 وكلمة water."
SENTENCES = (
    "A cenote is a natural pit that forms where limestone bedrock collapses and exposes the groundwater beneath.",
    "The ferry leaves at seven; whoever misses it waits until noon, and there is no café on this side.",
    "Return the smallest index at which the element can be inserted so that the list stays sorted.",
    "She had kept every letter in a biscuit tin, tied with string, in the order in which they had come.",
    "Photosynthesis turns light into sugar, and leaves into the largest solar plant there is.",
)
BINS = ((0, 40), (40, 70), (70, 110), (110, 180), (180, 300), (300, None))
# Of each bin: tokens of a typical text, and texts.
MIDDLES, COUNTS = (25, 55, 90, 145, 240, 380), (168, 171, 160, 174, 165, 162)
PRE_NORM = "attention reads a normalised form of what the layer is given (pre-norm)"


def rising_curve(start, gain, notes=()):
    """A curve whose cosine rises with length, by `gain` with each 16-fold length."""
    cosines = [start + gain * math.log2(middle / 25) / 4 for middle in MIDDLES]
    gained = cosines[-1] - cosines[0]
    return length_curve(
        (gained, gained - 0.02, gained + 0.02),
        mean=start,
        deviation=0.11,
        bins=tuple(
            length_bin(low, high, cosine, count)
            for (low, high), count, cosine in zip(BINS, COUNTS, cosines, strict=True)
        ),
        rank_correlation=records.Estimate(0.41, 0.36, 0.46),
        slope_per_doubling=records.Estimate(gain / 4, None, None),
        notes=notes,
    )


def random_pairs(chance, severity, texts, shown=220):
    found = []
    for _ in range(shown):
        d_mu = min(0.95, max(0.02, chance.gauss(0.36, 0.1)))
        d_sigma = max(0.01, chance.gauss(severity, severity * 0.3) + 0.1 * (d_mu - 0.36))
        first, second = chance.sample(range(texts), 2)
        found.append(records.Pair(first, second, d_mu, d_sigma, (1 - d_mu) * d_sigma))
    found.sort(key=lambda pair: -pair.socm)
    highest = found[0].socm * 1.05
    edges = tuple(highest * step / 20 for step in range(21))
    counts = tuple(sum(low <= pair.socm < high for pair in found) for low, high in itertools.pairwise(edges))
    return pairs(
        texts=1000,
        pairs=499_500,
        mean=records.Estimate(0.64 * severity, 0.6 * severity, 0.68 * severity),
        d_mu=spread(0.36),
        d_sigma=spread(severity),
        socm=spread(0.64 * severity),
        severe=0.0 if severity < 0.5 else 0.07,
        histogram=histogram(edges, counts),
        shown=tuple(found[10:]),
        worst=tuple(found[:10]),
    )


def layer(index, depth, pre_norm, softer):
    up = index / (depth - 1)
    bump = math.sin(2.5 * up)
    measures = {
        "concentration": spread((2.4 - 1.7 * up + 0.3 * bump) / softer),
        "token_cosine": spread((0.28 + 0.3 * up) * softer, 0.15),
        "filter_rate": spread((-0.12 + 0.2 * bump - 0.2 * up) * softer),
        "sigma_a": spread(0.55 - 0.1 * up),
        "logit_variance": spread((2.1 + up) / softer**2 - depth / 12),
        "sigma_a_bound": spread(0.31),
        "filter_bound": spread(1.9 + 0.2 * bump),
        "attention_rate": spread(-(0.75 + 0.5 * up) * softer),
        "attention_bound": spread(0.62 - 0.2 * up),
        "contraction": spread((0.09 + 0.1 * bump) / softer, 0.6),
        "residual_ratio": PRE_NORM if pre_norm else spread((1.9 - 1.2 * up) / softer),
        "block_ratio": PRE_NORM if pre_norm else spread(0.85 + 0.2 * bump * softer),
    }
    if index == 0:
        measures["filter_rate"] = "what the first layer reads was not kept"
    return records.LayerSummary(index, measures)


def rich_run(chance, temperature, severity, gain, depth, texts, *, pre_norm=False, given=False):
    softer = 1 if temperature == "1" else 0.85
    moved = records.Change(records.Estimate(-0.02, -0.03, -0.01), records.Estimate(0.001, -0.002, 0.004))
    return run(
        temperature,
        change=None if temperature == "1" else moved,
        length=rising_curve(0.31 * softer, gain * softer, ("The last bin is open: its longest text has 512 tokens.",)),
        pairs=random_pairs(chance, severity * softer, texts),
        given_pairs=random_pairs(chance, severity * 1.2, texts, shown=60) if given else None,
        traced=96,
        layers=tuple(layer(index, depth, pre_norm, softer) for index in range(depth)),
        passed=tuple(
            records.Passed(low, high, 16, (0.98 - depth / 100) * middle**-0.13 / softer, 0.84 * middle**-0.25 / softer)
            for (low, high), middle in zip(BINS, MIDDLES, strict=True)
        ),
        repeated=records.Repeated(
            words=("dog", "cat"),
            tokens=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            cosines=tuple(0.66 + gain * softer * step / 9 for step in range(9)),
        ),
    )


def rich_lengths(limit, scale):
    middles = [20 * step + 10 for step in range(26)]
    counts = tuple(round(230 * math.exp(-((math.log(middle / (95 * scale))) ** 2) / 0.8)) for middle in middles)
    return lengths(
        limit=limit,
        tokens=records.Spread(1000, 131.2 * scale, 38.0, 97.0 * scale, 271.0),
        histogram=histogram(tuple(float(20 * step) for step in range(27)), counts),
        cut=sum(count for middle, count in zip(middles, counts, strict=True) if middle > limit),
        unseen=0.137 / scale,
    )


MINILM, E5 = "all-MiniLM-L6-v2", "e5-base-v2"
VERDICTS = tuple(
    verdict(model=name, subject=subject, grade=grade, finding=finding, advice=advice)
    for name, subject, grade, finding, advice in (
        (MINILM, "Truncation", "severe", "It never reads 13.7 % of the tokens.", "Embed long texts in windows."),
        (MINILM, "Length collapse", "moderate", "Long texts lie 0.11 closer together.", "Try a temperature of 0.9."),
        (E5, "Length collapse", "slight", "Long texts lie 0.05 closer together.", "Nothing needs to be done."),
        (MINILM, "Second-order collapse", "slight", "Mean SOCM is 0.20.", "Read the worst pairs below."),
        (E5, "Second-order collapse", "none", "Mean SOCM is 0.03.", "Nothing needs to be done."),
        (E5, "Truncation", "unknown", "The model names no limit of its own.", "Set max_seq_length and run again."),
    )
)


def rich_diagnosis():
    chance = random.Random(7)  # noqa: S311 - points for a figure
    texts = [MARKUP, EMOJI, ARABIC, *(SENTENCES[place % 5] + f" ({place})" for place in range(40))]
    count = len(texts)
    minilm = model(
        rich_run(chance, "1", 0.31, 0.27, 6, count, given=True),
        rich_run(chance, "0.8", 0.31, 0.27, 6, count),
        name=MINILM,
        architecture="BertModel, 6 layers",
        fingerprint="b3c1f09a77e2d4c8",
        revision="c9745ed1d9f2",
        lengths=rich_lengths(256, 1.0),
        words=rising_curve(0.22, 0.17),
    )
    other = model(
        rich_run(chance, "1", 0.06, 0.12, 12, count, pre_norm=True),
        rich_run(chance, "0.8", 0.06, 0.12, 12, count, pre_norm=True),
        name='evil/<i>model</i> & "e5"',
        architecture="XModel, 12 layers",
        pooling="cls",
        dimensions=768,
        fingerprint="0f6b22d1c5a94e37",
        lengths=rich_lengths(512, 1.15),
    )
    marked = dict.fromkeys(("finding", "evidence", "limit", "advice"), MARKUP)
    return records.Diagnosis(
        schema=1,
        texts=records.TextsRead(
            source="wiki & <texts>.jsonl", given=5432, used=1000, empty=3, fingerprint="9f2c41aa80b1"
        ),
        verdicts=(*VERDICTS, records.Verdict(model=other.name, subject="Texts </section>", grade="none", **marked)),
        models=(minilm, other),
        excerpts=tuple(records.Excerpt(f"texts.jsonl:{place}", text) for place, text in enumerate(texts)),
        settings={"seed": 0, "limit": 1000, "temperatures": [1.0, 0.8], "note": MARKUP},
        versions={"cenote": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "python": "3.11.2"},
    )


def poor_diagnosis():
    """A diagnosis of two texts, in which next to nothing was measured."""
    tiny = model(
        run(length=length_curve(None, closeness=None, bins=(), notes=("Fewer than 20 texts: no bins.",))),
        name="tiny",
        architecture="TinyModel",
        dimensions=8,
        fingerprint="00",
        lengths=lengths(
            limit=None, tokens=records.Spread(2, 3.0, 3.0, 3.0, 3.0), histogram=histogram((), ()), longest=0.0
        ),
    )
    few = verdict(
        model="tiny",
        subject="Length collapse",
        grade="unknown",
        finding="Two texts are too few to say.",
        evidence="2 texts.",
        limit="",
        advice="Give more texts.",
    )
    return records.Diagnosis(
        schema=1,
        texts=records.TextsRead(source="two texts", given=2, used=2, empty=0, fingerprint="aa"),
        verdicts=(few,),
        models=(tiny,),
        excerpts=(),
        settings={"seed": 0},
        versions={"cenote": "0.1.0"},
    )
