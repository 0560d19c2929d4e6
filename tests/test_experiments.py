"""Every experiment on a claim runs on a toy model, and its figure, table and JSON are written."""

import importlib
import inspect
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest

pytest.importorskip("matplotlib")
HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE))

import cenote  # noqa: E402
from cenote.account.probes import draw_probes  # noqa: E402
from cenote.account.ranks import read_account  # noqa: E402
from cenote.account.texts import tokenise_account  # noqa: E402
from cenote.data.rows import Text  # noqa: E402
from cenote.errors import BadInput  # noqa: E402
from cenote.listener import Listener  # noqa: E402
from cenote.records import Estimate  # noqa: E402
from experiments import data_sets, diagnoses, lab  # noqa: E402
from experiments.all import MODULES, experiments, index, main  # noqa: E402
from experiments.claims import INDEX  # noqa: E402
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, below, judge  # noqa: E402
from experiments.second_order import scores  # noqa: E402

from .diagnosis.verdicts import accounts  # noqa: E402
from .evaluation import labelled  # noqa: E402


def measure_nothing(model, data, quick):
    measure_nothing.calls += 1
    return Measured([{"value": 0.5, "count": 3}], [above("c", Estimate(0.5, 0.1, 0.9))], {"x": (1, 2)})


def draw_nothing(figure, cells):
    lab.panels(figure, cells)[cells[0].data].plot(cells[0].measured.series["x"])


@pytest.fixture
def experiment():
    measure_nothing.calls = 0
    return Experiment("toy", "A toy", {"c": Claim("S", "It is so", "Value")}, measure_nothing, draw_nothing, ("d",))


@pytest.mark.parametrize(
    ("low", "high", "up", "down"),
    [
        (0.1, 0.9, True, False),
        (-0.1, 0.9, None, None),
        (None, None, None, None),
        (0.0, 0.9, None, None),
        (2e-18, 0.9, None, None),  # 0 but for rounding
    ],
)
def test_only_an_interval_on_one_side_decides(low, high, up, down):
    estimate = Estimate(0.5, low, high)
    assert above("c", estimate).holds is up
    assert below("c", estimate).holds is down


def test_the_table_of_accounts_leaves_out_parts_of_few_sentences_as_verdicts_do():
    few, enough = accounts.part("length", "9 tokens", 0.7, 29), accounts.part("length", "8 tokens", 0.9, 30)
    model = accounts.model(account=accounts.account(parts=(few, enough)))
    *_, row = diagnoses.shares({"d": SimpleNamespace(models=[model])})
    assert row.endswith("| 90 (8 tokens) |")


def test_a_bound_other_than_zero():
    assert above("c", Estimate(0.5, 0.4, 0.6), than=0.7).holds is False
    assert below("c", Estimate(0.5, 0.4, 0.6), than=0.7).holds is True


@pytest.mark.parametrize(
    ("held", "verdict"),
    [
        ([True, True], "holds"),
        ([True, False], "mixed"),
        ([True, True, None], "in part"),
        ([True, False, None], "mixed"),
        ([False, False, None], "against in part"),
        ([False, False], "not here"),
        ([False], "not here"),
        ([True, None], "undecided, one for"),
        ([False, *[None] * 8], "undecided, one against"),
        ([None, None], "undecided"),
        ([], "undecided"),
    ],
)
def test_verdicts(held, verdict):
    found = [Finding("c", 0.0, None, None, one) for one in held]
    assert judge(Claim("S", "It is so", "Value"), {"m": found}) == verdict


def test_a_run_goes_on_where_it_was_stopped(experiment, tiny_st, tmp_path, capsys):
    bert = str(tiny_st("bert"))
    first = lab.run(experiment, [bert], ["d", "e"], quick=True, output=tmp_path)
    second = lab.run(experiment, [bert], ["d", "e", "f"], quick=True, output=tmp_path)
    assert measure_nothing.calls == 3
    assert second["cells"][:2] == first["cells"]
    lab.run(experiment, [bert], ["d"], quick=False, output=tmp_path)
    assert measure_nothing.calls == 4
    assert "**It is so** (S): holds" in capsys.readouterr().out
    assert (tmp_path / "toy.svg").read_text().startswith("<?xml")
    assert json.loads((tmp_path / "toy.json").read_text())["claims"]["c"]["verdict"] == "holds"


def test_texts_that_changed_are_measured_anew(experiment, tiny_st, tmp_path):
    data, bert = tmp_path / "a.txt", str(tiny_st("bert"))
    for text, calls in (("one\n", 1), ("one\n", 1), ("two\n", 2)):
        data.write_text(text)
        lab.run(experiment, [bert], [str(data)], quick=True, output=tmp_path / "out")
        assert measure_nothing.calls == calls
        assert len(json.loads((tmp_path / "out" / "toy.json").read_text())["cells"]) == 1


def test_two_folders_of_one_name_are_refused(experiment, tmp_path):
    with pytest.raises(BadInput, match="two folders have one name"):
        lab.run(experiment, ["a/model", "b/model"], ["d"], quick=True, output=tmp_path)


def test_comparisons_are_those_of_all_cells_of_a_size(experiment, tiny_st, tmp_path):
    def across(cells):
        return [Cell(str(len(cells)), "d", measure_nothing(None, "d", True))] if cells else []

    compared, bert = replace(experiment, across=across), str(tiny_st("bert"))
    lab.run(compared, [bert], ["d", "e"], quick=False, output=tmp_path)
    record = lab.run(compared, [bert], ["d"], quick=True, output=tmp_path)
    assert [(one["model"], one["quick"]) for one in record["across"]] == [("2", False), ("1", True)]


def test_the_command_names_the_model_that_another_was_trained_from(experiment, tiny_st, tmp_path, monkeypatch):
    bert, mpnet = str(tiny_st("bert")), str(tiny_st("roberta"))
    tuned, start = Path(mpnet).name, Path(bert).name
    compared = replace(experiment, across=lambda cells: [one for one in cells if one.backbone])
    (data := tmp_path / "a.txt").write_text("one\n")
    words = ["--model", bert, "--model", mpnet, "--backbone", f"{tuned}={start}", "-o", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["toy", "--data", str(data), *words])
    lab.main(compared)
    record = json.loads((tmp_path / "toy.json").read_text())
    assert [cell.get("backbone") for cell in record["cells"]] == [None, start]
    assert [one["model"] for one in record["across"]] == [tuned]


def test_a_backbone_without_its_model_is_refused(experiment, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["toy", "--backbone", "minilm"])
    with pytest.raises(SystemExit):
        lab.main(experiment)
    assert "'minilm' is not TUNED=BACKBONE, such as sre-minilm=minilm" in capsys.readouterr().err


@pytest.mark.parametrize("experiment", experiments(), ids=lambda one: one.name)
def test_the_data_of_an_experiment_are_known(experiment, tmp_path, monkeypatch):
    """All that is measured lies in folders of the suite or of TEXTS."""
    from experiments.evaluations import SUITE

    for path in [*(f"{folder}/test.jsonl.gz" for folder, *_ in SUITE), *(path for path, _ in data_sets.TEXTS.values())]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    monkeypatch.setattr(data_sets, "DATA", tmp_path)
    data_sets.refuse_missing_data(experiment.needed(experiment.data, quick=True))


def test_a_group_of_data_sets_is_measured_anew_where_one_of_them_changed(experiment, tiny_st, tmp_path):
    data, bert = [tmp_path / "a.txt", tmp_path / "b.txt"], str(tiny_st("bert"))
    grouped = replace(experiment, groups={"both": tuple(map(str, data))})
    for texts, calls in ((("one", "two"), 1), (("one", "two"), 1), (("one", "three"), 2)):
        for path, text in zip(data, texts, strict=True):
            path.write_text(text)
        lab.run(grouped, [bert], ["both"], quick=True, output=tmp_path / "out")
        assert measure_nothing.calls == calls
    data[1].unlink()
    with pytest.raises(BadInput, match=r"no data set '.*b\.txt'"):
        data_sets.refuse_missing_data(grouped.needed(["both"], quick=True))


def test_cells_know_the_shared_code_that_measured_them(monkeypatch):
    from cenote.evaluation import evaluate
    from experiments.length import accuracy, cosine, reading

    source = inspect.getsource
    # A module that is imported, and that of a verb.
    for experiment, used in ((cosine.EXPERIMENT, reading), (accuracy.EXPERIMENT, evaluate)):
        monkeypatch.setattr(lab.inspect, "getsource", source)
        before = lab._code(experiment)
        assert before == lab._code(experiment)
        monkeypatch.setattr(lab.inspect, "getsource", lambda one, used=used: source(one) + "#" * (one is used))
        assert lab._code(experiment) != before


def test_the_same_figure_has_the_same_bytes(experiment, tmp_path):
    cells = [Cell("m", "d", measure_nothing(None, "d", True))]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        lab.save_figure(experiment, cells, tmp_path / name)
    assert (tmp_path / "one/toy.svg").read_bytes() == (tmp_path / "two/toy.svg").read_bytes()


def test_heat_maps_of_a_figure_share_their_colours():
    from matplotlib.figure import Figure

    maps = {"small": [[0.2, -0.3]], "large": [[4.0, -1.0]]}
    cells = [Cell("m", name, Measured([], [], {"changes": rows})) for name, rows in maps.items()]
    assert lab.reach_of(cells) == 4
    assert lab.reach_of(cells[:1]) == 1  # noise has no full colours
    axes = Figure().subplots(1, 2)
    for ax, rows in zip(axes, maps.values(), strict=True):
        lab.heat_map(ax, rows, ["row"], ["one", "two"], [[True, False]], reach=lab.reach_of(cells))
    assert {ax.images[0].get_clim() for ax in axes} == {(-5.6, 5.6)}
    shown = [[(one.get_text(), one.get_weight(), one.get_color()) for one in ax.texts] for ax in axes]
    assert shown == [
        [("+0.2", "bold", "black"), ("-0.3", "normal", "black")],
        [("+4.0", "bold", "white"), ("-1.0", "normal", "black")],
    ]


def test_names_are_distinct():
    assert len({one.name for one in experiments()}) == len(MODULES)


@pytest.fixture(scope="module")
def own_data(tmp_path_factory):
    """`own_data(kind)`: the path of small data of the user's own, of a kind that experiments read."""
    folder = tmp_path_factory.mktemp("data")
    some = labelled.texts(80, (4, 120), seed=0)
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in some), "utf-8")

    def path(kind):
        if kind == "texts":
            return folder / "texts.jsonl"
        made = folder / kind
        return made if made.exists() else labelled.write_folder(labelled.EVERY[kind], made)

    return path


@pytest.mark.parametrize("module", MODULES)
def test_an_experiment_runs_on_a_toy_model(module, tiny_st, own_data, tmp_path, capsys):
    experiment = importlib.import_module(f"experiments.{module}").EXPERIMENT
    if experiment.kind != "texts":
        pytest.importorskip("mteb")
    data = str(own_data(experiment.kind))
    record = lab.run(experiment, [str(tiny_st("bert"))], [data], quick=True, output=tmp_path)
    assert record["cells"][0]["rows"]
    assert {one["claim"] for one in record["cells"][0]["findings"]} <= set(experiment.claims)
    assert "<text" in (tmp_path / f"{experiment.name}.svg").read_text()


def test_the_index_of_claims_is_fresh():
    """`python -m experiments.all --pages` writes it; docs/claims.md is made of it."""
    assert json.loads((lab.RESULTS / INDEX).read_text("utf-8")) == index()
    for one in experiments():
        stored = json.loads((lab.RESULTS / f"{one.name}.json").read_text("utf-8"))
        parts = ("name", "title", "notes", "claims")
        anew = json.loads(json.dumps(lab.record_of(one, stored["cells"])))
        assert [stored[part] for part in parts] == [anew[part] for part in parts]


@pytest.mark.parametrize("module", MODULES)
def test_a_committed_figure_is_that_of_its_cells(module, tmp_path):
    """`python -m experiments.all --pages` draws it."""
    experiment = importlib.import_module(f"experiments.{module}").EXPERIMENT
    committed = (lab.RESULTS / f"{experiment.name}.svg").read_text("utf-8")
    if f"Matplotlib v{matplotlib.__version__}," not in committed:
        pytest.skip(f"another version of matplotlib drew it than {matplotlib.__version__}, whose lines differ")
    stored = json.loads((lab.RESULTS / f"{experiment.name}.json").read_text("utf-8"))
    (tmp_path / f"{experiment.name}.json").write_text(json.dumps(stored), "utf-8")
    lab.refresh(experiment, tmp_path)
    assert (tmp_path / f"{experiment.name}.svg").read_text("utf-8") == committed


def test_data_that_are_not_here_are_refused_before_the_work(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(data_sets, "DATA", tmp_path)
    monkeypatch.setattr(sys, "argv", ["all", "--quick", "-o", str(tmp_path / "out")])
    missing = r"error: there is no data set 'imdb' in '.*': name the folder that has it in the variable CENOTE_DATA"
    with pytest.raises(SystemExit, match=missing):
        main()
    assert not (tmp_path / "out").exists()


def test_statements_are_written_anew_beside_the_same_cells(experiment, tiny_st, tmp_path):
    record = lab.run(experiment, [str(tiny_st("bert"))], ["one"], quick=True, output=tmp_path)
    claims = {name: replace(claim, note="new") for name, claim in experiment.claims.items()}
    lab.refresh(replace(experiment, claims=claims), tmp_path)
    stored = json.loads((tmp_path / f"{experiment.name}.json").read_text("utf-8"))
    assert {claim["note"] for claim in stored["claims"].values()} == {"new"}
    assert stored["cells"] == record["cells"]
    lab.refresh(replace(experiment, name="none"), tmp_path)
    assert not (tmp_path / "none.json").exists()


def test_an_account_of_some_texts_searches_these_texts_alone(tiny_st, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE / "experiments"))
    stability = importlib.import_module("stability")
    monkeypatch.setattr(stability, "TEXTS", 21)
    model = cenote.load(tiny_st("bert"), device="cpu")
    sentence = "the deep {0} holds light and water {0} under the stone {0} of a {0} cave"
    texts = [
        Text(f"t{row}", ". ".join(sentence.format(f"word{row} {part}") for part in range(3)) + ".") for row in range(30)
    ]
    account = tokenise_account(model, draw_probes(texts, 30, 0), alternatives=False)
    reading = read_account(model, account, {}, Listener(), alternatives=False, keep_tokens=True)
    some = stability.draw(account, reading, 0)
    assert (some.documents, some.sentences) == (21, 63)
    shares = (some.found, some.lost_to_cut, some.lost_to_pooling, some.not_found)
    assert sum(one.value for one in shares) == pytest.approx(1)
    assert stability.draw(account, reading, 0) == some


@pytest.mark.parametrize(("count", "alone"), [(9, []), (10, ["10 models"])])
def test_models_alone_are_correlated_where_they_are_enough(count, alone):
    def measured(place):
        """Own encoders collapse less as they score higher, but for one; noisy ones more."""
        score = place + 1.5 * (place == 4)
        own = {"made by": "own", scores.SOCM: -place, scores.SCORE: score, scores.ACCOUNT: place}
        noisy = {"made by": "noise", scores.SOCM: place, scores.SCORE: place - 100, scores.ACCOUNT: place}
        return Cell(str(place), "one", Measured([own, noisy], []))

    found = scores.across([measured(place) for place in range(count)])
    assert [one.model for one in found] == [f"{2 * count} encoders of {count} models", *alone]
    rank = 1 - 6 * 2 / (count * (count**2 - 1))  # two neighbours have changed places
    held = [(one.claim, one.value, one.holds) for cell in found[1:] for one in cell.measured.findings]
    expected = [("collapse", pytest.approx(-rank), True), ("account", pytest.approx(rank), True)]
    assert held == (expected if alone else [])
