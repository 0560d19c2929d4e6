"""Refused by loading: poolings, intervals -> lengths, devices, dtypes -> paths -> spoiled files -> remote code."""

import json
import re

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize

import cenote
from cenote.errors import BadInput, CenoteWarning, UnknownName
from cenote.models.repooling import repool

TEXTS = ["the pool", "one two three, the deep cave", "water"]


@pytest.mark.parametrize("pooling", ["cosine", "", "Mean", (), ("mean", "nothing"), 3], ids=repr)
def test_unknown_poolings_are_refused(pooling):
    with pytest.raises(BadInput, match="pooling"):
        cenote.load("no/such/folder/needed", pooling=pooling)


@pytest.mark.parametrize("interval", [0, -3, True, 2.5, "32", [], [32, 0], [2.5], {}, np.float32(2)], ids=repr)
def test_bad_intervals_are_refused(tiny, interval):
    with pytest.raises(BadInput, match="interval"):
        cenote.load(tiny("bert"), pooling="landmark", interval=interval)


def test_an_interval_needs_a_pooling_with_chunks(tiny, tiny_st):
    with pytest.raises(BadInput, match="interval=8 goes with pooling landmark, every_k, multi_cls, not with mean"):
        cenote.load(tiny_st("bert"), interval=8)
    with pytest.raises(BadInput, match=r"interval=8 goes with pooling .*, not with cls\+max"):
        cenote.load(tiny("bert"), pooling=("cls", "max"), interval=8)
    with pytest.raises(BadInput, match=r"interval=8 goes with pooling .*, not with none"):
        cenote.load(tiny("bert"), interval=8)
    with pytest.raises(BadInput, match=r"interval=\[8, 16\].* every_k"):  # which has no training of its own
        cenote.load(tiny("bert"), pooling="every_k", interval=[8, 16])


# Lengths, devices, dtypes.


def test_max_seq_length(tiny, tiny_st):
    model = cenote.load(tiny_st("bert"), max_seq_length=5, device="cpu")
    assert model.max_seq_length == 5
    np.testing.assert_array_equal(model.encode("the pool water cave light"), model.encode("the pool water"))
    for kind in ("bert", "roberta"):
        assert cenote.load(tiny_st(kind), max_seq_length=256, device="cpu").encode("a " * 400).shape == (32,)
        with pytest.raises(BadInput, match="max_seq_length=257: the model has positions for 256 tokens only"):
            cenote.load(tiny_st(kind), max_seq_length=257, device="cpu")
    assert cenote.load(tiny_st("t5"), max_seq_length=4000, device="cpu").encode("a " * 3000).shape == (32,)
    for length in (1, 2):
        with pytest.raises(BadInput, match="the tokenizer adds 2 special tokens to every text, which leave no room"):
            cenote.load(tiny_st("bert"), max_seq_length=length, device="cpu")
    assert cenote.load(tiny_st("bert"), max_seq_length=3, device="cpu").max_seq_length == 3
    for value in (0, -1, True, 2.0, "8"):
        with pytest.raises(BadInput, match=re.escape(f"max_seq_length={value!r}: pass a whole number of at least 1")):
            cenote.load(tiny_st("bert"), max_seq_length=value)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta", ""])
def test_unusable_devices_are_refused(tiny_st, device):
    with pytest.raises(BadInput, match=re.escape(f"device={device!r} cannot be used here")):
        cenote.load(tiny_st("bert"), device=device)


def test_devices(tiny_st):
    for device in ("cpu", torch.device("cpu"), None):
        assert cenote.load(tiny_st("bert"), device=device).device.type == (
            "cpu" if device else cenote.load(tiny_st("bert")).device.type
        )


def test_dtypes(tiny_st):
    folder = tiny_st("bert")
    for dtype in ("float32", "bfloat16", "float16", torch.bfloat16):
        model = cenote.load(folder, dtype=dtype, pooling="every_k", device="cpu")
        wanted = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype)
        assert {weight.dtype for weight in model.parameters()} == {wanted}
        assert model.encode("water", convert_to_tensor=True).dtype == wanted
    assert cenote.load(folder, dtype="auto", device="cpu").dtype == torch.float32
    for dtype in ("float46", "int8", 16, "torch.float16"):
        with pytest.raises(UnknownName, match=f"unknown dtype {dtype!r}.*There are: float32, bfloat16, float16, auto"):
            cenote.load(folder, dtype=dtype)
    with pytest.raises(BadInput, match=r"torch\.int8"):
        cenote.load(folder, dtype=torch.int8, device="cpu")


# Paths, files and code.


def test_paths_without_a_model_are_refused(tmp_path, tiny_st):
    (tmp_path / "notes.txt").write_text("the pool")
    cases = {
        tmp_path: r"is no model: it has no modules\.json or config\.json. It has: notes\.txt",
        tmp_path / "notes.txt": "is a file: name the folder of a model",
        tmp_path / "absent": "no such folder: .*absent'",
        str(tmp_path / "absent"): "no such folder: .*absent'",
        "a:b": r"no such folder: 'a:b', and it is no hub id, which has at most 96 letters",
        "localhost:9": r"An address is written http://localhost:9\.",
        "x" * 300: r"and it is no hub id",
        "./absent": r"no such folder: '\./absent'",
        "~/absent": "no such folder: '~/absent'",
        "a/b/c": "no such folder: 'a/b/c'",
        "": "no such folder: ''",
        " ": "no such folder: ' '",
        "mini-lm": "unknown model 'mini-lm'; did you mean 'minilm'",
        "minilm6": "unknown model 'minilm6'; did you mean 'minilm'",
        "MiniLM": "unknown model 'MiniLM'; did you mean 'minilm'",
        None: "model=None",
        3: "model=3",
    }
    for model, said in cases.items():
        with pytest.raises(BadInput, match=said):
            cenote.load(model)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"no model: .* It has: nothing"):
        cenote.load(tmp_path / "empty")


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing-at-all"])
def test_hub_ids_are_refused_offline(name):
    with pytest.raises(BadInput, match=f"cannot load .*{name}'"):
        cenote.load(name)


# None deletes the file.
SPOILED = {
    "modules.json": ["{", "[]", "{}", '"x"', '[{"idx": 0}]', '[{"idx": 0, "name": "0", "path": ""}]', "[1]"],
    "config.json": ["{", "{}", '{"model_type": "no-such-model"}', "[]", None],
    "1_Pooling/config.json": [
        "{",
        '"x"',
        '{"pooling_mode": "median"}',
        '{"embedding_dimension": 32, "pooling_mode": "mean", "k": 3}',
    ],
    "sentence_bert_config.json": ["{"],
    "config_sentence_transformers.json": ["{"],
    "tokenizer.json": ["{", "{}", None],
    "model.safetensors": ["", "not tensors at all", None],
}


@pytest.mark.parametrize(("name", "content"), [(name, text) for name, texts in SPOILED.items() for text in texts])
def test_spoiled_and_missing_files_raise_one_line(copy_of, name, content):
    folder = copy_of("bert")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(BadInput, match=re.escape(str(folder))) as refusal:
        cenote.load(folder, device="cpu")
    assert "\n" not in str(refusal.value)


def use_class(folder, place, address):
    """Name another class for one module of a saved model."""
    entries = json.loads((folder / "modules.json").read_text("utf-8"))
    entries[place]["type"] = address
    (folder / "modules.json").write_text(json.dumps(entries))


CODE = """
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling as P

class {name}({base}):
    def forward(self, features, **_):
        features = super().forward(features)
        features["sentence_embedding"] = features["sentence_embedding"] * 2
        return features
"""


@pytest.mark.parametrize("class_name", ["Twice", "Pooling"])
def test_remote_code_runs_only_when_trusted(copy_of, class_name):
    folder = copy_of("bert", Normalize())
    base = "P" if class_name == "Pooling" else "Normalize"
    module = f"of_others_{class_name.lower()}"
    (folder / f"{module}.py").write_text(CODE.format(name=class_name, base=base))
    use_class(folder, 1 if class_name == "Pooling" else 2, f"{module}.{class_name}")
    with pytest.raises(
        BadInput,
        match=r"brings its own code: pass trust_remote_code=True \(--trust-remote-code\) if you trust its authors",
    ):
        cenote.load(folder, device="cpu")
    trusted = cenote.load(folder, trust_remote_code=True, device="cpu")
    expected = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    assert [type(module).__name__ for module in trusted] == [type(module).__name__ for module in expected]
    np.testing.assert_allclose(trusted.encode(TEXTS), expected.encode(TEXTS), rtol=1e-5, atol=1e-6)


ALONE = """
from sentence_transformers.base.modules import Module

class Pooling(Module):
    def __init__(self, **config):
        super().__init__()

    def forward(self, features, **_):
        features["sentence_embedding"] = features["token_embeddings"].sum(1) * 3
        return features

    def save(self, path, **_):
        pass
"""


def test_a_remote_pooling_class_can_be_replaced(copy_of):
    """Were the new one put beside it, the old one would have the last word."""
    folder = copy_of("bert")
    expected = repool(SentenceTransformer(str(folder), device="cpu"), "max").encode(TEXTS)
    (folder / "of_others_alone.py").write_text(ALONE)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "of its own"}')
    use_class(folder, 1, "of_others_alone.Pooling")
    own = cenote.load(folder, trust_remote_code=True, device="cpu")
    theirs = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    np.testing.assert_array_equal(own.encode(TEXTS), theirs.encode(TEXTS))
    chosen = cenote.load(folder, pooling="max", trust_remote_code=True, device="cpu")
    np.testing.assert_allclose(chosen.encode(TEXTS), expected, rtol=1e-5, atol=1e-6)
    with pytest.warns(CenoteWarning, match=r"declares pooling 'of_others_alone\.Pooling', not 'cls'"):
        cenote.load(folder, pooling="cls", trust_remote_code=True, device="cpu")


def test_a_remote_architecture_runs_only_when_trusted(copy_of):
    folder = copy_of("bert")
    (folder / "odd_model.py").write_text("raise SystemExit('ran')\n")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"auto_map": {"AutoConfig": "odd_model.C", "AutoModel": "odd_model.M"}, "model_type": "odd"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="brings its own code: pass trust_remote_code=True"):
        cenote.load(folder, device="cpu")


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (1, "the model's saved temperature is 1: it needs temperature, layers and scale_bias"),
        ("a", "saved temperature is 'a'"),
        ([], r"saved temperature is \[\]"),
        ({}, r"saved temperature is \{\}"),
        ({"temperature": 0.8}, "it needs temperature, layers and scale_bias"),
        ({"temperature": 10**400, "layers": None, "scale_bias": True}, "temperature is 1000.*: pass a finite number"),
        ({"temperature": float("inf"), "layers": None, "scale_bias": True}, "temperature is inf: pass a finite number"),
        ({"temperature": {}, "layers": None, "scale_bias": True}, "a temperature by role needs"),
        ({"temperature": 0.8, "layers": "a", "scale_bias": True}, "layers='a': pass a list of layer numbers"),
        ({"temperature": 0.8, "layers": [1e30], "scale_bias": True}, "no layer 1e"),
    ],
)
def test_a_saved_temperature_that_is_damaged_is_refused(copy_of, saved, message):
    folder = copy_of("bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"cenote_temperature": saved}))
    with pytest.raises(BadInput, match=message):
        cenote.load(folder, device="cpu")
