"""`cenote pool`."""

import io
import json

import numpy as np
import pytest

import cenote
from cenote.cli import Exit, main


def feed(monkeypatch, data):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_the_vectors_of_the_model_are_printed(capsys, monkeypatch, tmp_path, demo_path):
    texts = ["a pool", "", "that a collapse made 🕳️ " * 40]
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"id": f"t{i}", "text": text}) + "\n" for i, text in enumerate(texts)), "utf-8")
    assert main(["pool", str(demo_path), str(file)]) == Exit.SUCCESS
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["id"] for row in rows] == ["t0", "t1", "t2"]
    expected = cenote.load(demo_path).encode(texts)
    np.testing.assert_allclose([row["embedding"] for row in rows], expected, rtol=0, atol=1e-6)
    assert err == ""


def test_warnings_are_one_line_on_standard_error(capsys, monkeypatch, demo_path):
    feed(monkeypatch, b"one\ntwo\nthree\n")
    assert main(["pool", str(demo_path), "-", "--pooling", "cls,mean", "--limit", "2"]) == Exit.SUCCESS
    out, err = capsys.readouterr()
    assert err.startswith("cenote: warning: ")
    assert err.count("\n") == 1
    assert "declares pooling 'mean', not 'cls'" in err
    assert [len(json.loads(line)["embedding"]) for line in out.splitlines()] == [768, 768]


def test_a_bad_text_is_named_by_its_line(capsys, monkeypatch, demo_path):
    feed(monkeypatch, b"fine\nalso fine\nbroken \xff\xfe\n")
    assert main(["pool", "minilm", "-"]) == Exit.FAILURE
    assert "line 3" in capsys.readouterr().err


def test_rows_before_a_broken_one_are_printed(capsys, tmp_path, demo_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one"}\n{"text": "two"}\n{"txet": "three"}\n')
    assert main(["pool", str(demo_path), str(file)]) == Exit.FAILURE  # a fault of the row, not of the command
    out, err = capsys.readouterr()
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["0", "1"]
    assert "line 3: unknown column" in err or "column of" in err


def test_truncated_texts_are_counted_in_a_warning(capsys, monkeypatch, demo_path):
    feed(monkeypatch, b"short\n" + b"long " * 300 + b"\n")
    assert main(["pool", str(demo_path), "-"]) == Exit.SUCCESS
    assert "1 of 2 texts were cut at the model's 256 tokens" in capsys.readouterr().err


def test_texts_truncated_because_of_a_prompt_are_counted_too(capsys, monkeypatch, tiny_st):
    folder = tiny_st("bert", prompts={"long": "the " * 200}, default_prompt_name="long")
    feed(monkeypatch, b"pool\n" + b"pool " * 60 + b"\n")
    assert main(["pool", str(folder), "-"]) == Exit.SUCCESS
    assert "1 of 2 texts were cut at the model's 256 tokens" in capsys.readouterr().err


@pytest.fixture
def static(tmp_path):
    """A folder of a model of static embeddings, one of which is not finite."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "pool": 1, "broken": 2}, **{"unk_token": "a"}))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = torch.tensor([[1.0, 2.0], [3.0, 5.0], [float("nan"), 0.0]])
    module = StaticEmbedding(tokenizer, embedding_weights=weights.numpy())
    SentenceTransformer(modules=[module], device="cpu").save(str(tmp_path / "static"))
    return str(tmp_path / "static")


def test_a_model_of_static_embeddings_is_read_by_its_own_encode(static, capsys, monkeypatch):
    feed(monkeypatch, b"a\npool\na pool\n")
    assert main(["pool", static, "-"]) == Exit.SUCCESS
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["embedding"] for row in rows] == [[1.0, 2.0], [3.0, 5.0], [2.0, 3.5]]
    feed(monkeypatch, b"a\nbroken\n")
    assert main(["pool", static, "-"]) == Exit.FAILURE
    out, err = capsys.readouterr()
    assert (out, "text 1 cannot be read: " in err) == ("", True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--interval", "8"], "interval=8 goes with pooling landmark, every_k, multi_cls"),
        (["--max-seq-length", "9999"], "positions for 512 tokens only"),
    ],
)
def test_options_that_the_model_refuses_are_one_line(options, message, capsys, monkeypatch, demo_path):
    feed(monkeypatch, b"a text\n")
    assert main(["pool", "minilm", "-", *options]) == Exit.FAILURE
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
