"""Proof at run time that a temperature does what it says: the worst outcome is one that silently does nothing.

A model reads a few tokens under hooks that only the proof itself feels; before and after, it is the same model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cenote.errors import BadInput, UnsupportedModel, some
from cenote.functional.temperature import LengthTemperature, OneTemperature
from cenote.surgery.attention import UNPLACED, Probe, Site, address, find_sites, kept_in
from cenote.surgery.hooks import Setting, attach, attach_entries, detach, proving

# A temperature far from 1, at which what it does stands clear of rounding, and one that differs by length.
_TRIAL = 0.25
_TRIAL_BY_LENGTH = LengthTemperature("power", scale=0.05, exponent=1.0)
# The longest text that a schedule is tried for where a model states no limit.
_LONGEST = 8192


def prove(
    network: nn.Module,
    temperatures: Iterable[OneTemperature],
    scale_bias: bool,
    layers: Sequence[int] | None = None,
) -> list[Site]:
    """The sites to temper, each proven on a few tokens; the network is left as it was."""
    refuse_compiled(network)
    trial = Setting(_TRIAL, trial=True)
    with proving(trial):
        sites = confirmed_sites(network, layers)
        trials = [_Reading.of(network, probe) for probe in (Probe.of(network), Probe.of(network).on_the_left())]
        if not scale_bias and (blunt := [site.name for site in sites if site.family is UNPLACED]):
            raise UnsupportedModel(
                f"scale_bias=False: {blunt[0]} is tempered at its softmax, where a position bias is part of the logits."
            )
        for reading in trials:
            _see_effect(network, sites, reading, trial, scale_bias)
    chosen = list(temperatures)
    _see_finite(network, sites, trials[0], chosen, scale_bias)
    if not all(isinstance(temperature, float) for temperature in chosen):
        _see_lengths(network, sites, trials[0], scale_bias)
    return sites


def refuse_compiled(network: nn.Module) -> None:
    """A compiled model does not see hooks that come after it, or keeps those of the proof."""
    if any(getattr(module, "_compiled_call_impl", None) is not None for module in network.modules()):
        raise UnsupportedModel(f"this {type(network).__name__} is compiled: temper the model first, then compile it.")


def confirmed_sites(network: nn.Module, layers: Sequence[int] | None) -> list[Site]:
    """The sites of these layers. One that goes by its form keeps to it if it does what its softmax divided does."""
    trial, probe = Setting(_TRIAL, trial=True), Probe.of(network)
    with proving(trial):
        sites = _choose(find_sites(network), layers)
        if not any(site.family.guessed for site in sites):
            return sites
        plain = probe.read(network)
        return [_confirmed(network, site, probe, plain, trial) if site.family.guessed else site for site in sites]


def _confirmed(network: nn.Module, site: Site, probe: Probe, plain: Tensor, trial: Setting) -> Site:
    at_softmax = replace(site, family=UNPLACED)
    with attached(network, [site], trial):
        by_form = probe.read(network)
    with attached(network, [at_softmax], trial):
        witness = probe.read(network)
    return site if agree(by_form, witness, plain, network) else at_softmax


def _choose(sites: list[Site], layers: Sequence[int] | None) -> list[Site]:
    """The sites of these layers; None means all."""
    if layers is None:
        return sites
    if shared := [site.name for site in sites if site.calls > 1]:
        raise BadInput(f"layers={layers!r}: the layers of this model share one attention, {shared[0]}.")
    wrong = [i for i in layers if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < len(sites)]
    if wrong or not layers:
        what = f"no layer {some(map(repr, wrong))}" if wrong else "no layer named"
        raise BadInput(f"layers={layers!r}: {what}; the model has layers 0 to {len(sites) - 1}.")
    chosen = [sites[i] for i in sorted(set(layers))]
    mine = {holder for site in chosen for _, holder in site.places()}
    if tied := [site.name for site in sites if site not in chosen and mine & {holder for _, holder in site.places()}]:
        raise BadInput(f"layers={layers!r}: {some(tied)} shares a projection with one of them: name both or neither.")
    return chosen


@dataclass(frozen=True)
class _Reading:
    """What a network makes of a probe as it is, under two kinds of padding."""

    probe: Probe
    plain: Tensor
    padded: Tensor
    noise: float  # between two readings of the same: 0 on most machines

    @classmethod
    def of(cls, network: nn.Module, probe: Probe) -> _Reading:
        plain, again = probe.read(network), probe.read(network)
        return cls(probe, plain, probe.otherwise_padded().read(network), _far(plain, again))


def _see_effect(network: nn.Module, sites: list[Site], reading: _Reading, trial: Setting, scale_bias: bool) -> None:
    """The output moves, stays finite, and owes nothing to masked positions."""
    kinds = some(sorted({address(site.module) for site in sites}))
    with attached(network, sites, trial, scale_bias):
        sharp, sharp_padded = reading.probe.read(network), reading.probe.otherwise_padded().read(network)
    if _far(sharp, reading.plain) <= 4 * reading.noise:
        raise UnsupportedModel(f"tempering {kinds} changed nothing that {type(network).__name__} gives.")
    if reading.plain.isfinite().all() and not sharp.isfinite().all():
        raise UnsupportedModel(f"tempering {kinds} makes {type(network).__name__} give numbers that are not finite.")
    if _far(sharp, sharp_padded) > 10 * _far(reading.plain, reading.padded) + _rounding(sharp, network):
        raise UnsupportedModel(f"with {kinds} tempered, {type(network).__name__} attends to masked positions.")


def _see_finite(
    network: Any, sites: list[Site], reading: _Reading, chosen: Iterable[OneTemperature], scale_bias: bool
) -> None:
    """The temperatures that were asked for give numbers, a schedule at both its ends."""
    most = getattr(network.config, "max_position_embeddings", None)
    most = most if isinstance(most, int) and most > 0 else _LONGEST  # XLNet says -1
    for temperature in chosen:
        taus = [temperature] if isinstance(temperature, float) else temperature(torch.arange(1, most + 1)).tolist()
        for tau in {min(taus), max(taus)}:
            setting = Setting(tau, trial=True)
            with proving(setting), attached(network, sites, setting, scale_bias):
                out = reading.probe.read(network)
            if reading.plain.isfinite().all() and not out.isfinite().all():
                raise BadInput(f"temperature {tau:g}: {type(network).__name__} gives numbers that are not finite.")


def _see_lengths(network: nn.Module, sites: list[Site], reading: _Reading, scale_bias: bool) -> None:
    """A batch of two lengths gives each text what a number would give it."""
    by_length, lengths = Setting(_TRIAL_BY_LENGTH, trial=True), reading.probe.mask.sum(1)
    with proving(by_length), attached(network, sites, by_length, scale_bias):
        attach_entries([network], None, by_length)
        together = reading.probe.read(network)
    owner = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    expected = torch.empty_like(together)
    for row, tau in enumerate(_TRIAL_BY_LENGTH(lengths).tolist()):
        number = Setting(tau, trial=True)
        with proving(number), attached(network, sites, number, scale_bias):
            expected[owner == row] = reading.probe.read(network)[owner == row]
    if not agree(together, expected, reading.plain, network):
        raise UnsupportedModel(f"{type(network).__name__} does not take a temperature for each text: give it a number.")


@contextmanager
def attached(network: nn.Module, sites: list[Site], setting: Setting, scale_bias: bool = True) -> Iterator[None]:
    """Inside, the sites are hooked."""
    try:
        attach(sites, setting, scale_bias=scale_bias)
        yield
    finally:
        detach(network, setting)


def agree(a: Tensor, b: Tensor, plain: Tensor, network: nn.Module) -> bool:
    """Whether two tempered readings are the same but for rounding, which layers amplify.

    What a temperature moved is the measure: a mistake in one layer leaves a good part of it out. In half precision
    rounding alone is a part of it.
    """
    rounding = torch.finfo(kept_in(network)).eps
    share = 1e-3 if rounding < 1e-6 else 0.5
    return _spread(a - b) <= share * _spread(b - plain) + rounding * _spread(b)


def _far(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().nan_to_num(0).max())


def _spread(values: Tensor) -> float:
    return float(values.nan_to_num(0).double().square().mean().sqrt())


def _rounding(values: Tensor, network: nn.Module) -> float:
    """How far two computations of the same numbers may lie apart."""
    return 8 * torch.finfo(kept_in(network)).eps * float(values.nan_to_num(0).abs().max())
