"""Checks of numbers: vectors that are not finite, and activations that float16 cannot hold."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cenote.auditing.checks.readings import pad
from cenote.auditing.checks.subject import Finding, Subject, hooked, rounded
from cenote.auditing.checks.thresholds import value_of
from cenote.encoding.backends import own_precision, plain_backend
from cenote.encoding.batches import collate
from cenote.encoding.forward import forward
from cenote.errors import CenoteError, first_line, some

# Texts without a usable vector that are read again, alone.
_AGAIN = 20
# Texts that are read at float16 on a CPU, which has to emulate it.
_EMULATED = 2


def check_finite(subject: Subject) -> Finding:
    """Look for vectors that are not finite, or zero, in the precision of the weights."""
    reading, count = subject.reading, len(subject.texts)
    lengths = np.linalg.norm(reading.own, axis=1)
    zero = [reading.rows[place] for place in np.flatnonzero(lengths == 0).tolist()]
    bad = [*reading.refused, *zero]
    alone = [row for row in bad[:_AGAIN] if _is_bad(subject, row)]
    measured = {"texts": count, "refused": len(reading.refused), "zero": len(zero), "also_alone": len(alone)}
    if not bad:
        return Finding(True, f"The vectors of {count} texts are finite, and none is zero.", measured=measured)
    shown = some((f"{subject.texts[row][:40]!r}" for row in alone or bad), 3)
    if not alone:
        return Finding(
            None,
            f"{len(bad)} of {count} texts have no usable vector in a batch, and have one alone: {shown}.",
            "See the checks of padding and of batches.",
            measured,
        )
    reasons = sorted(set(reading.refused.values()))
    parts = [f"{len(reading.refused)} of {count} texts have no vector ({'; '.join(reasons[:2])})"] if reasons else []
    parts += [f"{len(zero)} of {count} texts have a vector of zeros"] if zero else []
    return Finding(
        False,
        f"{'; '.join(parts)}: {shown}.",
        "Read these texts one by one at float32; if they still fail, look for weights that are not finite.",
        measured,
    )


def _is_bad(subject: Subject, row: int) -> bool:
    """Return whether a text that is read alone has no vector, or one that is not finite or zero."""
    if not subject.tokens.lengths[row]:
        return True
    try:
        found = plain_backend(subject.model)(collate(subject.model, subject.tokens, [row]))
    except CenoteError:  # our pooling refuses a vector that is not finite
        return True
    return not bool(found.isfinite().all()) or not bool(found.any())


def check_float16(subject: Subject) -> Finding:
    """Find the largest activation of every module, and read some texts at float16."""
    largest = _largest_activations(subject)
    if not largest:
        return Finding(None, "The model has no modules whose activations could be seen.")
    name = max(largest, key=lambda one: largest[one])
    most, limit = largest[name], value_of("largest")
    place = f"{most:,.0f}" if most >= 10 else f"{most:.2g}"
    over = [one for one, value in largest.items() if not value <= limit]
    alone, padded, where = _broken_at_float16(subject)
    measured: dict[str, Any] = {
        "largest": rounded(most) if np.isfinite(most) else None,
        "module": name,
        "modules_over": len(over),
        "not_finite": alone,
        "not_finite_with_padding": padded,
        "read": where,
    }
    if over or alone or padded:
        first = over[0] if over else name
        said = f"{first} reaches {largest[first]:,.0f}" if over else f"the largest activation is {place}, in {name}"
        counted = "".join(
            f"; {count} texts have no finite vector at float16 {how}"
            for count, how in ((alone, "alone"), (padded, "in a batch with padding"))
            if count
        )
        own = own_precision(subject.model)
        unused = "" if own == "float16" else f" The weights are {own}: without half precision nothing is lost"
        return Finding(
            False if own == "float16" else None,
            f"float16 holds numbers up to {limit:,.0f}: {said}{counted}.{unused}{'.' if unused else ''}",
            "Serve the model at bfloat16 or float32.",
            measured,
        )
    return Finding(
        True,
        f"The largest activation is {place}, {100 * most / limit:.2g} % of what float16 holds, in {name}; {where}.",
        measured=measured,
    )


def _largest_activations(subject: Subject) -> dict[str, float]:
    """Return the largest absolute value that each module gives for texts without padding, by name."""
    found: dict[str, float] = {}
    network: nn.Module = getattr(subject.model[0], "model", None) or subject.model[0]

    def watch(name: str) -> Any:
        def note(_module: nn.Module, _args: Any, output: Any) -> None:
            for one in output if isinstance(output, tuple) else (output,):
                if isinstance(one, Tensor) and one.is_floating_point() and one.numel():
                    value = float(one.detach().abs().amax())
                    found[name] = max(found.get(name, 0.0), value if value == value else float("inf"))

        return note

    handles = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    with hooked(handles):
        for row in subject.spread(subject.effort.padded):
            with suppress(CenoteError):  # our pooling refuses a vector that is not finite; the hooks have seen why
                forward(subject.model, pad(subject.model, subject.tokens, [row]))
    return found


def _broken_at_float16(subject: Subject) -> tuple[int, int, str]:
    """Return how many texts have no finite vector at float16, alone and with padding, and how they were read."""
    device = subject.model.device.type
    if device not in ("cpu", "cuda"):
        return 0, 0, f"float16 was not run on {device}"
    rows = subject.spread(subject.effort.padded if device == "cuda" else _EMULATED)
    run = plain_backend(subject.model)

    def count(batch: list[int]) -> int:
        """Count the texts of a batch that have no finite vector."""
        try:
            with torch.autocast(device, torch.float16):
                return int((~run(pad(subject.model, subject.tokens, batch)).isfinite().all(1)).sum())
        except CenoteError as error:  # our pooling refuses vectors that are not finite
            return len(getattr(error, "rows", ())) or len(batch)

    try:
        alone, padded = sum(count([row]) for row in rows), count(rows)
    except RuntimeError as error:
        return 0, 0, f"float16 was not run: {first_line(error)}"
    how = "emulated on the CPU" if device == "cpu" else "on CUDA"
    return alone, padded, f"{len(rows)} texts were read at float16, alone and together, {how}"
