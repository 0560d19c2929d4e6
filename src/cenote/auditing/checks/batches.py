"""Checks of batches: padding, the other texts of a batch, and half precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cenote._nn.modules import config_of
from cenote.auditing.checks.readings import Vectors, largest_difference, least_cosine, pad
from cenote.auditing.checks.subject import Finding, Subject, rounded
from cenote.auditing.checks.thresholds import value_of
from cenote.choices import PRECISIONS
from cenote.encoding.backends import backend, obstacle, own_precision, plain_backend
from cenote.encoding.batches import is_out_of_memory
from cenote.encoding.tokens import tokenise
from cenote.errors import CenoteError
from cenote.models.properties import positions_of, prompt_of, tokenizer_of

# Copies of a text, with its words in another order, that share its batch.
_COMPANIONS = 3
# Parameters of the largest model that is copied to float32 for comparison: 4 GB.
_COPIED = 10**9
# Slots of padding that are added, and how many times a text's own: the smaller sum is for short texts.
_SLOTS, _TIMES = 8, 2


@dataclass(frozen=True)
class Change:
    """How much one change of the batch moves the vectors of texts."""

    difference: float  # the largest of a number, relative to the length of its vector
    cosine: float  # the least
    texts: int

    def in_words(self) -> str:
        """Return the change in words."""
        if self.difference == float("inf"):
            return "not finite"
        return f"{self.difference:.1g} of the length, cosine {self.cosine:.6f} at least"


Run = Callable[[Mapping[str, Any]], Tensor]


def runner(subject: Subject, precision: str) -> Run:
    """Return a function that turns features into vectors at a precision."""
    if precision == own_precision(subject.model):  # needs no hardware of its own: it is how the model runs
        return plain_backend(subject.model)
    made: Run = backend(subject.model, "torch", precision, validate=False)
    return made


def read(run: Run, features: Mapping[str, Any]) -> Vectors:
    """Return the vectors of a batch."""
    found: Vectors = run(dict(features)).double().numpy()
    return found


def read_each(run: Run, subject: Subject, rows: Sequence[int], length: int | None = None) -> list[Vectors]:
    """Return the vectors of single texts, padded to a length."""
    return [read(run, pad(subject.model, subject.tokens, [row], length=length))[0] for row in rows]


@dataclass(frozen=True, eq=False)
class Alone:
    """Single texts that were read once for all changes."""

    run: Run
    rows: Sequence[int]
    vectors: list[Vectors]
    longest: int  # tokens of the longest text
    padded: list[Vectors]  # with padding to the longest text


def read_alone(subject: Subject, precision: str, rows: Sequence[int]) -> Alone:
    """Read single texts, with and without padding to the longest of them."""
    run, longest = runner(subject, precision), int(subject.tokens.lengths[list(rows)].max())
    return Alone(run, rows, read_each(run, subject, rows), longest, read_each(run, subject, rows, longest))


def measure_padding(subject: Subject, alone: Alone) -> dict[str, Change]:
    """Compare vectors of single texts with and without padding, on the tokenizer's side and on the other one."""
    model, tokens = subject.model, subject.tokens
    own = getattr(tokenizer_of(model), "padding_side", "right")
    most = slots_of(subject)
    padded: dict[str, list[Vectors]] = {"a few slots": [], "the other side": []}
    for row in alone.rows:
        more = min(_TIMES * int(tokens.lengths[row]) + _SLOTS, most)
        for name, side in (("a few slots", own), ("the other side", "left" if own == "right" else "right")):
            padded[name].append(read(alone.run, pad(model, tokens, [row], length=more, side=side))[0])
    padded["the longest text"] = alone.padded
    return {name: _change(alone.vectors, found) for name, found in padded.items()}


def measure_company(subject: Subject, alone: Alone) -> dict[str, Change]:
    """Compare vectors of texts alone and in a batch, with the same padding both times."""
    model, tokens, run, rows = subject.model, subject.tokens, alone.run, alone.rows
    generator = np.random.default_rng(subject.seed)
    equal = [read(run, _with_companions(pad(model, tokens, [row]), generator))[0] for row in rows]
    mixed = read(run, pad(model, tokens, rows))
    turned = read(run, pad(model, tokens, rows[::-1]))[::-1]
    return {
        "texts of equal length": _change(alone.vectors, equal),
        "longer texts": _change(alone.padded, list(mixed)),
        "another order": _change(list(mixed), list(turned)),
    }


def measure_rounding(subject: Subject, precision: str, alone: Alone) -> Change | None:
    """Compare vectors at half precision with those at float32; None for a model too large to be copied."""
    if precision == "float32":
        return None
    if precision != own_precision(subject.model):
        return _change(read_each(runner(subject, own_precision(subject.model)), subject, alone.rows), alone.vectors)
    if sum(one.numel() for one in subject.model.parameters()) > _COPIED:
        return None
    full = plain_backend(copy.deepcopy(subject.model).float())
    return _change(read_each(full, subject, alone.rows), alone.vectors)


def _with_companions(features: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    """Return a batch of a text and copies of it whose inner tokens are shuffled: no row has padding."""
    found = {
        name: value.repeat(_COMPANIONS + 1, *([1] * (value.ndim - 1))) if isinstance(value, Tensor) else value
        for name, value in features.items()
    }
    ids = found["input_ids"]
    for row in range(1, _COMPANIONS + 1):
        inner = generator.permutation(np.arange(1, max(1, ids.shape[1] - 1)))
        ids[row, 1 : 1 + len(inner)] = ids[0, torch.from_numpy(inner.astype(np.int64))]
    return found


def _change(first: Sequence[Any], second: Sequence[Any]) -> Change:
    one, other = np.stack(first), np.stack(second)
    return Change(largest_difference(one, other), least_cosine(one, other), len(one))


def slots_of(subject: Subject) -> int:
    """Return the most slots of a batch that the model has positions for."""
    stated = getattr(config_of(subject.model[0]), "max_position_embeddings", None)
    known = [one for one in (positions_of(subject.model), stated) if isinstance(one, int) and one > 0]
    return min(known, default=10**6)


@dataclass(frozen=True)
class Changes:
    """Changes of a vector by padding, by the other texts of a batch, and by rounding, at one precision."""

    padding: dict[str, Change]
    company: dict[str, Change]
    rounding: Change | None  # None at float32, and for a model too large to be copied


def measured_changes(subject: Subject, precision: str) -> Changes:
    """Measure padding, company and rounding once for each precision."""
    known = subject.batch_changes
    if precision not in known:
        own = precision == own_precision(subject.model)
        alone = read_alone(subject, precision, subject.spread(subject.effort.padded if own else subject.effort.rounded))
        known[precision] = Changes(
            padding=measure_padding(subject, alone),
            company=measure_company(subject, alone),
            rounding=measure_rounding(subject, precision, alone),
        )
    found: Changes = known[precision]
    return found


def exceeds(change: Change, precision: str, rounding: Change | None) -> bool:
    """Return whether a change is more than rounding at a precision.

    >>> change, rounding = Change(0.1, 0.995, 1), Change(0.01, 0.9999, 1)
    >>> exceeds(change, "bfloat16", rounding), exceeds(change, "bfloat16", None)
    (True, False)
    """
    if precision == "float32":
        return change.difference > value_of("rounding")
    if rounding is None or rounding.cosine < value_of("half rounding"):
        return not change.cosine >= value_of("half rounding")
    least = max(value_of("least rounding"), value_of("times rounding") * (1 - rounding.cosine))
    return not 1 - change.cosine <= least


def check_padding(subject: Subject) -> Finding:
    """Compare the vector of a text alone with that of the same text with padding beside it."""
    precision = own_precision(subject.model)
    changes = measured_changes(subject, precision)
    found = dict(changes.padding)
    other = found.pop("the other side")
    side = getattr(tokenizer_of(subject.model), "padding_side", "right")
    moved = _count_moved_tokens(subject)
    measured = {
        "side": side,
        "texts": other.texts,
        "precision": precision,
        **_by_name(found),
        "other_side": _numbers(other),
        **_rounding(changes),
        "texts_with_other_tokens": moved,
    }
    failed = {name: one for name, one in found.items() if exceeds(one, precision, changes.rounding)}
    if failed or moved:
        said = "; ".join(f"up to {name}: {one.in_words()}" for name, one in failed.items())
        counted = f"{moved} texts have other tokens in a batch than alone, where its mask is applied" if moved else ""
        return Finding(
            False,
            f"Padding on the {side} changes the vectors of {other.texts} texts: "
            f"{'; '.join(filter(None, (said, counted)))}.",
            "Apply the attention mask in the network and in the pooling, take the last token by the mask and not by "
            "its count, or read texts one by one until that is mended.",
            measured,
        )
    opposite = "left" if side == "right" else "right"
    beside = (
        f"Padding on the {opposite} would change them ({other.in_words()}): keep the tokenizer's side."
        if exceeds(other, precision, changes.rounding)
        else f"Padding on the {opposite} changes nothing either."
    )
    worst = max(found.values(), key=lambda one: one.difference)
    return Finding(
        True,
        f"Padding on the {side} leaves the vectors of {other.texts} texts unchanged ({worst.in_words()}). {beside}",
        measured=measured,
    )


def _count_moved_tokens(subject: Subject) -> int:
    """Count texts whose tokens by the mask of a batch are not those that they have alone."""
    rows = subject.spread(subject.effort.padded)
    together = subject.model.preprocess([subject.texts[row] for row in rows], prompt=prompt_of(subject.model))
    if "attention_mask" not in together:
        return 0
    moved = 0
    for place, row in enumerate(rows):
        alone = tokenise(subject.model, [subject.texts[row]]).columns["input_ids"].tolist()
        moved += together["input_ids"][place][together["attention_mask"][place].bool()].tolist() != alone
    return moved


def check_batches(subject: Subject) -> Finding:
    """Compare the vector of a text alone with that of the same text among others, with the same padding."""
    precision = own_precision(subject.model)
    changes = measured_changes(subject, precision)
    found = changes.company
    failed = {name: one for name, one in found.items() if exceeds(one, precision, changes.rounding)}
    count = next(iter(found.values())).texts
    measured = {"texts": count, "precision": precision, **_by_name(found), **_rounding(changes)}
    if failed:
        said = "; ".join(f"{name}: {one.in_words()}" for name, one in failed.items())
        return Finding(
            False,
            f"The other texts of a batch change the vectors of {count} texts: {said}.",
            "Look for a step over the whole batch, such as a batch norm in training mode; read texts one by one until "
            "that is mended.",
            measured,
        )
    worst = max(found.values(), key=lambda one: one.difference)
    return Finding(
        True,
        f"{count} texts have the same vectors alone, among texts of equal length, among longer ones and in another "
        f"order ({worst.in_words()}).",
        measured=measured,
    )


def check_precision(subject: Subject) -> Finding:
    """Repeat the checks of padding and of company at each half precision that this machine computes in.

    A model that fails them at the precision of its weights is left to those checks.
    """
    own = own_precision(subject.model)
    said, skipped, failed = [], [], []
    measured: dict[str, Any] = {}
    for precision in PRECISIONS:
        if precision == own:
            continue
        if reason := obstacle(subject.model, "torch", precision, None):
            skipped.append(f"{precision}: not measured, {reason}")
            measured[precision] = {"not_measured": reason}
            continue
        if already := _wrong_already(subject, own):
            return Finding(None, f"{already} at {own} already: see the other checks.", measured=measured)
        changes = dict(_worst_changes(subject, precision))
        measured[precision] = _by_name({name: one for name, (one, _) in changes.items()})
        said.append(f"{precision}: {min((one for one, _ in changes.values()), key=lambda one: one.cosine).in_words()}")
        failed += [f"{name} at {precision} ({one.in_words()})" for name, (one, wrong) in changes.items() if wrong]
    if failed:
        return Finding(
            False,
            f"Vectors change more than rounding explains by {'; '.join(failed)}.",
            "Serve the model at float32, or look for a mask that this precision cannot hold.",
            measured,
        )
    if not said:
        return Finding(None, f"{'; '.join(skipped)}.", measured=measured)
    return Finding(True, f"{'; '.join([*said, *skipped])}.", measured=measured)


def _wrong_already(subject: Subject, precision: str) -> str:
    """Say what is wrong at a precision; nothing if nothing is."""
    try:
        wrong = [name for name, (_, exceeded) in _worst_changes(subject, precision) if exceeded]
    except Exception as error:  # whatever the model raises is reported by the checks of batches and of padding
        if is_out_of_memory(error):
            raise
        return f"The model raises {type(error).__name__}"
    return f"Vectors change by {' and by '.join(wrong)}" if wrong else ""


def _worst_changes(subject: Subject, precision: str) -> Iterator[tuple[str, tuple[Change, bool]]]:
    """Yield what padding, company and rounding itself change at a precision, and whether it is too much."""
    try:
        found = measured_changes(subject, precision)
    except CenoteError as error:  # our pooling refuses a vector that is not finite
        yield str(error), (Change(float("inf"), -1.0, 0), True)
        return
    padding = {name: one for name, one in found.padding.items() if name != "the other side"}
    for name, changes in (("padding", padding), ("the batch", found.company)):
        worst = min(changes.values(), key=lambda one: one.cosine)
        yield name, (worst, any(exceeds(one, precision, found.rounding) for one in changes.values()))
    if found.rounding is not None:
        yield "rounding", (found.rounding, not found.rounding.cosine >= value_of("half rounding"))


def _rounding(changes: Changes) -> dict[str, Any]:
    return {} if changes.rounding is None else {"rounding": _numbers(changes.rounding)}


def _numbers(change: Change) -> dict[str, float | None]:
    finite = change.difference < float("inf")
    return {
        "difference": rounded(change.difference) if finite else None,
        "least_cosine": rounded(change.cosine) if finite else None,
    }


def _by_name(changes: Mapping[str, Change]) -> dict[str, Any]:
    return {name.replace(" ", "_"): _numbers(one) for name, one in changes.items()}
