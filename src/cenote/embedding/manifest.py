"""The manifest of a folder of embeddings, and checks of the folder before any work. Importing it is light."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cenote.choices import name_poolings
from cenote.errors import BadInput
from cenote.json_records import from_json
from cenote.records import Manifest
from cenote.storage import entries_of, explain_disk_errors, lock_folder, refuse_unwritable

MANIFEST = "manifest.json"
# Indexes of the vectors, which `search` keeps beside the parts.
INDEXES = "index-*.faiss"


def _temperature_in_words(setting: Any) -> str:
    """Return an attention temperature as the user gives it; `setting` is what `Setting.to_json` returns, or None.

    >>> _temperature_in_words(None), _temperature_in_words({"temperature": 0.8, "layers": None, "scale_bias": True})
    ('1', '0.8')
    """
    if setting is None:
        return "1"
    of_all = setting["layers"] is None and setting["scale_bias"]
    return repr(setting["temperature"] if of_all else setting)


# Settings whose values are shown otherwise than as JSON.
_IN_WORDS = {"temperature": _temperature_in_words}
# Names that may differ from run to run, since a model or a file that was moved is the same; and the fingerprints that
# identify what they name.
NAMES = {"model": "fingerprint", "source": "texts_fingerprint"}
# Settings that are recorded and not compared. The columns of the text are part of its fingerprint, and the similarity
# is that of a search, on which no vector depends.
UNCOMPARED = (*NAMES, "columns", "similarity")
# What a difference of fingerprints means.
_DIFFERENCES = {"fingerprint": ", other weights", "texts_fingerprint": ", other texts or ids"}


def manifest_of(folder: str | Path) -> Manifest:
    """Return the manifest of a folder."""
    path = Path(folder) / MANIFEST
    try:
        return from_json(Manifest, path.read_text("utf-8"))
    except FileNotFoundError:
        lacks = f"it has no {MANIFEST}" if Path(folder).is_dir() else "there is no such folder"
        raise BadInput(
            f"{str(folder)!r} is not an output of embed: {lacks}. Make one: cenote embed MODEL TEXTS -o FOLDER."
        ) from None
    except OSError as error:
        raise BadInput(
            f"{str(folder)!r} is not an output of embed: {path.name} cannot be read ({error.strerror})."
        ) from error
    except ValueError as error:  # UTF-8 it may not even be
        raise BadInput(f"{path} is not a manifest of embed: {error} Name another folder.") from error


def complete_manifest(folder: str | Path) -> Manifest:
    """Return the manifest of a folder; raise if its parts are not all there."""
    manifest = manifest_of(folder)
    if manifest.counts is None:
        with lock_folder(Path(folder)):  # a run that writes into it holds the lock, and is named
            raise BadInput(
                f"{str(folder)!r} is not complete: run the same embed again, which goes on where the last run ended."
            )
    return manifest


def refuse_unfit(folder: Path, *, restart: bool = False) -> Manifest | None:
    """Raise if a folder cannot be written into, before there is any work to lose. The folder is not made yet.

    A complete folder may be read-only, since nothing is written where no part is missing.

    Returns:
        The manifest of an earlier run; None where there was none.
    """
    found = None
    with explain_disk_errors(folder):
        there = folder.is_dir()
    if there:
        with lock_folder(folder), explain_disk_errors(folder):
            found = refuse_foreign(folder)
    if restart or found is None or not found.complete:
        refuse_unwritable(folder)
    return found


def refuse_foreign(folder: Path) -> Manifest | None:
    """Return the manifest, None for an empty folder; raise if the folder holds anything else."""
    if (folder / MANIFEST).exists():
        return manifest_of(folder)
    if foreign := entries_of(folder):
        raise BadInput(
            f"{str(folder)!r} holds {foreign[0]!r} and no {MANIFEST}: it is not an output of embed. Name a new folder."
        )
    return None


def with_our_pooling(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with our name of the pooling: the first folders hold that of sentence-transformers."""
    found = dict(settings)
    if isinstance(pooling := found.get("pooling"), str):
        found["pooling"] = name_poolings(pooling.split("+"))
    return found


def refuse_other_settings(folder: Path, there: Manifest, new: Mapping[str, Any]) -> None:
    """Raise if a folder has other settings or versions than the given ones."""
    old = {**with_our_pooling(there.settings), **there.versions}
    # Last the settings of single modules, which repeat what the user chose, such as the pooling.
    names = sorted((name for name in new if name not in UNCOMPARED), key=lambda name: (name[0].isdigit(), name))
    called = {fingerprint: name for name, fingerprint in NAMES.items()}

    def value(of: Mapping[str, Any], name: str) -> str:
        if name in called:
            return f"{of.get(called[name])!r} ({of.get(name)})"
        return _IN_WORDS.get(name, repr)(of.get(name))

    different = [
        f"{called.get(name, name)} is {value(old, name)} in the folder and {value(new, name)} now"
        f"{_DIFFERENCES.get(name, '')}"
        for name in names
        if old.get(name) != new.get(name)
    ]
    if different:
        raise BadInput(
            f"{str(folder)!r} holds embeddings made otherwise: {'; '.join(different)}. Name another folder, use the "
            "settings of the first run, or begin anew with restart (--restart), which deletes what is there."
        )
