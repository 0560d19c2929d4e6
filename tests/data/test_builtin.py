"""The built-in corpus."""

import itertools
import re

import pytest

from cenote.data import builtin
from cenote.data.builtin import read_builtin
from cenote.errors import BadInput


def test_it_is_reproducible_unique_and_of_many_lengths():
    found = list(read_builtin())
    assert found[:300] == list(itertools.islice(read_builtin(), 300))
    ids = {text.id for text in found}
    assert len(found) == len(ids) == len({text.text for text in found}) > 3000
    assert {"argparse", "json.decoder:JSONDecoder.raw_decode"} <= ids
    assert "argparse:ArgumentParser.add_subparsers" not in ids  # it has no docstring
    assert {"test", "idlelib", "pip", "_pydecimal"}.isdisjoint(re.split("[.:]", name)[0] for name in ids)
    lengths = sorted(len(text.text.split()) for text in found)
    assert lengths[0] == 3
    assert lengths[len(lengths) // 2] < 30 < 100 < lengths[-200] < 400 < lengths[-1]
    "".join(text.text for text in found).encode()


def test_it_is_streamed(monkeypatch):
    parsed, parse = [], builtin.ast.parse
    monkeypatch.setattr(builtin.ast, "parse", lambda source: parsed.append(1) or parse(source))
    assert list(itertools.islice(read_builtin(), 3))
    assert len(parsed) <= 3


def test_a_library_without_sources_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(builtin.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(BadInput, match=r"there are no texts in the standard library in"):
        read_builtin()
