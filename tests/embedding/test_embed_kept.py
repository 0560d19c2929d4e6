"""`embed` with kept columns, the first rows alone, another pooling or temperature, and its count of tokens read."""

import itertools
import json
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import cenote
from cenote.data.rows import Kept
from cenote.embedding import corpus as slicing
from cenote.embedding import embed as embedding
from cenote.embedding.manifest import MANIFEST, manifest_of
from cenote.embedding.rows import SliceEncoder
from cenote.encoding.backend_choice import Choice
from cenote.encoding.backends import backend
from cenote.errors import BadInput
from cenote.functional.pooling import POOLINGS

PLAIN = {"backend": "torch", "precision": "float32"}
WORDS = ("pool", "cave", "water", "deep light", "a stone")
RECORDS = [
    {
        "id": f"i{row}",
        "place": f"Place {row}" if row % 4 else None,
        "text": f"{WORDS[row % 5]} {row} " + "the water " * (row * 7 % 11),
        "year": 1900 + row if row < 30 else row / 8,
        "tags": WORDS[: row % 3],
        "meta": {"row": row} if row % 2 else {"odd": False},
    }
    for row in range(40)
]
LONG = "the deep cave holds light, and the pool below it none. " * 30
KEPT = [name for name in RECORDS[0] if name not in ("id", "text")]
TYPES = ["string", "double", "list<item: string>", "struct<odd: bool, row: int64>"]


@pytest.fixture(scope="module")
def saved(tiny_st):
    return str(tiny_st("bert"))


@pytest.fixture(scope="module")
def model(saved):
    return cenote.load(saved, device="cpu")


@pytest.fixture
def run(model, tmp_path, monkeypatch):
    """`run(texts, folder, **options)`: into a folder of `tmp_path`, in parts of 12 texts."""
    for module in (slicing, embedding):
        monkeypatch.setattr(module, "PART_TEXTS", 12)

    def call(texts=RECORDS, folder="out", *, of=model, **options):
        return cenote.embed(of, texts, tmp_path / folder, **{**PLAIN, "name": "tiny", "keep": KEPT, **options})

    return call


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def table_of(folder):
    return pa.concat_tables(parquet.read_table(path) for path in sorted(folder.glob("*.parquet")))


def after(parts):
    asked = itertools.count()
    return lambda: next(asked) >= parts


def as_written(record, name):
    """Return a value as a column gives it back, which has one type for all rows."""
    value = record[name]
    if name == "meta":
        return {"odd": None, "row": None, **value}
    return list(value) if name == "tags" else value


# Kept columns.


def test_kept_columns_are_written_beside_the_vectors(run, model, tmp_path):
    manifest = run()
    table = table_of(tmp_path / "out")
    assert table.column_names == ["id", *KEPT, "embedding", "n_tokens", "truncated"]
    for name in KEPT:
        assert table[name].to_pylist() == [as_written(record, name) for record in RECORDS]
    schemas = {parquet.read_schema(path).remove_metadata() for path in (tmp_path / "out").glob("*.parquet")}
    assert len(schemas) == 1  # although the first two parts have whole numbers alone
    assert (manifest.settings["keep"], manifest.settings["keep_types"]) == (KEPT, TYPES)
    expected = model.encode([record["text"] for record in RECORDS])
    np.testing.assert_allclose(cenote.read_embeddings(tmp_path / "out")[:], expected, atol=1e-5)


def test_vectors_and_other_columns_are_those_without_kept_ones(run, tmp_path):
    run()
    run(folder="bare", keep=())
    found, bare = table_of(tmp_path / "out"), table_of(tmp_path / "bare")
    assert found.drop_columns(KEPT).equals(bare)
    for name in ("keep", "keep_types", "part_kept", "limit"):
        assert manifest_of(tmp_path / "bare").settings[name] is None


def test_all_keeps_every_column_but_the_id(run, tmp_path):
    run(keep="all", columns="text")
    every = [name for name in RECORDS[0] if name != "id"]
    assert manifest_of(tmp_path / "out").settings["keep"] == every
    assert table_of(tmp_path / "out")["text"].to_pylist() == [record["text"] for record in RECORDS]
    before = content(tmp_path / "out")
    run(keep=every, columns="text")  # the same by name
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("options", [{"long": "windows", "window": 64}, {"long": "segments", "vectors": 2}], ids=str)
def test_rows_of_a_text_repeat_its_values(run, tmp_path, options):
    records = [{**one, "text": one["text"] + LONG if row % 3 else one["text"]} for row, one in enumerate(RECORDS)]
    run(records, **options)
    table = table_of(tmp_path / "out")
    by_id = {record["id"]: record for record in records}
    parents = table["parent_id"].to_pylist()
    assert len(parents) > len(records)
    for name in KEPT:
        assert table[name].to_pylist() == [as_written(by_id[parent], name) for parent in parents]


def test_values_follow_their_texts_where_rows_are_left_out(run, tmp_path):
    spoilt = [*RECORDS[:5], {**RECORDS[5], "text": None}, *RECORDS[6:20], RECORDS[3], *RECORDS[20:]]
    counts = run(spoilt, on_error="skip").counts
    assert (counts.texts, counts.rejected) == (41, 2)
    left = [*RECORDS[:5], *RECORDS[6:]]
    for name in ("id", *KEPT):
        assert table_of(tmp_path / "out")[name].to_pylist() == [as_written(record, name) for record in left]


@pytest.mark.parametrize("parts", [1, 3])
def test_a_stopped_run_ends_with_the_same_bytes(run, tmp_path, parts):
    clean = run(folder="clean")
    assert not run(stop=after(parts)).complete
    assert run() == clean
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_files_and_lists_give_the_same_folder(run, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    run(folder="list", source="records")
    run(path, "file", source="records")
    assert content(tmp_path / "list") == content(tmp_path / "file")


def test_kept_values_are_part_of_the_fingerprint_of_the_texts(run, tmp_path):
    run(stop=after(2))
    before = content(tmp_path / "out")
    other = [*RECORDS[:-1], {**RECORDS[-1], "place": "elsewhere"}]
    with pytest.raises(BadInput, match=r"source is 'texts' .* in the folder and 'texts' .* now, other texts or ids"):
        run(other)
    for keep in ((), KEPT[:1], KEPT[::-1]):
        with pytest.raises(BadInput, match=r"keep is \['place', 'year', 'tags', 'meta'\] in the folder and .* now"):
            run(keep=keep)
    assert content(tmp_path / "out") == before


def test_other_kept_columns_are_refused_before_a_model_is_loaded(run, tmp_path):
    run()
    with pytest.raises(BadInput, match=r"keep is \['place', .*\] in the folder and None now"):
        run(keep=(), of="a model that is not there", loader=pytest.fail)


def test_a_part_ends_after_so_many_bytes_of_kept_values(run, tmp_path, monkeypatch):
    for module in (slicing, embedding):
        monkeypatch.setattr(module, "PART_KEPT", 1000)
    records = [{**record, "place": "x" * 300} for record in RECORDS]
    manifest = run(records, keep=["place"])
    assert manifest.counts.rows == (4,) * 10
    assert manifest.settings["part_kept"] == 1000


# Before pyarrow 26 a Parquet file cannot have a list of a fixed length that is missing.
NO_PAIR = None if int(pa.__version__.partition(".")[0]) >= 26 else [0.5, 0.6]
ODD = pa.table(
    {
        "half": pa.array([0.5, 1.5, None], pa.float16()),
        "single": pa.array([0.1, None, 0.3], pa.float32()),
        "small": pa.array([1, 2, None], pa.uint8()),
        "large": pa.array([2**63, None, 1], pa.uint64()),
        "pair": pa.array([[0.1, 0.2], NO_PAIR, [0.3, 0.4]], pa.list_(pa.float32(), 2)),
        "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int16())),
        "kind": pa.array(["x", None, "x"], pa.dictionary(pa.int8(), pa.string())),
        "time": pa.array([1, None, -1], pa.timestamp("ns", "Asia/Tokyo")),
        "span": pa.array([1, None, -1], pa.duration("ns")),
        "day": pa.array([0, None, 1], pa.date32()),
        "exact": pa.array([None, 1, 2], pa.decimal128(20, 5)),
        "nothing": pa.nulls(3),
    }
)
LAYOUT = {"kind": pa.string(), "nothing": pa.string()}


@pytest.mark.parametrize("form", ["file", "stream", "frame"])
def test_columns_of_a_source_with_a_schema_keep_their_types(run, tmp_path, form):
    table = ODD.append_column("text", pa.array(["a pool", "a cave", "light"]))
    parquet.write_table(table, tmp_path / "a.parquet")
    source = {"file": tmp_path / "a.parquet", "stream": table.to_reader(), "frame": table}[form]
    names = ODD.column_names
    kinds = [LAYOUT.get(name, ODD.schema.field(name).type) for name in names]
    assert run(source, keep=names).settings["keep_types"] == [str(kind) for kind in kinds]
    found = table_of(tmp_path / "out").select(names)
    assert found.schema.types == kinds
    for name, kind in zip(names, kinds, strict=True):
        expected = ODD[name].combine_chunks()
        assert found[name].combine_chunks().equals(expected.cast(kind) if name in LAYOUT else expected)


def test_columns_of_pandas_keep_their_types(run, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a pool", "a cave"], "size": pandas.array([1, None], "UInt8")})
    frame["weight"] = np.array([0.1, 0.2], np.float32)
    frame["time"] = pandas.to_datetime([1, None]).astype("datetime64[ns]").tz_localize("Asia/Tokyo")
    frame["mixed"] = pandas.Series([1, 0.5], dtype=object)
    assert run(frame, keep=list(frame)[1:]).settings["keep_types"] == [
        "uint8",
        "float",
        "timestamp[ns, tz=Asia/Tokyo]",
        "double",
    ]
    assert table_of(tmp_path / "out")["weight"].to_numpy().tolist() == frame["weight"].tolist()


def test_shards_of_several_types_have_one_that_holds_all(run, tmp_path):
    for name, kind in (("a", pa.int8()), ("b", pa.float32())):
        table = pa.table({"text": ["a pool"], "id": [name], "year": pa.array([2], kind)})
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    assert run(tmp_path / "*.parquet", keep="year").settings["keep_types"] == ["double"]


# Kept columns of texts that are read once.


def test_an_iterator_takes_the_types_of_its_first_part(run, tmp_path):
    whole = [{**record, "year": row} for row, record in enumerate(RECORDS)]
    manifest = run(iter(whole))
    assert manifest.settings["keep_types"] == ["string", "int64", *TYPES[2:]]
    assert table_of(tmp_path / "out")["meta"].to_pylist() == [as_written(record, "meta") for record in whole]


def test_a_value_that_does_not_fit_the_first_part_is_an_error_and_earlier_parts_are_whole(run, tmp_path):
    with pytest.raises(
        BadInput, match=r"'year' of keep: float 3\.75 in row 30 does not fit the type int64\..*pass a file"
    ):
        run(iter(RECORDS))
    assert len(list((tmp_path / "out").glob("part-*"))) == 2
    assert not manifest_of(tmp_path / "out").complete
    with pytest.raises(BadInput, match=r"keep_types is \['string', 'int64'.*\] in the folder and .*'double'.* now"):
        run(RECORDS)


def test_values_without_a_common_type_are_found_before_anything_is_written(run, tmp_path):
    with pytest.raises(BadInput, match=r"'year' of keep: int 1900 in row 0 and str 'n\.d\.' in row 39 have no type in"):
        run([*RECORDS[:-1], {**RECORDS[-1], "year": "n.d."}])
    assert not (tmp_path / "out").exists()


def test_a_function_may_yield_the_values_itself(run, tmp_path):
    run(lambda: (Kept(str(row), "a pool", (row,)) for row in range(3)), keep=["row"])
    assert table_of(tmp_path / "out")["row"].to_pylist() == [0, 1, 2]
    with pytest.raises(BadInput, match=r"row 1: the text carries 0 values, and keep names row: pass a file or a table"):
        run(lambda: [Kept("0", "a", (0,)), Kept("1", "b")], "other", keep=["row"])
    rows = [Kept(7, "a pool", (1984,)), Kept("8", None, (2,)), Kept(1.5, "a cave", (3,))]
    assert run(lambda: rows, "odd", keep=["row"], on_error="skip").counts.rejected == 2
    assert cenote.read_embeddings(tmp_path / "odd").ids == ["7"]
    rows = [Kept("0", "a pool", ("x",)), Kept("1", "a cave", ("half \ud83d",))]
    assert run(lambda: rows, "half", keep=["row"], on_error="skip").counts.rejected == 1


@pytest.mark.parametrize(
    ("texts", "keep", "message"),
    [
        (RECORDS, ["plaice"], "unknown column .*'plaice'; did you mean 'place'"),
        (
            [{"text": "a", "window": 1}],
            "all",
            "the column 'window' cannot be kept under its name, since embed writes id",
        ),
        (["a pool"], ["place"], "unknown column .*'place'"),
    ],
)
def test_columns_that_cannot_be_kept_are_refused_before_a_model_is_loaded(tmp_path, texts, keep, message):
    with pytest.raises(BadInput, match=message):
        cenote.embed("nowhere", texts, tmp_path / "out", keep=keep, loader=pytest.fail)
    assert not (tmp_path / "out").exists()


# The first rows.


def test_the_first_rows_are_embedded_alone(run, tmp_path):
    manifest = run(limit=15)
    assert manifest.counts.rows == (12, 3)
    assert (manifest.settings["limit"], manifest.settings["texts"]) == (15, 15)
    run(RECORDS[:15], "slice", limit=15)
    assert content(tmp_path / "out") == content(tmp_path / "slice")
    with pytest.raises(BadInput, match="limit is 15 in the folder and None now"):
        run(of="a model that is not there", loader=pytest.fail)


def test_a_limit_counts_rows_that_are_left_out_and_ends_a_stream(run, model):
    spoilt = [*RECORDS[:5], {**RECORDS[5], "text": None}, *RECORDS[6:]]
    assert run(spoilt, limit=10, on_error="skip").counts.rows == (9,)

    def endless():
        for row in itertools.count():
            assert row < 100, "the stream was read on"
            yield f"text {row}"

    assert run(endless(), "endless", limit=20, keep=()).counts.texts == 20
    assert cenote.embed(model, ["a"] * 5, limit=3).shape == (3, 32)
    assert sum(len(array) for array in cenote.embed(model, endless(), limit=30)) == 30
    assert cenote.embed(model, ["a"] * 5, limit=9).shape == (5, 32)


# Pooling and temperature.


def test_a_model_that_is_loaded_by_name_takes_a_pooling_and_a_temperature(saved, tmp_path):
    texts, given = ["a pool", "the deep cave"], {"pooling": "max", "temperature": 0.5}
    expected = cenote.load(saved, **given).encode(texts)
    np.testing.assert_allclose(cenote.embed(saved, texts, **given), expected, atol=1e-5)
    settings = cenote.embed(saved, texts, tmp_path / "out", **given).settings
    assert settings["pooling"] == "max"
    assert settings["temperature"]["temperature"] == 0.5
    assert np.abs(expected - cenote.embed(saved, texts)).max() > 1e-2


@pytest.mark.filterwarnings("ignore:.*declares pooling")
@pytest.mark.parametrize("pooling", [*POOLINGS, "cls,mean_sqrt_len"])
def test_a_run_with_any_pooling_goes_on(run, saved, pooling):
    given = {"texts": RECORDS[:15], "of": saved, "pooling": pooling, "keep": ()}
    assert not run(stop=after(0), **given).complete
    assert run(**given).complete
    assert run(**given).complete


@pytest.mark.filterwarnings("ignore::cenote.errors.CenoteWarning")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "cls", "temperature": 0.5}, "otherwise: pooling is 'max' in the folder and 'cls' now. Name"),
        ({"pooling": "max", "temperature": 0.25}, r"otherwise: temperature is 0\.5 in the folder and 0\.25 now\. Name"),
        ({"pooling": "max", "temperature": 1}, r"otherwise: temperature is 0\.5 in the folder and 1 now\. Name"),
        ({"pooling": ["max", "mean"], "temperature": 0.5}, r"pooling is 'max' in the folder and 'max\+mean' now"),
    ],
)
def test_another_pooling_or_temperature_is_refused_before_the_model_is_loaded(saved, tmp_path, options, message):
    cenote.embed(saved, ["a pool"], tmp_path / "out", pooling="max", temperature=0.5)
    before = content(tmp_path / "out")
    with pytest.raises(BadInput, match=message):
        cenote.embed(saved, ["a pool"], tmp_path / "out", **options, loader=pytest.fail)
    with pytest.raises(BadInput, match=r"pooling is 'max' .* 'mean' now; temperature is 0\.5 in the folder and 1 now"):
        cenote.embed(saved, ["a pool"], tmp_path / "out")
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, r"pooling='max': the model is loaded already\. .*cenote\.load\(name, pooling='max'\)"),
        ({"temperature": 0.5}, r"temperature=0\.5: the model is loaded already"),
    ],
)
def test_a_loaded_model_takes_neither(model, options, message):
    with pytest.raises(BadInput, match=message):
        cenote.embed(model, ["a pool"], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "maen"}, "unknown pooling 'maen'; did you mean 'mean'"),
        ({"temperature": 0}, "temperature is 0: pass a positive number"),
        ({"temperature": "hot"}, "temperature is 'hot': pass a finite number"),
    ],
)
def test_a_bad_pooling_or_temperature_is_refused_before_the_texts_are_read(tmp_path, options, message):
    with pytest.raises(BadInput, match=message):
        cenote.embed("nowhere", lambda: pytest.fail("the texts were read"), tmp_path / "out", **options)


# Tokens that are read.


@pytest.mark.filterwarnings("ignore::cenote.errors.CenoteWarning")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"long": "windows", "window": 64, "overlap": 16},
        {"long": "window-mean", "window": 100},
        {"long": "segments", "vectors": 2, "window": 64},
        {"prompt_name": "ask"},
    ],
    ids=str,
)
def test_tokens_read_are_those_that_the_model_is_given(tiny_st, tmp_path, options):
    """By what each batch holds, without padding; and, where windows are rows, by the text of each."""
    model = cenote.load(tiny_st("bert", prompts={"ask": "query: "}), device="cpu")
    texts = [record["text"] + LONG * (row % 3) for row, record in enumerate(RECORDS)]
    read = []
    forward = model.forward
    model.forward = lambda features, **more: (
        read.append(int(features["attention_mask"].sum())),
        forward(features, **more),
    )[1]
    counts = cenote.embed(model, texts, tmp_path / "out", **PLAIN, **options).counts
    del model.forward
    assert counts.read == sum(read)
    prompt = "query: " if "prompt_name" in options else ""
    lengths = [len(model.tokenizer(prompt + text, verbose=False)["input_ids"]) for text in texts]
    assert counts.tokens == sum(lengths)
    if "long" not in options:
        assert counts.read == sum(min(length, 256) for length in lengths) < counts.tokens
    else:
        assert counts.read > counts.tokens
    if options.get("long") == "windows":
        table = table_of(tmp_path / "out")
        spans = zip(*(table[name].to_pylist() for name in ("parent_id", "start", "end")), strict=True)
        windows = [texts[int(parent)][start:end] for parent, start, end in spans]
        assert counts.read == sum(len(model.tokenizer(window)["input_ids"]) for window in windows)


def test_tokens_of_a_text_without_a_vector_are_not_counted(saved, tmp_path):
    broken = cenote.load(saved, device="cpu")
    water = broken.tokenizer.convert_tokens_to_ids("water")
    broken[0].model.embeddings.word_embeddings.weight.data[water] = float("nan")
    counts = cenote.embed(broken, ["a pool", "the water"], tmp_path / "out", on_error="skip", **PLAIN).counts
    assert (counts.rejected, counts.tokens, counts.read) == (1, 4, 4)


# Folders of earlier versions.


def age(folder):
    """Take out of a folder what was added to manifests and footers."""
    added = ("keep", "keep_types", "part_kept", "limit", "columns")

    def without(settings):
        return {name: value for name, value in settings.items() if name not in added}

    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["settings"] = without(manifest["settings"])
    if manifest["counts"]:
        del manifest["counts"]["read"], manifest["counts"]["footers"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    for path in folder.glob("part-*"):
        table = parquet.read_table(path)
        footer = json.loads(table.schema.metadata[b"cenote"])
        footer["of"] = without(footer["of"])
        del footer["read"]
        parquet.write_table(table.replace_schema_metadata({b"cenote": json.dumps(footer).encode()}), path)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_an_older_folder_is_read_and_continued(run, tmp_path, parts):
    new = run(folder="new", keep=())
    run(keep=(), stop=after(parts))
    age(tmp_path / "out")
    before = content(tmp_path / "out")
    if parts == 4:
        assert manifest_of(tmp_path / "out").counts.read is None
        assert len(cenote.read_embeddings(tmp_path / "out")) == 40
    manifest = run(keep=())
    assert manifest.complete
    assert {one.name for one in fields(manifest.counts) if getattr(manifest.counts, one.name) is None} == {"read"}
    assert manifest.counts.rows == new.counts.rows
    after_it = content(tmp_path / "out")
    assert {name: data for name, data in before.items() if name != MANIFEST}.items() <= after_it.items()
    assert table_of(tmp_path / "out").equals(table_of(tmp_path / "new"))
    with pytest.raises(BadInput, match=r"keep is None in the folder and \['place'\] now"):
        run(keep=["place"])


# The estimate.


@pytest.fixture
def measured(monkeypatch, model):
    """As if torch had been measured on the first ten texts: 1,000 tokens a second."""
    monkeypatch.setattr(embedding, "WORTH_CHOOSING", 10)
    monkeypatch.setattr(embedding, "choose_backend", lambda *_, **__: Choice(backend(model), 1.0, 1000.0))


@pytest.mark.usefixtures("measured")
def test_the_expected_time_is_said_before_the_work(run, model):
    said, heard = [], []
    tokens = 40 * len(model.tokenizer("the water of a pool " * 20)["input_ids"])
    run(
        [{**record, "text": "the water of a pool " * 20} for record in RECORDS],
        backend="auto",
        notify=lambda sentence: said.append((sentence, len(heard))),
        progress=lambda step, *_: heard.append(step) if step == "embedding" else None,
    )
    assert said == [(f"40 texts, about {round(tokens, -2):,} tokens: about 10 s", 0)]


@pytest.mark.usefixtures("measured")
def test_where_nothing_was_measured_or_counted_there_is_no_estimate(run):
    said = []
    run(notify=said.append)  # a backend by name
    run(iter(RECORDS), "stream", backend="auto", keep=(), notify=said.append)
    run(RECORDS[:9], "few", backend="auto", notify=said.append)
    assert said == []


# Parts.


def test_before_each_part_its_end_is_said(run, monkeypatch):
    seen = []
    read = SliceEncoder.read
    monkeypatch.setattr(
        SliceEncoder, "read", lambda self, prepared, *more: (seen.append("read"), read(self, prepared, *more))[1]
    )
    run(part=seen.append, stop=after(2))
    assert seen == [12, "read", 24, "read"]
    seen.clear()
    run(part=seen.append)
    assert seen == [36, "read", 40, "read"]
