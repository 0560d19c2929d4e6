"""What is drawn beside each other: looks that can be told apart, names, and why something is missing."""

from dataclasses import replace

import pytest

from cenote.report.series import curves, looks_of, measured, names, reasons, series_of, who
from cenote.results import Diagnosis


def many(diagnosis, count) -> Diagnosis:
    return replace(diagnosis, models=diagnosis.models[:1] * count)


def test_a_series_for_every_run(rich):
    series = series_of(rich)
    assert [one.label for one in series] == [
        "all-MiniLM-L6-v2, temperature\u00a01",
        "all-MiniLM-L6-v2, temperature\u00a00.8",
        f"{rich.models[1].name}, temperature\u00a01",
        f"{rich.models[1].name}, temperature\u00a00.8",
    ]
    assert [one.first for one in series] == [True, False, True, False]
    assert [one.look.colour for one in series] == ["@s1", "@s1", "@s2", "@s2"]
    assert len({one.look.dash for one in series}) == 4


def test_one_model_has_a_colour_for_each_run(rich):
    series = series_of(many(rich, 1))
    assert [one.look.colour for one in series] == ["@s1", "@s2"]


@pytest.mark.parametrize("count", [2, 12, 30])
def test_looks_differ(rich, count):
    looks = looks_of(many(rich, count))
    assert len({(look.colour, look.symbol) for look in looks}) == count
    keys = [one.look.key for one in series_of(many(rich, count))]
    assert len(set(keys)) == 2 * count


def test_models_of_one_name_are_numbered(rich):
    assert names(many(rich, 3).models) == tuple(f"all-MiniLM-L6-v2 ({place})" for place in (1, 2, 3))
    assert names(rich.models) == tuple(model.name for model in rich.models)


def test_the_control_stands_beside_its_model(rich):
    looks = [look for look, _ in curves(series_of(rich))]
    assert [look.label for look in looks[:2]] == [looks[0].label, "all-MiniLM-L6-v2, words alone"]
    assert looks[1].colour == looks[0].colour
    assert looks[1].dash == "dot"
    assert len(looks) == 5  # the second model has none


def test_only_what_was_measured(rich):
    layers = rich.models[0].runs[0].layers
    assert [index for index, _ in measured(layers, "concentration")] == list(range(6))
    assert [index for index, _ in measured(layers, "filter_rate")] == list(range(1, 6))
    assert measured(layers, "nothing") == ()


def test_reasons_are_said_once(rich):
    series, name = series_of(rich), rich.models[1].name
    assert reasons(series, ("residual_ratio",)) == (
        f"{name}: no r, because attention reads a normalised form of what the layer is given (pre-norm).",
    )
    assert reasons(series, ("filter_rate",)) == (
        f"all-MiniLM-L6-v2 and {name}: no layer rate in layer 0, because what the first layer reads was not kept.",
    )
    assert reasons(series, ("concentration",)) == ()
    layers = tuple(replace(layer, measures={}) for layer in rich.models[0].runs[0].layers[::2])
    bare = replace(rich.models[0], runs=(replace(rich.models[0].runs[0], layers=layers),))
    assert reasons(series_of(replace(rich, models=(bare,))), ("sigma_a",)) == (
        "all-MiniLM-L6-v2: no σₐ, because it was not measured.",
    )


def test_a_range_of_layers(rich):
    run = rich.models[0].runs[0]
    layers = tuple(
        replace(layer, measures=layer.measures | ({"sigma_a": "no."} if layer.index in (0, 1, 2, 5) else {}))
        for layer in run.layers
    )
    model = replace(rich.models[0], runs=(replace(run, layers=layers),))
    assert reasons(series_of(replace(rich, models=(model,))), ("sigma_a",)) == (
        "all-MiniLM-L6-v2: no σₐ in layer 0–2, 5, because no.",
    )


def test_a_model_stands_for_all_its_runs(rich):
    series = series_of(rich)
    assert who(series[:2], series) == "all-MiniLM-L6-v2"
    assert who(series[1:2], series) == series[1].label
    assert who(series, series) == f"all-MiniLM-L6-v2 and {rich.models[1].name}"
