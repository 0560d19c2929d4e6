"""Where in a text a sentence stands, and whether its text is found by it: CLS, mean and landmarks, trained alike.

The paper on landmark pooling says that CLS gathers the first positions. Texts are searched for by their own first,
middle and last sentences, among all texts. All sentences of a text are read, in more tokens than a model was trained
with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

import cenote
from cenote.account.pooled_texts import OWN, read_pooled
from cenote.account.probes import POSITIONS, Probes, draw_probes
from cenote.account.texts import tokenise_account
from cenote.data.rows import Text
from cenote.data.sentences import count_words, split_sentences
from cenote.encoding.tokens import Whole, tokenise
from cenote.functional.retrieval import own_ranks
from cenote.functional.sampling import Floats
from cenote.models.properties import prompt_name_for
from experiments.data_sets import body_of, texts_of
from experiments.lab import Cell, Claim, Experiment, Measured, below, legend, looks, main
from experiments.landmark.material import SOURCES
from experiments.landmark.plan import ARMS, MAIN
from experiments.length.grid import decide, estimate
from experiments.length.reading import reading_to
from experiments.poolings.trainings import FULL, SEEDS, pair_over_seeds, train_all

SOURCE = "arXiv 2601.21525, abstract"
TEXTS, QUICK_TEXTS, SEED = 500, 120, 0
# Words of the beginning that is kept of a text, and the tokens that are read of it: all of these words.
WORDS, LENGTH = (100, 160), 256
FEWEST = 20
FIRST, LAST = POSITIONS.index("first"), POSITIONS.index("last")


@dataclass(frozen=True, eq=False)
class Asked:
    """Sentences that are asked for: of each text one for each position."""

    probes: Probes
    rows: Whole  # [Q, P] the sentences of each text that is asked for


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the share of sentences that find their text, by pooling and position."""
    asked = ask(model, data, QUICK_TEXTS if quick else TEXTS)
    if len(asked.rows) < FEWEST:
        return Measured([{"texts": len(asked.rows), "needed": FEWEST}], [])
    folders = train_all(model, {name: ARMS[name] for name in MAIN}, quick=quick)
    return summarise(
        {name: np.stack([find(cenote.load(one), asked) for one in some]) for name, some in folders.items()}
    )


def ask(model: SentenceTransformer, data: str, count: int) -> Asked:
    """Return sentences of the beginnings of texts, of which none is in another text and all are read."""
    texts = [Text(one.id, beginning(body_of(one.text))) for one in texts_of(data, count, SEED)]
    probes = draw_probes([one for one in texts if count_words(one.text) >= WORDS[0]], count, SEED)
    if not len(probes):
        return Asked(probes, np.zeros((0, len(POSITIONS)), np.int64))
    with reading_to(model, LENGTH):
        read = tokenise_account(model, probes, alternatives=False).read
    alone = [sum(one in text.text for text in probes.texts) == 1 for one in probes.sentences]
    kept = (read & np.array(alone, bool)).reshape(-1, len(POSITIONS)).all(1)
    return Asked(probes, np.arange(len(probes)).reshape(-1, len(POSITIONS))[kept])


def beginning(text: str) -> str:
    """Return the sentences that stand within the first words of a text.

    >>> len(beginning("A pool of seven words is deep. " * 40).split())
    154
    """
    ends = [end for _, end in split_sentences(text) if count_words(text[:end]) <= WORDS[1]]
    return text[: max(ends, default=0)]


def find(model: SentenceTransformer, asked: Asked) -> Floats:
    """Return whether each sentence finds its text first, `[P, Q]`."""
    with reading_to(model, LENGTH):
        rows, sentences = asked.rows.T.ravel(), asked.probes.sentences
        sides = {"document": [text.text for text in asked.probes.texts], "query": [sentences[row] for row in rows]}
        documents, queries = (
            read_pooled(model, tokenise(model, some, prompt_name_for(model, None, task), task), {}, task=task).vectors[
                OWN
            ]
            for task, some in sides.items()
        )
    found = own_ranks(queries, documents, asked.probes.owners[rows]) == 1
    return found.reshape(len(POSITIONS), -1).astype(np.float64)


def summarise(found: Mapping[str, Floats]) -> Measured:
    """Return a row for each pooling and position, and the findings, from `[S, P, Q]` of S seeds."""
    rows = [
        {"pooling": name, "sentence": position, "texts": values.shape[2], "found": float(values[:, place].mean())}
        for name, values in found.items()
        for place, position in enumerate(POSITIONS)
    ]
    falls = {name: values[:, [LAST]] - values[:, [FIRST]] for name, values in found.items()}
    changes = {"late": falls["cls"], "more": falls["cls"] - falls["mean"], "landmark": falls["cls"] - falls["landmark"]}
    items = np.arange(falls["cls"].shape[2])
    return Measured(rows, [decide(below, name, estimate(pair_over_seeds(one, items))) for name, one in changes.items()])


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a row for each model and a column for each data set: a line for each pooling, over positions."""
    models, data = (list(dict.fromkeys(getattr(cell, name) for cell in cells)) for name in ("model", "data"))
    figure.set_size_inches(max(5.5, 3.2 * len(data)), 0.8 + 2.7 * len(models))
    axes = figure.subplots(len(models), len(data), squeeze=False, sharey="row")
    styles = looks(MAIN)
    for cell in cells:
        ax = axes[models.index(cell.model), data.index(cell.data)]
        for name in MAIN:
            rows = [row for row in cell.measured.rows if row.get("pooling") == name]
            ax.plot([row["sentence"] for row in rows], [row["found"] for row in rows], ms=5, label=name, **styles[name])
        ax.set_title(f"from {cell.model}, {cell.data}", fontsize=9)
    for ax in axes[-1]:
        ax.set_xlabel("sentence of the text")
    for ax in axes[:, 0]:
        ax.set_ylabel("share that finds its text")
    legend(figure, columns=3)


_READ = f"texts of {WORDS[0]} to {WORDS[1]} words"
EXPERIMENT = Experiment(
    name="pooling-positions",
    title="Sentences that find their text, by their place in it",
    claims={
        "late": Claim(
            SOURCE,
            "CLS gathers the first positions, and loses evidence that stands late",
            f"Share of last sentences that find their text by CLS minus that of first sentences, {_READ}",
            untested="That this is of CLS is not shown: last sentences find their text less often by the mean and by "
            "landmarks, too (see the figure)",
        ),
        "more": Claim(
            f"{SOURCE}: a control that the paper does not have",
            "It loses more of what stands late than the mean does",
            "That difference by CLS minus that by the mean",
            note="The models had been trained with the mean before",
        ),
        "landmark": Claim(
            SOURCE,
            "It loses more of what stands late than landmark pooling does",
            "That difference by CLS minus that by landmarks",
        ),
    },
    measure=measure,
    draw=draw,
    data=("scifact", "imdb", "20news_full"),
    trained_on=SOURCES,
    notes=(
        f"All of a text is read: its beginning, of at most {WORDS[1]} words, in at most {LENGTH} tokens. Models were "
        f"trained with {FULL['max_length']} tokens. A sentence that is in another text too is left out with its text.",
        f"At full size the intervals of a change include the variation between {SEEDS} trainings.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
