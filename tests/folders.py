"""Folders of `embed`: written without a model, of vectors that are known; their files; parts of few texts."""

from itertools import pairwise

import numpy as np
import pyarrow as pa

from cenote.data.texts import open_texts
from cenote.embedding import corpus, embed
from cenote.embedding.folder import opened
from cenote.embedding.parts import Part
from cenote.functional.quantisation import dequantise, quantise

TYPES = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}


def write(folder, vectors, columns, dtype="float32", cuts=None, settings=None):
    """Write a folder in several parts without a model; return the vectors as they can be read back."""
    scales = None
    kept = vectors.astype(dtype) if dtype != "int8" else None
    if kept is None:
        kept, scales = quantise(vectors)
    width = vectors.shape[1]
    with opened(folder, {"dtype": dtype, **(settings or {})}, {}, restart=False) as out:
        for index, (start, end) in enumerate(pairwise(cuts or (0, len(vectors)))):
            numbers = pa.FixedSizeListArray.from_arrays(pa.array(kept[start:end].ravel(), TYPES[dtype]), width)
            table = {name: pa.array(values[start:end]) for name, values in columns.items()} | {"embedding": numbers}
            if scales is not None:
                table["scale"] = pa.array(scales[start:end])
            out.write(Part(index, start, end - start, end - start, str(index), 0, 0, 0), pa.table(table))
        out.finish()
    return kept.astype(np.float32) if scales is None else dequantise(kept, scales)


def content(folder):
    """Return the bytes of each file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make_small_parts(monkeypatch, texts):
    """Let parts hold so many texts; fail if one more does not begin another part."""
    for room in (corpus, embed):
        monkeypatch.setattr(room, "PART_TEXTS", texts)
    assert len(list(corpus.cut_slices(open_texts(["a pool"] * (texts + 1)).read()))) == 2
