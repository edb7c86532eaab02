"""Backgrounds of plain colour: black, and the mean of the photos; and the colours of photos as statistics.

Conventions
-----------
Every statistic weighs a pixel of the canvas by its solid angle, so that it does not depend on where on the sphere the photos
lie. Sums run in a fixed order and without linear algebra libraries: pixel digests depend on them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike

from builders.backgrounds.base import Backdrop, UInt8Array
from srgaze360 import sphere

_SAMPLE_WIDTH = 512  # the spread of colours is estimated on a grid about this wide


def black(backdrop: Backdrop) -> UInt8Array:
    """Nothing."""
    return np.zeros_like(backdrop.canvas)


def mean(backdrop: Backdrop) -> UInt8Array:
    """The mean colour of the photos everywhere."""
    colour = np.rint(mean_colour(backdrop.canvas, backdrop.coverage)).astype(np.uint8)
    row = np.tile(colour, (1, backdrop.width, 1))
    return np.repeat(row, backdrop.canvas.shape[0], axis=0)


def mean_colour(canvas: UInt8Array, coverage: UInt8Array) -> sphere.FloatArray:
    """Mean colour (3,) of the photos on a canvas, weighted by covered solid angle; black where nothing is covered."""
    height = canvas.shape[0]
    weights = sphere.cell_solid_angles(1, height)[:, 0]
    # whole numbers: exact in any order. The canvas is premultiplied: black as far as the photos do not cover it.
    colours = np.asarray(cv2.reduce(canvas, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S), dtype=np.float64).reshape(height, 3)
    covered = np.asarray(cv2.reduce(coverage, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S), dtype=np.float64).reshape(height)
    total = float(np.sum(weights * covered)) / 255.0
    return np.sum(weights[:, None] * colours, axis=0) / total if total > 0.0 else np.zeros(3)


def sampled_colours(canvas: UInt8Array, coverage: UInt8Array) -> tuple[sphere.FloatArray, sphere.FloatArray]:
    """Mean (3,) and covariance (3, 3) of the photos' colours, from a sample of the wholly covered pixels."""
    step = max(1, canvas.shape[1] // _SAMPLE_WIDTH)
    rows, columns = np.nonzero(coverage[::step, ::step] == 255)
    if not rows.size:  # hardly a photo at all
        return mean_colour(canvas, coverage), np.zeros((3, 3))
    weights = sphere.cell_solid_angles(1, canvas.shape[0])[::step, 0][rows]
    return moments(canvas[::step, ::step][rows, columns], weights)


def moments(values: ArrayLike, weights: ArrayLike) -> tuple[sphere.FloatArray, sphere.FloatArray]:
    """Weighted mean (c,) and covariance (c, c) of values (n, c)."""
    values, weights = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    share = weights / np.sum(weights)
    centre = np.sum(share[:, None] * values, axis=0)
    off = values - centre
    return centre, np.einsum("n,ni,nj->ij", share, off, off, optimize=False)
