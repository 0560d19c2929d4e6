"""Cosines by length: Figure 1c of the paper on length collapse, plain and with an attention temperature.

Texts that are long by nature differ from short ones in content too, so the same texts cut at several lengths stand
beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

import cenote
from cenote.diagnosis.cut_lengths import tokenise_cuts
from cenote.diagnosis.summaries import length_curve
from cenote.encoding.tokens import tokenise
from cenote.functional.bins import length_bins
from cenote.functional.intervals import change_of_mean, mean_over_pairs
from experiments.data_sets import texts_of
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, below, legend, looks, main, panels
from experiments.length.reading import cut_rows, natural_rows, pair_cosines, pair_sides, unit_vectors

# Texts that are drawn. A quick run takes about 25 s of one core, a whole one 4 minutes.
TEXTS, QUICK_TEXTS, BINS, SEED = 1000, 120, 4, 0
PLAIN, TEMPERED = 1.0, 0.8
SOURCE = "arXiv 2410.24200, Figure 1c"


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the mean cosine of pairs by natural length and by cut, plain and tempered."""
    texts = [text.text for text in texts_of(data, QUICK_TEXTS if quick else TEXTS, SEED)]
    tokens = tokenise(model, texts)
    edges = length_bins(tokens.lengths, BINS)
    cuts = tokenise_cuts(model, texts, tokens.full_lengths, None, SEED)
    count = len(next(iter(cuts.values()), ()))
    rows: list[dict[str, Any]] = []
    vectors, differences, rises = {}, {}, {}
    for tau in (PLAIN, TEMPERED):
        with cenote.temper(model, tau):
            vectors[tau] = unit_vectors(model, tokens)
            cosines = {cut: pair_cosines(unit_vectors(model, some)) for cut, some in cuts.items()}
        curve = length_curve(vectors[tau], tokens.lengths, edges, SEED)
        rows += natural_rows(curve, tokens.lengths, tau=tau) + cut_rows(cosines, count, tau=tau)
        differences[tau] = curve.difference
        if cuts:
            rises[tau] = cosines[max(cuts)] - cosines[min(cuts)]
    findings = [above("natural", differences[PLAIN])] if differences[PLAIN] else []
    long = np.flatnonzero(tokens.lengths >= edges[-1])
    if len(long) > 1:
        findings.append(below("tempered", change_of_mean(*(vectors[tau][long] for tau in (PLAIN, TEMPERED)))))
    if cuts:
        sides = pair_sides(count)
        findings.append(above("cut", mean_over_pairs(rises[PLAIN], *sides)))
        findings.append(_evener(mean_over_pairs(rises[PLAIN], *sides), rises[TEMPERED] - rises[PLAIN], sides))
    return Measured(rows, findings)


def _evener(rise: Any, change: Any, sides: Any) -> Finding:
    """Return whether a temperature lessens the distance between short and long, whichever of them is higher."""
    direction = 1.0 if rise.value >= 0 else -1.0
    found = below("evener", mean_over_pairs(direction * change, *sides))
    return found if rise.low > 0 or rise.high < 0 else replace(found, holds=None)


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each data set: natural lengths pale, the same texts cut strong; tempered ones dashed."""
    colours = {name: look["color"] for name, look in looks(cell.model for cell in cells).items()}
    curves = {("cut", PLAIN): "s-", ("cut", TEMPERED): "s--", ("natural", PLAIN): "o-", ("natural", TEMPERED): "o--"}
    for name, ax in panels(figure, cells).items():
        for cell in (one for one in cells if one.data == name):
            for (lengths, tau), line in curves.items():
                points = [row for row in cell.measured.rows if (row["lengths"], row["tau"]) == (lengths, tau)]
                x, y = ([row[column] for row in points] for column in ("tokens", "cosine"))
                label = f"{cell.model}, {lengths}, τ {tau:g}"
                ax.plot(x, y, line, color=colours[cell.model], ms=4, label=label, alpha=1 if lengths == "cut" else 0.4)
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("tokens read")
        ax.set_ylabel("mean cosine of pairs")
    legend(figure)


EXPERIMENT = Experiment(
    name="length-cosine",
    title="Cosines of pairs of texts by length, plain and tempered",
    claims={
        "natural": Claim(
            SOURCE,
            "Longer texts have higher cosines with each other",
            "Mean cosine of the longest bin minus that of the shortest",
            note="The longest bin has the texts that reach the limit of 128 or 256 tokens; those of the shortest "
            "have 87 to 191 tokens on average: lengths that differ little",
        ),
        "cut": Claim(
            SOURCE,
            "Length itself raises cosines: the same texts, cut",
            "Mean cosine at the longest cut minus that at the shortest",
        ),
        "tempered": Claim(
            SOURCE,
            "An attention temperature of 0.8 lowers the cosines of long texts",
            "Change of the mean cosine of the longest bin",
        ),
        "evener": Claim(
            SOURCE,
            "It makes cosines more even: those of the same texts, cut, change less with length",
            "Change of the distance between the mean cosines at the longest and at the shortest cut",
        ),
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "scifact"),
    notes=("Natural bins have about as many texts each; tokens are the mean of a bin, or the cut.",),
)

if __name__ == "__main__":
    main(EXPERIMENT)
