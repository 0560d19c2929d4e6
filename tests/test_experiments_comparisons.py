"""The script of the tables of comparisons: what it tunes, and what it prints."""

import argparse
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cenote.records import Estimate

from .evaluation import labelled

HERE = Path(__file__).parents[1] / "experiments"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script, which reads data from a temporary folder."""
    monkeypatch.syspath_prepend(str(HERE))
    module = importlib.import_module("comparisons")
    monkeypatch.setattr(module, "DATA", tmp_path)
    for name in ("retrieval", "sts", "classification"):
        labelled.write_folder(labelled.EVERY[name], tmp_path / name)
    yield module
    for name in ("comparisons", "evaluations"):
        sys.modules.pop(name, None)


def tuning(recommendation, chosen="queries 0.9, documents 1"):
    tried = [SimpleNamespace(temperature=chosen, gain=Estimate(0.02, 0.01, 0.03))]
    gain = None if chosen is None else Estimate(0.01, -0.01, 0.02)
    return SimpleNamespace(
        tried=tried,
        chosen=chosen,
        gain=gain,
        expected=Estimate(0.005, 0.0, 0.01),
        recommendation=recommendation,
        needed=None,
    )


@pytest.mark.parametrize(("by_role", "tuned"), [(True, ["retrieval"]), (False, ["retrieval", "sts", "classification"])])
def test_only_searches_are_tuned_by_role(script, monkeypatch, capsys, by_role, tuned):
    calls = []

    def tune(model, data, **options):
        options["progress"]("search, temperature 0.9 (1 of 5): reading texts", 0, 60)
        calls.append((*data, options["by_role"]))
        return tuning({"query": 0.9, "document": 1.0} if len(calls) == 1 else None, "0.9" if len(calls) < 3 else None)

    monkeypatch.setattr(script.cenote, "tune", tune)
    args = argparse.Namespace(quick=False, by_length=False, by_role=by_role)
    script.tuned(None, "toy", [(name, None, None) for name in ("retrieval", "sts", "classification")], args)
    assert calls == [(name, by_role) for name in tuned]
    out, err = capsys.readouterr()
    rows = [line for line in out.splitlines() if line.startswith("| toy")]
    assert len(rows) == len(tuned)
    assert rows[0].endswith("| yes |  |")
    assert f"toy: 1 of {min(2, len(tuned))} chosen temperatures are confirmed, on {len(tuned)} data sets." in out
    assert "temperature 0.9 (1 of 5): reading texts: 60" in err
