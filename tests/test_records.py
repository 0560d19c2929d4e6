"""Records survive a round trip through JSON; other JSON is refused."""

import json

import pytest

from cenote.errors import BadInput
from cenote.json_records import from_json, to_json
from cenote.records import (
    Diagnosis,
    Estimate,
    Histogram,
    LayerSummary,
    Passed,
    Repeated,
    Spread,
    TextsRead,
)

from .builders import lengths, spread, verdict
from .diagnosis.verdicts.accounts import account, model, setting

DIAGNOSIS = Diagnosis(
    schema=2,
    texts=TextsRead(source="a list", given=3, used=2, empty=1, fingerprint="ab12"),
    verdicts=(verdict(),),
    models=(),
    excerpts=(),
    settings={"seed": 0, "temperatures": [1.0]},
    versions={"cenote": "0.1.0"},
)


@pytest.mark.parametrize(
    "record",
    [
        spread(0.5),
        Estimate(1.0, None, None),
        Histogram((0.0, 0.5), (3,)),
        LayerSummary(0, {"r": spread(0.5), "C": "not defined: pre-norm"}),
        Repeated(("dog", "cat"), (3, 4), (0.5, 0.25)),
        account(settings={"windows of 128 tokens, best": setting(0.1), "pooling cls": setting(-0.1)}),
        model(lengths=lengths(tokens=spread(60.0))),
        model(lengths=lengths(tokens=spread(60.0)), account="only 3 of 30 texts"),
        DIAGNOSIS,
    ],
    ids=lambda record: type(record).__name__,
)
def test_round_trip_gives_equal_records_and_bytes(record):
    text = to_json(record)
    assert from_json(type(record), text) == record
    assert to_json(from_json(type(record), text)) == text


def test_an_account_and_its_settings_are_read_by_name():
    """The keys that the page, and a user's own script, look up."""
    found = json.loads(to_json(model(account=account(found=0.8, settings={"pooling cls": setting(-0.1)}))))
    for shares in (found["account"], found["account"]["settings"]["pooling cls"]):
        for fate in ("found", "lost_to_cut", "lost_to_pooling", "not_found"):
            assert list(shares[fate]) == ["value", "low", "high"]
    assert found["account"]["found"]["value"] == 0.8


def test_diagnosis_methods_use_the_same_format():
    assert DIAGNOSIS.to_json() == to_json(DIAGNOSIS)
    assert Diagnosis.from_json(DIAGNOSIS.to_json()) == DIAGNOSIS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 1}, "the JSON has schema 1, but this version of Cenote reads schema 2"),
        ({"schema": 3}, "the JSON has schema 3, but this version of Cenote reads schema 2"),
        ({"schema": None}, "the JSON has schema None"),
        ({"more": 1}, "does not hold a Diagnosis: Diagnosis has no field more"),
        ({"PAGES": {}}, "does not hold a Diagnosis: Diagnosis has no field PAGES"),
        ({"excerpts": 3}, "does not hold a Diagnosis: expected a list, found 3"),
        ({"texts": {}}, "does not hold a Diagnosis: TextsRead lacks source, given, used, empty, fingerprint"),
        ({"texts": "a list"}, "expected TextsRead, found 'a list'"),
        ({"settings": []}, r"expected dict, found \[\]"),
        (
            {"verdicts": [{**json.loads(to_json(verdict())), "grade": "dire"}]},
            "expected one of severe, .*, found 'dire'",
        ),
        ({"verdicts": [{**json.loads(to_json(verdict())), "grade": "none"}]}, "expected one of .*, found 'none'"),
        ({"verdicts": [{**json.loads(to_json(verdict())), "limit": 1}]}, "expected str, found 1"),
    ],
)
def test_other_json_is_refused(change, message):
    with pytest.raises(BadInput, match=message):
        Diagnosis.from_json(json.dumps({**json.loads(DIAGNOSIS.to_json()), **change}))


def test_only_fields_with_a_default_may_be_missing():
    """Files of earlier versions lack fields that were added later."""
    text = '{"low": 0, "high": 50, "count": 3, "sigma_a": 0.5}'
    assert from_json(Passed, text) == Passed(low=0, high=50, count=3, sigma_a=0.5, theorem3=None)
    with pytest.raises(BadInput, match="does not hold a Passed: Passed lacks count"):
        from_json(Passed, '{"low": 0, "high": 50, "sigma_a": 0.5, "theorem3": 0.5}')


def test_nan_is_not_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(Estimate(float("nan"), None, None))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Diagnosis, "{", "not valid JSON"),
        (Diagnosis, "[" * 100_000, "not valid JSON"),
        (Diagnosis, None, "not valid JSON"),
        (Diagnosis, '{"schema": NaN}', "not valid JSON: NaN is not a number"),
        (Diagnosis, "[]", "schema None"),
        (Spread, "[]", r"does not hold a Spread: expected Spread, found \[\]"),
        (Repeated, '{"words": ["a", "b", "c"], "tokens": [], "cosines": []}', "expected 2 values, found 3"),
    ],
    ids=["half", "deep", "no text", "not a number", "a list", "a list for a record", "a long tuple"],
)
def test_text_that_holds_no_such_record_is_refused(kind, text, message):
    with pytest.raises(BadInput, match=message):
        from_json(kind, text)


def test_a_number_of_400_digits_is_refused():
    text = json.dumps({"edges": [10**400, 1], "counts": [1]})
    with pytest.raises(BadInput, match=r"does not hold a Histogram: 1000.* is too large for a number"):
        from_json(Histogram, text)
