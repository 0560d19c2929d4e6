"""Numbers, counts and names in words, as verdicts, messages and pages write them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from cenote.records import Estimate


def percent(share: float) -> str:
    """Return a share of 1 as a percentage of two digits.

    >>> [percent(share) for share in (0, 0.004, 0.094, 0.096, 0.9949, 0.9951, 1)]
    ['0 %', '0.4 %', '9.4 %', '10 %', '99 %', 'more than 99 %', '100 %']
    """
    value = 100 * share
    if 99.5 <= value < 100:
        return "more than 99 %"
    return f"{value:.0f} %" if value >= 9.5 or value == 0 else f"{value:.2g} %"


def signed_estimate(estimate: Estimate, interval: str = "95 % interval ") -> str:
    """Return an estimate and its interval, which `interval` introduces, with signs.

    >>> signed_estimate(Estimate(-0.1, -0.2, 0.0)), signed_estimate(Estimate(0.25, None, None))
    ('-0.100 (95 % interval -0.200 to +0.000)', '+0.250')
    """
    ends = "" if estimate.low is None else f" ({interval}{estimate.low:+.3f} to {estimate.high:+.3f})"
    return f"{estimate.value:+.3f}{ends}"


def name_temperature(tau: float) -> str:
    """Return the name of a temperature among the settings of an account.

    >>> name_temperature(1.0), name_temperature(0.85)
    ('temperature 1', 'temperature 0.85')
    """
    return f"temperature {tau:g}"


def share_estimate(estimate: Estimate) -> str:
    """Return a share and its interval as percentages.

    >>> share_estimate(Estimate(0.85, 0.812, 0.88)), share_estimate(Estimate(0.5, None, None))
    ('85 % (81 to 88 %)', '50 %')
    """
    low, high = estimate.low, estimate.high
    ends = "" if low is None or high is None else f" ({share_interval(low, high)})"
    return f"{percent(estimate.value)}{ends}"


def share_interval(low: float, high: float) -> str:
    """Return the ends of an interval of a share as percentages.

    >>> share_interval(0.812, 0.88), share_interval(0.0051, 0.012), share_interval(0.9955, 1)
    ('81 to 88 %', '0.51 to 1.2 %', 'more than 99 to 100 %')
    """
    return f"{percent(low).removesuffix(' %')} to {percent(high)}"


def score_estimate(value: float, low: float | None, high: float | None, *, sign: str = "") -> str:
    """Return a score and its interval, with four digits; `sign` of `+` shows the sign of a change.

    >>> score_estimate(0.6451, 0.6, 0.69), score_estimate(0.0021, -0.01, 0.014, sign="+")
    ('0.6451 (0.6000 to 0.6900)', '+0.0021 (-0.0100 to +0.0140)')
    """
    ends = "" if low is None or high is None else f" ({low:{sign}.4f} to {high:{sign}.4f})"
    return f"{value:{sign}.4f}{ends}"


def relative_estimate(estimate: Estimate) -> str:
    """Return a relative change and its interval in percent, with signs.

    >>> relative_estimate(Estimate(0.0053, -0.001, 0.0116)), relative_estimate(Estimate(0.0, None, None))
    ('+0.53 % (-0.10 to +1.16 %)', '+0.00 %')
    """
    low, high = estimate.low, estimate.high
    ends = "" if low is None or high is None else f" ({100 * low:+.2f} to {100 * high:+.2f} %)"
    return f"{100 * estimate.value:+.2f} %{ends}"


def probability(value: float | None, missing: str = "-") -> str:
    """Return the probability of a test with three digits.

    >>> probability(0.0421), probability(0.0002), probability(None)
    ('0.042', '< 0.001', '-')
    """
    if value is None:
        return missing
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def round_to_hundred(shares: Sequence[float]) -> list[int]:
    """Return shares that add up to 1 as whole numbers that add up to 100, each within 1 of its share.

    >>> round_to_hundred([0.334, 0.333, 0.333]), round_to_hundred([0.996, 0.004])
    ([34, 33, 33], [100, 0])
    """
    wanted = [100 * share for share in shares]
    counts = [int(value) for value in wanted]
    order = sorted(range(len(wanted)), key=lambda place: counts[place] - wanted[place])
    for place in order[: 100 - sum(counts)]:
        counts[place] += 1
    return counts


def in_minutes(seconds: float) -> str:
    """Return a duration in the units that fit.

    >>> in_minutes(7.2), in_minutes(95), in_minutes(7790), in_minutes(5 * 86_400)
    ('10 s', '2 min', '2 h 10 min', '120 h')
    """
    if seconds < 60:
        return f"{max(10, round(seconds, -1)):.0f} s"
    if seconds < 5370:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(10 * round(seconds / 600), 60)
    return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{round(seconds / 3600)} h"


def pluralise(count: int, noun: str) -> str:
    """Return a count and its noun.

    >>> pluralise(0, "pair"), pluralise(1, "pair"), pluralise(1200, "query")
    ('0 pairs', '1 pair', '1,200 queries')
    """
    several = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else several}"


def were_excluded(count: int, noun: str) -> str:
    """Return the statement that some things were excluded.

    >>> were_excluded(1, "pair"), were_excluded(2, "pair")
    ('1 pair was excluded', '2 pairs were excluded')
    """
    return f"{pluralise(count, noun)} {'was' if count == 1 else 'were'} excluded"


def number_duplicates(names: Sequence[str]) -> tuple[str, ...]:
    """Return unique names: each that occurs several times has a number after it, which makes the name of no other.

    >>> number_duplicates(["minilm", "e5", "minilm"]), number_duplicates(["e5", "e5", "e5 (1)"])
    (('minilm (1)', 'e5', 'minilm (2)'), ('e5 (2)', 'e5 (3)', 'e5 (1)'))
    """
    taken = set(names)
    found = []
    for name in names:
        called = name
        if names.count(name) > 1:
            called = next(one for one in (f"{name} ({number})" for number in itertools.count(1)) if one not in taken)
            taken.add(called)
        found.append(called)
    return tuple(found)
