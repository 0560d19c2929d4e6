"""The search of one model over its texts: read at its own temperature, read again at others, summed up once."""

from __future__ import annotations

from dataclasses import dataclass, field

from sentence_transformers import SentenceTransformer

from cenote.account.pooled_texts import OWN
from cenote.account.ranks import AccountReading, Ranks, other_poolings, read_account
from cenote.account.texts import AccountTexts
from cenote.diagnosis.account import summarise_account
from cenote.diagnosis.summaries import Excerpts
from cenote.encoding.passes import Passes
from cenote.errors import BadInput
from cenote.listener import Listener
from cenote.records import Account
from cenote.wording import name_temperature


@dataclass
class Search:
    """The account of one model, taken over the temperatures that it is diagnosed at."""

    model: SentenceTransformer
    texts: AccountTexts | str  # or the reason why there is no account
    seed: int
    listener: Listener
    reading: AccountReading | None = None
    tempered: dict[str, Ranks] = field(default_factory=dict)  # by the names of their settings

    @property
    def tokens(self) -> int:
        """Tokens to read at the model's own temperature."""
        return 0 if isinstance(self.texts, str) else self.texts.tokens

    @property
    def tokens_again(self) -> int:
        """Tokens to read at every other temperature."""
        return 0 if isinstance(self.texts, str) else self.texts.tokens_without_alternatives

    def read(self, passes: Passes | None = None) -> None:
        """Read all texts at the model's own temperature."""
        if isinstance(self.texts, str):
            return
        try:
            poolings = other_poolings(self.model)
            self.reading = read_account(self.model, self.texts, poolings, self.listener, passes=passes)
        except BadInput as error:
            self.texts = str(error)

    def read_at(self, tau: float, passes: Passes | None = None) -> None:
        """Read the same texts at the temperature that the model has now."""
        if not isinstance(self.texts, str):
            found = read_account(self.model, self.texts, {}, self.listener, alternatives=False, passes=passes)
            self.tempered[name_temperature(tau)] = found.ranks[OWN]

    def summarise(self, excerpts: Excerpts) -> Account | str:
        """Return the account, or the reason why there is none."""
        if isinstance(self.texts, str) or self.reading is None:
            return str(self.texts)
        return summarise_account(self.texts, self.reading, self.tempered, excerpts, self.seed)
