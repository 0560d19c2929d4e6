"""Embedded rows as the table of a Parquet part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from cenote.embedding.folder import Part
from cenote.embedding.options import Options
from cenote.embedding.rows import Embedded, Rows
from cenote.functional.quantisation import quantise

VECTOR_TYPES: dict[str, Any] = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}


def part_of(embedded: Embedded, options: Options) -> tuple[Part, pa.Table, list[dict[str, Any]]]:
    """Return the footer of a part, its table, and the rows of the input that it leaves out, with reasons."""
    part, rows = embedded.slice, embedded.rows
    ids = [part.texts[owner].id for owner in rows.owner.tolist()]
    columns: dict[str, Any] = _window_columns(rows, ids) if options.long == "windows" else {"id": _strings(ids)}
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


def _window_columns(rows: Rows, ids: list[str]) -> dict[str, Any]:
    """Return the columns that say which window of which text a row is."""
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
