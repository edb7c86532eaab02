"""Blurred extension: the photos' own colours near their edges, ever more blurred further out.

Conventions
-----------
Push-pull (Gortler, Grzeszczuk, Szeliski and Cohen, "The Lumigraph", SIGGRAPH 1996): colours weighted by coverage are averaged
at ever coarser scales until every cell has one; then, from coarse to fine, cells that no photo covers take the smoothed
colour of the coarser scale. Seam and poles wrap, cells count by their solid angle, and colours are smoothed as far along a
row as across rows, whatever its latitude.
"""

from __future__ import annotations

import cv2
import numpy as np

from builders.backgrounds.base import Backdrop, UInt8Array, continued, enlarged, to_bytes
from srgaze360 import sphere
from srgaze360.sampler import Image

_COARSE_WIDTH = 256  # the extension is smooth: nothing is gained by making it at full size
_REACH = 8.0  # a cell covered by 1/8 or more counts as the photo's own


def blur(backdrop: Backdrop) -> UInt8Array:
    """Continue the photos over the sphere, ever more blurred."""
    return blurred_extension(backdrop.canvas, backdrop.coverage)


def blurred_extension(canvas: UInt8Array, coverage: UInt8Array) -> UInt8Array:
    """Continue photos over the sphere: their own colours near their edges, ever more blurred further out.

    Parameters
    ----------
    canvas
        (H, W, 3): the photos on black.
    coverage
        (H, W): 255 where the photos cover the pixel, 0 where not.
    """
    width = canvas.shape[1]
    coarse = min(_COARSE_WIDTH, width)
    # in bytes down to four times the coarse width, so that floats are few; rounding averages out in the step from there
    middling = min(4 * coarse, width)
    colour, weight = (_shrunk(image, middling) for image in (canvas, coverage))
    _, lat = sphere.cell_lonlat(middling, middling // 2)
    area = np.repeat(np.cos(lat).astype(np.float32)[:, None], middling, axis=1)  # of a cell, relative to the equator
    levels: list[tuple[Image, ...]] = [
        (cv2.multiply(colour, cv2.merge([area] * 3), dtype=cv2.CV_32F), weight * (area / np.float32(255.0)), area)
    ]
    while coarse >= 4:
        shrunk = [_shrunk(image, coarse) for image in levels[-1]]
        # smoothed from the second on: or a photo that lies otherwise on the grid would have another background
        levels.append(tuple(shrunk if len(levels) == 1 else map(_smoothed, shrunk)))
        coarse //= 2
    colour, weight, _ = levels[-1]
    total = float(weight.sum())
    # the canvas is black outside the photos, so its colours are already weighted by coverage
    filled = np.full_like(colour, colour.sum(axis=(0, 1)) / total if total > 0.0 else 0.0)
    for colour, weight, area in levels[:0:-1]:
        outside = _smoothed(enlarged(filled, colour.shape[1]))
        # a cell that a photo touches takes the photo's colour, or the fill would fade to the mean within a cell or two
        own = np.minimum(1.0, _REACH * weight / area)[..., None]
        filled = own * colour / np.maximum(weight, 1e-9)[..., None] + (1.0 - own) * outside
    return np.asarray(enlarged(to_bytes(filled), width), dtype=np.uint8)


def _smoothed(image: Image) -> Image:
    """Smooth over about a cell each way: rows by 3 x 3 cells, and along a row by as many more as it is shorter."""
    rows, columns = image.shape[:2]
    _, lat = sphere.cell_lonlat(columns, rows)
    reach = 0.5 * np.minimum(2.0 / np.cos(lat) - 1.0, columns)[:, None]  # a cell at the equator: nothing is changed there
    running = np.cumsum(np.concatenate([0.0 * image[:, :1], image, image, image], axis=1), axis=1, dtype=np.float64)
    running = running.astype(np.float32)
    middle = np.arange(columns, 2 * columns) + 0.5
    y = np.repeat(np.arange(rows, dtype=np.float32)[:, None], columns, axis=1)
    low, high = (cv2.remap(running, (middle + sign * reach).astype(np.float32), y, cv2.INTER_LINEAR) for sign in (-1.0, 1.0))
    even = (high - low) / (2.0 * reach).astype(np.float32).reshape(rows, *(1,) * (image.ndim - 1))
    return np.asarray(cv2.GaussianBlur(continued(even), (3, 3), 0)[1:-1, 1:-1])


def _shrunk(image: Image, width: int) -> Image:
    return image if image.shape[1] == width else cv2.resize(image, (width, width // 2), interpolation=cv2.INTER_AREA)
