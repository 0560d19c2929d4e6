"""Long texts in segments: against a plain loop over windows, few and many segments, folders, bad values."""

import argparse
import itertools

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Normalize

import cenote
from cenote.cli import main
from cenote.commands import embed as command
from cenote.data.texts import open_texts
from cenote.embedding import corpus as slicing
from cenote.embedding import embed as embedding
from cenote.embedding.corpus import cut_slices
from cenote.embedding.manifest import manifest_of
from cenote.embedding.options import Options
from cenote.embedding.rows import SliceEncoder
from cenote.encoding.backends import backend
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput
from cenote.functional.window_cuts import average_runs

LONG = "The deep cave holds light. " * 60
TEXTS = ["the pool", LONG, "", "one two three: light! " * 90, "water", LONG[:1350]]
IN_WINDOWS = {"window": 40, "overlap": 6}
PLAIN = {"backend": "torch", "precision": "float32"}


@pytest.fixture(scope="module")
def model(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


@pytest.fixture(scope="module")
def unit(tiny_st):
    return cenote.load(tiny_st("bert", Normalize()), device="cpu")


def read(model, texts=TEXTS, *, change=None, **options):
    run = backend(model) if change is None else change
    encoder = SliceEncoder(model, Options(**options), Encoder(model, run))
    (part,) = cut_slices(open_texts([(f"id{row}", text) for row, text in enumerate(texts)]).read())
    return encoder.read(encoder.prepare(part))


def expected_rows(windows, most, normalised):
    """Yield owner, number, start, end and vector of each segment: the windows text by text, split by numpy."""
    for owner in dict.fromkeys(windows.owner.tolist()):
        of_text = np.flatnonzero(windows.owner == owner)
        for number, run in enumerate(np.array_split(of_text, min(most, len(of_text)))):
            vector = sum(float(windows.n_tokens[row]) * windows.vector[row].astype(float) for row in run)
            vector /= sum(windows.n_tokens[row] for row in run)
            if normalised and len(run) > 1:
                vector /= np.linalg.norm(vector)
            yield owner, number, windows.start[run[0]], windows.end[run[-1]], vector


def assert_equal_rows(found, expected):
    for name in ("owner", "window", "start", "end", "n_tokens", "truncated", "vector"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


# Rows and vectors.


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("most", [1, 2, 3, 5, 8])
def test_segments_are_means_of_runs_of_windows(model, unit, normalised, most):
    model = unit if normalised else model
    windows = read(model, long="windows", **IN_WINDOWS).rows
    rows = read(model, long="segments", vectors=most, **IN_WINDOWS).rows
    assert np.bincount(windows.owner).max() > 8
    expected = list(expected_rows(windows, most, normalised))
    places = zip(rows.owner.tolist(), rows.window.tolist(), rows.start.tolist(), rows.end.tolist(), strict=True)
    assert list(places) == [row[:4] for row in expected]
    np.testing.assert_allclose(rows.vector, [row[4] for row in expected], atol=1e-6)
    texts = [TEXTS[owner][start:end] for owner, _, start, end, _ in expected]
    assert rows.n_tokens.tolist() == [len(model.tokenizer(text, verbose=False)["input_ids"]) for text in texts]
    assert not rows.truncated.any()


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"dimensions": 8}])
def test_one_segment_has_the_vector_of_window_mean(unit, options):
    segments = read(unit, long="segments", vectors=1, **IN_WINDOWS, **options)
    mean = read(unit, long="window-mean", **IN_WINDOWS, **options)
    np.testing.assert_array_equal(segments.rows.vector, mean.rows.vector)
    np.testing.assert_array_equal(segments.rows.owner, mean.rows.owner)
    assert (segments.tokens, segments.truncated) == (mean.tokens, mean.truncated)
    # White space at the end of a text is in no window.
    assert [TEXTS[row][:end].rstrip() for row, end in enumerate(segments.rows.end)] == [text.rstrip() for text in TEXTS]


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"dimensions": 8}])
def test_as_many_segments_as_windows_are_the_windows(unit, options):
    windows = read(unit, long="windows", **IN_WINDOWS, **options).rows
    most = int(np.bincount(windows.owner).max())
    for vectors in (most, 10**9):
        assert_equal_rows(read(unit, long="segments", vectors=vectors, **IN_WINDOWS, **options).rows, windows)


def test_the_windows_of_a_text_of_few_are_kept_beside_a_text_of_many(unit):
    texts = ["the pool", LONG[:1350], LONG, "water"]
    windows = read(unit, texts, long="windows", **IN_WINDOWS).rows
    count = int((windows.owner == 1).sum())
    assert 1 < count < (windows.owner == 2).sum()
    rows = read(unit, texts, long="segments", vectors=count, **IN_WINDOWS).rows
    kept, expected = np.flatnonzero(rows.owner != 2), np.flatnonzero(windows.owner != 2)
    assert_equal_rows(rows.take(kept), windows.take(expected))
    assert (rows.owner == 2).sum() == count


def test_texts_that_are_not_cut_are_unchanged(model):
    short = ["the pool", "water", ""]
    assert_equal_rows(read(model, short, long="segments", vectors=1).rows, read(model, short).rows)


def test_a_text_without_a_usable_vector_is_left_out_with_all_its_segments(model):
    plain, number = backend(model), model.tokenizer.convert_tokens_to_ids("three")

    class Broken:
        name, precision = "broken", "float32"

        def __call__(self, features):
            return torch.where(features["input_ids"].eq(number).any(1)[:, None], torch.nan, plain(features))

    options = {"long": "segments", "vectors": 3, **IN_WINDOWS}
    with pytest.raises(BadInput, match="row 3, id 'id3': the model's vector is not finite"):
        read(model, change=Broken(), **options)
    embedded = read(model, change=Broken(), on_error="skip", **options)
    assert [one["row"] for one in embedded.rejected] == [3]
    rest = read(model, **options).rows
    rest = rest.take(rest.owner != 3)
    np.testing.assert_array_equal(embedded.rows.owner, rest.owner)
    np.testing.assert_array_equal(embedded.rows.n_tokens, rest.n_tokens)
    np.testing.assert_allclose(embedded.rows.vector, rest.vector, atol=1e-6)


def test_a_segment_is_truncated_where_one_of_its_windows_is(tiny_st):
    """Landmarks after every token leave no room for the smallest windows."""
    from sentence_transformers import SentenceTransformer

    from cenote.nn import LandmarkTransformer, Pooling

    reader = LandmarkTransformer.adopt(cenote.load(tiny_st("bert"), device="cpu")[0], interval=1)
    model = SentenceTransformer(modules=[reader, Pooling(32, "landmark")], device="cpu")
    model.max_seq_length = 12
    windows = read(model, [LONG, "a"], long="windows", window=8, overlap=0)
    segments = read(model, [LONG, "a"], long="segments", vectors=2, window=8, overlap=0)
    assert windows.rows.truncated.any()
    expected = [run.any() for run in np.array_split(windows.rows.truncated[windows.rows.owner == 0], 2)]
    assert segments.rows.truncated.tolist() == [*expected, False]
    assert (segments.tokens, segments.truncated) == (windows.tokens, windows.truncated)


@pytest.mark.parametrize("unit", [False, True])
def test_the_mean_of_opposite_vectors_stays_zero(unit):
    vectors = np.array([[1, 0], [-1, 0], [0.6, 0.8]], np.float32)
    means = average_runs(vectors, np.array([5, 5, 7]), np.array([2, 2, 4]), unit=unit)
    np.testing.assert_array_equal(means, np.array([[0, 0], [0.6, 0.8]], np.float32))


# Folders.


@pytest.fixture
def run(model, tmp_path, monkeypatch):
    """`run(folder, **options)`: embed `TEXTS` into a folder of `tmp_path`, in parts of two texts."""
    for room in (slicing, embedding):
        monkeypatch.setattr(room, "PART_TEXTS", 2)

    def call(folder="out", **options):
        return cenote.embed(model, TEXTS, tmp_path / folder, **{"long": "segments", **IN_WINDOWS, **PLAIN, **options})

    return call


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def three(model):
    """The rows of three segments, read before parts become small."""
    return read(model, long="segments", vectors=3, **IN_WINDOWS).rows


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_folder_of_segments_is_read_back(three, run, tmp_path, dtype):
    manifest = run(vectors=3, dtype=dtype)
    found, rows = cenote.read_embeddings(tmp_path / "out"), three
    assert (manifest.counts.texts, sum(manifest.counts.rows), manifest.counts.truncated) == (6, len(rows), 0)
    assert found.ids == [f"{owner}#{number}" for owner, number in zip(rows.owner, rows.window, strict=True)]
    assert found["parent_id"].tolist() == [str(owner) for owner in rows.owner]
    for name in ("window", "start", "end", "n_tokens"):
        assert found[name].tolist() == getattr(rows, name).tolist()
    np.testing.assert_allclose(found[:], rows.vector, atol=1e-5 if dtype == "float32" else 0.02)
    np.testing.assert_array_equal(found.of(["1#2", "0#0"]), found[[found.ids.index("1#2"), 0]])


def test_as_many_segments_as_windows_are_the_same_tables(run, tmp_path):
    run("windows", long="windows")
    run("segments", vectors=1000)
    for path in sorted((tmp_path / "windows").glob("*.parquet")):
        assert pq.read_table(path).equals(pq.read_table(tmp_path / "segments" / path.name))


def test_an_interrupted_run_continues_to_the_same_bytes(run, tmp_path):
    run("whole", vectors=2)
    asked = itertools.count()
    assert not run(vectors=2, stop=lambda: next(asked) >= 1).complete
    assert run(vectors=2).complete
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_the_manifest_holds_the_number_and_another_is_refused(run, tmp_path):
    assert run().settings["vectors"] == 8
    before = content(tmp_path / "out")
    assert run(vectors=8).complete
    for vectors in (4, 9):
        with pytest.raises(BadInput, match=f"vectors is 8 in the folder and {vectors} now"):
            run(vectors=vectors)
    with pytest.raises(BadInput, match="vectors is 8 in the folder and None now"):
        run(long="windows")
    assert content(tmp_path / "out") == before


def test_another_number_is_refused_before_texts_are_read_or_a_model_is_loaded(run, tmp_path):
    run(vectors=2)

    def texts():
        pytest.fail("the texts were read")

    for options in ({}, {"vectors": 3}):
        with pytest.raises(BadInput, match=r"vectors is 2 in the folder and [38] now"):
            cenote.embed("nowhere", texts, tmp_path / "out", loader=pytest.fail, long="segments", **options)


# The option.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"long": "segments", "vectors": 0}, "vectors=0: pass a whole number of at least 1"),
        ({"long": "segments", "vectors": 2.5}, r"vectors=2\.5: pass a whole number"),
        ({"long": "segments", "vectors": True}, "vectors=True: pass a whole number"),
        ({"long": "windows", "vectors": 4}, r"vectors=4 \(--vectors\) needs long='segments' .* long is 'windows' here"),
        ({"long": "window-mean", "vectors": 1}, "needs long='segments'"),
        ({"vectors": 4}, "needs long='segments' .* long is 'truncate' here"),
        ({"long": "segments", "on_truncate": "error"}, "with 'segments' nothing is cut"),
    ],
)
def test_bad_values_are_refused_before_the_model_is_loaded(tmp_path, options, message):
    with pytest.raises(BadInput, match=message):
        cenote.embed("nowhere", ["a"], tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_segments_need_a_folder():
    with pytest.raises(BadInput, match="long='segments' writes several rows for a text, so it needs a folder"):
        cenote.embed("nowhere", ["a"], long="segments")


@pytest.mark.parametrize(("long", "vectors"), [("segments", 8), ("windows", None), ("truncate", None)])
def test_the_number_has_a_value_only_where_it_is_used(long, vectors):
    assert Options(long=long).vectors == vectors
    assert Options(long=long).known()["vectors"] == vectors


def test_numbers_of_numpy_are_recorded_as_plain_ones():
    assert type(Options(long="segments", vectors=np.int64(4)).vectors) is int


def test_the_flag_of_the_command(tiny_st, tmp_path):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(["m", "t", "-o", "out", "--long", "segments", "--vectors", "3"])
    assert command._options(args)["vectors"] == 3
    (tmp_path / "texts.txt").write_text(f"the pool\n{LONG}\n")
    given = ["embed", str(tiny_st("bert")), str(tmp_path / "texts.txt"), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*given, "--long", "segments", "--vectors", "3", "--window", "40"]) == 0
    assert manifest_of(tmp_path / "out").settings["vectors"] == 3
    assert cenote.read_embeddings(tmp_path / "out").ids == ["0#0", "1#0", "1#1", "1#2"]
    assert main([*given, "--long", "windows", "--vectors", "3"]) == 1
