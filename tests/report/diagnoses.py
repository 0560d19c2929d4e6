"""Two diagnoses made by hand: a rich one of two models at two temperatures, and a poor one.

The texts and names of the rich one are hard to show.
"""

import itertools
import math
import random

from cenote import records

from ..builders import histogram, length_bin, length_curve, lengths, spread, verdict

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
MINILM, EVIL = "all-MiniLM-L6-v2", 'evil/<i>model & "e5"'
EVIL_SHOWN = '<i>model & "e5"'


def estimate(value, width=0.03):
    return records.Estimate(value, value - width, value + width)


def shares(found, cut, pooled, missed):
    names = ("found", "lost_to_cut", "lost_to_pooling", "not_found")
    return {
        name: records.Estimate(value, max(0.0, value - 0.03), min(1.0, value + 0.03))
        for name, value in zip(names, (found, cut, pooled, missed), strict=True)
    }


def setting(change, *, width=0.02, rows=1.0):
    return records.Setting(
        **shares(0.6 + change, 0.1, 0.25 - change, 0.05),
        left_out=estimate(0.4 + change / 2),
        change=estimate(change, width),
        change_left_out=estimate(change / 2, 0.04),
        of_cut=0.05,
        of_pooling=0.1,
        rows=rows,
    )


def account(**fields):
    """An account whose examples are the excerpts 0 to 7."""
    part_shares = {"first": (0.9, 0.0, 0.1, 0.0), "last": (0.3, 0.3, 0.3, 0.1), "cut": (0.2, 0.6, 0.1, 0.1)}
    parts = [("position", "first"), ("position", "last"), ("length", "cut"), ("reading", "read")]
    default = {
        "documents": 200,
        "sentences": 600,
        "reciprocal_rank": estimate(0.7),
        "in_ten": estimate(0.8),
        "left_out": estimate(0.4),
        "left_out_reciprocal_rank": estimate(0.5),
        "parts": tuple(
            records.Part(**shares(*part_shares.get(name, (0.6, 0.1, 0.25, 0.05))), by=by, name=name, sentences=200)
            for by, name in parts
        ),
        "settings": {
            "pooling cls": setting(-0.1),
            "windows of 128 tokens, best": setting(0.08, rows=1.6),
            "pooling max": setting(0.005),
        },
        "examples": (
            records.Example("found", "first", 3, 4, None),
            records.Example("lost_to_cut", "last", 0, 5, 6),
            records.Example("lost_to_pooling", "middle", 1, 2, 0),
        ),
        "beside": records.Beside(slope=estimate(0.05), tokens=120.0, tokens_of_ten=150.0, hubness=1.1, never=0.05),
        "few": 300,
        "unsplit": 2,
        "repeated": 0.07,
    }
    return records.Account(**{**shares(0.6, 0.1, 0.25, 0.05), **default, **fields})


def given_queries(**fields):
    default = {
        "queries": 50,
        "texts": 200,
        "in_ten": estimate(0.9),
        "gain": estimate(0.62),
        "reranked": estimate(0.66),
        "price": records.Estimate(0.04, 0.01, 0.07),
        "excluded": (records.Excluded("your queries", "no text has this id", 2, ("q1", "q<2>")),),
    }
    return records.GivenQueries(**{**shares(0.7, 0.1, 0.15, 0.05), **default, **fields})


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


def pairs(**fields):
    """Pairs of 1,000 texts, without any that are shown."""
    default = {
        "texts": 1000,
        "pairs": 499_500,
        "mean": records.Estimate(0.2, 0.19, 0.21),
        "d_mu": spread(0.36),
        "d_sigma": spread(0.3),
        "socm": spread(0.2),
        "normalised": spread(0.6),
        "severe": 0.0,
        "histogram": histogram(),
        "shown": (),
        "worst": (),
    }
    return records.Pairs(**default | fields)


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
        mean=records.Estimate(0.64 * severity, 0.6 * severity, 0.68 * severity),
        d_sigma=spread(severity),
        socm=spread(0.64 * severity),
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
        "filter_bound": spread(0.15 + 0.1 * bump),
        "attention_rate": spread(-(0.75 + 0.5 * up) * softer),
        "attention_bound": spread(3.6 - 0.2 * up),
        "contraction": spread((0.09 + 0.1 * bump) / softer, 0.6),
        "residual_ratio": PRE_NORM if pre_norm else spread((1.9 - 1.2 * up) / softer),
        "block_ratio": PRE_NORM if pre_norm else spread(0.85 + 0.2 * bump * softer),
    }
    if index == 0:
        measures["filter_rate"] = "what the first layer reads was not kept"
    return records.LayerSummary(index, measures)


def run(temperature="1", **fields):
    """A run in which next to nothing was measured, but for the fields that are given."""
    default = dict.fromkeys(("change", "cut_lengths", "pairs", "null", "given_pairs", "untraced")) | {"repeated": ()}
    default |= {"length": length_curve(None, closeness=None, bins=()), "traced": 0, "layers": (), "passed": ()}
    return records.Run(temperature, **default | fields)


def rich_run(chance, temperature, severity, gain, depth, texts, *, pre_norm=False, given=False):
    softer = 1 if temperature == "1" else 0.85
    moved = records.Change(
        difference=records.Estimate(-0.02, -0.03, -0.01),
        short=records.Estimate(-0.01, -0.02, 0.0),
        long=records.Estimate(-0.03, -0.04, -0.02),
        socm=records.Estimate(0.001, -0.002, 0.004),
    )
    return run(
        temperature,
        change=None if temperature == "1" else moved,
        length=rising_curve(0.31 * softer, gain * softer, ("The last bin is open: its longest text has 512 tokens.",)),
        cut_lengths=records.CutLengths(
            texts=90,
            cuts=tuple(
                records.CutLength(tokens, estimate(0.2 * softer + 0.02 * place))
                for place, tokens in enumerate((32, 64, 128, 256))
            ),
            change=records.Estimate(0.06, 0.04, 0.08),
        ),
        pairs=random_pairs(chance, severity * softer, texts),
        null=records.SocmNull(
            texts=300,
            same=estimate(0.54),
            different=estimate(0.47),
            same_normalised=0.61,
            different_normalised=0.78,
        ),
        given_pairs=random_pairs(chance, severity * 1.2, texts, shown=60) if given else None,
        traced=96,
        layers=tuple(layer(index, depth, pre_norm, softer) for index in range(depth)),
        passed=tuple(
            records.Passed(low, high, 16, (0.98 - depth / 100) * middle**-0.13 / softer, 0.84 * middle**-0.25 / softer)
            for (low, high), middle in zip(BINS, MIDDLES, strict=True)
        ),
        repeated=tuple(
            records.Repeated(
                words=words,
                tokens=(1, 2, 4, 8, 16, 32, 64, 128, 256),
                cosines=tuple(start + gain * softer * step / 9 for step in range(9)),
            )
            for words, start in ((("dog", "cat"), 0.66), (("water", "music"), 0.6))
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


def model(*runs, **fields):
    words = {"architecture": "Bert", "pooling": "mean", "temperature": "1", "dimensions": 384, "fingerprint": "ab"}
    default = {"revision": None, "words": None, "queries": None, "runs": runs or (run(),)}
    return records.ModelDiagnosis(**words | default | fields)


ADVICE = "Best of what was tried: windows of 128 tokens, best. Embed with `--long windows --window 128`."
VERDICTS = tuple(
    verdict(model=name, subject=subject, grade=grade, finding=finding, advice=advice)
    for name, subject, grade, finding, advice in (
        (MINILM, "search", "moderate", "Of 100 sentences of your texts, 60 find their text first.", ADVICE),
        (
            MINILM,
            "your queries",
            "slight",
            "Of 100 of your queries, 70 find a text first.",
            "Rerank the first results.",
        ),
        (EVIL, "search", "fine", "Of 100 sentences of your texts, 97 find their text first.", ""),
        (MINILM, "truncation", "severe", "10 of 100 sentences are lost to the cut.", ADVICE),
        (EVIL, "truncation", "slight", "3 of 100 sentences are lost to the cut.", "Nothing needs to be done."),
        (EVIL, "temperature", "unknown", "These texts cannot show whether it helps.", "Diagnose more texts."),
        (MINILM, "second-order collapse", "described", "Mean SOCM is 0.20.", ""),
        (EVIL, "second-order collapse", "described", "Mean SOCM is 0.03.", ""),
    )
)


def rich_diagnosis():
    chance = random.Random(7)
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
        account=account(),
        queries=given_queries(),
    )
    other = model(
        rich_run(chance, "1", 0.06, 0.12, 12, count, pre_norm=True),
        rich_run(chance, "0.8", 0.06, 0.12, 12, count, pre_norm=True),
        name=EVIL,
        architecture="XModel, 12 layers",
        pooling="cls",
        dimensions=768,
        fingerprint="0f6b22d1c5a94e37",
        lengths=rich_lengths(512, 1.15),
        account=account(**shares(0.97, 0.03, 0.0, 0.0)),
    )
    marked = dict.fromkeys(("finding", "evidence", "limit", "advice"), MARKUP)
    return records.Diagnosis(
        schema=records.Diagnosis.SCHEMA,
        texts=records.TextsRead(
            source="wiki & <texts>.jsonl", given=5432, used=1000, empty=3, fingerprint="9f2c41aa80b1"
        ),
        verdicts=(*VERDICTS, records.Verdict(model=other.name, subject="Texts </section>", grade="fine", **marked)),
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
        account="only 0 of 2 texts have three sentences of six words or more, and 20 are needed",
    )
    few = verdict(
        model="tiny",
        subject="search",
        grade="unknown",
        finding="These texts cannot show what a search over them loses.",
        evidence="2 texts.",
        limit="",
        advice="Diagnose more texts.",
    )
    return records.Diagnosis(
        schema=records.Diagnosis.SCHEMA,
        texts=records.TextsRead(source="two texts", given=2, used=2, empty=0, fingerprint="aa"),
        verdicts=(few,),
        models=(tiny,),
        excerpts=(),
        settings={"seed": 0},
        versions={"cenote": "0.1.0"},
    )
