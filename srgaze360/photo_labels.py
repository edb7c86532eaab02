"""Labels of photos as the planar protocols score them: points in fractions of the photo, straight from a source dataset.

Conventions
-----------
A source of photos is named ``KIND=DIR``, as in ``build --source``, and is found through the registry of sources; what it hands
over is here, so that who scores need not know who reads. A person's id is ``<photo>#<person>``, both as the source names them:
the ``source_image`` and ``source_person`` of built datasets. Points, eyes and head boxes are fractions of the photo's sides.
Where a source has no eyes, the centre of the head box stands for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from srgaze360.errors import InputError, suggestion
from srgaze360.files import digest
from srgaze360.predictions import DatasetKey
from srgaze360.registry import Registry
from srgaze360.sphere import FloatArray

SUITE = "photos"
VERSION = "released"
COLUMNS = ("sample_id", "split", "cluster_id", "image", "person", "width", "height", "head_u0", "head_v0", "head_u1", "head_v1")
ASKED = tuple(name for name in COLUMNS if name != "cluster_id")  # what a predictor is told
_DIGITS = 6  # of coordinates in digests


@dataclass(frozen=True)
class PhotoLabels:
    """People in photos and where they look.

    Attributes
    ----------
    kind, root
        The source and its folder.
    annotations
        One row per person: :data:`COLUMNS`, ``suite``, ``condition`` and ``in_frame``.
    eyes
        (n, 2).
    points, weights
        (n, m, 2) and (n, m): annotations, and 1 where there is one, 0 where not.
    unused
        People of the source who cannot be scored, by reason.
    """

    kind: str
    root: Path
    annotations: pd.DataFrame
    eyes: FloatArray
    points: FloatArray
    weights: FloatArray
    unused: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.annotations)

    @property
    def suites(self) -> list[str]:
        """There is one: photos are shown as they are."""
        return [SUITE]

    @property
    def conditions(self) -> list[tuple[str, str]]:
        """There are none."""
        return []

    @cached_property
    def key(self) -> DatasetKey:
        """Kind of the source, and the digest of its labels as read: whom they are of, and every coordinate."""
        rows = self.annotations[[*COLUMNS, "in_frame"]]
        numbers = [np.round(array, _DIGITS).tolist() for array in (self.eyes, self.points * self.weights[..., None])]
        content = [list(rows.columns), rows.round(_DIGITS).astype(str).to_numpy().tolist(), *numbers, self.weights.tolist()]
        return DatasetKey(name=self.kind, version=VERSION, digest=digest(content))

    def select(self, *, split: str | None = None, suite: str | None = None) -> PhotoLabels:
        """The people of a split.

        Raises
        ------
        InputError
            The source has no such split, or a suite is asked for.
        """
        if suite not in (None, SUITE):
            raise InputError(f"Photos of a source have no suites, found suite {suite!r}. Leave --suite out.")
        if split is None:
            return self
        chosen = (self.annotations["split"] == split).to_numpy()
        if not chosen.any():
            known = sorted(set(self.annotations["split"]))
            raise InputError(f"Nobody in {self.kind} at {self.root} is in split {split!r}. {suggestion(split, known)}")
        rows = np.flatnonzero(chosen)
        table = self.annotations.iloc[rows].reset_index(drop=True)
        return replace(self, annotations=table, eyes=self.eyes[rows], points=self.points[rows], weights=self.weights[rows])


class LabelledPhotos(Protocol):
    """A source that can be scored on: what is registered under ``srgaze360.sources``."""

    def photo_labels(self, root: Path, split: str) -> PhotoLabels:
        """People of a split of the source in folder ``root``, sorted by id; opens the headers of their photos."""


SOURCES: Registry[LabelledPhotos] = Registry("srgaze360.sources", "source")


def is_source(data: str) -> bool:
    """Whether ``--data`` names a source, ``KIND=DIR``, rather than a folder."""
    return "=" in data and not Path(data).exists()


def open_photo_labels(data: str, split: str) -> PhotoLabels:
    """People of a split of a source that is named ``KIND=DIR``.

    Raises
    ------
    InputError
        There is no such kind of source, the folder does not hold it, photos are missing, or the split is.
    """
    kind, _, folder = data.partition("=")
    return SOURCES.get(kind).photo_labels(Path(folder), split)
