"""Models that fail on purpose, or give what a test prescribes."""

from contextlib import contextmanager

import torch
from tokenizers import processors
from transformers import BertModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from cenote.functional.token_batches import refuse_rows


class PrescribedStates(BertModel):
    """Gives each text the states of `plan(generator, tokens, width)`; set it as the class of a model's network."""

    plan = None

    def forward(self, input_ids, attention_mask, **_):
        states = torch.zeros(*input_ids.shape, self.config.hidden_size)
        for row, (ids, mask) in enumerate(zip(input_ids, attention_mask, strict=True)):
            generator = torch.Generator().manual_seed(int(ids.sum()))
            states[row, : int(mask.sum())] = self.plan(generator, int(mask.sum()), self.config.hidden_size)
        return BaseModelOutputWithPooling(last_hidden_state=states)


def without_special_tokens(model):
    """Make the tokenizer add nothing to a text, so that a text of control characters has no tokens."""
    model.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("$A", "$A $B", [])
    return model


@contextmanager
def last_layer(model, change):
    """Call `change(states, ids)` on what the last layer of a BERT returns; it may change the states, or raise."""
    ids = []

    def note(_, args, kwargs):
        ids.append({**(args[0] if args else {}), **kwargs}["input_ids"])

    def spoil(_, args, out):
        change(out[0] if isinstance(out, tuple) else out, ids[-1])
        return out

    handles = [
        # sentence-transformers calls some models by their `forward`, past the hooks of the model itself.
        *(module.register_forward_pre_hook(note, with_kwargs=True) for module in (model[0], model[0].model)),
        model[0].model.encoder.layer[-1].register_forward_hook(spoil),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def spoiled(model, **changes):
    """Replace the states of texts that hold a word: `spoiled(model, stone=lambda states: states * 0)`."""
    words = {model.tokenizer.convert_tokens_to_ids(word): change for word, change in changes.items()}

    def change(states, ids):
        for word, new in words.items():
            hit = (ids == word).any(1)
            states[hit] = new(states[hit])

    return last_layer(model, change)


def refusing(model, word):
    """Refuse texts that hold a word, halfway through a batch."""
    id_ = model.tokenizer.convert_tokens_to_ids(word)
    return last_layer(model, lambda _, ids: refuse_rows((ids == id_).any(1), f"a {word}", "take it out"))


def short_of_memory(model, numbers):
    """Run out of memory halfway through every batch of more padded tokens."""

    def change(_, ids):
        if ids.numel() > numbers:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return last_layer(model, change)
