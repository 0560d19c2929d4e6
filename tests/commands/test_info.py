"""`cenote info`."""

import json
import subprocess
import sys

import cenote
from cenote.cli import main


def test_facts_of_the_demo_model_are_printed(demo_path, capsys):
    assert main(["info", str(demo_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["architecture", "BertModel"]
    assert any(line.startswith("max length") and " 256 " in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_layers_and_schedules_are_printed(copy_of, tmp_path, capsys):
    model = cenote.load(copy_of("bert"), device="cpu")
    by_length = cenote.LengthTemperature("linear", start=1.0, end=0.8, shortest=32, longest=256)
    cenote.temper(model, {"query": 1.0, "document": by_length}, layers=[0, 1])
    model.save(str(tmp_path))
    assert main(["info", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "query: 1, document: linear(start=1, end=0.8, shortest=32, longest=256)" in shown
    assert "layers: 0, 1" in shown
    assert main(["info", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature"]["value"]["layers"] == [0, 1]


def test_nothing_heavy_is_imported(demo_path):
    script = (
        "import sys, cenote.cli\n"
        f"assert cenote.cli.main(['info', {str(demo_path)!r}]) == 0\n"
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
