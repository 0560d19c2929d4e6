"""Live = baked = oracle for every family; nothing else changes; bad input is refused."""

import copy
import json
import math
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Router, StaticEmbedding
from transformers import AutoModel

import cenote
from cenote.errors import BadInput, UnsupportedModel
from cenote.functional.temperature import LengthTemperature
from cenote.nn import LandmarkTransformer
from cenote.surgery.tempering import bake, temper

TAU = 0.7  # no power of two, which would round nowhere
BY_LENGTH = LengthTemperature("log", s=0.55)
TEXTS = ["a pool", "the deep cave holds light, and stone, and water " * 6, "collapse", "a query about two documents."]


def far(a, b):
    return (a - b).abs().max().item()


@pytest.mark.parametrize("side", ["right", *(pytest.param(one, marks=pytest.mark.broad) for one in ("left", None))])
def test_live_and_baked_equal_the_oracle(family, side, network, variants, batch, read, oracle):
    features, plain = batch(side), network(family)
    taus = BY_LENGTH(features["attention_mask"].sum(1))
    untempered = read(plain, features)
    with oracle(TAU):
        expected = read(plain, features)
    with oracle(taus):
        expected_by_length = read(plain, features)
    assert far(untempered, expected) > 0.01
    for attention in variants(family):
        model = network(family, attention)
        before = read(model, features)
        baked = bake(model, TAU)
        assert far(read(baked, features), expected) < 1e-5
        with temper(model, TAU):
            assert far(read(model, features), expected) < 1e-5
        with temper(model, BY_LENGTH):
            assert far(read(model, features), expected_by_length) < 1e-5
        for one in (1, LengthTemperature("power", scale=1, exponent=0)):
            with temper(model, one):
                assert torch.equal(read(model, features), before)
        assert torch.equal(read(model, features), before)


def test_tiny_temperatures_and_rows_without_a_token_stay_finite(family, network, variants, batch, read):
    features = batch()
    features["attention_mask"][2] = 0
    for attention in variants(family):
        model = network(family, attention)
        with torch.no_grad():
            finite = model(**features)[0].isfinite().all()
            for tau in (0.05, LengthTemperature("power", scale=0.05, exponent=0.1)):
                with temper(model, tau):
                    assert model(**features)[0].isfinite().all() or not finite


def test_half_precision_is_as_exact_as_without_a_temperature(family, network, variants, batch, read, oracle):
    features = batch()
    for attention in variants(family):
        model = network(family, attention).to(torch.bfloat16)
        exact = network(family)
        exact.load_state_dict(model.state_dict())
        rounding = (read(model, features).float() - read(exact, features)).abs().mean()
        with oracle(TAU):
            expected = read(exact, features)
        baked = read(bake(model, TAU), features).float()
        with temper(model, TAU):
            live = read(model, features)
        assert live.dtype == torch.bfloat16
        for result in (live.float(), baked):
            assert (result - expected).abs().mean() < 2 * rounding + 1e-3


def test_a_baked_model_is_unchanged_by_saving(family, network, batch, read, tmp_path):
    baked = bake(network(family), TAU)
    baked.save_pretrained(tmp_path)
    again = type(baked).from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert far(read(again, batch()), read(baked, batch())) < 1e-6


def test_copies_and_pickles_stay_tempered(family, network, batch, read):
    model = network(family)
    plain = read(model, batch())
    temper(model, BY_LENGTH)
    tempered = read(model, batch())
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301  our own bytes
        assert torch.equal(read(copied, batch()), tempered)
        temper(copied, 1)  # a copy has no handle of its own: tempering it anew replaces what it came with
        assert torch.equal(read(copied, batch()), plain)
    assert torch.equal(read(model, batch()), tempered)


@pytest.mark.parametrize("name", ["bert", "t5", "mpnet", "deberta-v3", "modernbert", "qwen3"])
def test_threads_do_not_mix_their_batches(name, network, batch, read):
    model = network(name)
    temper(model, BY_LENGTH)
    batches = [batch(), {key: value[1:, :7] for key, value in batch().items()}]
    expected = [read(model, features) for features in batches]

    def work(which):
        return all(torch.equal(read(model, batches[which]), expected[which]) for _ in range(15))

    with ThreadPoolExecutor() as threads:
        assert all(threads.map(work, (0, 1)))


@pytest.mark.parametrize("name", ["bert", "t5", "mpnet", "deberta-v2"])
def test_single_layers(name, network, batch, read):
    model, features = network(name), batch()
    plain = read(model, features)
    results = []
    for layers in ([0], [1], [1, 0, 1]):
        with temper(model, TAU, layers=layers):
            results.append(read(model, features))
    with temper(model, TAU):
        everywhere = read(model, features)
    assert torch.equal(results[2], everywhere)
    assert all(far(a, b) > 1e-3 for a, b in [(results[0], results[1]), (results[0], everywhere), (results[1], plain)])
    # The first layer alone: what its own hidden state is when all are tempered.
    with torch.no_grad(), temper(model, TAU):
        everywhere = model(**features, output_hidden_states=True).hidden_states[1]
    with torch.no_grad(), temper(model, TAU, layers=[0]):
        assert torch.equal(model(**features, output_hidden_states=True).hidden_states[1], everywhere)


@pytest.mark.parametrize("name", ["t5", "mpnet"])
def test_a_position_bias_can_be_excluded(name, network, batch, read):
    model, features = network(name), batch()
    with temper(model, TAU):
        whole = read(model, features)
    with temper(model, TAU, scale_bias=False):
        queries = read(model, features)
    assert far(whole, queries) > 1e-3
    assert far(read(bake(model, TAU, scale_bias=False), features), queries) < 1e-5


def test_a_query_norm_does_not_undo_the_temperature(network, batch, read):
    model, features = network("qwen3"), batch()
    plain = read(model, features)
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attn.q_proj.weight.div_(0.5)
    assert far(read(model, features), plain) < 1e-4  # what tempering would be if it went by the projection
    with temper(model, 0.5):
        assert far(read(model, features), plain) > 0.01


def test_tempering_again_replaces(network, batch, read, hooks_on):
    model = network("bert")
    plain = read(model, batch())
    with temper(model, TAU):
        expected = read(model, batch())
    old = temper(model, 0.1)
    new = temper(model, TAU)
    assert torch.equal(read(model, batch()), expected)
    old.remove()  # takes nothing off that is another's, and does not come back either
    assert torch.equal(read(model, batch()), expected)
    with pytest.raises(BadInput, match="no layer 7"):
        temper(model, 0.1, layers=[7])
    assert torch.equal(read(model, batch()), expected)
    assert far(read(bake(model, TAU), batch()), expected) < 1e-5  # not both
    new.remove()
    new.remove()
    assert torch.equal(read(model, batch()), plain)
    assert not hooks_on(model)


@pytest.mark.parametrize("name", ["bert", "deberta-v3"])
def test_removing_restores_the_earlier_temperature(name, network, batch, read):
    model = network(name)
    plain = read(model, batch())
    with temper(model, 0.5):
        outer = read(model, batch())
        with temper(model, BY_LENGTH):
            assert far(read(model, batch()), outer) > 1e-3
            with temper(model, 1):
                assert torch.equal(read(model, batch()), plain)
        assert torch.equal(read(model, batch()), outer)
    assert torch.equal(read(model, batch()), plain)


def test_a_temperature_of_one_adds_no_hooks(minilm, hooks_on):
    temper(minilm, 1)
    assert len(minilm) == 3
    assert not hooks_on(minilm)


def test_weights_modes_and_random_state_stay_unchanged(network):
    model = network("bert").train()
    model.encoder.layer[0].eval()
    modes = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    temper(model, TAU)
    bake(model, TAU)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gradients_flow(network, batch):
    live, baked = network("bert"), bake(network("bert"), TAU)
    temper(live, TAU)
    grads = []
    for model in (live, baked):
        model(**batch())[0].square().mean().backward()
        grads.append(model.encoder.layer[0].attention.self.key.weight.grad)
    assert far(*grads) < 1e-5


@pytest.fixture
def minilm(demo):
    return copy.deepcopy(demo)


def test_demo_live_equals_baked_and_one_equals_plain(minilm, tmp_path):
    plain = minilm.encode(TEXTS, convert_to_tensor=True)
    baked = bake(minilm, 0.8)
    folded = baked.encode(TEXTS, convert_to_tensor=True)
    assert torch.equal(minilm.encode(TEXTS, convert_to_tensor=True), plain)
    with temper(minilm, 0.8):
        live = minilm.encode(TEXTS, convert_to_tensor=True)
        assert far(bake(minilm, 0.8).encode(TEXTS, convert_to_tensor=True), folded) == 0
    assert far(live, folded) < 1e-6
    assert far(live, plain) > 0.01
    with temper(minilm, 1):
        assert torch.equal(minilm.encode(TEXTS, convert_to_tensor=True), plain)
    assert torch.equal(minilm.encode(TEXTS, convert_to_tensor=True), plain)
    baked.save(str(tmp_path))
    again = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    assert torch.equal(again.encode(TEXTS, convert_to_tensor=True), folded)


def test_demo_by_length_a_batch_equals_single_texts(minilm):
    with temper(minilm, BY_LENGTH):
        together = minilm.encode(TEXTS, convert_to_tensor=True)
        alone = torch.stack([minilm.encode(text, convert_to_tensor=True) for text in TEXTS])
    assert far(together, alone) < 1e-6
    for text, vector in zip(TEXTS, alone, strict=True):
        length = minilm.preprocess([text])["attention_mask"].sum()
        with temper(minilm, BY_LENGTH(length).item()):
            assert far(minilm.encode(text, convert_to_tensor=True), vector) < 1e-6


def test_demo_roles(minilm):
    by_role = {"query": 0.6, "document": LengthTemperature("linear", start=1, end=0.8, shortest=4, longest=40)}
    expected = {}
    for role, temperature in by_role.items():
        with temper(minilm, temperature):
            expected[role] = minilm.encode(TEXTS, convert_to_tensor=True)
    with temper(minilm, by_role):
        assert torch.equal(minilm.encode_query(TEXTS, convert_to_tensor=True), expected["query"])
        assert torch.equal(minilm.encode_document(TEXTS, convert_to_tensor=True), expected["document"])
        assert torch.equal(minilm.encode(TEXTS, convert_to_tensor=True), expected["document"])


def test_demo_in_other_processes(minilm):
    temper(minilm, {"query": 0.6, "document": BY_LENGTH})
    pool = minilm.start_multi_process_pool(["cpu"])
    try:
        spawned = minilm.encode_query(TEXTS, pool=pool, convert_to_tensor=True)
    finally:
        minilm.stop_multi_process_pool(pool)
    assert far(spawned, minilm.encode_query(TEXTS, convert_to_tensor=True)) < 1e-6


@pytest.mark.parametrize("temperature", [0.8, BY_LENGTH, {"query": 0.6, "document": BY_LENGTH}])
def test_a_tempered_model_is_saved_with_its_temperature(temperature, minilm, tmp_path):
    text, data = minilm._model_card_text, vars(minilm.model_card_data).keys()
    plain = minilm.encode(TEXTS, convert_to_tensor=True)
    handle = temper(minilm, temperature)
    expected = [encode(TEXTS, convert_to_tensor=True) for encode in (minilm.encode_query, minilm.encode_document)]
    minilm.save(str(tmp_path))
    assert "Loading this model needs Cenote" in (tmp_path / "README.md").read_text("utf-8")
    again = cenote.load(tmp_path, device="cpu")
    with temper(again, 0.3):
        pass
    for encode, vectors in zip((again.encode_query, again.encode_document), expected, strict=True):
        assert far(encode(TEXTS, convert_to_tensor=True), vectors) < 1e-6
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "its logits are divided by" in card
    with pytest.raises(BadInput, match=r"saved with an attention temperature: load it with cenote\.load"):
        SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True, trust_remote_code=True).encode("a")
    handle.remove()
    assert [type(module).__module__.split(".")[0] for module in minilm] == ["sentence_transformers"] * 3
    assert minilm._model_card_text == text
    assert vars(minilm.model_card_data).keys() == data
    assert torch.equal(minilm.encode(TEXTS, convert_to_tensor=True), plain)
    assert far(bake(again, 1).encode(TEXTS, convert_to_tensor=True), plain) < 1e-6


@pytest.mark.parametrize("temperature", [0.8, BY_LENGTH])
def test_a_bare_model_is_saved_with_its_temperature(temperature, minilm, tmp_path):
    network, features = minilm[0].model, minilm.preprocess(TEXTS)
    features = {key: features[key] for key in ("input_ids", "attention_mask")}
    pooled = lambda: cenote.pool(network(**features)[0], features["attention_mask"], "mean").detach()  # noqa: E731
    plain = pooled()
    handle = temper(network, temperature, layers=[0, 3])
    expected = pooled()
    network.save_pretrained(tmp_path)
    minilm.tokenizer.save_pretrained(tmp_path)
    again = cenote.load(tmp_path, pooling="mean", device="cpu")
    assert far(again.encode(TEXTS, convert_to_tensor=True), expected) < 1e-6
    assert "cenote_temperature" in [name for name, _ in again.named_children()]
    untempered = cenote.load(tmp_path, pooling="mean", temperature=1, device="cpu")
    assert far(untempered.encode(TEXTS, convert_to_tensor=True), plain) < 1e-6
    assert "cenote_temperature" not in vars(network.config)  # which other models may have too
    handle.remove()
    network.save_pretrained(tmp_path / "plain")
    assert "cenote" not in (tmp_path / "plain" / "config.json").read_text()


@pytest.mark.parametrize("whole", [False, True])
def test_a_temperature_that_was_read_from_a_file_is_not_saved_again(whole, minilm, tmp_path):
    plain = minilm.encode(TEXTS, convert_to_tensor=True)
    temper(minilm, 0.5)
    minilm.save(str(tmp_path / "tempered"))
    if whole:
        cenote.load(tmp_path / "tempered", temperature=1, device="cpu").save(str(tmp_path / "plain"))
        again = cenote.load(tmp_path / "plain", device="cpu")
        assert far(again.encode(TEXTS, convert_to_tensor=True), plain) < 1e-6
    else:
        bake(AutoModel.from_pretrained(tmp_path / "tempered"), 0.8).save_pretrained(tmp_path / "plain")
    config = json.loads((tmp_path / "plain" / "config.json").read_text("utf-8"))
    assert "cenote_temperature" not in config


def test_readers_that_share_a_network_are_tempered_and_baked_once(minilm, tmp_path):
    with temper(minilm, 0.5):
        expected = minilm.encode(TEXTS, convert_to_tensor=True)
    reader, pooling, _ = minilm
    documents = LandmarkTransformer.adopt(reader)
    router = SentenceTransformer(
        modules=[Router.for_query_document([reader, pooling], [documents, pooling]), minilm[2]], device="cpu"
    )
    assert far(router.encode_document(TEXTS, convert_to_tensor=True), expected) > 0.01
    with temper(router, 0.5):
        live = router.encode_document(TEXTS, convert_to_tensor=True)
        assert far(router.encode_query(TEXTS, convert_to_tensor=True), expected) < 1e-6
        router.save(str(tmp_path))
    assert far(cenote.load(tmp_path, device="cpu").encode_document(TEXTS, convert_to_tensor=True), live) < 1e-6
    baked = bake(router, 0.5)
    assert far(baked.encode_query(TEXTS, convert_to_tensor=True), expected) < 1e-5
    assert baked[0].sub_modules["query"][0].model.config.cenote_baked_temperature == 0.5


def test_a_route_without_attention_stays_as_it_is(minilm, tmp_path):
    static = StaticEmbedding(copy.deepcopy(minilm.tokenizer.backend_tokenizer), embedding_dim=384)
    router = Router.for_query_document([static], list(minilm)[:2])
    model = SentenceTransformer(modules=[router, minilm[2]], device="cpu")
    queries, documents = (encode(TEXTS, convert_to_tensor=True) for encode in (model.encode_query, model.encode))
    temper(model, {"query": 0.5, "document": 0.6})
    model.save(str(tmp_path))
    for tempered in (model, cenote.load(tmp_path, device="cpu")):
        assert torch.equal(tempered.encode_query(TEXTS, convert_to_tensor=True), queries)
        assert far(tempered.encode(TEXTS, convert_to_tensor=True), documents) > 0.01


@pytest.mark.parametrize("headed", [False, True])
def test_layers_are_saved_with_the_temperature_also_under_a_new_head(headed, minilm, tmp_path):
    temper(minilm, 0.5, layers=[0, 3])
    (SentenceTransformer(modules=list(minilm)[:3]) if headed else minilm).save(str(tmp_path))
    again = cenote.load(tmp_path, device="cpu")
    assert far(again.encode(TEXTS, convert_to_tensor=True), minilm.encode(TEXTS, convert_to_tensor=True)) < 1e-6


def test_a_replaced_transformer_is_refused(minilm, demo):
    handle = temper(minilm, 0.5)
    minilm[0] = copy.deepcopy(demo[0])
    with pytest.raises(BadInput, match=r"replaced and is not tempered: call cenote\.temper again"):
        minilm.encode("a")
    handle.remove()
    assert len(minilm) == 3
    assert torch.equal(minilm.encode(TEXTS, convert_to_tensor=True), demo.encode(TEXTS, convert_to_tensor=True))


def test_part_of_a_tempered_model_cannot_be_tempered_alone(minilm):
    handle = temper(minilm, 0.5)
    expected = minilm.encode(TEXTS, convert_to_tensor=True)
    with pytest.raises(BadInput, match="this BertModel is part of a tempered SentenceTransformer"):
        temper(minilm[0].model, 0.8)
    assert torch.equal(minilm.encode(TEXTS, convert_to_tensor=True), expected)
    handle.remove()
    inner = temper(minilm[0].model, 0.8)
    temper(minilm, 0.5)
    inner.remove()
    assert torch.equal(minilm.encode(TEXTS, convert_to_tensor=True), expected)


@pytest.mark.parametrize("text", [None, "---\ntags:\n- x\n---\n# A model\n"])
def test_the_card_of_a_baked_model_states_the_temperature(text, minilm, tmp_path):
    minilm._model_card_text = text
    twice = bake(bake(minilm, 0.9), 0.8)
    twice.save(str(tmp_path))
    card = (tmp_path / "README.md").read_text("utf-8")
    assert card.count("changed with Cenote: the attention temperature 0.72 is folded into them.**") == 1
    assert card.count("changed with Cenote") == 1
    assert "needs Cenote" not in card
    assert minilm._model_card_text == text


@pytest.mark.parametrize("temperature", [0, -1, math.nan, {"query": 0.5}, {"query": 1, "passage": 1}, 1e-39, "hot"])
def test_bad_temperatures_leave_the_model_unchanged(temperature, network, hooks_on):
    model = network("bert")
    for verb in (temper, bake):
        with pytest.raises(BadInput, match=r"temperature is|by role needs 'query' and 'document'|not finite"):
            verb(model, temperature)
    assert not hooks_on(model)


ROLES = {"query": 0.8, "document": 0.9}


@pytest.mark.parametrize(
    ("name", "temperature", "layers", "message"),
    [
        ("bert", TAU, [2], "no layer 2; the model has layers 0 to 1"),
        ("bert", TAU, [-1], "no layer -1"),
        ("bert", TAU, [], "name at least one layer"),
        ("bert", TAU, [True], "True"),
        ("bert", TAU, 1, "layers=1: pass a list of layer numbers"),
        ("bert", TAU, "0", "layers='0': pass a list"),
        ("albert", TAU, [0], r"the layers of this model share one attention, encoder\.albert_layer_groups"),
        ("bert", ROLES, None, "roles need a SentenceTransformer, and this is a BertModel"),
    ],
)
def test_layers_and_roles_that_the_model_does_not_have_are_refused(
    name, temperature, layers, message, network, hooks_on
):
    model = network(name)
    with pytest.raises(BadInput, match=message):
        temper(model, temperature, layers=layers)
    assert not hooks_on(model)


def test_a_compiled_model_is_refused(network):
    model = network("bert")
    model.compile(backend="eager")
    for verb in (temper, bake):
        with pytest.raises(UnsupportedModel, match="is compiled: temper the model first"):
            verb(model, TAU)


@pytest.mark.parametrize("name", ["bert", "deberta-v3"])
def test_a_tempered_model_can_be_compiled(name, network, batch, read):
    model = network(name)
    temper(model, TAU)
    expected = read(model, batch())
    model.compile(backend="eager")
    assert far(read(model, batch()), expected) < 1e-5


def test_an_interrupted_pass_restores_softmax(network, batch):
    model, values = network("deberta-v3"), torch.tensor([1.0, 2.0, 3.0])
    expected = values.softmax(0)
    temper(model, 0.5)

    def press(*_):
        raise KeyboardInterrupt

    handle = model.encoder.layer[1].attention.self.value_proj.register_forward_hook(press)
    with pytest.raises(KeyboardInterrupt):
        model(**batch())
    handle.remove()
    assert torch.equal(values.softmax(0), expected)


def test_tempering_while_others_read(network, batch, read):
    model, features, stop = network("bert"), batch(), threading.Event()
    expected = read(model, features)

    def work():
        same = True
        while not stop.is_set():
            same &= torch.equal(read(model, features), expected)
        return same

    with ThreadPoolExecutor() as threads:
        others = [threads.submit(work) for _ in range(2)]
        try:
            for _ in range(5):
                bake(model, TAU)  # reads the model in this thread while they read it in theirs
                temper(model, 1)
        finally:
            stop.set()
        assert all(other.result() for other in others)
    assert torch.equal(read(network("bert"), features), expected)


@pytest.mark.parametrize("shared", ["query", "layer"])
def test_a_shared_projection_is_divided_once(shared, network, batch, read, oracle):
    model, features = network("bert"), batch()
    if shared == "query":
        model.encoder.layer[1].attention.self.query = model.encoder.layer[0].attention.self.query
    else:
        model.encoder.layer[1].attention.self.query.weight = model.encoder.layer[0].attention.self.query.weight
    with oracle(TAU):
        expected = read(model, features)
    assert far(read(bake(model, TAU), features), expected) < 1e-5
    with temper(model, TAU):
        assert far(read(model, features), expected) < 1e-5
    if shared == "query":
        with pytest.raises(BadInput, match="shares a projection with one of them: name both or neither"):
            temper(model, TAU, layers=[1])


def test_a_user_hook_sees_the_untempered_query(network, batch, read):
    model, seen = network("bert"), []
    query = model.encoder.layer[0].attention.self.query
    query.register_forward_hook(lambda _module, _args, out: seen.append(out) and None)
    plain = read(model, batch())
    with temper(model, TAU):
        seen.clear()
        assert far(read(model, batch()), plain) > 1e-3
    read(model, batch())
    assert torch.equal(seen[0], seen[1])


def test_bfloat16_is_proven_layer_by_layer(minilm):
    half = minilm.to(torch.bfloat16)
    half[0].model.encoder.layer[5].output.LayerNorm.weight.data[7] = 10.0  # an outlier, as XLM-R has them
    plain = half.encode(TEXTS, convert_to_tensor=True)
    for layer in range(6):
        with temper(half, 0.5, layers=[layer]):
            assert far(half.encode(TEXTS, convert_to_tensor=True), plain) > 0


def test_baking_without_effect_is_refused(minilm, monkeypatch):
    monkeypatch.setattr("cenote.surgery.tempering._divide", lambda *_: None)
    for model in (minilm, minilm.to(torch.bfloat16)):
        with pytest.raises(UnsupportedModel, match="the weights of BertModel do not take the temperature"):
            bake(model, 0.8)


def test_gradient_checkpointing_works_with_a_constant_only(network, batch):
    model = network("bert").train()
    model.gradient_checkpointing_enable()
    temper(model, TAU)
    model(**batch())[0].square().mean().backward()
    assert model.encoder.layer[0].attention.self.key.weight.grad.isfinite().all()
    temper(model, BY_LENGTH)
    with pytest.raises(UnsupportedModel, match="works with a constant temperature only"):
        model(**batch())[0].square().mean().backward()


def test_models_without_attention_are_refused(network, demo):
    with pytest.raises(BadInput, match="a Linear is neither a SentenceTransformer nor a transformers model"):
        temper(torch.nn.Linear(2, 2), 0.8)
    static = SentenceTransformer(modules=[StaticEmbedding(demo.tokenizer.backend_tokenizer, embedding_dim=8)])
    for verb in (temper, bake):
        with pytest.raises(UnsupportedModel, match="starts with StaticEmbedding and holds no Transformer module"):
            verb(static, 0.8)
        with pytest.raises(UnsupportedModel, match="no attention found in FNetModel"):
            verb(network("FNetModel"), 0.8)


@pytest.mark.parametrize(("kind", "temperature"), [("length", BY_LENGTH), ("role", ROLES)])
def test_temperatures_by_length_or_role_cannot_be_baked(kind, temperature, minilm):
    with pytest.raises(BadInput, match=rf"by {kind} cannot be folded .* saving the model stores it as configuration"):
        bake(minilm, temperature)


def test_a_temperature_without_effect_is_refused(network, hooks_on):
    model = network("bert")
    for layer in model.encoder.layer:
        torch.nn.init.zeros_(layer.attention.self.query.weight)
        torch.nn.init.zeros_(layer.attention.self.query.bias)
    with pytest.raises(UnsupportedModel, match=r"tempering bert.BertSelfAttention did not change the output"):
        temper(model, TAU)
    assert not hooks_on(model)
