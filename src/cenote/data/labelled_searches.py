"""Judgments and candidates of searches: which queries and documents they name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from cenote.data.labelled_columns import has_roles
from cenote.data.labelled_files import RoleColumns, count_ids, first_record, read_columns
from cenote.errors import BadInput


def judge(
    table: RoleColumns, queries: Collection[str], documents: Collection[str], where: object
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Return the grades of queries that have a relevant document, in the order of the queries, and notes."""
    found: dict[str, dict[str, int]] = {query: {} for query in queries}
    strange: dict[str, list[str]] = {"queries": [], "documents": []}
    raised, repeated = "", []
    for query, document, grade in zip(table["query_id"], table["document_id"], table["grade"], strict=True):
        if query not in found:
            strange["queries"].append(query)
        elif document not in documents:
            strange["documents"].append(document)
            if grade > 0:  # trec_eval takes it for a relevant document that was not found
                raised = ", so that scores are higher than by all judgments"
        else:
            if found[query].get(document, grade) != grade:
                repeated.append(f"{query} {document}")
            found[query][document] = max(grade, found[query].get(document, grade))
    kept = {query: grades for query, grades in found.items() if max(grades.values(), default=0) > 0}
    dropped = {part: f"Judgments of unknown {part} were dropped" for part in strange}
    notes = [count_ids(ids, dropped[part]) for part, ids in strange.items()]
    if not kept:
        why = " ".join(filter(None, notes)) or "No grade is above 0."
        raise BadInput(f"{where}: no judgment gives a known query a relevant document. {why} Check the ids.")
    irrelevant = [query for query, grades in found.items() if grades and query not in kept]
    return kept, [
        notes[0],
        count_ids(strange["documents"], dropped["documents"] + raised),
        count_ids(repeated, "Judgments with several grades have the highest"),
        count_ids([query for query, grades in found.items() if not grades], "Queries without judgments were dropped"),
        count_ids(irrelevant, "Queries without a grade above 0 were dropped"),
    ]


def read_candidates(path: Path, columns: Mapping[str, str]) -> RoleColumns:
    """Return queries with candidates of each, in rows of one or several."""
    listed = has_roles(tuple(first_record(path).cells), ("document_ids",), columns)
    table = read_columns(path, ("query_id", "document_ids" if listed else "document_id"), named=columns)
    named = table["document_ids"] if listed else tuple((document,) for document in table["document_id"])
    return RoleColumns({"query_id": table["query_id"], "document_ids": named}, table.places, table.notes)


def match_candidates(
    table: RoleColumns,
    queries: Collection[str],
    documents: Collection[str],
    judgments: Mapping[str, Mapping[str, int]],
    where: object,
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the candidates of each query that has judgments, and notes."""
    found: dict[str, dict[str, None]] = {query: {} for query in judgments}
    strange: list[str] = []
    for query, ids in zip(table["query_id"], table["document_ids"], strict=True):
        strange += [document for document in ids if document not in documents]
        if query in found:
            found[query].update(dict.fromkeys(document for document in ids if document in documents))
    kept = {query: list(ids) for query, ids in found.items() if ids}
    lost = [query for query in table["query_id"] if query not in queries]
    notes = [
        count_ids(strange, "Unknown candidates were dropped"),
        count_ids(lost, "Candidates of unknown queries were dropped"),
    ]
    if not kept:
        raise BadInput(
            f"{where}: no query with judgments has a known candidate. {' '.join(filter(None, notes))} Check the ids."
        )
    hopeless = [query for query, ids in kept.items() if not any(judgments[query].get(name, 0) > 0 for name in ids)]
    return kept, [
        *notes,
        count_ids([query for query in found if query not in kept], "Queries without candidates were dropped"),
        count_ids(hopeless, "Queries have no relevant document among their candidates"),
    ]


def same_text(judgments: Mapping[str, Mapping[str, int]], texts: Mapping[str, str]) -> list[str]:
    """Return the queries whose text is also that of a query with other relevant documents: one of them must lose."""
    answers: dict[str, set[frozenset[str]]] = {}
    for query, grades in judgments.items():
        relevant = frozenset(document for document, grade in grades.items() if grade > 0)
        answers.setdefault(texts[query], set()).add(relevant)
    return [query for query in judgments if len(answers[texts[query]]) > 1]
