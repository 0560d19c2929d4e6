"""Padded and flattened batches give the same. Pooling them: tests/test_nn_pooling.py."""

from types import SimpleNamespace

import torch

from cenote._nn.layouts import layouts, skipped

TOKENS = torch.arange(12.0).view(1, 6, 2)


def test_a_padded_batch_is_passed_on():
    mask = torch.ones(1, 6)
    ((rows, tokens, own, landmarks, prompt),) = layouts({"token_embeddings": TOKENS, "attention_mask": mask})
    assert rows is None
    assert tokens is TOKENS
    assert own is mask
    assert landmarks is prompt is None
    ((_, _, own, _, _),) = layouts({"token_embeddings": TOKENS, "attention_mask": mask[:, :4]})
    assert own is None  # as many tokens came out as the model liked: all are real


def test_a_flattened_batch_is_split_by_length():
    marks = torch.tensor([[1, 0, 0, 1, 1, 1]])
    features = {
        "token_embeddings": TOKENS,
        "cu_seq_lens_q": torch.tensor([0, 1, 5, 6], dtype=torch.int32),
        "landmark_mask": marks,
    }
    short, long = layouts(features)
    assert (short[0].tolist(), long[0].tolist()) == ([0, 2], [1])
    assert torch.equal(short[1], TOKENS[0, [0, 5]].unsqueeze(1))
    assert torch.equal(long[1], TOKENS[:, 1:5])
    assert short[2].all()
    assert long[2].all()
    assert long[3].tolist() == [[0, 0, 1, 1]]
    assert long[4] is None


def test_a_pooling_skips_an_excluded_prompt():
    features = {"prompt_length": 3}
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert skipped(SimpleNamespace(include_prompt=True), features, 2, mask) == 0
    leaves_out = SimpleNamespace(include_prompt=False)
    assert skipped(leaves_out, features, 2) == 3
    assert skipped(leaves_out, {}, 2) == 0
    lengths = torch.tensor([3, 3])
    assert skipped(leaves_out, {"prompt_length": lengths}, 2) is lengths
    assert skipped(leaves_out, {"prompt_length": lengths}, 4).tolist() == [3]  # two columns, merged
    assert skipped(leaves_out, features, 2, mask).tolist() == [2, 1]
