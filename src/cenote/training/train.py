"""`train`: contrastive training with any pooling, landmark first, that goes on exactly where it was stopped."""

from __future__ import annotations

import copy
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback

from cenote import choices
from cenote._nn.cards import note
from cenote.data.pairs import Pair, PairTable, read_pairs, write_pairs
from cenote.data.texts import refuse_missing
from cenote.encoding.backends import obstacle, refuse_unavailable
from cenote.errors import BadInput, CenoteError, check_at_least, choose
from cenote.listener import Listener, Progress, silent
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.loading import load
from cenote.models.properties import limit_of
from cenote.models.provenance import pooling_of, versions_of
from cenote.storage import explain_disk_errors, lock_folder, refuse_unwritable
from cenote.training.backbone import Loader, for_evaluation, prepare
from cenote.training.batches import Hashes, Order, Rows, count_batches
from cenote.training.collator import Collator
from cenote.training.folder import TrainingFolder
from cenote.training.losses import ContrastiveLoss
from cenote.training.recipe import Recipe
from cenote.training.trainer import PairTrainer, Report, checkpoint_step
from cenote.training.watching import Watch, watch_of
from cenote.wording import pluralise

# Of `training.json`.
SCHEMA = 1


def train(
    model: str | Path | SentenceTransformer,
    pairs: str | Path | Iterable[Any],
    *,
    output: str | Path | None = None,
    evaluate: str | Path | None = None,
    checkpoint_every: int | None = None,
    workers: int = 0,
    progress: Progress = silent,
    notify: Callable[[str], object] = silent,
    loader: Loader = load,
    **settings: Any,
) -> SentenceTransformer:
    """Train an embedding model on pairs, by sentence-transformers' own trainer.

    >>> pairs = [(f"what is stone {n}", f"stone {n} is a stone") for n in range(8)]
    >>> model = train("minilm", pairs, pooling="landmark", intervals=[4, 8], steps=1, batch_size=4)
    >>> model.encode("a pool").shape
    (384,)

    The same call again goes on after a stop, from the last checkpoint in `output`, and gives the weights of a training
    that was not stopped, bit for bit on the same machine.

    Args:
        model: the backbone: a folder, a hub id, `"minilm"`, or a loaded model, which is changed.
        pairs: a file, or an iterable of pairs; see `cenote.data.pairs.read_pairs`.
        output: new folder for checkpoints, the log and the model, or that of a training to go on with. None keeps
            nothing but the model that is returned.
        evaluate: a labelled folder, or texts, that score the model as it trains.
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
    _refuse_early(recipe, pairs, evaluate, checkpoint_every)
    listener = Listener(progress, notify)
    with ExitStack() as stack:
        if output is None:
            folder = TrainingFolder(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            refuse_unwritable(Path(output))
            folder = TrainingFolder(output)
            folder.refuse_foreign()
            folder.path.mkdir(parents=True, exist_ok=True)
        stack.enter_context(lock_folder(folder.path))
        stack.enter_context(_without_remains(folder))
        with explain_disk_errors(folder.pairs):
            table = write_pairs(_counted(read_pairs(pairs), listener), folder.pairs)
        ready = prepare(model, recipe, loader)
        job = Job(
            recipe, table, _choose_negatives(recipe, table, listener), _precision(recipe, ready), folder, listener
        )
        wanted = {**job.state(), "backbone": fingerprint_of_weights(ready), "evaluate": evaluate and str(evaluate)}
        folder.refuse_other(wanted)
        if (folder.state() or {}).get("complete"):
            folder.finish()
            notify(f"the training in {str(folder.path)!r} is complete")
            return loader(folder.path)
        if recipe.eval_pooling is not None:
            for_evaluation(copy.deepcopy(ready), recipe)  # raises now rather than after the training
        folder.write_state(wanted)
        watch = None if evaluate is None else watch_of(evaluate, recipe.seed)
        _run(ready, job, watch, 0 if output is None else checkpoint_every, workers)
        if recipe.eval_pooling is not None:
            for_evaluation(ready, recipe)
        if output is not None:
            _write(ready, job, wanted)
        return ready.eval()


@dataclass(frozen=True)
class Job:
    """A training with all that is known before its first step."""

    recipe: Recipe
    pairs: PairTable
    negatives: int  # of each pair in a step
    precision: str
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

    def state(self) -> dict[str, Any]:
        """Return what a training that goes on must share with the one before."""
        return {
            "schema": SCHEMA,
            "recipe": self.recipe.settings(),
            "precision": self.precision,
            "pairs": self.pairs.fingerprint,
        }


def recipe_of(settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe of some settings; raise for a name that none has."""
    names = {field.name: field for field in fields(Recipe)}
    for name in settings:
        choose(name, names, "setting of train")
    given = dict(settings)
    if "intervals" in given:
        several = isinstance(given["intervals"], (list, tuple))
        given["intervals"] = tuple(given["intervals"]) if several else (given["intervals"],)
    return Recipe(**given)


def _refuse_early(recipe: Recipe, pairs: Any, evaluate: Any, checkpoint_every: int | None) -> None:
    """Raise for what can be known before anything is read."""
    if checkpoint_every is not None:
        check_at_least(1, checkpoint_every, "checkpoint_every")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise BadInput("train runs in one process on one device: start it without torchrun or accelerate launch.")
    if missing := choices.missing_packages("train"):
        raise CenoteError(f"train: {missing}.")
    for name in ("evaluate_every", "patience"):
        if (value := getattr(recipe, name)) and evaluate is None:
            raise BadInput(f"{name}={value}: name what to evaluate on.")
    if recipe.patience and checkpoint_every is not None:
        raise BadInput(
            f"checkpoint_every={checkpoint_every}: with patience each evaluation has a checkpoint. Leave it out."
        )
    for path in (pairs, evaluate):
        if isinstance(path, (str, Path)):
            refuse_missing(Path(path))


@contextmanager
def _without_remains(folder: TrainingFolder) -> Iterator[None]:
    """Delete what was written if the training is refused before its first step."""
    try:
        yield
    except BaseException:
        state = folder.state()
        if state is None or state.get("complete"):
            folder.pairs.unlink(missing_ok=True)
            if not any(folder.path.iterdir()):
                folder.path.rmdir()
        raise


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
            "pairs, or a smaller batch."
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


def _run(model: SentenceTransformer, job: Job, watch: Watch | None, checkpoint_every: int | None, workers: int) -> None:
    """Train the model in place."""
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    recipe, folder, listener = job.recipe, job.folder, job.listener
    pairs = Dataset.from_file(str(job.pairs.path))
    order = Order(_hashes_of(pairs), recipe.batch_size, recipe.steps, recipe.seed)
    _say_counts(order, listener)
    tasks = {name: "query" if name == "query" else "document" for name in job.columns}
    prompts = {name: prompt for name, task in tasks.items() if (prompt := model.prompts.get(task))}
    kept = recipe.keeps_activations(len(job.columns), limit_of(model) or 512)
    loss = ContrastiveLoss(
        model, recipe.loss_temperature, recipe.mini_batch, cached=not kept, distil=job.distil, spread=recipe.spread
    )
    last = folder.last_checkpoint()
    done = 0 if last is None else checkpoint_step(last)
    if last is not None:
        listener.notify(f"going on after step {done:,} of {recipe.steps:,}")
    folder.cut_log(done)
    trainer = PairTrainer(
        order=order,
        rows=Rows(pairs, job.negatives, job.distil > 0, recipe.seed),
        folder=folder,
        model=model,
        args=_arguments(job, watch, checkpoint_every, workers, model.device.type),
        loss=loss,
        evaluator=watch,
        data_collator=Collator(model.preprocess, router_mapping=tasks, prompts=prompts),
        callbacks=[
            Report(folder, listener.step("training", recipe.steps, done), listener.notify, loss),
            *([EarlyStoppingCallback(recipe.patience)] if recipe.patience else []),
        ],
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    if (stopped := trainer.state.global_step) < recipe.steps:
        listener.notify(f"stopped after step {stopped:,}: {recipe.patience} evaluations without a better score")


def _hashes_of(pairs: Any) -> Hashes:
    """Return the hashes of the texts of each pair."""
    lists = pairs.data.column("hashes").combine_chunks()
    return Hashes(lists.values.to_numpy(), lists.offsets.to_numpy())


def _arguments(
    job: Job, watch: Watch | None, checkpoint_every: int | None, workers: int, device: str
) -> SentenceTransformerTrainingArguments:
    """Return the trainer's arguments."""
    recipe = job.recipe
    memory: Any = {"gradient_checkpointing": True} if recipe.gradient_checkpointing else {}
    evaluations = recipe.evaluate_every or max(1, recipe.steps // 10)
    every = checkpoint_every or max(1, recipe.steps // 10)
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
        # The best model is a checkpoint, so that each evaluation needs one.
        save_strategy="no" if checkpoint_every == 0 and not recipe.patience else "steps",
        save_steps=evaluations if recipe.patience else every,
        eval_strategy="no" if watch is None else "steps",
        eval_steps=evaluations,
        load_best_model_at_end=recipe.patience is not None,
        metric_for_best_model=watch.name if watch and recipe.patience else None,
        greater_is_better=True if recipe.patience else None,
        restore_callback_states_from_checkpoint=True,
        logging_steps=1,
        logging_nan_inf_filter=False,  # `PairTrainer` stops there
        dataloader_num_workers=workers,
        use_cpu=device == "cpu",
        report_to="none",
        disable_tqdm=True,
    )
    if found.n_gpu > 1:  # the trainer would split batches over all of them
        found._n_gpu = 1
    return found


def _say_counts(order: Order, listener: Listener) -> None:
    """Say how many batches an epoch has, and what equal texts did to them."""
    counts = count_batches(order.hashes, order.size, order.seed)
    epochs = order.steps / counts.batches if counts.batches else 0
    said = f"{len(order.hashes):,} pairs: {counts.batches:,} steps of {order.size} in an epoch, {epochs:.1f} epochs"
    if counts.deferred:
        said += f"; {counts.deferred:,} wait for a later step, since a text of theirs is in the first one"
    if counts.left_out:
        said += f"; {counts.left_out:,} fill no step of an epoch"
    listener.notify(said)


def _write(model: SentenceTransformer, job: Job, state: Mapping[str, Any]) -> None:
    """Write the model with the recipe on its card, and delete what an unfinished training needs."""
    given = job.recipe.settings().items()
    settings = ", ".join(f"{name} {value}" for name, value in given if value not in (None, [], False))
    pairs = f"{job.pairs.count:,} pairs (fingerprint {job.pairs.fingerprint})"
    said = (
        f"contrastive training on {pairs}, in {job.precision}: {settings}; pooling of this model: {pooling_of(model)}"
    )
    note(model, "Training", said)
    with explain_disk_errors(job.folder.path):
        model.save_pretrained(str(job.folder.path))
    job.folder.write_state({**state, "versions": versions_of("accelerate"), "complete": True})
    job.folder.finish()
