"""Backgrounds that show a scene: a real panorama, or other photos all around; and the soft edge of photos before them.

Conventions
-----------
People in a background are nobody's label: they are there as they are in any crowd, and who is meant is said by the head box.

Other photos stand on the faces of a cube, each cut to its centred square and seen through a pinhole of 90 degrees and a
little, so that neighbours overlap and leave no crack. The cube is turned about the vertical by a drawn angle; where there are
fewer than six photos, they repeat.

A feathered photo passes into its background over a band of some degrees inside its edge. The width of the band is an angle
between rays, along the photo's rows and columns and from the limit of the lens, so it is the same everywhere on the sphere.
It is drawn in the photo's pixels, and can be no finer than they are: where a lens crowds its last degrees into a pixel, as
the orthographic one does at the rim of its image circle, that edge stays harder than asked for.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from builders.backgrounds.base import Backdrop, Placed, UInt8Array, enlarged
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.lenses import LENSES
from srgaze360.reproject import Patch, composite, photo_to_patch

# yaw and pitch of the middles of a cube's faces, in quarter turns: four around, zenith, nadir
FACES = ((0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (0, -1))
_OVERLAP = np.radians(0.2)
_NODES = 97  # distances to the edge are smooth: computed on a grid of so many points each way
_LARGEST_BAND = 0.25  # of the way from the edge to the innermost point: most of a narrow photo stays opaque


# --- a panorama -------------------------------------------------------------------------------------------------------


def panorama(backdrop: Backdrop) -> UInt8Array:
    """A real panorama, turned about the vertical by a drawn angle."""
    _expect(backdrop, 1, 1, "panorama")
    return panorama_fill(backdrop.images[0], backdrop.width, float(backdrop.seed.random()))


def panorama_fill(image: UInt8Array, width: int, turn: float) -> UInt8Array:
    """A panorama brought to ``width`` pixels and turned to the right by ``turn`` in [0, 1) of a full turn."""
    if width < image.shape[1]:
        image = np.asarray(cv2.resize(image, (width, width // 2), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.roll(enlarged(image, width), int(turn * width), axis=1)


# --- other photos -----------------------------------------------------------------------------------------------------


def photos(backdrop: Backdrop) -> UInt8Array:
    """Other photos on the faces of a cube around the viewer."""
    _expect(backdrop, 1, len(FACES), "other photos")
    turn = sphere.TWO_PI * float(backdrop.seed.random())
    fill = np.zeros_like(backdrop.canvas)
    for face, (yaw, pitch) in enumerate(FACES):
        square = _square(backdrop.images[face % len(backdrop.images)], backdrop.width)
        size = len(square)
        camera = Camera.from_fov("pinhole", size, size, np.pi / 2.0 + _OVERLAP)
        rotation = sphere.rotation_from_pose(turn + yaw * np.pi / 2.0, pitch * np.pi / 2.0, 0.0)
        composite(fill, photo_to_patch(square, camera, rotation, backdrop.width))
    return fill


def _square(image: UInt8Array, width: int) -> UInt8Array:
    """The centred square of a photo, shrunk to as many pixels per radian as a panorama of ``width`` pixels has."""
    size = min(image.shape[:2])
    top, left = ((extent - size) // 2 for extent in image.shape[:2])
    square = image[top : top + size, left : left + size]
    most = max(1, round(width / np.pi))  # a pinhole of 90 degrees has size / 2 pixels per radian at its centre
    if size > most:
        square = cv2.resize(square, (most, most), interpolation=cv2.INTER_AREA)
    return np.asarray(square, dtype=np.uint8)


def _expect(backdrop: Backdrop, fewest: int, most: int, what: str) -> None:
    if not fewest <= len(backdrop.images) <= most:
        number = str(most) if fewest == most else f"{fewest} to {most}"
        raise InputError(f"Expected {number} images for a background of {what}, found {len(backdrop.images)}. Give as many.")


# --- soft edges -------------------------------------------------------------------------------------------------------


def feathered(patch: Patch, placed: Placed, feather_deg: float = 2.0) -> Patch:
    """The patch of a photo, its coverage softened towards the photo's edge.

    Parameters
    ----------
    patch
        What ``photo_to_patch`` made of the photo, uint8, three channels.
    placed
        The photo, camera and rotation it was made of.
    feather_deg
        Width of the band over which the photo fades in, degrees; 0 returns the patch. At most a quarter of the distance
        from the edge to the photo's innermost point.
    """
    if feather_deg <= 0.0:
        return patch
    alpha = edge_alpha(placed.camera, feather_deg)
    # smooth: it needs no anti-aliasing; what the patch covers in part keeps its share
    opacity = photo_to_patch(alpha, placed.camera, placed.rotation, patch.panorama_width, antialias=False).pixels
    coverage = np.asarray(cv2.multiply(patch.coverage, opacity, scale=1.0 / 255.0), dtype=np.uint8)
    pixels = np.asarray(cv2.multiply(patch.pixels, cv2.merge([opacity] * 3), scale=1.0 / 255.0), dtype=np.uint8)
    return replace(patch, pixels=pixels, coverage=coverage)


def edge_alpha(camera: Camera, feather_deg: float) -> UInt8Array:
    """Opacity (h, w) of a feathered photo: 0 at its edge, 255 from ``feather_deg`` inside it, a smooth step between."""
    distance = _edge_distance(camera)
    band = min(np.radians(feather_deg), _LARGEST_BAND * float(distance.max()))
    rows, columns = distance.shape
    x, y = (columns - 1) / camera.width, (rows - 1) / camera.height
    to_nodes = np.array([[x, 0.0, 0.5 * x], [0.0, y, 0.5 * y]])
    size = (camera.width, camera.height)
    share = np.minimum(distance / max(band, 1e-12), 2.0).astype(np.float32)
    t = cv2.warpAffine(share, to_nodes, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    t = np.minimum(t, np.float32(1.0))
    return np.asarray(np.rint(255.0 * t * t * (3.0 - 2.0 * t)), dtype=np.uint8)


def _edge_distance(camera: Camera) -> sphere.FloatArray:
    """Angle (n, n), radians, to the photo's edge on a grid over the whole photo, borders included; 0 where there is no ray.

    The edge is the ends of the point's row and of its column, and the limit of the lens at its azimuth: the nearest counts.
    """
    width, height = camera.width, camera.height
    x, y = np.linspace(0.0, width, _NODES), np.linspace(0.0, height, _NODES)
    rays, valid = camera.rays(np.stack(np.meshgrid(x, y), axis=-1))
    azimuth = np.arctan2(rays[..., 1], rays[..., 0])
    limit = LENSES[camera.lens].limit(camera.params, np.where(valid, azimuth, 0.0))
    distance = np.maximum(limit - sphere.angle_between(rays, [0.0, 0.0, 1.0]), 0.0)
    for edge in (rays[:, :1], rays[:, -1:], rays[:1], rays[-1:]):
        distance = np.fmin(distance, sphere.angle_between(rays, edge))  # an end of the row that has no ray is no edge
    return np.where(valid, distance, 0.0)
