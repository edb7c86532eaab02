"""Predictions shown beside labels: read from files, and held to be of the dataset under review.

Conventions
-----------
A file is of one split; people of others have no prediction from it. Names are those of the predictors, told apart by a number
where two files have the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from srgaze360.dataset import Dataset
from srgaze360.errors import InputError, first_ids
from srgaze360.predictions import Predictions, read_predictions


class Prediction(NamedTuple):
    """Where a predictor says that a person looks (degrees), and whether it has a heatmap."""

    name: str
    lon_deg: float
    lat_deg: float
    heatmap: bool


@dataclass(frozen=True)
class Predicted:
    """The predictions of one file, by person."""

    name: str
    rows: dict[str, int]
    points: NDArray[np.float64]
    heatmaps: NDArray[np.float16] | None

    def of(self, sample_id: str) -> Prediction | None:
        """The prediction for a person, if there is one."""
        row = self.rows.get(sample_id)
        if row is None:
            return None
        lon, lat = self.points[row].tolist()
        return Prediction(self.name, lon, lat, self.heatmaps is not None)

    def heatmap(self, sample_id: str) -> NDArray[np.float16] | None:
        """The heatmap for a person (H, W), if there is one."""
        row = self.rows.get(sample_id)
        return None if row is None or self.heatmaps is None else self.heatmaps[row]


def read_all(paths: Sequence[Path], data: Dataset) -> list[Predicted]:
    """Predictions of files for a whole dataset, whoever is under review, in the order of the files.

    Raises
    ------
    InputError
        One cannot be read, or does not fit the dataset: other labels or version, an unknown split, photos instead of the
        sphere, people who are not there, missing or there twice, points that are none.
    """
    found: list[Predicted] = []
    for path in paths:
        predictions = read_predictions(path)
        _check(predictions, path, data)
        name = predictions.header.predictor.name
        taken = {one.name for one in found}
        number = 2
        while name in taken:
            name, number = f"{predictions.header.predictor.name} ({number})", number + 1
        rows = {sample_id: row for row, sample_id in enumerate(predictions.table["sample_id"])}
        found.append(Predicted(name, rows, predictions.points, predictions.heatmaps))
    return found


def _check(predictions: Predictions, path: Path, data: Dataset) -> None:
    header, info = predictions.header, data.info
    if header.frame != "sphere":
        raise InputError(f"Expected predictions on the sphere in {path}, found ones in photos. Predict on the dataset.")
    if (header.dataset.name, header.dataset.version, header.dataset.digest) != (info.name, info.version, info.label_digest):
        raise InputError(
            f"Expected predictions for {info.name} {info.version} (label digest {info.label_digest[:12]}) in {path}, found "
            f"them for {header.dataset.name} {header.dataset.version} ({header.dataset.digest[:12]}). Predict on this dataset."
        )
    there = data.annotations["sample_id"][data.annotations["split"] == header.split]
    if there.empty:
        raise InputError(f"Expected predictions of a split of {data.root} in {path}, found them of {header.split!r}.")
    ids = predictions.table["sample_id"]
    points = predictions.points
    bad = pd.Series(~np.isfinite(points).all(axis=1) | (np.abs(points) > [360.0, 90.0]).any(axis=1))
    faults = {
        "of people who are not in that split": ids[~ids.isin(set(there))],
        "of people who are there twice": ids[ids.duplicated()],
        "whose direction is none": ids[bad],
        "missing": there[~there.isin(set(ids))],
    }
    if told := [f"{len(names)} {fault}: {first_ids(names)}" for fault, names in faults.items() if len(names)]:
        raise InputError(
            f"Expected a prediction for everybody in split {header.split} in {path}, found {'; '.join(told)}. Run `srgaze360 "
            "submission check` on it."
        )
