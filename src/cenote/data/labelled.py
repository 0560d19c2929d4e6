r"""Labelled folders and files, read into plain data: what a task of retrieval, classification or similarity needs.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     _ = Path(folder, "test.csv").write_text("text1,text2,score\na pool,a pond,4\na pool,a cave,1\n")
...     data = read_labelled(folder)
>>> data.kind, data.first, data.second, data.scores
('sts', ('a pool', 'a pool'), ('a pond', 'a cave'), (4.0, 1.0))

The formats, and the names that columns may have, are in `cenote.data.labelled_files`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from cenote.data.fingerprints import Fingerprint
from cenote.data.labelled_columns import Named
from cenote.data.labelled_files import (
    RoleColumns,
    check_columns,
    count_empty,
    count_ids,
    empty_ids,
    join_notes,
    read_columns,
    refuse_repeated,
)
from cenote.data.labelled_schemas import KINDS, TEST, TRAIN, Asked, Plan, plan_files
from cenote.data.labelled_searches import judge, match_candidates, read_candidates, same_text
from cenote.data.lines import opened
from cenote.data.rows import Text
from cenote.errors import BadInput, Value, some

__all__ = [
    "KINDS",
    "Classification",
    "Clustering",
    "Labelled",
    "Labels",
    "Retrieval",
    "Sts",
    "Summarisation",
    "check_labelled",
    "fingerprint_of_files",
    "pick",
    "read_labelled",
    "take",
    "take_queries",
    "texts_of",
]


@dataclass(frozen=True, eq=False)
class Retrieval:
    """A corpus, queries, and judgments: the grade of a document for a query, relevant above 0.

    Every query has a relevant document, and judgments and candidates name documents of the corpus only.
    """

    corpus_ids: tuple[str, ...]
    titles: tuple[str, ...]
    texts: tuple[str, ...]
    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    judgments: dict[str, dict[str, int]]  # of each query: grades by document
    candidates: dict[str, list[str]] | None = None  # of each query: the documents to rank
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The kind: `reranking` if there are candidates, else `retrieval`."""
        return "retrieval" if self.candidates is None else "reranking"

    @property
    def documents(self) -> list[str]:
        """The texts of the corpus as mteb reads them, each after its title."""
        return [f"{title} {text}".strip() for title, text in zip(self.titles, self.texts, strict=True)]


@dataclass(frozen=True, eq=False)
class Labels:
    """Texts of one split, each with a label."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Classification:
    """Texts with labels to learn from, and texts with labels to test on."""

    train: Labels
    test: Labels
    notes: tuple[str, ...] = ()
    kind: ClassVar[str] = "classification"


@dataclass(frozen=True, eq=False)
class Clustering:
    """Texts, and the group of each."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    kind: ClassVar[str] = "clustering"


@dataclass(frozen=True, eq=False)
class Sts:
    """Pairs of texts with a human score of their similarity."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]
    subsets: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    kind: ClassVar[str] = "sts"


@dataclass(frozen=True, eq=False)
class Summarisation:
    """Texts with human and machine summaries; `scores` are the human relevance of each machine summary."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    human: tuple[tuple[str, ...], ...]
    machine: tuple[tuple[str, ...], ...]
    scores: tuple[tuple[float, ...], ...]
    notes: tuple[str, ...] = ()
    kind: ClassVar[str] = "summarisation"


Labelled = Retrieval | Classification | Clustering | Sts | Summarisation
# Data that have a value in each column for each row.
Rows = TypeVar("Rows", bound=Labels | Clustering | Sts | Summarisation)


def texts_of(data: Labelled) -> list[str]:
    """Return all texts of labelled data.

    >>> texts_of(Sts(("a pool",), ("a pond",), (4.0,)))
    ['a pool', 'a pond']
    """
    if isinstance(data, Retrieval):
        return [*data.documents, *data.queries]
    if isinstance(data, Classification):
        return [*data.train.texts, *data.test.texts]
    if isinstance(data, Sts):
        return [*data.first, *data.second]
    if isinstance(data, Clustering):
        return list(data.texts)
    return [*data.texts, *(text for summaries in (*data.human, *data.machine) for text in summaries)]


def take(data: Rows, rows: Sequence[int]) -> Rows:
    """Return the data of some rows alone.

    >>> take(Labels(("a pool", "a pond", "light"), ("water", "water", "air")), [0, 2])
    Labels(texts=('a pool', 'light'), labels=('water', 'air'))
    """
    columns = {one.name: getattr(data, one.name) for one in fields(data) if one.name != "notes"}
    taken: Any = {name: column and pick(column, rows) for name, column in columns.items()}
    return replace(data, **taken)


def take_queries(data: Retrieval, rows: Sequence[int]) -> Retrieval:
    """Return a search with some of its queries alone; the corpus stays."""
    ids = pick(data.query_ids, rows)
    return replace(
        data,
        query_ids=ids,
        queries=pick(data.queries, rows),
        judgments={query: data.judgments[query] for query in ids},
        candidates=data.candidates and {query: data.candidates[query] for query in ids},
    )


def pick(values: Sequence[Value], rows: Sequence[int]) -> tuple[Value, ...]:
    """Return some of the values.

    >>> pick("abc", [0, 2])
    ('a', 'c')
    """
    return tuple(values[row] for row in rows)


def read_labelled(
    path: str | Path, kind: str | None = None, split: str = TEST, data_columns: Named | None = None
) -> Labelled:
    """Read a labelled folder or file; its kind shows in its files and columns.

    | kind | a folder holds |
    |---|---|
    | `retrieval` | `corpus` (id, title, text), `queries` (id, text), `qrels` (query_id, doc_id, score) |
    | `reranking` | the same, and `candidates` or `top_ranked` (query_id, doc_ids) |
    | `classification` | `train` and `test` (text, label) |
    | `clustering` | `test` (text, label) |
    | `sts` | `test` (text1, text2, score) |
    | `summarisation` | `test` (text, human_summaries, machine_summaries, scores) |

    Files end in `.jsonl`, `.ndjson`, `.csv`, `.tsv` or `.parquet`; all but Parquet may be zipped by gzip (`.gz`)
    or zstd (`.zst`). The layout of BEIR is read too: `_id`, and `qrels/test.tsv` with `query-id` and `corpus-id`.
    Queries, qrels and candidates may have a file per split: `qrels_train`, `qrels/train`.

    A single file is a table of texts and labels (clustering; classification if that is the kind: of each label every
    second text is kept for the test), of pairs and scores, or of summaries.

    Args:
        path: of the folder or the file.
        kind: one of `KINDS`; None recognises it.
        split: to evaluate on; if a folder has no `test`, the single other one is taken.
        data_columns: your names of columns, by those of the table above: `{"text": "review", "label": "stars"}`; of one
            table alone with its name before: `{"queries.text": "ask"}`.

    Returns:
        The data in the order of the files; `notes` say which rows were dropped, and what is odd.

    Raises:
        BadInput: with the file, the line or the ids, the problem, and the remedy.
    """
    plan = plan_files(path, Asked(kind, split, data_columns or {}))
    return _READERS[plan.kind](plan)


def check_labelled(data: Labelled, where: str) -> Labelled:
    """Return data in memory as if they had been read from files: what is odd is refused, dropped or noted alike.

    Args:
        data: of any kind.
        where: what messages call them.
    """
    found = _CHECKS[type(data)](data, where)
    return replace(found, notes=tuple(dict.fromkeys(found.notes)))  # what was read from files has some of them already


def fingerprint_of_files(
    path: str | Path, kind: str | None = None, split: str = TEST, data_columns: Named | None = None
) -> str:
    """Return the fingerprint of the files that `read_labelled` reads: of their names and bytes, and named columns.

    It changes with every document and judgment, and not with the place of the folder.
    """
    plan = plan_files(path, Asked(kind, split, data_columns or {}))
    names = {file.relative_to(plan.root).as_posix(): file for file in plan.files.values()}
    named = [Text("columns", json.dumps(dict(sorted(data_columns.items()))))] if data_columns else []
    return Fingerprint([*(Text(name, _digest(file)) for name, file in sorted(names.items())), *named]).name()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with opened(path) as raw:
        while block := raw.read(2**20):
            digest.update(block)
    return digest.hexdigest()


# Reading and checking, by kind. What is read and what is in memory is checked by the same function.


def _read_search(plan: Plan) -> Retrieval:
    files, named = plan.files, plan.named
    return _search(
        corpus=read_columns(files["corpus"], ("id", "text"), ("title",), named=named["corpus"]),
        queries=read_columns(files["queries"], ("id", "query"), named=named["queries"]),
        judged=read_columns(files["qrels"], ("query_id", "document_id", "grade"), named=named["qrels"]),
        listed=read_candidates(files["candidates"], named["candidates"]) if "candidates" in files else None,
        where=files,
        notes=plan.notes,
    )


def _check_search(data: Retrieval, where: str) -> Retrieval:
    parts = {part: f"{where}, {part}" for part in ("corpus", "queries", "qrels", "candidates")}
    corpus = {"id": data.corpus_ids, "title": data.titles, "text": data.texts}
    queries = {"id": data.query_ids, "query": data.queries}
    rows = [(query, *one) for query, grades in data.judgments.items() for one in grades.items()]
    judged = zip(*rows, strict=True) if rows else ((), (), ())
    listed = None
    if data.candidates is not None:
        columns = {"query_id": tuple(data.candidates), "document_ids": tuple(data.candidates.values())}
        listed = check_columns(columns, parts["candidates"])
    return _search(
        corpus=check_columns(corpus, parts["corpus"]),
        queries=check_columns(queries, parts["queries"]),
        judged=check_columns(dict(zip(("query_id", "document_id", "grade"), judged, strict=True)), parts["qrels"]),
        listed=listed,
        where=parts,
        notes=data.notes,
    )


def _search(
    corpus: RoleColumns,
    queries: RoleColumns,
    judged: RoleColumns,
    listed: RoleColumns | None,
    where: Mapping[str, object],
    notes: Sequence[str],
) -> Retrieval:
    for part, table in (("corpus", corpus), ("queries", queries)):
        refuse_repeated(table["id"], where[part])
    documents, texts = set(corpus["id"]), dict(zip(queries["id"], queries["query"], strict=True))
    judgments, found = judge(judged, texts, documents, where["qrels"])
    candidates = None
    if listed is not None:
        candidates, more = match_candidates(listed, texts, documents, judgments, where["candidates"])
        judgments = {query: judgments[query] for query in candidates}
        found += more
    titles = tuple(title or "" for title in corpus["title"])
    contents = [f"{title}{text}" for title, text in zip(titles, corpus["text"], strict=True)]
    found += [
        count_ids(same_text(judgments, texts), "Queries have the text of a query with other relevant documents"),
        count_ids(empty_ids(corpus["id"], contents), "Empty documents were kept"),
        count_ids(empty_ids(judgments, [texts[query] for query in judgments]), "Empty queries were kept"),
    ]
    tables = [corpus, queries, judged, *([] if listed is None else [listed])]
    return Retrieval(
        corpus_ids=corpus["id"],
        titles=titles,
        texts=corpus["text"],
        query_ids=tuple(judgments),
        queries=tuple(texts[query] for query in judgments),
        judgments=judgments,
        candidates=candidates,
        notes=join_notes(notes, *(table.notes for table in tables), found),
    )


def _read_classification(plan: Plan) -> Classification:
    names = {part: f"{plan.files.get(part, plan.files[TEST])}, split {part!r}" for part in (TRAIN, TEST)}
    if TRAIN in plan.files:
        (train, train_notes), (test, test_notes) = (_labels(plan, part) for part in (TRAIN, TEST))
    else:
        both, train_notes = _labels(plan, TEST)
        train, test = _halves(both)
        test_notes = (f"There is one file: {len(test.texts):,} texts, every second of each label, are the test.",)
    return _classification(train, test, names, str(plan.files[TEST]), (*plan.notes, *train_notes, *test_notes))


def _check_classification(data: Classification, where: str) -> Classification:
    names = {part: f"{where}, {part}" for part in (TRAIN, TEST)}
    train, test = _check_labels(data.train, names[TRAIN]), _check_labels(data.test, names[TEST])
    empty = [count_empty(one.texts, names[part], data.notes) for part, one in ((TRAIN, train), (TEST, test))]
    return _classification(train, test, names, names[TEST], join_notes(data.notes, empty))


def _classification(
    train: Labels, test: Labels, names: Mapping[str, str], where: str, notes: Sequence[str]
) -> Classification:
    for part, given in ((TRAIN, train), (TEST, test)):
        _refuse_one_class(given.labels, names[part])
    known, asked = dict.fromkeys(train.labels), dict.fromkeys(test.labels)
    unseen, unasked = ([one for one in a if one not in b] for a, b in ((asked, known), (known, asked)))
    if len(unseen) == len(asked):
        raise BadInput(
            f"{where}: no label is one of the training texts. The test has {some(asked, 3)}; training has "
            f"{some(known, 3)}. Write the labels in one way."
        )
    seen = set(train.texts)
    shared = [text for text in test.texts if text in seen]
    found = [
        count_ids(unseen, "Labels of the test that no training text has"),
        count_ids(unasked, "Labels of the training texts that no test text has"),
        f"Test texts that are also training texts: {len(shared):,} of {len(test.texts):,}." if shared else "",
    ]
    return Classification(train, test, join_notes(notes, found))


def _read_clustering(plan: Plan) -> Clustering:
    found, notes = _labels(plan, TEST)
    _refuse_one_class(found.labels, str(plan.files[TEST]))
    return Clustering(found.texts, found.labels, join_notes(plan.notes, notes))


def _check_clustering(data: Clustering, where: str) -> Clustering:
    found = _check_labels(Labels(data.texts, data.labels), where)
    _refuse_one_class(found.labels, where)
    notes = join_notes(data.notes, [count_empty(found.texts, where, data.notes)])
    return Clustering(found.texts, found.labels, notes)


def _labels(plan: Plan, part: str) -> tuple[Labels, tuple[str, ...]]:
    path = plan.files[part]
    table = read_columns(path, ("text", "label"), named=plan.named[part])
    empty = count_empty(table["text"], path.name)
    return Labels(table["text"], table["label"]), join_notes(table.notes, [empty])


def _check_labels(data: Labels, where: str) -> Labels:
    found = check_columns({"text": data.texts, "label": data.labels}, where)
    return Labels(found["text"], found["label"])


def _refuse_one_class(labels: Sequence[str], said: str) -> None:
    if len(set(labels)) < 2:
        label = f"every text has the label {labels[0]!r}" if labels else "there are no texts"
        raise BadInput(f"{said}: {label}. Give texts of at least two labels.")


def _halves(given: Labels) -> tuple[Labels, Labels]:
    """Return the texts in two parts: those of each label alternate between them."""
    seen: Counter[str] = Counter()
    parts: tuple[list[int], list[int]] = ([], [])
    for row, label in enumerate(given.labels):
        parts[seen[label] % 2].append(row)
        seen[label] += 1
    return take(given, parts[0]), take(given, parts[1])


def _read_sts(plan: Plan) -> Sts:
    path = plan.files[TEST]
    table = read_columns(path, ("first", "second", "score"), ("subset",), named=plan.named[TEST])
    subsets = None if set(table["subset"]) == {None} else tuple(subset or "" for subset in table["subset"])
    notes = join_notes(plan.notes, table.notes)
    return _sts(Sts(table["first"], table["second"], table["score"], subsets, notes), str(path), path.name)


def _check_sts(data: Sts, where: str) -> Sts:
    columns = {"first": data.first, "second": data.second, "score": data.scores}
    columns |= {} if data.subsets is None else {"subset": data.subsets}
    found = check_columns(columns, where)
    subsets = None if data.subsets is None else found["subset"]
    return _sts(Sts(found["first"], found["second"], found["score"], subsets, data.notes), where, where)


def _sts(data: Sts, where: str, name: str) -> Sts:
    if len(set(data.scores)) < 2:
        only = f" are {data.scores[0]}" if data.scores else ""
        raise BadInput(
            f"{where}: all {len(data.scores):,} scores{only}, so that nothing correlates with them. Give pairs of "
            "several scores."
        )
    found = [count_empty((*data.first, *data.second), name, data.notes)]
    if (count := len(set(data.subsets or ()))) > 1:
        found.append(
            f"The pairs are of {count:,} subsets: intervals and tests are for other pairs of these, not for others."
        )
    return replace(data, notes=join_notes(data.notes, found))


def _read_summarisation(plan: Plan) -> Summarisation:
    path = plan.files[TEST]
    table = read_columns(path, ("text", "human", "machine", "ratings"), ("id",), named=plan.named[TEST])
    ids = tuple(str(row) if name is None else name for row, name in enumerate(table["id"]))
    texts, human, machine, ratings = (table[role] for role in ("text", "human", "machine", "ratings"))
    data = Summarisation(ids, texts, human, machine, ratings, join_notes(plan.notes, table.notes))
    return _summarisation(data, table.places, str(path), path.name)


def _check_summarisation(data: Summarisation, where: str) -> Summarisation:
    columns = {"id": data.ids, "text": data.texts, "human": data.human, "machine": data.machine, "ratings": data.scores}
    found = check_columns(columns, where)
    places = tuple(f"{where}, row {row}" for row in range(len(data.ids)))
    ids, texts, human, machine, ratings = (found[role] for role in columns)
    return _summarisation(Summarisation(ids, texts, human, machine, ratings, data.notes), places, where, where)


def _summarisation(data: Summarisation, places: Sequence[str], where: str, name: str) -> Summarisation:
    for place, human, machine, scores in zip(places, data.human, data.machine, data.scores, strict=True):
        if not human or not machine or len(scores) != len(machine):
            raise BadInput(
                f"{place}: {len(human)} human summaries, {len(machine)} machine summaries and {len(scores)} scores. "
                "Give at least one of each, and a score for each machine summary."
            )
    refuse_repeated(data.ids, where)
    constant = [one for one, scores in zip(data.ids, data.scores, strict=True) if len(set(scores)) == 1]
    if len(constant) == len(data.ids):
        raise BadInput(f"{where}: each text has one score for all its summaries. Give summaries of several scores.")
    summaries = (text for found in (*data.human, *data.machine) for text in found)
    notes = [
        count_ids(constant, "Texts have one score for all summaries"),
        count_empty((*data.texts, *summaries), name, data.notes),
    ]
    return replace(data, notes=join_notes(data.notes, notes))


_READERS: dict[str, Callable[[Plan], Labelled]] = {
    "retrieval": _read_search,
    "reranking": _read_search,
    "classification": _read_classification,
    "clustering": _read_clustering,
    "sts": _read_sts,
    "summarisation": _read_summarisation,
}
_CHECKS: dict[type, Callable[[Any, str], Labelled]] = {
    Retrieval: _check_search,
    Classification: _check_classification,
    Clustering: _check_clustering,
    Sts: _check_sts,
    Summarisation: _check_summarisation,
}
