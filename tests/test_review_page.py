"""The review page in a browser: directions in both views, edits, drafts, conflicts, killed servers, bare keyboards."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from fakes import fake_dataset
from reviewing import TOKEN, running

from srgaze360 import headbox, sphere
from srgaze360.dataset import Dataset
from srgaze360.images import write_image
from srgaze360.sphere import FloatArray

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make .venv/.installed-dev)")
pytest.importorskip("uvicorn", reason="the review extra is not installed (pip install 'srgaze360[review]')")

from review_pages import CHROMIUM, NO_WEBGL, PATIENCE_MS, SIZE, WEBGL, Screen, direction, off_deg, serving  # noqa: E402

from annotation.review.predicted import Predicted  # noqa: E402
from annotation.review.server import PAGE  # noqa: E402

Open = Callable[..., Screen]
PLACES = {"front": direction(3.0, 2.0), "seam": direction(179.9, -14.0), "beyond the seam": direction(-179.6, 8.0),
          "zenith": direction(40.0, 87.5), "nadir": direction(-130.0, -88.0)}  # fmt: skip
# directions, and colours that JPEG keeps apart
DOTS = {(0.0, 0.0): (255, 0, 0), (35.0, 20.0): (0, 255, 0), (-40.0, -12.0): (0, 0, 255), (179.7, 6.0): (255, 255, 0),
        (75.0, 88.0): (255, 0, 255), (-100.0, -70.0): (0, 255, 255)}  # fmt: skip
DOT_DEG = 2.5
OUTSIDE = """[...document.querySelectorAll('header *, #views button, #views input, #desk button, #desk select, #desk input')]
    .filter((e) => { const b = e.getBoundingClientRect(); return b.width && (b.right > 1280 || b.bottom > 720 || b.left < 0); })
    .map((e) => e.outerHTML)"""
OVERLAPPING = """[...document.querySelectorAll('.row, .bar, header')].flatMap((row) => {
    const inside = row.getBoundingClientRect();
    const boxes = [...row.children].filter((e) => e.getClientRects().length && !e.classList.contains('unseen'))
        .map((e) => e.getBoundingClientRect());
    return boxes.filter((b, i) => (i && b.left < boxes[i - 1].right - 1 && b.top < boxes[i - 1].bottom - 1)
        || b.right > inside.right + 1).map(() => row.outerHTML.slice(0, 200)); })"""
NAMES = """[...document.querySelectorAll('button, input, select, canvas, [role=listbox], dialog')]
    .filter((e) => !e.closest('[aria-hidden]')).map((e) => [e.outerHTML.slice(0, 80), e.getAttribute('aria-label')
        || e.getAttribute('aria-labelledby') || e.textContent.trim() || (e.labels && e.labels.length)])"""
FORBIDDEN = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://"


def dotted(width: int = 2048) -> np.ndarray:
    """A grey panorama with round dots at known directions, their rims drawn by cover."""
    cells = sphere.cell_directions(width, width // 2)
    picture = np.full((width // 2, width, 3), 60.0)
    for place, colour in DOTS.items():
        away = np.degrees(sphere.angle_between(cells, direction(*place)))
        cover = np.clip((DOT_DEG - away) * width / 360.0 + 0.5, 0.0, 1.0)[..., None]
        picture = picture * (1.0 - cover) + np.array(colour) * cover
    return np.round(picture).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = fake_dataset(tmp_path_factory.mktemp("review") / "data", people=4)
    *others, last = dict.fromkeys(made.annotations["image_path"])
    write_image(made.root / last, dotted())
    for path in others:  # small: software draws these pages
        write_image(made.root / path, dotted(256))
    return made


@pytest.fixture(scope="module")
def play() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium here (Debian's package of that name)")
    with playwright.sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(play: Any) -> Iterator[Any]:
    started = play.chromium.launch(executable_path=CHROMIUM, args=WEBGL)
    yield started
    started.close()


@pytest.fixture
def review(data: Dataset, tmp_path: Path) -> Iterator[Any]:
    """A review that begins: address and store."""
    with serving(data, tmp_path / "review.sqlite", annotator="zoe") as served:
        yield served


@pytest.fixture
def show(browser: Any) -> Iterator[Open]:
    """Open pages; whatever they say on the console, or fetch from elsewhere, fails the test."""
    with ExitStack() as stack:
        screens: list[tuple[Screen, str]] = []

        def opened(url: str, search: str = "", **options: Any) -> Screen:
            context = browser.new_context(viewport=SIZE, reduced_motion="reduce", **options)
            stack.callback(context.close)
            screens.append((Screen.open(context, url + search), url))
            return screens[-1][0]

        yield opened
        for screen, url in screens:
            assert screen.heard == []
            assert [
                address for address in screen.fetched if not address.startswith(url) and not address.startswith("data:")
            ] == []


@pytest.fixture
def screen(review: Any, show: Open) -> Screen:
    return show(review[0])


def only_point(screen: Screen) -> FloatArray:
    points = screen.marks("point")
    assert len(points) == 1
    return points[0]


def without_points(screen: Screen) -> Screen:
    """Delete every gaze point, by keyboard."""
    screen.press(*["q", "Delete"] * len(screen.marks("point")))
    assert len(screen.marks("point")) == 0
    return screen


def refused(screen: Screen, status: int) -> None:
    """The console says that the server refused something, and nothing else."""
    assert screen.heard
    assert all(f"status of {status} " in words for words in screen.heard), screen.heard
    screen.heard.clear()


def saved(store: Any, screen: Screen) -> Any:
    return store.last(screen.text("person"))


# --- what is on the screen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_of_it_is_on_a_small_screen(review: Any, show: Open, scheme: str) -> None:
    screen = show(review[0], color_scheme=scheme)
    assert screen.text("position") == "1 / 16"
    assert "data" in screen.page.title() or "fake" in screen.page.title()
    size = screen.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert size == [1280, 720]
    outside = screen.page.evaluate(OUTSIDE)
    assert outside == []
    overlapping = screen.page.evaluate(OVERLAPPING)
    assert overlapping == []


def luminance(colour: str) -> float:
    parts = [int(part) / 255.0 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(review: Any, show: Open, scheme: str) -> None:
    """WCAG 2: a contrast of 4.5 for every element that holds text."""
    screen = show(review[0], color_scheme=scheme)
    screen.press("g", "m", "o")
    found = screen.page.evaluate(
        """[...document.querySelectorAll('body *')].filter((e) => e.getClientRects().length && [...e.childNodes].some((n) =>
        n.nodeType === 3 && n.textContent.trim())).map((e) => { let p = e; let back;
        while (p && !back) { const c = getComputedStyle(p).backgroundColor; if (!/, 0\\)$|transparent/.test(c)) back = c;
        p = p.parentElement; } return [getComputedStyle(e).color, back, e.textContent.trim()]; })"""
    )
    assert len(found) > 40
    low = []
    for ink, paper, words in found:
        light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
        if (light + 0.05) / (dark + 0.05) < 4.5:
            low.append((words, ink, paper))
    assert low == []


def test_every_control_has_a_name_and_its_key(screen: Screen) -> None:
    names = screen.page.evaluate(NAMES)
    assert [element for element, name in names if not name] == []
    for button in screen.page.locator("[data-command]").all():
        assert button.locator("kbd").count() == 1
        assert button.get_attribute("aria-keyshortcuts")
    screen.press("?")
    shown = screen.page.locator("#keys kbd").all_inner_texts()
    assert len(shown) == len(set(shown)) > 25  # one key each
    screen.press("Escape")
    assert not screen.page.locator("#help").is_visible()


def test_focus_can_be_seen(screen: Screen) -> None:
    for _ in range(12):
        screen.press("Tab")
        style = screen.page.evaluate(
            "(({ outlineStyle, outlineWidth }) => [outlineStyle, outlineWidth])(getComputedStyle(document.activeElement))"
        )
        assert style == ["solid", "3px"]


# --- looking --------------------------------------------------------------------------------------------------------------


def test_the_view_shows_every_direction_where_the_projection_says(review: Any, show: Open) -> None:
    """Pixels of a dot, lifted to directions, have its direction in their middle: not mirrored, not half a pixel off."""
    url, _ = review
    *_, last = show(url).page.evaluate("fetch('api/queue?kind=all').then((answer) => answer.json())")["items"]
    screen = show(url, f"#kind=all&value=&id={quote(last['sample_id'], safe='')}")
    assert screen.text("person") == last["sample_id"]
    screen.press("+", "+")
    found = {dot: found_dot(screen, dot) for dot in DOTS}
    # the renderer does not interpolate across the seam: what lies on it may be moved by part of a pixel, 0.18 degrees
    assert {dot: off for dot, off in found.items() if off > (0.05 if abs(dot[0]) > 179.0 else 0.01)} == {}, found


def found_dot(screen: Screen, dot: tuple[float, float]) -> float:
    """Degrees between a dot's direction and where its pixels in the view lie."""
    place = direction(*dot)
    screen.look_at(sphere.exp_map(place, np.radians([9.0, -7.0]))).press("i")
    rotation, focal, box = screen.camera
    shown = screen.pixels().astype(np.float64)
    height, width = shown.shape[:2]
    assert (width, height) == (round(box["width"]), round(box["height"]))
    x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    rays = np.stack([x / focal, y / focal, np.ones_like(x)], axis=-1)
    solid_angle = np.linalg.norm(rays, axis=-1) ** -3
    colour, grey = np.array(DOTS[dot], dtype=float), np.full(3, 60.0)
    cover = np.clip((shown - grey) @ (colour - grey) / np.sum((colour - grey) ** 2), 0.0, 1.0)
    cover[cover < 0.1] = 0.0
    cover[np.linalg.norm(shown - (grey + cover[..., None] * (colour - grey)), axis=-1) > 60.0] = 0.0
    cover[:30, :250] = 0.0  # the words in the corner
    area = float(np.sum(cover * solid_angle)) / focal**2
    assert area == pytest.approx(2.0 * np.pi * (1.0 - np.cos(np.radians(DOT_DEG))), rel=0.06)
    screen.press("i")
    return off_deg(
        rotation @ sphere.normalise(np.sum(sphere.normalise(rays) * (cover * solid_angle)[..., None], axis=(0, 1))), place
    )


def test_looking_around(screen: Screen) -> None:
    view = screen.page.locator("#view")

    def facing() -> FloatArray:
        return direction(float(view.get_attribute("data-lon")), float(view.get_attribute("data-lat")))

    screen.press("1")
    assert off_deg(facing(), sphere.direction_from_lonlat(*np.radians([0.0, 0.0]))) > 0.1
    (head,) = screen.marks("head")
    assert off_deg(facing(), head) < 0.01
    screen.press("2")
    consensus = sphere.spherical_mean(screen.marks("point")).direction
    assert off_deg(facing(), consensus) < 0.01
    arc = off_deg(head, consensus)
    screen.press("1", "f")  # motion is not wanted: a quarter of the way at a press
    assert off_deg(facing(), head) == pytest.approx(arc / 4, abs=0.01)
    assert off_deg(facing(), consensus) == pytest.approx(arc * 3 / 4, abs=0.01)
    screen.page.locator("#arc").focus()
    screen.press("End")
    assert off_deg(facing(), consensus) < 0.01
    screen.press("Escape")
    screen.page.locator("#view").focus()
    before, fov = facing(), float(view.get_attribute("data-fov"))
    screen.press("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown")
    assert off_deg(facing(), before) < 0.5
    screen.press("+")
    assert float(view.get_attribute("data-fov")) == pytest.approx(fov / 1.2)
    # what a drag takes stays under the pointer, near a pole too
    for place in (direction(10.0, 5.0), direction(0.0, 80.0)):
        screen.look_at(place).press("i")
        rotation, focal, box = screen.camera
        middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
        start, end = middle + np.array([-60.0, 20.0]), middle + np.array([30.0, 75.0])
        held = rotation @ sphere.normalise([*(start + 0.5 - middle) / focal, 1.0])
        screen.drag(start, end)
        assert np.hypot(*(screen.in_view(held) - (end + 0.5))) < 0.05
        screen.press("i")


def test_a_click_in_the_overview_turns_the_view(screen: Screen) -> None:
    for place in (direction(100.0, 40.0), direction(-170.0, -60.0)):
        screen.look_at(place)
        lon, lat = (float(screen.page.locator("#view").get_attribute(f"data-{name}")) for name in ("lon", "lat"))
        assert off_deg(direction(lon, lat), place) < 0.4


def middle_of(screen: Screen, view: str, colour: tuple[int, int, int]) -> FloatArray:
    """Page pixel in the middle of what has a colour in a view; NaN if nothing has."""
    shown = cv2.imdecode(np.frombuffer(screen.page.locator(f"#{view}").screenshot(), np.uint8), cv2.IMREAD_COLOR_RGB)
    rows, columns = np.nonzero(np.abs(shown.astype(int) - colour).sum(axis=-1) < 40)
    box = screen.page.locator(f"#{view}").bounding_box()
    if not len(rows):
        return np.full(2, np.nan)
    extent = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]])
    return np.array([box["x"], box["y"]]) + extent.mean(axis=0)


def test_marks_are_drawn_where_they_are(screen: Screen) -> None:
    without_points(screen)
    place = direction(130.0, 60.0)
    screen.look_at(place).press("g").click("view", sphere.exp_map(place, np.radians([6.0, 4.0]))).press("Escape")
    for view in ("view", "overview"):  # the ring of the consensus is around the only point
        assert np.hypot(*(middle_of(screen, view, (255, 47, 160)) - screen.place_of(view, only_point(screen)))) < 0.75


def test_predictions_and_heat_maps_are_shown_and_hidden(data: Dataset, tmp_path: Path, show: Open) -> None:
    place, ids = direction(-60.0, 30.0), data.annotations["sample_id"].tolist()
    density = np.exp(50.0 * (sphere.cell_directions(128, 64) @ place - 1.0)).astype(np.float16)
    points = np.tile(np.degrees(sphere.lonlat_from_direction(place)), (len(ids), 1))
    model = Predicted("model", {name: row for row, name in enumerate(ids)}, points, np.stack([density] * len(ids)))
    orange = (255, 138, 31)
    with serving(data, tmp_path / "review.sqlite", annotator="zoe", predicted=[model]) as (url, _):
        screen = show(url)
        assert np.hypot(*(middle_of(screen, "overview", orange) - screen.in_overview(place))) < 0.75
        screen.press("p")
        assert np.isnan(middle_of(screen, "overview", orange)).all()
        where = np.floor(screen.in_overview(place)).astype(int)

        def seen() -> FloatArray:
            shown = cv2.imdecode(np.frombuffer(screen.page.screenshot(), np.uint8), cv2.IMREAD_COLOR_RGB)
            return shown[where[1], where[0]].astype(float)

        screen.press("i")
        plain = seen()
        screen.press("t").wait_for("heatmap-name", "model")
        screen.page.wait_for_load_state("networkidle")
        screen.settled()
        assert np.abs(seen() - plain).sum() > 60.0
        screen.press("t")
        assert np.abs(seen() - plain).sum() < 10.0
        screen.page.context.close()


# --- gaze points ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["overview", "view"])
def test_a_point_is_where_it_was_put(review: Any, screen: Screen, view: str) -> None:
    """Placed, saved and read back within 0.2 degrees: in front, across the seam, at the poles."""
    _, store = review
    for number, place in enumerate(PLACES.values(), start=1):
        without_points(screen)
        screen.look_at(place)
        if view == "overview":
            screen.magnify(place, 3.5)
        screen.press("g").click(view, place)
        assert off_deg(only_point(screen), place) < 0.2
        who = screen.text("person")
        screen.press("a").wait_for("position", f"{number + 1} / 16")
        entry = store.last(who)
        assert (entry.verdict, entry.label.gaze_annotators) == ("accepted", ("zoe",))
        assert off_deg(direction(*entry.label.gaze_points_deg[0]), place) < 0.2
    screen.press("k").wait_for("position", f"{number} / 16").reload()
    assert screen.text("saved-state") == "Saved, revision 1"
    assert off_deg(only_point(screen), direction(*entry.label.gaze_points_deg[0])) < 1e-5


@pytest.mark.parametrize("view", ["overview", "view"])
def test_points_are_moved_and_deleted(screen: Screen, view: str) -> None:
    without_points(screen)
    for start, end in (("front", "seam"), ("seam", "beyond the seam"), ("zenith", "front"), ("front", "nadir")):
        near = view == "overview" or start == "seam"
        begin, finish = PLACES[start], PLACES[end] if near else sphere.slerp(PLACES[start], PLACES[end], np.asarray(0.15))
        screen.look_at(sphere.slerp(begin, finish, np.asarray(0.5)))
        screen.press("g").click(view, begin)
        moved = only_point(screen)
        screen.press("Escape").drag(screen.place_of(view, moved) - 0.5, screen.place_of(view, finish) - 0.5)
        assert off_deg(only_point(screen), finish) < 0.02
        screen.press("z")
        assert off_deg(only_point(screen), moved) < 1e-6
        screen.press("y")
        assert off_deg(only_point(screen), finish) < 0.02
        screen.press("q", "Delete")
        assert len(screen.marks("point")) == 0


def test_a_point_is_dragged_out_at_the_seam_and_in_on_the_other_side(screen: Screen) -> None:
    without_points(screen)
    begin = direction(174.0, 20.0)
    screen.press("g").click("overview", begin)
    start = screen.in_overview(only_point(screen))
    screen.drag(start, start + np.array([30.0, 0.0]))  # 14 degrees
    assert off_deg(only_point(screen), direction(174.0 + 360.0 * 30.0 / 768.0, 20.0)) < 0.4


def test_points_by_keyboard_alone(screen: Screen) -> None:
    without_points(screen)
    screen.page.locator("#view").focus()
    screen.press("ArrowLeft", "ArrowUp", "g", "Enter")
    placed = only_point(screen)
    rotation, _, _ = screen.camera
    assert off_deg(placed, rotation[:, 2]) < 1e-5
    screen.press("Shift+ArrowRight")
    assert off_deg(only_point(screen), placed) == pytest.approx(0.25, abs=1e-4)
    screen.press("Shift+ArrowLeft")
    assert off_deg(only_point(screen), placed) < 1e-4
    screen.press("Delete")
    assert len(screen.marks("point")) == 0


# --- head boxes -------------------------------------------------------------------------------------------------------------


def save_box(screen: Screen, store: Any) -> tuple[float, ...]:
    screen.press("w").wait_for("status", "Saved")
    return tuple(saved(store, screen).label.head_box)


def test_a_head_box_is_moved_across_the_seam(review: Any, screen: Screen) -> None:
    _, store = review
    screen.look_at(direction(171.0, 3.0)).press("h")
    screen.page.locator("#view").focus()
    screen.press("Enter")  # brings it there
    (head,) = screen.marks("head")
    radius = float(np.degrees(headbox.radius(save_box(screen, store))))
    grip = screen.in_overview(head)
    screen.drag(grip, grip + np.array([20.0, 0.0]))  # 9.4 degrees
    box = save_box(screen, store)
    assert box[2] > 1.0 > box[0]  # u1 > 1: across the seam
    assert off_deg(headbox.centre(box), sphere.exp_map(head, np.radians([9.375, 0.0]))) < 0.1
    assert float(np.degrees(headbox.radius(box))) == pytest.approx(radius, rel=0.02)
    screen.press("z").wait_for("saved-state", "Not saved")
    assert off_deg(screen.marks("head")[0], head) < 1e-4


def test_a_head_box_is_drawn_across_the_seam_and_resized(review: Any, screen: Screen) -> None:
    _, store = review
    screen.look_at(direction(180.0, 0.0))
    corners = [direction(177.0, 4.0), direction(-176.0, -4.0)]
    screen.press("h").drag(*(screen.in_view(corner) - 0.5 for corner in corners))
    box = save_box(screen, store)
    assert box[2] > 1.0
    limits = [360.0 * (box[0] - 0.5), 360.0 * (box[2] - 0.5), 180.0 * (0.5 - box[1]), 180.0 * (0.5 - box[3])]
    assert limits == pytest.approx([177.0, 184.0, 4.0, -4.0], abs=0.1)
    corner, target = direction(-176.0, -4.0), direction(-172.0, -9.0)
    screen.drag(screen.in_view(corner) - 0.5, screen.in_view(target) - 0.5)
    box = save_box(screen, store)
    assert np.degrees(sphere.TWO_PI * (box[2] - 0.5)) == pytest.approx(188.0, abs=0.15)
    assert np.degrees(np.pi * (0.5 - box[3])) == pytest.approx(-9.0, abs=0.15)
    assert np.degrees(sphere.TWO_PI * (box[0] - 0.5)) == pytest.approx(177.0, abs=0.1)


def test_a_head_box_around_a_pole(review: Any, screen: Screen) -> None:
    _, store = review
    screen.look_at(direction(20.0, 89.0))
    pole = screen.in_view(direction(0.0, 90.0))
    screen.press("h").drag(pole - 40.0, pole + 40.0)
    box = save_box(screen, store)
    assert (box[0], box[1], box[2]) == (0.0, 0.0, 1.0)
    _, focal, _ = screen.camera
    farthest = 90.0 - np.degrees(np.arctan(40.0 * np.sqrt(2.0) / focal))
    assert np.degrees(np.pi * (0.5 - box[3])) == pytest.approx(farthest, abs=1.0)


def test_a_deleted_head_box_cannot_be_accepted(review: Any, screen: Screen) -> None:
    _, store = review
    for _ in range(len(screen.marks("point")) + 1):
        screen.press("q")
    screen.press("Delete")
    assert len(screen.marks("head")) == 0
    screen.press("a").wait_for("status", "Not saved")
    assert store.decided() == []
    screen.press("r").wait_for("status", "rejected")
    (entry,) = store.decided()
    assert (entry.verdict, entry.label.head_box) == ("rejected", None)
    refused(screen, 400)


# --- saving -----------------------------------------------------------------------------------------------------------------


def test_marks_comment_undo_redo_save_reload(review: Any, screen: Screen) -> None:
    _, store = review
    before = screen.marks("point")
    assert screen.text("saved-state") == "As in the dataset"
    screen.press("o", "m", "b", "c")
    screen.page.keyboard.type("a lamp, or the door")
    screen.press("Escape", "g").click("overview", direction(60.0, -30.0))
    assert len(screen.marks("point")) == len(before) + 1
    assert screen.text("saved-state").startswith("Not saved yet")
    assert store.decided() == []
    screen.reload()  # nothing was saved: the draft is back, and its steps too
    assert screen.text("status").startswith("Your edit that was not saved is back")
    assert len(screen.marks("point")) == len(before) + 1
    screen.press("w").wait_for("status", "Saved")
    entry = saved(store, screen)
    label = entry.label
    assert (label.in_frame, label.ambiguous, label.bad_image) == (False, True, True)
    assert label.comment == "a lamp, or the door"
    assert label.gaze_annotators[-1] == "zoe"
    assert entry.verdict is None
    assert entry.seconds > 0.0
    screen.reload()
    assert screen.text("saved-state") == "Saved, revision 1"
    screen.press("z", "z")
    assert len(screen.marks("point")) == len(before)
    assert screen.page.locator("#comment").input_value() == ""
    screen.press("y")
    assert screen.page.locator("#comment").input_value() == "a lamp, or the door"
    screen.press("z", "z", "z", "z")
    assert not screen.page.locator("button[data-command=ambiguous][aria-pressed=true]").count()
    screen.press("w").wait_for("status", "(revision 2)")
    assert saved(store, screen).label.ambiguous is False


def test_a_queue_by_keyboard_alone(review: Any, screen: Screen) -> None:
    _, store = review
    for number in range(1, 17):
        screen.wait_for("position", f"{number} / 16")
        screen.page.keyboard.press("rs"[number % 2] if number in (3, 6) else "a")
    screen.wait_for("status", "That was the last of this queue.")
    verdicts = [entry.verdict for entry in store.decided()]
    assert len(verdicts) == 16
    assert (verdicts.count("rejected"), verdicts.count("skipped")) == (1, 1)
    screen.wait_for("progress-words", "15 of 16 decided")
    assert all(entry.label == store.history(entry.sample_id)[0].label and not entry.edited for entry in store.decided())


def test_queues_are_chosen_on_the_page(screen: Screen) -> None:
    screen.press("l")
    screen.page.get_by_label("Whom").select_option("condition")
    screen.page.get_by_label("Which").select_option("latitude/lat+60")
    screen.page.get_by_role("button", name="Start").click()
    screen.wait_for("position", "1 / 4").wait_for("queue-name", "lat+60")
    screen.press("l")
    screen.page.get_by_label("Whom").select_option("filter")
    screen.page.get_by_label("Value").fill("suite=mixed; split=test")
    screen.page.get_by_role("button", name="Start").click()
    screen.wait_for("status", "could not be had")
    refused(screen, 400)
    screen.press("l")
    screen.page.get_by_label("Whom").select_option("random")
    screen.page.get_by_label("Value").fill("7")
    screen.page.get_by_role("button", name="Start").click()
    screen.wait_for("queue-name", "7").wait_for("position", "/ 16")
    screen.press("l")
    screen.page.locator("#queue-items button").nth(4).click()
    screen.wait_for("position", "5 / 16")
    who = screen.text("person")
    screen.reload()  # the address knows queue and person
    assert (screen.text("position"), screen.text("person")) == ("5 / 16", who)


def test_a_conflict_is_shown_and_nothing_is_lost(review: Any, show: Open) -> None:
    url, store = review
    zoe, yan = show(url), show(url, "?as=yan")
    assert (zoe.text("reviewer"), yan.text("reviewer")) == ("zoe", "yan")
    who = zoe.text("person")
    zoe.press("g").click("overview", direction(50.0, 10.0))
    yan.press("g").click("overview", direction(-50.0, -10.0))
    zoe.press("w").wait_for("status", "(revision 1)")
    yan.press("w").wait_for("conflict-title", "Two edits")
    assert "zoe saved this person" in yan.text("conflict-who")
    assert yan.page.locator("#conflict-dialog .different").count() >= 2
    yan.page.get_by_role("button", name="Decide later").click()
    yan.wait_for("status", "kept in this browser")
    yan.reload()
    yan.wait_for("status", "somebody saved meanwhile")
    yan.press("w").wait_for("conflict-title", "Two edits")
    yan.page.get_by_role("button", name="Take theirs").click()
    yan.wait_for("saved-state", "Saved, revision 1")
    assert len(yan.marks("point")) == len(zoe.marks("point"))
    assert off_deg(yan.marks("point")[-1], zoe.marks("point")[-1]) < 1e-5
    yan.press("z")  # one's own is not lost
    assert off_deg(yan.marks("point")[-1], direction(-50.0, -10.0)) < 0.4
    yan.press("y")
    # the other way round: mine on top
    yan.press("m")
    zoe.press("b")
    yan.press("w").wait_for("status", "(revision 2)")
    zoe.press("a").wait_for("conflict-title", "Two edits")
    zoe.page.get_by_role("button", name="Save mine on top").click()
    zoe.wait_for("status", "accepted (revision 3)")
    assert (store.last(who).reviewer, store.last(who).label.ambiguous, store.last(who).label.bad_image) == ("zoe", False, True)
    aside = [entry for entry in store.history(who) if entry.set_aside]
    assert {entry.reviewer for entry in aside} == {"zoe", "yan"}
    zoe.press("k").wait_for("position", "1 / 16").press("e")
    zoe.wait_for("history-entries", "Set aside")
    zoe.page.locator("#history-entries li", has_text="by yan").first.get_by_role("button", name="Use this label").click()
    zoe.wait_for("status", "not saved yet")
    refused(zoe, 409)
    refused(yan, 409)


def test_a_server_that_is_killed_loses_nothing_it_acknowledged(data: Dataset, tmp_path: Path, browser: Any) -> None:
    store = ("--store", str(tmp_path / "review.sqlite"), "--annotator", "zoe")
    context = browser.new_context(viewport=SIZE, reduced_motion="reduce")
    try:
        with running(data.root, *store) as server:
            screen = Screen.open(context, server.url)
            port = re.search(r":(\d+)/", server.url)[1]
            screen.press("g").click("overview", direction(20.0, 10.0))
            count = len(screen.marks("point"))
            screen.press("w").wait_for("status", "(revision 1)")
            screen.press("m", "g").click("overview", direction(-20.0, -10.0))
            who = screen.text("person")
            server.kill()
            screen.press("a").wait_for("status", "Not saved. The server does not answer. Your edit is kept in this browser.")
            assert screen.text("position") == "1 / 16"
        with running(data.root, *store, "--port", port) as server:
            screen.page.goto(server.url + screen.page.url[screen.page.url.index("#") :])
            screen.ready()
            assert screen.text("person") == who
            assert screen.text("status").startswith("Your edit that was not saved is back")
            assert len(screen.marks("point")) == count + 1
            status, told = server.ask(f"api/person/{who.replace('+', '%2B')}")
            assert (status, told["revision"], len(told["label"]["gaze_points_deg"])) == (200, 1, count)
            screen.press("w").wait_for("status", "accepted (revision 2)")
            _, told = server.ask(f"api/person/{who.replace('+', '%2B')}")
            assert (told["revision"], told["label"]["ambiguous"], told["verdict"]) == (2, True, "accepted")
    finally:
        context.close()


def lose_the_request(route: Any) -> None:
    if route.request.method == "PUT":
        route.abort()
    else:
        route.fallback()


def lose_the_answer(route: Any) -> None:
    if route.request.method == "PUT":
        route.fetch()
        route.abort()
    else:
        route.fallback()


def test_a_failed_save_is_tried_again_when_the_reviewer_says_so(data: Dataset, tmp_path: Path, browser: Any) -> None:
    with serving(data, tmp_path / "review.sqlite", annotator="zoe") as (url, store):
        context = browser.new_context(viewport=SIZE, reduced_motion="reduce")
        screen = Screen.open(context, url)
        screen.page.route("**/api/person/*", lose_the_request)
        screen.press("a").wait_for("status", "Not saved. The server does not answer.")
        assert store.decided() == []
        assert screen.text("saved-state").startswith("Not saved yet")
        screen.page.unroute_all()
        screen.page.get_by_role("button", name="Try again").click()
        screen.wait_for("status", "accepted (revision 1)").wait_for("position", "2 / 16")
        # an answer that is lost on the way is no conflict
        screen.page.route("**/api/person/*", lose_the_answer)
        screen.press("a").wait_for("status", "Not saved. The server does not answer.")
        assert len(store.decided()) == 2
        screen.page.unroute_all()
        screen.reload()
        assert screen.text("saved-state") == "Saved, revision 1"
        context.close()


# --- others' words ----------------------------------------------------------------------------------------------------------


def test_blind_reviewers_see_nothing_of_others(data: Dataset, tmp_path: Path, show: Open) -> None:
    with serving(data, tmp_path / "review.sqlite", annotator="zoe", blind=True) as (url, store):
        zoe = show(url)
        assert zoe.page.locator("#blind").is_visible()
        assert len(zoe.marks("point")) == 0
        assert not zoe.page.locator("#predictions-group").is_visible()
        zoe.press("g").click("overview", direction(30.0, 5.0))
        zoe.press("a").wait_for("status", "accepted")
        yan = show(url, "?as=yan")
        assert yan.text("position") == "1 / 16"
        assert len(yan.marks("point")) == 0
        assert "zoe" not in yan.page.locator("body").inner_text()
        zoe.press("k").wait_for("position", "1 / 16")
        assert off_deg(only_point(zoe), direction(30.0, 5.0)) < 0.4
        assert len(store.decided()) == 1
        yan.page.context.close()
        zoe.page.context.close()


def test_a_new_version_that_cannot_be_is_explained(screen: Screen) -> None:
    screen.press("x")
    screen.page.get_by_role("button", name="Write").click()
    screen.page.locator("#result-report", has_text=re.compile(r"\w+ \w+ .+\.$")).wait_for()
    assert "Version" not in screen.text("result-report")
    screen.press("Escape")
    assert not screen.page.locator("#result-dialog").is_visible()
    refused(screen, 400)


def test_the_reviewer_is_asked_for_a_name(data: Dataset, tmp_path: Path, browser: Any) -> None:
    with serving(data, tmp_path / "review.sqlite") as (url, store):
        page = browser.new_context(viewport=SIZE).new_page()
        page.goto(url)
        page.get_by_label("Name").fill("Žofie Ž")
        page.get_by_role("button", name="Go on").click()
        page.wait_for_selector("#desk:not([hidden])", timeout=PATIENCE_MS)
        page.keyboard.press("s")
        page.locator("#status", has_text="skipped").wait_for(timeout=PATIENCE_MS)
        assert [entry.reviewer for entry in store.decided()] == ["Žofie Ž"]
        page.context.close()


# --- the page itself --------------------------------------------------------------------------------------------------------


def test_without_webgl_the_overview_does_all(play: Any, review: Any) -> None:
    url, store = review
    browser = play.chromium.launch(executable_path=CHROMIUM, args=NO_WEBGL)
    screen = Screen.open(browser.new_context(viewport=SIZE), url)
    assert "no WebGL" in screen.text("no-view")
    screen.press("g").click("overview", direction(20.0, 10.0))
    screen.press("a").wait_for("status", "accepted")
    (entry,) = store.decided()
    assert off_deg(direction(*entry.label.gaze_points_deg[-1]), direction(20.0, 10.0)) < 0.4
    assert [words for words in screen.heard if "WebGL" not in words] == []
    browser.close()


def test_the_renderer_is_pannellums_own() -> None:
    digest = hashlib.sha256((PAGE / "vendor" / "libpannellum.js").read_bytes()).hexdigest()
    assert digest == "95def48f960c7e9c5778c0a80f51ed82cc217f70ad5caacc8c787a2f1daa50ad"
    assert "Matthew Petroff" in (PAGE / "vendor" / "COPYING").read_text()


def test_the_page_keeps_its_own_rules() -> None:
    """What the content security policy forbids is not even tried, nothing is set as HTML, and a file is one concept."""
    html = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|https?://", html)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html))
    for path in PAGE.glob("*.js"):
        text = path.read_text()
        assert text.startswith("/* "), f"{path.name}: a file opens with what it is"
        assert len(text.splitlines()) < 400, path.name
        assert not re.search(FORBIDDEN, text), path.name
    assert TOKEN not in html
