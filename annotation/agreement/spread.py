"""How the annotations of one person lie: centre, spread, concentration, groups.

Conventions
-----------
Annotations are directions (n, m, 3) with weights (n, m), 1 or 0 where there is none (:mod:`srgaze360.protocols.ragged`); k is
their number. Angles are radians. R is the length of their vector sum, and k - R is summed as 2 sin^2(d / 2) over the angles d
to the mean direction: annotations close together keep their digits.

**Concentration.** If annotations scatter by a von Mises-Fisher distribution, its kappa says how closely (1 / sqrt(kappa) is
the standard deviation along each axis, where that is small). Its maximum-likelihood estimate takes the mean direction for the
true one and is too large: by a quarter for ten annotations, twofold for four. Here the likelihood of R alone is maximised,
which does not know the mean (Schou, Biometrika 65, 1978): R A(kappa R) = k A(kappa), with A(x) = coth(x) - 1 / x, and 0 where
R^2 <= k. For concentrated annotations that is Fisher's (k - 1) / (k - R) (Proc. R. Soc. A 217, 1953), and since there 2 kappa
(k - R) is chi-squared with 2 (k - 1) degrees of freedom (Watson, 1956), the mean of its reciprocal leaves it too large by (k
- 1) / (k - 2); it is multiplied by the inverse. The result is free of bias within 1 % for kappa of 5 and more, and within 13
% down to kappa 1 (five annotations and more). Fewer than three annotations allow no such estimate. (Best and Fisher,
Communications in Statistics B 10, 1981, describe the bias and correct it by factors that depend on kappa.)

**Cone.** The radius of the cone about the mean that holds the true mean with 95 % confidence (Fisher, 1953): cos a = 1 - (k -
R) / R (20^(1 / (k - 1)) - 1).

**Modes.** Annotations are linked that are within ten degrees, which the ``spherical`` protocol counts as on target, or within
:data:`LINK_SPREAD` standard deviations of the person's annotations along an axis, whichever is more. A group of linked ones
is a mode if it has at least two annotations and a fifth of all. Of people whose annotations scatter about one point by more
than these ten degrees link (8 and 20 degrees along an axis), 2 to 4 % get two modes by chance with 8, 10 or 15 annotations,
and 10 % with five; hardly any where they scatter less. Two points 20 degrees apart, five annotations of 2 degrees on each,
are told apart in 86 % (simulated in the tests).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgaze360 import sphere
from srgaze360.protocols.ragged import weighted_mean
from srgaze360.sphere import BoolArray, FloatArray

LINK_DEG = 10.0
LINK_SPREAD = 1.8
LEAST_OF_MODE, SHARE_OF_MODE = 2, 0.2
AMBIGUOUS_CONE_DEG = 10.0
IDENTICAL = np.radians(1e-6)  # what labels are rounded to before they are hashed
_CLOSED = 20.0  # arguments above which coth is 1 in floats


class Spread(NamedTuple):
    """What the annotations of each person (n,) are like; radians, NaN where it does not exist.

    ``number`` of annotations; ``mean`` (n, 3), the consensus, and ``median`` (n, 3), the direction of least summed distance;
    ``resultant`` in [0, 1]; ``deviation_mean``, ``deviation_median``, ``deviation_95`` of the angles to the mean; ``kappa``,
    infinite where all annotations are one; ``cone`` of the mean; ``modes``; ``ambiguous``: there is no mean, there are
    several modes, the cone is wider than :data:`AMBIGUOUS_CONE_DEG` (three annotations and more), or two are further apart
    than ten degrees.
    """

    number: NDArray[np.intp]
    mean: FloatArray
    median: FloatArray
    resultant: FloatArray
    deviation_mean: FloatArray
    deviation_median: FloatArray
    deviation_95: FloatArray
    kappa: FloatArray
    cone: FloatArray
    modes: NDArray[np.intp]
    ambiguous: BoolArray


def spread(points: FloatArray, weights: FloatArray) -> Spread:
    """Describe annotations (n, m, 3) with weights (n, m)."""
    used = weights > 0.0
    count = used.sum(axis=1)
    mean, resultant = sphere.spherical_mean(points, weights)
    angles = np.where(used, sphere.angle_between(points, mean[:, None]), np.nan)
    lack = np.nansum(2.0 * np.sin(angles / 2.0) ** 2, axis=1)
    lack = np.where(np.isfinite(mean).all(axis=1), lack, count)
    kappa = concentration(count, lack)
    kappa[(count > 2) & (np.nanmax(np.where(used, angles, 0.0), axis=1) < IDENTICAL)] = np.inf
    cone = confidence_cone(count, lack)
    with np.errstate(divide="ignore", invalid="ignore"):
        axis = np.sqrt(lack / (count - 1))  # standard deviation along an axis, where it is small
    link = np.fmax(LINK_SPREAD * axis, np.radians(LINK_DEG))
    groups = modes(points, weights, link)
    apart = (count == 2) & (sphere.angle_between(points[:, 0], points[:, min(1, points.shape[1] - 1)]) > np.radians(LINK_DEG))
    wide = (count > 2) & (cone > np.radians(AMBIGUOUS_CONE_DEG))
    return Spread(
        number=count,
        mean=mean,
        median=sphere.geometric_median(points, weights),
        resultant=np.where(count > 0, resultant, np.nan),
        deviation_mean=weighted_mean(angles, weights),
        deviation_median=quantile(angles, 0.5),
        deviation_95=quantile(angles, 0.95),
        kappa=kappa,
        cone=cone,
        modes=groups,
        ambiguous=np.asarray((count > 0) & (np.isnan(mean[:, 0]) | (groups > 1) | wide | apart)),
    )


def quantile(values: FloatArray, share: float) -> FloatArray:
    """Quantile over the last axis of the values that are numbers, interpolated; NaN where there is none."""
    ordered = np.sort(values, axis=-1)  # NaN goes to the end
    count = np.sum(~np.isnan(values), axis=-1)
    place = share * np.maximum(count - 1, 0)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    a, b = (np.take_along_axis(ordered, index[..., None], axis=-1)[..., 0] for index in (low, high))
    return np.asarray(a + (b - a) * (place - low))


# --- concentration ----------------------------------------------------------------------------------------------------


def maximum_likelihood(count: NDArray[np.intp], lack: FloatArray) -> FloatArray:
    """Maximum-likelihood kappa (n,), A(kappa) = R / k, of k annotations (n,) with k - R given as ``lack`` (n,)."""
    return _root(count, lack, marginal=False)


def concentration(count: NDArray[np.intp], lack: FloatArray) -> FloatArray:
    """Bias-corrected kappa (n,), as the module describes it; NaN below three annotations, infinite where ``lack`` is 0."""
    kappa = _root(count, lack, marginal=True)
    kappa = np.where((count - lack) ** 2 <= count, 0.0, kappa)
    return np.where(count > 2, kappa * (count - 2) / np.maximum(count - 1, 1), np.nan)


def _mean_length(x: FloatArray) -> FloatArray:
    """A(x) = coth(x) - 1 / x, x >= 0."""
    small = x < 1e-3
    safe = np.where(small, 1.0, x)
    return np.where(small, x / 3.0 - x**3 / 45.0, 1.0 / np.tanh(safe) - 1.0 / safe)


def _root(count: NDArray[np.intp], lack: FloatArray, *, marginal: bool) -> FloatArray:
    """Kappa that solves the likelihood equation of R: by itself where ``marginal``, else at the mean direction found."""
    k = count.astype(np.float64)
    length = k - lack
    with np.errstate(divide="ignore", invalid="ignore"):
        closed = np.where(lack > 0.0, (k - 1.0 if marginal else k) / lack, np.inf)
        exact = (closed > _CLOSED) & (length > _CLOSED / closed)
    low, high = np.full_like(lack, 1e-9), np.full_like(lack, 4.0 * _CLOSED)
    for _ in range(60):
        middle = np.sqrt(low * high)
        told = _mean_length(middle * length) if marginal else np.ones_like(middle)
        above = length * told < k * _mean_length(middle)  # kappa is below the middle
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(exact, closed, np.sqrt(low * high))


def confidence_cone(count: NDArray[np.intp], lack: FloatArray, confidence: float = 0.95) -> FloatArray:
    """Radius (n,), radians in [0, pi], of the cone that holds the true mean direction; NaN below two annotations."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = (1.0 / (1.0 - confidence)) ** (1.0 / (count - 1.0)) - 1.0
        half = lack / (count - lack) * factor / 2.0  # sin^2 of half the angle
    radius = 2.0 * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))
    return np.where(count > 1, radius, np.nan)


# --- modes ------------------------------------------------------------------------------------------------------------


def modes(points: FloatArray, weights: FloatArray, link: FloatArray) -> NDArray[np.intp]:
    """Number of modes (n,) of annotations (n, m, 3) that are linked within ``link`` (n,): 0 without any, else at least 1."""
    used = weights > 0.0
    n, m = used.shape
    count = used.sum(axis=1)
    linked = np.zeros((n, m, m), dtype=bool)
    for column in range(m):  # the pairs of one column at a time: the memory of one angle each
        near = sphere.angle_between(points, points[:, column : column + 1]) <= link[:, None]
        linked[:, :, column] = near & used & used[:, column : column + 1]
    group = np.where(used, np.arange(m), m)  # the smallest number among those that a chain of links reaches
    for _ in range(m):
        reached = np.min(np.where(linked, group[:, None, :], m), axis=2)
        if np.array_equal(reached, group):
            break
        group = reached
    sizes = np.stack([(group == number).sum(axis=1) for number in range(m)], axis=1)
    least = np.maximum(LEAST_OF_MODE, SHARE_OF_MODE * count)[:, None]
    return np.where(count > 0, np.maximum((sizes >= least).sum(axis=1), 1), 0).astype(np.intp)
