"""Which backend and precision: the fastest whose vectors agree with float32 on the user's own texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.backends import BACKENDS, PRECISIONS, Backend, available, backend
from cenote.encoding import Encoder, Vectors
from cenote.errors import BadInput, choose
from cenote.tokenising import Tokenised, taken

AUTO = "auto"
# Vectors of another precision have this cosine with float32's at least, each of them.
AGREED = 0.9999
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
    agreed: Callable[[float], object] = lambda _: None,
) -> Backend:
    """The backend of that name and precision; where either is left open, the fastest that agrees with float32.

    Args:
        model: what it runs.
        tokens: texts to try candidates on, of the lengths that there will be.
        name: a name from `BACKENDS`, or `auto`.
        precision: a name from `PRECISIONS`, or `auto`.
        task: as for `backend`.
        notify: told what was tried, how fast it was and how well it agreed.
        agreed: told the least cosine with float32 of what was chosen, where there was a choice.
    """
    choose(name, {**BACKENDS, AUTO: None}, "backend")
    choose(precision, {**PRECISIONS, AUTO: None}, "precision")
    if AUTO not in (name, precision):
        return backend(model, name, precision, task=task)
    reasons = available(model, task=task)
    chosen = [pair for pair in reasons if name in (AUTO, pair[0]) and precision in (AUTO, pair[1])]
    able = [pair for pair in chosen if reasons[pair] is None and (pair[0] == "torch" or _on_cpu(model))]
    if not able:
        raise BadInput(
            "; ".join(f"{pair[0]} at {pair[1]}: {reasons[pair] or 'the model is not on the CPU'}" for pair in chosen)
            + "."
        )
    readable = taken(tokens, np.flatnonzero(tokens.lengths).tolist())
    if len(readable) == 0 or len(able) == 1:
        chosen_one = backend(model, *able[0], task=task)
    else:
        chosen_one, cosine = _fastest(model, readable, able, task, notify)
        agreed(round(cosine, 6))
    notify(f"embedding with {chosen_one.name} at {chosen_one.precision}")
    return chosen_one


def own_precision(model: SentenceTransformer) -> str:
    """What the model's weights are kept in."""
    kept = next((value.dtype for value in model.parameters() if value.is_floating_point()), None)
    return next((name for name, dtype in PRECISIONS.items() if dtype is kept), "float32")


def _on_cpu(model: SentenceTransformer) -> bool:
    return bool(model.device.type == "cpu")


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
    best: tuple[float, Backend, float] | None = None  # no other is kept: each holds the weights once more
    rate = int(tokens.lengths.sum())
    for name, precision in able:
        try:
            made = backend(model, name, precision, task=task)
            ours, bad = Encoder(model, made)(tokens)
        except Exception as error:  # what a runtime cannot do it tells in its own way, and others can
            notify(f"{name} at {precision} is left out: {str(error) or type(error).__name__}")
            continue
        cosine = _least_cosine(ours, truth)
        if bad or cosine < AGREED:
            why = bad[min(bad)] if bad else f"its least cosine with float32 is {cosine:.6f}."
            notify(f"{name} at {precision} is left out: {why}")
            continue
        seconds = min(_seconds(Encoder(model, made), tokens) for _ in range(_TURNS))
        notify(f"{name} at {precision}: {rate / seconds:,.0f} tokens a second, least cosine with float32 {cosine:.6f}")
        if best is None or seconds < best[0]:
            best = seconds, made, cosine
    if best is None:
        raise BadInput("no backend agrees with float32 on these texts: name one (--backend torch --precision float32).")
    return best[1:]


def _seconds(encoder: Encoder, tokens: Tokenised) -> float:
    start = time.perf_counter()
    encoder(tokens)
    return time.perf_counter() - start


def _least_cosine(ours: Vectors, theirs: Vectors) -> float:
    a, b = (vectors.astype(np.float64) for vectors in (ours, theirs))
    norms: Any = np.sqrt(np.square(a).sum(1) * np.square(b).sum(1))
    return float(((a * b).sum(1) / np.where(norms > 0, norms, 1)).min())
