"""Series: distinct looks, labels, and reasons for missing measures."""

from dataclasses import replace

import pytest

from cenote.records import LayerSummary
from cenote.report.series import (
    all_series,
    join_labels,
    length_curves,
    measured_layers,
    missing_reasons,
    model_looks,
    shorten_names,
    shown_verdicts,
)

from .diagnoses import EVIL, EVIL_SHOWN


def test_every_run_is_a_series(rich):
    series = all_series(rich)
    assert [one.label for one in series] == [
        "all-MiniLM-L6-v2, temperature\u00a01",
        "all-MiniLM-L6-v2, temperature\u00a00.8",
        f"{EVIL_SHOWN}, temperature\u00a01",
        f"{EVIL_SHOWN}, temperature\u00a00.8",
    ]
    assert [one.first for one in series] == [True, False, True, False]
    assert [one.look.colour for one in series] == ["s1", "s1", "s2", "s2"]
    assert len({one.look.dash for one in series}) == 4
    single = all_series(replace(rich, models=rich.models[:1]))
    assert [one.look.colour for one in single] == ["s1", "s2"]  # they need not match those of another model


@pytest.mark.parametrize("count", [2, 12, 30])
def test_models_differ_in_colour_or_symbol(rich, count):
    many = replace(rich, models=rich.models[:1] * count)
    looks = model_looks(many)
    assert len({(look.colour, look.symbol) for look in looks}) == len({look.label for look in looks}) == count
    assert len({one.look.key for one in all_series(many)}) == 2 * count


def test_the_control_follows_its_model(rich):
    looks = [look for look, _ in length_curves(all_series(rich))]
    assert [look.label for look in looks[:2]] == [looks[0].label, "all-MiniLM-L6-v2, words alone"]
    assert looks[1].colour == looks[0].colour
    assert looks[1].dash == "dot"
    assert len(looks) == 5  # the second model has none


def test_layers_without_a_measure_are_skipped(rich):
    layers = rich.models[0].runs[0].layers
    assert list(measured_layers(layers, "concentration")) == list(range(6))
    assert list(measured_layers(layers, "filter_rate")) == list(range(1, 6))
    assert measured_layers(layers, "nothing") == {}


def test_each_reason_is_stated_once_for_all_series(rich):
    series, name = all_series(rich), EVIL_SHOWN
    assert missing_reasons(series, ("residual_ratio", "filter_rate", "concentration")) == (
        f"{name}: no r, because attention reads a normalised form of what the layer is given (pre-norm).",
        f"all-MiniLM-L6-v2 and {name}: no layer rate in layer 0, because what the first layer reads was not kept.",
    )


def test_layers_of_a_reason_are_ranges(alone):
    reasons = ({}, {}, {}, {"sigma_a": "no."}, {"sigma_a": "no."}, {})
    found = alone(layers=tuple(LayerSummary(index, measures) for index, measures in enumerate(reasons)))
    assert missing_reasons(all_series(found), ("sigma_a",)) == (
        "all-MiniLM-L6-v2: no σₐ in layer 0–2, 5, because it was not measured.",
        "all-MiniLM-L6-v2: no σₐ in layer 3–4, because no.",
    )
    assert "no λ, because it was not measured." in missing_reasons(all_series(found), ("contraction",))[0]


def test_a_model_name_replaces_the_labels_of_all_its_runs(rich):
    series = all_series(rich)
    assert join_labels(series[:2], series) == "all-MiniLM-L6-v2"
    assert join_labels(series[1:2], series) == series[1].label
    assert join_labels(series, series) == f"all-MiniLM-L6-v2 and {EVIL_SHOWN}"


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["/work/models/l3"], ("l3",)),
        (["/work/models/l3/", "minilm"], ("l3", "minilm")),
        (["C:\\models\\l3", "BAAI/bge-m3"], ("l3", "bge-m3")),
        (["a/x/best", "b/x/best", "b/y/best"], ("a/x/best", "b/x/best", "y/best")),
        (["l3", "/models/l3"], ("l3", "models/l3")),
        (["minilm", "minilm"], ("minilm (1)", "minilm (2)")),
        (["/hub/models--BAAI--bge-m3/snapshots/5617a9f61b"], ("bge-m3",)),
        (["/", ""], ("/", "")),
    ],
)
def test_a_path_is_shown_by_its_last_part_and_names_stay_different(names, shown):
    assert shorten_names(names) == shown


def test_verdicts_have_the_names_that_are_shown(rich):
    names = [verdict.model for verdict in rich.verdicts]
    assert EVIL in names
    assert [verdict.model for verdict in shown_verdicts(rich)] == [
        EVIL_SHOWN if name == EVIL else name for name in names
    ]
