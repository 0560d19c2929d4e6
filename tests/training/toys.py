"""A tiny model that sees only near tokens, and pairs whose evidence is anywhere or at the start."""

import random

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
KEYS = [f"key{number}" for number in range(32)]
NOISE = [f"noise{number}" for number in range(60)]
LENGTH = 16


def save_near(folder):
    """Save a ModernBERT of one layer in which a token attends to four tokens on each side: CLS sees the start alone."""
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, *KEYS, *NOISE])}
    backend = Tokenizer(models.WordLevel(vocabulary, **{"unk_token": "[UNK]"}))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(list(SPECIAL))
    ends = [(name, vocabulary[name]) for name in SPECIAL[2:]]
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ends)
    names = {f"{name[1:-1].lower()}_token": name for name in SPECIAL}
    PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        local_attention=8,
        layer_types=["sliding_attention"],
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
    )
    ModernBertModel(config).save_pretrained(folder)
    return str(folder)


def near_model(folder):
    """Return the model with mean pooling."""
    reader = Transformer(folder)
    return SentenceTransformer(modules=[reader, Pooling(32)], device="cpu")


def toy_pairs(where, count, seed):
    """Return pairs of a key and a text of noise with the key: `start` as its first word, `late` in its second half."""
    generator = random.Random(seed)
    pairs = []
    for number in range(count):
        key = KEYS[number % len(KEYS)]
        words = generator.choices(NOISE, k=LENGTH)
        words[0 if where == "start" else generator.randrange(LENGTH // 2, LENGTH)] = key
        pairs.append((key, " ".join(words)))
    return pairs


def accuracy(model, where):
    """Return the share of keys that find their own text among new ones, one for each key."""
    queries, texts = zip(*toy_pairs(where, len(KEYS), seed=99), strict=True)
    found = (
        model.encode(list(queries), normalize_embeddings=True) @ model.encode(list(texts), normalize_embeddings=True).T
    )
    return float((found.argmax(1) == np.arange(len(KEYS))).mean())
