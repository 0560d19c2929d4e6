"""Findings that need no trial: texts without a vector, another order, answers that change, norms, single texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cenote.auditing.causes import Case
from cenote.auditing.parity_measures import norm_ratios, norms_of
from cenote.auditing.parity_remedies import remedy_of
from cenote.auditing.parity_sides import AGAIN, ALONE, ALONE_AGAIN, ONE_LENGTH, Answers, Vectors
from cenote.errors import some
from cenote.functional.agreement import cosine_of, cosines
from cenote.functional.units import to_unit
from cenote.parity_records import LEAST, NORM_TOLERANCE, Finding, Way
from cenote.wording import pluralise

# Share of the texts that differ which another order, or asking for texts alone, must explain.
_MOST = 0.9
# Fewer texts that differ are named one by one: these many, or this share of all.
_FEW, _FEW_SHARE = 3, 0.02
# Single vectors are wrong if they are so many times as far apart as the farthest of the others.
_APART = 4
# The least cosine of a vector with that of another text which says that it is the same vector.
_SAME = 0.9999
# How constant a ratio of norms is that counts as one factor: its deviation over its mean.
_CONSTANT = 0.02
# Numbers of a block of scores: 32 MB.
_BLOCK = 2**22


@dataclass
class Sides:
    """The answers of both sides, and how far apart they are."""

    texts: Sequence[str]
    lengths: Sequence[int]  # tokens of all texts before they are cut
    left: Answers
    right: Answers
    least: float
    served: bool = True  # whether the right side is a server
    alone: dict[int, Vectors] = field(default_factory=dict)  # vectors of the right side for texts asked for alone

    def __post_init__(self) -> None:
        self.both = sorted(self.left.vectors.keys() & self.right.vectors.keys())
        self.lefts, self.rights = self.left.matrix(self.both), self.right.matrix(self.both)
        same = self.lefts.shape[1] == self.rights.shape[1]
        self.values: Vectors | None = cosines(self.lefts, self.rights) if same else None
        differs = np.ones(len(self.both), bool) if self.values is None else self.values < self.least
        self.differ = [place for place, one in zip(self.both, differs, strict=True) if one]
        self.row_of = {place: row for row, place in enumerate(self.both)}

    @property
    def steady(self) -> float:
        """The least cosine of two answers of one side that agree: no more is asked of it than half precision gives."""
        return min(self.least, LEAST)

    def find_elsewhere(self, vectors: Vectors, places: Sequence[int], against: Vectors, least: float) -> int:
        """Return how many vectors are those of another text.

        Args:
            vectors: `[N, D]`.
            places: of their texts.
            against: the vectors of all texts on one side, in the order of `both`.
            least: the least cosine with the vector of the other text.
        """
        rows, own = to_unit(against), np.array([self.row_of.get(place, -1) for place in places])
        block, found = max(1, _BLOCK // max(1, len(rows))), 0
        for start in range(0, len(own), block):
            scores, mine = to_unit(vectors[start : start + block]) @ rows.T, own[start : start + block]
            known = np.flatnonzero(mine >= 0)
            scores[known, mine[known]] = -1
            found += int((scores.max(1) >= least).sum())
        return found

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
        """Return texts to try settings on: some that differ, and some that agree. Vectors of texts alone count."""
        differ = set(self.differ)
        order = [place for place in self.by_agreement() if place in differ]
        # Single wrong vectors come first in this order: texts from the whole range are taken.
        # The longest are among them, since a second fault may touch these alone; so few that the first is still found.
        longest = sorted(order, key=lambda place: -self.lengths[place])[: int((1 - _MOST) * different)]
        order = [place for place in order if place not in longest]
        step = max(1, len(order) // different)
        chosen = [*longest, *order[::step][: different - len(longest)]]
        agree = [place for place in self.both if place not in differ]
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
            served=self.served,
        )


def summarise_way(name: str, answers: Answers, sides: Sides, first: Answers | None = None) -> Way:
    """Return how far the answers of one way are from the first answers, and from the local model.

    Args:
        name: of the way.
        answers: of the right side. Of a text with several, the one that is farthest from the first answer counts.
        sides: what both sides answered.
        first: what the answers are compared with; None: the first answers of all texts.
    """
    reference, width = first or sides.right, sides.rights.shape[1]
    places = sorted(answers.vectors.keys() & reference.vectors.keys())
    places = [place for place in places if len(answers.vectors[place]) == len(reference.vectors[place]) == width]
    farthest = [_farthest(answers.every(place), reference.vectors[place]) for place in places]
    vectors = np.stack(farthest) if places else np.zeros((0, width))
    values = cosines(vectors, reference.matrix(places)) if places else np.zeros(0)
    changed = np.flatnonzero(values < sides.steady)
    with_left = [row for row, place in enumerate(places) if place in sides.left.vectors]
    near = None
    if with_left and sides.values is not None:
        near = float(cosines(sides.left.matrix([places[row] for row in with_left]), vectors[with_left]).min())
    misplaced = sides.find_elsewhere(
        vectors[changed], [places[row] for row in changed.tolist()], sides.rights, max(sides.steady, _SAME)
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


def _farthest(every: Sequence[Vectors], first: Vectors) -> Vectors:
    """Return the vector with the lowest cosine with the first answer."""
    return min((one for one in every if len(one) == len(first)), key=lambda one: cosine_of(one, first))


def explain_answers(sides: Sides, ways: Sequence[Way]) -> list[Finding]:
    """Return findings on texts that the right side did not answer."""
    found = []
    stopped = sides.right.stopped or next((way.stopped for way in ways if way.stopped), "")
    if stopped:
        when = f"after {len(sides.right.vectors):,} of {pluralise(len(sides.texts), 'text')}"
        if not sides.right.stopped:
            when = "when it was asked for the same texts again"
        found.append(
            Finding(
                kind="incomplete",
                finding=f"the server stopped answering {when}: {stopped.removesuffix('.')}",
                remedy=remedy_of("incomplete", served=sides.served),
            )
        )
    refused = sides.right.refused
    if refused:
        reason = max(set(refused.values()), key=list(refused.values()).count)
        lengths = sides.lengths_of(sorted(refused))
        tokens = f"{min(lengths):,}" if min(lengths) == max(lengths) else f"{min(lengths):,} to {max(lengths):,}"
        found.append(
            Finding(
                kind="refused",
                finding=f"{pluralise(len(refused), 'text')} of {tokens} tokens got no vector: "
                f"{reason.removesuffix('.')}",
                remedy=remedy_of("refused", served=sides.served),
            )
        )
    return found


def explain_order(sides: Sides) -> list[Finding]:
    """Return the finding that texts got the vectors of other texts."""
    if sides.values is None or len(sides.differ) < 2:
        return []
    elsewhere = sides.find_elsewhere(sides.right.matrix(sides.differ), sides.differ, sides.lefts, sides.steady)
    if elsewhere < _MOST * len(sides.differ):
        return []
    return [
        Finding(
            kind="order",
            finding=f"{elsewhere} of {pluralise(len(sides.differ), 'text')} that differ got the vector of another "
            "text: the answers come in another order",
            remedy=remedy_of("order", served=sides.served),
        )
    ]


# What a change in the answers of a way says; requests at once are the other one.
_UNSTEADY = {AGAIN: "repeat", ALONE_AGAIN: "repeat", ALONE: "batch", ONE_LENGTH: "batch"}


def explain_ways(ways: Sequence[Way], *, served: bool) -> list[Finding]:
    """Return a finding for each kind of change in the answers of the right side."""
    found: dict[str, Finding] = {}
    for way in ways:
        if not way.changed:
            continue
        kind = _UNSTEADY.get(way.name, "concurrency")
        mixed = f", {way.misplaced} of them to the vector of another text" if way.misplaced else ""
        finding = (
            f"the vectors of {way.changed} of {pluralise(way.texts, 'text')} change with {way.name}{mixed} (least "
            f"cosine with the first answer {way.least or 0:.4f})"
        )
        found.setdefault(kind, Finding(kind, finding, remedy_of(kind, served=served)))
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


def explain_rounding(sides: Sides) -> list[Finding]:
    """Return the finding that the vectors are as close as half precision rounds, which the threshold does not allow."""
    if sides.values is None or not sides.differ or sides.values.min() < LEAST:
        return []
    return [
        Finding(
            kind="precision",
            finding=f"the vectors are as close as half precision rounds (least cosine {sides.values.min():.6f}), and "
            f"the threshold of {sides.least:g} asks for more",
            remedy=remedy_of("precision", served=sides.served),
        )
    ]


def explain_few(sides: Sides) -> list[Finding]:
    """Return the finding that single texts have other vectors while all others agree."""
    few = max(_FEW, int(_FEW_SHARE * len(sides.both)))
    if sides.values is None or len(sides.differ) > few or len(sides.differ) * 2 > len(sides.both):
        return []
    differs = sides.values < sides.least
    if differs.all() or (1 - sides.values[differs]).min() < _APART * (1 - sides.values[~differs]).max():
        return []  # all vectors are apart, and these are just below the threshold
    lowest = float(sides.values.min())
    numbers = some(place + 1 for place in sides.differ)
    return [
        Finding(
            kind="single",
            finding=f"{pluralise(len(sides.differ), 'text')} of {len(sides.both):,} got another vector (least cosine "
            f"{lowest:.4f}), and the others agree: number {numbers} of the sample",
            remedy=remedy_of("single", served=sides.served),
        )
    ]


def explain_width(sides: Sides) -> list[Finding]:
    """Return the finding that vectors have another width, which no setting gives."""
    if sides.values is not None:
        return []
    left, right = sides.lefts.shape[1], sides.rights.shape[1]
    return [
        Finding(
            kind="width",
            finding=f"vectors have {right:,} dimensions, the local model's {left:,}: no cosine can be computed",
            remedy=remedy_of("width", served=sides.served),
        )
    ]


def explain_norms(sides: Sides) -> list[Finding]:
    """Return the finding that vectors have other norms."""
    if sides.values is None:
        return []
    ratios = norm_ratios(sides.lefts, sides.rights)
    if (np.abs(ratios - 1) <= NORM_TOLERANCE).all():
        return []
    left, right = norms_of(sides.lefts), norms_of(sides.rights)
    if left.unit == right.unit and (sides.differ or sides.values.min() < LEAST):  # other directions have other norms
        return []
    if left.unit:
        words = f"the right side does not normalise: norms from {right.least:.3g} to {right.greatest:.3g}, not 1"
    elif right.unit:
        words = (
            f"the right side normalises and the local model does not: norms are 1, not {left.least:.3g} to "
            f"{left.greatest:.3g}"
        )
    else:
        words = f"norms differ: {_factor(ratios, np.array(sides.lengths_of(sides.both)))}"
    return [Finding("norm", words, remedy_of("norm", served=sides.served))]


def _factor(ratios: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64]) -> str:
    """Return how the norms of both sides go together."""
    if ratios.std() <= _CONSTANT * ratios.mean():
        return f"the right ones are {ratios.mean():.4g} times the left ones"
    for words, by_length in (("times the root of the tokens", 0.5), ("over the root of the tokens", -0.5)):
        scaled = ratios / lengths**by_length
        if scaled.std() <= _CONSTANT * scaled.mean():
            return f"the right ones are the left ones {words}, as of pooling `mean_sqrt_len` against `mean`"
    return f"the right ones are {ratios.min():.3g} to {ratios.max():.3g} times the left ones"
