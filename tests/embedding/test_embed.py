"""`embed`: every form of input and output, folders that a run goes on with or refuses, and bad texts.

That vectors are those of `encode` is tested for all readers in `tests/encoding/test_contract.py`; here are the options
that change them. The folder itself is tested in `test_folder.py`, killed runs in `test_soak.py`.
"""

import copy
import itertools
import json
import os
import threading
import time
import tracemalloc
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Normalize

import cenote
from cenote import choices
from cenote.data.texts import read_rows
from cenote.embedding import corpus as slicing
from cenote.embedding import embed as embedding
from cenote.embedding import rows as reading
from cenote.embedding.manifest import manifest_of
from cenote.embedding.rows import SliceEncoder
from cenote.encoding import backend_choice, backends
from cenote.errors import BadInput, CenoteWarning, UnknownName, UnsupportedModel
from cenote.models.repooling import repool

PLAIN = {"backend": "torch", "precision": "float32"}
SHORT = ["a pool", "that a collapse made", "the deep cave holds light"]
LONG = "The deep cave holds light, and the pool below it none. " * 60
WORDS = ("pool", "cave", "water", "deep light", "a stone")
TEXTS = [(f"i{row}", f"{WORDS[row % 5]} {row} " + "the water " * (row * 7 % 11)) for row in range(40)]


@pytest.fixture(scope="module")
def saved(tiny_st):
    return tiny_st("bert")


@pytest.fixture(scope="module")
def model(saved):
    return cenote.load(saved, device="cpu")


@pytest.fixture
def parts_of(monkeypatch):
    """`parts_of(n)`: parts hold so many texts."""

    def call(texts):
        for module in (slicing, embedding):
            monkeypatch.setattr(module, "PART_TEXTS", texts)

    return call


@pytest.fixture
def run(model, tmp_path, parts_of):
    """`run(texts, folder, **options)`: into a folder of `tmp_path`, in parts of 12 texts."""
    parts_of(12)

    def call(texts=TEXTS, folder="out", *, of=model, **options):
        return cenote.embed(of, texts, tmp_path / folder, **{**PLAIN, "name": "tiny", **options})

    return call


@pytest.fixture
def with_bfloat16(monkeypatch):
    """On any machine: torch computes in bfloat16 on every CPU, if slowly."""
    monkeypatch.setattr(backends, "_hardware_obstacle", lambda *_: None)


def table_of(folder):
    return pq.read_table(sorted(folder.glob("*.parquet")))


def vectors_of(table):
    return np.array(table["embedding"].to_pylist(), np.float32)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def after(parts):
    """Return what says to stop after so many parts: it is asked before each."""
    asked = itertools.count()
    return lambda: next(asked) >= parts


# Options that change vectors.


@pytest.mark.parametrize("include", [True, False])
def test_a_named_prompt(tiny_st, include):
    prompts = {"ask": "query: ", "tell": "document: "}
    model = cenote.load(tiny_st("bert", include_prompt=include, prompts=prompts), device="cpu")
    made = {name: cenote.embed(model, SHORT, prompt_name=name) for name in prompts}
    for name, vectors in made.items():
        np.testing.assert_allclose(vectors, model.encode(SHORT, prompt_name=name), atol=1e-5)
    assert np.abs(made["ask"] - made["tell"]).max() > 1e-3
    with pytest.raises(UnknownName, match="unknown prompt 'asq'; did you mean 'ask'"):
        cenote.embed(model, SHORT, prompt_name="asq")


def test_tasks_are_those_of_encode_query_and_encode_document(tiny_st):
    prompts = {"query": "query: ", "passage": "document: "}
    model = cenote.load(tiny_st("bert", prompts=prompts), device="cpu", temperature={"query": 0.3, "document": 1.0})
    model.prompts.pop("document", None)
    query, document = (cenote.embed(model, SHORT, task=task) for task in ("query", "document"))
    np.testing.assert_allclose(query, model.encode_query(SHORT), atol=1e-5)
    np.testing.assert_allclose(document, model.encode_document(SHORT), atol=1e-5)
    assert np.abs(query - document).max() > 1e-2


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({"normalize": True}, {"normalize_embeddings": True}),
        ({"dimensions": 7}, {"truncate_dim": 7}),
        ({"dimensions": 7, "normalize": True}, {"truncate_dim": 7, "normalize_embeddings": True}),
    ],
)
def test_vectors_are_normalised_and_cut_as_by_encode(model, options, theirs):
    np.testing.assert_allclose(cenote.embed(model, SHORT, **options), model.encode(SHORT, **theirs), atol=1e-5)


def test_dimensions_are_at_most_those_of_the_model(saved):
    model = cenote.load(saved, device="cpu")
    model.truncate_dim = 9
    assert cenote.embed(model, []).shape == (0, 9)
    with pytest.raises(BadInput, match="dimensions=10: the model's vectors have 1 to 9"):
        cenote.embed(model, SHORT, dimensions=10)


def test_float16_and_int8_are_those_vectors_rounded(model, tmp_path):
    expected = model.encode(SHORT)
    half = cenote.embed(model, SHORT, dtype="float16")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, expected, rtol=2**-11, atol=1e-4)
    cenote.embed(model, SHORT, tmp_path / "out", dtype="int8")
    table = table_of(tmp_path / "out")
    numbers, scales = vectors_of(table), table["scale"].to_numpy()[:, None]
    assert (np.abs(numbers).max(1) == 127).all()
    assert (np.abs(numbers * scales - expected) <= 0.501 * scales + 1e-5).all()


def test_windows_are_rows_with_their_text_and_its_characters(demo, tmp_path):
    rows = [("short", "a pool"), ("long", LONG), ("empty", "")]
    cenote.embed(demo, rows, tmp_path / "out", long="windows")
    table = table_of(tmp_path / "out")
    parents = table["parent_id"].to_pylist()
    count = parents.count("long")
    assert parents == ["short", *["long"] * count, "empty"]
    assert count > 2
    assert table["window"].to_pylist() == [0, *range(count), 0]
    spans = zip(*(table[name].to_pylist() for name in ("parent_id", "start", "end")), strict=True)
    texts = [dict(rows)[parent][start:end] for parent, start, end in spans]
    np.testing.assert_allclose(vectors_of(table), [demo.encode(text) for text in texts], rtol=0, atol=1e-6)
    assert not any(table["truncated"].to_pylist())
    assert table["n_tokens"].to_pylist() == [len(demo.tokenizer(text)["input_ids"]) for text in texts]
    assert all(text.endswith(".") and text.startswith("The") for text in texts[1:-1])


def test_window_mean_in_memory_takes_the_windows_that_are_asked_for(model, tmp_path):
    sizes = {"window": 100, "overlap": 20}
    vectors = cenote.embed(model, ["a pool", LONG], long="window-mean", **sizes)
    cenote.embed(model, [LONG], tmp_path / "out", long="windows", **sizes)
    table = table_of(tmp_path / "out")
    expected = np.average(vectors_of(table), 0, table["n_tokens"].to_numpy())
    np.testing.assert_allclose(vectors[1], expected, atol=1e-5)
    np.testing.assert_allclose(vectors[0], model.encode("a pool"), atol=1e-5)


def test_cut_texts_are_warned_of_at_the_callers_line(model):
    with pytest.warns(CenoteWarning, match="2 texts are longer than the 256 tokens that the model reads") as warned:
        cenote.embed(model, ["a pool", LONG, LONG])
    assert warned[0].filename == __file__
    with pytest.warns(CenoteWarning, match="1 text is longer") as warned:
        list(cenote.embed(model, iter([LONG])))
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cenote.embed(model, ["a pool", "pool " * 254])
        cenote.embed(model, [LONG], long="window-mean")
    with pytest.raises(BadInput, match="row 1, id '1': it has"):
        cenote.embed(model, ["a pool", LONG], on_truncate="error")


# In memory.


def test_an_iterator_gives_arrays_as_they_come(model, parts_of):
    parts_of(4)
    texts = [f"{text} {row}" for row in range(3) for text in SHORT]
    arrays = list(cenote.embed(model, iter(texts)))
    assert [len(array) for array in arrays] == [4, 4, 1]
    np.testing.assert_allclose(np.concatenate(arrays), model.encode(texts), atol=1e-5)
    assert list(cenote.embed(model, iter([]))) == []


class Stream:
    """A wrapper of a stream with a length, as tqdm is."""

    def __init__(self, texts):
        self.stream = iter(texts)

    def __iter__(self):
        yield from self.stream

    def __len__(self):
        return len(SHORT)


def test_a_stream_with_a_length_is_embedded_whole(model, run, tmp_path):
    (array,) = cenote.embed(model, Stream(SHORT))
    np.testing.assert_allclose(array, model.encode(SHORT), atol=1e-5)
    assert run(Stream(SHORT)).counts.texts == 3


def test_files_give_arrays_as_they_come_and_collections_one(model, tmp_path):
    """As the overloads say, which tests/test_typing.py compares."""
    (tmp_path / "a.txt").write_text("a pool\n")
    for texts in (tmp_path / "a.txt", [tmp_path / "a.txt"], (tmp_path / "a.txt",), iter(["a"]), lambda: ["a"]):
        assert [len(array) for array in cenote.embed(model, texts)] == [1]
    for texts in (["a"], ("a",), {"a"}, {"a": 1}.keys(), np.array(["a"])):
        assert cenote.embed(model, texts).shape == (1, 32)


def test_texts_whose_number_is_another_than_their_length_are_an_error(model):
    class Short(list):
        def __iter__(self):
            return itertools.islice(super().__iter__(), 2)

    with pytest.raises(BadInput, match="the texts have the length 3, and gave 2 rows: pass a list of them"):
        cenote.embed(model, Short(SHORT))


def test_more_rows_than_the_length_of_the_texts_are_an_error(model):
    class Long(list):
        def __len__(self):
            return 2

    with pytest.raises(BadInput, match="the texts have the length 2, and gave 3 rows: pass a list of them"):
        cenote.embed(model, Long(SHORT), **PLAIN)


def test_the_array_of_a_list_is_filled_part_by_part(model, monkeypatch):
    parts = (np.full((100, 2**12), number, np.float32) for number in range(20))
    monkeypatch.setattr(embedding, "_arrays", lambda *_: parts)
    tracemalloc.start()
    whole = cenote.embed(model, ["a pool"] * 2000, **PLAIN)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert whole[::100, 0].tolist() == list(range(20))
    assert peak < 1.5 * whole.nbytes


def test_between_arrays_the_caller_may_use_the_model(model, parts_of, monkeypatch):
    """No thread uses its tokenizer then, which serves one at a time, and its mode of training is the caller's."""
    parts_of(2)
    at_work = []
    original = SliceEncoder.prepare

    def prepare(self, part):
        at_work.append(part.index)
        try:
            return original(self, part)
        finally:
            at_work.pop()

    monkeypatch.setattr(SliceEncoder, "prepare", prepare)
    model.train()
    try:
        for array in cenote.embed(model, iter(SHORT * 5)):
            assert at_work == []
            assert all(module.training for module in model.modules())
            assert len(array) <= 2
    finally:
        model.eval()


def test_the_mode_of_training_is_restored(saved, tmp_path):
    model = cenote.load(saved, device="cpu")
    expected = model.encode(SHORT)
    model.train()
    model[0].eval()
    modes = [module.training for module in model.modules()]
    np.testing.assert_allclose(cenote.embed(model, SHORT), expected, atol=1e-5)
    cenote.embed(model, SHORT, tmp_path / "out")
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(BadInput, match="lone surrogate"):
        cenote.embed(model, ["\ud800"])
    assert [module.training for module in model.modules()] == modes


def test_the_input_is_read_in_the_callers_thread_and_one_part_ahead(model, parts_of):
    """As a database needs it, and a pipe that stalls."""
    parts_of(4)
    asked, came = [], []

    def texts():
        for row in range(20):
            asked.append((threading.get_ident(), len(came)))
            yield f"text {row}"

    for vectors in cenote.embed(model, texts(), **PLAIN):
        came.append(len(vectors))
    assert came == [4] * 5
    assert {thread for thread, _ in asked} == {threading.get_ident()}
    # The rows of two parts are read before the first array comes, those of one more part before each of the next.
    assert [before for _, before in asked[::4]] == [0, 0, 1, 2, 3]


def test_a_run_in_memory_reports_its_progress_and_stops(model, parts_of):
    parts_of(2)
    heard = []
    found = cenote.embed(
        model, ["a"] * 6, progress=lambda *report: heard.append(report), stop=lambda: heard[-1][1] == 4
    )
    assert list(dict.fromkeys(heard)) == [("embedding", done, 6) for done in (0, 2, 4)]
    assert found.shape == (4, 32)


def test_progress_is_reported_within_a_part(model):
    heard = []
    cenote.embed(model, ["pool " * 200] * 100, progress=lambda *report: heard.append(report))
    assert len(set(heard)) > 3
    assert heard == sorted(heard)
    assert heard[-1] == ("embedding", 100, 100)


def test_an_id_may_be_repeated_in_memory(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cenote.embed(model, [("x", "a"), ("x", "a")], **PLAIN).shape == (2, 32)


# Into a folder.


def test_a_folder_holds_vectors_ids_lengths_and_cut_texts_in_order(run, model, tmp_path):
    texts = [*TEXTS[:20], ("long", "the water " * 300), ("empty", ""), ("fits", "pool " * 254), *TEXTS[20:]]
    with pytest.warns(CenoteWarning, match="1 text is longer than the 256 tokens that the model reads") as warned:
        manifest = run(texts)
    assert warned[0].filename == __file__
    found = cenote.read_embeddings(tmp_path / "out")
    assert found.ids == [name for name, _ in texts]
    np.testing.assert_allclose(found[:], [model.encode(text) for _, text in texts], atol=1e-5)
    assert np.flatnonzero(found["truncated"]).tolist() == [20]
    lengths = [len(model.tokenizer(text)["input_ids"]) for _, text in texts]
    assert found["n_tokens"].tolist() == lengths
    assert (lengths[20] > 256, lengths[22]) == (True, 256)
    counts = manifest.counts
    assert (counts.texts, counts.rows, counts.truncated, counts.tokens) == (43, (12, 12, 12, 7), 1, sum(lengths))
    assert manifest.settings["texts"] == 43
    assert (manifest.settings["backend"], manifest.settings["precision"]) == ("torch", "float32")
    assert manifest.settings["device"] == "cpu"


def test_a_text_of_more_than_a_hundred_thousand_characters_is_counted_whole(demo, tmp_path):
    with pytest.warns(CenoteWarning, match="1 text is longer"):
        cenote.embed(demo, ["a pool", LONG * 40], tmp_path / "out")
    table = table_of(tmp_path / "out")
    assert table["n_tokens"].to_pylist() == [4, len(demo.tokenizer(LONG * 40, verbose=False)["input_ids"])]
    np.testing.assert_allclose(vectors_of(table)[1], demo.encode(LONG * 40), rtol=0, atol=1e-6)


def test_the_same_call_again_writes_the_same_bytes_and_computes_nothing(run, tmp_path, monkeypatch):
    manifest, before = run(), content(tmp_path / "out")
    monkeypatch.setattr(SliceEncoder, "read", lambda *_: pytest.fail("texts were read again"))
    assert run() == manifest
    assert content(tmp_path / "out") == before


def test_lists_iterators_and_functions_give_the_same_rows(run, tmp_path):
    texts = [text for _, text in TEXTS]
    given = {"list": texts, "iterator": iter(texts), "function": lambda: iter(texts), "of a list": lambda: texts}
    for folder, source in given.items():
        run(source, folder)
    found = [cenote.read_embeddings(tmp_path / name) for name in given]
    for one in found[1:]:
        np.testing.assert_array_equal(one[:], found[0][:])
        assert one.ids == [str(row) for row in range(40)]
    assert content(tmp_path / "list") == content(tmp_path / "function") == content(tmp_path / "of a list")
    assert manifest_of(tmp_path / "iterator").settings["texts"] is None


def test_progress_counts_texts_also_where_a_run_goes_on(run):
    heard = []

    def steps(**options):
        heard.clear()
        run(progress=lambda *report: heard.append(report), **options)
        return [report for report in heard if report[0] == "embedding"]

    first = steps(stop=after(2))
    assert heard[0][0] == "checking texts"
    assert (first[0], first[-1]) == (("embedding", 0, 40), ("embedding", 24, 40))
    assert first == sorted(first)
    second = steps()
    assert (second[0], second[-1]) == (("embedding", 24, 40), ("embedding", 40, 40))


# Where a run goes on.


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


def test_after_the_last_part_a_run_does_not_stop(run):
    assert run(stop=after(4)).complete


def test_a_crash_within_a_part_loses_that_part_alone(run, tmp_path, monkeypatch):
    run(folder="clean")
    read = SliceEncoder.read
    calls = itertools.count()

    def crash(self, *given):
        if next(calls) == 2:
            raise RuntimeError("the machine is on fire")
        return read(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(SliceEncoder, "read", crash)
        with pytest.raises(RuntimeError, match="on fire"):
            run()
    assert len(list((tmp_path / "out").glob("part-*"))) == 2
    run()
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_a_run_of_an_iterator_goes_on_with_the_same_texts(run, tmp_path):
    run(iter(TEXTS), "clean")
    assert not run(iter(TEXTS), stop=after(2)).complete
    assert run(iter(TEXTS)).complete
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_the_backend_that_an_earlier_run_chose_is_kept(run, tmp_path, monkeypatch, with_bfloat16):
    monkeypatch.setattr(embedding, "WORTH_CHOOSING", 10)
    chosen = []

    def choose(model, tokens, name, precision, **options):
        chosen.append((name, precision))
        made = backends.backend(model, "torch", "bfloat16", task=options["task"], validate=False)
        return backend_choice.Choice(made, 0.99995, 1000.0)

    monkeypatch.setattr(embedding, "choose_backend", choose)
    assert run(folder="clean", backend="auto", precision="auto").agreement == 0.99995
    run(backend="auto", precision="auto", stop=after(1))
    assert chosen == [("auto", "auto")] * 2
    assert run(backend="auto", precision="auto").settings["precision"] == "bfloat16"
    assert len(chosen) == 2
    assert content(tmp_path / "out") == content(tmp_path / "clean")
    with pytest.raises(BadInput, match="precision is 'bfloat16' in the folder and 'float32' now"):
        run(backend="auto", precision="float32")


def test_the_manifest_holds_the_choice_and_how_well_it_agrees(saved, tmp_path, monkeypatch):
    obstacle = backend_choice.obstacle  # without ONNX, whose graph takes the longest to record
    monkeypatch.setattr(
        backend_choice, "obstacle", lambda model, *of: "slow" if of[0] == "onnx" else obstacle(model, *of)
    )
    monkeypatch.setattr(embedding, "WORTH_CHOOSING", 200)
    texts = [f"text {row}" for row in range(200)]
    notes = []
    manifest = cenote.embed(saved, texts, tmp_path / "out", notify=notes.append)
    assert f"embedding with {manifest.settings['backend']} at {manifest.settings['precision']}" in notes
    assert 0.9999 <= manifest.agreement <= 1
    assert any(f"least cosine with float32 {manifest.agreement:.6f}" in note for note in notes)
    assert cenote.embed(saved, texts, tmp_path / "out", notify=notes.append) == manifest
    assert (
        "all 200 texts are embedded already: the footers of the parts were checked (--verify reads every page)" in notes
    )
    assert cenote.embed(saved, texts[:5], tmp_path / "few").agreement is None


def test_the_backend_is_chosen_on_the_first_of_many_texts(model, monkeypatch):
    asked = []
    original = embedding.choose_backend
    monkeypatch.setattr(embedding, "WORTH_CHOOSING", 20)
    monkeypatch.setattr(
        embedding, "choose_backend", lambda *given, **more: (asked.append(given), original(*given, **more))[1]
    )
    texts = [f"{text} {row}" for row in range(10) for text in SHORT]
    said = []
    made = cenote.embed(model, texts, backend="torch", notify=said.append)
    assert len(asked) == 1
    assert len(asked[0][1]) == 20
    assert said[-1].startswith("embedding with torch at")
    cosines = torch.cosine_similarity(torch.from_numpy(made), torch.from_numpy(model.encode(texts)))
    assert cosines.min() >= 0.999
    cenote.embed(model, texts[:19])
    assert len(asked) == 1


def test_restart_writes_what_a_first_run_would(run, tmp_path):
    run(folder="clean", dtype="float16")
    run(dtype="int8")
    run(dtype="float16", restart=True)
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_rows_that_stopped_a_run_can_be_left_out_of_the_next(run, model, parts_of, tmp_path):
    parts_of(2)
    rows = [*SHORT, "pool", "half a %", "a cave", "light"]
    broken, (token,) = copy.deepcopy(model), model.tokenizer("%", add_special_tokens=False)["input_ids"]
    broken[0].model.get_input_embeddings().weight.data[token] = torch.nan
    with pytest.raises(BadInput, match=r"row 4, id '4': it has NaN.*Or leave such rows out: on_error='skip'"):
        run(rows, of=broken)
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    assert len(first) == 2
    assert run(rows, of=broken, on_error="skip") == run(rows, "clean", of=broken, on_error="skip")
    assert content(tmp_path / "out") == content(tmp_path / "clean")
    assert first.items() <= {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}.items()
    with pytest.raises(BadInput, match="was started with on_error='skip', and rows after row 4 were left out"):
        run(rows, of=broken)


# Where a run is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bfloat16"}, "precision is 'float32' in the folder and 'bfloat16' now"),
        ({"dtype": "float16"}, "dtype is 'float32' in the folder and 'float16' now"),
        ({"dimensions": 8}, "dimensions is None in the folder and 8 now"),
        ({"normalize": True}, "normalize is False in the folder and True now"),
        ({"long": "window-mean"}, "long is 'truncate' in the folder and 'window-mean' now"),
        ({"texts": TEXTS[:-1]}, "texts is 40 in the folder and 39 now; source is 'texts' .* in the folder"),
        ({"texts": [*TEXTS[:-1], ("i39", "x")]}, "source is 'texts' .* in the folder and 'texts' .* now"),
        ({"texts": TEXTS[::-1]}, "source is 'texts'"),
    ],
    ids=["precision", "dtype", "dimensions", "normalize", "long", "fewer", "edited", "reversed"],
)
def test_a_call_with_other_options_or_texts_is_refused(run, tmp_path, with_bfloat16, options, message):
    run(stop=after(2))
    before = content(tmp_path / "out")
    with pytest.raises(BadInput, match=message):
        run(**options)
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: setattr(model[1], "include_prompt", False), "1 Pooling.include_prompt is True in the folder"),
        (lambda model: setattr(model.tokenizer, "truncation_side", "left"), "truncation_side is 'right'"),
        (lambda model: setattr(model.tokenizer.backend_tokenizer, "normalizer", None), "tokenizer is '"),
        (
            lambda model: model[0].model.set_attn_implementation("eager"),
            "attention is 'sdpa' in the folder and 'eager'",
        ),
        (lambda model: setattr(model, "truncate_dim", 8), "truncate_dim is None in the folder and 8 now"),
        (lambda model: model.append(Normalize()), "2 Normalize is None in the folder and True now"),
        (lambda model: repool(model, "max"), "pooling is 'mean' in the folder and 'max' now"),
        (lambda model: cenote.temper(model, 0.5), r"temperature is 1 in the folder and 0\.5 now"),
        (
            lambda model: next(model.parameters()).data.add_(1),
            r"model is 'tiny' \(\w+\) in the folder and 'tiny' \(\w+\)",
        ),
    ],
    ids=["prompt", "side", "tokenizer", "attention", "dimensions", "module", "pooling", "temperature", "weights"],
)
def test_a_model_that_was_changed_is_refused(run, tmp_path, saved, change, message):
    run(TEXTS[:3])
    before = content(tmp_path / "out")
    changed = cenote.load(saved, device="cpu")
    change(changed)
    with pytest.raises(BadInput, match=message):
        run(TEXTS[:3], of=changed)
    assert content(tmp_path / "out") == before


def test_another_architecture_is_refused_and_another_name_is_not(run, tmp_path, saved, tiny_st):
    run(TEXTS[:3])
    before = content(tmp_path / "out")
    with pytest.raises(BadInput, match="architecture is 'BertModel' in the folder and 'Qwen3Model' now"):
        run(TEXTS[:3], of=cenote.load(tiny_st("qwen"), device="cpu"))
    run(TEXTS[:3], of=cenote.load(saved, device="cpu"), name="moved")
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
def test_other_texts_of_an_iterator_are_refused_when_they_come(run, tmp_path, texts, message):
    run(iter(TEXTS), stop=after(2))
    before = content(tmp_path / "out")
    with pytest.raises(BadInput, match=message):
        run(iter(texts))
    assert content(tmp_path / "out") == before
    run(iter(TEXTS))


def test_texts_that_change_while_they_are_embedded_are_refused(run, tmp_path):
    readings = itertools.count()

    def texts():
        return iter(TEXTS if next(readings) == 0 else [*TEXTS[:-1], ("i39", "edited")])

    with pytest.raises(BadInput, match="the texts changed while they were read"):
        run(texts)
    assert not manifest_of(tmp_path / "out").complete
    assert len(list((tmp_path / "out").glob("part-*"))) == 3


def test_a_folder_of_other_files_is_refused_before_anything_is_read(model, tmp_path, monkeypatch):
    (tmp_path / "theirs").write_text("theirs")
    monkeypatch.setattr(embedding, "load", lambda *_: pytest.fail("a model was loaded"))
    monkeypatch.setattr(embedding, "survey", lambda *_, **__: pytest.fail("texts were read"))
    with pytest.raises(BadInput, match="holds 'theirs' and no manifest"):
        cenote.embed("minilm", TEXTS, tmp_path)
    with pytest.raises(BadInput, match="is a file"):
        cenote.embed("minilm", TEXTS, tmp_path / "theirs")


def test_a_restart_with_bad_texts_deletes_nothing(run, tmp_path):
    run(TEXTS)
    before = content(tmp_path / "out")
    for texts in ([("a", "a"), ("b", None)], iter([("a", "a"), ("b", None)]), iter([])):
        with pytest.raises(BadInput, match=r"row 1: the text is null|there are no texts"):
            run(texts, restart=True)
        assert content(tmp_path / "out") == before


@pytest.fixture
def counted(run):
    """`counted(**options)`: how often the texts were read, and the message of the error, if there was one."""

    def call(folder="out", rows=TEXTS, **options):
        readings = []

        def texts():
            readings.append(True)
            yield from rows

        try:
            run(texts, folder, **options)
        except BadInput as error:
            return len(readings), str(error)
        return len(readings), ""

    return call


@pytest.mark.parametrize("options", [{}, {"on_truncate": "error"}, {"on_error": "skip"}, {"long": "windows"}])
def test_the_texts_are_read_twice(counted, saved, options):
    assert counted(**options) == (2, "")
    assert counted(**options) == (2, "")  # and again where nothing is left to do
    assert counted("by name", of=saved, **options) == (2, "")


def test_a_row_that_is_left_out_costs_no_third_reading_and_a_repeated_id_is_looked_for_in_a_step(counted):
    assert counted(rows=[None, *TEXTS], on_error="skip") == (2, "")
    steps = []
    rows = [*TEXTS, TEXTS[0]]
    assert counted("other", rows=rows, on_error="skip", progress=lambda *step: steps.append(step)) == (3, "")
    found = [step for step in steps if step[0] == "finding the repeated id"]
    assert (found[0], found[-1]) == (("finding the repeated id", 0, 41), ("finding the repeated id", 40, 41))


def test_bad_texts_are_refused_before_a_model_is_loaded(tmp_path):
    with pytest.raises(BadInput, match="row 1: the text is null"):
        cenote.embed("tiny", ["a", None], tmp_path / "out", loader=lambda _: pytest.fail("a model was loaded"))


def test_a_text_that_would_be_cut_is_found_in_the_first_reading(counted, tmp_path):
    readings, message = counted(rows=[*TEXTS, ("long", "the water " * 300)], on_truncate="error")
    assert readings == 1
    assert "row 40, id 'long': it has 602 tokens, and the model reads 256." in message
    assert not (tmp_path / "out").exists()


def test_short_texts_are_tokenised_once_where_cutting_is_an_error(counted, monkeypatch):
    seen, tokenise = [], reading.tokenise
    monkeypatch.setattr(
        reading, "tokenise", lambda model, texts, *given: (seen.extend(texts), tokenise(model, texts, *given))[1]
    )
    assert counted(on_truncate="error") == (2, "")
    assert sorted(seen) == sorted(text for _, text in TEXTS)


def test_a_text_that_would_be_cut_is_left_out_where_rows_are_skipped(run):
    texts = [*TEXTS, ("long", "the water " * 300)]
    assert run(texts, on_truncate="error", on_error="skip").counts.rejected == 1
    assert run(TEXTS, "whole", on_truncate="error").complete


def test_other_settings_are_refused_before_the_texts_are_read(counted):
    assert counted() == (2, "")
    readings, message = counted(dtype="float16")
    assert "dtype is 'float32' in the folder and 'float16' now" in message
    assert readings == 0


def test_a_backend_that_cannot_run_is_refused_before_the_texts_are_read(counted, monkeypatch):
    assert counted(backend="openvino")[1] == ""
    monkeypatch.setattr(choices, "missing_packages", lambda name: "it needs openvino" if name == "openvino" else None)
    assert counted("new", backend="openvino", precision="auto") == (
        0,
        "openvino at float32: it needs openvino; openvino at float16: it computes in float32, bfloat16 or int8.",
    )
    readings, message = counted(backend="auto", precision="auto")
    assert (
        "out' was started with a backend that is not available here. openvino at float32: it needs openvino." in message
    )
    assert readings == 0


# Bad texts.


SPOILT = [*TEXTS[:3], ("n", None), *TEXTS[3:30], ("i7", "again"), *TEXTS[30:], ("x", 5), ("half", "\ud800")]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (SPOILT, r"row 3: the text is null, not a string\. Correct or drop the row\. Or leave such rows out"),
        ([*TEXTS, ("x", 5)], "row 40: the text is int 5"),
        ([*TEXTS, ("i7", "again")], "rows 7 and 40 have the same id 'i7'"),
        ([], "there are no texts in 'texts'"),
        (5, "texts is 5: pass strings"),
        ("text", r"A single text is passed in a list: \[text\]"),
    ],
)
def test_a_bad_last_text_is_found_before_the_first_is_embedded(run, tmp_path, texts, message):
    with pytest.raises(BadInput, match=message):
        run(texts)
    assert not (tmp_path / "out").exists()


def test_without_a_folder_no_error_says_to_leave_rows_out(model):
    for given in (["a", None], iter(["a", None])):
        with pytest.raises(BadInput, match=r"the text is null, not a string\. Correct or drop the row\.$"):
            list(cenote.embed(model, given))
    broken = copy.deepcopy(model)
    for parameter in broken[0].parameters():
        parameter.data.fill_(torch.nan)
    for given in (["a"], iter(["a"])):
        with pytest.raises(BadInput, match=r"row 0, id '0': .*\.$") as error:
            list(cenote.embed(broken, given))
        assert "leave such rows out" not in str(error.value)


@pytest.mark.parametrize("bad", [("x", None), ("i7", "again")])
def test_a_bad_text_of_an_iterator_is_found_when_it_comes_and_earlier_parts_are_whole(run, tmp_path, bad):
    with pytest.raises(BadInput, match=r"row 30: the text is null|rows 7 and 30 have the same id"):
        run(iter([*TEXTS[:30], bad, *TEXTS[30:]]))
    assert sorted(path.name for path in (tmp_path / "out").glob("part-*")) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert not manifest_of(tmp_path / "out").complete


def test_skipped_rows_are_listed_and_the_same_in_a_run_that_goes_on(run, tmp_path):
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


def test_rows_of_an_iterator_are_skipped_too(run, tmp_path):
    run(SPOILT, "clean", on_error="skip")
    run(iter(SPOILT), on_error="skip")
    assert (tmp_path / "out" / "rejects.jsonl").read_bytes() == (tmp_path / "clean" / "rejects.jsonl").read_bytes()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_part_whose_rows_are_all_skipped_is_empty(run, tmp_path, dtype):
    texts = [None] * 12 + ["a pool", "a cave"] + [None] * 20
    manifest = run(texts, on_error="skip", dtype=dtype)
    assert manifest.counts.rows == (0, 2, 0)
    found = cenote.read_embeddings(tmp_path / "out")
    assert (found.ids, found[:].shape) == (["12", "13"], (2, 32))
    run(iter([None] * 3), "nothing", on_error="skip", dtype=dtype)
    assert cenote.read_embeddings(tmp_path / "nothing")[:].shape == (0, 32)


def test_rows_that_will_be_left_out_are_told_before_the_work(run, tmp_path):
    told = []
    run(SPOILT, on_error="skip", notify=told.append, stop=after(1))
    assert told[0].startswith(
        "leaving out 4 of 44 rows: 3 without a usable text, 1 with the id of an earlier row. The first: row 3: the text"
    )
    with pytest.raises(BadInput, match=r"none of the 2 rows of 'texts' has a usable text\. The first: row 0: the text"):
        run([None, None], "nothing", on_error="skip")
    assert not (tmp_path / "nothing").exists()
    rows = [{"text": text, "kind": "same"} for text in ("a pool", "a cave", "light")]
    assert run(rows, "kinds", on_error="skip", id_column="kind", notify=told.append).counts.rejected == 2
    assert told[-1].startswith(
        "leaving out 2 of 3 rows: 0 without a usable text, 2 with the id of an earlier row. The first: rows 0 and 1 "
        "have the same id 'same'"
    )


def test_the_first_row_that_is_left_out_may_be_a_repeat(run):
    told, rows = [], [{"id": "a", "text": "a pool"}, {"id": "a", "text": "a cave"}, {"id": "b", "text": None}]
    run(rows, "repeat first", on_error="skip", notify=told.append)
    run([rows[0], rows[2], rows[1]], "fault first", on_error="skip", notify=told.append)
    firsts = [line.partition("The first: ")[2].partition(":")[0] for line in told if "The first" in line]
    assert firsts == ["rows 0 and 1 have the same id 'a'", "row 1"]


@pytest.mark.parametrize("column", ["id", "text"])
def test_dates_out_of_range_are_rows_to_skip(run, tmp_path, column):
    """No date is an id or a text, and one that Python cannot hold is no reason to end."""
    dates, path = pa.array([2**31 - 1, 0, 1], pa.date32()), tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["x", "y", "z"], "text": SHORT} | {column: dates}), path)
    with pytest.raises(BadInput, match=r"a\.parquet, row 0 \(from 0\): damaged, or out of Python's range"):
        run(lambda: read_rows(path))
    with pytest.raises(BadInput, match=r"none of the 3 rows of '.*' has a usable text"):
        run(lambda: read_rows(path), on_error="skip")


def test_a_clock_that_was_set_back_changes_no_byte(run, tmp_path, monkeypatch):
    run(folder="clean")
    run(stop=after(1))
    for path in (tmp_path / "out").iterdir():
        os.utime(path, (4e9, 4e9))  # in the year 2096
    monkeypatch.setattr(time, "time", lambda: 0.0)
    run()
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_faults_of_a_file_are_skipped_too(run, tmp_path):
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


@pytest.mark.parametrize("bad", [None, "broken \ud83d"])
def test_in_memory_a_bad_text_is_an_error(model, bad):
    with pytest.raises(BadInput, match=r"row 1: (the text is null|lone surrogate)"):
        cenote.embed(model, ["a pool", bad], **PLAIN)
    with pytest.raises(BadInput, match=r"row 1: (the text is null|lone surrogate)"):
        list(cenote.embed(model, iter(["a pool", bad]), **PLAIN))


def test_a_text_without_a_vector_is_named_or_skipped(saved, run, tmp_path):
    broken = cenote.load(saved, device="cpu")
    water = broken.tokenizer.convert_tokens_to_ids("water")
    with torch.no_grad():
        broken[0].model.embeddings.word_embeddings.weight[water] = torch.nan
    texts = [("x", "a pool"), ("y", "the water"), ("z", "a cave")]
    with pytest.raises(BadInput, match="row 1, id 'y': "):
        cenote.embed(broken, texts)
    assert run(texts, of=broken, on_error="skip").counts.rejected == 1
    assert table_of(tmp_path / "out")["id"].to_pylist() == ["x", "z"]


def test_a_model_without_tokens_is_refused_before_anything_is_written(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "pool": 1}, **{"unk_token": "a"}))
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=4)], device="cpu")
    for options in ({}, {"long": "window-mean"}, {"output": tmp_path / "out"}):
        with pytest.raises(UnsupportedModel, match="StaticEmbedding, which makes no rows of tokens"):
            cenote.embed(model, SHORT, **options)
    assert not (tmp_path / "out").exists()


def test_a_limit_beyond_any_number_of_texts_is_none(tmp_path, saved):
    assert cenote.embed(saved, ["a", "b"], tmp_path / "out", limit=10**24).counts.texts == 2
