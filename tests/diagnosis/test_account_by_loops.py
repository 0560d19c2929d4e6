"""The account of 20 documents, computed a second time: `encode` for vectors, the tokenizer, and plain loops."""

import copy
import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from cenote.account.ranks import plan_account
from cenote.diagnosis.account import summarise_account
from cenote.diagnosis.summaries import Excerpts
from cenote.functional.window_cuts import cut_windows

from .. import bags

LIMIT, AROUND = 256, 2
DOCUMENTS = 20
FATES = ("found", "lost_to_cut", "lost_to_pooling", "not_found")


@pytest.fixture(scope="module")
def texts(builtin):
    return [text for text in builtin if 300 < len(text) < 1500][::40]


@pytest.fixture(scope="module")
def account(demo, texts):
    planned = plan_account(demo, bags.numbered(texts), DOCUMENTS, None, 0)
    excerpts = Excerpts()
    record = summarise_account(planned, bags.read(demo, planned), {}, excerpts, 0)
    return SimpleNamespace(record=record, probes=planned.probes, left_out=planned.left_out, excerpts=excerpts.kept())


def unit(rows):
    rows = np.stack([np.asarray(row, np.float64) for row in rows])
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def read_whole(model, some):
    """Return vectors and token vectors, both of norm 1, and the raw states."""
    found = model.encode(some, output_value=None)
    states = [one["token_embeddings"][one["attention_mask"].bool()].double().numpy() for one in found]
    return SimpleNamespace(
        vectors=unit([one["sentence_embedding"].numpy() for one in found]),
        states=states,
        tokens=[unit(one) for one in states],
    )


def pool(name, states):
    """Poolings by their definitions."""
    weights = np.arange(1, len(states) + 1)[:, None]
    return {
        "cls": lambda: states[0],
        "max": lambda: states.max(0),
        "weightedmean": lambda: (states * weights).sum(0) / weights.sum(),
        "lasttoken": lambda: states[-1],
    }[name]()


def window_texts(model, text, size):
    """The windows of a text that is longer than one; a shorter text is its own."""
    spans = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(spans) <= size:
        return [text]
    ends = cut_windows(text, spans, size, size // 8)
    starts = [spans[first][0] if first else 0 for first, _ in ends]
    return [
        text[start : spans[last][0] if last < len(spans) else len(text)].strip()
        for start, (_, last) in zip(starts, ends, strict=True)
    ]


def read_windows(model, some, whole, size):
    """Return for each text the vectors of its windows, and their tokens; a text of one window is read already."""
    pieces = [window_texts(model, text, size) for text in some]
    flat = [piece for windows in pieces if len(windows) > 1 for piece in windows]
    vectors = iter(model.encode(flat).astype(np.float64))
    counts = iter(model.preprocess(flat)["attention_mask"].sum(1).tolist())
    return [
        [(next(vectors), next(counts)) for _ in windows] if len(windows) > 1 else [(vector, 1)]
        for windows, vector in zip(pieces, whole.vectors, strict=True)
    ]


def read_longer(model, some, whole):
    """Return the vectors that a model with more room gives; a text that was not cut is read already."""
    vectors = whole.vectors.copy()
    cut = [place for place, states in enumerate(whole.states) if len(states) == LIMIT]
    vectors[cut] = model.encode([some[place] for place in cut])
    return vectors


def weighted_means(windows):
    return unit([sum(vector * count for vector, count in one) for one in windows])


def scores_by_loop(queries, documents):
    """The score of every document, given as its vector or the vectors of its windows, for every query."""
    return [[max(float(query @ row) for row in np.atleast_2d(rows)) for rows in documents] for query in queries]


def ranks_by_loop(scores, owners):
    """The rank of each query's own document; ties count against it."""
    return np.array(
        [
            1 + sum(score >= row[owner] for place, score in enumerate(row) if place != owner)
            for row, owner in zip(scores, owners, strict=True)
        ]
    )


def found_without(scores, owners, gone):
    """The share of queries that find their document where one document is gone, with its queries."""
    kept = [
        ([score for place, score in enumerate(row) if place not in (gone, owner)], row[owner])
        for row, owner in zip(scores, owners, strict=True)
        if owner != gone
    ]
    return np.mean([own > max(others) for others, own in kept])


@pytest.fixture(scope="module")
def by_loops(demo, account):
    """Ranks kept and left out, whether a sentence is read, and vectors a document, of each setting."""
    probes = account.probes
    texts, owners, sentences = [text.text for text in probes.texts], probes.owners.tolist(), probes.sentences
    chosen = [3 * place + place % 3 for place in range(len(texts))]
    assert account.left_out.tolist() == chosen
    remainders = []
    for place, row in enumerate(chosen):
        start, end = probes.spans[row]
        remainders.append(f"{texts[place][:start].rstrip()} {texts[place][end:].lstrip()}".strip())
    documents, queries, without = (read_whole(demo, some) for some in (texts, sentences, remainders))
    read = []
    for owner, (start, end) in zip(owners, probes.spans, strict=True):
        seen = demo.tokenizer(texts[owner], truncation=True, max_length=LIMIT, return_offsets_mapping=True)
        read.append((start + end) / 2 <= seen["offset_mapping"][-2][1])
    read = np.array(read)

    every = range(len(texts))

    def compare(sides, read=read, rows=1.0):
        scores = scores_by_loop(sides[0], sides[1])
        # Each document without one sentence, which is the query, among the others whole.
        left_out = scores_by_loop(sides[0][chosen], sides[1])
        for place, (row, pieces) in enumerate(zip(chosen, sides[2], strict=True)):
            ((left_out[place][place],),) = scores_by_loop(sides[0][[row]], [pieces])
        return SimpleNamespace(
            kept=ranks_by_loop(scores, owners),
            left_out=ranks_by_loop(left_out, every),
            kept_without=np.array([found_without(scores, owners, gone) for gone in every]),
            left_out_without=np.array([found_without(left_out, every, gone) for gone in every]),
            read=read,
            rows=rows,
        )

    sides = queries, documents, without
    settings = {"": compare([side.vectors for side in sides])}
    for name in ("cls", "max", "weightedmean", "lasttoken"):
        settings[f"pooling {name}"] = compare([unit([pool(name, one) for one in side.states]) for side in sides])
    all_read = np.ones(len(owners), bool)
    for size in (128, LIMIT):
        sides_of_windows = (texts, documents), (remainders, without)
        windows = [read_windows(demo, some, whole, size - AROUND) for some, whole in sides_of_windows]
        best = [[np.stack([vector for vector, _ in one]) for one in side] for side in windows]
        rows = sum(map(len, windows[0])) / len(texts)
        settings[f"windows of {size} tokens, best"] = compare([queries.vectors, *best], all_read, rows)
        means = [weighted_means(side) for side in windows]
        settings[f"windows of {size} tokens, mean"] = compare([queries.vectors, *means], all_read)
    longer = copy.deepcopy(demo)
    longer.max_seq_length = 512
    pair = [read_longer(longer, some, whole) for some, whole in ((texts, documents), (remainders, without))]
    settings["reading 512 tokens"] = compare([queries.vectors, *pair], all_read)
    matched = match_by_loop(queries, documents, owners)
    return SimpleNamespace(settings=settings, matched=matched, documents=documents, queries=queries, owners=owners)


def match_by_loop(queries, documents, owners):
    """Whether the tokens of each sentence find its document: all documents are among the nearest fifty and its own."""
    found = []
    for row, owner in enumerate(owners):
        scores = [(queries.tokens[row] @ tokens.T).max(1).sum() for tokens in documents.tokens]
        found.append(scores[owner] > max(score for place, score in enumerate(scores) if place != owner))
    return np.array(found)


def fates_by_loop(ranks, helped):
    """The fate of each sentence, by the words of the definition."""
    return [
        "found" if first else "lost_to_cut" if not read else "lost_to_pooling" if help_ else "not_found"
        for first, read, help_ in zip(ranks.kept == 1, ranks.read, helped, strict=True)
    ]


def share_of(fates):
    counts = Counter(fates)
    return [counts[fate] / len(fates) for fate in FATES]


def test_the_documents_try_what_is_tested(account, by_loops):
    """Cut documents, windows, and every fate but one."""
    own = by_loops.settings[""]
    assert len(account.probes.texts) == DOCUMENTS
    assert 0 < (~own.read).sum() < 20
    assert 0 < (own.kept > 1).sum() < DOCUMENTS
    assert by_loops.settings["windows of 128 tokens, best"].rows > 1.2


def test_shares_of_the_account_and_of_every_setting(account, by_loops):
    settings = by_loops.settings
    helped = by_loops.matched | np.any([one.kept == 1 for name, one in settings.items() if name.endswith("best")], 0)
    record = account.record
    assert list(record.settings) == [name for name in settings if name]
    lost = np.array(fates_by_loop(settings[""], helped))
    for name, ranks in settings.items():
        found = record.settings[name] if name else record
        shares = [getattr(found, fate).value for fate in FATES]
        assert shares == pytest.approx(share_of(fates_by_loop(ranks, helped)), abs=1e-9), name
        assert found.left_out.value == pytest.approx((ranks.left_out == 1).mean(), abs=1e-9), name
        if name:
            assert found.rows == pytest.approx(ranks.rows, abs=1e-9)
            assert found.of_cut == pytest.approx(np.mean((lost == "lost_to_cut") & (ranks.kept == 1)), abs=1e-9)
            assert found.of_pooling == pytest.approx(np.mean((lost == "lost_to_pooling") & (ranks.kept == 1)), abs=1e-9)
    own = settings[""]
    assert record.reciprocal_rank.value == pytest.approx(np.mean(1 / own.kept), abs=1e-9)
    assert record.in_ten.value == pytest.approx(np.mean(own.kept <= 10), abs=1e-9)
    assert record.left_out_reciprocal_rank.value == pytest.approx(np.mean(1 / own.left_out), abs=1e-9)


def test_changes_are_paired_and_their_intervals_hold_for_both_changes_of_all_settings(account, by_loops):
    """Two changes a setting, two ends a change: each end may fail in 0.05 of as many cases."""
    own, others = by_loops.settings[""], account.record.settings
    quantile = stats.t.ppf(1 - 0.05 / (4 * len(others)), DOCUMENTS - 1)
    known = 0
    for name, found in others.items():
        ranks = by_loops.settings[name]
        for change, kind in ((found.change, "kept"), (found.change_left_out, "left_out")):
            gained = (getattr(ranks, kind) == 1) * 1.0 - (getattr(own, kind) == 1)
            assert change.value == pytest.approx(gained.mean(), abs=1e-8)
            without = getattr(ranks, f"{kind}_without") - getattr(own, f"{kind}_without")
            if change.low is None:
                assert not np.ptp(without), name
                continue
            deviations = sum((one - without.mean()) ** 2 for one in without)
            reach = quantile * math.sqrt((DOCUMENTS - 1) / DOCUMENTS * deviations)
            ends = gained.mean() - reach, gained.mean() + reach
            assert (change.low, change.high) == pytest.approx(ends, abs=1e-8), name
            known += 1
    assert known > len(others)


def test_parts_by_position_and_reading(account, by_loops):
    own = by_loops.settings[""]
    parts = {part.name: part for part in account.record.parts}
    for place, name in enumerate(("first", "middle", "last")):
        assert parts[name].sentences == DOCUMENTS
        assert parts[name].found.value == pytest.approx((own.kept[place::3] == 1).mean())
    for name, rows in (("read", own.read), ("not read", ~own.read)):
        assert parts[name].sentences == rows.sum()
        assert parts[name].found.value == pytest.approx((own.kept[rows] == 1).mean())


def test_what_is_beside_the_account(account, by_loops):
    vectors, queries, owners = by_loops.documents.vectors, by_loops.queries.vectors, by_loops.owners
    lengths = [len(tokens) for tokens in by_loops.documents.tokens]
    means, ten = [], []
    for place, vector in enumerate(vectors):
        means.append(np.mean([query @ vector for query, owner in zip(queries, owners, strict=True) if owner != place]))
    for query, owner in zip(queries, owners, strict=True):
        order = sorted(
            (place for place in range(DOCUMENTS) if place != owner), key=lambda place: -float(query @ vectors[place])
        )
        ten += [lengths[place] for place in order[:10]]
    neighbours = Counter()
    for place, vector in enumerate(vectors):
        order = sorted(
            (other for other in range(DOCUMENTS) if other != place), key=lambda other: -float(vector @ vectors[other])
        )
        neighbours.update(order[:10])
    found = account.record.beside
    assert found.slope.value == pytest.approx(np.polyfit([math.log2(n) for n in lengths], means, 1)[0], abs=1e-7)
    assert found.slope.low < found.slope.value < found.slope.high
    assert (found.tokens, found.tokens_of_ten) == pytest.approx((np.mean(lengths), np.mean(ten)))
    counts = [neighbours[place] for place in range(DOCUMENTS)]
    assert (found.hubness, found.never) == pytest.approx((stats.skew(counts), counts.count(0) / DOCUMENTS))


def test_examples_show_what_they_say(account, by_loops):
    """A few sentences of each fate, with their document and the best of the other documents."""
    probes, kept = account.probes, account.excerpts
    counts = Counter(example.fate for example in account.record.examples)
    shares = {fate: round(3 * DOCUMENTS * getattr(account.record, fate).value) for fate in FATES}
    assert counts == Counter({fate: min(3, share) for fate, share in shares.items()})
    for example in account.record.examples:
        document, sentence = kept[example.document], kept[example.sentence]
        assert document.id == sentence.id
        owner = [text.id for text in probes.texts].index(document.id)
        row = 3 * owner + ("first", "middle", "last").index(example.position)
        assert " ".join(probes.sentences[row].split()).startswith(sentence.text.rstrip("…"))
        scores = by_loops.documents.vectors @ by_loops.queries.vectors[row]
        best = max((place for place in range(DOCUMENTS) if place != owner), key=lambda place: scores[place])
        assert (example.fate == "found") == (example.instead is None) == (scores[owner] > scores[best])
        assert example.instead is None or kept[example.instead].id == probes.texts[best].id
