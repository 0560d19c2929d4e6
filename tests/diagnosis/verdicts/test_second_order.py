"""Second-order collapse, of all pairs and of given ones, is described and never graded."""

import pytest

from cenote.diagnosis.verdicts import second_order
from cenote.records import Excluded, LayerSummary, SocmNull

from ...builders import spread
from .accounts import estimate, model, pairs, run

NULL = SocmNull(texts=80, same=estimate(0.54), different=estimate(0.47), same_normalised=0.9, different_normalised=0.8)


def judge(*, pooling="mean", **fields):
    return list(second_order.judge(model(run(**fields), pooling=pooling)))


@pytest.mark.parametrize("socm", [0.001, 0.5, 3.0])
def test_it_is_never_graded(socm):
    """Halves of one text have as much as the pages once called severe."""
    found = judge(given_pairs=pairs(socm), pairs=pairs(socm), null=NULL)
    assert [verdict.grade for verdict in found] == ["described", "described"]
    assert [verdict.advice for verdict in found] == ["", ""]


def test_all_pairs_stand_beside_halves_of_the_same_texts():
    (found,) = judge(pairs=pairs(0.45), null=NULL)
    assert found.finding == (
        "Mean SOCM is 0.45 over pairs of these texts. Two random halves of one text have 0.54, from the number of "
        "tokens alone; halves of two texts have 0.47. Normalised by spread: 0.90 and 0.80."
    )
    assert "over 4,950 pairs of 100 texts; normalised by the spread of both texts, 0.70 of 1." in found.evidence
    (found,) = judge(pairs=pairs(0.45))
    assert found.finding == "Mean SOCM is 0.45 over pairs of these texts."


def test_given_pairs_have_a_verdict_of_their_own():
    given, every = judge(given_pairs=pairs(0.5), pairs=pairs(0.01), null=NULL)
    assert (given.subject, every.subject) == ("second-order collapse, given pairs", "second-order collapse")
    assert given.finding == "Mean SOCM is 0.50 over the given pairs."


def test_no_pairs_at_all_are_unknown():
    (found,) = judge()
    assert (found.grade, found.finding) == ("unknown", "There is no pair of texts to compare.")


@pytest.mark.parametrize("pooling", ["max", "mean", "mean_sqrt_len"])
def test_another_pooling_than_the_mean_is_said(pooling):
    (found,) = judge(pairs=pairs(0.5), pooling=pooling)
    assert ("This model pools by max: SOCM is about the mean." in found.evidence) is (pooling == "max")


def test_the_evidence_names_excluded_pairs_and_the_spread_of_the_last_layer():
    left = (Excluded(measure="the given pairs", why="an empty side", count=3, ids=("1", "2")),)
    layers = tuple(LayerSummary(index, {"concentration": spread(mean)}) for index, mean in enumerate((0.9, 0.5)))
    given, every = judge(given_pairs=pairs(0.5, excluded=left), pairs=pairs(0.5), layers=layers)
    assert given.evidence.endswith("Excluded: 3 (1, 2 and 1 more): an empty side.")
    assert every.evidence.endswith("In the last layer, the variance of a text's tokens is 0.49 times its squared mean.")
