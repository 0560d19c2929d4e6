"""The schemas of labelled data, and the files of a folder that belong to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cenote.data.labelled_columns import (
    Named,
    check_names,
    has_roles,
    names_of,
    read_by,
    refuse_absent,
    resolve,
)
from cenote.data.labelled_files import (
    FORMATS,
    NAMING,
    UNNAMED,
    columns_of,
    first_record,
    list_files,
    number_of,
    single,
    suffix_of,
)
from cenote.data.lines import readable
from cenote.data.shards import refuse_missing_path
from cenote.errors import BadInput, choose, some

# The schemas by kind, as messages list them.
SCHEMAS: dict[str, str] = {
    "retrieval": "corpus (id, title, text), queries (id, text) and qrels (query_id, doc_id, score)",
    "reranking": "the same, and candidates or top_ranked (query_id, doc_ids)",
    "classification": "train and test (text, label)",
    "clustering": "test (text, label)",
    "sts": "test (text1, text2, score)",
    "summarisation": "test (text, human_summaries, machine_summaries, scores)",
}
KINDS = tuple(SCHEMAS)
# Kinds that a folder with a corpus has: searches, whose documents are ranked, and may have several vectors.
SEARCHES = ("retrieval", "reranking")
# Roles of columns by which a table shows its kind, most special first.
_SHAPES = {
    "summarisation": ("text", "human", "machine", "ratings"),
    "sts": ("first", "second", "score"),
    "clustering": ("text", "label"),
}
TEST, TRAIN = "test", "train"
# Said beside the score of one file with labels: the measure may not be the one that was meant.
_ACCURACY = (
    "One file of texts and labels is scored as clustering. For accuracy name a folder with the tables train and test, "
    "or choose the kind classification (--kind), which halves the file."
)
_SIMILARITY = (
    "The column {!r} was read as the score of similarity, where higher is more alike. If it holds classes, name the "
    "column of the score (--data-columns score=NAME)."
)
# Folders that are named where the folder above them was given.
_SHOWN = 3
# Words of the longest name of a column.
_WORDS = 3


@dataclass(frozen=True)
class Asked:
    """The kind, the split and the columns that a call gives of labelled data; a kind of None is recognised."""

    kind: str | None = None
    split: str = TEST
    named: Named = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, object]:
        """Parts that a result keeps: the split, and columns if any were named."""
        return {"split": self.split} | ({"data_columns": dict(self.named)} if self.named else {})


@dataclass(frozen=True)
class Plan:
    """The files of labelled data, by part, the kind that they make, and the named columns of each part by role."""

    kind: str
    files: Mapping[str, Path]  # by part: corpus, queries, qrels, candidates; train, test
    root: Path  # the folder
    notes: tuple[str, ...] = ()
    named: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    split: str = TEST  # that is read


def plan_files(path: str | Path, asked: Asked = Asked()) -> Plan:
    """Return the files to read; raise if they make no known schema. Of each table only the first row is read."""
    path = Path(path)
    if asked.kind is not None:
        choose(asked.kind, SCHEMAS, "kind of labelled data")
    check_names(asked.named)
    refuse_missing_path(path)
    plan = _plan_file(path, asked) if path.is_file() else _plan_folder_or_name(path, asked)
    return replace(plan, named=resolve(asked.named, plan.kind, plan.files))


def _plan_folder_or_name(path: Path, asked: Asked) -> Plan:
    """Return the plan of a folder; raise with the names of labelled folders in it, where it is none itself."""
    files = list_files(path)
    if not files and (below := _labelled_below(path, asked)):
        verb = "is" if len(below) == 1 else "are"
        raise BadInput(
            f"{path} holds no labelled data itself; {some(below, _SHOWN)} in it {verb} labelled data: name one."
        )
    return _plan_folder(path, files, asked)


def _labelled_below(folder: Path, asked: Asked) -> list[str]:
    """Return the names of the folders in a folder that are labelled data."""
    with readable(str(folder)):
        inner = sorted(one for one in folder.iterdir() if one.is_dir())
    found = []
    for one in inner:
        with suppress(BadInput):
            _plan_folder(one, list_files(one), asked)
            found.append(one.name)
    return found


def _plan_folder(path: Path, files: Mapping[str, list[Path]], asked: Asked) -> Plan:
    kind = asked.kind
    search = kind in SEARCHES or (kind is None and ("corpus" in files or bool(_splits(files, "qrels"))))
    return _plan_search(path, files, kind, asked.split) if search else _plan_tables(path, files, asked)


def _plan_file(path: Path, asked: Asked) -> Plan:
    kind, split = asked.kind, asked.split
    if not suffix_of(path.name):
        raise BadInput(f"{path} is no table: it must end in {', '.join(FORMATS)}. Convert it, or rename it.")
    if kind in SEARCHES:
        raise BadInput(f"{path} is one file, and {kind} needs a folder with {SCHEMAS[str(kind)]}. Name the folder.")
    if split != TEST:
        raise BadInput(f"{path} is one file and has no split {split!r}. Name no split, or a folder with a file each.")
    found = kind or _kind_of(path, asked.named)
    if found is None:
        raise _unrecognised(path, {path.name: [path]}, named=asked.named)
    notes = (_ACCURACY,) if kind is None and found == "clustering" else _note_label(path, found, asked)
    return Plan(found, {TEST: path}, path.parent, notes)


def _plan_search(folder: Path, files: Mapping[str, list[Path]], kind: str | None, split: str) -> Plan:
    queries, qrels = _splits(files, "queries"), _splits(files, "qrels")
    parts = {"corpus": "corpus" in files, "queries": queries, "qrels": qrels}
    if missing := [part for part, found in parts.items() if not found]:
        raise _unrecognised(folder, files, f"it has no {' and no '.join(missing)}")
    usable = [
        name
        for name in dict.fromkeys((TEST, *sorted({*queries, *qrels} - {""})))
        if (name == TEST or name in queries or name in qrels) and _pick(queries, name) and _pick(qrels, name)
    ]
    split, notes = _choose_split(folder, usable, split)
    chosen = {
        "corpus": files["corpus"],
        "queries": _pick(queries, split),
        "qrels": _pick(qrels, split),
        "candidates": _pick(_splits(files, "candidates"), split) + _pick(_splits(files, "top_ranked"), split),
    }
    if kind == "retrieval" and chosen["candidates"]:
        notes = (*notes, f"Candidates were not read, since the kind is retrieval: {chosen['candidates'][0].name}.")
        chosen["candidates"] = []
    if kind == "reranking" and not chosen["candidates"]:
        raise _unrecognised(folder, files, "it has no candidates and no top_ranked, which reranking needs")
    paths = {part: single(found) for part, found in chosen.items() if found}
    return Plan("reranking" if "candidates" in paths else "retrieval", paths, folder, notes, split=split)


def _plan_tables(folder: Path, files: Mapping[str, list[Path]], asked: Asked) -> Plan:
    kind, split, named = asked.kind, asked.split, asked.named
    tables = {name: found for name, found in files.items() if "/" not in name}
    if not tables or not (kind or split in tables or any(_kind_of(found[0], named) for found in tables.values())):
        raise _unrecognised(folder, files, named=named)
    split, notes = _choose_split(folder, list(tables), split)
    test, train = single(tables[split]), tables.get(TRAIN) if split != TRAIN else None
    found = kind or _kind_of(test, named)
    if found is None:
        raise _unrecognised(folder, files, named=named)
    if found == "clustering" and kind is None and train:
        found = "classification"
    if found == "classification" and not train:
        raise BadInput(
            f"{folder} has no table 'train' beside {test.name}, and classification learns from one. Add it, name the "
            "file alone to have it halved, or choose the kind clustering."
        )
    learnt = {TRAIN: single(train)} if found == "classification" and train else {}
    return Plan(found, {**learnt, TEST: test}, folder, (*notes, *_note_label(test, found, asked)), split=split)


def _splits(files: Mapping[str, list[Path]], part: str) -> dict[str, list[Path]]:
    """Return the files of a part by split: `qrels` has an empty one, `qrels_train` and `qrels/train` are of `train`."""
    found: dict[str, list[Path]] = {}
    for name, paths in files.items():
        rest = name.removeprefix(part)
        if name.startswith(part) and (not rest or (rest[0] in "/_-." and len(rest) > 1)):
            found.setdefault(rest[1:], []).extend(paths)
    return found


def _pick(splits: Mapping[str, list[Path]], split: str) -> list[Path]:
    """Return the files of a split, or those of all splits."""
    return splits.get(split) or splits.get("", [])


def _choose_split(folder: Path, splits: Sequence[str], split: str) -> tuple[str, tuple[str, ...]]:
    """Return the split to evaluate on, and a note if it is not the one asked for."""
    if split in splits:
        return split, ()
    others = [name for name in splits if name != TRAIN] or list(splits)
    if split == TEST and len(others) == 1:
        return others[0], (f"There is no split 'test': {others[0]!r} was read.",)
    raise BadInput(f"{folder} has no split {split!r}; there are: {some(splits) or 'none'}. Choose one of them.")


def _kind_of(path: Path, named: Named) -> str | None:
    """Return the kind that the first row of a table shows and that reads all named columns, None if there is none."""
    cells = first_record(path).cells
    for kind, roles in _SHAPES.items():
        of_table = {role: column for role, (_, column) in names_of(named, TEST, roles).items()}
        readable_so = read_by(kind, named) or (kind == "clustering" and read_by("classification", named))
        if readable_so and has_roles(tuple(cells), roles, of_table) and (kind != "sts" or _is_scored(cells, of_table)):
            return kind
    return None


def _is_scored(cells: Mapping[str, object], named: Mapping[str, str]) -> bool:
    """Return whether a pair of texts has a score: a column `label` that nobody named may hold names of classes."""
    column = _label_for_score(cells, named)
    if column is None:
        return True
    try:
        number_of(cells[column], "the label")
    except BadInput:
        return False
    return True


def _label_for_score(cells: Mapping[str, object], named: Mapping[str, str]) -> str | None:
    """Return the column `label` if it is read as the score, and nobody named it."""
    column = columns_of("score", tuple(cells))[0] if "score" not in named else ""
    return column if column.strip().lower() == "label" else None


def _note_label(test: Path, found: str, asked: Asked) -> tuple[str, ...]:
    """Return a note if the kind was guessed by a column `label` of numbers, which may be classes too."""
    if asked.kind is not None or found != "sts":
        return ()
    named = {role: column for role, (_, column) in names_of(asked.named, TEST, _SHAPES["sts"]).items()}
    column = _label_for_score(first_record(test).cells, named)
    return () if column is None else (_SIMILARITY.format(column),)


def _unrecognised(
    path: Path, files: Mapping[str, list[Path]], problem: str = "", *, named: Named = UNNAMED
) -> BadInput:
    """Return the error that a folder or a file has none of the schemas, with the files and columns it has.

    If columns were named, it may be the error that no table has one of them.
    """
    if named:
        _refuse_absent_columns(path, files, named)
        problem = f"no kind reads {some(named)} from such tables"
    shown = some(_with_columns(found) for paths in files.values() for found in paths)
    if not shown:
        with readable(str(path)):
            shown = f"no table, but {some(sorted(entry.name for entry in path.iterdir())) or 'nothing'}"
    schemas = "; ".join(f"{kind}: {schema}" for kind, schema in SCHEMAS.items())
    return BadInput(
        f"{path} is not labelled data of a known schema{f': {problem}' if problem else ''}. It holds: "
        f"{shown}. The schemas are: {schemas}. Tables end in {', '.join(FORMATS)}. {NAMING}"
    )


def _refuse_absent_columns(path: Path, files: Mapping[str, list[Path]], named: Named) -> None:
    """Raise for a named column that the table test or train lacks, or all tables."""
    every: dict[str, None] = {}
    for found in files.values():
        with suppress(BadInput):  # of a file that may have nothing to do with the data
            every |= dict.fromkeys(first_record(found[0]).cells)
    refuse_absent(named, list(every), str(path))
    for table in (one for one in (TRAIN, TEST) if one in files):
        own = {name: column for name, column in named.items() if name.partition(".")[0] == table or "." not in name}
        refuse_absent(own, list(first_record(files[table][0]).cells), str(files[table][0]))


def _with_columns(path: Path) -> str:
    try:
        columns = list(first_record(path).cells)
        hint = "; its first line must name the columns" if _look_like_data(columns) else ""
        return f"{path.name} (columns: {some(columns, 20) or 'none'}{hint})"
    except BadInput:  # of a file that may have nothing to do with the data
        return f"{path.name} (unreadable or empty)"


def _look_like_data(columns: Sequence[str]) -> bool:
    """Return whether names of columns are rather the first row of a table without names.

    >>> _look_like_data(["text", "my label"]), _look_like_data(["A pool that a collapse made.", "4.2"])
    (False, True)
    """
    return any(len(column.split()) > _WORDS or _is_number(column) for column in columns)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
