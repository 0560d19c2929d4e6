"""The choice of a backend: the fastest whose vectors agree with float32 on the user's own texts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from cenote import choices
from cenote.choices import AGREEMENT, AUTO, INT8
from cenote.encoding.backends import BACKENDS, PRECISIONS, Backend, backend, distance, obstacle
from cenote.encoding.tokens import Tokens
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput, choose, last_line
from cenote.functional.agreement import FEWEST_WITH_OTHERS, NEIGHBOURS, shared_nearest
from cenote.listener import silent
from cenote.wording import pluralise

# Texts that candidates are timed on, and those on which `int8` is compared with float32.
SAMPLE, COMPARED = 32, 256
# On a busy machine one reading of these texts may take this many times another: a candidate that is slower by more, at
# its first reading, is not measured further.
_FACTOR = 2.0
# The others are read in rounds, one after another, so that a burst of other work hits all of them. The rounds end when
# the two fastest have kept their order for so many, or after so many seconds.
_STEADY, _SECONDS = 3, 20.0
# Bytes of weights that candidates hold meanwhile, besides those of the model. A graph holds them once more: five are
# kept of a model of 50 million parameters, two of 120 million, and of a larger one the fastest alone, whose readings
# take long enough to be steady by themselves.
_COPIES = 2**30
# Characters read of each of these texts: more than a model reads.
_CHARACTERS = 50_000
# With fewer texts to embed, the choice would take longer than it saves.
WORTH_CHOOSING = 2000
# The vector units with which OpenVINO is faster than torch. Without them it gains nothing that its graph does not cost.
# On processors that have matrix units (AMX) too, it is faster in bfloat16, and in float32 on one of the two that were
# measured: see docs/benchmarks.md. Nothing is timed, so that a run that goes on computes what it computed before.
_UNITS = "AVX512"

Notify = Callable[[str], object]


class Choice(NamedTuple):
    """A backend, and the findings by which it was chosen; None where they were not measured."""

    backend: Backend
    agreement: float | None = None  # least cosine of its vectors with those of float32
    speed: float | None = None  # tokens that it reads in a second
    neighbours: float | None = None  # share of the ten nearest texts that `int8` has in common with float32


def choose_backend(
    model: SentenceTransformer,
    tokens: Tokens,
    name: str = AUTO,
    precision: str = AUTO,
    *,
    task: str | None = None,
    agreement: float = AGREEMENT,
    notify: Notify = silent,
) -> Choice:
    """Return the backend of this name and precision; where either is `auto`, the fastest that agrees with float32.

    `int8` is compared with float32 even where it is named. It is a candidate of `auto` where `agreement` allows more
    than half precision needs.

    Args:
        model: the model to run.
        tokens: texts to try candidates on, as long as those to come.
        name: a name from `BACKENDS`, or `auto`.
        precision: a name from `PRECISIONS`, or `auto`.
        task: as for `backend`.
        agreement: least cosine with float32 that is allowed.
        notify: told which candidates were tried, how fast they were and how well they agreed.
    """
    candidates = usable_backends(model, name, precision, task=task, agreement=agreement)
    readable = tokens.take(np.flatnonzero(tokens.lengths).tolist())
    if AUTO not in (name, precision) and precision != INT8:
        return Choice(backend(model, name, precision, task=task))
    if len(readable) and (len(candidates) > 1 or precision == INT8):
        choice = _fastest(model, readable, candidates, _Bound(task, agreement, notify))
    elif precision == INT8:
        raise BadInput(
            "int8 is compared with float32, and none of the first texts can be read: name another precision."
        )
    else:
        choice = _sole(readable, Encoder(model, backend(model, *candidates[0], task=task)))
    notify(f"embedding with {choice.backend.name} at {choice.backend.precision}")
    return choice


def choose_steadily(model: SentenceTransformer, name: str, precision: str) -> str:
    """Return the name of the backend; for `auto` OpenVINO for int8 or where it is faster, else torch."""
    faster = openvino_is_faster(precision)
    preferred = ("openvino",) if precision == INT8 else ("openvino", "torch") if faster else ("torch",)
    tried = preferred if name == AUTO else (name,)
    reasons = {one: obstacle(model, one, precision, "document") for one in tried}
    found = next((one for one, reason in reasons.items() if reason is None), None)
    if found is None:
        one, reason = list(reasons.items())[-1]
        raise BadInput(f"backend {one!r} at {precision}: {reason}.")
    return found


def openvino_is_faster(precision: str) -> bool:
    """Return whether OpenVINO is faster than torch on this processor at a precision."""
    wide = torch.backends.cpu.get_cpu_capability().startswith(_UNITS)
    return wide and (precision == "bfloat16" or not torch.cpu._is_amx_tile_supported())


def usable_backends(
    model: SentenceTransformer,
    name: str = AUTO,
    precision: str = AUTO,
    *,
    task: str | None = None,
    agreement: float = AGREEMENT,
) -> list[tuple[str, str]]:
    """Return the backends and precisions of this name that run here; raise with every reason if none does."""
    choose(name, {**BACKENDS, AUTO: None}, "backend")
    choose(precision, {**PRECISIONS, AUTO: None}, "precision")
    names = BACKENDS if name == AUTO else [name]
    every = PRECISIONS if agreement < AGREEMENT else choices.PRECISIONS
    precisions = every if precision == AUTO else [precision]
    obstacles = {(one, kind): obstacle(model, one, kind, task) for one in names for kind in precisions}
    usable = [candidate for candidate, reason in obstacles.items() if reason is None]
    if not usable:
        once: dict[Any, str] = {}  # a missing package is missing at every precision
        for (one, kind), reason in obstacles.items():
            once.setdefault(reason, f"{one} at {kind}: {reason}")
        raise BadInput(f"{'; '.join(once.values())}.")
    return usable


def sample_lengths(texts: Sequence[str], count: int = SAMPLE) -> list[str]:
    """Return some of the texts, evenly from the shortest to the longest; of very long ones the beginning.

    >>> sample_lengths(["a" * length for length in range(100)])[:3], len(sample_lengths(["a"] * 5))
    (['', 'aaa', 'aaaaaa'], 5)
    """
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    return [texts[order[place]][:_CHARACTERS] for place in spread(len(order), count)]


def spread(of: int, count: int) -> list[int]:
    """Return at most `count` of the numbers below `of`, evenly from the first to the last.

    >>> spread(7, 3), spread(2, 3)
    ([0, 3, 6], [0, 1])
    """
    places: list[int] = np.unique(np.linspace(0, of - 1, min(count, of)).round().astype(np.int64)).tolist()
    return places


@dataclass(eq=False)
class Contender:
    """A candidate that agrees with float32, with the seconds of its readings of the sample."""

    encoder: Encoder
    cosine: float
    copied: int  # bytes of weights that it holds besides those of the model
    neighbours: float | None = None  # as in `Choice`
    seconds: list[float] = field(default_factory=list)

    def read(self, tokens: Tokens) -> None:
        """Read the texts once more."""
        start = time.perf_counter()
        self.encoder(tokens)
        self.seconds.append(time.perf_counter() - start)

    @property
    def least(self) -> float:
        """The time of the reading that other work on the machine disturbed least."""
        return min(self.seconds)

    def describe(self, tokens: int) -> str:
        """Return its speed and agreement in words."""
        made, speed = self.encoder.backend, tokens / self.least
        agreement = f"least cosine with float32 {self.cosine:.6f}"
        if self.neighbours is not None:
            agreement += f", {self.neighbours:.1%} of the {NEIGHBOURS} nearest texts in common"
        return f"{made.name} at {made.precision}: {speed:,.0f} tokens a second, {agreement}"


class _Bound(NamedTuple):
    """The conditions that all candidates have."""

    task: str | None
    agreement: float
    notify: Notify


def _sole(tokens: Tokens, encoder: Encoder) -> Choice:
    """Return the only candidate, with its speed where there is a text to measure it on."""
    one, timed = Contender(encoder, 1.0, 0), tokens.take(spread(len(tokens), SAMPLE))
    for _ in range(2 if len(timed) else 0):  # the first reading is slower
        one.read(timed)
    return Choice(encoder.backend, speed=int(timed.lengths.sum()) / one.least if one.seconds else None)


def _fastest(
    model: SentenceTransformer, tokens: Tokens, candidates: Sequence[tuple[str, str]], bound: _Bound
) -> Choice:
    # Where there is a choice, the weights are float32: other weights run in their own precision only.
    truth, refused = Encoder(model, backend(model, task=bound.task))(tokens)
    usable = [row for row in range(len(tokens)) if row not in refused and truth[row].any()]
    if not usable:
        raise BadInput(
            "the model gives no usable vector for any of the first texts at float32: look at it with cenote.diagnose."
        )
    tokens, truth = tokens.take(usable), truth[usable]
    timed = tokens.take(spread(len(tokens), SAMPLE))
    total, notify = int(timed.lengths.sum()), bound.notify
    if len(candidates) > 1:
        texts = pluralise(len(tokens), "text")
        notify(f"choosing the fastest of {len(candidates)} ways to compute, on {texts} of these")
    left: list[Contender] = []
    reasons: list[str] = []
    for name, precision in candidates:
        # A contender has no name here, which would keep the weights of one that is left out.
        new = _contend(model, tokens, truth, (name, precision), bound)
        if isinstance(new, str):
            reasons.append(f"{name} at {precision} is left out: {new}")
            notify(reasons[-1])
        else:
            new.read(timed)
            left = _admit(new, left, total, notify)
    if not left:
        raise BadInput(
            f"no way to compute is left. {'. '.join(one.rstrip('.') for one in reasons)}. Where a cosine is below "
            f"{bound.agreement:g}, allow a lower one (agreement, --agreement), or name a backend (--backend torch "
            "--precision float32)."
        )
    left = read_in_rounds(left, timed)
    for one in left:
        notify(one.describe(total))
    best = left[0]
    return Choice(best.encoder.backend, round(best.cosine, 6), total / statistics.median(best.seconds), best.neighbours)


def _contend(
    model: SentenceTransformer, tokens: Tokens, truth: np.ndarray, candidate: tuple[str, str], bound: _Bound
) -> Contender | str:
    """Return a candidate that was compared, or the reason why it is left out: it fails, or disagrees with float32."""
    name, precision = candidate
    try:
        encoder = Encoder(model, backend(model, name, precision, task=bound.task))
        vectors, refused = encoder(tokens)
    except Exception as error:  # runtimes fail in ways of their own, and the other candidates may work
        return last_line(error)
    _, cosine = distance(torch.from_numpy(vectors), torch.from_numpy(truth))
    if refused or cosine < bound.agreement:
        return refused[min(refused)] if refused else f"its least cosine with float32 is {cosine:.6f}"
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    # Other precisions agree so well that their neighbours are those of float32.
    enough = precision == INT8 and len(tokens) >= FEWEST_WITH_OTHERS
    neighbours = float(shared_nearest(vectors, truth).mean()) if enough else None
    return Contender(encoder, cosine, weights if BACKENDS[name].graph else 0, neighbours)


def _admit(new: Contender, left: list[Contender], tokens: int, notify: Notify) -> list[Contender]:
    """Return the contenders to measure further; say how fast those are that are left out."""
    every = [*left, new]
    kept = keep_fast(every)
    for one in every:
        if one not in kept:
            notify(one.describe(tokens))
    return kept


def keep_fast(contenders: Sequence[Contender]) -> list[Contender]:
    """Return the contenders that one reading does not rule out, fastest first, within the room for weights."""
    kept: list[Contender] = []
    room = _COPIES
    for one in sorted(contenders, key=lambda one: one.least):
        if not kept or (one.least <= _FACTOR * kept[0].least and one.copied <= max(0, room)):
            kept.append(one)
            room -= one.copied
    return kept


def read_in_rounds(contenders: Sequence[Contender], tokens: Tokens) -> list[Contender]:
    """Return the contenders, fastest first, read by turns until the order of the two fastest is steady."""
    start, steady = time.perf_counter(), 0
    order = list(contenders)
    for one in contenders:
        one.seconds.clear()  # the first readings were minutes apart, and one of them may have met a quiet machine
    while steady == 0 or (steady < _STEADY and time.perf_counter() - start < _SECONDS):
        for one in contenders:
            one.read(tokens)
        before, order = order, sorted(contenders, key=lambda one: one.least)
        steady = steady + 1 if order[:2] == before[:2] else 1
    return order
