"""`parity`: a local model against a served one or another local one: same vectors? And if not, the likely cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.auditing.causes import Cause, find_cause
from cenote.auditing.endpoint import Endpoint, connect
from cenote.auditing.endpoint_addresses import is_address, is_local, shown
from cenote.auditing.endpoint_requests import check_timeout
from cenote.auditing.parity_findings import (
    Sides,
    explain_answers,
    explain_few,
    explain_norms,
    explain_order,
    explain_rounding,
    explain_ways,
    explain_width,
    summarise_way,
)
from cenote.auditing.parity_measures import (
    FEWEST_FOR_NEIGHBOURS,
    norm_ratios,
    norms_of,
    overlap_of_neighbours,
    parts_by_length,
)
from cenote.auditing.parity_sides import (
    ALONE,
    ALONE_AGAIN,
    Answers,
    LocalSource,
    ServedSource,
    Source,
    ask,
    ask_in_ways,
    plan_alone_again,
    plan_ways,
    split,
)
from cenote.data.builtin import BUILTIN, read_builtin
from cenote.data.rows import Text
from cenote.data.sampling import sample_texts
from cenote.data.texts import Texts
from cenote.errors import BadInput, CenoteError, check_at_least
from cenote.functional.agreement import cosine_of
from cenote.listener import Listener, Progress, silent
from cenote.models.loading import load
from cenote.models.properties import limit_of, prompt_of
from cenote.models.provenance import name_of, pooling_of, temperature_of, versions_of
from cenote.parity_records import FLOAT32, LEAST, Finding, Parity, Refused, Side, Way, Worst
from cenote.records import TextsRead
from cenote.wording import pluralise

# Texts that are compared, and of these the ones that are asked for again in other ways; fewer for a quick look.
SAMPLE, ASKED_AGAIN = 200, 64
QUICK_SAMPLE, QUICK_ASKED_AGAIN = 60, 24
# Texts that differ, and texts that agree, which settings are tried on.
_TRIED_DIFFERENT, _TRIED_EQUAL = 24, 8
# Of the built-in texts, the longest are a tenth of the sample, so that a cut is seen.
_LONGEST = 10
# The worst texts that are shown, and their characters.
_WORST, _CHARACTERS = 10, 400
_NONE_NEARER = " None comes much nearer than its own settings."
# Texts whose answers changed that are asked for alone again.
_DOUBTFUL = 16
# Refused texts that a record names.
_REFUSED = 50


@dataclass(frozen=True)
class _Request:
    """How two sides are compared."""

    least: float
    batch_size: int
    concurrency: int
    sample: int
    asked_again: int
    ignore_norms: bool
    prompt_name: str | None
    seed: int
    listener: Listener

    def __post_init__(self) -> None:
        if isinstance(self.least, bool) or not isinstance(self.least, (int, float)) or not 0 < self.least < 1:
            raise BadInput(f"least={self.least!r}: pass a cosine between 0 and 1, such as {LEAST}.")
        for name, fewest in (("batch_size", 1), ("concurrency", 1), ("sample", 1), ("seed", 0)):
            check_at_least(fewest, getattr(self, name), name)


def parity(
    left: SentenceTransformer | str | Path,
    right: SentenceTransformer | str | Path | Endpoint,
    texts: Texts | None = None,
    *,
    served_model: str | None = None,
    key_variable: str | None = None,
    prompt_name: str | None = None,
    least: float = LEAST,
    ignore_norms: bool = False,
    batch_size: int = 32,
    concurrency: int = 8,
    sample: int | None = None,
    quick: bool = False,
    timeout: float = 60.0,
    seed: int = 0,
    source: str = "texts",
    progress: Progress | None = None,
    notify: Callable[[str], object] | None = None,
    loader: Callable[[Any], SentenceTransformer] = load,
) -> Parity:
    """Compare the vectors of a local model with those of a server, or of another local model.

    Args:
        left: the local model, a `SentenceTransformer` or what `cenote.load` takes.
        right: the address of a server that speaks OpenAI's `/v1/embeddings` or TEI's `/embed`, or another local model.
        texts: a path, strings, (id, text), mappings, a frame or a table, as `cenote.data.texts.read` takes them; None
            takes a sample of the built-in corpus. They are sent to the server.
        served_model: the model to ask the server for, where it has several.
        key_variable: environment variable that holds the server's key.
        prompt_name: of the local model's prompt before every text; None takes the model's default prompt.
        least: the least cosine that counts as agreement.
        ignore_norms: whether vectors may have another norm, as where only cosines are used.
        batch_size: texts of a request.
        concurrency: requests that are sent at once, to see whether the server's vectors change.
        sample: texts that are compared at most; None: 200, or 60 with `quick`.
        quick: whether to compare fewer texts.
        timeout: seconds to wait for an answer of the server.
        seed: of the sample.
        source: what the record calls the texts; `texts` is replaced by the path of a file.
        progress: called with a step, how much of it is done, and how much there is (0: unknown).
        notify: called with a sentence on what happens.
        loader: loads a model that is given by name, once the server has answered.

    Returns:
        A `Parity`: plain data, with `to_json`, `from_json` and `save`.
    """
    listener = Listener(progress or silent, notify or silent)
    check_timeout(timeout)
    request = _Request(
        least=least,
        batch_size=batch_size,
        concurrency=concurrency,
        sample=(QUICK_SAMPLE if quick else SAMPLE) if sample is None else sample,
        asked_again=QUICK_ASKED_AGAIN if quick else ASKED_AGAIN,
        ignore_norms=ignore_norms,
        prompt_name=prompt_name,
        seed=seed,
        listener=listener,
    )
    if isinstance(left, str) and is_address(left):
        raise BadInput(f"{shown(left)!r} is the address of a server: name the local model first, then the server.")
    if isinstance(right, str) and is_address(right):
        right = connect(
            right, served_model=served_model, key_variable=key_variable, timeout=timeout, notify=listener.notify
        )
    elif not isinstance(right, Endpoint) and (served_model, key_variable) != (None, None):
        raise BadInput("served_model and key_variable are for a server: the right side is a local model.")
    chosen, read = _choose_texts(texts, request, source)
    if isinstance(right, Endpoint) and not is_local(right.url):
        listener.notify(f"{pluralise(len(chosen), 'text')} will be sent to {right.name}, which is not on this machine")
    mine = left if isinstance(left, SentenceTransformer) else loader(left)
    prompt_of(mine, prompt_name)  # an unknown name raises before texts are sent
    other = right if isinstance(right, (SentenceTransformer, Endpoint)) else loader(right)
    names = (name_of(left, mine), "" if isinstance(other, Endpoint) else name_of(right, other))
    return _compare(names, mine, other, chosen, read, request)


def _choose_texts(texts: Texts | None, request: _Request, source: str) -> tuple[list[Text], TextsRead]:
    """Return the texts to compare; of the built-in ones, the longest are among them."""
    if texts is not None:
        return sample_texts(texts, request.sample, request.seed, source)
    every = list(read_builtin())
    longest = sorted(every, key=lambda one: -len(one.text))[: max(1, request.sample // _LONGEST)]
    return sample_texts(every, request.sample, request.seed, BUILTIN, keep=[one.id for one in longest])


def _compare(
    names: tuple[str, str],
    mine: SentenceTransformer,
    other: SentenceTransformer | Endpoint,
    chosen: list[Text],
    read: TextsRead,
    request: _Request,
) -> Parity:
    texts, listener = [one.text for one in chosen], request.listener
    left, tokens = LocalSource(mine, request.prompt_name).read(
        texts, listener.step("reading with the local model", len(texts))
    )
    source: Source
    if isinstance(other, Endpoint):
        source = ServedSource(other)
        step = listener.step("asking the server", len(texts))
        right = ask(source, texts, split(range(len(texts)), request.batch_size), step)
    else:
        source = LocalSource(other, request.prompt_name)
        right, _ = source.read(texts, listener.step("reading with the other model", len(texts)))
    _refuse_nothing(left, right)
    lengths = tuple(int(one) for one in tokens.full_lengths)
    sides = Sides(texts, lengths, left, right, request.least, served=isinstance(other, Endpoint))
    ways = _ask_again(source, sides, request)
    findings, cause = _explain(sides, mine, ways, request)
    agrees = not findings and (sides.values is not None and float(sides.values.min()) >= request.least)
    refused = [
        Refused(chosen[place].id, side, reason)
        for side, answers in (("left", left), ("right", right))
        for place, reason in sorted(answers.refused.items())
    ]
    complete = not right.stopped and not any(way.stopped for way in ways)
    values = sides.values
    return Parity(
        schema=Parity.SCHEMA,
        agrees=agrees,
        least_cosine=None if values is None else float(values.min()),
        mean_cosine=None if values is None else float(values.mean()),
        cause="; ".join(one.finding for one in findings) or None,
        threshold=request.least,
        threshold_reason=_reason(request.least),
        compared=len(sides.both),
        close=None if values is None else float((values >= LEAST).mean()),
        neighbours=overlap_of_neighbours(sides.lefts, sides.rights),
        norm_ratio=_ratio(sides),
        complete=complete,
        left=_local_side(names[0], mine, left, request),
        right=_served_side(other, right)
        if isinstance(other, Endpoint)
        else _local_side(names[1], other, right, request),
        findings=findings,
        by_length=() if values is None else parts_by_length(values, sides.lengths_of(sides.both), request.least),
        worst=_worst(sides, chosen),
        ways=ways,
        trials=cause.trials,
        refused=tuple(refused[:_REFUSED]),
        notes=_notes(sides, refused, mine, findings, cause, agrees=agrees),
        texts=read,
        settings={
            "prompt_name": request.prompt_name,
            "batch_size": request.batch_size,
            "concurrency": request.concurrency,
            "sample": request.sample,
            "seed": request.seed,
            "ignore_norms": request.ignore_norms,
        },
        versions=versions_of(),
    )


def _refuse_nothing(left: Answers, right: Answers) -> None:
    """Raise if no text has a vector on both sides."""
    if left.vectors.keys() & right.vectors.keys():
        return
    who, side = ("the local model", left) if not left.vectors else ("the right side", right)
    why = side.stopped or next(iter(side.refused.values()), "it answered other texts than the local model")
    raise CenoteError(f"no text was compared: {who} gives no vectors ({why.removesuffix('.')}).")


def _ask_again(source: Source, sides: Sides, request: _Request) -> tuple[Way, ...]:
    """Return how the right side answers the same texts in other ways; those that differ are among them."""
    if sides.right.stopped:
        return ()
    order = sides.by_agreement()
    half = request.asked_again // 2
    rest = order[half:]
    step = max(1, len(rest) // max(1, request.asked_again - half))
    places = sorted({*order[:half], *rest[::step][: request.asked_again - half]})
    first = split(range(len(sides.texts)), request.batch_size)
    plans = plan_ways(places, first, sides.lengths, request.batch_size, request.concurrency, source.concurrent)
    found = ask_in_ways(source, sides.texts, plans, request.listener)
    sides.alone |= found[ALONE].vectors if ALONE in found else {}
    ways = [summarise_way(name, answers, sides) for name, answers in found.items()]
    return (*ways, *_ask_alone_again(source, sides, found, request)) if source.concurrent else tuple(ways)


def _ask_alone_again(source: Source, sides: Sides, found: dict[str, Answers], request: _Request) -> tuple[Way, ...]:
    """Return whether answers that changed with texts alone also change by themselves: then no batch is to blame."""
    alone = found.get(ALONE)
    if alone is None or any(answers.stopped for answers in found.values()):
        return ()
    both = sorted(alone.vectors.keys() & sides.right.vectors.keys())
    doubtful = [place for place in both if cosine_of(alone.vectors[place], sides.right.vectors[place]) < sides.steady]
    if not doubtful:
        return ()
    plan = plan_alone_again(doubtful[:_DOUBTFUL])
    again = ask_in_ways(source, sides.texts, {ALONE_AGAIN: plan}, request.listener)[ALONE_AGAIN]
    return (summarise_way(ALONE_AGAIN, again, sides, alone),)


def _explain(
    sides: Sides, model: SentenceTransformer, ways: Sequence[Way], request: _Request
) -> tuple[tuple[Finding, ...], Cause]:
    """Return the findings, the gravest first, and the settings that were tried."""
    cause = Cause(None, (), 0)
    ordered, unsteady = explain_order(sides), explain_ways(ways, served=sides.served)
    random = any(one.kind == "repeat" for one in unsteady)
    rounding = explain_rounding(sides)
    differences: list[Finding] = [*rounding]
    if sides.differ and not (ordered or random or rounding or sides.is_explained_alone()):
        tried = sides.for_trials(_TRIED_DIFFERENT, _TRIED_EQUAL)
        step = request.listener.step("trying other settings of the local model")
        cause = find_cause(model, tried, request.prompt_name, step)
        if cause.finding:
            differences = [cause.finding]
            if "precision" in cause.finding.kind and not any(way.misplaced for way in ways):
                unsteady = []  # what rounds coarsely also rounds other batches in other ways
        else:
            differences = [*explain_few(sides), *explain_width(sides)]
    # Where the first answers are mixed up, so are the others.
    findings = [*explain_answers(sides, ways), *(ordered or unsteady), *differences]
    if not request.ignore_norms and not random:
        findings += explain_norms(sides)
    return tuple(findings), cause


def _reason(least: float) -> str:
    if least == LEAST:
        return (
            "half precision stays above it, and most wrong settings fall below it; two computations at float32 reach "
            f"{FLOAT32}"
        )
    return "given by --least (least=)"


def _ratio(sides: Sides) -> tuple[float, float, float] | None:
    if sides.values is None:
        return None
    ratios = norm_ratios(sides.lefts, sides.rights)
    return float(ratios.min()), float(np.median(ratios)), float(ratios.max())


def _local_side(name: str, model: SentenceTransformer, answers: Answers, request: _Request) -> Side:
    limit, prompt = limit_of(model), prompt_of(model, request.prompt_name)
    vectors = list(answers.vectors.values())
    return Side(
        name=name,
        kind="local",
        model=f"pooling {pooling_of(model)}, temperature {temperature_of(model)}",
        dimensions=len(vectors[0]),
        norms=norms_of(np.stack(vectors)),
        declared={"limit": "none" if limit is None else f"{limit} tokens", "prompt": prompt or "none"},
    )


def _served_side(endpoint: Endpoint, answers: Answers) -> Side:
    vectors = list(answers.vectors.values())
    return Side(
        name=endpoint.name,
        kind=endpoint.dialect,
        model=endpoint.model,
        dimensions=len(vectors[0]),
        norms=norms_of(np.stack(vectors)),
        declared=endpoint.stated,
    )


def _worst(sides: Sides, chosen: Sequence[Text]) -> tuple[Worst, ...]:
    """Return the texts with the lowest cosines, also where all agree."""
    if sides.values is None:
        return ()
    ratios = norm_ratios(sides.lefts, sides.rights)
    return tuple(
        Worst(
            id=chosen[sides.both[row]].id,
            text=chosen[sides.both[row]].text[:_CHARACTERS],
            tokens=sides.lengths[sides.both[row]],
            cosine=float(sides.values[row]),
            norm_ratio=float(ratios[row]),
        )
        for row in np.argsort(sides.values, kind="stable")[:_WORST]
    )


def _notes(
    sides: Sides,
    refused: Sequence[Refused],
    model: SentenceTransformer,
    findings: Sequence[Finding],
    cause: Cause,
    *,
    agrees: bool,
) -> tuple[str, ...]:
    """Return what limits the comparison."""
    notes = []
    if not agrees and not findings:
        best = cause.nearest
        nearest = f" The nearest is {best.setting}, at {best.mean:.4f} on average." if best else _NONE_NEARER
        notes.append(
            f"None of {pluralise(cause.tried, 'setting')} explains the difference: the other side may have other "
            f"weights, another model or a quantised copy.{nearest}"
        )
    if agrees and sides.values is not None and sides.values.min() < LEAST:
        low, _, high = _ratio(sides) or (1.0, 1.0, 1.0)
        notes.append(
            f"The vectors agree at the threshold that was given, and not at the usual {LEAST:g}: rounding alone does "
            f"not explain it. Norms, right over left, are {low:.4f} to {high:.4f}."
        )
    if len(sides.both) < FEWEST_FOR_NEIGHBOURS:
        notes.append(
            f"{pluralise(len(sides.both), 'text')} were compared: the nearest texts are compared from "
            f"{FEWEST_FOR_NEIGHBOURS} on."
        )
    limit = limit_of(model)
    if limit is not None and max(sides.lengths_of(sides.both)) <= limit:
        longest = max(sides.lengths_of(sides.both))
        notes.append(
            f"No text is longer than the {limit:,} tokens that the local model reads (the longest has {longest:,}): "
            "whether both sides cut texts at the same place was not seen."
        )
    mine = sum(one.side == "left" for one in refused)
    if mine:
        notes.append(f"{pluralise(mine, 'text')} could not be read by the local model.")
    if len(refused) > _REFUSED:
        notes.append(f"{len(refused) - _REFUSED:,} more texts have no vector on one side.")
    return tuple(notes)
