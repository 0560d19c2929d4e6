"""The folder of a training: what it is a training of, its checkpoints, its log, and at the end the model.

    training.json      the recipe, the fingerprints of backbone and pairs, and whether the training is complete
    pairs.arrow        the pairs, mapped into memory
    log.jsonl          a line for each report: step, loss, learning rate, scores
    checkpoints/       deleted when the model is written

A checkpoint counts from the moment its mark is there, which is written last: one that was cut short is deleted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cenote.data.lines import readable
from cenote.errors import BadInput
from cenote.storage import TEMPORARY, explain_disk_errors, write_text

STATE, PAIRS, LOG, CHECKPOINTS = "training.json", "pairs.arrow", "log.jsonl", "checkpoints"
_MARK = "complete.json"
_PREFIX = "checkpoint-"


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

    def refuse_foreign(self) -> None:
        """Raise if the folder holds files that are not of a training."""
        if self.path.is_file():
            raise BadInput(f"{str(self.path)!r} is a file: name a folder.")
        ours = (TEMPORARY, PAIRS, STATE)
        held = self.path.iterdir() if self.path.is_dir() and self.state() is None else ()
        if any(not one.name.startswith(ours) for one in held):
            raise BadInput(f"{str(self.path)!r} already exists and holds no training: name a new folder.")

    def refuse_other(self, wanted: Mapping[str, Any]) -> None:
        """Raise if the folder holds a training of something else, naming all that differs."""
        found = self.state()
        differing = [] if found is None else list(_differences(found, wanted))
        if differing:
            raise BadInput(
                f"{str(self.path)!r} holds a training with other settings: {'; '.join(differing)}. Use the same "
                "settings to go on with it, or name another folder."
            )

    def mark(self, checkpoint: Path, step: int) -> None:
        """Mark a checkpoint as complete."""
        write_text(checkpoint / _MARK, json.dumps({"step": step}) + "\n")

    def keep_only(self, *checkpoints: Path) -> None:
        """Delete all checkpoints but these."""
        kept = {path.resolve() for path in checkpoints}
        for path in self.checkpoints.glob(f"{_PREFIX}*"):
            if path.resolve() not in kept:
                shutil.rmtree(path)

    def last_checkpoint(self) -> Path | None:
        """Return the last complete checkpoint, if there is one, and delete those that were cut short."""
        complete: list[tuple[int, Path]] = []
        for path in sorted(self.checkpoints.glob(f"{_PREFIX}*")):
            if (path / _MARK).exists():
                complete.append((int(path.name.removeprefix(_PREFIX)), path))
            else:
                shutil.rmtree(path)
        return max(complete)[1] if complete else None

    def cut_log(self, step: int) -> None:
        """Delete the lines of the log after a step, which the training writes again."""
        if self.log.exists():
            lines = [line for line in self.log.read_text("utf-8").splitlines() if _step_of(line) <= step]
            write_text(self.log, "".join(f"{line}\n" for line in lines))

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        with explain_disk_errors(self.log), self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def finish(self) -> None:
        """Delete what only an unfinished training needs."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        self.pairs.unlink(missing_ok=True)


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> Any:
    for name, value in wanted.items():
        other = found.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from _differences(other, value, f"{prefix}{name} ")
        elif other != value:
            yield f"{prefix}{name} is {other!r} there and {value!r} now"


def _step_of(line: str) -> float:
    """Return the step of a line of the log; a line that was cut short is after every step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
