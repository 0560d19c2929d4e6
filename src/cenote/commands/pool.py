"""`cenote pool`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from cenote.commands.shared import add_model, count, hush, note, warn
from cenote.declarations import find
from cenote.errors import CenoteError

if TYPE_CHECKING:
    from cenote.texts import Text

MEANING = "embed a few texts for a quick look, as JSON lines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_model(parser)
    parser.add_argument(
        "texts",
        metavar="TEXTS",
        help="a .txt (a text per line), .jsonl, .csv, .tsv or .parquet file, gzip'd or not; a folder of text files; "
        "or - for standard input, a text per line",
    )
    parser.add_argument(
        "--pooling", metavar="NAME", help="see `cenote poolings`; A,B concatenates; default: the model's"
    )
    parser.add_argument(
        "--interval", type=count, metavar="K", help="tokens per chunk, for landmark, multi_cls, every_k"
    )
    parser.add_argument("--column", default="text", help="where the text is, in files with columns (default: text)")
    parser.add_argument(
        "--id-column", metavar="NAME", help="where the id is (default: id if there is one, else row numbers)"
    )
    parser.add_argument("--limit", type=count, metavar="N", help="stop after N texts")
    parser.add_argument(
        "--max-seq-length", type=count, metavar="N", help="cut texts after N tokens; default: the model's"
    )
    parser.add_argument("--dtype", help="float32, bfloat16, float16 or auto (as saved)")
    parser.add_argument(
        "--json", action="store_true", help="JSON lines: the only form there is, accepted for uniformity"
    )


def run(args: argparse.Namespace) -> Iterator[str]:
    """A line for each text, with its id and vector."""
    from cenote.texts import read

    find(args.model)
    texts = read(args.texts, column=args.column, id_column=args.id_column)
    note(f"loading {args.model} ...")
    if args.pooling:
        from cenote.functional.pooling import canonical

        canonical(args.pooling)  # a misspelt name is told before seconds of loading
    from cenote.loading import load

    hush()
    model = load(
        args.model,
        pooling=args.pooling,
        interval=args.interval,
        max_seq_length=args.max_seq_length,
        device=args.device,
        dtype=args.dtype,
        trust_remote_code=args.trust_remote_code,
    )
    seen = cut = 0
    for batch in _batches(islice(texts, args.limit), 32):
        words = [text.text for text in batch]
        try:
            vectors = model.encode(words, convert_to_tensor=True, show_progress_bar=False).float().cpu().numpy()
        except RuntimeError as error:  # out of memory, above all
            raise CenoteError(f"the model failed at texts {batch[0].id} to {batch[-1].id}: {error}") from error
        seen += len(batch)
        cut += _cut(model, words)
        for text, vector in zip(batch, vectors, strict=True):
            # str() of a float32 is the shortest that reads back as the same number.
            yield json.dumps({"id": text.id, "embedding": [float(str(value)) for value in vector]})

    if cut:
        warn(
            f"{cut} of {seen} texts were cut at the model's {model.max_seq_length} tokens: "
            "their ends are not in the vectors."
        )


def _cut(model: Any, words: list[str]) -> int:
    """Of how many texts the model reads less than the whole, with the prompt that `encode` puts before them."""
    from cenote.surgery.profiles import limit_of
    from cenote.tokenising import tokenise

    return 0 if limit_of(model) is None else int(tokenise(model, words).truncated.sum())


def _batches(texts: Iterable[Text], size: int) -> Iterator[list[Text]]:
    """Lists of `size`; a stream that breaks gives what came before, and then its error."""
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
