"""The same texts cut at several lengths: figures by plain loops, a planted effect of length, and none of content."""

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from cenote.diagnosis import cut_lengths
from cenote.diagnosis.cut_lengths import read_cuts, tokenise_cuts
from cenote.diagnosis.summaries import length_curve
from cenote.diagnosis.verdicts import length_collapse
from cenote.encoding.tokens import tokenise
from cenote.functional.bins import length_bins
from cenote.functional.intervals import mean_over_pairs
from cenote.listener import Listener

from ..bags import TINY, WORDS, FirstTokens, LengthAdded, load_bags, make_texts
from ..fakes import refusing, spoiled
from .verdicts.accounts import model as model_record
from .verdicts.accounts import run as run_record


def cut(model, texts, prompt_name=None, seed=0):
    lengths = tokenise(model, texts, prompt_name).full_lengths.tolist()
    return tokenise_cuts(model, texts, lengths, prompt_name, seed)


def measure(model, texts, **options):
    return read_cuts(model, cut(model, texts, **options), Listener())


def finding(model, texts):
    """The headline of length collapse, with the bins of natural length as its context."""
    tokens = tokenise(model, texts)
    curve = length_curve(model.encode(texts), tokens.lengths, length_bins(tokens.lengths), 0)
    record = run_record(length=curve, cut_lengths=measure(model, texts))
    (verdict,) = length_collapse.judge(model_record(record))
    return verdict.finding, curve.difference


# Which texts, cut where.


def test_every_text_is_cut_at_every_length(bag_model):
    texts = make_texts(25, 4) + make_texts(25, 11, seed=1)  # of 54 and 145 tokens
    found = cut(bag_model, texts)
    assert list(found) == [32, 64, 128]
    long = tokenise(bag_model, texts[25:])
    for length, tokens in found.items():
        assert tokens.lengths.tolist() == [length] * 25
        start = tokens.columns["input_ids"][: length - 1]
        assert np.array_equal(start, long.columns["input_ids"][: length - 1])  # then a special token


def test_the_longest_cut_is_the_models_own_limit(bag_model):
    bag_model.max_seq_length = 100
    texts = make_texts(30, 11)
    assert list(cut(bag_model, texts)) == [32, 64, 100]
    bag_model.max_seq_length = 64
    assert list(cut(bag_model, texts)) == [32, 64]
    bag_model.max_seq_length = 32
    assert cut(bag_model, texts) == {}


def test_a_model_without_a_limit_cuts_at_all_lengths(bag_model):
    bag_model.max_seq_length = None
    bag_model.tokenizer.model_max_length = 10**30
    assert list(cut(bag_model, make_texts(20, 11))) == [32, 64, 128]
    assert bag_model.max_seq_length in (None, 10**30)


def test_few_long_texts_show_nothing(bag_model):
    assert cut(bag_model, make_texts(19, 11) + make_texts(30, 2)) == {}
    assert list(cut(bag_model, make_texts(20, 11) + make_texts(30, 2))) == [32, 64, 128]
    assert read_cuts(bag_model, {}, Listener()) is None


def test_at_most_200_texts_are_drawn_by_the_seed(bag_model, monkeypatch):
    monkeypatch.setattr(cut_lengths, "_TEXTS", 22)
    texts = make_texts(40, 6)
    one, same, other = (cut(bag_model, texts, seed=seed)[64] for seed in (0, 0, 1))
    assert len(one) == 22
    assert np.array_equal(one.columns["input_ids"], same.columns["input_ids"])
    assert not np.array_equal(one.columns["input_ids"], other.columns["input_ids"])


def test_queries_without_a_limit_are_no_obstacle(with_static_queries, bag_model):
    model, texts = with_static_queries(bag_model), make_texts(30, 20)
    found, expected = (cut(one, texts) for one in (model, bag_model))
    assert {length: tokens.lengths.tolist() for length, tokens in found.items()} == {
        length: tokens.lengths.tolist() for length, tokens in expected.items()
    }
    assert bag_model.max_seq_length == 512


def test_an_error_leaves_the_limit(bag_model, monkeypatch):
    def fail(model, *_):
        assert model.max_seq_length == 32
        raise MemoryError

    texts = make_texts(30, 11)
    lengths = tokenise(bag_model, texts).full_lengths.tolist()
    tokenise_cuts(bag_model, texts, lengths, None, 0)
    assert bag_model.max_seq_length == 512
    monkeypatch.setattr(cut_lengths, "tokenise", fail)
    with pytest.raises(MemoryError):
        tokenise_cuts(bag_model, texts, lengths, None, 0)
    assert bag_model.max_seq_length == 512


# Figures.


def test_figures_are_those_of_encode_at_a_lower_limit(tiny_st):
    prompts = {"page": "document: a deep "}
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu", prompts=prompts)
    texts = make_texts(25, 8, 10, vocabulary=TINY)
    found = measure(model, texts, prompt_name="page")
    cosines = {}
    for one in found.cuts:
        model.max_seq_length = one.tokens
        vectors = model.encode(texts, prompt_name="page", normalize_embeddings=True).astype(np.float64)
        cosines[one.tokens] = [vectors[i] @ vectors[j] for i in range(25) for j in range(i + 1, 25)]
        expected = mean_over_pairs(cosines[one.tokens], *np.triu_indices(25, 1))
        assert tuple(vars(one.cosine).values()) == pytest.approx(tuple(vars(expected).values()), abs=1e-5)
    assert (found.texts, list(cosines)) == (25, [32, 64])
    gained = np.subtract(cosines[64], cosines[32])
    expected = mean_over_pairs(gained, *np.triu_indices(25, 1))
    assert tuple(vars(found.change).values()) == pytest.approx(tuple(vars(expected).values()), abs=1e-5)


@pytest.mark.parametrize(
    "fault", [lambda model: refusing(model, "deep"), lambda model: spoiled(model, deep=lambda x: x * 0)]
)
def test_a_text_without_a_vector_is_left_out_of_all_cuts(fault, tiny_st):
    """It has one where few of its tokens are read; 19 others are too few."""
    model = SentenceTransformer(str(tiny_st("bert")), device="cpu")
    texts, end = make_texts(20, 8, 10, vocabulary=TINY[6:]), make_texts(1, 4, 10, vocabulary=TINY[:6])[0]
    odd = f"{make_texts(1, 4, 10, seed=1, vocabulary=TINY[6:])[0]} {end}"
    assert measure(model, [*texts, odd]).texts == 21
    plain = measure(model, texts)
    with fault(model):
        found = measure(model, [*texts, odd])
        assert found.texts == 20
        for one, other in ((found.change, plain.change), (found.cuts[0].cosine, plain.cuts[0].cosine)):
            assert tuple(vars(one).values()) == pytest.approx(tuple(vars(other).values()), abs=1e-5)
        assert measure(model, [*texts[1:], odd]) is None


# What the headline finds.


def test_a_planted_effect_of_length_is_found(bag_folder):
    """Here the model reads a dozen tokens, and adds what the number of tokens decides."""
    model = load_bags(bag_folder, LengthAdded(), pooling=FirstTokens(number=12))
    found, _ = finding(model, make_texts(60, 11))
    assert found.startswith(
        "Reading more of the same texts draws them together: cut at 32 tokens, 60 texts have a mean cosine of 0.2"
    )


def test_long_texts_on_one_subject_are_no_effect_of_length(bag_folder):
    """Texts that are long by nature begin with the same few words here, and so lie closer than short ones."""
    model = load_bags(bag_folder, pooling=FirstTokens(number=12))
    found, natural = finding(model, make_texts(60, 2) + make_texts(60, 11, vocabulary=WORDS[:30]))
    assert natural.low > 0.1
    assert found.startswith(
        "Reading more of the same texts does not draw them together: cut at 32 tokens, 60 texts have"
    )


def test_tokens_of_their_own_move_no_texts_together(bag_model):
    """Means of words that texts do not share are as far apart at every length."""
    texts = [make_texts(1, 11, seed=row, vocabulary=WORDS[40 * row : 40 * row + 40])[0] for row in range(40)]
    found, _ = finding(bag_model, texts)
    assert found.startswith("Reading more of the same texts does not draw them together")
