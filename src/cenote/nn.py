"""sentence-transformers modules: thin shells over `cenote.functional`.

Saved models name these classes by address in `modules.json`. The addresses, the modules' configurations and the keys
`KEPT_IN_CONFIG` and `BAKED_IN_CONFIG` in `config.json` are a file format: they do not change.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.base.modules import Module, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling

from cenote._nn.cards import set_card
from cenote._nn.config_keys import BAKED_IN_CONFIG, KEPT_IN_CONFIG
from cenote._nn.layouts import OWN_FEATURES, layouts, skipped
from cenote._nn.modules import has_offsets
from cenote._nn.templates import marker_of, stack, template_of, texts_of
from cenote.errors import BadInput, CenoteWarning
from cenote.functional.landmarks import (
    INTERVAL,
    TRAINING_INTERVALS,
    Content,
    ModelInput,
    assemble,
    check_settings,
    drawn,
    fixed,
    sentence,
)
from cenote.functional.pooling import NAMES, POOLINGS, canonical, check_options, compute, pool
from cenote.functional.token_batches import clear_padding, to_batch

if TYPE_CHECKING:
    from sentence_transformers.base.model import BaseModel

__all__ = ["BAKED_IN_CONFIG", "KEPT_IN_CONFIG", "LandmarkTransformer", "Pooling", "Temperature"]

# The feature of a batch of training that says with which epoch its intervals were drawn.
EPOCH_FEATURE = "landmark_epoch"
# A tokenizer without a limit reports a number like 1e30.
NO_LIMIT = 10**7
# Operators that sentence-transformers has too: our name -> its name.
STANDARD: dict[str, str] = {NAMES[mode]: mode for mode in StPooling.POOLING_MODES if mode in NAMES}


def _st_names(names: Iterable[str]) -> Any:
    return tuple(STANDARD.get(name, name) for name in names)


class Pooling(StPooling):
    """Pooling by any operator of `cenote.functional.pooling.POOLINGS`, as a module of a SentenceTransformer.

    If sentence-transformers has all the operators too, a saved model names *its* module, so that the folder loads
    without Cenote.

    Args:
        embedding_dimension: D of the token embeddings.
        pooling_mode: a name or alias from `POOLINGS`, or several to concatenate.
        include_prompt: whether the tokens of a prompt are pooled.
        **options: options of the operator, such as `k` for `every_k`.
    """

    POOLING_MODES = _st_names(POOLINGS)

    def __init__(
        self,
        embedding_dimension: int,
        pooling_mode: str | Sequence[str] = "mean",
        include_prompt: bool = True,
        **options: Any,
    ) -> None:
        check_options(canonical(pooling_mode), options)
        self.given = options
        super().__init__(embedding_dimension, _st_names(canonical(pooling_mode)), include_prompt)

    @property  # type: ignore[override]  # a plain attribute of the base class
    def pooling_mode(self) -> str | tuple[str, ...]:
        """The operators, by sentence-transformers' names where it has them. Can be set."""
        return self._pooling_mode

    @pooling_mode.setter
    def pooling_mode(self, value: str | Sequence[str]) -> None:
        self.names = canonical(value)
        modes = _st_names(self.names)
        self._pooling_mode: str | tuple[str, ...] = modes[0] if len(modes) == 1 else modes
        self.pooling_output_dimension = len(modes) * self.embedding_dimension
        if type(self) in (Pooling, _Portable):
            self.__class__ = _Portable if set(self.names) <= set(STANDARD) else Pooling

    @property
    def options(self) -> dict[str, Any]:
        """The given options that the current operators take."""
        takes = {option for name in self.names for option in POOLINGS[name].options}
        return {key: value for key, value in self.given.items() if key in takes}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add `sentence_embedding` to the features."""
        if "token_weights_sum" in features:
            raise BadInput(
                "an earlier module weights the tokens (WordWeights): keep sentence-transformers' own Pooling, which "
                "divides by the weights."
            )
        options, order, vectors = self.options, [], []
        for rows, tokens, mask, landmarks, prompt in layouts(features):
            if any(POOLINGS[name].marks for name in self.names):
                options["landmarks"] = landmarks
            skip = skipped(self, features, tokens.shape[0], prompt)
            order.append(rows)
            if self.training:  # do not raise on an overflow in training: the gradient scaler has to see it
                vectors.append(compute(clear_padding(to_batch(tokens, mask, skip)), self.names, options))
            else:
                vectors.append(pool(tokens, mask, self.names, skip=skip, **options))
        features["sentence_embedding"] = (
            vectors[0] if len(vectors) == 1 else torch.cat(vectors)[torch.cat(order).argsort()]
        )
        return features

    def on_model_ready(self, model: BaseModel) -> None:
        """Set the model's card, which says how to load it."""
        set_card(model)

    def get_config_dict(self) -> dict[str, Any]:
        """Return the configuration that `save` writes and `load` reads."""
        return {**super().get_config_dict(), **self.options}


class _Portable(Pooling):
    """`Pooling` by standard operators, with the class address of sentence-transformers' own Pooling.

    `SentenceTransformer.save` writes that address into `modules.json`.
    """

    def __reduce__(self) -> tuple[Callable[[], Pooling], tuple[()], dict[str, Any]]:
        # Pickle and copy look a class up by its address, where they would find sentence-transformers' own.
        return _new_portable, (), self.__dict__


_Portable.__module__, _Portable.__qualname__ = StPooling.__module__, StPooling.__qualname__
_Portable.__name__ = StPooling.__name__


def _new_portable() -> Pooling:
    return _Portable.__new__(_Portable)


LANDMARK_DEFAULTS: dict[str, Any] = {
    "interval": INTERVAL,
    "splitter": "fixed",
    "training_intervals": TRAINING_INTERVALS,
    "marker": "landmark",
    "seed": 0,
}


class LandmarkTransformer(Transformer):
    """sentence-transformers' Transformer with a tokenisation that inserts landmarks.

    It adds `landmark_mask` to the features, which marks the tokens for `Pooling(..., "landmark")`.

    Args:
        *args: as for sentence-transformers' `Transformer`, and so are all other keywords.
        interval: tokens per chunk.
        splitter: `fixed` ends a chunk every `interval` tokens; `variable` does so too, but batches of training draw
            the interval of each text from `training_intervals`; `sentence` ends a chunk at the end of each sentence.
        training_intervals: for `variable`.
        marker: `landmark` ends each chunk with the tokenizer's SEP (else EOS); `multi_cls` starts it with CLS.
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
        """Return a landmark transformer with the weights of `transformer`; `settings` as for the class."""
        own = {key: value for key, value in vars(transformer).items() if key in cls.landmark_keys}
        chosen = LANDMARK_DEFAULTS | own | settings
        _check(chosen)
        if type(transformer) not in (Transformer, cls):
            raise BadInput(
                f"{type(transformer).__name__} is a transformer class of the model's own, which may tokenise in its "
                "own way: landmarks cannot be added to it. Choose another pooling."
            )
        module = cls.__new__(cls)
        module.__dict__.update(_own_state(transformer))
        module._configure(**chosen)
        return module

    def plain(self) -> Transformer:
        """Return a Transformer with the same weights and without landmarks."""
        module: Transformer = Transformer.__new__(Transformer)
        state = _own_state(self)
        module.__dict__.update({key: value for key, value in state.items() if key not in self.landmark_keys})
        return module

    def _configure(
        self, interval: int, splitter: str, training_intervals: Sequence[int], marker: str, seed: int
    ) -> None:
        if list(self.modality_config) != ["text"]:
            raise BadInput(
                f"{type(self.model).__name__} takes {', '.join(map(str, self.modality_config))}: landmarks need a "
                "model of plain text. Save the model with the modality 'text' alone, or choose another pooling."
            )
        self.interval, self.splitter, self.marker, self.seed = interval, splitter, marker, seed
        self.training_intervals = list(training_intervals)
        self._warned = False
        self._marker = marker_of(self.tokenizer, marker)
        self._templates = {count: template_of(self.tokenizer, count) for count in (1, 2)}
        if splitter == "sentence" and not has_offsets(self.tokenizer):
            raise BadInput(f"splitter='sentence' needs a fast tokenizer; {type(self.tokenizer).__name__} is not one.")

    def preprocess(
        self,
        inputs: Sequence[Any],
        prompt: str | None = None,
        processing_kwargs: Any = None,
        *,
        epoch: int | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Tokenise texts, or pairs of texts, into model inputs with landmarks.

        Args:
            inputs: texts, or pairs of texts.
            prompt: put before each text.
            processing_kwargs: of sentence-transformers; only `max_length` can be set.
            epoch: of training, from 0; with the splitter `variable` it draws the interval of each text. None is
                evaluation, in which nothing is drawn.
            **kwargs: see `processing_kwargs`.
        """
        if not inputs:
            return {}
        pairs = [texts_of(item) for item in inputs]
        lengths = {"query": self.query_length, "document": self.document_length}
        sections: list[Any] = [self.processing_kwargs, processing_kwargs or {}]
        asked = set(kwargs) - {"task", "max_length"}
        asked |= {f"{name}.{key}" for section in sections for name, keys in section.items() for key in keys}
        if unknown := sorted(asked - {"text.max_length"}):  # options of sentence-transformers
            raise BadInput(f"{', '.join(unknown)} has no effect with landmarks: only max_length can be set.")
        given = {key: value for section in sections for key, value in section.get("text", {}).items()}
        limit = given.get("max_length") or kwargs.get("max_length")
        if not limit:
            limits = (lengths.get(kwargs.get("task") or ""), self.max_seq_length)
            limit = min((one for one in limits if one), default=None)
        rows = self._rows(pairs, prompt or "", limit, epoch)
        features = self._flat(rows) if self.can_flatten_inputs else self._stacked(rows)
        features["modality"] = "text"
        if not prompt:
            del features["prompt_mask"]
        if epoch is not None:
            features[EPOCH_FEATURE] = epoch
        return features

    def _rows(self, pairs: list[tuple[str, ...]], prompt: str, most: int | None, epoch: int | None) -> list[ModelInput]:
        most = most if most is not None and most < NO_LIMIT else None
        tokenizer: Any = self.tokenizer
        texts = [(prompt if place == 0 else "") + text for pair in pairs for place, text in enumerate(pair)]
        encoded = tokenizer(
            texts,
            add_special_tokens=False,
            # Skips the rest of a long text. Not from the left, which would remove the prompt, still to be counted.
            truncation=most is not None and tokenizer.truncation_side == "right",
            max_length=most,
            verbose=False,
            return_attention_mask=False,
            return_offsets_mapping=self.splitter == "sentence",
        )
        spans = encoded.get("offset_mapping", [None] * len(texts))
        contents = iter(
            Content(ids, self._ends(text, ids, where, epoch))
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

    def _ends(self, text: str, ids: list[int], spans: Any, epoch: int | None) -> list[int]:
        if self.splitter == "sentence":
            return sentence(text, spans)
        if self.splitter == "variable" and epoch is not None:
            return fixed(len(ids), drawn(self.training_intervals, self.seed, epoch, text))
        return fixed(len(ids), self.interval)

    def _stacked(self, rows: list[ModelInput]) -> dict[str, Any]:
        tokenizer: Any = self.tokenizer
        side, pad_id = tokenizer.padding_side, tokenizer.pad_token_id
        if pad_id is None and len({len(row.ids) for row in rows}) > 1:
            raise BadInput("the tokenizer has no padding token: set model.tokenizer.pad_token.")
        features = {
            "input_ids": stack([row.ids for row in rows], pad_id or 0, side),
            "attention_mask": stack([[1] * len(row.ids) for row in rows], 0, side),
            "landmark_mask": stack([row.marks for row in rows], 0, side).bool(),
            "prompt_mask": stack([row.prompt_mask for row in rows], 0, side).bool(),
        }
        if "token_type_ids" in tokenizer.model_input_names:
            features["token_type_ids"] = stack([row.types for row in rows], tokenizer.pad_token_type_id, side)
        return features

    def _flat(self, rows: list[ModelInput]) -> dict[str, Any]:
        """Make one row of the whole batch for flash attention, by sentence-transformers' own collator and offset."""
        features: dict[str, Any] = dict(self.data_collator([{"input_ids": row.ids} for row in rows]))
        features.pop("labels", None)
        features["position_ids"] = features["position_ids"] + self._flatten_position_offset
        features["landmark_mask"] = torch.tensor([[mark for row in rows for mark in row.marks]])
        features["prompt_mask"] = torch.tensor([[flag for row in rows for flag in row.prompt_mask]])
        return features

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Run the model without our own features, which it does not take."""
        own = {name: features.pop(name) for name in (*OWN_FEATURES, EPOCH_FEATURE) if name in features}
        if self.training and self.splitter == "variable" and EPOCH_FEATURE not in own and not self._warned:
            self._warned = True
            warnings.warn(
                f"this batch has an interval of {self.interval} for every text, although splitter='variable' draws "
                "them in training: pass the trainer data_collator=Collator(model.preprocess), of "
                "cenote.training.collator.",
                CenoteWarning,
                stacklevel=2,
            )
        features = super().forward(features, **kwargs)
        features.update(own)  # also of the caller's dict, which a loss may pass a second time
        return features

    def on_model_ready(self, model: BaseModel) -> None:
        """Set the model's card, which says how to load it."""
        set_card(model)


def _own_state(module: torch.nn.Module) -> dict[str, Any]:
    """Return a module's state for a second module that shares its weights, with containers of its own."""
    containers = ("_modules", "_parameters", "_buffers")
    return {key: value.copy() if key in containers else value for key, value in vars(module).items()}


def _check(settings: dict[str, Any]) -> None:
    check_settings(*(settings[key] for key in ("interval", "splitter", "training_intervals", "marker")))


# The key under which the features of a tempered transformer carry the setting that it ran with.
TEMPERED_BY = "cenote_tempered_by"


class Temperature(Module):
    """Stores the attention temperature of `cenote.temper` in a saved model; `cenote.load` applies it again."""

    config_keys: list[str] = ["temperature", "layers", "scale_bias"]
    setting: Any = None  # the setting of the tempered transformer, once it is tempered

    def __init__(self, temperature: Any = None, layers: Sequence[int] | None = None, scale_bias: bool = True) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.temperature, self.layers, self.scale_bias = temperature, layers, scale_bias

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Return the features, or raise if they come from an untempered transformer."""
        ran_with = features.pop(TEMPERED_BY, None)
        if self.setting is None:
            raise BadInput("this model was saved with an attention temperature: load it with cenote.load.")
        if ran_with is not self.setting:
            raise BadInput("the transformer of this model was replaced and is not tempered: call cenote.temper again.")
        return features

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write the configuration; there are no weights."""
        self.save_config(output_path)
