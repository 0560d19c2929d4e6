"""The loss of a training: InfoNCE over a batch, and if asked for a teacher's scores and the spread of tokens.

InfoNCE: a query's positive among all positives and negatives of the batch
distil:  Kullback-Leibler divergence, per query, of the teacher's softmax over its own texts from the model's
spread:  the mean over texts of  sum |x_i - mu|^2 / sum |x_i|^2,  tokens x_i with mean mu
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from sentence_transformers.base.losses.gradcache import RandContext, _create_minibatch
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from torch import Tensor
from torch.nn.functional import cosine_similarity, kl_div

from cenote._nn.layouts import layouts
from cenote.functional.token_batches import clear_padding, to_batch


class ContrastiveLoss(CachedMultipleNegativesRankingLoss):
    """InfoNCE with a teacher's scores and a penalty on the spread of tokens, in one pass.

    Texts pass the model in groups of `mini_batch`. With `cached` their activations are computed again, one group at a
    time, so that memory does not grow with the batch; the gradients are the same.

    Args:
        model: to train.
        temperature: divides the cosines of InfoNCE and of the model's side of `distil`.
        mini_batch: texts in one pass.
        cached: whether activations are computed again.
        distil: weight of the teacher's scores, which are the batch's labels `[pairs, 1 + negatives]`.
        spread: weight of the penalty.
    """

    def __init__(
        self,
        model: Any,
        temperature: float = 0.02,
        mini_batch: int = 32,
        *,
        cached: bool = False,
        distil: float = 0.0,
        spread: float = 0.0,
    ) -> None:
        super().__init__(model, scale=1 / temperature, mini_batch_size=mini_batch)
        self.cached, self.distil, self.spread = cached, distil, spread
        self.parts: dict[str, float] = {}  # of the last step, before their weights

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Return the loss of a batch."""
        columns = list(sentence_features)
        if self.cached:
            return self.forward_cached(columns, labels)
        vectors = [
            [part for part, _ in self.embed_minibatch_iter(column, with_grad=True, copy_random_state=False)]
            for column in columns
        ]
        return self.calculate_loss(vectors, labels)

    def embed_minibatch(
        self,
        sentence_feature: dict[str, Tensor],
        begin: int,
        end: int,
        with_grad: bool,
        copy_random_state: bool,
        random_state: RandContext | None = None,
    ) -> tuple[Tensor, RandContext | None]:
        """Embed a part of a column; as the base class does, with the spread of each text."""
        part = _create_minibatch(sentence_feature, begin, end)
        with (
            nullcontext() if random_state is None else random_state,
            torch.set_grad_enabled(with_grad and torch.is_grad_enabled()),
        ):
            state = RandContext(*part.values()) if copy_random_state else None
            return self._embed(part), state

    def _embed(self, features: dict[str, Tensor]) -> Tensor:
        """Return the vectors; with a penalty on spread, a last column has the spread of each text."""
        output = self.model(features)
        vectors: Tensor = output["sentence_embedding"]
        if not self.spread:
            return vectors
        return torch.cat([vectors, spread_of(output).to(vectors).unsqueeze(1)], 1)

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """Return the loss of the vectors of all columns; `with_backward` computes their gradients too."""
        vectors = [[part[:, :-1] if self.spread else part for part in column] for column in reps]
        total = super().calculate_loss(vectors, None, with_backward=with_backward)
        self.parts = {"info_nce": float(total.detach())}
        for name, weight, term in (("distil", self.distil, self._distil), ("spread", self.spread, self._spread)):
            if weight:
                value = term(reps, vectors, labels)
                self.parts[name] = float(value.detach())
                value = weight * value
                if with_backward:
                    value.backward()  # type: ignore[no-untyped-call]
                    value = value.detach()
                total = total + value
        return total

    def _distil(self, _: Any, vectors: list[list[Tensor]], labels: Tensor | None) -> Tensor:
        queries, *texts = [torch.cat(column) for column in vectors]
        own = torch.stack([cosine_similarity(queries, column) for column in texts], 1) * self.scale
        if labels is None:
            raise RuntimeError("a batch without the teacher's scores")
        teacher = labels.to(own).log_softmax(1)
        return kl_div(own.log_softmax(1), teacher, reduction="batchmean", log_target=True)

    @staticmethod
    def _spread(reps: list[list[Tensor]], *_: Any) -> Tensor:
        return torch.cat([part[:, -1] for column in reps for part in column]).mean()


def spread_of(features: dict[str, Any]) -> Tensor:
    """Return the spread of each text's tokens about their mean, as a share of their squared length, from 0 to 1."""
    order, found = [], []
    for rows, tokens, mask, *_ in layouts(features):
        batch = clear_padding(to_batch(tokens, mask, 0))
        x, real = batch.tokens.float(), batch.real
        counts = real.sum(1)
        mean = x.sum(1) / counts.unsqueeze(1)
        squares = x.square().sum((1, 2)) / counts
        found.append(1 - mean.square().sum(1) / squares)
        order.append(rows)
    return found[0] if len(found) == 1 else torch.cat(found)[torch.cat(order).argsort()]
