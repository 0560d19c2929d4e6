"""Scores of a model while it trains: by a labelled folder, or by whether texts are found by their own sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
)
from sentence_transformers.util import cos_sim

from cenote.account.pooled_texts import OWN
from cenote.account.probes import Probes, draw_probes
from cenote.account.ranks import read_account
from cenote.account.texts import tokenise_account
from cenote.data.fingerprints import Fingerprint
from cenote.data.labelled import Retrieval, Sts, fingerprint_of_files, read_labelled
from cenote.data.labelled_columns import Named
from cenote.data.labelled_schemas import plan_files
from cenote.data.sampling import sample_texts
from cenote.errors import BadInput
from cenote.listener import Listener

# Documents of an account, and texts that they are drawn from.
_DOCUMENTS, _SAMPLE = 200, 2000


class Watch(BaseEvaluator):
    """One score of a model, higher is better; `name` is what the score is called, `fingerprint` is of the data."""

    def __init__(self, name: str, fingerprint: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.name, self.fingerprint = name, fingerprint
        self.primary_metric = name

    def score(self, model: SentenceTransformer) -> float:
        """Return the score."""
        raise NotImplementedError

    def __call__(self, model: Any, *_: Any, **__: Any) -> dict[str, float]:
        """Return the score under its name, as the trainer asks for it."""
        training = model.training
        try:
            return {self.name: self.score(model.eval())}
        finally:
            model.train(training)


class _Labelled(Watch):
    """A score by sentence-transformers' own evaluator."""

    def __init__(self, name: str, fingerprint: str, evaluator: Any) -> None:
        super().__init__(name, fingerprint)
        self.evaluator = evaluator

    def score(self, model: SentenceTransformer) -> float:
        found: Mapping[str, float] = self.evaluator(model)
        return float(found[self.evaluator.primary_metric])


class _OwnSentences(Watch):
    """The share of sentences that find the text that they were left out of."""

    def __init__(self, probes: Probes) -> None:
        super().__init__("own_sentences_found", Fingerprint(probes.texts).name())
        self.probes = probes

    def score(self, model: SentenceTransformer) -> float:
        texts = tokenise_account(model, self.probes, alternatives=False)
        reading = read_account(model, texts, {}, Listener(), alternatives=False)
        return float((reading.ranks[OWN].left_out == 1).mean())


def watch_of(source: str | Path, seed: int, data_columns: Named | None = None) -> Watch:
    """Return what scores a model by a labelled folder, of which columns may be named, or by texts.

    A score by labels is sentence-transformers' own, of the cosine: nDCG@10 of a search, Spearman's correlation of pairs
    of sentences. Report scores of `cenote.evaluate`.
    """
    why = "" if data_columns else _why_not_labelled(source)
    labelled, fingerprint = None, ""
    if not why:
        labelled = read_labelled(source, data_columns=data_columns)
        fingerprint = fingerprint_of_files(source, data_columns=data_columns)
    if isinstance(labelled, Retrieval) and labelled.candidates is None:
        return _Labelled(
            "ndcg_at_10",
            fingerprint,
            InformationRetrievalEvaluator(
                dict(zip(labelled.query_ids, labelled.queries, strict=True)),
                dict(zip(labelled.corpus_ids, labelled.documents, strict=True)),
                {
                    name: {one for one, grade in grades.items() if grade > 0}
                    for name, grades in labelled.judgments.items()
                },
                score_functions={"cosine": cos_sim},
                write_csv=False,
            ),
        )
    if isinstance(labelled, Sts):
        given = (list(labelled.first), list(labelled.second), list(labelled.scores))
        evaluator = EmbeddingSimilarityEvaluator(*given, main_similarity="cosine", write_csv=False)
        return _Labelled("spearman", fingerprint, evaluator)
    if labelled is not None:
        raise BadInput(
            f"{source}: a training is watched by retrieval or sts, not by {labelled.kind}. Name such a folder, or "
            "texts."
        )
    try:
        drawn, _ = sample_texts(source, _SAMPLE, seed)
    except BadInput as error:
        raise BadInput(f"{source} is neither labelled data ({why}) nor texts ({error})") from error
    probes = draw_probes(drawn, _DOCUMENTS, seed)
    if few := probes.why_too_few():
        raise BadInput(f"{few}. Give more or longer texts, or a labelled folder.")
    return _OwnSentences(probes)


def _why_not_labelled(source: str | Path) -> str:
    """Return why a source is no labelled data, empty if it is."""
    try:
        plan_files(source)
    except BadInput as error:
        return str(error)
    return ""
