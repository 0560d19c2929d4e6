"""Details of long texts: does a sentence lead back to its text, the more of the text is read beside it?

The blog post says that one vector cannot hold the fine details of a very long text. Texts are searched for by their
own first sentences, among all texts. The same texts are read to several lengths, of which each holds the sentence, so
that nothing is lost to the cut. Matching the tokens of the same passes stands beside the vectors: where tokens find the
text, the detail was read. Means of random vectors of the same words stand beside them, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.account.pooled_texts import OWN, Pooled, read_pooled
from cenote.account.probes import draw_probes
from cenote.account.texts import tokenise_account
from cenote.encoding.tokens import Tokens, Whole
from cenote.functional.items import mean_of_items
from cenote.functional.retrieval import own_ranks, token_matches
from cenote.functional.sampling import Floats
from cenote.functional.units import to_unit
from cenote.models.properties import limit_of
from experiments.data_sets import body_of, texts_of
from experiments.lab import COLOURS, Cell, Claim, Experiment, Measured, above, below, legend, main, panels
from experiments.length.reading import reading_to

TEXTS, QUICK_TEXTS, SEED = 500, 120, 0
# Tokens of a text that are read.
CUTS = (32, 64, 128, 256)
# How texts are searched: by the model's vectors, by its tokens, and by means of random vectors of words.
VECTOR, MATCH, RANDOM = "vector", "token match", "random words"
WIDTH = 384  # of random vectors
FEWEST = 20
SOURCE = "Leys 2022, what are sentence embeddings"
Flags = npt.NDArray[np.bool_]


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the share of sentences that find their text, by the tokens of it that are read."""
    count = QUICK_TEXTS if quick else TEXTS
    probes = draw_probes([one._replace(text=body_of(one.text)) for one in texts_of(data, count, SEED)], count, SEED)
    cuts = [cut for cut in CUTS if cut <= (limit_of(model) or CUTS[-1])]
    each = {}
    for cut in cuts:
        with reading_to(model, cut):
            each[cut] = tokenise_account(model, probes, alternatives=False)
    # First sentences that no other text holds and that are read at every length, of texts that are cut at every length.
    long = each[cuts[-1]].documents.truncated[probes.owners]
    own_alone = np.array([sum(one in text.text for text in probes.texts) == 1 for one in probes.sentences], bool)
    asked = np.flatnonzero(each[cuts[0]].read & long & (probes.positions == 0) & own_alone)
    if len(asked) < FEWEST:
        return Measured([{"sentences": len(asked), "needed": FEWEST}], [])
    queries, own = each[cuts[-1]].sentences.take(asked.tolist()), probes.owners[asked]
    sentences = read_pooled(model, queries, {}, task="query", keep_tokens=True)
    table = np.random.default_rng(SEED).normal(size=(len(model.tokenizer), WIDTH))
    found: dict[str, list[Flags]] = {VECTOR: [], MATCH: [], RANDOM: []}
    for texts in each.values():
        documents = read_pooled(model, texts.documents, {}, task="document", keep_tokens=True)
        found[VECTOR].append(own_ranks(sentences.vectors[OWN], documents.vectors[OWN], own) == 1)
        found[MATCH].append(_found_by_tokens(sentences, documents, own))
        found[RANDOM].append(own_ranks(random_means(queries, table), random_means(texts.documents, table), own) == 1)
    rows = [
        {"tokens read": cut, "sentences": len(asked), **{how: float(some[at].mean()) for how, some in found.items()}}
        for at, cut in enumerate(cuts)
    ]
    falls = {how: some[-1].astype(float) - some[0] for how, some in found.items()}
    findings = [
        below("details", mean_of_items(falls[VECTOR])),
        below("pooling", mean_of_items(falls[VECTOR] - falls[MATCH])),
        above("model", mean_of_items(falls[VECTOR] - falls[RANDOM])),
    ]
    return Measured(rows, findings)


def random_means(tokens: Tokens, table: Floats) -> Floats:
    """Return for each text the mean of the random vectors of its tokens, of norm 1."""
    ends = tokens.offsets
    sums = np.add.reduceat(table[tokens.columns["input_ids"]], ends[:-1].astype(np.int64), axis=0)
    return to_unit(sums)


def _found_by_tokens(sentences: Pooled, documents: Pooled, own: Whole) -> Flags:
    """Return whether the tokens of each sentence match its own text best."""
    rows, count = np.arange(len(own)), len(documents.tokens)
    scores = token_matches(sentences.tokens, documents.tokens, rows, np.tile(np.arange(count), (len(own), 1)))
    best = scores[rows, own].copy()
    scores[rows, own] = -np.inf
    found: Flags = best > scores.max(1)
    return found


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each data set: shares found by tokens read, a colour for each model, controls dotted."""
    models = list(dict.fromkeys(cell.model for cell in cells))
    for data, ax in panels(figure, cells).items():
        for cell in (one for one in cells if one.data == data):
            rows = [row for row in cell.measured.rows if VECTOR in row]
            colour = COLOURS[models.index(cell.model) % len(COLOURS)]
            for how, look in ((VECTOR, "o-"), (MATCH, "s:"), (RANDOM, "x--")):
                x, y = ([row[column] for row in rows] for column in ("tokens read", how))
                ax.plot(x, y, look, color=colour, ms=4, label=f"{cell.model}, {how}")
        ax.set_xscale("log", base=2)
        ax.set_xticks(CUTS, [str(cut) for cut in CUTS])
        ax.set_xlabel("tokens of a text that are read")
        ax.set_ylabel("first sentences that find their text")
        ax.set_ylim(0, 1.02)
    legend(figure)


EXPERIMENT = Experiment(
    name="pooling-details",
    title="First sentences that find their own text, by the tokens of it that are read",
    claims={
        "details": Claim(
            SOURCE,
            "One vector does not hold the fine details of long texts: the more of a text is read, the fewer of its "
            "first sentences find it",
            "Share of first sentences that find their text, read to the longest cut minus to 32 tokens",
            certain="Means of random vectors of words lose them, too (see the figure)",
        ),
        "pooling": Claim(
            f"{SOURCE}: a control that the post does not have",
            "The loss is that of pooling: matching the tokens of the same texts loses less",
            "That difference by vectors minus that by tokens",
        ),
        "model": Claim(
            f"{SOURCE}: a control that the post does not have",
            "A model's vectors keep more of them than means of random vectors of the same words do",
            "That difference by vectors minus that by random vectors",
        ),
    },
    measure=measure,
    draw=draw,
    data=("scifact", "imdb", "20news_full"),
    notes=(
        "A sentence is searched for word by word, so this shows what a vector covers, not what is relevant. Sentences "
        "end within 32 tokens and stand in no other text, and their texts are longer than the longest cut. All texts "
        "are searched, newsgroup posts without headers and quotes.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
