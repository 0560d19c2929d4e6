"""The verdict on attention temperatures: whether one of those tried moves long texts apart."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.thresholds import CUTOFFS
from cenote.records import Estimate, ModelDiagnosis, Run, Verdict
from cenote.wording import signed_estimate


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the verdict on the temperatures tried, if there are any."""
    others = model.runs[1:]
    if not others:
        return
    known, best = known_changes(model), best_change(model)
    if best:
        finding = (
            f"At temperature {best[0].temperature}, long texts lie {-best[1].value:.2f} less close together than in "
            "the unchanged model."
        )
    elif known:
        finding = "None of the temperatures tried moves long texts apart by more than chance."
    else:
        finding = "These texts cannot show whether a temperature moves long texts apart."
    changes = []
    for run in others:
        estimates = (run.change.difference, run.change.socm) if run.change else (None,)
        said = ("not known" if estimate is None else signed_estimate(estimate, "") for estimate in estimates)
        changes.append(f"{run.temperature}: {' and '.join(said)}")
    joint = "" if len(others) == 1 else f" The intervals hold for all {len(others)} temperatures together."
    yield Verdict(
        model=model.name,
        subject="temperature",
        grade="none" if known else "unknown",
        finding=finding,
        evidence="Change of the mean cosine, long minus short texts, and of mean SOCM, at each temperature: "
        f"{'; '.join(changes)}.{joint}",
        limit="Texts that lie farther apart are not necessarily ranked better: published gains are about 0.5 % of a "
        "score, and some models and tasks gain nothing.",
        advice="Check it on labelled data before you adopt it." if best else "",
    )


def known_changes(model: ModelDiagnosis) -> list[tuple[Run, Estimate]]:
    """Return the runs at other temperatures whose change of the cosine difference is known, with that change."""
    return [(run, run.change.difference) for run in model.runs[1:] if run.change and run.change.difference]


def best_change(model: ModelDiagnosis) -> tuple[Run, Estimate] | None:
    """Return the run that moves long texts apart most, with its change; None if no change is certain and notable."""
    closeness = model.runs[0].length.closeness
    if closeness is None:
        return None
    least = CUTOFFS["change"].value * closeness.deviation
    helping = [
        (run, change)
        for run, change in known_changes(model)
        if change.high is not None and change.high < 0 and -change.value >= least
    ]
    return min(helping, key=lambda found: found[1].value, default=None)
