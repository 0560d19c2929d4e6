"""Attention temperature: a number, a function of a text's length, or one of these for each role of a text.

tau divides the attention logits before softmax: below 1 it sharpens attention, 1 leaves the model unchanged. Each
schedule is one function and one line of `SCHEDULES`.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cenote.errors import BadInput, choose, some

if TYPE_CHECKING:
    from cenote.choices import ScheduleName

ROLES = ("query", "document")


@dataclass(frozen=True)
class Schedule:
    """One line of `SCHEDULES`."""

    compute: Callable[..., Tensor]  # (token counts as floats, **parameters) -> tau for each
    parameters: tuple[str, ...]


def _constant(lengths: Tensor, value: float) -> Tensor:
    return torch.full_like(lengths, value)


def _linear(lengths: Tensor, start: float, end: float, shortest: float, longest: float) -> Tensor:
    share = ((lengths - shortest) / (longest - shortest)).clamp(0, 1)
    return torch.lerp(torch.full_like(lengths, start), torch.full_like(lengths, end), share)


def _power(lengths: Tensor, scale: float, exponent: float) -> Tensor:
    return scale * lengths**exponent


def _log(lengths: Tensor, s: float) -> Tensor:
    # One token attends only to itself at any tau, and log 1 = 0 has no inverse: it counts as two.
    return 1 / (s * lengths.clamp(min=2).log())


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(_constant, ("value",)),
    # `start` up to `shortest` tokens, `end` from `longest` tokens on, a straight line between.
    "linear": Schedule(_linear, ("start", "end", "shortest", "longest")),
    "power": Schedule(_power, ("scale", "exponent")),
    "log": Schedule(_log, ("s",)),  # as in scalable softmax
}

# A new schedule is evaluated at every length below `_EVERY`, and at powers of two below 2**`_BEYOND`.
_EVERY, _BEYOND = 1 << 16, 25


@dataclass(frozen=True, init=False)
class LengthTemperature:
    """A temperature that depends on the number of tokens in a text, special tokens included.

    >>> LengthTemperature("linear", start=1.0, end=0.8, shortest=32, longest=256)(torch.tensor([16, 144, 512])).tolist()
    [1.0, 0.8999999761581421, 0.800000011920929]

    Args:
        schedule: a name from `SCHEDULES`.
        **parameters: the parameters of the schedule.
    """

    schedule: str
    parameters: tuple[tuple[str, float], ...]

    def __init__(self, schedule: ScheduleName, /, **parameters: float) -> None:
        row = choose(schedule, SCHEDULES, "schedule")
        if set(parameters) != set(row.parameters):
            given = some(sorted(parameters)) or "nothing"
            raise BadInput(f"schedule {schedule!r} takes {', '.join(row.parameters)}; given: {given}.")
        numbers = tuple((name, _check_number(parameters[name], f"{schedule}: {name}")) for name in row.parameters)
        for name, number in numbers:
            if abs(number) > torch.finfo(torch.float32).max:
                raise BadInput(f"{schedule}: {name} is {number:g}: temperatures are float32, which ends at 3.4e+38.")
        object.__setattr__(self, "schedule", schedule)
        object.__setattr__(self, "parameters", numbers)
        if schedule == "linear" and not parameters["longest"] > parameters["shortest"]:
            raise BadInput(
                f"linear: longest={parameters['longest']:g} must exceed shortest={parameters['shortest']:g}."
            )
        self._check_every_length()

    def __call__(self, lengths: Tensor | int) -> Tensor:
        """Return tau in float32 for token counts of any shape."""
        # An empty row gets the tau of one token, not NaN.
        counts = torch.as_tensor(lengths).float().clamp(min=1)
        return SCHEDULES[self.schedule].compute(counts, **dict(self.parameters))

    def __str__(self) -> str:
        return f"{self.schedule}({', '.join(f'{name}={value:g}' for name, value in self.parameters)})"

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value!r}" for name, value in self.parameters)
        return f"LengthTemperature({self.schedule!r}, {parameters})"

    def _check_every_length(self) -> None:
        own = [int(value) for name, value in self.parameters if name in ("shortest", "longest") and value >= 1]
        lengths = torch.cat([torch.arange(1, _EVERY), 2 ** torch.arange(16, _BEYOND), torch.tensor(own).long()])
        taus = self(lengths)
        bad = ~((taus > 0) & taus.isfinite() & (1 / taus).isfinite())
        if bad.any():
            place = int(bad.float().argmax())
            tau = taus[place].item()
            problem = "too small to divide by" if 0 < tau < 1 else "it must be positive and finite at every length"
            raise BadInput(f"temperature {self} is {tau:g} at length {int(lengths[place])}: {problem}.")


OneTemperature = float | LengthTemperature
Temperature = OneTemperature | Mapping[str, OneTemperature]
_ALLOWED = "pass a finite number, a cenote.LengthTemperature, or one of these for each role"


def check_temperature(temperature: Any) -> OneTemperature | dict[str, OneTemperature]:
    """Return the temperature in its simplest form: a float, a `LengthTemperature`, or one of these for each role.

    It may be the data of `to_json`.

    >>> check_temperature(LengthTemperature("constant", value=0.5))
    0.5
    >>> check_temperature({"query": 0.9, "document": {"schedule": "log", "s": 0.3}})["document"]
    LengthTemperature('log', s=0.3)
    """
    if isinstance(temperature, Mapping) and "schedule" not in temperature:
        if set(temperature) != set(ROLES):
            given = some(map(repr, temperature)) or "none"
            raise BadInput(f"a temperature by role needs {' and '.join(map(repr, ROLES))}; given: {given}.")
        return {role: _check_one(temperature[role], f"the {role}'s temperature") for role in ROLES}
    return _check_one(temperature, "temperature")


def to_json(temperature: Temperature) -> Any:
    """Return the temperature as plain data."""
    if isinstance(temperature, Mapping):
        return {role: to_json(value) for role, value in temperature.items()}
    if isinstance(temperature, LengthTemperature):
        return {"schedule": temperature.schedule, **dict(temperature.parameters)}
    return temperature


def describe(temperature: OneTemperature | dict[str, OneTemperature]) -> str:
    """Describe the temperature in words.

    >>> describe({"query": 0.9, "document": LengthTemperature("log", s=0.3)})
    '0.9 for a query and log(s=0.3) for a document'
    """
    if isinstance(temperature, dict):
        return " and ".join(f"{describe(value)} for a {role}" for role, value in temperature.items())
    return f"{temperature:g}" if isinstance(temperature, float) else str(temperature)


def _check_one(value: Any, what: str) -> OneTemperature:
    if isinstance(value, Mapping) and "schedule" in value:
        value = LengthTemperature(value["schedule"], **{key: value[key] for key in value if key != "schedule"})
    if isinstance(value, LengthTemperature):
        return value.parameters[0][1] if value.schedule == "constant" else value
    number = _check_number(value, what, _ALLOWED)
    if number <= 0:
        raise BadInput(f"{what} is {value!r}: pass a positive number, since logits are divided by it.")
    if not math.isfinite(1 / number):
        raise BadInput(f"{what} is {value!r}: too small to divide by.")
    return number


def _check_number(value: Any, what: str, allowed: str = "pass a finite number") -> float:
    scalar = value.item() if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0 else value
    if isinstance(scalar, bool) or not isinstance(scalar, numbers.Real) or not _is_finite(scalar):
        shown = repr(value) if isinstance(value, (int, float, str, Tensor, np.generic)) else f"a {type(value).__name__}"
        raise BadInput(f"{what} is {shown}: {allowed}.")
    return float(scalar)


def _is_finite(number: numbers.Real) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number of 400 digits
        return False
