"""Reading and writing the panoramas of a built dataset. Arrays are RGB, uint8, (H, W, 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from srgaze360.errors import InputError
from srgaze360.files import write_bytes

UInt8Array = NDArray[np.uint8]


def decode_rgb(content: bytes) -> UInt8Array | None:
    """Decode a JPEG or PNG to RGB (H, W, 3), uint8, on its stored pixel grid; None where OpenCV refuses it."""
    if not content:
        return None
    image = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if image is None else np.asarray(image, dtype=np.uint8)


def read_panorama(path: Path) -> UInt8Array:
    """Read a panorama as RGB (H, W, 3), uint8.

    Raises
    ------
    InputError
        The file is missing, cannot be decoded, or is not twice as wide as high.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"Expected a panorama at {path}, but there is no such file. Rebuild the dataset or check it."
        ) from None
    image = decode_rgb(content)
    if image is None:
        raise InputError(
            f"Expected a JPEG or PNG panorama at {path}, but its {len(content)} bytes cannot be decoded. Build again."
        )
    if image.shape[1] != 2 * image.shape[0]:
        raise InputError(
            f"Expected a panorama twice as wide as high at {path}, found {image.shape[1]} x {image.shape[0]} pixels."
        )
    return image


def encode_image(rgb: NDArray[Any], suffix: str, quality: int = 95) -> bytes:
    """Encode an RGB image as ``.jpg`` (4:2:0, ``quality``) or ``.png``."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 6]
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2BGR), options)
    return encoded.tobytes()


def write_image(path: Path, rgb: NDArray[Any], quality: int = 95) -> None:
    """Write an RGB image atomically; the format follows the suffix."""
    write_bytes(path, encode_image(rgb, path.suffix, quality))
