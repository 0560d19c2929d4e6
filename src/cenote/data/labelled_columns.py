"""The columns that a call names by role, `{"text": "review", "queries.text": "ask"}`: checked and found in each table.

A name of a role alone is of every table that has the role; with a table before it, of that table only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cenote.data.labelled_files import ROLES, columns_of, first_record, plain_name
from cenote.errors import BadInput, choose, some

Named = Mapping[str, str]  # columns by "role" or "table.role", in the names that the schemas have for roles
_JUDGED = ("query_id", "document_id", "grade")
_LABELLED = ("text", "label")
# The roles that the tables of each kind are read for.
_SEARCH: dict[str, tuple[str, ...]] = {"corpus": ("id", "text", "title"), "queries": ("id", "query"), "qrels": _JUDGED}
READS: dict[str, dict[str, tuple[str, ...]]] = {
    "retrieval": _SEARCH,
    "reranking": _SEARCH | {"candidates": ("query_id", "document_ids", "document_id")},
    "classification": {"train": _LABELLED, "test": _LABELLED},
    "clustering": {"test": _LABELLED},
    "sts": {"test": ("first", "second", "score", "subset")},
    "summarisation": {"test": ("text", "human", "machine", "ratings", "id")},
}
# Roles that a table may lack.
_OPTIONAL = {("corpus", "title"), ("test", "subset"), ("test", "id"), ("candidates", "document_id")}
_OPTIONAL |= {("candidates", "document_ids")}
_WHERE = "(data_columns, --data-columns)"


def spoken(role: str) -> str:
    """Return the name that the schemas have for a role.

    >>> spoken("query"), spoken("document_id")
    ('text', 'doc_id')
    """
    return ROLES[role].columns[0]


def check_names(named: Named) -> None:
    """Raise for a name that is no role, or no table of labelled data."""
    tables = {table: None for kind in READS.values() for table in kind}
    every = {spoken(role): None for kind in READS.values() for roles in kind.values() for role in roles}
    for name in named:
        table, dot, role = name.rpartition(".")
        if dot:
            choose(table, tables, f"table in {name!r} {_WHERE}: table")
        choose(role, every, f"column of labelled data {_WHERE}")


def names_of(named: Named, table: str, roles: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the name that was given for each role of a table, and the column: that with the table comes first.

    >>> names_of({"text": "body", "queries.text": "ask"}, "queries", ["id", "query"])
    {'query': ('queries.text', 'ask')}
    """
    found = {}
    for role in roles:
        for name in (f"{table}.{spoken(role)}", spoken(role)):
            if name in named:
                found[role] = (name, named[name])
                break
    return found


def has_roles(columns: tuple[str, ...], roles: Sequence[str], named: Mapping[str, str]) -> bool:
    """Return whether a table has a column for each of the roles, the named ones under their names."""
    return all(find(named[role], columns) if role in named else columns_of(role, columns) for role in roles)


def find(name: str, columns: Sequence[str]) -> str | None:
    """Return the column of a name; case, blanks at the ends and kinds of dashes do not matter.

    >>> find("Stars", ["review", " stars"]), find("star", ["stars"])
    (' stars', None)
    """
    alike = [column for column in columns if plain_name(column) == plain_name(name)]
    return name if name in columns else next(iter(alike), None)


def read_by(kind: str, named: Named) -> bool:
    """Return whether a kind reads every role that is named."""
    return not _unread(kind, named)


def _unread(kind: str, named: Named) -> list[str]:
    used = {name for table, roles in READS[kind].items() for name, _ in names_of(named, table, roles).values()}
    return [name for name in named if name not in used]


def resolve(named: Named, kind: str, files: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Return the named column of each role, by table.

    Raises:
        BadInput: if the kind reads no such role, a table lacks a column, or one column has two roles in a table.
    """
    if not named:
        return {table: {} for table in files}
    if unread := _unread(kind, named):
        roles = dict.fromkeys(spoken(role) for one in READS[kind].values() for role in one)
        raise BadInput(
            f"{some(map(repr, unread))} {_WHERE}: {kind} reads no such column. It reads: {some(roles, 20)}. Correct "
            "the name, or the kind."
        )
    return {table: _resolve_table(named, table, READS[kind][table], path) for table, path in files.items()}


def refuse_absent(named: Named, columns: Sequence[str], where: str) -> None:
    """Raise for a named column that is none of the columns of a place, with a near miss."""
    for name, column in named.items():
        if find(column, columns) is None:
            alone = "" if "." in name else f"Of one table alone it is TABLE.{name}={column}."
            what = f"column of {where}, named for {name!r} {_WHERE},"
            choose(column, dict.fromkeys(columns), what, remedy=alone)


def _resolve_table(named: Named, table: str, roles: Sequence[str], path: Path) -> dict[str, str]:
    columns, found = tuple(first_record(path).cells), {}
    for role, (name, column) in names_of(named, table, roles).items():
        if (table, role) not in _OPTIONAL:
            refuse_absent({name: column}, columns, str(path))
        found[role] = find(column, columns) or column
    for column, count in Counter(found.values()).items():
        if count > 1:
            raise BadInput(f"{path}: the column {column!r} is named for {count} roles {_WHERE}. Name it for one.")
    return found
