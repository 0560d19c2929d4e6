"""TempScale on a live model, and folded into its weights.

`temper` and `bake` read the same table, `attention.FAMILIES`, and prove what they did on a few tokens before they
return: a temperature that silently does nothing is the worst outcome.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from torch import Tensor, nn
from transformers import PreTrainedModel

from cenote.cards import note_baked, note_temperature
from cenote.errors import BadInput, UnsupportedModel, some
from cenote.functional.temperature import Temperature, check_temperature, to_json
from cenote.nn import BAKED_IN_CONFIG, KEPT_IN_CONFIG
from cenote.nn import Temperature as Kept
from cenote.surgery.attention import SHARED_BIASES, UNPLACED, Place, Probe, Site, address, find_sites
from cenote.surgery.hooks import Setting, attach, attach_entries, detach, proving, settings_on

Model = TypeVar("Model", bound=nn.Module)


class Tempered:
    """What `temper` returns: takes the temperature off again, by `remove` or at the end of a `with` block."""

    def __init__(self, model: nn.Module, setting: Setting) -> None:
        self.model, self.setting = model, setting

    def remove(self) -> None:
        """Make the model what it was, bit for bit. A second time, or after another tempering, nothing happens."""
        if detach(self.model, self.setting):
            _forget(self.model)

    def __enter__(self) -> Tempered:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def temper(
    model: nn.Module,
    temperature: Temperature,
    *,
    layers: Sequence[int] | None = None,
    scale_bias: bool = True,
) -> Tempered:
    """Divide the attention logits of a model by a temperature, until it is taken off again.

    >>> import cenote
    >>> model = cenote.load("minilm")
    >>> plain = model.encode("a pool")
    >>> with temper(model, 0.8):
    ...     sharper = model.encode("a pool")
    >>> bool((plain != sharper).any()), bool((plain == model.encode("a pool")).all())
    (True, True)

    Args:
        model: a `SentenceTransformer` or any transformers model. One that is tempered gets the new temperature
            instead of the old one. One that is saved while tempered keeps the temperature as configuration, for
            `cenote.load`.
        temperature: a number, a `LengthTemperature`, or `{"query": .., "document": ..}` of these: `encode_query` uses
            the query's, all else the document's. Only a `SentenceTransformer` knows roles.
        layers: which layers to temper, from 0; None means all.
        scale_bias: whether an additive position bias (T5, MPNet) is divided too, as part of the logits.

    Returns:
        A handle with `remove()`, also a context manager.
    """
    chosen = check_temperature(temperature)
    networks = networks_of(model)
    if isinstance(chosen, dict) and not isinstance(model, SentenceTransformer):
        raise BadInput(f"roles are known to a SentenceTransformer, and this is a {type(model).__name__}.")
    whole = model if isinstance(model, SentenceTransformer) else None
    if whole is None and any(setting.of_whole for setting in settings_on(model)):
        raise BadInput(
            f"this {type(model).__name__} is part of a SentenceTransformer that is tempered, and would be saved with "
            "that temperature: temper the SentenceTransformer, or take its temperature off first."
        )
    found = [_proven(network, scale_bias, layers) for network, _ in networks]
    detach(model)
    setting = Setting(chosen, of_whole=whole is not None)
    for (_, entries), sites in zip(networks, found, strict=True):
        attach(sites, setting, scale_bias=scale_bias)
        attach_entries(entries, whole, setting)
    _forget(model)
    _keep(model, Kept(to_json(chosen), None if layers is None else list(layers), scale_bias))
    return Tempered(model, setting)


def bake(model: Model, temperature: Temperature, *, scale_bias: bool = True) -> Model:
    """A new model with a constant temperature folded into its weights; the given one stays as it is.

    Saved, it is an ordinary folder that needs no Cenote. On a tempered model the new temperature counts alone; one
    that is in the weights already is multiplied by it, and card and config state the product.

    Args:
        model: as for `temper`.
        temperature: a number. One by length or by role has no place in weights.
        scale_bias: as for `temper`.
    """
    tau = check_temperature(temperature)
    networks_of(model)
    if not isinstance(tau, float):
        raise BadInput(
            f"a temperature by {'role' if isinstance(tau, dict) else 'length'} cannot be folded into weights, which "
            "are the same for every text. Temper the model with it: saving the model stores it as configuration, "
            "which cenote.load applies again."
        )
    baked = copy.deepcopy(model)
    detach(baked)
    _forget(baked)
    for network, _ in networks_of(baked):
        sites = _proven(network, scale_bias)
        if lost := [site for site in sites if not site.family.bakes]:
            raise UnsupportedModel(
                f"{lost[0].name} ({address(lost[0].module)}) is in no row of the table, so where its weights take a "
                "temperature is unknown: it can be tempered live, not baked."
            )
        _bake(network, sites, tau, scale_bias)
        total = float(f"{getattr(network.config, BAKED_IN_CONFIG, 1.0) * tau:.12g}")  # 0.72, not 0.7200000000000001
        setattr(network.config, BAKED_IN_CONFIG, total)
    if isinstance(baked, SentenceTransformer):
        note_baked(baked, total)
    return baked


def _keep(model: nn.Module, kept: Kept) -> None:
    """Have the model save its temperature: by a module that does nothing else, or in a bare model's config."""
    if not isinstance(model, SentenceTransformer):
        setattr(model.config, KEPT_IN_CONFIG, {key: getattr(kept, key) for key in kept.config_keys})
        return
    kept.applied = True
    model.add_module("temperature", kept.train(model.training))
    note_temperature(model, json.dumps(kept.temperature))


def _forget(model: nn.Module) -> None:
    """Take that, and what the card says of it, away again."""
    for network, _ in networks_of(model):
        vars(network.config).pop(KEPT_IN_CONFIG, None)
    names = [name for name, module in model.named_children() if isinstance(module, Kept)]
    for name in names:
        delattr(model, name)
    if names:
        note_temperature(model, None)


def networks_of(model: Any) -> list[tuple[Any, list[nn.Module]]]:
    """The transformers models in a model, each with the modules by which texts come in."""
    if isinstance(model, SentenceTransformer):
        readers = [module for module in model.modules() if isinstance(module, Transformer)]
        if not readers or not all(isinstance(reader.model, nn.Module) for reader in readers):
            odd = next((type(reader.model) for reader in readers), type(model[0]))
            raise UnsupportedModel(f"{odd.__name__} has no attention of a torch transformer: nothing to temper.")
        return [(reader.model, [reader.model, reader]) for reader in readers]
    if not isinstance(model, PreTrainedModel):
        raise BadInput(f"a {type(model).__name__} is neither a SentenceTransformer nor a transformers model.")
    return [(model, [model])]


def _choose(sites: list[Site], layers: Sequence[int] | None) -> list[Site]:
    if layers is None:
        return sites
    if shared := [site.name for site in sites if site.calls > 1]:
        raise BadInput(f"layers={list(layers)}: the layers of this model share one attention, {shared[0]}.")
    wrong = [i for i in layers if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < len(sites)]
    if wrong or not layers:
        what = f"no layer {some(map(repr, wrong))}" if wrong else "no layer named"
        raise BadInput(f"layers={list(layers)}: {what}; the model has layers 0 to {len(sites) - 1}.")
    return [sites[i] for i in sorted(set(layers))]


# A temperature far from 1, at which what it does stands clear of rounding.
_TRIAL = 0.25


def _proven(network: nn.Module, scale_bias: bool, layers: Sequence[int] | None = None) -> list[Site]:
    """The sites to temper, each proven on a few tokens; the network is left as it was."""
    probe, trial = Probe.of(network), Setting(_TRIAL, trial=True)
    padded = probe.otherwise_padded()
    with proving(trial):
        sites = _choose(find_sites(network), layers)
        plain, plain_padded = probe.read(network), padded.read(network)
        sites = _confirmed(network, sites, probe, plain, trial)
        if not scale_bias and (blunt := [site.name for site in sites if site.family is UNPLACED]):
            raise UnsupportedModel(
                f"scale_bias=False: {blunt[0]} is tempered at its softmax, where a position bias is part of the logits."
            )
        with _attached(network, sites, trial, scale_bias):
            sharp, sharp_padded = probe.read(network), padded.read(network)
    kinds = some(sorted({address(site.module) for site in sites}))
    if _far(sharp, plain) <= _rounding(plain, network):
        raise UnsupportedModel(f"tempering {kinds} changed nothing that {type(network).__name__} gives.")
    if plain.isfinite().all() and not sharp.isfinite().all():
        raise UnsupportedModel(f"tempering {kinds} makes {type(network).__name__} give numbers that are not finite.")
    if _far(sharp, sharp_padded) > 10 * _far(plain, plain_padded) + _rounding(plain, network):
        raise UnsupportedModel(f"with {kinds} tempered, {type(network).__name__} attends to masked positions.")
    return sites


def _confirmed(network: nn.Module, sites: list[Site], probe: Probe, plain: Tensor, trial: Setting) -> list[Site]:
    """Sites that go by their form keep to it if it does what dividing the logits at their softmax does."""
    if not any(site.family.guessed for site in sites):
        return sites
    at_softmax = [replace(site, family=UNPLACED) if site.family.guessed else site for site in sites]
    with _attached(network, sites, trial):
        by_form = probe.read(network)
    with _attached(network, at_softmax, trial):
        witness = probe.read(network)
    return sites if _far(by_form, witness) <= _tolerance(witness, plain, network) else at_softmax


@contextmanager
def _attached(network: nn.Module, sites: list[Site], setting: Setting, scale_bias: bool = True) -> Iterator[None]:
    attach(sites, setting, scale_bias=scale_bias)
    try:
        yield
    finally:
        detach(network, setting)


def _far(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().nan_to_num(0).max())


def _rounding(values: Tensor, network: nn.Module) -> float:
    """How far two computations of the same numbers may lie apart."""
    dtype = next(p.dtype for p in network.parameters() if p.is_floating_point())
    return 32 * torch.finfo(dtype).eps * float(values.nan_to_num(0).abs().max())


def _tolerance(tempered: Tensor, plain: Tensor, network: nn.Module) -> float:
    """The same after layers that amplify, told from a mistake: a small part of what the temperature moved."""
    return max(0.02 * _far(tempered, plain), _rounding(plain, network))


@torch.no_grad()
def _bake(network: nn.Module, sites: list[Site], tau: float, scale_bias: bool) -> None:
    """Divide the weights of every place, and compare with the live model."""
    probe, trial = Probe.of(network), Setting(tau, trial=True)
    plain = probe.read(network)
    with proving(trial), _attached(network, sites, trial, scale_bias):
        live = probe.read(network)
    if tau != 1:
        for place, holder, owner in _holders(network, sites):
            if scale_bias or not place.bias:
                _divide(place, holder, owner, tau)
        for site in (site for site in sites if site.family.capped):
            module: Any = site.module
            if (cap := getattr(module, site.family.capped)) is not None:
                setattr(module, site.family.capped, cap / tau)
                setattr(module.config, site.family.capped, cap / tau)
    if _far(probe.read(network), live) > _tolerance(live, plain, network):
        raise UnsupportedModel(f"the weights of {type(network).__name__} do not take the temperature.")


def _holders(network: nn.Module, sites: list[Site]) -> Iterator[tuple[Place, Any, Any]]:
    """Places with what stands there and the module that it is a part of."""
    for site in sites:
        yield from ((place, holder, site.module) for place, holder in site.places())
    for module in network.modules():
        if place := SHARED_BIASES.get(address(module)):
            yield place, getattr(module, place.path), module


def _divide(place: Place, holder: Any, owner: Any, tau: float) -> None:
    parameters = (holder,) if isinstance(holder, nn.Parameter) else (holder.weight, getattr(holder, "bias", None))
    for parameter in parameters:
        if parameter is None:
            continue
        if not parameter.is_floating_point():
            raise UnsupportedModel(f"the weights of {place.path} are {parameter.dtype}: bake before quantising.")
        part = parameter[: place.part(owner)] if place.part else parameter
        # In float64 on the CPU: some devices have none, and a norm's weight is near the 1 that is taken off again.
        exact = part.detach().to("cpu", torch.float64)
        part.copy_((exact + place.plus) / tau - place.plus)
