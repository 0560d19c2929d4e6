"""A model as mteb sees it: texts are read by our engine, and searched for exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mteb._create_dataloaders import create_dataloader
from mteb.models.abs_encoder import AbsEncoder, get_prompt_name
from mteb.models.model_meta import ModelMeta
from mteb.types import PromptType
from torch import Tensor

from cenote.encoding.tokens import Whole
from cenote.encoding.vectors import Vectors
from cenote.evaluation.reading import AnyReader, Side
from cenote.evaluation.ways import Way, read_cut
from cenote.functional.retrieval import best_of

# Scores that are in memory at once: of some queries with all vectors of documents.
_AT_ONCE = 50_000_000


@dataclass
class Seen:
    """The texts that a task read, by their side (query, document, or text), for tables by length."""

    tokens: dict[str, dict[str, int]] = field(default_factory=dict)
    cut: dict[str, dict[str, bool]] = field(default_factory=dict)

    def add(self, side: str, texts: list[str], tokens: Whole, cut: Any) -> None:
        """Note the tokens of texts, and whether the model cuts each."""
        self.tokens.setdefault(side, {}).update(zip(texts, tokens.tolist(), strict=True))
        self.cut.setdefault(side, {}).update(zip(texts, cut.tolist(), strict=True))

    @property
    def counts(self) -> tuple[int, int]:
        """How many different texts there are, and how many of them are cut."""
        return sum(map(len, self.cut.values())), sum(sum(one.values()) for one in self.cut.values())


class EngineEncoder(AbsEncoder):  # type: ignore[misc]  # mteb is not followed by the type checker
    """Gives mteb the vectors that our engine reads, and searches among them.

    Prompts are chosen as mteb chooses those of a sentence-transformers model. A search is exact: a text scores as its
    vector, or as the best of its vectors where the way to read it gives several.

    Args:
        reader: reads texts, and keeps their vectors.
        way: how long documents are read. Queries are cut.
        watched: for each query, the documents whose rank is noted.
        skip_own: whether a document with the id of the query is none of its results.
    """

    def __init__(
        self,
        reader: AnyReader,
        way: Way = read_cut,
        watched: Mapping[str, list[str]] | None = None,
        *,
        skip_own: bool = False,
    ) -> None:
        self.reader, self.way, self.watched, self.skip_own = reader, way, watched or {}, skip_own
        self.model, self.model_prompts = reader.model, dict(reader.model.prompts)
        self.mteb_model_meta = ModelMeta.create_empty()
        self.seen = Seen()
        self.sides: dict[str, Side] = {}  # how queries, documents or texts were read
        self.ranks: dict[str, dict[str, float]] = {}  # of watched documents, from 1; 0 for those that are not ranked
        self.vectors_per_text = 1.0
        self.query_tokens: dict[str, int] = {}
        self.document_tokens: dict[str, int] = {}
        self.documents: dict[str, str] = {}  # as they are read
        self._ids: list[str] = []
        self._documents: Vectors = np.zeros((0, 1), np.float32)
        self._owners: Whole = np.zeros(0, np.int64)

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, **_: Any) -> Any:
        """Return the vectors of texts, one for each."""
        texts = _texts_of(inputs)
        vectors, owners = self._read(texts, task_metadata, prompt_type)
        if len(owners) != len(texts):
            raise ValueError(f"{len(owners)} vectors for {len(texts)} texts, of which each needs one")
        return vectors

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the scores of all pairs, by the model's own measure."""
        return self.model.similarity(torch.as_tensor(embeddings1), torch.as_tensor(embeddings2))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the scores of corresponding pairs, by the model's own measure."""
        return self.model.similarity_pairwise(torch.as_tensor(embeddings1), torch.as_tensor(embeddings2))

    def index(self, corpus: Any, *, task_metadata: Any, **_: Any) -> None:
        """Read the documents of a corpus."""
        loader = create_dataloader(corpus, task_metadata=task_metadata, prompt_type=PromptType.document)
        self._ids, texts = list(corpus["id"]), _texts_of(loader)
        self._documents, self._owners = self._read(texts, task_metadata, PromptType.document)
        self.documents = dict(zip(self._ids, texts, strict=True))
        self.document_tokens = {name: self.seen.tokens["document"][text] for name, text in self.documents.items()}
        self.vectors_per_text = len(self._owners) / max(1, len(self._ids))

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any,
        top_k: int,
        top_ranked: Mapping[str, list[str]] | None = None,
        **_: Any,
    ) -> dict[str, dict[str, float]]:
        """Return the scores of the best documents of each query, or of those that it is given to rank."""
        loader = create_dataloader(queries, task_metadata=task_metadata, prompt_type=PromptType.query)
        names, texts = list(queries["id"]), _texts_of(loader)
        vectors, _owners = self._read(texts, task_metadata, PromptType.query)
        tokens = self.seen.tokens["query"]
        self.query_tokens = {name: tokens[text] for name, text in zip(names, texts, strict=True)}
        places = {name: place for place, name in enumerate(self._ids)}
        found: dict[str, dict[str, float]] = {}
        together = max(1, _AT_ONCE // max(1, len(self._owners)))
        for start in range(0, len(names), together):
            scores = self._score(vectors[start : start + together])
            for name, row in zip(names[start : start + together], scores, strict=True):
                allowed = None if top_ranked is None else [places[one] for one in top_ranked.get(name, ())]
                found[name] = self._best(row, top_k, allowed)
                self.ranks[name] = self._rank(name, row, places, allowed)
        return found

    def _rank(
        self, query: str, scores: Tensor, places: Mapping[str, int], allowed: list[int] | None
    ) -> dict[str, float]:
        """Return the ranks of the watched documents: those with the same score share their mean rank."""
        ranked = torch.ones(len(scores), dtype=torch.bool)
        if allowed is not None:
            ranked = torch.zeros(len(scores), dtype=torch.bool)
            ranked[allowed] = True
        if self.skip_own and query in places:
            ranked[places[query]] = False
        among = scores[ranked]
        ranks = {}
        for name in self.watched.get(query, ()):
            place = places.get(name)
            if place is None or not ranked[place]:
                ranks[name] = 0.0
            else:
                own = scores[place]
                ranks[name] = float((among > own).sum()) + (float((among == own).sum()) + 1) / 2
        return ranks

    def _score(self, queries: Vectors) -> Tensor:
        """Return the scores `[Q, N]` of the documents: of several vectors of a document the best counts."""
        scores: Tensor = self.similarity(queries, self._documents)
        if len(self._owners) == len(self._ids):
            return scores
        return torch.from_numpy(best_of(scores.numpy(), self._owners))

    def _best(self, scores: Tensor, count: int, allowed: list[int] | None) -> dict[str, float]:
        if allowed is not None:
            return {self._ids[place]: float(scores[place]) for place in allowed}
        values, rows = torch.topk(scores, min(count, len(scores)))
        return {self._ids[row]: value for row, value in zip(rows.tolist(), values.tolist(), strict=True)}

    def side_of(self, metadata: Any, prompt_type: Any = None) -> Side:
        """Return how the queries, the documents or the texts of a task are read."""
        task = None if prompt_type is None else str(prompt_type.value)
        return self.reader.side(get_prompt_name(self.model_prompts, metadata, prompt_type), task)

    def _read(self, texts: list[str], metadata: Any, prompt_type: Any) -> tuple[Vectors, Whole]:
        """Read the queries, documents or texts of a task; return their vectors and the text of each vector."""
        task = None if prompt_type is None else str(prompt_type.value)
        side = self.side_of(metadata, prompt_type)
        self.sides[task or "text"] = side
        self.seen.add(task or "text", texts, self.reader.lengths(texts, side), self.reader.cut(texts, side))
        return (read_cut if task == "query" else self.way)(self.reader, texts, side)


def _texts_of(loader: Any) -> list[str]:
    return [text for batch in loader for text in batch["text"]]
