"""`search` against brute force by numpy over the same vectors, in every form in which `embed` writes them."""

import json
import threading
import time
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch

import cenote
from cenote.embedding import scan as scanning
from cenote.embedding.folder import opened
from cenote.embedding.parts import Part
from cenote.embedding.reading import Embeddings, read_embeddings
from cenote.embedding.search import Hit
from cenote.errors import BadInput, CenoteWarning, UnknownName
from cenote.functional.temperature import LengthTemperature

from ..folders import write

ROWS, WIDTH = 10_000, 16
CUTS = (0, 3000, 3001, 3001, 8500, ROWS)  # one part has no rows: all of its texts were left out


def random_vectors(seed=0):
    vectors = np.random.default_rng(seed).standard_normal((ROWS, WIDTH)).astype(np.float32)
    vectors[9000:9010] = vectors[100]  # rows that tie
    vectors[50] = 0
    return vectors


def similarities(queries, vectors, how):
    """All similarities in float64, by the definitions."""
    left, right = queries.astype(float), vectors.astype(float)
    if how == "dot":
        return left @ right.T
    if how == "euclidean":
        return -np.sqrt(((left[:, None] - right[None]) ** 2).sum(-1))
    if how == "manhattan":
        return -np.abs(left[:, None] - right[None]).sum(-1)
    norms = np.linalg.norm(right, axis=1)
    return left @ right.T / np.linalg.norm(left, axis=1)[:, None] / np.where(norms > 0, norms, 1)


def brute_force(scores, owners, top):
    """Return rows of the best texts by a plain loop: of each text its best row, texts in descending order."""
    best = {}
    for row, (owner, value) in enumerate(zip(owners, scores.tolist(), strict=True)):
        if owner not in best or value > best[owner][0] + 1e-6:
            best[owner] = value, row
    order = sorted(best.values(), key=lambda one: (-round(one[0], 6), one[1]))
    return [row for _, row in order[:top]], [value for value, _ in order[:top]]


QUERIES = np.random.default_rng(1).standard_normal((7, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("how", ["cosine", "dot", "euclidean", "manhattan"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_every_dtype_and_similarity_is_brute_force(tmp_path, dtype, how):
    read = write(tmp_path / "out", random_vectors(), {"id": [f"t{row}" for row in range(ROWS)]}, dtype, CUTS)
    found = cenote.search(tmp_path / "out", QUERIES, how=how, top=12)
    for hits, scores in zip(found, similarities(QUERIES, read, how), strict=True):
        rows, values = brute_force(scores, range(ROWS), 12)
        assert [hit.row for hit in hits] == rows
        assert [hit.id for hit in hits] == [f"t{row}" for row in rows]
        np.testing.assert_allclose([hit.score for hit in hits], values, rtol=1e-5, atol=1e-5)


def in_windows(most=9):
    """Return columns of rows that are windows of texts; texts do not go over the ends of parts."""
    generator, owners, windows = np.random.default_rng(2), [], []
    for start, end in pairwise(CUTS):
        left = end - start
        while left:
            count = min(left, int(generator.integers(1, most)))
            owners += [f"t{len(set(owners)) if not owners else int(owners[-1][1:]) + 1}"] * count
            windows += range(count)
            left -= count
    number = np.arange(ROWS)
    return owners, {
        "id": [f"{owner}#{window}" for owner, window in zip(owners, windows, strict=True)],
        "parent_id": owners,
        "window": np.array(windows, np.int32),
        "start": number * 10,
        "end": number * 10 + 9,
    }


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_text_counts_once_by_its_best_window(tmp_path, dtype):
    owners, columns = in_windows()
    read = write(tmp_path / "out", random_vectors(), columns, dtype, CUTS)
    for hits, scores in zip(
        cenote.search(tmp_path / "out", QUERIES, top=12), similarities(QUERIES, read, "cosine"), strict=True
    ):
        rows, _ = brute_force(scores, owners, 12)
        assert [(hit.row, hit.id, hit.window) for hit in hits] == [
            (row, owners[row], columns["window"][row]) for row in rows
        ]
        assert [(hit.start, hit.end) for hit in hits] == [(row * 10, row * 10 + 9) for row in rows]


def test_equal_scores_are_in_the_order_of_the_folder(tmp_path):
    vectors = random_vectors()
    write(tmp_path / "out", vectors, {"id": [str(row) for row in range(ROWS)]}, cuts=CUTS)
    (hits,) = cenote.search(tmp_path / "out", vectors[100:101], top=5)
    assert [hit.row for hit in hits] == [100, 9000, 9001, 9002, 9003]
    assert hits[0].score == pytest.approx(1)


# Parts of odd sizes, one row and none among them: a product gives equal rows other scores at the edges of its blocks.
ODD = (0, 300, 301, 301, 808, 815, 1816)


@pytest.mark.parametrize("width", [16, 384, 768])
@pytest.mark.parametrize("windows", [False, True])
def test_equal_vectors_have_equal_scores_wherever_they_lie(tmp_path, width, windows):
    generator = np.random.default_rng(width)
    vectors = generator.standard_normal((ODD[-1], width)).astype(np.float32)
    edges = {row for end in ODD for row in (end - 1, end, end + 1) if 0 <= row < ODD[-1]}
    equal = sorted(edges | set(generator.integers(0, ODD[-1], 40).tolist()))
    vectors[equal] = 3 * vectors[0]  # longer than the others, so that they win by every similarity
    rows = list(range(ODD[-1]))
    columns = {"id": [str(row) for row in rows]}
    if windows:  # each text has one
        columns |= {"parent_id": columns["id"], "window": [0] * len(rows), "start": rows, "end": rows}
    write(tmp_path / "out", vectors, columns, cuts=ODD)
    questions = vectors[0] + 0.1 * generator.standard_normal((8, width)).astype(np.float32)
    for how in ("cosine", "dot", "euclidean", "manhattan"):
        expected = similarities(questions, vectors, how)[:, 0]
        for count in (1, 2, 7, 8):
            for query, hits in enumerate(cenote.search(tmp_path / "out", questions[:count], how=how, top=len(equal))):
                assert [hit.row for hit in hits] == equal
                assert {hit.score for hit in hits} == {hits[0].score}
                assert hits[0].score == pytest.approx(expected[query], rel=1e-12)


def test_the_score_of_a_row_does_not_depend_on_what_is_asked_with_it(tmp_path):
    vectors = np.random.default_rng(5).standard_normal((ODD[-1], 384)).astype(np.float32)
    write(tmp_path / "out", vectors, {"id": [str(row) for row in range(len(vectors))]}, cuts=ODD)
    questions = vectors[:8] + vectors[8:16]
    together = cenote.search(tmp_path / "out", questions, top=3)
    for query, hits in enumerate(together):
        assert cenote.search(tmp_path / "out", questions[query : query + 1], top=3) == [hits]


def test_near_vectors_are_ranked_in_float64(tmp_path):
    """Cosines that differ by less than float32 can hold."""
    generator = np.random.default_rng(6)
    base = generator.standard_normal(384)
    vectors = (base + 1e-6 * generator.standard_normal((500, 384))).astype(np.float32)
    write(tmp_path / "out", vectors, {"id": [str(row) for row in range(500)]}, cuts=(0, 101, 500))
    question = generator.standard_normal((1, 384)).astype(np.float32)
    (hits,) = cenote.search(tmp_path / "out", question, top=20)
    assert [hit.row for hit in hits] == np.argsort(-similarities(question, vectors, "cosine")[0])[:20].tolist()


@pytest.mark.parametrize(("dtype", "scale"), [("f4", 1e-25), ("f4", 1e20), ("f8", 1e-300), ("f8", 1e300)])
def test_cosines_do_not_depend_on_the_norms_of_queries(tmp_path, dtype, scale):
    vectors = random_vectors()
    write(tmp_path / "out", vectors, {"id": [str(row) for row in range(ROWS)]}, cuts=CUTS)
    questions = vectors[:3].astype(dtype) * scale
    for row, hits in enumerate(cenote.search(tmp_path / "out", questions, top=2)):
        assert hits[0].row == row
        assert hits[0].score == pytest.approx(1)


@pytest.mark.parametrize("how", ["cosine", "dot", "euclidean", "manhattan"])
def test_vectors_of_any_norm_are_compared(tmp_path, how):
    """Squares of these numbers are beyond float32, and so are products of the largest."""
    generator = np.random.default_rng(7)
    vectors = (generator.standard_normal((60, 5)) * 10.0 ** generator.integers(-30, 30, (60, 1))).astype(np.float32)
    vectors[10] = 0
    write(tmp_path / "out", vectors, {"id": [str(row) for row in range(60)]}, cuts=(0, 20, 60))
    questions = (generator.standard_normal((6, 5)) * 10.0 ** np.array([[-25, -18, 0, 1, 18, 25]]).T).astype(np.float32)
    for hits, scores in zip(
        cenote.search(tmp_path / "out", questions, how=how, top=60), similarities(questions, vectors, how), strict=True
    ):
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1], rtol=1e-9)


def test_queries_beyond_float32_are_refused_where_their_norms_matter(tmp_path):
    write(tmp_path / "out", random_vectors(), {"id": [str(row) for row in range(ROWS)]}, cuts=CUTS)
    with pytest.raises(BadInput, match=r"queries 1 have numbers beyond 3\.40282e\+38.* scale them down"):
        cenote.search(tmp_path / "out", QUERIES.astype(float) * [[1], [1e300], *[[1]] * 5], how="dot")


def test_other_names_of_a_similarity(tmp_path):
    write(tmp_path / "out", random_vectors(), {"id": [str(row) for row in range(ROWS)]}, cuts=CUTS)
    for alias, name in (("dot_product", "dot"), ("cityblock", "manhattan")):
        assert cenote.search(tmp_path / "out", QUERIES[:2], how=alias) == cenote.search(
            tmp_path / "out", QUERIES[:2], how=name
        )


def test_few_parts_are_in_memory_at_once(tmp_path, monkeypatch):
    cuts = tuple(range(0, 1001, 50))
    write(tmp_path / "out", random_vectors()[:1000], {"id": [str(row) for row in range(1000)]}, cuts=cuts)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    lock, inside, most, read = threading.Lock(), [0], [0], Embeddings.part

    def part(*args):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.01)
        found = read(*args)
        with lock:
            inside[0] -= 1
        return found

    monkeypatch.setattr(Embeddings, "part", part)
    cenote.search(tmp_path / "out", QUERIES[:1])
    assert 1 < most[0] <= 4
    most[0] = 0
    monkeypatch.setattr(scanning, "_BYTES", 50 * WIDTH * 4 * 2)  # of two parts
    cenote.search(tmp_path / "out", QUERIES[:1])
    assert most[0] == 2


def test_many_queries_are_scored_in_blocks(tmp_path, monkeypatch):
    write(tmp_path / "out", random_vectors(), {"id": [str(row) for row in range(ROWS)]}, cuts=CUTS)
    whole = cenote.search(tmp_path / "out", QUERIES, top=4)
    monkeypatch.setattr(scanning, "_ESTIMATES", 5)  # fewer than a part has rows: one query at a time
    parts = cenote.search(tmp_path / "out", QUERIES, top=4)
    assert [[hit.row for hit in hits] for hits in parts] == [[hit.row for hit in hits] for hits in whole]


def test_more_texts_than_there_are_gives_all(tmp_path):
    with opened(tmp_path / "out", {}, {}, restart=False) as out:
        table = pa.table(
            {
                "id": ["a", "b"],
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array([1.0, 0, 0, 1], pa.float32()), 2),
            }
        )
        out.write(Part(0, 0, 2, 2, "", 0, 0, 0), table)
        out.finish()
    (hits,) = cenote.search(tmp_path / "out", np.array([[0.5, 1.0]]), top=9)
    assert [hit.id for hit in hits] == ["b", "a"]


@pytest.mark.parametrize("cuts", [(0, 0), (0, 2, 2), (0, 0, 2)])
def test_parts_of_which_all_texts_were_left_out(tmp_path, cuts):
    vectors = np.eye(2, dtype=np.float32)[: cuts[-1]]
    write(tmp_path / "out", vectors.reshape(-1, 2), {"id": pa.array(["a", "b"][: cuts[-1]], pa.string())}, cuts=cuts)
    for how in ("cosine", "euclidean"):
        (hits,) = cenote.search(tmp_path / "out", np.array([[0.5, 1.0]]), how=how)
        assert [hit.id for hit in hits] == ["b", "a"][: cuts[-1]]


# With the model that the manifest names.

LONG = "The deep cave holds light. " * 60
TEXTS = [("pool", "the pool"), ("cave", LONG), ("light", "one two three: light! " * 90), ("water", "water and light")]


@pytest.fixture(scope="module")
def folder(tiny_st):
    return tiny_st("bert")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "float16"},
        {"dtype": "int8"},
        {"dimensions": 5},
        {"long": "window-mean", "window": 40},
        {"long": "windows", "window": 40, "overlap": 6},
        {"long": "segments", "vectors": 3, "window": 40, "overlap": 6},
    ],
    ids=str,
)
def test_questions_are_embedded_by_the_model_of_the_manifest(tmp_path, folder, options):
    with pytest.warns(CenoteWarning) if "long" not in options else nullcontext():
        cenote.embed(str(folder), TEXTS, tmp_path / "out", **options)
    found = read_embeddings(tmp_path / "out")
    owners = found["parent_id"] if "parent_id" in found.columns else found["id"]
    query = cenote.load(folder).encode(["deep water"])[:, : options.get("dimensions")]
    rows, values = brute_force(similarities(query, found[:], "cosine")[0], owners.tolist(), 3)
    hits = cenote.search(tmp_path / "out", "deep water", top=3)
    assert [hit.row for hit in hits] == rows
    np.testing.assert_allclose([hit.score for hit in hits], values, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*declares pooling")
@pytest.mark.parametrize(
    "loading",
    [
        {"pooling": "cls"},
        {"pooling": ("mean", "max")},
        {"temperature": 0.5},
        {"temperature": LengthTemperature("log", s=0.3)},
        {"max_seq_length": 20},
    ],
    ids=str,
)
def test_pooling_and_temperature_are_those_of_the_manifest(tmp_path, folder, loading):
    model = cenote.load(folder, **loading)
    texts = [("a", "the pool"), ("b", "one two three"), ("c", "deep light")]
    cenote.embed(model, texts, tmp_path / "out", name=str(folder))
    expected = model.encode(["deep water"])
    scores = similarities(expected, read_embeddings(tmp_path / "out")[:], "cosine")[0]
    hits = cenote.search(tmp_path / "out", "deep water")
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1], atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*declares pooling")
def test_a_model_with_other_vectors_is_refused(tmp_path, folder, tiny_st):
    cenote.embed(str(folder), TEXTS[:1], tmp_path / "out")
    with pytest.raises(BadInput, match=r"differs: .*pooling: 'mean' in the folder, 'cls' in the model"):
        cenote.search(tmp_path / "out", "a", model=cenote.load(folder, pooling="cls"))
    with pytest.raises(BadInput, match="temperature: None in the folder"):
        cenote.search(tmp_path / "out", "a", model=cenote.load(folder, temperature=0.5))
    with pytest.raises(BadInput, match=r"the model '.*', and '.*roberta.*' has other weights\. Give the model that"):
        cenote.search(tmp_path / "out", "a", model=tiny_st("roberta"))
    assert cenote.search(tmp_path / "out", "a", model=cenote.load(folder))[0].id == "pool"


def test_prompts_are_put_before_questions(tmp_path, folder):
    model = cenote.load(folder)
    model.prompts = {"query": "deep water ", "other": "light "}
    cenote.embed(model, [("a", "the pool"), ("b", "one two")], tmp_path / "out")
    rows = read_embeddings(tmp_path / "out")[:]
    for options, prompt in (({}, "deep water "), ({"prompt_name": "other"}, "light "), ({"task": None}, "")):
        scores = similarities(model.encode(["cave"], prompt=prompt), rows, "cosine")[0]
        hits = cenote.search(tmp_path / "out", "cave", model=model, **options)
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1], atol=1e-5)


def test_a_question_and_its_vector_are_compared_by_the_similarity_of_the_folder(tmp_path, folder):
    model = cenote.load(folder)
    model.similarity_fn_name = "dot"
    cenote.embed(model, TEXTS, tmp_path / "out", long="window-mean", window=40)
    vector = model.encode(["deep water"])
    for other in (model, cenote.load(folder)):  # that of the folder, whichever model answers
        asked = cenote.search(tmp_path / "out", "deep water", model=other)
        np.testing.assert_allclose(
            [hit.score for hit in asked], [hit.score for hit in cenote.search(tmp_path / "out", vector)[0]], rtol=1e-6
        )
    scores = similarities(vector, read_embeddings(tmp_path / "out")[:], "dot")[0]
    np.testing.assert_allclose([hit.score for hit in asked], np.sort(scores)[::-1], rtol=1e-6)
    (hits,) = cenote.search(tmp_path / "out", vector, how="cosine")
    assert hits[0].score <= 1


def test_a_folder_that_names_no_similarity_has_that_of_its_model(tmp_path, folder):
    model = cenote.load(folder)
    model.similarity_fn_name = "dot"
    cenote.embed(model, TEXTS[:1], tmp_path / "out", long="window-mean", window=40)
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["settings"].pop("similarity") == "dot"
    path.write_text(json.dumps(manifest))
    vector = model.encode(["deep water"])
    (by_question,) = cenote.search(tmp_path / "out", "deep water", model=model)
    assert by_question == cenote.search(tmp_path / "out", vector, how="dot")[0][0]
    ((hit,),) = cenote.search(tmp_path / "out", vector)
    assert hit.score <= 1


def test_the_columns_of_all_hits_are_read_once(tmp_path, monkeypatch):
    write(tmp_path / "out", random_vectors(), {"id": [str(row) for row in range(ROWS)]}, cuts=CUTS)
    read, described = Embeddings.describe, []
    monkeypatch.setattr(Embeddings, "describe", lambda self, rows: described.append(list(rows)) or read(self, rows))
    found = cenote.search(tmp_path / "out", QUERIES.repeat(2, axis=0), top=5)
    (rows,) = described
    assert sorted(set(rows)) == rows
    assert all(hit.id == str(hit.row) for hits in found for hit in hits)


# Bad input.


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ("", "the query is empty"),
        (["a", " \n"], "query 1 is empty"),
        ([], "there is no query"),
        (["a", 3], "query 1 is 3: pass a string"),
        ("\ud800", "the query holds a lone surrogate"),
        (np.zeros((2, 3)), r"queries have shape \(2, 3\)"),
        (np.zeros((1, 32), int), "dtype int64"),
        (np.full((1, 32), np.nan), "queries 0 have NaN or infinity"),
    ],
    ids=str,
)
def test_queries_that_cannot_be_asked(tmp_path, folder, queries, message):
    cenote.embed(str(folder), TEXTS[:1], tmp_path / "out")
    with pytest.raises(BadInput, match=message):
        cenote.search(tmp_path / "out", queries)


def test_a_question_that_the_model_cuts_is_reported(tmp_path, folder):
    cenote.embed(str(folder), TEXTS[:1], tmp_path / "out")
    with pytest.warns(CenoteWarning, match=r"the query has [0-9,]+ tokens, of which the model reads 256"):
        assert cenote.search(tmp_path / "out", LONG * 3)


def test_wrong_options(tmp_path, folder):
    cenote.embed(str(folder), TEXTS[:1], tmp_path / "out")
    with pytest.raises(BadInput, match="top"):
        cenote.search(tmp_path / "out", "a", top=0)
    with pytest.raises(UnknownName, match="unknown similarity 'cosinus'; did you mean 'cosine'"):
        cenote.search(tmp_path / "out", "a", how="cosinus")
    with pytest.raises(UnknownName, match="unknown task 'quory'; did you mean 'query'"):
        cenote.search(tmp_path / "out", "a", task="quory")
    for vectors, kind in ((None, "NoneType"), (np.ones((1, 32)), "ndarray")):
        with pytest.raises(BadInput, match=f"vectors is a {kind}: pass the folder that embed wrote"):
            cenote.search(vectors, "a")


def test_a_folder_that_is_not_finished(tmp_path):
    with (
        opened(tmp_path / "out", {}, {}, restart=False),
        pytest.raises(BadInput, match="another run is writing into"),
    ):
        cenote.search(tmp_path / "out", "a")
    with pytest.raises(BadInput, match="is not complete: run the same embed again"):
        cenote.search(tmp_path / "out", "a")
    with pytest.raises(BadInput, match="is not an output of embed"):
        cenote.search(tmp_path, "a")


def test_a_hit_is_plain_data():
    assert vars(Hit("a", 0.5, 3)) == {
        "id": "a",
        "score": 0.5,
        "row": 3,
        "text": None,
        "window": None,
        "start": None,
        "end": None,
        "kept": {},
    }


@pytest.mark.parametrize("long", ["truncate", "windows"])
def test_the_words_of_a_hit_are_those_that_were_read(tmp_path, folder, long):
    rows = [
        {"id": "a", "title": "Water", "text": "the pool is deep " * 30, "year": 1984},
        {"id": "b", "title": None, "text": "one two three " * 30, "year": 2001},
    ]
    options = {"long": long} | ({"window": 40} if long == "windows" else {})
    cenote.embed(str(folder), rows, tmp_path / "out", columns=("title", "text"), keep="all", **options)
    for hit in cenote.search(tmp_path / "out", "three"):
        row = next(row for row in rows if row["id"] == hit.id)
        whole = " ".join(filter(None, (row["title"], row["text"])))
        assert hit.text == whole[slice(hit.start, hit.end)]
        assert hit.kept == {name: row[name] for name in ("title", "text", "year")}


def test_words_that_were_not_kept_are_none(tmp_path, folder):
    rows = [{"id": "a", "title": "Water", "text": "the pool"}]
    cenote.embed(str(folder), rows, tmp_path / "out", columns=("title", "text"), keep="title")
    (hit,) = cenote.search(tmp_path / "out", "pool")
    assert (hit.text, hit.kept) == (None, {"title": "Water"})


def test_kept_nanoseconds_need_no_pandas(tmp_path, folder):
    times, spans = pa.array([1, None], pa.timestamp("ns")), pa.array([1, None], pa.duration("ns"))
    table = pa.table({"text": ["a pool", "a cave"], "time": times, "span": spans})
    cenote.embed(folder, table, tmp_path / "times", keep=["time", "span"])
    one, other = sorted(cenote.search(tmp_path / "times", "a pool"), key=lambda hit: hit.id)
    assert one.kept == {"time": np.datetime64(1, "ns"), "span": np.timedelta64(1, "ns")}
    assert [type(value) for value in one.kept.values()] == [np.datetime64, np.timedelta64]
    assert other.kept == {"time": None, "span": None}
