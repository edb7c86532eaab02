"""Viewports: a perspective view centred on every head, with the labels projected into it.

Conventions
-----------
::

    views/<split>/<sample_id>.jpg      labels/<split>.json

The view is a pinhole camera, upright (roll 0), whose optical axis points at the head. ``gaze`` is the consensus in continuous
pixels, null where it is unknown or behind the camera; ``inside`` says whether the target is in the view: the question that a
360-degree image is meant to answer is the one where it is not. ``gaze_points`` are all annotations, null behind the camera.
``head_box`` (x0, y0, x1, y1) bounds the cap of ``head_radius_deg`` around the head, cut to the view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from builders.publishing.export.base import ExportOptions, Written, annotation_directions, by_split, panoramas
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset
from srgaze360.files import canonical_json, path_inside, write_text
from srgaze360.images import read_panorama, write_image
from srgaze360.reproject import sphere_to_view

CAP_SAMPLES = 64


class ViewportOptions(ExportOptions):
    """``fov_deg``: horizontal field of view; ``width`` and ``height`` in pixels; ``quality`` of the JPEGs."""

    fov_deg: float = Field(default=90.0, gt=0.0, lt=175.0)
    width: int = Field(default=512, ge=16, le=8192)
    height: int = Field(default=512, ge=16, le=8192)
    quality: int = Field(default=92, ge=1, le=100)


def write(data: Dataset, folder: Path, options: ViewportOptions, advance: Callable[[int], None]) -> Written:
    """Write a view per person of a dataset."""
    written = Written()
    camera = Camera.from_fov("pinhole", options.width, options.height, np.radians(options.fov_deg))
    known = inside = 0
    for split, items in by_split(panoramas(data)).items():
        labels = []
        for item in items:
            panorama = read_panorama(item.path)
            for row, place in zip(item.rows, item.index, strict=True):
                label = view_labels(row, data.heads[place], data.gazes[place], camera)
                image = f"views/{split}/{row['sample_id']}.jpg"
                view = sphere_to_view(panorama, camera, _rotation(label))
                write_image(path_inside(folder, image), view, options.quality)
                labels.append({"image": image, **label})
                known += label["inside"] is not None
                inside += label["inside"] is True
            written.files += {"views": len(item.rows)}
            advance(1)
        content = {"camera": camera.to_dict(), "people": labels}
        write_text(folder / "labels" / f"{split}.json", canonical_json(content))
    written.notes += [
        f"{options.width} x {options.height} pixels, {options.fov_deg:g} degrees across, centred on the head, roll 0.",
        f"The target is known for {known} people and inside the view for {inside} of them (`inside`).",
    ]
    return written


def view_labels(row: Mapping[str, Any], head: sphere.FloatArray, gaze: sphere.FloatArray, camera: Camera) -> dict[str, Any]:
    """Labels of one person in the view centred on the head; ``gaze`` (3,) may be NaN."""
    lon, lat = sphere.lonlat_from_direction(head)
    pose = {"yaw_deg": float(np.degrees(lon)), "pitch_deg": float(np.degrees(lat)), "roll_deg": 0.0}
    into = _rotation(pose).T
    target = camera.project(into @ gaze)
    points = camera.project(sphere.rotate(into, annotation_directions(row)))
    return {
        "sample_id": row["sample_id"],
        "panorama_id": row["panorama_id"],
        **pose,
        "head": [camera.cx, camera.cy],
        "head_box": _head_box(np.radians(row["head_radius_deg"]), camera),
        "gaze": np.round(target.pixels, 4).tolist() if target.valid else None,
        "inside": None if np.isnan(gaze).any() else bool(target.valid and camera.contains(target.pixels)),
        "gaze_points": [
            pixel if ok else None for pixel, ok in zip(np.round(points.pixels, 4).tolist(), points.valid, strict=True)
        ],
        "in_frame": row["in_frame"],
    }


def _rotation(pose: Mapping[str, Any]) -> sphere.FloatArray:
    return sphere.rotation_from_pose(*np.radians([pose["yaw_deg"], pose["pitch_deg"], pose["roll_deg"]]))


def _head_box(radius: float, camera: Camera) -> list[float]:
    """Bounds, within the view, of the cap of angular ``radius`` around the optical axis."""
    around = np.linspace(0.0, sphere.TWO_PI, CAP_SAMPLES, endpoint=False)
    rim = sphere.exp_map([0.0, 0.0, 1.0], radius * np.stack([np.cos(around), np.sin(around)], axis=-1))
    pixels, valid = camera.project(rim)
    size = [camera.width, camera.height]
    if not valid.all():  # a cap beyond the view's hemisphere fills it
        return [0.0, 0.0, *map(float, size)]
    low, high = np.clip(pixels.min(axis=0), 0.0, size), np.clip(pixels.max(axis=0), 0.0, size)
    return [float(value) for value in np.round([*low, *high], 4)]
