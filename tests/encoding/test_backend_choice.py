"""The backend that `auto` chooses, among backends that are slow, wrong or broken on purpose and the real ones."""

import random
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import cenote
from cenote.choices import AGREEMENT
from cenote.encoding import backend_choice
from cenote.encoding.backend_choice import (
    SAMPLE,
    Contender,
    choose_backend,
    keep_fast,
    read_in_rounds,
    sample_lengths,
    usable_backends,
)
from cenote.encoding.backends import BACKENDS, PRECISIONS, backend, obstacle
from cenote.encoding.tokens import tokenise
from cenote.encoding.vectors import Encoder
from cenote.errors import BadInput, UnknownName, UnsupportedModel

TEXTS = ["the pool", "", "one two three: light! " * 9, "a deep cave? a stone.", "water", "query document " * 3] * 12


@pytest.fixture(scope="module")
def model(tiny_st):
    return cenote.load(tiny_st("bert"), device="cpu")


@pytest.fixture(scope="module")
def tokens(model):
    return tokenise(model, TEXTS)


class Candidate:
    """The model with a delay, and with noise or a fault."""

    clock = 0.0  # in place of the real one: a busy machine must not decide

    def __init__(self, name, precision, model, seconds=0.0, spoil=lambda made: made):
        self.name, self.precision, self.seconds, self.spoil = name, precision, seconds, spoil
        self.plain = backend(model)
        self.rows = 0

    def __call__(self, features):
        self.rows += len(features["input_ids"])
        Candidate.clock += self.seconds + 1e-4
        return self.spoil(self.plain(features))


def turned(cosine):
    """Every vector at this cosine with what it was."""

    def spoil(made):
        away = torch.roll(made, 1, 1)
        away -= (away * made).sum(1, keepdim=True) / made.square().sum(1, keepdim=True) * made
        away *= made.norm(dim=1, keepdim=True) / away.norm(dim=1, keepdim=True)
        return cosine * made + (1 - cosine**2) ** 0.5 * away

    return spoil


def broken(made):
    raise RuntimeError("no such instruction")


def spoiled(made):
    return torch.where(torch.arange(len(made))[:, None] == 0, torch.nan, made)


@pytest.fixture
def offer(monkeypatch, model):
    """`offer({(name, precision): options or an error})`: the candidates besides torch at float32."""

    def build(table):
        made = {("torch", "float32"): Candidate("torch", "float32", model, 0.004)}

        def make(_, name="torch", precision="float32", *, task=None):
            given = table.get((name, precision), {})
            if isinstance(given, Exception):
                raise given
            return made.setdefault((name, precision), Candidate(name, precision, model, **given))

        usable = {("torch", "float32"), *table}
        monkeypatch.setattr(
            backend_choice, "obstacle", lambda _, name, precision, task: None if (name, precision) in usable else "no"
        )
        monkeypatch.setattr(backend_choice, "backend", make)
        monkeypatch.setattr(backend_choice, "time", SimpleNamespace(perf_counter=lambda: Candidate.clock))
        return made

    return build


def chosen(model, tokens, *asked):
    said = []
    made, cosine, speed, neighbours = choose_backend(model, tokens, *asked, notify=said.append)
    assert neighbours is None  # of int8 alone
    assert cosine is None or cosine >= AGREEMENT
    assert cosine is None or speed is not None
    return (made.name, made.precision), said


def test_the_fastest_that_agrees_is_chosen(model, tokens, offer):
    offer({("openvino", "float32"): {"seconds": 0.001}, ("onnx", "float32"): {"seconds": 0.01}})
    pair, said = chosen(model, tokens)
    assert pair == ("openvino", "float32")
    assert said[0] == f"choosing the fastest of 3 ways to compute, on {len(tokens)} texts of these"
    # First those that are left out, being slow.
    assert [line.split(":")[0] for line in said[1:4]] == [
        "torch at float32",
        "onnx at float32",
        "openvino at float32",
    ]
    assert all("tokens a second, least cosine with float32 1.000000" in line for line in said[1:4])
    assert said[4:] == ["embedding with openvino at float32"]


@pytest.mark.parametrize(("cosine", "name"), [(0.99985, "torch"), (0.99995, "openvino")])
def test_a_fast_candidate_that_disagrees_is_left_out(model, tokens, offer, cosine, name):
    offer({("openvino", "bfloat16"): {"spoil": turned(cosine)}})
    pair, said = chosen(model, tokens)
    assert pair[0] == name
    if name == "torch":
        assert said[1] == f"openvino at bfloat16 is left out: its least cosine with float32 is {cosine:.6f}"
    else:
        assert f"least cosine with float32 {cosine:.6f}" in said[2]
    assert AGREEMENT == 0.9999


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"spoil": broken}, "no such instruction"),
        ({"spoil": spoiled}, "the model's vector is not finite"),
        ({"spoil": torch.zeros_like}, "its least cosine with float32 is 0.000000"),
        (UnsupportedModel("no graph of it"), "no graph of it"),
        (RuntimeError(" "), "RuntimeError"),
        (RuntimeError("Exception from core.cpp:104:\nno such operator\n"), "no such operator"),
    ],
)
def test_a_candidate_that_fails_is_left_out(model, tokens, offer, options, why):
    offer({("openvino", "bfloat16"): options})
    pair, said = chosen(model, tokens)
    assert pair == ("torch", "float32")
    assert said[1] == f"openvino at bfloat16 is left out: {why}"


def test_where_no_candidate_agrees_it_is_an_error(model, tokens, offer):
    wrong = {"spoil": turned(0.9)}
    offer({("openvino", "bfloat16"): wrong, ("torch", "bfloat16"): wrong})
    with pytest.raises(BadInput, match=r"least cosine with float32 is .*below 0\.9999, allow a lower one"):
        choose_backend(model, tokens, "auto", "bfloat16")
    offer({("openvino", "bfloat16"): RuntimeError("it does not compile."), ("torch", "bfloat16"): wrong})
    with pytest.raises(BadInput, match=r"openvino at bfloat16 is left out: it does not compile\. Where a cos"):
        choose_backend(model, tokens, "auto", "bfloat16")


def test_texts_that_float32_cannot_read_decide_nothing(model, tokens, offer):
    """A text that has no vector at float32 has none elsewhere: the others are compared."""
    made = offer({("openvino", "float32"): {"seconds": 0.0}})
    made["torch", "float32"].spoil = spoiled
    pair, _ = chosen(model, tokens)
    assert pair == ("openvino", "float32")


def test_where_no_text_can_be_read_it_is_an_error(model, tokens, offer):
    made = offer({("openvino", "float32"): {}})
    made["torch", "float32"].spoil = lambda vectors: vectors * torch.nan
    with pytest.raises(BadInput, match="no usable vector for any of the first texts"):
        choose_backend(model, tokens)


# Steady on a busy machine.


class BusyMachine:
    """A clock, and other work that makes every reading up to twice as long, by bursts of a few seconds."""

    def __init__(self, seed):
        self.random, self.now, self.until, self.factor = random.Random(seed), 0.0, 0.0, 1.0

    def work(self, seconds):
        while seconds > 1e-9:
            if self.now >= self.until:
                self.factor, self.until = self.random.uniform(1, 2), self.now + self.random.expovariate(1 / 4)
            part = min(seconds * self.factor, self.until - self.now)
            self.now += part
            seconds -= part / self.factor

    def contender(self, seconds, copied=0):
        return Contender(lambda _: self.work(seconds), 1.0, copied)


@pytest.fixture
def busy(monkeypatch):
    def make(seed):
        machine = BusyMachine(seed)
        monkeypatch.setattr(backend_choice, "time", SimpleNamespace(perf_counter=lambda: machine.now))
        return machine

    return make


def one_after_another(machine, contenders):
    """As a reference: two readings of each, then of the next."""
    for one in contenders:
        machine.work(5)  # it is made
        one.read(None)
        one.read(None)
    return min(contenders, key=lambda one: one.least)


def by_turns(machine, contenders):
    left = []
    for one in contenders:
        machine.work(5)
        one.read(None)
        left = keep_fast([*left, one])
    return read_in_rounds(left, None)[0]


@pytest.mark.parametrize("seconds", [(1.0, 0.85, 1.6), (0.2, 0.17, 0.19), (3.0, 2.5, 4.0)])
def test_by_turns_the_fastest_is_found_where_single_readings_miss_it(busy, seconds):
    right = {one_after_another: 0, by_turns: 0}
    for seed in range(200):
        for way in right:
            machine = busy(seed)
            contenders = [machine.contender(each) for each in seconds]
            right[way] += way(machine, contenders) is contenders[1]
            assert machine.now < 20 + 2 * (5 * 3 + sum(seconds) * (1 + 3))
    assert right[one_after_another] < 170
    assert right[by_turns] > 1.15 * right[one_after_another]
    assert right[by_turns] > 160


def test_rounds_end_once_the_two_fastest_keep_their_order_or_time_is_up(busy):
    for order, rounds in (
        ([1.0, 2.0], 3),  # steady from the first round on
        ([1.0, 2.0, 30.0], 1),  # the time is up after the first round
    ):
        machine = busy(0)
        machine.until, machine.factor = float("inf"), 1.0  # nothing else runs
        contenders = [machine.contender(seconds) for seconds in order]
        assert [one.least for one in read_in_rounds(contenders, None)] == order
        assert [len(one.seconds) for one in contenders] == [rounds] * len(order)


def test_rounds_go_on_while_the_order_changes(busy):
    machine = busy(0)
    machine.until = float("inf")
    first = iter([0.5, 0.4, 0.1, 0.1, 0.1])  # it is ahead from the third round on
    contenders = [machine.contender(0.3), Contender(lambda _: machine.work(next(first)), 1.0, 0)]
    assert read_in_rounds(contenders, None) == contenders[::-1]
    assert len(contenders[0].seconds) == 5


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([(1.0, 0), (1.9, 0), (2.1, 0)], [0, 1]),  # twice as slow is out
        ([(1.0, 400), (1.1, 400), (1.2, 400), (1.3, 0)], [0, 1, 3]),  # 1 GiB of copies
        ([(1.0, 2000), (1.1, 100), (1.2, 0)], [0, 2]),  # the fastest is kept at any size
        ([(2.0, 100), (1.0, 0)], [1, 0]),
    ],
)
def test_contenders_are_kept_while_they_may_win_and_their_weights_find_room(busy, given, kept):
    contenders = [busy(0).contender(seconds, size * 2**20) for seconds, size in given]
    for one, (seconds, _) in zip(contenders, given, strict=True):
        one.seconds.append(seconds)
    assert [contenders.index(one) for one in keep_fast(contenders)] == kept


def test_the_weights_of_a_slow_candidate_are_let_go_of(model, tokens, offer, monkeypatch):
    alive = weakref.WeakSet()
    monkeypatch.setattr(backend_choice, "Encoder", lambda *given: (alive.add(one := Encoder(*given)), one)[1])
    offer({("openvino", "float32"): {"seconds": 0.1}, ("onnx", "float32"): {}, ("torch", "bfloat16"): {"seconds": 0.1}})
    seen = []
    chosen_one = choose_backend(model, tokens, notify=lambda _: seen.append(len(alive)))
    assert chosen_one.backend.name == "onnx"
    assert max(seen) <= 3  # float32 that all are compared with, the fastest so far, and the next


def test_name_or_precision_may_be_fixed(model, tokens, offer):
    offer({("openvino", "float32"): {}, ("openvino", "bfloat16"): {"seconds": 0.01}, ("torch", "bfloat16"): {}})
    assert chosen(model, tokens, "openvino")[0] == ("openvino", "float32")
    assert chosen(model, tokens, "auto", "bfloat16")[0] == ("torch", "bfloat16")


def test_the_sample_has_texts_of_all_lengths():
    texts = ["a" * length for length in np.random.default_rng(0).lognormal(4, 1, 3000).astype(int)]
    lengths = [len(text) for text in sample_lengths(texts)]
    assert len(lengths) == SAMPLE
    assert (min(lengths), max(lengths)) == (min(map(len, texts)), max(map(len, texts)))
    assert abs(np.median(lengths) - np.median([len(text) for text in texts])) <= 3
    assert max(map(len, sample_lengths(["a" * 10**6, "b"]))) == 50_000


def test_one_text_or_none_is_enough_to_choose(model, offer):
    offer({("openvino", "float32"): {}})
    assert chosen(model, tokenise(model, ["a"]))[0][1] == "float32"
    assert chosen(model, tokenise(model, []))[0] == ("torch", "float32")


def test_the_only_candidate_is_timed(model, tokens, offer):
    offer({})  # torch at float32 takes 4 ms for a batch
    found = choose_backend(model, tokens)
    assert (found.agreement, found.neighbours) == (None, None)
    timed = tokens.take(backend_choice.spread(len(tokens), SAMPLE)).lengths.sum()
    assert 0 < found.speed < timed / 0.004


def test_texts_without_tokens_decide_nothing(tiny_st):
    """Neither CLS nor EOS: an empty text is nothing at all."""
    bare = cenote.load(tiny_st("neox"), device="cpu")
    assert choose_backend(bare, tokenise(bare, ["", ""]), "torch").backend.name == "torch"
    assert choose_backend(bare, tokenise(bare, ["", "a pool"]), "torch").backend.precision


@pytest.mark.parametrize(("asked", "said"), [(("openvimo", "auto"), "backend"), (("auto", "bf16"), "precision")])
def test_unknown_names_are_refused(model, tokens, asked, said):
    with pytest.raises(UnknownName, match=f"unknown {said}"):
        choose_backend(model, tokens, *asked)


def test_a_missing_package_is_named_once_for_all_precisions(model, tokens, monkeypatch):
    monkeypatch.setattr(backend_choice, "obstacle", lambda *_: "it is missing")
    with pytest.raises(BadInput, match=r"^onnx at float32: it is missing\.$"):  # once, and not for each precision
        choose_backend(model, tokens, "onnx")


def test_a_model_in_half_precision_has_its_own_alone(tiny_st, tokens):
    half = cenote.load(tiny_st("bert"), device="cpu").bfloat16()
    if reason := obstacle(half, "torch", "bfloat16", None):
        pytest.skip(reason)
    assert usable_backends(half) == [("torch", "bfloat16")]
    assert chosen(half, tokens)[0] == ("torch", "bfloat16")


def test_the_choice_agrees_with_encode_on_other_texts(demo, monkeypatch):
    # Recording a graph for ONNX takes the longest, and test_contract.py does it.
    tried = [(name, kind) for name in BACKENDS for kind in PRECISIONS if not obstacle(demo, name, kind, None)]
    tried = [(name, kind) for name, kind in tried if name != "onnx" and kind != "int8"]  # int8 is only tried if allowed
    monkeypatch.setattr(
        backend_choice, "obstacle", lambda _, name, precision, task: None if (name, precision) in tried else "no"
    )
    sample = tokenise(demo, [f"The pool {place} is deep. " * (1 + place % 9) for place in range(40)])
    said = []
    made, cosine, *_ = choose_backend(demo, sample, "auto", "auto", notify=said.append)
    assert len(said) == (len(tried) + 2 if len(tried) > 1 else 1)  # the start, each candidate, and the choice
    assert said[-1] == f"embedding with {made.name} at {made.precision}"
    assert (cosine is None) == (len(tried) == 1)
    texts = ["", "a", "😀 שלום", "A cave beyond the light. " * 80]
    ours, _ = Encoder(demo, made)(tokenise(demo, texts))
    theirs = demo.encode(texts)
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosines.min() >= AGREEMENT
