"""The tasks that a call names, official ones of MTEB and local data: read and checked before any work."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from cenote.choices import missing_packages
from cenote.data.labelled import KINDS, Labelled, check_labelled, fingerprint_of_files, read_labelled
from cenote.data.labelled_samples import sample_labelled
from cenote.data.labelled_schemas import TEST, Asked, plan_files
from cenote.errors import BadInput, CenoteError, choose
from cenote.models.hub import why_unreachable
from cenote.records import ALL
from cenote.wording import number_duplicates

_PYTHON = (3, 11)  # that mteb needs
# Packages whose versions a score depends on.
PACKAGES = ("mteb", "scikit-learn", "scipy", "datasets", "tokenizers", "pytrec-eval-terrier")


@dataclass(frozen=True, eq=False)
class ListedTask:
    """A task to score: where it is from, and what its data are."""

    name: str
    kind: str
    make: Callable[[], Any]  # returns the task of mteb, fresh each time
    data: str  # fingerprint of local data, or revision of an official task
    official: str | None  # the name of the official task that it is, or that local data are of
    split: str
    notes: tuple[str, ...] = ()
    local: Labelled | None = None


def refuse_missing_packages(verb: str) -> None:
    """Raise unless mteb can be used here."""
    version = platform.python_version_tuple()
    if tuple(map(int, version[:2])) < _PYTHON:
        raise CenoteError(f"{verb} needs mteb, which needs Python 3.11 or newer; this is {'.'.join(version)}.")
    if missing := missing_packages("eval"):
        raise CenoteError(f"{verb}: {missing}.")


def list_tasks(
    tasks: str | Sequence[str] | None, data: Any, official: str | None, asked: Asked, quick: bool
) -> list[ListedTask]:
    """Return all tasks, their local data read and checked."""
    names = [tasks] if isinstance(tasks, str) else list(tasks or ())
    folders = named_data(data)
    if not names and not folders:
        raise BadInput("there are no tasks: name tasks of MTEB (tasks, --tasks) or data (data, --data).")
    if asked.kind is not None:
        choose(asked.kind, dict.fromkeys(KINDS), "kind of task")
    if official is not None and (names or len(folders) != 1):
        raise BadInput(f"official={official!r} (--as) says which task one folder is of: give one folder, and no tasks.")
    if quick and names:
        raise BadInput("quick (--quick) samples local data; official tasks are scored whole.")
    if not folders and (asked.kind is not None or asked.split != TEST):
        raise BadInput("kind and split (--kind, --split) are of data (--data); a task of MTEB has its own.")
    if asked.named and not (folders and all(isinstance(one, (str, Path)) for one in folders.values())):
        raise BadInput(
            "data_columns (--data-columns) names the columns of files, and is for data (--data) of files only."
        )
    found = [_local(called, where, official, asked, quick) for called, where in folders.items()]
    if names:
        from cenote.evaluation.tasks import load_official, parts_of

        parts = parts_of(names)
        if why_unreachable():  # what is not in the cache is reported before any work
            for part in parts:
                load_official(part.make())
        found += [ListedTask(one.name, one.kind, one.make, one.revision, one.task, one.split) for one in parts]
    called = number_duplicates([task.name for task in found])
    if ALL in called:
        raise BadInput(f"a task is called {ALL!r}, which names the mean over tasks: rename its folder.")
    return [replace(task, name=name) for task, name in zip(found, called, strict=True)]


def named_data(data: Any) -> dict[str, Any]:
    """Return what data are given, by unique names."""
    if data is None:
        return {}
    if isinstance(data, Mapping):
        return dict(data)
    several = list(data) if isinstance(data, (list, tuple)) else [data]
    names = number_duplicates([_name_of(one) for one in several])
    return dict(zip(names, several, strict=True))


def _name_of(given: Any) -> str:
    """Return the name of a folder, of a file without its endings, or of the kind of data."""
    if not isinstance(given, (str, Path)):
        return str(getattr(given, "kind", "data"))
    path = Path(given).resolve()
    is_folder = os.path.isdir(path)  # noqa: PTH112  Path.is_dir raises for long names and without access
    return path.name if is_folder else re.sub(r"(?<=.)(\.[A-Za-z]+)+$", "", path.name)


def _local(name: str, given: Any, official: str | None, asked: Asked, quick: bool) -> ListedTask:
    if isinstance(given, (str, Path)):
        data: Labelled = read_labelled(given, asked.kind, asked.split, asked.named)
        fingerprint = fingerprint_of_files(given, asked.kind, asked.split, asked.named)
        split = plan_files(given, asked).split
    elif isinstance(given, get_args(Labelled)):
        data = check_labelled(given, f"data {name!r}")
        fingerprint, split = _fingerprint_of(given), asked.split
    else:
        raise BadInput(
            f"data {name!r} is a {type(given).__name__}: pass a labelled folder, a file, or an object of "
            "cenote.data.labelled, such as Sts."
        )
    if quick:
        data, fingerprint = sample_labelled(data), f"{fingerprint}, sampled"

    make = partial(make_local, name, official, data)
    make()  # errors come before the work
    return ListedTask(name, data.kind, make, fingerprint, official, split, data.notes, data)


def make_local(name: str, official: str | None, data: Labelled) -> Any:
    """Return a fresh task of local data, or an official one that is filled with them."""
    from cenote.evaluation.tasks import local_task, official_with

    return local_task(name, data) if official is None else official_with(official, data)


def _fingerprint_of(data: Labelled) -> str:
    return hashlib.sha256(repr(sorted(vars(data).items())).encode()).hexdigest()[:16]
