"""sentence-transformers' trainer with our order of pairs, and with checkpoints that a training goes on from exactly."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformerTrainer
from torch.utils.data import DataLoader
from transformers import TrainerCallback

from cenote.errors import CenoteError
from cenote.listener import Step
from cenote.training.batches import Order, Rows
from cenote.training.folder import Standing, TrainingFolder, writing
from cenote.training.watching import Watch


class PairTrainer(SentenceTransformerTrainer):
    """sentence-transformers' trainer, in which every batch is a function of the seed and the step.

    Args:
        order: the batches of the whole training, which are one epoch to the trainer.
        rows: the columns of the pairs.
        report: writes the log, and knows the best score.
        **arguments: of `SentenceTransformerTrainer`.
    """

    def __init__(self, *, order: Order, rows: Rows, report: Report, **arguments: Any) -> None:
        super().__init__(train_dataset=rows.table, callbacks=[report], **arguments)
        self.order, self.rows, self.report = order, rows, report

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add none: it would write texts of the pairs, which may be private, to the model's card."""

    def get_train_dataloader(self) -> Any:
        """Return the loader of the whole training."""
        workers = self.args.dataloader_num_workers
        loader = DataLoader(self.rows, batch_sampler=self.order, collate_fn=self.data_collator, num_workers=workers)
        return self.accelerator.prepare(loader)

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Evaluate without a change of what dropout draws afterwards."""
        with untouched_randomness():
            found: dict[str, float] = super().evaluate(*arguments, **options)
        return found

    def training_step(self, *arguments: Any, **options: Any) -> Any:
        """Compute the gradients of a step; raise if the loss is not a number."""
        loss = super().training_step(*arguments, **options)
        self.report.refuse_infinite("loss", loss.item(), self.state.global_step + 1)
        return loss

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        # A callback's `on_save` would do, but cannot tell a full disk from another error.
        folder, step = self.report.folder, self.state.global_step
        path = folder.checkpoint(step)
        with writing(path):
            super()._save_checkpoint(*arguments, **options)
            folder.mark(path, self.report.standing)
        best = self.report.standing.best_step if self.report.patience else None
        folder.keep_only(path, *([folder.checkpoint(best)] if best else []))


class Report(TrainerCallback):
    """Writes the log, reports the progress, and stops a training that can or need not go on.

    Args:
        folder: of the training.
        step: of the progress.
        notify: called with a sentence on each score.
        loss: whose parts are logged.
        standing: of the scores so far.
        patience: evaluations without a better score after which the training stops; None never stops.
        watch: whose score the evaluations give.
    """

    def __init__(
        self,
        folder: TrainingFolder,
        step: Step,
        notify: Any,
        loss: Any,
        standing: Standing,
        patience: int | None,
        watch: Watch | None,
    ) -> None:
        self.folder, self.step, self.notify, self.loss = folder, step, notify, loss
        self.standing, self.patience, self.watch = standing, patience, watch

    def refuse_infinite(self, noun: str, value: float, step: int) -> None:
        """Raise for a number that is not finite, before it changes the weights."""
        if not math.isfinite(value):
            last = self.folder.last_checkpoint()
            kept = f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."
            raise CenoteError(
                f"the {noun} is {value} at step {step}: the weights or a text make numbers that are not finite. {kept} "
                "Lower the learning rate, raise the warm-up, or use precision float32, in another folder."
            )

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Take the intervals of this call, where a checkpoint has those of another."""
        state.save_steps, state.eval_steps = args.save_steps, args.eval_steps

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        """Raise if a gradient is not finite."""
        sums = [weight.grad.sum() for weight in model.parameters() if weight.grad is not None]
        self.refuse_infinite("gradient", float(torch.stack(sums).sum()), state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Report the progress."""
        self.step.reach(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:  # noqa: ARG002
        """Add a line to the log."""
        shown = {name: value for name, value in (logs or {}).items() if name in ("loss", "grad_norm", "learning_rate")}
        if shown:
            self.folder.append({"step": state.global_step, **shown, **self.loss.parts})
        state.log_history.clear()  # each checkpoint would hold all of it again

    def on_evaluate(
        self,
        args: Any,  # noqa: ARG002  the platform's signature
        state: Any,
        control: Any,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Add the score to the log, say it, and stop after too many that are not better; raise if it is no number."""
        if self.watch is None or metrics is None:
            return
        name, step = self.watch.name, state.global_step
        score = metrics[f"eval_{name}"]
        if not math.isfinite(score):
            raise CenoteError(
                f"{name} is {score} at step {step:,}: the vectors, or the scores in the data of evaluate, are all "
                "equal or not finite. Evaluate on other data, or train with a lower learning rate, in another folder."
            )
        self.folder.append({"step": step, name: score})
        self.notify(f"step {step:,}: {name} {score:.4f}")
        self.standing = self.standing.after(step, score)
        if finished(self.standing, self.patience):
            control.should_training_stop = True


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Leave the random states of the process, and the bars of `datasets`, as they were."""
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    plain, numbers, bars = random.getstate(), np.random.get_state(), is_progress_bar_enabled()  # noqa: NPY002
    disable_progress_bar()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(numbers)  # noqa: NPY002
        if bars:
            enable_progress_bar()


def finished(standing: Standing, patience: int | None) -> bool:
    """Return whether a training has stopped for want of better scores."""
    return patience is not None and standing.since >= patience


def load_best(model: Any, path: Path) -> None:
    """Give a model the weights of a checkpoint."""
    from cenote.models.loading import load

    best = load(path, device="cpu", dtype="float32", trust_remote_code=model.trust_remote_code)
    model.load_state_dict(best.state_dict())
