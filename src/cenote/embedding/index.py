"""An index of FAISS over a folder of embeddings: built once, kept beside the parts, asked in place of every vector.

An index proposes rows. They are compared with the queries by the vectors of the folder, as the exact search compares
them, so that scores are the same; what an approximate index does not propose is missed.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import uuid
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from cenote.choices import missing_packages
from cenote.embedding.integrity import footer_checksum
from cenote.embedding.manifest import INDEXES
from cenote.embedding.reading import Embeddings
from cenote.embedding.scan import Block, Floats, Question
from cenote.errors import BadInput, CenoteError, CenoteWarning, choose, first_line
from cenote.functional.arrays import slices
from cenote.functional.best import Best, Whole
from cenote.functional.units import to_unit
from cenote.listener import Listener
from cenote.storage import explain_disk_errors, write_whole

# What FAISS calls the similarities that it ranks by. The cosine is the dot product of unit vectors.
_METRICS = {"cosine": "METRIC_INNER_PRODUCT", "dot": "METRIC_INNER_PRODUCT", "euclidean": "METRIC_L2"}
# Vectors that an index is trained on, where its kind needs it.
_TRAINING = 2**18
# Rows that an index proposes for each text that is wanted: some kinds put near ones in a wrong order.
_PROPOSALS = 4
# Rows that a graph (HNSW) keeps in view while it is walked: twice those that it proposes, and never few. FAISS keeps 16
# whatever is asked for, with which a query may miss all of its nearest rows.
_IN_VIEW, _LEAST_IN_VIEW = 2, 128
# Numbers of the vectors of proposed rows in memory at once: 256 MB. One query may have more.
_IN_MEMORY = 2**26


def refuse_index(kind: Any) -> None:
    """Raise if a kind of index is no name, or FAISS is not installed."""
    if not isinstance(kind, str) or not kind.strip():
        raise BadInput(f"index={kind!r} (--index): pass a name that faiss.index_factory knows, such as 'HNSW32'.")
    if missing := missing_packages("index"):
        raise CenoteError(f"index={kind!r} (--index): {missing}.")


def ask(found: Embeddings, question: Question, kind: str, listener: Listener) -> Best:
    """Return the best rows of each query among those that an index proposes.

    A query for which too few texts are proposed is asked again, for more rows and of more lists.
    """
    windows = found["window"].astype(np.int64) if "window" in found.columns else None
    most = min(question.top, len(found) if windows is None else int((windows == 0).sum()))
    best, open_ = Best(len(question.queries), question.top), np.arange(len(question.queries))
    if not len(open_) or not most:
        return best
    index = _opened(found, kind, question.how, listener)
    queries, lists = _ready(question.queries, question.how), _lists_of(index)
    count, probes = min(len(found), most * _PROPOSALS), math.isqrt(lists.nlist) if lists else 0
    while True:
        if lists:
            lists.nprobe = max(1, probes)
        _set_view(index, max(_LEAST_IN_VIEW, _IN_VIEW * count))
        for block in slices(len(open_), max(1, _IN_MEMORY // (count * found.shape[1]))):
            proposed = index.search(queries[open_[block]], count)[1]
            _compare(found, question, open_[block], proposed, windows, best)
        open_ = np.array([query for query in open_.tolist() if len(best.rows[query]) < most], np.int64)
        exhausted = count == len(found) and (not lists or probes >= lists.nlist)
        if exhausted or not len(open_):
            break
        count = min(len(found), count * _PROPOSALS)
        probes *= _PROPOSALS
    if len(open_):
        fewest = min(len(best.rows[query]) for query in open_.tolist())
        warnings.warn(
            f"index {kind!r} reaches too few texts: for one of the queries it proposes {fewest:,} of {most:,}. Name "
            "another kind, or search without an index.",
            CenoteWarning,
            stacklevel=3,
        )
    return best


def _lists_of(index: Any) -> Any:
    """Return the part of an index that holds lists of rows, a few of which are searched; None where it has no lists."""
    import faiss

    return faiss.try_extract_index_ivf(index)


def _set_view(index: Any, rows: int) -> None:
    """Set how many rows a graph keeps in view; nothing changes in an index that has none."""
    import faiss

    with suppress(RuntimeError):
        faiss.ParameterSpace().set_index_parameter(index, "efSearch", rows)


def _compare(
    found: Embeddings, question: Question, queries: Whole, proposed: Whole, windows: Whole | None, best: Best
) -> None:
    """Put the best of the rows proposed for some queries in the place of those of these queries, by their vectors."""
    rows = np.unique(proposed[proposed >= 0])  # -1: the index proposes no more
    block = Block(found[rows].astype(np.float32, copy=False), rows, None if windows is None else windows[rows])
    places = [np.searchsorted(rows, np.unique(own[own >= 0])) for own in proposed]
    compared = block.compare(question.queries[queries], question.how, places)
    for query, (own, scores) in zip(queries.tolist(), compared, strict=True):
        best.replace(query, own, scores)


def _opened(found: Embeddings, kind: str, how: str, listener: Listener) -> Any:
    """Return the index of a folder, which is built where the folder has none of this kind."""
    import faiss

    choose(how, _METRICS, f"similarity that an index ranks by, which {kind} does not:")
    identity = _identity(found)
    path = found.folder / f"index-{re.sub('[^A-Za-z0-9]+', '_', kind)}-{how}-{identity}.faiss"
    if path.exists():
        try:
            return faiss.read_index(str(path))
        except RuntimeError as error:
            raise BadInput(f"{path} cannot be read ({error}): delete it, and it is built again.") from error
    if not os.access(found.folder, os.W_OK | os.X_OK):
        _warn_not_kept(f"cannot write into {str(found.folder)!r}: permission denied.")
        return _built(found, kind, how, listener)
    index = _built(found, kind, how, listener)
    if reason := _keep(index, path, identity):
        _warn_not_kept(reason)
    else:
        listener.notify(f"the index is kept in {path}")
    return index


def _keep(index: Any, path: Path, identity: str) -> str | None:
    """Write an index beside the parts, and delete those of other vectors; return why it cannot be written, or None."""
    import faiss

    try:
        with write_whole(path, f"{uuid.uuid4().hex[:8]}-") as temporary:  # another search may write the same index
            faiss.write_index(index, str(temporary))
        with explain_disk_errors(path.parent):
            for old in path.parent.glob(INDEXES):
                if not old.stem.endswith(identity):
                    old.unlink(missing_ok=True)
    except (CenoteError, RuntimeError) as error:  # FAISS has no other error for a full disk
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    """Return what an error says, without the place in the source of FAISS."""
    return re.sub(r"^Error in .*\.\w+:\d+: (Error: )?", "", first_line(error))


def _warn_not_kept(reason: str) -> None:
    message = f"the index is not kept, and the next search builds it again: {reason}"
    warnings.warn(message, CenoteWarning, stacklevel=5)  # at the line that calls `search`


def _built(found: Embeddings, kind: str, how: str, listener: Listener) -> Any:
    import faiss

    try:
        index = faiss.index_factory(found.shape[1], kind, getattr(faiss, _METRICS[how]))
        if not index.is_trained:
            rows = np.unique(np.linspace(0, len(found) - 1, min(_TRAINING, len(found))).round().astype(np.int64))
            index.train(_ready(found[rows], how))
        step = listener.step("building the index", len(found))
        for number, size in enumerate(np.diff(found.bounds).tolist()):
            index.add(_ready(found.part(number)[0], how))
            step(size)
    except RuntimeError as error:
        raise BadInput(
            f"index {kind!r} cannot be built on {len(found):,} vectors ({_reason(error)}): name one that "
            "faiss.index_factory knows, such as HNSW32, or search without one."
        ) from error
    return index


def _ready(vectors: Any, how: str) -> Floats:
    """Return vectors as an index takes them: of norm 1 for the cosine."""
    floats = np.ascontiguousarray(vectors, np.float32)
    return to_unit(floats).astype(np.float32) if how == "cosine" else floats


def _identity(found: Embeddings) -> str:
    """Return a name for the vectors of a folder: of the footers of its parts, which hold settings and texts."""
    counts = found.manifest.counts
    if counts is None:
        raise CenoteError(f"{found.folder} is not complete.")  # it would not have been opened
    footers = counts.footers or tuple(  # older folders have no checksums of footers
        footer_checksum(found.path_of(part), rows) for part, rows in enumerate(counts.rows)
    )
    return hashlib.sha256(" ".join(footers).encode()).hexdigest()[:16]
