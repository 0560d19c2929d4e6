"""The sections of an evaluation: scores, other ways to read long texts, parts by length, the worst items, notes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cenote.evaluation_records import FEWEST_ITEMS, Evaluation, Part, TaskScore
from cenote.records import Estimate
from cenote.report import plots
from cenote.report.formatting import MISSING, clip_text, format_number, format_score, format_share, name_change
from cenote.report.plots import Axis, Figure, Rule, Tick
from cenote.report.sections import Section
from cenote.report.series import Look
from cenote.report.tables import Strips, Table
from cenote.wording import number_duplicates, pluralise

# Characters of a text that are shown.
_ROOM = 300
# The paper's intervals are as wide as this, in tokens; the last one is open.
_WIDTH = 100
# Tasks up to which tables of texts are open.
_FEW_TASKS = 3
# Sizes of an index above one vector a text, from which a curve says more than the table.
_CURVE = 3
# Ways to read long texts that give one vector for each.
_ONE_VECTOR = ("truncate", "window-mean")


@dataclass(frozen=True)
class Named:
    """A task with a key and a name of its own."""

    key: str
    name: str
    task: TaskScore

    @property
    def score(self) -> Estimate:
        """The score of the task with its interval."""
        return Estimate(self.task.score, self.task.low, self.task.high)

    @property
    def part_metric(self) -> str:
        """The measure of the parts by length."""
        return self.task.part_metric or self.task.metric

    @property
    def part_score(self) -> Estimate | None:
        """The score of all items by the measure of the parts."""
        return self.task.part_score if self.task.part_metric else self.score


def name_tasks(tasks: Sequence[TaskScore]) -> tuple[Named, ...]:
    """Return the tasks with keys, and with numbers after equal names."""
    names = number_duplicates([task.name for task in tasks])
    return tuple(Named(f"t{place}", *found) for place, found in enumerate(zip(names, tasks, strict=True)))


def build_sections(evaluation: Evaluation) -> tuple[Section, ...]:
    """Return the sections that are not empty, in the order of a reader's questions."""
    tasks = name_tasks(evaluation.tasks)
    built = (
        _scores(tasks),
        _long(tasks, str(evaluation.settings.get("long", "as scored"))),
        _by_length(tasks),
        _worst(tasks),
        _notes(tasks),
    )
    return tuple(one for one in built if one.notes or any(not table.is_empty for table in one.tables))


def score_axis(values: Iterable[Estimate | None]) -> Axis:
    """Return an axis from 0 to 1, or to the next half where a value lies outside.

    >>> [tick.label for tick in score_axis([Estimate(0.4, -0.1, 0.9)]).ticks]
    ['−0.5', '0', '0.5', '1']
    """
    reached = [0.0, 1.0, *_reached(values)]
    halves = range(math.floor(2 * min(reached)), math.ceil(2 * max(reached)) + 1)
    ticks = tuple(Tick(at / 2, f"{at / 2:g}".replace("-", "−")) for at in halves)
    return Axis("score", ticks[0].value, ticks[-1].value, ticks)


def change_axis(values: Iterable[Estimate | None]) -> Axis:
    """Return an axis with 0 in its middle, and with ticks at its ends and at 0.

    >>> [tick.label for tick in change_axis([Estimate(0.01, -0.02, 0.04)]).ticks]
    ['−0.04', '0', '0.04']
    """
    reached = _reached(values)
    axis = plots.round_axis("change of the score", [*reached, *(-value for value in reached)])
    first, last = axis.ticks[0], axis.ticks[-1]
    return replace(axis, ticks=(first, Tick(0, "0"), last))


def _reached(values: Iterable[Estimate | None]) -> list[float]:
    """Return all values, and the ends of their intervals."""
    found = [one for one in values if one is not None]
    return [part for one in found for part in (one.value, one.low, one.high) if part is not None]


def _scores(tasks: Sequence[Named]) -> Section:
    return Section(
        key="scores",
        label="Scores",
        title="How good is the model on each task?",
        intro="The score of each task as MTEB computes it, with a 95 % interval: for other items from the same source, "
        "or in a clustering for other draws of the same texts. A difference smaller than an interval may be chance.",
        figures=(),
        tables=(
            Table(
                key="scores",
                caption="Scores with 95 % intervals",
                head=("task", "kind", "measure", "items", "score"),
                rows=tuple(
                    (
                        one.name,
                        one.task.kind,
                        one.task.metric,
                        f"{one.task.items:,}" if one.task.items else MISSING,
                        format_score(one.score),
                    )
                    for one in tasks
                ),
                words=(1, 2),
                open=True,
                stacked=True,
                strips=_score_strips([one.score for one in tasks]),
            ),
        ),
    )


def _score_strips(values: Sequence[Estimate | None]) -> Strips:
    return Strips(score_axis(values), tuple(values))


def _long(tasks: Sequence[Named], way: str) -> Section:
    tried = any(one.task.settings for one in tasks)
    return Section(
        key="long",
        label="Long texts",
        title="What would windows change?",
        intro="The same items, with long texts read in windows in place of one cut text. “Higher” and “lower” mark "
        "changes whose 95 % interval excludes 0; all others may be chance."
        if tried
        else "No other way to read long texts was tried. The table has the share of texts that are longer than the "
        "model reads.",
        figures=tuple(drawn for one in tasks if (drawn := draw_sizes(one, way)) is not None),
        tables=(_ways(tasks, way), _cut(tasks)),
    )


def _ways(tasks: Sequence[Named], way: str) -> Table:
    """Return the table of ways to read long texts: that of the score first, then the others with their changes."""
    rows: list[tuple[str, ...]] = []
    changes: list[Estimate | None] = []
    for one in tasks:
        if not one.task.settings:
            continue
        unchanged = "1.0" if way in _ONE_VECTOR else MISSING
        rows.append((one.name, f"{way}, unchanged", format_score(one.score), MISSING, unchanged))
        changes.append(None)
        for setting in one.task.settings:
            word, change = name_change(setting.change), format_score(setting.change, sign="+")
            judged = f"{word}: {change}" if word else change
            rows.append((one.name, setting.name, format_score(setting.score), judged, f"{setting.vectors:.1f}"))
            changes.append(setting.change)
    return Table(
        key="ways",
        caption="Ways to read long texts, on the same items",
        head=("task", "way", "score", "change", "vectors per text"),
        rows=tuple(rows),
        words=(1,),
        open=True,
        stacked=True,
        strips=Strips(change_axis(changes), tuple(changes)),
    )


def draw_sizes(one: Named, way: str) -> Figure | None:
    """Return the score against the vectors of a text; None for fewer than three sizes above one vector."""
    by_size = {round(setting.vectors, 2): setting for setting in one.task.settings if setting.name != "truncate"}
    found = [by_size[size] for size in sorted(by_size)]
    if sum(setting.vectors > 1 for setting in found) < _CURVE:
        return None
    sizes, scores = [setting.vectors for setting in found], [setting.score for setting in found]
    labels = [f"{each.name}, {each.vectors:.1f} vectors a text\n{format_score(each.score)}" for each in found]
    look = Look(f"{one.key}-sizes", one.name, "s1", "circle", "solid")
    ends = tuple(None if each.low is None or each.high is None else (each.low, each.high) for each in scores)
    return Figure(
        key=f"sizes-{one.key}",
        title=f"{one.name}, by the size of the index",
        reading=f"Bars are 95 % intervals; dashed: {way}. An index grows with its vectors.",
        x=plots.log_axis("vectors a text", min(sizes), max(sizes)),
        y=plots.round_axis(one.task.metric, [one.task.score, *_reached(scores)]),
        marks=(
            Rule(one.task.score, upright=False, label=way),
            replace(plots.line(look, sizes, [each.value for each in scores], labels), ends=ends),
        ),
        legend=(),
    )


def _cut(tasks: Sequence[Named]) -> Table:
    return Table(
        key="cut",
        caption="Texts that are cut at the limit of the model",
        head=("task", "texts", "cut", "share"),
        rows=tuple(
            (one.name, f"{texts:,}", f"{cut:,}", format_share(cut / texts) if texts else MISSING)
            for one in tasks
            for texts, cut in [(one.task.texts, one.task.cut)]
        ),
        open=True,
        stacked=True,
    )


def _by_length(tasks: Sequence[Named]) -> Section:
    measured = [one for one in tasks if one.task.by_length]
    drawn = [(one, by, draw_by_length(one, by)) for one in measured for by in _measured_texts(one.task)]
    missing = [f"{one.name}, by {by}" for one, by, figure in drawn if figure is None]
    notes = [
        f"{one.name}: the relevant documents among the longest 20 % have a mean rank of {rank:.1f}."
        for one in tasks
        if (rank := one.task.longest_rank) is not None
    ]
    if missing:
        notes.append(f"No figure, since fewer than two parts have a score: {'; '.join(missing)}.")
    return Section(
        key="length",
        label="By length",
        title="Does the score depend on length?",
        intro="The score of parts of the items, by the length of their texts in tokens. Parts differ in content too. "
        f"Parts of fewer than {FEWEST_ITEMS} items, or of items from fewer sources, have no score. "
        "Sources with unequal numbers of items count as fewer." + _measures_of_parts(measured),
        figures=tuple(figure for _, _, figure in drawn if figure is not None),
        tables=(_ends(measured), _positions(tasks), *map(_parts, measured)),
        notes=tuple(notes),
    )


def _measures_of_parts(tasks: Sequence[Named]) -> str:
    """Return a sentence on parts that have another measure than the score; nothing where there are none."""
    metrics = {one.task.metric: one.task.part_metric for one in tasks if one.task.part_metric}
    return "".join(
        f" Parts have the {of_parts} in place of the {metric}, which is higher the fewer texts a part has."
        for metric, of_parts in metrics.items()
    )


def _measured_texts(task: TaskScore) -> tuple[str, ...]:
    """Return the texts of the items that are measured."""
    return tuple(dict.fromkeys(part.by for part in task.by_length))


def draw_by_length(one: Named, by: str) -> Figure | None:
    """Return the score by the paper's intervals of length, or by quarters; None if neither has two scores."""
    parts = [part for part in one.task.by_length if part.by == by]
    scored = [(part, part.score) for part in parts if part.score is not None]
    intervals, quarters = ([one for one in scored if one[0].division == name] for name in ("interval", "quarter"))
    found, title = (intervals, "") if len(intervals) > 1 else (quarters, ", in quarters")
    if len(found) < 2:
        return None
    axis = f"tokens of the {by}"
    middles = [(part.low + (part.low + _WIDTH if part.high is None else part.high + 1)) / 2 for part, _ in found]
    look = Look(f"{one.key}-{by}", one.name, "s1", "circle", "solid")
    labels = [f"{part.name}, {pluralise(part.items, 'item')}\n{format_score(score)}" for part, score in found]
    scores = [score for _, score in found]
    ends = tuple(None if one.low is None or one.high is None else (one.low, one.high) for one in scores)
    left_out: dict[str, list[str]] = {}
    for part in parts if found is intervals else ():
        if part.score is None and part.division == "interval":
            left_out.setdefault(_why_unscored(part), []).append(part.name)
    top = math.ceil((middles[-1] + 1) / _WIDTH) * _WIDTH
    whole = [] if one.part_score is None else [one.part_score.value]
    return Figure(
        key=f"length-{one.key}-{_measured_texts(one.task).index(by)}",
        title=f"{one.name}, by length of the {by}{title}",
        reading="Bars are 95 % intervals" + ("; dashed: all items." if whole else "."),
        # The label at the end would belie an open interval.
        x=plots.tight_axis(axis, 0, top - 1e-6) if found is intervals else plots.spread_axis(axis, middles),
        y=plots.round_axis(one.part_metric, [*whole, *_reached(scores)]),
        marks=(
            *(Rule(value, upright=False) for value in whole),
            replace(plots.line(look, middles, [score.value for score in scores], labels), ends=ends),
        ),
        legend=(),
        notes=tuple(f"Not drawn, with {why}: {', '.join(names)}." for why, names in left_out.items()),
    )


def _format_part(part: Part) -> str:
    """Return the score of a part, or the reason why it has none."""
    return _why_unscored(part) if part.score is None else format_score(part.score)


def _why_unscored(part: Part) -> str:
    if part.items < FEWEST_ITEMS:
        return f"fewer than {FEWEST_ITEMS} items"
    return f"items from fewer than {FEWEST_ITEMS} sources, unequal ones counted as fewer, or equal scores"


def _ends(tasks: Sequence[Named]) -> Table:
    """Return the table of the shortest and the longest items, where they have scores."""
    parts = [(one, part) for one in tasks for part in one.task.by_length if part.score is not None]
    found = [(one, part) for one, part in parts if part.division == "end"]
    return Table(
        key="ends",
        caption="The shortest and the longest items",
        head=("task", "length of", "part", "items", "measure", "score"),
        rows=tuple(
            (one.name, part.by, part.name, f"{part.items:,}", one.part_metric, format_score(part.score))
            for one, part in found
        ),
        words=(1, 2, 4),
        open=True,
        stacked=True,
        strips=_score_strips([part.score for _, part in found]),
    )


def _positions(tasks: Sequence[Named]) -> Table:
    """Return the table of queries whose answers stand at one place of a longer text."""
    found = [(one.name, at) for one in tasks for at in one.task.positions]
    return Table(
        key="positions",
        caption="Queries that find their text first, by the place of the words that answer them in a longer text",
        head=("task", "way", "place", "items", "found first"),
        rows=tuple((name, at.way, at.place, f"{at.items:,}", format_score(at.found)) for name, at in found),
        words=(1, 2),
        open=True,
        stacked=True,
        strips=_score_strips([at.found for _, at in found]),
    )


def _parts(one: Named) -> Table:
    """Return the table of all parts of a task, with the entropy of predictions where a part has it."""
    parts = one.task.by_length
    entropy = any(part.entropy is not None for part in parts)
    return Table(
        key=f"parts-{one.key}",
        caption=f"{one.name}: all parts",
        head=("part", "length of", "items", one.part_metric, *(["mean entropy of predictions"] * entropy)),
        rows=(
            *(
                (part.name, part.by, f"{part.items:,}", _format_part(part), *([format_number(part.entropy)] * entropy))
                for part in parts
            ),
            *(("all items", MISSING, f"{one.task.items:,}", format_score(score)) for score in _other_whole(one)),
        ),
        words=(1,),
    )


def _other_whole(one: Named) -> list[Estimate]:
    """Return the score of all items by the measure of the parts, where that is another."""
    return [score for score in (one.task.part_score,) if score is not None]


def _worst(tasks: Sequence[Named]) -> Section:
    shown = [one for one in tasks if one.task.worst]
    texts = [text for one in shown for item in one.task.worst for text in (item.text, item.expected, item.found)]
    pairs = " The value of a pair is the product of its ranks by given score and by cosine, both standardised."
    pairs = pairs if any(one.task.kind == "sts" for one in shown) else ""
    cut = f" Texts are shown up to {_ROOM} characters." if any(len(text) > _ROOM for text in texts) else ""
    return Section(
        key="worst",
        label="Worst items",
        title="Which items go wrong?",
        intro=f"The items of each task with the lowest values; the score is the mean of all values.{pairs}{cut}",
        figures=(),
        tables=tuple(
            Table(
                key=f"worst-{one.key}",
                caption=f"{one.name}: the lowest {len(one.task.worst)} of {pluralise(one.task.items, 'item')}",
                head=("item", "value", "text", "expected", "found"),
                rows=tuple(
                    (
                        item.item,
                        format_number(item.value),
                        *(clip_text(text, _ROOM) for text in (item.text, item.expected, item.found)),
                    )
                    for item in one.task.worst
                ),
                words=(2, 3, 4),
                open=len(shown) <= _FEW_TASKS,
                stacked=True,
            )
            for one in shown
        ),
    )


def _notes(tasks: Sequence[Named]) -> Section:
    return Section(
        key="notes",
        label="Notes",
        title="Notes",
        intro="How the data were read, and what limits a score.",
        figures=(),
        tables=(),
        notes=tuple(f"{one.name}: {note}" for one in tasks for note in one.task.notes),
    )
