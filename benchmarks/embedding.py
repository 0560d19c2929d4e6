"""`cenote.embed` against sentence-transformers and hand-driven runtimes: `python benchmarks/embedding.py`.

Texts are a fixed sample of short and long ones from the folder that CENOTE_DATA names (default: ../shared/data), or
the built-in corpus if it is absent. Every rival starts from strings and returns vectors in the order of the strings,
with the same number of threads and the same weights. The rivals by hand are what a careful user writes: texts sorted by
length, batches of 32, the runtime's own session, mean pooling and norms in numpy. The peak is the speed of a matrix
product of the model's own shapes; a model's work is 2 x its weights (without the word embeddings) for each token,
without attention.

Where there is a GPU it has a table of its own: sentence-transformers with float16 weights, with the attention that
transformers chooses, and where flash-attn is installed with flash attention, padded and in flattened batches, against
`cenote.embed` in the same ways, with landmarks, and tempered by length. Vectors of the last two are others.

`--budgets` compares sizes of batches. `--profile` shows where the time of a batch goes. `--growth` measures the peak
memory of `cenote embed` in its own process for 10^4, 10^5 and 10^6 short rows, with a tiny random model, since only
memory matters there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

import cenote
from cenote.data.builtin import read_builtin
from cenote.encoding.backend_choice import usable_backends
from cenote.encoding.backends import backend, own_precision
from cenote.encoding.batches import OPENING, default_budget
from cenote.encoding.graphs import inputs_of, openvino_core, to_openvino
from cenote.encoding.tokens import tokenise
from cenote.encoding.vectors import Encoder
from cenote.functional.packing import pack
from models import random_bert
from rivals import emulated, rivals
from timing import interleaved, machine

ROWS = 8192  # of the matrix product that the peak is measured by
DATA = Path(os.environ.get("CENOTE_DATA", "../shared/data"))
SOURCES = ("imdb/test.jsonl.gz", "banking77/test.jsonl.gz", "scifact/corpus.jsonl.gz", "20news_full/test.jsonl.gz")


def sample(count: int) -> tuple[list[str], str]:
    """Return `count` texts, a quarter from each source, and the name of the sample."""
    paths, generator = [DATA / source for source in SOURCES], random.Random(0)  # noqa: S311  a sample of texts
    if not all(path.is_file() for path in paths):
        every = [text.text for text in read_builtin()]
        return generator.sample(every, min(count, len(every))), "built-in corpus"
    texts: list[str] = []
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line)["text"] for line in islice(file, 3000)]
        texts += generator.sample(rows, count // len(paths))
    generator.shuffle(texts)
    return texts, "imdb, banking77, scifact, 20news_full, a quarter each"


def peak(model: SentenceTransformer, dtype: torch.dtype) -> float:
    """Return the tokens a second if only matrix products took time, those of the feed-forward layer in a full batch."""
    config = model[0].model.config
    wide = torch.randn(ROWS, config.hidden_size, device=model.device, dtype=dtype)
    weights = torch.randn(config.hidden_size, config.intermediate_size, device=model.device, dtype=dtype)

    def product() -> None:
        torch.mm(wide, weights)
        if model.device.type == "cuda":
            torch.cuda.synchronize()

    seconds = interleaved({"product": product}, 15)["product"]
    per_token = 2 * sum(
        value.numel()
        for name, value in model[0].model.named_parameters()
        if "embeddings" not in name and value.ndim == 2
    )
    return 2 * wide.numel() * config.intermediate_size / seconds / per_token


def race(name: str, count: int, repeats: int, device: str, only: Sequence[str]) -> None:
    """Print the table of all rivals on a device."""
    model = cenote.load(name, device=device)
    texts, called = sample(count)
    tokens = tokenise(model, texts)
    total = int(tokens.lengths.sum())
    batches = pack(tokens.lengths, default_budget(model), OPENING)
    area = sum(len(rows) * int(tokens.lengths[rows].max()) for rows in batches)
    if device == "cuda":
        print(torch.cuda.get_device_name(model.device))
    print(f"{machine()}; {called}: {len(texts):,} texts, {total:,} tokens read, {total / len(texts):.0f} on average")
    print(
        f"padding: {100 * (1 - total / area):.1f} % of what is computed; the model's weights are {own_precision(model)}"
    )
    if reason := emulated(model):
        print(f"bfloat16 is left out: {reason}")
    found = rivals(model, texts)
    default = next(iter(found))
    found = {one: rival for one, rival in found.items() if one == default or any(part in one for part in only)}
    truth = found[default].run().astype(np.float64)
    cosines = {one: least_cosine(rival.run(), truth) if rival.same else "–" for one, rival in found.items()}
    taken = interleaved({one: rival.run for one, rival in found.items()}, repeats)
    peaks = {kind: peak(model, getattr(torch, kind)) for kind in peak_precisions(model)}
    print(
        f"matrix products alone: {', '.join(f'{kind} {rate:,.0f} tokens a second' for kind, rate in peaks.items())}\n"
    )
    shown = " | ".join(f"of the peak, {kind}" for kind in peaks)
    print(f"| | tokens a second | against the default | least cosine | {shown} |")
    print(f"|---|--:|--:|--:|{'--:|' * len(peaks)}")
    for rival, seconds in taken.items():
        rate = total / seconds
        shares = " | ".join(f"{100 * rate / of:.0f} %" for of in peaks.values())
        print(f"| {rival} | {rate:,.0f} | {taken[default] / seconds:.2f} | {cosines[rival]} | {shares} |", flush=True)


def least_cosine(vectors: np.ndarray, truth: np.ndarray) -> str:
    """Return the least cosine of a row with that of the truth, in digits of the table."""
    norms = np.linalg.norm(truth, axis=1) * np.linalg.norm(vectors.astype(np.float64), axis=1)
    return f"{((truth * vectors).sum(1) / norms).min():.7f}"


def peak_precisions(model: SentenceTransformer) -> list[str]:
    """Return the precisions that the device multiplies without emulating them."""
    if model.device.type == "cuda":
        return ["float32", "float16"]
    return ["float32"] if emulated(model) else ["float32", "bfloat16"]


def budgets(name: str, count: int, repeats: int, device: str) -> None:
    """Print tokens a second by the size of batches."""
    model = cenote.load(name, device=device)
    tokens = tokenise(model, sample(count)[0])
    total, sizes = int(tokens.lengths.sum()), [2**power for power in range(8, 14)]
    made = {pair: backend(model, *pair) for pair in usable_backends(model)}
    taken = interleaved(
        {
            f"{runtime} {precision} {size}": lambda run=run, size=size: Encoder(model, run, budget=size)(tokens)
            for (runtime, precision), run in made.items()
            for size in sizes
        },
        repeats,
    )
    print(f"{machine()}; {total:,} tokens\n")
    print(f"| | {' | '.join(f'{size:,}' for size in sizes)} |\n|---{'|--:' * len(sizes)}|")
    for runtime, precision in made:
        rates = (f"{total / taken[f'{runtime} {precision} {size}']:,.0f}" for size in sizes)
        print(f"| {runtime} {precision} | {' | '.join(rates)} |")


def profile(name: str, precision: str) -> None:
    """Print where a batch of 16 texts of 128 tokens spends its time on a CPU, by OpenVINO and by torch."""
    model = cenote.load(name, device="cpu")
    if precision == "bfloat16" and (reason := emulated(model)):
        raise SystemExit(f"bfloat16 cannot be profiled: {reason}. Take --precision float32.")
    generator = np.random.default_rng(0)
    features = {one: np.ones((16, 128), np.int64) for one in inputs_of(model)}
    features["input_ids"] = generator.integers(1000, 20000, (16, 128))  # words without meaning
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERF_COUNT": True}
    settings["INFERENCE_PRECISION_HINT"] = {"float32": "f32", "bfloat16": "bf16"}[precision]
    request = openvino_core().compile_model(to_openvino(model), "CPU", settings).create_infer_request()
    for _ in range(5):
        request.infer(features)
    spent: Counter[str] = Counter()
    for node in request.get_profiling_info():
        spent[node.node_type] += node.real_time.total_seconds()
    tensors = {one: torch.from_numpy(value) for one, value in features.items()}
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    with torch.inference_mode(), half:
        model(dict(tensors))
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            for _ in range(5):
                model(dict(tensors))
    torchs = Counter({one.key: one.self_cpu_time_total for one in seen.key_averages()})
    print(f"{machine()}; {precision}", end="\n\n")
    for runtime, times in {"OpenVINO": spent, "torch": torchs}.items():
        total = sum(times.values())
        print(f"{runtime}: {', '.join(f'{part} {100 * took / total:.0f} %' for part, took in times.most_common(6))}")


def growth(counts: Sequence[int]) -> None:
    """Print peak memory by rows, each run in its own process."""
    print(machine())
    print("\n| rows | peak memory, MB | rows a second |\n|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        small = {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 64}
        model = random_bert(Path(folder), 64, **small)
        for count in counts:
            path = Path(folder, "texts.txt")
            words = "stone light water pool cave wall under over which falls slowly down".split()  # noqa: SIM905
            generator = random.Random(0)  # noqa: S311  words without meaning
            with path.open("w", encoding="utf-8") as file:
                file.writelines(f"{row} {' '.join(generator.choices(words, k=6))}\n" for row in range(count))
            command = [
                sys.executable, "-m", "cenote", "embed", str(model), str(path), "-o", f"{folder}/out{count}",
                "--backend", "torch", "--precision", "float32",
            ]  # fmt: skip
            start = time.perf_counter()
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(child.pid, 0)
            if status:
                raise SystemExit(f"{' '.join(command)} ended with {status}")
            seconds = time.perf_counter() - start
            print(f"| {count:,} | {used.ru_maxrss / 1024:,.0f} | {count / seconds:,.0f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="minilm", help="a folder, or minilm")
    parser.add_argument("--only", nargs="+", default=[""], help="rivals beside the default, by a part of their name")
    parser.add_argument("--texts", type=int, default=800, help="on a GPU ten times as many")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], help="by default first cpu, then cuda where there is one")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--budgets", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16", help="of --profile")
    args = parser.parse_args()
    if args.growth:
        growth([10**4, 10**5, 10**6])
    elif args.budgets:
        budgets(args.model, args.texts, args.repeats, args.device or "cpu")
    elif args.profile:
        profile(args.model, args.precision)
    else:
        for device in [args.device] if args.device else ["cpu", "cuda"]:
            if device == "cuda" and not torch.cuda.is_available():
                print("\nno GPU is at hand: nothing of it is in these tables")
            else:
                race(args.model, args.texts * (10 if device == "cuda" else 1), args.repeats, device, args.only)


if __name__ == "__main__":
    main()
