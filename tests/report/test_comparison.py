"""A comparison as a page and as Markdown: complete, escaped, self-contained, the same each time."""

import base64
import hashlib
import itertools
import json
import re
from dataclasses import fields, is_dataclass

import pytest

from cenote import comparison_records as records
from cenote.errors import BadInput
from cenote.records import Estimate
from cenote.report.comparison import to_html, to_markdown
from cenote.report.differences import format_p, format_relative
from cenote.report.formatting import escape_markdown, format_number, format_share

from .comparisons import MARKUP, bare_comparison, comparison, large_comparison, rich_comparison
from .evaluations import evaluation
from .test_page import Page

COMMAND = "cenote compare '<b>' & co"
# Twenty tasks of six settings stay below this size.
BYTES = 500_000
NOT_SHOWN = {("Comparison", "schema"), ("Comparison", "labelled")}  # one is of the format, the other in words
NUMBERS = {"p": format_p, "p_alone": format_p, "relative": format_relative, "effect": format_number}
SHOWN = {
    "score": lambda value: f"{value:.4f}",
    "resolvable": lambda value: f"{value:.4f}",
    "neighbours": format_share,
    "vectors": lambda value: f"{value:.2f}",
    "seconds": format_number,
    **NUMBERS,
    **dict.fromkeys(("value", "low", "high"), lambda value: f"{abs(value):.4f}"),
    **dict.fromkeys(("wins", "losses", "ties", "items", "limit", "dimensions", "texts"), lambda value: f"{value:,}"),
}


def leaves(found, name=""):
    """Yield the words that stand for a record and for all that it holds."""
    if is_dataclass(found):
        base = getattr(found, "verdict", "") == "baseline"  # its difference is none
        for one in fields(found):
            hidden = base and one.name not in ("setting", "model", "pooling", "score", "verdict")
            if (type(found).__name__, one.name) not in NOT_SHOWN and not hidden:
                yield from leaves(getattr(found, one.name), one.name)
    elif isinstance(found, dict):
        for key, value in found.items():
            yield from (key, value if isinstance(value, str) else json.dumps(value))
    elif isinstance(found, tuple):
        for one in found:
            yield from leaves(one)
    elif found is not None:
        yield SHOWN.get(name, str)(found)


@pytest.fixture(scope="module")
def rich():
    return rich_comparison()


@pytest.fixture(scope="module")
def written(rich):
    return to_html(rich, COMMAND)


@pytest.fixture(scope="module")
def page(written):
    return Page(written)


def text_of(page):
    return "".join(page.text).replace("\N{NO-BREAK SPACE}", " ")


def test_every_figure_of_the_record_is_on_the_page(page, rich):
    words = [word for word in leaves(rich) if word not in ("all",)]
    assert len(words) > 300
    text = text_of(page)
    assert [word for word in words if word not in text] == []
    assert COMMAND in text


def test_texts_add_no_tags_or_handlers(page):
    assert not {"img", "i", "link", "iframe", "object", "base", "form"} & set(page.tags)
    assert page.tags.count("script") == 1  # the data alone
    assert not [name for _, found in page.attributes for name in found if name.startswith("on") or name == "style"]


def test_nothing_is_loaded_and_every_reference_has_its_target(page, written):
    ids = [found["id"] for _, found in page.attributes if "id" in found]
    assert len(ids) == len(set(ids))
    references = [found["href"] for _, found in page.attributes if "href" in found]
    assert {one[1:] for one in references} <= set(ids)
    assert all(one.startswith("#") for one in references)
    assert not [found for _, found in page.attributes if "src" in found]
    assert "http" not in written.replace("http-equiv", "")


def test_the_policy_allows_no_script_and_only_the_style_of_the_page(page):
    (policy,) = [found["content"] for _, found in page.attributes if "http-equiv" in found]
    style = base64.b64encode(hashlib.sha256(page.styles[0].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; script-src 'none'; style-src 'sha256-{style}'")


def test_warnings_come_first_then_the_tasks(written):
    chapters = re.findall('<section id="chapter-(.*?)"', written)
    assert chapters == ["warnings", "t0", "t1", "t2", "length", "cost", "notes", "methods"]
    assert re.findall('<li><a href="#chapter-(.*?)">', written) == chapters
    assert written.count("<li><b>Warning</b>") == 2
    bare = to_html(bare_comparison())
    assert "Warning" not in "".join(Page(bare).text)
    assert 'id="chapter-length"' not in bare


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1 == levels[0]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_each_task_has_a_forest_with_a_row_for_each_setting(written, rich):
    forests = written.split('<figure class="forest"')[1:]
    assert len(forests) == 3
    assert all(one.count('<div class="row ') == 7 for one in forests)
    assert all(one.split("</figure>")[0].count('<div class="row own"') == 1 for one in forests)


def test_only_the_baseline_stands_out(written):
    tables = re.findall(r'<details class="table" id="cells-t\d".*?</table>', written)
    for one in tables:
        (row,) = re.findall(r'<tr class="strong"><th scope="row">(.*?)</th>', one)
        assert row == "MiniLM: mean"
    assert len(tables) == 3


def test_a_page_of_twenty_tasks_is_small():
    large = to_html(large_comparison(), COMMAND)
    assert large.count('<figure class="forest"') == 20
    assert len(large.encode()) < BYTES


def test_the_same_comparison_gives_the_same_page(rich, written):
    assert to_html(rich, COMMAND) == written
    again = records.Comparison.from_json(rich.to_json())
    assert to_html(again, COMMAND) == written
    assert to_markdown(again, COMMAND) == to_markdown(rich, COMMAND)


def test_markdown_has_the_tables_of_the_page(rich):
    written = to_markdown(rich, COMMAND)
    assert written.startswith("# Cenote comparison: 7 settings of all-MiniLM-L6-v2 and &lt;i&gt;e5")
    assert (
        "| MiniLM: cls | 0.6039 | 768 x 1.25 | 8.31 | −0.0412 (−0.0542 to −0.0282) | −6.39 % | &lt; 0.001 "
        "(&lt; 0.001) | −0.288 | 81 / 1,064 / 155 | 0.0187 | 74.3 % | worse |" in written
    )
    assert "| MiniLM: cls | document | quarter 2, 40 to 91 tokens | 76 | −0.0412 (−0.0612 to −0.0212) |" in written
    assert "| MiniLM: cls | 768 | 1.25 | 8.31 | 5,483 |" in written
    assert written.index("## Warnings") < written.index("## All tasks")
    assert "<" not in written
    assert escape_markdown(MARKUP) in written
    assert escape_markdown(COMMAND) in written


def test_rows_of_markdown_have_as_many_cells_as_their_head(rich):
    rows = [line for line in to_markdown(rich).splitlines() if line.startswith("|")]
    widths = [len(re.split(r"(?<!\\)\|", row)) for row in rows]
    rules = [place for place, row in enumerate(rows) if re.fullmatch(r"[|:\- ]+", row) and ":--" in row]
    for start, end in itertools.pairwise([*rules, len(rows) + 1]):
        assert len(set(widths[start - 1 : end - 1])) == 1, rows[start - 1]


def test_an_account_without_labels_claims_no_relevance(rich):
    own = comparison(*rich.cells, labelled=False)
    for written in (text_of(Page(to_html(own))), to_markdown(own)):
        assert "No labels were used" in written
        assert "no relevance is claimed" in written


def test_an_empty_comparison_is_a_page():
    page = Page(to_html(comparison(costs=(), settings={}, versions={})))
    assert "0 settings" in text_of(page)
    assert "Command line" not in text_of(page)


def test_other_records_are_refused():
    for render in (to_html, to_markdown):
        with pytest.raises(BadInput, match="a report needs a Comparison, not Evaluation"):
            render(evaluation())


def test_save_writes_both(rich, tmp_path):
    for name, render in (("a.html", to_html), ("a.md", to_markdown)):
        rich.save(tmp_path / name, command=COMMAND)
        assert (tmp_path / name).read_text("utf-8") == render(rich, COMMAND)


def test_estimates_without_an_interval_are_points():
    assert Estimate(0.01, None, None) == bare_comparison().cells[1].difference
    written = to_html(bare_comparison())
    assert 'class="line"' not in written.split('<figure class="forest"')[1].split("</figure>")[0]
