"""The manifest of a folder of embeddings, and checks of the folder before any work. Importing it is light."""

from __future__ import annotations

from pathlib import Path

from cenote.errors import BadInput
from cenote.records import Manifest, from_json
from cenote.storage import TEMPORARY, explain_disk_errors, lock_folder, refuse_unwritable

MANIFEST = "manifest.json"


def manifest_of(folder: str | Path) -> Manifest:
    """Return the manifest of a folder."""
    path = Path(folder) / MANIFEST
    try:
        return from_json(Manifest, path.read_text("utf-8"))
    except OSError as error:
        raise BadInput(
            f"{str(folder)!r} is not an output of embed: {path.name} cannot be read ({error.strerror})."
        ) from error
    except ValueError as error:  # UTF-8 it may not even be
        raise BadInput(f"{path} is not a manifest of embed: {error} Name another folder.") from error


def refuse_unfit(folder: Path) -> Manifest | None:
    """Raise if a folder cannot be written into, before there is any work to lose. The folder is not made yet.

    Returns:
        The manifest of an earlier run; None where there was none.
    """
    refuse_unwritable(folder)
    if not folder.exists():
        return None
    with lock_folder(folder), explain_disk_errors(folder):
        return refuse_foreign(folder)


def refuse_foreign(folder: Path) -> Manifest | None:
    """Return the manifest, None for an empty folder; raise if the folder holds anything else."""
    if (folder / MANIFEST).exists():
        return manifest_of(folder)
    foreign = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(TEMPORARY))
    if foreign:
        raise BadInput(
            f"{str(folder)!r} holds {foreign[0]!r} and no {MANIFEST}: it is not an output of embed. Name a new folder."
        )
    return None
