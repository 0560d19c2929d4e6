"""The Parquet parts: embedded rows as a table, written whole or not at all, with a footer that says what they hold.

A part's file gets its name once it is complete and on the disk. Its footer repeats the manifest's settings, so that a
killed run needs only the folder to go on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from cenote.embedding.manifest import UNCOMPARED
from cenote.embedding.options import SEVERAL_ROWS, WRITTEN, Options
from cenote.embedding.rows import Embedded, Rows
from cenote.encoding.tokens import Whole
from cenote.errors import BadInput
from cenote.functional.quantisation import quantise
from cenote.json_records import from_data
from cenote.records import Manifest
from cenote.storage import is_access_error, write_whole

VECTOR_TYPES: dict[str, Any] = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}
_KEY = b"cenote"
_NAME = re.compile(r"part-(\d{5,})\.parquet")
# The path of the vectors' numbers: in lists of fixed size, as parts have them.
_VECTORS = "embedding.list.element"
# Rows of a group: the fewest that are read to get at one of them. Fewer where their kept values take more bytes:
# windows repeat those of their text, and a reader holds a group in memory.
_GROUP, _GROUP_BYTES = 1024, 2**26


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
    read: int | None = None  # tokens that the model was given; None in parts of earlier versions


@dataclass(frozen=True, eq=False)
class KeptColumns:
    """The kept columns of a part, which are joined to its rows group by group: windows repeat those of their text."""

    values: pa.Table  # a row for each text
    row: Whole  # [R], the row of `values` for each row of the part

    def of(self, rows: slice) -> pa.Table:
        """Return the columns for some rows of the part."""
        return self.values.take(pa.array(self.row[rows]))

    def sizes(self) -> Whole:
        """Return about how many bytes the values of each row of the part take: [R]."""
        sizes = np.zeros(len(self.values), np.int64)
        for column in self.values.columns:
            if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
                sizes += compute.binary_length(column).fill_null(0).to_numpy()
            else:
                sizes += column.nbytes // max(1, len(column))
        return sizes[self.row]


def part_of(embedded: Embedded, options: Options) -> tuple[Part, pa.Table, list[dict[str, Any]], KeptColumns | None]:
    """Return the footer of a part, its table, the rows of the input that it leaves out, and its kept columns."""
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
        read=embedded.read,
    )
    kept = None if part.kept is None else KeptColumns(part.kept, rows.owner)
    return footer, pa.table(columns), sorted(embedded.rejected, key=lambda one: int(one["row"])), kept


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
    folder: Path,
    manifest: Manifest,
    part: Part,
    table: pa.Table,
    rejects: Sequence[dict[str, Any]],
    kept: KeptColumns | None = None,
    *,
    by: str = "",
) -> None:
    """Write a part, whole or not at all. `by` distinguishes processes that write the same part."""
    footer = {"of": settings_of_parts(manifest), **asdict(part), "rejects": rejects}
    about = {_KEY: json.dumps(footer, ensure_ascii=False).encode()}
    groups = _row_groups(table, kept)
    first = next(groups)
    with write_whole(folder / name_of_part(part.index), by) as path:
        write_groups(path, first.schema.with_metadata(about), chain((first,), groups), _order_of(table))


def write_groups(path: Path, schema: pa.Schema, groups: Iterable[pa.Table], order: Sequence[str]) -> None:
    """Write tables as the row groups of a Parquet file, sorted by the columns of `order`."""
    leaves = _leaves_of(schema)
    others = [leaf for leaf in leaves if leaf != _VECTORS]
    with parquet.ParquetWriter(
        path,
        schema,
        # A value that windows repeat is written once in each group.
        use_dictionary=[leaf for leaf in others if leaf not in WRITTEN],
        dictionary_pagesize_limit=_GROUP_BYTES,
        write_page_checksum=True,  # a reader then notices a bit that the disk lost
        write_page_index=True,
        sorting_columns=[parquet.SortingColumn(leaves.index(name)) for name in order] or None,
        # Vectors do not compress, and the range of their numbers helps no reader.
        compression={**dict.fromkeys(others, "zstd"), _VECTORS: "none"},
        write_statistics=others,
    ) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=max(1, len(group)))


def _row_groups(table: pa.Table, kept: KeptColumns | None) -> Iterator[pa.Table]:
    """Yield the rows of a part in groups, the kept columns after the ids; one group without rows where it has none."""
    sizes = np.zeros(len(table), np.int64) if kept is None else kept.sizes()
    start = 0
    for end in group_ends(sizes, _GROUP, _GROUP_BYTES) or [0]:
        group = table.slice(start, end - start)
        if kept is not None:
            for place, column in enumerate(kept.of(slice(start, end)).itercolumns(), 1):
                group = group.add_column(place, kept.values.schema.field(place - 1), column)
        yield group
        start = end


def group_ends(sizes: Whole, rows: int, most: int) -> list[int]:
    """Return the ends of consecutive groups of at most so many rows, and of at most `most` bytes or one row.

    >>> group_ends(np.array([1, 1, 1, 9, 1, 1]), rows=2, most=4)
    [2, 3, 4, 6]
    """
    ends: list[int] = []
    count = total = 0
    for place, size in enumerate(sizes.tolist()):
        if count and (count == rows or total + size > most):
            ends.append(place)
            count = total = 0
        count, total = count + 1, total + size
    return [*ends, len(sizes)] if count else ends


def _order_of(table: pa.Table) -> list[str]:
    """Return the columns that the rows are sorted by, if their ids ascend: as strings, so that 10 comes before 2."""
    by = [name for name in ("parent_id", "window") if name in table.column_names] or ["id"]
    ids = table.column(by[0]).to_pylist()
    return by if all(one <= other for one, other in pairwise(ids)) else []


def _leaves_of(schema: pa.Schema) -> list[str]:
    """Return the paths under which Parquet keeps the values of the columns: a list has one of its elements."""
    sink = pa.BufferOutputStream()
    parquet.ParquetWriter(sink, schema).close()
    with parquet.ParquetFile(pa.BufferReader(sink.getvalue())) as file:
        return [file.schema.column(place).path for place in range(len(file.schema))]


def settings_of_parts(manifest: Manifest) -> dict[str, Any]:
    """Return the settings and versions that every part of a folder repeats in its footer."""
    return {**{k: v for k, v in manifest.settings.items() if k not in UNCOMPARED}, **manifest.versions}


def read_footer(path: Path) -> tuple[Part, dict[str, Any], list[dict[str, Any]]]:
    """Return a part, its settings, and the rows that were left out of it."""
    try:
        about = parquet.read_metadata(path)
        if _KEY not in (about.metadata or {}):
            raise ValueError("embed did not write it")
        found = from_data(dict[str, Any], json.loads(about.metadata[_KEY]))
        of, rejects = found.pop("of", None), found.pop("rejects", None)
        part = from_data(Part, found)
        if path.name != name_of_part(part.index):
            raise ValueError(f"it was written as {name_of_part(part.index)}")
        if about.num_rows != part.rows:
            raise ValueError(f"it has {about.num_rows:,} rows, and its footer counts {part.rows:,}")
        return part, from_data(dict[str, Any], of), from_data(list[dict[str, Any]], rejects)
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        if is_access_error(error):
            raise BadInput(f"{path} cannot be read ({error}): see to its permissions and its disk.") from error
        raise BadInput(f"{path} is a damaged part ({error}): delete it, and run again to write it anew.") from error


def parts_in(folder: Path) -> list[Path]:
    """Return the files in a folder that have the name of a part, in order."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def name_of_part(index: int) -> str:
    """Return the file name of a part."""
    return f"part-{index:05d}.parquet"
