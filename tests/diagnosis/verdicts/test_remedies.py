"""Advice: what was measured to help, by how much, and how to get it."""

import re
import shlex
from dataclasses import replace

import pytest

from cenote import cli
from cenote.choices import LONG, POOLINGS
from cenote.diagnosis.verdicts.remedies import READ_THE_END, advise, list_parts, per_hundred
from cenote.records import Estimate

from .accounts import READING, account, part, setting

LEFT_OUT = "With the sentence left out of its text, none of"
# A setting of every kind, and how to get it.
SETTINGS = {
    "windows of 128 tokens, best": "cenote embed MODEL TEXTS --long windows --max-seq-length 128 -o FOLDER`.",
    "windows of 254 tokens, mean": "cenote embed MODEL TEXTS --long window-mean --max-seq-length 254 -o FOLDER`.",
    "reading 512 tokens": "Load the model with `--max-seq-length 512`.",
    "pooling weightedmean": "Load the model with `pooling='weightedmean'`.",
    "temperature 0.9": "Temper the model: `cenote temper MODEL --temperature 0.9 -o FOLDER`.",
}


def test_of_the_settings_that_help_the_best_left_out_is_advised():
    """Only the form that leaves a sentence out of its text ranks settings as labelled queries do."""
    settings = {
        "pooling max": setting(0.2, left_out=0.3, reach=0.4),  # perhaps chance
        "windows of 254 tokens, best": setting(0.09, left_out=0.02, rows=2.46),
        "windows of 254 tokens, mean": setting(0.03, left_out=0.04),
    }
    told = advise(account(settings=settings))
    assert told.startswith("Best of 3 settings that were tried: windows of 254 tokens, averaged to one vector a text.")
    assert "Of 100 sentences 3.0 more (2.0 to 4.0) find their text; with" in told
    assert "with the sentence left out of its text, 4.0 more (3.0 to 5.0)" in told
    assert "times the vectors" not in told
    dear = advise(account(settings={name: one for name, one in settings.items() if name.endswith("best")}))
    assert "for 2.5 times the vectors" in dear


def test_what_helps_with_the_sentence_in_its_text_alone_is_said_to_be_coverage():
    windows = {"windows of 64 tokens, mean": setting(0.05), "windows of 64 tokens, best": setting(0.09)}
    settings = {**windows, "pooling max": setting(0.3), "temperature 0.9": setting(0.3)}  # of these it misleads
    told = advise(account(settings=settings))
    assert told.startswith("If your users look for passages: windows of 64 tokens, of which the best counts")
    assert "Of 100 sentences 9.0 more (8.0 to 10.0) find their text" in told
    assert "which may be chance. So texts are found better by what they say, but not by what they are about." in told
    assert "--long windows --max-seq-length 64" in told


def test_only_settings_of_the_kinds_asked_for_are_advised():
    settings = {"pooling max": setting(0.0), "pooling cls": setting(-0.1), "windows of 254 tokens, best": setting(0.1)}
    assert advise(account(settings=settings), ("pooling",)) == (
        f"{LEFT_OUT} these helps beyond chance: pooling max, pooling cls."
    )
    assert "windows of 254 tokens, of which the best" in advise(account(settings=settings), ("windows", "reading"))
    assert advise(account(settings=settings), ("reading",)) == advise(account()) == ""


def test_a_change_without_an_interval_is_not_advised():
    unsure = Estimate(0.5, None, None)
    found = advise(account(settings={"pooling cls": replace(setting(), change=unsure, change_left_out=unsure)}))
    assert found == f"{LEFT_OUT} these helps beyond chance: pooling cls."


@pytest.mark.parametrize("name", SETTINGS)
def test_the_advice_says_how_to_get_the_setting(name):
    told = advise(account(settings={name: setting(0.06, left_out=0.03)}))
    assert told.endswith(SETTINGS[name])


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in SETTINGS if not name.startswith("temperature")),
        "temperature 0.9",
    ],
)
def test_the_command_line_takes_what_is_advised(name):
    told = re.search("`(.*)`", advise(account(settings={name: setting(0.06, left_out=0.03)}))).group(1)
    if told.startswith("pooling="):
        assert told.split("'")[1] in POOLINGS
        return
    words = shlex.split(told.removeprefix("cenote "))
    words = words if words[0] in cli.COMMANDS else ["embed", "MODEL", "TEXTS", "-o", "FOLDER", *words]
    args = cli.parser().parse_args(words)
    assert getattr(args, "long", None) in (None, *LONG)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((0.0312, 0.004, 0.06), "3.1 more (0.4 to 6.0)"),
        ((0.0312, -0.004, 0.06), "3.1 more (0.4 fewer to 6.0 more)"),
        ((-0.05, -0.08, -0.02), "5.0 fewer (2.0 to 8.0)"),
        ((-0.05, -0.08, 0.02), "5.0 fewer (8.0 fewer to 2.0 more)"),
        ((0.0, 0.0, 0.0), "0.0 more (0.0 to 0.0)"),
        ((-0.05, -0.08, 0.0), "5.0 fewer (0.0 to 8.0)"),
        ((-0.05, None, None), "5.0 fewer"),
    ],
)
def test_changes_are_sentences_of_100(change, told):
    assert per_hundred(Estimate(*change)) == told


def test_parts_are_listed_with_the_share_found():
    assert list_parts(account(parts=READING), "length", "texts of {}") == " Found: cut texts 70 %."
    assert list_parts(account(parts=READING), "length", "texts of {}", "lost_to_pooling") == (
        " Lost to pooling: cut texts 6 %."
    )
    assert list_parts(account(parts=READING), "reading", "{} sentences") == (
        " Found: read sentences 97 %, not read sentences 40 %."
    )


def test_parts_of_few_sentences_are_not_listed():
    few, enough = part("length", "9 tokens", 0.7, 29), part("length", "8 tokens", 0.9, 30)
    assert list_parts(account(parts=(few, enough)), "length", "texts of {}") == " Found: texts of 8 tokens 90 %."
    assert list_parts(account(parts=(few,)), "length", "texts of {}") == ""


def test_many_settings_that_do_not_help_are_counted():
    settings = {f"pooling {name}": setting(0.0) for name in ("cls", "max", "weightedmean", "lasttoken")}
    assert advise(account(settings=settings)) == (f"{LEFT_OUT} the 4 settings that were tried helps beyond chance.")
    windows = {f"windows of {size} tokens, best": setting(0.0) for size in (64, 128, 256, 512)}
    assert advise(account(settings={**settings, **windows}), READ_THE_END) == (
        f"{LEFT_OUT} the 4 settings that read the end of a text helps beyond chance."
    )


def test_a_pooling_that_finds_more_with_the_sentence_in_its_text_is_not_denied():
    """The table of what was tried marks it as more."""
    told = advise(account(settings={"pooling max": setting(0.3)}))
    assert told == f"{LEFT_OUT} these helps beyond chance: pooling max."


@pytest.mark.parametrize(("left_out", "chance"), [(0.005, True), (-0.005, True), (-0.06, False)])
def test_a_loss_beyond_chance_is_not_called_chance(left_out, chance):
    """The interval reaches 1 point to each side."""
    told = advise(account(settings={"windows of 64 tokens, best": setting(0.1, left_out=left_out)}))
    assert ("which may be chance" in told) is chance
