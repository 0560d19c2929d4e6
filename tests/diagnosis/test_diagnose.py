"""A diagnosis holds the numbers of the functions, finds what was planted, and accuses no healthy model."""

import copy
import warnings

import numpy as np
import pytest
import torch
from transformers import BertModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

import cenote
from cenote.data.builtin import read_builtin
from cenote.errors import BadInput, CenoteError, CenoteWarning, UnsupportedModel
from cenote.records import Diagnosis

CORPUS = [text.text for text in read_builtin()][::60]


@pytest.fixture(scope="module")
def diagnosis(demo):
    return cenote.diagnose(demo, CORPUS, quick=True, temperatures=[0.7])


def test_it_is_plain_data_and_the_same_bytes_twice(diagnosis, demo):
    numbers = {"sample": np.int64(1000), "seed": np.int64(0)}  # the defaults, as numpy has them
    again = cenote.diagnose(demo, CORPUS, quick=True, temperatures=[0.7], **numbers)
    assert again.to_json() == diagnosis.to_json()
    assert Diagnosis.from_json(diagnosis.to_json()) == diagnosis
    other = cenote.diagnose(demo, CORPUS, quick=True, seed=1, sample=50)
    assert other.texts.fingerprint != diagnosis.texts.fingerprint
    assert other.texts.used == 50


def test_the_numbers_are_those_of_the_functions(diagnosis, demo):
    (model,) = diagnosis.models
    vectors = demo.encode(CORPUS)
    lengths = np.array([demo.preprocess([text])["attention_mask"].sum() for text in CORPUS])
    assert model.lengths.cut == sum(len(demo.tokenizer.tokenize(text)) + 2 > 256 for text in CORPUS)
    plain, cooler = model.runs
    assert (plain.temperature, cooler.temperature) == ("1", "0.7")
    for run, rows in ((plain, vectors), (cooler, None)):
        if rows is None:
            with cenote.temper(demo, 0.7):
                rows = demo.encode(CORPUS)
        for part in run.length.bins:
            inside = (lengths >= part.low) & (lengths < (part.high or 10**9))
            assert part.count == inside.sum()
            own = rows[inside].astype(np.float64)
            cosines = [own[i] @ own[j] for i in range(len(own)) for j in range(i)]
            assert part.cosine.value == pytest.approx(np.mean(cosines), abs=1e-5)
    worst = plain.pairs.worst[0]
    texts = [diagnosis.excerpts[place].id for place in (worst.first, worst.second)]
    states = [demo.encode(CORPUS[int(id_)], output_value="token_embeddings") for id_ in texts]
    found = cenote.socm([states[0]], [states[1]])
    assert worst.socm == pytest.approx(found.socm.item(), abs=1e-5)
    assert worst.socm == max(pair.socm for pair in (*plain.pairs.shown, *plain.pairs.worst))
    assert plain.pairs.socm.count == plain.pairs.pairs == plain.pairs.texts * (plain.pairs.texts - 1) // 2
    assert len(plain.layers) == 6
    assert {part.count for part in plain.passed} != {0}
    assert sum(part.count for part in plain.passed) == plain.traced == 24


def test_the_model_is_left_as_it_was(demo):
    plain = demo.encode(["a pool"])
    cenote.diagnose(demo, CORPUS[:10], quick=True, temperatures=[0.5], layers=False)
    assert np.array_equal(demo.encode(["a pool"]), plain)
    assert not any(module._forward_hooks for module in demo.modules())


class Prescribed(BertModel):
    """Gives each token the state that `plan(texts, tokens, lengths)` prescribes: no attention is asked."""

    plan = None

    def forward(self, input_ids, attention_mask, **_):
        states = torch.zeros(*input_ids.shape, self.config.hidden_size)
        for row, (ids, mask) in enumerate(zip(input_ids, attention_mask, strict=True)):
            generator = torch.Generator().manual_seed(int(ids.sum()))
            states[row, : int(mask.sum())] = self.plan(generator, int(mask.sum()), self.config.hidden_size)
        return BaseModelOutputWithPooling(last_hidden_state=states)


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
        (healthy, "none", "none", "none"),
        (length_collapsed, "severe", "none", "slight"),
        # All embeddings are one there, and no two can lie closer than others.
        (second_order_collapsed, "unknown", "severe", "severe"),
    ],
)
def test_what_was_planted_is_found_and_nothing_else(plan, length, second_order, closeness, demo):
    model = copy.deepcopy(demo)
    model[0].model.__class__ = Prescribed
    Prescribed.plan = staticmethod(plan)
    words = [text.split() for text in CORPUS if len(text.split()) > 2]
    texts = [" ".join((words[row] * 20)[: 3 + row]) for row in range(100)]
    found = cenote.diagnose(model, texts, layers=False, quick=True)
    grades = {verdict.subject: verdict.grade for verdict in found.verdicts}
    assert grades["length collapse"] == length
    assert grades["second-order collapse"] == second_order
    assert grades["truncation"] == "none"
    assert grades["closeness"] == closeness


def test_several_models_side_by_side(demo_path):
    found = cenote.diagnose(["minilm", "minilm"], CORPUS[:30], layers=False, quick=True, names=["one", "two"])
    one, two = found.models
    assert (one.name, two.name) == ("one", "two")
    assert one.runs == two.runs
    assert one.fingerprint == two.fingerprint
    assert [v.model for v in found.verdicts if v.subject == "truncation"] == ["one", "two"]
    same = cenote.diagnose(["minilm", "minilm"], CORPUS[:5], layers=False, quick=True)
    assert [model.name for model in same.models] == ["minilm (1)", "minilm (2)"]


def test_given_pairs(demo):
    pairs = [("a pool", "a pond"), ("a cave", "the roof of a cave fell in")]
    found = cenote.diagnose(demo, CORPUS[:20], pairs=pairs, layers=False, quick=True)
    own = found.models[0].runs[0].given_pairs
    assert (own.pairs, own.texts) == (2, 4)
    states = [
        [demo.encode(text, output_value="token_embeddings") for text in side] for side in zip(*pairs, strict=True)
    ]
    assert sorted(pair.socm for pair in own.worst) == pytest.approx(
        sorted(cenote.socm(*states).socm.tolist()), abs=1e-5
    )


def test_few_texts_and_odd_ones_give_a_partial_report(demo):
    for texts, finding in (
        (["one text only"], "One text is too few to generalise: the findings may describe nothing else."),
        (["the same"] * 30, "All texts are the same."),
        (["a pool", "", "   ", "a cave"], "2 empty texts were left out."),
        (["four words in one"] * 20 + ["five words in one too"] * 20, "Only 2 of 40 texts are different."),
        (["word " * 300 + str(row) for row in range(25)], "16 % of your texts' tokens are never read by this model."),
    ):
        found = cenote.diagnose(demo, texts, quick=True)
        assert finding in [verdict.finding for verdict in found.verdicts], texts[0][:40]
        assert Diagnosis.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {}, "there are no texts in 'texts'"),
        (["", " \n"], {}, "all 2 texts are empty"),
        ("one string", {}, "texts is one string: pass a list"),
        ([3], {}, "row 0: the text is int 3, not a string"),
        ([("a", 3)], {}, "row 0: the text is int 3"),
        (["a\ud800"], {}, "row 0: lone surrogate"),
        (["a"], {"seed": -1}, "seed=-1: pass a whole number"),
        (["a"], {"sample": 0}, "sample=0: pass a whole number"),
        (["a"], {"temperatures": [0]}, "temperature is 0"),
        (["a"], {"temperatures": "0.8"}, "pass a list of numbers"),
        (["a"], {"temperatures": [{"query": 1, "document": 0.9}]}, "is no number; diagnose takes numbers"),
        (["a"], {"pairs": [("a", "b"), ("a", 3)]}, r"pair 1 is \('a', 3\): pass two texts"),
        (["a"], {"pairs": ["ab"]}, "pair 0 is 'ab': pass two texts"),
        (["a"], {"names": ["x", "y"]}, "2 names for 1 models"),
    ],
)
def test_bad_input_is_refused_before_anything_is_read(texts, options, message, demo):
    with pytest.raises(BadInput, match=message):
        cenote.diagnose(demo, texts, **options)


def test_no_model():
    with pytest.raises(BadInput, match="no model: name at least one"):
        cenote.diagnose([], ["a"])
    with pytest.raises(BadInput, match="no such folder"):
        cenote.diagnose("./nowhere", ["a"])


def test_a_model_that_cannot_be_traced_is_diagnosed_without_its_layers(demo):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Router, StaticEmbedding

    router = Router.for_query_document([demo[0], Pooling(384)], [copy.deepcopy(demo[0]), Pooling(384)])
    found = cenote.diagnose(SentenceTransformer(modules=[router]), CORPUS[:25], quick=True)
    run = found.models[0].runs[0]
    assert "holds 2 transformers" in run.untraced
    assert run.layers == ()
    assert "layers" in [verdict.subject for verdict in found.verdicts]
    static = SentenceTransformer(modules=[StaticEmbedding(demo.tokenizer.backend_tokenizer, embedding_dim=8)])
    with pytest.raises(UnsupportedModel, match="starts with StaticEmbedding, which gives no"):
        cenote.diagnose(static, CORPUS[:25])


@pytest.mark.parametrize("tau", [0.8, 1e-300])
def test_a_temperature_that_cannot_be_is_told_before_the_work(tau, demo, monkeypatch):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    monkeypatch.setattr("cenote.diagnosis.diagnose.count_tokens", lambda *_, **__: pytest.fail("texts were read"))
    static = SentenceTransformer(modules=[StaticEmbedding(demo.tokenizer.backend_tokenizer, embedding_dim=8)])
    model = demo if tau < 0.1 else static
    with pytest.raises(CenoteError, match=rf" at temperature {tau:g} \(--temperatures\): "):
        cenote.diagnose(model, CORPUS[:25], temperatures=[tau])


def test_a_second_model_that_cannot_be_loaded_is_told_before_the_first_is_read(demo, tmp_path, monkeypatch):
    monkeypatch.setattr("cenote.diagnosis.diagnose.count_tokens", lambda *_, **__: pytest.fail("texts were read"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CenoteError, match="cannot load"):
        cenote.diagnose([demo, tmp_path], CORPUS[:25])


def test_a_temperature_in_the_weights_is_told(demo_path):
    baked = cenote.bake(cenote.load(demo_path, device="cpu"), 0.8)
    found = cenote.diagnose(baked, CORPUS[:25], layers=False, quick=True, temperatures=[1.0, 0.5]).models[0]
    assert found.temperature == "0.8 in the weights"
    assert [run.temperature for run in found.runs] == ["0.8 in the weights", "0.5, and 0.8 in the weights"]


def test_dimensions_that_are_cut_off_do_not_count(demo):
    short = copy.deepcopy(demo)
    short.truncate_dim = 64
    found = cenote.diagnose(short, CORPUS[:25], layers=False, quick=True).models[0]
    assert found.dimensions == 64
    vectors = short.encode(CORPUS[:25]).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = [vectors[i] @ vectors[j] for i in range(25) for j in range(i)]
    assert found.runs[0].length.bins[0].cosine.value == pytest.approx(np.mean(cosines), abs=1e-5)


@pytest.mark.parametrize("pooling", ["landmark", "cls", "lasttoken"])
def test_other_poolings(pooling, demo_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CenoteWarning)
        model = cenote.load(demo_path, pooling=pooling, device="cpu")
    found = cenote.diagnose(model, CORPUS[:25], quick=True).models[0]
    assert found.pooling == pooling
    assert len(found.runs[0].layers) == 6


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_other_architectures(kind, tiny_st):
    found = cenote.diagnose(str(tiny_st(kind)), CORPUS[:25], quick=True)
    assert Diagnosis.from_json(found.to_json()) == found
    assert len(found.models[0].runs[0].layers) >= 2


def test_a_tempered_model_is_diagnosed_as_it_is_first(demo):
    with cenote.temper(demo, 0.5):
        found = cenote.diagnose(demo, CORPUS[:25], layers=False, quick=True, temperatures=[1.0, 0.5, 0.8])
    runs = found.models[0].runs
    assert [run.temperature for run in runs] == ["0.5", "1", "0.8"]
    plain = cenote.diagnose(demo, CORPUS[:25], layers=False, quick=True).models[0].runs[0]
    assert runs[1].length == plain.length
    assert runs[0].length != plain.length


def test_a_model_that_fails_while_it_is_traced_is_read_again_without(demo, monkeypatch):
    def broken(*_):
        raise UnsupportedModel("no attention of tokens to tokens")

    monkeypatch.setattr("cenote.encoding.reading.Profiler.__call__", broken)
    run = cenote.diagnose(demo, CORPUS[:25], quick=True).models[0].runs[0]
    assert run.untraced == "no attention of tokens to tokens"
    assert run.pairs.texts == 25


def test_pairs_that_say_nothing_leave_the_rest(demo_path):
    found = cenote.diagnose("minilm", CORPUS[:30], pairs=[("a", ""), ("", "b")], layers=False, quick=True)
    assert found.models[0].runs[0].given_pairs is None
    (left,) = [verdict for verdict in found.verdicts if verdict.subject == "texts"]
    assert left.finding == "2 pairs were left out of the given pairs."
    assert left.evidence == "2 (pair 0, pair 1): an empty side."
    assert Diagnosis.from_json(found.to_json()) == found
