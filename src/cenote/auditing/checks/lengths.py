"""Checks of length: where texts are cut, whether their ends are read, and the positions of their tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from cenote._nn.modules import config_of
from cenote.auditing.checks.batches import Run, read, runner
from cenote.auditing.checks.files import read_json
from cenote.auditing.checks.readings import pad, replace_columns
from cenote.auditing.checks.subject import Finding, Subject, hooked, rounded
from cenote.auditing.checks.thresholds import value_of
from cenote.encoding.backends import own_precision
from cenote.encoding.forward import forward, repooled_vectors
from cenote.encoding.tokens import Tokens, count_tokens, tokenise
from cenote.functional.units import to_unit
from cenote.models.properties import limit_of, positions_of
from cenote.models.repooling import pooling_in
from cenote.nn import NO_LIMIT
from cenote.surgery.attention import address
from cenote.surgery.positions import LEARNED, first_row_of, position_tables
from cenote.wording import percent

# A cut text may have fewer tokens than the limit: one fewer with landmarks, since none ends a cut text.
_NEAR_LIMIT = 2
# Tokens of short texts whose ends are exchanged; one longer text is read besides.
_SHORT = 512
# The part of a text whose words are exchanged, and how many of its last tokens.
_PART, _LAST = 4, 4
# Poolings to which every token counts.
_OF_ALL_TOKENS = {"mean", "weightedmean", "mean_sqrt_len"}
# More characters than a token has.
_CHARACTERS = 12
# Shorter texts have no end that differs from the rest.
_SHORTEST = 16


def check_truncation(subject: Subject) -> Finding:
    """Compare the limit with that of the files, count the texts that are cut, and see whether their ends are read."""
    model = subject.model
    limit, declared = limit_of(model), subject.facts.get("max length")
    declared = declared if isinstance(declared, int) and declared < NO_LIMIT else None
    cut = subject.tokens.truncated
    whole = int(subject.tokens.full_lengths.sum())
    unread = 1 - int(subject.tokens.lengths.sum()) / max(whole, 1)
    measured: dict[str, Any] = {
        "limit": limit,
        "declared": declared,
        "cut": rounded(float(cut.mean())),
        "unread": rounded(unread),
        "tokenizer_limit": _tokenizer_limit(subject),
    }
    said = f"{percent(float(cut.mean()))} of {len(cut)} texts are cut, {percent(unread)} of all tokens are not read."
    positions = positions_of(model) or NO_LIMIT
    if limit is not None and declared is not None and (limit < min(declared, positions) or limit > declared):
        return Finding(
            False,
            f"The model reads {limit} tokens of a text, and the files declare {declared}. {said}",
            f"Set max_seq_length = {declared}; if you changed the limit on purpose, save the model with it and audit "
            "the new folder.",
            measured,
        )
    seen = _longest_read(subject, limit)
    measured["read"] = seen
    if limit is not None and seen is not None and seen < limit - _NEAR_LIMIT:
        return Finding(
            False,
            f"The tokenizer gives {seen} tokens of a longer text, and the limit is {limit}. {said}",
            "Look for a limit of the tokenizer's own, and remove it.",
            measured,
        )
    ends = [_ends(subject, length) for length in _probed(subject, limit)]
    measured["ends"] = {str(one.tokens): one.ratios for one in ends if one is not None}
    for one in filter(None, ends):
        part = min(one.ratios, key=lambda name: one.ratios[name])
        if one.ratios[part] < value_of("unread"):
            return Finding(
                False,
                f"In texts of {one.tokens} tokens, other {part} change the vector {one.ratios[part]:.1g} times as much "
                "as others at the beginning: the end of a text is not read.",
                "Look for a second limit between the tokenizer and the pooling.",
                measured,
            )
    longest = max((one.tokens for one in ends if one is not None), default=0)
    reads = f"{_limit_in_words(subject, limit)} {said}"
    if not longest:
        return Finding(None, f"{reads} Whether their ends are read was not measured: they are too short.", "", measured)
    if limit is not None and longest < limit - _NEAR_LIMIT:
        return Finding(
            None,
            f"{reads} The ends of texts of {longest} tokens are read; longer ones were not tried.",
            f"Leave out --quick, or compare texts of {limit} tokens with cenote parity.",
            measured,
        )
    return Finding(True, f"{reads} The ends of texts of {longest} tokens are read.", measured=measured)


def _limit_in_words(subject: Subject, limit: int | None) -> str:
    reads = "The model reads whole texts." if limit is None else f"The model reads {limit} tokens of a text."
    positions, own = positions_of(subject.model), _tokenizer_limit(subject)
    parts = [reads]
    if limit is not None and positions is not None and positions > limit:
        parts.append(f"It has positions for {positions}.")
    if limit is not None and own is not None and own < limit:
        parts.append(f"tokenizer.json cuts at {own}: a loader that reads this file alone reads less.")
    return " ".join(parts)


def _tokenizer_limit(subject: Subject) -> int | None:
    """Return the limit that tokenizer.json itself states, which some servers take."""
    if subject.folder is None:
        return None
    found = (read_json(subject.folder / "tokenizer.json") or {}).get("truncation") or {}
    limit = found.get("max_length")
    return limit if isinstance(limit, int) else None


def _longest_read(subject: Subject, limit: int | None) -> int | None:
    """Return the tokens that remain of a text that is longer than the limit."""
    if limit is None:
        return None
    long = " ".join(subject.texts)
    while 0 < len(long) < 20 * limit:
        long = f"{long} {long}"
    long = long[: 40 * limit]
    if int(count_tokens(subject.model, [long])[0]) <= limit:
        return None
    return int(tokenise(subject.model, [long]).lengths[0])


@dataclass(frozen=True)
class Ends:
    """How much other words at the end of texts change their vectors, relative to as many at the beginning."""

    tokens: int  # of each text
    ratios: dict[str, float]  # by the part that is exchanged


def _probed(subject: Subject, limit: int | None) -> list[int]:
    """Return the lengths of texts whose ends are exchanged: many short ones, and one as long as the model reads."""
    most = min(limit or _SHORT, subject.effort.longest)
    return sorted({min(_SHORT, most), most})


def _ends(subject: Subject, length: int) -> Ends | None:
    """Exchange words, and states, at the beginning and at the end of texts; None if no texts can be made."""
    tokens = _long_texts(subject, length)
    if tokens is None:
        return None
    run = runner(subject, own_precision(subject.model))
    count = int(tokens.lengths[0])
    parts = {"words in the last quarter": count // _PART, f"words at the {_LAST} last tokens": _LAST}
    rows = range(len(tokens))
    if count > _SHORT:  # one long text takes as long as all short ones
        parts.pop("words in the last quarter")
        rows = range(1)
    ratios = {name: _ratio_by_words(subject, run, tokens, rows, size) for name, size in parts.items()}
    if subject.pooling and set(subject.pooling) <= _OF_ALL_TOKENS:
        ratios[f"states of the {_LAST} last tokens"] = _ratio_by_states(subject, tokens)
    known = {name: rounded(one) for name, one in ratios.items() if one is not None}
    return Ends(count, known) if known else None


def _spans(count: int, size: int) -> tuple[slice, slice]:
    """Return as many tokens at the beginning and at the end of a text, without the first and the last one."""
    return slice(1, 1 + size), slice(count - 1 - size, count - 1)


def _ratio_by_words(subject: Subject, run: Run, tokens: Tokens, rows: range, size: int) -> float | None:
    """Exchange tokens with those of another text, at the beginning and at the end."""
    changes = []
    for row in rows:
        one = tokens.take([row])
        ids, other = one.columns["input_ids"], tokens.take([(row - 1) % len(tokens)]).columns["input_ids"]
        spans = _spans(len(ids), size)
        if any(np.array_equal(ids[span], other[span]) for span in spans):
            continue
        vectors = [to_unit(read(run, pad(subject.model, one, [0])))]
        for span in spans:
            new = ids.copy()
            new[span] = other[span]
            vectors.append(to_unit(read(run, pad(subject.model, replace_columns(one, {"input_ids": new}), [0]))))
        changes.append([float(np.linalg.norm(vectors[0] - vector)) for vector in vectors[1:]])
    return _ratio(*np.mean(changes, 0).tolist()) if changes else None


def _ratio_by_states(subject: Subject, tokens: Tokens) -> float | None:
    """Exchange states between the transformer and the pooling: attention hides a pooling that leaves tokens out."""
    model = subject.model
    pooling: Any = pooling_in(model)
    output = forward(model, pad(model, tokens, [0]))
    states = output["token_embeddings"]
    count = states.shape[1]
    middle = states[:, count // 2 : count // 2 + _LAST]
    vectors = []
    for span in (slice(0, 0), *_spans(count, _LAST)):
        changed = states.clone()
        changed[:, span] = middle[:, : span.stop - span.start]
        vectors.append(repooled_vectors(model, {**output, "token_embeddings": changed}, pooling).double().cpu().numpy())
    base, *moved = map(to_unit, vectors)
    return _ratio(*(float(np.linalg.norm(base - vector)) for vector in moved))


def _ratio(start: float, end: float) -> float | None:
    """Return the change by the end in parts of that by the beginning; None if the beginning changes nothing."""
    return end / start if start > 0 else None


def _long_texts(subject: Subject, length: int) -> Tokens | None:
    """Return texts of as many tokens, or nearly, each of other words; None if no two can be made."""
    count = max(2, subject.effort.long) if length <= _SHORT else 2
    texts = list(dict.fromkeys(subject.texts))
    size = _CHARACTERS * length
    found = [" ".join(texts[place::count]) for place in range(min(count, len(texts)))]
    found = [f"{text} " * (1 + size // (len(text) + 1)) for text in found]
    if len(found) < 2:
        return None
    tokens = tokenise(subject.model, [text[:size] for text in found])
    least = min(length, int(tokens.lengths.min()))
    if least < _SHORTEST or "attention_mask" not in tokens.columns:
        return None
    return _cut(tokens, least)


def _cut(tokens: Tokens, length: int) -> Tokens:
    """Return texts of equal length: the first tokens of each, and the last one."""
    places = [
        place
        for start, end in zip(tokens.offsets[:-1].tolist(), tokens.offsets[1:].tolist(), strict=True)
        for place in (*range(start, start + length - 1), end - 1)
    ]
    columns = {name: column[places] for name, column in tokens.columns.items()}
    offsets = np.arange(len(tokens) + 1, dtype=np.int64) * length
    return Tokens(columns, offsets, np.full(len(tokens), length, np.int64), tokens.constants)


def check_positions(subject: Subject) -> Finding:
    """Compare the limit with the positions that were trained, and watch which positions the tokens of a text get."""
    model = subject.model
    limit, table = limit_of(model), positions_of(model)
    stated = getattr(config_of(model[0]), "max_position_embeddings", None)
    stated = stated if isinstance(stated, int) and stated > 0 else None
    trained = table if table is not None else stated
    seen = _positions_seen(subject)
    measured: dict[str, Any] = {"limit": limit, "positions": trained, "learned": table is not None}
    if limit is not None and trained is not None and limit > trained:
        return Finding(
            False,
            f"The model reads {limit} tokens of a text, and has positions for {trained}.",
            f"Set max_seq_length = {trained}, or extend the positions and train them.",
            measured,
        )
    for name, (first, expected, regular) in seen.items():
        measured[name] = {"first": first, "expected": expected}
        if first != expected or not regular:
            what = f"row {first}" if first != expected else "rows that do not follow one another"
            return Finding(
                False,
                f"The tokens of a text read {what} of {name}, which was trained from row {expected} on.",
                "Count positions as the architecture does: from 0, or from padding_idx + 1 in RoBERTa and its "
                "relatives.",
                measured,
            )
    if trained is None:
        return Finding(None, "The model has no positions to compare with.", measured=measured)
    kind = "learned positions" if table is not None else "positions of its configuration"
    began = "".join(f" {name} is read from row {first} on, as it was trained." for name, (first, *_) in seen.items())
    reads = "whole texts" if limit is None else f"{limit} tokens"
    return Finding(True, f"The model reads {reads}, and has {trained} {kind}.{began}", measured=measured)


def _positions_seen(subject: Subject) -> dict[str, tuple[int, int, bool]]:
    """Return the first row that a text reads of each table of positions, the one it should, and whether all follow."""
    found: dict[str, tuple[int, int, bool]] = {}
    handles = []

    def watch(name: str, expected: int) -> Any:
        def note(_: nn.Module, args: Any) -> None:
            rows = args[0].flatten().tolist()
            found[name] = (rows[0], expected, rows == list(range(rows[0], rows[0] + len(rows))))

        return note

    for name, owner, table in position_tables(subject.model):
        if address(owner) in LEARNED:
            shown = name.removeprefix("0.model.")
            handles.append(table.register_forward_pre_hook(watch(shown, first_row_of(owner, table))))
    with hooked(handles):
        if handles:
            forward(subject.model, pad(subject.model, subject.tokens, subject.spread(1)))
    return found
