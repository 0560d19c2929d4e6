"""Series: distinct looks, labels, and reasons for missing measures."""

from dataclasses import replace

import pytest

from cenote.records import Diagnosis
from cenote.report.series import (
    all_series,
    join_labels,
    length_curves,
    measured_layers,
    missing_reasons,
    model_looks,
    model_names,
)


def many(diagnosis, count) -> Diagnosis:
    return replace(diagnosis, models=diagnosis.models[:1] * count)


def test_every_run_is_a_series(rich):
    series = all_series(rich)
    assert [one.label for one in series] == [
        "all-MiniLM-L6-v2, temperature\u00a01",
        "all-MiniLM-L6-v2, temperature\u00a00.8",
        f"{rich.models[1].name}, temperature\u00a01",
        f"{rich.models[1].name}, temperature\u00a00.8",
    ]
    assert [one.first for one in series] == [True, False, True, False]
    assert [one.look.colour for one in series] == ["@s1", "@s1", "@s2", "@s2"]
    assert len({one.look.dash for one in series}) == 4


def test_runs_of_a_single_model_differ_in_colour(rich):
    series = all_series(many(rich, 1))
    assert [one.look.colour for one in series] == ["@s1", "@s2"]


@pytest.mark.parametrize("count", [2, 12, 30])
def test_models_differ_in_colour_or_symbol(rich, count):
    looks = model_looks(many(rich, count))
    assert len({(look.colour, look.symbol) for look in looks}) == count
    keys = [one.look.key for one in all_series(many(rich, count))]
    assert len(set(keys)) == 2 * count


def test_models_of_one_name_are_numbered(rich):
    assert model_names(many(rich, 3).models) == tuple(f"all-MiniLM-L6-v2 ({place})" for place in (1, 2, 3))
    assert model_names(rich.models) == tuple(model.name for model in rich.models)


def test_the_control_follows_its_model(rich):
    looks = [look for look, _ in length_curves(all_series(rich))]
    assert [look.label for look in looks[:2]] == [looks[0].label, "all-MiniLM-L6-v2, words alone"]
    assert looks[1].colour == looks[0].colour
    assert looks[1].dash == "dot"
    assert len(looks) == 5  # the second model has none


def test_layers_without_a_measure_are_skipped(rich):
    layers = rich.models[0].runs[0].layers
    assert [index for index, _ in measured_layers(layers, "concentration")] == list(range(6))
    assert [index for index, _ in measured_layers(layers, "filter_rate")] == list(range(1, 6))
    assert measured_layers(layers, "nothing") == ()


def test_each_reason_is_stated_once_for_all_series(rich):
    series, name = all_series(rich), rich.models[1].name
    assert missing_reasons(series, ("residual_ratio",)) == (
        f"{name}: no r, because attention reads a normalised form of what the layer is given (pre-norm).",
    )
    assert missing_reasons(series, ("filter_rate",)) == (
        f"all-MiniLM-L6-v2 and {name}: no layer rate in layer 0, because what the first layer reads was not kept.",
    )
    assert missing_reasons(series, ("concentration",)) == ()
    layers = tuple(replace(layer, measures={}) for layer in rich.models[0].runs[0].layers[::2])
    bare = replace(rich.models[0], runs=(replace(rich.models[0].runs[0], layers=layers),))
    assert missing_reasons(all_series(replace(rich, models=(bare,))), ("sigma_a",)) == (
        "all-MiniLM-L6-v2: no σₐ, because it was not measured.",
    )


def test_layers_of_a_reason_are_ranges(rich):
    run = rich.models[0].runs[0]
    layers = tuple(
        replace(layer, measures=layer.measures | ({"sigma_a": "no."} if layer.index in (0, 1, 2, 5) else {}))
        for layer in run.layers
    )
    model = replace(rich.models[0], runs=(replace(run, layers=layers),))
    assert missing_reasons(all_series(replace(rich, models=(model,))), ("sigma_a",)) == (
        "all-MiniLM-L6-v2: no σₐ in layer 0–2, 5, because no.",
    )


def test_a_model_name_replaces_the_labels_of_all_its_runs(rich):
    series = all_series(rich)
    assert join_labels(series[:2], series) == "all-MiniLM-L6-v2"
    assert join_labels(series[1:2], series) == series[1].label
    assert join_labels(series, series) == f"all-MiniLM-L6-v2 and {rich.models[1].name}"
