"""Weights that the files of a model lack, and weights in the files that the model does not read.

transformers gives random values to what is missing, and drops what it does not know. Often that is right: no vector
depends on a pooler or on a head for other tasks. So only what vectors depend on is refused.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from transformers import PreTrainedModel

from cenote._nn.modules import eval_mode
from cenote.errors import BadInput, some
from cenote.models.properties import of_task, tasks_of

# Loading is noted by a method of a class that all threads share.
_noting = threading.RLock()
_LOG = logging.getLogger("transformers.modeling_utils")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True, eq=False)
class Report:
    """The answer of transformers on what it loaded: tensors by their names in the network."""

    network: nn.Module
    missing: frozenset[str]  # from the files, and so random
    unexpected: frozenset[str]  # in the files, and not read


@contextmanager
def noted_reports() -> Iterator[list[Report]]:
    """Yield a list, to which a report is added for each network that transformers loads meanwhile.

    transformers logs the same for a person, whom a missing pooler would alarm although nothing needs it: that is left
    out.
    """
    reports: list[Report] = []

    def noting(cls: Any, /, *args: Any, output_loading_info: bool = False, **options: Any) -> Any:
        network, found = own.__func__(cls, *args, output_loading_info=True, **options)
        missing = {*found["missing_keys"], *(one[0] for one in found["mismatched_keys"])}
        prefix = f"{network.base_model_prefix}."  # of the files of a model with a head
        unexpected = {name.removeprefix(prefix) for name in found["unexpected_keys"]}
        reports.append(Report(network, frozenset(missing), frozenset(unexpected)))
        return (network, found) if output_loading_info else network

    with _noting:
        own = PreTrainedModel.__dict__["from_pretrained"]
        PreTrainedModel.from_pretrained = classmethod(noting)  # type: ignore[method-assign, assignment]
        _LOG.addFilter(_is_no_report)
        try:
            yield reports
        finally:
            PreTrainedModel.from_pretrained = own  # type: ignore[method-assign]
            _LOG.removeFilter(_is_no_report)


def _is_no_report(record: logging.LogRecord) -> bool:
    return "LOAD REPORT" not in record.getMessage()


def missing_of(model: nn.Module, reports: Collection[Report]) -> set[str]:
    """Return the names, in the model, of tensors that its files lack."""
    return {f"{place}{name}" for place, report in _placed(model, reports) for name in report.missing}


def unread_of(model: SentenceTransformer, reports: Collection[Report]) -> set[str]:
    """Return the names, as the model would have them, of tensors of the files that it does not read though it should.

    These are tensors of a module that it has, such as a bias, and those that it has in other layers: then the files
    have more layers than the configuration. Only those are counted that vectors depend on.
    """
    own = {name for name, _ in model.named_parameters()}
    likes = {
        f"{place}{name}": _like(f"{place}{name}", own)
        for place, report in _placed(model, reports)
        for name in report.unexpected
    }
    used = used_tensors(model, set(chain.from_iterable(likes.values())))
    return {name for name, like in likes.items() if not used.isdisjoint(like)}


def _placed(model: nn.Module, reports: Collection[Report]) -> Iterator[tuple[str, Report]]:
    """Yield the reports on networks of a model, each with the prefix of the names of its tensors."""
    names = {id(module): f"{name}." if name else "" for name, module in model.named_modules()}
    for report in reports:
        if id(report.network) in names:
            yield names[id(report.network)], report


def used_tensors(model: SentenceTransformer, names: Collection[str], text: str = "a") -> set[str]:
    """Return those of the named parameters and buffers that the vectors of a text depend on, by their gradients.

    A Router makes one by each of its routes for texts.
    """
    every = chain(model.named_parameters(remove_duplicate=False), model.named_buffers())
    found = {name: value for name, value in every if name in names and value.is_floating_point()}
    if not found:
        return set()
    before = {name: value.requires_grad for name, value in found.items()}
    try:
        for value in found.values():
            value.requires_grad_(True)
        with eval_mode(model), torch.enable_grad():
            return {name for task in tasks_of(model) for name in _with_slopes(model, text, of_task(task), found)}
    finally:
        for name, value in found.items():
            value.requires_grad_(before[name])


def _with_slopes(
    model: SentenceTransformer, text: str, task: dict[str, str], tensors: dict[str, Tensor]
) -> Iterator[str]:
    """Yield the names of the tensors that the vector of a text has a gradient to."""
    features = model.preprocess([text], **task)
    moved = {name: one.to(model.device) if isinstance(one, Tensor) else one for name, one in features.items()}
    vectors = model(moved, **task)["sentence_embedding"]
    if vectors.requires_grad:
        # None where no operation leads to a tensor; a slope of 0 is one, such as that of a scale before a Normalize.
        slopes = torch.autograd.grad(vectors.float().sum(), list(tensors.values()), allow_unused=True)
        yield from (name for name, slope in zip(tensors, slopes, strict=True) if slope is not None)


def refuse_other_weights(model: SentenceTransformer, reports: Collection[Report], label: str) -> None:
    """Raise if vectors of a model depend on weights that its files lack, or have and it does not read."""
    lacking, unread = used_tensors(model, missing_of(model, reports)), unread_of(model, reports)
    kinds = {"lack": lacking, "have, and the model does not read,": unread}
    if said := "; they ".join(f"{verb} {some(sorted(names), 4)}" for verb, names in kinds.items() if names):
        raise BadInput(
            f"the weights of {label!r} are not those of its configuration, and its vectors would be wrong: the files "
            f"{said}. Get the files again, or compare their names of tensors and config.json with the version of "
            "transformers that saved them."
        )


def _like(name: str, own: Collection[str]) -> list[str]:
    """Return the parameters of the same module as an unread tensor, or of the same place in other layers.

    >>> _like("layer.6.dense.weight", ["layer.5.dense.weight", "layer.5.dense.bias", "pooler.dense.weight"])
    ['layer.5.dense.weight']
    >>> _like("layer.5.dense.scale", ["layer.5.dense.weight", "layer.5.mask"])
    ['layer.5.dense.weight']
    """
    module, place = name.rpartition(".")[0], _NUMBER.sub("*", name)
    beside = {f"{module}.weight", f"{module}.bias"}  # not any: a module may read buffers of an earlier version itself
    return [one for one in own if one in beside or _NUMBER.sub("*", one) == place]
