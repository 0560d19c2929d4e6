"""One page of every figure in a folder of results, each with its claims, their values, and what it was measured on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from cenote.wording import pluralise
from experiments.claims import INDEX, RESULTS, SOURCES, Row, rows_of_experiment, rows_of_trainings, shown_cells

ADDRESSES = {source: f"https://arxiv.org/abs/{source.split()[1]}" for source in SOURCES if source.startswith("arXiv")}
# The sections of trained models: name, title, and the folder of their results; None is that of the page.
_TRAINED = (
    ("trained", "Landmark pooling, trained", RESULTS),
    ("trained-here", "Landmark pooling: trainings in this folder", None),
)
# How the names of files of `experiments.landmark.run --quick` begin.
_TOY = "landmark-toy"
# Of verdicts that decide; others are grey.
_COLOURS = {
    "holds": "#00664b",
    "in part": "#8a5a00",
    "mixed": "#6a4c93",
    "against in part": "#a33f00",
    "not here": "#a33f00",
}
_STYLE = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:72rem;margin:0 auto;padding:1.5rem 1rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.25rem;line-height:1.3;margin:0 0 .75rem}
nav ul{list-style:none;padding:0;display:grid;gap:.3rem 2.5rem}
nav ul{grid-template-columns:repeat(auto-fit,minmax(min(22rem,100%),1fr))}
nav li{display:flex;justify-content:space-between;align-items:baseline;gap:1rem}
nav small{color:#555;white-space:nowrap}
section{margin-top:3rem;padding-top:1.5rem;border-top:1px solid #ddd}
.figure,details{overflow-x:auto}
.figure img,.figure svg{max-width:100%;height:auto;display:block}
table{border-collapse:collapse;width:100%;margin:1rem 0;font-size:.94rem}
th,td{text-align:left;vertical-align:top;padding:.5rem .75rem .5rem 0;border-bottom:1px solid #e5e5e5}
th{font-weight:600}
.claims td:nth-child(1){width:38%}
.numbers{font-size:.82rem;font-variant-numeric:tabular-nums;width:auto}
.numbers td,.numbers th{padding:.2rem 1rem .2rem 0;white-space:nowrap}
summary{cursor:pointer;color:#00589b}
.verdict{display:inline-block;color:#fff;border-radius:.3rem;padding:.05rem .5rem;font-size:.85rem;white-space:nowrap}
.values{list-style:none;margin:.3rem 0 0;padding:0;font-variant-numeric:tabular-nums}
.source,.measure,.how{color:#555;font-size:.88rem}
.how{overflow-wrap:anywhere}
code{font:.88em ui-monospace,monospace;background:#f4f4f4;border-radius:.2rem;padding:.1rem .25rem}
a{color:#00589b}
@media (max-width:40rem){
 .figure img,.figure svg{max-width:46rem}
 .claims,.claims tbody,.claims tr,.claims td{display:block;width:auto!important}
 .claims thead{position:absolute;left:-999rem}
 .claims tr{border-bottom:1px solid #ccc;padding:.6rem 0}
 .claims td{border:0;padding:.15rem 0}
}
"""
_HEAD = """\
<h1>Claims of the sources, measured</h1>
<p>Each figure tests statements of three papers and a blog post, on the models and data named below it. A statement
<b>holds</b> if the 95 % interval says so on every model and data set; it holds <b>in part</b> if it says so on some and
the opposite on none, or if a part of the statement is not tested; it is <b>mixed</b> if it holds on some and the
opposite on others. One that decides among several that do not is no verdict.
<b>By construction</b> is what random vectors or a theorem would give too.
✓ holds, ✗ the opposite holds, ○ the interval does not decide.</p>
"""


def build_page(folder: Path) -> str:
    """Return the page of the experiments in a folder, in the order of its index, and of trained models.

    These are those that are committed, and those in the folder.
    """
    index = json.loads((folder / INDEX).read_text("utf-8"))
    shown = [one for one in index if (folder / f"{one['name']}.json").exists()]
    sections = [_section(one, folder) for one in shown]
    links = [_link(one, list(rows_of_experiment(one, folder))) for one in shown]
    trained = []
    for name, title, place in _TRAINED:
        some = list(_trainings(name, title, place or folder))
        links += [f'<li><a href="#{name}">{title}</a></li>'] if some else []
        trained += some
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Cenote: claims of the sources, measured</title><style>{_STYLE}</style></head><body>"
        f"{_HEAD}"
        f"<nav><ul>{''.join(links)}</ul></nav>{''.join([*sections, *trained])}</body></html>\n"
    )


def _link(listed: Mapping[str, Any], rows: Sequence[Row]) -> str:
    held = sum(row.verdict == "holds" for row in rows)
    said = f"{held} of {pluralise(len(rows), 'claim')} {'holds' if held == 1 else 'hold'}"
    return f'<li><a href="#{listed["name"]}">{escape(listed["title"])}</a> <small>{said}</small></li>'


def _section(listed: Mapping[str, Any], folder: Path) -> str:
    record = json.loads((folder / f"{listed['name']}.json").read_text("utf-8"))
    rows, cells = list(rows_of_experiment(listed, folder)), shown_cells(record["cells"])
    notes = "".join(f"<p>{_code(escape(note))}</p>" for note in record["notes"])
    return (
        f'<section id="{listed["name"]}"><h2>{escape(record["title"])}</h2>'
        f'<div class="figure"><img src="{listed["name"]}.svg" alt="{escape(record["title"])}" loading="lazy"></div>'
        f'{_table(rows)}{notes}{_numbers(cells)}<p class="how">{_measured_on(cells)}</p>'
        f'<p class="how"><code>{escape(record["command"])}</code> · {_links(rows)}</p></section>'
    )


def _table(rows: Sequence[Row]) -> str:
    body = "".join(
        f"<tr><td>{_code(escape(row.text))}<br>"
        f'<span class="source">{escape(row.source)}</span></td><td>{_badge(row.verdict)}</td>'
        f'<td><span class="measure">{_code(escape(row.measure))}</span>{_values(row)}</td></tr>'
        for row in rows
    )
    head = "<tr><th>statement</th><th>verdict</th><th>measured</th></tr>"
    return f'<table class="claims"><thead>{head}</thead><tbody>{body}</tbody></table>'


def _numbers(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows of all cells as a table that opens on a click."""
    rows = [{"model": cell["model"], "data": Path(cell["data"]).name, **row} for cell in cells for row in cell["rows"]]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_shown(row.get(name))}</td>' for name in columns)}</tr>" for row in rows)
    table = f'<table class="numbers"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f"<details><summary>numbers</summary>{table}</details>"


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _badge(verdict: str) -> str:
    return f'<span class="verdict" style="background:{_COLOURS.get(verdict, "#555")}">{verdict}</span>'


def _values(row: Row) -> str:
    if not row.values:
        return "<br>no value"
    items = (f"<li>{escape(str(one))} · {escape(one.model)}, {escape(one.data)}</li>" for one in row.values)
    return f'<ul class="values">{"".join(items)}</ul>'


def _measured_on(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return models, data, size, time and machine in words."""
    models, data, machines = (
        ", ".join(dict.fromkeys(Path(str(cell[part])).name if part == "data" else str(cell[part]) for cell in cells))
        for part in ("model", "data", "machine")
    )
    size = "few texts (--quick)" if all(cell["key"]["quick"] for cell in cells) else "full size"
    seconds = sum(cell["seconds"] for cell in cells)
    return escape(f"{models} on {data}; {size}; {seconds:,.0f} s in all; {machines}")


def _links(rows: Sequence[Row]) -> str:
    """Return links to the sources of the claims."""
    found = [source for source in SOURCES if any(row.source.startswith(source) for row in rows)]
    links = (
        f'<a href="{ADDRESSES[source]}">{source}: {escape(SOURCES[source])}</a>'
        if source in ADDRESSES
        else f"{source}: {escape(SOURCES[source])}"
        for source in found
    )
    return " · ".join(links)


def _code(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", text)


def _trainings(name: str, title: str, results: Path) -> Iterator[str]:
    """Yield the section of the models in a folder that were trained: those of toy size where there are no others."""
    every = sorted(results.glob("landmark-*.json"))
    full = [path for path in every if not path.stem.startswith(_TOY)]
    if paths := full or every:
        records = {path: json.loads(path.read_text("utf-8")) for path in paths}
        figures = (path.with_name(f"{path.stem}-{start}.svg") for path in paths for start in records[path]["starts"])
        drawn = (figure for figure in figures if figure.exists())
        pictures = "".join(f'<div class="figure">{figure.read_text("utf-8")}</div>' for figure in drawn)
        rows = list(rows_of_trainings(paths))
        machines = dict.fromkeys(record.get("machine") for record in records.values())
        on = "".join(f'<p class="how">{escape(one)}</p>' for one in machines if one)
        command = rows[0].command + ("" if full else " --quick")
        said = "" if full else "<p>Trainings of a few steps: they show that all runs, and test nothing.</p>"
        yield (
            f'<section id="{name}"><h2>{title}</h2>{said}{pictures}{_table(rows)}{on}'
            f'<p class="how"><code>{escape(command)}</code> · {_links(rows)}</p></section>'
        )
