"""Fates of sentences that are searched for in their own texts: found, or what they are lost to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cenote.account.pooled_texts import OWN
from cenote.account.ranks import AccountReading, Ranks
from cenote.account.texts import AccountTexts, Flags
from cenote.encoding.tokens import Whole
from cenote.functional.retrieval import jackknife, nearest, token_matches, without_each_document
from cenote.records import Estimate

# Documents among which the tokens of a sentence look for theirs, besides it.
_MATCHED = 50
# What can become of a sentence.
FATES = ("found", "lost_to_cut", "lost_to_pooling", "not_found")


def find_fates(ranks: Ranks, helped: Flags) -> dict[str, Flags]:
    """Return which sentences meet each fate: every sentence meets one."""
    found = ranks.kept == 1
    cut = ~found & ~ranks.read
    pooled = ~found & ranks.read & helped
    return dict(zip(FATES, (found, cut, pooled, ~(found | cut | pooled)), strict=True))


def find_helped(
    texts: AccountTexts, reading: AccountReading, settings: Sequence[Ranks] | None, windows: Ranks | None
) -> tuple[Flags, Whole]:
    """Return which sentences tokens or a window lead to their document, and the documents nearest to each sentence.

    Tokens are asked only for sentences that some setting loses. The nearest documents and the sentence's own are
    ranked anew by the sum of the best cosines of its tokens.

    Args:
        texts: of the account.
        reading: at the model's own temperature, with token vectors.
        settings: the model's own, and all others; None before they are known: tokens are asked for all sentences.
        windows: the ranks by the best of small windows, if these were read.
    """
    queries, documents, owners = reading.sentences, reading.documents, texts.probes.owners
    near = nearest(queries.vectors[OWN], documents.vectors[OWN], _MATCHED + 1)
    lost = np.ones(len(owners), bool) if settings is None else np.any([ranks.kept > 1 for ranks in settings], 0)
    rows = np.flatnonzero(lost)
    candidates = np.concatenate([owners[rows, None], near[rows]], 1)
    scores = token_matches(queries.tokens, documents.tokens, rows, candidates)
    scores[:, 1:][candidates[:, 1:] == owners[rows, None]] = -np.inf
    helped = np.zeros(len(owners), bool)
    helped[rows] = scores[:, 0] > scores[:, 1:].max(1)
    return helped | ((reading.ranks[OWN] if windows is None else windows).kept == 1), near


@dataclass(frozen=True, eq=False)
class Figures:
    """Shares and changes with intervals for other documents: each document is taken away in turn.

    What finds the document of a sentence besides its vector, `helped`, is fixed meanwhile.
    """

    owners: Whole  # [Q] the document of each sentence
    drawn: Whole  # [N] the document of each sentence that is left out
    count: int  # documents
    helped: Flags  # [Q] whether tokens or a window find the document

    def shares(self, ranks: Ranks, rows: Any = slice(None)) -> dict[str, Estimate]:
        """Return the share of each fate among some of the sentences."""
        made, documents = {}, len(np.unique(self.owners[rows]))
        for fate, flags in find_fates(ranks, self.helped).items():
            values = flags[rows].astype(float)
            freed = np.full(len(values), float(fate == "found"))
            without = without_each_document(
                values, freed, ranks.kept[rows], ranks.rivals[rows], self.owners[rows], self.count
            )
            made[fate] = jackknife(float(values.mean()), without, documents=documents)
        return made

    def left_out(self, ranks: Ranks) -> Estimate:
        """Return the share that finds its document without the sentence."""
        return jackknife(float((ranks.left_out == 1).mean()), self._without_left_out(ranks))

    def change(self, ranks: Ranks, own: Ranks, confidence: float) -> Estimate:
        """Return the change of the share found from the model's own setting to another."""
        value = float((ranks.kept == 1).mean() - (own.kept == 1).mean())
        without = self._without(ranks) - self._without(own)
        return jackknife(value, without, confidence=confidence, share=False)

    def change_left_out(self, ranks: Ranks, own: Ranks, confidence: float) -> Estimate:
        """Return the same change where the sentence is left out of its document."""
        value = float((ranks.left_out == 1).mean() - (own.left_out == 1).mean())
        without = self._without_left_out(ranks) - self._without_left_out(own)
        return jackknife(value, without, confidence=confidence, share=False)

    def _without(self, ranks: Ranks) -> Any:
        values = (ranks.kept == 1).astype(float)
        return without_each_document(values, np.ones(len(values)), ranks.kept, ranks.rivals, self.owners, self.count)

    def _without_left_out(self, ranks: Ranks) -> Any:
        values = (ranks.left_out == 1).astype(float)
        return without_each_document(
            values, np.ones(len(values)), ranks.left_out, ranks.left_out_rivals, self.drawn, self.count
        )
