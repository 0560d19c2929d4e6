"""Figures and names in the words of a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from cenote.results import Estimate


def percent(share: float) -> str:
    """A share of all, with the digits that mean something.

    >>> percent(0.5), percent(0.012), percent(0.999)
    ('50 %', '1.2 %', 'more than 99 %')
    """
    value = 100 * share
    if 99.5 <= value < 100:
        return "more than 99 %"
    return f"{value:.0f} %" if value >= 9.5 or value == 0 else f"{value:.2g} %"


def interval(what: str, found: Estimate) -> str:
    """A sentence.

    >>> interval("Gain", Estimate(0.1, 0.05, 0.15)), interval("Gain", Estimate(0.1, None, None))
    ('Gain: +0.100 (95 % interval +0.050 to +0.150).', 'Gain: +0.100.')
    """
    between = "" if found.low is None else f" (95 % interval {found.low:+.3f} to {found.high:+.3f})"
    return f"{what}: {found.value:+.3f}{between}."


def value(found: Estimate) -> str:
    """Part of a sentence.

    >>> value(Estimate(0.1, 0.05, 0.15))
    '+0.100 (+0.050 to +0.150)'
    """
    return f"{found.value:+.3f}" + ("" if found.low is None else f" ({found.low:+.3f} to {found.high:+.3f})")


def counted(count: int, noun: str) -> str:
    """So many of something.

    >>> counted(1, "pair"), counted(1200, "pair")
    ('1 pair', '1,200 pairs')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """The names, numbered where one stands for several.

    >>> told_apart(["minilm", "e5", "minilm"])
    ('minilm (1)', 'e5', 'minilm (2)')
    """
    return tuple(
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    )
