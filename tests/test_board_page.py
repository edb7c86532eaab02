"""The board's page in a browser: sorting, filtering, unfolding, nothing fetched, nothing said on the console."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from boards import result
from fakes import fake_dataset

from leaderboard.board import add_record, build_board
from leaderboard.page import page as board_page
from leaderboard.published import published_table
from leaderboard.scoring import score_file
from srgaze360.predictions import TrainingKey

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make .venv/.installed-dev)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    data = fake_dataset(folder / "data")
    board = folder / "board"
    for name, spread, tier in (("good", 0.1, "re-run"), ("middling", 0.5, "re-scored"), ("Bad", 1.5, "self-reported")):
        add_record(result(folder, data, name, spread, heatmaps=name != "Bad"), board, tier=tier)
    score_file("human", data, "test", folder / "human.json", resamples=200)
    add_record(folder / "human.json", board, tier="re-run")
    build_board(board, folder / "pages")
    return folder / "pages"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium here (Debian's package of that name)")
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, pages: Path) -> Iterator[Any]:
    """The page; whatever it fetches or says on the console fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 720})
    heard: list[str] = []
    fetched: list[str] = []
    opened.on("console", lambda message: heard.append(message.text))
    opened.on("pageerror", lambda error: heard.append(str(error)))
    opened.on("request", lambda request: fetched.append(request.url))
    opened.goto((pages / "index.html").as_uri())
    yield opened
    assert heard == []
    assert fetched == [(pages / "index.html").as_uri()]
    opened.close()


def names(page: Any, table: str = "ranking") -> list[str]:
    rows = page.locator(f"#{table} > .scroll > table > tbody > tr[data-name]:not([hidden])")
    return [row.get_attribute("data-name") for row in rows.all()]


def sort_button(page: Any, title: str, table: str = "ranking") -> Any:
    return page.locator(f"#{table} thead th:has-text('{title}') button.sort").first


def test_columns_sort_both_ways_with_annotators_last(page: Any) -> None:
    assert names(page) == ["good", "middling", "Bad", "human"]
    head = sort_button(page, "Angular distance")
    head.click()
    assert names(page) == ["good", "middling", "Bad", "human"]
    head.click()
    assert names(page) == ["Bad", "middling", "good", "human"]
    assert page.locator("#ranking thead th[aria-sort]").get_attribute("aria-sort") == "descending"
    sort_button(page, "Predictor").click()
    assert names(page) == ["Bad", "good", "middling", "human"]
    assert page.locator("#ranking thead th[aria-sort]").count() == 1
    # who has no number stays behind those who have one, either way
    maps = sort_button(page, "AUC", "maps")
    for expected in (["middling", "good", "Bad", "human"], ["good", "middling", "Bad", "human"]):
        maps.click()
        assert names(page, "maps") == expected


def test_columns_sort_by_keyboard(page: Any) -> None:
    sort_button(page, "Angular distance").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert names(page) == ["Bad", "middling", "good", "human"]


def test_conditions_sort_within_their_suite(page: Any) -> None:
    rows = page.locator("#conditions tbody tr")

    def values() -> list[float]:
        return [float(cell.get_attribute("data-value")) for cell in page.locator("#conditions tbody tr td:nth-child(2)").all()][
            :2
        ]

    head = sort_button(page, "good", "conditions")
    for descending in (False, True):
        head.click()
        assert [row.get_attribute("data-section") for row in rows.all()] == ["latitude"] * 3 + ["mixed"] * 2
        assert ["section" in (row.get_attribute("class") or "") for row in rows.all()] == [True, False, False, True, False]
        assert values() == sorted(values(), reverse=descending)
    assert values()[0] != values()[1]


def test_a_row_unfolds_and_takes_its_conditions_along(page: Any) -> None:
    button = page.get_by_role("button", name="Conditions of middling")
    detail = page.locator(f"#{button.get_attribute('aria-controls')}")
    assert not detail.is_visible()
    button.press("Enter")
    assert detail.is_visible()
    assert button.get_attribute("aria-expanded") == "true"
    assert "latitude, lat+60" in detail.inner_text()
    sort_button(page, "Angular distance").click()
    sort_button(page, "Angular distance").click()
    after = page.locator("#ranking tr[data-name='middling'] + tr")
    assert after.get_attribute("id") == detail.get_attribute("id")
    button.click()
    assert not detail.is_visible()


def test_filters(page: Any) -> None:
    page.get_by_label("Predictor", exact=True).fill("GOO")
    assert names(page) == ["good"]
    assert page.locator("#filter-count").inner_text() == "1 of 4 predictors"
    page.get_by_label("Predictor", exact=True).fill("")
    page.get_by_label("self-reported").uncheck()
    assert names(page) == ["good", "middling", "human"]
    assert names(page, "maps") == ["good", "middling", "human"]
    page.get_by_label("Suite").select_option("latitude")
    shown = page.locator("#conditions tbody tr:not([hidden])").all()
    assert {row.get_attribute("data-section") for row in shown} == {"latitude"}
    page.get_by_label("Suite").select_option("")
    assert page.locator("#conditions tbody tr[hidden]").count() == 0


def test_filters_are_as_they_were_left(page: Any) -> None:
    page.get_by_label("self-reported").uncheck()
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow'))")
    assert names(page) == ["good", "middling", "human"]


def test_nothing_is_wider_than_a_phone(browser: Any, pages: Path) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto((pages / "index.html").as_uri())
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.close()


def test_dark_pages_are_dark(browser: Any, pages: Path) -> None:
    for scheme, dark in (("dark", True), ("light", False)):
        opened = browser.new_page(color_scheme=scheme)
        opened.goto((pages / "index.html").as_uri())
        colour = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")) < 150) == dark
        opened.close()


def test_without_script_everything_is_there(browser: Any, pages: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto((pages / "index.html").as_uri())
    assert names(plain) == ["good", "middling", "Bad", "human"]
    assert not plain.locator("#controls").is_visible()
    assert not plain.locator("button.unfold").first.is_visible()
    context.close()


# --- published numbers beside it ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board beside the longest table of published numbers, as a board of its protocol would have it."""
    folder = tmp_path_factory.mktemp("published")
    data = fake_dataset(folder / "data", people=40)
    for name, spread in (("near", 0.1), ("far", 1.0)):
        add_record(result(folder, data, name, spread, heatmaps=True, protocol="gazefollow360"), folder / "board")
    tables = build_board(folder / "board", folder / "pages").tables
    (folder / "index.html").write_text(board_page(replace(tables, published=published_table("gazefollow")), []))
    return folder / "index.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_published_numbers_stay_apart_from_sorting_and_filters(browser: Any, published: Path, scheme: str) -> None:
    opened = browser.new_page(viewport={"width": 1280, "height": 720}, color_scheme=scheme)
    heard: list[str] = []
    opened.on("console", lambda message: heard.append(message.text))
    opened.on("pageerror", lambda error: heard.append(str(error)))
    opened.goto(published.as_uri())
    section = opened.locator("#published")
    assert section.get_by_role("heading", name="As published, not re-run").is_visible()
    rows = section.locator("tbody tr:not(.section):not(.defined)")
    before = [row.inner_text() for row in rows.all()]
    assert len(before) == len(published_table("gazefollow").rows)
    assert section.locator("tr.section").count() == len(published_table("gazefollow").definitions)
    sort_button(opened, "Distance").click()
    sort_button(opened, "Distance").click()
    opened.get_by_label("Predictor", exact=True).fill("near")
    assert names(opened) == ["near"]
    assert [row.inner_text() for row in rows.all()] == before
    assert section.locator("button.sort").count() == 0  # a column holds one quantity within a section only
    assert all(row.is_visible() for row in rows.all())
    assert heard == []
    opened.close()


def test_published_numbers_on_a_phone(browser: Any, published: Path) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto(published.as_uri())
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    defined = phone.locator("#published tr.defined span").first
    assert defined.bounding_box()["width"] <= 390  # the text that says what a column is can be read without scrolling
    phone.close()


# --- trained on bands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_heat_maps_of_bands_are_shapes_that_the_page_may_show(
    browser: Any, tmp_path_factory: pytest.TempPathFactory, scheme: str
) -> None:
    folder = tmp_path_factory.mktemp("bands")
    data = fake_dataset(folder / "data", people=120)
    for name, band, spread in (("low", "0-30 deg", 0.1), ("middle", "30-60 deg", 0.4), ("high", "60-90 deg", 0.9)):
        key = TrainingKey(predictor="direction", digest="a", where={"head_latitude": [band]})
        add_record(result(folder, data, name, spread, training=key), folder / "board")
    build_board(folder / "board", folder / "pages")
    opened = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    heard: list[str] = []
    opened.on("console", lambda message: heard.append(message.text))
    opened.on("pageerror", lambda error: heard.append(str(error)))
    opened.goto((folder / "pages" / "index.html").as_uri())
    figure = opened.locator("figure", has_text="Trained on one band, tested on all: direction, absolute latitude of the head")
    assert figure.locator("svg").get_attribute("aria-label").startswith("Trained on one band")
    assert figure.locator("svg image").count() == 0
    assert figure.locator("svg text").count() > 18
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    table = opened.locator("#bands-1 tbody tr")
    assert [row.locator("th").inner_text().rstrip(" ‡") for row in table.all()] == ["0–30°", "30–60°", "60–90°"]
    head = sort_button(opened, "30–60°", "bands-1")
    head.click()
    head.click()
    cells = [float(cell.get_attribute("data-value")) for cell in opened.locator("#bands-1 tbody td:nth-child(3)").all()]
    assert cells == sorted(cells, reverse=True)
    opened.get_by_label("Suite").select_option("latitude")
    assert opened.locator("#bands-1 tbody tr[hidden]").count() == 0  # its lines belong to no suite
    assert opened.locator("#conditions tbody tr[hidden]").count() > 0
    assert heard == []
    opened.close()
