"""Opening photos and panoramas safely: every file is an image or a reason why it is not one.

Conventions
-----------
Images are RGB, uint8, (H, W, 3), as in ``srgaze360.images``. The pixel grid is the one stored in the file: an EXIF orientation
is ignored, because the labels of the source datasets refer to the stored grid (their reference code opens photos with
``PIL.Image.convert("RGB")``, which ignores it too). JPEG and PNG are read, told apart by content and not by name. Greyscale
and palettes become three channels, CMYK is converted, alpha is dropped without compositing (as ``convert("RGB")`` does), and
16 bits are scaled to 8 by keeping the upper byte.

An image can claim any size: its header is read, and held to a limit, before anything is decoded. A truncated JPEG must not
pass as a picture with a grey rest (as it does through ``cv2.imread``; ``cv2.imdecode`` of OpenCV 5 refuses it): its end marker
must be there. PNG carries checksums, which are verified. Damage *inside* a JPEG's data cannot be told from a picture, and is
the one case where libjpeg may write a line of its own to stderr.
"""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from srgaze360.errors import EnvironmentProblem, InputError
from srgaze360.images import decode_rgb

MAX_PIXELS = 200_000_000  # a 20000 x 10000 panorama: 600 MB decoded
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the start-of-frame markers: they carry the size
JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
OTHER_FORMATS = {b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"<": "text"}


class UnreadableImage(InputError):
    """A file that is not a usable image.

    The message is a reason in one line, without the path, as in ``rejected.csv`` (see ``Rejected.reason``).
    """


class ImageHeader(NamedTuple):
    """What a header says: format, size in pixels, and how far into the file it was read."""

    format: str
    width: int
    height: int
    end: int


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read a JPEG or PNG file as RGB, uint8, (H, W, 3), on its stored pixel grid.

    Raises
    ------
    UnreadableImage
        If the file is missing, empty, truncated, damaged, of another format, or has more than ``max_pixels`` pixels.
    EnvironmentProblem
        If the machine fails to read it (input/output error): that says nothing about the image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _file_problem(path, error) from error
    return decode_image(data, max_pixels)


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of a JPEG or PNG file from its header alone; raises as :func:`read_image`."""
    try:
        with path.open("rb") as stream:
            header = _header(stream)
    except OSError as error:
        raise _file_problem(path, error) from error
    return header.width, header.height


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """:func:`read_image`, of the file's bytes."""
    header = _header(BytesIO(data))
    if header.width * header.height > max_pixels:
        raise UnreadableImage(f"photo has more than {max_pixels / 1e6:g} megapixels ({header.width} x {header.height} pixels)")
    if header.format == "PNG":
        _check_png(data)
    elif data.find(JPEG_END, header.end) < 0:
        raise UnreadableImage("photo is truncated (the JPEG has no end marker)")
    try:
        image = decode_rgb(data)
    except cv2.error as error:
        raise UnreadableImage(f"photo cannot be decoded ({error.err})") from error
    if image is None or image.shape != (header.height, header.width, 3):
        raise UnreadableImage(f"photo cannot be decoded (damaged {header.format} data)")
    return image


def silence_opencv() -> None:
    """Keep OpenCV's own log lines off the terminal, for worker processes; what they say is raised as an error anyway."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _file_problem(path: Path, error: OSError) -> Exception:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UnreadableImage("photo is missing")
    if isinstance(error, IsADirectoryError):
        return UnreadableImage("photo is a folder")
    if isinstance(error, PermissionError):
        return UnreadableImage("photo may not be read (permission denied)")
    return EnvironmentProblem(f"Expected to read {path}; the system says {error.strerror!r}. Check the disk.")


def _header(stream: BinaryIO) -> ImageHeader:
    start = stream.read(24)
    if not start:
        raise UnreadableImage("photo is empty (0 bytes)")
    if start.startswith(PNG_SIGNATURE):
        header = ImageHeader("PNG", int.from_bytes(start[16:20]), int.from_bytes(start[20:24]), 24)
        if len(start) < 24 or start[12:16] != b"IHDR":
            raise UnreadableImage("photo is truncated or damaged in its header (PNG)")
    elif start.startswith(JPEG_SIGNATURE):
        stream.seek(2)
        header = _jpeg_header(stream)
    else:
        known = next((name for mark, name in OTHER_FORMATS.items() if start.startswith(mark)), "not an image")
        raise UnreadableImage(f"photo is neither JPEG nor PNG ({known})")
    if not header.width or not header.height:
        raise UnreadableImage(f"photo has no pixels ({header.width} x {header.height})")
    return header


def _jpeg_header(stream: BinaryIO) -> ImageHeader:
    """Step from marker to marker up to the start of frame (ITU-T T.81, annex B)."""
    while byte := stream.read(1):
        if byte != b"\xff":
            continue
        while (code := stream.read(1)) == b"\xff":
            pass
        marker = code[0] if code else 0
        if marker in JPEG_FRAMES:
            segment = stream.read(7)
            if len(segment) == 7:
                return ImageHeader("JPEG", int.from_bytes(segment[5:7]), int.from_bytes(segment[3:5]), stream.tell())
        elif marker and marker not in JPEG_BARE:
            length = int.from_bytes(stream.read(2))
            stream.seek(max(length, 2) - 2, 1)
    raise UnreadableImage("photo is truncated or damaged in its header (JPEG)")


def _check_png(data: bytes) -> None:
    """Walk the chunks of a PNG up to IEND; each carries a checksum (ISO/IEC 15948, section 5)."""
    position = len(PNG_SIGNATURE)
    while len(data) >= (end := position + 8 + int.from_bytes(data[position : position + 4])) + 4:
        kind = data[position + 4 : position + 8]
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise UnreadableImage(f"photo is damaged: a PNG chunk fails its checksum ({kind!r})")
        if kind == b"IEND":
            return
        position = end + 4
    raise UnreadableImage("photo is truncated (the PNG has no end chunk)")
