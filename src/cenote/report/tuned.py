"""The chapters of a tuning: the curve, every temperature that was tried, and the chosen one on held-out data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from cenote.records import ALL, Estimate
from cenote.report import plots
from cenote.report.differences import MEANINGS as MEANINGS_OF_DIFFERENCES
from cenote.report.differences import format_p, format_relative, format_size, keep_together
from cenote.report.forest import Row, build_axis
from cenote.report.formatting import MISSING, format_score
from cenote.report.heatmap import Cell, HeatMap
from cenote.report.plots import Entry, Figure, Line, Rule
from cenote.report.sections import Section
from cenote.report.series import Look
from cenote.report.tables import Strips, Table, list_values
from cenote.tuning_records import Confirmed, Tried, Tuning

# Tasks up to which each has a column in the table of temperatures.
_FEW_TASKS = 4
# How far the held-out point is drawn beside the temperature, in parts of the axis.
_ASIDE = 0.015
# What a temperature of each form depends on, in words.
_FORMS = {"constant": "constant", "length": "by length", "role": "by role"}
_DEVELOPMENT = Look("development", "development half", "s1", "circle", "solid")
_HELD_OUT = Look("held-out", "held-out half, the chosen temperature only", "s2", "diamond", "solid")

MEANINGS = {
    "development half": "the items on which the temperature was chosen",
    "held-out half": "the other items, which were read once, at the chosen temperature",
    "relative": "the change of the score over the score at the model's own temperature, with its 95 % interval; of "
    "several tasks the mean",
    "p": "how often chance alone gives a difference as large for its error; a task's allows for all tasks",
    "resolvable": MEANINGS_OF_DIFFERENCES["resolvable"],
}


def build_sections(tuning: Tuning) -> tuple[Section, ...]:
    """Return the sections that are not empty: the curve with its table, the held-out half, notes."""
    built = (_curve(tuning), _held_out(tuning), _notes(tuning))
    return tuple(one for one in built if one.notes or any(not table.is_empty for table in one.tables))


def format_gain(gain: Estimate) -> str:
    """Format a relative change with its interval, in percent.

    >>> format_gain(Estimate(0.0053, -0.001, 0.0116)), format_gain(Estimate(0.0, None, None))
    ('+0.53 % (−0.10 to +1.16 %)', '0.00 %')
    """
    value = format_relative(gain.value)
    if gain.low is None or gain.high is None:
        return value
    return f"{value} ({format_relative(gain.low).removesuffix(' %')} to {format_relative(gain.high)})"


def state_expectations(tuning: Tuning) -> tuple[str, ...]:
    """Return what the figures mean for other data, in sentences."""
    held_out = f"On the held-out half, temperature {tuning.chosen} changes the score by "
    several = " on average over the tasks" if len(tuning.tasks) > 1 else ""
    return (
        f"{held_out}{format_gain(tuning.gain)}{several}."
        if tuning.gain is not None
        else f"No temperature was better than the model's own ({tuning.own}) on the development half, so none was "
        "tried on the held-out half."
        if tuning.chosen is None
        else f"At temperature {tuning.chosen} the held-out half could not be read.",
        "The figures of the development half are what the choice was made on: no gain to expect.",
        f"In cross-validation within the development half, choosing so changes the score by "
        f"{format_gain(tuning.expected)}{_confirmation(tuning)}.",
        *(
            ()
            if tuning.needed is None
            else (
                f"By the spread of these differences, a half of {tuning.needed:,} items would show a gain of 0.53 %, "
                "the mean that the TempScale paper reports, four times of five.",
            )
        ),
    )


def _confirmation(tuning: Tuning) -> str:
    """Return whether the held-out half confirms the gain of cross-validation; nothing if there is none."""
    if tuning.gain is None or tuning.expected.value <= 0:
        return ""
    return ", which the held-out half " + ("confirms" if tuning.recommendation is not None else "does not confirm")


def draw_curve(tuning: Tuning) -> Figure | None:
    """Return the gain by constant temperature, with the held-out gain of the chosen one; None for fewer than two."""
    points = sorted(_constants(tuning), key=lambda point: point[0])
    if len(points) < 2:
        return None
    x, gains = [at for at, _, _ in points], [gain for _, gain, _ in points]
    axis = plots.spread_axis("temperature", x)
    marks: list[Line | Rule] = [
        Rule(0, upright=False),
        _line(_DEVELOPMENT, x, gains, [words for _, _, words in points]),
    ]
    legend = [Entry(_DEVELOPMENT)]
    reached = list(gains)
    if (own := _number(tuning.own)) is not None:
        marks.insert(0, Rule(own, upright=True))
    chosen = next((one for one in tuning.tried if one.temperature == tuning.chosen), None)
    if chosen is not None and chosen.form == "constant" and chosen.query is not None and tuning.gain is not None:
        # Beside its temperature, since both intervals would hide each other.
        aside = chosen.query * (axis.high / axis.low) ** _ASIDE if axis.log else chosen.query
        aside += 0 if axis.log else _ASIDE * (axis.high - axis.low)
        words = f"temperature {chosen.temperature}\n{format_gain(tuning.gain)}"
        marks.append(_line(_HELD_OUT, [aside], [tuning.gain], [words]))
        legend.append(Entry(_HELD_OUT, line=False))
        reached.append(tuning.gain)
    ends = [100 * end for one in reached for end in (one.value, one.low, one.high) if end is not None]
    drawn = " The diamond is the chosen temperature on the held-out half, drawn just beside." if len(legend) > 1 else ""
    return Figure(
        key="curve-figure",
        title="Change of the score by temperature",
        reading="The line holds development figures, on which the choice was made. Bars are 95 % intervals; dashed: "
        f"the model's own temperature, {tuning.own}, and its score.{drawn}",
        x=axis,
        y=plots.round_axis("relative change of the score in %", [0.0, *ends]),
        marks=tuple(marks),
        legend=tuple(legend),
        notes=(f"The chosen temperature, {tuning.chosen}, is no constant: its held-out gain is in the next chapter.",)
        if tuning.chosen is not None and len(legend) == 1
        else (),
    )


def _constants(tuning: Tuning) -> list[tuple[float, Estimate, str]]:
    """Return the constant temperatures with their gains in words; the model's own gains 0 by definition."""
    found = {
        one.query: (one.gain, f"temperature {one.temperature}\n{format_gain(one.gain)}")
        for one in tuning.tried
        if one.form == "constant" and one.query is not None
    }
    own = _number(tuning.own)
    if found and own is not None:
        found.setdefault(own, (Estimate(0.0, None, None), f"the model's own, {tuning.own}"))
    return [(at, *point) for at, point in found.items()]


def _number(words: str) -> float | None:
    try:
        return float(words)
    except ValueError:
        return None


def _line(look: Look, x: Sequence[float], gains: Sequence[Estimate], labels: Sequence[str]) -> Line:
    ends = tuple(None if one.low is None or one.high is None else (100 * one.low, 100 * one.high) for one in gains)
    return replace(plots.line(look, x, [100 * one.value for one in gains], labels), ends=ends)


def draw_heat_map(tuning: Tuning) -> HeatMap | None:
    """Return the gains by pairs of temperatures, those of constants on the diagonal; None without temperatures by role.

    The model's own temperature gains 0 by definition.
    """
    if not any(one.form == "role" for one in tuning.tried):
        return None
    pairs: dict[tuple[float, float], tuple[Estimate, str]] = {}
    framed = None
    for one in tuning.tried:
        if one.form != "length" and one.query is not None and one.document is not None:
            pairs[one.query, one.document] = (one.gain, format_gain(one.gain))
            framed = (one.query, one.document) if one.temperature == tuning.chosen else framed
    if (own := _number(tuning.own)) is not None:
        pairs.setdefault((own, own), (Estimate(0.0, None, None), "the model's own"))
    cells = tuple(
        Cell(query, document, 100 * gain.value, f"query {query:g}, document {document:g}: {words}")
        for (query, document), (gain, words) in pairs.items()
    )
    return HeatMap(cells, framed, None if own is None else (own, own))


def _curve(tuning: Tuning) -> Section:
    figure = draw_curve(tuning)
    return Section(
        key="curve",
        label="Development",
        title="Which temperature is best on the development half?",
        intro="The relative change of the score, compared with the model's own temperature. These figures are only "
        "what the choice was made on: the best of many is partly the luckiest.",
        figures=() if figure is None else (figure,),
        tables=_tried(tuning),
        notes=() if figure is not None or not tuning.tried else ("Fewer than two constants were tried: no curve.",),
    )


def _tried(tuning: Tuning) -> tuple[Table, ...]:
    """Return the table of all temperatures, and where there are many tasks another one by task."""
    several = len(tuning.tasks) > 1
    few = several and len(tuning.tasks) <= _FEW_TASKS
    gains = tuple(_in_percent(one.gain) for one in tuning.tried)
    axis = build_axis("change in %", [Row("", gain, None, "baseline") for gain in gains])
    chosen = tuple(place for place, one in enumerate(tuning.tried) if one.temperature == tuning.chosen)
    every = Table(
        key="tried",
        caption="All temperatures that were tried, on the development half",
        head=("temperature", "form", "change", *(tuning.tasks if few else ())),
        rows=tuple(
            (_name(one, tuning), _FORMS[one.form], format_gain(one.gain), *_tasks(one, few)) for one in tuning.tried
        ),
        words=(1,),
        strong=chosen,
        open=True,
        stacked=True,
        strips=Strips(_three_ticks(axis), gains),
    )
    by_task = Table(
        key="tried-tasks",
        caption="Change of each task, on the development half",
        head=("temperature", *tuning.tasks),
        rows=tuple((_name(one, tuning), *_tasks(one, True)) for one in tuning.tried),
        strong=chosen,
    )
    return (every, by_task) if several and not few else (every,)


def _three_ticks(axis: plots.Axis) -> plots.Axis:
    """Return the axis with ticks at its ends and at 0, which have room in a table."""
    kept = {axis.low, 0.0, axis.high}
    return replace(axis, ticks=tuple(tick for tick in axis.ticks if tick.value in kept))


def _name(one: Tried, tuning: Tuning) -> str:
    return f"{one.temperature}, chosen" if one.temperature == tuning.chosen else one.temperature


def _tasks(one: Tried, shown: bool) -> tuple[str, ...]:
    return tuple(map(format_relative, one.tasks)) if shown else ()


def _in_percent(gain: Estimate) -> Estimate:
    value, low, high = (None if one is None else 100 * one for one in (gain.value, gain.low, gain.high))
    return Estimate(value or 0.0, low, high)


def _held_out(tuning: Tuning) -> Section:
    chosen = "the chosen temperature" if tuning.chosen is None else f"temperature {tuning.chosen}"
    return Section(
        key="held-out",
        label="Held out",
        title="What does the choice change on held-out data?",
        intro=f"The score of the held-out half at the model's own temperature and at {chosen}."
        if tuning.held_out
        else "No score of the held-out half was needed."
        if tuning.chosen is None
        else f"At {chosen} the held-out half could not be read.",
        figures=(),
        tables=(
            Table(
                key="held",
                caption="The held-out half",
                head=(
                    "task",
                    "kind",
                    "measure",
                    "items",
                    "before",
                    "after",
                    "difference",
                    "relative",
                    "p",
                    "resolvable",
                ),
                rows=tuple(map(_confirmed, tuning.held_out)),
                words=(1, 2),
                open=True,
                stacked=True,
            ),
        ),
        notes=state_expectations(tuning),
    )


def _confirmed(one: Confirmed) -> tuple[str, ...]:
    """Return the cells of a task; of all tasks the difference is a mean of relative changes."""
    mean = one.task == ALL
    resolvable = MISSING if one.resolvable is None else f"{100 * one.resolvable:.2f} %"
    return (
        "all tasks" if mean else one.task,
        MISSING if mean else one.kind,
        one.metric,
        f"{one.items:,}",
        *(f"{score:.4f}".replace("-", "−") for score in (one.before, one.after)),
        keep_together(format_gain(one.difference) if mean else format_score(one.difference, sign="+")),
        format_relative(one.relative),
        format_p(one.p),
        resolvable if mean else format_size(one.resolvable),
    )


def _notes(tuning: Tuning) -> Section:
    return Section(
        key="notes",
        label="Notes",
        title="Notes",
        intro="How the data were read, and what limits a score.",
        figures=(),
        tables=(),
        notes=tuning.notes,
    )


def list_result(tuning: Tuning) -> Table:
    """Return the table of the model and of what was found."""
    recommended = tuning.recommendation
    return list_values(
        "result",
        "Model and result",
        {
            "model": tuning.model,
            "pooling": tuning.pooling,
            "temperature of the model": tuning.own,
            "best on the development half": tuning.chosen or "none",
            "recommendation": "none"
            if recommended is None
            else json.dumps(recommended, ensure_ascii=False, default=str),
            "held-out gain": MISSING if tuning.gain is None else format_gain(tuning.gain),
            "in cross-validation": format_gain(tuning.expected),
        },
    )
