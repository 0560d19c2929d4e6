"""Files that appear whole or not at all, and a folder that is one run's alone."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cenote.errors import BadInput, CenoteError, CenoteWarning

# How what is not finished is called, and what is nobody's.
TEMPORARY = ".cenote-"
_LOCK = f"{TEMPORARY}lock"


def write(path: Path, text: str) -> None:
    """A small file."""
    with whole(path) as temporary:
        temporary.write_text(text, "utf-8")


@contextmanager
def whole(path: Path, by: str = "") -> Iterator[Path]:
    """A path to write to; what was written gets its name when it is on the disk, or is removed."""
    temporary = path.with_name(f"{TEMPORARY}{by}{path.name}")
    try:
        with told(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            sync(path.parent)
    finally:
        with suppress(OSError):  # what went wrong before is told
            temporary.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Have the folder's names on the disk too, where a folder can be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns what the disk says into an error that says how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CenoteError(
                f"no space left to write {path}: what is there is whole. Make room, and run the same again to go on."
            ) from error
        raise BadInput(f"cannot write {path}: {error.strerror or error}.") from error


def refused(error: Exception) -> bool:
    """Whether it was the system that would not let a file be read, which says nothing of what is in the file.

    >>> refused(PermissionError(13, "Permission denied")), refused(OSError("CRC checksum verification failed"))
    (True, False)
    """
    return isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)


def sweep(folder: Path) -> None:
    """Remove what those left who did not come to an end."""
    for path in folder.glob(f"{TEMPORARY}*"):
        if path.name != _LOCK:
            path.unlink()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """The folder locked against a second run; the system lets go of the lock however this one ends."""
    close = _lock(folder)
    try:
        yield
    finally:
        close()


def _lock(folder: Path) -> Callable[[], object]:
    try:
        import fcntl
    except ImportError:  # Windows has no locks on folders: a file that is held open, and gone with the process
        path = folder / _LOCK
        try:
            path.unlink(missing_ok=True)
            file = path.open("x")
        except OSError as error:
            raise _busy(folder) from error

        def release() -> None:
            file.close()
            path.unlink(missing_ok=True)

        return release
    with told(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise _busy(folder) from error
    except OSError as error:  # some network drives lock no folders
        why = f"{str(folder)!r} cannot be locked ({error.strerror}): see to it that no other run writes into it."
        warnings.warn(why, CenoteWarning, stacklevel=2)
    return lambda: os.close(handle)


def _busy(folder: Path) -> BadInput:
    return BadInput(f"another run is writing into {str(folder)!r}: wait for it, or name another folder.")
