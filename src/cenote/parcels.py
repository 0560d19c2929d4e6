"""What travels between machines: stretches of texts one way, what became of them the other.

It stands by itself so that the process which only reads texts loads no model library.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from cenote.errors import BadInput, BadRows, CenoteError, UnknownName, UnsupportedModel
from cenote.sources import Stretch
from cenote.texts import Text

_ERRORS: dict[str, type[CenoteError]] = {
    kind.__name__: kind for kind in (BadInput, BadRows, UnknownName, UnsupportedModel, CenoteError)
}


def packed(content: dict[str, Any]) -> pa.Table:
    """A parcel: a table of one row, since tables are what Ray Data carries."""
    return pa.table({"parcel": pa.array([json.dumps(content, ensure_ascii=False)], pa.large_string())})


def unpacked(table: pa.Table) -> dict[str, Any]:
    """What is in a parcel.

    >>> unpacked(packed({"part": 3}))
    {'part': 3}
    """
    content: dict[str, Any] = json.loads(table["parcel"][0].as_py())
    return content


def stretch_of(content: dict[str, Any]) -> Stretch:
    """The stretch that was packed."""
    return Stretch(**{**content, "texts": [Text(*text) for text in content["texts"]]})


def wrong(error: Exception) -> dict[str, Any]:
    """An error as an answer like any other: what Ray makes of errors is a traceback, or another try.

    >>> wrong(BadInput("row 8 is empty."))
    {'wrong': 'BadInput', 'why': 'row 8 is empty.'}
    """
    kind = type(error).__name__
    if isinstance(error, CenoteError):
        return {"wrong": kind, "why": str(error)}
    return {"wrong": CenoteError.__name__, "why": f"a worker on {platform.node()} failed: {kind}: {error}"}


def raise_wrong(answer: dict[str, Any]) -> None:
    """Raise what an answer says went wrong, if it says so."""
    if "wrong" in answer:
        raise _ERRORS.get(answer["wrong"], CenoteError)(answer["why"])


def parcels(parts: Callable[[], Iterator[Stretch]], folder: Path) -> Iterator[pa.Table]:
    """The parts, packed; last what went wrong, if something did.

    Args:
        parts: starts reading them.
        folder: where the caller is: what the texts are called may be meant from there.
    """
    try:
        os.chdir(folder)
        for stretch in parts():
            yield packed(vars(stretch))
    except Exception as error:
        yield packed(wrong(error))
