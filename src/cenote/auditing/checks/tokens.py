"""The check of sticky tokens: tokens that draw the similarities of any text to one value.

A token is inserted once before the words of a text. Its effect is the part of the differences between texts that
remains: 1 if similarities to other texts move together, 0 if they no longer depend on the text. In the first round
every token that is looked at is inserted into one text; the tokens that move its vector most are inserted into more
texts, beside as many random tokens, which are the null. Tokens that stand out are tried again on other texts, since the
lowest of many estimates is low by chance too. The idea, not the procedure, is that of "Sticking to the Mean:
Detecting Sticky Tokens in Text Embedding Models" (ACL 2025, arXiv:2507.18171), which inserts a token many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from cenote.auditing.checks.readings import Vectors, read_ways
from cenote.auditing.checks.subject import Finding, Subject, rounded
from cenote.auditing.checks.thresholds import value_of
from cenote.encoding.tokens import Tokens, tokenise
from cenote.errors import some
from cenote.functional.units import to_unit
from cenote.listener import Listener
from cenote.models.properties import reader_of, tokenizer_of

# Words of a text that tokens are inserted into, and how many such texts there are: one for the first round.
_WORDS, _BASES, _REFERENCES = 12, 5, 20
# Tokens of the vocabulary with the largest and with the smallest embeddings that are looked at, as a part of all.
_EXTREMES = 6
# Fewer texts do not show how similarities move.
_FEWEST = 8


def check_sticky_tokens(subject: Subject) -> Finding:
    """Insert tokens of the vocabulary into texts, and see whether similarities still depend on the text."""
    if not isinstance(tokenizer_of(subject.model), PreTrainedTokenizerBase):
        return Finding(None, "The model's tokenizer has no list of tokens, of which any could be inserted.")
    texts = list(dict.fromkeys(" ".join(text.split()[:_WORDS]) for text in subject.texts))
    if len(texts) < _FEWEST:
        return Finding(None, f"{len(texts)} different texts are too few: {_FEWEST} are needed.")
    tokens = tokenise(subject.model, texts[: _BASES + _REFERENCES])
    if "attention_mask" not in tokens.columns:
        return Finding(None, "The model reads flattened batches, into which no token can be inserted.")
    whole = to_unit(_read(subject, tokens))
    readable = np.flatnonzero(np.isfinite(whole).all(1))  # others are for the check of finite vectors
    if len(readable) < _FEWEST:
        return Finding(None, f"{len(readable)} texts that can be read are too few: {_FEWEST} are needed.")
    tokens, whole = tokens.take(readable.tolist()), whole[readable]
    bases = min(_BASES, len(readable) // 2)
    chosen = _choose(subject)
    moved = to_unit(_read(subject, _insert(tokens, 0, chosen))) @ whole[0]
    chosen, moved = chosen[np.isfinite(moved)], moved[np.isfinite(moved)]
    suspects = chosen[np.argsort(moved, kind="stable")[: subject.effort.suspects]]
    random = np.random.default_rng(subject.seed).permutation(chosen)[: subject.effort.suspects]
    kept, by_random = (_kept(subject, tokens, whole, range(bases), some_) for some_ in (suspects, random))
    null = float(np.median(by_random))
    low = np.flatnonzero(kept < value_of("content kept") * null)
    if len(low):  # on other texts: the lowest of many estimates is low by chance too
        kept[low] = _kept(subject, tokens, whole, range(bases, len(tokens)), suspects[low])
    worst = int(np.argmin(kept))
    name = _name(subject, int(suspects[worst]))
    sticky = [_name(subject, int(suspects[place])) for place in low if kept[place] < value_of("content kept") * null]
    measured: dict[str, Any] = {
        "tokens": len(chosen),
        "vocabulary": len(tokenizer_of(subject.model)),
        "least_kept": rounded(float(kept[worst])),
        "token": name,
        "kept_by_random_tokens": rounded(null),
        "sticky": sticky,
    }
    looked = f"Of {len(chosen):,} of {measured['vocabulary']:,} tokens"
    if null < value_of("untrained"):
        return Finding(
            None,
            f"A random token leaves {100 * null:.0f} % of the differences between texts: no token can stand out.",
            measured=measured | {"sticky": []},
        )
    if sticky:
        return Finding(
            False,
            f"{looked}, {len(sticky)} hide the text they stand in: {some(map(repr, sticky), 5)}. With {name!r} "
            f"{100 * max(0.0, measured['least_kept']):.0f} % of the differences between texts remain, with a random "
            f"token {100 * null:.0f} %.",
            "Remove these tokens from texts before they are read.",
            measured,
        )
    return Finding(
        True,
        f"{looked}, none hides the text it stands in. The worst, {name!r}, leaves {100 * measured['least_kept']:.0f} % "
        f"of the differences between texts, a random token {100 * null:.0f} %.",
        measured=measured,
    )


def _choose(subject: Subject) -> npt.NDArray[np.int64]:
    """Return ids of the vocabulary: those with the largest and smallest embeddings, special ones, and random ones."""
    tokenizer = tokenizer_of(subject.model)
    count = subject.effort.vocabulary
    every: npt.NDArray[np.int64] = np.arange(len(tokenizer))
    every = every[every != (-1 if tokenizer.pad_token_id is None else tokenizer.pad_token_id)]
    network = getattr(reader_of(subject.model), "model", None)
    table = network.get_input_embeddings().weight if network is not None else None
    if table is not None:
        every = every[every < len(table)]
    if len(every) <= count:
        return every
    special = [one for one in tokenizer.all_special_ids if one in set(every.tolist())]
    extremes: list[int] = []
    if table is not None:
        order = every[np.argsort(table.detach().float().norm(dim=1).cpu().numpy()[every], kind="stable")]
        extremes = [*order[: count // _EXTREMES].tolist(), *order[-(count // _EXTREMES) :].tolist()]
    drawn = np.random.default_rng(subject.seed).permutation(every).tolist()
    found = list(dict.fromkeys([*special, *extremes, *drawn]))[:count]
    return np.array(sorted(found), np.int64)


def _insert(tokens: Tokens, row: int, ids: Sequence[int] | npt.NDArray[np.int64]) -> Tokens:
    """Return one text once for each token, which stands before its words."""
    start, end = int(tokens.offsets[row]), int(tokens.offsets[row + 1])
    length, count = end - start + 1, len(ids)
    place = 1 if length > 2 else 0  # after the token that begins every text, if there is one
    source = np.array([*range(start, start + place), start + place, *range(start + place, end)])
    columns = {name: np.tile(column[source], count) for name, column in tokens.columns.items()}
    columns["input_ids"][np.arange(count) * length + place] = np.asarray(ids, columns["input_ids"].dtype)
    offsets = np.arange(count + 1, dtype=np.int64) * length
    return Tokens(columns, offsets, np.full(count, length, np.int64), tokens.constants)


def _read(subject: Subject, tokens: Tokens) -> Vectors:
    """Return the vectors of all texts; NaN where one has none."""
    found = read_ways(subject.model, tokens, {}, Listener())
    vectors: Vectors = np.full((len(tokens), found.own.shape[1]), np.nan)
    vectors[found.rows] = found.own
    return vectors


def _kept(
    subject: Subject, tokens: Tokens, whole: Vectors, bases: range, ids: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return for each token the part of the differences between texts that remains when it stands in each of them.

    A token with which a text has no vector counts as one that changes nothing: the check of finite vectors is for it.
    """
    before = whole[list(bases)] @ whole.T
    before = before - before.mean(0)
    read = [to_unit(_read(subject, _insert(tokens, row, ids))) for row in bases]
    read = [one if one.shape[1] == whole.shape[1] else np.full((len(ids), whole.shape[1]), np.nan) for one in read]
    after = np.stack([one @ whole.T for one in read], 1)
    after = after - after.mean(1, keepdims=True)
    found: npt.NDArray[np.float64] = (after * before).sum((1, 2)) / max(float((before**2).sum()), 1e-30)
    return np.where(np.isfinite(found), found, 1.0)


def _name(subject: Subject, token: int) -> str:
    return str(tokenizer_of(subject.model).convert_ids_to_tokens(token))
