"""The Parquet parts: embedded rows as a table, written whole or not at all, with a footer that says what they hold.

A part's file gets its name once it is complete and on the disk. Its footer repeats the manifest's settings, so that a
killed run needs only the folder to go on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from cenote.embedding.manifest import NAMES
from cenote.embedding.options import SEVERAL_ROWS, Options
from cenote.embedding.rows import Embedded, Rows
from cenote.errors import BadInput
from cenote.functional.quantisation import quantise
from cenote.records import Manifest
from cenote.storage import is_access_error, write_whole

VECTOR_TYPES: dict[str, Any] = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}
_KEY = b"cenote"
# Rows of a group: the fewest that are read to get at one of them.
_GROUP = 1024


@dataclass(frozen=True)
class Part:
    """The footer of a part."""

    index: int
    first: int  # its first row in the input
    texts: int  # rows of the input
    rows: int  # rows of the part, more than texts where those are read in windows or segments
    fingerprint: str  # of its texts
    truncated: int
    tokens: int
    rejected: int  # rows of the input that were left out


def part_of(embedded: Embedded, options: Options) -> tuple[Part, pa.Table, list[dict[str, Any]]]:
    """Return the footer of a part, its table, and the rows of the input that it leaves out, with reasons."""
    part, rows = embedded.slice, embedded.rows
    ids = [part.texts[owner].id for owner in rows.owner.tolist()]
    columns: dict[str, Any] = _piece_columns(rows, ids) if options.long in SEVERAL_ROWS else {"id": _strings(ids)}
    columns |= _vector_columns(rows.vector, options.dtype) | {
        "n_tokens": pa.array(rows.n_tokens, pa.int64()),
        "truncated": pa.array(rows.truncated, pa.bool_()),
    }
    footer = Part(
        index=part.index,
        first=part.first,
        texts=part.rows,
        rows=len(rows),
        fingerprint=part.fingerprint,
        truncated=embedded.truncated,
        tokens=embedded.tokens,
        rejected=len(embedded.rejected),
    )
    return footer, pa.table(columns), sorted(embedded.rejected, key=lambda one: int(one["row"]))


def _piece_columns(rows: Rows, ids: list[str]) -> dict[str, Any]:
    """Return the columns that say which window, or which segment, of which text a row is."""
    return {
        "id": _strings([f"{name}#{number}" for name, number in zip(ids, rows.window.tolist(), strict=True)]),
        "parent_id": _strings(ids),
        "window": pa.array(rows.window, pa.int32()),
        "start": pa.array(rows.start, pa.int64()),
        "end": pa.array(rows.end, pa.int64()),
    }


def _vector_columns(vectors: Any, dtype: str) -> dict[str, Any]:
    """Return the column of vectors; for int8 also each row's scale, so that no row depends on another."""
    if dtype != "int8":
        return {"embedding": _lists(vectors.astype(dtype), dtype)}
    numbers, scales = quantise(vectors)
    return {"embedding": _lists(numbers, dtype), "scale": pa.array(scales, pa.float32())}


def _lists(vectors: Any, dtype: str) -> Any:
    flat = pa.array(np.ascontiguousarray(vectors).ravel(), VECTOR_TYPES[dtype])
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def _strings(values: list[str]) -> Any:
    return pa.array(values, pa.string())


def write_part(
    folder: Path, manifest: Manifest, part: Part, table: pa.Table, rejects: Sequence[dict[str, Any]], *, by: str = ""
) -> None:
    """Write a part, whole or not at all. `by` distinguishes processes that write the same part."""
    footer = {"of": settings_of_parts(manifest), **asdict(part), "rejects": rejects}
    about = {_KEY: json.dumps(footer, ensure_ascii=False).encode()}
    vectors = [name for name in table.column_names if name == "embedding"]
    others = {name: "zstd" for name in table.column_names if name not in vectors}
    with write_whole(folder / name_of_part(part.index), by) as path:
        parquet.write_table(
            table.replace_schema_metadata(about),
            path,
            row_group_size=_GROUP,
            use_dictionary=False,
            write_page_checksum=True,  # a reader then notices a bit that the disk lost
            # Vectors do not compress, and the range of their numbers helps no reader.
            compression=others | dict.fromkeys(_leaves(table, vectors), "none"),
            write_statistics=list(others),
        )


def settings_of_parts(manifest: Manifest) -> dict[str, Any]:
    """Return the settings and versions that every part of a folder repeats in its footer."""
    return {**{k: v for k, v in manifest.settings.items() if k not in NAMES}, **manifest.versions}


def read_footer(path: Path) -> tuple[Part, dict[str, Any], list[dict[str, Any]]]:
    """Return a part, its settings, and the rows that were left out of it."""
    try:
        found = json.loads((parquet.read_metadata(path).metadata or {})[_KEY])
        of, rejects = found.pop("of"), found.pop("rejects")
        part = Part(**found)
        if path.name != name_of_part(part.index):
            raise ValueError(f"it was written as {name_of_part(part.index)}")
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        if is_access_error(error):
            raise BadInput(f"{path} cannot be read ({error}): see to its permissions and its disk.") from error
        raise BadInput(f"{path} is a damaged part ({error}): delete it, and run again to write it anew.") from error
    return part, of, rejects


def name_of_part(index: int) -> str:
    """Return the file name of a part."""
    return f"part-{index:05d}.parquet"


def _leaves(table: pa.Table, names: list[str]) -> list[str]:
    """Return the paths under which Parquet keeps the numbers of lists."""
    return [f"{name}.list.element" for name in names if pa.types.is_fixed_size_list(table.schema.field(name).type)]
