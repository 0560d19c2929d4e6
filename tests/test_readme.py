"""Figures of README.md are those of the tables that it links to."""

import re
from pathlib import Path

import pytest

import cenote

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
MODELS = ("minilm", "paraphrase-MiniLM-L3-v2")


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


def test_the_ranks_of_settings_are_those_of_the_table():
    text = (ROOT / DIAGNOSIS).read_text("utf-8")
    table = text[text.index("| all-MiniLM-L6-v2 | scifact |") :].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    left_out = [float(row[3].split()[0]) for row in rows if row[1] != "qmsum"]
    assert len(left_out) == 12
    assert f"is {min(left_out):.2f} to {max(left_out):.2f}, for four models".replace("0.", ".") in README
    assert "a mean of .78 for left out (lowest .55)" in plain(DIAGNOSIS)
    assert "without the two weakest choices .78 on average, and .55 at least" in README


def test_the_gains_of_inverse_density_are_those_of_the_tables():
    heads = {model: f"| {model} | mean |" for model in MODELS}
    place = cells("docs/results.md", MODELS[0], after=heads[MODELS[0]]).index("inverse density")
    gains = [cells("docs/results.md", "all", after=head)[place] for head in heads.values()]
    low, high = sorted(round(float(one.split()[0]), 3) for one in gains)
    lost = -round(float(cells("docs/results.md", "sickr", after=heads[MODELS[0]])[place].split()[0]), 3)
    said = f"gains {low} to {high} on average over six sets, and loses {lost} on one of them"
    assert said.replace("0.", ".") in README


def test_the_gain_of_a_temperature_is_that_of_the_table():
    own, _, gain, *_ = cells("docs/results.md", "20news_full, classification", after="**Long posts**")
    assert f"raises its accuracy by {100 * float(gain.split()[0]) / float(own):.1f} % (p .002)" in README
    said = "0.8 raises the accuracy on posts by .0098 with the demo model (.0062 to .0134, p .002)"
    assert said in plain("docs/results.md")
    own, *_, gain = cells("docs/results.md", "20news_full, classification", after="at two temperatures")
    relative = f"{100 * float(gain.strip('*↑ ')) / float(own):.1f}".removeprefix("0")
    assert f"and that of all-mpnet-base-v2 by {relative} % (p .02)" in README


def test_the_gains_of_landmarks_are_those_of_the_second_training():
    text = (ROOT / "docs/results.md").read_text("utf-8")
    found = re.findall(r"(?m)^\| six layers, 1 \| posts of [^|]*\| [^|]*, p (\.\d+) \|", text)
    assert f"it is not significant (p {' and '.join(sorted(found[-2:]))})" in README


def test_the_speed_of_embed_is_that_of_the_tables():
    epyc, first, second = "EPYC with avx512_bf16", "**With matrix units.**", "On another Xeon with AMX"
    ratio = {
        name: float(cells("docs/benchmarks.md", row, after=after)[column])
        for name, row, after, column in (
            ("float32", "cenote, OpenVINO, float32", epyc, 0),
            ("bfloat16", "cenote, OpenVINO, bfloat16", epyc, 0),
            ("bfloat16 at best", "cenote, OpenVINO, bfloat16", second, 1),
            ("torch", "cenote, torch, float32", epyc, 0),
            ("torch, bfloat16", "cenote, torch, bfloat16", epyc, 0),
            ("batches", "sentence-transformers, batches of 8", epyc, 0),
            ("batches at best", "sentence-transformers, batches of 8", first, 0),
            ("weights", "sentence-transformers, bfloat16 weights", epyc, 0),
            ("weights at best", "sentence-transformers, bfloat16 weights", first, 0),
        )
    }
    assert "float32 reaches 1.45 times in this run and 1.59 times in another" in plain("docs/benchmarks.md")
    assert f"{ratio['float32']:.1f} to 1.6 times" in README
    assert f"{ratio['bfloat16']:.1f} to {ratio['bfloat16 at best']:.1f} times in bfloat16" in README
    assert f"by torch it is {ratio['torch']:.1f} and {ratio['torch, bfloat16']:.1f} times as fast on an EPYC" in README
    assert f"{ratio['batches']} to {ratio['batches at best']:.1f} times by batches of 8" in README
    assert f"{ratio['weights']:.1f} to {ratio['weights at best']:.1f} times by bfloat16" in README


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_the_picture_shows_what_make_demo_measures(page, demo):
    """Docstrings differ with the version of Python, and so may the shares, a little."""
    said = re.search(
        r"(\d+) of 100 sentences find their text, (\d+) are lost to the cut, (\d+) to pooling, (\d+)", plain(page)
    )
    account = cenote.diagnose(demo, layers=False).models[0].account
    shares = (account.found, account.lost_to_cut, account.lost_to_pooling, account.not_found)
    assert [100 * one.value for one in shares] == pytest.approx([float(one) for one in said.groups()], abs=2)
