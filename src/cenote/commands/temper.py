"""`cenote temper`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from cenote.commands.shared import Usage, add_model, hush, make_folder
from cenote.declarations import BAKED_IN_CONFIG, find
from cenote.errors import CenoteError

MEANING = "save a model with an attention temperature"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_model(parser)
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="the folder to write, a new one")
    parser.add_argument("--temperature", metavar="TAU", help="a number: divides the attention logits, in the weights")
    parser.add_argument(
        "--schedule",
        metavar="NAME:A=1,B=2",
        help="by length, kept as configuration: linear:start=1,end=0.8,shortest=32,longest=256, "
        "power:scale=1,exponent=-0.05, log:s=0.3, or constant:value=0.8, which is --temperature 0.8",
    )
    parser.add_argument("--query", metavar="TAU", help="of queries: a number, or a schedule as above")
    parser.add_argument("--document", metavar="TAU", help="of documents and all else, likewise")
    parser.add_argument("--json", action="store_true", help="say what was written as JSON")


def run(args: argparse.Namespace) -> Iterator[str]:
    """Bake or configure, save, and say which."""
    try:
        temperature = _temperature(args)
    except CenoteError as error:
        raise Usage(str(error)) from error
    find(args.model)
    folder = make_folder(args.output)
    try:
        stored, was = _save(args, temperature)
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()  # nothing came of it
        raise
    from cenote.functional.temperature import describe, to_json

    if args.json:
        yield json.dumps({"output": args.output, "temperature": to_json(temperature), "stored": stored, "was": was})
        return
    yield f"{args.output}: temperature {describe(temperature)}, {stored}"
    yield from (f"  {note}" for note in was)


def _save(args: argparse.Namespace, temperature: Any) -> tuple[str, list[str]]:
    """Where the temperature went, and what became of the model's own."""
    from cenote.functional.temperature import describe
    from cenote.loading import load
    from cenote.surgery.attention import networks_of
    from cenote.surgery.hooks import settings_on
    from cenote.surgery.tempering import bake, temper

    hush()
    model = load(args.model, device=args.device, trust_remote_code=args.trust_remote_code)
    config = networks_of(model)[0][0].config
    was = [
        f"instead of {describe(setting.temperature)}, which it had as configuration" for setting in settings_on(model)
    ]
    if (in_weights := getattr(config, BAKED_IN_CONFIG, None)) is not None:
        was.append(f"on top of {in_weights:g}, which its weights had already: the two multiply")
    if baked := isinstance(temperature, float):
        model = bake(model, temperature)
    else:
        temper(model, temperature)
    model.save(args.output)
    return "in the weights" if baked else "as configuration, for cenote.load", was


def _temperature(args: argparse.Namespace) -> Any:
    """What the options say, all together."""
    from cenote.functional.temperature import ROLES, check_temperature

    given = [name for name in ("temperature", "schedule", *ROLES) if getattr(args, name) is not None]
    if given == ["temperature"]:
        return check_temperature(_number(args.temperature, "--temperature"))
    if given == ["schedule"]:
        return check_temperature(_schedule(args.schedule, "--schedule"))
    if not given or set(given) - set(ROLES):
        said = f" Given: {', '.join(f'--{name}' for name in given)}." if given else ""
        raise Usage(f"name one of --temperature, --schedule, or --query with --document.{said}")
    texts = {role: getattr(args, role) for role in given}
    either = {role: (_schedule if ":" in text else _number)(text, f"--{role}") for role, text in texts.items()}
    return check_temperature(either)


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        also = ", or a schedule such as log:s=0.3" if option in ("--query", "--document") else ""
        by_length = " (for one by length, --schedule)" if ":" in text and not also else ""
        raise Usage(f"{option} {text!r} is no number{by_length}: give one, such as 0.8{also}.") from None


def _schedule(text: str, option: str) -> Any:
    """A schedule from `linear:start=1,end=0.8,shortest=32,longest=256`."""
    from cenote.errors import choose
    from cenote.functional.temperature import SCHEDULES, LengthTemperature

    name, _, rest = text.partition(":")
    takes = choose(name, SCHEDULES, f"schedule in {option}").parameters
    parameters: dict[str, float] = {}
    for item in rest.split(",") if rest else []:
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or key not in takes or key in parameters:
            problem = "is given twice" if key in parameters else "is not what it takes"
            raise Usage(f"{option} {text!r}: {item!r} {problem}; {name} takes {', '.join(takes)}, as NAME=NUMBER.")
        parameters[key] = _number(value, f"{option}, {key}:")
    if missing := [key for key in takes if key not in parameters]:
        raise Usage(f"{option} {text!r}: {name} needs {', '.join(missing)} too, as in {name}:{missing[0]}=NUMBER.")
    return LengthTemperature(name, **parameters)
