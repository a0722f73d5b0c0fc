"""The comparison page: what it says, that nothing escapes into it, and how it acts in Chromium."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segexp.comparison.across import Ranks
from segexp.comparison.compare import Comparison
from segexp.comparison.entries import Entry, Problem
from segexp.comparison.rows import Row
from segexp.comparison.statistics import Paired
from segexp.comparison.tables import Table
from segexp.comparison_page import comparison_page

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"> 'a' \u202etxt\x1b[31m\u2028"


def entry(path: Path, accuracy: float, seconds: float, **config: Any) -> Entry:
    values = {
        "accuracy": accuracy + 0.01 * np.arange(-2.0, 3.0),
        "log_loss": 1.5 - accuracy + np.zeros(5),
        "recall[A]": np.full(5, accuracy / 2),
        "recall[B]": np.full(5, 0.8),
    }
    return Entry(
        path=path,
        label=path.name,
        manifest={
            "seed": 1, "tags": ["march"], "segments": {"A": 1972, "B": 1858}, "confidence": 0.95,
            "model": config.get("model"),
        },
        config=config,
        values=values,
        folds=tuple((0, fold) for fold in range(5)),
        summary={},
        fit_seconds=seconds,
    )  # fmt: skip


def row(found: Entry, rank: int | None, *, tied: bool = False, behind: float = 0.0) -> Row:
    mean = found.mean_of("accuracy")
    assert mean is not None
    away = Paired(
        mean=-behind, standard_error=0.004, interval=(-behind - 0.01, -behind + 0.01), p=0.02,
        p_holm=0.04, p_better=0.01, p_equivalent=0.29, p_worse=0.7, n=5, differences=np.zeros(5),
    )  # fmt: skip
    return Row(
        entries=(found,), label=found.label, varying=found.config, rank=rank, mean=mean, std=0.0158,
        seed_std=None, interval=(mean - 0.02, mean + 0.02), tied_with_best=tied,
        to_best=away if behind else None,
    )  # fmt: skip


def table(*rows: Row, **changes: Any) -> Table:
    made = Table(
        title="customers: accuracy on 5 folds", reason="", kind="classification",
        metric="accuracy", metrics=("accuracy", "log_loss"), rows=rows, baselines=(), n_folds=5,
        rope=0.01, alpha=0.05, reference=rows[0].label,
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    (made / "boosted").mkdir()
    (made / "boosted" / "report.html").write_text("<p>the report of boosted</p>", "utf-8")
    return made


@pytest.fixture(scope="module")
def comparison(folder: Path) -> Comparison:
    boosted = row(entry(folder / "boosted", 0.54, 30.0, model="lightgbm", depth=10), 1, tied=True)
    forest = row(
        entry(folder / "forest", 0.53, 60.0, model="forest", depth=9), 2, tied=True, behind=0.01
    )
    tree = row(entry(folder / "tree", 0.50, 2.0, model="tree", depth=2), 3, behind=0.04)
    dummy = replace(row(entry(folder / "boosted", 0.28, 0.1), None, behind=0.26), label="dummy")
    problem = Problem("outputs/broken", "failed", "ValueError: too few customers")
    return Comparison((table(boosted, forest, tree, baselines=(dummy,)),), None, (problem,))


@pytest.fixture(scope="module")
def hostile(folder: Path) -> Comparison:
    bad = row(entry(folder / "javascript:alert(1)", 0.5, 1.0, model=HOSTILE), 1)
    bad.entries[0].values.update({f"recall[{HOSTILE}]": np.full(5, 0.5)})
    bad.entries[0].manifest.update(tags=[HOSTILE], seed=HOSTILE)
    bad = replace(bad, label=HOSTILE, usable=(HOSTILE,))
    other = row(entry(folder / "b", 0.4, 2.0, **{HOSTILE: "1"}), 2, behind=0.1)
    ranks = Ranks(
        metric="accuracy", datasets=(HOSTILE, "b"), labels=(HOSTILE, "b"),
        ranks=np.array([[1.0, 2.0], [1.0, 2.0]]), mean_ranks=np.array([1.0, 2.0]),
        friedman_p=0.04, critical_difference=0.9, groups=((HOSTILE, "b"),),
    )  # fmt: skip
    made = table(bad, other, title=HOSTILE, reason=HOSTILE, notes=(HOSTILE,), reference=HOSTILE)
    return Comparison((made,), ranks, (Problem(HOSTILE, HOSTILE, HOSTILE),))


class Tags(html.parser.HTMLParser):
    """The elements of a page, as a browser that trusts everything would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def links(text: str) -> list[str]:
    return [attrs["href"] or "" for tag, attrs in Tags(text).tags if tag == "a"]


# What it says.


def test_the_same_comparison_gives_the_same_page(comparison):
    assert comparison_page(comparison) == comparison_page(comparison)


def test_the_best_and_its_ties_are_told_in_a_sentence(comparison):
    page = comparison_page(comparison)
    assert "Best: boosted with 0.5400 (95% interval 0.5200 to 0.5600)" in page
    assert "1 other cannot be told from it." in page


def test_rows_that_were_not_tested_are_named(folder):
    rows = (row(entry(folder / "a", 0.5, 1.0), 1), row(entry(folder / "b", 0.4, 1.0), 2),
            row(entry(folder / "c", 0.3, 1.0), 3, behind=0.2))  # fmt: skip
    page = comparison_page(Comparison((table(*rows),), None, ()))
    assert "no other config that was tested is tied with it; not tested: b." in page


def test_intervals_have_their_own_levels(folder):
    rows = [row(entry(folder / "a", 0.5, 1.0), 1), row(entry(folder / "b", 0.4, 1.0), 2, behind=1)]
    for found in rows:
        found.entries[0].manifest.update(confidence=0.8)
    page = comparison_page(Comparison((table(*rows, alpha=0.01),), None, ()))
    assert "(80% interval" in page and "corrected 99% interval" in page and "95%" not in page


@pytest.mark.parametrize(
    ("kind", "missed", "is_last"),
    [
        ("classification", ((), ("noise",)), False),
        ("clustering", (("noise",), ("noise",)), False),
        ("clustering", ((), ("noise",)), True),
    ],
)
def test_rows_that_miss_a_constraint_are_last_only_where_others_do_not(
    folder, kind, missed, is_last
):
    rows = [
        replace(row(entry(folder / f"{i}", 0.5, 1.0), i), usable=texts)
        for i, texts in enumerate(missed, start=1)
    ]
    page = comparison_page(Comparison((table(*rows, kind=kind),), None, ()))
    assert ("such rows rank last" in page) is is_last


def test_one_setting_that_is_the_label_is_no_column(folder):
    rows = [row(entry(folder / name, 0.5, 1.0, model=name), i) for i, name in enumerate("ab", 1)]
    assert "config key model" not in comparison_page(Comparison((table(*rows),), None, ()))


def test_the_page_does_not_tell_where_data_lie(folder):
    places = {
        "run.outputs": "/srv/me",
        "dataset.path": "/srv/me/x.csv",
        "dataset.url": "/srv/me",
    }
    rows = [row(entry(folder / "a", 0.5, 1.0, **places), 1), row(entry(folder / "b", 0.4, 1.0), 2)]
    problem = Problem(f"{folder}/sweep [model=a/b]", "failed", "")
    page = comparison_page(Comparison((table(*rows),), None, (problem,)), folder)
    assert "/srv/me" not in page and str(folder) not in page
    assert ">sweep [model=<wbr>a/<wbr>b]<" in page


def test_a_run_with_only_the_root_in_common_is_not_linked(folder):
    far = row(entry(Path("/elsewhere/run"), 0.5, 1.0), 1)
    page = comparison_page(Comparison((table(far),), None, ()), folder)
    assert links(page) == [] and "elsewhere" not in page


def test_a_config_without_a_rank_is_no_baseline(folder):
    rows = (row(entry(folder / "a", 0.5, 1.0, model="a"), 1),
            replace(row(entry(folder / "b", 0.4, 1.0, model="b"), None), mean=None))  # fmt: skip
    assert 'mark baseline"' not in comparison_page(Comparison((table(*rows),), None, ()))


def test_what_a_filter_looks_for_first_is_not_cut(folder):
    long = row(entry(folder / "a", 0.5, 1.0, **{f"k{i}": "x" * 100 for i in range(20)}), 1)
    long.entries[0].manifest.update(model="lightgbm")
    page = comparison_page(Comparison((table(replace(long, tied_with_best=True)),), None, ()))
    assert 'data-words="tied a model=lightgbm ' in page


def test_one_config_is_not_the_best_of_any(folder):
    alone = table(row(entry(folder / "tree", 0.5, 1.0), 1))
    assert "The only one: tree with 0.5000" in comparison_page(Comparison((alone,), None, ()))


def test_problems_are_listed_with_their_cause(comparison):
    assert "ValueError: too few customers" in comparison_page(comparison)


def test_a_table_without_tests_does_not_explain_them(folder):
    alone = table(row(entry(folder / "tree", 0.5, 1.0), 1))
    assert "Nadeau" not in comparison_page(Comparison((alone,), None, ()))


def test_one_timed_row_has_no_chart(folder):
    alone = table(row(entry(folder / "tree", 0.5, 1.0), 1))
    assert "Quality against fit time" not in comparison_page(Comparison((alone,), None, ()))


def test_a_column_that_nothing_fills_is_left_out(comparison):
    assert "spread over seeds" not in comparison_page(comparison)


def test_an_empty_comparison_says_so():
    assert "There is nothing to compare." in comparison_page(Comparison((), None, ()))


def test_rows_without_values_do_not_stop_the_page(folder):
    none = entry(folder / "none", 0.5, 0.0)
    none.values.clear()
    empty = replace(row(entry(folder / "none", 0.5, 0.0), 1), entries=(none,), mean=None,
                    interval=None)  # fmt: skip
    assert "none" in comparison_page(Comparison((table(empty, empty),), None, ()))


def test_an_untested_difference_has_no_interval(folder):
    same = row(entry(folder / "b", 0.4, 2.0), 2, behind=0.1)
    assert same.to_best is not None
    untested = replace(same.to_best, interval=(np.nan, np.nan), p=None, p_holm=None, p_better=None)
    rows = (row(entry(folder / "a", 0.5, 1.0), 1), replace(same, to_best=untested))
    page = comparison_page(Comparison((table(*rows),), None, ()))
    assert ">−0.1000<" in page and "nan" not in page


def test_the_front_leaves_out_what_another_beats(comparison):
    page = comparison_page(comparison)
    front = page[page.index("the Pareto front") : page.index("</figcaption>")]
    assert [name for name in ("boosted", "forest", "tree", "dummy") if name in front] == [
        "boosted", "tree", "dummy",
    ]  # fmt: skip


def test_seeds_of_one_config_have_a_link_each(folder):
    seeds = [replace(entry(folder / f"s{i}", 0.5, 1.0), manifest={"seed": i}) for i in (1, 2)]
    several = replace(row(seeds[0], 1), entries=tuple(seeds), seed_std=0.01)
    page = comparison_page(Comparison((table(several),), None, ()), folder)
    assert links(page) == ["./s1/", "./s2/"] and ">files 2<" in page


# Nothing escapes.


@pytest.fixture(scope="module")
def hostile_page(hostile: Comparison, folder: Path) -> str:
    return comparison_page(hostile, folder)


def test_hostile_text_adds_no_element(comparison, hostile_page):
    names = {tag for tag, _ in Tags(comparison_page(comparison)).tags}
    tags = Tags(hostile_page).tags
    # The only image is the figure of the ranks.
    assert {tag for tag, _ in tags} <= names | {"img", "noscript", "wbr"}
    assert [attrs["class"] for tag, attrs in tags if tag == "img"] == ["picture"]
    assert not any(name.startswith("on") for _, attrs in tags for name in attrs)


def test_letters_that_act_unseen_are_replaced(hostile_page):
    assert not set("\u202e\x1b\u2028") & set(hostile_page)
    assert "\N{REPLACEMENT CHARACTER}txt" in hostile_page


def test_json_cannot_end_its_element(hostile_page):
    found = re.search(r'<script type="application/json">(.*?)</script>', hostile_page, re.DOTALL)
    assert found and not set("<>&\u2028\u2029") & set(found[1])
    assert json.loads(found[1])["keys"][0][0] == "model"


def test_a_folder_called_like_a_script_is_linked_as_a_folder(hostile_page):
    assert "./javascript%3Aalert%281%29/" in links(hostile_page)


def test_links_are_relative_to_the_page(comparison, folder):
    page = comparison_page(comparison, folder / "elsewhere")
    assert links(page)[-4:] == [
        "./../boosted/report.html", "./../boosted/", "./../forest/", "./../tree/",
    ]  # fmt: skip


def test_without_a_folder_there_are_no_links_out_of_the_page(comparison):
    assert all(address.startswith("#") for address in links(comparison_page(comparison)))


def test_a_report_that_is_a_link_elsewhere_is_not_linked(folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.html").symlink_to(folder / "boosted" / "report.html")
    found = Comparison((table(row(entry(tmp_path / "run", 0.5, 1.0), 1)),), None, ())
    assert links(comparison_page(found, tmp_path)) == ["./run/"]


def test_a_name_that_is_no_text_is_written_as_utf8(folder):
    odd = replace(row(entry(folder / "odd", 0.5, 1.0), 1), label="bad \udcff name")
    assert comparison_page(Comparison((table(odd),), None, ())).encode()


def test_a_long_name_is_cut(folder):
    long = replace(row(entry(folder / "long", 0.5, 1.0), 1), label="x" * 100_000)
    assert len(comparison_page(Comparison((table(long),), None, ()))) < 60_000


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


@pytest.fixture
def show(browser, folder):
    """A function that opens a page from a file."""

    def open_page(content: Comparison | str) -> Any:
        path = folder / "page.html"
        text = content if isinstance(content, str) else comparison_page(content, folder)
        path.write_text(text, encoding="utf-8", newline="\n")
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        browser.get(path.as_uri())
        return browser

    return open_page


def all_of(page, selector: str) -> list[Any]:
    return page.find_elements("css selector", selector)


def names(page, within: str = "table.results") -> list[str]:
    """Runs of a table in the order in which they are seen."""
    return page.execute_script(
        "return [...document.querySelectorAll(arguments[0])]"
        ".filter((cell) => cell.checkVisibility()).map((cell) => cell.textContent)",
        f"{within} tbody tr th bdi",
    )


def head(page, name: str) -> Any:
    return page.execute_script(
        "return [...document.querySelectorAll('table.results thead th')]"
        ".find((cell) => cell.textContent === arguments[0])",
        name,
    )


def test_opening_the_page_asks_the_network_for_nothing(show, comparison):
    page = show(comparison)
    messages = [json.loads(line["message"])["message"] for line in page.get_log("performance")]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert asked and all(address.startswith("file:") for address in asked)


@pytest.mark.parametrize("which", ["comparison", "hostile_page"])
def test_the_console_stays_empty(show, which, request):
    assert show(request.getfixturevalue(which)).get_log("browser") == []


def test_hostile_text_does_not_run(show, hostile_page):
    page = show(hostile_page)
    assert page.title == "Comparison of 2 runs"
    addresses = [link.get_attribute("href") for link in all_of(page, "a")]
    assert all(address.startswith("file:") for address in addresses)


def test_the_policy_stops_a_script_that_got_in(show, comparison):
    page = show(comparison)
    page.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = \"document.title = 'owned'\";"
        "document.body.append(script)"
    )
    assert page.title == "Comparison of 3 runs"
    assert any("Content Security Policy" in line["message"] for line in page.get_log("browser"))


def test_rows_come_in_the_order_of_their_ranks(show, comparison):
    page = show(comparison)
    assert names(page) == ["boosted", "forest", "tree", "dummy"]
    assert head(page, "rank").get_attribute("aria-sort") == "ascending"


def test_a_click_sorts_by_numbers_and_again_the_other_way(show, comparison):
    page = show(comparison)
    seconds = head(page, "fit seconds").find_element("css selector", "button")
    seconds.click()
    assert names(page) == ["dummy", "tree", "boosted", "forest"]
    seconds.click()
    assert names(page) == ["forest", "boosted", "tree", "dummy"]
    assert head(page, "fit seconds").get_attribute("aria-sort") == "descending"
    assert head(page, "rank").get_attribute("aria-sort") is None


def test_the_first_click_on_a_metric_puts_the_best_first(show, comparison):
    page = show(comparison)
    head(page, "accuracy").find_element("css selector", "button").click()
    assert names(page)[0] == "boosted" and names(page)[-1] == "dummy"


def test_what_is_missing_stays_last_either_way(show, comparison):
    page = show(comparison)
    depth = head(page, "depth").find_element("css selector", "button")
    depth.click()
    assert names(page) == ["tree", "forest", "boosted", "dummy"]
    depth.click()
    assert names(page) == ["boosted", "forest", "tree", "dummy"]


def test_a_key_press_sorts(show, comparison):
    page = show(comparison)
    head(page, "run").find_element("css selector", "button").send_keys("\ue007")  # enter
    assert names(page) == ["boosted", "dummy", "forest", "tree"]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("FOR", ["forest"]),
        ("model=tree", ["tree"]),
        ("tied", ["boosted", "forest"]),
        ("tied model=lightgbm", ["boosted"]),
        ("baseline", ["dummy"]),
        ("march", ["boosted", "forest", "tree", "dummy"]),
        ("nothing like it", []),
    ],
)
def test_the_filter_keeps_rows_with_all_words(show, comparison, words, left):
    page = show(comparison)
    all_of(page, "input.filter")[0].send_keys(words)
    assert names(page) == left
    assert names(page, "table.heat") == left
    assert all_of(page, ".count")[0].text == f"{len(left)} of 4 rows"
    assert sum(point.is_displayed() for point in all_of(page, ".point")) == len(left)


def test_a_column_goes_and_comes_back(show, comparison):
    page = show(comparison)
    all_of(page, ".columns summary")[0].click()
    box = next(
        label.find_element("css selector", "input")
        for label in all_of(page, ".columns label")
        if label.text == "log loss"
    )
    column = head(page, "log loss")
    box.click()
    assert not column.is_displayed()
    box.click()
    assert column.is_displayed()


def test_two_configs_are_told_apart_by_what_differs(show, comparison):
    page = show(comparison)
    assert [cell.text for cell in all_of(page, ".configs tbody tr:last-child > *")] == [
        "depth", "10", "9",
    ]  # fmt: skip
    all_of(page, ".configs select.second option")[2].click()
    assert [cell.text for cell in all_of(page, ".configs tbody tr:last-child > *")] == [
        "depth", "10", "2",
    ]  # fmt: skip
    all_of(page, ".configs select.second option")[0].click()
    assert all_of(page, ".configs tbody")[0].text == "Nothing differs."


def test_every_fold_has_a_dot(show, comparison):
    dots = all_of(show(comparison), "table.results tbody tr:first-child .dots .inside")
    assert dots[0].get_attribute("d").count("M") == 5


def test_a_link_opens_the_report_of_its_run(show, comparison):
    page = show(comparison)
    all_of(page, "table.results .links a")[0].click()
    assert page.find_element("css selector", "p").text == "the report of boosted"


def test_a_phone_does_not_scroll_the_page_sideways(show, comparison, hostile_page):
    for found in (comparison, hostile_page):
        page = show(found)
        phone = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        wide = page.execute_script("return document.documentElement.scrollWidth")
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert wide == 360


def test_it_is_dark_for_who_likes_it_dark_and_light_on_paper(show, comparison):
    page = show(comparison)
    seen = {}
    for media in ("screen", "print"):
        dark = {"media": media, "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
        seen[media] = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert seen == {"screen": "rgb(21, 24, 27)", "print": "rgb(255, 255, 255)"}
