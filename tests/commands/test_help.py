"""`cenote help`."""

import contextlib

import pytest

from cenote.cli import COMMANDS, Exit, main


def shown(arguments, capsys):
    """Return what is printed; argparse ends the process after --help."""
    with contextlib.suppress(SystemExit):
        main(arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_is_that_of_its_flag(command, capsys):
    assert shown(["help", command], capsys) == shown([command, "--help"], capsys)


def test_help_alone_is_that_of_the_program(capsys):
    assert shown(["help"], capsys) == shown(["--help"], capsys)


def test_an_unknown_command_gets_a_suggestion(capsys):
    assert main(["help", "embd"]) == Exit.USAGE
    assert capsys.readouterr().err.startswith(
        "cenote: error: unknown command 'embd'; did you mean 'embed'? There are: "
    )
