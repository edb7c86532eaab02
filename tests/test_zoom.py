"""Zooming the sphere: the closed form against the stereographic projection, conformality, and pixels that follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sphere_pictures import PLACES, decoded, encoded

from srgaze360 import sphere
from srgaze360.errors import InputError
from srgaze360.zoom import zoom, zoom_rotation, zoom_scale, zoom_sphere

FACTORS = st.floats(0.3, 3.0)


def unit(seed: int, count: int = 1) -> np.ndarray:
    return sphere.normalise(np.random.default_rng(seed).normal(size=(count, 3)))


@given(seed=st.integers(0, 10**6), factor=FACTORS)
def test_it_scales_the_stereographic_projection(seed: int, factor: float) -> None:
    centre, directions = unit(seed)[0], unit(seed + 1, 50)
    moved = zoom(directions, centre, factor)
    before, after = sphere.log_map(centre, directions), sphere.log_map(centre, moved)
    angles, new_angles = np.linalg.norm(before, axis=-1), np.linalg.norm(after, axis=-1)
    np.testing.assert_allclose(np.tan(new_angles / 2.0), factor * np.tan(angles / 2.0), rtol=1e-6)
    # along its great circle through the centre
    np.testing.assert_allclose(after / new_angles[:, None], before / angles[:, None], atol=1e-7)


@given(seed=st.integers(0, 10**6), factor=FACTORS)
def test_the_inverse_factor_undoes_it_and_factors_multiply(seed: int, factor: float) -> None:
    centre, directions = unit(seed)[0], unit(seed + 1, 50)
    there = zoom(directions, centre, factor)
    assert sphere.angle_between(zoom(there, centre, 1.0 / factor), directions).max() < 1e-9
    assert sphere.angle_between(zoom(there, centre, 1.3), zoom(directions, centre, 1.3 * factor)).max() < 1e-9


@given(seed=st.integers(0, 10**6), factor=FACTORS)
def test_small_steps_are_turned_and_scaled_alike_in_every_direction(seed: int, factor: float) -> None:
    centre, (direction,) = unit(seed)[0], unit(seed + 1)
    scale, turn = float(zoom_scale(direction, centre, factor)), zoom_rotation(direction, centre, factor)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(turn @ direction, zoom(direction, centre, factor), atol=1e-12)
    east, north, _ = sphere.tangent_frame(direction)
    small = 1e-5
    for azimuth in np.linspace(0.0, 2.0 * np.pi, 7):
        there = sphere.exp_map(direction, small * np.array([np.cos(azimuth), np.sin(azimuth)]))
        step = small * (np.cos(azimuth) * east + np.sin(azimuth) * north)
        found = zoom(there, centre, factor) - zoom(direction, centre, factor)
        np.testing.assert_allclose(found / small, turn @ step * scale / small, atol=3e-4)


def test_centre_and_antipode_stay_and_a_zoom_by_one_changes_nothing() -> None:
    centre, directions = PLACES["anywhere"], unit(3, 20)
    np.testing.assert_allclose(zoom([centre, -centre], centre, 2.0), [centre, -centre], atol=1e-15)
    np.testing.assert_allclose(zoom_scale([centre, -centre], centre, 2.0), [2.0, 0.5])
    np.testing.assert_array_equal(zoom(directions, centre, 1.0), directions)
    np.testing.assert_array_equal(zoom_rotation(directions, centre, 1.0), np.tile(np.eye(3), (20, 1, 1)))


@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("factor", [0.6, 1.7])
def test_pixels_follow(place: str, factor: float) -> None:
    mirrored_and_turned = sphere.rotation_from_pose(0.7, 0.4, -0.2) * np.array([-1.0, 1.0, 1.0])
    moved = zoom_sphere(encoded(128, np.float32), PLACES[place], factor, mirrored_and_turned)
    shown = sphere.normalise(decoded(moved))
    there = zoom(shown, PLACES[place], factor) @ mirrored_and_turned.T
    assert sphere.angle_between(there, sphere.cell_directions(256, 128)).max() < 1e-3


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, np.inf])
def test_factors_that_are_none_are_refused(factor: float) -> None:
    with pytest.raises(InputError, match="Expected a positive factor to zoom by"):
        zoom(PLACES["ahead"], PLACES["anywhere"], factor)
