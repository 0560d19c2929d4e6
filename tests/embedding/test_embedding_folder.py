"""`cenote.embed` into a folder: what goes on, what refuses, and that no way there changes a byte.

First the folder and its numbers; then stopping and going on; then what differs; then texts that are none.
"""

import itertools
import json
import warnings

import numpy as np
import pytest

import cenote
from cenote.data.texts import read_rows
from cenote.embedding import corpus as sources
from cenote.embedding import embed as embedding
from cenote.embedding.folder import manifest_of
from cenote.errors import BadInput, CenoteWarning

PLAIN = {"backend": "torch", "precision": "float32"}
WORDS = ("pool", "cave", "water", "deep light", "a stone")
TEXTS = [(f"i{row}", f"{WORDS[row % 5]} {row} " + "the water " * (row * 7 % 11)) for row in range(40)]


@pytest.fixture(scope="module")
def saved(tiny_st):
    return tiny_st("bert")


@pytest.fixture(scope="module")
def model(saved):
    return cenote.load(saved, device="cpu")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    for room in (sources, embedding):
        monkeypatch.setattr(room, "PART_TEXTS", 12)


@pytest.fixture
def run(model, tmp_path):
    """`run(texts, folder, **options)` with what tests have in common, into `tmp_path`."""

    def call(texts=TEXTS, folder="out", *, of=model, **options):
        return cenote.embed(of, texts, tmp_path / folder, **{**PLAIN, "name": "tiny", **options})

    return call


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def after(parts):
    """Asked before each part whether to stop: yes after so many."""
    asked = itertools.count()
    return lambda: next(asked) >= parts


# The folder and its numbers.


def test_vectors_ids_tokens_and_what_was_cut_in_the_order_of_the_texts(run, model, tmp_path):
    texts = [*TEXTS[:20], ("long", "the water " * 300), ("empty", ""), *TEXTS[20:]]
    with pytest.warns(CenoteWarning, match="1 text is longer than the 256 tokens that the model reads"):
        manifest = run(texts)
    found = cenote.read_embeddings(tmp_path / "out")
    assert found.ids == [name for name, _ in texts]
    expected = model.encode([text for _, text in texts], convert_to_numpy=True)
    np.testing.assert_allclose(found[:], expected, atol=1e-5)
    assert np.flatnonzero(found["truncated"]).tolist() == [20]
    lengths = [len(model.tokenizer(text)["input_ids"]) for _, text in texts]
    assert found["n_tokens"].tolist() == lengths
    assert lengths[20] > 256
    counts = manifest.counts
    assert (counts.texts, counts.rows, counts.truncated, counts.tokens) == (42, (12, 12, 12, 6), 1, sum(lengths))
    assert manifest.settings["texts"] == 42
    assert (manifest.settings["backend"], manifest.settings["precision"]) == ("torch", "float32")
    assert "device" in manifest.settings


def test_the_same_call_again_writes_the_same_bytes_and_computes_nothing(run, tmp_path, monkeypatch):
    manifest, before = run(), content(tmp_path / "out")
    monkeypatch.setattr(embedding.Vectoriser, "read", lambda *_: pytest.fail("texts were read again"))
    assert run() == manifest
    assert content(tmp_path / "out") == before


def test_strings_iterators_and_functions_give_the_same_rows(run, tmp_path):
    texts = [text for _, text in TEXTS]
    for folder, given in (("list", texts), ("iterator", iter(texts)), ("function", lambda: iter(texts))):
        run(given, folder)
    found = [cenote.read_embeddings(tmp_path / name) for name in ("list", "iterator", "function")]
    for one in found[1:]:
        np.testing.assert_array_equal(one[:], found[0][:])
        assert one.ids == [str(row) for row in range(40)]
    assert content(tmp_path / "list") == content(tmp_path / "function")
    assert manifest_of(tmp_path / "iterator").settings["texts"] is None


def test_progress_counts_texts(run):
    told = []
    run(progress=lambda *step: told.append(step), stop=after(2))
    assert next(step for step in told if step[0] == "embedding") == ("embedding", 0, 40)
    assert told[-1] == ("embedding", 24, 40)
    assert sorted(told[-4:]) == told[-4:]
    told.clear()
    run(progress=lambda *step: told.append(step))
    assert next(step for step in told if step[0] == "embedding") == ("embedding", 24, 40)
    assert told[-1] == ("embedding", 40, 40)


# Stopping and going on.


@pytest.mark.parametrize("options", [{}, {"dtype": "int8"}, {"dtype": "float16", "dimensions": 8, "normalize": True}])
def test_a_run_that_is_stopped_after_each_part_ends_with_the_same_bytes(run, tmp_path, options):
    clean = run(folder="clean", **options)
    for parts in range(1, 4):
        manifest = run(**options, stop=after(1))
        assert manifest.complete == (parts == 4)
        assert len(list((tmp_path / "out").glob("part-*"))) == parts
        with pytest.raises(BadInput, match="is not complete"):
            cenote.read_embeddings(tmp_path / "out")
    assert run(**options) == clean
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_the_last_part_is_followed_by_the_end_and_not_by_a_stop(run):
    assert run(stop=after(4)).complete


def test_a_crash_within_a_part_loses_that_part_alone(run, tmp_path, monkeypatch):
    run(folder="clean")
    read = embedding.Vectoriser.read
    calls = itertools.count()

    def crash(self, *given):
        if next(calls) == 2:
            raise RuntimeError("the machine is on fire")
        return read(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(embedding.Vectoriser, "read", crash)
        with pytest.raises(RuntimeError, match="on fire"):
            run()
    assert len(list((tmp_path / "out").glob("part-*"))) == 2
    run()
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_an_iterator_is_gone_on_with_by_giving_it_again(run, tmp_path):
    run(iter(TEXTS), "clean")
    assert not run(iter(TEXTS), stop=after(2)).complete
    assert run(iter(TEXTS)).complete
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_a_choice_that_was_made_is_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "WORTH_IT", 10)
    chosen = []

    def choose(model, tokens, name, precision, **options):
        chosen.append((name, precision))
        return embedding.backend(model, "torch", "bfloat16", task=options["task"]), 0.99995

    monkeypatch.setattr(embedding, "choose_backend", choose)
    assert run(folder="clean", backend="auto", precision="auto").agreement == 0.99995
    run(backend="auto", precision="auto", stop=after(1))
    assert chosen == [("auto", "auto")] * 2
    assert run(backend="auto", precision="auto").settings["precision"] == "bfloat16"
    assert len(chosen) == 2
    assert content(tmp_path / "out") == content(tmp_path / "clean")
    with pytest.raises(BadInput, match="precision is 'bfloat16' there and 'float32' now"):
        run(backend="auto", precision="float32")


def test_restart_begins_anew(run, tmp_path):
    run(folder="clean", dtype="float16")
    run(dtype="int8")
    run(dtype="float16", restart=True)
    assert content(tmp_path / "out") == content(tmp_path / "clean")


# What differs.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bfloat16"}, "precision is 'float32' there and 'bfloat16' now"),
        ({"dtype": "float16"}, "dtype is 'float32' there and 'float16' now"),
        ({"dimensions": 8}, "dimensions is None there and 8 now"),
        ({"normalize": True}, "normalize is False there and True now"),
        ({"long": "window-mean"}, "long is 'truncate' there and 'window-mean' now"),
        ({"texts": TEXTS[:-1]}, "texts is 40 there and 39 now; source is 'texts' .* there"),
        ({"texts": [*TEXTS[:-1], ("i39", "x")]}, "source is 'texts' .* there and 'texts' .* now"),
        ({"texts": TEXTS[::-1]}, "source is 'texts'"),
    ],
    ids=["precision", "dtype", "dimensions", "normalize", "long", "fewer", "edited", "reversed"],
)
def test_another_call_is_refused_by_what_differs(run, tmp_path, options, message):
    run(stop=after(2))
    before = content(tmp_path / "out")
    with pytest.raises(BadInput, match=message):
        run(**options)
    assert content(tmp_path / "out") == before


def test_another_model_pooling_or_temperature_is_refused(run, tmp_path, saved, tiny_st):
    from sentence_transformers.sentence_transformer.modules import Normalize

    from cenote.models.repooling import repool

    run()
    before = content(tmp_path / "out")
    other = cenote.load(saved, device="cpu")
    next(other.parameters()).data += 1
    with pytest.raises(BadInput, match=r"model is 'tiny' \(\w+\) there and 'other' \(\w+\) now"):
        run(of=other, name="other")
    with pytest.raises(BadInput, match="architecture is 'BertModel' there and 'Qwen3Model' now"):
        run(of=cenote.load(tiny_st("qwen"), device="cpu"))
    pooled = cenote.load(saved, device="cpu")
    repool(pooled, "max")
    with pytest.raises(BadInput, match="pooling is 'mean' there and 'max' now"):
        run(of=pooled)
    tempered = cenote.load(saved, device="cpu")
    cenote.temper(tempered, 0.5)
    with pytest.raises(BadInput, match=r"temperature is None there and \{'temperature': 0\.5"):
        run(of=tempered)
    for change, said in (
        (lambda model: setattr(model[1], "include_prompt", False), "1 Pooling.include_prompt is True there and False"),
        (
            lambda model: setattr(model.tokenizer, "truncation_side", "left"),
            "truncation_side is 'right'",
        ),
        (lambda model: setattr(model.tokenizer.backend_tokenizer, "normalizer", None), "tokenizer is '"),
        (lambda model: model[0].model.set_attn_implementation("eager"), "attention is 'sdpa' there and 'eager'"),
    ):
        changed = cenote.load(saved, device="cpu")
        change(changed)
        with pytest.raises(BadInput, match=said):
            run(of=changed)
    shorter = cenote.load(saved, device="cpu")
    shorter.truncate_dim = 8
    with pytest.raises(BadInput, match="truncate_dim is None there and 8 now"):
        run(of=shorter)
    unit = cenote.load(saved, device="cpu")
    unit.append(Normalize())
    with pytest.raises(BadInput, match="2 Normalize is None there and True now"):
        run(of=unit)
    assert content(tmp_path / "out") == before
    run(of=cenote.load(saved, device="cpu"), name="moved")
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([*TEXTS[:5], ("i5", "x"), *TEXTS[6:]], "rows 0 to 11 are not those that .* was made of"),
        ([*TEXTS[:14], *TEXTS[15:]], "rows 12 to 23 are not those"),
        (TEXTS[:12], r"part 1 of .* is of texts that the input no longer has"),
        ([], "there are no texts in 'texts'"),
    ],
)
def test_another_iterator_shows_when_its_texts_come(run, tmp_path, texts, message):
    run(iter(TEXTS), stop=after(2))
    before = content(tmp_path / "out")
    with pytest.raises(BadInput, match=message):
        run(iter(texts))
    assert content(tmp_path / "out") == before
    run(iter(TEXTS))


def test_texts_that_change_while_they_are_embedded_are_told(run, tmp_path):
    readings = itertools.count()

    def texts():
        return iter(TEXTS if next(readings) == 0 else [*TEXTS[:-1], ("i39", "edited")])

    with pytest.raises(BadInput, match="the texts changed while they were read"):
        run(texts)
    assert not manifest_of(tmp_path / "out").complete
    assert len(list((tmp_path / "out").glob("part-*"))) == 3


def test_a_folder_that_is_not_ours_is_refused_before_anything_is_read(model, tmp_path, monkeypatch):
    (tmp_path / "theirs").write_text("theirs")
    monkeypatch.setattr(embedding, "load", lambda *_: pytest.fail("a model was loaded"))
    monkeypatch.setattr(embedding, "survey", lambda *_, **__: pytest.fail("texts were read"))
    with pytest.raises(BadInput, match="holds 'theirs' and no manifest"):
        cenote.embed("minilm", TEXTS, tmp_path)
    with pytest.raises(BadInput, match="is a file"):
        cenote.embed("minilm", TEXTS, tmp_path / "theirs")


def test_a_restart_whose_texts_are_no_good_deletes_nothing(run, tmp_path):
    run(TEXTS)
    before = content(tmp_path / "out")
    for texts in ([("a", "a"), ("b", None)], iter([("a", "a"), ("b", None)]), iter([])):
        with pytest.raises(BadInput, match=r"row 1: the text is null|there are no texts"):
            run(texts, restart=True)
        assert content(tmp_path / "out") == before


# Texts that are none.


SPOILT = [*TEXTS[:3], ("n", None), *TEXTS[3:30], ("i7", "again"), *TEXTS[30:], ("x", 5), ("half", "\ud800")]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (SPOILT, r"row 3: the text is null, not a string\. Or leave such rows out"),
        ([*TEXTS, ("x", 5)], "row 40: the text is int 5"),
        ([*TEXTS, ("i7", "again")], "rows 7 and 40 have the same id 'i7'"),
        ([], "there are no texts in 'texts'"),
        (5, "texts is 5: pass strings"),
        ("text", "texts is one string"),
    ],
)
def test_what_is_wrong_with_the_last_text_shows_before_the_first_is_embedded(run, tmp_path, texts, message):
    with pytest.raises(BadInput, match=message):
        run(texts)
    assert not (tmp_path / "out").exists()


def test_where_cutting_is_an_error_it_shows_before_the_first_is_embedded(run, tmp_path):
    texts = [*TEXTS, ("long", "the water " * 300)]
    told = []
    with pytest.raises(BadInput, match=r"row 40, id 'long': it has 602 tokens, and the model reads 256\."):
        run(texts, on_truncate="error", progress=lambda *step: told.append(step))
    assert not (tmp_path / "out").exists()
    assert ("counting tokens", 36, 41) in told
    assert run(texts, on_truncate="error", on_error="skip").counts.rejected == 1  # which leaves it out
    assert run(TEXTS, "sound", on_truncate="error").complete


@pytest.mark.parametrize("bad", [("x", None), ("i7", "again")])
def test_of_an_iterator_it_shows_when_it_comes_and_the_parts_before_are_whole(run, tmp_path, bad):
    with pytest.raises(BadInput, match=r"row 30: the text is null|rows 7 and 30 have the same id"):
        run(iter([*TEXTS[:30], bad, *TEXTS[30:]]))
    assert sorted(path.name for path in (tmp_path / "out").glob("part-*")) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert not manifest_of(tmp_path / "out").complete


def test_rows_that_are_skipped_are_listed_and_the_same_after_going_on(run, tmp_path):
    clean = run(SPOILT, "clean", on_error="skip")
    assert (clean.counts.texts, clean.counts.rejected, sum(clean.counts.rows)) == (44, 4, 40)
    lines = [json.loads(line) for line in (tmp_path / "clean" / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert [one["row"] for one in lines] == [3, 31, 42, 43]
    assert "rows 8 and 31 have the same id 'i7'" in lines[1]["why"]
    assert cenote.read_embeddings(tmp_path / "clean").ids == [name for name, _ in TEXTS]
    for _ in range(3):
        run(SPOILT, on_error="skip", stop=after(1))
    run(SPOILT, on_error="skip")
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_an_iterator_is_skipped_through_too(run, tmp_path):
    run(SPOILT, "clean", on_error="skip")
    run(iter(SPOILT), on_error="skip")
    assert (tmp_path / "out" / "rejects.jsonl").read_bytes() == (tmp_path / "clean" / "rejects.jsonl").read_bytes()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_parts_of_which_nothing_is_left(run, tmp_path, dtype):
    texts = [None] * 12 + ["a pool", "a cave"] + [None] * 20
    manifest = run(texts, on_error="skip", dtype=dtype)
    assert manifest.counts.rows == (0, 2, 0)
    found = cenote.read_embeddings(tmp_path / "out")
    assert (found.ids, found[:].shape) == (["12", "13"], (2, 32))
    run([None] * 3, "nothing", on_error="skip", dtype=dtype)
    assert cenote.read_embeddings(tmp_path / "nothing")[:].shape == (0, 32)


def test_a_file_with_faults_is_read_as_its_rows_come(run, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "x", "text": "a pool"}\nno JSON\n{"id": "y", "text": 5}\n{"id": "z", "text": "a cave"}\n')
    with pytest.raises(BadInput, match=r"a\.jsonl, line 2: not JSON"):
        run(lambda: read_rows(path))
    run(lambda: read_rows(path), on_error="skip")
    found = cenote.read_embeddings(tmp_path / "out")
    assert found.ids == ["x", "z"]
    lines = (tmp_path / "out" / "rejects.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["row"] for line in lines] == [1, 2]
    assert f"{path}, line 3: the text is int 5, not a string" in json.loads(lines[1])["why"]


def test_in_memory_no_text_is_lost_in_silence(model):
    with pytest.raises(BadInput, match="row 1: the text is null"):
        cenote.embed(model, ["a", None], **PLAIN)
    with pytest.raises(BadInput, match="row 1: the text is null"):
        list(cenote.embed(model, iter(["a", None]), **PLAIN))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cenote.embed(model, [("x", "a"), ("x", "a")], **PLAIN).shape == (2, 32)


def test_what_was_chosen_and_how_well_it_agrees_is_kept(saved, tmp_path):
    """By `auto`, of enough texts to choose on; a resumed run keeps what was chosen then."""
    texts = [f"text {row}" for row in range(2000)]
    said = []
    manifest = cenote.embed(saved, texts, tmp_path / "out", notify=said.append)
    assert f"embedding with {manifest.settings['backend']} at {manifest.settings['precision']}" in said
    assert 0.9999 <= manifest.agreement <= 1
    assert any(f"least cosine with float32 {manifest.agreement:.6f}" in line for line in said)
    again = cenote.embed(saved, texts, tmp_path / "out", notify=said.append)
    assert again == manifest
    assert "all 2,000 texts are there already" in said
    assert cenote.embed(saved, texts[:5], tmp_path / "few").agreement is None
