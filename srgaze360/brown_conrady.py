"""The Brown-Conrady lens: radial (polynomial or rational) and tangential distortion of a central perspective.

Conventions
-----------
Those of ``lens_model``; parameters k1, k2, p1, p2, k3, k4, k5, k6 in the order of OpenCV. With a = x / z, b = y / z,
s = a^2 + b^2, g(s) = (1 + k1 s + k2 s^2 + k3 s^3) / (1 + k4 s + k5 s^2 + k6 s^3), w = (a, b), p = (p2, p1) and q = p . w,
OpenCV's formula (calib3d, ``projectPoints``) reads w' = (g + 2 q) w + s p. Its Jacobian is
J = (g + 2 q) I + 2 g' w w^T + 2 (p w^T + w p^T), with det J = (g + 2 s g' + 6 q) (g + 2 q) - 4 (|p|^2 s - q^2).

The fold is where det J first vanishes on the way out from the axis. Without tangential terms that is a radius: a root of the
derivative of t g(t^2), or a pole of g.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from srgaze360.lens_model import (
    SLACK,
    Floats,
    Lifted,
    Parameters,
    Plane,
    first_zero,
    solve_monotone,
)
from srgaze360.sphere import BoolArray, FloatArray


def _gain(s: Floats, params: Parameters) -> Floats:
    k1, k2, _, _, k3, k4, k5, k6 = params
    gain = 1.0 + s * (k1 + s * (k2 + s * k3))
    if k4 or k5 or k6:
        gain = gain / (1.0 + s * (k4 + s * (k5 + s * k6)))
    return np.asarray(gain)


def _gain_slope(s: Floats, params: Parameters) -> Floats:
    k1, k2, _, _, k3, k4, k5, k6 = params
    top, bottom = 1.0 + s * (k1 + s * (k2 + s * k3)), 1.0 + s * (k4 + s * (k5 + s * k6))
    top_slope, bottom_slope = k1 + s * (2.0 * k2 + s * 3.0 * k3), k4 + s * (2.0 * k5 + s * 3.0 * k6)
    return np.asarray((top_slope * bottom - top * bottom_slope) / (bottom * bottom))


def _determinant(a: Floats, b: Floats, params: Parameters) -> Floats:
    p1, p2 = params[2:4]
    s, q = a * a + b * b, p2 * a + p1 * b
    gain, slope = _gain(s, params), _gain_slope(s, params)
    return np.asarray((gain + 2.0 * s * slope + 6.0 * q) * (gain + 2.0 * q) - 4.0 * ((p1 * p1 + p2 * p2) * s - q * q))


def _distort(a: Floats, b: Floats, params: Parameters) -> tuple[Floats, Floats]:
    s = a * a + b * b
    gain = _gain(s, params)
    if not _has_tangential(params):
        return a * gain, b * gain
    p1, p2 = params[2:4]
    gain = gain + (2.0 * p2) * a + (2.0 * p1) * b
    return a * gain + p2 * s, b * gain + p1 * s


# Rays within 1e-6 rad of 90 degrees are left out: no image reaches them, and powers of the tangent stay finite.
_TAN_END = 1e6


def _has_tangential(params: Parameters) -> bool:
    return bool(params[2] or params[3])


@lru_cache(maxsize=256)
def _folds(params: Parameters) -> tuple[FloatArray, FloatArray]:
    """Azimuths in [-pi, pi] and the tan(theta) at which det J first vanishes there: one of each for a radial lens."""
    azimuth = np.linspace(-np.pi, np.pi, 361) if _has_tangential(params) else np.zeros(1)
    cos, sin = np.cos(azimuth)[:, None], np.sin(azimuth)[:, None]
    *_, k4, k5, k6 = params

    def growth(theta: FloatArray) -> FloatArray:
        t = np.tan(theta)
        s = t * t
        beyond_pole = 1.0 + s * (k4 + s * (k5 + s * k6)) <= 0.0
        return np.where(beyond_pole, -1.0, _determinant(t * cos, t * sin, params))

    return azimuth, np.tan(first_zero(growth, np.arctan(_TAN_END)))


def _tan_limit(params: Parameters, azimuth: Floats) -> FloatArray:
    return np.asarray(np.interp(azimuth, *_folds(params)))


def _inside(a: Floats, b: Floats, params: Parameters) -> BoolArray:
    """Whether points of the undistorted plane lie before the fold."""
    s = a * a + b * b
    _, folds = _folds(params)
    if not _has_tangential(params):
        return np.asarray(s <= float(folds[0]) ** 2 * (1.0 + SLACK))
    # The table tells the sheet around the axis from those beyond it, the determinant decides near its edge.
    inside = np.asarray(s < (0.99 * float(folds.min())) ** 2)
    near = ~inside & (s < (1.01 * float(folds.max())) ** 2)
    a, b = np.asarray(a)[near].astype(np.float64), np.asarray(b)[near].astype(np.float64)
    within = np.hypot(a, b) <= 1.002 * _tan_limit(params, np.arctan2(b, a))
    inside[near] = within & (_determinant(a, b, params) >= -SLACK)
    return inside


def project(x: Floats, y: Floats, z: Floats, params: Parameters) -> Plane:
    """Ray to distorted plane; see :class:`lens_model.Lens`."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        a, b = x / z, y / z
        u, v = _distort(a, b, params)
        return Plane(u, v, (z > 0.0) & _inside(a, b, params))


def _radial(t: FloatArray, params: Parameters) -> tuple[FloatArray, FloatArray]:
    s = t * t
    gain = _gain(s, params)
    return np.asarray(t * gain), np.asarray(gain + 2.0 * s * _gain_slope(s, params))


def lift(u: FloatArray, v: FloatArray, params: Parameters) -> Lifted:
    """Distorted plane to ray; see :class:`lens_model.Lens`."""
    r = np.hypot(u, v)
    radial = (*params[:2], 0.0, 0.0, *params[4:])
    fold = float(_folds(radial)[1][0])
    reach = float(_radial(np.asarray(fold), params)[0])
    t = solve_monotone(lambda t: _radial(t, params), r, fold)
    scale = t / np.where(r > 0.0, r, 1.0)
    a, b = u * scale, v * scale
    valid = np.asarray(r <= reach * (1.0 + SLACK))
    if _has_tangential(params):
        a, b, valid = _newton_tangential(u, v, a, b, params)
    scale = 1.0 / np.sqrt(1.0 + a * a + b * b)
    return Lifted(a * scale, b * scale, scale, valid & np.isfinite(scale))


def _newton_tangential(
    u: FloatArray, v: FloatArray, a: FloatArray, b: FloatArray, params: Parameters
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Damped Newton iteration in the plane, from the purely radial solution (a, b); no step leaves the fold."""
    p1, p2 = params[2:4]
    shape = u.shape
    u, v, a, b = (np.array(array, dtype=np.float64).ravel() for array in (u, v, a, b))
    limit = 0.98 * _tan_limit(params, np.arctan2(b, a))
    shrink = np.minimum(1.0, limit / np.maximum(np.hypot(a, b), 1e-9))
    a, b = a * shrink, b * shrink

    def residual(a: FloatArray, b: FloatArray, at: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        du, dv = _distort(a, b, params)
        return np.asarray(du - u[at]), np.asarray(dv - v[at])

    active, goal = np.arange(u.size), 1.0 + np.hypot(u, v)
    for _ in range(60):
        at_a, at_b = a[active], b[active]
        du, dv = residual(at_a, at_b, active)
        size = np.hypot(du, dv)
        s, q = at_a * at_a + at_b * at_b, p2 * at_a + p1 * at_b
        straight, slope = _gain(s, params) + 2.0 * q, 2.0 * _gain_slope(s, params)
        j_aa = straight + slope * at_a * at_a + 4.0 * p2 * at_a
        j_bb = straight + slope * at_b * at_b + 4.0 * p1 * at_b
        j_ab = slope * at_a * at_b + 2.0 * (p2 * at_b + p1 * at_a)
        with np.errstate(divide="ignore", invalid="ignore"):
            determinant = j_aa * j_bb - j_ab * j_ab
            step_a, step_b = (j_ab * dv - j_bb * du) / determinant, (j_ab * du - j_aa * dv) / determinant
        step_a, step_b = np.nan_to_num(step_a), np.nan_to_num(step_b)
        damping = np.ones_like(size)
        for _ in range(30):
            new_a, new_b = at_a + damping * step_a, at_b + damping * step_b
            better = np.hypot(*residual(new_a, new_b, active)) < size
            refused = ~(better & _inside(new_a, new_b, params))
            if not np.any(refused):
                break
            damping[refused] *= 0.5
        keep = ~refused
        a[active[keep]], b[active[keep]] = new_a[keep], new_b[keep]
        active = active[keep & (size > 4e-16 * goal[active])]
        if active.size == 0:
            break
    everything = np.arange(u.size)
    error = np.hypot(*residual(a, b, everything))
    # what the iteration cannot reach has no ray: the pixel lies beyond the image of the fold
    valid = (error <= 1e-11 * goal) & _inside(a, b, params)
    return a.reshape(shape), b.reshape(shape), np.asarray(valid).reshape(shape)


def limit(params: Parameters, azimuth: FloatArray) -> FloatArray:
    """Angle of the fold from the optical axis; see :class:`lens_model.Lens`."""
    return np.asarray(np.arctan(_tan_limit(params, azimuth)))
