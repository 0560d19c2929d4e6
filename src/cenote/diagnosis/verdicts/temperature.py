"""The verdict on attention temperatures: whether one of those tried leads more sentences back to their text."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.remedies import falls, per_hundred, rises
from cenote.records import ModelDiagnosis, Run, Setting, Verdict
from cenote.wording import name_temperature, signed_estimate


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the verdict on the temperatures tried, if there are any."""
    others = model.runs[1:]
    if not others:
        return
    settings = {} if isinstance(model.account, str) else model.account.settings
    tried = {run.temperature: settings.get(name_temperature(run.tried)) for run in others if run.tried is not None}
    measured = {name: one for name, one in tried.items() if one is not None}
    # Only the form that leaves a sentence out of its text ranks settings as labelled queries do.
    changes = {name: one.change_left_out for name, one in measured.items()}
    helping = {name: one for name, one in changes.items() if rises(one)}
    hurting = [name for name, one in changes.items() if falls(one)]
    if helping:
        name, best = max(helping.items(), key=lambda item: item[1].value)
        finding = (
            f"With the sentence left out of its text, temperature {name} finds {per_hundred(best)} of 100 sentences."
        )
    elif measured:
        finding = "With the sentence left out of its text, none of the temperatures tried helps beyond chance."
        if hurting:
            finding += f" {', '.join(hurting)} {'finds' if len(hurting) == 1 else 'find'} fewer."
    else:
        finding = "These texts cannot show whether a temperature helps a search."
    yield Verdict(
        model=model.name,
        subject="temperature",
        grade="fine" if measured else "unknown",
        finding=finding,
        evidence=" ".join(_describe(run, measured.get(run.temperature)) for run in others),
        limit="Published gains are about 0.5 % of a score, found with a temperature that was chosen on the test tasks; "
        "sentences of your own texts cannot resolve so little. Long texts that lie farther apart are not ranked better "
        "for it.",
        advice="Check it on labelled queries, apart from those that you choose it on." if helping else "",
    )


def _describe(run: Run, setting: Setting | None) -> str:
    """Return what a temperature changes: the search, and closeness at both ends of length."""
    parts = []
    if setting is not None:
        parts.append(
            f"finds {per_hundred(setting.change)} of 100 sentences, left out {per_hundred(setting.change_left_out)}"
        )
    ends = {} if run.change is None else {"short": run.change.short, "long": run.change.long}
    parts += [f"moves the cosine of {name} texts by {signed_estimate(one)}" for name, one in ends.items() if one]
    return f"Temperature {run.temperature} {', '.join(parts) or 'was not measured'}."
