"""`diagnose`: every measure of collapse on a model and texts, with verdicts in plain words."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote import __version__, summaries
from cenote.corpus import sample as built_in
from cenote.declarations import DEMO, find
from cenote.errors import BadInput, UnsupportedModel
from cenote.fingerprints import of_texts, of_weights
from cenote.functional.bins import length_bins
from cenote.functional.temperature import check_temperature, describe
from cenote.loading import load
from cenote.results import SCHEMA, Diagnosis, ModelDiagnosis, Run, TextsRead
from cenote.surgery.controls import repeat_words, word_vectors
from cenote.surgery.hooks import settings_on
from cenote.surgery.profiles import limit_of
from cenote.surgery.reading import Reading, count_tokens, give_memory_back, read_texts, width_of
from cenote.surgery.tempering import temper
from cenote.texts import Text
from cenote.verdicts import verdicts

Model = SentenceTransformer | str | Path
Progress = Callable[[str, int, int], object]  # what is being done, how much of it is, and how much there is


@dataclass(frozen=True)
class _Effort:
    """How much is looked at: every measure, on fewer texts where it is quick."""

    traced: int  # texts of which every layer is profiled
    pair_seconds: float  # about how long pairs may take on two cores, see `summaries.affordable`
    longest_probe: int  # tokens of repeated words


_THOROUGH, _QUICK = _Effort(100, 100, 2048), _Effort(24, 5, 256)


@dataclass(frozen=True)
class _Work:
    """What all models are diagnosed with."""

    texts: list[Text]
    pairs: list[tuple[str, str]]
    temperatures: tuple[float, ...]
    layers: bool
    seed: int
    effort: _Effort
    progress: Progress


def diagnose(
    model: Model | Sequence[Model],
    texts: Iterable[Text | str] | None = None,
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    sample: int = 1000,
    layers: bool = True,
    temperatures: Sequence[float] = (1.0,),
    seed: int = 0,
    quick: bool = False,
    source: str = "texts",
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Whether pooling and length cost this model quality on these texts.

    >>> import cenote
    >>> diagnosis = cenote.diagnose("minilm", ["A pool.", "A cave.", "Light and stone and water."], layers=False)
    >>> diagnosis.models[0].lengths.cut, diagnosis.models[0].runs[0].pairs.pairs
    (0, 3)

    Args:
        model: a `SentenceTransformer`, or what `cenote.load` takes; several to stand side by side.
        texts: strings, or (id, text) as `cenote.texts.read` gives them; None reads the built-in corpus.
        pairs: texts of your own to compare two by two, such as queries with hard negatives.
        sample: how many texts are drawn, at most.
        layers: whether some texts are traced through every layer.
        temperatures: attention temperatures to diagnose at besides the model as it is, which is at 1 unless it is
            tempered.
        seed: of all that is drawn.
        quick: fewer pairs and fewer traced texts.
        source: what the texts are called in the report.
        names: what the models are called; None: as they were given.
        progress: called with what is being done, how much of it is done and how much there is.

    Returns:
        A `Diagnosis`: plain data, with `verdicts` first in what they cost, `to_json` and `from_json`.
    """
    given = _models(model, names)
    taus = _temperatures(temperatures)
    drawn, read = _draw(texts, sample, seed, source)
    work = _Work(
        drawn, _checked(pairs), taus, layers, seed, _QUICK if quick else _THOROUGH, progress or (lambda *_: None)
    )
    excerpts = summaries.Excerpts()
    found = tuple(_diagnose_one(one, name, work, excerpts) for one, name in given)
    found = tuple(replace(one, name=name) for one, name in zip(found, _told_apart(found), strict=True))
    settings = {
        "sample": sample, "layers": layers, "temperatures": list(taus), "seed": seed, "quick": quick,
        "given_pairs": len(work.pairs),
    }  # fmt: skip
    return Diagnosis(
        schema=SCHEMA,
        texts=read,
        verdicts=verdicts(read, found, len({text.text for text in drawn})),
        models=found,
        excerpts=excerpts.kept(),
        settings=settings,
        versions=_versions(),
    )


def _models(model: Any, names: Sequence[str] | None) -> list[tuple[Model, str | None]]:
    """The models, and what each is called if that was said."""
    given = list(model) if isinstance(model, (list, tuple)) else [model]
    if not given:
        raise BadInput("no model: name at least one.")
    if names is not None and len(names) != len(given):
        raise BadInput(f"{len(names)} names for {len(given)} models: pass one for each.")
    called: Sequence[str | None] = names or [None] * len(given)
    return list(zip(given, called, strict=True))


def _temperatures(given: Sequence[float]) -> tuple[float, ...]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise BadInput(f"temperatures={given!r}: pass a list of numbers, such as [1.0, 0.8].")
    numbers = [check_temperature(value) for value in given]
    if other := [value for value in numbers if not isinstance(value, float)]:
        raise BadInput(f"temperatures: {other[0]!r} is no number; diagnose takes numbers.")
    return (1.0, *sorted({float(value) for value in numbers} - {1.0}, reverse=True))  # type: ignore[arg-type]


def _draw(texts: Iterable[Text | str] | None, sample: int, seed: int, source: str) -> tuple[list[Text], TextsRead]:
    """The texts to read, drawn evenly from all that are not empty, and what there was."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise BadInput(f"seed={seed!r}: pass a whole number, at least 0.")
    if isinstance(sample, bool) or not isinstance(sample, int) or sample < 1:
        raise BadInput(f"sample={sample!r}: pass a whole number of texts, at least 1.")
    if isinstance(texts, (str, bytes)):
        raise BadInput("texts is one string: pass a list of texts, or read a file with cenote.texts.read.")
    every = built_in() if texts is None else texts
    whole, empty = [], 0
    for row, text in enumerate(every):
        one = Text(*text) if isinstance(text, tuple) and len(text) == 2 else Text(str(row), text)
        _refuse_broken(one)
        if one.text.strip():
            whole.append(one)
        else:
            empty += 1
    if not whole:
        what = f"all {empty} texts are empty" if empty else "there are no texts"
        raise BadInput(f"{what} in {source!r}: a diagnosis needs some to read, better {100} or more.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(whole))[:sample]).tolist()
    drawn = [whole[place] for place in chosen]
    name = "the docstrings of Python's standard library" if texts is None else source
    return drawn, TextsRead(name, len(whole) + empty, len(drawn), empty, of_texts(drawn))


def _refuse_broken(text: Text) -> None:
    if not isinstance(text.text, str):
        raise BadInput(f"text {text.id} is a {type(text.text).__name__}: pass strings.")
    try:
        text.text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"text {text.id} holds half a character, a lone surrogate: {error}.") from error


def _checked(pairs: Iterable[tuple[str, str]] | None) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for row, pair in enumerate(pairs or []):
        two = isinstance(pair, (tuple, list)) and len(pair) == 2
        if not two or not all(isinstance(text, str) and text.strip() for text in pair):
            raise BadInput(f"pair {row} is {pair!r}: pass two texts that are not empty.")
        found.append((pair[0], pair[1]))
    return found


def _diagnose_one(given: Model, called: str | None, work: _Work, excerpts: summaries.Excerpts) -> ModelDiagnosis:
    model = given if isinstance(given, SentenceTransformer) else load(given)
    name = called or _name(given, model)
    words = [text.text for text in work.texts]
    whole = count_tokens(model, words, progress=lambda *at: work.progress(f"{name}: counting tokens", *at))
    read = _as_read(model, whole)
    run, first = _run(model, name, read, work, excerpts)
    runs = [run]
    own = _temperature(model)
    for tau in work.temperatures if own != "1" else work.temperatures[1:]:
        if f"{tau:g}" != own:
            with temper(model, tau):
                runs.append(_run(model, name, read, work, excerpts, tau)[0])
    network: Any = getattr(model[0], "model", None)
    config = getattr(network, "config", None)
    return ModelDiagnosis(
        name=name,
        architecture=type(network or model[0]).__name__,
        pooling=_pooling(model),
        temperature=_temperature(model),
        dimensions=first.vectors.shape[1],
        fingerprint=of_weights(model),
        revision=getattr(config, "_commit_hash", None),
        lengths=summaries.lengths(whole, first.lengths, limit_of(model)),
        words=_word_curve(model, words, first, work),
        runs=tuple(runs),
    )


def _run(
    model: SentenceTransformer,
    name: str,
    read: Any,
    work: _Work,
    excerpts: summaries.Excerpts,
    tau: float | None = None,
) -> tuple[Run, Reading]:
    """All measures at one temperature; None is the model as it is."""
    label = f"{name}: " if tau is None else f"{name} at {tau:g}: "

    def say(what: str, done: int, total: int) -> None:
        work.progress(label + what, done, total)

    def tell(what: str, total: int = 1) -> Callable[[int, int], object]:
        say(what, 0, total)  # a step is named as it begins, and not when its first part is done
        return lambda *at: say(what, *at)

    words = [text.text for text in work.texts]
    width = width_of(model)
    paired = summaries.affordable(read, width, work.effort.pair_seconds, work.seed)
    reading, untraced = _read(model, words, paired, read, work, say)
    every = len(paired) * (len(paired) - 1) // 2
    pairs = summaries.all_pairs(reading, paired, work.texts, excerpts, work.seed, tell("comparing pairs", every))
    reading.tokens.clear()  # up to 400 MB, which nothing needs from here on
    give_memory_back()
    own = None
    if work.pairs:
        both = [text for pair in work.pairs for text in pair]
        tokens = _as_read(model, count_tokens(model, both)).reshape(-1, 2)
        chosen = [work.pairs[row] for row in summaries.some_pairs(tokens, width, work.seed)]
        both = [text for pair in chosen for text in pair]
        second = read_texts(model, both, tokens_of=range(len(both)), progress=tell("reading pairs", len(both)))
        own = summaries.given_pairs(second, chosen, excerpts, work.seed, tell("comparing given pairs", len(chosen)))
    tell("repeating two words")
    longest = min(limit_of(model) or work.effort.longest_probe, work.effort.longest_probe)
    run = Run(
        temperature=_temperature(model) if tau is None else f"{tau:g}",
        length=summaries.curve(reading.vectors, reading.lengths, length_bins(reading.lengths), work.seed),
        pairs=pairs,
        given_pairs=own,
        traced=len(reading.traced),
        untraced=untraced,
        layers=summaries.layers(reading.layers),
        passed=summaries.passed(reading),
        repeated=summaries.repeated(repeat_words(model, limit=longest)),
    )
    return run, reading


def _as_read(model: SentenceTransformer, whole: Any) -> Any:
    """Tokens of texts as the model reads them, from those of the whole texts."""
    limit = limit_of(model)
    return whole if limit is None else np.minimum(whole, limit)


def _read(
    model: SentenceTransformer, words: list[str], paired: list[int], read: Any, work: _Work, say: Progress
) -> tuple[Reading, str | None]:
    """The texts read once, some of them traced; where that fails, without, and why."""

    def plain() -> Reading:
        return read_texts(model, words, tokens_of=paired, progress=_steps(say, 0, len(words)))

    if not work.layers:
        return plain(), "layers=False"
    traced = summaries.spread_out(read, work.effort.traced, work.seed)
    if not traced:
        why = f"no text has {summaries.TRACEABLE:,} tokens or fewer, and longer ones take too much memory to trace"
        return plain(), why
    try:
        steps = _steps(say, len(traced), len(words))
        return read_texts(model, words, tokens_of=paired, traced=traced, progress=steps), None
    except (UnsupportedModel, BadInput) as error:
        return plain(), str(error)


def _steps(say: Progress, traced: int, texts: int) -> Callable[[int, int], object]:
    """Progress of reading, as two steps: the texts that are traced come first, and take longer each."""
    rest = texts - traced

    def step(done: int, _: int) -> None:
        if done < traced or not rest:
            say("tracing layers", done, traced)
        else:
            say("reading texts", done - traced, rest)

    step(0, texts)
    return step


def _word_curve(model: SentenceTransformer, words: list[str], reading: Reading, work: _Work) -> Any:
    """The control, over the bins of the model's own curve."""
    try:
        vectors, kept = word_vectors(model, words)
    except UnsupportedModel:
        return None  # no table of word embeddings, no control
    lengths = reading.lengths[kept.numpy()]
    if not len(lengths):
        return None
    return summaries.curve(vectors.float().cpu().numpy(), lengths, length_bins(reading.lengths), work.seed)


def _told_apart(models: Sequence[ModelDiagnosis]) -> list[str]:
    """Their names, numbered where several have one."""
    names = [model.name for model in models]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def _name(given: Model, model: SentenceTransformer) -> str:
    if not isinstance(given, SentenceTransformer):
        return str(given)
    config = getattr(getattr(model[0], "model", None), "config", None)
    where = getattr(config, "name_or_path", "") or type(model).__name__
    if where == find(DEMO)[0]:
        return DEMO
    return Path(where).name if Path(where).is_dir() else where


def _pooling(model: SentenceTransformer) -> str:
    modes: Any = next((module.pooling_mode for module in model if hasattr(module, "pooling_mode")), None)
    return "its own" if modes is None else modes if isinstance(modes, str) else "+".join(modes)


def _temperature(model: SentenceTransformer) -> str:
    return next((describe(setting.temperature) for setting in settings_on(model)), "1")


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "sentence-transformers", "numpy")
    return {"cenote": __version__, "python": platform.python_version(), **{name: version(name) for name in names}}
