"""Numbers computed by hand; texts that stay text in HTML, scripts and Markdown."""

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


@given(st.text(alphabet=st.characters() | st.sampled_from("<>&`'\"")))
def test_prose_is_escaped_text_with_code_between_backticks(text):
    written = formatting.html_prose(text)
    assert set(re.findall("<.*?>", written)) <= {"<code>", "</code>"}
    assert written.count("<code>") == written.count("</code>")
    plain = html.unescape(re.sub("</?code>", "`", written))
    assert plain == html.unescape(html.escape(formatting.replace_unprintable(text)))


@given(st.text(alphabet=st.characters() | st.sampled_from("|\n\r`*_<-a ")))
def test_commands_in_markdown_hold_no_marks(text):
    written = formatting.markdown_prose(text)
    without = re.sub(r"(?<!\\)`[\w ./='-]+`", "", written)
    assert not re.search(r"(?<!\\)(\\\\)*[|`*\[\]~#$<>]", without)


def test_commands_in_markdown_keep_their_letters():
    assert formatting.markdown_prose("Use `--long windows` or `pooling='cls'`; not `a|b`.") == (
        "Use `--long windows` or `pooling='cls'`; not \\`a\\|b\\`."
    )


@given(st.text(alphabet=st.characters() | st.sampled_from("|\n\r`*_<")))
def test_escaped_markdown_is_one_line_without_bare_marks(text):
    written = formatting.escape_markdown(text)
    assert len(written.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_\[\]~#$<>]", written)


def test_unprintable_characters_are_replaced():
    assert formatting.replace_unprintable("a\x00b\ud800c\td") == "a\ufffdb\ufffdc\td"
