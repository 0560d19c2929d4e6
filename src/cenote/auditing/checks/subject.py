"""The subject of an audit: a model, its folder, and texts that are tokenised and read once for all checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.account.pooled_texts import OWN, Pooled, read_pooled
from cenote.account.probes import draw_probes
from cenote.account.ranks import other_poolings
from cenote.account.texts import Flags
from cenote.auditing.checks.readings import PLAIN, Modules, Reading, read_ways
from cenote.data.rows import Text
from cenote.encoding.tokens import Tokens, Whole, tokenise
from cenote.functional.pooling import NAMES
from cenote.functional.retrieval import own_ranks
from cenote.listener import Listener
from cenote.models.declared import declared
from cenote.models.properties import prompt_name_for
from cenote.models.repooling import operators_of, pooling_in, pooling_index
from cenote.models.weights import missing_of, noted_reports, unread_of
from cenote.nn import Pooling, Temperature

# Poolings of tokens that a model inserts while it reads: other tokens cannot be pooled by them.
_OF_OTHER_TOKENS = {"landmark", "multi_cls"}
# Keys of the older format of a Pooling's configuration end so.
_OLD_ENDING = "_tokens"


@dataclass(frozen=True)
class Effort:
    """How much is read: all counts are fixed, so that an audit can be repeated."""

    drawn: int  # texts, at most
    read: int  # of these, texts that are read in several ways
    documents: int  # texts that are searched for their own sentences
    padded: int  # texts that are read in several batches
    rounded: int  # the same at half precision
    long: int  # texts as long as the model reads
    vocabulary: int  # tokens that are inserted into a text
    suspects: int  # of these, tokens that are inserted into more texts
    longest: int = 8192  # tokens of the longest text that is read
    builtin: int = 1500  # texts of the built-in corpus to draw from: to parse all of it takes longer than the checks


FULL = Effort(drawn=1000, read=160, documents=100, padded=12, rounded=6, long=6, vocabulary=1500, suspects=24)
QUICK = Effort(
    drawn=500,
    read=50,
    documents=30,
    padded=4,
    rounded=2,
    long=2,
    vocabulary=200,
    suspects=6,
    longest=2048,
    builtin=500,
)


@dataclass(frozen=True)
class Finding:
    """The answer of one check."""

    passed: bool | None
    evidence: str
    remedy: str = ""
    measured: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Account:
    """Documents and sentences of them, read by several poolings; `OWN` is the model's."""

    documents: Pooled
    sentences: Pooled
    owners: Whole  # [Q] the document of each sentence

    def found(self, asking: str, searched: str) -> Flags | None:
        """Return whether each sentence's own document is the nearest, by one pooling for each side."""
        queries, documents = self.sentences.vectors.get(asking), self.documents.vectors.get(searched)
        if queries is None or documents is None or queries.shape[1] != documents.shape[1]:
            return None
        first: Flags = own_ranks(queries, documents, self.owners) == 1
        return first


@dataclass(eq=False)
class Subject:
    """A model and all that its checks share; texts are read when a check first asks for them."""

    model: SentenceTransformer
    folder: Path | None  # of the model's files
    asked: tuple[str, ...] | None  # the pooling that a server takes
    drawn: list[Text]
    effort: Effort
    seed: int
    listener: Listener
    reload: Callable[[], SentenceTransformer] | None  # loads the same model again
    by_path: bool  # whether the model was loaded for this audit, and so is that of the files

    batch_changes: dict[str, Any] = field(default_factory=dict)  # measured once for each precision
    missing: set[str] = field(default_factory=set)  # tensors that the files lack; known once `fresh` is
    unread: set[str] = field(default_factory=set)  # tensors of the files that the model should read

    @cached_property
    def fresh(self) -> SentenceTransformer | None:
        """The model as its files give it when they are loaded again; None without files."""
        if self.reload is None:
            return None
        with noted_reports() as reports:
            found = self.reload()
        self.missing, self.unread = missing_of(found, reports), unread_of(found, reports)
        return found

    def forget_fresh(self) -> None:
        """Free the memory of the model that was loaded again."""
        self.__dict__.pop("fresh", None)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Facts that the folder declares, by name; empty without a folder."""
        if self.folder is None:
            return {}
        return {name: fact["value"] for name, fact in declared(self.folder).items()}

    @cached_property
    def declared_pooling(self) -> tuple[str, ...] | None:
        """The operators that the folder declares, from either format; None if it declares none that we know."""
        return operators_declared(self.facts.get("pooling"))

    @property
    def pooling(self) -> tuple[str, ...]:
        """The operators of the model; empty for a model without a Pooling module."""
        return operators_of(pooling_in(self.model))

    @cached_property
    def texts(self) -> list[str]:
        """Texts that are read in several ways, evenly spread over those that were drawn."""
        count = min(len(self.drawn), self.effort.read)
        rows = np.linspace(0, len(self.drawn) - 1, count).round().astype(int)
        return [self.drawn[row].text for row in rows.tolist()]

    @cached_property
    def tokens(self) -> Tokens:
        """The texts as plain `encode` tokenises them."""
        return tokenise(self.model, self.texts)

    def spread(self, count: int) -> list[int]:
        """Return rows of the texts that have tokens, spread evenly from the shortest to the longest."""
        lengths = self.tokens.lengths
        order = [row for row in np.argsort(lengths, kind="stable").tolist() if lengths[row]]
        places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
        return [order[place] for place in places.tolist()]

    @cached_property
    def later_modules(self) -> dict[str, nn.Module]:
        """The modules after the pooling that compute something, by place and class."""
        index = pooling_index(list(self.model))
        modules = enumerate(self.model)
        return {
            f"{place} {type(module).__name__}": module
            for place, module in modules
            if index is not None and place > index and not isinstance(module, (Temperature, nn.Dropout))
        }

    @cached_property
    def reading(self) -> Reading:
        """The vectors of all texts, and those of other poolings and of fewer modules in the same pass."""
        return read_ways(self.model, self.tokens, self._ways(), self.listener)

    def _ways(self) -> dict[str, Modules]:
        pooling = pooling_in(self.model)
        if pooling is None:
            return {}
        later = list(self.later_modules.values())
        width, prompt = int(pooling.embedding_dimension), bool(pooling.include_prompt)
        ways: dict[str, Modules] = {PLAIN: [Pooling(width, "mean")]}
        for names in dict.fromkeys(one for one in (self.asked, self.declared_pooling) if one):
            if not set(names) & _OF_OTHER_TOKENS:
                ways["+".join(names)] = [Pooling(width, names, prompt), *later]
        for name in self.later_modules:
            ways[f"without {name}"] = [pooling, *(one for other, one in self.later_modules.items() if other != name)]
        return ways

    @cached_property
    def account(self) -> Account | str:
        """The texts that are searched for their own sentences by several poolings; where there are too few, why."""
        probes = draw_probes(self.drawn, self.effort.documents, self.seed)
        if few := probes.why_too_few():
            return few

        def read(texts: list[str], task: str, step: str) -> Pooled:
            tokens = tokenise(self.model, texts, prompt_name_for(self.model, None, task), task)
            return read_pooled(
                self.model, tokens, self._poolings(), task=task, listener=self.listener, step=f"reading {step}"
            )

        return Account(
            documents=read([text.text for text in probes.texts], "document", "documents"),
            sentences=read(probes.sentences, "query", "sentences"),
            owners=probes.owners,
        )

    def _poolings(self) -> dict[str, nn.Module]:
        """Return the poolings to try on the account, by name, besides the model's own."""
        found = {name.removeprefix("pooling "): one for name, one in other_poolings(self.model).items()}
        for names in (self.asked, self.declared_pooling):
            label = "+".join(names or ())
            if len(names or ()) == 1 and found and label not in found and names != self.pooling:
                own: Any = pooling_in(self.model)
                if not set(names or ()) & _OF_OTHER_TOKENS:
                    found[label] = Pooling(int(own.embedding_dimension), label, bool(own.include_prompt))
        return found

    def found(self, asking: str, searched: str | None = None) -> Flags | None:
        """Return which sentences find their text by a pooling; None if it was not read.

        `searched` is the pooling of the texts, where it is not that of the sentences.
        """
        if isinstance(self.account, str):
            return None
        live = "+".join(self.pooling)
        one, other = (OWN if name == live else name for name in (asking, searched or asking))
        return self.account.found(one, other)


def operators_declared(value: Any) -> tuple[str, ...] | None:
    """Return the operators that a Pooling's configuration names in either format; None for none that we know.

    >>> operators_declared("weightedmean_tokens"), operators_declared(["cls", "mean"]), operators_declared("mean+max")
    (('weightedmean',), ('cls', 'mean'), ('mean', 'max'))
    """
    if not value:
        return None
    names = value if isinstance(value, (list, tuple)) else str(value).split("+")
    names = [name if name in NAMES else str(name).removesuffix(_OLD_ENDING) for name in names]
    return tuple(NAMES[name] for name in names) if set(names) <= set(NAMES) else None


@contextmanager
def hooked(handles: list[Any]) -> Iterator[None]:
    """Remove hooks at the end."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def rounded(value: float) -> float:
    """Return a number with six digits, as records keep it.

    >>> rounded(0.123456789), rounded(1234567.8)
    (0.123457, 1234570.0)
    """
    return float(f"{value:.6g}")
