"""A model with a reader for each task."""

import pytest


@pytest.fixture
def routed(tiny):
    """A router: queries by a `bert`, documents by a `qwen` that reads 40 tokens."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    readers = [Transformer(str(tiny(kind))) for kind in ("bert", "qwen")]
    readers[1].max_seq_length = 40
    sides = [[reader, Pooling(32, "mean")] for reader in readers]
    return SentenceTransformer(modules=[Router.for_query_document(*sides)], device="cpu")
