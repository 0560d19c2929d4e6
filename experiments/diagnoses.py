"""Measure what a search loses on real texts, and to what: the tables of docs/diagnosis.md.

    python experiments/diagnoses.py --models minilm ~/.cache/cenote-models/sre-minilm -o docs/results/diagnoses

Texts are read from the folder that CENOTE_DATA names (default: ../shared/data); without it, from the built-in corpus.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import cenote
from cenote.data.rows import Text
from cenote.diagnosis.verdicts.remedies import FEWEST_SENTENCES
from cenote.records import Account, CutLengths, Diagnosis, Estimate

DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
SOURCES = {"scifact": "scifact/corpus", "20news_full": "20news_full/test", "imdb": "imdb/test"}
SHARES = {
    "found": "found",
    "lost_to_cut": "lost to the cut",
    "lost_to_pooling": "lost to pooling",
    "not_found": "not found",
}


def main() -> None:
    """Print a table of all data sets for each model, then the settings of each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["minilm"])
    parser.add_argument("--data", nargs="+", default=list(SOURCES), choices=[*SOURCES, "built-in"])
    parser.add_argument("--temperatures", nargs="+", type=float, default=[1.0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("-o", "--output", type=Path, help="folder for all figures, MODEL-DATA.json")
    args = parser.parse_args()
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
    for name in args.models:
        model = cenote.load(name, device="cpu")
        found: dict[str, Diagnosis] = {}
        for data in args.data:
            texts = None if data == "built-in" else list(read_texts(data))
            found[data] = cenote.diagnose(
                model,
                texts,
                layers=False,
                quick=not args.full,
                source=data,
                names=[Path(name).name],
                temperatures=args.temperatures,
            )
            if args.output:
                found[data].save(args.output / f"{Path(name).name}-{data}.json")
        print(f"#### {Path(name).name}, which reads {model.max_seq_length} tokens\n")
        for table in (shares, cuts, settings):
            print("\n".join(table(found)), end="\n\n", flush=True)


def read_texts(data: str) -> Iterator[Text]:
    """Yield the texts of a data set, each with its title."""
    with gzip.open(DATA / f"{SOURCES[data]}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row, line in enumerate(lines):
            text = json.loads(line)
            yield Text(str(text.get("id", row)), f"{text.get('title') or ''} {text['text']}".strip())


def shares(found: dict[str, Diagnosis]) -> Iterator[str]:
    """Yield the table of the accounts, with the sentences found by the length of their text.

    Parts of few sentences are left out, as in verdicts.
    """
    yield f"| of 100 | sentences | {' | '.join(SHARES.values())} | found, left out | found by length of text |"
    yield f"|---|--:|{'--:|' * len(SHARES)}--:|---|"
    for data, account in accounts(found):
        cells = (per_hundred(getattr(account, share)) for share in SHARES)
        parts = (
            f"{100 * part.found.value:.0f} ({part.name})"
            for part in account.parts
            if part.by == "length" and part.sentences >= FEWEST_SENTENCES
        )
        left_out = per_hundred(account.left_out)
        yield f"| {data} | {account.sentences:,} | {' | '.join(cells)} | {left_out} | {', '.join(parts)} |"


def settings(found: dict[str, Diagnosis]) -> Iterator[str]:
    """Yield what each setting that was tried changes."""
    names = list(dict.fromkeys(name for _, account in accounts(found) for name in account.settings))
    yield f"| change of found, and of found when left out | {' | '.join(found)} |"
    yield f"|---|{'--:|' * len(found)}"
    for name in names:
        cells = []
        for _, account in accounts(found):
            one = account.settings.get(name)
            cells.append(f"{change(one.change)}, {change(one.change_left_out)}" if one else "")
        yield f"| {name} | {' | '.join(cells)} |"


def cuts(found: dict[str, Diagnosis]) -> Iterator[str]:
    """Yield the mean cosine of the same texts cut at several lengths."""
    curves = {data: one.models[0].runs[0].cut_lengths for data, one in found.items()}
    lengths = sorted({cut.tokens for curve in curves.values() if curve for cut in curve.cuts})
    yield f"| mean cosine of the same texts, cut at | {' | '.join(f'{length} tokens' for length in lengths)} | change |"
    yield f"|---|{'--:|' * (len(lengths) + 1)}"
    for data, curve in curves.items():
        if curve is not None:
            yield f"| {data}, {curve.texts} texts | {' | '.join(_cuts(curve, lengths))} | {difference(curve.change)} |"


def _cuts(curve: CutLengths, lengths: list[int]) -> Iterator[str]:
    values = {cut.tokens: f"{cut.cosine.value:.3f}" for cut in curve.cuts}
    return (values.get(length, "") for length in lengths)


def accounts(found: dict[str, Diagnosis]) -> Iterator[tuple[str, Account]]:
    """Yield the account of each data set that has one."""
    for data, one in found.items():
        account = one.models[0].account
        if isinstance(account, Account):
            yield data, account
        else:
            print(f"{data}: {account}\n")


def per_hundred(estimate: Estimate) -> str:
    """Return a share in sentences of 100, with its interval."""
    ends = (
        ""
        if estimate.low is None or estimate.high is None
        else f" [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
    )
    return f"{100 * estimate.value:.0f}{ends}"


def change(estimate: Estimate) -> str:
    """Return a change in sentences of 100, with its interval."""
    ends = (
        ""
        if estimate.low is None or estimate.high is None
        else f" [{100 * estimate.low:+.0f}, {100 * estimate.high:+.0f}]"
    )
    return f"{100 * estimate.value:+.1f}{ends}"


def difference(estimate: Estimate) -> str:
    """Return a difference of cosines, with its interval."""
    ends = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:+.3f}, {estimate.high:+.3f}]"
    return f"{estimate.value:+.3f}{ends}"


if __name__ == "__main__":
    main()
