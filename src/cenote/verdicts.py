"""What the measures mean in plain words: graded by one table of thresholds, ranked by what they cost.

A verdict states a finding, its evidence, how far the evidence goes, and what to do. What the texts cannot carry is said
instead of guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from cenote.length_verdicts import closeness, length_collapse, temperatures, truncation
from cenote.phrases import counted, interval, percent
from cenote.results import (
    Grade,
    ModelDiagnosis,
    Pairs,
    Run,
    Spread,
    TextsRead,
    Verdict,
)
from cenote.thresholds import ENOUGH, LIMITS, SEVERITY, THRESHOLDS


def verdicts(texts: TextsRead, models: tuple[ModelDiagnosis, ...], distinct: int) -> tuple[Verdict, ...]:
    """All verdicts, the costliest first: what is cut, then by grade, and within a grade in the order of `_SUBJECTS`."""
    found = [verdict for model in models for subject in _SUBJECTS for verdict in subject(model)]
    if distinct < ENOUGH:
        found = [_of_few(verdict, distinct) if verdict.subject in _OF_TEXTS else verdict for verdict in found]
    found += [verdict for model in models for verdict in _left_out(model)]
    found += _on_texts(texts, distinct)
    return tuple(sorted(found, key=_rank))


# What is said of texts in general, and takes more than a few of them.
_OF_TEXTS = ("length collapse", "second-order collapse", "closeness", "temperature")


def _of_few(verdict: Verdict, distinct: int) -> Verdict:
    if verdict.grade == "unknown" and verdict.subject != "length collapse":  # which may still say that there is some
        return verdict
    finding = f"{counted(distinct, 'different text')} cannot show it."
    return replace(verdict, grade="unknown", finding=finding, advice="Diagnose on more texts.")


def _rank(verdict: Verdict) -> tuple[bool, int]:
    # What was never read outweighs whatever becomes of the rest.
    lost = verdict.subject == "truncation" and verdict.grade in ("severe", "moderate")
    return not lost, SEVERITY.index(verdict.grade)


def _second_order(model: ModelDiagnosis) -> Iterator[Verdict]:
    run: Run = model.runs[0]
    # Subjects of their own, so that neither stands for the other where verdicts are listed by subject.
    given, every = "second-order collapse, given pairs", "second-order collapse"
    for pairs, subject, which in (
        (run.given_pairs, given, "the given pairs"),
        (run.pairs, every, "pairs of these texts"),
    ):
        if pairs is not None:
            yield _of_pairs(model, run, pairs, subject, which)
    if run.pairs is None and run.given_pairs is None:
        yield Verdict(
            model.name,
            "second-order collapse",
            "unknown",
            "There is no pair of texts to compare.",
            "It takes two texts at least.",
            "",
            "Diagnose on more texts.",
        )


# Poolings whose vector points where the mean does, and which second-order collapse is about.
_BY_THE_MEAN = ("mean", "mean_sqrt_len", "mean_sqrt_len_tokens")


def _of_pairs(model: ModelDiagnosis, run: Run, pairs: Pairs, subject: str, which: str) -> Verdict:
    found = pairs.mean
    grade = THRESHOLDS["second-order collapse"].of_estimate(found)
    mean = f"SOCM is {found.value:.2f} on average over {which}"
    finding = {
        "none": f"The mean hides little of how texts differ: {mean}.",
        "slight": f"The mean hides some of how texts differ: {mean}.",
    }.get(grade, f"The mean hides much of how the tokens of these texts differ: {mean}.")
    if grade == "unknown" or pairs.pairs < ENOUGH or pairs.texts < ENOUGH:
        grade, finding = "unknown", f"{_too_few(pairs)}: {mean}."
    elif model.pooling not in _BY_THE_MEAN:
        grade, finding = "unknown", f"This model pools by {model.pooling}; of the mean, {mean}."
    many = f"{percent(pairs.severe)} of them are over {LIMITS['severe pair'].value:g}"
    evidence = (
        f"{interval('Mean', found)} {counted(pairs.pairs, 'pair')} of {pairs.texts:,} texts; {many}, nine in ten below "
        f"{pairs.socm.high:.2f}. SOCM is 0 where two texts' tokens spread alike, and grows where they spread "
        "differently while their means lie close."
    )
    if pairs.left_out:
        evidence += f" Left out: {'; '.join(part.in_words() for part in pairs.left_out)}."
    spread = run.layers[-1].measures.get("concentration") if run.layers else None
    if isinstance(spread, Spread) and pairs is run.pairs:
        evidence += f" In the last layer the variance of a text's tokens is {spread.median:.2f} of its mean's square."
    return Verdict(
        model.name,
        subject,
        grade,
        finding,
        evidence,
        "It describes token clouds and ranks no models: across twelve models SOCM and benchmark scores correlate "
        "(Spearman -0.68), with exceptions, of which all-MiniLM is one. Long texts have more of it.",
        "Where fine differences matter, rerank with a model that reads both texts together, or fine-tune with your own "
        "hard negatives: fine-tuned encoders mostly concentrate their tokens."
        if grade in ("moderate", "severe")
        else "",
    )


def _too_few(pairs: Pairs) -> str:
    """Why pairs carry no verdict."""
    if pairs.mean.low is None and pairs.pairs >= ENOUGH and pairs.texts >= ENOUGH:
        return "Nearly all pairs share one text, and say no more than that one: pairs of more different texts would"
    return f"The texts that stand in {counted(pairs.pairs, 'pair')} are too few for a verdict"


def _repeated(model: ModelDiagnosis) -> Iterator[Verdict]:
    found = model.runs[0].repeated
    if found is None or not found.cosines:
        return
    once, last = found.cosines[0], found.cosines[-1]
    rises = last - once >= LIMITS["rise"].value
    grade = THRESHOLDS["repeated words"].grade(last) if rises else "none"
    first, second = found.words
    finding = (
        f"“{first}” and “{second}” have a cosine of {once:.2f}, and repeated to {found.tokens[-1]} tokens of {last:.2f}"
    )
    yield Verdict(
        model.name,
        "repeated words",
        grade,
        f"{finding}." if grade == "none" else f"{finding}: length alone makes unlike texts alike.",
        "Two texts with nothing in common, the longer the more alike where length collapses.",
        "A probe of two words, not your texts.",
        "",
    )


def _layers(model: ModelDiagnosis) -> Iterator[Verdict]:
    why = model.runs[0].untraced
    if why not in (None, "layers=False"):
        yield Verdict(
            model.name,
            "layers",
            "unknown",
            "The layers of this model could not be looked into.",
            f"{why}",
            "All that needs no look into layers is here.",
            "",
        )


# In the order of what they cost, which decides among verdicts of one grade.
_SUBJECTS: tuple[Callable[[ModelDiagnosis], Iterator[Verdict]], ...] = (
    truncation,
    _second_order,
    length_collapse,
    closeness,
    _repeated,
    temperatures,
    _layers,
)


def _left_out(model: ModelDiagnosis) -> Iterator[Verdict]:
    """What of the texts this model's figures are not of."""
    for measure in dict.fromkeys(part.measure for part in model.left_out):
        parts = [part for part in model.left_out if part.measure == measure]
        count = sum(part.count for part in parts)
        noun = counted(count, "pair" if measure == "the given pairs" else "text")
        yield Verdict(
            model.name,
            "texts",
            "slight",
            f"{noun} {'was' if count == 1 else 'were'} left out of {measure}.",
            f"{'; '.join(part.in_words() for part in parts)}.",
            "This model makes nothing of them that can be measured.",
            "Look at them, and at what the tokenizer makes of them.",
        )


def _on_texts(texts: TextsRead, distinct: int) -> Iterator[Verdict]:
    """What the texts themselves leave open."""
    if distinct < texts.used:
        same = "All texts are the same" if distinct == 1 else f"Only {distinct} of {texts.used} texts are different"
        many = 1 - distinct / texts.used >= LIMITS["copies"].value
        grade: Grade = "unknown" if distinct < ENOUGH else "slight" if many else "none"
        yield _about_texts(grade, f"{same}.", "Copies count as pairs that lie close together, at their own length.")
    if texts.used < ENOUGH:
        some = "One text is" if texts.used == 1 else f"{texts.used} texts are"
        few = f"{some} few: what is found here may be these very texts."
        yield _about_texts("unknown", few, f"Intervals and bins need some {ENOUGH} texts at least.")
    if texts.empty:
        yield _about_texts("none", f"{texts.empty} empty texts were left out.", "A text of white space only is empty.")


def _about_texts(grade: Grade, finding: str, evidence: str) -> Verdict:
    return Verdict("", "texts", grade, finding, evidence, "", "")
