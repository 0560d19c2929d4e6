"""Arguments that commands share, and errors that are raised before heavy imports."""

import argparse
import json
import subprocess
import sys

import pytest

from cenote.cli import parser
from cenote.commands.arguments import COMMON, check_new_folder
from cenote.errors import BadInput
from cenote.json_records import to_json
from cenote.records import Counts, Manifest

FILES = {
    "texts.txt": "one\ntwo\n",
    "empty.txt": "",
    "broken.jsonl": '{"text": \n',
    "null.jsonl": '{"text": null}\n',
    "ids.jsonl": '{"id": 1, "text": "one"}\n',
    "column.csv": "txt\na\n",
    "half.jsonl": '{"text1": "one"}\n',
    "full/file": "mine",
    "many/one.md": "a text",
    "vectors/manifest.json": to_json(
        Manifest(Manifest.SCHEMA, True, False, {"model": "minilm", "pooling": "mean"}, {}, None, Counts(0, (), 0, 0, 0))
    ),
}
# Commands with their exit code and a part of their message.
EARLY = [
    ("--verison", 2, "--verison: did you mean --version?"),
    ("pol", 2, "unknown command 'pol'; did you mean 'pool'?"),
    ("info minilm --jsno", 2, "--jsno: did you mean --json?"),
    ("poolings --hlep", 2, "--hlep: did you mean --help?"),
    ("embed minilm texts.txt -o out --loong windows", 2, "--loong: did you mean --long?"),
    ("embed minilm texts.txt -o out --dtype float8", 2, "unknown dtype 'float8'"),
    ("embed minilm texts.txt -o out --backend tarch", 2, "'tarch'; did you mean 'torch'?"),
    ("embed minilm texts.txt -o out --precision flaot32", 2, "did you mean 'float32'?"),
    ("embed minilm texts.txt -o out --task qurey", 2, "unknown task 'qurey'; did you mean 'query'?"),
    (
        "embed minilm texts.txt -o out --long window",
        2,
        "way to read long texts 'window'; did you mean 'windows'?",
    ),
    ("embed minilm texts.txt -o out --on-error skp", 2, "did you mean 'skip'?"),
    ("embed minilm texts.txt -o out --on-truncate eror", 2, "did you mean 'error'?"),
    ("embed minilm texts.txt -o out --engine rya", 2, "unknown engine 'rya'; did you mean 'ray'?"),
    ("embed minilm texts.txt -o out --workers 2", 1, "workers=2 is for engine='ray' (--engine ray)"),
    ("embed minilm - -o out --engine ray", 2, "--engine ray reads texts again when a machine is lost: name a file"),
    ("embed minilm texts.txt -o out --window 9", 1, "window and overlap (--window, --overlap) need long='windows'"),
    ("embed minilm texts.txt -o out --prompt qurey", 2, "unknown prompt of minilm: 'qurey'; did you"),
    ("embed minilm ids.jsonl -o out --keep txt", 2, "unknown column of ids.jsonl, line 1: 'txt'; did you mean 'text'?"),
    ("embed minilm ids.jsonl -o out --keep text,window", 1, "the column 'window' cannot be kept under its name, since"),
    ("embed minilm ids.jsonl -o out --keep text,text", 1, "keep: 'text' is named twice"),
    ("embed minilm ids.jsonl -o out --keep ,", 2, "argument --keep: ',' has an empty part: write A,B"),
    ("search vectors deep --prompt no", 2, "unknown prompt of minilm: 'no'"),
    ("search vectors deep -", 2, "- stands for standard input and goes with no other question"),
    ("search vectors ''", 2, "a question is empty"),
    ("search full deep", 1, "'full' is not an output of embed"),
    ("embed minilm texts.txt -o out --limit 0", 1, "limit=0: pass a whole number of at least 1"),
    ("embed minilm texts.txt -o out --pooling maen", 2, "unknown pooling 'maen'; did you mean 'mean'?"),
    ("embed minilm texts.txt -o out --temperature hot", 2, "'hot' is not a positive, finite number: give one"),
    ("embed minilm texts.txt -o ''", 2, "-o is empty"),
    ("embed minilm texts.txt -o full", 1, "'full' holds 'file' and no manifest.json: it is not an output of embed."),
    ("embed minilm texts.txt -o texts.txt", 1, "'texts.txt' is a file"),
    ("embed minilm none.txt -o out", 1, "no such file or folder: none.txt"),
    ("embed minilm column.csv -o out", 2, "'text'; did you mean 'txt'?"),
    ("embed minilm ids.jsonl -o out --column txt", 2, "'txt'; did you mean 'text'?"),
    ("embed minilm ids.jsonl -o out --id-column key", 2, "There are: id, text."),
    ("embed minilm ids.jsonl -o out --columns text,", 2, "'text,' has an empty part: write A,B"),
    ("embed minilm ids.jsonl -o out --columns text,text", 1, "columns: 'text' is named twice"),
    ("embed minilm ids.jsonl half.jsonl -o out", 1, "half.jsonl has no column 'text', which ids.jsonl has"),
    ("embed minilm texts.txt ids.jsonl -o out", 1, "texts.txt is plain text, and ids.jsonl has columns"),
    ("embed minilm texts.txt - -o out", 2, "argument TEXTS: - stands for standard input and goes with no file"),
    ("embed minilm 'none*.jsonl' -o out", 1, "no file matches the pattern 'none*.jsonl'"),
    ("embed ./none texts.txt -o out", 1, "no such folder: './none'"),
    ("pool", 2, "the following arguments are required: MODEL, TEXTS"),
    ("pool --polling=x", 2, "required: MODEL, TEXTS; --polling: did you mean --pooling?"),
    ("pool minilm - --polling x", 2, "unrecognized arguments: --polling x; --polling: did you mean --pooling?"),
    ("pool minilm - --zebra", 2, "unrecognized arguments: --zebra\n"),
    ("pool minilm -- - --poolin", 2, "argument TEXTS: - stands for standard input and goes with no file\n"),
    ("pool minilm - --limit 0", 2, "0 is not at least 1"),
    ("pool minilm - --limit x", 2, "invalid whole number value: 'x'"),
    ("pool minilm - --pooling cls,maen", 2, "unknown pooling 'maen'; did you mean 'mean'? There are: cls, mean, max,"),
    ("pool minilm - --dtype float23", 2, "unknown dtype 'float23'; did you mean 'float32'?"),
    ("pool minilm null.jsonl", 1, "null.jsonl, line 1: the text is null"),
    ("pool minilm empty.txt", 1, "there are no texts in empty.txt"),
    ("pool ./none -", 1, "no such folder: './none'"),
    ("diagnose texts.txt", 2, "'texts.txt' names texts, and no model is given: cenote diagnose MODEL texts.txt"),
    ("diagnose minilm textss", 1, "neither a file of texts nor the folder of a model; did you mean 'texts.txt'?"),
    ("diagnose minilm none.txt", 1, "no such file or folder: none.txt"),
    ("diagnose ./none", 1, "no such folder: './none'"),
    ("diagnose --quick texts.txt null.jsonl", 1, "line 1: the text is null"),
    ("diagnose --quick texts.txt ids.jsonl", 1, "'texts.txt' is a file: name the folder of a model"),
    ("diagnose minilm broken.jsonl", 1, "broken.jsonl, line 1: not JSON"),
    ("diagnose minilm --temperature 0.8", 2, "--temperature: did you mean --temperatures?"),
    ("diagnose minilm --temperatures '1;2'", 2, "'1;2' is not a positive, finite number: give one, such as 0.8"),
    ("diagnose minilm --temperatures 0.8 warm", 1, "Several --temperatures need commas between them, such as 0.9,0.8."),
    ("diagnose minilm --temperatures 0.8 0.9", 1, "Several --temperatures need commas between them"),
    ("diagnose minilm --temperatures 0", 2, "argument --temperatures: '0' is not a positive, finite number"),
    ("diagnose minilm --sample 0", 2, "0 is not at least 1"),
    ("diagnose minilm --seed -1", 2, "-1 is not at least 0"),
    ("diagnose minilm --pair-prompts query", 2, "pass two names with a comma between them"),
    ("diagnose minilm texts.txt --prompt qurey", 2, "unknown prompt of minilm: 'qurey'; did you mean 'query'?"),
    ("diagnose minilm --pairs -", 2, "--pairs -: the file is read twice"),
    ("diagnose minilm --pairs none.csv", 1, "--pairs: no such file or folder: none.csv"),
    ("diagnose minilm --pairs column.csv", 1, "--pairs needs columns text1 and text2: unknown column of column.csv:"),
    ("diagnose minilm --pairs half.jsonl", 1, "--pairs needs columns text1 and text2: unknown column of half.jsonl"),
    ("diagnose minilm -o page.pdf", 2, "-o 'page.pdf': name a file that ends in .html or .md"),
    ("diagnose minilm -o no/place/page.md", 1, "cannot write 'no/place/page.md'"),
    ("diagnose minilm --json no/place.json", 1, "cannot write 'no/place.json'"),
    ("diagnose minilm texts.txt --json texts.txt", 2, "is an input and would be overwritten"),
    ("diagnose minilm many -o many/one.md", 2, "one.md' is an input and would be overwritten"),
    ("diagnose minilm 'many/*.md' -o many/one.md", 2, "one.md' is an input and would be overwritten"),
    ("diagnose minilm 'm*/**/*.md' -o many/one.md", 2, "one.md' is an input and would be overwritten"),
    ("diagnose minilm many -o many/deep/new.md", 2, "new.md' would be an input of the next run: name another file"),
    ("diagnose minilm 'many/*.md' -o many/new.md", 2, "new.md' would be an input of the next run: name another file"),
    ("diagnose minilm 'many/*.md' -o many/deep/new.md", 1, "cannot write 'many/deep/new.md'"),
    ("diagnose minilm many --json many/deep/none/new.json", 1, "cannot write 'many/deep/none/new.json'"),
    ("diagnose minilm many --json many/new.jsonl", 2, "new.jsonl' would be an input of the next run"),
    ("diagnose minilm many -o many/page.pdf", 2, "name a file that ends in .html or .md"),
    ("diagnose minilm -o a.md --json ./a.md", 2, "-o and --json both name './a.md'"),
    ("temper minilm --temperatur 1", 2, "--temperatur: did you mean --temperature?"),
    ("temper none -o out", 2, "give one of --temperature, --schedule, or --query with --document."),
    ("temper none -o out --temperature 1 --query 1", 2, "Given: --temperature, --query."),
    ("temper none -o out --query 0.8", 2, "or --query with --document. Given: --query."),
    (
        "temper none -o out --temperature hot",
        2,
        "'hot' is not a positive, finite number: give one, such as 0.8.",
    ),
    ("temper none -o out --temperature log:s=0.3", 2, "(for a temperature by length, use --schedule)"),
    ("temper none -o out --temperature 0", 2, "'0' is not a positive, finite number"),
    ("temper none -o out --temperature nan", 2, "'nan' is not a positive, finite number"),
    ("temper none -o out --query 0.8 --document warm", 2, "or a schedule such as log:s=0.3"),
    (
        "temper none -o out --schedule linaer:start=1",
        2,
        "schedule in --schedule 'linaer'; did you mean 'linear'?",
    ),
    ("temper none -o out --schedule 0.8", 2, "unknown schedule in --schedule '0.8'"),
    ("temper none -o out --schedule log", 2, "log also needs s, as in log:s=NUMBER"),
    ("temper none -o out --schedule log:s", 2, "'s' is not a parameter; log takes s, as NAME=NUMBER"),
    ("temper none -o out --schedule log:s=x", 2, "--schedule 'log:s=x': s='x' is not a finite number"),
    ("temper none -o out --schedule log:schedule=1", 2, "'schedule=1' is not a parameter"),
    ("temper none -o out --schedule log:s=1,s=2", 2, "'s=2' is repeated"),
    ("temper minilm -o '' --temperature 1", 2, "-o is empty: name a new folder"),
    ("temper minilm -o full --temperature 0.8", 1, "'full' already exists: name a new folder"),
    ("export minilm -o out --format onx", 2, "unknown format 'onx'; did you mean 'onnx'?"),
    ("export minilm -o out --format onnx --pooling maen", 2, "did you mean 'mean'?"),
    ("export minilm -o out --format onnx --task doc", 2, "unknown task 'doc'"),
    ("export minilm -o out --format onnx --precision float16", 2, "--precision float16 needs --format openvino"),
    ("export minilm -o '' --format onnx", 2, "-o is empty: name a new folder"),
    ("export minilm -o full --format onnx", 1, "'full' already exists: name a new folder"),
    ("export ./none -o out --format onnx", 1, "no such folder: './none'"),
]
SCRIPT = """
import contextlib, io, json, shlex, sys
from cenote.cli import main
found = {}
for command in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.redirect_stdout(io.StringIO()) as shown:
        try:
            code = main(shlex.split(command))
        except SystemExit as end:
            code = end.code
    heavy = {"torch", "transformers", "sentence_transformers", "pyarrow", "numpy"} & set(sys.modules)
    found[command] = [int(code), told.getvalue(), shown.getvalue(), sorted(heavy)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def early(tmp_path_factory, demo_path):
    """Return the code, the error, the output and the heavy imports of each command, all run in one fresh process."""
    here = tmp_path_factory.mktemp("early")
    for name, content in FILES.items():
        path = here / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    commands = json.dumps([command for command, _, _ in EARLY])
    done = subprocess.run([sys.executable, "-c", SCRIPT], input=commands, cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in here.iterdir()) == sorted({name.partition("/")[0] for name in FILES})
    return json.loads(done.stdout)


@pytest.mark.parametrize(("command", "code", "message"), EARLY, ids=[command for command, _, _ in EARLY])
def test_errors_that_need_no_model_are_raised_before_heavy_imports(command, code, message, early):
    found, told, shown, heavy = early[command]
    assert message in told
    assert (found, shown, heavy) == (code, "", [])
    assert all(line.startswith("Try: cenote ") for line in told.splitlines()[1:])


def test_shared_arguments_have_the_same_words_in_every_command():
    # Arguments whose words belong to one command: outputs and JSON differ.
    own = {
        (command, name)
        for command in ("embed", "diagnose", "evaluate", "compare", "tune", "train", "pairs", "audit", "parity")
        for name in ("output", "json")
    }
    own |= {("pool", "json"), ("poolings", "json"), ("pairs", "model"), ("compare", "columns"), ("audit", "pooling")}
    own |= {("search", "model"), ("search", "task")}
    subparsers = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    for flags, options in COMMON.items():
        name = options.get("dest") or flags.rpartition(", ")[2].lstrip("-").replace("-", "_")
        helps = {
            action.help
            for command, sub in subparsers.choices.items()
            for action in sub._actions
            if action.dest == name and (command, name) not in own
        }
        assert helps == {options["help"]}, name


def test_a_folder_to_write_must_be_new(tmp_path):
    check_new_folder(str(tmp_path / "a" / "b"))
    (tmp_path / "full").write_text("x")
    for path in (tmp_path, tmp_path / "full"):
        with pytest.raises(BadInput, match="already exists: name a new folder"):
            check_new_folder(str(path))
