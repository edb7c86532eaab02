"""Zooming the sphere: the conformal maps that enlarge what surrounds one direction, shrink what surrounds its antipode.

Conventions
-----------
A zoom by ``factor`` k about a centre c moves a direction at angle t from c along its great circle through c to angle t', with
tan(t'/2) = k tan(t/2): in the stereographic projection from -c, a scaling by k. Circles stay circles and angles stay angles; k
around c and 1/k around -c are the local scales. A zoom by 1 changes not a bit. (It is what an observer at speed sees of the
sky: aberration, Penrose, *The apparent shape of a relativistically moving sphere*, 1959, with k the Doppler factor.)
Directions are unit vectors (..., 3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.footprint import Box
from srgaze360.lenses import LENSES
from srgaze360.maps import Grid, TargetRays
from srgaze360.sampler import Image, Sampler
from srgaze360.sphere import FloatArray


def zoom(directions: ArrayLike, centre: ArrayLike, factor: float) -> FloatArray:
    """Move directions (..., 3) by a zoom about ``centre`` (3,).

    Raises
    ------
    InputError
        ``factor`` is not a positive finite number.
    """
    directions, (centre, factor) = np.asarray(directions, dtype=np.float64), _checked(centre, factor)
    if factor == 1.0:
        return directions
    linear, shift = _affine(centre, factor)
    return sphere.normalise(directions @ linear + shift)  # linear is symmetric


def zoom_scale(directions: ArrayLike, centre: ArrayLike, factor: float) -> FloatArray:
    """By how much a zoom enlarges what surrounds directions (..., 3): ``factor`` at the centre, its inverse at the antipode."""
    directions, (centre, factor) = np.asarray(directions, dtype=np.float64), _checked(centre, factor)
    cosine = directions @ centre
    return np.asarray(2.0 * factor / ((1.0 + cosine) + factor**2 * (1.0 - cosine)))


def zoom_rotation(directions: ArrayLike, centre: ArrayLike, factor: float) -> FloatArray:
    """Rotations (..., 3, 3) that take directions (..., 3), and what surrounds them, where a zoom takes them, but for scale.

    The smallest rotations from direction to zoomed direction: great circles through the centre stay what they are, and so do
    the sides of each. I + W + W^2 / (1 + a.b), with W the cross product by a x b (Rodrigues).
    """
    a = np.asarray(directions, dtype=np.float64)
    b = zoom(a, centre, factor)
    x, y, z = np.moveaxis(np.cross(a, b), -1, 0)
    zero = np.zeros_like(x)
    across = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    return np.asarray(np.eye(3) + across + across @ across / (1.0 + (a * b).sum(axis=-1))[..., None, None])


def zoom_sphere(panorama: Image, centre: ArrayLike, factor: float, matrix: ArrayLike) -> Image:
    """Zoom a panorama (H, 2H, ...) about ``centre``, then move it by an orthogonal ``matrix`` (3, 3); bilinear, sampled once.

    What was seen in direction d is seen in direction ``matrix @ zoom(d, centre, factor)``.
    """
    height, width = panorama.shape[:2]
    camera = Camera.equirectangular(width)
    centre, factor = _checked(centre, factor)
    linear, shift = _affine(centre, 1.0 / factor)
    came_from = linear @ np.asarray(matrix, dtype=np.float64).T
    rays, _ = TargetRays(camera, came_from, Grid(Box(0, 0, width, height), 1, 1)).block(slice(None), slice(None))
    # a panorama's rays are directions over cos(lat): so must the shift be, row by row
    rays += (shift[:, None] / np.cos(sphere.cell_lonlat(width, height)[1])).astype(np.float32)[..., None]
    plane = LENSES[camera.lens].project(rays[0], rays[1], rays[2], camera.params)
    u = plane.u * np.float32(camera.fx) + np.float32(camera.cx - 0.5)
    v = plane.v * np.float32(camera.fy) + np.float32(camera.cy - 0.5)
    return Sampler(panorama, camera, width * height)(u, v, np.empty_like(panorama))


def _checked(centre: ArrayLike, factor: float) -> tuple[FloatArray, float]:
    if not (np.isfinite(factor) and factor > 0.0):
        raise InputError(f"Expected a positive factor to zoom by, found {factor}. 2 doubles what is small at the centre.")
    return sphere.normalise(centre), factor


def _affine(centre: FloatArray, factor: float) -> tuple[FloatArray, FloatArray]:
    """A (3, 3) and b (3,): a direction d comes to lie along A d + b, whose length is (1 + x) + k^2 (1 - x), x = c.d."""
    along = (1.0 - factor) ** 2 * np.outer(centre, centre)
    return 2.0 * factor * np.eye(3) + along, (1.0 - factor**2) * centre
