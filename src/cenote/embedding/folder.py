"""The folder that `embed` writes: which parts it holds, which are missing, and its manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from cenote.embedding.corpus import Slice
from cenote.embedding.integrity import checked_part, footer_checksum, refuse_damaged
from cenote.embedding.manifest import INDEXES, MANIFEST, refuse_foreign, refuse_other_settings
from cenote.embedding.parts import (
    KeptColumns,
    Part,
    name_of_part,
    parts_in,
    read_footer,
    write_part,
)
from cenote.errors import BadInput
from cenote.json_records import from_json, to_json
from cenote.listener import Advance, Listener, silent
from cenote.records import Counts, Manifest
from cenote.storage import (
    delete_temporary_files,
    explain_disk_errors,
    lock_folder,
    sync_folder,
    write_text,
    write_whole,
)

REJECTS = "rejects.jsonl"
# The step in which the texts of finished parts are read again.
COMPARING = "comparing the texts of finished parts"


class Output:
    """An opened folder. `done` are the parts that it holds, by their numbers."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest, self.verified = folder, manifest, False
        self.done = _parts(folder, manifest)

    def write(
        self, part: Part, table: pa.Table, rejects: Sequence[dict[str, Any]] = (), kept: KeptColumns | None = None
    ) -> None:
        """Write one part, whole or not at all. The rows left out of it, with reasons, stand in its footer."""
        self.unfinish()
        write_part(self.folder, self.manifest, part, table, rejects, kept)
        self.done[part.index] = part

    def unfinish(self) -> None:
        """Mark the folder as incomplete before a part is written: a part of a complete folder was deleted."""
        if self.manifest.complete:
            self._amend(complete=False, counts=None)

    def refresh(self) -> None:
        """Find the parts that other processes wrote, and delete temporary files of interrupted ones."""
        self.done = _parts(self.folder, self.manifest)
        delete_temporary_files(self.folder)

    def verify(self, listener: Listener) -> None:
        """Read every page of the parts that are there; raise if one is damaged."""
        step = listener.step("verifying", sum(part.rows for part in self.done.values()))
        for index in sorted(self.done):
            refuse_damaged(self.folder / name_of_part(index), step)
        self.verified = True

    def resume_notice(self, rows: int) -> str:
        """Say how many texts an earlier run embedded, and what of it was checked; `rows` of the input, or 0."""
        done = sum(part.texts for part in self.done.values())
        if done != rows:
            return f"going on: {done:,} texts are embedded"
        checked = "every page of the parts was" if self.verified else "the footers of the parts were"
        return f"all {done:,} texts are embedded already: {checked} checked" + (
            "" if self.verified else " (--verify reads every page)"
        )

    def refuse_rejects(self) -> None:
        """Raise if an earlier run left rows out, which this run does not allow."""
        if left := next((part for part in self.done.values() if part.rejected), None):
            raise BadInput(
                f"{str(self.folder)!r} was started with on_error='skip', and rows after row {left.first} were left "
                "out: pass on_error='skip' again, or begin anew with restart (--restart), which deletes what is there."
            )

    def finish(self) -> Manifest:
        """Mark the folder as complete, with its counts."""
        parts = [self.done[index] for index in sorted(self.done)]
        listed = self.manifest.complete and (self.folder / REJECTS).exists()
        if any(part.rejected for part in parts) and not listed:
            self._list_rejects([part.index for part in parts if part.rejected])
        read = [part.read for part in parts if part.read is not None]
        counts = Counts(
            texts=sum(part.texts for part in parts),
            rows=tuple(part.rows for part in parts),
            truncated=sum(part.truncated for part in parts),
            tokens=sum(part.tokens for part in parts),
            rejected=sum(part.rejected for part in parts),
            read=sum(read) if len(read) == len(parts) else None,
            footers=tuple(footer_checksum(self.folder / name_of_part(part.index), part.rows) for part in parts),
        )
        self._amend(complete=True, counts=counts)
        return self.manifest

    def _list_rejects(self, parts: list[int]) -> None:
        """Collect rejected rows from the footers, one part at a time: a bad corpus may have millions."""
        with write_whole(self.folder / REJECTS) as temporary, temporary.open("w", encoding="utf-8") as file:
            for index in parts:
                for one in read_footer(self.folder / name_of_part(index))[2]:
                    file.write(json.dumps(one, ensure_ascii=False) + "\n")

    def _amend(self, **changes: Any) -> None:
        changed = replace(self.manifest, **changes)
        if to_json(changed) != to_json(self.manifest):  # a complete folder may be read-only
            write_text(self.folder / MANIFEST, to_json(changed))
        self.manifest = changed


def missing_parts(
    parts: Iterable[Slice], done: Mapping[int, Part], folder: Path, advance: Advance = silent
) -> Iterator[Slice]:
    """Yield the slices whose parts are missing; raise if a part that is there is of other texts.

    `advance` is called with the texts of each part that is there, until the first slice is yielded: then other work is
    in progress.
    """
    seen = set()
    for part in parts:
        seen.add(part.index)
        there = done.get(part.index)
        if there is None:
            advance = silent
            yield part
        elif (there.first, there.texts, there.fingerprint) != (part.first, part.rows, part.fingerprint):
            raise BadInput(
                f"rows {part.first} to {part.first + part.rows - 1} are not those that {str(folder)!r} was made of. "
                "Name another folder, or begin anew with restart (--restart), which deletes what is there."
            )
        else:
            advance(part.rows)
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
    neighbours: float | None = None,
) -> Iterator[Output]:
    """Open the folder, locked: new, begun anew, or as an earlier run left it.

    Raises:
        BadInput: the folder holds other files or an output of other settings, or another run writes into it.
    """
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder):
        there = refuse_foreign(folder)
        delete_temporary_files(folder)
        # Through JSON, as the manifest that it is compared with was.
        new = Manifest(Manifest.SCHEMA, False, False, dict(settings), dict(versions), agreement, None, neighbours)
        wanted = from_json(Manifest, to_json(new))
        if there is not None and not restart:
            refuse_other_settings(folder, there, {**wanted.settings, **wanted.versions})
            wanted = replace(there, clearing=False)
        if there is not None and (restart or there.clearing):  # or a restart that was killed
            _clear(folder, wanted)
        elif there is None:
            write_text(folder / MANIFEST, to_json(wanted))
        yield Output(folder, wanted)


def _clear(folder: Path, wanted: Manifest) -> None:
    """Delete what an earlier run wrote.

    The new manifest is written before the first part is deleted, and is marked `clearing` until the last one is: a run
    that finds this mark, with or without restart, goes on deleting.
    """
    write_text(folder / MANIFEST, to_json(replace(wanted, clearing=True)))
    with explain_disk_errors(folder):
        for path in [*parts_in(folder), *folder.glob(INDEXES)]:
            path.unlink()
        (folder / REJECTS).unlink(missing_ok=True)
        sync_folder(folder)
    write_text(folder / MANIFEST, to_json(wanted))


def _parts(folder: Path, manifest: Manifest) -> dict[int, Part]:
    """Return the parts that a folder holds, by their numbers."""
    parts = (checked_part(path, manifest) for path in parts_in(folder))
    return {part.index: part for part in parts}
