"""Facts that a folder declares, with their source; nothing is assumed."""

import json

import pytest

import cenote
from cenote.errors import BadInput
from cenote.models.declared import FACTS, declared


def test_the_demo_model(demo_path):
    facts = declared(demo_path)
    assert list(facts) == list(FACTS)
    assert facts["architecture"] == {"value": ["BertModel"], "from": "config.json: architectures"}
    assert facts["pooling"]["value"] == "mean"
    assert facts["pooling"]["from"].startswith("1_Pooling/config.json: pooling_mode")
    assert facts["temperature"] == {"value": None, "from": None}


def test_a_temperature_in_the_weights_and_as_configuration(copy_of, tmp_path):
    model = cenote.load(copy_of("bert"), device="cpu")
    cenote.bake(cenote.bake(model, 0.9), 0.8).save(str(tmp_path / "baked"))
    facts = declared(tmp_path / "baked")
    assert facts["temperature"] == {"value": None, "from": None}
    assert facts["temperature in the weights"] == {"value": 0.72, "from": "config.json: cenote_baked_temperature"}
    cenote.temper(model, {"query": 0.5, "document": 0.9})
    model.save(str(tmp_path / "roles"))
    assert declared(tmp_path / "roles")["temperature"] == {
        "value": {"query": 0.5, "document": 0.9},
        "from": "2_Temperature/config.json",
    }


def test_a_bare_transformers_model_keeps_its_temperature_in_its_config(copy_of, tmp_path):
    model = cenote.load(copy_of("bert"), device="cpu")
    cenote.temper(model[0].model, 0.5, layers=[1])
    model.save(str(tmp_path / "part"))
    assert declared(tmp_path / "part")["temperature"] == {
        "value": {"temperature": 0.5, "layers": [1]},
        "from": "config.json: cenote_temperature",
    }


def test_a_bare_transformers_folder(copy_of):
    facts = declared(copy_of("bert", plain=True))
    assert facts["pooling"] == {"value": None, "from": None}
    assert facts["max length"] == {"value": 256, "from": "tokenizer_config.json: model_max_length"}


@pytest.mark.parametrize(
    ("tokenizer", "positions", "own", "expected"),
    [
        (512, 256, {}, (256, "config.json: max_position_embeddings")),
        (256, 512, {}, (256, "tokenizer_config.json: model_max_length")),
        (int(1e30), 512, {}, (512, "config.json: max_position_embeddings")),
        (512, -1, {}, (512, "tokenizer_config.json: model_max_length")),
        (int(1e30), None, {}, (None, None)),
        (512, 256, {"xlm-roberta": 128}, (128, "sentence_xlm-roberta_config.json: max_seq_length")),
        (512, 256, {"bert": 1024, "xlm-roberta": 128}, (1024, "sentence_bert_config.json: max_seq_length")),
    ],
)
def test_the_limit_is_the_one_that_sentence_transformers_takes(tokenizer, positions, own, expected, copy_of):
    folder = copy_of("bert")
    own = {f"sentence_{kind}_config.json": {"max_seq_length": limit} for kind, limit in own.items()}
    (folder / "sentence_bert_config.json").unlink()
    files = {"tokenizer_config.json": {"model_max_length": tokenizer}, "config.json": {}, **own}
    files["config.json"]["max_position_embeddings"] = positions
    for name, change in files.items():
        before = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps(before | change))
    assert tuple(declared(folder)["max length"].values()) == expected


def test_a_module_whose_name_is_too_long_for_a_file_has_no_configuration(copy_of):
    folder = copy_of("bert")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "9" * 300
    (folder / "modules.json").write_text(json.dumps(modules))
    assert declared(folder)["pooling"] == {"value": None, "from": None}


def test_unreadable_folders_are_refused(copy_of):
    with pytest.raises(BadInput, match="'a/b' is not a folder on this machine"):
        declared("a/b")
    folder = copy_of("bert")
    (folder / "modules.json").write_text("{")
    with pytest.raises(BadInput, match=r"modules\.json' is not JSON"):
        declared(folder)
    (folder / "modules.json").write_text(json.dumps({}))
    with pytest.raises(BadInput, match="holds a dict, not a list"):
        declared(folder)


# Files that are damaged, or made to harm.


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("modules.json", "[1]", r"modules\.json': entry 0 is a int, not a dict"),
        ("modules.json", '[{"type": "a", "path": ""}, null]', r"modules\.json': entry 1 is a NoneType, not a dict"),
        ("modules.json", '{"a": ' * 100_000, r"modules\.json' is not JSON: maximum recursion depth"),
        ("config.json", "[" * 100_000, r"config\.json' is not JSON: maximum recursion depth"),
        ("config.json", "[]", r"config\.json' holds a list, not a dict"),
        ("config.json", '{"cenote_temperature": 0.8}', r"config\.json': cenote_temperature is 0\.8, not a dict"),
        ("config.json", '{"cenote_temperature": [1]}', r"cenote_temperature is \[1\], not a dict"),
    ],
)
def test_damaged_files_are_named(copy_of, file, content, message):
    folder = copy_of("bert")
    (folder / file).write_text(content)
    with pytest.raises(BadInput, match=message):
        declared(folder)
