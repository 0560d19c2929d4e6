"""The report as Markdown: the account first, complete tables, and escaped texts."""

import re
from dataclasses import replace

from cenote.report.markdown import to_markdown


def test_the_account_comes_first_then_the_verdicts(rich):
    written = to_markdown(rich)
    titles = re.findall("^## (.*)$", written, re.MULTILINE)
    assert titles[:3] == ["What a search over these texts loses", "Verdicts", "Does length alone draw texts together?"]
    assert titles[-1] == "Provenance"
    assert written.index("### Moderate: search") < written.index("### Severe: truncation")
    assert "Embed with `--long windows --window 128`." in written


def test_the_account_is_a_bar_of_100_characters_with_its_key(rich):
    written = to_markdown(rich)
    bars = re.findall("^```text\n(.*)\n```$", written, re.MULTILINE)
    assert bars == [
        "█" * 60 + "/" * 10 + "=" * 25 + "·" * 5,
        "█" * 70 + "/" * 10 + "=" * 15 + "·" * 5,
        "█" * 97 + "/" * 3,
    ]
    assert "- `=` lost to pooling: " in written
    assert "| windows of 128 tokens, best | 68 (65 to 71) | more: +8.0 (+6.0 to +10.0) |" in written


def test_a_missing_account_is_a_sentence(poor):
    written = to_markdown(poor)
    assert (
        "**Not measured: only 0 of 2 texts have three sentences of six words or more, and 20 are needed.**" in written
    )
    assert "```" not in written
    assert "lost to pooling" not in written


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
    assert head == '| subject | all-MiniLM-L6-v2 | &lt;i&gt;model &amp; "e5" |'
    assert "| truncation | severe | slight |" in rows
    assert "at a glance" not in to_markdown(poor)


def test_texts_of_the_user_are_escaped(rich):
    written = to_markdown(rich)
    assert "<" not in written
    assert "&lt;b&gt;bold&lt;/b&gt;" in written
    assert "evil/&lt;i&gt;model &amp;" in written


def test_notes_are_a_list_and_empty_parts_are_left_out(poor):
    written = to_markdown(poor)
    assert "- tiny: no pairs were measured." in written
    assert "Caveat" not in written
    assert "There are no verdicts." in to_markdown(replace(poor, models=(), verdicts=()))
