"""Details of long texts: do sentences lead back to their text, by its length?

The blog post says that one vector cannot hold the fine details of a very long text. Each text is searched for by
sentences of its own, among all texts; only sentences that the model reads count, so that nothing is lost to the cut.
Matching the tokens of the same passes stands beside the vectors: where tokens find the text, the detail was read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sentence_transformers import SentenceTransformer

from cenote.account.pooled_texts import OWN, Pooled, read_pooled
from cenote.account.probes import draw_probes
from cenote.account.texts import AccountTexts, tokenise_account
from cenote.functional.retrieval import jackknife, nearest, own_ranks, token_matches
from experiments.data_sets import texts_of
from experiments.lab import COLOURS, Cell, Claim, Experiment, Measured, below, legend, main, panels

TEXTS, QUICK_TEXTS, SEED = 500, 80, 0
THIRDS = ("shortest third", "middle third", "longest third")
# How texts are searched.
VECTOR, MATCH = "vector", "token match"
# Texts that tokens rank anew, beside the sentence's own.
MATCHED = 50
FEWEST = 30
SOURCE = "Leys 2022, what are sentence embeddings"
Values = npt.NDArray[np.float64]


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return the share of sentences that find their text, by the length of the text, by vectors and by tokens."""
    probes = draw_probes(texts_of(data, QUICK_TEXTS if quick else TEXTS, SEED), QUICK_TEXTS if quick else TEXTS, SEED)
    if len(probes.texts) < FEWEST:
        return Measured([{"texts": "of three sentences", "documents": len(probes.texts)}], [])
    texts = tokenise_account(model, probes, alternatives=False)
    documents = read_pooled(model, texts.documents, {}, task="document", keep_tokens=True)
    sentences = read_pooled(model, texts.sentences, {}, task="query", keep_tokens=True)
    found = {
        VECTOR: own_ranks(sentences.vectors[OWN], documents.vectors[OWN], probes.owners) == 1,
        MATCH: _found_by_tokens(texts, documents, sentences),
    }
    # By whole lengths: of the texts that are cut, as many tokens are read.
    order = np.argsort(texts.documents.full_lengths, kind="stable")
    parts = dict(zip(THIRDS, np.array_split(order, len(THIRDS)), strict=True))
    rows = []
    for name, part in parts.items():
        inside = np.isin(probes.owners, part) & texts.read
        tokens = [round(float(one[part].mean())) for one in (texts.documents.full_lengths, texts.documents.lengths)]
        row = {"texts": name, "documents": len(part), "tokens": tokens[0], "tokens read": tokens[1]}
        rows.append(
            row | {"sentences": int(inside.sum()), **{how: float(one[inside].mean()) for how, one in found.items()}}
        )
    falls = {how: _fall(one, texts, parts[THIRDS[-1]], parts[THIRDS[0]]) for how, one in found.items()}
    less = falls[VECTOR][0] - falls[MATCH][0], falls[VECTOR][1] - falls[MATCH][1]
    findings = [
        below("details", jackknife(*falls[VECTOR], share=False)),
        below("mean", jackknife(*less, share=False)),
    ]
    return Measured(rows, findings)


def _found_by_tokens(texts: AccountTexts, documents: Pooled, sentences: Pooled) -> npt.NDArray[np.bool_]:
    """Return whether the tokens of each sentence match its own text best, among the nearest texts."""
    own = texts.probes.owners
    near = nearest(sentences.vectors[OWN], documents.vectors[OWN], MATCHED)
    candidates = np.concatenate([own[:, None], near], 1)
    scores = token_matches(sentences.tokens, documents.tokens, np.arange(len(own)), candidates)
    rivals = np.where(near == own[:, None], -np.inf, scores[:, 1:]).max(1)
    found: npt.NDArray[np.bool_] = scores[:, 0] > rivals
    return found


def _fall(
    found: npt.NDArray[np.bool_], texts: AccountTexts, long: npt.NDArray[np.int64], short: npt.NDArray[np.int64]
) -> tuple[float, Values]:
    """Return the share found in long texts minus that in short ones, and the same without each of these texts."""
    owners, count = texts.probes.owners, len(texts.probes.texts)
    hits = np.bincount(owners, found & texts.read, minlength=count)
    sizes = np.bincount(owners, texts.read, minlength=count)

    def share(part: npt.NDArray[np.int64], gone: int = -1) -> float:
        kept = part[part != gone]
        return float(hits[kept].sum() / sizes[kept].sum())

    without = [share(long, text) - share(short, text) for text in (*long.tolist(), *short.tolist())]
    return share(long) - share(short), np.array(without)


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw a panel for each data set: shares found by length, a colour for each model, tokens dashed."""
    models = list(dict.fromkeys(cell.model for cell in cells))
    for data, ax in panels(figure, cells).items():
        for cell in (one for one in cells if one.data == data):
            rows = [row for row in cell.measured.rows if VECTOR in row]
            colour = COLOURS[models.index(cell.model) % len(COLOURS)]
            for how, look in ((VECTOR, "o-"), (MATCH, "s:")):
                x, y = ([row[column] for row in rows] for column in ("texts", how))
                ax.plot(x, y, look, color=colour, ms=4, label=f"{cell.model}, {how}")
        ax.set_xlabel("texts, by their tokens")
        ax.set_ylabel("sentences that find their text")
        ax.set_ylim(0, 1.02)
    legend(figure)


EXPERIMENT = Experiment(
    name="pooling-details",
    title="Sentences that find their own text, by its length",
    claims={
        "details": Claim(
            SOURCE,
            "One vector does not hold the fine details of long texts: compression loses more of them",
            "Share of read sentences that find their text, longest third minus shortest third",
        ),
        "mean": Claim(
            f"{SOURCE}: a control that the post does not have",
            "The loss is that of pooling: matching the tokens of the same texts loses less with length",
            "That difference by vectors minus that by tokens",
        ),
    },
    measure=measure,
    draw=draw,
    data=("scifact", "imdb", "20news_full"),
    notes=("A sentence is searched for word by word, so this shows what a vector covers, not what is relevant.",),
)

if __name__ == "__main__":
    main(EXPERIMENT)
