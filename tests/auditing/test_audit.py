"""`audit`: faults are found by the check that names them, sound models pass, and what it refuses."""

import copy
import json
import re
import shutil
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Router, WordEmbeddings
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

import cenote
from cenote.audit_records import Audit, Check
from cenote.auditing import audit as module
from cenote.auditing.audit import audit
from cenote.auditing.checks import batches, subject, table, thresholds
from cenote.auditing.checks.neighbours import count_neighbours
from cenote.auditing.checks.readings import compare, pad, read_ways
from cenote.encoding.tokens import tokenise
from cenote.errors import BadInput, CenoteWarning, UnknownName
from cenote.functional.temperature import LengthTemperature
from cenote.listener import Listener
from cenote.nn import Pooling

from ..bags import save_bags
from ..conftest import KINDS
from . import faults
from .faults import BAGS, EXCHANGES, FAULTS, NAMED, PROMPTS, TINY

SMALL = subject.Effort(drawn=70, read=60, documents=24, padded=4, rounded=2, long=2, vocabulary=120, suspects=5)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Read little, and hear no warnings of poolings that are exchanged on purpose."""
    monkeypatch.setattr(module, "FULL", SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CenoteWarning)
        yield


@pytest.fixture
def copies(copy_of, tmp_path):
    copy_of.folder = tmp_path
    return copy_of


def by_name(found):
    return {one.name: one for one in found.checks}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_fails_the_check_that_names_it_and_no_other(fault, copies, bag_folder):
    model, texts = fault(copies, bag_folder)
    found = audit(model, texts)
    assert set(found.failed) == FAULTS[fault], [one.evidence for one in found.checks if one.passed is False]
    assert not found.passed
    for name in found.failed:
        assert by_name(found)[name].remedy
    assert NAMED[fault] in " ".join(by_name(found)[name].evidence for name in found.failed)


@pytest.mark.parametrize(("declared", "served"), EXCHANGES)
def test_an_exchanged_pooling_is_found_with_its_cost(declared, served, copies):
    folder = copies("qwen" if declared == "lasttoken" else "bert", pooling=declared)
    found = audit(folder, TINY, pooling=served)
    assert found.failed == ("pooling",)
    check = by_name(found)["pooling"]
    assert (check.measured["declared"], check.measured["used"]) == (declared, served)
    assert check.measured["least_cosine"] < 0.9999
    assert 0 <= check.measured["neighbours"] <= 1
    model = faults.read(folder)
    other = cenote.load(str(folder), pooling=served, device="cpu")
    one, two = (each.encode(TINY[:3] + TINY[-3:], normalize_embeddings=True) for each in (model, other))
    assert check.measured["least_cosine"] <= (one * two).sum(1).min() + 1e-5
    assert audit(folder, TINY, pooling=declared, only=["pooling"]).passed


@pytest.mark.parametrize("served", ["landmark", ("cls", "mean")])
def test_a_pooling_of_other_tokens_or_another_width_is_an_exchange_too(served, copies):
    found = audit(copies("bert", *faults.with_dense()), TINY, pooling=served, only=["pooling"])
    assert found.failed == ("pooling",)
    assert "On 60 texts" not in found.checks[0].evidence
    wide = audit(copies("roberta"), TINY, pooling="cls,mean", only=["pooling"])
    assert "vectors of another width" in wide.checks[0].evidence


def test_an_exchanged_pooling_says_how_many_sentences_find_their_text(copies, bag_folder):
    """With one pooling for the texts and the other for the sentences too: an index and a query that do not agree."""
    folder = faults.save_bag_model(copies.folder / "bags", bag_folder)
    check = by_name(audit(folder, BAGS, pooling="max", only=["pooling"]))["pooling"]
    assert check.passed is False
    assert check.measured["found_declared"] == 100
    assert check.measured["found_used"] >= 90
    assert check.measured["found_in_declared"] <= check.measured["found_used"]
    assert "Of 100 sentences, 100 find their text by 'mean'" in check.evidence
    nowhere = by_name(audit(folder, TINY, pooling="max", only=["pooling", "pooling-fits"]))
    assert "found_used" not in nowhere["pooling"].measured
    assert "have three sentences" in nowhere["pooling-fits"].evidence


def test_a_way_that_fails_without_a_message_is_named_by_its_error(tiny_bert):
    class Broken(torch.nn.Module):
        def forward(self, features):
            raise ValueError

    found = read_ways(tiny_bert, tokenise(tiny_bert, TINY[:2]), {"broken": [Broken()]}, Listener())
    assert found.impossible == {"broken": "ValueError"}
    assert len(found.own) == 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_sound_models_of_every_kind_pass(kind, copies):
    found = audit(copies(kind), TINY)
    assert found.passed, [one.evidence for one in found.checks if one.passed is False]
    applied = {name for name, one in by_name(found).items() if one.passed}
    assert applied >= {"weights", "loading", "pooling", "padding", "batches", "finite", "float16", "truncation"}


SOUND = {
    "bags of words": lambda copies, bags: (faults.save_bag_model(copies.folder / "bags", bags), BAGS),
    "modules after": lambda copies, bags: (copies("bert", *faults.with_dense()), TINY),
    "prompts": lambda copies, bags: (copies("bert", prompts=PROMPTS, default_prompt_name="query"), TINY),
    "prompts without a default": lambda copies, bags: (copies("roberta", prompts=PROMPTS), TINY),
    "last token on the left": lambda copies, bags: (copies("qwen", Normalize(), pooling="lasttoken"), TINY),
    "several operators": lambda copies, bags: (copies("bert", pooling=("mean", "max")), TINY),
    "no pooling declared": lambda copies, bags: (copies("bert", plain=True), TINY),
    "landmarks": lambda copies, bags: (saved(copies, pooling="landmark", interval=8), TINY),
    "a temperature": lambda copies, bags: (saved(copies, temperature=0.7), TINY),
    "in memory": lambda copies, bags: (faults.read(copies("bert")), TINY),
    "half precision": lambda copies, bags: (cenote.load(str(copies("bert")), dtype="bfloat16", device="cpu"), TINY),
    "no files": lambda copies, bags: (in_memory(copies("bert", plain=True)), TINY),
    "few texts": lambda copies, bags: (copies("bert"), TINY[:4]),
    "texts of no words": lambda copies, bags: (copies("bert"), [*TINY[:20], ".", "a"]),
    "a pooler that no vector needs": lambda copies, bags: (with_pooler(copies), TINY),
}


def saved(copies, **settings):
    folder = copies.folder / "saved"
    cenote.load(str(copies("bert")), device="cpu", **settings).save(str(folder), create_model_card=False)
    return folder


def in_memory(folder):
    reader = Transformer(str(folder))
    reader.model.config.name_or_path = reader.model.name_or_path = ""
    return SentenceTransformer(modules=[reader, Pooling(32)], device="cpu")


def with_pooler(copies):
    """The files lack a pooler, which each load makes at random."""
    folder = copies("bert")
    faults.change_weights(folder, {f"pooler.dense.{part}": lambda _: None for part in ("weight", "bias")})
    return folder


@pytest.mark.parametrize("name", SOUND)
def test_sound_models_pass(name, copies, bag_folder):
    model, texts = SOUND[name](copies, bag_folder)
    found = audit(model, texts)
    assert found.passed, [one.evidence for one in found.checks if one.passed is False]
    checks = by_name(found)
    if name == "no pooling declared":
        assert checks["pooling"].passed is None
        assert "declare no pooling" in checks["pooling"].evidence
        assert checks["pooling"].remedy
    if name == "prompts without a default":
        assert "plain encode applies none" in checks["prompts"].evidence
        assert checks["prompts"].measured["changes"]["query"]["mean_cosine"] < 1
    if name in ("landmarks", "a temperature"):
        assert checks["settings"].passed is True
    if name == "modules after":
        # Without the Dense the vectors have another width, which is compared by neighbours alone.
        assert set(checks["later-modules"].measured["dropping"]) == {"2 Dense", "3 Normalize"}
        assert checks["later-modules"].measured["dropping"]["2 Dense"]["mean_cosine"] is None
    if name == "no files":
        assert [checks[one].passed for one in ("weights", "loading", "settings")] == [None] * 3
    if name == "a pooler that no vector needs":
        assert "are used by no vector" in checks["weights"].evidence
    if name == "few texts":
        assert checks["hubs"].passed is checks["sticky-tokens"].passed is None


def test_a_mask_that_half_precision_loses_is_found(copies, bag_folder, monkeypatch):
    """Whether this machine has bfloat16 or not, it can be emulated."""
    monkeypatch.setattr(batches, "obstacle", lambda *_: None if _[2] == "bfloat16" else "not here")
    monkeypatch.setattr("cenote.encoding.backends.obstacle", lambda *_: None)
    model, texts = faults.mask_lost_at_half_precision(copies, bag_folder)
    found = by_name(audit(model, texts, skip=["float16"]))
    assert found["precision"].passed is False
    assert "padding at bfloat16" in found["precision"].evidence
    assert [name for name, one in found.items() if one.passed is False] == ["precision"]
    sound = audit(copies("roberta"), TINY, only=["precision"])
    assert sound.checks[0].passed is True, sound.checks[0].evidence
    # A mask that every precision loses is a matter of padding.
    broken, texts = faults.mask_ignored(copies_of(copies), bag_folder)
    assert audit(broken, texts, only=["padding", "precision"]).failed == ("padding",)


def copies_of(copies):
    """Return the same function, with a place for one more copy."""
    shutil.rmtree(copies.folder / "bert-copy")
    return copies


# Poolings.


def exchanged(source, folder, **config):
    """Copy a model with another Pooling in its files; its weights are a link."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    (folder / "model.safetensors").symlink_to(source / "model.safetensors")
    if config:
        path = folder / "1_Pooling" / "config.json"
        kept = {name: value for name, value in json.loads(path.read_text()).items() if "mode" not in name}
        path.write_text(json.dumps(kept | config))
    return folder


@pytest.fixture(scope="module")
def beginnings(corpus):
    """Texts that are read quickly."""
    return [text[:200] for text in corpus]


def test_files_that_declare_no_pooling_accuse_nobody(demo_path, beginnings, tmp_path):
    folder = exchanged(demo_path, tmp_path / "plain")
    (folder / "modules.json").unlink()
    shutil.rmtree(folder / "1_Pooling")
    check = audit(folder, beginnings, pooling="cls", only=["pooling"]).checks[0]
    assert check.passed is None
    expected = "The files declare no pooling; the loader assumes 'mean', and your server has 'cls'. On 60 texts: cosine"
    assert check.evidence.startswith(expected)
    assert "Look up the pooling" in check.remedy
    both = audit(folder, beginnings, pooling="mean", only=["pooling", "weights"])
    assert (both.passed, both.failed) == (False, ())  # an answer was asked for, and there is none
    assert both.summary().endswith("passes 1 of 2 checks, but not the pooling 'mean': it is not decided.")
    assert audit(folder, beginnings, only=["pooling", "weights"]).passed
    found = audit(cenote.load(folder, pooling="cls", device="cpu"), beginnings, only=["pooling"])
    assert found.checks[0].passed is None
    assert "the model has 'cls'" in found.checks[0].evidence
    assert not found.passed  # nothing was decided


def test_a_pooling_that_modules_json_lost_is_named_with_its_folder(demo_path, beginnings, tmp_path):
    folder = exchanged(demo_path, tmp_path / "lost")
    path = folder / "modules.json"
    path.write_text(json.dumps([one for one in json.loads(path.read_text()) if "Pooling" not in one["type"]]))
    check = audit(folder, beginnings, only=["later-modules"]).checks[0]
    assert check.passed is False
    assert "The loaded model runs Pooling, which modules.json does not list." in check.evidence
    assert "The folder holds 1_Pooling, which modules.json does not list." in check.evidence
    assert "cosine" not in check.evidence
    assert check.remedy.startswith("Restore the entries of modules.json")


def test_the_pooling_of_the_model_counts_besides_the_one_asked_for(demo_path, beginnings):
    """The server is right, and the model in memory is not: both are compared with the files."""
    model = cenote.load(demo_path, pooling="max", device="cpu")
    right = audit(model, beginnings, pooling="mean", only=["pooling"]).checks[0]
    assert right.passed is False
    assert right.evidence.startswith("The model pools with 'max', the files declare 'mean'. On 60 texts: cosine")
    both = audit(model, beginnings, pooling="cls", only=["pooling"]).checks[0].evidence
    assert "Your server pools with 'cls', the files declare 'mean'." in both
    assert "The model pools with 'max', the files declare 'mean'." in both
    same = audit(model, beginnings, pooling="max", only=["pooling"]).checks[0].evidence
    assert "Your server and the model pool with 'max', the files declare 'mean'." in same


def test_a_wrong_pooling_in_the_files_does_not_pass(demo_path, builtin, tmp_path, monkeypatch):
    """The weights of the demo model are those of the mean; `cls` finds nearly as many sentences, and is not seen."""
    monkeypatch.setattr(module, "FULL", replace(SMALL, drawn=1000, documents=60))
    folder = exchanged(demo_path, tmp_path / "wrong", pooling_mode="lasttoken")
    check = audit(folder, builtin[:1500], only=["pooling-fits"]).checks[0]
    assert check.passed is None
    assert "by 'mean', the best of 4 others" in check.evidence
    assert check.measured["chance"] < 0.01
    assert "the weights fit 'mean' better than 'lasttoken'" in check.remedy
    right = audit(demo_path, builtin[:1500], only=["pooling-fits"]).checks[0]
    assert right.passed is True
    assert right.measured["others"]["lasttoken"] == check.measured["found"]


def test_other_heads_beside_the_listed_one_fail_nothing(copies):
    folder = copies("bert", *faults.with_dense())
    shutil.copytree(folder / "2_Dense", folder / "2_Dense_256")
    check = audit(folder, TINY, only=["later-modules"]).checks[0]
    assert check.passed is True
    assert "The folder also holds 2_Dense_256, which modules.json does not list." in check.evidence
    shutil.copytree(folder / "2_Dense", folder / "4_Other")
    assert "holds 4_Other, which" in audit(folder, TINY, only=["later-modules"]).checks[0].evidence


# Errors, and what is not decided.


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError])
def test_an_error_of_the_model_is_a_failure_and_loses_no_other_check(kind, copies, monkeypatch):
    model = faults.read(copies("bert"))

    def fail(*_):
        raise kind("the device is gone")

    model[0].register_forward_hook(fail)
    found = audit(model, TINY)
    assert not found.passed
    assert set(faults.READING) <= set(found.failed)
    check = by_name(found)["padding"]
    assert check.evidence.startswith(f"The model raises {kind.__name__}: ")
    assert "the device is gone" in check.evidence
    assert "see the whole error" in check.remedy
    assert by_name(found)["loading"].passed is True  # reads with the model of the files


def test_memory_that_runs_out_decides_nothing(copies):
    model = faults.read(copies("bert"))

    def fail(*_):
        raise RuntimeError("CUDA out of memory")

    model[0].register_forward_hook(fail)
    check = audit(model, TINY, only=["padding"]).checks[0]
    assert check.passed is None
    assert "memory ran out" in check.evidence


def test_an_audit_that_decides_nothing_does_not_pass(copies, monkeypatch):
    monkeypatch.setattr(batches, "obstacle", lambda *_: "not here")
    found = audit(copies(), TINY, only=["precision"])
    assert not found.passed
    assert found.failed == ()
    assert "Nothing could be decided" in found.summary()
    # What a model does not have cannot be missed: that is decided.
    for name in ("settings", "later-modules", "prompts"):
        assert audit(copies_of(copies)("bert"), TINY, only=[name]).passed


def test_a_model_trained_in_memory_is_told_to_be_saved(copies, bag_folder):
    model, texts = faults.layer_initialised_again(copies, bag_folder)
    assert "If you trained it, save it" in audit(model, texts, only=["weights"]).checks[0].remedy
    folder, texts = faults.layer_missing(copies_of(copies), bag_folder)
    assert audit(folder, texts, only=["weights"]).checks[0].remedy.startswith("Get the files again")


def test_a_router_names_the_pooling_of_each_side(tiny_bert, tmp_path):
    sides = [[copy.deepcopy(tiny_bert[0]), Pooling(32, mode)] for mode in ("cls", "mean")]
    routed = SentenceTransformer(modules=[Router.for_query_document(*sides)], device="cpu")
    check = audit(routed, TINY, only=["pooling", "padding"]).checks[0]
    assert check.passed is None
    assert check.measured["routes"] == {"query": "cls", "document": "mean"}
    # A side on its own is a model like any other.
    SentenceTransformer(modules=sides[0], device="cpu").save(str(tmp_path / "side"))
    assert audit(tmp_path / "side", TINY, only=["pooling"]).checks[0].passed


def test_a_fault_stays_one_where_its_cost_cannot_be_measured(copies, bag_folder, monkeypatch):
    model, texts = faults.dense_dropped(copies, bag_folder)

    def fail(*_, **__):
        raise BadInput("the folder is gone")

    monkeypatch.setattr(module, "load", fail)
    found = audit(model, texts, only=["later-modules", "finite"])
    assert found.failed == ("later-modules",)
    check = by_name(found)["later-modules"]
    assert check.evidence == "The files list Dense, which the model lacks."
    monkeypatch.setattr(subject.Subject, "found", fail)
    other = audit(copies_of(copies)("bert"), TINY, pooling="cls", only=["pooling"]).checks[0]
    assert other.passed is False
    assert other.evidence.startswith("Your server pools with 'cls', the files declare 'mean'. On 60 texts: cosine")
    monkeypatch.setattr(subject.Subject, "reading", property(fail))
    unread = audit(copies_of(copies)("bert"), TINY, pooling="cls", only=["pooling"]).checks[0]
    assert (unread.passed, unread.evidence) == (False, "Your server pools with 'cls', the files declare 'mean'.")


def test_a_model_of_its_own_code_is_compared_with_its_files(copies):
    folder = copies("bert")
    (folder / "own.py").write_text(
        "from transformers import BertConfig, BertModel\n\n\nclass OwnConfig(BertConfig):\n    model_type = 'own'\n"
        "\n\nclass OwnModel(BertModel):\n    config_class = OwnConfig\n"
    )
    names = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    faults.edit(folder / "config.json", auto_map=names, model_type="own")
    model = cenote.load(folder, trust_remote_code=True, device="cpu")
    found = audit(model, TINY, only=["weights", "loading"])
    assert [one.passed for one in found.checks] == [True, True], [one.evidence for one in found.checks]


def test_a_temperature_is_shown_in_words_and_compared(copies):
    by_length = {"query": 1, "document": LengthTemperature("log", s=0.25)}
    folder = saved(copies, temperature=by_length)
    check = audit(folder, TINY, only=["settings"]).checks[0]
    assert check.passed is True
    assert "temperature of 1 for a query and log(s=0.25) for a document, which the model applies" in check.evidence
    assert check.measured["temperature_declared"] == "1 for a query and log(s=0.25) for a document"
    for other, applied in ((0.3, "0.3"), (1, "1")):
        check = audit(cenote.load(folder, temperature=other, device="cpu"), TINY, only=["settings"]).checks[0]
        assert check.passed is False
        assert f"for a document, and the model runs at {applied}." in check.evidence
    plain = cenote.load(copies.folder / "bert-copy", temperature=0.3, device="cpu")
    check = audit(plain, TINY, only=["settings"]).checks[0]
    assert "declare an attention temperature of 1, and the model runs at 0.3." in check.evidence


def test_a_tokenizer_without_a_list_of_tokens_fails_nothing():
    words = sorted({word for text in TINY for word in text.split()})
    reader = WordEmbeddings(WhitespaceTokenizer(words), torch.randn(len(words), 8))
    model = SentenceTransformer(modules=[reader, Pooling(8)], device="cpu")
    check = audit(model, TINY, only=["sticky-tokens"]).checks[0]
    assert (check.passed, check.remedy) == (None, "")
    assert "no list of tokens" in check.evidence


# Length and prompts.


def test_a_tokenizer_that_states_more_tokens_than_the_configuration_fails_nothing(copies):
    folder = copies("qwen")
    (folder / "sentence_bert_config.json").unlink()
    for name, change in (("tokenizer_", {"model_max_length": 512}), ("", {"max_position_embeddings": 256})):
        faults.edit(folder / f"{name}config.json", **change)
    check = audit(folder, TINY, only=["truncation"]).checks[0]
    assert check.passed is True, check.evidence
    assert (check.measured["limit"], check.measured["declared"]) == (256, 256)


def test_the_ends_of_long_texts_are_read(tmp_path):
    """A window of 2,048 tokens whose pooling reads 60, or all but the last 500."""
    folder = faults.save_bag_model(tmp_path / "saved", save_bags(tmp_path / "bags", limit=2048))
    sound = audit(folder, BAGS, only=["truncation"]).checks[0]
    assert sound.passed is True
    assert "The ends of texts of 2048 tokens are read." in sound.evidence
    for number, tokens in ((60, 512), (1500, 2048)):
        model = faults.read(folder)
        model[1] = faults.Shorter(number=number)
        check = audit(model, BAGS, only=["truncation"]).checks[0]
        assert check.passed is False
        assert check.evidence.startswith(f"In texts of {tokens} tokens, other")


@pytest.mark.parametrize("pooling", ["mean", "weightedmean", "mean_sqrt_len"])
def test_states_are_exchanged_where_every_token_counts(pooling, tmp_path):
    folder = faults.save_bag_model(tmp_path / "saved", save_bags(tmp_path / "bags"), pooling)
    check = audit(folder, BAGS, only=["truncation"]).checks[0]
    assert all("states of the 4 last tokens" in ratios for ratios in check.measured["ends"].values())


def test_ends_that_were_not_measured_do_not_pass(tmp_path, monkeypatch):
    folder = faults.save_bag_model(tmp_path / "saved", save_bags(tmp_path / "bags", limit=2048))
    monkeypatch.setattr(module, "FULL", replace(SMALL, longest=1024))
    check = audit(folder, BAGS, only=["truncation"]).checks[0]
    assert check.passed is None
    assert "The ends of texts of 1024 tokens are read; longer ones were not tried." in check.evidence


@pytest.mark.parametrize("where", ["network", "pooling"])
def test_a_cut_at_four_fifths_is_found(where, demo_path, corpus):
    """Before the network, where words have no effect, or in the pooling, which attention hides from words."""
    model = faults.read(demo_path)

    def cut(features):
        mask = features["attention_mask"]
        return {**features, "attention_mask": mask * (mask.cumsum(1) <= (0.8 * mask.sum(1, keepdim=True)).long())}

    module_ = model[0] if where == "network" else model[1]
    original = module_.forward
    module_.forward = lambda features, **options: original(cut(features), **options)
    check = audit(model, corpus, only=["truncation"]).checks[0]
    assert check.passed is False
    assert "the 4 last tokens change the vector 0 times as much as others at the beginning" in check.evidence


def test_the_numbers_of_prompts_are_those_of_encode(demo_path, corpus, tmp_path):
    folder = exchanged(demo_path, tmp_path / "prompts")
    path = folder / "config_sentence_transformers.json"
    settings = {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"}
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    model = faults.read(folder)
    check = audit(model, corpus[:12], only=["prompts"]).checks[0]
    assert (model.default_prompt_name, model.prompts["query"]) == ("query", "query: ")  # they were put back
    model.default_prompt_name = None
    plain, prompted = (
        model.encode(corpus[:12], prompt=prompt, normalize_embeddings=True) for prompt in (None, "query: ")
    )
    assert check.measured["changes"]["query"]["mean_cosine"] == pytest.approx(
        (plain * prompted).sum(1).mean(), abs=1e-5
    )


def test_a_lost_prompt_is_measured_before_the_others(copies):
    prompts = {name: f"{name} : " for name in ("one", "two", "three", "four", "query")}
    model = faults.read(copies("bert", prompts=prompts))
    del model.prompts["query"]
    check = audit(model, TINY, only=["prompts"]).checks[0]
    assert check.passed is False
    assert {"query", "one"} < check.measured["changes"].keys()
    assert "not measured: 'two'." in check.evidence


# Half precision.


def test_a_batch_dependence_is_found_at_half_precision(copies, bag_folder):
    model, texts = faults.batch_dependence(copies, bag_folder)
    assert audit(model.bfloat16(), texts, only=["batches", "padding"]).failed == ("batches",)
    sound = audit(cenote.load(copies.folder / "bert-copy", dtype="bfloat16", device="cpu"), texts, only=["batches"])
    assert sound.passed, sound.checks[0].evidence  # also where the processor has no bfloat16
    assert 0 < sound.checks[0].measured["rounding"]["difference"] < 0.1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (partial(faults.float16_overflow, dtype="float32"), "encoder.layer.1.intermediate"),
        (faults.nan_where_padding_meets_float16, "2 texts have no finite vector at float16 in a batch with padding"),
    ],
)
def test_what_float16_cannot_hold_is_reported_where_it_is_not_used(fault, words, copies, bag_folder):
    model, texts = fault(copies, bag_folder)
    found = audit(model, texts, only=["float16", "finite"])
    check = by_name(found)["float16"]
    assert found.passed
    assert check.passed is None
    assert words in check.evidence
    assert "The weights are float32" in check.evidence


def test_what_float16_cannot_hold_fails_a_model_of_that_precision(copies, bag_folder):
    model, texts = faults.float16_overflow(copies, bag_folder)
    assert "float16" in audit(model, texts, only=["float16", "finite"]).failed


def test_hubs_are_named_and_fail_no_model(copies, bag_folder):
    model, texts = faults.with_hub(copies, bag_folder)
    check = audit(model, texts, only=["hubs"]).checks[0]
    assert check.passed is None
    assert BAGS[7][:20] in check.evidence
    assert f"among the 3 nearest of {check.measured['largest']} of {len(texts) - 1} others" in check.evidence


def test_the_demo_model_passes(demo_path, corpus):
    found = audit(demo_path, corpus)
    assert found.passed, [one.evidence for one in found.checks if one.passed is False]
    open_ = {one.name for one in found.checks if one.passed is None}
    assert open_ <= {"precision", "pooling-fits"}  # by the machine, and by the few texts with several sentences


def test_precisions_that_the_machine_lacks_are_not_applicable(copies, monkeypatch):
    monkeypatch.setattr(batches, "obstacle", lambda *_: "not here")
    check = audit(copies(), TINY, only=["precision"]).checks[0]
    assert check.passed is None
    assert check.evidence == "bfloat16: not measured, not here; float16: not measured, not here."


def test_the_model_is_left_unchanged(copies):
    model = faults.read(copies("bert", *faults.with_dense(), prompts=PROMPTS))
    before = model.encode(TINY[:5])
    side, hooks = model.tokenizer.padding_side, sum(len(one._forward_hooks) for one in model.modules())
    audit(model, TINY)
    assert np.array_equal(model.encode(TINY[:5]), before)
    assert model.tokenizer.padding_side == side
    assert sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules()) == hooks
    assert all(one.requires_grad for one in model.parameters())


def test_an_audit_is_repeated_bit_for_bit_and_comes_back_from_json(copies, tmp_path):
    folder = copies("bert", *faults.with_dense())
    first, second = audit(folder, TINY), audit(folder, TINY)
    assert first.to_json() == second.to_json()
    assert Audit.from_json(first.to_json()) == first
    for name, begin in (("a.html", "<!doctype html>"), ("a.md", "# Cenote audit"), ("a.json", "{")):
        first.save(tmp_path / name)
        assert (tmp_path / name).read_text().startswith(begin)
    assert len(repr(first).splitlines()) == 2
    assert "<table>" in first._repr_html_()
    assert first.texts.used == 60


def test_the_summary_names_what_failed():
    check = Check("padding", False, "evidence", "remedy", {})
    texts = module.AuditedTexts("a list", 4, 4, "ab")
    made = Audit(Audit.SCHEMA, False, "m", "ab", "mean", "1", 256, texts, (check,), {}, {})
    assert made.summary() == "m fails 1 of 1 check: padding."
    passing = replace(made, checks=(replace(check, passed=True), replace(check, name="hubs", passed=None)))
    assert passing.summary() == "m passes 1 check; 1 not decided."
    nothing = replace(made, checks=(replace(check, passed=None),))
    assert nothing.summary() == "Nothing could be decided on m: none of 1 checks could measure it."


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pooling": "maen"}, UnknownName, "did you mean 'mean'"),
        ({"only": ["paddng"]}, UnknownName, "did you mean 'padding'"),
        ({"skip": ["hub"]}, UnknownName, "did you mean 'hubs'"),
        ({"only": "padding"}, BadInput, "pass a list of names"),
        ({"only": ["hubs"], "skip": ["hubs"]}, BadInput, "no check is left"),
        ({"pooling": "cls", "skip": ["pooling"]}, BadInput, "compared by the check 'pooling', which is left out"),
        ({"pooling": "cls", "only": ["padding"]}, BadInput, "compared by the check 'pooling', which is left out"),
        ({"texts": ["a", "b", "c"]}, BadInput, "3 texts are too few for an audit: give at least 4"),
        ({"texts": []}, BadInput, "there are no texts"),
        ({"texts": "a pool"}, BadInput, r"A single text is passed in a list: \[text\]"),
        ({"model": "minilmm"}, BadInput, "did you mean 'minilm'"),
        ({"model": "no/such/model"}, BadInput, "no such folder"),
    ],
)
def test_bad_input_is_refused(arguments, error, message, copies):
    with pytest.raises(error, match=message):
        audit(**{"model": copies("bert"), "texts": TINY, **arguments})


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("a pool")
    with pytest.raises(BadInput, match=r"has no modules.json or config.json. It has: notes.txt"):
        audit(tmp_path, TINY)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BadInput, match="cannot load"):
        audit(tmp_path, TINY)


def test_a_check_that_cannot_be_measured_says_why(copies, monkeypatch):
    def refuse(_):
        raise BadInput("no room.")

    monkeypatch.setattr(table.Row, "load", lambda _: refuse)
    found = audit(copies("bert"), TINY, only=["hubs"])
    assert found.checks[0].passed is None
    assert found.checks[0].evidence == "Could not be measured: no room."


def test_every_row_has_a_function_and_every_threshold_a_reason():
    for row in table.CHECKS.values():
        assert callable(row.load())
        assert row.question.endswith("?")
    for one in thresholds.THRESHOLDS.values():
        assert len(one.reason) > 20


def test_the_page_of_the_documentation_names_every_check():
    page = (Path(__file__).parent.parent.parent / "docs" / "auditing.md").read_text("utf-8")
    assert re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE) == list(table.CHECKS)


# The measures that checks share.


def test_padding_is_put_on_the_side_that_is_asked_for(copies):
    model = faults.read(copies("bert"))
    tokens = tokenise(model, ["a pool", "the deep cave"])
    right, left = (pad(model, tokens, [0], length=7, side=side) for side in ("right", "left"))
    assert right["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0, 0]]
    assert left["attention_mask"].tolist() == [[0, 0, 0, 1, 1, 1, 1]]
    assert torch.equal(right["input_ids"].flip(1)[:, :3], torch.full((1, 3), model.tokenizer.pad_token_id))
    both = pad(model, tokens, [0, 1], length=3)  # no room is taken away
    assert both["input_ids"].shape == (2, 5)


def test_agreement_by_hand():
    one = np.array([[1.0, 0.0], [0.0, 2.0]])
    found = compare(one, np.array([[2.0, 0.0], [0.0, -2.0]]))
    assert (found.mean, found.least, found.neighbours) == (0.0, -1.0, None)
    assert found.norms == pytest.approx(4 / 3)
    wide = compare(one, np.ones((2, 3)))
    assert wide.mean is None
    assert "another width" in wide.in_words()


def test_hubs_by_hand():
    vectors = np.random.default_rng(0).standard_normal((80, 60))
    vectors[4] = vectors.mean(0)
    counts = count_neighbours(vectors)
    assert counts.argmax() == 4
    assert counts.sum() == 800
    distances = ((unit := vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) @ unit.T) - 2 * np.eye(80)
    nearest = np.argsort(-distances, 1)[:, :3]
    assert count_neighbours(vectors, 3).tolist() == [(nearest == row).sum() for row in range(80)]
