"""A tuning as a page and as Markdown: complete, escaped, self-contained, the same each time."""

import itertools
import json
import re
from dataclasses import fields, is_dataclass

import pytest

from cenote import tuning_records as records
from cenote.errors import BadInput
from cenote.report.differences import format_p, format_relative
from cenote.report.formatting import escape_markdown
from cenote.report.tuning import to_html, to_markdown

from .evaluations import evaluation
from .test_page import Page
from .tunings import MARKUP, bare_tuning, confirmed, rich_tuning, tried, tuning

COMMAND = "cenote tune '<b>' & co"
NOT_SHOWN = {("Tuning", "schema"), ("Tried", "query"), ("Tried", "document")}  # both are in the name
SHOWN = {
    "p": format_p,
    "relative": format_relative,
    "form": {"constant": "constant", "length": "by length", "role": "by role"}.get,
    "before": lambda value: f"{value:.4f}",
    "after": lambda value: f"{value:.4f}",
    "items": lambda value: f"{value:,}",
    "needed": lambda value: f"{value:,}",
}


def leaves(found, name="", percent=False):
    """Yield the words that stand for a record and for all that it holds."""
    if is_dataclass(found):
        for one in fields(found):
            shown = percent or one.name in ("gain", "expected") or getattr(found, "task", "") == "all"
            if (type(found).__name__, one.name) not in NOT_SHOWN:
                yield from leaves(getattr(found, one.name), one.name, shown)
    elif isinstance(found, dict):
        for key, value in found.items():
            yield from (key, value if isinstance(value, str) else json.dumps(value))
    elif isinstance(found, tuple):
        for one in found:
            yield from leaves(one)
    elif name in ("value", "low", "high", "resolvable"):
        yield f"{100 * abs(found):.2f}" if percent else f"{abs(found):.4f}"
    elif isinstance(found, float) and not name:
        yield format_relative(found)
    elif found is not None:
        yield SHOWN.get(name, str)(found)


@pytest.fixture(scope="module")
def rich():
    return rich_tuning()


@pytest.fixture(scope="module")
def written(rich):
    return to_html(rich, COMMAND)


@pytest.fixture(scope="module")
def page(written):
    return Page(written)


def test_every_figure_of_the_record_is_on_the_page(page, rich):
    words = [word for word in leaves(rich) if word != "all"]
    assert len(words) > 200
    text = "".join(page.text).replace("\N{NO-BREAK SPACE}", " ")
    assert [word for word in words if word not in text] == []
    assert COMMAND in text


def test_texts_add_no_tags_or_handlers(page):
    assert not {"img", "i", "b", "link", "iframe", "object", "base", "form"} & set(page.tags)
    assert page.tags.count("script") == 2  # the data, and the page's own
    assert not [name for _, found in page.attributes for name in found if name.startswith("on") or name == "style"]


def test_nothing_is_loaded_and_every_reference_has_its_target(page, written):
    ids = [found["id"] for _, found in page.attributes if "id" in found]
    assert len(ids) == len(set(ids))
    references = [found["href"] for _, found in page.attributes if "href" in found]
    assert all(one.startswith("#") for one in references)
    assert {one[1:] for one in references} <= set(ids)
    assert not [found for _, found in page.attributes if "src" in found]
    assert "http" not in re.sub(r"<script>.*?</script>", "", written.replace("http-equiv", ""), flags=re.DOTALL)


def test_the_answer_leads(written, rich):
    head = written.split("<header")[1].split("<nav")[0]
    assert rich.answer in head
    assert re.findall('<section id="chapter-(.*?)"', written) == ["curve", "held-out", "notes", "methods"]


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1 == levels[0]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_heat_map_stands_between_the_curve_and_the_table(written):
    places = [written.index(f'id="{key}"') for key in ("curve-figure", "heat", "tried", "held")]
    assert places == sorted(places)
    assert written.count('class="value"') == 36
    assert written.count("<figure") == written.count('class="plot"') == 1  # page.js expects a plot in each
    assert 'id="heat"' not in to_html(bare_tuning())


def test_only_the_choice_stands_out(written):
    assert re.findall(r'<tr class="strong"><th scope="row">(.*?)</th>', written) == ["0.8, chosen"]
    assert '<tr class="strong">' not in to_html(bare_tuning())


def test_the_same_tuning_gives_the_same_page(rich, written):
    assert to_html(rich, COMMAND) == written
    again = records.Tuning.from_json(rich.to_json())
    assert to_html(again, COMMAND) == written
    assert to_markdown(again, COMMAND) == to_markdown(rich, COMMAND)


def test_a_tuning_without_a_choice_is_a_page():
    page = Page(to_html(bare_tuning()))
    text = "".join(page.text)
    assert "none was tried on the held-out half" in text
    assert "Notes" not in text
    assert "Command line" not in text
    empty = Page(to_html(tuning(held_out=(), notes=(), chosen=None, gain=None)))
    assert empty.tags.count("script") == 1  # no figure, no script


def test_markdown_has_the_tables_of_the_page(rich):
    written = to_markdown(rich, COMMAND)
    assert rich.answer in written
    assert "| 0.8, chosen | constant | +0.82 % (+0.22 to +1.42 %) | +0.95 % | +0.69 % |" in written
    assert "| scifact | retrieval | ndcg\\_at\\_10 | 1,150 | 0.6451 | 0.6489 |" in written
    assert "a half of 1,743 items would show" in written
    assert "<" not in written
    assert escape_markdown(MARKUP) in written
    assert escape_markdown(COMMAND) in written


def test_other_records_are_refused():
    for render in (to_html, to_markdown):
        with pytest.raises(BadInput, match="a report needs a Tuning, not Evaluation"):
            render(evaluation())


def test_save_writes_both(rich, tmp_path):
    for name, render in (("a.html", to_html), ("a.md", to_markdown)):
        rich.save(tmp_path / name, command=COMMAND)
        assert (tmp_path / name).read_text("utf-8") == render(rich, COMMAND)


def test_a_choice_among_many_tasks_stands_out_in_both_tables():
    names = tuple(f"t{place}" for place in range(5))
    rows = (tried(0.9, tasks=(0.01,) * 5), tried(0.8, tasks=(0.02,) * 5))
    written = to_html(tuning(*rows, tasks=names, held_out=(confirmed(),)))
    assert re.findall(r'<tr class="strong"><th scope="row">(.*?)</th>', written) == ["0.8, chosen", "0.8, chosen"]
