"""`cenote pairs`: what it passes on, its lines, its refusals."""

import json

import pytest

from cenote.cli import Exit, main
from cenote.commands import pairs
from cenote.training.mining import mine_pairs

from ..bags import WORDS

TEXTS = [" ".join(f"This is sentence {number} of text {name}." for number in range(9)) for name in "abcd"]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = [{"title": f"Text {place}", "text": text} for place, text in enumerate(TEXTS)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*rows, {"title": "", "text": TEXTS[0]}]))
    return path


@pytest.fixture
def draw(corpus, tmp_path):
    """Run the command; the pairs are in pairs.jsonl."""
    return lambda *options, out="pairs.jsonl": main(["pairs", str(corpus), "-o", str(tmp_path / out), *options])


def test_pairs_are_written_and_counts_printed(draw, tmp_path, capsys):
    assert draw("--way", "title") == Exit.SUCCESS
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "pairs                  4",
        "texts read             5",
        "texts without a title  1",
        f"pairs: {tmp_path / 'pairs.jsonl'}",
    ]
    assert told.err.splitlines() == ["cenote: reading texts"]
    lines = (tmp_path / "pairs.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"query": "Text 0", "positive": TEXTS[0]}


def test_options_that_give_more_are_named_where_pairs_are_few(tmp_path, capsys):
    path = tmp_path / "corpus.jsonl"
    rows = [TEXTS[0], *(f"A text of {number} words that is short for two spans." for number in range(11))]
    path.write_text("".join(f"{json.dumps({'text': text})}\n" for text in rows))
    assert main(["pairs", str(path), "-o", str(tmp_path / "pairs.jsonl")]) == Exit.SUCCESS
    said = capsys.readouterr().out.splitlines()
    assert said[-2] == "few pairs for 12 texts: more come of smaller --words or a larger --per-text or another --way"


def test_json(draw, tmp_path, capsys):
    assert draw("--way", "title", "--json") == Exit.SUCCESS
    printed = json.loads(capsys.readouterr().out)
    assert (printed["output"], printed["ways"]) == (str(tmp_path / "pairs.jsonl"), ["title"])
    assert (printed["counts"]["pairs"], printed["counts"]["no_title"], printed["counts"]["repeated"]) == (4, 1, 0)


def test_positives_that_the_model_cuts_are_reported(corpus, short_folder, tmp_path, capsys):
    """The model reads 40 tokens; a text has nine sentences of six words."""
    out = str(tmp_path / "pairs.jsonl")
    negatives = ["--negatives", "1", "--model", str(short_folder), "--margin", "0"]
    main(["pairs", str(corpus), "-o", out, "--way", "title", *negatives])
    said = capsys.readouterr().err
    assert "4 of 4 positives are longer than the 40 tokens that the model reads: their ends were not compared." in said


def test_options_are_passed_on(draw, monkeypatch, corpus, tmp_path):
    given = {}

    def fake(*arguments, **options):
        given.update(options, corpus=arguments[0], ways=arguments[1])
        return mine_pairs(arguments[0], "title", output=options["output"])

    monkeypatch.setattr(pairs, "mine_pairs", fake)
    assert draw() == Exit.SUCCESS
    assert given["ways"] == ["spans"]
    assert not {"words", "keep", "title_column", "range_min", "margin"} & given.keys()  # those of the function
    drawing = [
        "--way",
        "title, spans,sentence",
        "--words",
        "3,5",
        "--keep",
        "0.5",
        "--per-text",
        "2",
        "--min-words",
        "4",
    ]
    columns = ["--column", "text", "--title-column", "title", "--id-column", "title", "--limit", "7", "--seed", "9"]
    negatives = ["--negatives", "2", "--model", "minilm", "--range-min", "3", "--margin", "0.2", "--device", "cpu"]
    pytest.importorskip("datasets", reason="negatives need datasets: pip install 'cenote[train]'")
    monkeypatch.setattr(pairs, "refuse_missing", lambda model: None)
    assert draw(*drawing, *columns, *negatives) == Exit.SUCCESS
    assert {name: given[name] for name in given if name not in ("progress", "notify", "loader")} == {
        "corpus": str(corpus),
        "ways": ["title", "spans", "sentence"],
        "output": str(tmp_path / "pairs.jsonl"),
        "columns": ("text",),
        "title_column": "title",
        "id_column": "title",
        "words": [3, 5],
        "keep": 0.5,
        "per_text": 2,
        "min_words": 4,
        "limit": 7,
        "negatives": 2,
        "model": "minilm",
        "range_min": 3,
        "margin": 0.2,
        "seed": 9,
    }


def test_negatives_are_found(bag_folder, tmp_path, capsys):
    pytest.importorskip("datasets", reason="negatives need datasets: pip install 'cenote[train]'")
    corpus, output = tmp_path / "corpus.csv", tmp_path / "pairs.jsonl"
    texts = [" ".join(WORDS[place : place + 12]) for place in range(0, 60, 6)]
    corpus.write_text("".join(["title,text\n", *(f"{text.split()[5]},{text}\n" for text in texts)]))
    arguments = ["--way", "title", "--negatives", "2", "--model", bag_folder, "--margin", "0"]
    assert main(["pairs", str(corpus), "-o", str(output), *arguments]) == Exit.SUCCESS
    told = capsys.readouterr()
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    few = len(texts) - len(lines)
    assert told.out.splitlines()[0].split() == ["pairs", str(len(lines))]
    assert (f"{few} pair" in told.err) == (few > 0)
    for line in lines:
        assert len(set(line["negatives"])) == 2
        assert set(line["negatives"]) < set(texts) - {line["positive"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--way", "tilte"], "unknown way 'tilte'; did you mean 'title'"),
        (["--way", "title,"], "'title,' has an empty part"),
        (["--way", "title", "--words", "3,5"], "--words is for pairs by spans: add --way spans"),
        (["--keep", "0.5"], "--keep is for pairs by sentence"),
        (["--title-column", "name"], "--title-column is for pairs by title"),
        (["--way", "title", "--title-column", "titel"], "'titel'; did you mean 'title'"),
        (["--words", "5"], "words=[5]: pass the fewest and the most words of a span"),
        (["--words", "5,3"], "words=5,3: the first number is the fewest"),
        (["--words", "0,3"], "0 is not at least 1"),
        (["--way", "sentence", "--keep", "2"], "keep=2.0: pass a number from 0 to 1"),
        (["--per-text", "0"], "0 is not at least 1"),
        (["--limit", "0"], "0 is not at least 1"),
        (["--negatives", "0"], "0 is not at least 1"),
        (["--negatives", "2"], "negatives=2 needs a model"),
        (["--model", "minilm"], "a model is given, which only finds negatives"),
        (["--range-min", "0"], "--range-min is for hard negatives: add --negatives and --model"),
        (["--trust-remote-code"], "--trust-remote-code is for hard negatives"),
    ],
)
def test_wrong_use(draw, tmp_path, capsys, options, message):
    try:
        code = draw(*options)
    except SystemExit as end:  # of argparse
        code = end.code
    assert code == Exit.USAGE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "pairs.jsonl").exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("pairs.txt", "name a file that ends in .jsonl, .jsonl.gz or .parquet"),
        ("missing/pairs.jsonl", "there is no folder"),
        ("corpus.jsonl", "is an input and would be overwritten"),
    ],
)
def test_bad_output(draw, corpus, capsys, out, message):
    before = corpus.read_bytes()
    assert draw(out=out) == Exit.FAILURE
    assert message in capsys.readouterr().err
    assert corpus.read_bytes() == before


def test_a_missing_model_is_refused_before_texts_are_read(draw, capsys):
    pytest.importorskip("datasets", reason="negatives need datasets: pip install 'cenote[train]'")
    assert draw("--negatives", "1", "--model", "./no-such-model") == Exit.FAILURE
    told = capsys.readouterr().err
    assert "no such folder: './no-such-model'" in told
    assert "reading texts" not in told
