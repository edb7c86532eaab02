"""Groups of samples: limits of bands, the head-centred view, unknown targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgaze360 import sphere
from srgaze360.errors import InputError
from srgaze360.protocols import breakdown


def at(lon_deg, lat_deg):
    return sphere.direction_from_lonlat(np.radians(lon_deg), np.radians(lat_deg))


def test_bands_include_their_lower_limit():
    degrees = np.array([0.0, 29.999, 30.0, 59.9, 60.0, 90.0, np.nan])
    expected = ["0-30 deg"] * 2 + ["30-60 deg"] * 2 + ["60-90 deg"] * 2 + ["unknown"]
    np.testing.assert_array_equal(breakdown.band(np.radians(degrees), (0, 30, 60, 90)), expected)
    # north and south alike, through a direction
    np.testing.assert_array_equal(breakdown.latitude_band(at(77.0, degrees)), expected)
    np.testing.assert_array_equal(breakdown.latitude_band(at(-7.0, -degrees)), expected)


def test_bands_refuse_what_is_beyond_them():
    with pytest.raises(InputError, match="between 0 and 90 degrees; found 5 to 100"):
        breakdown.band(np.radians([5.0, 100.0, np.nan]), (0, 90))


def test_head_size_and_arc():
    np.testing.assert_array_equal(
        breakdown.head_size(np.radians([1.0, 2.0, 7.5, 10.0])), ["0-2 deg", "2-5 deg", "5-10 deg", "10-180 deg"]
    )
    arcs = breakdown.head_target_arc(at(170.0, 0.0), at([175.0, -170.0, -145.0, -101.0, -10.0, np.nan], 0.0))
    np.testing.assert_array_equal(arcs, ["0-15 deg", "15-30 deg", "30-60 deg", "60-90 deg", "90-180 deg", "unknown"])


def test_view_in_closed_form():
    head = at(0.0, 0.0)
    corner = np.degrees(np.arctan(1.0 / np.sqrt(2.0)))  # latitude of the view's upper corners, at longitude 45 degrees
    targets = at([45.0, 45.1, 0.0, 0.0, 45.0, 45.0, 180.0, 135.0], [0.0, 0.0, 45.0, 45.1, corner, corner + 0.1, 0.0, 0.0])
    inside = [True, False, True, False, True, False, False, False]
    np.testing.assert_array_equal(breakdown.head_view(head, targets) == breakdown.INSIDE_VIEW, inside)


@given(yaw=st.floats(-3.1, 3.1), pitch=st.floats(-1.5, 1.5), seed=st.integers(0, 2**31))
def test_view_is_a_90_degree_camera_looking_at_the_head(yaw, pitch, seed):
    # x, y, z of the camera with that yaw and pitch and no roll: the definition of the perspective view
    rotation = sphere.rotation_from_pose(yaw, pitch, 0.0)
    camera = np.random.default_rng(seed).normal(size=(200, 3))
    camera = camera[np.abs(np.abs(camera[:, :2]) - np.abs(camera[:, 2:])).min(axis=1) > 1e-6]
    x, y, z = camera.T
    labels = breakdown.head_view(rotation[:, 2], sphere.rotate(rotation, sphere.normalise(camera)))
    np.testing.assert_array_equal(labels == breakdown.INSIDE_VIEW, (z > 0.0) & (abs(x) <= z) & (abs(y) <= z))


def test_all_groupings_and_unknown_targets():
    head = at([0.0, 120.0], [0.0, 40.0])
    target = np.stack([at(10.0, 70.0), np.full(3, np.nan)])
    labels = breakdown.groups(head, np.radians([3.0, 12.0]), target)
    assert {name: list(values) for name, values in labels.items()} == {
        "target_latitude": ["60-90 deg", "unknown"],
        "head_latitude": ["0-30 deg", "30-60 deg"],
        "head_radius": ["2-5 deg", "10-180 deg"],
        "head_target_arc": ["60-90 deg", "unknown"],
        "head_view": [breakdown.OUTSIDE_VIEW, "unknown"],
    }
