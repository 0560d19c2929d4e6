"""Numbers computed by hand; texts that stay text in HTML, scripts, labels of plotly and Markdown."""

import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.records import Estimate, Spread
from cenote.report.formatting import (
    escape_html,
    escape_markdown,
    format_bin,
    format_count,
    format_estimate,
    format_number,
    format_share,
    format_spread,
    join_names,
    plotly_label,
    replace_unprintable,
    script_json,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1.00"),
        (-1.0, "−1.00"),
        (0.99, "0.990"),
        (12.34, "12.3"),
        (123.4, "123"),
        (99999.5, "100,000"),
        (0.00912, "0.00912"),
        (0.0005, "0.0005"),
        (-0.00042, "−0.00042"),
        (0.000001234, "1.23e-06"),
        (3.2e-9, "3.2e-09"),
        (None, "–"),
    ],
)
def test_numbers_have_three_digits_or_decimals(value, text):
    assert format_number(value) == text


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_formatted_numbers_are_close_to_the_value(value):
    error = abs(float(format_number(value).replace(",", "")) - value)
    assert error <= (0.000501 if 0.01 <= value < 1 else 0.006 * value)


@pytest.mark.parametrize(
    ("value", "text"), [(0.137, "13.7 %"), (0, "0 %"), (1, "100 %"), (1e-9, "< 0.1 %"), (1 - 1e-9, "> 99.9 %")]
)
def test_shares_between_0_and_1_are_never_0_or_100(value, text):
    assert format_share(value) == text


def test_records_are_formatted_with_their_range():
    assert format_spread(Spread(2, 0.5, 0.1, 0.5, 0.9)) == "0.500 (0.100 to 0.900)"
    assert format_estimate(Estimate(-0.5, -0.6, -0.4)) == "−0.500 [−0.600, −0.400]"
    assert format_estimate(Estimate(0.5, None, None)) == "0.500"
    assert format_spread(None) == format_estimate(None) == format_count(None) == "–"


def test_names_and_bins():
    assert join_names([]) == ""
    assert join_names(["a"]) == "a"
    assert join_names(iter(["a", "b"])) == "a and b"
    assert format_bin(1000, 2000) == "1,000–1,999"


@given(st.text())
def test_escaped_text_round_trips(text):
    written = escape_html(text)
    assert html.unescape(written) == html.unescape(html.escape(replace_unprintable(text)))
    assert not set(written) & set("<>\"'")
    written.encode()


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_data_in_a_script_round_trip(data):
    written = script_json(data)
    assert json.loads(written) == data
    assert written.isascii()
    assert not set(written) & set("<>&")


def test_data_in_a_script_must_be_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json(float("nan"))


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]) | st.sampled_from("<>&b/ \n")))
def test_labels_hold_no_tags_but_line_breaks(text):
    lines = plotly_label(text).split("<br>")
    assert len(lines) <= 3
    assert not any(set(line) & set("<>\n") for line in lines)
    assert all(len(html.unescape(line)) <= 38 for line in lines)


def test_long_labels_end_in_an_ellipsis():
    assert plotly_label("word " * 100).endswith(" …")
    assert plotly_label("a\nb") == "a b"
    assert plotly_label("") == ""


def test_markdown_characters_are_escaped():
    assert escape_markdown("a | b\n# c `d` <e> [f](g) $h$ ~~i~~") == (
        r"a \| b \# c \`d\` &lt;e&gt; \[f\](g) \$h\$ \~\~i\~\~"
    )


@given(st.text(alphabet=st.characters() | st.sampled_from("|\n\r`*_<")))
def test_escaped_markdown_is_one_line_without_bare_marks(text):
    written = escape_markdown(text)
    assert len(written.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_<>]", written)


def test_unprintable_characters_are_replaced():
    assert replace_unprintable("a\x00b\ud800c\td") == "a\ufffdb\ufffdc\td"
