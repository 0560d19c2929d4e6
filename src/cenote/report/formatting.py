"""Numbers, texts and names as a report shows them: digits that matter, and texts escaped for where they stand."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any

from cenote.records import Estimate, Spread
from cenote.wording import score_estimate

# Shown where there is no value.
MISSING = "–"
# HTML allows no control characters, and half a surrogate pair cannot be written as UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# Code in a sentence, after escaping.
_CODE = re.compile("`([^`]+)`")
_ESCAPED_CODE = re.compile(r"\\`([\w ./='-]+)\\`")
# Characters with a meaning in Markdown, in a table's cell or on GitHub.
_MARKDOWN = re.compile(r"([\\`*_\[\]|~#$])")


def replace_unprintable(text: str) -> str:
    """Replace the characters that no page can hold."""
    return _UNPRINTABLE.sub("\ufffd", text)


def escape_html(text: str) -> str:
    r"""Escape a text for HTML, between tags and in quoted attributes.

    >>> escape_html('<b> & "c"')
    '&lt;b&gt; &amp; &quot;c&quot;'
    """
    return html.escape(replace_unprintable(text))


def script_json(data: Any) -> str:
    r"""Return data as JSON for a script element: nothing in it can end the element or start a comment.

    >>> script_json("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def html_prose(text: str) -> str:
    """Escape a sentence for HTML, with commands in code elements.

    >>> html_prose("Use `a < b`.")
    'Use <code>a &lt; b</code>.'
    """
    return _CODE.sub(r"<code>\1</code>", escape_html(text))


def escape_markdown(text: str) -> str:
    r"""Escape a text for one line of Markdown or a cell of a table.

    >>> escape_markdown("a|b *c*")
    'a\\|b \\*c\\*'
    """
    return _MARKDOWN.sub(r"\\\1", html.escape(" ".join(replace_unprintable(text).split()), quote=False))


def markdown_prose(text: str) -> str:
    r"""Escape a sentence for Markdown, with commands as code.

    >>> markdown_prose("Use `a -b` or `<b>`.")
    'Use `a -b` or \\`&lt;b&gt;\\`.'
    """
    return _ESCAPED_CODE.sub(r"`\1`", escape_markdown(text))


def format_number(value: float | None) -> str:
    """Format a number with three digits, or all of them before the point; below 1 with three decimals if they suffice.

    >>> format_number(0.12345), format_number(-2.5), format_number(1234567.0), format_number(0.00042), format_number(0)
    ('0.123', '−2.50', '1,234,567', '0.00042', '0')
    """
    if not value:
        return MISSING if value is None else "0"
    size = abs(value)
    digits = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    text = f"{size:.3g}" if size < 1e-2 else f"{size:,.{digits}f}"
    return f"−{text}" if value < 0 else text


def format_share(value: float) -> str:
    """Format a share of 1 as a percentage; only 0 and 1 themselves become 0 % and 100 %.

    >>> format_share(0.137), format_share(0), format_share(1), format_share(1e-9), format_share(1 - 1e-9)
    ('13.7 %', '0 %', '100 %', '< 0.1 %', '> 99.9 %')
    """
    if value in (0, 1):
        return f"{value:.0%}".replace("%", " %")
    if value < 1e-3:
        return "< 0.1 %"
    return "> 99.9 %" if value > 0.999 else f"{100 * value:.1f} %"


def format_spread(spread: Spread | None) -> str:
    """Format the mean, and the range from the 10 % to the 90 % quantile.

    >>> format_spread(Spread(3, 0.5, 0.25, 0.5, 0.75)), format_spread(None)
    ('0.500 (0.250 to 0.750)', '–')
    """
    if spread is None:
        return MISSING
    return f"{format_number(spread.mean)} ({format_number(spread.low)} to {format_number(spread.high)})"


def format_estimate(estimate: Estimate | None) -> str:
    """Format an estimate, with its interval if it has one.

    >>> format_estimate(Estimate(-0.5, -0.6, -0.4)), format_estimate(Estimate(0.5, None, None)), format_estimate(None)
    ('−0.500 [−0.600, −0.400]', '0.500', '–')
    """
    if estimate is None:
        return MISSING
    value, low, high = (format_number(one) for one in (estimate.value, estimate.low, estimate.high))
    return value if estimate.low is None or estimate.high is None else f"{value} [{low}, {high}]"


def format_hundred(share: Estimate) -> str:
    """Format a share as a number of 100, with its interval.

    >>> format_hundred(Estimate(0.847, 0.812, 0.88)), format_hundred(Estimate(0.5, None, None))
    ('85 (81 to 88)', '50')
    """
    ends = "" if share.low is None or share.high is None else f" ({100 * share.low:.0f} to {100 * share.high:.0f})"
    return f"{100 * share.value:.0f}{ends}"


def format_change(change: Estimate) -> str:
    """Format the change of a share as a number of 100, with signs.

    >>> format_change(Estimate(0.0182, 0.0026, 0.038)), format_change(Estimate(-0.1, None, None))
    ('+1.8 (+0.3 to +3.8)', '−10.0')
    """
    value, *ends = (
        f"{0.0 if abs(100 * one) < 0.05 else 100 * one:+.1f}".replace("-", "−")
        for one in (change.value, change.low, change.high)
        if one is not None
    )
    return f"{value} ({' to '.join(ends)})" if ends else value


def format_score(score: Estimate | None, *, sign: str = "") -> str:
    """Format a score with the four digits of MTEB, and its interval; `sign` of `+` shows the sign of a change.

    >>> format_score(Estimate(0.6451, 0.6, 0.69)), format_score(Estimate(-0.01, None, None), sign="+")
    ('0.6451 (0.6000 to 0.6900)', '−0.0100')
    """
    return MISSING if score is None else score_estimate(score.value, score.low, score.high, sign=sign).replace("-", "−")


def name_change(change: Estimate, words: tuple[str, str] = ("higher", "lower")) -> str:
    """Name a change whose interval excludes 0.

    >>> [name_change(Estimate(*change)) for change in ((2, 1, 3), (-2, -3, -1), (1, -1, 3), (1, None, None))]
    ['higher', 'lower', '', '']
    """
    if change.low is not None and change.low > 0:
        return words[0]
    return words[1] if change.high is not None and change.high < 0 else ""


def clip_text(text: str, room: int) -> str:
    """Return a text on one line, cut at so many characters.

    >>> clip_text("one  two", 20), clip_text("one two", 5)
    ('one two', 'one …')
    """
    line = " ".join(text.split())
    return line if len(line) <= room else f"{line[: room - 1]}…"


def join_names(items: Iterable[str]) -> str:
    """Join names for a sentence.

    >>> join_names(["a", "b", "c"]), join_names(["a", "b"]), join_names(["a"]), join_names([])
    ('a, b and c', 'a and b', 'a', '')
    """
    names = list(items)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def format_bin(low: int, high: int | None) -> str:
    """Format the range of tokens of a bin.

    >>> format_bin(50, 70), format_bin(1000, 2000), format_bin(150, None), format_bin(3, 4)
    ('50–69', '1,000–1,999', '150 or more', '3')
    """
    if high is None:
        return f"{low:,} or more"
    return f"{low:,}" if high == low + 1 else f"{low:,}–{high - 1:,}"
