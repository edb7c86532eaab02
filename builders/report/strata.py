"""What the suites of a dataset drew: how many photos each stratum of the recipe was meant to get, and got.

Conventions
-----------
Counted are *placements*, photos on panoramas, as the annotations have them. Angles are degrees.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from builders.recipe import FLAT_AXES
from builders.report.tally import SEPARATOR
from srgaze360.cameras import Camera
from srgaze360.dataset import ANNOTATIONS_FILE, SPLITS, DatasetInfo

OWN_LENS = "own"
# Axes of recipes whose column bears another name; the rest bear the axis's own.
COLUMN_OF_AXIS = {"latitude_deg": "pitch_deg", "longitude_deg": "yaw_deg"}


class Stratum(NamedTuple):
    """A stratum or level of an axis: the share of photos it was meant to get (None: none), and the photos it got, by split."""

    suite: str
    axis: str
    label: str
    meant: float | None
    photos: dict[str, int]


def strata(out: Path, info: DatasetInfo, photos: pd.DataFrame) -> list[Stratum]:
    """Strata of every suite that draws from strata or levels, and what they got.

    Parameters
    ----------
    out, info
        The dataset's folder and record.
    photos
        One row per placement, of :func:`builders.report.tally.read_rows`, under the row numbers of the file.
    """
    found: list[Stratum] = []
    for suite, content in info.recipe.get("suites", {}).items():
        placed = photos[photos["suite"] == suite]
        draws = {**info.recipe.get("base", {}), **content.get("draw", {})}
        for axis, draw in draws.items():
            idle = axis in content.get("vary", {}) or (content.get("takes") == "panoramas" and axis in FLAT_AXES)
            if isinstance(draw, Mapping) and len(placed) and not idle:
                found += _counted(suite, axis, draw, placed, _values(out, info, axis, draw, placed))
    return found


def _values(out: Path, info: DatasetInfo, axis: str, draw: Mapping[str, Any], placed: pd.DataFrame) -> pd.Series:
    """The value of an axis for each placement: numbers, or names."""
    if axis == "fov_deg":
        return _longer_side_fov(out, placed)
    if axis != "lens":
        return placed[COLUMN_OF_AXIS.get(axis, axis)]
    presets = {(lens["lens"], _trimmed(lens.get("params", ()))): name for name, lens in info.recipe.get("lenses", {}).items()}
    pairs = zip(placed["lens"], placed["lens_params"], strict=True)
    names = [presets.get((lens, _trimmed(map(float, filter(None, text.split(SEPARATOR))))), lens) for lens, text in pairs]
    levels = draw.get("levels", ())
    # the photo's own camera may have any lens
    known = [OWN_LENS if OWN_LENS in levels and name not in levels else name for name in names]
    return pd.Series(known, index=placed.index, dtype=object)


def _trimmed(params: Iterable[float]) -> tuple[float, ...]:
    """Parameters of a lens without the zeros at the end, which may be left out."""
    values = list(params)
    while values and values[-1] == 0.0:
        values.pop()
    return tuple(values)


def _longer_side_fov(out: Path, placed: pd.DataFrame) -> pd.Series:
    """Field of view of each placement's longer side, degrees; the annotations hold the horizontal one.

    The file is read in pieces, because cameras are long texts.
    """
    file = pq.ParquetFile(out / ANNOTATIONS_FILE)
    wanted = np.zeros(file.metadata.num_rows, dtype=bool)
    wanted[placed.index] = True
    found: list[float] = []
    start = 0
    for batch in file.iter_batches(batch_size=8192, columns=["camera"]):
        for text in batch.column(0).filter(wanted[start : start + len(batch)]).to_pylist():
            camera = Camera.from_dict(json.loads(text))
            found.append(float(np.degrees(camera.hfov if camera.width >= camera.height else camera.vfov)))
        start += len(batch)
    return pd.Series(found, index=np.flatnonzero(wanted)).reindex(placed.index)


def _counted(suite: str, axis: str, draw: Mapping[str, Any], placed: pd.DataFrame, values: pd.Series) -> list[Stratum]:
    """The strata or levels of one axis, and what lies in none of them (a level that is solved for has no number)."""
    choices = [tuple(choice) if isinstance(choice, list) else choice for choice in draw.get("strata", draw.get("levels", ()))]
    name = axis.removesuffix("_deg")
    elsewhere = np.ones(len(placed), dtype=bool)
    found: list[Stratum] = []
    for choice, weight in Counter(choices).items():
        inside, label = _members(choice, values, choices)
        if inside.any() or not (isinstance(choice, str) and pd.api.types.is_numeric_dtype(values)):
            elsewhere &= ~inside
            found.append(Stratum(suite, name, label, weight / len(choices), _by_split(placed[inside])))
    if elsewhere.any():
        found.append(Stratum(suite, name, "other", None, _by_split(placed[elsewhere])))
    return found


def _members(choice: Any, values: pd.Series, choices: list[Any]) -> tuple[Any, str]:  # noqa: ANN401 - number, name or pair
    """Which values belong to a stratum or level, (n,) bool, and its label."""
    if isinstance(choice, tuple):
        low, high = choice
        last = high == max(end for _, end in choices)
        rounded = values.to_numpy(float).round(6)  # the last digits went through radians and a focal length
        return (rounded >= low) & ((rounded <= high) if last else (rounded < high)), f"{low:g} to {high:g}°"
    if isinstance(choice, str):
        return values.astype(str).to_numpy() == choice, choice
    turned = (values.to_numpy(float) - choice + 180.0) % 360.0 - 180.0
    return np.abs(turned) < 1e-6, f"{choice:g}°"


def _by_split(placed: pd.DataFrame) -> dict[str, int]:
    return {split: int((placed["split"] == split).sum()) for split in SPLITS}
