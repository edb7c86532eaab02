"""Panoramas of a scene: exact labels of everybody in it, wherever their targets are.

Conventions
-----------
World axes (see :func:`~builders.procedural.render.render_panorama`): longitude 0 along the world's z axis. In ``around`` scenes
people stand apart and nearer than furniture, so that every head can be seen, and none reaches a pole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from builders.procedural.figures import HEAD_PART
from builders.procedural.scene import Figure, Flags, Scene, gaze_flags, outlines
from srgaze360 import headbox, sphere
from srgaze360.sphere import FloatArray


@dataclass(frozen=True, eq=False)
class PanoramaLabel:
    """Exact label of a person on the panorama of a scene.

    ``head_box`` is (u0, v0, u1, v1) in fractions of the panorama, u1 > 1 across the seam; ``head`` and ``gaze`` are unit
    directions (3,) from the camera, to the box's centre and to the target; ``head_radius`` is the mean angle (radians) from
    the head to the midpoints of the box's sides; ``flags`` as in :mod:`builders.procedural.scene`.
    """

    figure: Figure
    head: FloatArray
    head_radius: float
    head_box: tuple[float, float, float, float]
    gaze: FloatArray
    flags: Flags

    @property
    def arc(self) -> float:
        """Angle (radians) between head and target as seen from the camera."""
        return float(sphere.angle_between(self.head, self.gaze))


def panorama_label(scene: Scene, figure: Figure) -> PanoramaLabel:
    """Label of one person on the panorama of a scene."""
    box = headbox.box_of_outline(outlines(scene, figure, HEAD_PART), contains_zenith=False, contains_nadir=False)
    u0, v0, u1, v1 = (float(limit) for limit in box)
    u, v = (u0 + u1) / 2.0, (v0 + v1) / 2.0
    marks = np.array([(u, v), (u0, v), (u1, v), (u, v0), (u, v1)])
    head, *sides = sphere.direction_from_pixel(marks * (2.0, 1.0), 2, 1)
    return PanoramaLabel(
        figure=figure,
        head=head,
        head_radius=float(np.mean(sphere.angle_between(np.array(sides), head))),
        head_box=(u0, v0, u1, v1),
        gaze=scene.direction(figure.gaze.point),
        flags=gaze_flags(scene, figure),
    )


def label_panorama(scene: Scene) -> tuple[PanoramaLabel, ...]:
    """Labels of everybody on the panorama of a scene, in the order of its figures."""
    return tuple(panorama_label(scene, figure) for figure in scene.figures)
