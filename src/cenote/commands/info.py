"""`cenote info`."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cenote.commands.arguments import add_common
from cenote.commands.terminal import in_columns, say
from cenote.models.declared import declared, find
from cenote.models.hub import configuration_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model", "--json")


def run(args: argparse.Namespace) -> Iterator[str]:
    """Print a line for each fact, or all as JSON."""
    facts = declared(_folder_of(args.model))
    if args.json:
        yield json.dumps(facts, indent=2)
        return
    width = max(map(len, facts))
    for name, fact in facts.items():
        source = f"  ({fact['from']})" if fact["from"] else ""
        yield in_columns(name, width, _in_words(fact["value"]) + source)


def _folder_of(model: str) -> str | Path:
    """Return a model's folder; of a model on the hub one with its configuration alone."""
    where, local = find(model)
    if local:
        return model
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # the files take no time worth a bar
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # retries
    folder = configuration_of(where)
    say(f"read the configuration of {where} at revision {folder.name[:8]}, and no weights.")
    return folder


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
