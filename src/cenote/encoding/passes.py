"""Passes of a model that show its token vectors, by a graph of OpenVINO where that is faster, else by torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cenote.choices import AUTO, missing_packages
from cenote.encoding.backend_choice import openvino_is_faster
from cenote.encoding.backends import computing_as_stored, find_disagreement, obstacle, openvino_runner, own_precision
from cenote.encoding.forward import TOKENS, VECTORS, forward, pooled_vectors, vectors_after
from cenote.encoding.graphs import feed, to_openvino
from cenote.errors import last_line
from cenote.listener import silent
from cenote.models.repooling import pooling_in

# With fewer tokens to read, a graph takes longer to make than it saves.
WORTH_A_GRAPH = 100_000
# A graph has a copy of the weights: torch reads with a model of more bytes.
_LARGEST = 2**30


def packages() -> tuple[str, ...]:
    """Return the package that may read in place of torch here."""
    return ("openvino",) if openvino_is_faster() and not missing_packages("openvino") else ()


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
        self.seconds_of_graph = 0.0  # that making it took

    def __call__(self, features: Mapping[str, Any], task: str | None = None) -> dict[str, Any]:
        """Return the features of a batch with the token vectors and the vectors. `task` is as for `forward`."""
        if self.graph is not None:
            output = self.graph.read(features)
            if output[VECTORS].isfinite().all():
                return output
        return forward(self.model, features, task)

    @property
    def worth_a_graph(self) -> bool:
        """Whether a graph of the model would win back the time that making it takes."""
        return self.tokens >= WORTH_A_GRAPH and openvino_is_faster() and self._has_one_graph()

    @cached_property
    def graph(self) -> _TokenGraph | None:
        """The graph that reads; None where torch does."""
        if not self.worth_a_graph:
            return None
        start = time.perf_counter()
        try:
            with computing_as_stored(), torch.autocast("cpu", enabled=False):
                made = _TokenGraph(self.model, self.precision)
                finding = find_disagreement(made, self.model)
        except Exception as error:  # runtimes fail in ways of their own, and torch reads with every model
            finding = f"cannot be had: {last_line(error)}"
        self.seconds_of_graph = time.perf_counter() - start
        if finding:
            self.notify(f"torch reads the texts: at {self.precision}, OpenVINO's vectors {finding}")
            return None
        return made

    def _has_one_graph(self) -> bool:
        """Return whether one graph serves queries and documents, and shows the token vectors that the pooling reads."""
        model = self.model
        declared = (getattr(one, "forward_kwargs", ()) for one in model.modules())  # a Router has `task` among them
        if any("task" in names for names in (*declared, *(model.module_kwargs or {}).values())):
            return False
        if pooling_in(model) not in list(model)[1:2]:
            return False
        if sum(one.nbytes for one in model.parameters()) > _LARGEST:
            return False
        return obstacle(model, "openvino", self.precision, None) is None


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
