"""The verdict on the user's own queries."""

import pytest

from cenote.diagnosis.verdicts import given_queries
from cenote.records import Estimate, GivenQueries

from .accounts import estimate, model, shares


def judge(**fields):
    figures = {name: estimate(0.9) for name in ("in_ten", "gain", "reranked")}
    default = {"queries": 50, "texts": 100, "price": Estimate(0.0, -0.1, 0.1), "excluded": ()}
    record = GivenQueries(**{**shares(), **figures, **default, **fields})
    (verdict,) = given_queries.judge(model(queries=record))
    return verdict


@pytest.mark.parametrize(
    ("queries", "grade", "few"),
    [(1, "unknown", "1 query: too few"), (19, "unknown", "19 queries: too few"), (20, "severe", "")],
)
def test_few_queries_get_no_grade(queries, grade, few):
    found = judge(**shares(0.5), queries=queries)
    assert found.grade == grade
    assert few in found.limit
    assert ("too few for a grade, which takes 20" in found.limit) is bool(few)
    assert ("another sample may have another grade" in found.evidence) is not bool(few)


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (Estimate(1.0, None, None), "find the 100 that are lost"),
        (Estimate(0.89, None, None), "find the 89 that are lost"),
        (Estimate(0.1, 0.02, 0.18), "find the 10 that are lost"),
        (Estimate(0.02, 0.0, 0.06), ""),
        (Estimate(0.0, 0.0, 0.07), ""),
        (Estimate(0.0, None, None), ""),
    ],
)
def test_windows_are_advised_where_the_cut_loses_queries(lost, told):
    """Fewer than ten queries have no interval."""
    found = judge(**{**shares(1 - lost.value, 0, 0), "lost_to_cut": lost})
    assert told in found.advice
    assert bool(found.advice) is bool(told)
