"""Passes of a model that show its token vectors, by a graph of OpenVINO where that is faster, else by torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cenote.choices import AUTO, missing_packages
from cenote.encoding.backend_choice import openvino_is_faster
from cenote.encoding.backends import (
    PRECISIONS,
    ROUNDED_COSINE,
    WORST_DIFFERENCE,
    computing_as_stored,
    distance,
    find_disagreement,
    obstacle,
    openvino_runner,
    own_precision,
)
from cenote.encoding.batches import is_out_of_memory
from cenote.encoding.forward import TOKENS, VECTORS, forward, pooled_vectors, vectors_after
from cenote.encoding.graphs import feed, probes, to_openvino
from cenote.errors import CenoteError, last_line, some
from cenote.listener import silent
from cenote.models.repooling import pooling_in

# With fewer tokens to read, a graph takes longer to make than it saves.
WORTH_A_GRAPH = 100_000
# A graph has a copy of the weights: torch reads with a model of more bytes.
_LARGEST = 2**30
# The least cosine of a token's vector with the model's. In bfloat16 it is above .999 on models of 3 to 12 layers.
_WORST_OF_TOKENS = 0.99


def packages() -> tuple[str, ...]:
    """Return the package that may read in place of torch here, at some precision."""
    faster = any(map(openvino_is_faster, PRECISIONS))
    return ("openvino",) if faster and not missing_packages("openvino") else ()


def can_have_a_graph(model: SentenceTransformer, precision: str = AUTO) -> bool:
    """Return whether OpenVINO is faster here, and one graph can stand for the model, as far as is known beforehand.

    It must serve queries and documents, and show the token vectors that the pooling reads.
    """
    computed = own_precision(model) if precision == AUTO else precision
    if not openvino_is_faster(computed):
        return False
    declared = (getattr(one, "forward_kwargs", ()) for one in model.modules())  # a Router has `task` among them
    if any("task" in names for names in (*declared, *(model.module_kwargs or {}).values())):
        return False
    if pooling_in(model) not in list(model)[1:2]:
        return False
    if sum(one.nbytes for one in model.parameters()) > _LARGEST:
        return False
    return obstacle(model, "openvino", computed, None) is None


class Passes:
    """Runs a model on batches, as `forward` does.

    A graph is made for the first batch, and is of the model at that moment: a model that is tempered needs other
    passes.

    >>> import cenote
    >>> model = cenote.load("minilm", device="cpu")
    >>> output = Passes(model, tokens=1000)(model.preprocess(["a pool", "the deep cave"]))
    >>> output["token_embeddings"].shape, output["sentence_embedding"].shape
    (torch.Size([2, 5, 384]), torch.Size([2, 384]))

    Args:
        model: any `SentenceTransformer`.
        precision: a name from `PRECISIONS`, or `auto`: that of the weights. It is the graph's; torch computes in what
            `computing_in` sets.
        tokens: about how many will be read.
        notify: told where a graph was tried in vain.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        precision: str = AUTO,
        *,
        tokens: int,
        notify: Callable[[str], object] = silent,
    ) -> None:
        self.model, self.tokens, self.notify = model, tokens, notify
        self.precision = own_precision(model) if precision == AUTO else precision

    def prepare(self) -> None:
        """Make the graph now, so that neither the time of reading nor an error within it are those of its making."""
        _ = self.graph

    def __call__(self, features: Mapping[str, Any], task: str | None = None) -> dict[str, Any]:
        """Return the features of a batch with the token vectors and the vectors. `task` is as for `forward`."""
        if self.graph is not None:
            try:
                output = self.graph.read(features)
            except Exception as error:  # runtimes fail in ways of their own
                if isinstance(error, CenoteError) or is_out_of_memory(error):
                    raise
                self._give_up(f"a graph of OpenVINO cannot be used: {last_line(error)}")
            else:
                if output[VECTORS].isfinite().all() and _real_tokens(output).isfinite().all():
                    return output
        return forward(self.model, features, task)

    @cached_property
    def graph(self) -> _TokenGraph | None:
        """The graph that reads; None where torch does."""
        if self.tokens < WORTH_A_GRAPH or not can_have_a_graph(self.model, self.precision):
            return None
        try:
            with computing_as_stored(), torch.autocast("cpu", enabled=False):
                made = _TokenGraph(self.model, self.precision)
                finding = _find_disagreement(made, self.model)
        except Exception as error:  # runtimes fail in ways of their own, and torch reads with every model
            finding = f"a graph of OpenVINO cannot be used: {last_line(error)}"
        if finding:
            self._give_up(finding)
            return None
        return made

    def _give_up(self, finding: str) -> None:
        self.graph = None
        self.notify(f"torch reads the texts: at {self.precision} {finding}")


class NoGraph(Exception):
    """A graph that was counted on cannot be had; the message says why."""


def passes_of_a_graph(model: SentenceTransformer, precision: str) -> Passes:
    """Return passes that raise `NoGraph` where no graph can be had, as torch would round otherwise."""

    def refuse(reason: str) -> None:
        raise NoGraph(reason)

    return Passes(model, precision, tokens=WORTH_A_GRAPH, notify=refuse)


class SharedPasses:
    """Passes of graphs for settings that are compared: those that follow each other may share one.

    One graph is held at a time.
    """

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self._latest: tuple[SentenceTransformer, str, Passes] | None = None

    def of(self, model: SentenceTransformer, temperature: str) -> Passes:
        """Return the passes of a model that has the temperature of this name now: the last ones, if they are those."""
        if self._latest is None or self._latest[:2] != (model, temperature):
            self._latest = None  # before the next is made
            self._latest = model, temperature, passes_of_a_graph(model, self.precision)
        return self._latest[2]


class _TokenGraph:
    """A backend: a graph from features to token vectors, and the modules after the transformer in torch."""

    name = "openvino"

    def __init__(self, model: SentenceTransformer, precision: str) -> None:
        self.model, self.precision = model, precision
        graph = to_openvino(model, feature=TOKENS)
        self.inputs = [port.any_name for port in graph.inputs]
        self.run = openvino_runner(graph, precision)

    def __call__(self, features: Mapping[str, Any]) -> Tensor:
        """Return the vectors `[B, D]`."""
        return pooled_vectors(self.model, self.read(features))

    def read(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """Return the features with the token vectors and the vectors."""
        output = {**features, TOKENS: torch.from_numpy(self.run(feed(features, self.inputs)))}
        return {**output, VECTORS: vectors_after(self.model, output, list(self.model)[1:])}


def _find_disagreement(made: _TokenGraph, model: SentenceTransformer) -> str | None:
    """Say how what a graph returns for a few texts differs from the model's at float32; None if it agrees.

    Tokens are compared too: other poolings than the model's own read other tokens, and may read other features.
    """
    if finding := find_disagreement(made, model, least=ROUNDED_COSINE):
        return f"OpenVINO's vectors {finding}"
    for features in probes(model):
        ours, theirs = made.read(features), forward(model, features)
        if lost := [name for name in theirs if name not in ours]:
            return f"OpenVINO returns no {some(lost)}, as the model does"
        difference, cosine = distance(_real_tokens(ours), _real_tokens(theirs))
        if made.precision == "float32" and not difference <= WORST_DIFFERENCE:
            return f"OpenVINO's vectors of tokens differ by {difference:.2g} of their length"
        if not cosine >= _WORST_OF_TOKENS:
            return f"OpenVINO's vectors of tokens have a cosine of {cosine:.6f} with the model's"
    return None


def _real_tokens(output: Mapping[str, Any]) -> Tensor:
    """Return the vectors of all tokens that are no padding: `[N, D]`."""
    real: Tensor = output[TOKENS][output["attention_mask"].bool()]
    return real
