"""Measure time and peak memory of a whole diagnosis: `python benchmarks/diagnosing.py`, an hour and a half.

Each row is one process, start included. The demo model reads the built-in corpus, as a first look and with `--full`.
Then a model of base size (BERT, 12 layers, 768 dimensions, 12 heads, random weights with a fixed seed, the demo model's
vocabulary) reads texts of at least 512 tokens, once by sentence-transformers alone and in diagnoses: time and memory do
not depend on the weights.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from timing import machine

TOKENS = 512  # limit of the model of base size
# One plain reading of the texts.
READ = """
import sys
from pathlib import Path
from sentence_transformers import SentenceTransformer
SentenceTransformer(sys.argv[1], device="cpu").encode(Path(sys.argv[2]).read_text("utf-8").splitlines())
"""


def base_model(folder: Path) -> Path:
    """Make a random BERT of base size; `models` is imported here, since the measuring process must not load torch."""
    from models import random_bert

    return random_bert(folder, TOKENS)


def long_texts(path: Path, count: int) -> Path:
    """Write a file of texts of at least 512 tokens, each joined from docstrings drawn at random."""
    import cenote
    from cenote.data.builtin import read_builtin

    tokenizer = cenote.load("minilm").tokenizer
    parts = [" ".join(text.text.split()) for text in read_builtin()]
    tokens = [len(tokenizer.tokenize(part)) for part in parts]
    generator = random.Random(0)  # noqa: S311 - texts for a table
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            drawn, length = [], 0
            while length < TOKENS:
                place = generator.randrange(len(parts))
                drawn.append(parts[place])
                length += tokens[place]
            file.write(" ".join(drawn) + "\n")
    return path


def prepare(folder: Path, texts: int) -> tuple[str, str]:
    return str(base_model(folder)), str(long_texts(folder / "texts.txt", texts))


def run_in_process(function: Callable[..., tuple[str, str]], *arguments: object) -> tuple[str, str]:
    """Call a function in its own process: the peak memory of a child includes that of its parent at the start."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(arguments: list[str]) -> str:
    """Return seconds and peak memory in GB of one Python process, start included; a CPU may lack a precision."""
    start = time.perf_counter()
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ, file_actions=silent)
    _, status, usage = os.wait4(child, 0)
    taken, peak = time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9  # from KiB
    return "failed | " if status else f"{taken:.0f} | {peak:.2f}"


def rows(folder: Path, texts: int) -> dict[str, tuple[str, Callable[[], list[str]]]]:
    """Return the label and the arguments of Python of each row."""
    base = cache(lambda: run_in_process(prepare, folder, texts))
    size = f"base size, {texts:,} texts of {TOKENS} tokens"

    def diagnosis(given: Callable[[], tuple[str, ...]], *more: str) -> Callable[[], list[str]]:
        return lambda: ["-m", "cenote", "diagnose", *given(), *more, "--json", str(folder / "figures.json")]

    return {
        "quick": ("demo model, built-in corpus", diagnosis(lambda: ("minilm",))),
        "demo": ("demo model, built-in corpus, `--full`", diagnosis(lambda: ("minilm",), "--full")),
        "plain": (f"{size}: read once by sentence-transformers", lambda: ["-c", READ, *base()]),
        "base": (size, diagnosis(base)),
        "bfloat16": (f"{size}, `--precision bfloat16`", diagnosis(base, "--precision", "bfloat16")),
        "full": (f"{size}, `--full`", diagnosis(base, "--full")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1000, help="for the model of base size")
    parser.add_argument("--rows", default="quick,demo,plain,base,bfloat16,full", help="which rows of the table")
    options = parser.parse_args()
    print(f"{machine()}; load {os.getloadavg()[0]:.1f} at the start\n")
    print("| diagnosis | seconds | peak memory, GB |\n|---|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        found = rows(Path(name), options.texts)
        for key in options.rows.split(","):
            label, arguments = found[key]
            print(f"| {label} | {measure(arguments())} |", flush=True)


if __name__ == "__main__":
    main()
