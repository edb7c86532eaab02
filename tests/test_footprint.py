"""Footprints of photos on the sphere, against brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from projections import LENSES, PINHOLE, POSES, RAD, scipy_rotation

from srgaze360 import footprint, sphere
from srgaze360.cameras import Camera
from srgaze360.reproject import photo_to_sphere


@pytest.mark.parametrize("name", sorted(LENSES))
def test_mask_is_the_footprint(name):
    """Nothing missed and nothing too much, for poses that include the poles and the seam."""
    camera, width = LENSES[name], 256
    rng = np.random.default_rng(len(name))
    cells = sphere.cell_directions(width, width // 2)
    photo = np.full((camera.height, camera.width), 7, np.uint8)
    poses = [*POSES, *np.stack([rng.uniform(-180, 180, 12), rng.uniform(-90, 90, 12), rng.uniform(-180, 180, 12)], axis=-1)]
    for pose in poses:
        rotation = scipy_rotation(pose)
        panorama, mask = photo_to_sphere(photo, camera, rotation, width, antialias=False)
        projection = camera.project(cells @ rotation)
        truth = camera.contains(projection.pixels)
        x, y = np.moveaxis(projection.pixels, -1, 0)
        edge = np.minimum.reduce([x, camera.width - x, y, camera.height - y])
        disputed = (mask == 255) != truth
        assert (np.abs(edge[disputed]) < 1e-3).all(), "float32 and float64 may differ on the very edge only"
        np.testing.assert_array_equal(panorama, np.where(mask == 255, 7, 0))


def test_the_box_is_tight():
    cells = sphere.cell_directions(1024, 512)
    for pose in POSES:
        box = footprint.Footprint(PINHOLE, scipy_rotation(pose), 1024, 512).box
        truth = PINHOLE.contains(PINHOLE.project(cells @ scipy_rotation(pose)).pixels)
        rows = np.flatnonzero(truth.any(axis=1))
        assert box.y0 <= rows[0]
        assert box.y0 + box.height > rows[-1]
        assert box.height <= rows[-1] - rows[0] + 1 + 12
        if abs(pose[1]) < 45:
            assert box.width <= truth.any(axis=0).sum() + 12
        else:
            assert (box.x0, box.width) == (0, 1024)


@pytest.mark.parametrize("x_centre", [-400.0, 1100.0])
def test_a_crop_that_does_not_contain_its_axis(x_centre):
    camera = replace(PINHOLE, cx=x_centre)
    rotation = scipy_rotation((100, 40, 10))
    _, mask = photo_to_sphere(np.ones((480, 640), np.uint8), camera, rotation, 512, antialias=False)
    truth = camera.contains(camera.project(sphere.cell_directions(512, 256) @ rotation).pixels)
    np.testing.assert_array_equal(mask == 255, truth)


def test_a_lens_that_reaches_nothing_of_its_image_gives_an_empty_panorama():
    camera = Camera("orthographic", 100, 100, 40.0, 40.0, -50.0, 50.0)
    panorama, mask = photo_to_sphere(np.ones((100, 100), np.uint8), camera, np.eye(3), 128)
    assert not mask.any()
    assert not panorama.any()


# what is painted, against forward models written out: angle from the axis at which the lens folds, and its radius
FOLDS = {
    "brown-conrady": ((-0.3,), np.arctan(1 / np.sqrt(0.9)), lambda t: np.tan(t) * (1 - 0.3 * np.tan(t) ** 2)),
    "kannala-brandt": ((-0.2,), 1 / np.sqrt(0.6), lambda t: t * (1 - 0.2 * t**2)),
    "ucm": ((1.7,), np.arccos(-1 / 1.7), lambda t: np.sin(t) / (np.cos(t) + 1.7)),
}


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("pose", [(20, 10, 5), (180, 60, 90)])
@pytest.mark.parametrize("lens", FOLDS)
def test_nothing_is_painted_from_beyond_the_fold(lens, pose, antialias):
    params, fold, radius = FOLDS[lens]
    focal = 0.9 * 320 / radius(fold)  # the image reaches beyond the fold all around
    camera, rotation = Camera(lens, 640, 480, focal, focal, 320.0, 240.0, params), scipy_rotation(pose)
    panorama, mask = photo_to_sphere(np.full((480, 640), 255, np.uint8), camera, rotation, 1024, antialias=antialias)
    x, y, z = np.moveaxis(sphere.cell_directions(1024, 512) @ rotation, -1, 0)
    theta, azimuth = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    with np.errstate(all="ignore"):
        r = focal * radius(theta)
    inside = (np.abs(r * np.cos(azimuth)) <= 320) & (np.abs(r * np.sin(azimuth)) <= 240)
    painted = (panorama > 0) | (mask > 0)
    pixel = 1.5 * np.pi / 512 if antialias else 1e-5  # an averaged pixel may reach over the fold with its corner
    assert (theta[painted] <= fold + pixel).all()
    if not antialias:
        clear = np.abs(theta - fold) > 1e-5
        edge = np.minimum(np.abs(320 - np.abs(r * np.cos(azimuth))), np.abs(240 - np.abs(r * np.sin(azimuth))))
        clear &= ~(edge < 1e-3)
        np.testing.assert_array_equal(painted[clear], (inside & (theta < fold))[clear])
        ghosts = inside & (theta > fold)
        if lens == "brown-conrady":
            ghosts &= z > 0
        assert ghosts.sum() > 0.1 * painted.sum(), "without the check there would be plenty to paint"


@pytest.mark.parametrize(
    ("pose", "poles"),
    [
        ((0, 0, 0), (False, False)),
        ((40, 70, 10), (True, False)),
        ((0, 50, 0), (False, False)),  # its upper edge ends at 50 + 36.9 degrees
        ((0, 54, 0), (True, False)),
        ((-170, -90, 0), (False, True)),
    ],
)
def test_poles_in_a_photo(pose, poles):
    assert footprint.contains_pole(PINHOLE, scipy_rotation(pose)) == poles


def test_poles_in_wide_images():
    assert footprint.contains_pole(Camera.from_fov("equidistant", 600, 600, RAD(200)), np.eye(3)) == (True, True)
    assert footprint.contains_pole(Camera.equirectangular(512), scipy_rotation((30, 20, 10))) == (True, True)
    assert footprint.contains_pole(LENSES["folding"], scipy_rotation((0, 43, 0))) == (False, False)


@pytest.mark.parametrize("x0", [0, 5, 90, 99])
def test_a_box_indexes_a_panorama_across_the_seam(x0):
    panorama = np.zeros((50, 100), int)
    for at in footprint.Box(x0, 3, 20, 7).slices(100):
        panorama[at] += 1
    expected = np.zeros((50, 100), int)
    expected[3:10, (x0 + np.arange(20)) % 100] = 1
    np.testing.assert_array_equal(panorama, expected)
