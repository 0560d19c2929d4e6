r"""Pairs for contrastive training: a query, its positive, and if they are there negatives and a teacher's scores.

>>> list(read_pairs([{"query": "what a collapse made", "positive": "a pool", "negatives": ["a cave"]}]))
[Pair(query='what a collapse made', positive='a pool', negatives=('a cave',), scores=())]

Pairs are read one by one. The formats are those of labelled data, in `cenote.data.labelled_files`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cenote.data.fingerprints import Fingerprint
from cenote.data.labelled_files import (
    FORMATS,
    Record,
    by_plain_name,
    number_of,
    read_records,
    suffix_of,
    text_of,
)
from cenote.data.rows import REMEDY, describe_value
from cenote.data.shards import refuse_missing_path
from cenote.errors import BadInput, some

# The names that a column may have, in lower case with "_" for "-" and " "; the first that a row has counts.
QUERY = ("query", "anchor", "question")
POSITIVE = ("positive", "answer", "passage", "document")
NEGATIVES = ("negatives", "negative")
SCORES = ("scores", "teacher_scores")
# Pairs that are written at once.
_BATCH = 4096
_LARGEST = 3.4e38  # of float32


class Pair(NamedTuple):
    """A query, its positive, negatives, and a teacher's scores of the positive and of each negative."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts of the pair."""
        return (self.query, self.positive, *self.negatives)


@dataclass(frozen=True)
class PairTable:
    """The file that `write_pairs` wrote, with counts of it."""

    path: Path
    count: int
    negatives: tuple[int, int]  # of a pair: the fewest and the most
    scored: bool
    fingerprint: str


def read_pairs(source: str | Path | Iterable[Any]) -> Iterator[Pair]:
    """Return an iterator over pairs; raise for the first row that cannot be one.

    | source | a pair is |
    |---|---|
    | `.jsonl`, `.ndjson`, `.parquet` | a row with `query` and `positive`; a list `negatives`, a list `scores` |
    | `.csv`, `.tsv` | a row; several columns `negative`, `negative_2` ..., or JSON lists |
    | from Python | a mapping with these keys, or a tuple (query, positive, negative ...) |

    `anchor` and `question` are other names of the query, `answer`, `passage` and `document` of the positive. `scores`
    are a teacher's, of the positive and then of each negative. The first pair is read by this call.
    """
    records = _from_file(Path(source)) if isinstance(source, (str, Path)) else _from_python(source)
    pairs = (_pair(record) for record in records)
    for first in pairs:
        return _of_one_kind(first, pairs)
    raise BadInput(f"{source if isinstance(source, (str, Path)) else 'the list'} holds no pairs. Give at least one.")


def write_pairs(pairs: Iterable[Pair], path: Path) -> PairTable:
    """Write pairs to an Arrow file that can be mapped into memory, with a hash of each text."""
    import pyarrow as pa

    texts, numbers = pa.list_(pa.string()), pa.list_(pa.float32())
    schema = pa.schema(
        {
            "query": pa.string(),
            "positive": pa.string(),
            "negatives": texts,
            "scores": numbers,
            "hashes": pa.list_(pa.uint64()),
        }
    )
    fingerprint, count, fewest, most, scored = Fingerprint(), 0, None, 0, False
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        waiting: list[Pair] = []

        def flush() -> None:
            columns = [list(column) for column in zip(*waiting, strict=True)]
            hashes = [[hash_of(text) for text in pair.texts] for pair in waiting]
            writer.write_batch(pa.record_batch([*columns, hashes], schema=schema))
            waiting.clear()

        for pair in pairs:
            fingerprint.add([*pair.texts, *map(repr, pair.scores)])
            count, scored = count + 1, bool(pair.scores)
            fewest = len(pair.negatives) if fewest is None else min(fewest, len(pair.negatives))
            most = max(most, len(pair.negatives))
            waiting.append(pair)
            if len(waiting) == _BATCH:
                flush()
        if waiting:
            flush()
    return PairTable(path, count, (fewest or 0, most), scored, fingerprint.name())


def read_table(table: PairTable) -> Iterator[Pair]:
    """Yield the pairs that `write_pairs` wrote."""
    import pyarrow as pa

    with pa.memory_map(str(table.path)) as source:
        for batch in pa.ipc.open_stream(source):
            for row in batch.to_pylist():
                yield Pair(row["query"], row["positive"], tuple(row["negatives"]), tuple(row["scores"]))


def hash_of(text: str) -> int:
    r"""Return a number of 64 bits that equal texts share, whatever white space is around them.

    >>> hash_of("a pool") == hash_of(" a pool\n"), hash_of("a pool") == hash_of("a cave")
    (True, False)
    """
    return int.from_bytes(hashlib.blake2b(text.strip().encode(), digest_size=8).digest(), "little")


def _from_file(path: Path) -> Iterator[Record]:
    refuse_missing_path(path)
    if path.is_dir() or not suffix_of(path.name):
        raise BadInput(f"{path} is no file of pairs: name a file that ends in {', '.join(FORMATS)}.")
    return read_records(path)


def _from_python(given: Iterable[Any]) -> Iterator[Record]:
    for number, item in enumerate(given):
        where = f"pair {number} (from 0)"
        if isinstance(item, Pair):
            item = item._asdict()
        if isinstance(item, Mapping):
            yield Record(where, item)
        elif isinstance(item, (tuple, list)) and len(item) > 1:
            yield Record(where, {"query": item[0], "positive": item[1], "negatives": list(item[2:])})
        else:
            raise BadInput(
                f"{where} is {describe_value(item)}: give a mapping with 'query' and 'positive', or a tuple of both."
            )


def _pair(record: Record) -> Pair:
    given = {str(name): cell for name, cell in record.cells.items()}
    cells = {plain: given[name] for plain, name in by_plain_name(tuple(given)).items()}
    where = record.where
    pair = Pair(
        _text(_required(cells, QUERY, "query", record), f"{where}: the query"),
        _text(_required(cells, POSITIVE, "positive", record), f"{where}: the positive"),
        tuple(_text(cell, f"{where}: negative {at}") for at, cell in enumerate(_negatives(cells, where), 1)),
        tuple(number_of(cell, f"{where}: score {at}") for at, cell in enumerate(_list(cells, SCORES, where), 1)),
    )
    if pair.scores and len(pair.scores) != 1 + len(pair.negatives):
        raise BadInput(
            f"{where}: {len(pair.scores)} scores for a positive and {len(pair.negatives)} negatives: give "
            f"{1 + len(pair.negatives)}, the positive's first."
        )
    if any(abs(score) > _LARGEST for score in pair.scores):
        raise BadInput(f"{where}: a score is above {_LARGEST:g} in size, the largest number of float32. {REMEDY}")
    if hash_of(pair.positive) in map(hash_of, pair.negatives):
        raise BadInput(f"{where}: the positive is also a negative: {pair.positive[:60]!r}. {REMEDY}")
    return pair


def _required(cells: Mapping[str, Any], names: Sequence[str], noun: str, record: Record) -> Any:
    for name in names:
        if name in cells:
            return cells[name]
    raise BadInput(
        f"{record.where}: no column of the {noun}; the columns are: {some(record.cells, 20) or 'none'}. Give it one of "
        f"the names {', '.join(names)}."
    )


def _text(cell: object, said: str) -> str:
    text = text_of(cell, said)
    if not text.strip():
        raise BadInput(f"{said} is empty. {REMEDY}")
    return text


def _negatives(cells: Mapping[str, Any], where: str) -> list[Any]:
    """Return the cells of a list, or of the columns `negative`, `negative_1` and so on that are not empty."""
    numbered = [name for name in cells if re.fullmatch(r"negative_\d+", name)]
    if not numbered:
        several, one = NEGATIVES
        return _list(cells, [several], where) if several in cells else _text_or_list(cells.get(one))
    names = [*(name for name in NEGATIVES if name in cells), *sorted(numbered, key=lambda name: int(name[9:]))]
    return [cells[name] for name in names if cells[name] not in (None, "")]


def _text_or_list(cell: Any) -> list[Any]:
    """Return the texts of a cell: a list, which a CSV writes as JSON, or one text, which may begin with "[" too."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            found = json.loads(cell)
            if all(isinstance(text, str) for text in found):
                return list(found)
    return list(cell) if isinstance(cell, (list, tuple)) else [] if cell in (None, "") else [cell]


def _list(cells: Mapping[str, Any], names: Sequence[str], where: str) -> list[Any]:
    name = next((name for name in names if name in cells), None)
    cell = None if name is None else cells[name]
    if isinstance(cell, str) and cell.lstrip().startswith("["):  # a list in a CSV
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            raise BadInput(f"{where}: {name} is no JSON list: {cell[:60]!r}. {REMEDY}") from None
    if cell is None or cell == "":
        return []
    if isinstance(cell, str) and name in NEGATIVES:
        return [cell]
    if not isinstance(cell, (list, tuple)):
        raise BadInput(f"{where}: {name} is {describe_value(cell)}, not a list. {REMEDY}")
    return list(cell)


def _of_one_kind(first: Pair, others: Iterator[Pair]) -> Iterator[Pair]:
    """Yield the pairs; raise where some have scores and others do not."""
    yield first
    for number, pair in enumerate(others, 1):
        if bool(pair.scores) != bool(first.scores):
            has, lacks = ("it has", "lacks") if pair.scores else ("it lacks", "has")
            raise BadInput(
                f"pair {number} (from 0): {has} scores, which the first {lacks}: give all pairs scores, or none."
            )
        yield pair
