"""`cenote completion`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain

from cenote.commands.arguments import one_of
from cenote.models.declared import DEMO

SHELLS = ("bash", "zsh", "fish")

# What arguments without names of their own are, by their metavars: models, or files and folders.
MODELS = frozenset({"MODEL", "BACKBONE", "OTHER"})
PATHS = frozenset({"TEXTS", "CORPUS", "PAIRS", "DATA", "VECTORS", "PATH", "FILE", "FOLDER", "OUT", "PAGE"})

# In the terms of shtab: the demo model, and files and folders.
_MODELS = {
    "bash": "_cenote_models_and_files",
    "zsh": "_cenote_models_and_files",
    "fish": f"{DEMO} (__fish_complete_path (commandline -ct))",
    "preamble": {
        "bash": f'_cenote_models_and_files() {{ compgen -W {DEMO} -- "$1"; compgen -f -- "$1"; }}',
        "zsh": f"_cenote_models_and_files() {{ compadd {DEMO}; _files }}",
    },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("shell", type=one_of(SHELLS, "shell"), metavar="SHELL", help=f"one of {', '.join(SHELLS)}")
    parser.epilog = (
        "To switch it on, write into ~/.bashrc: `source <(cenote completion bash)`; into ~/.zshrc, after compinit: "
        '`eval "$(cenote completion zsh)"`; into ~/.config/fish/config.fish: `cenote completion fish | source`.'
    )


def run(args: argparse.Namespace) -> Iterator[str]:
    """Print the script."""
    import shtab

    commands = args.program.commands
    for action in chain.from_iterable(command._actions for command in commands.values()):
        if names := commands if action.metavar == "COMMAND" else getattr(action.type, "names", ()):
            action.choices = tuple(names)
        elif action.metavar in MODELS:
            action.complete = _MODELS
        elif action.metavar in PATHS:
            action.complete = shtab.FILE
    yield shtab.complete(args.program, args.shell)
