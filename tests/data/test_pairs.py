"""Pairs in every format, and rows that cannot be pairs."""

import gzip
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from cenote.data.pairs import Pair, hash_of, read_pairs, write_pairs
from cenote.errors import BadInput

ROWS = [
    {"query": "a pool", "positive": "water", "negatives": ["stone", "light"], "scores": [2.0, 0.5, -1.0]},
    {"query": "a cave", "positive": "dark", "negatives": ["sun", "sky"], "scores": [1.0, 0.0, 0.0]},
]
PAIRS = [Pair(row["query"], row["positive"], tuple(row["negatives"]), tuple(row["scores"])) for row in ROWS]


def test_every_format_gives_the_same_pairs(tmp_path):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "c.parquet")
    (tmp_path / "d.csv").write_text(
        "anchor,answer,negatives,scores\n"
        + "".join(
            f'{row["query"]},{row["positive"]},"{json.dumps(row["negatives"]).replace(chr(34), chr(34) * 2)}",'
            f'"{row["scores"]}"\n'
            for row in ROWS
        )
    )
    (tmp_path / "e.jsonl.zst").write_bytes(pa.compress(lines.encode(), codec="zstd", asbytes=True))
    for name in ("a.jsonl", "b.jsonl.gz", "c.parquet", "d.csv", "e.jsonl.zst"):
        assert list(read_pairs(tmp_path / name)) == PAIRS, name
    assert list(read_pairs(ROWS)) == list(read_pairs(PAIRS)) == PAIRS


def test_negatives_in_columns_and_tuples(tmp_path):
    (tmp_path / "a.tsv").write_text("question\tpassage\tnegative_2\tnegative\nq\tp\tn2\tn1\nq2\tp2\t\tn3\n")
    assert list(read_pairs(tmp_path / "a.tsv")) == [Pair("q", "p", ("n1", "n2")), Pair("q2", "p2", ("n3",))]
    assert list(read_pairs([("q", "p", "n")])) == [Pair("q", "p", ("n",))]


@pytest.mark.parametrize("text", ["[sic] a cave", "[1, 2]", '["a" "b"]', "[" * 100_000])
def test_a_negative_may_begin_with_a_bracket(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(json.dumps({"query": "q", "positive": "p", "negative": text}) + "\n")
    (tmp_path / "b.tsv").write_text('query\tpositive\tnegative\nq\tp\t"[""n1"", ""n2""]"\n')
    assert list(read_pairs(tmp_path / "a.jsonl")) == [Pair("q", "p", (text,))]
    assert list(read_pairs(tmp_path / "b.tsv")) == [Pair("q", "p", ("n1", "n2"))]


def test_of_columns_with_the_same_plain_name_the_first_counts(tmp_path):
    (tmp_path / "a.csv").write_text("Query,query,positive\nfirst,second,p\n")
    assert list(read_pairs(tmp_path / "a.csv")) == [Pair("first", "p")]
    assert list(read_pairs([{"positive": "p", "Query": "first", "query": "second"}])) == [Pair("first", "p")]


def test_pairs_are_read_one_by_one():
    def endless():
        while True:
            yield ("q", "p")

    assert next(read_pairs(endless())) == Pair("q", "p")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": " ", "positive": "p"}, r"pair 0 \(from 0\): the query is empty\. Correct or drop the row"),
        ({"query": "q", "positive": ""}, "the positive is empty"),
        ({"query": "q", "positive": None}, "the positive is null, not a string"),
        ({"query": "q", "positive": "p", "negatives": ["", "n"]}, "negative 1 is empty"),
        ({"query": "q", "positive": "p", "negatives": 3}, "negatives is int 3, not a list"),
        ({"query": "q", "positive": "p", "negatives": ["n", " p"]}, "the positive is also a negative"),
        (
            {"query": "q", "text": "p"},
            "no column of the positive; the columns are: query, text. Give it one of the names",
        ),
        (
            {"query": "q", "positive": "p", "negatives": ["n"], "scores": [1]},
            "1 scores for a positive and 1 negatives: give 2, the positive's first",
        ),
        (
            {"query": "q", "positive": "p", "negatives": ["n"], "scores": [1, "nan"]},
            "score 2 is str 'nan', not a finite",
        ),
        ("q", "is str 'q': give a mapping with 'query' and 'positive', or a tuple of both"),
    ],
)
def test_a_row_that_is_no_pair_is_refused(row, message):
    with pytest.raises(BadInput, match=message):
        read_pairs([row])


def test_all_pairs_have_scores_or_none():
    pairs = read_pairs([ROWS[0], {"query": "q", "positive": "p"}])
    with pytest.raises(BadInput, match=r"pair 1 \(from 0\): it lacks scores, which the first has"):
        list(pairs)


def test_sources_without_pairs_are_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "words.txt").write_text("a\n")
    for source, message in (
        (tmp_path / "empty.jsonl", "holds no pairs"),
        ([], "the list holds no pairs"),
        (tmp_path / "words.txt", "no file of pairs: name a file that ends in .jsonl"),
        (tmp_path, "no file of pairs"),
        (tmp_path / "pear.jsonl", "no such file"),
    ):
        with pytest.raises(BadInput, match=message):
            read_pairs(source)


def test_the_table_holds_the_pairs_and_their_counts(tmp_path):
    pairs = [*PAIRS, Pair("q", "p", ("n",), (1.0, 0.0))] * 2000
    table = write_pairs(pairs, tmp_path / "pairs.arrow")
    assert (table.count, table.negatives, table.scored) == (6000, (1, 2), True)
    with pa.memory_map(str(tmp_path / "pairs.arrow")) as source:
        rows = pa.ipc.open_stream(source).read_all().to_pylist()
    assert [Pair(r["query"], r["positive"], tuple(r["negatives"]), tuple(r["scores"])) for r in rows] == pairs
    assert rows[0]["hashes"] == [hash_of(text) for text in pairs[0].texts]
    for other in (pairs[1:], [*pairs[:-1], Pair("q", "p", ("n",), (1.0, 0.5))], [*pairs[:-1], Pair("q", "pn", (), ())]):
        assert write_pairs(other, tmp_path / "other.arrow").fingerprint != table.fingerprint
