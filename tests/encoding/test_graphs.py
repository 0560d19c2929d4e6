"""A model as one graph: its inputs, its files, and the models that are refused."""

import numpy as np
import pytest
import torch

import cenote
from cenote.encoding import graphs
from cenote.encoding.forward import VECTORS
from cenote.errors import BadInput, UnsupportedModel
from cenote.models.repooling import repool
from cenote.surgery.attention import SDPA


@pytest.fixture(scope="module")
def bert(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


def test_inputs_are_the_features_of_the_model(bert, tiny_st):
    assert set(graphs.inputs_of(bert)) == {"input_ids", "token_type_ids", "attention_mask"}
    marked = repool(cenote.load(tiny_st("bert"), device="cpu"), "landmark")
    assert "landmark_mask" in graphs.inputs_of(marked)
    apart = cenote.load(tiny_st("roberta", include_prompt=False), device="cpu")
    assert graphs.inputs_of(apart) == ("input_ids", "attention_mask", graphs.PROMPT)


def test_feed_returns_arrays_in_the_order_of_the_names(bert):
    features = bert.preprocess(["a pool", "the deep water"])
    fed = graphs.feed(features, graphs.inputs_of(bert))
    assert list(fed) == list(graphs.inputs_of(bert))
    assert all(np.array_equal(fed[name], features[name]) for name in fed)
    assert all(array.flags.c_contiguous and array.dtype == np.int64 for array in fed.values())


@pytest.mark.parametrize(
    ("features", "expected"),
    [({}, [0, 0]), ({"prompt_length": 2}, [2, 2]), ({"prompt_mask": torch.tensor([[1, 1, 0], [0, 1, 0]])}, [2, 1])],
)
def test_feed_counts_the_tokens_of_a_prompt(features, expected):
    features = {"input_ids": torch.ones(2, 3, dtype=torch.long), "attention_mask": torch.ones(2, 3), **features}
    fed = graphs.feed(features, ("input_ids", "attention_mask", graphs.PROMPT))
    assert fed[graphs.PROMPT].tolist() == expected


def test_feed_refuses_texts_that_a_graph_would_not_notice():
    ids, mask = torch.ones(2, 3, dtype=torch.long), torch.tensor([[1, 1, 0], [0, 0, 0]])
    names = ("input_ids", "attention_mask")
    with pytest.raises(BadInput, match=r"features lack attention_mask: pass everything that model.preprocess returns"):
        graphs.feed({"input_ids": ids}, names)
    with pytest.raises(BadInput, match="row 1 has no real token"):
        graphs.feed({"input_ids": ids, "attention_mask": mask}, names)
    features = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]), "prompt_length": 2}
    with pytest.raises(BadInput, match="row 0 has no token left after the prompt"):
        graphs.feed(features, (*names, graphs.PROMPT))


def test_models_that_cannot_be_graphs_are_known_beforehand(bert):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW

    assert graphs.why_no_graph(bert) is None
    words = SentenceTransformer(modules=[BoW(vocab=["pool"])], device="cpu")
    assert "the model starts with BoW" in graphs.why_no_graph(words)
    with cenote.temper(bert, {"query": 0.5, "document": 1.0}):
        assert "pass task='query' or 'document'" in graphs.why_no_graph(bert)
        assert graphs.why_no_graph(bert, "query") is None


@pytest.mark.parametrize("form", [graphs.to_openvino, lambda model: graphs.to_onnx(model).__enter__()])
def test_code_that_cannot_be_recorded_is_refused(bert, form, monkeypatch):
    def stubborn(self, features, **_):
        if not features["input_ids"].any().item():  # a value steers the code
            return features
        raise RuntimeError("not in a graph\nand many lines more")

    monkeypatch.setattr(type(bert[1]), "forward", stubborn)
    with pytest.raises(UnsupportedModel, match=r"BertModel cannot be recorded as a graph: .*The backend 'torch' runs"):
        form(bert)


def test_probes_are_read_by_the_reader_of_the_task(routed):
    for task, longest in (("query", 256), ("document", 40)):
        batches = list(graphs.probes(routed, task))
        assert max(features["input_ids"].shape[1] for features in batches) == longest
        for features, texts in zip(batches, graphs.PROBES, strict=True):
            assert torch.equal(features["input_ids"], routed.preprocess(list(texts), task=task)["input_ids"])


@pytest.mark.parametrize("by_name", [False, True])
def test_an_additive_mask_stays_in_its_place(by_name):
    one = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, False]] * 3)
    given = ((one, one, one), {"attn_mask": mask, "dropout_p": 0.0}) if by_name else ((one, one, one, mask, 0.0), {})
    expected = SDPA(*given[0], **given[1])
    with graphs._AdditiveMasks():
        assert torch.allclose(SDPA(*given[0], **given[1]), expected)


def test_large_weights_have_a_file_of_their_own(bert, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(graphs, "_ONE_FILE", 0)
    fed = graphs.feed(bert.preprocess(["a pool"]), graphs.inputs_of(bert))
    with graphs.to_onnx(bert) as path:
        assert sorted(file.name for file in path.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
        session = onnxruntime.InferenceSession(str(path))
    assert not path.parent.exists()
    assert np.allclose(session.run([VECTORS], fed)[0], bert.encode(["a pool"]), atol=1e-5)
