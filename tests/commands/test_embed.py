"""`cenote embed`: output, errors, interruption."""

import errno
import io
import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import cenote
from cenote.cli import Exit, main
from cenote.commands import embed as command
from cenote.embedding import embed as embedding
from cenote.embedding import parts

from ..folders import make_small_parts
from ..systems import posix

PLAIN = ["--device", "cpu", "--backend", "torch", "--precision", "float32"]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    make_small_parts(monkeypatch, 8)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "texts.jsonl"
    records = ({"id": f"i{row}", "text": f"A pool number {row}, " + "of water " * row} for row in range(20))
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="module")
def model(tiny_st):
    return str(tiny_st("bert"))


@pytest.fixture
def embed(model, corpus, tmp_path):
    """Return a function that runs the command on the corpus and returns its exit code."""

    def call(*options, of=model, texts=corpus, out=tmp_path / "out"):
        return main(["embed", of, str(texts), "-o", str(out), *PLAIN, *options])

    return call


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Output.


def test_the_demo_model_end_to_end(demo_path, demo, embed, corpus, tmp_path, capsys):
    assert embed(of="minilm") == Exit.SUCCESS
    shown, told = capsys.readouterr()
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
    lengths = [len(ids) for ids in demo.tokenizer(texts)["input_ids"]]
    assert shown.splitlines() == [
        f"20 texts, {sum(lengths)} tokens",
        "computed by torch at float32, written as float32",
        f"embeddings: {tmp_path / 'out'}",
    ]
    assert "cenote: embedding: 20" in told.splitlines()
    found = cenote.read_embeddings(tmp_path / "out")
    np.testing.assert_allclose(found[:], demo.encode(texts), atol=1e-6)
    assert found.ids == [f"i{row}" for row in range(20)]
    assert found["n_tokens"].tolist() == lengths


def test_tokens_read_are_told_apart_from_those_that_the_texts_have(embed, tmp_path, capsys):
    assert embed("--max-seq-length", "16") == Exit.SUCCESS
    found = cenote.read_embeddings(tmp_path / "out")
    tokens, read = found["n_tokens"].sum(), found["n_tokens"].clip(max=16).sum()
    assert capsys.readouterr().out.splitlines()[0] == f"20 texts, {tokens} tokens, of which {read} were read"
    assert embed("--max-seq-length", "16", "--long", "windows", out=tmp_path / "windows") == Exit.SUCCESS
    windows = cenote.read_embeddings(tmp_path / "windows")
    line = f"20 texts in {len(windows)} windows, {tokens} tokens, read as {windows['n_tokens'].sum()} in windows"
    assert capsys.readouterr().out.splitlines()[0] == line


def test_columns_are_kept_and_the_first_rows_are_embedded_alone(embed, corpus, tmp_path):
    records = [json.loads(line) | {"title": f"Pool {row}"} for row, line in enumerate(corpus.read_text().splitlines())]
    corpus.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert embed("--keep", "title", "--limit", "11") == Exit.SUCCESS
    found = cenote.read_embeddings(tmp_path / "out")
    assert (len(found), found["title"].tolist()) == (11, [f"Pool {row}" for row in range(11)])
    assert embed("--keep", "all", "--columns", "title,text", out=tmp_path / "all") == Exit.SUCCESS
    assert cenote.read_embeddings(tmp_path / "all").columns == ["id", "text", "title", "n_tokens", "truncated"]


def test_a_pooling_and_a_temperature_are_those_of_load(embed, model, tmp_path, corpus, capsys):
    assert embed("--pooling", "max,mean", "--temperature", "0.5") == Exit.SUCCESS
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
    expected = cenote.load(model, device="cpu", pooling=("max", "mean"), temperature=0.5).encode(texts)
    np.testing.assert_allclose(cenote.read_embeddings(tmp_path / "out")[:], expected, atol=1e-5)
    capsys.readouterr()
    assert embed("--pooling", "mean", "--temperature", "0.5") == Exit.FAILURE
    assert "pooling is 'max+mean' in the folder and 'mean' now. Name another folder" in capsys.readouterr().err
    assert embed("--pooling", "max,mean", "--temperature", "0.25") == Exit.FAILURE
    assert "temperature is 0.5 in the folder and 0.25 now. Name another folder" in capsys.readouterr().err


def test_json_prints_the_manifest_alone(embed, tmp_path, capsys):
    assert embed("--json") == Exit.SUCCESS
    shown = capsys.readouterr().out
    assert shown == (tmp_path / "out" / "manifest.json").read_text("utf-8")
    assert json.loads(shown)["counts"]["texts"] == 20


def test_truncated_rejected_and_split_texts_are_counted(embed, corpus, tmp_path, capsys):
    with corpus.open("a") as file:
        file.write(json.dumps({"id": "long", "text": "of water " * 400}) + '\n{"id": "n", "text": null}\n')
    assert embed("--on-error", "skip") == Exit.SUCCESS
    shown, told = capsys.readouterr()
    assert shown.splitlines()[0].startswith("21 texts, ")
    assert f"left out: 1 row, see {tmp_path / 'out'}/rejects.jsonl" in shown
    assert told.index("leaving out 1 of 22 rows") < told.index("embedding: 22")
    assert told.count("cenote: warning: 1 text is longer than the 256 tokens that the model reads") == 1
    assert embed("--on-error", "skip", "--long", "windows", "--overlap", "0", out=tmp_path / "windows") == Exit.SUCCESS
    shown, told = capsys.readouterr()
    rows = len(cenote.read_embeddings(tmp_path / "windows"))
    assert f"21 texts in {rows} windows, " in shown
    assert rows > 21
    assert "longer than" not in told


def test_standard_input_is_embedded_and_checked_when_a_run_is_continued(embed, tmp_path, monkeypatch, capsys):
    data = b"a pool\na cave\n" * 10
    for folder in ("one", "two"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert embed(texts="-", out=tmp_path / folder) == Exit.SUCCESS
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert cenote.read_embeddings(tmp_path / "one").ids == [str(row) for row in range(20)]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a pool\n" * 20)))
    assert embed(texts="-", out=tmp_path / "one") == Exit.FAILURE
    assert "rows 0 to 7 are not those that" in capsys.readouterr().err
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_the_log_names_the_chosen_backend_and_its_agreement(embed, monkeypatch, capsys):
    monkeypatch.setattr(embedding, "WORTH_CHOOSING", 10)
    assert embed("--backend", "auto") == Exit.SUCCESS  # at float32, since not every CPU computes in bfloat16
    lines = capsys.readouterr().err.splitlines()
    chosen = [line for line in lines if line.startswith("cenote: embedding with ")]
    assert len(chosen) == 1
    assert lines.index(chosen[0]) < lines.index("cenote: embedding: 20")
    assert any("tokens a second, least cosine with float32 1.000000" in line for line in lines)
    (estimate,) = (line for line in lines if line.startswith("cenote: 20 texts, about "))
    assert estimate.endswith(" tokens: about 10 s")
    assert lines.index(chosen[0]) < lines.index(estimate) < lines.index("cenote: embedding: 20")


# Errors.


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text": 5}\n', "line 2: the text is int 5, not a string"),
        ("c.jsonl", b'{"text": "a", "id": 1}\n{"text": "b", "id": 1}\n', "rows 0 and 1 have the same id '1'"),
        ("d.jsonl", b'{"text": "a"}\n{"txt": "b"}\n', "line 2: 'text'; did you mean 'txt'?"),
        ("e.txt.gz", b"\x1f\x8b\x08\x00\x00\x00", "the gzip data is cut short or damaged"),
        ("f.parquet", b"PAR1", "damaged Parquet"),
    ],
)
def test_bad_texts_are_refused_before_the_model_is_loaded(embed, tmp_path, name, data, message, monkeypatch, capsys):
    monkeypatch.setattr("cenote.models.loading.load", lambda *_, **__: pytest.fail("the model was loaded"))
    (tmp_path / name).write_bytes(data)
    assert embed(texts=tmp_path / name) in (Exit.FAILURE, Exit.USAGE)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_texts_leave_an_earlier_output_unchanged(embed, corpus, tmp_path, capsys):
    assert embed() == Exit.SUCCESS
    before = content(tmp_path / "out")
    with corpus.open("a") as file:
        file.write("no JSON\n")
    assert embed() == Exit.FAILURE
    assert "line 21: not JSON" in capsys.readouterr().err
    assert embed("--on-error", "skip") == Exit.FAILURE
    told = capsys.readouterr().err
    assert "texts is 20 in the folder and 21 now" in told
    assert content(tmp_path / "out") == before


def test_a_model_that_needs_remote_code_is_refused_and_the_folder_is_not_made(embed, copy_of, tmp_path, capsys):
    folder = copy_of("bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "theirs.Model", "AutoConfig": "theirs.Config"}, "model_type": "theirs"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text("raise SystemExit('their code was run')")
    assert embed(of=str(folder)) == Exit.FAILURE
    told = capsys.readouterr().err
    assert "cenote: error: " in told
    assert "brings its own code: pass trust_remote_code" in told
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line_and_the_run_can_be_continued(embed, tmp_path, monkeypatch, capsys):
    assert embed(out=tmp_path / "clean") == Exit.SUCCESS
    capsys.readouterr()
    write_groups, written = parts.write_groups, []

    def full(*given, **options):
        written.append(given)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_groups(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(parts, "write_groups", full)
        assert embed() == Exit.FAILURE
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("cenote: error: no space left to write ")
    assert "part-00002.parquet. Files that are already written are complete: make room, and run the same" in told
    assert len(list((tmp_path / "out").glob("part-*"))) == 2
    assert embed() == Exit.SUCCESS
    assert content(tmp_path / "out") == content(tmp_path / "clean")


# Interruption.


@pytest.mark.parametrize(
    ("number", "options", "same"),
    [
        (signal.SIGINT, [], "the same command"),
        (signal.SIGTERM, [], "the same command"),
        (signal.SIGINT, ["--restart"], "the same command without --restart"),
    ],
)
def test_the_first_signal_lets_the_part_be_finished(embed, tmp_path, monkeypatch, capsys, number, options, same):
    assert embed(out=tmp_path / "clean") == Exit.SUCCESS
    capsys.readouterr()
    read, handler = embedding.SliceEncoder.read, signal.getsignal(number)

    def interrupted(self, *given):
        signal.raise_signal(number)
        return read(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(embedding.SliceEncoder, "read", interrupted)
        assert embed(*options) == Exit.INTERRUPTED
    assert signal.getsignal(number) is handler
    told = capsys.readouterr().err.splitlines()
    assert told[-4:] == [
        "cenote: warning: stopping after this part: 8 more texts; press again to stop at once and lose the part.",
        "cenote: stopped: 8 texts are kept",
        f"cenote: warning: stopped; the parts in {tmp_path / 'out'} are complete, and {same} continues from there.",
        "cenote: interrupted",
    ]
    assert sorted(content(tmp_path / "out")) == ["manifest.json", "part-00000.parquet"]
    assert embed() == Exit.SUCCESS
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def test_the_first_signal_says_how_long_the_part_takes(embed, monkeypatch, capsys):
    """On a clock of 10 seconds a text: the first part is read, and 4 of the 8 texts of the second."""
    seconds = {"now": 0.0}
    monkeypatch.setattr("cenote.commands.embed.time", SimpleNamespace(monotonic=lambda: seconds["now"]))
    report = command._Interruption.reach

    def reach(self, done):
        for reached in range(self.pace.done + 1 if self.pace else 0, done + 1):  # text by text
            seconds["now"] = 10.0 * reached
            report(self, reached)
            if reached == 12:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(command._Interruption, "reach", reach)
    assert embed() == Exit.INTERRUPTED
    told = capsys.readouterr().err
    assert "stopping after this part: 4 more texts, about 40 s; press again to stop at once" in told
    assert "stopped: 16 texts are kept" in told


def test_where_parts_are_written_elsewhere_their_size_is_said():
    interruption = command._Interruption()
    interruption.reach(0)
    assert interruption._rest(interruption.pace) == " of up to 8 texts"


def test_the_second_signal_ends_the_run_at_once(embed, tmp_path, monkeypatch, capsys):
    def interrupted(self, *given):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")

    with monkeypatch.context() as patch:
        patch.setattr(embedding.SliceEncoder, "read", interrupted)
        assert embed() == Exit.INTERRUPTED
    assert "the same command continues from there" in capsys.readouterr().err
    assert sorted(content(tmp_path / "out")) == ["manifest.json"]
    assert embed() == Exit.SUCCESS


def test_a_signal_before_any_part_ends_the_run_at_once(embed, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")

    monkeypatch.setattr(embedding, "survey", interrupted)
    assert embed() == Exit.INTERRUPTED
    assert capsys.readouterr().err.splitlines()[-1] == "cenote: interrupted"
    assert not (tmp_path / "out").exists()


@posix
def test_an_interrupted_process_holds_the_lock_until_it_ends(model, corpus, tmp_path):
    """In a process of its own, which has the handler of the signal, while this one meets its lock."""
    script = (
        "import sys, time, cenote.cli, cenote.embedding.embed, cenote.embedding.corpus\n"
        "cenote.embedding.embed.PART_TEXTS = cenote.embedding.corpus.PART_TEXTS = 8\n"
        "read = cenote.embedding.embed.SliceEncoder.read\n"
        "def slow(*given):\n"
        "    print('reading', flush=True); sys.stdin.readline(); return read(*given)\n"
        "cenote.embedding.embed.SliceEncoder.read = slow\n"
        "sys.exit(cenote.cli.main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "embed", model, str(corpus), "-o", str(tmp_path / "out"), *PLAIN]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "reading\n"
        assert main(command[3:]) == Exit.FAILURE
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline()
        told = process.communicate("\n\n", timeout=60)[1]
    assert process.returncode == Exit.INTERRUPTED
    assert "the same command continues from there" in told
    assert len(list((tmp_path / "out").glob("part-*"))) == 1
    assert main(command[3:]) == Exit.SUCCESS
    assert main(["embed", model, str(corpus), "-o", str(tmp_path / "clean"), *PLAIN]) == Exit.SUCCESS
    assert content(tmp_path / "out") == content(tmp_path / "clean")
