"""Which solid each of very many rays meets first.

Conventions
-----------
Rays start at one origin and come in bundles: three float32 arrays (x, y, z), each (bundles, rays per bundle), whose rays
point to much the same side. Every bundle is bounded by a cone, every solid by balls; solids are met only by the bundles whose
cone touches one of their balls. Nothing here depends on a camera: photos, panoramas and shadows are all bundles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders.procedural.shapes import Primitive, Rays, covering_balls, meet
from srgaze360.sphere import FloatArray

NOTHING = -1
SMALL = 0.07  # metres, radius of the ball around a solid
_MARGIN = 3e-4  # radians by which balls are widened: far above the rounding of float32


class Tracer:
    """Meets rays with a fixed list of solids."""

    def __init__(self, solids: Sequence[Primitive]) -> None:
        self.solids = tuple(solids)
        balls = [covering_balls(solid) for solid in self.solids]
        self._centres = np.concatenate([centres for centres, _ in balls]) if balls else np.zeros((0, 3))
        self._radii = np.concatenate([radii for _, radii in balls]) if balls else np.zeros(0)
        self._starts = np.cumsum([0] + [len(radii) for _, radii in balls])[:-1]
        self._small = np.array([len(radii) == 1 and radii[0] < SMALL for _, radii in balls], dtype=np.bool_)

    def trace(
        self, origin: FloatArray, rays: Rays, *, without_small: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        """Distances, in lengths of the rays (infinite where nothing is met), and indices of the solids (or ``NOTHING``).

        ``without_small`` looks through solids below ``SMALL`` metres, whose soft shadows nobody would see.
        """
        distance, index = _unmet(rays)
        if self.solids:
            touched = self._touched(origin, rays)
            if without_small:
                touched &= ~self._small
            for number in np.flatnonzero(touched.any(axis=0)).tolist():
                self._meet(number, origin, rays, np.flatnonzero(touched[:, number]), distance, index)
        return distance, index

    def trace_among(
        self, origin: FloatArray, rays: Rays, candidates: NDArray[np.int16]
    ) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        """:meth:`trace` where the solids that a bundle may meet are known: ``candidates`` (bundles, k), or ``NOTHING``."""
        distance, index = _unmet(rays)
        bundles, _ = np.nonzero(candidates != NOTHING)
        numbers = candidates[candidates != NOTHING]
        order = np.argsort(numbers, kind="stable")
        bundles = bundles[order]
        present, starts, counts = np.unique(numbers[order], return_index=True, return_counts=True)
        for number, start, count in zip(present.tolist(), starts.tolist(), counts.tolist(), strict=True):
            chosen = bundles[start : start + count]
            once = chosen[np.diff(chosen, prepend=-1) > 0]  # ascending, as nonzero finds them
            self._meet(number, origin, rays, once, distance, index)
        return distance, index

    def _meet(
        self,
        number: int,
        origin: FloatArray,
        rays: Rays,
        bundles: NDArray[np.intp],
        distance: NDArray[np.float32],
        index: NDArray[np.int16],
    ) -> None:
        """Meet one solid with some bundles; keeps what is nearest."""
        found = meet(self.solids[number], origin, (rays[0][bundles], rays[1][bundles], rays[2][bundles]))
        best = distance[bundles]
        nearer = found < best
        if nearer.any():
            distance[bundles] = np.where(nearer, found, best)
            index[bundles] = np.where(nearer, np.int16(number), index[bundles])

    def _touched(self, origin: FloatArray, rays: Rays) -> NDArray[np.bool_]:
        """Whether bundles (n) and solids (m) may meet, (n, m)."""
        axis, cosine, sine = _cones(rays)
        offset = self._centres - origin
        away = np.linalg.norm(offset, axis=1)
        outside = away > self._radii
        ball_angle = np.arcsin(np.where(outside, self._radii / np.maximum(away, 1e-9), 1.0)) + _MARGIN
        # angle between the axes <= sum of the radii, as cosines: a . b - cos r cos s + sin r sin s >= 0
        # (summed by hand: a matrix product would start threads for so little)
        cones = np.column_stack([axis, -cosine, sine]).astype(np.float32)
        towards = offset / np.maximum(away, 1e-9)[:, None]
        balls = np.column_stack([towards, np.cos(ball_angle), np.sin(ball_angle)]).astype(np.float32)
        excess = cones[:, :1] * balls[:, 0]
        for column in range(1, 5):
            excess += cones[:, column : column + 1] * balls[:, column]
        near = excess >= 0.0
        near |= ~outside
        near[cosine <= 0.0] = True  # so wide a bundle that the sum of the angles might exceed a half turn
        return np.asarray(np.logical_or.reduceat(near, self._starts, axis=1))


def _unmet(rays: Rays) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    shape = rays[0].shape
    return np.full(shape, np.inf, dtype=np.float32), np.full(shape, NOTHING, dtype=np.int16)


def _cones(rays: Rays) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Axes (n, 3) and cosines, sines (n,) of the radii of cones around bundles."""
    x, y, z = rays
    scale = 1.0 / np.sqrt(x * x + y * y + z * z)
    x, y, z = x * scale, y * scale, z * scale
    axis = np.stack([part.mean(axis=1, dtype=np.float64) for part in (x, y, z)], axis=1)
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-12)
    narrow = axis.astype(np.float32)
    cosine = (x * narrow[:, :1] + y * narrow[:, 1:2] + z * narrow[:, 2:]).min(axis=1).astype(np.float64)
    cosine = np.clip(cosine - 1e-6, -1.0, 1.0)
    return axis, cosine, np.sqrt(1.0 - cosine * cosine)


def bundled(grid: NDArray[Any], size: int) -> NDArray[Any]:
    """Cut a grid (H, W) into square bundles (n, size * size), padded by its edges."""
    height, width = grid.shape
    padded = np.pad(grid, ((0, -height % size), (0, -width % size)), mode="edge")
    rows, columns = padded.shape[0] // size, padded.shape[1] // size
    return padded.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(rows * columns, size * size)


def unbundled(bundles: NDArray[Any], height: int, width: int, size: int) -> NDArray[Any]:
    """Undo :func:`bundled`: (n, size * size, ...) to (H, W, ...)."""
    rows, columns = -(-height // size), -(-width // size)
    grid = bundles.reshape(rows, columns, size, size, *bundles.shape[2:]).swapaxes(1, 2)
    return grid.reshape(rows * size, columns * size, *bundles.shape[2:])[:height, :width]
