"""`embed`: texts to vectors, fast; a corpus to a folder of Parquet parts, resumable, with nothing lost."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.choices import AUTO
from cenote.data.rows import Fault, Row, Text, refuse_empty
from cenote.embedding.corpus import (
    PART_CHARACTERS,
    PART_TEXTS,
    Slice,
    Source,
    Survey,
    checked_rows,
    mark_repeated_ids,
    raise_unless_skipped,
    read_slices,
    slices,
    survey,
)
from cenote.embedding.engines import ENGINES, read_ahead, refuse_engine, text_progress
from cenote.embedding.folder import opened
from cenote.embedding.manifest import refuse_other_settings, refuse_unfit
from cenote.embedding.options import HELP, Options, Request, takes_request
from cenote.embedding.rows import Embedded, Prepared, SliceEncoder, refuse_truncated
from cenote.encoding.backend_choice import (
    WORTH_CHOOSING,
    choose_backend,
    sample_lengths,
    usable_backends,
)
from cenote.encoding.backends import backend, own_precision
from cenote.encoding.batches import default_budget
from cenote.encoding.tokens import tokenise
from cenote.encoding.vectors import Encoder
from cenote.encoding.windows import window_sizes
from cenote.errors import BadInput, CenoteWarning, choose
from cenote.functional.quantisation import Floats
from cenote.listener import Listener
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.loading import load
from cenote.models.properties import limit_of, prompt_name_for, prompt_of, width_of
from cenote.models.provenance import behaviour_of, name_of, pooling_of, versions_of
from cenote.records import Manifest

# Packages that vectors depend on besides those of the model, whichever backend computes them.
_PACKAGES = ("tokenizers", "pyarrow")
_RUNTIMES = {"openvino": "openvino", "onnx": "onnxruntime"}


@takes_request(Request)
def embed(  # noqa: D417  the options are documented by `takes_request`
    model: SentenceTransformer | str | Path, texts: Any, output: str | Path | None = None, **options: Any
) -> Any:
    """Embed texts: a list into one array, an iterator into arrays one after another, a corpus into a folder.

    >>> import cenote
    >>> cenote.embed("minilm", ["a pool", "that a collapse made"]).shape
    (2, 384)

    With `output`, vectors are written there as Parquet parts, with ids, tokens and what was cut. The same call again
    goes on where an earlier one was stopped or killed.

    Args:
        model: a `SentenceTransformer`, or what `cenote.load` takes.
        texts: strings, or (id, text); with `output` also a function that starts reading them anew, such as
            `lambda: cenote.data.texts.read_rows("texts.jsonl")`. With `output`, texts that can be read twice are
            checked before the work begins; so is a list without it. Other texts are checked as they come.
        OPTIONS

    Returns:
        `[N, D]` for a list, an iterator of such arrays for an iterator, a `Manifest` with `output`.
    """
    for name in options:
        choose(name, HELP, "option")
    request = Request(output, **options)
    source = Source.of(texts, request.source)
    refuse_engine(request.engine, rereadable=output is not None and source.rereadable)
    if output is None:
        return _to_memory(model, source, request)
    return _to_folder(model, source, Path(output), request)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The decisions of a run: how texts are encoded, with the prompt, the windows and the backend for this model."""

    encoder: SliceEncoder
    rows: Iterator[Row]  # of the input; the first ones were looked at to choose the backend
    agreement: float | None  # least cosine with float32, where the backend was chosen by it


def _to_memory(model: Any, source: Source, request: Request) -> Any:
    """Return one array for a list, or an iterator of arrays."""
    if source.count is not None and (fault := next((row for row in source.read() if isinstance(row, Fault)), None)):
        raise BadInput(fault.why)
    loaded = _load(model, request)
    options, asked = _resolve(loaded, request), (request.backend, request.precision)
    plan = _plan(loaded, raise_unless_skipped(source.read(), skip=False), options, asked, request.listener)
    arrays = _arrays(plan, request, source.count or 0)
    if source.count is None:
        return arrays
    found = list(arrays)
    width = options.dimensions or loaded.truncate_dim or width_of(loaded)
    return np.concatenate(found) if found else np.zeros((0, width), options.dtype)


def _arrays(plan: _Plan, request: Request, total: int) -> Iterator[Floats]:
    encoder, listener = plan.encoder, request.listener
    step = listener.step("embedding", total)
    done = truncated = 0

    def read(prepared: Prepared) -> Embedded:
        return encoder.read(prepared, text_progress(prepared, done, step.reach))

    for embedded in read_ahead(slices(plan.rows), encoder, read):
        truncated += embedded.truncated
        done += embedded.slice.rows
        step.reach(done)
        yield embedded.rows.vector.astype(request.dtype, copy=False)
        if listener.stop():
            return
    if truncated:
        # At the line that calls `embed`, or that reads the iterator.
        _warn_of_truncation(truncated, encoder.model, stacklevel=5 if total else 3)


def _warn_of_truncation(count: int, model: SentenceTransformer, stacklevel: int) -> None:
    texts = "1 text is" if count == 1 else f"{count:,} texts are"
    warnings.warn(
        f"{texts} longer than the {limit_of(model)} tokens that the model reads, and the rest was not read: "
        "long='window-mean', 'segments' or 'windows' (--long) reads all of it.",
        CenoteWarning,
        stacklevel,
    )


def _to_folder(model: Any, source: Source, folder: Path, request: Request) -> Manifest:
    """Write the parts that the folder lacks; return its manifest."""
    found = refuse_unfit(folder)
    earlier = None if request.restart else found
    if earlier is not None:  # before a corpus is read or a model is loaded
        refuse_other_settings(folder, earlier, request.known() | versions_of(*_PACKAGES))
    surveyed = None
    if source.rereadable and not isinstance(model, SentenceTransformer) and not request.refuses_truncated:
        surveyed = _survey(source, source.read(), request)  # errors in texts are raised before a model is loaded
    loaded = _load(model, request)
    options, asked = _resolve(loaded, request), _asked_backend(loaded, folder, earlier, request)
    settings = _settings(loaded, request.name or name_of(model, loaded), options, source)
    if earlier is not None:
        chosen = dict(zip(("backend", "precision"), asked, strict=True))
        refuse_other_settings(folder, earlier, settings | chosen)
    if source.rereadable and surveyed is None:
        rows: Iterable[Row] = source.read()
        if options.refuses_truncated:
            rows = refuse_truncated(loaded, options, rows)
        surveyed = _survey(source, rows, request)
    plan = _plan(loaded, source.read(), options, asked, request.listener)
    made = plan.encoder.encoder.backend
    settings |= {
        "backend": made.name,
        "precision": made.precision,
        "texts": surveyed.rows if surveyed else None,
        "texts_fingerprint": surveyed.fingerprint if surveyed else None,
    }
    versions = versions_of(*_PACKAGES, *(_RUNTIMES[name] for name in _RUNTIMES if name == made.name))
    parts = _parts(source, surveyed, plan, request)
    workers = {} if request.workers is None else {"workers": request.workers}
    with opened(folder, settings, versions, restart=request.restart, agreement=plan.agreement) as out:
        if not request.skips:
            out.refuse_rejects()
        total = surveyed.rows if surveyed else 0
        complete = ENGINES[request.engine](out, parts, plan.encoder, total, listener=request.listener, **workers)
        manifest = out.finish() if complete else out.manifest
    if manifest.counts is not None and manifest.counts.truncated:
        _warn_of_truncation(manifest.counts.truncated, loaded, stacklevel=4)
    return manifest


def _load(model: Any, request: Request) -> SentenceTransformer:
    if isinstance(model, SentenceTransformer):
        return model
    loaded: SentenceTransformer = (request.loader or load)(model)
    return loaded


def _asked_backend(
    model: SentenceTransformer, folder: Path, earlier: Manifest | None, request: Request
) -> tuple[str, str]:
    """Return the backend and precision asked for; where they are left open, those that an earlier run chose."""
    asked = request.backend, request.precision
    settings = {} if earlier is None else earlier.settings
    backend, precision = (
        str(settings.get(key, AUTO)) if value == AUTO else value
        for key, value in zip(("backend", "precision"), asked, strict=True)
    )
    if (backend, precision) != asked:
        try:
            usable_backends(model, backend, precision, task=request.task)
        except BadInput as error:
            raise BadInput(f"{str(folder)!r} was started with a backend that is not available here. {error}") from error
    return backend, precision


def _resolve(model: SentenceTransformer, request: Request) -> Options:
    """Return the options with the prompt and the windows for this model; refuse what the model cannot do."""
    if (request.backend, request.precision) != (AUTO, AUTO):  # torch runs every model
        usable_backends(model, request.backend, request.precision, task=request.task)
    options = replace(request.options, prompt_name=prompt_name_for(model, request.prompt_name, request.task))
    tokenise(model, ["a"], options.prompt_name, options.task)  # a model without tokens is refused here
    if options.long != "truncate":
        size, overlap = window_sizes(model, options.prompt_name, options.window, options.overlap)
        options = replace(options, window=size, overlap=overlap)
    if options.dimensions is not None and options.dimensions > width_of(model):
        raise BadInput(f"dimensions={options.dimensions}: the model's vectors have 1 to {width_of(model)}.")
    return options


def _plan(
    model: SentenceTransformer, rows: Iterator[Row], options: Options, asked: tuple[str, str], listener: Listener
) -> _Plan:
    """Return the plan, its backend chosen on the first of the rows."""
    agreement = None
    first = deque(islice(rows, WORTH_CHOOSING)) if AUTO in asked else deque()
    if len(first) < WORTH_CHOOSING:
        plain = zip(asked, ("torch", own_precision(model)), strict=True)
        made = backend(model, *(default if value == AUTO else value for value, default in plain), task=options.task)
    else:
        sample = sample_lengths([row.text for row in first if isinstance(row, Text)])
        tokens = tokenise(model, sample, options.prompt_name, options.task)
        made, agreement = choose_backend(model, tokens, *asked, task=options.task, notify=listener.notify)
    encoder = SliceEncoder(model, options, Encoder(model, made, notify=listener.notify))
    return _Plan(encoder, chain(_emptied(first), rows), agreement)


def _emptied(rows: deque[Row]) -> Iterator[Row]:
    """Yield rows and let go of them one by one."""
    while rows:
        yield rows.popleft()


def _survey(source: Source, rows: Iterable[Row], request: Request) -> Survey:
    """Read all rows of a source once, and refuse what cannot be embedded before the work begins."""
    found = survey(rows, skip=request.skips, advance=request.listener.step("checking texts"))
    if not found.rows:
        raise BadInput(f"there are no texts in {source.name!r}.")
    if found.repeated and not request.skips:
        for _ in raise_unless_skipped(mark_repeated_ids(source.read(), found.repeated), skip=False):
            pass  # the first repeated id is raised
    return found


def _parts(source: Source, surveyed: Survey | None, plan: _Plan, request: Request) -> Callable[[], Iterator[Slice]]:
    """Return the function that starts reading the slices."""
    if request.engine != "local":  # read elsewhere, perhaps more than once
        return partial(read_slices, source, surveyed, request.skips)
    parts = slices(checked_rows(source, surveyed, skip=request.skips, rows=plan.rows))
    if surveyed is None:  # the first slice is read before a restart deletes anything for it
        parts = refuse_empty(parts, repr(source.name))
    return lambda: parts


def _settings(model: SentenceTransformer, name: str, options: Options, source: Source) -> dict[str, Any]:
    """Return what the output depends on and is known before a text is read.

    `on_error` is not among them: the rows that are kept are the same.
    """
    return {
        "model": name,
        "fingerprint": fingerprint_of_weights(model),
        "pooling": pooling_of(model),
        **behaviour_of(model),
        "device": model.device.type,
        "prompt": prompt_of(model, options.prompt_name),
        **options.recorded(),
        "source": source.name,
        "part_texts": PART_TEXTS,
        "part_characters": PART_CHARACTERS,
        "budget": default_budget(model),
    }
