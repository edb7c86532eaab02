"""Groups by which scores are broken down.

Conventions
-----------
Every function labels samples: directions (n, 3), angles (n,) in radians, or fractions of a photo in, an array (n,) of group
names out. Names are fit for tables and say their unit. Bands include their lower limit and exclude the upper one, except that
the last band includes both. A sample without a known target (NaN) is in the group ``"unknown"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360 import sphere
from srgaze360.errors import InputError
from srgaze360.protocols import planar

Labels = NDArray[np.str_]

UNKNOWN = "unknown"
INSIDE_VIEW = "inside 90 deg view"
OUTSIDE_VIEW = "outside 90 deg view"

# limits in degrees
LATITUDE_BANDS = (0.0, 30.0, 60.0, 90.0)
HEAD_RADIUS_BANDS = (0.0, 2.0, 5.0, 10.0, 180.0)
ARC_BANDS = (0.0, 15.0, 30.0, 60.0, 90.0, 180.0)

# limits in fractions of a photo's sides
REACH_BANDS = (0.0, 0.1, 0.2, 0.4, 1.5)
HEAD_HEIGHT_BANDS = (0.0, 0.1, 0.2, 0.4, 1.0)


def band_names(limits: Sequence[float], unit: str = " deg") -> tuple[str, ...]:
    """Names of the bands between consecutive limits, in order, e.g. ``("0-30 deg", "30-60 deg")``."""
    return tuple(f"{low:g}-{high:g}{unit}" for low, high in pairwise(limits))


def band(angles: ArrayLike, limits_deg: Sequence[float]) -> Labels:
    """Label angles (n,), radians, with the band they fall in."""
    # rounded, so that 30 degrees belong to the band that begins there after a detour through radians and directions
    degrees = np.round(np.degrees(np.asarray(angles, dtype=np.float64)), 9)
    if np.any((degrees < limits_deg[0]) | (degrees > limits_deg[-1])):
        raise InputError(
            f"Angles to be grouped must lie between {limits_deg[0]:g} and {limits_deg[-1]:g} degrees; found "
            f"{np.nanmin(degrees):g} to {np.nanmax(degrees):g}. Pass radians, and NaN where the angle is not known."
        )
    return _in_bands(degrees, limits_deg, " deg")


def _in_bands(values: ArrayLike, limits: Sequence[float], unit: str = "") -> Labels:
    numbers = np.asarray(values, dtype=np.float64)
    names = np.array([*band_names(limits, unit), UNKNOWN])
    index = np.searchsorted(np.asarray(limits[1:-1]), numbers, side="right")
    return np.asarray(names[np.where(np.isnan(numbers), len(names) - 1, index)])


def latitude_band(directions: ArrayLike) -> Labels:
    """Band of |latitude| of directions (n, 3): 0-30, 30-60 or 60-90 degrees."""
    return band(np.abs(sphere.lonlat_from_direction(directions)[1]), LATITUDE_BANDS)


def head_size(head_radius: ArrayLike) -> Labels:
    """Band of the angular radius (n,) of heads."""
    return band(head_radius, HEAD_RADIUS_BANDS)


def head_target_arc(head: ArrayLike, target: ArrayLike) -> Labels:
    """Band of the arc between head and target directions (n, 3)."""
    return band(sphere.angle_between(head, target), ARC_BANDS)


def head_view(head: ArrayLike, target: ArrayLike) -> Labels:
    """Whether the target lies in the 90 x 90 degree perspective view centred on the head, local north up.

    In the head's tangent frame (east, north, radial) that is |east| <= radial and |north| <= radial: what a photo centred on
    the head could show at most, and what 360 degrees are needed for.
    """
    head, target = np.asarray(head, dtype=np.float64), np.asarray(target, dtype=np.float64)
    east, north, radial = np.moveaxis(sphere.rotate(sphere.tangent_frame(head), target), -1, 0)
    inside = np.maximum(np.abs(east), np.abs(north)) <= radial * (1.0 + 1e-12)
    known = np.isfinite(head).all(axis=-1) & np.isfinite(target).all(axis=-1)
    names = np.array([OUTSIDE_VIEW, INSIDE_VIEW, UNKNOWN])
    return np.asarray(names[np.where(known, inside.astype(np.intp), 2)])


def groups(head: ArrayLike, head_radius: ArrayLike, target: ArrayLike) -> dict[str, Labels]:
    """All groupings: name -> label (n,) of each sample.

    Parameters
    ----------
    head
        Directions (n, 3) of the heads.
    head_radius
        Angular radii (n,) of the heads, radians.
    target
        Consensus directions (n, 3) of the targets, NaN where not known.
    """
    return {
        "target_latitude": latitude_band(target),
        "head_latitude": latitude_band(head),
        "head_radius": head_size(head_radius),
        "head_target_arc": head_target_arc(head, target),
        "head_view": head_view(head, target),
    }


def photo_groups(eyes: ArrayLike, head_heights: ArrayLike, points: ArrayLike, weights: ArrayLike) -> dict[str, Labels]:
    """All groupings of people in photos: name -> label (n,) of each sample.

    Parameters
    ----------
    eyes
        Points (n, 2) of the eyes, fractions of the photo's sides.
    head_heights
        Heights (n,) of the head boxes, fractions of the photo's height.
    points, weights
        Annotations (n, m, 2), fractions, and their weights (n, m); who has none is in the group ``"unknown"`` by target.
    """
    reach = planar.distances(eyes, planar.mean_annotation(points, weights)[:, None])[:, 0]
    return {"reach": _in_bands(reach, REACH_BANDS), "head_height": _in_bands(head_heights, HEAD_HEIGHT_BANDS)}
