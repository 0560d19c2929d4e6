"""Messages between machines: slices of texts to the workers, and their answers.

A module of its own, so that the process that only reads texts loads no model library.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from cenote.data.texts import Text
from cenote.embedding.corpus import Slice
from cenote.errors import BadInput, BadRows, CenoteError, UnknownName, UnsupportedModel

_ERRORS: dict[str, type[CenoteError]] = {
    kind.__name__: kind for kind in (BadInput, BadRows, UnknownName, UnsupportedModel, CenoteError)
}


def pack(content: dict[str, Any]) -> pa.Table:
    """Return a message as a table of one row, which Ray Data carries. Its `kept` values are Arrow, the rest is JSON."""
    kept = content.get("kept")
    plain = {name: value for name, value in content.items() if name != "kept"}
    return pa.table(
        {
            "message": pa.array([json.dumps(plain, ensure_ascii=False)], pa.large_string()),
            "kept": pa.array([None if kept is None else _to_bytes(kept)], pa.large_binary()),
        }
    )


def unpack(table: pa.Table) -> dict[str, Any]:
    """Return the content of a message.

    >>> unpack(pack({"part": 3}))
    {'part': 3}
    """
    content: dict[str, Any] = json.loads(table["message"][0].as_py())
    kept = table["kept"][0].as_py()
    return content if kept is None else {**content, "kept": pa.ipc.open_stream(kept).read_all()}


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def slice_of(content: dict[str, Any]) -> Slice:
    """Return the slice that was packed."""
    return Slice(**{**content, "texts": [Text(*text) for text in content["texts"]]})


def error_answer(error: Exception) -> dict[str, Any]:
    """Return an error as an answer: Ray would turn an exception into a traceback, or try again.

    >>> error_answer(BadInput("row 8 is empty."))
    {'error': 'BadInput', 'why': 'row 8 is empty.'}
    """
    kind = type(error).__name__
    if isinstance(error, CenoteError):
        return {"error": kind, "why": str(error)}
    return {"error": CenoteError.__name__, "why": f"a worker on {platform.node()} failed: {kind}: {error}"}


def raise_error(answer: dict[str, Any]) -> None:
    """Raise the error in an answer, if it holds one."""
    if "error" in answer:
        raise _ERRORS.get(answer["error"], CenoteError)(answer["why"])


def slice_messages(parts: Callable[[], Iterator[Slice]], folder: Path) -> Iterator[pa.Table]:
    """Yield the slices as messages; last an error, if one occurred.

    Args:
        parts: starts reading the slices.
        folder: the caller's working folder, since the paths of texts may be relative.
    """
    try:
        os.chdir(folder)
        for part in parts():
            yield pack(vars(part))
    except Exception as error:
        yield pack(error_answer(error))
