"""A landmark model: tokenisation -> refusals -> end to end, by hand, with every operator."""

import copy

import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import DataCollatorWithFlattening

import cenote
from cenote.errors import BadInput
from cenote.functional.landmarks import drawn
from cenote.functional.pooling import POOLINGS
from cenote.models.repooling import repool
from cenote.nn import LandmarkTransformer, Pooling

# The special tokens before, between and after texts, per kind, and what is inserted.
AROUND = {
    "bert": (["[CLS]"], ["[SEP]"], ["[SEP]"], "[SEP]"),
    "roberta": (["<s>"], ["</s>", "</s>"], ["</s>"], "</s>"),
    "t5": ([], ["</s>"], ["</s>"], "</s>"),
    "llama": (["<bos>"], ["<eos>", "<bos>"], ["<eos>"], "<eos>"),  # <eos> is ours: the tokenizer closes nothing
    "qwen": ([], ["<end>"], ["<end>"], "<turn>"),
    "neox": ([], ["<eos>"], ["<eos>"], "<eos>"),
}
TEXTS = [
    "the pool",
    "",
    "a",
    "one two three. the deep cave! light collapse, the water [SEP] </s> <eos> and the stone",
    "你好吗。the pool of light: a collapse of the deep, deep water in a cave of stone, one two three",
    "water",
]
PAIRS = [("the pool", "a cave of stone and light"), ("", "water"), ("one two three, the deep pool. light", "")]


# What a landmark model reads.


def row_by_hand(tokenizer, kind, texts, interval):
    """Ids and marks of a text or a pair, said plainly."""
    before, between, after, inserted = (
        [tokenizer.convert_tokens_to_ids(token) for token in tokens] if isinstance(tokens, list) else tokens
        for tokens in AROUND[kind]
    )
    closings = [between, after] if len(texts) == 2 else [after]
    ids, marks = list(before), []
    for text, closing in zip(texts, closings, strict=True):
        content = tokenizer(text, add_special_tokens=False)["input_ids"]
        for start in range(0, len(content), interval):
            if start:
                marks.append(len(ids))
                ids.append(tokenizer.convert_tokens_to_ids(inserted))
            ids += content[start : start + interval]
        marks.append(len(ids))
        ids += closing
    return ids, marks


def hidden(model, ids, types=None):
    """The last hidden states of one text, alone and without padding, straight from the transformer."""
    inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    if types is not None:
        inputs["token_type_ids"] = torch.tensor([types])
    with torch.inference_mode():
        return model[0].model(**inputs).last_hidden_state[0]


def landmarked(folder, interval=4, **settings):
    return repool(SentenceTransformer(str(folder), device="cpu"), "landmark", interval=interval, **settings).eval()


def read(model, inputs, **kwargs):
    """Rows of ids, types and marks without the padding."""
    features = model.preprocess(inputs, **kwargs)
    rows = []
    for row, mask in enumerate(features["attention_mask"].bool()):
        types = features["token_type_ids"][row, mask].tolist() if "token_type_ids" in features else None
        rows.append((features["input_ids"][row, mask].tolist(), types, features["landmark_mask"][row, mask].tolist()))
        assert not features["landmark_mask"][row, ~mask].any()
    return rows


@pytest.mark.parametrize("interval", [1, 4, 10**6])
def test_texts_and_pairs_are_tokenised_as_by_hand(kind, tiny_st, interval):
    model = landmarked(tiny_st(kind), interval)
    for inputs in (TEXTS, PAIRS, [list(pair) for pair in PAIRS], [(text,) for text in TEXTS]):
        for given, (ids, _, marks) in zip(inputs, read(model, inputs), strict=True):
            texts = [given] if isinstance(given, str) else given
            assert (ids, [i for i, mark in enumerate(marks) if mark]) == row_by_hand(
                model.tokenizer, kind, texts, interval
            )


@pytest.mark.parametrize("most", [None, 9, 10, 11])
@pytest.mark.parametrize("side", ["right", "left"])
def test_one_chunk_equals_the_plain_tokenisation(kind, tiny_st, most, side):
    model = landmarked(tiny_st(kind), 10**6)
    model.tokenizer.truncation_side = side
    model.max_seq_length = most or 256
    plain = model[0].plain()
    for inputs in (TEXTS, TEXTS[:1], PAIRS, [pair[::-1] for pair in PAIRS]):
        ours = model[0].preprocess(inputs)
        if kind in ("llama", "neox"):  # whose tokenizer closes nothing: a landmark is added to each text
            texts = 1 if isinstance(inputs[0], str) else 2
            theirs = plain.preprocess(inputs, max_length=model.max_seq_length - texts)
            rows = [
                ids[mask.bool()].tolist()
                for ids, mask in zip(theirs["input_ids"], theirs["attention_mask"], strict=True)
            ]
            assert rows == [
                [i for i, mark in zip(ids, marks, strict=True) if not mark] for ids, _, marks in read(model, inputs)
            ]
            continue
        theirs = plain.preprocess(inputs)
        assert set(ours) == {*theirs, "landmark_mask"}
        for key in set(theirs) - {"modality"}:
            assert torch.equal(ours[key], theirs[key]), key
        assert ours["modality"] == theirs["modality"]


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_truncated_text_ends_with_a_landmark(kind, tiny_st, side):
    model = landmarked(tiny_st(kind), 8)
    model.tokenizer.truncation_side = side
    content = model.tokenizer(text := " ".join(TEXTS) * 9, add_special_tokens=False)["input_ids"]
    for most in (6, 19, 20, 21, 64):
        model.max_seq_length = most
        ((ids, _, marks),) = read(model, [text])
        assert most - 1 <= len(ids) <= most
        assert marks[-1]
        own = model.tokenizer(text, add_special_tokens=True)["input_ids"]
        before = 1 if kind in ("bert", "roberta", "llama") else 0
        left = [token for token, mark in zip(ids[before:], marks[before:], strict=True) if not mark]
        assert left == (content[: len(left)] if side == "right" else content[-len(left) :])
        assert ids[:before] == own[:before]
        assert sum(marks) == len(ids) - before - len(left)
    model.max_seq_length = 1
    with pytest.raises(BadInput, match=r"max_seq_length=1 leaves no room .* at least [23]\."):
        model.encode(text)


def test_limits_of_tasks_and_calls_are_kept(tiny_st):
    model = landmarked(tiny_st("bert"))
    model[0].query_length, model[0].document_length = 8, 11
    sizes = [len(read(model, [TEXTS[4]], **kwargs)[0][0]) for kwargs in ({"task": "query"}, {"task": "document"})]
    assert sizes == [8, 11]
    assert len(read(model, [TEXTS[4]], task="query", max_length=9)[0][0]) == 9
    assert len(read(model, [TEXTS[4]], processing_kwargs={"text": {"max_length": 5}}, max_length=9)[0][0]) == 5
    assert model.encode(TEXTS[4], processing_kwargs={"text": {"max_length": 8}}).shape == (32,)
    model.max_seq_length = 7
    assert len(read(model, [TEXTS[4]], task="query")[0][0]) == len(read(model, [TEXTS[4]])[0][0]) <= 7


def test_sentences_are_chunks(kind, tiny_st):
    model = landmarked(tiny_st(kind), splitter="sentence")
    sentences = ["the pool.", "a cave!", "light\n", "one two"]
    for joined in (" ".join(sentences[:2]), "the pool. a cave! light\none two"):
        ((ids, _, marks),) = read(model, [joined])
        ends = [i for i, mark in enumerate(marks) if mark]
        starts = [0, *(end + 1 for end in ends[:-1])]
        chunks = [model.tokenizer.decode(ids[s:e], skip_special_tokens=True) for s, e in zip(starts, ends, strict=True)]
        wanted = [sentence for sentence in sentences if sentence.strip() in joined]
        assert ["".join(chunk.split()) for chunk in chunks] == ["".join(sentence.split()) for sentence in wanted]


def test_intervals_are_drawn_by_text_where_the_epoch_is_given(tiny_st):
    """`tests/training/test_collator.py` compares whole batches, with loader workers too."""
    model = landmarked(tiny_st("bert"), 4, splitter="variable", training_intervals=[2, 5], seed=3)
    texts = [*TEXTS, *(f"{TEXTS[4]} {word}" for word in ("pool", "cave", "stone"))]

    def by_hand(text, interval):
        ids, marks = row_by_hand(model.tokenizer, "bert", [text], interval)
        return ids, [place in marks for place in range(len(ids))]

    def rows(inputs, **options):
        return [(ids, marks) for ids, _, marks in read(model, inputs, **options)]

    for _ in (model.train(), model.eval()):  # the mode makes no difference
        assert rows(texts) == [by_hand(text, 4) for text in texts]
        for epoch in (0, 1, 0):
            expected = [by_hand(text, drawn([2, 5], 3, epoch, text)) for text in texts]
            assert rows(texts, epoch=epoch) == expected
            assert rows(texts[::-1], epoch=epoch) == expected[::-1]
    assert rows(texts, epoch=0) != rows(texts, epoch=1)
    fixed = landmarked(tiny_st("bert"), 4)
    assert [row[0] for row in read(fixed, texts, epoch=0)] == [ids for ids, _ in rows(texts)]


def test_flattened_batches_hold_the_same_rows_end_to_end(kind, tiny_st):
    """As under flash attention with variable lengths, which a CPU lacks: the hidden states are made text by text."""
    model = landmarked(tiny_st(kind))
    model.prompts = {"query": "query: "}
    model[1].include_prompt = False
    padded = {key: read(model, TEXTS, prompt=prompt) for key, prompt in (("", None), ("query", "query: "))}
    expected = {"": model.encode(TEXTS), "query": model.encode(TEXTS, prompt_name="query")}
    reader = model[0]
    reader.data_collator = DataCollatorWithFlattening(
        return_seq_idx=True, return_flash_attn_kwargs=True, return_position_ids=True
    )
    reader._flatten_position_offset = reader._infer_flatten_position_offset()
    reader.can_flatten_inputs = True
    for key, rows in padded.items():
        flat = model.preprocess(TEXTS, prompt=model.prompts.get(key))
        lengths = flat["cu_seq_lens_q"].diff().tolist()
        assert lengths == [len(ids) for ids, _, _ in rows]
        assert flat["input_ids"].tolist() == [[token for ids, _, _ in rows for token in ids]]
        assert flat["landmark_mask"].tolist() == [[mark for _, _, marks in rows for mark in marks]]
        offset = 2 if kind == "roberta" else 0  # positions of RoBERTa's kin begin after that of the padding
        assert flat["position_ids"].tolist() == [[offset + i for n in lengths for i in range(n)]]
        assert "attention_mask" not in flat
        flat["token_embeddings"] = torch.cat([hidden(model, ids) for ids, _, _ in rows]).unsqueeze(0)
        pooled = model[1](flat)["sentence_embedding"]
        torch.testing.assert_close(pooled, torch.from_numpy(expected[key]), rtol=1e-4, atol=1e-5)


# When it cannot.


def test_a_batch_cannot_be_padded_without_a_padding_token(tiny_st):
    model = landmarked(tiny_st("neox"))
    model.tokenizer.pad_token = None
    assert model.encode(["water"]).shape == (1, 32)
    with pytest.raises(BadInput, match=r"no padding token: set model\.tokenizer\.pad_token"):
        model.encode(["water", "the deep pool of light"])


def test_models_that_read_messages_are_refused(tiny, tmp_path):
    model = SentenceTransformer(str(tiny("qwen")), device="cpu")
    model.tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    model[0].save(str(tmp_path))
    with pytest.raises(BadInput, match="Qwen3Model takes text, message: landmarks need a model of plain text"):
        repool(SentenceTransformer(str(tmp_path), device="cpu"), "landmark")


@pytest.mark.parametrize(
    "settings", [{"interval": 0}, {"splitter": "words"}, {"marker": "sep"}, {"training_intervals": []}]
)
def test_settings_are_checked_before_anything_is_loaded(settings):
    with pytest.raises(BadInput, match=r"interval=0|unknown splitter|unknown marker|training_intervals is empty"):
        LandmarkTransformer("no/such/model/at/all", **settings)


# End to end.


def by_hand(model, kind, texts, how, interval=4):
    """One vector per text, from hidden states made one text at a time."""
    types = model.tokenizer.model_input_names
    vectors = []
    for text in texts:
        own, marks = model.tokenizer(text), []
        ids = own["input_ids"]
        if how == "landmark":
            ids, marks = row_by_hand(model.tokenizer, kind, [text], interval)
        if how == "multi_cls":
            opening = model.tokenizer.cls_token_id if kind != "llama" else model.tokenizer.bos_token_id
            content = model.tokenizer(text, add_special_tokens=False)["input_ids"] or [None]
            ids = [t for i, token in enumerate(content) for t in ([opening] if i % interval == 0 else []) + [token]]
            ids = [token for token in ids if token is not None]
            marks = [i + i // interval for i in range(0, len(content), interval)]
            ids += own["input_ids"][len(own["input_ids"]) - (kind != "llama") :]
        states = hidden(model, ids, [0] * len(ids) if "token_type_ids" in types else None)
        options = {}
        if how in ("landmark", "multi_cls"):
            options["landmarks"] = torch.zeros(len(ids), dtype=torch.bool)
            options["landmarks"][marks] = True
        elif how == "every_k":
            options["k"] = interval
        vectors.append(cenote.pool(states, how=how, **options))
    return torch.stack(vectors)


def every_four(how):
    return {"k": 4} if how == "every_k" else {"interval": 4} if POOLINGS[how].marks else {}


def test_every_operator_gives_what_is_made_by_hand(kind, tiny_st):
    # Without special tokens an empty text has no token at all.
    texts = [text for text in TEXTS if text or kind != "neox"]
    model = SentenceTransformer(str(tiny_st(kind)), device="cpu")
    for how in POOLINGS:
        if how == "multi_cls" and kind in ("t5", "qwen", "neox"):
            continue
        repool(model, how, **every_four(how))
        expected = by_hand(model, kind, texts, how)
        torch.testing.assert_close(model.encode(texts, convert_to_tensor=True), expected, rtol=1e-4, atol=1e-5)


def test_concatenations_give_both(kind, tiny_st):
    model = repool(SentenceTransformer(str(tiny_st(kind)), device="cpu"), ("landmark", "max"), interval=4)
    assert model.get_embedding_dimension() == 64
    vectors = model.encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(vectors[:, :32], by_hand(model, kind, TEXTS, "landmark"), rtol=1e-4, atol=1e-5)


def test_an_empty_text_without_any_token_is_refused_by_its_row(tiny_st):
    model = repool(SentenceTransformer(str(tiny_st("neox")), device="cpu"), "mean")
    with pytest.raises(BadInput, match="row 1 has no real token"):
        model.encode(["water", ""])


@pytest.mark.parametrize("how", POOLINGS)
def test_the_demo_model_by_hand(demo_path, how):
    model = SentenceTransformer(str(demo_path), device="cpu", local_files_only=True)
    repool(model, how, **every_four(how))
    expected = torch.nn.functional.normalize(by_hand(model, "bert", TEXTS, how))
    torch.testing.assert_close(model.encode(TEXTS, convert_to_tensor=True), expected, rtol=0, atol=1e-6)


def test_batch_order_and_composition_make_no_difference(kind, tiny_st):
    model = landmarked(tiny_st(kind))
    alone = torch.cat([model.encode([text], convert_to_tensor=True) for text in TEXTS])
    order = [4, 1, 5, 0, 3, 2]
    for size in (2, 32):
        mixed = model.encode([TEXTS[i] for i in order], batch_size=size, convert_to_tensor=True)
        torch.testing.assert_close(mixed, alone[order], rtol=1e-4, atol=1e-5)


def test_pairs_are_pooled_over_both_texts(kind, tiny_st):
    model = landmarked(tiny_st(kind))
    vectors = model.encode(PAIRS, convert_to_tensor=True)
    for vector, pair, (_, types, _) in zip(vectors, PAIRS, read(model, PAIRS), strict=True):
        ids, marks = row_by_hand(model.tokenizer, kind, pair, 4)
        torch.testing.assert_close(vector, hidden(model, ids, types)[marks].mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("include", [True, False])
def test_prompts(kind, tiny_st, include):
    prompts = {"query": "query: the pool, ", "document": ""}  # more than a chunk of prompt
    model = landmarked(tiny_st(kind, prompts=prompts, include_prompt=include))
    assert model[1].include_prompt is include
    texts = [text for text in TEXTS if text]
    prompted = [prompts["query"] + text for text in texts]
    expected = []
    lead = len(model.tokenizer(prompts["query"], add_special_tokens=False)["input_ids"])
    for text in prompted:
        ids, marks = row_by_hand(model.tokenizer, kind, [text], 4)
        first = 0 if include else lead // 4  # the marks of chunks that are nothing but prompt
        expected.append(hidden(model, ids, [0] * len(ids) if kind == "bert" else None)[marks[first:]].mean(0))
    expected = torch.stack(expected)
    for vectors in (
        model.encode_query(texts, convert_to_tensor=True),
        model.encode(texts, prompt=prompts["query"], convert_to_tensor=True),
    ):
        torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)
    plain = model.encode_document(texts, convert_to_tensor=True)
    torch.testing.assert_close(plain, by_hand(model, kind, texts, "landmark"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("marker", ["landmark", "multi_cls"])
def test_a_prompt_is_excluded_from_the_shortest_text(tiny_st, marker):
    model = repool(SentenceTransformer(str(tiny_st("bert", include_prompt=False)), device="cpu"), marker, interval=32)
    vectors = model.encode(["", "a", "water"], prompt="query: ")
    assert len({vector.tobytes() for vector in vectors}) == 3


def test_a_truncated_prompt_excludes_no_text(tiny_st):
    model = landmarked(tiny_st("bert", include_prompt=False))
    model.tokenizer.truncation_side, model.max_seq_length = "left", 20
    text = TEXTS[4] * 3
    torch.testing.assert_close(model.encode(text, prompt="query: " + "the pool, " * 6), model.encode(text))


@pytest.mark.parametrize("how", ["landmark", "every_k", "mean"])
def test_features_can_be_used_again(tiny_st, how):
    """Losses that wrap others run the model more than once on the same features."""
    model = repool(SentenceTransformer(str(tiny_st("bert", include_prompt=False)), device="cpu"), how)
    features = model.preprocess(TEXTS, prompt="query: ")
    keys = set(features)
    vectors = [model(features)["sentence_embedding"] for _ in range(2)]
    assert keys <= set(features)
    torch.testing.assert_close(*vectors)


def test_a_model_built_by_hand_and_its_copy(tiny, tiny_st):
    modules = [LandmarkTransformer(str(tiny("bert")), interval=4), Pooling(32, "landmark")]
    model = SentenceTransformer(modules=modules, device="cpu")
    expected = landmarked(tiny_st("bert")).encode(TEXTS)
    for one in (model, copy.deepcopy(model)):
        torch.testing.assert_close(one.encode(TEXTS), expected, rtol=1e-5, atol=1e-6)
    assert model.encode([]).shape == (0,)
    assert [len(row["landmark_mask"]) for row in model.encode(["a", "the pool"], output_value=None)] == [4, 4]


def test_two_processes_encode_as_one(tiny_st):
    model = landmarked(tiny_st("bert"))
    expected = model.encode(TEXTS * 4)
    pool = model.start_multi_process_pool(["cpu", "cpu"])
    try:
        vectors = model.encode(TEXTS * 4, pool=pool, chunk_size=6)
    finally:
        model.stop_multi_process_pool(pool)
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"max_lenght": 3}, "max_lenght"),
        ({"processing_kwargs": {"common": {"padding": False}}}, "common.padding"),
        ({"processing_kwargs": {"text": {"padding": "max_length"}}}, "text.padding"),
    ],
)
def test_options_without_effect_are_refused(tiny_st, options, name):
    with pytest.raises(BadInput, match=f"{name} has no effect with landmarks: only max_length can be set"):
        landmarked(tiny_st("bert"))[0].preprocess(TEXTS, **options)
