"""`embed`: texts to vectors, fast; a corpus to a folder of Parquet parts, resumable, every cut text counted."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sentence_transformers import SentenceTransformer

from cenote.choices import AGREEMENT, AUTO, INT8
from cenote.data.rows import Fault, Row, Text, refuse_empty
from cenote.embedding.corpus import (
    LEAVE_OUT,
    PART_CHARACTERS,
    PART_KEPT,
    PART_TEXTS,
    Slice,
    Source,
    Survey,
    checked_rows,
    cut_slices,
    first_rows,
    mark_repeated_ids,
    raise_unless_skipped,
    read_slices,
    survey,
)
from cenote.embedding.engines import ENGINES, read_ahead, refuse_engine, text_progress
from cenote.embedding.estimate import Rate, estimate_in_words, expected_tokens
from cenote.embedding.folder import opened
from cenote.embedding.manifest import refuse_other_settings, refuse_unfit
from cenote.embedding.options import HELP, Options, Request, refuse_written_names, takes_request
from cenote.embedding.rows import Embedded, Prepared, SliceEncoder, refuse_truncated
from cenote.encoding.backend_choice import (
    COMPARED,
    SAMPLE,
    WORTH_CHOOSING,
    Choice,
    choose_backend,
    sample_lengths,
    usable_backends,
)
from cenote.encoding.backends import backend, own_precision
from cenote.encoding.batches import default_budget
from cenote.encoding.tokens import Tokens, tokenise, tokens_around
from cenote.encoding.vectors import Encoder
from cenote.encoding.windows import window_sizes
from cenote.errors import BadInput, CenoteWarning, choose
from cenote.functional.pooling import canonical
from cenote.functional.quantisation import Floats
from cenote.functional.temperature import check_temperature
from cenote.listener import Listener, silent
from cenote.models.fingerprints import fingerprint_as
from cenote.models.loading import load
from cenote.models.properties import limit_of, prompt_name_for, prompt_of, width_of
from cenote.models.provenance import behaviour_as, place_of, pooling_of, versions_of
from cenote.records import Manifest
from cenote.surgery.hooks import Setting

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11 on

    from cenote.embedding.keywords import EmbedKeywords

Model = SentenceTransformer | str | Path
# Files, streams, and functions that start reading: the number of their texts is not known before.
Uncounted = str | Path | list[Path] | tuple[Path, ...] | Iterator[Any] | Callable[[], Iterable[Any]]

# Packages that vectors depend on besides those of the model, whichever backend computes them.
_PACKAGES = ("tokenizers", "pyarrow")
_RUNTIMES = {"openvino": "openvino", "onnx": "onnxruntime"}


class _Indexed(Protocol):
    """A list, a tuple, a table. A wrapper of a stream, such as tqdm, has a length and no items: pass `iter` of it."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Any: ...


@overload
def embed(  # a string and a list of paths are indexed too, but name files
    model: Model, texts: Uncounted, output: None = ..., **options: Unpack[EmbedKeywords]
) -> Iterator[npt.NDArray[Any]]: ...
@overload
def embed(
    model: Model, texts: _Indexed | Set[Any], output: None = ..., **options: Unpack[EmbedKeywords]
) -> npt.NDArray[Any]: ...
@overload
def embed(model: Model, texts: Any, output: str | Path, **options: Unpack[EmbedKeywords]) -> Manifest: ...
@takes_request(Request)
def embed(  # noqa: D417  the options are documented by `takes_request`
    model: Model, texts: Any, output: str | Path | None = None, **options: Any
) -> Any:
    """Embed texts: a list into one array, an iterator into arrays one after another, a corpus into a folder.

    >>> import cenote
    >>> cenote.embed("minilm", ["a pool", "that a collapse made"]).shape
    (2, 384)

    With `output`, vectors are written there as Parquet parts, with ids, tokens and what was cut. The same call again
    goes on where an earlier one was stopped or killed.

    Args:
        model: a `SentenceTransformer`, or what `cenote.load` takes.
        texts: a path, strings, (id, text), mappings, a frame or a table, as `cenote.data.texts.read` takes them, or a
            function that starts reading them anew. With `output`, texts that can be read twice are checked before the
            work begins; so is a list without it. Other texts are checked as they come.
        OPTIONS

    Returns:
        `[N, D]` for a list or a table, an iterator of such arrays for an iterator or a path; with `output` a
        `Manifest`.
    """
    for name in options:
        choose(name, HELP, "option")
    request = Request(output=output, **options)
    behaviour = _behaviour_asked_for(model, request)
    source = _source(texts, request)
    refuse_engine(request.engine, rereadable=output is not None and source.rereadable)
    if output is None:
        return _to_memory(model, source, request)
    # The columns of `all` are known once the first row is read.
    return _to_folder(model, source, Path(output), replace(request, keep=tuple(source.keep)), behaviour)


def _source(texts: Any, request: Request) -> Source:
    """Return the texts, with the columns that are kept beside them."""
    source = Source.of(texts, request.source, columns=request.columns, id_column=request.id_column, keep=request.keep)
    refuse_written_names(tuple(source.keep))
    return source if request.limit is None else first_rows(source, request.limit)


def _behaviour_asked_for(model: Any, request: Request) -> dict[str, Any]:
    """Return the pooling and the temperature that are asked for, as the manifest holds them.

    Raises:
        BadInput: one of them is unknown, or the model is not given by name.
    """
    given = request.loading
    if given and isinstance(model, SentenceTransformer):
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise BadInput(
            f"{shown}: the model is loaded already. Pass its name, or load it by cenote.load(name, {shown})."
        )
    asked: dict[str, Any] = {}
    if "pooling" in given:
        asked["pooling"] = "+".join(canonical(given["pooling"]))
    if "temperature" in given:
        temperature = check_temperature(given["temperature"])
        asked["temperature"] = None if temperature == 1 else Setting(temperature).to_json()
    return asked


class _Asked(NamedTuple):
    """The way to compute that is asked for."""

    backend: str
    precision: str
    agreement: float

    @classmethod
    def of(cls, request: Request) -> _Asked:
        """Return what a request asks for."""
        return cls(request.backend, request.precision, request.agreement)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The decisions of a run: how texts are encoded, with the prompt, the windows and the backend for this model."""

    encoder: SliceEncoder
    rows: Iterator[Row]  # of the input; the first ones were looked at to choose the backend
    choice: Choice
    rate: Rate | None = None  # tokens of a text and of a second, where the backend was measured


def _to_memory(model: Any, source: Source, request: Request) -> Any:
    """Return one array for a list, or an iterator of arrays."""
    if source.count is not None and (fault := next((row for row in source.read() if isinstance(row, Fault)), None)):
        raise BadInput(fault.why)
    loaded = _load(model, request)
    options, asked = _resolve(loaded, request), _Asked.of(request)
    rows = raise_unless_skipped(source.read(), skip=False, remedy="")
    plan = _plan(loaded, rows, options, asked, request.listener, remedy="")
    arrays = _arrays(plan, request, source.count or 0)
    if source.count is None:
        return arrays
    found, done = None, 0
    for array in arrays:
        if found is None:  # filled part by part: joined at the end, they would take twice the memory
            found = np.empty((source.count, array.shape[1]), array.dtype)
        found[done : done + len(array)] = array
        done += len(array)
    if found is None:
        found = np.zeros((0, options.dimensions or loaded.truncate_dim or width_of(loaded)), options.dtype)
    return found[:done]


def _arrays(plan: _Plan, request: Request, total: int) -> Iterator[Floats]:
    encoder, listener = plan.encoder, request.listener
    step = listener.step("embedding", total)
    done = truncated = 0

    def read(prepared: Prepared) -> Embedded:
        return encoder.read(prepared, text_progress(prepared, done, step.reach))

    for embedded in read_ahead(cut_slices(plan.rows), encoder, read):
        truncated += embedded.truncated
        done += embedded.slice.rows
        step.reach(done)
        if total and done > total:
            break
        yield embedded.rows.vector.astype(request.dtype, copy=False)
        if listener.stop():
            return
    if total and done != total:
        raise BadInput(f"the texts have the length {total:,}, and gave {done:,} rows: pass a list of them.")
    if truncated:
        # At the line that calls `embed`, or that reads the iterator.
        _warn_of_truncation(truncated, limit_of(encoder.model, encoder.options.task), stacklevel=5 if total else 3)


def _warn_of_truncation(count: int, limit: int | None, stacklevel: int) -> None:
    texts = "1 text is" if count == 1 else f"{count:,} texts are"
    warnings.warn(
        f"{texts} longer than the {limit} tokens that the model reads, and the rest was not read: "
        "long='window-mean', 'segments' or 'windows' (--long) reads all of it.",
        CenoteWarning,
        stacklevel,
    )


def _to_folder(model: Any, source: Source, folder: Path, request: Request, behaviour: dict[str, Any]) -> Manifest:
    """Write the parts that the folder lacks; return its manifest."""
    found = refuse_unfit(folder, restart=request.restart)
    earlier = None if request.restart else found
    if earlier is not None:  # before a corpus is read or a model is loaded
        refuse_other_settings(folder, earlier, {**request.known(), **behaviour, **versions_of(*_PACKAGES)})
    surveyed = None
    if source.rereadable and not isinstance(model, SentenceTransformer) and not request.refuses_truncated:
        surveyed = _survey(source, source.read(), request)  # errors in texts are raised before a model is loaded
    loaded = _load(model, request)
    options, asked = _resolve(loaded, request), _asked_backend(loaded, folder, earlier, request)
    settings = _settings(loaded, request.name or place_of(model, loaded), options, source, request, earlier)
    if earlier is not None:
        chosen = {"backend": asked.backend, "precision": asked.precision}
        refuse_other_settings(folder, earlier, settings | chosen)
    if source.rereadable and surveyed is None:
        rows: Iterable[Row] = source.read()
        if options.refuses_truncated:
            rows = refuse_truncated(loaded, options, rows)
        surveyed = _survey(source, rows, request)
    plan = _plan(loaded, source.read(), options, asked, request.listener)
    made = plan.encoder.encoder.backend
    parts, types = _parts(source, surveyed, plan, request)
    settings |= {
        "backend": made.name,
        "precision": made.precision,
        "keep_types": types,
        "texts": surveyed.rows if surveyed else None,
        "texts_fingerprint": surveyed.fingerprint if surveyed else None,
    }
    versions = versions_of(*_PACKAGES, *(_RUNTIMES[name] for name in _RUNTIMES if name == made.name))
    own = {"part": request.part or silent} if request.engine == "local" else {"workers": request.workers}
    if surveyed is not None and plan.rate is not None and request.engine == "local":
        expected = expected_tokens(surveyed.lengths, plan.rate, options, limit_of(loaded, options.task))
        request.listener.notify(estimate_in_words(surveyed.rows, *expected, plan.rate.speed))
    with opened(
        folder,
        settings,
        versions,
        restart=request.restart,
        agreement=plan.choice.agreement,
        neighbours=plan.choice.neighbours,
    ) as out:
        if not request.skips:
            out.refuse_rejects()
        if request.verify:
            out.verify(request.listener)
        total = surveyed.rows if surveyed else 0
        complete = ENGINES[request.engine](out, parts, plan.encoder, total, listener=request.listener, **own)
        manifest = out.finish() if complete else out.manifest
    if manifest.counts is not None and manifest.counts.truncated:
        _warn_of_truncation(manifest.counts.truncated, limit_of(loaded, options.task), stacklevel=4)
    return manifest


def _load(model: Any, request: Request) -> SentenceTransformer:
    if isinstance(model, SentenceTransformer):
        return model
    loaded: SentenceTransformer = (request.loader or load)(model, **request.loading)
    return loaded


def _asked_backend(model: SentenceTransformer, folder: Path, earlier: Manifest | None, request: Request) -> _Asked:
    """Return the backend and precision asked for; where they are left open, those that an earlier run chose."""
    asked = _Asked.of(request)
    settings = {} if earlier is None else earlier.settings
    backend, precision = (
        str(settings.get(key, AUTO)) if value == AUTO else value
        for key, value in (("backend", asked.backend), ("precision", asked.precision))
    )
    known = asked._replace(backend=backend, precision=precision)
    if known != asked:
        try:
            usable_backends(model, backend, precision, task=request.task)
        except BadInput as error:
            raise BadInput(f"{str(folder)!r} was started with a backend that is not available here. {error}") from error
    return known


def _resolve(model: SentenceTransformer, request: Request) -> Options:
    """Return the options with the prompt and the windows for this model; refuse what the model cannot do."""
    if (request.backend, request.precision) != (AUTO, AUTO):  # torch runs every model
        usable_backends(model, request.backend, request.precision, task=request.task)
    options = replace(request.options, prompt_name=prompt_name_for(model, request.prompt_name, request.task))
    tokenise(model, ["a"], options.prompt_name, options.task)  # a model without tokens is refused here
    if options.long != "truncate":
        size, overlap = window_sizes(model, options.prompt_name, options.window, options.overlap, options.task)
        options = replace(options, window=size, overlap=overlap)
    if options.dimensions is not None and options.dimensions > width_of(model):
        raise BadInput(f"dimensions={options.dimensions}: the model's vectors have 1 to {width_of(model)}.")
    return options


def _plan(
    model: SentenceTransformer,
    rows: Iterator[Row],
    options: Options,
    asked: _Asked,
    listener: Listener,
    remedy: str = LEAVE_OUT,
) -> _Plan:
    """Return the plan, its backend chosen on the first of the rows; `remedy` ends the error for a text."""
    rate = None
    first = deque(islice(rows, WORTH_CHOOSING)) if AUTO in asked or asked.precision == INT8 else deque()
    if len(first) < WORTH_CHOOSING and asked.precision != INT8:
        plain = zip((asked.backend, asked.precision), ("torch", own_precision(model)), strict=True)
        names = (default if value == AUTO else value for value, default in plain)
        chosen = Choice(backend(model, *names, task=options.task))
    else:
        count = SAMPLE if asked.precision != INT8 and asked.agreement >= AGREEMENT else COMPARED
        sample = sample_lengths([row.text for row in first if isinstance(row, Text)], count)
        tokens = tokenise(model, sample, options.prompt_name, options.task)
        chosen = choose_backend(
            model,
            tokens,
            asked.backend,
            asked.precision,
            task=options.task,
            agreement=asked.agreement,
            notify=listener.notify,
        )
        rate = None if chosen.speed is None else _rate(model, sample, tokens, options, chosen.speed)
    encoder = SliceEncoder(model, options, Encoder(model, chosen.backend, notify=listener.notify), remedy)
    return _Plan(encoder, chain(_emptied(first), rows), chosen, rate)


def _rate(model: SentenceTransformer, sample: list[str], tokens: Tokens, options: Options, speed: float) -> Rate:
    """Return the tokens of texts by their length, as a sample has them, and the speed of reading."""
    around = tokens_around(model, options.prompt_name, options.task)
    content = int(tokens.full_lengths.sum()) - around * len(sample)
    return Rate(around, sum(map(len, sample)) / max(1, content), speed)


def _emptied(rows: deque[Row]) -> Iterator[Row]:
    """Yield rows and let go of them one by one."""
    while rows:
        yield rows.popleft()


def _survey(source: Source, rows: Iterable[Row], request: Request) -> Survey:
    """Read all rows of a source once; refuse what cannot be embedded, or tell what is left out, before the work."""
    found = survey(rows, skip=request.skips, keep=source.keep, advance=request.listener.step("checking texts"))
    if not found.rows:
        raise BadInput(f"there are no texts in {source.name!r}.")
    if found.faults or found.repeats:
        first = _first_left_out(source, found, request.listener) if found.repeats else found.first_fault
        if not request.skips:
            raise BadInput(f"{first} {LEAVE_OUT}")
        if found.faults == found.rows:
            raise BadInput(f"none of the {found.rows:,} rows of {source.name!r} has a usable text. The first: {first}")
        request.listener.notify(
            f"leaving out {found.faults + found.repeats:,} of {found.rows:,} rows: {found.faults:,} without a usable "
            f"text, {found.repeats:,} with the id of an earlier row. The first: {first}"
        )
    return found


def _first_left_out(source: Source, surveyed: Survey, listener: Listener) -> str:
    """Return why the first row is left out that has no usable text, or the id of an earlier one.

    A survey has only hashes of ids, so that the rows are read again.
    """
    advance = listener.step("finding the repeated id", surveyed.rows)
    for row in mark_repeated_ids(source.read(), surveyed.repeated, source.file_of):
        if isinstance(row, Fault):
            return row.why
        advance(1)
    raise BadInput("the texts changed while they were read: run again once they no longer change.")


def _parts(
    source: Source, surveyed: Survey | None, plan: _Plan, request: Request
) -> tuple[Callable[[], Iterator[Slice]], list[str] | None]:
    """Return the function that starts reading the slices, and the types of the kept columns."""
    schema = None if surveyed is None else surveyed.kept
    if request.engine != "local":  # read elsewhere, perhaps more than once
        return partial(read_slices, source, surveyed, request.skips), _types_of(schema)
    parts = cut_slices(checked_rows(source, surveyed, skip=request.skips, rows=plan.rows), source.keep, schema)
    if surveyed is None:  # the first slice is read before a restart deletes anything for it
        for first in refuse_empty(parts, repr(source.name)):
            parts, schema = chain((first,), parts), None if first.kept is None else first.kept.schema
            break
    return lambda: parts, _types_of(schema)


def _types_of(schema: pa.Schema | None) -> list[str] | None:
    """Return the types of the kept columns as the manifest holds them; None where nothing is kept."""
    return [str(field.type) for field in schema or ()] or None


def _settings(
    model: SentenceTransformer,
    name: str,
    options: Options,
    source: Source,
    request: Request,
    earlier: Manifest | None,
) -> dict[str, Any]:
    """Return what the output depends on and is known before a text is read.

    `on_error` is not among them: the rows that are kept are the same.
    """
    recorded = {} if earlier is None else earlier.settings
    return {
        "model": name,
        "fingerprint": fingerprint_as(recorded.get("fingerprint"), model),
        "pooling": pooling_of(model),
        **behaviour_as(recorded, model),
        "similarity": model.similarity_fn_name,
        "device": model.device.type,
        "prompt": prompt_of(model, options.prompt_name),
        **options.recorded(),
        "source": source.name,
        "columns": None if request.columns is None else list(request.columns),
        "part_texts": PART_TEXTS,
        "part_characters": PART_CHARACTERS,
        "part_kept": PART_KEPT if source.keep else None,
        "budget": default_budget(model),
    }
