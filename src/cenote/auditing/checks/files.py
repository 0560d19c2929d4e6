"""Checks of the model's files: weights, loading, and settings that other loaders miss."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cenote._nn.config_keys import BAKED_IN_CONFIG, KEPT_IN_CONFIG
from cenote._nn.modules import config_of
from cenote.account.pooled_texts import OWN
from cenote.auditing.checks.readings import largest_difference, read_ways
from cenote.auditing.checks.subject import Finding, Subject, rounded
from cenote.auditing.checks.thresholds import value_of
from cenote.encoding.tokens import tokenise
from cenote.errors import some
from cenote.functional.temperature import check_temperature, describe
from cenote.listener import Listener
from cenote.models.provenance import temperatures_of
from cenote.models.weights import used_tensors
from cenote.nn import LandmarkTransformer

IN_MEMORY = "The model was made in memory: there are no files to compare it with."
_REMEDY_MISSING = (
    "Get the files again, and compare their key names with the version of transformers that saved them; do not serve "
    "these weights."
)
_REMEDY_CHANGED = (
    "The model was changed after it was loaded. If you trained it, save it and audit the folder that you serve; if "
    "not, load its files again."
)
# Texts that are read by a model that is loaded again.
_READ_AGAIN = 8


def check_weights(subject: Subject) -> Finding:
    """Compare all weights with those of the files; those that no vector depends on, such as a pooler, may differ."""
    if subject.folder is None or subject.fresh is None:
        return Finding(None, IN_MEMORY)
    if getattr(config_of(subject.model[0]), BAKED_IN_CONFIG, None) != subject.facts.get("temperature in the weights"):
        return Finding(None, "A temperature was folded into the weights after loading: they differ from the files.")
    missing = subject.missing
    own, files = (dict(one.state_dict()) for one in (subject.model, subject.fresh))
    added = own.keys() - files.keys() - missing
    changed = {
        name
        for name in own.keys() & files.keys() - missing
        if own[name].is_floating_point() and not _equal(own[name], files[name])
    }
    suspects = missing | added | changed
    used = _used(subject, suspects) if suspects else set()
    measured = {
        "tensors": len(own),
        "missing": len(missing),
        "added": len(added),
        "changed": len(changed),
        "unread": len(subject.unread),
        "used": len(used),
        "names": sorted(used)[:20],
    }
    if not used and not subject.unread:
        unused = f"; {len(suspects)} others are used by no vector" if suspects else ""
        return Finding(True, f"{len(own) - len(suspects)} tensors are those of the files{unused}.", measured=measured)
    kinds = (
        ("missing from the files, and so random", missing & used),
        ("of modules that the files do not have", added & used),
        ("not those of the files", changed & used),
        ("left out, which the files have", subject.unread),
    )
    said = "; ".join(
        f"{len(names)} of {len(own)} tensors are {what}: {some(sorted(names), 4)}" for what, names in kinds if names
    )
    return Finding(
        False, f"{said}.", _REMEDY_MISSING if used & missing or subject.unread else _REMEDY_CHANGED, measured
    )


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first.detach().cpu().to(second.dtype), second.detach().cpu())


def _path_of_first(folder: Path) -> str:
    """Return the subfolder of the transformer."""
    modules = read_json(folder / "modules.json")
    return str(modules[0].get("path", "")) if isinstance(modules, list) and modules else ""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, None if there is no such file."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def _used(subject: Subject, names: set[str]) -> set[str]:
    """Return those of the tensors that a vector depends on, by its gradient, and all buffers."""
    buffers = {name for name, _ in subject.model.named_buffers()}
    return used_tensors(subject.model, names, subject.texts[0]) | (buffers & names)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep the reports of transformers from the terminal: they are read from its answer."""
    log = logging.getLogger("transformers")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def check_loading(subject: Subject) -> Finding:
    """Load the model a second time, and compare the vectors of both."""
    if subject.reload is None or subject.fresh is None:
        return Finding(None, IN_MEMORY)
    texts = subject.texts[:_READ_AGAIN]
    # A model in memory may have been changed since it was loaded: then two loads of its files are compared.
    first, second = (subject.model if subject.by_path else subject.reload()), subject.fresh
    one, other = (read_ways(model, tokenise(model, texts), {}, Listener()).vectors[OWN] for model in (first, second))
    subject.forget_fresh()
    difference = largest_difference(one, other)
    measured = {"texts": len(texts), "difference": rounded(difference) if difference < float("inf") else None}
    if difference <= value_of("rounding"):
        return Finding(True, f"The vectors of {len(texts)} texts are the same after a second load.", measured=measured)
    return Finding(
        False,
        f"After a second load the vectors of {len(texts)} texts differ by up to {difference:.2g} of their length: some "
        "weights are random.",
        "See the check `weights` for the tensors that are missing; pin the revision of the model and the version of "
        "transformers.",
        measured,
    )


def check_settings(subject: Subject) -> Finding:
    """Look for a temperature and landmarks that the files declare, and whether the loader applied them."""
    if subject.folder is None:
        return Finding(None, IN_MEMORY)
    declared, live = map(_setting, (subject.facts.get("temperature"), temperatures_of(subject.model)["temperature"]))
    kept = (read_json(subject.folder / _path_of_first(subject.folder) / "config.json") or {}).get(KEPT_IN_CONFIG)
    types = list_types(subject.folder)
    by_module = any(name.endswith("cenote.nn.Temperature") for name in types)
    landmarks = any(name.endswith("cenote.nn.LandmarkTransformer") for name in types)
    reads_landmarks = isinstance(subject.model[0], LandmarkTransformer)
    measured = {
        "temperature_declared": _number(declared),
        "temperature_applied": _number(live),
        "temperature_module": by_module,
        "landmarks_declared": landmarks,
        "landmarks_applied": reads_landmarks,
    }
    if declared != live:
        return Finding(
            False,
            f"The files declare an attention temperature of {_in_words(declared)}, and the model runs at "
            f"{_in_words(live)}.",
            "Load the folder with cenote.load, or fold the temperature into the weights with cenote.bake. If you "
            "changed the temperature on purpose, save the model with it and audit the new folder.",
            measured,
        )
    if kept is not None and not by_module:
        return Finding(
            False,
            f"The attention temperature {_in_words(declared)} is in config.json alone: sentence-transformers and "
            "other loaders ignore it without an error.",
            "Save the whole model with its Temperature module, or fold the temperature into the weights with "
            "cenote.bake.",
            measured,
        )
    needs = "landmark" in (subject.declared_pooling or ()) or "multi_cls" in (subject.declared_pooling or ())
    if needs and not (landmarks and reads_landmarks):
        return Finding(
            False,
            "The files declare landmark pooling, and the transformer inserts no landmarks.",
            "Save the model with its cenote.nn.LandmarkTransformer, and load it with cenote.load.",
            measured,
        )
    if declared is None and not landmarks:
        return Finding(True, "The files declare no attention temperature and no landmarks.", measured=measured)
    said = [f"an attention temperature of {_in_words(declared)}"] if declared is not None else []
    said += ["landmarks"] if landmarks else []
    return Finding(
        True,
        f"The files declare {' and '.join(said)}, which the model applies; sentence-transformers alone refuses the "
        "folder, and loaders of the transformer alone ignore both.",
        measured=measured,
    )


def list_types(folder: Path) -> list[str]:
    """Return the class addresses of the modules that modules.json lists."""
    modules = read_json(folder / "modules.json")
    return [str(one.get("type", "")) for one in modules] if isinstance(modules, list) else []


def _setting(kept: Any) -> dict[str, Any] | None:
    """Return a temperature of the files or of the hooks in one form; None for none, and for 1, which changes nothing.

    >>> _setting(0.7) == _setting({"temperature": 0.7, "layers": None, "scale_bias": True})
    True
    """
    setting = kept if isinstance(kept, dict) and "temperature" in kept else {"temperature": kept}
    if setting["temperature"] in (None, 1):
        return None
    # Not the data itself: a number may be written as 2 or as 2.0.
    return {"layers": None, "scale_bias": True, **setting, "temperature": check_temperature(setting["temperature"])}


def _number(setting: dict[str, Any] | None) -> Any:
    """Return a temperature as the records keep it: a number, or its description."""
    number = None if setting is None else setting["temperature"]
    return number if number is None or isinstance(number, float) else describe(number)


def _in_words(setting: dict[str, Any] | None) -> str:
    """Return a temperature in words.

    >>> _in_words(_setting({"temperature": {"schedule": "log", "s": 0.25}, "layers": [0, 1]}))
    'log(s=0.25) in layers 0, 1'
    """
    if setting is None:
        return "1"
    where = "" if setting["layers"] is None else f" in layers {some(setting['layers'])}"
    return f"{describe(setting['temperature'])}{where}{'' if setting['scale_bias'] else ', without position biases'}"
