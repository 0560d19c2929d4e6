"""Where in a text a sentence stands, and whether its text is found by it: CLS, mean and landmarks, trained alike.

The paper on landmark pooling says that CLS gathers the first positions. Texts are searched for by their own first,
middle and last sentences, among all texts. First sentences say more about a text than others; so all texts are read a
second time with their sentences in reverse order, and the same sentences are compared in the first and in the last
place. All of a text is read, in more tokens than a model was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

import cenote
from cenote.account.pooled_texts import OWN, read_pooled
from cenote.account.probes import POSITIONS, draw_probes
from cenote.data.rows import Text
from cenote.data.sentences import count_words, split_sentences
from cenote.encoding.tokens import Whole, count_tokens, tokenise
from cenote.functional.retrieval import own_ranks
from cenote.functional.sampling import Floats
from cenote.models.properties import prompt_name_for
from experiments.data_sets import body_of, texts_of
from experiments.lab import Cell, Claim, Experiment, Measured, below, cell_panels, legend, looks, main
from experiments.landmark.material import SOURCES
from experiments.landmark.plan import ARMS, MAIN
from experiments.length.grid import columns_of, decide, estimate
from experiments.length.reading import reading_to
from experiments.poolings.trainings import FULL, SEEDS, pair_over_seeds, train_all

SOURCE = "arXiv 2601.21525, abstract"
TEXTS, QUICK_TEXTS, SEED = 400, 120, 0
# Words of the beginning that is kept of a text, and the tokens that are read of it: all of these words.
WORDS, LENGTH = (100, 160), 256
FEWEST = 20
FIRST, LAST = POSITIONS.index("first"), POSITIONS.index("last")


@dataclass(frozen=True, eq=False)
class Asked:
    """Sentences that are asked for, and their texts in two orders: as they were written, and reversed."""

    orders: tuple[list[str], list[str]]  # each text in either order
    sentences: list[list[str]]  # [P][Q], by their place in the order in which they were written
    own: Whole  # [Q] the text of each


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the share of sentences that find their text, by pooling and place."""
    asked = ask(model, data, QUICK_TEXTS if quick else TEXTS)
    if len(asked.own) < FEWEST:
        return Measured([{"texts": len(asked.own), "needed": FEWEST}], [])
    folders = train_all(model, {name: ARMS[name] for name in MAIN}, quick=quick)
    return summarise(
        {name: np.stack([find(cenote.load(one), asked) for one in some]) for name, some in folders.items()}
    )


def ask(model: SentenceTransformer, data: str, count: int) -> Asked:
    """Return sentences of the beginnings of texts, of which none is in another text and all are read."""
    texts = [Text(one.id, beginning(body_of(one.text))) for one in texts_of(data, count, SEED)]
    probes = draw_probes([one for one in texts if count_words(one.text) >= WORDS[0]], count, SEED)
    written = [[text.text[start:end] for start, end in split_sentences(text.text)] for text in probes.texts]
    orders = ([" ".join(one) for one in written], [" ".join(reversed(one)) for one in written])
    sentences = [probes.sentences[place :: len(POSITIONS)] for place in range(len(POSITIONS))]
    read = count_tokens(model, orders[0]) <= LENGTH if written else np.zeros(0, bool)
    alone = [all(sum(one in text for text in orders[0]) == 1 for one in some) for some in zip(*sentences, strict=True)]
    own = np.flatnonzero(read & np.array(alone, bool))
    return Asked(orders, [[some[row] for row in own] for some in sentences], own)


def beginning(text: str) -> str:
    """Return the sentences that stand within the first words of a text.

    >>> len(beginning("A pool of seven words is deep. " * 40).split())
    154
    """
    ends = [end for _, end in split_sentences(text) if count_words(text[:end]) <= WORDS[1]]
    return text[: max(ends, default=0)]


def find(model: SentenceTransformer, asked: Asked) -> Floats:
    """Return how often a sentence in each place finds its text first, `[P, Q]`, as the mean over both orders.

    The same sentences stand in the first place and in the last one.
    """
    flat = [one for some in asked.sentences for one in some]
    with reading_to(model, LENGTH):
        queries = _vectors(model, flat, "query")
        found = []
        for order in asked.orders:
            ranks = own_ranks(queries, _vectors(model, order, "document"), np.tile(asked.own, len(POSITIONS)))
            found.append((ranks == 1).reshape(len(POSITIONS), -1).astype(np.float64))
    written, reverse = found
    return (written + reverse[::-1]) / 2


def _vectors(model: SentenceTransformer, texts: Sequence[str], task: str) -> Floats:
    return read_pooled(model, tokenise(model, texts, prompt_name_for(model, None, task), task), {}, task=task).vectors[
        OWN
    ]


def summarise(found: Mapping[str, Floats]) -> Measured:
    """Return a row for each pooling and place, with the fall from the first to the last, and the findings.

    `found` has `[S, P, Q]` of S seeds.
    """
    falls = {name: values[:, [LAST]] - values[:, [FIRST]] for name, values in found.items()}
    items = np.arange(falls["cls"].shape[2])
    rows = []
    for name, values in found.items():
        fall = columns_of(estimate(pair_over_seeds(falls[name], items)))
        for place, position in enumerate(POSITIONS):
            row = {"pooling": name, "place": position, "texts": len(items), "found": float(values[:, place].mean())}
            rows.append(
                row | ({f"last minus first: {one}": value for one, value in fall.items()} if place == LAST else {})
            )
    changes = {"late": falls["cls"], "more": falls["cls"] - falls["mean"], "landmark": falls["cls"] - falls["landmark"]}
    return Measured(rows, [decide(below, name, estimate(pair_over_seeds(one, items))) for name, one in changes.items()])


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a row for each model and a column for each data set: a line for each pooling, over positions."""
    styles = looks(MAIN)
    for cell, ax in cell_panels(figure, cells):
        for name in MAIN:
            rows = [row for row in cell.measured.rows if row.get("pooling") == name]
            ax.plot([row["place"] for row in rows], [row["found"] for row in rows], ms=5, label=name, **styles[name])
        ax.set_xlabel("place of the sentence")
        ax.set_ylabel("share that finds its text")
        ax.set_ylim(0, 1.03)
    legend(figure, columns=3)


_READ = f"texts of {WORDS[0]} to {WORDS[1]} words"
EXPERIMENT = Experiment(
    name="pooling-positions",
    title="Sentences that find their text, by their place in it, with poolings trained from each model",
    claims={
        "late": Claim(
            SOURCE,
            "CLS gathers the first positions, and loses evidence that stands late",
            f"Share of sentences that find their text by CLS from the last place minus from the first, {_READ}",
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
        "Shares are means over texts as they were written and texts with their sentences in reverse order, so that "
        "the same sentences stand in the first and in the last place.",
        f"All of a text is read: its beginning, of at most {WORDS[1]} words, in at most {LENGTH} tokens. Models were "
        f"trained with {FULL['max_length']} tokens. A sentence that is in another text too is left out with its text.",
        f"At full size the intervals of a change include the variation between {SEEDS} trainings.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
