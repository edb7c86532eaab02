"""What a photo covers of a panorama: a box, the columns of each row, and whether a pole lies inside.

Conventions
-----------
A :class:`Box` is a rectangle of pixels; on a panorama it may run over the seam: columns count on beyond W. A footprint is
bounded by its outline: the border of the photo, or the limit of the lens where pixels beyond it have no ray.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from srgaze360.cameras import Camera
from srgaze360.lenses import LENSES
from srgaze360.sphere import FloatArray, angle_between

_POLES = np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])
_OUTLINE_POINTS = 96  # per image edge; the margin of a footprint is three quarters of the distance between them


class Box(NamedTuple):
    """Target pixels [x0, x0 + width) x [y0, y0 + height)."""

    x0: int
    y0: int
    width: int
    height: int

    def slices(self, width: int) -> list[tuple[slice, slice]]:
        """Rows and columns, as indices into a panorama of ``width`` pixels: one pair, or two where the box crosses the seam."""
        rows, right = slice(self.y0, self.y0 + self.height), self.x0 + self.width
        first = (rows, slice(self.x0, min(right, width)))
        return [first] if right <= width else [first, (rows, slice(0, right - width))]


def border_pixels(camera: Camera) -> FloatArray:
    """Pixels (n, 2) around the image, corners included."""
    t = np.linspace(0.0, 1.0, _OUTLINE_POINTS, endpoint=False)
    zero, one = np.zeros_like(t), np.ones_like(t)
    border = np.concatenate([np.stack(edge, axis=-1) for edge in ((t, zero), (one, t), (1.0 - t, one), (zero, 1.0 - t))])
    return np.asarray(border * [camera.width, camera.height])


def contains_pole(camera: Camera, rotation: ArrayLike) -> tuple[bool, bool]:
    """Whether the zenith and the nadir of the sphere lie in the image of a camera with pose ``rotation`` (3 x 3)."""
    zenith, nadir = camera.contains(camera.project(_POLES @ np.asarray(rotation, dtype=np.float64)).pixels).tolist()
    return zenith, nadir


class Outline(NamedTuple):
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
def outline(camera: Camera) -> Outline:
    """Border of the image cut off at the limit of the lens: pixels that have no ray are moved in to it at their azimuth."""
    border = border_pixels(camera)
    rays, valid = camera.rays(border)
    azimuth = np.arctan2((border[:, 1] - camera.cy) / camera.fy, (border[:, 0] - camera.cx) / camera.fx)
    limit = LENSES[camera.lens].limit(camera.params, azimuth)
    at_limit = np.stack([np.sin(limit) * np.cos(azimuth), np.sin(limit) * np.sin(azimuth), np.cos(limit)], axis=-1)
    rays = np.where(valid[:, None], rays, at_limit)
    gaps = angle_between(rays, np.roll(rays, -1, axis=0))
    radius = 0.75 * np.maximum(gaps, np.roll(gaps, 1))
    return Outline(np.ascontiguousarray(rays.T), radius, np.sin(radius), rays.mean(axis=0), bool(rays[:, 2].min() > 0.0))


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
        self._spans: tuple[FloatArray, FloatArray] | None = None
        self._scale, self._origin = 1.0, (0.0, 0.0)
        if camera.lens == "equirectangular":
            return
        border = outline(camera)
        # Longitudes are measured from the middle of the outline, so that they do not jump within an ordinary photo.
        centre = (world_from_camera @ border.centre).tolist()
        middle = math.atan2(centre[0], centre[2])
        cos, sin = math.cos(middle), math.sin(middle)
        turn = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
        x, y, z = turn @ world_from_camera @ border.rays
        cos_lat = np.sqrt(x * x + z * z)
        # Rows (down from the horizon) and columns (right from the middle), in radians, and how far their caps reach: one of
        # radius r at latitude lat asin(sin r / cos lat) to the side, at most pi / 3 times the sine up to 1/2.
        sines = border.sin_radius / np.maximum(cos_lat, 1e-9)
        points = np.arctan2([y, x], [cos_lat, z])
        reach = np.array([border.radius, (np.pi / 3.0) * sines])
        low, high = points - reach, points + reach
        (top, first), (bottom, last) = low.min(axis=1).tolist(), high.max(axis=1).tolist()
        bounded = first > -math.pi and last < math.pi and float(sines.max()) <= 0.5
        # A pole inside the photo is surrounded by its outline, which then takes in all longitudes.
        zenith = nadir = False
        if not (bounded and border.narrow):
            zenith, nadir = contains_pole(camera, world_from_camera)
        scale = height / math.pi
        y0 = 0 if zenith else max(math.floor(height / 2 + scale * top), 0)
        y1 = height if nadir else min(math.floor(height / 2 + scale * bottom) + 1, height)
        self.box = Box(0, y0, width, max(y1 - y0, 0))
        if bounded and not (zenith or nadir):
            shift = width / 2 + scale * middle
            x0, x1 = math.floor(shift + scale * first), math.floor(shift + scale * last) + 1
            self.box = Box(x0 % width, y0, x1 - x0, max(y1 - y0, 0))
            self._spans = low, high
            self._scale, self._origin = scale, (y0 - height / 2, x0 - shift)

    def columns(self, edges: Sequence[int]) -> list[tuple[int, int]]:
        """Columns [left, right) of the box that hold all the photo covers in its rows [edges[i], edges[i + 1]), for each i.

        At every latitude the footprint ends on its outline, so the outline within those rows says how far it reaches.
        """
        if self._spans is None:
            return [(0, self.box.width)] * (len(edges) - 1)
        (top, left), (bottom, right) = self._spans
        rows = (np.array(edges)[:, None] + self._origin[0]) / self._scale
        here = (top < rows[1:]) & (bottom > rows[:-1])
        first = (np.where(here, left, np.inf).min(axis=1) * self._scale - self._origin[1]).tolist()
        last = (np.where(here, right, -np.inf).max(axis=1) * self._scale - self._origin[1]).tolist()
        return [(int(a), min(int(b) + 1, self.box.width)) if a < b else (0, 0) for a, b in zip(first, last, strict=True)]
