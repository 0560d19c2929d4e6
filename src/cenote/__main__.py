"""`python -m cenote`, the same as `cenote`."""

import sys

from cenote.cli import main

if __name__ == "__main__":
    code = main()
    # CPython remembers an interrupt inside `exec` of a string (dataclasses make their methods that way), and under `-m`
    # then ends by SIGINT instead of our exit code, although the interrupt was caught. Another `exec` clears it.
    exec("")  # noqa: S102
    sys.exit(code)
