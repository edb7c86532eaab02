"""What the leaderboard knows of each metric protocol: how to score people with it, what ranks, how its numbers are shown.

Conventions
-----------
One :class:`Protocol` per module of :mod:`srgaze360.protocols`, and for the planar ones another per code base that they follow,
under the name ``<protocol>/<compat>``: its numbers are of another definition and share no board. Metrics of the same name have
the same unit, sense and label in all protocols. A board holds one protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from leaderboard import rotations
from leaderboard.people import Answers, People
from srgaze360.errors import InputError, suggestion
from srgaze360.predictions import FrameName
from srgaze360.protocols import gazefollow, gazefollow360, spherical, videoattentiontarget
from srgaze360.protocols.spherical import Metric
from srgaze360.sphere import FloatArray

PRIMARY = "angular_distance_deg"
PRIMARY_RAD = "angular_distance_rad"
_IN_WORDS = {"deg": "degrees", "rad": "radians", "fraction of the photo's sides": "fractions of the photo's sides"}


class MetricTable(NamedTuple):
    """A table with a column per metric: key, title, caption and names of the metrics; the ranking suite's, or another's."""

    key: str
    title: str
    caption: str
    metrics: tuple[str, ...]
    suite: str = ""


class Protocol(NamedTuple):
    """A protocol as boards use it.

    ``primary`` ranks, smaller first; ``error`` names it in running text. ``score`` gives each metric of each person, ``human``
    the annotators' own, or is None where the protocol has no such row. ``frame`` says where predictions lie.
    """

    name: str
    version: str
    primary: str
    error: str
    metrics: dict[str, Metric]
    labels: dict[str, str]
    tables: tuple[MetricTable, ...]
    score: Callable[[People, Answers], dict[str, FloatArray]]
    human: Callable[[People], dict[str, FloatArray]] | None
    needs_heatmaps: bool
    frame: FrameName = "sphere"

    @property
    def unit(self) -> str:
        """Unit of the primary metric, in words."""
        return _IN_WORDS[self.metrics[self.primary].unit]


def _spherical(people: People, answers: Answers) -> dict[str, FloatArray]:
    return spherical.evaluate(answers.points, people.points, people.weights, heatmaps=answers.heatmaps).per_sample


def _spherical_human(people: People) -> dict[str, FloatArray]:
    return spherical.leave_one_out_human(people.points, people.weights)


def _gazefollow360(people: People, answers: Answers) -> dict[str, FloatArray]:
    return gazefollow360.evaluate(
        answers.points, people.points, people.weights, heatmaps=answers.heatmaps, image_sizes=people.image_sizes
    ).per_sample


_HITS = tuple(name for name in spherical.METRICS if name.startswith("hit@"))

SPHERICAL = Protocol(
    name="spherical",
    version=spherical.VERSION,
    primary=PRIMARY,
    error="angular distance",
    metrics={
        **spherical.METRICS,
        PRIMARY_RAD: Metric("rad", "lower", "mean over samples", "direction", "the primary metric in radians"),
        rotations.SD: Metric(
            "deg",
            "lower",
            "mean over samples",
            "direction",
            "standard deviation of a person's error over rotations of the sphere",
        ),
        rotations.RANGE: Metric(
            "deg", "lower", "mean over samples", "direction", "range of a person's error over rotations of the sphere"
        ),
    },
    labels={
        PRIMARY: "Angular distance",
        PRIMARY_RAD: "Angular distance",
        "angular_distance_mean_deg": "Mean over annotations",
        "angular_distance_min_deg": "Nearest annotation",
        **{name: f"Hit@{name[4:]}°" for name in _HITS},
        "auc": "AUC",
        "nss": "NSS",
        "kld": "KLD",
        "cc": "CC",
        "sim": "SIM",
        "in_frame_ap": "In-frame AP",
        rotations.SD: "Spread over rotations",
        rotations.RANGE: "Range over rotations",
    },
    tables=(
        MetricTable(
            "ranking",
            "Ranking",
            "ranked by mean angular distance.",
            (PRIMARY, PRIMARY_RAD, "angular_distance_mean_deg", "angular_distance_min_deg"),
        ),
        MetricTable("hits", "Hits", "share of people whose error is at most so large.", _HITS),
        MetricTable(
            "maps",
            "Heatmaps and in-frame scores",
            "blank where a predictor gives no heatmaps or scores.",
            ("auc", "nss", "kld", "cc", "sim", "in_frame_ap"),
        ),
        MetricTable(
            "rotations",
            "Under rotation of the sphere",
            "the same photos under sixteen rotations; an equivariant method has the same error under all.",
            (PRIMARY, rotations.SD, rotations.RANGE),
            rotations.SUITE,
        ),
    ),
    score=_spherical,
    human=_spherical_human,
    needs_heatmaps=False,
)

GAZEFOLLOW360 = Protocol(
    name="gazefollow360",
    version=gazefollow360.VERSION,
    primary="distance_64_corner_rad",
    error="great-circle distance",
    metrics=gazefollow360.METRICS,
    labels={
        "distance_64_corner_rad": "Distance, 64 × 64 corner",
        "distance_64_centre_rad": "Distance, 64 × 64 centre",
        "distance_56_corner_rad": "Distance, 56 × 56 corner",
        "distance_56_centre_rad": "Distance, 56 × 56 centre",
        "distance_own_centre_rad": "Distance, own grid centre",
        "distance_point_rad": "Distance, no heatmap",
        "auc_box_64": "AUC, 19 × 19 box at 64 × 64",
        "auc_onehot_full": "AUC, one pixel at full size",
    },
    tables=(
        MetricTable(
            "ranking",
            "Ranking",
            "ranked by mean great-circle distance of the arg-max at 64 × 64, decoded at the cell's corner.",
            ("distance_64_corner_rad", "auc_box_64", "auc_onehot_full"),
        ),
        MetricTable(
            "decoding",
            "Other ways to decode",
            "great-circle distance of the same predictions by grid and by the point of the cell that is taken.",
            (
                "distance_64_centre_rad",
                "distance_56_corner_rad",
                "distance_56_centre_rad",
                "distance_own_centre_rad",
                "distance_point_rad",
            ),
        ),
    ),
    score=_gazefollow360,
    human=None,
    needs_heatmaps=True,
)


# --- planar -----------------------------------------------------------------------------------------------------------


def _gazefollow(compat: gazefollow.Compat | None) -> Protocol:
    def score(people: People, answers: Answers) -> dict[str, FloatArray]:
        return gazefollow.evaluate(
            answers.points,
            people.points,
            people.weights,
            eyes=people.eyes,
            heatmaps=answers.heatmaps,
            image_sizes=people.image_sizes,
            compat=compat,
        ).per_sample

    def human(people: People) -> dict[str, FloatArray]:
        return gazefollow.human(people.points, people.weights, eyes=people.eyes)

    return Protocol(
        name=_variant("gazefollow", compat),
        version=gazefollow.VERSION,
        primary="distance_to_mean",
        error="distance to the mean annotation",
        metrics=gazefollow.METRICS,
        labels={
            "distance_to_mean": "Distance to the mean",
            "distance_mean": "Mean distance",
            "distance_min": "Min distance",
            "angle_to_mean_deg": "Angle to the mean",
            "angle_mean_deg": "Mean angle",
            "auc": "AUC",
        },
        tables=(
            MetricTable(
                "ranking",
                "Ranking",
                "ranked by the distance to the mean annotation; the three distances are three definitions, all in use.",
                ("distance_to_mean", "distance_mean", "distance_min", "angle_to_mean_deg", "angle_mean_deg", "auc"),
            ),
        ),
        score=score,
        human=None if compat else human,  # what the code bases differ in are heatmaps, which annotators do not give
        needs_heatmaps=compat is not None,
        frame="photo",
    )


def _videoattentiontarget(compat: videoattentiontarget.Compat | None) -> Protocol:
    def score(people: People, answers: Answers) -> dict[str, FloatArray]:
        several = int(np.count_nonzero(np.sum(people.weights > 0.0, axis=1) > 1))
        if several:
            raise InputError(
                f"Expected one annotation a person, which the videoattentiontarget protocol scores, found {several} people "
                "with more. Score them with --protocol gazefollow."
            )
        return videoattentiontarget.evaluate(
            answers.points, people.points[:, 0], people.in_frame, heatmaps=answers.heatmaps, compat=compat
        ).per_sample

    return Protocol(
        name=_variant("videoattentiontarget", compat),
        version=videoattentiontarget.VERSION,
        primary="distance",
        error="distance",
        metrics=videoattentiontarget.METRICS,
        labels={"distance": "Distance", "auc": "AUC", "in_frame_ap": "In-frame AP"},
        tables=(
            MetricTable(
                "ranking",
                "Ranking",
                "ranked by the distance to the annotation, over people whose target is in the frame.",
                ("distance", "auc", "in_frame_ap"),
            ),
        ),
        score=score,
        human=None,
        needs_heatmaps=compat is not None,
        frame="photo",
    )


def _variant(name: str, compat: str | None) -> str:
    return f"{name}/{compat}" if compat else name


_ALL = (
    SPHERICAL,
    GAZEFOLLOW360,
    *(_gazefollow(compat) for compat in (None, *gazefollow.COMPAT)),
    *(_videoattentiontarget(compat) for compat in (None, *videoattentiontarget.COMPAT)),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}
ALL_METRICS: dict[str, Metric] = {name: metric for protocol in PROTOCOLS.values() for name, metric in protocol.metrics.items()}
LABELS: dict[str, str] = {name: label for protocol in PROTOCOLS.values() for name, label in protocol.labels.items()}


def find_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises
    ------
    InputError
        There is no such protocol.
    """
    if name not in PROTOCOLS:
        raise InputError(f"Unknown protocol {name!r}. {suggestion(name, list(PROTOCOLS))}")
    return PROTOCOLS[name]
