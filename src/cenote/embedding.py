"""`embed`: texts to vectors, fast; a corpus to a folder of Parquet parts, resumable, with nothing lost."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote import clusters
from cenote.backends import backend
from cenote.descriptions import architecture_of, name_of, pooling_of, temperature_of, versions_of
from cenote.encoding import BUDGET, Encoder
from cenote.errors import BadInput, CenoteWarning, choose
from cenote.fingerprints import of_weights
from cenote.functional.forms import Floats
from cenote.graphs import at_rest
from cenote.loading import load
from cenote.outputs import MANIFEST, Output, manifest_of, opened
from cenote.precisions import AUTO, WORTH_IT, choose_backend, own_precision
from cenote.results import Manifest
from cenote.sources import (
    PART_CHARACTERS,
    PART_TEXTS,
    Row,
    Stretch,
    Survey,
    refuse_repeated,
    rows_of,
    stretches,
    stretches_anew,
    survey,
)
from cenote.surgery.profiles import limit_of, prompt_of
from cenote.surgery.reading import width_of
from cenote.tables import part_of, scales_for
from cenote.texts import Fault, Text
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
        **options: how texts are read and what is written of them, see `cenote.vectorising.Options`.

    Returns:
        `[N, D]` for a list, an iterator of such arrays for an iterator, a `Manifest` with `output`.
    """
    if isinstance(texts, (str, bytes)):
        raise BadInput("texts is one string: pass a list of texts, or read a file with cenote.texts.read.")
    asked = (backend, precision)
    work = _Work(Options(**options), asked, notify, restart, source, name, progress, stop, engine, workers)
    _refuse_engine(work, output is not None and not isinstance(texts, Iterator))
    return _in_memory(model, texts, work) if output is None else _to_folder(model, texts, Path(output), work)


def _refuse_engine(work: _Work, able: bool) -> None:
    """Raise if texts cannot be read as asked; `able`: they go to a folder, and can be read more than once."""
    choose(work.engine, ENGINES, "engine")
    if work.engine == "local":
        if work.workers is not None:
            raise BadInput(f"workers={work.workers} is for engine='ray' (--engine ray): the local one is one worker.")
        return
    if work.workers is not None and work.workers < 1:
        raise BadInput(f"workers={work.workers}: pass a whole number, at least 1.")
    clusters.refuse_missing()
    if not able:
        raise BadInput(
            f"engine={work.engine!r} writes into a folder, and reads texts again where a machine is lost: name an "
            "output, and a file, or pass a list or a function that starts reading (no iterator, no standard input)."
        )


# Into memory.


def _in_memory(model: Any, texts: Any, work: _Work) -> Any:
    """One array of a list, or arrays one after another."""
    if work.options.long == "windows" or work.options.on_error == "skip" or work.options.dtype == "int8":
        raise BadInput("windows, skipped rows and int8 need ids and scales beside the vectors: name an output folder.")
    if hasattr(texts, "__len__") and (fault := next((row for row in rows_of(texts) if isinstance(row, Fault)), None)):
        raise BadInput(fault.why)
    loaded = model if isinstance(model, SentenceTransformer) else load(model)
    arrays = _arrays(loaded, rows_of(texts), work)
    if not hasattr(texts, "__len__"):
        return arrays
    found = list(arrays)
    width = work.options.dimensions or loaded.truncate_dim or width_of(loaded)
    return np.concatenate(found) if found else np.zeros((0, width), work.options.dtype)


def _arrays(model: SentenceTransformer, rows: Iterable[Row], work: _Work) -> Iterator[Floats]:
    vectoriser, rows = _ready(model, rows, work)
    cut = 0
    for read in ahead(stretches(rows), vectoriser, vectoriser.read):
        cut += int(read.prepared.truncated.sum())
        yield read.vectors.astype(work.options.dtype)
    if cut:
        warnings.warn(in_words(cut, limit_of(model)), CenoteWarning, stacklevel=2)


def in_words(cut: int, limit: int | None) -> str:
    """What is said where texts were cut."""
    texts = "1 text is" if cut == 1 else f"{cut:,} texts are"
    return (
        f"{texts} longer than the {limit} tokens that the model reads, and the rest was not read: long='window-mean' "
        "or 'windows' (--long) reads all of it."
    )


# Into a folder.


def _to_folder(model: Any, texts: Any, folder: Path, work: _Work) -> Manifest:
    reread = _again(texts)
    looked = None if reread is None else _looked_through(reread, work)
    loaded = model if isinstance(model, SentenceTransformer) else load(model)
    if (folder / MANIFEST).exists() and not work.restart:  # what was left open then is as it was decided then
        there = manifest_of(folder).settings
        one, two = (
            str(there.get(name)) if given == AUTO and there.get(name) else given
            for name, given in zip(("backend", "precision"), work.asked, strict=True)
        )
        work = replace(work, asked=(one, two))
    vectoriser, rows = _ready(loaded, rows_of(texts) if reread is None else reread(), work)
    settings = _settings(loaded, work.name or name_of(model, loaded), vectoriser, looked, work)
    with opened(folder, settings, _versions(vectoriser), restart=work.restart) as out:
        suspected = looked.suspected if looked else frozenset()
        parts = partial(stretches, rows, suspected)
        if reread is not None and work.engine != "local":  # which read elsewhere
            parts = partial(stretches_anew, reread, suspected)
        whole = ENGINES[work.engine](out, parts, vectoriser, looked.rows if looked else 0, work)
        return out.finish() if whole else out.manifest


def _again(texts: Any) -> Callable[[], Iterable[Row]] | None:
    """What starts reading the texts anew; None for an iterator, which is gone once it was read."""
    if callable(texts):
        return lambda: rows_of(texts())
    return None if iter(texts) is texts else lambda: rows_of(texts)


def _looked_through(reread: Callable[[], Iterable[Row]], work: _Work) -> Survey:
    skip = work.options.on_error == "skip"
    found = survey(reread(), skip=skip, progress=lambda row: work.progress("checking texts", row, 0))
    if not found.rows:
        raise BadInput(f"there are no texts in {work.source!r}.")
    if found.suspected and not skip:
        refuse_repeated(reread(), found.suspected)
    return found


def _ready(model: SentenceTransformer, rows: Iterable[Row], work: _Work) -> tuple[Vectoriser, Iterator[Row]]:
    """What reads the texts, chosen on the first of them, and the texts, those first ones among them."""
    options = replace(work.options, prompt_name=prompt_for(model, work.options.prompt_name, work.options.task))
    tokenise(model, ["a"], options.prompt_name, options.task)  # what cannot be read at all is refused before it is
    if options.long != "truncate":
        size, overlap = window_sizes(model, options.prompt_name, options.window, options.overlap)
        options = replace(options, window=size, overlap=overlap)
    if options.dimensions is not None and not 1 <= options.dimensions <= width_of(model):
        raise BadInput(f"dimensions={options.dimensions}: the model's vectors have 1 to {width_of(model)}.")
    stream = iter(rows)
    first = list(islice(stream, WORTH_IT)) if AUTO in work.asked else []
    if len(first) < WORTH_IT:
        plain = zip(work.asked, ("torch", own_precision(model)), strict=True)
        chosen = backend(model, *(default if given == AUTO else given for given, default in plain), task=options.task)
    else:
        sample = [row.text for row in first if isinstance(row, Text)]
        tokens = tokenise(model, sample, options.prompt_name, options.task)
        chosen = choose_backend(model, tokens, *work.asked, task=options.task, notify=work.notify)
    return Vectoriser(model, options, Encoder(model, chosen, notify=work.notify)), chain(first, stream)


def _settings(
    model: SentenceTransformer, name: str, vectoriser: Vectoriser, looked: Survey | None, work: _Work
) -> dict[str, Any]:
    """All that the bytes of the output depend on, and what they are called."""
    return {
        "model": name,
        "fingerprint": of_weights(model),
        "architecture": architecture_of(model),
        "pooling": pooling_of(model),
        "temperature": temperature_of(model),
        "max_seq_length": limit_of(model),
        "prompt": prompt_of(model, vectoriser.options.prompt_name),
        "backend": vectoriser.encoder.backend.name,
        "precision": vectoriser.encoder.backend.precision,
        **asdict(vectoriser.options),
        "source": work.source,
        "texts": looked.rows if looked else None,
        "texts_fingerprint": looked.fingerprint if looked else None,
        "part_texts": PART_TEXTS,
        "part_characters": PART_CHARACTERS,
        "budget": BUDGET,
    }


def _versions(vectoriser: Vectoriser) -> dict[str, str]:
    runtimes = {"openvino": "openvino", "onnx": "onnxruntime"}
    name = vectoriser.encoder.backend.name
    return versions_of("tokenizers", "pyarrow", *([runtimes[name]] if name in runtimes else []))


Again = Callable[[], Iterator[Stretch]]  # starts reading the parts


def _on_cluster(out: Output, parts: Again, vectoriser: Vectoriser, rows: int, work: _Work) -> bool:
    """The same, by many machines."""
    told: dict[str, Any] = {"progress": work.progress, "notify": work.notify, "stop": work.stop}
    return clusters.write(out, parts, vectoriser, rows, workers=work.workers, **told)


def _here(out: Output, parts: Again, vectoriser: Vectoriser, rows: int, work: _Work) -> bool:
    """Write the parts that are not there yet; whether all are there now."""
    done, seen = sum(part.texts for part in out.done.values()), set()
    work.progress("embedding", done, rows)

    def missing() -> Iterator[Stretch]:
        for part in parts():
            seen.add(part.index)
            if part.index in out.done:
                _refuse_changed(out, part)
            else:
                yield part

    def read_one(prepared: Prepared) -> Read:
        within = 0

        def tell(more: int) -> None:
            nonlocal within
            within = min(within + more, prepared.stretch.rows)  # windows are more than texts
            work.progress("embedding", done + within, rows)

        return vectoriser.read(prepared, tell)

    for read in ahead(missing(), vectoriser, read_one):
        if out.manifest.scales is None and (scales := scales_for(read, vectoriser.options)):
            out.rescale(scales)
        out.write(*part_of(read, vectoriser.options, out.manifest.scales))
        done += read.prepared.stretch.rows
        work.progress("embedding", done, rows)
        if work.stop():
            return False
    if lost := sorted(set(out.done) - seen):
        raise BadInput(f"part {lost[0]} of {str(out.folder)!r} is of texts that the input no longer has.")
    return True


def _refuse_changed(out: Output, part: Stretch) -> None:
    there = out.done[part.index]
    if (there.first, there.texts, there.fingerprint) != (part.first, part.rows, part.fingerprint):
        raise BadInput(
            f"rows {part.first} to {part.first + part.rows - 1} are not those that {str(out.folder)!r} was made of. "
            "Name another folder, or begin anew with restart (--restart), which deletes what is there."
        )


def ahead(items: Iterable[Stretch], vectoriser: Vectoriser, read: Callable[[Prepared], Read]) -> Iterator[Read]:
    """What was read, the next one prepared meanwhile.

    While the caller has its turn, nothing is under way: it may use the model, whose tokenizer is for one at a time.
    """
    source = iter(items)

    def following() -> Prepared | None:
        item = next(source, None)
        return None if item is None else vectoriser.prepare(item)

    ready = following()
    with ThreadPoolExecutor(1) as pool:
        while ready is not None:
            with at_rest(vectoriser.model):  # for both threads at once
                waiting = pool.submit(following)
                try:
                    made = read(ready)
                finally:
                    wait([waiting])
            yield made
            ready = waiting.result()


# Who writes the parts.
ENGINES: dict[str, Callable[[Output, Again, Vectoriser, int, _Work], bool]] = {"local": _here, "ray": _on_cluster}
