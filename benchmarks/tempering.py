"""Time an attention temperature, live, baked and by length, against the untempered model.

    python benchmarks/tempering.py

Copies of the demo model encode the same texts in turn; each ratio is to the untempered one of the same run. A second
untempered copy shows how much of a ratio is noise.
"""

from __future__ import annotations

import copy
from itertools import islice

import torch

import cenote
from cenote.data.builtin import read_builtin
from timing import interleaved, machine


def main() -> None:
    print(machine())
    plain = cenote.load("minilm", device="cpu")
    models = {name: copy.deepcopy(plain) for name in ("again, untempered", "live", "by length")}
    cenote.temper(models["live"], 0.8)
    cenote.temper(models["by length"], cenote.LengthTemperature("log", s=0.25))
    models = {"untempered": plain, **models, "baked": cenote.bake(plain, 0.8)}
    texts = [text.text for text in islice(read_builtin(), 0, 3000, 100)]
    for what, given, repeats in ((f"{len(texts)} docstrings", texts, 7), ("one short text", ["a pool"], 40)):
        functions = {name: lambda model=model, given=given: model.encode(given) for name, model in models.items()}
        seconds = interleaved(functions, repeats)
        print(f"\n{what}: {1000 * seconds['untempered']:.1f} ms untempered")
        for name in list(models)[1:]:
            print(f"{name:<20} {seconds[name] / seconds['untempered']:>6.3f}")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
