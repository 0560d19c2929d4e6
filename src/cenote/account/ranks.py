"""Documents ranked for their own sentences: texts are drawn, read once, and searched in every setting of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.account.pooled_texts import KEPT_NUMBERS, OWN, Pooled, SideReader, Vectors, mean_of_windows
from cenote.account.probes import FEWEST_DOCUMENTS, draw_probes
from cenote.account.texts import AccountTexts, Alternative, Flags, tokenise_account
from cenote.data.rows import Text
from cenote.encoding.passes import Passes
from cenote.encoding.tokens import Whole
from cenote.functional.retrieval import own_ranks, ranks_of_variants
from cenote.listener import Listener
from cenote.models.properties import width_of
from cenote.models.provenance import pooling_of
from cenote.models.repooling import pooling_in
from cenote.nn import Pooling

# Poolings that are tried beside the model's own.
_POOLINGS = ("mean", "cls", "max", "weightedmean", "lasttoken")


def plan_account(
    model: SentenceTransformer, texts: Sequence[Text], count: int, prompt_name: str | None, seed: int
) -> AccountTexts | str:
    """Draw and tokenise the texts of an account; return why there is none where they do not suffice.

    Args:
        model: the model to diagnose.
        texts: all texts of the diagnosis.
        count: documents, at most; fewer where their token vectors would not fit into memory.
        prompt_name: of the prompt before documents; None takes the model's prompt for documents, if it has one.
        seed: of what is drawn.
    """
    probes = draw_probes(texts, count, seed)
    if few := probes.why_too_few():
        return few
    found = tokenise_account(model, probes, prompt_name)
    numbers = count_kept(model, found)
    if numbers > KEPT_NUMBERS and len(probes.texts) > FEWEST_DOCUMENTS:
        fewer = max(FEWEST_DOCUMENTS, len(probes.texts) * KEPT_NUMBERS // numbers)
        found = tokenise_account(model, draw_probes(texts, fewer, seed), prompt_name)
    return found


def count_kept(model: SentenceTransformer, texts: AccountTexts) -> int:
    """Return how many numbers the token vectors of documents and sentences have, which an account keeps."""
    pooling = pooling_in(model)
    width = width_of(model) if pooling is None else int(pooling.embedding_dimension)
    return int(texts.documents.lengths.sum() + texts.sentences.lengths.sum()) * width


def other_poolings(model: SentenceTransformer) -> dict[str, nn.Module]:
    """Return the poolings to try beside the model's own, by the names of their settings."""
    pooling = pooling_in(model)
    if pooling is None or pooling.pooling_output_dimension != pooling.embedding_dimension:
        return {}  # the modules after several operators take their width and no other
    own, width = pooling_of(model), int(pooling.embedding_dimension)
    prompt = bool(pooling.include_prompt)
    return {f"pooling {name}": Pooling(width, name, prompt) for name in _POOLINGS if name != own}


class Ranks(NamedTuple):
    """Ranks of the sentences' own documents in one setting, from 1."""

    kept: Whole  # [Q]
    left_out: Whole  # [N] of the sentences that were left out of their documents
    rivals: Whole  # [Q] the best of the other documents
    left_out_rivals: Whole  # [N]
    read: Flags  # [Q] whether the model reads the sentence
    rows: float  # vectors for each document


@dataclass(frozen=True, eq=False)
class AccountReading:
    """Vectors of all texts of an account at one temperature, and the ranks in every setting that they give."""

    documents: Pooled
    sentences: Pooled
    remainders: Pooled
    ranks: dict[str, Ranks]  # by setting; the model's own is `OWN`


def read_account(
    model: SentenceTransformer,
    texts: AccountTexts,
    poolings: Mapping[str, nn.Module],
    listener: Listener,
    *,
    alternatives: bool = True,
    keep_tokens: bool = False,
    passes: Passes | None = None,
) -> AccountReading:
    """Read all texts of an account, and rank the documents for every sentence.

    Args:
        model: the model that they were tokenised for.
        texts: of the account.
        poolings: other poolings of the same tokens, by the names of their settings.
        listener: hears of the progress.
        alternatives: whether to read windows and whatever else the texts come with.
        keep_tokens: whether to keep the token vectors of documents and sentences, which alternatives come with.
        passes: of the model; None takes torch's.
    """
    read, keep = SideReader(model, "document", listener, passes), alternatives or keep_tokens
    documents = read(texts.documents, "reading documents", poolings, keep_tokens=keep)
    sentences = SideReader(model, "query", listener, passes)(
        texts.sentences, "reading sentences", poolings, keep_tokens=keep
    )
    remainders = read(texts.remainders, "reading documents without a sentence", poolings)
    ranks = {}
    for name in documents.vectors:
        queries, complete, without = (one.vectors[name] for one in (sentences, documents, remainders))
        ranks[name] = rank_documents(texts, queries, complete, without, texts.read)
    for other in texts.alternatives if alternatives else ():
        pieces = [read(one.tokens, other.step) for one in (other.documents, other.remainders)]
        ranks |= _rank_alternative(other, texts, documents, sentences, remainders, pieces)
    return AccountReading(documents, sentences, remainders, ranks)


def rank_windows(
    model: SentenceTransformer,
    windows: Alternative,
    texts: AccountTexts,
    reading: AccountReading,
    listener: Listener,
    passes: Passes | None = None,
) -> Ranks:
    """Read windows of the documents, and rank the documents by the best of them."""
    read = SideReader(model, "document", listener, passes)
    pieces = [read(one.tokens, windows.step) for one in (windows.documents, windows.remainders)]
    whole, owners, _ = windows.documents.merge(reading.documents, texts.documents.lengths, pieces[0])
    without, places, _ = windows.remainders.merge(reading.remainders, texts.remainders.lengths, pieces[1])
    return rank_documents(texts, reading.sentences.vectors[OWN], whole, without, windows.read, owners, places)


def _rank_alternative(
    other: Alternative, texts: AccountTexts, documents: Pooled, sentences: Pooled, remainders: Pooled, pieces: Any
) -> dict[str, Ranks]:
    """Rank the documents by the best of their pieces, and by the mean of them."""
    queries, count = sentences.vectors[OWN], len(texts.documents)
    whole, owners, weights = other.documents.merge(documents, texts.documents.lengths, pieces[0])
    without, places, others = other.remainders.merge(remainders, texts.remainders.lengths, pieces[1])
    best = rank_documents(texts, queries, whole, without, other.read, owners, places)
    if not other.windows:
        return {other.name: best}
    means = mean_of_windows(whole, owners, weights, count), mean_of_windows(without, places, others, count)
    return {f"{other.name}, best": best, f"{other.name}, mean": rank_documents(texts, queries, *means, other.read)}


def rank_documents(
    texts: AccountTexts,
    queries: Vectors,
    whole: Vectors,
    without: Vectors,
    read: Flags,
    owners: Whole | None = None,
    places: Whole | None = None,
) -> Ranks:
    """Rank the documents for every sentence, by vectors of whole documents and of those without a sentence.

    Where these are windows, `owners` and `places` tell the document and the remainder of each.
    """
    own, left_out = texts.probes.owners, texts.left_out
    rivals, left_out_rivals = np.zeros(len(own), np.int64), np.zeros(len(left_out), np.int64)
    return Ranks(
        kept=own_ranks(queries, whole, own, owners=owners, rivals=rivals),
        left_out=ranks_of_variants(
            queries[left_out],
            without,
            whole,
            own[left_out],
            owners=owners,
            variant_owners=places,
            rivals=left_out_rivals,
        ),
        rivals=rivals,
        left_out_rivals=left_out_rivals,
        read=read,
        rows=1 if owners is None else len(owners) / len(texts.documents),
    )
