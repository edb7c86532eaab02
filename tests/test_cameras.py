"""Lens models and cameras, against OpenCV, closed forms and brute force."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.lenses import LENSES

RAD = np.radians

# lens, parameters, a field of view it reaches (degrees)
CASES = [
    ("pinhole", (), 90),
    ("pinhole", (), 20),
    ("brown-conrady", (-0.1, 0.01), 90),  # mild barrel
    ("brown-conrady", (-0.3, 0.1), 90),
    ("brown-conrady", (0.2, 0.15), 100),  # pincushion
    ("brown-conrady", (-0.25,), 70),  # folds at 49.1 degrees
    ("brown-conrady", (-0.3,), 92.9),  # folds at 46.5 degrees: the image ends on the fold
    ("brown-conrady", (-0.3, 0.1, 0.001, 0.0005), 90),
    ("brown-conrady", (-0.25, 0.0, 0.003, -0.002), 70),  # folds, with tangential terms
    ("brown-conrady", (-0.25, 0.05, 0.01, 0.01), 70),
    ("brown-conrady", (0.0, 0.0, 0.02, 0.01), 80),
    ("brown-conrady", (0.5, 0.1, 0.001, -0.002, 0.05, 0.6, 0.2, 0.01), 90),  # rational
    ("brown-conrady", (0.0, 0.0, 0.0, 0.0, 0.0, -0.2), 80),  # runs to infinity at 65.9 degrees
    ("brown-conrady", (0.0, 0.0, 0.0, 0.0, 0.0, 0.8), 70),  # rational, folds at 48.2 degrees
    ("kannala-brandt", (), 200),
    ("kannala-brandt", (-0.05, 0.01, -0.003, 0.0002), 180),
    ("kannala-brandt", (-0.2,), 145),  # folds at 74 degrees
    ("kannala-brandt", (0.1, 0.05), 120),
    ("equidistant", (), 220),
    ("equidistant", (), 359.9),
    ("equisolid", (), 300),
    ("equisolid", (), 180),
    ("stereographic", (), 250),
    ("orthographic", (), 180),
    ("orthographic", (), 120),
    ("ucm", (0.0,), 100),
    ("ucm", (0.9,), 180),
    ("ucm", (1.0,), 200),
    ("ucm", (1.7,), 240),  # folds at 126 degrees
    ("equirectangular", (), 360),
    ("equirectangular", (), 100),
]
ids = [f"{lens}-{','.join(map(str, params))}-{fov}" for lens, params, fov in CASES]


def camera_of(lens, params, fov, width=640, height=480):
    return Camera.from_fov(lens, width, height, RAD(fov), params=params)


def grid(camera, beyond=0.6, count=151):
    """Pixels over the image and a margin around it, edges and corners included."""
    x = np.concatenate([np.linspace(-beyond, 1 + beyond, count), [0, 0.5, 1]]) * camera.width
    y = np.concatenate([np.linspace(-beyond, 1 + beyond, count), [0, 0.5, 1]]) * camera.height
    return np.stack(np.meshgrid(x, y), axis=-1)


# --- absolute checks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lens", "params", "fov"), CASES, ids=ids)
def test_axis_edges_and_signs(lens, params, fov):
    camera = camera_of(lens, params, fov)
    centre = camera.rays([320.0, 240.0]).directions
    np.testing.assert_allclose(centre, [0, 0, 1], atol=1e-15)
    # the edge midpoints: their angle is what was asked for (the closed forms are checked below)
    assert camera.hfov == pytest.approx(RAD(fov), abs=1e-9)
    x, y, _ = np.moveaxis(camera.rays([[330.0, 240.0], [310.0, 240.0], [320.0, 250.0], [320.0, 230.0]]).directions, -1, 0)
    assert x[0] > 0 > x[1], "right is +x"
    assert y[2] > 0 > y[3], "down is +y"
    for direction, axis, sign in (([1, 0], 0, 1), ([-1, 0], 0, -1), ([0, 1], 1, 1), ([0, -1], 1, -1)):
        pixel = camera.project([0.05 * direction[0], 0.05 * direction[1], 1.0]).pixels - [320, 240]
        assert np.sign(pixel[axis]) == sign


@pytest.mark.parametrize(
    ("lens", "params", "radius"),
    [
        ("pinhole", (), math.tan),
        ("equidistant", (), lambda t: t),
        ("equisolid", (), lambda t: 2 * math.sin(t / 2)),
        ("stereographic", (), lambda t: 2 * math.tan(t / 2)),
        ("orthographic", (), math.sin),
        ("ucm", (0.8,), lambda t: math.sin(t) / (math.cos(t) + 0.8)),
        ("ucm", (1.4,), lambda t: math.sin(t) / (math.cos(t) + 1.4)),
        ("kannala-brandt", (0.1, -0.02, 0.003, -0.0004), lambda t: t + 0.1 * t**3 - 0.02 * t**5 + 0.003 * t**7 - 0.0004 * t**9),
        ("brown-conrady", (-0.1, 0.02), lambda t: math.tan(t) * (1 - 0.1 * math.tan(t) ** 2 + 0.02 * math.tan(t) ** 4)),
    ],
)
def test_radius_is_the_formula_at_every_azimuth(lens, params, radius):
    camera = Camera(lens, 1000, 1000, 300.0, 300.0, 500.0, 500.0, params)
    for theta in RAD([0.001, 5, 30, 60, 80]):
        for azimuth in RAD([0, 45, 130, 270]):
            ray = [math.sin(theta) * math.cos(azimuth), math.sin(theta) * math.sin(azimuth), math.cos(theta)]
            pixel = camera.project(ray).pixels
            expected = 500 + 300 * radius(theta) * np.array([math.cos(azimuth), math.sin(azimuth)])
            np.testing.assert_allclose(pixel, expected, atol=1e-9)


def test_known_focal_lengths():
    assert Camera.from_fov("pinhole", 640, 480, RAD(90)).fx == pytest.approx(320)
    assert Camera.from_fov("pinhole", 640, 480, RAD(90)).vfov == pytest.approx(2 * math.atan(0.75))  # not 67.5 degrees
    assert Camera.from_fov("equidistant", 640, 480, RAD(180)).fx == pytest.approx(640 / math.pi)
    assert Camera.from_fov("orthographic", 640, 480, RAD(180)).fx == pytest.approx(320)
    assert Camera.from_fov("stereographic", 640, 480, RAD(180)).fx == pytest.approx(160)


@pytest.mark.parametrize(("lens", "params", "fov"), [c for c in CASES if c[2] < 150 and c[0] != "equirectangular"])
@pytest.mark.parametrize("size", [(640, 480), (480, 640)])
def test_fov_of_the_side_that_was_asked_for(lens, params, fov, size):
    wide = size[0] > size[1]
    longer = Camera.from_fov(lens, *size, RAD(fov), side="longer", params=params)
    assert (longer.hfov if wide else longer.vfov) == pytest.approx(RAD(fov), abs=1e-9)
    height = Camera.from_fov(lens, *size, RAD(fov), side="height", params=params)
    assert height.vfov == pytest.approx(RAD(fov), abs=1e-9)
    assert height.fx == height.fy


def test_fov_is_the_angle_between_the_edge_rays_even_off_centre():
    camera = Camera("pinhole", 640, 480, 400.0, 420.0, 100.0, 300.0)
    left, right = np.array([-100 / 400, -60 / 420, 1]), np.array([540 / 400, -60 / 420, 1])
    expected = math.acos(left @ right / np.linalg.norm(left) / np.linalg.norm(right))
    assert camera.hfov == pytest.approx(expected, abs=1e-12)


def test_fov_beyond_180_degrees_counts_through_the_axis():
    assert Camera.from_fov("equidistant", 500, 500, RAD(300)).hfov == pytest.approx(RAD(300))
    assert math.isnan(Camera("orthographic", 640, 480, 100.0, 100.0, 320.0, 240.0).hfov)


# --- against OpenCV ---------------------------------------------------------------------------------------------------


def rays_in_front(max_angle, count=4000, seed=0):
    rng = np.random.default_rng(seed)
    theta, azimuth = rng.uniform(0, RAD(max_angle), count), rng.uniform(0, 2 * np.pi, count)
    scale = rng.uniform(0.5, 3, count)  # rays of any length
    return scale[:, None] * np.stack([np.sin(theta) * np.cos(azimuth), np.sin(theta) * np.sin(azimuth), np.cos(theta)], axis=-1)


@pytest.mark.parametrize("params", [params for lens, params, _ in CASES if lens == "brown-conrady"])
def test_brown_conrady_is_opencvs(params):
    camera = Camera("brown-conrady", 640, 480, 410.0, 395.0, 311.0, 250.5, params)
    rays = rays_in_front(60)
    matrix = np.array([[410.0, 0, 311.0], [0, 395.0, 250.5], [0, 0, 1]])
    expected, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, np.array(camera.params))
    ours = camera.project(rays)
    assert ours.valid.mean() > 0.6
    np.testing.assert_allclose(ours.pixels[ours.valid], expected[:, 0][ours.valid], atol=1e-8, rtol=1e-12)


@pytest.mark.parametrize("params", [(), (-0.05, 0.01, -0.003, 0.0002), (0.1, 0.05), (-0.2,)])
def test_kannala_brandt_is_opencvs_fisheye(params):
    camera = Camera("kannala-brandt", 640, 480, 210.0, 205.0, 311.0, 250.5, params)
    rays = rays_in_front(85)
    matrix = np.array([[210.0, 0, 311.0], [0, 205.0, 250.5], [0, 0, 1]])
    expected, _ = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), matrix, np.array(camera.params))
    ours = camera.project(rays)
    assert ours.valid.mean() > 0.8
    np.testing.assert_allclose(ours.pixels[ours.valid], expected[:, 0][ours.valid], atol=1e-8)


def test_inverse_agrees_with_opencv_where_opencv_converges():
    camera = Camera("brown-conrady", 640, 480, 400.0, 400.0, 320.0, 240.0, (-0.1, 0.01, 0.001, -0.001))
    pixels = grid(camera, beyond=0.0, count=40).reshape(-1, 2)
    matrix = np.array([[400.0, 0, 320.0], [0, 400.0, 240.0], [0, 0, 1]])
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-14)
    points = cv2.undistortPoints(pixels[:, None], matrix, np.array(camera.params), criteria=criteria)[:, 0]
    rays = camera.rays(pixels).directions
    np.testing.assert_allclose(rays[:, :2] / rays[:, 2:], points, atol=1e-9)


# --- pixel -> ray -> pixel --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lens", "params", "fov"), CASES, ids=ids)
def test_pixel_ray_pixel(lens, params, fov):
    camera = camera_of(lens, params, fov)
    pixels = grid(camera)
    rays = camera.rays(pixels)
    assert rays.valid.mean() > 0.1
    np.testing.assert_array_equal(np.isnan(rays.directions).any(axis=-1), ~rays.valid)
    np.testing.assert_allclose(np.linalg.norm(rays.directions[rays.valid], axis=-1), 1.0, atol=1e-12)
    back = camera.project(rays.directions[rays.valid])
    assert back.valid.all()
    expected = pixels[rays.valid]
    if camera.is_panorama:
        expected = np.stack([expected[:, 0] % camera.width, expected[:, 1]], axis=-1)
        off_pole = (expected[:, 1] > 1e-6) & (expected[:, 1] < camera.height - 1e-6)
        error = back.pixels - expected
        error[:, 0] -= camera.width * np.round(error[:, 0] / camera.width)
        assert np.abs(error[off_pole]).max() < 1e-6
    else:
        assert np.abs(back.pixels - expected).max() < 1e-6


FOLDING = [
    ("brown-conrady", (-0.25,)),
    ("brown-conrady", (-0.3,)),
    ("brown-conrady", (-0.25, 0.0, 0.003, -0.002)),
    ("brown-conrady", (-0.3, 0.0, 0.0, 0.02)),
    ("brown-conrady", (0.0, 0.0, 0.0, 0.0, 0.0, 0.8)),
    ("kannala-brandt", (-0.2,)),
    ("kannala-brandt", (-0.05, 0.01, -0.003, 0.0002)),
    ("ucm", (1.7,)),
    ("orthographic", ()),
]


@pytest.mark.parametrize(("lens", "params"), FOLDING)
def test_pixel_ray_pixel_next_to_the_fold(lens, params):
    camera = Camera(lens, 640, 480, 400.0, 400.0, 320.0, 240.0, params)
    azimuth = np.linspace(-np.pi, np.pi, 180)
    limit = LENSES[lens].limit(camera.params, azimuth)
    shares = (
        np.concatenate([1 - np.logspace(-1, -9, 40), [1.0]])
        if len(params) < 3 or not any(params[2:4])
        else 1 - np.logspace(-1, -6, 40)
    )
    theta = limit * shares[:, None]
    rays = np.stack([np.sin(theta) * np.cos(azimuth), np.sin(theta) * np.sin(azimuth), np.cos(theta)], axis=-1)
    pixels = camera.project(rays)
    assert pixels.valid.all()
    back = camera.rays(pixels.pixels)
    assert back.valid.all()
    again = camera.project(back.directions)
    assert again.valid.all()
    assert np.abs(again.pixels - pixels.pixels).max() < 1e-6


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.floats(-0.4, 0.4)] * 2, *[st.floats(-0.01, 0.01)] * 2, *[st.floats(-0.2, 0.2)] * 4),
    st.floats(250, 900),
    st.integers(0, 1000),
)
def test_any_brown_conrady_lens_round_trips_where_valid(params, focal, seed):
    camera = Camera("brown-conrady", 640, 480, focal, focal, 320.0, 240.0, params)
    pixels = np.random.default_rng(seed).uniform([0, 0], [640, 480], (300, 2))
    rays = camera.rays(pixels)
    back = camera.project(rays.directions[rays.valid])
    assert back.valid.all()
    assert np.abs(back.pixels - pixels[rays.valid]).max(initial=0.0) < 1e-6


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.floats(-0.1, 0.1)] * 4), st.integers(0, 1000))
def test_any_kannala_brandt_lens_round_trips_where_valid(params, seed):
    camera = Camera("kannala-brandt", 640, 480, 200.0, 200.0, 320.0, 240.0, params)
    pixels = np.random.default_rng(seed).uniform([0, 0], [640, 480], (300, 2))
    rays = camera.rays(pixels)
    back = camera.project(rays.directions[rays.valid])
    assert back.valid.all()
    assert np.abs(back.pixels - pixels[rays.valid]).max(initial=0.0) < 1e-6


# --- validity ---------------------------------------------------------------------------------------------------------


def monotone_reach(radius, end):
    """First angle at which a radius stops growing, by walking along it: the brute-force oracle of the fold."""
    theta = np.linspace(0, end, 400_001)
    with np.errstate(all="ignore"):
        falling = ~(np.diff(radius(theta)) > 0)
    return theta[np.argmax(falling)] if falling.any() else end


@pytest.mark.parametrize(
    "params",
    [
        (-0.25,),
        (-0.3,),
        (-0.3, 0.1),
        (0.2, 0.15),
        (-0.5, 0.1),
        (0, 0, 0, 0, 0, 0.8),
        (0, 0, 0, 0, 0, -0.2),
        (0.3, -0.2, 0, 0, 0.01),
    ],
)
def test_brown_conrady_ends_where_its_radius_stops_growing(params):
    k1, k2, _, _, k3, k4, k5, k6 = (*params, *(0.0,) * (8 - len(params)))

    def radius(theta):
        t = np.tan(theta)
        s = t * t
        bottom = 1 + s * (k4 + s * (k5 + s * k6))
        return np.where(bottom > 0, t * (1 + s * (k1 + s * (k2 + s * k3))) / bottom, -np.inf)

    reach = monotone_reach(radius, np.pi / 2 - 1e-6)
    camera = Camera("brown-conrady", 640, 480, 300.0, 300.0, 320.0, 240.0, params)
    theta = np.linspace(0, np.pi, 3001)
    rays = np.stack([np.sin(theta) * 0.6, -np.sin(theta) * 0.8, np.cos(theta)], axis=-1)
    clear = np.abs(theta - reach) > 1e-5
    np.testing.assert_array_equal(camera.project(rays).valid[clear], (theta < reach)[clear])
    # nothing beyond the fold is ever returned, and a pixel has a ray exactly if the growing part reaches it
    pixels = grid(camera, beyond=1.0).reshape(-1, 2)
    lifted = camera.rays(pixels)
    found = sphere.angle_between(lifted.directions[lifted.valid], [0, 0, 1])
    assert found.max() <= reach + 1e-5
    r = np.hypot(pixels[:, 0] - 320, pixels[:, 1] - 240) / 300
    largest = radius(np.array([reach]))[0] if reach < np.pi / 2 - 1e-3 and np.isfinite(radius(reach)) else np.inf
    clear = np.abs(r - largest) > 1e-4
    np.testing.assert_array_equal(lifted.valid[clear], (r <= largest)[clear] | (largest > 1e3))


@pytest.mark.parametrize("params", [(-0.2,), (0.1, 0.05), (-0.05, 0.01, -0.003, 0.0002), (0.0, -0.02), (0.1, -0.1, 0.05)])
def test_kannala_brandt_ends_where_its_radius_stops_growing(params):
    k = (*params, *(0.0,) * (4 - len(params)))
    reach = monotone_reach(lambda t: t * (1 + sum(k[i] * t ** (2 * i + 2) for i in range(4))), np.pi)
    camera = Camera("kannala-brandt", 640, 480, 300.0, 300.0, 320.0, 240.0, params)
    theta = np.linspace(0, np.pi - 1e-6, 3001)
    rays = np.stack([np.sin(theta) * 0.6, -np.sin(theta) * 0.8, np.cos(theta)], axis=-1)
    np.testing.assert_array_equal(camera.project(rays).valid, theta <= reach + 1e-5)


@pytest.mark.parametrize(
    "params", [(-0.25, 0.0, 0.003, -0.002), (-0.25, 0.05, 0.01, 0.01), (0.0, 0.0, 0.02, 0.01), (-0.3, 0.0, 0.0, 0.02)]
)
def test_tangential_lens_ends_where_its_jacobian_first_vanishes(params):
    """Walk out from the axis with OpenCV's own projection and watch the sign of the Jacobian, by finite differences."""
    camera = Camera("brown-conrady", 640, 480, 300.0, 300.0, 320.0, 240.0, params)
    step = 1e-6
    for azimuth in np.linspace(-np.pi, np.pi, 37):
        t = np.tan(np.linspace(0.01, RAD(85), 1500))
        a, b = t * np.cos(azimuth), t * np.sin(azimuth)

        def opencv(a, b):
            points = np.stack([a, b, np.ones_like(a)], axis=-1)
            pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), np.eye(3), np.array(camera.params))
            return pixels[:, 0]

        da = (opencv(a + step, b) - opencv(a - step, b)) / (2 * step)
        db = (opencv(a, b + step) - opencv(a, b - step)) / (2 * step)
        determinant = da[:, 0] * db[:, 1] - da[:, 1] * db[:, 0]
        before_the_fold = np.cumprod(determinant > 0).astype(bool)
        ours = camera.project(np.stack([a, b, np.ones_like(a)], axis=-1)).valid
        disputed = np.flatnonzero(ours != before_the_fold)
        assert len(disputed) <= 1  # the sample at the fold itself
        assert np.all(np.abs(determinant[disputed]) < 1e-2)


@pytest.mark.parametrize("lens", sorted(LENSES))
def test_behind_the_camera(lens):
    camera = Camera(lens, 640, 480, 200.0, 200.0, 320.0, 240.0, (0.6,) if lens == "ucm" else ())
    behind = sphere.direction_from_lonlat(RAD(150), RAD(10))
    sees_behind = lens in ("kannala-brandt", "equidistant", "equisolid", "stereographic", "equirectangular")
    projection = camera.project([behind, [0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(projection.valid, [sees_behind, True])
    assert np.isnan(projection.pixels[0]).all() != sees_behind


@pytest.mark.parametrize("lens", sorted(LENSES))
@pytest.mark.parametrize("bad", [[0.0, 0.0, 0.0], [np.nan, 0.0, 1.0], [np.inf, 0.0, 1.0]])
def test_what_is_no_direction_has_no_pixel(lens, bad):
    camera = Camera(lens, 640, 480, 200.0, 200.0, 320.0, 240.0)
    assert not camera.project(bad).valid


@pytest.mark.parametrize("lens", sorted(LENSES))
def test_what_is_no_pixel_has_no_ray(lens):
    rays = Camera(lens, 640, 480, 200.0, 200.0, 320.0, 240.0).rays([[np.nan, 0.0], [320.0, np.inf]])
    assert not rays.valid.any()
    assert np.isnan(rays.directions).all()


def test_validity_is_not_being_inside_the_image():
    camera = Camera.from_fov("pinhole", 640, 480, RAD(60))
    projection = camera.project(sphere.direction_from_lonlat(RAD(50), 0.0))
    assert projection.valid
    assert not camera.contains(projection.pixels)
    np.testing.assert_array_equal(
        camera.contains([[0, 0], [640, 480], [640.001, 1], [1, -0.001], [np.nan, 3]]), [True, True, False, False, False]
    )


# --- the panorama -----------------------------------------------------------------------------------------------------


def test_equirectangular_camera_is_the_sphere_module():
    camera = Camera.equirectangular(2048)
    assert (camera.height, camera.is_panorama) == (1024, True)
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(5000, 3))
    directions = np.concatenate([directions, -np.eye(3), np.eye(3), [[0.0, -1.0, -0.0], [-0.0, 0.0, -1.0], [1e-17, 0, -1]]])
    projection = camera.project(directions)
    np.testing.assert_allclose(projection.pixels, sphere.pixel_from_direction(directions, 2048), atol=1e-9)
    assert projection.pixels[:, 0].min() >= 0
    assert projection.pixels[:, 0].max() < 2048
    pixels = rng.uniform([-500, 0], [3000, 1024], (2000, 2))
    np.testing.assert_allclose(camera.rays(pixels).directions, sphere.direction_from_pixel(pixels, 2048), atol=1e-12)
    assert not camera.rays([5.0, -0.1]).valid
    assert camera.hfov == pytest.approx(2 * np.pi)
    assert camera.vfov == pytest.approx(np.pi)


# --- plain data -------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(LENSES)),
    st.integers(1, 10_000),
    st.integers(1, 10_000),
    *[st.floats(1e-3, 1e5)] * 2,
    *[st.floats(-1e5, 1e5)] * 2,
    st.lists(st.floats(0, 2), max_size=8),
)
def test_json_round_trip_is_exact(lens, width, height, fx, fy, cx, cy, params):
    camera = Camera(lens, width, height, fx, fy, cx, cy, tuple(params[: len(LENSES[lens].parameters)]))
    assert Camera.from_dict(json.loads(json.dumps(camera.to_dict()))) == camera


def test_missing_parameters_are_zero():
    assert Camera("brown-conrady", 4, 4, 1, 1, 2, 2, (0.1,)) == Camera("brown-conrady", 4, 4, 1, 1, 2, 2, (0.1, *(0.0,) * 7))
    assert Camera("ucm", 4, 4, 1, 1, 2, 2).params == (0.0,)


def test_resized_sees_the_same():
    camera = Camera("brown-conrady", 640, 480, 400.0, 390.0, 300.0, 250.0, (-0.2, 0.03, 0.001, 0.002))
    smaller = camera.resized(320, 120)
    pixels = grid(camera, beyond=0.0, count=9)
    rays = camera.rays(pixels).directions
    np.testing.assert_allclose(smaller.rays(pixels * [0.5, 0.25]).directions, rays, atol=1e-12)
    assert (smaller.width, smaller.height, smaller.hfov) == (320, 120, pytest.approx(camera.hfov))


GOOD = {"lens": "pinhole", "width": 640, "height": 480, "fx": 320.0, "fy": 320.0, "cx": 320.0, "cy": 240.0, "params": []}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lens": "pinhol"}, "Unknown lens 'pinhol'. Did you mean 'pinhole'"),
        ({"lens": 3}, "Unknown lens 3"),
        ({"width": 0}, "width must be a whole number"),
        ({"width": 640.5}, "width must be a whole number"),
        ({"height": True}, "height must be a whole number"),
        ({"fx": 0.0}, "fx must be a focal length"),
        ({"fy": -2}, "fy must be a focal length"),
        ({"fx": math.nan}, "fx must be a finite number"),
        ({"cx": "320"}, "cx must be a finite number"),
        ({"params": [0.1]}, "The pinhole lens takes these parameters: none"),
        ({"params": "none"}, "params must be a list"),
        ({"lens": "kannala-brandt", "params": [0.1] * 5}, r"4 \(k1, k2, k3, k4\)"),
        ({"lens": "kannala-brandt", "params": [0.1, math.inf]}, "Parameter k2 of the kannala-brandt lens must be a finite"),
        ({"lens": "ucm", "params": [-0.1]}, "Parameter xi of the ucm lens must be 0 or more"),
        ({"focal": 3.0}, "unknown: focal"),
    ],
)
def test_unusable_data_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        Camera.from_dict(GOOD | change)


def test_missing_keys_are_named():
    with pytest.raises(InputError, match="missing: fx, cy"):
        Camera.from_dict({key: value for key, value in GOOD.items() if key not in ("fx", "cy")})
    with pytest.raises(InputError, match="must be a mapping"):
        Camera.from_dict([1, 2])
    assert Camera.from_dict({key: value for key, value in GOOD.items() if key != "params"}) == Camera.from_dict(GOOD)


@pytest.mark.parametrize(
    ("lens", "params", "fov", "reach"),
    [
        ("pinhole", (), 180, "180"),
        ("orthographic", (), 181, "180"),
        ("brown-conrady", (-0.3,), 95, r"93\.01"),
        ("brown-conrady", (-0.25, 0.0, 0.003, -0.002), 99, r"98\.\d"),
        ("kannala-brandt", (-0.2,), 150, r"147\.9"),
        ("ucm", (1.7,), 260, r"252\.0"),
        ("stereographic", (), 360, "360"),
        ("equidistant", (), 400, "360"),
        ("pinhole", (), -10, "180"),
    ],
)
def test_a_field_of_view_the_lens_cannot_reach_is_refused(lens, params, fov, reach):
    with pytest.raises(InputError, match=rf"below {reach}\d* degrees along the width; found {fov}"):
        Camera.from_fov(lens, 640, 480, RAD(fov), params=params)


def test_other_wrong_uses():
    with pytest.raises(InputError, match="side of a field of view"):
        Camera.from_fov("pinhole", 640, 480, 1.0, side="diagonal")
    with pytest.raises(InputError, match="field of view .* must be a finite number"):
        Camera.from_fov("pinhole", 640, 480, math.nan)
    with pytest.raises(InputError, match="odd width 33"):
        Camera.equirectangular(33)


def test_every_lens_says_where_its_formula_is_from():
    for name, lens in LENSES.items():
        assert lens.name == name
        assert len(lens.source) > 20
        assert replace(lens).parameters == lens.parameters


def test_rays_that_graze_the_image_plane_are_invalid_and_quiet() -> None:
    camera = Camera.from_fov("pinhole", 640, 480, np.radians(60.0))
    graze = np.array([[1.0, 0.0, 2e-310], [0.0, -1.0, 1e-306], [1.0, 0.0, 1e-300]])
    projection = camera.project(graze)  # warnings are errors in these tests
    np.testing.assert_array_equal(projection.valid, [False, False, True])
