"""Where each pixel of one camera's image lies in another camera's image: sampling maps, footprints, minification.

Conventions
-----------
* Both sides are cameras; a panorama is ``Camera.equirectangular(width)``. *Target* is the image that is made, *source* the
  one that is sampled, and ``source_from_target`` (3 x 3) turns target rays into the source's frame.
* Maps are float32 and in OpenCV's coordinates, where the centre of the first pixel is (0, 0): continuous pixel minus 0.5.
* A :class:`Box` is a rectangle of target pixels. On a panorama it may run over the seam: columns count on beyond W.
* Rays are known up to a positive factor, which no lens minds. Divided by cos(lat), the rays of a panorama are the sum of a
  vector per column and a vector per row, (sin lon, 0, cos lon) + (0, -tan lat, 0), and so are those of a pinhole image,
  (x, 0, 1) + (0, y, 0). Rotated, they still are: a map costs one addition per component and no trigonometry per pixel.
* float32 keeps maps within 1e-3 px of float64 for images up to 4096 pixels. Labels never come from maps.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.lens_model import Floats, Parameters, Plane
from srgaze360.lenses import LENSES
from srgaze360.sphere import BoolArray, FloatArray, angle_between, normalise, rotate

Float32Array = NDArray[np.float32]

_OUTSIDE = np.float32(-9.0)  # no neighbour of this point is in the image


class Box(NamedTuple):
    """Target pixels [x0, x0 + width) x [y0, y0 + height)."""

    x0: int
    y0: int
    width: int
    height: int


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


class TargetRays:
    """Rays of a grid of target pixels in the source's frame, block by block, in float32.

    Parameters
    ----------
    target
        Camera of the image that is made.
    matrix
        3 x 3, from the target's rays to the components that are wanted: a rotation, or that and a pinhole's intrinsics.
    x, y
        Continuous pixel coordinates of the columns and of the rows, float64.
    """

    def __init__(self, target: Camera, matrix: FloatArray, x: FloatArray, y: FloatArray) -> None:
        self._target, self._matrix, self._x, self._y = target, matrix, x, y
        u, v = (x - target.cx) / target.fx, (y - target.cy) / target.fy
        right, down, ahead = matrix.T[:, :, None]
        self._separable = True
        if target.lens == "pinhole":
            columns, rows = right * u + ahead, down * v
        elif target.lens == "equirectangular" and max(abs(v[0]), abs(v[-1])) < np.pi / 2:
            columns, rows = right * np.sin(u) + ahead * np.cos(u), down * np.tan(v)
        else:
            self._separable = False
            return
        # As factors (3, 2, n) and (3, n, 2) of a matrix product, 1 * column + row * 1: several times faster than broadcasting,
        # and the same bits on every machine, because only the sum is rounded.
        self._columns = np.ones((3, 2, u.size), dtype=np.float32)
        self._columns[:, 0] = columns
        self._rows = np.ones((3, v.size, 2), dtype=np.float32)
        self._rows[:, :, 1] = rows

    def block(self, rows: slice, columns: slice) -> tuple[Float32Array, Float32Array, Float32Array, BoolArray | None]:
        """Components x, y, z of a block, and where the target has a ray at all (None: everywhere)."""
        if self._separable:
            x, y, z = np.matmul(self._rows[:, rows], self._columns[:, :, columns])
            return x, y, z, None
        grid = np.stack(np.broadcast_arrays(self._x[None, columns], self._y[rows, None]), axis=-1)
        rays, valid = self._target.rays(grid)
        x, y, z = np.moveaxis(rotate(self._matrix, rays), -1, 0).astype(np.float32)
        return x, y, z, valid


class SamplingMap:
    """Source pixel of each target pixel of a grid; see :class:`TargetRays` for the arguments."""

    def __init__(self, source: Camera, target: Camera, source_from_target: FloatArray, x: FloatArray, y: FloatArray) -> None:
        self._project, self._params = LENSES[source.lens].project, source.params
        self._photo_size = None if source.is_panorama else (source.width, source.height)
        matrix, self._scale, self._offset = source_from_target, (source.fx, source.fy), (source.cx - 0.5, source.cy - 0.5)
        if source.lens == "pinhole":  # the intrinsics are linear, too
            intrinsics = np.array([[source.fx, 0.0, source.cx - 0.5], [0.0, source.fy, source.cy - 0.5], [0.0, 0.0, 1.0]])
            matrix, self._scale, self._offset = intrinsics @ matrix, (1.0, 1.0), (0.0, 0.0)
            self._project = _divide_in_place
        self._rays = TargetRays(target, matrix, x, y)

    def block(self, rows: slice, columns: slice) -> tuple[Float32Array, Float32Array, BoolArray | None]:
        """Map (x, y) of a block in OpenCV's coordinates, and which of its pixels see the source (None: all).

        Coordinates in the outer half pixel of a photo are moved to the centre of the edge pixel, so that bilinear
        interpolation replicates the edge. Pixels that do not see the source point outside of it.
        """
        with np.errstate(all="ignore"):  # rays the lens has no pixel for may overflow; validity says which
            return self._block(rows, columns)

    def _block(self, rows: slice, columns: slice) -> tuple[Float32Array, Float32Array, BoolArray | None]:
        x, y, z, seen = self._rays.block(rows, columns)
        u, v, inside = self._project(x, y, z, self._params)
        # in place: the lens made these arrays
        for plane, scale, offset in zip((u, v), self._scale, self._offset, strict=True):
            if (scale, offset) != (1.0, 0.0):
                plane *= scale
                plane += offset
        if self._photo_size is not None:
            right, bottom = self._photo_size[0] - 0.5, self._photo_size[1] - 0.5
            inside &= u >= -0.5
            inside &= u <= right
            inside &= v >= -0.5
            inside &= v <= bottom
            np.clip(u, 0.0, right - 0.5, out=u)
            np.clip(v, 0.0, bottom - 0.5, out=v)
            seen = inside if seen is None else seen & inside
        if seen is not None and not seen.all():
            # both: what the lens could not project may be NaN. copyTo is faster than assignment to a boolean index.
            u, v = (cv2.copyTo(plane, seen.view(np.uint8), np.full_like(plane, _OUTSIDE)) for plane in (u, v))
        return u, v, seen


def _divide_in_place(x: Floats, y: Floats, z: Floats, _params: Parameters) -> Plane:
    """Pinhole projection that reuses the memory of its arguments."""
    return Plane(np.divide(x, z, out=x), np.divide(y, z, out=y), z > 0.0)


# --- footprints -------------------------------------------------------------------------------------------------------

_POLES = np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])
_OUTLINE_POINTS = 96  # per image edge; the margin of a footprint is three quarters of the distance between them


class _Outline(NamedTuple):
    """The border of what a camera sees, in the camera's frame.

    ``rays`` (3, n) go around it; caps of ``radius`` (n,) about them cover it; ``centre`` (3,) is their mean. ``narrow`` says
    that everything seen lies within 90 degrees of the optical axis.
    """

    rays: FloatArray
    radius: FloatArray
    sin_radius: FloatArray
    centre: FloatArray
    narrow: bool


@lru_cache(maxsize=128)
def _outline(camera: Camera) -> _Outline:
    """Border of the image cut off at the limit of the lens: pixels that have no ray are moved in to it at their azimuth."""
    t = np.linspace(0.0, 1.0, _OUTLINE_POINTS, endpoint=False)
    zero, one = np.zeros_like(t), np.ones_like(t)
    border = np.concatenate([np.stack(edge, axis=-1) for edge in ((t, zero), (one, t), (1.0 - t, one), (zero, 1.0 - t))])
    border *= [camera.width, camera.height]
    rays, valid = camera.rays(border)
    azimuth = np.arctan2((border[:, 1] - camera.cy) / camera.fy, (border[:, 0] - camera.cx) / camera.fx)
    limit = LENSES[camera.lens].limit(camera.params, azimuth)
    at_limit = np.stack([np.sin(limit) * np.cos(azimuth), np.sin(limit) * np.sin(azimuth), np.cos(limit)], axis=-1)
    rays = np.where(valid[:, None], rays, at_limit)
    gaps = angle_between(rays, np.roll(rays, -1, axis=0))
    radius = 0.75 * np.maximum(gaps, np.roll(gaps, 1))
    return _Outline(np.ascontiguousarray(rays.T), radius, np.sin(radius), rays.mean(axis=0), bool(rays[:, 2].min() > 0.0))


class Footprint:
    """What a photo covers of a panorama: a box of rows and columns, and within it the columns of any range of rows.

    Parameters
    ----------
    camera, world_from_camera
        The photo and its pose. A photo that is itself equirectangular is given the whole panorama.
    width, height
        Size of the panorama in pixels.

    Attributes
    ----------
    box
        Smallest box up to a margin of a few pixels. Poles inside the photo give it all columns; it may run over the seam.
    """

    def __init__(self, camera: Camera, world_from_camera: FloatArray, width: int, height: int) -> None:
        self.box = Box(0, 0, width, height)
        self._spans: tuple[FloatArray, ...] | None = None
        if camera.lens == "equirectangular":
            return
        outline = _outline(camera)
        # Longitudes are measured from the middle of the outline, so that they do not jump within an ordinary photo.
        middle = float(np.arctan2(world_from_camera[0] @ outline.centre, world_from_camera[2] @ outline.centre))
        cos, sin = math.cos(middle), math.sin(middle)
        x_axis, y_axis, z_axis = world_from_camera
        x, y, z = np.stack([cos * x_axis - sin * z_axis, y_axis, sin * x_axis + cos * z_axis]) @ outline.rays
        cos_lat = np.hypot(x, z)
        rows, margin = height * (0.5 + np.arctan2(y, cos_lat) / np.pi), (height / np.pi) * outline.radius
        top, bottom = rows - margin, rows + margin
        # A cap of radius r at latitude lat reaches asin(sin r / cos lat) to the side, at most pi / 3 times the sine up to 1/2.
        reach = outline.sin_radius / np.maximum(cos_lat, 1e-9)
        columns, margin = width * (0.5 + np.arctan2(x, z) / (2.0 * np.pi)), (width / 6.0) * reach
        left, right = columns - margin, columns + margin
        first, last = float(left.min()), float(right.max())
        bounded = first > 0.0 and last < width and float(reach.max()) <= 0.5
        # A pole inside the photo is surrounded by its outline, which then takes in all longitudes.
        zenith = nadir = False
        if not (bounded and outline.narrow):
            zenith, nadir = camera.contains(camera.project(_POLES @ world_from_camera).pixels).tolist()
        y0 = 0 if zenith else max(math.floor(top.min()), 0)
        y1 = height if nadir else min(math.floor(bottom.max()) + 1, height)
        self.box = Box(0, y0, width, max(y1 - y0, 0))
        if bounded and not (zenith or nadir):
            shift = middle * width / (2.0 * np.pi)
            x0 = math.floor(first + shift)
            self.box = Box(x0 % width, y0, math.floor(last + shift) + 1 - x0, max(y1 - y0, 0))
            self._spans = top - y0, bottom - y0, left + (shift - x0), right + (shift - x0)

    def columns(self, first: int, last: int) -> tuple[int, int]:
        """Columns [left, right) of the box that hold everything the photo covers in its rows [first, last).

        At every latitude the footprint ends on its outline, so the outline within those rows says how far it reaches.
        """
        if self._spans is None:
            return 0, self.box.width
        top, bottom, left, right = self._spans
        here = (top < last) & (bottom > first)
        if not here.any():
            return 0, 0
        return int(left[here].min()), min(int(right[here].max()) + 1, self.box.width)


# --- minification -----------------------------------------------------------------------------------------------------


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
    """Largest :func:`minification` over corners, edge midpoints and centre of the photo (those that have a ray)."""
    x, y = np.meshgrid([0.0, 0.5 * camera.width, camera.width], [0.0, 0.5 * camera.height, camera.height])
    return float(np.nanmax(_pixels_per_radian(camera, np.stack([x, y], axis=-1).reshape(-1, 2))) * 2.0 * np.pi / width)


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
