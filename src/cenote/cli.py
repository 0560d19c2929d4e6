"""The command line: parse, call one function, write.

Data goes to standard output, everything else to standard error. A user's mistake is one line and an exit code;
a traceback is only ever ours. Nothing heavy is imported before it is needed: `cenote --help` is quick.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cenote import __version__
from cenote.errors import BadInput, CenoteError, CenoteWarning, UnknownName, choose

if TYPE_CHECKING:
    from cenote.texts import Text


class Exit(IntEnum):
    """What the process says when it ends."""

    SUCCESS = 0
    FAILURE = 1
    USAGE = 2
    INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """argparse, with our way of saying what was meant."""

    def error(self, message: str) -> NoReturn:
        self.exit(Exit.USAGE, f"{self.prog}: error: {message}\nTry: {self.prog} --help\n")


def _poolings(args: argparse.Namespace) -> Iterator[str]:
    from cenote.functional.pooling import POOLINGS

    if args.json:
        yield json.dumps(
            [
                {"name": name, "aliases": row.aliases, "options": row.options, "meaning": row.meaning}
                for name, row in POOLINGS.items()
            ],
            indent=2,
        )
        return
    width = max(map(len, POOLINGS))
    for name, row in POOLINGS.items():
        also = f" (also {', '.join(row.aliases)})" if row.aliases else ""
        yield f"{name:<{width}}  {row.meaning}{also}"


def _pool(args: argparse.Namespace) -> Iterator[str]:
    from cenote.texts import read

    texts = read(args.texts, column=args.column, id_column=args.id_column)
    _note(f"loading {args.model} ...")
    if args.pooling:
        from cenote.functional.pooling import canonical

        canonical(args.pooling)  # a misspelt name is told before seconds of loading
    from cenote.loading import load

    _hush()
    model = load(
        args.model,
        pooling=args.pooling,
        interval=args.interval,
        max_seq_length=args.max_seq_length,
        device=args.device,
        dtype=args.dtype,
        trust_remote_code=args.trust_remote_code,
    )
    seen = cut = 0
    for batch in _batches(islice(texts, args.limit), 32):
        words = [text.text for text in batch]
        try:
            vectors = model.encode(words, convert_to_tensor=True, show_progress_bar=False).float().cpu().numpy()
        except RuntimeError as error:  # out of memory, above all
            raise CenoteError(f"the model failed at texts {batch[0].id} to {batch[-1].id}: {error}") from error
        seen += len(batch)
        cut += sum(_is_cut(model, text) for text in words)
        for text, vector in zip(batch, vectors, strict=True):
            # str() of a float32 is the shortest that reads back as the same number.
            yield json.dumps({"id": text.id, "embedding": [float(str(value)) for value in vector]})

    if cut:
        print(
            f"cenote: warning: {cut} of {seen} texts were cut at the model's {model.max_seq_length} tokens: "
            "their ends are not in the vectors.",
            file=sys.stderr,
        )


def _is_cut(model: Any, text: str) -> bool:
    """Whether the model reads less than the whole text; one of few characters cannot be too long."""
    most = model.max_seq_length
    if not most or len(text) < most:
        return False
    whole: int = model.preprocess([text], max_length=10**6)["input_ids"].shape[-1]
    return bool(whole > most)


def _note(text: str) -> None:
    """What keeps a person waiting, told to a person only."""
    if sys.stderr.isatty():
        print(f"cenote: {text}", file=sys.stderr)


def _hush() -> None:
    """Keep the libraries beneath from talking over us."""
    import logging

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # of reading weights, which takes no time worth a bar
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # whose retries are many lines of noise


def _temper(args: argparse.Namespace) -> Iterator[str]:
    temperature = _temperature(args)
    if (out := Path(args.output)).exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise BadInput(f"{args.output!r} is there already: name a new folder.")
    from cenote.functional.temperature import to_json
    from cenote.loading import load
    from cenote.surgery.tempering import bake, temper

    _hush()
    model = load(args.model, device=args.device, trust_remote_code=args.trust_remote_code)
    baked = isinstance(temperature, float)
    if baked:
        model = bake(model, temperature)
    else:
        temper(model, temperature)
    model.save(args.output)
    how = "in the weights" if baked else "as configuration, for cenote.load"
    result = {"output": args.output, "temperature": to_json(temperature), "stored": how}
    yield json.dumps(result) if args.json else f"{args.output}: temperature {json.dumps(result['temperature'])}, {how}"


def _temperature(args: argparse.Namespace) -> Any:
    """What the options of `cenote temper` say, all together."""
    from cenote.functional.temperature import ROLES, check_temperature

    given = {role: getattr(args, role) for role in ROLES if getattr(args, role) is not None}
    single = [text for text in (args.temperature, args.schedule) if text is not None]
    if len(single) + bool(given) != 1:
        raise BadInput("name one of --temperature, --schedule, or --query with --document.")
    return check_temperature({role: _parsed(text) for role, text in given.items()} if given else _parsed(single[0]))


def _parsed(text: str) -> Any:
    """A number, or a schedule as `linear:start=1,end=0.8,shortest=32,longest=256`."""
    from cenote.functional.temperature import LengthTemperature

    name, colon, rest = text.partition(":")
    try:
        if not colon:
            return float(text)
        pairs = (item.partition("=") for item in rest.split(","))
        parameters = {key.strip(): float(value) for key, _, value in pairs}
    except ValueError:
        raise BadInput(f"{text!r} is neither a number nor a schedule such as power:scale=1,exponent=-0.05.") from None
    return LengthTemperature(name, **parameters)


def _info(args: argparse.Namespace) -> Iterator[str]:
    from cenote.declarations import declared

    facts = declared(args.model)
    if args.json:
        yield json.dumps(facts, indent=2)
        return
    width = max(map(len, facts))
    for name, fact in facts.items():
        value = fact["value"]
        shown = value if isinstance(value, str) else "not declared" if value is None else json.dumps(value)
        yield f"{name:<{width}}  {shown}" + (f"  ({fact['from']})" if fact["from"] else "")


def _batches(texts: Iterable[Text], size: int) -> Iterator[list[Text]]:
    """Lists of `size`; a stream that breaks gives what came before, and then its error."""
    batch: list[Text] = []
    try:
        for text in texts:
            batch.append(text)
            if len(batch) == size:
                yield batch
                batch = []
    except CenoteError:
        yield from [batch] if batch else []
        raise
    yield from [batch] if batch else []


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


_count.__name__ = "whole number"  # argparse names the type in its message


def _add_poolings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, with aliases and options")


def _add_model(parser: argparse.ArgumentParser) -> None:
    """What every command that loads a model takes."""
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub id, or minilm, the demo model")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps ...; default: the best there is")
    parser.add_argument("--trust-remote-code", action="store_true", help="run code that the model brings along")


def _add_pool(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument(
        "texts",
        metavar="TEXTS",
        help="a .txt (a text per line), .jsonl, .csv, .tsv or .parquet file, gzip'd or not; a folder of text files; "
        "or - for standard input, a text per line",
    )
    parser.add_argument(
        "--pooling", metavar="NAME", help="see `cenote poolings`; A,B concatenates; default: the model's"
    )
    parser.add_argument(
        "--interval", type=_count, metavar="K", help="tokens per chunk, for landmark, multi_cls, every_k"
    )
    parser.add_argument("--column", default="text", help="where the text is, in files with columns (default: text)")
    parser.add_argument(
        "--id-column", metavar="NAME", help="where the id is (default: id if there is one, else row numbers)"
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="stop after N texts")
    parser.add_argument(
        "--max-seq-length", type=_count, metavar="N", help="cut texts after N tokens; default: the model's"
    )
    parser.add_argument("--dtype", help="float32, bfloat16, float16 or auto (as saved)")
    parser.add_argument(
        "--json", action="store_true", help="JSON lines: the only form there is, accepted for uniformity"
    )


def _add_temper(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="the folder to write, a new one")
    parser.add_argument("--temperature", metavar="TAU", help="a number: divides the attention logits, in the weights")
    parser.add_argument(
        "--schedule",
        metavar="NAME:A=1,B=2",
        help="by length: constant, linear, power or log with its parameters, such as "
        "linear:start=1,end=0.8,shortest=32,longest=256",
    )
    parser.add_argument("--query", metavar="TAU", help="of queries: a number, or a schedule as above")
    parser.add_argument("--document", metavar="TAU", help="of documents and all else, likewise")
    parser.add_argument("--json", action="store_true", help="say what was written as JSON")


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a folder, or minilm, the demo model")
    parser.add_argument("--json", action="store_true", help="as JSON")


# One line a command: what it does, its arguments, and the function that yields the lines it prints.
Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], Iterator[str]]]
COMMANDS: dict[str, Command] = {
    "poolings": ("list the pooling operators", _add_poolings, _poolings),
    "temper": ("save a model with an attention temperature", _add_temper, _temper),
    "info": ("show what a model folder declares, and where", _add_info, _info),
    "pool": ("embed a few texts for a quick look, as JSON lines", _add_pool, _pool),
}


def parser() -> argparse.ArgumentParser:
    """The whole command line; `docs/cli.md` is generated from it."""
    top = _Parser(
        prog="cenote",
        description="Pooling in text-embedding models: how it works, how it collapses, and what to do about it.",
        epilog="Exit codes: 0 success, 1 failure, 2 usage, 130 interrupted.",
    )
    top.add_argument("--version", action="version", version=f"cenote {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for name, (meaning, add_arguments, _) in COMMANDS.items():
        sub = commands.add_parser(name, help=meaning, description=meaning[0].upper() + meaning[1:] + ".")
        add_arguments(sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is returned, `SystemExit` is argparse's own."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    top = parser()
    if not arguments:
        top.print_help()
        return Exit.USAGE
    try:
        if not arguments[0].startswith("-"):
            choose(arguments[0], COMMANDS, "command")
        args = top.parse_args(arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("default", CenoteWarning)
            warnings.showwarning = _show_warning
            for line in COMMANDS[args.command][2](args):
                print(line, flush=True)  # a slow model's reader should not wait for a full buffer
    except CenoteError as error:
        print(f"cenote: error: {error}", file=sys.stderr)
        return Exit.USAGE if isinstance(error, UnknownName) else Exit.FAILURE
    except KeyboardInterrupt:
        print("cenote: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough, as in `cenote pool ... | head`; keep Python from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.SUCCESS
    except OSError as error:  # a full disk behind a redirection, say
        print(f"cenote: error: cannot write: {error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILURE
    return Exit.SUCCESS


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    label = "warning" if issubclass(category, CenoteWarning) else f"warning ({category.__name__})"
    print(f"cenote: {label}: {message}", file=sys.stderr)
