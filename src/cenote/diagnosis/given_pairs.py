"""The user's own pairs: checked, tokenised once, read and compared. Each text is read once, in however many pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.data.rows import refuse_surrogates
from cenote.diagnosis.reading import read_texts
from cenote.diagnosis.selection import select_pairs
from cenote.diagnosis.summaries import Excerpts, excluded, summarise_given_pairs
from cenote.encoding.passes import Passes
from cenote.encoding.tokens import Tokens, tokenise
from cenote.errors import BadInput
from cenote.functional.second_order import socm
from cenote.listener import Listener
from cenote.models.properties import prompt_of, width_of
from cenote.records import Excluded, Pairs

Prompts = tuple[str | None, str | None]  # names for the first and second texts; None is the model's default
Side = tuple[str, str | None]  # a text, and the name of its prompt

_MEASURE = "the given pairs"


class GivenPair(NamedTuple):
    """Two texts, and the place of the pair among those given, from 0."""

    row: int
    first: str
    second: str


@dataclass(frozen=True)
class GivenPairs:
    """Pairs that can be compared, and those that cannot."""

    pairs: list[GivenPair]
    excluded: tuple[Excluded, ...] = ()


@dataclass(frozen=True, eq=False)
class TokenisedPairs(GivenPairs):
    """Pairs of which a model has tokens, tokenised."""

    sides: tuple[tuple[Side, Side], ...] = ()  # of each pair
    tokens: dict[str | None, tuple[list[str], Tokens]] | None = None  # by prompt: the texts and their tokens


def check_pairs(pairs: Iterable[tuple[str, str]] | None) -> GivenPairs:
    """Return the pairs to compare; those with an empty side are excluded.

    >>> found = check_pairs([("a pool", "a pond"), ("a cave", " "), ("light", "stone")])
    >>> [pair.row for pair in found.pairs], found.excluded[0].count, found.excluded[0].ids
    ([0, 2], 1, ('pair 1',))
    """
    found: list[GivenPair] = []
    empty: dict[int, str] = {}
    for row, pair in enumerate(pairs if pairs is not None else []):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise BadInput(f"pair {row} is {pair!r}: pass two texts.")
        for text in pair:
            refuse_surrogates(text, f"pair {row}")
        if all(text.strip() for text in pair):
            found.append(GivenPair(row, *pair))
        else:
            empty[row] = "an empty side"
    return GivenPairs(found, _excluded(empty))


def check_prompts(prompt_name: str | None, pair_prompts: Any, given: GivenPairs) -> Prompts:
    """Return the names of the prompts of the first and the second texts of pairs."""
    if pair_prompts is None:
        return prompt_name, prompt_name
    two = isinstance(pair_prompts, (tuple, list)) and len(pair_prompts) == 2
    if not two or not all(name is None or isinstance(name, str) for name in pair_prompts):
        raise BadInput(f"pair_prompts={pair_prompts!r}: pass two names, such as ('query', 'document').")
    if not given.pairs:
        raise BadInput(f"pair_prompts={pair_prompts!r}, but there are no pairs: pass pairs too.")
    return pair_prompts[0], pair_prompts[1]


def tokenise_pairs(model: SentenceTransformer, given: GivenPairs, prompts: Prompts, seed: int) -> TokenisedPairs:
    """Tokenise the pairs that can be read; as many, at random, as have their tokens fit into memory."""
    first, second = prompts
    if (prompt_of(model, first) or "") == (prompt_of(model, second) or ""):
        second = first  # two names of one prompt
    sides = [((pair.first, first), (pair.second, second)) for pair in given.pairs]
    places = {side: place for place, side in enumerate(dict.fromkeys(side for both in sides for side in both))}
    tokens: dict[str | None, tuple[list[str], Tokens]] = {}
    lengths = np.zeros(len(places), np.int64)
    for name in dict.fromkeys(name for _, name in places):
        texts = [text for text, other in places if other == name]
        tokens[name] = texts, tokenise(model, texts, name)
        lengths[[places[text, name] for text in texts]] = tokens[name][1].lengths
    texts_of = np.array([[places[side] for side in both] for both in sides])
    readable = lengths[texts_of].all(1)
    silent = {pair.row: "a side without tokens" for pair, some in zip(given.pairs, readable, strict=True) if not some}
    out = _excluded(silent, given.excluded)
    if not readable.any():
        return TokenisedPairs([], out)
    drawn = select_pairs(lengths[texts_of[readable]], width_of(model), seed, texts_of[readable])
    rows = np.flatnonzero(readable)[drawn].tolist()
    return TokenisedPairs(
        pairs=[given.pairs[row] for row in rows],
        excluded=out,
        sides=tuple(sides[row] for row in rows),
        tokens=tokens,
    )


def compare_pairs(
    model: SentenceTransformer,
    given: TokenisedPairs,
    excerpts: Excerpts,
    seed: int,
    listener: Listener,
    passes: Passes | None = None,
) -> tuple[Pairs | None, tuple[Excluded, ...]]:
    """Measure second-order collapse of the pairs; those of which a side has no shape are excluded.

    Returns:
        The figures, None where no pair remains, and the pairs excluded.
    """
    wanted = {side for both in given.sides for side in both}
    clouds: dict[Side, Any] = {}
    reasons: dict[Side, str] = {}
    for name, (texts, tokens) in (given.tokens or {}).items():
        rows = [place for place, text in enumerate(texts) if (text, name) in wanted]
        said = "reading pairs" if name is None else f"reading pairs with prompt {name!r}"
        some = tokens.take(rows)
        reading = read_texts(model, some, keep=range(len(rows)), listener=listener, step=said, passes=passes)
        clouds |= {(texts[rows[place]], name): found for place, found in reading.tokens.items()}
        reasons |= {(texts[rows[place]], name): why for place, why in {**reading.shapeless, **reading.unread}.items()}
    paired = list(zip(given.pairs, given.sides, strict=True))
    broken = {pair.row: reasons[side] for pair, both in paired for side in reversed(both) if side in reasons}
    usable = [(pair, both) for pair, both in paired if pair.row not in broken]
    out = _excluded(broken, given.excluded)
    if not usable:
        return None, out
    step = listener.step("comparing given pairs", len(usable))
    first, second = ([clouds[both[side]] for _, both in usable] for side in (0, 1))
    found = socm(first, second, limit=np.inf, progress=step.reach)
    pairs = summarise_given_pairs(
        found,
        [(pair.first, pair.second) for pair, _ in usable],
        [pair.row for pair, _ in usable],
        excerpts,
        seed,
    )
    return replace(pairs, excluded=out), out


def _excluded(unusable: dict[int, str], before: tuple[Excluded, ...] = ()) -> tuple[Excluded, ...]:
    return before + excluded(_MEASURE, ((f"pair {row}", why) for row, why in sorted(unusable.items())))
