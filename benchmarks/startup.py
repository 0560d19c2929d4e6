"""Time `cenote --help`, an empty program, and an import of sentence-transformers: `python benchmarks/startup.py`."""

from __future__ import annotations

import subprocess
import sys

from timing import interleaved, machine


def main() -> None:
    print(machine())
    commands = {
        "python -c pass": ["-c", "pass"],
        "cenote --help": ["-m", "cenote", "--help"],
        "import cenote": ["-c", "import cenote"],
        "import sentence_transformers": ["-c", "import sentence_transformers"],
    }
    times = interleaved(
        {
            name: lambda arguments=arguments: subprocess.run(
                [sys.executable, *arguments], capture_output=True, check=True
            )
            for name, arguments in commands.items()
        },
        repeats=7,
    )
    for name, seconds in times.items():
        print(f"{name:<30} {seconds:>7.3f} s")


if __name__ == "__main__":
    main()
