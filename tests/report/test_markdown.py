"""The report as Markdown: verdicts first, complete tables, and escaped texts."""

import re
from dataclasses import replace

from cenote.report.markdown import to_markdown


def test_verdicts_come_first(rich):
    written = to_markdown(rich)
    titles = re.findall("^## (.*)$", written, re.MULTILINE)
    assert titles[0] == "Verdicts"
    assert titles[-1] == "Provenance"
    assert written.index("### Severe: Truncation") < written.index("### Moderate: Length collapse")
    assert "- What to do: Embed long texts in windows" in written


def test_every_row_of_a_table_has_all_columns(rich):
    rows = [line for line in to_markdown(rich).splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    tables = "".join("x" if re.fullmatch(r"[|:\- ]+", row) else "." for row in rows)
    assert tables.count("x") >= 8
    for place, mark in enumerate(tables):
        if mark == "x":
            assert widths[place - 1] == widths[place] == widths[place + 1]


def test_several_models_get_an_overview_of_all_verdicts(rich, poor):
    head, _, *rows = to_markdown(rich).split("**Verdicts at a glance**\n\n")[1].split("\n\n")[0].splitlines()
    assert head.startswith("| subject | all-MiniLM-L6-v2 | e5-base-v2 | evil/&lt;i&gt;")
    assert "| Second-order collapse | slight | none | – |" in rows
    assert "at a glance" not in to_markdown(poor)


def test_texts_of_the_user_are_escaped(rich):
    written = to_markdown(rich)
    assert "<" not in written
    assert "&lt;b&gt;bold&lt;/b&gt;" in written
    assert "evil/&lt;i&gt;model&lt;/i&gt; &amp;" in written


def test_notes_are_a_list_and_empty_parts_are_left_out(poor):
    written = to_markdown(poor)
    assert "- tiny: no pairs were measured." in written
    assert "Caveat" not in written
    assert "There are no verdicts." in to_markdown(replace(poor, models=(), verdicts=()))
