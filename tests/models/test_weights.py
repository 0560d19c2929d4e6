"""Weights that files lack, or have and the model does not read: refused by name, or no vector depends on them."""

import copy
import json
import logging
import shutil
import threading

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

import cenote
from cenote.errors import BadInput
from cenote.models.weights import missing_of, noted_reports, unread_of, used_tensors

TEXTS = ["the pool", "one two three, the deep cave", "water"]
NOT_THOSE = "are not those of its configuration, and its vectors would be wrong: the files"


def change(folder, edit):
    """Change the tensors of a folder by `edit`, which takes and changes a dict of them."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, {"format": "pt"})


def jitter(tensors):
    generator = torch.Generator().manual_seed(0)
    for value in tensors.values():
        value += torch.randn(value.shape, generator=generator) * 0.1


def configure(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def vectors(folder, seed=0, **options):
    torch.manual_seed(seed)
    return cenote.load(folder, device="cpu", **options).encode(TEXTS)


@pytest.fixture
def with_head(tiny, tmp_path):
    """`with_head(cls, **settings)`: a folder of a model that was saved with a head, beside its tokenizer."""

    def save(cls, config, **settings):
        torch.manual_seed(0)
        cls(config).save_pretrained(tmp_path / "head")
        for file in tiny("bert").glob("tokenizer*"):
            (tmp_path / "head" / file.name).write_bytes(file.read_bytes())
        configure(tmp_path / "head", **settings)
        return tmp_path / "head"

    return save


SMALL = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 2}


def test_weights_that_any_route_lacks_are_refused(tiny_bert, tmp_path):
    sides = [[copy.deepcopy(tiny_bert[0]), copy.deepcopy(tiny_bert[1])] for _ in range(2)]
    for default in ("document", None):
        folder = tmp_path / str(default)
        router = Router(dict(zip(("query", "document"), sides, strict=True)), default, allow_empty_key=False)
        SentenceTransformer(modules=[router], device="cpu").save(str(folder), create_model_card=False)
        assert cenote.load(folder, device="cpu").encode_query(TEXTS).shape == (3, 32)
        change(folder / "query_0_Transformer", lambda tensors: tensors.pop("encoder.layer.1.output.dense.weight"))
        with pytest.raises(BadInput, match=r"the files lack 0\.sub_modules\.query\.0\.model\.encoder\.layer\.1"):
            cenote.load(folder, device="cpu")


@pytest.mark.parametrize("task", [None, "query"])
def test_weights_of_a_route_that_mappings_hide_are_refused(task, tiny_bert, tmp_path):
    """A mapping of any task goes before the names of routes."""
    sides = {name: [copy.deepcopy(tiny_bert[0]), copy.deepcopy(tiny_bert[1])] for name in "qd"}
    mappings = {("query", "text"): "q", (None, "text"): "d"}
    model = SentenceTransformer(modules=[Router(sides, route_mappings=mappings)], device="cpu")
    model.save(str(tmp_path), create_model_card=False)
    lost = "encoder.layer.1.output.dense.weight"
    change(tmp_path / f"{'q' if task else 'd'}_0_Transformer", lambda tensors: tensors.pop(lost))
    with pytest.raises(BadInput, match=rf"the files lack 0\.sub_modules\.{'q' if task else 'd'}\.0\.model"):
        cenote.load(tmp_path, device="cpu")


# Each tensor of each kind of model.


def test_a_model_without_a_tensor_is_refused_by_its_name_or_gives_the_same_vectors(kind, copy_of):
    """It matters if the vectors differ from those of the whole files, whatever stands in for the tensor."""
    folder = copy_of(kind)
    change(folder, jitter)  # else a bias that is missing is 0, as it was
    expected, whole = vectors(folder), (folder / "model.safetensors").read_bytes()
    refused = 0
    for name in load_file(folder / "model.safetensors"):
        change(folder, lambda tensors, name=name: tensors.pop(name))
        if not np.array_equal(vectors(folder, seed=1, strict=False), expected):
            with pytest.raises(BadInput, match=rf"{NOT_THOSE} lack .*{name.removeprefix('model.')}\. Get the files"):
                vectors(folder)
            refused += 1
        else:
            np.testing.assert_array_equal(vectors(folder), expected)
        (folder / "model.safetensors").write_bytes(whole)
    assert refused >= 14


def test_a_renamed_tensor_is_named_by_both_names(copy_of):
    folder = copy_of("bert")
    key = "encoder.layer.1.output.dense"
    change(folder, lambda tensors: tensors.update({f"{key}.wight": tensors.pop(f"{key}.weight")}))
    with pytest.raises(
        BadInput,
        match=rf"the weights of '{folder}' {NOT_THOSE} lack 0\.model\.{key}\.weight; they have, and the model does not "
        rf"read, 0\.model\.{key}\.wight\. Get the files again",
    ):
        cenote.load(folder)


def test_many_missing_tensors_are_counted(copy_of):
    folder = copy_of("bert")
    change(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if "layer.1" in name])
    with pytest.raises(BadInput, match=r"the files lack 0\.model\.encoder\.layer\.1\.\S+, .* and 12 more\. Get"):
        cenote.load(folder)


# What no vector depends on.


@pytest.mark.parametrize("part", ["pooler.dense.weight", "pooler.dense.bias"])
def test_a_pooler_may_be_missing(with_head, part):
    folder = with_head(BertForSequenceClassification, BertConfig(**SMALL))
    expected = vectors(folder, pooling="mean")
    change(folder, lambda tensors: tensors.pop(f"bert.{part}"))
    np.testing.assert_array_equal(vectors(folder, pooling="mean"), expected)


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (BertForMaskedLM, BertConfig(**SMALL)),
        (BertForSequenceClassification, BertConfig(**SMALL)),
        (T5ForConditionalGeneration, T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)),
    ],
)
def test_heads_and_decoders_may_be_in_the_files(with_head, cls, config):
    folder = with_head(cls, config)
    assert np.isfinite(vectors(folder, pooling="mean")).all()


def test_buffers_of_earlier_versions_may_be_in_the_files(with_head):
    folder = with_head(BertForMaskedLM, BertConfig(**SMALL))
    expected = vectors(folder, pooling="mean")
    odd = {
        "bert.embeddings.position_ids": torch.arange(512)[None],
        "bert.encoder.layer.0.attention.self.rotary_emb.inv_freq": torch.ones(4),
        "bert.encoder.layer.0.attention.masked_bias": torch.tensor(-1e4),
    }
    change(folder, lambda tensors: tensors.update(odd))
    np.testing.assert_array_equal(vectors(folder, pooling="mean"), expected)


def test_every_model_at_hand_loads(demo_path):
    assert cenote.load(demo_path, device="cpu").encode("a pool").shape == (384,)


# More in the files than the model reads.


@pytest.mark.parametrize("cls", [BertForMaskedLM, transformers.BertModel])
@pytest.mark.parametrize(("layers", "said"), [(1, "have, and the model does not read,"), (3, "lack")])
def test_other_layers_than_those_of_the_configuration_are_refused(with_head, cls, layers, said):
    folder = with_head(cls, BertConfig(**SMALL), num_hidden_layers=layers)
    with pytest.raises(BadInput, match=rf"{said} 0\.model\.encoder\.layer\.{min(layers, 2)}\.attention\S+, .*12 more"):
        cenote.load(folder, pooling="mean")


def test_a_scale_or_a_bias_that_the_model_does_not_read_is_refused(copy_of):
    folder = copy_of("llama")
    change(folder, lambda tensors: tensors.update({"model.layers.0.mlp.up_proj.bias": torch.ones(64)}))
    with pytest.raises(BadInput, match=r"does not read, 0\.model\.layers\.0\.mlp\.up_proj\.bias\. Get"):
        cenote.load(folder)


def test_strict_can_be_switched_off(copy_of):
    folder = copy_of("bert")
    change(folder, lambda tensors: tensors.pop("encoder.layer.1.output.dense.weight"))
    one, other = (vectors(folder, seed, strict=False) for seed in (1, 2))
    assert not np.array_equal(one, other)


# The reports.


def test_reports_are_of_the_networks_of_a_model_and_leave_no_trace(copy_of):
    folder, own = copy_of("bert"), PreTrainedModel.__dict__["from_pretrained"]
    change(folder, lambda tensors: tensors.pop("embeddings.LayerNorm.bias"))
    with noted_reports() as reports:
        model = SentenceTransformer(str(folder), device="cpu")
        other = SentenceTransformer(str(folder), device="cpu")
        network, report = type(model[0].model).from_pretrained(folder, output_loading_info=True)
    assert len(reports) == 3
    assert reports[2].network is network
    assert report["missing_keys"] == {"embeddings.LayerNorm.bias"}
    for one in (model, other):
        assert missing_of(one, reports) == {"0.model.embeddings.LayerNorm.bias"}
        assert unread_of(one, reports) == set()
    assert PreTrainedModel.__dict__["from_pretrained"] is own
    SentenceTransformer(str(folder), device="cpu")
    assert len(reports) == 3


def test_loading_in_threads_keeps_reports_apart(copy_of, tiny_st):
    folder, own = copy_of("bert"), PreTrainedModel.__dict__["from_pretrained"]
    change(folder, lambda tensors: tensors.pop("embeddings.LayerNorm.bias"))
    found = []

    def load(where):
        try:
            cenote.load(where, device="cpu")
        except BadInput as error:
            found.append(str(error))

    threads = [threading.Thread(target=load, args=(where,)) for where in [folder, tiny_st("roberta")] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all("embeddings.LayerNorm.bias" in one for one in found)
    assert PreTrainedModel.__dict__["from_pretrained"] is own


def test_used_tensors_leave_the_model_as_it_was(tiny_bert):
    before = {name: value.requires_grad for name, value in tiny_bert.named_parameters()}
    tiny_bert[0].model.embeddings.word_embeddings.weight.requires_grad_(False)
    assert used_tensors(tiny_bert, ["0.model.embeddings.word_embeddings.weight", "no.such"]) == {
        "0.model.embeddings.word_embeddings.weight"
    }
    assert not tiny_bert[0].model.embeddings.word_embeddings.weight.requires_grad
    tiny_bert[0].model.embeddings.word_embeddings.weight.requires_grad_(True)
    assert {name: value.requires_grad for name, value in tiny_bert.named_parameters()} == before
    assert used_tensors(tiny_bert, []) == set()


def test_a_missing_pooler_alarms_nobody(tiny_st, tmp_path):
    folder = shutil.copytree(tiny_st("bert"), tmp_path / "bare")
    change(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("pooler.")])
    log, said = logging.getLogger("transformers.modeling_utils"), []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    log.addHandler(handler)
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        SentenceTransformer(str(folder), device="cpu")
        assert any("LOAD REPORT" in line for line in said)  # what transformers says by itself
        said.clear()
        cenote.load(folder)
        assert said == []
    finally:
        log.setLevel(before)
        log.removeHandler(handler)
