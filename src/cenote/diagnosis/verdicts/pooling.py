"""The verdict on pooling: how many sentences their tokens find, but not the vector of their text."""

from __future__ import annotations

from collections.abc import Iterator

from cenote.diagnosis.verdicts.remedies import advise, as_counted, count_fates, kinds_ranked, list_parts, name_threshold
from cenote.diagnosis.verdicts.thresholds import THRESHOLDS
from cenote.records import ModelDiagnosis, Verdict
from cenote.wording import share_estimate


def judge(model: ModelDiagnosis) -> Iterator[Verdict]:
    """Yield the verdict on pooling, if a search was measured."""
    account = model.account
    if isinstance(account, str):
        return
    lost, threshold = account.lost_to_pooling, THRESHOLDS["pooling"]
    count = count_fates(account)[2]
    grade = threshold.grade(lost.value)
    yield Verdict(
        model=model.name,
        subject="pooling",
        grade=grade,
        finding=f"Of 100 sentences, pooling loses {count}: the model reads them, their tokens or a window find "
        "their text, but its one vector does not.",
        evidence=f"{share_estimate(as_counted(lost, count))} of the sentences."
        f"{list_parts(account, 'length', 'texts of {}', 'lost_to_pooling')}"
        f"{name_threshold('pooling', lost)}",
        limit="The tokens of a sentence are compared with those of its text, which holds the sentence itself: this is "
        "more than a reranker will find. A model whose tokens find little has little to lose here: compare models by "
        "what is found.",
        advice="" if grade == "fine" else advise(account, kinds_ranked(model)),
    )
