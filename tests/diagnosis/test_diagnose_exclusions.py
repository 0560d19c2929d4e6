"""Texts that cannot be measured stop no run and are named; prompts reach every measure."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import normalizers

import cenote
from cenote.data.texts import Text
from cenote.encoding.batches import NO_TOKENS, NOT_FINITE
from cenote.errors import BadInput, UnknownName
from cenote.records import Diagnosis, Excluded

from ..bags import TINY
from ..fakes import spoiled, without_special_tokens

UNREAD = "all measures but lengths and the search"
WORDS = [word for word in TINY if word != "light"]  # which stands for vectors of zeros below
PLAIN = [Text(f"t{row}", " ".join((WORDS * 4)[row % 7 : 2 + row % 7 + row // 2])) for row in range(44)]
PROMPTS = {"query": "query: ", "page": "document: a deep "}


@pytest.fixture
def model(tiny_st):
    return SentenceTransformer(str(tiny_st("bert")), device="cpu", prompts=PROMPTS)


@pytest.fixture
def silent(model):
    """A model whose tokenizer makes no token of control characters."""
    return without_special_tokens(model)


def cosines(vectors):
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.mean([unit[i] @ unit[j] for i in range(len(unit)) for j in range(i)])


def test_texts_without_tokens(silent):
    odd = [Text("odd", "\x01"), *PLAIN[:20], Text("strange", "\x02 \x03"), *PLAIN[20:]]
    found = cenote.diagnose(silent, odd, quick=True, temperatures=[0.8])
    (left,) = found.models[0].excluded
    assert left == Excluded("all measures but the search", NO_TOKENS, 2, ("odd", "strange"))
    # All else is as if they had never been there.
    plain = cenote.diagnose(silent, PLAIN, quick=True, temperatures=[0.8])
    assert found.models[0].runs == plain.models[0].runs
    assert found.models[0].lengths == plain.models[0].lengths
    assert found.models[0].words == plain.models[0].words
    assert plain.models[0].excluded == ()
    verdict = next(verdict for verdict in found.verdicts if verdict.subject == "texts")
    assert verdict.finding == "2 texts were excluded from all measures but the search."
    assert verdict.evidence == f"2 (odd, strange): {NO_TOKENS}."
    assert Diagnosis.from_json(found.to_json()) == found
    with pytest.raises(BadInput, match=rf"mine gives no usable vector .* 1 \(0\): {NO_TOKENS}"):
        cenote.diagnose(silent, ["\x01"], names=["mine"])


def opposite(states):
    """Tokens that cancel in pairs: texts of an even number of them have a mean of exactly zero."""
    signs = torch.ones(states.shape[1])
    signs[1::2] = -1
    return signs[:, None] * torch.ones_like(states)


ODD = {"nan": "a stone", "zero": "a light one", "opposite": "query two"}  # with CLS and SEP, of four or five tokens
HOW = {
    "stone": lambda states: states * np.nan,
    "light": lambda states: states * 0,
    "query": opposite,
}


@pytest.mark.parametrize("layers", [True, False])
def test_texts_without_a_usable_vector(layers, tiny_st):
    model = SentenceTransformer(str(tiny_st("bert", pooling="cls")), device="cpu")
    odd = [Text(*item) for item in ODD.items()]
    with spoiled(model, **HOW):
        found = cenote.diagnose(model, [*PLAIN, *odd, *odd], quick=False, layers=layers)
        with pytest.raises(BadInput, match=rf"gives no usable vector .* 1 \(0\): {NOT_FINITE}"):
            cenote.diagnose(model, ["a stone"], layers=layers)
    one = found.models[0]
    left = {(part.measure, part.why): part.ids for part in one.excluded}
    assert left.pop((UNREAD, NOT_FINITE)) == ("nan", "nan")
    assert left.pop((UNREAD, "the model's vector is zero")) == ("zero", "zero")
    assert left.pop(("second-order collapse", "tokens whose mean is zero, up to rounding")) == ("opposite",) * 2
    run = one.runs[0]
    if layers:
        ((measure, why),) = left
        assert (measure, left[measure, why]) == ("layers", ("opposite",) * 2)
        assert why.startswith("it has a mean of zero")
        assert run.untraced is None
        assert run.traced == len(PLAIN)
        assert {summary.measures["concentration"].count for summary in run.layers} == {len(PLAIN)}
    else:
        assert not left
    assert run.pairs.texts == len(PLAIN)
    # The text whose tokens cancel has an embedding, its first token, and so a place in the curve.
    assert sum(part.count for part in run.length.bins) == len(PLAIN) + 2
    assert Diagnosis.from_json(found.to_json()) == found


def test_a_pooling_that_refuses_a_text_refuses_no_other(copy_of):
    """Cenote's own pooling raises where that of sentence-transformers returns NaN."""
    model = cenote.load(str(copy_of("bert")), pooling="every_k", device="cpu")
    with spoiled(model, stone=HOW["stone"]):
        found = cenote.diagnose(model, [*PLAIN, Text("nan", "a stone")], quick=True)
    (left,) = found.models[0].excluded
    assert (left.measure, left.ids) == (UNREAD, ("nan",))
    assert "NaN" in left.why
    vectors = model.encode([text.text for text in PLAIN])
    near = found.models[0].runs[0].length.closeness.cosine
    assert near.mean == pytest.approx(cosines(vectors), abs=1e-5)


def test_texts_whose_word_average_is_zero_leave_the_control(model):
    """The control leaves such texts out; all else is measured."""
    table = model[0].model.get_input_embeddings().weight
    with torch.no_grad():
        table[model.tokenizer.convert_tokens_to_ids("stone")] = 0
    found = cenote.diagnose(model, [*PLAIN, "stone", "stone stone"], layers=False, quick=True).models[0]
    assert sum(part.count for part in found.words.bins) == len(PLAIN)
    assert sum(part.count for part in found.runs[0].length.bins) == len(PLAIN) + 2


def test_pairs_of_words_without_tokens_are_excluded(silent):
    drop(silent, "dog")
    (found,) = cenote.diagnose(silent, PLAIN, layers=False, quick=True).models[0].runs[0].repeated
    assert found.words == ("water", "music")
    drop(silent, "music")
    assert cenote.diagnose(silent, PLAIN, layers=False, quick=True).models[0].runs[0].repeated == ()


def drop(model, word):
    """Make the tokenizer drop a word."""
    tokenizer = model.tokenizer.backend_tokenizer
    tokenizer.normalizer = normalizers.Sequence([tokenizer.normalizer, normalizers.Replace(word, "")])


def test_a_prompt_reaches_every_measure(model):
    found = cenote.diagnose(model, PLAIN, quick=True, prompt_name="page")
    by_hand = SentenceTransformer(modules=list(model), device="cpu", prompts=PROMPTS, default_prompt_name="page")
    default = cenote.diagnose(by_hand, PLAIN, quick=True)
    assert found.models[0].runs == default.models[0].runs
    assert found.models[0].words == default.models[0].words
    plain = cenote.diagnose(model, PLAIN, quick=True).models[0]
    for name in ("length", "pairs", "layers", "passed", "repeated"):
        assert getattr(found.models[0].runs[0], name) != getattr(plain.runs[0], name), name
    assert found.models[0].words != plain.words
    assert found.models[0].lengths.tokens.mean == pytest.approx(plain.lengths.tokens.mean + 4)
    assert (found.settings["prompt"], found.settings["pair_prompts"]) == ("page", None)
    vectors = model.encode([text.text for text in PLAIN], prompt_name="page")
    assert found.models[0].runs[0].length.closeness.cosine.mean == pytest.approx(cosines(vectors), abs=1e-5)


def test_prompts_of_pairs(model):
    pairs = [("a pool", "the deep cave"), ("light", "a pool")]
    found = cenote.diagnose(model, PLAIN[:5], pairs=pairs, pair_prompts=("query", "page"), layers=False, quick=True)
    assert found.settings["pair_prompts"] == ["query", "page"]
    sides = [
        [model.encode(text, prompt_name=name, output_value="token_embeddings") for text in side]
        for side, name in zip(zip(*pairs, strict=True), ("query", "page"), strict=True)
    ]
    own = found.models[0].runs[0].given_pairs
    assert sorted(pair.socm for pair in own.shown) == pytest.approx(sorted(cenote.socm(*sides).socm.tolist()), abs=1e-5)
    both = cenote.diagnose(model, PLAIN[:5], pairs=pairs, prompt_name="query", layers=False, quick=True)
    assert both.settings["pair_prompts"] == ["query", "query"]


@pytest.mark.parametrize("kind", ["bert", "qwen"])
@pytest.mark.parametrize("ours", [True, False])
def test_a_prompt_that_is_not_pooled_is_in_no_cloud(kind, ours, tiny_st):
    folder = str(tiny_st(kind, include_prompt=False, prompts=PROMPTS))
    model = cenote.load(folder, device="cpu") if ours else SentenceTransformer(folder, device="cpu")
    texts = ["a pool", "the deep cave", "light stone water", "two three one"]
    found = cenote.diagnose(model, texts, quick=True, layers=False, prompt_name="page").models[0]
    skip = model.preprocess(["a"], prompt=PROMPTS["page"])["prompt_length"]
    clouds = [model.encode(text, prompt_name="page", output_value="token_embeddings")[skip:] for text in texts]
    for cloud, vector in zip(clouds, model.encode(texts, prompt_name="page"), strict=True):
        assert np.allclose(cloud.mean(0).numpy(), vector, atol=1e-5)  # the cut is the pooling's own
    expected = cenote.socm(clouds).socm.tolist()
    shown = [pair.socm for pair in found.runs[0].pairs.shown]
    assert shown == pytest.approx(expected, rel=1e-4, abs=1e-5)
    whole = [model.encode(text, prompt_name="page", output_value="token_embeddings") for text in texts]
    assert shown != pytest.approx(cenote.socm(whole).socm.tolist(), rel=1e-2)
    read = [model.preprocess([text], prompt=PROMPTS["page"])["attention_mask"].sum().item() for text in texts]
    assert found.lengths.tokens.mean == pytest.approx(np.mean(read))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt_name": "qurey"}, "unknown prompt of two: 'qurey'; did you mean 'query'"),
        ({"prompt_name": "page"}, "unknown prompt of two: 'page'.*There are: query, document"),
        ({"pairs": [("a", "b")], "pair_prompts": ("query", "page")}, "unknown prompt of two: 'page'"),
        ({"pairs": [("a", "b")], "pair_prompts": "query"}, "pair_prompts='query': pass two names"),
        ({"pairs": [("a", "b")], "pair_prompts": ("query", 3)}, "pass two names"),
        ({"pair_prompts": ("query", "page")}, "there are no pairs: pass pairs too"),
    ],
)
def test_unknown_prompts_are_refused_before_any_text_is_read(options, message, tiny_st, model):
    def texts():
        raise AssertionError("read too early")
        yield

    model.prompts = {**model.prompts, "qurey": "known to the first model alone"}
    other = str(tiny_st("bert"))
    with pytest.raises(BadInput, match=message) as caught:
        cenote.diagnose([model, other], texts(), names=["one", "two"], **options)
    assert isinstance(caught.value, UnknownName) == ("unknown" in message)
