"""Float32 products out of three bfloat16 ones, against plain ones: `python benchmarks/products.py`.

A number is the sum of two in bfloat16 to 16 bits, so that A B is A1 B1 + A1 B2 + A2 B1 to about as many. torch returns
a bfloat16 product in bfloat16; with `fp32_precision` it takes and returns float32, and converts what it reads. Times
are one thread's own, since others may use the machine.
"""

from __future__ import annotations

import time

import torch

from timing import interleaved, machine


def halves(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two tensors in bfloat16 whose sum is `x`, to 16 bits."""
    first = x.bfloat16()
    return first, (x - first.float()).bfloat16()


def three(a: torch.Tensor, b: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    first, second = halves(a)
    return (first @ b[0]).float() + (first @ b[1]).float() + (second @ b[0]).float()


def three_returned_in_float32(a: torch.Tensor, b: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    first = a.bfloat16().float()
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        return first @ b[0] + first @ b[1] + (a - first) @ b[0]
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = "none"


def main() -> None:
    """Print a row for each way: tokens and maps of the demo model's feed-forward layers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    a, b = torch.randn(2048, 384), torch.randn(384, 1536)
    exact, small = a.double() @ b.double(), halves(b)
    wide = (small[0].float(), small[1].float())
    ways = {
        "float32": lambda: a @ b,
        "one bfloat16 product": lambda: a.bfloat16() @ small[0],
        "three": lambda: three(a, small),
        "three, returned in float32": lambda: three_returned_in_float32(a, wide),
    }
    taken = interleaved(ways, 15, time.process_time)
    print(f"{machine()}\n\n| | times float32 | relative error |\n|---|--:|--:|")
    for name, way in ways.items():
        error = float((way().double() - exact).norm() / exact.norm())
        print(f"| {name} | {taken['float32'] / taken[name]:.2f} | {error:.1e} |")


if __name__ == "__main__":
    main()
