"""Labels of a photo, carried to the sphere through the camera that carries its pixels.

Conventions
-----------
Photo labels are pixels, (0, 0) at the upper left corner. A pose is the rotation world_from_photo (3, 3). Results are unit
directions and spherical boxes (see :mod:`srgaze360.sphere` and :mod:`srgaze360.headbox`), angles in radians.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from builders.sources.base import Box, ResolvedPerson
from srgaze360 import headbox, sphere
from srgaze360.cameras import Camera

SIDE_SAMPLES = 32
CLEARANCE = np.radians(1.0)  # between a footprint that is clear of the seam and the seam


class NoLabelError(ValueError):
    """A label cannot be carried to the sphere; the message is the reason, fit for ``rejected.csv``."""


@dataclass(frozen=True)
class PhotoLabels:
    """A person's labels as directions in the photo's camera frame; ``outline`` (n, 3) follows the head box around.

    ``lost`` counts gaze points inside the photo that the lens gives no direction to; outside it, the direction is unknown.
    """

    resolved: ResolvedPerson
    head: sphere.FloatArray
    head_radius: float
    outline: sphere.FloatArray
    gaze: sphere.FloatArray
    annotators: tuple[str, ...]
    lost: int

    @property
    def consensus(self) -> sphere.FloatArray | None:
        """Normalised mean (3,) of the gaze directions; None if there are none, or if they cancel out."""
        if not len(self.gaze):
            return None
        mean = sphere.spherical_mean(self.gaze).direction
        return None if np.isnan(mean).any() else mean


def box_outline(box: Box, samples: int = SIDE_SAMPLES) -> sphere.FloatArray:
    """Pixels (4 * samples, 2) around a box, evenly spaced on each side, clockwise from the upper left corner."""
    x0, y0, x1, y1 = box
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    steps = np.arange(samples)[:, None] / samples
    sides = [start + (end - start) * steps for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    return np.concatenate(sides)


def lift(resolved: ResolvedPerson, camera: Camera) -> PhotoLabels:
    """Turn a person's pixels into directions in the camera frame.

    The head is the box's centre; its radius the mean angle from there to the midpoints of the four sides.

    Raises
    ------
    NoLabelError
        The lens gives no direction to the head box, or to any gaze point of a target inside the photo.
    """
    x0, y0, x1, y1 = resolved.head_box
    middle = ((x0 + x1) / 2.0, (y0 + y1) / 2.0)
    marks = np.array([middle, (x0, middle[1]), (x1, middle[1]), (middle[0], y0), (middle[0], y1)])
    rays = camera.rays(np.concatenate([marks, box_outline(resolved.head_box)]))
    if not rays.valid.all():
        raise NoLabelError("head box reaches beyond what the lens can image")
    head, sides, outline = rays.directions[0], rays.directions[1:5], rays.directions[5:]
    points = np.array(resolved.gaze, dtype=np.float64).reshape(-1, 2)
    gaze = camera.rays(points)
    in_frame = resolved.person.in_frame
    if in_frame and not gaze.valid.any():
        raise NoLabelError("gaze lies beyond what the lens can image")
    annotators = tuple(name for name, valid in zip(resolved.person.annotators, gaze.valid, strict=False) if valid)
    return PhotoLabels(
        resolved=resolved,
        head=head,
        head_radius=float(np.mean(sphere.angle_between(head, sides))),
        outline=outline,
        gaze=gaze.directions[gaze.valid],
        annotators=annotators,
        lost=int((~gaze.valid).sum()) if in_frame else 0,
    )


# --- pose -------------------------------------------------------------------------------------------------------------


class Pose(NamedTuple):
    """Angles of a photo on the sphere, radians: the camera's own, then those of the whole sphere."""

    yaw: float
    pitch: float
    roll: float
    tilt_pitch: float
    tilt_roll: float
    tilt_yaw: float

    @property
    def rotation(self) -> sphere.FloatArray:
        """world_from_photo (3, 3): the sphere's tilt after the camera's pose."""
        tilt = sphere.rotation_from_pose(self.tilt_yaw, self.tilt_pitch, self.tilt_roll)
        return np.asarray(tilt @ sphere.rotation_from_pose(self.yaw, self.pitch, self.roll))


def solve_pose(settings: Mapping[str, float | str], camera: Camera, people: Sequence[PhotoLabels], draw: float) -> Pose:
    """Pose of a photo from its settings (degrees).

    ``longitude_deg`` may be a number; ``clear``: the yaw at which the photo's footprint, drawn uniformly among the places
    where it fits, stays clear of the seam (anywhere, if it has no such place); or ``seam``: the yaw that puts the seam
    across the arc from head to gaze. ``draw`` in [0, 1) decides what is left open.
    """
    angles = {axis: np.radians(float(settings[axis])) for axis in settings if axis.endswith("_deg") and axis != "longitude_deg"}
    pose = Pose(
        yaw=0.0,
        pitch=float(angles["latitude_deg"]),
        roll=float(angles["roll_deg"]),
        tilt_pitch=float(angles["tilt_pitch_deg"]),
        tilt_roll=float(angles["tilt_roll_deg"]),
        tilt_yaw=float(angles["tilt_yaw_deg"]),
    )
    longitude = settings["longitude_deg"]
    if longitude == "clear":
        yaw = _clear_yaw(camera, pose, draw)
    elif longitude == "seam":
        yaw = _seam_yaw(pose, people, draw)
    else:
        yaw = float(np.radians(float(longitude)))
    return pose._replace(yaw=float(sphere.wrap_lon(yaw)))


def _clear_yaw(camera: Camera, pose: Pose, draw: float) -> float:
    """Yaw at which the footprint does not cross the seam, uniform among all such."""
    rotation = pose.rotation
    rays = camera.rays(box_outline((0.0, 0.0, float(camera.width), float(camera.height)), 64))
    poles = camera.project(sphere.rotate(rotation.T, np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])))
    inside = poles.valid & camera.contains(poles.pixels)
    if inside.any() or not rays.valid.all():
        return sphere.TWO_PI * (draw - 0.5)
    u0, _, u1, _ = headbox.box_of_outline(sphere.rotate(rotation, rays.directions), contains_zenith=False, contains_nadir=False)
    margin = CLEARANCE / sphere.TWO_PI
    room = 1.0 - (u1 - u0) - 2.0 * margin
    return float(sphere.TWO_PI * (draw * room + margin - u0 if room > 0.0 else draw - 0.5))


def _seam_yaw(pose: Pose, people: Sequence[PhotoLabels], draw: float) -> float:
    """Yaw at which the seam crosses the arc from head to gaze of as many people as possible.

    For each person the seam is put through the same fraction, in [0.25, 0.75], of that person's arc; the person for whom
    most arcs cross wins, the first among equals. Where nobody's gaze is known, the seam goes through the first head.
    """
    rotation = pose.rotation
    arcs = [(person.head, person.consensus) for person in people if person.consensus is not None]
    if not arcs:
        lon, _ = sphere.lonlat_from_direction(rotation @ people[0].head)
        return float(np.pi - lon)
    heads = sphere.rotate(rotation, np.stack([head for head, _ in arcs]))
    gazes = sphere.rotate(rotation, np.stack([gaze for _, gaze in arcs]))
    lon, _ = sphere.lonlat_from_direction(sphere.slerp(heads, gazes, np.full(len(arcs), 0.25 + 0.5 * draw)))
    yaws = np.pi - lon
    turned = sphere.rotation_from_pose(yaws, 0.0, 0.0)[:, None]
    crossings = sphere.arc_crosses_seam(sphere.rotate(turned, heads), sphere.rotate(turned, gazes)).sum(axis=1)
    return float(yaws[int(np.argmax(crossings))])
