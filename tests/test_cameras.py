"""Cameras: axes, fields of view, the panorama, plain data, wrong use."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenses import CASES, RAD, camera_of, grid, ids

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.lenses import LENSES

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


def test_a_panorama_goes_on_beyond_its_seam():
    """Head boxes that cross the seam have x up to 2 W: their rays are those of x - W, and they lie in the image."""
    camera = Camera.equirectangular(1024)
    x, y = np.meshgrid(np.linspace(0.0, 1024.0, 65), np.linspace(0.0, 512.0, 33))
    here = camera.rays(np.stack([x, y], axis=-1))
    assert here.valid.all()
    for turns in (-1, 1, 2):
        there = camera.rays(np.stack([x + turns * 1024, y], axis=-1))
        assert there.valid.all()
        np.testing.assert_allclose(there.directions, here.directions, atol=1e-14)
    # absolute: a quarter turn right of the middle, half a turn later too
    np.testing.assert_allclose(camera.rays([[768.0, 256.0], [1792.0, 256.0]]).directions, [[1, 0, 0]] * 2, atol=1e-15)
    np.testing.assert_allclose(camera.rays([1024.0, 256.0]).directions, [0, 0, -1], atol=1e-15)
    np.testing.assert_array_equal(
        camera.contains([[-3.0, 5.0], [1500.0, 512.0], [2048.0, 0.0], [5.0, 512.1], [5.0, -0.1], [np.nan, 5.0], [np.inf, 5.0]]),
        [True, True, True, False, False, False, False],
    )
    # a crop of a panorama is an image like any other
    crop = Camera("equirectangular", 200, 100, 100.0, 100.0, 100.0, 50.0)
    np.testing.assert_array_equal(crop.contains([[-1.0, 5.0], [199.0, 5.0]]), [False, True])


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
