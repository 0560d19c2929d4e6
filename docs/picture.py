"""Take the pictures of a report: `make demo && .venv/bin/python docs/picture.py`. Needs chromium."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1100, 1150  # of one view, in CSS pixels


def main() -> None:
    """Write docs/diagnosis.png, the top of the page, and docs/pairs.png, the figure of second-order collapse."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=0.8)
        page.goto((HERE.parent / "report.html").resolve().as_uri())
        page.screenshot(path=HERE / "diagnosis.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT})
        figure = page.locator("#socm")
        figure.evaluate("(one) => { one.closest('details').open = true; }")
        figure.scroll_into_view_if_needed()
        figure.screenshot(path=HERE / "pairs.png")
        browser.close()


if __name__ == "__main__":
    main()
