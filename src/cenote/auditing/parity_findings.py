"""Findings that need no trial: texts without a vector, another order, answers that change, norms, single texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cenote.auditing.causes import Case
from cenote.auditing.parity_measures import cosines, norm_ratios, norms_of, unit
from cenote.auditing.parity_sides import Answers, Vectors
from cenote.errors import some
from cenote.parity_records import NORM_TOLERANCE, Finding, Way
from cenote.wording import pluralise

# Share of the texts that differ which another order, or asking for texts alone, must explain.
_MOST = 0.9
# Fewer texts that differ are named one by one: these many, or this share of all.
_FEW, _FEW_SHARE = 3, 0.02
# How constant a ratio of norms is that counts as one factor: its deviation over its mean.
_CONSTANT = 0.02


@dataclass
class Comparison:
    """The answers of both sides, and how far apart they are."""

    texts: Sequence[str]
    lengths: Sequence[int]  # tokens of all texts before they are cut
    left: Answers
    right: Answers
    least: float
    alone: dict[int, Vectors] = field(default_factory=dict)  # vectors of the right side for texts asked for alone

    def __post_init__(self) -> None:
        self.both = sorted(self.left.vectors.keys() & self.right.vectors.keys())
        self.lefts, self.rights = self.left.matrix(self.both), self.right.matrix(self.both)
        same = self.lefts.shape[1] == self.rights.shape[1]
        self.values: Vectors | None = cosines(self.lefts, self.rights) if same else None
        differs = np.ones(len(self.both), bool) if self.values is None else self.values < self.least
        self.differ = [place for place, one in zip(self.both, differs, strict=True) if one]

    def lengths_of(self, places: Sequence[int]) -> list[int]:
        """Return the tokens of some texts."""
        return [self.lengths[place] for place in places]

    def by_agreement(self) -> list[int]:
        """Return the places of the texts with a vector on both sides, the least agreement first."""
        if self.values is None:
            return list(self.both)
        return [self.both[row] for row in np.argsort(self.values, kind="stable")]

    def is_explained_alone(self) -> bool:
        """Return whether the texts that differ agree once the right side reads each of them alone."""
        places = [place for place in self.differ if place in self.alone]
        if self.values is None or not places:
            return False
        found = cosines(self.left.matrix(places), np.stack([self.alone[place] for place in places]))
        return bool((found >= self.least).mean() >= _MOST)

    def for_trials(self, different: int, equal: int) -> Case:
        """Return texts to try settings on: the most different, and some that agree. Vectors of texts alone count."""
        order = [place for place in self.by_agreement() if place in set(self.differ)]
        # Single wrong vectors come first in this order: texts from the whole range are taken.
        step = max(1, len(order) // different)
        chosen = order[::step][:different]
        agree = [place for place in self.both if place not in set(self.differ)]
        agree = sorted(agree, key=lambda place: -self.lengths[place])[:: max(1, len(agree) // max(1, equal))][:equal]
        places = [*chosen, *agree]
        wanted = np.stack([self.alone.get(place, self.right.vectors[place]) for place in places])
        return Case(
            texts=[self.texts[place] for place in places],
            lengths=self.lengths_of(places),
            wanted=wanted,
            differs=np.array([True] * len(chosen) + [False] * len(agree)),
            threshold=self.least,
            near=self.values is not None and bool(np.median(self.values) > 0.9),
        )


def summarise_way(name: str, answers: Answers, case: Comparison) -> Way:
    """Return how far the answers of one way are from the first answers, and from the local model."""
    places = sorted(answers.vectors.keys() & case.right.vectors.keys())
    width = case.rights.shape[1]
    places = [place for place in places if len(answers.vectors[place]) == width]
    values = cosines(answers.matrix(places), case.right.matrix(places)) if places else np.zeros(0)
    changed = [place for place, value in zip(places, values, strict=True) if value < case.least]
    misplaced = 0
    if changed:
        scores = unit(answers.matrix(changed)) @ unit(case.rights).T
        own = [case.both.index(place) if place in case.left.vectors else -1 for place in changed]
        others = scores.copy()
        for row, column in enumerate(own):
            if column >= 0:
                others[row, column] = -1
        misplaced = int((others.max(1) >= max(case.least, 0.9999)).sum())
    with_left = [place for place in places if place in case.left.vectors]
    near = (
        float(cosines(case.left.matrix(with_left), answers.matrix(with_left)).min())
        if with_left and case.values is not None
        else None
    )
    return Way(
        name=name,
        texts=len(places),
        least=float(values.min()) if len(values) else None,
        changed=len(changed),
        misplaced=misplaced,
        least_with_left=near,
        stopped=answers.stopped,
    )


def explain_answers(case: Comparison, ways: Sequence[Way]) -> list[Finding]:
    """Return findings on texts that the right side did not answer."""
    found = []
    stopped = case.right.stopped or next((way.stopped for way in ways if way.stopped), "")
    if stopped:
        when = f"after {len(case.right.vectors):,} of {pluralise(len(case.texts), 'text')}"
        if not case.right.stopped:
            when = "when it was asked for the same texts again"
        found.append(
            Finding(
                kind="incomplete",
                finding=f"the server stopped answering {when}: {stopped.removesuffix('.')}",
                remedy="Look into the log of the server. The texts that it answered are compared.",
            )
        )
    refused = case.right.refused
    if refused:
        reason = max(set(refused.values()), key=list(refused.values()).count)
        lengths = case.lengths_of(sorted(refused))
        tokens = f"{min(lengths):,}" if min(lengths) == max(lengths) else f"{min(lengths):,} to {max(lengths):,}"
        found.append(
            Finding(
                kind="refused",
                finding=f"{pluralise(len(refused), 'text')} of {tokens} tokens got no vector: "
                f"{reason.removesuffix('.')}",
                remedy="Let the server cut long texts (TEI: --auto-truncate), or leave out texts that it cannot read.",
            )
        )
    return found


def explain_order(case: Comparison) -> list[Finding]:
    """Return the finding that texts got the vectors of other texts."""
    if case.values is None or len(case.differ) < 2:
        return []
    scores = unit(case.right.matrix(case.differ)) @ unit(case.lefts).T
    places = [case.both.index(place) for place in case.differ]
    scores[np.arange(len(places)), places] = -1
    elsewhere = scores.max(1) >= case.least
    if elsewhere.mean() < _MOST:
        return []
    return [
        Finding(
            kind="order",
            finding=f"{int(elsewhere.sum())} of {pluralise(len(places), 'text')} that differ got the vector of another "
            "text: the answers come in another order",
            remedy="Sort the answers by their 'index', or repair the server: it mixes up the texts of a request.",
        )
    ]


_UNSTEADY = {
    "the same requests again": (
        "repeat",
        "Each answer is another one: look for dropout (a model in training mode), or for replicas that differ.",
    ),
    "each text alone": (
        "batch",
        "A text's vector depends on the texts beside it: padding is not masked, or on the other side. Send texts one "
        "by one until the server is repaired.",
    ),
    "batches of texts of one length": (
        "batch",
        "A text's vector depends on the texts beside it. Send texts one by one until the server is repaired.",
    ),
}
_CONCURRENT = (
    "concurrency",
    "The server mixes up requests that run at the same time: send one at a time until it is repaired.",
)


def explain_ways(ways: Sequence[Way]) -> list[Finding]:
    """Return a finding for each kind of change in the answers of the right side."""
    found: dict[str, Finding] = {}
    for way in ways:
        if not way.changed:
            continue
        kind, remedy = _UNSTEADY.get(way.name, _CONCURRENT)
        mixed = f", {way.misplaced} of them to the vector of another text" if way.misplaced else ""
        finding = (
            f"the vectors of {way.changed} of {pluralise(way.texts, 'text')} change with {way.name}{mixed} (least "
            f"cosine with the first answer {way.least or 0:.4f})"
        )
        found.setdefault(kind, Finding(kind, finding, remedy))
    if "repeat" in found:  # what changes by itself changes in every way
        return [found["repeat"]]
    if "batch" in found and "concurrency" in found:
        # Requests at once are also of other sizes: only a lower cosine, or another text's vector, says more.
        least = {way.name: (way.least or 0.0, way.misplaced) for way in ways}
        alone = min(least[name] for name in _UNSTEADY if name in least)
        at_once = next(one for name, one in least.items() if name not in _UNSTEADY)
        if at_once[1] == 0 and at_once[0] >= alone[0] - 0.05:
            del found["concurrency"]
    return list(found.values())


def explain_few(case: Comparison) -> list[Finding]:
    """Return the finding that single texts have other vectors while all others agree."""
    few = max(_FEW, int(_FEW_SHARE * len(case.both)))
    if case.values is None or len(case.differ) > few or len(case.differ) * 2 > len(case.both):
        return []
    lowest = min(float(one) for one in case.values)
    numbers = some(place + 1 for place in case.differ)
    return [
        Finding(
            kind="single",
            finding=f"{pluralise(len(case.differ), 'text')} of {len(case.both):,} got another vector (least cosine "
            f"{lowest:.4f}), and the others agree: number {numbers} of the sample",
            remedy="Look at these texts (worst texts): a cache may hold an old vector, or the server reads their "
            "characters in another way.",
        )
    ]


def explain_width(case: Comparison) -> list[Finding]:
    """Return the finding that vectors have another width, which no setting gives."""
    if case.values is not None:
        return []
    left, right = case.lefts.shape[1], case.rights.shape[1]
    return [
        Finding(
            kind="width",
            finding=f"vectors have {right:,} dimensions, the local model's {left:,}: no cosine can be computed",
            remedy="Check that both sides are the same model, and ask the server for all dimensions.",
        )
    ]


def explain_norms(case: Comparison) -> list[Finding]:
    """Return the finding that vectors have other norms."""
    if case.values is None:
        return []
    ratios = norm_ratios(case.lefts, case.rights)
    if (np.abs(ratios - 1) <= NORM_TOLERANCE).all():
        return []
    left, right = norms_of(case.lefts), norms_of(case.rights)
    if left.unit == right.unit and case.differ:  # other directions have other norms
        return []
    remedy = "Divide vectors by their norms on both sides. Where only cosines are used, --ignore-norms accepts it."
    if left.unit:
        words = f"the right side does not normalise: norms from {right.least:.3g} to {right.greatest:.3g}, not 1"
    elif right.unit:
        words = (
            f"the right side normalises and the local model does not: norms are 1, not {left.least:.3g} to "
            f"{left.greatest:.3g}"
        )
    else:
        words = f"norms differ: {_factor(ratios, np.array(case.lengths_of(case.both)))}"
    return [Finding("norm", words, remedy)]


def _factor(ratios: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64]) -> str:
    """Return how the norms of both sides go together."""
    if ratios.std() <= _CONSTANT * ratios.mean():
        return f"the right ones are {ratios.mean():.4g} times the left ones"
    for words, by_length in (("times the root of the tokens", 0.5), ("over the root of the tokens", -0.5)):
        scaled = ratios / lengths**by_length
        if scaled.std() <= _CONSTANT * scaled.mean():
            return f"the right ones are the left ones {words}, as of pooling `mean_sqrt_len` against `mean`"
    return f"the right ones are {ratios.min():.3g} to {ratios.max():.3g} times the left ones"
