"""Labels of a photo, carried to the sphere through the camera that carries its pixels.

Conventions
-----------
Photo labels are pixels, (0, 0) at the upper left corner. Results are unit directions of the photo's camera frame (see
:mod:`srgaze360.sphere`), angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from builders.sources.base import Box, ResolvedPerson
from srgaze360 import sphere
from srgaze360.cameras import Camera

SIDE_SAMPLES = 32


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
