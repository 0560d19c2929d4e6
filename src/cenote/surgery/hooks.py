"""Live tempering: hooks on the places that the table in `attention` names.

The state of one forward pass, the scale of each text and the role, is kept in context variables, which threads do not
share and which are not copied or pickled with a model. The hooks are plain objects, so a tempered model can be copied,
pickled and sent to another process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from cenote._nn.config_keys import KEPT_IN_CONFIG
from cenote.errors import UnsupportedModel
from cenote.functional.temperature import OneTemperature, to_json
from cenote.nn import TEMPERED_BY
from cenote.surgery.attention import SDPA, SOFTMAXES, Place, Site, features_of, mask_of

Scale = float | Tensor  # 1 / tau: a number, or per text [B, 1], or per token of a flattened batch [1, total]


class Setting:
    """The state that all hooks of one tempering share. Hooks of different temperings differ by its identity."""

    def __init__(
        self,
        temperature: OneTemperature | dict[str, OneTemperature],
        layers: list[int] | None = None,
        scale_bias: bool = True,
        *,
        trial: bool = False,
        of_whole: bool = False,  # of a SentenceTransformer, not of a transformers model alone
        before: Setting | None = None,  # the setting that this one replaced
    ) -> None:
        self.temperature, self.layers, self.scale_bias = temperature, layers, scale_bias
        self.trial, self.of_whole, self.before = trial, of_whole, before
        self.removed = False

    def scale(self) -> Scale:
        """Return the scale of the forward pass that runs in this thread."""
        proven = _PROVING.get()
        if self.trial if proven is None else proven is not self:
            return 1.0
        if isinstance(self.temperature, float):
            return 1 / self.temperature
        scale: Scale | None = _find(self, "scale")
        if scale is not None:
            return scale
        raise UnsupportedModel(
            "a temperature by length or role is known only while the tempered model itself runs. Call that model, not "
            "a part of it; within a SentenceTransformer, temper the SentenceTransformer. (Gradient checkpointing runs "
            "parts again: it works with a constant temperature only.)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the setting as plain data, as `cenote.nn.Temperature` and `config.json` keep it."""
        return {"temperature": to_json(self.temperature), "layers": self.layers, "scale_bias": self.scale_bias}


# A stack of (setting, name, value), since forward passes nest. The names are `role`, `scale` and `bias`.
_STATE: ContextVar[tuple[tuple[Setting, str, Any], ...]] = ContextVar("cenote_state", default=())
# The only setting that is active in this thread while it is being proven. Other threads are not affected.
_PROVING: ContextVar[Setting | None] = ContextVar("cenote_proving", default=None)


@contextmanager
def proving(setting: Setting) -> Iterator[None]:
    """Activate a trial setting, and deactivate all others, in this thread."""
    token = _PROVING.set(setting)
    try:
        yield
    finally:
        _PROVING.reset(token)


def _push(setting: Setting, name: str, value: Any) -> None:
    _STATE.set((*_STATE.get(), (setting, name, value)))


def _pop(setting: Setting, name: str) -> Any:
    """Pop and return the value if it is on top. It is not if the pass failed before it was pushed."""
    entries = _STATE.get()
    if not entries or entries[-1][0] is not setting or entries[-1][1] != name:
        return None
    _STATE.set(entries[:-1])
    return entries[-1][2]


def _find(setting: Setting, name: str) -> Any:
    return next((value for one, key, value in reversed(_STATE.get()) if one is setting and key == name), None)


class _Hook:
    def __init__(self, setting: Setting) -> None:
        self.setting = setting


class _EnterRole(_Hook):
    """Takes the role from the call, as `encode_query` gives it, or from the features, where a collator writes it."""

    def __call__(self, _module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        features = args[0] if args else kwargs.get("input", {})
        _push(self.setting, "role", kwargs.get("task") or features.get("task"))


class _Leave(_Hook):
    def __init__(self, setting: Setting, name: str) -> None:
        super().__init__(setting)
        self.name = name

    def __call__(self, *_: Any) -> None:
        _pop(self.setting, self.name)


class _Mark(_Hook):
    """Marks the features for `cenote.nn.Temperature`, which checks that the transformer before it is tempered."""

    def __call__(self, _module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        features = args[0] if args else kwargs.get("features", {})
        features[TEMPERED_BY] = self.setting


def mark(module: nn.Module, setting: Setting) -> None:
    """Let a module mark all features that it reads."""
    module.register_forward_pre_hook(_Mark(setting), with_kwargs=True)


class _EnterModel(_Hook):
    """Computes the scale of each text from the attention mask, at the entry of the model."""

    def __call__(self, _module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        chosen = self.setting.temperature
        if isinstance(chosen, dict):
            chosen = chosen["query" if _find(self.setting, "role") == "query" else "document"]
        features = features_of(args, kwargs)
        if isinstance(chosen, float):
            scale: Scale = 1 / chosen
        elif (bounds := features.get("cu_seq_lens_q")) is not None:
            lengths = bounds.diff()
            scale = (1 / chosen(lengths)).repeat_interleave(lengths.long()).unsqueeze(0)
        else:
            scale = (1 / chosen(mask_of(features, "a temperature by length counts tokens in").sum(1))).unsqueeze(1)
        _push(self.setting, "scale", scale)


def _reshape_scale(scale: Scale, like: Tensor, place: Place) -> Scale:
    """Return the scale in a shape that multiplies `like`."""
    if isinstance(scale, float):
        return scale
    shape = [1] * like.ndim
    shape[place.texts], shape[place.tokens] = scale.shape
    return scale.view(shape).to(like.device)  # layers may be on several devices


class _Multiply(_Hook):
    """Multiplies the output of a place, or the part of it that is the query."""

    def __init__(self, setting: Setting, place: Place, part: int | None) -> None:
        super().__init__(setting)
        # Without the row's own `part`, a function that may not pickle.
        self.axes, self.part = Place(place.path, tokens=place.tokens, texts=place.texts), part

    def __call__(self, module: nn.Module, _args: Any, out: Tensor) -> Tensor | None:
        scale = self.setting.scale()
        if isinstance(scale, float) and scale == 1:
            return None
        # In place: no copy, the same dtype, and half precision is multiplied by a float32 scale. Hooks of others may
        # have kept the output, so they get a copy.
        out = out.clone() if any(not isinstance(hook, _Hook) for hook in module._forward_hooks.values()) else out
        view = out if self.part is None else out[..., : self.part]
        view.mul_(_reshape_scale(scale, out, self.axes))
        return out


# Logits, queries and biases [texts, heads, tokens, ...].
_LOGITS = Place("", tokens=2)


def _scaled(values: Tensor, scale: Scale) -> Tensor:
    return (values * _reshape_scale(scale, values, _LOGITS)).to(values.dtype)


class _BiasIn(_Hook):
    """Divides a position bias before it enters the attention module."""

    def __init__(self, setting: Setting, handed_on: bool) -> None:
        super().__init__(setting)
        self.handed_on = handed_on

    def __call__(self, module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        scale = self.setting.scale()
        if isinstance(scale, float) and scale == 1:
            return None
        if not self.handed_on and len(args) > 2:  # MPNet passes it by position
            return (*args[:2], _scaled(args[2], scale), *args[3:]), kwargs
        bias = kwargs.get("position_bias")
        if bias is None and self.handed_on and module.has_relative_attention_bias:
            tokens = args[0].shape[1]
            bias = module.compute_bias(tokens, tokens, device=args[0].device)
        if bias is None:
            return None
        if self.handed_on:
            _push(self.setting, "bias", bias)
        return args, {**kwargs, "position_bias": _scaled(bias, scale)}


class _BiasOut(_Hook):
    """Restores the undivided bias in a layer's output: the next layer divides it itself."""

    def __call__(self, _module: nn.Module, _args: Any, out: Any) -> Any:
        whole = _pop(self.setting, "bias")
        return None if whole is None or out is None else (out[0], whole, *out[2:])


def with_mask(mask: Tensor, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the arguments of `SDPA` with another mask, where they have one: the fourth, or by name."""
    return ((*args[:3], mask, *args[4:]), kwargs) if len(args) > 3 else (args, {**kwargs, "attn_mask": mask})


class _SoftmaxMode(TorchFunctionMode):
    """Divides the input of softmax, in this thread, while one attention module runs."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.scale, self.calls = scale, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in SOFTMAXES:
            self.calls += 1
            first = args[0] if args else kwargs.pop("input")
            # The mask, finfo.min, is already added: divided it would overflow, and a row without tokens become NaN.
            logits = _scaled(first, self.scale).clamp(min=torch.finfo(first.dtype).min)
            return func(logits, *args[1:], **kwargs)
        if func is SDPA:
            self.calls += 1
            query = args[0] if args else kwargs.pop("query")
            mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
            if mask is not None and mask.dtype != torch.bool:
                hidden = mask <= torch.finfo(mask.dtype).min / 2
                mask = torch.where(hidden, mask, _scaled(mask, self.scale))
                args, kwargs = with_mask(mask, args, kwargs)
            return func(_scaled(query, self.scale), *args[1:], **kwargs)
        return func(*args, **kwargs)


class _TemperedForward:
    """Replaces `forward` of one module, so that the softmax mode ends with the call, however the call ends.

    Not a hook, because torch runs none after a KeyboardInterrupt: the mode would then stay on in the thread.
    """

    def __init__(self, module: nn.Module, setting: Setting) -> None:
        self.module, self.setting = module, setting
        self.before = vars(module).get("forward")  # a user's, or another setting's

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # a graph would apply the mode twice or not at all
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # From the class: a bound method of the same name would not survive pickling.
        forward = self.before or partial(type(self.module).forward, self.module)
        scale = self.setting.scale()
        if isinstance(scale, float) and scale == 1:
            return forward(*args, **kwargs)
        with _SoftmaxMode(scale) as mode:
            out = forward(*args, **kwargs)
        if not mode.calls:
            raise UnsupportedModel(
                f"{type(self.module).__name__} ran no softmax that can be tempered: use the attention implementation "
                "'eager' or 'sdpa'."
            )
        return out

    def without(self, setting: Setting | None) -> Any:
        """Return the `forward` that is left without one setting, or without any; None for the class's own."""
        before = self.before.without(setting) if isinstance(self.before, _TemperedForward) else self.before
        if setting in (None, self.setting):
            return before
        self.before = before
        return self


class SaveWithTemperature:
    """Replaces `save_pretrained` of a transformers model, and writes the temperature into the saved config.

    The config has it only during the call, because it may be shared with models that are not tempered.
    """

    def __init__(self, network: Any, setting: Setting) -> None:
        self.network, self.setting = network, setting

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Save the model with its temperature."""
        config = self.network.config
        setattr(config, KEPT_IN_CONFIG, self.setting.to_json())
        try:
            return type(self.network).save_pretrained(self.network, *args, **kwargs)
        finally:
            delattr(config, KEPT_IN_CONFIG)


def attach(sites: Iterable[Site], setting: Setting) -> None:
    """Hook every site."""
    hooked: set[nn.Module] = set()  # a projection that sites share is scaled once
    for site in sites:
        family, module = site.family, site.module
        if family.softmax:
            module.forward = _TemperedForward(module, setting)
            continue
        for place, holder in site.places():
            if not place.bias and holder not in hooked:
                hooked.add(holder)
                part = place.part(module) if place.part else None
                holder.register_forward_hook(_Multiply(setting, place, part))
        if family.bias and setting.scale_bias:
            handed_on = family.bias == "handed on"
            module.register_forward_pre_hook(_BiasIn(setting, handed_on), with_kwargs=True)
            if handed_on:
                module.register_forward_hook(_BiasOut(setting), always_call=True)


def attach_entries(entries: Iterable[nn.Module], whole: nn.Module | None, setting: Setting) -> None:
    """Hook the entry modules, where lengths and roles are known. A constant temperature needs neither.

    A SentenceTransformer's Transformer calls `model.forward` directly and skips that model's hooks: both are entries.
    """
    for entry in entries:
        if whole is not None and not isinstance(entry, PreTrainedModel):
            mark(entry, setting)
    if isinstance(setting.temperature, float):
        return
    for entry in entries:
        entry.register_forward_pre_hook(_EnterModel(setting), with_kwargs=True)
        entry.register_forward_hook(_Leave(setting, "scale"), always_call=True)
    if whole is not None and isinstance(setting.temperature, dict):
        whole.register_forward_pre_hook(_EnterRole(setting), with_kwargs=True)
        whole.register_forward_hook(_Leave(setting, "role"), always_call=True)


_BEFORE = ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs")
_AFTER = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")


def current_setting(model: nn.Module) -> Setting | None:
    """Return the setting whose hooks are attached to a model or its parts, if it is tempered.

    There is at most one, since a new one replaces the old.
    """
    for module in model.modules():
        attached = [vars(module).get("forward"), vars(module).get("save_pretrained")]
        attached += [hook for kind in (_BEFORE[0], _AFTER[0]) for hook in getattr(module, kind).values()]
        for one in attached:
            if isinstance(one, _OURS):
                return one.setting
    return None


def detach(model: nn.Module, setting: Setting | None = None) -> None:
    """Remove all hooks of ours from a model, or those of one setting. Works on copies, which have no handles."""
    # Leaves first, entries last, so that a pass that runs in another thread still finds its scale.
    for module in reversed(list(model.modules())):
        own = vars(module)
        if isinstance(forward := own.get("forward"), _TemperedForward):
            left = forward.without(setting)
            del own["forward"]
            own.update({"forward": left} if left is not None else {})
        saving = own.get("save_pretrained")
        if isinstance(saving, SaveWithTemperature) and setting in (None, saving.setting):
            del own["save_pretrained"]
        for first, *others in (_BEFORE, _AFTER):
            hooks = getattr(module, first)
            for key, hook in list(hooks.items()):
                if isinstance(hook, _Hook) and setting in (None, hook.setting):
                    for name in (first, *others):
                        getattr(module, name).pop(key, None)


_OURS = (_Hook, _TemperedForward, SaveWithTemperature)
