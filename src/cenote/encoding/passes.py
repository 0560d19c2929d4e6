"""Passes of a model that show its token vectors, by a graph of OpenVINO where that is faster, else by torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cenote.choices import AUTO
from cenote.encoding.backend_choice import choose_steadily
from cenote.encoding.backends import find_disagreement, obstacle, openvino_runner, own_precision
from cenote.encoding.forward import TOKENS, VECTORS, forward, pooled_vectors, vectors_after
from cenote.encoding.graphs import PROMPT, feed, inputs_of, to_openvino
from cenote.errors import UnsupportedModel
from cenote.listener import silent
from cenote.models.repooling import pooling_in

# With fewer tokens to read, a graph takes longer to make than it saves.
WORTH_A_GRAPH = 100_000


class Passes:
    """Runs a model on batches, as `forward` does.

    A graph is made for the first batch that needs it, and is of the model at that moment: a model that is tempered
    needs other passes.

    >>> import cenote
    >>> model = cenote.load("minilm", device="cpu")
    >>> output = Passes(model, tokens=1000)(model.preprocess(["a pool", "the deep cave"]))
    >>> output["token_embeddings"].shape, output["sentence_embedding"].shape
    (torch.Size([2, 5, 384]), torch.Size([2, 384]))

    Args:
        model: any `SentenceTransformer`.
        precision: a name from `PRECISIONS`, or `auto`: that of the weights. Where it is another, torch computes in what
            `computing_in` sets.
        tokens: to read in all, as far as they are known.
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
        self.model, self.notify = model, notify
        self.precision = own_precision(model) if precision == AUTO else precision
        self._promising = tokens >= WORTH_A_GRAPH and self._may_be_graph()

    def __call__(self, features: Mapping[str, Any], task: str | None = None) -> dict[str, Any]:
        """Return the features of a batch with the token vectors and the vectors. `task` is as for `forward`."""
        return forward(self.model, features, task) if self._graph is None else self._graph.read(features)

    def _may_be_graph(self) -> bool:
        """Return whether a graph may be faster, and shows the token vectors that the pooling reads."""
        # One graph serves queries and documents.
        if obstacle(self.model, "openvino", self.precision, None):
            return False
        if pooling_in(self.model) not in list(self.model)[1:2]:
            return False
        return choose_steadily(self.model, AUTO, self.precision) == "openvino"

    @cached_property
    def _graph(self) -> _TokenGraph | None:
        """Made for the first batch; None where torch reads."""
        if not self._promising:
            return None
        try:
            made = _TokenGraph(self.model, self.precision)
        except UnsupportedModel as error:
            self.notify(f"torch reads the texts: {error}")
            return None
        if finding := find_disagreement(made, self._read_plainly, self.model, None):
            self.notify(f"torch reads the texts: at {self.precision}, OpenVINO's vectors {finding}")
            return None
        return made

    def _read_plainly(self, features: Mapping[str, Any]) -> Tensor:
        """Return the vectors in float32: `computing_in` changes what the model computes, and not its modules."""
        return vectors_after(self.model, features, self.model)


class _TokenGraph:
    """A backend: a graph from features to token vectors, and the modules after the transformer in torch."""

    name = "openvino"

    def __init__(self, model: SentenceTransformer, precision: str) -> None:
        self.model, self.precision = model, precision
        self.inputs = [name for name in inputs_of(model) if name != PROMPT]
        self.run = openvino_runner(to_openvino(model, feature=TOKENS), precision)

    def __call__(self, features: Mapping[str, Any]) -> Tensor:
        """Return the vectors `[B, D]`."""
        return pooled_vectors(self.model, self.read(features))

    def read(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """Return the features with the token vectors and the vectors."""
        output = {**features, TOKENS: torch.from_numpy(self.run(feed(features, self.inputs)))}
        return {**output, VECTORS: vectors_after(self.model, output, list(self.model)[1:])}
