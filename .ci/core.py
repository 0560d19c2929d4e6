"""Run the tests of `make check` in a fresh environment, on other versions than those of `.venv`.

    python .ci/core.py --lowest              # the lowest versions that pyproject.toml allows, on the lowest Python
    python .ci/core.py --python 3.13         # another Python, with the versions of constraints.txt
    python .ci/core.py --python 3.11 --slow  # those of `make test`, where there is no make

uv resolves the versions, and finds the Python or downloads it. The environment is deleted afterwards.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOWEST_PYTHON = "3.10"
# The tests of `make check`, and of `make test`, which `make lint` precedes there.
QUICK, SLOW = (
    ["-q", "-p", "no:cacheprovider", "-m", wanted]
    for wanted in ("not slow and not broad and not soak", "not broad and not soak")
)
# Without [ray], whose tests are slow, and tools that no user installs.
LOWEST = ["--resolution", "lowest-direct", "--editable", f"{ROOT}[demo,eval,train,openvino,onnx,index,test]"]
NEWEST = ["--constraint", str(ROOT / "constraints.txt"), "--editable", f"{ROOT}[dev]"]


def run(*words: str | Path) -> None:
    """Run a program in the repository; raise if it fails."""
    subprocess.run([str(word) for word in words], cwd=ROOT, check=True)


def program(environment: Path, name: str) -> Path:
    """Return the path of a program of an environment."""
    return environment / ("Scripts" if os.name == "nt" else "bin") / name


def core(python: str, versions: list[str], tests: list[str]) -> None:
    """Make an environment of a Python with these versions, show them, and run tests in it."""
    with tempfile.TemporaryDirectory(prefix="cenote-core-") as home:
        tools, environment = Path(home, "tools"), Path(home, "environment")
        run(sys.executable, "-m", "venv", tools)
        run(program(tools, "python"), "-m", "pip", "install", "--quiet", "uv")
        uv = program(tools, "uv")
        run(uv, "venv", "--quiet", "--python", python, environment)
        run(uv, "pip", "install", "--quiet", "--python", environment, *versions)
        run(uv, "pip", "list", "--python", environment)
        run(program(environment, "python"), "-m", "pytest", *tests)


def main() -> None:
    """Parse the command line, and run the tests."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--lowest", action="store_true", help=f"the lowest versions, on Python {LOWEST_PYTHON}")
    choice.add_argument("--python", help="a Python, such as 3.13, with the versions of constraints.txt")
    parser.add_argument("--slow", action="store_true", help="also the tests that only `make test` runs")
    args = parser.parse_args()
    tests = SLOW if args.slow else QUICK
    core(LOWEST_PYTHON if args.lowest else args.python, LOWEST if args.lowest else NEWEST, tests)


if __name__ == "__main__":
    main()
