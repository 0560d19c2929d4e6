"""The same evidence at the start, in the middle and at the end of a long text: how many queries still find it first.

Each query's relevant document becomes part of a longer text, between other documents of the corpus. The places differ
in where the words stand, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from cenote.data.labelled import Retrieval
from cenote.encoding.tokens import Whole
from cenote.errors import BadInput
from cenote.evaluation.reading import Side, TextReader
from cenote.evaluation.ways import way_of
from cenote.evaluation_records import FEWEST_ITEMS, Position
from cenote.functional.items import mean_of_items
from cenote.functional.retrieval import best_of
from cenote.models.properties import limit_of

# Queries that are asked, at most; a longer text has so many times the tokens that the model reads.
_QUERIES, _TIMES = 100, 4
PLACES = ("start", "middle", "end")


def find_by_position(
    data: Retrieval, reader: TextReader, sides: Mapping[str, Side], ways: Sequence[str], seed: int
) -> tuple[Position, ...]:
    """Return how many queries find their text first, by where the evidence stands in it and how texts are read.

    Only the texts that are built so are searched, one for each query.

    Args:
        data: a corpus with queries and judgments.
        reader: reads texts, and keeps their vectors.
        sides: how queries and documents are read, as for the score.
        ways: how long texts are read.
        seed: of the queries and of what surrounds the evidence.
    """
    limit = limit_of(reader.model, "document")
    if limit is None:
        raise BadInput("the model cuts no text, so that no place in it is special.")
    texts = data.documents
    side = sides["document"]
    lengths = reader.lengths(texts, side)
    queries, evidence = _choose(data, lengths, limit, seed)
    if len(queries) < FEWEST_ITEMS:
        raise BadInput(
            f"only {len(queries)} queries have a relevant document of {limit // 2} tokens or fewer, and "
            f"{FEWEST_ITEMS} are needed to move it within a longer text."
        )
    answers = {name for grades in data.judgments.values() for name, grade in grades.items() if grade > 0}
    others = [row for row, name in enumerate(data.corpus_ids) if name not in answers]
    if not others:
        raise BadInput("every document answers one of the queries, so that nothing can stand around the evidence.")
    built = _surround(texts, lengths, evidence, others, _TIMES * limit, seed)
    relevant = _find_relevant(data, queries, evidence)
    asked = reader.vectors([data.queries[row] for row in queries], sides["query"])
    found = []
    for way in ways:
        for place in PLACES:
            vectors, owners = way_of(way)(reader, built[place], side)
            scores = reader.model.similarity(torch.from_numpy(asked), torch.from_numpy(vectors)).numpy()
            best = best_of(scores, owners)
            own = best.diagonal().copy()
            best[relevant] = -np.inf
            first = mean_of_items((own > best.max(1)).astype(float), seed=seed, score=True)
            found.append(Position(way=way, place=place, items=len(queries), found=first))
    return tuple(found)


def _find_relevant(data: Retrieval, queries: Sequence[int], evidence: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return whether the evidence in each text `[Q, T]` answers each query: such a text is no rival of its own one."""
    grades = [data.judgments[data.query_ids[row]] for row in queries]
    return np.array([[some.get(data.corpus_ids[row], 0) > 0 for row in evidence] for some in grades])


def _choose(data: Retrieval, lengths: Whole, limit: int, seed: int) -> tuple[list[int], list[int]]:
    """Return queries and a relevant document of each, different ones that leave room in what the model reads."""
    places = {name: row for row, name in enumerate(data.corpus_ids)}
    queries: list[int] = []
    evidence: list[int] = []
    for row in np.random.default_rng(seed).permutation(len(data.query_ids)).tolist():
        relevant = [places[name] for name, grade in data.judgments[data.query_ids[row]].items() if grade > 0]
        fitting = [one for one in relevant if lengths[one] <= limit // 2 and one not in evidence]
        if fitting and len(queries) < _QUERIES:
            queries.append(row)
            evidence.append(fitting[0])
    return queries, evidence


def _surround(
    texts: Sequence[str], lengths: Whole, evidence: Sequence[int], others: Sequence[int], tokens: int, seed: int
) -> dict[str, list[str]]:
    """Return each evidence between other documents, by its place; what surrounds it is the same at every place."""
    generator = np.random.default_rng(seed)
    built: dict[str, list[str]] = {place: [] for place in PLACES}
    for row in evidence:
        around: list[str] = []
        count = 0
        while count < tokens:
            other = int(generator.choice(others))
            around.append(texts[other])
            count += max(1, int(lengths[other]))
        for place, at in zip(PLACES, (0, (len(around) + 1) // 2, len(around)), strict=True):
            built[place].append("\n".join([*around[:at], texts[row], *around[at:]]))
    return built
