"""Minification and folds, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from projections import LENSES, PINHOLE, RAD

from srgaze360 import maps
from srgaze360.cameras import Camera


@pytest.mark.parametrize(
    ("size", "fov", "width", "expected"),
    [
        ((640, 480), 90, 1024, 1.96),
        ((1920, 1080), 75, 2048, 3.84),
        ((1920, 1080), 75, 1024, 7.68),
        ((1920, 1080), 40, 2048, 8.09),
    ],
)
def test_minification_of_known_cameras(size, fov, width, expected):
    assert maps.minification(Camera.from_fov("pinhole", *size, RAD(fov)), width) == pytest.approx(expected, abs=0.01)


def test_minification_off_the_axis():
    centre = maps.minification(PINHOLE, 1024)
    assert maps.minification(PINHOLE, 1024, at=(640, 240)) == pytest.approx(centre * 2, rel=1e-4)  # 1 / cos^2(45 degrees)
    assert maps.worst_minification(PINHOLE, 1024) == pytest.approx(centre * (1 + 1 + 0.75**2), rel=1e-4)
    fisheye = Camera.from_fov("equidistant", 600, 600, RAD(180))
    across = maps.minification(fisheye, 1024, at=(600, 300)) / maps.minification(fisheye, 1024)
    assert across == pytest.approx(np.pi / 2, rel=1e-4)  # theta / sin(theta), around the axis
    assert np.isnan(maps.minification(LENSES["folding"], 1024, at=(0, 0)))
    assert np.isfinite(maps.worst_minification(LENSES["folding"], 1024))


def test_worst_minification_of_every_lens():
    for name, camera in LENSES.items():
        worst = maps.worst_minification(camera, 1024)
        assert np.isfinite(worst), name
        centre = maps.minification(camera, 1024)
        assert worst >= (centre if np.isfinite(centre) else 0.0) - 1e-9, name
    # a pincushion is densest in its corners, a barrel at its centre
    assert maps.worst_minification(LENSES["barrel"], 1024) < 2 * maps.minification(LENSES["barrel"], 1024)
    # the image circle ends inside of the image: pixels within it count, not the nine outermost points alone
    circle = LENSES["circle-in-image"]
    theta = 2 * np.arcsin(220 / 240)  # r = 2 f sin(theta / 2) with 2 f = 220 px: a point near the rim
    assert maps.worst_minification(circle, 1024) > 1.2 * maps.minification(circle, 1024), theta
    assert np.isnan(maps.worst_minification(Camera("orthographic", 100, 100, 40.0, 40.0, -50.0, 50.0), 512))


@pytest.mark.parametrize(("photo", "panorama"), [(2048, 2048), (4096, 1024), (512, 1024)])
def test_minification_of_a_panorama_is_the_ratio_of_the_widths(photo, panorama):
    camera = Camera.equirectangular(photo)
    assert maps.minification(camera, panorama) == pytest.approx(photo / panorama, rel=1e-6)
    assert maps.worst_minification(camera, panorama) == pytest.approx(photo / panorama, rel=1e-6)


# --- folds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lens", "focal", "params", "rim"),
    [
        ("orthographic", 200.0, (), 200.0),  # r = f sin(90 degrees)
        ("equidistant", 60.0, (), 60.0 * np.pi),
        ("equisolid", 110.0, (), 220.0),
        ("brown-conrady", 300.0, (-0.3,), 300.0 * (2 / 3) / np.sqrt(0.9)),  # t (1 - 0.3 t^2) at t = 1 / sqrt(0.9)
        ("kannala-brandt", 260.0, (-0.2,), 260.0 * (2 / 3) / np.sqrt(0.6)),
    ],
)
def test_share_of_pixels_beyond_the_rim_is_an_area(lens, focal, params, rim):
    camera = Camera(lens, 640, 480, focal, focal, 320.0, 240.0, params)
    assert rim < 240
    assert maps.fold_back(camera) == pytest.approx(1 - np.pi * rim**2 / (640 * 480), abs=0.002)


def test_a_folding_photo_of_the_peers_notes():
    """640 x 480 at 90 degrees with k1 = -0.25 alone: 61.8 % of the image can be inverted (measured with another library)."""
    camera = Camera("brown-conrady", 640, 480, 320.0, 320.0, 320.0, 240.0, (-0.25,))
    r = 320.0 * (2 / 3) / np.sqrt(0.75)
    half = 240.0
    angle = np.arccos(half / r)
    circle_within_height = np.pi * r**2 - 2 * (angle * r**2 - half * np.sqrt(r**2 - half**2))
    assert maps.fold_back(camera) == pytest.approx(1 - circle_within_height / (640 * 480), abs=0.003)
    assert maps.fold_back(camera) == pytest.approx(1 - 0.618, abs=0.02)


def test_images_without_folds():
    assert maps.fold_back(PINHOLE) == 0.0
    assert maps.fold_back(LENSES["barrel"]) == 0.0
    assert maps.fold_back(Camera.equirectangular(512)) == 0.0
    assert maps.fold_back(Camera("orthographic", 100, 100, 40.0, 40.0, -50.0, 50.0)) == 1.0
