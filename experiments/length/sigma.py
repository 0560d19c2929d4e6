"""sigma_a of the last layer by length and temperature: Figures 5 and 11 and Theorem 3 of the paper on length collapse.

The paper takes texts of natural lengths, in bins of 50 tokens. Long texts differ from short ones in content too, so the
same texts cut at two lengths are compared as well. Theorem 3 is shown as its derivation gives it, and as it is printed
in the text at hand, a conversion that may differ from the paper's own formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

import cenote
from cenote.diagnosis.layers import profile_tokens
from cenote.diagnosis.selection import bin_of_sigma, select_by_length
from cenote.encoding.tokens import Tokens, tokenise
from cenote.functional.items import mean_of_items, rank_correlation_of_items
from cenote.functional.sampling import Floats
from cenote.functional.spectrum import sigma_a_bound
from experiments.data_sets import texts_of
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, below, legend, looks, main
from experiments.length.reading import count_layers, cut_texts, interval, known

PLAIN, TEMPERED, LOW = TAUS = (1.0, 0.8, 0.5)
# Texts that are drawn to fill the bins, texts of a bin, texts that are cut. A quick run takes about 40 s of one core, a
# whole one 8 minutes.
DRAWN, QUICK_DRAWN, IN_BIN, QUICK_IN_BIN, CUT, QUICK_CUT, SEED = 4000, 300, 100, 10, 100, 12, 0
# Texts of fewer tokens have no logits to speak of.
FEWEST_TOKENS = 4
# The curves of each panel: temperature, column and line.
BY_TEMPERATURE = {
    "sigma_a, τ 1": (PLAIN, "sigma_a", "-"),
    f"sigma_a, τ {TEMPERED:g}": (TEMPERED, "sigma_a", "--"),
    f"sigma_a, τ {LOW:g}": (LOW, "sigma_a", ":"),
}
BY_THEOREM = {
    "sigma_a, τ 1": (PLAIN, "sigma_a", "-"),
    "Theorem 3, text at hand": (PLAIN, "printed", "-."),
    "Theorem 3, as derived": (PLAIN, "derived", ":"),
}
THEOREM = "arXiv 2410.24200, Theorem 3"
REMARK = "remark on the text of arXiv 2410.24200 at hand, Theorem 3"
CONVERTED = "That text is a conversion, which may differ from the paper's own formula"
FIGURE = "arXiv 2410.24200, Figures 5 and 11"


def printed_bound(length: Floats, logit_variance: Floats) -> Floats:
    """Return Theorem 3 as the text at hand prints it: sqrt(n / (2 sqrt(1 + exp(-2 s²) (n - 1)^(3/2) + 1))).

    >>> printed_bound(np.array([2.0, 17.0]), np.array([0.0, 0.0])).round(3)
    array([0.76 , 1.023])

    `cenote.functional.spectrum.sigma_a_bound` is the form that follows from the paper's derivation.
    """
    root = np.sqrt(1 + np.exp(-2 * logit_variance) * (length - 1) ** 1.5 + 1)
    bound: Floats = np.sqrt(length / (2 * root))
    return bound


@dataclass(frozen=True)
class Heads:
    """sigma_a of each head of the last layer and its bounds, `[N, H]`."""

    sigma: Floats
    printed: Floats
    derived: Floats


def read_heads(model: SentenceTransformer, tokens: Tokens, tau: float) -> Heads | None:
    """Return the last layer's sigma_a at a temperature; None for a model whose attention is not visible."""
    with cenote.temper(model, tau):
        last = profile_tokens(model, tokens, attention=[count_layers(model) - 1])[-1]
    sigma, variance = known(last.sigma_a), known(last.logit_variance)
    if sigma is None or variance is None:
        return None
    lengths = np.broadcast_to(tokens.lengths[:, None].astype(np.float64), variance.shape)
    return Heads(sigma, printed_bound(lengths, variance), sigma_a_bound(lengths.copy(), variance).numpy())


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return sigma_a by length and temperature, with both forms of Theorem 3."""
    tokens = tokenise(model, [text.text for text in texts_of(data, QUICK_DRAWN if quick else DRAWN, SEED)])
    tokens = tokens.take(np.flatnonzero(tokens.lengths >= FEWEST_TOKENS).tolist())
    tokens = tokens.take(select_by_length(tokens.lengths, QUICK_IN_BIN if quick else IN_BIN, [], SEED))
    natural = {tau: read_heads(model, tokens, tau) for tau in TAUS}
    cuts = cut_texts(model, data, QUICK_CUT if quick else CUT)
    same = [read_heads(model, cuts[cut], PLAIN) for cut in (min(cuts), max(cuts))] if cuts else []
    rows: list[dict[str, Any]] = []
    for tau, heads in natural.items():
        if heads is not None:
            rows += rows_by_length(tokens, tau, heads)
    for cut, heads in zip((min(cuts), max(cuts)) if cuts else (), same, strict=True):
        if heads is not None:
            rows.append(row_of("cut", PLAIN, cut, heads))
    return Measured(rows, findings(tokens.lengths, natural, same))


def rows_by_length(tokens: Tokens, tau: float, heads: Heads) -> list[dict[str, Any]]:
    """Return a row for each bin of 50 tokens."""
    places = bin_of_sigma(tokens.lengths)
    rows = []
    for place in np.unique(places):
        inside = places == place
        chosen = Heads(heads.sigma[inside], heads.printed[inside], heads.derived[inside])
        rows.append(row_of("natural", tau, round(float(tokens.lengths[inside].mean())), chosen))
    return rows


def row_of(lengths: str, tau: float, tokens: int, heads: Heads) -> dict[str, Any]:
    """Return a row of the table."""
    mean = mean_of_items(heads.sigma.mean(1))
    row = {"lengths": lengths, "tau": tau, "tokens": tokens, "texts": len(heads.sigma), "sigma_a": mean.value}
    beside = {
        "printed": heads.printed.mean(),
        "derived": heads.derived.mean(),
        "heads above printed": (heads.sigma > heads.printed).mean(),
        "heads above derived": (heads.sigma > heads.derived).mean(),
    }
    return row | interval(mean) | {name: float(value) for name, value in beside.items()}


def findings(lengths: Any, natural: dict[float, Heads | None], same: Sequence[Heads | None]) -> list[Finding]:
    """Return the findings that the data allow."""
    found: list[Finding] = []
    plain, tempered = natural[PLAIN], natural[TEMPERED]
    if plain is None or tempered is None:
        return found
    if np.ptp(lengths):
        found.append(below("falls", rank_correlation_of_items(lengths, plain.sigma.mean(1))))
        found.append(below("derived falls", rank_correlation_of_items(lengths, plain.derived.mean(1))))
        found.append(below("printed falls", rank_correlation_of_items(lengths, plain.printed.mean(1))))
    found.append(above("tempered", mean_of_items((tempered.sigma - plain.sigma).mean(1))))
    for name, bound in (("printed", plain.printed), ("derived", plain.derived)):
        found.append(above(name, mean_of_items((bound - plain.sigma).mean(1))))
    if same and same[0] is not None and same[1] is not None:
        found.append(below("cut", mean_of_items((same[1].sigma - same[0].sigma).mean(1))))
    return found


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw two panels for each data set: sigma_a by temperature, and at temperature 1 beside Theorem 3, unmarked."""
    data = list(dict.fromkeys(cell.data for cell in cells))
    figure.set_size_inches(max(6, 3.6 * len(data)), 7)
    axes = figure.subplots(2, len(data), squeeze=False, sharex=True)
    styles = looks(cell.model for cell in cells)
    for cell in cells:
        for curves, ax in zip((BY_TEMPERATURE, BY_THEOREM), axes[:, data.index(cell.data)], strict=True):
            for label, (tau, column, line) in curves.items():
                points = [row for row in cell.measured.rows if (row["lengths"], row["tau"]) == ("natural", tau)]
                x, y = ([row[one] for row in points] for one in ("tokens", column))
                look = styles[cell.model] if column == "sigma_a" else {**styles[cell.model], "marker": ""}
                ax.plot(x, y, linestyle=line, ms=4, label=f"{cell.model}: {label}", **look)
    for ax, name in zip(axes[0], data, strict=True):
        ax.set_title(name, fontsize=10)
    for ax in axes.flat:
        ax.set_ylim(bottom=0)
    for ax in axes[1]:
        ax.set_xlabel("tokens read, bins of 50")
    axes[0, 0].set_ylabel("sigma_a, mean of heads")
    axes[1, 0].set_ylabel("sigma_a and Theorem 3")
    legend(figure, columns=3)


EXPERIMENT = Experiment(
    name="length-sigma",
    title="sigma_a of the last layer by length, and Theorem 3",
    claims={
        "falls": Claim(
            FIGURE,
            "sigma_a falls with the length of a text (it rises for one of the paper's models, E5)",
            "Rank correlation of length and sigma_a, mean of heads, over texts of natural lengths",
        ),
        "cut": Claim(
            FIGURE,
            "Length itself lowers sigma_a: the same texts, cut",
            "sigma_a at the longest cut minus that at the shortest, mean of heads",
        ),
        "tempered": Claim(
            FIGURE,
            "A lower temperature raises sigma_a",
            f"sigma_a at temperature {TEMPERED} minus that at 1, mean of heads",
        ),
        "derived falls": Claim(
            THEOREM,
            "The bound falls with the length of a text",
            "Rank correlation of length and the bound that the derivation gives, mean of heads",
            "At one variance of the logits it falls by algebra",
        ),
        "derived": Claim(
            THEOREM,
            "sigma_a is at most the bound, on average",
            "The bound that the derivation gives minus sigma_a, mean of heads",
        ),
        "printed falls": Claim(
            REMARK,
            "The bound falls with length as the text at hand prints it, too",
            "Rank correlation of length and bound, mean of heads",
            note=CONVERTED,
        ),
        "printed": Claim(
            REMARK,
            "sigma_a is at most the bound as the text at hand prints it, on average",
            "Bound minus sigma_a, mean of heads",
            note=CONVERTED,
        ),
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "scifact"),
    notes=(
        "Lengths are the tokens that the model reads, at most its own limit; tokens are the mean of a bin, or the cut.",
        "`heads above` is the share of heads whose sigma_a exceeds the bound. In the text at hand the whole "
        "denominator of the bound is under the inner root; as derived, only 1 + exp(-2 s²) is.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
