"""The verdicts on second-order collapse, of all pairs and of given ones."""

import pytest

from cenote.diagnosis.verdicts import second_order
from cenote.records import Estimate, LayerSummary, LeftOut

from ...builders import model, pairs, run, spread


def judge(*, pooling="mean", **fields):
    return list(second_order.judge(model(run(**fields), pooling=pooling)))


def test_given_pairs_have_a_verdict_of_their_own():
    given, every = judge(given_pairs=pairs(0.5), pairs=pairs(0.01))
    assert (given.subject, given.grade) == ("second-order collapse, given pairs", "severe")
    assert (every.subject, every.grade) == ("second-order collapse", "none")
    assert given.finding == (
        "Mean pooling hides much of how the tokens of these texts differ: mean SOCM is 0.50 over the given pairs."
    )
    assert given.advice.startswith("Where fine differences matter, rerank")
    assert every.advice == ""


def test_no_pairs_at_all_are_unknown():
    (found,) = judge()
    assert (found.grade, found.finding) == ("unknown", "There is no pair of texts to compare.")


@pytest.mark.parametrize("few", [{"pairs": 3}, {"texts": 3}, {"mean": Estimate(0.5, 0.01, 0.9)}])
def test_too_few_pairs_or_texts_are_unknown(few):
    (found,) = judge(pairs=pairs(0.5, **few))
    assert found.grade == "unknown"
    assert "too few for a verdict: mean SOCM is 0.50" in found.finding
    assert (found.finding.startswith("3 pairs of 100 texts are")) is ("pairs" in few)


def test_pairs_that_share_one_text_are_unknown():
    (found,) = judge(given_pairs=pairs(0.5, mean=Estimate(0.5, None, None)))
    assert found.grade == "unknown"
    assert found.finding.startswith("Nearly all pairs share one text, and describe only that text")


def test_other_poolings_are_unknown():
    (found,) = judge(pairs=pairs(0.5), pooling="max")
    assert found.grade == "unknown"
    assert found.finding.startswith("This model pools by max; for mean pooling, mean SOCM is 0.50")


def test_the_evidence_names_pairs_left_out_and_the_spread_of_the_last_layer():
    left = (LeftOut(measure="the given pairs", why="an empty side", count=3, ids=("1", "2")),)
    layers = tuple(LayerSummary(index, {"concentration": spread(mean)}) for index, mean in enumerate((0.9, 0.5)))
    given, every = judge(given_pairs=pairs(0.5, left_out=left), pairs=pairs(0.5), layers=layers)
    assert given.evidence.endswith("Left out: 3 (1, 2 and 1 more): an empty side.")
    assert every.evidence.endswith("In the last layer, the variance of a text's tokens is 0.49 times its squared mean.")
