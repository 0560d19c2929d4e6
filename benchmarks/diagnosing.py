"""What a whole diagnosis takes, in time and memory: `python benchmarks/diagnosing.py`, half an hour.

Each row is one `cenote diagnose` in a process of its own, as a shell starts it: seconds until it ends, start included,
and the most memory that it ever held. The demo model reads the built-in corpus, in full and with `--quick`. Then a
model of base size (BERT, 12 layers of 768 dimensions and 12 heads, random weights of a fixed seed, the demo model's
vocabulary) reads texts of 512 tokens and more: time and memory do not depend on what weights say.
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
from multiprocessing import get_context
from pathlib import Path

from timing import machine

TOKENS = 512  # that a model of base size reads of a text


def base_model(folder: Path) -> Path:
    """A random BERT of base size; made where it is called, since the process that measures others loads no torch."""
    from models import random_bert

    return random_bert(folder, TOKENS)


def long_texts(path: Path, count: int) -> Path:
    """A file of texts of at least 512 tokens, each of docstrings drawn at random."""
    import cenote
    from cenote.data.builtin import read_builtin

    tokenizer = cenote.load("minilm").tokenizer
    parts = [" ".join(text.text.split()) for text in read_builtin()]
    tokens = [len(tokenizer.tokenize(part)) for part in parts]
    chance = random.Random(0)  # noqa: S311 - texts for a table
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            drawn, length = [], 0
            while length < TOKENS:
                place = chance.randrange(len(parts))
                drawn.append(parts[place])
                length += tokens[place]
            file.write(" ".join(drawn) + "\n")
    return path


def prepared(folder: Path, texts: int) -> tuple[str, str]:
    return str(base_model(folder)), str(long_texts(folder / "texts.txt", texts))


def apart(function: Callable[..., tuple[str, str]], *arguments: object) -> tuple[str, str]:
    """Done in a process of its own: a child's peak counts what its parent held as it was started."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measured(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in GB of one diagnosis, the whole process."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "cenote", "diagnose", *arguments, "--json", str(folder / "figures.json")]
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(sys.executable, command, os.environ, file_actions=silent)
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"failed: {' '.join(arguments)}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9  # from KiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1000, help="for the model of base size")
    parser.add_argument("--rows", default="quick,demo,base", help="which rows of the table")
    options = parser.parse_args()
    print(f"{machine()}; load {os.getloadavg()[0]:.1f} at the start\n")
    print("| diagnosis | seconds | peak memory, GB |\n|---|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = {
            "quick": ("demo model, built-in corpus, `--quick`", lambda: ["minilm", "--quick"]),
            "demo": ("demo model, built-in corpus", lambda: ["minilm"]),
            "base": (
                f"base size, {options.texts:,} texts of {TOKENS} tokens",
                lambda: list(apart(prepared, folder, options.texts)),
            ),
        }
        for key in options.rows.split(","):
            label, arguments = rows[key]
            seconds, peak = measured(arguments(), folder)
            print(f"| {label} | {seconds:.0f} | {peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
