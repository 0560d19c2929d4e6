"""Which backend and precision: the fastest whose vectors agree with float32 on the user's own texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from cenote.backends import BACKENDS, PRECISIONS, WORST_COSINE, Backend, backend, distance, problem
from cenote.encoding import Encoder
from cenote.errors import BadInput, choose
from cenote.phrases import counted
from cenote.surgery.attention import kept_in
from cenote.tokenising import Tokenised, taken

AUTO = "auto"
# Texts that the choice is made on, and how often each candidate reads them after a first time that is not counted.
PROBED, _TURNS = 32, 2
# Characters of a text that is probed.
_LONGEST = 50_000
# Of fewer texts the choice would take longer than it saves.
WORTH_IT = 2000

Notify = Callable[[str], object]


def choose_backend(
    model: SentenceTransformer,
    tokens: Tokenised,
    name: str = AUTO,
    precision: str = AUTO,
    *,
    task: str | None = None,
    notify: Notify = lambda _: None,
) -> tuple[Backend, float | None]:
    """The backend of that name and precision; where either is left open, the fastest that agrees with float32.

    Args:
        model: what it runs.
        tokens: texts to try candidates on, of the lengths that there will be.
        name: a name from `BACKENDS`, or `auto`.
        precision: a name from `PRECISIONS`, or `auto`.
        task: as for `backend`.
        notify: told what was tried, how fast it was and how well it agreed.

    Returns:
        The backend, and the least cosine of its vectors with float32's; None where there was no choice.
    """
    pairs = able(model, name, precision, task=task)
    if AUTO not in (name, precision):
        return backend(model, name, precision, task=task), None
    readable = taken(tokens, np.flatnonzero(tokens.lengths).tolist())
    chosen, cosine = (
        _fastest(model, readable, pairs, task, notify)
        if len(readable) and len(pairs) > 1
        else (backend(model, *pairs[0], task=task), None)
    )
    notify(f"embedding with {chosen.name} at {chosen.precision}")
    return chosen, cosine


def able(
    model: SentenceTransformer, name: str = AUTO, precision: str = AUTO, *, task: str | None = None
) -> list[tuple[str, str]]:
    """The backends and precisions of that name that can run here; that none can is raised, with every reason."""
    choose(name, {**BACKENDS, AUTO: None}, "backend")
    choose(precision, {**PRECISIONS, AUTO: None}, "precision")
    names = BACKENDS if name == AUTO else [name]
    kinds = PRECISIONS if precision == AUTO else [precision]
    reasons = {(one, kind): problem(model, one, kind, task) for one in names for kind in kinds}
    found = [pair for pair, why in reasons.items() if why is None]
    if not found:
        once: dict[Any, str] = {}  # what is missing is missing at every precision
        for (one, kind), why in reasons.items():
            once.setdefault(why, f"{one} at {kind}: {why}")
        raise BadInput(f"{'; '.join(once.values())}.")
    return found


def own_precision(model: SentenceTransformer) -> str:
    """What the model's weights are kept in."""
    return next((name for name, dtype in PRECISIONS.items() if dtype is kept_in(model)), "float32")


def spread(texts: Sequence[str]) -> list[str]:
    """Some of the texts, of all lengths; of very long ones the beginning, which is more than a model reads of them.

    >>> spread(["a" * length for length in range(100)])[:3], len(spread(["a"] * 5))
    (['', 'aaa', 'aaaaaa'], 5)
    """
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    places = np.unique(np.linspace(0, len(order) - 1, min(PROBED, len(order))).round().astype(np.int64))
    return [texts[order[place]][:_LONGEST] for place in places]


def _fastest(
    model: SentenceTransformer, tokens: Tokenised, able: Sequence[tuple[str, str]], task: str | None, notify: Notify
) -> tuple[Backend, float]:
    # Where there is a choice, the weights are float32: others run in their own precision alone.
    truth, unread = Encoder(model, backend(model, task=task))(tokens)
    sound = [row for row in range(len(tokens)) if row not in unread and truth[row].any()]
    if not sound:
        raise BadInput(
            "the model makes no usable vector of any of these texts at float32: look at it with cenote.diagnose."
        )
    tokens, truth = taken(tokens, sound), truth[sound]
    notify(f"choosing the fastest of {len(able)} ways to compute, on {counted(len(tokens), 'text')} of these")
    best: tuple[float, Backend, float] | None = None  # no other is kept: each holds the weights once more
    rate = int(tokens.lengths.sum())
    for name, precision in able:
        try:
            made = backend(model, name, precision, task=task)
            ours, bad = Encoder(model, made)(tokens)
        except Exception as error:  # what a runtime cannot do it tells in its own way, and others can
            notify(f"{name} at {precision} is left out: {str(error) or type(error).__name__}")
            continue
        _, cosine = distance(torch.from_numpy(ours), torch.from_numpy(truth))
        if bad or cosine < WORST_COSINE:
            why = bad[min(bad)] if bad else f"its least cosine with float32 is {cosine:.6f}."
            notify(f"{name} at {precision} is left out: {why}")
            continue
        seconds = min(_seconds(Encoder(model, made), tokens) for _ in range(_TURNS))
        notify(f"{name} at {precision}: {rate / seconds:,.0f} tokens a second, least cosine with float32 {cosine:.6f}")
        if best is None or seconds < best[0]:
            best = seconds, made, cosine
    if best is None:
        raise BadInput("no backend agrees with float32 on these texts: name one (--backend torch --precision float32).")
    return best[1], round(best[2], 6)


def _seconds(encoder: Encoder, tokens: Tokenised) -> float:
    start = time.perf_counter()
    encoder(tokens)
    return time.perf_counter() - start
