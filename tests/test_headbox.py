"""Spherical head boxes: caps with known limits, cell counts, seam and poles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgaze360 import headbox, sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError

angle = st.floats(-np.pi, np.pi)


def circle(lon, lat, radius, n=4000):
    """Outline of a cap, from its definition: points at the same distance all around."""
    turn = 2.0 * np.pi * np.arange(n) / n
    centre = sphere.direction_from_lonlat(lon, lat)
    return sphere.exp_map(np.broadcast_to(centre, (n, 3)), radius * np.stack([np.cos(turn), np.sin(turn)], axis=-1))


def turn_difference(a, b):
    """Difference of two fractions of a turn, the short way."""
    return abs((a - b + 0.5) % 1.0 - 0.5)


@given(lon=angle, lat=st.floats(-1.2, 1.2), radius=st.floats(0.02, 0.3))
def test_box_of_a_cap_away_from_the_poles(lon, lat, radius):
    u0, v0, u1, v1 = headbox.box_of_outline(circle(lon, lat, radius))
    # a meridian tangent to a cap of radius r at latitude lat is asin(sin r / cos lat) from its centre (Napier)
    half = np.arcsin(np.sin(radius) / np.cos(lat)) / (2.0 * np.pi)
    assert 0.0 <= u0 < 1.0
    assert u1 - u0 == pytest.approx(2.0 * half, abs=1e-5)
    assert turn_difference((u0 + u1) / 2.0, lon / (2.0 * np.pi) + 0.5) < 1e-5
    assert v0 == pytest.approx(0.5 - (lat + radius) / np.pi, abs=1e-6)
    assert v1 == pytest.approx(0.5 - (lat - radius) / np.pi, abs=1e-6)


@given(lon=angle, off=st.floats(0.01, 0.4), radius=st.floats(0.05, 0.5), south=st.booleans())
def test_full_width_exactly_if_a_pole_is_inside(lon, off, radius, south):
    if abs(off - radius) < 0.005:
        return
    lat = np.pi / 2.0 - off
    u0, v0, u1, v1 = headbox.box_of_outline(circle(lon, -lat if south else lat, radius))
    if off < radius:
        reach = (off + radius) / np.pi
        expected = (0.0, 1.0 - reach, 1.0, 1.0) if south else (0.0, 0.0, 1.0, reach)
        assert (u0, v0, u1, v1) == pytest.approx(expected, abs=1e-5)
    else:
        assert u1 - u0 < 0.5
        assert v0 > 0.0
        assert v1 < 1.0


def test_outline_through_a_pole_counts_as_containing_it():
    u0, v0, u1, _ = headbox.box_of_outline(circle(0.3, np.pi / 2.0 - 0.2, 0.2, n=400))
    assert (u0, v0, u1) == (0.0, 0.0, 1.0)


def test_flags_overrule_the_winding():
    # a cap of 120 degrees about the nadir: by area its outline belongs to the zenith's side
    outline = circle(0.0, -np.pi / 2.0, np.radians(120.0))
    np.testing.assert_allclose(headbox.box_of_outline(outline), [0, 0, 1, 1 / 3], atol=1e-9)
    told = headbox.box_of_outline(outline, contains_zenith=False, contains_nadir=True)
    np.testing.assert_allclose(told, [0, 1 / 3, 1, 1], atol=1e-9)
    # both poles inside: nothing winds
    both = headbox.box_of_outline(circle(0.5, 0.0, np.radians(100.0)), contains_zenith=True, contains_nadir=True)
    np.testing.assert_array_equal(both, [0, 0, 1, 1])


def test_outlines_are_vectorised_and_sampling_order_does_not_matter():
    outlines = np.stack([circle(3.1, 0.1, 0.2), circle(0.0, 1.5, 0.2), circle(-1.0, -0.9, 0.1)])
    boxes = headbox.box_of_outline(outlines)
    np.testing.assert_array_equal(boxes, [headbox.box_of_outline(outline) for outline in outlines])
    np.testing.assert_allclose(boxes, headbox.box_of_outline(np.roll(outlines[:, ::-1], 7, axis=1)), atol=1e-12)
    assert boxes[0, 2] > 1.0  # across the seam


@given(lon=angle, lat=st.floats(-1.5, 1.5), radius=st.floats(0.02, 0.5), seed=st.integers(0, 2**31))
def test_everything_inside_the_outline_is_inside_the_box(lon, lat, radius, seed):
    outline = circle(lon, lat, radius, n=720)
    box = headbox.box_of_outline(outline)
    assert np.all(headbox.contains_direction(box, outline))
    rng = np.random.default_rng(seed)
    cloud = sphere.normalise(rng.normal(size=(500, 3)))
    inside = sphere.in_cap(cloud, sphere.direction_from_lonlat(lon, lat), 0.99 * radius)
    assert np.all(headbox.contains_direction(box, cloud)[inside])
    assert headbox.contains_direction(box, headbox.centre(box))


@pytest.mark.parametrize(
    "box", [(0.2, 0.3, 0.4, 0.6), (0.9, 0.1, 1.2, 0.9), (0.5, 0.0, 1.5, 0.3), (0.0, 0.6, 1.0, 1.0), (0.75, 0.25, 1.0, 0.5)]
)
def test_rectangles_cells_and_solid_angle_agree(box):
    width, height = 80, 40
    rectangles = headbox.pixel_rectangles(box, width)
    assert len(rectangles) == (2 if box[2] > 1.0 else 1)
    painted = np.zeros((height, width), dtype=int)
    for x0, y0, x1, y1 in np.rint(rectangles).astype(int):
        painted[y0:y1, x0:x1] += 1
    directions = sphere.cell_directions(width, height)
    np.testing.assert_array_equal(painted, headbox.contains_direction(box, directions))
    solid = np.sum(sphere.cell_solid_angles(width, height) * painted)  # the boxes lie on cell limits
    assert headbox.solid_angle(box) == pytest.approx(solid, rel=1e-12)


def test_solid_angle_closed_forms():
    boxes = [(0.0, 0.0, 1.0, 1.0), (0.9, 0.0, 1.15, 0.5), (0.3, 0.0, 1.3, 0.25)]
    expected = [4.0 * np.pi, np.pi / 2.0, sphere.cap_solid_angle(np.pi / 4.0)]
    np.testing.assert_allclose(headbox.solid_angle(boxes), expected, rtol=1e-14)
    # a tiny box keeps its digits: width times height times cos(lat)
    tiny = headbox.solid_angle((0.1, 0.25, 0.1 + 1e-9, 0.25 + 1e-9))
    assert tiny == pytest.approx(2.0 * np.pi * np.pi * 1e-18 * np.cos(np.pi / 4.0), rel=1e-6)


def test_contains_wraps_and_includes_limits():
    box = (0.9, 0.2, 1.1, 0.4)
    u = np.array([0.9, 0.95, 0.0, 0.1, 1.05, -0.05, 0.11, 0.89, 0.5])
    np.testing.assert_array_equal(headbox.contains(box, u, 0.2), [True] * 6 + [False] * 3)
    assert not headbox.contains(box, 0.0, 0.19)
    grid = headbox.contains(np.array([box, (0.0, 0.0, 1.0, 1.0)])[:, None], u, 0.3)
    assert grid.shape == (2, 9)
    assert grid[1].all()


def test_centre():
    boxes = [(0.25, 0.25, 0.75, 0.75), (0.9, 0.5, 1.1, 0.75), (0.3, 0.0, 1.3, 0.2), (0.0, 0.7, 1.0, 1.0)]
    expected = sphere.direction_from_lonlat([0.0, np.pi, 0.0, 0.0], [0.0, -np.pi / 8.0, np.pi / 2.0, -np.pi / 2.0])
    np.testing.assert_allclose(headbox.centre(boxes), expected, atol=1e-12)


@given(u0=st.floats(0.0, 0.999), width=st.floats(0.001, 0.4), v0=st.floats(0.0, 0.9), height=st.floats(0.001, 0.1))
def test_radius_is_what_the_builder_records_of_a_source_box_on_a_panorama(u0, width, v0, height):
    box = (u0, v0, u0 + width, v0 + height)
    camera = Camera.equirectangular(4096)
    x0, y0, x1, y1 = np.array(box) * [4096, 2048, 4096, 2048]
    rays = camera.rays(
        [[(x0 + x1) / 2, (y0 + y1) / 2], [x0, (y0 + y1) / 2], [x1, (y0 + y1) / 2], [(x0 + x1) / 2, y0], [(x0 + x1) / 2, y1]]
    ).directions
    sides = [np.arccos(np.clip(rays[0] @ side, -1.0, 1.0)) for side in rays[1:]]  # the slow way, from the definition
    assert headbox.radius(box) == pytest.approx(np.mean(sides), abs=1e-7)


def test_radius_closed_forms():
    # on the equator, of a small box: a quarter of its width and height together
    assert headbox.radius((0.4, 0.49, 0.6, 0.51)) == pytest.approx((2 * 0.1 * 2 * np.pi + 2 * 0.01 * np.pi) / 4.0, rel=1e-12)
    caps = [(0.0, 0.0, 1.0, 0.1), (0.3, 0.9, 1.3, 1.0), (0.0, 0.05, 1.0, 0.1)]
    np.testing.assert_allclose(headbox.radius(caps), [0.1 * np.pi] * 3, rtol=1e-12)


@pytest.mark.parametrize(
    "box",
    [
        *[(1.0, 0.1, 1.2, 0.2), (-0.1, 0.1, 0.2, 0.2), (0.5, 0.1, 0.4, 0.2), (0.5, 0.1, 1.6, 0.2), (0.1, 0.1, 0.1, 0.2)],
        *[(0.1, 0.5, 0.2, 0.4), (0.1, -0.1, 0.2, 0.2), (0.1, 0.5, 0.2, 1.1), (np.nan, 0.1, 0.2, 0.2), (0.1, 0.1, np.inf, 0.2)],
    ],
)
def test_bad_boxes_are_refused(box):
    with pytest.raises(InputError, match=r"found 1 of 2 that do not \(index 1;"):
        headbox.as_boxes([(0.1, 0.1, 0.2, 0.2), box])


def test_bad_shapes_are_refused():
    with pytest.raises(InputError, match=r"shape \(\.\.\., 4\).*found \(3,\)"):
        headbox.as_boxes([0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="One box"):
        headbox.pixel_rectangles([(0.1, 0.1, 0.2, 0.2)], 100)
    with pytest.raises(InputError, match="at least 3 directions"):
        headbox.box_of_outline(np.eye(3)[:2])
    with pytest.raises(InputError, match="found 1 samples with NaN"):
        headbox.box_of_outline([[1, 0, 0], [np.nan, 0, 0], [0, 1, 0]])
    with pytest.raises(InputError, match="found 1 of 1 without"):
        headbox.box_of_outline(np.tile([0.0, 0.0, 1.0], (5, 1)))
