"""Drawing scenes: rooms, who stands where, and what there is to look at.

Conventions
-----------
A scene is a function of (seed, arrangement, index) alone. ``group``: people and most things stand before the camera, in a
sector around ``front_deg``, as photos are taken; some things are elsewhere, so that some targets fall outside any photo.
``around``: people and things on all sides of the camera, things at its foot and above it, and a camera lower or higher than
eyes are: panoramas hold targets that no photo of the person would show. What is *elsewhere* (see ``cast``) is, for ``group``,
what stands outside the sector, and for ``around`` what is above and below the camera.

Colours are varied on purpose: objects are vivid in some scenes, dull in others, and at times of the colour of the wall, so
that what is looked at cannot be found by its colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from builders.procedural import things
from builders.procedural.assembly import Assembly, turn
from builders.procedural.casting import Habits, cast
from builders.procedural.figures import Body, Posture
from builders.procedural.paint import Colour, Paint, mix, scaled
from builders.procedural.room import FLOOR, Room, sample_room
from builders.procedural.scene import Arrangement, Gaze, Light, Scene
from builders.procedural.stage import Stage
from srgaze360 import sphere
from srgaze360.errors import InputError
from srgaze360.files import generator
from srgaze360.sphere import FloatArray

RUGS: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("plain", ()),
    ("bands", (0.0, 5.0, 0.5)),
    ("bands", (2.0, 9.0, 0.3)),
    ("checks", (3.0,)),
    ("dots", (3.0, 0.3)),
)


HEADROOM = 0.7  # metres at least between camera and ceiling
STEEPNESS = 1.1  # greatest distance to the side of what is above or below the camera, for each metre up or down
LAMP_CLEARANCE = 0.8  # metres


@dataclass(frozen=True)
class _Plan:
    """Numbers of an arrangement: degrees, metres from the camera, and half-open ranges of counts.

    ``camera_height`` is mean, standard deviation, lowest, highest; ``above_and_below`` counts the things above
    the camera and, drawn again, those at its foot.
    """

    sector_deg: float
    free: float
    people_at: tuple[float, float]
    gap_deg: float
    objects_at: tuple[float, float]
    objects: tuple[int, int]
    elsewhere: tuple[int, int]
    habits: Habits
    camera_height: tuple[float, float, float, float]
    above_and_below: tuple[int, int] | None = None


AS_IN_PHOTOS = Habits({"object": 0.15, "surface": 0.3}, {"front": 1.0, "side": 0.75, "back": 0.3})
ALL_AROUND = Habits({"object": 0.45}, {"front": 0.7, "side": 1.0, "back": 1.0})
ARRANGEMENTS: dict[str, _Plan] = {
    "group": _Plan(23.0, 4.7, (2.5, 5.5), 5.0, (2.5, 5.5), (3, 7), (1, 4), AS_IN_PHOTOS, (1.5, 0.12, 1.15, 1.75)),
    "around": _Plan(180.0, 2.2, (1.2, 2.8), 28.0, (1.3, 4.0), (5, 9), (0, 1), ALL_AROUND, (1.45, 0.25, 0.95, 1.95), (1, 4)),
}


def sample_scene(seed: int, index: int, arrangement: Arrangement = "group") -> Scene:
    """Scene ``index`` of the sequence that ``seed`` starts.

    Parameters
    ----------
    seed, index
        Whole numbers, 0 or more. A scene does not depend on any other.
    arrangement
        ``"group"`` (for photos) or ``"around"`` (for panoramas).
    """
    if arrangement not in ("group", "around"):
        raise InputError(f"The arrangement of a scene must be group or around; found {arrangement!r}.")
    plan = ARRANGEMENTS[arrangement]
    rng = generator(seed, "procedural scene", arrangement, index)
    room = sample_room(rng)
    camera, front_deg = _viewpoint(rng, room, plan)
    vividness = float(np.clip(rng.normal(0.75, 0.25), 0.2, 1.0))
    stage = Stage(rng, room, camera, front_deg, plan.sector_deg, vividness)
    below, above = _place_below_and_above(stage, plan)  # before the camera's own place is taken
    stage.taken.append((float(camera[0]), float(camera[2]), 0.75))

    bodies = _place_people(stage, plan)
    shown = _place_objects(stage, plan.objects_at, int(rng.integers(*plan.objects)), inside=True)
    elsewhere = _place_objects(stage, (1.5, 4.5), int(rng.integers(*plan.elsewhere)), inside=False)
    _furnish(stage)
    figures = cast(stage, bodies, shown, elsewhere + below + above, plan.habits)
    light = _sample_light(rng, room, above)
    return Scene(
        seed, index, arrangement, stage.room, camera, front_deg, light, tuple(stage.entities), tuple(stage.solids), figures
    )


def _viewpoint(rng: np.random.Generator, room: Room, plan: _Plan) -> tuple[FloatArray, float]:
    """Camera position, off the room's middle, and a direction in which the free metres lie before the wall."""
    mean, spread, lowest, highest = plan.camera_height
    height = float(np.clip(rng.normal(mean, spread), lowest, min(highest, room.height - HEADROOM)))
    camera, front_deg = np.zeros(3), 0.0
    for _ in range(200):
        x, z = (float(rng.uniform(0.14, 0.86) * size) for size in room.high[[0, 2]])
        camera, front_deg = np.array([x, -height, z]), float(rng.uniform(-180.0, 180.0))
        sides = sphere.direction_from_lonlat(np.radians(front_deg + np.array([-16.0, 0.0, 16.0])), 0.0)
        distance, _ = room.meet(camera, (sides[:, 0], sides[:, 1], sides[:, 2]))
        if distance.min() > plan.free and min(x, z, room.high[0] - x, room.high[2] - z) > 0.85:
            break
    return camera, front_deg


def _place_below_and_above(stage: Stage, plan: _Plan) -> tuple[list[Gaze], list[Gaze]]:
    """Place things at the camera's foot and hang things above it, most of them steeper than 45 degrees."""
    below: list[Gaze] = []
    above: list[Gaze] = []
    if plan.above_and_below is None:
        return below, above
    rng, height = stage.rng, float(-stage.camera[1])
    for name in rng.permutation(things.ON_FLOOR)[: rng.integers(*plan.above_and_below)]:
        place = stage.spot(0.2, (0.0, STEEPNESS * (height - 0.15)), inside=True)
        if place is not None:
            turned = turn(rng.uniform(-180, 180))
            below.append(stage.build(str(name), things.OBJECTS[name], place, turned, rng.uniform(0.8, 1.2)))
    room_for = stage.room.height - height - 0.2
    for name in rng.permutation(list(things.HANGING))[: rng.integers(*plan.above_and_below)]:
        scale = float(rng.uniform(0.8, min(1.5, room_for / things.HANGING_LENGTH)))
        place = stage.spot(0.25, (0.0, STEEPNESS * (room_for + 0.2 - 0.6 * scale * things.HANGING_LENGTH)), inside=True)
        if place is not None:
            ceiling = np.array([place[0], stage.room.low[1], place[2]])
            above.append(stage.build(str(name), things.HANGING[name], ceiling, turn(rng.uniform(-180, 180)), scale))
    return below, above


def _place_people(stage: Stage, plan: _Plan) -> list[tuple[Body, int]]:
    rng = stage.rng
    bodies: list[tuple[Body, int]] = []
    for _ in range(int(rng.choice([2, 3, 4], p=[0.3, 0.4, 0.3]))):
        posture: Posture = "sitting" if rng.random() < 0.3 else "standing"
        place = stage.spot(0.46 if posture == "sitting" else 0.34, plan.people_at, inside=True, gap_deg=plan.gap_deg)
        if place is None:
            continue
        stature = float(rng.uniform(0.62, 0.78)) if rng.random() < 0.12 else float(np.clip(rng.normal(0.99, 0.05), 0.88, 1.1))
        to_camera = np.degrees(np.arctan2(*(stage.camera - place)[[0, 2]]))
        body = Body(place, float(to_camera + rng.normal(0.0, 75.0)), stature, posture)
        bodies.append((body, stage.entity("person", f"person {len(bodies)}")))
    return bodies


def _place_objects(stage: Stage, distances: tuple[float, float], count: int, *, inside: bool) -> list[Gaze]:
    """Place ``count`` objects, about a fifth on walls, the rest on tables and on the floor."""
    rng = stage.rng
    names = [str(name) for name in rng.permutation(list(things.OBJECTS))]
    placed: list[Gaze] = []
    while len(placed) < count and names:
        kind = rng.random()
        if kind < 0.2:
            name = str(rng.choice(list(things.ON_WALL)))
            half = 0.55 if name == "screen" else 0.48 if name == "painting" else 0.24
            where = stage.place_on_wall(half, (1.25, 1.75), inside=inside)
            if where is not None:
                placed.append(stage.build(name, things.ON_WALL[name], *where, 1.0))
                continue
        if kind < 0.68:
            placed += _laid_table(stage, distances, names, count - len(placed), inside=inside)
            continue
        name = names.pop()
        place = stage.spot(0.3, distances, inside=inside) if name in things.ON_FLOOR else None
        if place is not None:
            placed.append(stage.build(name, things.OBJECTS[name], place, turn(rng.uniform(-180, 180)), rng.uniform(1.1, 1.9)))
    return placed


def _laid_table(stage: Stage, distances: tuple[float, float], names: list[str], room_for: int, *, inside: bool) -> list[Gaze]:
    rng = stage.rng
    half = (float(rng.uniform(0.34, 0.75)), float(rng.uniform(0.3, 0.42)))
    count = min(int(half[0] / 0.24), int(rng.integers(1, 4)), room_for, len(names))
    chosen = [names.pop() for _ in range(count)]
    place = stage.spot(float(np.hypot(*half)), distances, inside=inside)
    if place is None:
        return []
    height, rotation = float(rng.uniform(0.45, 0.8)), turn(float(rng.uniform(-180.0, 180.0)))
    feet = [((2.0 * slot + 1.0) / count * half[0] - half[0], float(rng.uniform(-0.08, 0.08))) for slot in range(count)]
    kit = stage.furniture("table", place, rotation)
    things.table(kit, half, height, Paint((scaled(things.WOOD, float(rng.uniform(0.4, 1.6))),), gloss=0.15), feet)
    stage.solids += kit.solids
    placed = []
    for name, (x, z) in zip(chosen, feet, strict=True):
        turned = turn(float(rng.uniform(-180.0, 180.0)))
        placed.append(
            stage.build(name, things.OBJECTS[name], kit.world((x, -height, z)), turned, float(rng.uniform(0.75, 1.05)))
        )
    return placed


def _furnish(stage: Stage) -> None:
    """Add what nobody looks at: windows, a door, pictures, a rug, a lamp, a cabinet."""
    rng = stage.rng
    for inside in (True, False, rng.random() < 0.5):
        where = stage.place_on_wall(0.65, (1.45, 1.6), inside=bool(inside))
        if where is not None and rng.random() < 0.75:
            kit = stage.furniture("window", *where)
            things.window(kit, (float(rng.uniform(0.35, 0.6)), float(rng.uniform(0.4, 0.55))), float(rng.uniform(0, 6)))
            stage.solids += kit.solids
    where = stage.place_on_wall(0.5, (0.0, 0.0), inside=bool(rng.random() < 0.4))
    if where is not None:
        kit = stage.furniture("door", *where)
        things.door(kit, Paint((mix(things.WOOD, stage.colours(1)[0], float(rng.uniform(0, 0.8))),)))
        stage.solids += kit.solids
    for _ in range(int(rng.integers(0, 3))):
        where = stage.place_on_wall(0.48, (1.35, 1.8), inside=bool(rng.random() < 0.5))
        if where is not None:
            kit = stage.furniture("poster", *where)
            things.ON_WALL["painting"](kit, stage.colours(), rng)
            stage.solids += kit.solids
    where = stage.place_on_wall(0.75, (0.0, 0.0), inside=bool(rng.random() < 0.5))
    if where is not None and all(np.hypot(where[0][0] - x, where[0][2] - z) > 1.0 + r for x, z, r in stage.taken):
        kit = stage.furniture("cabinet", *where)
        half = (float(rng.uniform(0.4, 0.65)), float(rng.uniform(0.3, 0.5)), 0.2)
        things.cabinet(kit, half, Paint((mix(things.WOOD, stage.colours(1)[0], float(rng.uniform(0, 0.7))),)), things.STEEL)
        stage.solids += kit.solids
    if rng.random() < 0.45:
        place = stage.spot(0.25, (1.6, 6.0), inside=bool(rng.random() < 0.6))
        if place is not None:
            kit = stage.furniture("floor lamp", place, turn(0.0))
            things.floor_lamp(kit, Paint((things.DARK,), gloss=0.3), stage.colours(1)[0])
            stage.solids += kit.solids
    if rng.random() < 0.5:
        stage.room = _rug(stage)


def _rug(stage: Stage) -> Room:
    """Lay a rug on the floor before the camera."""
    rng = stage.rng
    azimuth = np.radians(stage.front_deg + rng.uniform(-0.5, 0.5) * min(stage.sector_deg, 60.0))
    centre = stage.camera + 3.2 * sphere.direction_from_lonlat(azimuth, 0.0)
    half = rng.uniform(0.8, 1.4, 2)
    margin = float(np.hypot(*half)) + 0.1
    centre = np.clip(centre, [margin, 0.0, margin], [stage.room.high[0] - margin, 0.0, stage.room.high[2] - margin])
    first, second = stage.colours(2)
    pattern, numbers = RUGS[rng.integers(len(RUGS))]
    kit = Assembly(0, centre, turn(float(rng.uniform(-180.0, 180.0))))
    kit.box((0, 0, 0), (float(half[0]), 0.01, float(half[1])), Paint((mix(first, things.PALE, 0.3), second), pattern, numbers))
    return replace(stage.room, rug=kit.solids[0])


def _sample_light(rng: np.random.Generator, room: Room, hanging: list[Gaze]) -> Light:
    for _ in range(100):  # the lamp must not be inside a thing that hangs, nor so near that all is in its shadow
        share = rng.uniform(0.25, 0.75, 2)
        if all(np.hypot(*(share * room.high[[0, 2]] - gaze.point[[0, 2]])) > LAMP_CLEARANCE for gaze in hanging):
            break
    warmth = float(rng.uniform(0.0, 1.0))
    lamp = _brighter(mix((1.0, 0.95, 0.86), (0.93, 0.97, 1.0), warmth), float(rng.uniform(1.1, 1.6)))
    above = _brighter(mix((0.9, 0.93, 1.0), (1.0, 0.95, 0.88), warmth), float(rng.uniform(0.42, 0.6)))
    below = _brighter(mix(room.faces[FLOOR].colours[0], (0.7, 0.7, 0.7), 0.6), 0.8)
    position = (float(share[0] * room.high[0]), float(room.low[1]) + 0.2, float(share[1] * room.high[2]))
    return Light(position, lamp, above, below)


def _brighter(colour: Colour, factor: float) -> Colour:
    """Brighter or dimmer light; unlike a surface's colour it has no upper limit."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor
