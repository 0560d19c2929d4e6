"""Numbers, counts and names in words, as verdicts, messages and pages write them."""

from __future__ import annotations

from collections.abc import Sequence

from cenote.records import Estimate


def percent(share: float) -> str:
    """Return a share of 1 as a percentage of two digits.

    >>> percent(0.5), percent(0.012), percent(0.999)
    ('50 %', '1.2 %', 'more than 99 %')
    """
    value = 100 * share
    if 99.5 <= value < 100:
        return "more than 99 %"
    return f"{value:.0f} %" if value >= 9.5 or value == 0 else f"{value:.2g} %"


def estimate_sentence(label: str, estimate: Estimate) -> str:
    """Return a sentence that states an estimate and its interval.

    >>> estimate_sentence("Gain", Estimate(0.1, 0.05, 0.15)), estimate_sentence("Gain", Estimate(0.1, None, None))
    ('Gain: +0.100 (95 % interval +0.050 to +0.150).', 'Gain: +0.100.')
    """
    interval = "" if estimate.low is None else f" (95 % interval {estimate.low:+.3f} to {estimate.high:+.3f})"
    return f"{label}: {estimate.value:+.3f}{interval}."


def signed_estimate(estimate: Estimate) -> str:
    """Return an estimate and its interval, with signs.

    >>> signed_estimate(Estimate(0.1, 0.05, 0.15))
    '+0.100 (+0.050 to +0.150)'
    """
    interval = "" if estimate.low is None else f" ({estimate.low:+.3f} to {estimate.high:+.3f})"
    return f"{estimate.value:+.3f}{interval}"


def pluralise(count: int, noun: str) -> str:
    """Return a count and its noun.

    >>> pluralise(1, "pair"), pluralise(1200, "pair")
    ('1 pair', '1,200 pairs')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def number_duplicates(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names, with a number after each that occurs several times.

    >>> number_duplicates(["minilm", "e5", "minilm"])
    ('minilm (1)', 'e5', 'minilm (2)')
    """
    return tuple(
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    )
