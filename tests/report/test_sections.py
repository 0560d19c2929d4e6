"""Chapters: their order, what is left out, and what is said instead."""

from dataclasses import replace

import pytest

from cenote.errors import BadInput
from cenote.report.sections import checked, glossary, sections_of
from cenote.results import LayerSummary, Pair


def test_all_chapters_in_order(rich):
    sections = sections_of(rich)
    assert [one.key for one in sections] == ["length", "closeness", "socm", "given", "layers", "attention", "repeated"]
    figures = [figure.key for section in sections for figure in section.figures]
    assert len(figures) == len(set(figures)) == 15
    tables = [table.key for section in sections for table in section.tables]
    assert len(tables) == len(set(tables))


def test_notes_are_said_once(rich):
    _, closeness, _, given, *_ = sections_of(rich)
    assert len(closeness.notes) == 2
    assert closeness.notes[0].count("The last bin is open") == 1
    assert closeness.notes[1].startswith(f"{rich.models[1].name}: no control")
    assert given.notes == (
        f"all-MiniLM-L6-v2, temperature\u00a00.8 and {rich.models[1].name}: no pairs were measured.",
    )


def test_a_note_of_all_names_nobody(rich):
    model = replace(rich.models[0], words=rich.models[0].runs[0].length)
    sections = sections_of(replace(rich, models=(model,)))
    assert sections[1].notes == ("The last bin is open: its longest text has 512 tokens.",)


def test_next_to_nothing_says_what_is_missing(poor):
    sections = {section.key: section for section in sections_of(poor)}
    assert list(sections) == ["length", "closeness", "socm", "layers"]
    assert not any(section.figures for section in sections.values())
    assert sections["closeness"].notes == (
        "Fewer than 20 texts: no bins.",
        "tiny: no control, because plain averages of word embeddings were not measured.",
        "Closeness by length was not measured.",
    )
    assert sections["socm"].notes == ("tiny: no pairs were measured.",)
    assert "layers were not traced" in sections["layers"].notes[0]


def test_no_model_at_all(poor):
    (section,) = sections_of(replace(poor, models=()))
    assert section.notes == ("No model was read.",)


def test_reasons_outlive_the_figure_that_could_not_be_drawn(rich):
    run = rich.models[1].runs[0]
    layers = tuple(LayerSummary(layer.index, dict.fromkeys(layer.measures, "no attention")) for layer in run.layers)
    model = replace(rich.models[1], runs=(replace(run, layers=layers),))
    sections = {section.key: section for section in sections_of(replace(rich, models=(model,)))}
    assert sections["layers"].figures == ()
    assert f"{model.name}: no λ, because no attention." in sections["layers"].notes


def test_the_glossary_names_what_occurs(rich, poor):
    assert {"SOCM", "λ", "σₐ"} <= dict(glossary(rich)).keys()
    assert not {"SOCM", "λ"} & dict(glossary(poor)).keys()


def test_bad_input_is_refused(rich):
    assert checked(rich) is rich
    with pytest.raises(BadInput, match=r"a report is made of a Diagnosis, not of dict: see Diagnosis\.from_json"):
        checked({})
    run = rich.models[0].runs[0]
    for first in (-1, len(rich.excerpts)):
        pairs = replace(run.pairs, worst=(Pair(first, 0, 0.1, 0.1, 0.1),))
        model = replace(rich.models[0], runs=(replace(run, pairs=pairs),))
        with pytest.raises(
            BadInput, match=f"all-MiniLM-L6-v2: a pair names the excerpts {first} and 0, and there are 43"
        ):
            checked(replace(rich, models=(model,)))
