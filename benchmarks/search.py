"""`cenote.search` beside numpy, FAISS and DuckDB on the same vectors: `python benchmarks/search.py`.

Random vectors of 384 dimensions are written as `embed` writes them, in parts of 16,384 rows; their contents do not
change what a search costs. Each way answers the same queries, which are vectors, with the ten nearest rows by cosine,
with the same number of threads, from files that the system holds in memory. The limit of an exact search is the time of
reading the file: "reading" decodes all parts with as many threads, checksums included, and computes nothing.

FAISS and numpy hold all vectors in memory: their time is shown without, and of FAISS with loading, from the pool that
"reading" uses. `--growth` measures the peak memory of a search in its own process for 10^5 and 10^6 rows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

import cenote
from cenote.embedding.folder import opened
from cenote.embedding.parts import Part
from timing import interleaved, machine

WIDTH, PART = 384, 2**14


def write(folder: Path, rows: int, dtype: str = "float32") -> Path:
    """Write random vectors as a folder of `embed`."""
    generator = np.random.default_rng(0)
    with opened(folder, {"dtype": dtype}, {}, restart=False) as out:
        for index, start in enumerate(range(0, rows, PART)):
            count = min(PART, rows - start)
            vectors = generator.standard_normal((count, WIDTH), np.float32).astype(dtype)
            table = {
                "id": [str(row) for row in range(start, start + count)],
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), WIDTH),
                "n_tokens": np.full(count, 9),
            }
            out.write(Part(index, start, count, count, str(index), 0, 0, 0), pa.table(table))
        out.finish()
    return folder


def read(folder: Path) -> None:
    """Decode every vector and compute nothing."""
    deque(in_pool(folder, len), maxlen=0)


def in_pool(folder: Path, use: Callable[[np.ndarray], Any]) -> Iterator[Any]:
    """Yield what is made of the vectors of each part, in order, as many parts at a time as torch has threads."""
    found = cenote.read_embeddings(folder)
    waiting: deque[Any] = deque()
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for number in range(len(found.bounds) - 1):
            waiting.append(pool.submit(lambda number: use(found.part(number)[0]), number))
            if len(waiting) > torch.get_num_threads():
                yield waiting.popleft().result()
        for one in waiting:
            yield one.result()


def by_numpy(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the ten nearest of unit vectors by one product and a partial sort."""
    scores = queries @ vectors.T
    near = np.argpartition(-scores, 10, axis=1)[:, :10]
    return np.take_along_axis(near, np.argsort(-np.take_along_axis(scores, near, 1), axis=1), 1)


def ways(folder: Path, queries: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return what is timed, by name."""
    import duckdb
    import faiss

    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)

    def normalised(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def indexed() -> Any:
        index = faiss.IndexFlatIP(WIDTH)
        for vectors in in_pool(folder, normalised):
            index.add(vectors)
        return index

    index = indexed()
    held = index.reconstruct_n(0, index.ntotal)
    connection = duckdb.connect()
    connection.execute(f"set threads = {torch.get_num_threads()}")
    vectors = f"read_parquet('{folder}/*.parquet')"
    cosine = f"array_cosine_similarity(embedding::float[{WIDTH}], ?::float[{WIDTH}])"
    one = " ".join(("select id,", cosine, "as s from", vectors, "order by s desc limit 10"))
    return {
        "reading": lambda: read(folder),
        "cenote.search": lambda: cenote.search(folder, queries),
        "FAISS flat, loading too": lambda: indexed().search(unit, 10),
        "FAISS flat, in memory": lambda: index.search(unit, 10),
        "numpy, in memory": lambda: by_numpy(held, unit),
        "DuckDB": lambda: [connection.execute(one, [query.tolist()]).fetchall() for query in queries],
    }


def growth(rows: int) -> float:
    """Return the peak memory in MB of a search in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "out"), rows)
        code = (
            "import sys, numpy, resource, cenote; "
            f"cenote.search(sys.argv[1], numpy.ones((1, {WIDTH}), 'f')); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
        )
        return float(subprocess.check_output([sys.executable, "-c", code, str(Path(folder, "out"))]))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", nargs="+", type=int, default=[1, 100])
    parser.add_argument("--growth", action="store_true")
    args = parser.parse_args()
    print(machine())
    if args.growth:
        for rows in (10**5, 10**6):
            print(f"{rows:>9,} rows: {growth(rows):,.0f} MB")
        return
    faiss_threads()
    with tempfile.TemporaryDirectory() as folder:
        out = write(Path(folder, "out"), args.rows)
        for count in args.queries:
            queries = np.random.default_rng(1).standard_normal((count, WIDTH)).astype(np.float32)
            each = ways(out, queries)
            if count > 1:
                del each["DuckDB"]  # one query at a time: a hundred times the row above
            print(f"{args.rows:,} x {WIDTH}, {count} queries")
            times = interleaved(each, args.rounds)
            for name, seconds in times.items():
                print(f"  {name:<26} {seconds:7.2f} s  {seconds / times['reading']:6.2f} of reading")


def faiss_threads() -> None:
    """Give FAISS as many threads as the others."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())


if __name__ == "__main__":
    main()
