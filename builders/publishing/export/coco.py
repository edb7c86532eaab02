"""COCO: one JSON per split with a head box and two keypoints, head and gaze, per person; and the panoramas.

Conventions
-----------
::

    annotations/heads_<split>.json      images/<split>/<panorama_id>.jpg

``file_name`` is relative to ``images/``. What the records say is written in :mod:`srgaze360.coco`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from builders.publishing.export.base import ExportOptions, Written, by_split, panoramas
from srgaze360 import coco
from srgaze360.dataset import Dataset
from srgaze360.files import canonical_json, path_inside, place_image, write_text


class CocoOptions(ExportOptions):
    """``link``: hard-link the panoramas instead of copying them."""

    link: bool = Field(default=False)


def write(data: Dataset, folder: Path, options: CocoOptions, advance: Callable[[int], None]) -> Written:
    """Write the COCO layout of a dataset."""
    written = Written()
    cut = 0
    for split, items in by_split(panoramas(data)).items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image_id, item in enumerate(items, start=1):
            images.append(coco.image(list(item.rows), image_id, f"{split}/{item.name}", data.info))
            for row in item.rows:
                parts = coco.person(row, image_id, len(annotations) + 1)
                annotations += parts
                cut += len(parts) - 1
            place_image(item.path, path_inside(folder, f"images/{split}/{item.name}"), link=options.link)
            advance(1)
        content = coco.header(data.info, split) | {"images": images, "annotations": annotations}
        write_text(folder / "annotations" / f"heads_{split}.json", canonical_json(content))
        written.files += {"panoramas": len(images), "annotations": len(annotations)}
    written.files["people"] = len(data)
    written.notes += [
        f"{cut} heads cross the seam and are two annotations each, with one `sample_id` (`part` 1 and 2); the keypoints are "
        "with the part that holds the head's centre.",
        "Boxes and keypoints are continuous pixels, (0, 0) at the corner of the first one. Visibility of the gaze: 2 inside "
        "its photo, 1 known but outside of it, 0 unknown.",
        f"Panoramas are {'hard links: do not edit them in place' if options.link else 'copies'}.",
    ]
    return written
