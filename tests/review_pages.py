"""The review page in a browser: a server in a thread, a page that listens for complaints, and where directions are on it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvicorn
from reviewing import TOKEN, opened

from annotation.review.desk import Desk, Inputs
from annotation.review.guard import Guard
from annotation.review.server import Server, listen
from annotation.review.store import Store
from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.sphere import FloatArray

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# WebGL in software, and nothing else by way of it: drawing the page itself like that takes several times as long
WEBGL = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
         "--disable-gpu-compositing", "--disable-gpu-rasterization", "--disable-accelerated-2d-canvas"]  # fmt: skip
NO_WEBGL = ["--no-sandbox", "--disable-gpu", "--disable-3d-apis"]
SIZE = {"width": 1280, "height": 720}
PATIENCE_MS = 40_000  # other tests run beside


@contextmanager
def serving(data: Dataset, path: Path, **inputs: Any) -> Iterator[tuple[str, Store]]:
    """A review of ``data`` with its store at ``path``: the page's address, and the store."""
    store = opened(data, path)
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        app = Guard(Server(Desk(data, store, Inputs(**inputs))).app(), TOKEN)
        server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/{TOKEN}/", store
        finally:
            server.should_exit = True
            thread.join()
            store.close()


@dataclass
class Screen:
    """A page of the review. ``heard`` is what it says on the console, ``fetched`` what it asks for, anywhere."""

    page: Any
    heard: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, context: Any, url: str) -> Screen:
        screen = cls(context.new_page())
        screen.page.set_default_timeout(PATIENCE_MS)
        screen.page.on("console", lambda message: screen.hear(message.text))
        screen.page.on("pageerror", lambda error: screen.heard.append(str(error)))
        screen.page.on("request", lambda request: screen.fetched.append(request.url))
        screen.page.goto(url)
        return screen.ready()

    def hear(self, words: str) -> None:
        if "GL Driver Message" not in words:  # what software drawing says of its own speed
            self.heard.append(words)

    def ready(self) -> Screen:
        """Wait until a person is shown, with their picture."""
        self.page.wait_for_selector("#desk:not([hidden])")
        self.page.wait_for_function("document.querySelector('#view').dataset.lon !== undefined")
        self.page.wait_for_load_state("networkidle")
        return self.settled()

    def settled(self) -> Screen:
        """Wait until what was done is drawn."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self

    def press(self, *keys: str) -> Screen:
        """Press keys one after another, then wait until that is drawn."""
        for key in keys:
            self.page.keyboard.press(key)
        return self.settled()

    def reload(self) -> Screen:
        self.page.reload()
        return self.ready()

    def text(self, name: str) -> str:
        return str(self.page.locator(f"#{name}").inner_text())

    def wait_for(self, name: str, words: str) -> Screen:
        self.page.locator(f"#{name}", has_text=words).wait_for()
        return self.settled()

    # --- marks and directions

    def marks(self, kind: str) -> FloatArray:
        """Directions (n, 3) of the marks in the list: "point" or "head"."""
        rows = self.page.locator(f"#marks li[data-kind={kind}]").all()
        angles = [[float(row.get_attribute("data-lon")), float(row.get_attribute("data-lat"))] for row in rows]
        return sphere.direction_from_lonlat(*np.radians(np.reshape(angles, (-1, 2))).T)

    @property
    def camera(self) -> tuple[FloatArray, float, dict[str, float]]:
        """world_from_camera, focal length in pixels, and the box of the view."""
        box = self.page.locator("#view").bounding_box()
        lon, lat, fov = (
            np.radians(float(self.page.locator("#view").get_attribute(f"data-{name}"))) for name in ("lon", "lat", "fov")
        )
        return sphere.rotation_from_pose(lon, lat, 0.0), float(box["width"] / 2 / np.tan(fov / 2)), box

    def in_view(self, direction: FloatArray) -> FloatArray:
        """Where the view shows a direction, page pixels, by the gnomonic projection."""
        rotation, focal, box = self.camera
        x, y, z = rotation.T @ direction
        assert z > 0, "behind the view"
        return np.array([box["x"] + box["width"] / 2 + focal * x / z, box["y"] + box["height"] / 2 + focal * y / z])

    def in_overview(self, direction: FloatArray) -> FloatArray:
        """Where the overview shows a direction, page pixels."""
        overview = self.page.locator("#overview")
        box = overview.bounding_box()
        zoom, u, v = (float(overview.get_attribute(f"data-{name}")) for name in ("zoom", "u", "v"))
        lon, lat = sphere.lonlat_from_direction(direction)
        du = (lon / sphere.TWO_PI + 0.5 - u + 0.5) % 1.0 - 0.5
        dv = 0.5 - lat / np.pi - v
        return np.array([box["x"] + box["width"] * (0.5 + zoom * du), box["y"] + box["height"] * (0.5 + zoom * dv)])

    def place_of(self, view: str, direction: FloatArray) -> FloatArray:
        return self.in_view(direction) if view == "view" else self.in_overview(direction)

    def look_at(self, direction: FloatArray) -> Screen:
        """Look there by a click in the overview, to the pixel."""
        self.press("Escape")
        self.page.mouse.click(*np.floor(self.in_overview(direction)))
        return self.settled()

    def magnify(self, direction: FloatArray, times: float) -> Screen:
        """Turn the wheel at a direction of the overview until it is that much larger, then drag the direction to the middle."""
        self.page.mouse.move(*np.floor(self.in_overview(direction)))
        while float(self.page.locator("#overview").get_attribute("data-zoom")) < times:
            self.page.mouse.wheel(0, -100)
            self.page.wait_for_timeout(50)
            self.settled()
        self.page.wait_for_timeout(200)  # a wheel may go on turning
        box = self.page.locator("#overview").bounding_box()
        middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
        self.press("i").drag(middle, middle + np.sign(middle - self.in_overview(direction)) * 150.0).press("i")
        return self.settled()

    def click(self, view: str, direction: FloatArray) -> Screen:
        """Click on the pixel that shows a direction: whole pixels, as mice have them."""
        self.page.mouse.click(*np.floor(self.place_of(view, direction)))
        return self.settled()

    def drag(self, start: FloatArray, end: FloatArray) -> Screen:
        """Drag between page pixels."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*(start + (end - start) / 2))
        self.page.mouse.move(*end)
        self.page.mouse.up()
        return self.settled()

    def pixels(self) -> np.ndarray:
        """What the view shows, RGB."""
        return cv2.imdecode(np.frombuffer(self.page.locator("#view").screenshot(), np.uint8), cv2.IMREAD_COLOR_RGB)


def direction(lon_deg: float, lat_deg: float) -> FloatArray:
    return sphere.direction_from_lonlat(np.radians(lon_deg), np.radians(lat_deg))


def off_deg(a: FloatArray, b: FloatArray) -> float:
    return float(np.degrees(sphere.angle_between(a, b)))
