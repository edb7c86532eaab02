"""The annotators one by one, where the source names them: how far from the others, in which direction, how often far off.

Conventions
-----------
An annotation is compared with the spherical mean of the person's other annotations. Its *offset* is the tangent vector there,
(right, up) as the photo was seen, degrees. An *outlier* is far from the geometric median of the others, which one far
annotation among them does not move: beyond the upper fence of all such angles, the third quartile and one and a half times
the distance of the quartiles (Tukey, Exploratory Data Analysis, 1977). It says who is often far off, not who is wrong.
Intervals are 95 %, from a bootstrap over clusters: BCa for means, percentiles for medians. Where none or all of the annotations
are outliers, resampling them tells nothing: that interval is the exact one of a binomial share, with as many trials as clusters
(Clopper and Pearson, Biometrika 26, 1934).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from annotation.agreement.annotated import Annotated
from srgaze360 import sphere
from srgaze360.bootstrap import Interval, cluster_bootstrap, cluster_draws
from srgaze360.sphere import FloatArray

FENCE = 1.5
CONFIDENCE = 0.95


class Offsets(NamedTuple):
    """Every annotation (v,): its row and column, who gave it, its angle to the others' mean, and its offset (v, 2)."""

    row: NDArray[np.intp]
    column: NDArray[np.intp]
    name: NDArray[np.object_]
    angle_deg: FloatArray
    offset_deg: FloatArray


class Annotator(NamedTuple):
    """One annotator: number of annotations, median angle to the others' mean, mean offset, share of outliers.

    Angles and offsets are degrees; each number has its interval.
    """

    name: str
    annotations: int
    median_deg: Interval
    right_deg: Interval
    up_deg: Interval
    outliers: Interval


def offsets(annotated: Annotated) -> Offsets:
    """Every annotation against the mean of the person's others; those whose others cancel out are left out."""
    sums = np.sum(annotated.local * annotated.weights[..., None], axis=1, keepdims=True)
    others = sums - annotated.local
    row, column = np.nonzero((annotated.weights > 0.0) & (np.linalg.norm(others, axis=-1) > 1e-9))
    base, point = others[row, column], annotated.local[row, column]
    return Offsets(
        row=row,
        column=column,
        name=annotated.names[row, column],
        angle_deg=np.degrees(sphere.angle_between(base, point)),
        offset_deg=np.degrees(sphere.log_map(base, point)),
    )


def angles_to_median(annotated: Annotated, found: Offsets) -> FloatArray:
    """Angle (v,), degrees, of every annotation to the geometric median of the person's others."""
    others = annotated.weights[found.row].copy()
    others[np.arange(len(found.row)), found.column] = 0.0
    median = sphere.geometric_median(annotated.local[found.row], others)
    return np.degrees(sphere.angle_between(median, annotated.local[found.row, found.column]))


def fence(angles_deg: FloatArray) -> float:
    """Angle beyond which an annotation is an outlier."""
    low, high = np.quantile(angles_deg, [0.25, 0.75])
    return float(high + FENCE * (high - low))


def annotators(annotated: Annotated, found: Offsets, rng: np.random.Generator, n_resamples: int) -> list[Annotator]:
    """Every named annotator, by name; none where the source names nobody."""
    if not np.any(found.name != ""):
        return []
    from_median = angles_to_median(annotated, found)
    limit = fence(from_median)
    clusters = annotated.clusters[found.row]
    told = []
    for name in sorted(set(found.name.tolist()) - {""}):
        own = found.name == name
        values = {
            "right": found.offset_deg[own, 0],
            "up": found.offset_deg[own, 1],
            "outliers": (from_median[own] > limit).astype(np.float64),
        }
        means = cluster_bootstrap(values, clusters[own], rng, confidence=CONFIDENCE, n_resamples=n_resamples)
        median = median_interval(found.angle_deg[own], clusters[own], rng, n_resamples)
        told.append(Annotator(name, int(own.sum()), median, means["right"], means["up"], _share(means["outliers"])))
    return told


def _share(found: Interval) -> Interval:
    """The interval of a share, exact where it is 0 or 1."""
    if found.estimate not in (0.0, 1.0) or not found.clusters:
        return found
    reach = 1.0 - ((1.0 - CONFIDENCE) / 2.0) ** (1.0 / found.clusters)
    low, high = (0.0, reach) if found.estimate == 0.0 else (1.0 - reach, 1.0)
    return found._replace(low=low, high=high, method="exact")


def median_interval(values: FloatArray, clusters: NDArray[np.str_], rng: np.random.Generator, n_resamples: int) -> Interval:
    """Median of values (v,) with the percentiles of the medians of resampled clusters."""
    estimate = float(np.median(values)) if len(values) else np.nan
    code, names = pd.factorize(clusters)
    if len(names) < 2:
        return Interval(estimate, np.nan, np.nan, len(values), len(names), "none")
    order = np.argsort(values, kind="stable")
    ordered, owner = values[order], code[order]
    medians = []
    for times in cluster_draws(len(names), rng, n_resamples):
        for drawn in times:
            below = np.cumsum(drawn[owner])
            medians.append(ordered[np.searchsorted(below, below[-1] / 2.0)])
    low, high = np.quantile(medians, [(1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0])
    return Interval(estimate, float(low), float(high), len(values), len(names), "percentile")
