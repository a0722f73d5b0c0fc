"""The page of a report: its blocks, that nothing escapes into it, and how it acts in Chromium."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segexp.report.page import (
    Album,
    Bar,
    Card,
    Cards,
    Cell,
    Code,
    Details,
    Fact,
    Facts,
    Figure,
    Findings,
    Items,
    Section,
    Table,
    Text,
    render_page,
)

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"> 'a' \u202etxt\x1b[31m\u2028"
SVG = (
    b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt" '
    b'viewBox="0 0 72 36"><rect width="72" height="36" fill="#0072B2"/></svg>'
)


def png(width: int, height: int, dpi: int = 150) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG", dpi=(dpi, dpi))
    return buffer.getvalue()


def page_of(*blocks: Any) -> str:
    return render_page("report", [Section("part", "Part", blocks)])


class Tags(html.parser.HTMLParser):
    """The elements of a page, as a browser that trusts everything would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def every_block(words: str) -> list[Any]:
    return [
        Text(words, "lead"),
        Items([words]),
        Facts([Fact(words, words, words)]),
        Figure(words, SVG, words, words),
        Table(
            (words, "n"),
            [[Cell(words, mark=words, address=words, share=0.4), 1], [words, 2]],
            numeric=["n"], caption=words, about={words: words},
        ),
        Cards([Card(words, words, 0.2, [words], [(words, words)], [Bar(words, 1.0, words, 0.5)],
                    words, [Text(words)])]),
        Code(f"{words}\n{words}", words, words),
        Findings([{"code": words, "message": words, "advice": words, "severity": words}]),
        Details(words, [Text(words)]),
    ]  # fmt: skip


# What it says.


def test_equal_sections_give_an_equal_page():
    assert page_of(*every_block("a")) == page_of(*every_block("a"))


def test_headings_are_in_order():
    inner = Section("c", "C", [Cards([Card("Segment 1")])])
    page = render_page("r", [Section("a", "A", [], [Section("b", "B", [], [inner])])])
    levels = [int(tag[1]) for tag, _ in Tags(page).tags if re.fullmatch("h[1-6]", tag)]
    assert levels == [1, 2, 3, 4, 5]


def test_every_section_is_in_the_contents():
    page = render_page("r", [Section("a", "A", [], [Section("b", "B")]), Section("a", "A again")])
    attributes = [attrs for _, attrs in Tags(page).tags]
    links = [attrs["href"] for attrs in attributes if str(attrs.get("href", "")).startswith("#s-")]
    marks = [attrs["id"] for attrs in attributes if str(attrs.get("id", "")).startswith("s-")]
    assert links == ["#s-a", "#s-b", "#s-a-2"]
    assert sorted(marks) == ["s-a", "s-a-2", "s-b"]


def test_the_language_is_told_and_the_contents_can_be_skipped():
    page = page_of()
    assert '<html lang="en">' in page and '<a class="skip" href="#main">' in page


def test_an_empty_line_begins_a_paragraph():
    assert page_of(Text("one\nline\n\nanother")).count("<p><bdi>") == 2


def test_a_fold_holds_its_blocks():
    page = page_of(Details("more", [Text("hidden")]))
    assert re.search(r"<details><summary><bdi>more</bdi></summary>\s*<p><bdi>hidden", page)


def test_a_picture_stands_in_the_page_with_its_alt_text_and_width():
    found = [attrs for tag, attrs in Tags(page_of(Figure("f", SVG, "a bar"))).tags if tag == "img"]
    assert found[0]["alt"] == "a bar" and found[0]["width"] == "96"
    assert base64.b64decode(str(found[0]["src"]).partition(",")[2]) == SVG


def test_a_damaged_picture_is_told():
    assert "its file is damaged" in page_of(Figure("f", b"MZ\x90", "a bar"))


@pytest.mark.parametrize(
    ("value", "shown", "by"),
    [
        (0.123456, "0.1235", "0.123456"),
        (12345, "12,345", "12345"),
        ("12.5%", "12.5%", "12.5"),
        ("1,234 of 2,000", "1,234 of 2,000", "1234.0"),
        ("\u22120.5", "\u22120.5", "-0.5"),
        (None, "–", None),
        (float("nan"), "–", None),
        (Cell("many", 7), "many", "7"),
    ],
)
def test_a_number_is_shown_short_and_sorted_whole(value, shown, by):
    page = page_of(Table(("name", "n"), [["a", value], ["b", 1]], numeric=["n"]))
    cell = re.search(r'<td class="number"( data-value="([^"]*)")?><bdi>([^<]*)', page)
    assert cell and (cell[3], cell[2]) == (shown, by)


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="1 cells in 2 columns"):
        Table(("a", "b"), [["x"]])


def test_a_table_of_one_row_is_not_sorted():
    assert 'class="sort"' not in page_of(Table(("a", "b"), [["x", "y"]]))


def test_findings_may_be_objects_of_another_module():
    from segexp.search.checks import Check

    page = page_of(Findings([Check("edge", "at the edge", "widen it")]))
    assert "at the edge" in page and "widen it" in page and "<code>edge</code>" in page


def test_no_findings_are_said():
    assert "All is well." in page_of(Findings([], none="All is well."))


# Nothing escapes.


def test_hostile_text_adds_no_element():
    page = render_page(HOSTILE, [Section(HOSTILE, HOSTILE, every_block(HOSTILE))], marks=[HOSTILE])
    tags, plain = Tags(page).tags, Tags(page_of(*every_block("a"))).tags
    assert {tag for tag, _ in tags} <= {tag for tag, _ in plain} | {"wbr", "span"}
    assert [attrs["class"] for tag, attrs in tags if tag == "img"] == ["picture"]
    assert not any(name.startswith("on") for _, attrs in tags for name in attrs)
    assert "style" not in {name for _, attrs in tags for name in attrs}


def test_letters_that_act_unseen_are_replaced():
    page = render_page(HOSTILE, [Section(HOSTILE, HOSTILE, every_block(HOSTILE))])
    assert not set("\u202e\x1b\u2028") & set(page)
    assert "\N{REPLACEMENT CHARACTER}txt" in page


@pytest.mark.parametrize("address", ["javascript:alert(1)", "https://example.org", "//example.org"])
def test_a_cell_leads_nowhere_but_to_its_neighbours(address):
    page = page_of(Table(("a", "b"), [[Cell("x", address=address), 1]]))
    addresses = [attrs["href"] for tag, attrs in Tags(page).tags if tag == "a"]
    assert all(str(found).startswith("#") for found in addresses)


def test_lines_of_code_stay_apart():
    assert "<code>a: 1\n  b: &lt;2&gt;</code>" in page_of(Code("a: 1\r\n  b: <2>\n"))


def test_a_long_name_is_cut():
    blocks = [block for block in every_block("x" * 100_000) if not isinstance(block, Code)]
    assert len(page_of(*blocks)) < 200_000


def test_a_name_that_is_no_text_is_written_as_utf8():
    assert page_of(Text("bad \udcff name")).encode()


# How large it is.


def test_a_large_svg_is_shown_as_png():
    large = SVG + b" " * 200_000
    album = Album([figure := Figure("f", {"svg": large, "png": png(30, 20)}, "alt")])
    assert album.picture(figure)["address"].startswith("data:image/png")
    assert album.note == ""


def test_a_png_is_drawn_only_where_the_page_needs_it():
    class Drawn(dict):
        def __missing__(self, kind):
            pytest.fail(f"{kind} was drawn")

        def get(self, kind, default=None):
            return self[kind]

    album = Album([figure := Figure("f", Drawn(svg=SVG), "alt")])
    assert album.picture(figure)["address"].startswith("data:image/svg")


def test_figures_that_are_too_many_lose_colours_and_say_so():
    picture = png(300, 300)
    album = Album([figure := Figure("f", picture, "alt")], most=len(picture) // 2)
    assert "fewer colours" in album.note
    assert len(album.picture(figure)["address"]) < len(picture) // 2 + 50


def test_figures_that_are_far_too_many_lose_dots_but_not_their_size():
    picture = png(300, 300)
    album = Album([figure := Figure("f", picture, "alt")], most=len(picture) // 6)
    assert "fewer dots" in album.note
    assert album.picture(figure)["width"] == 192
    assert "fewer dots" in render_page(
        "r", [Section("a", "A", [Figure(str(i), png(900, 900), "alt") for i in range(6)])]
    )


# In a browser.


@pytest.fixture(scope="module")
def browser():
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs Chromium: the programs chromium and chromedriver")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # Chromium's own sandbox does not work for root, as in a container.
    for word in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield made
    made.quit()


def segments(n: int) -> Cards:
    long = "a_very_long_name_of_a_segment_that_nobody_can_pronounce_" * 4
    return Cards(
        [
            Card(
                f"Segment {i}" if i else long, f"{i} customers", i / n, ["high income", long],
                [("share of revenue", "12.3%"), (long, long)], [Bar(long, i, f"{i}", 3.0)],
            )
            for i in range(n)
        ]
    )  # fmt: skip


@pytest.fixture(scope="module")
def full() -> str:
    table = Table(
        ("segment", "customers", *(f"column_{i}" for i in range(30))),
        [[f"segment {i}", n, *range(30)] for i, n in enumerate((30, 9, 200))],
        numeric=range(1, 32), caption="Sizes",
    )  # fmt: skip
    sections = [
        Section("summary", "Summary", [*every_block("words"), segments(40)]),
        Section("table", "A table", [table], [Section("inner", "Within", [Text("deep\n\n" * 99)])]),
        Section("code", "Code", [Code("segexp run dataset=demo", "shell", "Again"),
                                 Details("behind", [Text("hidden words")])]),
    ]  # fmt: skip
    return render_page("A report", sections, subtitle="of a test", marks=["synthetic customers"])


@pytest.fixture
def show(browser, tmp_path):
    """A function that opens a page from a file, on a screen of some width."""

    def open_page(text: str, width: int = 1280) -> Any:
        path: Path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8", newline="\n")
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get(path.as_uri())
        return browser

    yield open_page
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def one(page, selector: str) -> Any:
    return page.find_element("css selector", selector)


def test_opening_the_page_asks_the_network_for_nothing(show, full):
    messages = [
        json.loads(line["message"])["message"] for line in show(full).get_log("performance")
    ]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert asked and all(address.startswith(("file:", "data:")) for address in asked)


def test_the_console_stays_empty(show, full):
    assert show(full).get_log("browser") == []


def test_hostile_text_does_not_run(show):
    hostile = render_page("safe", [Section(HOSTILE, HOSTILE, every_block(HOSTILE))])
    page = show(hostile)
    assert page.title == "safe" and page.get_log("browser") == []


def test_the_policy_stops_a_script_that_got_in(show, full):
    page = show(full)
    page.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = \"document.title = 'owned'\";"
        "document.body.append(script)"
    )
    assert page.title == "A report"


def test_the_contents_lead_to_a_section_and_say_where_one_is(show, full):
    page = show(full)
    one(page, 'nav a[href="#s-code"]').click()
    time.sleep(0.2)
    top = page.execute_script(
        "return document.getElementById('s-code').getBoundingClientRect().top"
    )
    assert 0 <= top < 800
    assert one(page, "nav a[aria-current]").text in ("Code", "Within")


def test_the_contents_stay_in_sight(show, full):
    page = show(full)
    page.execute_script("window.scrollTo(0, 3000)")
    assert 0 <= page.execute_script(
        "return document.querySelector('nav').getBoundingClientRect().top"
    ) < 100  # fmt: skip


def test_on_a_phone_the_contents_fold_and_close_after_a_choice(show, full):
    page = show(full, 390)
    contents = one(page, "#contents")
    assert contents.get_attribute("open") is None
    one(page, "#contents summary").click()
    assert one(page, 'nav a[href="#s-table"]').is_displayed()
    one(page, 'nav a[href="#s-table"]').click()
    assert contents.get_attribute("open") is None


def test_a_click_on_a_head_sorts(show, full):
    page = show(full)
    names = (
        "return [...document.querySelectorAll('[aria-labelledby=\"s-table\"] tbody th')]"
        ".map((cell) => cell.textContent)"
    )
    head = page.find_elements("css selector", '[aria-labelledby="s-table"] thead button')[1]
    head.click()
    assert page.execute_script(names) == ["segment 1", "segment 0", "segment 2"]
    head.click()
    assert page.execute_script(names) == ["segment 2", "segment 0", "segment 1"]


@pytest.mark.parametrize("clipboard", ["open", "closed"])
def test_code_is_copied_also_where_the_clipboard_is_closed(show, full, clipboard):
    page = show(full)
    page.execute_script(
        "window.copied = '';"
        "document.addEventListener('copy', () => { window.copied = String(getSelection()); });"
        "const write = async (text) => {"
        "  if (arguments[0] === 'closed') throw new Error('not allowed');"
        "  window.copied = text;"
        "};"
        "Object.defineProperty(navigator, 'clipboard', { value: { writeText: write } });",
        clipboard,
    )
    button = one(page, '[aria-labelledby="s-code"] .copy')
    button.click()
    time.sleep(0.2)
    assert page.execute_script("return window.copied") == "segexp run dataset=demo"
    assert button.text == "Copied"


def test_a_phone_does_not_scroll_the_page_sideways(show, full):
    page = show(full, 390)
    assert page.execute_script("return document.documentElement.scrollWidth") == 390


def test_it_is_dark_for_who_likes_it_dark(show, full):
    page = show(full)
    dark = {"media": "screen", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(21, 24, 27)"


CONTRASTS = """
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
  .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const ground = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const found = parts(getComputedStyle(at).backgroundColor);
    if (found.length === 3 || found[3] > 0) return found;
  }
  return [255, 255, 255];
};
const poor = [];
for (const node of document.querySelectorAll("body *:not(svg *)")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!own || !node.checkVisibility()) continue;
  const [a, b] = [light(parts(getComputedStyle(node).color)), light(ground(node))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) poor.push(`${node.tagName} ${node.className} ${contrast.toFixed(2)}`);
}
return [...new Set(poor)];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_stand_out_from_their_ground(show, full, scheme):
    page = show(full)
    look = {"media": "screen", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", look)
    assert page.execute_script(CONTRASTS) == []


def test_paper_shows_what_is_folded_and_no_controls(show, full):
    page = show(full)
    paper = page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    content = base64.b64decode(paper["data"])
    assert content.startswith(b"%PDF")
    page.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert one(page, "main > section:last-of-type details p").is_displayed()
    assert not one(page, "nav").is_displayed() and not one(page, ".copy").is_displayed()
