"""TempScale on a live model, or folded into its weights.

`temper` and `bake` use the same table, `attention.FAMILIES`, and prove the effect before they return.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from torch import nn

from cenote._nn.cards import note_baked, note_temperature
from cenote._nn.config_keys import BAKED_IN_CONFIG, KEPT_IN_CONFIG
from cenote.errors import BadInput, UnsupportedModel, some
from cenote.functional.temperature import Temperature, check_temperature, describe
from cenote.nn import Temperature as Kept
from cenote.surgery.attention import SHARED_BIASES, Place, Probe, Site, address, networks_of
from cenote.surgery.hooks import SaveWithTemperature, Setting, attach, attach_entries, current_setting, detach, mark
from cenote.surgery.proof import agree, attached, confirmed_sites, is_half, prove, refuse_compiled

Model = TypeVar("Model", bound=nn.Module)


class Tempered:
    """A handle that removes the temperature, by `remove` or at the end of a `with` block."""

    def __init__(self, model: nn.Module, setting: Setting) -> None:
        self.model, self.setting = model, setting

    def remove(self) -> None:
        """Restore the model bit for bit, with the temperature that it had before, if any.

        Does nothing the second time, or after another `temper`.
        """
        if not self.setting.removed and current_setting(self.model) in (None, self.setting):
            _remove(self.model)
            before = self.setting.before
            while before is not None and before.removed:
                before = before.before
            if before is not None:
                sites = [confirmed_sites(network, before.layers) for network, _ in networks_of(self.model)]
                _apply(self.model, before, sites)
        self.setting.removed = True

    def __enter__(self) -> Tempered:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<temperature {self.setting.temperature} on a {type(self.model).__name__}>"


def temper(
    model: nn.Module,
    temperature: Temperature,
    *,
    layers: Sequence[int] | None = None,
    scale_bias: bool = True,
) -> Tempered:
    """Divide the attention logits of a model by a temperature, until it is removed.

    >>> import cenote
    >>> model = cenote.load("minilm")
    >>> plain = model.encode("a pool")
    >>> with temper(model, 0.8):
    ...     sharper = model.encode("a pool")
    >>> bool((plain != sharper).any()), bool((plain == model.encode("a pool")).all())
    (True, True)

    Args:
        model: a `SentenceTransformer` or any transformers model. A new temperature replaces an old one. A model that
            is saved while tempered keeps the temperature as configuration, which `cenote.load` applies.
        temperature: a number, a `LengthTemperature`, or `{"query": .., "document": ..}` of these: `encode_query` uses
            the query's, other methods the document's. Only a `SentenceTransformer` knows roles.
        layers: which layers to temper, from 0; None means all.
        scale_bias: whether an additive position bias (T5, MPNet) is divided too, as part of the logits.

    Returns:
        A handle with `remove()`, also a context manager. If it is not used, the temperature stays. Do not temper or
        remove while another thread encodes with the model.
    """
    chosen = check_temperature(temperature)
    if layers is not None:
        if isinstance(layers, (str, bytes)) or not hasattr(layers, "__iter__"):
            raise BadInput(f"layers={layers!r}: pass a list of layer numbers, such as [0, 1].")
        layers = list(layers)
    networks = networks_of(model)
    whole, current = isinstance(model, SentenceTransformer), current_setting(model)
    if isinstance(chosen, dict) and not whole:
        raise BadInput(
            f"temperature={temperature!r}: roles need a SentenceTransformer, and this is a {type(model).__name__}."
        )
    if not whole and current is not None and current.of_whole:
        raise BadInput(
            f"this {type(model).__name__} is part of a tempered SentenceTransformer, and would be saved with that "
            "temperature: temper the SentenceTransformer, or remove its temperature first."
        )
    temperatures = list(chosen.values()) if isinstance(chosen, dict) else [chosen]
    found = [prove(network, temperatures, scale_bias, layers) for network, _ in networks]
    setting = Setting(chosen, layers, scale_bias, of_whole=whole, before=current)
    _remove(model)
    _apply(model, setting, found)
    return Tempered(model, setting)


def _remove(model: nn.Module) -> None:
    detach(model)
    for network, _ in networks_of(model):
        vars(network.config).pop(KEPT_IN_CONFIG, None)  # transformers keeps what it read, and would save it again
    for name, module in list(model.named_children()):
        if isinstance(module, Kept):
            delattr(model, name)
            note_temperature(model, None)


def _apply(model: nn.Module, setting: Setting, found: list[list[Site]]) -> None:
    """Hook the sites of a model's networks, and make it save its temperature. Nothing to do at temperature 1."""
    if setting.temperature == 1.0:
        return
    whole = model if isinstance(model, SentenceTransformer) else None
    for (network, entries), sites in zip(networks_of(model), found, strict=True):
        attach(sites, setting)
        attach_entries(entries, whole, setting)
        network.save_pretrained = SaveWithTemperature(network, setting)
    if whole is not None:
        for route in getattr(whole[0], "sub_modules", {}).values():
            if not any(isinstance(module, Transformer) for module in route):  # without attention
                mark(route[0], setting)
        kept = Kept(**setting.to_json())
        kept.setting = setting
        whole.add_module("cenote_temperature", kept.train(whole.training))
        where = "" if setting.layers is None else f" in layers {some(setting.layers)}"
        note_temperature(whole, describe(setting.temperature) + where)


def bake(model: Model, temperature: Temperature, *, scale_bias: bool = True) -> Model:
    """Return a copy of a model with a constant temperature folded into its weights.

    The saved copy is an ordinary folder that needs no Cenote. The temperature replaces one that the model is tempered
    by. It multiplies one that is in the weights already; card and config state the product.

    Args:
        model: as for `temper`.
        temperature: a number. One by length or role cannot be folded into weights.
        scale_bias: as for `temper`.
    """
    tau = check_temperature(temperature)
    if not isinstance(tau, float):
        networks_of(model)
        raise BadInput(
            f"a temperature by {'role' if isinstance(tau, dict) else 'length'} cannot be folded into weights, which "
            "are the same for every text. Temper the model with it: saving the model stores it as configuration, "
            "which cenote.load applies again."
        )
    for network, _ in networks_of(model):
        refuse_compiled(network)
    baked = copy.deepcopy(model)
    _remove(baked)
    for network, _ in networks_of(baked):
        _bake(network, tau, scale_bias)
    if isinstance(baked, SentenceTransformer) and tau != 1:
        note_baked(baked, getattr(networks_of(baked)[0][0].config, BAKED_IN_CONFIG))
    return baked


@torch.no_grad()
def _bake(network: Any, tau: float, scale_bias: bool) -> None:
    """Divide the weights of every place, and compare the result with live tempering."""
    sites = prove(network, [tau], scale_bias)
    if unknown := [site for site in sites if not site.family.bakes]:
        remedy = (
            " Load the model with dtype='float32': its places are looked for there alone." if is_half(network) else ""
        )
        raise UnsupportedModel(
            f"{unknown[0].name} ({address(unknown[0].module)}) is in no row of the table, so it is unknown which "
            f"weights to divide: it can be tempered live, not baked.{remedy}"
        )
    if tau == 1:
        return
    probe = Probe.of(network)
    plain = probe.read(network)
    with attached(network, sites, Setting(tau, scale_bias=scale_bias, trial=True)):
        live = probe.read(network)
    places = [(place, holder, site.module) for site in sites for place, holder in site.places()]
    shared = [(SHARED_BIASES.get(address(module)), module) for module in network.modules()]
    places += [(place, getattr(module, place.path), module) for place, module in shared if place]
    divided: set[int] = set()  # ids of parameters: shared ones are divided once
    for place, holder, owner in places:
        if scale_bias or not place.bias:
            _divide(place, holder, owner, tau, divided)
    for site in (site for site in sites if site.family.capped):
        module: Any = site.module
        if (cap := getattr(module, site.family.capped)) is not None:
            setattr(module, site.family.capped, cap / tau)
            setattr(module.config, site.family.capped, cap / tau)
    if not agree(probe.read(network), live, plain, network):
        raise UnsupportedModel(f"the weights of {type(network).__name__} do not take the temperature.")
    total = float(f"{getattr(network.config, BAKED_IN_CONFIG, 1.0) * tau:.12g}")  # 0.72, not 0.7200000000000001
    setattr(network.config, BAKED_IN_CONFIG, total)


def _divide(place: Place, holder: Any, owner: Any, tau: float, divided: set[int]) -> None:
    parameters = (holder,) if isinstance(holder, nn.Parameter) else (holder.weight, getattr(holder, "bias", None))
    for parameter in parameters:
        if parameter is None or id(parameter) in divided:
            continue
        divided.add(id(parameter))
        if not parameter.is_floating_point():
            raise UnsupportedModel(f"the weights of {place.path} are {parameter.dtype}: bake before quantising.")
        part = parameter[: place.part(owner)] if place.part else parameter
        # In float64: a norm's weight is near the 1 that is subtracted. On the CPU: some devices have no float64.
        exact = part.detach().to("cpu", torch.float64)
        part.copy_((exact + place.plus) / tau - place.plus)
