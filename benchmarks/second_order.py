"""Time SOCM against its definition by [D, D] eigendecompositions: `python benchmarks/second_order.py`, ten minutes.

The peer is the definition as published: torch.linalg.eigh for the root of S1 and, for batches of pairs, eigvalsh for
S1^1/2 S2 S1^1/2, in float32, with the same number of threads. Moments and roots of its texts are computed once, outside
of its time: N texts need N roots for N (N - 1) / 2 pairs. It is timed on some pairs and extrapolated in proportion,
since its work does not depend on the texts. On a busy machine LAPACK's threads wait for each other and the peer becomes
very slow: use `--threads 1` there. Ours computes all pairs, checks and preparation included. A ratio above 1 means that
we are faster. Errors are the largest differences of d_sigma from the definition in float64 on the peer's pairs.

Texts are the built-in corpus: at D = 384 the last hidden states of the demo model, at D = 768 as many random tokens.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from itertools import islice
from typing import Any

import numpy as np
import torch

import cenote
from cenote.data.builtin import read_builtin
from cenote.diagnosis.selection import select_for_pairs
from cenote.functional.second_order import socm
from timing import interleaved, machine

CUT = 256  # tokens that the demo model reads
PAIR_SECONDS = 5.0  # that `diagnose` spends on pairs, on two cores
# The parts of our time, and other ways to the same sum.
STEPS = (
    *("whole", "product", "Gram", "eigenvalues"),
    *("float32 eigenvalues", "float32 singular values", "float64 singular values", "one Cholesky"),
)


def collected(texts: int, most: int = CUT, skip: int = 0) -> list[torch.Tensor]:
    """Return last hidden states of the demo model for some of the corpus, each of at most `most` tokens."""
    model = cenote.load("minilm")
    words = [text.text for text in islice(read_builtin(), skip, skip + texts)]
    tokens = model.encode(words, output_value="token_embeddings", batch_size=32, show_progress_bar=False)
    return [matrix.float().cpu()[:most].clone() for matrix in tokens]


def random_like(texts: list[torch.Tensor], width: int) -> list[torch.Tensor]:
    """Return random tokens around random means, as many as each text has, with tr S / |mu|^2 about 1."""
    means = torch.randn(len(texts), width)
    return [mean + torch.randn(len(text), width) for mean, text in zip(means, texts, strict=True)]


def moments(texts: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    scaled = [text / text.mean(0).norm() for text in texts]
    covariances = [
        torch.cov(text.T, correction=0) if len(text) > 1 else text.new_zeros(2 * text.shape[1:]) for text in scaled
    ]
    return torch.stack([text.mean(0) for text in scaled]), torch.stack(covariances)


def root_of(matrices: torch.Tensor) -> torch.Tensor:
    """Return the square root of each matrix."""
    values, vectors = torch.linalg.eigh(matrices)
    return (vectors * values.clamp(min=0).sqrt().unsqueeze(1)) @ vectors.mT


def definition(
    first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor], root: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return d_sigma and SOCM of each pair, from the moments of its texts and the roots of the first covariances."""
    (mean, one), (other, two) = first, second
    roots = torch.linalg.eigvalsh(root @ two @ root).clamp(min=0).sqrt().sum(1)
    traces = sum(matrix.diagonal(dim1=1, dim2=2).sum(1) for matrix in (one, two))
    d_sigma = (traces - 2 * roots) / 4
    return d_sigma, (1 - (mean - other).square().sum(1) / 4) * d_sigma


def race(label: str, texts: list[torch.Tensor], peer_pairs: int, repeats: int) -> None:
    pairs = len(texts) * (len(texts) - 1) // 2
    drawn = [random.sample(range(len(texts)), 2) for _ in range(peer_pairs)]
    first, second = ([texts[pair[k]] for pair in drawn] for k in (0, 1))

    def prepared(dtype: torch.dtype) -> tuple[Any, Any, torch.Tensor]:
        one, two = (moments([text.to(dtype) for text in side]) for side in (first, second))
        return one, two, root_of(one[1])

    once = prepared(torch.float32)
    taken = interleaved({"ours": lambda: socm(texts, limit=math.inf), "peer": lambda: definition(*once)}, repeats)
    ours, peer = taken["ours"] / pairs * 1e6, taken["peer"] / peer_pairs * 1e6
    exact = definition(*prepared(torch.float64))[0]
    error = (socm(first, second).d_sigma - exact).abs().max().item()
    theirs = (definition(*once)[0] - exact).abs().max().item()
    counts = sorted(len(text) for text in texts)
    smaller = sum(n * (len(counts) - 1 - k) for k, n in enumerate(counts)) / pairs
    print(
        f"| {label} | {len(texts):,} | {sum(counts) / len(counts):.0f} | {smaller:.0f} | {taken['ours']:.1f} "
        f"| {ours:.0f} | {peer:,.0f} | {peer / ours:,.0f} | {error:.0e} | {theirs:.0e} |",
        flush=True,
    )


def steps(texts: list[torch.Tensor], pairs: int, repeats: int) -> None:
    """Print where the time of a pair of equally long texts goes, and that of other ways to the same sum."""
    clouds = [(text - text.mean(0)) / (len(text) ** 0.5 * text.mean(0).norm()) for text in texts[: 2 * pairs]]
    left, right = torch.stack(clouds[:pairs]), torch.stack(clouds[pairs:])
    product = left @ right.mT
    double = product.double()
    gram = double @ double.mT
    ways = {
        "whole": lambda: socm(texts),
        "product": lambda: left @ right.mT,
        "Gram": lambda: double @ double.mT,
        "eigenvalues": lambda: torch.linalg.eigvalsh(gram),
        "float32 eigenvalues": lambda: torch.linalg.eigvalsh(gram.float()),
        "float32 singular values": lambda: torch.linalg.svdvals(product),
        "float64 singular values": lambda: torch.linalg.svdvals(double),
        "one Cholesky": lambda: torch.linalg.cholesky(gram + 1e-9 * torch.eye(gram.shape[1])),
    }
    taken = interleaved(ways, repeats, time.process_time)
    taken["whole"] *= 2 * pairs / (len(texts) * (len(texts) - 1))  # all pairs of the texts, their preparation included
    cells = " | ".join(f"{1e6 * taken[name] / pairs:,.0f}" for name in STEPS)
    print(f"| {len(texts[0])} | {texts[0].shape[1]} | {cells} |", flush=True)


def budget(tokens: int, width: int) -> None:
    """Print the time of the pairs that `diagnose` takes of many texts, as a share of the 5 seconds of two cores."""
    chosen = select_for_pairs(np.full(3000, tokens), width, PAIR_SECONDS, seed=0)
    texts = random_like([torch.empty(tokens, 1)] * len(chosen), width)
    taken = interleaved({"pairs": lambda: socm(texts, limit=math.inf)}, 1, time.process_time)["pairs"]
    share = taken / 2 / PAIR_SECONDS
    print(f"| {tokens} | {width} | {len(texts):,} | {len(texts) * (len(texts) - 1) // 2:,} | {share:.2f} |", flush=True)


def busy() -> str:
    load = os.getloadavg()[0]
    return f"load {load:.1f} at the start" + (" (NOISY: others were at work)" if load >= 1 else "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--peer-pairs", type=int, default=16)
    parser.add_argument(
        "--rows",
        default="corpus,counts,growth",
        help="parts of the table; steps: where time goes; budget: the pairs that `diagnose` takes",
    )
    parser.add_argument("--widths", default="384,768")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{machine()}; {busy()}\n")
    torch.manual_seed(0)
    random.seed(0)
    start, rows = time.perf_counter(), options.rows.split(",")
    widths = [int(width) for width in options.widths.split(",")]
    real = collected(2000 if "growth" in rows else options.texts) if {"corpus", "growth"} & {*rows} else []
    print("| texts | N | mean n | mean smaller n | ours, s | ours, us/pair | peer, us/pair | ratio | error | peer's |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for width in widths if "corpus" in rows else []:
        texts = real[: options.texts]
        texts = texts if width == real[0].shape[1] else random_like(texts, width)
        race(f"corpus, D={width}", texts, options.peer_pairs, options.repeats)
    for n in (16, 32, 64, 96, 128, 256) if "counts" in rows else []:
        few = max(40, 100 * 16 // n * 2)  # fewer long texts: only the number of tokens matters here
        for width in widths:
            same = random_like([torch.empty(n, 1)] * few, width)
            race(f"n={n}, D={width}", same, options.peer_pairs, options.repeats)
    for count in (250, 500, 1000, 2000) if "growth" in rows else []:
        race(f"corpus, D={real[0].shape[1]}", real[:count], options.peer_pairs, options.repeats)
    if "steps" in rows:
        print(f"\nMicroseconds a pair of one thread's own time:\n\n| tokens | D | {' | '.join(STEPS)} |")
        print("|--:|--:|" + "--:|" * len(STEPS))
        torch.set_num_threads(1)
    for n in (64, 128, 256, 512) if "steps" in rows else []:
        for width in widths:
            steps(random_like([torch.empty(n, 1)] * 16, width), 8, max(3, options.repeats))
    if "budget" in rows:
        print("\n| tokens | D | texts | pairs | of 5 seconds of two cores |\n|--:|--:|--:|--:|--:|")
    for n in (32, 64, 128, 256) if "budget" in rows else []:
        for width in widths:
            budget(n, width)
    print(f"\n{math.ceil(time.perf_counter() - start)} seconds; {busy().replace('start', 'end')}")
