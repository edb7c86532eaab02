"""Head boxes on the sphere: axis-aligned in longitude and latitude, and allowed to cross the seam.

Conventions
-----------
A box is the last axis of an array (..., 4): (u0, v0, u1, v1), the fractions of an equirectangular panorama's width and height
that the dataset stores: u = lon / 2 pi + 0.5 grows to the right, v = 0.5 - lat / pi grows down.

* 0 <= u0 < 1 and u0 < u1 <= u0 + 1: a box that crosses the seam has u1 > 1.
* 0 <= v0 < v1 <= 1.
* The box is full width (u1 = u0 + 1) only if the head contains a pole; it then reaches v = 0 (zenith) or v = 1 (nadir).

Directions are unit vectors (..., 3) as in :mod:`srgaze360.sphere`. Solid angles are in steradian.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from srgaze360 import sphere
from srgaze360.errors import InputError, first_ids
from srgaze360.sphere import TWO_PI, BoolArray, FloatArray

# Boundaries belong to the box; a point on one may come out on the wrong side by the rounding of a turn.
_BOUNDARY = 1e-12
# A sample of an outline this close (radians) to a pole has no longitude worth the name.
_AT_POLE = 1e-9


def as_boxes(boxes: ArrayLike) -> FloatArray:
    """Check boxes (..., 4) against the conventions above and return them as float64.

    Raises
    ------
    InputError
        Wrong shape, NaN, or limits out of order or out of range; names the first boxes at fault by index.
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != 4:
        raise InputError(
            f"Spherical boxes must have the shape (..., 4) = (u0, v0, u1, v1); found {array.shape}. "
            "Stack the four columns along the last axis."
        )
    u0, v0, u1, v1 = np.moveaxis(array, -1, 0)
    good = (u0 >= 0.0) & (u0 < 1.0) & (u1 > u0) & (u1 <= u0 + 1.0) & (v0 >= 0.0) & (v1 > v0) & (v1 <= 1.0)
    if not np.all(good):
        bad = np.flatnonzero(~good)
        raise InputError(
            "Spherical boxes must satisfy 0 <= u0 < 1, u0 < u1 <= u0 + 1 and 0 <= v0 < v1 <= 1 (u1 > 1 crosses the seam); "
            f"found {bad.size} of {good.size} that do not (index {first_ids(bad)}; the first is "
            f"{[float(value) for value in array.reshape(-1, 4)[bad[0]]]}). Bring u0 into [0, 1) and u1 within one turn of it."
        )
    return array


def box_of_outline(
    outline: ArrayLike, *, contains_zenith: ArrayLike | None = None, contains_nadir: ArrayLike | None = None
) -> FloatArray:
    """Tight box (..., 4) of closed outlines given as densely sampled directions (..., n, 3).

    The samples follow one another around the outline; the last is joined to the first. The box is as tight as the sampling:
    between two samples the outline may bulge by the square of their spacing over eight.

    A closed outline that winds around the axis of the poles has one of them inside: the one on the side of smaller area.
    For a region that may exceed half the sphere, or that contains both poles, that cannot be told from the outline: pass the
    flags (a camera knows which ray leads to a pole). An outline that passes a pole more closely than its samples are
    spaced may count as containing it.

    Parameters
    ----------
    outline
        Directions (..., n, 3), n >= 3.
    contains_zenith, contains_nadir
        Booleans (...) that replace what the winding says.

    Returns
    -------
    FloatArray
        Boxes (..., 4). Without a pole, the longitudes are the complement of the largest gap between samples.

    Raises
    ------
    InputError
        Fewer than three samples, NaN, or an outline without extent in longitude or latitude.
    """
    directions = np.asarray(outline, dtype=np.float64)
    if directions.ndim < 2 or directions.shape[-1] != 3 or directions.shape[-2] < 3:
        raise InputError(
            f"An outline must be at least 3 directions, shape (..., n, 3); found {directions.shape}. "
            "Sample the edge of the source box densely and lift every sample to the sphere."
        )
    if not np.all(np.isfinite(directions)):
        count = int(np.count_nonzero(~np.isfinite(directions).all(axis=-1)))
        raise InputError(
            f"An outline must consist of finite directions; found {count} samples with NaN or infinity. "
            "Leave out the samples for which the camera has no ray, or reject the head."
        )
    lon, lat = sphere.lonlat_from_direction(directions)
    zenith, nadir = _poles_inside(lon, lat)
    zenith = zenith if contains_zenith is None else np.broadcast_to(np.asarray(contains_zenith, dtype=np.bool_), zenith.shape)
    nadir = nadir if contains_nadir is None else np.broadcast_to(np.asarray(contains_nadir, dtype=np.bool_), nadir.shape)

    u = np.sort(lon / TWO_PI + 0.5, axis=-1)
    gaps = np.concatenate([np.diff(u, axis=-1), u[..., :1] + 1.0 - u[..., -1:]], axis=-1)
    last = np.argmax(gaps, axis=-1)[..., None]  # the box ends before its largest gap and begins behind it
    end = np.take_along_axis(u, last, axis=-1)[..., 0]
    start = np.take_along_axis(u, (last + 1) % u.shape[-1], axis=-1)[..., 0]
    end = np.where(end < start, end + 1.0, end)
    v = 0.5 - lat / np.pi
    full = zenith | nadir
    boxes = np.stack(
        [
            np.where(full, 0.0, start),
            np.where(zenith, 0.0, np.min(v, axis=-1)),
            np.where(full, 1.0, end),
            np.where(nadir, 1.0, np.max(v, axis=-1)),
        ],
        axis=-1,
    )
    flat = (boxes[..., 2] <= boxes[..., 0]) | (boxes[..., 3] <= boxes[..., 1])
    if np.any(flat):
        raise InputError(
            "The outline of a head must have extent in longitude and latitude; found "
            f"{np.count_nonzero(flat)} of {flat.size} without (index {first_ids(np.flatnonzero(flat))}). "
            "Reject heads whose source box has no area."
        )
    return boxes


def _poles_inside(lon: FloatArray, lat: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Whether closed outlines (..., n) have the zenith, the nadir on their side of smaller area."""
    step = sphere.wrap_lon(np.roll(lon, -1, axis=-1) - lon)
    winds = np.rint(np.sum(step, axis=-1) / TWO_PI) != 0.0
    # area between the curve and the zenith, from d(area) = (1 - sin lat) d(lon), trapezoid rule
    height = 1.0 - (np.sin(lat) + np.sin(np.roll(lat, -1, axis=-1))) / 2.0
    zenith_side = np.abs(np.sum(step * height, axis=-1)) <= TWO_PI
    at_zenith = np.any(lat > np.pi / 2.0 - _AT_POLE, axis=-1)
    at_nadir = np.any(lat < _AT_POLE - np.pi / 2.0, axis=-1)
    return np.asarray((winds & zenith_side) | at_zenith), np.asarray((winds & ~zenith_side) | at_nadir)


def contains(boxes: ArrayLike, u: ArrayLike, v: ArrayLike) -> BoolArray:
    """Whether points (u, v) lie in boxes (..., 4), limits included; u may be given in any turn. All broadcast."""
    u0, v0, u1, v1 = np.moveaxis(as_boxes(boxes), -1, 0)
    u, v = np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64)
    along = np.mod(u - u0 + _BOUNDARY, 1.0)
    return np.asarray((along <= u1 - u0 + 2.0 * _BOUNDARY) & (v >= v0 - _BOUNDARY) & (v <= v1 + _BOUNDARY))


def contains_direction(boxes: ArrayLike, directions: ArrayLike) -> BoolArray:
    """Whether directions (..., 3) lie in boxes (..., 4), limits included."""
    lon, lat = sphere.lonlat_from_direction(directions)
    return contains(boxes, lon / TWO_PI + 0.5, 0.5 - lat / np.pi)


def pixel_rectangles(box: ArrayLike, width: int, height: int | None = None) -> FloatArray:
    """Cut one box (4,) at the seam: rectangles (k, 4) = (x0, y0, x1, y1) in continuous pixels, k = 1 or 2.

    ``height`` is ``width`` / 2 unless given. The part to the left of the seam (large x) comes first.
    """
    limits = as_boxes(box)
    if limits.ndim != 1:
        raise InputError(f"One box, shape (4,), is cut at a time; found the shape {limits.shape}. Call it for each box.")
    u0, v0, u1, v1 = limits
    height = width // 2 if height is None else height
    parts = [(u0, min(u1, 1.0))] + ([(0.0, u1 - 1.0)] if u1 > 1.0 else [])
    return np.array([(width * start, height * v0, width * end, height * v1) for start, end in parts])


def solid_angle(boxes: ArrayLike) -> FloatArray:
    """Solid angle (...), steradian, of boxes (..., 4): extent in longitude times the difference of sin(lat)."""
    u0, v0, u1, v1 = np.moveaxis(as_boxes(boxes), -1, 0)
    # sin a - sin b = 2 cos((a + b) / 2) sin((a - b) / 2): small boxes keep their digits
    middle, half = np.pi * (0.5 - (v0 + v1) / 2.0), np.pi * (v1 - v0) / 2.0
    return np.asarray(TWO_PI * (u1 - u0) * 2.0 * np.cos(middle) * np.sin(half))


def centre(boxes: ArrayLike) -> FloatArray:
    """Direction (..., 3) of the middle of boxes (..., 4).

    Half-way in longitude and in latitude; the middle of a full-width box is the pole that it surrounds (the zenith if it is
    balanced). A dataset's own head direction, the source box's centre through the camera, is to be preferred where it exists.
    """
    u0, v0, u1, v1 = np.moveaxis(as_boxes(boxes), -1, 0)
    lat = np.pi * (0.5 - (v0 + v1) / 2.0)
    lat = np.where(u1 - u0 >= 1.0 - _BOUNDARY, np.where(lat >= 0.0, np.pi / 2.0, -np.pi / 2.0), lat)
    return sphere.direction_from_lonlat(TWO_PI * ((u0 + u1) / 2.0 - 0.5), lat)


def radius(boxes: ArrayLike) -> FloatArray:
    """Angular radius (...), radians, of boxes (..., 4): the mean angle from :func:`centre` to the midpoints of the four sides.

    The rim of a full-width box is all around its centre, a pole: its radius is the angle from there to the rim (for a box
    that reaches no pole, the farther rim).
    """
    u0, v0, u1, v1 = np.moveaxis(as_boxes(boxes), -1, 0)
    across, down = (u0 + u1) / 2.0, (v0 + v1) / 2.0
    sides = np.stack([np.stack(side, axis=-1) for side in ((u0, down), (u1, down), (across, v0), (across, v1))], axis=-2)
    ends = sphere.direction_from_lonlat(TWO_PI * (sides[..., 0] - 0.5), np.pi * (0.5 - sides[..., 1]))
    mean = np.mean(sphere.angle_between(centre(boxes)[..., None, :], ends), axis=-1)
    return np.asarray(np.where(u1 - u0 >= 1.0 - _BOUNDARY, np.pi * np.where(down <= 0.5, v1, 1.0 - v0), mean))
