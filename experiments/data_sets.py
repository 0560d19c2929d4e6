"""Real texts and labelled data by name, from the folder that CENOTE_DATA names (default: ../shared/data).

Any other name is a path of the user's own, in any form that `cenote` reads.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from cenote.data.labelled import Classification, Labelled, Labels, Retrieval, read_labelled
from cenote.data.labelled_samples import Sizes, sample_labelled
from cenote.data.rows import Text
from cenote.data.sampling import sample_texts
from cenote.data.texts import read
from cenote.errors import BadInput

DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
BUILT_IN = "built-in"
# The file of each data set whose texts are read, and the columns of a text.
TEXTS = {
    "scifact": ("scifact/corpus.jsonl.gz", ("title", "text")),
    "cranfield": ("cranfield/corpus.jsonl.gz", ("title", "text")),
    "cisi": ("cisi/corpus.jsonl.gz", ("title", "text")),
    "20news_full": ("20news_full/test.jsonl.gz", ("text",)),
    "imdb": ("imdb/test.jsonl.gz", ("text",)),
    "wikitext": ("text_wikitext2/text.jsonl.gz", ("text",)),
    "qmsum": ("qmsum/corpus.jsonl.gz", ("text",)),
}


def ask_by_answers(search: Retrieval, folder: Path) -> Retrieval:
    """Return the search for meetings by what answers their questions: the same ids and judgments, longer queries."""
    path = folder / "queries_answer.jsonl.gz"
    answers = {one.id: one.text for one in read(path, columns=("text",))}
    if missing := next((name for name in search.query_ids if name not in answers), None):
        raise BadInput(f"{str(path)!r} has no answer to {missing!r}, which is a query of that folder.")
    return replace(search, queries=tuple(answers[name] for name in search.query_ids))


def reverse(search: Retrieval, _: Path) -> Retrieval:
    """Return the search for queries by the documents that are relevant to them.

    >>> some = Retrieval(("d", "e"), ("A", ""), ("b", "c"), ("q",), ("what?",), {"q": {"d": 1, "e": 0}})
    >>> turned = reverse(some, Path())
    >>> turned.texts, turned.queries, turned.judgments
    (('what?',), ('A b',), {'d': {'q': 1}})
    """
    judgments: dict[str, dict[str, int]] = {}
    for query, grades in search.judgments.items():
        for document, grade in grades.items():
            if grade > 0:
                judgments.setdefault(document, {})[query] = grade
    documents = dict(zip(search.corpus_ids, search.documents, strict=True))
    return Retrieval(
        corpus_ids=search.query_ids,
        titles=("",) * len(search.queries),
        texts=search.queries,
        query_ids=tuple(judgments),
        queries=tuple(documents[name] for name in judgments),
        judgments=judgments,
    )


# A line of the headers of a post, and a line that quotes another post or says whom it quotes.
_HEADER, _QUOTED = re.compile(r"[\w-]+: "), re.compile(r"\s*[>|:]|.*\b(?:writes|wrote|article)\b")


def body_of(text: str) -> str:
    r"""Return a text unchanged, or what the author of a post wrote, if it begins with headers.

    >>> body_of("From: me\nSubject: a pool\n\nYou wrote:\n> Is it deep?\nVery."), body_of("Note: it is deep.\n\nVery.")
    ('Very.', 'Note: it is deep.\n\nVery.')
    """
    head, _, body = text.partition("\n\n")
    lines = head.split("\n")
    return without_quotes(body) if len(lines) > 1 and all(map(_HEADER.match, lines)) else text


def without_quotes(body: str) -> str:
    """Return what the author of a post wrote."""
    return "\n".join(line for line in body.split("\n") if not _QUOTED.match(line)).strip()


# Kinds of the meetings of QMSum, by the letters that their names begin with: the design of a remote control, three
# research groups, and two committees. Two meetings are of no kind with others.
MEETINGS = {"ES": "design", "IS": "design", "TS": "design"} | {
    kind: kind for kind in ("Bed", "Bmr", "Bro", "education", "covid")
}
# Words and punctuation marks of the shortest and the longest passages.
PASSAGES = (32, 512)


@dataclass(frozen=True)
class Passage:
    """A part of a meeting."""

    text: str
    kind: str
    meeting: str  # or the series of meetings of one team
    split: str


def passages_of(search: Retrieval) -> Iterator[Passage]:
    """Yield meetings in parts of random lengths, so that the length says nothing of the kind.

    Names of speakers and marks such as `{laugh}` and `[Laughter.]` are left out, since they tell the kind. So does
    punctuation that is part of a word in some transcripts and a word of its own in others: it is one of its own here,
    and is counted.
    """
    random, (least, most) = np.random.default_rng(0), PASSAGES
    for name, text in zip(search.corpus_ids, search.texts, strict=True):
        split, _, meeting = name.partition("_")
        letters = re.sub(r"[^A-Za-z].*", "", meeting)
        marks = re.findall(r"\w+|[^\w\s]", re.sub(r"(?m)^[^:\n]*:|\{[^}]*\}|\[[^\]]*\]", " ", text))
        while letters in MEETINGS and len(marks) >= least:
            count = int(np.exp(random.uniform(np.log(least), np.log(most + 1))))  # as many of 32 to 64 as of 256 to 512
            series = meeting[:-1] if MEETINGS[letters] == "design" else meeting
            yield Passage(" ".join(marks[:count]), MEETINGS[letters], series, split)
            del marks[:count]


def cut_meetings(search: Retrieval, _: Path) -> Classification:
    """Return passages of meetings with their kinds as labels."""
    parts: dict[bool, list[Passage]] = {True: [], False: []}
    for one in passages_of(search):
        parts[one.split == "train"].append(one)
    train, test = (Labels(tuple(one.text for one in some), tuple(one.kind for one in some)) for some in parts.values())
    return Classification(train, test)


def sources_of(name: str) -> dict[str, str]:
    """Return the meeting of each passage by its text; empty for data whose texts have each a source of their own."""
    if name != "qmsum_passages":
        return {}
    return {one.text: one.meeting for one in passages_of(cast("Retrieval", read_labelled(DATA / folder_of(name))))}


# Data that are made of searches: by name, the folder of the search, and how they are made.
DERIVED: dict[str, tuple[str, Callable[[Retrieval, Path], Labelled]]] = {
    "qmsum_answers": ("qmsum", ask_by_answers),
    "scifact_abstracts": ("scifact", reverse),
    "qmsum_passages": ("qmsum", cut_meetings),
}


def refuse_missing_data(names: Iterable[str]) -> None:
    """Raise for a name that is neither a data set which is here nor a path."""
    for name in names:
        place = DATA / (TEXTS[name][0] if name in TEXTS else folder_of(name))
        if name != BUILT_IN and not place.exists() and not Path(name).exists():
            raise BadInput(
                f"there is no data set {name!r} in {str(DATA)!r}: name the folder that has it in the variable "
                "CENOTE_DATA, or data of your own (--data)."
            )


def texts_of(name: str, count: int, seed: int = 0) -> list[Text]:
    """Return a fixed sample of the texts of a data set, of `built-in` (docstrings of Python), or of a path."""
    if name == BUILT_IN:
        return sample_texts(None, count, seed)[0]
    if name in DERIVED:
        raise BadInput(f"{name} is made of {DERIVED[name][0]} with labels of its own: give {DERIVED[name][0]}.")
    path, columns = TEXTS.get(name, (name, None))
    return sample_texts(list(read(DATA / path if name in TEXTS else path, columns=columns)), count, seed, name)[0]


def folder_of(name: str) -> str:
    """Return the folder below the data that has a data set, or the path that is given."""
    if name in DERIVED:
        return DERIVED[name][0]
    return str(Path(TEXTS[name][0]).parent) if name in TEXTS else name


def fingerprint_of(name: str) -> str:
    """Return a digest of all bytes of a data set; of `built-in` the Python whose docstrings it is."""
    if name == BUILT_IN:
        return sys.version
    known = DATA / folder_of(name)
    place = known if known.exists() else Path(name)
    digest = hashlib.sha256()
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        if path.is_file():  # what does not exist is refused by what reads it
            digest.update(f"{path.relative_to(place)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def labelled_of(name: str, quick: bool = True, kind: str | None = None) -> Labelled:
    """Return labelled data by the name of their folder below the data, or by a path; a fixed sample where `quick`."""
    known = DATA / folder_of(name)
    data = read_labelled(known if known.exists() else name, None if name in DERIVED else kind)
    if name in DERIVED:
        data = DERIVED[name][1](cast("Retrieval", data), known)
        if kind not in (None, data.kind):
            raise BadInput(f"{name} holds {data.kind}: give data for {kind}.")
    return sample_labelled(data) if quick else data


def retrieval_of(name: str, quick: bool) -> Retrieval:
    """Return labelled data with queries and judgments, as `labelled_of`; raise for other data."""
    data = labelled_of(name, quick)
    if not isinstance(data, Retrieval):
        raise BadInput(f"{name} holds {data.kind}: give data with queries and judgments.")
    return data


def search_of(name: str, sizes: Sizes) -> tuple[Retrieval, list[Text]]:
    """Return a fixed sample of judged queries, and its documents with their titles before them."""
    sample = cast("Retrieval", sample_labelled(retrieval_of(name, quick=False), sizes=sizes))
    documents = zip(sample.corpus_ids, sample.titles, sample.texts, strict=True)
    return sample, [Text(name, f"{title} {text}".strip()) for name, title, text in documents]
