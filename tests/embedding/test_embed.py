"""`embed`: every vector is what `encode` makes of that text alone, in every form of input and output."""

import copy
import threading
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import cenote
from cenote.embedding import corpus as sources
from cenote.embedding.embed import embed
from cenote.encoding import backends
from cenote.encoding.backends import WORST_COSINE, available
from cenote.errors import BadInput, CenoteWarning, UnknownName, UnsupportedModel

LONG = "The deep cave holds light, and the pool below it none. " * 60
WEIRD = {
    "empty": "",
    "shortest": "a",
    "longest": LONG * 40,
    "truncated": LONG,
    "just fits": "pool " * 254,
    "one more": "pool " * 255,
    "white space": " \t\n ",
    "emoji": "😀🏳️‍🌈👩‍👩‍👧‍👦",
    "right to left": "שלום עולם، مرحبا بالعالم",
    "NUL": "a pool\0and a cave",
    "marks": "e\u0301\u0301\u0301 Z\u0351\u036b\u0343",
    "Chinese": "你好吗。" * 20,
    "one long word": "collapse" * 100,
    "control": "\x01\x02\ufeff\u200b\u202e pool",
    "outside the plane": "𝔭𝔬𝔬𝔩 𐍈",
}
PLAIN = ["a pool", "that a collapse made", "the deep cave holds light"]

pytestmark = pytest.mark.filterwarnings("ignore:.*longer than the:cenote.errors.CenoteWarning")


@pytest.fixture(scope="module")
def alone(demo):
    """Each of the weird texts, encoded by itself."""
    return np.stack([demo.encode(text) for text in WEIRD.values()])


@pytest.fixture(scope="module")
def tiny_model(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


def table_of(folder):
    return pq.read_table(sorted(folder.glob("*.parquet")))


def vectors_of(table):
    return np.array(table["embedding"].to_pylist(), np.float32)


def corpus():
    """The weird texts among others, so that each is in a batch with texts unlike it."""
    rows = [(f"other {row}", "The pool is deep. " * (1 + row % 30)) for row in range(60)]
    for place, (name, text) in enumerate(WEIRD.items()):
        rows.insert(place * 5, (name, text))
    return rows


# What `encode` makes of a text alone.


def test_alone_and_in_a_list(demo, alone):
    for text, expected in zip(WEIRD.values(), alone, strict=True):
        np.testing.assert_allclose(embed(demo, [text])[0], expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(embed(demo, list(WEIRD.values())), alone, rtol=0, atol=1e-6)


def test_in_a_corpus(demo, alone, tmp_path):
    manifest = embed(demo, corpus(), tmp_path / "out")
    assert manifest.complete
    table = table_of(tmp_path / "out")
    assert table["id"].to_pylist() == [name for name, _ in corpus()]
    places = [table["id"].to_pylist().index(name) for name in WEIRD]
    np.testing.assert_allclose(vectors_of(table)[places], alone, rtol=0, atol=1e-6)
    whole = [len(demo.tokenizer(text, verbose=False)["input_ids"]) for text in WEIRD.values()]
    # A text of millions is counted in pieces, and what has no white space would be cut: none of these is.
    assert [table["n_tokens"][place].as_py() for place in places] == whole
    assert [table["truncated"][place].as_py() for place in places] == [count > 256 for count in whole]
    assert whole[list(WEIRD).index("just fits")] == 256
    assert manifest.counts.truncated == sum(count > 256 for count in whole)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["torch", "openvino", "onnx"])
def test_every_backend(demo, alone, name, precision):
    if reason := available(demo)[name, precision]:
        pytest.skip(reason)
    made = embed(demo, list(WEIRD.values()), backend=name, precision=precision)
    cosines = (made * alone).sum(1) / np.linalg.norm(made, axis=1)
    if precision == "float32":
        np.testing.assert_allclose(made, alone, rtol=0, atol=1e-6)
    assert cosines.min() >= WORST_COSINE


@pytest.mark.parametrize("kind", ["bert", "roberta", "t5", "llama", "qwen"])
def test_every_kind_of_model(tiny_st, kind):
    model = cenote.load(tiny_st(kind), device="cpu")
    texts = [text for name, text in WEIRD.items() if name != "longest"]
    expected = np.stack([model.encode(text) for text in texts])
    np.testing.assert_allclose(embed(model, texts), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_landmarks(tiny_st, side):
    from sentence_transformers import SentenceTransformer

    from cenote.nn import LandmarkTransformer, Pooling

    reader = LandmarkTransformer.adopt(cenote.load(tiny_st("qwen" if side == "left" else "bert"), device="cpu")[0])
    model = SentenceTransformer(modules=[reader, Pooling(32, "landmark")], device="cpu")
    expected = np.stack([model.encode(text) for text in WEIRD.values()])
    np.testing.assert_allclose(embed(model, list(WEIRD.values())), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "temperature", [0.5, cenote.LengthTemperature("linear", start=1.0, end=0.2, shortest=4, longest=128)]
)
def test_tempered(demo_path, temperature):
    model = cenote.load(demo_path, device="cpu", temperature=temperature)
    expected = np.stack([model.encode(text) for text in WEIRD.values()])
    made = embed(model, list(WEIRD.values()))
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6)
    assert np.abs(made - cenote.load(demo_path, device="cpu").encode(list(WEIRD.values()))).max() > 1e-3


@pytest.mark.parametrize("include", [True, False])
def test_prompts(tiny_st, include):
    prompts = {"ask": "query: ", "tell": "document: "}
    model = cenote.load(tiny_st("bert", include_prompt=include, prompts=prompts), device="cpu")
    for name in ("ask", "tell"):
        expected = np.stack([model.encode(text, prompt_name=name) for text in PLAIN])
        np.testing.assert_allclose(embed(model, PLAIN, prompt_name=name), expected, atol=1e-5)
    model.default_prompt_name = "ask"
    np.testing.assert_allclose(embed(model, PLAIN), model.encode(PLAIN), atol=1e-5)
    assert np.abs(embed(model, PLAIN) - embed(model, PLAIN, prompt_name="tell")).max() > 1e-3
    with pytest.raises(UnknownName, match="unknown prompt 'asq'; did you mean 'ask'"):
        embed(model, PLAIN, prompt_name="asq")


def test_tasks(tiny_st):
    """As `encode_query` and `encode_document`: with their prompts, and their temperatures."""
    prompts = {"query": "query: ", "passage": "document: "}
    model = cenote.load(tiny_st("bert", prompts=prompts), device="cpu", temperature={"query": 0.3, "document": 1.0})
    model.prompts.pop("document", None)
    np.testing.assert_allclose(embed(model, PLAIN, task="query"), model.encode_query(PLAIN), atol=1e-5)
    np.testing.assert_allclose(embed(model, PLAIN, task="document"), model.encode_document(PLAIN), atol=1e-5)
    assert np.abs(model.encode_query(PLAIN) - model.encode_document(PLAIN)).max() > 1e-2


def test_normalised_and_cut(tiny_st):
    model = cenote.load(tiny_st("bert"), device="cpu")
    for options, theirs in [
        ({"normalize": True}, {"normalize_embeddings": True}),
        ({"dimensions": 7}, {"truncate_dim": 7}),
        ({"dimensions": 7, "normalize": True}, {"truncate_dim": 7, "normalize_embeddings": True}),
    ]:
        np.testing.assert_allclose(embed(model, PLAIN, **options), model.encode(PLAIN, **theirs), atol=1e-5)
    model.truncate_dim = 9
    np.testing.assert_allclose(embed(model, PLAIN), model.encode(PLAIN), atol=1e-5)
    assert embed(model, []).shape == (0, 9)
    for wrong in (0, 10):
        with pytest.raises(BadInput, match=f"dimensions={wrong}: the model's vectors have 1 to 9"):
            embed(model, PLAIN, dimensions=wrong)


def test_small_numbers(demo, tmp_path):
    expected = demo.encode(PLAIN)
    half = embed(demo, PLAIN, dtype="float16")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, expected, rtol=2**-11, atol=1e-6)
    embed(demo, PLAIN, tmp_path / "out", dtype="int8")
    table = table_of(tmp_path / "out")
    numbers, scales = vectors_of(table), table["scale"].to_numpy()[:, None]
    assert (np.abs(numbers).max(1) == 127).all()
    assert (np.abs(numbers * scales - expected) <= 0.501 * scales + 1e-6).all()


# Long texts.


def test_windows_are_texts_of_their_own(demo, tmp_path):
    rows = [("short", "a pool"), ("long", LONG), ("empty", "")]
    embed(demo, rows, tmp_path / "out", long="windows")
    table = table_of(tmp_path / "out")
    parents = table["parent_id"].to_pylist()
    assert parents == sorted(parents, key=["short", "long", "empty"].index)
    assert parents.count("long") > 2
    texts = [
        dict(rows)[parent][start:end]
        for parent, start, end in zip(*(table[name].to_pylist() for name in ("parent_id", "start", "end")), strict=True)
    ]
    assert table["window"].to_pylist() == [0, *range(parents.count("long")), 0]
    np.testing.assert_allclose(vectors_of(table), [demo.encode(text) for text in texts], rtol=0, atol=1e-6)
    assert not any(table["truncated"].to_pylist())
    assert table["n_tokens"].to_pylist() == [len(demo.tokenizer(text)["input_ids"]) for text in texts]
    assert all(text.endswith(".") and text.startswith("The") for text in texts[1:-1])


def test_the_mean_of_windows_is_that_of_a_plain_loop(demo, tmp_path):
    made = embed(demo, ["a pool", LONG], long="window-mean", window=100, overlap=20)
    embed(demo, [LONG], tmp_path / "out", long="windows", window=100, overlap=20)
    table = table_of(tmp_path / "out")
    total = np.zeros(384)
    for start, end in zip(table["start"].to_pylist(), table["end"].to_pylist(), strict=True):
        total += len(demo.tokenizer(LONG[start:end])["input_ids"]) * demo.encode(LONG[start:end]).astype(float)
    np.testing.assert_allclose(made[1], total / np.linalg.norm(total), rtol=0, atol=1e-6)
    np.testing.assert_allclose(made[0], demo.encode("a pool"), rtol=0, atol=1e-6)
    assert made[1] @ demo.encode(LONG) < 0.9999


def test_what_is_said_of_cut_texts(demo):
    with pytest.warns(CenoteWarning, match="2 texts are longer than the 256 tokens that the model reads") as said:
        embed(demo, ["a pool", LONG, LONG])
    assert said[0].filename == __file__  # not a line of ours
    with pytest.warns(CenoteWarning, match="1 text is longer") as said:
        list(embed(demo, iter([LONG])))
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embed(demo, ["a pool", WEIRD["just fits"]])
        embed(demo, [LONG], long="window-mean")
    with pytest.raises(BadInput, match="row 1, id '1': it has"):
        embed(demo, ["a pool", LONG], on_truncate="error")


# Forms of input.


def test_an_iterator_gives_arrays_as_they_come(tiny_model, monkeypatch):
    from cenote.embedding import corpus as sources

    monkeypatch.setattr(sources, "PART_TEXTS", 4)
    texts = [f"{text} {row}" for row in range(3) for text in PLAIN]
    arrays = list(embed(tiny_model, iter(texts)))
    assert [len(array) for array in arrays] == [4, 4, 1]
    np.testing.assert_allclose(np.concatenate(arrays), tiny_model.encode(texts), atol=1e-5)
    assert list(embed(tiny_model, iter([]))) == []


def test_between_arrays_the_model_may_be_used(tiny_model, monkeypatch):
    """Nothing of it is at work then: neither its tokenizer, which is for one at a time, nor its mode of training."""
    from cenote.embedding import corpus as sources
    from cenote.embedding.vectorising import Vectoriser

    monkeypatch.setattr(sources, "PART_TEXTS", 2)
    at_work = []
    original = Vectoriser.prepare

    def prepare(self, stretch):
        at_work.append(stretch.index)
        try:
            return original(self, stretch)
        finally:
            at_work.pop()

    monkeypatch.setattr(Vectoriser, "prepare", prepare)
    tiny_model.train()
    try:
        for array in embed(tiny_model, iter(PLAIN * 5)):
            assert at_work == []
            assert all(module.training for module in tiny_model.modules())
            assert len(array) <= 2
    finally:
        tiny_model.eval()


def test_the_mode_of_training_is_left_as_it_was(tiny_st, tmp_path):
    model = cenote.load(tiny_st("bert"), device="cpu")
    expected = model.encode(PLAIN)
    model.train()
    model[0].eval()
    modes = [module.training for module in model.modules()]
    np.testing.assert_allclose(embed(model, PLAIN), expected, atol=1e-5)
    embed(model, PLAIN, tmp_path / "out")
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(BadInput):
        embed(model, ["\ud800"])
    assert [module.training for module in model.modules()] == modes


def test_pairs_rows_and_functions(tiny_model, tmp_path):
    expected = tiny_model.encode(PLAIN)
    pairs = list(zip("xyz", PLAIN, strict=True))
    np.testing.assert_allclose(embed(tiny_model, pairs), expected, atol=1e-5)
    for place, texts in enumerate([pairs, iter(pairs), lambda: iter(pairs), lambda: pairs]):
        embed(tiny_model, texts, tmp_path / str(place))
        table = table_of(tmp_path / str(place))
        assert table["id"].to_pylist() == ["x", "y", "z"]
        np.testing.assert_allclose(vectors_of(table), expected, atol=1e-5)


def test_auto_on_many_texts(tiny_model, monkeypatch):
    """From some number on the choice is made, on the first of them, and none of these is lost."""
    from cenote.embedding import embed as embedding

    asked = []
    original = embedding.choose_backend
    monkeypatch.setattr(embedding, "WORTH_IT", 20)
    monkeypatch.setattr(
        embedding, "choose_backend", lambda *given, **more: (asked.append(given), original(*given, **more))[1]
    )
    texts = [f"{text} {row}" for row in range(10) for text in PLAIN]
    said = []
    made = embed(tiny_model, texts, backend="torch", notify=said.append)
    assert len(asked) == 1
    assert len(asked[0][1]) == 20
    assert said[-1].startswith("embedding with torch at")
    cosines = torch.cosine_similarity(torch.from_numpy(made), torch.from_numpy(tiny_model.encode(texts)))
    assert cosines.min() >= 0.999
    embed(tiny_model, texts[:19])
    assert len(asked) == 1


def test_progress(tiny_model, tmp_path):
    told = []
    embed(tiny_model, PLAIN, tmp_path / "out", progress=lambda *what: told.append(what))
    embedding = [what for what in told if what[0] == "embedding"]
    assert embedding[0] == ("embedding", 0, 3)
    assert embedding[-1] == ("embedding", 3, 3)
    assert [done for _, done, _ in embedding] == sorted(done for _, done, _ in embedding)


# What is refused.


def test_half_a_character_is_named(demo, tmp_path):
    with pytest.raises(BadInput, match="row 1: lone surrogate"):
        embed(demo, ["a pool", "broken \ud83d"], tmp_path / "out")
    with pytest.raises(BadInput, match="row 1: lone surrogate"):
        embed(demo, ["a pool", "broken \ud83d"])
    with pytest.raises(BadInput, match="row 1: lone surrogate"):
        list(embed(demo, iter(["a pool", "broken \ud83d"])))
    with pytest.raises(BadInput, match=r"row 1: the text is null.*on_error='skip'"):
        embed(demo, iter(["a pool", None]), tmp_path / "iterated")
    manifest = embed(demo, ["a pool", "broken \ud83d", "a cave"], tmp_path / "skipped", on_error="skip")
    assert manifest.counts.rejected == 1
    np.testing.assert_allclose(
        vectors_of(table_of(tmp_path / "skipped")), demo.encode(["a pool", "a cave"]), rtol=0, atol=1e-6
    )


def test_a_text_without_a_vector_is_named(tiny_st, tmp_path):
    model = cenote.load(tiny_st("bert"), device="cpu")
    water = model.tokenizer.convert_tokens_to_ids("water")
    with torch.no_grad():
        model[0].model.embeddings.word_embeddings.weight[water] = torch.nan
    texts = [("x", "a pool"), ("y", "the water"), ("z", "a cave")]
    with pytest.raises(BadInput, match="row 1, id 'y': "):
        embed(model, texts)
    manifest = embed(model, texts, tmp_path / "out", on_error="skip")
    assert manifest.counts.rejected == 1
    assert table_of(tmp_path / "out")["id"].to_pylist() == ["x", "z"]


@pytest.mark.parametrize("options", [{"long": "windows"}, {"on_error": "skip"}, {"dtype": "int8"}])
def test_what_needs_a_folder(tiny_model, options):
    with pytest.raises(BadInput, match="name an output folder"):
        embed(tiny_model, PLAIN, **options)


def test_options_by_other_names_are_told(tiny_model):
    with pytest.raises(UnknownName, match="unknown option 'dtyp'; did you mean 'dtype'"):
        embed(tiny_model, PLAIN, dtyp="int8")


def test_one_string_is_no_list(tiny_model):
    with pytest.raises(BadInput, match="texts is one string"):
        embed(tiny_model, "a pool")


def test_static_embeddings_are_refused_before_anything_is_written(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "pool": 1}, **{"unk_token": "a"}))
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=4)], device="cpu")
    for options in ({}, {"long": "window-mean"}):
        with pytest.raises(UnsupportedModel, match="StaticEmbedding, which hands on no rows of tokens"):
            embed(model, PLAIN, **options)
    with pytest.raises(UnsupportedModel, match="StaticEmbedding"):
        embed(model, PLAIN, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_input_is_asked_in_the_callers_thread_and_after_what_is_ready(demo, monkeypatch):
    """As a database asks it, and a pipe that stalls."""
    monkeypatch.setattr("cenote.embedding.corpus.PART_TEXTS", 4)
    asked, came = [], []

    def texts():
        for row in range(20):
            asked.append((threading.get_ident(), len(came)))
            yield f"text {row}"

    for vectors in cenote.embed(demo, texts(), backend="torch", precision="float32"):
        came.append(len(vectors))
    assert came == [4] * 5
    assert {thread for thread, _ in asked} == {threading.get_ident()}
    # Of two parts the rows are asked for before the first comes, of one more before each of the next.
    assert [before for _, before in asked[::4]] == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ({"a": "one"}, {}, "texts is a dict: pass a list of its texts"),
        (5, {}, "texts is 5: pass strings"),
        (["a"], {"restart": True}, "restart is for an output folder"),
        (["a"], {"overlap": 0}, "window and overlap are for long="),
    ],
)
def test_what_would_be_passed_over_is_refused(demo, texts, options, message):
    with pytest.raises(BadInput, match=message):
        cenote.embed(demo, texts, **options)


def test_progress_and_stop_in_memory(demo, monkeypatch):
    monkeypatch.setattr("cenote.embedding.corpus.PART_TEXTS", 2)
    said = []
    found = cenote.embed(demo, ["a"] * 6, progress=lambda *at: said.append(at), stop=lambda: said[-1][1] == 4)
    assert list(dict.fromkeys(said)) == [("embedding", 2, 6), ("embedding", 4, 6)]
    assert found.shape == (4, 384)


def test_progress_within_a_part_in_memory(tiny_model):
    said = []
    embed(tiny_model, ["pool " * 200] * 100, progress=lambda *at: said.append(at))
    assert len(set(said)) > 1
    assert said == sorted(said)
    assert said[-1] == ("embedding", 100, 100)


# A second call into the same folder.


@pytest.fixture
def counted(tiny_model, monkeypatch, tmp_path):
    """`counted(rows, **options)`: embeds by parts of two texts, and says how often the texts were read."""
    monkeypatch.setattr(sources, "PART_TEXTS", 2)

    def run(rows, folder="out", of=tiny_model, **options):
        read = []

        def texts():
            read.append(True)
            yield from rows

        try:
            embed(of, texts, tmp_path / folder, **options)
        except BadInput as error:
            return len(read), str(error)
        return len(read), ""

    return run


def test_rows_that_stopped_a_run_can_be_left_out_of_the_next(counted, tiny_model, tmp_path):
    rows = [*PLAIN, "pool", "half a %", "a cave", "light"]
    broken, (token,) = copy.deepcopy(tiny_model), tiny_model.tokenizer("%", add_special_tokens=False)["input_ids"]
    broken[0].model.get_input_embeddings().weight.data[token] = torch.nan
    options = {"of": broken, "backend": "torch", "precision": "float32"}
    _, said = counted(rows, **options)
    assert "row 4, id '4': it has NaN" in said
    assert said.endswith("Or leave such rows out: on_error='skip' (--on-error skip).")
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    assert len(first) == 2
    assert counted(rows, on_error="skip", **options)[1] == ""
    assert counted(rows, "clean", on_error="skip", **options)[1] == ""
    names = sorted(path.name for path in (tmp_path / "clean").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "out").iterdir())
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "clean" / name).read_bytes()
    assert first.items() <= {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}.items()
    assert "begun with on_error='skip', and rows from row 4 on were left out" in counted(rows, **options)[1]


def test_other_settings_are_told_before_the_texts_are_read(counted):
    assert counted(PLAIN)[1] == ""
    read, said = counted(PLAIN, dtype="float16")
    assert "dtype is 'float32' there and 'float16' now" in said
    assert read == 0
    read, said = counted(PLAIN, "new", task="qury")
    assert "unknown task 'qury'; did you mean 'query'?" in said
    assert read == 0


def test_what_cannot_run_is_told_before_the_texts_are_read(counted, monkeypatch):
    assert counted(PLAIN, backend="onnx", precision="float32")[1] == ""
    monkeypatch.setattr(backends, "missing", lambda name: "it needs onnx, which is missing" if name == "onnx" else None)
    read, said = counted(PLAIN, "new", backend="onnx")
    assert said == "onnx at float32: it needs onnx, which is missing; onnx at bfloat16: it computes in float32."
    assert read == 0
    read, said = counted(PLAIN)
    assert "out' was begun by what cannot run here. onnx at float32: it needs onnx, which is missing." in said
    assert read == 0
