"""`cenote.files`: what `cenote.outputs` writes by; that each step may be the last is tested in test_soak."""

import errno
from contextlib import suppress

import pytest

from cenote.errors import BadInput, CenoteError
from cenote.files import TEMPORARY, alone, refused, sweep, told, whole, write


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a"
    write(path, "one")
    with suppress(RuntimeError), whole(path) as temporary:
        temporary.write_text("half of two")
        assert temporary.name.startswith(TEMPORARY)
        raise RuntimeError
    assert path.read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_what_others_left_is_swept_away(tmp_path):
    for name in ("a", f"{TEMPORARY}a", f"{TEMPORARY}lock"):
        (tmp_path / name).write_text("")
    sweep(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"{TEMPORARY}lock", "a"]


def test_a_folder_is_one_runs_alone(tmp_path):
    with alone(tmp_path), pytest.raises(BadInput, match="another run is writing"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [(errno.ENOSPC, CenoteError, "Make room, and run the same again"), (errno.EACCES, BadInput, "Permission denied")],
)
def test_what_the_disk_says_is_told(tmp_path, number, kind, message):
    with pytest.raises(kind, match=message), told(tmp_path):
        raise OSError(number, "Permission denied")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_what_the_system_refuses_is_not_damage(number):
    assert refused(OSError(number, "no"))


@pytest.mark.parametrize("error", [OSError("CRC failed"), FileNotFoundError(errno.ENOENT, "gone"), ValueError("no")])
def test_and_damage_is_not_the_systems_refusal(error):
    assert not refused(error)
