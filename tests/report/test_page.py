"""The page as text: well-formed, self-contained, escaped, and the same each time."""

import base64
import hashlib
import html.parser
import itertools
import json
import re
from dataclasses import replace

import pytest

from cenote.report.page import to_html
from cenote.report.series import model_names

VOID = {"meta", "link", "br", "img", "input", "hr"}
# Without an account of their own, two models at two temperatures, with all figures, stay below this size.
BYTES = 1_500_000


class Page(html.parser.HTMLParser):
    """The elements of a page, and its text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text, self.scripts, self.styles = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif "style" in self.open:
            self.styles.append(data)
        else:
            self.text.append(data)


@pytest.fixture(scope="module")
def written(rich):
    return to_html(rich, command="cenote diagnose '<b>' & co")


@pytest.fixture(scope="module")
def page(written):
    return Page(written)


def test_texts_add_no_tags_or_handlers(page):
    assert "b" in page.tags  # of the counts
    assert not {"img", "i", "link", "texts", "iframe", "object", "base", "form"} & set(page.tags)
    assert page.tags.count("script") == 2
    assert not [name for _, attributes in page.attributes for name in attributes if name.startswith("on")]
    assert not [attributes for _, attributes in page.attributes if "style" in attributes]


def test_texts_of_the_user_are_shown_as_text(page, rich):
    text = "".join(page.text)
    for verdict in rich.verdicts:
        assert verdict.finding in text
    assert all(name in text for name in model_names(rich.models))
    assert rich.models[1].name in text  # in full, in the provenance
    assert rich.texts.source in text
    assert rich.settings["note"] in text
    assert "cenote diagnose '<b>' & co" in text


def test_nothing_is_loaded(page):
    for tag, attributes in page.attributes:
        assert "src" not in attributes
        if "href" in attributes:
            outside = "https://arxiv.org/abs/" if tag == "a" else "#"
            assert attributes["href"].startswith(("#", outside))
    links = {
        attributes["href"][1:] for tag, attributes in page.attributes if attributes.get("href", "").startswith("#")
    }
    ids = [attributes["id"] for _, attributes in page.attributes if "id" in attributes]
    assert links <= set(ids)
    assert len(ids) == len(set(ids))


def test_the_policy_allows_only_the_scripts_and_the_style_of_the_page(page):
    (policy,) = [found["content"] for tag, found in page.attributes if "http-equiv" in found]
    scripts, styles = ([one for one in found if not one.startswith("[")] for found in (page.scripts, page.styles))
    (script,), (style,) = scripts, styles
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
        for content in (script, style)
    ]
    assert policy == (
        f"default-src 'none'; script-src {hashes[0]}; style-src {hashes[1]}; base-uri 'none'; form-action 'none'"
    )


def test_the_data_hold_each_text_once(page, rich):
    (data,) = [json.loads(script) for script in page.scripts if script.startswith("[")]
    assert data == [{"id": one.id, "text": one.text} for one in rich.excerpts]


def test_the_page_is_small_and_holds_numbers_only(written, poor):
    assert len(written.encode()) < BYTES
    for text in (written, to_html(poor)):
        assert not re.findall(r'="[^"<>]*\b(?:nan|inf)\b[^"<>]*"', text)


def test_every_figure_is_drawn_with_all_its_points(page, rich):
    figures = [found for tag, found in page.attributes if tag == "figure"]
    assert len(figures) == 16
    pairs = [found for tag, found in page.attributes if tag == "use" and "data-pair" in found]
    runs = [run for model in rich.models for run in model.runs]
    drawn = [found for run in runs for found in (run.pairs, run.given_pairs) if found]
    assert len(pairs) == sum(len(found.shown) + len(found.worst) for found in drawn)


def test_references_within_the_page_have_their_targets(page, written):
    ids = {found["id"] for _, found in page.attributes if "id" in found}
    used = {found["href"][1:] for tag, found in page.attributes if tag == "use"}
    used |= set(re.findall(r"url\(#(.*?)\)", written))
    assert used
    assert used <= ids


def test_chapters_are_in_the_order_of_a_readers_questions(written, rich):
    chapters = re.findall('<section id="chapter-(.*?)"', written)
    assert chapters == [
        "search",
        "verdicts",
        "length",
        "truncation",
        "socm",
        "given",
        "layers",
        "attention",
        "repeated",
        "methods",
    ]
    places = [
        written.index(f'id="verdict-{place}"') for place, one in enumerate(rich.verdicts) if one.grade != "described"
    ]
    assert places == sorted(places)
    assert re.findall('id="verdict-([0-9]+)"', written.split('id="described"')[1]) == ["6", "7"]


def test_the_account_stands_before_the_verdicts(page, written):
    assert written.index('class="bar"') < written.index('id="chapter-verdicts"')
    text = "".join(page.text)
    assert "40 of 100 sentences do not lead back to their text: 10 are lost to the cut" in text
    assert "3 of 100 sentences are lost to the cut." in text


def test_a_missing_account_is_a_sentence(rich, poor):
    text = "".join(Page(to_html(poor)).text)
    assert "Not measured: only 0 of 2 texts have three sentences of six words or more, and 20 are needed." in text
    assert "What was tried" not in text
    mixed = replace(rich, models=(rich.models[0], replace(rich.models[1], account="it has no tokens")))
    text = "".join(Page(to_html(mixed)).text)
    assert "Not measured: it has no tokens." in text
    assert "What was tried: all-MiniLM-L6-v2" in text


def test_a_repeated_advice_refers_to_the_first(written):
    card = written.split('id="verdict-3"')[1].split("</article>")[0]
    assert 'As under <a href="#verdict-0">search</a>.' in card


def test_a_single_text_is_counted_in_the_singular(poor):
    text = "".join(Page(to_html(replace(poor, texts=replace(poor.texts, given=1, used=1)))).text)
    assert "Read: 1 text from two texts." in text


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
