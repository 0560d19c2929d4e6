"""The sections of a report: figures and tables that belong together, and notes on what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cenote.errors import BadInput
from cenote.records import Diagnosis
from cenote.report import figures, pairs, tables
from cenote.report.formatting import join_names
from cenote.report.plots import Figure
from cenote.report.series import MEASURES, Series, all_series, join_labels, length_curves
from cenote.report.tables import Table


@dataclass(frozen=True)
class Section:
    """One question, with the figures and tables that answer it, and notes on what is missing."""

    key: str
    label: str  # in the contents
    title: str
    intro: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()


def check_diagnosis(diagnosis: Diagnosis) -> None:
    """Raise `BadInput` for other types, and for pairs and examples without excerpts."""
    if not isinstance(diagnosis, Diagnosis):
        raise BadInput(f"a report needs a Diagnosis, not {type(diagnosis).__name__}: see Diagnosis.from_json.")
    for one in all_series(diagnosis):
        for kind in (one.run.pairs, one.run.given_pairs):
            for pair in () if kind is None else (*kind.shown, *kind.worst):
                _check_places(one.label, "a pair", (pair.first, pair.second), len(diagnosis.excerpts))
    for model in diagnosis.models:
        for example in () if isinstance(model.account, str) else model.account.examples:
            places = (
                example.sentence,
                example.document,
                example.document if example.instead is None else example.instead,
            )
            _check_places(model.name, "an example", places, len(diagnosis.excerpts))


def _check_places(label: str, what: str, places: tuple[int, ...], count: int) -> None:
    if not all(0 <= place < count for place in places):
        named = join_names(map(str, dict.fromkeys(places)))
        raise BadInput(f"{label}: {what} refers to excerpts {named}, but there are {count}, counted from 0.")


def build_sections(diagnosis: Diagnosis) -> tuple[Section, ...]:
    """Return the sections that are not empty: length first, then those that fewer readers need."""
    series = all_series(diagnosis)
    built = (
        _length(series),
        Section(
            key="truncation",
            label="Truncation",
            title="How much of the texts the models read",
            intro="A model reads the tokens up to its limit and drops the rest silently. What that costs a search is "
            "the share that is lost to the cut.",
            figures=(figures.lengths(diagnosis),),
            tables=(tables.lengths(diagnosis),),
            notes=() if diagnosis.models else ("No model was read.",),
        ),
        _pairs(diagnosis, series, given=False),
        _pairs(diagnosis, series, given=True),
        _layers(series),
        _attention(series),
        Section(
            key="repeated",
            label="Repeated words",
            title="The effect of length on two words",
            intro="A text of one repeated word has a length but hardly any content.",
            figures=(figures.repeated(series),),
            tables=(tables.repeated(series),),
        ),
    )
    kept = []
    for section in built:
        drawn = tuple(figure for figure in section.figures if not figure.is_empty)
        shown = tuple(table for table in section.tables if not table.is_empty)
        # The notes of a missing figure say why it is missing.
        reasons = [note for figure in section.figures if figure.is_empty for note in figure.notes]
        notes = tuple(dict.fromkeys((*section.notes, *reasons)))
        if drawn or shown or notes:
            kept.append(replace(section, figures=drawn, tables=shown, notes=notes))
    return tuple(kept)


def _length(series: tuple[Series, ...]) -> Section:
    curves = length_curves(series)
    labels_by_note: dict[str, list[str]] = {}
    for look, curve in curves:
        for note in curve.notes:
            labels_by_note.setdefault(note, []).append(look.label)
    notes = [
        note if len(labels) == len(curves) else f"{'; '.join(labels)}: {note}"
        for note, labels in labels_by_note.items()
    ]
    uncut = [one for one in series if one.run.cut_lengths is None]
    if uncut:
        notes.append(
            f"{join_labels(uncut, series)}: too few texts are long enough to be cut at several lengths, and have a "
            "vector at each."
        )
    without = [one.name for one in series if one.first and one.model.words is None]
    if without:
        notes.append(f"{join_names(without)}: no control, because plain averages of word embeddings were not measured.")
    if series and not any(one.run.length.bins for one in series):
        notes.append("Closeness by length was not measured.")
    return Section(
        key="length",
        label="Length",
        title="Does length alone draw texts together?",
        intro="Closeness costs nothing by itself. What length costs a search is in the first chapter, by length of "
        "text.",
        figures=(figures.cut_lengths(series), figures.closeness(series)),
        tables=(
            tables.cut_lengths(series),
            tables.trend(series),
            tables.changes(series),
            tables.closeness(series),
            *tables.bins(series),
        ),
        notes=tuple(notes),
    )


def _pairs(diagnosis: Diagnosis, series: tuple[Series, ...], *, given: bool) -> Section:
    key = "given" if given else "socm"
    measured = [(one, one.run.given_pairs if given else one.run.pairs) for one in series]
    found = [(one, content) for one, content in measured if content is not None]
    # Where no pairs were given, none are missing.
    missing = [one for one, content in measured if content is None and (found or not given)]
    return Section(
        key=key,
        label="Given pairs" if given else "Second order",
        title="Second-order collapse of the given pairs" if given else "What the mean hides: second-order collapse",
        intro="These are the pairs that you gave, such as queries and their hard negatives."
        if given
        else "Pooling keeps the mean of a text's tokens and loses their spread. SOCM = (1 − d_mu) · d_sigma is high "
        "for two texts whose means coincide while their spreads differ. Much of it comes from the number of tokens: "
        "two random halves of one text show how much.",
        figures=(pairs.scatter(found, key), pairs.histogram(found, key)),
        tables=(tables.collapse(found, key), *tables.worst(found, diagnosis.excerpts, key)),
        notes=(f"{join_labels(missing, series)}: no pairs were measured.",) if missing else (),
    )


def _layers(series: tuple[Series, ...]) -> Section:
    traced = tuple(one for one in series if one.run.layers)
    untraced = tuple(one for one in series if not one.run.layers)
    measures = ("concentration", "token_cosine", "contraction", "residual_ratio", "block_ratio")
    return Section(
        key="layers",
        label="Layers",
        title="Where tokens draw together",
        intro="Tokens that lie close together are good news for pooling, because their mean hides little, and what "
        "the length-collapse paper warns of. These figures follow the tokens from layer to layer and show which part "
        "of a block moves them: attention (λ), the residual (r) or the rest (C).",
        figures=tuple(figures.by_layer(traced, f"layer-{name}", name) for name in measures),
        tables=tables.layers(traced, measures, "layers-table"),
        notes=(f"{join_labels(untraced, series)}: layers were not traced.",) if untraced else (),
    )


def _attention(series: tuple[Series, ...]) -> Section:
    traced = tuple(one for one in series if one.run.layers)
    rates = ("attention_rate", "attention_bound", "filter_rate", "filter_bound")
    measures = (*rates, "sigma_a", "sigma_a_bound", "logit_variance")
    return Section(
        key="attention",
        label="Attention",
        title="What attention filters out",
        intro="Attention averages, and averaging reduces the differences between tokens. The mean of the tokens, "
        "which mean pooling takes, is not affected by it in the last layer. Rates are logarithms: −1 keeps 37 % of "
        "the differences, 0 keeps all of them.",
        figures=(
            figures.by_layer(traced, "attention-rate", "attention_rate"),
            figures.by_layer(traced, "filter-rate", "filter_rate"),
            figures.passed(series),
        ),
        tables=(tables.passed(series), *tables.layers(traced, measures, "attention-table")),
    )


def build_glossary(diagnosis: Diagnosis) -> dict[str, str]:
    """Return the meanings of the measures that occur."""
    found = {
        "mean cosine": "of all pairs of embeddings within a length bin; higher is more collapsed",
        "uniformity": "the log of the mean Gaussian potential of pairs; nearer to 0 is more collapsed",
        "effective rank": "the number of directions that the embeddings of a bin use, from equally many texts of each "
        "bin",
    }
    runs = [run for model in diagnosis.models for run in model.runs]
    if any(run.pairs or run.given_pairs for run in runs):
        found |= {
            "d_mu": "a quarter of the squared distance of two pooled texts, scaled to length 1; from 0 to 1",
            "d_sigma": "a quarter of the squared Bures–Wasserstein distance of the covariances of their tokens",
            "SOCM": "(1 − d_mu) · d_sigma, second-order collapse by mean pooling",
            "normalised": "d_sigma over a quarter of both texts' variances, from 0 to 1",
        }
    measured = {name for run in runs for layer in run.layers for name in layer.measures}
    return found | {measure.short: measure.meaning for name, measure in MEASURES.items() if name in measured}
