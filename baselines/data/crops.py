"""Head crops: square gnomonic views of a panorama, centred on a head, local north up; and crops of crops.

Conventions
-----------
A crop has ``size`` x ``size`` pixels and shows the angle ``reach`` (radians) from its centre to the middle of each side. Its
rays are x right + y down + z forward in the axes of a camera whose pose is ``view_rotation(head, roll)``; pixel (i, j) has its
centre at (i + 0.5, j + 0.5) and the focal length is size / (2 tan reach). Panoramas are (H, 2H, 3), uint8 or float32; they
go on across the seam and over the poles. Two crops differ by a homography, so one cut from a wider one is exact up to
interpolation.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360.cameras import Camera
from srgaze360.reproject import sphere_to_view, supersampling
from srgaze360.sphere import FloatArray, tangent_frame

LARGEST_REACH = float(np.radians(60.0))
# A stored crop is this much wider, at least: more than sqrt(2), so that a crop turned by any roll still lies within it.
WIDER = 1.5

Picture = NDArray[Any]


def reach_of(radius: ArrayLike, crop_reach: float) -> FloatArray:
    """Half the angle (radians) across the crop of a head of angular radius ``radius`` (radians), at most 60 degrees."""
    return np.minimum(crop_reach * np.asarray(radius, dtype=np.float64), LARGEST_REACH)


def wide_size(size: int) -> int:
    """Pixels along a side of the stored crop: its inner ``size`` x ``size`` pixels are the plain crop."""
    return size + 2 * int(np.ceil((WIDER - 1.0) * size / 2.0))


def wide_reach(reach: ArrayLike, size: int) -> FloatArray:
    """Reach (radians) of the stored crop that has as many pixels per tangent as a crop of ``reach`` and ``size``."""
    return np.asarray(np.arctan(np.tan(np.asarray(reach, dtype=np.float64)) * wide_size(size) / size))


def view_rotation(heads: ArrayLike, roll: ArrayLike = 0.0) -> FloatArray:
    """world_from_camera (..., 3, 3) of a camera that looks at directions (..., 3) with local north up, then rolled clockwise.

    At the poles, north is that of longitude 0.
    """
    east, north, radial = np.moveaxis(tangent_frame(heads), -2, 0)
    cos, sin = np.cos(roll)[..., None], np.sin(roll)[..., None]
    return np.stack([cos * east - sin * north, -sin * east - cos * north, radial], axis=-1)


def head_crop(panorama: Picture, head: ArrayLike, reach: float, size: int, roll: float = 0.0) -> Picture:
    """Gnomonic view of a panorama, centred on a head.

    Bilinear; where the crop has fewer pixels per radian than the panorama, k x k samples are averaged
    (:func:`srgaze360.reproject.supersampling`).

    Parameters
    ----------
    panorama
        (H, 2H, 3), uint8 or float32.
    head
        Direction (3,) of the crop's centre.
    reach
        Half the angle across, radians, below pi / 2.
    size
        Pixels along a side.
    roll
        Clockwise turn of the camera, radians: what is seen turns the other way.

    Returns
    -------
    ndarray
        (size, size, 3), of the panorama's type.
    """
    samples = int(supersampling(2.0 * np.tan(reach) * panorama.shape[0] / (np.pi * size)))
    pixels = size * samples
    focal = pixels / (2.0 * np.tan(reach))
    camera = Camera("pinhole", pixels, pixels, focal, focal, pixels / 2.0, pixels / 2.0)
    crop = sphere_to_view(panorama, camera, view_rotation(head, roll), antialias=False)
    return crop if samples == 1 else np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA))


def resized(panorama: Picture, height: int) -> Picture:
    """Panorama (height, 2 height, 3): the mean over each pixel's area, or bilinear where it grows, seam and poles included."""
    if panorama.shape[0] == height:
        return panorama
    if panorama.shape[0] > height:
        return np.asarray(cv2.resize(panorama, (2 * height, height), interpolation=cv2.INTER_AREA))
    return sphere_to_view(panorama, Camera.equirectangular(2 * height), np.eye(3), antialias=False)


# --- crops of crops ---------------------------------------------------------------------------------------------------


def intrinsics(reach: ArrayLike, size: int) -> FloatArray:
    """Pinhole matrices (..., 3, 3) of crops: continuous pixel = K ray."""
    reach = np.asarray(reach, dtype=np.float64)
    matrix = np.zeros((*reach.shape, 3, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = size / (2.0 * np.tan(reach))
    matrix[..., :2, 2], matrix[..., 2, 2] = size / 2.0, 1.0
    return matrix


def homography(
    from_view: FloatArray, from_intrinsics: FloatArray, to_view: FloatArray, to_intrinsics: FloatArray
) -> FloatArray:
    """Matrices (..., 3, 3) that take continuous pixels of a new crop (``to``) to those of the crop it is cut ``from``.

    K_from V_from^T V_to K_to^-1, the views V being world_from_camera in the same world (Hartley and Zisserman, *Multiple View
    Geometry*, 2004, section 13.4, inverted). A mirrored world is an orthogonal view matrix of determinant -1.
    """
    return np.asarray(from_intrinsics @ np.swapaxes(from_view, -1, -2) @ to_view @ np.linalg.inv(to_intrinsics))


def recrop(crop: Picture, matrix: FloatArray, size: int) -> Picture:
    """Crop (size, size, 3) cut from another by its :func:`homography` (3, 3); bilinear, edges replicated beyond the crop."""
    centred = matrix.copy()
    centred[:, 2] += 0.5 * (matrix[:, 0] + matrix[:, 1])
    centred[:2] -= 0.5 * centred[2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(crop, centred, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def inner(crop: Picture, size: int) -> Picture:
    """The middle ``size`` x ``size`` pixels of a stored crop: the plain crop, without resampling."""
    edge = (crop.shape[0] - size) // 2
    return crop[edge : edge + size, edge : edge + size]
