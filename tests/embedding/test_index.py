"""An index of FAISS beside the parts: the same hits as the exact search, built once, and again for other texts."""

import numpy as np
import pytest

import cenote
from cenote.embedding.reading import read_embeddings
from cenote.errors import BadInput, CenoteError, UnknownName

faiss = pytest.importorskip("faiss", reason="the index needs FAISS (pip install faiss-cpu)")

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
        assert len(common) >= (1 if kind == "IVF4,Flat" else 5)
        np.testing.assert_allclose([hit.score for hit in common], [same[hit.id] for hit in common], rtol=1e-5)


def test_windows_count_once(model, tmp_path):
    rows = texts(60, words=200)
    cenote.embed(model, rows, tmp_path / "out", long="windows", window=12, overlap=2)
    exact = cenote.search(tmp_path / "out", ["deep water light"], model=model, top=50)
    assert ids(cenote.search(tmp_path / "out", ["deep water light"], model=model, top=50, index="Flat")) == ids(exact)
    assert len(exact[0]) == 50 < len(read_embeddings(tmp_path / "out"))


def test_built_once_and_again_for_other_texts(model, tmp_path):
    heard = []
    for count, seed in ((50, 0), (50, 0), (50, 1)):
        cenote.embed(model, texts(count, seed), tmp_path / "out", restart=True)
        cenote.search(tmp_path / "out", "deep", model=model, index="Flat", notify=heard.append)
    assert len(heard) == 2
    assert len(list((tmp_path / "out").glob("*.faiss"))) == 1
    assert len(read_embeddings(tmp_path / "out")) == 50


def test_wrong_kinds(model, folder, monkeypatch):
    with pytest.raises(BadInput, match=r"index 'Flatt' cannot be built on 400 vectors .*HNSW32"):
        cenote.search(folder, "deep", model=model, index="Flatt")
    with pytest.raises(BadInput, match="index 'IVF9999,Flat' cannot be built"):
        cenote.search(folder, "deep", model=model, index="IVF9999,Flat")
    with pytest.raises(UnknownName, match="'manhattan'"):
        cenote.search(folder, "deep", model=model, index="Flat", how="manhattan")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CenoteError, match="needs FAISS: pip install faiss-cpu"):
        cenote.search(folder, "deep", model=model, index="Flat")


def test_a_damaged_index_is_named(model, tmp_path):
    cenote.embed(model, texts(20), tmp_path / "out")
    cenote.search(tmp_path / "out", "deep", model=model, index="Flat")
    (path,) = (tmp_path / "out").glob("*.faiss")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BadInput, match=r"cannot be read .*delete it"):
        cenote.search(tmp_path / "out", "deep", model=model, index="Flat")
