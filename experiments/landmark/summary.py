"""Tables, a figure and JSON of the experiment, from the values of all queries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cenote.functional.paired import Difference, Paired, compare_paired
from cenote.wording import probability, score_estimate
from experiments.lab import STYLE
from experiments.landmark.material import LENGTHS
from experiments.landmark.plan import ARMS, MAIN, UNTRAINED, Size

Values = npt.NDArray[np.float64]  # [seeds, queries]
_LOOKS = {"cls": ("#d55e00", "s"), "mean": ("#0072b2", "o"), "landmark": ("#009e73", "^")}
_PLACES = ("start", "middle", "end")


def summarise(output: Path, name: str, size: Size) -> None:
    """Write landmark-NAME.md, .json and a figure for each start, from the scores in the folder landmark-NAME."""
    found = read_scores(output / f"landmark-{name}")
    lines: list[str] = []
    record: dict[str, Any] = {"steps": size.steps, "batch": size.batch, "train_length": size.train_length, "starts": {}}
    for start in size.starts:
        arms = {arm: found[start, arm, ""] for arm in (*UNTRAINED, *ARMS) if (start, arm, "") in found}
        if not set(MAIN) <= set(arms):
            continue
        one = record["starts"].setdefault(start, {})
        lines += [f"## Start: {start}", "", *score_table(arms, one), "", *claim_table(arms, size.train_length, one)]
        lines += ["", *place_table(arms, one)]
        ablations = [arm for arm in arms if arm not in MAIN and arm not in UNTRAINED]
        for others in (["cls", "mean"], ablations):  # apart, since ablations have fewer seeds
            if others:
                rows = [(name, arms[name]) for name in others]
                lines += ["", *difference_rows("landmark", rows, arms["landmark"], one)]
        for arm in MAIN:
            readings = [(reading, values) for (at, of, reading), values in found.items() if (at, of) == (start, arm)]
            if more := [(reading, values) for reading, values in readings if reading]:
                lines += ["", *difference_rows(arm, more, arms[arm], one)]
        picture = f"landmark-{name}-{start}.svg"
        draw(arms, output / picture)
        lines += ["", f"![nDCG@10 by the length of posts and by the place of the evidence]({picture})", ""]
    (output / f"landmark-{name}.md").write_text("\n".join(lines) + "\n", "utf-8")
    (output / f"landmark-{name}.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    print("\n".join(lines))


def read_scores(folder: Path) -> dict[tuple[str, str, str], dict[str, Values]]:
    """Return the values of all queries by start, arm and reading, and by search.

    Seeds are in their order from 0; arms are compared on the seeds that both have. Posts are also split by length, and
    evidence is also joined over its places.
    """
    runs: dict[tuple[str, str, str], list[dict[str, list[float]]]] = {}
    items: dict[tuple[str, str], list[str]] = {}
    for path in sorted(folder.glob("*.json")):
        start, *arm, _ = path.stem.split(", ")
        for reading, searches in json.loads(path.read_text())["values"].items():
            for name, search in searches.items():
                if items.setdefault((start, name), search["items"]) != search["items"]:
                    raise RuntimeError(f"{path}: {name} has other queries than the files before")
            runs.setdefault((start, ", ".join(arm), reading), []).append(join_and_split(searches))
    return {
        key: {search: np.array([one[search] for one in seeds]) for search in seeds[0]} for key, seeds in runs.items()
    }


def join_and_split(searches: dict[str, Any]) -> dict[str, list[float]]:
    """Return the values by search, by part of a search, and of each claim over the places of its evidence."""
    found = {name: list(one["values"]) for name, one in searches.items()}
    for name, one in searches.items():
        for part in dict.fromkeys(filter(None, one["parts"])):
            pairs = zip(one["values"], one["parts"], strict=True)
            found[f"{name} {part}"] = [value for value, its_part in pairs if its_part == part]
    for length in dict.fromkeys(name.split()[1] for name in searches if name.startswith("evidence")):
        places = [one["values"] for name, one in searches.items() if name.startswith(f"evidence {length} ")]
        found[f"evidence {length}"] = np.mean(places, 0).tolist()
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def _order(name: str) -> tuple[Any, ...]:
    kind, *rest = name.split()
    place = ["short", "start", "middle", "long", "end"]
    return kind, int(rest[0]) if rest else 0, len(rest), [place.index(one) if one in place else 0 for one in rest[1:]]


def score_table(arms: dict[str, dict[str, Values]], record: dict[str, Any]) -> list[str]:
    """Return the scores of CLS, mean and landmark, trained and untrained, with the lowest and the highest seed.

    Those of all arms are recorded.
    """
    shown = [arm for arm in (*UNTRAINED, *MAIN) if arm in arms]
    lines = [f"| search | queries | chance | {' | '.join(shown)} |", "|---|--:|--:|" + "--:|" * len(shown)]
    for name, values in arms["cls"].items():
        cells = [f"{arms[arm][name].mean():.3f}{spread(arms[arm][name])}" for arm in shown]
        guess = chance(name, arms["cls"])
        random = "" if guess is None else f"{guess:.3f}"
        lines.append(f"| {name} | {values.shape[1]} | {random} | {' | '.join(cells)} |")
        record[name] = {"chance": guess, "scores": {arm: one[name].mean(1).tolist() for arm, one in arms.items()}}
    return lines


def chance(name: str, searches: Mapping[str, Values]) -> float | None:
    """Return the nDCG@10 of a random order, where each query has one document that answers it; else None.

    >>> round(chance("evidence 512", {"evidence 512": np.zeros((3, 64))}), 3)
    0.071
    """
    kind, *rest = name.split()
    if kind not in ("posts", "evidence"):
        return None
    documents = searches[f"{kind} {rest[0]}"].shape[1]  # a part of a search is sought among all of its documents
    return float(sum(1 / np.log2(rank + 1) for rank in range(1, 11)) / documents)


def claim_table(arms: dict[str, dict[str, Values]], train_length: int, record: dict[str, Any]) -> list[str]:
    """Return the tests that were chosen before: landmark against CLS and mean, on short posts and on evidence."""
    evidence = [name for name in arms["cls"] if name.startswith("evidence") and len(name.split()) == 2]
    names = [*evidence, f"posts {train_length} short"]
    pairs = [("cls", arms["cls"]), ("mean", arms["mean"])]
    found = differences(names, [(arms["landmark"], values) for _, values in pairs])
    lines = ["| landmark against | search | difference | p, of all | resolvable |", "|---|---|--:|--:|--:|"]
    for name, row in found.items():
        for (arm, _), one in zip(pairs, row, strict=True):
            reach = "-" if one.resolvable is None else f"{one.resolvable:.3f}"
            lines.append(f"| {arm} | {name} | {state(one)} | {probability(one.p)} | {reach} |")
            record[name].setdefault("landmark minus", {})[arm] = record_of(one)
    return lines


def place_table(arms: dict[str, dict[str, Values]], record: dict[str, Any]) -> list[str]:
    """Return how much worse evidence at the end of a text is found than evidence at its start, by arm."""
    names = [name for name in arms["cls"] if name.startswith("evidence") and len(name.split()) == 2]
    ends, starts = (
        {arm: {name: arms[arm][f"{name} {place}"] for name in names} for arm in MAIN} for place in ("end", "start")
    )
    found = differences(names, [(ends[arm], starts[arm]) for arm in MAIN])
    lines = [f"| end minus start | {' | '.join(MAIN)} |", "|---|" + "--:|" * len(MAIN)]
    for name, row in found.items():
        lines.append(f"| {name} | {' | '.join(map(state, row))} |")
        record[name]["end minus start"] = {arm: record_of(one) for arm, one in zip(MAIN, row, strict=True)}
    return lines


def difference_rows(
    arm: str, others: Sequence[tuple[str, dict[str, Values]]], own: dict[str, Values], record: dict[str, Any]
) -> list[str]:
    """Return how others differ from an arm on all searches, with an interval for each difference alone."""
    names = [name for name in own if all(name in values for _, values in others)]
    found = differences(names, [(values, own) for _, values in others])
    lines = [f"| from {arm} | {' | '.join(names)} |", "|---|" + "--:|" * len(names)]
    for place, (other, _) in enumerate(others):
        lines.append(f"| {other} | {' | '.join(state(found[name][place]) for name in names)} |")
        for name in names:
            record[name].setdefault(f"from {arm}", {})[other] = record_of(found[name][place])
    return lines


def differences(
    names: Sequence[str], pairs: Sequence[tuple[dict[str, Values], dict[str, Values]]]
) -> dict[str, list[Difference]]:
    """Return the differences of pairs of arms by search, all tested together; seeds are draws beside the queries."""
    tasks = []
    for name in names:
        seeds = [min(len(one[name]), len(other[name])) for one, other in pairs]
        each = [one[name][:count] - other[name][:count] for (one, other), count in zip(pairs, seeds, strict=True)]
        draws = np.array([one.mean(1)[: min(seeds)] for one in each]) if min(seeds) > 1 else None
        tasks.append(Paired(np.array([one.mean(0) for one in each]), draws=draws))
    return dict(zip(names, compare_paired(tasks).tasks, strict=True))


def state(one: Difference) -> str:
    """Return a difference with its interval."""
    return score_estimate(one.value, one.low, one.high, sign="+")


def spread(values: Values) -> str:
    """Return the scores of the lowest and the highest seed."""
    means = values.mean(1)
    return f" ({means.min():.3f} to {means.max():.3f})" if len(means) > 1 else ""


def record_of(one: Difference) -> dict[str, Any]:
    """Return a difference as plain data."""
    return {"value": one.value, "low": one.low, "high": one.high, "p": one.p, "resolvable": one.resolvable}


def draw(arms: dict[str, dict[str, Values]], path: Path) -> None:
    """Write a figure of nDCG@10: of posts by their length, and at each length by the place of the evidence.

    Solid lines are trained arms, with a bar from the lowest to the highest seed; dotted ones are the untrained arms.
    """
    evidence = [name for name in arms["cls"] if name.startswith("evidence") and len(name.split()) == 2]
    longest = max((name for name in arms["cls"] if name.startswith("posts")), key=lambda name: int(name.split()[1]))
    panels = [(" ".join(longest.split()[:2]), LENGTHS, "length of the post")]
    panels += [(name, _PLACES, "place of the evidence") for name in evidence]
    with mpl.rc_context(STYLE):
        picture = Figure(figsize=(3.4 * len(panels), 3.6), layout="constrained")
        axes = picture.subplots(1, len(panels), squeeze=False)[0]
        for (search, parts, words), ax in zip(panels, axes, strict=True):
            kind, length = search.split()
            ax.set_title(f"{kind}, {length} tokens are read")
            ax.set_xlabel(words)
            for arm in (*MAIN, *(one for one in UNTRAINED if one in arms)):
                trained = arm in MAIN
                means = np.array([arms[arm][f"{search} {part}"].mean(1) for part in parts])
                middle = means.mean(1)
                bars = np.abs(np.array([means.min(1), means.max(1)]) - middle) if trained else None
                colour, marker = _LOOKS[arm.removesuffix(", untrained")]
                look = {"color": colour, "marker": marker, "linestyle": "-" if trained else ":", "label": arm}
                ax.errorbar([*parts], middle, bars, capsize=3, alpha=1 if trained else 0.6, **look)
        top = max(ax.get_ylim()[1] for ax in axes[1:])  # one scale for the same claims
        for ax in axes:
            ax.set_ylim(0, ax.get_ylim()[1] if ax is axes[0] else top)
        axes[0].set_ylabel("nDCG@10")
        picture.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
        picture.savefig(path, metadata={"Date": None})
