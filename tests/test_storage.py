"""Files and folders on the disk. That every step may be the last one is tested in tests/embedding/test_soak.py."""

import errno
from contextlib import suppress
from pathlib import Path

import pytest

from cenote.errors import BadInput, CenoteError
from cenote.storage import (
    TEMPORARY,
    delete_temporary_files,
    explain_disk_errors,
    is_access_error,
    lock_folder,
    refuse_occupied,
    refuse_unwritable,
    write_text,
    write_whole,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a"
    write_text(path, "one")
    with suppress(RuntimeError), write_whole(path) as temporary:
        temporary.write_text("half of two")
        assert temporary.name.startswith(TEMPORARY)
        raise RuntimeError
    assert path.read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_temporary_files_are_deleted_and_others_are_not(tmp_path):
    for name in ("a", f"{TEMPORARY}a", f"{TEMPORARY}lock"):
        (tmp_path / name).write_text("")
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
