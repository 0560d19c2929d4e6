"""Marks of tests that need what some systems lack."""

import os

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="signals, forks, modes or measured memory of Unix")
