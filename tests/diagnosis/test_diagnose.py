"""A diagnosis has the figures of the functions, describes a planted collapse, and grades what a search loses."""

import copy
import random
import re
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Router, StaticEmbedding

import cenote
from cenote.diagnosis.diagnose import _FULL, _QUICK
from cenote.errors import BadInput, CenoteError, CenoteWarning, UnsupportedModel
from cenote.records import Diagnosis

from ..bags import TINY, make_texts
from ..fakes import PrescribedStates, short_of_memory

# Too short to search in, and long enough.
TEXTS = [f"{'a deep ' * (row // 4)}cave {'stone ' * (row % 5)}one" for row in range(60)]
SEARCHED = make_texts(25, 4, 8, vocabulary=TINY)


@pytest.fixture
def searching(tiny_bert):
    """A diagnosis with an account."""
    texts = [*SEARCHED, *(text[: text.index(".") + 1] for text in SEARCHED)]
    return cenote.diagnose(tiny_bert, texts, quick=True, temperatures=[0.7])


@pytest.fixture
def static(demo):
    return SentenceTransformer(modules=[StaticEmbedding(demo.tokenizer.backend_tokenizer, embedding_dim=8)])


def test_a_diagnosis_is_plain_data(searching):
    assert Diagnosis.from_json(searching.to_json()) == searching


def test_a_diagnosis_begins_with_what_a_search_loses(searching):
    account = searching.models[0].account
    first, *others = searching.verdicts
    assert first.subject == "search"
    assert first.finding.startswith("Of 100 sentences of your texts, ")
    ranks = ["severe", "moderate", "slight", "fine", "unknown", "described"]
    assert [verdict.grade for verdict in others] == sorted((verdict.grade for verdict in others), key=ranks.index)
    assert (account.documents, account.sentences, account.few) == (25, 75, 25)
    assert "temperature 0.7" in account.settings
    assert searching.models[0].runs[1].change.short is not None


def test_the_same_seed_gives_the_same_bytes(tiny_bert):
    one = cenote.diagnose(tiny_bert, TEXTS, quick=True, temperatures=[0.7])
    numbers = {"sample": np.int64(1000), "seed": np.int64(0)}  # the defaults, as numpy has them
    assert cenote.diagnose(tiny_bert, TEXTS, quick=True, temperatures=[0.7], **numbers).to_json() == one.to_json()
    other = cenote.diagnose(tiny_bert, TEXTS, quick=True, seed=1, sample=50)
    assert other.texts.fingerprint != one.texts.fingerprint
    assert other.texts.used == 50


def test_texts_are_tokenised_once_whatever_the_temperatures(tiny_bert, monkeypatch):
    original, seen = tiny_bert.preprocess, Counter()
    monkeypatch.setattr(tiny_bert, "preprocess", lambda texts, **how: seen.update(texts) or original(texts, **how))
    pairs = [("a pool", "the collapse"), ("a pool", "light and water")]
    cenote.diagnose(tiny_bert, TEXTS, pairs=pairs, quick=True, temperatures=[0.9, 0.8, 0.7])
    given = Counter({*TEXTS, *(text for pair in pairs for text in pair)})
    assert {text: seen[text] for text in given} == given
    repeated = " ".join(["dog"] * 4)
    assert seen[repeated] == 1


def test_progress_names_the_step_the_model_and_the_temperature(tiny_bert):
    seen = []
    cenote.diagnose(
        tiny_bert,
        TEXTS,
        pairs=[("a", "two")],
        quick=True,
        names=["mine"],
        temperatures=[0.8],
        progress=lambda *at: seen.append(at),
    )
    steps = (
        "tracing layers",
        "reading texts",
        "comparing pairs",
        "reading pairs",
        "comparing given pairs",
        "repeating words",
    )
    runs = [f"{run}: {step}" for run in ("mine", "mine at 0.8") for step in steps]
    assert list(dict.fromkeys(name for name, _, _ in seen)) == ["mine: tokenising", "mine: tokenising sentences", *runs]
    assert ("mine at 0.8: tracing layers", 24, 24) in seen
    assert ("mine: reading texts", 36, 36) in seen
    assert ("mine: comparing pairs", 1770, 1770) in seen


def test_progress_names_what_is_read_for_a_search(tiny_bert):
    seen = []
    tiny_bert.max_seq_length = 20
    cenote.diagnose(tiny_bert, SEARCHED, layers=False, quick=True, names=["mine"], progress=lambda *at: seen.append(at))
    steps = list(dict.fromkeys(name for name, _, _ in seen))
    assert steps[: steps.index("mine: reading texts")] == [
        "mine: tokenising",
        "mine: tokenising sentences",
        "mine: reading documents",
        "mine: reading sentences",
        "mine: reading documents without a sentence",
        "mine: reading windows of 20 tokens",
        "mine: reading 256 tokens",
    ]
    assert ("mine: reading documents", 25, 25) in seen
    assert ("mine: reading sentences", 75, 75) in seen


def test_memory_that_runs_out_changes_no_figure(tiny_bert):
    plain, said = cenote.diagnose(tiny_bert, TEXTS, quick=True).models[0].runs[0], []
    with short_of_memory(tiny_bert, 260):
        found = cenote.diagnose(tiny_bert, TEXTS, quick=True, notify=said.append).models[0].runs[0]
    assert "out of memory" in {words.split(":")[0] for words in said}
    assert (found.traced, found.pairs.pairs) == (plain.traced, plain.pairs.pairs)
    for one, other in (
        (found.length.closeness.cosine, plain.length.closeness.cosine),
        (found.pairs.socm, plain.pairs.socm),
        (found.layers[-1].measures["sigma_a"], plain.layers[-1].measures["sigma_a"]),
    ):
        assert one.mean == pytest.approx(other.mean, rel=1e-4)


def test_the_figures_are_those_of_the_functions(diagnosis, demo, corpus):
    (model,) = diagnosis.models
    vectors = demo.encode(corpus)
    lengths = np.array([demo.preprocess([text])["attention_mask"].sum() for text in corpus])
    assert model.lengths.cut == sum(len(demo.tokenizer.tokenize(text)) + 2 > 256 for text in corpus)
    plain, cooler = model.runs
    assert (plain.temperature, cooler.temperature) == ("1", "0.7")
    for run, rows in ((plain, vectors), (cooler, None)):
        if rows is None:
            with cenote.temper(demo, 0.7):
                rows = demo.encode(corpus)
        for part in run.length.bins:
            inside = (lengths >= part.low) & (lengths < (part.high or 10**9))
            assert part.count == inside.sum()
            own = rows[inside].astype(np.float64)
            cosines = [own[i] @ own[j] for i in range(len(own)) for j in range(i)]
            assert part.cosine.value == pytest.approx(np.mean(cosines), abs=1e-5)
    worst = plain.pairs.worst[0]
    texts = [diagnosis.excerpts[place].id for place in (worst.first, worst.second)]
    states = [demo.encode(corpus[int(id_)], output_value="token_embeddings") for id_ in texts]
    found = cenote.socm([states[0]], [states[1]])
    assert worst.socm == pytest.approx(found.socm.item(), abs=1e-5)
    assert plain.pairs.socm.count == plain.pairs.pairs == plain.pairs.texts * (plain.pairs.texts - 1) // 2
    assert len(plain.layers) == 6
    assert {part.count for part in plain.passed} != {0}
    assert sum(part.count for part in plain.passed) == plain.traced == 24


def test_the_model_is_left_as_it_was(tiny_bert):
    tiny_bert.max_seq_length = 24  # in a search, more is read, and in windows
    long = "a deep cave " * 30
    plain = tiny_bert.encode(["a pool", long])
    found = cenote.diagnose(tiny_bert, SEARCHED, quick=True, temperatures=[0.5])
    assert "reading 256 tokens" in found.models[0].account.settings
    assert np.array_equal(tiny_bert.encode(["a pool", long]), plain)
    assert tiny_bert.max_seq_length == 24
    assert not any(module._forward_hooks for module in tiny_bert.modules())


NOUNS = ("bat", "boat", "cave", "dome", "glow", "lake", "light", "mud", "pool", "rain", "rock", "roof", "salt", "stone")
COMMON = torch.nn.functional.one_hot(torch.tensor(0), 384).float()


def drawn(generator, *shape):
    return torch.randn(*shape, generator=generator)


def healthy(generator, tokens, width):
    """A direction of its own for each text, and tokens close to it."""
    return torch.nn.functional.normalize(drawn(generator, width), dim=0) + 0.01 * drawn(generator, tokens, width) / 20


def length_collapsed(generator, tokens, width):
    """The longer, the nearer to what all texts share."""
    share = min(0.9, tokens / 120)
    own = torch.nn.functional.normalize(drawn(generator, width), dim=0)
    return (1 - share) * own + share * COMMON + 0.01 * drawn(generator, tokens, width) / 20


def second_order_collapsed(generator, tokens, width):
    """One mean for all texts, and around it tokens that lie along a line of the text's own."""
    line = torch.nn.functional.normalize(drawn(generator, width), dim=0)
    along = drawn(generator, tokens, 1)
    return COMMON + 1.5 * (along - along.mean()) * line


@pytest.mark.parametrize(
    ("plan", "length", "second_order", "closeness"),
    [
        (
            healthy,
            "Reading more of the same texts (does not draw them together|moves them apart)|do not show whether",
            "SOCM is 0.0",
            "a cosine of -?0.0",
        ),
        (length_collapsed, "Reading more of the same texts draws them together", "SOCM is 0.0", "a cosine of 0.[1-9]"),
        (
            second_order_collapsed,
            "Reading more of the same texts does not draw",
            r"SOCM is [1-9]\.",
            "a cosine of 1.00",
        ),
    ],
)
def test_a_planted_collapse_is_described_and_nothing_else(plan, length, second_order, closeness, demo, monkeypatch):
    model = copy.deepcopy(demo)
    model[0].model.__class__ = PrescribedStates
    monkeypatch.setattr(PrescribedStates, "plan", staticmethod(plan))
    # Without marks, there are no sentences to search for.
    texts = [" ".join(random.Random(row).choices(NOUNS, k=3 + row)) for row in range(0, 100, 2)]
    found = {verdict.subject: verdict for verdict in cenote.diagnose(model, texts, layers=False, quick=True).verdicts}
    for subject, said in (
        ("length collapse", length),
        ("second-order collapse", second_order),
        ("closeness", closeness),
    ):
        assert re.search(said, found[subject].finding), found[subject]
        assert found[subject].grade == "described"
    assert (found["truncation"].grade, found["search"].grade) == ("fine", "unknown")


def test_several_models_side_by_side(tiny_st, corpus):
    folder = str(tiny_st("bert"))
    found = cenote.diagnose([folder, folder], corpus[:30], layers=False, quick=True, names=["one", "two"])
    one, two = found.models
    assert (one.name, two.name) == ("one", "two")
    assert one.runs == two.runs
    assert one.fingerprint == two.fingerprint
    assert [v.model for v in found.verdicts if v.subject == "truncation"] == ["one", "two"]
    same = cenote.diagnose([folder, folder], corpus[:5], layers=False, quick=True)
    assert [model.name for model in same.models] == [f"{folder} (1)", f"{folder} (2)"]


def test_given_pairs(tiny_bert):
    pairs = [("a pool", "a pond"), ("a cave", "the roof of a cave fell in")]
    found = cenote.diagnose(tiny_bert, TEXTS[:20], pairs=pairs, layers=False, quick=True)
    own = found.models[0].runs[0].given_pairs
    assert (own.pairs, own.texts) == (2, 4)
    states = [
        [tiny_bert.encode(text, output_value="token_embeddings") for text in side] for side in zip(*pairs, strict=True)
    ]
    assert sorted(pair.socm for pair in own.shown) == pytest.approx(
        sorted(cenote.socm(*states).socm.tolist()), abs=1e-5
    )


@pytest.mark.parametrize(
    ("texts", "finding"),
    [
        (["one text only"], "One text is too few to generalise: the findings may describe nothing else."),
        (["the same"] * 30, "All texts are the same."),
        (["a pool", "", "   ", "a cave"], "2 empty texts were excluded."),
        (["four words in one"] * 20 + ["five words in one too"] * 20, "Only 2 of 40 texts are different."),
        (
            ["pool " * 300 + str(row) for row in range(25)],
            "16 % of the tokens of your texts are never read by this model.",
        ),
    ],
    ids=["one", "the same", "empty", "two", "long"],
)
def test_few_texts_and_odd_ones_give_a_partial_report(texts, finding, tiny_bert):
    layers = max(map(len, texts)) < 1000  # tracing the long ones takes long
    found = cenote.diagnose(tiny_bert, texts, quick=True, layers=layers)
    assert finding in [verdict.finding for verdict in found.verdicts]
    assert Diagnosis.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {}, "there are no texts in 'texts'"),
        (["", " \n"], {}, "all 2 texts are empty"),
        ("one string", {}, r"A single text is passed in a list: \[text\]"),
        ([3], {}, "row 0: the text is int 3, not a string"),
        ([("a", 3)], {}, "row 0: the text is int 3"),
        (["a\ud800"], {}, "row 0: lone surrogate"),
        (["a"], {"seed": -1}, "seed=-1: pass a whole number"),
        (["a"], {"sample": 0}, "sample=0: pass a whole number"),
        (["a"], {"temperatures": [0]}, "temperature is 0"),
        (["a"], {"temperatures": "0.8"}, "pass a list of numbers"),
        (["a"], {"temperatures": [{"query": 1, "document": 0.9}]}, "is not a number; diagnose takes numbers only"),
        (["a"], {"pairs": [("a", "b"), ("a", 3)]}, r"pair 1 is \('a', 3\): pass two texts"),
        (["a"], {"pairs": ["ab"]}, "pair 0 is 'ab': pass two texts"),
        (["a"], {"names": ["x", "y"]}, "2 names for 1 models"),
        (["a"], {"precision": "int8"}, "unknown precision 'int8'"),
        (["a"], {"precision": "float16"}, r"minilm at float16 \(--precision\): float16 is for CUDA devices"),
    ],
)
def test_bad_input_is_refused_before_anything_is_read(texts, options, message, demo):
    with pytest.raises(BadInput, match=message):
        cenote.diagnose(demo, texts, **options)


def test_missing_models():
    with pytest.raises(BadInput, match="model is an empty list: pass at least one model"):
        cenote.diagnose([], ["a"])
    with pytest.raises(BadInput, match="no such folder"):
        cenote.diagnose("./nowhere", ["a"])


def test_a_model_that_cannot_be_traced_is_diagnosed_without_its_layers(tiny_bert, static):
    router = Router.for_query_document([tiny_bert[0], Pooling(32)], [copy.deepcopy(tiny_bert[0]), Pooling(32)])
    found = cenote.diagnose(SentenceTransformer(modules=[router]), SEARCHED, quick=True)
    run = found.models[0].runs[0]
    assert "holds 2 transformers" in run.untraced
    assert run.layers == ()
    assert {"layers", "search"} <= {verdict.subject for verdict in found.verdicts}
    with pytest.raises(UnsupportedModel, match="starts with StaticEmbedding, which makes no rows of tokens"):
        cenote.diagnose(static, TEXTS[:25])


def test_in_bfloat16_only_the_model_is_rounded(tiny_bert, monkeypatch):
    monkeypatch.setattr("cenote.encoding.backends._hardware_obstacle", lambda *_: None)
    read = []
    handle = tiny_bert[0].register_forward_hook(lambda *_: read.append(torch.is_autocast_enabled("cpu")))
    plain, rounded = (cenote.diagnose(tiny_bert, SEARCHED, precision=name) for name in ("float32", "bfloat16"))
    handle.remove()
    assert len(set(read[: len(read) // 2])) == len(set(read[-(len(read) // 2) :])) == 1
    assert (read[0], read[-1]) == (False, True)
    assert rounded.settings["precision"] == "bfloat16"
    (before,), (after,) = ([one.runs[0] for one in found.models] for found in (plain, rounded))
    for layer, other in zip(before.layers, after.layers, strict=True):
        assert layer != other
        for name in ("concentration", "sigma_a", "contraction"):
            assert other.measures[name].median == pytest.approx(layer.measures[name].median, rel=0.05)


@pytest.fixture
def nothing_read(monkeypatch):
    monkeypatch.setattr("cenote.diagnosis.diagnose._plan", lambda *_: pytest.fail("texts were read"))


@pytest.mark.parametrize(("quick", "documents"), [(True, 200), (False, 1000)])
def test_a_first_look_searches_fewer_texts(quick, documents, tiny_bert, monkeypatch):
    asked = []
    monkeypatch.setattr("cenote.diagnosis.diagnose.plan_account", lambda *given: asked.append(given[2]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cenote.diagnose(tiny_bert, ["a pool", "a cave"], layers=False, quick=quick)
    assert asked == [documents]


def test_a_full_diagnosis_looks_at_more_of_everything():
    quick, full = vars(_QUICK), vars(_FULL)
    assert all(quick[name] < full[name] for name in quick)


def test_an_impossible_temperature_is_refused_before_any_text_is_read(demo, nothing_read):
    with pytest.raises(CenoteError, match=r" at temperature 1e-300 \(--temperatures\): "):
        cenote.diagnose(demo, ["a pool"], temperatures=[1e-300])


def test_a_second_model_that_cannot_be_loaded_is_refused_before_the_first_one_reads(demo, tmp_path, nothing_read):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CenoteError, match="cannot load"):
        cenote.diagnose([demo, tmp_path], ["a pool"])


def test_a_temperature_in_the_weights_is_reported(tiny_st):
    baked = cenote.bake(cenote.load(tiny_st("bert"), device="cpu"), 0.8)
    found = cenote.diagnose(baked, TEXTS[:25], layers=False, quick=True, temperatures=[1.0, 0.5]).models[0]
    assert found.temperature == "0.8 in the weights"
    assert [run.temperature for run in found.runs] == ["0.8 in the weights", "0.5, and 0.8 in the weights"]


def test_truncated_dimensions_do_not_count(tiny_bert):
    tiny_bert.truncate_dim = 8
    found = cenote.diagnose(tiny_bert, TEXTS[:25], layers=False, quick=True).models[0]
    assert found.dimensions == 8
    vectors = tiny_bert.encode(TEXTS[:25]).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = [vectors[i] @ vectors[j] for i in range(25) for j in range(i)]
    assert found.runs[0].length.bins[0].cosine.value == pytest.approx(np.mean(cosines), abs=1e-5)


@pytest.mark.parametrize("pooling", ["landmark", "cls", "lasttoken"])
def test_other_poolings(pooling, tiny_st, corpus):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CenoteWarning)
        model = cenote.load(tiny_st("bert"), pooling=pooling, device="cpu")
    found = cenote.diagnose(model, corpus[:25], quick=True).models[0]
    assert found.pooling == pooling
    assert len(found.runs[0].layers) == 2


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_other_architectures(kind, tiny_st, corpus):
    found = cenote.diagnose(str(tiny_st(kind)), corpus[:25], quick=True)
    assert Diagnosis.from_json(found.to_json()) == found
    assert len(found.models[0].runs[0].layers) >= 2


def test_a_tempered_model_is_diagnosed_at_its_own_temperature_first(tiny_bert):
    with cenote.temper(tiny_bert, 0.5):
        found = cenote.diagnose(tiny_bert, TEXTS[:25], layers=False, quick=True, temperatures=[1.0, 0.5, 0.8])
    runs = found.models[0].runs
    assert [run.temperature for run in runs] == ["0.5", "1", "0.8"]
    plain = cenote.diagnose(tiny_bert, TEXTS[:25], layers=False, quick=True).models[0].runs[0]
    assert runs[1].length == plain.length
    assert runs[0].length != plain.length


def test_a_model_that_fails_while_it_is_traced_is_read_untraced(tiny_bert, monkeypatch):
    def broken(*_):
        raise UnsupportedModel("no attention of tokens to tokens")

    monkeypatch.setattr("cenote.surgery.profiles.Profiler.__call__", broken)
    run = cenote.diagnose(tiny_bert, TEXTS[:25], quick=True).models[0].runs[0]
    assert run.untraced == "no attention of tokens to tokens"
    assert run.pairs.texts == 25


def test_empty_pairs_are_excluded_and_the_rest_is_measured(tiny_bert):
    found = cenote.diagnose(tiny_bert, TEXTS[:30], pairs=[("a", ""), ("", "b")], layers=False, quick=True)
    assert found.models[0].runs[0].given_pairs is None
    (left,) = [verdict for verdict in found.verdicts if verdict.subject == "texts"]
    assert left.finding == "2 pairs were excluded from the given pairs."
    assert left.evidence == "2 (pair 0, pair 1): an empty side."
    assert Diagnosis.from_json(found.to_json()) == found
