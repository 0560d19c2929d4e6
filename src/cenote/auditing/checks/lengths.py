"""Checks of length: where texts are cut, whether their ends are read, and the positions of their tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from cenote.auditing.checks.batches import read, runner
from cenote.auditing.checks.files import read_json
from cenote.auditing.checks.readings import Vectors, pad, replace_columns, to_unit
from cenote.auditing.checks.subject import Finding, Subject, config_of, hooked, rounded
from cenote.auditing.checks.thresholds import value_of
from cenote.encoding.backends import own_precision
from cenote.encoding.forward import forward
from cenote.encoding.tokens import Tokens, count_tokens, tokenise
from cenote.models.properties import limit_of, positions_of
from cenote.nn import NO_LIMIT
from cenote.surgery.attention import address
from cenote.surgery.positions import LEARNED
from cenote.wording import percent

# A cut text may have fewer tokens than the limit: one fewer with landmarks, since none ends a cut text.
_NEAR_LIMIT = 2
# Longer texts are not needed to see whether the end of a text is read.
_LONGEST = 512
# The part of a text whose words are exchanged.
_PART = 4
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
    longest = (positions_of(model) or NO_LIMIT) if declared is not None else NO_LIMIT
    if limit is not None and declared is not None and limit < min(declared, longest):
        return Finding(
            False,
            f"The model reads {limit} tokens of a text, and the files declare {declared}. {said}",
            f"Set max_seq_length = {declared}.",
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
    ratio = _change_by_end(subject)
    measured["end_to_beginning"] = None if ratio is None else rounded(ratio)
    if ratio is not None and ratio < value_of("unread"):
        return Finding(
            False,
            f"Other words in the last quarter of a text change its vector {ratio:.1g} times as much as other words in "
            "the first quarter: the end of a text is not read.",
            "Look for a second limit between the tokenizer and the pooling.",
            measured,
        )
    return Finding(True, f"{_limit_in_words(subject, limit)} {said}", measured=measured)


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


def _change_by_end(subject: Subject) -> float | None:
    """Return how much other words at the end of texts change their vectors, relative to other words at the start."""
    tokens = _long_texts(subject)
    if tokens is None:
        return None
    run = runner(subject, own_precision(subject.model))
    changes = []
    for row in range(len(tokens)):
        count = int(tokens.lengths[row])
        part = count // _PART
        one = tokens.take([row])
        ids = one.columns["input_ids"]
        other = tokens.columns["input_ids"][tokens.offsets[(row - 1) % len(tokens)] :][:count]
        vectors = [read(run, pad(subject.model, one, [0]))]
        for span in (slice(1, 1 + part), slice(count - 1 - part, count - 1)):
            new = ids.copy()
            new[span] = other[span]
            vectors.append(read(run, pad(subject.model, replace_columns(one, {"input_ids": new}), [0])))
        base, *changed = [to_unit(vector) for vector in vectors]
        changes.append([_distance(base, vector) for vector in changed])
    start, end = np.mean(changes, 0)
    return float(end / start) if start > 0 else None


def _distance(first: Vectors, second: Vectors) -> float:
    return float(np.linalg.norm(first - second))


def _long_texts(subject: Subject) -> Tokens | None:
    """Return texts as long as the model reads, or as 512 tokens, each of other words; None if none can be made."""
    limit = min(limit_of(subject.model) or _LONGEST, _LONGEST)
    count = max(2, subject.effort.long)
    texts = subject.texts
    joined = [" ".join(texts[place::count] * 3) for place in range(min(count, len(texts)))]
    if len(joined) < 2:
        return None
    found = tokenise(subject.model, [text[: 12 * limit] for text in joined])
    least = int(found.lengths.min())
    if least < _SHORTEST or "attention_mask" not in found.columns:
        return None
    size = min(limit, int(found.lengths.max()))
    rows = [row for row in range(len(found)) if found.lengths[row] >= min(size, limit) - _NEAR_LIMIT]
    if len(rows) < 2:  # texts of unequal lengths: the shortest decides
        size, rows = least, list(range(len(found)))
    if size > limit or (found.lengths > _LONGEST).any():
        return None
    found = found.take(rows)
    return found if len({int(one) for one in found.lengths}) == 1 else _cut(found, int(found.lengths.min()))


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
    stated = getattr(config_of(model), "max_position_embeddings", None)
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

    for name, module in subject.model.named_modules():
        start, table = LEARNED.get(address(module)), getattr(module, "position_embeddings", None)
        if start is not None and isinstance(table, nn.Embedding):
            shown = f"{name}.position_embeddings".removeprefix("0.model.")
            handles.append(table.register_forward_pre_hook(watch(shown, start(table))))
    with hooked(handles):
        if handles:
            forward(subject.model, pad(subject.model, subject.tokens, subject.spread(1)))
    return found
