"""`cenote temper`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cenote._nn.config_keys import BAKED_IN_CONFIG
from cenote.choices import SCHEDULES, TASKS
from cenote.commands.arguments import add_common, check_new_folder, load_model
from cenote.errors import CenoteError, Usage, choose
from cenote.models.hub import refuse_missing
from cenote.storage import new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model", "-o, --output")
    parser.add_argument("--temperature", metavar="TAU", help="number that divides the attention logits, in the weights")
    parser.add_argument(
        "--schedule",
        metavar="NAME:A=1,B=2",
        help="temperature by length, kept as configuration: linear:start=1,end=0.8,shortest=32,longest=256, "
        "power:scale=1,exponent=-0.05, log:s=0.3, or constant:value=0.8, which is --temperature 0.8",
    )
    parser.add_argument("--query", metavar="TAU", help="temperature of queries: a number or a schedule")
    parser.add_argument("--document", metavar="TAU", help="temperature of documents and other texts, likewise")
    add_common(parser, "--device", "--trust-remote-code", "--json")


def check(args: argparse.Namespace) -> None:
    """Raise for errors that need no model, and parse the temperature."""
    given = {name: text for name in ("temperature", "schedule", *TASKS) if (text := getattr(args, name)) is not None}
    if list(given) not in (["temperature"], ["schedule"], list(TASKS)):
        named = f" Given: {', '.join(f'--{name}' for name in given)}." if given else ""
        raise Usage(f"give one of --temperature, --schedule, or --query with --document.{named}")
    args.parsed = {name: _parse(text, name) for name, text in given.items()}
    check_new_folder(args.output)
    refuse_missing(args.model)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Save the model with the temperature, and print where it is kept."""
    from cenote.functional.temperature import describe, to_json

    temperature = _temperature(args.parsed)
    model, stored, notes = _tempered(args, temperature)
    with new_folder(Path(args.output)) as folder:
        model.save(str(folder))
    if args.json:
        yield json.dumps({"output": args.output, "temperature": to_json(temperature), "stored": stored, "was": notes})
        return
    yield f"{args.output}: temperature {describe(temperature)}, {stored}"
    yield from (f"  {note}" for note in notes)


def _tempered(args: argparse.Namespace, temperature: Any) -> tuple[Any, str, list[str]]:
    """Return the model, where its temperature is kept, and notes on the temperatures that it had."""
    from cenote.functional.temperature import describe
    from cenote.surgery.attention import networks_of
    from cenote.surgery.hooks import current_setting
    from cenote.surgery.tempering import bake, temper

    model = load_model(args, args.model)
    config = networks_of(model)[0][0].config
    setting = current_setting(model)
    notes = [] if setting is None else [f"replaces {describe(setting.temperature)}, from the configuration"]
    if (in_weights := getattr(config, BAKED_IN_CONFIG, None)) is not None:
        notes.append(f"multiplies {in_weights:g}, which is in the weights already")
    if baked := isinstance(temperature, float):
        model = bake(model, temperature)
    else:
        temper(model, temperature)
    return model, "in the weights" if baked else "as configuration, for cenote.load", notes


def _temperature(parsed: dict[str, Any]) -> Any:
    from cenote.functional.temperature import LengthTemperature, check_temperature

    try:
        values = {
            name: value if isinstance(value, float) else LengthTemperature(value[0], **value[1])
            for name, value in parsed.items()
        }
        return check_temperature(values if len(values) > 1 else next(iter(values.values())))
    except CenoteError as error:
        raise Usage(str(error)) from error


def _parse(text: str, name: str) -> float | tuple[str, dict[str, float]]:
    """Parse a number or a schedule; `name` is the option, of which --query and --document take both."""
    if name == "schedule" or (name in TASKS and ":" in text):
        return _schedule(text, f"--{name}")
    number = _parse_number(text)
    if 0 < number < math.inf:
        return number
    also = ", or a schedule such as log:s=0.3" if name in TASKS else ""
    by_length = " (for a temperature by length, use --schedule)" if ":" in text else ""
    raise Usage(f"--{name} {text!r} is not a positive, finite number{by_length}: give one, such as 0.8{also}.")


def _parse_number(text: str) -> float:
    """Return a number, NaN for any other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _schedule(text: str, option: str) -> tuple[str, dict[str, float]]:
    """Parse a schedule such as `linear:start=1,end=0.8,shortest=32,longest=256`."""
    name, _, rest = text.partition(":")
    parameters = choose(name, SCHEDULES, f"schedule in {option}")
    values: dict[str, float] = {}
    for item in rest.split(",") if rest else []:
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or key not in parameters or key in values:
            problem = "is repeated" if key in values else "is not a parameter"
            raise Usage(f"{option} {text!r}: {item!r} {problem}; {name} takes {', '.join(parameters)}, as NAME=NUMBER.")
        values[key] = _parse_number(value)
        if not math.isfinite(values[key]):
            raise Usage(f"{option} {text!r}: {key}={value!r} is not a finite number.")
    if missing := [key for key in parameters if key not in values]:
        raise Usage(f"{option} {text!r}: {name} also needs {', '.join(missing)}, as in {name}:{missing[0]}=NUMBER.")
    return name, values
