"""The choice of a backend: the fastest whose vectors agree with float32 on the user's own texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from cenote.choices import AUTO
from cenote.encoding.backends import BACKENDS, PRECISIONS, WORST_COSINE, Backend, backend, distance, obstacle
from cenote.encoding.tokens import Tokens
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput, choose
from cenote.wording import pluralise

# Texts that candidates are tried on, and how often each is timed after a first run that is not counted.
SAMPLE, _REPEATS = 32, 2
# Characters read of each of these texts: more than a model reads.
_CHARACTERS = 50_000
# With fewer texts to embed, the choice would take longer than it saves.
WORTH_CHOOSING = 2000

Notify = Callable[[str], object]


def choose_backend(
    model: SentenceTransformer,
    tokens: Tokens,
    name: str = AUTO,
    precision: str = AUTO,
    *,
    task: str | None = None,
    notify: Notify = lambda _: None,
) -> tuple[Backend, float | None]:
    """Return the backend of this name and precision; where either is `auto`, the fastest that agrees with float32.

    Args:
        model: the model to run.
        tokens: texts to try candidates on, as long as those to come.
        name: a name from `BACKENDS`, or `auto`.
        precision: a name from `PRECISIONS`, or `auto`.
        task: as for `backend`.
        notify: told which candidates were tried, how fast they were and how well they agreed.

    Returns:
        The backend, and the least cosine of its vectors with those of float32; None where nothing was to choose.
    """
    candidates = usable_backends(model, name, precision, task=task)
    if AUTO not in (name, precision):
        return backend(model, name, precision, task=task), None
    readable = tokens.take(np.flatnonzero(tokens.lengths).tolist())
    if len(readable) and len(candidates) > 1:
        chosen, cosine = _fastest(model, readable, candidates, task, notify)
    else:
        chosen, cosine = backend(model, *candidates[0], task=task), None
    notify(f"embedding with {chosen.name} at {chosen.precision}")
    return chosen, cosine


def usable_backends(
    model: SentenceTransformer, name: str = AUTO, precision: str = AUTO, *, task: str | None = None
) -> list[tuple[str, str]]:
    """Return the backends and precisions of this name that run here; raise with every reason if none does."""
    choose(name, {**BACKENDS, AUTO: None}, "backend")
    choose(precision, {**PRECISIONS, AUTO: None}, "precision")
    names = BACKENDS if name == AUTO else [name]
    precisions = PRECISIONS if precision == AUTO else [precision]
    obstacles = {(one, kind): obstacle(model, one, kind, task) for one in names for kind in precisions}
    usable = [candidate for candidate, reason in obstacles.items() if reason is None]
    if not usable:
        once: dict[Any, str] = {}  # a missing package is missing at every precision
        for (one, kind), reason in obstacles.items():
            once.setdefault(reason, f"{one} at {kind}: {reason}")
        raise BadInput(f"{'; '.join(once.values())}.")
    return usable


def sample_lengths(texts: Sequence[str]) -> list[str]:
    """Return some of the texts, evenly from the shortest to the longest; of very long ones the beginning.

    >>> sample_lengths(["a" * length for length in range(100)])[:3], len(sample_lengths(["a"] * 5))
    (['', 'aaa', 'aaaaaa'], 5)
    """
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    places = np.unique(np.linspace(0, len(order) - 1, min(SAMPLE, len(order))).round().astype(np.int64))
    return [texts[order[place]][:_CHARACTERS] for place in places]


def _fastest(
    model: SentenceTransformer,
    tokens: Tokens,
    candidates: Sequence[tuple[str, str]],
    task: str | None,
    notify: Notify,
) -> tuple[Backend, float]:
    # Where there is a choice, the weights are float32: other weights run in their own precision only.
    truth, refused = Encoder(model, backend(model, task=task))(tokens)
    usable = [row for row in range(len(tokens)) if row not in refused and truth[row].any()]
    if not usable:
        raise BadInput(
            "the model gives no usable vector for any of the first texts at float32: look at it with cenote.diagnose."
        )
    tokens, truth = tokens.take(usable), truth[usable]
    notify(f"choosing the fastest of {len(candidates)} ways to compute, on {pluralise(len(tokens), 'text')} of these")
    best: tuple[float, Backend, float] | None = None  # only the best is kept: each holds the weights once more
    total = int(tokens.lengths.sum())
    for name, precision in candidates:
        try:
            made = backend(model, name, precision, task=task)
            vectors, refused = Encoder(model, made)(tokens)
        except Exception as error:  # runtimes fail in ways of their own, and the other candidates may work
            notify(f"{name} at {precision} is left out: {str(error) or type(error).__name__}")
            continue
        _, cosine = distance(torch.from_numpy(vectors), torch.from_numpy(truth))
        if refused or cosine < WORST_COSINE:
            reason = refused[min(refused)] if refused else f"its least cosine with float32 is {cosine:.6f}"
            notify(f"{name} at {precision} is left out: {reason}")
            continue
        seconds = min(_seconds(Encoder(model, made), tokens) for _ in range(_REPEATS))
        notify(f"{name} at {precision}: {total / seconds:,.0f} tokens a second, least cosine with float32 {cosine:.6f}")
        if best is None or seconds < best[0]:
            best = seconds, made, cosine
    if best is None:
        raise BadInput("no backend agrees with float32 on these texts: name one (--backend torch --precision float32).")
    return best[1], round(best[2], 6)


def _seconds(encoder: Encoder, tokens: Tokens) -> float:
    start = time.perf_counter()
    encoder(tokens)
    return time.perf_counter() - start
