"""Diagnoses made by hand: a rich one, whose texts are as awkward as can be, and one with next to nothing in it."""

import itertools
import math
import random

import pytest

from cenote.results import (
    Change,
    Closeness,
    Diagnosis,
    Estimate,
    Excerpt,
    Histogram,
    LayerSummary,
    LengthBin,
    LengthCurve,
    Lengths,
    ModelDiagnosis,
    Pair,
    Pairs,
    Passed,
    Repeated,
    Run,
    Spread,
    TextsRead,
    Verdict,
)

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


def spread(mean, width=0.25, count=96):
    return Spread(count, mean, mean - abs(mean) * width, mean * 0.98, mean + abs(mean) * width)


def curve(start, gain, notes=()):
    cosines = [start + gain * math.log2(middle / 25) / 4 for middle in MIDDLES]
    bins = tuple(
        LengthBin(
            low,
            high,
            count,
            Estimate(cosine, cosine - 0.012, cosine + 0.013),
            0.9 - cosine / 3,
            Estimate(-3.2 + cosine, -3.26 + cosine, -3.15 + cosine),
            118.4 - 90 * cosine,
        )
        for (low, high), count, cosine in zip(BINS, COUNTS, cosines, strict=True)
    )
    gained = cosines[-1] - cosines[0]
    trends = (
        Estimate(gained, gained - 0.02, gained + 0.02),
        Estimate(0.41, 0.36, 0.46),
        Estimate(gain / 4, None, None),
    )
    return LengthCurve(Closeness(spread(start), 0.11), bins, *trends, notes)


def pairs(chance, severity, texts, shown=220):
    found = []
    for _ in range(shown):
        d_mu = min(0.95, max(0.02, chance.gauss(0.36, 0.1)))
        d_sigma = max(0.01, chance.gauss(severity, severity * 0.3) + 0.1 * (d_mu - 0.36))
        first, second = chance.sample(range(texts), 2)
        found.append(Pair(first, second, d_mu, d_sigma, (1 - d_mu) * d_sigma))
    found.sort(key=lambda pair: -pair.socm)
    highest = found[0].socm * 1.05
    edges = tuple(highest * step / 20 for step in range(21))
    counts = tuple(sum(low <= pair.socm < high for pair in found) for low, high in itertools.pairwise(edges))
    return Pairs(
        1000,
        499_500,
        Estimate(0.64 * severity, 0.6 * severity, 0.68 * severity),
        spread(0.36),
        spread(severity),
        spread(0.64 * severity),
        0.0 if severity < 0.5 else 0.07,
        Histogram(edges, counts),
        tuple(found[10:]),
        tuple(found[:10]),
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
    return LayerSummary(index, measures)


def run(chance, temperature, severity, gain, depth, texts, *, pre_norm=False, given=False):
    softer = 1 if temperature == "1" else 0.85
    return Run(
        temperature,
        None if temperature == "1" else Change(Estimate(-0.02, -0.03, -0.01), Estimate(0.001, -0.002, 0.004)),
        curve(0.31 * softer, gain * softer, ("The last bin is open: its longest text has 512 tokens.",)),
        pairs(chance, severity * softer, texts),
        pairs(chance, severity * 1.2, texts, shown=60) if given else None,
        96,
        None,
        tuple(layer(index, depth, pre_norm, softer) for index in range(depth)),
        tuple(
            Passed(low, high, 16, (0.98 - depth / 100) * middle**-0.13 / softer, 0.84 * middle**-0.25 / softer)
            for (low, high), middle in zip(BINS, MIDDLES, strict=True)
        ),
        Repeated(
            ("dog", "cat"),
            (1, 2, 4, 8, 16, 32, 64, 128, 256),
            tuple(0.66 + gain * softer * step / 9 for step in range(9)),
        ),
    )


def lengths(limit, scale):
    middles = [20 * step + 10 for step in range(26)]
    counts = tuple(round(230 * math.exp(-((math.log(middle / (95 * scale))) ** 2) / 0.8)) for middle in middles)
    cut = sum(count for middle, count in zip(middles, counts, strict=True) if middle > limit)
    edges = tuple(float(20 * step) for step in range(27))
    return Lengths(
        limit, Spread(1000, 131.2 * scale, 38.0, 97.0 * scale, 271.0), Histogram(edges, counts), cut, 0.137 / scale, 0.1
    )


VERDICTS = (
    Verdict(
        "all-MiniLM-L6-v2",
        "Truncation",
        "severe",
        "It never sees 13.7 % of the tokens: 129 of 1,000 texts are longer than 256 tokens.",
        "Counted with the model's own tokenizer over all texts.",
        "Counts what is cut, not whether it mattered to your searches.",
        "Embed long texts in windows: cenote embed --long windows.",
    ),
    Verdict(
        "all-MiniLM-L6-v2",
        "Length collapse",
        "moderate",
        "Texts of 300 tokens or more lie closer together by 0.11 of cosine than those under 40.",
        "Difference 0.11 [0.09, 0.13]; words alone show 0.07, so a part is in the texts themselves.",
        "Closer does not mean worse: only a task with answers can tell.",
        "Try a temperature of 0.9 and measure: cenote tune.",
    ),
    Verdict(
        "e5-base-v2",
        "Length collapse",
        "slight",
        "Longer texts lie closer together by 0.05 of cosine.",
        "Difference 0.05 [0.03, 0.07].",
        "Closer does not mean worse: only a task with answers can tell.",
        "Nothing needs to be done.",
    ),
    Verdict(
        "all-MiniLM-L6-v2",
        "Second-order collapse",
        "slight",
        "Mean SOCM is 0.20; none of 499,500 pairs is over 0.5.",
        "All pairs of 1,000 texts.",
        "A diagnosis and no ranking of models.",
        "Read the worst pairs below before you trust the mean.",
    ),
    Verdict(
        "e5-base-v2",
        "Second-order collapse",
        "none",
        "Mean SOCM is 0.03.",
        "All pairs of 1,000 texts.",
        "A diagnosis and no ranking of models.",
        "Nothing needs to be done.",
    ),
    Verdict(
        "e5-base-v2",
        "Truncation",
        "unknown",
        "The model names no limit of its own.",
        "No tokenizer file declares one.",
        "Texts of up to 512 tokens were read.",
        "Set max_seq_length and run again.",
    ),
)


def rich_diagnosis(awkward=True):
    chance = random.Random(7)  # noqa: S311 - points for a picture
    texts = [MARKUP, EMOJI, ARABIC] if awkward else [EMOJI, ARABIC]
    texts += [SENTENCES[place % 5] + f" ({place})" for place in range(40)]
    excerpts = tuple(Excerpt(f"texts.jsonl:{place}", text) for place, text in enumerate(texts))
    count = len(excerpts)
    minilm = ModelDiagnosis(
        "all-MiniLM-L6-v2",
        "BertModel, 6 layers",
        "mean",
        "1",
        384,
        "b3c1f09a77e2d4c8",
        "c9745ed1d9f2",
        lengths(256, 1.0),
        curve(0.22, 0.17),
        (run(chance, "1", 0.31, 0.27, 6, count, given=True), run(chance, "0.8", 0.31, 0.27, 6, count)),
    )
    other = ModelDiagnosis(
        'evil/<i>model</i> & "e5"' if awkward else "e5-base-v2",
        "XModel, 12 layers",
        "cls",
        "1",
        768,
        "0f6b22d1c5a94e37",
        None,
        lengths(512, 1.15),
        None,
        (
            run(chance, "1", 0.06, 0.12, 12, count, pre_norm=True),
            run(chance, "0.8", 0.06, 0.12, 12, count, pre_norm=True),
        ),
    )
    verdicts = VERDICTS
    if awkward:
        verdicts += (Verdict(other.name, "Texts </section>", "none", MARKUP, MARKUP, MARKUP, MARKUP),)
    return Diagnosis(
        1,
        TextsRead("wiki & <texts>.jsonl" if awkward else "wiki.jsonl", 5432, 1000, 3, "9f2c41aa80b1"),
        verdicts,
        (minilm, other),
        excerpts,
        {"seed": 0, "limit": 1000, "temperatures": [1.0, 0.8], "note": MARKUP if awkward else "none"},
        {"cenote": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "python": "3.11.2"},
    )


def poor_diagnosis():
    nothing = LengthCurve(None, (), None, None, None, ("Fewer than 20 texts: no bins.",))
    one = Run("1", None, nothing, None, None, 0, None, (), (), None)
    model = ModelDiagnosis(
        "tiny",
        "TinyModel",
        "mean",
        "1",
        8,
        "00",
        None,
        Lengths(None, Spread(2, 3.0, 3.0, 3.0, 3.0), Histogram((), ()), 0, 0.0, 0.0),
        None,
        (one,),
    )
    verdict = Verdict(
        "tiny", "Length collapse", "unknown", "Two texts are too few to say.", "2 texts.", "", "Give more texts."
    )
    return Diagnosis(
        1, TextsRead("two texts", 2, 2, 0, "aa"), (verdict,), (model,), (), {"seed": 0}, {"cenote": "0.1.0"}
    )


@pytest.fixture(scope="session")
def rich():
    return rich_diagnosis()


@pytest.fixture(scope="session")
def poor():
    return poor_diagnosis()
