"""Two words, each repeated to the same length: Figure 12 of the paper on length collapse, for many pairs of words.

The paper shows one pair. Pairs differ much, so pairs are drawn from the common words of real texts, and their mean is
tested. A word alone is read together with the special tokens that all texts share; so the rise is tested from one
repetition on, and again from the length on at which words are most of the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

import cenote
from cenote.diagnosis.controls import read_repeated, tokenise_word_pairs
from cenote.encoding.tokens import count_tokens
from cenote.errors import BadInput
from cenote.functional.items import mean_of_items
from cenote.models.properties import limit_of
from experiments.data_sets import body_of, texts_of
from experiments.lab import Cell, Claim, Experiment, Measured, above, below, cell_panels, legend, looks, main
from experiments.length.reading import interval

PLAIN, TEMPERED = 1.0, 0.8
# Texts whose words are counted, the common words of which some are drawn, and their fewest letters.
TEXTS, COMMON, LETTERS = 1000, 1000, 4
# Pairs that are drawn. A quick run takes about 5 s of one core for each data set, a whole one a minute.
PAIRS, QUICK_PAIRS, SEED = 20, 10, 0
# Repetitions from which on words are most of the text; tokens of the longest texts.
MOST_WORDS, TOKENS, QUICK_TOKENS = 16, 512, 130
# What counts as approaching 1.
NEAR_ONE = 0.9
SOURCE = "arXiv 2410.24200, Figure 12"


def common_words(texts: Iterable[str]) -> list[str]:
    """Return the words that stand in the most texts, without those of grammar.

    >>> common_words(["The water is cold.", "From then on: cold water falls."])
    ['cold', 'water', 'falls']
    """
    words = (set(re.findall(rf"[^\W\d_]{{{LETTERS},}}(?!['’\w])", body_of(text).lower())) for text in texts)
    texts_with = Counter(word for some in words for word in some - ENGLISH_STOP_WORDS)
    return sorted(texts_with, key=lambda word: (-texts_with[word], word))[:COMMON]


def draw_pairs(model: SentenceTransformer, words: Sequence[str], count: int) -> list[tuple[str, str]]:
    """Return pairs of different words, at most `count`; all have as few tokens, so that each is repeated as often."""
    tokens = count_tokens(model, words) if words else np.zeros(0)
    shortest = [word for word, each in zip(words, tokens, strict=True) if each == tokens.min()]
    count = min(count, len(shortest) // 2)
    if not count:
        raise BadInput(f"the texts have {len(words)} common words of {LETTERS} letters or more: give more texts.")
    drawn = np.random.default_rng(SEED).permutation(len(shortest))[: 2 * count]
    return [(shortest[one], shortest[other]) for one, other in zip(drawn[::2], drawn[1::2], strict=True)]


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the cosine of each pair of words by repetitions, plain and tempered."""
    most = QUICK_TOKENS if quick else TOKENS
    limit = min(limit_of(model) or most, most)
    words = common_words(one.text for one in texts_of(data, TEXTS, SEED))
    texts = tokenise_word_pairs(model, None, limit, draw_pairs(model, words, QUICK_PAIRS if quick else PAIRS))
    curves, tokens = {}, np.zeros(0)
    for tau in (PLAIN, TEMPERED):
        with cenote.temper(model, tau):
            found = read_repeated(model, texts)
        curves[tau] = np.array([one.cosines for one in found])
        tokens = np.array(found[0].tokens, np.float64)
    rows = []
    for tau, cosines in curves.items():
        for step, length in enumerate(tokens):
            mean = mean_of_items(cosines[:, step])
            row = {"tau": tau, "tokens": int(length), "pairs": len(cosines), "cosine": mean.value}
            rows.append(row | interval(mean) | {"least": float(cosines[:, step].min())})
    plain = curves[PLAIN]
    start = int(np.log2(MOST_WORDS))
    findings = [above("once", mean_of_items(_rise(plain)))]
    if start < plain.shape[1] - 1:
        findings.append(above("words", mean_of_items(plain[:, -1] - plain[:, start])))
    findings += [
        above("one", mean_of_items(plain[:, -1]), than=NEAR_ONE),
        below("tempered", mean_of_items(curves[TEMPERED][:, -1] - plain[:, -1])),
    ]
    return Measured(rows, findings, {"tokens": tokens.tolist(), "pairs": plain.round(4).tolist()})


def _rise(cosines: Any) -> Any:
    """Return how much each pair gains from one repetition to the most."""
    return cosines[:, -1] - cosines[:, 0]


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a row for each model: a thin line for each pair of a data set, the mean of all, and that tempered."""
    styles = looks((PLAIN, TEMPERED))
    for cell, ax in cell_panels(figure, cells):
        ax.plot(cell.measured.series["tokens"], np.transpose(cell.measured.series["pairs"]), color="#bbbbbb", lw=0.7)
        for tau, line in ((PLAIN, "-"), (TEMPERED, "--")):
            points = [row for row in cell.measured.rows if row["tau"] == tau]
            x, y = ([row[column] for row in points] for column in ("tokens", "cosine"))
            ax.plot(x, y, line, ms=4, label=f"mean of {points[0]['pairs']} pairs, τ {tau:g}", **styles[tau])
        ax.plot([], [], color="#bbbbbb", lw=0.7, label="a pair, τ 1")
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("tokens read")
        ax.set_ylabel("cosine of the two words")
    legend(figure, columns=3)


EXPERIMENT = Experiment(
    name="length-repeated",
    title="Two words, each repeated as often",
    claims={
        "once": Claim(
            SOURCE,
            "Repeated words grow more similar the more often they are repeated",
            "Mean cosine of pairs at the most repetitions minus that of one repetition",
        ),
        "words": Claim(
            SOURCE,
            f"They do so from {MOST_WORDS} repetitions on, where words outweigh the special tokens",
            f"Mean cosine at the most repetitions minus that at {MOST_WORDS}",
        ),
        "one": Claim(
            "arXiv 2410.24200, Section 2.2",
            f"Their cosine approaches 1 (tested here: is above {NEAR_ONE})",
            "Mean cosine at the most repetitions",
        ),
        "tempered": Claim(
            "arXiv 2410.24200, Section 3",
            f"An attention temperature of {TEMPERED} counters the collapse",
            "Change of the mean cosine at the most repetitions",
        ),
    },
    measure=measure,
    draw=draw,
    data=("scifact", "imdb", "20news_full"),
    notes=(
        f"Pairs are drawn from the {COMMON:,} words of {LETTERS} letters or more that stand in the most texts, without "
        "words of grammar and those of several tokens.",
        "Intervals are for other pairs of words; `least` is the lowest cosine of a pair.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
