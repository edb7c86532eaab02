"""Whom a protocol scores, and what was predicted of them, in either frame: on the sphere or in photos.

Conventions
-----------
:data:`Labels` are the rows of a built dataset, or the people of a source of photos. Arrays are by person, in their order.
Directions (n, 3) on the sphere and points (n, 2) in photos stand in the same place: a protocol knows its frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgaze360.dataset import Dataset
from srgaze360.photo_labels import PhotoLabels, is_source, open_photo_labels
from srgaze360.predictions import DatasetKey, FrameName, Predictions
from srgaze360.predictors import dataset_key
from srgaze360.sphere import BoolArray, FloatArray

Labels = Dataset | PhotoLabels
_CHUNK = 512  # people scored between two reports of progress


class People(NamedTuple):
    """Annotations (n, m, 3 or 2) with weights (n, m), ``in_frame`` (n,), heights and widths of the images (n, 2), pixels.

    ``eyes`` (n, 2) are there in photos alone.
    """

    points: FloatArray
    weights: FloatArray
    in_frame: BoolArray
    image_sizes: NDArray[Any]
    eyes: FloatArray | None

    def part(self, of: slice) -> People:
        """Some of them."""
        eyes = None if self.eyes is None else self.eyes[of]
        return People(self.points[of], self.weights[of], self.in_frame[of], self.image_sizes[of], eyes)


class Answers(NamedTuple):
    """Predicted directions (n, 3) or points (n, 2), and heatmaps (n, H, W) or None."""

    points: FloatArray
    heatmaps: NDArray[Any] | None

    def part(self, of: slice) -> Answers:
        """Those of some people."""
        return Answers(self.points[of], None if self.heatmaps is None else self.heatmaps[of])


def frame_of(labels: Labels) -> FrameName:
    """Where predictions for these people lie."""
    return "photo" if isinstance(labels, PhotoLabels) else "sphere"


def open_labels(data: str, split: str) -> Labels:
    """The built dataset in a folder, or of a source ``KIND=DIR`` the people of a split.

    Raises
    ------
    InputError
        There is no such dataset or source.
    """
    return open_photo_labels(data, split) if is_source(data) else Dataset.open(Path(data))


def key_of(labels: Labels) -> DatasetKey:
    """Which labels these are."""
    return labels.key if isinstance(labels, PhotoLabels) else dataset_key(labels)


def people_of(labels: Labels) -> People:
    """What a protocol is told of people."""
    sizes = labels.annotations[["height", "width"]].to_numpy(dtype=np.int64)
    if isinstance(labels, PhotoLabels):
        inside = labels.annotations["in_frame"].to_numpy(dtype=bool)
        return People(labels.points, labels.weights, inside, sizes, labels.eyes)
    truth = labels.truth()
    return People(truth.points, truth.weights, truth.in_frame, sizes, None)


def answers_of(predictions: Predictions) -> Answers:
    """What was predicted."""
    points = predictions.directions if predictions.header.frame == "sphere" else predictions.points
    return Answers(points, predictions.heatmaps)


def parts(count: int) -> Iterator[slice]:
    """Slices of the people that are scored together."""
    for start in range(0, count, _CHUNK):
        yield slice(start, min(start + _CHUNK, count))
