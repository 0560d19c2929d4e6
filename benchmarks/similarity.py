"""Time similarity against its peers, interleaved in one process: `python benchmarks/similarity.py`, four minutes.

The peers are sentence-transformers' own functions, and torch.cdist where it has none. A ratio above 1 means that we are
faster. Then the accuracy of both for euclidean distances between near-identical rows, against float64 differences.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import torch
from sentence_transformers import util

from cenote.functional.similarity import similarity
from timing import interleaved

if TYPE_CHECKING:
    from collections.abc import Callable

Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor] if TYPE_CHECKING else object

# Our arguments, the peer's name and the peer.
ALL_PAIRS: list[tuple[dict[str, object], str, Function]] = [
    ({"how": "cosine"}, "st cos_sim", util.cos_sim),
    ({"how": "dot"}, "st dot_score", util.dot_score),
    ({"how": "euclidean"}, "st euclidean_sim", util.euclidean_sim),
    ({"how": "manhattan"}, "st manhattan_sim", util.manhattan_sim),
    ({"how": "minkowski"}, "torch.cdist(p=3)", lambda a, b: -torch.cdist(a, b, p=3.0)),
    ({"how": "chebyshev"}, "torch.cdist(p=inf)", lambda a, b: -torch.cdist(a, b, p=float("inf"))),
]
ROW_BY_ROW: list[tuple[dict[str, object], str, Function]] = [
    ({"how": "cosine"}, "st pairwise_cos_sim", util.pairwise_cos_sim),
    ({"how": "dot"}, "st pairwise_dot_score", util.pairwise_dot_score),
    ({"how": "euclidean"}, "st pairwise_euclidean_sim", util.pairwise_euclidean_sim),
    ({"how": "manhattan"}, "st pairwise_manhattan_sim", util.pairwise_manhattan_sim),
]


def race(
    title: str,
    rivals: list[tuple[dict[str, object], str, Function]],
    a: torch.Tensor,
    b: torch.Tensor,
    repeats: int,
    **ours: object,
) -> None:
    print(f"\n{title}: {tuple(a.shape)} and {tuple(b.shape)}, {torch.get_num_threads()} threads, median of {repeats}")
    print(f"{'measure':<18}{'ours, s':>10}  {'peer':<26}{'peer, s':>10}{'peer/ours':>11}{'largest difference':>20}")
    for given, name, peer in rivals:
        mine = lambda given=given: similarity(a, b, **given, **ours)  # noqa: E731
        theirs = lambda peer=peer: peer(a, b)  # noqa: E731
        taken = interleaved({"ours": mine, "peer": theirs}, repeats)
        apart = (mine() - theirs()).abs().max().item()
        label = " ".join(str(value) for value in given.values())
        ratio = taken["peer"] / taken["ours"]
        print(f"{label:<18}{taken['ours']:>10.4f}  {name:<26}{taken['peer']:>10.4f}{ratio:>11.2f}{apart:>20.1e}")


def accuracy(a: torch.Tensor) -> None:
    """Print the errors of distances between each row and its near copies, relative to float64 differences."""
    print("\nEuclidean between near-identical rows: largest relative error (self: largest distance / norm)")
    print(f"{'apart / norm':<18}{'ours':>12}{'st euclidean_sim':>20}")
    for apart in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 0.0):
        near = a + apart * a.norm(dim=1, keepdim=True) * torch.nn.functional.normalize(torch.randn_like(a))
        exact = -(a.double() - near.double()).norm(dim=1)
        unit = exact.abs() if apart else a.double().norm(dim=1)
        errors = [
            ((function(a, near).diagonal().double() - exact).abs() / unit).max().item()
            for function in (lambda x, y: similarity(x, y, "euclidean"), util.euclidean_sim)
        ]
        print(f"{apart or 'self':<18}{errors[0]:>12.1e}{errors[1]:>20.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    a, b = torch.randn(2, options.rows, options.dim)
    many = torch.randn(25 * options.rows, options.dim)
    race("All pairs", ALL_PAIRS, a, b, options.repeats)
    race("One query, many documents", ALL_PAIRS, a[:1], many, options.repeats)
    race("Row by row", ROW_BY_ROW, many, many.flip(0), options.repeats, pairwise=True)
    accuracy(a[:1000])
