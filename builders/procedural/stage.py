"""The stage: a scene while it is being put together, and where there is still room in it.

Conventions
-----------
Places are found by drawing until one is free: within ``sector_deg`` to both sides of ``front_deg`` as seen from the camera
(``inside``), or well away from that sector. Everything is drawn from one generator, in one order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from builders.procedural import things
from builders.procedural.assembly import Assembly
from builders.procedural.paint import Colour, mix, srgb
from builders.procedural.room import FLOOR, WALLS, Room
from builders.procedural.scene import Entity, EntityKind, Gaze
from builders.procedural.shapes import Primitive
from srgaze360 import sphere
from srgaze360.sphere import FloatArray

CLEAR_OF_SECTOR_DEG = 35.0
PALETTE: tuple[Colour, ...] = tuple(
    srgb(*c)
    for c in (
        (204, 62, 58), (232, 122, 52), (238, 186, 62), (150, 178, 72), (74, 142, 88), (58, 148, 150), (70, 134, 190),
        (58, 84, 150), (118, 88, 160), (190, 90, 140), (228, 150, 160), (138, 84, 58), (196, 160, 120), (236, 226, 206),
        (88, 96, 108), (44, 50, 64), (150, 196, 190), (222, 206, 120), (168, 64, 76), (120, 148, 176),
    )
)  # fmt: skip


@dataclass
class Stage:
    """The scene while it is being put together."""

    rng: np.random.Generator
    room: Room
    camera: FloatArray
    front_deg: float
    sector_deg: float
    vividness: float
    entities: list[Entity] = field(default_factory=list)
    solids: list[Primitive] = field(default_factory=list)
    taken: list[tuple[float, float, float]] = field(default_factory=list)
    hung: list[tuple[int, float, float]] = field(default_factory=list)
    azimuths: list[float] = field(default_factory=list)

    def entity(self, kind: EntityKind, name: str) -> int:
        """Number of a new entity."""
        self.entities.append(Entity(kind, name))
        return len(self.entities) - 1

    def colours(self, count: int = 3) -> list[Colour]:
        """Colours for one thing; at times they are close to the wall's."""
        chosen = [PALETTE[i] for i in self.rng.choice(len(PALETTE), count, replace=False)]
        wall = self.room.faces[0].colours[int(self.rng.integers(2))]
        blending = float(self.rng.uniform(0.4, 0.85)) if self.rng.random() < 0.25 else 0.0
        return [self.dulled(mix(colour, wall, blending)) for colour in chosen]

    def dulled(self, colour: Colour) -> Colour:
        """Colour as vivid as this scene is."""
        grey = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
        return mix((grey, grey, grey), colour, self.vividness)

    def azimuth(self, *, inside: bool) -> float:
        """Longitude (radians) as seen from the camera, inside or outside the sector of the photos."""
        if inside or self.sector_deg >= 180.0:
            offset = self.rng.uniform(-1.0, 1.0) * self.sector_deg
        else:
            offset = self.rng.uniform(self.sector_deg + CLEAR_OF_SECTOR_DEG, 180.0) * self.rng.choice([-1.0, 1.0])
        return float(np.radians(self.front_deg + offset))

    def ahead(self, azimuth: float, lat: float) -> tuple[FloatArray, int]:
        """Point (3,) at which the camera's line of sight (radians) leaves the room, and the face it is on."""
        direction = sphere.direction_from_lonlat(azimuth, lat)
        distance, faces = self.room.meet(self.camera, (direction[:1], direction[1:2], direction[2:]))
        return np.asarray(self.camera + direction * float(distance[0])), int(faces[0])

    def bare(self, point: FloatArray, face: int) -> bool:
        """Whether nothing hangs or stands at a point of the room's surface."""
        if face not in WALLS:
            return all(np.hypot(point[0] - x, point[2] - z) > radius for x, z, radius in self.taken)
        u = float(point[2] if face < FLOOR else point[0])
        return all(face != other or abs(u - at) > width for other, at, width in self.hung)

    def spot(self, radius: float, distances: tuple[float, float], *, inside: bool, gap_deg: float = 0.0) -> FloatArray | None:
        """Free place (3,) on the floor at a distance from the camera, inside or outside the sector of the photos."""
        for _ in range(80):
            azimuth = self.azimuth(inside=inside)
            distance = float(np.sqrt(self.rng.uniform(distances[0] ** 2, distances[1] ** 2)))
            x = float(self.camera[0] + distance * np.sin(azimuth))
            z = float(self.camera[2] + distance * np.cos(azimuth))
            room = radius + 0.12
            if not (room < x < self.room.high[0] - room and room < z < self.room.high[2] - room):
                continue
            if any(np.hypot(x - tx, z - tz) < radius + tr for tx, tz, tr in self.taken):
                continue
            apart = [abs(float(sphere.wrap_lon(azimuth - other))) for other in self.azimuths]
            if gap_deg and any(angle < np.radians(gap_deg) for angle in apart):
                continue
            self.taken.append((x, z, radius))
            if gap_deg:
                self.azimuths.append(azimuth)
            return np.array([x, 0.0, z])
        return None

    def place_on_wall(
        self, half_width: float, heights: tuple[float, float], *, inside: bool
    ) -> tuple[FloatArray, FloatArray] | None:
        """Free place on a wall: point (3,) and rotation (3, 3) with z into the room."""
        for _ in range(40):
            point, face = self.ahead(self.azimuth(inside=inside), 0.0)
            u = float(point[2] if face < FLOOR else point[0])
            (low, high), _ = self.room.face_limits(face)
            if face not in WALLS or not low + half_width + 0.15 < u < high - half_width - 0.15:
                continue
            if any(face == other and abs(u - at) < half_width + width + 0.1 for other, at, width in self.hung):
                continue
            self.hung.append((face, u, half_width))
            normal = self.room.face_normal(face)
            point[1] = -float(self.rng.uniform(*heights))
            rotation = np.stack([np.cross((0.0, 1.0, 0.0), normal), (0.0, 1.0, 0.0), normal], axis=1)
            return point, rotation
        return None

    def build(self, name: str, builder: things.Builder, origin: FloatArray, rotation: FloatArray, scale: float) -> Gaze:
        """Add an object; returns the gaze of somebody who looks at it."""
        kit = Assembly(self.entity("object", name), origin, rotation, scale)
        point = builder(kit, self.colours(), self.rng)
        self.solids += kit.solids
        return Gaze(kit.world(point), "object", kit.entity)

    def furniture(self, name: str, origin: FloatArray, rotation: FloatArray) -> Assembly:
        """Assembly of a new piece of furniture."""
        return Assembly(self.entity("furniture", name), origin, rotation)
