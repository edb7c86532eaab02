"""A panorama and the people on it: what the data side hands from step to step until it becomes a batch.

Conventions
-----------
Directions are unit vectors (3,), float64, in the axes of :mod:`srgaze360.sphere`; angles are radians; pictures are RGB, uint8.
A crop is a gnomonic view centred on the head, local north up (:mod:`baselines.data.crops`). A *stored* crop is wider than the
one that a network sees, so that the latter can be cut from it turned and shifted.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from srgaze360.images import UInt8Array
from srgaze360.predictors import Query
from srgaze360.sphere import FloatArray


class Subject(NamedTuple):
    """What is known of a person before any pixel is read; fields as in :class:`Person`."""

    sample_id: str
    head: FloatArray
    radius: float
    gaze: FloatArray | None
    points: FloatArray
    in_frame: bool

    @classmethod
    def of(cls, query: Query) -> Self:
        """The person a query is about: nothing is known of the gaze."""
        return cls(query.sample_id, query.head, query.head_radius, None, np.zeros((0, 3)), True)


class Person(NamedTuple):
    """A person on a panorama.

    Attributes
    ----------
    sample_id
        Id of the person on this panorama.
    head
        Direction (3,) of the head, the centre of the crop.
    radius
        Angular radius of the head.
    crop
        (S, S, 3): the stored crop, or the one that a network sees.
    crop_reach
        Half the angle that the crop shows across.
    gaze
        Consensus (3,), or None where unknown.
    points
        Annotations (m, 3).
    in_frame
        The target lies inside the source photo.
    photo
        (r, 2r): 255 where the panorama shows the source photo, 0 beside; None where that is not known.
    """

    sample_id: str
    head: FloatArray
    radius: float
    crop: UInt8Array
    crop_reach: float
    gaze: FloatArray | None
    points: FloatArray
    in_frame: bool
    photo: UInt8Array | None = None


class Prepared(NamedTuple):
    """A panorama (h, 2h, 3) and the people on it."""

    panorama_id: str
    panorama: UInt8Array
    people: tuple[Person, ...]
