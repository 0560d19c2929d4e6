"""Accuracy of a classification by length: Figures 1a and 6 of the paper on length collapse.

Scores are MTEB's: ten classifiers, each trained on a few texts of each label. A model cuts long texts, and the part
that is cut can decide the label. So the longest and the shortest are compared a second time among texts that are read
whole; and the same long texts are classified twice, read to half of the limit and to all of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from scipy import stats
from sentence_transformers import SentenceTransformer

import cenote
from cenote.data.labelled import Labelled
from cenote.data.labelled_samples import QUICK, sample_labelled
from cenote.evaluation_records import TaskScore
from cenote.functional.items import mean_of_items, rank_correlation_of_items
from cenote.functional.paired import Difference, Paired
from cenote.functional.sampling import Floats, Whole
from cenote.models.properties import limit_of
from cenote.records import Estimate
from experiments.data_sets import labelled_of, sources_of
from experiments.lab import Cell, Claim, Experiment, Finding, Measured, above, below, legend, looks, main
from experiments.length.grid import decide, estimate
from experiments.length.reading import interval, reading_to

PLAIN, TEMPERED = 1.0, 0.8
# Test texts. A quick run takes about 40 s of one core, a whole one 8 minutes.
TEXTS, QUICK_TEXTS = 3000, 200
# The share of the texts that counts as longest and as shortest, and the fewest that show anything.
END, FEWEST = 0.2, 10
NEAR_EQUAL = (
    "With the demo model MTEB's classifiers give both classes of reviews, and of their sentences, nearly equal "
    "probabilities: the entropies that are compared there differ by less than .0005"
)
FIGURE_1A, FIGURE_6 = "arXiv 2410.24200, Figure 1a", "arXiv 2410.24200, Figure 6"


@dataclass(frozen=True)
class Texts:
    """The test texts and how they were classified, `[N]` each."""

    tokens: Floats  # of the whole text
    accuracy: Floats  # share of the classifiers that are right
    entropy: Floats  # of the predicted probabilities
    sources: Whole | None = None  # texts of one source are one item; None where each has its own

    def take(self, rows: Whole) -> Texts:
        """Return some of the texts."""
        sources = None if self.sources is None else self.sources[rows]
        return Texts(self.tokens[rows], self.accuracy[rows], self.entropy[rows], sources)


def measure(model: SentenceTransformer, data: str, quick: bool) -> Measured:
    """Return accuracy and entropy by length, plain and tempered, and what reading more of a text changes."""
    sizes = replace(QUICK, test=QUICK_TEXTS if quick else TEXTS)
    labelled = sample_labelled(labelled_of(data, quick=False, kind="classification"), sizes=sizes)
    texts, rows, limit, sources = {}, [], limit_of(model), sources_of(data)
    for tau in (PLAIN, TEMPERED):
        with cenote.temper(model, tau):
            score, texts[tau] = classify(model, labelled, sources)
        rows += rows_by_tokens(score, tau)
    findings = [*by_length(texts[PLAIN], limit), *by_temperature(texts[PLAIN], texts[TEMPERED])]
    if limit is not None:
        with reading_to(model, limit // 2):
            _, half = classify(model, labelled, sources)
        findings += by_reading(half, texts[PLAIN], limit)
    return Measured(rows, findings)


def classify(model: SentenceTransformer, labelled: Labelled, sources: Mapping[str, str]) -> tuple[TaskScore, Texts]:
    """Return the score of a model on a classification, and its test texts one by one, with the source of each."""
    with tempfile.TemporaryDirectory() as folder:
        # One backend for all readings, so that nothing but the setting differs.
        reading = {"others": (), "backend": "torch", "precision": "float32"}
        evaluation = cenote.evaluate(model, data={"data": labelled}, items=folder, cache=False, **reading)
        (file,) = Path(folder).glob("*.parquet")
        table = pq.read_table(file)
    columns = (table[name].to_numpy() for name in ("text_tokens", "value", "entropy"))
    numbers = {source: number for number, source in enumerate(dict.fromkeys(sources.values()))}
    own = np.array([numbers[sources[text]] for text in table["text"].to_pylist()]) if sources else None
    return evaluation.tasks[0], Texts(*columns, own)


def rows_by_tokens(score: TaskScore, tau: float) -> list[dict[str, Any]]:
    """Return a row for each of the paper's intervals that has texts enough; for quarters where only one has."""
    known = [part for part in score.by_length if part.score is not None]
    intervals, quarters = ([part for part in known if part.division == one] for one in ("interval", "quarter"))
    rows = []
    for part in intervals if len(intervals) > 1 else quarters or intervals:
        name = f"{part.low:.0f}+" if part.high is None else f"{part.low:.0f}-{part.high:.0f}"
        row = {"tau": tau, "tokens": name, "texts": part.items, "accuracy": part.score.value}
        rows.append(row | interval(part.score) | {"entropy": part.entropy})
    return rows


def ends(tokens: Floats) -> tuple[Whole, Whole]:
    """Return the shortest and the longest texts."""
    order = np.argsort(tokens, kind="stable")
    count = round(END * len(order))
    return order[:count], order[len(order) - count :]


def difference_of_means(first: Floats, second: Floats, sources: Whole | None = None) -> Estimate:
    """Return the mean of other items minus that of the first ones, with Welch's t interval.

    With the sources of the first and then of the other items, each source is resampled with what its items add to the
    difference.

    >>> difference_of_means(np.array([0.0, 1.0]), np.array([1.0, 2.0])).value
    1.0
    """
    value = float(second.mean() - first.mean())
    if sources is not None:
        added = np.concatenate([(first.mean() - first) / len(first), (second - second.mean()) / len(second)])
        return mean_of_items(value + len(added) * added, sources=sources)
    if not np.ptp(first) and not np.ptp(second):
        return Estimate(value, None, None)
    found = stats.ttest_ind(second, first, equal_var=False).confidence_interval()
    return Estimate(value, float(found.low), float(found.high))


def by_length(texts: Texts, limit: int | None) -> Iterator[Finding]:
    """Yield how accuracy and entropy of the longest texts differ from those of the shortest."""
    short, long = (texts.take(rows) for rows in ends(texts.tokens))
    if len(long.tokens) >= FEWEST:
        yield below("falls", difference_of_means(short.accuracy, long.accuracy, both_sources(short, long)))
        yield above("entropy", difference_of_means(short.entropy, long.entropy, both_sources(short, long)))
    if len(long.tokens) >= FEWEST and np.ptp(texts.accuracy):
        yield below("follows", rank_correlation_of_items(texts.entropy, texts.accuracy, sources=texts.sources))
    whole = texts.take(np.flatnonzero(texts.tokens <= (limit or np.inf)))
    short, long = (whole.take(rows) for rows in ends(whole.tokens))
    # Where all are read whole, it is the same difference.
    if len(long.tokens) >= FEWEST and len(whole.tokens) < len(texts.tokens):
        yield below("whole", difference_of_means(short.accuracy, long.accuracy, both_sources(short, long)))


def both_sources(first: Texts, second: Texts) -> Whole | None:
    """Return the sources of some texts and then of others."""
    known = first.sources is not None and second.sources is not None
    return np.concatenate([first.sources, second.sources]) if known else None  # type: ignore[list-item]


def by_temperature(plain: Texts, tempered: Texts) -> Iterator[Finding]:
    """Yield what a temperature changes for the longest texts."""
    _, long = ends(plain.tokens)
    if len(long) >= FEWEST:
        of_long = plain.take(long).sources
        yield decide(above, "tempered", change_of_items((tempered.accuracy - plain.accuracy)[long], of_long))
        yield below("tempered entropy", mean_of_items((tempered.entropy - plain.entropy)[long], sources=of_long))


def by_reading(half: Texts, whole: Texts, limit: int) -> Iterator[Finding]:
    """Yield what reading to the limit changes for texts that reach it, beside reading to half of it."""
    cut = np.flatnonzero(whole.tokens >= limit)
    if len(cut) >= FEWEST:
        yield decide(below, "cut", change_of_items((whole.accuracy - half.accuracy)[cut], whole.take(cut).sources))


def change_of_items(values: Floats, sources: Whole | None = None) -> Difference:
    """Return the mean change of a score with its interval and its test by flips."""
    return estimate(Paired(values[None], sources))


def draw(figure: Figure, cells: Sequence[Cell]) -> None:
    """Draw accuracy, with its interval, above entropy for each data set: a colour for each model, tempered dashed."""
    data = list(dict.fromkeys(cell.data for cell in cells))
    figure.set_size_inches(max(5.5, 3.6 * len(data)), 6)
    axes = figure.subplots(2, len(data), squeeze=False, sharex="col")
    styles = looks(cell.model for cell in cells)
    for cell in cells:
        column = axes[:, data.index(cell.data)]
        for tau, line in ((PLAIN, "-"), (TEMPERED, "--")):
            rows = [row for row in cell.measured.rows if row["tau"] == tau]
            x, label = [_place(row) for row in rows], f"{cell.model}, τ {tau:g}"
            for name, ax in zip(("accuracy", "entropy"), column, strict=True):
                ax.plot(x, [row[name] for row in rows], line, ms=4, label=label, **styles[cell.model])
            if tau == PLAIN:
                low, high = (np.array([row[end] for row in rows], np.float64) for end in ("low", "high"))
                column[0].fill_between(x, low, high, color=styles[cell.model]["color"], alpha=0.12, lw=0)
    for name, (top, bottom) in zip(data, axes.T, strict=True):
        top.set_title(name, fontsize=10)
        bottom.set_xlabel("tokens of the text")
        places = {_place(row): row["tokens"] for cell in cells if cell.data == name for row in cell.measured.rows}
        bottom.set_xticks(list(places), list(places.values()), rotation=30)
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("entropy of predictions")
    legend(figure)


def _place(row: dict[str, Any]) -> int:
    """Return where the texts of a row begin."""
    return int(row["tokens"].rstrip("+").partition("-")[0])


EXPERIMENT = Experiment(
    name="length-accuracy",
    title="Classification by length, plain and tempered",
    claims={
        "falls": Claim(
            FIGURE_1A,
            "Longer texts are classified worse (BGE on IMDB: 75.6 % below 100 tokens, 59.0 % from 400 to 500)",
            "Accuracy of the longest fifth of the texts minus that of the shortest",
            note="On all 25,000 reviews of IMDB the demo model's accuracy falls from .65 of the shortest fifth to .58 "
            "of the longest (docs/results.md). mr_sentences are single sentences of reviews; qmsum_passages are cut at "
            "random lengths",
        ),
        "whole": Claim(
            FIGURE_1A,
            "So are those of the longer texts that the model reads whole",
            "The same among texts within the model's limit",
        ),
        "cut": Claim(
            FIGURE_1A,
            "Length itself is the cause: the more of a long text is read, the worse it is classified",
            "Accuracy of texts that reach the limit, read to the limit minus read to half of it",
            note="mr_sentences has no such texts",
        ),
        "entropy": Claim(
            FIGURE_6,
            "Predictions for longer texts have a higher entropy",
            "Mean entropy of the longest fifth minus that of the shortest",
            note=NEAR_EQUAL,
        ),
        "follows": Claim(
            FIGURE_6,
            "Texts of higher entropy are classified worse",
            "Rank correlation of entropy and accuracy over texts",
            note="Any classifier that knows how sure it is gives it: it is no sign of length collapse",
        ),
        "tempered": Claim(
            FIGURE_6,
            f"An attention temperature of {TEMPERED} raises the accuracy of long texts",
            "Change of the accuracy of the longest fifth",
        ),
        "tempered entropy": Claim(
            FIGURE_6,
            f"An attention temperature of {TEMPERED} lowers the entropy of long texts",
            "Change of the mean entropy of the longest fifth",
            note=NEAR_EQUAL,
        ),
    },
    measure=measure,
    draw=draw,
    data=("imdb", "20news_full", "qmsum_passages", "mr_sentences"),
    kind="classification",
    notes=(
        "Intervals of accuracy are for other test texts, with the classifiers that were trained here.",
        "qmsum_passages are passages of meetings, cut at random lengths from 32 to 512 words and marks, and labelled "
        "by the kind of meeting: their length says nothing of their label. Passages of one meeting are resampled "
        "together for the findings; the intervals of the figure take them to be independent.",
        "mr_sentences, of which all texts have fewer than 100 tokens, is shown by quarters, which share their ends.",
        "Any classifier that knows how sure it is has a lower accuracy where its entropy is higher: that claim is no "
        "sign of length collapse.",
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
