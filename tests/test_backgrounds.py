"""Backgrounds: every kind against what it says it is, on smooth photos whose colours are known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from builders.backgrounds import BACKGROUNDS, Backdrop, Placed, blurred_extension, feathered, panorama_fill
from builders.backgrounds.colours import mean_colour, moments, sampled_colours
from builders.backgrounds.noise import _octave, sphere_noise
from builders.backgrounds.scenes import edge_alpha
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.files import generator
from srgaze360.reproject import Patch, composite, photo_to_patch

POSES = {"front": (0.2, 0.1, 0.0), "seam": (3.1, 0.3, 0.4), "zenith": (0.7, 1.5, 0.0), "nadir": (-1.0, -1.45, 1.0)}
SIZE = (320, 240)
PINHOLE = Camera.from_fov("pinhole", *SIZE, np.radians(70.0))
LENSES = {
    "pinhole": PINHOLE,
    "off-centre": replace(PINHOLE, cx=100.0, cy=150.0),
    "axis outside the image": replace(PINHOLE, cx=-80.0),
    "barrel with a fold in the image": Camera.from_fov("brown-conrady", *SIZE, np.radians(95.0), params=(-0.3, 0.02)),
    "tangential": Camera.from_fov("brown-conrady", *SIZE, np.radians(70.0), params=(0.1, 0.0, 0.02, -0.03)),
    "fisheye": Camera.from_fov("equidistant", *SIZE, np.radians(160.0)),
    "more than half the sphere": Camera.from_fov("equidistant", *SIZE, np.radians(230.0)),
    "image circle": Camera.from_fov("orthographic", *SIZE, np.radians(150.0), side="height"),
}


def colour_at(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours (..., 3) of the smooth photo at continuous pixels of a SIZE image."""
    u, v = x / SIZE[0], y / SIZE[1]
    return np.stack(
        [130.0 + 90.0 * np.sin(5.0 * u + 0.3), 120.0 + 80.0 * np.cos(4.0 * v - 1.0), 100.0 + 70.0 * np.sin(3.0 * u + 4.0 * v)],
        axis=-1,
    )


def smooth_photo() -> NDArray[np.uint8]:
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    return np.rint(colour_at(x, y)).astype(np.uint8)


def flat(colour: Sequence[int], height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def place(
    image: NDArray[np.uint8], camera: Camera, pose: tuple[float, float, float], width: int
) -> tuple[Placed, Patch, Backdrop]:
    rotation = sphere.rotation_from_pose(*pose)
    patch = photo_to_patch(image, camera, rotation, width)
    canvas, coverage = np.zeros((width // 2, width, 3), dtype=np.uint8), np.zeros((width // 2, width), dtype=np.uint8)
    composite(canvas, patch)
    composite(coverage, replace(patch, pixels=patch.coverage))
    placed = Placed(image, camera, rotation)
    return placed, patch, Backdrop(canvas, coverage, (placed,), (), generator(1, "background"))


def backdrop(
    pose: str = "front", width: int = 512, camera: Camera = PINHOLE, images: Sequence[NDArray[np.uint8]] = ()
) -> Backdrop:
    return replace(place(smooth_photo(), camera, POSES[pose], width)[2], images=images)


def paint(kind: str, on: Backdrop, seed: int = 1) -> NDArray[np.uint8]:
    return BACKGROUNDS[kind].paint(replace(on, seed=generator(seed, "background")))


def images_for(kind: str) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    panorama = cv2.resize(rng.integers(0, 256, (8, 16, 3), dtype=np.uint8), (400, 200))
    others = [flat(colour) for colour in rng.integers(0, 256, (4, 3)).tolist()]
    return {"none": [], "panorama": [panorama], "photos": others}[BACKGROUNDS[kind].images_needed]


def steps(fill: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Absolute differences of neighbours: along rows (the last column: over the seam), between rows, over the two poles."""
    wide = fill.astype(np.int64)
    over = np.abs(wide[[0, -1]] - np.roll(wide[[0, -1]], fill.shape[1] // 2, axis=1))
    return np.abs(np.roll(wide, -1, axis=1) - wide), np.abs(np.diff(wide, axis=0)), over


# --- what all have in common ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BACKGROUNDS)
@pytest.mark.parametrize(("width", "pose"), [(64, "front"), (66, "zenith"), (514, "seam"), (1280, "nadir")])
def test_every_kind_paints_the_whole_sphere_and_leaves_its_backdrop_alone(kind: str, width: int, pose: str) -> None:
    on = backdrop(pose, width, images=images_for(kind))
    before = [on.canvas.copy(), on.coverage.copy(), *(image.copy() for image in on.images)]
    fill = paint(kind, on)
    assert fill.shape == (width // 2, width, 3)
    assert fill.dtype == np.uint8
    assert fill is not on.canvas
    assert np.array_equal(fill, paint(kind, on)), "the same generator gives the same pixels"
    for old, new in zip(before, [on.canvas, on.coverage, *on.images], strict=True):
        assert np.array_equal(old, new)


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_what_is_drawn_comes_from_the_generator(kind: str) -> None:
    on = backdrop(width=256, images=images_for(kind))
    same = np.array_equal(paint(kind, on, seed=1), paint(kind, on, seed=2))
    assert same == (kind in {"black", "mean", "mirrored", "blur"})


@pytest.mark.parametrize("kind", ["mean", "mirrored", "blur", "noise"])
@pytest.mark.parametrize("pose", POSES)
def test_neither_seam_nor_poles_show(kind: str, pose: str) -> None:
    along, between, over = steps(paint(kind, backdrop(pose, 1024)))
    middle = slice(128, 384)
    assert along[middle, -1].mean() <= 2.0 * along[middle].mean() + 0.5
    assert over.mean() <= 2.0 * between[[0, 1, -2, -1]].mean() + 1.0
    assert over.max() <= 2 * between.max() + 2


@pytest.mark.parametrize(("kind", "most"), [("mean", 0), ("mirrored", 1), ("blur", 12)])
@pytest.mark.parametrize("columns", [128, 37])
@pytest.mark.parametrize("pose", ["front", "zenith"])
def test_a_turned_sphere_has_a_turned_background(kind: str, most: int, columns: int, pose: str) -> None:
    yaw, pitch, roll = POSES[pose]
    turned = (yaw + sphere.TWO_PI * columns / 512, pitch, roll)
    first, second = (paint(kind, place(smooth_photo(), PINHOLE, angles, 512)[2]) for angles in (POSES[pose], turned))
    difference = np.abs(np.roll(first, columns, axis=1).astype(int) - second)
    assert difference.max() <= most
    assert difference.mean() < 0.7


@pytest.mark.parametrize("kind", ["mean", "mirrored", "blur", "noise"])
def test_a_photo_of_one_colour_is_continued_in_that_colour(kind: str) -> None:
    colour = (200, 30, 90)
    fill = paint(kind, place(flat(colour, 240, 320), PINHOLE, POSES["seam"], 512)[2])
    assert np.abs(fill.astype(int) - colour).max() <= 1


# --- black, mean ------------------------------------------------------------------------------------------------------


def test_black_is_black() -> None:
    assert not paint("black", backdrop()).any()


def test_mean_is_weighted_by_covered_solid_angle() -> None:
    rng = np.random.default_rng(5)
    coverage = rng.choice(np.array([0, 0, 100, 255], dtype=np.uint8), (16, 32))
    canvas = (rng.integers(0, 256, (16, 32, 3)) * (coverage[..., None] / 255.0)).astype(np.uint8)
    total, covered = [0.0, 0.0, 0.0], 0.0
    for row in range(16):
        area = np.sin(np.pi * (row + 1) / 16 - np.pi / 2) - np.sin(np.pi * row / 16 - np.pi / 2)
        for column in range(32):
            covered += area * coverage[row, column] / 255.0
            total = [t + area * c for t, c in zip(total, canvas[row, column].tolist(), strict=True)]
    assert mean_colour(canvas, coverage) == pytest.approx([t / covered for t in total], rel=1e-12)


def test_mean_does_not_depend_on_where_the_photo_lies() -> None:
    means = [mean_colour(on.canvas, on.coverage) for on in (backdrop(pose) for pose in POSES)]
    assert np.ptp(means, axis=0).max() < 0.5
    fill = paint("mean", backdrop("front"))
    assert np.array_equal(fill, np.broadcast_to(np.rint(means[0]), fill.shape))


def test_nothing_covered_is_no_error() -> None:
    empty = replace(backdrop(width=64), canvas=np.zeros((32, 64, 3), np.uint8), coverage=np.zeros((32, 64), np.uint8))
    for kind in ("mean", "blur", "noise"):
        assert not paint(kind, empty).any()


# --- mirrored ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lens", ["pinhole", "equidistant"])
def test_mirrored_is_the_photo_reflected(lens: str) -> None:
    """A float64 reference, pixel by pixel, with the lens's own formula instead of the camera object."""
    camera = Camera.from_fov(lens, *SIZE, np.radians(70.0))
    on = backdrop("seam", 512, camera)
    fill = paint("mirrored", on)
    rotation, focal = on.placed[0].rotation, camera.fx
    half = np.array(SIZE) / 2.0
    errors = []
    for row, column in np.random.default_rng(0).integers(0, [256, 512], (1500, 2)).tolist():
        lon, lat = sphere.TWO_PI * ((column + 0.5) / 512 - 0.5), np.pi * (0.5 - (row + 0.5) / 256)
        x, y, z = rotation.T @ [np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)]
        theta, phi = np.arctan2(np.hypot(x, y), abs(z)), np.arctan2(y, x)  # behind is reflected to the front
        reach = min(half[0] / abs(np.cos(phi)), half[1] / abs(np.sin(phi)))  # to the border of the photo, pixels
        edge = np.arctan(reach / focal) if lens == "pinhole" else reach / focal
        u, v = half + reach * theta / edge * np.array([np.cos(phi), np.sin(phi)])
        u, v = (np.abs(p - 2.0 * size * np.rint(p / (2.0 * size))) for p, size in zip((u, v), SIZE, strict=True))
        errors.append(np.abs(fill[row, column] - colour_at(u, v)))
    assert np.quantile(errors, 0.99) < 2.0
    assert np.max(errors) < 4.0


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("pose", POSES)
def test_mirrored_is_continuous_on_the_photos_border_and_everywhere_else(name: str, pose: str) -> None:
    on = backdrop(pose, 1024, LENSES[name])
    fill = paint("mirrored", on)
    whole = np.where(on.coverage[..., None] == 255, on.canvas, fill)
    along, between, over = steps(whole)
    inside = on.coverage == 255
    rows = np.abs(sphere.cell_lonlat(1024, 512)[1]) < np.radians(80.0)  # a row near a pole is short: its steps are small
    border = (inside[:-1] != inside[1:]) | (on.coverage[:-1] % 255 > 0)
    within, beyond = between[inside[:-1] & inside[1:]], between[~inside[:-1] & ~inside[1:]]
    assert border.any()
    assert np.median(between[border]) <= np.quantile(within, 0.9) + 1
    assert between[border].max() <= 4 * within.max() + 6
    # the fill is steeper than the photo where it shrinks towards the reflection behind, but it never jumps
    assert beyond.max() <= 40
    assert along[rows].max() <= 60
    assert over.max() <= 40


def test_the_antipode_shows_the_photos_middle() -> None:
    on = backdrop("front", 1024)
    direction = -on.placed[0].rotation[:, 2]
    x, y = sphere.pixel_from_direction(direction, 1024).astype(int)
    assert paint("mirrored", on)[y, x] == pytest.approx(colour_at(np.array(160.0), np.array(120.0)), abs=2.0)


def test_a_photo_that_shrinks_is_mirrored_without_aliasing() -> None:
    checks = np.kron(np.indices((480, 640)).sum(axis=0) % 2, np.ones((2, 2)))[..., None].repeat(3, axis=2)
    camera = Camera.from_fov("pinhole", 1280, 960, np.radians(60.0))
    fill = paint("mirrored", place((255 * checks).astype(np.uint8), camera, POSES["front"], 256)[2])
    assert fill.std() < 12.0  # point samples of black and white would have 127


# --- blur -------------------------------------------------------------------------------------------------------------


def test_blur_continues_the_photos_own_colours() -> None:
    photo = np.concatenate([flat((250, 0, 0), 240, 160), flat((0, 0, 250), 240, 160)], axis=1)
    fill = paint("blur", place(photo, PINHOLE, (0.0, 0.0, 0.0), 512)[2]).astype(int)
    left, right = fill[128, 256 - 56], fill[128, 256 + 56]  # the photo ends 49.8 pixels from the middle
    assert left[0] > 200 > 50 > left[2]
    assert right[2] > 200 > 50 > right[0]
    assert fill[128, 0] == pytest.approx([125, 0, 125], abs=6)


def test_blur_is_smooth_around_a_pole_beside_the_photo() -> None:
    photo = np.concatenate([flat((250, 0, 0), 240, 160), flat((0, 0, 250), 240, 160)], axis=1)
    on = place(photo, PINHOLE, (0.0, np.radians(55.0), 0.0), 512)[2]
    assert on.coverage[0].max() == 0
    assert on.coverage[10:40].any()
    # the first row is a circle of 0.35 degrees: one colour
    assert np.ptp(blurred_extension(on.canvas, on.coverage)[0].astype(int), axis=0).max() <= 14


# --- noise ------------------------------------------------------------------------------------------------------------


def test_noise_has_the_photos_mean_and_covariance() -> None:
    photo = (0.25 * smooth_photo() + 90.0).astype(np.uint8)  # far from black and white, so that nothing is clipped
    on = place(photo, PINHOLE, POSES["zenith"], 1024)[2]
    wanted_mean, wanted = sampled_colours(on.canvas, on.coverage)
    weights = sphere.cell_solid_angles(1024, 512).ravel()
    mean, covariance = moments(paint("noise", on).reshape(-1, 3), weights)
    assert mean == pytest.approx(wanted_mean, abs=1.0)
    assert covariance == pytest.approx(wanted, rel=0.08, abs=0.08 * float(np.trace(wanted)))
    exact = mean_colour(on.canvas, on.coverage)
    assert wanted_mean == pytest.approx(exact, abs=1.0)


def test_noise_is_alike_in_all_places_and_directions() -> None:
    """Differences over one degree, along and across meridians, in a belt and around the poles, are equally large."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {"belt": [], "poles": []}
    for seed in range(6):
        field = sphere_noise(1024, generator(seed, "noise")).astype(np.float32)

        def value(directions: NDArray[np.float64], field: NDArray[np.float32] = field) -> NDArray[np.float32]:
            x, y = np.moveaxis(sphere.pixel_from_direction(directions, 1024).astype(np.float32) - 0.5, -1, 0)
            return cv2.remap(field, x[None], y[None], cv2.INTER_CUBIC)[0]

        for place_name, (low, high) in {"belt": (-30.0, 30.0), "poles": (81.0, 88.0)}.items():
            lat = np.radians(rng.uniform(low, high, 4000)) * (rng.choice([-1, 1], 4000) if low > 0 else 1)
            here = sphere.direction_from_lonlat(rng.uniform(-3.0, 3.0, 4000), lat)
            ways = (sphere.exp_map(here, np.radians(1.0) * np.tile(way, (4000, 1))) for way in ((1.0, 0.0), (0.0, 1.0)))
            found[place_name].append([float(np.mean((value(there) - value(here)) ** 2)) for there in ways])
    belt, poles = (np.sqrt(np.mean(found[name], axis=0)) for name in ("belt", "poles"))
    assert np.concatenate([belt, poles]) == pytest.approx(np.full(4, belt.mean()), rel=0.12)


def test_an_octave_of_noise_is_continuous() -> None:
    """A row is a third of a cell from the next: a trilinear field steps by at most 255 / 3 along each of three axes."""
    for seed in range(3):
        octave = _octave(512, generator(seed, "octave"))  # its sphere is wider than the period of the lattice
        _, between, _ = steps(octave)
        assert between.max() <= 255.0 / 3.0 * np.sqrt(3.0) + 2.0
        assert np.ptp(octave) > 200


def test_noise_has_no_direction_of_its_own() -> None:
    """The strength of the noise along the axes of the world is that elsewhere, over many draws."""
    fields = np.stack([sphere_noise(64, generator(seed, "axes")) for seed in range(60)])
    spread = fields.std(axis=(0, 3))
    assert spread[0].mean() == pytest.approx(spread.mean(), rel=0.15)
    assert spread[:, 32].mean() == pytest.approx(spread.mean(), rel=0.15)


# --- scenes -----------------------------------------------------------------------------------------------------------


def test_a_panorama_is_resized_over_the_seam_and_turned() -> None:
    lon, lat = sphere.cell_lonlat(64, 32)
    wave = 127.0 + 100.0 * np.cos(lon)[None, :] * np.cos(lat)[:, None]
    small = np.rint(wave)[..., None].repeat(3, axis=2).astype(np.uint8)
    for width, most in ((256, 2.0), (32, 2.0), (64, 0.51)):
        fill = panorama_fill(small, width, 0.25)
        lon, lat = sphere.cell_lonlat(width, width // 2)
        truth = 127.0 + 100.0 * np.cos(lon - np.pi / 2.0)[None, :] * np.cos(lat)[:, None]
        assert np.abs(fill - truth[..., None]).max() < most


def test_photos_stand_on_a_cube_without_cracks() -> None:
    colours = [(250, 9, 9), (9, 250, 9), (9, 9, 250), (250, 250, 9), (250, 9, 250), (9, 250, 250)]
    on = backdrop(width=1024, images=[flat(colour) for colour in colours])
    for seed in range(3):
        fill = paint("photos", on, seed)
        shows = np.stack([np.abs(fill.astype(int) - colour).max(axis=2) <= 1 for colour in colours])
        assert shows.any(axis=0).all(), "every pixel shows one of the photos, none is mixed with black"
        shares = (shows * sphere.cell_solid_angles(1024, 512)).sum(axis=(1, 2)) / (4.0 * np.pi)
        assert shares == pytest.approx(np.full(6, 1.0 / 6.0), abs=0.004)
        around = shows[:, 256].argmax(axis=0)
        order = around[np.flatnonzero(np.diff(around))]
        assert all((b - a) % 4 == 1 for a, b in pairwise(order.tolist())), "to the right, in their order"
        assert set(around.tolist()) == {0, 1, 2, 3}
        assert shows[4, 0].all()
        assert shows[5, -1].all()


@pytest.mark.parametrize("width", [64, 130, 514, 2048])
@pytest.mark.parametrize("size", [(5, 3), (900, 1200)])
def test_photos_of_any_size_leave_no_crack(width: int, size: tuple[int, int]) -> None:
    on = backdrop(width=width, images=[flat((255, 255, 255), *size)])
    for seed in range(3):
        assert paint("photos", on, seed).min() == 255


def test_photos_are_cut_to_their_middle_and_stand_upright() -> None:
    image = flat((255, 0, 0), 100, 160)
    image[:, 30:130] = (0, 0, 0)
    image[:50, 30:130, 1] = 255  # green above
    fill = paint("photos", backdrop(width=512, images=[image]))
    belt = fill[128 - 50 : 128 + 50]
    assert belt[..., 0].max() < 8, "what is beside the square is not seen"
    assert belt[:48, :, 1].min() > 250
    assert belt[52:, :, 1].max() < 5


def test_missing_images_are_explained() -> None:
    with pytest.raises(InputError, match="Expected 1 images for a background of panorama, found 0"):
        paint("panorama", backdrop(width=64))
    with pytest.raises(InputError, match="Expected 1 to 6 images for a background of other photos, found 7"):
        paint("photos", backdrop(width=64, images=[flat((1, 2, 3))] * 7))


# --- soft edges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pose", POSES)
def test_the_soft_edge_is_an_angle_on_the_sphere(pose: str) -> None:
    placed, patch, _ = place(smooth_photo(), PINHOLE, POSES[pose], 2048)
    soft = feathered(patch, placed, 3.0)
    assert (soft.x0, soft.y0, soft.panorama_width, soft.pixels.shape) == (patch.x0, patch.y0, 2048, patch.pixels.shape)
    rows, columns = np.indices(patch.coverage.shape)
    pixels = np.stack([patch.x0 + columns + 0.5, patch.y0 + rows + 0.5], axis=-1)
    rays = sphere.rotate(placed.rotation.T, sphere.direction_from_pixel(pixels, 2048))
    # the edges of a pinhole photo are great circles: the angle to one is the arc sine of the ray along its normal
    x, y = np.tan(np.radians(35.0)), 0.75 * np.tan(np.radians(35.0))
    normals = sphere.normalise([[1.0, 0.0, x], [-1.0, 0.0, x], [0.0, 1.0, y], [0.0, -1.0, y]])
    distance = np.degrees(np.arcsin(np.min(rays @ normals.T, axis=-1)))
    t = np.clip(distance / 3.0, 0.0, 1.0)
    off = soft.coverage - 255.0 * t * t * (3.0 - 2.0 * t)
    seen = patch.coverage == 255
    assert np.abs(off[seen]).mean() < 3.0
    # rows and columns of the photo meet its edges at a slant near the corners: the band is narrower there
    assert np.abs(off[seen]).max() < 45.0
    assert off[seen].min() > -16.0
    assert soft.coverage[seen & (distance > 3.05)].min() == 255
    assert soft.coverage[seen & (distance < 0.15)].max() < 6
    assert not soft.coverage[patch.coverage == 0].any()


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("width", [512, 2048])
def test_a_soft_edge_stays_premultiplied(name: str, width: int) -> None:
    placed, patch, _ = place(flat((255, 255, 255), 240, 320), LENSES[name], POSES["zenith"], width)
    soft = feathered(patch, placed, 4.0)
    assert (soft.coverage < 255).sum() > (patch.coverage < 255).sum()
    white = np.full((width // 2, width, 3), 255, dtype=np.uint8)
    composite(white, soft)
    assert white.min() >= 253
    assert np.abs(soft.pixels.astype(int) - soft.coverage[..., None]).max() <= 2


def test_no_feather_is_the_patch_and_a_narrow_photo_keeps_its_middle() -> None:
    placed, patch, _ = place(smooth_photo(), PINHOLE, POSES["front"], 512)
    assert feathered(patch, placed, 0.0) is patch
    narrow = Camera.from_fov("pinhole", 90, 400, np.radians(2.0))
    alpha = edge_alpha(narrow, 5.0)
    assert alpha.shape == (400, 90)
    assert (alpha[40:-40, 15:-15] == 255).all()
    assert alpha[:, 0].max() < 30


def test_the_soft_edge_follows_the_fold_of_a_strong_lens() -> None:
    """Beyond the fold, which lies inside of the corners, nothing is painted; the photo fades towards it as to its edge."""
    camera = LENSES["barrel with a fold in the image"]
    assert not camera.rays([0.0, 0.0]).valid
    fold = float(camera_limit(camera))
    placed, patch, _ = place(flat((255, 255, 255), 240, 320), camera, (0.0, 0.0, 0.0), 2048)
    coverage = feathered(patch, placed, 4.0).coverage
    rows, columns = np.indices(coverage.shape)
    pixels = np.stack([patch.x0 + columns + 0.5, patch.y0 + rows + 0.5], axis=-1)
    rays = sphere.rotate(placed.rotation.T, sphere.direction_from_pixel(pixels, 2048))
    before = np.degrees(fold - sphere.angle_between(rays, [0.0, 0.0, 1.0]))
    corner = np.abs(np.abs(np.arctan2(rays[..., 1], rays[..., 0])) - np.arctan2(3.0, 4.0)) < 0.05
    assert coverage[corner & (np.abs(before - 0.5) < 0.2)].mean() < 90
    assert 60 < coverage[corner & (np.abs(before - 2.0) < 0.2)].mean() < 190
    assert coverage[corner & (np.abs(before - 5.0) < 0.2)].min() > 250


def camera_limit(camera: Camera) -> float:
    """The largest angle to the axis, radians, along the diagonal, that the camera projects: found by trying."""
    theta = np.linspace(0.0, np.pi, 200_001)
    rays = np.stack([0.8 * np.sin(theta), 0.6 * np.sin(theta), np.cos(theta)], axis=-1)
    return float(theta[camera.project(rays).valid].max())


def test_the_soft_edge_follows_the_limit_of_the_lens() -> None:
    camera = Camera("orthographic", 200, 200, 80.0, 80.0, 100.0, 100.0)  # the image circle has a radius of 80 pixels
    alpha = edge_alpha(camera, 10.0)
    x, y = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    radius = np.hypot(x - 100.0, y - 100.0) / 80.0
    assert alpha[radius > 1.12].max() == 0
    assert alpha[radius < np.sin(np.radians(75.0))].min() == 255
    assert alpha[radius < np.sin(np.radians(79.0))].min() > 245
