"""The chapter on search: what becomes of 100 sentences, what was tried, parts, examples, and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cenote.diagnosis.verdicts.remedies import count_fates
from cenote.records import Account, Diagnosis, Estimate, Example, GivenQueries, Shares
from cenote.report.formatting import (
    format_change,
    format_estimate,
    format_hundred,
    format_number,
    format_share,
    join_names,
    name_change,
)
from cenote.report.series import model_names
from cenote.report.tables import Table, build_table
from cenote.wording import percent, pluralise


@dataclass(frozen=True)
class Kind:
    """A share of the account: its field, its class in page.css, its sign in a bar of text, its name and its meaning.

    For the user's own queries it means something else: where in a text the answer stands, nobody knows.
    """

    field: str
    style: str
    sign: str
    name: str
    meaning: str
    of_queries: str


KINDS = (
    Kind(
        "found",
        "found",
        "█",
        "found",
        "the sentence's own text comes first",
        "a text that answers the query comes first",
    ),
    Kind(
        "lost_to_cut",
        "cut",
        "/",
        "lost to the cut",
        "not found, and the model stops reading before the sentence",
        "not found, but windows of the cut text find it, and the tokens that are read of it do not",
    ),
    Kind(
        "lost_to_pooling",
        "pooling",
        "=",
        "lost to pooling",
        "the model reads the sentence, and a window or the tokens of its text find it, but the one vector of the text "
        "does not",
        "not found, but the tokens that are read of the text find it, or windows of a text that is not cut",
    ),
    Kind("not_found", "missed", "·", "not found", *["not found in any of these ways"] * 2),
)
# The bootstrap of these figures keeps the texts that are searched; the jackknife of the others takes each away in turn.
_ALONE = "with 95 % intervals; of ranks and the first ten, for other sentences alone"
# Names of parts, by the criterion of the part.
_PARTS = {"position": "{} sentences", "length": "texts of {}", "reading": "sentences that are {}"}


@dataclass(frozen=True)
class Share:
    """A share of the account as a number of 100, its interval if it has one, and what it means here."""

    kind: Kind
    count: int
    interval: str
    meaning: str

    @property
    def in_words(self) -> str:
        """The number, the name and the interval."""
        return f"{self.count} {self.kind.name}{f' ({self.interval})' if self.interval else ''}"


@dataclass(frozen=True)
class Search:
    """A search: what it loses, to what, and what to do. Without shares, `loss` says why it was not measured."""

    shares: Shares | None
    loss: str
    advice: str


@dataclass(frozen=True)
class Answer:
    """One model in the chapter: the search for sentences of the texts, then that for the user's own queries."""

    name: str
    key: str
    account: Account | str
    queries: GivenQueries | None
    searches: tuple[Search, ...]


def draw_text_bar(shares: Shares) -> str:
    """Return the shares as a bar of 100 characters."""
    return "".join(kind.sign * count for kind, count in zip(KINDS, count_fates(shares), strict=True))


def describe_shares(shares: Shares) -> Iterator[Share]:
    """Yield each share as a number of 100 with its interval."""
    for kind, count in zip(KINDS, count_fates(shares), strict=True):
        found: Estimate = getattr(shares, kind.field)
        ends = [f"{100 * end:.0f}" for end in (found.low, found.high) if end is not None]
        meaning = kind.of_queries if isinstance(shares, GivenQueries) else kind.meaning
        yield Share(kind, count, " to ".join(ends), meaning)


def describe_loss(shares: Shares, what: str, goal: str) -> str:
    """Return what is lost, and to what, in the order of the bar."""
    counts = dict(zip(KINDS, count_fates(shares), strict=True))
    found = counts.pop(KINDS[0])
    if found == 100:
        return f"100 of 100 {what} {goal}."
    lost = [(kind, count) for kind, count in counts.items() if count]
    parts = [f"{count} {'is' if count == 1 else 'are'} {kind.name}" for kind, count in lost]
    if len(lost) == 1:
        return f"{100 - found} of 100 {what} {parts[0].partition(' ')[2]}."
    return f"{100 - found} of 100 {what} do not {goal}: {join_names(parts)}."


def collect_answers(diagnosis: Diagnosis) -> tuple[Answer, ...]:
    """Return the chapter's answer for each model; the advice is that of the verdicts on search."""
    answers = []
    for place, (name, model) in enumerate(zip(model_names(diagnosis.models), diagnosis.models, strict=True)):
        advice = {one.subject: one.advice for one in reversed(diagnosis.verdicts) if one.model == model.name}
        if isinstance(model.account, str):
            searches = [Search(None, f"Not measured: {model.account}.", advice.get("search", ""))]
        else:
            loss = describe_loss(model.account, "sentences", "lead back to their text")
            searches = [Search(model.account, loss, advice.get("search", ""))]
        if model.queries is not None:
            loss = describe_loss(model.queries, "of your queries", "find a text that answers them first")
            searches.append(Search(model.queries, loss, advice.get("your queries", "")))
        answers.append(Answer(name, f"m{place}", model.account, model.queries, tuple(searches)))
    return tuple(answers)


def introduce(answers: Sequence[Answer]) -> str:
    """Return what is searched for in the texts."""
    sentences = any(not isinstance(answer.account, str) for answer in answers)
    queries = any(answer.queries is not None for answer in answers)
    searched = join_names([*["sentences of your texts"] * sentences, *["your own queries"] * queries])
    return f"{searched[:1].upper()}{searched[1:]} are searched for in the texts. Of 100, with 95 % intervals:"


def find_limit(diagnosis: Diagnosis) -> str:
    """Return the limit of the account that the verdict on search states."""
    limits = (one.limit for one in diagnosis.verdicts if one.subject == "search")
    measured = any(not isinstance(model.account, str) for model in diagnosis.models)
    return next(limits, "") if measured else ""


def build_tables(answers: Sequence[Answer], *, named: bool) -> Iterator[Table]:
    """Yield the tables of what was tried and of the parts, one for each model, and those of other figures.

    Those of the first model are open.
    """
    for build in (tried, parts):
        for place, answer in enumerate(answers):
            table = replace(build(answer), open=place == 0)
            yield replace(table, caption=f"{table.caption}: {answer.name}") if named else table
    yield beside(answers)
    yield given_queries(answers)


def tried(answer: Answer) -> Table:
    """Return the table of what was tried, with the changes of the account.

    The largest gain with the sentences left out comes first: only that form ranks settings as labelled queries do.
    """
    rows: list[tuple[str, ...]] = []
    if not isinstance(found := answer.account, str) and found.settings:
        rows.append(("the model, unchanged", _found(found), "", format_hundred(found.left_out), "", "1.0"))
        ranked = sorted(
            found.settings.items(), key=lambda item: (-item[1].change_left_out.value, -item[1].change.value)
        )
        for name, one in ranked:
            left_out = format_hundred(one.left_out), _judged(one.change_left_out)
            rows.append((name, _found(one), _judged(one.change), *left_out, f"{one.rows:.1f}"))
    return Table(
        key=f"tried-{answer.key}",
        caption="What was tried",
        head=("setting", "found", "change", "found, left out", "change, left out", "vectors per text"),
        rows=tuple(rows),
        stacked=True,
    )


def _judged(change: Estimate) -> str:
    """Return a change, and in words whether it is more than chance."""
    word = name_change(change, ("more", "fewer"))
    return f"{word}{': ' if word else ''}{format_change(change)}"


def _found(shares: Shares) -> str:
    """Return the number of sentences that are found, the same as in a bar, with its interval."""
    found = next(describe_shares(shares))
    return f"{found.count}{f' ({found.interval})' if found.interval else ''}"


def parts(answer: Answer) -> Table:
    """Return the table of the parts: by position, by length of text, read or unread."""
    found = () if isinstance(answer.account, str) else answer.account.parts
    rows, bars = [], []
    for part in found:
        name = "texts that are cut" if part.name == "cut" else _PARTS.get(part.by, "{}").format(part.name)
        counts = count_fates(part)
        rows.append((name, f"{part.sentences:,}", _found(part), *map(str, counts[1:])))
        bars.append(counts)
    return Table(
        key=f"parts-{answer.key}",
        caption="By position, by length of text, by reading",
        head=("of 100", "sentences", *(kind.name for kind in KINDS)),
        rows=tuple(rows),
        stacked=True,
        bars=tuple(bars),
    )


def beside(answers: Sequence[Answer]) -> Table:
    """Return the table of what stands beside the account, with a column for each model."""
    columns = []
    for answer in answers:
        if isinstance(found := answer.account, str):
            continue
        around = found.beside
        cells = {
            "sentences": f"{found.sentences:,}",
            "texts that are searched": f"{found.documents:,}",
            "found among the first ten, of 100": format_hundred(found.in_ten),
            "mean reciprocal rank": format_estimate(found.reciprocal_rank),
            "found where the sentence is left out of its text, of 100": format_hundred(found.left_out),
            "mean reciprocal rank, sentence left out": format_estimate(found.left_out_reciprocal_rank),
            "change of the score of other texts, per doubling of their length": format_estimate(around.slope),
            "tokens of a text, mean": format_number(around.tokens),
            "tokens of the ten nearest texts, mean": format_number(around.tokens_of_ten),
            "hubness: skew of how often a text is among the ten nearest of others": format_number(around.hubness),
            "texts that are never among them": format_share(around.never),
        }
        columns.append((answer.name, cells))
    return build_table("beside", "The same search in other figures", _ALONE, columns)


def given_queries(answers: Sequence[Answer]) -> Table:
    """Return the table of the user's own queries and the price of pooling, with a column for each model."""
    columns = []
    for answer in answers:
        if (found := answer.queries) is not None:
            cells = {
                "queries": f"{found.queries:,}",
                "texts that are searched": f"{found.texts:,}",
                "find a text that answers them among the first ten, of 100": format_hundred(found.in_ten),
                "nDCG@10": format_estimate(found.gain),
                "nDCG@10, the first twenty ranked anew by tokens": format_estimate(found.reranked),
                "price of pooling: the difference": format_estimate(found.price),
            }
            columns.append((answer.name, cells))
    return build_table("queries", "Your queries", "with 95 % intervals", columns, open=True)


def collect_examples(answers: Sequence[Answer], kind: Kind) -> list[tuple[str, tuple[Example, ...]]]:
    """Return the examples of a share by model."""
    found = []
    for answer in answers:
        if not isinstance(answer.account, str):
            some = tuple(one for one in answer.account.examples if one.fate == kind.field)
            found += [(answer.name, some)] if some else []
    return found


def describe_texts(answers: Sequence[Answer]) -> tuple[str, ...]:
    """Return how to read the tables, and notes on texts and sentences that no search can find, each once."""
    notes = [
        "Numbers are of 100 sentences, with 95 % intervals. “More” and “fewer” mark changes that are beyond chance, "
        "whichever of the settings one looks at. Left out: a sentence of each text is taken out of it before the "
        "search. This is closer to relevance, and ranks the settings."
    ]
    for answer in answers:
        if isinstance(found := answer.account, str):
            continue
        if found.few:
            split = ""
            if found.unsplit:
                long = "is long, but has" if found.unsplit == 1 else "are long, but have"
                split = f"; {found.unsplit:,} of them {long} no marks to split at"
            few = f"{pluralise(found.few, 'text')} {'has' if found.few == 1 else 'have'} too few sentences"
            notes.append(f"{few} and took no part in the search{split}.")
        if found.repeated:
            notes.append(
                f"{percent(found.repeated)} of the sentences stand word by word in another text too, so a search "
                "cannot tell these texts apart."
            )
    if any(answer.queries for answer in answers):
        notes.append(f"for your queries, {'; '.join(f'“{kind.name}”: {kind.of_queries}' for kind in KINDS)}.")
    for answer in answers:
        for part in answer.queries.excluded if answer.queries else ():
            notes.append(f"queries excluded: {part.in_words()}.")
    return tuple(dict.fromkeys(note[0].upper() + note[1:] for note in notes))
