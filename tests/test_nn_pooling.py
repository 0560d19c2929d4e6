"""Our Pooling: equal to sentence-transformers' own, padded and flattened -> prompts -> refusals -> copies."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Pooling as StPooling

import cenote
from cenote._nn import layouts
from cenote.errors import BadInput, UnknownName
from cenote.nn import Pooling

# One rounding of the result, on either side.
STEP = {torch.float32: 2e-6, torch.bfloat16: 2**-7, torch.float16: 2**-10}


# Pooling against sentence-transformers' own.


def batches(lengths, side="right", dtype=torch.float32, dim=5, **more):
    """The same random texts as a padded and as a flattened batch, and as a list."""
    texts = [torch.randn(n, dim).to(dtype) for n in lengths]
    wide = max(lengths) + 2
    padded, mask = torch.randn(len(texts), wide, dim).to(dtype), torch.zeros(len(texts), wide, dtype=torch.long)
    marks = torch.zeros(len(texts), wide, dtype=torch.bool)
    seen = [torch.rand(n) < 0.3 for n in lengths]
    for row, text in enumerate(texts):
        seen[row][-1] = True
        place = slice(0, len(text)) if side == "right" else slice(wide - len(text), wide)
        padded[row, place], mask[row, place], marks[row, place] = text, 1, seen[row]
    flat = {
        "token_embeddings": torch.cat(texts).unsqueeze(0),
        "cu_seq_lens_q": torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=torch.int32),
        "seq_idx": torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).unsqueeze(0).int(),
        "landmark_mask": torch.cat(seen).unsqueeze(0),
        **more,
    }
    return {"token_embeddings": padded, "attention_mask": mask, "landmark_mask": marks, **more}, flat, (texts, seen)


def copied(features):
    return {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in features.items()}


@pytest.mark.parametrize("mode", [*StPooling.POOLING_MODES, ("cls", "mean"), ["weightedmean", "max", "lasttoken"]])
@pytest.mark.parametrize("dtype", STEP, ids=str)
@pytest.mark.parametrize("side", ["right", "left"])
def test_pooling_equals_that_of_sentence_transformers(mode, dtype, side):
    torch.manual_seed(0)
    for lengths in ([7, 3, 1, 12], [1], [4, 4], [3, 30, 5], [200, 2]):
        for features in batches(lengths, side, dtype)[:2]:
            theirs = StPooling(5, mode)(copied(features))["sentence_embedding"]
            for training in (False, True):
                ours = Pooling(5, mode).train(training)(copied(features))["sentence_embedding"]
                assert ours.dtype == dtype
                torch.testing.assert_close(ours, theirs, rtol=STEP[dtype], atol=STEP[dtype])


@pytest.mark.parametrize("mode", StPooling.POOLING_MODES)
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("prompt", [0, 2, torch.tensor([2]), torch.tensor([2] * 3), torch.tensor(2)], ids=str)
def test_a_prompt_is_excluded_as_in_sentence_transformers(mode, side, prompt):
    torch.manual_seed(0)
    padded, flat, (texts, _) = batches([7, 3, 5], side, prompt_length=prompt)
    by_hand = torch.stack([cenote.pool(text, how=mode, skip=int(torch.as_tensor(prompt).max())) for text in texts])
    for features in (padded, flat):
        ours = Pooling(5, mode, include_prompt=False).eval()(copied(features))["sentence_embedding"]
        if not (isinstance(prompt, torch.Tensor) and prompt.ndim == 0):  # which theirs does not read
            theirs = StPooling(5, mode, include_prompt=False)(copied(features))["sentence_embedding"]
            torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(ours, by_hand)
        with_prompt = Pooling(5, mode).eval()(copied(features))["sentence_embedding"]
        torch.testing.assert_close(with_prompt, torch.stack([cenote.pool(text, how=mode) for text in texts]))


def test_one_prompt_length_serves_columns_that_a_loss_has_merged():
    """`merge_feature_batches` stacks the rows of several columns but keeps one column's prompt_length."""
    features = batches([7, 3, 5, 4], prompt_length=torch.tensor([2, 2]))[0]
    theirs = StPooling(5, "mean", include_prompt=False)(copied(features))["sentence_embedding"]
    for training in (False, True):
        ours = Pooling(5, "mean", include_prompt=False).train(training)(copied(features))["sentence_embedding"]
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "how", ["landmark", "multi_cls", "every_k", ("landmark", "mean"), ("cls", "multi_cls")], ids=str
)
@pytest.mark.parametrize("side", ["right", "left"])
def test_our_own_operators_do_not_depend_on_the_layout(how, side):
    torch.manual_seed(0)
    padded, flat, (texts, seen) = batches([7, 1, 12], side)
    options = {"k": 3} if how == "every_k" else {}
    module = Pooling(5, how, **options).eval()
    for features in (padded, flat):
        pooled = module(copied(features))["sentence_embedding"]
        for row, text in enumerate(texts):
            marked = options or {"landmarks": seen[row]}
            torch.testing.assert_close(pooled[row], cenote.pool(text, how=how, **marked))


@pytest.mark.parametrize("how", [*StPooling.POOLING_MODES, "every_k", "landmark"])
def test_features_are_not_changed_in_place(how):
    features = batches([4, 2], prompt_length=1)[0]
    before = copied(features)
    Pooling(5, how, include_prompt=False)(features)
    assert set(features) == {*before, "sentence_embedding"}
    assert all(torch.equal(torch.as_tensor(features[key]), torch.as_tensor(value)) for key, value in before.items())


def test_without_a_mask_of_their_length_all_tokens_are_real():
    tokens = torch.randn(2, 6, 5)
    for features in ({}, {"attention_mask": torch.tensor([[1, 1, 0], [1, 0, 0]])}):
        pooled = Pooling(5, "mean")({"token_embeddings": tokens, **features})["sentence_embedding"]
        torch.testing.assert_close(pooled, tokens.mean(1))


def test_batches_that_cannot_be_pooled_are_refused():
    features = batches([4, 2])[0]
    features["attention_mask"][1] = 0
    with pytest.raises(BadInput, match="row 1 has no real token"):
        Pooling(5, "mean")(features)
    broken = batches([4, 2])[0]
    broken["token_embeddings"][0, 1, 2] = float("nan")
    with pytest.raises(BadInput, match=r"row 0 .*NaN or inf"):
        Pooling(5, "max").eval()(copied(broken))
    assert Pooling(5, "max").train()(broken)["sentence_embedding"].isnan().any()  # for the gradient scaler to see
    with pytest.raises(BadInput, match="landmarks=None: this pooling averages marked positions"):
        Pooling(5, "landmark")({"token_embeddings": torch.zeros(1, 2, 5)})
    with pytest.raises(BadInput, match=r"WordWeights.*keep sentence-transformers' own Pooling"):
        Pooling(5, "mean")({**batches([4, 2])[0], "token_weights_sum": torch.tensor([3.0, 2.0])})


def test_bad_arguments_of_pooling_are_refused():
    with pytest.raises(UnknownName, match="unknown pooling 'landmarks'; did you mean 'landmark'"):
        Pooling(5, "landmarks")
    with pytest.raises(BadInput, match="unknown option 'k' for pooling mean: it takes no option"):
        Pooling(5, "mean", k=3)
    assert Pooling(5, ("cls", "every_k"), k=3).get_embedding_dimension() == 10
    assert Pooling(5, "mean_sqrt_len").pooling_mode == Pooling(5, "mean_sqrt_len_tokens").pooling_mode
    assert Pooling(5, ["max"]).get_config_dict() == StPooling(5, "max").get_config_dict()


@pytest.mark.parametrize(("how", "options"), [("cls", {}), ("every_k", {"k": 2})])
def test_setting_the_mode_changes_the_pooling(how, options):
    """Code written for sentence-transformers' Pooling sets `pooling_mode`; that must not be kept and ignored."""
    module, features = Pooling(5, how, **options), batches([4, 2])[0]
    for mode in ("max", ("mean", "max")):
        module.pooling_mode = mode
        theirs = StPooling(5, mode)
        torch.testing.assert_close(*(one(copied(features))["sentence_embedding"] for one in (module, theirs)))
        assert module.get_config_dict() == theirs.get_config_dict()
        assert module.get_embedding_dimension() == theirs.get_embedding_dimension()
    module.pooling_mode = how
    assert (module.get_embedding_dimension(), module.options) == (5, options)


# Copies of the module, with either class address.


def pickled(module):
    return pickle.loads(pickle.dumps(module))  # noqa: S301  our own


def saved(module):
    stream = io.BytesIO()
    torch.save(module, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


@pytest.mark.parametrize("how", ["mean", ("cls", "max"), "every_k", ("landmark", "mean")], ids=str)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled, saved], ids=lambda f: f.__name__)
def test_copies_pool_the_same(how, duplicate):
    options = {"k": 3} if how == "every_k" else {}
    module = Pooling(5, how, include_prompt=False, **options).eval()
    again = duplicate(module)
    assert type(again) is type(module)
    assert isinstance(again, Pooling)
    assert isinstance(again, StPooling)
    assert again.get_config_dict() == module.get_config_dict()
    features = batches([7, 3], prompt_length=2)[0]
    assert torch.equal(*(m(copied(features))["sentence_embedding"] for m in (module, again)))


def test_only_standard_operators_have_the_address_of_sentence_transformers():
    theirs = (StPooling.__module__, StPooling.__qualname__)
    for how in ("mean", ("cls", "mean_sqrt_len")):
        assert (type(Pooling(5, how)).__module__, type(Pooling(5, how)).__qualname__) == theirs
    for how in ("every_k", "landmark", ("mean", "landmark")):
        assert type(Pooling(5, how)) is Pooling
    assert (Pooling.__module__, Pooling.__qualname__) == ("cenote.nn", "Pooling")
    assert isinstance(Pooling(5, "mean"), Pooling)
    assert type(StPooling(5, "mean")) is StPooling


def test_a_subclass_keeps_its_class():
    class Scaled(Pooling):
        def forward(self, features, **kwargs):
            features = super().forward(features, **kwargs)
            features["sentence_embedding"] *= 2
            return features

    features = batches([4, 2])[0]
    assert type(Scaled(5, "mean")) is Scaled
    plain, scaled = (kind(5, "mean")(copied(features))["sentence_embedding"] for kind in (Pooling, Scaled))
    torch.testing.assert_close(scaled, plain * 2)


@pytest.mark.parametrize("how", ["max", "every_k", "landmark"])
def test_a_module_saves_and_loads_alone(tmp_path, how):
    module = Pooling(5, how, include_prompt=False, **({"k": 7} if how == "every_k" else {}))
    module.save(str(tmp_path))
    again = Pooling.load(str(tmp_path))
    assert again.get_config_dict() == module.get_config_dict()
    assert type(again) is type(module)


def test_old_configurations_are_read(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"word_embedding_dimension": 5, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true, '
        '"pooling_mode_max_tokens": false, "pooling_mode_mean_sqrt_len_tokens": false}'
    )
    assert Pooling.load(str(tmp_path)).get_config_dict() == StPooling(5, ("cls", "mean")).get_config_dict()


@pytest.mark.parametrize("how", ["mean", "max", "weightedmean", ("every_k", "cls")], ids=str)
def test_padding_has_no_influence_in_training(how):
    features = batches([4, 2])[0]
    spoiled = copied(features)
    spoiled["token_embeddings"][1, 2:] = float("nan")
    module = Pooling(5, how).train()
    assert torch.equal(*(module(f)["sentence_embedding"] for f in (features, spoiled)))


def test_one_long_text_does_not_pad_a_flattened_batch(monkeypatch):
    lengths = [3, 2000, 2, 5, 1, 7]
    tokens = torch.randn(1, sum(lengths), 4)
    bounds = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
    features = {"token_embeddings": tokens, "cu_seq_lens_q": bounds}
    made = []
    pad = layouts.pad_sequence
    monkeypatch.setattr(layouts, "pad_sequence", lambda *a, **k: made.append(pad(*a, **k)) or made[-1])
    vectors = Pooling(4, "mean").eval()(dict(features))["sentence_embedding"]
    expected = torch.stack([part.mean(0) for part in tokens[0].split(lengths)])
    torch.testing.assert_close(vectors, expected, rtol=1e-5, atol=1e-6)
    assert sum(part.shape[0] * part.shape[1] for part in made) < 2 * sum(lengths)
