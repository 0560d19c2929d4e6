"""Embeddings read back from a folder: as numpy, and only the rows that are asked for."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute, parquet

from cenote.data.rows import refuse_surrogates
from cenote.data.tables import to_list
from cenote.embedding.integrity import explain_damage, refuse_changed, refuse_short
from cenote.embedding.manifest import complete_manifest
from cenote.embedding.parts import name_of_part
from cenote.errors import BadInput, choose, some
from cenote.functional.quantisation import dequantise
from cenote.records import Manifest

# Rows per batch where a part is read from one end to the other.
_TOGETHER = 8192


def read_embeddings(folder: str | Path) -> Embeddings:
    """Open the embeddings in a folder that `embed` wrote; only the manifest and the footers of the parts are read yet.

    >>> import cenote, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = cenote.embed("minilm", ["a pool", "a cave", "light"], folder)
    ...     found = cenote.read_embeddings(folder)
    ...     found.shape, found.ids, found[1:].shape, found["n_tokens"].tolist()
    ((3, 384), ['0', '1', '2'], (2, 384), [4, 4, 3])
    """
    manifest = complete_manifest(folder)
    refuse_changed(Path(folder), manifest)
    return Embeddings(Path(folder), manifest)


class Embeddings:
    """Vectors and their columns, on the disk. `[...]` takes rows as numpy does, or the name of a column."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        rows = () if manifest.counts is None else manifest.counts.rows
        self._bounds = np.cumsum([0, *rows])
        self._paths = [folder / name_of_part(index) for index in range(len(rows))]

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        for _, vectors in self.batches():
            yield from vectors

    def __repr__(self) -> str:
        return f"Embeddings({str(self.folder)!r}, {len(self):,} rows of {self.shape[1]})"

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of dimensions."""
        return len(self), self._schema.field("embedding").type.list_size

    @property
    def columns(self) -> list[str]:
        """Names of the columns besides the vectors."""
        return [name for name in self._schema.names if name != "embedding"]

    @property
    def ids(self) -> list[str]:
        """The ids of all rows, in order."""
        found: list[str] = self["id"].tolist()
        return found

    def __getitem__(self, wanted: Any) -> npt.NDArray[Any]:
        """Return the vectors of some rows, by a slice, a number or a list of numbers; or a whole column, by name.

        A column of whole numbers in which some are missing is one of objects: None, and Python's own numbers.
        """
        if isinstance(wanted, str):
            choose(wanted, dict.fromkeys(self.columns), "column")
            chunks = chain.from_iterable(self._column(number, wanted) for number in range(len(self._paths)))
            return _values(chunks, self._schema.field(wanted).type)
        rows = np.arange(len(self))[wanted] if isinstance(wanted, slice) else np.asarray(wanted)
        if rows.dtype == bool and rows.shape == (len(self),):
            rows = np.flatnonzero(rows)
        if rows.dtype.kind not in "iu" and rows.size:
            raise BadInput(f"rows {reprlib.repr(wanted)}: pass a slice, whole numbers, or a mask of {len(self)}.")
        if rows.ndim > 1:
            raise BadInput(f"rows have {rows.ndim} dimensions: pass a flat list of them.")
        flat = np.atleast_1d(rows.astype(np.int64))
        if (wrong := flat[(flat < -len(self)) | (flat >= len(self))]).size:
            raise BadInput(f"rows {some(wrong.tolist())}: there are {len(self):,}, counted from 0.")
        vectors = self._vectors(np.where(flat < 0, flat + len(self), flat))
        return vectors if rows.ndim else vectors[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return all vectors."""
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def batches(self, rows: int = _TOGETHER) -> Iterator[tuple[list[str], npt.NDArray[Any]]]:
        """Yield ids and vectors of all rows, so many at a time, in flat memory."""
        if rows < 1:
            raise BadInput(f"rows={rows}: a batch has at least 1.")
        for path in self._paths:
            with explain_damage(path), parquet.ParquetFile(path, page_checksum_verification=True) as file:
                left = file.metadata.num_rows
                for batch in file.iter_batches(rows, columns=["id", *_of_vectors(file.schema_arrow)]):
                    left -= len(batch)
                    yield batch.column("id").to_pylist(), _numbers(batch)
                if left:
                    raise pa.ArrowInvalid(f"{left:,} of {file.metadata.num_rows:,} rows are lost")

    def of(self, ids: Iterable[str | int]) -> npt.NDArray[Any]:
        """Return the vectors of ids, in their order. A number stands for the id of its digits."""
        if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
            raise BadInput(f"ids={reprlib.repr(ids)}: pass a list of ids.")
        names = [_name(one) for one in ids]
        wanted = pa.array(names, pa.string())
        rows, open_ = np.full(len(names), -1, np.int64), np.arange(len(names))
        for path, first in zip(self._paths, self._bounds.tolist(), strict=False):
            if not len(open_):
                break  # all ids are found
            with explain_damage(path), parquet.ParquetFile(path, page_checksum_verification=True) as file:
                table = file.read(["id"])
                refuse_short(table, file.metadata.num_rows)
            there = table.column("id").combine_chunks()
            places = compute.index_in(wanted.take(pa.array(open_)), there).fill_null(-1).to_numpy()
            rows[open_] = np.where(places < 0, -1, first + places)
            open_ = open_[places < 0]
        if len(open_):
            missing = [repr(names[place]) for place in open_.tolist()]
            raise BadInput(f"there is no id {some(missing)} in {str(self.folder)!r}.")
        return self._vectors(rows)

    def describe(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        """Return the columns besides the vectors, for each of some rows."""
        wanted = np.array(list(rows), np.int64)
        found: list[dict[str, Any]] = [{}] * len(wanted)
        for places, table in self._gather(wanted, self.columns):
            for place, *cells in zip(places.tolist(), *map(to_list, table.columns), strict=True):
                found[place] = dict(zip(table.schema.names, cells, strict=True))
        return found

    def part(self, number: int, *columns: str) -> tuple[npt.NDArray[Any], list[npt.NDArray[Any]]]:
        """Return the vectors of a part, and some of its columns."""
        path = self._paths[number]
        with explain_damage(path):
            names = [*_of_vectors(self._schema), *columns]
            table = parquet.read_table(path, columns=names, page_checksum_verification=True)
            refuse_short(table, int(self._bounds[number + 1] - self._bounds[number]))
        return _numbers(_one_batch(table)), [table.column(name).to_numpy() for name in columns]

    def path_of(self, number: int) -> Path:
        """Return the file of a part."""
        return self._paths[number]

    @property
    def bounds(self) -> npt.NDArray[np.int64]:
        """The first row of each part, and the number of all rows."""
        return self._bounds

    def _vectors(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the vectors of rows; each row group that holds one of them is read once."""
        found: npt.NDArray[Any] | None = None
        for places, table in self._gather(rows, _of_vectors(self._schema)):
            vectors = _numbers(table)
            if found is None:
                found = np.empty((len(rows), vectors.shape[1]), vectors.dtype)
            found[places] = vectors
        if found is None:
            kind = self._schema.field("embedding").type.value_type.to_pandas_dtype()
            found = np.zeros((0, self.shape[1]), np.float32 if kind == np.int8 else kind)
        return found

    def _gather(
        self, rows: npt.NDArray[np.int64], columns: list[str]
    ) -> Iterator[tuple[npt.NDArray[np.int64], pa.RecordBatch]]:
        """Yield places among `rows` with the columns of these rows; each row group that holds one is read once."""
        order = np.argsort(rows, kind="stable")  # the rows of each part lie together
        cuts = np.searchsorted(rows[order], self._bounds)
        for part in np.flatnonzero(np.diff(cuts)).tolist():
            path, places = self._paths[part], order[cuts[part] : cuts[part + 1]]
            with explain_damage(path), parquet.ParquetFile(path, page_checksum_verification=True) as file:
                for here, table in _groups(file, rows[places] - self._bounds[part], columns):
                    yield places[here], table

    def _column(self, number: int, name: str) -> list[pa.Array]:
        """Return a column of a part."""
        with explain_damage(self._paths[number]):
            table = parquet.read_table(self._paths[number], columns=[name], page_checksum_verification=True)
            refuse_short(table, int(self._bounds[number + 1] - self._bounds[number]))
        chunks: list[pa.Array] = table.column(name).chunks
        return chunks

    @cached_property
    def _schema(self) -> Any:
        """The schema of the first part, which all parts share."""
        with explain_damage(self._paths[0]):
            return parquet.read_schema(self._paths[0])


def _values(chunks: Iterable[pa.Array], kind: pa.DataType) -> npt.NDArray[Any]:
    """Return a column as numpy, by one rule for all of its parts: beside a missing one, numpy would round numbers."""
    column = pa.chunked_array(chunks, kind)
    if column.null_count and pa.types.is_integer(kind):
        return np.array(column.to_pylist(), object)
    found: npt.NDArray[Any] = column.to_numpy()
    return found


def _name(one: Any) -> str:
    if not isinstance(one, (str, int, np.integer)) or isinstance(one, bool):
        raise BadInput(f"id {one!r}: an id is a string, or a whole number.")
    refuse_surrogates(str(one), f"id {one!a}")
    return str(one)


def _groups(file: Any, rows: npt.NDArray[np.int64], columns: list[str]) -> Iterator[tuple[slice, pa.RecordBatch]]:
    """Yield columns of ascending rows of a part, group by group: which of the rows, and their columns."""
    about = file.metadata
    ends = np.cumsum([0, *(about.row_group(at).num_rows for at in range(about.num_row_groups))])
    cuts = np.searchsorted(rows, ends)
    for group in np.flatnonzero(np.diff(cuts)).tolist():
        here = slice(cuts[group], cuts[group + 1])
        table = file.read_row_group(group, columns=columns)
        refuse_short(table, about.row_group(group).num_rows)
        yield here, _one_batch(table).take(pa.array(rows[here] - ends[group]))


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table as one batch, which may have no rows."""
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)


def _of_vectors(schema: Any) -> list[str]:
    """Return the columns that make up vectors: int8 has a scale for each row."""
    return [name for name in ("embedding", "scale") if name in schema.names]


def _numbers(batch: Any) -> npt.NDArray[Any]:
    column = batch.column("embedding")
    flat = column.flatten().to_numpy(zero_copy_only=False)
    numbers: npt.NDArray[Any] = flat.reshape(len(column), column.type.list_size)
    return dequantise(numbers, batch.column("scale").to_numpy()) if "scale" in batch.schema.names else numbers
