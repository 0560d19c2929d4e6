"""The names that the command line accepts are the keys of the tables that implement them."""

import importlib.util
from typing import get_args

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


def test_literals_have_the_names_of_the_tables():
    from cenote.auditing.checks.table import CHECKS
    from cenote.data.labelled import KINDS
    from cenote.functional import second_order
    from cenote.functional.landmarks import SPLITTERS
    from cenote.functional.pooling import NAMES
    from cenote.functional.similarity import SIMILARITIES
    from cenote.training.ways import WAYS

    tables = {
        choices.CheckName: CHECKS,
        choices.KindName: KINDS,
        choices.PairWay: WAYS,
        choices.PoolingName: NAMES,
        choices.ScheduleName: choices.SCHEDULES,
        choices.SimilarityName: [name for key, row in SIMILARITIES.items() for name in (key, *row.aliases)],
        choices.SocmPrecision: second_order._PRECISIONS,
        choices.SplitterName: {*SPLITTERS} - {"variable"},
    }
    for literal, table in tables.items():
        assert set(get_args(literal)) == set(table), literal


def test_names_of_a_narrower_option_are_names_of_the_wider_one():
    for narrow, wide in (
        (choices.TRAINING_PRECISIONS, choices.PRECISIONS),
        (choices.GRAPH_PRECISIONS, choices.COMPUTE_PRECISIONS),
        (choices.GRAPH_FORMATS, choices.BACKENDS),
    ):
        assert set(narrow) < set(wide)
    assert get_args(choices.Auto) == (choices.AUTO,)
    assert (*choices.PRECISIONS, choices.AUTO) == choices.WEIGHT_DTYPES


@pytest.mark.parametrize(("extra", "missing"), [("onnx", "onnxscript"), ("ray", "ray"), ("index", "faiss")])
def test_a_missing_package_is_named_with_the_line_that_installs_it(extra, missing, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    assert choices.missing_packages(extra) == f"it needs {missing}, which is missing: pip install 'cenote[{extra}]'"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert choices.missing_packages(extra) is None
