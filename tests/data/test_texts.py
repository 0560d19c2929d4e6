"""Streams of texts: every format, lines, memory, errors of a source, faults of single rows."""

import csv
import gzip
import io
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cenote.data import formats, shards, tables
from cenote.data.lines import lines
from cenote.data.rows import Fault
from cenote.data.texts import READERS, Text, read, read_rows
from cenote.errors import BadInput, CenoteWarning, UnknownName

from ..systems import posix

NUL = ["NUL\0inside"] if sys.version_info >= (3, 11) else []  # which the csv module of Python 3.10 does not write
ODD = ["plain", "", "tab\tcomma, \"quote\" 'single'", *NUL, "sep\u2028\x0b\x0c\x85 not an end", "Ünï 池 🕳"]
characters = st.characters(exclude_categories=["Cs"], exclude_characters="" if NUL else "\0")
unicode_texts = st.lists(st.text(characters), min_size=1, max_size=8)
with_files = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def as_csv(rows, delimiter=","):
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue()


def zstd(content):
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(content)
    return packed.getvalue().to_pybytes()


PACKED = {".gz": gzip.compress, ".zst": zstd}
TABLES = {
    ".parquet": lambda table, path: pq.write_table(table, path, compression="none"),
    ".arrow": lambda table, path: write_arrow(table, path, pa.ipc.new_stream),
    ".feather": lambda table, path: feather.write_feather(table, str(path)),
}


def write_arrow(table, path, form):
    with path.open("wb") as file, form(file, table.schema) as writer:
        writer.write_table(table, 1000)


def write(path, found, ids=None):
    """Write the texts in the format of the suffix, with a column of ids if given."""
    records = [{"text": text} | ({"id": ids[i]} if ids else {}) for i, text in enumerate(found)]
    if path.suffix in TABLES:
        TABLES[path.suffix](pa.Table.from_pylist(records), path)
        return path
    kind = (path.stem if path.suffix in PACKED else path.name).rpartition(".")[2]
    content = {
        "txt": lambda: "".join(f"{text}\n" for text in found),
        "json": lambda: json.dumps(records, indent=1),
        "jsonl": lambda: "".join(json.dumps(record) + "\n" for record in records),
        "ndjson": lambda: "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records),
        "csv": lambda: as_csv([records[0], *(record.values() for record in records)]),
        "tsv": lambda: as_csv([records[0], *(record.values() for record in records)], "\t"),
    }[kind]().encode()
    path.write_bytes(PACKED.get(path.suffix, bytes)(content))
    return path


def save(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Every format.


@pytest.mark.parametrize("suffix", [suffix for suffix in READERS if not suffix.startswith(".md")])
@pytest.mark.parametrize("with_ids", [False, True])
def test_every_format_round_trips(tmp_path, suffix, with_ids):
    ids = [f"doc-{i}" for i in range(len(ODD))] if with_ids and ".txt" not in suffix else None
    names = ids or map(str, range(len(ODD)))
    path = write(tmp_path / f"a.b{suffix}", ODD, ids)
    assert list(read(path)) == [Text(*row) for row in zip(names, ODD, strict=True)]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather"])
def test_columns_can_be_named(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", ["x", "y"], ids=["7", "8"])
    assert list(read(path, columns="id", id_column="text")) == [("x", "7"), ("y", "8")]
    assert list(read(path, columns="id", id_column="id")) == [("7", "7"), ("8", "8")]


@pytest.mark.parametrize("suffix", READERS)
def test_the_documentation_names_every_suffix(suffix):
    assert f"`{suffix.removesuffix('.gz').removesuffix('.zst')}`" in read.__doc__


@pytest.mark.parametrize("pack", ["", *PACKED])
def test_a_markdown_file_is_one_text(tmp_path, pack):
    content = b"\xef\xbb\xbf# One\r\n\nline\n"
    path = save(tmp_path / f"a.md{pack}", PACKED.get(pack, bytes)(content))
    assert list(read(path)) == [Text(path.as_posix(), "# One\r\n\nline\n")]


@pytest.mark.parametrize("form", [pa.ipc.new_stream, pa.ipc.new_file], ids=["stream", "file"])
def test_both_forms_of_arrow_files_are_read_by_their_content(tmp_path, form):
    table = pa.table({"other": range(2500), "text": [f"text {i}" for i in range(2500)], "id": range(2500)})
    write_arrow(table, tmp_path / "a.arrow", form)
    expected = [(str(i), f"text {i}") for i in range(2500)]
    assert list(read(tmp_path / "a.arrow")) == expected
    assert [row.values for row in read(tmp_path / "a.arrow", keep="other")] == [(i,) for i in range(2500)]


@pytest.mark.parametrize("content", ['["a", "b"]', ' \n[ "a",\n"b"]\n', '"a"\n"b"\n', '{"text": "a"}\n"b"'])
def test_a_json_file_is_an_array_or_json_lines(tmp_path, content):
    assert list(read(save(tmp_path / "a.json", content))) == [("0", "a"), ("1", "b")]


@with_files
@given(found=unicode_texts)
@pytest.mark.parametrize("suffix", [".jsonl", ".json.zst", ".ndjson.gz", ".csv", ".tsv", ".parquet", ".arrow"])
def test_any_text_round_trips(tmp_path, suffix, found):
    path = write(tmp_path / f"a{suffix}", found, ids=found)
    assert list(read(path)) == [(text, text) for text in found]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("piece", [1, 2, 7])
def test_an_array_is_parsed_in_pieces_of_any_size(tmp_path, monkeypatch, indent, piece):
    rows = [*ODD, {"text": "池" * 50, "more": [{"a": [1.5e-3, 2**70, None]}]}, {"text": ""}, 12, None, -3.5, [True]]
    content = json.dumps(rows, indent=indent, ensure_ascii=False)
    monkeypatch.setattr(formats, "_PIECE", piece)
    found = list(read_rows(save(tmp_path / "a.json", content)))
    assert [row.text for row in found[: len(ODD) + 2]] == [*ODD, "池" * 50, ""]
    faults = [row.why.partition("the row is ")[2].partition(".")[0] for row in found[len(ODD) + 2 :]]
    assert faults == ["int 12", "null", "float -3", "list [True]"]


def test_a_look_at_the_first_element_reads_only_the_beginning(tmp_path, monkeypatch):
    path = write(tmp_path / "a.json", [f"{i} " + "word " * 400 for i in range(4000)])  # 8 MB
    whole, read_bytes = formats._pieces_of, []
    monkeypatch.setattr(formats, "_pieces_of", lambda path: (read_bytes.append(len(one)) or one for one in whole(path)))
    assert next(read(path)).text.startswith("0 word")
    assert sum(read_bytes) < 2**20


@with_files
@given(data=st.lists(st.sampled_from(["a", "\r", "\n", "\u2028", "\ufeff", "\x85"])).map("".join))
def test_only_newlines_end_a_line(data):
    expected = re.split("\r?\n", data.removeprefix("\ufeff"))
    if not expected[-1]:
        expected.pop()
    stream = io.BytesIO(data.encode())
    if expected:
        assert [text for _, text in read("-", stdin=stream)] == expected
    else:
        with pytest.raises(BadInput, match="there are no texts in stdin"):
            read("-", stdin=stream)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_reads_every_string_type_and_integer_ids(tmp_path, kind):
    found = [f"text {i % 3}" for i in range(3000)]
    table = pa.table({"other": [0.5] * 3000, "text": pa.array(found).cast(kind), "id": range(3000)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1100)
    assert list(read(tmp_path / "a.parquet")) == [(str(i), text) for i, text in enumerate(found)]


def test_a_folder_yields_whole_text_files_in_order(tmp_path):
    (tmp_path / "b" / "c.txt").mkdir(parents=True)
    save(tmp_path / "b" / "two.md", "# Two\r\nlines\n")
    save(tmp_path / "b" / "c.txt" / "three.TXT.GZ", gzip.compress(b"three", mtime=0))
    save(tmp_path / "a.txt", b"\xef\xbb\xbfone")
    save(tmp_path / "z.txt", "")
    save(tmp_path / "a.png", b"\x89PNG")
    expected = [("a.txt", "one"), ("b/c.txt/three.TXT.GZ", "three"), ("b/two.md", "# Two\r\nlines\n"), ("z.txt", "")]
    assert list(read(tmp_path)) == expected


def test_a_folder_with_data_files_is_refused(tmp_path):
    """Otherwise a data set would silently be read as its README."""
    save(tmp_path / "SOURCE.md", "where it came from")
    save(tmp_path / "train.jsonl.gz", gzip.compress(b'"one"'))
    several = r"files of many texts, .*train\.jsonl\.gz, and of one text each, SOURCE\.md\. Name the files that"
    with pytest.raises(BadInput, match=several):
        read(tmp_path)


# Lines.


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_stdin_is_read_by_lines_zipped_or_not(pack):
    content = "\ufeffone\r\n\ntwo\u2028\x0b\x0c\x85\0still two\rand still\nlast".encode()
    expected = ["one", "", "two\u2028\x0b\x0c\x85\0still two\rand still", "last"]
    assert list(read("-", stdin=io.BytesIO(pack(content)))) == [(str(i), text) for i, text in enumerate(expected)]


@pytest.mark.parametrize("suffix", PACKED)
def test_zipping_is_detected_by_content_and_not_by_suffix(tmp_path, suffix):
    assert list(read(save(tmp_path / "a.txt", PACKED[suffix](b"zipped")))) == [("0", "zipped")]
    assert list(read(save(tmp_path / f"a.txt{suffix}", b"(not zipped"))) == [("0", "(not zipped")]


def test_several_zstd_frames_are_one_file(tmp_path):
    path = save(tmp_path / "a.txt.zst", zstd(b"one\n") + zstd(b"two\n"))
    assert [text for _, text in read(path)] == ["one", "two"]


@pytest.mark.parametrize("first", [0x50, 0x5F])
def test_a_zstd_file_may_begin_with_a_frame_to_skip(tmp_path, first):
    skipped = bytes([first]) + b"\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"size"
    path = save(tmp_path / "a.jsonl.zst", skipped + zstd(b'"one"\n') + skipped + zstd(b'"two"\n'))
    assert [text for _, text in read(path)] == ["one", "two"]


def test_json_lines_may_be_blank_or_bare_strings(tmp_path):
    path = save(tmp_path / "a.jsonl", '\ufeff{"text": "a", "more": [1]}\r\n\n  \n"b\\u0000"\n{"text": "c", "key": 5}')
    assert list(read(path)) == [("0", "a"), ("1", "b\0"), ("2", "c")]  # no ids, so rows are numbered


def test_csv_fields_keep_their_line_ends_and_may_be_long(tmp_path):
    long, limit = "x" * (csv.field_size_limit() + 1), csv.field_size_limit()
    path = save(tmp_path / "a.csv", f'\ufefftext,id\r\n"one\r\ntwo\nthree ""quoted""",7\r\n\r\n{long},8\r\n')
    stream = read(path)
    assert next(stream) == ("7", 'one\r\ntwo\nthree "quoted"')
    assert csv.field_size_limit() == limit
    assert list(stream) == [("8", long)]


def test_blanks_around_the_names_of_a_csv_are_none_of_them(tmp_path):
    path = save(tmp_path / "a.csv", "id, text ,url\n7, A pool.,b\n")
    assert [(row.id, row.text, row.values) for row in read(path, keep="url")] == [("7", " A pool.", ("b",))]


def test_csv_limit_is_put_back_by_threads_too(tmp_path):
    limit = csv.field_size_limit()
    path = save(tmp_path / "a.csv", "text\n" + "word\n" * 2000)
    threads = [threading.Thread(target=lambda: list(read(path))) for _ in range(4)]
    for step in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            step(thread)
    assert csv.field_size_limit() == limit


# Memory.


def test_stdin_is_read_as_texts_are_consumed():
    stream = io.BytesIO(b"a line of text\n" * 200_000)
    found = read("-", stdin=stream)
    assert next(found).text == "a line of text"
    assert stream.tell() <= 2**17


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".txt.zst", ".jsonl", ".json", ".csv", *TABLES])
def test_no_file_is_kept_in_memory(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", [f"{i} " + "word " * 400 for i in range(4000)])  # 8 MB
    for text in itertools.islice(read(path), 1):  # imports on first use are not counted
        assert text.id == "0"
    tracemalloc.start()
    assert sum(1 for _ in read(path)) == 4000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21


# Errors, raised by the call itself if the first row has them.


FIRST_ROW = {
    "empty": ("a.txt", b"", r"there are no texts in .*a\.txt\. Give a source"),
    "only a mark": ("a.txt", b"\xef\xbb\xbf", "there are no texts in"),
    "empty zip": ("a.jsonl.gz", gzip.compress(b"", mtime=0), "there are no texts in"),
    "blank": ("a.jsonl", "\n \n", "there are no texts in"),
    "header only": ("a.csv", "id,text\n", "there are no texts in"),
    "empty csv": ("a.csv", "", "there are no texts in"),
    "suffix": ("a.jsnl", "x", r"a\.jsnl ends in '\.jsnl'; did you mean '\.jsonl'\? There are: \.txt, .* Rename"),
    "no suffix": ("a", "x", r"a ends in ''\. There are: \.txt, \.md, .*\.parquet, \.arrow, \.feather\. Rename"),
    "unknown zip": ("a.parquet.gz", "x", r"ends in '\.parquet\.gz'; did you mean '\.parquet'"),
    "latin": ("a.txt", b"caf\xe9\n", r"a\.txt, line 1: not UTF-8 \(byte 3, 0xe9\)\. Correct or drop the line; if"),
    "cut zip": ("a.txt.gz", gzip.compress(b"text" * 99)[:-12], "gzip data is cut short or damaged"),
    "cut zstd": ("a.txt.zst", zstd(b"text" * 99)[:-9], r"a\.txt\.zst: the zstd data is cut short or damaged"),
    "bad zstd": ("a.jsonl", zstd(b"text")[:5] + b"\xff" * 30, r"zstd data is cut short or damaged .* Download or zip"),
    "cut head": ("a.txt.gz", b"\x1f", "gzip data is cut short or damaged"),
    "bad zip": ("a.txt.gz", gzip.compress(b"", mtime=0)[:10] + b"\xff" * 30, "gzip data is cut short or damaged"),
    "no JSON": ("a.jsonl", '{"text": }\n', r"a\.jsonl, line 1: not JSON \(Expecting value: column 10\)\. Write one"),
    "deep JSON": ("a.jsonl", "[" * 100_000, "line 1: not JSON .*recursion"),
    "JSON list": ("a.jsonl", "[1, 2]", r"line 1: the row is list \[1, 2\]\. Make it an object with the key"),
    "no column": ("a.jsonl", '{"txet": "a"}', r"line 1: 'text'; did you mean 'txet'\? There are: txet\. Name"),
    "no keys": ("a.jsonl", "{}", r"column of .*line 1: 'text'\. There are: none\."),
    "null": ("a.jsonl", '{"text": null}', r"line 1: the text is null, not a string\. Correct or drop the row"),
    "number": ("a.jsonl", '{"text": 1.5}', r"line 1: the text is float 1\.5, not a string"),
    "id": ("a.jsonl", '{"text": "a", "id": null}', "the id is null, not a string or an integer"),
    "surrogate": ("a.jsonl", '"a\\ud800b"', r"line 1: lone surrogate \('\\ud800'\), which UTF-8 cannot encode"),
    "csv column": ("a.csv", "id,Text\n1,a\n", r"a\.csv: 'text'; did you mean 'Text'\? There are: id, Text\. Name the"),
    "csv columns": ("a.csv", "text,text\na,b\n", "has 2 columns 'text'. Rename all but one"),
    "short row": ("a.csv", "id,text\n1\n", r"line 2: 1 fields, but the first line, .* has 2\. Put fields .* ','"),
    "long row": ("a.tsv", "id\ttext\n1\ta\tb\n", r"line 2: 3 fields, .* that hold '\\t'"),
    "open quote": ("a.csv", 'text\n"a\nb\n', r"line 2: not CSV \(unexpected end of data\)\. Check the double quotes"),
    "stray quote": ("a.tsv", 'id\ttext\n1\t"a" b\n', "line 2: not CSV .*expected after"),
    "not parquet": ("a.parquet", b"PAR1 not at all PAR1", r"a\.parquet, row 0 \(from 0\): damaged Parquet .* Write"),
    "empty parquet": ("a.parquet", b"", "damaged Parquet"),
    "not arrow": ("a.arrow", b"ARROW1 not at all", r"a\.arrow, row 0 \(from 0\): damaged Arrow .* Write the"),
    "no stream": ("a.arrow", b"not at all", "damaged Arrow"),
    "empty arrow": ("a.feather", b"", r"a\.feather, row 0 \(from 0\): damaged Arrow"),
    "old feather": ("a.feather", b"FEA1 and more", r"a\.feather is Feather of version 1\. Write it again with"),
    "empty array": ("a.json", "[ ]", "there are no texts in"),
    "object": ("a.json", '{\n "texts": ["a"]\n}', r"neither a JSON array nor JSON lines\. Write an array of objects"),
    "object in a line": ("a.json", '{"texts": ["a"]}', r"line 1: 'text'; did you mean 'texts'\?"),
    "bad array": ("a.json", "[\n{a}]", r"row 0 \(from 0\): not JSON \(Expecting property name.*: line 2\)\. Write"),
    "deep array": ("a.json", "[" * 100_000, r"row 0 \(from 0\): not JSON .*recursion"),
    "array of numbers": ("a.json", "[1]", r"row 0 \(from 0\): the row is int 1\. Make it an object with the key"),
    "latin array": ("a.json", b'["\xff"]', "line 1: not UTF-8"),
}


@pytest.mark.parametrize(("name", "content", "message"), FIRST_ROW.values(), ids=FIRST_ROW)
def test_errors_in_the_first_row_are_raised_by_the_call(tmp_path, name, content, message):
    with pytest.raises(BadInput, match=message) as caught:
        read(save(tmp_path / name, content))
    assert str(tmp_path / name) in str(caught.value)


LATER_ROWS = {
    "latin": ("a.txt", b"\xef\xbb\xbfone\r\ntwo\ncaf\xe9\n", r"line 3: not UTF-8 \(byte 15, 0xe9\)"),
    "JSON after blanks": ("a.jsonl", '"a"\n\n\n{"text": "b"', "line 4: not JSON .*: column 13"),
    "id later gone": ("a.jsonl", '{"id": 1, "text": "a"}\n{"text": "b"}', "line 2: 'id'. There are: text"),
    "id later there": (
        "a.jsonl",
        '"a"\n{"text": "b", "id": "0"}',
        "line 2: the row has an id, and the first row has no",
    ),
    "cut JSON": ("a.jsonl", '"a"\n{"text":"b"\n', r"line 2: not JSON \(Expecting ',' delimiter: column 12\)"),
    "cut array": ("a.json", '["a"', r"a\.json, row 0 \(from 0\): not JSON \(no comma or bracket follows\)"),
    "array": ("a.json", '["a", "b" "c"]', r"row 1 \(from 0\): not JSON \(no comma or bracket follows\)"),
    "comma at the end": ("a.json", '["a",\n]', r"row 1 \(from 0\): not JSON \(Expecting value: line 2\)"),
    "two commas": ("a.json", '["a", , "b"]', r"row 1 \(from 0\): not JSON \(Expecting value: line 1\)"),
    "bad later": ("a.json", f'["{"b" * 99_999}",\n\n"a" \n, {{b}}]', r"row 2 \(from 0\): not JSON .*: line 4\)"),
    "latin later": ("a.json", b'["a",\n"' + b"b" * 99_999 + b'\xff"]', "line 2: not UTF-8 .byte 100006, 0xff"),
    "more arrays": ("a.json", '["a"] ["b"]', "more follows after the array. Write one array, or JSON lines"),
    "after newlines": ("a.csv", 'text,id\n"a\nb\nc",1\n\nd\n', "line 6: 1 fields"),
}


DAMAGE = {
    "latin csv": ("a.csv", b"text\na\ncaf\xe9\n", "line 3: not UTF-8"),
    "open quote": ("a.csv", b'text\na\n"b\n', "line 3: not CSV"),
    "cut zip": ("a.txt.gz", gzip.compress(b"".join(b"%d\n" % i for i in range(99_999)))[:-9], "cut short or damaged"),
}


@pytest.mark.parametrize(("name", "content", "message"), (LATER_ROWS | DAMAGE).values(), ids=LATER_ROWS | DAMAGE)
def test_errors_in_later_rows_name_the_line(tmp_path, name, content, message):
    stream = read(save(tmp_path / name, content))  # the first row is good
    with pytest.raises(BadInput, match=message):
        list(stream)


@pytest.mark.parametrize(("name", "content", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_to_the_whole_file_is_no_fault_of_a_row(tmp_path, name, content, message):
    with pytest.raises(BadInput, match=message):
        list(read_rows(save(tmp_path / name, content)))


@pytest.mark.parametrize("bad", [None, b"\xff"], ids=["null", "latin"])
def test_bad_rows_of_parquet(tmp_path, bad):
    column = pa.array([b"a"] * 1500 + [bad]).cast(pa.binary())
    strings = pa.Array.from_buffers(pa.string(), len(column), column.buffers())
    pq.write_table(pa.table({"text": strings}), tmp_path / "a.parquet")
    stream = read(tmp_path / "a.parquet")
    with pytest.raises(BadInput, match=r"row 1500 \(from 0\): (the text is null|damaged, or out .*utf-8)"):
        list(stream)


def test_parquet_that_is_cut_or_has_other_types(tmp_path):
    path = write(tmp_path / "a.parquet", ["a"] * 99)
    with pytest.raises(BadInput, match=r"There are: text\."):
        read(path, id_column="key")
    with pytest.raises(BadInput, match="damaged Parquet"):
        read(save(path, path.read_bytes()[:-20]))
    pq.write_table(pa.table({"text": [1, 2]}), path)
    with pytest.raises(BadInput, match=r"row 0 \(from 0\): the text is int 1, not a string"):
        read(path)
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    with pytest.raises(BadInput, match="there are no texts in"):
        read(path)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_missing_id_column_is_refused(tmp_path, suffix):
    with pytest.raises(UnknownName, match="'idd'; did you mean 'id'"):
        read(write(tmp_path / f"a{suffix}", ["a"], ids=["7"]), id_column="idd")


def test_plain_text_has_no_columns(tmp_path):
    path = save(tmp_path / "a.txt", "a")
    for source in (path, tmp_path, "-"):
        for option in ("columns", "id_column", "keep"):
            with pytest.raises(BadInput, match=r"is plain text and has no column 'id'\. Name none, or convert it to"):
                read(source, **{option: "id"}, stdin=io.BytesIO(b"a"))
    for keep in ("text", "all"):
        (row,) = read(path, keep=keep)
        assert (row, row.values) == (("0", "a"), ("a",))


def test_missing_files_and_folders(tmp_path, monkeypatch):
    save(tmp_path / "reviews.csv", "text\na\n")
    with pytest.raises(BadInput, match=r"revews\.csv; did you mean 'reviews\.csv'\? Check .* holds: reviews\.csv"):
        read(tmp_path / "revews.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"Check the path; this folder holds: reviews\.csv"):
        read("revews.csv")
    with pytest.raises(BadInput, match=r"Check the path; the folder .*none is missing too"):
        read(tmp_path / "none" / "a.txt")
    with pytest.raises(BadInput, match=r"cannot be read .*name too long"):
        read("a text and not a path " * 99)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"holds no texts: no \.txt, \.md, .* file and no shard; it contains: nothing\."):
        read(tmp_path / "empty")


def test_missing_permission_is_reported(tmp_path, monkeypatch):
    path = save(tmp_path / "a.txt", "a")

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied", "a.txt")

    monkeypatch.setattr(Path, "open", refuse)  # and not chmod, which does not stop root
    with pytest.raises(
        BadInput, match=r"a\.txt cannot be read .*Permission denied.* Check the path and its permissions"
    ):
        read(path)
    monkeypatch.setattr(shards.os, "scandir", refuse)
    with pytest.raises(BadInput, match=r"cannot be read .*Permission denied"):
        read(tmp_path)


# Faults of single rows.


ROWS = {
    "JSON": (
        "a.jsonl",
        '{"text": "a"}\nno JSON\n[1]\n{"text": null}\n{"txt": "b"}\n{"text": 5}\n\n"c"\n',
        [
            ("0", "a"),
            "line 2: not JSON (Expecting value",
            "line 3: the row is list [1]",
            "line 4: the text is null, not a string",
            "line 5: 'text'; did you mean 'txt'?",
            "line 6: the text is int 5, not a string",
            ("6", "c"),
        ],
    ),
    "ids": (
        "a.jsonl",
        '{"id": "x", "text": "a"}\n{"text": "b"}\n{"id": 1.5, "text": "c"}\n{"id": 7, "text": "d"}\n',
        [("x", "a"), "line 2: 'id'", "line 3: the id is float 1.5", ("7", "d")],
    ),
    "JSON, the first": ("a.jsonl", '{"text": null}\n{"text": "b"}\n', ["line 1: the text is null", ("1", "b")]),
    "no JSON, the first": ("a.jsonl", 'no\n{"text": "b"}\n', ["line 1: not JSON", ("1", "b")]),
    "csv": ("a.csv", "text,id\na,1\nb\nc,3,4\nd,4\n", [("1", "a"), "line 3: 1 fields", "line 4: 3 fields", ("4", "d")]),
    "surrogate": ("a.jsonl", '"a"\n"\\ud800"\n', [("0", "a"), "line 2: lone surrogate"]),
    "latin": ("a.txt", b"a\n\xff\nc\n", [("0", "a"), "line 2: not UTF-8 (byte 2, 0xff)", ("2", "c")]),
    "latin JSON": ("a.jsonl", b'"a"\n"\xff"\n"c"\n', [("0", "a"), "line 2: not UTF-8 (byte 5, 0xff)", ("2", "c")]),
}


@pytest.mark.parametrize(("name", "content", "expected"), ROWS.values(), ids=ROWS)
def test_a_bad_row_is_a_fault_in_its_place(tmp_path, name, content, expected):
    found = [row if isinstance(row, Text) else row.why for row in read_rows(save(tmp_path / name, content))]
    assert len(found) == len(expected)
    for one, wanted in zip(found, expected, strict=True):
        assert one == wanted if isinstance(wanted, tuple) else wanted in one


def test_bad_rows_of_parquet_are_faults(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", None, "c"], "id": ["x", "y", None]}), path)
    found = list(read_rows(path))
    assert found[0] == Text("x", "a")
    assert [row.why.removeprefix(f"{path}, ")[:30] for row in found[1:]] == [
        "row 1 (from 0): the text is nu",
        "row 2 (from 0): the id is null",
    ]


@pytest.mark.parametrize("first", [b'"\xff"', b'{"text": ', b"[1]"])
def test_the_first_usable_row_decides_whether_rows_have_ids(tmp_path, first):
    (tmp_path / "a.jsonl").write_bytes(first + b'\n{"id": "b", "text": "b"}\n{"id": "c", "text": "c"}\n')
    fault, *rest = read_rows(tmp_path / "a.jsonl")
    assert "line 1: " in fault.why
    assert rest == [Text("b", "b"), Text("c", "c")]


def test_a_file_in_a_folder_that_is_not_utf8_is_a_fault(tmp_path):
    for name, content in (("a.txt", b"a"), ("b.txt", b"one\n\xff"), ("c.txt", b"c")):
        (tmp_path / name).write_bytes(content)
    first, second, third = read_rows(tmp_path)
    assert (first, third) == (Text("a.txt", "a"), Text("c.txt", "c"))
    assert "b.txt, line 2: not UTF-8" in second.why


def test_links_to_folders_are_skipped_with_a_warning(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    (tmp_path / "out" / "b.txt").write_text("b")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "c.txt").symlink_to(tmp_path / "out" / "b.txt")
    with pytest.warns(CenoteWarning, match=r"links to folders are not followed: .*in.link"):
        assert list(read(tmp_path / "in")) == [Text("a.txt", "a"), Text("c.txt", "b")]


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as one, tempfile.TemporaryDirectory() as short:
        one.bind(f"{short}/s")  # an address has at most 104 characters on macOS
        Path(short, "s").rename(path)


ENDLESS = {
    "pipe": make_pipe,
    "socket": make_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to a pipe": lambda path: (os.mkfifo(path.parent / "pipe"), path.symlink_to(path.parent / "pipe")),
}
with_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices are no files here")


@with_pipes
@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("suffix", [".jsonl", ".txt", ".md", ".json", ".csv", ".parquet", ".arrow", ".txt.gz"])
def test_what_never_ends_is_refused_by_name(tmp_path, kind, suffix):
    path = tmp_path / f"a{suffix}"
    ENDLESS[kind](path)
    with pytest.raises(BadInput, match=rf"a{suffix} is a pipe, a socket or a device\. Pipe lines of text into `-`"):
        read(path)


@with_pipes
@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize(("suffix", "content"), [(".txt", "a pool"), (".jsonl", '"a pool"'), (".csv", "text\na pool")])
def test_what_never_ends_in_a_folder_is_left_out_and_said(tmp_path, kind, suffix, content):
    (tmp_path / f"b{suffix}").write_text(content)
    ENDLESS[kind](tmp_path / f"a{suffix}")
    for source in (tmp_path, str(tmp_path / f"*{suffix}")):
        with pytest.warns(CenoteWarning, match=rf"pipes, sockets and devices are not read: .*a{suffix}"):
            assert [row.text for row in read(source)] == ["a pool"]


@with_pipes
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".arrow"])
def test_a_file_of_a_dataset_that_never_ends_is_refused(tmp_path, suffix):
    os.mkfifo(tmp_path / f"a{suffix}")
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": f"a{suffix}"}]}))
    with pytest.raises(BadInput, match=rf"a{suffix} is a pipe, a socket or a device"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_a_link_to_nothing_in_a_folder_is_no_text_that_is_lost(tmp_path, suffix):
    (tmp_path / f"b{suffix}").write_text('"a pool"')
    (tmp_path / f"a{suffix}").symlink_to(tmp_path / "gone")
    with pytest.raises(BadInput, match=rf"a{suffix} cannot be read .*No such file"):
        list(read(tmp_path))


@pytest.mark.parametrize("row", ["{}", '{"txt": "a"}'])
def test_a_column_missing_in_the_first_row_raises(tmp_path, row):
    with pytest.raises(UnknownName, match="'text'"):
        read_rows(save(tmp_path / "a.jsonl", f'{row}\n{{"text": "b"}}\n'))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_json_lines_on_stdin_are_recognised_and_said(pack):
    content = pack(b'{"id": "x", "body": "a pool"}\n\n{"id": "y", "body": "a cave"}\nno JSON\n')
    with pytest.warns(CenoteWarning, match=r"standard input: lines are read as JSON, since the first one is"):
        first, second, fault = read_rows("-", columns="body", stdin=io.BytesIO(content))
    assert (first, second) == (Text("x", "a pool"), Text("y", "a cave"))
    assert "stdin, line 4: not JSON" in fault.why


@pytest.mark.parametrize("blank", ["\n", " \r\n\n\t\n", "\ufeff\n"], ids=ascii)
def test_json_lines_on_stdin_may_begin_with_blank_lines(blank):
    with pytest.warns(CenoteWarning, match="lines are read as JSON"):
        assert list(read("-", stdin=io.BytesIO(f'{blank}{{"text": "a"}}\n'.encode()))) == [Text("0", "a")]
    assert [text for _, text in read("-", stdin=io.BytesIO(b"\n\na\n"))] == ["", "", "a"]
    assert [text for _, text in read("-", stdin=io.BytesIO(b"\n" * 3000))] == [""] * 3000


@pytest.mark.parametrize(
    "content",
    [
        '[{"text": "a"},\n{"text": "b"}]',
        '\n[ "a", "b"]',
        '["a"]',
        '["a \\"b\\" [c]",\n"b"]',
        '["a"\n,"b"]',
        '[\n  "a"]',
        '[{\n"text": "a"}]',
        '{\n "text": "a"\n}',
    ],
)
def test_json_over_several_lines_on_stdin_is_refused(content):
    with pytest.raises(
        BadInput, match=r"standard input starts as a JSON array .*: '[\[{].*jq -c '\.\[\]'.*a \.txt file"
    ):
        read("-", stdin=io.BytesIO(content.encode()))


@pytest.mark.parametrize(
    "line", ["{a pool}", "5", '"a pool"', "[1]", '["I see," he said]', "[[Cave]] {", "[{a}]", "[]"]
)
def test_other_lines_on_stdin_are_plain_text(line):
    assert list(read("-", stdin=io.BytesIO(f"{line}\n".encode()))) == [Text("0", line)]


# A few bytes that unpack to many.

GROWTH = """
import resource, sys
from cenote.data.texts import Fault, Text, read_rows
import pyarrow.parquet

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

before, texts, faults = peak(), 0, 0
for row in read_rows(sys.argv[1]):
    texts, faults = texts + isinstance(row, Text), faults + isinstance(row, Fault)
print(texts, faults, peak() - before)
"""


def growth(path):
    """Return how many texts and faults a file has, and by how many MB a process grows that reads it."""
    done = subprocess.run([sys.executable, "-c", GROWTH, str(path)], capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


@posix
@pytest.mark.parametrize("suffix", [".txt.gz", ".jsonl.gz"])
def test_an_endless_line_is_a_fault_and_does_not_fill_the_memory(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'"a pool"\n')
        for _ in range(400):
            file.write(b" " * 2**20)
        file.write(b'\n"a cave"\n')
    assert path.stat().st_size < 4e6
    texts, faults, megabytes = growth(path)
    assert (texts, faults) == (2, 1)
    assert megabytes < 300  # the line has 400


def test_a_long_line_is_named_and_the_next_one_is_read():
    given = io.BytesIO(b"one\n" + b"x" * 30 + b"\n" + b"12345678\nend\n" + b"y" * 9 + b"\n\xe9")
    long, spoiled = (
        Fault("a.txt, line 2: longer than 9 bytes. Cut the text into several, or drop the line."),
        Fault("a.txt, line 5: longer than 9 bytes. Cut the text into several, or drop the line."),
    )
    found = list(lines(given, "a.txt", most=9))
    assert found[:-1] == [(1, "one\n"), (2, long), (3, "12345678\n"), (4, "end\n"), (5, spoiled)]
    assert "line 6: not UTF-8 (byte 58, 0xe9)" in found[-1][1].why


@posix
def test_a_long_file_of_one_text_is_a_fault(tmp_path):
    path = tmp_path / "a.md.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(400):
            file.write(b"x" * (2**20 - 1) + b"\n")
    with pytest.raises(BadInput, match=r"a\.md\.gz: longer than 67,108,864 characters\. Cut the text into several"):
        read(path)
    assert growth(path)[2] < 300


@posix
def test_a_long_value_that_is_repeated_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "a.parquet"
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 700, pa.int32()), pa.array(["a" * 4_000_000]))
    pq.write_table(pa.table({"text": values}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 1000
    texts, faults, megabytes = growth(path)
    assert (texts, faults) == (700, 0)
    assert megabytes < 1200  # the values have 2,800


@pytest.mark.parametrize(
    "options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}, {"compression": "gzip"}]
)
def test_the_size_of_a_dictionary_is_that_of_its_values(tmp_path, options):
    path = tmp_path / "a.parquet"
    values = [f"{place % 70:>300}" for place in range(1000)]
    pq.write_table(pa.table({"id": list(map(str, range(1000))), "text": values}), path, **options)
    chunk = pq.read_metadata(path).row_group(0).column(1)
    with path.open("rb") as raw:
        size = tables._size_of_dictionary(raw, chunk)
    assert size == (0 if options.get("use_dictionary") is False else 70 * (300 + 4))  # each with its length
    assert [row.text for row in read(path)] == values
