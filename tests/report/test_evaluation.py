"""An evaluation as a page and as Markdown: complete, escaped, self-contained, whatever a task lacks."""

import base64
import hashlib
import html
import itertools
import json
import re
from dataclasses import fields, is_dataclass

import pytest

from cenote import evaluation_records as records
from cenote.errors import BadInput
from cenote.records import Estimate
from cenote.report.evaluation import to_html, to_markdown
from cenote.report.formatting import clip_text, escape_markdown, format_number, format_score, replace_unprintable

from .evaluations import ARABIC, LONG, MARKUP, bare_task, evaluation, large_evaluation, rich_evaluation, task, worst
from .test_page import Page

COMMAND = "cenote evaluate '<b>' & co"
# Ten tasks with as much as a task can have stay below this size.
BYTES = 300_000
# Fields that no report shows, with the reason.
NOT_SHOWN = {("Evaluation", "schema"), *(("Part", name) for name in ("division", "low", "high"))}  # in the name


def four_digits(value):
    return f"{value:.4f}".replace("-", "−")


def whole(value):
    return f"{value:,}"


# What stands on the page for a field; None if its parts are looked for.
SHOWN = {
    "Evaluation": {
        **dict.fromkeys(("model", "fingerprint", "pooling", "temperature"), str),
        "limit": "{:,} tokens".format,
        "tasks": None,
        "settings": None,
        "versions": None,
    },
    "TaskScore": {
        **dict.fromkeys(("name", "kind", "metric", "data", "split"), str),
        **dict.fromkeys(("score", "low", "high"), four_digits),
        **dict.fromkeys(("items", "texts", "cut"), whole),
        **dict.fromkeys(("by_length", "settings", "positions", "worst", "scores", "notes")),
        "interval": str,
        "longest_rank": "{:.1f}".format,
        "part_metric": str,
        "part_score": None,
    },
    "Part": {**dict.fromkeys(("by", "name"), str), "items": whole, "score": None, "entropy": format_number},
    "Setting": {"name": str, "score": None, "change": None, "vectors": "{:.1f}".format},
    "Position": {**dict.fromkeys(("way", "place"), str), "items": whole, "found": None},
    "Worst": {
        "item": str,
        "value": format_number,
        **dict.fromkeys(("text", "expected", "found"), lambda text: replace_unprintable(clip_text(text, 300))),
    },
    "Estimate": dict.fromkeys(("value", "low", "high"), lambda value: four_digits(abs(value))),
}


def leaves(found, show=str):
    """Yield the words that stand for a record and for all that it holds."""
    if is_dataclass(found):
        kind = type(found).__name__
        for one in fields(found):
            if (kind, one.name) not in NOT_SHOWN:
                yield from leaves(getattr(found, one.name), SHOWN[kind][one.name])
    elif isinstance(found, dict):
        for name, value in found.items():
            yield from (name, value if isinstance(value, str) else f"{json.dumps(value)[:6]}")
    elif isinstance(found, tuple):
        for one in found:
            yield from leaves(one)
    elif found not in (None, "", 0):
        yield (show or str)(found)


@pytest.fixture(scope="module")
def rich():
    return rich_evaluation()


@pytest.fixture(scope="module")
def written(rich):
    return to_html(rich, COMMAND)


@pytest.fixture(scope="module")
def page(written):
    return Page(written)


def text_of(evaluation):
    return "".join(Page(to_html(evaluation)).text)


def test_every_field_is_shown_or_named_as_not_shown(page, rich):
    kinds = (*(kind for kind in vars(records).values() if is_dataclass(kind)), Estimate)
    for kind in kinds:
        known = {*SHOWN[kind.__name__], *(name for owner, name in NOT_SHOWN if owner == kind.__name__)}
        assert {one.name for one in fields(kind)} == known, kind.__name__
    text = "".join(page.text)
    words = list(leaves(rich))
    assert len(words) > 300
    assert [word for word in words if word not in text] == []
    assert COMMAND in text


def test_texts_add_no_tags_or_handlers(page):
    assert not {"img", "i", "b", "link", "iframe", "object", "base", "form", "a href"} & set(page.tags)
    assert page.tags.count("script") == 2
    assert not [name for _, found in page.attributes for name in found if name.startswith("on") or name == "style"]


def test_nothing_is_loaded_and_every_reference_has_its_target(page, written):
    ids = [found["id"] for _, found in page.attributes if "id" in found]
    assert len(ids) == len(set(ids))
    references = [found["href"] for _, found in page.attributes if "href" in found]
    assert references
    assert all(one.startswith("#") for one in references)
    assert {one[1:] for one in references} <= set(ids)
    assert not [found for _, found in page.attributes if "src" in found]
    assert "http" not in re.sub(r"<script>.*?</script>", "", written.replace("http-equiv", ""), flags=re.DOTALL)
    assert set(re.findall(r"url\((.*?)\)", written)) <= {"#fill-cut", "#fill-pooling"}


def test_the_policy_allows_only_the_script_and_the_style_of_the_page(page):
    (policy,) = [found["content"] for _, found in page.attributes if "http-equiv" in found]
    (script,), (style,) = [one for one in page.scripts if not one.startswith("[")], page.styles
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in (script, style)]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; base-uri 'none'; "
        "form-action 'none'"
    )


def test_chapters_are_in_the_order_of_a_readers_questions(written):
    chapters = re.findall('<section id="chapter-(.*?)"', written)
    assert chapters == ["scores", "long", "length", "worst", "notes", "methods"]
    assert re.findall('<li><a href="#chapter-(.*?)">', written) == chapters


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1 == levels[0]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_each_score_has_a_point_and_its_interval(written):
    table = written.split('id="scores"')[1].split("</table>")[0]
    rows = [row for row in table.split("<tr>") if 'class="interval' in row]
    assert [row.count('class="point"') for row in rows] == [1, 1, 1, 1]
    assert [row.count('class="line"') for row in rows] == [1, 1, 1, 0]  # the last has no interval
    assert 'x1="60.12%" x2="68.93%"' in rows[0]
    assert '<use href="#circle" x="64.51%"' in rows[0]
    assert re.findall(r'class="tick.*?>(.*?)</text>', table) == ["0", "0.5", "1"]


def test_all_figures_of_mteb_are_folded(written):
    for key in ("figures-t0", "figures-t1", "parts-t0"):
        assert f'<details class="table" id="{key}"><summary>' in written
    assert '<details class="table" id="scores" open>' in written


def test_a_page_of_ten_tasks_is_small():
    large = to_html(large_evaluation(), COMMAND)
    assert large.count('<figure id="') == 20
    assert len(large.encode()) < BYTES


def test_long_texts_are_cut(written):
    assert html.escape(LONG[:299]) + "…" in written
    assert LONG[:320] not in written
    assert "Texts are shown up to 300 characters." in written


def test_the_same_evaluation_gives_the_same_page(rich, written):
    assert to_html(rich, COMMAND) == written
    again = records.Evaluation.from_json(evaluation(bare_task(), task()).to_json())
    assert to_html(again) == to_html(evaluation(bare_task(), task()))


@pytest.mark.parametrize("tasks", [(), (bare_task(),), (task(low=None, high=None),)], ids=["none", "bare", "plain"])
def test_what_a_task_lacks_is_left_out(tasks):
    found = evaluation(*tasks, limit=None, settings={}, versions={})
    page = Page(to_html(found))
    assert page.tags.count("script") == 1  # no figures, no script
    text = "".join(page.text)
    assert "reads whole texts" in text
    assert "Command line" not in text
    assert "By length" not in text
    assert "Worst" not in text
    markdown = to_markdown(found)
    assert markdown.startswith("# Cenote evaluation: all-MiniLM-L6-v2\n")
    assert ("## How good is the model on each task?" in markdown) == bool(tasks)


def test_a_missing_interval_and_unknown_items_are_dashes():
    markdown = to_markdown(evaluation(bare_task()))
    assert "| tatoeba | bitext mining | f1 | – | 0.8100 |" in markdown
    assert "| tatoeba | test | ff4f3bc84704f63e | – |" in markdown
    assert "- tatoeba: The values of single items are not known" in markdown


def test_samples_are_named_at_the_top(rich):
    assert "Only fixed samples of the data were scored." in text_of(rich)
    assert "fixed samples" not in text_of(evaluation(task(), settings={"quick": False}))


def test_other_records_are_refused():
    for render in (to_html, to_markdown):
        with pytest.raises(BadInput, match=r"needs an Evaluation, not dict: see Evaluation.from_json"):
            render({})


def test_every_row_of_a_markdown_table_has_all_columns(rich):
    written = to_markdown(rich, COMMAND)
    rows = [line for line in written.splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    rules = [place for place, row in enumerate(rows) if re.fullmatch(r"[|:\- ]+", row)]
    assert len(rules) >= 8
    for start, end in itertools.pairwise([*rules, len(rows) + 1]):
        assert len(set(widths[start - 1 : end - 1])) == 1, rows[start - 1]
    assert not [line for line in written.splitlines() if line.startswith(("b c", "\\"))]


def test_markdown_is_escaped_and_has_what_the_page_shows_open(rich):
    written = to_markdown(rich, COMMAND)
    assert "<" not in written
    assert escape_markdown(MARKUP) in written
    assert "a \\| b c \\\\ \\`d\\` � � \\*e\\*" in written
    assert ARABIC in written
    assert (
        "| scifact | window-mean | 0.6310 (0.5810 to 0.6810) | higher: +0.0310 (+0.0210 to +0.0410) | 1.0 |" in written
    )
    assert "all figures of MTEB" not in written
    assert "all parts" not in written
    assert escape_markdown(COMMAND) in written


def test_worst_texts_are_open_for_few_tasks_only():
    def opened(count):
        found = evaluation(*(task(name=f"t{place}", worst=(worst(1, "x"),)) for place in range(count)))
        return len(re.findall('id="worst-t[0-9]+" open', to_html(found))), to_markdown(found).count("**t")

    assert opened(3) == (3, 3)
    assert opened(4) == (0, 4)  # Markdown has them all


def test_save_writes_both(rich, tmp_path):
    for name, render in (("a.html", to_html), ("a.md", to_markdown)):
        rich.save(tmp_path / name, command=COMMAND)
        assert (tmp_path / name).read_text("utf-8") == render(rich, COMMAND)


def test_scores_have_the_digits_of_the_command_line():
    assert format_score(Estimate(0.64514, 0.6, 0.7)) == "0.6451 (0.6000 to 0.7000)"
