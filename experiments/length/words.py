"""Plain averages of the word-embedding matrix, by length: Figure 3 of the paper on length collapse.

The mean of more words lies closer to the mean of all words, whatever the words are. So averages of as many words drawn
at random from all texts stand beside them, and the rise of the model is compared with that of the averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.diagnosis.controls import word_vectors
from cenote.diagnosis.cut_lengths import tokenise_cuts
from cenote.diagnosis.summaries import length_curve
from cenote.encoding.tokens import Tokens, Whole, tokenise
from cenote.functional.bins import length_bins
from cenote.functional.intervals import mean_over_pairs
from cenote.functional.sampling import Floats
from cenote.functional.units import to_unit
from experiments.data_sets import texts_of
from experiments.lab import Cell, Claim, Experiment, Measured, above, legend, looks, main, panels
from experiments.length.reading import cut_rows, natural_rows, pair_cosines, pair_sides, unit_vectors

# Texts that are drawn. A quick run takes about 20 s of one core, a whole one 3 minutes.
TEXTS, QUICK_TEXTS, BINS, SEED = 1000, 120, 4, 0
SOURCE = "arXiv 2410.24200, Figure 3"


def averages(model: SentenceTransformer, tokens: Tokens) -> tuple[Floats, Whole]:
    """Return averages of word embeddings, divided by their norms, and the texts that have a word."""
    vectors, kept = word_vectors(model, tokens)
    return to_unit(vectors.numpy()), kept.numpy()


def shuffle_words(tokens: Tokens, seed: int) -> Tokens:
    """Return texts of the same lengths whose tokens are those of all texts in random order."""
    ids = np.random.default_rng(seed).permutation(tokens.columns["input_ids"])
    return replace(tokens, columns={**tokens.columns, "input_ids": ids})


FORMS = {
    "model": lambda model, tokens: (unit_vectors(model, tokens), np.arange(len(tokens))),
    "word averages": averages,
    "random words": lambda model, tokens: averages(model, shuffle_words(tokens, SEED)),
}


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the mean cosine of pairs by natural length and by cut: of the model, of word averages, of random words."""
    texts = [text.text for text in texts_of(data, QUICK_TEXTS if quick else TEXTS, SEED)]
    tokens = tokenise(model, texts)
    edges = length_bins(tokens.lengths, BINS)
    cuts = tokenise_cuts(model, texts, tokens.full_lengths, None, SEED)
    count = len(next(iter(cuts.values()), ()))
    rows, rises, findings = [], {}, []
    for form, read in FORMS.items():
        vectors, kept = read(model, tokens)
        curve = length_curve(vectors, tokens.lengths[kept], edges, SEED)
        cosines = {cut: pair_cosines(read(model, some)[0]) for cut, some in cuts.items()}
        rows += natural_rows(curve, tokens.lengths[kept], vectors=form) + cut_rows(cosines, count, vectors=form)
        if cuts:
            rises[form] = cosines[max(cuts)] - cosines[min(cuts)]
        if form == "word averages" and curve.difference:
            findings.append(above("natural", curve.difference))
    if cuts:
        sides = pair_sides(count)
        beyond = rises["model"] - rises["word averages"]
        findings += [
            above("cut", mean_over_pairs(rises["word averages"], *sides)),
            above("beyond", mean_over_pairs(beyond, *sides)),
        ]
    return Measured(rows, findings)


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each data set, of the cut texts: a colour for each model, a line for each kind of vectors."""
    colours = looks(cell.model for cell in cells)
    lines = dict(zip(FORMS, ("-", "--", ":"), strict=True))
    for name, ax in panels(figure, cells).items():
        for cell in (one for one in cells if one.data == name):
            for form, line in lines.items():
                points = [row for row in cell.measured.rows if (row["lengths"], row["vectors"]) == ("cut", form)]
                x, y = ([row[column] for row in points] for column in ("tokens", "cosine"))
                ax.plot(x, y, line, ms=4, label=f"{cell.model}: {form}", **colours[cell.model])
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("tokens at which texts are cut")
        ax.set_ylabel("mean cosine of pairs")
    legend(figure, columns=3)


EXPERIMENT = Experiment(
    name="length-words",
    title="Averages of word embeddings, by length",
    claims={
        "natural": Claim(
            SOURCE,
            "Averages of the word embeddings of longer texts have higher cosines with each other",
            "Mean cosine of the longest bin minus that of the shortest",
            "Averages of as many random words draw together as much or more (see the figure)",
        ),
        "cut": Claim(
            SOURCE,
            "So do those of the same texts, cut",
            "Mean cosine at the longest cut minus that at the shortest",
            "Averages of as many random words draw together as much or more (see the figure)",
        ),
        "beyond": Claim(
            "arXiv 2410.24200, Corollary 4",
            "Attention draws long texts together faster than the averages",
            "The same change of the model's cosines, minus that of the averages'",
        ),
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "scifact"),
    notes=(
        "Random words are the tokens of all texts in random order, in texts of the same lengths. Their averages draw "
        "together by the law of large numbers alone: the claim about averages would hold without any language.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
