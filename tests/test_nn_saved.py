"""Saved models: the stored format -> with and without Cenote, in fresh processes -> cards -> training."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling

import cenote
from cenote.errors import CenoteWarning
from cenote.models.repooling import repool
from cenote.nn import LandmarkTransformer, Pooling
from cenote.training.collator import Collator, FollowEpochs

GOLDEN = Path(__file__).parent / "golden" / "landmark"
TEXTS = ["the pool", "", "one two three. the deep cave! light collapse, the water [SEP] and the stone", "water"]
WORDS = ["pool", "cave", "water", "stone", "light", "deep", "collapse", "one"]
NAMED = {"query": "query: ", "document": ""}
TWO_LINES = ("import cenote\n", "model = cenote.load(")


def read_json(path):
    return json.loads(path.read_text("utf-8"))


@pytest.fixture
def landmark_model(tiny_st):
    """The model that the golden copy describes."""
    model = SentenceTransformer(str(tiny_st("bert", prompts=NAMED, include_prompt=False)), device="cpu")
    settings = {"interval": 3, "splitter": "variable", "training_intervals": [2, 3, 5], "seed": 7}
    return repool(model, "landmark", **settings)


# The stored format.


def test_a_saved_landmark_model_has_the_stored_format(landmark_model, tmp_path):
    landmark_model.save(str(tmp_path))
    for name in ("modules.json", "1_Pooling/config.json"):
        assert read_json(tmp_path / name) == read_json(GOLDEN / name)
    config, stored = (read_json(folder / "sentence_bert_config.json") for folder in (tmp_path, GOLDEN))
    assert {key: config.get(key) for key in stored} == stored
    assert set(stored) == set(LandmarkTransformer.landmark_keys)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {".json", ".md", ".safetensors"}


def old_folder(landmark_model, path, **changes):
    """A folder as Cenote 0.1 wrote it: the golden files beside the weights."""
    landmark_model.save(str(path), create_model_card=False)
    shutil.copytree(GOLDEN, path, dirs_exist_ok=True)
    config = read_json(path / "sentence_bert_config.json")
    config = {key: value for key, value in {**config, **changes}.items() if value is not None}
    (path / "sentence_bert_config.json").write_text(json.dumps(config))
    return path


def test_the_stored_format_loads(landmark_model, tmp_path):
    again = cenote.load(old_folder(landmark_model, tmp_path), device="cpu")
    assert (type(again[0]), type(again[1])) == (LandmarkTransformer, Pooling)
    assert again[0].get_config_dict() == landmark_model[0].get_config_dict()
    assert again[1].get_config_dict() == landmark_model[1].get_config_dict()
    assert again.prompts == NAMED
    np.testing.assert_array_equal(again.encode(TEXTS), landmark_model.encode(TEXTS))
    trusted = SentenceTransformer(str(tmp_path), trust_remote_code=True, device="cpu")
    np.testing.assert_array_equal(trusted.encode(TEXTS), landmark_model.encode(TEXTS))


def test_settings_missing_from_an_old_folder_have_their_defaults(landmark_model, tmp_path):
    keys = dict.fromkeys(LandmarkTransformer.landmark_keys)
    again = cenote.load(old_folder(landmark_model, tmp_path, **keys), device="cpu")
    config = again[0].get_config_dict()
    expected = {"interval": 32, "splitter": "fixed", "training_intervals": [32, 64, 128, 256]}
    assert {key: config[key] for key in keys} == {**expected, "marker": "landmark", "seed": 0}


# Fresh processes. One of each kind for all the models of this module, both at once.

WITHOUT_CENOTE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cenote":
            raise ModuleNotFoundError("No module named 'cenote'")

sys.meta_path.insert(0, Absent())
"""
WITH_CENOTE = """
import socket

def refuse(*args):
    raise SystemExit(f"reached for the network: {args}")

socket.getaddrinfo = refuse
import cenote
"""
ENCODE = """
import json, sys
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

folders, texts, target = json.loads(sys.stdin.read())
load = cenote.load if "cenote" in sys.modules else SentenceTransformer
vectors = {}
for name, folder in folders.items():
    try:
        model = torch.load(folder, weights_only=False) if folder.endswith(".pt") else load(folder, device="cpu")
    except (ValueError, ImportError) as error:
        print(f"{name}: {str(error)!r}")
    else:
        vectors[f"{name}/plain"], vectors[f"{name}/query"] = model.encode(texts), model.encode_query(texts)
np.savez(target, **vectors)
"""


def start(script, folders, target):
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", script + ENCODE], env=environment, text=True, **pipes)
    process.stdin.write(json.dumps([{name: str(folder) for name, folder in folders.items()}, TEXTS, str(target)]))
    process.stdin.close()
    process.stdin = None
    return process


def finish(process, target):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-2000:]
    return out, dict(np.load(target))


def vectors_of(model):
    return {"plain": model.encode(TEXTS), "query": model.encode_query(TEXTS)}


def assert_same(found, name, expected, atol=1e-6):
    for key, vectors in expected.items():
        np.testing.assert_allclose(found[f"{name}/{key}"], vectors, rtol=0, atol=atol)


def test_standard_models_need_no_cenote_and_ours_load_in_a_fresh_process(tiny_st, demo_path, tmp_path):
    standard, ours = {}, {}
    base = tiny_st("bert", prompts=NAMED, include_prompt=False)
    for name, how in {"mean": "mean", "sqrt": "mean_sqrt_len", "three": ("weightedmean", "lasttoken", "max")}.items():
        standard[name] = repool(SentenceTransformer(str(base), device="cpu"), how)
    with pytest.warns(CenoteWarning, match="a CLS that was not trained to represent a text means little"):
        standard["demo"] = cenote.load("minilm", pooling="cls", device="cpu")
    standard["back"] = repool(repool(SentenceTransformer(str(base), device="cpu"), "landmark"), "mean")
    for name, how in {"landmark": "landmark", "two": ("landmark", "mean"), "opened": "multi_cls"}.items():
        ours[name] = repool(SentenceTransformer(str(base), device="cpu"), how, interval=3)
    ours["every"] = repool(SentenceTransformer(str(base), device="cpu"), "every_k", k=3)
    ours["trained"] = train(repool(SentenceTransformer(str(base), device="cpu"), "landmark", **VARIABLE), tmp_path)
    folders = {}
    for name, model in {**standard, **ours}.items():
        folders[name] = tmp_path / name
        model.save(str(folders[name]))
    torch.save(standard["mean"], tmp_path / "pickled.pt")
    torch.save(ours["landmark"], tmp_path / "pickled-too.pt")
    pickles = {"pickled": tmp_path / "pickled.pt", "pickled-too": tmp_path / "pickled-too.pt"}

    plain = start(WITHOUT_CENOTE, folders, tmp_path / "plain.npz")
    fresh = start(WITH_CENOTE, {**folders, **pickles, "minilm": "minilm"}, tmp_path / "fresh.npz")
    refused, found = finish(plain, tmp_path / "plain.npz")
    for name, model in standard.items():
        assert_same(found, name, vectors_of(model))
    assert {line.split(":")[0] for line in refused.splitlines() if "trust_remote_code=True" in line} == set(ours)
    assert not {name.split("/")[0] for name in found} & set(ours)  # so a landmark model is for cenote.load

    refused, found = finish(fresh, tmp_path / "fresh.npz")
    assert refused == ""
    for name, model in {**standard, **ours, "pickled": standard["mean"], "pickled-too": ours["landmark"]}.items():
        assert_same(found, name, vectors_of(model))


def test_a_standard_folder_has_the_bytes_of_sentence_transformers(tiny_st, tmp_path):
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    model[1] = StPooling(32, ("cls", "mean"))
    model.save(str(tmp_path / "theirs"), create_model_card=False)
    repool(model, ("cls", "mean")).save(str(tmp_path / "ours"), create_model_card=False)
    names = [{path.relative_to(tmp_path / who) for path in (tmp_path / who).rglob("*")} for who in ("theirs", "ours")]
    assert names[0] == names[1]
    for name in names[0]:
        path = tmp_path / "ours" / name
        assert path.is_dir() or path.read_bytes() == (tmp_path / "theirs" / name).read_bytes(), name


# Cards.


def card(model, path):
    model.save(str(path))
    text = (path / "README.md").read_text("utf-8")
    assert text.startswith("---\n")
    assert "\n---\n" in text[4:]
    return text


def test_the_card_of_a_landmark_model_says_how_to_load_it(landmark_model, demo_path, tmp_path):
    demo = SentenceTransformer(str(demo_path), device="cpu", local_files_only=True)
    text = demo._model_card_text
    made = [landmark_model, repool(demo, "landmark"), cenote.load(old_folder(landmark_model, tmp_path / "old"))]
    for number, model in enumerate(made):
        said = card(model, tmp_path / str(number))
        assert "needs Cenote" in said
        assert "pip install cenote" in said
        assert all(line in said for line in TWO_LINES)
        again = cenote.load(tmp_path / str(number), device="cpu")
        assert all(line in card(again, tmp_path / f"{number}-again") for line in TWO_LINES)
    kept = (tmp_path / "1" / "README.md").read_text("utf-8")
    assert text.split("\n---\n", 1)[1].strip() in kept  # under a note, the model's own card
    assert "'landmark' instead of 'mean'" in kept


@pytest.mark.parametrize("through_disk", [False, True])
def test_the_card_of_a_standard_model_does_not_ask_for_cenote(landmark_model, tmp_path, through_disk):
    if through_disk:
        landmark_model.save(str(tmp_path / "before"))
        landmark_model = cenote.load(tmp_path / "before", device="cpu")
    assert "needs Cenote" not in card(repool(landmark_model, "mean"), tmp_path / "after")


def test_an_unchanged_pooling_is_not_noted_on_the_card(landmark_model, tmp_path):
    landmark_model.save(str(tmp_path / "before"))
    again = cenote.load(tmp_path / "before", interval=5, device="cpu")
    assert again[0].interval == 5
    assert "Pooling changed" not in card(again, tmp_path / "after")


# Training.

VARIABLE = {"interval": 3, "splitter": "variable", "training_intervals": [2, 3, 5]}


def pairs(columns=2, count=24):
    lines = [f"the {a} of {b}, one two three {a}. a {b} cave" for a in WORDS for b in WORDS][:count]
    names = ["anchor", "positive", "negative"][:columns]
    return Dataset.from_dict({name: lines[shift:] + lines[:shift] for shift, name in enumerate(names)})


def train(model, path, loss=None, columns=2, steps=10, resume=None, prompts=None, **arguments):
    """Train, and see that the loss is a number and that every weight that can move has moved."""
    collator = Collator(model.preprocess, prompts=prompts)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(path / "runs"),
            max_steps=steps,
            per_device_train_batch_size=4,
            learning_rate=1e-3,
            logging_steps=1,
            **{"save_strategy": "no", **arguments},
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=pairs(columns),
        loss=(loss or MultipleNegativesRankingLoss)(model),
        data_collator=collator,
        callbacks=[FollowEpochs(collator)],
    )
    trainer.train(resume_from_checkpoint=resume)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == steps
    assert np.isfinite(losses).all()
    still = [name for name, weight in model.named_parameters() if torch.equal(weight, before[name])]
    assert not [name for name in still if "pooler" not in name], "did not move"
    return model.eval()


def test_cached_losses_and_merged_columns_train_too(tiny_st, tmp_path):
    model = SentenceTransformer(str(tiny_st("bert", include_prompt=False)), device="cpu")
    repool(model, "landmark", **VARIABLE)
    cached = partial(CachedMultipleNegativesRankingLoss, mini_batch_size=3)
    train(model, tmp_path, loss=cached, steps=3)
    train(model, tmp_path, columns=3, steps=2, prompts="query: ")
    train(model, tmp_path, loss=cached, columns=3, steps=2, prompts={"anchor": "query: "})


@pytest.mark.parametrize("kind", ["bert", "qwen"])  # padding on either side
@pytest.mark.parametrize("how", ["landmark", "multi_cls", ("landmark", "mean")], ids=str)
def test_a_cached_loss_has_the_gradients_of_the_plain_one(tiny_st, kind, how):
    if how == "multi_cls" and kind == "qwen":
        how = "every_k"
    model = SentenceTransformer(str(tiny_st(kind, include_prompt=False)), device="cpu")
    repool(model, how, **({"k": 3} if how == "every_k" else {"interval": 3})).eval()

    columns = [
        model.preprocess(pairs(3)[name][:5], prompt="query: the pool, ") for name in ("anchor", "positive", "negative")
    ]
    found = []
    for loss in (MultipleNegativesRankingLoss(model), CachedMultipleNegativesRankingLoss(model, mini_batch_size=2)):
        model.zero_grad()
        value = loss([{**column} for column in columns], None)
        value.backward()
        found.append((value.detach(), {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert found[0][1].keys() == found[1][1].keys() != set()
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-3, atol=1e-5)


def test_training_continues_from_a_checkpoint(landmark_model, tmp_path):
    train(landmark_model, tmp_path, steps=2, save_strategy="steps", save_steps=2)
    checkpoint = tmp_path / "runs" / "checkpoint-2"
    again = cenote.load(checkpoint, device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), landmark_model.encode(TEXTS), atol=1e-6)
    train(again, tmp_path, steps=4, resume=str(checkpoint))
