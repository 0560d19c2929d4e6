"""The search of one model at several temperatures."""

from collections import Counter

import numpy as np
import pytest

import cenote
from cenote.account.pooled_texts import OWN
from cenote.account.ranks import read_account
from cenote.listener import Listener
from cenote.records import Account

from ..bags import TINY, make_texts, plan

PLAIN = make_texts(30, 4, 8, seed=5, vocabulary=TINY)


def found_first(model):
    return read_account(model, plan(model, PLAIN), {}, Listener()).ranks[OWN].kept == 1


def test_temperatures_are_settings_and_leave_the_model_as_it_was(tiny_bert):
    plain = tiny_bert.encode(PLAIN)
    found = cenote.diagnose(tiny_bert, PLAIN, quick=True, layers=False, temperatures=[0.5, 0.8]).models[0].account
    assert np.array_equal(tiny_bert.encode(PLAIN), plain)
    assert [name for name in found.settings if name.startswith("temperature")] == ["temperature 0.8", "temperature 0.5"]
    own = found_first(tiny_bert)
    with cenote.temper(tiny_bert, 0.5):
        cooler = found_first(tiny_bert)
    assert found.found.value == pytest.approx(own.mean())
    setting = found.settings["temperature 0.5"]
    assert (setting.found.value, setting.change.value) == pytest.approx((cooler.mean(), cooler.mean() - own.mean()))
    assert setting.rows == 1


def test_a_tempered_model_has_an_account(tiny_bert):
    with cenote.temper(tiny_bert, 0.5):
        found = cenote.diagnose(tiny_bert, PLAIN, quick=True, layers=False, temperatures=[1.0]).models[0].account
    assert isinstance(found, Account), found
    plain = cenote.diagnose(tiny_bert, PLAIN, quick=True, layers=False).models[0].account
    assert found.settings["temperature 1"].found == plain.found


@pytest.mark.parametrize("tempered", [False, True])
def test_the_verdict_on_temperatures_finds_the_setting_of_a_model_with_one_in_its_weights(copy_of, tempered):
    """Also at 1, which is not the temperature of a model that has a live one too."""
    baked = cenote.bake(cenote.load(copy_of("bert"), device="cpu"), 0.8)
    if tempered:
        cenote.temper(baked, cenote.LengthTemperature("log", s=0.3))
    found = cenote.diagnose(baked, PLAIN, quick=True, layers=False, temperatures=[0.5])
    (verdict,) = [verdict for verdict in found.verdicts if verdict.subject == "temperature"]
    assert verdict.grade == "fine"
    assert "Temperature 0.5, and 0.8 in the weights finds" in verdict.evidence
    assert ("Temperature 0.8 in the weights finds" in verdict.evidence) is tempered


def test_texts_are_tokenised_once_whatever_the_temperatures(tiny_bert, monkeypatch):
    original, seen = tiny_bert.preprocess, Counter()
    monkeypatch.setattr(tiny_bert, "preprocess", lambda texts, **how: seen.update(texts) or original(texts, **how))
    counts = []
    for temperatures in ([], [0.9, 0.8]):
        seen.clear()
        cenote.diagnose(tiny_bert, PLAIN, quick=True, layers=False, temperatures=temperatures)
        counts.append(dict(seen))
    assert counts[0] == {**counts[1], "a": counts[0]["a"]}  # on which each temperature is tried
