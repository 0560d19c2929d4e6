"""Attention temperatures: schedules in plain Python, JSON and pickle, and bad input."""

import json
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from cenote.errors import BadInput
from cenote.functional.temperature import SCHEDULES, LengthTemperature, check_temperature, to_json

MADE = {
    "constant": LengthTemperature("constant", value=0.7),
    "linear": LengthTemperature("linear", start=1.0, end=0.6, shortest=10, longest=30),
    "power": LengthTemperature("power", scale=1.2, exponent=-0.25),
    "log": LengthTemperature("log", s=0.43),
}
# One length at a time, in plain Python.
REFERENCE = {
    "constant": lambda n: 0.7,
    "linear": lambda n: 1.0 if n <= 10 else 0.6 if n >= 30 else 1.0 - 0.4 * (n - 10) / 20,
    "power": lambda n: 1.2 / n**0.25,
    "log": lambda n: 1 / (0.43 * math.log(max(n, 2))),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_match_plain_python(name):
    lengths = [1, 2, 9, 10, 11, 17, 30, 31, 512, 100_000]
    taus = MADE[name](torch.tensor(lengths))
    assert taus.dtype == torch.float32
    assert taus.tolist() == pytest.approx([REFERENCE[name](n) for n in lengths], rel=1e-6)
    assert MADE[name](torch.tensor([0])).isfinite().all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_json_and_pickle_round_trips(name):
    made = MADE[name]
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301  our own bytes
    assert hash(made) == hash(pickle.loads(pickle.dumps(made)))  # noqa: S301  our own bytes
    expected = 0.7 if name == "constant" else made
    assert check_temperature(json.loads(json.dumps(to_json(made)))) == expected
    roles = {"query": 0.9, "document": made}
    assert check_temperature(json.loads(json.dumps(to_json(roles)))) == {"query": 0.9, "document": expected}


def test_constant_schedules_become_numbers():
    assert check_temperature(1) == 1.0
    assert check_temperature(MADE["constant"]) == 0.7
    assert str(MADE["linear"]) == "linear(start=1, end=0.6, shortest=10, longest=30)"


@pytest.mark.parametrize(
    ("temperature", "message"),
    [
        (0, "temperature is 0: pass a positive number"),
        (-0.5, "pass a positive number"),
        (1e-320, "too small to divide by"),
        (math.nan, "temperature is nan: pass a finite number"),
        (math.inf, "pass a finite number"),
        (True, "pass a finite number"),
        ("0.8", "temperature is '0.8': pass a finite number"),
        (None, "pass a finite number"),
        ({"query": 0.8}, "needs 'query' and 'document'; given: 'query'"),
        ({"query": 0.8, "passage": 0.8}, "given: 'query', 'passage'"),
        ({}, "given: none"),
        ({"query": 0.8, "document": 0}, "the document's temperature is 0"),
        ({"query": {"query": 1}, "document": 1}, "the query's temperature is a dict: pass a finite number, a"),
    ],
)
def test_bad_temperatures_are_refused(temperature, message):
    with pytest.raises(BadInput, match=message):
        check_temperature(temperature)


@pytest.mark.parametrize(
    ("schedule", "parameters", "message"),
    [
        ("linear", {"start": 1, "end": -1, "shortest": 1, "longest": 11}, "is 0 at length 6: "),
        ("linear", {"start": 1, "end": 0.5, "shortest": 10, "longest": 10}, "longest=10 must exceed shortest=10"),
        ("linear", {"start": 1, "end": 0.5}, "takes start, end, shortest, longest; given: end, start"),
        ("power", {"scale": -1, "exponent": 0.1}, "is -1 at length 1: "),
        ("power", {"scale": 1, "exponent": -60}, "at length 5: "),
        ("log", {"s": 0}, "is inf at length 1: "),
        ("log", {"s": -1}, "at length 1: "),
        ("constant", {"value": math.nan}, "constant: value is nan: pass a finite number"),
        ("constant", {}, "takes value; given: nothing"),
        ("linaer", {}, "unknown schedule 'linaer'; did you mean 'linear'"),
    ],
)
def test_bad_schedules_are_refused_with_the_length(schedule, parameters, message):
    with pytest.raises(BadInput, match=message):
        LengthTemperature(schedule, **parameters)


def test_numbers_of_other_types_are_accepted():
    for value in (np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5), Fraction(1, 2)):
        assert check_temperature(value) == 0.5
    assert check_temperature({"schedule": "log", "s": 0.3}) == LengthTemperature("log", s=0.3)
    assert repr(LengthTemperature("log", s=0.3)) == "LengthTemperature('log', s=0.3)"


def test_numbers_beyond_float32_are_refused():
    with pytest.raises(BadInput, match=r"constant: value is 1e\+39: temperatures are float32, which ends at 3\.4e\+38"):
        LengthTemperature("constant", value=1e39)
