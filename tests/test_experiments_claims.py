"""Claims of the sources: verdicts from results, the generated page, and the statements that no experiment measures."""

import json
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from cenote.cli import parser  # noqa: E402
from experiments.claims import INDEX, RESULTS, Value, page, rows_of, verdict_of  # noqa: E402
from experiments.statements import STATEMENTS  # noqa: E402

CLAIM = {"source": "arXiv 2604.27398, Figure 1", "text": "It falls | rises", "measure": "Change"}
LISTED = {"name": "toy", "title": "A toy", "module": "experiments.toy", "claims": {"c": CLAIM}}


def cell(model, data, holds, quick=False):
    finding = {"claim": "c", "value": 0.5, "low": 0.1, "high": 0.9, "holds": holds}
    return {"model": model, "data": data, "key": {"quick": quick}, "findings": [finding]}


@pytest.fixture
def results(tmp_path):
    """`results(cells, across)`: a folder of results with one experiment; None has not been run."""

    def write(cells, across=()):
        (tmp_path / "experiments").mkdir(exist_ok=True)
        (tmp_path / "experiments" / INDEX).write_text(json.dumps([LISTED]))
        if cells is not None:
            record = {"cells": cells, "across": list(across)}
            (tmp_path / "experiments" / "toy.json").write_text(json.dumps(record))
        return tmp_path

    return write


def test_an_experiment_without_results_was_not_run(results):
    row = rows_of(results(None))[0]
    assert (row.verdict, row.values, row.command) == ("not run yet", [], "python -m experiments.toy")


@pytest.mark.parametrize(
    ("cells", "verdict", "count"),
    [
        ([cell("m", "d", True), cell("m", "e", True)], "holds", 2),
        ([cell("m", "d", True), cell("m", "e", False)], "mixed", 2),
        ([cell("m", "d", True), cell("m", "e", False, quick=True)], "holds", 1),
        ([cell("m", "d", None, quick=True)], "undecided", 1),
        ([], "not run yet", 0),
    ],
)
def test_full_cells_count_before_quick_ones(results, cells, verdict, count):
    row = rows_of(results(cells))[0]
    assert (row.verdict, len(row.values)) == (verdict, count)


@pytest.mark.parametrize(
    ("quick", "command"),
    [((True, True), "python -m experiments.toy --quick"), ((True, False), "python -m experiments.toy")],
)
def test_the_command_says_that_only_few_texts_were_read(results, quick, command):
    cells = [cell("m", data, True, quick=one) for data, one in zip("de", quick, strict=True)]
    assert rows_of(results(cells))[0].command == command


def test_comparisons_of_models_count(results):
    across = [
        {"model": name, "data": "d", "quick": quick, "findings": cell("", "", False)["findings"]}
        for name, quick in (("b minus a", False), ("c minus a", True))
    ]
    row = rows_of(results([cell("m", "d", True)], across))[0]
    assert row.verdict == "mixed"
    assert [value.model for value in row.values] == ["m", "b minus a"]  # of few texts only where there are no others


def test_what_random_vectors_give_too_is_no_finding_about_a_model(results, monkeypatch):
    monkeypatch.setitem(CLAIM, "certain", "Noise gives it too")
    row = rows_of(results([cell("m", "d", True)]))[0]
    assert (row.verdict, row.measure) == ("by construction", f"{CLAIM['measure']}. Noise gives it too")
    assert rows_of(results([cell("m", "d", False)]))[0].verdict == "not here"


def test_a_statement_of_which_a_part_is_not_tested_holds_in_part_at_most(results, monkeypatch):
    monkeypatch.setitem(CLAIM, "untested", "It is not the paper's model")
    monkeypatch.setitem(CLAIM, "note", "Few texts")
    row = rows_of(results([cell("m", "d", True)]))[0]
    assert row.verdict == "in part"
    assert row.measure == f"{CLAIM['measure']}. It is not the paper's model. Few texts"
    assert rows_of(results([cell("m", "d", False)]))[0].verdict == "not here"
    monkeypatch.setitem(CLAIM, "stand_ins", ["m"])
    assert rows_of(results([cell("m", "d", True)]))[0].verdict == "in part"
    row = rows_of(results([cell("m", "d", True), cell("the paper's", "d", True)]))[0]
    assert (row.verdict, row.measure) == ("holds", f"{CLAIM['measure']}. Few texts")


def test_a_value_has_its_sign_and_interval():
    assert str(Value("m", "d", 0.05, 0.01, 0.09, True)) == "✓ +0.05 (+0.01 to +0.09)"
    assert str(Value("m", "d", -1.234567, None, None, None)) == "○ -1.23"


def test_the_page_has_a_line_for_every_statement(results):
    rows = rows_of(results([cell("m", "/data/d", True)]))
    lines = page(rows).splitlines()
    first = next(line for line in lines if "It falls" in line)
    assert first.startswith(
        "| It falls ∣ rises | Figure 1 | **holds** | Change.<br>m: d ✓ +0.5 (+0.1 to +0.9)<br>`python"
    )
    assert sum(line.endswith(" |") and "**" in line for line in lines) == len(rows)


def test_without_trainings_nothing_is_decided(results):
    assert {row.verdict for row in rows_of(results(None)) if row.command.endswith("landmark.run")} == {"not run yet"}


@pytest.mark.parametrize("held", [[True], [False], [None], [True, False, None], []])
def test_a_verdict_does_not_depend_on_the_order(held):
    assert verdict_of(held) == verdict_of(held[::-1])


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda one: one.text[:40])
def test_commands_of_statements_are_ones_that_can_be_given(statement):
    assert statement.why
    for command in filter(None, statement.command.split("; ")):
        program, *words = shlex.split(command)
        if program == "cenote":
            parser().parse_args(words)
        elif words[:2] == ["-m", "pytest"]:
            assert (ROOT / words[2]).exists()
        else:
            path = words[0] if words[0] != "-m" else f"{words[1].replace('.', '/')}.py"
            assert (ROOT / path).is_file(), path


def test_the_page_on_pooling_says_what_the_figure_shows():
    """docs/concepts/pooling.md, on first sentences that find their text."""
    page = " ".join((RESULTS.parent / "concepts" / "pooling.md").read_text("utf-8").split())
    cells = json.loads((RESULTS / "experiments" / "pooling-details.json").read_text("utf-8"))["cells"]
    rows = {cell["data"]: cell["rows"] for cell in cells if cell["model"] == "minilm"}

    def ends(data, how="vector"):
        return [100 * rows[data][place][how] for place in (0, -1)]

    first, last = ends("imdb")
    assert f"{first:.0f} of 100 sentences of {rows['imdb'][0]['sentences']} film reviews" in page
    assert f"and {last:.0f} if 256 are" in page
    first, last = ends("20news_full")
    count = rows["20news_full"][0]["sentences"]
    assert f"Of {count} newsgroup posts, without headers and quotes, these are {first:.0f} and {last:.0f}" in page
    first, last = ends("scifact")
    assert f"hardly lose any: {first:.1f} and {last:.1f}" in page
    assert ends("imdb", "token match")[1] == 100
    assert f"still find all of the reviews and {ends('20news_full', 'token match')[1]:.0f} of 100 posts" in page
    first, last = ends("imdb", "random words")
    assert f"from {first:.0f} to {last:.0f} on reviews" in page
