"""People of a dataset in the records of COCO keypoints: what every COCO file of ours says of images and people.

Conventions
-----------
Boxes are [x, y, width, height] and keypoints [x, y, v], in continuous pixels as in COCO's own boxes: (0, 0) is the corner of
the first pixel, whose centre is (0.5, 0.5). ``v`` is 2 for the head and for a target inside its photo, 1 for a target that is
known but lies outside of it (nothing to be seen there), 0 with x = y = 0 where it is unknown. The gaze is the consensus.

COCO boxes do not wrap. A head that crosses the seam is cut there into *two* annotations, both with the same ``sample_id``,
``part`` 1 (left of the seam: large x) and 2: every box is a rectangle of head pixels, which a box beyond the width, or the
full-width box around both pieces, is not. The keypoints are with the part that holds the head's centre; the other has
``num_keypoints`` 0, which keypoint evaluation ignores. Count people by ``sample_id``, or by ``part`` = 1.

Beside COCO's fields an annotation has what COCO cannot say, exactly: ``head_box``, the uncut box as (u0, v0, u1, v1), u1 > 1
across the seam; ``gaze_points``, all annotations in pixels, with ``gaze_points_deg`` and ``gaze_annotators``; ``in_frame``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from srgaze360 import headbox, sphere
from srgaze360.dataset import DatasetInfo

Row = Mapping[str, Any]

CATEGORY = {"id": 1, "name": "head", "supercategory": "person", "keypoints": ["head", "gaze"], "skeleton": [[1, 2]]}
UNKNOWN, OUTSIDE, LABELLED = 0, 1, 2
DECIMALS = 4  # of pixels


def header(info: DatasetInfo, what: str) -> dict[str, Any]:
    """The fields of a COCO file beside images and annotations; ``what`` ends its description."""
    identity = {"dataset": info.name, "label_digest": info.label_digest, "pixel_digest": info.pixel_digest}
    return {
        "info": {"description": f"{info.name} {what}", "version": info.version, "srgaze360": identity},
        "licenses": [
            {"id": number, "name": f"{source.title}: {source.licence}", "url": ""}
            for number, source in enumerate([*info.sources, *info.backgrounds], start=1)
        ],
        "categories": [CATEGORY],
    }


def image(rows: list[Row], image_id: int, file_name: str, info: DatasetInfo) -> dict[str, Any]:
    """The record of a panorama, from the rows of everyone on it."""
    row = rows[0]
    numbers = {source.kind: number for number, source in enumerate([*info.sources, *info.backgrounds], start=1)}
    kinds = {other["source"] for other in rows} | {name.partition("/")[0] for name in row["background_images"]}
    return {
        "id": image_id,
        "file_name": file_name,
        "width": int(row["width"]),
        "height": int(row["height"]),
        "license": numbers.get(row["source"], 0),
        "licenses": sorted(numbers[kind] for kind in kinds if kind in numbers),  # of every photo and background on it
        **{key: row[key] for key in ("panorama_id", "split", "suite", "condition", "cluster_id")},
    }


def person(row: Row, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """The annotation of a person: two where the head is cut at the seam. ``row`` has plain values."""
    width, height = int(row["width"]), int(row["height"])
    box = [row[f"head_{side}"] for side in ("u0", "v0", "u1", "v1")]
    rectangles = headbox.pixel_rectangles(box, width, height)
    head = _pixel(row["head_lon_deg"], row["head_lat_deg"], width, height)
    holder = next((i for i, (x0, _, x1, _) in enumerate(rectangles) if x0 <= head[0] <= x1), 0)
    keypoints = [*head, LABELLED, *_gaze(row, width, height)]
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
                "gaze_points": [_pixel(lon, lat, width, height) for lon, lat in row["gaze_points_deg"]],
                "gaze_points_deg": row["gaze_points_deg"],
                "gaze_annotators": row["gaze_annotators"],
            }
        )
    return found


def _gaze(row: Row, width: int, height: int) -> list[float]:
    if row["gaze_lon_deg"] is None:
        return [0.0, 0.0, UNKNOWN]
    pixel = _pixel(row["gaze_lon_deg"], row["gaze_lat_deg"], width, height)
    return [*pixel, LABELLED if row["in_frame"] else OUTSIDE]


def _pixel(lon_deg: float, lat_deg: float, width: int, height: int) -> list[float]:
    pixel = sphere.pixel_from_lonlat(np.radians(lon_deg), np.radians(lat_deg), width, height)
    return [float(value) for value in np.round(pixel, DECIMALS)]
