"""What tests of source readers share: rows in the true GazeFollow format, and accounts of what became of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from builders.sources.base import Listing, Person

SOUND = {
    "path": "train/00000000/a.jpg", "id": 7, "body_bbox_x": 0.1, "body_bbox_y": -0.02, "body_bbox_w": 0.5, "body_bbox_h": 1.1,
    "eye_x": 0.25, "eye_y": 0.125, "gaze_x": 0.75, "gaze_y": 0.5, "bbox_x_min": 10.0, "bbox_y_min": 20.0, "bbox_x_max": 60.0,
    "bbox_y_max": 80.0, "inout": 1, "source": "coco", "meta": "False",
}  # fmt: skip


def train_row(**changes) -> str:
    return ",".join(str(value) for value in (SOUND | changes).values())


def test_row(**changes) -> str:
    values = SOUND | {"path": "test2/00000000/t.jpg"} | changes
    return ",".join(str(value) for column, value in values.items() if column != "inout")


test_row.__test__ = False


def write_labels(root: Path, name: str, rows: list[str], ending: str = "\n") -> None:
    (root / name).write_bytes(("\ufeff" + ending.join(rows) + ending).encode())


def lines_of(reference: str) -> list[tuple[str, int]]:
    """Expand ``"file:12-14,20"`` to its (file, line) pairs."""
    file, _, spans = reference.rpartition(":")
    pairs = []
    for span in spans.split(","):
        first, _, last = span.partition("-")
        pairs += [(file, line) for line in range(int(first), int(last or first) + 1)]
    return pairs


def rows_of(listing: Listing) -> Counter[tuple[str, int]]:
    """How often each source row turns up in photos and in rejected rows."""
    people = [person.row for photo in listing.photos for person in photo.people]
    return Counter(pair for row in people + [bad.row for bad in listing.rejected] for pair in lines_of(row))


def people_of(listing: Listing) -> list[Person]:
    return [person for photo in listing.photos for person in photo.people]


def reasons(listing: Listing) -> list[str]:
    return [row.reason for row in listing.rejected]


def write_picture(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix.lower(), np.full((height, width, 3), 128, np.uint8))[1].tobytes())
