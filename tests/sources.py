"""The same rows as every source that texts are read from: a table of functions that write or build it."""

import csv
import gzip
import json
from itertools import pairwise

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

WORDS = "pool cave light stone water deep roof dawn shore boat".split()  # noqa: SIM905
# Texts of several sentences, with ids, titles that no text is read with unless asked, and a number.
ROWS = [
    {
        "id": f"doc-{row}",
        "title": f'Title {row}, "quoted" and ünï',
        "text": " ".join(
            f"The {WORDS[(row + place) % 10]} of number {row} is {WORDS[(row * 3 + place) % 10]} and very {place} far."
            for place in range(4)
        ),
        "year": 1900 + row,
    }
    for row in range(24)
]


def zstd(content):
    """Return bytes packed by zstd."""
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(content)
    return packed.getvalue().to_pybytes()


def write_jsonl(rows, path, pack=bytes):
    path.write_bytes(pack("".join(f"{json.dumps(row)}\n" for row in rows).encode()))
    return path


def write_csv(rows, path, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json(rows, path):
    path.write_text(json.dumps(rows, indent=1))
    return path


def write_parquet(rows, path):
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=5)
    return path


def write_arrow(rows, path, form=pa.ipc.new_stream):
    table = pa.Table.from_pylist(rows)
    with path.open("wb") as file, form(file, table.schema) as writer:
        writer.write_table(table, 5)
    return path


def write_feather(rows, path):
    feather.write_feather(pa.Table.from_pylist(rows), str(path))
    return path


def write_shards(rows, folder, write=write_jsonl, suffix="jsonl"):
    """Write three files of unequal length, and a folder beside them that no pattern should match."""
    (folder / "shards" / "other.jsonl").mkdir(parents=True)
    cuts = (0, 2, 7, len(rows))
    for number, (first, last) in enumerate(pairwise(cuts)):
        write(rows[first:last], folder / "shards" / f"part-{number}.{suffix}")
    return folder / "shards"


def save_dataset(rows, folder):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows).save_to_disk(str(folder / "dataset"), num_shards=3)
    return folder / "dataset"


# Sources with a path: a command takes them too.
PATHS = {
    "jsonl": lambda rows, folder: write_jsonl(rows, folder / "a.jsonl"),
    "ndjson": lambda rows, folder: write_jsonl(rows, folder / "a.ndjson"),
    "gzip": lambda rows, folder: write_jsonl(rows, folder / "a.jsonl.gz", gzip.compress),
    "zstd": lambda rows, folder: write_jsonl(rows, folder / "a.jsonl.zst", zstd),
    "json": lambda rows, folder: write_json(rows, folder / "a.json"),
    "csv": lambda rows, folder: write_csv(rows, folder / "a.csv"),
    "tsv": lambda rows, folder: write_csv(rows, folder / "a.tsv", "\t"),
    "parquet": lambda rows, folder: write_parquet(rows, folder / "a.parquet"),
    "arrow stream": lambda rows, folder: write_arrow(rows, folder / "a.arrow"),
    "arrow file": lambda rows, folder: write_arrow(rows, folder / "a.arrow", pa.ipc.new_file),
    "feather": lambda rows, folder: write_feather(rows, folder / "a.feather"),
    "folder": write_shards,
    "folder of parquet": lambda rows, folder: write_shards(rows, folder, write_parquet, "parquet"),
    "pattern": lambda rows, folder: str(write_shards(rows, folder) / "*.jsonl"),
    "datasets folder": save_dataset,
}


def frame_of(package, rows):
    return pytest.importorskip(package).DataFrame(rows)


def dataset_of(rows):
    return pytest.importorskip("datasets").Dataset.from_list(rows)


def relation_of(rows):
    return pytest.importorskip("duckdb").from_arrow(pa.Table.from_pylist(rows))


# Sources of Python. Those that can be read only once are functions: each call builds one.
OBJECTS = {
    "list of paths": lambda rows, folder: sorted(write_shards(rows, folder).glob("*-*.jsonl")),
    "list of mappings": lambda rows, _: rows,
    "iterator of mappings": lambda rows, _: iter(rows),
    "pandas": lambda rows, _: frame_of("pandas", rows),
    "polars": lambda rows, _: frame_of("polars", rows),
    "table": lambda rows, _: pa.Table.from_pylist(rows),
    "reader": lambda rows, _: pa.Table.from_pylist(rows).to_reader(5),
    "relation": lambda rows, _: relation_of(rows),
    "dataset": lambda rows, _: dataset_of(rows),
    "selected dataset": lambda rows, _: dataset_of(rows[::-1]).select(range(len(rows) - 1, -1, -1)),
    "iterable dataset": lambda rows, _: dataset_of(rows).to_iterable_dataset(num_shards=2),
}
SOURCES = PATHS | OBJECTS
