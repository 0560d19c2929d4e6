"""Measure length collapse and second-order collapse of the demo model on real texts: the tables of docs/diagnosis.md.

Reads imdb and 20news_full from the folder that CENOTE_DATA names (default: ../shared/data); if it is absent, only the
built-in corpus. The model reads up to 512 tokens, as many as it has positions, instead of its default of 256.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cenote
from cenote.data.texts import read
from cenote.records import Estimate, LengthCurve, ModelDiagnosis, Run
from cenote.report.tables import format_in_deviations

DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
SOURCES = {"imdb": "imdb/test.jsonl.gz", "20news_full": "20news_full/test.jsonl.gz"}
TEMPERATURES = (1.0, 0.8)


def main() -> None:
    """Print one section for each source."""
    model = cenote.load("minilm", max_seq_length=512, device="cpu")
    found = {name: DATA / path for name, path in SOURCES.items() if (DATA / path).is_file()}
    if not found:
        print(f"No data in {DATA}: only the built-in corpus.\n")
    for name, path in [("built-in corpus", None), *found.items()]:
        texts = None if path is None else read(path)
        diagnosis = cenote.diagnose(model, texts, temperatures=TEMPERATURES, quick=True, source=name, names=["minilm"])
        print(f"### {name}: {diagnosis.texts.used:,} of {diagnosis.texts.given:,} texts\n")
        print("\n".join(table(diagnosis.models[0])), flush=True)


def table(model: ModelDiagnosis) -> Iterator[str]:
    """Yield the lines of a table: a column for each run of a model and one for the control."""
    curves: dict[str, LengthCurve] = {f"tau {run.temperature}": run.length for run in model.runs}
    if model.words is not None:
        curves["word averages"] = model.words
    yield f"| | texts | {' | '.join(curves)} |"
    yield "|---|--:|" + "--:|" * len(curves)
    for place, part in enumerate(model.runs[0].length.bins):
        high = "" if part.high is None else str(part.high)
        cells = [_cell(curve.bins[place].cosine) for curve in curves.values()]
        yield f"| mean cosine, [{part.low}, {high}) tokens | {part.count} | {' | '.join(cells)} |"
    whole = model.lengths.tokens.count
    yield f"| longest minus shortest | {whole} | {' | '.join(_cell(curve.difference) for curve in curves.values())} |"
    shares = [format_in_deviations(curve) for curve in curves.values()]
    yield f"| the same, in standard deviations of all cosines | {whole} | {' | '.join(shares)} |"
    changes = [_cell(run.change.difference) if run.change else "" for run in model.runs]
    yield f"| change by temperature | {whole} | {' | '.join(changes)} | |"
    doubling = [_cell(curve.slope_per_doubling) for curve in curves.values()]
    yield f"| increase per doubling of length | {whole} | {' | '.join(doubling)} |"
    rest = " | |" if model.words is not None else " |"
    for name, figure in (("mean SOCM", _socm), ("pairs with SOCM over 0.5", _severe), ("sigma_a, last layer", _sigma)):
        yield f"| {name} | | {' | '.join(figure(run) for run in model.runs)}{rest}"
    yield ""


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    between = "" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{between}"


def _socm(run: Run) -> str:
    return "-" if run.pairs is None else f"{_cell(run.pairs.mean)} ({run.pairs.pairs:,} pairs)"


def _severe(run: Run) -> str:
    return "-" if run.pairs is None else f"{100 * run.pairs.severe:.1f} %"


def _sigma(run: Run) -> str:
    return ", ".join(f"{part.low}+: {part.sigma_a:.2f}" for part in run.passed)


if __name__ == "__main__":
    main()
