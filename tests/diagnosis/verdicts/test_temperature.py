"""The verdict on the temperatures tried: whether one finds more sentences, and what each moves."""

import pytest

from cenote.diagnosis.verdicts import temperature
from cenote.records import Change, Estimate

from .accounts import account, estimate, model, run, setting

NONE = "With the sentence left out of its text, none of the temperatures tried helps beyond chance."
TRIED = ("0.9", "0.8", "0.7")
NOTHING = Change(difference=None, short=None, long=None, socm=None)
MOVED = Change(difference=estimate(-0.05), short=estimate(0.01), long=estimate(-0.04), socm=None)


def judge(*settings, changes=(NOTHING,) * 3, found=None):
    """The verdicts on a model of which these are the settings of temperatures 0.9, 0.8 and so on."""
    named = {f"temperature {name}": one for name, one in zip(TRIED, settings, strict=False)}
    pairs = zip(TRIED[: len(settings)], changes, strict=False)
    others = (run(name, change=change, tried=float(name)) for name, change in pairs)
    one = account(settings={"pooling max": setting(0.5), **named}) if found is None else found
    return list(temperature.judge(model(run(), *others, account=one)))


def test_the_temperature_that_finds_most_is_named():
    (found,) = judge(setting(0.3, left_out=0.02), setting(0.1, left_out=0.04), setting(0.2, left_out=0.2, reach=0.3))
    assert found.grade == "fine"
    assert found.finding == (
        "With the sentence left out of its text, temperature 0.8 finds 4.0 more (3.0 to 5.0) of 100 sentences."
    )
    assert (
        "Temperature 0.9 finds 30.0 more (29.0 to 31.0) of 100 sentences, left out 2.0 more (1.0 to 3.0)."
    ) in found.evidence
    assert found.advice.startswith("Check it on labelled queries")


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ((setting(0.3, left_out=0.02, reach=0.05),), ""),
        ((setting(0.1, left_out=-0.04),), " 0.9 finds fewer."),
        ((setting(left_out=-0.04), setting(0.0), setting(left_out=-0.05)), " 0.9, 0.7 find fewer."),
        ((setting(0.0, reach=0.0),), ""),
    ],
    ids=["perhaps chance", "fewer", "two find fewer", "no change"],
)
def test_a_temperature_that_does_not_help_is_not_advised(settings, more):
    (found,) = judge(*settings)
    assert found.finding == f"{NONE}{more}"
    assert (found.grade, found.advice) == ("fine", "")


def test_what_moves_is_said_at_both_ends_of_length():
    """A change of long minus short alone does not say which of the two moved."""
    (found,) = judge(setting(0.0), setting(0.0), changes=(MOVED, NOTHING))
    assert (
        "moves the cosine of short texts by +0.010 (95 % interval +0.000 to +0.020), moves the cosine of long texts by "
        "-0.040 (95 % interval -0.050 to -0.030)."
    ) in found.evidence
    assert found.evidence.endswith(
        "Temperature 0.8 finds 0.0 more (1.0 fewer to 1.0 more) of 100 sentences, left out 0.0 more (1.0 fewer to 1.0 "
        "more)."
    )


def test_without_an_account_nothing_is_known_of_a_search():
    (found,) = judge(setting(), setting(), changes=(MOVED, None), found="only 3 texts")
    assert (found.grade, found.finding) == ("unknown", "These texts cannot show whether a temperature helps a search.")
    assert found.evidence.startswith("Temperature 0.9 moves the cosine of short texts by +0.010")
    assert found.evidence.endswith("Temperature 0.8 was not measured.")


def test_an_interval_that_is_not_known_helps_nobody():
    none = setting(0.3)
    none = type(none)(**{**vars(none), "change": Estimate(0.3, None, None)})
    (found,) = judge(none)
    assert found.finding == NONE


def test_the_name_of_a_run_says_what_is_in_the_weights_too():
    named = {"temperature 1": setting(0.3, left_out=0.02), "temperature 0.8": setting(0.1, left_out=0.04)}
    runs = (run("0.9 in the weights", tried=1.0), run("0.8, and 0.9 in the weights", tried=0.8))
    (found,) = temperature.judge(model(run("log(s=0.3)"), *runs, account=account(settings=named)))
    assert "temperature 0.8, and 0.9 in the weights finds 4.0 more" in found.finding
    assert "Temperature 0.9 in the weights finds 30.0 more" in found.evidence


def test_no_other_temperature_has_no_verdict():
    assert judge() == []
