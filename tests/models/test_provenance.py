"""Descriptions of a model in words."""

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

import cenote
from cenote.functional.pooling import POOLINGS
from cenote.models.provenance import (
    architecture_of,
    behaviour_as,
    behaviour_of,
    folder_of,
    name_of,
    place_of,
    pooling_of,
    revision_of,
    temperature_of,
    versions_of,
)
from cenote.surgery.tempering import bake


@pytest.mark.parametrize(("kind", "name"), [("bert", "BertModel"), ("t5", "T5EncoderModel"), ("qwen", "Qwen3Model")])
def test_architecture_pooling_and_temperature_of_tiny_models(tiny_st, kind, name):
    model = cenote.load(tiny_st(kind), device="cpu")
    assert architecture_of(model) == name
    assert pooling_of(model) == "mean"
    assert temperature_of(model) == "1"
    assert revision_of(model) is None


@pytest.mark.parametrize("home", [None, "SENTENCE_TRANSFORMERS_HOME"])
def test_the_revision_of_a_model_of_the_hub(home, copy_of, tmp_path, monkeypatch):
    commit, cache = "0123456789" * 4, tmp_path / "cache"
    where = cache / "models--owner--name"
    shutil.copytree(copy_of("bert"), where / "snapshots" / commit)
    (where / "refs").mkdir()
    (where / "refs" / "main").write_text(commit)
    if home:
        monkeypatch.setenv(home, str(cache))
    else:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache))
    model = cenote.load("owner/name", device="cpu")
    assert revision_of(model) == commit
    shutil.copytree(where / "snapshots" / commit, where / "snapshots" / commit[::-1])
    (where / "refs" / "main").write_text(commit[::-1])  # later, by another process
    assert revision_of(model) == commit
    assert revision_of(cenote.load(where / "snapshots" / commit, device="cpu")) == commit
    plain = SentenceTransformer("owner/name", device="cpu", cache_folder=str(cache), revision=commit)
    assert revision_of(plain) in (None, commit)  # some versions of the hub's library tell it
    plain.model_card_data.base_model, plain.model_card_data.base_model_revision = "owner/name", "v1"
    assert revision_of(plain) is None
    plain.model_card_data.base_model_revision = commit
    assert revision_of(plain) == commit


def test_the_folder_of_a_bare_id_is_that_which_is_loaded(tmp_path, monkeypatch):
    for name in ("one", "sentence-transformers--one"):
        where = tmp_path / f"models--{name}"
        (where / "snapshots" / "0").mkdir(parents=True)
        (where / "snapshots" / "0" / "modules.json").write_text("[]")
        (where / "refs").mkdir()
        (where / "refs" / "main").write_text("0")
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    assert folder_of("one", None) == tmp_path / "models--sentence-transformers--one" / "snapshots" / "0"


def test_names_of_models(demo, demo_path, tiny_st):
    assert name_of("minilm", demo) == "minilm"
    assert name_of(demo_path, demo) == str(demo_path)
    assert name_of(demo, demo) == "minilm"
    folder = tiny_st("bert")
    model = cenote.load(folder, device="cpu")
    assert name_of(model, model) == folder.name  # and not whose machine it is on


def test_places_load_a_model_again_from_any_working_folder(demo, demo_path, copy_of, monkeypatch):
    assert [place_of("minilm", demo), place_of(demo_path, demo), place_of(demo, demo)] == [
        "minilm",
        str(demo_path),
        "minilm",
    ]
    folder = copy_of("bert")
    monkeypatch.chdir(folder.parent)
    model = cenote.load(folder.name, device="cpu")
    assert place_of(model, model) == str(folder.resolve())
    assert place_of(folder.name, model) == str(folder)
    assert place_of("owner/name", model) == "owner/name"
    Path("minilm").mkdir()
    assert place_of("minilm", demo) == "minilm"


def test_poolings_and_temperatures(tiny_st):
    model = cenote.load(tiny_st("bert"), pooling="max", device="cpu", temperature=0.5)
    assert pooling_of(model) == "max"
    assert "0.5" in temperature_of(model)
    several = cenote.load(tiny_st("bert"), pooling=["mean", "max"], device="cpu")
    assert pooling_of(several) == "mean+max"


@pytest.mark.filterwarnings("ignore:.*declares pooling")
def test_a_pooling_has_our_name(tiny_st):
    for name in POOLINGS:
        assert pooling_of(cenote.load(tiny_st("bert"), pooling=name, device="cpu")) == name
    model = cenote.load(tiny_st("bert"), device="cpu")
    model[1] = Pooling(32, ("cls", "mean_sqrt_len_tokens"))
    assert pooling_of(model) == "cls+mean_sqrt_len"


def test_a_model_without_a_transformer():
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0}, **{"unk_token": "a"}))
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=4)], device="cpu")
    assert name_of(model, model) == "SentenceTransformer"
    assert architecture_of(model) == "StaticEmbedding"
    assert pooling_of(model) == "its own"
    assert revision_of(model) is None


def route(folder, pooling="mean", **limits):
    reader = Transformer(str(folder))
    for name, value in limits.items():
        setattr(reader, name, value)
    return [reader, Pooling(32, pooling)]


def router(*routes, **options):
    modules = [Router(dict(zip(("query", "document"), routes, strict=True)), **options)]
    return SentenceTransformer(modules=modules, device="cpu")


def test_the_behaviour_of_a_router_is_that_of_its_routes(tiny):
    folder = tiny("bert")

    def behaviour(**options):
        return behaviour_of(router(route(folder), route(folder, **options)))

    first = behaviour()
    assert behaviour() == first
    for options in ({"pooling": "cls"}, {"document_length": 9}, {"query_length": 9}, {"max_seq_length": 9}):
        assert behaviour(**options) != first, options
    for name, value in (("padding_side", "left"), ("truncation_side", "left")):
        model = router(route(folder), route(folder))
        setattr(model[0].sub_modules["document"][0].tokenizer, name, value)
        assert behaviour_of(model) != first, name
    assert behaviour_of(router(route(folder), route(tiny("qwen")))) != first
    mapped = behaviour_of(router(route(folder), route(folder), route_mappings={("query", "text"): "query"}))
    assert mapped["0 Router.route_mappings"] == {"('query', 'text')": "query"}


def test_an_earlier_record_of_a_router_is_compared_without_routes(tiny):
    model = bake(router(route(tiny("bert")), route(tiny("bert"), "cls")), 0.5)
    new = behaviour_of(model)
    old = {name: value for name, value in new.items() if not name.startswith(("0 Router.query.", "0 Router.document."))}
    assert len(old) < len(new) - 10
    old["temperature_in_weights"] = None
    assert [behaviour_as(recorded, model) for recorded in (new, old, {}, None)] == [new, old, new, new]
    alone = SentenceTransformer(modules=route(tiny("bert")), device="cpu")
    assert behaviour_as(old, alone) == behaviour_of(alone)


def test_a_temperature_in_the_weights_of_routes_is_named(tiny, with_static_queries, tiny_bert):
    sides = [route(tiny("bert")), route(tiny("bert"))]
    assert temperature_of(bake(router(*sides), 0.5)) == "0.5 in the weights"
    baked = bake(SentenceTransformer(modules=sides[1], device="cpu"), 0.5)
    assert temperature_of(router(sides[0], [*baked])) == "1 (query) and 0.5 (document) in the weights"
    assert temperature_of(bake(with_static_queries(tiny_bert), 0.5)) == "0.5 in the weights"


def test_versions_also_of_a_package_with_another_name(monkeypatch):
    def only(name):
        if name == "tokenizers":  # as onnxruntime, where it came as onnxruntime-gpu
            raise PackageNotFoundError(name)
        return version(name)

    found = versions_of("tokenizers")
    assert found["torch"] in (torch.__version__, torch.__version__.split("+")[0])
    assert (found["cenote"], found["python"]) == (cenote.__version__, platform.python_version())
    assert list(found)[2:] == ["torch", "transformers", "sentence-transformers", "numpy", "tokenizers"]
    monkeypatch.setattr("cenote.models.provenance.version", only)
    assert versions_of("tokenizers") == found


def test_the_fingerprint_of_a_tokenizer_is_of_what_it_splits(tiny_st):
    model = cenote.load(tiny_st("bert"), device="cpu")
    first = behaviour_of(model)["tokenizer"]
    model.tokenizer(["a pool", "a"], padding=True, truncation=True, max_length=3)  # leaves its state in the backend
    assert behaviour_of(model)["tokenizer"] == first
    model.tokenizer.add_tokens("newword")
    assert behaviour_of(model)["tokenizer"] != first
