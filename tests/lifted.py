"""A person in a photo, lifted through a camera: what tests of labels and poses start from."""

from __future__ import annotations

import numpy as np

from builders.panorama.labels import PhotoLabels, lift
from builders.sources.base import Person, ResolvedPerson
from srgaze360.cameras import Camera

CAMERA = Camera.from_fov("pinhole", 640, 480, np.radians(90.0), side="width")


def labels(
    head: tuple[float, float], gaze: tuple[float, float] | None, camera: Camera = CAMERA, size: float = 40.0
) -> PhotoLabels:
    x, y = head
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    points = () if gaze is None else (gaze,)
    person = Person("p", "row", box, "pixel", points, "pixel", gaze is not None)
    return lift(ResolvedPerson(person, box, points, ()), camera)
