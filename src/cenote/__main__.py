"""`python -m cenote`, the same as `cenote`."""

import sys

from cenote.cli import main

if __name__ == "__main__":
    code = main()
    # CPython remembers an interrupt that came inside `exec` of a text (dataclasses make their methods so, and an import
    # makes hundreds), and under `-m` ends by SIGINT instead of with our exit code, though the interrupt was caught.
    # Any other `exec` of a text makes it forget.
    exec("")  # noqa: S102
    sys.exit(code)
