"""The engine: tokenised texts read batch by batch, within a budget that is halved where memory runs out.

Every verb that runs a model reads its texts here. What is computed of a batch is up to the function it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cenote.encoding.tokens import Tokens, Whole
from cenote.errors import BadInput, BadRows, CenoteError
from cenote.functional.packing import interleave, pack
from cenote.listener import silent
from cenote.models.properties import reader_of, tokenizer_of

# Tokens that could be read in the time that a batch takes to start.
OPENING = 128
# Padded tokens of a batch. On a CPU, activations of larger batches leave its caches: see docs/benchmarks.md.
_BUDGETS, _OTHER_BUDGET = {"cpu": 2048}, 8192
# Why a text cannot be read.
NO_TOKENS = "the tokenizer produced no tokens"
NOT_FINITE = "the model's vector is not finite"
TOO_LARGE = "its {:,} tokens do not fit into memory: read it in windows, or lower model.max_seq_length"
# Messages of runtimes that have run out of memory; only torch's CUDA raises a class of its own.
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "failed to allocate memory",
    "bad allocation",
    "bad_alloc",
    "alloc_failed",
)


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch that was read."""

    rows: list[int]  # places of its texts
    features: dict[str, Any]  # what the model was given, as `model.preprocess` makes it
    output: Any  # what the function returned


@dataclass(frozen=True)
class Refused:
    """A text that cannot be read."""

    row: int
    reason: str


def default_budget(model: SentenceTransformer) -> int:
    """Return the padded tokens of a batch on the model's device."""
    return _BUDGETS.get(model.device.type, _OTHER_BUDGET)


class BatchReader:
    """Reads tokenised texts in batches of like length.

    Where memory runs out, the budget is halved and the batch is split; a text that does not fit alone is refused if it
    is longer than all that were read. Where a batch is refused, it is split until the text at fault is alone, so that
    one text stops no other.

    Args:
        model: the model whose tokens they are.
        run: called with the features of a batch; returns what is wanted of it.
        budget: the most that a batch costs at first; None takes the device's padded tokens.
        power: a batch of `count` texts costs `count * longest**power`: 1 for padded tokens, 2 for attention maps.
        notify: told when memory ran out and batches became smaller.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        run: Callable[[dict[str, Any]], Any],
        *,
        budget: int | None = None,
        power: int = 1,
        notify: Callable[[str], object] = silent,
    ) -> None:
        self.model, self.run, self.power, self.notify = model, run, power, notify
        self.budget = self.first_budget = default_budget(model) if budget is None else budget
        self.longest = 0  # tokens of the longest text that was read

    def read(self, tokens: Tokens, rows: Sequence[int] | None = None) -> Iterator[Batch | Refused]:
        """Read some of the texts, by default all; of every text comes a batch that holds it, or a refusal.

        Every call starts with the first budget, so that a resumed run makes the batches of an uninterrupted one.

        Raises:
            CenoteError: memory ran out for a text that is no longer than one that was read: something else uses it.
        """
        self.budget = self.first_budget
        wanted = np.arange(len(tokens)) if rows is None else np.asarray(rows, np.int64)
        lengths = tokens.lengths[wanted]
        for row in wanted[lengths == 0].tolist():
            yield Refused(row, NO_TOKENS)
        wanted, lengths = wanted[lengths > 0], lengths[lengths > 0]
        for places in interleave(list(pack(lengths, self.budget, OPENING, power=self.power))):
            yield from self._read_batch(tokens, wanted[places].tolist())

    def _read_batch(self, tokens: Tokens, rows: list[int]) -> Iterator[Batch | Refused]:
        """Read a batch whole, or in halves where it takes too much memory or is refused."""
        waiting = [rows]
        while waiting:
            some = waiting.pop(0)
            halves = [some[: len(some) // 2], some[len(some) // 2 :]]
            longest = int(tokens.lengths[some].max())
            cost = len(some) * longest**self.power
            if len(some) > 1 and cost > self.budget:  # the batch was packed before the budget fell
                waiting[:0] = halves
                continue
            features, output, refusal, memory_ran_out = {}, None, "", False
            try:
                features = collate(self.model, tokens, some)
                output = self.run(features)
            except BadInput as error:
                refusal = (f"it has {error.problem}" if isinstance(error, BadRows) else str(error)).removesuffix(".")
            except Exception as error:  # runtimes have classes of their own
                if not is_out_of_memory(error):
                    raise
                memory_ran_out, refusal = True, TOO_LARGE.format(longest)
            # Outside of `except`: the error, and the tensors that its traceback holds, are gone.
            if memory_ran_out and len(some) > 1:
                self._halve(cost)
            elif memory_ran_out and longest <= self.longest:
                raise CenoteError(
                    f"memory ran out for a text of {longest:,} tokens, and one of {self.longest:,} was read before: "
                    "other programs or the results so far use the memory. Free it, and run again."
                )
            if refusal and len(some) > 1:
                waiting[:0] = halves
            elif refusal:
                yield Refused(some[0], refusal)
            else:
                self.longest = max(self.longest, longest)
                yield Batch(some, features, output)

    def _halve(self, cost: int) -> None:
        self.budget = max(1, min(self.budget, cost) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        unit = "tokens" if self.power == 1 else f"tokens^{self.power}"
        self.notify(f"out of memory: going on with batches of {self.budget:,} {unit}")


def collate(model: SentenceTransformer, tokens: Tokens, rows: Sequence[int]) -> dict[str, Any]:
    """Return the features of a batch, as `model.preprocess` makes them.

    >>> import cenote
    >>> from cenote.encoding.tokens import tokenise
    >>> model = cenote.load("minilm")
    >>> collate(model, tokenise(model, ["the deep cave", "a pool"]), [1, 0])["attention_mask"]
    tensor([[1, 1, 1, 1, 0],
            [1, 1, 1, 1, 1]])
    """
    lengths, starts = tokens.lengths[list(rows)], tokens.offsets[list(rows)]
    features = dict(tokens.constants)
    if "attention_mask" not in tokens.columns:
        return features | _flattened(model, tokens, starts, lengths)
    longest, tokenizer = int(lengths.max()), tokenizer_of(model, _task_of(tokens))
    left = getattr(tokenizer, "padding_side", "right") == "left"  # tokenizers of word embeddings have no padding side
    slots = np.arange(longest) - (longest - lengths[:, None] if left else 0)
    real = (slots >= 0) & (slots < lengths[:, None])
    places = np.where(real, starts[:, None] + slots, 0)
    fill = {
        "input_ids": getattr(tokenizer, "pad_token_id", None) or 0,
        "token_type_ids": getattr(tokenizer, "pad_token_type_id", 0),
    }
    for name, column in tokens.columns.items():
        features[name] = _tensor(np.where(real, column[places], column.dtype.type(fill.get(name, 0))))
    return features


def _flattened(model: SentenceTransformer, tokens: Tokens, starts: Whole, lengths: Whole) -> dict[str, Any]:
    """Return one row for the whole batch, as flash attention reads it, made by sentence-transformers' own collator."""
    spans = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    collator: Any = reader_of(model, _task_of(tokens)).data_collator
    features = dict(collator([{"input_ids": tokens.columns["input_ids"][span].tolist()} for span in spans]))
    features.pop("labels", None)
    for name, column in tokens.columns.items():
        features[name] = _tensor(np.concatenate([column[span] for span in spans]))[None]
    return features


def _task_of(tokens: Tokens) -> str | None:
    """Return the task of the texts, which a Router notes among their features."""
    task: str | None = tokens.constants.get("task")
    return task


def _tensor(column: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(column if column.dtype == bool else column.astype(np.int64))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, by its class or by its message.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    >>> is_out_of_memory(RuntimeError("shape"))
    False
    """
    message = str(error).lower()
    return isinstance(error, MemoryError) or any(words in message for words in _OUT_OF_MEMORY)
