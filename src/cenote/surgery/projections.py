"""Find the value and output projections of an attention module, or the reason why it has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from cenote.surgery.attention import Site

# Names of value projections, each with a function that takes the values' part of the weight. The first found counts.
_VALUES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    **{name: lambda _, weight: weight for name in ("value", "value_proj", "v_proj", "v_lin", "v")},
    "Wqkv": lambda module, weight: weight[-(module.Wqkv.out_features // 3) :],
    "qkv_proj": lambda module, weight: weight[-module.num_key_value_heads * module.head_dim :],
}
_OUTPUTS = ("o_proj", "out_proj", "out_lin", "o", "Wo", "dense")


@dataclass(frozen=True)
class Projections:
    """The weights of one attention module, in the orientation of `nn.Linear`, [out, in]."""

    heads: int
    value: Tensor  # [value heads * size, D]
    output: nn.Linear  # from [heads * size] to D

    @property
    def value_heads(self) -> int:
        """Number of value heads: fewer than `heads` where several heads share their values."""
        return self.value.shape[0] * self.heads // self.output.in_features


def find_projections(network: nn.Module, site: Site) -> Projections | str:
    """Return the projections of an attention module, or the reason why they cannot be found."""
    module: Any = site.module
    if any("v_norm" in name for name, _ in module.named_children()):
        return "the values are normalised, so they are not linear in the input of attention"
    if any(name.endswith("_global") for name, _ in module.named_children()):
        return "some tokens have projections of their own"
    name = next((name for name in _VALUES if hasattr(module, name)), None)
    if name is None or not isinstance(getattr(module, name), nn.Linear):
        return f"{type(module).__name__} has no linear projection for its values alone"
    parent = network.get_submodule(site.name.rpartition(".")[0])
    candidates = [getattr(module, key, None) for key in _OUTPUTS]
    # BERT and related models keep it in a sibling of the attention module.
    candidates.append(getattr(getattr(parent, "output", None), "dense", None))
    output = next((found for found in candidates if isinstance(found, nn.Linear)), None)
    if output is None:
        return f"{type(module).__name__} has no linear projection after its heads"
    weight = _VALUES[name](module, getattr(module, name).weight.detach())
    heads = int(network.config.num_attention_heads)  # type: ignore[union-attr, arg-type]
    size, rest = divmod(output.in_features, heads)
    if rest or weight.shape[0] % size or weight.shape[0] > output.in_features:
        return (
            f"a value projection of {weight.shape[0]} outputs does not fit {heads} heads and an output projection of "
            f"{output.in_features} inputs"
        )
    return Projections(heads, weight, output)
