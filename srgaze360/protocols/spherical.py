"""The ``spherical`` protocol: gaze following scored on the sphere.

Task
----
Given a panorama and a head, say where that person looks: a direction, optionally a heatmap, optionally a score for the target
being inside the source photo. The truth is one or more annotated directions per sample.

Conventions
-----------
Directions are unit vectors (n, 3), annotations (n, m, 3) with ``weights`` (n, m): 0 where a sample has fewer than m, else 1
(unequal weights weigh). A sample without annotations has no known direction: it is NaN in every metric of direction, and not
counted. Heatmaps (n, H, W) are densities per steradian at any scale, as in :mod:`srgaze360.heatmaps`. Functions take and
return radians; :func:`evaluate` reports degrees, and says so in the names. The *consensus* is the normalised vector mean of
the annotations; where it does not exist (antipodal annotations) the metrics that need it are NaN.

Metrics
-------
:data:`METRICS` lists them with unit, sense and need; each is a function. Distances use the predicted direction:

* angular distance to the consensus (ranks the board), mean and minimum over annotations, share within 5, 10, 20, 30 degrees.

Heatmaps, every cell weighted by its exact solid angle, so that it does not matter where the poles of the grid are
(:mod:`srgaze360.protocols.saliency`):

* AUC: probability that a cell near an annotation gets more than a cell elsewhere; both drawn in proportion to solid angle.
* NSS: standardised map at the annotations (Peters et al., Vision Research 45, 2005).
* KLD, CC, SIM: against the equal mixture of von Mises-Fisher densities of 5 degrees spread around the annotations (Bylinskii
  et al., IEEE TPAMI 41, 2019, with solid angles as weights; KLD, CC and SIM are weighted so in the Salient360! toolbox
  too, AUC and NSS are not). These compare maps on the prediction's own grid: compare models at equal grids.

In frame:

* average precision over all samples of the set (one number, no mean over samples).

Edge cases: a constant heatmap says nothing and gets AUC 0.5, NSS 0, CC 0; a map of zeros counts as the uniform density. Human
performance, one annotation left out in turn, is :func:`leave_one_out_human`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from srgaze360 import sphere
from srgaze360.errors import InputError
from srgaze360.heatmaps import HEIGHT, WIDTH, cell_cosines
from srgaze360.protocols.checks import direction_faults, heatmap_faults, score_faults
from srgaze360.protocols.ragged import consensus, smallest, weighted_mean, weights_of
from srgaze360.protocols.saliency import auc, cc, kld, nss, sim, truth_density
from srgaze360.sphere import FloatArray

VERSION = "1.0.0"

HIT_THRESHOLDS_DEG = (5, 10, 20, 30)
# Cells worked on at a time: 32 maps of 64 x 128, small enough for the cache, large enough to hide the interpreter.
_CHUNK_CELLS = 1 << 18


class Metric(NamedTuple):
    """What a column of scores means."""

    unit: str
    better: Literal["lower", "higher"]
    aggregation: Literal["mean over samples", "over the set"]
    needs: Literal["direction", "heatmap", "in_frame_score"]
    description: str


def _distance(description: str) -> Metric:
    return Metric("deg", "lower", "mean over samples", "direction", description)


def _heatmap(unit: str, better: Literal["lower", "higher"], description: str) -> Metric:
    return Metric(unit, better, "mean over samples", "heatmap", description)


METRICS: dict[str, Metric] = {
    "angular_distance_deg": _distance("geodesic distance to the consensus of the annotations; the primary metric"),
    "angular_distance_mean_deg": _distance("mean geodesic distance to the annotations of the sample"),
    "angular_distance_min_deg": _distance("geodesic distance to the nearest annotation of the sample"),
    **{
        f"hit@{limit}": Metric(
            "fraction", "higher", "mean over samples", "direction", f"whether the consensus is within {limit} deg"
        )
        for limit in HIT_THRESHOLDS_DEG
    },
    "auc": _heatmap("fraction", "higher", "area under the ROC curve, positives within 10 deg of any annotation"),
    "nss": _heatmap("standard deviations", "higher", "standardised heatmap at the annotations, mean over them"),
    "kld": _heatmap("nats", "lower", "Kullback-Leibler divergence from the truth density to the heatmap"),
    "cc": _heatmap("correlation", "higher", "Pearson correlation with the truth density"),
    "sim": _heatmap("fraction", "higher", "mass shared with the truth density"),
    "in_frame_ap": Metric(
        "fraction", "higher", "over the set", "in_frame_score", "average precision of the target being inside the source photo"
    ),
}


class Evaluation(NamedTuple):
    """Scores: per metric an array (n,) over samples, NaN where a sample has none; and metrics that are one number."""

    per_sample: dict[str, FloatArray]
    over_set: dict[str, float]

    def summary(self) -> dict[str, float]:
        """One number per metric: the mean over samples that have a value (NaN if none has), or the number itself."""
        means = {
            name: float(np.mean(v[~np.isnan(v)])) if np.any(~np.isnan(v)) else np.nan for name, v in self.per_sample.items()
        }
        return {**means, **self.over_set}


# --- input ------------------------------------------------------------------------------------------------------------


def validate(
    prediction: ArrayLike,
    annotations: ArrayLike,
    weights: ArrayLike | None = None,
    heatmaps: ArrayLike | None = None,
    in_frame: ArrayLike | None = None,
    in_frame_score: ArrayLike | None = None,
) -> None:
    """Check the input of :func:`evaluate` and report every fault at once.

    Raises
    ------
    InputError
        Shapes that do not fit, directions that are not unit vectors, negative weights, heatmaps with negative, NaN or
        infinite values, scores outside [0, 1]; with counts and the first indices.
    """
    prediction, annotations = np.asarray(prediction, dtype=np.float64), np.asarray(annotations, dtype=np.float64)
    n = len(prediction) if prediction.ndim else 0
    faults = direction_faults(prediction, annotations, weights)
    if heatmaps is not None:
        faults += heatmap_faults(np.asarray(heatmaps), n)
    if in_frame is not None and np.shape(in_frame) != (n,):
        faults.append(f"in_frame must have the shape ({n},), found {np.shape(in_frame)}")
    if in_frame is not None and np.asarray(in_frame).dtype != np.bool_:
        faults.append(f"in_frame must be boolean, found {np.asarray(in_frame).dtype}")
    if in_frame_score is not None:
        faults += score_faults(in_frame_score, n)
        if in_frame is None:
            faults.append("in_frame_score was given without the truth in_frame")
    if faults:
        raise InputError(f"The spherical protocol cannot score this: {'; '.join(faults)}. Correct the arrays and score again.")


# --- metrics of directions --------------------------------------------------------------------------------------------


def angular_distance(prediction: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Geodesic distance (n,), radians in [0, pi], of predictions (n, 3) to the consensus of annotations (n, m, 3)."""
    return sphere.angle_between(prediction, consensus(annotations, weights))


def angular_distance_mean(prediction: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Mean (n,), radians, of the geodesic distances of predictions (n, 3) to annotations (n, m, 3)."""
    annotations = np.asarray(annotations, dtype=np.float64)
    distances = sphere.angle_between(np.asarray(prediction, dtype=np.float64)[..., None, :], annotations)
    return weighted_mean(distances, weights_of(annotations, weights))


def angular_distance_min(prediction: ArrayLike, annotations: ArrayLike, weights: ArrayLike | None = None) -> FloatArray:
    """Smallest (n,), radians, of the geodesic distances of predictions (n, 3) to annotations (n, m, 3)."""
    annotations = np.asarray(annotations, dtype=np.float64)
    distances = sphere.angle_between(np.asarray(prediction, dtype=np.float64)[..., None, :], annotations)
    return smallest(distances, weights_of(annotations, weights))


def hit(distance: ArrayLike, limit: float) -> FloatArray:
    """1 where a distance (n,) is at most ``limit`` (same unit), 0 where it is more, NaN where it is not known."""
    distance = np.asarray(distance, dtype=np.float64)
    return np.where(np.isnan(distance), np.nan, distance <= limit)


def _point_metrics(prediction: FloatArray, annotations: FloatArray, weights: FloatArray) -> dict[str, FloatArray]:
    distance = np.degrees(angular_distance(prediction, annotations, weights))
    return {
        "angular_distance_deg": distance,
        "angular_distance_mean_deg": np.degrees(angular_distance_mean(prediction, annotations, weights)),
        "angular_distance_min_deg": np.degrees(angular_distance_min(prediction, annotations, weights)),
        **{f"hit@{limit}": hit(distance, limit) for limit in HIT_THRESHOLDS_DEG},
    }


# --- in frame ---------------------------------------------------------------------------------------------------------


def in_frame_ap(in_frame: ArrayLike, score: ArrayLike) -> float:
    """Average precision, in [0, 1], of scores (n,) for the target being inside the source photo (n,).

    The sum over thresholds of the gain in recall times the precision, without interpolation (the definition of
    scikit-learn's ``average_precision_score``); equal scores share a threshold. NaN if no target is inside.
    """
    score = np.asarray(score, dtype=np.float64)
    order = np.argsort(-score, kind="stable")
    inside = np.asarray(in_frame, dtype=np.bool_)[order]
    if not inside.any():
        return float("nan")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    found = np.cumsum(inside)[last]
    return float(np.sum(np.diff(found, prepend=0) * found / (last + 1)) / found[-1])


# --- everything at once -----------------------------------------------------------------------------------------------


def evaluate(
    prediction: ArrayLike,
    annotations: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    heatmaps: ArrayLike | None = None,
    in_frame: ArrayLike | None = None,
    in_frame_score: ArrayLike | None = None,
) -> Evaluation:
    """Score predictions with every metric that the input allows.

    Parameters
    ----------
    prediction
        Directions (n, 3).
    annotations, weights
        Directions (n, m, 3) and their weights (n, m), 0 where there is none; all 1 by default.
    heatmaps
        Densities per steradian (n, H, W), of any float type, finite and 0 or more; converted piece by piece.
    in_frame, in_frame_score
        Booleans (n,) and scores (n,) in [0, 1]; both or neither are needed for ``in_frame_ap``.

    Returns
    -------
    Evaluation
        Scores under the names of :data:`METRICS`; metrics whose input is missing are absent.

    Raises
    ------
    InputError
        See :func:`validate`.
    """
    validate(prediction, annotations, weights, heatmaps, in_frame, in_frame_score)
    directions, truth = np.asarray(prediction, dtype=np.float64), np.asarray(annotations, dtype=np.float64)
    w = weights_of(truth, weights)
    per_sample = _point_metrics(directions, truth, w)
    if heatmaps is not None:
        per_sample.update(_heatmap_metrics(np.asarray(heatmaps), truth, w))
    over_set = {}
    if in_frame is not None and in_frame_score is not None:
        over_set["in_frame_ap"] = in_frame_ap(in_frame, in_frame_score)
    return Evaluation(per_sample, over_set)


def _chunks(rows: NDArray[np.intp], cells: int) -> Iterator[NDArray[np.intp]]:
    size = max(1, _CHUNK_CELLS // cells)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _heatmap_metrics(maps: NDArray[np.generic], annotations: FloatArray, weights: FloatArray) -> dict[str, FloatArray]:
    n, height, width = maps.shape
    scores = {name: np.full(n, np.nan) for name in ("auc", "nss", "kld", "cc", "sim")}
    against_truth: dict[str, Callable[[ArrayLike, ArrayLike], FloatArray]] = {"kld": kld, "cc": cc, "sim": sim}
    for rows in _chunks(np.flatnonzero(np.any(weights > 0.0, axis=1)), height * width):
        part, points, w = maps[rows], annotations[rows], weights[rows]
        scores["auc"][rows] = auc(part, points, w)
        scores["nss"][rows] = nss(part, points, w)
        truth = truth_density(points, w, height=height, width=width)
        for name, metric in against_truth.items():
            scores[name][rows] = metric(part, truth)
    return scores


def leave_one_out_human(
    annotations: ArrayLike, weights: ArrayLike | None = None, *, height: int = HEIGHT, width: int = WIDTH
) -> dict[str, FloatArray]:
    """Score each annotation as a prediction of the others, and average over the annotations of the sample.

    The consensus is that of the others. The score map of the AUC is minus the geodesic distance to the annotation left out:
    ranks need no bandwidth. NSS, KLD, CC and SIM would depend on one, so they have no human row.

    Parameters
    ----------
    annotations, weights
        Directions (n, m, 3) and weights (n, m), as in :func:`evaluate`.
    height, width
        Grid for the AUC.

    Returns
    -------
    dict
        Arrays (n,) under the names of :data:`METRICS`; NaN for samples with fewer than two annotations. Annotations for which
        a metric does not exist (the others are antipodal) are left out of its average.
    """
    annotations = np.asarray(annotations, dtype=np.float64)
    w = weights_of(annotations, weights)
    n, m = w.shape
    scores = {name: np.full((n, m), np.nan) for name, metric in METRICS.items() if metric.needs == "direction" or name == "auc"}
    for j in range(m):
        others = w * (np.arange(m) != j)
        for rows in _chunks(np.flatnonzero(w[:, j] > 0.0), height * width):
            person, rest = annotations[rows, j], annotations[rows]
            for name, values in _point_metrics(person, rest, others[rows]).items():
                scores[name][rows, j] = values
            # the cosine orders cells as minus the distance does
            scores["auc"][rows, j] = auc(cell_cosines(person, height=height, width=width), rest, others[rows])
    return {name: weighted_mean(values, np.where(np.isnan(values), 0.0, w)) for name, values in scores.items()}
