"""What the measures mean in plain words: graded by one table of thresholds, ranked by what they cost.

A verdict states a finding, its evidence, how far the evidence goes, and what to do. What the texts cannot carry is said
instead of guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from cenote.phrases import counted, interval, percent, value
from cenote.results import (
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
from cenote.thresholds import LIMITS, SEVERITY, THRESHOLDS

ENOUGH = round(LIMITS["texts"].value)


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
        finding = f"{percent(lengths.unseen)} of your texts' tokens are never seen by this model."
        advice = (
            "Embed long texts in windows, with every window searched or their mean taken, or choose a model that reads "
            "more. A higher max_seq_length helps only as far as the model was trained for it."
        )
        share += f"; the longest tenth starts at {lengths.tokens.high:,.0f} tokens"
        if lengths.longest >= LIMITS["one text"].value and lengths.cut > 1:
            share += f"; one text alone makes up {percent(lengths.longest)} of what is cut"
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
    found, any_two = curve.difference, curve.closeness
    if found is None or found.low is None or found.high is None or any_two is None or not any_two.varies:
        yield Verdict(
            model.name,
            subject,
            "unknown",
            "These texts cannot show whether longer ones are drawn together.",
            _no_lengths(model, curve),
            f"It takes texts of two lengths at least, {ENOUGH} of each, better hundreds.",
            "Diagnose on more texts, or on texts of more lengths.",
        )
        return
    row, unit = THRESHOLDS[subject], any_two.deviation
    grade = row.of_estimate(found, unit)
    if found.low <= 0 and grade != "none":
        grade = "unknown"
    short, long = (bins := [bin for bin in curve.bins if bin.cosine is not None])[0], bins[-1]
    direction = "closer to" if found.value >= 0 else "farther from"
    texts = f"texts {_over(long.low)} are {abs(found.value):.2f} {direction} each other than those under {short.high}"
    finding = {
        "unknown": f"These texts leave it open: {texts}, which may be chance.{_over_all(curve)}"
        if found.low <= 0
        else f"T{texts[1:]}, which is more than chance; whether it is little or much, these texts leave open.",
        "none": f"No length collapse{' to speak of' if found.value > 0 else ''}: {texts}.",
    }.get(grade, f"T{texts[1:]}: length collapse, {grade}.")
    yield Verdict(
        model.name,
        subject,
        grade,
        finding,
        f"{interval('Mean cosine, long minus short', found)} That is {found.value / unit:+.1f} times the deviation of "
        f"the cosines of any two texts ({unit:.3f}).{_of_words(model.words)}{_trend(curve)}",
        "What long texts are about may differ from what short ones are about: the measure cannot tell. "
        f"It counts tokens as the model reads them{_of_cut(model.lengths)}.",
        {"none": "", "unknown": "Diagnose on more texts."}.get(
            grade,
            "Try an attention temperature below 1 for long texts (diagnose with temperatures, then judge on labelled "
            "data), split long texts, or compare scores only among texts of like length.",
        ),
    )


def _no_lengths(model: ModelDiagnosis, curve: LengthCurve) -> str:
    """Why there is no long and short to compare."""
    texts, tokens, limit = model.lengths.tokens.count, model.lengths.tokens, model.lengths.limit
    if texts < 2 * ENOUGH:
        return f"There are {counted(texts, 'text')}, too few for two groups of {ENOUGH}."
    if curve.closeness is not None and not curve.closeness.varies:
        return "All embeddings lie equally close to each other, which leaves nothing to measure a difference by."
    if len(curve.bins) > 1:
        return " ".join(note[0].upper() + note[1:] for note in curve.notes)
    if limit is not None and tokens.low >= limit:
        return f"Nearly all texts are cut to {limit} tokens: the model reads one length."
    return f"There are no two groups of {ENOUGH} texts of different length, as the model reads them."


def _of_words(words: LengthCurve | None) -> str:
    """What of it is there before any attention, in the words' own measure: their cosines lie in another range."""
    if words is None or words.difference is None or words.closeness is None or not words.closeness.varies:
        return ""
    gain, unit = words.difference.value, words.closeness.deviation
    if gain <= 0:
        return " The control shows none of it: plain averages of the word embeddings do not draw together."
    return (
        f" The control: before any attention, plain averages of the word embeddings gain {gain:.2f}, {gain / unit:.1f} "
        "times their own deviation."
    )


def _of_cut(lengths: Lengths) -> str:
    share = lengths.cut / lengths.tokens.count
    return f"; {percent(share)} of the texts are cut, and count as texts of {lengths.limit} tokens" if share else ""


def _over_all(curve: LengthCurve) -> str:
    """What all lengths together say, where the two ends leave it open."""
    slope = curve.slope_per_doubling
    if slope is None or slope.low is None or slope.high is None or slope.low <= 0 <= slope.high:
        return ""
    return f" Over all lengths closeness {'rises' if slope.value > 0 else 'falls'} with length."


def _trend(curve: LengthCurve) -> str:
    if curve.slope_per_doubling is None:
        return ""
    return f" {interval('Each doubling of length adds', curve.slope_per_doubling)}"


def _closeness(model: ModelDiagnosis) -> Iterator[Verdict]:
    found = model.runs[0].length.closeness
    if found is None:
        return
    cosine, grade = found.cosine, THRESHOLDS["closeness"].grade(found.cosine.mean)
    between = f"four in five between {cosine.low:.2f} and {cosine.high:.2f}"
    enough = model.lengths.tokens.count >= ENOUGH
    yield Verdict(
        model.name,
        "closeness",
        grade if enough else "unknown",
        f"Two of your texts at random have a cosine of {cosine.mean:.2f} on average, {between}.",
        f"{counted(cosine.count, 'pair')} of embeddings.",
        "It says where scores lie, not how well they are ranked; texts on one subject lie closer by right.",
        f"Read a score against these: one of {cosine.mean:.2f} is what any two of your texts have. Choose cut-offs on "
        "labelled data."
        if enough and grade != "none"
        else "",
    )


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
        grade = "unknown"
        finding = f"The texts that stand in {counted(pairs.pairs, 'pair')} are too few for a verdict: {mean}."
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


def _temperatures(model: ModelDiagnosis) -> Iterator[Verdict]:
    plain, *others = model.runs
    if not others:
        return
    known = [run for run in others if run.change is not None and run.change.difference is not None]
    helping = [run for run in known if _moves_apart(run, plain)]
    finding = "No temperature that was tried makes long texts lie less close together, beyond chance."
    if not known:
        finding = "These texts cannot show whether a temperature keeps long texts apart."
    elif helping:
        best = min(helping, key=_change)
        finding = (
            f"At temperature {best.temperature} long texts lie {-_change(best):.2f} less close together than as it is."
        )
    listed = "; ".join(f"{run.temperature}: {_changes(run)}" for run in others)
    several = "" if len(others) == 1 else f" Intervals hold for all {len(others)} together."
    yield Verdict(
        model.name,
        "temperature",
        "none" if known else "unknown",
        finding,
        f"Change of the cosine of long texts minus that of short ones, and of mean SOCM, by temperature: {listed}."
        f"{several}",
        "Texts that lie farther apart are not yet told apart better: published gains are about 0.5 % of a score, and "
        "for some models and tasks there are none.",
        "Judge on labelled data before you keep one." if helping else "",
    )


def _moves_apart(run: Run, plain: Run) -> bool:
    """Whether long texts lie less close together than as the model is, by more than chance, and enough to matter."""
    found, any_two = run.change and run.change.difference, plain.length.closeness
    if not found or found.high is None or any_two is None:
        return False
    return found.high < 0 and -found.value >= LIMITS["change"].value * any_two.deviation


def _change(run: Run) -> float:
    found = run.change and run.change.difference
    return found.value if found else 0.0


def _changes(run: Run) -> str:
    if run.change is None:
        return "not known"
    both = (run.change.difference, run.change.socm)
    return " and ".join("not known" if one is None else value(one) for one in both)


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
    _closeness,
    _repeated,
    _temperatures,
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


def _over(low: int) -> str:
    return f"of {low} tokens and more"
