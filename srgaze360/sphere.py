"""Geometry of the unit sphere: the one place where the conventions are stated.

Conventions
-----------
Axes
    x right, y down, z forward (OpenCV). A *direction* is a unit vector, last axis 3, float64.
Longitude and latitude
    Radians. ``lon`` in [-pi, pi) grows to the right, ``lat`` in [-pi/2, pi/2] grows up;
    direction = (cos lat sin lon, -sin lat, cos lat cos lon).
Equirectangular pixels
    W x H with W = 2 H. Coordinates are continuous, (0, 0) is the upper left *corner* of the image and pixel (i, j) has its
    centre at (i + 0.5, j + 0.5): x = W (lon / 2 pi + 0.5), y = H (0.5 - lat / pi). x is periodic with period W.
Rotations
    3 x 3 matrices act on column vectors. The pose of a camera is world_from_camera = Ry(yaw) Rx(pitch) Rz(roll): yaw turns
    right, pitch looks up, roll turns the camera clockwise.
Tangent frames
    Rows (east, north, radial). Seen from inside the sphere east points right and north up, so the triad is left-handed:
    east x north = -radial.

Every function is vectorised over any leading shape. Angles between directions come from atan2(|a x b|, a . b), which is
accurate at 0 and at pi, where arccos(a . b) loses half its digits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.errors import InputError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

TWO_PI = 2.0 * np.pi


def wrap_lon(lon: ArrayLike) -> FloatArray:
    """Bring longitudes (radians) into [-pi, pi)."""
    lon = np.asarray(lon, dtype=np.float64)
    wrapped = np.mod(lon + np.pi, TWO_PI) - np.pi
    # mod of a tiny negative number rounds up to the period itself
    return np.asarray(np.where(wrapped >= np.pi, -np.pi, wrapped))


def normalise(vectors: ArrayLike) -> FloatArray:
    """Scale vectors (..., 3) to unit length; the zero vector gives NaN."""
    vectors = np.asarray(vectors, dtype=np.float64)
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(vectors / norm)


# --- directions, longitude and latitude, pixels -----------------------------------------------------------------------


def direction_from_lonlat(lon: ArrayLike, lat: ArrayLike) -> FloatArray:
    """Direction (..., 3) of longitude and latitude in radians (broadcast against each other)."""
    lon, lat = np.broadcast_arrays(np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64))
    cos_lat = np.cos(lat)
    return np.stack([cos_lat * np.sin(lon), -np.sin(lat), cos_lat * np.cos(lon)], axis=-1)


def lonlat_from_direction(directions: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Longitude in [-pi, pi) and latitude in [-pi/2, pi/2], radians, of vectors (..., 3) of any length.

    At the poles, where longitude has no meaning, it is 0.
    """
    directions = np.asarray(directions, dtype=np.float64)
    x, y, z = directions[..., 0], directions[..., 1], directions[..., 2]
    horizontal = np.hypot(x, z)
    lon = np.where(horizontal > 0.0, np.arctan2(x, z), 0.0)
    return wrap_lon(lon), np.arctan2(-y, horizontal)


def pixel_from_lonlat(lon: ArrayLike, lat: ArrayLike, width: int, height: int | None = None) -> FloatArray:
    """Continuous equirectangular pixel (..., 2) of longitude and latitude (radians); x in [0, W), y in [0, H].

    ``height`` is W / 2 unless given.
    """
    height = width // 2 if height is None else height
    lon, lat = np.broadcast_arrays(np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64))
    x = width * (wrap_lon(lon) / TWO_PI + 0.5)
    y = height * (0.5 - lat / np.pi)
    return np.stack([x, y], axis=-1)


def lonlat_from_pixel(pixels: ArrayLike, width: int, height: int | None = None) -> tuple[FloatArray, FloatArray]:
    """Longitude in [-pi, pi) and latitude (radians) of continuous equirectangular pixels (..., 2); x may be beyond the seam."""
    height = width // 2 if height is None else height
    pixels = np.asarray(pixels, dtype=np.float64)
    return wrap_lon(TWO_PI * (pixels[..., 0] / width - 0.5)), np.pi * (0.5 - pixels[..., 1] / height)


def pixel_from_direction(directions: ArrayLike, width: int, height: int | None = None) -> FloatArray:
    """Continuous equirectangular pixel (..., 2) of directions (..., 3)."""
    return pixel_from_lonlat(*lonlat_from_direction(directions), width, height)


def direction_from_pixel(pixels: ArrayLike, width: int, height: int | None = None) -> FloatArray:
    """Direction (..., 3) of continuous equirectangular pixels (..., 2)."""
    return direction_from_lonlat(*lonlat_from_pixel(pixels, width, height))


# --- the equirectangular grid -----------------------------------------------------------------------------------------


def cell_lonlat(width: int, height: int) -> tuple[FloatArray, FloatArray]:
    """Longitudes (W,) and latitudes (H,) of the cell centres of an equirectangular grid, radians; row 0 is the zenith."""
    lon = TWO_PI * ((np.arange(width) + 0.5) / width - 0.5)
    lat = np.pi * (0.5 - (np.arange(height) + 0.5) / height)
    return lon, lat


def cell_directions(width: int, height: int) -> FloatArray:
    """Directions (H, W, 3) of the cell centres of an equirectangular grid."""
    lon, lat = cell_lonlat(width, height)
    return direction_from_lonlat(lon[None, :], lat[:, None])


def cell_solid_angles(width: int, height: int) -> FloatArray:
    """Exact solid angle (H, W), steradian, of each cell of an equirectangular grid; the sum is 4 pi.

    A cell between latitudes a < b and dlon wide has dlon (sin b - sin a), written here as a product so that polar cells
    keep their digits: sin b - sin a = 2 cos((a + b) / 2) sin((b - a) / 2).
    """
    _, lat = cell_lonlat(width, height)
    rows = (TWO_PI / width) * 2.0 * np.cos(lat) * np.sin(np.pi / (2.0 * height))
    return np.repeat(rows[:, None], width, axis=1)


# --- rotations --------------------------------------------------------------------------------------------------------


def _axis_rotation(angle: ArrayLike, first: int, second: int) -> FloatArray:
    """Rotation (..., 3, 3) by ``angle`` that turns axis ``first`` towards axis ``second``."""
    angle = np.asarray(angle, dtype=np.float64)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., 3 - first - second, 3 - first - second] = 1.0
    matrix[..., first, first] = cos
    matrix[..., second, second] = cos
    matrix[..., second, first] = sin
    matrix[..., first, second] = -sin
    return matrix


def rotation_from_pose(yaw: ArrayLike, pitch: ArrayLike, roll: ArrayLike) -> FloatArray:
    """world_from_camera = Ry(yaw) Rx(pitch) Rz(roll), shape (..., 3, 3), from angles in radians.

    Yaw turns right, pitch looks up, roll turns the camera clockwise; the optical axis points at (lon, lat) = (yaw, pitch).
    """
    yaw_matrix = _axis_rotation(yaw, 2, 0)  # z towards x: right
    pitch_matrix = _axis_rotation(pitch, 1, 2)  # y towards z, so z towards -y: up
    roll_matrix = _axis_rotation(roll, 0, 1)  # x towards y: clockwise for somebody looking along z
    return np.asarray(yaw_matrix @ pitch_matrix @ roll_matrix)


def pose_from_rotation(rotation: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Yaw, pitch, roll (radians) of rotations (..., 3, 3); the inverse of :func:`rotation_from_pose`.

    At pitch = +-90 degrees yaw and roll turn about the same axis: roll is then reported as 0.
    """
    r = np.asarray(rotation, dtype=np.float64)
    horizontal = np.hypot(r[..., 0, 2], r[..., 2, 2])
    pitch = np.arctan2(-r[..., 1, 2], horizontal)
    gimbal = horizontal < 1e-12
    yaw = np.where(gimbal, np.arctan2(-r[..., 2, 0], r[..., 0, 0]), np.arctan2(r[..., 0, 2], r[..., 2, 2]))
    roll = np.where(gimbal, 0.0, np.arctan2(r[..., 1, 0], r[..., 1, 1]))
    return yaw, pitch, roll


def rotate(rotation: ArrayLike, directions: ArrayLike) -> FloatArray:
    """Apply rotations (..., 3, 3) to directions (..., 3)."""
    rotation, directions = np.asarray(rotation, dtype=np.float64), np.asarray(directions, dtype=np.float64)
    return np.asarray(np.einsum("...ij,...j->...i", rotation, directions))


# --- distances, arcs, frames ------------------------------------------------------------------------------------------


def angle_between(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Geodesic distance in [0, pi] radians between vectors (..., 3) of any length: atan2(|a x b|, a . b)."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.asarray(np.arctan2(cross, np.sum(a * b, axis=-1)))


def tangent_frame(directions: ArrayLike) -> FloatArray:
    """Orthonormal frame (..., 3, 3) with rows (east, north, radial) at directions (..., 3).

    At the poles, where east has no meaning, the frame is that of longitude 0.
    """
    directions = normalise(directions)
    lon, lat = lonlat_from_direction(directions)
    zero = np.zeros_like(lon)
    east = np.stack([np.cos(lon), zero, -np.sin(lon)], axis=-1)
    north = np.stack([-np.sin(lat) * np.sin(lon), -np.cos(lat), -np.sin(lat) * np.cos(lon)], axis=-1)
    return np.stack([east, north, directions], axis=-2)


def log_map(base: ArrayLike, target: ArrayLike) -> FloatArray:
    """Tangent vector (..., 2) = (east, north) at ``base`` that leads to ``target``; its length is the geodesic distance.

    The antipode of ``base`` can be reached in every direction: it is put due north.
    """
    frame = tangent_frame(base)
    east, north, radial = np.moveaxis(rotate(frame, normalise(target)), -1, 0)
    sideways = np.hypot(east, north)
    angle = np.arctan2(sideways, radial)
    safe = np.where(sideways > 0.0, sideways, 1.0)
    east = np.where(sideways > 0.0, angle * east / safe, 0.0)
    north = np.where(sideways > 0.0, angle * north / safe, angle)
    return np.stack([east, north], axis=-1)


def exp_map(base: ArrayLike, tangent: ArrayLike) -> FloatArray:
    """Direction (..., 3) reached from ``base`` along the tangent vector (..., 2) = (east, north), radians."""
    frame = tangent_frame(base)
    tangent = np.asarray(tangent, dtype=np.float64)
    angle = np.linalg.norm(tangent, axis=-1)
    sinc = np.sinc(angle / np.pi)  # sin(angle) / angle
    local = np.stack([tangent[..., 0] * sinc, tangent[..., 1] * sinc, np.cos(angle)], axis=-1)
    return np.asarray(np.einsum("...ji,...j->...i", frame, local))


def slerp(a: ArrayLike, b: ArrayLike, fraction: ArrayLike) -> FloatArray:
    """Point (..., 3) at ``fraction`` of the way along the shorter great-circle arc from ``a`` to ``b``.

    Antipodal points have no shorter arc: the one that leaves ``a`` due north is taken.
    """
    fraction = np.asarray(fraction, dtype=np.float64)
    return exp_map(a, log_map(a, b) * fraction[..., None])


def great_circle_arc(a: ArrayLike, b: ArrayLike, count: int) -> FloatArray:
    """``count`` equally spaced points (..., count, 3) on the shorter arc from ``a`` to ``b``, both ends included."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return slerp(a[..., None, :], b[..., None, :], np.linspace(0.0, 1.0, count))


def arc_crosses_seam(a: ArrayLike, b: ArrayLike) -> BoolArray:
    """Whether the shorter great-circle arc from ``a`` to ``b`` (..., 3) crosses the meridian at longitude +-180 degrees.

    The seam is the half plane x = 0, z < 0: the ends lie on opposite sides of x = 0, and the point of the chord with x = 0
    lies behind. A point on the seam itself counts as lying to its right (longitude -pi).
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    ax, bx = a[..., 0], b[..., 0]
    opposite = (ax > 0.0) != (bx > 0.0)
    return np.asarray(opposite & (a[..., 2] * np.abs(bx) + b[..., 2] * np.abs(ax) < 0.0))


# --- caps -------------------------------------------------------------------------------------------------------------


def in_cap(directions: ArrayLike, centre: ArrayLike, radius: ArrayLike) -> BoolArray:
    """Whether directions (..., 3) lie within ``radius`` (radians, boundary included) of ``centre`` (..., 3)."""
    return np.asarray(angle_between(directions, centre) <= np.asarray(radius, dtype=np.float64))


def cap_solid_angle(radius: ArrayLike) -> FloatArray:
    """Solid angle, steradian, of a spherical cap of angular ``radius`` in [0, pi]: 4 pi sin^2(radius / 2)."""
    return np.asarray(4.0 * np.pi * np.sin(np.asarray(radius, dtype=np.float64) / 2.0) ** 2)


# --- means ------------------------------------------------------------------------------------------------------------


class SphericalMean(NamedTuple):
    """Mean direction (..., 3) and mean resultant length (...) in [0, 1]."""

    direction: FloatArray
    resultant: FloatArray


def _with_weights(directions: ArrayLike, weights: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Directions and their weights as arrays; what has weight 0 is put out of harm's way, on the z axis."""
    directions = np.asarray(directions, dtype=np.float64)
    shape = directions.shape[:-1]
    if weights is None:
        return directions, np.ones(shape)
    weights = np.broadcast_to(np.asarray(weights, dtype=np.float64), shape)
    if not np.all(weights >= 0.0):
        raise InputError("Weights of directions must be 0 or more; found negative ones or NaN. Use 0 to leave a direction out.")
    return np.where((weights > 0.0)[..., None], directions, [0.0, 0.0, 1.0]), weights


def spherical_mean(directions: ArrayLike, weights: ArrayLike | None = None) -> SphericalMean:
    """Normalised vector mean over the second-last axis of directions (..., n, 3).

    Parameters
    ----------
    directions
        Unit vectors (..., n, 3). Entries of weight 0 may hold anything.
    weights
        (..., n), 0 or more; 0 leaves a direction out (for ragged sets). All equal by default.

    Returns
    -------
    SphericalMean
        ``direction`` is NaN where the resultant vanishes (e.g. two antipodal points): no direction is then central.
    """
    directions, weights = _with_weights(directions, weights)
    total = np.sum(weights, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sum(directions * weights[..., None], axis=-2) / total[..., None]
    resultant = np.linalg.norm(mean, axis=-1)
    direction = np.where((resultant > 1e-12)[..., None], normalise(mean), np.nan)
    return SphericalMean(direction, resultant)


def geometric_median(
    directions: ArrayLike, weights: ArrayLike | None = None, *, tolerance: float = 1e-12, iterations: int = 200
) -> FloatArray:
    """Direction (..., 3) that minimises the weighted sum of geodesic distances to directions (..., n, 3).

    A data point is the median exactly if the others do not pull at it more than it weighs (Kuhn's condition). Elsewhere
    Weiszfeld's algorithm in the tangent plane (Fletcher, Venkatasubramanian and Joshi, NeuroImage 45, 2009) runs from the
    spherical mean, with Newton steps unless they do worse. Unique when the points lie within a cap of 45 degrees and not
    all on one great circle. NaN where the spherical mean is.
    """
    directions, weights = _with_weights(directions, weights)
    shape = directions.shape[:-2]
    directions, weights = normalise(directions).reshape(-1, *directions.shape[-2:]), weights.reshape(-1, weights.shape[-1])
    median = spherical_mean(directions, weights).direction
    settled = ~np.isfinite(median).all(axis=-1)
    for index in range(directions.shape[1]):
        point = directions[:, index]
        steps, _, pulls = _pulls(point, directions, weights)
        strength = np.linalg.norm(np.sum(steps * pulls[..., None], axis=-2), axis=-1)
        weighs = np.sum(np.where(pulls > 0.0, 0.0, weights), axis=-1)
        holds = (weights[:, index] > 0.0) & (strength <= weighs) & ~settled
        median[holds], settled = point[holds], settled | holds
    active = np.flatnonzero(~settled)
    for _ in range(iterations):
        if active.size == 0:
            break
        here, points, mass = median[active], directions[active], weights[active]
        steps, distances, pulls = _pulls(here, points, mass)
        pull = np.sum(steps * pulls[..., None], axis=-2)
        step = pull / np.sum(pulls, axis=-1, keepdims=True)
        newton = _newton_step(steps, distances, mass, pull)
        candidates = [exp_map(here, move) for move in (step, newton)]
        costs = [np.sum(mass * angle_between(candidate[:, None, :], points), axis=-1) for candidate in candidates]
        take = (costs[1] <= costs[0] * (1.0 + 1e-14))[:, None]
        median[active] = np.where(take, candidates[1], candidates[0])
        active = active[np.linalg.norm(np.where(take, newton, step), axis=-1) > tolerance]
    return median.reshape(*shape, 3)


def _pulls(base: FloatArray, directions: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Tangent vectors (m, n, 2) from base (m, 3) to directions, their lengths, and weight / length (0 at the point itself)."""
    steps = log_map(base[:, None, :], directions)
    distances = np.linalg.norm(steps, axis=-1)
    here = distances < 1e-14
    return steps, distances, np.where(here, 0.0, weights / np.where(here, 1.0, distances))


def _newton_step(steps: FloatArray, distances: FloatArray, weights: FloatArray, pull: FloatArray) -> FloatArray:
    """Solve (sum of w cot(d) n n^T) step = pull, n being the unit tangent across each arc; 0 where that is singular."""
    across = np.where(distances > 1e-14, distances, 1.0)
    stiffness = np.where(distances > 1e-14, weights / (np.tan(across) * across**2), 0.0)
    east, north = steps[..., 0], steps[..., 1]
    a, b, c = (np.sum(stiffness * term, axis=-1) for term in (north * north, -north * east, east * east))
    determinant = a * c - b * b
    solved = np.stack([c * pull[..., 0] - b * pull[..., 1], a * pull[..., 1] - b * pull[..., 0]], axis=-1)
    regular = determinant > 1e-12 * (a + c) ** 2
    return np.asarray(np.where(regular[..., None], solved / np.where(regular, determinant, 1.0)[..., None], 0.0))
