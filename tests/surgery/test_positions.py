"""Rows by a plain loop -> every family -> models without a table -> other modules, cards, saving -> refusals."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from torch import nn
from transformers import AutoTokenizer

import cenote
from cenote.errors import BadInput, UnknownName, UnsupportedModel
from cenote.functional.temperature import LengthTemperature
from cenote.models.properties import positions_of
from cenote.models.repooling import repool
from cenote.nn import LandmarkTransformer
from cenote.surgery.positions import LEARNED, WAYS, extend_positions, interpolate, tile
from cenote.surgery.tempering import temper

OLD, NEW = 40, 100
# Name of a family in the table of this folder -> tokenizer, further settings.
TABLES = {
    "bert": ("bert", {}),
    "distilbert": ("bert", {}),
    "albert": ("bert", {}),
    "electra": ("bert", {}),
    "ernie": ("bert", {}),
    "deberta-v2": ("bert", {"position_biased_input": True, "position_buckets": -1}),
    "roberta": ("roberta", {}),
    "xlm-roberta": ("roberta", {}),
    "camembert": ("roberta", {}),
    "longformer": ("roberta", {}),
    "mpnet": ("roberta", {}),
}
DEBERTA_1 = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": -1}
TABLES["DebertaModel"] = ("bert", DEBERTA_1)
# Families without a table of positions.
NONE = {
    "modernbert": ("bert", {}),
    "nomic-bert": ("bert", {}),
    "deberta-v3": ("bert", {"max_relative_positions": -1}),
    "llama": ("llama", {}),
    "qwen3": ("qwen", {}),
    "t5": ("t5", {}),
}
SHORT = ["the pool", "", "one two three. the deep cave! light collapse, the water and the stone", "a query"]
LONG = " ".join(["the deep cave of light collapse water stone pool"] * 30)


@pytest.fixture(scope="module")
def build(network, tiny, tmp_path_factory):
    """`build(name)`: a tiny model of that family, of one's own, with positions for `OLD` tokens."""
    folders = {}

    def make(name, **more):
        kind, settings = (TABLES | NONE)[name]
        if (key := (name, str(more))) not in folders:
            folders[key] = folder = tmp_path_factory.mktemp(name)
            tokenizer = AutoTokenizer.from_pretrained(tiny(kind))
            tokenizer.save_pretrained(folder)
            config = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **settings, **more}
            if name != "t5":
                config["max_position_embeddings"] = OLD + (2 if kind == "roberta" else 0)
            network(name, **config).save_pretrained(folder)
        reader = Transformer(str(folders[key]))
        model = SentenceTransformer(modules=[reader, Pooling(reader.get_embedding_dimension())], device="cpu")
        model.max_seq_length = OLD
        return model.eval()

    return make


def table_of(model):
    """The table of positions, and its rows before that of the first token, by the tokenizer's padding token."""
    (table,) = (module.position_embeddings for module in model.modules() if hasattr(module, "position_embeddings"))
    return table.weight.detach().clone(), len(table.weight) - positions_of(model)


def ids_of(model, count):
    return model.tokenizer(LONG, add_special_tokens=False, return_tensors="pt", truncation=False)["input_ids"][
        :, :count
    ]


# The rows.


@pytest.mark.parametrize(("count", "length"), [(7, 14), (7, 13), (7, 8), (5, 50), (1, 3)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_rows_equal_those_of_a_plain_loop(count, length, dtype):
    rows = torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    between, again = interpolate(rows, length), tile(rows, length)
    assert between.shape == again.shape == (length, 3)
    assert between.dtype == again.dtype == dtype
    for place in range(length):
        assert torch.equal(again[place], rows[place % count])
        for column in range(3):
            known = rows[:, column].double().numpy()
            expected = np.interp(place * (count - 1) / (length - 1), np.arange(count), known)
            tolerance = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 2e-2}[dtype]
            assert between[place, column].item() == pytest.approx(expected, abs=tolerance)
    assert torch.equal(between[[0, -1]], rows[[0, -1]]) or count == 1


# Every family with a table.


def test_every_row_of_the_table_is_tested(build):
    addresses = {
        type(m).__name__ for name in TABLES for m in build(name).modules() if hasattr(m, "position_embeddings")
    }
    assert addresses == {address.split(".")[1] for address in LEARNED}


@pytest.mark.parametrize("name", TABLES)
def test_tiled_positions_keep_short_texts_bit_for_bit(name, build):
    model = build(name)
    before, (rows, first), most = model.encode(SHORT), table_of(model), model.encode(LONG)
    assert extend_positions(model, NEW, "tile") is model
    after, again = table_of(model)
    assert (positions_of(model), again, len(after)) == (NEW, first, NEW + first)
    assert torch.equal(after[:first], rows[:first])
    for place in range(NEW):
        assert torch.equal(after[first + place], rows[first + place % OLD])
    assert (model.encode(SHORT) == before).all()
    assert (model.encode(LONG) != most).any()
    model.max_seq_length = OLD
    assert (model.encode(LONG) == most).all()


@pytest.mark.parametrize("name", TABLES)
def test_interpolated_positions_change_short_texts_and_keep_the_ends(name, build):
    model = build(name)
    before, (rows, first) = model.encode(SHORT), table_of(model)
    extend_positions(model, NEW, "interpolate")
    after, again = table_of(model)
    assert (positions_of(model), again) == (NEW, first)
    assert torch.equal(after[:first], rows[:first])  # of padding: not part of the grid
    assert torch.equal(after[[first, -1]], rows[[first, -1]])
    assert torch.equal(after[first:], interpolate(rows[first:], NEW))
    assert (model.encode(SHORT) != before).any()


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", TABLES)
def test_the_whole_longer_window_is_read(name, how, build):
    model = extend_positions(build(name), NEW, how)
    assert model.max_seq_length == model.tokenizer.model_max_length == NEW
    assert len(model.preprocess([LONG])["input_ids"][0]) == NEW
    assert (model.encode(LONG) == model.encode(LONG + " water")).all()
    ids = ids_of(model, NEW)  # without a mask and token types, which the model then takes from its buffers
    other = ids.clone()
    other[0, -1] = ids[0, 0]
    with torch.no_grad():
        states, changed = (model[0].model(input_ids=given)[0] for given in (ids, other))
    assert states.shape[1] == NEW
    assert (states[0, 0] != changed[0, 0]).any() or name == "longformer"  # which sees its neighbours alone
    assert (states[0, -1] != changed[0, -1]).any()
    with pytest.raises((IndexError, RuntimeError)):  # the window is no longer than stated
        model[0].model(input_ids=ids_of(model, NEW + 3))


def test_dtype_device_and_gradients_are_kept(build):
    model = build("bert").to(torch.bfloat16)
    table = model[0].model.embeddings.position_embeddings
    table.weight.requires_grad_(False)
    extend_positions(model, NEW)
    assert model[0].model.embeddings.position_embeddings is table
    assert (table.weight.dtype, table.weight.requires_grad) == (torch.bfloat16, False)
    trained = extend_positions(build("roberta"), NEW, "tile").train()
    trained(trained.preprocess([LONG]))["sentence_embedding"].sum().backward()
    gradient = trained[0].model.embeddings.position_embeddings.weight.grad
    assert (gradient[2:].abs().sum(1) > 0).all()


# Models without a table.


@pytest.mark.parametrize("name", NONE)
def test_without_a_table_only_the_limit_is_raised(name, build, tmp_path):
    model = build(name)
    before, weights = model.encode(SHORT), {key: value.clone() for key, value in model.state_dict().items()}
    assert positions_of(model) is None
    extend_positions(model, NEW)
    assert model.max_seq_length == NEW
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert (model.encode(SHORT) == before).all()
    model.save(str(tmp_path))
    for again in (model, SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)):
        assert again.max_seq_length == NEW
        assert (again.encode(SHORT) == before).all()
        assert (again.encode(LONG) == model.encode(LONG)).all()
        assert getattr(again[0].model.config, "max_position_embeddings", NEW) == NEW
        with torch.no_grad():
            assert again[0].model(input_ids=ids_of(again, NEW))[0].shape[1] == NEW
    assert "**Token limit changed with Cenote: raised from 40 to 100.**" in (tmp_path / "README.md").read_text("utf-8")


def test_a_larger_number_in_the_config_stays(build):
    model = build("llama")
    model.max_seq_length = 16
    extend_positions(model, 32)
    assert (model.max_seq_length, model[0].model.config.max_position_embeddings) == (32, OLD)


@pytest.mark.parametrize(
    "rope", [{"rope_type": "dynamic", "factor": 2.0}, {"rope_type": "yarn", "original_max_position_embeddings": 20}]
)
def test_positions_that_are_scaled_by_the_config_are_refused(build, rope):
    model = build("llama")
    model[0].model.config.rope_parameters |= rope
    with pytest.raises(UnsupportedModel, match=r"scales its rotary .* Set model.max_seq_length = 100 after each load"):
        extend_positions(model, NEW)
    assert model.max_seq_length == OLD
    model.max_seq_length = 16
    assert extend_positions(model, 32).max_seq_length == 32  # the config stays


# Together with landmarks and temperatures; saved models.


def read_again(model, folder):
    model.save(str(folder))
    return cenote.load(folder, device="cpu")


def test_a_landmark_model_reads_longer_texts(build, tmp_path):
    model = repool(build("roberta"), "landmark", interval=8)
    before = model.encode(SHORT)
    extend_positions(model, NEW, "tile")
    assert isinstance(model[0], LandmarkTransformer)
    assert (model.encode(SHORT) == before).all()
    features = model.preprocess([LONG])
    assert features["input_ids"].shape == (1, NEW)
    assert features["landmark_mask"].sum() == 11  # 1 opening token and 88 others in chunks of 8, each with a landmark
    again = read_again(model, tmp_path)
    assert (positions_of(again), again.max_seq_length) == (NEW, NEW)
    assert (again.encode([*SHORT, LONG]) == model.encode([*SHORT, LONG])).all()


@pytest.mark.parametrize("first", ["temper", "extend"])
def test_a_temperature_stays(build, tmp_path, first):
    model = build("bert")
    untempered = extend_positions(build("bert"), NEW, "tile").encode([*SHORT, LONG])
    steps = [lambda: temper(model, LengthTemperature("log", s=0.55)), lambda: extend_positions(model, NEW, "tile")]
    for step in steps if first == "temper" else reversed(steps):
        step()
    vectors = model.encode([*SHORT, LONG])
    assert (vectors != untempered).any()
    again = read_again(model, tmp_path)
    np.testing.assert_allclose(again.encode([*SHORT, LONG]), vectors, rtol=0, atol=1e-6)
    temper(again, 1)
    np.testing.assert_allclose(again.encode([*SHORT, LONG]), untempered, rtol=0, atol=1e-6)


def test_readers_that_share_a_network_extend_it_once(build):
    reader, pooling = build("bert")
    router = Router.for_query_document([reader, pooling], [LandmarkTransformer.adopt(reader), pooling])
    model = SentenceTransformer(modules=[router], device="cpu")
    rows, _ = table_of(build("bert"))
    extend_positions(model, NEW, "interpolate")
    assert torch.equal(reader.model.embeddings.position_embeddings.weight, interpolate(rows, NEW))
    assert [module.max_seq_length for module in model.modules() if isinstance(module, Transformer)] == [NEW, NEW]


def test_the_card_states_every_extension(build, tmp_path):
    model = extend_positions(extend_positions(build("mpnet"), NEW, "interpolate"), 2000)  # `tile` is the default
    sentences = [
        "**Positions changed with Cenote: extended from 40 to 100 by interpolation.**",
        "**Positions changed with Cenote: extended from 100 to 2,000 by repetition.**",
    ]
    again = read_again(model, tmp_path / "once")
    again.save(str(tmp_path / "twice"))
    for folder in ("once", "twice"):
        card = (tmp_path / folder / "README.md").read_text("utf-8")
        assert re.findall(r"\*\*Positions changed.*?\*\*", card) == sentences


READ = """
import json, sys
import numpy as np
from sentence_transformers import SentenceTransformer

folders, texts, target = json.load(sys.stdin)
vectors = {name: SentenceTransformer(folder, device="cpu").encode(texts) for name, folder in folders.items()}
assert "cenote" not in sys.modules
import cenote

for name in ("bert", "roberta"):
    again = cenote.load(folders[name], device="cpu").encode(texts)
    np.testing.assert_allclose(again, vectors[name], rtol=0, atol=1e-6, err_msg=name)
np.savez(target, **vectors)
"""


def test_saved_models_give_the_same_vectors_in_a_fresh_process(build, tmp_path):
    texts, folders, expected = [*SHORT, LONG], {}, {}
    for name in TABLES:
        model = extend_positions(build(name), NEW)
        folders[name], expected[name] = str(tmp_path / name), model.encode(texts)
        model.save(folders[name])
    given = json.dumps([folders, texts, str(tmp_path / "vectors.npz")])
    subprocess.run([sys.executable, "-c", READ], input=given, text=True, check=True)
    found = np.load(tmp_path / "vectors.npz")
    for name, vectors in expected.items():
        np.testing.assert_allclose(found[name], vectors, rtol=0, atol=1e-6, err_msg=name)


def test_the_demo_model_reads_1024_tokens(demo_path, tmp_path):
    text = "The cave holds water. " * 200 + "A pool of light collapses."
    for how in WAYS:
        model = cenote.load(demo_path, device="cpu")
        model.max_seq_length = 512
        before = model.encode(["a pool of deep water", text])
        extend_positions(model, 1024, how)
        short, long = model.encode(["a pool of deep water", text])
        assert len(model.preprocess([text * 2])["input_ids"][0]) == 1024
        assert (short == before[0]).all() == (how == "tile")
        assert short @ before[0] > 0.9
        assert 0.5 < long @ before[1] < 0.9999
        assert (positions_of(model), model[0].model.config.max_position_embeddings) == (1024, 1024)
    again = read_again(model, tmp_path)
    assert (again.encode(text) == long).all()


# What is refused leaves the model unchanged.


@pytest.mark.parametrize(
    ("length", "how", "error", "message"),
    [
        (
            OLD,
            "tile",
            BadInput,
            r"length=40: the model already has positions for 40 tokens.*model.max_seq_length = 40\.",
        ),
        (8, "tile", BadInput, "length=8: the model already has positions for 40 tokens"),
        (0, "tile", BadInput, "length=0: pass a whole number of at least 1"),
        (64.0, "tile", BadInput, r"length=64.0: pass a whole number"),
        (True, "tile", BadInput, "length=True: pass a whole number"),
        (NEW, "tiled", UnknownName, "unknown way to extend positions 'tiled'; did you mean 'tile'"),
    ],
)
def test_bad_arguments_are_refused(build, length, how, error, message):
    model = build("roberta")
    model.max_seq_length = 16  # less than its positions
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(error, match=message):
        extend_positions(model, length, how)
    assert model.max_seq_length == 16
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_limits_are_not_lowered(build):
    with pytest.raises(BadInput, match=r"length=40: the model already reads 40 tokens\."):
        extend_positions(build("t5"), OLD)
    endless = build("t5")
    endless.max_seq_length = int(1e30)
    with pytest.raises(BadInput, match="T5EncoderModel has no token limit, so there is none to raise"):
        extend_positions(endless, NEW)


def test_unknown_tables_are_refused(build):
    model = build("bert")
    model[0].model.embeddings.__class__ = type("OtherEmbeddings", (type(model[0].model.embeddings),), {})
    with pytest.raises(
        UnsupportedModel, match=r"embeddings.position_embeddings of .*OtherEmbeddings looks like learned"
    ):
        extend_positions(model, NEW)
    second = build("bert")
    second[0].model.wpe = nn.Embedding(OLD, 32)
    with pytest.raises(UnsupportedModel, match=r"wpe of bert\.BertModel looks like learned positions"):
        extend_positions(second, NEW)
    assert positions_of(model) == positions_of(second) == OLD


def test_other_things_are_refused(build):
    with pytest.raises(BadInput, match=r"a BertModel is no SentenceTransformer: load the model with cenote\.load\."):
        extend_positions(build("bert")[0].model, NEW)
    words = SentenceTransformer(modules=[StaticEmbedding(build("bert").tokenizer, embedding_dim=4)], device="cpu")
    with pytest.raises(UnsupportedModel, match="starts with StaticEmbedding"):
        extend_positions(words, NEW)
