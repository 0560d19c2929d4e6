"""Hooks of the site: the README is its first page, formulas become pictures, and anchors are GitHub's."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File
from ziamath import Latex

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

README = Path(__file__).parent.parent / "README.md"
# Links to files beside the README, which the site does not have.
BESIDE = re.compile(r"\[([^\]]+)\]\([A-Z]+\.(?:md|cff)\)")
OPTION = re.compile(r"<code>(-[^<\s]{1,30})</code>")
FORMULA = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def anchor(heading: str, separator: str = "-") -> str:
    """Return the anchor that GitHub gives to a heading, so that a link works there and on the site."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", separator)


def on_config(config: MkDocsConfig) -> None:
    """Give headings the anchors of GitHub."""
    config.mdx_configs["toc"]["slugify"] = anchor


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the README as the first page. Its links start at the root of the repository."""
    text = re.sub(r"\]\(docs/", "](", README.read_text("utf-8"))
    files.append(File.generated(config, "index.md", content=BESIDE.sub(r"\1", text)))


def draw(formula: str) -> str:
    """Return a formula as SVG, which needs no library and no font in the browser. Its text is the TeX."""
    picture = Latex(formula, size=18, color="currentColor").svg()
    return f'<div class="formula" role="img" aria-label="{escape(formula)}">{picture}</div>'


def on_page_markdown(markdown: str, **_: object) -> str:
    """Draw each fence of `math`; GitHub draws these by itself."""
    return FORMULA.sub(lambda found: draw(" ".join(found[1].split())), markdown)


def on_page_content(html: str, **_: object) -> str:
    """Mark the names of options, so that the style sheet keeps a browser from breaking them at a hyphen."""
    return OPTION.sub(r'<code class="option">\1</code>', html)
