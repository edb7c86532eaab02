"""Everything that is measured of an agreement: per person, per annotator, over all, each number with its interval.

Conventions
-----------
Angles that are told are degrees and say so. Intervals are 95 %, BCa, from a bootstrap over clusters (photos, clips or scenes)
whose seed the report names; that of a median is of percentiles. The human row takes each annotation in turn as a prediction
of the others, by the official protocols: ``spherical`` on the sphere, ``gazefollow`` in the plane. Planar distances are in
fractions of the photo's sides, as that field has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from annotation.agreement.alpha import krippendorff, nominal, squared_angle, squared_distance
from annotation.agreement.annotated import Annotated, turned_to_heads
from annotation.agreement.annotators import Annotator, Offsets, annotators, median_interval, offsets
from annotation.agreement.spread import Spread, quantile, spread
from srgaze360 import sphere
from srgaze360.bootstrap import Interval, cluster_bootstrap
from srgaze360.files import generator
from srgaze360.protocols import gazefollow, spherical
from srgaze360.protocols.planar import distances, mean_annotation
from srgaze360.protocols.ragged import weighted_mean
from srgaze360.sphere import FloatArray

RESAMPLES = 2000
HUMAN_METRICS = ("angular_distance_deg", "angular_distance_mean_deg", "angular_distance_min_deg", "hit@5", "hit@10", "hit@20",
                 "auc")  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """What was measured.

    ``overall`` are means over people (``axis_sd_deg`` is the root of one, ``kappa_median`` a median); ``human`` is the row of
    the ``spherical`` protocol; ``alpha`` is Krippendorff's; ``planar`` is empty where nothing is flat.
    """

    annotated: Annotated
    spread: Spread
    offsets: Offsets
    annotators: list[Annotator]
    overall: dict[str, Interval]
    human: dict[str, Interval]
    alpha: dict[str, Interval]
    planar: dict[str, Interval]
    planar_spread: FloatArray | None
    seed: int
    resamples: int

    def people(self) -> pd.DataFrame:
        """A row per person: centre, spread, concentration, groups; angles in degrees."""
        one = self.spread
        (mean_lon, mean_lat), (median_lon, median_lat) = (
            np.degrees(sphere.lonlat_from_direction(directions)) for directions in (one.mean, one.median)
        )
        table = pd.DataFrame(
            {
                "sample_id": self.annotated.ids,
                "cluster_id": self.annotated.clusters,
                "annotations": one.number,
                "mean_lon_deg": mean_lon,
                "mean_lat_deg": mean_lat,
                "median_lon_deg": median_lon,
                "median_lat_deg": median_lat,
                "resultant": one.resultant,
                "deviation_mean_deg": np.degrees(one.deviation_mean),
                "deviation_median_deg": np.degrees(one.deviation_median),
                "deviation_95_deg": np.degrees(one.deviation_95),
                "kappa": one.kappa,
                "cone_95_deg": np.degrees(one.cone),
                "modes": one.modes,
                "ambiguous": one.ambiguous,
            }
        )
        if self.planar_spread is not None:
            for place, name in enumerate(("mean", "median", "95")):
                table[f"planar_deviation_{name}"] = self.planar_spread[:, place]
        return table

    def annotator_table(self) -> pd.DataFrame:
        """A row per annotator."""
        rows = []
        for one in self.annotators:
            row: dict[str, Any] = {"annotator": one.name, "annotations": one.annotations}
            for name in ("median_deg", "right_deg", "up_deg", "outliers"):
                interval: Interval = getattr(one, name)
                row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: everything but the people."""
        return {
            "title": self.annotated.title,
            "people": len(self.annotated),
            "annotations": int(self.spread.number.sum()),
            "clusters": len(set(self.annotated.clusters.tolist())),
            "left_out_with_fewer_than_two_annotations": self.annotated.left_out,
            "overall": _plain(self.overall),
            "human": _plain(self.human),
            "alpha": _plain(self.alpha),
            "planar": _plain(self.planar),
            "annotators": [
                {"annotator": one.name, "annotations": one.annotations}
                | _plain({name: getattr(one, name) for name in ("median_deg", "right_deg", "up_deg", "outliers")})
                for one in self.annotators
            ],
            "seed": self.seed,
            "resamples": self.resamples,
        }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _plain(intervals: dict[str, Interval]) -> dict[str, Any]:
    return {
        name: {"value": _number(i.estimate), "low": _number(i.low), "high": _number(i.high), "n": i.n, "clusters": i.clusters}
        for name, i in intervals.items()
    }


def measure(annotated: Annotated, *, seed: int = 0, resamples: int = RESAMPLES) -> Agreement:
    """Measure the agreement of annotations.

    Parameters
    ----------
    annotated
        From a dataset or a source.
    seed, resamples
        Of the bootstrap.
    """
    found, each = spread(annotated.points, annotated.weights), offsets(annotated)
    planar, planar_spread = _planar(annotated, seed, resamples)
    return Agreement(
        annotated=annotated,
        spread=found,
        offsets=each,
        annotators=annotators(annotated, each, generator(seed, "annotators"), resamples),
        overall=_overall(annotated, found, seed, resamples),
        human=_human(annotated, seed, resamples),
        alpha=_alphas(annotated, seed, resamples),
        planar=planar,
        planar_spread=planar_spread,
        seed=seed,
        resamples=resamples,
    )


def _overall(annotated: Annotated, found: Spread, seed: int, resamples: int) -> dict[str, Interval]:
    number = found.number.astype(np.float64)
    # 1 / kappa of each person, free of bias where annotations are close together: (k - R) / (k - 1)
    variance = number * (1.0 - found.resultant) / (number - 1.0)
    values = {
        "deviation_mean_deg": np.degrees(found.deviation_mean),
        "deviation_median_deg": np.degrees(found.deviation_median),
        "deviation_95_deg": np.degrees(found.deviation_95),
        "resultant": found.resultant,
        "cone_95_deg": np.degrees(found.cone),
        "axis_sd_deg": variance,
        "several_modes": (found.modes > 1).astype(np.float64),
        "ambiguous": found.ambiguous.astype(np.float64),
    }
    told = cluster_bootstrap(values, annotated.clusters, generator(seed, "overall"), n_resamples=resamples)
    squared = told["axis_sd_deg"]
    told["axis_sd_deg"] = squared._replace(
        estimate=_root_deg(squared.estimate), low=_root_deg(squared.low), high=_root_deg(squared.high)
    )
    known = ~np.isnan(found.kappa)
    told["kappa_median"] = median_interval(
        found.kappa[known], annotated.clusters[known], generator(seed, "kappa"), min(resamples, RESAMPLES)
    )
    return told


def _root_deg(variance: float) -> float:
    return float(np.degrees(np.sqrt(variance)))


def _human(annotated: Annotated, seed: int, resamples: int) -> dict[str, Interval]:
    scores = spherical.leave_one_out_human(annotated.points, annotated.weights)
    values = {name: scores[name] for name in HUMAN_METRICS}
    return cluster_bootstrap(values, annotated.clusters, generator(seed, "human"), n_resamples=resamples)


def _alphas(annotated: Annotated, seed: int, resamples: int) -> dict[str, Interval]:
    """Alpha of directions in the photo's frame and in the head's, of whether the target is in the photo, and in the plane."""
    used = annotated.weights > 0.0
    row, column = np.nonzero(used)
    seen = np.asarray(np.isfinite(annotated.heads).all(axis=1))[row]
    by_head = turned_to_heads(annotated)
    cases: dict[str, tuple[Any, Any, Any]] = {
        "gaze": (annotated.local, squared_angle, np.ones(len(row), dtype=bool)),
        "gaze_from_head": (by_head, squared_angle, seen),
        "in_frame": (annotated.inside, nominal, np.ones(len(row), dtype=bool)),
    }
    if annotated.planar is not None and annotated.planar_heads is not None:
        cases["planar"] = (annotated.planar, squared_distance, np.ones(len(row), dtype=bool))
        cases["planar_from_head"] = (annotated.planar - annotated.planar_heads[:, None], squared_distance, seen)
    return {
        name: krippendorff(
            values[row[kept], column[kept]],
            row[kept],
            annotated.clusters[row[kept]],
            generator(seed, "alpha", name),
            disagreement,
            n_resamples=resamples,
        )
        for name, (values, disagreement, kept) in cases.items()
    }


def _planar(annotated: Annotated, seed: int, resamples: int) -> tuple[dict[str, Interval], FloatArray | None]:
    """Distances in the plane, and the human row of the ``gazefollow`` protocol, one left out and itself included."""
    if annotated.planar is None:
        return {}, None
    points, weights = annotated.planar, annotated.weights
    apart = distances(mean_annotation(points, weights), points)
    held = np.where(weights > 0.0, apart, np.nan)
    each = np.stack([weighted_mean(apart, weights), quantile(held, 0.5), quantile(held, 0.95)], axis=-1)
    values = {"deviation_mean": each[:, 0], "deviation_median": each[:, 1], "deviation_95": each[:, 2]}
    values |= {f"human_{metric}": scores for metric, scores in gazefollow.human(points, weights).items()}
    values["human_with_itself_distance_mean"] = gazefollow.human(points, weights, leave_out=False)["distance_mean"]
    return cluster_bootstrap(values, annotated.clusters, generator(seed, "planar"), n_resamples=resamples), each
