"""`mine_pairs`: what it reads and writes, what it leaves out and counts, and that texts do not depend on each other."""

import csv
import gc
import gzip
import json
import tracemalloc

import pytest

from cenote import choices
from cenote.data.pairs import Pair, read_pairs
from cenote.data.rows import Text
from cenote.errors import BadInput, CenoteError, UnknownName
from cenote.training.mining import mine_pairs
from cenote.training.ways import LEFT_OUT

TEXTS = [
    " ".join(f"This is sentence {number} of text {name}, and it is long." for number in range(9)) for name in "abcdefgh"
]
ROWS = [{"id": f"doc-{place}", "title": f"Text {place}", "text": text} for place, text in enumerate(TEXTS)]
EVERY = "title,spans,sentence"


def skipped(found):
    return {name: count for name, count in found.counts.items() if count and name in LEFT_OUT}


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return path


# Draws.


def test_each_way_gives_a_pair_of_each_text():
    found = mine_pairs(ROWS, EVERY)
    assert (found.counts["texts"], found.counts["pairs"], len(found.pairs)) == (8, 24, 24)
    assert found.ways == ("title", "spans", "sentence")
    assert [pair for pair in found.pairs if pair.query.startswith("Text ")] == [
        Pair(row["title"], row["text"]) for row in ROWS
    ]
    for way in found.ways:
        assert set(mine_pairs(ROWS, way).pairs) < set(found.pairs)


def test_pairs_of_a_text_depend_on_no_other_text():
    pairs = set(mine_pairs(ROWS, EVERY, per_text=2).pairs)
    assert set(mine_pairs(ROWS[::-1], EVERY, per_text=2).pairs) == pairs
    alone = [mine_pairs([row], EVERY, per_text=2).pairs for row in ROWS]
    assert {pair for each in alone for pair in each} == pairs
    assert set(mine_pairs(ROWS, EVERY, per_text=2, seed=1).pairs) != pairs


def test_limit_takes_the_first_pairs_and_stops_reading():
    taken = []

    def rows():
        for row in ROWS:
            taken.append(row)
            yield row

    found = mine_pairs(rows(), "spans", limit=3)
    assert found.pairs == mine_pairs(ROWS, "spans").pairs[:3]
    assert found.counts["texts"] == len(taken) == 3


def test_settings_reach_the_draws():
    found = mine_pairs(ROWS, "spans", words=(3, 4), per_text=5)
    assert {len(side.split()) for pair in found.pairs for side in (pair.query, pair.positive)} == {3, 4}
    assert len(found.pairs) + sum(skipped(found).values()) == 40
    assert all(pair.query in pair.positive for pair in mine_pairs(ROWS, "sentence", keep=1.0).pairs)


# What is left out.


def test_what_is_left_out_is_counted():
    rows = [
        {"title": "A pool", "text": TEXTS[0]},
        {"title": " a POOL ", "text": TEXTS[0].upper()},  # repeated
        {"title": "", "text": TEXTS[1]},
        {"title": None, "text": TEXTS[1]},
        {"text": TEXTS[1]},
        {"title": "Short", "text": "A text of five words."},
        {"title": TEXTS[2], "text": f" {TEXTS[2].lower()}\n"},  # equal
    ]
    found = mine_pairs(rows, "title")
    assert found.pairs == (Pair("A pool", TEXTS[0]),)
    assert skipped(found) == {"no_title": 3, "short_texts": 1, "equal": 1, "repeated": 1}
    assert found.counts["texts"] == 7
    assert repr(found) == (
        "1 pair by title from 7 texts\nleft out: 1 text of too few words, 3 texts without a title, "
        "1 pair whose query equals the positive, 1 pair drawn before"
    )


def test_short_texts_are_counted_for_each_way():
    found = mine_pairs([TEXTS[0], "One sentence of a text that has more than ten words."], "spans,sentence")
    assert skipped(found) == {"no_spans": 1, "no_sentence": 1, "short_paragraphs": 1}
    assert skipped(mine_pairs(TEXTS[:1], min_words=5)) == {}
    assert repr(mine_pairs(TEXTS)).endswith("\nleft out: nothing")


def test_a_pair_and_its_reverse_are_two_pairs():
    rows = [{"title": TEXTS[0], "text": TEXTS[1]}, {"title": TEXTS[1], "text": TEXTS[0]}]
    assert len(mine_pairs(rows, "title").pairs) == 2


def test_no_pair_at_all_says_why(tmp_path):
    output = tmp_path / "pairs.jsonl"
    with pytest.raises(
        BadInput, match="no pair can be drawn from 2 texts; left out: 1 text of too few words, 1 text t"
    ):
        mine_pairs(["short", " ".join(["word"] * 20)], "spans", output=output)
    assert list(tmp_path.iterdir()) == []


# Sources.


def test_files_and_lists_give_the_same_pairs(corpus, tmp_path):
    expected = mine_pairs(ROWS, EVERY).pairs
    table = tmp_path / "corpus.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "title", "text"])
        writer.writeheader()
        writer.writerows(ROWS)
    packed = tmp_path / "corpus.jsonl.gz"
    packed.write_bytes(gzip.compress(corpus.read_bytes()))
    for source in (corpus, str(corpus), table, packed, iter(ROWS)):
        assert mine_pairs(source, EVERY).pairs == expected
    pairs = [(row["id"], row["text"]) for row in ROWS]
    for source in (pairs, [Text(*pair) for pair in pairs]):
        assert mine_pairs(source, "spans").pairs == mine_pairs(ROWS, "spans").pairs


def test_lines_have_their_number_as_id(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS))
    assert mine_pairs(path).pairs == mine_pairs(TEXTS).pairs == mine_pairs([{"text": text} for text in TEXTS]).pairs


def test_columns_can_be_named(tmp_path):
    renamed = [{"_id": row["id"], "name": row["title"], "body": row["text"]} for row in ROWS]
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in renamed))
    columns = {"columns": "body", "title_column": "name", "id_column": "_id"}
    for source in (renamed, path):
        assert mine_pairs(source, EVERY, **columns).pairs == mine_pairs(ROWS, EVERY).pairs


def test_a_missing_title_in_a_file_is_counted(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*ROWS, {"id": "x", "text": TEXTS[0]}]))
    assert skipped(mine_pairs(path, "title")) == {"no_title": 1}


@pytest.mark.parametrize(
    ("source", "ways", "error", "message"),
    [
        ([], "spans", BadInput, "there are no texts in the list"),
        (3, "spans", BadInput, "texts is 3: pass strings"),
        (ROWS[0], "spans", BadInput, "texts is a dict: pass a list of its texts"),
        ([None], "spans", BadInput, "row 0: the text is null, not a string"),
        ([TEXTS[0], 7], "spans", BadInput, "row 1: the text is int 7"),
        ([{"txt": "a"}], "spans", UnknownName, "unknown column of row 0: 'text'; did you mean 'txt'"),
        (TEXTS, "title", UnknownName, "unknown column of row 0: 'title'.*The way `title` needs a column of titles"),
        ([{"titel": "a", "text": "b"}], "title", UnknownName, "'title'; did you mean 'titel'"),
        ("no/such.jsonl", "spans", BadInput, "no such file or folder: no/such.jsonl"),
        (ROWS, "spams", UnknownName, "unknown way 'spams'; did you mean 'spans'"),
    ],
)
def test_bad_corpus(source, ways, error, message):
    with pytest.raises(error, match=message):
        mine_pairs(source, ways)


def test_a_file_without_titles(corpus, tmp_path):
    with pytest.raises(UnknownName, match=r"'heading'.*There are: id, title, text\. The way `title` needs a col"):
        mine_pairs(corpus, "title", title_column="heading")
    path = tmp_path / "corpus.txt"
    path.write_text("one\n")
    with pytest.raises(BadInput, match="is plain text and has no column 'title'"):
        mine_pairs(path, "title")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(BadInput, match="there are no texts in"):
        mine_pairs(tmp_path / "empty.jsonl")


# Output.


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz", "pairs.parquet"])
def test_the_file_has_the_pairs_and_the_same_bytes_again(tmp_path, name):
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        path.mkdir()
        found = mine_pairs(ROWS, EVERY, output=path / name)
        assert (found.pairs, found.output) == (None, str(path / name))
        assert tuple(read_pairs(path / name)) == mine_pairs(ROWS, EVERY).pairs
        assert [file.name for file in path.iterdir()] == [name]
    assert len({(path / name).read_bytes() for path in paths}) == 1
    assert f"from 8 texts, in {tmp_path}" in repr(found)


def test_lines_are_objects_with_two_keys(tmp_path):
    mine_pairs([{"title": "Höhle 水", "text": TEXTS[0]}], "title", output=tmp_path / "pairs.jsonl")
    line = (tmp_path / "pairs.jsonl").read_text("utf-8")
    assert line == f'{{"query": "Höhle 水", "positive": "{TEXTS[0]}"}}\n'


def test_an_error_leaves_an_earlier_file_unchanged(tmp_path):
    output = tmp_path / "pairs.jsonl"
    mine_pairs(ROWS, output=output)
    before = output.read_bytes()
    with pytest.raises(BadInput, match="row 8: the text is null"):
        mine_pairs([*ROWS, None], output=output)
    assert output.read_bytes() == before
    assert list(tmp_path.iterdir()) == [output]
    mine_pairs(ROWS[:2], output=output)
    assert len(output.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pairs.txt", "name a file that ends in .jsonl, .jsonl.gz or .parquet"),
        ("missing/pairs.jsonl", "there is no folder '.*missing'. Make it first"),
        ("folder.jsonl", "is a folder: name a file"),
        ("corpus.jsonl", "is an input and would be overwritten"),
    ],
)
def test_bad_output(corpus, tmp_path, name, message):
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(BadInput, match=message):
        mine_pairs(corpus, output=tmp_path / name)
    assert len(corpus.read_text().splitlines()) == 8


def test_pairs_that_the_next_run_would_read_are_refused(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("USERPROFILE", str(tmp_path.parent))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "link.jsonl").symlink_to(tmp_path / "there.jsonl")
    (tmp_path / "there.jsonl").write_bytes(corpus.read_bytes())
    for source, name, fate in (
        (tmp_path, "pairs.jsonl", "would be an input of the next run"),
        (str(tmp_path / "*.jsonl"), "pairs.jsonl", "would be an input of the next run"),
        (f"~/{tmp_path.name}", "pairs.jsonl", "would be an input of the next run"),
        ([corpus, tmp_path], "pairs.jsonl", "would be an input of the next run"),
        (tmp_path / "texts", "there.jsonl", "is an input and would be overwritten"),
    ):
        with pytest.raises(BadInput, match=fate):
            mine_pairs(source, output=tmp_path / name)
    assert not (tmp_path / "pairs.jsonl").exists()
    assert (tmp_path / "there.jsonl").read_bytes() == corpus.read_bytes()


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    def texts(count):
        return (f"{number} " + " ".join(f"word{number % 97}{place}" for place in range(150)) for number in range(count))

    mine_pairs(texts(10), output=tmp_path / "pairs.jsonl")
    gc.collect()
    tracemalloc.start()
    try:
        mine_pairs(texts(2000), output=tmp_path / "pairs.jsonl")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 600_000  # the texts are 2.5 MB, and the hashes 0.25


def test_progress_counts_texts():
    told = []
    mine_pairs(TEXTS, progress=lambda *step: told.append(step))
    assert told == [("reading texts", done, 0) for done in range(9)]


# Negatives.


def test_negatives_are_added_and_pairs_with_fewer_are_left_out(bag_model, tmp_path):
    pytest.importorskip("datasets", reason="negatives need datasets: pip install 'cenote[train]'")
    from ..bags import WORDS

    rows = [{"title": WORDS[place + 5], "text": " ".join(WORDS[place : place + 12])} for place in range(0, 30, 6)]
    said = []
    found = mine_pairs(rows, "title", negatives=2, model=bag_model, margin=0.0, notify=said.append)
    texts = {row["title"]: row["text"] for row in rows}
    for pair in found.pairs:
        assert pair.positive == texts[pair.query]
        assert len(set(pair.negatives)) == 2
        assert set(pair.negatives) < set(texts.values()) - {pair.positive}
    few = found.counts["few_negatives"]
    assert few + found.counts["pairs"] == 5
    assert [sentence.split(" had ")[0] for sentence in said] == ([f"{few} pairs of 5"] if few else [])
    for name in ("pairs.jsonl", "pairs.parquet"):
        output = tmp_path / name
        loader = {"a name": bag_model}.__getitem__
        mine_pairs(rows, "title", negatives=2, model="a name", margin=0.0, output=output, loader=loader)
        assert tuple(read_pairs(output)) == found.pairs


def test_static_embeddings_find_negatives(bag_model):
    pytest.importorskip("datasets", reason="negatives need datasets: pip install 'cenote[train]'")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    from ..bags import WORDS

    rows = [{"title": WORDS[place + 5], "text": " ".join(WORDS[place : place + 12])} for place in range(0, 30, 6)]
    words = StaticEmbedding(bag_model.tokenizer.backend_tokenizer, embedding_dim=8)
    model = SentenceTransformer(modules=[words], device="cpu")
    found = mine_pairs(rows, "title", negatives=1, model=model, margin=0.0)
    assert found.counts["pairs"] + found.counts["few_negatives"] == 5


def test_no_pair_with_enough_negatives_says_why(bag_model):
    pytest.importorskip("datasets", reason="negatives need datasets: pip install 'cenote[train]'")
    with pytest.raises(BadInput, match="no pair can be drawn from 8 texts; left out: 8 pairs with too few negatives"):
        mine_pairs(ROWS, "title", negatives=50, model=bag_model)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"negatives": 3}, "negatives=3 needs a model that ranks candidates"),
        ({"model": "minilm"}, "a model is given, which only finds negatives"),
        ({"negatives": 0, "model": "minilm"}, "negatives=0: pass a whole number of at least 1"),
        ({"negatives": 1, "model": "minilm", "range_min": -1}, "range_min=-1: pass a whole number of at least 0"),
        ({"negatives": 1, "model": "minilm", "margin": 2}, "margin=2: pass a number from 0 to 1"),
        ({"limit": 0}, "limit=0: pass a whole number of at least 1"),
    ],
)
def test_bad_options(given, message):
    with pytest.raises(BadInput, match=message):
        mine_pairs(ROWS, "title", **given)


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(choices.PACKAGES, "train", ("no_such_package",))
    with pytest.raises(CenoteError, match=r"no_such_package, which is missing: pip install 'cenote\[train\]'"):
        mine_pairs(ROWS, "title", negatives=1, model="minilm")
