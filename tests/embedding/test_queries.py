"""The model of a folder, in what another one differs from it, and the vectors of queries."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

import cenote
from cenote.embedding.queries import checked_queries, differences, model_of, vectors_of
from cenote.embedding.reading import read_embeddings
from cenote.errors import BadInput, CenoteWarning
from cenote.models import provenance

TEXTS = ["the pool", "one two three", "deep light"]


@pytest.fixture(scope="module")
def folder(tiny_st):
    return tiny_st("bert")


@pytest.fixture
def found(tmp_path, folder):
    cenote.embed(str(folder), TEXTS, tmp_path / "out")
    return read_embeddings(tmp_path / "out")


def test_the_model_of_the_manifest_is_loaded_once_if_nothing_was_changed(found, folder):
    calls = []

    def loader(name, **options):
        calls.append((name, options))
        return cenote.load(name, **options)

    assert differences(found.manifest.settings, model_of(found, None, loader)) == []
    assert calls == [(str(folder), {})]


@pytest.mark.filterwarnings("ignore:.*declares pooling")
@pytest.mark.parametrize("written", ["mean_sqrt_len", "mean_sqrt_len_tokens"])
def test_the_pooling_of_a_folder_may_have_the_name_of_sentence_transformers(tmp_path, folder, written):
    model = cenote.load(folder, pooling="mean_sqrt_len")
    found = cenote.embed(model, TEXTS, tmp_path / "out").settings
    assert found["pooling"] == "mean_sqrt_len"
    assert differences({**found, "pooling": written}, model) == []


@pytest.mark.filterwarnings("ignore:.*declares pooling")
def test_the_model_of_the_manifest_is_loaded_with_what_was_changed(tmp_path, folder):
    model = cenote.load(folder, pooling=("mean", "max"), temperature=0.5)
    cenote.embed(model, TEXTS, tmp_path / "out", name=str(folder))
    calls = []

    def loader(name, **options):
        calls.append(options)
        return cenote.load(name, **options)

    again = model_of(read_embeddings(tmp_path / "out"), None, loader)
    assert calls == [{}, {"pooling": ("mean", "max")}]
    np.testing.assert_allclose(again.encode(["water"]), model.encode(["water"]), atol=1e-6)


def test_a_model_whose_files_lack_a_pooler_is_the_same_at_each_load(tmp_path, folder):
    """transformers draws its weights anew at each load."""
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    weights = load_file(bare / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("pooler.")}
    assert len(kept) == len(weights) - 2
    save_file(kept, bare / "model.safetensors", metadata={"format": "pt"})
    for _ in range(2):
        cenote.embed(str(bare), TEXTS, tmp_path / "out")
    assert cenote.search(tmp_path / "out", TEXTS[1])[0].id == "1"


@pytest.mark.parametrize(
    "setting",
    [(1, {}), (0.5, {"layers": [0]}), (0.5, {"scale_bias": False}), ({"query": 0.5, "document": 2}, {})],
    ids=str,
)
@pytest.mark.parametrize("saved", [None, 0.8])
def test_the_model_of_the_manifest_is_tempered_as_the_folder_says(tmp_path, folder, setting, saved):
    """Also where the model's own folder has another temperature, or the folder of the vectors has none."""
    temperature, options = setting
    cenote.load(folder, temperature=saved).save(str(tmp_path / "model"), create_model_card=False)
    model = cenote.load(tmp_path / "model")
    cenote.temper(model, temperature, **options)
    cenote.embed(model, TEXTS, tmp_path / "out")
    found = read_embeddings(tmp_path / "out")
    again = model_of(found, None)
    assert differences(found.manifest.settings, again) == []
    np.testing.assert_array_equal(again.encode_query(["water"]), model.encode_query(["water"]))


def test_a_model_object_is_found_again_from_another_working_folder(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    cenote.embed(cenote.load(folder.name), TEXTS, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    found = read_embeddings(tmp_path / "out")
    assert found.manifest.settings["model"] == str(folder.resolve())
    assert differences(found.manifest.settings, model_of(found, None)) == []


def test_a_model_that_was_moved_is_named_with_the_remedy(tmp_path, folder):
    cenote.load(folder).save(str(tmp_path / "model"), create_model_card=False)
    cenote.embed(str(tmp_path / "model"), TEXTS, tmp_path / "out")
    (tmp_path / "model").rename(tmp_path / "moved")
    found = read_embeddings(tmp_path / "out")
    with pytest.raises(
        BadInput, match=r"out' was embedded with the model '.*/model', which .*name its place \(model, --"
    ):
        model_of(found, None)
    assert differences(found.manifest.settings, model_of(found, tmp_path / "moved")) == []
    with pytest.raises(BadInput, match=r"^no such folder"):
        model_of(found, tmp_path / "nowhere")


def test_a_manifest_that_does_not_name_the_model_is_refused(found):
    del found.manifest.settings["pooling"]
    with pytest.raises(BadInput, match=r"the manifest of .* does not name pooling of the model: it was changed"):
        model_of(found, None)


def test_a_model_that_is_given_is_the_one_that_answers(found, folder):
    model = cenote.load(folder)
    assert model_of(found, model, loader=None) is model


def train(model):
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)


CHANGES = {
    "weights": train,
    "tokenizer": lambda model: model.tokenizer.add_tokens("newword"),
    "padding_side": lambda model: setattr(model.tokenizer, "padding_side", "left"),
    "truncation_side": lambda model: setattr(model.tokenizer, "truncation_side", "left"),
    "truncate_dim": lambda model: setattr(model, "truncate_dim", 5),
    "2 Temperature": lambda model: cenote.temper(model, 0.5),
    "2 Normalize": lambda model: model.append(Normalize()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_setting_that_changes_vectors_is_named_alone(found, folder, name):
    model = cenote.load(folder)
    CHANGES[name](model)
    told = differences(found.manifest.settings, model)
    names = {one.split(":")[0].lower() for one in told}
    assert name.lower() in names
    assert all(name.split()[-1].lower() in one for one in names)  # a module is named with its settings


def test_a_module_that_the_model_lacks_is_named(tmp_path, folder):
    model = cenote.load(folder)
    model.append(Normalize())
    cenote.embed(model, TEXTS, tmp_path / "out", name=str(folder))
    found = read_embeddings(tmp_path / "out")
    told = differences(found.manifest.settings, cenote.load(folder))
    assert "2 Normalize: True in the folder, None in the model" in told
    assert all(one.startswith("2 Normalize") for one in told)
    with pytest.raises(BadInput, match=r"2 Normalize.*Give the model that embedded it"):
        model_of(found, None)


def test_a_model_may_read_more_and_compute_otherwise(found, folder):
    model = cenote.load(folder)
    model[0].model.set_attn_implementation("eager")
    model.max_seq_length = 100
    assert differences(found.manifest.settings, model) == []


def test_routes_of_a_router_are_compared(routed, tmp_path):
    cenote.embed(routed, TEXTS, tmp_path / "out")
    settings = read_embeddings(tmp_path / "out").manifest.settings
    documents = routed[0].sub_modules["document"]
    documents[0].max_seq_length = 30  # free, as the limit of any model
    assert differences(settings, routed) == []
    documents[1] = Pooling(32, "cls")
    told = ["0 Router.document.1 Pooling.pooling_mode: 'mean' in the folder, 'cls' in the model"]
    assert differences(settings, routed) == told


def test_a_folder_of_a_router_goes_on_from_an_earlier_manifest(routed, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "_routes_of", lambda model: {})  # as before routes were recorded
        cenote.embed(routed, TEXTS, tmp_path / "out")
    said = []
    cenote.embed(routed, TEXTS, tmp_path / "out", notify=said.append)
    assert any("embedded already" in line for line in said)
    assert differences(read_embeddings(tmp_path / "out").manifest.settings, routed) == []


def test_vectors_are_those_of_encode_in_the_dimensions_of_the_folder(tmp_path, folder):
    cenote.embed(str(folder), TEXTS, tmp_path / "out", dimensions=5)
    found = read_embeddings(tmp_path / "out")
    model = model_of(found, None)
    model.prompts = {"query": "deep water "}
    expected = cenote.load(folder).encode(["deep water cave", "deep water a"])[:, :5]
    np.testing.assert_allclose(vectors_of(found, ["cave", "a"], model, "query", None), expected, atol=1e-6)


def test_each_query_that_is_cut_is_named(found, folder):
    model = cenote.load(folder)
    model.max_seq_length = 8
    with pytest.warns(CenoteWarning) as told:
        vectors_of(found, ["a", "one two three " * 9, "cave " * 20], model, None, None)
    assert [str(one.message).split(" of which")[0] for one in told] == [
        "query 1 has 29 tokens,",
        "query 2 has 22 tokens,",
    ]


def test_queries_are_checked_without_a_model():
    assert checked_queries(("a", "b")) == ["a", "b"]
    assert checked_queries("a") == ["a"]
    for queries, message in (
        ([""], "the query is empty"),
        (["a", None], "query 1 is None"),
        ([], "no query"),
        ((query for query in "ab"), "queries is a generator: pass a question, a list of questions, or an array"),
        (None, "queries is a NoneType: pass a question"),
        (5, "queries is a int: pass a question"),
        (b"a", "queries is a bytes: pass a question"),
        ({"a": 1}, "queries is a dict: pass a question"),
        ({"a"}, "queries is a set: pass a question"),
        (torch.ones(1, 32), r"queries are a torch tensor: pass a numpy array \(queries.numpy\(\)\)"),
        ([np.ones(32)], r"the query is array.*: pass a string, or all vectors as one array"),
    ):
        with pytest.raises(BadInput, match=message):
            checked_queries(queries)
