"""Results on disk: each under a key of all that it depends on, so that a score is never that of something else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, TypeVar

from cenote.data.inputs import refuse_input
from cenote.data.labelled_files import is_read
from cenote.errors import BadInput, CenoteError, CenoteWarning
from cenote.json_records import from_json, to_json
from cenote.storage import explain_disk_errors, refuse_unwritable, write_whole

# The folder of results: this variable, or a folder in the user's cache.
_VARIABLE = "CENOTE_CACHE"
_DIGITS = 32
# What no name of a file of items has.
_NO_NAME = r"[^\w.,() -]+"

Record = TypeVar("Record")  # of a score: it says how many `items` it has


def default_folder() -> Path:
    """Return the folder of results that is used where none is named."""
    base = os.environ.get(_VARIABLE)
    return Path(base) / "evaluations" if base else Path.home() / ".cache" / "cenote" / "evaluations"


def folder_of(cache: str | Path | bool) -> Path | None:
    """Return the folder of results: True for the user's cache, False for none; raise if a named one cannot be made."""
    if isinstance(cache, bool):
        return default_folder() if cache else None
    folder = Path(cache)
    if not folder.is_dir():  # one that is only read may hold all scores
        refuse_unwritable(folder)
    return folder


class Results(Generic[Record]):
    """Scores and their items, by key; without a folder nothing is kept.

    Args:
        folder: where they are; None keeps nothing.
        kind: the class of a score.
    """

    def __init__(self, folder: Path | None, kind: type[Record]) -> None:
        self.folder, self.kind = folder, kind

    def key_of(self, settings: dict[str, Any]) -> str:
        """Return the key of a score: a fingerprint of everything that it depends on.

        >>> Results(None, str).key_of({"task": "a"}) == Results(None, str).key_of({"task": "b"})
        False
        """
        plain = json.dumps(settings, sort_keys=True, default=str)
        return hashlib.sha256(plain.encode()).hexdigest()[:_DIGITS]

    def find(self, key: str) -> tuple[Record, Any] | None:
        """Return a score and the table of its items, or None; a file that is damaged counts as none."""
        if self.folder is None or not (path := self.folder / f"{key}.json").is_file():
            return None
        try:
            record = from_json(self.kind, json.dumps(json.loads(path.read_text("utf-8"))["result"]))
            return record, self._read_items(key) if record.items else None  # type: ignore[attr-defined]
        except (BadInput, OSError, ValueError, KeyError):
            return None

    def keep(self, key: str, settings: dict[str, Any], record: Record, items: Any) -> None:
        """Write a score and its items; the score last, since it says that both are there.

        A score that cannot be written is a warning: it is known, and is only computed again by the next run.
        """
        if self.folder is None:
            return
        content = {"settings": settings, "result": json.loads(to_json(record))}
        try:
            with explain_disk_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            if items is not None:
                write_items(self.folder / f"{key}.parquet", items)
            with _write(self.folder / f"{key}.json") as temporary:
                temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", "utf-8")
        except CenoteError as error:
            message = f"the score is not kept, and the next run computes it again: {error}"
            warnings.warn(message, CenoteWarning, stacklevel=2)

    def find_or_make(
        self, settings: dict[str, Any], described: dict[str, Any], make: Callable[[], tuple[Record, Any]]
    ) -> tuple[Record, Any, bool]:
        """Return a score, the table of its items or None, and whether it was known; a new score is kept.

        Args:
            settings: all that it depends on.
            described: what is written beside it, for people.
            make: computes the score and the table.
        """
        key = self.key_of(settings)
        if (known := self.find(key)) is not None:
            return *known, True
        record, table = make()
        self.keep(key, described, record, table)
        return record, table, False

    def _read_items(self, key: str) -> Any:
        import pyarrow.parquet as pq

        if self.folder is None:
            return None
        return pq.read_table(self.folder / f"{key}.parquet")


def write_items(path: Path, items: Any) -> None:
    """Write a table of items as Parquet, whole or not at all."""
    import pyarrow.parquet as pq

    with _write(path) as temporary:
        pq.write_table(items, temporary, compression="zstd")


def file_of_items(folder: Path, task: str) -> Path:
    """Return the file of the items of a task.

    >>> file_of_items(Path("items"), "MTEB/SciFact").as_posix()
    'items/MTEB-SciFact.parquet'
    """
    return folder / f"{re.sub(_NO_NAME, '-', task)}.parquet"


def refuse_overwriting(folder: Path, data: Mapping[str, Any]) -> None:
    """Raise if the items of a task would overwrite labelled data, or be read with them by the next run.

    Args:
        folder: of the items.
        data: a path, or something in memory, by the name of each task.
    """
    remedy = "name another folder for the items (items, --items)"
    for task in data:
        refuse_input("items", file_of_items(folder, task), data.values(), is_read, remedy=remedy)


def refuse_same_files(folder: Path, tasks: Sequence[str]) -> None:
    """Raise if the items of two tasks would be written to one file.

    >>> refuse_same_files(Path("items"), ["a+b", "c", "a/b"])
    Traceback (most recent call last):
    ...
    cenote.errors.BadInput: the items of 'a+b' and of 'a/b' would both be in 'a-b.parquet': rename one of the two.
    """
    found: dict[str, str] = {}  # by names that are one file also where case does not count
    for task in tasks:
        file = file_of_items(folder, task)
        if (other := found.setdefault(file.name.casefold(), task)) != task:
            raise BadInput(
                f"the items of {other!r} and of {task!r} would both be in {file.name!r}: rename one of the two."
            )


def _write(path: Path) -> AbstractContextManager[Path]:
    """Return what writes a file whole, where other runs may write the same file."""
    return write_whole(path, f"{uuid.uuid4().hex[:8]}-")
