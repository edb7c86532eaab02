"""What a lens model is: the shape of an entry of ``lenses.LENSES``, and the numerics that several of them share.

Conventions
-----------
* A ray is given by its components x (right), y (down), z (along the optical axis), of any length. ``project`` keeps the
  floating type it is given: the maps of the sampler run through the same code in float32 as labels do in float64.
* The *normalised plane* has the origin at the principal point and the unit of one focal length: pixel = f * (u, v) + c.
* theta is the angle between ray and optical axis, r the distance from the origin of the plane, radians and focal lengths.
* ``project`` and ``lift`` return validity beside the values; values where validity is False mean nothing. A ray is valid
  where the formula is defined and the image still grows outwards. Beyond the *fold* a strong lens maps several rays to one
  pixel: those rays are invalid.
* ``limit`` is the largest valid theta at an azimuth atan2(v, u); the valid rays are star-shaped about the optical axis.
* ``lift`` inverts ``project`` to machine precision: in closed form or by a bracketed Newton iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgaze360.sphere import BoolArray, FloatArray

Floats = NDArray[np.floating[Any]]
Parameters = tuple[float, ...]

# Rays and pixels on the limit itself are valid; they carry rounding errors of this order (radians, focal lengths).
SLACK = 1e-12


class Plane(NamedTuple):
    """Points of the normalised plane, and whether the lens is defined there."""

    u: Floats
    v: Floats
    valid: BoolArray


class Lifted(NamedTuple):
    """Components of unit rays, and whether the lens sees them."""

    x: FloatArray
    y: FloatArray
    z: FloatArray
    valid: BoolArray


@dataclass(frozen=True)
class Lens:
    """One lens model.

    Attributes
    ----------
    name, parameters
        Key of :data:`LENSES` and names of the parameters, in the order of ``Camera.params``; missing ones are 0.
    source
        The formula and where it comes from.
    project
        (x, y, z, parameters) -> :class:`Plane`, in the floating type of x.
    lift
        (u, v, parameters) -> :class:`Lifted`, float64.
    limit
        (parameters, azimuth) -> largest valid theta, radians, in the shape of azimuth.
    lowest
        Smallest value that every parameter may have.
    """

    name: str
    parameters: tuple[str, ...]
    source: str
    project: Callable[[Floats, Floats, Floats, Parameters], Plane]
    lift: Callable[[FloatArray, FloatArray, Parameters], Lifted]
    limit: Callable[[Parameters, FloatArray], FloatArray]
    lowest: float = -np.inf


def norm(*components: Floats) -> Floats:
    """Length of vectors given by components, in their floating type."""
    # np.hypot has no vector code path; components are of order 1, so nothing overflows
    total = components[0] * components[0]
    for component in components[1:]:
        total += component * component
    return np.asarray(np.sqrt(total))


def constant_limit(angle: float) -> Callable[[Parameters, FloatArray], FloatArray]:
    """Return the ``limit`` of a lens that ends at the same angle all around, whatever its parameters."""
    return lambda _params, azimuth: np.full_like(azimuth, angle)


def solve_monotone(
    function: Callable[[FloatArray], tuple[FloatArray, FloatArray]], target: FloatArray, upper: float
) -> FloatArray:
    """Solve function(x) = target for x in [0, upper] by Newton steps that never leave a shrinking bracket.

    Parameters
    ----------
    function
        Returns value and derivative; increasing on [0, upper], 0 at 0.
    target
        Any shape, 0 or more. Targets above function(upper) give ``upper``.
    upper
        End of the first bracket.
    """
    solution = np.full_like(target, upper)
    active = np.flatnonzero(function(np.asarray(upper))[0] > target)
    goal = target.ravel()[active]
    low, high = np.zeros_like(goal), np.full_like(goal, upper)
    x = np.minimum(goal, 0.5 * high)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(80):
            value, slope = function(x)
            above = value > goal
            high, low = np.where(above, x, high), np.where(above, low, x)
            newton = x - (value - goal) / slope
            new = np.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))
            # near a fold the slope vanishes: there the residual, not the step, says that rounding is reached
            going = (np.abs(new - x) > 4e-16 * (1.0 + x)) & (np.abs(value - goal) > 4e-16 * goal)
            solution.flat[active] = np.where(going, new, x)
            active, goal, low, high, x = active[going], goal[going], low[going], high[going], new[going]
            if active.size == 0:
                break
    return solution


def first_zero(function: Callable[[FloatArray], FloatArray], end: float) -> FloatArray:
    """Smallest angle in (0, end] at which a function is no longer positive; ``end`` if it stays so.

    Parameters
    ----------
    function
        Values (..., n) at angles (n,) or (..., n); the leading axes, if any, are those of the result.
    end
        Radians. Angles are walked along in 1024 steps, and the first change of sign is then refined by bisection.
    """
    with np.errstate(all="ignore"):
        grid = np.linspace(0.0, end, 1025)
        ended = ~(function(grid[1:]) > 0.0)
        first = np.argmax(ended, axis=-1)
        low, high = grid[first], grid[first + 1]
        for _ in range(60):
            middle = 0.5 * (low + high)
            positive = function(middle[..., None])[..., 0] > 0.0
            low, high = np.where(positive, middle, low), np.where(positive, high, middle)
    return np.where(ended.any(axis=-1), low, end)
