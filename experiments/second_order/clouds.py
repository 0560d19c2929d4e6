"""Token vectors of texts, and which models were trained from which, for the experiments on second-order collapse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from cenote.data.rows import Text
from cenote.diagnosis.reading import read_texts
from cenote.encoding.tokens import tokenise
from cenote.functional.items import mean_of_items
from cenote.models.properties import prompt_name_for
from cenote.records import Estimate
from experiments.lab import Cell

Clouds = list[npt.NDArray[np.float32]]
# Encoders and their backbones, where the command does not name them. The hub ids are the pairs of arXiv 2604.27398;
# `sre-minilm` is the demo model trained again on 1,808 short pairs, so that its "backbone" is a contrastive encoder
# already; `masked` and `masked-tuned` are what `experiments.second_order.fine_tuning` makes.
BACKBONES = {
    "sre-minilm": "minilm",
    "masked-tuned": "masked",
    "unsup-simcse-bert-base-uncased": "bert-base-uncased",
    "e5-base": "bert-base-uncased",
    "gte-base": "bert-base-uncased",
    "all-MiniLM-L12-v2": "MiniLM-L12-H384-uncased",
    "e5-small": "MiniLM-L12-H384-uncased",
    "gte-small": "MiniLM-L12-H384-uncased",
    "all-mpnet-base-v2": "mpnet-base",
    "nomic-embed-text-v1.5": "nomic-bert-2048",
}
# Comparisons that test a statement on fine-tuning in part only, and why.
STAND_INS = ("sre-minilm minus minilm", "masked-tuned minus masked")
TUNED_HERE = (
    "sre-minilm is a narrow fine-tuning of a contrastive encoder, which lost scores by it; masked is a backbone of "
    "three layers that was trained here, briefly: no backbone of the paper is measured"
)


def read_clouds(model: SentenceTransformer, texts: Sequence[str], task: str = "document") -> dict[int, Any]:
    """Return the last hidden states of texts by their places; texts of fewer than four tokens cannot be halved.

    >>> import cenote
    >>> {place: cloud.shape for place, cloud in read_clouds(cenote.load("minilm"), ["a pool", ""]).items()}
    {0: (4, 384)}
    """
    tokens = tokenise(model, list(texts), prompt_name_for(model, None, task), task)
    found = read_texts(model, tokens, keep=range(len(texts))).tokens
    return {place: found[place] for place in sorted(found) if len(found[place]) >= 4}


def by_length(clouds: dict[int, Any], texts: Sequence[Text]) -> tuple[Clouds, list[str]]:
    """Return clouds from the shortest to the longest, so that neighbours have about as many tokens, with their ids."""
    order = sorted(clouds, key=lambda place: (len(clouds[place]), place))
    return [clouds[place] for place in order], [texts[place].id for place in order]


def against_backbones(cells: Sequence[Cell]) -> Iterator[tuple[str, Cell, Cell]]:
    """Yield encoders and their backbones that were measured on the same data, with a name for each comparison."""
    known = {(cell.model, cell.data): cell for cell in cells}
    for cell in cells:
        backbone = known.get((cell.backbone or BACKBONES.get(cell.model, ""), cell.data))
        if backbone is not None:
            yield f"{cell.model} minus {backbone.model}", cell, backbone


def mean_change(before: dict[str, float], after: dict[str, float]) -> Estimate | None:
    """Return the mean change of values of the same texts, by their ids; None where too few are in both."""
    shared = [name for name in before if name in after]
    if len(shared) < 2:
        return None
    return mean_of_items([after[name] - before[name] for name in shared])
