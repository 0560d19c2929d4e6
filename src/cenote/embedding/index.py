"""An index of FAISS over a folder of embeddings: built once, kept beside the parts, asked in place of every vector.

An index proposes rows. They are compared with the queries by the vectors of the folder, so that scores are exact; what
an approximate index does not propose is missed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from typing import Any

import numpy as np

from cenote.embedding.parts import read_footer
from cenote.embedding.reading import Embeddings
from cenote.embedding.scan import Floats, Wanted, Whole, best_rows, inverse_norms, score
from cenote.errors import BadInput, CenoteError, choose
from cenote.functional.best import Best, leading
from cenote.listener import Listener
from cenote.storage import explain_disk_errors, write_whole

# What FAISS calls the similarities that it ranks by. The cosine is the dot product of unit vectors.
_METRICS = {"cosine": "METRIC_INNER_PRODUCT", "dot": "METRIC_INNER_PRODUCT", "euclidean": "METRIC_L2"}
# Vectors that an index is trained on, where its kind needs it.
_TRAINING = 2**18
# Rows that an index proposes for each text that is wanted: some kinds put near ones in a wrong order.
_PROPOSALS = 4


def refuse_missing(kind: str) -> None:
    """Raise if FAISS is not installed."""
    if importlib.util.find_spec("faiss") is None:
        raise CenoteError(f"index={kind!r} (--index) needs FAISS: pip install faiss-cpu.")


def ask(found: Embeddings, wanted: Wanted, kind: str, listener: Listener) -> Best:
    """Return the best rows of each query among those that an index proposes."""
    index = _opened(found, kind, wanted.how, listener)
    queries = wanted.queries * inverse_norms(wanted.queries)[:, None] if wanted.how == "cosine" else wanted.queries
    windows = found["window"].astype(np.int64) if "window" in found.columns else None
    count = min(len(found), wanted.top * _PROPOSALS)
    while True:
        proposed = index.search(np.ascontiguousarray(queries), count)[1]
        best = _compared(found, wanted, proposed, windows)
        short = min(map(len, best.rows)) < wanted.top  # where the windows of a few texts are all that was proposed
        if windows is None or not short or count == len(found):
            return best
        count = min(len(found), count * _PROPOSALS)


def _compared(found: Embeddings, wanted: Wanted, proposed: Whole, windows: Whole | None) -> Best:
    """Return the best of the rows proposed for each query, by their vectors."""
    best = Best(len(wanted.queries), wanted.top)
    rows = np.unique(proposed[proposed >= 0])  # -1: the index proposes no more
    vectors = found[rows]
    for query, some in enumerate(proposed):
        own = np.unique(some[some >= 0])
        scores = score(wanted.queries[query : query + 1], vectors[np.searchsorted(rows, own)], wanted.how)[0]
        if windows is not None and len(own):
            starts = np.flatnonzero(np.diff(own - windows[own], prepend=-1))  # a text begins at row - window
            chosen = best_rows(scores, starts, np.arange(len(starts)))
            own, scores = own[chosen], scores[chosen]
        places = leading(scores, wanted.top)
        best.offer(query, own[places], scores[places])
    return best


def _opened(found: Embeddings, kind: str, how: str, listener: Listener) -> Any:
    """Return the index of a folder, which is built where the folder has none of this kind."""
    import faiss

    choose(how, _METRICS, f"similarity that an index ranks by, which {kind} does not:")
    name = f"index-{re.sub('[^A-Za-z0-9]+', '_', kind)}-{how}-"
    path = found.folder / f"{name}{_identity(found)}.faiss"
    if path.exists():
        try:
            return faiss.read_index(str(path))
        except RuntimeError as error:
            raise BadInput(f"{path} cannot be read ({error}): delete it, and it is built again.") from error
    index = _built(found, kind, how, listener)
    with explain_disk_errors(found.folder):
        for old in found.folder.glob(f"{name}*.faiss"):
            old.unlink()  # of vectors that are no longer there
        with write_whole(path) as temporary:
            faiss.write_index(index, str(temporary))
    listener.notify(f"the index is kept in {path}")
    return index


def _built(found: Embeddings, kind: str, how: str, listener: Listener) -> Any:
    import faiss

    try:
        index = faiss.index_factory(found.shape[1], kind, getattr(faiss, _METRICS[how]))
        if not index.is_trained:
            rows = np.unique(np.linspace(0, len(found) - 1, min(_TRAINING, len(found))).round().astype(np.int64))
            index.train(_ready(found[rows], how))
        step = listener.step("building the index", len(found))
        for number, size in enumerate(np.diff(found.ends).tolist()):
            index.add(_ready(found.part(number)[0], how))
            step(size)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(
            f"index {kind!r} cannot be built on {len(found):,} vectors ({reason}): name one that faiss.index_factory "
            "knows, such as HNSW32, or search without one."
        ) from error
    return index


def _ready(vectors: Any, how: str) -> Floats:
    """Return vectors as an index takes them: of norm 1 for the cosine."""
    floats = np.ascontiguousarray(vectors, np.float32)
    return floats * inverse_norms(floats)[:, None] if how == "cosine" else floats


def _identity(found: Embeddings) -> str:
    """Return a name for the vectors of a folder: of its settings, and of the texts of its parts."""
    digest = hashlib.sha256()
    for number in range(len(found.ends) - 1):
        part, settings, _ = read_footer(found.path_of(number))
        digest.update(repr((part, sorted(settings.items(), key=str))).encode())
    return digest.hexdigest()[:16]
