"""`embed`: texts to vectors, fast; a corpus to a folder of Parquet parts, resumable, with nothing lost."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.backends import backend
from cenote.descriptions import behaviour_of, name_of, pooling_of, versions_of
from cenote.encoding import Encoder, budget_for
from cenote.engines import ENGINES, ahead, refuse_unable, telling
from cenote.errors import BadInput, CenoteWarning, choose
from cenote.fingerprints import of_weights
from cenote.functional.forms import Floats
from cenote.loading import load
from cenote.outputs import opened, refuse_others, refuse_unfit
from cenote.precisions import AUTO, WORTH_IT, able, choose_backend, own_precision, spread
from cenote.results import Manifest
from cenote.sources import (
    PART_CHARACTERS,
    PART_TEXTS,
    Row,
    Stretch,
    Survey,
    checked,
    rows_of,
    sound,
    stretches,
    stretches_anew,
    survey,
    told_apart,
)
from cenote.surgery.profiles import limit_of, prompt_of
from cenote.surgery.reading import width_of
from cenote.texts import Fault, Text, started
from cenote.tokenising import prompt_for, tokenise
from cenote.vectorising import Options, Prepared, Read, Vectoriser
from cenote.windowing import window_sizes

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from cenote.vectorising import Choices

# What is being done, how much of it is, and how much there is, 0 where nobody knows.
Progress = Callable[[str, int, int], object]
Notify = Callable[[str], object]
_SILENT: Any = lambda *_: None  # noqa: E731
# What vectors depend on besides the libraries of models, whichever runtime computes them.
_PACKAGES = ("tokenizers", "pyarrow")


@dataclass(frozen=True, eq=False)
class _Work:
    """What a run was asked for."""

    options: Options
    asked: tuple[str, str]  # backend and precision
    notify: Notify
    restart: bool = False
    source: str = ""
    name: str | None = None
    progress: Progress = _SILENT
    stop: Callable[[], bool] = lambda: False
    engine: str = "local"
    workers: int | None = None
    loader: Callable[[str | Path], SentenceTransformer] = load


def embed(
    model: SentenceTransformer | str | Path,
    texts: Any,
    output: str | Path | None = None,
    *,
    backend: str = AUTO,
    precision: str = AUTO,
    engine: str = "local",
    workers: int | None = None,
    restart: bool = False,
    source: str = "texts",
    name: str | None = None,
    progress: Progress = _SILENT,
    notify: Notify = _SILENT,
    stop: Callable[[], bool] = lambda: False,
    loader: Callable[[str | Path], SentenceTransformer] = load,
    **options: Unpack[Choices],
) -> Any:
    """Texts to vectors: of a list one array, of an iterator arrays one after another, of a corpus a folder.

    >>> import cenote
    >>> cenote.embed("minilm", ["a pool", "that a collapse made"]).shape
    (2, 384)

    With `output`, vectors are written there as Parquet parts, with ids, tokens and what was cut. The same call again
    goes on where an earlier one was stopped or killed.

    Args:
        model: a `SentenceTransformer`, or what `cenote.load` takes.
        texts: strings, or (id, text); with `output` also a function that starts reading them anew, such as
            `lambda: cenote.texts.read_rows("texts.jsonl")`. Texts that can be read twice are looked through before
            the work begins; what is wrong with those of an iterator shows when they come.
        output: a folder, new or of an earlier run of the same call.
        backend: `torch`, `openvino`, `onnx`, or `auto`: the fastest that agrees with float32 on these texts.
        precision: `float32`, `bfloat16`, `float16`, or `auto`. Of few texts, `auto` is torch in float32.
        engine: `local`, or `ray`: on a Ray cluster, whose nodes all reach `output`.
        workers: how many read at once with `ray`; None: one for each accelerator, or for every 4 cores.
        restart: delete what an earlier run wrote, and begin anew.
        source: what the texts are called in the manifest.
        name: what the model is called there; None: as it was given.
        progress: called with what is being done, how much of it is done and how much there is, 0 if nobody knows.
        notify: told in words what was chosen and what happened.
        stop: asked after each part whether to leave it at that.
        loader: what loads a model that is named, once the rest was found to be sound.
        **options: how texts are read and what is written of them, see `cenote.vectorising.Options`.

    Returns:
        `[N, D]` for a list, an iterator of such arrays for an iterator, a `Manifest` with `output`.
    """
    if isinstance(texts, (str, bytes)):
        raise BadInput("texts is one string: pass a list of texts, or read a file with cenote.texts.read.")
    for option in options:
        choose(option, Options.__annotations__, "option")
    asked = (backend, precision)
    work = _Work(Options(**options), asked, notify, restart, source, name, progress, stop, engine, workers, loader)
    refuse_unable(engine, workers, again=output is not None and not isinstance(texts, Iterator))
    return _in_memory(model, texts, work) if output is None else _to_folder(model, texts, Path(output), work)


# Into memory.


def _in_memory(model: Any, texts: Any, work: _Work) -> Any:
    """One array of a list, or arrays one after another."""
    if work.options.long == "windows" or work.options.on_error == "skip" or work.options.dtype == "int8":
        raise BadInput("windows, skipped rows and int8 need ids and scales beside the vectors: name an output folder.")
    if work.restart:
        raise BadInput("restart is for an output folder: there is nothing to begin anew in memory.")
    reread, listed = _again(texts), hasattr(texts, "__len__")
    rows = rows_of(texts) if reread is None else reread()
    if listed and (fault := next((row for row in rows if isinstance(row, Fault)), None)):
        raise BadInput(fault.why)
    loaded = model if isinstance(model, SentenceTransformer) else work.loader(model)
    work = _resolved(loaded, work)
    arrays = _arrays(loaded, sound(rows_of(texts) if listed else rows, skip=False), work, len(texts) if listed else 0)
    if not listed:
        return arrays
    found = list(arrays)
    width = work.options.dimensions or loaded.truncate_dim or width_of(loaded)
    return np.concatenate(found) if found else np.zeros((0, width), work.options.dtype)


def _arrays(model: SentenceTransformer, rows: Iterable[Row], work: _Work, total: int) -> Iterator[Floats]:
    vectoriser, rows, _ = _ready(model, rows, work)
    done = cut = 0

    def read_one(prepared: Prepared) -> Read:
        return vectoriser.read(prepared, telling(prepared, done, total, work.progress))

    for read in ahead(stretches(rows), vectoriser, read_one):
        cut += int(read.prepared.truncated.sum())
        done += read.prepared.stretch.rows
        work.progress("embedding", done, total)
        yield read.vectors.astype(work.options.dtype, copy=False)
        if work.stop():
            return
    if cut:
        # Said where `embed` was called, or where the iterator that it returned is read.
        warnings.warn(in_words(cut, limit_of(model)), CenoteWarning, stacklevel=4 if total else 2)


def in_words(cut: int, limit: int | None) -> str:
    """What is said where texts were cut."""
    texts = "1 text is" if cut == 1 else f"{cut:,} texts are"
    return (
        f"{texts} longer than the {limit} tokens that the model reads, and the rest was not read: long='window-mean' "
        "or 'windows' (--long) reads all of it."
    )


# Into a folder.


def _to_folder(model: Any, texts: Any, folder: Path, work: _Work) -> Manifest:
    there = refuse_unfit(folder)
    reread = _again(texts)
    loaded = model if isinstance(model, SentenceTransformer) else work.loader(model)
    begun = None if work.restart else there
    if begun is not None:
        work = _as_begun(loaded, folder, begun, work)
    work = _resolved(loaded, work)  # what is wrong with the options is told before a corpus is read
    settings = _settings(loaded, work.name or name_of(model, loaded), work)
    if begun is not None:
        chosen = dict(zip(("backend", "precision"), work.asked, strict=True))
        refuse_others(folder, begun, settings | chosen | versions_of(*_PACKAGES))  # and so is what the folder is of
    looked = None if reread is None else _looked_through(reread, work)
    vectoriser, rows, agreement = _ready(loaded, rows_of(texts) if reread is None else reread(), work)
    settings |= _found(vectoriser, looked)
    skip, told = work.options.on_error == "skip", {"progress": work.progress, "notify": work.notify, "stop": work.stop}
    more = {} if work.workers is None else {"workers": work.workers}
    if reread is not None and not skip and work.options.on_truncate == "error":
        vectoriser.refuse_cut(stretches(reread()), lambda row: work.progress("counting tokens", row, settings["texts"]))
    parts = _parts_of(rows, reread, looked, work)
    with opened(folder, settings, _versions(vectoriser), restart=work.restart, agreement=agreement) as out:
        if not skip:
            out.refuse_rejects()
        whole = ENGINES[work.engine](out, parts, vectoriser, looked.rows if looked else 0, **told, **more)
        manifest = out.finish() if whole else out.manifest
    if manifest.counts is not None and manifest.counts.truncated:
        warnings.warn(in_words(manifest.counts.truncated, limit_of(loaded)), CenoteWarning, stacklevel=3)
    return manifest


def _parts_of(
    rows: Iterable[Row], reread: Callable[[], Iterable[Row]] | None, looked: Survey | None, work: _Work
) -> Callable[[], Iterator[Stretch]]:
    """What begins to read the parts of the texts."""
    skip = work.options.on_error == "skip"
    if reread is not None and work.engine != "local":  # which reads them elsewhere
        return partial(stretches_anew, reread, looked, skip=skip)
    parts = stretches(checked(rows, looked, skip=skip))
    if looked is None:  # then the first of them is sound, before a restart deletes anything for it
        parts = started(parts, repr(work.source))
    return lambda: parts


def _as_begun(model: SentenceTransformer, folder: Path, there: Manifest, work: _Work) -> _Work:
    """The work with what was left open as it was decided when the folder was begun."""
    one, two = (
        str(there.settings.get(name)) if given == AUTO and there.settings.get(name) else given
        for name, given in zip(("backend", "precision"), work.asked, strict=True)
    )
    if (one, two) != work.asked:
        try:
            able(model, one, two, task=work.options.task)
        except BadInput as error:
            raise BadInput(f"{str(folder)!r} was begun by what cannot run here. {error}") from error
    return replace(work, asked=(one, two))


def _again(texts: Any) -> Callable[[], Iterable[Row]] | None:
    """What starts reading the texts anew; None for an iterator, which is gone once it was read."""
    if callable(texts):
        return lambda: rows_of(texts())
    if hasattr(texts, "keys"):  # a dict, a table: what one gets of it by turns are its keys
        kind = type(texts).__name__
        raise BadInput(f"texts is a {kind}: pass a list of its texts, or of (id, text), such as list(texts.items()).")
    if not isinstance(texts, Iterable):
        raise BadInput(f"texts is {texts!r}: pass strings, or a function that starts reading them.")
    return None if iter(texts) is texts else lambda: rows_of(texts)


def _looked_through(reread: Callable[[], Iterable[Row]], work: _Work) -> Survey:
    skip = work.options.on_error == "skip"
    found = survey(reread(), skip=skip, progress=lambda row: work.progress("checking texts", row, 0))
    if not found.rows:
        raise BadInput(f"there are no texts in {work.source!r}.")
    if found.suspected and not skip:
        for _ in sound(told_apart(reread(), found.suspected), skip=False):
            pass  # the first that is repeated is raised
    return found


def _resolved(model: SentenceTransformer, work: _Work) -> _Work:
    """The work with its options as they are for this model; what it cannot do is refused."""
    if work.asked != (AUTO, AUTO):  # of all there are, torch can run
        able(model, *work.asked, task=work.options.task)
    options = replace(work.options, prompt_name=prompt_for(model, work.options.prompt_name, work.options.task))
    tokenise(model, ["a"], options.prompt_name, options.task)  # what cannot be read at all is refused before it is
    if options.long != "truncate":
        size, overlap = window_sizes(model, options.prompt_name, options.window, options.overlap)
        options = replace(options, window=size, overlap=overlap)
    if options.dimensions is not None and not 1 <= options.dimensions <= width_of(model):
        raise BadInput(f"dimensions={options.dimensions}: the model's vectors have 1 to {width_of(model)}.")
    return replace(work, options=options)


def _ready(
    model: SentenceTransformer, rows: Iterable[Row], work: _Work
) -> tuple[Vectoriser, Iterator[Row], float | None]:
    """What reads the texts, chosen on the first of them; the texts, those first ones among them; how well it agrees."""
    options, stream, agreement = work.options, iter(rows), None
    first = deque(islice(stream, WORTH_IT)) if AUTO in work.asked else deque()
    if len(first) < WORTH_IT:
        plain = zip(work.asked, ("torch", own_precision(model)), strict=True)
        chosen = backend(model, *(default if given == AUTO else given for given, default in plain), task=options.task)
    else:
        sample = spread([row.text for row in first if isinstance(row, Text)])
        tokens = tokenise(model, sample, options.prompt_name, options.task)
        chosen, agreement = choose_backend(model, tokens, *work.asked, task=options.task, notify=work.notify)
    return Vectoriser(model, options, Encoder(model, chosen, notify=work.notify)), _handed_on(first, stream), agreement


def _handed_on(first: deque[Row], rest: Iterator[Row]) -> Iterator[Row]:
    """All rows, those that were looked at first let go of one by one."""
    while first:
        yield first.popleft()
    yield from rest


def _settings(model: SentenceTransformer, name: str, work: _Work) -> dict[str, Any]:
    """What the bytes of the output depend on and is known before a text is read, and what it is called.

    What becomes of rows that cannot be read is not among them: the others are the same.
    """
    options = asdict(work.options)
    del options["on_error"]
    return {
        "model": name,
        "fingerprint": of_weights(model),
        "pooling": pooling_of(model),
        **behaviour_of(model),
        "device": model.device.type,
        "prompt": prompt_of(model, work.options.prompt_name),
        **options,
        "source": work.source,
        "part_texts": PART_TEXTS,
        "part_characters": PART_CHARACTERS,
        "budget": budget_for(model),
    }


def _found(vectoriser: Vectoriser, looked: Survey | None) -> dict[str, Any]:
    """What else they depend on: what was chosen, and the texts."""
    return {
        "backend": vectoriser.encoder.backend.name,
        "precision": vectoriser.encoder.backend.precision,
        "texts": looked.rows if looked else None,
        "texts_fingerprint": looked.fingerprint if looked else None,
    }


def _versions(vectoriser: Vectoriser) -> dict[str, str]:
    runtimes = {"openvino": "openvino", "onnx": "onnxruntime"}
    name = vectoriser.encoder.backend.name
    return versions_of(*_PACKAGES, *([runtimes[name]] if name in runtimes else []))
