"""The documentation site: built strictly, complete, and without anything that is loaded from elsewhere."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cenote

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site as `make docs` builds it. A link or an anchor that leads nowhere fails the build."""
    for package in ("mkdocs", "material", "mkdocstrings", "ziamath"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'cenote[docs]'")
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


def test_the_site_is_built_strictly(site):
    pages = {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")}
    assert {"index.html", "concepts/account.html", "howto/index.html", "reference/api.html", "cli.html"} <= pages.keys()
    for page, text in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?(https?:[^\"\s>]+)", text)
        loaded += re.findall(r"<link[^>]*rel=\"?(?:stylesheet|preconnect|icon)\"?[^>]*href=\"?(https?:[^\"\s>]+)", text)
        assert not loaded, (page, loaded)
        assert "```math" not in text, page
    heights = re.findall(r'class="formula".*?<svg [^>]*height="([\d.]+)"', "".join(pages.values()))
    assert heights
    assert max(map(float, heights)) < 80, "a formula is drawn with parts of another size"
    assert "cenote.embed" in pages["reference/api.html"]


def test_the_api_page_names_every_public_name():
    page = (ROOT / "docs" / "reference" / "api.md").read_text("utf-8")
    shown = set(re.findall(r"^::: cenote\.(\w+)$", page, re.MULTILINE))
    assert shown == set(cenote.__all__) - {"__version__"}


def test_the_records_page_names_every_module_of_records():
    page = (ROOT / "docs" / "reference" / "records.md").read_text("utf-8")
    modules = {path.stem for path in (ROOT / "src" / "cenote").glob("*records.py")} - {"json_records"}
    assert set(re.findall(r"^::: cenote\.(\w+)$", page, re.MULTILINE)) == modules


def test_examples_of_docstrings_become_code():
    pytest.importorskip("griffe", reason="griffe is not installed: pip install 'cenote[docs]'")
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs" / "docstrings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    fenced = module.fence("Add.\n\n>>> 1 + 1\n2\n\nDone.")
    assert fenced == "Add.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nDone."
