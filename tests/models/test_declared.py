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
