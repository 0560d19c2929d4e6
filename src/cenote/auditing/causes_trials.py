"""The local model read with other settings: poolings, prompts, windows, precisions, and without some of its modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from cenote.encoding.batches import BatchReader, Refused
from cenote.encoding.forward import forward, pooled_vectors, repooled_vectors
from cenote.encoding.tokens import Tokens, tokenise
from cenote.errors import CenoteError
from cenote.functional.agreement import cosines
from cenote.functional.pooling import POOLINGS
from cenote.models.properties import limit_of, limits_kept, positions_of, prompt_of, set_limit, tokenizer_of
from cenote.models.provenance import live_temperature_of, pooling_of
from cenote.models.repooling import pooling_for, pooling_index
from cenote.nn import Temperature
from cenote.surgery.tempering import temper

Vectors = npt.NDArray[np.float64]

# Prompts that common models are trained with; a server may put one before every text.
COMMON_PROMPTS = ("query: ", "passage: ", "search_query: ", "search_document: ")
# Token limits that servers use by default, besides those of the model.
COMMON_WINDOWS = (128, 256, 512, 1024, 2048, 8192)
# A text that shows which special tokens stand around one.
_ANY = "a"
# The longest texts are read at these many windows to find where a server cuts.
_SEARCHED = 24


@dataclass(frozen=True)
class Attempt:
    """How a model reads texts in one pass that is tried; the pass also gives the other poolings of the same tokens."""

    kind: str = ""  # nothing for the model's own way
    words: str = ""
    prefix: str | None = None  # put before a text in place of the model's prompt
    limit: int | None = None  # tokens
    change: Callable[[str], str] | None = None  # of the text
    special: bool = True  # whether special tokens around a text are read
    plain: bool = False  # whether the attention temperature is 1
    dtype: torch.dtype | None = None


# The model's own way at half precision.
HALF = Attempt("precision", "at bfloat16", dtype=torch.bfloat16)


@dataclass(frozen=True)
class PooledBy:
    """A pooling and the modules after it, applied to the tokens of a pass."""

    pooling: str | None = None  # None: the model's own
    without: str | None = None  # the class of the modules that are left out


class _PooledWays:
    """Returns the vectors of one forward pass by several ways, side by side."""

    def __init__(self, model: SentenceTransformer, dtype: torch.dtype | None) -> None:
        self.model, self.dtype = model, dtype
        modules = list[Any](model)
        place = pooling_index(modules)
        self.place = place if place is not None and isinstance(modules[place], StPooling) else None
        self.ways: list[PooledBy] = [PooledBy()]
        self.poolings: dict[str | None, nn.Module] = {}
        self.widths: list[int] = []
        if self.place is None:
            return
        self.poolings[None] = modules[self.place]
        own = pooling_of(model)
        for name, row in POOLINGS.items():
            if row.marks or name == own or "k" in row.options:
                continue
            try:
                self.poolings[name] = pooling_for(model, name)
            except CenoteError:  # later modules take another width
                continue
        later = [one for one in modules[self.place + 1 :] if not isinstance(one, (Normalize, Temperature))]
        dropped = list(dict.fromkeys(type(one).__name__ for one in later))
        several = [" and ".join(dropped)] if len(dropped) > 1 else []
        self.ways = [PooledBy(name, without) for without in (None, *dropped, *several) for name in self.poolings]

    def __call__(self, features: Mapping[str, Any]) -> Tensor:
        """Return the vectors of all ways, `[B, sum of D]`."""
        rounding = nullcontext() if self.dtype is None else torch.autocast(self.model.device.type, self.dtype)
        with rounding:
            output = forward(self.model, features)
            found = [self._vectors(output, way) for way in self.ways]
        self.widths = [one.shape[1] for one in found]
        return torch.cat(found, 1).cpu()

    def _vectors(self, output: Mapping[str, Any], way: PooledBy) -> Tensor:
        if self.place is None or way == PooledBy():
            return pooled_vectors(self.model, output)
        left_out = way.without.split(" and ") if way.without else ()
        return repooled_vectors(self.model, output, self.poolings[way.pooling], without=left_out)


def read(
    model: SentenceTransformer, texts: Sequence[str], attempt: Attempt, prompt_name: str | None
) -> dict[PooledBy, Vectors]:
    """Return the vectors of texts by every way of one attempt; a text that cannot be read has NaN."""
    with _settings(model, attempt):
        given = [attempt.change(text) for text in texts] if attempt.change else list(texts)
        if attempt.prefix is not None:
            given, prompt_name = [f"{attempt.prefix}{text}" for text in given], None
        tokens = tokenise(model, given, prompt_name)
        if not attempt.special:
            tokens = without_special_tokens(model, tokens)
        run = _PooledWays(model, attempt.dtype)
        rows: dict[int, Any] = {}
        for part in BatchReader(model, run).read(tokens):
            if not isinstance(part, Refused):
                rows |= dict(zip(part.rows, part.output.double().numpy(), strict=True))
    ends = np.cumsum(run.widths)
    empty = np.full(int(ends[-1]) if len(ends) else 1, np.nan)
    whole = np.stack([rows.get(place, empty) for place in range(len(texts))])
    return dict(zip(run.ways, np.split(whole, ends[:-1], axis=1), strict=False))


@contextmanager
def _settings(model: SentenceTransformer, attempt: Attempt) -> Iterator[None]:
    """Give a model the limit, the prompt and the temperature of an attempt; the old ones come back."""
    with ExitStack() as stack:
        if attempt.limit is not None:
            stack.enter_context(limits_kept(model))
            set_limit(model, attempt.limit)
        if attempt.prefix is not None:
            stack.callback(setattr, model, "default_prompt_name", model.default_prompt_name)
            model.default_prompt_name = None
        if attempt.plain:
            stack.enter_context(temper(model, 1.0))
        yield


def without_special_tokens(model: SentenceTransformer, tokens: Tokens) -> Tokens:
    """Return tokenised texts without the special tokens around them; a text of nothing else keeps them.

    Special tokens inside a text, such as that of an unknown word, stay: a tokenizer that adds none writes them, too.
    """
    ids = tokens.columns["input_ids"]
    before, after = _special_around(tokenizer_of(model, tokens.constants.get("task")))
    keep = np.ones(len(ids), bool)
    for start, end in pairwise(tokens.offsets.tolist()):
        if end - start <= len(before) + len(after):
            continue
        if ids[start : start + len(before)].tolist() == before:
            keep[start : start + len(before)] = False
        if after and ids[end - len(after) : end].tolist() == after:
            keep[end - len(after) : end] = False
    ends = np.concatenate([[0], np.cumsum(keep)])[tokens.offsets]
    return replace(tokens, columns={name: column[keep] for name, column in tokens.columns.items()}, offsets=ends)


def _special_around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens that a tokenizer puts before and after a text."""
    whole, plain = ([*tokenizer(_ANY, add_special_tokens=special)["input_ids"]] for special in (True, False))
    for start in range(len(whole) - len(plain) + 1):
        if plain and whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    return [], []


def attempts(
    model: SentenceTransformer, prompt_name: str | None, lengths: Sequence[int], *, half: bool, long: bool
) -> Iterator[Attempt]:
    """Yield the ways to read texts that are tried: the model's own first, then the most likely.

    Args:
        model: the local model.
        prompt_name: of the prompt that it reads texts with.
        lengths: of the texts in tokens, before they are cut.
        half: whether to try half precision.
        long: whether the long texts differ, so that a cut is more likely than a prompt.
    """
    yield Attempt()
    kinds = [_windows(model, lengths), _prompts(model, prompt_name)]
    for kind in kinds if long else reversed(kinds):
        yield from kind
    if live_temperature_of(model) != "1":
        yield Attempt("temperature", f"at temperature 1, not {live_temperature_of(model)}", plain=True)
    own = limit_of(model)
    tokenizer = tokenizer_of(model)
    around = tokenizer.num_special_tokens_to_add() if isinstance(tokenizer, PreTrainedTokenizerBase) else 0
    # Their room is for the text.
    yield Attempt("tokens", "without special tokens", limit=None if own is None else own + around, special=False)
    yield Attempt("text", "with texts in lower case", change=str.lower)
    yield Attempt("text", "with line breaks replaced by spaces", change=lambda text: " ".join(text.splitlines()))
    yield Attempt("text", "without white space at the ends of texts", change=str.strip)
    if half:
        yield HALF


def _windows(model: SentenceTransformer, lengths: Sequence[int]) -> Iterator[Attempt]:
    own = limit_of(model)
    for limit in windows(model, lengths):
        yield Attempt("window", f"when cut at {limit} tokens, not {'at all' if own is None else own}", limit=limit)


def _prompts(model: SentenceTransformer, prompt_name: str | None) -> Iterator[Attempt]:
    own = prompt_of(model, prompt_name) or ""
    if own:
        yield Attempt("prompt", f"without the prompt {own!r}", prefix="")
        yield Attempt("prompt", f"with the prompt {own!r} twice", prefix=own + own)
        yield Attempt("prompt", f"with the prompt {own!r} as part of the text", prefix=own)
    others = dict.fromkeys(prompt for prompt in (*model.prompts.values(), *COMMON_PROMPTS) if prompt and prompt != own)
    for prompt in others:
        yield Attempt("prompt", f"with the prompt {prompt!r}" + (f", not {own!r}" if own else ""), prefix=prompt)


def windows(model: SentenceTransformer, lengths: Sequence[int]) -> list[int]:
    """Return the token limits to try that change some of the texts, near to the model's own first."""
    own, positions = limit_of(model), positions_of(model)
    longest = max(lengths, default=0)
    wanted = {*COMMON_WINDOWS, *((positions,) if positions else ())}
    if own is not None:
        wanted |= {own // 2, own - 2, own + 2, own - 1, own + 1}
    read_now = longest if own is None else min(own, longest)
    found = [
        limit
        for limit in wanted
        if limit > 2 and (positions is None or limit <= positions) and min(limit, longest) != read_now
    ]
    return sorted(found, key=lambda limit: abs(np.log2(limit / max(read_now, 1))))


def search_window(
    model: SentenceTransformer, texts: Sequence[str], lengths: Sequence[int], wanted: Vectors, prompt_name: str | None
) -> tuple[int, PooledBy] | None:
    """Return the token limit at which the model comes nearest to the wanted vectors of some long texts, and the way.

    Limits are tried from coarse to fine, each at all ways; None if none of the ways has the width of the vectors.
    """
    most = min(filter(None, (limit_of(model), positions_of(model), max(lengths))), default=max(lengths))
    least, found = 4, {}

    def score(limit: int) -> float:
        if limit not in found:
            ways = read(model, texts, Attempt(limit=limit), prompt_name)
            scored = {
                way: float(np.nan_to_num(cosines(one, wanted), nan=-1.0).min())
                for way, one in ways.items()
                if one.shape[1] == wanted.shape[1]
            }
            found[limit] = max(scored.items(), key=lambda pair: pair[1], default=(PooledBy(), -1.0))
        return found[limit][1]

    step = max(1, (most - least) // _SEARCHED)
    best = max(range(least, most + 1, step), key=score, default=least)
    while step > 1:
        step = max(1, step // 2)
        best = max((one for one in (best - step, best, best + step) if least <= one <= most), key=score)
    return None if best not in found or found[best][1] < 0 else (best, found[best][0])
