"""Changes that other settings would make, in words: the advice of the verdicts on search."""

from __future__ import annotations

from collections.abc import Iterable

from cenote.diagnosis.verdicts.thresholds import CUTOFFS, THRESHOLDS
from cenote.records import Account, Estimate, ModelDiagnosis, Setting, Shares
from cenote.wording import percent, round_to_hundred, share_interval

# Settings that read the end of a text, by the first words of their names.
READ_THE_END = ("windows", "reading")
_ALL = ("",)
# Parts of fewer sentences are not listed: the standard error of a share of 30 is up to 0.09.
FEWEST_SENTENCES = 30
# Settings that are named where none helps.
_NAMED = 3


def advise(account: Account, kinds: tuple[str, ...] = _ALL) -> str:
    """Return which setting of these kinds helps, by how much, and how to get it.

    Settings are ranked with each sentence left out of its text: only that form ranks them as labelled queries do.
    """
    tried = {name: one for name, one in account.settings.items() if name.startswith(kinds)}
    if not tried:
        return ""
    left_out = {name: one for name, one in tried.items() if rises(one.change_left_out)}
    # What the end of a text says is coverage; of poolings and temperatures, coverage alone is known to mislead.
    kept = {name: one for name, one in tried.items() if name.startswith(READ_THE_END) and rises(one.change)}
    if left_out:
        name, best = max(left_out.items(), key=lambda item: item[1].change_left_out.value)
        return (
            f"Best of {len(tried)} settings that were tried: {describe_setting(name)}. {describe_change(best)} "
            f"{_how_to(name)}"
        )
    if kept:
        name, best = max(kept.items(), key=lambda item: item[1].change.value)
        return (
            f"If your users look for passages: {describe_setting(name)}. {describe_change(best)} So texts are found "
            f"better by what they say, but not by what they are about. {_how_to(name)}"
        )
    judged = "With the sentence left out of its text, none of"
    if len(tried) > _NAMED:
        which = "that read the end of a text" if kinds == READ_THE_END else "that were tried"
        return f"{judged} the {len(tried)} settings {which} helps beyond chance."
    return f"{judged} these helps beyond chance: {', '.join(tried)}."


def kinds_ranked(model: ModelDiagnosis) -> tuple[str, ...]:
    """Return the kinds of settings that the account can rank: where most of the texts is never read, what reads on."""
    return READ_THE_END if model.lengths.unseen >= CUTOFFS["nearly all"].value else _ALL


def describe_change(setting: Setting) -> str:
    """Return the changes of a setting, and what it costs."""
    rows = "" if setting.rows == 1 else f", for {setting.rows:.1f} times the vectors"
    left_out = setting.change_left_out
    chance = "" if rises(left_out) or falls(left_out) else ", which may be chance"
    return (
        f"Of 100 sentences {per_hundred(setting.change)} find their text{rows}; with the sentence left out of its "
        f"text, {per_hundred(left_out)}{chance}."
    )


def describe_setting(name: str) -> str:
    """Return the name of a setting, with what `best` and `mean` mean.

    >>> describe_setting("windows of 128 tokens, best"), describe_setting("pooling cls")
    ('windows of 128 tokens, of which the best counts for a text', 'pooling cls')
    """
    if name.startswith("windows"):
        size, _, kind = name.partition(", ")
        return f"{size}, {'of which the best counts for a text' if kind == 'best' else 'averaged to one vector a text'}"
    return name


def rises(change: Estimate) -> bool:
    """Return whether a change is a gain beyond chance."""
    return change.low is not None and change.low > 0


def falls(change: Estimate) -> bool:
    """Return whether a change is a loss beyond chance."""
    return change.high is not None and change.high < 0


def per_hundred(change: Estimate) -> str:
    """Return a change of a share in sentences of 100.

    >>> per_hundred(Estimate(0.0312, 0.004, 0.06)), per_hundred(Estimate(-0.05, None, None))
    ('3.1 more (0.4 to 6.0)', '5.0 fewer')
    >>> per_hundred(Estimate(-0.02, -0.05, 0.01))
    '2.0 fewer (5.0 fewer to 1.0 more)'
    """
    words = _more_or_fewer(change.value)
    if change.low is None or change.high is None:
        return words
    low, high = sorted((change.low, change.high), key=abs)
    if low * high >= 0:  # both ends lie on one side of 0
        return f"{words} ({abs(100 * low):.1f} to {abs(100 * high):.1f})"
    return f"{words} ({_more_or_fewer(change.low)} to {_more_or_fewer(change.high)})"


def _more_or_fewer(change: float) -> str:
    return f"{abs(100 * change):.1f} {'more' if change >= 0 else 'fewer'}"


def name_threshold(subject: str, lost: Estimate) -> str:
    """Say so where an interval holds a threshold: another sample may have another grade."""
    if lost.low is None or lost.high is None:
        return ""
    inside = [percent(step) for step in THRESHOLDS[subject].steps if lost.low <= step <= lost.high]
    if not inside:
        return ""
    return (
        f" Lost are {share_interval(lost.low, lost.high)}, and the threshold of {' and of '.join(inside)} lies "
        "between: another sample may have another grade."
    )


def list_parts(account: Account, by: str, phrase: str, fate: str = "found") -> str:
    """Return the share of a fate in each part, as in `Found: first sentences 92 %, last sentences 79 %.`.

    Left out are parts of few sentences, and all of it where no other is there.
    """
    cells: Iterable[str] = (
        f"{phrase.format(part.name) if part.name != 'cut' else 'cut texts'} {percent(getattr(part, fate).value)}"
        for part in account.parts
        if part.by == by and part.sentences >= FEWEST_SENTENCES
    )
    listed = ", ".join(cells)
    return f" {fate.replace('_', ' ').capitalize()}: {listed}." if listed else ""


def _how_to(name: str) -> str:
    words = name.split()
    if name.startswith("windows"):
        kind = "windows" if name.endswith("best") else "window-mean"
        return f"Embed so: `cenote embed MODEL TEXTS --long {kind} --max-seq-length {words[2]} -o FOLDER`."
    if name.startswith("reading"):
        return f"Load the model with `--max-seq-length {words[1]}`."
    if name.startswith("temperature"):
        return f"Temper the model: `cenote temper MODEL --temperature {words[1]} -o FOLDER`."
    return f"Load the model with `pooling={words[1]!r}`."


def count_fates(shares: Shares) -> tuple[int, int, int, int]:
    """Return how many of 100 are found, lost to the cut, lost to pooling, and not found."""
    fates = (shares.found, shares.lost_to_cut, shares.lost_to_pooling, shares.not_found)
    found, cut, pooled, none = round_to_hundred([share.value for share in fates])
    return found, cut, pooled, none


def as_counted(share: Estimate, count: int) -> Estimate:
    """Return a share with the value that `count_fates` gave it, so that a verdict has one figure for it.

    >>> as_counted(Estimate(0.175, 0.15, 0.2), 17)
    Estimate(value=0.17, low=0.15, high=0.2)

    None and all are said of shares that are exactly 0 and 1, and no figure is said beside an interval without it.

    >>> as_counted(Estimate(0.9967, 0.994, 0.998), 100), as_counted(Estimate(0.0049, 0.0025, 0.0074), 1)
    (Estimate(value=0.9967, low=0.994, high=0.998), Estimate(value=0.0049, low=0.0025, high=0.0074))
    """
    low, high = share.low, share.high
    outside = low is not None and high is not None and not low <= count / 100 <= high
    return share if count in (0, 100) or outside else Estimate(count / 100, low, high)


def complement(share: Estimate) -> Estimate:
    """Return the estimate of 1 minus a share."""
    if share.low is None or share.high is None:
        return Estimate(round(1 - share.value, 9), None, None)
    return Estimate(round(1 - share.value, 9), round(1 - share.high, 9), round(1 - share.low, 9))
