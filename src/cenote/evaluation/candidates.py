"""Temperatures to choose among, and their scores on one task: constants are read, all others are put together of these.

A schedule by length that is a step, and a temperature for each role, give every text the vector of some constant. So
the passes of the constants serve them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sentence_transformers import SentenceTransformer

from cenote.encoding.passes import SharedPasses
from cenote.encoding.tokens import Whole
from cenote.encoding.vectors import Vectors
from cenote.errors import BadInput, UnsupportedModel
from cenote.evaluation.arms import set_to
from cenote.evaluation.configuration import configuration_of
from cenote.evaluation.items import Items
from cenote.evaluation.reading import Flags, Side, TextReader, Windows, blame_temperature
from cenote.evaluation.results import Results
from cenote.evaluation.scoring import Cut, Scored, check_items, cuts_of, score_task
from cenote.evaluation.task_list import ListedTask
from cenote.functional.temperature import LengthTemperature, OneTemperature, check_temperature, describe
from cenote.listener import Listener
from cenote.models.properties import limit_of
from cenote.models.provenance import constant_of
from cenote.tuning_records import Form


@dataclass(frozen=True)
class Candidate:
    """A temperature to try: None is the model's own."""

    form: Form
    query: float | None  # of queries, and of short texts of a form by length
    document: float | None  # of all other texts, and of long ones
    step: int | None = None  # tokens of the longest text that is short
    schedule: LengthTemperature | None = None  # a form by length that is no step

    @property
    def temperature(self) -> Any:
        """The temperature as `temper` takes it; None for the model's own."""
        if self.schedule is not None:
            return self.schedule
        if self.query is None or self.document is None:
            return None
        if self.form == "role":
            return {"query": self.query, "document": self.document}
        if self.form == "length" and self.step is not None:
            return LengthTemperature(
                "linear", start=self.query, end=self.document, shortest=self.step, longest=self.step + 1
            )
        return self.query

    def __str__(self) -> str:
        if self.form == "length" and self.schedule is None:
            return f"{self.query:g} up to {self.step} tokens and {self.document:g} beyond"
        return describe(self.temperature) if self.temperature is not None else "the model's own"

    def of_texts(self, side: Side, lengths: Whole) -> list[float | None]:
        """Return the constant that each text is read at, by its tokens."""
        if self.form == "role":
            return [self.query if side.task == "query" else self.document] * len(lengths)
        if self.form == "length" and self.step is not None:
            return [self.query if length <= self.step else self.document for length in lengths.tolist()]
        return [self.query] * len(lengths)


# The model's own temperature.
UNCHANGED = Candidate("constant", None, None)
_OWN = "the model's own temperature"
# The exponent of the slow schedule: .87 times as high at four times the length.
_SLOW = 0.1


def check_constants(given: Sequence[float]) -> list[float]:
    """Return the constants to try, each once; raise for none, and for what is no constant."""
    taus = [check_temperature(one) for one in given]
    if bad := [one for one in taus if not isinstance(one, float)]:
        raise BadInput(f"temperatures holds {bad[0]}: pass numbers; by_length and by_role combine them.")
    found = [one for one in dict.fromkeys(taus) if isinstance(one, float)]
    if not found:
        raise BadInput("there is no temperature to try.")
    return found


def constants(taus: Sequence[float]) -> list[Candidate]:
    """Return a candidate for each number."""
    return [Candidate("constant", tau, tau) for tau in taus]


def by_role(taus: Sequence[float]) -> list[Candidate]:
    """Return a candidate for each pair of unlike numbers."""
    return [Candidate("role", query, document) for query in taus for document in taus if query != document]


def by_length(taus: Sequence[float], step: int) -> list[Candidate]:
    """Return a candidate for each pair of unlike numbers, of short and of long texts, and smooth schedules.

    The smooth ones are 1 at the step, and fall with length: as one over the logarithm (scalable softmax), and slowly.
    """
    steps = [Candidate("length", short, long, step) for short in taus for long in taus if short != long]
    logarithm = LengthTemperature("log", s=1 / math.log(step)) if step > 2 else None
    slow = LengthTemperature("power", scale=step**_SLOW, exponent=-_SLOW)
    return [*steps, *(Candidate("length", None, None, step, one) for one in (logarithm, slow) if one is not None)]


# What was read at constants and schedules; None is the model's own temperature.
Readers = dict[OneTemperature | None, TextReader]


@dataclass(frozen=True, eq=False)
class CandidateScore:
    """The score of a temperature on one task, with its items."""

    metric: str
    score: float
    items: Items


@dataclass(frozen=True)
class KeptScore:
    """A score on disk, beside its items."""

    metric: str
    score: float
    items: int
    cuts: tuple[Cut, ...]


@dataclass(frozen=True)
class KeptScores:
    """Scores of a model that are kept between calls."""

    results: Results[KeptScore]
    weights: str  # the fingerprint of the model's


class CandidateScores:
    """Scores of temperatures on one task; what was read at a constant is kept.

    Args:
        model: to temper.
        task: to score.
        precision: in which the model is read, or `auto`.
        listener: hears of the progress.
        readers: keeps what is read, and may have read the other half of the same data. Forms by length and by role
            need it; None lets go of what was read.
        shared: passes of graphs, which read the texts; None where torch does. Where a graph cannot be had, `NoGraph` is
            raised.
        kept: scores of other calls, which are taken, and to which new ones are added. Forms by length and by role
            need vectors, so that none are kept for them.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        task: ListedTask,
        precision: str,
        listener: Listener,
        readers: Readers | None = None,
        *,
        shared: SharedPasses | None,
        kept: KeptScores | None = None,
    ) -> None:
        self.model, self.task, self.precision, self.listener = model, task, precision, listener
        self.own = constant_of(model)
        self._readers, self._shared, self._kept = readers, shared, kept
        self.cuts: Sequence[Cut] = ()  # of the texts that were read, which no temperature changes
        self._constant: dict[OneTemperature | None, CandidateScore] = {}

    def score_all(self, candidates: Sequence[Candidate]) -> list[CandidateScore]:
        """Return the scores of temperatures with their items; report which of them is at work."""
        total = len(candidates)
        return [self.score(one, (place, total)) for place, one in enumerate(candidates, 1)]

    def score(self, candidate: Candidate, place: tuple[int, int] = (1, 1)) -> CandidateScore:
        """Return the score of a temperature with its items; `place` is its number among so many."""
        if candidate.schedule is not None:
            return self._constant[self._read(candidate.schedule, place)]
        if candidate.form == "constant":
            return self._constant[self._read(candidate.query, place)]
        if self._readers is None:
            raise ValueError("forms by length and by role need `readers`")
        keys = {tau: self._read(tau, place) for tau in (candidate.query, candidate.document)}
        self.listener.step(f"{self.task.name}: combining temperatures", place[1], place[0] - 1)
        readers = {tau: self._readers[key] for tau, key in keys.items()}
        mixed = _MixedReader(readers, candidate)
        return self._checked(score_task(self.task.make, self.task.kind, mixed, "truncate"), str(candidate))

    def why_broken(self, candidate: Candidate, place: tuple[int, int]) -> str:
        """Return why the task cannot be scored at a constant; nothing where it can."""
        try:
            self.score(candidate, place)
        except (BadInput, UnsupportedModel) as error:
            return str(error)
        return ""

    def _read(self, tau: OneTemperature | None, place: tuple[int, int]) -> OneTemperature | None:
        """Read the task's texts at one temperature, by scoring the task; return the key of what was read."""
        tau = None if tau == self.own else tau
        if tau in self._constant:
            return tau
        said = _OWN if tau is None else f"temperature {describe(tau)}"
        number = f" ({place[0]} of {place[1]})" if place[1] > 1 else ""
        with set_to(self.model, tau, None):
            reader = (self._readers or {}).get(tau) or TextReader(self.model, "torch", self.precision)
            reader.listener = self.listener.labelled(f"{self.task.name}, {said}{number}: ")
            graph = None if self._shared is None else self._shared.of(self.model, said)
            with blame_temperature(None if tau is None else describe(tau)), reader.read_by(graph):
                self._constant[tau] = self._find_or_score(reader, said)
        if self._readers is not None:
            self._readers[tau] = reader
        return tau

    def _find_or_score(self, reader: TextReader, said: str) -> CandidateScore:
        """Return the score at the temperature that the model has now: a kept one, or a new one, which is kept."""
        if self._kept is None:
            return self._score_now(reader, said)
        described = {"tuned": {name: getattr(self.task, name) for name in ("name", "kind", "official", "data")}}
        settings = {**configuration_of(reader, weights=self._kept.weights), **described}

        def make() -> tuple[KeptScore, Any]:
            found = self._score_now(reader, said)
            record = KeptScore(found.metric, found.score, len(found.items), tuple(self.cuts))
            return record, pa.table(found.items.columns)

        record, table, _ = self._kept.results.find_or_make(settings, described, make)
        self.cuts = record.cuts
        return CandidateScore(record.metric, record.score, Items(table.to_pydict()))

    def _score_now(self, reader: TextReader, said: str) -> CandidateScore:
        """Return the score at the temperature that the model has now."""
        try:
            found = score_task(self.task.make, self.task.kind, reader, "truncate")
        except BadInput as error:
            at = f" at {said}" if said == _OWN else ""  # a changed temperature is named by the blame
            raise BadInput(f"{self.task.name} cannot be scored{at}: {error}") from error
        self.cuts = cuts_of(found.encoder)
        return self._checked(found, said)

    def _checked(self, found: Scored, said: str) -> CandidateScore:
        notes: list[str] = []
        found = check_items(found, notes)
        if found.items is None:
            raise BadInput(f"{self.task.name} has no values of single items at {said}, so that nothing can be chosen.")
        return CandidateScore(found.metric, found.score, found.items.for_comparison())


class _MixedReader:
    """Gives each text the vector that it has at one of several constants, by readers that have read it.

    By now the model has its own temperature again, at which a reader would read a text that is new to it.
    """

    def __init__(self, readers: Mapping[float | None, TextReader], candidate: Candidate) -> None:
        self._readers, self._candidate = readers, candidate
        self._first = next(iter(readers.values()))  # what is no vector is the same at every temperature
        self.model = self._first.model

    def side(self, prompt_name: str | None, task: str | None) -> Side:
        """Return a side, with the model's own prompt for the task where none is named."""
        return self._first.side(prompt_name, task)

    def vectors(self, texts: Sequence[str], side: Side) -> Vectors:
        """Return the vectors `[N, D]` of texts, each at its own temperature."""
        limit = limit_of(self.model, side.task)
        lengths = self.lengths(texts, side)
        read = lengths if limit is None else np.minimum(lengths, limit)
        taus = self._candidate.of_texts(side, read)
        found: Vectors = np.empty(0, np.float32)
        for tau in dict.fromkeys(taus):
            rows = [row for row, one in enumerate(taus) if one == tau]
            some = [texts[row] for row in rows]
            vectors = _knowing(self._readers[tau], some, side).vectors(some, side)
            if not len(found):
                found = np.zeros((len(texts), vectors.shape[1]), np.float32)
            found[rows] = vectors
        return found

    def lengths(self, texts: Sequence[str], side: Side) -> Whole:
        """Return the tokens `[N]` of whole texts, special tokens and prompt included."""
        return _knowing(self._first, texts, side).lengths(texts, side)

    def cut(self, texts: Sequence[str], side: Side) -> Flags:
        """Return whether the model cuts each text: `[N]`."""
        return _knowing(self._first, texts, side).cut(texts, side)

    def windows(self, texts: Sequence[str], side: Side) -> Windows:
        """Raise: whole texts alone are put together."""
        raise NotImplementedError(f"windows of {len(texts)} texts, {side}")


def _knowing(reader: TextReader, texts: Sequence[str], side: Side) -> TextReader:
    """Return the reader; raise if it has not read all of the texts."""
    if not reader.knows(texts, side):
        raise ValueError("a text was not read at the temperature that it has")
    return reader
