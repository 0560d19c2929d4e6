"""Do grades hold from sample to sample? Accounts of 20 draws of 200 texts each, out of 1,000 texts that are read once.

A verdict is stable if at most 5 % of the draws have another grade than most of them. Draws whose interval holds a
threshold do not count: these verdicts say themselves that another sample may have another grade.

    python experiments/stability.py --data scifact 20news_full imdb
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from diagnoses import SOURCES, read_texts

import cenote
from cenote.account.pooled_texts import OWN, Pooled
from cenote.account.probes import POSITIONS, draw_probes
from cenote.account.ranks import AccountReading, rank_documents, read_account
from cenote.account.texts import AccountTexts, tokenise_account
from cenote.data.sampling import sample_texts
from cenote.diagnosis.account import summarise_account
from cenote.diagnosis.summaries import Excerpts
from cenote.diagnosis.verdicts.remedies import name_threshold
from cenote.diagnosis.verdicts.thresholds import THRESHOLDS
from cenote.encoding.tokens import Whole
from cenote.listener import Listener
from cenote.records import Account, Estimate

DRAWS, TEXTS, WHOLE = 20, 200, 1000


def main() -> None:
    """Print a row for each data set and verdict."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["minilm"])
    parser.add_argument("--data", nargs="+", default=list(SOURCES), choices=SOURCES)
    args = parser.parse_args()
    print("| model | data | verdict | grades of 20 draws | at a threshold | others |\n|---|---|---|---|--:|--:|")
    for name in args.models:
        model = cenote.load(name, device="cpu")
        for data in args.data:
            texts, _ = sample_texts(read_texts(data), WHOLE, 0, data)
            account = tokenise_account(model, draw_probes(texts, WHOLE, 0), alternatives=False)
            reading = read_account(model, account, {}, Listener(), alternatives=False, keep_tokens=True)
            found = [draw(account, reading, seed) for seed in range(DRAWS)]
            for subject, field in (("search", "found"), ("truncation", "lost_to_cut"), ("pooling", "lost_to_pooling")):
                shares = [getattr(one, field) for one in found]
                lost = [_complement(share) if field == "found" else share for share in shares]
                grades = [THRESHOLDS[subject].grade(share.value) for share in lost]
                known = [grade for grade, share in zip(grades, lost, strict=True) if not name_threshold(subject, share)]
                most = Counter(grades).most_common(1)[0][0]
                cells = (
                    ", ".join(f"{count} {grade}" for grade, count in Counter(grades).most_common()),
                    str(DRAWS - len(known)),
                    str(sum(grade != most for grade in known)),
                )
                print(f"| {Path(name).name} | {data} | {subject} | {' | '.join(cells)} |", flush=True)


def draw(texts: AccountTexts, reading: AccountReading, seed: int) -> Account:
    """Return the account of some of the texts, searched among themselves."""
    count = len(texts.documents)
    rows = np.sort(np.random.default_rng(seed).permutation(count)[:TEXTS])
    queries = (rows[:, None] * len(POSITIONS) + np.arange(len(POSITIONS))).ravel()
    probes = replace(
        texts.probes,
        texts=[texts.probes.texts[row] for row in rows.tolist()],
        owners=np.repeat(np.arange(len(rows)), len(POSITIONS)),
        spans=[texts.probes.spans[row] for row in queries.tolist()],
        positions=texts.probes.positions[queries],
    )
    left_out = np.searchsorted(queries, texts.left_out[rows])
    some = replace(
        texts,
        probes=probes,
        documents=texts.documents.take(rows.tolist()),
        sentences=texts.sentences.take(queries.tolist()),
        remainders=texts.remainders.take(rows.tolist()),
        left_out=left_out,
        read=texts.read[queries],
    )
    documents, remainders = (_take(one, rows) for one in (reading.documents, reading.remainders))
    sentences = _take(reading.sentences, queries)
    asked, whole, without = (one.vectors[OWN] for one in (sentences, documents, remainders))
    ranks = rank_documents(some, asked, whole, without, some.read)
    return summarise_account(some, AccountReading(documents, sentences, remainders, {OWN: ranks}), {}, Excerpts(), seed)


def _take(pooled: Pooled, rows: Whole) -> Pooled:
    vectors = {name: found[rows] for name, found in pooled.vectors.items()}
    tokens = [pooled.tokens[row] for row in rows.tolist()] if pooled.tokens else []
    return Pooled(vectors, tokens=tokens)


def _complement(share: Estimate) -> Estimate:
    low, high = share.low, share.high
    return Estimate(1 - share.value, None if high is None else 1 - high, None if low is None else 1 - low)


if __name__ == "__main__":
    main()
