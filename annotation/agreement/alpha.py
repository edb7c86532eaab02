"""Krippendorff's alpha: agreement beyond what would be there by chance, with an interval from a bootstrap over clusters.

Conventions
-----------
Values are of *units* (people), several a unit, by whoever gave them; missing ones are simply not there. With v values in
units of two or more, alpha = 1 - D_o / D_e: D_o is the mean disagreement of pairs within a unit, each pair weighted by 1 /
(values of the unit - 1); D_e that of all pairs of values, whichever unit they are of (Krippendorff, Computing Krippendorff's
Alpha-Reliability, 2011). Disagreement is the squared geodesic distance of directions, or 0 and 1 for nominal values. 1 is
agreement without fault, 0 is what chance gives.

What chance gives depends on what is paired: directions as they lie on the sphere, photos placed anywhere on it, disagree by
chance about where the photo is. Callers therefore turn them into the photo's frame, or the head's.

D_e is over all pairs if there are at most :data:`PAIRS`, else over as many drawn at random: its standard error is then below
0.2 %, that of alpha 0.002 (1 - alpha). Replicates draw clusters (a pair counts as often as both of its clusters are
drawn); the interval is BCa, with clusters left out in turn for the acceleration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array

from srgaze360 import sphere
from srgaze360.bootstrap import N_RESAMPLES, Interval, bca_interval, cluster_draws
from srgaze360.sphere import FloatArray

PAIRS = 250_000
Disagreement = Callable[[NDArray[np.generic], NDArray[np.generic]], FloatArray]
Indices = NDArray[np.intp]


def squared_angle(a: NDArray[np.generic], b: NDArray[np.generic]) -> FloatArray:
    """Squared geodesic distance (p,), square radians, of directions (p, 3)."""
    return np.asarray(sphere.angle_between(a, b) ** 2)


def squared_distance(a: NDArray[np.generic], b: NDArray[np.generic]) -> FloatArray:
    """Squared Euclidean distance (p,) of points (p, d): the interval metric."""
    return np.asarray(np.sum((np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)) ** 2, axis=-1))


def nominal(a: NDArray[np.generic], b: NDArray[np.generic]) -> FloatArray:
    """1 (p,) where two values (p,) differ, else 0."""
    return np.asarray(a != b, dtype=np.float64)


class _Sums(NamedTuple):
    """Disagreement and number of pairs: within units, by cluster (c,); of all pairs drawn, by cluster of either side."""

    observed: FloatArray
    values: FloatArray
    expected: FloatArray
    first: Indices
    second: Indices

    def alpha(self) -> float:
        """Alpha of everything."""
        chance = self.expected.mean() if len(self.expected) else np.nan
        return _alpha(self.observed.sum(), self.values.sum(), chance)

    def left_out(self) -> FloatArray:
        """Alpha (c,) with each cluster left out."""
        clusters = len(self.observed)
        own = self.first == self.second
        touched, pairs = np.zeros(clusters), np.zeros(clusters)
        for side in (self.first, self.second[~own]):
            weights = self.expected if side is self.first else self.expected[~own]
            touched += np.bincount(side, weights, clusters)
            pairs += np.bincount(side, minlength=clusters)
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = (self.expected.sum() - touched) / (len(self.expected) - pairs)
            within = (self.observed.sum() - self.observed) / (self.values.sum() - self.values)
            return np.asarray(1.0 - within / chance)

    def replicates(self, rng: np.random.Generator, n_resamples: int) -> FloatArray:
        """Alpha (B,) of resampled clusters; what has no chance disagreement is left out."""
        clusters = len(self.observed)
        shape = (clusters, clusters)
        sums = coo_array((self.expected, (self.first, self.second)), shape=shape).tocsr()
        pairs = coo_array((np.ones(len(self.expected)), (self.first, self.second)), shape=shape).tocsr()
        found = []
        for times in cluster_draws(clusters, rng, n_resamples):
            disagreement, number = (np.sum(np.asarray(times @ matrix) * times, axis=1) for matrix in (sums, pairs))
            with np.errstate(divide="ignore", invalid="ignore"):
                found.append(1.0 - (times @ self.observed) / (times @ self.values) / (disagreement / number))
        alphas = np.concatenate(found)
        return np.asarray(alphas[np.isfinite(alphas)])


def _alpha(observed: float, values: float, chance: float) -> float:
    return float(1.0 - observed / values / chance) if values > 0.0 and chance > 0.0 else float("nan")


def krippendorff(
    values: ArrayLike,
    units: ArrayLike,
    clusters: ArrayLike,
    rng: np.random.Generator,
    disagreement: Disagreement = squared_angle,
    *,
    n_resamples: int = N_RESAMPLES,
    pairs: int = PAIRS,
) -> Interval:
    """Alpha of values, with its interval.

    Parameters
    ----------
    values
        (v,) or (v, d): one entry per value that was given.
    units, clusters
        (v,) the unit and the cluster of each; the values of a unit are of one cluster.
    rng
        Source of randomness: of the pairs, if they are drawn, and of the replicates.
    disagreement
        Of two arrays of values, 0 for equal ones; :func:`squared_angle`, :func:`squared_distance`, :func:`nominal`.
    n_resamples, pairs
        Bootstrap replicates; most pairs that the disagreement by chance is taken over.

    Returns
    -------
    Interval
        ``n`` units of two or more values. The estimate is NaN where no two values differ, or no unit has two: alpha does not
        exist there.
    """
    sums, n = _sums(np.asarray(values), np.asarray(units), np.asarray(clusters), rng, disagreement, pairs)
    estimate = sums.alpha()
    if np.isnan(estimate) or len(sums.observed) < 2:
        return Interval(estimate, np.nan, np.nan, n, len(sums.observed), "none")
    return bca_interval(estimate, sums.replicates(rng, n_resamples), sums.left_out(), n)


def _sums(
    values: NDArray[np.generic],
    units: NDArray[np.generic],
    clusters: NDArray[np.generic],
    rng: np.random.Generator,
    disagreement: Disagreement,
    pairs: int,
) -> tuple[_Sums, int]:
    unit = np.unique(units, return_inverse=True)[1].reshape(-1)
    several = np.bincount(unit)[unit] > 1
    values, unit, clusters = values[several], unit[several], clusters[several]
    order = np.argsort(unit, kind="stable")
    values, unit, clusters = values[order], unit[order], clusters[order]
    cluster = np.unique(clusters, return_inverse=True)[1].reshape(-1)
    count = int(cluster.max(initial=-1)) + 1
    size = np.bincount(unit)[unit] if len(unit) else np.zeros(0, dtype=np.intp)

    observed = np.zeros(count)
    for step in range(1, int(size.max(initial=1))):  # values of a unit stand side by side
        a = np.flatnonzero(unit[:-step] == unit[step:])
        apart = 2.0 * disagreement(values[a], values[a + step]) / (size[a] - 1)
        observed += np.bincount(cluster[a], apart, count)
    first, second = _pairs(len(values), rng, pairs)
    sums = _Sums(
        observed=observed,
        values=np.bincount(cluster, minlength=count).astype(np.float64),
        expected=disagreement(values[first], values[second]),
        first=cluster[first],
        second=cluster[second],
    )
    return sums, len(np.unique(unit))


def _pairs(count: int, rng: np.random.Generator, most: int) -> tuple[Indices, Indices]:
    """All pairs of different values, or ``most`` of them drawn at random."""
    if count * (count - 1) // 2 <= most:
        first, second = np.triu_indices(count, 1)
        return first, second
    first = rng.integers(0, count, size=most)
    second = rng.integers(0, count - 1, size=most)
    return first, second + (second >= first)
