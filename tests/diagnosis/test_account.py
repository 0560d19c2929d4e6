"""The account: laws that hold for any texts, nulls, planted faults, texts that cannot be read, both sides of a search.

Figures by plain loops: `test_account_by_loops.py`.
"""

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from cenote.account import fates
from cenote.account import ranks as account_ranks
from cenote.account.fates import FATES, Figures, find_helped
from cenote.account.pooled_texts import OWN, Pooled
from cenote.account.probes import FEWEST_DOCUMENTS
from cenote.account.ranks import Ranks
from cenote.diagnosis.account import _parts
from cenote.diagnosis.verdicts import pooling, search, truncation
from cenote.encoding import batches
from cenote.json_records import from_json, to_json
from cenote.records import Account, Shares

from ..bags import (
    TINY,
    WIDTH,
    FirstTokens,
    load_bags,
    make_sentence,
    make_texts,
    plan,
    read,
    take_account,
)
from ..builders import lengths
from ..functional.helpers import unit
from .verdicts.accounts import model as model_record

PLAIN = make_texts(30, 4, 8, seed=5, vocabulary=TINY)


@pytest.fixture(scope="module")
def rich(bag_folder):
    """An account with parts and settings of every kind, in which sentences meet three fates."""
    model = load_bags(bag_folder, pooling=FirstTokens(share=0.7))
    model.max_seq_length = 160
    texts = make_texts(25, 3) + make_texts(25, 9, seed=1) + make_texts(25, 20, seed=2)
    planned = plan(model, texts)
    return SimpleNamespace(model=model, texts=texts, planned=planned, record=take_account(model, texts))


def shares(found):
    return tuple(getattr(found, fate).value for fate in FATES)


def grades(found, cut=0):
    """The grades of the three verdicts on an account."""
    one = model_record(account=found, lengths=lengths(cut=cut))
    return {verdict.subject: verdict for judge in (search, truncation, pooling) for verdict in judge.judge(one)}


# Laws.


def test_shares_add_up_to_one_everywhere(rich):
    record = rich.record
    assert min(record.found.value, record.lost_to_cut.value, record.lost_to_pooling.value) > 0.05
    assert {part.by for part in record.parts} == {"position", "length", "reading"}
    assert {name.split()[0] for name in record.settings} == {"pooling", "windows", "reading"}
    for found in (record, *record.parts, *record.settings.values()):
        assert sum(shares(found)) == pytest.approx(1, abs=1e-8)
        for one in (getattr(found, field.name) for field in fields(Shares)):
            assert one.low is None or 0 <= one.low <= one.value <= one.high <= 1  # None: all are the same
    for by in ("position", "length", "reading"):
        parts = [part for part in record.parts if part.by == by]
        assert sum(part.sentences for part in parts) == record.sentences == 3 * record.documents
        for place, share in enumerate(shares(record)):
            assert sum(part.sentences * shares(part)[place] for part in parts) / record.sentences == pytest.approx(
                share
            )


def test_an_account_is_plain_data(rich):
    assert from_json(Account, to_json(rich.record)) == rich.record


def test_the_same_call_gives_the_same_bytes_of_few_texts(bag_model):
    found, again = (take_account(bag_model, make_texts(20, 4)) for _ in range(2))
    assert to_json(found) == to_json(again)
    assert found.documents == 20


def test_the_same_seed_gives_the_same_bytes(rich):
    assert to_json(take_account(rich.model, rich.texts)) == to_json(rich.record)
    few = [take_account(rich.model, rich.texts, count=30, seed=seed) for seed in (0, 1)]
    assert few[0] != few[1]
    assert few[0].documents == few[1].documents == 30


@pytest.mark.parametrize("budget", [1, 500])
def test_batch_composition_does_not_matter(budget, rich, tiny_bert, monkeypatch):
    plain = read(tiny_bert, plan(tiny_bert, PLAIN)).ranks
    monkeypatch.setitem(batches._BUDGETS, "cpu", budget)
    for name, ranks in read(tiny_bert, plan(tiny_bert, PLAIN)).ranks.items():
        assert np.array_equal(ranks.kept, plain[name].kept), name
        assert np.array_equal(ranks.left_out, plain[name].left_out), name
    found = take_account(rich.model, rich.texts)
    assert shares(found) == shares(rich.record)
    for name, setting in rich.record.settings.items():
        assert shares(found.settings[name]) == shares(setting), name


def test_fewer_documents_are_searched_where_their_tokens_take_too_much_memory(rich, monkeypatch):
    tokens = rich.planned.documents.lengths.sum() + rich.planned.sentences.lengths.sum()
    monkeypatch.setattr(account_ranks, "KEPT_NUMBERS", int(tokens) * WIDTH // 2)
    assert len(plan(rich.model, rich.texts).probes.texts) == len(rich.texts) // 2
    monkeypatch.setattr(account_ranks, "KEPT_NUMBERS", 1)
    assert len(plan(rich.model, rich.texts).probes.texts) == FEWEST_DOCUMENTS


def test_noise_helps_in_at_most_one_of_twenty_diagnoses():
    """Nine settings that differ from the model's own by chance alone, in one sentence of ten."""
    generator, count, draws, settings = np.random.default_rng(0), 100, 200, 9
    owners, drawn = np.repeat(np.arange(count), 3), np.arange(count)
    figures, joint = Figures(owners, drawn, count, np.ones(3 * count, bool)), 1 - 0.05 / (2 * settings)

    def noisy(found):
        """Ranks of 1 where a text is found, with a coin for one of twenty; of 2 or 3 elsewhere, with any rival."""
        flags = found ^ (generator.random(len(found)) < 0.05)
        return np.where(flags, 1, generator.integers(2, 4, len(found))), generator.integers(0, count, len(found))

    helps = []
    for _ in range(draws):
        kept, left_out = generator.random(3 * count) < 0.7, generator.random(count) < 0.5
        own, *others = [
            Ranks(ranks, out, rivals, out_rivals, np.ones(3 * count, bool), 1)
            for (ranks, rivals), (out, out_rivals) in ((noisy(kept), noisy(left_out)) for _ in range(settings + 1))
        ]
        changes = [change(one, own, joint) for one in others for change in (figures.change, figures.change_left_out)]
        helps.append(any(one.low > 0 for one in changes))
    assert np.mean(helps) <= 0.05


def test_a_part_has_the_interval_of_its_own_documents():
    owners, count = np.repeat(np.arange(200), 3), 200
    figures = Figures(owners, np.arange(count), count, np.ones(600, bool))
    ranks = Ranks(*(np.ones(size, int) for size in (600, 200, 600, 200)), np.ones(600, bool), 1)
    few, more = (figures.shares(ranks, np.flatnonzero(owners < documents))["found"] for documents in (9, 20))
    assert (few.low, few.high) == (None, None)
    assert more.low == pytest.approx(0.025 ** (1 / 20), abs=1e-3)


def test_tokens_look_for_their_document_among_the_nearest_alone(monkeypatch):
    """A document further away may match a sentence better: it is no rival."""
    monkeypatch.setattr(fates, "_MATCHED", 3)
    generator = np.random.default_rng(0)
    documents, sentences = (
        Pooled(
            {OWN: unit(generator.normal(size=(count, 6)))},
            tokens=[unit(generator.normal(size=(4, 6))) for _ in range(count)],
        )
        for count in (12, 120)
    )
    owners, lost = generator.integers(0, 12, 120), np.arange(120) % 5 > 0
    reading = SimpleNamespace(documents=documents, sentences=sentences)
    ranks, no_window = SimpleNamespace(kept=np.where(lost, 2, 1)), SimpleNamespace(kept=np.full(120, 2))
    texts = SimpleNamespace(probes=SimpleNamespace(owners=owners))
    matched, near = find_helped(texts, reading, [ranks], no_window)
    beaten_from_afar = 0
    for row, owner in enumerate(owners.tolist()):
        cosines = documents.vectors[OWN] @ sentences.vectors[OWN][row]
        nearest = sorted(range(12), key=lambda place, cosines=cosines: -cosines[place])[:4]
        assert near[row].tolist() == nearest
        sums = [sum((sentences.tokens[row] @ tokens.T).max(1)) for tokens in documents.tokens]
        wins = sums[owner] > max(sums[place] for place in nearest if place != owner)
        assert matched[row] == (lost[row] and wins)
        beaten_from_afar += bool(matched[row]) and max(sums) > sums[owner]
    assert beaten_from_afar > 3


# Parts.


def parts_of(lengths, cut=(), unread=()):
    """Parts of documents of so many tokens, some of them cut, with a first and a last sentence each."""
    count = len(lengths)
    probes = SimpleNamespace(owners=np.repeat(np.arange(count), 2), positions=np.array([0, 2] * count))
    documents = SimpleNamespace(lengths=np.array(lengths), truncated=np.isin(np.arange(count), cut))
    read = ~np.isin(np.arange(2 * count), unread)
    parts = _parts(SimpleNamespace(probes=probes, documents=documents, read=read))
    return [(by, name, rows.tolist()) for by, name, rows in parts if by != "position"]


def test_parts_by_length_computed_by_hand():
    """Thirds of the documents that are not cut; one of a length that stands on an edge is in the shorter part."""
    assert parts_of([12, 5, 20, 9, 6, 13, 5, 8, 20], cut=[2, 8]) == [
        ("length", "5 to 6 tokens", [2, 3, 8, 9, 12, 13]),
        ("length", "8 to 9 tokens", [6, 7, 14, 15]),
        ("length", "12 to 13 tokens", [0, 1, 10, 11]),
        ("length", "cut", [4, 5, 16, 17]),
    ]
    assert parts_of([5, 5, 5, 9, 9, 12, 12, 20], cut=[7], unread=[15]) == [
        ("length", "5 to 5 tokens", [0, 1, 2, 3, 4, 5]),
        ("length", "9 to 9 tokens", [6, 7, 8, 9]),
        ("length", "12 to 12 tokens", [10, 11, 12, 13]),
        ("length", "cut", [14, 15]),
        ("reading", "read", list(range(15))),
        ("reading", "not read", [15]),
    ]
    assert parts_of([20, 20], cut=[0, 1]) == [("length", "cut", [0, 1, 2, 3])]


# Nulls.


def test_copies_of_one_text_give_no_account(bag_model):
    found = take_account(bag_model, make_texts(1) * 30)
    assert found.startswith("only 1 of 30 texts")
    assert grades(found)["search"].grade == "unknown"


def test_the_reason_names_copies(bag_model):
    assert "copies" in take_account(bag_model, make_texts(1) * 30)


def test_texts_of_one_sentence_need_to_be_longer(bag_model):
    found = take_account(bag_model, make_texts(40, 1))
    assert found == "only 0 of 40 texts have three sentences of 6 words or more, and 20 are needed"
    verdict = grades(found)["search"]
    assert "longer ones: the search needs texts of several sentences" in verdict.advice
    assert isinstance(take_account(bag_model, make_texts(FEWEST_DOCUMENTS - 1)), str)
    assert isinstance(take_account(bag_model, make_texts(FEWEST_DOCUMENTS)), Account)


def test_texts_of_one_length_have_an_account(bag_model):
    found = take_account(bag_model, make_texts(30))
    assert found.beside.slope is None
    assert found.beside.tokens == found.beside.tokens_of_ten
    assert {verdict.grade for verdict in grades(found).values()} == {"fine"}


def test_parts_of_texts_of_one_length_have_names_of_their_own(bag_model):
    names = [part.name for part in take_account(bag_model, make_texts(30)).parts]
    assert len(names) == len(set(names))


def test_shuffled_words_have_an_account(bag_model):
    """Sentences of one text share their words with no other order: only what a text holds can be found."""
    generator = np.random.default_rng(0)
    words = [generator.permutation(text.replace(".", "").split()).tolist() for text in make_texts(30)]
    texts = [" ".join(f"{' '.join(some[start : start + 12])}." for start in range(0, 72, 12)) for some in words]
    found = take_account(bag_model, texts)
    assert found.found.value == 1
    assert shares(found) == shares(take_account(bag_model, make_texts(30)))


def test_sentences_that_all_texts_share_are_said_and_cap_what_is_found(bag_model):
    last = make_sentence(np.random.default_rng(9))
    found = take_account(bag_model, [f"{text} {last}" for text in make_texts(30)])
    assert found.repeated == pytest.approx(1 / 3)
    assert found.found.value == pytest.approx(2 / 3 + 1 / 90)  # the one that comes first for all
    assert {part.name: part.found.value for part in found.parts}["last"] <= 1 / 30
    verdict = grades(found)["search"]
    assert "33 % of the sentences stand in several texts: no search can know which one is meant." in verdict.evidence


# Planted faults.


def test_with_nothing_planted_all_is_fine(bag_model):
    found = take_account(bag_model, make_texts(40))
    assert {name: verdict.grade for name, verdict in grades(found).items()} == dict.fromkeys(
        ("search", "truncation", "pooling"), "fine"
    )


def test_a_pooling_that_drops_half_of_each_text_is_found_as_lost_to_pooling(bag_folder):
    found = take_account(load_bags(bag_folder, pooling=FirstTokens(share=0.5)), make_texts(40))
    verdicts = grades(found)
    assert found.lost_to_cut.value == 0
    assert found.lost_to_pooling.value > 0.4
    assert (verdicts["pooling"].grade, verdicts["truncation"].grade) == ("severe", "fine")
    assert verdicts["pooling"].advice.startswith("With the sentence left out of its text, none of the 4 settings")
    assert found.settings["pooling max"].change.low > 0  # though it reads all tokens
    first, last = (next(part for part in found.parts if part.name == name) for name in ("first", "last"))
    assert first.found.value > 0.9 > 0.1 > last.found.value


def test_a_cut_is_found_as_lost_to_the_cut_and_windows_are_advised(short_folder):
    found = take_account(load_bags(short_folder), make_texts(40))
    verdicts = grades(found, cut=40)
    assert found.lost_to_pooling.value == 0
    assert (verdicts["truncation"].grade, verdicts["pooling"].grade) == ("severe", "fine")
    assert "windows of 40 tokens, of which the best" in verdicts["truncation"].advice
    parts = {part.name: part for part in found.parts}
    assert parts["read"].found.value == 1
    assert parts["not read"].found.value < 0.1
    assert found.settings["windows of 40 tokens, best"].found.value > 0.95
    assert not any(name.startswith("reading") for name in found.settings)  # it has no more positions


def test_a_lowered_limit_is_found_and_the_longer_one_is_tried(bag_model):
    bag_model.max_seq_length = 40
    found = take_account(bag_model, make_texts(40))
    longer = found.settings["reading 512 tokens"]
    assert found.lost_to_cut.value > 0.5
    assert (longer.found.value, longer.lost_to_cut.value, longer.rows) == (1, 0, 1)
    assert bag_model.max_seq_length == 40


def test_documents_that_fit_without_a_sentence_are_no_less_cut(bag_model):
    """Documents of 80 tokens, of 67 without a sentence: windows and more room then change the documents alone."""
    bag_model.max_seq_length = 75
    found = take_account(bag_model, make_texts(25))
    assert found.settings["reading 512 tokens"].found.value == 1
