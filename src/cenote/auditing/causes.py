"""The likely cause of a difference: which settings of the local model give the vectors of the other side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from cenote.auditing.causes_trials import Reading, Way, read, readings, search_window
from cenote.auditing.parity_measures import cosines
from cenote.errors import CenoteError
from cenote.listener import Step
from cenote.models.properties import limit_of
from cenote.models.provenance import pooling_of
from cenote.parity_records import Finding, Trial

Vectors = npt.NDArray[np.float64]

# Share of the texts that differ which a setting must explain, since single vectors may be wrong for another reason.
_EXPLAINED = 0.9
# Trials that a record keeps, besides those that explain the difference.
_KEPT = 30
# The longest texts that the search for a window reads.
_SEARCHED_TEXTS = 3

REMEDIES = {
    "pooling": "Start the server with the pooling `{pooling}` (TEI and llama.cpp: --pooling; vLLM: its pooler "
    "configuration), or use a server that reads the model's 1_Pooling folder.",
    "modules": "The server drops modules after the pooling: use one that runs all of modules.json, or export the model "
    "as a whole graph with `cenote export`.",
    "window": "Set the server's token limit to the model's, or cut texts into windows yourself before sending them.",
    "prompt": "Put the prompt before every text exactly once: in the server's settings or in the client.",
    "temperature": "The server does not know the attention temperature: fold it into the weights with `cenote temper`.",
    "tokens": "Let the server's tokenizer add the special tokens, as the model's own does.",
    "text": "Send texts unchanged, and use the model's own tokenizer.",
    "precision": "Serve the model at float32, or lower the threshold (--least).",
    "width": "Ask the server for all dimensions, and check that it serves this model.",
}


@dataclass(frozen=True)
class Case:
    """Texts that differ and some that agree, with the vectors of the other side."""

    texts: Sequence[str]
    lengths: Sequence[int]  # tokens, before texts are cut
    wanted: Vectors
    differs: npt.NDArray[np.bool_]
    threshold: float
    near: bool  # whether rounding might explain the difference


@dataclass(frozen=True)
class _Tried:
    """A trial with what it changes."""

    trial: Trial
    changes: int
    reading: Reading
    way: Way


def find_cause(
    model: SentenceTransformer, case: Case, prompt_name: str | None, step: Step
) -> tuple[Finding | None, tuple[Trial, ...]]:
    """Return the finding of the simplest setting that explains the difference, or None, and the trials."""
    tried: list[_Tried] = []
    lengths = np.asarray(case.lengths)
    some_agree = not case.differs.all()
    long = some_agree and bool(np.median(lengths[case.differs]) > np.median(lengths[~case.differs]))
    for reading in readings(model, prompt_name, case.lengths, half=case.near, long=long):
        tried += _try(model, case, reading, prompt_name)
        step(1)
        if any(_explains(one) and one.changes == 1 for one in tried):
            break
    found = _simplest(tried)
    if found is None and (extra := _search_windows(model, case, prompt_name)):
        tried += extra
        found = _simplest(tried)
    kept = sorted(tried, key=lambda one: (one.changes, -one.trial.least))
    trials = [one.trial for one in kept if one.changes][:_KEPT]
    if found is not None and found.trial not in trials:
        trials.append(found.trial)
    return (None if found is None else _finding(found, case, model)), tuple(trials)


def _try(model: SentenceTransformer, case: Case, reading: Reading, prompt_name: str | None) -> list[_Tried]:
    """Return the trials of one reading: one for each way whose vectors have the wanted width."""
    try:
        found = read(model, case.texts, reading, prompt_name)
    except CenoteError:  # the model does not take this setting
        return []
    tried = []
    wide = case.wanted.shape[1]
    for way, vectors in found.items():
        first = vectors.shape[1] > wide and way == Way()  # a server may keep the first dimensions only
        if vectors.shape[1] != wide and not first:
            continue
        values = np.nan_to_num(cosines(vectors[:, :wide], case.wanted), nan=-1.0)
        kinds, words = _describe(model, reading, way)
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
        tried.append(_Tried(trial, len(kinds), reading, way))
    return tried


def _describe(model: SentenceTransformer, reading: Reading, way: Way) -> tuple[list[str], list[str]]:
    """Return the kinds of changes of a trial, and each in words."""
    kinds, words = [], []
    if way.pooling is not None:
        kinds.append("pooling")
        words.append(f"with pooling `{way.pooling}`, not `{pooling_of(model)}`")
    if way.without is not None:
        kinds.append("modules")
        words.append(f"without {way.without} after the pooling")
    if reading.kind:
        kinds.append(reading.kind)
        words.append(reading.words)
    return kinds, words


def _explains(one: _Tried) -> bool:
    return one.changes > 0 and one.trial.explained >= _EXPLAINED


def _simplest(tried: Sequence[_Tried]) -> _Tried | None:
    """Return the trial that explains the difference with the fewest changes, of these the nearest."""
    found = [one for one in tried if _explains(one)]
    return min(found, key=lambda one: (one.changes, -one.trial.explained, -one.trial.mean), default=None)


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
    return _try(model, case, Reading("window", words, limit=limit), prompt_name)


def _finding(one: _Tried, case: Case, model: SentenceTransformer) -> Finding:
    trial = one.trial
    count = round(trial.explained * int(case.differs.sum()))
    some = f"{count} of {int(case.differs.sum())} texts that differ"
    kinds = trial.kind.split(" and ")
    remedy = " ".join(REMEDIES[kind].format(pooling=pooling_of(model)) for kind in dict.fromkeys(kinds))
    at = f"{trial.least:.5f}" if trial.explained == 1 else f"{trial.mean:.5f} on average"
    return Finding(kind=trial.kind, finding=f"agrees {trial.setting}, at {at} ({some})", remedy=remedy)
