"""Splitting names into models and texts."""

import pytest

from cenote.commands.names import split_names
from cenote.errors import BadInput, Usage


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


@pytest.mark.parametrize(
    "name", ["-", "mytexts", "many", "reviews.jsonl", "not-there.csv.gz", "no/such/place.txt", "*.jsonl", "many/*"]
)
def test_the_last_name_is_texts(name, here):
    assert split_names(["minilm", name]) == (["minilm"], name)
    with pytest.raises(Usage, match="names texts, and no model is given: cenote diagnose MODEL"):
        split_names([name])


def test_files_before_the_last_are_texts_too_as_a_shell_writes_a_pattern(here):
    files = ["mytexts", "reviews.jsonl"]
    assert split_names(["minilm", "org/name", *files]) == (
        ["minilm", "org/name"],
        [here.joinpath(file).relative_to(here) for file in files],
    )
    assert split_names(["mytexts", "reviews.jsonl"]) == (["mytexts"], "reviews.jsonl")  # the first is a model


@pytest.mark.parametrize(
    "name", ["minilm", "model", "org/name", "all-MiniLM-L6-v2", "paraphrase-MiniLM-L3-v2.1", "gpt2", "LaBSE"]
)
def test_every_name_is_a_model(name, here):
    assert split_names(["minilm", name]) == (["minilm", name], None)
    assert split_names([name]) == ([name], None)


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
def test_a_name_that_is_neither_is_refused_with_a_near_miss(name, meant, here):
    with pytest.raises(BadInput) as found:
        split_names(["minilm", name])
    assert str(found.value) == (
        f"{name!r} is neither a file of texts nor the folder of a model{meant} A hub id has a slash or a hyphen."
    )
    assert split_names([name]) == ([name], None)  # a single name may be a hub id


def test_a_text_in_place_of_a_name_is_refused_as_neither(here):
    with pytest.raises(BadInput, match="is neither a file of texts nor the folder of a model"):
        split_names(["minilm", "a passage " * 40])
    assert split_names(["minilm", "a-passage " * 40])[1] is None  # perhaps a hub id
