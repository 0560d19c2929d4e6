"""How long a diagnosis takes: said before it begins, and again whenever a stage of it ends."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.encoding.batches import BatchReader
from cenote.encoding.forward import forward
from cenote.encoding.passes import Passes
from cenote.encoding.tokens import Tokens
from cenote.listener import Listener
from cenote.wording import in_minutes

# Texts that are read to know the speed.
_PROBED = 8
# What is left is not said again where it is less, in seconds.
_WORTH_SAYING = 20


@dataclass(frozen=True)
class Stage:
    """A part of the work: tokens to read, and seconds for whatever is not reading."""

    tokens: float
    seconds: float = 0.0


@dataclass
class Forecast:
    """The stages that are left, and the speed of reading that was measured so far."""

    stages: list[Stage]
    seconds_a_token: float
    listener: Listener
    _start: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        """Seconds that the stages which are left take."""
        return sum(stage.tokens * self.seconds_a_token + stage.seconds for stage in self.stages)

    def begin(self) -> None:
        """Say how long all stages take."""
        self.listener.notify(f"about {in_minutes(self.left)} for this model")
        self._start = time.perf_counter()

    def finish_stage(self) -> None:
        """Take the first stage as done, learn its speed, and say how long the others take."""
        now, stage = time.perf_counter(), self.stages.pop(0)
        if stage.tokens and (read := now - self._start - stage.seconds) > 0:
            self.seconds_a_token = read / stage.tokens
        self._start = now
        if self.left > _WORTH_SAYING:
            self.listener.notify(f"about {in_minutes(self.left)} to go for this model")


def measure_speed(
    model: SentenceTransformer, tokens: Tokens, seed: int, listener: Listener, passes: Passes | None = None
) -> float:
    """Return the seconds that the model takes for a token, read in a batch of a few of these texts.

    They are read twice, since a first batch also pays for what is prepared once.
    """
    rows = np.random.default_rng(seed).permutation(len(tokens))[:_PROBED].tolist()
    reader = BatchReader(model, passes or partial(forward, model), notify=listener.notify)
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        deque(reader.read(tokens, rows), maxlen=0)
        seconds = time.perf_counter() - start
    return seconds / max(1, int(tokens.lengths[rows].sum()))
