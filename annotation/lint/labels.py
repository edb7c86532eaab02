"""The labels of a dataset as arrays, read leniently: what the schema forbids is noted, not refused, so that rules can say it.

Conventions
-----------
n rows that can be read: those without nulls where the schema has none, and whose numbers are finite. Directions are unit
vectors, angles radians; boxes are fractions (n, 4). Annotations are flat: (k, 3) with ``owner`` (k,), the row each belongs to.
Photo pixels are continuous, (0, 0) at the upper left corner. Everything is computed once, when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from annotation.cameras import Cameras, Rows
from annotation.lint.registry import Found
from annotation.lint.survey import Seen, survey
from srgaze360 import sphere
from srgaze360.console import Advance, silent
from srgaze360.dataset import ANNOTATIONS_FILE, COLUMNS, DatasetInfo, read_info, read_manifest
from srgaze360.errors import InputError
from srgaze360.placement import POSE, world_from_photo
from srgaze360.sphere import BoolArray, FloatArray

BOX = ("head_u0", "head_v0", "head_u1", "head_v1")
HEAD = ("head_lon_deg", "head_lat_deg")
GAZE = ("gaze_lon_deg", "gaze_lat_deg")
POINTS = ("gaze_points_deg",)
PHOTO = (*POSE, "camera")  # what leads from the sphere to the pixels of the photo
PERSON = ("source", "source_image", "source_person")
# Measured on the lens, and NaN where it has no ray there.
MAY_BE_NAN = ("hfov_deg", "minification", "worst_minification")


@dataclass(frozen=True)
class Labels:
    """Labels as the rules of lint see them; open them with :meth:`open`.

    Attributes
    ----------
    root, info
        The dataset's folder and record.
    raw
        The table as stored.
    table
        Its rows that can be read, of the columns that could be brought to their types.
    misfits
        What is wrong with columns, in words, by name.
    unreadable
        Why rows of ``raw`` cannot be read, by their number.
    spoiled
        Columns that are of no use.
    """

    root: Path
    info: DatasetInfo
    raw: pa.Table
    table: pa.Table
    misfits: Mapping[str, str]
    unreadable: Mapping[int, str]
    spoiled: frozenset[str] = frozenset()
    advance: Advance = field(default=silent, compare=False)

    @classmethod
    def open(cls, root: Path, advance: Advance = silent) -> Labels:
        """Read the dataset in folder ``root``; ``advance`` is told the number of panoramas just opened, if any are.

        Raises
        ------
        InputError
            There is no dataset, or its table is no Parquet file.
        """
        info = read_info(root)
        path = root / ANNOTATIONS_FILE
        try:
            raw = pq.read_table(path)
        except FileNotFoundError:
            raise InputError(f"Expected {path}, but there is no such file. Build the dataset again.") from None
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"Expected a Parquet file at {path}, but it cannot be read: {error}. Build it again.") from None
        typed, misfits = _typed(raw)
        unreadable = _unreadable_rows(typed)
        kept = np.ones(len(typed), dtype=bool)
        kept[list(unreadable)] = False
        lost = frozenset(name for name in COLUMNS if name not in typed.column_names)
        return cls(root, info, raw, typed.filter(pa.array(kept)).combine_chunks(), misfits, unreadable, lost, advance)

    def __len__(self) -> int:
        return len(self.table)

    # --- columns ------------------------------------------------------------------------------------------------------

    def numbers(self, *names: str) -> FloatArray:
        """Columns of numbers: (n,) for one name, (n, k) for k; null is NaN."""
        columns = [np.asarray(self.table.column(name).to_numpy(), dtype=np.float64) for name in names]
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=-1)

    def flags(self, name: str) -> BoolArray:
        """A column of truth values (n,)."""
        return np.asarray(self.table.column(name).to_numpy(), dtype=bool)

    def texts(self, name: str) -> NDArray[np.object_]:
        """A column of text (n,)."""
        return np.asarray(self.table.column(name).to_numpy(), dtype=object)

    def codes(self, *names: str) -> NDArray[np.intp]:
        """Number (n,) of each row's combination of texts: equal where all columns ``names`` are."""
        codes = np.zeros(len(self), dtype=np.int64)
        for name in names:
            values = pc.dictionary_encode(self.table.column(name)).combine_chunks()
            own = values.indices.to_numpy(zero_copy_only=False).astype(np.int64)
            codes = pd.factorize(codes * (len(values.dictionary) + 1) + own)[0].astype(np.int64)
        return codes.astype(np.intp)

    @cached_property
    def sample_ids(self) -> NDArray[np.object_]:
        """Ids (n,) of the people."""
        return self.texts("sample_id")

    @cached_property
    def panorama_ids(self) -> NDArray[np.object_]:
        """Ids (n,) of the panoramas."""
        return self.texts("panorama_id")

    @cached_property
    def image_paths(self) -> NDArray[np.object_]:
        """Paths (n,) of the panoramas, as stored."""
        return self.texts("image_path")

    @cached_property
    def sizes(self) -> NDArray[np.intp]:
        """Width and height (n, 2) of the panoramas, as stored."""
        return self.numbers("width", "height").astype(np.intp)

    def found(self, where: BoolArray | Rows, evidence: Callable[[int], str]) -> Iterator[Found]:
        """Findings for rows, given as a mask (n,) or by number, with the evidence in words."""
        rows = np.flatnonzero(where) if where.dtype == bool else where
        for row in rows.tolist():
            yield Found(self.sample_ids[row], self.panorama_ids[row], evidence(row))

    def told(self, reasons: Mapping[int, str]) -> Iterator[Found]:
        """Findings for rows by number, each with its evidence in words."""
        yield from self.found(np.array(sorted(reasons), dtype=np.intp), reasons.__getitem__)

    # --- on the sphere ------------------------------------------------------------------------------------------------

    @cached_property
    def heads(self) -> FloatArray:
        """Directions (n, 3) of the heads."""
        return self._directions(*HEAD)

    @cached_property
    def gazes(self) -> FloatArray:
        """Directions (n, 3) of the consensus; NaN where unknown."""
        return self._directions(*GAZE)

    def _directions(self, lon: str, lat: str) -> FloatArray:
        return sphere.direction_from_lonlat(np.radians(self.numbers(lon)), np.radians(self.numbers(lat)))

    @cached_property
    def boxes(self) -> FloatArray:
        """Head boxes (n, 4) as stored."""
        return self.numbers(*BOX)

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """Number (n,) of annotations of each row."""
        lengths = pc.list_value_length(self.table.column("gaze_points_deg"))
        return np.asarray(lengths.to_numpy(), dtype=np.intp)

    @cached_property
    def owner(self) -> Rows:
        """Row (k,) of each annotation."""
        return np.repeat(np.arange(len(self), dtype=np.intp), self.counts)

    @cached_property
    def points_deg(self) -> FloatArray:
        """Longitude and latitude (k, 2) of every annotation, degrees as stored."""
        column = self.table.column("gaze_points_deg").combine_chunks()
        return np.asarray(pc.list_flatten(pc.list_flatten(column)).to_numpy(zero_copy_only=False)).reshape(-1, 2)

    @cached_property
    def points(self) -> FloatArray:
        """Directions (k, 3) of the annotations."""
        lonlat = np.radians(self.points_deg)
        return sphere.direction_from_lonlat(lonlat[:, 0], lonlat[:, 1])

    @cached_property
    def resultants(self) -> FloatArray:
        """Vector mean (n, 3) of each row's annotations, not normalised; NaN without any."""
        sums = np.stack([np.bincount(self.owner, axis, len(self)) for axis in self.points.T], axis=-1)
        with np.errstate(invalid="ignore"):
            return np.asarray(sums / self.counts[:, None])

    # --- in the photo -------------------------------------------------------------------------------------------------

    @cached_property
    def cameras(self) -> Cameras:
        """The cameras of the rows."""
        return Cameras(self.texts("camera").tolist())

    @cached_property
    def rotations(self) -> FloatArray:
        """world_from_photo (n, 3, 3): the sphere's tilt after the camera's own pose."""
        return world_from_photo(self.numbers(*POSE))

    def pixels(self, rows: Rows, directions: FloatArray) -> FloatArray:
        """Pixels (k, 2), in the photos of ``rows`` (k,), of directions (k, 3) of the sphere; NaN where the lens has none."""
        local = np.einsum("kji,kj->ki", self.rotations[rows], directions)
        return self.cameras.project(rows, local).pixels

    @cached_property
    def point_pixels(self) -> FloatArray:
        """Photo pixels (k, 2) of the annotations."""
        return self.pixels(self.owner, self.points)

    # --- the dataset's other files ------------------------------------------------------------------------------------

    @cached_property
    def first_rows(self) -> Rows:
        """The first row (p,) of every panorama, in the order of the table."""
        return np.flatnonzero(~pd.Series(self.panorama_ids).duplicated().to_numpy())

    @cached_property
    def panoramas(self) -> Sequence[Seen]:
        """What opening every panorama showed, in the order of :attr:`first_rows`."""
        return survey(self)

    @cached_property
    def manifest(self) -> Mapping[str, Mapping[str, Any]] | str:
        """Entries of the manifest by panorama, or why it cannot be used."""
        try:
            return {entry["panorama_id"]: entry for entry in read_manifest(self.root)}
        except InputError as error:
            return str(error)


# --- reading ----------------------------------------------------------------------------------------------------------


def _typed(raw: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    """The columns of the schema that are there and can be brought to their types; what is wrong with the others."""
    columns, misfits = {}, {}
    for name, column in COLUMNS.items():
        count = raw.column_names.count(name)
        if count != 1:
            misfits[name] = "column is missing" if not count else f"column is there {count} times"
            continue
        found = raw.column(name)
        if found.type != column.type:
            misfits[name] = f"column is {found.type}, not {column.type}"
            try:
                found = found.cast(column.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                continue
        columns[name] = found
    if "sample_id" not in columns or "panorama_id" not in columns:
        raise InputError(
            f"Expected the columns sample_id and panorama_id of a dataset, found {', '.join(raw.column_names) or 'none'}: "
            "without them no finding could say where it is. Add them, or build the dataset again."
        )
    return pa.table(columns), misfits


def _unreadable_rows(table: pa.Table) -> dict[int, str]:
    """Why rows cannot be read, by number: nulls, numbers that are not finite, points that are not pairs."""
    reasons: dict[int, list[str]] = {}

    def note(rows: Rows, reason: str) -> None:
        for row in rows.tolist():
            reasons.setdefault(row, []).append(reason)

    for name in table.column_names:
        column = table.column(name)
        if not COLUMNS[name].nullable and column.null_count:
            note(np.flatnonzero(column.is_null().to_numpy()), f"{name} is null")
        if pa.types.is_floating(column.type):
            numbers = column.to_numpy()
            allowed = column.is_null().to_numpy() | (np.isnan(numbers) if name in MAY_BE_NAN else False)
            note(np.flatnonzero(~np.isfinite(numbers) & ~allowed), f"{name} is not a finite number")
    if "gaze_points_deg" in table.column_names:
        note(_odd_points(table.column("gaze_points_deg")), "gaze_points_deg holds what is no pair of finite numbers")
    if set(GAZE) <= set(table.column_names):
        known = [table.column(name).is_valid().to_numpy() for name in GAZE]
        note(np.flatnonzero(known[0] != known[1]), "one of gaze_lon_deg and gaze_lat_deg is null, the other is not")
    return {row: "; ".join(dict.fromkeys(reasons[row])) for row in sorted(reasons)}


def _odd_points(column: pa.ChunkedArray) -> Rows:
    """Rows with an annotation that is null, is not two numbers, or has one that is not finite."""
    outer = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(outer), 0).to_numpy(zero_copy_only=False)
    pairs = pc.list_flatten(outer)
    owner = np.repeat(np.arange(len(outer), dtype=np.intp), lengths)
    sizes = pc.fill_null(pc.list_value_length(pairs), -1).to_numpy(zero_copy_only=False)
    values = pc.fill_null(pc.list_flatten(pairs), np.nan).to_numpy(zero_copy_only=False)
    of_pair = np.repeat(np.arange(len(pairs), dtype=np.intp), np.maximum(sizes, 0))
    odd = sizes != 2
    odd[of_pair[~np.isfinite(values)]] = True
    return np.unique(owner[odd])
