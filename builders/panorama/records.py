"""Rows of ``annotations.parquet``: how a photo lies on the sphere, and who is on it.

Conventions
-----------
Columns and their meaning are ``srgaze360.dataset.COLUMNS``; angles in them are degrees. A row holds the same for everyone of a
photo (:func:`geometry`), then what concerns the person (:func:`person_row`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from builders.panorama.labels import PhotoLabels
from builders.panorama.pose import Pose
from builders.plan import Placement, Task
from srgaze360 import headbox, sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import SEAM_CONDITIONS
from srgaze360.files import canonical_json, digest
from srgaze360.footprint import contains_pole
from srgaze360.maps import fold_back, minification, worst_minification
from srgaze360.protocols.breakdown import latitude_band
from srgaze360.reproject import Patch

NEAR_POLE_DEG = 10.0
NOTHING_AROUND = "none"  # background of a panorama, which fills its sphere


def geometry(task: Task, camera: Camera, pose: Pose, patch: Patch) -> dict[str, Any]:
    """The columns that describe how the photo lies on the sphere; the same for everyone in it."""
    degrees = {f"{name}_deg": float(np.degrees(value)) for name, value in pose._asdict().items()}
    width, height = patch.panorama_width, patch.panorama_width // 2
    rows = patch.y0 + np.flatnonzero(patch.coverage.any(axis=1))
    lat = np.degrees(sphere.cell_lonlat(width, height)[1])
    cells = sphere.cell_solid_angles(1, height)[:, 0] / width
    covered = patch.coverage.sum(axis=1, dtype=np.float64) / 255.0
    share = float(covered @ cells[patch.y0 : patch.y0 + len(covered)] / (4.0 * np.pi))
    return {
        **degrees,
        "width": width,
        "height": height,
        "hfov_deg": float(np.degrees(camera.hfov)),
        "lens": camera.lens,
        "lens_params": list(camera.params),
        "camera": canonical_json(camera.to_dict()),
        "background": str(task.settings.get("background", NOTHING_AROUND)),
        "background_images": ["/".join(image) for image in task.backdrop],
        "near_pole": bool(np.any(np.abs(lat[rows]) > 90.0 - NEAR_POLE_DEG)),
        "contains_pole": any(contains_pole(camera, pose.rotation)),
        "minification": float(minification(camera, width)),
        "worst_minification": float(worst_minification(camera, width)),
        "fold_back": fold_back(camera),
        "footprint": share,
    }


def person_row(
    task: Task, item: Placement, label: PhotoLabels, rotation: sphere.FloatArray, shared: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of one person; ``shared`` holds the columns that everyone in the photo shares."""
    person = label.resolved.person
    head = rotation @ label.head
    consensus = label.consensus
    gaze = None if consensus is None else rotation @ consensus
    u0, v0, u1, v1 = (float(value) for value in headbox.box_of_outline(sphere.rotate(rotation, label.outline)))
    head_lon, head_lat = _degrees(head)
    gaze_lon, gaze_lat = (None, None) if gaze is None else _degrees(gaze)
    crosses = gaze is not None and bool(sphere.arc_crosses_seam(head, gaze))
    seam_solved = item.settings["longitude_deg"] == "seam" and task.condition == task.suite  # nothing is varied
    return {
        **person.extras,
        **shared,
        "sample_id": f"{task.panorama_id}-{digest([item.key, person.person])[:8]}",
        "panorama_id": task.panorama_id,
        "split": task.split,
        "suite": task.suite,
        "condition": SEAM_CONDITIONS[crosses] if seam_solved else task.condition,
        "source": item.kind,
        "source_image": item.photo.image,
        "source_person": person.person,
        "cluster_id": task.cluster_id,
        "head_u0": u0,
        "head_v0": v0,
        "head_u1": u1,
        "head_v1": v1,
        "head_lon_deg": head_lon,
        "head_lat_deg": head_lat,
        "head_radius_deg": float(np.degrees(label.head_radius)),
        "head_band": str(latitude_band(head[None])[0]),
        "gaze_lon_deg": gaze_lon,
        "gaze_lat_deg": gaze_lat,
        "gaze_band": None if gaze is None else str(latitude_band(gaze[None])[0]),
        "gaze_points_deg": [list(_degrees(point)) for point in sphere.rotate(rotation, label.gaze)],
        "gaze_annotators": list(label.annotators),
        "in_frame": person.in_frame,
        "crosses_seam": crosses,
        "repairs": list(label.resolved.repairs),
    }


def _degrees(direction: sphere.FloatArray) -> tuple[float, float]:
    lon, lat = sphere.lonlat_from_direction(direction)
    return float(np.degrees(lon)), float(np.degrees(lat))
