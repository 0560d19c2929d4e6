"""The same texts cut at several lengths: what length does to closeness where the content stays the same.

Texts that are long by nature differ from short ones in content too; a cut text differs from itself in length alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sentence_transformers import SentenceTransformer

from cenote.diagnosis.verdicts.thresholds import MIN_TEXTS
from cenote.encoding.backends import plain_backend
from cenote.encoding.passes import Passes
from cenote.encoding.tokens import Tokens, tokenise, tokens_around
from cenote.encoding.vectors import Encoder
from cenote.functional.intervals import mean_over_pairs
from cenote.functional.units import to_unit
from cenote.listener import Listener
from cenote.models.properties import limit_of, limits_kept, set_limit
from cenote.records import CutLength, CutLengths

# Tokens at which texts are cut, special tokens included.
_CUTS = (32, 64, 128, 256, 512, 1024)
# Tokens of a cut text itself, beside the special ones and a prompt.
_LEAST = 24
# Texts that are cut.
_TEXTS = 200


def tokenise_cuts(
    model: SentenceTransformer, texts: Sequence[str], lengths: Sequence[int], prompt_name: str | None, seed: int
) -> dict[int, Tokens]:
    """Return some texts cut at each of several lengths; empty where fewer than 20 texts are long enough for two cuts.

    Args:
        model: the model, whose limit is lowered meanwhile.
        texts: to choose from.
        lengths: tokens of each text if it were not cut.
        prompt_name: of the prompt before every text.
        seed: of the choice.
    """
    limit, around = limit_of(model), tokens_around(model, prompt_name)
    cuts = [cut for cut in _CUTS if limit is None or cut < limit] + ([] if limit is None else [limit])
    cuts = [cut for cut in cuts if cut - around >= _LEAST]  # a prompt is no text
    full = np.asarray(lengths)
    cuts = [cut for cut in cuts if (full >= cut).sum() >= MIN_TEXTS]
    if len(cuts) < 2:
        return {}
    order = np.random.default_rng(seed).permutation(np.flatnonzero(full >= cuts[-1]))[:_TEXTS]
    chosen = [texts[row] for row in np.sort(order).tolist()]
    found = {}
    with limits_kept(model):
        for cut in cuts:
            set_limit(model, cut)
            found[cut] = tokenise(model, chosen, prompt_name)
    return found


def read_cuts(
    model: SentenceTransformer, cuts: dict[int, Tokens], listener: Listener, passes: Passes | None = None
) -> CutLengths | None:
    """Return the mean cosine at each cut of the texts that have a vector at all; None for fewer than 20 such texts."""
    encoder = Encoder(model, plain_backend(model, passes=passes), notify=listener.notify)
    read = [
        encoder(tokens, listener.step(f"reading texts cut at {cut} tokens", len(tokens)))[0]
        for cut, tokens in cuts.items()
    ]
    usable = np.all([np.isfinite(vectors).all(1) & vectors.any(1) for vectors in read], 0) if read else np.zeros(0)
    if usable.sum() < MIN_TEXTS:
        return None
    sides = np.triu_indices(int(usable.sum()), 1)
    units = [to_unit(vectors[usable]) for vectors in read]
    cosines = [(unit @ unit.T)[sides] for unit in units]
    return CutLengths(
        texts=int(usable.sum()),
        cuts=tuple(
            CutLength(tokens=cut, cosine=mean_over_pairs(one, *sides)) for cut, one in zip(cuts, cosines, strict=True)
        ),
        change=mean_over_pairs(cosines[-1] - cosines[0], *sides),
    )
