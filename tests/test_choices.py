"""The names that the command line accepts are the keys of the tables that implement them."""

import importlib.util

import pytest

from cenote import choices


def test_tables_have_exactly_these_names():
    from cenote.embedding.engines import ENGINES
    from cenote.encoding.backends import BACKENDS
    from cenote.functional.pooling import POOLINGS
    from cenote.functional.temperature import ROLES, SCHEDULES
    from cenote.surgery.positions import WAYS

    assert tuple(BACKENDS) == choices.BACKENDS
    assert tuple(ENGINES) == choices.ENGINES
    assert ROLES == choices.TASKS
    assert set(WAYS) == set(choices.POSITIONS)
    assert {name: row.aliases for name, row in POOLINGS.items()} == choices.POOLINGS
    assert {name: row.parameters for name, row in SCHEDULES.items()} == choices.SCHEDULES


@pytest.mark.parametrize(("extra", "missing"), [("onnx", "onnxscript"), ("ray", "ray")])
def test_a_missing_package_is_named_with_the_line_that_installs_it(extra, missing, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    assert choices.missing_packages(extra) == f"it needs {missing}, which is missing: pip install 'cenote[{extra}]'"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert choices.missing_packages(extra) is None
