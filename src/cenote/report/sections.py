"""The report's chapters: which figures and tables belong together, and what is said where something is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cenote.errors import BadInput
from cenote.report import figures, pairs, tables
from cenote.report.plots import Figure
from cenote.report.series import MEASURES, Series, curves, series_of, who
from cenote.report.tables import Table
from cenote.report.writing import listed
from cenote.results import Diagnosis, Pairs


@dataclass(frozen=True)
class Section:
    """One question, and everything that answers it. What is not there is said in `notes`."""

    key: str
    title: str
    intro: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()


def checked(diagnosis: Diagnosis) -> Diagnosis:
    """Refuse what is no diagnosis, and pairs of texts that it does not hold."""
    if not isinstance(diagnosis, Diagnosis):
        raise BadInput(f"a report is made of a Diagnosis, not of {type(diagnosis).__name__}: see Diagnosis.from_json.")
    for one in series_of(diagnosis):
        for kind in (one.run.pairs, one.run.given_pairs):
            for pair in () if kind is None else (*kind.shown, *kind.worst):
                if not 0 <= min(pair.first, pair.second) <= max(pair.first, pair.second) < len(diagnosis.excerpts):
                    raise BadInput(
                        f"{one.label}: a pair names the excerpts {pair.first} and {pair.second}, and there are "
                        f"{len(diagnosis.excerpts)}, counted from 0."
                    )
    return diagnosis


def sections_of(diagnosis: Diagnosis) -> tuple[Section, ...]:
    """All chapters that have something to say, in the order of what tends to cost most."""
    series = series_of(diagnosis)
    built = (
        _lengths(diagnosis),
        _closeness(series),
        _pairs(diagnosis, series, "socm"),
        _pairs(diagnosis, series, "given"),
        _layers(series),
        _attention(series),
        _repeated(series),
    )
    kept = []
    for section in built:
        drawn = tuple(figure for figure in section.figures if not figure.is_empty)
        shown = tuple(table for table in section.tables if not table.is_empty)
        # Why a figure is missing has to be said all the same.
        reasons = [note for figure in section.figures if figure.is_empty for note in figure.notes]
        notes = tuple(dict.fromkeys((*section.notes, *reasons)))
        if drawn or shown or notes:
            kept.append(Section(section.key, section.title, section.intro, drawn, shown, notes))
    return tuple(kept)


def _lengths(diagnosis: Diagnosis) -> Section:
    return Section(
        "length",
        "What the models see of the texts",
        "A model reads up to its limit of tokens and drops the rest without a word. Nothing that follows can find what "
        "was dropped here.",
        (figures.lengths(diagnosis),) if diagnosis.models else (),
        (tables.lengths(diagnosis),) if diagnosis.models else (),
        () if diagnosis.models else ("No model was read.",),
    )


def _closeness(series: tuple[Series, ...]) -> Section:
    shared: dict[str, list[str]] = {}
    for look, curve in curves(series):
        for note in curve.notes:
            shared.setdefault(note, []).append(look.label)
    everywhere = len(curves(series))
    notes = [note if len(some) == everywhere else f"{'; '.join(some)}: {note}" for note, some in shared.items()]
    without = [one.name for one in series if one.first and one.model.words is None]
    if without:
        notes.append(f"{listed(without)}: no control, because plain averages of word embeddings were not measured.")
    shown = (tables.closeness(series), tables.trend(series), tables.changes(series), *tables.bins(series))
    if series and not any(one.run.length.bins for one in series):
        notes.append("Closeness by length was not measured.")
    return Section(
        "closeness",
        "Does length draw texts together?",
        "Embeddings of long texts tend to lie closer to each other than those of short ones, whatever the texts say. A "
        "search then prefers or neglects texts for their length.",
        (figures.closeness(series),),
        shown,
        tuple(notes),
    )


def _pairs(diagnosis: Diagnosis, series: tuple[Series, ...], key: str) -> Section:
    given = key == "given"
    pick: Callable[[Series], Pairs | None] = lambda one: one.run.given_pairs if given else one.run.pairs  # noqa: E731
    found = [(one, content) for one in series if (content := pick(one)) is not None]
    missing = [one for one in series if pick(one) is None]
    if given and not found:
        missing = []  # nobody gave pairs: there is nothing to excuse
    return Section(
        key,
        "The same for the pairs that were given" if given else "What the mean hides",
        "These are the pairs that the diagnosis was asked about, such as queries and their hard negatives."
        if given
        else "Pooling keeps where a text's tokens lie on average and forgets how they spread. SOCM = (1 − d_mu) · "
        "d_sigma is high for two texts whose means coincide while their spreads differ.",
        (pairs.scatter(found, key), pairs.histogram(found, key)),
        (tables.collapse(found, key), *tables.worst(found, diagnosis.excerpts, key)),
        (f"{who(missing, series)}: no pairs were measured.",) if missing else (),
    )


# A measure, the title of its figure, and how to read it.
_BY_LAYER = (
    (
        "concentration",
        "Spread of tokens, layer by layer",
        "A line that falls says that a text's tokens draw together on the way up. Bands reach from the lowest to the "
        "highest tenth, here and in all figures by layer.",
    ),
    (
        "token_cosine",
        "Cosine of tokens, layer by layer",
        "The nearer to 1, the more alike are the tokens of one text, and the less there is left for pooling to lose.",
    ),
    (
        "contraction",
        "λ: does attention contract?",
        "Below 1 attention contracts what tells a text's tokens apart, above 1 it may widen it.",
    ),
    (
        "residual_ratio",
        "r: what the residual carries on",
        "The lower it is, the less the spread of what the block was given counts against its mean after attention.",
    ),
    (
        "block_ratio",
        "C: what the rest of the block does",
        "Above 1 the norm and the feed-forward layer spread the tokens again, below 1 they draw them further together.",
    ),
)


def _layers(series: tuple[Series, ...]) -> Section:
    traced = tuple(one for one in series if one.run.layers)
    return Section(
        "layers",
        "Where tokens draw together",
        "Where the tokens of a text lie close together, their mean loses little. These figures follow them from layer "
        "to layer, and show which part of the block moves them: attention (λ), the residual (r), or the rest (C).",
        tuple(
            figures.by_layer(traced, f"layer-{measure}", title, reading, measure)
            for measure, title, reading in _BY_LAYER
        ),
        tables.layers(traced, tuple(measure for measure, _, _ in _BY_LAYER), "layers-table"),
        _untraced(series),
    )


def _untraced(series: tuple[Series, ...]) -> tuple[str, ...]:
    without = [one for one in series if not one.run.layers]
    return (f"{who(without, series)}: layers were not traced.",) if without else ()


_OF_ATTENTION = (
    "attention_rate",
    "attention_bound",
    "filter_rate",
    "filter_bound",
    "sigma_a",
    "sigma_a_bound",
    "logit_variance",
)


def _attention(series: tuple[Series, ...]) -> Section:
    traced = tuple(one for one in series if one.run.layers)
    return Section(
        "attention",
        "What attention filters out",
        "Attention averages, and averaging takes away the differences between tokens. Rates are logarithms: −1 leaves "
        "37 % of the differences, 0 leaves them as they are.",
        (
            figures.by_layer(
                traced,
                "attention-rate",
                "Attention alone, against its bound",
                "The dotted line of the same colour is the most that attention could keep; no text lies above its own.",
                "attention_rate",
                "attention_bound",
            ),
            figures.by_layer(
                traced,
                "filter-rate",
                "The whole layer, beside the paper's bound",
                "Below 0 tokens drew together in this layer. The dotted line knows attention's values only, so the "
                "layer, which has a residual too, may lie above it.",
                "filter_rate",
                "filter_bound",
            ),
            figures.passed(series),
        ),
        (tables.passed(series), *tables.layers(traced, _OF_ATTENTION, "attention-table")),
    )


def _repeated(series: tuple[Series, ...]) -> Section:
    return Section(
        "repeated",
        "Length and nothing else",
        "A text of one word, repeated, has a length and hardly anything to say.",
        (figures.repeated(series),),
        (tables.repeated(series),),
    )


def glossary(diagnosis: Diagnosis) -> tuple[tuple[str, str], ...]:
    """What the measures mean, those that occur."""
    found: list[tuple[str, str]] = [
        ("mean cosine", "of all pairs of embeddings within a bin of length; higher is more collapsed"),
        ("uniformity", "the log of the mean Gaussian potential of pairs; nearer to 0 is more collapsed"),
        (
            "effective rank",
            "how many directions the embeddings of a bin use, taken over equally many texts of each bin",
        ),
    ]
    runs = [run for model in diagnosis.models for run in model.runs]
    if any(run.pairs or run.given_pairs for run in runs):
        found += [
            ("d_mu", "a quarter of the squared distance of two pooled texts, scaled to length 1; from 0 to 1"),
            ("d_sigma", "a quarter of the squared Bures–Wasserstein distance of the covariances of their tokens"),
            ("SOCM", "(1 − d_mu) · d_sigma, second-order collapse by mean pooling; higher is more severe"),
        ]
    there = {name for run in runs for layer in run.layers for name in layer.measures}
    return (*found, *((measure.short, measure.meaning) for name, measure in MEASURES.items() if name in there))
