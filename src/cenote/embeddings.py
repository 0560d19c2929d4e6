"""Reading back what `embed` wrote: as numpy, and no more of it than was asked for."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pyarrow import ArrowException, parquet

from cenote.errors import BadInput, choose, some
from cenote.functional.forms import restored
from cenote.outputs import manifest_of
from cenote.results import Manifest

# Rows that are handed on together where a part is read from one end to the other.
_TOGETHER = 8192


def read_embeddings(folder: str | Path) -> Embeddings:
    """The embeddings in a folder that `embed` wrote; nothing but its manifest is read yet.

    >>> import cenote, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = cenote.embed("minilm", ["a pool", "a cave", "light"], folder)
    ...     found = cenote.read_embeddings(folder)
    ...     found.shape, found.ids, found[1:].shape, found["n_tokens"].tolist()
    ((3, 384), ['0', '1', '2'], (2, 384), [4, 4, 3])
    """
    manifest = manifest_of(folder)
    if manifest.counts is None:
        raise BadInput(f"{str(folder)!r} is not complete: run the same embed again, which goes on where it ended.")
    return Embeddings(Path(folder), manifest)


class Embeddings:
    """Vectors and what is known of them, on the disk. `[...]` takes rows as numpy does, or a column by its name."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        rows = () if manifest.counts is None else manifest.counts.rows
        self._ends = np.cumsum([0, *rows])
        self._names = [folder / f"part-{number:05d}.parquet" for number in range(len(rows))]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        for _, vectors in self.batches():
            yield from vectors

    def __repr__(self) -> str:
        return f"Embeddings({str(self.folder)!r}, {len(self):,} rows of {self.shape[1]})"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and dimensions of each."""
        return len(self), self._schema().field("embedding").type.list_size

    @property
    def columns(self) -> list[str]:
        """What there is of each row besides its vector."""
        return [name for name in self._schema().names if name != "embedding"]

    @property
    def ids(self) -> list[str]:
        """The ids of all rows, in their order."""
        found: list[str] = self["id"].tolist()
        return found

    def __getitem__(self, wanted: Any) -> npt.NDArray[Any]:
        """The vectors of some rows, by a slice, a number or a list of numbers; or a whole column, by its name."""
        if isinstance(wanted, str):
            choose(wanted, dict.fromkeys(self.columns), "column")
            return np.concatenate([self._read(path, [wanted])[0] for path in self._names])
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
        """All vectors."""
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def batches(self, rows: int = _TOGETHER) -> Iterator[tuple[list[str], npt.NDArray[Any]]]:
        """Ids and vectors from the first to the last, so many rows at a time, however many there are."""
        if rows < 1:
            raise BadInput(f"rows={rows}: a batch has at least 1.")
        for path in self._names:
            with _sound(path), parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(rows, columns=["id", "embedding"]):
                    yield batch.column("id").to_pylist(), self._numbers(batch.column("embedding"))

    def of(self, ids: Iterable[str]) -> npt.NDArray[Any]:
        """The vectors of these ids, in their order."""
        places = {name: row for row, name in enumerate(self.ids)}
        wanted = list(ids)
        if missing := [name for name in wanted if name not in places]:
            raise BadInput(f"there is no id {some([repr(name) for name in missing])} in {str(self.folder)!r}.")
        return self._vectors(np.array([places[name] for name in wanted], np.int64))

    def _vectors(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Row groups are read that hold one of the rows, each once."""
        found: npt.NDArray[Any] | None = None
        parts = np.searchsorted(self._ends, rows, side="right") - 1
        for part in np.unique(parts).tolist():
            path, where = self._names[part], np.flatnonzero(parts == part)
            with _sound(path), parquet.ParquetFile(path) as file:
                groups = file.metadata
                ends = np.cumsum([0, *(groups.row_group(at).num_rows for at in range(groups.num_row_groups))])
                inside = rows[where] - self._ends[part]
                holding = np.searchsorted(ends, inside, side="right") - 1
                for group in np.unique(holding).tolist():
                    here = np.flatnonzero(holding == group)
                    table = file.read_row_group(group, columns=["embedding"])
                    vectors = self._numbers(table.column("embedding").combine_chunks())
                    if found is None:
                        found = np.empty((len(rows), vectors.shape[1]), vectors.dtype)
                    found[where[here]] = vectors[inside[here] - ends[group]]
        if found is None:
            kind = self._schema().field("embedding").type.value_type.to_pandas_dtype()
            found = np.zeros((0, self.shape[1]), kind if self.manifest.scales is None else np.float32)
        return found

    def _numbers(self, column: Any) -> npt.NDArray[Any]:
        chunk = column.chunk(0) if hasattr(column, "num_chunks") else column
        numbers = chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1)
        return numbers if self.manifest.scales is None else restored(numbers, self.manifest.scales)

    def _read(self, path: Path, names: list[str]) -> list[npt.NDArray[Any]]:
        with _sound(path):
            table = parquet.read_table(path, columns=names)
            return [table.column(name).to_numpy() for name in names]

    def _schema(self) -> Any:
        with _sound(self._names[0]):
            return parquet.read_schema(self._names[0])


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Turns what is wrong with a part into an error that names it."""
    try:
        yield
    except (ArrowException, OSError) as error:
        raise BadInput(f"{path} cannot be read ({error}): delete it, and run the same embed again.") from error
