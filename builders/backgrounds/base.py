"""What a background is: the backdrop it is painted for, and the shape of an entry of the table of backgrounds.

Conventions
-----------
Canvases are equirectangular, uint8, RGB, (H, W, 3), W = 2 H. A background is a function of the :class:`Backdrop`; it paints
the whole sphere, and the photos are blended over it by their coverage. It draws random numbers from the backdrop's generator
alone, so it is a function of the recipe's seed and of what it is painted for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.sampler import Image

UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True)
class Placed:
    """A photo (h, w, 3) at its place: its camera, and the rotation world_from_camera (3, 3)."""

    image: UInt8Array
    camera: Camera
    rotation: sphere.FloatArray


@dataclass(frozen=True)
class Backdrop:
    """What a background is painted for.

    Attributes
    ----------
    canvas
        (H, W, 3): the photos on black.
    coverage
        (H, W): 255 where the photos cover the whole pixel, 0 where not at all.
    placed
        The photos, the main one first.
    images
        The images that the background needs (h, w, 3): one panorama, or one to six other photos.
    seed
        Generator of its random numbers (``srgaze360.files.generator``), used by this background alone.
    """

    canvas: UInt8Array
    coverage: UInt8Array
    placed: Sequence[Placed]
    images: Sequence[UInt8Array]
    seed: np.random.Generator

    @property
    def width(self) -> int:
        """Width W of the canvas."""
        return int(self.canvas.shape[1])


@dataclass(frozen=True)
class Background:
    """A kind of background.

    Attributes
    ----------
    paint
        Backdrop -> (H, W, 3) uint8, every pixel of the sphere.
    meaning
        One line for the documentation.
    images_needed
        Which images the backdrop must hold: none, one panorama, or one to six other photos.
    feathered
        Whether photos pass into it softly (:func:`builders.backgrounds.feathered`), because it shows a scene of its own.
    """

    paint: Callable[[Backdrop], UInt8Array]
    meaning: str
    images_needed: Literal["none", "panorama", "photos"] = "none"
    feathered: bool = False


# --- equirectangular images -------------------------------------------------------------------------------------------


def ray_blocks(width: int, matrix: sphere.FloatArray) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Rows of a panorama, and ``matrix`` (3, 3) times the directions of their pixels: (3, n, W), float32, block by block."""
    lon, lat = sphere.cell_lonlat(width, width // 2)
    # a direction is a vector of its column, cos(lat) times, and a vector of its row
    columns = (matrix @ sphere.direction_from_lonlat(lon, 0.0).T).astype(np.float32)[:, None]
    rows = (matrix[:, 1:2] * sphere.direction_from_lonlat(0.0, lat)[:, 1]).astype(np.float32)[..., None]
    shorter = np.cos(lat).astype(np.float32)[:, None]
    count = max(1, _BLOCK_SAMPLES // width)
    for top in range(0, width // 2, count):
        block = slice(top, top + count)
        yield block, shorter[block] * columns + rows[:, block]


_BLOCK_SAMPLES = 1 << 15  # at a time, so that what is worked on stays in the processor's cache


def continued(image: Image) -> Image:
    """An equirectangular image with one pixel more on every side: around the seam, and over the poles."""
    over = np.roll(image, image.shape[1] // 2, axis=1)  # beyond a pole lies the other side of the sphere
    tall = np.concatenate([over[:1], image, over[-1:]])
    return np.asarray(cv2.copyMakeBorder(tall, 0, 0, 1, 1, cv2.BORDER_WRAP))


def enlarged(image: Image, width: int) -> Image:
    """An equirectangular image (h, w, 3), uint8 or float32, of ``width`` pixels, bilinear across seam and poles."""
    rows, columns = image.shape[:2]
    if columns == width:
        return image
    x, y = columns / width, 2.0 * rows / width
    inverse = np.array([[x, 0.0, 0.5 * x + 0.5], [0.0, y, 0.5 * y + 0.5]])
    return warped(continued(image), lambda of: cv2.warpAffine(of, inverse, (width, width // 2), flags=_INVERSE))


_INVERSE = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def warped(image: Image, warp: Callable[[Image], Image]) -> Image:
    """Apply one of OpenCV's warps to three channels as to four, which it does in half the time, to the same pixels."""
    return np.asarray(cv2.cvtColor(warp(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)), cv2.COLOR_RGBA2RGB))


def to_bytes(image: NDArray[np.float32]) -> UInt8Array:
    """Round a float32 image to uint8, saturating."""
    return np.asarray(cv2.add(image, 0.0, dtype=cv2.CV_8U), dtype=np.uint8).reshape(image.shape)
