"""The folder of `embed`, and its manifest: files that a run writes, finds, and must not touch; locks; the disk."""

import errno
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from cenote.embedding import folder as outputs
from cenote.embedding import parts
from cenote.embedding.corpus import Slice
from cenote.embedding.folder import REJECTS, missing_parts, opened
from cenote.embedding.manifest import MANIFEST, manifest_of, refuse_unfit
from cenote.embedding.parts import Part, write_part
from cenote.errors import BadInput, CenoteError, CenoteWarning
from cenote.records import Manifest

SETTINGS = {"model": "m", "fingerprint": "f0", "source": "a.txt", "texts_fingerprint": "t0", "dtype": "float32"}
VERSIONS = {"torch": "2.0"}


def table(first, rows, width=4):
    numbers = pa.array(np.arange(first * width, (first + rows) * width, dtype=np.float32))
    vectors = pa.FixedSizeListArray.from_arrays(numbers, width)
    return pa.table({"id": [f"i{row}" for row in range(first, first + rows)], "embedding": vectors})


def part(index, rejected=0, rows=3):
    return Part(index, index * rows, rows, rows - rejected, f"p{index}", 1, 10, rejected)


def run(folder, parts=2, *, settings=SETTINGS, versions=VERSIONS, restart=False):
    with opened(folder, settings, versions, restart=restart) as out:
        for index in range(parts):
            if index not in out.done:
                out.write(part(index), table(index * 3, 3))
        return out.finish()


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "out"


# What a run writes.


def test_a_run_writes_parts_and_a_manifest_and_nothing_else(folder):
    manifest = run(folder)
    assert sorted(content(folder)) == [MANIFEST, "part-00000.parquet", "part-00001.parquet"]
    assert manifest == manifest_of(folder)
    assert manifest.complete
    assert (manifest.schema, manifest.settings, manifest.versions) == (Manifest.SCHEMA, SETTINGS, VERSIONS)
    counts = manifest.counts
    assert (counts.texts, counts.rows, counts.truncated, counts.tokens) == (6, (3, 3), 2, 20)
    assert parquet.read_table(folder / "part-00001.parquet").equals(table(3, 3))


def test_two_runs_write_the_same_bytes(folder, tmp_path):
    run(folder)
    run(tmp_path / "other")
    assert content(folder) == content(tmp_path / "other")


def test_a_folder_is_not_complete_until_it_is_finished(folder):
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        out.write(part(0), table(0, 3))
        assert not manifest_of(folder).complete
        assert manifest_of(folder).counts is None


def test_row_groups_are_small_and_vectors_are_not_compressed(folder):
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        out.write(part(0), table(0, 2500))
    found = parquet.read_metadata(folder / "part-00000.parquet")
    assert [found.row_group(at).num_rows for at in range(found.num_row_groups)] == [1024, 1024, 452]
    kinds = {found.row_group(0).column(at).path_in_schema: found.row_group(0).column(at) for at in range(2)}
    assert kinds["id"].compression == "ZSTD"
    assert kinds["embedding.list.element"].compression == "UNCOMPRESSED"
    assert not kinds["embedding.list.element"].is_stats_set


def test_rejected_rows_are_listed_in_their_order(folder):
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        out.write(part(1, 1), table(2, 2), [{"row": 4, "id": "é", "why": "null"}])
        out.write(part(0, 1), table(0, 2), [{"row": 1, "why": "two\nlines"}])
        out.write(part(2), table(4, 3))
        assert out.finish().counts.rejected == 2
    lines = (folder / REJECTS).read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"row": 1, "why": "two\nlines"},
        {"row": 4, "id": "é", "why": "null"},
    ]


def test_rejected_rows_are_not_kept_in_memory_and_are_listed_whole_or_not_at_all(folder, monkeypatch):
    why = "x" * 1000
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        for index in range(16):
            out.write(part(index, 1000, rows=1000), table(0, 0), [{"row": row, "why": why} for row in range(1000)])
    footer = outputs.read_footer

    def interrupted(path):
        if "00015" in path.name:
            raise KeyboardInterrupt
        return footer(path)

    tracemalloc.start()
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        with monkeypatch.context() as patch:
            patch.setattr(outputs, "read_footer", interrupted)
            with pytest.raises(KeyboardInterrupt):
                out.finish()
        assert {path.name.partition("-")[0] for path in folder.iterdir()} == {"part", MANIFEST}
        assert out.finish().counts.rejected == 16_000
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = (folder / REJECTS).stat().st_size
    assert size > 16_000_000
    assert most < size / 2, f"{most:,} of {size:,}"


# Earlier runs.


def test_a_run_goes_on_where_one_ended(folder, tmp_path):
    run(tmp_path / "clean", 3)
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        out.write(part(0), table(0, 3))
    (folder / ".cenote-part-00001.parquet").write_bytes(b"half")
    (folder / ".cenote-manifest.json").write_bytes(b"{")
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        assert out.done == {0: part(0)}
        assert not list(folder.glob(".*"))
    run(folder, 3)
    assert content(folder) == content(tmp_path / "clean")


def test_a_folder_is_not_complete_while_a_deleted_part_is_written_again(folder):
    run(folder)
    before = content(folder)
    (folder / "part-00001.parquet").unlink()
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        assert sorted(out.done) == [0]
        out.write(part(1), table(3, 3))
        assert not out.manifest.complete
        assert not manifest_of(folder).complete
    run(folder)
    assert content(folder) == before


def test_settings_are_compared_as_json(folder):
    run(folder, settings={**SETTINGS, "pooling": ("cls", "mean"), "weights": 0.1})
    run(folder, settings={**SETTINGS, "pooling": ("cls", "mean"), "weights": 0.1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "int8"}, r"made otherwise: dtype is 'float32' in the folder and 'int8' now\. Name another folder"),
        (
            {"fingerprint": "f1", "model": "n"},
            r"otherwise: model is 'm' \(f0\) in the folder and 'n' \(f1\) now, other weights\. ",
        ),
        (
            {"texts_fingerprint": "t1"},
            r"otherwise: source is 'a.txt' \(t0\) in the folder and 'a.txt' \(t1\) now, other texts or ids\. ",
        ),
        ({"new": 1}, "new is None in the folder and 1 now"),
        (
            {"dtype": "int8", "new": 1},
            "dtype is 'float32' in the folder and 'int8' now; new is None in the folder and 1 now",
        ),
    ],
)
def test_other_settings_are_refused_by_name_and_nothing_is_changed(folder, change, message):
    run(folder)
    before = content(folder)
    with pytest.raises(BadInput, match=message) as caught:
        run(folder, settings={**SETTINGS, **change})
    assert "--restart" in str(caught.value)
    assert content(folder) == before
    run(folder, settings={**SETTINGS, **change}, restart=True)
    assert manifest_of(folder).settings == {**SETTINGS, **change}


def test_other_versions_are_refused_and_other_names_are_not(folder):
    run(folder)
    with pytest.raises(BadInput, match=r"torch is '2\.0' in the folder and '2\.1' now"):
        run(folder, versions={"torch": "2.1"})
    run(folder, settings={**SETTINGS, "model": "moved", "source": "/moved/a.txt"})
    assert manifest_of(folder).settings == SETTINGS


def test_restart_deletes_files_of_embed_and_no_others(folder):
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        out.write(part(0, 1), table(0, 2), [{"row": 1, "why": "null"}])
        out.finish()
    (folder / "README").write_text("of the user")
    (folder / "part-a.parquet").write_text("of the user")
    with opened(folder, SETTINGS, VERSIONS, restart=True) as out:
        assert out.done == {}
        assert sorted(content(folder)) == ["README", MANIFEST, "part-a.parquet"]


@pytest.mark.parametrize("settings", [SETTINGS, {**SETTINGS, "dtype": "float16"}], ids=["same", "other"])
@pytest.mark.parametrize("again", [False, True])
def test_a_run_goes_on_with_an_interrupted_restart(folder, tmp_path, monkeypatch, settings, again):
    run(tmp_path / "clean", 3)
    run(folder, 3, settings=settings)
    unlink = Path.unlink

    def once(path, **options):
        unlink(path, **options)
        if path.suffix == ".parquet":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", once)
        with pytest.raises(KeyboardInterrupt):
            run(folder, 3, restart=True)
    assert len(list(folder.glob("part-*"))) == 2
    there = manifest_of(folder)
    assert (there.complete, there.counts, there.settings) == (False, None, SETTINGS)
    before = content(folder)
    with pytest.raises(BadInput, match="holds embeddings made otherwise"):
        run(folder, 3, settings={**SETTINGS, "dtype": "int8"})
    assert content(folder) == before
    with opened(folder, SETTINGS, VERSIONS, restart=again) as out:
        assert out.done == {}
        assert not list(folder.glob("part-*"))
    assert run(folder, 3).complete
    assert content(folder) == content(tmp_path / "clean")


def test_only_a_restart_deletes_parts_of_other_settings(folder, tmp_path):
    """Also in a folder that is not complete: somebody may have copied them there."""
    run(tmp_path / "other", settings={**SETTINGS, "dtype": "float16"})
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        out.write(part(0), table(0, 3))
    theirs = (tmp_path / "other" / "part-00001.parquet").read_bytes()
    (folder / "part-00001.parquet").write_bytes(theirs)
    with pytest.raises(BadInput, match=r"part-00001\.parquet has other settings than manifest\.json"):
        run(folder)
    assert (folder / "part-00001.parquet").read_bytes() == theirs
    assert run(folder, restart=True).complete


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-20],
        lambda data: data[:50],
        lambda data: b"\0" * len(data),
        lambda data: data.replace(b'"index"', b'"undex"'),
    ],
    ids=["empty", "cut", "start", "zeros", "footer"],
)
def test_a_part_that_is_damaged_is_named_with_what_to_do(folder, spoil):
    run(folder)
    before, path = content(folder), folder / "part-00001.parquet"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(BadInput, match=r"part-00001\.parquet is a damaged part .*: delete it, and run again"):
        run(folder)
    path.unlink()
    run(folder)
    assert content(folder) == before


def test_a_part_that_the_system_refuses_to_read_is_not_called_damaged(folder, monkeypatch):
    run(folder)

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(parts.parquet, "read_metadata", denied)
    with pytest.raises(BadInput, match=r"part-0000\d\.parquet cannot be read .*: see to its permissions and its disk"):
        run(folder)


def test_parts_of_another_folder_are_refused(folder, tmp_path):
    run(folder)
    run(tmp_path / "other", settings={**SETTINGS, "dtype": "float16"})
    path = folder / "part-00001.parquet"
    path.write_bytes((tmp_path / "other" / "part-00001.parquet").read_bytes())
    with pytest.raises(BadInput, match=r"part-00001\.parquet has other settings than manifest\.json"):
        run(folder)
    path.write_bytes((folder / "part-00000.parquet").read_bytes())
    with pytest.raises(BadInput, match=r"a damaged part \(it was written as part-00000\.parquet\)"):
        run(folder)
    parquet.write_table(table(3, 3), path)
    with pytest.raises(BadInput, match=r"a damaged part"):
        run(folder)


# Files that it must not touch.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is not a manifest of embed: not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "is not a manifest of embed: 'utf-8' codec"),
        (b"[]", "schema None, but this version of Cenote reads schema 1"),
        (b'{"name": "my web page", "icons": []}', "schema None"),
        (b'{"schema": 99}', "schema 99, but this version of Cenote reads schema 1"),
        (b'{"schema": 1}', "does not hold a Manifest"),
    ],
)
@pytest.mark.parametrize("restart", [False, True])
def test_a_manifest_of_others_is_refused_and_left(folder, text, message, restart):
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_bytes(text)
    (folder / "part-00000.parquet").write_bytes(b"theirs")
    before = content(folder)
    for refuse in (lambda: run(folder, restart=restart), lambda: refuse_unfit(folder), lambda: manifest_of(folder)):
        with pytest.raises(BadInput, match=message):
            refuse()
    assert content(folder) == before


@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_of_others_is_refused_and_left(folder, restart):
    folder.mkdir(parents=True)
    (folder / "part-00000.parquet").write_bytes(b"theirs")
    for refuse in (lambda: run(folder, restart=restart), lambda: refuse_unfit(folder)):
        with pytest.raises(BadInput, match=r"holds 'part-00000\.parquet' and no manifest\.json: it is not an output"):
            refuse()
    assert content(folder) == {"part-00000.parquet": b"theirs"}


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("theirs")
    for path in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(BadInput, match=r"out' is a file: name a folder to write into"):
            refuse_unfit(path)
        with pytest.raises(BadInput, match=r"cannot write .*: (File exists|Not a directory)"):
            run(path)


def test_a_fit_folder_is_not_made_yet(folder, tmp_path, monkeypatch):
    refuse_unfit(folder)
    assert not folder.parent.exists()
    monkeypatch.chdir(tmp_path)
    refuse_unfit(Path("relative"))
    run(folder)
    refuse_unfit(folder)


def test_a_first_run_killed_at_once_leaves_a_folder_that_is_fit(folder):
    folder.mkdir(parents=True)
    refuse_unfit(folder)
    (folder / ".cenote-manifest.json").write_text("{")
    (folder / ".cenote-out-1").mkdir()  # of a model that was being saved
    refuse_unfit(folder)
    assert run(folder).complete
    assert not list(folder.glob(".*"))


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"is not an output of embed: it has no manifest\.json\. Make one: cenote embed"):
        manifest_of(tmp_path)


# One at a time.


def test_a_second_run_is_refused_while_a_first_one_writes(folder):
    with opened(folder, SETTINGS, VERSIONS, restart=False):
        before = content(folder)
        for refuse in (lambda: run(folder), lambda: run(folder, restart=True), lambda: refuse_unfit(folder)):
            with pytest.raises(BadInput, match=r"another run is writing into .*: wait for it, or name another"):
                refuse()
        assert content(folder) == before
    run(folder)


HOLDER = """
import sys
from pathlib import Path
from cenote.embedding.folder import opened
with opened(Path(sys.argv[1]), {"a": 1}, {"torch": "2.0"}, restart=False):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_another_process_ends_when_it_is_killed(folder):
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(BadInput, match=r"another run is writing"):
                run(folder, settings={"a": 1})
        finally:
            process.kill()
    assert run(folder, settings={"a": 1}).complete
    assert not list(folder.glob(".*"))


def test_a_disk_without_locks_is_warned_of_and_used(folder, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(CenoteWarning, match=r"cannot be locked \(No locks available\): make sure that no other run"):
        assert run(folder).complete


def test_without_fcntl_a_file_is_the_lock(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    taken = folder / ".cenote-lock"
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        assert taken.exists()
        out.write(part(0), table(0, 3))
        with monkeypatch.context() as patch:  # a file that is open cannot be deleted there
            patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "in use")))
            with pytest.raises(BadInput, match=r"another run is writing"):
                run(folder)
        assert taken.exists()
    assert not taken.exists()
    assert run(folder).complete
    assert not list(folder.glob(".*"))


# The disk.


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("failing", ["part", "sync", "finish"])
def test_after_a_full_disk_a_run_goes_on(folder, tmp_path, monkeypatch, code, failing):
    run(tmp_path / "clean")

    def full(*_, **__):
        raise OSError(code, os.strerror(code))

    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        out.write(part(0), table(0, 3))
        whole = content(folder)
        owner, name = {"part": (parts, "write_groups"), "sync": (os, "fsync"), "finish": (Path, "write_text")}[failing]
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full)
            with pytest.raises(CenoteError, match=r"no space left .* make room, and run"):
                out.finish() if failing == "finish" else out.write(part(1), table(3, 3))
        assert content(folder) == whole
    run(folder)
    assert content(folder) == content(tmp_path / "clean")


@pytest.fixture
def tiny_disk(tmp_path):
    """A real disk of half a megabyte, where one may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True)
    if made.returncode:
        pytest.skip("a disk cannot be mounted here: this test needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_real_disk_that_is_full(tiny_disk):
    filler, folder = tiny_disk / "filler", tiny_disk / "out"
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        out.write(part(0), table(0, 3))
        filler.write_bytes(bytes(400 * 1024))
        with pytest.raises(
            CenoteError, match=r"no space left to write .*part-00001\.parquet\. Files that are already written"
        ):
            out.write(part(1), table(3, 30_000))
        assert sorted(content(folder)) == [MANIFEST, "part-00000.parquet"]
    filler.unlink()
    assert run(folder).complete


def test_a_real_disk_that_is_read_only(tiny_disk):
    folder, begun = tiny_disk / "out", tiny_disk / "begun"
    manifest = run(folder)
    with opened(begun, SETTINGS, VERSIONS, restart=False) as out:
        out.write(part(0), table(0, 3))
    before = content(folder)
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    # Nothing is left to write into a complete folder.
    assert refuse_unfit(folder) == run(folder) == manifest
    with pytest.raises(BadInput, match=r"cannot write into .*: permission denied"):
        refuse_unfit(begun)
    with pytest.raises(BadInput, match=r"cannot write into .*: permission denied"):
        refuse_unfit(folder, restart=True)
    with pytest.raises(BadInput, match=r"cannot write into .*disk': permission denied"):
        refuse_unfit(tiny_disk / "new")
    with pytest.raises(BadInput, match=r"cannot write .*Read-only file system"):
        run(tiny_disk / "new")
    with pytest.raises(BadInput, match=r"cannot write .*Read-only file system"):
        run(begun)
    with pytest.raises(BadInput, match=r"cannot write .*Read-only file system"):
        run(folder, restart=True)
    assert content(folder) == before


def test_missing_permission_is_named(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "access", lambda *_: False)  # and not chmod, which does not stop root
    with pytest.raises(BadInput, match=r"permission denied. Name another folder"):
        refuse_unfit(folder)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(BadInput, match=r"cannot write .*: Permission denied"):
        run(folder)
    monkeypatch.setattr(Path, "exists", refuse)  # of a folder in one that nobody else may enter
    with pytest.raises(BadInput, match=r"cannot write .*: Permission denied"):
        refuse_unfit(folder)


def test_every_file_is_on_the_disk_before_it_has_its_name(folder, monkeypatch):
    seen, fsync, rename = [], os.fsync, Path.replace

    def sync(handle):
        seen.append(("sync", Path(f"/proc/self/fd/{handle}").readlink().name))
        fsync(handle)

    def name(path, target):
        seen.append(("name", target.name))
        return rename(path, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("what a handle is of is known from /proc")
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", name)
    run(folder, 1)
    written = [MANIFEST, "part-00000.parquet", MANIFEST]
    steps = [[("sync", f".cenote-{file}"), ("name", file), ("sync", folder.name)] for file in written]
    assert seen == [step for group in steps for step in group]


# Parts that other processes write.


def test_parts_that_other_processes_write_have_the_same_bytes_and_are_found(folder, tmp_path):
    run(tmp_path / "one", parts=1)
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        write_part(folder, out.manifest, part(0), table(0, 3), [], by="worker-")
        (folder / ".cenote-other-part-00001.parquet").write_bytes(b"half of it")  # a worker that died
        assert out.done == {}
        out.refresh()
        assert out.done == {0: part(0)}
        out.finish()
    assert content(folder) == content(tmp_path / "one")


def test_a_complete_folder_is_marked_incomplete_before_anyone_writes(folder):
    run(folder)
    with opened(folder, SETTINGS, VERSIONS, restart=False) as out:
        out.unfinish()
        assert not manifest_of(folder).complete
        assert manifest_of(folder).counts is None


def test_missing_parts_are_yielded_and_parts_of_other_texts_are_refused():
    def slice_of(index, fingerprint):
        return Slice(index, index * 3, 3, [], [], [], fingerprint)

    every = [slice_of(index, f"p{index}") for index in range(3)]
    assert list(missing_parts(every, {1: part(1)}, Path("out"))) == [every[0], every[2]]
    with pytest.raises(BadInput, match="rows 3 to 5 are not those that 'out' was made of"):
        list(missing_parts([*every[:1], slice_of(1, "other")], {1: part(1)}, Path("out")))
    with pytest.raises(BadInput, match="part 3 of 'out' is of texts that the input no longer has"):
        list(missing_parts(every, {3: part(3)}, Path("out")))
