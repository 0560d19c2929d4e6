"""Models with random weights, for measures of time and memory, which do not depend on the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import BertConfig, BertModel

import cenote


def random_bert(folder: Path, tokens: int, **config: Any) -> Path:
    """Save a BERT with mean pooling and the demo model's tokenizer below `folder`; of base size by default."""
    tokenizer = cenote.load("minilm").tokenizer
    torch.manual_seed(0)
    network = BertModel(BertConfig(vocab_size=len(tokenizer), **config), add_pooling_layer=False)
    network.save_pretrained(folder / "network")
    tokenizer.model_max_length = tokens
    tokenizer.save_pretrained(folder / "network")
    reader = Transformer(str(folder / "network"))
    model = SentenceTransformer(modules=[reader, Pooling(reader.get_embedding_dimension())], device="cpu")
    model.max_seq_length = tokens
    model.save(str(folder / "model"), create_model_card=False)
    return folder / "model"
