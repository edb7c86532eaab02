"""The bilinear sampler: OpenCV 5's ``remap``, the conditions under which it is exact, and the test that it is.

Conventions
-----------
* Maps are float32 and in OpenCV's coordinates (centre of the first pixel at (0, 0)); never fixed-point ones.
* OpenCV 4, and OpenCV 5 with fixed-point maps, float64 images or two channels, round positions to 1/32 px. The same recipe
  then gives other pixels, so the sampler is part of a dataset's version: :data:`SAMPLER_ID` names library, interpolation and
  the rule of anti-aliasing (``reproject.supersampling``).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from srgaze360.cameras import Camera
from srgaze360.errors import EnvironmentProblem
from srgaze360.maps import Float32Array

Image = NDArray[Any]
Mask = NDArray[np.uint8]

SAMPLER_ID = "opencv-5/linear-f32/supersample-1"

_MANY_SAMPLES = 1 << 17  # from here on a fourth channel can pay


class Sampler:
    """Bilinear samples of one image at OpenCV coordinates; points that ``maps`` sets far outside are black.

    Samples may have more channels than the image: cv2.remap rounds maps to 1/32 px for two channels but not for one, three
    or four, and it is faster with four than with three, which pays when ``count`` samples are many for the image's size.
    """

    def __init__(self, image: Image, source: Camera, count: int) -> None:
        channels = image.shape[2] if image.ndim == 3 else 1
        self._image = np.ascontiguousarray(image)
        if channels == 2:
            self._image = np.concatenate([image, image], axis=2)
        elif channels == 3 and count > max(_MANY_SAMPLES, image.shape[0] * image.shape[1] // 6):
            self._image = cv2.cvtColor(self._image, cv2.COLOR_BGR2BGRA)
        self._periodic = source.is_panorama
        self._padded: Image | None = None

    def __call__(self, u: Float32Array, v: Float32Array, target: Image, *, over: bool = False) -> Image:
        """Samples at (u, v); they are ``target`` itself, filled, if that has room for exactly them.

        With ``over``, what lies far outside keeps what ``target`` holds there instead of turning black.
        """
        image = self._image
        height, width = image.shape[:2]
        if self._periodic and not (u.min() >= 0.0 and v.min() >= 0.0 and u.max() <= width - 1 and v.max() <= height - 1):
            if self._padded is None:
                self._padded = _padded_panorama(image)
            image, u, v = self._padded, u + np.float32(1.0), v + np.float32(1.0)
        fits = target.shape == (*u.shape, *image.shape[2:])
        border = cv2.BORDER_TRANSPARENT if over and fits else cv2.BORDER_CONSTANT
        samples: Image = cv2.remap(image, u, v, cv2.INTER_LINEAR, dst=target if fits else None, borderMode=border)
        return samples


def _padded_panorama(image: Image) -> Image:
    """One more pixel all around: across the seam, and across the pole, where the row goes on half a turn away."""
    height, width = image.shape[:2]
    padded: Image = cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_WRAP).reshape(height + 2, width + 2, *image.shape[2:])
    beyond = (np.arange(-1, width + 1) + width // 2) % width
    padded[0], padded[-1] = image[0, beyond], image[-1, beyond]
    return padded


# --- self-test --------------------------------------------------------------------------------------------------------

_RAMP_CAMERA = Camera("pinhole", 41, 9, 1.0, 1.0, 20.5, 4.5)


def sampler_errors() -> dict[str, float]:
    """Largest error of the installed OpenCV, in pixels, by image type, on a ramp sampled between its pixels.

    The rounding of integer types is allowed for. Exact sampling stays below 0.001 px; the fixed-point path of OpenCV 4, which
    rounds positions to 1/32 px, shows 0.013 or more.
    """
    height, width = 9, 41
    u = np.linspace(1.0, width - 2.0, 37 * 64, dtype=np.float32).reshape(37, 64)
    v = np.full_like(u, 4.25)
    errors = {}
    for dtype, step in ((np.uint8, 255.0), (np.uint16, 1500.0), (np.float32, 1.0)):
        for channels in (1, 2, 3, 4):
            column = np.arange(width) % 2 if dtype == np.uint8 else np.arange(width)
            ramp = np.repeat(np.repeat((column * step)[None, :, None], height, axis=0), channels, axis=2).astype(dtype)
            sampled = Sampler(ramp, _RAMP_CAMERA, u.size)(u, v, ramp).reshape(*u.shape, -1)[..., :channels]
            truth = np.interp(u, np.arange(width), column * step)[..., None]
            off = np.abs(sampled.astype(np.float64) - truth) - (0.0 if dtype == np.float32 else 0.51)
            errors[f"{np.dtype(dtype).name} x {channels}"] = float(max(off.max(), 0.0) / step)
    return errors


def check_sampler() -> dict[str, float]:
    """Return :func:`sampler_errors`, or raise EnvironmentProblem where this OpenCV does not sample as SAMPLER_ID says."""
    errors = sampler_errors()
    coarse = {kind: error for kind, error in errors.items() if not error < 0.002}
    if coarse or not cv2.__version__.startswith("5."):
        raise EnvironmentProblem(
            f"The sampler {SAMPLER_ID} needs OpenCV 5 with exact bilinear interpolation (errors below 0.002 px); found "
            f"OpenCV {cv2.__version__} with errors of {coarse or errors} px. Install opencv-python>=5,<6."
        )
    return errors
