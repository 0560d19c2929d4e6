"""What the measures mean in plain words: graded by one table of thresholds, ranked by what they cost.

A verdict states a finding, its evidence, how far the evidence goes, and what to do. What the texts cannot carry is said
instead of guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cenote.results import (
    Estimate,
    Grade,
    LengthCurve,
    Lengths,
    ModelDiagnosis,
    Pairs,
    Run,
    Spread,
    TextsRead,
    Verdict,
)


@dataclass(frozen=True)
class Threshold:
    """From what value on a measure counts as slight, moderate or severe, and why there."""

    slight: float
    moderate: float
    severe: float
    reason: str

    def grade(self, value: float) -> Grade:
        """The grade of a value: higher is worse."""
        steps: tuple[tuple[float, Grade], ...] = (
            (self.severe, "severe"),
            (self.moderate, "moderate"),
            (self.slight, "slight"),
        )
        return next((grade for least, grade in steps if value >= least), "none")


THRESHOLDS = {
    "truncation": Threshold(
        0.001,
        0.05,
        0.25,
        "share of tokens never seen: what is cut cannot be found at all, whatever becomes of the rest",
    ),
    "length collapse": Threshold(
        0.02,
        0.05,
        0.15,
        "cosine of long texts minus that of short ones. Film reviews gain 0.11 from the shortest bin to the longest, "
        "and the mean cosine of a bin of a hundred texts is known to 0.02 (docs/diagnosis.md)",
    ),
    "second-order collapse": Threshold(
        0.05,
        0.15,
        0.3,
        "mean SOCM over pairs. Published means run from 0.02 (GTE, E5 base) by 0.1 to 0.2 (mpnet, SimCSE) to 0.3 and "
        "more (MiniLM-L12, BERT, never tuned on sentences)",
    ),
    "repeated words": Threshold(
        0.8,
        0.9,
        0.97,
        "cosine of one word repeated up to the model's limit and another: two texts with nothing in common",
    ),
}
SEVERITY: tuple[Grade, ...] = ("severe", "moderate", "slight", "none", "unknown")
# From how many texts on a figure says something of more than these very texts.
ENOUGH = 20


def verdicts(texts: TextsRead, models: tuple[ModelDiagnosis, ...], distinct: int) -> tuple[Verdict, ...]:
    """All verdicts, the costliest first: what is cut, then by grade, and within a grade in the order of `_SUBJECTS`."""
    found = [verdict for model in models for subject in _SUBJECTS for verdict in subject(model)]
    if distinct == 1 < texts.used:  # what copies of one text have in common says nothing of texts
        found = [verdict for verdict in found if verdict.subject in ("truncation", "repeated words", "layers")]
    found += _on_texts(texts, distinct)
    return tuple(sorted(found, key=_rank))


def _rank(verdict: Verdict) -> tuple[bool, int]:
    # What was never read outweighs whatever becomes of the rest.
    lost = verdict.subject == "truncation" and verdict.grade in ("severe", "moderate")
    return not lost, SEVERITY.index(verdict.grade)


def _truncation(model: ModelDiagnosis) -> Iterator[Verdict]:
    lengths: Lengths = model.lengths
    if lengths.limit is None and not lengths.cut:
        return
    grade = THRESHOLDS["truncation"].grade(lengths.unseen)
    share = (
        f"{lengths.cut:,} of {lengths.tokens.count:,} texts are longer than the {lengths.limit} tokens that it reads"
    )
    if not lengths.cut:
        finding, advice = "Nothing is cut: the model reads every text to its end.", ""
    else:
        finding = f"{_percent(lengths.unseen)} of your texts' tokens are never seen by this model."
        advice = (
            "Embed long texts in windows, with every window searched or their mean taken, or choose a model that reads "
            "more. A higher max_seq_length helps only as far as the model was trained for it."
        )
        share += f"; the longest tenth starts at {lengths.tokens.high:,.0f} tokens"
        if lengths.longest >= 0.5 and lengths.cut > 1:
            share += f"; one text alone makes up {_percent(lengths.longest)} of what is cut"
    yield Verdict(
        model.name,
        "truncation",
        grade,
        finding,
        f"{share}.",
        "Counted in the model's own tokens, special ones and prompt included; very long texts in pieces.",
        advice,
    )


def _length_collapse(model: ModelDiagnosis) -> Iterator[Verdict]:
    curve, subject = model.runs[0].length, "length collapse"
    found = curve.difference
    if found is None or found.low is None or found.high is None:
        why = " ".join(note[0].upper() + note[1:] for note in curve.notes)
        yield Verdict(
            model.name,
            subject,
            "unknown",
            "These texts cannot show whether longer ones are drawn together.",
            why or "There are too few texts for an interval.",
            f"It takes texts of several lengths, some {2 * ENOUGH} or more of each.",
            "Diagnose on more texts, or on texts of more lengths.",
        )
        return
    row = THRESHOLDS[subject]
    grade = row.grade(found.value) if found.low > 0 else "none" if found.high < row.moderate else "unknown"
    short, long = (bins := [bin for bin in curve.bins if bin.cosine is not None])[0], bins[-1]
    direction = "closer to" if found.value >= 0 else "farther from"
    texts = f"Texts {_over(long.low)} are {abs(found.value):.2f} {direction} each other than those under {short.high}"
    if grade == "unknown":
        finding = f"These texts leave it open. {texts}, which may be chance."
    elif grade != "none":
        finding = f"{texts}: length collapse, {grade}."
    elif found.value > 0:
        finding = f"No length collapse to speak of: {texts[0].lower()}{texts[1:]}."
    else:
        finding = f"No length collapse: {texts[0].lower()}{texts[1:]}."
    yield Verdict(
        model.name,
        subject,
        grade,
        finding,
        f"{_interval('Mean cosine, long minus short', found)}{_against_words(model.words, found)}{_trend(curve)}",
        "What long texts are about may differ from what short ones are about: the measure cannot tell. "
        "It counts tokens as the model reads them, cut where it cuts.",
        ""
        if grade == "none"
        else "Diagnose on more texts."
        if grade == "unknown"
        else "Try an attention temperature below 1 for long texts (diagnose with temperatures, then judge on labelled "
        "data), split long texts, or compare scores only among texts of like length.",
    )


def _against_words(words: LengthCurve | None, found: Estimate) -> str:
    if words is None or words.difference is None or found.value <= 0:
        return ""
    share = words.difference.value
    if share <= 0:
        return " The control shows none of it: plain averages of the word embeddings do not draw together."
    if share >= found.value:
        return f" All of it is there before any attention: plain averages of the word embeddings gain {share:.2f}."
    return f" The control: {share:.2f} of it is there in plain averages of the word embeddings, before any attention."


def _trend(curve: LengthCurve) -> str:
    if curve.slope_per_doubling is None:
        return ""
    return f" {_interval('Each doubling of length adds', curve.slope_per_doubling)}"


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
    grade = THRESHOLDS["second-order collapse"].grade(pairs.socm.mean)
    mean = f"SOCM is {pairs.socm.mean:.2f} on average over {which}"
    finding = {
        "none": f"The mean hides little of how texts differ: {mean}.",
        "slight": f"The mean hides some of how texts differ: {mean}.",
    }.get(grade, f"The mean hides much of how the tokens of these texts differ: {mean}.")
    if pairs.pairs < ENOUGH:
        grade, finding = "unknown", f"{pairs.pairs} pairs are too few for a verdict on what the mean hides."
    elif model.pooling not in _BY_THE_MEAN:
        grade, finding = "unknown", f"This model pools by {model.pooling}; of the mean, {mean}."
    evidence = (
        f"{pairs.pairs:,} pairs of {pairs.texts:,} texts; {_percent(pairs.severe)} of them are over 0.5, nine in ten "
        f"below {pairs.socm.high:.2f}. SOCM is 0 where two texts' tokens spread alike, and grows where they spread "
        "differently while their means lie close."
    )
    spread = run.layers[-1].measures.get("concentration") if run.layers else None
    if isinstance(spread, Spread):
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


# From what rise of the cosine on length, and not the words, is what makes two texts alike.
_RISE = 0.05


def _repeated(model: ModelDiagnosis) -> Iterator[Verdict]:
    found = model.runs[0].repeated
    if found is None or not found.cosines:
        return
    once, last = found.cosines[0], found.cosines[-1]
    rises = last - once >= _RISE
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


def _temperatures(model: ModelDiagnosis) -> Iterator[Verdict]:
    plain, *others = model.runs
    if not others:
        return
    known = [run for run in model.runs if run.length.difference is not None]
    listed = "; ".join(f"{run.temperature}: {_differences(run)}" for run in model.runs)
    finding = "These texts cannot show whether a temperature keeps long texts apart."
    helps = False
    if plain in known and len(known) > 1:
        best = min(known[1:], key=_difference)
        change = _difference(plain) - _difference(best)
        helps = change >= 0.01
        finding = "No temperature that was tried makes long texts lie less close together."
        if helps:
            finding = (
                f"At temperature {best.temperature} long texts lie {change:.2f} less close together than as it is."
            )
    yield Verdict(
        model.name,
        "temperature",
        "none" if plain in known else "unknown",
        finding,
        f"By temperature, cosine of long texts minus that of short ones, and mean SOCM: {listed}.",
        "Texts that lie farther apart are not yet told apart better: published gains are about 0.5 % of a score, and "
        "for some models and tasks there are none.",
        "Judge on labelled data before you keep one." if helps else "",
    )


def _difference(run: Run) -> float:
    return run.length.difference.value if run.length.difference is not None else 0.0


def _differences(run: Run) -> str:
    first = "not known" if run.length.difference is None else f"{_difference(run):+.3f}"
    return f"{first}, {'not known' if run.pairs is None else f'{run.pairs.socm.mean:.3f}'}"


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
    _truncation,
    _second_order,
    _length_collapse,
    _repeated,
    _temperatures,
    _layers,
)


def _on_texts(texts: TextsRead, distinct: int) -> Iterator[Verdict]:
    """What the texts themselves leave open."""
    if distinct < texts.used:
        same = "All texts are the same" if distinct == 1 else f"Only {distinct} of {texts.used} texts are different"
        grade: Grade = "unknown" if distinct < ENOUGH else "slight"
        yield _about_texts(grade, f"{same}.", "Copies count as pairs that lie close together, at their own length.")
    if texts.used < ENOUGH:
        some = "One text is" if texts.used == 1 else f"{texts.used} texts are"
        few = f"{some} few: what is found here may be these very texts."
        yield _about_texts("unknown", few, f"Intervals and bins need some {ENOUGH} texts at least.")
    if texts.empty:
        yield _about_texts("none", f"{texts.empty} empty texts were left out.", "A text of white space only is empty.")


def _about_texts(grade: Grade, finding: str, evidence: str) -> Verdict:
    return Verdict("", "texts", grade, finding, evidence, "", "")


def _percent(share: float) -> str:
    percent = 100 * share
    if 99.5 <= percent < 100:
        return "more than 99 %"
    return f"{percent:.0f} %" if percent >= 9.5 or percent == 0 else f"{percent:.2g} %"


def _over(low: int) -> str:
    return f"of {low} tokens and more"


def _interval(what: str, found: Estimate) -> str:
    between = "" if found.low is None else f" (95 % interval {found.low:+.3f} to {found.high:+.3f})"
    return f"{what}: {found.value:+.3f}{between}."
