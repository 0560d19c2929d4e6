"""Vectors of both sides of a search, and texts that cannot be read."""

from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, Router
from tokenizers import normalizers

from cenote.account.pooled_texts import OWN, SideReader, read_pooled
from cenote.account.ranks import other_poolings
from cenote.encoding.tokens import tokenise
from cenote.errors import BadInput
from cenote.functional.token_batches import refuse_rows
from cenote.json_records import from_json, to_json
from cenote.listener import Listener
from cenote.nn import Pooling as OurPooling
from cenote.records import Account

from ..bags import TINY, WORDS, FirstTokens, load_bags, make_texts, plan, read, take_account
from ..fakes import last_layer, refusing, short_of_memory, spoiled, without_special_tokens

PLAIN = make_texts(30, 4, 8, seed=5, vocabulary=TINY)


# Both sides of a search.

PROMPTS = {"query": "query: ", "passage": "document: a deep "}


def vectors_of(reading):
    return [side.vectors[OWN] for side in (reading.documents, reading.sentences, reading.remainders)]


def assert_vectors(model, planned, **named):
    """Vectors are those of `encode_document` and `encode_query`."""
    whole = [text.text for text in planned.probes.texts]
    removed = planned.probes.remainders(planned.left_out.tolist())
    expected = [
        model.encode_document(whole, normalize_embeddings=True, **named),
        model.encode_query(planned.probes.sentences, normalize_embeddings=True),
        model.encode_document(removed, normalize_embeddings=True, **named),
    ]
    for found, vectors in zip(vectors_of(read(model, planned)), expected, strict=True):
        assert np.allclose(found, vectors, atol=1e-5)


@pytest.mark.parametrize("default", [None, "passage"])
def test_vectors_are_those_of_encode_query_and_encode_document(default, tiny_st):
    folder = str(tiny_st("bert", prompts=PROMPTS))
    model = SentenceTransformer(folder, device="cpu", default_prompt_name=default)
    model.prompts.pop("document")  # an empty one, added by sentence-transformers
    planned = plan(model, PLAIN)
    assert_vectors(model, planned)
    assert_vectors(model, plan(model, PLAIN, prompt_name="query"), prompt_name="query")


def test_each_side_is_read_by_its_own_network(tiny):
    sides = [[Transformer(str(tiny("bert"))), Pooling(32, mode)] for mode in ("mean", "cls")]
    model = SentenceTransformer(modules=[Router.for_query_document(*sides)], device="cpu")
    planned = plan(model, PLAIN)
    assert_vectors(model, planned)
    assert isinstance(take_account(model, PLAIN), Account)


# What was read before.


@contextmanager
def counting(model):
    """Count the real tokens that the model reads, by their text."""
    counts = Counter()

    def count(_, inputs):
        for ids, mask in zip(inputs[0]["input_ids"], inputs[0]["attention_mask"].bool(), strict=True):
            counts[tuple(ids[mask].tolist())] += 1

    handle = model.register_forward_pre_hook(count)
    yield counts
    handle.remove()


def test_no_document_window_or_remainder_is_read_twice(tiny_bert):
    tiny_bert.max_seq_length = 20
    first = PLAIN[0].partition(".")[0]
    planned = plan(tiny_bert, [*PLAIN[:-1], f"{first}. {PLAIN[-1]}"])  # two texts begin with one sentence
    with counting(tiny_bert) as counts:
        found = read(tiny_bert, planned)
    sides = [planned.documents, planned.remainders, planned.sentences]
    pieces = [side.tokens for one in planned.alternatives for side in (one.documents, one.remainders)]
    assert sum(len(part) for part in (*sides, *pieces)) > len(counts)  # there was something to save
    assert planned.tokens == sum(len(ids) * times for ids, times in counts.items())
    documents = {key for part in (*sides[:2], *pieces) for key in part.as_bytes()}
    assert sum(counts.values()) == len(documents) + len({*planned.sentences.as_bytes()})
    assert len({*planned.sentences.as_bytes()}) < len(planned.sentences)
    alone = read_pooled(tiny_bert, planned.remainders, other_poolings(tiny_bert), task="document")
    for name, vectors in alone.vectors.items():
        assert np.allclose(found.remainders.vectors[name], vectors, atol=1e-5)
    assert np.allclose(found.remainders.norms, alone.norms, rtol=1e-5)


def test_a_second_reading_has_poolings_tokens_and_refusals_of_the_first(tiny_bert):
    read_side = SideReader(tiny_bert, "document", Listener())
    some, more = (
        tokenise(tiny_bert, texts) for texts in (["a pool", "stone", "a pool"], ["stone", "a cave", "a pool"])
    )
    with refusing(tiny_bert, "stone"):
        first = read_side(some, "reading", keep_tokens=True)
        second = read_side(more, "reading", other_poolings(tiny_bert), keep_tokens=True)
        with pytest.raises(BadInput, match="none of 1 texts could be read; the first: it has a stone"):
            read_side(some.take([1]), "reading")
    assert [*first.refused] == [1]
    assert [*second.refused] == [0]
    assert [*second.vectors] == [OWN, *other_poolings(tiny_bert)]
    assert np.array_equal(first.vectors[OWN][0], first.vectors[OWN][2])
    assert np.allclose(first.vectors[OWN][0], second.vectors[OWN][2], atol=1e-5)
    assert [len(one) for one in second.tokens] == [1, 4, 4]
    with counting(tiny_bert) as counts:
        third = read_side(more.take([1, 2]), "reading", other_poolings(tiny_bert))
    assert not counts
    assert np.array_equal(third.vectors["pooling max"], second.vectors["pooling max"][1:])


def test_new_texts_that_are_all_refused_leave_wider_poolings_whole(tiny_bert):
    poolings = {"both": OurPooling(32, ("mean", "max"))}
    read_side = SideReader(tiny_bert, "document", Listener())
    with refusing(tiny_bert, "stone"):
        read_side(tokenise(tiny_bert, ["a pool"]), "reading", poolings)
        found = read_side(tokenise(tiny_bert, ["stone", "a pool"]), "reading", poolings)
    assert found.vectors["both"].shape == (2, 64)
    assert found.vectors["both"].any(1).tolist() == [False, True]


# Texts that cannot be read.

(ODD,) = make_texts(1, 4, 8, seed=7, vocabulary=["stone", *TINY])
HOW = {"nan": lambda states: states * torch.nan, "zero": lambda states: states * 0}


def own_ranks_of(model, texts):
    planned = plan(model, texts)
    return read(model, planned).ranks[OWN].kept


def assert_stops_no_other(model, texts, place, spoil):
    """One text has no vector: its sentences are not found, those of the others are found as without it."""
    rest = [text for row, text in enumerate(texts) if row != place]
    others = np.arange(3 * len(texts)) // 3 != place
    with spoil:
        ranks, found = own_ranks_of(model, texts), take_account(model, texts)
    assert (ranks[~others] == len(texts)).all()
    assert np.array_equal(ranks[others] == 1, own_ranks_of(model, rest) == 1)
    assert (found.documents, found.unread) == (len(texts), 1)
    assert from_json(Account, to_json(found)) == found
    return found, take_account(model, rest)


@pytest.mark.parametrize("how", HOW)
def test_a_text_without_a_vector_stops_no_other(how, tiny_bert):
    assert "stone" in ODD
    assert_stops_no_other(tiny_bert, [*PLAIN, ODD], len(PLAIN), spoiled(tiny_bert, stone=HOW[how]))


def test_tokens_that_are_not_finite_take_the_match_from_no_other(bag_folder):
    model, texts = load_bags(bag_folder, pooling=FirstTokens(share=0.5)), make_texts(30, vocabulary=WORDS[1:])
    plain = take_account(model, texts)
    with torch.no_grad():
        model[0].model.embeddings.word_embeddings.weight[-len(WORDS)] = torch.nan
    found = take_account(model, [*texts, *make_texts(1, vocabulary=WORDS[:1])])
    assert found.not_found.value <= 3 / 93 + 1e-9
    assert found.lost_to_pooling.value * 93 >= plain.lost_to_pooling.value * 90 - 1e-6


def test_a_text_that_does_not_fit_into_memory_stops_no_other(tiny_bert):
    long = make_texts(1, 16, 8, seed=8, vocabulary=TINY)
    assert_stops_no_other(tiny_bert, [*PLAIN, *long], len(PLAIN), short_of_memory(tiny_bert, 120))


@pytest.mark.parametrize(
    "dimensions",
    [
        None,
        16,
    ],
)
def test_a_refused_text_of_a_model_with_fewer_dimensions(dimensions, tiny_bert):
    tiny_bert.truncate_dim = dimensions
    with spoiled(tiny_bert, stone=HOW["nan"]), refusing(tiny_bert, "stone"):
        assert isinstance(take_account(tiny_bert, [*PLAIN, ODD]), Account)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_texts_without_tokens_stop_no_other(tiny_bert):
    without_special_tokens(tiny_bert)
    tokenizer = tiny_bert.tokenizer.backend_tokenizer
    tokenizer.normalizer = normalizers.Sequence([tokenizer.normalizer, normalizers.Replace("zzz", "")])
    silent = "\n\n".join([" ".join(["zzz"] * 6), " ".join(["zzz"] * 7), " ".join(["zzz"] * 8)])
    found = take_account(tiny_bert, [*PLAIN, silent])
    assert isinstance(found, Account)
    assert (found.documents, found.unread) == (len(PLAIN) + 1, 1)
    assert from_json(Account, to_json(found)) == found


def test_where_nothing_can_be_read_there_is_a_reason(tiny_bert):
    def refuse(_, ids):
        refuse_rows((ids >= 0).any(1), "a fault", "mend it")

    reason = r"none of 30 texts could be read; the first: it has a fault: mend it\."
    with last_layer(tiny_bert, refuse), pytest.raises(BadInput, match=reason):
        take_account(tiny_bert, PLAIN)
