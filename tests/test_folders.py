"""What is written is written where nothing is."""

import pytest

from cenote.errors import BadInput
from cenote.folders import refuse_taken


def test_new_and_empty_folders_are_free(tmp_path):
    for path in (tmp_path, tmp_path / "deep" / "new", str(tmp_path)):
        assert refuse_taken(path) == tmp_path.joinpath(path)
    assert list(tmp_path.iterdir()) == []  # nothing is made


def test_what_holds_something_is_taken(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, tmp_path / "file", str(tmp_path)):
        with pytest.raises(BadInput, match=rf"^'{path}' is there already: name a new folder\.$"):
            refuse_taken(path)
