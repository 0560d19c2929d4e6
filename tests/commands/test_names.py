"""Which names are models and which is of texts."""

import pytest

from cenote.commands.names import models_and_texts
from cenote.commands.shared import Usage
from cenote.errors import BadInput


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for folder in ("model", "many", "hub/models--gpt2", "hub/models--sentence-transformers--LaBSE"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "mytexts").write_text("one\n")
    (tmp_path / "reviews.jsonl").write_text('"one"\n')
    return tmp_path


@pytest.mark.parametrize("name", ["-", "mytexts", "many", "reviews.jsonl", "not-there.csv.gz", "no/such/place.txt"])
def test_texts(name, here):
    assert models_and_texts(["minilm", name]) == (["minilm"], name)
    with pytest.raises(Usage, match="is texts, and there is no model: cenote diagnose MODEL"):
        models_and_texts([name])


@pytest.mark.parametrize(
    "name", ["minilm", "model", "org/name", "all-MiniLM-L6-v2", "paraphrase-MiniLM-L3-v2.1", "gpt2", "LaBSE"]
)
def test_models(name, here):
    assert models_and_texts(["minilm", name]) == (["minilm", name], None)
    assert models_and_texts([name]) == ([name], None)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mytextss", "; did you mean 'mytexts'?"),
        ("reviews", "; did you mean 'reviews.jsonl'?"),
        ("minlm", "; did you mean 'minilm'?"),
        ("modell", "; did you mean 'model'?"),
        ("xyzzy", "."),
    ],
)
def test_neither(name, meant, here):
    with pytest.raises(BadInput) as found:
        models_and_texts(["minilm", name])
    assert str(found.value) == (
        f"{name!r} is neither a file of texts nor a model folder here{meant} A model of the hub has a slash or a "
        "hyphen in its name."
    )
    assert models_and_texts([name]) == ([name], None)  # alone it is a model, which the hub may know
