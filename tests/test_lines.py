"""`cenote.lines`: what `cenote.texts` reads by is tested there; here what becomes of a line that is not UTF-8."""

import gzip
import io

import pytest

from cenote.errors import BadInput
from cenote.lines import lines, readable, unzipped, whole_lines

MIXED = b"\xef\xbb\xbfone\r\ncaf\xe9\n\xf0\x9f\x98\x80\n"


def test_a_line_that_is_not_utf8_is_told_in_its_place():
    first, second, third = lines(io.BytesIO(MIXED), "a")
    assert (first, third) == ((1, "one\r\n"), (3, "😀\n"))
    assert second[0] == 2
    assert str(second[1]).startswith("a, line 2: not UTF-8 (byte 11, 0xe9). Mend or drop the line; or if the whole")
    assert MIXED[11] == 0xE9


def test_where_lines_hang_together_it_ends_the_reading():
    rows = whole_lines(io.BytesIO(MIXED), "a")
    assert next(rows) == (1, "one\r\n")
    with pytest.raises(BadInput, match="line 2: not UTF-8"):
        next(rows)


def test_zipped_or_not_is_told_by_the_first_bytes(tmp_path):
    for name, data in (("a.txt", b"one\n"), ("b.txt", gzip.compress(b"one\n"))):
        (tmp_path / name).write_bytes(data)
        with unzipped(tmp_path / name) as stream:
            assert stream.read() == b"one\n"


def test_what_cannot_be_read_is_named():
    with pytest.raises(BadInput, match=r"^it cannot be read \(gone\)"), readable("it"):
        raise OSError("gone")
