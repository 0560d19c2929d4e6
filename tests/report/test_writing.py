"""Numbers by hand; texts that stay texts, in HTML, in scripts, in plotly's labels and in Markdown."""

import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cenote.report.writing import (
    bin_label,
    clean,
    escaped,
    estimate,
    in_label,
    in_markdown,
    in_script,
    listed,
    number,
    share,
    spread,
    whole,
)
from cenote.results import Estimate, Spread


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
def test_numbers_have_the_digits_that_mean_something(value, text):
    assert number(value) == text


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_numbers_are_near_what_they_stand_for(value):
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("value", "text"), [(0.137, "13.7 %"), (0, "0 %"), (1, "100 %"), (1e-9, "< 0.1 %"), (1 - 1e-9, "> 99.9 %")]
)
def test_shares(value, text):
    assert share(value) == text


def test_records_in_a_cell():
    assert spread(Spread(2, 0.5, 0.1, 0.5, 0.9)) == "0.500 (0.100 to 0.900)"
    assert estimate(Estimate(-0.5, -0.6, -0.4)) == "−0.500 [−0.600, −0.400]"
    assert estimate(Estimate(0.5, None, None)) == "0.500"
    assert spread(None) == estimate(None) == whole(None) == "–"


def test_words():
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(iter(["a", "b"])) == "a and b"
    assert bin_label(1000, 2000) == "1,000–1,999"


@given(st.text())
def test_escaped_text_comes_back_as_it_was(text):
    written = escaped(text)
    assert html.unescape(written) == html.unescape(html.escape(clean(text)))
    assert not set(written) & set("<>\"'")
    written.encode()


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_data_in_a_script_come_back_as_they_were(data):
    written = in_script(data)
    assert json.loads(written) == data
    assert written.isascii()
    assert not set(written) & set("<>&")


def test_nothing_that_is_not_json_gets_into_a_script():
    with pytest.raises(ValueError, match="not JSON compliant"):
        in_script(float("nan"))


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]) | st.sampled_from("<>&b/ \n")))
def test_labels_hold_no_markup_but_line_breaks(text):
    lines = in_label(text).split("<br>")
    assert len(lines) <= 3
    assert not any(set(line) & set("<>\n") for line in lines)
    assert all(len(html.unescape(line)) <= 38 for line in lines)


def test_labels_are_cut_and_say_so():
    assert in_label("word " * 100).endswith(" …")
    assert in_label("a\nb") == "a b"
    assert in_label("") == ""


def test_markdown_keeps_to_its_cell():
    assert in_markdown("a | b\n# c `d` <e> [f](g) $h$ ~~i~~") == (
        r"a \| b \# c \`d\` &lt;e&gt; \[f\](g) \$h\$ \~\~i\~\~"
    )


@given(st.text(alphabet=st.characters() | st.sampled_from("|\n\r`*_<")))
def test_markdown_is_one_line_without_bare_marks(text):
    written = in_markdown(text)
    assert len(written.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_<>]", written)


def test_what_no_page_can_hold_is_replaced():
    assert clean("a\x00b\ud800c\td") == "a\ufffdb\ufffdc\td"
