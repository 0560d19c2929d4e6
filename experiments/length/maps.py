"""Attention by temperature: Figure 4 of the paper on length collapse, as pictures of one head and as numbers.

The paper draws two extremes: a high temperature makes attention even and leaves only the constant part of the tokens, a
low one selects single tokens and keeps the varying part. For fixed logits a lower temperature lowers the entropy of
attention by arithmetic; in a model the logits of a layer also depend on the temperature of the layers below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer
from torch import Tensor

import cenote
from cenote.encoding.tokens import Tokens, tokenise
from cenote.functional.items import mean_of_items
from cenote.functional.sampling import Floats
from cenote.functional.spectrum import parts
from cenote.surgery.tracing import Passage
from experiments.data_sets import texts_of
from experiments.lab import Cell, Claim, Experiment, Measured, above, below, legend, looks, main
from experiments.length.reading import count_layers, interval, read_alone

# Texts that are drawn. A quick run takes about 15 s of one core, a whole one 2 minutes.
TEXTS, QUICK_TEXTS, SEED = 150, 16, 0
PLAIN, LOW, HIGH = 1.0, 0.25, 4.0
TAUS = (LOW, 0.5, 0.8, PLAIN, 2.0, HIGH)
# The text in the pictures has at least so many tokens, and the pictures show at most the first so many.
SHOWN, MOST = 12, 32
SOURCE = "arXiv 2410.24200, Figure 4"
ARITHMETIC = "Of fixed logits it holds by arithmetic"
REACHED = "The table has how even it becomes: 1 for all tokens alike, 0 for a single one"


def evenness(attention: Tensor) -> Tensor:
    """Return the entropy of attention over log n, mean of the queries: 1 where each attends to all tokens alike.

    >>> evenness(torch.stack([torch.eye(2), torch.full((2, 2), 0.5)]))
    tensor([0., 1.], dtype=torch.float64)

    `attention [..., n, n]` has a row for each query, of at least two tokens.
    """
    entropy = torch.special.entr(attention.double()).sum(-1).mean(-1)
    even: Tensor = entropy / np.log(attention.shape[-1])
    return even


class Evenness:
    """A reducer for `Trace`: evenness of each head of the last layer, and the varying part of its output.

    The maps of one text are kept, by its place.
    """

    def __init__(self, shown: int) -> None:
        self.shown = shown
        self.heads: list[Floats] = []  # [H] of each text
        self.varying: list[float] = []  # log of |HC| / |DC| of each text
        self.maps: Floats | None = None  # [H, n, n]

    def __call__(self, passage: Passage) -> None:
        """Measure a passage of one text."""
        if passage.attention is not None:
            if len(self.heads) == self.shown:
                self.maps = passage.attention[0].double().numpy()
            constant, varying = parts(passage.after[0])
            self.heads.append(evenness(passage.attention[0]).numpy())
            self.varying.append(float((varying / constant).log()))


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the evenness of the last layer's attention by temperature, and the maps of one head and one text."""
    tokens = tokenise(model, [text.text for text in texts_of(data, QUICK_TEXTS if quick else TEXTS, SEED)])
    tokens = tokens.take(np.flatnonzero(tokens.lengths >= SHOWN).tolist())
    if not len(tokens):
        return Measured([], [])
    shown = int(tokens.lengths.argmin())
    read = {tau: read_at(model, tokens, tau, shown) for tau in TAUS}
    even = {tau: np.mean(one.heads, 1) for tau, one in read.items()}
    varying = {tau: np.array(one.varying) for tau, one in read.items()}
    rows = []
    for tau in TAUS:
        mean = mean_of_items(even[tau])
        row: dict[str, Any] = {"tau": tau, "texts": len(even[tau]), "evenness": mean.value, **interval(mean)}
        rows.append(row | {"HC/DC of the last layer": float(np.exp(varying[tau].mean()))})
    changes = [
        above("even", mean_of_items(even[HIGH] - even[PLAIN])),
        below("sharp", mean_of_items(even[LOW] - even[PLAIN])),
        below("filtered", mean_of_items(varying[HIGH] - varying[PLAIN])),
        above("kept", mean_of_items(varying[LOW] - varying[PLAIN])),
    ]
    order = np.argsort(read[PLAIN].heads[shown])
    head = int(order[len(order) // 2])
    maps = {f"{tau:g}": read[tau].maps[head, :MOST, :MOST].round(4).tolist() for tau in (LOW, PLAIN, HIGH)}
    return Measured(rows, changes, {"maps": maps, "head": head + 1})


def read_at(model: SentenceTransformer, tokens: Tokens, tau: float, shown: int) -> Evenness:
    """Read texts at a temperature, and keep the maps of one."""
    found = Evenness(shown)
    with cenote.temper(model, tau):
        read_alone(model, tokens, found, attention=[count_layers(model) - 1])
    return found


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw the maps of the first cell, each with its own range, and the evenness of all cells by temperature."""
    figure.set_size_inches(12, 3.8)
    *pictures, curve = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.2))
    first = cells[0].measured.series
    for ax, (tau, values) in zip(pictures, first.get("maps", {}).items(), strict=False):
        ax.imshow(values, cmap="Greys", vmin=0)
        ax.grid(visible=False)
        of = f"{cells[0].model}, a text of {Path(cells[0].data).name}"
        ax.set_title(f"{of}\nhead {first['head']}, τ {tau}: black is {np.max(values):.2f}", fontsize=9)
        ax.set_xlabel("key token")
        ax.set_ylabel("query token")
    styles = looks(cell.model for cell in cells)
    lines = dict(zip(dict.fromkeys(cell.data for cell in cells), cycle(("-", "--", ":", "-.")), strict=False))
    for cell in cells:
        x, y = ([row[column] for row in cell.measured.rows] for column in ("tau", "evenness"))
        label = f"{cell.model}, {cell.data}"
        curve.plot(x, y, lines[cell.data], ms=4, label=label, **styles[cell.model])
    curve.set_xscale("log", base=2)
    curve.xaxis.set_major_formatter("{x:g}")
    curve.set_xlabel("temperature τ")
    curve.set_ylabel("entropy of attention / log n")
    legend(figure, columns=3)


EXPERIMENT = Experiment(
    name="length-maps",
    title="Attention of the last layer by temperature",
    claims={
        "even": Claim(
            SOURCE,
            "A high temperature makes attention more even",
            f"Entropy over log n at temperature {HIGH:g} minus that at 1",
            ARITHMETIC,
            note=REACHED,
        ),
        "sharp": Claim(
            SOURCE,
            "A low temperature makes it less even, towards single tokens",
            f"Entropy over log n at temperature {LOW:g} minus that at 1",
            ARITHMETIC,
            note=REACHED,
        ),
        "filtered": Claim(
            SOURCE,
            "A high temperature filters out the varying part of the tokens",
            f"Log of |HC|/|DC| after the last layer, at temperature {HIGH:g} minus at 1",
        ),
        "kept": Claim(
            SOURCE,
            "A low temperature preserves the varying part",
            f"Log of |HC|/|DC| after the last layer, at temperature {LOW:g} minus at 1",
        ),
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "scifact"),
    notes=(
        f"The maps show the first {MOST} tokens of the shortest text that has {SHOWN}, and the head of median entropy "
        "at temperature 1.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
