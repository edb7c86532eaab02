"""Reprojection, against images that carry their own direction, a slow float64 reference and brute-force footprints."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import py360convert
import pytest
from scipy.spatial.transform import Rotation

from srgaze360 import maps, reproject, sampler, sphere
from srgaze360.cameras import Camera
from srgaze360.errors import EnvironmentProblem, InputError
from srgaze360.reproject import composite, photo_to_patch, photo_to_sphere, rotate_sphere, sphere_to_view

RAD = np.radians

# yaw, pitch, roll in degrees: front, tilted, across the seam, zenith with roll, nadir
POSES = [(0, 0, 0), (30, 20, 0), (-77, -35, 140), (180, 0, 0), (176, 10, 25), (0, 90, 0), (50, 88, 33), (10, -90, 70)]
PINHOLE = Camera.from_fov("pinhole", 640, 480, RAD(90))
LENSES = {
    "pinhole": PINHOLE,
    "wide": Camera.from_fov("pinhole", 640, 640, RAD(150)),  # its mirror image behind the camera shares rows with it
    "off-centre": Camera("pinhole", 640, 480, 300.0, 330.0, 200.0, 300.0),
    "barrel": Camera.from_fov("brown-conrady", 640, 480, RAD(90), params=(-0.1, 0.01)),
    "pincushion": Camera.from_fov("brown-conrady", 640, 480, RAD(90), params=(0.2, 0.15)),
    "folding": Camera("brown-conrady", 640, 480, 380.0, 380.0, 320.0, 240.0, (-0.3,)),
    "folding-tangential": Camera("brown-conrady", 640, 480, 420.0, 420.0, 330.0, 235.0, (-0.25, 0.0, 0.003, -0.002)),
    "rational": Camera.from_fov("brown-conrady", 640, 480, RAD(90), params=(0.5, 0.1, 0.001, -0.002, 0.05, 0.6, 0.2, 0.01)),
    "kannala-brandt": Camera.from_fov("kannala-brandt", 640, 480, RAD(180), params=(-0.05, 0.01, -0.003, 0.0002)),
    "equidistant-220": Camera.from_fov("equidistant", 640, 480, RAD(220)),
    "equidistant-340": Camera.from_fov("equidistant", 480, 480, RAD(340)),
    "circle-in-image": Camera("equisolid", 640, 480, 110.0, 110.0, 320.0, 240.0),
    "stereographic": Camera.from_fov("stereographic", 640, 480, RAD(200)),
    "orthographic": Camera("orthographic", 640, 480, 200.0, 200.0, 300.0, 240.0),
    "ucm": Camera.from_fov("ucm", 640, 480, RAD(180), params=(0.9,)),
    "ucm-folding": Camera("ucm", 640, 480, 300.0, 300.0, 320.0, 240.0, (1.7,)),
}


def scipy_rotation(pose):
    return Rotation.from_euler("YXZ", pose, degrees=True).as_matrix()


def noise(height, width, channels=3, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    shape = (height, width, channels) if channels else (height, width)
    return rng.uniform(0, 1.0 if dtype == np.float32 else np.iinfo(dtype).max, shape).astype(dtype)


def texture(height, width, sharp, seed=3):
    """Noise of all sizes, as photographs have; ``sharp`` adds hard edges."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for octave in range(1, 8):
        size = (max(2, (width >> 7) << octave), max(2, (height >> 7) << octave))
        layer = rng.normal(size=(size[1], size[0], 3))
        image += cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) * 0.62**octave
    image = 128 + 40 * image / image.std()
    if sharp:
        for _ in range(400):
            x, y = rng.integers(0, width), rng.integers(0, height)
            w, h = rng.integers(2, width // 12, 2)
            image[y : y + h, x : x + w] = rng.uniform(0, 255, 3)
    return np.clip(image, 0, 255).astype(np.uint8)


def psnr(a, b, where):
    error = np.mean((a.astype(np.float64)[where] - b.astype(np.float64)[where]) ** 2)
    return 10 * np.log10(255**2 / error)


def degrees_off(a, b):
    return np.degrees(sphere.angle_between(a.astype(np.float64), b))


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


# --- footprints -------------------------------------------------------------------------------------------------------


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
        box = maps.Footprint(PINHOLE, scipy_rotation(pose), 1024, 512).box
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


# --- anti-aliasing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pitch", [0, 60, 85])
@pytest.mark.parametrize(("sharp", "decibels"), [(False, 40), (True, 38.5)])
def test_antialiased_photo_against_8_by_8_samples(sharp, decibels, pitch):
    camera = Camera.from_fov("pinhole", 960, 540, RAD(75))
    photo = texture(540, 960, sharp)
    rotation = scipy_rotation((20, pitch, 15))
    assert maps.minification(camera, 1024) == pytest.approx(3.84, abs=0.01)
    truth = np.zeros((512, 1024, 3), np.float32)
    full, covered = photo_to_sphere(photo, camera, rotation, 8192, antialias=False)
    for row in range(0, 512, 64):  # in strips, to save memory
        truth[row : row + 64] = full[8 * row : 8 * row + 512].reshape(64, 8, 1024, 8, 3).mean(axis=(1, 3), dtype=np.float32)
    inside = covered.reshape(512, 8, 1024, 8).min(axis=(1, 3)) == 255
    ours, mask = photo_to_sphere(photo, camera, rotation, 1024)
    assert (mask[inside] == 255).all()
    aliased, _ = photo_to_sphere(photo, camera, rotation, 1024, antialias=False)
    assert psnr(ours, truth, inside) >= decibels
    assert psnr(ours, truth, inside) > psnr(aliased, truth, inside) + 6


def test_coverage_is_the_share_of_the_pixel():
    camera = Camera.from_fov("pinhole", 960, 540, RAD(75))
    rotation = scipy_rotation((3, 4, 5))
    _, mask = photo_to_sphere(np.full((540, 960), 200, np.uint8), camera, rotation, 512)  # 4 x 4 samples
    panorama, _ = photo_to_sphere(np.full((540, 960), 200, np.uint8), camera, rotation, 512)
    _, fine = photo_to_sphere(np.full((540, 960), 1, np.uint8), camera, rotation, 8192, antialias=False)
    share = fine.reshape(256, 16, 512, 16).mean(axis=(1, 3)) / 255
    assert np.abs(mask / 255 - share).max() < 0.2
    assert abs(mask.mean() / 255 - share.mean()) < 1e-3 * share.mean()
    assert ((mask > 0) & (mask < 255)).sum() > 100
    np.testing.assert_allclose(panorama, 200 * (mask / 255), atol=1.01)  # premultiplied, and constant inside


def test_view_is_antialiased_when_it_shrinks_the_panorama():
    panorama = texture(1024, 2048, sharp=True)
    small = Camera.from_fov("pinhole", 128, 128, RAD(90))
    large = small.resized(1024, 1024)
    rotation = scipy_rotation((30, 10, 5))
    truth = sphere_to_view(panorama, large, rotation, antialias=False).reshape(128, 8, 128, 8, 3).mean(axis=(1, 3))
    everywhere = np.ones((128, 128), bool)
    ours = psnr(sphere_to_view(panorama, small, rotation), truth, everywhere)
    assert ours > 35
    assert ours > psnr(sphere_to_view(panorama, small, rotation, antialias=False), truth, everywhere) + 6


@pytest.mark.parametrize(("m", "k"), [(0.2, 1), (1.5, 1), (1.51, 2), (2, 2), (3.99, 2), (4, 2), (4.01, 3), (8, 4), (8.1, 5)])
def test_rule_of_supersampling(m, k):
    assert reproject.supersampling(m) == k


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


# --- patches and compositing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("antialias", [False, True])
def test_compositing_on_black_is_photo_to_sphere(pose, antialias):
    photo, rotation = noise(480, 640), scipy_rotation(pose)
    expected, _ = photo_to_sphere(photo, PINHOLE, rotation, 512, antialias=antialias)
    panorama = np.zeros((256, 512, 3), np.uint8)
    composite(panorama, photo_to_patch(photo, PINHOLE, rotation, 512, antialias=antialias))
    np.testing.assert_array_equal(panorama, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 1, 3])
def test_compositing_blends_by_coverage(dtype, channels):
    rotation = scipy_rotation((178, 20, 10))
    photo, under = noise(480, 640, channels, dtype), noise(128, 256, channels, dtype, seed=1)
    patch = photo_to_patch(photo, PINHOLE, rotation, 256)
    black, mask = photo_to_sphere(photo, PINHOLE, rotation, 256)
    assert ((mask > 0) & (mask < 255)).any()
    panorama = under.copy()
    composite(panorama, patch)
    weight = (mask / 255.0).reshape(128, 256, *(1,) * (under.ndim - 2))
    scale = 1e-6 if dtype == np.float32 else 1.01
    np.testing.assert_allclose(panorama, black + (1 - weight) * under, atol=scale)
    np.testing.assert_array_equal(panorama[mask == 0], under[mask == 0])


def test_compositing_needs_the_same_kind_of_image():
    patch = photo_to_patch(noise(480, 640), PINHOLE, np.eye(3), 256)
    for other in (noise(128, 256, 4), noise(128, 256, 3, np.uint16), noise(128, 256, 0)):
        with pytest.raises(InputError, match="must have the same type and channels"):
            composite(other, patch)


def test_a_patch_fits_only_the_panorama_it_was_made_for():
    patch = photo_to_patch(noise(480, 640), PINHOLE, np.eye(3), 256)
    with pytest.raises(InputError, match="made for a panorama of 256 x 128 pixels; found 512 x 256"):
        composite(noise(256, 512), patch)


# --- types, sizes, blocks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("antialias", [False, True])
def test_channels_are_independent(dtype, channels, antialias):
    photo, rotation = noise(120, 160, channels, dtype), scipy_rotation((170, 60, 20))
    camera = PINHOLE.resized(160, 120)
    panorama, mask = photo_to_sphere(photo, camera, rotation, 128, antialias=antialias)
    assert panorama.dtype == dtype
    assert panorama.shape == (64, 128, *photo.shape[2:])
    view = sphere_to_view(panorama, camera, rotation)
    assert (view.dtype, view.shape) == (dtype, photo.shape)
    for channel in range(channels):
        alone, mask_alone = photo_to_sphere(photo[..., channel], camera, rotation, 128, antialias=antialias)
        np.testing.assert_array_equal(mask, mask_alone)
        np.testing.assert_allclose(panorama[..., channel], alone, atol=1e-6 if dtype == np.float32 else 1)


def test_views_into_arrays_are_welcome():
    photo, rotation = noise(480, 640), scipy_rotation((10, 20, 30))
    expected, _ = photo_to_sphere(photo, PINHOLE, rotation, 256)
    backwards, _ = photo_to_sphere(np.ascontiguousarray(photo[:, :, ::-1])[:, :, ::-1], PINHOLE, rotation, 256)
    np.testing.assert_array_equal(expected, backwards)


@pytest.mark.parametrize("samples", [1, 777, 1 << 14, 1 << 24])
def test_blocks_do_not_show(samples, monkeypatch):
    photo, rotation = noise(270, 480), scipy_rotation((170, 50, 20))
    camera = Camera.from_fov("equidistant", 480, 270, RAD(120))
    width = 64 if samples == 1 else 512
    expected = photo_to_sphere(photo, camera, rotation, width)
    monkeypatch.setattr(reproject, "_BLOCK_SAMPLES", samples)
    again = photo_to_sphere(photo, camera, rotation, width)
    np.testing.assert_array_equal(expected[0], again[0])
    np.testing.assert_array_equal(expected[1], again[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_fourth_channel_that_is_carried_along_for_speed_does_not_show(dtype, monkeypatch):
    photo, panorama = noise(48, 64, 3, dtype), noise(256, 512, 3, dtype)
    rotation = scipy_rotation((170, 50, 20))
    camera = PINHOLE.resized(64, 48)
    results = []
    for many in (0, 1 << 40):
        monkeypatch.setattr(sampler, "_MANY_SAMPLES", many)
        results.append((*photo_to_sphere(photo, camera, rotation, 256), sphere_to_view(panorama, PINHOLE, rotation)))
    for with_fourth, without in zip(*results, strict=True):
        np.testing.assert_array_equal(with_fourth, without)


def test_wide_panoramas_are_made_in_pieces():
    photo = np.full((48, 64), 9, np.uint8)
    camera = Camera.from_fov("pinhole", 64, 48, RAD(0.4))
    patch = photo_to_patch(photo, camera, scipy_rotation((0, 90, 0)), 40_000, antialias=False)
    assert patch.pixels.shape[1] == 40_000  # the zenith, wider than the 32767 pixels that cv2.remap writes at a time
    assert (patch.pixels[:10] == 9).all()
    assert (patch.coverage[:10] == 255).all()


# --- peers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (30, 40), (180, 0), (-100, -60), (0, 90)])
def test_view_agrees_with_py360convert(yaw, pitch):
    panorama = cv2.GaussianBlur(noise(512, 1024), (0, 0), 2)
    camera = Camera.from_fov("pinhole", 400, 300, RAD(90))
    vertical = np.degrees(camera.vfov)
    theirs = py360convert.e2p(panorama, (90, vertical), yaw, pitch, (300, 400), mode="bilinear")
    # py360convert spreads its pixel centres from edge to edge: the view of a focal length (n - 1) / n as long
    stretched = replace(camera, fx=camera.fx * 399 / 400, fy=camera.fy * 299 / 300)
    rotation = scipy_rotation((yaw, pitch, 0))
    ours = sphere_to_view(panorama, stretched, rotation, antialias=False).astype(int)
    assert np.quantile(np.abs(ours - theirs), 0.999) <= 1
    # and ours, rightly spread, is never more than half a pixel of the view away from it
    exact = sphere_to_view(panorama, camera, rotation, antialias=False)
    assert psnr(exact, theirs, np.ones((300, 400), bool)) > 36


# --- the sampler's identity -------------------------------------------------------------------------------------------


def test_installed_opencv_samples_as_the_sampler_id_says():
    assert reproject.SAMPLER_ID == "opencv-5/linear-f32/supersample-1"
    errors = reproject.check_sampler()
    assert len(errors) == 12
    assert max(errors.values()) < 0.002


def test_a_sampler_that_rounds_to_fixed_point_is_found_out(monkeypatch):
    exact = cv2.remap

    def fixed_point(image, u, v, interpolation, **options):
        return exact(image, *cv2.convertMaps(u, v, cv2.CV_16SC2), interpolation, **options)

    monkeypatch.setattr(cv2, "remap", fixed_point)
    errors = reproject.sampler_errors()
    assert min(errors.values()) > 0.01
    with pytest.raises(EnvironmentProblem, match="needs OpenCV 5 with exact bilinear interpolation"):
        reproject.check_sampler()


def test_another_major_version_is_found_out(monkeypatch):
    monkeypatch.setattr(cv2, "__version__", "4.14.0")
    with pytest.raises(EnvironmentProblem, match=r"found OpenCV 4\.14\.0"):
        reproject.check_sampler()


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
