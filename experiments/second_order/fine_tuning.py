"""A pair for the statements on fine-tuning: a backbone that masked words alone trained, and an encoder made from it.

    python -m experiments.second_order.fine_tuning -o FOLDER
    python -m experiments.second_order.layers --model FOLDER/masked --model FOLDER/masked-tuned

Both are those of the experiment on landmarks: three layers that were random, 800 steps of masked words on texts of 128
tokens, then 500 steps of pairs with the mean. Word embeddings begin as those of a trained encoder. The same command
goes on after a stop.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cenote
from experiments.landmark.material import training_pairs
from experiments.landmark.plan import ARMS, CPU, Size
from experiments.landmark.run import make_backbone

BACKBONE, TUNED = "masked", "masked-tuned"
SEED = 0


def main() -> None:
    """Make both models."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of both models")
    for path in make(parser.parse_args().output):
        print(path)


def make(output: Path, size: Size = CPU) -> tuple[Path, Path]:
    """Write the backbone and the encoder that is trained from it, and return their folders."""
    backbone, tuned = output / BACKBONE, output / TUNED
    if not backbone.exists():
        made = make_backbone(size, "masked", SEED, output / "making")
        cenote.load(made, pooling="mean", device="cpu").save_pretrained(str(backbone))
    cenote.train(
        backbone,
        training_pairs(size.pairs),
        output=tuned,
        steps=size.steps,
        batch_size=size.batch,
        learning_rate=size.rate,
        warmup=0.1,
        max_length=size.train_length,
        seed=SEED,
        **size.recipe,
        **ARMS["mean"],
    )
    return backbone, tuned


if __name__ == "__main__":
    main()
