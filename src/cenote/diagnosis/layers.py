"""Every layer of a model profiled on texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from cenote.encoding.batches import BatchReader, Refused
from cenote.encoding.forward import forward
from cenote.encoding.tokens import Tokens, tokenise
from cenote.errors import BadInput
from cenote.listener import Listener, silent
from cenote.surgery.profiles import LayerProfile, Profiler
from cenote.surgery.tracing import Trace

# Pairs of tokens in a traced batch. Every head has a number for each pair: tens of megabytes, several times over.
TRACED_PAIRS = 2**18


def profile_layers(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    attention: bool | Sequence[int] = True,
    budget: int = TRACED_PAIRS,
    listener: Listener | None = None,
) -> list[LayerProfile]:
    """Return the profile of every layer on the texts, in their order.

    >>> import cenote
    >>> layers = profile_layers(cenote.load("minilm"), ["a pool", "the deep cave holds light"])
    >>> len(layers), [round(value, 3) for value in layers[5].concentration.tolist()]
    (6, [0.589, 1.079])

    Args:
        model: any `SentenceTransformer` with one transformer.
        texts: at least one.
        attention: whether to look at attention too, which sigma_a, lambda and their bounds need; or the layers, from 0,
            at whose attention to look.
        budget: pairs of tokens in a batch.
        listener: hears of the progress.
    """
    if isinstance(texts, str) or not texts:
        raise BadInput(f"texts={texts!r}: pass a list of texts, at least one.")
    return profile_tokens(model, tokenise(model, texts), attention=attention, budget=budget, listener=listener)


def profile_tokens(
    model: SentenceTransformer,
    tokens: Tokens,
    *,
    attention: bool | Sequence[int] = True,
    budget: int = TRACED_PAIRS,
    listener: Listener | None = None,
) -> list[LayerProfile]:
    """Return the profile of every layer on tokenised texts; arguments as in `profile_layers`."""
    profiler, order, listener = Profiler(), list[int](), listener or Listener()
    advance = listener.step("tracing layers", len(tokens))
    with Trace(model, profiler, attention=attention):
        for read in traced_reader(model, profiler, budget=budget).read(tokens):
            if isinstance(read, Refused):
                raise BadInput(f"text {read.row} cannot be profiled: {read.reason}. Leave it out.")
            order += read.rows
            advance(len(read.rows))
    return profiler.compute(torch.tensor(order).argsort())


def traced_reader(
    model: SentenceTransformer,
    profiler: Profiler,
    *,
    budget: int = TRACED_PAIRS,
    check: Callable[[dict[str, Any]], object] = silent,
    notify: Callable[[str], object] = silent,
) -> BatchReader:
    """Return a reader whose batches are profiled while a `Trace` with this profiler is entered.

    A batch that is refused or runs out of memory halfway leaves nothing in the profiler.

    Args:
        model: any `SentenceTransformer` with one transformer.
        profiler: measures the batches.
        budget: pairs of tokens in a batch.
        check: called with the features of a batch before it is read; may refuse them.
        notify: told when memory ran out.
    """

    def run(features: dict[str, Any]) -> dict[str, Any]:
        check(features)
        profiler.start()
        try:
            output = forward(model, features)
        except BaseException:
            profiler.start()  # `compute` accepts what is pending
            raise
        profiler.finish()
        return output

    return BatchReader(model, run, budget=budget, power=2, notify=notify)
