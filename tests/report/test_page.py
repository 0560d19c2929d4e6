"""The page as text: well-formed, self-contained, escaped, and the same each time."""

import base64
import hashlib
import html.parser
import itertools
import json
import re
import sys
from dataclasses import replace

import pytest

from cenote.errors import CenoteError
from cenote.report.page import to_html

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """The elements of a page, and its text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text, self.scripts = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID and not (self.open and "svg" in self.open and tag in ("path", "circle")):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif "style" not in self.open:
            self.text.append(data)


@pytest.fixture(scope="module")
def written(rich):
    return to_html(rich, command="cenote diagnose '<b>' & co")


@pytest.fixture(scope="module")
def page(written):
    return Page(written)


def test_texts_add_no_tags_or_handlers(page):
    assert "b" in page.tags  # of the counts
    assert not {"img", "i", "link", "iframe", "object", "base", "form"} & set(page.tags)
    assert page.tags.count("script") == 3
    assert not [name for _, attributes in page.attributes for name in attributes if name.startswith("on")]


def test_texts_of_the_user_are_shown_as_text(page, rich):
    text = "".join(page.text)
    for verdict in rich.verdicts:
        assert verdict.finding in text
    assert rich.models[1].name in text
    assert rich.texts.source in text
    assert rich.settings["note"] in text
    assert "cenote diagnose '<b>' & co" in text


def test_nothing_is_loaded(page):
    for tag, attributes in page.attributes:
        assert "src" not in attributes
        if "href" in attributes and tag == "a":
            assert attributes["href"].startswith(("#", "https://arxiv.org/abs/"))
    links = {
        attributes["href"][1:] for tag, attributes in page.attributes if attributes.get("href", "").startswith("#")
    }
    ids = [attributes["id"] for _, attributes in page.attributes if "id" in attributes]
    assert links <= set(ids)
    assert len(ids) == len(set(ids))


def test_the_policy_allows_only_the_scripts_of_the_page(page):
    (policy,) = [found["content"] for tag, found in page.attributes if "http-equiv" in found]
    assert policy.startswith("default-src 'none'; ")
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    code = [script for script in page.scripts if not script.startswith("{")]
    assert allowed == {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in code}
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]


def test_the_data_hold_each_text_once(page, rich):
    (data,) = [json.loads(script) for script in page.scripts if script.startswith("{")]
    assert [one["text"] for one in data["excerpts"]] == [one.text for one in rich.excerpts]
    assert data["excerpts"][0]["label"].startswith("<b>texts.jsonl:0</b><br>&lt;b&gt;bold&lt;/b&gt;")
    assert len(data["figures"]) == 15


def test_verdicts_come_first_and_in_their_order(written):
    assert written.index('id="chapter-verdicts"') < written.index('id="chapter-length"')
    places = [written.index(f'id="verdict-{place}"') for place in range(7)]
    assert places == sorted(places)
    assert written.index('id="chapter-repeated"') < written.index('id="chapter-methods"')


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_same_diagnosis_gives_the_same_page(rich, written):
    assert to_html(rich, command="cenote diagnose '<b>' & co") == written


def test_a_page_without_figures_needs_no_script(poor):
    page = Page(to_html(poor))
    text = "".join(page.text)
    assert page.tags.count("script") == 1
    assert "tiny: no pairs were measured." in text
    assert "Command line" not in text


def test_a_diagnosis_without_models_and_verdicts(poor):
    text = "".join(Page(to_html(replace(poor, models=(), verdicts=()))).text)
    assert "No model" in text
    assert "There are no verdicts." in text


def test_missing_plotly_is_an_error_with_the_remedy(rich, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(CenoteError, match=r"pip install 'cenote\[report\]'"):
        to_html(rich)
