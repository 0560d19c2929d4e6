"""An audit as a page and as Markdown: complete, escaped, self-contained."""

import re

import pytest

from cenote.audit_records import Audit, AuditedTexts, Check
from cenote.auditing.checks.table import CHECKS
from cenote.errors import BadInput
from cenote.report.audit import to_html, to_markdown

from .evaluations import evaluation
from .test_page import Page

MARKUP = "<img src=x onerror=alert(1)> | *b*"


def made(**fields):
    checks = (
        Check("padding", False, f"Padding changes {MARKUP}", "Mend the mask.", {"side": "left", "difference": 0.125}),
        Check("batches", True, "12 texts have the same vectors.", "", {"texts": 12}),
        Check("prompts", True, "The model has prompts.", "Use encode_query.", {}),
        Check("hubs", None, "3 texts are too few.", "", {}),
    )
    default = {
        "schema": Audit.SCHEMA,
        "passed": False,
        "model": f"models/{MARKUP}",
        "fingerprint": "abc123",
        "pooling": "mean",
        "temperature": "1",
        "limit": 256,
        "texts": AuditedTexts(MARKUP, 100, 60, "ffee"),
        "checks": checks,
        "settings": {"pooling": None, "quick": True, "seed": 0},
        "versions": {"cenote": "0.1.0"},
    }
    return Audit(**default | fields)


@pytest.fixture(scope="module")
def written():
    return to_html(made(), "cenote audit '<b>'")


def test_everything_is_on_the_page(written):
    text = "".join(Page(written).text)
    for check in made().checks:
        assert check.evidence in text
        assert check.remedy in text
        assert CHECKS[check.name].question in text
        for name, value in check.measured.items():
            assert f"{check.name}: {name}" in text
            assert str(value) in text
    for word in ("abc123", "256 tokens", "ffee", "cenote audit '<b>'", "65504", "fails 1 of 3 checks: padding"):
        assert word in text


def test_texts_add_no_tags_and_nothing_is_loaded(written):
    page = Page(written)
    assert not {"img", "i", "link", "iframe", "object", "base", "form"} & set(page.tags)
    assert not [name for _, found in page.attributes for name in found if name.startswith("on") or name == "style"]
    references = [found["href"] for _, found in page.attributes if "href" in found]
    ids = [found["id"] for _, found in page.attributes if "id" in found]
    assert len(ids) == len(set(ids))
    assert {one[1:] for one in references} <= set(ids)
    assert not [found for _, found in page.attributes if "src" in found]


def test_what_failed_comes_first(written):
    assert re.findall('<section id="chapter-(.*?)"', written) == ["failed", "checks", "numbers", "methods"]
    sound = to_html(made(checks=made().checks[1:]))
    assert re.findall('<section id="chapter-(.*?)"', sound) == ["checks", "numbers", "methods"]
    assert "passes 2 checks; 1 not decided" in sound


def test_markdown_holds_the_checks():
    found = to_markdown(made(), "cenote audit m")
    assert "## What failed, and what to do" in found
    assert "Mend the mask." in found
    assert "| batches | pass |" in found
    assert "- prompts: Use encode\\_query." in found
    assert "\\*b\\*" in found
    assert "<img" not in found


def test_the_page_is_the_same_each_time(written):
    again = Audit.from_json(made().to_json())
    assert again == made()
    assert to_html(again, "cenote audit '<b>'") == written


def test_other_records_are_refused():
    with pytest.raises(BadInput, match="a report needs an Audit, not Evaluation"):
        to_html(evaluation())
