"""Panoramas whose pixels say which direction they show, dots on the sphere, and people on them, for tests of the data side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from baselines.data.people import Person, Prepared, Subject
from baselines.data.prepared import prepare
from baselines.training.settings import DataSettings
from srgaze360 import sphere
from srgaze360.images import write_image

SEAM = sphere.direction_from_lonlat(np.pi - 0.01, 0.1)
ZENITH = np.array([0.0, -1.0, 0.0])
NEAR_NADIR = sphere.direction_from_lonlat(2.0, -1.54)
PLACES = {
    "ahead": np.array([0.0, 0.0, 1.0]),
    "anywhere": sphere.direction_from_lonlat(-2.0, 0.7),
    "seam": SEAM,
    "zenith": ZENITH,
    "near nadir": NEAR_NADIR,
}


def encoded(height: int, dtype: Any = np.uint8) -> np.ndarray:
    """A panorama whose colour is the direction: 127.5 + 127.5 d."""
    colours = 127.5 + 127.5 * sphere.cell_directions(2 * height, height)
    return np.rint(colours).astype(dtype) if dtype == np.uint8 else colours.astype(dtype)


def decoded(pixels: np.ndarray) -> np.ndarray:
    """The directions that colours stand for."""
    return sphere.normalise(pixels.astype(np.float64) - 127.5)


def dotted(height: int, place: np.ndarray, radius: float) -> np.ndarray:
    """A black panorama with a soft white dot."""
    angle = sphere.angle_between(sphere.cell_directions(2 * height, height), place)
    return np.repeat(np.rint(255.0 * np.exp(-0.5 * (angle / radius) ** 2))[..., None], 3, axis=2).astype(np.uint8)


def dot_in(panorama: np.ndarray) -> np.ndarray:
    """The direction of the only dot in a panorama: its centroid on the sphere."""
    height, width = panorama.shape[:2]
    weights = panorama[..., 0].astype(np.float64) * sphere.cell_solid_angles(width, height)
    return sphere.normalise(np.einsum("hw,hwc->c", weights, sphere.cell_directions(width, height)))


def rays(head: np.ndarray, reach: float, size: int, roll: float = 0.0) -> np.ndarray:
    """Directions (size, size, 3) that the pixels of a crop have to show, from longitude and latitude alone."""
    lon, lat = (float(angle) for angle in sphere.lonlat_from_direction(head))
    right = np.array([np.cos(lon), 0.0, -np.sin(lon)])
    up = np.array([-np.sin(lat) * np.sin(lon), -np.cos(lat), -np.sin(lat) * np.cos(lon)])
    # a camera turned clockwise has its right hand side lower
    right, up = np.cos(roll) * right - np.sin(roll) * up, np.sin(roll) * right + np.cos(roll) * up
    steps = ((np.arange(size) + 0.5) / size * 2.0 - 1.0) * np.tan(reach)
    return sphere.normalise(head + steps[None, :, None] * right - steps[:, None, None] * up)


def subject(name: str, head: np.ndarray, gaze: np.ndarray | None = None, radius: float = 0.12) -> Subject:
    points = np.zeros((0, 3)) if gaze is None else sphere.exp_map(gaze, np.array([[0.01, 0.0], [-0.01, 0.0]]))
    return Subject(name, head, radius, gaze, points, gaze is not None)


def prepared(folder: Path, picture: np.ndarray, people: list[Subject], settings: DataSettings) -> Prepared:
    """A picture and people, prepared from a file."""
    write_image(folder / "panorama.png", picture)
    return prepare(folder / "panorama.png", people, settings, "panorama")


def same(a: Prepared, b: Prepared) -> bool:
    """Whether two prepared panoramas are equal bit for bit."""
    return (
        a.panorama_id == b.panorama_id
        and np.array_equal(a.panorama, b.panorama)
        and len(a.people) == len(b.people)
        and all(_same_person(one, other) for one, other in zip(a.people, b.people, strict=True))
    )


def _same_person(one: Person, other: Person) -> bool:
    if (one.gaze is None) != (other.gaze is None):
        return False
    pairs = zip(
        one._replace(gaze=one.gaze is None or one.gaze), other._replace(gaze=other.gaze is None or other.gaze), strict=True
    )
    return all(np.array_equal(a, b) for a, b in pairs)
