"""How int8 agrees with float32, and its speed where the processor multiplies integers: `python benchmarks/int8.py`.

For each model and kind of text: the least and the mean cosine with float32, and the share of the ten nearest texts in
common. OpenVINO rounds activations only where the processor multiplies integers. Elsewhere torch rounds weights and
activations in the same groups, and the head of the table says so; the speed is then left out. Texts are from the folder
that CENOTE_DATA names (default: ../shared/data), else from the built-in corpus.
"""

from __future__ import annotations

import argparse
import copy
import os
import random
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import cenote
from cenote.data.builtin import read_builtin
from cenote.data.texts import read
from cenote.encoding.backends import openvino_runner, plain_backend
from cenote.encoding.graphs import feed, inputs_of, to_openvino
from cenote.encoding.int8 import multiplies_integers, round_in_groups, round_weights
from cenote.encoding.tokens import tokenise
from cenote.encoding.vectors import Encoder
from cenote.functional.agreement import cosines, shared_nearest
from timing import interleaved, machine

DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
SOURCES = {
    "abstracts": "scifact/corpus.jsonl.gz",
    "posts": "20news_full/test.jsonl.gz",
    "questions": "banking77/test.jsonl.gz",
    "reviews": "imdb/test.jsonl.gz",
}


def texts_of(kind: str, count: int) -> list[str]:
    """Return texts of a kind, drawn by a fixed seed."""
    path = DATA / SOURCES[kind] if kind in SOURCES else None
    rows = read_builtin() if path is None else read(path, columns="text")
    return random.Random(0).sample([text.text for text in islice(rows, 4000)], count)  # noqa: S311  a sample of texts


class _OpenVino:
    """OpenVINO in float32, or with rounded weights at any group size: what `--precision int8` runs."""

    name = "openvino"

    def __init__(self, model: Any, group: int | None = None) -> None:
        graph, self.precision = to_openvino(model), "float32" if group is None else "int8"
        if group is not None:
            round_weights(graph, group)
        self.names, self.run = inputs_of(model), openvino_runner(graph, self.precision)

    def __call__(self, features: Any) -> torch.Tensor:
        return torch.from_numpy(self.run(feed(features, self.names)))


def emulated(model: Any, group: int) -> Any:
    """Return a copy of the model that rounds weights and activations of its linear maps in groups."""

    def rounded(values: torch.Tensor) -> torch.Tensor:
        whole, scales = round_in_groups(values.reshape(-1, values.shape[-1]).numpy(), group)
        return torch.from_numpy((whole * scales).reshape(values.shape))

    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, torch.nn.Linear) and module.in_features % group == 0:
            module.weight.data = rounded(module.weight.data)
            module.register_forward_pre_hook(lambda _, given: (rounded(given[0]), *given[1:]))
    return other


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["minilm"])
    parser.add_argument("--groups", nargs="+", type=int, default=[32, 64, 128])
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    real = multiplies_integers()
    print(f"{machine()}; {'OpenVINO' if real else 'emulated by torch: this CPU does not multiply 8-bit integers'}\n")
    kinds = [kind for kind, source in SOURCES.items() if (DATA / source).is_file()] or ["built-in corpus"]
    print("| model | group | texts | least cosine | mean cosine | nearest in common | times float32 |")
    print("|---|--:|---|--:|--:|--:|--:|")
    for name in args.models:
        model = cenote.load(name, device="cpu")
        plain = plain_backend(model)
        for group in args.groups:
            made = _OpenVino(model, group) if real else plain_backend(emulated(model, group))
            for kind in kinds:
                tokens = tokenise(model, texts_of(kind, args.texts))
                both = {one: Encoder(model, run)(tokens)[0] for one, run in (("plain", plain), ("int8", made))}
                found = cosines(both["int8"], both["plain"])
                shared = shared_nearest(both["int8"], both["plain"]).mean()
                ratio = speed(model, tokens, made, args.repeats) if real else "–"
                print(
                    f"| {Path(name).name} | {group} | {kind} | {found.min():.4f} | {found.mean():.4f} "
                    f"| {shared:.3f} | {ratio} |",
                    flush=True,
                )


def speed(model: Any, tokens: Any, made: Any, repeats: int) -> str:
    """Return how many times faster than OpenVINO in float32 the texts are read."""
    int8, float32 = Encoder(model, made), Encoder(model, _OpenVino(model))
    taken = interleaved({"int8": lambda: int8(tokens), "float32": lambda: float32(tokens)}, repeats)
    return f"{taken['float32'] / taken['int8']:.2f}"


if __name__ == "__main__":
    main()
