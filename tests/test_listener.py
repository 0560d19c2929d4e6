"""`Listener` and `Step`: what a job reports of its progress."""

import pytest

from cenote.listener import Listener


@pytest.fixture
def heard():
    return []


@pytest.fixture
def listener(heard):
    return Listener(progress=lambda *report: heard.append(report))


def test_a_step_is_announced_with_what_is_done_already(listener, heard):
    listener.step("embedding", 10, 4)
    listener.step("checking texts")
    assert heard == [("embedding", 4, 10), ("checking texts", 0, 0)]


def test_a_call_adds_and_reach_sets(listener, heard):
    step = listener.step("embedding", 10)
    step(3)
    step(2)
    step.reach(9)
    step.reach(10, 99)  # the total of the function that reports is not the step's
    step(0)
    assert [done for _, done, _ in heard] == [0, 3, 5, 9, 10, 10]
    assert {(name, total) for name, _, total in heard} == {("embedding", 10)}


def test_a_label_stands_before_the_names_of_steps_alone(listener, heard):
    labelled = listener.labelled("model a: ")
    labelled.step("tracing", 2)(1)
    listener.step("tracing", 2)
    assert heard == [("model a: tracing", 0, 2), ("model a: tracing", 1, 2), ("tracing", 0, 2)]
    assert (labelled.notify, labelled.stop) == (listener.notify, listener.stop)


def test_by_default_nothing_is_reported_and_nothing_stops():
    listener = Listener()
    listener.step("embedding", 3)(1)
    listener.notify("a sentence")
    assert listener.stop() is False
