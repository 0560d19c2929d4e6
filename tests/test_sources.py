"""A table of sources and verbs: every verb reads the same texts from every source, with the same ids and vectors."""

import json

import numpy as np
import pytest

import cenote
from cenote.cli import main
from cenote.diagnosis import controls

from .sources import PATHS, ROWS, SOURCES, write_jsonl, write_shards

# No verb but `embed` and `mine_pairs` has options of columns in Python.
UNTITLED = [{name: cell for name, cell in row.items() if name != "title"} for row in ROWS]


@pytest.fixture(scope="module")
def model(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


def embed(model, source, folder):
    cenote.embed(model, source, folder / "vectors", columns=("title", "text"))
    found = cenote.read_embeddings(folder / "vectors")
    return found.ids, found[:].tobytes(), found["n_tokens"].tolist()


def diagnose(model, source, folder):
    found = cenote.diagnose(model, source, layers=False, sample=3)
    return found.texts.fingerprint, found.texts.given, found.models[0].runs


def audit(model, source, folder):
    found = cenote.audit(model, source, only=["pooling"], quick=True)
    return found.texts.fingerprint, found.texts.given


def parity(model, source, folder):
    found = cenote.parity(model, model, source, quick=True, sample=8)
    return found.agrees, found.compared, found.by_length


def compare(model, source, folder):
    return cenote.compare(model, unlabelled=source, poolings=["cls"], quick=True).cells


def mine_pairs(model, source, folder):
    return cenote.mine_pairs(source, ["title", "spans"], columns="text", words=(4, 8)).pairs


VERBS = [embed, diagnose, audit, parity, compare, mine_pairs]
TITLED = (embed, mine_pairs)


@pytest.fixture(scope="module", autouse=True)
def few_pairs_of_words():
    """Twenty pairs of repeated words take longer than all else of a diagnosis."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controls, "WORD_PAIRS", controls.WORD_PAIRS[:2])
        yield


@pytest.fixture(scope="module")
def expected(model, tmp_path_factory):
    """Return the result of each verb for a list of mappings."""
    return {
        verb: verb(model, ROWS if verb in TITLED else UNTITLED, tmp_path_factory.mktemp(verb.__name__))
        for verb in VERBS
    }


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_reads_the_same_from_every_source(verb, kind, model, expected, tmp_path):
    assert verb(model, SOURCES[kind](ROWS if verb in TITLED else UNTITLED, tmp_path), tmp_path) == expected[verb]


def test_vectors_are_those_of_the_joined_columns(model, expected):
    ids, vectors, _ = expected[embed]
    assert ids == [row["id"] for row in ROWS]
    own = model.encode([f"{row['title']} {row['text']}" for row in ROWS])
    np.testing.assert_allclose(np.frombuffer(vectors, np.float32).reshape(own.shape), own, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", PATHS)
def test_a_command_reads_the_same_from_every_path(kind, tiny_st, expected, tmp_path, capsys):
    source = str(PATHS[kind](ROWS, tmp_path))
    name = str(tiny_st("bert"))
    assert main(["embed", name, source, "-o", str(tmp_path / "out"), "--columns", "title,text", "--device", "cpu"]) == 0
    found = cenote.read_embeddings(tmp_path / "out")
    assert (found.ids, found[:].tobytes()) == expected[embed][:2]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]["source"] == source


def test_a_command_takes_several_files_as_a_shell_names_them(tiny_st, expected, tmp_path, capsys):
    paths = [str(path) for path in sorted(write_shards(ROWS, tmp_path).glob("part-*"))]
    name = str(tiny_st("bert"))
    for column in ("--columns", "--column"):
        call = ["pool", name, *paths, column, "title,text", "--device", "cpu"]
        assert main(call) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["id"] for line in lines] == expected[embed][0]
    vectors = np.array([line["embedding"] for line in lines], np.float32)
    wanted = np.frombuffer(expected[embed][1], np.float32).reshape(vectors.shape)
    np.testing.assert_allclose(vectors, wanted, rtol=0, atol=1e-5)


COMMANDS = {
    "pool": ["pool", "MODEL", "TEXTS"],
    "embed": ["embed", "MODEL", "TEXTS", "-o", "OUT"],
    "diagnose": ["diagnose", "MODEL", "TEXTS", "--no-layers", "--sample", "5"],
    "audit": ["audit", "MODEL", "TEXTS", "--only", "pooling"],
    "parity": ["parity", "MODEL", "MODEL", "TEXTS", "--quick", "--sample", "8"],
    "compare": ["compare", "MODEL", "--unlabelled", "TEXTS", "--poolings", "cls", "--quick"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_once_that_a_title_is_not_read(command, tiny_st, tmp_path, capsys):
    path = write_jsonl(ROWS, tmp_path / "a.jsonl")
    names = {"MODEL": str(tiny_st("bert")), "TEXTS": str(path), "OUT": str(tmp_path / "out")}
    assert main([names.get(part, part) for part in COMMANDS[command]]) == 0
    assert capsys.readouterr().err.count("the column 'title' is not part of the text") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_shards_of_different_columns_before_a_model_is_loaded(command, tmp_path, capsys):
    write_jsonl(UNTITLED, tmp_path / "a.jsonl")
    write_jsonl([{"text": "a pool"}], tmp_path / "b.jsonl")
    names = {"MODEL": "no/such-model", "TEXTS": str(tmp_path / "*.jsonl"), "OUT": str(tmp_path / "out")}
    assert main([names.get(part, part) for part in COMMANDS[command]]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'b.jsonl'} has no column 'id', which {tmp_path / 'a.jsonl'} has." in said
    assert not (tmp_path / "out").exists()


def test_repeated_ids_name_their_files(model, tmp_path):
    write_jsonl([{"id": "x", "text": "a"}], tmp_path / "a.jsonl")
    write_jsonl([{"id": "y", "text": "a"}, {"id": "x", "text": "b"}], tmp_path / "b.jsonl")
    with pytest.raises(
        cenote.errors.BadInput, match=r"rows 0 and 2 \(.*a\.jsonl and .*b\.jsonl\) have the same id 'x'"
    ):
        cenote.embed(model, tmp_path / "*.jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", [cenote.embed, cenote.diagnose, cenote.audit], ids=lambda verb: verb.__name__)
def test_a_text_in_place_of_a_path_is_refused_with_the_remedy(verb, model):
    with pytest.raises(cenote.errors.BadInput, match=r"no such file .* A single text is passed in a list: \[text\]"):
        verb(model, "A pool that a collapse made.")


def test_a_manifest_calls_a_list_texts(model, tmp_path):
    assert cenote.embed(model, ["a pool", "a cave"], tmp_path / "out").settings["source"] == "texts"


def test_reports_call_a_file_by_its_path(model, tmp_path):
    path = write_jsonl(UNTITLED, tmp_path / "a.jsonl")
    assert cenote.diagnose(model, path, layers=False, sample=5).texts.source == str(path)
    assert cenote.audit(model, path, only=["pooling"], quick=True).texts.source == str(path)
    assert cenote.diagnose(model, path, layers=False, sample=5, source="mine").texts.source == "mine"
