"""`diagnose`: every measure of collapse on a model and texts, with verdicts in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from cenote import summaries
from cenote.declarations import prompts_of
from cenote.descriptions import (
    architecture_of,
    live_temperature_of,
    name_of,
    pooling_of,
    revision_of,
    temperature_of,
    versions_of,
)
from cenote.drawing import draw
from cenote.errors import BadInput, CenoteError, UnknownName, UnsupportedModel, choose
from cenote.fingerprints import of_weights
from cenote.functional.bins import length_bins
from cenote.functional.temperature import check_temperature
from cenote.given import GivenPairs, Prompts, check_pairs, check_prompts, compare_pairs, readable_pairs
from cenote.loading import load
from cenote.phrases import told_apart
from cenote.results import SCHEMA, Diagnosis, LeftOut, ModelDiagnosis, Repeated, Run
from cenote.surgery.controls import repeat_words, word_vectors
from cenote.surgery.profiles import limit_of
from cenote.surgery.reading import Reading, as_read, count_tokens, give_memory_back, read_texts, width_of
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


_PAIRS = "second-order collapse"
_THOROUGH, _QUICK = _Effort(100, 100, 2048), _Effort(24, 5, 256)


@dataclass(frozen=True)
class _Work:
    """What all models are diagnosed with."""

    texts: list[Text]
    pairs: GivenPairs
    prompt: str | None
    pair_prompts: Prompts
    temperatures: tuple[float, ...]
    layers: bool
    seed: int
    effort: _Effort
    progress: Progress
    loader: Callable[[str | Path], SentenceTransformer]


@dataclass
class _Lost:
    """Texts that a model makes nothing of, gathered over its runs; `texts` are those that it has tokens of."""

    name: str
    silent: list[str]
    texts: list[Text]
    pairs: tuple[LeftOut, ...] = ()  # where none of those given could be compared
    found: dict[str, dict[int, str]] = field(default_factory=dict)  # by measure and place, and why

    def without(self, reading: Reading) -> list[int]:
        """Note what is lost of a reading; the places of what is not."""
        # Where none could be traced, the run says so itself.
        layers = {row: why for row, why in reading.untraced.items() if reading.traced and row not in reading.unread}
        for measure, reasons in (("all measures", reading.unread), (_PAIRS, reading.shapeless), ("layers", layers)):
            self.found[measure] = {**reasons, **self.found.get(measure, {})}
        return self.some(_measured(reading))

    def some(self, kept: list[Any]) -> list[Any]:
        """What is kept, refused if it is nothing."""
        if not kept:
            reasons = "; ".join(part.in_words() for part in self.records())
            raise BadInput(f"{self.name} makes nothing of these texts that can be measured. {reasons}.")
        return kept

    def records(self) -> tuple[LeftOut, ...]:
        """For the diagnosis."""
        silent = summaries.left_out("all measures", ((id_, "no token") for id_ in self.silent))
        return (
            silent
            + self.pairs
            + tuple(
                record
                for measure, found in self.found.items()
                for record in summaries.left_out(measure, ((self.texts[row].id, found[row]) for row in sorted(found)))
            )
        )


def _measured(reading: Reading) -> list[int]:
    """The places of texts that have an embedding."""
    return [row for row in range(len(reading.lengths)) if row not in reading.unread]


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
    prompt_name: str | None = None,
    pair_prompts: tuple[str | None, str | None] | None = None,
    progress: Progress | None = None,
    loader: Callable[[str | Path], SentenceTransformer] = load,
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
        sample: how many texts are drawn, at most. No more are in memory, however many there are.
        layers: whether some texts are traced through every layer.
        temperatures: attention temperatures to diagnose at besides the model as it is.
        seed: of all that is drawn.
        quick: fewer pairs and fewer traced texts.
        source: what the texts are called in the report.
        names: what the models are called; None: as they were given.
        prompt_name: which prompt every model reads before texts, by its name in `model.prompts`; None is its default.
        pair_prompts: which prompts stand before the first and the second text of pairs; None is `prompt_name` for both.
        progress: called with what is being done, how much of it is done and how much there is.
        loader: what loads a model that is named, once the texts were found to be sound.

    Returns:
        A `Diagnosis`: plain data, with `verdicts` first in what they cost, `to_json` and `from_json`.
    """
    given, taus, own = _models(model, names), _temperatures(temperatures), check_pairs(pairs)
    prompts, effort = check_prompts(prompt_name, pair_prompts, own), _QUICK if quick else _THOROUGH
    _refuse_unknown_prompts(given, (prompt_name, *prompts))
    drawn, read = draw(texts, sample, seed, source)
    work = _Work(drawn, own, prompt_name, prompts, taus, layers, seed, effort, progress or (lambda *_: None), loader)
    excerpts = summaries.Excerpts()
    found = _renamed([_diagnose_one(one, name, work, excerpts) for one, name in _tried(given, work)])
    return Diagnosis(
        schema=SCHEMA,
        texts=read,
        verdicts=verdicts(read, found, len({text.text for text in drawn})),
        models=found,
        excerpts=excerpts.kept(),
        settings=_settings(work, sample, quick),
        versions=versions_of(),
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


def _settings(work: _Work, sample: int, quick: bool) -> dict[str, Any]:
    return {
        "sample": int(sample),  # numpy's are whole numbers too, and no JSON
        "layers": work.layers,
        "temperatures": list(work.temperatures),
        "seed": int(work.seed),
        "quick": quick,
        "given_pairs": len(work.pairs.pairs),
        "prompt": work.prompt,
        "pair_prompts": list(work.pair_prompts) if work.pairs.pairs else None,
    }


def _refuse_unknown_prompts(given: list[tuple[Model, str | None]], names: Iterable[str | None]) -> None:
    """Say that a model has no prompt of such a name, where its folder tells, before any text is read."""
    for one, called in given:
        known = one.prompts if isinstance(one, SentenceTransformer) else prompts_of(one)
        for name in dict.fromkeys(names):
            if name is None or known is None:
                continue
            try:
                choose(name, known, "prompt")
            except UnknownName as error:
                raise UnknownName(f"{called or one}: {error}") from None


def _tried(given: list[tuple[Model, str | None]], work: _Work) -> list[tuple[Model, str | None]]:
    """The models; that one cannot be loaded or tempered is raised, before an hour's work on another one or as it is.

    Of several each is let go of again: they may not fit into memory at once.
    """
    for one, called in given:
        model, name = _loaded(one, called, work)
        for tau in work.temperatures[1:]:
            try:
                with temper(model, tau):
                    model.encode("a")
            except CenoteError as error:
                raise BadInput(f"{name} at temperature {tau:g} (--temperatures): {error}") from error
        if len(given) == 1:
            return [(model, name)]
        del model
    return given


def _loaded(given: Model, called: str | None, work: _Work) -> tuple[SentenceTransformer, str]:
    """A model, and what it is called."""
    if isinstance(given, SentenceTransformer):
        return given, called or name_of(given, given)
    work.progress(f"loading {called or given}", 0, 1)
    model = work.loader(given)
    return model, called or name_of(given, model)


def _diagnose_one(given: Model, called: str | None, work: _Work, excerpts: summaries.Excerpts) -> ModelDiagnosis:
    model, name = _loaded(given, called, work)
    if work.pairs.pairs:
        work = replace(work, pairs=readable_pairs(model, work.pairs, work.pair_prompts, work.seed))
    words = [text.text for text in work.texts]
    tell = lambda *at: work.progress(f"{name}: counting tokens", *at)  # noqa: E731
    whole = count_tokens(model, words, prompt_name=work.prompt, progress=tell)
    silent = [text.id for text, tokens in zip(work.texts, whole, strict=True) if not tokens]
    heard = [text for text, tokens in zip(work.texts, whole, strict=True) if tokens]
    lost = _Lost(name, silent, heard, () if work.pairs.pairs else work.pairs.left_out)
    work, whole = replace(work, texts=lost.some(lost.texts)), whole[whole > 0]
    read = as_read(model, whole)
    first, compared, run = _run(model, name, read, work, excerpts, lost)
    runs, edges = [run], length_bins(first.lengths[_measured(first)])
    own = live_temperature_of(model)
    others = [tau for tau in (work.temperatures if own != "1" else work.temperatures[1:]) if f"{tau:g}" != own]
    for tau in others:
        with temper(model, tau):
            second, pairs, run = _run(model, name, read, work, excerpts, lost, tau)
        changed = summaries.change((first, compared), (second, pairs), edges, len(others))
        runs.append(replace(run, change=changed))
    return ModelDiagnosis(
        name=name,
        architecture=architecture_of(model),
        pooling=pooling_of(model),
        temperature=temperature_of(model),
        dimensions=first.vectors.shape[1],
        fingerprint=of_weights(model),
        revision=revision_of(model),
        lengths=summaries.lengths(whole, first.lengths, limit_of(model)),
        words=_word_curve(model, first, work),
        runs=tuple(runs),
        left_out=lost.records(),
    )


def _run(
    model: SentenceTransformer,
    name: str,
    read: Any,
    work: _Work,
    excerpts: summaries.Excerpts,
    lost: _Lost,
    tau: float | None = None,
) -> tuple[Reading, summaries.Compared | None, Run]:
    """All measures at one temperature; None is the model as it is. And what they are of."""
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
    compared = summaries.compare(reading, paired, tell("comparing pairs", every))
    reading.tokens.clear()  # up to 400 MB, which nothing needs from here on
    give_memory_back()
    measured = lost.without(reading)
    own = None
    if work.pairs.pairs:
        own, left_out = compare_pairs(model, work.pairs, work.pair_prompts, excerpts, work.seed, tell)
        lost.pairs = () if own else left_out
    lengths = reading.lengths[measured]
    tell("repeating two words")
    run = Run(
        temperature=temperature_of(model),
        change=None,
        length=summaries.curve(reading.vectors[measured], lengths, length_bins(lengths), work.seed),
        pairs=None if compared is None else summaries.all_pairs(compared, work.texts, excerpts, work.seed),
        given_pairs=own,
        traced=len(reading.traced),
        untraced=untraced,
        layers=summaries.layers(reading.layers),
        passed=summaries.passed(reading),
        repeated=_repeated(model, work),
    )
    return reading, compared, run


def _repeated(model: SentenceTransformer, work: _Work) -> Repeated | None:
    longest = min(limit_of(model) or work.effort.longest_probe, work.effort.longest_probe)
    try:
        return summaries.repeated(repeat_words(model, prompt_name=work.prompt, limit=longest))
    except BadInput:
        return None  # its tokenizer drops these words, or its vectors of them have no direction


def _read(
    model: SentenceTransformer, words: list[str], paired: list[int], read: Any, work: _Work, say: Progress
) -> tuple[Reading, str | None]:
    """The texts read once, some of them traced; where that fails, without, and why."""

    def plain(traced: Sequence[int] = ()) -> Reading:
        steps = _steps(say, len(traced), len(words))
        return read_texts(model, words, prompt_name=work.prompt, tokens_of=paired, traced=traced, progress=steps)

    if not work.layers:
        return plain(), "layers=False"
    traced = summaries.spread_out(read, work.effort.traced, work.seed)
    if not traced:
        why = f"no text has {summaries.TRACEABLE:,} tokens or fewer, and longer ones take too much memory to trace"
        return plain(), why
    try:
        reading = plain(traced)
    except (UnsupportedModel, BadInput) as error:
        return plain(), str(error)
    return reading, None if reading.traced else next(iter(reading.untraced.values()), None)


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


def _word_curve(model: SentenceTransformer, reading: Reading, work: _Work) -> Any:
    """The control, over the texts and bins of the model's own curve."""
    rows = _measured(reading)
    try:
        vectors, kept = word_vectors(model, [work.texts[row].text for row in rows], prompt_name=work.prompt)
    except UnsupportedModel:
        return None  # no table of word embeddings, no control
    averages = vectors.float().cpu().numpy()
    pointing = averages.any(1)  # a row of padding, or one never trained, may hold zeros alone
    if not pointing.any():
        return None
    lengths = reading.lengths[rows]
    return summaries.curve(averages[pointing], lengths[kept.numpy()[pointing]], length_bins(lengths), work.seed)


def _renamed(models: Sequence[ModelDiagnosis]) -> tuple[ModelDiagnosis, ...]:
    """The same, their names numbered where several have one."""
    names = told_apart([model.name for model in models])
    return tuple(replace(model, name=name) for model, name in zip(models, names, strict=True))
