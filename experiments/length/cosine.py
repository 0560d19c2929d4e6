"""Cosines by length: Figure 1c of the paper on length collapse, plain and with an attention temperature.

Texts that are long by nature differ from short ones in content too, so the same texts cut at several lengths stand
beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

import cenote
from cenote.diagnosis.cut_lengths import read_cuts, tokenise_cuts
from cenote.diagnosis.summaries import length_curve
from cenote.encoding.backends import plain_backend
from cenote.encoding.tokens import Whole, tokenise
from cenote.encoding.vectors import Encoder
from cenote.functional.bins import length_bins
from cenote.functional.intervals import change_of_mean
from cenote.listener import Listener
from cenote.records import Estimate, LengthBin
from experiments.data_sets import texts_of
from experiments.lab import COLOURS, Cell, Claim, Experiment, Measured, above, below, main, panels

TEXTS, QUICK_TEXTS, BINS, SEED = 1000, 120, 4, 0
PLAIN, TEMPERED = 1.0, 0.8
SOURCE = "arXiv 2410.24200, Figure 1c"


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the mean cosine of pairs by natural length and by cut, plain and tempered."""
    texts = [text.text for text in texts_of(data, QUICK_TEXTS if quick else TEXTS, SEED)]
    tokens = tokenise(model, texts)
    edges = length_bins(tokens.lengths, BINS)
    cuts = tokenise_cuts(model, texts, tokens.full_lengths, None, SEED)
    rows, vectors, changes = [], {}, {}
    for tau in (PLAIN, TEMPERED):
        with cenote.temper(model, tau):
            vectors[tau], _ = Encoder(model, plain_backend(model))(tokens)
            curve = length_curve(vectors[tau], tokens.lengths, edges, SEED)
            cut = read_cuts(model, cuts, Listener())
        natural = [(_mean_length(tokens.lengths, one), one.count, one.cosine) for one in curve.bins if one.cosine]
        same = [(one.tokens, cut.texts, one.cosine) for one in cut.cuts] if cut else []
        rows += [_row(form, tau, *one) for form, found in (("natural", natural), ("cut", same)) for one in found]
        changes[tau] = (curve.difference, cut.change if cut else None)
    long = np.flatnonzero(tokens.lengths >= edges[-1])
    findings = [above(name, one) for name, one in zip(("natural", "cut"), changes[PLAIN], strict=True) if one]
    if len(long) > 1:
        findings.append(below("tempered", change_of_mean(*(vectors[tau][long] for tau in (PLAIN, TEMPERED)))))
    return Measured(rows, findings)


def _mean_length(lengths: Whole, one: LengthBin) -> int:
    """Return the mean number of tokens of the texts of a bin."""
    inside = (lengths >= one.low) & (lengths < (one.high or np.inf))
    return round(float(lengths[inside].mean()))


def _row(form: str, tau: float, tokens: int, texts: int, cosine: Estimate) -> dict[str, Any]:
    """Return a row of the table."""
    interval = {"low": cosine.low, "high": cosine.high}
    return {"lengths": form, "tau": tau, "tokens": tokens, "texts": texts, "cosine": cosine.value, **interval}


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each data set: natural lengths and cuts, a colour for each model, tempered ones dashed."""
    colours = dict(zip(dict.fromkeys(cell.model for cell in cells), COLOURS, strict=False))
    looks = {("natural", PLAIN): "o-", ("natural", TEMPERED): "o:", ("cut", PLAIN): "s-", ("cut", TEMPERED): "s:"}
    for name, ax in panels(figure, cells).items():
        for cell in (one for one in cells if one.data == name):
            for (form, tau), look in looks.items():
                points = [row for row in cell.measured.rows if (row["lengths"], row["tau"]) == (form, tau)]
                label = f"{cell.model}, {'by length' if form == 'natural' else 'cut'}, τ {tau:g}"
                x, y = ([row[column] for row in points] for column in ("tokens", "cosine"))
                ax.plot(x, y, look, color=colours[cell.model], ms=4, label=label, alpha=1 if form == "cut" else 0.5)
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("tokens read")
        ax.set_ylabel("mean cosine of pairs")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)


EXPERIMENT = Experiment(
    name="length-cosine",
    title="Cosines of pairs of texts by length, plain and tempered",
    claims={
        "natural": Claim(
            SOURCE,
            "Longer texts have higher cosines with each other",
            "Mean cosine of the longest bin minus that of the shortest",
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
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "scifact"),
    notes=("Natural bins have about as many texts each; tokens are the mean of a bin, or the cut.",),
)

if __name__ == "__main__":
    main(EXPERIMENT)
