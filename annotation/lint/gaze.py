"""Rules of gaze: the consensus of its annotations, who gave them, and whether the target is where it is said to be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from annotation.lint.heads import LARGEST_DEG, outside_by, slack
from annotation.lint.labels import GAZE, HEAD, PHOTO, POINTS, Labels
from annotation.lint.registry import Found, rule
from srgaze360 import sphere
from srgaze360.sphere import FloatArray

CONSENSUS_DEG = 1e-3  # by which a consensus may be off: the digest of labels rounds to 1e-6
NO_MEAN = 1e-6  # mean resultant below which annotations cancel out
DEFAULT_DEG = 1e-9  # how exactly an angle is a number that nobody hits by chance


@rule("gaze-range", "error", needs=[*GAZE, *HEAD, *POINTS], fix="Bring longitudes into [-180, 180], latitudes into [-90, 90].")
def gaze_range(labels: Labels) -> Iterator[Found]:
    """Longitudes lie in [-180, 180] and latitudes in [-90, 90] degrees."""
    bad = np.zeros(len(labels), dtype=bool)
    for names in (HEAD, GAZE):
        bad |= np.any(np.abs(labels.numbers(*names)) > (180.0, 90.0), axis=1)
    points = labels.points_deg
    bad[labels.owner[np.any(np.abs(points) > (180.0, 90.0), axis=1)]] = True

    def evidence(row: int) -> str:
        largest = np.abs(np.vstack([labels.numbers(*HEAD)[row], labels.numbers(*GAZE)[row], points[labels.owner == row]]))
        lon, lat = np.nanmax(largest, axis=0)
        return f"|longitude| up to {lon:.6g}, |latitude| up to {lat:.6g}"

    yield from labels.found(bad, evidence)


@rule("consensus", "error", needs=[*GAZE, *POINTS], fix="Store the normalised vector mean of gaze_points_deg.")
def consensus(labels: Labels) -> Iterator[Found]:
    """The consensus is the spherical mean of the annotations: their normalised vector mean."""
    length = np.linalg.norm(labels.resultants, axis=1)
    off = np.degrees(sphere.angle_between(labels.gazes, labels.resultants))
    known = (labels.counts > 0) & (length > NO_MEAN) & np.isfinite(labels.gazes).all(axis=1)
    bad = known & (off * length > CONSENSUS_DEG)
    flat = np.stack([np.bincount(labels.owner, axis, len(labels)) for axis in labels.points_deg.T], axis=-1)

    def evidence(row: int) -> str:
        mean = flat[row] / labels.counts[row]
        same = np.abs(mean - labels.numbers(*GAZE)[row]).max() < CONSENSUS_DEG
        why = "; it is the mean of longitudes and of latitudes" if same else ""
        return f"{off[row]:.4g} deg from the mean of its {labels.counts[row]} annotations{why}"

    yield from labels.found(bad, evidence)


@rule("consensus-missing", "error", needs=[*GAZE, *POINTS], fix="Store both, or neither where the target is unknown.")
def consensus_missing(labels: Labels) -> Iterator[Found]:
    """A row with annotations has a consensus, unless they cancel out; a row without has none."""
    known = np.isfinite(labels.gazes).all(axis=1)
    with np.errstate(invalid="ignore"):
        has_mean = np.linalg.norm(labels.resultants, axis=1) > NO_MEAN
    without, alone = has_mean & ~known, known & (labels.counts == 0)
    yield from labels.found(
        without | alone,
        lambda row: "a consensus, but no annotation" if alone[row] else f"{labels.counts[row]} annotations, but no consensus",
    )


@rule("annotators", "error", needs=["gaze_annotators", *POINTS], fix="Name who gave each annotation, or nobody.")
def annotators(labels: Labels) -> Iterator[Found]:
    """Either every annotation has its annotator, or none has."""
    named = np.asarray(pc.list_value_length(labels.table.column("gaze_annotators")).to_numpy())
    bad = (named > 0) & (named != labels.counts)
    yield from labels.found(bad, lambda row: f"{named[row]} annotators, {labels.counts[row]} annotations")


@rule("annotator-twice", "warning", needs=["gaze_annotators"], fix="Keep one annotation of each annotator, or name them apart.")
def annotator_twice(labels: Labels) -> Iterator[Found]:
    """An annotator annotates a person once."""
    column = labels.table.column("gaze_annotators").combine_chunks()
    owner = np.repeat(np.arange(len(labels)), pc.list_value_length(column).to_numpy(zero_copy_only=False))
    names = np.asarray(pc.list_flatten(column).to_numpy(zero_copy_only=False), dtype=object)
    twice = pd.DataFrame({"row": owner, "name": names}).duplicated().to_numpy()
    who = dict(zip(owner[twice].tolist(), names[twice].tolist(), strict=True))
    yield from labels.found(np.array(sorted(who), dtype=np.intp), lambda row: f"{who[row]!r} annotated more than once")


@rule(
    "gaze-in-own-head", "warning", needs=[*GAZE, *HEAD, "head_radius_deg"],
    fix="Look at it: the label may be the head's, or of what the head hides.",
)  # fmt: skip
def in_own_head(labels: Labels) -> Iterator[Found]:
    """Nobody looks at their own head: the target is further from its middle than its radius."""
    radius, angle = labels.numbers("head_radius_deg"), np.degrees(sphere.angle_between(labels.heads, labels.gazes))
    yield from labels.found(
        (angle < radius) & (radius <= LARGEST_DEG),
        lambda row: f"{angle[row]:.3g} deg from the middle of the head, whose radius is {radius[row]:.3g} deg",
    )


@rule("in-frame-without-gaze", "error", needs=["in_frame", *POINTS], fix="Add the annotations, or say that it is out of frame.")
def in_frame_without_gaze(labels: Labels) -> Iterator[Found]:
    """Somebody whose target is in the photo has an annotation of it."""
    yield from labels.found(labels.flags("in_frame") & (labels.counts == 0), lambda _: "in_frame is true, without annotations")


def _beyond(labels: Labels) -> FloatArray:
    """How far (k,) annotations lie outside their photos, pixels; NaN where the photo is not known."""
    beyond = labels.cameras.beyond(labels.owner, labels.point_pixels)
    beyond[~labels.cameras.known()[labels.owner]] = np.nan
    return beyond


@rule(
    "in-frame-outside-photo", "error", needs=["in_frame", *POINTS, *PHOTO],
    fix="Move the annotation into the photo, or say that the target is out of frame.",
)  # fmt: skip
def in_frame_outside_photo(labels: Labels) -> Iterator[Found]:
    """Annotations of a target in the photo lie in the photo."""
    beyond = _beyond(labels)
    off = labels.flags("in_frame")[labels.owner] & (beyond > slack(labels)[labels.owner])
    number = np.bincount(labels.owner[off], minlength=len(labels))
    worst = np.zeros(len(labels))
    np.maximum.at(worst, labels.owner[off], beyond[off])
    yield from labels.found(
        number > 0, lambda row: f"{number[row]} of {labels.counts[row]} annotations: {outside_by(worst[row])}"
    )


@rule(
    "out-of-frame-inside-photo", "error", needs=["in_frame", *POINTS, *PHOTO],
    fix="Say that the target is in frame, or move the annotations beyond the photo's edge.",
)  # fmt: skip
def out_of_frame_inside_photo(labels: Labels) -> Iterator[Found]:
    """Annotations of a target outside the photo lie outside the photo."""
    beyond = _beyond(labels)
    width, height = labels.cameras.sizes()[labels.owner].T
    x, y = labels.point_pixels.T
    deep = np.minimum(np.minimum(x, width - x), np.minimum(y, height - y))
    inside = np.bincount(labels.owner[(beyond == 0.0) & (deep > slack(labels)[labels.owner])], minlength=len(labels))
    bad = ~labels.flags("in_frame") & (inside > 0)
    yield from labels.found(bad, lambda row: f"in_frame is false; {inside[row]} of {labels.counts[row]} annotations lie inside")


@rule("gaze-at-default", "warning", needs=[*POINTS, *PHOTO], fix="Look at it: it may stand for a label that is missing.")
def gaze_at_default(labels: Labels) -> Iterator[Found]:
    """No annotation is exactly at the panorama's middle, at a pole, on the seam, or in a corner of its photo."""
    lon, lat = labels.points_deg.T
    places = {
        "at the middle of the panorama": (np.abs(lon) < DEFAULT_DEG) & (np.abs(lat) < DEFAULT_DEG),
        "at a pole": np.abs(np.abs(lat) - 90.0) < DEFAULT_DEG,
        "on the seam": np.abs(np.abs(lon) - 180.0) < DEFAULT_DEG,
    }
    size = labels.cameras.sizes()[labels.owner]
    share = labels.point_pixels / size
    flat = ~labels.cameras.is_panorama()[labels.owner]
    places["in a corner of its photo"] = flat & np.all(np.abs(share - np.rint(share)) < 1e-9, axis=1)
    reasons: dict[int, str] = {}
    for where, mask in places.items():
        for row in np.unique(labels.owner[mask]).tolist():
            reasons.setdefault(row, f"an annotation lies exactly {where}")
    yield from labels.told(reasons)
