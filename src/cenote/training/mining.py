"""`mine_pairs`: pairs for contrastive training from plain text, without labels."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cenote.choices import PairWay, missing_packages
from cenote.data.columns import TEXT
from cenote.data.inputs import refuse_input
from cenote.data.pairs import Pair
from cenote.data.rows import Kept, Text, raise_faults, refuse_empty
from cenote.data.sentences import count_words
from cenote.data.texts import Texts, Wanted, open_texts
from cenote.errors import BadInput, CenoteError, Value, check_at_least
from cenote.listener import Listener, Progress, silent
from cenote.storage import refuse_unwritable, write_whole
from cenote.training.ways import LEFT_OUT, WAYS, Document, Settings, check_settings, check_share
from cenote.wording import pluralise

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Pairs that are written to a Parquet file at once.
_BATCH = 4096


@dataclass(frozen=True, repr=False)
class MinedPairs:
    """The result of `cenote.mine_pairs`: the pairs or the file that has them, and counts of what was left out."""

    pairs: tuple[Pair, ...] | None  # None if they were written to a file
    counts: dict[str, int]  # texts read, pairs, and what was left out, by the keys of `LEFT_OUT`
    ways: tuple[str, ...]
    output: str | None

    def __repr__(self) -> str:
        """Return two lines: the pairs, and what was left out."""
        place = f", in {self.output}" if self.output else ""
        count = f"{pluralise(self.counts['pairs'], 'pair')} by {', '.join(self.ways)}"
        return f"{count} from {pluralise(self.counts['texts'], 'text')}{place}\nleft out: {state_left_out(self.counts)}"


@dataclass(frozen=True)
class _Negatives:
    """How negatives are found."""

    count: int
    range_min: int
    margin: float


def mine_pairs(
    corpus: Texts,
    ways: PairWay | Sequence[PairWay] = "spans",
    *,
    output: str | Path | None = None,
    columns: str | Sequence[str] | None = None,
    title_column: str = "title",
    id_column: str | None = None,
    words: Sequence[int] = (16, 64),
    keep: float = 0.1,
    per_text: int = 1,
    min_words: int = 10,
    limit: int | None = None,
    negatives: int | None = None,
    model: SentenceTransformer | str | Path | None = None,
    range_min: int = 0,
    margin: float = 0.05,
    seed: int = 0,
    progress: Progress | None = None,
    notify: Callable[[str], object] | None = None,
    loader: Callable[[Any], SentenceTransformer] | None = None,
) -> MinedPairs:
    """Draw pairs of a query and a positive from plain text: weak supervision for contrastive training.

    >>> text = "A pool that a collapse of the cave made. Its water is deep, and light reaches the bottom at noon."
    >>> found = mine_pairs([{"title": "Cenote", "text": text}, {"title": "", "text": text}], "title")
    >>> found.pairs[0].query, found.counts["no_title"]
    ('Cenote', 1)
    >>> found
    1 pair by title from 2 texts
    left out: 1 text without a title

    Texts are read one by one. With `output` each pair is written at once, and memory keeps a hash of 16 bytes of it
    to find repeated ones; negatives need all pairs in memory.

    Args:
        corpus: a path, strings, (id, text), mappings, a frame or a table, as `cenote.data.texts.read` takes them.
        ways: one or several of `title`, `spans` and `sentence`; a string may hold several with commas, as on the
            command line.
        output: file to write, which ends in .jsonl, .jsonl.gz or .parquet. It appears whole or not at all.
        columns: column of the text, or several, which are joined by a space; None: `text`.
        title_column: column of the title, for the way `title`.
        id_column: column of the id, from which draws are made; None takes `id` if there is one, else row numbers.
        words: the fewest and the most words of a span.
        keep: share of the sentences that stay in their paragraph.
        per_text: pairs of each text and way, at most.
        min_words: texts of fewer words are left out, and so are paragraphs that have fewer without their sentence.
        limit: pairs in all, the first of the corpus.
        negatives: hard negatives of each pair; pairs with fewer are left out. Needs the extra `train`.
        model: ranks candidates for negatives; what `cenote.load` takes, or a `SentenceTransformer`.
        range_min: nearest candidates that are no negatives, since they may be positives without a label.
        margin: how far below the similarity of the positive a negative has to be, as a share of that similarity.
        seed: of all draws.
        progress: called with a step, how much of it is done, and how much there is (0: unknown).
        notify: called with a sentence on what happens.
        loader: loads a model that is given by name, once the pairs are drawn; None is `cenote.load`.
    """
    settings = check_settings(ways, words, keep, per_text, min_words, seed)
    most = None if limit is None else check_at_least(1, limit, "limit")
    wanted = check_negatives(negatives, model, range_min, margin)
    if output is not None:
        check_output(output, corpus)
    listener = Listener(progress or silent, notify or silent)
    counts: Counter[str] = Counter()
    documents = _read(corpus, output, settings, columns, title_column, id_column)
    drawn = islice(_draw_pairs(documents, settings, counts, listener), most)
    found: Iterable[Pair] = (pair for _, pair in drawn)
    if wanted is not None:
        found = _with_negatives(_refuse_none(drawn, counts), model, wanted, counts, listener, loader)
    found = _counted(_refuse_none(found, counts), counts)
    pairs = None if output is not None else tuple(found)
    if output is not None:
        _write(Path(output), found)
    return MinedPairs(
        pairs=pairs,
        counts={name: counts[name] for name in ("texts", "pairs", *LEFT_OUT)},
        ways=settings.ways,
        output=None if output is None else str(output),
    )


def state_left_out(counts: Mapping[str, int]) -> str:
    """Return what was left out, in words.

    >>> state_left_out({"texts": 9, "no_title": 2, "repeated": 1, "equal": 0}), state_left_out({"texts": 9})
    ('2 texts without a title, 1 pair drawn before', 'nothing')
    """
    stated = (f"{pluralise(counts[name], noun)} {why}" for name, (noun, why) in LEFT_OUT.items() if counts.get(name))
    return ", ".join(stated) or "nothing"


# Checks.


def check_negatives(negatives: int | None, model: object, range_min: int, margin: float) -> _Negatives | None:
    """Return how negatives are found, None for no negatives; raise if something is missing for them."""
    check_at_least(0, range_min, "range_min")
    check_share(margin, "margin")
    if negatives is None:
        if model is not None:
            raise BadInput(
                "a model is given, which only finds negatives: say how many (negatives, --negatives), or leave it out."
            )
        return None
    wanted = _Negatives(check_at_least(1, negatives, "negatives"), int(range_min), float(margin))
    if model is None:
        raise BadInput(f"negatives={negatives} needs a model that ranks candidates: name one (model, --model).")
    if missing := missing_packages("train"):
        raise CenoteError(f"negatives: {missing}.")
    return wanted


def suffix_of(path: Path) -> str:
    """Return the suffix of a file that pairs can be written to; raise `BadInput` for any other.

    >>> suffix_of(Path("pairs.2.jsonl.gz"))
    '.jsonl.gz'
    """
    suffix = next((suffix for suffix in WRITERS if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        *others, last = WRITERS
        raise BadInput(f"output {str(path)!r}: name a file that ends in {', '.join(others)} or {last}.")
    return suffix


def check_output(output: str | Path, corpus: Any) -> None:
    """Raise if pairs cannot be written to a file, would overwrite the corpus, or be read with it by the next run."""
    path = Path(output)
    suffix_of(path)
    if not path.parent.is_dir():
        raise BadInput(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}. Make it first.")
    if path.is_dir():
        raise BadInput(f"{str(path)!r} is a folder: name a file.")
    # In a list strings are texts.
    among = [one for one in corpus if isinstance(one, Path)] if isinstance(corpus, (list, tuple)) else [corpus]
    refuse_input("output", path, among)
    refuse_unwritable(path.parent)


# Reading.


def _read(
    corpus: Texts,
    output: str | Path | None,
    settings: Settings,
    columns: str | Sequence[str] | None,
    title_column: str,
    id_column: str | None,
) -> Iterator[Document]:
    """Return the texts, with their titles if a way needs them. The first one is read by this call."""
    titles = (title_column,) if "title" in settings.ways else ()
    remedy = "The way `title` needs a column of titles: name it with `title_column` (--title-column)."
    text = TEXT if columns is None else columns  # named, so that nothing warns of a title: it is for another way
    opened = open_texts(corpus, Wanted.of(text, id_column, titles, optional=remedy))
    if output is not None:  # a link among the files of a folder may lead to it
        refuse_input("output", Path(output), [sheet.name for sheet in opened.reader.sheets])
    rows = refuse_empty(raise_faults(opened.read()), opened.name)
    return (Document(*row, _title_of(row)) for row in rows)


def _title_of(row: Text) -> str | None:
    title = row.values[0] if isinstance(row, Kept) else None
    return title if isinstance(title, str) else None


# Drawing.


def _draw_pairs(
    documents: Iterable[Document], settings: Settings, counts: Counter[str], listener: Listener
) -> Iterator[tuple[int, Pair]]:
    """Yield pairs, each with the number of its text, and count texts and what is left out."""
    seen: set[bytes] = set()
    step = listener.step("reading texts")
    for number, document in enumerate(documents):
        counts["texts"] += 1
        step(1)
        if count_words(document.text) < settings.min_words:
            counts["short_texts"] += 1
            continue
        for way in settings.ways:
            drawn, left_out = WAYS[way](document, settings)
            counts.update(left_out)
            for query, positive in drawn:
                plain = query.casefold(), positive.casefold()
                digest = _digest(*plain)
                if plain[0] == plain[1]:
                    counts["equal"] += 1
                elif digest in seen:
                    counts["repeated"] += 1
                else:
                    seen.add(digest)
                    yield number, Pair(query, positive)


def _digest(query: str, positive: str) -> bytes:
    """Return 16 bytes that depend on both texts and on where one ends."""
    return blake2b(f"{len(query)}/{query}{positive}".encode(), digest_size=16).digest()


def _refuse_none(items: Iterable[Value], counts: Counter[str]) -> Iterator[Value]:
    """Return the same items; raise `BadInput` if there is none."""
    for first in (remaining := iter(items)):
        return chain((first,), remaining)
    raise BadInput(
        f"no pair can be drawn from {pluralise(counts['texts'], 'text')}; left out: {state_left_out(counts)}. Give "
        "longer texts, another way (ways, --way), or smaller bounds (words, min_words, negatives, margin, range_min)."
    )


def _counted(pairs: Iterable[Pair], counts: Counter[str]) -> Iterator[Pair]:
    for pair in pairs:
        counts["pairs"] += 1
        yield pair


def _with_negatives(
    drawn: Iterable[tuple[int, Pair]],
    model: Any,
    wanted: _Negatives,
    counts: Counter[str],
    listener: Listener,
    loader: Callable[[Any], SentenceTransformer] | None,
) -> Iterator[Pair]:
    """Yield the pairs that have enough negatives, and count the others."""
    from cenote.training.negatives import find_negatives

    texts, pairs = zip(*drawn, strict=True)
    loaded = _load(model, loader)
    advance = listener.step("encoding queries and positives", 2 * len(pairs))
    found = find_negatives(
        pairs, texts, loaded, wanted.count, range_min=wanted.range_min, margin=wanted.margin, advance=advance
    )
    _report_cut(loaded, {pair.positive for pair in pairs}, listener)
    few = sum(len(negatives) < wanted.count for negatives in found)
    counts["few_negatives"] = few
    if few:
        listener.notify(
            f"{pluralise(few, 'pair')} of {len(pairs):,} had fewer than {pluralise(wanted.count, 'negative')} and "
            f"{'was' if few == 1 else 'were'} left out."
        )
    for pair, negatives in zip(pairs, found, strict=True):
        if len(negatives) == wanted.count:
            yield pair._replace(negatives=negatives)


def _report_cut(model: SentenceTransformer, positives: Collection[str], listener: Listener) -> None:
    """Say how many positives were compared by their beginning only."""
    from cenote.encoding.tokens import count_tokens
    from cenote.models.properties import limit_of, prompt_name_for

    limit, prompt = limit_of(model, "document"), prompt_name_for(model, None, "document")
    if limit is None:  # where tokens may not be counted either, as of static embeddings
        return
    counts = count_tokens(model, sorted(positives), prompt_name=prompt, task="document")
    if cut := int((counts > limit).sum()):
        listener.notify(
            f"{cut:,} of {pluralise(len(positives), 'positive')} {'is' if cut == 1 else 'are'} longer than the {limit} "
            "tokens that the model reads: their ends were not compared. --max-seq-length reads more."
        )


def _load(model: Any, loader: Callable[[Any], SentenceTransformer] | None) -> Any:
    if not isinstance(model, (str, Path)):
        return model
    if loader is not None:
        return loader(model)
    from cenote.models.loading import load

    return load(model)


# Writing.


def record_of(pair: Pair) -> dict[str, Any]:
    """Return a pair as an object of JSON.

    >>> record_of(Pair("a", "b")), record_of(Pair("a", "b", ("c",)))
    ({'query': 'a', 'positive': 'b'}, {'query': 'a', 'positive': 'b', 'negatives': ['c']})
    """
    more = {"negatives": list(pair.negatives)} if pair.negatives else {}
    return {"query": pair.query, "positive": pair.positive, **more}


def _lines(pairs: Iterable[Pair]) -> Iterator[bytes]:
    return (json.dumps(record_of(pair), ensure_ascii=False).encode() + b"\n" for pair in pairs)


def _write_jsonl(path: Path, pairs: Iterable[Pair]) -> None:
    with path.open("wb") as file:
        file.writelines(_lines(pairs))


def _write_gzip(path: Path, pairs: Iterable[Pair]) -> None:
    # Without a name and a time, so that the same pairs are the same bytes.
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
        file.writelines(_lines(pairs))


def _write_parquet(path: Path, pairs: Iterable[Pair]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    remaining = iter(pairs)
    first = next(remaining)  # there is one: no pairs are refused before
    texts = {"query": pa.string(), "positive": pa.string()}
    schema = pa.schema({**texts, "negatives": pa.list_(pa.string())} if first.negatives else texts)
    waiting = chain((first,), remaining)
    with parquet.ParquetWriter(str(path), schema) as writer:
        while batch := [record_of(pair) for pair in islice(waiting, _BATCH)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _write(path: Path, pairs: Iterable[Pair]) -> None:
    with write_whole(path, goes_on=False) as temporary:
        WRITERS[suffix_of(path)](temporary, pairs)


# The one list of formats: the look-up and the error message derive from it.
WRITERS: dict[str, Callable[[Path, Iterable[Pair]], None]] = {
    ".jsonl": _write_jsonl,
    ".jsonl.gz": _write_gzip,
    ".parquet": _write_parquet,
}
