"""`cenote pool`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from cenote.choices import WEIGHT_DTYPES
from cenote.commands.arguments import add_common, check_texts, count, load_model, one_of
from cenote.commands.terminal import note, warn
from cenote.data.texts import Text, read
from cenote.errors import CenoteError, UnsupportedModel
from cenote.models.hub import refuse_missing

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from cenote.encoding.vectors import Vectors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model", "texts", "--pooling")
    parser.add_argument(
        "--interval", type=count, metavar="K", help="tokens of a chunk, for landmark, multi_cls and every_k"
    )
    add_common(parser, "--columns, --column", "--id-column")
    parser.add_argument("--limit", type=count, metavar="N", help="stop after N texts")
    add_common(parser, "--max-seq-length", "--device", "--trust-remote-code")
    parser.add_argument(
        "--dtype",
        type=one_of(WEIGHT_DTYPES, "dtype"),
        help="dtype of the weights: float32, bfloat16, float16 or auto (as saved)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON lines: the only form, accepted for uniformity")


def check(args: argparse.Namespace) -> None:
    """Raise for errors that need no model."""
    check_texts(args, args.texts)
    refuse_missing(args.model)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Print a line of JSON for each text, with its id and vector."""
    texts = read(args.texts, columns=args.columns, id_column=args.id_column)
    note(f"loading {args.model} ...")
    model = load_model(args, args.model, interval=args.interval, dtype=args.dtype)
    encode = _encoder_of(model)
    seen = cut = 0
    for batch in _batches(islice(texts, args.limit), 32):
        try:
            vectors, refused, truncated = encode([text.text for text in batch])
        except RuntimeError as error:
            raise CenoteError(f"the model failed at texts {batch[0].id} to {batch[-1].id}: {error}") from error
        if refused:
            first = min(refused)
            raise CenoteError(f"text {batch[first].id} cannot be read: {refused[first]}.")
        seen += len(batch)
        cut += truncated
        for text, vector in zip(batch, vectors, strict=True):
            # str() of a float32 is the shortest that reads back as the same number.
            yield json.dumps({"id": text.id, "embedding": [float(str(value)) for value in vector]})
    if cut:
        warn(
            f"{cut} of {seen} texts were cut at the model's {model.max_seq_length} tokens: "
            "their ends are not in the vectors."
        )


def _encoder_of(model: SentenceTransformer) -> Callable[[list[str]], tuple[Vectors, dict[int, str], int]]:
    """Return a function that gives the vectors of texts, the reasons for those without one, and how many were cut."""
    import numpy as np

    from cenote.encoding.backends import plain_backend
    from cenote.encoding.batches import NOT_FINITE
    from cenote.encoding.tokens import tokenise
    from cenote.encoding.vectors import Encoder

    def by_own_encode(texts: list[str]) -> tuple[Vectors, dict[int, str], int]:
        vectors = model.encode(texts, convert_to_numpy=True, show_progress_bar=False).astype(np.float32, copy=False)
        return vectors, dict.fromkeys(np.flatnonzero(~np.isfinite(vectors).all(1)).tolist(), NOT_FINITE), 0

    try:
        tokenise(model, ["a"])
    except UnsupportedModel:  # the model makes no rows of tokens, as static embeddings do
        return by_own_encode
    encoder = Encoder(model, plain_backend(model), notify=warn)

    def encode(texts: list[str]) -> tuple[Vectors, dict[int, str], int]:
        tokens = tokenise(model, texts)
        return *encoder(tokens), int(tokens.truncated.sum())

    return encode


def _batches(texts: Iterable[Text], size: int) -> Iterator[list[Text]]:
    """Yield lists of `size`; where the stream fails, first the texts that came before the error."""
    batch: list[Text] = []
    try:
        for text in texts:
            batch.append(text)
            if len(batch) == size:
                yield batch
                batch = []
    except CenoteError:
        yield from [batch] if batch else []
        raise
    yield from [batch] if batch else []
