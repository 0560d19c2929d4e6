"""The folder that `embed` writes: parts that appear whole or not at all, and a manifest that says what they are of.

A part's file has its name only once it is complete and on the disk. What a part is of stands in its own footer, so that
a run that was killed needs nothing but the folder to go on.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from cenote.errors import BadInput, CenoteError
from cenote.results import SCHEMA, Counts, Manifest, from_json, to_json

MANIFEST, REJECTS = "manifest.json", "rejects.jsonl"
_PART, _TEMPORARY = re.compile(r"part-(\d{5,})\.parquet"), ".cenote-"
_KEY = b"cenote"
# Rows of a group: so many are read at least to get at one of them.
_GROUP = 1024
# What may differ from run to run: a folder that was moved holds the same model, and a file the same texts.
_NAMES = ("model", "source")


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
    clipped: int  # numbers beyond the scale of int8
    rejected: tuple[dict[str, Any], ...]


class Output:
    """An opened folder. `done` are the parts that are there already, by their numbers."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.done = {part.index: part for part in _parts(folder, manifest)}

    def write(self, part: Part, table: pa.Table) -> None:
        """One part, whole or not at all."""
        write_part(self.folder, self.manifest, part, table)
        self.done[part.index] = part

    def look(self) -> None:
        """Find the parts that others wrote, and remove what those left who did not come to an end."""
        self.done = {part.index: part for part in _parts(self.folder, self.manifest)}
        _sweep(self.folder)

    def rescale(self, scales: tuple[float, ...]) -> None:
        """Keep the scales of int8, before the first part that is written by them."""
        self.manifest = replace(self.manifest, scales=scales)
        _write(self.folder / MANIFEST, to_json(self.manifest))

    def finish(self) -> Manifest:
        """Say that all is there."""
        parts = [self.done[index] for index in sorted(self.done)]
        if rejected := [one for part in parts for one in part.rejected]:
            _write(self.folder / REJECTS, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rejected))
        counts = Counts(
            texts=sum(part.texts for part in parts),
            rows=tuple(part.rows for part in parts),
            truncated=sum(part.truncated for part in parts),
            tokens=sum(part.tokens for part in parts),
            clipped=sum(part.clipped for part in parts),
            rejected=len(rejected),
        )
        self.manifest = replace(self.manifest, complete=True, counts=counts)
        _write(self.folder / MANIFEST, to_json(self.manifest))
        return self.manifest


def write_part(folder: Path, manifest: Manifest, part: Part, table: pa.Table, *, by: str = "") -> None:
    """A part, whole or not at all, into a folder that may be another's: `by` tells writers of the same part apart."""
    about = {_KEY: json.dumps({"of": _about(manifest), **asdict(part)}, ensure_ascii=False).encode()}
    vectors = [name for name in table.column_names if name == "embedding"]
    others = {name: "zstd" for name in table.column_names if name not in vectors}
    with _whole(folder / f"part-{part.index:05d}.parquet", by) as path:
        parquet.write_table(
            table.replace_schema_metadata(about),
            path,
            row_group_size=_GROUP,
            use_dictionary=False,
            # Vectors do not compress; their groups are found by rows, not by the range of their numbers.
            compression=others | dict.fromkeys(_leaves(table, vectors), "none"),
            write_statistics=list(others),
        )


@contextmanager
def opened(
    folder: Path, settings: Mapping[str, Any], versions: Mapping[str, str], *, restart: bool
) -> Iterator[Output]:
    """The folder, ours alone while it is open: new, begun anew, or as an earlier run left it.

    Raises:
        BadInput: where the folder holds anything else, or an output of other settings, or where another run writes.
    """
    with suppress(FileExistsError), _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir():
        raise BadInput(f"{str(folder)!r} is a file: name a folder to write into.")
    with _alone(folder):
        _sweep(folder)
        wanted = Manifest(SCHEMA, False, dict(settings), dict(versions), None, None)
        there = manifest_of(folder) if (folder / MANIFEST).exists() else None
        if there is None and (strange := sorted(entry.name for entry in folder.iterdir())):
            raise BadInput(
                f"{str(folder)!r} holds {strange[0]!r} and no {MANIFEST}: it is no output of embed. Name a new folder."
            )
        if there is not None and restart:
            for name in sorted(entry.name for entry in folder.iterdir()):
                if _PART.fullmatch(name) or name == REJECTS:
                    (folder / name).unlink()
            there = None
        if there is not None:
            _refuse_others(folder, there, wanted)
            wanted = there
        else:
            _write(folder / MANIFEST, to_json(wanted))
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
    except BadInput as error:
        raise BadInput(f"{path} is no manifest of embed: {error}") from error


def _refuse_others(folder: Path, there: Manifest, wanted: Manifest) -> None:
    old, new = ({**one.settings, **one.versions} for one in (there, wanted))
    names = [name for name in sorted(old.keys() | new.keys()) if name not in _NAMES]
    different = [
        f"{name} is {old.get(name)!r} there and {new.get(name)!r} now"
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
        try:
            found = json.loads((parquet.read_metadata(path).metadata or {})[_KEY])
            of, rejected = found.pop("of"), tuple(found.pop("rejected"))
            part = Part(**found, rejected=rejected)
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise BadInput(
                f"{path} is no sound part ({error!r}): delete it, and run again to write it anew."
            ) from error
        if of != _about(manifest):
            raise BadInput(f"{path} is of other settings than {MANIFEST} says: begin anew with restart (--restart).")
        yield part


def _leaves(table: pa.Table, names: list[str]) -> list[str]:
    """The paths that Parquet gives the numbers of lists."""
    return [f"{name}.list.element" for name in names if pa.types.is_fixed_size_list(table.schema.field(name).type)]


# Files that appear whole or not at all.


def _write(path: Path, text: str) -> None:
    with _whole(path) as temporary:
        temporary.write_text(text, "utf-8")


@contextmanager
def _whole(path: Path, by: str = "") -> Iterator[Path]:
    """A path to write to; what was written gets its name when it is on the disk, or is removed."""
    temporary = path.with_name(f"{_TEMPORARY}{by}{path.name}")
    try:
        with _told(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the folder's names on the disk too, where a folder can be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what the disk says into an error that says how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CenoteError(
                f"no space left to write {path}: what is there is whole. Make room, and run the same again to go on."
            ) from error
        raise BadInput(f"cannot write {path}: {error.strerror or error}.") from error


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"{_TEMPORARY}*"):
        path.unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder locked against a second run; the system lets go of the lock however this one ends."""
    close = _lock(folder)
    try:
        yield
    finally:
        close()


def _lock(folder: Path) -> Callable[[], object]:
    try:
        import fcntl
    except ImportError:  # Windows has no locks on folders: a file that is held open, and gone with the process
        path = folder / f"{_TEMPORARY}lock"
        try:
            path.unlink(missing_ok=True)
            file = path.open("x")
        except OSError as error:
            raise _busy(folder) from error

        def release() -> None:
            file.close()
            path.unlink(missing_ok=True)

        return release
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise _busy(folder) from error
    return lambda: os.close(handle)


def _busy(folder: Path) -> BadInput:
    return BadInput(f"another run is writing into {str(folder)!r}: wait for it, or name another folder.")
