"""The pairs that models are trained on, and the searches that score them.

No relevant text and no query of a search is in a pair: posts of the test split whose subject was trained on are left
out, and so are training claims on abstracts that the test claims are about.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

import cenote
from cenote.data.labelled import Retrieval, read_labelled
from cenote.errors import BadInput
from experiments import data_sets

# Folders of the pairs, and of the searches that are built: from texts that no pair has, which their builders see to.
SOURCES = ("20news_full", "scifact", "text_imdb_unsup", "text_wikitext2", "imdb")
# Searches with judgments, unless others are given.
JUDGED = ("cranfield",)
# Places of the evidence in a longer text.
PLACES = {"start": 0.0, "middle": 0.5, "end": 1.0}
# Tokens of a post, without special tokens: what a window of 128 holds, what one of 512 holds, and longer.
LENGTHS = {"short": (0, 120), "middle": (120, 500), "long": (500, 10**9)}


@dataclass(frozen=True)
class Search:
    """A search, the tokens that a model reads of its texts, and the parts that its queries are in."""

    length: int
    data: Any
    parts: dict[str, str] = field(default_factory=dict)


def rows_of(name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a gzipped file of JSON lines below the folder of data."""
    with gzip.open(data_sets.DATA / name, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def read_posts(split: str) -> list[tuple[str, str]]:
    """Return subject and body of the posts of 20 Newsgroups, without headers, quotes and repeated subjects."""
    found_posts: list[tuple[str, str]] = []
    seen = set()
    for row in rows_of(f"20news_full/{split}.jsonl.gz"):
        header, _, body = row["text"].partition("\n\n")
        found = re.search(r"^Subject:(.*)$", header, re.MULTILINE)
        subject = re.sub(r"^\s*(re\s*:\s*)+", "", found.group(1) if found else "", flags=re.IGNORECASE).strip()
        body = data_sets.without_quotes(body)
        if subject.lower() not in seen and len(subject.split()) > 1 and len(body.split()) >= 20:
            seen.add(subject.lower())
            found_posts.append((subject, body))
    random.Random(0).shuffle(found_posts)  # noqa: S311  they are sorted by group
    return found_posts


def training_pairs(sizes: dict[str, int]) -> list[tuple[str, str]]:
    """Return subjects with bodies, claims with abstracts, and spans of reviews and of Wikipedia.

    Args:
        sizes: pairs of each source, at most.
    """
    pairs = read_posts("train")[: sizes["posts"]]
    abstracts = {row["id"]: f"{row['title']} {row['text']}" for row in rows_of("scifact/corpus.jsonl.gz")}
    claims = {row["id"]: row["text"] for row in rows_of("scifact/queries_train.jsonl.gz")}
    with gzip.open(data_sets.DATA / "scifact/qrels_train.tsv.gz", "rt", encoding="utf-8") as lines:
        judged = [line.split("\t") for line in list(lines)[1:]]
    tested = {
        document for grades in read_labelled(data_sets.DATA / "scifact").judgments.values() for document in grades
    }
    judged = [line for line in judged if line[1] not in tested]
    pairs += [(claims[query], abstracts[document]) for query, document, _ in judged][: sizes["claims"]]
    for name, folder in (("reviews", "text_imdb_unsup"), ("articles", "text_wikitext2")):
        texts = [row["text"] for row in rows_of(f"{folder}/text.jsonl.gz")]
        mined = cenote.mine_pairs(texts, "spans", words=(8, 64), limit=sizes[name])
        pairs += [(pair.query, pair.positive) for pair in mined.pairs or ()]
    if sizes.get("meetings"):
        meetings = {row["id"]: row["text"] for row in rows_of("qmsum/corpus.jsonl.gz")}
        with gzip.open(data_sets.DATA / "qmsum/qrels.tsv.gz", "rt", encoding="utf-8") as lines:
            asked = dict(line.split("\t")[:2] for line in list(lines)[1:])
        questions = [row for row in rows_of("qmsum/queries.jsonl.gz") if "_s" in row["id"]]
        chosen = [row for row in questions if asked[row["id"]].startswith("train")][: sizes["meetings"]]
        pairs += [(row["text"], meetings[asked[row["id"]]]) for row in chosen]
    return pairs


def plain_texts(count: int) -> list[str]:
    """Return texts without labels, for masked language modelling."""
    names = ("text_wikitext2/text.jsonl.gz", "text_imdb_unsup/text.jsonl.gz")
    texts = [row["text"] for name in names for row in rows_of(name)] + [body for _, body in read_posts("train")]
    random.Random(0).shuffle(texts)  # noqa: S311
    return texts[:count]


def judged_searches(names: Iterable[str], pairs: Sequence[tuple[str, str]], *, sampled: bool) -> dict[str, Retrieval]:
    """Return labelled data with queries and judgments by the names of their folders, or samples of them.

    Raise for other data, for names that those of built searches begin with, and for texts that training has.
    """
    found: dict[str, Retrieval] = {}
    trained = {text for pair in pairs for text in pair}
    for given in names:
        data, name = data_sets.retrieval_of(given, sampled), Path(given).name.replace(" ", "-")
        if name in found or name.startswith(("posts", "evidence")):
            raise BadInput(f"data {given!r}: {name!r} is the name of another search: give the folder another name.")
        if shared := trained & _asked_and_relevant(data):
            raise BadInput(
                f"data {given!r}: {len(shared):,} of its queries and relevant texts are trained on, such as "
                f"{min(shared)[:60]!r}: give other data."
            )
        found[name] = data
    return found


def _asked_and_relevant(data: Retrieval) -> set[str]:
    """Return the queries and the relevant texts of a search, these with and without their titles."""
    relevant = {name for grades in data.judgments.values() for name, grade in grades.items() if grade > 0}
    rows = [row for row, name in enumerate(data.corpus_ids) if name in relevant]
    return {*data.queries} | {
        text for row in rows for text in (data.texts[row], f"{data.titles[row]} {data.texts[row]}".strip())
    }


def searches(
    tokenizer: PreTrainedTokenizerBase, lengths: list[int], sizes: dict[str, int], judged: Mapping[str, Retrieval]
) -> dict[str, Search]:
    """Return the searches by name, each with the tokens that a model reads of a text.

    - those with judgments, such as `cranfield`: abstracts, of which seven of ten are cut at 128 tokens.
    - `posts N`: posts by their subjects; a third fits into the short window, a third into the middle one. The
      beginning of a post mostly has what its subject asks for.
    - `evidence N`: the beginnings of abstracts that claims are about, each at the start, in the middle and at the end
      of reviews: the same claims and abstracts at every length.

    Args:
        tokenizer: counts tokens.
        lengths: tokens that a model reads, the one of the training first.
        sizes: of posts, and of texts with evidence at each length.
        judged: searches with judgments.
    """
    found = {name: Search(lengths[0], data) for name, data in judged.items()}
    posts, parts = _posts_by_length(tokenizer, sizes["posts"])
    found |= {f"posts {length}": Search(length, posts, parts) for length in lengths[:2]}
    for length in lengths[1:]:
        for place, share in PLACES.items():
            built = _with_evidence(tokenizer, length, share, lengths[1], sizes["evidence"])
            found[f"evidence {length} {place}"] = Search(length, built)
    return found


def _count(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _posts_by_length(tokenizer: Any, count: int) -> tuple[Retrieval, dict[str, str]]:
    """Return a search, and whether the post of each query is short, of middle length or long."""
    groups: dict[str, list[tuple[str, str]]] = {name: [] for name in LENGTHS}
    training = read_posts("train")
    trained = {subject.lower() for subject, _ in training}
    phrases = {phrase for _, body in training for phrase in _phrases(body)}
    for subject, body in read_posts("test"):
        own = _phrases(body)
        if subject.lower() in trained or len(own & phrases) > 0.2 * len(own):
            continue
        tokens = _count(tokenizer, body)
        name = next(name for name, (low, high) in LENGTHS.items() if low <= tokens < high)
        if len(groups[name]) < count // 3:
            groups[name].append((subject, body))
    parts = {f"q{number}": name for number, name in enumerate(name for name in groups for _ in groups[name])}
    return _one_each([pair for group in groups.values() for pair in group]), parts


def _phrases(text: str, words: int = 8) -> set[int]:
    """Return hashes of all runs of eight words."""
    each = text.lower().split()
    return {hash(tuple(each[at : at + words])) for at in range(len(each) - words + 1)}


def _one_each(rows: list[tuple[str, str]]) -> Retrieval:
    """Return a search in which each query has one document."""
    ids = [f"d{number}" for number in range(len(rows))]
    queries = [f"q{number}" for number in range(len(rows))]
    return Retrieval(
        corpus_ids=tuple(ids),
        titles=("",) * len(rows),
        texts=tuple(row[1] for row in rows),
        query_ids=tuple(queries),
        queries=tuple(row[0] for row in rows),
        judgments={query: {document: 1} for query, document in zip(queries, ids, strict=True)},
    )


def _with_evidence(tokenizer: Any, length: int, share: float, shortest: int, count: int) -> Retrieval:
    """Return claims, each with the beginning of its abstract within reviews that fill a text of `length` tokens."""
    test = read_labelled(data_sets.DATA / "scifact")
    abstracts = dict(zip(test.corpus_ids, test.texts, strict=True))
    claims = dict(zip(test.query_ids, test.queries, strict=True))
    fillers = [row["text"] for row in rows_of("imdb/test.jsonl.gz")][::7]
    generator, taken, rows = random.Random(0), set(), []  # noqa: S311
    for query, grades in test.judgments.items():
        (document, *more) = grades
        if more or document in taken or len(rows) == count:
            continue
        taken.add(document)
        evidence = " ".join(abstracts[document].split()[: min(60, shortest // 6)])
        room = length - 8 - _count(tokenizer, evidence) - length // 16  # for landmarks
        words: list[str] = []
        while _count(tokenizer, " ".join(words)) < room:
            words += generator.choice(fillers).split()
        while words and _count(tokenizer, " ".join(words)) > room:
            words = words[: -max(1, len(words) // 100)]
        place = round(share * len(words))
        rows.append((claims[query], " ".join([*words[:place], evidence, *words[place:]])))
    return _one_each(rows)
