"""A tiny random model of every family in the table, and an oracle that does not use the table."""

import copy
from contextlib import contextmanager

import pytest

_BERT = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_ROBERTA = {**_BERT, "pad_token_id": 0, "max_position_embeddings": 64}
_LLAMA = {**_BERT, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_DEBERTA = {
    **_BERT,
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
}
_T5 = {"vocab_size": 100, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
_T5 = {**_T5, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 16, "initializer_factor": 0.3}
_BART = {"vocab_size": 100, "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4}
_BART |= {"decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64}
_BART |= {"pad_token_id": 0}
_GEMMA3 = {**_LLAMA, "query_pre_attn_scalar": 8, "sliding_window": 6}

# name: class of the model, its config; those after `others` are in the table without being promised by name.
FAMILIES = {
    "bert": ("BertModel", _BERT),
    "roberta": ("RobertaModel", _ROBERTA),
    "xlm-roberta": ("XLMRobertaModel", _ROBERTA),
    "camembert": ("CamembertModel", _ROBERTA),
    "mpnet": ("MPNetModel", {**_BERT, "max_position_embeddings": 64}),
    "electra": ("ElectraModel", {**_BERT, "embedding_size": 16}),
    "albert": ("AlbertModel", {**_BERT, "embedding_size": 16}),
    "distilbert": (
        "DistilBertModel",
        {"vocab_size": 100, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    ),
    "deberta-v2": ("DebertaV2Model", {**_DEBERTA, "max_relative_positions": -1}),
    "deberta-v3": ("DebertaV2Model", {**_DEBERTA, "share_att_key": True}),
    "modernbert": (
        "ModernBertModel",
        {**_LLAMA, "num_hidden_layers": 4, "local_attention": 6, "cls_token_id": 1, "sep_token_id": 2},
    ),
    "nomic-bert": ("NomicBertModel", _BERT),
    "eurobert": ("EuroBertModel", _LLAMA),
    "gte": ("GteModel", _BERT),
    "jina-v3": ("JinaEmbeddingsV3Model", {**_BERT, "pad_token_id": 0}),
    "t5": ("T5EncoderModel", _T5),
    "qwen2": ("Qwen2Model", _LLAMA),
    "qwen3": ("Qwen3Model", _LLAMA),
    "llama": ("LlamaModel", _LLAMA),
    "mistral": ("MistralModel", _LLAMA),
    "gemma3": ("Gemma3TextModel", _GEMMA3),
    "embeddinggemma": ("Gemma3TextModel", {**_GEMMA3, "use_bidirectional_attention": True}),
    # others
    "ernie": ("ErnieModel", _BERT),
    "big-bird": ("BigBirdModel", {**_BERT, "attention_type": "original_full"}),
    "longformer": (
        "LongformerModel",
        {**_BERT, "attention_window": [4, 4], "pad_token_id": 0, "max_position_embeddings": 64},
    ),
    "mt5": ("MT5EncoderModel", _T5),
    "gemma": ("GemmaModel", _LLAMA),
    "gemma2": ("Gemma2Model", {**_LLAMA, "attn_logit_softcapping": 2.0, "sliding_window": 6}),
    "granite": ("GraniteModel", {**_LLAMA, "attention_multiplier": 0.3}),
    "phi3": ("Phi3Model", {key: value for key, value in _LLAMA.items() if key != "head_dim"}),
    "bart": ("BartModel", _BART),
    "xlnet": ("XLNetModel", {"vocab_size": 100, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}),
    "embeddinggemma2": (
        "EmbeddingGemma2TextModel",
        {**_LLAMA, "sliding_window": 6, "global_head_dim": 8, "hidden_size_per_layer_input": 0},
    ),
}
# Others are left to `make broad`: they repeat the code that these run.
CORE = {
    *("bert", "roberta", "mpnet", "distilbert", "albert", "deberta-v3", "modernbert"),
    *("t5", "qwen3", "embeddinggemma"),
}
EAGER_ONLY = {"mpnet", "deberta-v2", "deberta-v3", "gemma2", "xlnet", "longformer", "big-bird"}


def pytest_generate_tests(metafunc):
    if "family" in metafunc.fixturenames:
        broad = pytest.mark.broad
        metafunc.parametrize("family", [name if name in CORE else pytest.param(name, marks=broad) for name in FAMILIES])


def _make(cls, attention, config):
    import torch
    import transformers as hf

    if not hasattr(hf, cls):
        pytest.skip(f"transformers {hf.__version__} has no {cls}")
    torch.manual_seed(0)
    settings = getattr(hf, cls).config_class(**config)
    settings._attn_implementation = attention
    model = getattr(hf, cls)(settings)
    model = model.get_encoder() if cls == "BartModel" else model
    # Sharp attention, so that a temperature matters, and no weight that is zero by initialisation.
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += torch.randn(parameter.shape, generator=generator) * (0.2 if parameter.ndim > 1 else 0.1)
    return model.eval()


@pytest.fixture(scope="session")
def network():
    """`network(family, attention)`: a model of one's own."""
    made = {}

    def build(family, attention="eager", **config):
        cls, settings = FAMILIES.get(family, (family, _BERT))
        if config:
            return _make(cls, attention, {**settings, **config})
        if (family, attention) not in made:
            made[family, attention] = _make(cls, attention, settings)
        return copy.deepcopy(made[family, attention])

    return build


@pytest.fixture(scope="session")
def variants():
    """`variants(family)`: the attention implementations that it has on a CPU."""
    return lambda family: ["eager"] if family in EAGER_ONLY else ["eager", "sdpa"]


@pytest.fixture(scope="session")
def batch():
    """`batch(side)`: three texts of different lengths, padded on that side; `None`: three of one length."""
    import torch

    def build(side="right"):
        generator = torch.Generator().manual_seed(2)
        ids, mask = torch.zeros(3, 12, dtype=torch.long), torch.zeros(3, 12, dtype=torch.long)
        for row, length in enumerate((12, 7, 3) if side else (12, 12, 12)):
            where = slice(12 - length, 12) if side == "left" else slice(0, length)
            ids[row, where] = torch.randint(5, 100, (length,), generator=generator)
            mask[row, where] = 1
        return {"input_ids": ids, "attention_mask": mask}

    return build


@pytest.fixture(scope="session")
def hooks_on():
    """`hooks_on(model)`: the modules that have a hook or a replaced method."""

    def find(model):
        replaced = {"forward", "save_pretrained"}
        named = model.named_modules()
        return [name for name, m in named if m._forward_hooks or m._forward_pre_hooks or replaced & vars(m).keys()]

    return find


@pytest.fixture(scope="session")
def read():
    """`read(model, batch)`: the embeddings of the real tokens."""
    import torch

    def run(model, features):
        with torch.no_grad():
            return model(**features)[0][features["attention_mask"].bool()]

    return run


@pytest.fixture(scope="session")
def oracle():
    """`with oracle(tau)`: every softmax divides its input by tau, a number or one per text. For eager models."""
    import torch

    @contextmanager
    def wrapped(tau):
        functional, original = torch.nn.functional, torch.Tensor.softmax

        def softmax(logits, dim=None, dtype=None, **_):
            by = tau.view(-1, *[1] * (logits.ndim - 1)) if torch.is_tensor(tau) else tau
            divided = (logits / by).clamp(min=torch.finfo(logits.dtype).min)
            return original(divided, dim, dtype)

        others = functional.softmax, torch.softmax
        functional.softmax = torch.softmax = torch.Tensor.softmax = softmax
        try:
            yield
        finally:
            functional.softmax, torch.softmax = others
            torch.Tensor.softmax = original

    return wrapped
