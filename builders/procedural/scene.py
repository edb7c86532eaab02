"""A scene: a room, its things and people, one camera position, and what is true of everybody's gaze.

Conventions
-----------
World: metres, x right, y down, z forward; the floor is y = 0. Panoramas and photos of a scene share ``camera``, its one
viewpoint, so a photo pasted on the sphere must agree with the panorama. The gaze runs from the midpoint between the eyes to
``Gaze.point``; it is a property of the scene, known exactly. All flags are computed by rays, not by projection:

``face``        side of the head that the camera sees: angle between the way the head faces and the direction to the camera
                below 60 degrees (front), up to 120 (side), beyond (back)
``visibility``  whether the camera sees what is looked at, at the very target point (visible, hidden)
``sight_line``  whether the person does (clear, blocked); their own body does not count
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from builders.procedural.figures import HAIR_PART, HEAD_PART, Body
from builders.procedural.paint import Colour
from builders.procedural.room import Room
from builders.procedural.shapes import Primitive, half_extents, meet, outline
from builders.procedural.trace import Tracer
from srgaze360 import sphere
from srgaze360.sphere import FloatArray

Arrangement = Literal["group", "around"]
EntityKind = Literal["person", "object", "furniture"]
TargetKind = Literal["object", "person", "surface"]
FaceSide = Literal["front", "side", "back"]
Visibility = Literal["visible", "hidden"]
SightLine = Literal["clear", "blocked"]

FRONT_BELOW_DEG, BACK_ABOVE_DEG = 60.0, 120.0


@dataclass(frozen=True)
class Entity:
    """A thing or a person that solids belong to, by its place in :attr:`Scene.entities`."""

    kind: EntityKind
    name: str


@dataclass(frozen=True, eq=False)
class Gaze:
    """What a person looks at: a point (3,), its kind, and the entity it belongs to (None for walls and floor)."""

    point: FloatArray
    kind: TargetKind
    entity: int | None


@dataclass(frozen=True, eq=False)
class Figure:
    """A person: ``entity`` number, body, rotation (3, 3) of the head, centres (2, 3) of the eyes, and the gaze.

    ``held`` is the entity of what is in the person's hands.
    """

    entity: int
    body: Body
    head_rotation: FloatArray
    eyes: FloatArray
    gaze: Gaze
    held: int | None = None

    @property
    def eye(self) -> FloatArray:
        """Midpoint (3,) between the eyes: where the gaze starts."""
        return np.asarray(self.eyes.mean(axis=0))

    @property
    def distance(self) -> float:
        """Distance from the eyes to the target, metres."""
        return float(np.linalg.norm(self.gaze.point - self.eye))


@dataclass(frozen=True)
class Light:
    """One lamp near the ceiling and light from all around: position (3,) in metres, colours in any linear unit."""

    position: tuple[float, float, float]
    lamp: Colour
    above: Colour
    below: Colour


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything there is to render, and to know. A function of (seed, arrangement, index)."""

    seed: int
    index: int
    arrangement: Arrangement
    room: Room
    camera: FloatArray
    front_deg: float
    light: Light
    entities: tuple[Entity, ...]
    solids: tuple[Primitive, ...]
    figures: tuple[Figure, ...]

    @cached_property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Centres (n, 3) and radii (n,) of balls around all solids."""
        centres = np.array([solid.centre for solid in self.solids])
        return centres, np.array([np.linalg.norm(solid.to_world * half_extents(solid)) for solid in self.solids])

    @cached_property
    def tracer(self) -> Tracer:
        """Meets rays with all solids."""
        return Tracer(self.solids)

    def direction(self, points: FloatArray) -> FloatArray:
        """Directions (..., 3) in which the camera position sees world points (..., 3)."""
        return sphere.normalise(points - self.camera)


@dataclass(frozen=True)
class Flags:
    """What is true of one person's gaze; see the top of this module."""

    face: FaceSide
    visibility: Visibility
    sight_line: SightLine
    target_kind: TargetKind


def _first_met(scene: Scene, start: FloatArray, end: FloatArray, without: int | None) -> Primitive | None:
    """First solid on the segment from ``start`` to ``end``, both ends excluded; the entity ``without`` is looked through."""
    ray = end - start
    length = float(np.linalg.norm(ray))
    centres, reaches = scene.bounds
    along = np.clip((centres - start) @ ray / length**2, 0.0, 1.0)
    near = np.linalg.norm(start + along[:, None] * ray - centres, axis=1) <= reaches
    rays = (ray[0:1], ray[1:2], ray[2:3])
    first, best = None, 1.0 - 1e-6
    for index in np.flatnonzero(near):
        solid = scene.solids[index]
        if solid.entity == without:
            continue
        distance = float(meet(solid, start, rays)[0])
        if distance < best:
            first, best = solid, distance
    return first


def _sees(scene: Scene, start: FloatArray, gaze: Gaze, without: int | None) -> bool:
    met = _first_met(scene, start, gaze.point, without)
    if met is None:
        return True  # the point itself comes first: bare surface, or the front of what it belongs to
    return met.entity == gaze.entity and (gaze.kind != "person" or met.part in (HEAD_PART, HAIR_PART))


def face_side(angle: float) -> FaceSide:
    """Side of a head that is seen at ``angle`` (radians) from the way it faces."""
    degrees = np.degrees(angle)
    return "front" if degrees < FRONT_BELOW_DEG else "side" if degrees <= BACK_ABOVE_DEG else "back"


def gaze_flags(scene: Scene, figure: Figure) -> Flags:
    """Flags of one person, computed by rays in float64."""
    to_camera = scene.camera - figure.body.head
    return Flags(
        face=face_side(float(sphere.angle_between(figure.head_rotation[:, 2], to_camera))),
        visibility="visible" if _sees(scene, scene.camera, figure.gaze, None) else "hidden",
        sight_line="clear" if _sees(scene, figure.eye, figure.gaze, figure.entity) else "blocked",
        target_kind=figure.gaze.kind,
    )


def outlines(scene: Scene, figure: Figure, part: str | None = None) -> FloatArray:
    """Directions (n, 3) whose extremes are those of a person (or of one ``part``, such as the head) seen from the camera."""
    solids = [solid for solid in scene.solids if solid.entity == figure.entity and part in (None, solid.part)]
    return scene.direction(outline(solids, scene.camera))
