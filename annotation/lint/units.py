"""The rule of units: radians for degrees, latitude for longitude, pixels for fractions.

Conventions
-----------
A unit cannot be proved from one number, but the columns of a dataset say many things twice: the head is the middle of its box,
the consensus the mean of its annotations, heads and targets lie inside their photos, a camera has its field of view. Where a
column contradicts the other as it stands for most rows, and agrees with it when read in another unit, that is the unit. Fewer
than :data:`LEAST` rows prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from annotation.lint.labels import BOX, GAZE, HEAD, PHOTO, POINTS, Labels
from annotation.lint.registry import Found, rule
from srgaze360 import headbox, sphere
from srgaze360.placement import POSE, world_from_photo
from srgaze360.sphere import FloatArray

LEAST = 10
RADIANS, SWAPPED = "radians", "latitude and longitude in each other's place"
_INSIDE = 1.0  # pixels by which a head or target may lie outside its photo


class Doubt(NamedTuple):
    """Columns that may be in another unit, the columns that can tell, and how.

    ``misses`` gives, by reading, what the columns miss by, of which 1 is too much: 0 is perfect. The reading as it stands comes
    first.
    """

    columns: tuple[str, ...]
    witnesses: tuple[str, ...]
    misses: Callable[[Labels], dict[str, float]]


def _direction(lon: ArrayLike, lat: ArrayLike) -> dict[str, FloatArray]:
    """Directions of two columns under every reading."""
    lon, lat = np.asarray(lon), np.asarray(lat)
    return {
        "": sphere.direction_from_lonlat(np.radians(lon), np.radians(lat)),
        RADIANS: sphere.direction_from_lonlat(lon, lat),
        SWAPPED: sphere.direction_from_lonlat(np.radians(lat), np.radians(lon)),
    }


def _median(values: FloatArray) -> float:
    values = values[~np.isnan(values)]
    return float(np.median(values)) if len(values) >= LEAST else np.nan


def _apart(readings: dict[str, FloatArray], truth: FloatArray, tolerance_deg: float) -> dict[str, float]:
    """Median angle of every reading to the truth, in units of a tolerance."""
    return {name: _median(np.degrees(sphere.angle_between(read, truth))) / tolerance_deg for name, read in readings.items()}


def _boxes(labels: Labels) -> dict[str, float]:
    u = labels.boxes[:, [0, 2]]
    size = labels.numbers("width")[:, None]
    return {"": _median(np.max(np.abs(u), axis=1) / 4.0), "pixels": _median(np.max(np.abs(u / size), axis=1) / 4.0)}


def _heads(labels: Labels) -> dict[str, float]:
    u0, v0, u1, v1 = labels.boxes.T
    good = (u0 >= 0.0) & (u0 < 1.0) & (u1 > u0) & (u1 <= u0 + 1.0) & (v0 >= 0.0) & (v1 > v0) & (v1 <= 1.0)
    middle = np.full((len(labels), 3), np.nan)
    middle[good] = headbox.centre(labels.boxes[good])
    return _apart(_direction(*labels.numbers(*HEAD).T), middle, 5.0)


def _consensus(labels: Labels) -> dict[str, float]:
    return _apart(_direction(*labels.numbers(*GAZE).T), sphere.normalise(labels.resultants), 1.0)


def _points(labels: Labels) -> dict[str, float]:
    """Annotations, where each row has one or they are near each other, are near the consensus."""
    return _apart(_direction(*labels.points_deg.T), labels.gazes[labels.owner], 10.0)


def _outside(labels: Labels, rows: np.ndarray, local: FloatArray) -> float:
    """Share of directions (k, 3) of the camera frames of ``rows`` that lie outside the photos; 1 is half of them."""
    if len(rows) < LEAST:
        return np.nan
    beyond = labels.cameras.beyond(rows, labels.cameras.project(rows, local).pixels)
    return 2.0 * float(np.mean(beyond > _INSIDE))


def _all_gaze(labels: Labels) -> dict[str, float]:
    """Annotations of targets in the photo, which the consensus agrees with, lie in the photo."""
    told = labels.flags("in_frame")[labels.owner] & ~labels.cameras.is_panorama()[labels.owner]
    rows = labels.owner[told]
    turned = labels.rotations[rows]
    readings = _direction(*labels.points_deg[told].T)
    return {name: _outside(labels, rows, np.einsum("kji,kj->ki", turned, read)) for name, read in readings.items()}


def _pose(labels: Labels) -> dict[str, float]:
    """Heads lie in the photo."""
    rows = np.flatnonzero(~labels.cameras.is_panorama())
    angles = labels.numbers(*POSE)[rows]
    misses = {}
    for name, read in (("", angles), (RADIANS, np.degrees(angles))):
        misses[name] = _outside(labels, rows, np.einsum("kji,kj->ki", world_from_photo(read), labels.heads[rows]))
    return misses


def _field_of_view(labels: Labels) -> dict[str, float]:
    told, true = labels.numbers("hfov_deg"), np.degrees(labels.cameras.fields_of_view()[0])
    return {"": _median(np.abs(told - true)), RADIANS: _median(np.abs(np.degrees(told) - true))}


def _head_radius(labels: Labels) -> dict[str, float]:
    """A head's radius is about half the height of its box."""
    told, height = labels.numbers("head_radius_deg"), 90.0 * (labels.boxes[:, 3] - labels.boxes[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: _median(np.abs(np.log(read / height))) for name, read in (("", told), (RADIANS, np.degrees(told)))}


DOUBTS: tuple[Doubt, ...] = (
    Doubt(BOX, ("width",), _boxes),
    Doubt(HEAD, BOX, _heads),
    Doubt(("head_radius_deg",), BOX, _head_radius),
    Doubt(GAZE, POINTS, _consensus),
    Doubt(POINTS, GAZE, _points),
    Doubt(("hfov_deg",), ("camera",), _field_of_view),
    Doubt(POSE, ("camera", *HEAD), _pose),
    Doubt((*POINTS, *GAZE), (*PHOTO, "in_frame"), _all_gaze),
)


@rule(
    "units", "error", structural=True, needs=BOX,
    fix="Convert the columns to what their names say: degrees, longitude to the right, latitude up, boxes in fractions.",
)  # fmt: skip
def units(labels: Labels) -> Iterator[Found]:
    """Columns are in their units: most rows agree with what other columns say of the same thing."""
    spoiled = set(labels.spoiled)
    for doubt in DOUBTS:
        if spoiled & {*doubt.columns, *doubt.witnesses}:
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            given, *others = doubt.misses(labels).items()
        better = [(name, miss) for name, miss in others if miss < 0.5 and given[1] > 1.0 and miss < given[1] / 4.0]
        if better:
            name = min(better, key=lambda pair: pair[1])[0]
            spoiled |= set(doubt.columns)
            yield Found("", "", f"{', '.join(doubt.columns)}: {name}, by most of {len(labels)} rows", doubt.columns)
