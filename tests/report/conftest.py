"""The diagnoses that reports are made of in these tests."""

from dataclasses import replace

import pytest

from .diagnoses import poor_diagnosis, rich_diagnosis


@pytest.fixture(scope="session")
def rich():
    return rich_diagnosis()


@pytest.fixture(scope="session")
def poor():
    return poor_diagnosis()


@pytest.fixture
def alone(rich):
    """The rich diagnosis with only one of its models, in one run with the fields that are given."""

    def alone(place=0, **fields):
        model = rich.models[place]
        return replace(rich, models=(replace(model, runs=(replace(model.runs[0], **fields),)),))

    return alone
