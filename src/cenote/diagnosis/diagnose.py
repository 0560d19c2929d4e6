"""`diagnose`: every measure of collapse on a model and texts, with verdicts in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from cenote.account.ranks import plan_account
from cenote.choices import AUTO, PRECISIONS, Auto, PrecisionName
from cenote.data.rows import Text
from cenote.data.sampling import sample_texts
from cenote.data.texts import Texts
from cenote.diagnosis import summaries
from cenote.diagnosis.controls import RepeatedTexts, read_repeated, tokenise_word_pairs, word_vectors
from cenote.diagnosis.cut_lengths import read_cuts, tokenise_cuts
from cenote.diagnosis.forecast import Forecast, Stage, measure_speed
from cenote.diagnosis.given_pairs import (
    GivenPairs,
    Prompts,
    TokenisedPairs,
    check_pairs,
    check_prompts,
    compare_pairs,
    tokenise_pairs,
)
from cenote.diagnosis.given_queries import Queries, check_queries, refuse_unnamed, search_queries
from cenote.diagnosis.reading import Reading, give_memory_back, read_texts
from cenote.diagnosis.search import Search
from cenote.diagnosis.selection import TRACEABLE, select_by_length, select_for_pairs, select_for_tracing
from cenote.diagnosis.verdicts.ranking import collect_verdicts
from cenote.encoding.backends import computing_in, obstacle
from cenote.encoding.batches import NO_TOKENS, collate
from cenote.encoding.forward import forward
from cenote.encoding.passes import Passes, packages
from cenote.encoding.tokens import Tokens, tokenise
from cenote.errors import BadInput, CenoteError, UnsupportedModel, choose
from cenote.functional.bins import length_bins
from cenote.functional.temperature import check_temperature
from cenote.listener import Listener, Progress, silent
from cenote.models.declared import limit_declared_by, prompts_of
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.loading import load
from cenote.models.properties import limit_of, width_of
from cenote.models.provenance import (
    architecture_of,
    live_temperature_of,
    name_of,
    pooling_of,
    revision_of,
    temperature_of,
    versions_of,
)
from cenote.records import (
    NO_LAYERS,
    Diagnosis,
    Excluded,
    LengthCurve,
    ModelDiagnosis,
    Repeated,
    Run,
)
from cenote.surgery.tempering import temper
from cenote.wording import number_duplicates

Model = SentenceTransformer | str | Path


@dataclass(frozen=True)
class _Effort:
    """How many texts and pairs are measured."""

    documents: int  # texts of the account, at most
    traced: int  # texts of which every layer is profiled
    attended: int  # texts of each bin of length of which the attention of the last layer is profiled
    pair_seconds: float  # about how long all pairs may take on two cores, see `select_for_pairs`
    repeated_tokens: int  # the longest text of repeated words


# For a forecast: how much longer a token takes of which every layer is traced, or the attention of the last layer
# alone, and the pairs that are compared in a second.
_TRACING, _TRACING_ONE, _PAIRS_A_SECOND = 5, 2, 30_000
# All models search the same texts: one without a vector is among them.
_ALL_BUT = "all measures but"
_FULL, _QUICK = _Effort(1000, 100, 100, 100, 512), _Effort(200, 24, 0, 5, 256)


@dataclass(frozen=True)
class _Request:
    """The texts, pairs and settings that every model is diagnosed with."""

    texts: list[Text]
    pairs: GivenPairs
    queries: Queries
    prompt: str | None
    pair_prompts: Prompts
    temperatures: tuple[float, ...]
    layers: bool
    seed: int
    precision: str
    effort: _Effort
    listener: Listener
    loader: Callable[[str | Path], SentenceTransformer]


@dataclass(frozen=True, eq=False)
class _Plan:
    """A request resolved for one model: its texts tokenised, and which of them each measure looks at."""

    model: SentenceTransformer
    name: str
    request: _Request
    texts: list[Text]  # those that have tokens
    tokens: Tokens
    paired: list[int]  # texts of which all pairs are compared
    traced: list[int]  # texts of which every layer is profiled
    attended: list[int]  # texts of which only the attention of the last layer is profiled
    pairs: TokenisedPairs | None  # the user's own
    cuts: dict[int, Tokens]  # some texts cut at several lengths
    repeated: list[RepeatedTexts]  # for each pair of words
    passes: Passes | None = None  # of the model at its present temperature

    def with_passes(self, searched: int, listener: Listener) -> _Plan:
        """Return the plan with passes of the model at its present temperature; a search reads so many tokens."""
        in_vain = self.passes is not None and self.passes.graph is None
        tokens = 0 if in_vain else searched + int(self.tokens.lengths.sum())
        return replace(self, passes=Passes(self.model, self.request.precision, tokens=tokens, notify=listener.notify))


@dataclass
class _Exclusions:
    """Texts that a model cannot be measured on, collected over its runs."""

    name: str
    texts: list[Text]  # those that have tokens
    found: list[Excluded]
    reasons: dict[str, dict[int, str]] = field(default_factory=dict)  # by measure and text
    pairs: tuple[Excluded, ...] = ()  # where none of the given pairs could be compared

    def add(self, reading: Reading) -> None:
        """Note the texts that a reading excludes; raise if it excludes all."""
        layers = {row: why for row, why in reading.untraced.items() if reading.traced and row not in reading.unread}
        for measure, reasons in (
            (f"{_ALL_BUT} lengths and the search", reading.unread),
            ("second-order collapse", reading.shapeless),
            ("layers", layers),
        ):
            self.reasons[measure] = {**reasons, **self.reasons.get(measure, {})}
        self.refuse_none(reading.measured)

    def refuse_none(self, usable: Sequence[Any]) -> None:
        """Raise if no text is usable."""
        if not usable:
            reasons = "; ".join(record.in_words() for record in self.records())
            raise BadInput(f"{self.name} gives no usable vector for any of these texts. {reasons}.")

    def records(self) -> tuple[Excluded, ...]:
        """Return what is excluded, by measure and reason."""
        by_measure = (
            record
            for measure, reasons in self.reasons.items()
            for record in summaries.excluded(measure, ((self.texts[row].id, reasons[row]) for row in sorted(reasons)))
        )
        return (*self.found, *self.pairs, *by_measure)


def diagnose(
    model: Model | Sequence[Model],
    texts: Texts | None = None,
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    queries: Iterable[tuple[str, str]] | None = None,
    sample: int = 1000,
    layers: bool = True,
    temperatures: Sequence[float] = (1.0,),
    seed: int = 0,
    quick: bool = True,
    precision: PrecisionName | Auto = AUTO,
    source: str = "texts",
    names: Sequence[str] | None = None,
    prompt_name: str | None = None,
    pair_prompts: tuple[str | None, str | None] | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], object] | None = None,
    loader: Callable[[str | Path], SentenceTransformer] = load,
) -> Diagnosis:
    """Find how many sentences of texts find their text, and how many the cut and pooling lose.

    >>> import cenote
    >>> diagnosis = cenote.diagnose("minilm", ["A pool.", "A cave.", "Light and stone and water."], layers=False)
    >>> diagnosis.models[0].lengths.cut, diagnosis.models[0].runs[0].pairs.pairs
    (0, 3)

    Args:
        model: a `SentenceTransformer`, or what `cenote.load` takes; a list compares several.
        texts: a path, strings, (id, text), mappings, a frame or a table, as `cenote.data.texts.read` takes them; None
            reads the built-in corpus.
        pairs: pairs of your own to compare, such as queries with hard negatives.
        queries: queries of your own, each with the id of a text that answers it. These texts are drawn first.
        sample: texts to draw, at most. Only these are held in memory.
        layers: whether to profile every layer on some of the texts.
        temperatures: attention temperatures to diagnose at, besides the model's own.
        seed: of everything that is drawn.
        quick: whether to take a first look: the search among 200 texts and not 1,000, fewer pairs and traced texts.
        precision: float32, bfloat16, float16, or auto: that of the weights.
        source: what the report calls the texts; `texts` is replaced by the path of a file.
        names: what the report calls the models; None: as they were given.
        prompt_name: of the prompt before texts, from `model.prompts`; None takes the model's default prompt.
        pair_prompts: of the prompts before the first and the second texts of pairs; None: `prompt_name` for both.
        progress: called with a step, how much of it is done, and how much there is (0: unknown).
        notify: called with a sentence when memory ran out and batches became smaller.
        loader: loads a model that is given by name, once the texts are checked.

    Returns:
        A `Diagnosis`: plain data, the costliest verdicts first, with `to_json` and `from_json`.
    """
    choose(precision, dict.fromkeys((*PRECISIONS, AUTO)), "precision")
    given, taus, own = _name_models(model, names), _check_temperatures(temperatures), check_pairs(pairs)
    prompts = check_prompts(prompt_name, pair_prompts, own)
    _refuse_unknown_prompts(given, (prompt_name, *prompts))
    asked = check_queries(queries)
    drawn, read = sample_texts(texts, sample, seed, source, asked.ids)
    refuse_unnamed(asked, drawn, sample)
    request = _Request(
        texts=drawn,
        pairs=own,
        queries=asked,
        prompt=prompt_name,
        pair_prompts=prompts,
        temperatures=taus,
        layers=layers,
        seed=seed,
        precision=precision,
        effort=_QUICK if quick else _FULL,
        listener=Listener(progress or silent, notify or silent),
        loader=loader,
    )
    excerpts = summaries.Excerpts()
    limits = [None if isinstance(one, SentenceTransformer) else limit_declared_by(one) for one, _ in given]
    found = [
        _diagnose_one(*_load(one, called, request), declared, request, excerpts)
        for (one, called), declared in zip(_try_all(given, request), limits, strict=True)
    ]
    names = number_duplicates([one.name for one in found])
    models = tuple(replace(one, name=name) for one, name in zip(found, names, strict=True))
    return Diagnosis(
        schema=Diagnosis.SCHEMA,
        texts=read,
        verdicts=collect_verdicts(read, models, len({text.text for text in drawn})),
        models=models,
        excerpts=excerpts.kept(),
        settings={
            "sample": int(sample),  # numpy's integers are no JSON
            "layers": layers,
            "temperatures": list(taus),
            "seed": int(seed),
            "quick": quick,
            "precision": precision,
            "given_pairs": len(own.pairs),
            "given_queries": len(asked.texts),
            "prompt": prompt_name,
            "pair_prompts": list(prompts) if own.pairs else None,
        },
        versions=versions_of(*packages()),
    )


def _name_models(model: Any, names: Sequence[str] | None) -> list[tuple[Model, str | None]]:
    """Return the models, each with its name if one was given."""
    given = list(model) if isinstance(model, (list, tuple)) else [model]
    if not given:
        raise BadInput("model is an empty list: pass at least one model.")
    if names is not None and len(names) != len(given):
        raise BadInput(f"{len(names)} names for {len(given)} models: pass one for each.")
    called: Sequence[str | None] = names or [None] * len(given)
    return list(zip(given, called, strict=True))


def _check_temperatures(given: Sequence[float]) -> tuple[float, ...]:
    """Return 1, the model's own temperature, and the others, descending."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise BadInput(f"temperatures={given!r}: pass a list of numbers, such as [1.0, 0.8].")
    numbers = [check_temperature(value) for value in given]
    if other := [value for value in numbers if not isinstance(value, float)]:
        raise BadInput(f"temperatures: {other[0]!r} is not a number; diagnose takes numbers only.")
    return (1.0, *sorted({float(value) for value in numbers} - {1.0}, reverse=True))  # type: ignore[arg-type]


def _refuse_unknown_prompts(given: list[tuple[Model, str | None]], names: Iterable[str | None]) -> None:
    """Raise for a prompt that a model does not have, where its folder tells, before any text is read."""
    for one, called in given:
        known = one.prompts if isinstance(one, SentenceTransformer) else prompts_of(one)
        for name in dict.fromkeys(names):
            if name is not None and known is not None:
                choose(name, known, f"prompt of {called or one}:")


def _try_all(given: list[tuple[Model, str | None]], request: _Request) -> list[tuple[Model, str | None]]:
    """Load every model and try every temperature once, so that an error comes before an hour's work on another model.

    Several models are let go of again: they may not fit into memory together.
    """
    for one, called in given:
        model, name = _load(one, called, request)
        if request.precision != AUTO and (reason := obstacle(model, "torch", request.precision, None)):
            raise BadInput(f"{name} at {request.precision} (--precision): {reason}.")
        probe = tokenise(model, ["a"])
        for tau in request.temperatures[1:]:
            try:
                with temper(model, tau):
                    forward(model, collate(model, probe, [0]))
            except CenoteError as error:
                raise BadInput(f"{name} at temperature {tau:g} (--temperatures): {error}") from error
        if len(given) == 1:
            return [(model, name)]
        del model
    return given


def _load(given: Model, called: str | None, request: _Request) -> tuple[SentenceTransformer, str]:
    """Return a model and its name."""
    if isinstance(given, SentenceTransformer):
        return given, called or name_of(given, given)
    request.listener.step(f"loading {called or given}", 1)
    model = request.loader(given)
    return model, called or name_of(given, model)


def _diagnose_one(
    model: SentenceTransformer, name: str, declared: int | None, request: _Request, excerpts: summaries.Excerpts
) -> ModelDiagnosis:
    with computing_in(model, request.precision):
        plan, exclusions = _plan(model, name, request)
        listener = request.listener.labelled(f"{name}: ")
        listener.step("tokenising sentences", 1)
        account = plan_account(model, request.texts, request.effort.documents, request.prompt, request.seed)
        own = live_temperature_of(model)  # in words, as `f"{tau:g}"` is
        others = [tau for tau in request.temperatures if f"{tau:g}" != own]
        search = Search(model, account, request.seed, listener)
        plan = plan.with_passes(search.tokens, listener)
        speed = measure_speed(model, plan.tokens, request.seed, listener, plan.passes)
        forecast = Forecast(_stages(plan, search, len(others)), speed, listener)
        forecast.begin()
        search.read(plan.passes)
        forecast.finish_stage()
        first, compared, run = _measure(plan, excerpts, exclusions)
        forecast.finish_stage()
        given = request.queries, plan.texts, request.prompt, request.seed
        if queries := search_queries(model, *given, listener, plan.passes):
            forecast.finish_stage()
        runs, edges = [run], length_bins(first.lengths[first.measured])
        for tau in others:
            with temper(model, tau):
                plan = plan.with_passes(search.tokens_again, listener)
                second, pairs, run = _measure(plan, excerpts, exclusions, tau)
                search.read_at(tau, plan.passes)
            forecast.finish_stage()
            changed = summaries.measure_change((first, compared), (second, pairs), edges, len(others))
            runs.append(replace(run, change=changed))
        return ModelDiagnosis(
            name=name,
            architecture=architecture_of(model),
            pooling=pooling_of(model),
            temperature=temperature_of(model),
            dimensions=first.vectors.shape[1],
            fingerprint=fingerprint_of_weights(model),
            revision=revision_of(model),
            lengths=summaries.summarise_lengths(plan.tokens.full_lengths, first.lengths, limit_of(model), declared),
            words=_word_curve(plan, first),
            account=search.summarise(excerpts),
            queries=queries,
            runs=tuple(runs),
            excluded=exclusions.records(),
        )


def _stages(plan: _Plan, search: Search, others: int) -> list[Stage]:
    """Return the work: the search, all measures, the given queries, and the first two again at other temperatures."""
    lengths = plan.tokens.lengths
    read = int(lengths.sum()) + sum(int(one.lengths.sum()) for one in plan.cuts.values())
    traced = _TRACING * int(lengths[plan.traced].sum()) + _TRACING_ONE * int(lengths[plan.attended].sum())
    given = 2 * int(plan.tokens.full_lengths.sum()) if plan.request.queries.texts else 0  # whole, and in windows
    few = len(plan.paired) < len(plan.texts)  # the time was too short for all
    pairs = plan.request.effort.pair_seconds if few else len(plan.paired) ** 2 / _PAIRS_A_SECOND
    again = Stage(search.tokens_again + read + traced, pairs)
    return [Stage(search.tokens), Stage(read + traced, pairs), *[Stage(given)] * bool(given), *[again] * others]


def _plan(model: SentenceTransformer, name: str, request: _Request) -> tuple[_Plan, _Exclusions]:
    """Tokenise all texts, once for every run, and select the texts of each measure."""
    advance = request.listener.labelled(f"{name}: ").step("tokenising", len(request.texts))
    tokens = tokenise(model, [text.text for text in request.texts], request.prompt, advance=advance)
    lengths = tokens.lengths.tolist()
    kept = [row for row, length in enumerate(lengths) if length]
    texts, tokens = [request.texts[row] for row in kept], tokens.take(kept)
    without = [(text.id, NO_TOKENS) for text, length in zip(request.texts, lengths, strict=True) if not length]
    exclusions = _Exclusions(name, texts, list(summaries.excluded(f"{_ALL_BUT} the search", without)))
    exclusions.refuse_none(texts)
    pairs = tokenise_pairs(model, request.pairs, request.pair_prompts, request.seed) if request.pairs.pairs else None
    exclusions.pairs = request.pairs.excluded if pairs is None else () if pairs.pairs else pairs.excluded
    effort, seed = request.effort, request.seed
    longest = min(limit_of(model) or effort.repeated_tokens, effort.repeated_tokens)
    traced = select_for_tracing(tokens.lengths, effort.traced, seed) if request.layers else []
    plan = _Plan(
        model=model,
        name=name,
        request=request,
        texts=texts,
        tokens=tokens,
        paired=select_for_pairs(tokens.lengths, width_of(model), effort.pair_seconds, seed),
        traced=traced,
        attended=select_by_length(tokens.lengths, effort.attended, traced, seed) if request.layers else [],
        pairs=pairs if pairs is not None and pairs.pairs else None,
        cuts=tokenise_cuts(model, [text.text for text in texts], tokens.full_lengths.tolist(), request.prompt, seed),
        repeated=tokenise_word_pairs(model, request.prompt, longest),
    )
    return plan, exclusions


def _measure(
    plan: _Plan, excerpts: summaries.Excerpts, exclusions: _Exclusions, tau: float | None = None
) -> tuple[Reading, summaries.Compared | None, Run]:
    """Take all measures at one temperature; None is the model's own."""
    model, request = plan.model, plan.request
    listener = request.listener.labelled(f"{plan.name}: " if tau is None else f"{plan.name} at {tau:g}: ")
    reading = read_texts(
        model,
        plan.tokens,
        keep=plan.paired,
        traced=plan.traced,
        attended=plan.attended,
        listener=listener,
        passes=plan.passes,
    )
    step = listener.step("comparing pairs", len(plan.paired) * (len(plan.paired) - 1) // 2)
    compared = summaries.compare_all_pairs(reading, plan.paired, step.reach)
    null = summaries.summarise_null(reading, plan.paired, request.seed)
    reading.tokens.clear()  # up to 400 MB that nothing needs from here on
    give_memory_back()
    exclusions.add(reading)
    given = None
    if plan.pairs is not None:
        given, excluded = compare_pairs(model, plan.pairs, excerpts, request.seed, listener, plan.passes)
        exclusions.pairs = () if given else excluded
    listener.step("repeating words", len(plan.repeated))
    lengths = reading.lengths[reading.measured]
    run = Run(
        temperature=temperature_of(model),
        change=None,
        length=summaries.length_curve(reading.vectors[reading.measured], lengths, length_bins(lengths), request.seed),
        cut_lengths=summaries.rounded(read_cuts(model, plan.cuts, listener, plan.passes)),
        pairs=None if compared is None else summaries.summarise_all_pairs(compared, plan.texts, excerpts, request.seed),
        null=null,
        given_pairs=given,
        traced=len(reading.traced),
        untraced=_why_untraced(plan, reading),
        layers=summaries.summarise_layers(reading.layers),
        passed=summaries.summarise_sigma_a(reading),
        repeated=_read_repeated(plan),
        tried=tau,
    )
    return reading, compared, run


def _why_untraced(plan: _Plan, reading: Reading) -> str | None:
    if not plan.request.layers:
        return NO_LAYERS
    if not plan.traced:
        return f"no text has {TRACEABLE:,} tokens or fewer, and longer ones take too much memory to trace"
    return reading.why_untraced


def _read_repeated(plan: _Plan) -> tuple[Repeated, ...]:
    try:
        notify = plan.request.listener.notify
        return summaries.rounded(read_repeated(plan.model, plan.repeated, notify, plan.passes))
    except BadInput:
        return ()  # the vectors of these words have no direction


def _word_curve(plan: _Plan, reading: Reading) -> LengthCurve | None:
    """Return the control: averages of word embeddings, over the texts and bins of the model's own curve."""
    rows = reading.measured
    try:
        vectors, kept = word_vectors(plan.model, plan.tokens.take(rows))
    except UnsupportedModel:
        return None  # the model has no table of word embeddings
    averages = vectors.float().cpu().numpy()
    nonzero = averages.any(1)  # a row for padding, or one never trained, may be all zeros
    if not nonzero.any():
        return None
    lengths = reading.lengths[rows]
    return summaries.length_curve(
        averages[nonzero], lengths[kept.numpy()[nonzero]], length_bins(lengths), plan.request.seed
    )
