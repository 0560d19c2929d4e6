"""A model as one graph: what goes in, what is left as it was, and what is refused before anything is recorded."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import cenote
from cenote.encoding import graphs
from cenote.errors import BadInput, UnsupportedModel
from cenote.models.repooling import repool


@pytest.fixture
def bert(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


def test_vectors_are_what_encode_gives(bert):
    texts = ["a pool", "the deep water of a cave", ""]
    with torch.inference_mode():
        made = graphs.vectors(bert, bert.preprocess(texts))
    assert np.allclose(made, bert.encode(texts), atol=1e-6)
    with bert.truncate_embeddings(5), torch.inference_mode():
        assert graphs.vectors(bert, bert.preprocess(texts)).shape == (3, 5)


def test_inputs_are_what_the_model_reads(bert, tiny_st):
    assert set(graphs.inputs_of(bert)) == {"input_ids", "token_type_ids", "attention_mask"}
    assert "landmark_mask" in graphs.inputs_of(repool(bert, "landmark"))
    apart = cenote.load(tiny_st("roberta", include_prompt=False), device="cpu")
    assert graphs.inputs_of(apart) == ("input_ids", "attention_mask", graphs.PROMPT)


def test_feed_is_numpy_in_the_order_of_the_names(bert):
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


def test_feed_refuses_what_a_graph_would_not_notice():
    ids, mask = torch.ones(2, 3, dtype=torch.long), torch.tensor([[1, 1, 0], [0, 0, 0]])
    names = ("input_ids", "attention_mask")
    with pytest.raises(BadInput, match=r"features lack attention_mask: pass what model.preprocess gives"):
        graphs.feed({"input_ids": ids}, names)
    with pytest.raises(BadInput, match="row 1 has no real token"):
        graphs.feed({"input_ids": ids, "attention_mask": mask}, names)
    features = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]), "prompt_length": 2}
    with pytest.raises(BadInput, match="row 0 has no token left after the prompt"):
        graphs.feed(features, (*names, graphs.PROMPT))


def test_what_cannot_be_a_graph_is_told_beforehand(bert):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW

    assert graphs.why_not(bert) is None
    words = SentenceTransformer(modules=[BoW(vocab=["pool"])], device="cpu")
    assert "the model starts with BoW" in graphs.why_not(words)
    with cenote.temper(bert, {"query": 0.5, "document": 1.0}):
        assert "pass task='query' or 'document'" in graphs.why_not(bert)
        assert graphs.why_not(bert, "query") is None


@pytest.mark.parametrize("form", [graphs.to_openvino, lambda model: graphs.to_onnx(model).__enter__()])
def test_what_no_recorder_understands_is_refused_as_such(bert, form, monkeypatch):
    def stubborn(self, features, **_):
        if not features["input_ids"].any().item():  # a value steers the code
            return features
        raise RuntimeError("not in a graph\nand many lines more")

    monkeypatch.setattr(type(bert[1]), "forward", stubborn)
    with pytest.raises(UnsupportedModel, match=r"BertModel cannot be put into a graph: .*The backend 'torch' runs"):
        form(bert)


def test_weights_beyond_one_file_have_their_own(bert, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(graphs, "_ONE_FILE", 0)
    fed = graphs.feed(bert.preprocess(["a pool"]), graphs.inputs_of(bert))
    with graphs.to_onnx(bert) as path:
        assert sorted(file.name for file in path.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
        session = onnxruntime.InferenceSession(str(path))
    assert not path.parent.exists()
    assert np.allclose(session.run([graphs.OUTPUT], fed)[0], bert.encode(["a pool"]), atol=1e-5)


def test_openvino_reports_nothing_to_its_makers():
    script = (
        "import sys\nfrom cenote.encoding.graphs import import_openvino\nopenvino = import_openvino()\n"
        "assert openvino.convert_model and openvino is import_openvino()\n"
        "assert not any(name.startswith('openvino_telemetry') for name in sys.modules)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
