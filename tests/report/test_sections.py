"""Sections: their order, and notes on what is missing."""

from dataclasses import replace

import pytest

from cenote.errors import BadInput
from cenote.records import Example, LayerSummary, Pair
from cenote.report.sections import build_glossary, build_sections, check_diagnosis
from cenote.report.series import MEASURES

from .diagnoses import EVIL_SHOWN, account, pairs


def test_all_sections_are_in_order_with_unique_keys(rich):
    sections = build_sections(rich)
    assert [one.key for one in sections] == [
        "length",
        "truncation",
        "socm",
        "given",
        "layers",
        "attention",
        "repeated",
    ]
    figures = [figure.key for section in sections for figure in section.figures]
    assert len(figures) == len(set(figures)) == 16
    tables = [table.key for section in sections for table in section.tables]
    assert len(tables) == len(set(tables))


def test_figures_that_only_researchers_read_say_what_they_would_change(rich):
    shown = [figure.key for section in build_sections(rich) for figure in section.figures if not figure.decision]
    assert shown == ["cut-lengths", "closeness", "lengths"]


def test_each_note_is_stated_once(rich):
    length, _, _, given, *_ = build_sections(rich)
    assert len(length.notes) == 2
    assert length.notes[0].count("The last bin is open") == 1
    assert length.notes[1].startswith(f"{EVIL_SHOWN}: no control")
    assert given.notes == (f"all-MiniLM-L6-v2, temperature\u00a00.8 and {EVIL_SHOWN}: no pairs were measured.",)


def test_missing_measures_are_noted(poor):
    sections = {section.key: section for section in build_sections(poor)}
    assert list(sections) == ["length", "truncation", "socm", "layers"]
    assert not any(section.figures for section in sections.values())
    assert [table.key for section in sections.values() for table in section.tables] == ["lengths-table"]
    assert sections["length"].notes == (
        "Fewer than 20 texts: no bins.",
        "tiny: too few texts are long enough to be cut at several lengths, and have a vector at each.",
        "tiny: no control, because plain averages of word embeddings were not measured.",
        "Closeness by length was not measured.",
    )
    assert sections["socm"].notes == ("tiny: no pairs were measured.",)
    assert "layers were not traced" in sections["layers"].notes[0]


def test_no_models_are_noted(poor):
    (section,) = build_sections(replace(poor, models=()))
    assert section.notes == ("No model was read.",)


def test_reasons_of_an_empty_figure_are_notes(alone):
    found = alone(layers=(LayerSummary(0, dict.fromkeys(MEASURES, "no attention")),))
    sections = {section.key: section for section in build_sections(found)}
    assert sections["layers"].figures == ()
    assert f"{found.models[0].name}: no λ, because no attention." in sections["layers"].notes


def test_the_glossary_names_what_occurs(rich, poor):
    assert {"SOCM", "λ", "σₐ"} <= build_glossary(rich).keys()
    assert not {"SOCM", "λ"} & build_glossary(poor).keys()


def test_other_types_and_unknown_excerpts_are_refused(alone):
    check_diagnosis(alone())
    with pytest.raises(BadInput, match=r"a report needs a Diagnosis, not dict: see Diagnosis\.from_json"):
        check_diagnosis({})
    for first in (-1, 43):
        found = alone(pairs=pairs(worst=(Pair(first, 0, 0.1, 0.1, 0.1),)))
        with pytest.raises(BadInput, match=f"L6-v2: a pair refers to excerpts {first} and 0, but there are 43"):
            check_diagnosis(found)


def test_examples_without_excerpts_are_refused(rich):
    wrong = account(examples=(Example("found", "first", 3, 43, None),))
    found = replace(rich, models=(replace(rich.models[0], account=wrong),))
    with pytest.raises(BadInput, match="L6-v2: an example refers to excerpts 3 and 43, but there are 43"):
        check_diagnosis(found)
