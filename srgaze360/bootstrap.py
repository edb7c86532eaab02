"""Cluster bootstrap of means over samples.

Conventions
-----------
The statistic is the mean over samples, sum over clusters of S_c divided by sum over clusters of N_c, where S_c and N_c are
the sum and the number of a cluster's values. Clusters (photos, clips, scenes) are drawn with replacement and bring all their
samples: people in one photo are not independent, and intervals that ignore it come out too narrow (Davison and Hinkley,
Bootstrap Methods and their Application, 1997, section 3.8).

* A sample that is NaN for a metric is left out of that metric; a cluster without samples left is not drawn. A metric's
  result is therefore the same whether it is asked for alone or among others.
* Results do not depend on the order of samples: clusters are sorted by id (as text), and values within a cluster by size,
  before anything is summed. They depend on the generator only through its next draw.
* Intervals are BCa (Efron, JASA 82, 1987): bias correction from the share of replicates below the estimate, acceleration
  from the cluster jackknife, which for a ratio of sums has a closed form. P values invert the same interval, so that
  p < 0.05 where the 95 % interval excludes 0, to the resolution of the replicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from srgaze360.errors import InputError
from srgaze360.sphere import FloatArray

N_RESAMPLES = 10_000
# Entries of one block of the resampling matrix: bounds memory near 100 MB; no result depends on it but for the last bit.
_BLOCK = 1 << 22
# Replicates closer than this to the estimate, relative to its size, equal it but for rounding.
_TIE = 1e-12

Method = Literal["BCa", "percentile", "exact", "none"]


class Interval(NamedTuple):
    """A mean with its confidence interval.

    ``n`` samples in ``clusters`` clusters have a value. ``method`` is ``"BCa"``; ``"percentile"`` where BCa is not defined
    (all replicates equal, or a correction beyond its pole); ``"exact"`` of a share that is 0 or 1; ``"none"`` with fewer than
    two clusters: ``low`` and ``high`` are then NaN, since one cluster says nothing about others. Without any value the
    estimate is NaN too.
    """

    estimate: float
    low: float
    high: float
    n: int
    clusters: int
    method: Method


class PairedDifference(NamedTuple):
    """Mean of first - second over common samples with its interval, and the two-sided p value of no difference.

    ``p_value`` is NaN with fewer than two clusters; it is never below 2 / (resamples + 1).
    """

    difference: Interval
    p_value: float


def cluster_bootstrap(
    values: Mapping[str, ArrayLike],
    cluster_ids: ArrayLike,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> dict[str, Interval]:
    """Mean and confidence interval of each metric.

    Parameters
    ----------
    values
        Per metric, an array (n,) of per-sample values; NaN leaves the sample out of that metric.
    cluster_ids
        (n,) text or integers: which cluster each sample belongs to.
    rng
        Source of randomness; one draw is taken from it per call.
    confidence
        Coverage aimed at, in (0, 1).
    n_resamples
        Number of bootstrap replicates, at least 100.

    Returns
    -------
    dict
        One :class:`Interval` per metric, in the order of ``values``.

    Raises
    ------
    InputError
        Lengths differ, ids are missing, or an option is out of range.
    """
    fits = _fit(values, cluster_ids, rng, confidence, n_resamples)
    return {name: fit.interval(confidence) for name, fit in fits.items()}


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    cluster_ids: ArrayLike,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> PairedDifference:
    """Compare two methods on the same samples: mean of ``first`` - ``second``, its interval and p value.

    The arrays (n,) are aligned by sample, as are ``cluster_ids`` (n,); a sample that is NaN in either is left out. Parameters
    and errors otherwise as in :func:`cluster_bootstrap`.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape:
        raise InputError(
            f"Paired values must be aligned sample by sample; found the shapes {first.shape} and {second.shape}. "
            "Join the two results on sample_id first."
        )
    difference = {"difference": first - second}
    return paired_differences(difference, cluster_ids, rng, confidence=confidence, n_resamples=n_resamples)["difference"]


def paired_differences(
    differences: Mapping[str, ArrayLike],
    cluster_ids: ArrayLike,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> dict[str, PairedDifference]:
    """As :func:`paired_difference` for several columns (n,) of first - second, all on the same draws of clusters.

    Drawing is what takes the time, so many comparisons cost little more than one.
    """
    fits = _fit(differences, cluster_ids, rng, confidence, n_resamples)
    return {name: PairedDifference(fit.interval(confidence), fit.p_value_of_zero()) for name, fit in fits.items()}


def rank_intervals(
    values: Mapping[str, ArrayLike],
    cluster_ids: ArrayLike,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> dict[str, tuple[int, int]]:
    """Interval of the rank of each column's mean among all, the smallest mean first.

    In every replicate, all columns are drawn on the same clusters and ranked; a rank is 1 plus the number of columns that are
    strictly smaller. The interval is that of percentiles, widened to whole ranks (Goldstein and Spiegelhalter, JRSS A 159,
    1996): it says which places a method may have in another set of clusters, each method by itself.

    Parameters
    ----------
    values
        Columns (n,); a sample that is NaN in any of them is left out of all.
    cluster_ids, rng, confidence, n_resamples
        As in :func:`cluster_bootstrap`.

    Returns
    -------
    dict
        Lowest and highest rank, from 1; empty with fewer than two clusters.

    Raises
    ------
    InputError
        As in :func:`cluster_bootstrap`.
    """
    columns = np.column_stack([np.asarray(column, dtype=np.float64) for column in values.values()])
    columns[np.isnan(columns).any(axis=1)] = np.nan
    fits = _fit(dict(zip(values, columns.T, strict=True)), cluster_ids, rng, confidence, n_resamples)
    replicates = np.column_stack([fit.replicates for fit in fits.values()])
    if not len(replicates):
        return {}
    scale = _TIE * np.abs(replicates).max(axis=1)
    ranks = 1 + np.sum(replicates[:, None, :] < (replicates - scale[:, None])[:, :, None], axis=2)
    tail = (1.0 - confidence) / 2.0
    low = np.quantile(ranks, tail, axis=0, method="inverted_cdf")
    high = np.quantile(ranks, 1.0 - tail, axis=0, method="inverted_cdf")
    return {name: (int(a), int(b)) for name, a, b in zip(values, low, high, strict=True)}


def bca_interval(estimate: float, replicates: ArrayLike, left_out: ArrayLike, n: int, *, confidence: float = 0.95) -> Interval:
    """Interval of any statistic, from its bootstrap replicates (B,) and its values (C,) with each of C clusters left out.

    ``n`` is the number of samples, for the record. Replicates come from :func:`cluster_draws`.
    """
    replicates, left_out = np.asarray(replicates, dtype=np.float64), np.asarray(left_out, dtype=np.float64)
    if len(left_out) < 2 or not len(replicates):
        return _Fit(estimate, np.empty(0), 0.0, 0.0, n, len(left_out)).interval(confidence)
    return _Fit(estimate, replicates, *_bca_constants(estimate, replicates, left_out), n, len(left_out)).interval(confidence)


def cluster_draws(clusters: int, rng: np.random.Generator, n_resamples: int = N_RESAMPLES) -> Iterator[FloatArray]:
    """How often each cluster is drawn: (b, clusters) at a time, ``n_resamples`` rows in all."""
    block = max(1, _BLOCK // max(clusters, 1))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn = rng.integers(0, clusters, size=(size, clusters))
        drawn += clusters * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * clusters).reshape(size, clusters).astype(np.float64)


class _Fit(NamedTuple):
    """Estimate, replicates (B,) and BCa's two constants of one metric; ``replicates`` is empty below two clusters."""

    estimate: float
    replicates: FloatArray
    bias: float
    acceleration: float
    n: int
    clusters: int

    @property
    def constant(self) -> bool:
        """Whether all replicates are equal but for rounding."""
        return bool(np.ptp(self.replicates) <= _TIE * abs(self.estimate))

    def interval(self, confidence: float) -> Interval:
        """Interval of the given coverage."""
        if not self.replicates.size:
            return Interval(self.estimate, np.nan, np.nan, self.n, self.clusters, "none")
        if self.constant:
            return Interval(self.estimate, self.estimate, self.estimate, self.n, self.clusters, "percentile")
        ends = np.array([(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
        shifted = self.bias + ndtri(ends)
        scale = 1.0 - self.acceleration * shifted
        method: Method = "percentile"
        if np.all(scale > 0.0):
            method, ends = "BCa", ndtr(self.bias + shifted / scale)
        low, high = np.quantile(self.replicates, ends)
        return Interval(self.estimate, float(low), float(high), self.n, self.clusters, method)

    def p_value_of_zero(self) -> float:
        """Two-sided p value of a true mean of 0: the confidence at which the interval just reaches 0."""
        if not self.replicates.size:
            return float("nan")
        if self.constant and self.estimate == 0.0:
            return 1.0
        resolution = 1.0 / (len(self.replicates) + 1)
        share = float(np.clip(_share_below(self.replicates, 0.0), resolution, 1.0 - resolution))
        shifted = float(ndtri(share)) - self.bias
        scale = 1.0 + self.acceleration * shifted
        # the inverse of the map from confidence to quantile in interval()
        tail = float(ndtr(shifted / scale - self.bias)) if scale > 0.0 else share
        return float(np.clip(2.0 * min(tail, 1.0 - tail), 2.0 * resolution, 1.0))


def _fit(
    values: Mapping[str, ArrayLike], cluster_ids: ArrayLike, rng: np.random.Generator, confidence: float, n_resamples: int
) -> dict[str, _Fit]:
    """Everything that intervals and p values are read from, for each metric."""
    if not 0.0 < confidence < 1.0:
        raise InputError(f"The confidence must lie between 0 and 1; found {confidence}. For 95 % pass 0.95.")
    if n_resamples < 100:
        raise InputError(f"At least 100 bootstrap replicates are needed; found {n_resamples}. The default is {N_RESAMPLES}.")
    codes = _cluster_codes(cluster_ids)
    seed = rng.integers(0, 2**63, size=2)
    sums, counts = {}, {}
    for name, column in values.items():
        array = np.asarray(column, dtype=np.float64)
        if array.shape != codes.shape:
            raise InputError(
                f"Every metric must have one value per cluster id, {codes.shape}; found {array.shape} for {name!r}. "
                "Put NaN where a sample has no value."
            )
        if np.any(np.isinf(array)):
            raise InputError(
                f"Values must be finite or NaN; found {np.count_nonzero(np.isinf(array))} infinite ones for {name!r}. "
                "Find the samples they come from: a mean over them means nothing."
            )
        sums[name], counts[name] = _cluster_sums(array, codes)

    # metrics with values in the same clusters are resampled together; every group starts from the same seed
    groups: dict[bytes, list[str]] = {}
    for name in values:
        groups.setdefault((counts[name] > 0).tobytes(), []).append(name)
    fits: dict[str, _Fit] = {}
    for names in groups.values():
        present = counts[names[0]] > 0
        s = np.stack([sums[name][present] for name in names], axis=-1)
        n = np.stack([counts[name][present] for name in names], axis=-1)
        replicates = _resampled_means(s, n, np.random.default_rng(seed), n_resamples)
        for j, name in enumerate(names):
            fits[name] = _fit_one(s[:, j], n[:, j], replicates[:, j])
    return {name: fits[name] for name in values}


def _fit_one(sums: FloatArray, counts: FloatArray, replicates: FloatArray) -> _Fit:
    clusters, n = len(sums), int(np.sum(counts))
    estimate = float(np.sum(sums) / n) if n else float("nan")
    if clusters < 2:
        return _Fit(estimate, replicates, 0.0, 0.0, n, clusters)
    left_out = (np.sum(sums) - sums) / (np.sum(counts) - counts)
    return _Fit(estimate, replicates, *_bca_constants(estimate, replicates, left_out), n, clusters)


def _bca_constants(estimate: float, replicates: FloatArray, left_out: FloatArray) -> tuple[float, float]:
    """Bias correction and acceleration."""
    half = 0.5 / len(replicates)
    bias = float(ndtri(np.clip(_share_below(replicates, estimate), half, 1.0 - half)))
    deviation = np.mean(left_out) - left_out
    deviation = deviation / max(float(np.max(np.abs(deviation))), np.finfo(np.float64).tiny)  # cubes must not underflow
    spread = float(np.sum(deviation**2))
    acceleration = float(np.sum(deviation**3)) / (6.0 * spread**1.5) if spread > 0.0 else 0.0
    return bias, acceleration


def _share_below(replicates: FloatArray, value: float) -> float:
    """Share of replicates below ``value``, those equal to it but for rounding counting half."""
    tolerance = _TIE * float(np.max(np.abs(replicates)))
    below = np.count_nonzero(replicates < value - tolerance)
    equal = np.count_nonzero(np.abs(replicates - value) <= tolerance)
    return (below + 0.5 * equal) / len(replicates)


def _cluster_codes(cluster_ids: ArrayLike) -> NDArray[np.intp]:
    """Number (n,) of each sample's cluster in the order of ids as text."""
    ids = np.asarray(cluster_ids)
    if ids.ndim != 1:
        raise InputError(f"Cluster ids must be one per sample, shape (n,); found {ids.shape}. Pass the column cluster_id.")
    missing = np.asarray(pd.isna(ids))
    if missing.any():
        raise InputError(
            f"Every sample must belong to a cluster; found {np.count_nonzero(missing)} of {ids.size} without an id "
            f"(first at index {int(np.argmax(missing))}). Give samples that stand alone an id of their own."
        )
    return np.unique(ids.astype(np.str_), return_inverse=True)[1].reshape(-1)


def _cluster_sums(values: FloatArray, codes: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Sum and number (C,) of the values of each cluster that are not NaN, the same whatever the order of samples."""
    clusters = int(codes.max()) + 1 if codes.size else 0
    order = np.lexsort((values, codes))
    order = order[~np.isnan(values[order])]
    counts = np.bincount(codes[order], minlength=clusters).astype(np.float64)
    sums = np.bincount(codes[order], weights=values[order], minlength=clusters).astype(np.float64)
    return sums, counts


def _resampled_means(sums: FloatArray, counts: FloatArray, rng: np.random.Generator, n_resamples: int) -> FloatArray:
    """Replicates (B, k) of the ratios of sums to counts (C, k), which are above 0; none below two clusters."""
    clusters, k = sums.shape
    if clusters < 2:
        return np.empty((0, k))
    both = np.concatenate([sums, counts], axis=1)
    totals = np.concatenate([times @ both for times in cluster_draws(clusters, rng, n_resamples)])
    return np.asarray(totals[:, :k] / totals[:, k:])
