"""Pass each layer's hidden states and attention to reducers while a model runs. Nothing is kept.

The model runs its own attention. sdpa does not return its weights: for the requested layers they are computed a second
time from the arguments of sdpa.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from cenote.errors import BadInput, UnsupportedModel, some
from cenote.surgery.attention import (
    SDPA,
    SOFTMAXES,
    Probe,
    Site,
    address,
    features_of,
    find_sites,
    mask_of,
    networks_of,
)
from cenote.surgery.projections import Projections, find_projections


@dataclass(frozen=True)
class Layer:
    """One layer of a model: a block with one attention module in it."""

    index: int  # in the order of the forward pass; a shared block counts each time
    name: str
    site: Site
    projections: Projections | str  # or the reason why they are missing
    tokens_first: bool  # whether its hidden states are [T, B, D], as in XLNet


@dataclass
class Passage:
    """The input, output and attention of one layer for one batch. Valid while the reducer runs: copy what you keep."""

    layer: Layer
    mask: Tensor  # [B, T], bool: the real tokens
    before: Tensor  # [B, T, D], input of the layer
    after: Tensor  # [B, T, D], output of the layer
    read: Tensor | None = None  # [B, T, D], input of its attention
    attended: Tensor | None = None  # [B, T, D], output of its attention after the output projection, if it has one
    attention: Tensor | None = None  # [B, H, T, T], attention weights, if they were requested

    @property
    def reads_input(self) -> bool:
        """Whether attention reads the layer's input itself, as in BERT, and not a normalised form of it."""
        return self.read is not None and self.read.shape == self.before.shape and bool((self.read == self.before).all())


Reducer = Callable[[Passage], None]


class Trace:
    """A context manager that calls reducers with each layer's `Passage` of every batch that the model reads.

    Only the thread that entered it is traced.

    >>> import cenote
    >>> model, widths = cenote.load("minilm"), []
    >>> with Trace(model, lambda passage: widths.append((passage.layer.index, *passage.after.shape)), attention=[5]):
    ...     model.encode("a pool").shape
    (384,)
    >>> widths[0], widths[-1]
    ((0, 1, 4, 384), (5, 1, 4, 384))

    Args:
        model: a `SentenceTransformer` or a transformers model.
        reducers: called with a `Passage` for each layer and batch.
        attention: the layers whose attention weights are requested: True for all, or their numbers from 0.
    """

    def __init__(self, model: nn.Module, *reducers: Reducer, attention: bool | Sequence[int] = False) -> None:
        found = networks_of(model)
        if len(found) > 1:
            raise UnsupportedModel(f"{type(model).__name__} holds {len(found)} transformers: trace one of them.")
        self.network, self._entries = found[0]
        self.reducers = reducers
        self.layers = find_layers(self.network)
        every = range(len(self.layers))
        chosen = every if attention is True else attention or ()
        if wrong := [index for index in chosen if isinstance(index, bool) or index not in every]:
            raise BadInput(f"attention={attention!r}: no layer {some(wrong)}; the model has layers 0 to {every[-1]}.")
        self._wanted = set(chosen)
        self._handles: list[RemovableHandle] = []
        self._mode = _Attention(self)
        self._thread: int | None = None
        self._mask: Tensor | None = None
        self._passed = 0
        self._open: list[dict[str, Any]] = []  # states recorded so far of the blocks that are running

    def __enter__(self) -> Trace:
        if self._thread is not None:
            raise BadInput("this trace is already entered: create another one.")
        self._thread = threading.get_ident()
        self._handles = [entry.register_forward_pre_hook(self._enter, with_kwargs=True) for entry in self._entries]
        # A shared block makes several layers, but is hooked once.
        for layer in {layer.name: layer for layer in self.layers}.values():
            self._handles += self._hook_layer(layer)
        self._mode.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._mode.__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()
        self._handles, self._thread, self._mask, self._open = [], None, None, []

    def _enter(self, _: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if not self._in_thread():
            return
        features = features_of(args, kwargs)
        if features.get("cu_seq_lens_q") is not None:
            raise UnsupportedModel(
                "flattened batches are not traced: load the model with the attention implementation 'eager' or 'sdpa'."
            )
        self._mask = mask_of(features, "a trace needs")
        self._passed, self._open = 0, []

    def _hook_layer(self, layer: Layer) -> list[RemovableHandle]:
        block, site = self.network.get_submodule(layer.name), layer.site.module

        def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            if self._in_thread():
                self._open.append({"before": _states(args, kwargs)})

        def note(name: str) -> Callable[..., None]:
            def hook(_: nn.Module, args: Any, kwargs: dict[str, Any], *out: Any) -> None:
                if self._in_thread() and self._open:
                    self._open[-1][name] = out[0] if out else _states(args, kwargs)

            return hook

        def leave(_: nn.Module, _args: Any, out: Any) -> None:
            if self._in_thread() and self._open:
                self._reduce(self._open.pop(), out[0] if isinstance(out, tuple) else out)

        handles = [
            block.register_forward_pre_hook(enter, with_kwargs=True),
            site.register_forward_pre_hook(note("read"), with_kwargs=True),
            block.register_forward_hook(leave),
        ]
        if isinstance(layer.projections, Projections):
            handles.append(layer.projections.output.register_forward_hook(note("attended"), with_kwargs=True))
        return handles

    def _in_thread(self) -> bool:
        """Return whether this thread entered the trace: others may use the model at the same time."""
        return self._thread == threading.get_ident()

    def _reduce(self, known: dict[str, Any], after: Tensor) -> None:
        layer, self._passed = self.layers[self._passed], self._passed + 1
        if self._mask is None:
            raise UnsupportedModel(
                f"a part of {type(self.network).__name__} was called alone: a trace needs a call of the whole model."
            )
        if layer.index in self._wanted and "attention" not in known:
            raise UnsupportedModel(
                f"{layer.site.name} ({address(layer.site.module)}) has no visible attention of tokens to tokens: use "
                "the attention implementation 'eager' or 'sdpa', or do not request the attention of this layer."
            )
        tokens = self._mask.shape[1]  # Longformer adds some at the end
        weights = known.pop("attention", None)
        states = {
            name: (value.transpose(0, 1) if layer.tokens_first else value)[:, :tokens].detach()
            for name, value in {**known, "after": after}.items()
        }
        weights = None if weights is None else weights[..., :tokens, :tokens]
        passage = Passage(layer, self._mask, attention=weights, **states)
        with torch.autocast(after.device.type, enabled=False):  # a model may run in half precision; measures do not
            for reducer in self.reducers:
                reducer(passage)


class _Attention(TorchFunctionMode):
    """Records the attention weights of the requested layers."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, trace = kwargs or {}, self.trace
        out = func(*args, **kwargs)
        if (func is SDPA or func in SOFTMAXES) and trace._open and trace._passed in trace._wanted:
            weights = attention_weights(*args, **kwargs) if func is SDPA else out
            if weights.ndim == 4 and weights.shape[-1] == weights.shape[-2]:
                trace._open[-1]["attention"] = weights.detach()
        return out


@torch.no_grad()
def attention_weights(
    query: Tensor,
    key: Tensor,
    value: Tensor | None = None,  # noqa: ARG001  part of sdpa's signature
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return the weights [B, H, T, T] of `scaled_dot_product_attention`, called with its own arguments.

    A query whose keys are all masked gets a row of zeros.
    """
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    with torch.autocast(query.device.type, enabled=False):
        logits = (query.float() @ key.float().mT) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        hidden = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
        logits = logits.masked_fill(hidden, -torch.inf)
    if attn_mask is not None:
        logits = logits.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else logits + attn_mask
    return logits.softmax(-1).nan_to_num(0)


def find_layers(network: nn.Module) -> list[Layer]:
    """Return the layers of a transformers model, in the order of the forward pass."""
    sites = find_sites(network)
    names = {_block(network, site, sites): site for site in sites}
    order: list[tuple[str, bool]] = []
    probe = Probe.of(network)

    def watch(name: str) -> RemovableHandle:
        def hook(_: nn.Module, _args: Any, out: Any) -> None:
            states = out[0] if isinstance(out, tuple) else out
            order.append((name, states.shape[0] != probe.ids.shape[0]))

        return network.get_submodule(name).register_forward_hook(hook)

    handles = [watch(name) for name in names]
    try:
        probe.read(network)
    finally:
        for handle in handles:
            handle.remove()
    projections = {name: find_projections(network, site) for name, site in names.items()}
    return [Layer(index, name, names[name], projections[name], first) for index, (name, first) in enumerate(order)]


def _block(network: nn.Module, site: Site, sites: list[Site]) -> str:
    """Return the name of the layer of a site: the outermost list member that holds no other attention module."""
    parts = site.name.split(".")
    for end in range(1, len(parts) + 1):
        name, parent = ".".join(parts[:end]), ".".join(parts[: end - 1])
        alone = sum(other.name == name or other.name.startswith(f"{name}.") for other in sites) == 1
        if alone and isinstance(network.get_submodule(parent), nn.ModuleList):
            return name
    raise UnsupportedModel(
        f"{site.name} ({address(site.module)}) is in no list of layers, so the input and output of its layer are "
        "unknown."
    )


def _states(args: Any, kwargs: dict[str, Any]) -> Any:
    """Return the hidden states among the arguments of a block."""
    return kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
