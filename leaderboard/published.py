"""Numbers from papers and public code, as published: to be read beside a board, never on it.

Nothing here was computed by us. Each number has its source and what is known of its definition; where a definition is not
known, it says so. They are shown in a section of their own on boards of the ``gazefollow360`` protocol over the test split of
GazeFollow360, and nowhere else. The paper of MMRGaze360 reports on GazeFollow360 too, but its numbers are not public, and none
is given.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

PROTOCOL = "gazefollow360"
DATASETS = frozenset({"gazefollow360", "srgaze360-gazefollow360-1.0"})
SPLIT = "test"

TITLE = "As published, not recomputed here"
CAPTION = (
    "Numbers of a paper and of public code on the test split of GazeFollow360, as they stand there. Nobody ran these methods "
    "for this board, and their definitions are known in part only: they have no rank, and a difference from a number above may "
    "be one of definition."
)

_PAPER = "Li et al., Looking here or there? Gaze Following in 360-Degree Images, ICCV 2021, table of results"
_CODE = "github.com/Rao2000/gazefollow360, README"
_PAPER_DISTANCE = "great-circle distance, radians, of the heatmap's arg-max; grid and place in the cell not known"
_PAPER_AUC = "not known; the public re-implementation takes it for a 19 x 19 box at 64 x 64"
_CODE_DISTANCE = "great-circle distance, radians, of the arg-max at 56 x 56, decoded at the cell's corner"
_BOX = "positives in a 19 x 19 box at 64 x 64"
_ONEHOT = "one positive pixel at image size"


class Published(NamedTuple):
    """A published result: great-circle distance in radians and AUC as strings of the source, empty where it has none."""

    method: str
    distance_rad: str
    auc: str
    distance_definition: str
    auc_definition: str
    source: str


def _paper(method: str, distance_rad: str, auc: str) -> Published:
    return Published(method, distance_rad, auc, _PAPER_DISTANCE, _PAPER_AUC, _PAPER)


TABLE: tuple[Published, ...] = (
    _paper("Random", "1.5357", "0.5056"),
    _paper("Lian et al.", "1.2540", "0.6057"),
    _paper("SALICON (saliency, no gaze)", "1.0940", "0.8002"),
    _paper("Chong et al.", "0.9183", "0.7765"),
    _paper("Ruiz et al.", "0.7612", "0.7188"),
    _paper("Zhang et al.", "0.7366", "0.7213"),
    _paper("GDE module (direction only)", "0.6880", "0.7311"),
    _paper("Li et al. (full model)", "0.6067", "0.8104"),
    _paper("Human level", "0.2531", "0.9350"),
    Published("Re-implementation of Li et al.", "0.6157", "0.7803", _CODE_DISTANCE, _BOX, f"{_CODE} (later revision)"),
    Published("Re-implementation of Li et al.", "0.6157", "0.8673", _CODE_DISTANCE, _ONEHOT, f"{_CODE} (first revision)"),
)

COLUMNS = ("method", "distance_rad", "auc", "distance_definition", "auc_definition", "source")
HEADINGS = ("Method", "Distance [rad]", "AUC", "Definition of the distance", "Definition of the AUC", "Source")


def published(protocol: str, dataset: str, split: str) -> tuple[Published, ...]:
    """The published numbers that may be shown beside a board of this protocol, dataset and split: mostly none."""
    fits = protocol == PROTOCOL and dataset.casefold() in DATASETS and split == SPLIT
    return TABLE if fits else ()


def to_csv(rows: Sequence[Published]) -> str:
    """Published numbers as CSV, a file of their own."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return stream.getvalue()
