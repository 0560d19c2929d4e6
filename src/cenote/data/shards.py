"""Files of a source: a path, a pattern, a list of them, a folder of shards or of single texts, a datasets folder."""

from __future__ import annotations

import difflib
import glob
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from cenote.data.columns import ID, TEXT, TITLE
from cenote.data.formats import READERS, WHOLE_FILES, read_whole
from cenote.data.lines import ZIPPED, is_endless, readable, refuse_endless
from cenote.data.sheets import Sheet
from cenote.data.tables import read_arrow
from cenote.errors import BadInput, CenoteWarning, choose, some

# Files of these names in a folder are no shards: marks of Spark, files of editors.
_HIDDEN = (".", "_")
# Characters of a path in a message.
_SHOWN = 120
_DATA_FILES = tuple(READERS.keys() - {*WHOLE_FILES})


class NoFile(BadInput):
    """A path or a pattern that no file has."""


def open_files(source: str | Path | Sequence[str | Path]) -> list[Sheet]:
    """Return the sheets of a path, a pattern such as `shards/*.jsonl`, or of several of them, in their order."""
    paths = [source] if isinstance(source, (str, Path)) else list(source)
    return [sheet for path in paths for sheet in _open_path(path)]


def _open_path(path: str | Path) -> Iterator[Sheet]:
    """Yield the sheets of a file, of a folder, or of the files that match a pattern."""
    if not isinstance(path, (str, Path)):
        raise BadInput(f"{path!r} stands among paths: pass paths alone.")
    if path == "":  # Path("") is the current folder
        raise NoFile("an empty string is no path. Name a file or a folder.")
    if str(path) == "-":
        raise BadInput("- is standard input and goes with no file: give one of them.")
    path = expand_home(path)
    if is_pattern(path):
        yield from map(_open_file, _match(str(path)))
        return
    path = Path(path)
    refuse_missing_path(path)
    yield from _open_folder(path) if path.is_dir() else [_open_file(path)]


def _match(pattern: str) -> list[Path]:
    """Return the files that match a pattern, sorted by their names."""
    with readable(pattern):
        # Path.glob takes no absolute pattern.
        matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
        files = [match for match in _without_endless(matches, pattern) if not match.is_dir()]
        if not files:
            folder = next(parent for parent in Path(pattern).parents if not glob.has_magic(str(parent)))
            raise NoFile(f"no file matches the pattern {_shorten(pattern)!r}. Check it; {_state_content(folder)}.")
    reached = {folder for file in files for folder in file.parents}  # by `**`, which matches folders too
    unread = [match for match in matches if match.is_dir() and match not in reached and _holds_texts(match)]
    if unread:
        warnings.warn(f"{pattern}: folders that match are not read: {some(unread)}", CenoteWarning, 2)
    _refuse_twins(files)
    return files


def expand_home(path: str | Path) -> str | Path:
    """Return a path with the home for a tilde at its start, which a shell expands, but not in quotes.

    >>> expand_home("texts~")
    'texts~'
    """
    expands = str(path).startswith("~") and not os.path.exists(path)  # noqa: PTH110  Path.exists raises for long names
    return os.path.expanduser(path) if expands else path  # noqa: PTH111  Path.expanduser raises for unknown users


def is_pattern(path: str | Path) -> bool:
    """Return whether a path has wildcards, and no file has this very name.

    >>> is_pattern("shards/*.jsonl"), is_pattern("texts.jsonl")
    (True, False)
    """
    return glob.has_magic(str(path)) and not os.path.exists(path)  # noqa: PTH110  Path.exists raises for long names


def _open_file(path: Path) -> Sheet:
    endings = [ending.lower() for ending in path.suffixes]
    suffix = "".join(endings[-2:] if endings[-1:] and endings[-1] in ZIPPED else endings[-1:])
    remedy = "Rename the file or convert it (gzip or zstd alone are unpacked), or pipe lines of text into `-`."
    shown = [name for name in READERS if not name.endswith(ZIPPED)]
    return choose(suffix, READERS, f"kind of file: {path} ends in", shown=shown, remedy=remedy)(path)


# Folders.


def _open_folder(path: Path) -> list[Sheet]:
    """Return the shards of a folder, or its files of a text each, which lie at any depth."""
    with readable(str(path)):
        names = sorted(entry.name for entry in path.iterdir())
    if "dataset_dict.json" in names:
        splits = [name for name in names if (path / name / "state.json").is_file()]
        raise BadInput(f"{path} holds the splits {some(splits) or 'of no data'}. Name one of them: {path / 'NAME'}.")
    if {"dataset_info.json", "state.json"} <= {*names}:
        return _open_dataset(path)
    texts, below = _walk(path)
    shards = _without_endless([path / name for name in names if _is_shard(path / name)], str(path))
    plain = [shard for shard in shards if not _is_json(shard)]
    if plain or texts:  # a .json beside other files describes them
        shards, described = plain, [shard.name for shard in shards if _is_json(shard)]
        if plain and described:
            warnings.warn(f"{path}: .json files beside other data are not read: {some(described)}", CenoteWarning, 2)
    if shards and texts:
        raise BadInput(
            f"the folder {path} holds files of many texts, {some(shard.name for shard in shards)}, and of one text "
            f"each, {some(texts)}. Name the files that hold the texts, or a pattern such as 'shards/*.jsonl'."
        )
    if below and (shards or texts):
        warnings.warn(f"{path}: files of many texts in its folders are not read: {some(below)}", CenoteWarning, 2)
    _refuse_twins(shards or [path / name for name in texts])
    if shards:
        return _of_same_names([_open_file(shard) for shard in shards], path)
    if texts:
        return [read_whole(path / name, name) for name in texts]
    hint = f"its folders hold {some(below)}" if below else f"it contains: {some(names) or 'nothing'}"
    raise BadInput(
        f"the folder {path} holds no texts: no {', '.join(WHOLE_FILES)} file and no shard; {hint}. Name a file, a "
        "pattern such as 'shards/*.jsonl', or a folder with shards or with a text per file."
    )


def is_read(folder: Path, file: Path) -> bool:
    """Return whether a file of this place and name is read with a folder: deeper ones have a text each."""
    whole = folder in file.parents and file.name.lower().endswith(WHOLE_FILES)
    return whole or (file.parent == folder and _is_shard(file))


def _holds_texts(folder: Path) -> bool:
    """Return whether a file at any depth has the name of one that is read."""
    return any(name.lower().endswith(tuple(READERS)) for _, _, names in os.walk(folder) for name in names)


def _refuse_twins(files: Sequence[Path]) -> None:
    """Raise if a file lies beside its zipped self, so that its texts would be read twice."""
    names = {*files}
    for file in files:
        if file.suffix.lower() in ZIPPED and (plain := file.with_suffix("")) in names:
            raise BadInput(f"{plain} and {file} would both be read. Delete one of them, or name the files to read.")


def _is_shard(path: Path) -> bool:
    return not path.is_dir() and path.name.lower().endswith(_DATA_FILES) and not path.name.startswith(_HIDDEN)


def _is_json(path: Path) -> bool:
    return ".json" in (path.suffix.lower(), Path(path.stem).suffix.lower())


def _walk(path: Path) -> tuple[list[str], list[str]]:
    """Return the files of a text each below a folder, and files of many texts in its folders, both sorted."""
    texts, data, linked = [], [], []
    with readable(str(path)):
        for folder, folders, names in os.walk(path, onerror=_raise):  # not rglob, which skips unreadable folders
            linked += [link for name in folders if (link := Path(folder, name)).is_symlink()]
            below = [Path(folder, name) for name in names]
            texts += [file for file in below if file.name.lower().endswith(WHOLE_FILES)]
            data += [file for file in below if file.parent != path and _is_shard(file) and not _is_json(file)]
    if linked:
        warnings.warn(f"links to folders are not followed: {some(linked)}", CenoteWarning, 2)
    return _relative(_without_endless(texts, str(path)), path), _relative(data, path)


def _without_endless(paths: list[Path], source: str) -> list[Path]:
    """Return the paths of files and folders; warn of the others, which may never end."""
    if endless := [path for path in paths if is_endless(path)]:
        warnings.warn(f"{source}: pipes, sockets and devices are not read: {some(endless)}", CenoteWarning, 2)
    return [path for path in paths if path not in endless]


def _relative(files: list[Path], folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in files)


def _raise(error: OSError) -> None:
    raise error


def _of_same_names(sheets: list[Sheet], path: Path) -> list[Sheet]:
    """Return the sheets of a folder; raise if they are different tables, such as documents and queries.

    Of sparse rows the first has not all columns: only those that make a text tell tables apart.
    """
    known = [sheet for sheet in sheets if sheet.names is not None]
    for sheet in known[1:]:
        other = {*(sheet.names or ())} ^ {*(known[0].names or ())}
        if sheet.sparse or known[0].sparse:
            other &= {TEXT, ID, TITLE}
        if other:
            name = min(other)
            having, lacking = (sheet, known[0]) if name in (sheet.names or ()) else (known[0], sheet)
            raise BadInput(
                f"the folder {path} holds different tables: {having.name} has a column {name!r}, and {lacking.name} "
                "has none. Name the files that hold the texts."
            )
    return sheets


def _open_dataset(path: Path) -> list[Sheet]:
    """Return the Arrow files of a folder that `Dataset.save_to_disk` wrote, in its order."""
    with readable(str(path)):
        content = (path / "state.json").read_text("utf-8")
    try:
        state = json.loads(content)
        files = [path / file["filename"] for file in state["_data_files"]]
    except (ValueError, LookupError, TypeError) as error:
        raise BadInput(f"{path / 'state.json'} is damaged ({error!r}). Save the dataset again.") from None
    if state.get("_indices_data_files"):  # of early releases: rows in another order, or left out
        raise BadInput(f"{path} holds a selection of rows. Load it with `datasets`, and pass the dataset or save it.")
    return [read_arrow(file) for file in files]


# Missing files.


def refuse_missing_path(path: Path) -> None:
    """Raise if a path is neither a file nor a folder; the message names a near miss."""
    with readable(str(path)):
        refuse_endless(path)
        if path.exists():
            return
        near = difflib.get_close_matches(path.name, _names_in(path.parent), n=1)
        holds = _state_content(path.parent)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise NoFile(f"no such file or folder: {_shorten(str(path))}{hint} Check the path; {holds}.")


def _shorten(path: str) -> str:
    """Return a path for a message; a text that stands in its place may be long."""
    return path if len(path) <= _SHOWN else f"{path[:_SHOWN]}..."


def _names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def _state_content(folder: Path) -> str:
    called = "this folder" if folder == Path() else f"the folder {folder}"
    return f"{called} holds: {some(_names_in(folder)) or 'nothing'}" if folder.is_dir() else f"{called} is missing too"
