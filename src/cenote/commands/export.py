"""`cenote export`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from cenote.choices import GRAPH_FORMATS, GRAPH_PRECISIONS
from cenote.commands.arguments import add_common, check_new_folder, check_packages, load_model, one_of
from cenote.commands.terminal import note
from cenote.errors import Usage
from cenote.models.hub import refuse_missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model", "-o, --output")
    parser.add_argument(
        "--format", type=one_of(GRAPH_FORMATS, "format"), required=True, help="format of the graph: onnx or openvino"
    )
    parser.add_argument(
        "--precision",
        type=one_of(GRAPH_PRECISIONS, "precision"),
        default="float32",
        help="precision of the stored weights: float32 (default); with openvino also float16, half the size, and int8, "
        "smaller still, and faster where the CPU multiplies integers",
    )
    add_common(parser, "--pooling", "--task", "--trust-remote-code", "--json")


def check(args: argparse.Namespace) -> None:
    """Raise for errors that need no model."""
    if args.format == "onnx" and args.precision != "float32":
        raise Usage(f"--precision {args.precision} needs --format openvino; onnx is written in float32.")
    check_new_folder(args.output)
    check_packages(f"--format {args.format}", args.format)
    refuse_missing(args.model)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Write the graph, and print how far it is from the model."""
    from cenote.exporting import export

    note(f"loading {args.model} ...")
    model = load_model(args, args.model, device="cpu", dtype="float32")
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
