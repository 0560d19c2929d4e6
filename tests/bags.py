"""A model whose vectors are bags of words, texts of made-up words, and faults to plant."""

from itertools import product

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from cenote.account.ranks import other_poolings, plan_account, read_account
from cenote.data.rows import Text
from cenote.diagnosis.account import summarise_account
from cenote.diagnosis.summaries import Excerpts
from cenote.functional import retrieval
from cenote.listener import Listener

WIDTH = 256
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
SYLLABLES = [consonant + vowel for consonant, vowel in product("bdfgklmnprstvz", "aeiou")]
# Words of three syllables, each one token.
WORDS = ["".join(parts) for parts in product(SYLLABLES, SYLLABLES[::9], SYLLABLES[::13])][:2000]


# The words of the tiny models.
TINY = "pool collapse water cave deep light a one two three".split()  # noqa: SIM905


def save_bags(folder, limit=512):
    """Save a BERT without layers: the state of a word is its random vector; other tokens have none."""
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, *".,:-", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, **{"unk_token": "[UNK]"}))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.add_special_tokens(list(SPECIAL))
    ends = [(name, vocabulary[name]) for name in SPECIAL[2:]]
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ends)
    names = {f"{name[1:-1].lower()}_token": name for name in SPECIAL}
    PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=limit, **names).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"vocab_size": len(vocabulary), "hidden_size": WIDTH, "intermediate_size": 8, "num_hidden_layers": 0}
    network = BertModel(BertConfig(num_attention_heads=4, max_position_embeddings=limit, **size))
    with torch.no_grad():
        for table in (network.embeddings.position_embeddings, network.embeddings.token_type_embeddings):
            table.weight.zero_()
        network.embeddings.word_embeddings.weight[: -len(WORDS)] = 0
    network.save_pretrained(folder)
    return str(folder)


def load_bags(folder, *after, pooling=None, **options):
    """Return the model, with modules after its pooling."""
    modules = [Transformer(folder), pooling or Pooling(WIDTH), *after]
    return SentenceTransformer(modules=modules, device="cpu", **options)


def make_texts(count, sentences=6, words=12, *, seed=0, vocabulary=WORDS):
    """Return texts of so many sentences of so many words, all drawn alike."""
    generator = np.random.default_rng(seed)
    return [" ".join(make_sentence(generator, words, vocabulary) for _ in range(sentences)) for _ in range(count)]


def make_sentence(generator, words=12, vocabulary=WORDS):
    chosen = [vocabulary[place] for place in generator.integers(0, len(vocabulary), words)]
    return f"{' '.join(chosen).capitalize()}."


class FirstTokens(Pooling):
    """A planted fault: the mean of the first of a text's tokens, by their share or by their number."""

    def __init__(self, share=1.0, number=10**6):
        super().__init__(WIDTH)
        self.share, self.number = share, number

    def forward(self, features):
        mask = features["attention_mask"]
        most = (mask.sum(1, keepdim=True) * self.share).clamp(max=self.number)
        found = super().forward({**features, "attention_mask": mask * (mask.cumsum(1) <= most)})
        return {**found, "attention_mask": mask}


class LengthAdded(nn.Module):
    """A planted effect of length: what all vectors share grows with the logarithm of the tokens."""

    def forward(self, features):
        vectors = nn.functional.normalize(features["sentence_embedding"], dim=-1)
        doublings = features["attention_mask"].sum(1, keepdim=True).log2()
        return {**features, "sentence_embedding": vectors + 0.1 * doublings / WIDTH**0.5}


def numbered(texts):
    return [Text(str(row), text) for row, text in enumerate(texts)]


def plan(model, texts, count=200, prompt_name=None, seed=0):
    return plan_account(model, numbered(texts), count, prompt_name, seed)


def read(model, planned):
    return read_account(model, planned, other_poolings(model), Listener())


def take_account(model, texts, *, seed=0, **options):
    """Return the account of a model on texts, or the reason why there is none; of few resamples, which is quicker."""
    planned = plan(model, texts, seed=seed, **options)
    if isinstance(planned, str):
        return planned
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "_RESAMPLES", 400)
        return summarise_account(planned, read(model, planned), {}, Excerpts(), seed)
