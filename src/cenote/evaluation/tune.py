"""`tune`: the attention temperature that helps on held-out data, or the answer that none does.

A temperature is chosen on one half of the items and tried once on the other. What is reported as its gain is from the
second half alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.choices import AUTO, PRECISIONS, Auto, KindName, PrecisionName
from cenote.data.labelled import Retrieval
from cenote.data.labelled_halves import halve, sizes_of_sources
from cenote.data.labelled_schemas import Asked
from cenote.encoding.passes import SharedPasses, can_have_a_graph, packages
from cenote.errors import BadInput, CenoteError, CenoteWarning, UnsupportedModel, check_at_least, choose
from cenote.evaluation.candidates import (
    UNCHANGED,
    Candidate,
    CandidateScores,
    KeptScore,
    KeptScores,
    Readers,
    check_constants,
)
from cenote.evaluation.cells import SIGNIFICANT
from cenote.evaluation.choosing import (
    PAPER_GAIN,
    Half,
    Search,
    choose_best,
    list_tried,
    relative_changes,
    search,
    state_need,
    together,
)
from cenote.evaluation.configuration import settings_of_data
from cenote.evaluation.differences import state_variance
from cenote.evaluation.reading import precision_of
from cenote.evaluation.results import Results, folder_of
from cenote.evaluation.runtimes import has_many_tokens, longest_limit, read_alike
from cenote.evaluation.scoring import note_cuts
from cenote.evaluation.task_list import (
    PACKAGES,
    ListedTask,
    list_tasks,
    make_local,
    named_data,
    refuse_missing_packages,
)
from cenote.evaluation_records import FEWEST_ITEMS
from cenote.functional.intervals import effective_count
from cenote.functional.paired import Paired, compare_paired
from cenote.functional.sampling import Floats
from cenote.functional.temperature import to_json
from cenote.listener import Listener, Progress, silent
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.loading import load
from cenote.models.provenance import (
    baked_temperature_of,
    constant_of,
    name_of,
    pooling_of,
    temperature_of,
    versions_of,
)
from cenote.records import ALL, Estimate
from cenote.storage import new_folder, refuse_occupied, refuse_unwritable
from cenote.surgery.tempering import bake, temper
from cenote.tuning_records import Confirmed, Tried, Tuning
from cenote.wording import pluralise, relative_estimate

# The constants that are tried first, as in the paper; then halfway to the neighbours of the best, and below the lowest.
TEMPERATURES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
# How to look for more than was found.
_NEW_DATA = (
    "give new data: a second tuning of these data would use the held-out half again, and its p would be too small."
)


def tune(
    model: SentenceTransformer | str | Path,
    data: str | Path | Sequence[str | Path] | Mapping[str, Any],
    *,
    by_length: bool = False,
    by_role: bool = False,
    temperatures: Sequence[float] = TEMPERATURES,
    output: str | Path | None = None,
    force: bool = False,
    official: str | None = None,
    kind: KindName | None = None,
    split: str = "test",
    data_columns: Mapping[str, str] | None = None,
    quick: bool = False,
    precision: PrecisionName | Auto = AUTO,
    cache: str | Path | bool = True,
    seed: int = 0,
    name: str | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], object] | None = None,
    loader: Callable[[Any], SentenceTransformer] = load,
) -> Tuning:
    """Choose an attention temperature on one half of labelled data, and confirm it once on the other half.

    Several tasks get one temperature: the one with the highest mean of relative changes.

    Args:
        model: a `SentenceTransformer`, or what `cenote.load` takes.
        data: labelled folders or files, or a mapping of names to them, as for `cenote.evaluate`.
        by_length: whether to try a temperature for short texts and another for long ones.
        by_role: whether to try a temperature for queries and another for documents.
        temperatures: constants to try.
        output: folder for the model with the temperature; it is written for a confirmed gain only.
        force: whether to write the best temperature of the development half even if it is not confirmed.
        official: name of the task of MTEB that the data are of.
        kind: of the data; None tells it by files and columns.
        split: of the data.
        data_columns: your names of the columns of `data`: `{"text": "review", "label": "stars"}`.
        quick: whether to take fixed samples of the data.
        precision: float32, bfloat16, float16, or auto: that of the weights.
        cache: folder that keeps scores; True for the user's cache, False for none. `by_length` and `by_role` combine
            vectors, so that with them none are kept.
        seed: of the halves, the folds and the test.
        name: what the tuning calls the model.
        progress: called with a step, how much of it is done, and how much there is (0: unknown).
        notify: called with a sentence on what happens.
        loader: loads a model that is given by name, once the data are checked.

    Returns:
        A `Tuning`: its `recommendation` is a temperature, or None where no gain is confirmed.
    """
    listener, seed = Listener(progress or silent, notify or silent), check_at_least(0, seed, "seed")
    taus = check_constants(temperatures)
    choose(precision, dict.fromkeys((*PRECISIONS, AUTO)), "precision")
    if output is not None:
        refuse_unwritable(refuse_occupied(output))
    elif force:
        raise BadInput("force=True writes the model, but there is no folder for it: name one (output).")
    refuse_missing_packages("tune")
    results = Results(folder_of(cache), KeptScore)
    asked = Asked(kind, split, data_columns or {})
    if not named_data(data):
        raise BadInput("there is nothing to tune on: name labelled data (data, --data).")
    waiting = list_tasks(None, data, official, asked, quick)
    if by_role and not any(isinstance(task.local, Retrieval) for task in waiting):
        raise BadInput("by_role is for searches, and none of the data have queries and documents.")
    halves = [_halves(task, seed) for task in waiting]
    loaded = model if isinstance(model, SentenceTransformer) else loader(model)
    plan = _Plan(
        model=loaded,
        name=name or name_of(model, loaded),
        own=constant_of(loaded),
        taus=taus,
        tasks=waiting,
        halves=halves,
        by_length=by_length,
        by_role=by_role,
        precision=precision,
        results=results,
        listener=listener,
        seed=seed,
    )
    found_on, by_graph = read_alike(
        partial(_choose_and_confirm, plan), plan.worth_graphs(), [False] * len(halves), listener.notify
    )
    settings = {
        "by_length": by_length,
        "by_role": by_role,
        "temperatures": taus,
        "quick": quick,
        "precision": precision_of([loaded], precision),
        "seed": seed,
        **settings_of_data(asked, official, waiting),
    }
    found = _record(plan, found_on, settings, versions_of(*PACKAGES, *(packages() if any(by_graph) else ())))
    if output is not None and found_on.chosen is not None and (found.recommendation is not None or force):
        try:
            if found_on.unreadable:
                raise BadInput(found_on.unreadable)
            write(loaded, found_on.chosen.temperature, output)
        except CenoteError as error:  # what was found took hours
            warnings.warn(f"the model is not written: {error}", CenoteWarning, stacklevel=2)
    return found


@dataclass(frozen=True, eq=False, kw_only=True)
class _Plan:
    """A tuning before anything is read: the model, both halves of the tasks, and what is tried."""

    model: SentenceTransformer
    name: str
    own: float | None  # the model's constant temperature
    taus: list[float]
    tasks: list[ListedTask]
    halves: list[tuple[ListedTask, ListedTask]]
    by_length: bool
    by_role: bool
    precision: str
    results: Results[KeptScore]
    listener: Listener
    seed: int

    def __post_init__(self) -> None:
        if not self.others:
            raise BadInput(f"temperatures holds only the model's own, {self.own:g}: name others to try.")
        with suppress(BadInput), temper(self.model, self.others[0]):
            pass  # a model that takes no temperature is refused before it is read; a number that breaks it is left out

    @property
    def others(self) -> list[float]:
        """Constants that are not the model's own."""
        return [tau for tau in self.taus if tau != self.own]

    @property
    def combines(self) -> bool:
        """Whether vectors of several temperatures are combined, so that they are kept while the tuning runs."""
        return self.by_length or self.by_role

    def worth_graphs(self) -> list[bool]:
        """Return of each task whether a graph is worth its making: each half is read by itself, but for documents."""
        able, most = can_have_a_graph(self.model, self.precision), longest_limit([self.model])
        return [able and all(has_many_tokens(half, most) for half in both) for both in self.halves]

    def scores_of_halves(self, by_graph: Sequence[bool]) -> tuple[Half, Half]:
        """Return both halves with what will score them; `by_graph` says of each task whether a graph reads it."""
        shared, kept = SharedPasses(self.precision), None
        if self.results.folder is not None and not self.combines:
            kept = KeptScores(self.results, fingerprint_of_weights(self.model, every=True))
        development, held_out = Half([]), Half([])
        for (first, second), graph in zip(self.halves, by_graph, strict=True):
            # Both halves have the same documents: where vectors are kept these are read once, and the held-out half of
            # a search has few texts to read.
            readers: Readers | None = {} if self.combines else None
            few = self.combines and isinstance(first.local, Retrieval)
            for half, task, reads in ((development, first, graph), (held_out, second, graph and not few)):
                half.scores.append(
                    CandidateScores(
                        self.model,
                        task,
                        self.precision,
                        self.listener,
                        readers,
                        shared=shared if reads else None,
                        kept=kept,
                    )
                )
        return development, held_out


@dataclass(frozen=True, eq=False, kw_only=True)
class _Choice:
    """The temperature that was chosen on the development half, and what the held-out half says of it."""

    development: Half
    searched: Search
    pairs: list[Paired]  # differences on the development half, by task
    tried: tuple[Tried, ...]
    expected: Estimate
    chosen: Candidate | None
    confirmed: tuple[Confirmed, ...] = ()
    gain: Estimate | None = None
    unreadable: str = ""  # why the held-out half cannot be read at what was chosen
    shown: list[Paired]  # differences of one temperature: on the held-out half if there is one that was chosen
    before: Floats  # scores at the model's own temperature on the same half


def _choose_and_confirm(plan: _Plan, by_graph: Sequence[bool]) -> _Choice:
    """Choose a temperature on one half, and confirm it once on the other."""
    development, held_out = plan.scores_of_halves(by_graph)
    plan.listener.notify("choosing on the development half")
    searched = search(development, plan.others, length=plan.by_length, role=plan.by_role, own=plan.own)
    pairs, before = development.paired(searched.candidates)
    expected, chosen = choose_best(searched, pairs, before, plan.seed)
    best = int(np.argmax(relative_changes(pairs, before)))
    found = _Choice(
        development=development,
        searched=searched,
        pairs=pairs,
        tried=list_tried(searched.candidates, pairs, before, plan.seed),
        expected=expected,
        chosen=chosen,
        shown=[replace(one, **_only(one, best)) for one in pairs],
        before=before,
    )
    if chosen is None:
        return found
    plan.listener.notify(f"confirming {chosen} on the held-out half")
    if unreadable := "".join(held_out.readable([chosen])[1].values()):
        return replace(found, unreadable=unreadable)
    shown, before = held_out.paired([chosen])
    confirmed, gain = _confirm(held_out, chosen, shown, before, plan.seed)
    return replace(found, confirmed=confirmed, gain=gain, shown=shown, before=before)


def _record(plan: _Plan, found: _Choice, settings: dict[str, Any], versions: dict[str, str]) -> Tuning:
    """Return what was found as plain data."""
    chosen, confirmed, own = found.chosen, found.confirmed, temperature_of(plan.model)
    candidates = [*found.searched.candidates, *found.searched.broken]
    return Tuning(
        schema=Tuning.SCHEMA,
        model=plan.name,
        pooling=pooling_of(plan.model),
        own=own,
        recommendation=None if chosen is None or not _is_gain(confirmed) else to_json(chosen.temperature),
        answer=_answer(chosen, confirmed, found.gain, own)
        + _multiplied(plan.model, chosen)
        + _edge(chosen, candidates, plan.own),
        chosen=None if chosen is None else str(chosen),
        gain=found.gain,
        expected=found.expected,
        tried=found.tried,
        tasks=tuple(task.name for task in plan.tasks),
        held_out=confirmed,
        needed=_needed(found.shown, found.before, plan.seed),
        notes=tuple(_notes(plan, found)),
        settings=settings,
        versions=versions,
    )


def _notes(plan: _Plan, found: _Choice) -> Iterator[str]:
    """Yield what the answer leaves out."""
    yield from (f"Left out: {why}" for why in found.searched.broken.values())
    if found.unreadable:
        yield f"Not confirmed: {found.unreadable}"
    yield from (f"{task.name}: {note}" for task in plan.tasks for note in task.notes)
    for scores, pair in zip(found.development.scores, found.pairs, strict=True):
        if note := state_variance([scores.score(UNCHANGED).items], pair):
            yield f"{scores.task.name}, development half: {note}"
    for scores in found.development.scores:
        yield from (f"{scores.task.name}, development half: {note}" for note in note_cuts(plan.name, scores.cuts))


def _halves(task: ListedTask, seed: int) -> tuple[ListedTask, ListedTask]:
    """Return both halves of a task; raise where one is too small."""
    if task.local is None:
        raise BadInput(f"{task.name} is not local: a temperature is tuned on labelled folders.")
    sizes, noun = sizes_of_sources(task.local)
    if (count := len(sizes)) < 2 * FEWEST_ITEMS:
        raise BadInput(
            f"{task.name} has {count} {noun}, too few to choose on one half and confirm on the other: "
            f"{2 * FEWEST_ITEMS} are the fewest.{state_need(task.kind, noun)}"
        )
    parts = halve(task.local, seed)
    if (fewest := min(effective_count(sizes_of_sources(part)[0]) for part in parts)) < FEWEST_ITEMS:
        raise BadInput(
            f"{task.name} has {count} {noun}, but since some have many items, one half would say as much as "
            f"{int(fewest)} of equal size: {FEWEST_ITEMS} are the fewest. Drop some of those items."
        )
    first, second = (
        replace(
            task,
            local=part,
            data=f"{task.data}, half {number} by seed {seed}",
            make=partial(make_local, task.name, task.official, part),
        )
        for number, part in enumerate(parts, 1)
    )
    return first, second


def _only(pairs: Paired, row: int) -> dict[str, Any]:
    """Return the parts of one setting."""
    parts = {name: getattr(pairs, name) for name in ("values", "draws", "outcomes")}
    return {name: None if part is None else part[[row]] for name, part in parts.items()}


def _confirm(
    held_out: Half, chosen: Candidate, pairs: Sequence[Paired], before: Floats, seed: int
) -> tuple[tuple[Confirmed, ...], Estimate]:
    """Return what the chosen temperature changes on the held-out half, by task and together."""
    family = compare_paired(pairs, seed=seed, fewest=FEWEST_ITEMS)
    rows = []
    for scores, (one,), own in zip(held_out.scores, family.tasks, before, strict=True):
        task = scores.task
        after = scores.score(chosen)
        rows.append(
            Confirmed(
                task=task.name,
                kind=task.kind,
                metric=after.metric,
                items=len(set(after.items.columns["item"])),
                before=float(own),
                after=after.score,
                difference=Estimate(one.value, one.low, one.high),
                relative=one.value / float(own),
                p=one.p,
                resolvable=one.resolvable,
            )
        )
    (mean,) = together(pairs, before, seed)
    gain = Estimate(mean.value, mean.low, mean.high)
    if len(rows) > 1:
        rows.append(
            Confirmed(
                task=ALL,
                kind=ALL,
                metric="mean of relative changes",
                items=sum(row.items for row in rows),
                before=float(before.mean()),
                after=float(np.mean([row.after for row in rows])),
                difference=gain,
                relative=mean.value,
                p=mean.p_alone,
                resolvable=mean.resolvable_alone,
            )
        )
    return tuple(rows), gain


def _is_gain(confirmed: Sequence[Confirmed]) -> bool:
    """Whether the one test on the held-out half, of all tasks together, shows a gain."""
    if not confirmed or (p := confirmed[-1].p) is None:
        return False
    return confirmed[-1].relative > 0 and p < SIGNIFICANT


def _multiplied(model: SentenceTransformer, chosen: Candidate | None) -> str:
    """Return a remark on a temperature in the weights, which the chosen one multiplies."""
    baked = baked_temperature_of(model)
    return "" if baked is None or chosen is None else f" It multiplies the {baked} in the weights."


def _edge(chosen: Candidate | None, candidates: Sequence[Candidate], own: float | None) -> str:
    """Return a remark on a constant that is the lowest or the highest of those that were tried.

    >>> one, two = (Candidate("constant", tau, tau) for tau in (0.8, 0.9))
    >>> _edge(one, [one, two], 1.0), _edge(two, [one, two], 1.0)  # doctest: +ELLIPSIS
    (' It is the lowest that was tried. To try lower ones, give new data: ...', '')
    """
    if chosen is None or chosen.form != "constant":
        return ""
    tried = [tau for tau in (own, *(one.query for one in candidates if one.form == "constant")) if tau is not None]
    if len({*tried}) == 1:
        return f" It is the only one that was tried. To try others, {_NEW_DATA}"
    ends = (("lowest", min(tried), "lower"), ("highest", max(tried), "higher"))
    return "".join(
        f" It is the {end} that was tried. To try {more} ones, {_NEW_DATA}"
        for end, tau, more in ends
        if chosen.query == tau
    )


def _answer(chosen: Candidate | None, confirmed: Sequence[Confirmed], gain: Estimate | None, own: str) -> str:
    """Return the answer in a sentence or two."""
    if chosen is not None and gain is None:
        return f"No temperature helps here: the best of the development half, {chosen}, breaks on the held-out half."
    if chosen is None or gain is None:
        return f"No temperature helps here: on the development half none was better than {own}."
    figure = relative_estimate(gain)
    items = pluralise(sum(row.items for row in confirmed if row.task != ALL), "held-out item")
    if _is_gain(confirmed):
        return f"Use temperature {chosen}: on {items} it changes the score by {figure}."
    return (
        f"No temperature helps here: the best of the development half, {chosen}, changes the score on {items} by "
        f"{figure}, which is not a confirmed gain."
    )


def _needed(pairs: Sequence[Paired], before: Floats, seed: int) -> int | None:
    """Return how many items would show the paper's gain, by the spread of one setting's differences.

    What draws of training texts or of starts add does not shrink with the items: where it alone hides the gain, None.
    """
    of_items_alone = [replace(one, draws=None) for one in pairs]
    whole, of_items = (together(some, before, seed)[0].resolvable_alone for some in (pairs, of_items_alone))
    if whole is None or of_items is None:
        return None
    left = PAPER_GAIN**2 - max(0.0, whole**2 - of_items**2)
    count = sum(pair.values.shape[1] for pair in pairs)
    return None if left <= 0 else int(np.ceil(count * of_items**2 / left))


def write(model: SentenceTransformer, temperature: Any, output: str | Path) -> None:
    """Write the model with a temperature: in its weights where that is possible, else as configuration."""
    baked = None
    if isinstance(temperature, float):
        with suppress(UnsupportedModel):  # it is unknown which weights to divide
            baked = bake(model, temperature)
    with new_folder(Path(output)) as folder:
        if baked is not None:
            baked.save_pretrained(str(folder))
            return
        with temper(model, temperature):
            model.save_pretrained(str(folder))
