"""The sample that every machine has."""

import itertools
import re

import pytest

from cenote import corpus
from cenote.corpus import sample
from cenote.errors import BadInput


def test_the_sample_is_the_same_each_time_and_of_many_lengths():
    found = list(sample())
    assert found[:300] == list(itertools.islice(sample(), 300))
    ids = {text.id for text in found}
    assert len(found) == len(ids) == len({text.text for text in found}) > 3000
    assert {"argparse", "json.decoder:JSONDecoder.raw_decode"} <= ids
    assert "argparse:ArgumentParser.add_subparsers" not in ids  # it has no docstring
    assert {"test", "idlelib", "pip", "_pydecimal"}.isdisjoint(re.split("[.:]", name)[0] for name in ids)
    lengths = sorted(len(text.text.split()) for text in found)
    assert lengths[0] == 3
    assert lengths[len(lengths) // 2] < 30 < 100 < lengths[-200] < 400 < lengths[-1]
    "".join(text.text for text in found).encode()


def test_the_sample_streams(monkeypatch):
    parsed, parse = [], corpus.ast.parse
    monkeypatch.setattr(corpus.ast, "parse", lambda source: parsed.append(1) or parse(source))
    assert list(itertools.islice(sample(), 3))
    assert len(parsed) <= 3


def test_a_library_without_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(BadInput, match=r"there are no texts in the standard library in"):
        sample()
