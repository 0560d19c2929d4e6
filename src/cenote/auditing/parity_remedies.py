"""The remedy of each kind of difference: with a server, and with two local models."""

from __future__ import annotations

# For a kind of finding, the remedy if the right side is a server, and if it is a local model.
_REMEDIES: dict[str, tuple[str, str]] = {
    "pooling": (
        "Start the server with the pooling `{pooling}` (TEI and llama.cpp: --pooling; vLLM: its pooler configuration), "
        "or use a server that reads the model's 1_Pooling folder.",
        "Load the right model with the pooling `{pooling}`, or compare with the left one as it was trained.",
    ),
    "modules": (
        "The server drops modules after the pooling: use one that runs all of modules.json, or export the model as a "
        "whole graph with `cenote export`.",
        "The right model lacks modules after the pooling: load a folder whose modules.json lists all of them.",
    ),
    "window": (
        "Set the server's token limit to the model's, or cut texts into windows yourself before sending them.",
        "Give both models the same token limit (max_seq_length).",
    ),
    "prompt": (
        "Put the prompt before every text exactly once: in the server's settings or in the client.",
        "Give both models the same prompt.",
    ),
    "temperature": (
        "The server does not know the attention temperature: fold it into the weights with `cenote temper`.",
        "Give both models the same attention temperature (`cenote temper`).",
    ),
    "tokens": (
        "Let the server's tokenizer add the special tokens, as the model's own does.",
        "Give both models the same tokenizer, with its special tokens.",
    ),
    "text": (
        "Send texts unchanged, and use the model's own tokenizer.",
        "Give both models the same tokenizer.",
    ),
    "precision": (
        "Serve the model at float32, or lower the threshold (--least).",
        "Load both models at float32, or lower the threshold (--least).",
    ),
    "width": (
        "Ask the server for all dimensions, and check that it serves this model.",
        "Give both models the same dimensions (truncate_dim), and check that they are the same model.",
    ),
    "incomplete": ("Look into the log of the server. The texts that it answered are compared.",) * 2,
    "refused": (
        "Let the server cut long texts (TEI: --auto-truncate), or leave out texts that it cannot read.",
        "Leave out texts that the right model cannot read.",
    ),
    "order": (
        "Sort the answers by their 'index', or repair the server: it mixes up the texts of a request.",
        "Repair the right model: it mixes up the texts of a batch.",
    ),
    "repeat": (
        "The same text gets another answer each time: look for replicas that differ, or for dropout (a model in "
        "training mode).",
        "The same text gets another vector each time: look for dropout (a model in training mode).",
    ),
    "batch": (
        "A text's vector depends on the texts beside it: padding is not masked, or on the other side. Send texts one "
        "by one until the server is repaired.",
        "A text's vector depends on the texts beside it: padding is not masked, or on the other side. Run `cenote "
        "audit` on the right model.",
    ),
    "concurrency": ("The server mixes up requests that run at the same time: send one at a time until it is repaired.",)
    * 2,
    "single": (
        "Look at these texts (worst texts): a cache may hold an old vector, or the server reads their characters in "
        "another way.",
        "Look at these texts (worst texts): the models may read their characters in other ways.",
    ),
    "norm": ("Divide vectors by their norms on both sides. Where only cosines are used, --ignore-norms accepts it.",)
    * 2,
}


def remedy_of(kinds: str, *, served: bool, pooling: str = "") -> str:
    """Return what to do about a difference of one kind, or of several with "and" between them.

    >>> remedy_of("prompt", served=False)
    'Give both models the same prompt.'

    Args:
        kinds: of a finding.
        served: whether the right side is a server.
        pooling: that of the left model.
    """
    every = dict.fromkeys(kinds.split(" and "))
    return " ".join(_REMEDIES[kind][0 if served else 1].format(pooling=pooling) for kind in every)
