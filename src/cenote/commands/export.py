"""`cenote export`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from cenote.commands.shared import Usage, hush, note
from cenote.declarations import find
from cenote.errors import BadInput
from cenote.folders import refuse_taken

MEANING = "write a model as an ONNX or OpenVINO graph, pooling included"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub id, or minilm, the demo model")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="the folder to write, a new one")
    parser.add_argument("--format", choices=("onnx", "openvino"), required=True, help="what reads it afterwards")
    parser.add_argument(
        "--precision",
        choices=("float32", "float16"),
        default="float32",
        help="in what weights are stored; float16, with openvino, is half the size (default: float32)",
    )
    parser.add_argument("--pooling", metavar="NAME", help="see `cenote poolings`; default: the model's")
    parser.add_argument(
        "--task", choices=("query", "document"), help="for a model that treats them differently: which to write"
    )
    parser.add_argument("--trust-remote-code", action="store_true", help="run code that the model brings along")
    parser.add_argument("--json", action="store_true", help="say what was written as JSON")


def run(args: argparse.Namespace) -> Iterator[str]:
    """Write, compare, and say how near the graph is to the model."""
    if args.format == "onnx" and args.precision != "float32":
        raise Usage(f"--precision {args.precision} goes with --format openvino; onnx is written in float32.")
    if not args.output.strip():
        raise Usage("-o is empty: name a new folder.")
    find(args.model)
    _refuse_early(args.format, args.output)
    from cenote.exporting import export
    from cenote.loading import load

    hush()
    note(f"loading {args.model} ...")
    model = load(
        args.model,
        pooling=args.pooling,
        device="cpu",
        dtype="float32",
        trust_remote_code=args.trust_remote_code,
    )
    note("recording the graph, some seconds for a small model ...")
    made = export(model, args.format, args.output, precision=args.precision, task=args.task)
    if args.json:
        near = {"max_difference": made.difference, "min_cosine": made.cosine, "texts": made.texts}
        yield json.dumps({"output": made.folder, **near, "description": made.description}, ensure_ascii=False)
        return
    yield f"{made.folder}: {args.format} in {args.precision}, {made.description['dimensions']} dimensions"
    yield (
        f"  compared with the model on {made.texts} texts: largest difference {made.difference:.1e} of a vector's "
        f"length, smallest cosine {made.cosine:.7f}"
    )


def _refuse_early(format: str, output: str) -> None:
    """What needs no model to be seen."""
    from cenote.backends import missing

    if lost := missing(format):
        raise BadInput(f"--format {format}: {lost}.")
    refuse_taken(output)
