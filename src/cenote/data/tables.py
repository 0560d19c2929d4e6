"""Tables as sheets: Parquet and Arrow files, frames of pandas and polars, Arrow tables, datasets of Hugging Face.

Of packages only pyarrow is imported, when a table is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cenote.data.columns import TEXT
from cenote.data.lines import opened, readable, refuse_endless
from cenote.data.rows import REMEDY, Fault
from cenote.data.sheets import Placed, Sheet
from cenote.errors import BadInput

Found = TypeVar("Found")

# Rows that are read at once, and rows that are Python objects at once: texts may be long.
BATCH, PIECE = 1024, 64
# Bytes of the values of a batch, about: a file of 400 bytes can hold a long value a million times.
_BYTES = 2**27


# Files.


def read_parquet(path: Path) -> Sheet:
    """Return a sheet with a record for each row of a Parquet file."""
    name, records = str(path), partial(_records_of_parquet, path)
    with opened(path) as raw:
        return undamaged(path, "Parquet", lambda: _sheet_of_schema(name, open_parquet(raw).schema_arrow, records))


def _sheet_of_schema(
    name: str, schema: Any, records: Callable[[Sequence[str]], Iterable[Placed]], *, once: bool = False
) -> Sheet:
    types = dict(zip(schema.names, schema.types, strict=True))
    return Sheet(name, name, tuple(schema.names), records, once=once, types=types)


def open_parquet(raw: Any) -> Any:
    """Return an opened Parquet file that is read in flat memory."""
    from pyarrow import parquet

    # Buffered, without pre-buffering: otherwise the column of a whole row group, often the whole file, is read.
    return parquet.ParquetFile(raw, buffer_size=2**20, pre_buffer=False)


def parquet_batches(file: Any, raw: Any, columns: Sequence[str] | None = None) -> Iterable[Any]:
    """Return batches of a Parquet file: of fewer rows where values are long, or a long one is repeated.

    Args:
        file: what `open_parquet` returns.
        raw: the stream that it reads.
        columns: names of those to read; None: all.
    """
    longest = 1
    for group in range(file.metadata.num_row_groups):
        about = file.metadata.row_group(group)
        for chunk in map(about.column, range(about.num_columns)):
            if columns is None or chunk.path_in_schema.partition(".")[0] in columns:
                on_average = chunk.total_uncompressed_size // max(1, chunk.num_values)
                longest = max(longest, on_average, _size_of_dictionary(raw, chunk))
    batches: Iterable[Any] = file.iter_batches(max(1, min(BATCH, _BYTES // longest)), columns=columns)
    return batches


def _size_of_dictionary(raw: Any, chunk: Any) -> int:
    """Return the bytes of a column's dictionary when it is unpacked, which no value exceeds; 0 if it has none.

    The file's footer does not have this size. The header of the page begins with it: the kind of the page, 2 for a
    dictionary, and the size, in the compact protocol of Thrift.
    """
    raw.seek(chunk.dictionary_page_offset or chunk.data_page_offset)
    header = raw.read(8)
    if header[:3] != b"\x15\x04\x15":
        return 0
    size = 0
    for place, byte in enumerate(header[3:]):
        size |= (byte & 127) << 7 * place
        if byte < 128:
            break
    return size >> 1


def _records_of_parquet(path: Path, names: Sequence[str]) -> Iterator[Placed]:
    with opened(path) as raw:
        batches = undamaged(path, "Parquet", lambda: parquet_batches(open_parquet(raw), raw, list(names)))
        yield from records_of_batches(undamaged_batches(batches, path, "Parquet"), names, str(path))


def read_arrow(path: Path) -> Sheet:
    """Return a sheet with a record for each row of an Arrow file: the file or the stream format, or Feather."""
    name, records = str(path), partial(_records_of_arrow, path)
    with readable(name), _mapped(path) as source:
        return undamaged(path, "Arrow", lambda: _sheet_of_schema(name, _open_arrow(source, path, None)[0], records))


def _mapped(path: Path) -> Any:
    import pyarrow as pa

    refuse_endless(path)
    return pa.memory_map(str(path))  # a batch is often the whole file: memory holds what is read of it


def _open_arrow(source: Any, path: Path, columns: Sequence[str] | None) -> tuple[Any, Iterable[Any]]:
    """Return the schema of all columns, and batches with some of them."""
    from pyarrow import ipc

    start = source.read(6)
    source.seek(0)
    if start.startswith(b"FEA1"):
        raise BadInput(f"{path} is Feather of version 1. Write it again with pyarrow.feather.write_feather.")
    if start != b"ARROW1":
        stream = ipc.open_stream(source)
        return stream.schema, stream
    schema = ipc.open_file(source).schema
    fields = None if columns is None else sorted(schema.names.index(name) for name in columns)
    file = ipc.open_file(source, options=ipc.IpcReadOptions(included_fields=fields))
    return schema, (file.get_batch(place) for place in range(file.num_record_batches))


def _records_of_arrow(path: Path, names: Sequence[str]) -> Iterator[Placed]:
    with readable(str(path)), _mapped(path) as source:
        _, batches = undamaged(path, "Arrow", lambda: _open_arrow(source, path, names))
        batches = (_valid(batch) for batch in batches)
        yield from records_of_batches(undamaged_batches(batches, path, "Arrow"), names, str(path))


def _valid(batch: Any) -> Any:
    """Return a batch whose values lie within its buffers: pyarrow does not check this, and would end the process."""
    batch.validate(full=True)
    return batch


def undamaged(path: Path, kind: str, read: Callable[[], Found], row: int = 0) -> Found:
    """Return what a function of pyarrow returns; raise `BadInput` for its errors."""
    from pyarrow import ArrowException

    try:
        return read()
    except (ArrowException, UnicodeDecodeError, OSError) as error:  # names of columns are decoded here
        raise BadInput(f"{path}, row {row} (from 0): damaged {kind} ({error}). Write the file again.") from None


def undamaged_batches(batches: Iterable[Any], path: Path, kind: str) -> Iterator[Any]:
    """Yield the batches; raise `BadInput` with the row at which reading ends in an error."""
    started, row = iter(batches), 0
    while (batch := undamaged(path, kind, lambda: next(started, None), row)) is not None:
        yield batch
        row += batch.num_rows


# Batches.


def records_of_batches(batches: Iterable[Any], names: Sequence[str], name: str) -> Iterator[Placed]:
    """Yield the rows of batches as mappings; a `Fault` for a row with a value that Python cannot hold."""
    row = 0
    for batch in batches:
        if names:
            yield from _records_of_columns([batch.column(column) for column in names], names, name, row)
        else:
            yield from ((f"{name}, row {number} (from 0)", {}) for number in range(row, row + batch.num_rows))
        row += batch.num_rows


def _records_of_columns(columns: Sequence[Any], names: Sequence[str], name: str, first: int) -> Iterator[Placed]:
    """Yield the rows of Arrow arrays, or of lists; `first` is the number of the first."""
    count = len(columns[0])
    for start in range(0, count, PIECE):
        parts = [column[start : start + PIECE] for column in columns]
        try:
            rows = [dict(zip(names, cells, strict=True)) for cells in zip(*map(to_list, parts), strict=True)]
        except (ValueError, OverflowError):  # in one of the rows
            yield from _readable_records(parts, names, name, first + start)
        else:
            yield from ((f"{name}, row {row} (from 0)", cells) for row, cells in enumerate(rows, first + start))


def _readable_records(columns: Sequence[Any], names: Sequence[str], name: str, first: int) -> Iterator[Placed]:
    """Yield rows, and a `Fault` in place of one with bytes that are not UTF-8 or a time out of Python's range."""
    for place in range(len(columns[0])):
        where = f"{name}, row {first + place} (from 0)"
        try:
            cells = [to_list(column[place : place + 1])[0] for column in columns]
            yield where, dict(zip(names, cells, strict=True))
        except (ValueError, OverflowError) as error:
            yield where, Fault(f"{where}: damaged, or out of Python's range ({error}). {REMEDY}")


def to_list(column: Any) -> list[Any]:
    """Return values of Python; nanoseconds as numpy's, since Python has none, and those of pandas need pandas."""
    import pyarrow as pa

    if isinstance(column, list):
        return column
    if column.type in (pa.duration("ns"), pa.timestamp("ns", getattr(column.type, "tz", None))):
        import numpy as np

        times = np.asarray(column)
        return [None if gone else time for time, gone in zip(times, np.isnat(times), strict=True)]
    if column.type == pa.time64("ns"):
        column = column.cast(pa.time64("us"))  # which raises where nanoseconds would be lost
    values: list[Any] = column.to_pylist()
    return values


# Python objects.


def sheet_of_table(given: Any, name: str, id_column: str | None = None) -> Sheet | None:
    """Return the sheet of a table, a frame, a dataset or one column of them; None for any other object.

    Args:
        given: the object.
        name: what messages call it.
        id_column: column of the id, which may be the name of the index of a pandas frame.
    """
    if _is_one_of(given, _DATASETS):
        return _sheet_of_dataset(given, name)
    if _is_one_of(given, _FRAMES):
        return _sheet_of_pandas(given, name, id_column)
    if hasattr(given, "__arrow_c_stream__") or hasattr(given, "__arrow_c_array__"):
        return _sheet_of_stream(given, name)
    return None


# Classes by the modules that define them: no package is imported for this, and a module of the caller's own may have
# the name of one.
_DATASETS = {"datasets.arrow_dataset.Dataset", "datasets.iterable_dataset.IterableDataset"}
_FRAMES = {"pandas.DataFrame", "pandas.Series", "pandas.core.frame.DataFrame", "pandas.core.series.Series"}


def _is_one_of(given: Any, classes: Set[str]) -> bool:
    return any(f"{one.__module__}.{one.__name__}" in classes for one in type(given).__mro__)


def _sheet_of_dataset(dataset: Any, name: str) -> Sheet:
    """Return the sheet of a dataset of Hugging Face, in memory, on disk or streamed."""
    if (getattr(dataset, "format", None) or {}).get("type") == "custom":  # computed row by row, in Python
        raise BadInput(
            f"{name} has a transform (set_transform), which is not applied. Pass its rows by dataset.map(transform, "
            "batched=True), or the rows without it by dataset.with_format(None)."
        )
    names = dataset.column_names or tuple(next(iter(dataset), ()))  # a stream may not know them before its first row

    def records(wanted: Sequence[str]) -> Iterator[Placed]:
        tables = dataset.select_columns(list(wanted)).with_format("arrow").iter(BATCH)
        return records_of_batches((batch for table in tables for batch in table.to_batches()), wanted, name)

    types = dataset.features.arrow_schema if dataset.features else ()
    return Sheet(name, name, tuple(names), records, types={one.name: one.type for one in types})


def _sheet_of_pandas(frame: Any, name: str, id_column: str | None) -> Sheet:
    """Return the sheet of a pandas frame; its index counts only if it is named as the column of the id."""
    if not hasattr(frame, "columns"):
        frame = frame.to_frame(TEXT)
    if id_column is not None and id_column in frame.index.names and id_column not in frame.columns:
        frame = frame.reset_index(level=id_column)
    names = tuple(map(str, frame.columns))

    def records(wanted: Sequence[str]) -> Iterator[Placed]:
        places = [names.index(column) for column in wanted]
        for start in range(0, len(frame), BATCH):
            part = frame.iloc[start : start + BATCH]
            columns = [_values_of_series(part.iloc[:, place]) for place in places]
            yield from _records_of_columns(columns, wanted, name, start)

    empty = [_values_of_series(frame.iloc[:0, place]) for place in range(len(names))]
    types = {name: values.type for name, values in zip(names, empty, strict=True) if not isinstance(values, list)}
    return Sheet(name, name, names, records, types=types)


def _values_of_series(series: Any) -> Any:
    """Return an Arrow array, or a list where values are Python objects; missing values are None."""
    import pyarrow as pa

    if series.dtype != object:  # Arrow would take one type for objects of several: bytes for strings beside bytes
        with suppress(pa.ArrowException, ValueError):
            return pa.array(series, from_pandas=True)
    return [None if gone else value for value, gone in zip(series.tolist(), series.isna(), strict=True)]


def _sheet_of_stream(given: Any, name: str) -> Sheet:
    """Return the sheet of an object with the Arrow interface, such as a polars frame."""
    stream = _start_stream(given)
    if isinstance(given, Iterator):
        return _sheet_of_schema(name, stream.schema, lambda wanted: records_of_batches(stream, wanted, name), once=True)
    schema = stream.schema  # a relation of DuckDB has one stream at a time
    return _sheet_of_schema(name, schema, lambda wanted: records_of_batches(_start_stream(given), wanted, name))


def _start_stream(given: Any) -> Any:
    """Return a stream of batches. A single column, such as a polars series, is one of texts."""
    import pyarrow as pa

    if not hasattr(given, "__arrow_c_stream__"):
        return pa.table({TEXT: pa.array(given)}).to_reader()
    try:
        return pa.RecordBatchReader.from_stream(given)
    except pa.ArrowInvalid:  # not a table
        return pa.table({TEXT: pa.chunked_array(given)}).to_reader()
