"""The chapters of a comparison: each task with its differences, the quarters by length, the costs, the notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cenote.comparison_records import FEW_TEXTS, LEAST_WITHOUT_LABELS, Cell, Comparison, Cost
from cenote.records import ALL
from cenote.report.account import KINDS
from cenote.report.forest import VERDICTS, Forest, Row, build_axis
from cenote.report.formatting import MISSING, format_number, format_score, format_share, join_names
from cenote.report.scores import change_axis
from cenote.report.sections import Section
from cenote.report.series import shorten_names
from cenote.report.tables import Strips, Table, list_values
from cenote.wording import number_duplicates, pluralise, probability, score_estimate, share_estimate

# Quarters by length up to which their tables are open.
_FEW_QUARTERS = 24

MEANINGS = {
    "difference": "the score minus that of the baseline on the same items, with the 95 % interval of "
    "this difference alone",
    "relative": "the difference over the score of the baseline",
    "p": "how often chance alone gives a difference as large for its error, in any of the settings and tasks; in "
    "brackets, as if this comparison were the only one",
    "effect": "the mean difference of items over its standard deviation",
    "resolvable": "the smallest difference that these data would show four times of five",
    "size": "the dimensions of a vector, times the vectors of a text where it has several",
    "time": "seconds of reading for 1,000 texts, unless so few are read that they cannot be timed; settings that share "
    "a reading have its time",
    "neighbours": "agreement with the baseline on the ten nearest texts of each text, by rank: average overlap, the "
    "mean over k from 1 to 10 of the share of the k nearest that both have",
    "equal": "no item differs",
    "cannot be resolved": "so few items differ that no result could be significant",
    "too few items": "there are fewer than 30 items, or items of fewer than 30 sources (unequal ones count as fewer), "
    "and nothing is claimed",
    "items not known": "the values of single items are not known, and nothing is claimed",
}


_OF_SENTENCES = {
    "resolvable": f"{MEANINGS['resolvable']}; without labels {LEAST_WITHOUT_LABELS:g} at least",
    "cannot be resolved": f"{MEANINGS['cannot be resolved']}, or the setting differs by its temperature alone",
    **{kind.name: kind.meaning for kind in KINDS},
    "mean reciprocal rank": "the mean over sentences of one over the rank of their own text",
}
# What becomes of own sentences.
ACCOUNT = (*(kind.name for kind in KINDS), "mean reciprocal rank")


@dataclass(frozen=True)
class Chapter:
    """A section with a figure of differences, if it has one."""

    section: Section
    forest: Forest | None = None


def build_chapters(comparison: Comparison) -> tuple[Chapter, ...]:
    """Return the chapters that are not empty: the mean over tasks, each task, length, cost, notes."""
    tasks = sorted(comparison.tasks, key=lambda task: task != ALL)
    built = (
        *(_task(f"t{place}", task, comparison) for place, task in enumerate(tasks)),
        Chapter(_by_length(comparison)),
        Chapter(_costs(comparison)),
        Chapter(_notes(comparison)),
    )
    return tuple(one for one in built if one.section.notes or any(not table.is_empty for table in one.section.tables))


def explain_columns(comparison: Comparison) -> dict[str, str]:
    """Return the meanings of columns and verdicts."""
    return MEANINGS if comparison.labelled else {**MEANINGS, **_OF_SENTENCES}


def state_subject(comparison: Comparison) -> str:
    """Return what was compared: how many settings of which models on how many tasks."""
    settings = len({cell.setting for cell in comparison.cells})
    models = join_names(shorten_names(list(comparison.models))) or "no model"
    return f"{pluralise(settings, 'setting')} of {models} on {pluralise(_count_tasks(comparison), 'task')}"


def _count_tasks(comparison: Comparison) -> int:
    return len({cell.task for cell in comparison.cells if cell.kind != ALL})


def state_evidence(comparison: Comparison) -> str:
    """Return what the verdicts and the scores rest on."""
    labels = (
        "The scores are those of labelled data."
        if comparison.labelled
        else "No labels were used: the queries are sentences of the texts themselves, so no relevance is claimed."
    )
    quick = " Only fixed samples of the data were scored." if comparison.settings.get("quick") else ""
    return (
        "The verdicts come from one test for all settings and tasks: the chance of a single false finding is 5 %. "
        f"{labels}{quick}"
    )


def format_relative(value: float | None) -> str:
    """Format a relative change in percent with two digits.

    >>> format_relative(0.0053), format_relative(-0.2), format_relative(-1e-9), format_relative(None)
    ('+0.53 %', '−20.00 %', '0.00 %', '–')
    """
    if value is None:
        return MISSING
    shown = f"{100 * value:+.2f} %"
    return "0.00 %" if float(shown[:-2]) == 0 else shown.replace("-", "−")


def format_p(value: float | None) -> str:
    """Format a probability.

    >>> format_p(0.0421), format_p(0.0002), format_p(None)
    ('0.042', '< 0.001', '–')
    """
    return probability(value, MISSING)


def format_size(value: float | None) -> str:
    """Format a difference without sign.

    >>> format_size(0.01234), format_size(None)
    ('0.0123', '–')
    """
    return MISSING if value is None else f"{value:.4f}"


def format_vectors(cost: Cost) -> str:
    """Format the size of a text's vectors: their dimensions, and how many a text has where it has several.

    >>> format_vectors(Cost("cls", 384, 1.0, 7.3, 500)), format_vectors(Cost("windows", 1024, 2.5, 7.3, 500))
    ('384', '1,024 x 2.5')
    """
    return f"{cost.dimensions:,}" + (f" x {cost.vectors:.3g}" if cost.vectors != 1 else "")


def keep_together(text: str) -> str:
    r"""Return a text that breaks into lines only before its brackets.

    >>> keep_together("+0.01 (0.00 to +0.02)")
    '+0.01 (0.00\xa0to\xa0+0.02)'
    """
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace("\N{NO-BREAK SPACE}(", " (")


def drop_empty_columns(table: Table) -> Table:
    """Return a table without the columns that have no value in any row.

    >>> found = drop_empty_columns(Table("key", "caption", ("x", "y", "z"), (("1", "–", "2"),), words=(2,)))
    >>> found.head, found.rows, found.words
    (('x', 'z'), (('1', '2'),), (1,))
    """
    kept = [place for place in range(len(table.head)) if any(row[place] not in ("", MISSING) for row in table.rows)]
    return replace(
        table,
        head=tuple(table.head[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
        words=tuple(kept.index(place) for place in table.words if place in kept),
    )


def _task(key: str, task: str, comparison: Comparison) -> Chapter:
    cells = comparison.of(task)
    first = cells[0]
    mean = first.kind == ALL
    rows = tuple(Row(cell.setting, cell.difference, cell.resolvable, cell.verdict) for cell in cells)
    title = "All tasks" if mean else task
    shown = "these data would show it less than four times of five"
    if not comparison.labelled:
        shown += f", or it is below {LEAST_WITHOUT_LABELS:g}, and without labels not claimed"
    measured = "The mean of the scores of all tasks." if mean else f"{first.kind}, scored by {first.metric}."
    return Chapter(
        section=Section(
            key=key,
            label=title,
            title=title,
            intro=f"{measured} {comparison.answer(task)} {_summary(cells)}",
            figures=(),
            tables=(_cells(key, title, cells, comparison.costs), *_accounts(key, title, cells)),
        ),
        forest=Forest(
            key=f"forest-{key}",
            title="Difference from the baseline",
            reading="A point is the difference of a setting, and its line the 95 % interval of this difference alone. "
            "The verdict allows for all settings and tasks, so a line may miss 0 without a finding. A difference "
            f"within the shaded band may exist, but {shown}.",
            axis=build_axis(f"difference of {first.metric}", rows),
            rows=rows,
        ),
    )


def _summary(cells: Sequence[Cell]) -> str:
    """Return how many settings have which verdict, in a sentence."""
    judged = [cell.verdict for cell in cells if cell.verdict != "baseline"]
    counts = (f"{verdict}: {judged.count(verdict)}" for verdict in VERDICTS if verdict in judged)
    named = list(dict.fromkeys(cell.setting for cell in cells if cell.verdict == "baseline"))
    other = "" if named else f" All are compared with {join_names(dict.fromkeys(cell.baseline for cell in cells))}."
    base = f" The baseline is {named[0]}." if len(named) == 1 else other
    return f"{pluralise(len(judged), 'setting')} compared, {', '.join(counts) or 'none'}.{base}"


def _cells(key: str, title: str, cells: Sequence[Cell], costs: Sequence[Cost]) -> Table:
    """Return the table of all settings on a task, with what they cost over all tasks."""
    several = len({cell.baseline for cell in cells}) > 1
    timed = {cost.setting: format_number(cost.seconds) if cost.texts >= FEW_TEXTS else MISSING for cost in costs}
    of_settings = {cost.setting: (format_vectors(cost), timed[cost.setting]) for cost in costs}
    priced = [(cell, of_settings.get(cell.setting, (MISSING, MISSING))) for cell in cells]
    return drop_empty_columns(
        Table(
            key=f"cells-{key}",
            caption=f"{title}: all settings",
            head=(
                "setting",
                "score",
                "size",
                "time",
                "difference",
                "relative",
                "p (alone)",
                "effect",
                "won / lost / same",
                "resolvable",
                "neighbours",
                "verdict",
                "compared with",
            ),
            rows=tuple((*_format_cell(cell, price), cell.baseline if several else MISSING) for cell, price in priced),
            words=(11, 12),
            strong=tuple(place for place, cell in enumerate(cells) if cell.verdict == "baseline"),
            open=True,
            stacked=True,
        )
    )


def _format_cell(cell: Cell, price: tuple[str, str]) -> tuple[str, ...]:
    """Return the cells of a row; a baseline has a score and a price only."""
    if cell.verdict == "baseline":
        return (cell.setting, f"{cell.score:.4f}".replace("-", "−"), *price, *[""] * 7, "baseline")
    alone = "" if cell.p_alone is None else f" ({format_p(cell.p_alone)})"
    return (
        cell.setting,
        f"{cell.score:.4f}".replace("-", "−"),
        *price,
        keep_together(format_score(cell.difference, sign="+")),
        keep_together(format_relative(cell.relative)),
        keep_together(f"{format_p(cell.p)}{alone}"),
        format_number(cell.effect),
        f"{cell.wins:,} / {cell.losses:,} / {cell.ties:,}" if cell.wins + cell.losses + cell.ties else MISSING,
        format_size(cell.resolvable),
        MISSING if cell.neighbours is None else format_share(cell.neighbours),
        cell.verdict,
    )


def _accounts(key: str, title: str, cells: Sequence[Cell]) -> list[Table]:
    """Return the table of what becomes of own sentences in each setting; none for labelled data."""
    rows = [(cell.setting, *list_account(cell)) for cell in cells if cell.reciprocal_rank is not None]
    table = Table(
        key=f"account-{key}",
        caption=f"{title}: what becomes of the sentences",
        head=("setting", *ACCOUNT),
        rows=tuple(tuple(one or MISSING for one in row) for row in rows),
        open=True,
        stacked=True,
    )
    return [drop_empty_columns(table)] if rows else []


def list_account(cell: Cell) -> tuple[str, ...]:
    """Return the share of each fate of own sentences and their mean reciprocal rank, in the order of `ACCOUNT`."""
    shares = [""] * len(KINDS)
    if cell.fates is not None:
        shares = [share_estimate(getattr(cell.fates, kind.field)) for kind in KINDS]
    rank = cell.reciprocal_rank
    return (*shares, "" if rank is None else score_estimate(rank.value, rank.low, rank.high))


def _by_length(comparison: Comparison) -> Section:
    tables = tuple(
        table
        for place, task in enumerate(comparison.tasks)
        if not (table := _quarters(f"quarters-{place}", task, comparison.of(task))).is_empty
    )
    few = sum(len(table.rows) for table in tables) <= _FEW_QUARTERS
    return Section(
        key="length",
        label="By length",
        title="Does a difference depend on length?",
        intro="The difference among the items of each quarter by length. No test covers these intervals together, so "
        "some exclude 0 by chance; and quarters differ in content too.",
        figures=(),
        tables=tables if few else tuple(replace(table, open=place == 0) for place, table in enumerate(tables)),
    )


def _quarters(key: str, task: str, cells: Iterable[Cell]) -> Table:
    found = [(cell.setting, part) for cell in cells for part in cell.by_length]
    differences = tuple(part.difference for _, part in found)
    axis = change_axis(differences)
    return Table(
        key=key,
        caption=f"{task}: differences by length",
        head=("setting", "length of", "part", "items", "difference"),
        rows=tuple(
            (name, part.by, part.name, f"{part.items:,}", format_score(part.difference, sign="+"))
            for name, part in found
        ),
        words=(1, 2),
        open=True,
        stacked=True,
        strips=Strips(replace(axis, title="difference"), differences),
    )


def _costs(comparison: Comparison) -> Section:
    return Section(
        key="cost",
        label="Cost",
        title="What does each setting cost?",
        intro="Settings that share a reading of the texts have its time. An index grows with the dimensions times the "
        "vectors of a text.",
        figures=(),
        tables=(
            Table(
                key="costs",
                caption="Cost of each setting",
                head=("setting", "dimensions", "vectors a text", "seconds for 1,000 texts", "texts"),
                rows=tuple(
                    (
                        cost.setting,
                        f"{cost.dimensions:,}",
                        f"{cost.vectors:.2f}",
                        format_number(cost.seconds),
                        f"{cost.texts:,}",
                    )
                    for cost in comparison.costs
                ),
                open=True,
                stacked=True,
            ),
        ),
    )


def _notes(comparison: Comparison) -> Section:
    return Section(
        key="notes",
        label="Notes",
        title="Notes",
        intro="How the data were read, and what limits a score.",
        figures=(),
        tables=(),
        notes=comparison.notes,
    )


def list_settings(comparison: Comparison) -> tuple[Table, ...]:
    """Return the tables of the models, and of what each setting is."""
    cells = {cell.setting: cell for cell in comparison.cells}
    models = number_duplicates(shorten_names(list(comparison.models)))
    return (
        Table(
            key="compared",
            caption="Settings that were compared",
            head=("setting", "model", "pooling", "temperature", "tokens read", "longer texts"),
            rows=tuple(
                (
                    cell.setting,
                    cell.model,
                    cell.pooling,
                    cell.temperature,
                    "all" if cell.limit is None else f"{cell.limit:,}",
                    cell.long,
                )
                for cell in cells.values()
            ),
            words=(1, 2, 3, 5),
            open=True,
            stacked=True,
        ),
        list_values("models", "Models", dict(zip(models, comparison.models, strict=True))),
    )
