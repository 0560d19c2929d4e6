"""An index of FAISS beside the parts: the same hits as the exact search, built once, and again for other texts."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

import cenote
from cenote.embedding import index as indexes
from cenote.embedding.reading import Embeddings, read_embeddings
from cenote.errors import BadInput, CenoteError, CenoteWarning, UnknownName

from ..folders import write

faiss = pytest.importorskip("faiss", reason="the index needs FAISS: pip install 'cenote[index]'")

WORDS = ["the", "pool", "cave", "deep", "water", "light", "holds", "one", "two", "three"]


def texts(count, seed=0, words=12):
    generator = np.random.default_rng(seed)
    return [(f"t{row}", " ".join(generator.choice(WORDS, generator.integers(1, words)))) for row in range(count)]


@pytest.fixture(scope="module")
def model(tiny_st):
    return cenote.load(tiny_st("bert"))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "out"
    cenote.embed(model, texts(400), folder)
    return folder


def ids(found):
    return [[hit.id for hit in hits] for hits in found]


@pytest.mark.parametrize("how", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("kind", ["Flat", "HNSW32", "IVF4,Flat"])
def test_a_good_index_finds_what_the_exact_search_finds(model, folder, kind, how):
    questions = ["deep water", "one light", "the cave holds three"]
    exact = cenote.search(folder, questions, model=model, how=how, top=5)
    by_index = cenote.search(folder, questions, model=model, how=how, top=5, index=kind)
    if kind == "Flat":
        assert ids(by_index) == ids(exact)
    for one, other in zip(exact, by_index, strict=True):
        same = {hit.id: hit.score for hit in one}
        common = [hit for hit in other if hit.id in same]
        assert len(common) >= (4 if kind == "IVF4,Flat" else 5)
        assert [hit.score for hit in common] == [same[hit.id] for hit in common]


def clouds(folder, rows=3000, width=16, count=30):
    """Write vectors in clouds, as texts on some topics have them; return a few of them."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((count, width))
    vectors = centres[np.arange(rows) % count] + 0.5 * generator.standard_normal((rows, width))
    return write(folder, vectors.astype(np.float32), {"id": [str(row) for row in range(rows)]}, cuts=(0, 1000, rows))[
        :20
    ]


def test_lists_are_probed_by_the_root_of_their_number_and_more_where_too_few_are_found(tmp_path):
    questions = clouds(tmp_path / "out")
    exact = cenote.search(tmp_path / "out", questions, top=10)
    by_index = cenote.search(tmp_path / "out", questions, top=10, index="IVF64,Flat")
    recall = [len(set(one) & set(other)) / 10 for one, other in zip(ids(exact), ids(by_index), strict=True)]
    assert np.mean(recall) > 0.8
    found = cenote.search(tmp_path / "out", questions[:2], top=2990, index="IVF64,Flat")
    assert [len(hits) for hits in found] == [2990, 2990]


def test_an_index_that_reaches_too_few_texts_is_reported(tmp_path, monkeypatch):
    questions = clouds(tmp_path / "out")

    class Poor:
        def search(self, queries, count):
            rows = np.full((len(queries), count), -1)
            rows[:, :3] = [7, 8, 9]
            return None, rows

    monkeypatch.setattr(indexes, "_opened", lambda *_: Poor())
    monkeypatch.setattr(indexes, "_lists_of", lambda _: None)
    monkeypatch.setattr(indexes, "_set_view", lambda *_: None)
    with pytest.warns(
        CenoteWarning,
        match=r"index 'HNSW8' reaches too few texts: for one of the queries it proposes 3 of 10. .*without an",
    ):
        (hits, _) = cenote.search(tmp_path / "out", questions[:2], index="HNSW8")
    assert sorted(hit.row for hit in hits) == [7, 8, 9]


def test_equal_vectors_are_ranked_as_without_an_index(tmp_path):
    vectors = np.random.default_rng(1).standard_normal((500, 384)).astype(np.float32)
    vectors[[3, 101, 102, 499]] = vectors[0]
    write(tmp_path / "out", vectors, {"id": [str(row) for row in range(500)]}, cuts=(0, 101, 500))
    questions = vectors[0] + 0.1 * np.random.default_rng(2).standard_normal((7, 384)).astype(np.float32)
    exact = cenote.search(tmp_path / "out", questions, top=5)
    assert cenote.search(tmp_path / "out", questions, top=5, index="Flat") == exact
    assert [hit.row for hit in exact[0]] == [0, 3, 101, 102, 499]


def test_no_query_and_texts_that_were_all_left_out(tmp_path):
    clouds(tmp_path / "out")
    assert cenote.search(tmp_path / "out", np.zeros((0, 16), np.float32), index="Flat") == []
    write(tmp_path / "none", np.zeros((0, 16), np.float32), {"id": pa.array([], pa.string())}, cuts=(0, 0))
    for kind in ("Flat", "HNSW8"):
        assert cenote.search(tmp_path / "none", np.ones((1, 16), np.float32), index=kind) == [[]]


@pytest.mark.parametrize(
    ("said", "shown"),
    [("Error in faiss::FileIOWriter: No space left on device", "No space left on device"), ("", "RuntimeError")],
)
def test_an_index_that_cannot_be_kept_answers_all_the_same(tmp_path, monkeypatch, said, shown):
    questions = clouds(tmp_path / "out")
    exact = cenote.search(tmp_path / "out", questions)

    def full(index, path):
        raise RuntimeError(said)

    monkeypatch.setattr(faiss, "write_index", full)
    with pytest.warns(CenoteWarning, match=f"the index is not kept, .*{shown}"):
        assert cenote.search(tmp_path / "out", questions, index="Flat") == exact
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr(faiss, "write_index", lambda *_: pytest.fail("written"))
    with pytest.warns(CenoteWarning, match="the index is not kept, .*permission denied"):
        assert cenote.search(tmp_path / "out", questions, index="Flat") == exact
    assert not list((tmp_path / "out").glob("*.faiss"))


def test_two_searches_may_build_the_same_index_at_once(tmp_path, monkeypatch):
    questions = clouds(tmp_path / "out")
    exact = cenote.search(tmp_path / "out", questions)
    barrier, written = threading.Barrier(2, timeout=60), faiss.write_index

    def together(index, path):
        written(index, path)
        barrier.wait()  # both have written, and neither has renamed

    monkeypatch.setattr(faiss, "write_index", together)
    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings():
        warnings.simplefilter("error")
        both = list(pool.map(lambda _: cenote.search(tmp_path / "out", questions, index="Flat"), range(2)))
    assert both == [exact, exact]
    assert len(list((tmp_path / "out").glob("*.faiss"))) == 1
    assert not list((tmp_path / "out").glob(".cenote-*"))


def test_many_queries_are_asked_in_blocks_with_the_same_hits(tmp_path, monkeypatch):
    questions = clouds(tmp_path / "out")
    whole = cenote.search(tmp_path / "out", questions, top=5, index="Flat")
    loaded, read = [], Embeddings.__getitem__

    def watched(self, wanted):
        vectors = read(self, wanted)
        loaded.append(vectors.size)
        return vectors

    monkeypatch.setattr(Embeddings, "__getitem__", watched)
    monkeypatch.setattr(indexes, "_IN_MEMORY", 3 * 20 * 16)  # of three queries: each has 20 rows proposed
    assert cenote.search(tmp_path / "out", questions, top=5, index="Flat") == whole
    assert max(loaded) <= 3 * 20 * 16


def test_windows_count_once(model, tmp_path):
    rows = texts(60, words=200)
    cenote.embed(model, rows, tmp_path / "out", long="windows", window=12, overlap=2)
    exact = cenote.search(tmp_path / "out", ["deep water light"], model=model, top=50)
    assert ids(cenote.search(tmp_path / "out", ["deep water light"], model=model, top=50, index="Flat")) == ids(exact)
    assert len(exact[0]) == 50 < len(read_embeddings(tmp_path / "out"))


def test_built_once_and_again_for_other_texts(model, tmp_path):
    heard = []
    for seed, restart, kinds in ((0, False, []), (0, False, ["Flat"]), (1, True, [])):
        cenote.embed(model, texts(50, seed), tmp_path / "out", restart=restart)
        there = (tmp_path / "out").glob("*.faiss")
        assert [path.name.split("-")[1] for path in there] == kinds  # `restart` deletes those of other vectors
        cenote.search(tmp_path / "out", "deep", model=model, index="Flat", notify=heard.append)
    assert len(heard) == 2
    assert len(read_embeddings(tmp_path / "out")) == 50


def test_indexes_of_other_vectors_are_deleted_whatever_their_kind(model, tmp_path):
    cenote.embed(model, texts(20), tmp_path / "out")
    stale = tmp_path / "out" / "index-HNSW8-cosine-0123456789abcdef.faiss"
    stale.touch()
    for kind in ("Flat", "HNSW8"):
        cenote.search(tmp_path / "out", "deep", model=model, index=kind)
    assert sorted(path.name.split("-")[1] for path in (tmp_path / "out").glob("*.faiss")) == ["Flat", "HNSW8"]
    assert not stale.exists()


def test_wrong_kinds(model, folder, monkeypatch):
    with pytest.raises(BadInput, match=r"'Flatt' cannot be built on 400 vectors \(could not parse.*HNSW32"):
        cenote.search(folder, "deep", model=model, index="Flatt")
    with pytest.raises(BadInput, match="index 'IVF9999,Flat' cannot be built"):
        cenote.search(folder, "deep", model=model, index="IVF9999,Flat")
    for kind in ("", 5):
        with pytest.raises(BadInput, match=r"index=.* \(--index\): pass a name that faiss.index_factory knows"):
            cenote.search(folder, "deep", model=model, index=kind)
    with pytest.raises(UnknownName, match="'manhattan'"):
        cenote.search(folder, "deep", model=model, index="Flat", how="manhattan")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        CenoteError, match=r"\(--index\): it needs faiss, which is missing: pip install 'cenote\[index\]'"
    ):
        cenote.search(folder, "deep", model=model, index="Flat")


def test_a_damaged_index_is_named(model, tmp_path):
    cenote.embed(model, texts(20), tmp_path / "out")
    cenote.search(tmp_path / "out", "deep", model=model, index="Flat")
    (path,) = (tmp_path / "out").glob("*.faiss")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BadInput, match=r"cannot be read .*delete it"):
        cenote.search(tmp_path / "out", "deep", model=model, index="Flat")
