"""Results on disk: each under a key of all that it depends on, so that a score is never that of something else."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from cenote.errors import BadInput
from cenote.evaluation_records import TaskScore
from cenote.json_records import from_json, to_json
from cenote.storage import write_text, write_whole

# The folder of results: this variable, or a folder in the user's cache.
_VARIABLE = "CENOTE_CACHE"
_DIGITS = 32


def default_folder() -> Path:
    """Return the folder of results that is used where none is named."""
    base = os.environ.get(_VARIABLE)
    return Path(base) / "evaluations" if base else Path.home() / ".cache" / "cenote" / "evaluations"


class Results:
    """Scores and their items, by key; without a folder nothing is kept.

    Args:
        folder: where they are; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def key_of(self, settings: dict[str, Any]) -> str:
        """Return the key of a score: a fingerprint of everything that it depends on.

        >>> Results(None).key_of({"task": "a"}) == Results(None).key_of({"task": "b"})
        False
        """
        plain = json.dumps(settings, sort_keys=True, default=str)
        return hashlib.sha256(plain.encode()).hexdigest()[:_DIGITS]

    def find(self, key: str) -> tuple[TaskScore, Any] | None:
        """Return a score and the table of its items, or None; a file that is damaged counts as none."""
        if self.folder is None or not (path := self.folder / f"{key}.json").is_file():
            return None
        try:
            record = from_json(TaskScore, json.dumps(json.loads(path.read_text("utf-8"))["result"]))
            return record, self._read_items(key) if record.items else None
        except (BadInput, OSError, ValueError, KeyError):
            return None

    def keep(self, key: str, settings: dict[str, Any], record: TaskScore, items: Any) -> None:
        """Write a score and its items; the score last, since it says that both are there."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if items is not None:
            write_items(self.folder / f"{key}.parquet", items)
        content = {"settings": settings, "result": json.loads(to_json(record))}
        write_text(self.folder / f"{key}.json", json.dumps(content, indent=1, default=str) + "\n")

    def _read_items(self, key: str) -> Any:
        import pyarrow.parquet as pq

        if self.folder is None:
            return None
        return pq.read_table(self.folder / f"{key}.parquet")


def write_items(path: Path, items: Any) -> None:
    """Write a table of items as Parquet, whole or not at all."""
    import pyarrow.parquet as pq

    with write_whole(path) as temporary:
        pq.write_table(items, temporary, compression="zstd")
