"""The verdicts on the texts: excluded, copies, few, empty; what is said of closeness, repeated words and layers."""

import pytest

from cenote.diagnosis.verdicts import closeness, layers, repeated_words
from cenote.diagnosis.verdicts.texts import judge_excluded, judge_texts
from cenote.records import NO_LAYERS, Excluded, Repeated

from ...builders import length_curve, texts_read
from .accounts import model, run


def judge(distinct=100, **fields):
    return [(verdict.grade, verdict.finding) for verdict in judge_texts(texts_read(**fields), distinct)]


def test_copies_are_graded_by_their_share():
    assert judge() == []
    assert judge(3) == [("unknown", "Only 3 of 100 texts are different.")]
    assert judge(90) == [("slight", "Only 90 of 100 texts are different.")]
    assert judge(99) == [("fine", "Only 99 of 100 texts are different.")]
    assert judge(1) == [("unknown", "All texts are the same.")]


def test_few_texts_are_unknown():
    finding = "3 texts are too few to generalise: the findings may describe nothing else."
    assert judge(3, used=3) == [("unknown", finding)]
    assert judge(1, used=1)[0][1].startswith("One text is too few")


def test_empty_texts_are_counted():
    assert judge(empty=1) == [("fine", "1 empty text was excluded.")]
    assert judge(empty=2) == [("fine", "2 empty texts were excluded.")]


def test_excluded_texts_are_named_for_each_measure():
    left = (
        Excluded(measure="layers", why="too long", count=1, ids=("a",)),
        Excluded(measure="layers", why="a mean of zero", count=4, ids=("b", "c")),
        Excluded(measure="the given pairs", why="an empty side", count=1, ids=("7",)),
    )
    texts, pair = judge_excluded(model(excluded=left))
    assert texts.finding == "5 texts were excluded from layers."
    assert texts.evidence == "1 (a): too long; 4 (b, c and 2 more): a mean of zero."
    assert pair.finding == "1 pair was excluded from the given pairs."
    assert texts.grade == pair.grade == "slight"


@pytest.mark.parametrize("mean", [0.02, 0.9])
def test_closeness_is_described_with_its_spread(mean):
    (found,) = closeness.judge(model(run(length=length_curve(mean=mean))))
    assert found.grade == "described"
    assert found.finding == (
        f"Two random texts of yours have a cosine of {mean:.2f} on average; 80 % of the pairs lie between "
        f"{0.75 * mean:.2f} and {1.25 * mean:.2f}."
    )
    assert found.advice.startswith("A cut-off for scores has to be chosen on labelled pairs of your own")
    assert list(closeness.judge(model(run(length=length_curve(closeness=None))))) == []


def test_repeated_words_are_described_over_all_pairs():
    curves = (
        Repeated(words=("dog", "cat"), tokens=(3, 66, 256), cosines=(0.6, 0.4, 0.9)),
        Repeated(words=("water", "music"), tokens=(3, 66, 256), cosines=(0.2, 0.1, 0.5)),
        Repeated(words=("red", "seven"), tokens=(3, 66, 256), cosines=(0.4, 0.3, 0.3)),
    )
    (found,) = repeated_words.judge(model(run(repeated=curves)))
    assert found.grade == "described"
    assert found.finding == (
        "3 pairs of words have a mean cosine of 0.40, and of 0.57 when each word is repeated to 256 tokens."
    )
    assert found.evidence.startswith("It rises in 2 of 3 pairs. In between it may be lower, 0.27 on average at the")
    assert list(repeated_words.judge(model(run()))) == []


def test_layers_that_could_not_be_traced_are_unknown():
    (found,) = layers.judge(model(run(untraced="no attention")))
    assert (found.grade, found.evidence) == ("unknown", "no attention")
    for untraced in (None, NO_LAYERS):
        assert list(layers.judge(model(run(untraced=untraced)))) == []
