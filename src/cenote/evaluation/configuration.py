"""Everything besides the data that a score depends on: the key under which it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cenote._nn.modules import config_of
from cenote.data.labelled_schemas import Asked
from cenote.encoding.passes import packages
from cenote.evaluation.reading import TextReader
from cenote.evaluation.task_list import PACKAGES, ListedTask
from cenote.models.fingerprints import fingerprint_of_weights
from cenote.models.properties import readers_of
from cenote.models.provenance import behaviour_of, versions_of

# Entries of a network's config that say where it is from.
_PLACES = ("_name_or_path", "transformers_version")
# The package of a backend that is not torch.
_RUNTIMES = {"openvino": ("openvino",), "onnx": ("onnx", "onnxruntime")}
# The version of what is computed of items, such as intervals, and noted: results of another are not taken.
_ITEMS = 4


def configuration_of(reader: TextReader, *, weights: str | None = None, **settings: Any) -> dict[str, Any]:
    """Return all that a score depends on: the model, what runs it, versions, and the settings of the call.

    Args:
        reader: has the model, and runs it.
        weights: their fingerprint, if it is known.
        **settings: of the call.
    """
    model = reader.model
    networks = [_network_of(reader) for reader in readers_of(model)]
    return {
        "weights": weights or fingerprint_of_weights(model, every=True),
        "network": networks if len(networks) > 1 else networks[0],
        **behaviour_of(model),
        "prompts": dict(model.prompts),
        "default_prompt": model.default_prompt_name,
        "similarity": str(model.similarity_fn_name),
        "device": model.device.type,
        "backend": reader.backend,
        "precision": reader.precision,
        "items": _ITEMS,
        **settings,
        "versions": versions_of(*PACKAGES, *_runtimes_of(reader)),
    }


def _runtimes_of(reader: TextReader) -> tuple[str, ...]:
    """Return the packages that may run the model in place of torch."""
    return packages() if reader.passes else _RUNTIMES.get(reader.backend, ())


def _network_of(reader: Any) -> dict[str, Any]:
    """Return the settings of the network of a module that reads texts, none where it has no network."""
    config = config_of(reader)
    return {} if config is None else {name: value for name, value in config.to_dict().items() if name not in _PLACES}


def settings_of_data(asked: Asked, official: str | None, tasks: Sequence[ListedTask]) -> dict[str, Any]:
    """Return how labelled data were read, with the split: that of all tasks, or of each by its name if they differ."""
    of_each = {task.name: task.split for task in tasks}
    splits = {*of_each.values()} or {asked.split}
    split = of_each if len(splits) > 1 else splits.pop()
    return {"official": official, "kind": asked.kind, **asked.settings, "split": split}
