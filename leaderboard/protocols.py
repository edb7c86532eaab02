"""What the leaderboard knows of each metric protocol: how to score people with it, what ranks, how its numbers are shown.

Conventions
-----------
One :class:`Protocol` per module of :mod:`srgaze360.protocols` that scores predictions on the sphere. Metrics of different
protocols have different names, so a name alone says unit, sense and label. A board holds one protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from leaderboard import rotations
from srgaze360.errors import InputError, suggestion
from srgaze360.protocols import gazefollow360, spherical
from srgaze360.protocols.spherical import Metric
from srgaze360.sphere import FloatArray

PRIMARY = "angular_distance_deg"
PRIMARY_RAD = "angular_distance_rad"
_IN_WORDS = {"deg": "degrees", "rad": "radians"}


class People(NamedTuple):
    """What is scored: predicted directions (n, 3), annotations (n, m, 3) with weights (n, m), heatmaps (n, H, W) or None.

    ``image_sizes`` (n, 2) are height and width of the panoramas, pixels.
    """

    directions: FloatArray
    points: FloatArray
    weights: FloatArray
    heatmaps: NDArray[Any] | None
    image_sizes: NDArray[Any]


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
    the annotators' own, or is None where the protocol has no such row.
    """

    name: str
    version: str
    primary: str
    error: str
    metrics: dict[str, Metric]
    labels: dict[str, str]
    tables: tuple[MetricTable, ...]
    score: Callable[[People], dict[str, FloatArray]]
    human: Callable[[FloatArray, FloatArray], dict[str, FloatArray]] | None
    needs_heatmaps: bool

    @property
    def unit(self) -> str:
        """Unit of the primary metric, in words."""
        return _IN_WORDS[self.metrics[self.primary].unit]


def _spherical(people: People) -> dict[str, FloatArray]:
    return spherical.evaluate(people.directions, people.points, people.weights, heatmaps=people.heatmaps).per_sample


def _gazefollow360(people: People) -> dict[str, FloatArray]:
    return gazefollow360.evaluate(
        people.directions, people.points, people.weights, heatmaps=people.heatmaps, image_sizes=people.image_sizes
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
    human=spherical.leave_one_out_human,
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

PROTOCOLS = {protocol.name: protocol for protocol in (SPHERICAL, GAZEFOLLOW360)}
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
