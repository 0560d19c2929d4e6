"""Files and folders that appear whole or not at all, the lock of a folder, and checks of a place to write to."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from cenote.errors import BadInput, CenoteError, CenoteWarning

# Prefix of the names of unfinished files and of the lock file.
TEMPORARY = ".cenote-"
_LOCK = f"{TEMPORARY}lock"
# Errors of a disk that is full, or of a user's share of it.
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Errors of a system that lets nobody put another file in the place of one.
_REFUSED = (errno.EACCES, errno.EBUSY, errno.EPERM, errno.EROFS)
# Errors of a drive that cannot rename files or flush them.
_UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
# The beginning of an address, also as a `Path`, which leaves one slash of two. A drive of Windows has one letter.
_ADDRESS = re.compile(r"[\w+.-]{2,}:/")


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_text(text, "utf-8")


def write_result(path: Path, content: bytes) -> None:
    """Write the file of a result, whole or not at all; directly to a link, a device, or where no file can be replaced.

    A file that is there keeps its mode.
    """
    replaceable = not path.is_symlink() and (path.is_file() or not path.exists())
    with explain_disk_errors(path, goes_on=False):
        if not (replaceable and _replace(path, content)):
            path.write_bytes(content)


def _replace(path: Path, content: bytes) -> bool:
    """Write a file beside a path and rename it; return False where the system refuses that.

    It does so for a file that is mounted alone, and in a folder where files can only be changed by their owners; also
    on a drive that cannot do it, where a file that is there is not risked.
    """
    temporary, usual = None, _REFUSED if path.exists() else (*_REFUSED, *_UNABLE)
    try:
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)  # unique, and of no great length
        os.close(handle)
        temporary = Path(name)
        temporary.write_bytes(content)
        if path.exists():
            with suppress(OSError):  # some drives have no modes
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        else:
            give_usual_access(temporary)
        _rename(temporary, path)
    except OSError as error:
        if error.errno not in usual:  # to write directly would empty the file that is there
            raise
        return False
    finally:
        if temporary is not None:
            _delete(temporary)
    return True


@contextmanager
def write_whole(path: Path, writer: str = "", *, goes_on: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` once it is on the disk, or delete it after an error.

    Args:
        path: of the file.
        writer: tells several writers of the same file apart.
        goes_on: whether the same command goes on where it was stopped.
    """
    temporary = path.with_name(f"{TEMPORARY}{writer}{path.name}")
    try:
        with explain_disk_errors(path, goes_on=goes_on):
            yield temporary
            _rename(temporary, path)
    finally:
        _delete(temporary)


def _rename(temporary: Path, path: Path) -> None:
    """Give a file its name once it is on the disk."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def _delete(temporary: Path) -> None:
    with suppress(OSError):  # the first error is the one to report
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder. Its content appears as the folder `path` at the end, or is deleted after an error.

    A folder that is there is locked, so that what is unfinished in it is of no run that goes on, and is deleted.
    """
    # An empty folder may be where a drive is mounted, and cannot be replaced then.
    empty = path.is_dir()
    with lock_folder(path) if empty else nullcontext():
        with _temporary_folder(path, empty) as folder:
            yield folder
        if empty:
            with suppress(CenoteError):  # the content is complete all the same
                delete_temporary_files(path)


@contextmanager
def _temporary_folder(path: Path, empty: bool) -> Iterator[Path]:
    from safetensors import SafetensorError  # no `OSError`, though a full disk raises it

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{path.name}-", dir=path if empty else path.parent))
    except OSError as error:
        raise BadInput(f"cannot make the folder {str(path)!r}: {error.strerror}.") from error
    try:
        yield folder
        give_usual_access(folder, *folder.rglob("*"))
        if empty:
            _refuse_filled(path)
            for entry in list(folder.iterdir()):
                entry.replace(path / entry.name)
        else:
            folder.replace(path)
    except (OSError, SafetensorError) as error:
        raise CenoteError(f"cannot write the folder {str(path)!r}: {error}. Nothing was kept.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_filled(path: Path) -> None:
    """Raise if anything but unfinished output is in a folder that was empty."""
    if found := entries_of(path):
        raise CenoteError(
            f"{str(path)!r} holds {found[0]!r}, which was not there at the start: nothing was written. Name a new "
            "folder."
        )


def entries_of(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; without those of unfinished output, which a killed run leaves behind."""
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(TEMPORARY))


def give_usual_access(*paths: Path) -> None:
    """Let others read what the process lets them read: safetensors and mkstemp give access to the owner alone.

    Where modes cannot be changed, as on some network drives, they stay.
    """
    mask = os.umask(0o022)  # which can only be read by setting it
    os.umask(mask)
    for path in paths:
        with suppress(OSError):
            special = stat.S_IMODE(path.stat().st_mode) & ~0o777  # such as the group of a shared folder
            path.chmod(special | ((0o777 if path.is_dir() else 0o666) & ~mask))


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, on systems where a folder can be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno != errno.EINVAL:  # of a drive that cannot flush a folder, as some network drives
                raise
        finally:
            os.close(handle)


def sync_files(folder: Path) -> None:
    """Flush all files of a folder and below it to the disk, and their names."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


@contextmanager
def explain_disk_errors(path: Path, *, goes_on: bool = True) -> Iterator[None]:
    """Turn an `OSError` into an error with the path and the remedy.

    Args:
        path: that is written to.
        goes_on: whether the same command goes on where it was stopped.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            remedy = (
                ". Files that are already written are complete: make room, and run the same command again to continue."
                if goes_on
                else ": make room, or name a file on another disk."
            )
            raise CenoteError(f"no space left to write {path}{remedy}") from error
        raise BadInput(f"cannot write {path}: {error.strerror or error}.") from error


def is_access_error(error: Exception) -> bool:
    """Return whether the system refused access to a file, which says nothing about its content.

    >>> is_access_error(PermissionError(13, "Permission denied")), is_access_error(OSError("CRC verification failed"))
    (True, False)
    """
    return isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)


def delete_temporary_files(folder: Path) -> None:
    """Delete temporary files and folders of interrupted runs."""
    with explain_disk_errors(folder):
        for path in folder.glob(f"{TEMPORARY}*"):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)  # another process may delete it too


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder against a second run. The system releases the lock when the process ends in any way.

    The lock is on the folder itself: a lock file would stay behind after a kill, and could not be made in a folder that
    is only read or that belongs to others.
    """
    taken = BadInput(f"another run is writing into {str(folder)!r}: wait for it, or name another folder.")
    try:
        import fcntl
    except ImportError:  # Windows cannot lock folders, but lets nobody delete a file that is open
        path = folder / _LOCK
        try:
            path.unlink(missing_ok=True)
            file = path.open("x")
        except OSError as error:
            raise taken from error
        try:
            yield
        finally:
            file.close()
            path.unlink(missing_ok=True)
        return
    with explain_disk_errors(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise taken from error
        except OSError as error:  # some network drives cannot lock folders
            message = (
                f"{str(folder)!r} cannot be locked ({error.strerror}): make sure that no other run writes into it."
            )
            warnings.warn(message, CenoteWarning, stacklevel=2)
        yield
    finally:
        os.close(handle)


def refuse_unwritable(folder: Path) -> None:
    """Raise `BadInput` if a folder could not be made or written to. Nothing is made."""
    _refuse_address(folder)
    with explain_disk_errors(folder):  # a folder above may be unreadable too
        above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir():
        raise BadInput(f"{str(above)!r} is a file: name a folder to write into.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise BadInput(f"cannot write into {str(above)!r}: permission denied. Name another folder.")


def refuse_occupied(folder: str | Path) -> Path:
    """Return the path of a new folder; raise `BadInput` if it is a file or holds anything but unfinished output.

    >>> refuse_occupied("a/new/one").name
    'one'
    """
    path = Path(folder)
    _refuse_address(folder)
    if path.exists() and (not path.is_dir() or entries_of(path)):
        raise BadInput(f"{str(folder)!r} already exists: name a new folder.")
    return path


def _refuse_address(folder: str | Path) -> None:
    if _ADDRESS.match(str(folder)):
        raise BadInput(
            f"{str(folder)!r} is an address: name a folder on this machine or a mounted one, and copy it afterwards."
        )
