"""Two controls for length collapse: what of it is there before any attention, and what a text without meaning shows.

Longer texts lie closer together already as plain averages of the word-embedding matrix, and so do two words repeated.
What the model adds to the first is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cenote.errors import BadInput
from cenote.functional.similarity import similarity
from cenote.functional.words import word_averages
from cenote.surgery.attention import networks_of
from cenote.surgery.profiles import limit_of, pooled_of, prompt_of


def word_vectors(
    model: SentenceTransformer, texts: Sequence[str], *, prompt_name: str | None = None, batch_size: int = 256
) -> tuple[Tensor, Tensor]:
    """Plain averages of the rows of the word-embedding matrix, cut where the model cuts, special tokens left out.

    A prompt counts where the model pools it too.

    >>> import cenote
    >>> vectors, kept = word_vectors(cenote.load("minilm"), ["a pool", "", "the deep cave"])
    >>> vectors.shape, kept.tolist()
    (torch.Size([2, 384]), [0, 2])

    Returns:
        The vectors [M, D], and which of the texts they are of [M]: one without a word has none, nor has one with a
        word whose row is not finite.
    """
    table = networks_of(model)[0][0].get_input_embeddings().weight.detach()
    tokenizer: Any = model.tokenizer
    words: list[list[int]] = []
    for start in range(0, len(texts), batch_size):
        features = model.preprocess(list(texts[start : start + batch_size]), prompt=prompt_of(model, prompt_name))
        pooled = pooled_of(model, features).tolist()
        for row, mask in zip(features["input_ids"].long().tolist(), pooled, strict=True):
            special = tokenizer.get_special_tokens_mask(row, already_has_special_tokens=True)
            words.append([id_ for id_, real, added in zip(row, mask, special, strict=True) if real and not added])
    broken = set((~table.isfinite().all(1)).nonzero().flatten().tolist())
    kept = [index for index, ids in enumerate(words) if ids and broken.isdisjoint(ids)]
    return word_averages(table, [words[index] for index in kept]), torch.tensor(kept)


@dataclass(frozen=True)
class RepeatedWords:
    """What `repeat_words` found: for each number of repetitions the tokens of a text and the cosine of the two."""

    words: tuple[str, str]
    counts: tuple[int, ...]
    tokens: tuple[int, ...]
    cosines: tuple[float, ...]


def repeat_words(
    model: SentenceTransformer,
    words: tuple[str, str] = ("dog", "cat"),
    counts: Sequence[int] | None = None,
    *,
    prompt_name: str | None = None,
    limit: int | None = None,
) -> RepeatedWords:
    """The cosine between one word n times and another n times: two texts with nothing in common but their length.

    >>> import cenote
    >>> found = repeat_words(cenote.load("minilm"), counts=[1, 16, 128])
    >>> found.tokens, [round(cosine, 2) for cosine in found.cosines]
    ((3, 18, 130), [0.66, 0.52, 0.48])

    Args:
        model: any `SentenceTransformer`.
        words: two words.
        counts: how often each is repeated; None doubles from 1 up to the model's limit, that limit included.
        prompt_name: which of the model's prompts stands before them; None is its default.
        limit: the most tokens to go to, where the model would go further.
    """
    if len(words) != 2 or words[0] == words[1] or not all(isinstance(word, str) and word.strip() for word in words):
        raise BadInput(f"words={words!r}: name two words that differ.")
    prompt = prompt_of(model, prompt_name) or ""
    most = _most(model, words, prompt, limit)
    if counts is None:
        counts = sorted({*(2**power for power in range(most.bit_length())), most})
    wrong = [count for count in counts if isinstance(count, bool) or not isinstance(count, int) or count < 1]
    if wrong or not counts:
        raise BadInput(f"counts={list(counts)!r}: pass whole numbers of at least 1.")
    if max(counts) > most:
        raise BadInput(f"counts={list(counts)!r}: the model reads {words[0]!r} {most} times at most.")
    texts = [" ".join([word] * count) for word in words for count in counts]
    vectors = model.encode(texts, prompt=prompt, batch_size=8, convert_to_tensor=True, show_progress_bar=False)
    first, second = vectors.float().cpu().chunk(2)
    cosines = similarity(first, second, "cosine", pairwise=True)
    tokens = tuple(_tokens(model, text, prompt) for text in texts[: len(counts)])
    return RepeatedWords(words, tuple(counts), tokens, tuple(cosines.tolist()))


# Where a model states no limit, the probe still has to end: the longest text that MTEB's long tasks need.
_UNLIMITED = 8192


def _most(model: SentenceTransformer, words: Sequence[str], prompt: str, limit: int | None) -> int:
    """How often the longer of the words fits into the model."""
    most = min(limit_of(model) or _UNLIMITED, limit or _UNLIMITED)
    around = _tokens(model, "", prompt)
    each = [_tokens(model, f"{word} {word}", prompt) - _tokens(model, word, prompt) for word in words]
    if silent := [word for word, tokens in zip(words, each, strict=True) if tokens < 1]:
        raise BadInput(f"{silent[0]!r} is no token to this model, however often repeated: name other words.")
    return max(1, (min(most, _UNLIMITED) - around) // max(each))


def _tokens(model: SentenceTransformer, text: str, prompt: str) -> int:
    return int(model.preprocess([text], prompt=prompt)["attention_mask"].sum())
