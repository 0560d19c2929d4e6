"""Linear maps in 8 bits, for OpenVINO: weights rounded once, activations as they come, both in groups.

    w[o, i] ~ s[o, i / G] q[o, i]          q from -127 to 127, one float32 scale s for each G inputs of an output

A group has its own scale, so that the few large entries that transformers have spoil G others and not a whole row.
OpenVINO keeps weights that are written so as integers. It rounds activations in the same way, each token and group by
its largest entry, and multiplies integers where the processor can (VNNI). Embedding tables, norms and attention stay in
float32.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cenote.encoding.graphs import import_openvino
from cenote.errors import UnsupportedModel

# Inputs that share a scale. Half as many agree better and gain less, see docs/benchmarks.md.
GROUP = 64
_STEPS = 127


def round_in_groups(
    rows: npt.NDArray[np.float32], group: int = GROUP
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return rows `[N, D]` as whole numbers `[N, D / group, group]` and their scales `[N, D / group, 1]`.

    >>> whole, scales = round_in_groups(np.array([[1.27, -0.5, 0.0, 0.0]], np.float32), group=2)
    >>> whole.tolist(), scales.astype(float).round(6).tolist()
    ([[[127, -50], [0, 0]]], [[[0.01], [0.0]]])
    """
    groups = rows.reshape(len(rows), -1, group)
    scales = np.abs(groups).max(2, keepdims=True) / np.float32(_STEPS)
    whole = np.divide(groups, scales, out=np.zeros_like(groups), where=scales > 0)
    return whole.round().astype(np.int8), scales


def round_weights(graph: Any, group: int = GROUP) -> None:
    """Write the weights of an OpenVINO graph's linear maps in 8 bits, in place.

    A map stays in float32 if its inputs do not divide into groups.

    Raises:
        UnsupportedModel: if all of them stay so.
    """
    import_openvino()
    ops: Any = importlib.import_module("openvino.opset13")

    count = 0
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not node.get_attributes()["transpose_b"]:
            continue
        weights = node.input(1).get_source_output().get_node()
        if weights.get_type_name() != "Constant" or len(weights.shape) != 2 or weights.shape[1] % group:
            continue
        whole, scales = round_in_groups(weights.data, group)
        product = ops.multiply(ops.convert(ops.constant(whole), "f32"), ops.constant(scales))
        rounded = ops.reshape(product, ops.constant(np.array(weights.shape, np.int64)), special_zero=False)
        node.input(1).replace_source_output(rounded.output(0))
        count += 1
    if not count:
        raise UnsupportedModel(f"no linear map of the model has inputs that divide by {group}: use float32.")
    # The setting travels with the graph, so that OpenVINO alone runs a saved one in the same way.
    graph.set_rt_info(str(group), ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])


def multiplies_integers() -> bool:
    """Return whether this processor multiplies 8-bit integers faster than floats: VNNI, or matrix units."""
    known: Any = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.6 tells the other two only
    return bool(known.get("avx_vnni")) or torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()
