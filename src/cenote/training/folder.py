"""The folder of a training: what it is a training of, its checkpoints, its log, and at the end the model.

    training.json      the recipe, the fingerprints of backbone and pairs, and whether the training is complete
    pairs.arrow        the pairs, mapped into memory
    log.jsonl          a line for each report: step, loss, learning rate, scores
    checkpoints/       the last, and the best if scores decide; deleted when the model is written

A checkpoint counts from the moment its mark is there, which is written last: one that was cut short is deleted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from cenote.data.lines import readable
from cenote.errors import BadInput, CenoteError
from cenote.storage import TEMPORARY, explain_disk_errors, lock_folder, refuse_unwritable, sync_files, write_text

STATE, PAIRS, LOG, CHECKPOINTS = "training.json", "pairs.arrow", "log.jsonl", "checkpoints"
_MARK = "complete.json"
_PREFIX = "checkpoint-"
# Words of torch's errors of writing.
_TORCH_WRITER = ("inline_container", "PytorchStreamWriter", "file write failed")


# The entry of `training.json` with the version of the order of the pairs.
ORDER = "order"


@dataclass(frozen=True)
class Standing:
    """The scores of a training so far: that of the start, the best, its step, and the evaluations since.

    >>> Standing().after(0, 0.3).after(10, 0.5).after(20, 0.4)
    Standing(start=0.3, best_step=10, best_score=0.5, since=1)
    """

    start: float | None = None
    best_step: int | None = None
    best_score: float | None = None
    since: int = 0

    def after(self, step: int, score: float) -> Standing:
        """Return the progress after another evaluation."""
        if not step:
            return replace(self, start=score)
        if self.best_score is None or score > self.best_score:
            return Standing(self.start, step, score, 0)
        return replace(self, since=self.since + 1)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the libraries that write weights into one with the path and the remedy."""
    try:
        with explain_disk_errors(path):
            yield
    except (SafetensorError, RuntimeError) as error:
        # torch's writer raises a RuntimeError for a full disk; so do many things that have nothing to do with disks.
        if isinstance(error, RuntimeError) and not any(word in str(error) for word in _TORCH_WRITER):
            raise
        raise CenoteError(
            f"{path} could not be written ({error}). Checkpoints that are complete stay: make room, and run the same "
            "command again to go on."
        ) from error


class TrainingFolder:
    """The files of one training."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.pairs, self.log, self.checkpoints = (self.path / name for name in (PAIRS, LOG, CHECKPOINTS))

    def state(self) -> dict[str, Any] | None:
        """Return what the folder is a training of; None if it holds no training."""
        path = self.path / STATE
        if not path.exists():
            return None
        with readable(str(path)):
            try:
                found = json.loads(path.read_text("utf-8"))
            except ValueError as error:
                raise BadInput(f"{path} is damaged ({error}). Name another folder.") from None
        if not isinstance(found, dict):
            raise BadInput(f"{path} is damaged. Name another folder.")
        return found

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Write what the folder is a training of."""
        write_text(self.path / STATE, json.dumps(state, indent=1, ensure_ascii=False) + "\n")

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make and lock the folder; if the training is refused before its first step, delete what was written."""
        refuse_unwritable(self.path)
        self.refuse_foreign()
        new = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        with lock_folder(self.path):
            try:
                yield
            finally:
                state = self.state()
                if state is None or state.get("complete"):
                    self.pairs.unlink(missing_ok=True)
                if new and not any(self.path.iterdir()):
                    self.path.rmdir()

    def refuse_foreign(self) -> None:
        """Raise if the folder holds files that are not of a training."""
        ours = (TEMPORARY, PAIRS, STATE)
        held = self.path.iterdir() if self.path.is_dir() and self.state() is None else ()
        if any(not one.name.startswith(ours) for one in held):
            raise BadInput(f"{str(self.path)!r} already exists and holds no training: name a new folder.")

    def refuse_other(self, wanted: Mapping[str, Any]) -> None:
        """Raise if the folder holds a training of something else, naming all that differs.

        The order of the pairs is that of a version of Cenote, and nothing to a training that is complete.
        """
        found = self.state()
        if found is None:
            return
        complete, order = found.get("complete"), wanted.get(ORDER)
        if not complete and found.get(ORDER) != order:
            raise BadInput(
                f"{str(self.path)!r} holds a training that another version of Cenote began, which puts the pairs in "
                "another order, so that it cannot go on: name another folder."
            )
        if differing := list(_differences({**found, ORDER: order}, wanted)):
            remedy = (
                "It is complete: name another folder, and to train it further name it as the backbone."
                if complete
                else "Use the same settings to go on with it, or name another folder."
            )
            raise BadInput(f"{str(self.path)!r} holds a training with other settings: {'; '.join(differing)}. {remedy}")

    def checkpoint(self, step: int) -> Path:
        """Return the folder of the checkpoint at a step; the trainer gives it this name."""
        return self.checkpoints / f"{_PREFIX}{step}"

    def mark(self, checkpoint: Path, standing: Standing) -> None:
        """Mark a checkpoint as complete, once all of it is on the disk."""
        sync_files(checkpoint)
        write_text(checkpoint / _MARK, json.dumps(asdict(standing)) + "\n")

    def standing(self, checkpoint: Path | None) -> Standing:
        """Return the scores so far at a checkpoint."""
        return Standing() if checkpoint is None else Standing(**json.loads((checkpoint / _MARK).read_text("utf-8")))

    def keep_only(self, *checkpoints: Path) -> None:
        """Delete all checkpoints but these."""
        kept = {path.resolve() for path in checkpoints}
        for path in self.checkpoints.glob(f"{_PREFIX}*"):
            if path.resolve() not in kept:
                shutil.rmtree(path)

    def last_checkpoint(self) -> Path | None:
        """Return the last complete checkpoint, if there is one."""
        complete = [path for path in self.checkpoints.glob(f"{_PREFIX}*") if (path / _MARK).exists()]
        return max(complete, key=step_of, default=None)

    def delete_cut_short(self) -> None:
        """Delete checkpoints that a stop cut short."""
        for path in self.checkpoints.glob(f"{_PREFIX}*"):
            if not (path / _MARK).exists():
                shutil.rmtree(path)

    def cut_log(self, checkpoint: Path | None) -> None:
        """Delete the lines of the log that the training writes again: those after a checkpoint, or all without one."""
        step = -1 if checkpoint is None else step_of(checkpoint)
        if self.log.exists():
            lines = [line for line in self.log.read_text("utf-8").splitlines() if _step_of_line(line) <= step]
            write_text(self.log, "".join(f"{line}\n" for line in lines))

    def describe_loss(self) -> str:
        """Return the mean loss of the first and of the last tenth of the steps, empty for few steps."""
        lines = [json.loads(line) for line in self.log.read_text("utf-8").splitlines()] if self.log.exists() else []
        losses = [line["loss"] for line in lines if "loss" in line]
        some = len(losses) // 10
        if not some:
            return ""
        first, last = (sum(part) / some for part in (losses[:some], losses[-some:]))
        return f"loss: {first:.3f} in the first tenth of the steps, {last:.3f} in the last"

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        with explain_disk_errors(self.log), self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def finish(self) -> None:
        """Delete what only an unfinished training needs."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> Any:
    for name, value in wanted.items():
        other = found.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from _differences(other, value, f"{prefix}{name} ")
        elif other != value:
            yield f"{prefix}{name} is {other!r} there and {value!r} now"


def _step_of_line(line: str) -> float:
    """Return the step of a line of the log; a line that was cut short is after every step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
