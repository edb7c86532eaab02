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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby, pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.footprint import Box, Footprint
from srgaze360.maps import Grid, SamplingMap, checked_rotation, minification
from srgaze360.sampler import SAMPLER_ID, Image, Mask, Sampler, check_sampler, sampler_errors
from srgaze360.sphere import BoolArray, FloatArray, rotation_from_pose

__all__ = [
    "SAMPLER_ID",
    "Image",
    "Mask",
    "Patch",
    "check_sampler",
    "composite",
    "paint",
    "photo_to_patch",
    "photo_to_sphere",
    "rotate_sphere",
    "sampler_errors",
    "sphere_to_view",
    "supersampling",
]

_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
_ONE = np.uint8(1)
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

    @property
    def box(self) -> Box:
        """Where on the panorama the patch lies."""
        height, width = self.coverage.shape
        return Box(self.x0, self.y0, width, height)


# --- the ways ---------------------------------------------------------------------------------------------------


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
    task = _photo_task(image, camera, rotation, width, antialias=antialias)
    pixels, coverage = _resample(task, task.box)
    return Patch(pixels, coverage, task.box.x0, task.box.y0, width)


def photo_to_sphere(
    image: Image, camera: Camera, rotation: ArrayLike, width: int, *, antialias: bool = True
) -> tuple[Image, Mask]:
    """Panorama (W / 2 x W), black around the photo, and coverage (W / 2 x W) uint8; arguments as :func:`photo_to_patch`."""
    task = _photo_task(image, camera, rotation, width, antialias=antialias)
    return _resample(task, Box(0, 0, task.target.width, task.target.height))


def paint(panorama: Image, image: Image, camera: Camera, rotation: ArrayLike, *, antialias: bool = True) -> Box:
    """Lay a photo over a panorama of the same type and channels, in place: ``composite`` of its patch, without the detour.

    Returns
    -------
    Box
        What may have changed; ``box.slices(width)`` index it. The fastest way to many panoramas is one canvas, painted, used,
        and cleared there.
    """
    width = _panorama_camera(panorama).width
    _check_same_kind(image, panorama, "photo")
    task = _photo_task(image, camera, rotation, width, antialias=antialias)
    for at, blind, sample in _blocks(task, Box(0, 0, width, width // 2)):
        under = panorama[at]
        samples = sample(under, over=True)
        if samples is under:
            continue
        if not cv2.countNonZero(under.reshape(len(under), -1)):
            _average_into(under, samples)  # premultiplied: over black there is nothing to blend
        else:
            over, share = np.empty_like(under), np.empty(under.shape[:2], dtype=np.uint8)
            _average_into(over, samples)
            _share_into(share, blind)
            _lay_over(under, over, share)
    return task.box


def composite(panorama: Image, patch: Patch) -> None:
    """Lay a patch over a panorama of the same type and channels, in place, blending where it covers pixels in part."""
    _check_image(panorama, None, "panorama")
    _check_same_kind(patch.pixels, panorama, "patch")
    height, width = panorama.shape[:2]
    if (width, height) != (patch.panorama_width, patch.panorama_width // 2):
        raise InputError(
            f"A patch made for a panorama of {patch.panorama_width} x {patch.panorama_width // 2} pixels; found "
            f"{width} x {height}. Resize the panorama, or make the patch for its width."
        )
    start = 0
    for at in patch.box.slices(width):
        of = slice(None), slice(start, start + at[1].stop - at[1].start)
        _lay_over(panorama[at], patch.pixels[of], patch.coverage[of])
        start = of[1].stop


def _lay_over(under: Image, over: Image, share: Mask) -> None:
    """Blend premultiplied pixels into those below them, in place, by their share of 255."""
    part = np.flatnonzero(share - _ONE < 254)  # 0 wraps around
    if part.size:
        rows, columns = np.divmod(part, share.shape[1])
        weight = (1.0 - share[rows, columns].astype(np.float32) / 255.0).reshape(-1, *(1,) * (under.ndim - 2))
        blended = over[rows, columns] + weight * under[rows, columns]
        under[rows, columns] = blended if under.dtype == np.float32 else np.rint(blended).astype(under.dtype)
    covered = cv2.copyTo(over, (share == 255).view(np.uint8), under)
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
    return _resample(_Task(panorama, source, camera, checked_rotation(rotation), box, [(box.height, down)], down), box)[0]


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
    return _resample(_Task(panorama, source, source, matrix.T, box, [(box.height, 1)], 1), box)[0]


# --- the one mechanism ------------------------------------------------------------------------------------------------


def supersampling(shrink: ArrayLike) -> NDArray[np.intp]:
    """Samples per axis for a minification: ceil(m / 2), at least 2 where m > 1.5, 1 below."""
    shrink = np.asarray(shrink, dtype=np.float64)
    return np.where(shrink > 1.5, np.maximum(np.ceil(shrink / 2.0), 2.0), 1.0).astype(np.intp)


class _Task(NamedTuple):
    """An image to sample, the camera whose image is made, and the box of that image that is computed.

    ``runs`` are pairs (rows, samples across): so many rows of the box in a row get that many samples along a pixel's row, and
    all get ``down`` along its column. ``columns`` tells for ranges of the box's rows which columns have to be computed.
    """

    image: Image
    source: Camera
    target: Camera
    source_from_target: FloatArray
    box: Box
    runs: Sequence[tuple[int, int]]
    down: int
    columns: Callable[[Sequence[int]], Sequence[tuple[int, int]]] | None = None


def _photo_task(image: Image, camera: Camera, rotation: ArrayLike, width: int, *, antialias: bool) -> _Task:
    _check_image(image, (camera.height, camera.width), "photo")
    world_from_camera = checked_rotation(rotation)
    panorama = Camera.equirectangular(width)
    footprint = Footprint(camera, world_from_camera, panorama.width, panorama.height)
    box, runs, down = footprint.box, [(footprint.box.height, 1)], 1
    if antialias:
        shrink = _shrink(camera, width)
        down = int(supersampling(shrink))
        lat = np.pi * (0.5 - (box.y0 + np.arange(box.height) + 0.5) / panorama.height)
        across = supersampling(shrink * np.cos(lat)).tolist()
        runs = [(len(list(group)), samples) for samples, group in groupby(across)]
    return _Task(image, camera, panorama, world_from_camera.T, box, runs, down, footprint.columns)


def _resample(task: _Task, frame: Box) -> tuple[Image, Mask]:
    """Pixels and coverage of a frame of the target, 0 outside of the task's box."""
    # zeros, not empty and cleared: the system hands out zeroed pages, so what lies outside the box costs no write
    pixels = np.zeros((frame.height, frame.width, *task.image.shape[2:]), dtype=task.image.dtype)
    coverage = np.zeros((frame.height, frame.width), dtype=np.uint8)
    for at, blind, sample in _blocks(task, frame):
        _average_into(pixels[at], sample(pixels[at]))
        _share_into(coverage[at], blind)
    return pixels, coverage


def _blocks(task: _Task, frame: Box) -> Iterator[tuple[tuple[slice, slice], BoolArray | None, Callable[..., Image]]]:
    """Where in the frame a block of the box lies, which of its samples miss the source (None: none), and what samples it.

    Columns beyond the target's right edge go on at the left one.
    """
    image, source, target, source_from_target, box, runs, down, columns = task
    sample = Sampler(image, source, sum(rows * samples for rows, samples in runs) * box.width * down)
    seam = target.width - box.x0
    first = 0
    for count, samples in runs:
        strip = Box(box.x0, box.y0 + first, box.width, count)
        sampling_map = SamplingMap(source, target, source_from_target, Grid(strip, samples, down))
        wide = max(1, min(box.width, _BLOCK_COLUMNS // samples))
        high = max(1, min(_BLOCK_ROWS, _BLOCK_SAMPLES // (wide * samples)) // down)
        edges = [*range(first, first + count, high), first + count]
        reaches = columns(edges) if columns else [(0, box.width)] * (len(edges) - 1)
        for (top, bottom), (left, right) in zip(pairwise(edges), reaches, strict=True):
            rows = slice((top - first) * down, (bottom - first) * down)
            for start, stop in _pieces(left, right, seam, wide):
                u, v, blind = sampling_map.block(rows, slice(start * samples, stop * samples))
                x0, y0 = (box.x0 - frame.x0 + start) % target.width, box.y0 - frame.y0
                at = slice(y0 + top, y0 + bottom), slice(x0, x0 + stop - start)
                yield at, blind, partial(sample, u, v)
        first += count


def _pieces(left: int, right: int, seam: int, wide: int) -> Iterator[tuple[int, int]]:
    """Columns [left, right) in pieces of at most ``wide`` that end at the seam."""
    while left < right:
        stop = min(left + wide, right, seam if left < seam else right)
        yield left, stop
        left = stop


def _share_into(target: Mask, blind: BoolArray | None) -> None:
    """Write the share, 0 to 255, of a pixel's samples that see the source."""
    if blind is None:
        target[...] = 255
    elif blind.shape == target.shape:
        np.subtract(blind, _ONE, out=target)  # 0 wraps around
    else:
        _average_into(target, np.subtract(blind, _ONE))


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


@lru_cache(maxsize=128)
def _shrink(camera: Camera, width: int) -> float:
    """Minification at the centre of an image, or at the principal point if the lens has no ray at the centre."""
    centre = minification(camera, width)
    return centre if np.isfinite(centre) else minification(camera, width, at=(camera.cx, camera.cy))


# --- checks -----------------------------------------------------------------------------------------------------------


def _kind(image: Image) -> str:
    return f"{image.dtype} of shape {image.shape}"


def _check_same_kind(over: Image, under: Image, what: str) -> None:
    if over.dtype != under.dtype or over.shape[2:] != under.shape[2:]:
        raise InputError(
            f"A {what} and the panorama under it must have the same type and channels; found {_kind(over)} over "
            f"{_kind(under)}. Convert one of them."
        )


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
