"""The report as Markdown: verdicts first, tables whole, nothing that a text could break out of."""

import re
from dataclasses import replace

from cenote.report import to_markdown


def test_verdicts_come_first(rich):
    written = to_markdown(rich)
    titles = re.findall("^## (.*)$", written, re.MULTILINE)
    assert titles[0] == "Verdicts"
    assert titles[-1] == "Provenance"
    assert written.index("### Severe: Truncation") < written.index("### Moderate: Length collapse")
    assert "- What to do: Embed long texts in windows" in written


def test_tables_are_whole(rich):
    rows = [line for line in to_markdown(rich).splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    tables = "".join("x" if re.fullmatch(r"[|:\- ]+", row) else "." for row in rows)
    assert tables.count("x") >= 8
    for place, mark in enumerate(tables):
        if mark == "x":
            assert widths[place - 1] == widths[place] == widths[place + 1]


def test_several_models_get_an_overview_of_every_verdict(rich, poor):
    second = [replace(rich.verdicts[3], subject="Second-order collapse, given pairs", grade="moderate")]
    written = to_markdown(replace(rich, verdicts=(*rich.verdicts, *second)))
    head, _, *rows = written.split("**Verdicts at a glance**\n\n")[1].split("\n\n")[0].splitlines()
    assert head.startswith("| subject | all-MiniLM-L6-v2 | e5-base-v2 | evil/&lt;i&gt;")
    assert "| Second-order collapse | slight | none | – |" in rows
    assert "| Second-order collapse, given pairs | moderate | – | – |" in rows
    assert "| Truncation | severe | unknown | – |" in rows
    assert "at a glance" not in to_markdown(poor)


def test_nothing_of_the_user_is_markup(rich):
    written = to_markdown(rich)
    assert "<" not in written
    assert "&lt;b&gt;bold&lt;/b&gt;" in written
    assert "evil/&lt;i&gt;model&lt;/i&gt; &amp;" in written


def test_columns_stand_side_by_side(rich):
    assert "| tokens | all-MiniLM-L6-v2, temperature 1 | all-MiniLM-L6-v2, words alone |" in to_markdown(rich)


def test_next_to_nothing(poor):
    written = to_markdown(poor)
    assert "### Unknown: Length collapse, tiny" in written
    assert "- tiny: no pairs were measured." in written
    assert "Limit" not in written
    assert "Nothing was judged." in to_markdown(replace(poor, models=(), verdicts=()))
