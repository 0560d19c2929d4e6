"""What was read of a stretch of texts, as the rows of a Parquet part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from cenote.functional.forms import quantised
from cenote.outputs import Part
from cenote.vectorising import DTYPES, Options, Read


def part_of(read: Read, options: Options) -> tuple[Part, pa.Table, list[dict[str, Any]]]:
    """What the footer of a part says of it, its rows, and what was left out of them."""
    prepared, stretch = read.prepared, read.prepared.stretch
    windows = options.long == "windows"
    owners = prepared.owners[read.rows] if windows else np.array(read.rows, np.int64)
    tokens, cut = (
        (prepared.pieces.whole[read.rows], prepared.pieces.truncated[read.rows])
        if windows
        else (prepared.whole[read.rows], prepared.truncated[read.rows])
    )
    names = [stretch.texts[prepared.texts[owner]].id for owner in owners.tolist()]
    columns: dict[str, Any] = {"id": pa.array(names, pa.string())}
    if windows:
        columns = _of_windows(read, owners, names)
    columns |= _of_vectors(read.vectors, options.dtype) | {
        "n_tokens": pa.array(tokens, pa.int64()),
        "truncated": pa.array(cut, pa.bool_()),
    }
    kept = np.unique(owners)
    part = Part(
        index=stretch.index,
        first=stretch.first,
        texts=stretch.rows,
        rows=len(names),
        fingerprint=stretch.fingerprint,
        truncated=int(prepared.truncated[kept].sum()),
        tokens=int(prepared.whole[kept].sum()),
        rejected=len(prepared.rejected),
    )
    return part, pa.table(columns), sorted(prepared.rejected, key=lambda one: int(one["row"]))


def _of_windows(read: Read, owners: Any, names: list[str]) -> dict[str, Any]:
    """The columns that say which window of which text a row is."""
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    numbers = np.arange(len(owners)) - np.repeat(starts, np.diff([*starts, len(owners)]))
    spans = [read.prepared.spans[row] for row in read.rows]
    return {
        "id": pa.array([f"{name}#{number}" for name, number in zip(names, numbers.tolist(), strict=True)], pa.string()),
        "parent_id": pa.array(names, pa.string()),
        "window": pa.array(numbers, pa.int32()),
        "start": pa.array([span.start for span in spans], pa.int64()),
        "end": pa.array([span.end for span in spans], pa.int64()),
    }


def _of_vectors(vectors: Any, dtype: str) -> dict[str, Any]:
    """The column of vectors, and beside int8 what each is multiplied by: so no row depends on any other."""
    if dtype != "int8":
        return {"embedding": _lists(vectors.astype(dtype), DTYPES[dtype])}
    numbers, scales = quantised(vectors)
    return {"embedding": _lists(numbers, DTYPES[dtype]), "scale": pa.array(scales, pa.float32())}


def _lists(vectors: Any, kind: Any) -> Any:
    flat = pa.array(np.ascontiguousarray(vectors).ravel(), kind)
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
