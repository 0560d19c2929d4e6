"""Each pooling operator against sentence-transformers' own Pooling, interleaved in one process.

    python benchmarks/pooling.py

[64, 512, 768] tokens, lengths drawn from 20 to 512, padded right. Ours is `cenote.pool` with all its checks; theirs is
the module's forward. Beside the ratio of medians (above 1 we are faster) stands how far a plain read of the tokens is:
`read` is the time of one sum over all of them, the floor for an operator that looks at every token. Operators that
sentence-transformers lacks are compared with its `mean`.
"""

from __future__ import annotations

import torch
from sentence_transformers.sentence_transformer.modules import Pooling

import cenote
from cenote.functional.pooling import POOLINGS
from cenote.nn import STANDARD
from timing import interleaved, machine

REPEATS = 15


def main() -> None:
    print(machine())
    print(f"{'operator':<14} {'dtype':<9} {'theirs ms':>10} {'ours ms':>8} {'ratio':>6} {'ours/read':>9}")
    for dtype in (torch.float32, torch.bfloat16):
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randn(64, 512, 768, generator=generator).to(dtype)
        lengths = torch.randint(20, 513, (64, 1), generator=generator)
        mask = (torch.arange(512) < lengths).long()
        marks = ((torch.arange(512) % 33 == 32) | (torch.arange(512) == lengths - 1)).long() * mask
        read = interleaved({"read": tokens.sum}, REPEATS)["read"]
        for name, row in POOLINGS.items():
            options = {"landmarks": marks} if row.marks else {}
            theirs = Pooling(768, STANDARD.get(name, "mean"))
            features = {"token_embeddings": tokens, "attention_mask": mask}
            times = interleaved(
                {
                    "theirs": lambda theirs=theirs, features=features: theirs(dict(features)),
                    "ours": lambda name=name, options=options: cenote.pool(tokens, mask, name, **options),
                },
                REPEATS,
            )
            ratio = times["theirs"] / times["ours"]
            peer = "" if name in STANDARD else "  (their mean)"
            print(
                f"{name:<14} {str(dtype)[6:]:<9} {1e3 * times['theirs']:>10.2f} {1e3 * times['ours']:>8.2f} "
                f"{ratio:>6.2f} {times['ours'] / read:>9.2f}{peer}"
            )


if __name__ == "__main__":
    main()
