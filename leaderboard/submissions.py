"""Checking a predictions file against a dataset: every fault at once, each with its ids and what to do.

Conventions
-----------
:data:`RULES` is the whole list of what can be wrong. A :class:`Fault` counts distinct sample ids and names the first five in
the order of the file (of the dataset for missing ones); faults of the header have no ids and count 1. Longitudes run from -180
to 180 degrees, both included (they are one meridian); 180 to 360 is refused rather than wrapped, since a silent wrap would also
swallow a longitude in the place of a latitude. Rows are matched by id, never by order. A file that cannot be read at all is
not a matter for this module: :func:`srgaze360.predictions.read_predictions` says why. A submission may be a folder or a zip
(:mod:`leaderboard.deliveries`).

Angles in another unit or order are no fault that can be proved. They are a *note*, with its evidence, where reading them so
brings most predictions much nearer to the heads: people rarely look to the other side of the sphere, and no label is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from leaderboard.deliveries import delivered
from leaderboard.people import Labels, frame_of, key_of
from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.errors import CheckFailed, first_ids
from srgaze360.files import digest_file
from srgaze360.predictions import FRAMES, DatasetKey, FrameName, PredictionHeader, Predictions, read_predictions
from srgaze360.sphere import BoolArray, FloatArray

SHOWN = 5
NEARER_DEG = 5.0  # by which predictions must be nearer to the heads when read otherwise
MAX_HEATMAP_CELLS = 512 * 1024
_CHUNK = 512  # heatmaps looked at together: a few megabytes


class Rule(NamedTuple):
    """Something that must hold: what is expected, and what to do where it does not."""

    expected: str
    remedy: str


RULES: dict[str, Rule] = {
    "dataset-name": Rule("the header names this dataset", "Predict on this dataset, or pass the other with --data."),
    "dataset-version": Rule("the header has the dataset's version", "Predict again on this version of the dataset."),
    "dataset-digest": Rule(
        "the header has the dataset's label digest",
        "The labels differ from those predicted on: run `srgaze360 verify` on the dataset, then predict again.",
    ),
    "frame": Rule(
        "predictions are in the frame of the data: sphere for a built dataset, photo for a source of photos",
        "Pass the data predicted on with --data, or say the frame in the header.",
    ),
    "split": Rule("the header names the split scored", "Pass the split predicted with --split, or predict this one."),
    "heatmap-shape": Rule(
        f"heatmaps are H x W, on the sphere with W = 2 H, and at most {MAX_HEATMAP_CELLS} cells",
        "Resample the heatmaps (64 x 128 on the sphere, 64 x 64 in photos is usual) and say their shape in the header.",
    ),
    "missing-id": Rule("every person of the split has a row", "Predict these people too: a score covers all or nobody."),
    "unknown-id": Rule("every row is a person of the split", "Drop these rows; check that they are not of another split."),
    "duplicate-id": Rule("one row per person", "Keep one row for each of these ids."),
    "not-finite": Rule("the coordinates of points are finite numbers", "Give every person a point: nobody can be left out."),
    "longitude-range": Rule(
        "longitudes are in [-180, 180] degrees", "Subtract 360 from longitudes above 180; make sure that they are degrees."
    ),
    "latitude-range": Rule(
        "latitudes are in [-90, 90] degrees", "Check that longitude and latitude have not changed places, and the unit."
    ),
    "photo-range": Rule(
        "points are in [0, 1], fractions of the photo's width and height",
        "Divide pixels by the photo's size; clip points that lie outside the photo.",
    ),
    "in-frame-score": Rule("in-frame scores are in [0, 1]", "Map the scores into [0, 1], or leave the column out."),
    "heatmap-not-finite": Rule("heatmaps are finite", "Scale to maximum 1 before storing float16, which ends at 65504."),
    "heatmap-negative": Rule("heatmaps are 0 or more", "Store densities, not logits: take the exponential or clip at 0."),
    "heatmap-constant": Rule(
        "heatmaps are not constant (all zero included)",
        "Scale to maximum 1 before float16, which ends at 6e-8; leave heatmaps out if the model has none.",
    ),
}


class Fault(BaseModel):
    """One kind of fault: how many people it concerns, the first five ids, what was found, and what to do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str
    count: int
    ids: list[str]
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        more = f" and {self.count - len(self.ids)} more" if self.count > len(self.ids) else ""
        examples = f": {first_ids(self.ids)}{more}" if self.ids else ""
        return f"[{self.code}] expected: {self.expected}; found: {self.found}{examples}. {self.remedy}"


class CheckReport(BaseModel):
    """What a check of a predictions file found. ``notes`` are remarks that do not make it invalid."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    file_digest: str
    predictor: str
    dataset: DatasetKey
    split: str
    suite: str | None
    expected_people: int
    rows: int
    faults: list[Fault]
    notes: list[str]

    @property
    def valid(self) -> bool:
        """Whether there are no faults."""
        return not self.faults


@dataclass(frozen=True)
class Submission:
    """A checked submission: its predictions aligned to the rows of ``data``, the digest of its file, remarks of the check."""

    predictions: Predictions
    data: Labels
    file_digest: str
    notes: list[str]


def check_file(path: Path, data: Labels, split: str, suite: str | None = None) -> CheckReport:
    """Check a predictions file, or a folder or zip that holds one, against a split (or one suite of it).

    Raises
    ------
    InputError
        The file cannot be read as predictions, or the dataset has no such split or suite.
    """
    with delivered(path) as file:
        return _report(path, file, read_predictions(file), data, split, suite)


def checked(path: Path, data: Labels, split: str, suite: str | None = None) -> Submission:
    """Read a predictions file that must be without fault.

    Returns
    -------
    Submission
        Row i of the predictions belongs to row i of the submission's ``data``, whatever the order in the file.

    Raises
    ------
    CheckFailed
        The file has faults; the message lists all of them.
    InputError
        The file cannot be read as predictions, or the dataset has no such split or suite.
    """
    with delivered(path) as file:
        predictions = read_predictions(file)
        report = _report(path, file, predictions, data, split, suite)
    if report.faults:
        key, lines = report.dataset, "\n".join(f"  {fault}" for fault in report.faults)
        raise CheckFailed(
            f"Expected predictions without fault for split {split!r} of {key.name} {key.version}, found "
            f"{len(report.faults)} kinds of fault in {path}; mend all of them and score again:\n{lines}"
        )
    rows = data.select(split=split, suite=suite)
    place = pd.Index(predictions.table["sample_id"]).get_indexer(pd.Index(rows.annotations["sample_id"]))
    heatmaps = None if predictions.heatmaps is None else predictions.heatmaps[place]
    table = predictions.table.iloc[place].reset_index(drop=True)
    return Submission(Predictions(predictions.header, table, heatmaps), rows, report.file_digest, report.notes)


def _report(path: Path, file: Path, predictions: Predictions, data: Labels, split: str, suite: str | None) -> CheckReport:
    wanted = data.select(split=split, suite=suite)
    notes = []
    if isinstance(wanted, Dataset) and predictions.header.frame == "sphere":
        notes += other_readings(predictions.table, wanted)
    if predictions.heatmaps is None:
        notes.append("No heatmaps: metrics that need them stay blank.")
    if "in_frame_score" not in predictions.table:
        notes.append("No in-frame scores: in-frame average precision stays blank.")
    return CheckReport(
        file=path.name,
        file_digest=digest_file(file),
        predictor=predictions.header.predictor.name,
        dataset=key_of(data),
        split=split,
        suite=suite,
        expected_people=len(wanted),
        rows=len(predictions.table),
        faults=check_predictions(predictions, data, split, suite),
        notes=notes,
    )


def other_readings(table: pd.DataFrame, rows: Dataset) -> list[str]:
    """Notes on predictions whose angles look like radians, or like latitude and longitude in each other's place."""
    place = pd.Index(rows.annotations["sample_id"]).get_indexer(pd.Index(table["sample_id"]))
    lon, lat = (table[name].to_numpy(dtype=np.float64) for name in FRAMES["sphere"].points)
    usable = (place >= 0) & np.isfinite(lon) & np.isfinite(lat)
    if not usable.any():
        return []
    lon, lat, heads = lon[usable], lat[usable], rows.heads[place[usable]]

    def median_deg(lon: FloatArray, lat: FloatArray) -> float:
        return float(np.median(np.degrees(sphere.angle_between(sphere.direction_from_lonlat(lon, lat), heads))))

    given = median_deg(np.radians(lon), np.radians(lat))
    readings = {}
    if np.abs(lon).max() <= np.pi + 0.01 and np.abs(lat).max() <= np.pi / 2.0 + 0.01:
        readings["radians"] = median_deg(lon, lat)
    if np.abs(lon).max() <= 90.0 and np.abs(lat).max() <= 180.0:
        readings["latitude and longitude in each other's place"] = median_deg(np.radians(lat), np.radians(lon))
    return [
        f"Are these {what}? Longitudes run from {lon.min():.4g} to {lon.max():.4g}, latitudes from {lat.min():.4g} to "
        f"{lat.max():.4g}. Read so, half of the predictions are within {median:.1f} degrees of the head; as given, within "
        f"{given:.1f}. The columns are longitude and latitude in degrees."
        for what, median in readings.items()
        if median < min(given / 2.0, given - NEARER_DEG)
    ]


def check_predictions(predictions: Predictions, data: Labels, split: str, suite: str | None = None) -> list[Fault]:
    """All faults of predictions for a split, or for one suite of it, in the order of :data:`RULES`.

    A file may hold more suites of the split than the one asked for.
    """
    known = pd.Index(data.select(split=split).annotations["sample_id"])
    wanted = pd.Index(data.select(split=split, suite=suite).annotations["sample_id"])
    faults = [*_header_faults(predictions.header, key_of(data), split, frame_of(data))]
    faults += _id_faults(predictions.table["sample_id"], known, wanted)
    faults += _value_faults(predictions.table, predictions.header.frame)
    if predictions.heatmaps is not None:
        faults += _heatmap_faults(predictions.heatmaps, predictions.table["sample_id"])
    return sorted(faults, key=lambda fault: list(RULES).index(fault.code))


def _fault(code: str, found: str, ids: pd.Series | pd.Index | None = None) -> Iterator[Fault]:
    """The fault of a header, or of the rows with ``ids`` unless there are none."""
    rule, distinct = RULES[code], [""]
    if ids is not None:
        distinct = [str(item) for item in pd.unique(np.asarray(ids, dtype=object))]
        found = f"{len(distinct)} {found}"
    if distinct:
        shown = [] if ids is None else distinct[:SHOWN]
        yield Fault(code=code, count=len(distinct), ids=shown, found=found, expected=rule.expected, remedy=rule.remedy)


def _header_faults(header: PredictionHeader, key: DatasetKey, split: str, frame: FrameName) -> Iterator[Fault]:
    pairs = {
        "dataset-name": (header.dataset.name, key.name),
        "dataset-version": (header.dataset.version, key.version),
        "dataset-digest": (header.dataset.digest, key.digest),
        "frame": (header.frame, frame),
        "split": (header.split, split),
    }
    for code, (found, wanted) in pairs.items():
        if found != wanted:
            yield from _fault(code, f"{found!r} instead of {wanted!r}")
    height, width = header.heatmap_shape
    flat = header.frame == "photo"
    if min(height, width) < 2 or not (flat or width == 2 * height) or height * width > MAX_HEATMAP_CELLS:
        yield from _fault("heatmap-shape", f"{height} x {width}")


def _id_faults(ids: pd.Series, known: pd.Index, wanted: pd.Index) -> Iterator[Fault]:
    yield from _fault("missing-id", "without a row", wanted[~wanted.isin(ids)])
    yield from _fault("unknown-id", "that the split does not have", ids[~ids.isin(known)])
    yield from _fault("duplicate-id", "with several rows", ids[ids.duplicated()])


class Limits(NamedTuple):
    """What a coordinate may be: the code of the rule, and the smallest and largest value."""

    code: str
    low: float
    high: float


LIMITS: dict[str, Limits] = {
    "gaze_lon_deg": Limits("longitude-range", -180.0, 180.0),
    "gaze_lat_deg": Limits("latitude-range", -90.0, 90.0),
    "gaze_x": Limits("photo-range", 0.0, 1.0),
    "gaze_y": Limits("photo-range", 0.0, 1.0),
}


def _value_faults(table: pd.DataFrame, frame: FrameName) -> Iterator[Fault]:
    ids, points = table["sample_id"], table[list(FRAMES[frame].points)]
    finite = pd.DataFrame(np.isfinite(points))
    yield from _fault("not-finite", "with NaN, an infinity or nothing", ids[~finite.all(axis=1)])
    for name, values in points.items():
        code, low, high = LIMITS[str(name)]
        outside = values[finite[name] & ~values.between(low, high)]
        yield from _fault(code, f"with {name} from {outside.min():.6g} to {outside.max():.6g}", ids[outside.index])
    if "in_frame_score" in table:
        inside = table["in_frame_score"].between(0.0, 1.0)  # False for NaN
        yield from _fault("in-frame-score", "with NaN or a score outside", ids[~inside])


def _heatmap_faults(heatmaps: NDArray[np.float16], ids: pd.Series) -> Iterator[Fault]:
    smallest, largest = np.empty(len(heatmaps), np.float64), np.empty(len(heatmaps), np.float64)
    for start in range(0, len(heatmaps), _CHUNK):
        chunk = heatmaps[start : start + _CHUNK].reshape(-1, int(np.prod(heatmaps.shape[1:])))
        smallest[start : start + _CHUNK] = chunk.min(axis=1)  # NaN where a value is NaN
        largest[start : start + _CHUNK] = chunk.max(axis=1)
    finite: BoolArray = np.isfinite(smallest) & np.isfinite(largest)
    yield from _fault("heatmap-not-finite", "with NaN or an infinity", ids[~finite])
    yield from _fault("heatmap-negative", "with negative values", ids[finite & (smallest < 0.0)])
    yield from _fault("heatmap-constant", "with one value everywhere", ids[finite & (smallest == largest)])
