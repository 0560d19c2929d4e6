"""The diagnoses that reports are made of in these tests."""

import pytest

from ..builders import poor_diagnosis, rich_diagnosis


@pytest.fixture(scope="session")
def rich():
    return rich_diagnosis()


@pytest.fixture(scope="session")
def poor():
    return poor_diagnosis()
