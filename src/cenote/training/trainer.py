"""sentence-transformers' trainer with our order of pairs, and with checkpoints that a training goes on from exactly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformerTrainer
from torch.utils.data import DataLoader
from transformers import TrainerCallback

from cenote.errors import CenoteError
from cenote.listener import Step
from cenote.storage import explain_disk_errors
from cenote.training.batches import Order, Rows
from cenote.training.folder import TrainingFolder


class PairTrainer(SentenceTransformerTrainer):
    """sentence-transformers' trainer, in which every batch is a function of the seed and the step.

    Args:
        order: the batches of the whole training, which are one epoch to the trainer.
        rows: the columns of the pairs.
        folder: where checkpoints are marked.
        **arguments: of `SentenceTransformerTrainer`.
    """

    def __init__(self, *, order: Order, rows: Rows, folder: TrainingFolder, **arguments: Any) -> None:
        super().__init__(train_dataset=rows.table, **arguments)
        self.order, self.rows, self.folder = order, rows, folder

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add none: it would write texts of the pairs, which may be private, to the model's card."""

    def get_train_dataloader(self) -> Any:
        """Return the loader of the whole training."""
        self.accelerator.even_batches = False
        workers = self.args.dataloader_num_workers
        loader = DataLoader(
            self.rows, batch_sampler=self.order, collate_fn=self.data_collator, num_workers=workers, pin_memory=False
        )
        return self.accelerator.prepare(loader)

    def training_step(self, *arguments: Any, **options: Any) -> Any:
        """Compute the gradients of a step; stop at a loss that is not a number, before the weights change."""
        loss = super().training_step(*arguments, **options)
        if not math.isfinite(loss.item()):
            step, last = self.state.global_step + 1, self.folder.last_checkpoint()
            kept = f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."
            raise CenoteError(
                f"the loss is {loss.item()} at step {step}: the weights or a text make numbers that are not finite. "
                f"{kept} Lower the learning rate, raise the warm-up, or use precision float32, in another folder."
            )
        return loss

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        path = self.folder.checkpoints / f"checkpoint-{self.state.global_step}"
        try:
            with explain_disk_errors(path):
                super()._save_checkpoint(*arguments, **options)
        except RuntimeError as error:  # torch's own writer says no more than this
            raise CenoteError(
                f"the checkpoint {path} could not be written ({error}). Checkpoints that are already written are "
                "complete: make room, and run the same command again to go on."
            ) from error
        self.folder.mark(path, self.state.global_step)
        best = self.state.best_model_checkpoint
        self.folder.keep_only(path, *([Path(best)] if best else []))


class Report(TrainerCallback):
    """Writes the log, and reports the progress."""

    def __init__(self, folder: TrainingFolder, step: Step, notify: Any, loss: Any) -> None:
        self.folder, self.step, self.notify, self.loss = folder, step, notify, loss

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Report the progress."""
        self.step.reach(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:  # noqa: ARG002
        """Add a line to the log."""
        shown = {name: value for name, value in (logs or {}).items() if name in ("loss", "grad_norm", "learning_rate")}
        if shown:
            self.folder.append({"step": state.global_step, **shown, **self.loss.parts})

    def on_evaluate(
        self,
        args: Any,  # noqa: ARG002  the platform's signature
        state: Any,
        control: Any,  # noqa: ARG002
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Add the score to the log, and say it."""
        scores = {
            name.removeprefix("eval_"): value
            for name, value in (metrics or {}).items()
            if name.startswith("eval_") and name not in _TIMES
        }
        if scores:
            self.folder.append({"step": state.global_step, **scores})
            said = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
            self.notify(f"step {state.global_step:,}: {said}")


_TIMES = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_loss")


def checkpoint_step(path: Path) -> int:
    """Return the step of a checkpoint."""
    return int(path.name.rpartition("-")[2])
