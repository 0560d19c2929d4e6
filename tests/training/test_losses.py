"""The loss, against plain loops in float64, sentence-transformers' own loss, and itself with other memory."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from cenote.surgery.tempering import temper
from cenote.training.collator import Collator
from cenote.training.losses import ContrastiveLoss, spread_of

COLUMNS = [
    [f"the {word} of a pool" for word in ("cave", "stone", "water", "light", "deep")],
    [f"{word} and one two three" for word in ("cave", "stone", "water", "light", "deep")],
    [f"a {word}, query document" for word in ("light", "deep", "cave", "stone", "water")],
]
SCORES = torch.tensor([[3.0, 1.0], [0.5, 0.7], [2.0, -1.0], [1.0, 1.0], [4.0, 0.0]])


@pytest.fixture
def model(tiny_st):
    return SentenceTransformer(str(tiny_st("bert")), device="cpu").eval()


def loss_of(model, loss, columns=3, labels=None):
    """The value and the gradients of a loss."""
    model.zero_grad()
    value = loss([model.preprocess(column) for column in COLUMNS[:columns]], labels)
    value.backward()
    return float(value.detach()), {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}


def vectors_of(model, columns=3):
    return [model.encode(column).astype(np.float64) for column in COLUMNS[:columns]]


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def log_softmax(values):
    return values - np.log(np.exp(values).sum())


@pytest.mark.parametrize("columns", [2, 3])
def test_info_nce_is_that_of_a_plain_loop_and_of_sentence_transformers(model, columns):
    queries, *texts = vectors_of(model, columns)
    every = [vector for column in texts for vector in column]
    by_hand = -np.mean(
        [
            log_softmax(np.array([cosine(query, text) for text in every]) / 0.05)[row]
            for row, query in enumerate(queries)
        ]
    )
    value, gradients = loss_of(model, ContrastiveLoss(model, 0.05), columns)
    assert value == pytest.approx(by_hand, rel=1e-5)
    theirs, their_gradients = loss_of(model, MultipleNegativesRankingLoss(model, scale=20), columns)
    assert value == pytest.approx(theirs, rel=1e-6)
    for name, gradient in their_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-3, atol=1e-6)


def test_a_teachers_scores_are_those_of_a_plain_loop(model):
    queries, *texts = vectors_of(model)
    terms = []
    for row, query in enumerate(queries):
        own = log_softmax(np.array([cosine(query, column[row]) for column in texts]) / 0.1)
        teacher = log_softmax(SCORES[row].double().numpy())
        terms.append((np.exp(teacher) * (teacher - own)).sum())
    plain = loss_of(model, ContrastiveLoss(model, 0.1))[0]
    loss = ContrastiveLoss(model, 0.1, distil=3)
    assert loss_of(model, loss, labels=SCORES)[0] == pytest.approx(plain + 3 * np.mean(terms), rel=1e-5)
    assert loss.parts == pytest.approx({"info_nce": plain, "distil": np.mean(terms)}, rel=1e-5)


def test_the_spread_is_that_of_a_plain_loop(model):
    shares = []
    for text in [text for column in COLUMNS for text in column]:
        tokens = model.encode(text, output_value="token_embeddings").double().numpy()
        mean = tokens.mean(0)
        shares.append(sum(((x - mean) ** 2).sum() for x in tokens) / sum((x**2).sum() for x in tokens))
    loss = ContrastiveLoss(model, 0.1, spread=2)
    plain = loss_of(model, ContrastiveLoss(model, 0.1))[0]
    assert loss_of(model, loss)[0] == pytest.approx(plain + 2 * np.mean(shares), rel=1e-5)


def test_the_spread_of_equal_tokens_is_nothing_and_of_opposite_ones_all():
    tokens = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [9.0, 9.0]], [[1.0, 0.0], [-1.0, 0.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])
    found = spread_of({"token_embeddings": tokens, "attention_mask": mask})
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", [{}, {"distil": 0.5, "spread": 0.3}], ids=["plain", "all terms"])
def test_memory_changes_no_gradient(model, options, training):
    """In training mode too, where the second pass has to draw the dropout of the first."""
    model.train(training)
    labels = SCORES if options else None
    values = []
    for cached, mini in ((False, 2), (True, 2)):
        torch.manual_seed(0)
        values.append(loss_of(model, ContrastiveLoss(model, 0.1, mini, cached=cached, **options), labels=labels))
    assert values[0][0] == pytest.approx(values[1][0], rel=1e-6)
    for name, gradient in values[0][1].items():
        torch.testing.assert_close(values[1][1][name], gradient, rtol=1e-3, atol=1e-6)


def test_queries_are_trained_with_their_own_temperature(model):
    temper(model, {"query": 0.5, "document": 2.0})
    rows = [{"query": query, "positive": text} for query, text in zip(*COLUMNS[:2], strict=True)]
    batch = Collator(model.preprocess, router_mapping={"query": "query", "positive": "document"})(rows)
    for name, encode, texts in zip(rows[0], (model.encode_query, model.encode_document), COLUMNS[:2], strict=True):
        features = {key.removeprefix(f"{name}_"): value for key, value in batch.items() if key.startswith(f"{name}_")}
        for found in (
            ContrastiveLoss(model).embed_minibatch({**features}, 0, 5, False, False)[0],
            model({**features})["sentence_embedding"],  # as other losses do
        ):
            np.testing.assert_allclose(found.detach(), encode(texts), atol=1e-6)
