"""Checks of the pooling and of the modules after it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scipy import stats

from cenote.account.pooled_texts import OWN
from cenote.account.ranks import Ranks
from cenote.auditing.checks.files import list_types, read_json
from cenote.auditing.checks.readings import PLAIN, Agreement, compare, read_ways
from cenote.auditing.checks.subject import Finding, Subject, operators_declared, rounded
from cenote.auditing.checks.thresholds import value_of
from cenote.listener import Listener
from cenote.models.declared import FACTS

# Weights of a module, in its folder.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "config.json")


def check_pooling(subject: Subject) -> Finding:
    """Compare the pooling that is used, or asked for, with the one that the files declare."""
    live, declared, asked = subject.pooling, subject.declared_pooling, subject.asked
    if not live:
        return Finding(None, "The model has no Pooling module.")
    if declared is None and subject.folder is not None and asked is None:
        cost = _cost(subject, OWN, PLAIN)
        return Finding(
            None,
            f"The files declare no pooling; {'+'.join(live)!r} is assumed.",
            "Look up the pooling that the model was trained with, and save the model with it: "
            "cenote.load(model, pooling=...).save(folder).",
            {"declared": None, "used": "+".join(live), **cost},
        )
    contradiction = _contradiction(subject.folder)
    reference, used = declared or live, asked or live
    names = "+".join(reference), "+".join(used)
    agreement = None if reference == used else _between(subject, *names)
    measured: dict[str, Any] = {"declared": names[0], "used": names[1]}
    measured |= _found(subject, *names)
    if contradiction:
        return Finding(
            False,
            f"The files declare two poolings: {contradiction}.",
            "Keep the format that is right, and delete the other from the Pooling's config.json.",
            measured,
        )
    if reference == used:
        source = "the files declare" if declared else "the model has"
        return Finding(
            True,
            f"{names[0]!r} is what {source}. {_plain_loader(subject, reference)}".strip(),
            measured=measured | _cost(subject, OWN, PLAIN),
        )
    said = "" if agreement is None else f" On {len(subject.reading.rows)} texts: {agreement.in_words()}."
    measured |= {} if agreement is None else agreement.measured()
    if agreement is not None and agreement.least is not None and agreement.least >= value_of("same"):
        return Finding(True, f"{names[1]!r} in place of {names[0]!r} changes lengths only.{said}", measured=measured)
    who = "The server" if asked else "The model"
    source = "the files declare" if declared else "the model has"
    return Finding(
        False,
        f"{who} pools with {names[1]!r}, {source} {names[0]!r}.{said}{_found_in_words(measured)}",
        f"Serve the model with pooling {names[0]!r}; vectors that were made with {names[1]!r} must be made again.",
        measured,
    )


def _contradiction(folder: Path | None) -> str:
    """Return both poolings where the two formats of a configuration declare different ones."""
    found = [] if folder is None else list(FACTS["pooling"](folder))
    by_operators = {frozenset(operators_declared(value) or ()): (value, source) for value, source in found}
    shown = [
        f"{value if isinstance(value, str) else '+'.join(value)} ({source})" for value, source in by_operators.values()
    ]
    return " and ".join(shown) if len(shown) > 1 else ""


def _between(subject: Subject, reference: str, used: str) -> Agreement | None:
    """Compare the vectors of two poolings, where both could be read."""
    vectors, live = subject.reading.vectors, "+".join(subject.pooling)
    one, other = (vectors.get(OWN if name == live else name) for name in (reference, used))
    return None if one is None or other is None or not len(one) else compare(one, other)


def _cost(subject: Subject, way: str, other: str) -> dict[str, Any]:
    """Return the numbers by which a plain loader's vectors differ."""
    vectors = subject.reading.vectors
    if other not in vectors or not len(vectors[way]):
        return {}
    return {f"plain_{name}": value for name, value in compare(vectors[way], vectors[other]).measured().items()}


def _plain_loader(subject: Subject, reference: tuple[str, ...]) -> str:
    vectors = subject.reading.vectors
    if PLAIN not in vectors or not len(vectors[OWN]):
        return ""
    found = compare(vectors[OWN], vectors[PLAIN])
    if found.least is not None and found.least >= value_of("same"):
        scaled = "" if abs(found.norms - 1) < 0.01 else f", of {found.norms:.2f} times the length"
        return f"A loader that takes the mean and nothing after it gives the same directions{scaled}."
    same = " where the files ask for the mean" if reference == ("mean",) else ""
    return f"A loader that ignores the files and takes the mean{same} gives other vectors: {found.in_words()}."


def _found(subject: Subject, reference: str, used: str) -> dict[str, Any]:
    """Return how many of 100 own sentences find their text with both poolings, and with one for each side."""
    shares = {
        "found_declared": subject.share_found(reference),
        "found_used": subject.share_found(used),
        "found_in_declared": subject.share_found(used, reference),
    }
    return {key: round(100 * one, 1) for key, one in shares.items() if one is not None}


def _found_in_words(measured: dict[str, Any]) -> str:
    if not {"found_declared", "found_used", "found_in_declared"} <= measured.keys():
        return ""
    return (
        f" Of 100 sentences, {measured['found_declared']:.0f} find their text by {measured['declared']!r}, "
        f"{measured['found_used']:.0f} by {measured['used']!r}, and {measured['found_in_declared']:.0f} where texts "
        "have the one and sentences the other."
    )


def _share(ranks: Ranks) -> float:
    return float((ranks.kept == 1).mean())


def check_fit(subject: Subject) -> Finding:
    """Compare how many sentences find their text with the model's pooling and with others."""
    if isinstance(subject.account, str):
        return Finding(None, f"The texts cannot show it: {subject.account}.")
    ranks = subject.account[0].ranks
    own = ranks[OWN]
    others = {name: one for name, one in ranks.items() if name != OWN}
    if not others:
        return Finding(None, "The model's pooling cannot be exchanged.")
    shares = {name: _share(one) for name, one in others.items()}
    best = max(shares, key=lambda name: (shares[name], name))
    here = _share(own)
    gained = int(((own.kept > 1) & (others[best].kept == 1)).sum())
    lost = int(((own.kept == 1) & (others[best].kept > 1)).sum())
    chance = float(stats.binomtest(gained, gained + lost, alternative="greater").pvalue) if gained + lost else 1.0
    measured = {
        "pooling": "+".join(subject.pooling),
        "found": round(100 * here, 1),
        "others": {name: round(100 * share, 1) for name, share in shares.items()},
        "chance": rounded(chance),
    }
    said = (
        f"Of 100 own sentences {100 * here:.0f} find their text by {'+'.join(subject.pooling) or 'its own'!r}, "
        f"{100 * shares[best]:.0f} by {best!r}, the best of {len(others)} others."
    )
    worse = here < value_of("share found") * shares[best] and shares[best] - here >= value_of("points lost")
    if worse and chance < value_of("sure"):
        return Finding(
            False,
            said,
            f"Look up the pooling that the model was trained with: the weights fit {best!r} better than the declared "
            "one. A file that a conversion lost is the usual cause.",
            measured,
        )
    return Finding(True, said, measured=measured)


def check_later_modules(subject: Subject) -> Finding:
    """Compare the modules after the pooling with those of the files, and measure what dropping each would cost."""
    here = [type(module).__name__ for module in subject.model]
    lost, orphans = [], []
    if subject.folder is not None:
        wanted = [name.rpartition(".")[2] for name in list_types(subject.folder)]
        lost = list((Counter(wanted[1:]) - Counter(here)).elements())
        orphans = sorted(_orphans(subject.folder))
    measured: dict[str, Any] = {"modules": here, "lost": lost, "not_listed": orphans}
    if lost:
        cost = _cost_of_loss(subject)
        said = "" if cost is None else f" On {len(subject.reading.rows)} texts: {cost.in_words()}."
        return Finding(
            False,
            f"The files list {', '.join(lost)} after the pooling, which the model lacks.{said}",
            "Serve all modules of modules.json, in their order.",
            measured | ({} if cost is None else cost.measured()),
        )
    if orphans:
        return Finding(
            False,
            f"The folder holds {', '.join(orphans)}, which modules.json does not list: no loader runs it.",
            "Restore the entries of modules.json from the model's first release, or delete the folders.",
            measured,
        )
    if not subject.later_modules:
        return Finding(None, "No module follows the pooling.", measured=measured)
    costs = list(_dropping(subject))
    measured["dropping"] = {name: one.measured() | {"length": rounded(one.norms)} for name, one in costs}
    said = "; ".join(f"Without {name}: {one.in_words()}, length times {one.norms:.2f}" for name, one in costs)
    return Finding(
        True, f"{', '.join(subject.later_modules)} follow{_s(subject)} the pooling. {said}.", measured=measured
    )


def _s(subject: Subject) -> str:
    return "s" if len(subject.later_modules) == 1 else ""


def _dropping(subject: Subject) -> Iterator[tuple[str, Agreement]]:
    vectors = subject.reading.vectors
    for name in subject.later_modules:
        other = vectors.get(f"without {name}")
        if other is not None and len(other):
            yield name, compare(vectors[OWN], other)


def _cost_of_loss(subject: Subject) -> Agreement | None:
    """Compare the vectors of the files' own model with those of the model that lacks a module."""
    fresh = subject.fresh
    if fresh is None or not len(subject.reading.own):
        return None
    other = read_ways(fresh, subject.tokens, {}, Listener())
    return compare(other.own, subject.reading.own) if other.rows == subject.reading.rows else None


def _orphans(folder: Path) -> Iterator[str]:
    """Yield folders of modules that modules.json does not list."""
    modules = read_json(folder / "modules.json")
    if not isinstance(modules, list):
        return
    listed = {str(one.get("path", "")) for one in modules}
    for path in folder.iterdir():
        is_module = path.is_dir() and re.fullmatch(r"\d+_\w+", path.name)
        if is_module and path.name not in listed and any((path / name).is_file() for name in _WEIGHTS):
            yield path.name
