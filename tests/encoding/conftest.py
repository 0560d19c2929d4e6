"""A model whose reader of queries has no limit."""

import pytest


@pytest.fixture(scope="session")
def with_static_queries():
    """Return a router like that of sentence-transformers' own example: queries by static embeddings."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    def build(document):
        words = Tokenizer(models.WordLevel({"a": 0, "pool": 1}, **{"unk_token": "a"}))
        router = Router.for_query_document([StaticEmbedding(words, embedding_dim=32)], list(document.children()))
        return SentenceTransformer(modules=[router], device="cpu")

    return build
