"""What surrounds a photo on the sphere.

Conventions
-----------
Canvases are equirectangular, uint8, (H, W, 3), W = 2 H. A background is a function of the photo's patch of the canvas, so a
fill can continue the photo; it covers the whole sphere, and the photo is blended over it by its coverage.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
_COARSE_WIDTH = 256  # the extension is smooth: nothing is gained by making it at full size
_REACH = 8.0  # a cell covered by 1/8 or more counts as the photo's own


def _padded(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """An equirectangular image with one pixel more on every side: around the seam, and over the poles."""
    over = np.roll(image, image.shape[1] // 2, axis=1)  # beyond a pole lies the other side of the sphere
    tall = np.concatenate([over[:1], image, over[-1:]])
    return np.asarray(cv2.copyMakeBorder(tall, 0, 0, 1, 1, cv2.BORDER_WRAP), dtype=np.float32)


def _enlarged(image: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Bring an equirectangular image to ``width`` by bilinear interpolation."""
    rows, columns = image.shape[:2]
    x = (np.arange(width) + 0.5) * (columns / width) + 0.5
    y = (np.arange(width // 2) + 0.5) * (2.0 * rows / width) + 0.5
    grid_x, grid_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return np.asarray(cv2.remap(_padded(image), grid_x, grid_y, cv2.INTER_LINEAR), dtype=np.float32)


def blurred_extension(canvas: UInt8Array, coverage: UInt8Array) -> UInt8Array:
    """Continue the photo over the sphere: its own colours near its edge, ever more blurred further out.

    Push-pull: colours weighted by coverage are averaged at ever coarser scales until every cell has one; then, from coarse
    to fine, cells the photo does not cover take the smoothed colour of the coarser scale. Seam and poles wrap.

    Parameters
    ----------
    canvas
        (H, W, 3): the photo on black.
    coverage
        (H, W): 255 where the photo covers the pixel, 0 where not.
    """
    width = canvas.shape[1]
    levels = [(canvas.astype(np.float32), coverage.astype(np.float32) / 255.0)]
    coarse = min(_COARSE_WIDTH, width)
    while coarse >= 4:
        colour, weight = (cv2.resize(image, (coarse, coarse // 2), interpolation=cv2.INTER_AREA) for image in levels[-1])
        levels.append((np.asarray(colour, dtype=np.float32), np.asarray(weight, dtype=np.float32)))
        coarse //= 2
    colour, weight = levels[-1]
    total = float(weight.sum())
    # the canvas is black outside the photo, so its colours are already weighted by coverage
    filled = np.full_like(colour, colour.sum(axis=(0, 1)) / total if total > 0.0 else 0.0)
    for colour, weight in levels[:0:-1]:
        outside = cv2.GaussianBlur(_padded(_enlarged(filled, colour.shape[1])), (3, 3), 0)[1:-1, 1:-1]
        # a cell that the photo touches takes the photo's colour, or the fill would fade to the mean within a cell or two
        own = np.minimum(1.0, _REACH * weight)[..., None]
        filled = own * colour / np.maximum(weight, 1e-6)[..., None] + (1.0 - own) * outside
    filled = _enlarged(filled, width)
    return np.asarray(np.clip(np.rint(filled), 0.0, 255.0), dtype=np.uint8)


def panorama_fill(panorama: UInt8Array, width: int, turn: float) -> UInt8Array:
    """A real panorama as background: brought to ``width`` pixels and turned by ``turn`` in [0, 1) of a full turn."""
    interpolation = cv2.INTER_AREA if width < panorama.shape[1] else cv2.INTER_LINEAR
    resized = cv2.resize(panorama, (width, width // 2), interpolation=interpolation)
    return np.roll(resized, int(turn * width), axis=1)
