"""The check of prompts: those that the files declare, and whether plain `encode` applies them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sentence_transformers import SentenceTransformer

from cenote.account.pooled_texts import OWN
from cenote.auditing.checks.files import read_json
from cenote.auditing.checks.readings import compare, read_ways
from cenote.auditing.checks.subject import Finding, Subject
from cenote.encoding.tokens import tokenise
from cenote.errors import some
from cenote.listener import Listener
from cenote.models.properties import prompt_name_for

_FILE = "config_sentence_transformers.json"
# Prompts that are measured, at most; each takes two passes.
_MEASURED = 4


def check_prompts(subject: Subject) -> Finding:
    """Compare the model's prompts with those of the files, and measure what each changes."""
    model = subject.model
    declared = {name: text for name, text in (subject.facts.get("prompts") or {}).items() if text}
    live = {name: text for name, text in model.prompts.items() if text}
    settings = (read_json(subject.folder / _FILE) if subject.folder else None) or {}
    default = settings.get("default_prompt_name")
    lost = [name for name, text in declared.items() if live.get(name) != text]
    measured: dict[str, Any] = {"declared": sorted(declared), "default": model.default_prompt_name, "lost": lost}
    if not declared and not live:
        return Finding(True, "The files declare no prompts, and the model has none.", measured=measured)
    every = {**live, **declared}
    names = [*lost, *(name for name in every if name not in lost)]
    changes = {name: _change(subject, every[name]) for name in names[:_MEASURED]}
    measured["changes"] = {name: numbers for name, (_, numbers) in changes.items()}
    left_out = [f"not measured: {some(map(repr, names[_MEASURED:]))}"] if names[_MEASURED:] else []
    cost = "; ".join([*(f"{name!r}: {said}" for name, (said, _) in changes.items()), *left_out])
    if lost:
        return Finding(
            False,
            f"The files declare the prompts {some(map(repr, declared))}, and the model lacks {some(map(repr, lost))}. "
            f"The vectors of a text with and without it: {cost}.",
            "Put the declared prompts before the texts, queries and documents each with their own.",
            measured,
        )
    if default != model.default_prompt_name and default:
        return Finding(
            False,
            f"The files declare {default!r} as the prompt of plain encode, and the model takes "
            f"{model.default_prompt_name!r}. {cost}.",
            f"Set default_prompt_name={default!r}.",
            measured,
        )
    sides = {task: prompt_name_for(model, None, task) for task in ("query", "document")}
    applied = "; ".join(
        f"encode_{task} applies {name!r}" for task, name in sides.items() if name and model.prompts.get(name)
    )
    plain = (
        f"plain encode applies {model.default_prompt_name!r}"
        if model.default_prompt_name
        else "plain encode applies none"
    )
    return Finding(
        True,
        f"The model has the prompts {some(map(repr, live))}; {'; '.join(filter(None, (applied, plain)))}. "
        f"The vectors of a text with and without it: {cost}.",
        "" if model.default_prompt_name else "Use encode_query and encode_document, or name a prompt.",
        measured,
    )


def _change(subject: Subject, prompt: str) -> tuple[str, dict[str, Any]]:
    """Compare the vectors of texts with a prompt before them and without any."""
    rows = subject.spread(max(12, subject.effort.padded))
    texts = [subject.texts[row] for row in rows]
    with _only_prompt(subject.model, prompt) as name:
        plain, prompted = (
            read_ways(subject.model, tokenise(subject.model, texts, one), {}, Listener()) for one in (None, name)
        )
    if plain.rows != prompted.rows or not plain.rows:
        return "not all texts could be read", {}
    found = compare(plain.vectors[OWN], prompted.vectors[OWN])
    return found.in_words(), found.measured()


@contextmanager
def _only_prompt(model: SentenceTransformer, prompt: str) -> Iterator[str]:
    """Give a model one prompt for a while, which is no default; yield its name."""
    before, default = model.prompts, model.default_prompt_name
    model.prompts, model.default_prompt_name = {"audited": prompt}, None
    try:
        yield "audited"
    finally:
        model.prompts, model.default_prompt_name = before, default
