"""The manifest of a folder: other settings are refused before any work. What a folder may hold is in test_folder.py."""

from dataclasses import replace

import pytest

import cenote
from cenote.embedding.manifest import manifest_of, refuse_other_settings
from cenote.errors import BadInput


@pytest.fixture
def folder(tiny_st, tmp_path):
    cenote.embed(cenote.load(tiny_st("bert"), device="cpu"), ["a pool", "a cave"], tmp_path / "out", dtype="float16")
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "dtype is 'float16' in the folder and 'float32' now"),
        ({"dtype": "float16", "normalize": True}, "normalize is False in the folder and True now"),
        ({"dtype": "float16", "long": "windows", "window": 9}, "long is 'truncate' in the folder and 'windows' now"),
        ({"dtype": "float16", "prompt_name": "query"}, "prompt_name is None in the folder and 'query' now"),
    ],
)
def test_other_options_are_refused_before_texts_are_read_or_a_model_is_loaded(folder, options, message):
    def read():
        pytest.fail("the texts were read")

    with pytest.raises(BadInput, match=message):
        cenote.embed("a model that is not there", read, folder, loader=pytest.fail, **options)


def test_a_folder_may_have_sentence_transformers_name_of_a_pooling(folder):
    manifest = manifest_of(folder)
    theirs = replace(manifest, settings=manifest.settings | {"pooling": "cls+mean_sqrt_len_tokens"})
    refuse_other_settings(folder, theirs, {"pooling": "cls+mean_sqrt_len"})
    with pytest.raises(BadInput, match=r"pooling is 'cls\+mean_sqrt_len' in the folder and 'cls' now"):
        refuse_other_settings(folder, theirs, {"pooling": "cls"})


def test_names_of_the_model_and_the_texts_may_differ_and_their_fingerprints_may_not(folder):
    manifest = manifest_of(folder)
    refuse_other_settings(folder, replace(manifest, settings=manifest.settings | {"model": "m"}), manifest.settings)
    other = replace(manifest, settings=manifest.settings | {"fingerprint": "0"})
    with pytest.raises(BadInput, match=r"\(0\) in the folder and .* now, other weights"):
        refuse_other_settings(folder, other, manifest.settings)
