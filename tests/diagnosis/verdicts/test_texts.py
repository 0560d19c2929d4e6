"""The verdicts that depend on the texts: left out, copies, few, empty; and on probes and layers."""

from cenote.diagnosis.verdicts import closeness, layers, repeated_words
from cenote.diagnosis.verdicts.texts import judge_left_out, judge_texts
from cenote.records import NO_LAYERS, LeftOut

from ...builders import length_curve, lengths, model, repeated, run, spread, texts_read


def judge(distinct=100, **fields):
    return [(verdict.grade, verdict.finding) for verdict in judge_texts(texts_read(**fields), distinct)]


def test_copies_are_graded_by_their_share():
    assert judge() == []
    assert judge(3) == [("unknown", "Only 3 of 100 texts are different.")]
    assert judge(90) == [("slight", "Only 90 of 100 texts are different.")]
    assert judge(99) == [("none", "Only 99 of 100 texts are different.")]
    assert judge(1) == [("unknown", "All texts are the same.")]


def test_few_texts_are_unknown():
    finding = "3 texts are too few to generalise: the findings may describe nothing else."
    assert judge(3, used=3) == [("unknown", finding)]
    assert judge(1, used=1)[0][1].startswith("One text is too few")


def test_empty_texts_are_counted():
    assert judge(empty=1) == [("none", "1 empty text was left out.")]
    assert judge(empty=2) == [("none", "2 empty texts were left out.")]


def test_texts_left_out_are_named_for_each_measure():
    left = (
        LeftOut(measure="layers", why="too long", count=1, ids=("a",)),
        LeftOut(measure="layers", why="a mean of zero", count=4, ids=("b", "c")),
        LeftOut(measure="the given pairs", why="an empty side", count=1, ids=("7",)),
    )
    texts, pair = judge_left_out(model(left_out=left))
    assert texts.finding == "5 texts were left out of layers."
    assert texts.evidence == "1 (a): too long; 4 (b, c and 2 more): a mean of zero."
    assert pair.finding == "1 pair was left out of the given pairs."
    assert texts.grade == pair.grade == "slight"


def test_closeness_of_few_texts_is_unknown():
    few = lengths(tokens=spread(60, count=3))
    (found,) = closeness.judge(model(run(length=length_curve(mean=0.9)), lengths=few))
    assert (found.grade, found.advice) == ("unknown", "")
    (found,) = closeness.judge(model(run(length=length_curve(mean=0.9))))
    assert found.finding.startswith("Two random texts of yours have a cosine of 0.90 on average; 80 % of the pairs lie")
    assert found.advice == "Compare scores with this average; choose cut-offs on labelled data."


def test_words_that_are_similar_from_the_start_show_nothing_of_length():
    (found,) = repeated_words.judge(model(run(repeated=repeated(first=0.95, last=0.96))))
    assert found.grade == "none"
    assert found.finding == "“dog” and “cat” have a cosine of 0.95, and of 0.96 when each is repeated to 256 tokens."
    assert found.evidence == "It does not rise with length, so length alone does not make them similar."
    (found,) = repeated_words.judge(model(run(repeated=repeated(first=0.6, last=0.96))))
    assert found.finding.endswith("256 tokens: length alone makes different texts similar.")
    assert found.evidence.endswith("with length collapse, their cosine rises with length.")


def test_layers_that_could_not_be_traced_are_unknown():
    (found,) = layers.judge(model(run(untraced="no attention")))
    assert (found.grade, found.evidence) == ("unknown", "no attention")
    for untraced in (None, NO_LAYERS):
        assert list(layers.judge(model(run(untraced=untraced)))) == []
