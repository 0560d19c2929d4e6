"""Models and texts for measures of search."""

import pytest


@pytest.fixture(scope="session")
def bag_folder(tmp_path_factory):
    """The folder of a model of bags of words, which reads 512 tokens. Shared: do not change it."""
    from .bags import save_bags

    return save_bags(tmp_path_factory.mktemp("bags"))


@pytest.fixture(autouse=True)
def few_word_pairs(monkeypatch):
    """Repeat two pairs of words instead of twenty, which take longer than all else."""
    from cenote.diagnosis import controls

    monkeypatch.setattr(controls, "WORD_PAIRS", controls.WORD_PAIRS[:2])


@pytest.fixture(scope="session")
def short_folder(tmp_path_factory):
    """The folder of a model of bags of words that reads 40 tokens, and has no more positions."""
    from .bags import save_bags

    return save_bags(tmp_path_factory.mktemp("short"), limit=40)


@pytest.fixture
def tiny_bert(tiny_st):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_st("bert")), device="cpu")


@pytest.fixture
def bag_model(bag_folder):
    from .bags import load_bags

    return load_bags(bag_folder)
