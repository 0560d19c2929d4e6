"""The likely cause of a difference: which settings of the local model give the vectors of the other side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from cenote.auditing.causes_trials import HALF, Attempt, PooledBy, attempts, read, search_window
from cenote.auditing.parity_remedies import remedy_of
from cenote.errors import CenoteError
from cenote.functional.agreement import cosines
from cenote.listener import Step
from cenote.models.properties import limit_of
from cenote.models.provenance import pooling_of
from cenote.parity_records import Finding, Trial

Vectors = npt.NDArray[np.float64]

# Share of the texts that differ which a setting must explain, since single vectors may be wrong for another reason.
_EXPLAINED = 0.9
# A setting that leaves less than this at every text leaves nothing: the rest is rounding.
_EXACT = 0.9999
# A setting explains texts if it leaves a quarter of what the model's own settings leave of them, on average. More
# changes are better than fewer if they leave a quarter at the text that is explained worst.
_BETTER = 4
# A setting that leaves more than half of it is not worth a word.
_NEARER = 2
# A smaller move of every cosine is no move: the setting does not matter to this model, as lower case to an uncased one.
_STILL = 1e-6
# The sides may be so many times as far apart as half precision moves the local model, and rounding explains it.
_ROUNDINGS = 4
# Trials that a record keeps, besides those that explain the difference.
_KEPT = 30
# The longest texts that the search for a window reads.
_SEARCHED_TEXTS = 3


@dataclass(frozen=True)
class Case:
    """Texts that differ and some that agree, with the vectors of the other side."""

    texts: Sequence[str]
    lengths: Sequence[int]  # tokens, before texts are cut
    wanted: Vectors
    differs: npt.NDArray[np.bool_]
    threshold: float
    near: bool  # whether rounding might explain the difference
    served: bool = True  # whether the other side is a server


@dataclass(frozen=True)
class Cause:
    """The result of the trials."""

    finding: Finding | None  # None: no setting explains the difference
    trials: tuple[Trial, ...]  # those that a record keeps, the nearest among them
    tried: int  # all settings that were tried and change a vector
    nearest: Trial | None = None  # the setting that comes nearest, if it comes much nearer than the model's own


@dataclass(frozen=True, eq=False)
class _Tried:
    """A trial with what it changes."""

    trial: Trial
    changes: int
    values: Vectors  # the cosine with the other side, for each text
    case: Case

    @property
    def agrees(self) -> npt.NDArray[np.bool_]:
        """Whether each text agrees."""
        return self.values >= self.case.threshold

    @property
    def rest(self) -> float:
        """The difference that is left at the text that it explains worst."""
        return 1.0 - self.trial.least

    @property
    def left(self) -> float:
        """The difference that is left, on average, of the texts that differ."""
        return 1.0 - float(self.values[self.case.differs].mean())


def find_cause(model: SentenceTransformer, case: Case, prompt_name: str | None, step: Step) -> Cause:
    """Return the finding of the simplest setting that explains the difference, and the trials."""
    tried: list[_Tried] = []
    lengths = np.asarray(case.lengths)
    some_agree = not case.differs.all()
    long = some_agree and bool(np.median(lengths[case.differs]) > np.median(lengths[~case.differs]))
    for attempt in attempts(model, prompt_name, case.lengths, half=case.near, long=long):
        tried += _try(model, case, attempt, prompt_name)
        step(1)
        # One change that leaves something may hide a second one.
        if any(one.changes == 1 and one.trial.least >= _EXACT for one in _explaining(tried)):
            break
    found = _simplest(tried)
    if found is None and (extra := _search_windows(model, case, prompt_name)):
        tried += extra
        found = _simplest(tried)
    own = _own(tried)
    others = [one for one in tried if one.changes and (own is None or np.abs(one.values - own.values).max() > _STILL)]
    kept = sorted(others, key=lambda one: (one.changes, -one.trial.least))[:_KEPT]
    nearest = min(others, key=lambda one: one.left, default=None)
    if nearest is not None and own is not None and nearest.left * _NEARER > own.left:
        nearest = None
    kept += [one for one in (found, nearest) if one is not None and one not in kept]
    finding = _within_rounding(model, case, prompt_name) if found is None else _finding(found, case, model)
    trials = tuple(dict.fromkeys(one.trial for one in kept))
    return Cause(finding, trials, len(others), None if nearest is None else nearest.trial)


def _try(model: SentenceTransformer, case: Case, attempt: Attempt, prompt_name: str | None) -> list[_Tried]:
    """Return the trials of one attempt: one for each way whose vectors have the wanted width."""
    try:
        found = read(model, case.texts, attempt, prompt_name)
    except CenoteError:  # the model does not take this setting
        return []
    tried = []
    wide = case.wanted.shape[1]
    for way, vectors in found.items():
        first = vectors.shape[1] > wide and way == PooledBy()  # a server may keep the first dimensions only
        if vectors.shape[1] != wide and not first:
            continue
        values = np.nan_to_num(cosines(vectors[:, :wide], case.wanted), nan=-1.0)
        kinds, words = _describe(model, attempt, way)
        if first:
            kinds, words = [*kinds, "width"], [*words, f"when cut to the first {wide} of {vectors.shape[1]} dimensions"]
        agree = values >= case.threshold
        explained = float(agree[case.differs].mean()) if case.differs.any() else 0.0
        if not case.differs.all() and agree[~case.differs].mean() < _EXPLAINED:  # it spoils what agrees
            explained = 0.0
        trial = Trial(
            kind=" and ".join(kinds),
            setting=", ".join(words) or "the model's own settings",
            texts=len(values),
            least=float(values.min()),
            mean=float(values.mean()),
            explained=explained,
        )
        tried.append(_Tried(trial, len(kinds), values, case))
    return tried


def _describe(model: SentenceTransformer, attempt: Attempt, way: PooledBy) -> tuple[list[str], list[str]]:
    """Return the kinds of changes of a trial, and each in words."""
    kinds, words = [], []
    if way.pooling is not None:
        kinds.append("pooling")
        words.append(f"with pooling `{way.pooling}`, not `{pooling_of(model)}`")
    if way.without is not None:
        kinds.append("modules")
        words.append(f"without {way.without} after the pooling")
    if attempt.kind:
        kinds.append(attempt.kind)
        words.append(attempt.words)
    return kinds, words


def _own(tried: Sequence[_Tried]) -> _Tried | None:
    """Return the trial of the model's own settings; None if their vectors have another width."""
    return next((one for one in tried if not one.changes), None)


def _explaining(tried: Sequence[_Tried]) -> list[_Tried]:
    """Return the trials that explain the difference; to lift texts by a hair over the threshold explains nothing."""
    own = _own(tried)
    return [one for one in tried if one.changes and one.trial.explained >= _EXPLAINED and _lifts(one, own)]


def _lifts(one: _Tried, own: _Tried | None) -> bool:
    """Return whether a trial comes much nearer than the model's own settings, at the texts that it explains."""
    rows = one.case.differs & one.agrees
    return own is None or bool((1 - one.values[rows]).mean() * _BETTER <= (1 - own.values[rows]).mean())


def _simplest(tried: Sequence[_Tried]) -> _Tried | None:
    """Return the trial that explains the difference with the fewest changes; with more if these explain it better."""
    found = _explaining(tried)
    simplest = min(found, key=_by_changes, default=None)
    if simplest is None or simplest.trial.least >= _EXACT:
        return simplest
    better = [one for one in found if one.rest * _BETTER <= simplest.rest]
    return min(better, key=_by_changes, default=simplest)


def _by_changes(one: _Tried) -> tuple[int, float, float]:
    return one.changes, -one.trial.explained, -one.trial.mean


def _search_windows(model: SentenceTransformer, case: Case, prompt_name: str | None) -> list[_Tried]:
    """Return trials of the window that fits the longest texts that differ, if longer texts differ more."""
    lengths = np.asarray(case.lengths)
    places = np.flatnonzero(case.differs)
    places = places[np.argsort(-lengths[places])][:_SEARCHED_TEXTS]
    if not len(places) or lengths[places].min() < np.median(lengths):
        return []
    texts = [case.texts[place] for place in places.tolist()]
    found = search_window(model, texts, lengths[places].tolist(), case.wanted[places], prompt_name)
    if found is None:
        return []
    limit, own = found[0], limit_of(model)
    words = f"when cut at {limit} tokens, not {'at all' if own is None else own}"
    return _try(model, case, Attempt("window", words, limit=limit), prompt_name)


def _within_rounding(model: SentenceTransformer, case: Case, prompt_name: str | None) -> Finding | None:
    """Return the finding that the sides differ as much as half precision moves the local model itself, or None.

    Two computations at half precision round in other ways: the other side's vectors are not those of the trial.
    """
    if not case.near:
        return None
    own, rounded = (read(model, case.texts, one, prompt_name)[PooledBy()] for one in (Attempt(), HALF))
    if own.shape[1] != case.wanted.shape[1]:
        return None
    far, moved = (1 - cosines(own, other)[case.differs] for other in (case.wanted, rounded))
    if not (far.mean() <= _ROUNDINGS * moved.mean() and far.max() <= _ROUNDINGS * moved.max()):
        return None
    return Finding(
        kind="precision",
        finding=f"the vectors are as far apart as bfloat16 moves those of the local model: least cosine "
        f"{1 - far.max():.4f}, and {1 - moved.max():.4f} at bfloat16",
        remedy=remedy_of("precision", served=case.served),
    )


def _finding(one: _Tried, case: Case, model: SentenceTransformer) -> Finding:
    trial = one.trial
    count = round(trial.explained * int(case.differs.sum()))
    some = f"{count} of {int(case.differs.sum())} texts that differ"
    at = f"{trial.least:.5f}" if trial.explained == 1 else f"{trial.mean:.5f} on average"
    rest = _rest_in_words(one, case)
    return Finding(
        kind=trial.kind,
        finding=f"agrees {trial.setting}, at {at} ({some}){rest}",
        remedy=remedy_of(trial.kind, served=case.served, pooling=pooling_of(model)),
    )


def _rest_in_words(one: _Tried, case: Case) -> str:
    """Return which texts a setting does not explain: something else changes them."""
    left = np.flatnonzero(case.differs & ~one.agrees)
    if not len(left):
        return ""
    lengths = np.asarray(case.lengths)
    longest = lengths[left].min() > np.median(lengths[case.differs])
    which = f", all of {lengths[left].min():,} tokens or more" if longest else ""
    return f", and something else changes {len(left)} of them{which} (least cosine {one.trial.least:.5f})"
