"""Scores of trained models become tables, and the claims on landmarks read from them."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments.claims import RESULTS, rows_of_trainings
from experiments.landmark import run, summary
from experiments.landmark.plan import ARMS, MAIN, READINGS, SIZES, UNTRAINED, trainings
from experiments.landmark.summary import summarise

POSTS, EVIDENCE = 90, 40
PARTS = ["short", "middle", "long"] * (POSTS // 3)


def write_scores(folder, size, means):
    """Write score files of all trainings; `means(arm, search)` is the mean score, of which queries differ a little."""
    folder.mkdir()
    short, *longer = size.lengths
    counts = {f"posts {length}": POSTS for length in (short, longer[0])}
    counts |= {f"evidence {length} {place}": EVIDENCE for length in longer for place in ("start", "middle", "end")}
    generator = np.random.default_rng(0)
    for start, arm, seed in trainings(size):
        values = {}
        for reading in ("", *READINGS.get(arm, {})):
            values[reading] = {
                name: {
                    "items": [f"q{row}" for row in range(count)],
                    "values": (means(arm, name) + generator.normal(0, 0.002, count)).tolist(),
                    "parts": PARTS if name.startswith("posts") else [None] * count,
                }
                for name, count in counts.items()
                if not reading or name.split()[1] == str(longer[0])
            }
        (folder / f"{start}, {arm}, {seed}.json").write_text(json.dumps({"values": values}))


@pytest.fixture(params=[[64, 128], [512, 2048, 8192]], ids=str)
def size(request):
    """A size of which the lengths come in another order as words."""
    toy, lengths = SIZES["toy"], request.param
    starts = {"reset": toy.starts["reset"]}
    return replace(toy, starts=starts, ablations="reset", seeds=2, lengths=lengths, train_length=lengths[0])


def verdicts(folder, size, means):
    write_scores(folder / "landmark-toy", size, means)
    summarise(folder, "toy", size)
    rows = {row.text.split(":")[0]: row for row in rows_of_trainings([folder / "landmark-toy.json"])}
    return rows, json.loads((folder / "landmark-toy.json").read_text())["starts"]["reset"]


def test_claims_are_decided_by_the_searches_that_were_chosen_before(size, tmp_path):
    def means(arm, search):
        late = 0.2 if search.endswith("end") and arm == "cls" else 0.0
        better = 0.1 if search.startswith("evidence") and arm in ("landmark", "landmark, sentences") else 0.0
        return 0.5 + better - late

    rows, record = verdicts(tmp_path, size, means)
    positions = "in part" if len(size.lengths) > 2 else "undecided, one for"  # with fixed intervals nothing differs
    assert [row.verdict for row in rows.values()] == ["holds", "holds", "undecided", "holds", "holds", positions]
    alike = next(row for text, row in rows.items() if "matches" in text)
    assert {one.data for one in alike.values} == {f"posts {size.train_length} short"}
    longer = next(row for text, row in rows.items() if "better than CLS" in text)
    assert [one.data for one in longer.values] == [f"evidence {length}" for length in size.lengths[1:]]
    short = record[f"posts {size.train_length} short"]
    assert {*short["scores"]} == {*ARMS, *UNTRAINED}
    assert [len(short["scores"][arm]) for arm in (*MAIN, "every_k")] == [2, 2, 2, 1]
    assert {"cls", "mean", "every_k", "temperature 0.8"} <= {*record[f"posts {size.lengths[1]}"]["from landmark"]}


def test_a_difference_of_one_arm_is_decided_by_that_arm_alone(tmp_path):
    late = {"cls": {"value": -0.2, "low": -0.3, "high": -0.1, "p": 0.001}}
    search = {"chance": 0.071, "scores": {"cls": [0.4], "landmark": [0.13]}, "end minus start": late}
    path = tmp_path / "landmark-toy.json"
    path.write_text(json.dumps({"train_length": 128, "starts": {"reset": {"evidence 512": search}}}))
    (row,) = (row for row in rows_of_trainings([path]) if row.text.startswith("CLS gathers"))
    assert [one.holds for one in row.values] == [True]


def test_the_mean_is_not_worse_on_short_posts_of_the_models_that_were_trained():
    rows = rows_of_trainings([RESULTS / "landmark-cpu.json"])
    (row,) = (row for row in rows if "on short texts it does worse" in row.text)
    assert [one.holds for one in row.values] == [False, False]


def test_longer_posts_are_tested_in_the_seeds_after_those_that_were_known(size, tmp_path, monkeypatch):
    monkeypatch.setitem(summary._KNOWN, "toy", 1)
    longest = f"posts {size.lengths[1]} long"

    def means(arm, search):
        return 0.6 if search.startswith(f"posts {size.lengths[1]}") and arm == "landmark" else 0.5

    _, record = verdicts(tmp_path, size, means)
    found = record[longest]["landmark minus, later seeds"]
    assert {*found} == {"1"}
    assert found["1"]["cls"]["value"] == pytest.approx(0.1, abs=0.002)
    assert found["1"]["mean"]["p"] < 0.001
    assert "landmark minus, later seeds" not in record[f"posts {size.lengths[0]} long"]


def test_an_arm_that_did_not_learn_a_search_decides_nothing(size, tmp_path):
    def means(arm, search):
        return 0.12 if search.startswith("evidence") and arm == "landmark, fixed" else 0.5

    rows, _ = verdicts(tmp_path, size, means)
    positions = next(row for text, row in rows.items() if "depends on the positions" in text)
    assert {one.holds for one in positions.values if one.model.endswith("fixed")} == {None}


def test_what_was_kept_of_other_settings_is_not_taken_up(tmp_path):
    cpu = SIZES["cpu"]
    names = {run.digest(one) for one in (cpu, replace(cpu, steps=cpu.steps + 1), SIZES["toy"])}
    assert len(names) == 3
    assert run.digest(cpu) == run.digest(replace(cpu))
    scored = tmp_path / "cls, 0.json"
    assert not run.is_by("a", scored)
    scored.write_text(json.dumps({"made_by": "a"}))
    assert (run.is_by("a", scored), run.is_by("b", scored)) == (True, False)
