"""`cenote search`: what it prints, and errors."""

import datetime
import importlib.util
import io
import json
import shutil

import pytest

import cenote
from cenote.cli import Exit, main

TEXTS = [("pool", "the pool"), ("cave", "the deep cave holds light"), ("three", "one two three")]


@pytest.fixture(scope="module")
def model(tiny_st):
    return str(tiny_st("bert"))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "out"
    cenote.embed(model, TEXTS, folder)
    return str(folder)


@pytest.fixture(scope="module")
def kept(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "out"
    rows = [{"id": name, "title": f"About {name}", "text": text} for name, text in TEXTS]
    cenote.embed(model, rows, folder, columns="text", keep=("title", "text"))
    return str(folder)


def test_texts_are_listed_best_first(folder, capsys):
    assert main(["search", folder, "deep cave", "--device", "cpu"]) == Exit.SUCCESS
    hits = cenote.search(folder, "deep cave")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f" {place}  {hit.score:.3f}  {hit.id}" for place, hit in enumerate(hits, 1)]


def test_short_columns_that_were_kept_stand_beside_the_id(model, tmp_path, capsys):
    row = {"id": "a", "text": "a deep pool", "label": "water", "votes": 3, "note": "long " * 20, "copy": "deep pool"}
    cenote.embed(model, [row], tmp_path / "out", columns="text", keep=("text", "label", "votes", "note", "copy"))
    assert main(["search", str(tmp_path / "out"), "pool", "--model", str(model)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith("a  label: water  votes: 3")


def test_where_no_words_are_kept_the_option_that_keeps_them_is_named(folder, model, tmp_path, capsys):
    assert main(["search", folder, "deep cave"]) == Exit.SUCCESS
    assert f"not kept in {folder}: cenote embed --keep text keeps them." in capsys.readouterr().err
    other = str(tmp_path / "out")
    cenote.embed(model, [{"title": "cave", "body": "deep"}], other, columns=("title", "body"), keep="title")
    assert main(["search", other, "deep cave"]) == Exit.SUCCESS
    assert "cenote embed --keep title,body keeps them." in capsys.readouterr().err


def test_words_that_were_kept_are_shown(kept, capsys):
    assert main(["search", kept, "deep cave", "--top", "1"]) == Exit.SUCCESS
    (hit,) = cenote.search(kept, "deep cave", top=1)
    first, words = capsys.readouterr().out.splitlines()
    assert first == f" 1  {hit.score:.3f}  {hit.id}  About {hit.id}"
    assert words.strip() == hit.text == dict(TEXTS)[hit.id]


@pytest.mark.parametrize(
    ("title", "shown"), [("deep cave", "water"), ("deep", "cave water"), ("dee", "deep cave water")], ids=len
)
def test_a_title_that_is_part_of_the_text_is_shown_once(title, shown, model, tmp_path, capsys):
    row = {"id": "a", "title": title, "text": "deep cave water"}
    cenote.embed(model, [row], tmp_path / "out", columns="text", keep=("title", "text"))
    assert main(["search", str(tmp_path / "out"), "deep water"]) == Exit.SUCCESS
    first, words = capsys.readouterr().out.splitlines()
    assert first.endswith(f"  a  {title}")
    assert words.strip() == shown


def test_json_has_a_text_once(kept, capsys):
    assert main(["search", kept, "deep cave", "--top", "1", "--json"]) == Exit.SUCCESS
    (hit,) = json.loads(capsys.readouterr().out)["answers"][0]["hits"]
    assert hit["text"] == dict(TEXTS)[hit["id"]]
    assert hit["kept"] == {"title": f"About {hit['id']}"}


def test_long_words_are_shown_in_part(model, tmp_path, capsys):
    text = "deep light in the cave, " * 40
    cenote.embed(model, [{"id": "a", "text": text}], tmp_path / "out", keep="text", long="windows", window=100)
    assert main(["search", str(tmp_path / "out"), "deep"]) == Exit.SUCCESS
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert "characters" in lines[0]
    assert lines[-1].endswith(" ...")
    assert main(["search", str(tmp_path / "out"), "deep", "--full"]) == Exit.SUCCESS
    (hit,) = cenote.search(tmp_path / "out", "deep")
    assert hit.text == text[hit.start : hit.end]
    assert " ".join(capsys.readouterr().out.split()[7:]) == hit.text.strip()


def test_the_lines_with_most_words_of_the_question_are_shown(model, tmp_path, capsys):
    text = "the stone, the stone " * 25 + "the deep cave water. " + "the light " * 40
    cenote.embed(model, [{"id": "a", "text": text}], tmp_path / "out", keep="text")
    assert main(["search", str(tmp_path / "out"), "is the deep water in a cave?"]) == Exit.SUCCESS
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 4
    shown = " ".join(line.strip() for line in lines)
    assert "the deep cave water." in shown
    assert shown.startswith("... ")
    assert shown.endswith(" ...")


def test_words_without_quotes_are_many_questions_and_it_says_so(folder, capsys):
    assert main(["search", folder, "deep", "cave", "--top", "1"]) == Exit.SUCCESS
    assert "asking 2 questions of one word each: put a question of several words in quotes." in capsys.readouterr().err


def test_several_questions_and_json(folder, capsys, monkeypatch):
    assert main(["search", folder, "deep cave", "one", "--top", "2", "--json"]) == Exit.SUCCESS
    found = json.loads(capsys.readouterr().out)
    assert [answer["query"] for answer in found["answers"]] == ["deep cave", "one"]
    expected = cenote.search(folder, ["deep cave", "one"], top=2)
    assert [answer["hits"] for answer in found["answers"]] == [[vars(hit) for hit in hits] for hits in expected]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"deep cave\none\n")))
    assert main(["search", folder, "-", "--top", "2", "--json"]) == Exit.SUCCESS
    assert json.loads(capsys.readouterr().out) == found


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([""], Exit.USAGE, "a question is empty"),
        (["deep", "--top", "0"], Exit.USAGE, "0 is not at least 1"),
        (["deep", "--prompt", "no"], Exit.USAGE, "unknown prompt"),
        (["-", "deep"], Exit.USAGE, "- stands for standard input and goes with no other question"),
    ],
)
def test_bad_arguments(folder, arguments, code, message, capsys):
    try:
        found = main(["search", folder, *arguments])
    except SystemExit as exit:
        found = exit.code
    assert found == code
    assert message in capsys.readouterr().err


def test_an_empty_line_of_standard_input_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"deep\none\n\n")))
    assert main(["search", folder, "-"]) == Exit.USAGE
    assert "line 3 of standard input is empty" in capsys.readouterr().err


def test_a_question_that_is_not_utf_8_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"deep\ncaf\xe9\n")))
    assert main(["search", folder, "-"]) == Exit.FAILURE
    assert "standard input, line 2: not UTF-8 (byte 8, 0xe9)" in capsys.readouterr().err


def test_kept_values_are_json(model, tmp_path, capsys):
    row = {
        "id": "a",
        "text": "deep",
        "nan": float("nan"),
        "far": [1.0, float("inf")],
        "raw": b"\xff",
        "day": datetime.date(1984, 1, 2),
    }
    cenote.embed(model, [row], tmp_path / "out", keep=("nan", "far", "raw", "day"))
    assert main(["search", str(tmp_path / "out"), "deep", "--json"]) == Exit.SUCCESS
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    kept = found["answers"][0]["hits"][0]["kept"]
    assert kept == {"nan": None, "far": [1.0, None], "raw": "/w==", "day": "1984-01-02"}


def test_faiss_is_looked_for_before_a_model_is_loaded(folder, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "faiss" else find(name))
    monkeypatch.setattr("cenote.commands.search.load_model", lambda *_, **__: pytest.fail("loaded"))
    assert main(["search", folder, "deep", "--index", "HNSW32"]) == Exit.FAILURE
    assert "--index HNSW32: it needs faiss, which is missing" in capsys.readouterr().err


def test_a_model_that_was_moved(model, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "model")
    cenote.embed(str(tmp_path / "model"), TEXTS, tmp_path / "out")
    (tmp_path / "model").rename(tmp_path / "moved")
    asked = ["search", str(tmp_path / "out"), "deep", "--prompt", "query"]
    assert main(asked) == Exit.FAILURE
    assert "If it was moved, name its place (model, --model)" in capsys.readouterr().err
    assert main([*asked, "--model", str(tmp_path / "moved")]) == Exit.SUCCESS


def test_a_folder_that_is_none(tmp_path, capsys):
    assert main(["search", str(tmp_path), "deep"]) == Exit.FAILURE
    assert "is not an output of embed" in capsys.readouterr().err


def test_another_model(folder, tiny_st, capsys):
    assert main(["search", folder, "deep", "--model", str(tiny_st("roberta"))]) == Exit.FAILURE
    assert "was embedded with the model" in capsys.readouterr().err
