"""The options of `embed`, declared once.

The signature and the help of `cenote.embed`, the flags of `cenote embed` and the settings in the manifest derive from
these fields. Importing this module imports nothing heavy.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cenote.choices import (
    AGREEMENT,
    AUTO,
    BACKENDS,
    COMPUTE_PRECISIONS,
    ENGINES,
    LEAST_AGREEMENT,
    LONG,
    ON_ERROR,
    ON_TRUNCATE,
    SHORTEST_WINDOW,
    TASKS,
    VECTOR_DTYPES,
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
from cenote.data.columns import ALL, kept_names
from cenote.errors import BadInput, check_at_least, choose
from cenote.listener import Listener, Progress, never, silent

# The ways to read long texts that may write several rows for a text.
SEVERAL_ROWS = ("segments", "windows")
# Vectors of a text that is read in segments, where no number is given.
_SEGMENTS = 8
# Columns that `embed` writes itself.
WRITTEN = ("id", "parent_id", "window", "start", "end", "embedding", "scale", "n_tokens", "truncated")
# The least value of each option that is a number.
_LEAST = {"dimensions": 1, "vectors": 1, "window": SHORTEST_WINDOW, "overlap": 0, "limit": 1}

Function = TypeVar("Function", bound=Callable[..., Any])


def option(
    default: Any, help: str, flag: str | None = None, *, recorded: bool = False, positional: bool = False
) -> Any:
    """Declare an option.

    Args:
        default: its value where none is given.
        help: its meaning, for `help(cenote.embed)` and `cenote embed --help`.
        flag: its name on the command line; None: it has none there.
        recorded: whether the vectors depend on it, so that the manifest holds it.
        positional: whether it can be given without its name.
    """
    # Not `_: KW_ONLY` in the class: `typing.get_type_hints` of Python 3.10 takes it for a wrong type.
    return field(default=default, kw_only=not positional, metadata={"help": help, "flag": flag, "recorded": recorded})


@dataclass(frozen=True, kw_only=True)
class Options:
    """How `embed` reads texts, and the form in which it writes vectors."""

    prompt_name: str | None = option(
        None,
        "name of the model's prompt to put before every text; default: the model's default prompt, or that of the task",
        "--prompt",
        recorded=True,
    )
    task: TaskName | None = option(
        None, "query or document, for models that treat them differently", "--task", recorded=True
    )
    dtype: VectorDtype = option(
        "float32", "of the vectors: float32, float16 or int8 with a scale for each", "--dtype", recorded=True
    )
    dimensions: int | None = option(
        None, "keep the first so many dimensions, for models trained for it", "--dimensions", recorded=True
    )
    normalize: bool = option(False, "divide vectors by their norms", "--normalize", recorded=True)
    long: LongName = option(
        "truncate",
        "how long texts are read: truncate, window-mean (one vector, the mean of windows), segments (a few rows, each "
        "the mean of consecutive windows) or windows (a row for each)",
        "--long",
        recorded=True,
    )
    vectors: int | None = option(
        None, f"with long='segments': the most vectors of a text; default: {_SEGMENTS}", "--vectors", recorded=True
    )
    window: int | None = option(
        None,
        "tokens of a window of a text that the model would cut; default: as many as the model has room for",
        "--window",
        recorded=True,
    )
    overlap: int | None = option(
        None, "tokens that a window shares with the next; default: an eighth", "--overlap", recorded=True
    )
    on_truncate: OnTruncate = option(
        "warn", "warn, or error where a text is longer than the model reads", "--on-truncate", recorded=True
    )
    on_error: OnError = option(
        "raise", "raise, or skip rows that cannot be read and list them in rejects.jsonl", "--on-error"
    )
    limit: int | None = option(
        None, "embed the first so many rows, for a first try; default: all", "--limit", recorded=True
    )
    keep: str | Sequence[str] = option(
        (),
        f"columns of the input to write beside the vectors, or {ALL!r}: a result can then be read",
        "--keep",
        recorded=True,
    )

    def __post_init__(self) -> None:
        choose(self.long, dict.fromkeys(LONG), "way to read long texts")
        if self.task is not None:
            choose(self.task, dict.fromkeys(TASKS), "task")
        choose(self.dtype, dict.fromkeys(VECTOR_DTYPES), "dtype")
        choose(self.on_truncate, dict.fromkeys(ON_TRUNCATE), "on_truncate")
        choose(self.on_error, dict.fromkeys(ON_ERROR), "on_error")
        for name, least in _LEAST.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, check_at_least(least, value, name))  # a plain int, for the manifest
        if self.vectors is not None and self.long != "segments":
            raise BadInput(
                f"vectors={self.vectors} (--vectors) needs long='segments' (--long), and long is {self.long!r} here."
            )
        if self.vectors is None and self.long == "segments":
            object.__setattr__(self, "vectors", _SEGMENTS)
        if self.long == "truncate" and (self.window, self.overlap) != (None, None):
            raise BadInput(
                "window and overlap (--window, --overlap) need long='windows', 'segments' or 'window-mean' (--long), "
                "and long is 'truncate' here."
            )
        if self.long != "truncate" and self.on_truncate == "error":
            raise BadInput(f"on_truncate='error' is for long='truncate': with {self.long!r} nothing is cut.")
        object.__setattr__(self, "keep", kept_names(self.keep))
        refuse_written_names(() if self.keep == ALL else self.keep)

    @property
    def skips(self) -> bool:
        """Whether rows that cannot be read are left out."""
        return self.on_error == "skip"

    @property
    def refuses_truncated(self) -> bool:
        """Whether a truncated text is an error."""
        return self.on_truncate == "error" and not self.skips

    def known(self) -> dict[str, Any]:
        """Return the recorded options that depend neither on the model nor on the texts."""
        return {
            name: value
            for name, value in self.recorded().items()
            if (value is not None or name not in ("prompt_name", "window", "overlap")) and value != ALL
        }

    def recorded(self) -> dict[str, Any]:
        """Return the options that the output depends on, as the manifest holds them."""
        found = {one.name: getattr(self, one.name) for one in dataclasses.fields(Options) if one.metadata["recorded"]}
        keep = self.keep if self.keep == ALL else list(self.keep) or None  # None: as in folders older than the option
        return found | {"keep": keep}


def _check_agreement(agreement: float) -> None:
    real = isinstance(agreement, (int, float)) and not isinstance(agreement, bool)
    if not (real and LEAST_AGREEMENT <= agreement <= 1):
        raise BadInput(
            f"agreement={agreement!r}: pass the least cosine with float32 that you allow, {LEAST_AGREEMENT} to 1."
        )


def refuse_written_names(names: Sequence[str]) -> None:
    """Raise if columns cannot be kept under these names, which `embed` writes itself.

    >>> refuse_written_names(["title", "url"])
    """
    for name in names:
        if name in WRITTEN:
            own = ", ".join(WRITTEN)
            raise BadInput(
                f"the column {name!r} cannot be kept under its name, since embed writes {own}. Name the columns to "
                "keep without it (--keep), or rename it in the input."
            )


@dataclass(frozen=True, kw_only=True)
class Request(Options):
    """All that `embed` is asked for besides the model and the texts."""

    output: str | Path | None = option(
        None, "a folder, new or of an earlier run of the same call", "--output", positional=True
    )
    columns: str | Sequence[str] | None = option(
        None, "column of the text, where texts are a file or a table; several are joined; default: text"
    )
    id_column: str | None = option(None, "column of the id; default: id if there is one, else row numbers")
    pooling: PoolingName | Sequence[PoolingName] | None = option(
        None, "see `cenote poolings`; A,B concatenates (default: the model's pooling)", "--pooling"
    )
    temperature: Any = option(
        None, "divides the attention logits, see `cenote temper` (default: the model's temperature)", "--temperature"
    )
    backend: BackendName | Auto = option(
        AUTO,
        "torch, openvino, onnx, or auto: the fastest that agrees with float32 on the first 2,000 texts (torch if there "
        "are fewer)",
        "--backend",
    )
    precision: ComputePrecision | Auto = option(
        AUTO,
        "float32, bfloat16, float16, int8, or auto, which is chosen with the backend (that of the weights if there are "
        "fewer texts)",
        "--precision",
    )
    agreement: float = option(
        AGREEMENT,
        f"least cosine with float32 that a way to compute may have on the first 2,000 texts (default: {AGREEMENT}); "
        "below it auto also tries int8, where the CPU multiplies integers",
        "--agreement",
    )
    engine: EngineName = option(
        "local", "local, or ray: a Ray cluster whose nodes all reach the output folder", "--engine"
    )
    workers: int | None = option(
        None, "workers of the Ray engine; default: one for each accelerator, or for every 4 cores", "--workers"
    )
    restart: bool = option(False, "delete what an earlier run wrote, and begin anew", "--restart")
    verify: bool = option(
        False, "read every page of the parts that an earlier run wrote, and compare its checksum", "--verify"
    )
    source: str = option("texts", "what the manifest calls the texts")
    name: str | None = option(None, "what the manifest calls the model; default: as it was given")
    progress: Progress | None = option(
        None, "called with a step, how much of it is done, and how much there is (0: unknown)"
    )
    notify: Callable[[str], object] | None = option(None, "called with a sentence on each choice and event")
    part: Callable[[int], object] | None = option(
        None, "called before each part with how many texts are done after it, on this machine"
    )
    stop: Callable[[], bool] | None = option(None, "asked after each part whether to stop there")
    loader: Callable[[Any], Any] | None = option(
        None, "loads a model that is given by name, once all else is checked; default: cenote.load"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.columns, str):
            object.__setattr__(self, "columns", (self.columns,))
        choose(self.backend, dict.fromkeys((*BACKENDS, AUTO)), "backend")
        choose(self.precision, dict.fromkeys((*COMPUTE_PRECISIONS, AUTO)), "precision")
        _check_agreement(self.agreement)
        choose(self.engine, dict.fromkeys(ENGINES), "engine")
        if self.workers is not None and self.engine == "local":
            raise BadInput(f"workers={self.workers} is for engine='ray' (--engine ray): the local engine has one.")
        if self.workers is not None:
            check_at_least(1, self.workers, "workers")
        for name, value, reason in (
            *(("long", way, "writes several rows for a text") for way in SEVERAL_ROWS),
            ("on_error", "skip", "lists the rows left out in a file"),
            ("dtype", "int8", "writes a scale beside each vector"),
            ("restart", True, "deletes the parts of an earlier run"),
            ("verify", True, "reads the parts of an earlier run"),
        ):
            if self.output is None and getattr(self, name) == value:
                raise BadInput(f"{name}={value!r} {reason}, so it needs a folder: pass output='vectors'.")
        if self.output is None and self.keep:
            raise BadInput(
                f"keep={self.keep!r} writes columns beside the vectors, so it needs a folder: pass output='vectors'."
            )

    @property
    def listener(self) -> Listener:
        """The callbacks of the run, as one object."""
        return Listener(self.progress or silent, self.notify or silent, self.stop or never)

    @property
    def loading(self) -> dict[str, Any]:
        """The pooling and the temperature that are asked for, as `cenote.load` takes them."""
        asked = {"pooling": self.pooling, "temperature": self.temperature}
        return {name: value for name, value in asked.items() if value is not None}

    @property
    def options(self) -> Options:
        """The part of the request that a worker needs."""
        return Options(**{one.name: getattr(self, one.name) for one in dataclasses.fields(Options)})


# The meaning of each option.
HELP: dict[str, str] = {one.name: one.metadata["help"] for one in dataclasses.fields(Request)}


def takes_request(request: type[Request]) -> Callable[[Function], Function]:
    """Give a function of `(model, texts, **options)` the signature and the documentation of the options.

    A type checker reads them from `cenote.embedding.keywords`.
    """

    def decorate(function: Function) -> Function:
        of_request = inspect.signature(request).parameters.values()
        own = list(inspect.signature(function).parameters.values())[:2]
        documented: Any = function
        documented.__signature__ = inspect.Signature([*own, *of_request])
        lines = (f"{name}: {HELP[name]}." for name in inspect.signature(request).parameters)
        wrapped = (
            textwrap.fill(line, 120, initial_indent=" " * 4, subsequent_indent=" " * 8, break_on_hyphens=False)
            for line in lines
        )
        plain = inspect.cleandoc(function.__doc__ or "")  # which Python 3.13 has done already
        documented.__doc__ = plain.replace("    OPTIONS", "\n".join(wrapped))
        return function

    return decorate
