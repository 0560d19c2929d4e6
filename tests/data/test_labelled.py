"""Labelled data: every schema and format, bad input of every kind, fingerprints, samples, and real folders."""

import csv
import gzip
import io
import itertools
import json
import os
import shutil
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cenote.data.labelled import (
    KINDS,
    Classification,
    Clustering,
    Labels,
    Retrieval,
    Sts,
    Summarisation,
    check_labelled,
    fingerprint_of_files,
    read_labelled,
)
from cenote.data.labelled_files import FORMATS
from cenote.data.labelled_samples import Sizes, sample_labelled
from cenote.data.labelled_schemas import SCHEMAS
from cenote.errors import BadInput, UnknownName

DATA = Path(os.environ.get("CENOTE_DATA", Path(__file__).parents[3] / "shared" / "data"))

CORPUS = [
    {"id": "d1", "title": "Pools", "text": "a pool"},
    {"id": "d2", "title": None, "text": "a pond"},
    {"id": "d3", "text": "a cave"},
]
QUERIES = [{"id": "q1", "text": "water?"}, {"id": "q2", "text": "stone?"}]
QRELS = [
    {"query_id": "q1", "doc_id": "d1", "score": 2},
    {"query_id": "q1", "doc_id": "d2", "score": 1},
    {"query_id": "q2", "doc_id": "d3", "score": 1},
]
CANDIDATES = [{"query_id": "q1", "doc_ids": ["d3", "d1"]}, {"query_id": "q2", "doc_ids": ["d3", "d1", "d2"]}]
TRAIN = [{"text": "a pool", "label": "water"}, {"text": "a rock", "label": "stone"}]
TEST = [{"text": "a pond", "label": "water"}, {"text": "a cave", "label": "stone"}]
PAIRS = [{"text1": "a pool", "text2": "a pond", "score": 4.5}, {"text1": "a pool", "text2": "a cave", "score": 1}]
SUMMARIES = [
    {
        "id": "s1",
        "text": "a long text",
        "human_summaries": ["a text", "long"],
        "machine_summaries": ["text", "a"],
        "systems": ["m1", "m2"],
        "scores": [{"relevance": 4.5, "fluency": 1.0}, {"relevance": 2, "fluency": 5}],
    }
]
SEARCH = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels.tsv": QRELS}
ZIPPED = {".gz": gzip.compress, ".zst": partial(pa.compress, codec="zstd", asbytes=True)}


def write(path, rows):
    """Write rows in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[2]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    out = io.StringIO(newline="")
    if kind in ("csv", "tsv"):
        table = csv.DictWriter(out, list(rows[0]), delimiter="\t" if kind == "tsv" else ",")
        table.writeheader()
        table.writerows(rows)
    else:
        out.write("".join(json.dumps(row) + "\n" for row in rows))
    content = out.getvalue().encode()
    path.write_bytes(ZIPPED.get(path.suffix, bytes)(content))
    return path


def folder(path, tables):
    for name, rows in tables.items():
        write(path / name, rows)
    return path


def renamed(rows, **names):
    return [{names.get(key, key): value for key, value in row.items()} for row in rows]


def judged(data):
    return [(query, name, grade) for query, grades in data.judgments.items() for name, grade in grades.items()]


# Every schema.


@pytest.mark.parametrize("suffix", FORMATS)
def test_retrieval_of_every_format(tmp_path, suffix):
    corpus = [{"title": "", **row} for row in CORPUS]  # tables need one set of columns
    tables = {f"corpus{suffix}": corpus, f"queries{suffix}": QUERIES, f"qrels{suffix}": QRELS}
    data = read_labelled(folder(tmp_path, tables))
    assert isinstance(data, Retrieval)
    assert (data.kind, data.candidates, data.notes) == ("retrieval", None, ())
    assert data.corpus_ids == ("d1", "d2", "d3")
    assert data.titles == ("Pools", "", "")
    assert data.texts == ("a pool", "a pond", "a cave")
    assert (data.query_ids, data.queries) == (("q1", "q2"), ("water?", "stone?"))
    assert data.judgments == {"q1": {"d1": 2, "d2": 1}, "q2": {"d3": 1}}


def test_the_layout_of_beir(tmp_path):
    tables = {
        "corpus.jsonl": [{"_id": 7, "title": "t", "text": "a pool"}],
        "queries.jsonl": [{"_id": 1, "text": "water?"}, {"_id": 2, "text": "stone?"}],
        "qrels/test.tsv": [{"query-id": 1, "corpus-id": 7, "score": 1}],
        "qrels/dev.tsv": [{"query-id": 2, "corpus-id": 7, "score": 1}],
    }
    data = read_labelled(folder(tmp_path, tables))
    assert (data.corpus_ids, data.query_ids, data.judgments) == (("7",), ("1",), {"1": {"7": 1}})
    assert data.notes == ("Queries without judgments were dropped: 1 (2).",)
    assert read_labelled(tmp_path, split="dev").query_ids == ("2",)
    with pytest.raises(BadInput, match=r"has no split 'train'; there are: test, dev\. Choose one"):
        read_labelled(tmp_path, split="train")
    (tmp_path / "qrels" / "test.tsv").unlink()
    data = read_labelled(tmp_path)
    assert data.query_ids == ("2",)
    assert data.notes[0] == "There is no split 'test': 'dev' was read."


def test_splits_of_one_folder(tmp_path):
    tables = {
        **SEARCH,
        "queries_train.jsonl": [{"id": "q9", "text": "light?"}],
        "qrels_train.tsv": [{"query_id": "q9", "doc_id": "d2", "score": 1}],
        "queries_answer.jsonl": [{"id": "q1", "text": "it is a pool"}],
        "qrels_strict.tsv": QRELS[:1],
    }
    folder(tmp_path, tables)
    assert read_labelled(tmp_path).query_ids == ("q1", "q2")
    assert judged(read_labelled(tmp_path, split="train")) == [("q9", "d2", 1)]
    assert read_labelled(tmp_path, split="answer").queries == ("it is a pool",)
    assert judged(read_labelled(tmp_path, split="strict")) == [("q1", "d1", 2)]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("candidates.jsonl", CANDIDATES),
        ("top_ranked/test.jsonl", [{"query-id": row["query_id"], "corpus-ids": row["doc_ids"]} for row in CANDIDATES]),
        ("candidates.parquet", CANDIDATES),
        (
            "top_ranked.tsv",
            [{"query_id": row["query_id"], "doc_id": one} for row in CANDIDATES for one in row["doc_ids"]],
        ),
    ],
)
def test_reranking(tmp_path, name, rows):
    data = read_labelled(folder(tmp_path, {**SEARCH, name: rows}))
    assert (data.kind, data.notes) == ("reranking", ())
    assert data.candidates == {"q1": ["d3", "d1"], "q2": ["d3", "d1", "d2"]}
    plain = read_labelled(tmp_path, kind="retrieval")
    assert (plain.kind, plain.candidates) == ("retrieval", None)
    assert plain.notes == (f"Candidates were not read, since the kind is retrieval: {name.rpartition('/')[2]}.",)


@pytest.mark.parametrize("suffix", FORMATS)
def test_classification_of_every_format(tmp_path, suffix):
    data = read_labelled(folder(tmp_path, {f"train{suffix}": TRAIN, f"test{suffix}": TEST}))
    assert isinstance(data, Classification)
    assert (data.kind, data.notes) == ("classification", ())
    assert (data.train.texts, data.train.labels) == (("a pool", "a rock"), ("water", "stone"))
    assert (data.test.texts, data.test.labels) == (("a pond", "a cave"), ("water", "stone"))
    grouped = read_labelled(tmp_path, kind="clustering")
    assert isinstance(grouped, Clustering)
    assert grouped.texts == ("a pond", "a cave")


def test_a_test_file_alone_is_clustered(tmp_path):
    data = read_labelled(folder(tmp_path, {"test.csv": TEST, "notes.md": [{}]}))
    assert (data.kind, data.texts, data.labels) == ("clustering", ("a pond", "a cave"), ("water", "stone"))
    with pytest.raises(BadInput, match=r"has no table 'train' beside test\.csv, and classification learns from one"):
        read_labelled(tmp_path, kind="classification")


def test_a_missing_test_split_is_replaced_by_the_single_other_one(tmp_path):
    folder(tmp_path, {"train.jsonl": TRAIN, "Validation.jsonl": TEST})
    data = read_labelled(tmp_path)
    assert data.test.texts == ("a pond", "a cave")
    assert data.notes == ("There is no split 'test': 'validation' was read.",)
    assert read_labelled(tmp_path, split="train").kind == "clustering"
    write(tmp_path / "dev.jsonl", TEST)
    with pytest.raises(BadInput, match=r"has no split 'test'; there are: validation, dev, train\. Choose"):
        read_labelled(tmp_path)
    assert read_labelled(tmp_path, split="dev").test.texts == ("a pond", "a cave")


def test_labels_become_strings(tmp_path):
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": 1.5}, {"text": "c", "label": True}]
    assert read_labelled(write(tmp_path / "x.jsonl", rows)).labels == ("0", "1.5", "True")


def test_pairs(tmp_path):
    data = read_labelled(folder(tmp_path, {"test.jsonl.gz": PAIRS}))
    assert isinstance(data, Sts)
    assert (data.first, data.second) == (("a pool", "a pool"), ("a pond", "a cave"))
    assert (data.scores, data.subsets, data.notes) == ((4.5, 1.0), None, ())
    folder(tmp_path, {"test.jsonl.gz": [{**row, "subset": name} for row, name in zip(PAIRS, "ab", strict=True)]})
    assert read_labelled(tmp_path).subsets == ("a", "b")


@pytest.mark.parametrize("names", [("sentence1", "sentence2", "similarity"), ("First", "Second", "Label")])
def test_a_file_of_pairs(tmp_path, names):
    rows = renamed(PAIRS, **dict(zip(("text1", "text2", "score"), names, strict=True)))
    assert read_labelled(write(tmp_path / "pairs.tsv", rows)).scores == (4.5, 1.0)


def test_labels_of_pairs_are_scores_only_where_they_are_numbers(tmp_path):
    rows = [{"text1": "a", "text2": "b", "label": "entailment"}]
    with pytest.raises(BadInput, match=r"pairs\.csv \(columns: text1, text2, label\)"):
        read_labelled(write(tmp_path / "pairs.csv", rows))


def test_a_label_that_is_read_as_the_score_is_noted(tmp_path):
    rows = [{"text1": "a", "text2": "b", "label": 0}, {"text1": "a", "text2": "c", "label": 1}]
    path = write(tmp_path / "test.jsonl", rows)
    for given in (path, tmp_path):
        (note,) = read_labelled(given).notes
        assert note.startswith("The column 'label' was read as the score of similarity")
        assert read_labelled(given, data_columns={"score": "label"}).notes == ()
        assert read_labelled(given, kind="sts").notes == ()


def test_summaries(tmp_path):
    data = read_labelled(folder(tmp_path, {"test.jsonl": SUMMARIES}))
    assert isinstance(data, Summarisation)
    assert (data.ids, data.texts, data.human) == (("s1",), ("a long text",), (("a text", "long"),))
    assert (data.machine, data.scores, data.notes) == ((("text", "a"),), ((4.5, 2.0),), ())


def test_summaries_with_a_column_of_relevance(tmp_path):
    rows = [{key: value for key, value in SUMMARIES[0].items() if key not in ("scores", "id")} | {"relevance": [1, 2]}]
    data = read_labelled(write(tmp_path / "summaries.parquet", rows))
    assert (data.ids, data.scores) == (("0",), ((1.0, 2.0),))


@pytest.mark.parametrize("text", ["sentence", "content", "Body", "document"])
@pytest.mark.parametrize("label", ["labels", "category", "class", "INTENT"])
def test_columns_have_many_names(tmp_path, text, label):
    data = read_labelled(write(tmp_path / "x.csv", renamed(TEST, text=text, label=label)))
    assert data.texts == ("a pond", "a cave")


def test_a_second_column_of_a_role_is_noted(tmp_path):
    rows = [{"category": "x", "label": row["label"], "body": "", "text": row["text"]} for row in TEST]
    data = read_labelled(write(tmp_path / "x.csv", rows), kind="clustering")
    assert data.labels == ("water", "stone")
    assert data.notes == (
        "In x.csv the text is 'text'; not used: body.",
        "In x.csv the label is 'label'; not used: category.",
    )


def test_one_file_is_halved_for_classification(tmp_path):
    rows = [{"text": str(row), "label": label} for row, label in enumerate("aabababb")]
    path = write(tmp_path / "x.csv", rows)
    grouped = read_labelled(path)
    assert grouped.kind == "clustering"
    (note,) = grouped.notes
    assert note.startswith("One file of texts and labels is scored as clustering. For accuracy name a folder with")
    assert read_labelled(path, kind="clustering").notes == ()
    data = read_labelled(path, kind="classification")
    assert (data.train.texts, data.train.labels) == (("0", "2", "3", "6"), tuple("abab"))
    assert (data.test.texts, data.test.labels) == (("1", "4", "5", "7"), tuple("abab"))
    assert data.notes == ("There is one file: 4 texts, every second of each label, are the test.",)


def test_every_kind_has_a_schema():
    assert tuple(SCHEMAS) == KINDS
    assert all(f"`{kind}`" in read_labelled.__doc__ for kind in KINDS)


# Notes.


def test_judgments_of_unknown_ids_are_dropped_and_counted(tmp_path):
    more = [
        *({"query_id": f"x{number}", "doc_id": "d1", "score": 1} for number in range(5)),
        {"query_id": "q1", "doc_id": "d9", "score": 1},
    ]
    data = read_labelled(folder(tmp_path, {**SEARCH, "qrels.tsv": [*QRELS, *more]}))
    assert data.judgments == {"q1": {"d1": 2, "d2": 1}, "q2": {"d3": 1}}
    assert data.notes == (
        "Judgments of unknown queries were dropped: 5 (x0, x1, x2 and 2 more).",
        "Judgments of unknown documents were dropped, so that scores are higher than by all judgments: 1 (d9).",
    )


def test_data_in_memory_are_checked_and_noted_as_files_are(tmp_path):
    rows = [*QRELS, {"query_id": "x0", "doc_id": "d1", "score": 1}, {"query_id": "q1", "doc_id": "d9", "score": 1}]
    read = read_labelled(folder(tmp_path, {**SEARCH, "qrels.tsv": rows}))
    judgments = {}
    for row in rows:
        judgments.setdefault(row["query_id"], {})[row["doc_id"]] = row["score"]
    names, queries = ([one[part] for one in QUERIES] for part in ("id", "text"))
    given = replace(read, query_ids=tuple(names), queries=tuple(queries), judgments=judgments, notes=("Mine.",))
    found = check_labelled(given, "mine")
    assert found.notes == ("Mine.", *read.notes)
    assert (found.query_ids, found.queries, found.judgments) == (read.query_ids, read.queries, read.judgments)
    assert check_labelled(read, "mine").notes == read.notes
    ranked = check_labelled(replace(given, candidates={"q1": ["d1", "d9"], "q2": ["d3"], "q7": ["d1"]}), "mine")
    assert ranked.candidates == {"q1": ["d1"], "q2": ["d3"]}
    assert "Candidates of unknown queries were dropped: 1 (q7)." in ranked.notes


WATER = Labels(("a pool", "a pond"), ("water", "air"))
SAID = (("a pool", "a pond"),) * 2
ONE = (("d",), ("",), ("a",), ("q",), ("c",))
SUMMARY = (("s",), ("a",), (("b",),))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Retrieval(("d", "d"), ("", ""), ("a", "b"), ("q",), ("c",), {"q": {"d": 1}}), "mine, corpus: ids that occur"),
        (Retrieval(("d",), ("",), ("a",), ("q", "q"), ("c", "e"), {"q": {"d": 1}}), "mine, queries: ids that occur"),
        (Retrieval(("d",), ("",), ("a",), ("q",), ("c",), {"q": {"e": 1}}), "mine, qrels: no judgment gives a known"),
        (Retrieval(("d",), ("",), ("a", "b"), ("q",), ("c",), {"q": {"d": 1}}), "mine, corpus: columns of several"),
        (Classification(WATER, Labels(("a", "b"), ("water",) * 2)), "mine, test: every text has the label 'water'"),
        (Classification(WATER, Labels(("a", "b"), ("x", "y"))), "mine, test: no label is one of the training texts"),
        (Clustering(("a", "b"), ("x", "x")), "mine: every text has the label 'x'. Give texts of at least two"),
        (Clustering(("a", 5), ("x", "y")), "mine, row 1: the text is int 5, not a string"),
        (Clustering(("a", "\udc00"), ("x", "y")), "mine, row 1: the text holds a lone surrogate"),
        (Clustering(("a", "b"), ("x", None)), "mine, row 1: the label is null, not a string or a number"),
        (Clustering(("a", "b"), ("x", " ")), "mine, row 1: the label is empty"),
        (Clustering(("a", "b"), ("x", float("nan"))), "mine, row 1: the label is float nan, not a string or a number"),
        (Sts(*SAID, (1.0, 1.0)), "mine: all 2 scores are 1.0, so that nothing correlates"),
        (Retrieval(*ONE, {"q": {"d": 0.5}}), "mine, qrels, row 0: the grade is 0.5, not a whole number"),
        (Retrieval(*ONE, {"q": {"d": None}}), "mine, qrels, row 0: the grade is null, not a finite number"),
        (Sts(*SAID, (1.0, float("nan"))), "mine, row 1: the score is float nan, not a finite number"),
        (Sts(*SAID, (1.0, None)), "mine, row 1: the score is null, not a finite number"),
        (Summarisation(("s",), ("a",), (("b",),), ((),), ((),)), "mine, row 0: 1 human summaries, 0 machine"),
        (Summarisation(*SUMMARY, (("b", 5),), ((1.0, 2.0),)), "mine, row 0: the machine .*, number 2, is int 5, not a"),
        (Summarisation(*SUMMARY, (("b", "c"),), ((1.0, float("nan")),)), "mine, row 0: .*, number 2, is float nan"),
        (Summarisation(("s", "s"), *SAID[:1], *[(("b",),) * 2] * 2, ((1.0,), (2.0,))), "mine: ids that occur more"),
    ],
)
def test_odd_data_in_memory_are_refused_as_files_are(data, message):
    with pytest.raises(BadInput, match=message):
        check_labelled(data, "mine")


def test_cells_in_memory_become_what_those_of_files_do():
    assert check_labelled(Sts(*SAID, ("1", np.float32(2.5))), "mine").scores == (1.0, 2.5)
    assert check_labelled(Clustering(SAID[0], (3, np.int64(4))), "mine").labels == ("3", "4")
    assert check_labelled(Retrieval(*ONE, {"q": {"d": "2"}}), "mine").judgments == {"q": {"d": 2}}


@pytest.mark.parametrize(
    "tables",
    [
        {"train.csv": TRAIN, "test.csv": [*TEST, {"text": " ", "label": "stone"}]},
        {"test.csv": [*PAIRS, {"text1": "a", "text2": " ", "score": 2}]},
        {"test.jsonl": [{**SUMMARIES[0], "text": " "}]},
    ],
)
def test_empty_texts_of_files_are_noted_once(tmp_path, tables):
    read = read_labelled(folder(tmp_path, tables))
    (note,) = read.notes
    assert note.startswith("Empty texts of test.")
    assert check_labelled(read, "mine").notes == (note,)


def test_columns_of_candidates_that_are_not_used_are_noted(tmp_path):
    candidates = [{**one, "docids": ["d1"]} for one in CANDIDATES]
    data = read_labelled(folder(tmp_path, {**SEARCH, "candidates.jsonl": candidates}))
    assert data.notes == ("In candidates.jsonl the document ids is 'doc_ids'; not used: docids.",)


def test_subsets_of_pairs_are_noted(tmp_path):
    rows = [{"text1": "a", "text2": "b", "score": row, "subset": "xyx"[row]} for row in range(3)]
    (note,) = read_labelled(write(tmp_path / "x.csv", rows)).notes
    assert note == "The pairs are of 2 subsets: intervals and tests are for other pairs of these, not for others."


def test_a_document_that_is_judged_irrelevant_and_unknown_raises_no_score(tmp_path):
    more = {"query_id": "q1", "doc_id": "d9", "score": 0}
    data = read_labelled(folder(tmp_path, {**SEARCH, "qrels.tsv": [*QRELS, more]}))
    assert data.notes == ("Judgments of unknown documents were dropped: 1 (d9).",)


def test_trec_eval_counts_a_relevant_document_that_is_not_in_the_corpus_as_not_found():
    trec_eval = pytest.importorskip("pytrec_eval")
    scores = [
        trec_eval.RelevanceEvaluator({"q1": grades}, {"ndcg_cut.10"}).evaluate({"q1": {"d1": 1.0}})["q1"]
        for grades in ({"d1": 1}, {"d1": 1, "d9": 1}, {"d1": 1, "d9": 0})
    ]
    assert scores[1]["ndcg_cut_10"] < scores[0]["ndcg_cut_10"] == scores[2]["ndcg_cut_10"]


def test_queries_that_no_document_answers_are_dropped(tmp_path):
    qrels = [*QRELS[:2], {"query_id": "q2", "doc_id": "d3", "score": 0}]
    queries = [*QUERIES, {"id": "q3", "text": "air?"}]
    data = read_labelled(folder(tmp_path, {**SEARCH, "queries.jsonl": queries, "qrels.tsv": qrels}))
    assert data.query_ids == ("q1",)
    assert data.notes == (
        "Queries without judgments were dropped: 1 (q3).",
        "Queries without a grade above 0 were dropped: 1 (q2).",
    )


def test_of_several_grades_the_highest_counts(tmp_path):
    qrels = [*QRELS, {"query_id": "q1", "doc_id": "d1", "score": 1}, QRELS[2]]
    data = read_labelled(folder(tmp_path, {**SEARCH, "qrels.tsv": qrels}))
    assert data.judgments["q1"]["d1"] == 2
    assert data.notes == ("Judgments with several grades have the highest: 1 (q1 d1).",)


def test_queries_of_one_text_and_empty_texts_are_noted(tmp_path):
    corpus = [*CORPUS, {"id": "d4", "title": "", "text": " "}, {"id": "d5", "title": "Title", "text": ""}]
    queries = [{"id": "q1", "text": ""}, {"id": "q2", "text": ""}]
    data = read_labelled(folder(tmp_path, {**SEARCH, "corpus.jsonl": corpus, "queries.jsonl": queries}))
    assert len(data.texts) == 5
    assert data.notes == (
        "Queries have the text of a query with other relevant documents: 2 (q1, q2).",
        "Empty documents were kept: 1 (d4).",
        "Empty queries were kept: 2 (q1, q2).",
    )


def test_odd_candidates_are_noted(tmp_path):
    rows = [
        {"query_id": "q1", "doc_ids": ["d3", "d8", "d3"]},
        {"query_id": "q7", "doc_ids": ["d1"]},
    ]
    data = read_labelled(folder(tmp_path, {**SEARCH, "candidates.jsonl": rows}))
    assert (data.query_ids, data.candidates) == (("q1",), {"q1": ["d3"]})
    assert data.notes == (
        "Unknown candidates were dropped: 1 (d8).",
        "Candidates of unknown queries were dropped: 1 (q7).",
        "Queries without candidates were dropped: 1 (q2).",
        "Queries have no relevant document among their candidates: 1 (q1).",
    )


def test_odd_labels_are_noted(tmp_path):
    train = [*TRAIN, {"text": "a pond", "label": "air"}]
    test = [*TEST, {"text": "", "label": "light"}]
    assert read_labelled(folder(tmp_path, {"train.csv": train, "test.csv": test})).notes == (
        "Empty texts of test.csv were kept: 1.",
        "Labels of the test that no training text has: 1 (light).",
        "Labels of the training texts that no test text has: 1 (air).",
        "Test texts that are also training texts: 1 of 3.",
    )


def test_empty_sides_and_constant_scores_are_noted(tmp_path):
    pairs = [*PAIRS, {"text1": "", "text2": " ", "score": 0}]
    assert read_labelled(write(tmp_path / "pairs.csv", pairs)).notes == ("Empty texts of pairs.csv were kept: 2.",)
    rows = [*SUMMARIES, {**SUMMARIES[0], "id": "s2", "scores": [1, 1]}]
    assert read_labelled(write(tmp_path / "s.jsonl", rows)).notes == (
        "Texts have one score for all summaries: 1 (s2).",
    )


# Bad input.


def without(*names, of):
    return [{key: value for key, value in row.items() if key not in names} for row in of]


TWICE = [*CORPUS, *CORPUS, CORPUS[0]]
BAD = {
    "repeated documents": ({**SEARCH, "corpus.jsonl": TWICE}, r"corpus\.jsonl: ids .* once: 3 \(d1, d2, d3\)\. Give"),
    "repeated queries": ({**SEARCH, "queries.jsonl": QUERIES[:1] * 2}, r"queries\.jsonl: ids .* once: 1 \(q1\)\. Give"),
    "no known judgment": (
        {**SEARCH, "qrels.tsv": [{"query_id": "q1", "doc_id": "d9", "score": 1}]},
        r"qrels\.tsv: no judgment gives .* unknown documents were dropped: 1 \(d9\)\. Check the ids",
    ),
    "no relevant document": (
        {**SEARCH, "qrels.tsv": [{"query_id": "q1", "doc_id": "d1", "score": 0}]},
        r"qrels\.tsv: .*No grade is above 0",
    ),
    "no qrels": ({"corpus.csv": CORPUS[:1], "queries.csv": QUERIES}, r"it has no qrels\. It holds: corpus\.csv \(col"),
    "no corpus": ({"qrels.tsv": QRELS}, r"it has no corpus and no queries\. It holds: qrels\.tsv \(columns: query_id,"),
    "a grade in between": (
        {**SEARCH, "qrels.tsv": [*QRELS, {"query_id": "q1", "doc_id": "d3", "score": "0.5"}]},
        r"qrels\.tsv, line 5: the grade is 0\.5, not a whole number",
    ),
    "a null document": (
        {**SEARCH, "corpus.jsonl": [*CORPUS, {"id": "d4", "text": None}]},
        r"corpus\.jsonl, line 4: the text is null, not a string\. Correct",
    ),
    "a fractional id": (
        {**SEARCH, "corpus.jsonl": [{"id": 1.5, "text": "a"}]},
        r"corpus\.jsonl, line 1: the id is float 1\.5, not a string or an integer",
    ),
    "a row without an id": (
        {**SEARCH, "corpus.jsonl": [*CORPUS, {"text": "a"}]},
        r"corpus\.jsonl, line 4: no 'id', which the first row has; the columns are: text\.",
    ),
    "a table without ids": (
        {**SEARCH, "queries.jsonl": without("id", of=QUERIES)},
        r"queries\.jsonl, line 1: no column of the id; the columns are: text\. Give it one of the names id, _id",
    ),
    "no known candidate": (
        {**SEARCH, "candidates.jsonl": [{"query_id": "q1", "doc_ids": ["d9"]}]},
        r"candidates\.jsonl: no query with judgments has a known candidate\. .*\(d9\)\. Check",
    ),
    "candidates in no list": (
        {**SEARCH, "candidates.jsonl": [{"query_id": "q1", "doc_ids": "d1"}]},
        r"candidates\.jsonl, line 1: the document ids are str 'd1', not a list",
    ),
    "a null candidate": (
        {**SEARCH, "candidates.jsonl": [{"query_id": "q1", "doc_ids": ["d1", None]}]},
        r"line 1: the document ids, number 2, is null",
    ),
    "one class to learn": (
        {"train.csv": TRAIN[:1], "test.csv": TEST},
        r"train\.csv, split 'train': every text has the",
    ),
    "one class to test": (
        {"train.csv": TRAIN, "test.csv": TEST[:1]},
        r"test\.csv, split 'test': .* label 'water'\. Give",
    ),
    "one group": ({"test.csv": TEST[:1]}, r"test\.csv: every text has the label 'water'\. Give texts of at least two"),
    "other labels": (
        {"train.csv": TRAIN, "test.csv": [{"text": "a", "label": "1"}, {"text": "b", "label": "2"}]},
        r"test\.csv: no label is one of the training texts\. The test has 1, 2; training has water, stone",
    ),
    "no training labels": (
        {"train.csv": without("label", of=TRAIN), "test.csv": TEST},
        r"train\.csv, line 2: no column of the label; the columns are: text\. Give",
    ),
    "an empty label": ({"test.csv": [*TEST, {"text": "a", "label": ""}]}, r"test\.csv, line 4: the label is empty"),
    "a null label": ({"test.jsonl": [*TEST, {"text": "a", "label": None}]}, r"line 3: the label is null, not a string"),
    "several labels": ({"test.jsonl": [{"text": "a", "label": ["x", "y"]}]}, r"line 1: the label is list \['x', 'y'\]"),
    "constant scores": ({"test.csv": PAIRS[:1] * 2}, r"test\.csv: all 2 scores are 4\.5, so that nothing correlates"),
    "a word for a score": (
        {"test.csv": [*PAIRS, {**PAIRS[0], "score": "x"}]},
        r"test\.csv, line 4: the score is str 'x'",
    ),
    "a score of nan": (
        {"test.jsonl": [*PAIRS, {**PAIRS[0], "score": float("nan")}]},
        r"line 3: the score is float nan",
    ),
    "an infinite score": (
        {"test.csv": [*PAIRS, {**PAIRS[0], "score": "inf"}]},
        r"line 4: the score is str 'inf', not a",
    ),
    "too few scores": (
        {"test.jsonl": [{**SUMMARIES[0], "scores": [1]}]},
        r"test\.jsonl, line 1: 2 human summaries, 2 machine summaries and 1 scores\. Give",
    ),
    "no relevance": (
        {"test.jsonl": [{**SUMMARIES[0], "scores": [{"fluency": 1}, {"fluency": 2}]}]},
        r"line 1: the scores of summaries, number 1, have no 'relevance': fluency\.",
    ),
    "constant relevance": (
        {"test.jsonl": [{**SUMMARIES[0], "scores": [1, 1]}]},
        r"each text has one score for all its",
    ),
    "texts alone": (
        {"text.jsonl": without("label", of=TEST)},
        r"is not labelled data of a known schema\. It holds: text\.jsonl \(columns: text\)\. The schemas are: ",
    ),
    "no names of columns": (
        {"test.csv": [{"A man plays a guitar.": "A man sings.", "A pool that a collapse made.": "A cave.", "4.2": 1}]},
        r"4\.2; its first line must name the columns\)",
    ),
    "nothing": ({}, r"It holds: no table, but nothing\. The schemas are: .*Tables end in \.jsonl, "),
    "a table twice": (
        {"test.csv": TEST, "test.jsonl": TEST},
        r"test\.csv and .*test\.jsonl hold the same table\. Remove",
    ),
    "a corpus alone": ({"test.csv": TEST, "corpus.csv": TEST}, r"has no queries and no qrels"),
}


def test_a_folder_above_labelled_data_names_them(tmp_path):
    (tmp_path / "other").mkdir()
    folder(tmp_path / "one", {"test.csv": TEST})
    with pytest.raises(BadInput, match=r"holds no labelled data itself; one in it is labelled data: name one\.$"):
        read_labelled(tmp_path)
    for name in ("search", "two", "three"):
        folder(tmp_path / name, SEARCH)
    with pytest.raises(BadInput, match=r"; one, search, three and 1 more in it are labelled data: name one\.$"):
        read_labelled(tmp_path)


@pytest.mark.parametrize("case", BAD)
def test_bad_folders(tmp_path, case):
    tables, message = BAD[case]
    with pytest.raises(BadInput, match=message):
        read_labelled(folder(tmp_path, tables))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test.jsonl", b"", r"test\.jsonl has no rows\. Give a file with at least one"),
        ("test.csv", b"text,label\n", r"test\.csv has no rows"),
        (
            "test.jsonl",
            b'{"text": \n',
            r"test\.jsonl, line 1: not JSON \(Expecting value: column 10\)\. Write one object",
        ),
        ("test.jsonl", b'["a", "b"]\n', r"test\.jsonl, line 1: the row is list .*\. Make it an object with the names"),
        (
            "test.jsonl",
            b'"a pool"\n',
            r"test\.jsonl, line 1: the row is str 'a pool'\. Make it an object with the names",
        ),
        ("test.jsonl", b'{"text": "\xe9"}\n', r"test\.jsonl, line 1: not UTF-8 \(byte 10, 0xe9\)"),
        ("test.jsonl", b'{"text": "\\ud800", "label": "a"}\n', r"line 1: the text holds a lone surrogate"),
        ("test.csv", b"text,label\na,b,c\n", r"test\.csv, line 2: 3 fields, but the first line, .* has 2\. Put fields"),
        ("test.csv", b'text,label\n"a,b\n', r"test\.csv, line 2: not CSV"),
        ("test.csv", b"text,text,label\na,b,c\n", r"test\.csv has 2 columns 'text'\. Rename all but one"),
        (
            "test.csv.gz",
            gzip.compress(b"text,label\na,b\n" * 99, mtime=0)[:-9],
            r"the gzip data is cut short or damaged",
        ),
        ("test.parquet", b"PAR1", r"test\.parquet, row 0 \(from 0\): damaged Parquet"),
    ],
)
def test_damaged_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(BadInput, match=message):
            read_labelled(path)


def test_decimals_of_a_table_are_numbers(tmp_path):
    scores = pa.array([Decimal("4.5"), Decimal("0.0")], pa.decimal128(3, 1))
    pq.write_table(pa.table({"text1": ["a", "b"], "text2": ["c", "d"], "score": scores}), tmp_path / "pairs.parquet")
    assert read_labelled(tmp_path / "pairs.parquet").scores == (4.5, 0.0)
    for name, digits in (("train", 1), ("test", 2)):
        labels = pa.array([Decimal("4.5"), Decimal("30")], pa.decimal128(5, digits))
        (tmp_path / "stars").mkdir(exist_ok=True)
        pq.write_table(pa.table({"text": [f"{name} a", "b"], "label": labels}), tmp_path / "stars" / f"{name}.parquet")
    found = read_labelled(tmp_path / "stars")
    assert found.train.labels == found.test.labels == ("4.5", "30")


def test_columns_without_a_name_are_no_obstacle(tmp_path):
    columns = [["a", "b"], [0, 1], ["x", "y"], [0, 1]]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], names=["text", "", "label", ""])
    pq.write_table(table, tmp_path / "test.parquet")
    found = read_labelled(tmp_path / "test.parquet")
    assert (found.texts, found.labels) == (("a", "b"), ("x", "y"))


def test_a_table_whose_columns_have_no_names_shows_that_it_has_none(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array(["a", "b"])] * 2, names=["", ""]), tmp_path / "test.parquet")
    (tmp_path / "train.csv").write_text(",\na,b\n")
    with pytest.raises(BadInput, match=r"test\.parquet \(columns: none\), train\.csv \(columns: none\)"):
        read_labelled(tmp_path)


def test_blanks_around_the_names_of_a_csv_are_no_part_of_them(tmp_path):
    (tmp_path / "test.csv").write_text("text, label, class\na pool,water,1\na cave,stone,2\n")
    found = read_labelled(tmp_path, kind="clustering")
    assert found.notes == ("In test.csv the label is 'label'; not used: class.",)
    (tmp_path / "test.csv").write_text("text, label,label\na pool,water,stone\n")
    with pytest.raises(BadInput, match=r"test\.csv has 2 columns 'label'\. Rename all but one"):
        read_labelled(tmp_path)


def test_a_date_that_python_cannot_hold_is_an_error_of_its_row(tmp_path):
    dates = pa.array([0, 2**31 - 1], pa.date32())
    pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", "y"], "expires": dates}), tmp_path / "test.parquet")
    with pytest.raises(BadInput, match=r"test\.parquet, row 1 \(from 0\): damaged, or out of Python's range"):
        read_labelled(tmp_path / "test.parquet")


def test_kinds_and_paths_that_do_not_fit(tmp_path):
    path = write(tmp_path / "test.csv", TEST)
    with pytest.raises(
        UnknownName, match=r"unknown kind of labelled data 'stsb'; did you mean 'sts'\? There are: retr"
    ):
        read_labelled(path, kind="stsb")
    with pytest.raises(BadInput, match=r"test\.csv, line 2: no column of the first text; the columns are: text, label"):
        read_labelled(tmp_path, kind="sts")
    with pytest.raises(BadInput, match=r"it has no corpus and no queries and no qrels\. It holds: test\.csv"):
        read_labelled(tmp_path, kind="retrieval")
    with pytest.raises(BadInput, match=r"test\.csv is one file, and reranking needs a folder with the same"):
        read_labelled(path, kind="reranking")
    with pytest.raises(BadInput, match=r"test\.csv is one file and has no split 'dev'"):
        read_labelled(path, split="dev")
    with pytest.raises(BadInput, match=r"no such file or folder: .*; did you mean 'test\.csv'\?"):
        read_labelled(tmp_path / "tets.csv")
    with pytest.raises(BadInput, match=r"a\.md is no table: it must end in \.jsonl, "):
        read_labelled(shutil.copy(path, tmp_path / "a.md"))
    (tmp_path / "other").mkdir()
    shutil.move(tmp_path / "a.md", tmp_path / "other" / "a.md")
    with pytest.raises(BadInput, match=r"It holds: no table, but a\.md\. The schemas are"):
        read_labelled(tmp_path / "other")
    with pytest.raises(BadInput, match="it has no candidates and no top_ranked, which reranking needs"):
        read_labelled(folder(tmp_path / "search", SEARCH), kind="reranking")


# Fingerprints.


def test_fingerprints_change_with_every_file_that_is_read(tmp_path):
    folder(tmp_path / "a", {**SEARCH, "candidates.jsonl": CANDIDATES, "qrels_train.tsv": QRELS})
    before = fingerprint_of_files(tmp_path / "a")
    assert before == fingerprint_of_files(shutil.copytree(tmp_path / "a", tmp_path / "b"))
    assert before != fingerprint_of_files(tmp_path / "a", "retrieval")
    prints = {before}
    for name in ("corpus.jsonl", "queries.jsonl", "qrels.tsv", "candidates.jsonl"):
        path = tmp_path / "b" / name
        path.write_bytes(path.read_bytes().replace(b"d1", b"d0").replace(b"stone", b"rocks"))
        prints.add(fingerprint_of_files(tmp_path / "b"))
    assert len(prints) == 5
    for name in ("qrels_train.tsv", "README.md"):
        (tmp_path / "b" / name).write_text("changed")
        prints.add(fingerprint_of_files(tmp_path / "b"))
    assert len(prints) == 5


def test_fingerprints_of_one_file_and_of_the_training_split(tmp_path):
    path = write(tmp_path / "test.csv", TEST)
    alone = fingerprint_of_files(path)
    assert alone == fingerprint_of_files(tmp_path)
    write(tmp_path / "train.csv", TRAIN)
    assert alone == fingerprint_of_files(path) == fingerprint_of_files(tmp_path, "clustering")
    assert alone != fingerprint_of_files(tmp_path)


# Samples.


def search(queries, documents, candidates=False):
    ids = [f"d{number}" for number in range(documents)]
    names = [f"q{number}" for number in range(queries)]
    judgments = {name: {ids[row]: 1, ids[-1 - row]: 0} for row, name in enumerate(names)}
    near = {name: [ids[row], ids[row + 1]] for row, name in enumerate(names)} if candidates else None
    return Retrieval(tuple(ids), ("",) * documents, tuple(ids), tuple(names), tuple(names), judgments, near, ("odd",))


def test_a_sample_of_a_search_keeps_all_that_its_queries_need():
    data = search(300, 5000, candidates=True)
    sample = sample_labelled(data)
    assert sample.kind == "reranking"
    assert (len(sample.query_ids), len(sample.corpus_ids), len(sample.titles)) == (100, 500, 500)
    assert sample.notes == ("odd", "This is a fixed sample of 100 of 300 queries and 500 of 5,000 documents.")
    kept = set(sample.corpus_ids)
    assert sample.texts == sample.corpus_ids == tuple(name for name in data.corpus_ids if name in kept)
    assert sample.query_ids == tuple(name for name in data.query_ids if name in sample.judgments) == sample.queries
    for query in sample.query_ids:
        assert sample.candidates[query] == data.candidates[query]
        assert kept.issuperset(sample.candidates[query])
        assert kept.issuperset(sample.judgments[query])
        relevant = {name for name, grade in data.judgments[query].items() if grade > 0}
        assert relevant <= sample.judgments[query].keys()


def test_a_sample_of_a_search_does_not_depend_on_the_order():
    data = search(30, 90)
    turned = Retrieval(
        data.corpus_ids[::-1], data.titles, data.texts[::-1], data.query_ids[::-1], data.queries[::-1], data.judgments
    )
    sizes = Sizes(queries=5, documents=20)
    one, other = sample_labelled(data, sizes=sizes), sample_labelled(turned, sizes=sizes)
    assert one.corpus_ids == other.corpus_ids[::-1]
    assert one.query_ids == other.query_ids[::-1]
    assert len(one.corpus_ids) == 20


def test_relevant_documents_stay_where_they_are_more_than_the_sample():
    sample = sample_labelled(search(30, 90), sizes=Sizes(queries=8, documents=3))
    assert len(sample.corpus_ids) == 8
    assert sample.notes[-1] == "This is a fixed sample of 8 of 30 queries and 8 of 90 documents."
    assert (
        sample_labelled(search(3, 90), sizes=Sizes(documents=9))
        .notes[-1]
        .endswith("all 3 queries and 9 of 90 documents.")
    )


def test_samples_of_labels_are_even():
    labels = tuple(itertools.islice(itertools.cycle("aaab"), 4000))
    texts = tuple(map(str, range(4000)))
    data = Classification(Labels(texts[:150], labels[:150]), Labels(texts, labels))
    sample = sample_labelled(data)
    assert [sample.test.labels.count(label) for label in "ab"] == [225, 75]
    assert [sample.train.labels.count(label) for label in "ab"] == [16, 16]
    assert all(labels[int(text)] == label for text, label in zip(sample.test.texts, sample.test.labels, strict=True))
    assert sample.notes == ("This is a fixed sample of 300 of 4,000 test texts and 32 of 150 training texts.",)
    grouped = sample_labelled(Clustering((*texts, "rare"), (*labels, "c")))
    assert [grouped.labels.count(label) for label in "abc"] == [224, 75, 1]
    assert list(map(int, grouped.texts[:-1])) == sorted(map(int, grouped.texts[:-1]))


def test_samples_of_pairs_and_of_summaries():
    rows = tuple(map(str, range(800)))
    pairs = sample_labelled(Sts(rows, rows, tuple(map(float, rows)), ("x",) * 600 + ("y",) * 200))
    assert pairs.first == pairs.second == tuple(str(int(score)) for score in pairs.scores)
    assert (pairs.subsets.count("x"), pairs.subsets.count("y")) == (375, 125)
    assert sample_labelled(Sts(rows, rows, tuple(map(float, rows)))).subsets is None
    texts = tuple((row,) for row in rows)
    scores = tuple((float(row),) for row in rows)
    data = sample_labelled(Summarisation(rows, rows, texts, texts, scores))
    assert len(data.ids) == 30
    assert data.ids == data.texts == tuple(human for (human,) in data.human) == tuple(one for (one,) in data.machine)
    assert data.scores == tuple((float(name),) for name in data.ids)
    assert data.notes == ("This is a fixed sample of 30 of 800 texts.",)


@pytest.mark.parametrize(
    "data",
    [
        search(100, 500),
        Classification(Labels(("a", "b"), ("x", "y")), Labels(("a", "b"), ("x", "y"))),
        Clustering(("a", "b"), ("x", "y")),
        Sts(("a", "b"), ("a", "b"), (1.0, 2.0)),
        Summarisation(("a",), ("a",), (("a",),), (("a", "b"),), ((1.0, 2.0),)),
    ],
    ids=lambda data: data.kind,
)
def test_small_data_are_returned_unchanged(data):
    assert sample_labelled(data) is data


# Real folders.

# Rows as the index of the folders states them: of queries those with judgments; (train, test) of labels.
REAL = {
    "qmsum": ("retrieval", (232, 1810, 1810)),
    "cisi": ("retrieval", (1460, 76, 3114)),
    "cranfield": ("retrieval", (1398, 225, 1611)),
    "npl_vaswani": ("retrieval", (11429, 93, 2083)),
    "scifact": ("retrieval", (5183, 300, 339)),
    "20news_full": ("classification", (11314, 7532)),
    "imdb": ("classification", (5000, 25000)),
    "banking77": ("classification", (10003, 3080)),
    "clinc150": ("classification", (15000, 4500)),
    "mr_sentences": ("classification", (8662, 2000)),
    "subj": ("classification", (8000, 2000)),
    "trec_qc": ("classification", (5452, 500)),
    "20news_titles": ("classification", (11314, 7532)),
    "stackoverflow_titles": ("clustering", (20000,)),
    "sickr": ("sts", (4927,)),
    "sts12": ("sts", (2358,)),
    "sts14": ("sts", (3750,)),
    "sts15": ("sts", (3000,)),
    "sts16": ("sts", (1186,)),
    "stsbenchmark": ("sts", (1379,)),
    "summeval": ("summarisation", (100,)),
}
COUNTS = {
    **dict.fromkeys(("retrieval", "reranking"), lambda data: (len(data.texts), len(data.queries), len(judged(data)))),
    "classification": lambda data: (len(data.train.texts), len(data.test.texts)),
    "clustering": lambda data: (len(data.texts),),
    "sts": lambda data: (len(data.scores),),
    "summarisation": lambda data: (len(data.texts),),
}
ODD = {
    "cisi": ("Queries without judgments were dropped: 36 (36, 38, 40 and 33 more).",),
    "qmsum": (
        "Queries have the text of a query with other relevant documents: 264 (test_Bed003_g0, test_Bed008_g0, "
        "test_Bed016_g0 and 261 more).",
    ),
    "imdb": ("Test texts that are also training texts: 27 of 25,000.",),
    "clinc150": ("Test texts that are also training texts: 2 of 4,500.",),
    "trec_qc": ("Test texts that are also training texts: 10 of 500.",),
    "20news_titles": ("Test texts that are also training texts: 2,365 of 7,532.",),
    **{
        name: (f"The pairs are of {count} subsets: intervals and tests are for other pairs of these, not for others.",)
        for name, count in {"sts12": 4, "sts14": 6, "sts15": 5, "sts16": 5}.items()
    },
}


# Folders with something odd in each table.
ODD_FOLDERS = {
    "retrieval": (
        {
            "corpus.jsonl": [*CORPUS, {"id": "d4", "text": " "}],
            "queries.csv": [*QUERIES, {"id": "q3", "text": "air?"}],
            "qrels.tsv": [*QRELS, {"query_id": "q9", "doc_id": "d1", "score": 1}],
        },
        (4, 2, 3),
        (
            "Judgments of unknown queries were dropped: 1 (q9).",
            "Queries without judgments were dropped: 1 (q3).",
            "Empty documents were kept: 1 (d4).",
        ),
    ),
    "reranking": (
        {**SEARCH, "candidates.jsonl": [*CANDIDATES, {"query_id": "q9", "doc_ids": ["d1"]}]},
        (3, 2, 3),
        ("Candidates of unknown queries were dropped: 1 (q9).",),
    ),
    "classification": (
        {"train.csv": [*TRAIN, TEST[0]], "test.jsonl": TEST},
        (3, 2),
        ("Test texts that are also training texts: 1 of 2.",),
    ),
    "clustering": (
        {"test.csv": [*TEST, {"text": "", "label": "air"}]},
        (3,),
        ("Empty texts of test.csv were kept: 1.",),
    ),
    "sts": ({"test.tsv": [*PAIRS, {**PAIRS[0], "text2": ""}]}, (3,), ("Empty texts of test.tsv were kept: 1.",)),
    "summarisation": (
        {"test.jsonl": [*SUMMARIES, {**SUMMARIES[0], "id": "s2", "scores": [3, 3]}]},
        (2,),
        ("Texts have one score for all summaries: 1 (s2).",),
    ),
}


def check(path, kind, counts, notes):
    """Check what is read of a folder: its kind, its rows, all of its notes; a fingerprint and a sample are made."""
    data = read_labelled(path)
    assert (data.kind, COUNTS[kind](data), data.notes) == (kind, counts, notes)
    assert len(fingerprint_of_files(path)) == 16
    assert sample_labelled(data).kind == kind


@pytest.mark.parametrize("kind", ODD_FOLDERS)
def test_folders_with_something_odd(tmp_path, kind):
    tables, counts, notes = ODD_FOLDERS[kind]
    check(folder(tmp_path, tables), kind, counts, notes)


@pytest.mark.parametrize("name", REAL)
def test_real_folders(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"no folder {name} in {DATA}: set CENOTE_DATA to a folder that has it")
    check(DATA / name, *REAL[name], ODD.get(name, ()))


def test_real_summaries_have_sixteen_scores():
    if not (DATA / "summeval").is_dir():
        pytest.skip(f"no folder summeval in {DATA}: set CENOTE_DATA to a folder that has it")
    data = read_labelled(DATA / "summeval")
    assert {(len(human), len(machine)) for human, machine in zip(data.human, data.machine, strict=True)} == {(11, 16)}
    assert data.scores[0][:3] == (3.0, 7 / 3, 5 / 3)
