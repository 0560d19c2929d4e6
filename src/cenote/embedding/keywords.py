"""The keywords of `cenote.embed` by type, for editors and type checkers; `options.Request` declares and checks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from cenote.choices import (
    Auto,
    BackendName,
    ComputePrecision,
    EngineName,
    LongName,
    OnError,
    OnTruncate,
    PoolingName,
    TaskName,
    VectorDtype,
)
from cenote.functional.temperature import Temperature
from cenote.listener import Progress


class EmbedKeywords(TypedDict, total=False):
    """The fields of `Request`. `tests/test_typing.py` compares both: no type checker derives one from the other."""

    prompt_name: str | None
    task: TaskName | None
    dtype: VectorDtype
    dimensions: int | None
    normalize: bool
    long: LongName
    vectors: int | None
    window: int | None
    overlap: int | None
    on_truncate: OnTruncate
    on_error: OnError
    limit: int | None
    keep: str | Sequence[str]
    columns: str | Sequence[str] | None
    id_column: str | None
    pooling: PoolingName | Sequence[PoolingName] | None
    temperature: Temperature | None
    backend: BackendName | Auto
    precision: ComputePrecision | Auto
    agreement: float
    engine: EngineName
    workers: int | None
    restart: bool
    verify: bool
    source: str
    name: str | None
    progress: Progress | None
    notify: Callable[[str], object] | None
    part: Callable[[int], object] | None
    stop: Callable[[], bool] | None
    loader: Callable[[Any], Any] | None
