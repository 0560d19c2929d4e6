"""Whether the parts of a folder are those that its manifest describes: by their footers, and by the checksums of pages.

A footer has the settings, the schema and the place of every page, and takes a few kilobytes. Pages have checksums of
their own, which are compared when they are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from cenote.embedding.manifest import MANIFEST
from cenote.embedding.parts import Part, name_of_part, parts_in, read_footer, settings_of_parts
from cenote.errors import BadInput
from cenote.listener import Advance
from cenote.records import Manifest
from cenote.storage import is_access_error

REWRITE = "delete it, and run the same embed again"
# A Parquet file ends with its footer, the footer's length in 4 bytes, and 4 letters.
_LENGTH, _END = 4, 8


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Turn a failure to read a part into an error that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadInput(f"{path} is missing: run the same embed again.") from error
    except (pa.ArrowException, OSError) as error:
        remedy = "check its permissions and its disk" if is_access_error(error) else REWRITE
        raise BadInput(f"{path} cannot be read ({error}): {remedy}.") from error


def refuse_short(table: pa.Table, rows: int) -> None:
    """Raise if columns lack rows: the header of a page, which has no checksum, may have lost its count of them."""
    if lengths := {len(column) for column in table.itercolumns()} - {rows}:
        raise pa.ArrowInvalid(f"a column has {min(lengths):,} of {rows:,} rows")


def footer_checksum(path: Path, rows: int) -> str:
    """Return a checksum of a part's footer, and of the number of its rows that the manifest has."""
    with explain_damage(path), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END))
        length = int.from_bytes(file.read(_LENGTH), "little")
        file.seek(max(0, size - _END - length))
        return blake2b(b"%d " % rows + file.read(), digest_size=8).hexdigest()


def checked_part(path: Path, manifest: Manifest) -> Part:
    """Return the footer of a part; raise if the manifest describes another part."""
    part, settings, _ = read_footer(path)
    if settings != settings_of_parts(manifest):
        raise BadInput(
            f"{path} has other settings than {MANIFEST}: it belongs to another folder. Delete it, or begin anew with "
            "restart (--restart)."
        )
    if manifest.counts is not None and part.index < len(manifest.counts.rows):
        rows, footers = manifest.counts.rows[part.index], manifest.counts.footers
        if part.rows != rows:
            raise BadInput(f"{path} has {part.rows:,} rows, and {MANIFEST} counts {rows:,}: {REWRITE}.")
        if footers is not None and footers[part.index] != footer_checksum(path, rows):
            raise BadInput(f"{path} changed after it was written (its footer is not that of {MANIFEST}): {REWRITE}.")
    return part


def refuse_changed(folder: Path, manifest: Manifest) -> None:
    """Raise if the parts of a complete folder are not those that its manifest counts. Footers alone are read."""
    counts = manifest.counts
    if counts is None:
        return
    if not counts.rows or (counts.footers is not None and len(counts.footers) != len(counts.rows)):
        raise BadInput(f"{folder / MANIFEST} is damaged: its counts have {len(counts.rows)} parts.")
    for index, rows in enumerate(counts.rows):
        path = folder / name_of_part(index)
        if counts.footers is None or counts.footers[index] != footer_checksum(path, rows):
            checked_part(path, manifest)
    if more := parts_in(folder)[len(counts.rows) :]:
        raise BadInput(f"{more[0]} is not counted in {MANIFEST}: delete it, if it is not of this folder.")


def refuse_damaged(path: Path, advance: Advance) -> None:
    """Read all pages of a part, and compare their checksums; raise if one differs, or if rows are missing."""
    with explain_damage(path), parquet.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            refuse_short(file.read_row_group(group), rows)
            advance(rows)
