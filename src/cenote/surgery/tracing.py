"""A model watched while it reads: each layer's hidden states and attention, handed on as they pass, none of them kept.

The model runs its own attention. Where that is sdpa, which never shows its weights, those of the layers that were
asked for are computed a second time from the very queries, keys and mask that sdpa is given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from cenote.errors import BadInput, UnsupportedModel, some
from cenote.surgery.attention import SDPA, SOFTMAXES, Probe, Site, address, find_sites, networks_of
from cenote.surgery.projections import Projections, find_projections


@dataclass(frozen=True)
class Layer:
    """One layer of a model: a block with one attention module in it."""

    index: int  # in the order in which a text passes through; a shared block counts each time
    name: str
    site: Site
    projections: Projections | str  # or why there are none
    tokens_first: bool  # whether its hidden states are [T, B, D], as in XLNet


@dataclass
class Passage:
    """What passes through one layer for one batch. Valid while the reducer runs: copy what you keep."""

    layer: Layer
    mask: Tensor  # [B, T], bool: the real tokens
    before: Tensor  # [B, T, D], what the layer reads
    after: Tensor  # [B, T, D], what it gives
    read: Tensor | None = None  # [B, T, D], what its attention reads
    attended: Tensor | None = None  # [B, T, D], what its attention gives, heads brought together, if it has projections
    attention: Tensor | None = None  # [B, H, T, T], the weights, where they were asked for

    @property
    def reads_input(self) -> bool:
        """Whether attention reads what the layer is given, as in BERT, and not a normalised form of it."""
        return self.read is not None and self.read.shape == self.before.shape and bool((self.read == self.before).all())


Reducer = Callable[[Passage], None]


class Trace:
    """While it is entered, every text that the model reads in this thread passes by the reducers, layer by layer.

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
        attention: of which layers the attention weights are wanted: True for all, or their numbers from 0.
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
            raise BadInput(f"attention={attention!r}: no layer {some(wrong)}; there are layers 0 to {every[-1]}.")
        self._wanted = set(chosen)
        self._handles: list[RemovableHandle] = []
        self._mode = _Attention(self)
        self._thread: int | None = None
        self._mask: Tensor | None = None
        self._passed = 0
        self._open: list[dict[str, Any]] = []  # what is known so far of the blocks that are running

    def __enter__(self) -> Trace:
        if self._thread is not None:
            raise BadInput("this trace is entered already: make another one.")
        self._thread = threading.get_ident()
        self._handles = [hook for entry in self._entries for hook in self._hook_entry(entry)]
        # A shared block makes several layers, and takes its hooks once.
        for layer in {layer.name: layer for layer in self.layers}.values():
            self._handles += self._hook_layer(layer)
        self._mode.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._mode.__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()
        self._handles, self._thread, self._mask, self._open = [], None, None, []

    def _hook_entry(self, entry: nn.Module) -> list[RemovableHandle]:
        def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            if self._mine():
                # A sentence-transformers module takes one mapping; a transformers model takes names.
                named = {**dict(zip(("input_ids", "attention_mask"), args, strict=False)), **kwargs}
                self._mask = _real(args[0] if args and isinstance(args[0], Mapping) else named)
                self._passed, self._open = 0, []

        return [entry.register_forward_pre_hook(enter, with_kwargs=True)]

    def _hook_layer(self, layer: Layer) -> list[RemovableHandle]:
        block, site = self.network.get_submodule(layer.name), layer.site.module

        def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            if self._mine():
                self._open.append({"before": _states(args, kwargs)})

        def note(name: str) -> Callable[..., None]:
            def hook(_: nn.Module, args: Any, kwargs: dict[str, Any], *out: Any) -> None:
                if self._mine() and self._open:
                    self._open[-1][name] = out[0] if out else _states(args, kwargs)

            return hook

        def leave(_: nn.Module, _args: Any, out: Any) -> None:
            if self._mine() and self._open:
                self._hand_on(self._open.pop(), out[0] if isinstance(out, tuple) else out)

        handles = [
            block.register_forward_pre_hook(enter, with_kwargs=True),
            site.register_forward_pre_hook(note("read"), with_kwargs=True),
            block.register_forward_hook(leave),
        ]
        if isinstance(layer.projections, Projections):
            handles.append(layer.projections.output.register_forward_hook(note("attended"), with_kwargs=True))
        return handles

    def _mine(self) -> bool:
        """Whether this thread is the one that traces: others may use the model meanwhile."""
        return self._thread == threading.get_ident()

    def wants(self) -> bool:
        """Whether attention that runs now is to be handed on."""
        return bool(self._open) and self._passed in self._wanted

    def note_attention(self, weights: Tensor) -> None:
        """Keep the weights until their layer is done."""
        self._open[-1]["attention"] = weights.detach()

    def _hand_on(self, known: dict[str, Any], after: Tensor) -> None:
        layer, self._passed = self.layers[self._passed], self._passed + 1
        if self._mask is None:
            raise UnsupportedModel(f"{type(self.network).__name__} is traced while it is called, not a part of it.")
        if layer.index in self._wanted and "attention" not in known:
            raise UnsupportedModel(
                f"{layer.site.name} ({address(layer.site.module)}) shows no attention of tokens to tokens: use the "
                "attention implementation 'eager' or 'sdpa', or ask for no attention of this layer."
            )
        tokens = self._mask.shape[1]  # Longformer adds some at the end
        weights = known.pop("attention", None)
        states = {
            name: (value.transpose(0, 1) if layer.tokens_first else value)[:, :tokens].detach()
            for name, value in {**known, "after": after}.items()
        }
        weights = None if weights is None else weights[..., :tokens, :tokens]
        passage = Passage(layer, self._mask, attention=weights, **states)
        for reducer in self.reducers:
            reducer(passage)


class _Attention(TorchFunctionMode):
    """Sees the attention weights of the layers that are wanted, and changes nothing."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if (func is SDPA or func in SOFTMAXES) and self.trace.wants():
            weights = attention_weights(*args, **kwargs) if func is SDPA else out
            if weights.ndim == 4 and weights.shape[-1] == weights.shape[-2]:
                self.trace.note_attention(weights)
        return out


@torch.no_grad()
def attention_weights(
    query: Tensor,
    key: Tensor,
    value: Tensor | None = None,  # noqa: ARG001  sdpa's own signature, by which it is called
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The weights [B, H, T, T] that `scaled_dot_product_attention` uses and does not return; its arguments are these.

    A query that may attend to nothing has a row of zeros.
    """
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    logits = (query @ key.mT).float() * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        hidden = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
        logits = logits.masked_fill(hidden, -torch.inf)
    if attn_mask is not None:
        logits = logits.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else logits + attn_mask
    return logits.softmax(-1).nan_to_num(0)


def find_layers(network: nn.Module) -> list[Layer]:
    """The layers of a transformers model, in the order in which a text passes through them."""
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
    """The name of the widest member of a list of modules that holds this attention module and no other one."""
    parts = site.name.split(".")
    for end in range(1, len(parts) + 1):
        name, parent = ".".join(parts[:end]), ".".join(parts[: end - 1])
        alone = sum(other.name == name or other.name.startswith(f"{name}.") for other in sites) == 1
        if alone and isinstance(network.get_submodule(parent), nn.ModuleList):
            return name
    raise UnsupportedModel(
        f"{site.name} ({address(site.module)}) stands in no list of layers, so what enters and leaves its layer is "
        "unknown."
    )


def _real(features: Mapping[str, Any]) -> Tensor:
    """Which tokens of a batch are real, [B, T]."""
    if features.get("cu_seq_lens_q") is not None:
        raise UnsupportedModel("flattened batches are not traced: load the model with another attention than flash.")
    mask, ids = features.get("attention_mask"), features.get("input_ids")
    if mask is None and ids is None:
        ids = features.get("inputs_embeds")
    if mask is None and ids is not None:
        return torch.ones(ids.shape[:2], dtype=torch.bool, device=ids.device)
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        what = f"{list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise BadInput(f"a trace tells padding by an attention_mask [B, T]; this one is {what}.")
    return mask != 0


def _states(args: Any, kwargs: dict[str, Any]) -> Any:
    """The hidden states among what a block is called with."""
    return kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
