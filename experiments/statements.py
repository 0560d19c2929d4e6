"""Statements of the sources that no experiment here measures: by construction true, or about what is not offline.

Each has the reason, and the command that tests it where models and data of a hub are at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SOCM, BLOG, LMK, LENGTH = "arXiv 2604.27398", "Leys 2022", "arXiv 2601.21525", "arXiv 2410.24200"


@dataclass(frozen=True)
class Statement:
    """A statement of a source, and why no experiment measures it."""

    source: str  # with the figure, table or section
    text: str
    why: str
    command: str
    verdict: Literal["by construction", "not here", "no measurement", "not testable offline"] = "not testable offline"


# The models of the papers and of the post, by hub id.
_TWELVE = (
    "google-bert/bert-base-uncased",
    "princeton-nlp/unsup-simcse-bert-base-uncased",
    "intfloat/e5-base",
    "thenlper/gte-base",
    "microsoft/MiniLM-L12-H384-uncased",
    "sentence-transformers/all-MiniLM-L12-v2",
    "intfloat/e5-small",
    "thenlper/gte-small",
    "microsoft/mpnet-base",
    "sentence-transformers/all-mpnet-base-v2",
    "nomic-ai/nomic-bert-2048",
    "nomic-ai/nomic-embed-text-v1.5",
)
_BACKBONES = ("google-bert/bert-base-uncased", "FacebookAI/roberta-base")
_TEMPERED = (
    "sentence-transformers/msmarco-roberta-base-ance-firstp",
    "sentence-transformers/gtr-t5-base",
    "avsolatorio/GIST-small-Embedding-v0",
    "BAAI/bge-base-en-v1.5",
    "dwzhu/e5-base-4k",
)


def _models(names: tuple[str, ...]) -> str:
    return " ".join(f"--model {name}" for name in names)


STATEMENTS = (
    # Second-order collapse.
    Statement(
        f"{SOCM}, abstract",
        "The mean can map distinct distributions of tokens to one vector",
        "Tokens mirrored at their mean have the same mean; SOCM of such texts is tested",
        "python -m pytest tests/functional/test_second_order.py",
        "by construction",
    ),
    Statement(
        f"{SOCM}, mean SOCM by model",
        "Mean SOCM over Wikipedia texts, MS MARCO passages and hard negatives: BERT .396, .491, .480; GTE-base .018, "
        ".025, .017; all-MiniLM-L12-v2 .313, .348, .330",
        "The 12 models are on a hub",
        f"python -m experiments.second_order.pairs {_models(_TWELVE)}",
    ),
    Statement(
        f"{SOCM}, correlation with MTEB",
        "Spearman -0.678 (p 0.015) of mean SOCM and the MTEB (English, v2) mean over 12 models",
        "The 12 models and MTEB are on a hub; encoders made here are above",
        f"python -m experiments.second_order.scores {_models(_TWELVE)}",
    ),
    # The blog post.
    Statement(
        f"{BLOG}, sentence embeddings",
        "Transformers cut what is longer than max_seq_length",
        "`cenote info` shows the limit, and `cenote diagnose` what the cut loses",
        "python -m pytest tests/encoding/test_tokens.py",
        "by construction",
    ),
    Statement(
        f"{BLOG}, pooling methods",
        "mean_sqrt_len divides the mean by the root of the number of tokens",
        "A slip: it is the sum that is divided; by the cosine both rank as the mean does, since only the norm differs",
        "python -m pytest tests/functional/test_pooling.py",
        "not here",
    ),
    Statement(
        f"{BLOG}, CLS pooling",
        "BERT, which was trained on next sentences, has meaningful CLS vectors; RoBERTa has none",
        "Both backbones are on a hub",
        f"python -m experiments.poolings.similarity {_models(_BACKBONES)}",
    ),
    Statement(
        f"{BLOG}, pooling methods",
        "CLS and mean are used most; there is no consensus; Hugging Face classifies sequences by CLS",
        "Statements about practice",
        "",
        "no measurement",
    ),
    Statement(
        f"{BLOG}, fixed-length representations",
        "Clustering needs vectors of one length",
        "k-means takes one vector a text, which `cenote evaluate` scores by the v-measure",
        "cenote evaluate minilm --data 20news_titles --kind clustering",
        "by construction",
    ),
    # Landmark pooling.
    Statement(
        f"{LMK}, abstract",
        "Landmarks cost a small number of tokens: one in 32 at the default interval",
        "A landmark stands after each chunk",
        "python -m pytest tests/functional/test_landmarks.py",
        "by construction",
    ),
    Statement(
        f"{LMK}, results",
        "ModernBERT-base trained on MS MARCO, CLS and mean: LongEmbed 43.3, 62.7; MLDR-en 24.9, 28.0; BEIR 42.8, 41.6. "
        "The best models with landmarks that are listed: 70.7, 35, 44.3; MS MARCO dev 43.2",
        "Backbone, training pairs and test sets are on a hub, and training takes several GPUs",
        "cenote train answerdotai/ModernBERT-base PAIRS -o out --pooling landmark --intervals 32,64,128,256; "
        "cenote evaluate out --tasks LEMBQMSumRetrieval LEMBSummScreenFDRetrieval",
    ),
    Statement(
        f"{LMK}, results",
        "Best is to train with intervals drawn from 32, 64, 128 and 256, and to read with 32",
        "The size at which this was found needs a GPU. Both parts are measured above on small models that are trained "
        "with 16, 32 and 64 and read with 16 to 128",
        "cenote train answerdotai/ModernBERT-base PAIRS -o out --pooling landmark --intervals 32,64,128,256",
    ),
    Statement(
        f"{LMK}, key results",
        "Gains in nDCG@10 are consistent over data sets, in question answering and clustering",
        "Landmark checkpoints are not published, and training at that size takes GPUs",
        "cenote compare CLS_MODEL MEAN_MODEL LANDMARK_MODEL --tasks SciFact NFCorpus TwentyNewsgroupsClustering",
    ),
    Statement(
        f"{LMK}, key results",
        "It costs less than pooling by a transformer of its own",
        "The compared poolers are not published; the cost of landmarks is on the page of benchmarks",
        "python benchmarks/landmarks.py",
    ),
    # Length collapse.
    Statement(
        f"{LENGTH}, Figure 1a",
        "Accuracy of BGE on IMDB falls from 75.6 % below 100 tokens to 59.0 % at 400 to 500",
        "The model is on a hub; accuracy by length of other models is above",
        "python -m experiments.length.accuracy --model BAAI/bge-base-en-v1.5 --data imdb",
    ),
    Statement(
        f"{LENGTH}, Section 5",
        "Models do worse on long texts whatever their context window is",
        "The model with a window of 4,096 is on a hub; those with 128 and 256 tokens are above, where longer texts are "
        "classified worse on one set of three",
        "python -m experiments.length.accuracy --model dwzhu/e5-base-4k --data imdb",
    ),
    Statement(
        f"{LENGTH}, Table 1",
        "TempScale gains 0.53 % on average over five models and 40 data sets, and 0.82 % on LongEmbed",
        "The five models, MTEB and LongEmbed are on a hub; other models and data are above",
        f"python -m experiments.length.table {_models(_TEMPERED)}",
    ),
    Statement(
        f"{LENGTH}, Table 1",
        "TempScale gains .43 % in classification, 1.18 % in clustering, .77 % in summarisation, .14 % on pairs of "
        "sentences, .71 % in retrieval and .22 % in reranking, on average over five models",
        "The five models and MTEB are on a hub. Two other models are on the page of results, by kind of task",
        f"python -m experiments.length.table {_models(_TEMPERED)}",
    ),
    Statement(
        f"{LENGTH}, Table 1",
        "A larger window gains more: 1.07 % for E5 at 4,096 tokens",
        "The model is on a hub",
        "python -m experiments.length.table --model dwzhu/e5-base-4k",
    ),
    Statement(
        f"{LENGTH}, Section 4.2",
        "A model that collapses more with length gains more from TempScale",
        "It compares the five models of the paper, which are on a hub",
        f"python -m experiments.length.accuracy {_models(_TEMPERED)}",
    ),
    Statement(
        f"{LENGTH}, Section 2.3",
        "Heads, residual and feed-forward keep some high frequencies, as the weights decide and not by length",
        "A statement about a proof in another paper; the figure of layers shows what is left of them",
        "python -m experiments.length.layers",
        "no measurement",
    ),
)
