"""A tiny model, and the scores of every kind of data by it."""

import sys

import pytest

if sys.version_info < (3, 11):
    collect_ignore_glob = ["test_*.py"]  # mteb needs Python 3.11
else:
    pytest.importorskip("mteb", reason="evaluate needs mteb: pip install 'cenote[eval]'")


@pytest.fixture(scope="session")
def model(tiny_st):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_st("bert")), device="cpu", prompts={"query": "query: ", "document": ""})
