"""`cenote pairs`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from cenote.commands.arguments import add_common, count, list_of, load_model, natural, one_of
from cenote.commands.progress import progress
from cenote.commands.terminal import say, table
from cenote.errors import BadInput, Usage
from cenote.models.hub import refuse_missing
from cenote.training.mining import MinedPairs, check_negatives, check_output, mine_pairs
from cenote.training.ways import LEFT_OUT, WAYS, check_settings

# Options that belong to one way.
_OF_WAY = {"title_column": "title", "words": "spans", "keep": "sentence"}
_OF_NEGATIVES = ("range_min", "margin", "max_seq_length", "device", "trust_remote_code")
# Options of `mine_pairs` whose defaults are those of the function.
_OPTIONAL = (*_OF_WAY, "range_min", "margin")
# Pairs for each text, below which options that give more are named.
_FEW = 0.1
# The option that takes in what was left out, by the keys of `LEFT_OUT`.
_MORE = {
    "short_texts": "a smaller --min-words",
    "no_title": "another --title-column",
    "no_spans": "smaller --words",
    "no_sentence": "a smaller --min-words",
    "short_paragraphs": "a smaller --min-words",
    "few_negatives": "fewer --negatives or a smaller --margin",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "texts", metavar="CORPUS")
    add_common(
        parser, "-o, --output", metavar="FILE", help="file to write, which ends in .jsonl, .jsonl.gz or .parquet"
    )
    parser.add_argument(
        "--way",
        dest="ways",
        type=list_of(one_of(WAYS, "way")),
        default=["spans"],
        metavar="A,B",
        help="title: a title and its text; spans: two spans of a text; sentence: a sentence and its paragraph "
        "(default: spans)",
    )
    add_common(parser, "--columns, --column", "--id-column")
    parser.add_argument("--title-column", metavar="NAME", help="column of the title (default: title)")
    parser.add_argument(
        "--words", type=list_of(count), metavar="A,B", help="fewest and most words of a span (default: 16,64)"
    )
    parser.add_argument(
        "--keep",
        type=float,
        metavar="SHARE",
        help="share of the sentences that stay in their paragraph (default: 0.1)",
    )
    parser.add_argument(
        "--per-text", type=count, default=1, metavar="N", help="pairs of each text and way, at most (default: 1)"
    )
    parser.add_argument(
        "--min-words", type=count, default=10, metavar="N", help="leave out texts of fewer words (default: 10)"
    )
    parser.add_argument("--limit", type=count, metavar="N", help="pairs in all, the first of the corpus")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="seed of all draws (default: 0)")
    group = parser.add_argument_group("hard negatives")
    group.add_argument(
        "--negatives", type=count, metavar="N", help="negatives of each pair; pairs with fewer are left out"
    )
    group.add_argument("--model", metavar="MODEL", help="ranks the candidates: a folder, a hub id, or minilm")
    group.add_argument(
        "--range-min", type=natural, metavar="N", help="nearest candidates that are passed over (default: 0)"
    )
    group.add_argument(
        "--margin",
        type=float,
        metavar="SHARE",
        help="how far below the similarity of the positive a negative has to be, as a share of it (default: 0.05)",
    )
    add_common(group, "--max-seq-length", "--device", "--trust-remote-code")
    add_common(parser, "--json", help="print the counts as JSON")


def check(args: argparse.Namespace) -> None:
    """Raise for wrong arguments, before anything is read."""
    for option, way in _OF_WAY.items():
        if getattr(args, option) is not None and way not in args.ways:
            raise Usage(f"{_flag(option)} is for pairs by {way}: add --way {way}, or leave it out.")
    for option in _OF_NEGATIVES:
        value = getattr(args, option)
        if args.negatives is None and value is not None and value is not False:
            raise Usage(f"{_flag(option)} is for hard negatives: add --negatives and --model, or leave it out.")
    given = _given(args)
    try:
        check_settings(
            args.ways, given.get("words", (1, 1)), given.get("keep", 0.0), args.per_text, args.min_words, args.seed
        )
        check_negatives(args.negatives, args.model, given.get("range_min", 0), given.get("margin", 0.0))
    except BadInput as error:
        raise Usage(str(error)) from error
    check_output(args.output, args.texts)
    if args.model is not None:
        refuse_missing(args.model)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Write the pairs, and yield counts."""
    with progress() as tell:
        found = mine_pairs(
            args.texts,
            args.ways,
            output=args.output,
            columns=args.columns,
            id_column=args.id_column,
            per_text=args.per_text,
            min_words=args.min_words,
            limit=args.limit,
            negatives=args.negatives,
            model=args.model,
            seed=args.seed,
            progress=tell,
            notify=say,
            loader=partial(load_model, args),
            **_given(args),
        )
    if args.json:
        yield json.dumps({"output": found.output, "ways": found.ways, "counts": found.counts}, ensure_ascii=False)
        return
    yield from lines_of(found)


def lines_of(found: MinedPairs) -> Iterator[str]:
    """Yield a row for each count that is not zero, the options that give more where pairs are few, and the file."""
    counts = found.counts
    left_out = [(f"{noun}s {why}", f"{counts[name]:,}") for name, (noun, why) in LEFT_OUT.items() if counts[name]]
    yield from table([("pairs", f"{counts['pairs']:,}"), ("texts read", f"{counts['texts']:,}"), *left_out])
    if counts["pairs"] < _FEW * counts["texts"] and (options := _options_for_more(found)):
        yield f"few pairs for {counts['texts']:,} texts: more come of {' or '.join(options)}"
    yield f"pairs: {found.output}"


def _options_for_more(found: MinedPairs) -> list[str]:
    """Return the options that give more pairs, in words."""
    several = "a larger --per-text" if set(found.ways) - {"title"} else ""
    others = "another --way" if set(WAYS) - set(found.ways) else ""
    taken_in = dict.fromkeys(option for name, option in _MORE.items() if found.counts[name])
    return [option for option in (*taken_in, several, others) if option]


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options that the command line sets."""
    return {name: value for name in _OPTIONAL if (value := getattr(args, name)) is not None}


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
