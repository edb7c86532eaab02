"""What a report on a dataset counts: the columns it needs of every row, densities, and an example of each condition.

Conventions
-----------
Angles are degrees. Densities are per degree and integrate to 1. Only the columns that are needed are read, names as categories,
so that a dataset of 100,000 people and more fits in memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from srgaze360 import sphere
from srgaze360.dataset import ANNOTATIONS_FILE

WHOLE = "equirectangular"  # lens of a photo that is a whole panorama
SEPARATOR = ";"

_NAMES = ("panorama_id", "split", "suite", "condition", "source", "source_image", "source_person", "cluster_id", "lens",
          "background", "head_band", "gaze_band")  # fmt: skip
_NUMBERS = ("head_lon_deg", "head_lat_deg", "gaze_lon_deg", "gaze_lat_deg", "pitch_deg", "yaw_deg", "roll_deg",
            "tilt_pitch_deg", "tilt_roll_deg", "tilt_yaw_deg", "crosses_seam", "near_pole", "contains_pole", "photos",
            "minification", "worst_minification", "fold_back", "footprint", "in_frame")  # fmt: skip
_LISTS = ("lens_params", "repairs")


def read_rows(root: Path) -> pd.DataFrame:
    """Read what a report needs of the annotations in folder ``root``, one row per person on a panorama.

    Names are categories, lists are joined by :data:`SEPARATOR`, and ``arc_deg`` is the angle from head to target (NaN where the
    target's direction is unknown).
    """
    table = pq.read_table(root / ANNOTATIONS_FILE, columns=[*_NAMES, *_NUMBERS, *_LISTS], read_dictionary=list(_NAMES))
    for name in _LISTS:
        joined = pc.binary_join(table.column(name).cast(pa.list_(pa.string())), SEPARATOR)
        table = table.set_column(table.column_names.index(name), name, joined.dictionary_encode())
    rows: pd.DataFrame = table.to_pandas()
    head, gaze = (
        sphere.direction_from_lonlat(*(np.radians(rows[f"{end}_{angle}_deg"].to_numpy(float)) for angle in ("lon", "lat")))
        for end in ("head", "gaze")
    )
    return rows.assign(arc_deg=np.degrees(sphere.angle_between(head, gaze)))


def density(values: ArrayLike, edges: sphere.FloatArray) -> sphere.FloatArray:
    """Share of the finite ``values`` (degrees, within the edges) in each bin, per degree; zeros if there are none."""
    known = np.asarray(values, dtype=np.float64)
    known = np.clip(known[np.isfinite(known)], edges[0], edges[-1])  # 90 degrees and a rounding error
    return np.asarray(np.histogram(known, edges)[0] / (max(known.size, 1) * np.diff(edges)))


def uniform_latitude(lat_deg: ArrayLike) -> sphere.FloatArray:
    """Density per degree of the latitude of directions spread evenly over the sphere: cos(lat) / 2 per radian."""
    return np.asarray(np.cos(np.radians(lat_deg)) * np.pi / 360.0)


def uniform_arc(arc_deg: ArrayLike) -> sphere.FloatArray:
    """Density per degree of the angle between any head and a target anywhere on the sphere: sin(arc) / 2 per radian."""
    return np.asarray(np.sin(np.radians(arc_deg)) * np.pi / 360.0)


def examples(rows: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The panorama that stands for each (suite, condition), by id.

    Known targets come first. Within a suite one photo is shown under every condition where it can be, since that is what the
    suite compares; of several, and where it cannot be, the smallest ``panorama_id`` decides, which is a hash.
    """
    photo = ["source", "source_image"]
    known = rows.assign(known=rows["arc_deg"].notna())
    places = known.groupby(["suite", "condition", *photo, "panorama_id"], observed=True)["known"].any().reset_index()
    places["panorama_id"] = places["panorama_id"].astype(str)
    photos = places.groupby(["suite", *photo], observed=True)
    ranked = photos.agg(known=("known", "sum"), places=("condition", "nunique"), first=("panorama_id", "min")).reset_index()
    favourites = ranked.sort_values(["known", "places", "first"], ascending=[False, False, True]).drop_duplicates("suite")
    places = places.merge(favourites[["suite", *photo]].assign(favourite=True), how="left", on=["suite", *photo])
    places["favourite"] = places["favourite"].notna()
    places = places.sort_values(["known", "favourite", "panorama_id"], ascending=[False, False, True])
    chosen = places.drop_duplicates(["suite", "condition"])
    return {(s, c): p for s, c, p in zip(chosen["suite"], chosen["condition"], chosen["panorama_id"], strict=True)}
