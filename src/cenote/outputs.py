"""The folder that `embed` writes: parts that appear whole or not at all, and a manifest that says what they are of.

A part's file has its name only once it is complete and on the disk. What a part is of stands in its own footer, so that
a run that was killed needs nothing but the folder to go on.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from cenote.errors import BadInput
from cenote.files import TEMPORARY, alone, refused, sweep, sync, told, whole, write
from cenote.results import SCHEMA, Counts, Manifest, from_json, to_json
from cenote.sources import Stretch

MANIFEST, REJECTS = "manifest.json", "rejects.jsonl"
_PART = re.compile(r"part-(\d{5,})\.parquet")
_KEY = b"cenote"
# Rows of a group: so many are read at least to get at one of them.
_GROUP = 1024
# What may differ from run to run, since a model that was moved is the same one, and so is a file; and the fingerprints
# that tell what they name.
_NAMES = {"model": "fingerprint", "source": "texts_fingerprint"}
# What two fingerprints say that differ.
_WHAT = {"fingerprint": ", of other weights", "texts_fingerprint": ", of other texts or ids"}


@dataclass(frozen=True)
class Part:
    """What stands in a part's footer."""

    index: int
    first: int  # row of the input with which it begins
    texts: int  # rows of the input
    rows: int  # rows of the part, more than texts where those are read in windows
    fingerprint: str  # of its texts
    truncated: int
    tokens: int
    rejected: int  # rows of the input that were left out


class Output:
    """An opened folder. `done` are the parts that are there already, by their numbers."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.done = {part.index: part for part in _parts(folder, manifest)}

    def write(self, part: Part, table: pa.Table, rejects: Sequence[dict[str, Any]] = ()) -> None:
        """One part, whole or not at all; what was left out of it, and why, stands in its footer alone."""
        self.unfinish()
        write_part(self.folder, self.manifest, part, table, rejects)
        self.done[part.index] = part

    def unfinish(self) -> None:
        """Say that not all is there, before anyone writes: of a complete folder a part was deleted."""
        if self.manifest.complete:
            self._amend(complete=False, counts=None)

    def look(self) -> None:
        """Find the parts that others wrote, and remove what those left who did not come to an end."""
        self.done = {part.index: part for part in _parts(self.folder, self.manifest)}
        sweep(self.folder)

    def refuse_rejects(self) -> None:
        """Raise if rows were left out by an earlier run, where none is to be."""
        if left := next((part for part in self.done.values() if part.rejected), None):
            raise BadInput(
                f"{str(self.folder)!r} was begun with on_error='skip', and rows from row {left.first} on were left "
                "out: call it as it was begun, or begin anew with restart (--restart), which deletes what is there."
            )

    def finish(self) -> Manifest:
        """Say that all is there."""
        parts = [self.done[index] for index in sorted(self.done)]
        if any(part.rejected for part in parts):
            self._list_rejects([part.index for part in parts if part.rejected])
        counts = Counts(
            texts=sum(part.texts for part in parts),
            rows=tuple(part.rows for part in parts),
            truncated=sum(part.truncated for part in parts),
            tokens=sum(part.tokens for part in parts),
            rejected=sum(part.rejected for part in parts),
        )
        self._amend(complete=True, counts=counts)
        return self.manifest

    def _list_rejects(self, parts: list[int]) -> None:
        """From the footers, one part's at a time: of a bad corpus there may be millions."""
        with whole(self.folder / REJECTS) as temporary, temporary.open("w", encoding="utf-8") as file:
            for index in parts:
                for one in _footer(self.folder / name_of_part(index))[2]:
                    file.write(json.dumps(one, ensure_ascii=False) + "\n")

    def _amend(self, **changes: Any) -> None:
        self.manifest = replace(self.manifest, **changes)
        write(self.folder / MANIFEST, to_json(self.manifest))


def refuse_unfit(folder: Path) -> Manifest | None:
    """What is wrong with a folder to write into, told before there is any work to lose. It is not made yet.

    Returns:
        What an earlier run says of it, None where there was none.
    """
    there = None
    with told(folder):  # nor may a folder above let us see what is in it
        above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not above.is_dir():
            raise BadInput(f"{str(above)!r} is a file: name a folder to write into.")
        if above == folder:
            with alone(folder):
                there = _refuse_strange(folder)
    if not os.access(above, os.W_OK | os.X_OK):
        raise BadInput(f"cannot write into {str(above)!r}: permission denied. Name another folder.")
    return there


def write_part(
    folder: Path, manifest: Manifest, part: Part, table: pa.Table, rejects: Sequence[dict[str, Any]], *, by: str = ""
) -> None:
    """A part, whole or not at all, into a folder that may be another's: `by` tells writers of the same part apart."""
    footer = {"of": _about(manifest), **asdict(part), "rejects": rejects}
    about = {_KEY: json.dumps(footer, ensure_ascii=False).encode()}
    vectors = [name for name in table.column_names if name == "embedding"]
    others = {name: "zstd" for name in table.column_names if name not in vectors}
    with whole(folder / name_of_part(part.index), by) as path:
        parquet.write_table(
            table.replace_schema_metadata(about),
            path,
            row_group_size=_GROUP,
            use_dictionary=False,
            write_page_checksum=True,  # so that a reader sees where the disk has lost a bit
            # Vectors do not compress; their groups are found by rows, not by the range of their numbers.
            compression=others | dict.fromkeys(_leaves(table, vectors), "none"),
            write_statistics=list(others),
        )


def there(done: int, rows: int) -> str:
    """What is said of the texts that an earlier run embedded; `rows` is how many there are, 0 if nobody knows."""
    return f"all {done:,} texts are there already" if done == rows else f"going on: {done:,} texts are there"


def missing(parts: Iterable[Stretch], done: Mapping[int, Part], folder: Path) -> Iterator[Stretch]:
    """The parts that are not there yet; that the others are of the same texts is known, and raised if not."""
    seen = set()
    for part in parts:
        seen.add(part.index)
        there = done.get(part.index)
        if there is None:
            yield part
        elif (there.first, there.texts, there.fingerprint) != (part.first, part.rows, part.fingerprint):
            raise BadInput(
                f"rows {part.first} to {part.first + part.rows - 1} are not those that {str(folder)!r} was made of. "
                "Name another folder, or begin anew with restart (--restart), which deletes what is there."
            )
    if lost := sorted(set(done) - seen):
        raise BadInput(f"part {lost[0]} of {str(folder)!r} is of texts that the input no longer has.")


@contextmanager
def opened(
    folder: Path,
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
    *,
    restart: bool,
    agreement: float | None = None,
) -> Iterator[Output]:
    """The folder, ours alone while it is open: new, begun anew, or as an earlier run left it.

    Raises:
        BadInput: where the folder holds anything else, or an output of other settings, or where another run writes.
    """
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        there = _refuse_strange(folder)
        with told(folder):
            sweep(folder)
        # As it would be read again: what is compared with it was.
        new = Manifest(SCHEMA, False, False, dict(settings), dict(versions), agreement, None)
        wanted = from_json(Manifest, to_json(new))
        if there is not None and not restart:
            refuse_others(folder, there, {**wanted.settings, **wanted.versions})
            wanted = replace(there, clearing=False)
        if there is not None and (restart or there.clearing):  # or a restart that was killed
            _clear(folder, wanted)
        elif there is None:
            write(folder / MANIFEST, to_json(wanted))
        yield Output(folder, wanted)


def manifest_of(folder: str | Path) -> Manifest:
    """What a folder says it holds."""
    path = Path(folder) / MANIFEST
    try:
        return from_json(Manifest, path.read_text("utf-8"))
    except OSError as error:
        raise BadInput(
            f"{str(folder)!r} is no output of embed: {path.name} cannot be read ({error.strerror})."
        ) from error
    except ValueError as error:  # UTF-8 it may not even be
        raise BadInput(f"{path} is no manifest of embed: {error} Name another folder.") from error


def _refuse_strange(folder: Path) -> Manifest | None:
    """The manifest, none in an empty folder; a folder that holds anything else is somebody else's."""
    if (folder / MANIFEST).exists():
        return manifest_of(folder)
    strange = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(TEMPORARY))
    if strange:
        raise BadInput(
            f"{str(folder)!r} holds {strange[0]!r} and no {MANIFEST}: it is no output of embed. Name a new folder."
        )
    return None


def _clear(folder: Path, wanted: Manifest) -> None:
    """Delete what was written, for another output to take its place.

    The manifest is the new one before the first part is gone, and says until the last one is that none of them counts:
    killed in between, a run with or without restart goes on with deleting.
    """
    write(folder / MANIFEST, to_json(replace(wanted, clearing=True)))
    with told(folder):
        for name in sorted(entry.name for entry in folder.iterdir()):
            if _PART.fullmatch(name) or name == REJECTS:
                (folder / name).unlink()
        sync(folder)
    write(folder / MANIFEST, to_json(wanted))


def refuse_others(folder: Path, there: Manifest, new: Mapping[str, Any]) -> None:
    """Raise if a folder is of other settings or versions than those, as far as they are known."""
    old = {**there.settings, **there.versions}
    names = [name for name in sorted(new) if name not in _NAMES]
    called = {fingerprint: name for name, fingerprint in _NAMES.items()}

    def value(of: Mapping[str, Any], name: str) -> str:
        return f"{of.get(called[name])!r} ({of.get(name)})" if name in called else repr(of.get(name))

    different = [
        f"{called.get(name, name)} is {value(old, name)} there and {value(new, name)} now{_WHAT.get(name, '')}"
        for name in names
        if old.get(name) != new.get(name)
    ]
    if different:
        raise BadInput(
            f"{str(folder)!r} holds embeddings of another kind: {'; '.join(different)}. Name another folder, call it "
            "as it was begun, or begin anew with restart (--restart), which deletes what is there."
        )


def _about(manifest: Manifest) -> dict[str, Any]:
    """What a part has to be of to belong to the folder."""
    return {**{k: v for k, v in manifest.settings.items() if k not in _NAMES}, **manifest.versions}


def _parts(folder: Path, manifest: Manifest) -> Iterator[Part]:
    for path in sorted(folder.iterdir()):
        if _PART.fullmatch(path.name) is None:
            continue
        part, of, _ = _footer(path)
        if of != _about(manifest):
            raise BadInput(f"{path} is of other settings than {MANIFEST} says: begin anew with restart (--restart).")
        yield part


def _footer(path: Path) -> tuple[Part, dict[str, Any], list[dict[str, Any]]]:
    """A part, what it is of, and the rows that were left out of it."""
    try:
        found = json.loads((parquet.read_metadata(path).metadata or {})[_KEY])
        of, rejects = found.pop("of"), found.pop("rejects")
        part = Part(**found)
        if path.name != name_of_part(part.index):
            raise ValueError(f"it was written as {name_of_part(part.index)}")
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        if refused(error):
            raise BadInput(f"{path} cannot be read ({error}): see to its permissions and its disk.") from error
        raise BadInput(f"{path} is no sound part ({error}): delete it, and run again to write it anew.") from error
    return part, of, rejects


def name_of_part(index: int) -> str:
    """What the file of a part is called."""
    return f"part-{index:05d}.parquet"


def _leaves(table: pa.Table, names: list[str]) -> list[str]:
    """The paths that Parquet gives the numbers of lists."""
    return [f"{name}.list.element" for name in names if pa.types.is_fixed_size_list(table.schema.field(name).type)]
