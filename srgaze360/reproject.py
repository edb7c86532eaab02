"""Photo -> sphere, sphere -> camera view, sphere -> rotated sphere: images in, images out.

Conventions
-----------
* Images are numpy arrays H x W or H x W x C with C from 1 to 4, uint8, uint16 or float32; the result has the same type and
  number of axes. Panoramas are equirectangular, W = 2 H.
* ``rotation`` is always world_from_camera (3 x 3), see ``sphere.rotation_from_pose``.
* Bilinear interpolation (``sampler``) on exact float32 maps (``maps``). In the outer half pixel of a photo the edge is
  replicated; panoramas go on across the seam and over the poles.
* Anti-aliasing is supersampling: with m photo pixels per panorama pixel, k x k samples are averaged, k = ceil(m / 2) and at
  least 2 where m > 1.5. A row of a panorama at latitude lat is cos(lat) times shorter, so along it m cos(lat) counts.
* Coverage is 0 to 255: 255 where the photo covers the whole pixel. Behind the camera, beyond the fold of a strong lens and
  outside of the photo it is 0. Pixels of a :class:`Patch` are premultiplied: black where the coverage is 0, and
  result = pixels + (1 - coverage / 255) * background.

The way from pixels to pixels is part of a dataset's version: ``SAMPLER_ID``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.maps import Box, Footprint, SamplingMap, checked_rotation, minification
from srgaze360.sampler import SAMPLER_ID, Image, Mask, Sampler, check_sampler, sampler_errors
from srgaze360.sphere import FloatArray, rotation_from_pose

__all__ = [
    "SAMPLER_ID",
    "Image",
    "Mask",
    "Patch",
    "check_sampler",
    "composite",
    "photo_to_patch",
    "photo_to_sphere",
    "rotate_sphere",
    "sampler_errors",
    "sphere_to_view",
    "supersampling",
]

_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
_LARGEST = 32766  # cv2.remap counts source pixels in 16 bits
# Samples, rows and columns at a time: maps stay in the processor's cache, memory is bounded, remap's limit is kept.
_BLOCK_SAMPLES, _BLOCK_ROWS, _BLOCK_COLUMNS = 1 << 16, 128, 8192


@dataclass(frozen=True)
class Patch:
    """A photo on the sphere, cut out around its footprint.

    Attributes
    ----------
    pixels
        (h, w) or (h, w, C), premultiplied by the coverage.
    coverage
        (h, w) uint8, 0 to 255.
    x0, y0
        Position of the upper left pixel on the panorama; columns beyond its right edge go on at the left one.
    panorama_width
        Width of the panorama the patch was made for.
    """

    pixels: Image
    coverage: Mask
    x0: int
    y0: int
    panorama_width: int


# --- the three ways ---------------------------------------------------------------------------------------------------


def photo_to_patch(image: Image, camera: Camera, rotation: ArrayLike, width: int, *, antialias: bool = True) -> Patch:
    """Put a photo on the sphere; only the bounding box of its footprint is computed.

    Parameters
    ----------
    image
        Photo of the camera's size.
    camera
        Any camera: the lens under which the pixels are lifted to rays.
    rotation
        world_from_camera, 3 x 3.
    width
        Width of the panorama in pixels, even.
    antialias
        Average several samples per pixel where the photo shrinks; otherwise one bilinear sample at the centre of each pixel.
    """
    box, pixels, coverage = _lay(image, camera, rotation, width, antialias=antialias, whole=False)
    return Patch(pixels, coverage, box.x0, box.y0, width)


def photo_to_sphere(
    image: Image, camera: Camera, rotation: ArrayLike, width: int, *, antialias: bool = True
) -> tuple[Image, Mask]:
    """Panorama (W / 2 x W), black around the photo, and coverage (W / 2 x W) uint8; arguments as :func:`photo_to_patch`."""
    return _lay(image, camera, rotation, width, antialias=antialias, whole=True)[1:]


def _lay(
    image: Image, camera: Camera, rotation: ArrayLike, width: int, *, antialias: bool, whole: bool
) -> tuple[Box, Image, Mask]:
    """Box of the footprint, and pixels and coverage of that box or of the whole panorama."""
    _check_image(image, (camera.height, camera.width), "photo")
    world_from_camera = checked_rotation(rotation)
    panorama = Camera.equirectangular(width)
    footprint = Footprint(camera, world_from_camera, panorama.width, panorama.height)
    box = footprint.box
    across, down = np.ones(box.height, dtype=np.intp), 1
    if antialias:
        shrink = _shrink(camera, width)
        down = int(supersampling(shrink))
        lat = np.pi * (0.5 - (box.y0 + np.arange(box.height) + 0.5) / panorama.height)
        across = supersampling(shrink * np.cos(lat))
    frame = Box(0, 0, panorama.width, panorama.height) if whole else box
    pixels, coverage = _resample(image, camera, panorama, world_from_camera.T, frame, box, across, down, footprint.columns)
    return box, pixels, coverage


def composite(panorama: Image, patch: Patch) -> None:
    """Lay a patch over a panorama of the same type and channels, in place, blending where it covers pixels in part."""
    _check_image(panorama, None, "panorama")
    if panorama.dtype != patch.pixels.dtype or panorama.shape[2:] != patch.pixels.shape[2:]:
        raise InputError(
            f"A patch and the panorama under it must have the same type and channels; found {_kind(patch.pixels)} over "
            f"{_kind(panorama)}. Convert one of them."
        )
    height, width = panorama.shape[:2]
    if (width, height) != (patch.panorama_width, patch.panorama_width // 2):
        raise InputError(
            f"A patch made for a panorama of {patch.panorama_width} x {patch.panorama_width // 2} pixels; found "
            f"{width} x {height}. Resize the panorama, or make the patch for its width."
        )
    for at, of in _placements(patch):
        under, over, coverage = panorama[at], patch.pixels[of], patch.coverage[of]
        whole = coverage == 255
        part = (coverage > 0) & ~whole
        if part.any():
            weight = (1.0 - coverage[part].astype(np.float32) / 255.0).reshape(-1, *(1,) * (under.ndim - 2))
            blended = over[part] + weight * under[part]
            under[part] = blended if under.dtype == np.float32 else np.rint(blended).astype(under.dtype)
        covered = cv2.copyTo(over, whole.view(np.uint8), under)
        if covered is not under:  # OpenCV writes in place where it can
            under[...] = covered.reshape(under.shape)


def sphere_to_view(panorama: Image, camera: Camera, rotation: ArrayLike, *, antialias: bool = True) -> Image:
    """View of a panorama through a camera; black where the camera's lens has no ray.

    Parameters
    ----------
    panorama
        H x 2H image.
    camera
        The camera whose image is made, any lens.
    rotation
        world_from_camera, 3 x 3.
    antialias
        Average several samples per pixel where the view has fewer pixels per radian than the panorama.
    """
    source = _panorama_camera(panorama)
    down = 1
    if antialias:
        down = int(supersampling(1.0 / _shrink(camera, source.width)))
    box = Box(0, 0, camera.width, camera.height)
    across = np.full(box.height, down, dtype=np.intp)
    return _resample(panorama, source, camera, checked_rotation(rotation), box, box, across, down)[0]


def rotate_sphere(panorama: Image, rotation: ArrayLike) -> Image:
    """Turn the sphere: what was seen in direction d is seen in direction ``rotation @ d``.

    The identity returns the same pixels, and a yaw by a whole number of pixels rolls them.
    """
    source = _panorama_camera(panorama)
    matrix = checked_rotation(rotation)
    yaw = np.arctan2(matrix[0, 2], matrix[2, 2])
    columns = yaw * source.width / (2.0 * np.pi)
    if np.allclose(matrix, rotation_from_pose(yaw, 0.0, 0.0), rtol=0.0, atol=1e-12) and abs(columns - round(columns)) < 1e-9:
        return np.roll(panorama, round(columns), axis=1)
    box = Box(0, 0, source.width, source.height)
    return _resample(panorama, source, source, matrix.T, box, box, np.ones(box.height, dtype=np.intp), 1)[0]


# --- the one mechanism ------------------------------------------------------------------------------------------------


def supersampling(shrink: ArrayLike) -> NDArray[np.intp]:
    """Samples per axis for a minification: ceil(m / 2), at least 2 where m > 1.5, 1 below."""
    shrink = np.asarray(shrink, dtype=np.float64)
    return np.where(shrink > 1.5, np.maximum(np.ceil(shrink / 2.0), 2.0), 1.0).astype(np.intp)


def _resample(
    image: Image,
    source: Camera,
    target: Camera,
    source_from_target: FloatArray,
    frame: Box,
    box: Box,
    across: NDArray[np.intp],
    down: int,
    columns: Callable[[int, int], tuple[int, int]] | None = None,
) -> tuple[Image, Mask]:
    """Pixels and coverage of a frame of the target, computed inside a box, 0 elsewhere.

    Row i of the box gets ``across[i]`` x ``down`` samples per pixel. ``columns`` tells for a range of its rows which columns
    have to be computed: all by default. Columns beyond the target's right edge are written at the left one.
    """
    sample = Sampler(image, source, int(across.sum()) * box.width * down)
    # zeros, not empty and cleared: the system hands out zeroed pages, so what lies outside the box costs no write
    pixels = np.zeros((frame.height, frame.width, *image.shape[2:]), dtype=image.dtype)
    coverage = np.zeros((frame.height, frame.width), dtype=np.uint8)
    row = box.y0 - frame.y0
    for samples, group in groupby(across.tolist()):
        count = len(list(group))
        x = box.x0 + (np.arange(box.width * samples) + 0.5) / samples
        y = frame.y0 + row + (np.arange(count * down) + 0.5) / down
        sampling_map = SamplingMap(source, target, source_from_target, x, y)
        rows, edges = _blocks(box.width, target.width - box.x0, samples, down)
        for top in range(0, count, rows):
            bottom = min(top + rows, count)
            offset = row + frame.y0 - box.y0
            reach = columns(offset + top, offset + bottom) if columns else (0, box.width)
            for edge in pairwise(edges):
                left, right = max(edge[0], reach[0]), min(edge[1], reach[1])
                if left >= right:
                    continue
                u, v, seen = sampling_map.block(slice(top * down, bottom * down), slice(left * samples, right * samples))
                start = (box.x0 - frame.x0 + left) % target.width
                at = slice(row + top, row + bottom), slice(start, start + right - left)
                _average_into(pixels[at], sample(u, v, pixels[at]))
                if seen is None:
                    coverage[at] = 255
                else:
                    _average_into(coverage[at], seen.view(np.uint8) * np.uint8(255))
        row += count
    return pixels, coverage


def _average_into(target: Image, samples: Image) -> None:
    """Write samples, or their averages, or the first channels of them, to where they belong: in place where OpenCV can."""
    channels = target.shape[2] if target.ndim == 3 else 1
    extra = samples.ndim == 3 and samples.shape[2] > channels
    if samples.shape[:2] != target.shape[:2]:
        samples = cv2.resize(samples, target.shape[1::-1], dst=None if extra else target, interpolation=cv2.INTER_AREA)
    if extra and channels == 3:
        samples = cv2.cvtColor(samples, cv2.COLOR_BGRA2BGR, dst=target)
    if samples is not target:
        target[...] = samples[..., :channels].reshape(target.shape) if extra else samples.reshape(target.shape)


def _blocks(width: int, seam: int, samples: int, down: int) -> tuple[int, list[int]]:
    """Rows per block, and the columns at which blocks of at most about _BLOCK_SAMPLES samples begin and end, the seam too."""
    columns = min(width, max(1, _BLOCK_COLUMNS // samples))
    rows = max(1, min(_BLOCK_ROWS, _BLOCK_SAMPLES // max(1, columns * samples)) // down)
    return rows, [*range(0, min(seam, width), max(1, columns)), *range(seam, width, max(1, columns)), width]


def _placements(patch: Patch) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Pairs (where on the panorama, which part of the patch): one, or two where the patch runs over the seam."""
    height, across = patch.coverage.shape
    rows = slice(patch.y0, patch.y0 + height)
    first = min(across, patch.panorama_width - patch.x0)
    pieces = [((rows, slice(patch.x0, patch.x0 + first)), (slice(None), slice(0, first)))]
    if across > first:
        pieces.append(((rows, slice(0, across - first)), (slice(None), slice(first, across))))
    return pieces


@lru_cache(maxsize=128)
def _shrink(camera: Camera, width: int) -> float:
    """Minification at the centre of an image, or at the principal point if the lens has no ray at the centre."""
    centre = minification(camera, width)
    return centre if np.isfinite(centre) else minification(camera, width, at=(camera.cx, camera.cy))


# --- checks -----------------------------------------------------------------------------------------------------------


def _kind(image: Image) -> str:
    return f"{image.dtype} of shape {image.shape}"


def _check_image(image: Image, size: tuple[int, int] | None, what: str) -> None:
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or image.size == 0:
        found = _kind(image) if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"A {what} must be a numpy array H x W or H x W x C with C from 1 to 4; found {found}.")
    if image.dtype not in _DTYPES or (image.ndim == 3 and not 1 <= image.shape[2] <= 4):
        raise InputError(
            f"A {what} must be uint8, uint16 or float32 with 1 to 4 channels in its last axis; found {_kind(image)}. "
            "Convert it."
        )
    if max(image.shape[:2]) > _LARGEST:
        raise InputError(
            f"A {what} may have at most {_LARGEST} pixels along a side (the limit of cv2.remap); found {_kind(image)}. "
            "Resize or crop it."
        )
    if size is not None and image.shape[:2] != size:
        raise InputError(
            f"A {what} must have the size of its camera, {size[1]} x {size[0]} pixels; found {image.shape[1]} x "
            f"{image.shape[0]}. Use camera.resized(width, height) for a photo that was resampled."
        )


def _panorama_camera(panorama: Image) -> Camera:
    _check_image(panorama, None, "panorama")
    height, width = panorama.shape[:2]
    if width != 2 * height:
        raise InputError(f"A panorama must be twice as wide as high; found {width} x {height} pixels. Pad or resize it to 2:1.")
    if width > _LARGEST - 2:
        raise InputError(f"A panorama that is sampled may be at most {_LARGEST - 2} pixels wide; found {width}. Resize it.")
    return Camera.equirectangular(width)
