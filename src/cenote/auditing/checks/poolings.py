"""Checks of the pooling and of the modules after it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy import stats
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling
from sentence_transformers.sentence_transformer.modules import Router

from cenote.account.pooled_texts import OWN
from cenote.auditing.checks.files import list_types, read_json
from cenote.auditing.checks.readings import PLAIN, Agreement, compare, read_ways
from cenote.auditing.checks.subject import Finding, Subject, operators_declared, rounded
from cenote.auditing.checks.thresholds import value_of
from cenote.listener import Listener
from cenote.models.declared import FACTS

Cost = TypeVar("Cost")

# Weights of a module, in its folder.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "config.json")
_SERVE_ALL = (
    "Serve all modules of modules.json, in their order, and no others. If you changed the model on purpose, save it "
    "and audit the new folder."
)
_RESTORE = (
    "Restore the entries of modules.json from the model's first release, or load the model with the right pooling and "
    "save it: cenote.load(model, pooling=...).save(folder)."
)


def check_pooling(subject: Subject) -> Finding:
    """Compare the poolings of the model and of the server with the one that the files declare."""
    live, declared, asked = subject.pooling, subject.declared_pooling, subject.asked
    if not live:
        return _without_pooling(subject)
    if declared is None and subject.folder is not None:
        return _undeclared(subject, "+".join(live), "+".join(asked or live))
    reference = declared or live
    source = "the files declare" if declared else "the model has"
    measured: dict[str, Any] = {
        "declared": "+".join(reference),
        "model": "+".join(live),
        "used": "+".join(asked or live),
    }
    if contradiction := _contradiction(subject.folder):
        return Finding(
            False,
            f"The files declare two poolings: {contradiction}.",
            "Keep the format that is right, and delete the other from the Pooling's config.json.",
            measured,
        )
    differing: dict[tuple[str, ...], list[str]] = {}
    for who, names in (("your server", asked), ("the model", live)):
        if names is not None and names != reference:
            differing.setdefault(names, []).append(who)
    if not differing:
        return Finding(
            True,
            f"{'+'.join(reference)!r} is what {source}. {_plain_loader(subject, reference)}".strip(),
            measured=measured | _cost(subject, OWN, PLAIN),
        )
    compared = {names: _between(subject, "+".join(reference), "+".join(names)) for names in differing}
    measured |= next((one.measured() for one in compared.values() if one is not None), {})
    costs = {names: _cost_in_words(subject, agreement) for names, agreement in compared.items()}
    if all(agreement is not None and agreement.same for agreement in compared.values()):
        said = " ".join(
            f"{'+'.join(names)!r} in place of {'+'.join(reference)!r} changes lengths only.{cost}"
            for names, cost in costs.items()
        )
        return Finding(True, said, measured=measured)
    said = " ".join(
        f"{' and '.join(who).capitalize()} pool{'s' if len(who) == 1 else ''} with {'+'.join(names)!r}, "
        f"{source} {'+'.join(reference)!r}.{costs[names]}"
        for names, who in differing.items()
    )
    first = "+".join(next(iter(differing)))
    found: dict[str, Any] = _unless_it_fails(lambda: _found(subject, "+".join(reference), first), {})
    others = " and ".join(repr("+".join(names)) for names in differing)
    return Finding(
        False,
        f"{said}{_found_in_words(found, '+'.join(reference), first)}",
        f"Serve the model with pooling {'+'.join(reference)!r}; vectors that were made with {others} must be made "
        "again.",
        measured | found,
    )


def _unless_it_fails(measure: Callable[[], Cost], otherwise: Cost) -> Cost:
    """Return what a fault costs: it stays a fault if memory runs out, or the files cannot be read, meanwhile."""
    try:
        return measure()
    except Exception:  # whatever the model raises
        return otherwise


def _without_pooling(subject: Subject) -> Finding:
    """Say why no pooling is compared: a Router has one for each side, other models have none."""
    routes = {
        side: [module.pooling_mode for module in modules.children() if isinstance(module, StPooling)]
        for router in subject.model
        if isinstance(router, Router)
        for side, modules in router.sub_modules.items()
    }
    if not any(routes.values()):
        return Finding(None, "The model has no Pooling module.")
    found = ", ".join(f"{side!r} by {'+'.join(map(str, names)) or 'none'}" for side, names in sorted(routes.items()))
    return Finding(
        None,
        f"A Router pools each side on its own ({found}). The checks read the side that plain encode takes.",
        "Save the other side as a model of its own, SentenceTransformer(modules=[*router.sub_modules[SIDE]])"
        ".save(FOLDER), and audit that folder.",
        {"routes": {side: "+".join(map(str, names)) for side, names in routes.items()}},
    )


def _undeclared(subject: Subject, live: str, used: str) -> Finding:
    """Return what can be said where no file declares a pooling: nothing tells which one is right."""
    has = "the loader assumes" if subject.by_path else "the model has"
    measured: dict[str, Any] = {"declared": None, "model": live, "used": used}
    if used == live:
        said = f"The files declare no pooling; {has} {live!r}."
        measured |= _cost(subject, OWN, PLAIN)
    else:
        agreement = _between(subject, live, used)
        said = f"The files declare no pooling; {has} {live!r}, and your server has {used!r}."
        said += _cost_in_words(subject, agreement)
        measured |= {} if agreement is None else agreement.measured()
    return Finding(
        None,
        said,
        "Look up the pooling that the model was trained with, and save the model with it: "
        "cenote.load(model, pooling=...).save(folder).",
        measured,
    )


def _cost_in_words(subject: Subject, agreement: Agreement | None) -> str:
    return "" if agreement is None else f" On {len(subject.reading.rows)} texts: {agreement.in_words()}."


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
    return _unless_it_fails(lambda: _compared(subject, reference, used), None)


def _compared(subject: Subject, reference: str, used: str) -> Agreement | None:
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
    if found.same:
        scaled = "" if abs(found.norms - 1) < 0.01 else f" and {found.norms:.2f} times the length"
        return f"A loader that knows the mean alone makes vectors of the same direction{scaled}."
    same = " where the files ask for the mean" if reference == ("mean",) else ""
    return f"A loader that ignores the files and takes the mean{same} gives other vectors: {found.in_words()}."


def _found(subject: Subject, reference: str, used: str) -> dict[str, Any]:
    """Return how many of 100 own sentences find their text with both poolings, and with one for each side."""
    found = {
        "found_declared": subject.found(reference),
        "found_used": subject.found(used),
        "found_in_declared": subject.found(used, reference),
    }
    return {key: round(100 * float(one.mean()), 1) for key, one in found.items() if one is not None}


def _found_in_words(found: dict[str, Any], reference: str, used: str) -> str:
    if not {"found_declared", "found_used", "found_in_declared"} <= found.keys():
        return ""
    return (
        f" Of 100 sentences, {found['found_declared']:.0f} find their text by {reference!r}, "
        f"{found['found_used']:.0f} by {used!r}, and {found['found_in_declared']:.0f} where texts "
        f"are pooled by {reference!r} and sentences by {used!r}."
    )


def check_fit(subject: Subject) -> Finding:
    """Compare how many sentences find their text with the model's pooling and with others."""
    if isinstance(subject.account, str):
        return Finding(None, f"The texts cannot show it: {subject.account}.")
    names = subject.account.documents.vectors
    found = {name: one for name in names if (one := subject.account.found(name, name)) is not None}
    own = found.pop(OWN)
    if not found:
        return Finding(None, "The model's pooling cannot be exchanged.")
    best = max(found, key=lambda name: (found[name].mean(), name))
    here, there = 100 * float(own.mean()), 100 * float(found[best].mean())
    # By texts: the sentences of one are alike. Times the poolings that were tried, of which this is the best.
    gains = np.bincount(subject.account.owners, found[best].astype(float) - own)
    chance = min(1.0, len(found) * _chance(int((gains > 0).sum()), int((gains < 0).sum())))
    pooling = "+".join(subject.pooling) or "its own"
    measured = {
        "pooling": pooling,
        "found": round(here, 1),
        "others": {name: round(100 * float(one.mean()), 1) for name, one in found.items()},
        "chance": rounded(chance),
    }
    said = (
        f"Of 100 own sentences {here:.0f} find their text by {pooling!r}, {there:.0f} by {best!r}, the best of "
        f"{len(found)} others"
    )
    if chance >= value_of("doubtful"):
        return Finding(True, f"{said}: no other pooling finds significantly more.", measured=measured)
    half = here < value_of("share found") * there and there - here >= 100 * value_of("points lost")
    return Finding(
        False if half and chance < value_of("sure") else None,
        f"{said}. Chance alone makes such a difference with p = {chance:.1g}.",
        f"Look up the pooling on the model's card: the weights fit {best!r} better than {pooling!r}. A file that a "
        "conversion lost is the usual cause.",
        measured,
    )


def _chance(gained: int, lost: int) -> float:
    """Return the probability that so many of the differing texts favour the other pooling, by the sign test.

    >>> _chance(3, 0), _chance(0, 0)
    (0.125, 1.0)
    """
    if not gained + lost:
        return 1.0
    return float(stats.binomtest(gained, gained + lost, alternative="greater").pvalue)


def check_later_modules(subject: Subject) -> Finding:
    """Compare the modules after the transformer with those of the files, and measure what each changes."""
    here = _computing([type(module).__name__ for module in subject.model][1:])
    listed = [] if subject.folder is None else [name.rpartition(".")[2] for name in list_types(subject.folder)]
    wanted = _computing(listed[1:]) if listed else here
    folders = {} if subject.folder is None else dict(sorted(_unlisted_folders(subject.folder)))
    orphans = [name for name, kind in folders.items() if kind not in listed]
    spare = [name for name in folders if name not in orphans]
    measured: dict[str, Any] = {"modules": here, "listed": wanted, "not_listed": orphans, "alternatives": spare}
    if difference := _difference_in_words(wanted, here):
        cost = _unless_it_fails(lambda: _cost_of_difference(subject), None)
        assumed = "Pooling" in here and "Pooling" not in wanted
        held = f" The folder holds {', '.join(orphans)}, which modules.json does not list." if orphans else ""
        return Finding(
            False,
            f"{difference}{held}" + ("" if assumed else _cost_in_words(subject, cost)),
            _RESTORE if assumed or orphans else _SERVE_ALL,
            measured | ({} if cost is None else cost.measured()),
        )
    if orphans:
        return Finding(
            False,
            f"The folder holds {', '.join(orphans)}, which modules.json does not list: no loader runs it.",
            _RESTORE,
            measured,
        )
    unused = f" The folder also holds {', '.join(spare)}, which modules.json does not list." if spare else ""
    if not subject.later_modules:
        return Finding(True, f"No module follows the pooling.{unused}", measured=measured)
    costs = list(_dropping(subject))
    measured["dropping"] = {name: one.measured() | {"length": rounded(one.norms)} for name, one in costs}
    said = "; ".join(f"Without {name}: {one.in_words()}, length times {one.norms:.2f}" for name, one in costs)
    follow = "follows" if len(subject.later_modules) == 1 else "follow"
    return Finding(True, f"{', '.join(subject.later_modules)} {follow} the pooling. {said}.{unused}", measured=measured)


def _computing(names: Sequence[str]) -> list[str]:
    """Return the classes of modules that change vectors where a model is read; `settings` checks temperatures."""
    return [name for name in names if name not in ("Temperature", "Dropout")]


def _difference_in_words(wanted: Sequence[str], here: Sequence[str]) -> str:
    """Say how the modules of a model differ from those that the files list; empty if they do not.

    >>> _difference_in_words(["Pooling", "Dense", "Normalize"], ["Pooling", "Normalize", "Dense"])
    'The model runs Pooling, Normalize, Dense in this order; the files list Pooling, Dense, Normalize.'
    """
    lost, added = (list((Counter(one) - Counter(other)).elements()) for one, other in ((wanted, here), (here, wanted)))
    said = [f"The files list {', '.join(lost)}, which the model lacks."] if lost else []
    said += [f"The loaded model runs {', '.join(added)}, which modules.json does not list."] if added else []
    if not said and list(wanted) != list(here):
        said = [f"The model runs {', '.join(here)} in this order; the files list {', '.join(wanted)}."]
    return " ".join(said)


def _dropping(subject: Subject) -> Iterator[tuple[str, Agreement]]:
    vectors = subject.reading.vectors
    for name in subject.later_modules:
        other = vectors.get(f"without {name}")
        if other is not None and len(other):
            yield name, compare(vectors[OWN], other)


def _cost_of_difference(subject: Subject) -> Agreement | None:
    """Compare the vectors of the files' own model with those of a model of other modules."""
    fresh = subject.fresh
    if fresh is None or not len(subject.reading.own):
        return None
    other = read_ways(fresh, subject.tokens, {}, Listener())
    return compare(other.own, subject.reading.own) if other.rows == subject.reading.rows else None


def _unlisted_folders(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the folders of modules that modules.json does not list, and the class that each is named after."""
    modules = read_json(folder / "modules.json")
    if not isinstance(modules, list):
        return
    listed = {str(one.get("path", "")) for one in modules}
    for path in folder.iterdir():
        named = re.fullmatch(r"\d+_([A-Za-z]+)\w*", path.name)
        if named and path.name not in listed and any((path / name).is_file() for name in _WEIGHTS):
            yield path.name, named[1]
