"""Choosing a temperature on the development half of tasks: a grid, then refined, valued by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cenote.errors import BadInput
from cenote.evaluation.candidates import UNCHANGED, Candidate, CandidateScores, by_length, by_role, constants
from cenote.evaluation.differences import pair
from cenote.evaluation_records import FEWEST_ITEMS
from cenote.functional.paired import Difference, Paired, compare_paired
from cenote.functional.sampling import Floats
from cenote.models.properties import limit_of_documents
from cenote.records import Estimate
from cenote.tuning_records import Tried

# Folds of the cross-validation within the development half.
_FOLDS = 5
# The lowest temperature that is added to those that were named: the paper's lowest.
_LOWEST = 0.1
# The mean relative gain that the paper reports over 40 tasks.
PAPER_GAIN = 0.0053
# How many sources the held-out half needs to show such a gain, with the demo model at 0.9: measured on one search, one
# classification and two sets of pairs, in which nearly every item is a source of its own (docs/results.md).
_NEEDED = {
    "retrieval": "some hundreds",
    "classification": "some ten thousands",
    "sts": "some hundreds",
}


@dataclass(frozen=True, eq=False)
class Half:
    """One half of the data: what temperatures score on each of its tasks."""

    scores: list[CandidateScores]

    def median_length(self) -> int:
        """Return the median length of what is read of documents, texts or pairs, below the limit of the model."""
        lengths: list[Floats] = []
        for scores in self.scores:
            items, limit = scores.score(UNCHANGED).items, limit_of_documents(scores.model)
            for of_texts in list(items.lengths.values())[-1:]:
                known = of_texts[np.isfinite(of_texts)]
                lengths.append(known if limit is None else np.minimum(known, limit - 1))
        return int(np.median(np.concatenate(lengths)))

    def readable(self, candidates: Sequence[Candidate]) -> tuple[list[Candidate], dict[Candidate, str]]:
        """Return the constants and schedules at which the model can be read, and why it cannot be at each other one."""
        for scores in self.scores:
            scores.score(UNCHANGED)  # where this fails, no temperature is to blame
        broken: dict[Candidate, str] = {}
        for place, one in enumerate(candidates, 1):  # outside, so that all tasks share the graph of a temperature
            reasons = (scores.why_broken(one, (place, len(candidates))) for scores in self.scores)
            if why := next(filter(None, reasons), ""):
                broken[one] = why
        return [one for one in candidates if one not in broken], broken

    def paired(self, candidates: Sequence[Candidate]) -> tuple[list[Paired], Floats]:
        """Return the differences of candidates from the model's own temperature by task, and the own scores."""
        pairs, before = [], []
        for scores in self.scores:
            task = scores.task
            own = scores.score(UNCHANGED)
            others = scores.score_all(candidates)
            made = pair(task.kind, [own.items] * len(others), [one.items for one in others])
            if made is None:
                raise BadInput(f"{task.name}: the temperatures have no items in common.")
            if own.score <= 0:
                raise BadInput(
                    f"{task.name} scores {own.score:.4f} at the model's own temperature: changes are relative to a "
                    "score above 0."
                )
            pairs.append(made)
            before.append(own.score)
        return pairs, np.array(before)


@dataclass(frozen=True)
class Search:
    """Candidates: those of the grid, and constants that were added beside the best of them."""

    grid: list[Candidate]
    refined: list[Candidate]
    broken: dict[Candidate, str] = field(default_factory=dict)  # others, and why these cannot be tried

    @property
    def candidates(self) -> list[Candidate]:
        """All candidates."""
        return [*self.grid, *self.refined]


def search(development: Half, taus: Sequence[float], *, length: bool, role: bool, own: float | None) -> Search:
    """Return the temperatures to choose among.

    Args:
        development: the half to choose on.
        taus: the first constants, without the model's own.
        length: whether to combine them by length, and to try schedules.
        role: whether to combine them by role.
        own: the model's own constant; None if it has no constant.
    """
    grid, broken = development.readable(constants(taus))
    if not grid:
        raise BadInput(f"no temperature can be tried. {' '.join(dict.fromkeys(broken.values()))}")
    taus = [tau for tau in taus if Candidate("constant", tau, tau) in grid]
    known = [] if own is None else [own]
    several = list(dict.fromkeys([*known, *taus]))
    pairs, before = development.paired(grid)
    changes = relative_changes(pairs, before)
    best, tried = int(np.argmax(changes)), sorted({*taus, *known})
    lower = _below(tried, taus[best]) if changes[best] > 0 else []
    between, more = development.readable(constants([*_between(tried, taus[best]), *lower]))
    broken |= more
    if role:
        grid += by_role(several)
    if length:
        forms = by_length(several, development.median_length())
        _, more = development.readable([one for one in forms if one.schedule is not None])
        grid += [one for one in forms if one not in more]
        broken |= more
    return Search(grid, between, broken)


def _between(taus: Sequence[float], best: float) -> list[float]:
    """Return the temperatures halfway from the best to its neighbours.

    >>> _between([0.8, 0.9, 1.0], 0.9)
    [0.85, 0.95]
    """
    place = list(taus).index(best)
    near = [taus[one] for one in (place - 1, place + 1) if 0 <= one < len(taus)]
    return [round((best + one) / 2, 4) for one in near]


def _below(taus: Sequence[float], best: float) -> list[float]:
    """Return a temperature below the best if that is the lowest: as far below as its neighbour is above.

    It is half of the best at least, and not below the lowest that the paper tries.

    >>> _below([0.5, 0.6, 1.0], 0.5), _below([0.2, 0.6, 1.0], 0.2)
    ([0.4], [0.1])
    >>> _below([0.8, 0.9, 1.0], 0.9), _below([0.1, 1.0], 0.1), _below([0.5], 0.5)
    ([], [], [0.25])
    """
    if best != min(taus) or best <= _LOWEST:
        return []
    near = taus[1] - best if len(taus) > 1 else best
    return [round(max(best - near, best / 2, _LOWEST), 4)]


def state_need(kind: str, noun: str) -> str:
    """Return a sentence on how many sources show a gain like the paper's; nothing for a kind that was not measured."""
    gain = f"{100 * PAPER_GAIN:.2f} %, the paper's mean gain"
    if kind == "clustering":
        return f" On two sets of titles no number of them showed {gain}: draws of the texts differed by more."
    if kind not in _NEEDED:
        return ""
    return f" To show {gain}, the demo model at temperature 0.9 needs {_NEEDED[kind]} of {noun} in the second half."


def relative_changes(pairs: Sequence[Paired], before: Floats) -> Floats:
    """Return the mean over tasks of the relative change of each candidate."""
    changes = [one.values.mean(1) / score for one, score in zip(pairs, before, strict=True)]
    found: Floats = np.mean(changes, 0)
    return found


def as_shares(pairs: Sequence[Paired], before: Floats) -> list[Paired]:
    """Return the differences of each task as shares of its score before."""
    return [
        replace(one, values=one.values / score, draws=None if one.draws is None else one.draws / score)
        for one, score in zip(pairs, before, strict=True)
    ]


def together(pairs: Sequence[Paired], before: Floats, seed: int) -> list[Difference]:
    """Return the mean relative change of each setting over all tasks."""
    family = compare_paired(as_shares(pairs, before), seed=seed, fewest=FEWEST_ITEMS)
    return family.together or family.tasks[0]


def list_tried(
    candidates: Sequence[Candidate], pairs: Sequence[Paired], before: Floats, seed: int
) -> tuple[Tried, ...]:
    """Return what each candidate changes on the development half."""
    changes = [one.values.mean(1) / score for one, score in zip(pairs, before, strict=True)]
    gains = together(pairs, before, seed)
    return tuple(
        Tried(
            temperature=str(one),
            form=one.form,
            query=None if one.form == "length" else one.query,
            document=None if one.form == "length" else one.document,
            gain=Estimate(gain.value, gain.low, gain.high),
            tasks=tuple(float(change[place]) for change in changes),
        )
        for place, (one, gain) in enumerate(zip(candidates, gains, strict=True))
    )


def choose_best(found: Search, pairs: Sequence[Paired], before: Floats, seed: int) -> tuple[Estimate, Candidate | None]:
    """Return what choosing gains in cross-validation, and the best candidate; None if none is better than the own.

    Constants that were added beside the best are left out of the cross-validation: all folds took part in adding them.
    """
    expected = _cross_validated(pairs, before, range(len(found.grid)), seed)
    relative = relative_changes(pairs, before)
    best = int(np.argmax(relative))  # the first, and so the simplest, of equal ones
    estimate = Estimate(expected.value, expected.low, expected.high)
    return estimate, found.candidates[best] if relative[best] > 0 else None


def _cross_validated(pairs: Sequence[Paired], before: Floats, rows: Sequence[int], seed: int) -> Difference:
    """Return the gain on each fold of the candidate that is best on the other folds; the model's own counts as 0."""
    folds = [_folds(one, seed) for one in pairs]
    chosen = [np.zeros((1, one.values.shape[1])) for one in pairs]
    draws = [None if one.draws is None else np.zeros((1, one.draws.shape[1])) for one in pairs]
    for fold in range(_FOLDS):
        means = [one.values[:, given != fold].mean(1) for one, given in zip(pairs, folds, strict=True)]
        relative = np.mean([mean / score for mean, score in zip(means, before, strict=True)], 0)
        best = max(rows, key=lambda row, relative=relative: relative[row])  # type: ignore[misc]
        if relative[best] <= 0:
            continue
        for values, left, one, given in zip(chosen, draws, pairs, folds, strict=True):
            values[0, given == fold] = one.values[best, given == fold]
            if left is not None and one.draws is not None:
                left += one.draws[[best]] * (given == fold).mean()
    made = [
        replace(one, values=values, draws=left, outcomes=None)
        for values, one, left in zip(chosen, pairs, draws, strict=True)
    ]
    return together(made, before, seed)[0]


def _folds(pairs: Paired, seed: int) -> Any:
    """Return the fold of each item; items of one source are in the same fold."""
    count = pairs.values.shape[1]
    sources = np.arange(count) if pairs.sources is None else np.unique(pairs.sources, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(int(sources.max()) + 1) % _FOLDS
    return order[sources]
