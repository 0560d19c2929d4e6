"""`cenote completion`: the scripts complete in the shells themselves."""

import shlex
import shutil
import subprocess
from itertools import chain

import pytest

from cenote import choices
from cenote.cli import COMMANDS, Exit, main, parser
from cenote.commands.completion import MODELS, PATHS, SHELLS

# Arguments that are free words or numbers, and complete nothing.
FREE = {"NAME", "A,B", "NAME,NAME", "T,T", "TEXT", "TAU", "NAME:A=1,B=2", "N", "K", "X", "S", "SHARE", "QUERY", "KIND"}


@pytest.fixture
def scripts(capsys, tmp_path):
    """The files of the scripts, by shell."""
    files = {shell: tmp_path / f"cenote.{shell}" for shell in SHELLS}
    for shell, file in files.items():
        assert main(["completion", shell]) == Exit.SUCCESS
        file.write_text(capsys.readouterr().out)
    return files


def in_bash(script, words):
    """Return lines for a bash that press Tab at the end of some words."""
    return f"""
        source {shlex.quote(str(script))}
        function=$(complete -p cenote | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}
        $function 2>/dev/null
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """


def in_fish(script, words):
    """Return lines for a fish that do the same."""
    return f"source {shlex.quote(str(script))}; complete -C {shlex.quote(' '.join(words))}"


def completed(script, *words, where=None):
    """Return the completions of the last word, by the shell that the script is for."""
    shell = script.suffix[1:]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    without_settings, lines = {"bash": ("--norc", in_bash), "fish": ("--no-config", in_fish)}[shell]
    command = [shell, without_settings, "-c", lines(script, ["cenote", *words])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=where)
    return {line.partition("\t")[0] for line in done.stdout.splitlines() if line}


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("emb", {"embed"}),
        ("embed --norm", {"--normalize"}),
        ("embed --on-", {"--on-truncate", "--on-error"}),
        ("embed --dtype fl", {"float32", "float16"}),
        ("embed minilm texts.txt --backend ", {"torch", "openvino", "onnx", "auto"}),
        ("embed --pooling la", {"lasttoken", "landmark"}),
        ("pool --pooling la", {"lasttoken", "landmark"}),
        ("pool minilm texts.txt --pooling wei", {"weightedmean"}),
        ("pool --dtype bf", {"bfloat16"}),
        ("compare minilm --poolings lan", {"landmark"}),
        ("evaluate minilm --long win", {"window-mean", "windows"}),
        ("audit minilm --only padd", {"padding"}),
        ("train minilm pairs.jsonl --splitter sen", {"sentence"}),
        ("info min", {"minilm"}),
        ("help emb", {"embed"}),
        ("completion fi", {"fish"}),
        ("pool minilm --limit 1", set()),
    ],
)
def test_verbs_options_and_names_complete(shell, words, found, scripts, tmp_path):
    assert completed(scripts[shell], *words.split(" "), where=tmp_path) == found


def test_every_option_of_every_verb_completes(scripts):
    for name, sub in parser().commands.items():
        options = {option for action in sub._actions for option in action.option_strings}
        assert completed(scripts["bash"], name, "-") == options


def test_the_verbs_are_those_of_the_help(scripts):
    assert completed(scripts["bash"], "") == set(COMMANDS)


def test_paths_complete_files_and_folders(scripts, tmp_path):
    (tmp_path / "texts.jsonl").touch()
    (tmp_path / "text-model").mkdir()
    for words in ("embed minilm te", "embed te", "embed minilm texts.jsonl -o te", "evaluate minilm --data te"):
        assert completed(scripts["bash"], *words.split(), where=tmp_path) == {"texts.jsonl", "text-model"}, words


def test_every_argument_is_of_a_kind_that_completes():
    """A metavar of a new argument belongs in one of these sets."""
    actions = chain.from_iterable(sub._actions for sub in parser().commands.values())
    unknown = {
        action.metavar or action.dest
        for action in actions
        if action.nargs != 0 and not hasattr(action.type, "names") and action.type is None
    }
    assert unknown - FREE - MODELS - PATHS == {"COMMAND", "device"}


def test_poolings_complete_by_their_names_everywhere():
    found = {
        (name, action.dest)
        for name, sub in parser().commands.items()
        for action in sub._actions
        if getattr(action.type, "names", None) == tuple(choices.POOLINGS)
    }
    named = {
        (name, action.dest)
        for name, sub in parser().commands.items()
        for action in sub._actions
        if "pooling" in action.dest
    }
    assert found == named


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_a_shell_reads_its_script(shell, scripts):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", scripts[shell]], check=True)


def test_a_misspelt_shell_gets_a_suggestion(capsys):
    with pytest.raises(SystemExit) as end:
        main(["completion", "bahs"])
    assert end.value.code == Exit.USAGE
    assert "unknown shell 'bahs'; did you mean 'bash'? There are: bash, zsh, fish." in capsys.readouterr().err
