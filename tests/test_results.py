"""Records go to JSON and come back equal; what is not one is refused by name."""

import json

import pytest

from cenote.errors import BadInput
from cenote.results import (
    Diagnosis,
    Estimate,
    Histogram,
    LayerSummary,
    Passed,
    Repeated,
    Spread,
    TextsRead,
    Verdict,
    from_json,
    to_json,
)

SPREAD = Spread(3, 0.5, 0.25, 0.5, 0.75)
DIAGNOSIS = Diagnosis(
    1,
    TextsRead("a list", 3, 2, 1, "ab12"),
    (Verdict("m", "truncation", "severe", "cut", "so", "far", "embed --long"),),
    (),
    (),
    {"seed": 0, "temperatures": [1.0]},
    {"cenote": "0.1.0"},
)


@pytest.mark.parametrize(
    "record",
    [
        SPREAD,
        Estimate(1.0, None, None),
        Histogram((0.0, 0.5), (3,)),
        LayerSummary(0, {"r": SPREAD, "C": "not defined: pre-norm"}),
        Repeated(("dog", "cat"), (3, 4), (0.5, 0.25)),
        DIAGNOSIS,
    ],
    ids=lambda record: type(record).__name__,
)
def test_there_and_back(record):
    text = to_json(record)
    assert from_json(type(record), text) == record
    assert to_json(from_json(type(record), text)) == text


def test_methods_are_the_functions():
    assert Diagnosis.from_json(DIAGNOSIS.to_json()) == DIAGNOSIS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "the JSON has schema 2, and this version of Cenote reads 1"),
        ({"schema": None}, "the JSON has schema None"),
        ({"more": 1}, "Diagnosis has no more"),
        ({"excerpts": 3}, "holds no Diagnosis"),
        ({"texts": {}}, "holds no Diagnosis"),
        ({"verdicts": [{**json.loads(to_json(DIAGNOSIS.verdicts[0])), "grade": "dire"}]}, "'dire' is none of"),
    ],
)
def test_other_json_is_refused(change, message):
    with pytest.raises(BadInput, match=message):
        Diagnosis.from_json(json.dumps({**json.loads(DIAGNOSIS.to_json()), **change}))


def test_what_earlier_files_lack_is_taken_to_be_as_it_was():
    """Fields that came later have a default; all others must be there."""
    assert from_json(Passed, '{"low": 0, "high": 50, "count": 3, "sigma_a": 0.5}') == Passed(0, 50, 3, 0.5, None)
    with pytest.raises(BadInput, match="holds no Passed: KeyError"):
        from_json(Passed, '{"low": 0, "high": 50, "sigma_a": 0.5, "theorem3": 0.5}')


def test_nothing_is_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(Estimate(float("nan"), None, None))
    for text in ("{", "[" * 100_000, '{"schema": NaN}', None):
        with pytest.raises(BadInput, match="this is no JSON"):
            Diagnosis.from_json(text)
    with pytest.raises(BadInput, match="schema None"):
        Diagnosis.from_json("[]")
