"""The figures of a diagnosis, computed a second time from what transformers gives, in float64 and by plain loops."""

import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import cenote

HEADS = 12


def keep_in(kept):
    return lambda module, given, out: kept.append(out[0].double().numpy())


@pytest.fixture(scope="module")
def traced(builtin):
    """As many texts as a quick diagnosis traces."""
    return builtin[5:6500:280][:24]


@pytest.fixture(scope="module")
def texts(demo_path, traced):
    """The states and attention of each text in every layer of an eager model; read alone, no padding."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(demo_path), device="cpu", model_kwargs={"attn_implementation": "eager"})
    network, found = model[0].model, []
    assert network.config._attn_implementation == "eager"
    for text in traced:
        attended = []
        hooks = [
            layer.attention.output.dense.register_forward_hook(keep_in(attended)) for layer in network.encoder.layer
        ]
        with torch.no_grad():
            ids = model.tokenizer([text], truncation=True, max_length=256, return_tensors="pt")
            out = network(**ids, output_hidden_states=True, output_attentions=True)
        for hook in hooks:
            hook.remove()
        states = [state[0].double().numpy() for state in out.hidden_states]
        maps = [weights[0].double().numpy() for weights in out.attentions]
        found.append(SimpleNamespace(states=states, attended=attended, maps=maps, tokens=len(states[0])))
    return SimpleNamespace(each=found, network=network)


@pytest.fixture(scope="module")
def run(demo, traced):
    return cenote.diagnose(demo, traced, quick=True).models[0].runs[0]


@pytest.fixture(scope="module")
def found(diagnosis):
    return diagnosis.models[0]


def spread(tokens):
    """S(X), token by token."""
    mean = sum(tokens) / len(tokens)
    return sum(float((token - mean) @ (token - mean)) for token in tokens) / len(tokens)


def squared_mean(tokens):
    mean = sum(tokens) / len(tokens)
    return float(mean @ mean)


def relative(tokens):
    return spread(tokens) / squared_mean(tokens)


def centred(matrix):
    count = len(matrix)
    return (np.eye(count) - np.ones((count, count)) / count) @ matrix


def assert_spread(given, values, rel=1e-4):
    assert given.count == len(values)
    figures = (given.mean, given.low, given.median, given.high)
    assert figures == pytest.approx((np.mean(values), *np.quantile(values, (0.1, 0.5, 0.9))), rel=rel, abs=1e-6)


def test_concentration_of_the_last_layer(run, texts):
    assert run.traced == len(texts.each)
    assert_spread(run.layers[-1].measures["concentration"], [relative(one.states[-1]) for one in texts.each])


def test_rates_of_every_layer(run, texts):
    for layer in run.layers:
        rates = [
            0.5 * math.log(spread(one.states[layer.index + 1]) / spread(one.states[layer.index])) for one in texts.each
        ]
        assert_spread(layer.measures["filter_rate"], rates)


def test_residual_and_block_ratios(run, texts):
    for layer in run.layers:
        at = layer.index
        sums = [one.states[at] + one.attended[at] for one in texts.each]
        residual = [spread(one.states[at]) / squared_mean(total) for one, total in zip(texts.each, sums, strict=True)]
        block = [relative(one.states[at + 1]) / relative(total) for one, total in zip(texts.each, sums, strict=True)]
        assert_spread(layer.measures["residual_ratio"], residual)
        assert_spread(layer.measures["block_ratio"], block)


def test_contraction_of_the_last_layer(run, texts):
    attention = texts.network.encoder.layer[-1].attention
    value = attention.self.value.weight.detach().double().numpy()
    output = attention.output.dense.weight.detach().double().numpy()
    width = len(value) // HEADS
    values = []
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        norm = np.linalg.svd(output[:, part] @ value[part], compute_uv=False)[0]
        values += [norm**2 * (centred(one.maps[-1][head]) ** 2).sum() / (one.tokens - 1) for one in texts.each]
    assert_spread(run.layers[-1].measures["contraction"], values)


def test_sigma_a_and_theorem_3_of_the_last_layer(run, texts):
    by_bin, expected = {}, {}
    for one in texts.each:
        sigma = [np.linalg.svd(centred(weights), compute_uv=False)[0] for weights in one.maps[-1]]
        low, n = min(one.tokens // 50, 9) * 50, one.tokens
        by_bin.setdefault(low, []).append(np.mean(sigma))
        for variance in (np.log(weights).var(1, ddof=1).mean() for weights in one.maps[-1]):
            wide = 2 * math.sqrt(1 + math.exp(-2 * variance)) * (n - 1) ** 1.5
            expected.setdefault(low, []).append(math.sqrt(n / (wide + 1)))
    assert len(by_bin) >= 2
    assert [(part.low, part.count) for part in run.passed] == [(low, len(by_bin[low])) for low in sorted(by_bin)]
    for part in run.passed:
        assert part.sigma_a == pytest.approx(np.mean(by_bin[part.low]), rel=2e-4)  # sigma_a is within 1e-4
        assert part.theorem3 == pytest.approx(np.mean(expected[part.low]), rel=2e-4)


def lengths_of(demo, corpus):
    return np.array([len(ids) for ids in demo.tokenizer(corpus, truncation=True, max_length=256)["input_ids"]])


def inside(part, lengths):
    return [row for row, length in enumerate(lengths) if part.low <= length < (part.high or math.inf)]


def test_the_control_is_of_plain_word_averages(found, demo, corpus):
    table = demo[0].model.embeddings.word_embeddings.weight.detach().double().numpy()
    ids = demo.tokenizer(corpus, truncation=True, max_length=256)["input_ids"]
    units = []
    for row in ids:
        mean = sum(table[token] for token in row[1:-1]) / len(row[1:-1])
        units.append(mean / math.sqrt(mean @ mean))
    lengths = lengths_of(demo, corpus)
    assert len(found.words.bins) >= 2
    for part in found.words.bins:
        rows = inside(part, lengths)
        assert part.count == len(rows)
        pairs = [units[i] @ units[j] for i in rows for j in rows if i < j]
        assert part.cosine.value == pytest.approx(np.mean(pairs), abs=1e-6)


def test_cosine_gained_with_each_doubling(found, demo, corpus):
    vectors = demo.encode(corpus).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths, curve = lengths_of(demo, corpus), found.runs[0].length
    closeness, doublings = [], []
    for part in curve.bins:
        rows = inside(part, lengths)
        for i in rows:
            closeness.append(np.mean([vectors[i] @ vectors[j] for j in rows if j != i]))
            doublings.append(math.log2(lengths[i]))
    assert len(closeness) == len(corpus)
    assert curve.slope_per_doubling.value == pytest.approx(np.polyfit(doublings, closeness, 1)[0], abs=1e-6)
    first, last = curve.bins[0].cosine.value, curve.bins[-1].cosine.value
    assert curve.difference.value == pytest.approx(last - first, abs=1e-8)


def test_histogram_and_share_of_severe_pairs(found, demo, corpus):
    pairs = found.runs[0].pairs
    assert pairs.texts == len(corpus)  # short ones: all are compared
    states = demo.encode(corpus, output_value="token_embeddings")
    values = cenote.socm([state.double() for state in states]).socm.numpy()
    edges = pairs.histogram.edges
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[max(place for place, edge in enumerate(edges[:-1]) if edge <= value)] += 1
    # A value may lie on an edge but for rounding.
    assert sum(abs(one - other) for one, other in zip(pairs.histogram.counts, counts, strict=True)) <= 4
    assert sum(pairs.histogram.counts) == pairs.pairs == len(values)
    severe = sum(value > 0.5 for value in values)
    assert 0 < severe < len(values)
    assert pairs.severe * len(values) == pytest.approx(severe, abs=1.01)
    assert pairs.socm.mean == pytest.approx(sum(values) / len(values), abs=1e-5)


def test_d_sigma_of_the_worst_pair_by_its_definition(diagnosis, demo, corpus):
    worst = diagnosis.models[0].runs[0].pairs.worst[0]
    clouds = []
    for place in (worst.first, worst.second):
        state = demo.encode(corpus[int(diagnosis.excerpts[place].id)], output_value="token_embeddings").double().numpy()
        state = state / math.sqrt(squared_mean(state))
        clouds.append((state.mean(0), np.cov(state.T, bias=True)))
    (mean, one), (other, two) = clouds
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ two @ root).clip(0)).sum()
    d_mu, d_sigma = (mean - other) @ (mean - other) / 4, (np.trace(one) + np.trace(two) - 2 * cross) / 4
    assert (worst.d_mu, worst.d_sigma) == pytest.approx((d_mu, d_sigma), abs=1e-5)
    assert worst.socm == pytest.approx((1 - d_mu) * d_sigma, abs=1e-5)


def test_two_processes_give_the_same_bytes(tiny_st, traced, tmp_path):
    source = tmp_path / "texts.txt"
    source.write_text("".join(" ".join(text.split()) + "\n" for text in traced), "utf-8")
    command = [
        sys.executable,
        "-m",
        "cenote",
        "diagnose",
        str(tiny_st("bert")),
        str(source),
        "--quick",
        "--device",
        "cpu",
    ]
    written = [tmp_path / name for name in ("one.json", "two.json")]
    children = [subprocess.Popen([*command, "--json", str(path)], stdout=subprocess.DEVNULL) for path in written]
    assert [child.wait() for child in children] == [0, 0]
    runs = [path.read_bytes() for path in written]
    assert runs[0] == runs[1]
    assert b'"layers"' in runs[0]
