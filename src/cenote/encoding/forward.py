"""One forward pass of a model, and what can be taken from its output: pooled vectors, token vectors, other poolings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from cenote._nn.layouts import skipped
from cenote._nn.modules import eval_mode
from cenote.errors import UnsupportedModel
from cenote.functional.token_batches import skip_tokens
from cenote.models.properties import of_task
from cenote.models.repooling import pooling_in
from cenote.nn import Pooling, Temperature

# The features that hold the pooled vectors, and those of the tokens.
VECTORS, TOKENS = "sentence_embedding", "token_embeddings"


def forward(model: SentenceTransformer, features: Mapping[str, Any], task: str | None = None) -> dict[str, Any]:
    """Run the model on a batch of features, on its own device, and return the features with everything it added."""
    device = model.device
    moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()}
    with eval_mode(model), torch.inference_mode():
        return run_modules(model, moved, task)


def run_modules(model: Any, features: Mapping[str, Any], task: str | None = None) -> dict[str, Any]:
    """Run all modules of the model on features that are on its device. `task` is `query`, `document` or None."""
    output: dict[str, Any] = model(dict(features), **of_task(task))
    return output


def pooled_vectors(model: Any, output: Mapping[str, Any]) -> Tensor:
    """Return the vectors of a batch as `encode` does: `[B, D]`, float32, cut to `truncate_dim`."""
    vectors: Tensor = output[VECTORS]
    return vectors[..., : model.truncate_dim].float()


def repooled_vectors(
    model: SentenceTransformer, output: Mapping[str, Any], pooling: nn.Module, *, without: Collection[str] = ()
) -> Tensor:
    """Return the vectors that the same pass gives with another pooling; the modules after the pooling run again.

    `without` names classes of modules that are left out.

    >>> import cenote
    >>> from cenote.nn import Pooling, Temperature
    >>> model = cenote.load("minilm", device="cpu")
    >>> output = forward(model, model.preprocess(["a pool", "the deep cave"]))
    >>> repooled_vectors(model, output, Pooling(384, "max")).shape
    torch.Size([2, 384])
    """
    modules, own = list(model), pooling_in(model)
    if own is None:
        raise UnsupportedModel(f"the model has no Pooling module among {[type(one).__name__ for one in modules]}.")
    later = modules[modules.index(own) + 1 :]
    return vectors_after(model, output, [pooling, *(one for one in later if type(one).__name__ not in without)])


def vectors_after(model: SentenceTransformer, output: Mapping[str, Any], modules: Iterable[nn.Module]) -> Tensor:
    """Return the vectors that the same pass gives with these modules in place of those after the transformer."""
    features: Any = {name: value for name, value in output.items() if name != VECTORS}
    with torch.inference_mode():
        for module in modules:
            if isinstance(module, Temperature):
                continue  # it computes nothing, and checks what was checked in the pass
            with eval_mode(module):
                features = module(features)
    return pooled_vectors(model, features)


def pooled_tokens(model: SentenceTransformer, features: Mapping[str, Any]) -> Tensor:
    """Return which tokens `[B, T]` the pooling sees: the real ones, without a prompt that the pooling leaves out.

    An operator may pick some of these, as `cls` does. Where a router has several poolings, the first one decides.
    """
    refuse_without_tokens(model, {TOKENS: None, **features})
    real: Tensor = features["attention_mask"].bool()
    pooling = pooling_in(model.modules())
    if pooling is None:
        return real
    # sentence-transformers' own Pooling does not read `prompt_mask`.
    marked = features.get("prompt_mask") if isinstance(pooling, Pooling) else None
    return skip_tokens(skipped(pooling, dict(features), len(real), marked), real)


def refuse_without_tokens(model: SentenceTransformer, features: Mapping[str, Any]) -> None:
    """Raise if a model shows no tokens, as one of static embeddings does."""
    if missing := [name for name in ("attention_mask", TOKENS) if name not in features]:
        raise UnsupportedModel(
            f"the model starts with {type(model[0]).__name__}, which gives no {missing[0]}: it has no token vectors."
        )
