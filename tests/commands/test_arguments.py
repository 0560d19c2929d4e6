"""Arguments that commands share, and errors that are raised before heavy imports."""

import argparse
import json
import subprocess
import sys

import pytest

from cenote.cli import parser
from cenote.commands.arguments import COMMON, check_new_folder, count, natural, one_of, pooling
from cenote.errors import BadInput

FILES = {
    "texts.txt": "one\ntwo\n",
    "empty.txt": "",
    "broken.jsonl": '{"text": \n',
    "null.jsonl": '{"text": null}\n',
    "column.csv": "txt\na\n",
    "full/file": "mine",
}
EARLY = [
    (["embed", "minilm", "texts.txt", "-o", "out", "--dtype", "float8"], "unknown dtype 'float8'"),
    (
        ["embed", "minilm", "texts.txt", "-o", "out", "--backend", "tarch"],
        "'tarch'; did you mean 'torch'?",
    ),
    (["embed", "minilm", "texts.txt", "-o", "out", "--precision", "flaot32"], "did you mean 'float32'?"),
    (["embed", "minilm", "texts.txt", "-o", "out", "--task", "qurey"], "unknown task 'qurey'; did you mean 'query'?"),
    (["embed", "minilm", "texts.txt", "-o", "out", "--long", "window"], "'window'; did you mean 'windows'?"),
    (["embed", "minilm", "texts.txt", "-o", "out", "--on-error", "skp"], "did you mean 'skip'?"),
    (["embed", "minilm", "texts.txt", "-o", "out", "--on-truncate", "eror"], "did you mean 'error'?"),
    (["embed", "minilm", "texts.txt", "-o", "out", "--engine", "rya"], "unknown engine 'rya'; did you mean 'ray'?"),
    (["embed", "minilm", "texts.txt", "-o", "out", "--workers", "2"], "workers=2 is for engine='ray'"),
    (
        ["embed", "minilm", "texts.txt", "-o", "out", "--prompt", "qurey"],
        "unknown prompt of minilm: 'qurey'; did you",
    ),
    (["embed", "minilm", "texts.txt", "-o", "full"], "'full' holds 'file' and no manifest.json"),
    (["embed", "minilm", "texts.txt", "-o", "texts.txt"], "'texts.txt' is a file"),
    (["embed", "minilm", "none.txt", "-o", "out"], "no such file or folder: none.txt"),
    (["embed", "minilm", "column.csv", "-o", "out"], "'text'; did you mean 'txt'?"),
    (["embed", "./none", "texts.txt", "-o", "out"], "no such folder: './none'"),
    (["embed", "minilm", "texts.txt", "-o", "out", "--loong", "windows"], "--loong: did you mean --long?"),
    (["pool", "minilm", "texts.txt", "--pooling", "cls,maen"], "unknown pooling 'maen'; did you mean 'mean'?"),
    (["pool", "minilm", "texts.txt", "--dtype", "float23"], "unknown dtype 'float23'; did you mean 'float32'?"),
    (["pool", "minilm", "null.jsonl"], "null.jsonl, line 1: the text is null"),
    (["pool", "minilm", "empty.txt"], "there are no texts in empty.txt"),
    (["pool", "./none", "texts.txt"], "no such folder: './none'"),
    (["diagnose", "minilm", "--temperatures", "warm"], "'warm': pass positive numbers with commas between them"),
    (["diagnose", "minilm", "--pair-prompts", "query"], "pass two names with a comma between them"),
    (["diagnose", "minilm", "texts.txt", "--prompt", "qurey"], "unknown prompt of minilm: 'qurey'"),
    (["diagnose", "minilm", "broken.jsonl"], "broken.jsonl, line 1: not JSON"),
    (["diagnose", "minilm", "-o", "page.pdf"], "name a file that ends in .html or .md"),
    (["diagnose", "minilm", "-o", "no/place/page.html"], "cannot write 'no/place/page.html'"),
    (
        ["temper", "minilm", "--temperature", "warm", "-o", "out"],
        "'warm' is not a positive, finite number",
    ),
    (
        ["temper", "minilm", "--schedule", "lgo:s=1", "-o", "out"],
        "in --schedule 'lgo'; did you mean 'log'?",
    ),
    (["temper", "minilm", "--temperature", "0.8", "-o", "full"], "'full' already exists: name a new folder"),
    (["export", "minilm", "--format", "onx", "-o", "out"], "unknown format 'onx'; did you mean 'onnx'?"),
    (["export", "minilm", "--format", "onnx", "--pooling", "maen", "-o", "out"], "did you mean 'mean'?"),
    (["export", "minilm", "--format", "onnx", "--task", "doc", "-o", "out"], "unknown task 'doc'"),
    (["export", "minilm", "--format", "onnx", "-o", "full"], "'full' already exists: name a new folder"),
    (["export", "./none", "--format", "onnx", "-o", "out"], "no such folder: './none'"),
]
SCRIPT = """
import contextlib, io, json, sys
from cenote.cli import main
found = []
for arguments in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as told:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
    heavy = {"torch", "transformers", "sentence_transformers"} & set(sys.modules)
    found.append([int(code), told.getvalue(), sorted(heavy)])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def early(tmp_path_factory, demo_path):
    """Return the exit code, the error and the heavy imports of each command of `EARLY`, run in one fresh process."""
    here = tmp_path_factory.mktemp("early")
    for name, content in FILES.items():
        path = here / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    commands = json.dumps([arguments for arguments, _ in EARLY])
    done = subprocess.run([sys.executable, "-c", SCRIPT], input=commands, cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in here.iterdir()) == sorted({name.partition("/")[0] for name in FILES})
    return dict(zip(map(tuple, json.loads(commands)), json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("arguments", "message"), EARLY, ids=[" ".join(arguments) for arguments, _ in EARLY])
def test_errors_that_need_no_model_are_raised_before_heavy_imports(arguments, message, early):
    code, told, heavy = early[tuple(arguments)]
    assert code in (1, 2)
    assert message in told
    assert heavy == []


def test_shared_arguments_have_the_same_words_in_every_command():
    subparsers = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    for flags, options in COMMON.values():
        name = flags[0].lstrip("-").replace("-", "_")
        helps = {
            action.help
            for command, sub in subparsers.choices.items()
            for action in sub._actions
            if action.dest == name and command != "info"  # which reads folders alone
        }
        assert helps == {options["help"]}, name


@pytest.mark.parametrize(("parse", "text", "message"), [(count, "0", "0 is not at least 1"), (natural, "-1", "not at")])
def test_numbers_below_the_least_are_refused(parse, text, message):
    assert parse("3") == 3
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        parse(text)


def test_names_and_poolings_are_checked():
    assert one_of(["a", "b"], "letter")("a") == "a"
    with pytest.raises(argparse.ArgumentTypeError, match=r"unknown letter 'c'.* There are: a, b"):
        one_of(["a", "b"], "letter")("c")
    assert pooling("cls, lmk") == "cls, lmk"
    with pytest.raises(argparse.ArgumentTypeError, match="unknown pooling 'meen'; did you mean 'mean'"):
        pooling("cls,meen")


def test_a_folder_to_write_must_be_new(tmp_path):
    check_new_folder(str(tmp_path / "a" / "b"))
    (tmp_path / "full").write_text("x")
    for path in (tmp_path, tmp_path / "full"):
        with pytest.raises(BadInput, match="already exists: name a new folder"):
            check_new_folder(str(path))
