"""Take the pictures of the documentation from pages that Cenote wrote.

It needs chromium, and these pages beside README.md:

    make demo                                                       # report.html
    cenote diagnose minilm --temperatures 0.8 -o tempered.html
    cenote compare minilm --unlabelled docstrings.jsonl ...         # poolings.html: docs/howto/choose-a-pooling.md

Then `.venv/bin/python docs/picture.py`; names of pages after it take the pictures of these pages alone.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1100, 1150  # of one view, in CSS pixels
TOP = 815  # the height of the first part of a page, up to its first table
# For each page: the pictures that are taken from it, by the id of the figure; the top of the page has no id.
PICTURES = {
    "report.html": {"diagnosis.png": None, "pairs.png": "socm"},
    "tempered.html": {
        "concepts/cut-lengths.png": "cut-lengths",
        "concepts/sigma-a.png": "passed",
        "concepts/concentration.png": "layer-concentration",
    },
    "poolings.html": {"concepts/poolings.png": "forest-t0"},
}


def take(page: Page, path: Path, figure: str | None) -> None:
    """Write the picture of a figure of the page, or of its top."""
    if figure is None:
        page.screenshot(path=path, clip={"x": 0, "y": 0, "width": WIDTH, "height": TOP})
        return
    place = page.locator(f"#{figure}")
    place.evaluate("(one) => { for (let at = one; at; at = at.parentElement) if (at.open === false) at.open = true; }")
    place.evaluate("(one) => one.querySelectorAll('.readout').forEach((box) => box.remove())")  # it answers a pointer
    place.scroll_into_view_if_needed()
    place.screenshot(path=path)


def main(names: list[str]) -> None:
    """Write the pictures of the named pages, or of all."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for name in names or PICTURES:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=0.8)
            page.goto((HERE.parent / name).resolve().as_uri())
            for picture, figure in PICTURES[name].items():
                take(page, HERE / picture, figure)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
