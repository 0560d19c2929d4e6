"""Verdicts on length: what a model's limit cuts, what lies close, and what a temperature changes in that."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.phrases import counted, interval, percent, value
from cenote.results import LengthCurve, Lengths, ModelDiagnosis, Run, Verdict
from cenote.thresholds import ENOUGH, LIMITS, THRESHOLDS


def truncation(model: ModelDiagnosis) -> Iterator[Verdict]:
    """What of the texts the model never sees."""
    lengths: Lengths = model.lengths
    if lengths.limit is None and not lengths.cut:
        return
    grade = THRESHOLDS["truncation"].grade(lengths.unseen)
    share = (
        f"{lengths.cut:,} of {counted(lengths.tokens.count, 'text')} {'is' if lengths.cut == 1 else 'are'} longer than "
        f"the {lengths.limit} tokens that it reads"
    )
    if not lengths.cut:
        finding, advice = "Nothing is cut: the model reads every text to its end.", ""
    else:
        finding = f"{percent(lengths.unseen)} of your texts' tokens are never seen by this model."
        advice = (
            "Embed long texts in windows (cenote embed --long windows, every one of them searched, or their mean by "
            "--long window-mean), or choose a model that reads more. A higher max_seq_length helps only as far as the "
            "model was trained for it."
        )
        share += f"; the longest tenth starts at {lengths.tokens.high:,.0f} tokens"
        if lengths.longest >= LIMITS["one text"].value:
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


def length_collapse(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Whether long texts lie closer to each other than short ones."""
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
        {"none": "", "unknown": "Diagnose on more texts."}.get(grade, _against_collapse(model)),
    )


def _against_collapse(model: ModelDiagnosis) -> str:
    """What to do, in view of the temperatures that were tried."""
    known, helping = _tried(model)
    temperature = "Try an attention temperature below 1 for long texts (diagnose with temperatures), or split"
    if helping:
        best = min(helping, key=_change)
        temperature = f"Temperature {best.temperature} keeps them farther apart: judge it on labelled data. Or split"
    elif known:
        temperature = "None of the temperatures that were tried keeps them apart. Split"
    return f"{temperature} long texts, or compare scores only among texts of like length."


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


def closeness(model: ModelDiagnosis) -> Iterator[Verdict]:
    """How close any two texts lie."""
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


def temperatures(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Whether one of the temperatures that were tried keeps long texts apart."""
    others = model.runs[1:]
    if not others:
        return
    known, helping = _tried(model)
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


def _tried(model: ModelDiagnosis) -> tuple[list[Run], list[Run]]:
    """The runs at other temperatures whose change is known, and those of them that keep long texts apart."""
    plain, *others = model.runs
    known = [run for run in others if run.change is not None and run.change.difference is not None]
    return known, [run for run in known if _moves_apart(run, plain)]


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


def _over(low: int) -> str:
    return f"of {low} tokens and more"
