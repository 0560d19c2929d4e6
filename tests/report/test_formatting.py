"""Numbers computed by hand; texts that stay text in HTML, scripts, labels of plotly and Markdown."""

import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.report import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.00"),
        (0.99, "0.990"),
        (12.34, "12.3"),
        (123.4, "123"),
        (99999.5, "100,000"),
        (0.00912, "0.00912"),
        (-0.00042, "−0.00042"),
        (0.000001234, "1.23e-06"),
        (None, "–"),
    ],
)
def test_numbers_have_three_digits_or_decimals(value, text):
    assert formatting.format_number(value) == text


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_formatted_numbers_are_close_to_the_value(value):
    error = abs(float(formatting.format_number(value).replace(",", "")) - value)
    assert error <= (0.000501 if 0.01 <= value < 1 else 0.006 * value)


@given(st.text())
def test_escaped_text_round_trips(text):
    written = formatting.escape_html(text)
    assert html.unescape(written) == html.unescape(html.escape(formatting.replace_unprintable(text)))
    assert not set(written) & set("<>\"'")
    written.encode()


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_data_in_a_script_round_trip(data):
    written = formatting.script_json(data)
    assert json.loads(written) == data
    assert written.isascii()
    assert not set(written) & set("<>&")


def test_data_in_a_script_must_be_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        formatting.script_json(float("nan"))


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]) | st.sampled_from("<>&b/ \n")))
def test_labels_hold_no_tags_but_line_breaks(text):
    lines = formatting.plotly_label(text).split("<br>")
    assert len(lines) <= 3
    assert not any(set(line) & set("<>\n") for line in lines)
    assert all(len(html.unescape(line)) <= 38 for line in lines)


def test_long_labels_end_in_an_ellipsis():
    assert formatting.plotly_label("word " * 100).endswith(" …")


@given(st.text(alphabet=st.characters() | st.sampled_from("|\n\r`*_<")))
def test_escaped_markdown_is_one_line_without_bare_marks(text):
    written = formatting.escape_markdown(text)
    assert len(written.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_\[\]~#$<>]", written)


def test_unprintable_characters_are_replaced():
    assert formatting.replace_unprintable("a\x00b\ud800c\td") == "a\ufffdb\ufffdc\td"
