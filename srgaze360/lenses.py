"""The lens models: how a ray of the camera frame lands on the normalised image plane, and back.

Conventions
-----------
Those of ``lens_model``: x right, y down, z along the optical axis; theta is the angle to the axis and r the distance from the
principal point in focal lengths. :data:`LENSES` is the table of all models, each with the source of its formula.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from srgaze360 import brown_conrady
from srgaze360.lens_model import (
    SLACK,
    Floats,
    Lens,
    Lifted,
    Parameters,
    Plane,
    constant_limit,
    first_zero,
    norm,
    solve_monotone,
)
from srgaze360.sphere import BoolArray, FloatArray

# --- pinhole ----------------------------------------------------------------------------------------------------------


def _pinhole_project(x: Floats, y: Floats, z: Floats, _params: Parameters) -> Plane:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return Plane(x / z, y / z, z > 0.0)


def _pinhole_lift(u: FloatArray, v: FloatArray, _params: Parameters) -> Lifted:
    scale = 1.0 / np.sqrt(1.0 + u * u + v * v)
    return Lifted(u * scale, v * scale, scale, np.isfinite(scale))


# --- radial lenses in closed form -------------------------------------------------------------------------------------


def _one_plus_cos(x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Length n of the ray, and n + z without cancellation behind the camera."""
    n = norm(x, y, z)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return n, np.where(z >= 0.0, n + z, (x * x + y * y) / (n - z))


def _stereographic_project(x: Floats, y: Floats, z: Floats, _params: Parameters) -> Plane:
    _, sum_ = _one_plus_cos(x, y, z)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = 2.0 / sum_
        return Plane(x * scale, y * scale, sum_ > 0.0)


def _stereographic_lift(u: FloatArray, v: FloatArray, _params: Parameters) -> Lifted:
    s = 0.25 * (u * u + v * v)  # tan^2(theta / 2)
    scale = 1.0 / (1.0 + s)
    return Lifted(u * scale, v * scale, (1.0 - s) * scale, np.isfinite(s))


def _equisolid_project(x: Floats, y: Floats, z: Floats, _params: Parameters) -> Plane:
    n, sum_ = _one_plus_cos(x, y, z)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = np.sqrt(2.0 / (n * sum_))
        return Plane(x * scale, y * scale, sum_ > 0.0)


def _equisolid_lift(u: FloatArray, v: FloatArray, _params: Parameters) -> Lifted:
    s = 0.25 * (u * u + v * v)  # sin^2(theta / 2)
    scale = np.sqrt(np.maximum(1.0 - s, 0.0))
    return Lifted(u * scale, v * scale, 1.0 - 2.0 * s, s < 1.0)


def _orthographic_project(x: Floats, y: Floats, z: Floats, _params: Parameters) -> Plane:
    n = norm(x, y, z)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return Plane(x / n, y / n, (z >= -SLACK * n) & (n > 0.0))


def _orthographic_lift(u: FloatArray, v: FloatArray, _params: Parameters) -> Lifted:
    s = u * u + v * v
    return Lifted(u, v, np.sqrt(np.maximum(1.0 - s, 0.0)), s <= 1.0 + SLACK)


def _ucm_project(x: Floats, y: Floats, z: Floats, params: Parameters) -> Plane:
    (xi,) = params
    n = norm(x, y, z)
    depth = z + xi * n
    valid = depth > SLACK * n if xi <= 1.0 else (xi * z >= -(1.0 + SLACK) * n) & (n > 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return Plane(x / depth, y / depth, valid)


def _ucm_lift(u: FloatArray, v: FloatArray, params: Parameters) -> Lifted:
    (xi,) = params
    s = u * u + v * v
    discriminant = 1.0 + (1.0 - xi * xi) * s
    eta = (xi + np.sqrt(np.maximum(discriminant, 0.0))) / (1.0 + s)
    return Lifted(eta * u, eta * v, eta - xi, (discriminant >= -SLACK) & np.isfinite(s))


def _ucm_limit(params: Parameters, azimuth: FloatArray) -> FloatArray:
    (xi,) = params
    return np.full_like(azimuth, np.arccos(-xi if xi <= 1.0 else -1.0 / xi))


# --- lenses given by theta --------------------------------------------------------------------------------------------


def _theta(x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, BoolArray]:
    """Return theta, sin(theta) times the length of the ray (1 on the axis), and whether the azimuth is defined."""
    rho = norm(x, y)
    on_axis = rho == 0.0
    return np.arctan2(rho, z), np.where(on_axis, rho.dtype.type(1.0), rho), ~on_axis | (z > 0.0)


def _from_theta(u: FloatArray, v: FloatArray, r: FloatArray, theta: FloatArray, valid: BoolArray) -> Lifted:
    scale = np.where(r > 0.0, np.sin(theta) / np.where(r > 0.0, r, 1.0), 0.0)
    return Lifted(u * scale, v * scale, np.cos(theta), valid)


def _equidistant_project(x: Floats, y: Floats, z: Floats, _params: Parameters) -> Plane:
    theta, rho, defined = _theta(x, y, z)
    scale = theta / rho
    return Plane(x * scale, y * scale, defined)


def _equidistant_lift(u: FloatArray, v: FloatArray, _params: Parameters) -> Lifted:
    r = np.hypot(u, v)
    return _from_theta(u, v, r, r, r < np.pi)


def _kannala_brandt_radius(theta: Floats, params: Parameters) -> Floats:
    k1, k2, k3, k4 = params
    s = theta * theta
    return np.asarray(theta * (1.0 + s * (k1 + s * (k2 + s * (k3 + s * k4)))))


def _kannala_brandt_growth(theta: FloatArray, params: Parameters) -> tuple[FloatArray, FloatArray]:
    """Radius and its derivative."""
    k1, k2, k3, k4 = params
    s = theta * theta
    return np.asarray(_kannala_brandt_radius(theta, params), dtype=np.float64), np.asarray(
        1.0 + s * (3.0 * k1 + s * (5.0 * k2 + s * (7.0 * k3 + s * 9.0 * k4)))
    )


@lru_cache(maxsize=256)
def _kannala_brandt_fold(params: Parameters) -> float:
    """Theta at which r(theta) stops growing, at most pi."""
    return float(first_zero(lambda theta: _kannala_brandt_growth(theta, params)[1], np.pi))


def _kannala_brandt_project(x: Floats, y: Floats, z: Floats, params: Parameters) -> Plane:
    theta, rho, defined = _theta(x, y, z)
    scale = _kannala_brandt_radius(theta, params) / rho
    return Plane(x * scale, y * scale, defined & (theta <= _kannala_brandt_fold(params) + SLACK))


def _kannala_brandt_lift(u: FloatArray, v: FloatArray, params: Parameters) -> Lifted:
    fold = _kannala_brandt_fold(params)
    r = np.hypot(u, v)
    theta = solve_monotone(lambda t: _kannala_brandt_growth(t, params), r, fold)
    # theta = pi is one ray but a whole circle of pixels: nothing to invert
    valid = (r <= _kannala_brandt_radius(np.asarray(fold), params) * (1.0 + SLACK)) & (theta < np.pi)
    return _from_theta(u, v, r, theta, np.asarray(valid))


def _kannala_brandt_limit(params: Parameters, azimuth: FloatArray) -> FloatArray:
    return np.full_like(azimuth, _kannala_brandt_fold(params))


# --- equirectangular --------------------------------------------------------------------------------------------------


def _equirectangular_project(x: Floats, y: Floats, z: Floats, _params: Parameters) -> Plane:
    rho = norm(x, z)
    return Plane(np.arctan2(x, z), np.arctan2(y, rho), (rho > 0.0) | (y != 0.0))


def _equirectangular_lift(u: FloatArray, v: FloatArray, _params: Parameters) -> Lifted:
    lat = np.clip(-v, -np.pi / 2, np.pi / 2)
    cos = np.cos(lat)
    return Lifted(cos * np.sin(u), -np.sin(lat), cos * np.cos(u), (np.abs(v) <= np.pi / 2 + SLACK) & np.isfinite(u))


_KB = "J. Kannala and S. S. Brandt, IEEE TPAMI 28(8), 2006, eq. 6 without asymmetric terms; parameters as in cv2.fisheye"
_BC = "D. C. Brown, Photogrammetric Engineering 37, 1971; rational form and parameter order of OpenCV's projectPoints"
_UCM = "C. Mei and P. Rives, ICRA 2007, eq. 2-3 (after C. Geyer and K. Daniilidis, ECCV 2000), without distortion terms"
_FISHEYE = "W. Foerstner and B. P. Wrobel, Photogrammetric Computer Vision, 2016, section 12.1.4.2"

LENSES: dict[str, Lens] = {
    lens.name: lens
    for lens in (
        Lens(
            "pinhole",
            (),
            "r = tan(theta): central perspective",
            _pinhole_project,
            _pinhole_lift,
            constant_limit(np.pi / 2),
        ),
        Lens(
            "brown-conrady",
            ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
            _BC,
            brown_conrady.project,
            brown_conrady.lift,
            brown_conrady.limit,
        ),
        Lens(
            "kannala-brandt",
            ("k1", "k2", "k3", "k4"),
            f"r = theta + k1 theta^3 + k2 theta^5 + k3 theta^7 + k4 theta^9: {_KB}",
            _kannala_brandt_project,
            _kannala_brandt_lift,
            _kannala_brandt_limit,
        ),
        Lens(
            "equidistant",
            (),
            f"r = theta: {_FISHEYE}",
            _equidistant_project,
            _equidistant_lift,
            constant_limit(np.pi),
        ),
        Lens(
            "equisolid",
            (),
            f"r = 2 sin(theta / 2): {_FISHEYE}",
            _equisolid_project,
            _equisolid_lift,
            constant_limit(np.pi),
        ),
        Lens(
            "stereographic",
            (),
            f"r = 2 tan(theta / 2): {_FISHEYE}",
            _stereographic_project,
            _stereographic_lift,
            constant_limit(np.pi),
        ),
        Lens(
            "orthographic",
            (),
            f"r = sin(theta): {_FISHEYE}",
            _orthographic_project,
            _orthographic_lift,
            constant_limit(np.pi / 2),
        ),
        Lens(
            "ucm",
            ("xi",),
            f"r = sin(theta) / (cos(theta) + xi): {_UCM}",
            _ucm_project,
            _ucm_lift,
            _ucm_limit,
            lowest=0.0,
        ),
        Lens(
            "equirectangular",
            (),
            "u = longitude, v = -latitude about the camera's own axes (plate carree)",
            _equirectangular_project,
            _equirectangular_lift,
            constant_limit(np.pi),
        ),
    )
}
