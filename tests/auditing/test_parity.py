"""`parity`: faults planted in a server are found and named, and none on a sound server; bad servers are explained."""

import json

import numpy as np
import pytest

import cenote
from cenote.auditing import endpoint_requests
from cenote.auditing.causes_trials import without_special_tokens
from cenote.auditing.parity import parity
from cenote.auditing.parity_findings import (
    Sides,
    explain_norms,
    explain_order,
    explain_rounding,
    explain_ways,
    summarise_way,
)
from cenote.auditing.parity_remedies import remedy_of
from cenote.auditing.parity_sides import ALONE, Answers, plan_ways
from cenote.errors import BadInput, CenoteError, UnknownName
from cenote.parity_records import Parity
from cenote.report.parity import to_html, to_markdown

from .. import fakes
from ..loopback import allow_loopback
from ..words import WORDS
from . import servers
from .servers import App, serving


@pytest.fixture(autouse=True)
def loopback(no_network, monkeypatch):
    allow_loopback(monkeypatch)


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Record how long the client would wait, and do not wait."""
    found = []
    monkeypatch.setattr(endpoint_requests, "pause_for", lambda seconds, _: found.append(seconds))
    return found


@pytest.fixture(scope="module")
def folder(tiny_st):
    """A model whose texts are cut at 64 tokens, with a Dense after the pooling, and a default prompt."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    torch.manual_seed(1)
    folder = tiny_st(
        "bert", Dense(32, 32), Normalize(), prompts={"query": "query: ", "document": ""}, default_prompt_name="query"
    )
    path = folder / "sentence_bert_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_seq_length": 64}))
    return folder


@pytest.fixture
def load(folder):
    from sentence_transformers import SentenceTransformer

    return lambda: SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def texts():
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, size=size)) for size in np.linspace(3, 110, 60).astype(int)]


def compare(*args, **kwargs):
    return parity(*args, quick=True, **kwargs)


def kinds(found):
    return [part for one in found.findings for part in one.kind.split(" and ")]


@pytest.mark.parametrize("dialect", ["openai", "tei"])
def test_a_sound_server_agrees_and_is_accused_of_nothing(load, texts, dialect):
    with serving(App(load(), [dialect])) as url:
        found = compare(load(), url, texts)
    assert (found.agrees, found.findings, found.cause) == (True, (), None)
    assert found.least_cosine > 0.99999
    assert found.right.kind == dialect
    assert found.complete
    assert found.compared == len(texts)
    assert found.neighbours.value == 1.0
    assert [way.changed for way in found.ways] == [0, 0, 0, 0]
    assert "8 requests at once" in [way.name for way in found.ways]
    assert found.norm_ratio == pytest.approx((1, 1, 1), abs=1e-5)
    assert Parity.from_json(found.to_json()) == found
    assert len(repr(found).splitlines()) == 2


def test_another_local_model_agrees_with_itself(load, texts):
    found = compare(load(), load(), texts)
    assert found.agrees
    assert [way.name for way in found.ways] == ["each text alone", "batches of texts of one length"]


def repooled(name):
    def change(model):
        from cenote.models.repooling import repool

        return repool(model, name)

    return change


def without(kind):
    def change(model):
        for name, module in list(model._modules.items()):
            if type(module).__name__ == kind:
                del model._modules[name]
        return model

    return change


def having(**attributes):
    def change(model):
        for name, value in attributes.items():
            setattr(model, name, value)
        return model

    return change


def same(model):
    return model


def rounded(model):
    return model.bfloat16()


FAULTS = {
    "pooling cls": (repooled("cls"), App, "pooling", "with pooling `cls`, not `mean`"),
    "pooling max": (repooled("max"), App, "pooling", "with pooling `max`, not `mean`"),
    "pooling lasttoken": (repooled("lasttoken"), App, "pooling", "with pooling `lasttoken`, not `mean`"),
    "pooling weightedmean": (repooled("weightedmean"), App, "pooling", "with pooling `weightedmean`, not `mean`"),
    "Dense dropped": (without("Dense"), App, "modules", "without Dense after the pooling"),
    "not normalised": (without("Normalize"), App, "norm", "does not normalise"),
    "cut at half": (having(max_seq_length=32), App, "window", "when cut at 32 tokens, not 64"),
    "cut at an odd number": (having(max_seq_length=45), App, "window", "when cut at 45 tokens, not 64"),
    "cut later": (having(max_seq_length=128), App, "window", "when cut at 128 tokens, not 64"),
    "no prompt": (having(default_prompt_name=None), App, "prompt", "without the prompt 'query: '"),
    "prompt twice": (having(prompts={"query": "query: query: "}), App, "prompt", "with the prompt 'query: ' twice"),
    "another prompt": (having(prompts={"query": "passage: "}), App, "prompt", "with the prompt 'passage: ', not"),
    "no special tokens": (fakes.without_special_tokens, App, "tokens", "without special tokens"),
    "mask ignored": (having(default_prompt_name=None), servers.MaskIgnored, "batch", "change with each text alone"),
    "reversed": (same, servers.Reversed, "order", "got the vector of another text"),
    "reversed when busy": (same, servers.ReversedWhenBusy, "concurrency", "change with 8 requests at once"),
    "another vector each time": (same, servers.Noisy, "repeat", "change with the same requests again"),
    "one wrong": (same, servers.OneWrong, "single", "1 text of 60 got another vector"),
    "half of the dimensions": (same, servers.FirstDimensions, "width", "when cut to the first 16 of 32 dimensions"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_named(load, texts, name):
    change, kind, finding, words = FAULTS[name]
    app = kind(change(load()))
    app.wrong = texts[20]
    app.delay = 0.02 if name == "reversed when busy" else 0.0
    left = load()
    if name == "mask ignored":
        left.default_prompt_name = None
    with serving(app) as url:
        found = compare(left, url, texts)
    assert not found.agrees
    assert finding in kinds(found), found.findings
    assert words in found.cause
    assert len(found.findings) == 1, found.findings
    assert found.findings[0].remedy
    assert left.max_seq_length == 64  # what was tried was undone


def test_two_faults_are_named_together(load, texts):
    model = repooled("cls")(having(default_prompt_name=None)(load()))
    with serving(App(model)) as url:
        found = compare(load(), url, texts)
    assert "with pooling `cls`, not `mean`, without the prompt 'query: '" in found.cause
    with serving(App(without("Normalize")(repooled("max")(load())))) as url:
        found = compare(load(), url, texts)
    assert "pooling `max`" in found.cause
    assert "does not normalise" in found.cause


def test_a_second_fault_on_the_long_texts_is_not_hidden_by_the_first(load, texts):
    short, long = [one for one in texts if len(one.split()) < 50], texts[-2:]
    model = having(max_seq_length=128)(repooled("cls")(load()))
    with serving(App(model)) as url:
        found = compare(load(), url, [*short, *short, *long])
    assert "with pooling `cls`, not `mean`, when cut at 128 tokens, not 64, at 1.00000" in found.cause
    assert [one.kind for one in found.findings] == ["pooling and window"]


def test_what_a_setting_leaves_is_said(load, texts):
    class Spoiled(App):
        def encode(self, given):
            found = super().encode(given)
            return [one[::-1] if text in texts[-2:] else one for text, one in zip(given, found, strict=True)]

    with serving(Spoiled(repooled("cls")(load()))) as url:
        found = compare(load(), url, texts)
    assert "with pooling `cls`, not `mean`" in found.cause
    assert "and something else changes 2 of them, all of " in found.cause
    assert " tokens or more (least cosine" in found.cause


def test_replicas_that_take_turns_are_not_taken_for_unmasked_padding(load, texts):
    app = servers.Replicas(load())
    app.other = repooled("cls")(load())
    with serving(app) as url:
        found = compare(load(), url, texts)
    assert [one.kind for one in found.findings] == ["repeat"]
    assert "replicas that differ" in found.findings[0].remedy


def test_a_fault_of_large_requests_at_once_is_seen(load, texts):
    app = servers.ReversedWhenLarge(load())
    app.delay = 0.05
    with serving(app) as url:
        found = compare(load(), url, texts)
        assert [one.kind for one in found.findings] == ["concurrency"]
    assert max(len(given) for _, given in app.requests) == 32


def coarse(model, constant=40.0):
    """Let a Dense take away a large constant: half precision rounds what is left coarsely."""
    import torch

    dense = next(one for one in model if type(one).__name__ == "Dense")
    width = dense.linear.in_features
    with torch.no_grad():
        dense.linear.weight.copy_(torch.eye(width))
        dense.linear.bias.fill_(-constant)
        norm = model[0].model.encoder.layer[-1].output.LayerNorm
        norm.bias.add_(constant)
    dense.activation_function = torch.nn.Identity()
    return model


@pytest.mark.parametrize(("change", "kind"), [(same, servers.Autocast), (rounded, App)], ids=["autocast", "weights"])
def test_half_precision_that_rounds_coarsely_is_named_and_not_the_batch(load, texts, change, kind):
    with serving(kind(change(coarse(load())))) as url:
        found = compare(coarse(load()), url, texts)
    assert found.least_cosine < 0.999
    assert [one.kind for one in found.findings] == ["precision"]
    assert ("agrees at bfloat16" if change is same else "as far apart as bfloat16 moves") in found.cause
    assert "Serve the model at float32" in found.findings[0].remedy


def test_a_strict_threshold_accuses_rounding_and_nothing_else(load, texts):
    with serving(App(rounded(load()))) as url:
        found = compare(load(), url, texts, least=0.999999)
    assert 0.999 < found.least_cosine < 0.999999
    assert [one.kind for one in found.findings] == ["precision"]
    assert "as close as half precision rounds" in found.cause


def test_a_lax_threshold_is_not_called_rounding(load, texts):
    with serving(App(repooled("cls")(load()))) as url:
        found = compare(load(), url, texts, least=0.01)
    assert found.agrees
    assert found.least_cosine < 0.999
    assert "above the threshold of 0.01 that was given" in found.verdict
    assert "half precision" not in found.verdict
    assert "rounding alone does not explain it" in found.notes[0]


def half(model):
    return model.half()


@pytest.mark.parametrize("change", [rounded, half], ids=["bfloat16", "float16"])
def test_half_precision_agrees(load, texts, change):
    model = load()
    with serving(App(change(model))) as url:
        found = compare(load(), url, texts)
    assert found.agrees, (found.least_cosine, found.cause)
    assert found.least_cosine < 1


def test_a_temperature_that_the_server_does_not_know(load, texts):
    left = load()
    cenote.temper(left, 0.5)
    with serving(App(load())) as url:
        found = compare(left, url, texts)
    assert "at temperature 1, not 0.5" in found.cause


def test_another_model_is_explained_by_nothing_and_says_so(load, texts):
    import torch

    model = load()
    torch.manual_seed(5)
    for one in model[0].model.parameters():
        torch.nn.init.normal_(one, std=0.3)
    with serving(App(model)) as url:
        found = compare(load(), url, texts)
    assert (found.agrees, found.cause) == (False, None)
    assert "explains the difference: the other side may have other weights" in found.notes[0]
    assert "no setting that was tried explains it" in found.verdict
    tried = int(found.notes[0].split()[2])  # None of N settings: also those that the record leaves out
    assert tried > len(found.trials) >= 30
    assert found.notes[0].endswith("None comes much nearer than its own settings.")


def moved(vectors, size):
    """Return vectors moved a little, each in a direction of its own: as a quantised copy gives them."""
    import torch

    noise = torch.stack([torch.sin(1e4 * one.sum() + torch.arange(len(one))) for one in vectors])
    return torch.nn.functional.normalize(vectors + size * noise, dim=1)


def noisy(model, size):
    def move(module, given, output):
        output["sentence_embedding"] = moved(output["sentence_embedding"], size)
        return output

    model.register_forward_hook(move)
    return model


def test_vectors_that_are_all_a_little_apart_are_not_called_single_ones_nor_explained_by_a_hair(load, texts):
    plain, text = load(), texts[:40]
    own = plain.encode(text, convert_to_tensor=True)

    def below(size):
        return int(((own * moved(own, size)).sum(1) < 0.999).sum())

    # The first noise that moves one below the threshold: a few coarser steps move several, on some processors.
    size = next(size for size in np.linspace(0.008, 0.013, 2501) if below(size))
    assert below(size) <= 2
    found = compare(plain, noisy(load(), size), text)
    assert (found.agrees, found.cause) == (False, None)
    assert "explains the difference" in found.notes[0]
    assert "The nearest is" not in found.notes[0]


def test_a_single_wrong_vector_is_named(load, texts):
    right, wrong = load(), texts[7]
    own = load().encode([wrong])[0]

    def spoil(module, given, output):
        made = output["sentence_embedding"]
        near = (made @ made.new_tensor(own)) > 0.99999
        output["sentence_embedding"] = made.where(~near[:, None], made.flip(1))
        return output

    right.register_forward_hook(spoil)
    found = compare(load(), right, texts)
    assert "single" in kinds(found)
    assert "1 text of 60 got another vector" in found.cause
    assert "number 8 of the sample" in found.cause


def test_other_norms_can_be_accepted(load, texts):
    with serving(App(without("Normalize")(load()))) as url:
        assert compare(load(), url, texts, ignore_norms=True).agrees


def test_few_texts_are_compared_without_neighbours(load, texts):
    with serving(App(load())) as url:
        found = compare(load(), url, texts[:2])
        assert found.agrees
        assert found.neighbours is None
        assert "the nearest texts are compared from 30 on" in found.notes[0]
        assert compare(load(), url, texts[:1]).agrees


def test_texts_that_the_local_model_cannot_read_are_left_out_and_counted(load):
    texts = [*(f"deep {'cave ' * count}" for count in range(1, 32)), "a stone"]
    left = load()
    with serving(App(load())) as url, fakes.spoiled(left, stone=lambda states: states * float("nan")):
        found = compare(left, url, texts)
    assert (found.agrees, found.compared) == (True, 31)
    assert [(one.id, one.side) for one in found.refused] == [("31", "left")]
    assert "1 text could not be read by the local model." in found.notes


def test_the_demo_model_is_accused_of_nothing(demo, builtin):
    chosen = [*sorted(builtin, key=len)[-2:], *builtin[::400]]
    with serving(App(demo)) as url:
        found = compare(demo, url, chosen)
    assert (found.agrees, found.findings, found.trials) == (True, (), ())
    assert found.least_cosine > 0.99999


def test_special_tokens_inside_a_text_stay(load):
    from cenote.encoding.tokens import tokenise

    model = load()
    tokenizer = model.tokenizer
    tokens = tokenise(model, ["the 鱼 pool", "[MASK] cave", "stone", ""])
    found = without_special_tokens(model, tokens)
    ids = np.split(found.columns["input_ids"], found.offsets[1:-1])
    before = np.split(tokens.columns["input_ids"], tokens.offsets[1:-1])
    assert tokenizer.unk_token_id in ids[0]
    for with_all, without_them in zip(before, ids, strict=True):
        assert without_them.tolist() == with_all[1:-1].tolist()


def test_two_local_models_get_no_remedy_of_a_server(load, texts):
    found = compare(load(), repooled("cls")(load()), texts)
    assert found.findings[0].remedy.startswith("Load the right model with the pooling `mean`")
    assert "erver" not in found.findings[0].remedy
    assert "Start the server" in remedy_of("pooling", served=True, pooling="cls")


# Bad servers.


def test_no_server_says_so_before_a_model_is_loaded():
    with pytest.raises(BadInput, match=r"no server answers at http://127\.0\.0\.1:9: connection refused: nothing"):
        compare("no-such-model", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://", "no address of a server"),
        ("http://localhost:99999", "is no address: Port out of range"),
        ("http://user:secret@localhost:80", "put the key into an environment variable"),
    ],
)
def test_addresses_that_cannot_be_used(address, message):
    with pytest.raises(BadInput, match=message) as error:
        compare("no-such-model", address)
    assert "secret" not in str(error.value)


def test_a_web_page_instead_of_json(load):
    app = App(load())
    app.answers.append(lambda handler, *_: handler.send(200, b"<html>Sign in</html>", "text/html") or True)
    with serving(app) as url, pytest.raises(BadInput, match=r"text/html instead of JSON, '<html>Sign in</html>'"):
        compare(load(), url)


def test_a_port_of_another_service_lists_what_each_path_answered(load):
    with serving(App(load(), [])) as url, pytest.raises(BadInput, match="/v1/embeddings: status 404; /embed: status 4"):
        compare(load(), url)


def test_a_redirect_is_not_followed(load):
    app = App(load())
    app.answers.append(lambda handler, *_: handler.send(307, b"", Location="http://elsewhere.example/x?key=1") or True)
    with serving(app) as url, pytest.raises(BadInput, match=r"leads to http://elsewhere\.example/x: give that"):
        compare(load(), url)


def test_a_key_is_asked_for_sent_and_never_shown(load, texts, monkeypatch):
    app = App(load())
    app.key = "sk-very-secret"
    said = []
    with serving(app) as url:
        with pytest.raises(BadInput, match=r"needs a key \(status 401\): put its key into an environment variable"):
            compare(load(), url, texts)
        with pytest.raises(BadInput, match="'SERVER_KEY' is not set"):
            compare(load(), url, texts, key_variable="SERVER_KEY")
        monkeypatch.setenv("SERVER_KEY", "sk-wrong")
        with pytest.raises(BadInput, match=r"refuses the key .* check the key in the environment variable") as error:
            compare(load(), url, texts, key_variable="SERVER_KEY")
        assert "sk-wrong" not in str(error.value)
        monkeypatch.setenv("SERVER_KEY", app.key)
        found = compare(load(), url, texts, key_variable="SERVER_KEY", notify=said.append)
    assert found.agrees
    assert app.key not in found.to_json() + "".join(said)


def test_requests_become_smaller_where_the_server_refuses_them(load, texts):
    app, said = App(load()), []
    app.most = 10
    with serving(app) as url:
        found = compare(load(), url, texts, notify=said.append)
    assert found.agrees
    assert said == ["the server refuses 16 texts in one request (413): going on with 8 at most"]


def test_a_limit_that_tei_states_is_kept(load, texts):
    app = App(load())
    app.info = {"model_id": "org/name", "max_client_batch_size": 4, "model_dtype": "float16", "max_input_length": 64}
    app.most = 4
    with serving(app) as url:
        found = compare(load(), url, texts)
    assert found.right.kind == "tei"  # its own dialect comes first
    assert found.right.model == "org/name"
    assert found.right.declared["model_dtype"] == "float16"
    assert max(len(given) for _, given in app.requests) == 4


def refusing(status, times, **headers):
    """Return an answer that refuses so many requests for vectors after the first, which finds the dialect."""
    seen = []

    def answer(handler, _, texts):
        if texts is None:
            return False
        seen.append(texts)
        if 1 < len(seen) <= 1 + times:
            handler.send(status, {"error": "slow down"}, **headers)
            return True
        return False

    return answer


def test_a_busy_server_is_waited_for_as_long_as_it_asks(load, texts, waits):
    app, said = App(load()), []
    app.answers.append(refusing(429, 2, Retry_After="7"))
    with serving(app) as url:
        found = compare(load(), url, texts, notify=said.append)
    assert found.agrees
    assert waits == [7, 7]
    assert said == ["the server asks to wait 7 s (status 429)"]


def test_a_busy_server_that_names_no_time_is_asked_again_later_and_later(load, texts, waits):
    app, said = App(load()), []
    app.answers.append(refusing(429, 3))
    with serving(app) as url:
        assert compare(load(), url, texts, notify=said.append).agrees
    assert waits == [1, 2, 4]
    assert "the server is asked again in 1 s (status 429: slow down)" in said


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "3600"}])
def test_a_server_that_stays_busy_ends_the_comparison(load, texts, headers):
    app = App(load())
    app.answers.append(refusing(429, 1000, **headers))
    with serving(app) as url, pytest.raises(CenoteError, match="no text was compared: the right side gives no vectors"):
        compare(load(), url, texts)


def test_a_server_that_dies_midway_reports_what_was_compared(load, texts):
    app = App(load())

    def die(handler, _, given):
        if given is None or len(app.requests) < 4:  # the probe and two batches
            return False
        handler.close_connection = True
        handler.connection.close()
        return True

    app.answers.append(die)
    with serving(app) as url:
        found = compare(load(), url, texts, batch_size=16)
    assert (found.agrees, found.complete, found.compared) == (False, False, 32)
    assert found.findings[0].kind == "incomplete"
    assert "stopped answering after 32 of 60 texts" in found.cause
    assert found.least_cosine > 0.99999


@pytest.mark.parametrize("status", [400, 500])
def test_texts_that_the_server_refuses_are_named(load, texts, status):
    app = App(load())

    def refuse(handler, _, given):
        if given is None or not any(len(one.split()) > 105 for one in given):
            return False
        handler.send(status, {"error": "inputs must have less than 100 tokens"})
        return True

    app.answers.append(refuse)
    with serving(app) as url:
        found = compare(load(), url, texts)
    assert not found.agrees
    assert found.compared == 57
    assert [one.kind for one in found.findings] == ["refused"]
    assert "3 texts" in found.cause
    assert [one.side for one in found.refused] == ["right"] * 3
    assert "less than 100 tokens" in found.refused[0].reason


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        ([float("nan")] * 32, "not finite"),
        ([None] * 32, "not finite"),
        ([0.0] * 32, "its vector is zero"),
        ([1.0] * 5, "its vector has 5 numbers, others have 32"),
        (["x"] * 32, "something other than numbers"),
        ([], "the shape"),
    ],
)
def test_vectors_that_cannot_be_used_are_named(load, texts, vector, reason):
    class Bad(App):
        def encode(self, given):
            found = super().encode(given)
            return [vector if text == texts[7] else one for text, one in zip(given, found, strict=True)]

    with serving(Bad(load())) as url:
        found = compare(load(), url, texts)
    assert not found.agrees
    assert reason in found.cause
    assert [one.id for one in found.refused] == ["7"]


def test_vectors_of_another_width_are_reported(load, texts):
    class Wide(App):
        def encode(self, given):
            return [[*one, *one, 1.0] for one in super().encode(given)]

    with serving(Wide(load())) as url:
        found = compare(load(), url, texts)
    assert (found.agrees, found.least_cosine) == (False, None)
    assert (found.left.dimensions, found.right.dimensions) == (32, 65)
    assert "65 dimensions, the local model's 32" in found.cause


def test_too_few_vectors_in_an_answer(load, texts):
    class Short(App):
        def encode(self, given):
            return super().encode(given)[: max(1, len(given) - 1)]

    with serving(Short(load())) as url:
        assert compare(load(), url, texts).compared == len(texts)  # texts are asked for one by one


def test_a_model_that_the_server_does_not_know_lists_those_it_has(load, texts):
    app = App(load(), ["openai"])
    app.models = ["all-minilm", "bge-m3"]
    with serving(app) as url:
        with pytest.raises(BadInput, match=r"serves 2 models: name one .* It lists: all-minilm, bge-m3"):
            compare(load(), url, texts)
        with pytest.raises(UnknownName, match=r"'all-minlm'; did you mean 'all-minilm'\? There are: all-minilm, bge"):
            compare(load(), url, texts, served_model="all-minlm")
        assert compare(load(), url, texts, served_model="bge-m3").right.model == "bge-m3"


@pytest.mark.parametrize("ending", ["/v1", "/v1/", "/v1/embeddings", "/embed"])
def test_an_address_may_name_the_path(load, texts, ending):
    with serving(App(load())) as url:
        assert compare(load(), f"{url}{ending}", texts[:5]).agrees


def test_texts_sent_to_another_machine_are_announced(load, texts, monkeypatch):
    from cenote.auditing import parity as module

    monkeypatch.setattr(module, "is_local", lambda _: False)
    said = []
    with serving(App(load())) as url:
        compare(load(), url, texts[:5], notify=said.append)
    assert said[0].startswith("5 texts will be sent to http://127.0.0.1")


def test_wrong_arguments():
    with pytest.raises(BadInput, match="name the local model first"):
        parity("http://localhost:1", "minilm")
    with pytest.raises(BadInput, match=r"least=2: pass a cosine between 0 and 1"):
        compare("minilm", "minilm", least=2)
    with pytest.raises(BadInput, match="are for a server"):
        compare("minilm", "minilm", served_model="a")


def test_the_page_escapes_texts_and_shows_the_cause(load, texts):
    hostile = "<script>alert(1)</script> | `stone` "
    with serving(App(repooled("cls")(load()))) as url:
        found = compare(load(), url, [*texts[:30], *(f"{hostile}{'cave ' * count}" for count in range(30))])
    assert any(hostile.strip() in one.text for one in found.worst)
    page, markdown = to_html(found), to_markdown(found)
    assert "<script>alert" not in page + markdown
    assert "with pooling <code>cls</code>, not <code>mean</code>" in page
    assert "with pooling `cls`, not `mean`" in markdown
    assert page.count("http://127") == page.count(found.right.name)  # names of the server, no links


def comparison(left, right, least=0.999):
    sides = [Answers(dict(enumerate(one))) for one in (left, right)]
    return Sides(["a"] * len(left), list(range(2, 2 + len(left))), *sides, least=least)


def test_norms_of_other_directions_are_no_finding_of_their_own():
    generator = np.random.default_rng(0)
    left = generator.normal(size=(30, 8))
    assert explain_norms(comparison(left, left + generator.normal(size=left.shape) / 4, least=0.5)) == []
    assert explain_norms(comparison(left, 1.1 * left, least=0.5))


def test_a_strict_threshold_asks_no_more_of_the_answers_than_half_precision_gives():
    generator = np.random.default_rng(0)
    left = generator.normal(size=(30, 8))
    near = left + generator.normal(size=left.shape) / 400
    case = comparison(left, near, least=0.999999)
    way = summarise_way(ALONE, Answers(dict(enumerate(left))), case)
    assert 0.999 < way.least < 0.999999
    assert explain_ways([way], served=True) == []
    assert [one.kind for one in explain_rounding(case)] == ["precision"]


def test_the_farthest_of_several_answers_counts():
    left = np.eye(4)
    again = Answers(dict(enumerate(left)), further={2: [left[2], left[3]]})
    way = summarise_way(ALONE, again, comparison(left, left))
    assert (way.changed, way.misplaced, way.least) == (1, 1, 0.0)


def test_the_vectors_of_other_texts_are_found_in_blocks(monkeypatch):
    from cenote.auditing import parity_findings

    left = np.random.default_rng(0).normal(size=(50, 8))
    case = comparison(left, np.roll(left, 1, axis=0))
    whole = explain_order(case)
    monkeypatch.setattr(parity_findings, "_BLOCK", 150)  # three texts at a time
    assert explain_order(case) == whole
    assert "50 of 50 texts that differ got the vector of another text" in whole[0].finding
    assert explain_order(comparison(left, np.random.default_rng(1).normal(size=(50, 8)))) == []


def test_plans_have_requests_of_the_usual_size_and_repeat_some():
    plans = plan_ways(range(10), [list(range(8)), [8, 9]], [5] * 10, 8, 4, served=True)
    assert plans["the same requests again"] == ([list(range(8))] * 3 + [[8, 9]] * 3, 1)
    requests, at_once = plans["4 requests at once"]
    assert at_once == 4
    assert [len(one) for one in requests].count(8) == 3
    assert {place for one in requests for place in one} == set(range(10))
    assert list(plan_ways(range(10), [], [5] * 10, 8, 4, served=False)) == [ALONE, "batches of texts of one length"]


@pytest.mark.parametrize(
    ("norms", "words"),
    [
        (lambda left, lengths: 3 * left, "the right ones are 3 times the left ones"),
        (lambda left, lengths: left * lengths[:, None] ** 0.5, "times the root of the tokens, as of pooling `mean_s"),
        (lambda left, lengths: left * lengths[:, None], "the right ones are 2 to 31 times the left ones"),
    ],
)
def test_other_norms_are_described(norms, words):
    left = np.random.default_rng(0).normal(size=(30, 4))
    lengths = np.arange(2, 32)
    right = norms(left, lengths)
    sides = [Answers(dict(enumerate(one))) for one in (left, right)]
    case = Sides(["a"] * 30, lengths.tolist(), *sides, least=0.999)
    assert words in explain_norms(case)[0].finding
