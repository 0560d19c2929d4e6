"""Pairs that the user gave: checked, read, and compared. Each text is read once, in however many pairs it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote import summaries
from cenote.errors import BadInput
from cenote.results import LeftOut, Pairs
from cenote.surgery.profiles import prompt_of
from cenote.surgery.reading import Reading, as_read, count_tokens, read_texts, width_of
from cenote.texts import refuse_half_characters

Prompts = tuple[str | None, str | None]  # names of those of either side; None is the model's default
Side = tuple[str, str | None]  # a text, and the name of its prompt

_MEASURE = "the given pairs"


class GivenPair(NamedTuple):
    """Two texts, and where the pair stood among those given, from 0."""

    row: int
    first: str
    second: str


@dataclass(frozen=True)
class GivenPairs:
    """The pairs that can be compared, and those that cannot."""

    pairs: list[GivenPair]
    left_out: tuple[LeftOut, ...] = ()


def check_pairs(pairs: Iterable[tuple[str, str]] | None) -> GivenPairs:
    """The pairs to compare; those with an empty side are left out.

    >>> found = check_pairs([("a pool", "a pond"), ("a cave", " "), ("light", "stone")])
    >>> [pair.row for pair in found.pairs], found.left_out[0].count, found.left_out[0].ids
    ([0, 2], 1, ('pair 1',))
    """
    found: list[GivenPair] = []
    empty: dict[int, str] = {}
    for row, pair in enumerate(pairs if pairs is not None else []):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise BadInput(f"pair {row} is {pair!r}: pass two texts.")
        for text in pair:
            refuse_half_characters(text, f"pair {row}")
        if all(text.strip() for text in pair):
            found.append(GivenPair(row, *pair))
        else:
            empty[row] = "an empty side"
    return GivenPairs(found, _left_out(empty))


def _left_out(unusable: dict[int, str], before: tuple[LeftOut, ...] = ()) -> tuple[LeftOut, ...]:
    """What is left out, with what was before."""
    return before + summaries.left_out(_MEASURE, ((f"pair {row}", why) for row, why in sorted(unusable.items())))


def check_prompts(prompt_name: str | None, pair_prompts: Any, given: GivenPairs) -> Prompts:
    """The names of the prompts of either side of pairs."""
    if pair_prompts is None:
        return prompt_name, prompt_name
    two = isinstance(pair_prompts, (tuple, list)) and len(pair_prompts) == 2
    if not two or not all(name is None or isinstance(name, str) for name in pair_prompts):
        raise BadInput(f"pair_prompts={pair_prompts!r}: pass two names, such as ('query', 'document').")
    if not given.pairs:
        raise BadInput(f"pair_prompts={pair_prompts!r}, and there are no pairs: pass pairs too.")
    return pair_prompts[0], pair_prompts[1]


def readable_pairs(model: SentenceTransformer, given: GivenPairs, prompts: Prompts, seed: int) -> GivenPairs:
    """Those of the pairs of which the model has tokens: as many, drawn at random, as have their tokens kept."""
    sides = [tuple(_sides(model, pair, prompts)) for pair in given.pairs]
    places = {side: place for place, side in enumerate(dict.fromkeys(side for both in sides for side in both))}
    tokens = np.zeros(len(places), np.int64)
    for name, texts in _by_prompt(places):
        counts = as_read(model, count_tokens(model, texts, prompt_name=name))
        tokens[[places[text, name] for text in texts]] = counts
    texts_of = np.array([[places[side] for side in both] for both in sides])
    heard = tokens[texts_of].all(1)
    silent = {pair.row: "a side without tokens" for pair, some in zip(given.pairs, heard, strict=True) if not some}
    usable = [pair for pair in given.pairs if pair.row not in silent]
    left_out = _left_out(silent, given.left_out)
    if not usable:
        return GivenPairs([], left_out)
    drawn = summaries.some_pairs(tokens[texts_of[heard]], width_of(model), seed, texts_of[heard])
    return GivenPairs([usable[place] for place in drawn], left_out)


def compare_pairs(
    model: SentenceTransformer,
    given: GivenPairs,
    prompts: Prompts,
    excerpts: summaries.Excerpts,
    seed: int,
    tell: Callable[[str, int], Any],
) -> tuple[Pairs | None, tuple[LeftOut, ...]]:
    """Second-order collapse of readable pairs; those that turn out to have nothing to compare are left out.

    `tell` takes what is being done and how much of it there is, and gives what is called with how much is done.

    Returns:
        The figures, None where no pair remains, and what was left out.
    """
    sides = {pair.row: list(_sides(model, pair, prompts)) for pair in given.pairs}
    tokens: dict[Side, Any] = {}
    why: dict[Side, str] = {}
    for name, texts in _by_prompt(dict.fromkeys(side for both in sides.values() for side in both)):
        told = tell("reading pairs", len(texts))
        reading = read_texts(model, texts, prompt_name=name, tokens_of=range(len(texts)), progress=told)
        tokens |= {(texts[place], name): found for place, found in reading.tokens.items()}
        why |= {(texts[place], name): reason for place, reason in {**reading.shapeless, **reading.unread}.items()}
    broken = {
        row: reasons[0] for row, both in sides.items() if (reasons := [why[side] for side in both if side in why])
    }
    usable = [pair for pair in given.pairs if pair.row not in broken]
    left_out = _left_out(broken, given.left_out)
    if not usable:
        return None, left_out
    # As if all sides had been read one after another; those of one text are one array.
    rows = [side for pair in usable for side in sides[pair.row]]
    shared = Reading(
        np.zeros(0, np.int64), np.zeros((0, 0), np.float32), {i: tokens[side] for i, side in enumerate(rows)}
    )
    texts_of = [(pair.first, pair.second) for pair in usable]
    numbers = [pair.row for pair in usable]
    told = tell("comparing given pairs", len(usable))
    found = summaries.given_pairs(shared, texts_of, excerpts, seed, told, numbers)
    return replace(found, left_out=left_out), left_out


def _sides(model: SentenceTransformer, pair: GivenPair, prompts: Prompts) -> Iterator[Side]:
    """Both texts with the names of their prompts: one name where two mean the same prompt."""
    first, second = prompts
    same = (prompt_of(model, first) or "") == (prompt_of(model, second) or "")
    yield pair.first, first
    yield pair.second, first if same else second


def _by_prompt(sides: Iterable[Side]) -> Iterator[tuple[str | None, list[str]]]:
    """The texts that are read with each prompt."""
    groups: dict[str | None, list[str]] = {}
    for text, name in sides:
        groups.setdefault(name, []).append(text)
    yield from groups.items()
