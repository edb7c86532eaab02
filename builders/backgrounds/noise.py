"""Noise: smooth random colours at many scales, distributed as the photos' own, without seam or poles.

Conventions
-----------
Value noise of directions in space, in octaves: random values on the points of a cubic lattice, interpolated trilinearly where
the sphere passes through it (Perlin and Hoffert, "Hypertexture", SIGGRAPH 1989, describe the sum). Cells measure 1.05 degrees
in the finest octave, twice as much in each further one, and each lattice is turned and shifted by drawn amounts, so that no
direction is singled out. A lattice repeats after 32 cells; the sphere, being curved, does not show it.

An octave is computed on a grid with three samples to a cell, and brought to the next by bilinear interpolation. The mean of
the noise is that of the photos, and so is its covariance of red, green and blue, before rounding and clipping.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from builders.backgrounds.base import Backdrop, UInt8Array, enlarged, ray_blocks, to_bytes
from builders.backgrounds.colours import moments, sampled_colours
from srgaze360 import sphere

_COARSEST, _FINEST = 16, 1024  # widths of the octaves' grids
_CELL = 3.0  # samples to a cell
_PERSISTENCE = 0.75  # amplitude of an octave relative to the coarser one before it
_PERIOD = 32  # cells after which a lattice repeats
_SAMPLE_WIDTH = 256  # the field's own moments are taken from a grid about this wide


def noise(backdrop: Backdrop) -> UInt8Array:
    """Paint noise with the photos' mean colour and covariance."""
    field = sphere_noise(min(backdrop.width, _FINEST), backdrop.seed)
    mean, spread = sampled_colours(backdrop.canvas, backdrop.coverage)
    step = max(1, field.shape[1] // _SAMPLE_WIDTH)
    sample = field[::step, ::step]
    weights = np.repeat(sphere.cell_solid_angles(1, field.shape[0])[::step], sample.shape[1], axis=1)
    centre, own = moments(sample.reshape(-1, 3), weights.ravel())
    colour = _power(spread, 0.5) @ _power(own, -0.5)
    matrix = np.concatenate([colour, (mean - colour @ centre)[:, None]], axis=1)
    return np.asarray(enlarged(to_bytes(cv2.transform(field, matrix)), backdrop.width), dtype=np.uint8)


def sphere_noise(width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Three independent fields of smooth noise, of no set scale: (h, w, 3), w the largest 16 x 2^k up to ``width``."""
    columns = _COARSEST
    field = _octave(columns, generator).astype(np.float32)
    while 2 * columns <= width:
        columns *= 2
        field = enlarged(field / np.float32(_PERSISTENCE), columns)
        cv2.accumulate(_octave(columns, generator), field)
    return np.asarray(field, dtype=np.float32)


def _octave(width: int, generator: np.random.Generator) -> UInt8Array:
    """Noise of one scale on a grid (width / 2, width, 3)."""
    height = width // 2
    slices = _lattice(generator)
    yaw, sin_pitch, roll, *shift = generator.uniform(-1.0, 1.0, size=6).tolist()  # uniform among all rotations
    rotation = sphere.rotation_from_pose(np.pi * yaw, np.arcsin(sin_pitch), np.pi * roll)
    scale = width / (sphere.TWO_PI * _CELL)
    offset = ((np.array(shift, dtype=np.float32) + 8.0) * _PERIOD)[:, None, None]  # so far that all is positive
    values = np.empty((height, width, 3), dtype=np.uint8)
    for rows, rays in ray_blocks(width, scale * rotation):
        x, y, z = rays + offset
        x, y = _wrapped(x), _wrapped(y)
        below = np.floor(z)
        between = z - below
        near, far = (cv2.remap(slices, x, y + (_PERIOD + 1) * _wrapped(below + step), cv2.INTER_LINEAR) for step in (0.0, 1.0))
        cv2.cvtColor(cv2.blendLinear(near, far, 1.0 - between, between), cv2.COLOR_RGBA2RGB, dst=values[rows])
    return values


def _lattice(generator: np.random.Generator) -> UInt8Array:
    """Random values on a periodic cubic lattice: its slices one below another, each with its first row and column once more."""
    values = generator.integers(0, 256, size=(_PERIOD, _PERIOD, _PERIOD, 4), dtype=np.uint8)
    return np.pad(values, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="wrap").reshape(-1, _PERIOD + 1, 4)


def _wrapped(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Coordinates within the period; both are exact, the period being a power of 2."""
    return np.asarray(plane - np.float32(_PERIOD) * np.floor(plane * np.float32(1.0 / _PERIOD)))


def _power(symmetric: sphere.FloatArray, exponent: float) -> sphere.FloatArray:
    """Power of a symmetric positive semi-definite matrix; what has no spread keeps none."""
    values, vectors = np.linalg.eigh(symmetric)
    known = values > 1e-12 * max(float(values.max()), 1e-300)
    powers = np.where(known, np.where(known, values, 1.0) ** exponent, 0.0)
    return np.asarray(np.einsum("ik,k,jk->ij", vectors, powers, vectors))
