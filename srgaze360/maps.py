"""Where each pixel of one camera's image lies in another camera's image: sampling maps, minification, folds.

Conventions
-----------
* Both sides are cameras; a panorama is ``Camera.equirectangular(width)``. *Target* is the image that is made, *source* the
  one that is sampled, and ``source_from_target`` (3 x 3) turns target rays into the source's frame.
* Maps are float32 and in OpenCV's coordinates, where the centre of the first pixel is (0, 0): continuous pixel minus 0.5.
* Rays are known up to a positive factor, which no lens minds. Divided by cos(lat), the rays of a panorama are the sum of a
  vector per column and a vector per row, (sin lon, 0, cos lon) + (0, -tan lat, 0), and so are those of a pinhole image,
  (x, 0, 1) + (0, y, 0). Rotated, they still are: a map costs one addition per component and no trigonometry per pixel.
* float32 keeps maps within 1e-3 px of float64 for images up to 4096 pixels. Labels never come from maps.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.footprint import Box, border_pixels
from srgaze360.lenses import LENSES
from srgaze360.sphere import BoolArray, FloatArray, normalise, rotate

Float32Array = NDArray[np.float32]

_ZERO, _HALF = np.float32(0.0), np.float32(0.5)


def checked_rotation(rotation: ArrayLike) -> FloatArray:
    """Return a 3 x 3 rotation matrix as float64, or raise InputError."""
    try:
        matrix = np.asarray(rotation, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != (3, 3) or not _is_rotation(*matrix.tolist()):
        raise InputError(
            "A rotation must be a 3 x 3 matrix world_from_camera with orthonormal rows and determinant 1; found "
            f"{np.array2string(matrix, precision=4)} of shape {matrix.shape}. Use sphere.rotation_from_pose(yaw, pitch, roll)."
        )
    return matrix


def _is_rotation(a: list[float], b: list[float], c: list[float]) -> bool:
    # nine numbers: plain Python is several times faster than calling into linear algebra, once per image
    def dot(p: list[float], q: list[float]) -> float:
        return p[0] * q[0] + p[1] * q[1] + p[2] * q[2]

    cross = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    ones, zeros = (dot(a, a), dot(b, b), dot(cross, c)), (dot(a, b), dot(b, c), dot(c, a))
    return all(abs(one - 1.0) < 1e-6 for one in ones) and all(abs(zero) < 1e-6 for zero in zeros)  # NaN is neither


# --- sampling maps ----------------------------------------------------------------------------------------------------


class Grid(NamedTuple):
    """Sampling points of a camera's image: ``across`` x ``down`` per pixel, centred, in the pixels of a box."""

    box: Box
    across: int
    down: int

    @property
    def x(self) -> FloatArray:
        """Continuous pixel coordinates of the columns."""
        return np.asarray(self.box.x0 + (np.arange(self.box.width * self.across) + 0.5) / self.across)

    @property
    def y(self) -> FloatArray:
        """Continuous pixel coordinates of the rows."""
        return np.asarray(self.box.y0 + (np.arange(self.box.height * self.down) + 0.5) / self.down)


class TargetRays:
    """Rays of a grid of target pixels in the source's frame, block by block, in float32.

    Parameters
    ----------
    target
        Camera of the image that is made.
    matrix
        3 x 3, from the target's rays to the components that are wanted: a rotation, or that and a pinhole's intrinsics.
    grid
        The sampling points.
    """

    def __init__(self, target: Camera, matrix: FloatArray, grid: Grid) -> None:
        self._target, self._matrix, self._grid = target, matrix, grid
        right, down, ahead = matrix.T[:, :, None]
        box = grid.box
        self._separable = True
        if target.lens == "pinhole":
            columns = right * ((grid.x - target.cx) / target.fx) + ahead
            rows = down * ((grid.y - target.cy) / target.fy)
        elif target.is_panorama:
            sin, cos = _meridians(target.width, grid.across)[:, box.x0 * grid.across : (box.x0 + box.width) * grid.across]
            tan = _parallels(target.height, grid.down)[box.y0 * grid.down : (box.y0 + box.height) * grid.down]
            columns, rows = right * sin + ahead * cos, down * tan
        else:
            self._separable = False
            return
        # As factors (3, 2, n) and (3, n, 2) of a matrix product, 1 * column + row * 1: several times faster than broadcasting,
        # and the same bits on every machine, because only the sum is rounded.
        self._columns = np.ones((3, 2, columns.shape[1]), dtype=np.float32)
        self._columns[:, 0] = columns
        self._rows = np.ones((3, rows.shape[1], 2), dtype=np.float32)
        self._rows[:, :, 1] = rows

    def block(self, rows: slice, columns: slice) -> tuple[Float32Array, BoolArray | None]:
        """Components (3, n, m) of a block, and where the target has a ray at all (None: everywhere)."""
        if self._separable:
            return np.matmul(self._rows[:, rows], self._columns[:, :, columns]), None
        x, y = self._grid.x[None, columns], self._grid.y[rows, None]
        rays, valid = self._target.rays(np.stack(np.broadcast_arrays(x, y), axis=-1))
        return np.moveaxis(rotate(self._matrix, rays), -1, 0).astype(np.float32, order="C"), valid


@lru_cache(maxsize=8)
def _meridians(width: int, across: int) -> FloatArray:
    """Sine and cosine of the longitudes of a panorama's sampling columns, twice around."""
    lon = 2.0 * np.pi * ((np.arange(2 * width * across) + 0.5) / (across * width) - 0.5)
    return np.stack([np.sin(lon), np.cos(lon)])


@lru_cache(maxsize=8)
def _parallels(height: int, down: int) -> FloatArray:
    """Minus the tangent of the latitudes of a panorama's sampling rows."""
    return np.asarray(np.tan(np.pi * ((np.arange(height * down) + 0.5) / (down * height) - 0.5)))


class SamplingMap:
    """Source pixel of each target pixel of a grid; see :class:`TargetRays` for the arguments."""

    def __init__(self, source: Camera, target: Camera, source_from_target: FloatArray, grid: Grid) -> None:
        self._source, matrix = source, source_from_target
        intrinsics = np.array([[source.fx, 0.0, source.cx - 0.5], [0.0, source.fy, source.cy - 0.5], [0.0, 0.0, 1.0]])
        self._scale, self._offset = _pair(source.fx, source.fy), _pair(source.cx - 0.5, source.cy - 0.5)
        if source.lens == "pinhole":  # the intrinsics are linear, too
            matrix = intrinsics @ matrix
        self._last = None if source.is_panorama else _pair(source.width - 1.0, source.height - 1.0)
        self._rays = TargetRays(target, matrix, grid)

    def block(self, rows: slice, columns: slice) -> tuple[Float32Array, Float32Array, BoolArray | None]:
        """Map (x, y) of a block in OpenCV's coordinates, and which of its pixels do not see the source (None: all see it).

        Coordinates in the outer half pixel of a photo are moved to the centre of the edge pixel, so that bilinear
        interpolation replicates the edge. Pixels that do not see the source point outside of it.
        """
        with np.errstate(all="ignore"):  # rays the lens has no pixel for may overflow; validity says which
            rays, lit = self._rays.block(rows, columns)
            points, unseen = self._project(rays)
            blind: BoolArray | None = None if lit is None else ~lit
            if self._last is not None:
                beyond = (points < -_HALF) | (points > self._last + _HALF)
                unseen |= beyond[0]
                unseen |= beyond[1]
                blind = unseen if blind is None else blind | unseen
                points.clip(_ZERO, self._last, out=points)
        if blind is None or not blind.any():
            return points[0], points[1], None
        outside = _outside(blind.size.bit_length())[: blind.size].reshape(blind.shape)
        for plane in points:  # both: what the lens could not project may be NaN
            cv2.copyTo(outside, blind.view(np.uint8), plane)
        return points[0], points[1], blind

    def _project(self, rays: Float32Array) -> tuple[Float32Array, BoolArray]:
        """Points (2, n, m) of rays (3, n, m) in OpenCV's coordinates, and which of them the lens does not have."""
        points = rays[:2]
        if self._source.lens == "pinhole":
            return np.divide(points, rays[2], out=points), rays[2] <= 0.0
        plane = LENSES[self._source.lens].project(rays[0], rays[1], rays[2], self._source.params)
        points[0], points[1] = plane.u, plane.v
        points *= self._scale
        points += self._offset
        return points, ~plane.valid


@lru_cache(maxsize=4)
def _outside(bits: int) -> Float32Array:
    """2 ** bits times a coordinate that has no neighbour in any image."""
    return np.full(1 << bits, -9.0, dtype=np.float32)


def _pair(x: float, y: float) -> Float32Array:
    """Two numbers as (2, 1, 1), to meet the two planes of a map."""
    return np.array([x, y], dtype=np.float32)[:, None, None]


# --- how well an image is sampled -------------------------------------------------------------------------------------


def minification(camera: Camera, width: int, at: ArrayLike | None = None) -> float:
    """Photo pixels per panorama pixel: how much a photo shrinks on a panorama of ``width`` pixels; above 1 it loses detail.

    The panorama is measured at its horizon (W / 2 pi pixels per radian), the photo along the direction in which it has the
    most pixels per radian.

    Parameters
    ----------
    camera, width
        The photo's camera, the panorama's width.
    at
        Continuous pixel of the photo; its centre by default. NaN is returned where the lens has no ray.
    """
    pixel = np.array([camera.width / 2.0, camera.height / 2.0]) if at is None else np.asarray(at, dtype=np.float64)
    return float(_pixels_per_radian(camera, pixel[None])[0] * 2.0 * np.pi / width)


def worst_minification(camera: Camera, width: int) -> float:
    """Largest :func:`minification` over a grid of the photo's pixels, corners included, that have a ray; NaN if none has.

    The rows of an equirectangular photo are stretched towards its poles just as the panorama's are, so that it is measured
    at its horizon only: the ratio of the widths.
    """
    return _densest(camera) * 2.0 * np.pi / width


@lru_cache(maxsize=128)
def _densest(camera: Camera) -> float:
    """Most pixels per radian anywhere in an image, NaN if no pixel has a ray."""
    x, y = np.linspace(0.0, camera.width, 17), np.linspace(0.0, camera.height, 13)
    if camera.lens == "equirectangular":
        x, y = x[8:9], np.array([camera.cy])
    pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return float(np.fmax.reduce(_pixels_per_radian(camera, pixels)))


@lru_cache(maxsize=128)
def fold_back(camera: Camera) -> float:
    """Share of an image, 0 to 1, whose pixels have no ray: beyond the fold of a strong lens or the rim of its image circle.

    Nothing is painted from there and nothing there can be labelled. What has rays is simply connected, so an image whose
    border has them has them everywhere; otherwise 128 x 96 points are counted, which errs by about 0.002.
    """
    if camera.rays(border_pixels(camera)).valid.all():
        return 0.0
    x, y = camera.width * (np.arange(128) + 0.5) / 128, camera.height * (np.arange(96) + 0.5) / 96
    return 1.0 - float(camera.rays(np.stack(np.meshgrid(x, y), axis=-1)).valid.mean())


def _pixels_per_radian(camera: Camera, pixels: FloatArray) -> FloatArray:
    """Largest singular value (n,) of d pixel / d ray, by central differences over 2e-5 rad."""
    rays, _ = camera.rays(pixels)
    sideways = normalise(np.cross(rays, np.where(np.abs(rays[:, :1]) < 0.8, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])))
    step = 1e-5
    columns = []
    for axis in (sideways, np.cross(rays, sideways)):
        ahead, behind = camera.project(rays + step * axis).pixels, camera.project(rays - step * axis).pixels
        # on the rim of the lens one side has no pixel: take the other one
        middle = np.where(np.isnan(ahead) | np.isnan(behind), pixels, np.nan)
        one_sided = np.where(np.isnan(ahead), middle - behind, ahead - middle) / step
        columns.append(np.where(np.isnan(middle), (ahead - behind) / (2.0 * step), one_sided))
    jacobian = np.stack(columns, axis=-1)
    finite = np.isfinite(jacobian).all(axis=(-2, -1))
    values = np.linalg.svd(np.where(finite[:, None, None], jacobian, 0.0), compute_uv=False)[:, 0]
    return np.where(finite, values, np.nan)
