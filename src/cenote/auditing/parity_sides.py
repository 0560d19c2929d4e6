"""Both sides of a comparison as sources of vectors, and the ways to ask one side for the same texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from cenote.auditing.endpoint import Endpoint
from cenote.auditing.endpoint_requests import Stopped
from cenote.encoding.backends import plain_backend
from cenote.encoding.batches import collate
from cenote.encoding.tokens import Tokens, tokenise
from cenote.encoding.vectors import Encoder
from cenote.listener import Listener, Step

Vectors = npt.NDArray[np.float64]


@dataclass
class Answers:
    """The vectors of some texts by their places, and why others have none."""

    vectors: dict[int, Vectors] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    stopped: str = ""  # why the side stopped answering
    further: dict[int, list[Vectors]] = field(default_factory=dict)  # of texts that were asked for several times

    def keep_one_width(self) -> None:
        """Refuse the vectors whose width is not that of most."""
        widths = Counter(len(one) for one in self.vectors.values())
        if len(widths) > 1:
            most = widths.most_common(1)[0][0]
            for place in [place for place, one in self.vectors.items() if len(one) != most]:
                self.refused[place] = f"its vector has {len(self.vectors.pop(place))} numbers, others have {most}"

    def matrix(self, places: Sequence[int]) -> Vectors:
        """Return the vectors of some places: `[N, D]`."""
        return np.stack([self.vectors[place] for place in places])

    def every(self, place: int) -> list[Vectors]:
        """Return the vectors of a place: the first one, then the further ones."""
        return [self.vectors[place], *self.further.get(place, ())]


class Source(Protocol):
    """One side: gives the vectors of a batch of texts, or reasons why one has none."""

    concurrent: bool  # whether several batches may be asked for at once

    def embed(self, texts: Sequence[str]) -> list[Vectors | str]:
        """Return the vectors of texts that are read together."""
        ...

    def end(self) -> None:
        """End the batches under way, which other threads wait for."""
        ...


class LocalSource:
    """A local model, with the prompt that it reads texts with."""

    concurrent = False

    def __init__(self, model: SentenceTransformer, prompt_name: str | None) -> None:
        self.model, self.prompt_name = model, prompt_name

    def embed(self, texts: Sequence[str]) -> list[Vectors | str]:
        """Return the vectors of texts that are read in one padded batch."""
        tokens = tokenise(self.model, texts, self.prompt_name)
        found: Any = plain_backend(self.model)(collate(self.model, tokens, range(len(texts)))).numpy()
        return [one.astype(np.float64) for one in found]

    def end(self) -> None:
        """Do nothing: no other thread reads."""

    def read(self, texts: Sequence[str], step: Step) -> tuple[Answers, Tokens]:
        """Return the vectors of all texts by the engine, which forms its own batches, and their tokens."""
        tokens = tokenise(self.model, texts, self.prompt_name)
        found, refused = Encoder(self.model, plain_backend(self.model))(tokens, step)
        empty = {
            place: "its vector is zero" for place in np.flatnonzero(~found.any(1)).tolist() if place not in refused
        }
        refused |= empty
        vectors = {place: found[place].astype(np.float64) for place in range(len(texts)) if place not in refused}
        return Answers(vectors, refused), tokens


class ServedSource:
    """A server."""

    concurrent = True

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def embed(self, texts: Sequence[str]) -> list[Vectors | str]:
        """Return the vectors of texts that are sent in one request."""
        return self.endpoint.embed(texts)

    def end(self) -> None:
        """Cut the requests under way, and send no more."""
        self.endpoint.transport.end()


def ask(
    source: Source, texts: Sequence[str], batches: Sequence[Sequence[int]], step: Step, *, at_once: int = 1
) -> Answers:
    """Return the answers of a side to batches of texts; it may stop answering on the way.

    Args:
        source: the side.
        texts: all texts.
        batches: the places of the texts of each request; of a place that occurs again, the answers are kept apart.
        step: called with the number of texts that were answered.
        at_once: requests that are under way at the same time.
    """
    answers, stop, seen = Answers(), Event(), set[int]()

    def one(places: Sequence[int]) -> list[Vectors | str] | None:
        if stop.is_set():
            return None
        try:
            return source.embed([texts[place] for place in places])
        except Stopped as error:
            if not stop.is_set():
                stop.set()
                answers.stopped = str(error)
            return None

    def keep(places: Sequence[int], found: list[Vectors | str] | None) -> None:
        for place, vector in zip(places, found or (), strict=False):
            if isinstance(vector, str):
                answers.refused.setdefault(place, vector)
            elif place in answers.vectors:
                answers.further.setdefault(place, []).append(vector)
            else:
                answers.vectors[place] = vector
        step(len(set(places) - seen))
        seen.update(places)

    if at_once <= 1 or not source.concurrent:
        for places in batches:
            keep(places, one(places))
            if stop.is_set():
                break
    else:
        pool = ThreadPoolExecutor(at_once, "cenote-parity")
        try:
            for places, found in zip(batches, pool.map(one, batches), strict=True):
                keep(places, found)
        except BaseException:  # an interrupt: nothing is waited for, and no request is left under way
            stop.set()
            source.end()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    answers.keep_one_width()
    return answers


def split(places: Sequence[int], size: int) -> list[list[int]]:
    """Return the places in batches of at most `size`.

    >>> split([0, 1, 2], 2)
    [[0, 1], [2]]
    """
    return [list(places[start : start + size]) for start in range(0, len(places), size)]


def batches_of_one_length(places: Sequence[int], lengths: Sequence[int], size: int) -> list[list[int]]:
    """Return batches whose texts have the same number of tokens; a text alone in its length stands there twice.

    >>> batches_of_one_length([0, 1, 2], [5, 7, 5], 8)
    [[0, 2], [1, 1]]
    """
    groups: dict[int, list[int]] = {}
    for place in places:
        groups.setdefault(lengths[place], []).append(place)
    found = [part for group in groups.values() for part in split(group, size)]
    return [part if len(part) > 1 else part * 2 for part in found]


# The ways to ask again for the same texts: the batches of each, and the requests under way at once.
Plan = tuple[list[list[int]], int]
# Requests that are sent again, and how often, to see whether their answers change: replicas may take turns.
_REPEATED, _TIMES = 3, 3
# Texts of the requests that are sent at once, in turn, besides requests of the usual size.
_SIZES = (1, 2, 3, 1, 4)
_FULL = 3

# Names of the ways, which findings and records show.
AGAIN, ALONE, ALONE_AGAIN, ONE_LENGTH = (
    "the same requests again",
    "each text alone",
    "the same text alone again",
    "batches of texts of one length",
)


def plan_ways(
    places: Sequence[int], first: Sequence[Sequence[int]], lengths: Sequence[int], size: int, at_once: int, served: bool
) -> dict[str, Plan]:
    """Return the ways to ask a side again for some texts.

    Args:
        places: of the texts.
        first: the batches that all texts were asked for in.
        lengths: tokens of all texts.
        size: texts of a request.
        at_once: requests under way at once.
        served: whether the side is a server.
    """
    plans: dict[str, Plan] = {}
    if served:
        wanted = set(places)
        repeated = sorted(first, key=lambda one: -len(wanted.intersection(one)))[:_REPEATED]
        plans[AGAIN] = ([list(one) for one in repeated for _ in range(_TIMES)], 1)
    plans[ALONE] = ([[place] for place in places], 1)
    plans[ONE_LENGTH] = (batches_of_one_length(places, lengths, size), 1)
    if served and at_once > 1:
        plans[f"{at_once} requests at once"] = (_mixed_requests(places, size), at_once)
    return plans


def plan_alone_again(places: Sequence[int]) -> Plan:
    """Return the requests that show whether the answers to texts alone change by themselves."""
    return [[place] for place in places for _ in range(_TIMES)], 1


def _mixed_requests(places: Sequence[int], size: int) -> list[list[int]]:
    """Return requests of few texts, short and long ones side by side, with requests of the usual size among them."""
    mixed = sorted(places, key=lambda place: (place * 7919) % 10_007)
    requests: list[list[int]] = []
    start = 0
    while start < len(mixed):
        count = _SIZES[len(requests) % len(_SIZES)]
        requests.append(mixed[start : start + count])
        start += count
    for turn in range(_FULL):  # texts stand in them several times if there are too few
        full = [mixed[(turn + place) % len(mixed)] for place in range(size)]
        requests.insert(min(len(requests), 1 + 3 * turn), full)
    return requests


def ask_in_ways(source: Source, texts: Sequence[str], plans: dict[str, Plan], listener: Listener) -> dict[str, Answers]:
    """Return the answers of a side in several ways; a side that stops answering is not asked further."""
    found: dict[str, Answers] = {}
    for name, (batches, at_once) in plans.items():
        total = len({place for batch in batches for place in batch})
        found[name] = ask(source, texts, batches, listener.step(f"asking again: {name}", total), at_once=at_once)
        if found[name].stopped:
            break
    return found
