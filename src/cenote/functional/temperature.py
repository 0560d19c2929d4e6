"""Attention temperature: a number, a function of a text's length, or one of either for each role of a text.

tau divides the attention logits before softmax: below 1 it sharpens attention, 1 is the model itself. Each schedule
is one function and one line of `SCHEDULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cenote.errors import BadInput, choose, some

ROLES = ("query", "document")


@dataclass(frozen=True)
class Schedule:
    """One line of `SCHEDULES`."""

    meaning: str
    compute: Callable[..., Tensor]  # (token counts as floats, **parameters) -> tau of each
    parameters: tuple[str, ...]


def _constant(lengths: Tensor, value: float) -> Tensor:
    return torch.full_like(lengths, value)


def _linear(lengths: Tensor, start: float, end: float, shortest: float, longest: float) -> Tensor:
    return torch.lerp(
        torch.full_like(lengths, start),
        torch.full_like(lengths, end),
        ((lengths - shortest) / (longest - shortest)).clamp(0, 1),
    )


def _power(lengths: Tensor, scale: float, exponent: float) -> Tensor:
    return scale * lengths**exponent


def _log(lengths: Tensor, s: float) -> Tensor:
    # One token attends to itself alone at any tau, and log 1 = 0 has no inverse: it counts as two.
    return 1 / (s * lengths.clamp(min=2).log())


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule("value, at every length", _constant, ("value",)),
    "linear": Schedule(
        "start up to `shortest` tokens, end from `longest` tokens on, a straight line between",
        _linear,
        ("start", "end", "shortest", "longest"),
    ),
    "power": Schedule("scale * n^exponent", _power, ("scale", "exponent")),
    "log": Schedule("1 / (s log n), as in scalable softmax", _log, ("s",)),
}

# Where a schedule is tried when it is made: every length that a model might read, and powers of two far beyond.
_EVERY, _BEYOND = 1 << 16, 25


@dataclass(frozen=True, init=False)
class LengthTemperature:
    """A temperature that depends on the number of tokens in a text, specials included.

    >>> LengthTemperature("linear", start=1.0, end=0.8, shortest=32, longest=256)(torch.tensor([16, 144, 512])).tolist()
    [1.0, 0.8999999761581421, 0.800000011920929]

    Args:
        schedule: a name from `SCHEDULES`.
        **parameters: the numbers that the schedule takes.
    """

    schedule: str
    parameters: tuple[tuple[str, float], ...]

    def __init__(self, schedule: str, **parameters: float) -> None:
        row = choose(schedule, SCHEDULES, "schedule")
        if set(parameters) != set(row.parameters):
            given = some(sorted(parameters)) or "nothing"
            raise BadInput(f"schedule {schedule!r} takes {', '.join(row.parameters)}; given: {given}.")
        numbers = tuple((name, _number(parameters[name], f"{schedule}: {name}")) for name in row.parameters)
        object.__setattr__(self, "schedule", schedule)
        object.__setattr__(self, "parameters", numbers)
        if schedule == "linear" and not parameters["longest"] > parameters["shortest"]:
            raise BadInput(
                f"linear: longest={parameters['longest']:g} is not more than shortest={parameters['shortest']:g}."
            )
        self._try_every_length()

    def __call__(self, lengths: Tensor) -> Tensor:
        """Tau for each of `lengths`, token counts of any shape, as float32."""
        # An empty row attends to nothing; it gets what a text of one token would, and no NaN.
        return SCHEDULES[self.schedule].compute(lengths.float().clamp(min=1), **dict(self.parameters))

    def __str__(self) -> str:
        return f"{self.schedule}({', '.join(f'{name}={value:g}' for name, value in self.parameters)})"

    def _try_every_length(self) -> None:
        lengths = torch.cat([torch.arange(1, _EVERY), 2 ** torch.arange(16, _BEYOND)])
        taus = self(lengths)
        wrong = ~((taus > 0) & taus.isfinite() & (1 / taus).isfinite())
        if wrong.any():
            place = int(wrong.float().argmax())
            raise BadInput(
                f"temperature {self} is {taus[place].item():g} at length {int(lengths[place])}: "
                "it has to be positive and finite at every length."
            )


OneTemperature = float | LengthTemperature
Temperature = OneTemperature | Mapping[str, OneTemperature]


def check_temperature(temperature: Any) -> OneTemperature | dict[str, OneTemperature]:
    """The temperature in its simplest form: a float, a `LengthTemperature`, or one of these for each role.

    >>> check_temperature(LengthTemperature("constant", value=0.5))
    0.5
    """
    if isinstance(temperature, Mapping):
        if set(temperature) != set(ROLES):
            given = some(map(repr, temperature)) or "none"
            raise BadInput(f"a temperature by role names {' and '.join(map(repr, ROLES))}, both; given: {given}.")
        return {role: _one(temperature[role], f"the {role}'s temperature") for role in ROLES}
    return _one(temperature, "temperature")


def to_json(temperature: Temperature) -> Any:
    """The temperature as plain data."""
    if isinstance(temperature, Mapping):
        return {role: to_json(value) for role, value in temperature.items()}
    if isinstance(temperature, LengthTemperature):
        return {"schedule": temperature.schedule, **dict(temperature.parameters)}
    return temperature


def from_json(data: Any) -> OneTemperature | dict[str, OneTemperature]:
    """What `to_json` wrote, checked as if it had been given.

    >>> from_json({"query": 0.9, "document": {"schedule": "log", "s": 0.3}})["document"]
    LengthTemperature(schedule='log', parameters=(('s', 0.3),))
    """
    if isinstance(data, Mapping) and "schedule" in data:
        return check_temperature(LengthTemperature(**data))
    if isinstance(data, Mapping):
        return check_temperature({role: from_json(value) for role, value in data.items()})
    return check_temperature(data)


def _one(value: Any, what: str) -> OneTemperature:
    if isinstance(value, LengthTemperature):
        return value.parameters[0][1] if value.schedule == "constant" else value
    number = _number(value, what)
    if number <= 0 or not math.isfinite(1 / number):
        raise BadInput(f"{what} is {value!r}: it divides, so it has to be positive.")
    return number


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadInput(f"{what} is {value!r}: pass a finite number.")
    return float(value)
