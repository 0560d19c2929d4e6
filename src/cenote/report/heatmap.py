"""A change for each pair of temperatures as a heat map, with its number in every cell."""

from __future__ import annotations

from dataclasses import dataclass

from cenote.report.formatting import escape_html

# Height of a row, in letters.
_ROW = 2.6
# The strongest colour still leaves the number readable.
_STRONGEST = 0.5


@dataclass(frozen=True)
class Cell:
    """A pair of temperatures with its change in percent, and what is shown when it is pointed at."""

    query: float
    document: float
    percent: float
    words: str


@dataclass(frozen=True)
class HeatMap:
    """The changes by pairs of temperatures; `chosen` and `own` are the pairs that get a frame."""

    cells: tuple[Cell, ...]
    chosen: tuple[float, float] | None = None
    own: tuple[float, float] | None = None

    @property
    def columns(self) -> tuple[float, ...]:
        """The temperatures of queries, from the lowest."""
        return tuple(sorted({cell.query for cell in self.cells}))

    @property
    def rows(self) -> tuple[float, ...]:
        """The temperatures of documents, from the highest."""
        return tuple(sorted({cell.document for cell in self.cells}, reverse=True))


def render_heat_map(found: HeatMap) -> str:
    """Return the figure as HTML. It is no `figure` element, since page.js looks for points in all of these."""
    frames = ["A frame marks the chosen pair."] if found.chosen else []
    frames += ["A dashed frame marks the model's own temperature."] if found.own else []
    holes = len(found.cells) < len(found.columns) * len(found.rows)
    frames += ["Pairs without a number were not tried."] if holes else []
    reading = (
        "Each cell is the change of the score in percent on the development half. Green cells are higher than the "
        f"model's own score, orange ones lower, and a stronger colour is a larger change. {' '.join(frames)}"
    ).rstrip()
    title = "A temperature of queries and another of documents"
    label = f"{title}. {reading} The table below holds the numbers."
    return (
        f'<div class="chart" id="heat"><h3>{title}</h3><p class="reading">{escape_html(reading)}</p>'
        '<p class="up-title" aria-hidden="true">temperature of documents</p>'
        f'<div class="heat" role="img" aria-label="{escape_html(label)}">'
        f'<svg class="cells" height="{_ROW * len(found.rows):g}em">{_draw(found)}</svg></div>'
        '<p class="across-title" aria-hidden="true">temperature of queries</p></div>'
    )


def _draw(found: HeatMap) -> str:
    columns, rows = found.columns, found.rows
    width, height = 100 / len(columns), 100 / len(rows)
    largest = max(abs(cell.percent) for cell in found.cells) or 1.0
    drawn = '<rect width="100%" height="100%" class="none"/>'
    for cell in found.cells:
        left, top = width * columns.index(cell.query), height * rows.index(cell.document)
        kind = "up" if cell.percent >= 0 else "down"
        strength = _STRONGEST * abs(cell.percent) / largest
        drawn += (
            f'<g><title>{escape_html(cell.words)}</title><rect x="{left:.2f}%" y="{top:.2f}%" width="{width:.2f}%" '
            f'height="{height:.2f}%" class="{kind}" fill-opacity="{strength:.3f}"/><text x="{left + width / 2:.2f}%" '
            f'y="{top + height / 2:.2f}%" class="value">{format_cell(cell.percent)}</text></g>'
        )
    for pair, kind in ((found.own, "frame own-frame"), (found.chosen, "frame")):
        if pair is not None and pair[0] in columns and pair[1] in rows:
            left, top = width * columns.index(pair[0]), height * rows.index(pair[1])
            place = f'x="{left:.2f}%" y="{top:.2f}%" width="{width:.2f}%" height="{height:.2f}%"'
            drawn += f'<rect {place} class="{kind}"/>'
    for number, query in enumerate(columns):
        drawn += f'<text x="{width * (number + 0.5):.2f}%" y="100%" dy="1.5em" class="tick across">{query:g}</text>'
    for number, document in enumerate(rows):
        at = f"{height * (number + 0.5):.2f}%"
        drawn += f'<text x="0" y="{at}" dx="-8" dy=".32em" class="tick beside">{document:g}</text>'
    return drawn


def format_cell(percent: float) -> str:
    """Format a change in percent with two digits and its sign, without the unit.

    >>> format_cell(0.534), format_cell(-1.2), format_cell(-0.001)
    ('+0.53', '−1.20', '0.00')
    """
    shown = f"{percent:+.2f}"
    return "0.00" if float(shown) == 0 else shown.replace("-", "−")
