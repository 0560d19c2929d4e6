"""`search`: the texts of a folder of embeddings that are nearest to a query, exactly, a few parts in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, overload

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer

from cenote.choices import TASKS, SimilarityName, TaskName
from cenote.data.columns import TEXT, join_parts
from cenote.embedding import index as indexes
from cenote.embedding.options import WRITTEN
from cenote.embedding.queries import checked_queries, model_of, vectors_of
from cenote.embedding.reading import Embeddings, read_embeddings
from cenote.embedding.scan import Question, scan
from cenote.errors import BadInput, check_at_least, choose, some
from cenote.functional.best import Best
from cenote.functional.similarity import canonical
from cenote.listener import Listener, Progress, silent
from cenote.models.loading import load

if TYPE_CHECKING:
    from typing_extensions import Unpack

Folder = str | Path | Embeddings


@dataclass(frozen=True)
class Hit:
    """A text that a search found: where it is read in windows or segments, by the best of them."""

    id: str  # of the text
    score: float
    row: int  # of the folder
    text: str | None = None  # the words: of the text, or of its window; None where they were not kept
    window: int | None = None  # number of the window or segment in the text
    start: int | None = None  # its first character
    end: int | None = None  # the character after its last
    kept: dict[str, Any] = field(default_factory=dict)  # columns that were kept beside the vectors


class _Options(TypedDict, total=False):
    model: SentenceTransformer | str | Path | None
    top: int
    task: TaskName | None
    prompt_name: str | None
    how: SimilarityName | None
    index: str | None
    progress: Progress | None
    notify: Callable[[str], object] | None
    loader: Callable[..., Any] | None


@overload
def search(  # type: ignore[overload-overlap]  # a string is a sequence of strings too, but is one question
    vectors: Folder, queries: str, **options: Unpack[_Options]
) -> list[Hit]: ...
@overload
def search(
    vectors: Folder, queries: Sequence[str] | npt.NDArray[Any], **options: Unpack[_Options]
) -> list[list[Hit]]: ...
def search(
    vectors: Folder,
    queries: str | Sequence[str] | npt.NDArray[Any],
    *,
    model: SentenceTransformer | str | Path | None = None,
    top: int = 10,
    task: TaskName | None = "query",
    prompt_name: str | None = None,
    how: SimilarityName | None = None,
    index: str | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], object] | None = None,
    loader: Callable[..., Any] | None = None,
) -> list[Hit] | list[list[Hit]]:
    """Return the texts of a folder that `embed` wrote which are nearest to a query, best first.

    >>> import cenote, tempfile
    >>> texts = ["The pool is deep.", "The price of bread rose.", "A cave without a roof."]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = cenote.embed("minilm", texts, folder)
    ...     [hit.id for hit in cenote.search(folder, "How deep is the water?", top=2)]
    ['0', '2']

    Every vector is compared: the result is that of a loop over all rows in float64. Equal vectors have equal scores,
    whatever lies beside them, and equal scores are in the order of the folder.
    A text that has several rows, of windows or segments, counts once, by the best of them.

    Args:
        vectors: the folder, or what `cenote.read_embeddings` returns.
        queries: a question, or several; or their vectors `[Q, D]`, and then no model is loaded.
        model: None loads the one that the manifest names, with its pooling and temperature. A name or a model is
            refused if its vectors would differ from those of the folder.
        top: texts for each query, at most.
        task: the model's prompt for `query` is put before each query, where it has one. None: no prompt.
        prompt_name: another prompt of the model.
        how: a similarity of `cenote.similarity`. None: that of the model that embedded the folder.
        index: an index of FAISS in place of the comparison with every vector, by the name that
            `faiss.index_factory` takes, such as `HNSW32`. It is built once, and kept in the folder.
        progress: called with a step, how much of it is done, and how much there is.
        notify: called with a sentence on each event.
        loader: loads the model that the manifest names; default: `cenote.load`.

    Returns:
        A list of `Hit` for one question, else such a list for each query.

    Raises:
        BadInput: the folder is not complete, the model is not that of the folder, or a query is empty.
    """
    check_at_least(1, top, "top")
    how = None if how is None else canonical(how)
    if task is not None:
        choose(task, dict.fromkeys(TASKS), "task")
    if index is not None:
        indexes.refuse_index(index)
    asked = queries if isinstance(queries, np.ndarray) else checked_queries(queries)
    found = _opened(vectors)
    how = how or found.manifest.settings.get("similarity")
    if isinstance(asked, np.ndarray):
        _refuse_unfit(asked, found.shape[1])
    else:
        answering = model_of(found, model, loader or load)
        asked = vectors_of(found, asked, answering, task, prompt_name)
        how = how or answering.similarity_fn_name  # folders of earlier versions do not say
    question = Question.of(asked, how or "cosine", top)
    listener = Listener(progress or silent, notify or silent)
    best = scan(found, question, listener) if index is None else indexes.ask(found, question, index, listener)
    hits = _hits(found, best)
    return hits[0] if isinstance(queries, str) else hits


def _opened(vectors: Any) -> Embeddings:
    if isinstance(vectors, Embeddings):
        return vectors
    if not isinstance(vectors, (str, Path)):
        raise BadInput(
            f"vectors is a {type(vectors).__name__}: pass the folder that embed wrote, or what cenote.read_embeddings "
            "returns."
        )
    return read_embeddings(vectors)


def _refuse_unfit(queries: npt.NDArray[Any], width: int) -> None:
    """Raise if an array does not hold vectors that can be compared with those of a folder."""
    if queries.ndim != 2 or queries.shape[1] != width or queries.dtype.kind != "f":
        raise BadInput(
            f"queries have shape {queries.shape} and dtype {queries.dtype}: pass floating numbers of shape "
            f"[Q, {width}], or the questions as strings."
        )
    if (bad := np.flatnonzero(~np.isfinite(queries).all(1))).size:
        raise BadInput(f"queries {some(bad.tolist())} have NaN or infinity.")


def _hits(found: Embeddings, best: Best) -> list[list[Hit]]:
    """Return the hits of each query; the columns of all rows are read at once, since queries share row groups."""
    rows = np.unique(np.concatenate([np.zeros(0, np.int64), *best.rows])).tolist()
    about = dict(zip(rows, found.describe(rows), strict=True))
    columns = found.manifest.settings.get("columns") or [TEXT]
    return [
        [_hit(row, score, about[row], columns) for row, score in zip(own.tolist(), scores.tolist(), strict=True)]
        for own, scores in zip(best.rows, best.scores, strict=True)
    ]


def _hit(row: int, score: float, about: dict[str, Any], columns: Sequence[str]) -> Hit:
    kept = {name: value for name, value in about.items() if name not in WRITTEN}
    text = join_parts([kept[name] for name in columns]) if all(name in kept for name in columns) else None
    if "window" not in about:
        return Hit(about["id"], score, row, text, kept=kept)
    start, end = about["start"], about["end"]
    words = None if text is None else text[start:end]
    return Hit(about["parent_id"], score, row, words, about["window"], start, end, kept)
