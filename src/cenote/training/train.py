"""`train`: contrastive training with any pooling, landmark first, that goes on exactly where it was stopped."""

from __future__ import annotations

import copy
import itertools
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from transformers import PrinterCallback, ProgressCallback

from cenote import choices
from cenote._nn.cards import note
from cenote.data.pairs import Pair, PairTable, read_pairs, read_table, write_pairs
from cenote.data.shards import refuse_missing_path
from cenote.encoding.backends import obstacle, refuse_unavailable
from cenote.encoding.tokens import count_tokens
from cenote.errors import BadInput, CenoteError, check_at_least, choose
from cenote.listener import Listener, Progress, silent
from cenote.models.fingerprints import fingerprint_as
from cenote.models.loading import load
from cenote.models.properties import limit_of
from cenote.models.provenance import behaviour_as, name_of, pooling_of
from cenote.storage import give_usual_access, sync_files
from cenote.training.backbone import Loader, chunks_of, for_evaluation, prepare
from cenote.training.batches import Hashes, Order, Rows, count_batches
from cenote.training.collator import Collator
from cenote.training.environment import describe_changes, environment_of
from cenote.training.folder import ORDER, Standing, TrainingFolder, step_of, writing
from cenote.training.losses import ContrastiveLoss
from cenote.training.recipe import Recipe
from cenote.training.rules import refuse_unwatched
from cenote.training.trainer import PairTrainer, Report, finished, load_best, untouched_randomness
from cenote.training.watching import Watch, watch_of
from cenote.wording import percent, pluralise

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11 on

    from cenote.training.keywords import TrainKeywords

# Of `training.json`.
SCHEMA = 1
# Version of the order of the pairs: a training that was begun in another would see some pairs twice, and some never.
_ORDER = 2
# Pairs of which texts are counted that the model cuts.
_SAMPLE = 1000


def train(
    model: str | Path | SentenceTransformer,
    pairs: str | Path | Iterable[Any],
    *,
    output: str | Path | None = None,
    evaluate: str | Path | None = None,
    data_columns: Mapping[str, str] | None = None,
    checkpoint_every: int | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    notify: Callable[[str], object] | None = None,
    loader: Loader = load,
    **settings: Unpack[TrainKeywords],
) -> SentenceTransformer:
    """Train an embedding model on pairs, by sentence-transformers' own trainer.

    >>> pairs = [(f"what is stone {n}", f"stone {n} is a stone") for n in range(8)]
    >>> model = train("minilm", pairs, pooling="landmark", intervals=[4, 8], steps=1, batch_size=4)
    >>> model.encode("a pool").shape
    (384,)

    The same call again goes on after a stop, from the last checkpoint in `output`, and gives the weights of a training
    that was not stopped: bit for bit on the same CPU, with the same number of threads and the same libraries. A model
    that is given as an object has to be loaded again for that.

    Args:
        model: the backbone: a folder, a hub id, `"minilm"`, or a loaded model, which is changed.
        pairs: a file, or an iterable of pairs; see `cenote.data.pairs.read_pairs`.
        output: new folder for checkpoints, the log and the model, or that of a training to go on with. None keeps
            nothing but the model that is returned.
        evaluate: a labelled folder, or a file of texts, that scores the model as it trains.
        data_columns: your names of that folder's columns, as `cenote.evaluate` takes them.
        checkpoint_every: steps between checkpoints; by default a tenth of all.
        workers: processes that tokenise.
        progress: called with the step's name, how much is done and how much there is.
        notify: called with sentences for the user.
        loader: loads a model that is given by name, as `cenote.load` does.
        **settings: of `cenote.training.recipe.Recipe`.

    Returns:
        The trained model.
    """
    recipe = recipe_of(settings)
    _refuse_early(recipe, pairs, output, evaluate, data_columns, checkpoint_every)
    listener = Listener(progress or silent, notify or silent)
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory()) if output is None else output
        folder = TrainingFolder(place)
        stack.enter_context(folder.opened())
        with writing(folder.pairs):
            table = write_pairs(_counted(read_pairs(pairs), listener), folder.pairs)
        negatives = _choose_negatives(recipe, table, listener)
        watch = None if evaluate is None else watch_of(evaluate, recipe.seed, data_columns)
        folder.refuse_other(_state_of(recipe, table, watch))  # loading a model takes its time
        order = _order(recipe, table, negatives, listener)
        ready = prepare(model, recipe, loader, listener.notify)
        if recipe.eval_pooling is not None:
            for_evaluation(copy.deepcopy(ready), recipe)  # raises now rather than after the training
        job = Job(recipe, table, negatives, _precision(recipe, ready), name_of(model, ready), watch, folder, listener)
        state = job.state(ready)
        folder.refuse_other(state)
        if (folder.state() or {}).get("complete"):
            listener.notify(f"the training in {str(folder.path)!r} is complete")
            return loader(folder.path)
        state["environment"] = environment_of(ready.device)
        _say_changes(job, state["environment"])
        folder.write_state(state)
        _say_limits(ready, job)
        steps, standing = _run(ready, job, order, _checkpoint_every(recipe, output, checkpoint_every), workers)
        resolved = job.resolved(ready)
        if recipe.eval_pooling is not None:
            for_evaluation(ready, recipe)
        if output is not None:
            _write(ready, job, state, resolved, {"steps": steps, **asdict(standing)})
        return ready.eval()


@dataclass(frozen=True)
class Job:
    """A training with all that is known before its first step."""

    recipe: Recipe
    pairs: PairTable
    negatives: int  # of each pair in a step
    precision: str
    backbone: str  # its name
    watch: Watch | None
    folder: TrainingFolder
    listener: Listener

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of texts."""
        return ("query", "positive", *(f"negative_{at}" for at in range(1, self.negatives + 1)))

    @property
    def distil(self) -> float:
        """The weight of a teacher's scores."""
        return float(self.pairs.scored) if self.recipe.distil is None else self.recipe.distil

    def keeps_activations(self, model: SentenceTransformer) -> bool:
        """Return whether the activations of a step are kept rather than computed again."""
        return self.recipe.keeps_activations(len(self.columns), limit_of(model) or 512)

    def resolved(self, model: SentenceTransformer) -> dict[str, Any]:
        """Return the settings, with what was left to the pairs, the machine and the backbone as it is trained."""
        return {
            **self.recipe.settings(),
            **chunks_of(model),
            "negatives": self.negatives,
            "distil": self.distil,
            "cache": not self.keeps_activations(model),
            "precision": self.precision,
        }

    def state(self, model: SentenceTransformer) -> dict[str, Any]:
        """Return what a training that goes on must share with the one before."""
        recorded = self.folder.state() or {}
        return {
            **_state_of(self.recipe, self.pairs, self.watch),
            "precision": self.precision,
            "backbone": fingerprint_as(recorded.get("backbone"), model),
            "model": {**behaviour_as(recorded.get("model"), model), "prompts": dict(model.prompts)},
        }


def _state_of(recipe: Recipe, pairs: PairTable, watch: Watch | None) -> dict[str, Any]:
    """Return what is known, before the model is loaded, of what a training that goes on must share."""
    return {
        "schema": SCHEMA,
        ORDER: _ORDER,
        "recipe": recipe.settings(),
        "pairs": pairs.fingerprint,
        "evaluation": None if watch is None else watch.fingerprint,
    }


def recipe_of(settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe of some settings; raise for a name that none has."""
    names = {field.name: field for field in fields(Recipe)}
    for name in settings:
        choose(name, names, "setting of train")
    given = dict(settings)
    if "intervals" in given:
        intervals = () if given["intervals"] is None else given["intervals"]
        given["intervals"] = tuple(intervals) if isinstance(intervals, (list, tuple)) else (intervals,)
    return Recipe(**given)


def _refuse_early(
    recipe: Recipe, pairs: Any, output: Any, evaluate: Any, data_columns: Any, checkpoint_every: int | None
) -> None:
    """Raise for what can be known before anything is read."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise BadInput("train runs in one process on one device: start it without torchrun or accelerate launch.")
    if missing := choices.missing_packages("train"):
        raise CenoteError(f"train: {missing}.")
    refuse_unwatched(recipe.settings(), evaluate, data_columns)
    if output is not None and not str(output).strip():
        raise BadInput("output is empty: name a folder, or leave it out.")
    if checkpoint_every is not None:
        check_at_least(1, checkpoint_every, "checkpoint_every")
        given = f"checkpoint_every={checkpoint_every}"
        if output is None:
            raise BadInput(f"{given}: name a folder for the checkpoints (output).")
        if recipe.patience:
            raise BadInput(f"{given}: with patience each evaluation has a checkpoint. Leave it out.")
    if evaluate is not None and not isinstance(evaluate, (str, Path)):
        raise BadInput(f"evaluate is a {type(evaluate).__name__}: name a labelled folder, or a file of texts.")
    for path in (pairs, evaluate):
        if isinstance(path, (str, Path)):
            refuse_missing_path(Path(path))


def _counted(pairs: Iterable[Pair], listener: Listener) -> Iterator[Pair]:
    step = listener.step("reading pairs")
    for pair in pairs:
        yield pair
        step(1)


def _choose_negatives(recipe: Recipe, table: PairTable, listener: Listener) -> int:
    """Return the negatives of each pair in a step."""
    fewest, most = table.negatives
    if table.count < recipe.batch_size:
        raise BadInput(
            f"{pluralise(table.count, 'pair')} do not fill a batch of batch_size={recipe.batch_size}: give more "
            "pairs, or a smaller batch (batch_size, --batch-size)."
        )
    wanted = fewest if recipe.negatives is None else recipe.negatives
    if wanted > fewest:
        raise BadInput(
            f"negatives={wanted}: some pair has {fewest}. Give every pair {wanted}, or ask for at most {fewest}."
        )
    if most > wanted:
        rest = "are not used" if not wanted else f"are drawn in each epoch, {wanted} for each pair"
        listener.notify(f"negatives {rest}: pairs have {fewest} to {most}")
    if recipe.distil and not table.scored:
        raise BadInput(
            f"distil={recipe.distil:g}: the pairs have no scores of a teacher. Give them, or leave out distil."
        )
    if table.scored and recipe.distil != 0 and not wanted:
        raise BadInput("a teacher's scores need a negative beside the positive: give negatives, or distil=0.")
    return wanted


def _precision(recipe: Recipe, model: SentenceTransformer) -> str:
    """Return the precision of the training; raise for one that the machine does not have."""
    if recipe.precision == choices.AUTO:
        return "float32" if obstacle(model, "torch", "bfloat16", None) else "bfloat16"
    refuse_unavailable(model, "torch", recipe.precision, None)
    return recipe.precision


def _order(recipe: Recipe, pairs: PairTable, negatives: int, listener: Listener) -> Order:
    """Return the order of the pairs; say how many steps an epoch has, and raise if it has none."""
    order = Order(_read_hashes(pairs), recipe.batch_size, recipe.steps, recipe.seed, negatives)
    counts = count_batches(order)
    if not counts.batches:
        raise order.unfilled
    said = [f"{pairs.count:,} pairs: {counts.batches:,} steps of {order.size} in an epoch"]
    if counts.left_over:
        said.append(f"{counts.left_over:,} left over in the first")
    if counts.moved:
        said.append(f"{counts.moved:,} moved to a later step, where they bring no false negative")
    listener.notify("; ".join(said))
    return order


def _say_limits(model: SentenceTransformer, job: Job) -> None:
    """Say how many texts are cut, from a sample."""
    sample = list(itertools.islice(read_table(job.pairs), _SAMPLE))
    for task, noun, texts in (
        ("query", "queries", [pair.query for pair in sample]),
        ("document", "positives", [pair.positive for pair in sample]),
    ):
        limit, prompt = limit_of(model, task), task if task in model.prompts else None
        if limit is None:
            continue
        cut = float((count_tokens(model, texts, prompt_name=prompt, task=task) > limit).mean())
        if cut:
            job.listener.notify(
                f"{percent(cut)} of the {noun} are longer than the {limit:,} tokens that the model reads, and cut"
            )


def _read_hashes(pairs: PairTable) -> Hashes:
    """Return the hashes of the texts of each pair."""
    import pyarrow as pa

    with pa.memory_map(str(pairs.path)) as source:
        batches = [batch.column("hashes") for batch in pa.ipc.open_stream(source)]
    lists = pa.chunked_array(batches).combine_chunks()
    return Hashes(lists.values.to_numpy(), lists.offsets.to_numpy())


def _say_changes(job: Job, environment: dict[str, Any]) -> None:
    """Say what has changed since a training was stopped, and may change the last bits of its weights."""
    before = (job.folder.state() or {}).get("environment", {})
    if changed := describe_changes(before, environment):
        job.listener.notify(f"the weights may differ in their last bits from those without a stop: {changed}")


def _checkpoint_every(recipe: Recipe, output: str | Path | None, checkpoint_every: int | None) -> int | None:
    """Return the steps between checkpoints, None for none."""
    if recipe.patience:  # the best model is a checkpoint, so that each evaluation needs one
        return recipe.steps_between_evaluations
    return None if output is None else checkpoint_every or recipe.tenth


def _run(
    model: SentenceTransformer, job: Job, order: Order, checkpoint_every: int | None, workers: int
) -> tuple[int, Standing]:
    """Train the model in place; return the steps that were taken, and the scores."""
    recipe, folder, listener = job.recipe, job.folder, job.listener
    folder.delete_cut_short()
    last = folder.last_checkpoint()
    done, standing = 0 if last is None else step_of(last), folder.standing(last)
    if last is not None:
        listener.notify(f"going on after step {done:,} of {recipe.steps:,}")
    folder.cut_log(last)
    if not finished(standing, recipe.patience):
        with untouched_randomness():
            trainer = _trainer(model, job, order, standing, done, checkpoint_every, workers)
            try:
                if job.watch is not None and last is None:
                    trainer.evaluate()  # the start, which every later score is seen beside
                trainer.train(resume_from_checkpoint=None if last is None else str(last))
            finally:  # also after an error the caller's model is one to encode with
                trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # without the wrapper of bfloat16
                if recipe.gradient_checkpointing:
                    for module in model.modules():
                        if hasattr(module, "gradient_checkpointing_disable"):
                            module.gradient_checkpointing_disable()  # type: ignore[operator]
                model.eval()
        done, standing = trainer.state.global_step, trainer.report.standing
    if done < recipe.steps:
        listener.notify(f"stopped after step {done:,}: {recipe.patience} evaluations without a better score")
    if recipe.patience and standing.best_step:
        load_best(model, folder.checkpoint(standing.best_step))
        listener.notify(f"the best model is that of step {standing.best_step:,}: {standing.best_score:.4f}")
    if standing.start is not None and standing.best_score is not None and standing.best_score <= standing.start:
        listener.notify(f"no score is above that of the start, {standing.start:.4f}: the training did not help here")
    if said := folder.describe_loss():
        listener.notify(said)
    return done, standing


def _trainer(
    model: SentenceTransformer,
    job: Job,
    order: Order,
    standing: Standing,
    done: int,
    checkpoint_every: int | None,
    workers: int,
) -> PairTrainer:
    """Return the trainer."""
    from datasets import Dataset

    recipe = job.recipe
    tasks = {name: "query" if name == "query" else "document" for name in job.columns}
    prompts = {name: prompt for name, task in tasks.items() if (prompt := model.prompts.get(task))}
    loss = ContrastiveLoss(
        model,
        recipe.loss_temperature,
        recipe.mini_batch,
        cached=not job.keeps_activations(model),
        distil=job.distil,
        spread=recipe.spread,
    )
    step = job.listener.step("training", recipe.steps, done)
    trainer = PairTrainer(
        order=order,
        rows=Rows(Dataset.from_file(str(job.pairs.path)), job.negatives, job.distil > 0, recipe.seed),
        report=Report(job.folder, step, job.listener.notify, loss, standing, recipe.patience, job.watch),
        model=model,
        args=_arguments(job, checkpoint_every, workers, model.device.type),
        loss=loss,
        evaluator=job.watch,
        data_collator=Collator(model.preprocess, router_mapping=tasks, prompts=prompts),
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


def _arguments(
    job: Job, checkpoint_every: int | None, workers: int, device: str
) -> SentenceTransformerTrainingArguments:
    """Return the trainer's arguments."""
    recipe = job.recipe
    # The name changed within transformers 5.
    names = {field.name for field in fields(SentenceTransformerTrainingArguments)}
    name = "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
    memory: Any = {name: True} if recipe.gradient_checkpointing else {}
    found = SentenceTransformerTrainingArguments(
        output_dir=str(job.folder.checkpoints),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=math.ceil(recipe.warmup * recipe.steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.clip,
        bf16=job.precision == "bfloat16",
        **memory,
        seed=recipe.seed,
        save_strategy="no" if checkpoint_every is None else "steps",
        save_steps=checkpoint_every or recipe.steps,
        eval_strategy="no" if job.watch is None else "steps",
        eval_steps=recipe.steps_between_evaluations,
        logging_steps=1,
        logging_nan_inf_filter=False,  # `PairTrainer` stops there
        dataloader_num_workers=workers,
        use_cpu=device == "cpu",
        report_to="none",
        disable_tqdm=True,
    )
    if found.n_gpu > 1:  # the trainer would split batches over all of them, and has no other switch
        found._n_gpu = 1
    return found


def _write(
    model: SentenceTransformer,
    job: Job,
    state: Mapping[str, Any],
    resolved: Mapping[str, Any],
    result: Mapping[str, Any],
) -> None:
    """Write the model with the recipe on its card, and delete what an unfinished training needs."""
    settings = ", ".join(f"{name} {value}" for name, value in resolved.items() if value is not None and value != [])
    scored = "" if job.watch is None else f"; evaluated by {job.watch.name} on data {job.watch.fingerprint}"
    if result["best_step"] is not None:
        weights = ", which these weights are of" if job.recipe.patience else ""
        scored += f", best at step {result['best_step']:,} ({result['best_score']:.4f}){weights}"
    note(
        model,
        "Training",
        f"{result['steps']:,} steps of contrastive training from {job.backbone} on {job.pairs.count:,} pairs "
        f"(fingerprint {job.pairs.fingerprint}): {settings}{scored}; pooling of this model: {pooling_of(model)}",
    )
    with writing(job.folder.path):
        model.save_pretrained(str(job.folder.path))
        give_usual_access(*job.folder.path.rglob("*.safetensors"))
        sync_files(job.folder.path)
        job.folder.write_state({**state, "resolved": dict(resolved), "result": dict(result), "complete": True})
    job.folder.finish()
