"""`cenote help`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from cenote.errors import choose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("about", nargs="?", metavar="COMMAND", help="name of the command (default: list all)")


def run(args: argparse.Namespace) -> Iterator[str]:
    """Print the text of `cenote COMMAND --help`, or that of `cenote --help`."""
    program = args.program
    chosen = program if args.about is None else choose(args.about, program.commands, "command")
    yield chosen.format_help().removesuffix("\n")  # each line that a command yields is ended
