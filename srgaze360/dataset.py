"""A built dataset: what it consists of, and reading it (``dataset_writer`` writes it).

Layout
------
::

    <root>/ dataset.yaml  annotations.parquet  panoramas/<split>/...  manifest.jsonl  rejected.csv  README.md  LICENSES.md

``annotations.parquet`` has one row per person on a panorama; :data:`COLUMNS` is its schema. Angles in files are degrees and
say so by ``_deg``; head boxes are fractions of width and height, with u1 > 1 where a box crosses the seam. A dataset opened
here yields, per person, the panorama, the head and the gaze as unit directions (see :mod:`srgaze360.sphere`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srgaze360 import sphere
from srgaze360.errors import InputError, first_ids, suggestion
from srgaze360.files import digest, path_inside
from srgaze360.images import UInt8Array, read_panorama

INFO_FILE = "dataset.yaml"
ANNOTATIONS_FILE = "annotations.parquet"
MANIFEST_FILE = "manifest.jsonl"
REJECTED_FILE = "rejected.csv"
SPLITS = ("train", "val", "test")
# Conditions of a suite whose poses put the seam through arcs from head to gaze: of people whose arc does not cross it, or does.
SEAM_CONDITIONS = ("beside", "across")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the clusters of a large dataset take Python seconds to read
_POINTS = pa.list_(pa.list_(pa.float64()))
_STRINGS = pa.list_(pa.string())


class Column(NamedTuple):
    """A column of ``annotations.parquet``: its type, whether it may be null, and what it says."""

    type: pa.DataType
    nullable: bool
    meaning: str


COLUMNS: Mapping[str, Column] = {
    "sample_id": Column(pa.string(), False, "id of this person on this panorama, stable across machines"),
    "panorama_id": Column(pa.string(), False, "id of the panorama"),
    "image_path": Column(pa.string(), False, "the panorama's file, relative to the dataset"),
    "split": Column(pa.string(), False, "train, val or test; a cluster is in one split only"),
    "suite": Column(pa.string(), False, "the suite of conditions this panorama belongs to"),
    "condition": Column(pa.string(), False, "the condition within the suite"),
    "source": Column(pa.string(), False, "kind of the source dataset"),
    "source_image": Column(pa.string(), False, "the photo, relative to the source's root"),
    "source_person": Column(pa.string(), False, "the person's id within the photo"),
    "cluster_id": Column(pa.string(), False, "unit of splitting and of the bootstrap: photo, clip or scene"),
    "width": Column(pa.int32(), False, "panorama width, pixels"),
    "height": Column(pa.int32(), False, "panorama height, pixels"),
    "head_u0": Column(pa.float64(), False, "left side of the head box, in [0, 1)"),
    "head_v0": Column(pa.float64(), False, "upper side of the head box, in [0, 1]"),
    "head_u1": Column(pa.float64(), False, "right side of the head box; above 1 where the box crosses the seam"),
    "head_v1": Column(pa.float64(), False, "lower side of the head box, in [0, 1]"),
    "head_lon_deg": Column(pa.float64(), False, "longitude of the head: the source box's centre through the camera"),
    "head_lat_deg": Column(pa.float64(), False, "latitude of the head"),
    "head_radius_deg": Column(
        pa.float64(), False, "angular radius of the head: mean angle from its centre to the box's four sides"
    ),
    "gaze_lon_deg": Column(pa.float64(), True, "longitude of the consensus of all annotations; null where unknown"),
    "gaze_lat_deg": Column(pa.float64(), True, "latitude of the consensus"),
    "gaze_points_deg": Column(_POINTS, False, "[longitude, latitude] of every annotation"),
    "gaze_annotators": Column(_STRINGS, False, "who gave each annotation; empty where the source does not say"),
    "in_frame": Column(pa.bool_(), False, "the target lies inside its source photo"),
    "hfov_deg": Column(pa.float64(), False, "horizontal field of view the photo was lifted with, distortion included"),
    "lens": Column(pa.string(), False, "lens model the photo was lifted with"),
    "lens_params": Column(pa.list_(pa.float64()), False, "parameters of the lens model"),
    "camera": Column(pa.string(), False, "the camera as JSON: lens, size, focal lengths, principal point, parameters"),
    "yaw_deg": Column(pa.float64(), False, "yaw of the optical axis before tilt"),
    "pitch_deg": Column(pa.float64(), False, "pitch of the optical axis before tilt"),
    "roll_deg": Column(pa.float64(), False, "roll of the camera before tilt"),
    "tilt_pitch_deg": Column(pa.float64(), False, "pitch of the whole sphere"),
    "tilt_roll_deg": Column(pa.float64(), False, "roll of the whole sphere"),
    "tilt_yaw_deg": Column(pa.float64(), False, "yaw of the whole sphere"),
    "background": Column(pa.string(), False, "what surrounds the photo"),
    "background_images": Column(_STRINGS, False, "the images behind the photos: kind of source and path"),
    "photos": Column(pa.int32(), False, "number of photos on the sphere"),
    "crosses_seam": Column(pa.bool_(), False, "the arc from head to gaze crosses longitude +-180"),
    "near_pole": Column(pa.bool_(), False, "the photo's footprint comes within 10 degrees of a pole"),
    "minification": Column(pa.float64(), False, "photo pixels per panorama pixel at the photo's centre (along its finer axis)"),
    "worst_minification": Column(pa.float64(), False, "the largest of that over centre, corners and sides of the photo"),
    "fold_back": Column(
        pa.float64(), False, "share of the photo's pixels that no ray leads to (beyond fold or rim of the lens), in [0, 1]"
    ),
    "contains_pole": Column(pa.bool_(), False, "a pole lies inside the photo's footprint"),
    "head_band": Column(pa.string(), False, "band of the head's absolute latitude: 0-30 deg, 30-60 deg or 60-90 deg"),
    "gaze_band": Column(pa.string(), True, "band of the gaze's absolute latitude; null where the gaze is unknown"),
    "footprint": Column(pa.float64(), False, "share of the sphere that the photo covers, in [0, 1]"),
    "repairs": Column(_STRINGS, False, "what had to be mended in the source's label"),
}


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ManifestEntry(_Record):
    """A line of ``manifest.jsonl``: a panorama's file and its digests."""

    path: str
    bytes: int
    sha256: str
    panorama_id: str
    label_digest: str
    pixel_digest: str


class SourceInfo(_Record):
    """A source that went into a dataset."""

    kind: str
    title: str
    licence: str
    citation: str
    photos: int
    people: int
    repaired: dict[str, int] = Field(default_factory=dict)


class SplitInfo(_Record):
    """Size of a split, and the clusters it is made of."""

    panoramas: int
    people: int
    clusters: list[str]


class Revision(_Record):
    """A change of labels that a dataset has been through: what it was before, and how many changes of each kind there were."""

    version: str
    label_digest: str
    changes: dict[str, int]


class DatasetInfo(_Record):
    """``dataset.yaml``: what a dataset is and how it came to be; ``revisions`` of its labels since then, oldest first."""

    schema_version: Literal[1] = 1
    name: str
    version: str
    recipe: dict[str, Any]
    recipe_digest: str
    sampler: str
    seed: int
    versions: dict[str, str]
    sources: list[SourceInfo]
    backgrounds: list[SourceInfo] = Field(default_factory=list)
    splits: dict[str, SplitInfo]
    suites: dict[str, list[str]]
    rejected: int
    label_digest: str
    pixel_digest: str
    revisions: list[Revision] = Field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """One person on a panorama. Directions are unit vectors, angles radians.

    ``gaze`` is the consensus, or None where the direction of the target is unknown; ``points`` (m, 3) are the annotations.
    ``row`` holds every column of the annotations.
    """

    sample_id: str
    panorama_path: Path
    head: sphere.FloatArray
    head_box: tuple[float, float, float, float]
    head_radius: float
    gaze: sphere.FloatArray | None
    points: sphere.FloatArray
    in_frame: bool
    row: Mapping[str, Any]

    def panorama(self) -> UInt8Array:
        """Read the panorama: RGB (H, W, 3), uint8."""
        return read_panorama(self.panorama_path)


class GazeTruth(NamedTuple):
    """Ground truth of n samples: padded annotations (n, m, 3) with weights (n, m), 0 where padded; in-frame flags (n,)."""

    points: sphere.FloatArray
    weights: sphere.FloatArray
    in_frame: sphere.BoolArray


@dataclass(frozen=True)
class Dataset:
    """A built dataset, or a selection of its rows. Open one with :meth:`open`."""

    root: Path
    info: DatasetInfo
    annotations: pd.DataFrame

    @classmethod
    def open(cls, root: str | Path) -> Dataset:
        """Open the dataset in folder ``root``.

        Raises
        ------
        InputError
            A file is missing or does not follow the schema.
        """
        root = Path(root)
        return cls(root, read_info(root), read_annotations(root))

    def __len__(self) -> int:
        return len(self.annotations)

    @property
    def splits(self) -> list[str]:
        """Splits that have rows, in the order train, val, test."""
        present = set(self.annotations["split"])
        return [split for split in SPLITS if split in present]

    @property
    def suites(self) -> list[str]:
        """Suites that have rows, sorted."""
        return sorted(set(self.annotations["suite"]))

    @property
    def conditions(self) -> list[tuple[str, str]]:
        """(suite, condition) pairs that have rows, sorted."""
        return sorted(set(zip(self.annotations["suite"], self.annotations["condition"], strict=True)))

    def select(self, *, split: str | None = None, suite: str | None = None, condition: str | None = None) -> Dataset:
        """The rows of one split, suite and condition (each optional).

        Raises
        ------
        InputError
            Nothing in this dataset has that name; what there is, is listed.
        """
        rows = self.annotations
        for column, wanted in (("split", split), ("suite", suite), ("condition", condition)):
            if wanted is None:
                continue
            chosen = rows[rows[column] == wanted]
            if chosen.empty:
                known = sorted(set(rows[column]))
                raise InputError(f"No rows of dataset {self.root} have {column} {wanted!r}. {suggestion(wanted, known)}")
            rows = chosen
        return replace(self, annotations=rows.reset_index(drop=True))

    @cached_property
    def heads(self) -> sphere.FloatArray:
        """Directions (n, 3) of the heads."""
        return _directions(self.annotations["head_lon_deg"], self.annotations["head_lat_deg"])

    @cached_property
    def gazes(self) -> sphere.FloatArray:
        """Directions (n, 3) of the consensus; NaN where unknown."""
        return _directions(self.annotations["gaze_lon_deg"], self.annotations["gaze_lat_deg"])

    def truth(self) -> GazeTruth:
        """All annotations as padded arrays, for the metric protocols."""
        points: list[Any] = list(self.annotations["gaze_points_deg"])
        counts = np.array([len(p) for p in points], dtype=np.int64)
        longest = max(int(counts.max(initial=0)), 1)
        degrees = np.zeros((len(points), longest, 2))
        weights = (np.arange(longest) < counts[:, None]).astype(np.float64)
        if counts.sum():
            degrees[weights > 0.0] = np.concatenate([np.stack(p) for p in points if len(p)])
        lonlat = np.radians(degrees)
        in_frame = self.annotations["in_frame"].to_numpy(dtype=bool)
        return GazeTruth(sphere.direction_from_lonlat(lonlat[..., 0], lonlat[..., 1]), weights, in_frame)

    def samples(self) -> Iterator[Sample]:
        """Yield every person in the order of the annotations."""
        truth = self.truth()
        records: list[dict[str, Any]] = self.annotations.to_dict("records")  # type: ignore[assignment]
        for index, row in enumerate(records):
            gaze = self.gazes[index]
            yield Sample(
                sample_id=row["sample_id"],
                panorama_path=path_inside(self.root, row["image_path"]),
                head=self.heads[index],
                head_box=(row["head_u0"], row["head_v0"], row["head_u1"], row["head_v1"]),
                head_radius=float(np.radians(row["head_radius_deg"])),
                gaze=None if np.isnan(gaze).any() else gaze,
                points=truth.points[index][truth.weights[index] > 0.0],
                in_frame=row["in_frame"],
                row=row,
            )


def _directions(lon_deg: pd.Series, lat_deg: pd.Series) -> sphere.FloatArray:
    lon, lat = (column.to_numpy(dtype=np.float64, na_value=np.nan) for column in (lon_deg, lat_deg))
    return sphere.direction_from_lonlat(np.radians(lon), np.radians(lat))


# --- reading ----------------------------------------------------------------------------------------------------------


def read_info(root: Path) -> DatasetInfo:
    """Read ``dataset.yaml`` of the dataset in folder ``root``."""
    path = root / INFO_FILE
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # noqa: S506 - the safe loader, or its twin in C
        return DatasetInfo.model_validate(content)
    except FileNotFoundError:
        raise InputError(
            f"Expected a built dataset in {root}, but it has no {INFO_FILE}. Give the folder that `srgaze360 build --out` "
            "wrote; if that build was stopped, the same build command resumes it."
        ) from None
    except yaml.YAMLError as error:
        raise InputError(f"Expected YAML in {path}, but it cannot be read: {error}. Build the dataset again.") from None
    except ValidationError as error:
        raise InputError(
            f"Expected the fields of a dataset in {path}, found: {explain(error)}. Build the dataset again."
        ) from None


def read_manifest(root: Path) -> list[dict[str, Any]]:
    """Entries of ``manifest.jsonl`` of the dataset in folder ``root``."""
    path = root / MANIFEST_FILE
    try:
        return [ManifestEntry.model_validate_json(line).model_dump() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise InputError(f"Expected {path}, but there is no such file. Build the dataset again.") from None
    except ValidationError as error:
        raise InputError(f"Expected a manifest entry on every line of {path}, found: {explain(error)}. Build again.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"Expected text in {path}, but it cannot be read: {error}. Build again.") from None


def read_annotations(root: Path) -> pd.DataFrame:
    """Read ``annotations.parquet`` of the dataset in folder ``root``, checked against :data:`COLUMNS`.

    Further columns (facts a source knows about a person) are kept as they are.
    """
    return read_annotations_file(root / ANNOTATIONS_FILE)


def read_annotations_file(path: Path) -> pd.DataFrame:
    """:func:`read_annotations`, of a file by its path."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise InputError(f"Expected {path}, but there is no such file. Run the same `srgaze360 build` command again.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"Expected a Parquet file at {path}, but it cannot be read: {error}. Build the dataset again."
        ) from None
    missing = [name for name in COLUMNS if name not in table.column_names]
    wrong = [
        f"{name} is {table.schema.field(name).type}, not {column.type}"
        for name, column in COLUMNS.items()
        if name not in missing and table.schema.field(name).type != column.type
    ]
    nulls = [name for name, c in COLUMNS.items() if name not in missing and not c.nullable and table.column(name).null_count]
    if missing or wrong or nulls:
        found = (
            [f"missing columns: {first_ids(missing)}"] * bool(missing) + wrong + [f"nulls in: {first_ids(nulls)}"] * bool(nulls)
        )
        raise InputError(f"Expected the columns of a dataset (schema 1) in {path}, found {'; '.join(found)}. Build it again.")
    frame: pd.DataFrame = table.to_pandas()
    repeated = frame["sample_id"][frame["sample_id"].duplicated()]
    if len(repeated):
        raise InputError(f"Expected one row per sample_id in {path}, found {len(repeated)} repeated: {first_ids(repeated)}.")
    return frame


def explain(error: ValidationError) -> str:
    """Describe a pydantic error in one line: where, what, and the value found."""
    lines = []
    for fault in error.errors(include_url=False):
        where = ".".join(map(str, fault["loc"]))
        found = "" if isinstance(fault["input"], (dict, BaseModel)) else f" (found {str(fault['input'])[:60]!r})"
        lines.append(f"{where}: {fault['msg']}{found}" if where else fault["msg"])
    more = f"; and {len(lines) - 4} more" if len(lines) > 4 else ""
    return "; ".join(lines[:4]) + more


# --- digest of labels -------------------------------------------------------------------------------------------------


# Left out are the file name, and figures that describe rather than define, some of which are measured on pixels.
_DESCRIBED = {"image_path", "camera", "minification", "worst_minification", "fold_back", "footprint", "near_pole"}
DIGESTED = tuple(name for name in COLUMNS if name not in _DESCRIBED)


def label_digest(row: Mapping[str, Any]) -> str:
    """Digest of one annotation row's labels and geometry (the columns :data:`DIGESTED`), the same on every machine.

    Angles and fractions are rounded to 1e-6 before hashing.
    """
    return digest({name: _rounded(row[name]) for name in DIGESTED})


def panorama_label_digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Digest of all labels on a panorama, the same on every machine."""
    return digest([label_digest(row) for row in rows])


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return round(value, 6) + 0.0  # -0.0 and 0.0 are one angle
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
