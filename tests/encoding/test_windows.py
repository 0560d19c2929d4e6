"""Windows of texts, for every kind of tokenizer: they fit, they cover the text, they end between words."""

from itertools import pairwise

import numpy as np
import pytest

import cenote
from cenote.encoding.tokens import count_tokens, tokenise
from cenote.encoding.windows import Window, window_sizes, windows_of
from cenote.errors import BadInput, UnsupportedModel

SENTENCE = "The deep cave holds light. "
TEXTS = {
    "sentences": SENTENCE * 60,
    "words": "the pool collapse water cave stone " * 60,
    "Hebrew": "שלום עולם. " * 100,
    "emoji": "😀🏳️‍🌈 a cave " * 60,
    "Chinese": "你好吗。" * 150,
    "one word": "collapsing" * 100,
    "marks and NUL": "a\0b e\u0301e\u0301  \t \n " * 80,
    "white space around": "   \n" + SENTENCE * 30 + "  \t ",
}


@pytest.fixture(scope="module")
def model_of(tiny_st):
    made = {}

    def build(kind):
        if kind not in made:
            made[kind] = cenote.load(tiny_st(kind), device="cpu")
        return made[kind]

    return build


@pytest.mark.parametrize("kind", ["bert", "roberta", "t5", "llama", "qwen"])
@pytest.mark.parametrize("name", TEXTS)
def test_windows_cover_the_text_and_fit(model_of, kind, name):
    if (kind, name) == ("bert", "one word"):
        pytest.skip("it is one unknown token")
    model, text = model_of(kind), TEXTS[name]
    around = int(count_tokens(model, [""])[0])
    found = windows_of(model, text, 40, 5)
    assert len(found) > 2
    assert not text[: found[0].start].strip()
    assert not text[found[-1].end :].strip()
    for one, two in pairwise(found):
        assert one.start < two.start
        assert one.end < two.end
        assert not text[one.end : max(one.end, two.start)].strip()
    cut = [text[window.start : window.end] for window in found]
    lengths = tokenise(model, cut).full_lengths
    # Bytes of one character go together, and a word that was cut may be cut into other pieces.
    assert lengths.max() <= 40 + around + (4 if name in ("emoji", "Chinese", "one word", "Hebrew") else 0)
    assert np.median(lengths) > 20


@pytest.mark.parametrize("kind", ["bert", "roberta", "t5"])
def test_windows_are_whole_sentences_where_there_are_some(model_of, kind):
    text = TEXTS["sentences"]
    for window in windows_of(model_of(kind), text, 60, 25):
        assert text[window.start : window.end].strip().startswith("The")
        assert text[window.start : window.end].rstrip().endswith(".")


@pytest.mark.parametrize("kind", ["bert", "roberta", "t5"])
def test_windows_are_whole_words_where_there_are_some(model_of, kind):
    text = TEXTS["words"]
    for window in windows_of(model_of(kind), text, 50, 6):
        assert set(text[window.start : window.end].split()) <= set(text.split())


def test_short_and_empty_texts_are_one_window(model_of):
    assert windows_of(model_of("bert"), "a pool", 10, 2) == [Window(0, 6)]
    assert windows_of(model_of("bert"), "", 10, 2) == [Window(0, 0)]
    assert windows_of(model_of("bert"), "  \n", 10, 2) == [Window(0, 3)]


def test_windows_do_not_depend_on_the_pieces_that_are_tokenised(model_of, monkeypatch):
    from cenote.encoding import tokens

    text = SENTENCE * 100
    whole = windows_of(model_of("bert"), text, 40, 5)
    monkeypatch.setattr(tokens, "_PIECE", 300)
    assert windows_of(model_of("bert"), text, 40, 5) == whole


def test_windows_are_those_of_the_reader_of_the_task(routed, model_of):
    for task, kind, limit in (("query", "bert", 256), ("document", "qwen", 40)):
        around = int(count_tokens(model_of(kind), [""])[0])
        assert window_sizes(routed, None, None, 0, task) == (limit - around, 0)
        for text in (TEXTS["Hebrew"], TEXTS["words"]):
            assert windows_of(routed, text, 30, 5, task) == windows_of(model_of(kind), text, 30, 5)
    assert window_sizes(routed, None, None, 0) == window_sizes(routed, None, None, 0, "document")


def test_static_embeddings_of_queries_are_no_obstacle_to_windows_of_documents(with_static_queries, model_of):
    document = model_of("bert")
    model = with_static_queries(document)
    assert window_sizes(model, None, None, None) == window_sizes(document, None, None, None)


def test_sizes_by_default_and_as_asked(tiny_st):
    model = cenote.load(tiny_st("bert", prompts={"ask": "query: "}), device="cpu")
    assert window_sizes(model, None, None, None) == (254, 31)
    assert window_sizes(model, "ask", None, None) == (252, 31)
    assert window_sizes(model, None, 100, None) == (100, 12)
    assert window_sizes(model, None, 100, 0) == (100, 0)
    assert window_sizes(model, None, 8, 3) == (8, 3)
    model.max_seq_length = None
    assert window_sizes(model, None, 1000, 10) == (1000, 10)


@pytest.mark.parametrize(
    ("size", "overlap", "said"),
    [
        (7, 0, "window=7: pass at least 8 tokens, and at most the 254"),
        (255, 0, "window=255"),
        (100, 50, "overlap=50: pass at least 0 and fewer than half of the 100"),
        (100, -1, "overlap=-1"),
    ],
)
def test_sizes_out_of_range_are_refused(model_of, size, overlap, said):
    with pytest.raises(BadInput, match=said):
        window_sizes(model_of("bert"), None, size, overlap)


def test_without_a_limit_a_size_is_needed(tiny_st):
    model = cenote.load(tiny_st("bert"), device="cpu")
    model.max_seq_length = None
    with pytest.raises(BadInput, match="states no token limit"):
        window_sizes(model, None, None, None)
    with pytest.raises(BadInput, match=r"window=4: pass at least 8 tokens\.$"):
        window_sizes(model, None, 4, None)


def test_tokenizers_without_the_characters_of_tokens_are_refused(tiny_st, monkeypatch):
    model = cenote.load(tiny_st("bert"), device="cpu")
    monkeypatch.setattr(type(model.tokenizer), "is_fast", False)
    with pytest.raises(UnsupportedModel, match="not a fast tokenizer"):
        window_sizes(model, None, None, None)
