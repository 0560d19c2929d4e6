"""The whole training: toy tasks -> what stops and goes on -> the model that is written -> what is refused."""

import json
import multiprocessing
import os
import random
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers import TrainerCallback

import cenote
from cenote.encoding.tokens import tokenise
from cenote.errors import BadInput, CenoteError, UnknownName
from cenote.nn import LandmarkTransformer
from cenote.training import folder as folders
from cenote.training import trainer as trainers
from cenote.training import watching
from cenote.training.backbone import prepare
from cenote.training.train import recipe_of, train

from ..systems import posix
from .toys import KEYS, accuracy, near_model, save_near, toy_pairs

INTERVALS = {"intervals": [2, 4, 8], "eval_interval": 4}
FAST = {"steps": 120, "batch_size": 32, "learning_rate": 1e-2, "loss_temperature": 0.1}


@pytest.fixture(scope="session")
def near_folder(tmp_path_factory):
    """A model that sees near tokens only. Shared: do not change it."""
    return save_near(tmp_path_factory.mktemp("near"))


@pytest.fixture
def near(near_folder):
    return near_model(near_folder)


# What is learned.


@pytest.mark.parametrize(
    ("where", "pooling", "least", "most"),
    [
        ("late", "landmark", 0.85, 1.0),
        ("late", "mean", 0.4, 1.0),
        ("late", "cls", 0.0, 0.2),  # CLS sees the first words alone; by chance it finds one of 32
        ("start", "cls", 0.95, 1.0),
    ],
)
def test_each_pooling_learns_what_it_can_see(near, where, pooling, least, most):
    more = INTERVALS if pooling == "landmark" else {}
    model = train(near, toy_pairs(where, 512, seed=1), pooling=pooling, **FAST, **more)
    assert least <= accuracy(model, where) <= most


@pytest.mark.parametrize("options", [{"cache": True}, {"cache": False}], ids=["computed again", "kept"])
def test_memory_does_not_change_what_is_learned(near, options):
    short = {**FAST, "steps": 60}
    model = train(near, toy_pairs("start", 512, seed=1), pooling="cls", mini_batch=8, **short, **options)
    assert accuracy(model, "start") > 0.9


def test_a_teacher_is_followed(near):
    """Scores that prefer the negative teach the opposite of the labels."""
    pairs = [
        {"query": key, "positive": text, "negatives": [other], "scores": [0.0, 20.0]}
        for (key, text), (_, other) in zip(toy_pairs("start", 64, 1), toy_pairs("start", 65, 2)[1:], strict=True)
    ]
    given = {**FAST, "steps": 60}
    model = train(near, pairs, pooling="mean", distil=20, **given)
    queries, right, wrong = (
        model.encode([*column], normalize_embeddings=True)
        for column in zip(*((row["query"], row["positive"], row["negatives"][0]) for row in pairs), strict=True)
    )
    assert ((queries * wrong).sum(1) > (queries * right).sum(1)).mean() > 0.9


def test_a_penalty_on_spread_draws_tokens_together(near_folder):
    def spread(weight):
        model = train(near_model(near_folder), toy_pairs("start", 128, 1), spread=weight, **{**FAST, "steps": 40})
        tokens = model.encode([text for _, text in toy_pairs("start", 32, 9)], output_value="token_embeddings")
        return np.mean([1 - float(x.mean(0).square().sum() / x.square().sum(1).mean()) for x in tokens])

    assert spread(5.0) < 0.7 * spread(0.0)


# What stops and goes on.

GOING = {"pooling": "landmark", **INTERVALS, "steps": 10, "batch_size": 8, "learning_rate": 1e-3, "seed": 3}
PAIRS = toy_pairs("late", 36, seed=4)  # four steps of eight in an epoch, and four pairs left over
EVERY = {"checkpoint_every": 4}


class _Kill(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def _run_killed(folder, output, instant):
    """Train in a process of its own, which is killed at an instant."""
    torch.set_num_threads(1)
    original = trainers.PairTrainer.__init__
    if instant == "checkpoint":  # the weights are written, the state of the optimizer is not
        save = trainers.PairTrainer._save_optimizer_and_scheduler

        def cut_short(self, path):
            if self.state.global_step == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            save(self, path)

        trainers.PairTrainer._save_optimizer_and_scheduler = cut_short
    else:

        def patched(self, **arguments):
            original(self, **arguments)
            self.add_callback(_Kill(instant))

        trainers.PairTrainer.__init__ = patched
    train(near_model(folder), PAIRS, output=output, **GOING, **EVERY)


@pytest.fixture(scope="session")
def killed(near_folder, tmp_path_factory):
    """Trainings that were killed at three instants, by instant."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cenote.training.train", "tests.training.test_train"])
    outputs = {instant: tmp_path_factory.mktemp("killed") / "out" for instant in (2, 7, "checkpoint")}
    for instant, output in outputs.items():
        process = context.Process(target=_run_killed, args=(near_folder, str(output), instant))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, instant
    return outputs


@pytest.fixture(scope="session")
def whole(near_folder, tmp_path_factory):
    """A training that nothing stopped."""
    output = tmp_path_factory.mktemp("whole") / "out"
    train(near_model(near_folder), PAIRS, output=output, **GOING, **EVERY)
    return output


@posix
@pytest.mark.parametrize("instant", [2, 7, "checkpoint"])
def test_a_training_that_was_killed_goes_on_bit_for_bit(near_folder, killed, whole, instant):
    """Before the first checkpoint, within the second epoch, and in the middle of a checkpoint."""
    output = killed[instant]
    assert not (output / "model.safetensors").exists()
    held = sorted(path.name for path in (output / "checkpoints").iterdir())
    assert held == {2: [], 7: ["checkpoint-4"], "checkpoint": ["checkpoint-4", "checkpoint-8"]}[instant]
    said = []
    train(near_model(near_folder), PAIRS, output=output, notify=said.append, **GOING, **EVERY)
    assert (f"going on after step {4 if instant != 2 else 0} of 10" in said) == (instant != 2)
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (output / "log.jsonl").read_text() == (whole / "log.jsonl").read_text()
    assert not (output / "checkpoints").exists()
    assert not (output / "pairs.arrow").exists()
    modes = {(output / name).stat().st_mode & 0o777 for name in ("model.safetensors", "config.json")}
    assert len(modes) == 1  # whoever may read one may read the other


def test_the_weights_moved_and_the_log_has_every_step(near_folder, whole):
    before, after = load_file(f"{near_folder}/model.safetensors"), load_file(whole / "model.safetensors")
    moved = [name for name, weight in before.items() if not torch.equal(weight, after[name])]
    assert len(moved) > len(before) / 2
    log = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 11))
    assert log[-1]["info_nce"] == pytest.approx(log[-1]["loss"])
    assert max(line["learning_rate"] for line in log) == pytest.approx(1e-3)


def test_a_complete_training_is_not_repeated(near_folder, whole):
    said = []
    model = train(near_model(near_folder), PAIRS, output=whole, notify=said.append, **GOING, **EVERY)
    assert said[-1] == f"the training in {str(whole)!r} is complete"
    assert said[0] == (
        "36 pairs: 4 steps of 8 in an epoch; 4 left over in the first; 1 moved to a later step, where they bring "
        "no false negative"
    )
    assert not (whole / "pairs.arrow").exists()
    assert isinstance(model[0], LandmarkTransformer)


@pytest.mark.parametrize("cache", [True, False])
def test_dropout_goes_on_too(tiny_st, tmp_path, cache):
    """A model with dropout, whose random state has to come back."""
    pairs = [(f"the {a} of {b}", f"{b} one two {a}") for a in ("cave", "pool", "stone") for b in ("light", "deep", "a")]
    given = {"steps": 5, "batch_size": 4, "learning_rate": 1e-3, "mini_batch": 2, "cache": cache, "checkpoint_every": 2}
    source = str(tiny_st("bert"))
    assert SentenceTransformer(source)[0].model.config.hidden_dropout_prob == 0.1
    for name in ("whole", "stopped"):
        with pytest.MonkeyPatch.context() as patch:
            if name == "stopped":
                patch.setattr(trainers.Report, "on_step_begin", _interrupt_at(3), raising=False)
                with pytest.raises(KeyboardInterrupt):
                    train(source, pairs, output=tmp_path / name, **given)
        train(source, pairs, output=tmp_path / name, **given)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert weights[0] == weights[1]
    train(source, pairs, output=tmp_path / "other", **{**given, "seed": 1})
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != weights[0]


def test_workers_give_the_same_weights(near_folder, whole, tmp_path):
    train(near_model(near_folder), PAIRS, output=tmp_path / "out", workers=2, **GOING, **EVERY)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 2e-3}, "recipe learning_rate is 0.001 there and 0.002 now"),
        ({"intervals": [2, 4]}, r"recipe intervals is \[2, 4, 8\] there and \[2, 4\] now"),
        ({"pairs": toy_pairs("late", 36, seed=5)}, "pairs is '.*' there and '.*' now"),
        ({"backbone": True}, "backbone is '.*' there and '.*' now"),
        ({"prompt": True}, "model prompts query is '' there and 'key0 ' now"),
        ({"seed": 4, "steps": 11}, "recipe steps is 10 there and 11 now; recipe seed is 3 there and 4 now"),
    ],
)
def test_another_training_in_the_same_folder_is_refused(near_folder, whole, change, message):
    model = near_model(near_folder)
    if change.pop("backbone", False):
        with torch.no_grad():
            next(model.parameters()).add_(0.1)
    if change.pop("prompt", False):
        model.prompts["query"] = "key0 "
    given = {**GOING, **EVERY, **change}
    with pytest.raises(
        BadInput, match=rf"training with other settings: {message}.*\. It is complete: name another folder"
    ):
        train(model, given.pop("pairs", PAIRS), output=whole, **given)


def test_a_training_goes_on_with_checkpoints_at_other_steps(near_folder, whole, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers.Report, "on_step_begin", _interrupt_at(5), raising=False)
        with pytest.raises(KeyboardInterrupt):
            train(near_model(near_folder), PAIRS, output=tmp_path / "out", **GOING, **EVERY)
        patch.setattr(trainers.Report, "on_step_begin", _interrupt_at(7), raising=False)
        with pytest.raises(KeyboardInterrupt):
            train(near_model(near_folder), PAIRS, output=tmp_path / "out", checkpoint_every=1, **GOING)
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["checkpoint-7"]
    train(near_model(near_folder), PAIRS, output=tmp_path / "out", **GOING)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_another_device_than_before_the_stop_is_told(near_folder, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers.Report, "on_step_begin", _interrupt_at(5), raising=False)
        with pytest.raises(KeyboardInterrupt):
            train(near_model(near_folder), PAIRS, output=tmp_path / "out", **GOING, **EVERY)
    state = json.loads((tmp_path / "out" / folders.STATE).read_text())
    state["environment"]["device"] = "cuda (a GPU)"
    (tmp_path / "out" / folders.STATE).write_text(json.dumps(state))
    said = []
    train(near_model(near_folder), PAIRS, output=tmp_path / "out", notify=said.append, **GOING, **EVERY)
    (line,) = [line for line in said if "may differ in their last bits" in line]
    assert "device was cuda (a GPU) and is cpu (" in line


def test_the_process_is_left_as_it_was(near_folder):
    states = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002
    given = {"steps": 2, "batch_size": 8, "gradient_checkpointing": True}
    model = train(near_model(near_folder), PAIRS, **given)
    assert states == [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002
    assert not model[0].model.is_gradient_checkpointing
    plain = train(near_model(near_folder), PAIRS, **{**given, "gradient_checkpointing": False})
    np.testing.assert_allclose(model.encode(KEYS), plain.encode(KEYS), atol=1e-6)


def test_checkpoints_may_be_at_other_steps(near_folder, whole, tmp_path):
    train(near_model(near_folder), PAIRS, output=tmp_path / "out", checkpoint_every=3, **GOING)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


# What can go wrong.


def test_a_loss_that_is_no_number_stops_the_training(near_folder, tmp_path, monkeypatch):
    calculate = trainers.PairTrainer.compute_loss

    def spoil(self, *arguments, **options):
        loss = calculate(self, *arguments, **options)
        return loss * float("nan") if self.state.global_step == 5 else loss

    monkeypatch.setattr(trainers.PairTrainer, "compute_loss", spoil)
    near = near_model(near_folder)
    near.eval()
    with pytest.raises(CenoteError, match=r"the loss is nan at step 6: .* The last good checkpoint is .*checkpoint-4"):
        train(near, PAIRS, output=tmp_path / "out", precision="float32", **GOING, **EVERY)
    assert not near.training
    (checkpoint,) = (tmp_path / "out" / "checkpoints").iterdir()
    assert torch.stack([w.isfinite().all() for w in load_file(checkpoint / "model.safetensors").values()]).all()


def test_a_gradient_that_is_no_number_stops_it_too(near_folder, tmp_path, monkeypatch):
    """Before the weights change, and before the checkpoint of that step takes the place of a good one."""
    backward = trainers.PairTrainer.training_step

    def spoil(self, model, *arguments, **options):
        loss = backward(self, model, *arguments, **options)
        if self.state.global_step == 7:
            next(model.parameters()).grad[0] = float("inf")
        return loss

    monkeypatch.setattr(trainers.PairTrainer, "training_step", spoil)
    with pytest.raises(
        CenoteError, match=r"the gradient is nan at step 8: .* The last good checkpoint is .*checkpoint-4"
    ):
        train(near_model(near_folder), PAIRS, output=tmp_path / "out", **GOING, **EVERY)
    (checkpoint,) = (tmp_path / "out" / "checkpoints").iterdir()
    assert torch.stack([w.isfinite().all() for w in load_file(checkpoint / "model.safetensors").values()]).all()


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc] file write failed"),
        SafetensorError("I/O error: File too large"),
    ],
)
def test_a_disk_that_fills_keeps_the_checkpoint_before(near_folder, whole, tmp_path, monkeypatch, error):
    save = trainers.PairTrainer._save_optimizer_and_scheduler

    def fill(self, path):
        if self.state.global_step == 8:
            Path(path, "optimizer.pt").write_bytes(b"a part")
            raise error
        save(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(trainers.PairTrainer, "_save_optimizer_and_scheduler", fill)
        with pytest.raises(CenoteError, match="make room, and run the same command again"):
            train(near_model(near_folder), PAIRS, output=tmp_path / "out", **GOING, **EVERY)
    said = []
    train(near_model(near_folder), PAIRS, output=tmp_path / "out", notify=said.append, **GOING, **EVERY)
    assert "going on after step 4 of 10" in said
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"stpes": 3}, UnknownName, "unknown setting of train 'stpes'; did you mean 'steps'"),
        ({"steps": 0}, BadInput, "steps=0: pass a whole number of at least 1"),
        ({"learning_rate": 0}, BadInput, "learning_rate=0: pass a number above 0"),
        ({"warmup": 2}, BadInput, "warmup=2: pass a number of at least 0, at most 1"),
        ({"pooling": "landmrak"}, UnknownName, "did you mean 'landmark'"),
        ({"precision": "float16"}, UnknownName, "unknown precision 'float16'"),
        ({"intervals": [8], "pooling": "cls"}, BadInput, "go with landmark, multi_cls and every_k, not with 'cls'"),
        ({"intervals": [8, 4], "pooling": "every_k"}, BadInput, r"intervals=\[8, 4\]: 'every_k' takes one number"),
        (
            {"splitter": "sentence", "pooling": "every_k"},
            BadInput,
            "goes with landmark and multi_cls, not with 'every_k'",
        ),
        (
            {"eval_interval": 4, "pooling": "mean"},
            BadInput,
            "eval_interval=4 goes with landmark, multi_cls and every_k",
        ),
        ({"eval_pooling": "landmark+multi_cls"}, BadInput, "insert different tokens: choose one"),
        ({"patience": 2}, BadInput, "patience=2: name what to evaluate on"),
        # The backbone's own pooling, which is the mean.
        ({"intervals": [8]}, BadInput, r"intervals=\[8\] go with landmark, multi_cls and every_k, not with 'mean'"),
        ({"eval_interval": 4}, BadInput, "eval_interval=4 goes with landmark, multi_cls and every_k, not with 'mean'"),
        (
            {"intervals": [8], "eval_interval": 4, "pooling": "every_k"},
            BadInput,
            r"eval_interval=4 with intervals=\[8\]: 'every_k' takes one number, in training and after it",
        ),
        (
            {"pooling": "landmark", "intervals": [8, 65], "max_length": 64},
            BadInput,
            "interval 65 is above max_length=64",
        ),
        ({"pooling": "landmark", "intervals": [8, 65]}, BadInput, "interval 65 is above the 64 tokens that the model"),
        ({"pooling": "landmark", "intervals": 0}, BadInput, "intervals=0: pass a whole number of at least 1"),
        ({"batch_size": 37}, BadInput, "36 pairs do not fill a batch of batch_size=37"),
        ({"negatives": 1}, BadInput, "negatives=1: some pair has 0"),
        ({"distil": 1.0}, BadInput, "distil=1: the pairs have no scores of a teacher"),
        ({"evaluate_every": 1}, BadInput, "evaluate_every=1: name what to evaluate on"),
        ({"evaluate_every": 2}, BadInput, "evaluate_every=2 is above steps=1"),
        ({"seed": 2**32}, BadInput, "seed=4294967296: pass at most"),
        ({"pooling": 7}, BadInput, "pooling=7: pass a name"),
        ({"checkpoint_every": 2}, BadInput, "checkpoint_every=2: name a folder for the checkpoints"),
        ({"evaluate": ["a text"]}, BadInput, "evaluate is a list: name a labelled folder"),
        ({"splitter": "sentence", "pooling": "landmark", "intervals": [8]}, BadInput, "chunks end with sentences"),
        ({"query_length": 20, "max_length": 10}, BadInput, "query_length=20 is above max_length=10"),
        (
            {"query_length": 65},
            BadInput,
            "query_length=65 is above the 64 tokens that the model reads",
        ),
        ({"clip": None}, BadInput, r"clip=None: leave it out for the default, 1\.0"),
        ({"steps": None}, BadInput, "steps=None: leave it out for the default, 1000"),
        ({"cache": 1}, BadInput, "cache=1: pass True or False"),
        ({"gradient_checkpointing": "no"}, BadInput, "gradient_checkpointing='no': pass True or False"),
        ({"query_prompt": 3}, BadInput, "query_prompt=3: pass a string"),
        (
            {"gradient_checkpointing": True, "temperature": {"query": 0.8, "document": 1.0}},
            BadInput,
            "with a temperature of 0.8 for a query and 1 for a document: only a constant one is known",
        ),
        ({"checkpoint_every": 0}, BadInput, "checkpoint_every=0"),
        ({"output": ""}, BadInput, "output is empty: name a folder, or leave it out"),
    ],
)
def test_wrong_settings_are_refused(near, settings, error, message):
    with pytest.raises(error, match=message):
        train(near, PAIRS, **{"steps": 1, "batch_size": 8, **settings})


def test_no_intervals_are_an_empty_list():
    assert recipe_of({"intervals": None}) == recipe_of({"intervals": []}) == recipe_of({})


def test_a_model_on_another_gpu_than_the_first_is_refused(near, monkeypatch):
    monkeypatch.setattr(SentenceTransformer, "device", torch.device("cuda:1"))
    with pytest.raises(BadInput, match=r"the model is on cuda:1, .* start with CUDA_VISIBLE_DEVICES=1"):
        train(near, PAIRS, **GOING)


def test_a_model_without_tokens_of_each_text_is_refused(near, tmp_path):
    model = SentenceTransformer(modules=[StaticEmbedding(near.tokenizer.backend_tokenizer, embedding_dim=8)])
    with pytest.raises(BadInput, match=r"reads texts by StaticEmbedding, .* train it with sentence-transformers' own"):
        train(model, PAIRS, output=tmp_path / "out", steps=1, batch_size=8)
    assert not (tmp_path / "out").exists()


def test_a_model_with_a_network_for_queries_is_trained_with_little_memory(near_folder):
    routes = [[*near_model(near_folder)] for _ in range(2)]
    model = SentenceTransformer(modules=[Router.for_query_document(*routes)], device="cpu")
    train(model, PAIRS, steps=1, batch_size=8, gradient_checkpointing=True)
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def test_a_score_that_is_no_number_stops_the_training(near, tmp_path):
    (tmp_path / "sts.csv").write_text("text1,text2,score\nkey0,key1,1\nkey2,key3,2\nkey4,key5,3\n")
    scores = iter([0.1, float("nan")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching._Labelled, "score", lambda self, model: next(scores))
        with pytest.raises(CenoteError, match="spearman is nan at step 2: "):
            train(near, PAIRS, evaluate=tmp_path / "sts.csv", evaluate_every=2, patience=1, steps=4, batch_size=8)


def test_an_error_that_is_no_full_disk_is_not_said_to_be_one(near, tmp_path, monkeypatch):
    def fail(self, path):
        raise RuntimeError("a shape is wrong")

    monkeypatch.setattr(trainers.PairTrainer, "_save_optimizer_and_scheduler", fail)
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        train(near, PAIRS, output=tmp_path / "out", **GOING)


def test_a_refused_call_leaves_nothing_behind(near_folder, tmp_path):
    (tmp_path / "few.txt").write_text("a pool\n")
    alike = [("key0", f"noise{n}") for n in range(40)]
    for given in ({"evaluate": tmp_path / "few.txt"}, {"pairs": alike}, {"eval_pooling": "landmark+multi_cls"}):
        with pytest.raises(BadInput):
            train(near_model(near_folder), given.pop("pairs", PAIRS), output=tmp_path / "out", **GOING, **given)
        assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_refused(near, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="already exists and holds no training: name a new folder"):
        train(near, PAIRS, output=tmp_path, **GOING)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_damaged_state_is_refused(near, tmp_path):
    (tmp_path / folders.STATE).write_text("{")
    with pytest.raises(BadInput, match=r"training\.json is damaged"):
        train(near, PAIRS, output=tmp_path, **GOING)


def test_a_backbone_without_a_closing_token_is_refused(tiny):
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    reader = Transformer(str(tiny("none")))
    model = SentenceTransformer(modules=[reader, Pooling(reader.get_embedding_dimension())], device="cpu")
    with pytest.raises(BadInput, match=r"has no sep_token or eos_token, which landmark pooling inserts"):
        train(model, PAIRS, **GOING)


# The model that is written.


def test_a_landmark_model_is_read_by_the_other_verbs(whole, tmp_path):
    model = cenote.load(whole)
    assert (model[0].interval, model[0].splitter, model[0].training_intervals) == (4, "variable", [2, 4, 8])
    texts = [text for _, text in PAIRS]
    cenote.embed(str(whole), texts, output=tmp_path / "vectors")
    vectors = cenote.read_embeddings(tmp_path / "vectors")[:]
    np.testing.assert_allclose(vectors, model.encode(texts), atol=1e-5)
    card = (whole / "README.md").read_text()
    for part in (
        "10 steps of contrastive training from ",
        "on 36 pairs",
        "intervals [2, 4, 8]",
        "warmup 0.05",
        "seed 3",
    ):
        assert part in card
    assert "spread 0.0" in card  # zeros are settings too
    assert 'cenote.load("' in card


def test_a_standard_pooling_is_read_by_sentence_transformers(near_folder, tmp_path):
    output = tmp_path / "out"
    model = train(near_folder, PAIRS, output=output, pooling="cls", steps=2, batch_size=8)
    np.testing.assert_allclose(SentenceTransformer(str(output)).encode(KEYS), model.encode(KEYS), atol=1e-6)


def test_one_interval_is_trained_with_though_another_one_is_read_with(near):
    model = prepare(near, recipe_of({"pooling": "landmark", "intervals": [8], "eval_interval": 4}))
    text = " ".join(KEYS[:1] * 32)
    around = len(near.tokenizer(text)["input_ids"]) - 32

    def landmarks(**epoch):
        return model.preprocess([text], **epoch)["input_ids"].shape[1] - 32 - around

    assert landmarks() == 32 // 4 - 1
    assert landmarks(epoch=0) == 32 // 8 - 1  # as the collator of a training reads


def test_intervals_that_the_backbone_brings_are_drawn_by_the_seed_and_recorded(near, tmp_path):
    first = prepare(near, recipe_of({"pooling": "landmark", **INTERVALS}))
    model = train(first, PAIRS, output=tmp_path / "out", steps=1, batch_size=8, seed=5)
    assert (model[0].seed, model[0].training_intervals) == (5, [2, 4, 8])
    resolved = json.loads((tmp_path / "out" / "training.json").read_text())["resolved"]
    assert [resolved[name] for name in ("splitter", "intervals", "interval")] == ["variable", [2, 4, 8], 4]
    assert "intervals [2, 4, 8]" in (tmp_path / "out" / "README.md").read_text()


def test_a_model_is_saved_with_the_similarity_that_it_was_trained_by(near, tmp_path):
    near.similarity_fn_name = "dot"
    said = []
    train(near, PAIRS, output=tmp_path / "out", steps=1, batch_size=8, notify=said.append)
    assert "the model compared vectors by dot: it is trained by the cosine, and saved with it" in said
    assert cenote.load(tmp_path / "out").similarity_fn_name == "cosine"
    assert "the cosine, by which it was trained, instead of dot" in (tmp_path / "out" / "README.md").read_text()


def test_the_pooling_after_the_training_may_be_another(near, tmp_path):
    given = {"eval_pooling": "landmark", "eval_interval": 4, "steps": 2, "batch_size": 8}
    model = train(near, PAIRS, output=tmp_path / "out", pooling="mean", **given)
    assert model[1].names == ("landmark",)
    assert cenote.load(tmp_path / "out")[0].interval == 4


def test_temperature_prompts_and_lengths_are_trained_with_and_kept(near, tmp_path):
    settings = {"temperature": 0.7, "query_prompt": "key0 ", "document_prompt": "key1 ", "max_length": 12}
    train(near, PAIRS, output=tmp_path / "out", steps=2, batch_size=8, query_length=6, **settings)
    model = cenote.load(tmp_path / "out")
    assert model.prompts == {"query": "key0 ", "document": "key1 "}
    assert (model.max_seq_length, model[0].query_length) == (12, 6)
    assert "temperature 0.7" in (tmp_path / "out" / "README.md").read_text()


def test_longer_texts_than_the_positions_are_read(tiny_st):
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    pairs = [(f"pool {word}", " ".join([word] * 300)) for word in "cave stone water light".split()]  # noqa: SIM905
    model = train(model, pairs, steps=1, batch_size=4, max_length=400, positions="tile")
    assert model.max_seq_length == 400
    assert np.isfinite(model.encode([pairs[0][1]])).all()


# Evaluation.


def test_a_model_is_watched_and_the_best_one_is_kept(near_folder, tmp_path):
    """The score falls after step 4: that model is written, and the training stops two evaluations later."""
    (tmp_path / "sts.csv").write_text(
        "text1,text2,score\n" + "".join(f"{a},{b},{i % 5}\n" for i, (a, b) in enumerate(toy_pairs("late", 40, 7)))
    )
    scores = iter([0.0, 0.1, 0.5, 0.4, 0.3, 0.2])  # that of the start first
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching._Labelled, "score", lambda self, model: next(scores))
        given = {"evaluate": tmp_path / "sts.csv", "evaluate_every": 2, "patience": 2, "steps": 10, "batch_size": 8}
        train(near_model(near_folder), PAIRS, output=tmp_path / "out", notify=said.append, **given)
    assert [line for line in said if line.startswith("step")] == [
        "step 0: spearman 0.0000",
        "step 2: spearman 0.1000",
        "step 4: spearman 0.5000",
        "step 6: spearman 0.4000",
        "step 8: spearman 0.3000",
    ]
    assert "stopped after step 8: 2 evaluations without a better score" in said
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["spearman"] for line in log if "spearman" in line] == [0.0, 0.1, 0.5, 0.4, 0.3]
    assert "the best model is that of step 4: 0.5000" in said
    assert "best at step 4 (0.5000), which these weights are of" in (tmp_path / "out" / "README.md").read_text()
    stopped = {"evaluate": None, "evaluate_every": None, "patience": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers.Report, "on_step_begin", _interrupt_at(4), raising=False)
        with pytest.raises(KeyboardInterrupt):
            train(near_model(near_folder), PAIRS, output=tmp_path / "b", checkpoint_every=4, **{**given, **stopped})
    best = tmp_path / "b" / "checkpoints" / "checkpoint-4" / "model.safetensors"
    assert best.read_bytes() == (tmp_path / "out" / "model.safetensors").read_bytes()


CODE = """
from sentence_transformers.base.modules import Transformer

class Own(Transformer):
    pass
"""


def test_the_best_model_may_have_code_of_its_own(near, tmp_path):
    near.save(str(tmp_path / "own"))
    (tmp_path / "own" / "code_of_others.py").write_text(CODE)
    modules = json.loads((tmp_path / "own" / "modules.json").read_text())
    modules[0]["type"] = "code_of_others.Own"
    (tmp_path / "own" / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "sts.csv").write_text("text1,text2,score\nkey0,key1,1\nkey2,key3,2\nkey4,key5,3\n")
    given = {"evaluate": tmp_path / "sts.csv", "patience": 1, "evaluate_every": 1, "steps": 2, "batch_size": 8}
    loader = partial(cenote.load, trust_remote_code=True)
    model = train(str(tmp_path / "own"), PAIRS, output=tmp_path / "out", loader=loader, **given)
    assert type(model[0]).__name__ == "Own"


def test_a_training_that_has_stopped_for_want_of_better_scores_does_not_go_on(near_folder, tmp_path):
    """A kill after the last evaluation, before the model is written."""
    from cenote.training import train as module

    (tmp_path / "sts.csv").write_text("text1,text2,score\nkey0,key1,1\nkey2,key3,2\nkey4,key5,3\n")
    given = {"evaluate": tmp_path / "sts.csv", "evaluate_every": 2, "patience": 2, "steps": 20, "batch_size": 8}

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        for name in ("whole", "killed"):
            scores = iter([0.0, 0.1, 0.5, 0.4, 0.3, 0.9, 0.8, 0.7])
            patch.setattr(watching._Labelled, "score", lambda self, model, scores=scores: next(scores))
            with pytest.MonkeyPatch.context() as inner:
                if name == "killed":
                    inner.setattr(module, "_write", interrupt)
                    with pytest.raises(KeyboardInterrupt):
                        train(near_model(near_folder), PAIRS, output=tmp_path / name, **given)
            train(near_model(near_folder), PAIRS, output=tmp_path / name, **given)
    for file in ("model.safetensors", "log.jsonl"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "killed" / file).read_bytes()
    (tmp_path / "sts.csv").write_text("text1,text2,score\nkey0,key1,1\nkey2,key3,2\nkey4,key5,4\n")
    with pytest.raises(BadInput, match=r"evaluation is '.*' there and '.*' now"):
        train(near_model(near_folder), PAIRS, output=tmp_path / "whole", **given)


def test_a_stop_before_the_first_checkpoint_leaves_no_second_score_of_the_start(near_folder, tmp_path):
    (tmp_path / "sts.csv").write_text("text1,text2,score\nkey0,key1,1\nkey2,key3,2\nkey4,key5,3\n")
    given = {"evaluate": tmp_path / "sts.csv", "steps": 2, "batch_size": 8}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers.Report, "on_step_begin", _interrupt_at(0), raising=False)
        with pytest.raises(KeyboardInterrupt):
            train(near_model(near_folder), PAIRS, output=tmp_path / "out", **given)
    assert len((tmp_path / "out" / "log.jsonl").read_text().splitlines()) == 1
    train(near_model(near_folder), PAIRS, output=tmp_path / "out", **given)
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "spearman" in line] == [0, 1, 2]


def _interrupt_at(step):
    def interrupt(self, args, state, control, **kwargs):
        if state.global_step == step:
            raise KeyboardInterrupt

    return interrupt


@pytest.mark.parametrize("kind", ["retrieval", "texts"])
def test_a_model_is_watched_by_a_search_and_by_texts(demo_path, tmp_path, builtin, kind):
    """The score is that of the same measure elsewhere: sentence-transformers' nDCG, and the account of `compare`."""
    from cenote.training.watching import watch_of

    if kind == "texts":
        (tmp_path / "texts.txt").write_text("\n".join(text.replace("\n", " ") for text in builtin[:120]))
        watch, source = "own_sentences_found", tmp_path / "texts.txt"
    else:
        watch, source = "ndcg_at_10", tmp_path / "folder"
        source.mkdir()
        rows = [(number, text.split(". ")) for number, text in enumerate(builtin[:60]) if ". " in text]
        rows = list(
            {". ".join(parts[1:]): (number, parts) for number, parts in rows}.values()
        )  # no two texts are alike
        lines = {
            "corpus": [{"_id": f"d{n}", "text": ". ".join(parts[1:])} for n, parts in rows],
            "queries": [{"_id": f"q{n}", "text": parts[0]} for n, parts in rows],
            "qrels": [{"query-id": f"q{n}", "corpus-id": f"d{n}", "score": 1} for n, _ in rows],
        }
        for name, records in lines.items():
            (source / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    model = cenote.load(demo_path)
    found = watch_of(source, seed=0)(model.train())
    assert model.training
    assert list(found) == [watch]
    model.eval()
    if kind == "texts":
        expected = cenote.compare([model], unlabelled=source, poolings=["mean", "max"], quick=False).cells[0].score
    else:
        docs = model.encode([record["text"] for record in lines["corpus"]], normalize_embeddings=True)
        queries = model.encode([record["text"] for record in lines["queries"]], normalize_embeddings=True)
        cosines = queries @ docs.T
        ranks = (cosines > cosines.diagonal()[:, None]).sum(1) + 1
        expected = np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0).mean()
    assert found[watch] == pytest.approx(expected, abs=1e-6)


def test_nobody_need_listen(near):
    assert train(near, PAIRS, steps=1, batch_size=8, progress=None, notify=None).encode("key1").shape == (32,)


def test_watching_changes_nothing_of_the_training(tiny_st, tmp_path):
    """The model has dropout, which an evaluation must not draw from; and a training that did not help says so."""
    (tmp_path / "sts.csv").write_text("text1,text2,score\na pool,a cave,1\nwater,stone,2\nlight,deep,4\n")
    pairs = [(f"the {a} of {b}", f"{b} one two {a}") for a in ("cave", "pool", "stone") for b in ("light", "deep", "a")]
    given = {"steps": 10, "batch_size": 4, "learning_rate": 1e-9}
    said = []
    watched = {"evaluate": tmp_path / "sts.csv", "evaluate_every": 1, "notify": said.append}
    source = str(tiny_st("bert"))
    for name, more in (("watched", watched), ("plain", {})):
        train(source, pairs, output=tmp_path / name, **given, **more)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("watched", "plain")]
    assert weights[0] == weights[1]
    assert any(line.startswith("no score is above that of the start") for line in said)
    assert any(line.startswith("loss: ") for line in said)


def test_columns_of_what_watches_may_have_any_names(near, tmp_path):
    (tmp_path / "sts.csv").write_text("question,answer,grade\nkey0,key1,1\nkey2,key3,2\nkey4,key5,4\n")
    named, said = {"text1": "question", "text2": "answer", "score": "grade"}, []
    given = {"evaluate": tmp_path / "sts.csv", "output": tmp_path / "out", "steps": 2, "batch_size": 8}
    train(near, PAIRS, data_columns=named, notify=said.append, **given)
    assert sum(line.startswith("step ") and ": spearman" in line for line in said) == 3
    with pytest.raises(BadInput, match=r"unknown column of .* 'reply'\. There are: question, answer, grade"):
        train(near, PAIRS, data_columns={**named, "text2": "reply"}, **given)
    with pytest.raises(BadInput, match=r"data_columns: name what to evaluate on \(evaluate, --evaluate\)"):
        train(near, PAIRS, data_columns=named, steps=2, batch_size=8)


def test_what_the_model_cuts_is_said(near):
    said = []
    pairs = [("key1 " * 4, "key2 " * 10), *[(f"key{row}", f"key{row + 1} " * 9) for row in range(2, 9)]]
    train(near, pairs, steps=1, batch_size=8, max_length=12, notify=said.append)
    train(near, pairs, steps=1, batch_size=8, query_length=4, document_prompt="key1 ", notify=said.append)
    # Without a prompt, and without a limit for queries, all fit.
    assert [line for line in said if line.endswith("and cut")] == [
        "12 % of the queries are longer than the 4 tokens that the model reads, and cut",
        "12 % of the positives are longer than the 12 tokens that the model reads, and cut",
    ]


def test_queries_of_a_router_are_counted_by_their_own_tokenizer(near_folder, tiny):
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    routes = [[Transformer(str(where)), Pooling(32)] for where in (near_folder, tiny("qwen"))]
    model = SentenceTransformer(modules=[Router.for_query_document(*routes)], device="cpu")
    pairs = [(f"noise{row} " * row, f"key{row}") for row in range(1, 9)]
    said = []
    train(model, pairs, steps=1, batch_size=8, query_length=6, notify=said.append)
    assert model[0].sub_modules["query"][0].query_length == 6
    assert tokenise(model, [query for query, _ in pairs], task="query").truncated.mean() == 0.5
    assert "50 % of the queries are longer than the 6 tokens that the model reads, and cut" in said


def test_a_length_of_queries_is_compared_with_what_their_route_reads(near_folder):
    routes = [[*near_model(near_folder)] for _ in range(2)]
    model = SentenceTransformer(modules=[Router.for_query_document(*routes)], device="cpu")
    routes[0][0].max_seq_length, routes[0][0].query_length = 30, 10
    with pytest.raises(BadInput, match="query_length=40 is above the 30 tokens that the model reads"):
        train(model, PAIRS, steps=1, batch_size=8, query_length=40)
    routes[0][0].max_seq_length, routes[1][0].max_seq_length = 64, 30
    train(model, PAIRS, steps=1, batch_size=8, query_length=40)
    assert routes[0][0].query_length == 40


def test_another_order_of_the_pairs_is_refused_where_the_training_would_go_on(near_folder, tmp_path):
    def again(**options):
        return train(near_model(near_folder), PAIRS, output=tmp_path / "out", **GOING, **options)

    again()
    path, said = tmp_path / "out" / folders.STATE, []
    state = json.loads(path.read_text())
    del state["order"]  # as before queries with several positives had an order of their own
    path.write_text(json.dumps(state))
    again(notify=said.append)
    assert said[-1].endswith("is complete")
    path.write_text(json.dumps({**state, "complete": False}))
    with pytest.raises(BadInput, match=r"another version of Cenote began, .* name another folder\.$"):
        again()


def test_what_cannot_watch_is_refused(near, tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("train", "test"):
        (tmp_path / "a" / f"{name}.csv").write_text("text,label\na pool,x\na cave,y\n")
    (tmp_path / "few.txt").write_text("a pool\n" * 5)
    (tmp_path / "ranked").mkdir()
    for name, rows in (
        ("corpus", "id,text\nd0,a pool\nd1,a cave\n"),
        ("queries", "id,text\nq0,water\n"),
        ("qrels", "query_id,doc_id,score\nq0,d0,1\n"),
    ):
        (tmp_path / "ranked" / f"{name}.csv").write_text(rows)
    (tmp_path / "ranked" / "candidates.jsonl").write_text('{"query_id": "q0", "doc_ids": ["d0", "d1"]}\n')
    for source, message in (
        (tmp_path / "a", "watched by retrieval or sts, not by classification"),
        (tmp_path / "ranked", "watched by retrieval or sts, not by reranking"),
        (tmp_path / "few.txt", "only 0 of 5 texts, of which 4 are copies, have three sentences of 6 words or more"),
        (tmp_path / "none", "no such file or folder"),
    ):
        with pytest.raises(BadInput, match=message):
            train(near, PAIRS, steps=1, batch_size=8, evaluate=source)
