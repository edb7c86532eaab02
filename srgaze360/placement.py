"""Where a photo lies on the sphere: its camera and its pose, as the rows of a dataset name them.

Conventions
-----------
A row names the camera as JSON, and six angles in degrees (:data:`POSE`): the camera's own pose, then the tilt of the whole
sphere. Rotations are world_from_photo: ``rotation @ ray`` takes a ray of the camera to the world.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError

POSE = ("yaw_deg", "pitch_deg", "roll_deg", "tilt_pitch_deg", "tilt_roll_deg", "tilt_yaw_deg")


def world_from_photo(pose_deg: ArrayLike) -> sphere.FloatArray:
    """Rotations (..., 3, 3) of photos, from :data:`POSE` (..., 6), degrees: the sphere's tilt after the camera's own pose."""
    yaw, pitch, roll, tilt_pitch, tilt_roll, tilt_yaw = np.moveaxis(np.radians(np.asarray(pose_deg, dtype=np.float64)), -1, 0)
    tilt = sphere.rotation_from_pose(tilt_yaw, tilt_pitch, tilt_roll)
    return np.asarray(tilt @ sphere.rotation_from_pose(yaw, pitch, roll))


class Photo(NamedTuple):
    """A photo on the sphere: its camera, and the rotation (3, 3) that takes the camera's frame to the world's."""

    camera: Camera
    world_from_photo: sphere.FloatArray

    @classmethod
    def of(cls, row: Mapping[str, Any], sample_id: str) -> Photo:
        """Read the columns ``camera`` and :data:`POSE` of a sample.

        Raises
        ------
        InputError
            The camera is not JSON, or no camera.
        """
        try:
            camera = Camera.from_dict(json.loads(row["camera"]))
        except (json.JSONDecodeError, InputError) as error:
            raise InputError(
                f"Expected a camera in JSON in column camera of sample {sample_id}, found: {error} Build the dataset again."
            ) from None
        return cls(camera, world_from_photo([row[name] for name in POSE]))

    def sees(self, rays: ArrayLike) -> sphere.BoolArray:
        """Whether directions (..., 3) in the camera's frame fall into the photo."""
        pixels, valid = self.camera.project(rays)
        return np.asarray(valid & self.camera.contains(pixels))

    def shows(self, directions: ArrayLike) -> sphere.BoolArray:
        """Whether directions (..., 3) of the world lie in the photo."""
        return self.sees(sphere.rotate(self.world_from_photo.T, directions))

    def footprint(self, height: int) -> sphere.BoolArray:
        """Cells (height, 2 height) of the sphere whose centre the photo shows."""
        return self.shows(sphere.cell_directions(2 * height, height))
