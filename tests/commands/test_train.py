"""`cenote train`: a training through the command line -> flags and the recipe -> refusals."""

import dataclasses
import inspect
import json
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest

from cenote.cli import Exit, main, parser

from ..training.toys import save_near, toy_pairs
from .test_arguments import SCRIPT

pytest.importorskip("accelerate", reason="train needs accelerate: pip install 'cenote[train]'")
pytest.importorskip("datasets", reason="train needs datasets: pip install 'cenote[train]'")


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    """A plain transformers folder, which declares no pooling. Shared: do not change it."""
    return save_near(tmp_path_factory.mktemp("near"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    lines = [json.dumps({"query": query, "positive": text}) for query, text in toy_pairs("late", 12, seed=4)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def run(near, pairs, tmp_path):
    """Train two steps of four pairs into `out`; options that are given last count."""
    short = ["--steps", "2", "--batch-size", "4", "--device", "cpu"]
    return lambda *options: main(["train", near, pairs, "-o", str(tmp_path / "out"), *short, *options])


@pytest.fixture
def given(monkeypatch):
    """The arguments that the function was called with."""
    found = {}

    def fake(model, pairs, **options):
        found.update(options, model=model, pairs=pairs)

    monkeypatch.setitem(sys.modules, "cenote.training.train", SimpleNamespace(train=fake))
    return found


def recipe(folder):
    return json.loads((folder / "training.json").read_text())["recipe"]


# A training.


def test_a_model_is_trained_and_its_files_are_named(run, tmp_path, capsys):
    options = ["--pooling", "landmark", "--intervals", "2,4,8", "--eval-interval", "4", "--no-cache"]
    assert run(*options) == Exit.SUCCESS
    told, out = capsys.readouterr(), tmp_path / "out"
    assert told.out.splitlines() == [f"model: {out}", f"recipe: {out / 'training.json'}", f"log: {out / 'log.jsonl'}"]
    assert "12 pairs: 3 steps of 4 in an epoch" in told.err
    settings = recipe(out)
    assert [settings[name] for name in ("pooling", "intervals", "eval_interval", "cache", "steps")] == [
        "landmark",
        [2, 4, 8],
        4,
        False,
        2,
    ]
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [1, 2]
    weights = (out / "model.safetensors").read_bytes()

    assert run(*options) == Exit.SUCCESS  # the same command again
    assert f"the training in {str(out)!r} is complete" in capsys.readouterr().err
    assert run(*options, "--steps", "3") == Exit.FAILURE
    told = capsys.readouterr()
    assert "holds a training with other settings: recipe steps is 2 there and 3 now. It is complete" in told.err
    assert told.out == ""
    assert (out / "model.safetensors").read_bytes() == weights


def test_poolings_are_joined_and_activations_computed_again(run, tmp_path):
    assert run("--pooling", "mean,max", "--cache") == Exit.SUCCESS
    settings = recipe(tmp_path / "out")
    assert (settings["pooling"], settings["cache"]) == ("mean+max", True)
    (pooling,) = (tmp_path / "out").glob("*Pooling/config.json")
    assert json.loads(pooling.read_text())["pooling_mode"] == ["mean", "max"]


def test_the_card_of_the_model_holds_no_text_of_the_pairs(run, pairs, tmp_path):
    assert run("--pooling", "mean") == Exit.SUCCESS
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert not re.findall(r"noise\d+", card)


def test_a_model_that_was_trained_with_intervals_may_have_another_pooling(run, tmp_path):
    assert run("--pooling", "landmark", "--intervals", "2,4", "--eval-pooling", "mean") == Exit.SUCCESS


# Flags and the recipe.


def flags():
    """The arguments of the command by name: that of the long flag."""
    (subparsers,) = (action for action in parser()._actions if hasattr(action, "choices") and action.choices)
    actions = [action for action in subparsers.choices["train"]._actions if action.option_strings]
    long = [next(flag for flag in action.option_strings if flag.startswith("--")) for action in actions]
    return {flag[2:].replace("-", "_"): action for flag, action in zip(long, actions, strict=True)}


def defaults():
    from cenote.training.recipe import Recipe

    return {field.name: field.default for field in dataclasses.fields(Recipe)}


def test_every_setting_of_a_recipe_has_a_flag_of_its_name():
    of_the_command = {"help", "output", "evaluate", "data_columns", "checkpoint_every", "workers", "device"}
    of_the_command |= {"trust_remote_code"}
    assert set(flags()) - of_the_command == set(defaults())


def test_the_help_states_the_defaults_of_the_recipe():
    from cenote.functional.landmarks import INTERVAL
    from cenote.training.train import train

    known = defaults() | {"intervals": INTERVAL, "workers": inspect.signature(train).parameters["workers"].default}
    stated = {name: re.search(r"\(default: ([-\w.]+)\)", action.help or "") for name, action in flags().items()}
    numbers = {name: float(found[1]) for name, found in stated.items() if found and re.match(r"[\d.]+", found[1])}
    assert numbers == {name: known[name] for name in numbers}
    assert len(numbers) >= 11
    assert stated["positions"][1] == known["positions"]


def test_every_flag_is_passed_on_under_its_name(given, near, pairs, tmp_path):
    settings = {
        **{"intervals": [2, 4], "eval_interval": 4, "splitter": "fixed", "temperature": 0.8},
        **{"steps": 3, "batch_size": 4, "learning_rate": 1e-3, "warmup": 0.5, "weight_decay": 0.1, "clip": 2.0},
        **{"seed": 7, "max_length": 64, "query_length": 16, "positions": "interpolate"},
        **{"query_prompt": "query: ", "document_prompt": "text: ", "loss_temperature": 0.1, "negatives": 1},
        **{"distil": 0.5, "spread": 0.25, "mini_batch": 8, "precision": "float32", "evaluate_every": 2, "patience": 3},
    }
    of_the_command = {"checkpoint_every": 5, "workers": 2, "evaluate": pairs}
    words = []
    for name, value in {**settings, **of_the_command}.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    more = ["--pooling", "landmark", "--cache", "--gradient-checkpointing"]
    output = str(tmp_path / "out")
    assert main(["train", near, pairs, "-o", output, *words, *more]) == Exit.SUCCESS
    assert {name: given[name] for name in given if name not in ("progress", "notify", "loader")} == {
        **{"model": near, "pairs": pairs, "output": output, **of_the_command, **settings},
        **{"pooling": "landmark", "cache": True, "gradient_checkpointing": True},
        "data_columns": {},
    }
    assert set(given) >= set(defaults()) - {"eval_pooling"}  # it does not go with `evaluate`
    assert main(["train", near, pairs, "-o", output, "--eval-pooling", "cls,max"]) == Exit.SUCCESS
    assert given["eval_pooling"] == "cls+max"


def test_what_is_not_given_is_left_to_the_function(given, near, pairs, tmp_path):
    assert main(["train", near, pairs, "-o", str(tmp_path / "out")]) == Exit.SUCCESS
    assert not set(given) & set(defaults())


def test_spaces_after_commas_are_no_part_of_a_name(given, near, pairs, tmp_path):
    assert main(["train", near, pairs, "-o", str(tmp_path / "out"), "--pooling", "mean, max"]) == Exit.SUCCESS
    assert given["pooling"] == "mean+max"


@pytest.mark.parametrize("name", ["warmup", "weight_decay", "negatives", "distil"])
def test_zero_is_passed_on(given, near, pairs, tmp_path, name):
    flag = f"--{name.replace('_', '-')}"
    assert main(["train", near, pairs, "-o", str(tmp_path / "out"), flag, "0"]) == Exit.SUCCESS
    assert given[name] == 0


# Refusals.

FILES = {"pairs.jsonl": '{"query": "a", "positive": "b"}\n', "texts.txt": "one\n", "ids.jsonl": '{"id": 1}\n'}
FILES |= {"empty.jsonl": "", "model/modules.json": "[]"}
# Commands with their exit code and a part of their message.
EARLY = [
    ("train", 2, "the following arguments are required: BACKBONE, PAIRS, -o/--output"),
    ("train model pairs.jsonl -o out --stesp 3", 2, "--stesp: did you mean --steps?"),
    ("train model pairs.jsonl -o ''", 2, "-o is empty: name a folder"),
    (
        "train model pairs.jsonl -o out --evaluate-every 2",
        2,
        "evaluate_every=2: name what to evaluate on",
    ),
    ("train model pairs.jsonl -o out --patience 2", 2, "patience=2: name what to evaluate on (evaluate, --evaluate)"),
    ("train model pairs.jsonl -o out --pooling landmrak", 2, "unknown pooling 'landmrak'; did you mean 'landmark'?"),
    ("train model pairs.jsonl -o out --warmup 2", 2, "2.0 is not from 0 to 1"),
    ("train model pairs.jsonl -o out --warmup x", 2, "invalid number value: 'x'"),
    ("train model pairs.jsonl -o out --spread -1", 2, "-1.0 is not at least 0"),
    ("train model pairs.jsonl -o out --learning-rate 0", 2, "'0' is not a positive, finite number"),
    ("train model pairs.jsonl -o out --steps 0", 2, "0 is not at least 1"),
    ("train model pairs.jsonl -o out --intervals 2,,4", 2, "'2,,4' has an empty part: write A,B"),
    ("train model pairs.jsonl -o out --splitter variable", 2, "unknown splitter 'variable'"),
    ("train model pairs.jsonl -o out --positions tiled", 2, "way to extend positions 'tiled'; did you mean 'tile'?"),
    ("train model pairs.jsonl -o out --precision float61", 2, "unknown precision 'float61'"),
    ("train model pairs.jsonl -o texts.txt", 1, "'texts.txt' is a file: name a folder"),
    ("train model none.jsonl -o out", 1, "no such file or folder: none.jsonl"),
    ("train model texts.txt -o out", 1, "texts.txt is no file of pairs: name a file that ends in"),
    ("train model ids.jsonl -o out", 1, "ids.jsonl, line 1: no column of the query; the columns are: id"),
    ("train model empty.jsonl -o out", 1, "empty.jsonl holds no pairs"),
    ("train model pairs.jsonl -o out --evaluate none", 1, "no such file or folder: none"),
    ("train model pairs.jsonl -o out --evaluate pairs.jsonl --eval-pooling cls", 2, "eval_pooling='cls': the scores"),
    ("train model pairs.jsonl -o out --data-columns a", 2, "'a': name each column after its role"),
    ("train model pairs.jsonl -o out --data-columns text=a", 2, "data_columns: name what to evaluate on"),
    ("train model pairs.jsonl -o out --evaluate texts.txt --data-columns text=a", 1, "texts.txt"),
    ("train ./none pairs.jsonl -o out", 1, "no such folder: './none'"),
]


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    """The code, the error, the output and the heavy imports of each command, all run in one fresh process."""
    here = tmp_path_factory.mktemp("early")
    for name, content in FILES.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(content)
    commands = json.dumps([command for command, _, _ in EARLY])
    done = subprocess.run([sys.executable, "-c", SCRIPT], input=commands, cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in here.iterdir()) == sorted({name.partition("/")[0] for name in FILES})
    return json.loads(done.stdout)


@pytest.mark.parametrize(("command", "code", "message"), EARLY, ids=[shlex.join(row[0].split()) for row in EARLY])
def test_errors_that_need_no_model_are_raised_before_heavy_imports(command, code, message, early):
    found, told, shown, heavy = early[command]
    assert message in told
    assert (found, shown, heavy) == (code, "", [])


def test_wrong_settings_are_refused_before_the_model_is_loaded(run, tmp_path, capsys):
    assert run("--pooling", "cls", "--intervals", "4") == Exit.FAILURE
    assert "intervals=[4] go with landmark, multi_cls and every_k, not with 'cls'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
