"""Two controls for length collapse: plain averages of word embeddings, and one word repeated.

Longer texts lie closer together already as averages of the word-embedding matrix, and so do two words repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cenote.encoding.backends import plain_backend
from cenote.encoding.batches import collate
from cenote.encoding.forward import pooled_tokens
from cenote.encoding.passes import Passes
from cenote.encoding.tokens import Tokens, concatenate, tokenise, tokens_around
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput
from cenote.functional.similarity import similarity
from cenote.functional.words import word_averages
from cenote.listener import silent
from cenote.models.properties import limit_of, reader_of
from cenote.records import Repeated
from cenote.surgery.attention import networks_of

# Pairs of common words with little in common: one pair says little, since pairs differ from each other.
WORD_PAIRS = (
    ("dog", "cat"),
    ("water", "music"),
    ("house", "river"),
    ("red", "seven"),
    ("king", "bread"),
    ("car", "tree"),
    ("doctor", "stone"),
    ("book", "rain"),
    ("school", "fish"),
    ("money", "horse"),
    ("night", "paper"),
    ("city", "milk"),
    ("war", "garden"),
    ("phone", "mountain"),
    ("sun", "law"),
    ("game", "blood"),
    ("train", "apple"),
    ("friend", "iron"),
    ("summer", "bank"),
    ("letter", "bird"),
)
# Texts whose tokens are looked up together.
_TOGETHER = 256
# Where a model states no limit: the longest texts of MTEB's long tasks.
_UNLIMITED = 8192


def word_vectors(model: SentenceTransformer, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Return plain averages of the rows of the word-embedding matrix, and the texts that have one.

    Texts are cut where the model cuts them. Special tokens are left out, and a prompt where the pooling leaves it out.

    >>> import cenote
    >>> from cenote.encoding.tokens import tokenise
    >>> model = cenote.load("minilm")
    >>> vectors, kept = word_vectors(model, tokenise(model, ["a pool", "", "the deep cave"]))
    >>> vectors.shape, kept.tolist()
    (torch.Size([2, 384]), [0, 2])

    Returns:
        The vectors [M, D] and their texts [M]. A text without a word has none, nor has one with a word whose row is not
        finite.
    """
    reader, networks = reader_of(model, tokens.constants.get("task")), networks_of(model)
    # Each route of a Router may have words of its own.
    network = next((one for one, entries in networks if reader in entries), networks[0][0])
    table, tokenizer = network.get_input_embeddings().weight.detach(), reader.tokenizer
    words: list[list[int]] = []
    for start in range(0, len(tokens), _TOGETHER):
        features = collate(model, tokens, range(start, min(start + _TOGETHER, len(tokens))))
        pooled = pooled_tokens(model, features).tolist()
        for row, mask in zip(features["input_ids"].long().tolist(), pooled, strict=True):
            special = tokenizer.get_special_tokens_mask(row, already_has_special_tokens=True)
            words.append([id_ for id_, real, added in zip(row, mask, special, strict=True) if real and not added])
    broken = set((~table.isfinite().all(1)).nonzero().flatten().tolist())
    kept = [index for index, ids in enumerate(words) if ids and broken.isdisjoint(ids)]
    return word_averages(table, [words[index] for index in kept]), torch.tensor(kept)


@dataclass(frozen=True, eq=False)
class RepeatedTexts:
    """The texts of two repeated words, tokenised once: all of the first word, then all of the second."""

    words: tuple[str, str]
    tokens: Tokens


def tokenise_word_pairs(
    model: SentenceTransformer, prompt_name: str | None, limit: int, pairs: Iterable[tuple[str, str]] | None = None
) -> list[RepeatedTexts]:
    """Return the texts of pairs of words (default: `WORD_PAIRS`), without those words that the tokenizer drops."""
    found = []
    for words in WORD_PAIRS if pairs is None else pairs:
        with suppress(BadInput):
            found.append(tokenise_repeated(model, words, prompt_name=prompt_name, limit=limit))
    return found


def read_repeated(
    model: SentenceTransformer,
    texts: Sequence[RepeatedTexts],
    notify: Callable[[str], object] = silent,
    passes: Passes | None = None,
) -> tuple[Repeated, ...]:
    """Return the cosines that the model gives to each pair of words now."""
    if not texts:
        return ()
    encoder = Encoder(model, plain_backend(model, passes=passes), notify=notify)
    vectors, refused = encoder(concatenate(*(one.tokens for one in texts)))
    if refused:
        raise BadInput(f"repeated words cannot be read: {refused[min(refused)]}.")
    found = []
    ends = np.cumsum([len(one.tokens) for one in texts])
    for one, part in zip(texts, np.split(vectors, ends[:-1]), strict=True):
        first, second = torch.from_numpy(part).chunk(2)
        cosines = similarity(first, second, "cosine", pairwise=True)
        lengths = one.tokens.lengths[: len(one.tokens) // 2]
        found.append(Repeated(one.words, tuple(lengths.tolist()), tuple(cosines.tolist())))
    return tuple(found)


def repeat_words(
    model: SentenceTransformer,
    words: tuple[str, str] = ("dog", "cat"),
    counts: Sequence[int] | None = None,
    *,
    prompt_name: str | None = None,
    limit: int | None = None,
) -> Repeated:
    """Return the cosine between one word repeated and another repeated as often.

    >>> import cenote
    >>> found = repeat_words(cenote.load("minilm"), counts=[1, 16, 128])
    >>> found.tokens, [round(cosine, 2) for cosine in found.cosines]
    ((3, 18, 130), [0.66, 0.52, 0.48])

    Args:
        model: any `SentenceTransformer`.
        words: two words.
        counts: how often each is repeated; None doubles from 1 to the model's limit, that limit included.
        prompt_name: of the prompt before them; None takes the model's default prompt.
        limit: the most tokens of a text, where the model would read more.
    """
    return read_repeated(model, [tokenise_repeated(model, words, counts, prompt_name=prompt_name, limit=limit)])[0]


def tokenise_repeated(
    model: SentenceTransformer,
    words: tuple[str, str] = ("dog", "cat"),
    counts: Sequence[int] | None = None,
    *,
    prompt_name: str | None = None,
    limit: int | None = None,
) -> RepeatedTexts:
    """Return the texts of `repeat_words`, tokenised once for any number of readings."""
    if len(words) != 2 or words[0] == words[1] or not all(isinstance(word, str) and word.strip() for word in words):
        raise BadInput(f"words={words!r}: pass two different words.")
    most = _most_repetitions(model, words, prompt_name, limit)
    if counts is None:
        counts = sorted({*(2**power for power in range(most.bit_length())), most})
    wrong = [count for count in counts if isinstance(count, bool) or not isinstance(count, int) or count < 1]
    if wrong or not counts:
        raise BadInput(f"counts={list(counts)!r}: pass whole numbers of at least 1.")
    if max(counts) > most:
        raise BadInput(f"counts={list(counts)!r}: the model reads {words[0]!r} at most {most} times.")
    texts = [" ".join([word] * count) for word in words for count in counts]
    return RepeatedTexts(words, tokenise(model, texts, prompt_name))


def _most_repetitions(
    model: SentenceTransformer, words: Sequence[str], prompt_name: str | None, limit: int | None
) -> int:
    """Return how often the longer of the words fits into the model."""
    once, twice = (tokenise(model, [" ".join([word] * n) for word in words], prompt_name).lengths for n in (1, 2))
    each = (twice - once).tolist()
    if without := [word for word, tokens in zip(words, each, strict=True) if tokens < 1]:
        raise BadInput(
            f"the tokenizer makes no token of {without[0]!r}, however often it is repeated: pass other words."
        )
    around = tokens_around(model, prompt_name)
    most = min(limit_of(model) or _UNLIMITED, limit or _UNLIMITED)
    return max(1, (most - around) // int(max(each)))
