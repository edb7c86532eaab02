"""What of a panorama is photo: the rest of the sphere was not seen by the camera that a person was found with.

Conventions
-----------
A *shot* is a camera and its pose. Maps (:data:`ROWS`, 2 ROWS) are uint8, 255 in cells whose centre the shot shows, else 0. A
panorama that was taken as one is photo everywhere. Known for training and validation, from the rows of the dataset, and
made where a loss asks for them; never for prediction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from baselines.data.people import Prepared
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset
from srgaze360.images import UInt8Array
from srgaze360.sphere import FloatArray

ROWS = 64
_POSE = ("yaw_deg", "pitch_deg", "roll_deg")
_TILT = ("tilt_yaw_deg", "tilt_pitch_deg", "tilt_roll_deg")


class Shot(NamedTuple):
    """A photo on the sphere: its camera, and its pose world_from_camera (3, 3)."""

    camera: Camera
    rotation: FloatArray


def shots(data: Dataset) -> dict[str, Shot]:
    """The photo that each person was found in, by sample id; people of one photo share it."""
    facts = ["panorama_id", "camera", *_POSE, *_TILT]
    rows = data.annotations[["sample_id", *facts]]
    of_photo = rows.groupby(facts, sort=False).ngroup().to_numpy()
    distinct = rows.drop_duplicates(facts)
    tilts, poses = (sphere.rotation_from_pose(*np.radians(distinct[list(names)].to_numpy(float)).T) for names in (_TILT, _POSE))
    cameras = [Camera.from_dict(json.loads(text)) for text in distinct["camera"]]
    photos = [Shot(camera, rotation) for camera, rotation in zip(cameras, tilts @ poses, strict=True)]
    return {name: photos[at] for name, at in zip(rows["sample_id"], of_photo, strict=True)}


def shown(shot: Shot, rows: int = ROWS) -> UInt8Array:
    """Map (rows, 2 rows) of what a shot shows."""
    rays = _cells(rows) @ shot.rotation
    return np.where(shot.camera.contains(shot.camera.project(rays).pixels), 255, 0).astype(np.uint8)


@cache
def _cells(rows: int) -> FloatArray:
    return sphere.cell_directions(2 * rows, rows)


def with_photos(prepared: Prepared, shots: Mapping[str, Shot]) -> Prepared:
    """The panorama with maps of the photos of those whose shot is there; people of one photo share its map."""
    found = [shots.get(person.sample_id) for person in prepared.people]
    maps = {id(shot): shown(shot) for shot in {id(shot): shot for shot in found}.values() if shot is not None}
    people = (person._replace(photo=maps.get(id(shot))) for person, shot in zip(prepared.people, found, strict=True))
    return prepared._replace(people=tuple(people))
