"""`embed`: texts to vectors, fast; a corpus to a folder of Parquet parts, resumable, with nothing lost."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator
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
from cenote.embedding.folder import opened, refuse_other_settings
from cenote.embedding.manifest import refuse_unfit
from cenote.embedding.options import Request, takes_request
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
from cenote.errors import BadInput, CenoteWarning
from cenote.functional.quantisation import Floats
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
            `lambda: cenote.data.texts.read_rows("texts.jsonl")`. Texts that can be read twice are checked before the
            work begins; those of an iterator are checked as they come.
        OPTIONS

    Returns:
        `[N, D]` for a list, an iterator of such arrays for an iterator, a `Manifest` with `output`.
    """
    request = Request(output, **options)
    source = Source.of(texts, request.source)
    refuse_engine(request.engine, rereadable=output is not None and source.rereadable)
    if output is None:
        return _to_memory(model, source, request)
    return _to_folder(model, source, Path(output), request)


@dataclass(frozen=True, eq=False)
class _Plan:
    """A request resolved for one model and these texts: nothing is left open."""

    request: Request  # with the prompt, the windows and the backend that were chosen
    encoder: SliceEncoder
    rows: Iterator[Row]
    agreement: float | None  # least cosine with float32, where the backend was chosen by it


def _to_memory(model: Any, source: Source, request: Request) -> Any:
    """Return one array for a list, or an iterator of arrays."""
    if source.count is not None and (fault := next((row for row in source.read() if isinstance(row, Fault)), None)):
        raise BadInput(fault.why)
    loaded = _load(model, request)
    request = _resolve(loaded, request)
    arrays = _arrays(_choose(loaded, raise_unless_skipped(source.read(), skip=False), request), source.count or 0)
    if source.count is None:
        return arrays
    found = list(arrays)
    width = request.dimensions or loaded.truncate_dim or width_of(loaded)
    return np.concatenate(found) if found else np.zeros((0, width), request.dtype)


def _arrays(plan: _Plan, total: int) -> Iterator[Floats]:
    request, encoder = plan.request, plan.encoder
    step = request.listener.step("embedding", total)
    done = truncated = 0

    def read(prepared: Prepared) -> Embedded:
        return encoder.read(prepared, text_progress(prepared, done, step.reach))

    for embedded in read_ahead(slices(plan.rows), encoder, read):
        truncated += embedded.truncated
        done += embedded.slice.rows
        step.reach(done)
        yield embedded.rows.vector.astype(request.dtype, copy=False)
        if request.stop():
            return
    if truncated:
        # At the line that calls `embed`, or that reads the iterator.
        _warn_of_truncation(truncated, encoder.model, stacklevel=5 if total else 3)


def _warn_of_truncation(count: int, model: SentenceTransformer, stacklevel: int) -> None:
    texts = "1 text is" if count == 1 else f"{count:,} texts are"
    warnings.warn(
        f"{texts} longer than the {limit_of(model)} tokens that the model reads, and the rest was not read: "
        "long='window-mean' or 'windows' (--long) reads all of it.",
        CenoteWarning,
        stacklevel,
    )


def _to_folder(model: Any, source: Source, folder: Path, request: Request) -> Manifest:
    """Write the parts that the folder lacks; return its manifest."""
    there = refuse_unfit(folder)
    earlier = None if request.restart else there
    surveyed = None
    if source.rereadable and not isinstance(model, SentenceTransformer) and not request.refuses_truncated:
        surveyed = _survey(None, source, request)  # errors in texts are raised before a model is loaded
    loaded = _load(model, request)
    if earlier is not None:
        request = _as_earlier(loaded, folder, earlier, request)
    request = _resolve(loaded, request)  # a loaded model's options are checked before its corpus is read
    settings = _settings(loaded, request.name or name_of(model, loaded), request)
    if earlier is not None:  # and so are the settings of the folder
        chosen = {"backend": request.backend, "precision": request.precision}
        refuse_other_settings(folder, earlier, settings | chosen | versions_of(*_PACKAGES))
    if source.rereadable and surveyed is None:
        surveyed = _survey(loaded, source, request)
    plan = _choose(loaded, source.read(), request)
    request, encoder = plan.request, plan.encoder
    settings |= {
        "backend": request.backend,
        "precision": request.precision,
        "texts": surveyed.rows if surveyed else None,
        "texts_fingerprint": surveyed.fingerprint if surveyed else None,
    }
    versions = versions_of(*_PACKAGES, *(_RUNTIMES[name] for name in _RUNTIMES if name == request.backend))
    parts = _parts(source, surveyed, plan)
    workers = {} if request.workers is None else {"workers": request.workers}
    with opened(folder, settings, versions, restart=request.restart, agreement=plan.agreement) as out:
        if not request.skips:
            out.refuse_rejects()
        rows = surveyed.rows if surveyed else 0
        complete = ENGINES[request.engine](out, parts, encoder, rows, listener=request.listener, **workers)
        manifest = out.finish() if complete else out.manifest
    if manifest.counts is not None and manifest.counts.truncated:
        _warn_of_truncation(manifest.counts.truncated, loaded, stacklevel=4)
    return manifest


def _load(model: Any, request: Request) -> SentenceTransformer:
    if isinstance(model, SentenceTransformer):
        return model
    loaded: SentenceTransformer = (request.loader or load)(model)
    return loaded


def _as_earlier(model: SentenceTransformer, folder: Path, earlier: Manifest, request: Request) -> Request:
    """Return the request with the backend and precision that an earlier run chose, where they were left open."""
    name, precision = (
        str(earlier.settings.get(key, AUTO)) if asked == AUTO else asked
        for key, asked in (("backend", request.backend), ("precision", request.precision))
    )
    if (name, precision) == (request.backend, request.precision):
        return request
    try:
        usable_backends(model, name, precision, task=request.task)
    except BadInput as error:
        raise BadInput(f"{str(folder)!r} was started with a backend that is not available here. {error}") from error
    return replace(request, backend=name, precision=precision)


def _resolve(model: SentenceTransformer, request: Request) -> Request:
    """Return the request with its prompt and windows for this model; refuse what the model cannot do."""
    if (request.backend, request.precision) != (AUTO, AUTO):  # torch runs every model
        usable_backends(model, request.backend, request.precision, task=request.task)
    request = replace(request, prompt_name=prompt_name_for(model, request.prompt_name, request.task))
    tokenise(model, ["a"], request.prompt_name, request.task)  # a model without tokens is refused here
    if request.long != "truncate":
        size, overlap = window_sizes(model, request.prompt_name, request.window, request.overlap)
        request = replace(request, window=size, overlap=overlap)
    if request.dimensions is not None and not 1 <= request.dimensions <= width_of(model):
        raise BadInput(f"dimensions={request.dimensions}: the model's vectors have 1 to {width_of(model)}.")
    return request


def _choose(model: SentenceTransformer, rows: Iterator[Row], request: Request) -> _Plan:
    """Return the plan, its backend chosen on the first of the rows."""
    agreement = None
    asked = {"backend": request.backend, "precision": request.precision}
    first = deque(islice(rows, WORTH_CHOOSING)) if AUTO in asked.values() else deque()
    if len(first) < WORTH_CHOOSING:
        plain = {"backend": "torch", "precision": own_precision(model)}
        name, precision = (plain[key] if value == AUTO else value for key, value in asked.items())
        made = backend(model, name, precision, task=request.task)
    else:
        sample = sample_lengths([row.text for row in first if isinstance(row, Text)])
        tokens = tokenise(model, sample, request.prompt_name, request.task)
        made, agreement = choose_backend(model, tokens, *asked.values(), task=request.task, notify=request.notify)
    request = replace(request, backend=made.name, precision=made.precision)
    encoder = SliceEncoder(model, request.options, Encoder(model, made, notify=request.notify))
    return _Plan(request, encoder, chain(_emptied(first), rows), agreement)


def _emptied(rows: deque[Row]) -> Iterator[Row]:
    """Yield rows and let go of them one by one."""
    while rows:
        yield rows.popleft()


def _survey(model: SentenceTransformer | None, source: Source, request: Request) -> Survey:
    """Read all texts once, and refuse what cannot be embedded before the work begins."""
    rows: Iterable[Row] = source.read()
    if model is not None and request.refuses_truncated:
        rows = refuse_truncated(model, request, rows)
    found = survey(rows, skip=request.skips, advance=request.listener.step("checking texts"))
    if not found.rows:
        raise BadInput(f"there are no texts in {source.name!r}.")
    if found.repeated and not request.skips:
        for _ in raise_unless_skipped(mark_repeated_ids(source.read(), found.repeated), skip=False):
            pass  # the first repeated id is raised
    return found


def _parts(source: Source, surveyed: Survey | None, plan: _Plan) -> Any:
    """Return the function that starts reading the slices."""
    skip = plan.request.skips
    if plan.request.engine != "local":  # read elsewhere, perhaps more than once
        return partial(read_slices, source, surveyed, skip)
    parts = slices(checked_rows(source, surveyed, skip=skip, rows=plan.rows))
    if surveyed is None:  # the first slice is read before a restart deletes anything for it
        parts = refuse_empty(parts, repr(source.name))
    return lambda: parts


def _settings(model: SentenceTransformer, name: str, request: Request) -> dict[str, Any]:
    """Return what the output depends on and is known before a text is read.

    `on_error` is not among them: the rows that are kept are the same.
    """
    return {
        "model": name,
        "fingerprint": fingerprint_of_weights(model),
        "pooling": pooling_of(model),
        **behaviour_of(model),
        "device": model.device.type,
        "prompt": prompt_of(model, request.prompt_name),
        **request.recorded(),
        "source": request.source,
        "part_texts": PART_TEXTS,
        "part_characters": PART_CHARACTERS,
        "budget": default_budget(model),
    }
