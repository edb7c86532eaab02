"""Casting: who looks at what, and everybody's body, head and eyes turned accordingly.

Conventions
-----------
Heads turn to where their targets are, mostly; eyes do the rest exactly. Targets are among what is ``shown`` or ``elsewhere``
(see :mod:`builders.procedural.layout`). A person who is looked at is looked at between the
eyes. Photos are mostly taken of faces: there, targets that would turn a face away from the camera are kept less often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from builders.procedural import things
from builders.procedural.assembly import Assembly, turn
from builders.procedural.figures import Body, Looks, build_figure, eye_centres, sample_looks, turn_head
from builders.procedural.paint import Paint, scaled
from builders.procedural.scene import FaceSide, Figure, Gaze, TargetKind, face_side
from builders.procedural.stage import PALETTE, Stage
from srgaze360 import sphere
from srgaze360.sphere import FloatArray

# drawn; of those kept in photos 0.66, 0.26, 0.08
TARGET_SHARES: dict[TargetKind, float] = {"object": 0.61, "person": 0.31, "surface": 0.08}
HOLDS_SOMETHING = 0.12
STEEPEST_GAZE_DEG = 62.0
NEAREST_TARGET = 0.55


class Habits(NamedTuple):
    """How targets are chosen.

    ``elsewhere`` is the share of targets of a kind that are drawn among those elsewhere; ``faces`` the chance to keep a target,
    by the side of the face that the camera then sees.
    """

    elsewhere: Mapping[TargetKind, float]
    faces: Mapping[FaceSide, float]


def cast(
    stage: Stage, bodies: list[tuple[Body, int]], shown: list[Gaze], elsewhere: list[Gaze], habits: Habits
) -> tuple[Figure, ...]:
    """Give everybody a target, turn bodies, heads and eyes, and add their solids."""
    rng = stage.rng
    clothes = [stage.dulled(colour) for colour in PALETTE]
    all_looks = [sample_looks(rng, clothes, child=body.child) for body, _ in bodies]
    held = [_hold(stage, body) if rng.random() < HOLDS_SOMETHING else None for body, _ in bodies]
    aims: list[Gaze] = []
    for number, (body, _) in enumerate(bodies):
        others = [Gaze(other.head, "person", entity) for other, entity in bodies if other is not body]
        own = held[number]
        aims.append(own if own is not None and rng.random() < 0.85 else _choose(stage, body, others, shown, elsewhere, habits))

    # heads turn to where heads are; only then is it known where eyes are, which is what eyes turn to
    rotations = [turn_head(rng, body.head, aim.point) for (body, _), aim in zip(bodies, aims, strict=True)]
    eyes = {entity: eye_centres(body, rotation) for (body, entity), rotation in zip(bodies, rotations, strict=True)}
    figures = []
    for (body, entity), aim, rotation, own, looks in zip(bodies, aims, rotations, held, all_looks, strict=True):
        exact = aim if aim.kind != "person" or aim.entity is None else Gaze(eyes[aim.entity].mean(axis=0), "person", aim.entity)
        turned = body if own is not None else _turned(rng, body, exact.point)
        figures.append(Figure(entity, turned, rotation, eyes[entity], exact, None if own is None else own.entity))
        _dress(stage, turned, looks, rotation, exact, own, entity)
    return tuple(figures)


def _turned(rng: np.random.Generator, body: Body, target: FloatArray) -> Body:
    """Body turned more or less towards the target."""
    yaw = float(np.degrees(np.arctan2(*(target - body.position)[[0, 2]])))
    return Body(body.position, yaw + float(np.clip(rng.normal(0.0, 22.0), -50.0, 50.0)), body.stature, body.posture)


def _hold(stage: Stage, body: Body) -> Gaze:
    """Put something into a person's hands."""
    name = str(stage.rng.choice(list(things.IN_HAND)))
    lift = 0.0 if body.posture == "standing" else 0.4
    at = Assembly(0, body.position, body.rotation, body.stature).world((0.0, lift - 1.17, 0.40))
    return stage.build(name, things.IN_HAND[name], at, body.rotation @ turn(180.0, 32.0), 1.0)


def _dress(stage: Stage, body: Body, looks: Looks, rotation: FloatArray, gaze: Gaze, own: Gaze | None, entity: int) -> None:
    """Add a person's solids, and the chair of one who sits."""
    rng = stage.rng
    seated = body.posture == "sitting"
    if own is not None:
        lift = 0.4 if seated else 0.0
        hands = ((0.13, lift - 1.20, 0.34), (-0.13, lift - 1.20, 0.34))
    elif seated:
        hands = ((0.13, -0.62, 0.30), (-0.13, -0.62, 0.30))
    else:
        swing = rng.uniform(-0.06, 0.14, 2)
        hands = ((0.27, -0.87, float(swing[0])), (-0.27, -0.87, float(swing[1])))
    stage.solids += build_figure(body, looks, rotation, gaze.point, hands, entity)
    if seated:
        kit = stage.furniture("chair", body.position, body.rotation)
        things.chair(kit, Paint((scaled(things.WOOD, float(rng.uniform(0.3, 1.5))),), gloss=0.15))
        stage.solids += kit.solids


def _choose(stage: Stage, body: Body, others: list[Gaze], shown: list[Gaze], elsewhere: list[Gaze], habits: Habits) -> Gaze:
    """Draw a target that a neck allows: not too steep, not too near."""
    rng = stage.rng
    kinds = list(TARGET_SHARES)
    for _ in range(60):
        kind = kinds[rng.choice(len(kinds), p=list(TARGET_SHARES.values()))]
        away = rng.random() < habits.elsewhere.get(kind, 0.0)
        candidates = {"object": elsewhere if away else shown, "person": others}.get(kind, [])
        if kind == "surface":
            gaze = Gaze(_bare_point(stage, inside=not away), "surface", None)
        elif candidates:
            gaze = candidates[rng.integers(len(candidates))]
        else:
            continue
        offset = gaze.point - body.head
        _, lat = sphere.lonlat_from_direction(offset)
        easy = abs(float(lat)) < np.radians(STEEPEST_GAZE_DEG) and np.hypot(offset[0], offset[2]) > NEAREST_TARGET
        side = face_side(float(sphere.angle_between(offset, stage.camera - body.head)))
        if easy and rng.random() < habits.faces[side]:
            return gaze
    return Gaze(_bare_point(stage, inside=True), "surface", None)


def _bare_point(stage: Stage, *, inside: bool) -> FloatArray:
    """Point (3,) on a wall or on the floor where nothing hangs or stands."""
    for _ in range(30):
        point, face = stage.ahead(stage.azimuth(inside=inside), float(np.radians(stage.rng.uniform(-20.0, 8.0))))
        if stage.bare(point, face):
            break
    return point
