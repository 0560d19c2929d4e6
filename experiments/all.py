"""Every experiment on the claims of the sources, and one page of their figures.

    python -m experiments.all --quick -o build/experiments
    python -m experiments.all --model minilm --model FOLDER --only length-cosine

Without `-o` the JSON and SVG files of docs/results/experiments are written, of which docs/claims.md is made.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from experiments.lab import RESULTS, Experiment, run

# In the order of the page.
MODULES = (
    "length.accuracy",
    "length.projection",
    "length.cosine",
    "length.powers",
    "length.layers",
    "length.words",
    "length.maps",
    "length.sigma",
    "length.corollary",
    "length.table",
    "length.roles",
    "length.queries",
    "length.ranks",
    "length.by_length",
    "length.repeated",
)


def experiments() -> list[Experiment]:
    """Return every experiment."""
    return [importlib.import_module(f"experiments.{name}").EXPERIMENT for name in MODULES]


def main() -> None:
    """Run the experiments and write index.html."""
    known = {one.name: one for one in experiments()}
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", action="append", help="folder or hub id; repeatable (default: minilm)")
    parser.add_argument("--data", action="append", help="repeatable (default: those of each experiment)")
    parser.add_argument("--only", action="append", choices=known, help="repeatable (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer texts: wider intervals")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    for name in args.only or known:
        start = time.perf_counter()
        run(known[name], args.model or ["minilm"], args.data or known[name].data, quick=args.quick, output=args.output)
        print(f"({name}: {time.perf_counter() - start:.0f} s)\n", flush=True)
    (args.output / "index.html").write_text(page(args.output, list(known.values())), "utf-8")
    print(f"all figures: {args.output / 'index.html'}")


def page(folder: Path, shown: Sequence[Experiment]) -> str:
    """Return one page of every figure in a folder, with the claims below it."""
    parts = []
    for one in shown:
        if not (folder / f"{one.name}.json").exists():
            continue
        record = json.loads((folder / f"{one.name}.json").read_text("utf-8"))
        picture = (folder / f"{one.name}.svg").read_text("utf-8")
        claims = "".join(
            f"<li>{escape(claim['text'])} <small>({escape(claim['source'])})</small>: <b>{claim['verdict']}</b></li>"
            for claim in record["claims"].values()
        )
        parts.append(
            f'<section id="{one.name}"><h2>{escape(one.title)}</h2>{picture[picture.index("<svg") :]}'
            f"<ul>{claims}</ul><p><code>{escape(record['command'])}</code></p></section>"
        )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Cenote: claims of the sources</title>'
        "<style>body{font:16px/1.5 sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
        "svg{max-width:100%;height:auto}section{margin-bottom:3rem}</style>"
        f"<h1>Claims of the sources, measured</h1>{''.join(parts)}</html>\n"
    )


if __name__ == "__main__":
    main()
