"""The search of one model over its texts: read at its own temperature, read again at others, summed up once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sentence_transformers import SentenceTransformer

from cenote.data.rows import Text
from cenote.diagnosis.account import (
    AccountReading,
    Ranks,
    other_poolings,
    plan_account,
    read_account,
    summarise_account,
)
from cenote.diagnosis.pooled_texts import OWN
from cenote.diagnosis.summaries import Excerpts
from cenote.errors import BadInput
from cenote.listener import Listener
from cenote.records import Account

# For a forecast where nothing was read.
_SECONDS_A_TOKEN = 1e-4


class Search:
    """The account of one model, taken over the temperatures that it is diagnosed at."""

    def __init__(
        self,
        model: SentenceTransformer,
        texts: Sequence[Text],
        documents: int,
        prompt_name: str | None,
        seed: int,
        listener: Listener,
    ) -> None:
        self.model, self.seed, self.listener = model, seed, listener
        self.tempered: dict[str, Ranks] = {}
        self.listener.step("tokenising sentences", 1)
        self.texts = plan_account(model, texts, documents, prompt_name, seed)
        self.reading: AccountReading | None = None
        self.seconds, self.seconds_a_token = 0.0, _SECONDS_A_TOKEN
        if not isinstance(self.texts, str):
            start = time.perf_counter()
            try:
                self.reading = read_account(model, self.texts, other_poolings(model), self.listener)
            except BadInput as error:
                self.texts = str(error)
            else:
                self.seconds = time.perf_counter() - start
                self.seconds_a_token = self.seconds / self.texts.tokens

    def read_at(self, tau: float) -> None:
        """Read the same texts at the temperature that the model has now."""
        if not isinstance(self.texts, str):
            found = read_account(self.model, self.texts, {}, self.listener, alternatives=False)
            self.tempered[f"temperature {tau:g}"] = found.ranks[OWN]

    def summarise(self, excerpts: Excerpts) -> Account | str:
        """Return the account, or the reason why there is none."""
        if isinstance(self.texts, str) or self.reading is None:
            return str(self.texts)
        return summarise_account(self.texts, self.reading, self.tempered, excerpts, self.seed)
