"""Lines that are not UTF-8, gzip, and unreadable sources. Formats are tested in test_texts."""

import gzip
import io

import pytest

from cenote.data.lines import lines, readable, unzipped, whole_lines
from cenote.errors import BadInput

MIXED = b"\xef\xbb\xbfone\r\ncaf\xe9\n\xf0\x9f\x98\x80\n"


def test_a_line_that_is_not_utf8_is_a_fault_in_its_place():
    first, second, third = lines(io.BytesIO(MIXED), "a")
    assert (first, third) == ((1, "one\r\n"), (3, "😀\n"))
    assert second[0] == 2
    assert second[1].why.startswith("a, line 2: not UTF-8 (byte 11, 0xe9). Correct or drop the line; if the whole")
    assert MIXED[11] == 0xE9


def test_where_lines_depend_on_each_other_it_raises():
    rows = whole_lines(io.BytesIO(MIXED), "a")
    assert next(rows) == (1, "one\r\n")
    with pytest.raises(BadInput, match="line 2: not UTF-8"):
        next(rows)


def test_gzip_is_detected_by_the_first_bytes(tmp_path):
    for name, data in (("a.txt", b"one\n"), ("b.txt", gzip.compress(b"one\n"))):
        (tmp_path / name).write_bytes(data)
        with unzipped(tmp_path / name) as stream:
            assert stream.read() == b"one\n"


def test_an_unreadable_source_is_named():
    with pytest.raises(BadInput, match=r"^it cannot be read \(gone\)"), readable("it"):
        raise OSError("gone")
