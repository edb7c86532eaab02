"""Predictors that need no training: closed forms and independent oracles."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from queries import SHAPE, in_chunks, query
from scipy import stats
from scipy.spatial.transform import Rotation

from baselines.trivial import BUMP_SIGMA, Centre, Random, RegionChance
from srgaze360 import heatmaps, sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.predictors import Predictor

# --- random and centre ------------------------------------------------------------------------------------------------


def test_random_is_uniform_on_the_sphere() -> None:
    n = 4000
    drawn = in_chunks(Random(0), [query(f"sample-{i}") for i in range(n)])
    lon, _ = sphere.lonlat_from_direction(drawn)
    assert stats.kstest(-drawn[:, 1], stats.uniform(-1.0, 2.0).cdf).pvalue > 0.01
    assert stats.kstest(lon, stats.uniform(-np.pi, 2.0 * np.pi).cdf).pvalue > 0.01
    # Rayleigh and Bingham tests (Mardia and Jupp, 2000, section 10.4.1): no preferred direction, no preferred axis
    assert stats.chi2(3).sf(3.0 * n * np.sum(drawn.mean(axis=0) ** 2)) > 0.01
    scatter = drawn.T @ drawn / n
    assert stats.chi2(5).sf(7.5 * n * (np.trace(scatter @ scatter) - 1.0 / 3.0)) > 0.01


def test_random_scores_as_its_docstring_says_whatever_the_targets() -> None:
    n = 4000
    rng = np.random.default_rng(5)
    targets = sphere.exp_map(sphere.direction_from_lonlat(1.0, 0.7), rng.normal(size=(n, 2)) * 0.1)  # all in one corner
    predictor = Random(1)
    errors = sphere.angle_between(in_chunks(predictor, [query(f"sample-{i}") for i in range(n)]), targets)
    spread = np.sqrt(np.pi**2 / 4.0 - 2.0)  # standard deviation of the distance to a uniform direction
    assert abs(errors.mean() - np.pi / 2.0) < 4.0 * spread / np.sqrt(n)
    for degrees, percent in ((10.0, 0.8), (30.0, 6.7)):
        chance = np.sin(np.radians(degrees) / 2.0) ** 2
        assert round(100.0 * chance, 1) == percent
        assert abs(np.mean(errors < np.radians(degrees)) - chance) < 4.0 * np.sqrt(chance / n)


def test_random_heatmaps_have_the_auc_of_chance() -> None:
    predictor = Random(2)
    maps = predictor.predict([query(f"sample-{i}") for i in range(600)]).heatmaps
    assert maps is not None
    positive = heatmaps.cap_mask(sphere.direction_from_lonlat(0.3, -0.2), np.radians(10.0))
    rng = np.random.default_rng(0)
    weights = sphere.cell_solid_angles(*SHAPE[::-1])

    def pick(mask: np.ndarray) -> np.ndarray:
        share = (weights * mask).ravel()
        return rng.choice(share.size, size=200, p=share / share.sum())

    flat = maps.reshape(len(maps), -1)
    ours, others = flat[:, pick(positive)], flat[:, pick(~positive)]
    auc = np.mean((ours > others) + 0.5 * (ours == others), axis=1)
    assert abs(auc.mean() - 0.5) < 4.0 * auc.std() / np.sqrt(len(auc))


def test_random_follows_seed_and_sample_id_alone() -> None:
    first = Random(0).predict([query("a"), query("b")]).directions
    np.testing.assert_array_equal(Random(0).predict([query("a", head=(1.0, 0.0, 0.0))]).directions[0], first[0])
    assert sphere.angle_between(first[0], first[1]) > 1e-3
    assert sphere.angle_between(Random(1).predict([query("a")]).directions[0], first[0]) > 1e-3


def test_centre_is_ninety_degrees_away_where_azimuth_is_uniform() -> None:
    guess = Centre().predict([query("a"), query("b", head=(1.0, 0.0, 0.0))])
    np.testing.assert_allclose(guess.directions, [[0.0, 0.0, 1.0]] * 2, atol=1e-15)
    lon = np.linspace(-np.pi, np.pi, 2000, endpoint=False)
    for lat in (-1.2, 0.0, 0.4, 1.5):
        distances = sphere.angle_between(guess.directions[0], sphere.direction_from_lonlat(lon, lat))
        assert distances.mean() == pytest.approx(np.pi / 2.0, abs=1e-12)


@pytest.mark.parametrize("predictor", [Random(0), Centre()])
def test_bumps_peak_at_the_point_and_have_the_stated_width(predictor: Predictor) -> None:
    guess = predictor.predict([query(f"sample-{i}") for i in range(50)])
    assert guess.heatmaps is not None
    cell = np.hypot(np.pi / SHAPE[0], np.pi / SHAPE[0]) / 2.0
    assert (sphere.angle_between(heatmaps.decode_argmax(guess.heatmaps), guess.directions) <= cell + 1e-6).all()
    mass = guess.heatmaps * sphere.cell_solid_angles(*SHAPE[::-1])
    np.testing.assert_allclose(mass.sum(axis=(1, 2)), 1.0, rtol=1e-5)
    resultant = np.linalg.norm(np.einsum("nij,ijk->nk", mass, sphere.cell_directions(*SHAPE[::-1])), axis=-1)
    np.testing.assert_allclose(resultant, 1.0 - BUMP_SIGMA**2, rtol=2e-3)  # A_3(kappa) = coth kappa - 1 / kappa


# --- region chance ----------------------------------------------------------------------------------------------------


PINHOLE = Camera.from_fov("pinhole", 640, 480, np.radians(75.0))
CAMERAS = [
    PINHOLE,
    Camera.from_fov("brown-conrady", 640, 480, np.radians(70.0), params=(-0.2, 0.05, 0.001, -0.002)),
    Camera.from_fov("kannala-brandt", 480, 640, np.radians(100.0), params=(0.05, -0.01)),
    Camera.from_fov("equidistant", 600, 600, np.radians(170.0)),
]
POSES = [(0.0, 0.0, 0.0, 0.0, 0.0, 0.0), (175.0, 20.0, -30.0, 40.0, 5.0, 10.0), (-60.0, -80.0, 90.0, 0.0, 30.0, -15.0)]


def placed(camera: Camera, pose: tuple[float, ...]) -> dict[str, Any]:
    names = ("yaw_deg", "pitch_deg", "roll_deg", "tilt_yaw_deg", "tilt_pitch_deg", "tilt_roll_deg")
    return {"camera": json.dumps(camera.to_dict()), **dict(zip(names, pose, strict=True))}


def world_from_photo(pose: tuple[float, ...]) -> Rotation:
    """Tilt after pose, both intrinsic Y-X-Z, by another library."""
    return Rotation.from_euler("YXZ", pose[3:], degrees=True) * Rotation.from_euler("YXZ", pose[:3], degrees=True)


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.lens)
def test_region_chance_lies_inside_the_photo(camera: Camera, pose: tuple[float, ...]) -> None:
    extra = placed(camera, pose)
    guess = RegionChance(0).predict([query(f"sample-{i}", **extra) for i in range(60)])
    assert guess.heatmaps is not None
    back = world_from_photo(pose).inv()
    pixels, valid = camera.project(back.apply(guess.directions))
    assert valid.all()
    assert (pixels >= -1e-6).all()
    assert (pixels <= np.array([camera.width, camera.height]) + 1e-6).all()
    footprint = guess.heatmaps[0]
    assert (guess.heatmaps == footprint).all()
    seen = camera.contains(camera.project(back.apply(sphere.cell_directions(*SHAPE[::-1]).reshape(-1, 3))).pixels)
    np.testing.assert_array_equal(footprint, seen.reshape(SHAPE).astype(np.float32))
    # the other way round, where cells are wide enough for it: into which cells do the photo's pixels fall?
    x, y = np.meshgrid(np.linspace(0.0, camera.width, 400), np.linspace(0.0, camera.height, 400))
    rays, sent = camera.rays(np.stack([x, y], axis=-1).reshape(-1, 2))
    row, column = heatmaps.cell_of(world_from_photo(pose).apply(rays[sent]))
    hit = np.zeros(SHAPE, dtype=bool)
    hit[row, column] = True
    surrounded = hit & np.roll(hit, 1, 1) & np.roll(hit, -1, 1) & np.roll(hit, 1, 0) & np.roll(hit, -1, 0)
    wide = slice(12, -12)
    assert hit[wide][footprint[wide] > 0.0].all()
    assert footprint[wide][surrounded[wide]].all()


def test_region_chance_is_uniform_per_steradian() -> None:
    n = 6000
    pose = POSES[1]
    extra = placed(PINHOLE, pose)
    drawn = in_chunks(RegionChance(0), [query(f"sample-{i}", **extra) for i in range(n)])
    rays = world_from_photo(pose).inv().apply(drawn)
    a, b = np.tan(np.radians(75.0) / 2.0), np.tan(np.radians(75.0) / 2.0) * 480 / 640

    def solid_angle(a: float, b: float) -> float:
        """Of a rectangular pyramid with half sides a, b at distance 1."""
        return float(4.0 * np.arctan(a * b / np.sqrt(1.0 + a * a + b * b)))

    # Lambert: the integral of the direction over a spherical polygon is half the sum of edge lengths times edge normals
    corners = sphere.normalise([[a, b, 1.0], [-a, b, 1.0], [-a, -b, 1.0], [a, -b, 1.0]])
    following = np.roll(corners, -1, axis=0)
    normals = sphere.normalise(np.cross(corners, following))
    moment = 0.5 * np.sum(sphere.angle_between(corners, following)[:, None] * normals, axis=0)
    mean = moment / solid_angle(a, b)
    assert mean[2] > 0.8
    np.testing.assert_array_less(np.abs(rays.mean(axis=0) - mean), 4.0 * rays.std(axis=0) / np.sqrt(n))
    flat = np.abs(rays[:, :2] / rays[:, 2:])
    for part in (0.25, 0.5, 0.8):
        share = solid_angle(part * a, part * b) / solid_angle(a, b)
        found = np.mean((flat <= [part * a, part * b]).all(axis=-1))
        assert abs(found - share) < 4.0 * np.sqrt(share * (1.0 - share) / n)
    maps = RegionChance(0).predict([query("a", **extra)]).heatmaps
    assert maps is not None
    assert np.sum(maps[0] * sphere.cell_solid_angles(*SHAPE[::-1])) == pytest.approx(solid_angle(a, b), rel=0.03)


def test_region_chance_follows_seed_and_sample_id() -> None:
    extra = placed(PINHOLE, POSES[0])
    first = RegionChance(0).predict([query("a", **extra), query("b", **extra)]).directions
    assert sphere.angle_between(first[0], first[1]) > 1e-3
    assert sphere.angle_between(RegionChance(1).predict([query("a", **extra)]).directions[0], first[0]) > 1e-3
    # same draw relative to the photo wherever the photo is
    moved = RegionChance(0).predict([query("a", **placed(PINHOLE, POSES[2]))]).directions[0]
    np.testing.assert_allclose(world_from_photo(POSES[2]).apply(first[0]), moved, atol=1e-12)


@pytest.mark.parametrize(
    "camera", [Camera.equirectangular(1024), Camera("pinhole", 10, 10, 1000.0, 1000.0, 5.0, 5.0)], ids=["panorama", "tiny"]
)
def test_region_chance_where_the_grid_cannot_show_the_footprint(camera: Camera) -> None:
    guess = RegionChance(0).predict([query(f"sample-{i}", **placed(camera, POSES[1])) for i in range(3)])
    assert guess.heatmaps is not None
    assert sphere.angle_between(heatmaps.decode_argmax(guess.heatmaps), guess.directions).max() < np.radians(2.1)
    if camera.lens == "pinhole":
        axis = world_from_photo(POSES[1]).apply([0.0, 0.0, 1.0])
        assert sphere.angle_between(guess.directions, axis).max() < np.radians(0.41)


def test_region_chance_names_the_sample_whose_photo_covers_nothing() -> None:
    speck = Camera("pinhole", 1, 1, 1e8, 1e8, 0.5, 0.5)
    with pytest.raises(InputError, match=r"photo of sample lost to cover part of the sphere.*Check its camera"):
        RegionChance(0).predict([query("lost", **placed(speck, POSES[0]))])


@pytest.mark.parametrize("camera", ["not json", json.dumps({"lens": "keyhole"}), json.dumps([1])])
def test_region_chance_names_the_sample_with_a_broken_camera(camera: str) -> None:
    with pytest.raises(InputError, match="Expected a camera in JSON in column camera of sample odd"):
        RegionChance(0).predict([query("odd", **(placed(PINHOLE, POSES[0]) | {"camera": camera}))])
