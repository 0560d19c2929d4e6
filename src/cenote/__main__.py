"""`python -m cenote`, the same as `cenote`."""

import sys

from cenote.cli import main

if __name__ == "__main__":
    sys.exit(main())
