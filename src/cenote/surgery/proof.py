"""Prove at run time that a temperature takes effect: the worst outcome would be one that silently does nothing.

The model reads a few tokens under trial hooks, which are active in the proof alone. It is left unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cenote._nn.modules import weights_dtype
from cenote.errors import BadInput, UnsupportedModel, some
from cenote.functional.temperature import LengthTemperature, OneTemperature
from cenote.surgery.attention import UNPLACED, Probe, Site, address, find_sites
from cenote.surgery.hooks import Setting, attach, attach_entries, detach, proving

# A temperature far from 1, whose effect exceeds rounding, and one that differs by length.
_TRIAL = 0.25
_TRIAL_BY_LENGTH = LengthTemperature("power", scale=0.05, exponent=1.0)
# The longest text for which a schedule is tried if the model states no limit.
_LONGEST = 8192


def prove(
    network: nn.Module, temperatures: Sequence[OneTemperature], scale_bias: bool, layers: Sequence[int] | None = None
) -> list[Site]:
    """Return the sites to temper, each proven on a few tokens. Raise if one does not take the temperatures."""
    refuse_compiled(network)
    trial = Setting(_TRIAL, scale_bias=scale_bias, trial=True)
    with proving(trial):
        sites = confirmed_sites(network, layers)
        trials = [_Reading.of(network, probe) for probe in (Probe.of(network), Probe.of(network).on_the_left())]
        if not scale_bias and (unplaced := [site.name for site in sites if site.family is UNPLACED]):
            raise UnsupportedModel(
                f"scale_bias=False: {unplaced[0]} is tempered at its softmax, where a position bias is part of the "
                "logits."
            )
        for reading in trials:
            _check_effect(network, sites, reading, trial)
    _check_finite(network, sites, trials[0], temperatures, scale_bias)
    if not all(isinstance(temperature, float) for temperature in temperatures):
        _check_lengths(network, sites, trials[0], scale_bias)
    return sites


def refuse_compiled(network: nn.Module) -> None:
    """Raise if a network is compiled: its graph would ignore later hooks, or keep those of the proof."""
    if any(getattr(module, "_compiled_call_impl", None) is not None for module in network.modules()):
        raise UnsupportedModel(f"this {type(network).__name__} is compiled: temper the model first, then compile it.")


def confirmed_sites(network: nn.Module, layers: Sequence[int] | None) -> list[Site]:
    """Return the sites of these layers. A guessed row is kept if it gives the same as dividing the softmax's input.

    None is kept in half precision, where rounding would hide a wrong one.
    """
    trial, probe = Setting(_TRIAL, trial=True), Probe.of(network)
    with proving(trial):
        sites = _choose(find_sites(network), layers)
        if not any(site.family.guessed for site in sites):
            return sites
        if is_half(network):
            return [replace(site, family=UNPLACED) if site.family.guessed else site for site in sites]
        plain = probe.read(network)
        return [_confirmed(network, site, probe, plain, trial) if site.family.guessed else site for site in sites]


def _confirmed(network: nn.Module, site: Site, probe: Probe, plain: Tensor, trial: Setting) -> Site:
    at_softmax = replace(site, family=UNPLACED)
    with attached(network, [site], trial):
        guessed = probe.read(network)
    with attached(network, [at_softmax], trial):
        reference = probe.read(network)
    return site if agree(guessed, reference, plain, network) else at_softmax


def _choose(sites: list[Site], layers: Sequence[int] | None) -> list[Site]:
    """Return the sites of these layers; None means all."""
    if layers is None:
        return sites
    if shared := [site.name for site in sites if site.calls > 1]:
        raise BadInput(f"layers={layers!r}: the layers of this model share one attention, {shared[0]}.")
    wrong = [i for i in layers if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < len(sites)]
    if wrong or not layers:
        problem = f"no layer {some(map(repr, wrong))}" if wrong else "name at least one layer"
        raise BadInput(f"layers={layers!r}: {problem}; the model has layers 0 to {len(sites) - 1}.")
    chosen = [sites[i] for i in sorted(set(layers))]
    mine = {holder for site in chosen for _, holder in site.places()}
    if tied := [site.name for site in sites if site not in chosen and mine & {holder for _, holder in site.places()}]:
        raise BadInput(f"layers={layers!r}: {some(tied)} shares a projection with one of them: name both or neither.")
    return chosen


@dataclass(frozen=True)
class _Reading:
    """The untempered output of a network for a probe, with two kinds of padding."""

    probe: Probe
    plain: Tensor
    padded: Tensor
    noise: float  # difference between two readings of the same input: 0 on most machines

    @classmethod
    def of(cls, network: nn.Module, probe: Probe) -> _Reading:
        plain, again = probe.read(network), probe.read(network)
        return cls(probe, plain, probe.otherwise_padded().read(network), _distance(plain, again))


def _check_effect(network: nn.Module, sites: list[Site], reading: _Reading, trial: Setting) -> None:
    """Raise unless the output changes, stays finite, and does not depend on masked positions."""
    kinds = some(sorted({address(site.module) for site in sites}))
    with attached(network, sites, trial):
        sharp, sharp_padded = reading.probe.read(network), reading.probe.otherwise_padded().read(network)
    if _distance(sharp, reading.plain) <= 4 * reading.noise:
        raise UnsupportedModel(f"tempering {kinds} did not change the output of {type(network).__name__}.")
    if reading.plain.isfinite().all() and not sharp.isfinite().all():
        raise UnsupportedModel(f"tempering {kinds} makes the output of {type(network).__name__} not finite.")
    if _distance(sharp, sharp_padded) > 10 * _distance(reading.plain, reading.padded) + _rounding(sharp, network):
        raise UnsupportedModel(f"with {kinds} tempered, {type(network).__name__} attends to masked positions.")


def _check_finite(
    network: Any, sites: list[Site], reading: _Reading, chosen: Iterable[OneTemperature], scale_bias: bool
) -> None:
    """Raise unless the output is finite at the requested temperatures, for a schedule at both ends."""
    most = getattr(network.config, "max_position_embeddings", None)
    most = most if isinstance(most, int) and most > 0 else _LONGEST  # XLNet says -1
    for temperature in chosen:
        taus = [temperature] if isinstance(temperature, float) else temperature(torch.arange(1, most + 1)).tolist()
        for tau in {min(taus), max(taus)}:
            with attached(network, sites, Setting(tau, scale_bias=scale_bias, trial=True)):
                out = reading.probe.read(network)
            if reading.plain.isfinite().all() and not out.isfinite().all():
                raise BadInput(
                    f"temperature {tau:g}: the output of {type(network).__name__} is not finite. Use one nearer to 1."
                )


def _check_lengths(network: nn.Module, sites: list[Site], reading: _Reading, scale_bias: bool) -> None:
    """Raise unless each text of a batch gets the temperature of its own length."""
    by_length, lengths = Setting(_TRIAL_BY_LENGTH, scale_bias=scale_bias, trial=True), reading.probe.mask.sum(1)
    with attached(network, sites, by_length):
        attach_entries([network], None, by_length)
        together = reading.probe.read(network)
    owner = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    expected = torch.empty_like(together)
    for row, tau in enumerate(_TRIAL_BY_LENGTH(lengths).tolist()):
        with attached(network, sites, Setting(tau, scale_bias=scale_bias, trial=True)):
            expected[owner == row] = reading.probe.read(network)[owner == row]
    if not agree(together, expected, reading.plain, network):
        raise UnsupportedModel(f"{type(network).__name__} does not take a temperature for each text: pass a number.")


@contextmanager
def attached(network: nn.Module, sites: list[Site], setting: Setting) -> Iterator[None]:
    """Hook the sites for a trial setting, which alone is active while the context is entered."""
    try:
        with proving(setting):
            attach(sites, setting)
            yield
    finally:
        detach(network, setting)


def agree(a: Tensor, b: Tensor, plain: Tensor, network: nn.Module) -> bool:
    """Return whether two tempered outputs are equal up to rounding, which layers amplify.

    The difference is compared with the temperature's own effect: a mistake in one layer misses a good part of it. In
    half precision rounding alone reaches a part of it.
    """
    rounding = torch.finfo(weights_dtype(network)).eps
    share = 0.5 if is_half(network) else 1e-3
    return _rms(a - b) <= share * _rms(b - plain) + rounding * _rms(b)


def is_half(network: nn.Module) -> bool:
    """Return whether the weights of a network are in half precision, or in less."""
    return torch.finfo(weights_dtype(network)).eps > 1e-6


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().nan_to_num(0).max())


def _rms(values: Tensor) -> float:
    return float(values.nan_to_num(0).double().square().mean().sqrt())


def _rounding(values: Tensor, network: nn.Module) -> float:
    """Return the largest difference that rounding may cause between two computations of the same values."""
    return 8 * torch.finfo(weights_dtype(network)).eps * float(values.nan_to_num(0).abs().max())
