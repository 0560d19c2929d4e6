"""`cenote poolings`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from cenote.commands.terminal import in_columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON, with aliases and options")


def run(args: argparse.Namespace) -> Iterator[str]:
    """Print a line for each operator, or all as JSON."""
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
        yield in_columns(name, width, row.meaning + also)
