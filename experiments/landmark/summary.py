"""Tables, a figure and JSON of the experiment, from the values of all queries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from plan import ARMS, MAIN, Size

from cenote.functional.paired import Difference, Paired, compare_paired
from cenote.wording import probability, score_estimate

# Of a post's tokens: what the short window holds, what the middle one holds, and longer.
LENGTHS = {"short": (0, 120), "middle": (120, 500), "long": (500, 10**9)}
Values = npt.NDArray[np.float64]  # [seeds, queries]
_COLOURS = {"cls": "#b35900", "mean": "#006d77", "landmark": "#5a189a"}


def summarise(scores: Path, output: Path, name: str, size: Size) -> None:
    """Write landmark-NAME.md, .json and .svg."""
    found = read_scores(scores)
    lines: list[str] = []
    record: dict[str, Any] = {"steps": size.steps, "batch": size.batch, "train_length": size.train_length, "starts": {}}
    for start in size.starts:
        arms = {arm: found[start, arm, ""] for arm in ARMS if (start, arm, "") in found}
        if set(MAIN) <= set(arms):
            lines += [f"## Start: {start}", "", *main_table(arms, record["starts"].setdefault(start, {}))]
            others = [arm for arm in arms if arm not in MAIN]
            if others:
                lines += ["", *against("landmark", others, arms, record["starts"][start])]
            readings = {
                (arm, reading): values for (at, arm, reading), values in found.items() if at == start and reading
            }
            if readings:
                lines += ["", *reading_table(arms, readings, record["starts"][start])]
            (output / f"landmark-{name}-{start}.svg").write_text(figure(arms), "utf-8")
            lines += ["", f"![nDCG@10 by the place of the evidence](landmark-{name}-{start}.svg)", ""]
    (output / f"landmark-{name}.md").write_text("\n".join(lines) + "\n", "utf-8")
    (output / f"landmark-{name}.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    print("\n".join(lines))


def read_scores(folder: Path) -> dict[tuple[str, str, str], dict[str, Values]]:
    """Return the values of all queries by start, arm and reading, and by search; posts are also split by length.

    Seeds that are not there for all searches of a reading are left out.
    """
    runs: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        start, *arm, _ = path.stem.split(", ")
        for reading, searches in json.loads(path.read_text())["values"].items():
            runs.setdefault((start, ", ".join(arm), reading), []).append(split_by_length(searches))
    return {
        key: {search: np.array([one[search] for one in seeds]) for search in seeds[0]} for key, seeds in runs.items()
    }


def split_by_length(searches: dict[str, Any]) -> dict[str, list[float]]:
    """Return the values by search, those of posts also by the length of the post."""
    found = {name: list(one["values"]) for name, one in searches.items()}
    for name, one in searches.items():
        if name.startswith("posts"):
            for part, (low, high) in LENGTHS.items():
                pairs = zip(one["values"], one["tokens"], strict=True)
                found[f"{name} {part}"] = [value for value, tokens in pairs if low <= tokens < high]
    return {name: values for name, values in sorted(found.items(), key=_order) if values}


def _order(item: tuple[str, Any]) -> tuple[Any, ...]:
    kind, *rest = item[0].split()
    place = ["short", "middle", "long", "start", "end"]
    return kind, int(rest[0]) if rest else 0, len(rest), [place.index(one) if one in place else 0 for one in rest[1:]]


def difference_table(
    pairs: Sequence[tuple[dict[str, Values], dict[str, Values]]],
) -> dict[str, list[Difference]]:
    """Return the differences of pairs of arms by search, all tested together; seeds are draws beside the queries."""
    names = [name for name in pairs[0][0] if all(name in one and name in other for one, other in pairs)]
    tasks = []
    for name in names:
        differences = [one[name][: len(other[name])] - other[name][: len(one[name])] for one, other in pairs]
        values = np.array([one.mean(0) for one in differences])
        fewest = min(len(one) for one in differences)
        draws = np.array([one.mean(1)[:fewest] for one in differences]) if fewest > 1 else None
        tasks.append(Paired(values, draws=draws))
    return dict(zip(names, compare_paired(tasks).tasks, strict=True))


def main_table(arms: dict[str, dict[str, Values]], record: dict[str, Any]) -> list[str]:
    """Return the scores of CLS, mean and landmark, and how landmark differs from both."""
    others = ("cls", "mean")
    found = difference_table([(arms["landmark"], arms[arm]) for arm in others])
    head = ["search", "queries", *MAIN, *(f"landmark − {arm} | p" for arm in others)]
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) + 1)]
    for name, differences in found.items():
        cells = [f"{arms[arm][name].mean():.3f}{spread(arms[arm][name])}" for arm in MAIN]
        cells += [cell for one in differences for cell in cells_of(one)]
        lines.append(f"| {name} | {arms['cls'][name].shape[1]} | {' | '.join(cells)} |")
        record[name] = {
            "scores": {arm: arms[arm][name].mean(1).tolist() for arm in MAIN},
            "landmark minus": {arm: record_of(one) for arm, one in zip(others, differences, strict=True)},
        }
    return lines


def against(arm: str, others: Iterable[str], arms: dict[str, dict[str, Values]], record: dict[str, Any]) -> list[str]:
    """Return how other arms differ from one."""
    names = list(others)
    found = difference_table([(arms[name], arms[arm]) for name in names])
    lines = [
        f"| search | {arm} | {' | '.join(f'{name} | p' for name in names)} |",
        "|---|--:|" + "--:|" * 2 * len(names),
    ]
    for search, differences in found.items():
        cells = [cell for one in differences for cell in cells_of(one)]
        lines.append(f"| {search} | {arms[arm][search].mean():.3f} | {' | '.join(cells)} |")
        record[search][f"from {arm}"] = {n: record_of(one) for n, one in zip(names, differences, strict=True)}
    return lines


def reading_table(
    arms: dict[str, dict[str, Values]], readings: dict[tuple[str, str], dict[str, Values]], record: dict[str, Any]
) -> list[str]:
    """Return how other readings of the same model change its score."""
    lines = ["| trained | read with | search | score | change | p |", "|---|---|---|--:|--:|--:|"]
    pairs = [(values, arms[arm]) for (arm, _), values in readings.items()]
    found = difference_table(pairs)
    for place, (arm, reading) in enumerate(readings):
        for search, differences in found.items():
            change, p = cells_of(differences[place])
            score = readings[arm, reading][search].mean()
            lines.append(f"| {arm} | {reading} | {search} | {score:.3f} | {change} | {p} |")
            record[search].setdefault("readings", {})[f"{arm}, {reading}"] = record_of(differences[place])
    return lines


def spread(values: Values) -> str:
    """Return the scores of the lowest and the highest seed."""
    means = values.mean(1)
    return f" ({means.min():.3f} to {means.max():.3f})" if len(means) > 1 else ""


def cells_of(one: Difference) -> tuple[str, str]:
    """Return a difference with its interval, and its probability."""
    return score_estimate(one.value, one.low, one.high, sign="+"), probability(one.p)


def record_of(one: Difference) -> dict[str, Any]:
    """Return a difference as plain data."""
    return {"value": one.value, "low": one.low, "high": one.high, "p": one.p, "resolvable": one.resolvable}


def figure(arms: dict[str, dict[str, Values]]) -> str:
    """Return nDCG@10 by the place of the evidence, a panel for each length, as SVG."""
    names = [name for name in arms["cls"] if name.startswith("evidence")]
    lengths = list(dict.fromkeys(name.split()[1] for name in names))
    parts, width, height = [], 260, 200
    for panel, length in enumerate(lengths):
        left = 60 + panel * (width + 30)
        parts.append(f'<text x="{left + width / 2}" y="20" text-anchor="middle">{length} tokens</text>')
        for share in (0.0, 0.5, 1.0):
            y = 40 + height * (1 - share)
            parts.append(f'<path d="M{left} {y}h{width}" stroke="#ccc"/>')
            parts += [f'<text x="{left - 8}" y="{y + 5}" text-anchor="end">{share:g}</text>'] * (panel == 0)
        for at, place in enumerate(("start", "middle", "end")):
            x = left + width * (0.1 + 0.4 * at)
            parts.append(f'<text x="{x}" y="{height + 62}" text-anchor="middle">{place}</text>')
        for arm in MAIN:
            points = [
                (left + width * (0.1 + 0.4 * at), 40 + height * (1 - arms[arm][f"evidence {length} {place}"].mean()))
                for at, place in enumerate(("start", "middle", "end"))
            ]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            colour = _COLOURS[arm]
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points]
    for at, arm in enumerate(MAIN):
        parts.append(f'<text x="{60 + 110 * at}" y="{height + 92}" fill="{_COLOURS[arm]}">● {arm}</text>')
    whole = 60 + len(lengths) * (width + 30)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height + 110}" width="{whole}" '
        'font-family="sans-serif" font-size="14"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )
