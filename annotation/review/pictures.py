"""Pictures that the page shows: panoramas at the width that it can take, and heatmaps as something to lay over them.

Conventions
-----------
Panoramas are opened by :mod:`srgaze360.safe_images`, on the stored pixel grid, which the labels refer to. They are encoded
anew, small ones too: a browser would turn a file by its EXIF orientation. What was encoded is kept in memory, up to
:data:`CACHE_BYTES`.

Heatmaps are densities; colour grows with the density, relative to the largest of the map, and opacity with its square root, so
that the flanks of a peak are seen and the picture under it, too. The colours are cividis, perceptually even and the same to
people with any kind of colour vision (Nuñez, Anderton and Renslow, PLOS ONE 13, 2018).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from srgaze360.errors import InputError
from srgaze360.images import encode_image
from srgaze360.safe_images import UnreadableImage, read_image

CACHE_BYTES = 256 * 2**20
LEAST_WIDTH, MOST_WIDTH, USUAL_WIDTH = 256, 16384, 4096
QUALITY = 92  # of JPEG
HEATMAP_WIDTH = 512
OPAQUE = 0.65  # of the densest cell
AT_ONCE = 2  # panoramas decoded at the same time: a large one is 600 MB


class Cache:
    """Encoded pictures, the latest used of them, up to a number of bytes. Safe to use from several threads."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most = most_bytes
        self._held: OrderedDict[Any, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._making = threading.BoundedSemaphore(AT_ONCE)

    def get(self, key: Any, make: Callable[[], bytes]) -> bytes:  # noqa: ANN401 - whatever can be hashed
        """The picture under ``key``, made if it is not there."""
        if (found := self._find(key)) is not None:
            return found
        with self._making:
            if (found := self._find(key)) is not None:  # made while this one waited
                return found
            made = make()
        with self._lock:
            if key not in self._held and len(made) <= self._most:
                self._held[key] = made
                self._bytes += len(made)
                while self._bytes > self._most:
                    self._bytes -= len(self._held.popitem(last=False)[1])
        return made

    def _find(self, key: Any) -> bytes | None:  # noqa: ANN401
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)


def panorama_jpeg(path: Path, width: int) -> bytes:
    """A panorama as JPEG, made smaller where it is wider than ``width`` pixels, never larger.

    Raises
    ------
    InputError
        The file is missing, is no image, is damaged or too large.
    """
    try:
        image = read_image(path)
    except UnreadableImage as error:
        raise InputError(f"Expected a panorama at {path.name}, but {error}. Run `srgaze360 verify` on the dataset.") from None
    if image.shape[1] > width:
        height = max(1, round(image.shape[0] * width / image.shape[1]))
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return encode_image(image, ".jpg", QUALITY)


def heatmap_png(heatmap: NDArray[np.floating[Any]]) -> bytes:
    """A heatmap (H, W) as an RGBA PNG of :data:`HEATMAP_WIDTH` pixels or more, transparent where the density is 0."""
    values = np.nan_to_num(np.asarray(heatmap, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    values = np.maximum(values, 0.0)
    values /= np.maximum(values.max(initial=0.0), np.finfo(np.float32).tiny)
    factor = max(1, round(HEATMAP_WIDTH / values.shape[1]))
    padded = np.pad(np.pad(values, ((0, 0), (1, 1)), mode="wrap"), ((1, 1), (0, 0)), mode="edge")  # the seam has two sides
    large = cv2.resize(padded, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    large = np.clip(large[factor:-factor, factor:-factor], 0.0, 1.0)
    colours = cv2.applyColorMap(np.round(255.0 * large).astype(np.uint8), cv2.COLORMAP_CIVIDIS)
    alpha = np.round(255.0 * OPAQUE * np.sqrt(large)).astype(np.uint8)
    _, encoded = cv2.imencode(".png", np.dstack([colours, alpha]), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    return bytes(encoded.tobytes())
