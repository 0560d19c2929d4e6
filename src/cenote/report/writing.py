"""How a report writes: numbers with as many digits as mean something, and a user's text so that it stays text."""

from __future__ import annotations

import html
import json
import re
import textwrap
from collections.abc import Iterable
from typing import Any

from cenote.results import Estimate, Spread

# What stands where there is no figure.
NOTHING = "–"
# A label beside a point: as wide as a phone has room for, and three lines that say which text it is.
_LABEL_WIDTH, _LABEL_LINES = 38, 3
# HTML knows none of these, and a page that holds half a surrogate pair cannot be written as UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# Each of them starts something in Markdown, in a table's cell or on GitHub.
_MARKDOWN = re.compile(r"([\\`*_\[\]|~#$])")


def clean(text: str) -> str:
    """`text` with a replacement character for what no page can hold."""
    return _UNPRINTABLE.sub("\ufffd", text)


def escaped(text: str) -> str:
    r"""`text` for HTML, between tags and in quoted attributes.

    >>> escaped('<b> & "c"')
    '&lt;b&gt; &amp; &quot;c&quot;'
    """
    return html.escape(clean(text))


def in_script(data: Any) -> str:
    r"""`data` as JSON that can stand in a script element: nothing in it can end the element or start a comment.

    >>> in_script("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def in_label(text: str, width: int = _LABEL_WIDTH, lines: int = _LABEL_LINES) -> str:
    """`text` for a label that plotly draws, which reads a part of HTML: escaped, wrapped, and cut after some lines.

    >>> in_label("deep <b>water</b>", width=12)
    'deep<br>&lt;b&gt;water&lt;/b&gt;'
    """
    wrapped = textwrap.wrap(" ".join(clean(text).split()), width, max_lines=lines, placeholder=" …")
    return "<br>".join(html.escape(line, quote=False) for line in wrapped)


def in_markdown(text: str) -> str:
    r"""`text` for one line of Markdown, in a table's cell too.

    >>> in_markdown("a|b *c*")
    'a\\|b \\*c\\*'
    """
    return _MARKDOWN.sub(r"\\\1", html.escape(" ".join(clean(text).split()), quote=False))


def number(value: float | None) -> str:
    """Three digits, or as many as stand before the point; more where the first three are zeros.

    >>> number(0.12345), number(-2.5), number(1234567.0), number(0.00042), number(0)
    ('0.123', '−2.50', '1,234,567', '0.00042', '0')
    """
    if value is None:
        return NOTHING
    size = abs(value)
    if size == 0:
        return "0"
    digits = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    text = f"{size:.3g}" if size < 1e-2 else f"{size:,.{digits}f}"
    return f"−{text}" if value < 0 else text


def whole(value: int | None) -> str:
    """A count, in groups of three digits.

    >>> whole(12345), whole(None)
    ('12,345', '–')
    """
    return NOTHING if value is None else f"{value:,}"


def share(value: float) -> str:
    """A part of all, in percent; never 0 where there is some, nor 100 where some is missing.

    >>> share(0.5), share(0), share(0.0002), share(0.9999)
    ('50.0 %', '0 %', '< 0.1 %', '> 99.9 %')
    """
    if value in (0, 1):
        return f"{value:.0%}".replace("%", " %")
    if value < 1e-3:
        return "< 0.1 %"
    return "> 99.9 %" if value > 0.999 else f"{100 * value:.1f} %"


def spread(found: Spread | None) -> str:
    """The mean, and what lies between the lowest and the highest tenth.

    >>> spread(Spread(3, 0.5, 0.25, 0.5, 0.75))
    '0.500 (0.250 to 0.750)'
    """
    return NOTHING if found is None else f"{number(found.mean)} ({number(found.low)} to {number(found.high)})"


def estimate(found: Estimate | None) -> str:
    """A figure, with its interval if it has one.

    >>> estimate(Estimate(0.5, 0.4, 0.6)), estimate(Estimate(0.5, None, None))
    ('0.500 [0.400, 0.600]', '0.500')
    """
    if found is None:
        return NOTHING
    interval = "" if found.low is None or found.high is None else f" [{number(found.low)}, {number(found.high)}]"
    return number(found.value) + interval


def listed(items: Iterable[str]) -> str:
    """Some names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    names = list(items)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def bin_label(low: int, high: int | None) -> str:
    """The tokens of a bin; the last is open above.

    >>> bin_label(50, 70), bin_label(150, None), bin_label(3, 4)
    ('50–69', '150 or more', '3')
    """
    if high is None:
        return f"{low:,} or more"
    return f"{low:,}" if high == low + 1 else f"{low:,}–{high - 1:,}"
