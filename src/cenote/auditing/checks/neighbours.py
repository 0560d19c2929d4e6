"""The check of hubs: a text that is near to many others, against random vectors of the same shape."""

from __future__ import annotations

import numpy as np

from cenote.auditing.checks.subject import Finding, Subject, rounded
from cenote.auditing.checks.thresholds import value_of
from cenote.functional.agreement import NEIGHBOURS, Vectors, nearest_others
from cenote.functional.units import to_unit

# Fewer texts have everything near to everything.
_FEWEST = 50
# A smaller mean distance from the mean is rounding, and neighbours mean nothing.
_SPREAD = 1e-4
# Draws of random vectors.
_DRAWS = 10
# Texts for each neighbour that is looked at: with more neighbours the largest of any few texts is near to all.
_TEXTS = 16


def check_hubs(subject: Subject) -> Finding:
    """Count how many texts have one text among their nearest; that is a matter of the texts, so it fails no model."""
    reading = subject.reading
    _, first = np.unique([subject.texts[row] for row in reading.rows], return_index=True)
    vectors = reading.own[np.sort(first)]
    if len(vectors) < _FEWEST:
        return Finding(None, f"{len(vectors)} different texts are too few: {_FEWEST} are needed.")
    unit = to_unit(vectors)
    if float(np.linalg.norm(unit - unit.mean(0), axis=1).mean()) < _SPREAD:
        return Finding(None, "All texts have nearly the same vector: none is nearer than the others.")
    count, others = min(NEIGHBOURS, len(vectors) // _TEXTS), len(vectors) - 1
    counts = count_neighbours(vectors, count)
    rng = np.random.default_rng(subject.seed)
    null = float(np.median([count_neighbours(_draw_like(vectors, rng), count).max() for _ in range(_DRAWS)]))
    most, place = int(counts.max()), int(counts.argmax())
    text = subject.texts[reading.rows[int(np.sort(first)[place])]]
    measured = {
        "texts": len(vectors),
        "neighbours": count,
        "largest": most,
        "share": rounded(most / others),
        "null": null,
        "never": rounded(float((counts == 0).mean())),
    }
    said = (
        f"The text that is nearest to most is among the {count} nearest of {most} of {others} others; among random "
        f"vectors with the same covariance that is {null:.0f}"
    )
    if most > value_of("hub") * others and most > value_of("above null") * null:
        return Finding(
            None,
            f"{said}: {' '.join(text.split())[:60]!r}.",
            "Look at this text: an empty one, a heading or markup is near to everything. Leave such texts out, or "
            "search by similarities that are centred.",
            measured,
        )
    return Finding(True, f"{said}.", measured=measured)


def count_neighbours(vectors: Vectors, count: int = NEIGHBOURS) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return how many others have each text among their nearest `count`."""
    near = np.array(nearest_others(to_unit(vectors), count))
    return np.bincount(near.ravel(), minlength=len(vectors)).astype(np.int64)


def _draw_like(vectors: Vectors, rng: np.random.Generator) -> Vectors:
    """Return as many random vectors with the mean and the covariance of the given ones."""
    unit = to_unit(vectors)
    mean = unit.mean(0)
    found: Vectors = mean + rng.standard_normal((len(unit), len(unit))) @ (unit - mean) / np.sqrt(len(unit))
    return found
