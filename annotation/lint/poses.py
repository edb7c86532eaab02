"""Rules of poses: the camera that a row names, and its flags of the seam, the poles and bands of latitude."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from annotation.lint.labels import GAZE, HEAD, PHOTO, POINTS, Labels
from annotation.lint.registry import Found, rule
from srgaze360 import sphere
from srgaze360.protocols.breakdown import latitude_band
from srgaze360.sphere import BoolArray, FloatArray

ANGLE_DEG = 1e-3
NEAR_POLE_DEG = 10.0  # what near_pole means
ROW_DEG = 0.5  # a photo's own row of pixels may end this far before a label at its edge
ON_SEAM = 1e-9  # an end of an arc this near to the plane of the seam may count as on either side of it
_POLES = np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])


@rule("camera", "error", needs=["camera", "lens", "hfov_deg"], fix="Store the camera that the photo was lifted with.")
def camera(labels: Labels) -> Iterator[Found]:
    """The camera can be read, and lens and field of view are its own."""
    cameras, told, lens = labels.cameras, labels.numbers("hfov_deg"), labels.texts("lens")
    true = np.degrees(cameras.fields_of_view()[0])
    own = np.array([one.lens if one else "" for one in cameras.distinct], dtype=object)[cameras.index]
    known = cameras.known()
    reasons = {row: f"camera is none: {cameras.faults[cameras.index[row]]}" for row in np.flatnonzero(~known).tolist()}
    for row in np.flatnonzero(known & (lens != own)).tolist():
        reasons[row] = f"lens is {lens[row]!r}, the camera's {own[row]!r}"
    for row in np.flatnonzero(known & (np.abs(told - true) > ANGLE_DEG)).tolist():
        reasons.setdefault(row, f"hfov_deg is {told[row]:.6g}, the camera's {true[row]:.6g}")
    yield from labels.told(reasons)


def _known(directions: FloatArray) -> BoolArray:
    return np.asarray(np.isfinite(directions).all(axis=1))


@rule("seam-flag", "error", needs=["crosses_seam", *HEAD, *GAZE], fix="Compute crosses_seam from head and gaze.")
def seam_flag(labels: Labels) -> Iterator[Found]:
    """crosses_seam is true where the arc from head to gaze crosses longitude 180, and nowhere else."""
    told = labels.flags("crosses_seam")
    known = _known(labels.gazes)
    true: BoolArray = np.asarray(known & sphere.arc_crosses_seam(labels.heads, labels.gazes))
    doubtful = known & (np.minimum(np.abs(labels.heads[:, 0]), np.abs(labels.gazes[:, 0])) < ON_SEAM)
    yield from labels.found((told != true) & ~doubtful, lambda row: f"crosses_seam is {told[row]}, the arc says {true[row]}")


def poles_inside(labels: Labels) -> BoolArray:
    """Whether zenith and nadir (n, 2) lie in the row's photo."""
    rows = np.arange(len(labels), dtype=np.intp)
    pixels = [labels.pixels(rows, np.broadcast_to(pole, (len(rows), 3))) for pole in _POLES]
    return np.stack([labels.cameras.beyond(rows, one) == 0.0 for one in pixels], axis=-1)


@rule(
    "pole-flag", "error", needs=["contains_pole", "near_pole", *PHOTO, *POINTS],
    fix="Compute contains_pole and near_pole from camera and pose.",
)  # fmt: skip
def pole_flag(labels: Labels) -> Iterator[Found]:
    """contains_pole is true where a pole lies in the photo, and near_pole where the photo comes within 10 degrees of one."""
    known = labels.cameras.known()
    contains, near = labels.flags("contains_pole"), labels.flags("near_pole")
    true = np.asarray(poles_inside(labels).any(axis=1))
    inside = labels.cameras.beyond(labels.owner, labels.point_pixels) == 0.0
    high = np.zeros(len(labels), dtype=bool)
    high[labels.owner[inside & (np.abs(labels.points_deg[:, 1]) > 90.0 - NEAR_POLE_DEG + ROW_DEG)]] = True
    wrong = known & (contains != true)
    missed = known & ~near & (true | high) & ~wrong
    yield from labels.found(
        wrong | missed,
        lambda row: (
            f"contains_pole is {contains[row]}, the photo's pose says {true[row]}"
            if wrong[row]
            else f"near_pole is false, but {'a pole' if true[row] else 'an annotation within 10 deg of a pole'} is in the photo"
        ),
    )


@rule("band", "error", needs=["head_band", "gaze_band", *HEAD, *GAZE], fix="Compute the bands from the latitudes.")
def band(labels: Labels) -> Iterator[Found]:
    """head_band and gaze_band are the bands of latitude of head and gaze."""
    reasons: dict[int, str] = {}
    for what, directions in (("head", labels.heads), ("gaze", labels.gazes)):
        told = labels.texts(f"{what}_band")
        true = latitude_band(directions).astype(object)
        true[~_known(directions)] = None
        for row in np.flatnonzero(told != true).tolist():
            reasons.setdefault(row, f"{what}_band is {told[row]!r}, its latitude says {true[row]!r}")
    yield from labels.told(reasons)
