"""Powers of an attention matrix leave only the constant part of a signal: Lemma 1 of the paper on length collapse.

The lemma is about A^t z for one matrix A. A model multiplies by a new A in every layer, and adds residuals, norms and
feed-forwards; so the same ratio after each of its layers stands beside the powers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cenote.encoding.tokens import Tokens
from cenote.functional.items import mean_of_items
from cenote.functional.sampling import Floats
from cenote.functional.spectrum import parts
from cenote.surgery.tracing import Passage
from experiments.lab import Cell, Claim, Experiment, Measured, below, legend, looks, main, panels
from experiments.length.reading import count_layers, cut_texts, read_alone

# Texts that are cut. A quick run takes about 15 s of one core, a whole one 3 minutes.
TEXTS, QUICK_TEXTS = 60, 10
# Powers of A, and the ratio below which float64 shows only rounding.
POWERS, ROUNDING = 8, 1e-13
SOURCE = "arXiv 2410.24200, Lemma 1"


def ratios_by_power(attention: Tensor, tokens: Tensor, powers: int) -> Tensor:
    """Return |HC[A^t X]|_F / |DC[A^t X]|_F for t from 0 to `powers`: `[H, powers + 1]`.

    >>> ratios_by_power(torch.full((1, 2, 2), 0.5), torch.tensor([[3.0], [1.0]]), 1)
    tensor([[0.5000, 0.0000]], dtype=torch.float64)

    `attention [H, n, n]` is that of each head, `tokens [n, D]` the signal.
    """
    signal, filters = tokens.double().expand(len(attention), *tokens.shape), attention.double()
    found = []
    for _ in range(powers + 1):
        constant, varying = parts(signal)
        found.append(varying / constant)
        signal = filters @ signal
    return torch.stack(found, -1)


class Decay:
    """A reducer for `Trace`: ratios of the varying to the constant part, by powers of attention and by layers."""

    def __init__(self) -> None:
        self.powers: list[Floats] = []  # [H, POWERS + 1] of each text
        self.layers: list[list[float]] = []  # before the first layer and after each, of each text

    def __call__(self, passage: Passage) -> None:
        """Measure a passage of one text."""
        if passage.layer.index == 0:
            self.layers.append([ratio(passage.before)])
        self.layers[-1].append(ratio(passage.after))
        if passage.attention is not None:
            found = ratios_by_power(passage.attention[0], passage.before[0], POWERS)
            self.powers.append(found.clamp(min=ROUNDING).numpy())


def ratio(tokens: Tensor) -> float:
    """Return |HC|_F / |DC|_F of the tokens of one text, `[1, n, D]`."""
    constant, varying = parts(tokens[0])
    return float(varying / constant)


def read(model: SentenceTransformer, tokens: Tokens) -> tuple[Floats, Floats]:
    """Return the ratios of texts by power `[N, H, POWERS + 1]`, and by layer `[N, L + 1]`."""
    decay = Decay()
    read_alone(model, tokens, decay, attention=[count_layers(model) - 1])
    return np.array(decay.powers), np.array(decay.layers)


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return how the varying part decays under powers of the last layer's attention, and over the layers."""
    cuts = cut_texts(model, data, QUICK_TEXTS if quick else TEXTS)
    if not cuts:
        return Measured([], [])
    rows, kept, curves = [], {}, {}
    for cut in (min(cuts), max(cuts)):
        powers, layers = read(model, cuts[cut])
        logs = np.log10(powers)
        median, slowest = np.median(logs, 1), logs.max(1)
        kept[cut] = ((logs[:, :, -1] - logs[:, :, 0]) / POWERS).mean(1)  # log10 of the share, per power
        row = {"tokens": cut, "texts": len(powers), "HC/DC of X": float(10 ** median[:, 0].mean())}
        ends = {"A": median[:, 1], f"A^{POWERS}": median[:, -1], f"A^{POWERS}, slowest head": slowest[:, -1]}
        rows.append(row | {name: float(10 ** values.mean()) for name, values in ends.items()})
        rows[-1] |= {"kept per power": float(10 ** kept[cut].mean())}
        rows[-1] |= {"layer 0": float(layers[:, 0].mean()), "last layer": float(layers[:, -1].mean())}
        curves = {"median head": median.mean(0), "slowest head": slowest.mean(0), "layers": np.log10(layers).mean(0)}
    findings = [
        below("powers", mean_of_items(slowest[:, -1] - slowest[:, 0])),
        below("layers", mean_of_items(np.log10(layers[:, -1]) - np.log10(layers[:, 0]))),
        below("length", mean_of_items(kept[max(cuts)] - kept[min(cuts)])),
    ]
    return Measured(rows, findings, {name: (10**curve).tolist() for name, curve in curves.items()})


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each data set: powers of the median and of the slowest head, and the model's own layers."""
    styles = looks(cell.model for cell in cells)
    lines = {"median head": "-", "slowest head": "--", "layers": ":"}
    labels = {"median head": "powers of A, median head", "slowest head": "slowest head", "layers": "the model's layers"}
    for name, ax in panels(figure, cells).items():
        for cell in (one for one in cells if one.data == name):
            for curve, line in lines.items():
                ratios = cell.measured.series.get(curve, [])
                ax.plot(ratios, line, ms=4, label=f"{cell.model}: {labels[curve]}", **styles[cell.model])
        ax.set_yscale("log")
        ax.set_xlabel("power t of A, or layer")
        ax.set_ylabel("|HC| / |DC|")
    legend(figure, columns=3)


EXPERIMENT = Experiment(
    name="length-powers",
    title="The varying part under powers of the last layer's attention, and over the layers",
    claims={
        "powers": Claim(
            SOURCE,
            "Powers of an attention matrix leave only the constant part",
            f"log10 of |HC|/|DC| after {POWERS} powers minus before, of the slowest head, at the longest cut",
            "A theorem on stochastic matrices: random attention does so too",
        ),
        "layers": Claim(
            "arXiv 2410.24200, Section 2.2",
            "With more layers the tokens keep only their constant part",
            "log10 of |HC|/|DC| after the last layer minus before the first, at the longest cut",
            untested="That nothing but the constant part is left is not tested: with the demo model the varying "
            "part is 2.4 to 2.6 times the constant one after the last layer",
        ),
        "length": Claim(
            "arXiv 2410.24200, Section 2.2",
            "Longer texts speed up the decay",
            "log10 of the share of |HC|/|DC| that a power keeps, longest cut minus shortest, mean of heads",
        ),
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "scifact"),
    notes=("A is the attention of each head of the last layer; the signal is the input of that layer.",),
)

if __name__ == "__main__":
    main(EXPERIMENT)
