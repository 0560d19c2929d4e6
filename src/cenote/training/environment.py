"""The environment of a training, which the last bits of its weights depend on besides its recipe."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from cenote.models.provenance import versions_of


def environment_of(device: torch.device) -> dict[str, Any]:
    """Return the versions of the libraries, the number of threads and the device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {**versions_of("accelerate"), "threads": torch.get_num_threads(), "device": f"{device.type} ({name})"}


def describe_changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return what has changed since a training was stopped, empty for nothing.

    >>> describe_changes({"threads": 2, "python": "3.11"}, {"threads": 4, "python": "3.11"})
    'threads was 2 and is 4'
    """
    return ", ".join(f"{name} was {was} and is {now.get(name)}" for name, was in before.items() if now.get(name) != was)


def processor() -> str:
    """Return the name of the processor, as far as the system states it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
