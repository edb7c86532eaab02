"""Mirrored extension: the main photo reflected over the sphere, again and again, about its own edges.

Conventions
-----------
Directions around the photo's middle are polar: theta from the ray through the photo's centre, azimuth phi around it. Along
each azimuth the photo ends at theta_e(phi), in the pixel e(phi) of its border, or of the lens's limit where that is nearer.
Beyond it the fill goes on in a straight line through the photo's plane, at the photo's mean scale along that azimuth,

    pixel(theta, phi) = c + (e(phi) - c) theta / theta_e(phi),

and that plane is tiled with the photo and its reflections. Directions behind a cone of half angle theta_m (a right angle, or
the photo's farthest corner if that is wider) are first reflected to the front: theta_m .. pi onto theta_m .. 0. So the fill
is continuous at every point of the sphere, on the photo's border too. At the antipode of the photo stands its reflection.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from builders.backgrounds.base import Backdrop, Placed, UInt8Array, ray_blocks
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.maps import minification

_AZIMUTHS = 2048  # at which the border is found
_REFINED = 8  # entries of the table between them: the nearest is then right within a tenth of a pixel
_HALVINGS = 18  # of pi: the border is found to within 1.2e-5 rad


def mirrored(backdrop: Backdrop) -> UInt8Array:
    """Reflect the first photo over the whole sphere; the other photos are not reflected."""
    photo, width = backdrop.placed[0], backdrop.width
    frame, slope, middle, turn = _border(photo.camera)
    tiles, middle, table = _tiled(photo, width, middle, slope, turn)
    fill = np.empty_like(backdrop.canvas)
    for rows, (right, down, ahead) in ray_blocks(width, frame @ photo.rotation.T):
        theta = np.arctan2(np.sqrt(right * right + down * down), ahead)
        theta = np.minimum(theta, (np.float32(np.pi) - theta) * np.float32(turn / (np.pi - turn)))
        azimuth = np.arctan2(down, right)
        azimuth += np.float32(np.pi)
        azimuth *= np.float32((table.shape[1] - 1) / sphere.TWO_PI)
        nearest = np.rint(azimuth, out=azimuth).astype(np.int32)
        u, v = (along.take(nearest, mode="clip") for along in table)
        for plane, start in ((u, middle[0]), (v, middle[1])):
            plane *= theta
            plane += np.float32(start - 0.5)
        samples = cv2.remap(tiles, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        cv2.cvtColor(samples, cv2.COLOR_RGBA2RGB, dst=fill[rows])
    return fill


def _border(camera: Camera) -> tuple[sphere.FloatArray, sphere.FloatArray, sphere.FloatArray, float]:
    """The photo in polar coordinates about its middle.

    Returns
    -------
    Rotation (3, 3) from the camera's frame to one whose z axis is the photo's middle; pixels per radian (n + 1, 2) along
    azimuths from -pi to pi; the middle's pixel (2,); and theta_m.
    """
    middle = np.array([camera.width / 2.0, camera.height / 2.0])
    if not camera.rays(middle).valid:
        middle = np.array([camera.cx, camera.cy])  # a lens has a ray there
    frame = sphere.tangent_frame(camera.rays(middle).directions) * [[1.0], [-1.0], [1.0]]  # right, down, ahead
    phi = sphere.TWO_PI * (np.arange(_AZIMUTHS + 1) / _AZIMUTHS - 0.5)

    def pixels(theta: sphere.FloatArray) -> sphere.FloatArray:
        around = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
        return camera.project(sphere.rotate(frame.T, around)).pixels

    inside, outside = np.zeros_like(phi), np.full_like(phi, np.pi)
    for _ in range(_HALVINGS):
        half = 0.5 * (inside + outside)
        within = camera.contains(pixels(half))
        inside, outside = np.where(within, half, inside), np.where(within, outside, half)
    inside = np.maximum(inside, np.pi * 0.5**_HALVINGS)
    slope = np.nan_to_num(pixels(inside) - middle) / inside[:, None]
    turn = min(max(np.pi / 2.0, float(inside.max())), np.pi - 1e-3)
    return frame, slope, middle, turn


def _tiled(
    photo: Placed, width: int, middle: sphere.FloatArray, slope: sphere.FloatArray, turn: float
) -> tuple[UInt8Array, sphere.FloatArray, NDArray[np.float32]]:
    """The photo at the panorama's scale, with its reflections as far as they are wanted; middle and slope in its pixels."""
    camera, image = photo.camera, photo.image
    shrink = minification(camera, width)
    if shrink > 1.0:
        small = max(1, round(camera.width / shrink)), max(1, round(camera.height / shrink))
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    size = np.array(image.shape[1::-1])
    scale = size / [camera.width, camera.height]
    middle, slope = middle * scale, slope * scale
    ends = middle + slope * turn
    before = np.maximum(np.ceil(-ends.min(axis=0)) + 1.0, 0.0).astype(int)
    after = np.maximum(np.ceil(ends.max(axis=0) - size) + 1.0, 0.0).astype(int)
    (left, above), (right, below) = before.tolist(), after.tolist()
    tiles = cv2.copyMakeBorder(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), above, below, left, right, cv2.BORDER_REFLECT)
    fine = np.arange(_REFINED * _AZIMUTHS + 1) / _REFINED
    table = np.stack([np.interp(fine, np.arange(_AZIMUTHS + 1), along) for along in slope.T]).astype(np.float32)
    return np.asarray(tiles, dtype=np.uint8), middle + before, table
