"""`cenote pool`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from itertools import islice

from cenote.choices import WEIGHT_DTYPES
from cenote.commands.arguments import add_common, check_texts, count, one_of
from cenote.commands.shared import load_model, note, warn
from cenote.data.texts import Text, read
from cenote.errors import CenoteError
from cenote.models.hub import refuse_missing

MEANING = "embed a few texts for a quick look, as JSON lines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_common(parser, "model", "texts", "--pooling")
    parser.add_argument(
        "--interval", type=count, metavar="K", help="tokens of a chunk, for landmark, multi_cls and every_k"
    )
    add_common(parser, "--column", "--id-column")
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
    texts = read(args.texts, column=args.column, id_column=args.id_column)
    note(f"loading {args.model} ...")
    from cenote.encoding.backends import plain_backend
    from cenote.encoding.tokens import tokenise
    from cenote.encoding.vectors import Encoder

    model = load_model(args, args.model, interval=args.interval, dtype=args.dtype)
    encoder = Encoder(model, plain_backend(model), notify=warn)
    seen = cut = 0
    for batch in _batches(islice(texts, args.limit), 32):
        tokens = tokenise(model, [text.text for text in batch])
        try:
            vectors, refused = encoder(tokens)
        except RuntimeError as error:
            raise CenoteError(f"the model failed at texts {batch[0].id} to {batch[-1].id}: {error}") from error
        if refused:
            first = min(refused)
            raise CenoteError(f"text {batch[first].id} cannot be read: {refused[first]}.")
        seen += len(batch)
        cut += int(tokens.truncated.sum())
        for text, vector in zip(batch, vectors, strict=True):
            # str() of a float32 is the shortest that reads back as the same number.
            yield json.dumps({"id": text.id, "embedding": [float(str(value)) for value in vector]})
    if cut:
        warn(
            f"{cut} of {seen} texts were cut at the model's {model.max_seq_length} tokens: "
            "their ends are not in the vectors."
        )


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
