"""Figures of README.md are those of the tables that it links to."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def plain(path):
    """The text of a page on one line, without emphasis."""
    return re.sub(r"\s+", " ", (ROOT / path).read_text("utf-8")).replace("*", "")


def cells(path, first, *, after=""):
    """The cells of the first row of a table that begins with this cell, below a line."""
    text = (ROOT / path).read_text("utf-8")
    for line in text[text.index(after) :].splitlines():
        row = [cell.strip().replace("*", "") for cell in line.strip("|").split("|")]
        if row[0] == first:
            return row[1:]
    raise AssertionError(f"{path} has no row {first}")


def whole(cell):
    """The value of a cell such as `56 [52, 60]` or `+20.2 [+13, +27], ...`."""
    return round(float(cell.split()[0].rstrip(",")))


README, DIAGNOSIS = plain("README.md"), "docs/diagnosis.md"


def shares(data):
    """Found, lost to the cut, lost to pooling and not found, of 100 sentences, with the demo model."""
    return [whole(cell) for cell in cells(DIAGNOSIS, data, after="`minilm`, which reads 256 tokens")[1:5]]


def test_the_example_is_that_of_the_table():
    found, cut, pooled, missed = shares("20news_full")
    windows = whole(cells(DIAGNOSIS, "windows of 128 tokens, best", after="`minilm`, which reads 256 tokens")[1])
    assert (
        f"Of 100 sentences {found} find their post. Of the other {100 - found}, {cut} stand after the limit of 256 "
        f"tokens, {pooled} are lost in the one vector, and {missed} are not found at all. With windows of 128 tokens "
        f"{windows} more find their post"
    ) in README
    assert f"Windows of 128 tokens find {windows} more in the newsgroups" in README


def test_what_a_search_loses_is_that_of_the_table():
    abstracts, posts, reviews = (shares(data) for data in ("scifact", "20news_full", "imdb"))
    assert (
        f"of 100 sentences {abstracts[0]} find their SciFact abstract, {posts[0]} their newsgroup post "
        f"({posts[1]} are lost beyond the limit of 256 tokens, {posts[2]} to pooling), and {reviews[0]} their film "
        f"review ({reviews[1]} and {reviews[2]})."
    ) in README


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("`truncate`", "nDCG@10 of {} if it truncates"),
        ("`window-mean`", "{} with the mean of their windows"),
        ("`windows`, the best one of a meeting", "and {} with their best window"),
    ],
)
def test_the_cost_of_truncation_is_that_of_the_table(way, said):
    score = cells("docs/embedding.md", way, after="Retrieval of whole meetings")[-1]
    assert said.format(score.lstrip("0")) in README
