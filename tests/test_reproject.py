"""Reprojection, against images that carry their own direction and a slow float64 reference."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from projections import LENSES, PINHOLE, POSES, RAD, degrees_off, noise, psnr, scipy_rotation

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.reproject import photo_to_sphere, rotate_sphere, sphere_to_view

# --- images that carry their own direction ----------------------------------------------------------------------------


@cache
def rays_of_pixels(camera):
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return camera.rays(np.stack([x, y], axis=-1))


def away_from_edges(camera, directions, margin=0.5):
    pixels = camera.project(directions).pixels
    with np.errstate(invalid="ignore"):
        return (
            (pixels[..., 0] >= margin)
            & (pixels[..., 0] <= camera.width - margin)
            & (pixels[..., 1] >= margin)
            & (pixels[..., 1] <= camera.height - margin)
        )


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("lens", ["pinhole", "barrel", "pincushion", "rational", "equidistant-220", "stereographic", "ucm"])
def test_photo_to_sphere_puts_every_pixel_where_it_looks(lens, pose):
    camera, rotation = LENSES[lens], scipy_rotation(pose)
    rays, valid = rays_of_pixels(camera)
    assert valid.all()
    panorama, mask = photo_to_sphere(rays.astype(np.float32), camera, rotation, 1024, antialias=False)
    looked = sphere.cell_directions(1024, 512) @ rotation  # the transpose, applied to rows
    inside = away_from_edges(camera, looked)
    assert (mask[inside] == 255).all()
    # neighbouring rays are up to 0.6 degrees apart in the wide lenses: bilinear interpolation of the sine itself errs by
    # the cube of that
    assert degrees_off(panorama, looked)[inside].max() <= 0.001


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("lens", ["pinhole", "barrel", "folding", "equidistant-220", "orthographic"])
def test_sphere_to_view_shows_what_is_there(lens, pose):
    camera, rotation = LENSES[lens], scipy_rotation(pose)
    panorama = sphere.cell_directions(2048, 1024).astype(np.float32)
    view = sphere_to_view(panorama, camera, rotation, antialias=False)
    rays, valid = rays_of_pixels(camera)
    assert view.shape == (camera.height, camera.width, 3)
    assert degrees_off(view, rays @ rotation.T)[valid].max() <= 0.001
    assert (view[~valid] == 0).all()


@pytest.mark.parametrize("pose", POSES[1:])
def test_rotate_sphere_turns_everything(pose):
    rotation = scipy_rotation(pose)
    directions = sphere.cell_directions(1024, 512)
    turned = rotate_sphere(directions.astype(np.float32), rotation)
    assert degrees_off(turned, directions @ rotation).max() <= 0.001


def test_a_dot_lands_where_the_convention_says():
    # absolute: no formula of the package on this side
    photo = np.zeros((480, 640), np.uint8)
    photo[238:242, 478:482] = 255  # a quarter of the width right of the centre: atan(160 / 320) = 26.565 degrees
    panorama, _ = photo_to_sphere(photo, PINHOLE, sphere.rotation_from_pose(RAD(45), 0, 0), 2048)
    y, x = np.argwhere(panorama > 60).mean(axis=0) + 0.5
    assert x == pytest.approx((45 + 26.565 + 180) / 360 * 2048, abs=0.2)
    assert y == pytest.approx(512, abs=0.2)
    up, _ = photo_to_sphere(photo, PINHOLE, sphere.rotation_from_pose(0, RAD(30), RAD(-90)), 2048)
    y, x = np.argwhere(up > 60).mean(axis=0) + 0.5  # rolled anticlockwise, right becomes up
    assert (x, y) == (pytest.approx(1024, abs=0.2), pytest.approx((90 - 30 - 26.565) / 180 * 1024, abs=0.2))


# --- the slow reference -----------------------------------------------------------------------------------------------


def bilinear(image, x, y, wrap=False):
    """Float64 bilinear interpolation at continuous coordinates, edges replicated or wrapped around the sphere."""
    height, width = image.shape[:2]
    i, j = np.floor(x - 0.5).astype(int), np.floor(y - 0.5).astype(int)
    fx, fy = (x - 0.5 - i)[..., None], (y - 0.5 - j)[..., None]

    def at(j, i):
        if wrap:
            over = (j < 0) | (j >= height)
            i = np.where(over, i + width // 2, i) % width
        return image[np.clip(j, 0, height - 1), np.clip(i, 0, width - 1)].astype(np.float64).reshape(*i.shape, -1)

    top = (1 - fx) * at(j, i) + fx * at(j, i + 1)
    bottom = (1 - fx) * at(j + 1, i) + fx * at(j + 1, i + 1)
    return (1 - fy) * top + fy * bottom


def reference_photo_to_sphere(image, focal, rotation, width):
    """Pinhole photo on the sphere, pixel by pixel in float64, formulas written out."""
    height = width // 2
    lon = (np.arange(width) + 0.5) / width * 2 * np.pi - np.pi
    lat = np.pi / 2 - (np.arange(height) + 0.5) / height * np.pi
    lon, lat = np.meshgrid(lon, lat)
    world = np.stack([np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)])
    x, y, z = np.tensordot(rotation.T, world, axes=1)
    front = z > 1e-9
    safe = np.where(front, z, 1.0)
    u, v = focal * x / safe + image.shape[1] / 2, focal * y / safe + image.shape[0] / 2
    inside = front & (u >= 0) & (u <= image.shape[1]) & (v >= 0) & (v <= image.shape[0])
    edge = np.minimum.reduce([u, image.shape[1] - u, v, image.shape[0] - v])
    out = bilinear(image, np.where(inside, u, 1.0), np.where(inside, v, 1.0))
    return np.where(inside[..., None], out, 0.0), inside, np.where(front, np.abs(edge), np.inf)


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.uint8, 0.7), (np.uint16, 60), (np.float32, 1e-3)])
def test_photo_to_sphere_is_the_reference(pose, dtype, tolerance):
    photo, rotation = noise(480, 640, dtype=dtype), scipy_rotation(pose)
    panorama, mask = photo_to_sphere(photo, PINHOLE, rotation, 512, antialias=False)
    expected, inside, edge = reference_photo_to_sphere(photo, 320.0, rotation, 512)
    clear = edge > 1e-3
    np.testing.assert_array_equal((mask == 255)[clear], inside[clear])
    np.testing.assert_array_equal(np.unique(mask), [0, 255])
    same = (mask == 255) == inside
    assert np.abs(panorama - expected)[same].max() <= tolerance
    assert (panorama[mask == 0] == 0).all()


@pytest.mark.parametrize("pose", POSES)
def test_sphere_to_view_is_the_reference(pose):
    panorama, rotation = noise(256, 512), scipy_rotation(pose)
    camera = Camera.from_fov("pinhole", 320, 240, RAD(80))
    view = sphere_to_view(panorama, camera, rotation, antialias=False)
    i, j = np.meshgrid(np.arange(320) + 0.5, np.arange(240) + 0.5)
    x, y, z = np.tensordot(rotation, np.stack([(i - 160) / camera.fx, (j - 120) / camera.fx, np.ones_like(i)]), axes=1)
    lon, lat = np.arctan2(x, z), np.arctan2(-y, np.hypot(x, z))
    expected = bilinear(panorama, (lon / (2 * np.pi) + 0.5) * 512, (0.5 - lat / np.pi) * 256, wrap=True)
    assert np.abs(view - expected).max() <= 0.7 if abs(pose[1]) < 80 else np.quantile(np.abs(view - expected), 0.999) <= 0.7


def test_edge_is_replicated_in_the_outer_half_pixel():
    photo = np.zeros((4, 4), np.float32)
    photo[:, -1] = 8.0
    camera = Camera.from_fov("pinhole", 4, 4, RAD(60))
    panorama, mask = photo_to_sphere(photo, camera, np.eye(3), 2048, antialias=False)
    x = camera.project(sphere.cell_directions(2048, 1024)[512]).pixels[:, 0]
    outer = (x > 3.5) & (x <= 4.0)
    assert outer.sum() > 20
    assert (panorama[512, outer] == 8.0).all()
    assert (mask[512, outer] == 255).all()
    assert (mask[512, (x > 4.001) | np.isnan(x)] == 0).all()


# --- seam, identity, whole-pixel turns --------------------------------------------------------------------------------


def test_the_seam_cannot_be_seen():
    panorama = noise(512, 1024)
    across = sphere_to_view(panorama, PINHOLE, sphere.rotation_from_pose(np.pi, 0.2, 0.1))
    ahead = sphere_to_view(np.roll(panorama, 512, axis=1), PINHOLE, sphere.rotation_from_pose(0.0, 0.2, 0.1))
    difference = np.abs(across.astype(int) - ahead)
    assert difference.max() <= 1  # float32 rounds longitudes of pi and of 0 differently: 1e-4 px of full-contrast noise
    assert (difference > 0).mean() < 0.02


def test_photo_across_the_seam_is_the_photo_ahead_rolled():
    photo = noise(480, 640)
    ahead, mask_ahead = photo_to_sphere(photo, PINHOLE, sphere.rotation_from_pose(0, 0.3, 0.2), 1024)
    across, mask_across = photo_to_sphere(photo, PINHOLE, sphere.rotation_from_pose(np.pi, 0.3, 0.2), 1024)
    np.testing.assert_array_equal(np.roll(mask_ahead, 512, axis=1), mask_across)
    assert np.abs(np.roll(ahead, 512, axis=1).astype(int) - across).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
def test_identity_rotation_returns_the_identical_image(dtype, channels):
    panorama = noise(64, 128, channels, dtype)
    turned = rotate_sphere(panorama, np.eye(3))
    np.testing.assert_array_equal(turned, panorama)
    assert turned.dtype == dtype
    assert not np.shares_memory(turned, panorama)


@pytest.mark.parametrize("columns", [1, 37, -5, 64, 128])
def test_yaw_by_whole_pixels_rolls(columns):
    panorama = noise(64, 128)
    rotation = sphere.rotation_from_pose(2 * np.pi * columns / 128, 0, 0)
    np.testing.assert_array_equal(rotate_sphere(panorama, rotation), np.roll(panorama, columns, axis=1))


def test_rotating_there_and_back_and_in_two_steps():
    x, y, z = np.moveaxis(sphere.cell_directions(512, 256), -1, 0)
    panorama = np.stack([np.sin(5 * x + y), np.cos(4 * y - 3 * z), x * z], axis=-1).astype(np.float32)  # smooth on the sphere
    first, second = sphere.rotation_from_pose(0.3, 0.2, 0.1), sphere.rotation_from_pose(-0.5, 0.1, 0.4)
    there_and_back = rotate_sphere(rotate_sphere(panorama, first), first.T)
    assert np.abs(there_and_back - panorama).max() < 1e-3
    steps = rotate_sphere(rotate_sphere(panorama, first), second)
    assert np.abs(steps - rotate_sphere(panorama, second @ first)).max() < 1e-3


def test_a_panorama_is_a_photo_too():
    panorama = noise(64, 128)
    rotation = sphere.rotation_from_pose(1.0, 0.4, 0.2)
    laid, mask = photo_to_sphere(panorama, Camera.equirectangular(128), rotation, 128, antialias=False)
    np.testing.assert_array_equal(laid, rotate_sphere(panorama, rotation))
    assert (mask == 255).all()


def test_view_of_a_photo_on_the_sphere_is_the_photo():
    photo = cv2.GaussianBlur(noise(240, 320), (0, 0), 3)
    camera = Camera.from_fov("brown-conrady", 320, 240, RAD(70), params=(-0.2, 0.03))
    rotation = sphere.rotation_from_pose(2.9, -0.6, 0.3)
    panorama, _ = photo_to_sphere(photo, camera, rotation, 2048)
    view = sphere_to_view(panorama, camera, rotation, antialias=False)
    assert psnr(view, photo, np.s_[4:-4, 4:-4]) > 40


# --- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((480, 640), np.float64), "must be uint8, uint16 or float32 .* found float64"),
        (np.zeros((480, 640, 3), np.int32), "found int32"),
        (np.zeros((480, 640), bool), "found bool"),
        (np.zeros((480, 640, 5), np.uint8), "1 to 4 channels"),
        (np.zeros((480, 640, 0), np.uint8), "H x W x C"),
        (np.zeros(480, np.uint8), "H x W x C"),
        ([[1, 2], [3, 4]], "found list"),
        (np.zeros((640, 480), np.uint8), "size of its camera, 640 x 480 pixels; found 480 x 640"),
    ],
)
def test_unusable_photos_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        photo_to_sphere(image, PINHOLE, np.eye(3), 256)


def test_what_remap_cannot_address_is_refused():
    long = np.zeros((2, 32_767), np.uint8)
    with pytest.raises(InputError, match="at most 32766 pixels along a side"):
        photo_to_sphere(long, Camera.from_fov("pinhole", 32_767, 2, 1.0), np.eye(3), 256)
    barely = np.zeros((2, 32_766), np.uint8)
    photo_to_sphere(barely, Camera.from_fov("pinhole", 32_766, 2, 1.0), np.eye(3), 256, antialias=False)
    with pytest.raises(InputError, match="at most 32764 pixels wide"):
        rotate_sphere(np.broadcast_to(np.uint8(0), (16_383, 32_766)), np.eye(3))


@pytest.mark.parametrize("function", [rotate_sphere, lambda image, r: sphere_to_view(image, PINHOLE, r)])
def test_a_panorama_must_be_two_to_one(function):
    with pytest.raises(InputError, match="twice as wide as high; found 100 x 60"):
        function(noise(60, 100), np.eye(3))


@pytest.mark.parametrize(
    "rotation", [np.eye(4), np.eye(3) * 2, np.diag([1.0, 1.0, -1.0]), np.full((3, 3), np.nan), "up", (0, 0, 0)]
)
def test_what_is_no_rotation_is_refused(rotation):
    with pytest.raises(InputError, match="3 x 3 matrix world_from_camera"):
        photo_to_sphere(noise(480, 640), PINHOLE, rotation, 256)


def test_the_width_of_a_panorama_is_even():
    with pytest.raises(InputError, match="odd width 255"):
        photo_to_sphere(noise(480, 640), PINHOLE, np.eye(3), 255)
