"""COCO: one JSON per split with a head box and two keypoints, head and gaze, per person.

Conventions
-----------
::

    annotations/heads_<split>.json      images/<split>/<panorama_id>.jpg

``file_name`` is relative to ``images/``. Boxes are [x, y, width, height] and keypoints [x, y, v], in continuous pixels as in
COCO's own boxes: (0, 0) is the corner of the first pixel. ``v`` is 2 for the head and for a target inside its photo, 1 for a
target that is known but lies outside of it (nothing to be seen there), 0 with x = y = 0 where it is unknown.

COCO boxes do not wrap. A head that crosses the seam is cut there into *two* annotations, both with the same ``sample_id``,
``part`` 1 (left of the seam: large x) and 2: every box is a rectangle of head pixels, which a box beyond the width, or the
full-width box around both pieces, is not. The keypoints are with the part that holds the head's centre; the other has
``num_keypoints`` 0, which keypoint evaluation ignores. ``head_box`` is the uncut box as (u0, v0, u1, v1), u1 > 1 across the
seam; ``gaze_points`` are all annotations in pixels. Count people by ``sample_id``, or by ``part`` = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from builders.publishing.export.base import (
    ExportOptions,
    Panorama,
    Written,
    annotation_directions,
    by_split,
    panoramas,
)
from srgaze360 import headbox, sphere
from srgaze360.dataset import Dataset, DatasetInfo, SourceInfo
from srgaze360.files import canonical_json, path_inside, place_image, write_text

CATEGORY = {"id": 1, "name": "head", "supercategory": "person", "keypoints": ["head", "gaze"], "skeleton": [[1, 2]]}
UNKNOWN, OUTSIDE, LABELLED = 0, 1, 2
DECIMALS = 4


class CocoOptions(ExportOptions):
    """``link``: hard-link the panoramas instead of copying them."""

    link: bool = Field(default=False)


def write(data: Dataset, folder: Path, options: CocoOptions, advance: Callable[[int], None]) -> Written:
    """Write the COCO layout of a dataset."""
    written = Written()
    licences = {source.kind: number for number, source in enumerate(_sources(data.info), start=1)}
    cut = 0
    for split, items in by_split(panoramas(data)).items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image_id, item in enumerate(items, start=1):
            images.append(_image(item, image_id, licences))
            for row in item.rows:
                parts = _annotations(row, image_id, len(annotations) + 1)
                annotations += parts
                cut += len(parts) - 1
            place_image(item.path, path_inside(folder, f"images/{split}/{item.name}"), link=options.link)
            advance(1)
        content = {
            "info": {"description": f"{data.info.name} {split}", "version": data.info.version, "srgaze360": _identity(data)},
            "licenses": _licences(data.info),
            "categories": [CATEGORY],
            "images": images,
            "annotations": annotations,
        }
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


def _identity(data: Dataset) -> dict[str, Any]:
    info = data.info
    return {"dataset": info.name, "label_digest": info.label_digest, "pixel_digest": info.pixel_digest}


def _sources(info: DatasetInfo) -> list[SourceInfo]:
    return [*info.sources, *info.backgrounds]


def _licences(info: DatasetInfo) -> list[dict[str, Any]]:
    return [
        {"id": number, "name": f"{source.title}: {source.licence}", "url": ""}
        for number, source in enumerate(_sources(info), start=1)
    ]


def _image(item: Panorama, image_id: int, licences: Mapping[str, int]) -> dict[str, Any]:
    row = item.rows[0]
    kinds = {other["source"] for other in item.rows} | {name.partition("/")[0] for name in row["background_images"]}
    return {
        "id": image_id,
        "file_name": f"{item.split}/{item.name}",
        "width": item.width,
        "height": item.height,
        "license": licences.get(row["source"], 0),
        "licenses": sorted(licences[kind] for kind in kinds if kind in licences),  # of every photo and background on it
        **{key: row[key] for key in ("panorama_id", "split", "suite", "condition", "cluster_id")},
    }


def _annotations(row: Mapping[str, Any], image_id: int, first_id: int) -> list[dict[str, Any]]:
    """The annotation of a person: two where the head is cut at the seam."""
    width, height = int(row["width"]), int(row["height"])
    box = [row[f"head_{side}"] for side in ("u0", "v0", "u1", "v1")]
    rectangles = headbox.pixel_rectangles(box, width, height)
    head = _pixel(row["head_lon_deg"], row["head_lat_deg"], width, height)
    holder = next((i for i, (x0, _, x1, _) in enumerate(rectangles) if x0 <= head[0] <= x1), 0)
    keypoints = [*head, LABELLED, *_gaze(row, width, height)]
    points = sphere.pixel_from_direction(annotation_directions(row), width, height)
    found = []
    for part, (x0, y0, x1, y1) in enumerate(np.round(rectangles, DECIMALS).tolist()):
        own = keypoints if part == holder else [0.0, 0.0, UNKNOWN] * 2
        found.append(
            {
                "id": first_id + part,
                "image_id": image_id,
                "category_id": CATEGORY["id"],
                "iscrowd": 0,
                "bbox": [x0, y0, round(x1 - x0, DECIMALS), round(y1 - y0, DECIMALS)],
                "area": round((x1 - x0) * (y1 - y0), DECIMALS),
                "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                "keypoints": own,
                "num_keypoints": sum(v > UNKNOWN for v in own[2::3]),
                "sample_id": row["sample_id"],
                "part": part + 1,
                "parts": len(rectangles),
                "head_box": box,
                "head_radius_deg": row["head_radius_deg"],
                "in_frame": row["in_frame"],
                "gaze_points": np.round(points, DECIMALS).tolist(),
            }
        )
    return found


def _gaze(row: Mapping[str, Any], width: int, height: int) -> list[float]:
    if row["gaze_lon_deg"] is None:
        return [0.0, 0.0, UNKNOWN]
    pixel = _pixel(row["gaze_lon_deg"], row["gaze_lat_deg"], width, height)
    return [*pixel, LABELLED if row["in_frame"] else OUTSIDE]


def _pixel(lon_deg: float, lat_deg: float, width: int, height: int) -> list[float]:
    pixel = sphere.pixel_from_lonlat(np.radians(lon_deg), np.radians(lat_deg), width, height)
    return [float(value) for value in np.round(pixel, DECIMALS)]
