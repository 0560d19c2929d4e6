"""A step of training with landmarks against one with mean pooling, at equal text: `python benchmarks/training.py`.

Both steps (tokenising, loss, gradients, AdamW) take turns in one process, on the same pairs, none of which is cut. A
landmark is one more token for each chunk: the ratio of seconds is set beside the ratio of tokens. With `--memory` the
process trains a large batch with the cached loss instead and states its peak.
"""

from __future__ import annotations

import argparse
import resource
import warnings
from collections.abc import Callable
from typing import Any

import torch

import cenote
from cenote.data.builtin import read_builtin
from cenote.models.repooling import repool
from cenote.training.collator import Collator
from cenote.training.losses import ContrastiveLoss
from timing import interleaved, machine


def main() -> None:
    """Print a row for each interval, or the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--pairs", type=int, default=16, help="in a step")
    parser.add_argument("--tokens", type=int, default=120, help="of each text")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--memory", action="store_true", help="state the peak of one batch with the cached loss")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine(), end="\n\n")
    if args.memory:
        measure_memory(args)
        return
    rows = pairs_of(args)
    arms = {"mean": step_of(args, rows), **{f"landmark, {k}": step_of(args, rows, k) for k in (32, 16)}}
    seconds = interleaved({name: step for name, (step, _) in arms.items()}, args.repeats)
    print("| pooling | s a step | tokens | ratio of seconds | ratio of tokens | beyond the tokens |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, (_, tokens) in arms.items():
        times, more = seconds[name] / seconds["mean"], tokens / arms["mean"][1]
        beyond = f"{100 * (times / more - 1):+.1f} %"
        print(f"| {name} | {seconds[name]:.3f} | {tokens:,} | {times:.3f} | {more:.3f} | {beyond} |")


def pairs_of(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return pairs of texts of equal length."""
    tokenizer = cenote.load(args.model, device="cpu").tokenizer
    ids = [token for text in read_builtin() for token in tokenizer(text.text, add_special_tokens=False)["input_ids"]]
    texts = [tokenizer.decode(ids[at : at + args.tokens]) for at in range(0, len(ids), args.tokens)]
    return [{"query": texts[2 * row], "positive": texts[2 * row + 1], "epoch": 0} for row in range(args.pairs)]


def step_of(
    args: argparse.Namespace, rows: list[dict[str, Any]], interval: int | None = None
) -> tuple[Callable[[], object], int]:
    """Return a function that takes one step, and the tokens of the step."""
    model = cenote.load(args.model, device="cpu")
    if interval:
        repool(model, "landmark", interval=interval)
    model.train()
    collate = Collator(model.preprocess)
    loss = ContrastiveLoss(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    batch = collate(rows)

    def step() -> None:
        features = collate(rows)
        columns = [
            {key.removeprefix(f"{name}_"): value for key, value in features.items() if key.startswith(f"{name}_")}
            for name in ("query", "positive")
        ]
        optimizer.zero_grad()
        loss(columns, None).backward()
        optimizer.step()

    return step, sum(int(batch[f"{name}_attention_mask"].sum()) for name in ("query", "positive"))


def measure_memory(args: argparse.Namespace) -> None:
    """Train one step of 256 pairs of 128 tokens, and print the peak of the process."""
    args.pairs, args.tokens = 256, 128
    pairs = [(row["query"], row["positive"]) for row in pairs_of(args)]
    cenote.train(args.model, pairs, steps=1, batch_size=256, max_length=128, cache=True, pooling="landmark")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"256 pairs of 128 tokens, cached loss: peak {peak:.2f} GiB")


if __name__ == "__main__":
    main()
