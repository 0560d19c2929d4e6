"""Other settings of the local model, where a Router has a reader for each side."""

import numpy as np

from cenote.auditing.causes_trials import Attempt, attempts, read, without_special_tokens
from cenote.encoding.tokens import tokenise

TEXTS = ["a pool " * 20, "the deep cave"]


def test_a_limit_is_tried_where_queries_have_none(with_static_queries, tiny_bert):
    model = with_static_queries(tiny_bert)
    (whole,), (cut,) = (list(read(model, TEXTS, Attempt(limit=limit), None).values()) for limit in (None, 10))
    assert not np.allclose(whole[0], cut[0], atol=1e-3)
    np.testing.assert_allclose(whole[1], cut[1], atol=1e-5)
    assert model.max_seq_length == float("inf")


def test_special_tokens_are_those_of_the_tokenizer_that_reads_the_texts(with_static_queries, tiny_bert):
    model = with_static_queries(tiny_bert)
    tokens = tokenise(model, ["a pool"])
    assert without_special_tokens(model, tokens).lengths.tolist() == [tokens.lengths[0] - 2]
    (plain,) = (one for one in attempts(model, None, [10], half=False, long=False) if not one.special)
    assert plain.limit == 256 + 2
