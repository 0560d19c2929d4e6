"""The page in Chromium: on a wide screen, on a phone, in light and dark, by keyboard, in print."""

import re
import shutil
import time
import zlib
from contextlib import contextmanager

import pytest

from cenote.report.page import to_html

from .diagnoses import MARKUP

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FIGURES = 16
# Contrast that WCAG 2 (AA) requires of text and of graphics.
READABLE, VISIBLE = 4.5, 3


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'cenote[dev]'")
    if CHROMIUM is None:
        pytest.skip("no chromium on the path: apt-get install chromium")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(rich, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(to_html(rich, command="cenote diagnose <b>"), encoding="utf-8")
    return path.as_uri()


def until(page, expression, patience=5.0):
    """Wait until an expression is true. playwright's own wait evaluates text in the page, which its policy forbids."""
    end = time.monotonic() + patience
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not true in time: {expression}"
        page.wait_for_timeout(50)


@contextmanager
def opened(browser, address, **how):
    """Open the page and wait for its script. Console messages, requests and dialogs fail the test."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(f"dialog {dialog.message}"), dialog.dismiss()))
    context.route("**/*", lambda route: (asked.append(route.request.url), route.continue_()))
    page.goto(address)
    until(page, f"document.querySelectorAll('.plot .tip').length === {FIGURES}")
    yield page
    assert said == []
    assert asked == [address]
    context.close()


UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"


@pytest.fixture(scope="module")
def wide(browser, address):
    with opened(browser, address) as page:
        page.evaluate(UNFOLD)
        yield page


def luminance(colour):
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


# The colour of an element and of its background.
_COLOURS = """([selector, property]) => {
  const element = document.querySelector(selector);
  let ground = element;
  while (ground && /, 0\\)$|transparent/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
  return [getComputedStyle(element)[property], getComputedStyle(ground || document.body).backgroundColor];
}"""


def bottom(page, selector):
    box = page.locator(selector).first.bounding_box()
    return box["y"] + box["height"]


def test_what_is_lost_and_what_to_do_are_visible_without_scrolling(browser, address):
    with opened(browser, address, viewport={"width": 1200, "height": 800}) as page:
        for selector in (".answer .loss", ".answer .bar", ".answer .shares", ".answer .advice"):
            assert bottom(page, selector) < 600, selector
    with opened(browser, address, viewport={"width": 390, "height": 844}) as page:
        for selector in (".answer .loss", ".answer .bar", ".answer .shares"):
            assert bottom(page, selector) < 844, selector


def test_the_shares_of_a_bar_differ_in_more_than_colour(wide):
    fills = wide.evaluate(
        """[...document.querySelector('.bar').querySelectorAll('rect')].map((one) => getComputedStyle(one).fill)"""
    )
    assert [fill.split("(")[0] for fill in fills] == ["rgb", "url", "url", "rgb"]
    assert fills[1] != fills[2]
    assert wide.evaluate("getComputedStyle(document.querySelector('.bar .missed rect')).strokeDasharray") != "none"


def test_every_figure_is_drawn(wide):
    drawn = wide.evaluate(
        """[...document.querySelectorAll('.plot')].map((plot) => {
             const area = plot.querySelector('.area').getBoundingClientRect();
             const inside = (box) => box.right > area.left - 8 && box.left < area.right + 8
               && box.bottom > area.top - 8 && box.top < area.bottom + 8;
             const marks = [...plot.querySelectorAll('[data-group]:not(.off) use, [data-group]:not(.off) path')]
               .map((one) => one.getBoundingClientRect()).filter((box) => box.width + box.height > 4);
             return [area.width, area.height, marks.length, marks.every(inside)];
           })"""
    )
    assert len(drawn) == FIGURES
    for width, height, marks, inside in drawn:
        assert width > 200
        assert height > 100
        assert marks > 1
        assert inside


def test_labels_of_ticks_do_not_overlap(browser, address):
    overlaps = """[...document.querySelectorAll('.plot')].flatMap((plot) => {
        const boxes = [...plot.querySelectorAll('.tick.across')].map((one) => one.getBoundingClientRect())
          .filter((box) => box.width > 0).sort((one, other) => one.left - other.left);
        return boxes.slice(1).filter((box, place) => box.left < boxes[place].right)
          .map(() => plot.closest('figure').id);
      })"""
    for width in (1200, 390, 320):
        with opened(browser, address, viewport={"width": width, "height": 800}) as page:
            page.evaluate(UNFOLD)
            assert page.evaluate(overlaps) == []


def pair_place(page, selector):
    """Return where a point of a pair with the first text lies, and the texts of the pair."""
    return page.evaluate(
        """(selector) => {
             document.querySelector(selector).scrollIntoView({ block: 'center', behavior: 'instant' });
             const marks = [...document.querySelectorAll(`${selector} [data-group]:not(.off) [data-pair]`)];
             const mark = marks.find((one) => one.dataset.pair.split(' ').slice(0, 2).includes('0'));
             const box = mark.getBoundingClientRect();
             return { pair: mark.dataset.pair.split(' ').slice(0, 2).map(Number),
                      x: box.left + box.width / 2, y: box.top + box.height / 2 };
           }""",
        selector,
    )


def test_pointing_at_a_pair_shows_both_texts_as_text(wide, rich):
    place = pair_place(wide, "#socm")
    first, second = (rich.excerpts[index] for index in place["pair"])
    assert MARKUP in (first.text, second.text)
    wide.mouse.move(place["x"], place["y"])
    label = wide.text_content("#socm .tip")
    assert "<b>bold</b> <script>alert(1)" in label
    assert first.id in label
    assert second.id in label
    assert "SOCM" in label
    readout = wide.inner_text("#socm .readout")
    for one in (first, second):
        assert one.id in readout
        assert " ".join(one.text.split()) in " ".join(readout.split())
    assert wide.query_selector_all("#socm .readout script, #socm .readout img, #socm .tip img") == []


def test_a_touch_shows_the_texts_of_a_pair(browser, address, rich):
    with opened(browser, address, viewport={"width": 390, "height": 844}, has_touch=True) as page:
        page.evaluate(UNFOLD)
        place = pair_place(page, "#socm")
        page.touchscreen.tap(place["x"], place["y"])
        readout = page.inner_text("#socm .readout")
        assert all(rich.excerpts[index].id in readout for index in place["pair"])


def test_pointing_at_a_point_shows_its_title_once(wide):
    wide.locator("#cut-lengths").scroll_into_view_if_needed()
    box = wide.locator("#cut-lengths .area use.point").first.bounding_box()
    wide.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "90 texts cut at 32 tokens" in wide.inner_text("#cut-lengths .tip")
    assert wide.locator("#cut-lengths .area title").count() == 0  # browsers would show it too
    wide.mouse.move(0, 0)
    assert not wide.locator("#cut-lengths .tip").is_visible()


def test_the_legend_switches_series(wide):
    button = wide.locator("#layer-concentration .legend button").first
    count = "document.querySelectorAll('#layer-concentration .area g[data-group]:not(.off)').length"
    before = wide.evaluate(count)
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert wide.evaluate(count) == before - 2  # the line and its band
    button.press("Enter")
    assert wide.evaluate(count) == before


def test_every_model_of_a_table_is_on_the_screen_of_a_phone(browser, address):
    with opened(browser, address, viewport={"width": 390, "height": 844}) as page:
        page.evaluate(UNFOLD)
        cells = page.evaluate(
            """[...document.querySelectorAll('table.stacked td')].map((one) => one.getBoundingClientRect())
                 .filter((box) => box.width > 0).map((box) => [box.left, box.right])"""
        )
        assert len(cells) > 100
        assert all(0 <= left < right <= 390 for left, right in cells)
        label = page.evaluate(
            """getComputedStyle(document.querySelector('#lengths-table tbody td:last-child'), '::before').content"""
        )
        assert label == '"<i>model & \\"e5\\""'


def test_the_page_does_not_scroll_sideways(browser, address):
    with opened(browser, address, viewport={"width": 375, "height": 800}, has_touch=True) as page:
        page.evaluate(UNFOLD)
        for width in (375, 320, 700):
            page.set_viewport_size({"width": width, "height": 800})
            until(page, f"document.documentElement.scrollWidth === {width}")
            page.evaluate("window.scrollTo({ left: 500, behavior: 'instant' })")
            assert page.evaluate("window.scrollX") == 0
        # Wide tables scroll in their own box.
        widest = "Math.max(...[...document.querySelectorAll('.scroll')].map((one) => one.scrollWidth))"
        assert page.evaluate(widest) > 700


def edges(page, selector):
    """Return how much darker the left and right edges of a box are than its middle, in parts of white."""
    box = page.locator(selector)
    box.scroll_into_view_if_needed()
    lit = []
    whole = box.bounding_box()
    for at in (4, whole["width"] // 2, whole["width"] - 5):  # within the border, beside the letters
        strip = {"x": whole["x"] + at, "y": whole["y"] + 6, "width": 1, "height": 1}
        lit.append(brightness(page.screenshot(clip=strip)))
    left, middle, right = lit
    return middle - left, middle - right


def brightness(png):
    """Return the brightness of an image of one pixel, from 0 to 1."""
    rows = b"".join(
        png[start + 4 : start + 4 + int.from_bytes(png[start - 4 : start], "big")]
        for start in (found.start() for found in re.finditer(b"IDAT", png))
    )
    return sum(zlib.decompress(rows)[1:4]) / (3 * 255)


def test_an_edge_with_hidden_content_is_shaded(browser, address):
    how = {"viewport": {"width": 375, "height": 800}, "color_scheme": "light", "reduced_motion": "reduce"}
    with opened(browser, address, **how) as page:
        page.evaluate(UNFOLD)
        selector = "#layers-table-m0r0 .scroll"
        box = page.locator(selector)
        assert box.get_attribute("aria-label").startswith("By layer: all-MiniLM-L6-v2")
        left, right = edges(page, selector)
        assert abs(left) < 0.02
        assert right > 0.1
        box.focus()
        page.keyboard.press("ArrowRight")
        until(page, f"document.querySelector('{selector}').scrollLeft > 0")
        page.evaluate(f"document.querySelector('{selector}').scrollTo({{ left: 1e4, behavior: 'instant' }})")
        page.evaluate("document.activeElement.blur()")
        left, right = edges(page, selector)
        assert left > 0.1
        assert abs(right) < 0.02
        page.set_viewport_size({"width": 1600, "height": 800})
        assert max(map(abs, edges(page, "#lengths-table .scroll"))) < 0.02  # nothing is hidden


def test_every_section_links_to_the_contents_except_in_print(browser, address):
    with opened(browser, address, viewport={"width": 375, "height": 800}, reduced_motion="reduce") as page:
        links = page.evaluate("[...document.querySelectorAll('#contents a')].map((one) => one.getAttribute('href'))")
        chapters = page.evaluate("[...document.querySelectorAll('section')].map((one) => `#${one.id}`)")
        assert links == chapters
        page.locator("#contents a").last.press("Enter")
        assert abs(page.evaluate("document.querySelector('#chapter-methods').getBoundingClientRect().top")) < 800
        ups = page.locator("section > .up a")
        assert ups.count() == len(chapters)
        ups.last.press("Enter")
        assert page.evaluate("document.activeElement.id") == "contents"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('href')") == "#chapter-search"
        page.emulate_media(media="print")
        hidden = "getComputedStyle(document.querySelector(one)).display === 'none'"
        assert page.evaluate(f"['.head nav', '.up', '.skip'].every((one) => {hidden})")
        assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).backgroundImage") == "none"


def assert_readable(page, *, light):
    ground = page.evaluate(_COLOURS, ["body", "color"])[1]
    assert (luminance(ground) > 0.5) is light
    account = (".loss", ".shares small", ".answer .advice", ".answer .advice > b", ".example .count", ".example dt")
    running = ("body", ".lead", ".intro", ".reading", ".finding", ".model", ".notes li", ".verdict dt", ".advice dt")
    small = ("td", "thead th", "nav a", "summary", "footer p", ".up a", ".legend button", ".decision", ".up-title")
    grades = tuple(
        f".verdict.{grade} .grade" for grade in ("severe", "moderate", "slight", "fine", "unknown", "described")
    )
    for selector in (*account, *running, *small, *grades):
        assert contrast(*page.evaluate(_COLOURS, [selector, "color"])) >= READABLE, selector
    for selector in (".tick.across", ".tick.beside", ".area .note", ".bar .cut text"):
        assert contrast(*page.evaluate(_COLOURS, [selector, "fill"])) >= READABLE, selector
    names = ("s1", "s2", "s3", "s4", "s5", "s6", "cut", "pooling", "missed", "found", "raised")
    *drawn, found, raised = page.evaluate(
        """(names) => names.map((name) => {
             const value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
             return [1, 3, 5].map((start) => parseInt(value.trim().slice(start, start + 2), 16)).join(' ');
           })""",
        names,
    )
    assert all(contrast(one, raised) >= VISIBLE for one in drawn)
    assert contrast(found, raised) >= READABLE  # a number stands on it


def test_light_and_dark_are_readable_and_figures_follow(browser, address):
    with opened(browser, address, color_scheme="light") as page:
        page.evaluate(UNFOLD)
        assert_readable(page, light=True)
        before, _ = page.evaluate(_COLOURS, [".plot .tick", "fill"])
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(_COLOURS, [".plot .tick", "fill"])[0] != before
        assert_readable(page, light=False)


def test_the_keyboard_finds_the_skip_link_first(browser, address):
    with opened(browser, address) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.evaluate("document.activeElement.getBoundingClientRect().top") == 0
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('#chapter-search') !== null")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        # Every button, fold and scrolling box can be reached.
        assert page.evaluate(
            "[...document.querySelectorAll('button, summary, .scroll, a')].every((one) => one.tabIndex === 0)"
        )


def test_print_is_light_and_holds_what_is_unfolded(browser, address):
    with opened(browser, address, color_scheme="dark") as page:
        before = page.evaluate(_COLOURS, [".plot .tick", "fill"])
        paper = page.pdf(format="A4")
        assert paper.startswith(b"%PDF")
        assert len(paper) > 50_000
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert contrast(page.evaluate(_COLOURS, [".plot .tick", "fill"])[0], "255 255 255") >= READABLE
        assert page.evaluate("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"
        folded = page.locator("#chapter-layers details.fold").first
        assert not folded.is_visible()
        folded.evaluate("(one) => { one.open = true; }")
        assert folded.locator(".area").bounding_box()["width"] > 200
        page.emulate_media(media="screen")
        assert page.evaluate(_COLOURS, [".plot .tick", "fill"]) == before


def test_right_to_left_texts_run_from_the_right(wide):
    assert wide.evaluate(
        """[...document.querySelectorAll('[id*="-worst-"] td.words')]
             .every((cell) => getComputedStyle(cell).unicodeBidi === 'plaintext')"""
    )
