"""The camera object: pixel -> ray and ray -> pixel, each with validity, from one set of parameters.

Conventions
-----------
* Camera frame: x right, y down, z forward; rays are unit float64 vectors of that frame (``sphere`` turns them).
* Pixel coordinates are continuous: the image covers [0, W] x [0, H], pixel (i, j) has its centre at (i + 0.5, j + 0.5), so
  the principal point of a centred camera is (W / 2, H / 2). OpenCV's calibration puts the centre of the first pixel at
  (0, 0): add 0.5 to its cx and cy.
* Focal lengths are in pixels: pixel = (fx u + cx, fy v + cy) for a point (u, v) of the lens's normalised plane.
* Validity of a projection says that the lens is defined there and the ray lies before the fold. It does not say that the
  pixel is inside the image: ``contains`` does.
* Angles are radians.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from srgaze360.errors import InputError, suggestion
from srgaze360.lens_model import Lens
from srgaze360.lenses import LENSES
from srgaze360.sphere import BoolArray, FloatArray, angle_between

Side = Literal["width", "height", "longer"]


class Rays(NamedTuple):
    """Unit rays (..., 3) of the camera frame and validity (...); invalid rays are NaN."""

    directions: FloatArray
    valid: BoolArray


class Projection(NamedTuple):
    """Continuous pixels (..., 2) and validity (...); invalid pixels are NaN, valid ones may lie outside the image."""

    pixels: FloatArray
    valid: BoolArray


@dataclass(frozen=True)
class Camera:
    """A lens in front of an image.

    Attributes
    ----------
    lens
        Key of :data:`srgaze360.lenses.LENSES`.
    width, height
        Image size in pixels.
    fx, fy, cx, cy
        Focal lengths and principal point, continuous pixel coordinates.
    params
        Parameters of the lens, in the order of ``LENSES[lens].parameters``; missing ones are filled up with 0.
    """

    lens: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    params: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        lens = _lens_named(self.lens)
        for name in ("width", "height"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"Camera {name} must be a whole number of pixels, 1 or more; found {value!r}.")
            object.__setattr__(self, name, int(value))
        for name in ("fx", "fy", "cx", "cy"):
            value = _finite(getattr(self, name), f"Camera {name}")
            if name in ("fx", "fy") and value <= 0.0:
                raise InputError(f"Camera {name} must be a focal length in pixels, above 0; found {value!r}.")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "params", _checked_params(lens, self.params))

    # --- construction -------------------------------------------------------------------------------------------------

    @classmethod
    def from_fov(
        cls,
        lens: str,
        width: int,
        height: int,
        fov: float,
        side: Side = "width",
        params: tuple[float, ...] = (),
    ) -> Camera:
        """Centred camera with square pixels whose field of view along one side is exactly ``fov``.

        Parameters
        ----------
        lens, params
            Lens model and its parameters.
        width, height
            Image size in pixels.
        fov
            Angle in radians between the rays through the midpoints of the two ends of that side, distortion included.
        side
            ``"width"`` (left and right edges), ``"height"`` (top and bottom), or ``"longer"`` (the longer of the two).

        Raises
        ------
        InputError
            The lens cannot reach that angle, or an argument is unusable.
        """
        if side not in ("width", "height", "longer"):
            raise InputError(f"The side of a field of view must be width, height or longer; found {side!r}.")
        fov = _finite(fov, "A field of view (radians)")
        unit = cls(lens, width, height, 1.0, 1.0, width / 2.0, height / 2.0, params)
        if side == "longer":
            side = "width" if width >= height else "height"
        half_side = (width if side == "width" else height) / 2.0
        half_fov = fov / 2.0
        axis = (math.sin(half_fov), 0.0) if side == "width" else (0.0, math.sin(half_fov))
        model = LENSES[lens]
        x, y, z = (np.array([component]) for component in (*axis, math.cos(half_fov)))
        plane = model.project(x, y, z, unit.params)
        reach = float(np.hypot(plane.u[0], plane.v[0]))
        if not (0.0 < fov <= 2.0 * np.pi and plane.valid[0] and reach < 1e6):  # tan(90 degrees) is not infinite in floats
            raise InputError(_out_of_reach(unit, fov, side))
        camera = replace(unit, fx=half_side / reach, fy=half_side / reach)
        if lens == "brown-conrady" and any(camera.params[2:4]):
            # tangential terms bend the two halves differently, so the focal length has no closed form
            camera = _solve_focal_length(camera, fov, side)
        return camera

    @staticmethod
    def equirectangular(width: int) -> Camera:
        """The panorama itself: ``width`` x ``width / 2`` pixels over the whole sphere."""
        return _panorama(width)

    def resized(self, width: int, height: int) -> Camera:
        """Camera of the same view when the image is resampled to another size in pixels."""
        sx, sy = width / self.width, height / self.height
        return replace(self, width=width, height=height, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy)

    # --- pixels and rays ----------------------------------------------------------------------------------------------

    def rays(self, pixels: ArrayLike) -> Rays:
        """Rays through continuous pixels (..., 2), inside the image or not; NaN where the lens sends no ray."""
        pixels = np.asarray(pixels, dtype=np.float64)
        u, v = (pixels[..., 0] - self.cx) / self.fx, (pixels[..., 1] - self.cy) / self.fy
        finite = np.isfinite(u) & np.isfinite(v)
        x, y, z, valid = LENSES[self.lens].lift(np.where(finite, u, 0.0), np.where(finite, v, 0.0), self.params)
        valid = np.asarray(valid & finite)
        return Rays(np.where(valid[..., None], np.stack([x, y, z], axis=-1), np.nan), valid)

    def project(self, directions: ArrayLike) -> Projection:
        """Continuous pixels (..., 2) of directions (..., 3) of the camera frame (any length); NaN where invalid."""
        directions = np.asarray(directions, dtype=np.float64) + 0.0  # -0.0 would put the poles at longitude 180 degrees
        directions = np.where(np.isfinite(directions).all(axis=-1, keepdims=True), directions, 0.0)  # no lens accepts 0
        plane = LENSES[self.lens].project(directions[..., 0], directions[..., 1], directions[..., 2], self.params)
        with np.errstate(over="ignore"):  # a ray that grazes the image plane: its pixel is infinite, hence invalid
            x, y = self.fx * plane.u + self.cx, self.fy * plane.v + self.cy
        if self.is_panorama:
            x = np.where(x >= self.width, 0.0, x)  # longitude pi, or one rounding error below it
        valid = np.asarray(plane.valid & np.isfinite(x) & np.isfinite(y))
        return Projection(np.where(valid[..., None], np.stack([x, y], axis=-1), np.nan), valid)

    def contains(self, pixels: ArrayLike) -> BoolArray:
        """Whether continuous pixels (..., 2) lie in the image, [0, W] x [0, H]; NaN does not. A panorama has every x."""
        pixels = np.asarray(pixels, dtype=np.float64)
        x, y = pixels[..., 0], pixels[..., 1]
        across = np.isfinite(x) if self.is_panorama else (x >= 0.0) & (x <= self.width)
        return np.asarray(across & (y >= 0.0) & (y <= self.height))

    # --- fields of view -----------------------------------------------------------------------------------------------

    @property
    def is_panorama(self) -> bool:
        """Whether this is a whole equirectangular panorama, periodic in x."""
        turn = 2.0 * np.pi * self.fx
        return self.lens == "equirectangular" and math.isclose(turn, self.width) and math.isclose(2.0 * self.cx, self.width)

    @property
    def hfov(self) -> float:
        """Angle in radians between the rays through the midpoints of the left and right image edges.

        Where the two angles to the optical axis add up to more than 180 degrees, that sum. NaN if the lens has no ray there.
        """
        return self._angle_across([[0.0, self.height / 2.0], [self.width, self.height / 2.0]])

    @property
    def vfov(self) -> float:
        """Angle in radians between the rays through the midpoints of the top and bottom image edges; as :attr:`hfov`."""
        return self._angle_across([[self.width / 2.0, 0.0], [self.width / 2.0, self.height]])

    def _angle_across(self, pixels: list[list[float]]) -> float:
        rays = self.rays(pixels).directions
        to_axis = float(np.sum(angle_between(rays, [0.0, 0.0, 1.0])))
        return to_axis if to_axis > np.pi else float(angle_between(rays[0], rays[1]))

    # --- plain data ---------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON or YAML; :meth:`from_dict` returns an equal camera."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"params": list(self.params)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Camera:
        """Camera of plain data as :meth:`to_dict` writes it; ``params`` may be absent.

        Raises
        ------
        InputError
            A key is missing or unknown, or a value is not usable.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"A camera must be a mapping with lens, width, height, fx, fy, cx, cy; found {data!r}.")
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in data and name != "params"]
        unknown = [str(key) for key in data if key not in names]
        if missing or unknown:
            raise InputError(
                f"A camera must have the keys {', '.join(names)} (params may be absent); missing: "
                f"{', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}. Correct the keys."
            )
        params = data.get("params", ())
        if isinstance(params, str | bytes) or not isinstance(params, list | tuple):
            raise InputError(f"Camera params must be a list of numbers; found {params!r}.")
        return cls(**{**data, "params": tuple(params)})


@lru_cache(maxsize=16)
def _panorama(width: int) -> Camera:
    if width % 2:
        raise InputError(f"An equirectangular image is twice as wide as high; found the odd width {width}.")
    scale = width / (2.0 * math.pi)
    return Camera("equirectangular", width, width // 2, scale, scale, width / 2.0, width / 4.0)


def _lens_named(name: object) -> Lens:
    lens = LENSES.get(name) if isinstance(name, str) else None
    if lens is None:
        raise InputError(f"Unknown lens {name!r}. {suggestion(str(name), list(LENSES))}")
    return lens


def _finite(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not math.isfinite(value):
        raise InputError(f"{what} must be a finite number; found {value!r}.")
    return float(value)


def _checked_params(lens: Lens, params: object) -> tuple[float, ...]:
    names = lens.parameters
    expected = f"{len(names)} ({', '.join(names)})" if names else "none"
    if not isinstance(params, tuple | list) or len(params) > len(names):
        raise InputError(f"The {lens.name} lens takes these parameters: {expected}; found {params!r}.")
    values = tuple(
        _finite(value, f"Parameter {name} of the {lens.name} lens") for name, value in zip(names, params, strict=False)
    )
    for name, value in zip(names, values, strict=False):
        if value < lens.lowest:
            raise InputError(f"Parameter {name} of the {lens.name} lens must be {lens.lowest:g} or more; found {value!r}.")
    return values + (0.0,) * (len(names) - len(values))


def _out_of_reach(camera: Camera, fov: float, side: str) -> str:
    along = np.array([0.0, np.pi] if side == "width" else [np.pi / 2, -np.pi / 2])
    reach = float(np.sum(LENSES[camera.lens].limit(camera.params, along)))
    return (
        f"The {camera.lens} lens with parameters {camera.params} must show a field of view above 0 and below "
        f"{math.degrees(reach):.6g} degrees along the {side}; found {math.degrees(fov):.6g}. "
        "Ask for a smaller angle or another lens."
    )


def _solve_focal_length(camera: Camera, fov: float, side: str) -> Camera:
    def excess(log_scale: float) -> float:
        scaled = _scaled_focal(camera, log_scale)
        angle = scaled.hfov if side == "width" else scaled.vfov
        return (angle if math.isfinite(angle) else 2.0 * np.pi) - fov  # a focal length too short for the lens: too wide

    low, high = -1.0, 1.0
    solved = camera
    if excess(low) > 0.0 > excess(high):
        solved = _scaled_focal(camera, float(brentq(excess, low, high, xtol=1e-15, rtol=1e-15)))
    angle = solved.hfov if side == "width" else solved.vfov
    if not abs(angle - fov) < 1e-9:
        raise InputError(_out_of_reach(camera, fov, side))
    return solved


def _scaled_focal(camera: Camera, log_scale: float) -> Camera:
    scale = math.exp(log_scale)
    return replace(camera, fx=camera.fx * scale, fy=camera.fy * scale)
