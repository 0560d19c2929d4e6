"""Loading: where a model is found -> its pooling and warnings -> intervals."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, StaticEmbedding, WordEmbeddings, WordWeights
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

import cenote
from cenote.errors import BadInput, CenoteWarning
from cenote.models import declared as declarations
from cenote.nn import LandmarkTransformer, Pooling

TEXTS = ["the pool", "one two three, the deep cave", "water"]


def edit(path, change):
    """Change a JSON file of a model's folder."""
    content = json.loads(path.read_text("utf-8"))
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def drop_pooling(folder):
    edit(folder / "modules.json", lambda entries: [entry for entry in entries if "Pooling" not in entry["type"]])
    shutil.rmtree(folder / "1_Pooling")


# What is found where.


def test_minilm_loads_from_its_package(demo):
    model = cenote.load("minilm", device="cpu")
    assert_close(model.encode(TEXTS), demo.encode(TEXTS))
    tokens = demo.encode(TEXTS, output_value="token_embeddings")
    for vector, states in zip(model.encode(TEXTS), tokens, strict=True):
        pooled = torch.nn.functional.normalize(cenote.pool(states, how="mean"), dim=0)
        assert_close(vector, pooled)


def test_without_its_package_minilm_is_a_hub_id(monkeypatch):
    monkeypatch.setattr(declarations.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="cannot load 'sentence-transformers/all-MiniLM-L6-v2'"):
        cenote.load("minilm")


def test_a_folder_loads_by_any_spelling_of_its_path(tiny_st, monkeypatch):
    folder = tiny_st("bert")
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    for spelling in (folder, str(folder), f"{folder}/", folder.name, f"./{folder.name}", f"~/{folder.name}"):
        assert_close(cenote.load(spelling, device="cpu").encode(TEXTS), expected)


@pytest.mark.parametrize("name", ["sentence-transformers/tiny-thing", "tiny-thing"])
@pytest.mark.parametrize("cache", ["hub", "SENTENCE_TRANSFORMERS_HOME"])
def test_a_hub_id_loads_from_the_cache(tiny_st, tmp_path, monkeypatch, name, cache):
    """A bare name is one of sentence-transformers' own, and the cache may be in the place that they name."""
    folder = tiny_st("bert", pooling="max", prompts={"query": "query: "})
    base = tmp_path / "models--sentence-transformers--tiny-thing"
    shutil.copytree(folder, base / "snapshots" / ("0" * 40))
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("0" * 40)
    if cache == "hub":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    else:
        monkeypatch.setenv(cache, str(tmp_path))
    model = cenote.load(name, device="cpu")  # and no warning that it declares no pooling
    expected = SentenceTransformer(name, device="cpu")
    assert model[1].get_config_dict() == expected[1].get_config_dict()
    assert_close(model.encode_query(TEXTS), expected.encode_query(TEXTS))
    with pytest.warns(CenoteWarning, match=r"declares pooling 'max', not 'cls'"):
        cenote.load(name, pooling="cls", device="cpu")


# Which pooling it gets.


def test_a_declared_pooling_is_kept_without_a_warning(tiny_st):
    for how in (*StPooling.POOLING_MODES, ("cls", "mean")):
        folder = tiny_st("roberta", pooling=how, include_prompt=False)
        model, plain = cenote.load(folder, device="cpu"), SentenceTransformer(str(folder), device="cpu")
        assert isinstance(model[1], Pooling)
        assert model[1].get_config_dict() == plain[1].get_config_dict()
        assert_close(model.encode(TEXTS), plain.encode(TEXTS))


def test_the_old_boolean_format_is_read(copy_of):
    folder = copy_of("bert")
    old = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    edit(folder / "1_Pooling" / "config.json", lambda _: old)
    assert cenote.load(folder, device="cpu")[1].names == ("cls",)
    assert cenote.load(folder, pooling="max", device="cpu")[1].names == ("max",)


@pytest.mark.parametrize(("kind", "assumed"), [("bert", "mean"), ("t5", "mean"), ("llama", "lasttoken")])
def test_a_folder_without_a_declared_pooling_warns(tiny, kind, assumed):
    with pytest.warns(
        CenoteWarning, match=f"{tiny(kind)} declares no pooling; assumed '{assumed}'.*pass pooling="
    ) as told:
        model = cenote.load(tiny(kind), device="cpu")
    assert [warning.filename for warning in told] == [__file__]
    expected = SentenceTransformer(str(tiny(kind)), device="cpu")
    assert model[1].names == (assumed,)
    assert_close(model.encode(TEXTS), expected.encode(TEXTS))


def test_a_chosen_pooling_on_such_a_folder_does_not_warn(tiny):
    for how in ("cls", "landmark", "every_k", ("cls", "mean")):
        model = cenote.load(tiny("bert"), pooling=how, device="cpu")
        assert model[1].names == ((how,) if isinstance(how, str) else how)
        assert isinstance(model[0], LandmarkTransformer) == (how == "landmark")


@pytest.mark.parametrize("after", [[], [Normalize()]], ids=["alone", "before Normalize"])
@pytest.mark.parametrize("missing", ["entry", "config"])
def test_a_missing_pooling_entry_or_config_warns(copy_of, missing, after):
    folder = copy_of("bert", *after)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    if missing == "entry":
        drop_pooling(folder)
    else:
        (folder / "1_Pooling" / "config.json").unlink()
    with pytest.warns(CenoteWarning, match="declares no pooling; assumed 'mean'"):
        model = cenote.load(folder, device="cpu")
    assert_close(model.encode(TEXTS), expected)
    assert cenote.load(folder, pooling="max", device="cpu")[1].names == ("max",)
    assert [type(module) for module in list(model)[2:]] == [type(module) for module in after]


def test_modules_keep_their_own_names(copy_of):
    folder = copy_of("bert", Normalize())
    names = ["transformer", "pooler", "normalizer"]
    edit(folder / "modules.json", lambda entries: [{**e, "name": n} for e, n in zip(entries, names, strict=True)])
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    assert_close(cenote.load(folder, device="cpu").encode(TEXTS), expected)
    drop_pooling(folder)
    with pytest.warns(CenoteWarning, match="declares no pooling; assumed 'mean'"):
        model = cenote.load(folder, device="cpu")
    assert_close(model.encode(TEXTS), expected)


@pytest.mark.parametrize("how", ["cls", "landmark", "multi_cls"])
def test_an_untrained_pooling_warns_once(tiny_st, how):
    with pytest.warns(
        CenoteWarning, match=f"declares pooling 'mean\\+max', not '{how}': .*(means little|expect a loss)"
    ) as told:
        cenote.load(tiny_st("bert", pooling=("mean", "max")), pooling=(how, "mean"), device="cpu")
    assert [warning.filename for warning in told] == [__file__]
    folder = tiny_st("bert", pooling="cls")
    with warnings.catch_warnings():
        warnings.simplefilter("error", CenoteWarning)
        for fine in ("mean", "max", "lasttoken", ("cls", "mean"), "every_k"):
            cenote.load(folder, pooling=fine, device="cpu")


def test_prompts_and_later_modules_stay(tiny_st):
    prompts = {"query": "query: ", "document": "document: "}
    dense = Dense(32, 7, activation_function=torch.nn.Tanh())
    folder = tiny_st("bert", dense, Normalize(), prompts=prompts, default_prompt_name="query", include_prompt=False)
    for how in (None, "max", "every_k", "landmark"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CenoteWarning)  # landmark is learned
            model = cenote.load(folder, pooling=how, device="cpu")
        assert (model.prompts, model.default_prompt_name) == (prompts, "query")
        assert model[1].include_prompt is False
        assert [type(module) for module in list(model)[2:]] == [Dense, Normalize]
        assert model.encode(TEXTS).shape == (3, 7)


@pytest.mark.parametrize("after", [Dense(32, 7), LayerNorm(32)], ids=["Dense", "LayerNorm"])
def test_a_pooling_of_another_width_than_the_next_module_is_refused(tiny_st, after):
    folder = tiny_st("bert", after)
    assert cenote.load(folder, pooling="max", device="cpu").encode(TEXTS).shape[0] == 3
    kind = type(after).__name__
    with pytest.raises(
        BadInput, match=rf"pooling mean\+max gives 64 dimensions, and the model's {kind} after it takes 32"
    ):
        cenote.load(folder, pooling=("mean", "max"), device="cpu")


@pytest.mark.parametrize("kind", ["word vectors", "transformer"])
def test_weighted_tokens_pool_as_in_sentence_transformers(kind, tiny, tmp_path):
    """sentence-transformers' Pooling divides by the sum of the weights that WordWeights leaves: so must what loads."""
    if kind == "word vectors":
        words = ["pool", "cave", "water", "the", "deep"]
        torch.manual_seed(0)
        reader = WordEmbeddings(WhitespaceTokenizer(words), torch.randn(5, 32))
    else:
        reader = Transformer(str(tiny("bert")))
        words = list(reader.tokenizer.get_vocab())
    modules = [reader, WordWeights(words, {"pool": 3.0, "water": 0.5}), StPooling(32, "mean")]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path), create_model_card=False)
    expected = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS)
    assert_close(cenote.load(tmp_path, device="cpu").encode(TEXTS), expected)


def test_pickled_weights_are_refused(copy_of):
    folder = copy_of("bert")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"cannot load .*bert-copy.*safetensors"):
        cenote.load(folder, device="cpu")


def test_a_model_without_token_embeddings(tmp_path, demo):
    SentenceTransformer(modules=[StaticEmbedding(demo.tokenizer, embedding_dim=8)], device="cpu").save(str(tmp_path))
    expected = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS)
    np.testing.assert_array_equal(cenote.load(tmp_path, device="cpu").encode(TEXTS), expected)
    with pytest.raises(BadInput, match="starts with StaticEmbedding, which gives no token embeddings to pool"):
        cenote.load(tmp_path, pooling="mean", device="cpu")
    with pytest.raises(BadInput, match="max_seq_length"):
        cenote.load(tmp_path, max_seq_length=3, device="cpu")


# Intervals.


def test_intervals(tiny):
    def fresh(**options):
        model = cenote.load(tiny("bert"), device="cpu", **options)
        return model[0], model[1]

    reader, _ = fresh(pooling="landmark")
    assert (reader.interval, reader.splitter, reader.marker) == (32, "fixed", "landmark")
    reader, _ = fresh(pooling="multi_cls", interval=5)
    assert (reader.interval, reader.splitter, reader.marker) == (5, "fixed", "multi_cls")
    for several in ([16, 64], (16, 64)):
        reader, _ = fresh(pooling=("landmark", "mean"), interval=several)
        assert (reader.interval, reader.splitter, reader.training_intervals) == (32, "variable", [16, 64])
    assert fresh(pooling="every_k", interval=5)[1].options == {"k": 5}
    assert fresh(pooling="every_k")[1].options == {}


def test_intervals_on_a_saved_landmark_model(tiny, tmp_path):
    cenote.load(tiny("bert"), pooling="landmark", interval=[4, 9], device="cpu").save(str(tmp_path))
    saved = cenote.load(tmp_path, device="cpu")[0]
    assert (saved.interval, saved.splitter, saved.training_intervals) == (32, "variable", [4, 9])
    again = cenote.load(tmp_path, interval=6, device="cpu")[0]
    assert again.interval == 6
    again = cenote.load(tmp_path, pooling="landmark", device="cpu")[0]
    assert (again.interval, again.splitter, again.training_intervals) == (32, "variable", [4, 9])


def test_another_pooling_removes_the_landmarks(tiny_st, tiny, tmp_path):
    cenote.load(tiny("bert"), pooling="landmark", interval=4, device="cpu").save(str(tmp_path))
    model = cenote.load(tmp_path, pooling="mean", device="cpu")
    assert type(model[0]) is Transformer
    expected = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    assert_close(model.encode(TEXTS), expected.encode(TEXTS))
    assert set(model[0].get_config_dict()) == set(expected[0].get_config_dict())


# What stays.


def test_loading_writes_nothing_into_the_folder(copy_of):
    folder = copy_of("bert")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    cenote.load(folder, pooling="every_k", interval=3, max_seq_length=20, device="cpu").encode(TEXTS)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert os.environ["HF_HUB_OFFLINE"] == "1"
