"""The pairs that models are trained on, and the searches that score them, none of whose texts is trained on."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

import cenote
from cenote.data.labelled import Retrieval, read_labelled

DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
# Lines of quoted posts, and those that introduce them.
_QUOTED = re.compile(r"\s*[>|:]|.*\b(writes|wrote|article)\b")
# Places of the evidence in a longer text.
PLACES = {"start": 0.0, "middle": 0.5, "end": 1.0}


def rows_of(name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a gzipped file of JSON lines below the folder of data."""
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def posts(split: str) -> Iterator[tuple[str, str]]:
    """Yield subject and body of the posts of 20 Newsgroups, without headers, quotes and repeated subjects."""
    seen = set()
    for row in rows_of(f"20news_full/{split}.jsonl.gz"):
        header, _, body = row["text"].partition("\n\n")
        found = re.search(r"^Subject:(.*)$", header, re.MULTILINE)
        subject = re.sub(r"^\s*(re\s*:\s*)+", "", found.group(1) if found else "", flags=re.IGNORECASE).strip()
        lines = [
            line for line in body.split("\n") if not re.match(r"\s*[>|:]|.*(writes|wrote|article)\b.*:?\s*$", line)
        ]
        body = "\n".join(lines).strip()
        if subject.lower() not in seen and len(subject.split()) > 1 and len(body.split()) >= 20:
            seen.add(subject.lower())
            yield subject, body


def training_pairs(sizes: dict[str, int]) -> list[tuple[str, str]]:
    """Return subjects with bodies, claims with abstracts, and spans of reviews and of Wikipedia.

    Args:
        sizes: pairs of each source, at most.
    """
    pairs = list(posts("train"))[: sizes["posts"]]
    abstracts = {row["id"]: f"{row['title']} {row['text']}" for row in rows_of("scifact/corpus.jsonl.gz")}
    claims = {row["id"]: row["text"] for row in rows_of("scifact/queries_train.jsonl.gz")}
    with gzip.open(DATA / "scifact/qrels_train.tsv.gz", "rt", encoding="utf-8") as lines:
        judged = [line.split("\t") for line in list(lines)[1:]]
    pairs += [(claims[query], abstracts[document]) for query, document, _ in judged][: sizes["claims"]]
    for name, folder in (("reviews", "text_imdb_unsup"), ("articles", "text_wikitext2")):
        texts = [row["text"] for row in rows_of(f"{folder}/text.jsonl.gz")]
        mined = cenote.mine_pairs(texts, "spans", words=(8, 64), limit=sizes[name])
        pairs += [(pair.query, pair.positive) for pair in mined.pairs or ()]
    if sizes.get("meetings"):
        meetings = {row["id"]: row["text"] for row in rows_of("qmsum/corpus.jsonl.gz")}
        with gzip.open(DATA / "qmsum/qrels.tsv.gz", "rt", encoding="utf-8") as lines:
            asked = dict(line.split("\t")[:2] for line in list(lines)[1:])
        questions = [row for row in rows_of("qmsum/queries.jsonl.gz") if "_s" in row["id"]]
        chosen = [row for row in questions if asked[row["id"]].startswith("train")][: sizes["meetings"]]
        pairs += [(row["text"], meetings[asked[row["id"]]]) for row in chosen]
    return pairs


def plain_texts(count: int) -> list[str]:
    """Return texts without labels, for masked language modelling."""
    names = ("text_wikitext2/text.jsonl.gz", "text_imdb_unsup/text.jsonl.gz")
    texts = [row["text"] for name in names for row in rows_of(name)] + [body for _, body in posts("train")]
    random.Random(0).shuffle(texts)  # noqa: S311
    return texts[:count]


def searches(
    tokenizer: PreTrainedTokenizerBase, lengths: list[int], sizes: dict[str, int]
) -> dict[str, tuple[int, Any]]:
    """Return the searches by name, each with the tokens that a model reads of a text.

    - `cranfield`: short texts, all judged.
    - `posts N`: unseen posts by their subjects, a third of them short, a third of middle length, a third long.
    - `evidence N`: abstracts that claims are about, each at the start, in the middle and at the end of reviews.

    Args:
        tokenizer: counts tokens.
        lengths: tokens that a model reads, the one of the training first.
        sizes: of posts, and of texts with evidence at each length.
    """
    found: dict[str, tuple[int, Any]] = {"cranfield": (lengths[0], read_labelled(DATA / "cranfield"))}
    chosen = _posts_by_length(tokenizer, sizes["posts"])
    found |= {f"posts {length}": (length, chosen) for length in lengths}
    for length in lengths[1:]:
        for place, share in PLACES.items():
            built = _with_evidence(tokenizer, length, share, sizes[f"evidence {length}"])
            found[f"evidence {length} {place}"] = (length, built)
    return found


def _count(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _posts_by_length(tokenizer: Any, count: int) -> Retrieval:
    bounds = ((0, 120), (120, 500), (500, 10**9))
    groups: list[list[tuple[str, str]]] = [[] for _ in bounds]
    for subject, body in posts("test"):
        tokens = _count(tokenizer, body)
        group = next(group for group, (low, high) in zip(groups, bounds, strict=True) if low <= tokens < high)
        if len(group) < count // 3:
            group.append((subject, body))
    return _one_each([(f"{len(bounds)}", *pair) for group in groups for pair in group])


def _one_each(rows: list[tuple[str, str, str]]) -> Retrieval:
    """Return a search in which each query has one document."""
    ids = [f"d{number}" for number in range(len(rows))]
    queries = [f"q{number}" for number in range(len(rows))]
    return Retrieval(
        corpus_ids=tuple(ids),
        titles=("",) * len(rows),
        texts=tuple(row[2] for row in rows),
        query_ids=tuple(queries),
        queries=tuple(row[1] for row in rows),
        judgments={query: {document: 1} for query, document in zip(queries, ids, strict=True)},
    )


def _with_evidence(tokenizer: Any, length: int, share: float, count: int) -> Retrieval:
    """Return claims, each with its abstract within reviews that fill the rest of a text of `length` tokens."""
    test = read_labelled(DATA / "scifact")
    abstracts = dict(zip(test.corpus_ids, test.texts, strict=True))
    claims = dict(zip(test.query_ids, test.queries, strict=True))
    fillers = [row["text"] for row in rows_of("imdb/test.jsonl.gz")][::7]
    generator, taken, rows = random.Random(0), set(), []  # noqa: S311
    for query, grades in test.judgments.items():
        (document, *more) = grades
        if more or document in taken or len(rows) == count:
            continue
        taken.add(document)
        evidence = " ".join(abstracts[document].split()[: min(60, length // 6)])
        room = length - 8 - _count(tokenizer, evidence) - length // 16  # for landmarks
        words: list[str] = []
        while _count(tokenizer, " ".join(words)) < room:
            words += generator.choice(fillers).split()
        while words and _count(tokenizer, " ".join(words)) > room:
            words = words[: -max(1, len(words) // 100)]
        place = round(share * len(words))
        rows.append(("", claims[query], " ".join([*words[:place], evidence, *words[place:]])))
    return _one_each(rows)
