"""People drawn on pictures of the sphere: what is drawn lies where the labels are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Sample
from srgaze360.drawing import Pen, Plane, draw_people, save, show, style

WIDTH = 800
PEN = Pen(line=1.5, halo=1.0, square=8.0, ring=9.0, dot=0.0)


def person(head: tuple[float, float], gaze: tuple[float, float] | None, radius: float = 3.0) -> Sample:
    """A person with head and gaze at (longitude, latitude), degrees; the head box is that of a small upright square."""
    directions = [sphere.direction_from_lonlat(*np.radians(place)) for place in (head, gaze) if place is not None]
    u, v = head[0] / 360.0 + 0.5, 0.5 - head[1] / 180.0
    half = radius / 360.0
    u0 = (u - half / np.cos(np.radians(head[1]))) % 1.0
    return Sample(
        sample_id="s", panorama_path=Path("none"), head=directions[0],
        head_box=(u0, v - 2 * half, u0 + 2 * half / np.cos(np.radians(head[1])), v + 2 * half),
        head_radius=np.radians(radius), gaze=directions[1] if gaze else None, points=np.zeros((0, 3)), in_frame=True, row={},
    )  # fmt: skip


def drawn(out: Path, plane: Plane, people: list[Sample], pen: Pen = PEN) -> dict[str, np.ndarray]:
    """Draw on black at one pixel per pixel; pixels (n, 2), continuous, of each colour."""
    width, height = plane.camera.width, plane.camera.height
    with style(8.0):
        figure = Figure(figsize=(width / 100, height / 100))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        show(axes, np.zeros((height, width, 3), np.uint8))
        draw_people(axes, plane, people, pen)
        save(figure, out / "p.png", 100)
    red, green, blue = (channel.astype(int) for channel in cv2.split(cv2.imread(str(out / "p.png"))[..., ::-1].copy()))
    masks = {
        "head": (red > 150) & (green > 120) & (blue < 90),
        "arc": (red < 90) & (green > 130) & (blue > 160),
        "target": (red > 150) & (green < 90) & (blue > 90),
    }
    return {name: np.argwhere(mask)[:, ::-1] + 0.5 for name, mask in masks.items()}


@pytest.mark.parametrize(
    ("head", "gaze"), [((-40.0, 10.0), (35.0, -30.0)), ((170.0, 20.0), (-150.0, -10.0)), ((20.0, 70.0), (-150.0, 60.0))]
)
def test_heads_arcs_and_targets_are_drawn_where_they_are(
    tmp_path: Path, head: tuple[float, float], gaze: tuple[float, float]
) -> None:
    sample = person(head, gaze)
    assert sample.gaze is not None
    for pen in (PEN, Pen(1.5, 1.0, 8.0, 9.0, 0.0, box_from=1.0)):  # the head's box, and the square that stands for it
        found = drawn(tmp_path, Plane.panorama(WIDTH), [sample], pen)
        for name, direction in (("head", sample.head), ("target", sample.gaze)):
            middle = (found[name].min(axis=0) + found[name].max(axis=0)) / 2.0
            np.testing.assert_allclose(middle, sphere.pixel_from_direction(direction, WIDTH), atol=1.0)
        # every cyan pixel lies on the great circle, between the ends, however the panorama bends it and wherever the seam is
        normal = sphere.normalise(np.cross(sample.head, sample.gaze))
        directions = sphere.direction_from_pixel(found["arc"], WIDTH)
        assert np.degrees(np.arcsin(np.abs(directions @ normal))).max() < 2.0
        length = sphere.angle_between(sample.head, sample.gaze)
        assert (sphere.angle_between(directions, sample.head) < length + 0.02).all()
        # and it is not interrupted by more than the stroke of a mark
        steps = np.sort(np.degrees(sphere.angle_between(directions, sample.head)))
        assert np.diff(steps).max() < 3.0
        assert steps[-1] - steps[0] > 0.6 * np.degrees(length)


def test_an_arc_is_straight_in_a_pinhole_view(tmp_path: Path) -> None:
    sample = person((-20.0, 50.0), (25.0, 65.0))
    plane = Plane(Camera.from_fov("pinhole", 400, 400, np.radians(90.0)), sphere.rotation_from_pose(0.0, np.radians(60.0), 0.0))
    pixels = drawn(tmp_path, plane, [sample])["arc"]
    centred = pixels - pixels.mean(axis=0)
    _, spread, _ = np.linalg.svd(centred, full_matrices=False)
    assert spread[1] / np.sqrt(len(pixels)) < 1.0 < 10.0 < spread[0] / np.sqrt(len(pixels))


def test_people_without_a_known_target_have_a_head_only(tmp_path: Path) -> None:
    found = drawn(tmp_path, Plane.panorama(WIDTH), [person((0.0, 0.0), None)])
    assert len(found["head"])
    assert not len(found["arc"])
    assert not len(found["target"])
