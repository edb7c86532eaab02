"""Simulated annotators: where people click who are asked what somebody looks at.

Conventions
-----------
Errors are angles (degrees) as seen from the camera, on the sphere: normal with ``noise_deg`` along both axes, and four times
that in 6 of 100 cases (another thing taken for the target). Points are fractions of a picture's width and height.
"""

from __future__ import annotations

import numpy as np

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.sphere import FloatArray

OUTLIER_SHARE, OUTLIER_FACTOR = 0.06, 4.0
ANNOTATORS = (8, 10)  # per person of the test set, both included
ATTEMPTS = 100


def annotator_count(rng: np.random.Generator, split: str) -> int:
    """Number of annotators of one person: 8 to 10 in test, 1 in train."""
    return int(rng.integers(ANNOTATORS[0], ANNOTATORS[1] + 1)) if split == "test" else 1


def perceived(rng: np.random.Generator, exact: FloatArray, count: int, noise_deg: float) -> FloatArray:
    """Directions (count, 3) in which annotators see a target that lies in the direction ``exact`` (3,)."""
    spread = np.where(rng.random(count) < OUTLIER_SHARE, OUTLIER_FACTOR, 1.0) * np.radians(noise_deg)
    return sphere.exp_map(exact, rng.normal(size=(count, 2)) * spread[:, None])


def clicks_on_photo(
    rng: np.random.Generator, target: tuple[float, float], camera: Camera, count: int, noise_deg: float
) -> FloatArray:
    """Points (count, 2) inside a photo at which annotators click for a ``target`` in it, (x, y) in fractions.

    Points outside the photo are drawn again, as nobody can click there.
    """
    size = np.array([camera.width, camera.height], dtype=np.float64)
    exact = camera.rays(np.asarray(target) * size).directions
    points = np.broadcast_to(np.asarray(target, dtype=np.float64), (count, 2)).copy()
    pending = np.arange(count)
    for _ in range(ATTEMPTS):
        if not len(pending):
            break
        drawn, valid = camera.project(perceived(rng, exact, len(pending), noise_deg))
        drawn = drawn / size
        inside = valid & np.all((drawn > 0.0) & (drawn < 1.0), axis=1)
        points[pending[inside]] = drawn[inside]
        pending = pending[~inside]
    return points


def clicks_on_panorama(rng: np.random.Generator, target: FloatArray, count: int, noise_deg: float) -> FloatArray:
    """Points (count, 2) of a panorama at which annotators click for a ``target`` in the direction (3,)."""
    return sphere.pixel_from_direction(perceived(rng, target, count, noise_deg), 2, 1) / (2.0, 1.0)
