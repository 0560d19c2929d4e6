"""The settings that are compared: a grid of poolings, temperatures, limits and ways to read long texts, by model.

One pass over the texts serves all poolings of the same tokens: a `Group` is what shares a pass. Poolings that insert
tokens, such as `landmark`, have a pass of their own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.account.pooled_texts import OWN
from cenote.errors import BadInput
from cenote.evaluation.ways import way_of
from cenote.functional.pooling import POOLINGS, canonical
from cenote.functional.temperature import Temperature, check_temperature
from cenote.models.loading import set_max_seq_length
from cenote.models.properties import limit_of_documents, limits_kept
from cenote.models.provenance import constant_of, pooling_of, temperature_at, temperature_of
from cenote.models.repooling import pooling_for, pooling_in, repool
from cenote.surgery.tempering import temper


@dataclass(frozen=True)
class Grid:
    """The settings to try beside the model's own."""

    poolings: tuple[str, ...] = ()
    modules: Mapping[str, nn.Module] = field(default_factory=dict)  # poolings of the caller's own, by name
    temperatures: tuple[Any, ...] = ()  # as `check_temperature` returns them
    limits: tuple[int, ...] = ()  # in tokens
    long: tuple[str, ...] = ("truncate",)


@dataclass(frozen=True)
class Arm:
    """One setting of one model."""

    model: str
    pooling: str
    temperature: str
    limit: int | None  # tokens after which texts are cut
    long: str

    def name(self, among: Sequence[Arm]) -> str:
        """Return a name that tells the arm from the others: what differs among them, the pooling first.

        >>> arms = [Arm("m", "mean", "1", 256, "truncate"), Arm("m", "cls", "1", 256, "truncate")]
        >>> [arm.name(arms) for arm in arms]
        ['mean', 'cls']
        """
        said = {
            "pooling": self.pooling,
            "temperature": f"temperature {self.temperature}",
            "limit": "no limit" if self.limit is None else f"{self.limit} tokens",
            "long": self.long,
        }
        varied = {part for part in (*said, "model") if len({getattr(arm, part) for arm in among}) > 1}
        named = ", ".join(text for part, text in said.items() if part in varied) or self.pooling
        return f"{self.model}: {named}" if "model" in varied else named


@dataclass(frozen=True, eq=False)
class Group:
    """Poolings that share the passes of one model object."""

    model: SentenceTransformer
    own: str  # the name of the model's own pooling
    others: Mapping[str, nn.Module]  # by name
    foreign: frozenset[str] = frozenset()  # names of the caller's own modules, whose scores are not kept

    def key(self, pooling: str) -> str:
        """Return the name by which a reader knows a pooling."""
        return OWN if pooling == self.own else pooling

    def settings(self, pooling: str) -> dict[str, Any]:
        """Return the settings of a pooling as plain data; those of the model's own are the model's."""
        module: Any = self.others.get(pooling)
        return {} if module is None else dict(module.get_config_dict())

    @property
    def poolings(self) -> tuple[str, ...]:
        """The names of all poolings."""
        return (self.own, *self.others)


@dataclass(frozen=True, eq=False)
class Pass:
    """One reading of the texts: a group at one temperature and one limit, and the settings that it serves."""

    group: Group
    temperature: Any  # None for the model's own
    limit: int | None  # None for the model's own
    arms: tuple[Arm, ...]


def check_grid(
    poolings: Sequence[str] | Mapping[str, nn.Module] | None,
    temperatures: Sequence[Temperature] | None,
    limits: Sequence[int] | None,
    long: Sequence[str] | None,
) -> Grid:
    """Return what is varied, its names checked."""
    every: dict[str, Any] = {"poolings": poolings, "temperatures": temperatures, "limits": limits, "long": long}
    for name, given in every.items():
        if isinstance(given, (str, bytes)) or not (given is None or hasattr(given, "__iter__")):
            raise BadInput(f"{name}={given!r}: pass a list.")
    modules = dict(poolings) if isinstance(poolings, Mapping) else {}
    for name, module in modules.items():
        if not isinstance(module, nn.Module):
            raise BadInput(f"poolings[{name!r}] is a {type(module).__name__}: pass a torch module for each name.")
    names = [*("+".join(canonical(one)) for one in poolings or () if one not in modules), *modules]
    taus = [check_temperature(one) for one in temperatures or ()]
    for limit in limits or ():
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise BadInput(f"limits holds {limit!r}: pass whole numbers of tokens, at least 1.")
    ways = tuple(dict.fromkeys(long or ("truncate",)))
    for way in ways:
        way_of(way)
    unique = [tau for place, tau in enumerate(taus) if tau not in taus[:place]]
    return Grid(tuple(dict.fromkeys(names)), modules, tuple(unique), tuple(dict.fromkeys(limits or ())), ways)


def passes_of(model: SentenceTransformer, name: str, grid: Grid) -> list[Pass]:
    """Return all passes that the settings of a model need, its own setting first.

    Args:
        model: with its own pooling, temperature and limit.
        name: what the model is called.
        grid: what is varied; the model's own setting is always there.
    """
    own = limit_of_documents(model)  # by which a search is named; other texts mostly have the same
    limits: dict[int | None, int | None] = {own: None}  # None for the model's own
    limits |= {limit: limit for limit in grid.limits if limit != own}
    groups = groups_of(model, grid)
    passes = [
        Pass(
            group=group,
            temperature=tau,
            limit=changed,
            arms=tuple(
                Arm(name, pooling, temperature, limit, long) for pooling in group.poolings for long in grid.long
            ),
        )
        for temperature, tau in _temperatures_of(model, grid).items()
        for limit, changed in limits.items()
        for group in groups
    ]
    for one in passes:  # what is refused is refused before the work
        with set_to(one.group.model, one.temperature, one.limit):
            pass
    return passes


def _temperatures_of(model: SentenceTransformer, grid: Grid) -> dict[str, Any]:
    """Return the temperatures by what results call them, None for the model's own; raise for two of the same name."""
    own = constant_of(model)
    found: dict[str, Any] = {temperature_of(model): None}
    for tau in grid.temperatures:
        if tau == own:  # it is what the model has
            continue
        name = temperature_at(model, tau)
        other = found.setdefault(name, tau)
        other = own if other is None else other
        if other is not None and other != tau:
            raise BadInput(f"temperatures {other!r} and {tau!r} would both be called {name} in the results: give one.")
    return found


def own_arms(arms: Sequence[Arm]) -> dict[str, Arm]:
    """Return the own setting of each model: the first of its settings."""
    return {arm.model: arm for arm in reversed(arms)}


def groups_of(model: SentenceTransformer, grid: Grid) -> list[Group]:
    """Return the poolings in groups that share passes, the model's own first; raise for one that it cannot have."""
    own = pooling_of(model)
    if own in grid.modules:
        raise BadInput(f"poolings names a module {own!r}, which is the model's own pooling: name it otherwise.")
    marked: dict[str | None, list[str]] = {_marker(own): [own]}
    for name in grid.poolings:
        if name != own:
            marked.setdefault(None if name in grid.modules else _marker(name), []).append(name)
    groups = []
    for names in marked.values():
        if names[0] != own:  # of a model that inserts tokens, whose copy inserts others or none
            names = ["mean", *names] if names[0] in grid.modules else names
        base = model if names[0] == own else _repooled(model, names[0])
        others = {name: grid.modules.get(name) or pooling_for(base, name.split("+")) for name in names[1:]}
        groups.append(Group(base, names[0], others, frozenset(grid.modules)))
    return groups


def _marker(pooling: str) -> str | None:
    """Return which of the operators of a pooling inserts tokens."""
    return next((name for name in pooling.split("+") if name in POOLINGS and POOLINGS[name].marks), None)


def _repooled(model: SentenceTransformer, name: str) -> SentenceTransformer:
    if pooling_in(model) is None:
        raise BadInput(f"pooling {name!r} cannot be tried: the model has no Pooling module.")
    return repool(copy.deepcopy(model), name.split("+"))


@contextmanager
def set_to(model: SentenceTransformer, temperature: Any, limit: int | None) -> Iterator[None]:
    """Give a model a temperature and a limit for a while; None for its own."""
    with limits_kept(model):
        if limit is not None:
            set_max_seq_length(model, limit, documents=True)
        with nullcontext() if temperature is None else temper(model, temperature):
            yield
