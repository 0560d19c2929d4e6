"""`cenote info`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from cenote.commands.arguments import add_common
from cenote.commands.terminal import in_columns
from cenote.models.declared import DEMO, declared

MEANING = "show what a model folder declares, and where"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model", help=f"a folder, or {DEMO}, the demo model")  # it does not ask the hub
    add_common(parser, "--json")


def run(args: argparse.Namespace) -> Iterator[str]:
    """Print a line for each fact, or all as JSON."""
    facts = declared(args.model)
    if args.json:
        yield json.dumps(facts, indent=2)
        return
    width = max(map(len, facts))
    for name, fact in facts.items():
        source = f"  ({fact['from']})" if fact["from"] else ""
        yield in_columns(name, width, _in_words(fact["value"]) + source)


def _in_words(value: Any) -> str:
    """Return plain data without brackets."""
    if value is None:
        return "not declared"
    if isinstance(value, dict) and "schedule" in value:
        rest = ", ".join(f"{key}={_in_words(part)}" for key, part in value.items() if key != "schedule")
        return f"{value['schedule']}({rest})"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_in_words(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"
