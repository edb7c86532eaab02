"""Head crops: what each pixel shows, at the seam and the poles too, and crops cut from crops."""

from __future__ import annotations

import numpy as np
import pytest
from sphere_pictures import PLACES, decoded, encoded, rays

from baselines.data.crops import (
    LARGEST_REACH,
    head_crop,
    homography,
    inner,
    intrinsics,
    reach_of,
    recrop,
    resized,
    view_rotation,
    wide_reach,
    wide_size,
)
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.reproject import sphere_to_view


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


HEADS = pytest.mark.parametrize("head", PLACES.values(), ids=PLACES.keys())


@HEADS
@pytest.mark.parametrize(("reach", "roll"), [(0.1, 0.0), (0.5, 0.7), (LARGEST_REACH, -2.0)])
def test_every_pixel_shows_its_ray(head: np.ndarray, reach: float, roll: float) -> None:
    crop = head_crop(encoded(256, np.float32), head, reach, 33, roll)
    assert crop.shape == (33, 33, 3)
    assert sphere.angle_between(decoded(crop), rays(head, reach, 33, roll)).max() < 5e-4


def test_north_is_up_and_east_is_right() -> None:
    head = sphere.direction_from_lonlat(1.0, 0.5)
    lon, lat = sphere.lonlat_from_direction(decoded(head_crop(encoded(256, np.float32), head, 0.2, 65)))
    assert lat[0, 32] == pytest.approx(0.5 + np.arctan(np.tan(0.2) * 64 / 65), abs=1e-3)
    assert lon[32, 32] == pytest.approx(1.0, abs=1e-3)
    assert lon[32, 64] > 1.1 > 0.9 > lon[32, 0]


def test_a_camera_turned_clockwise_by_a_quarter_has_east_at_its_top() -> None:
    head = sphere.direction_from_lonlat(1.0, 0.5)
    top = decoded(head_crop(encoded(256, np.float32), head, 0.2, 65, np.pi / 2.0))[0, 32]
    east, north = sphere.log_map(head, top)
    assert east == pytest.approx(np.arctan(np.tan(0.2) * 64 / 65), abs=1e-3)
    assert abs(north) < 1e-3


@HEADS
def test_agrees_with_the_ground_floor(head: np.ndarray, rng: np.random.Generator) -> None:
    panorama = rng.integers(0, 255, (128, 256, 3), dtype=np.uint8)
    focal = 40 / (2.0 * np.tan(0.3))
    view = sphere_to_view(panorama, Camera("pinhole", 40, 40, focal, focal, 20.0, 20.0), view_rotation(head, 0.3))
    assert np.abs(view.astype(int) - head_crop(panorama, head, 0.3, 40, 0.3)).max() <= 1


def test_what_shrinks_is_averaged() -> None:
    checkers = np.indices((512, 1024)).sum(axis=0) % 2 * 255
    crop = head_crop(np.repeat(checkers[..., None], 3, axis=2).astype(np.uint8), PLACES["ahead"], 0.8, 16)
    assert np.abs(crop.astype(float) - 127.5).max() < 30.0


def test_the_reach_follows_the_head_up_to_a_limit() -> None:
    assert reach_of([0.1, 2.0], 1.6) == pytest.approx([0.16, np.pi / 3.0])


@pytest.mark.parametrize("size", [16, 63, 64, 96, 100])
def test_the_stored_crop_has_room_for_any_roll_and_stays_clear_of_the_horizon(size: int) -> None:
    ratio = np.tan(wide_reach(LARGEST_REACH, size)) / np.tan(LARGEST_REACH)
    assert ratio == pytest.approx(wide_size(size) / size)
    assert ratio > np.sqrt(2.0)
    assert (wide_size(size) - size) % 2 == 0
    assert wide_reach(LARGEST_REACH, size) < np.radians(75.0)


@HEADS
def test_the_middle_of_a_stored_crop_is_the_plain_crop(head: np.ndarray, rng: np.random.Generator) -> None:
    panorama = rng.integers(0, 255, (128, 256, 3), dtype=np.uint8)
    stored = head_crop(panorama, head, float(wide_reach(0.3, 40)), wide_size(40))
    assert np.abs(inner(stored, 40).astype(int) - head_crop(panorama, head, 0.3, 40)).max() <= 1


@HEADS
def test_a_crop_of_a_crop_shows_its_rays(head: np.ndarray) -> None:
    stored = head_crop(encoded(512, np.float32), head, 0.6, 240)
    other = sphere.exp_map(head, np.array([0.1, -0.05]))
    matrix = homography(view_rotation(head), intrinsics(0.6, 240), view_rotation(other, 0.4), intrinsics(0.3, 50))
    crop = recrop(stored, matrix, 50)
    assert sphere.angle_between(decoded(crop), rays(other, 0.3, 50, 0.4)).max() < 2e-4


def test_a_mirrored_world_mirrors_the_crop() -> None:
    head = sphere.direction_from_lonlat(1.0, 0.5)
    mirror = np.diag([-1.0, 1.0, 1.0])
    stored = head_crop(encoded(256), head, 0.6, 60)
    same_place = homography(
        mirror @ view_rotation(head), intrinsics(0.6, 60), view_rotation(mirror @ head), intrinsics(0.6, 60)
    )
    np.testing.assert_array_equal(recrop(stored, same_place, 60), stored[:, ::-1])


def test_whole_pixels_are_cut_without_resampling(rng: np.random.Generator) -> None:
    stored = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
    view = view_rotation(PLACES["anywhere"])
    matrix = homography(view, intrinsics(wide_reach(0.2, 64), 96), view, intrinsics(0.2, 64))
    np.testing.assert_array_equal(recrop(stored, matrix, 64), inner(stored, 64))


def test_panoramas_shrink_to_the_mean_over_each_pixel(rng: np.random.Generator) -> None:
    panorama = rng.random((96, 192, 3)).astype(np.float32)
    expected = panorama.reshape(32, 3, 64, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resized(panorama, 32), expected, atol=1e-5)
    assert resized(panorama, 96) is panorama


def test_panoramas_grow_across_the_seam_and_over_the_poles() -> None:
    grown = decoded(resized(encoded(64, np.float32), 160))
    assert grown.shape == (160, 320, 3)
    assert sphere.angle_between(grown, sphere.cell_directions(320, 160)).max() < 2e-3
