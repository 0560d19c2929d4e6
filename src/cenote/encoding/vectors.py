"""Tokenised texts to vectors by a backend; every vector is checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from cenote.encoding.backends import Backend
from cenote.encoding.batches import NOT_FINITE, BatchReader, Refused
from cenote.encoding.tokens import Tokens
from cenote.listener import Advance, silent
from cenote.models.properties import width_of

Vectors = npt.NDArray[np.float32]


class Encoder:
    """Encodes tokenised texts with a backend. The arguments are those of `BatchReader`, a backend in place of `run`."""

    def __init__(self, model: SentenceTransformer, backend: Backend, **reading: Any) -> None:
        self.model, self.backend = model, backend
        self.reader = BatchReader(model, backend, **reading)

    def __call__(
        self, tokens: Tokens, advance: Advance = silent, *, stop_at_refusal: bool = False
    ) -> tuple[Vectors, dict[int, str]]:
        """Return the vectors `[N, D]` in the order of the texts, and the texts without one, with reasons.

        Args:
            tokens: of the texts.
            advance: called after each batch with the number of its texts.
            stop_at_refusal: whether to stop after the batch that held a text without a vector; the vectors of the texts
                that were not read are zeros.
        """
        vectors: Vectors | None = None
        refused: dict[int, str] = {}
        for read in self.reader.read(tokens):
            if isinstance(read, Refused):
                advance(1)
                refused[read.row] = read.reason
            else:
                advance(len(read.rows))
                found = read.output.numpy()
                if vectors is None:
                    vectors = np.zeros((len(tokens), found.shape[1]), np.float32)
                vectors[read.rows] = found
                refused |= {read.rows[place]: NOT_FINITE for place in np.flatnonzero(~np.isfinite(found).all(1))}
            if refused and stop_at_refusal:
                break
        if vectors is None:
            vectors = np.zeros((len(tokens), width_of(self.model)), np.float32)
        return vectors, refused
