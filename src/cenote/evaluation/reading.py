"""Vectors for tasks: each text is read once for each prompt and side, in whatever ways long texts are scored."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer
from torch import nn

from cenote.account.pooled_texts import OWN
from cenote.choices import AUTO
from cenote.encoding.backend_choice import choose_steadily
from cenote.encoding.backends import (
    ROUNDED_COSINE,
    Backend,
    ManyPoolings,
    backend,
    obstacle,
    own_precision,
)
from cenote.encoding.passes import Passes
from cenote.encoding.tokens import Tokens, Whole, concatenate, tokenise
from cenote.encoding.vectors import Encoder, Vectors
from cenote.encoding.windows import tokenise_windows, window_sizes
from cenote.errors import BadInput, UnsupportedModel
from cenote.listener import Advance, Listener
from cenote.models.properties import prompt_name_for

# The remedy where a text cannot be read.
_DROP = "drop it from the data."

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Side:
    """How a text is read: the name of its prompt, and the task for models that treat queries differently."""

    prompt_name: str | None
    task: str | None


@dataclass(eq=False)
class _Store:
    """Everything that is known of the texts of one side."""

    places: dict[str, int] = field(default_factory=dict)
    vectors: dict[str, list[Vectors]] = field(default_factory=dict)  # by pooling, in the order of their places
    lengths: list[int] = field(default_factory=list)  # tokens, if none were cut
    cut: list[bool] = field(default_factory=list)
    # Of texts that are cut: the vectors of their windows by pooling, and the tokens of each window.
    windows: dict[str, tuple[dict[str, Vectors], Whole]] = field(default_factory=dict)


@dataclass
class Work:
    """A count of what was read, and its time."""

    texts: int = 0
    seconds: float = 0.0
    seconds_of_windows: float = 0.0


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of texts, one after another; a text that is not cut is one window."""

    vectors: Vectors  # [W, D]
    owners: Whole  # [W], the text of each window, ascending
    tokens: Whole  # [W]


class AnyReader(Protocol):
    """Gives the vectors of a task's texts: one `TextReader`, or several that are put together."""

    @property
    def model(self) -> SentenceTransformer:
        """The model."""
        ...

    def side(self, prompt_name: str | None, task: str | None) -> Side:
        """Return a side, with the model's own prompt for the task where none is named."""
        ...

    def vectors(self, texts: Sequence[str], side: Side) -> Vectors:
        """Return the vectors `[N, D]` of texts, cut where the model cuts them."""
        ...

    def lengths(self, texts: Sequence[str], side: Side) -> Whole:
        """Return the tokens `[N]` of whole texts, special tokens and prompt included."""
        ...

    def cut(self, texts: Sequence[str], side: Side) -> Flags:
        """Return whether the model cuts each text: `[N]`."""
        ...

    def windows(self, texts: Sequence[str], side: Side) -> Windows:
        """Return the windows of texts that are cut, and all others whole."""
        ...


class TextReader:
    """Reads texts with one model, and keeps their vectors for the other ways to read the same task.

    Args:
        model: any `SentenceTransformer`.
        backend_name: a name from `BACKENDS`, or `auto`: OpenVINO where it can run and is faster, else torch.
        precision: a name from `COMPUTE_PRECISIONS`, or `auto`: that of the weights.
        listener: hears of the progress.
        poolings: other poolings of the same tokens, by name: one pass serves them all. They need the backend torch.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        backend_name: str = AUTO,
        precision: str = AUTO,
        listener: Listener | None = None,
        *,
        poolings: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self.model, self.listener, self.poolings = model, listener or Listener(), dict(poolings or {})
        self.precision = precision_of([model], precision)
        self.backend = choose_steadily(model, backend_name, self.precision)
        self.pooling = OWN
        self.passes: Passes | None = None  # that run the model in place of the backend torch
        self.work = Work()
        self._encoders: dict[tuple[str | None, bool], Encoder] = {}  # by task, and whether such passes read
        self._stores: dict[Side, _Store] = {}

    def pooled(self, name: str) -> TextReader:
        """Return a reader of another pooling, which shares everything that is read with this one."""
        other = copy.copy(self)
        other.pooling = name
        return other

    def knows(self, texts: Sequence[str], side: Side) -> bool:
        """Return whether all texts of this side were read."""
        return side in self._stores and self._stores[side].places.keys() >= set(texts)

    def side(self, prompt_name: str | None, task: str | None) -> Side:
        """Return a side, with the model's own prompt for the task where none is named."""
        return Side(prompt_name_for(self.model, prompt_name, task), task)

    def vectors(self, texts: Sequence[str], side: Side) -> Vectors:
        """Return the vectors `[N, D]` of texts, cut where the model cuts them."""
        store = self._read(texts, side)
        vectors = store.vectors[self.pooling]
        return np.stack([vectors[store.places[text]] for text in texts])

    def lengths(self, texts: Sequence[str], side: Side) -> Whole:
        """Return the tokens `[N]` of whole texts, special tokens and prompt included."""
        store = self._read(texts, side)
        return np.array([store.lengths[store.places[text]] for text in texts], np.int64)

    def cut(self, texts: Sequence[str], side: Side) -> Flags:
        """Return whether the model cuts each text: `[N]`."""
        store = self._read(texts, side)
        return np.array([store.cut[store.places[text]] for text in texts], bool)

    def windows(self, texts: Sequence[str], side: Side) -> Windows:
        """Return the windows of texts that are cut, as `embed --long windows` makes them, and all others whole."""
        store = self._read(texts, side)
        self._read_windows([text for text in dict.fromkeys(texts) if store.cut[store.places[text]]], side)
        vectors, owners, tokens = [], [], []
        for place, text in enumerate(texts):
            if text in store.windows:
                several, lengths = store.windows[text]
                found = several[self.pooling]
            else:
                row = store.places[text]
                found, lengths = store.vectors[self.pooling][row][None], np.array([store.lengths[row]])
            vectors.append(found)
            tokens.append(lengths)
            owners += [place] * len(found)
        return Windows(np.concatenate(vectors), np.array(owners, np.int64), np.concatenate(tokens).astype(np.int64))

    def forget(self) -> None:
        """Let go of all texts and vectors."""
        self._stores.clear()

    @contextmanager
    def read_by(self, passes: Passes | None) -> Iterator[None]:
        """Let passes of the model run it for a while, if they are those of a graph; then let go of them."""
        self.passes = passes
        try:
            yield
        finally:
            self.passes = None
            for key in [one for one in self._encoders if one[1]]:
                del self._encoders[key]

    def _read(self, texts: Sequence[str], side: Side) -> _Store:
        """Read the texts of this side that are not known yet."""
        store = self._stores.setdefault(side, _Store())
        new = [text for text in dict.fromkeys(texts) if text not in store.places]
        if not new:
            return store
        self._passes_of_a_graph()  # a graph is made before the time counts
        start = time.perf_counter()
        advance = self.listener.step("reading texts", len(new))
        tokens = tokenise(self.model, new, side.prompt_name, side.task)
        vectors = self._encode(tokens, side, advance, new)
        for place, text in enumerate(new):
            store.places[text] = len(store.lengths) + place
        for name, some in vectors.items():
            store.vectors.setdefault(name, []).extend(some)
        store.lengths += tokens.full_lengths.tolist()
        store.cut += tokens.truncated.tolist()
        self.work.texts += len(new)
        self.work.seconds += time.perf_counter() - start
        return store

    def _read_windows(self, texts: Sequence[str], side: Side) -> None:
        known = self._stores[side].windows
        new = [text for text in texts if text not in known]
        if not new:
            return
        self._passes_of_a_graph()  # a graph is made before the time counts
        start = time.perf_counter()
        size, overlap = window_sizes(self.model, side.prompt_name, None, None, side.task)
        step = self.listener.step("cutting windows", len(new))
        parts = []
        for text in new:
            parts.append(tokenise_windows(self.model, text, size, overlap, side.prompt_name, side.task)[1])
            step(1)
        advance = self.listener.step("reading windows", sum(map(len, parts)))
        of_windows = [text for text, part in zip(new, parts, strict=True) for _ in range(len(part))]
        vectors = self._encode(concatenate(*parts), side, advance, of_windows)
        ends = np.cumsum([len(part) for part in parts])
        for text, part, end in zip(new, parts, ends.tolist(), strict=True):
            rows = slice(end - len(part), end)
            known[text] = {name: some[rows] for name, some in vectors.items()}, part.lengths
        self.work.seconds_of_windows += time.perf_counter() - start

    def _passes_of_a_graph(self) -> Passes | None:
        """Return the passes if a graph runs the model, which is made now; None where the backend does."""
        return None if self.passes is None or self.passes.graph is None else self.passes

    def _encode(self, tokens: Tokens, side: Side, advance: Advance, texts: Sequence[str]) -> dict[str, Vectors]:
        """Return the vectors of tokenised texts, by pooling; raise for the first text without one."""
        passes = self._passes_of_a_graph()
        task = self._task_of_backend(side.task)
        key = task, passes is not None
        if key not in self._encoders:
            self._encoders[key] = Encoder(self.model, self._make_backend(task, passes), notify=self.listener.notify)
        vectors, refused = self._encoders[key](tokens, advance, stop_at_refusal=True)
        refuse_unread(refused, texts)
        made = self._encoders[key].backend
        widths = made.widths if isinstance(made, ManyPoolings) else [vectors.shape[1]]
        parts = np.split(vectors, np.cumsum(widths)[:-1], 1)
        return dict(zip((OWN, *self.poolings), parts, strict=True))

    def _task_of_backend(self, task: str | None) -> str | None:
        """Return the task that a backend is made for, of texts of a task."""
        if self.backend == "torch":
            return task
        # A graph is the same for both sides, unless the model has a temperature for each; other texts have that of
        # documents then, as by torch.
        return (task or "document") if obstacle(self.model, self.backend, self.precision, None) else None

    def _make_backend(self, task: str | None, passes: Passes | None) -> Backend:
        if self.poolings or passes:
            return ManyPoolings(self.model, self.poolings, self.precision, task, passes)
        return backend(self.model, self.backend, self.precision, task=task, least=ROUNDED_COSINE)


def precision_of(models: Sequence[SentenceTransformer], precision: str) -> str:
    """Return the precision in which models compute; for `auto` that of the weights of each."""
    return ", ".join(dict.fromkeys(own_precision(one) for one in models)) if precision == AUTO else precision


def refuse_unread(refused: Mapping[int, str], texts: Sequence[str]) -> None:
    """Raise for the first text that has no vector."""
    for row, reason in refused.items():
        raise BadInput(f"a text cannot be read: {reason}. It begins with {texts[row][:60]!r}: {_DROP}")


@contextmanager
def blame_temperature(temperature: str | None) -> Iterator[None]:
    """Name the temperature in what goes wrong; None for the model's own, at which the data are to blame."""
    try:
        yield
    except BadInput as error:
        if temperature is None:
            raise
        problem = str(error).removesuffix(f": {_DROP}").removesuffix(".")
        raise BadInput(
            f"temperature {temperature} breaks the model: {problem}. At its own temperature the model reads these "
            "data: use one nearer to that."
        ) from error
    except UnsupportedModel as error:
        if temperature is None:
            raise
        raise UnsupportedModel(f"temperature {temperature}: {error}") from error
