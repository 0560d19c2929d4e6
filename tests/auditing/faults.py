"""Faults to plant into models: each is a function that returns a model, or the folder of one, and texts."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from torch import nn

import cenote
from cenote._nn.config_keys import KEPT_IN_CONFIG
from cenote.nn import Pooling

from ..bags import WIDTH, FirstTokens, make_texts
from ..words import WORDS

# Texts of the words that tiny models know, without sentences: these models find no text by its sentences.
TINY = [text.lower().replace(".", "") for text in make_texts(60, 1, 20, vocabulary=WORDS)]
TINY = [" ".join(text.split()[: 4 + place % 17]) for place, text in enumerate(TINY)]
BAGS = make_texts(60, 4, 8, seed=3)


def read(folder):
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def edit(path, **changes):
    """Change keys of a JSON file."""
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **changes}))


def save_bag_model(folder, bag_folder, pooling="mean", **options):
    from sentence_transformers.base.modules import Transformer

    modules = [Transformer(str(bag_folder)), Pooling(WIDTH, pooling)]
    model = SentenceTransformer(modules=modules, device="cpu", **options)
    model.save(str(folder), create_model_card=False)
    return folder


def with_dense():
    torch.manual_seed(0)
    return Dense(32, 24, activation_function=nn.Tanh()), Normalize()


# Each takes `copy_of`, which gives a folder to change, and `bags`, the folder of a model of bags of words.


def dense_dropped(copy_of, bags):
    model = read(copy_of("bert", *with_dense()))
    del model[2]
    return model, TINY


def dense_not_listed(copy_of, bags):
    folder = copy_of("bert", *with_dense())
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([one for one in modules if "Dense" not in one["type"]]))
    return folder, TINY


def mask_ignored(copy_of, bags):
    model = read(copy_of("bert"))
    forget_mask(model, lambda: True)
    return model, TINY


def mask_lost_at_half_precision(copy_of, bags):
    model = read(copy_of("bert"))
    forget_mask(model, lambda: torch.is_autocast_enabled("cpu"))
    return model, TINY


def forget_mask(model, when):
    """Let every token see the padding, where `when()` is true."""
    network = model[0].model
    original = network.forward

    def forward(*args, attention_mask=None, **kwargs):
        mask = torch.ones_like(attention_mask) if when() else attention_mask
        return original(*args, attention_mask=mask, **kwargs)

    network.forward = forward


def padding_counted_as_text(copy_of, bags):
    model = read(copy_of("bert"))
    original = model[0].preprocess

    def preprocess(*args, **kwargs):
        features = original(*args, **kwargs)
        features["attention_mask"] = torch.ones_like(features["attention_mask"])
        return features

    model[0].preprocess = preprocess
    return model, TINY


# Classes in the place of a Pooling have its name, so that the fault alone tells them apart.
Shorter = type("Pooling", (FirstTokens,), {})


class LastByCount(Pooling):
    """Takes the token at the place that is the number of tokens: right only where padding is on the right."""

    def forward(self, features, **_):
        last = features["attention_mask"].sum(1) - 1
        tokens = features["token_embeddings"]
        return {**features, "sentence_embedding": tokens[torch.arange(len(last)), last]}


def last_token_by_count(copy_of, bags):
    model = read(copy_of("qwen", pooling="lasttoken"))
    model[1] = type("Pooling", (LastByCount,), {})(32, "lasttoken")
    return model, TINY


def half_limit(copy_of, bags):
    model = read(copy_of("bert"))
    model.max_seq_length //= 2
    return model, TINY


def half_pooled(copy_of, bags):
    model = read(save_bag_model(copy_of.folder / "bags", bags))
    model[1] = Shorter(0.5)
    return model, BAGS


def tokenizer_cuts_earlier(copy_of, bags):
    model = read(copy_of("bert"))
    original = model[0].preprocess

    def preprocess(*args, **kwargs):
        features = original(*args, **kwargs)
        long = (kwargs.get("max_length") or 0) < 2**20
        return {
            name: value[:, :100] if long and isinstance(value, torch.Tensor) and value.ndim == 2 else value
            for name, value in features.items()
        }

    model[0].preprocess = preprocess
    return model, TINY


PROMPTS = {"query": "query : ", "document": "document : "}


def prompts_left_out(copy_of, bags):
    model = read(copy_of("bert", prompts=PROMPTS))
    model.prompts = {"query": "", "document": ""}
    return model, TINY


def default_prompt_left_out(copy_of, bags):
    model = read(copy_of("bert", prompts=PROMPTS, default_prompt_name="query"))
    model.default_prompt_name = None
    return model, TINY


def float16_overflow(copy_of, bags, dtype="float16"):
    """Large numbers within a block, which the next weights make small again."""
    folder = copy_of("bert")
    change_weights(
        folder,
        {
            "encoder.layer.1.intermediate.dense.weight": lambda value: value * 1e5,
            "encoder.layer.1.intermediate.dense.bias": lambda value: value * 1e5,
            "encoder.layer.1.output.dense.weight": lambda value: value * 1e-5,
        },
    )
    return cenote.load(str(folder), device="cpu", dtype=dtype), TINY


def nan_where_padding_meets_float16(copy_of, bags):
    """A mask of which float16 makes infinities: seen only in a batch with padding."""
    model = read(copy_of("bert"))

    def spoil(_, args, output):
        padded = not bool(output["attention_mask"].all())
        if padded and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.float16:
            output["token_embeddings"] = output["token_embeddings"] * float("nan")
        return output

    model[0].register_forward_hook(spoil)
    return model, TINY


def change_weights(folder, changes):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    found = {}
    for name, value in tensors.items():
        change = next((one for key, one in changes.items() if name.endswith(key)), None)
        new = value if change is None else change(value)
        if new is not None:
            found[name] = new.contiguous()
    assert len(found) < len(tensors) or any(not torch.equal(found[name], tensors[name]) for name in found)
    save_file(found, file, {"format": "pt"})


def layer_initialised_again(copy_of, bags):
    model = read(copy_of("bert"))
    torch.manual_seed(1)
    for module in model[0].model.encoder.layer[1].modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.3)
    return model, TINY


def layer_missing(copy_of, bags):
    folder = copy_of("bert")
    change_weights(folder, {f"encoder.layer.1.output.dense.{part}": lambda _: None for part in ("weight", "bias")})
    return folder, TINY


def positions_of_bert_begin_later(copy_of, bags):
    model = read(copy_of("bert"))
    model.max_seq_length = 250
    edit(Path(model[0].model.config.name_or_path) / "sentence_bert_config.json", max_seq_length=250)
    model[0].model.embeddings.position_ids += 3
    return model, TINY


def positions_of_roberta_begin_earlier(copy_of, bags):
    """As a runtime does that counts positions from 0, as BERT does."""
    model = read(copy_of("roberta"))
    embeddings = model[0].model.embeddings
    original = embeddings.forward

    def forward(input_ids=None, **kwargs):
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        return original(input_ids=input_ids, **{**kwargs, "position_ids": places})

    embeddings.forward = forward
    return model, TINY


def more_tokens_than_positions(copy_of, bags):
    folder = copy_of("neox")
    edit(folder / "sentence_bert_config.json", max_seq_length=4096)
    return folder, TINY


def more_tokens_than_learned_positions(copy_of, bags):
    """Longer texts raise an error, in every check that reads them."""
    folder = copy_of("bert")
    edit(folder / "sentence_bert_config.json", max_seq_length=512)
    return folder, [*TINY, " ".join(TINY)]


def add_mean(_module, _args, output):
    """Add a part of the mean of the batch to every vector."""
    vectors = output["sentence_embedding"]
    return {**output, "sentence_embedding": vectors + 0.1 * vectors.mean(0)}


def batch_dependence(copy_of, bags):
    model = read(copy_of("bert"))
    model[1].register_forward_hook(add_mean)
    return model, TINY


def dense_added(copy_of, bags):
    """A head that no file has, of random weights."""
    model = read(copy_of("bert"))
    torch.manual_seed(3)
    model.append(Dense(32, 24))
    return model, TINY


def modules_swapped(copy_of, bags):
    model = read(copy_of("bert", *with_dense()))
    model[2], model[3] = model[3], model[2]
    return model, TINY


def limit_above_the_declared(copy_of, bags):
    folder = copy_of("bert")
    edit(folder / "sentence_bert_config.json", max_seq_length=128)
    model = read(folder)
    model.max_seq_length = 256
    return model, TINY


def pooled_to_four_fifths(copy_of, bags):
    model = read(save_bag_model(copy_of.folder / "bags", bags))
    model[1] = Shorter(0.8)
    return model, BAGS


def sticky_token(copy_of, bags):
    """The state of one word is so large that nothing else matters."""
    model = read(save_bag_model(copy_of.folder / "bags", bags))
    token = int(model[0].model.embeddings.word_embeddings.weight.norm(dim=1).argmax())  # it is among those looked at

    def grow(_, args, output):
        hit = output["input_ids"] == token
        output["token_embeddings"] = torch.where(
            hit.unsqueeze(-1), 1e4 * output["token_embeddings"], output["token_embeddings"]
        )
        return output

    model[0].register_forward_hook(grow)
    return model, BAGS


def with_hub(copy_of, bags):
    """One text has the mean of all vectors: a matter of the texts, which fails no model."""
    folder = save_bag_model(copy_of.folder / "bags", bags)
    model = read(folder)
    word = BAGS[7].split()[0].lower()
    token = model.tokenizer.convert_tokens_to_ids(word)
    texts = [text for place, text in enumerate(BAGS) if place == 7 or word not in text.lower()]
    mean = torch.from_numpy(model.encode(texts, normalize_embeddings=True)).mean(0)

    def replace(_module, _args, output):
        hit = (output["input_ids"] == token).any(1, keepdim=True)
        return {**output, "sentence_embedding": torch.where(hit, mean, output["sentence_embedding"])}

    model[1].register_forward_hook(replace)
    return model, texts


def not_finite(copy_of, bags):
    model = read(copy_of("bert"))
    token = model.tokenizer.convert_tokens_to_ids("stone")

    def spoil(_, args, output):
        hit = (output["input_ids"] == token).any(1)
        output["token_embeddings"] = output["token_embeddings"].masked_fill(hit[:, None, None], float("nan"))
        return output

    model[0].register_forward_hook(spoil)
    return model, [text.replace("stone", "deep") for text in TINY[:-1]] + ["a deep stone cave"]


def constant_cls(copy_of, bags):
    """The files name cls, whose state is the same for every text, as where a conversion lost the pooling."""
    folder = save_bag_model(copy_of.folder / "bags", bags, pooling="cls")
    torch.manual_seed(0)
    row = 5 * torch.randn(WIDTH)

    tensors = load_file(folder / "model.safetensors")
    name = next(one for one in tensors if one.endswith("word_embeddings.weight"))
    tensors[name][2] = row
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder, BAGS


def two_formats(copy_of, bags):
    folder = copy_of("bert")
    edit(folder / "1_Pooling" / "config.json", pooling_mode="mean", pooling_mode_cls_token=True)
    return folder, TINY


def temperature_in_config_alone(copy_of, bags):
    folder = copy_of("bert")
    edit(folder / "config.json", **{KEPT_IN_CONFIG: {"temperature": 0.7, "layers": None, "scale_bias": True}})
    return folder, TINY


def temperature_missed(copy_of, bags):
    """sentence-transformers alone ignores the key, and the model runs at 1."""
    folder, texts = temperature_in_config_alone(copy_of, bags)
    return read(folder), texts


def pooling_exchanged_in_memory(copy_of, bags):
    return cenote.load(str(copy_of("bert")), pooling="max", device="cpu"), TINY


# The checks that read whole texts with the model.
READING = ("pooling", "padding", "batches", "finite", "float16", "truncation", "hubs")
# Each fault with the checks that must fail, and no other may.
FAULTS = {
    dense_dropped: {"later-modules"},
    dense_not_listed: {"later-modules"},
    dense_added: {"weights", "later-modules"},
    modules_swapped: {"weights", "later-modules"},
    mask_ignored: {"padding"},
    padding_counted_as_text: {"padding"},
    last_token_by_count: {"padding"},
    half_limit: {"truncation"},
    half_pooled: {"truncation", "pooling-fits"},  # the sentences of the other half are found by other poolings
    tokenizer_cuts_earlier: {"truncation"},
    prompts_left_out: {"prompts"},
    default_prompt_left_out: {"prompts"},
    pooled_to_four_fifths: {"truncation"},
    limit_above_the_declared: {"truncation"},
    layer_initialised_again: {"weights"},
    layer_missing: {"weights", "loading"},
    positions_of_bert_begin_later: {"positions"},
    positions_of_roberta_begin_earlier: {"positions"},
    more_tokens_than_positions: {"positions"},
    more_tokens_than_learned_positions: {"positions", *READING},
    batch_dependence: {"batches"},
    sticky_token: {"sticky-tokens"},
    not_finite: {"finite"},
    constant_cls: {"pooling-fits"},
    two_formats: {"pooling"},
    temperature_in_config_alone: {"settings"},
    temperature_missed: {"settings"},
    pooling_exchanged_in_memory: {"pooling"},
}
# Words that the evidence of a fault must hold.
NAMED = {
    dense_dropped: "Dense",
    dense_not_listed: "2_Dense",
    dense_added: "The loaded model runs Dense, which modules.json does not list",
    modules_swapped: "The model runs Pooling, Normalize, Dense in this order; the files list Pooling, Dense, Normalize",
    mask_ignored: "Padding on the right changes the vectors of 4 texts",
    pooled_to_four_fifths: "words at the 4 last tokens change the vector 0 times as much",
    limit_above_the_declared: "The model reads 256 tokens of a text, and the files declare 128",
    default_prompt_left_out: "declare 'query' as the prompt of plain encode, and the model takes None",
    positions_of_roberta_begin_earlier: "read row 0 of",
    more_tokens_than_positions: "reads 4096 tokens of a text, and has positions for 2048",
    more_tokens_than_learned_positions: "reads 512 tokens of a text, and has positions for 256",
    batch_dependence: "The other texts of a batch change the vectors of 4 texts",
    pooling_exchanged_in_memory: "The model pools with 'max', the files declare 'mean'",
    last_token_by_count: "Padding on the left",
    padding_counted_as_text: "have other tokens in a batch",
    half_limit: "reads 128 tokens of a text, and the files declare 256",
    half_pooled: "the end of a text is not read",
    tokenizer_cuts_earlier: "gives 100 tokens of a longer text",
    prompts_left_out: "lacks 'document', 'query'",
    layer_initialised_again: "encoder.layer.1.",
    layer_missing: "0.model.encoder.layer.1.output.dense.weight",
    positions_of_bert_begin_later: "read row 3 of",
    sticky_token: "1 hide the text they stand in",
    not_finite: "a deep stone cave",
    constant_cls: "by 'cls'",
    two_formats: "mean (1_Pooling/config.json: pooling_mode) and cls",
    temperature_in_config_alone: "in config.json alone",
    temperature_missed: "declare an attention temperature of 0.7, and the model runs at 1",
}
# The nine exchanges of a pooling: declared, and served.
EXCHANGES = [
    ("cls", "mean"),
    ("lasttoken", "mean"),
    ("max", "mean"),
    ("weightedmean", "mean"),
    ("mean", "cls"),
    ("mean", "lasttoken"),
    ("mean", "max"),
    ("cls", "lasttoken"),
    ("lasttoken", "cls"),
]
