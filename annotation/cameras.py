"""The cameras and poses of many rows at once: what :class:`srgaze360.cameras.Camera` says of one, vectorised over rows.

Conventions
-----------
Those of :mod:`srgaze360.cameras`. A row names its camera as JSON; equal texts are one camera. Rows whose text is no camera have
none: their pixels and rays are NaN and not valid. Cameras of the same lens and parameters are worked on together.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srgaze360.cameras import Camera, Projection, Rays
from srgaze360.errors import InputError
from srgaze360.lenses import LENSES
from srgaze360.sphere import BoolArray, FloatArray, angle_between

Rows = NDArray[np.intp]


class Cameras:
    """Cameras by row.

    Attributes
    ----------
    distinct
        Every camera once, None for a text that is none.
    faults
        Why a text is no camera, by its place in ``distinct``.
    index
        (n,) place of each row's camera in ``distinct``.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        codes, unique = pd.factorize(np.asarray(texts, dtype=object))
        self.index: Rows = codes.astype(np.intp)
        self.faults: dict[int, str] = {}
        self.distinct = [self._parsed(place, str(text)) for place, text in enumerate(unique)]
        numbers = [(c.width, c.height, c.fx, c.fy, c.cx, c.cy) if c else (np.nan,) * 6 for c in self.distinct]
        self._numbers = np.array(numbers, dtype=np.float64).reshape(-1, 6)
        self._panorama = np.array([c is not None and c.is_panorama for c in self.distinct], dtype=bool)
        groups: dict[tuple[str, tuple[float, ...]], list[int]] = defaultdict(list)
        for place, camera in enumerate(self.distinct):
            if camera is not None:
                groups[camera.lens, camera.params].append(place)
        self._kinds = list(groups)
        self._kind = np.full(len(self.distinct), -1, dtype=np.intp)
        for kind, places in enumerate(groups.values()):
            self._kind[places] = kind

    def _parsed(self, place: int, text: str) -> Camera | None:
        try:
            return Camera.from_dict(json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:  # InputError is a ValueError
            self.faults[place] = str(error) if isinstance(error, InputError) else f"no JSON ({error})"
            return None

    def known(self) -> BoolArray:
        """Whether each row (n,) has a camera."""
        return np.asarray(self._kind[self.index] >= 0)

    def is_panorama(self) -> BoolArray:
        """Whether each row (n,) is labelled on a whole panorama."""
        return np.asarray(self._panorama[self.index])

    def sizes(self) -> FloatArray:
        """Width and height (n, 2) of the photos, pixels."""
        return np.asarray(self._numbers[self.index, :2])

    def project(self, rows: Rows, directions: FloatArray) -> Projection:
        """Pixels (k, 2) of directions (k, 3) of the camera frames of ``rows`` (k,), and whether the lens has them."""
        pixels, valid = np.full((len(rows), 2), np.nan), np.zeros(len(rows), dtype=bool)
        directions = directions + 0.0  # -0.0 would put the poles at longitude 180 degrees
        for part, lens, params in self._by_kind(rows):
            x, y, z = np.ascontiguousarray(directions[part].T)
            plane = LENSES[lens].project(x, y, z, params)
            _, _, fx, fy, cx, cy = self._numbers[self.index[rows[part]]].T
            pixels[part] = np.stack([fx * plane.u + cx, fy * plane.v + cy], axis=-1)
            valid[part] = plane.valid & np.isfinite(pixels[part]).all(axis=-1)
        pixels[~valid] = np.nan
        return Projection(pixels, valid)

    def rays(self, rows: Rows, pixels: FloatArray) -> Rays:
        """Unit rays (k, 3) of the camera frames of ``rows`` (k,) through pixels (k, 2), and whether there are any."""
        directions, valid = np.full((len(rows), 3), np.nan), np.zeros(len(rows), dtype=bool)
        for part, lens, params in self._by_kind(rows):
            _, _, fx, fy, cx, cy = self._numbers[self.index[rows[part]]].T
            lifted = LENSES[lens].lift((pixels[part, 0] - cx) / fx, (pixels[part, 1] - cy) / fy, params)
            directions[part] = np.stack([lifted.x, lifted.y, lifted.z], axis=-1)
            valid[part] = lifted.valid
        directions[~valid] = np.nan
        return Rays(directions, valid)

    def beyond(self, rows: Rows, pixels: FloatArray) -> FloatArray:
        """How far (k,) pixels (k, 2) lie outside the photos of ``rows``, in pixels: 0 inside, infinite where NaN."""
        width, height = self._numbers[self.index[rows], :2].T
        x, y = pixels.T
        across = np.maximum(np.maximum(-x, x - width), 0.0)
        across = np.where(self._panorama[self.index[rows]] & np.isfinite(x), 0.0, across)
        outside = np.hypot(across, np.maximum(np.maximum(-y, y - height), 0.0))
        return np.asarray(np.where(np.isnan(outside), np.inf, outside))

    def fields_of_view(self) -> tuple[FloatArray, FloatArray]:
        """Horizontal field of view (n,), and that of the longer side (n,), radians; NaN where the lens has no ray there."""
        first = np.unique(self.index, return_index=True)[1]  # one row of each camera
        width, height = self._numbers[:, :2].T
        middle = np.zeros_like(width)
        ends = {
            "across": ([middle, height / 2.0], [width, height / 2.0]),
            "down": ([width / 2.0, middle], [width / 2.0, height]),
        }
        angles = {}
        for side, pair in ends.items():
            a, b = (self.rays(first, np.stack(end, axis=-1)).directions for end in pair)
            axis = np.array([0.0, 0.0, 1.0])
            to_axis = angle_between(a, axis) + angle_between(b, axis)
            angles[side] = np.where(to_axis > np.pi, to_axis, angle_between(a, b))
        longer = np.where(width >= height, angles["across"], angles["down"])
        return angles["across"][self.index], longer[self.index]

    def _by_kind(self, rows: Rows) -> Iterator[tuple[Rows, str, Any]]:
        """Places in ``rows`` of each lens with its parameters."""
        kind = self._kind[self.index[rows]]
        order = np.argsort(kind, kind="stable")
        places, starts = np.unique(kind[order], return_index=True)
        for one, part in zip(places.tolist(), np.split(order, starts[1:]), strict=True):
            if one >= 0 and len(part):
                lens, params = self._kinds[one]
                yield part, lens, params
