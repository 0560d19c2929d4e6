"""Progress lines, with a clock that the test sets, and the bar of a terminal."""

import io
import re

import pytest

from cenote.commands.progress import EVERY, Lines, progress


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def written():
    clock, lines = Clock(), []
    return clock, lines, Lines(lines.append, clock)


def test_a_short_step_is_one_line_with_its_total(written):
    clock, lines, tell = written
    for what, done, total in (("a", 0, 1200), ("a", 600, 1200), ("a", 1200, 1200), ("b", 0, 1), ("b", 1, 1)):
        clock.now += 1
        tell(what, done, total)
    tell("c", 0, 2)
    clock.now += 100
    tell("c", 2, 2)  # late, but finished
    assert lines == ["a: 1,200", "b", "c: 2"]


def test_a_long_step_is_a_line_every_half_minute(written):
    clock, lines, tell = written
    tell("reading", 0, 36_000)
    for second in range(1, 36_000 // 10):
        clock.now += 1
        tell("reading", 10 * second, 36_000)
    assert len(lines) == 1 + (3599 // EVERY)
    assert lines[1] == "reading: 300 of 36,000, 10 a second, 60 min left"
    assert lines[-1] == "reading: 35,700 of 36,000, 10 a second, 30 s left"


def test_slow_and_stuck_steps_show_seconds_per_item_or_no_rate(written):
    clock, lines, tell = written
    tell("night", 16, 1000)  # the 16 done before the first report do not count for the rate
    clock.now += 40
    tell("night", 16, 1000)
    clock.now += 40
    tell("night", 24, 1000)
    assert lines[1:] == ["night: 16 of 1,000", "night: 24 of 1,000, 10 s each, 2 h 40 min left"]


def test_a_step_of_unknown_length_has_a_rate_and_no_time_left(written):
    clock, lines, tell = written
    tell("checking texts", 0, 0)
    for row in range(1, 101):
        clock.now += 1
        tell("checking texts", 2000 * row, 0)
    clock.now += 50
    tell("embedding", 0, 0)
    clock.now += 40
    tell("embedding", 4, 0)
    assert lines == [
        "checking texts",
        "checking texts: 60,000, 2,000 a second",
        "checking texts: 120,000, 2,000 a second",
        "checking texts: 180,000, 2,000 a second",
        "embedding",
        "embedding: 4, 10 s each",
    ]


def test_lines_in_a_log_and_a_bar_on_a_terminal(monkeypatch, capsys):
    with progress() as tell:
        tell("step", 0, 10)
    assert capsys.readouterr().err == "cenote: step: 10\n"

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with progress() as tell:
        tell("one", 0, 10)
        tell("one", 10, 10)
        tell("two", 0, 5)
    assert re.search("one: .*0/10.*two: .*0/5", terminal.getvalue(), re.DOTALL)
    assert "cenote:" not in terminal.getvalue()
