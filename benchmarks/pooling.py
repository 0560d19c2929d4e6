"""Time each pooling operator against sentence-transformers' own Pooling, interleaved in one process.

    python benchmarks/pooling.py

[64, 512, 768] tokens, lengths drawn from 20 to 512, padded right. Ours is `cenote.pool` with all its checks; theirs is
the module's forward. `ratio` is that of medians (above 1 we are faster); `ours/read` divides our time by that of one
sum over all tokens, the lower limit for an operator that uses every token. Operators that sentence-transformers lacks
are compared with its `mean`.
"""

from __future__ import annotations

import torch
from sentence_transformers.sentence_transformer.modules import Pooling

import cenote
from cenote.functional.pooling import POOLINGS
from cenote.nn import STANDARD
from timing import interleaved, machine

REPEATS = 15


def batch(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return tokens, their mask, and marks at every 33rd position and at the end of each text."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(64, 512, 768, generator=generator).to(dtype)
    lengths = torch.randint(20, 513, (64, 1), generator=generator)
    slots = torch.arange(512)
    mask = (slots < lengths).long()
    return tokens, mask, ((slots % 33 == 32) | (slots == lengths - 1)).long() * mask


def measure(name: str, dtype: torch.dtype) -> str:
    """Return one line of the table."""
    tokens, mask, marks = batch(dtype)
    options = {"landmarks": marks} if POOLINGS[name].marks else {}
    module = Pooling(768, STANDARD.get(name, "mean"))
    times = interleaved(
        {
            "theirs": lambda: module({"token_embeddings": tokens, "attention_mask": mask}),
            "ours": lambda: cenote.pool(tokens, mask, name, **options),
            "read": tokens.sum,
        },
        REPEATS,
    )
    return (
        f"{name:<14} {str(dtype)[6:]:<9} {1e3 * times['theirs']:>9.2f} {1e3 * times['ours']:>8.2f} "
        f"{times['theirs'] / times['ours']:>7.2f} {times['ours'] / times['read']:>10.2f}"
        + ("" if name in STANDARD else "   (their mean)")
    )


def main() -> None:
    print(machine())
    print(f"{'operator':<14} {'dtype':<9} {'theirs ms':>9} {'ours ms':>8} {'ratio':>7} {'ours/read':>10}")
    for dtype in (torch.float32, torch.bfloat16):
        for name in POOLINGS:
            print(measure(name, dtype), flush=True)


if __name__ == "__main__":
    main()
