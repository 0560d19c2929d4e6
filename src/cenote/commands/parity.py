"""`cenote parity`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from cenote.auditing.endpoint_addresses import is_address, shown
from cenote.commands.arguments import (
    add_common,
    check_prompts,
    check_texts,
    count,
    load_model,
    natural,
    positive,
)
from cenote.commands.outputs import check_outputs, deliver
from cenote.commands.progress import progress
from cenote.commands.terminal import in_columns, say, table
from cenote.data.texts import name_of, read
from cenote.errors import CenoteError, Usage
from cenote.models.hub import refuse_missing
from cenote.parity_records import LEAST, Parity
from cenote.wording import percent, pluralise

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model")
    parser.add_argument(
        "other",
        metavar="OTHER",
        help="the address of a server, such as http://localhost:8080 (OpenAI's /v1/embeddings or TEI's /embed), or "
        "another model",
    )
    add_common(parser, "texts", nargs="*")
    parser.set_defaults(more="texts")
    parser.add_argument("--served-model", metavar="NAME", help="the model to ask the server for, if it has several")
    parser.add_argument(
        "--key-variable", metavar="NAME", help="environment variable that holds the server's key, which is never shown"
    )
    parser.add_argument("--prompt", metavar="NAME", help="name of the model's prompt to put before every text")
    parser.add_argument(
        "--least", type=positive, default=LEAST, metavar="X", help=f"least cosine of an agreement (default: {LEAST})"
    )
    parser.add_argument("--ignore-norms", action="store_true", help="accept vectors of another norm")
    parser.add_argument("--batch-size", type=count, default=32, metavar="N", help="texts of a request (default: 32)")
    parser.add_argument(
        "--concurrency", type=count, default=8, metavar="N", help="requests sent at once in one check (default: 8)"
    )
    parser.add_argument("--sample", type=count, metavar="N", help="texts to compare at most (default: 200; quick: 60)")
    parser.add_argument("--quick", action="store_true", help="compare fewer texts")
    parser.add_argument(
        "--timeout", type=positive, default=60.0, metavar="S", help="seconds to wait for an answer (default: 60)"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write a page (.html) or Markdown (.md)")
    parser.add_argument("--json", metavar="FILE", help="write all figures as JSON; - for standard output")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="seed of the sample (default: 0)")
    add_common(
        parser,
        "--columns, --column",
        "--id-column",
        "--pooling",
        "--max-seq-length",
        "--device",
        "--trust-remote-code",
    )


def check(args: argparse.Namespace) -> None:
    """Raise for errors that need no model; the server is asked here, before anything heavy is imported."""
    if is_address(args.model):
        raise Usage(f"{shown(args.model)!r} is the address of a server: name the local model first, then the server.")
    if not args.least < 1:
        raise Usage(f"--least {args.least:g}: give a cosine below 1, such as {LEAST}.")
    served = is_address(args.other)
    if not served and (args.served_model or args.key_variable):
        raise Usage(f"--served-model and --key-variable are for a server, and {args.other!r} is a local model.")
    check_outputs(args, Parity.PAGES, (args.texts,))
    if args.texts is not None:
        check_texts(args, args.texts)
    check_prompts(args.model, args.prompt)
    refuse_missing(args.model)
    if not served:
        check_prompts(args.other, args.prompt)
        refuse_missing(args.other)
        return
    from cenote.auditing.endpoint import connect
    from cenote.auditing.endpoint_requests import LONGEST_TIMEOUT

    if args.timeout > LONGEST_TIMEOUT:
        raise Usage(f"--timeout {args.timeout:g}: give at most {LONGEST_TIMEOUT:,.0f} seconds (a day).")
    args.other = connect(
        args.other,
        served_model=args.served_model,
        key_variable=args.key_variable,
        timeout=args.timeout,
        notify=say,
    )


def run(args: argparse.Namespace) -> Iterator[str]:
    """Compare, write the files, print the answer, and fail if the sides do not agree."""
    from cenote.auditing.parity import parity
    from cenote.models.loading import load

    # How a model is read is said of the left side, which is loaded first; the other one has its own settings.
    other = partial(load, device=args.device, trust_remote_code=args.trust_remote_code)
    loaders = iter((partial(load_model, args), other))

    def loader(model: str) -> SentenceTransformer:
        return next(loaders)(model)

    texts = None if args.texts is None else read(args.texts, columns=args.columns, id_column=args.id_column)
    with progress() as tell:
        found = parity(
            args.model,
            args.other,
            texts,
            prompt_name=args.prompt,
            least=args.least,
            ignore_norms=args.ignore_norms,
            batch_size=args.batch_size,
            concurrency=args.concurrency,
            sample=args.sample,
            quick=args.quick,
            seed=args.seed,
            source=name_of(args.texts),
            progress=tell,
            notify=say,
            loader=loader,
        )
    args.failed = not found.agrees  # the exit code, also if the reader of the lines leaves
    yield from deliver(args, found, lines_of)
    if args.failed:
        raise CenoteError(f"the vectors of {found.left.name} and {found.right.name} do not agree.")


def lines_of(found: Parity) -> Iterator[str]:
    """Yield the answer, the cause and what to do, then the figures."""
    yield f"{found.left.name} and {found.right.name} on {pluralise(found.compared, 'text')}"
    yield "agrees" if found.agrees else "does not agree"
    for one in found.findings:
        yield in_columns("cause", 8, one.finding)
        yield in_columns("remedy", 8, one.remedy)
    yield ""
    yield from table(list(_figures(found)))
    if found.by_length and found.least_cosine is not None and found.least_cosine < found.threshold:
        yield ""
        rows = [("tokens", "texts", "least cosine", "differ")]
        for part in found.by_length:
            tokens = f"{part.low:,} or more" if part.high is None else f"{part.low:,} to {part.high - 1:,}"
            rows.append((tokens, f"{part.texts:,}", f"{part.least:.6f}", f"{part.differ:,}"))
        yield from table(rows)
        yield ""
        yield from table(
            [
                ("worst", "cosine", "tokens", "text"),
                *((one.id, f"{one.cosine:.4f}", f"{one.tokens:,}", _short(one.text)) for one in found.worst[:5]),
            ]
        )
    yield from found.notes


def _figures(found: Parity) -> Iterator[tuple[str, str]]:
    """Yield names and figures."""
    if found.least_cosine is not None and found.mean_cosine is not None and found.close is not None:
        yield "least cosine", f"{found.least_cosine:.6f} (threshold {found.threshold:g})"
        yield "mean cosine", f"{found.mean_cosine:.6f}"
        yield f"at least {LEAST}", percent(found.close)
    else:
        yield "dimensions", f"{found.left.dimensions} and {found.right.dimensions}"
    if found.neighbours is not None:
        yield "same ten nearest", percent(found.neighbours.value)
    if found.norm_ratio is not None:
        low, _, high = found.norm_ratio
        yield "norms, right over left", f"{low:.4f} to {high:.4f}"
    for way in found.ways:
        least = "no answer" if way.least is None else f"least cosine with its first answers {way.least:.6f}"
        yield way.name, least


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
