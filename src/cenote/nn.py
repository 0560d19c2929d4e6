"""sentence-transformers modules: thin shells over `cenote.functional`.

The addresses of these classes stand in the `modules.json` of saved models. They are a file format: they do not
move, and `LandmarkTransformer` and `Pooling` keep reading what they once wrote.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.base.modules import Module, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cenote.cards import set_card
from cenote.errors import BadInput
from cenote.functional.landmarks import (
    INTERVAL,
    MARKERS,
    TRAINING_INTERVALS,
    Content,
    Marker,
    Row,
    Template,
    assemble,
    check_settings,
    fixed,
    sentence,
    variable,
)
from cenote.functional.pooling import POOLINGS, canonical, check_options, compute, pool, prepare

if TYPE_CHECKING:
    from sentence_transformers.base.model import BaseModel

# Our name of each operator that sentence-transformers has too, and its name there.
STANDARD = {canonical(mode)[0]: mode for mode in StPooling.POOLING_MODES}


def _theirs(names: Sequence[str]) -> Any:
    return tuple(STANDARD.get(name, name) for name in names)


class Pooling(StPooling):
    """Pooling by any operator of `cenote.functional.pooling.POOLINGS`, as a module of a SentenceTransformer.

    With operators that sentence-transformers has too, a saved model names *its* module, so that the folder loads
    wherever such folders do, without Cenote.

    Args:
        embedding_dimension: D of the token embeddings.
        pooling_mode: a name or alias from `POOLINGS`, or several to concatenate.
        include_prompt: whether the tokens of a prompt are pooled.
        **options: what the operator takes, such as `k` for `every_k`.
    """

    POOLING_MODES = tuple(STANDARD.get(name, name) for name in POOLINGS)

    def __init__(
        self,
        embedding_dimension: int,
        pooling_mode: str | Sequence[str] = "mean",
        include_prompt: bool = True,
        **options: Any,
    ) -> None:
        check_options(canonical(pooling_mode), options)
        self.options = options
        super().__init__(embedding_dimension, _theirs(canonical(pooling_mode)), include_prompt)

    @property  # type: ignore[override]  # an attribute there, of fewer names
    def pooling_mode(self) -> str | tuple[str, ...]:
        """The operators, by sentence-transformers' names where it has them. Can be set, as there."""
        return self._pooling_mode

    @pooling_mode.setter
    def pooling_mode(self, value: str | Sequence[str]) -> None:
        self.names = canonical(value)
        theirs = _theirs(self.names)
        self._pooling_mode: str | tuple[str, ...] = theirs[0] if len(theirs) == 1 else theirs
        takes = {option for name in self.names for option in POOLINGS[name].options}
        self.options = {key: option for key, option in self.options.items() if key in takes}
        if type(self) in (Pooling, _Portable):
            self.__class__ = _Portable if set(self.names) <= set(STANDARD) else Pooling

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add `sentence_embedding` to the features."""
        tokens, mask, landmarks, prompt = _one_layout(features)
        options = dict(self.options)
        if any(POOLINGS[name].marks for name in self.names):
            options["landmarks"] = landmarks
        skip: Any = 0
        if not self.include_prompt:
            skip = _prompt_length(features, len(tokens)) if prompt is None else prompt.sum(1)
        if self.training:  # an overflow in training is for the gradient scaler to see, not for us to raise
            pooled = compute(prepare(tokens, mask, skip), self.names, options)
        else:
            pooled = pool(tokens, mask, self.names, skip=skip, **options)
        features["sentence_embedding"] = pooled
        return features

    def on_model_ready(self, model: BaseModel) -> None:
        """Have the model's card say what it takes to load it."""
        set_card(model)

    def get_config_dict(self) -> dict[str, Any]:
        """What `save` writes and `load` reads."""
        return {**super().get_config_dict(), **self.options}


class _Portable(Pooling):
    """`Pooling` by standard operators, under the address at which sentence-transformers keeps its own.

    `SentenceTransformer.save` writes a module's class by that address; nothing else tells the two apart.
    """

    def __reduce__(self) -> tuple[Callable[[], Pooling], tuple[()], dict[str, Any]]:
        # Pickle and copy go by the address as well, which is not ours to be found at.
        return _new_portable, (), self.__dict__


_Portable.__module__, _Portable.__qualname__ = StPooling.__module__, StPooling.__qualname__
_Portable.__name__ = StPooling.__name__


def _new_portable() -> Pooling:
    return _Portable.__new__(_Portable)


# Features with one entry per token that `LandmarkTransformer` adds, and the model does not see.
_OWN_FEATURES = ("landmark_mask", "prompt_mask")


def _one_layout(features: dict[str, Any]) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Tokens, mask, landmarks and prompt in one layout, whichever of the two sentence-transformers sent."""
    tokens: Any = features["token_embeddings"]
    landmarks, prompt = (features.get(name) for name in _OWN_FEATURES)
    if "cu_seq_lens_q" in features:
        lengths = features["cu_seq_lens_q"].diff()
        sizes = lengths.tolist()
        mask = torch.arange(max(sizes), device=tokens.device) < lengths.unsqueeze(1)
        tokens, landmarks, prompt = (
            part if part is None else pad_sequence(part[0].split(sizes), batch_first=True)
            for part in (tokens, landmarks, prompt)
        )
        return tokens, mask, landmarks, prompt
    mask = features.get("attention_mask")
    # Some image and audio models return another number of tokens than they were given: all of those are real.
    return tokens, mask if mask is not None and mask.shape[-1] == tokens.shape[1] else None, landmarks, prompt


def _prompt_length(features: dict[str, Any], rows: int) -> Any:
    """sentence-transformers' own: a number, or a tensor that repeats it, as often as there were rows before merging."""
    length = features.get("prompt_length", 0)
    return length.flatten()[:1] if isinstance(length, Tensor) and length.numel() != rows else length


LANDMARK_DEFAULTS: dict[str, Any] = {
    "interval": INTERVAL,
    "splitter": "fixed",
    "training_intervals": TRAINING_INTERVALS,
    "marker": "landmark",
    "seed": 0,
}


class LandmarkTransformer(Transformer):
    """A transformer that reads texts with landmarks: sentence-transformers' own, but for how it tokenises.

    It adds `landmark_mask` to the features, by which `Pooling(..., "landmark")` finds its tokens.

    Args:
        *args: as for sentence-transformers' `Transformer`, and so are all other keywords.
        interval: tokens per chunk.
        splitter: `fixed` cuts every `interval` tokens; `variable` does so too, but in training draws the interval
            of each text from `training_intervals`; `sentence` cuts at the ends of sentences.
        training_intervals: for `variable`.
        marker: `landmark` closes each chunk with the tokenizer's SEP (else EOS); `multi_cls` opens it with CLS.
        seed: of the drawn intervals.
        **kwargs: see `*args`.
    """

    landmark_keys = tuple(LANDMARK_DEFAULTS)
    config_keys: list[str] = [*Transformer.config_keys, *landmark_keys]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = {key: kwargs.pop(key, default) for key, default in LANDMARK_DEFAULTS.items()}
        _check(settings)
        super().__init__(*args, **kwargs)
        self._configure(**settings)

    @classmethod
    def adopt(cls, transformer: Transformer, **settings: Any) -> LandmarkTransformer:
        """The same loaded transformer, reading landmarks from now on; `settings` as for the class."""
        chosen = {
            **LANDMARK_DEFAULTS,
            **{k: v for k, v in vars(transformer).items() if k in cls.landmark_keys},
            **settings,
        }
        _check(chosen)
        module = cls.__new__(cls)
        module.__dict__.update(transformer.__dict__)
        module._configure(**chosen)
        return module

    def plain(self) -> Transformer:
        """The same loaded transformer without landmarks."""
        module: Transformer = Transformer.__new__(Transformer)
        module.__dict__.update({key: value for key, value in self.__dict__.items() if key not in self.landmark_keys})
        return module

    def _configure(
        self, interval: int, splitter: str, training_intervals: Sequence[int], marker: str, seed: int
    ) -> None:
        if list(self.modality_config) != ["text"]:
            raise BadInput(
                f"{type(self.model).__name__} takes {', '.join(map(str, self.modality_config))}: landmarks go into "
                "plain text only. Save the model with the modality 'text' alone, or choose another pooling."
            )
        self.interval, self.splitter, self.marker, self.seed = interval, splitter, marker, seed
        self.training_intervals = list(training_intervals)
        self._draw = random.Random(seed)  # noqa: S311  chunk lengths are no secret
        self._marker = _marker(self.tokenizer, marker)
        self._templates = {count: _template(self.tokenizer, count) for count in (1, 2)}
        if splitter == "sentence" and not getattr(self.tokenizer, "is_fast", False):
            raise BadInput(f"splitter='sentence' needs a fast tokenizer; {type(self.tokenizer).__name__} is not one.")

    def preprocess(
        self,
        inputs: Sequence[Any],
        prompt: str | None = None,
        processing_kwargs: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Texts, or pairs of texts, to model inputs with landmarks."""
        if not inputs:
            return {}
        pairs = [_texts(item) for item in inputs]
        lengths = {"query": self.query_length, "document": self.document_length}
        given = {**self.processing_kwargs.get("text", {}), **(processing_kwargs or {}).get("text", {})}
        if unknown := set(given) - {"max_length"}:
            raise BadInput(
                f"processing_kwargs {sorted(unknown)} cannot be honoured with landmarks: only max_length can."
            )
        most = given.get("max_length") or kwargs.get("max_length") or lengths.get(kwargs.get("task") or "")
        rows = self._rows(pairs, prompt or "", most or self.max_seq_length)
        features = self._flat(rows) if self.can_flatten_inputs else self._stacked(rows)
        features["modality"] = "text"
        if not prompt:
            del features["prompt_mask"]
        return features

    def _rows(self, pairs: list[tuple[str, ...]], prompt: str, most: int | None) -> list[Row]:
        most = most if most is not None and most < 1 << 20 else None  # tokenizers without a limit say 10^30
        tokenizer: Any = self.tokenizer
        texts = [(prompt if place == 0 else "") + text for pair in pairs for place, text in enumerate(pair)]
        encoded = tokenizer(
            texts,
            add_special_tokens=False,
            # Spares the rest of a long text; from the left it would cut the prompt, which is still to be counted.
            truncation=most is not None and tokenizer.truncation_side == "right",
            max_length=most,
            verbose=False,
            return_attention_mask=False,
            return_offsets_mapping=self.splitter == "sentence",
        )
        spans = encoded.get("offset_mapping", [None] * len(texts))
        contents = iter(
            Content(ids, self._ends(text, ids, where))
            for text, ids, where in zip(texts, encoded["input_ids"], spans, strict=True)
        )
        lead = len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) if prompt else 0
        return [
            assemble(
                [next(contents) for _ in pair],
                self._templates[len(pair)],
                self._marker,
                most=most,
                side=tokenizer.truncation_side,
                prompt=lead,
            )
            for pair in pairs
        ]

    def _ends(self, text: str, ids: list[int], spans: Any) -> list[int]:
        if self.splitter == "sentence":
            return sentence(text, spans)
        if self.splitter == "variable" and self.training:
            return variable(len(ids), self.training_intervals, self._draw)
        return fixed(len(ids), self.interval)

    def _stacked(self, rows: list[Row]) -> dict[str, Any]:
        tokenizer: Any = self.tokenizer
        side, pad_id = tokenizer.padding_side, tokenizer.pad_token_id
        if pad_id is None and len({len(row.ids) for row in rows}) > 1:
            raise BadInput("the tokenizer has no padding token: set model.tokenizer.pad_token.")
        features = {
            "input_ids": _stack([row.ids for row in rows], pad_id or 0, side),
            "attention_mask": _stack([[1] * len(row.ids) for row in rows], 0, side),
            "landmark_mask": _stack([row.marks for row in rows], 0, side).bool(),
            "prompt_mask": _stack([row.prompt_mask for row in rows], 0, side).bool(),
        }
        if "token_type_ids" in tokenizer.model_input_names:
            features["token_type_ids"] = _stack([row.types for row in rows], tokenizer.pad_token_type_id, side)
        return features

    def _flat(self, rows: list[Row]) -> dict[str, Any]:
        """One row for the whole batch, as flash attention reads it: sentence-transformers' own collator and offset."""
        features: dict[str, Any] = dict(self.data_collator([{"input_ids": row.ids} for row in rows]))
        features.pop("labels", None)
        features["position_ids"] = features["position_ids"] + self._flatten_position_offset
        features["landmark_mask"] = torch.tensor([[mark for row in rows for mark in row.marks]])
        features["prompt_mask"] = torch.tensor([[flag for row in rows for flag in row.prompt_mask]])
        return features

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Run the model on everything but our own masks, which are not the model's to see."""
        own = {name: features.pop(name) for name in _OWN_FEATURES if name in features}
        features = super().forward(features, **kwargs)
        features.update(own)
        return features

    def on_model_ready(self, model: BaseModel) -> None:
        """Have the model's card say what it takes to load it."""
        set_card(model)


def _check(settings: dict[str, Any]) -> None:
    check_settings(*(settings[key] for key in ("interval", "splitter", "training_intervals", "marker")))


def _marker(tokenizer: Any, name: str) -> Marker:
    sources, closes = MARKERS[name]
    for source in sources:
        if (token := getattr(tokenizer, source, None)) is not None:
            return Marker(token, closes)
    wanted = " or ".join(source.removesuffix("_id") for source in sources)
    raise BadInput(f"{type(tokenizer).__name__} has no {wanted}, which {name} pooling inserts: set one of them.")


def _template(tokenizer: Any, count: int) -> Template:
    """How the tokenizer wraps one text or a pair, read off an example."""
    content = tokenizer("a", add_special_tokens=False)["input_ids"]
    wrapped = tokenizer(*["a"] * count)
    ids, types = wrapped["input_ids"], wrapped.get("token_type_ids")
    starts: list[int] = []
    for start in range(len(ids) - len(content) + 1):
        if ids[start : start + len(content)] == content and len(starts) < count:
            starts.append(start)
    if not content or len(starts) < count:
        raise BadInput(
            f"{type(tokenizer).__name__} wraps {'a pair' if count == 2 else 'a text'} in a way unknown here."
        )
    ends = [start + len(content) for start in starts]
    kind = [0] * (len(ids) + 1) if types is None else [*types, types[-1]]
    return Template(
        before=tuple(ids[: starts[0]]),
        between=tuple(ids[ends[0] : starts[1]]) if count == 2 else (),
        after=tuple(ids[ends[-1] :]),
        types=(kind[0], kind[starts[0]], kind[ends[0]], kind[starts[-1]], kind[ends[-1]]),
    )


def _texts(item: Any) -> tuple[str, ...]:
    pair = (item,) if isinstance(item, str) else tuple(item) if isinstance(item, (list, tuple)) else ()
    if len(pair) not in (1, 2) or not all(isinstance(text, str) for text in pair):
        raise BadInput(
            f"a landmark model reads texts and pairs of texts, not {type(item).__name__}: {str(item)[:60]!r}."
        )
    return pair


def _stack(rows: list[list[int]] | list[list[bool]], value: int, side: str) -> Tensor:
    return pad_sequence(
        [torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True, padding_value=value, padding_side=side
    )


class Temperature(Module):
    """Keeps in a saved model the attention temperature that `cenote.temper` gave it; `cenote.load` applies it again."""

    config_keys: list[str] = ["temperature", "layers", "scale_bias"]
    applied = False

    def __init__(self, temperature: Any, layers: Sequence[int] | None = None, scale_bias: bool = True) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.temperature, self.layers, self.scale_bias = temperature, layers, scale_bias

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Pass on what the tempered transformer gave, and refuse what an untempered one did."""
        if not self.applied:
            raise BadInput("this model was saved with an attention temperature: load it with cenote.load.")
        return features

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write the configuration; there are no weights."""
        self.save_config(output_path)
