"""How long a diagnosis takes is said at the start, and kept up to date."""

import numpy as np
import pytest

from cenote.diagnosis import forecast
from cenote.diagnosis.forecast import Forecast, Stage, measure_speed
from cenote.encoding.tokens import tokenise
from cenote.listener import Listener


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests turn."""
    now = [0.0]
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: now[0])
    return now


def test_the_speed_of_finished_stages_is_that_of_the_others(clock):
    said = []
    found = Forecast([Stage(1000), Stage(2000, 30), Stage(500)], 0.1, Listener(notify=said.append))
    found.begin()
    assert (found.left, said) == (pytest.approx(3500 * 0.1 + 30), ["about 6 min for this model"])
    clock[0] = 200  # 0.2 seconds a token
    found.finish_stage()
    assert (found.left, said[1:]) == (pytest.approx(2500 * 0.2 + 30), ["about 9 min to go for this model"])
    clock[0] += 30 + 2000 * 0.01
    found.finish_stage()
    assert (found.left, said[2:]) == (pytest.approx(5), [])  # not worth a line
    clock[0] += 1
    found.finish_stage()
    assert (found.left, said[2:]) == (0, [])


def test_a_stage_without_reading_teaches_no_speed(clock):
    found = Forecast([Stage(0), Stage(10, 100), Stage(10)], 0.1, Listener())
    found.begin()
    for passed in (50, 60):  # the second is faster than all that is not reading
        clock[0] += passed
        found.finish_stage()
    assert found.left == pytest.approx(1)


def test_the_speed_is_that_of_reading_a_few_texts_the_second_time(tiny_bert, clock):
    tokens, passes = tokenise(tiny_bert, ["a pool"] * 20), []
    hook = tiny_bert.register_forward_hook(lambda *_: passes.append(0))
    original = tiny_bert.forward

    def slow(*args, **kwargs):
        clock[0] += 64 if not passes else 8
        passes.append(1)
        return original(*args, **kwargs)

    tiny_bert.forward = slow
    try:
        assert measure_speed(tiny_bert, tokens, 0, Listener()) == pytest.approx(8 / (8 * tokens.lengths[0]))
    finally:
        del tiny_bert.forward
        hook.remove()
    assert np.sum(passes) == 2
