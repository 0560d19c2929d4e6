"""What tells one set of texts, or one set of weights, from another: short names that change when they do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from cenote.texts import Text

# Of a large tensor so many numbers are looked at, evenly spread: weights that were trained, baked or rounded differ
# nearly everywhere, and a large model is not read twice.
_LOOKED_AT = 2**16
_DIGITS = 16


def of_texts(texts: Iterable[Text]) -> str:
    """A fingerprint of texts, their ids and their order.

    >>> from cenote.texts import Text
    >>> of_texts([Text("0", "a pool")]), of_texts([Text("1", "a pool")])
    ('c1f825379b1b683a', 'f91d80f9055be8d3')
    """
    whole = Fingerprint()
    for text in texts:
        whole.add(text)
    return whole.name()


class Fingerprint:
    """That of texts which come one by one."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, text: Sequence[str]) -> None:
        """The next text: its id and its words."""
        for part in text:
            data = part.encode("utf-8", "surrogatepass")
            self._digest.update(len(data).to_bytes(8, "little"))
            self._digest.update(data)

    def name(self) -> str:
        """The fingerprint of all texts so far."""
        return self._digest.hexdigest()[:_DIGITS]


def of_weights(model: nn.Module) -> str:
    """A fingerprint of a model's weights and buffers, whatever device they are on.

    It is of the name, dtype and shape of every tensor, and of its entries; of a tensor of more than 2^16 = 65,536
    entries only of every k-th, the first included, k being the least that leaves 65,536 or fewer. What was trained,
    baked or rounded differs nearly everywhere and has another fingerprint. A change of a few entries of a large tensor,
    one row of an embedding table, say, may fall between those looked at: equal fingerprints do not prove equal weights.
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().flatten()
        seen = flat[:: max(1, -(-len(flat) // _LOOKED_AT))].cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(seen.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]
