"""Lens models, against OpenCV, closed forms and brute force."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenses import CASES, RAD, camera_of, grid, ids

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.lenses import LENSES

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


@settings(max_examples=60)
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


@settings(max_examples=60)
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
