"""Files and folders on the disk. That every step may be the last one is tested in tests/embedding/test_soak.py."""

import errno
import os
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from cenote.errors import BadInput, CenoteError
from cenote.storage import (
    TEMPORARY,
    delete_temporary_files,
    explain_disk_errors,
    is_access_error,
    lock_folder,
    new_folder,
    refuse_occupied,
    refuse_unwritable,
    sync_folder,
    write_result,
    write_text,
    write_whole,
)

from .systems import posix


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a"
    write_text(path, "one")
    with suppress(RuntimeError), write_whole(path) as temporary:
        temporary.write_text("half of two")
        assert temporary.name.startswith(TEMPORARY)
        raise RuntimeError
    assert path.read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, r"no space left to write .*scores\.json: make room, or name a file on another"),
        (errno.EIO, r"cannot write .*scores\.json: Input/output error"),
        (errno.EFBIG, r"cannot write .*scores\.json: File too large"),
    ],
)
def test_a_result_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch, number, message):
    path, real = tmp_path / "scores.json", Path.write_bytes
    write_result(path, b"yesterday")

    def fill(self, content):
        real(self, content[:3])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(CenoteError, match=message):
        write_result(path, b"today")
    assert path.read_text() == "yesterday"
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.json"]


def test_links_are_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    link, target = tmp_path / "link.json", tmp_path / "real" / "scores.json"
    link.symlink_to(target)
    for content in (b"one", b"two"):
        write_result(link, content)
        assert target.read_bytes() == content
    assert link.is_symlink()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_devices_are_written_through():
    write_result(Path("/dev/null"), b"nothing")
    with pytest.raises(CenoteError, match="no space left to write /dev/full"):
        write_result(Path("/dev/full"), b"nothing")


@posix
def test_a_result_keeps_the_mode_of_the_file_before_and_a_new_one_is_readable(tmp_path):
    path, mask = tmp_path / "scores.json", os.umask(0o027)
    try:
        for content, mode in ((b"one", 0o640), (b"two", 0o600), (b"three", 0o664)):
            if content != b"one":
                path.chmod(mode)
            write_result(path, content)
            assert (path.read_bytes(), path.stat().st_mode & 0o777) == (content, mode)
    finally:
        os.umask(mask)


def test_a_result_may_have_the_longest_name(tmp_path):
    path = tmp_path / ("a" * 250 + ".json")
    write_result(path, b"one")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("call", ["tempfile.mkstemp", "Path.replace", "Path.chmod"])
@pytest.mark.parametrize("number", [errno.EBUSY, errno.EPERM, errno.ENOSPC])
def test_a_result_that_cannot_be_renamed_is_written_directly(tmp_path, monkeypatch, call, number):
    path = tmp_path / "scores.json"
    path.write_text("yesterday")

    def refuse(*_, **__):
        raise OSError(number, "no")

    monkeypatch.setattr(f"cenote.storage.{call}", refuse)
    full = number == errno.ENOSPC and call != "Path.chmod"
    with pytest.raises(CenoteError, match="no space left") if full else nullcontext():
        write_result(path, b"today")
    assert path.read_text() == ("yesterday" if full else "today")
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.json"]


@pytest.mark.parametrize("call", ["os.fsync", "Path.replace"])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_on_a_drive_that_cannot_rename_a_new_result_is_written_and_an_earlier_one_stays(
    tmp_path, monkeypatch, call, number
):
    def refuse(*_, **__):
        raise OSError(number, "no")

    monkeypatch.setattr(f"cenote.storage.{call}", refuse)
    path = tmp_path / "scores.json"
    write_result(path, b"yesterday")
    with pytest.raises(BadInput, match=r"cannot write .*scores\.json"):
        write_result(path, b"today")
    assert path.read_bytes() == b"yesterday"
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.json"]


def test_two_runs_with_the_same_result_do_not_share_a_temporary_file(tmp_path, monkeypatch):
    path, real, names = tmp_path / "scores.json", Path.write_bytes, []

    def note(self, content):
        names.append(self.name)
        if len(names) == 1:
            write_result(path, b"other")
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", note)
    write_result(path, b"one")
    assert len({*names}) == 2
    assert path.read_bytes() == b"one"


def test_a_folder_that_was_filled_meanwhile_is_left_alone(tmp_path):
    (tmp_path / ".cenote-of-another-run").mkdir()

    def fill():
        with new_folder(tmp_path) as folder:
            (folder / "config.json").write_text("{}")
            (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(CenoteError, match=r"holds 'notes\.txt', which was not there .*Name a new"):
        fill()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".cenote-of-another-run", "notes.txt"]


def test_a_new_folder_keeps_nothing_of_interrupted_runs_and_shuts_out_another_run(tmp_path):
    (tmp_path / ".cenote-of-a-killed-run").mkdir()
    (tmp_path / ".cenote-of-a-killed-run" / "model.safetensors").write_text("half")
    with new_folder(tmp_path) as folder:
        (folder / "config.json").write_text("{}")
        with pytest.raises(BadInput, match="another run is writing into"), new_folder(tmp_path):
            pass
        assert folder.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.json"]


@posix
def test_modes_that_cannot_be_changed_cost_no_folder_and_special_ones_stay(tmp_path, monkeypatch):
    tmp_path.chmod(0o2775)  # new folders have its group
    with new_folder(tmp_path / "one") as folder:
        (folder / "inner").mkdir()
    assert all(path.stat().st_mode & 0o2000 for path in (tmp_path / "one", tmp_path / "one" / "inner"))

    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with new_folder(tmp_path / "two") as folder:
        (folder / "config.json").write_text("{}")
    assert (tmp_path / "two" / "config.json").exists()


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_appears_whole_or_not_at_all(tmp_path, there):
    path, known = tmp_path / "deep" / "out", ["out"] if there else []
    if there:
        path.mkdir(parents=True)

    def fail(error):
        with new_folder(path) as folder:
            (folder / "config.json").write_text("{}")
            raise error

    for error, kind, message in (
        (
            SafetensorError("I/O error: No space left"),
            CenoteError,
            r"cannot write the folder .*out': I/O error: No space",
        ),
        (OSError(errno.ENOSPC, "No space left"), CenoteError, r"cannot write the folder .*out': .*No space left"),
        (RuntimeError("other"), RuntimeError, "other"),
    ):
        with pytest.raises(kind, match=message):
            fail(error)
        assert [entry.name for entry in path.parent.iterdir()] == known
        assert not (there and any(path.iterdir()))
    with new_folder(path) as folder:
        (folder / "inner").mkdir()
        (folder / "config.json").write_text("{}")
    assert sorted(entry.name for entry in path.iterdir()) == ["config.json", "inner"]
    assert [entry.name for entry in path.parent.iterdir()] == ["out"]


@posix
def test_others_may_read_what_the_process_lets_them(tmp_path):
    mask = os.umask(0o027)
    try:
        with new_folder(tmp_path / "out") as folder:
            save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")
            (folder / "inner").mkdir()
    finally:
        os.umask(mask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out", *(tmp_path / "out").iterdir())}
    assert modes == {"out": 0o750, "inner": 0o750, "model.safetensors": 0o640}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_drive_that_cannot_flush_folders_is_no_error(tmp_path, monkeypatch, number):
    def refuse(_):
        raise OSError(number, "no")

    monkeypatch.setattr("cenote.storage.os.fsync", refuse)
    with nullcontext() if number == errno.EINVAL else pytest.raises(OSError, match="no"):
        sync_folder(tmp_path)


def test_temporary_files_are_deleted_and_others_are_not(tmp_path):
    for name in ("a", f"{TEMPORARY}a", f"{TEMPORARY}lock"):
        (tmp_path / name).write_text("")
    (tmp_path / f"{TEMPORARY}out" / "inner").mkdir(parents=True)  # of `new_folder`
    (tmp_path / f"{TEMPORARY}out" / "model.safetensors").write_text("half")
    delete_temporary_files(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"{TEMPORARY}lock", "a"]


def test_a_locked_folder_refuses_a_second_run_until_it_is_released(tmp_path):
    with lock_folder(tmp_path), pytest.raises(BadInput, match="another run is writing"), lock_folder(tmp_path):
        pass
    with lock_folder(tmp_path):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [(errno.ENOSPC, CenoteError, "make room, and run the same command"), (errno.EACCES, BadInput, "Permission denied")],
)
def test_disk_errors_become_errors_with_a_remedy(tmp_path, number, kind, message):
    with pytest.raises(kind, match=message), explain_disk_errors(tmp_path):
        raise OSError(number, "Permission denied")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EACCES, "no"), True),
        (OSError(errno.EMFILE, "no"), True),
        (OSError(errno.EIO, "no"), True),
        (OSError("CRC failed"), False),
        (FileNotFoundError(errno.ENOENT, "gone"), False),
        (ValueError("no"), False),
    ],
)
def test_refused_access_is_distinguished_from_damage(error, expected):
    assert is_access_error(error) is expected


def test_an_unwritable_place_is_refused_and_nothing_is_made(tmp_path, monkeypatch):
    refuse_unwritable(tmp_path / "deep" / "new")
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInput, match=r"file' is a file: name a folder"):
            refuse_unwritable(path)
    monkeypatch.setattr("os.access", lambda *_: False)  # and not chmod, which does not stop root
    with pytest.raises(BadInput, match=r"cannot write into .*: permission denied\. Name another folder"):
        refuse_unwritable(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_new_and_empty_folders_are_accepted_and_not_made(tmp_path):
    for path in (tmp_path, tmp_path / "deep" / "new", str(tmp_path)):
        assert refuse_occupied(path) == tmp_path.joinpath(path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_what_a_killed_run_left_is_new(tmp_path):
    (tmp_path / f"{TEMPORARY}out-1").mkdir()
    with new_folder(refuse_occupied(tmp_path)) as folder:
        (folder / "config.json").write_text("{}")
    assert (tmp_path / "config.json").exists()
    with pytest.raises(BadInput, match="already exists"):
        refuse_occupied(tmp_path)


def test_occupied_folders_and_files_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, tmp_path / "file", str(tmp_path)):
        with pytest.raises(BadInput, match=rf"^'{path}' already exists: name a new folder\.$"):
            refuse_occupied(path)


@pytest.mark.parametrize("address", ["s3://bucket/vectors", "gs:/bucket", "https://host/a"])
def test_an_address_is_no_folder(address):
    for check in (refuse_occupied, lambda given: refuse_unwritable(Path(given))):
        with pytest.raises(BadInput, match="is an address: name a folder on this machine or a mounted one"):
            check(address)
    assert refuse_occupied("a:b/new") == Path("a:b/new")
