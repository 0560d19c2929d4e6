"""The command line: parse, run one command, write.

Data goes to standard output, everything else to standard error. A user's mistake is one line and an exit code. Each
command is a module with `add_arguments`, `check` (errors that need no model, raised before heavy imports) and `run`.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
import warnings
from collections.abc import Collection, Sequence
from enum import IntEnum
from itertools import takewhile
from types import ModuleType
from typing import Any, NoReturn

from cenote import __version__
from cenote.commands.terminal import printable, say, show
from cenote.data.rows import lone_surrogate
from cenote.errors import CenoteError, CenoteWarning, UnknownName, Usage, choose


class Exit(IntEnum):
    """Exit codes."""

    SUCCESS = 0
    FAILURE = 1
    USAGE = 2
    INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """argparse with suggestions for misspelt options, and the parsers of all commands by name."""

    _given: Sequence[str] = ()

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.commands: dict[str, argparse.ArgumentParser] = {}

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Keep the arguments for `error`, and parse them."""
        self._given = list(args or ())
        return super().parse_known_args(args, namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help and errors, which may hold words of the command line."""
        out = file or sys.stderr
        super()._print_message(printable(message, getattr(out, "encoding", None) or "utf-8"), out)

    def error(self, message: str) -> NoReturn:
        # Suggest an option for each unknown one, also if the error is about a missing option.
        known = [option for option in self._option_string_actions if option.startswith("--")]
        written = [word.partition("=")[0] for word in takewhile("--".__ne__, self._given) if word.startswith("--")]
        near = {word: difflib.get_close_matches(word, known, n=1, cutoff=0.7) for word in written if word not in known}
        meant = "".join(f"; {word}: did you mean {found[0]}?" for word, found in near.items() if found)
        self.exit(Exit.USAGE, f"{self.prog}: error: {message}{meant}\nTry: {self.prog} --help\n")


# Each command by the name of its module, with the line that says what it does, in the order of the help.
COMMANDS = {
    "diagnose": "show how many sentences of your texts find their text, and how many the cut and pooling lose",
    "evaluate": "score a model on tasks of MTEB or on your own labelled data, by length and with intervals",
    "compare": "compare poolings, temperatures, limits and models on the same items, and say what the data can tell",
    "tune": "choose an attention temperature on one half of labelled data, and confirm it on the other",
    "train": "train an embedding model on pairs, with any pooling",
    "pairs": "draw pairs for training from plain text: weak supervision",
    "embed": "embed a corpus to Parquet: fast, resumable, every cut text counted",
    "search": "find the texts of an embedded corpus that are nearest to a question",
    "audit": "check whether a model is served as it was made: pass or fail, for CI",
    "parity": "compare a model with a server, or another model: the same vectors? If not, the likely cause",
    "temper": "save a model with an attention temperature",
    "info": "show what a model declares in its files, and where; no weights are read",
    "pool": "embed a few texts for a quick look, as JSON lines",
    "poolings": "list the pooling operators",
    "export": "write a model as an ONNX or OpenVINO graph, pooling included",
    "completion": "print a script that completes commands, options, names and files in a shell",
    "help": "show the help of a command",
}


def parser(wanted: Collection[str] = tuple(COMMANDS)) -> _Parser:
    """Return the parser of the whole command line; `docs/cli.md` is generated from it.

    Only the wanted commands get their arguments: the modules of others are not imported.
    """
    top = _Parser(
        prog="cenote",
        description="Measure what a search with an embedding model loses; compare, train, embed and check models.",
        epilog="Exit codes: 0 success, 1 failure, 2 usage, 130 interrupted.",
    )
    top.add_argument("--version", action="version", version=f"cenote {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for name, meaning in COMMANDS.items():
        description = f"{meaning[0].upper()}{meaning[1:]}."
        sub = commands.add_parser(name, help=meaning, description=description, allow_abbrev=False)
        # Errors point to the help of the command; `help` and `completion` show the whole program.
        sub.set_defaults(parser=sub, program=top)
        if name in wanted:
            _module(name).add_arguments(sub)
        top.commands[name] = sub
    return top


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"cenote.commands.{command}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code. argparse raises `SystemExit` for usage errors."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    top, args = parser(COMMANDS if "completion" in arguments else arguments), argparse.Namespace()
    if not arguments:
        top.print_help()
        return Exit.USAGE
    try:
        for word in arguments:
            if lone_surrogate(word):  # no result could be written that has this name
                raise Usage(f"the argument {word!a} is not UTF-8: rename the file, or write the argument in UTF-8.")
        if not arguments[0].startswith("-"):
            choose(arguments[0], COMMANDS, "command")
        args, rest = top.parse_known_args(arguments)
        if rest and hasattr(args, "more") and all(part == "-" or not part.startswith("-") for part in rest):
            _extend(args, rest)
            rest = []
        if rest:
            args.parser.error(f"unrecognized arguments: {' '.join(rest)}")
        with warnings.catch_warnings():
            warnings.simplefilter("default", CenoteWarning)
            warnings.showwarning = _show_warning
            command = _module(args.command)
            if hasattr(command, "check"):
                command.check(args)
            for line in command.run(args):
                _show(line)  # each line at once, since models are slow
    except CenoteError as error:
        say(f"error: {error}")
        return Exit.USAGE if isinstance(error, (UnknownName, Usage)) else Exit.FAILURE
    except KeyboardInterrupt:
        say("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader left, as in `cenote pool ... | head`
        return Exit.FAILURE if getattr(args, "failed", False) else Exit.SUCCESS
    except OSError as error:  # for example, a file of a model that may not be read; it is named
        say(f"error: {error}")
        return Exit.FAILURE
    return Exit.SUCCESS


def _show(line: str) -> None:
    """Print a line of a result; raise `CenoteError` for, say, a full disk behind a redirection."""
    try:
        show(line)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # keep Python from flushing to it again
        if isinstance(error, BrokenPipeError):
            raise
        raise CenoteError(f"cannot write: {error}") from error


def _extend(args: argparse.Namespace, rest: Sequence[str]) -> None:
    """Add names to the list that the command calls `more`: argparse ends a list at the first option."""
    found = getattr(args, args.more)
    before = found if isinstance(found, list) else [] if found is None else [found]
    action = next(one for one in args.parser._actions if one.dest == args.more)
    try:
        action(args.parser, args, [*map(str, before), *rest])
    except argparse.ArgumentError as error:
        args.parser.error(str(error))


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    label = "warning" if issubclass(category, CenoteWarning) else f"warning ({category.__name__})"
    say(f"{label}: {message}")
