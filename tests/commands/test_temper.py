"""`cenote temper`."""

import json

import pytest

from cenote.cli import Exit, main


def test_temper_bakes_and_info_says_so(copy_of, tmp_path, capsys):
    folder, out = str(copy_of("bert")), str(tmp_path / "out")
    assert main(["temper", folder, "--temperature", "0.8", "-o", out, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{out}: temperature 0.8, in the weights\n"
    assert main(["info", out]) == 0
    shown = capsys.readouterr().out
    assert "temperature in the weights  0.8  (config.json: cenote_baked_temperature)\n" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["temper", folder, "--temperature", "0.8", "-o", out]) == Exit.FAILURE
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        (["--schedule", "power:scale=1,exponent=-0.05"], {"schedule": "power", "scale": 1.0, "exponent": -0.05}),
        (["--query", "0.9", "--document", "log:s=0.3"], {"query": 0.9, "document": {"schedule": "log", "s": 0.3}}),
    ],
)
def test_temper_stores_what_has_no_place_in_weights(options, stored, copy_of, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["temper", str(copy_of("bert")), *options, "-o", out, "--json", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature"] == stored
    assert main(["info", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature"]["value"] == stored


def test_temper_says_what_became_of_an_earlier_temperature(copy_of, tmp_path, capsys):
    first, second, third = (str(tmp_path / name) for name in ("first", "second", "third"))
    assert main(["temper", str(copy_of("bert")), "--temperature", "0.8", "-o", first, "--device", "cpu"]) == 0
    assert main(["temper", first, "--query", "0.5", "--document", "0.9", "-o", second, "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["temper", second, "--temperature", "0.9", "-o", third, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "instead of 0.5 for a query and 0.9 for a document, which it had as configuration" in out
    assert "on top of 0.8, which its weights had already: the two multiply" in out
    assert main(["info", third, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature in the weights"]["value"] == 0.72


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name one of --temperature, --schedule, or --query with --document."),
        (["--temperature", "1", "--query", "1"], "Given: --temperature, --query."),
        (["--temperature", "hot"], "--temperature 'hot' is no number: give one, such as 0.8."),
        (["--temperature", "log:s=0.3"], "is no number (for one by length, --schedule)"),
        (["--temperature", "0"], "temperature is 0.0: it divides"),
        (["--temperature", "nan"], "temperature is nan: pass a finite number"),
        (["--query", "0.8"], "names 'query' and 'document', both"),
        (["--query", "0.8", "--document", "warm"], "or a schedule such as log:s=0.3"),
        (["--schedule", "linaer:start=1"], "did you mean 'linear'"),
        (["--schedule", "0.8"], "unknown schedule in --schedule '0.8'"),
        (["--schedule", "log"], "log needs s too, as in log:s=NUMBER"),
        (["--schedule", "log:s"], "'s' is not what it takes; log takes s, as NAME=NUMBER"),
        (["--schedule", "log:s=x"], "--schedule, s: 'x' is no number"),
        (["--schedule", "log:schedule=1"], "'schedule=1' is not what it takes"),
        (["--schedule", "log:s=1,s=2"], "'s=2' is given twice"),
        (["--schedule", "power:scale=1,exponent=-9"], "too small to divide by"),
        (["--schedule", "linear:start=1,end=-1,shortest=3e7,longest=4e7"], "is -1 at length 40000000"),
    ],
)
def test_temper_refuses_options_before_it_looks_for_the_model(options, message, capsys):
    assert main(["temper", "no-such-model", *options, "-o", "nowhere"]) == Exit.USAGE
    assert message in capsys.readouterr().err


def test_temper_leaves_no_empty_folder_behind(tmp_path, copy_of, capsys):
    out = tmp_path / "out"
    assert main(["temper", str(copy_of("bert")), "--temperature", "1e-39", "-o", str(out), "--device", "cpu"]) == 1
    assert "temperature 1e-39: BertModel gives numbers that are not finite" in capsys.readouterr().err
    assert not out.exists()
    assert main(["temper", "no/such/model", "--temperature", "1", "-o", str(out)]) == 1
    assert not out.exists()
    assert main(["temper", "minilm", "--temperature", "1", "-o", ""]) == Exit.USAGE
    assert main(["temper", "minilm", "--temperature", "1", "-o", "/proc/x"]) == 1
    assert "cannot make the folder '/proc/x'" in capsys.readouterr().err
