"""Heatmaps: von Mises-Fisher against scipy, arg-max at cell centres, caps, seam and poles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from srgaze360 import heatmaps, sphere
from srgaze360.errors import InputError


@st.composite
def directions(draw):
    """Any direction, the awkward ones often."""
    lon = draw(st.one_of(st.sampled_from([-np.pi, np.nextafter(np.pi, 0.0), 0.0]), st.floats(-np.pi, np.pi)))
    lat = draw(st.one_of(st.sampled_from([-np.pi / 2.0, np.pi / 2.0, 0.0]), st.floats(-np.pi / 2.0, np.pi / 2.0)))
    return sphere.direction_from_lonlat(lon, lat)


def integral(maps):
    height, width = maps.shape[-2:]
    return np.sum(maps * sphere.cell_solid_angles(width, height), axis=(-2, -1))


def test_concentration_of_five_degrees():
    assert heatmaps.concentration(np.radians(5.0)) == pytest.approx(131.3, abs=0.05)
    with pytest.raises(InputError, match="positive and finite"):
        heatmaps.concentration(0.0)


@pytest.mark.parametrize("kappa", [0.5, 20.0, 131.3])
@pytest.mark.parametrize(("lon", "lat"), [(0.3, 0.2), (np.pi, -0.4), (1.0, np.pi / 2.0), (0.0, -1.5)])
def test_von_mises_fisher_is_scipys(kappa, lon, lat):
    mu = sphere.direction_from_lonlat(lon, lat)
    density = heatmaps.von_mises_fisher(mu[None], kappa, height=256, width=512)
    expected = stats.vonmises_fisher(mu / np.linalg.norm(mu), kappa).pdf(sphere.cell_directions(512, 256))
    relevant = expected > 1e-12 * expected.max()
    # normalised on the grid instead of by the integral: one common factor, close to 1
    ratio = density[relevant] / expected[relevant]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-10)
    assert ratio.mean() == pytest.approx(1.0, rel=1e-3)


@given(point=directions(), log_kappa=st.floats(-3.0, 12.0))
def test_any_concentration_integrates_to_one_and_peaks_at_the_point(point, log_kappa):
    density = heatmaps.von_mises_fisher(point[None], 10.0**log_kappa)
    assert np.all(np.isfinite(density))
    assert np.all(density >= 0.0)
    assert integral(density) == pytest.approx(1.0, rel=1e-12)
    distance = sphere.angle_between(sphere.cell_directions(128, 64), point)
    assert density.ravel()[np.argmin(distance)] == pytest.approx(density.max(), rel=1e-3)


def test_very_concentrated_is_one_hot():
    point = sphere.direction_from_lonlat(0.1, 0.2)
    density = heatmaps.von_mises_fisher(point[None], 1e9)
    assert np.count_nonzero(density) == 1
    row, column = heatmaps.cell_of(point)
    assert density[row, column] == pytest.approx(1.0 / sphere.cell_solid_angles(128, 64)[row, column])


def test_mixture_is_ragged():
    rng = np.random.default_rng(3)
    points = sphere.normalise(rng.normal(size=(2, 3, 4, 3)))
    weights = rng.integers(0, 2, size=(2, 3, 4)).astype(float)
    weights[0, 0] = [1, 0, 0, 0]
    weights[1, 2] = 0.0
    points[weights == 0.0] = np.nan
    maps = heatmaps.von_mises_fisher(points, 50.0, weights, height=16, width=32)
    assert maps.shape == (2, 3, 16, 32)
    for index in np.ndindex(2, 3):
        there = points[index][weights[index] > 0.0]
        if not len(there):
            assert np.isnan(maps[index]).all()
            continue
        alone = [heatmaps.von_mises_fisher(point[None], 50.0, height=16, width=32) for point in there]
        np.testing.assert_allclose(maps[index], np.mean(alone, axis=0), rtol=1e-12)


def test_unequal_weights_weigh():
    points = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    mixture = heatmaps.von_mises_fisher(points, 100.0, [3.0, 1.0])
    front = sphere.cell_directions(128, 64)[..., 2] > 0.0
    assert np.sum(mixture * sphere.cell_solid_angles(128, 64) * front) == pytest.approx(0.75, rel=1e-12)


def test_von_mises_fisher_refuses():
    with pytest.raises(InputError, match="shape"):
        heatmaps.von_mises_fisher([0.0, 0.0, 1.0], 10.0)
    with pytest.raises(InputError, match="kappa must be positive"):
        heatmaps.von_mises_fisher([[0.0, 0.0, 1.0]], 0.0)
    with pytest.raises(InputError, match="0 or more"):
        heatmaps.von_mises_fisher([[0.0, 0.0, 1.0]], 1.0, [-1.0])
    with pytest.raises(InputError, match=r"found 1 sets with NaN or infinity \(index 1\)"):
        heatmaps.von_mises_fisher([[[0.0, 0.0, 1.0]], [[np.nan, 0.0, 1.0]]], 1.0)


@given(point=directions(), radius=st.floats(0.01, np.pi))
def test_cap_mask_is_geodesic(point, radius):
    distance = sphere.angle_between(sphere.cell_directions(64, 32), point)
    clear = np.abs(distance - radius) > 1e-7
    mask = heatmaps.cap_mask(point, radius, height=32, width=64)
    np.testing.assert_array_equal(mask[clear], (distance <= radius)[clear])


@pytest.mark.parametrize("lat_deg", [0.0, 37.0, 85.0, 90.0, -90.0])
def test_cap_mask_has_the_caps_area_everywhere(lat_deg):
    centre = sphere.direction_from_lonlat(np.pi, np.radians(lat_deg))
    mask = heatmaps.cap_mask(centre, np.radians(20.0), height=512, width=1024)
    assert integral(mask) == pytest.approx(sphere.cap_solid_angle(np.radians(20.0)), rel=5e-3)


def test_cap_around_nan_is_empty():
    assert not heatmaps.cap_mask(np.full((2, 3), np.nan), 1.0).any()


@given(point=directions())
def test_cell_of_contains_the_direction(point):
    row, column = heatmaps.cell_of(point, height=8, width=16)
    assert 0 <= row < 8
    assert 0 <= column < 16
    lon, lat = sphere.cell_lonlat(16, 8)
    own_lon, own_lat = sphere.lonlat_from_direction(point)
    assert abs(own_lat - lat[row]) <= np.pi / 16.0 + 1e-12
    assert abs(sphere.wrap_lon(own_lon - lon[column])) <= np.pi / 16.0 + 1e-12


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_argmax_decodes_every_cell_to_its_centre(dtype):
    one_hot = np.eye(8 * 16, dtype=dtype).reshape(8, 16, 8, 16)
    np.testing.assert_array_equal(heatmaps.decode_argmax(one_hot), sphere.cell_directions(16, 8))


@given(point=directions())
def test_argmax_of_a_target_is_within_half_a_cell(point):
    decoded = heatmaps.decode_argmax(heatmaps.von_mises_fisher(point[None], 131.3))
    nearest = np.min(sphere.angle_between(sphere.cell_directions(128, 64), point))
    assert sphere.angle_between(decoded, point) == pytest.approx(nearest, abs=1e-6)


def test_argmax_of_density_not_of_mass():
    # the wide peak at the zenith wins although its cells are small
    maps = np.zeros((64, 128))
    maps[0, 5], maps[32, 64] = 1.0, 0.9
    assert np.degrees(sphere.lonlat_from_direction(heatmaps.decode_argmax(maps))[1]) == pytest.approx(90.0 - 90.0 / 64.0)


def test_ties_go_to_the_first_cell():
    maps = np.zeros((8, 16))
    maps[3, 5] = maps[3, 9] = maps[6, 0] = 2.0
    np.testing.assert_array_equal(heatmaps.decode_argmax(maps), sphere.cell_directions(16, 8)[3, 5])
    np.testing.assert_array_equal(heatmaps.decode_argmax(np.ones((8, 16))), sphere.cell_directions(16, 8)[0, 0])


def test_decoding_refuses_what_is_not_finite():
    maps = np.zeros((3, 8, 16))
    maps[1, 2, 3], maps[2, 2, 3] = np.nan, np.inf
    with pytest.raises(InputError, match=r"2 of 3 hold NaN or infinity \(index 1, 2\)"):
        heatmaps.decode_argmax(maps)
    with pytest.raises(InputError, match="shape"):
        heatmaps.decode_argmax(np.zeros(5))


@pytest.mark.parametrize("scale", [1e-320, 1e-30, 1.0, 1e300])
def test_normalised_at_any_scale(scale):
    maps = np.random.default_rng(0).random((3, 8, 16))
    result = heatmaps.normalised(maps * scale)
    np.testing.assert_allclose(integral(result), 1.0, rtol=1e-12)
    tolerance = 1e-3 if scale < 1e-300 else 1e-12  # subnormal numbers have few digits
    np.testing.assert_allclose(result, maps / integral(maps)[:, None, None], rtol=tolerance, atol=tolerance / 10)


def test_zeros_are_the_uniform_density():
    maps = np.zeros((2, 8, 16))
    maps[1] = 7.0
    np.testing.assert_allclose(heatmaps.normalised(maps), 1.0 / (4.0 * np.pi), rtol=1e-14)


@pytest.mark.parametrize(("height", "width"), [(64, 128), (8, 16), (3, 6), (90, 180)])
@pytest.mark.parametrize("radius_deg", [0.1, 10.0, 95.0])
def test_marked_caps_are_the_mask_of_all_cells(height, width, radius_deg):
    rng = np.random.default_rng(7)
    poles = np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    centres = np.vstack([sphere.normalise(rng.normal(size=(200, 3))), poles])
    cells = np.zeros((len(centres), height, width), dtype=bool)
    cells[0, 0, 0] = True
    heatmaps.mark_caps(cells, centres, np.radians(radius_deg))
    expected = heatmaps.cap_mask(centres, np.radians(radius_deg), height=height, width=width)
    expected[0, 0, 0] = True
    assert np.array_equal(cells, expected)


@pytest.mark.parametrize(("height", "width"), [(64, 128), (90, 180), (5, 10)])
def test_marked_caps_of_several_centres_in_a_map_are_their_union(height, width):
    """In any order and number, also where a cap just reaches a pole, where the seam is, and twice the same."""
    radius = np.radians(10.0)
    rng = np.random.default_rng(1)
    lat = np.array(
        [0.0, 0.3, *(sign * (np.pi / 2.0 - radius + nudge) for sign in (1, -1) for nudge in (-1e-9, -1e-16, 0.0, 1e-9))]
    )
    special = sphere.direction_from_lonlat(np.array([[np.pi], [-np.pi], [3.13], [0.0]]), lat).reshape(-1, 3)
    centres = np.vstack([special, special[:5], sphere.normalise(rng.normal(size=(300, 3)))])
    maps = rng.integers(0, 7, len(centres))
    cells = np.zeros((8, height, width), dtype=bool)  # the last map has no centre
    heatmaps.mark_caps(cells, centres, radius, maps)
    each = heatmaps.cap_mask(centres, radius, height=height, width=width)
    expected = np.array([each[maps == index].any(axis=0) for index in range(8)])
    np.testing.assert_array_equal(cells, expected)
