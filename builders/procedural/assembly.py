"""Putting things together from painted solids.

Conventions
-----------
An assembly has its own axes (x right, y down, z forward; origin where the thing stands, so heights are negative y), a pose
in the room and a scale. Sizes are metres before scaling; radii and half sizes are half of what a tape measures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from builders.procedural.paint import Paint
from builders.procedural.shapes import Primitive, Shape, Size, frame_along, primitive
from srgaze360 import sphere
from srgaze360.sphere import FloatArray

Triple = Sequence[float] | FloatArray
UPRIGHT = np.eye(3)
AHEAD = (0.0, 0.0, 1.0)


def turn(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> FloatArray:
    """Rotation (3, 3) from angles in degrees; see :func:`srgaze360.sphere.rotation_from_pose`."""
    return sphere.rotation_from_pose(*np.radians([yaw, pitch, roll]))


class Assembly:
    """Collects the solids of one thing (``entity``) standing at ``origin``, turned by ``rotation``."""

    def __init__(
        self, entity: int, origin: ArrayLike, rotation: ArrayLike = UPRIGHT, scale: float = 1.0, part: str = "whole"
    ) -> None:
        self.entity = entity
        self.origin = np.asarray(origin, dtype=np.float64)
        self.rotation = np.asarray(rotation, dtype=np.float64)
        self.scale = scale
        self.part = part
        self.solids: list[Primitive] = []

    def world(self, point: Triple) -> FloatArray:
        """World position of a point given in the assembly's axes."""
        return np.asarray(self.origin + self.rotation @ (self.scale * np.asarray(point, dtype=np.float64)))

    def _add(self, shape: Shape, centre: FloatArray, axes: FloatArray, paint: Paint, part: str, size: Size) -> None:
        self.solids.append(primitive(shape, centre, axes, paint, self.entity, part or self.part, size))

    def ball(self, at: Triple, radii: Triple | float, paint: Paint, tilt: FloatArray = UPRIGHT, part: str = "") -> None:
        """Add a ball or an ellipsoid."""
        radii = np.broadcast_to(np.asarray(radii, dtype=np.float64), (3,))
        axes = self.rotation @ tilt * (radii * self.scale)
        self._add("ball", self.world(at), axes, paint, part, (0.0, 0.0, 0.0))

    def box(self, at: Triple, half: Triple, paint: Paint, tilt: FloatArray = UPRIGHT, part: str = "") -> None:
        """Add a box of half sizes ``half``."""
        axes = self.rotation @ tilt * (np.asarray(half, dtype=np.float64) * self.scale)
        self._add("box", self.world(at), axes, paint, part, (0.0, 0.0, 0.0))

    def drum(
        self, at: Triple, radius: float, half_height: float, paint: Paint, top: float = 1.0, tilt: FloatArray = UPRIGHT
    ) -> None:
        """Add a cylinder; ``top`` is the upper radius as a share of the lower one (0 gives a cone)."""
        axes = self.rotation @ tilt * (np.array([radius, half_height, radius]) * self.scale)
        self._add("drum", self.world(at), axes, paint, "", (top, 0.0, 0.0))

    def limb(
        self,
        start: Triple,
        end: Triple,
        radii: tuple[float, float],
        paint: Paint,
        depth: float = 1.0,
        part: str = "",
        forward: Triple = AHEAD,
    ) -> None:
        """Add the hull of two balls; ``depth`` flattens it along ``forward``."""
        first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        frame = frame_along(last - first, forward) * (1.0, 1.0, depth)
        half = float(np.linalg.norm(last - first)) / 2.0
        size = (half * self.scale, radii[0] * self.scale, radii[1] * self.scale)
        self._add("limb", self.world((first + last) / 2.0), self.rotation @ frame, paint, part, size)
