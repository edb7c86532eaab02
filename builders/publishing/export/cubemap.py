"""Cubemaps: six faces per panorama, made by py360convert, with heads and gaze as a face and a pixel on it.

Conventions
-----------
::

    faces/<split>/<panorama_id>/{F,R,B,L,U,D}.jpg    layout "list": a file per face
    faces/<split>/<panorama_id>.jpg                  layouts "dice" (4 x 3 faces) and "horizon" (6 x 1, FRBLUD)
    labels/<split>.json                              cameras, where the faces are, and everyone's labels

Every face is seen from inside, upright: right of F is R, above it U (whose lower edge meets F), below it D.

py360convert puts the *centres* of a face's outermost pixels on the edges of the cube, where a face of exactly 90 degrees has
their outer sides: against such a face its pixels are off by up to half a pixel at the edges (0 in the middle). That error is
no error of a slightly wider camera: w pixels with the focal length (w - 1) / 2 see exactly what py360convert paints, so that
is the camera that ``labels`` states and that carries the labels: they lie on the pixels, everywhere on the face. A direction
belongs to the face whose axis is nearest. Pixels are continuous, (0, 0) at the corner of the face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import py360convert
from numpy.typing import NDArray
from pydantic import Field

from builders.publishing.export.base import ExportOptions, Panorama, Written, annotation_directions, by_split, panoramas
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset
from srgaze360.files import canonical_json, path_inside, write_text
from srgaze360.images import read_panorama, write_image

FACES = "FRBLUD"  # py360convert's order
POSES_DEG = {"F": (0.0, 0.0), "R": (90.0, 0.0), "B": (180.0, 0.0), "L": (-90.0, 0.0), "U": (0.0, 90.0), "D": (0.0, -90.0)}
_YAW, _PITCH = np.radians([POSES_DEG[face] for face in FACES]).T
ROTATIONS = sphere.rotation_from_pose(_YAW, _PITCH, np.zeros(6))  # world_from_face
# column and row of each face in the image, in faces
LAYOUTS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "list": ((0, 0),) * 6,
    "dice": ((1, 1), (2, 1), (3, 1), (0, 1), (1, 0), (1, 2)),
    "horizon": tuple((column, 0) for column in range(6)),
}


class CubemapOptions(ExportOptions):
    """``face_width``: pixels (0: a quarter of the panorama's width); ``layout`` of the faces; ``quality`` of the JPEGs."""

    face_width: int = Field(default=0, ge=0, le=8192)
    layout: Literal["list", "dice", "horizon"] = "list"
    quality: int = Field(default=92, ge=1, le=100)


def face_camera(width: int) -> Camera:
    """The pinhole camera, ``width`` pixels square, that sees what py360convert paints on a face: focal length (w - 1) / 2."""
    return Camera("pinhole", width, width, (width - 1) / 2.0, (width - 1) / 2.0, width / 2.0, width / 2.0)


def locate(directions: sphere.FloatArray, camera: Camera) -> tuple[list[str], sphere.FloatArray]:
    """Face of each direction (n, 3), and its continuous pixel (n, 2) there."""
    axes = ROTATIONS[:, :, 2]
    nearest = np.argmax(directions @ axes.T, axis=-1)
    local = sphere.rotate(np.swapaxes(ROTATIONS[nearest], -1, -2), directions)
    return [FACES[index] for index in nearest], camera.project(local).pixels


def write(data: Dataset, folder: Path, options: CubemapOptions, advance: Callable[[int], None]) -> Written:
    """Write the cubemaps of a dataset."""
    written = Written()
    items = panoramas(data)
    width = options.face_width or max(item.width for item in items) // 4
    camera = face_camera(width)
    for split, chosen in by_split(items).items():
        labels = []
        for item in chosen:
            images = _save(item, folder, width, options)
            labels.append({"panorama_id": item.panorama_id, "images": images, "people": _people(item, data, camera)})
            written.files += {"panoramas": 1, "images": len(set(images.values())), "people": len(item.rows)}
            advance(1)
        content = {
            "camera": camera.to_dict(),
            "layout": options.layout,
            "faces": {
                face: {"yaw_deg": POSES_DEG[face][0], "pitch_deg": POSES_DEG[face][1], "x": width * column, "y": width * row}
                for face, (column, row) in zip(FACES, LAYOUTS[options.layout], strict=True)
            },
            "panoramas": labels,
        }
        write_text(folder / "labels" / f"{split}.json", canonical_json(content))
    written.notes += [
        f"Faces of {width} x {width} pixels, layout `{options.layout}`, made by py360convert {py360convert.__version__}. In "
        "`labels`, `x` and `y` are the corner of a face in its image; `face` and `pixel` say where a head or target is.",
        "Labels lie on the pixels through the camera that `labels` states, of focal length (w - 1) / 2: the one that "
        "py360convert's faces show. Read as faces of exactly 90 degrees they are off by up to half a pixel at the edges.",
    ]
    return written


def _save(item: Panorama, folder: Path, width: int, options: CubemapOptions) -> dict[str, str]:
    """Write the faces; the file of each face, relative to ``folder``."""
    image: Any = py360convert.e2c(read_panorama(item.path), face_w=width, mode="bilinear", cube_format=options.layout)
    pictures: Sequence[NDArray[np.uint8]] = image if options.layout == "list" else [image]
    stem = f"faces/{item.split}/{item.panorama_id}"
    names = [f"{stem}/{face}.jpg" for face in FACES] if options.layout == "list" else [f"{stem}.jpg"]
    for name, picture in zip(names, pictures, strict=True):
        write_image(path_inside(folder, name), picture, options.quality)
    return {face: names[place % len(names)] for place, face in enumerate(FACES)}


def _people(item: Panorama, data: Dataset, camera: Camera) -> list[dict[str, Any]]:
    places = list(item.index)
    heads, gazes = data.heads[places], data.gazes[places]
    people = []
    for row, head, gaze in zip(item.rows, heads, gazes, strict=True):
        people.append(
            {
                "sample_id": row["sample_id"],
                "head": _place(head[None], camera)[0],
                "head_radius_deg": row["head_radius_deg"],
                "gaze": None if np.isnan(gaze).any() else _place(gaze[None], camera)[0],
                "gaze_points": _place(annotation_directions(row), camera),
                "in_frame": row["in_frame"],
            }
        )
    return people


def _place(directions: sphere.FloatArray, camera: Camera) -> list[dict[str, Any]]:
    faces, pixels = locate(directions, camera)
    return [{"face": face, "pixel": pixel} for face, pixel in zip(faces, np.round(pixels, 4).tolist(), strict=True)]
