"""The room: a box seen from inside, with papered, tiled, panelled or plain faces.

Conventions
-----------
Room coordinates are the world's (x right, y down, z forward, metres); the floor is y = 0, the ceiling y = -height. Faces
are numbered 2 axis + (1 for the high side): 0, 1 walls across x; 2 ceiling, 3 floor; 4, 5 walls across z. A face has
coordinates (u, v) in metres: on walls u runs along the wall and v is the height above the floor, elsewhere u = x, v = z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from builders.procedural.paint import Albedo, Colour, albedo_of, blend, column, flat, hashed, mix, scaled, srgb
from builders.procedural.shapes import Array, Primitive, Rays, surface
from srgaze360.sphere import FloatArray

CEILING, FLOOR = 2, 3
WALLS = (0, 1, 4, 5)


@dataclass(frozen=True)
class Face:
    """How a face of the room looks: pattern, its colours, and the size of its cells in metres."""

    pattern: str
    colours: tuple[Colour, ...]
    cell: float


@dataclass(frozen=True, eq=False)
class Room:
    """Corners (3,) of the room, its six faces, and a rug: a box, of which the part on the floor shows."""

    low: FloatArray
    high: FloatArray
    faces: tuple[Face, ...]
    rug: Primitive | None = None

    @property
    def height(self) -> float:
        """Height of the ceiling, metres."""
        return float(-self.low[1])

    def meet(self, origin: FloatArray, rays: Rays) -> tuple[Array, NDArray[np.int8]]:
        """Where rays from inside leave the room: distances (in lengths of the rays) and numbers of the faces."""
        distances = []
        with np.errstate(divide="ignore", invalid="ignore"):
            for axis, step in enumerate(rays):
                inverse = 1.0 / step
                low, high = float(self.low[axis] - origin[axis]), float(self.high[axis] - origin[axis])
                distances.append(np.maximum(low * inverse, high * inverse))
        best = np.minimum(np.minimum(*distances[:2]), distances[2])
        x, y, z = (step > 0.0 for step in rays)
        face = np.where(distances[1] == best, y + np.int8(2), np.where(distances[0] == best, x, z + np.int8(4)))
        return best, np.asarray(face, dtype=np.int8)

    def face_normal(self, face: int) -> FloatArray:
        """Normal (3,) of a face, into the room."""
        normal = np.zeros(3)
        normal[face // 2] = -1.0 if face % 2 else 1.0
        return normal

    def face_axes(self, face: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """World axis and sign that give u, and those that give v."""
        return (((2, 1), (1, -1)), ((0, 1), (2, 1)), ((0, 1), (1, -1)))[face // 2]

    def face_limits(self, face: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges of u and v on a face."""
        x, z = (float(self.low[0]), float(self.high[0])), (float(self.low[2]), float(self.high[2]))
        return ((z, (0.0, self.height)), (x, z), (x, (0.0, self.height)))[face // 2]

    def face_points(self, face: int, u: FloatArray, v: FloatArray) -> FloatArray:
        """World points (..., 3) of face coordinates."""
        level = np.full_like(u, (self.high if face % 2 else self.low)[face // 2])
        parts = (level, -v, u) if face < CEILING else (u, level, v) if face <= FLOOR else (u, -v, level)
        return np.stack(parts, axis=-1)

    def albedo(self, face: int, u: Array, v: Array) -> Albedo:
        """Albedo (3, n) at coordinates (n,) of a face."""
        look = self.faces[face]
        albedo = PATTERNS[look.pattern](look, u, v)
        if face != FLOOR or self.rug is None:
            return albedo
        (x, y, z), _ = surface(self.rug, (u, np.zeros_like(u), v))
        on_it = (np.abs(x) < 1.0) & (np.abs(z) < 1.0)
        return np.where(on_it, albedo_of(self.rug.paint, x, y, z), albedo)


# --- patterns -------------------------------------------------------------------------------------------------------------


def _tinted(colour: Colour, amount: Array, strength: float) -> Albedo:
    """``colour`` made lighter or darker by ``amount`` in [0, 1), by up to ``strength``."""
    factor = (1.0 - strength) + (2.0 * strength) * amount
    return np.asarray(column(colour) * factor)


def _plain(face: Face, u: Array, _: Array) -> Albedo:
    return flat(face.colours[0], len(u))


def _cloudy(face: Face, u: Array, v: Array) -> Albedo:
    """Plaster or concrete: slow waves of tint."""
    k = 2.0 / face.cell
    waves = np.sin(k * u + np.sin(0.7 * k * v)) + np.sin(1.3 * k * v + 1.7 * np.sin(0.5 * k * u))
    return _tinted(face.colours[0], 0.5 + 0.25 * waves, 0.12)


def _stripes(face: Face, u: Array, _: Array) -> Albedo:
    phase = u / face.cell
    return blend(flat(face.colours[0], len(u)), face.colours[1], phase - np.floor(phase) < 0.5)


def _wainscot(face: Face, u: Array, v: Array) -> Albedo:
    """Panelled below a rail at 0.95 m, plain above."""
    base = blend(flat(face.colours[0], len(u)), face.colours[1], v < 0.95)
    phase = u / face.cell
    groove = (v < 0.95) & (np.abs(phase - np.round(phase)) * face.cell < 0.012)
    return blend(blend(base, scaled(face.colours[1], 0.7), groove), scaled(face.colours[1], 1.25), np.abs(v - 0.95) < 0.03)


def _bricks(face: Face, u: Array, v: Array) -> Albedo:
    row = np.floor(v / (0.45 * face.cell))
    along = u / face.cell + 0.5 * (row % 2.0)
    brick = np.floor(along)
    base = _tinted(face.colours[0], hashed(brick, row), 0.22)
    joint = (along - brick < 0.06) | (v / (0.45 * face.cell) - row < 0.12)
    return blend(base, face.colours[1], joint)


def _planks(face: Face, u: Array, v: Array) -> Albedo:
    row = np.floor(u / (0.3 * face.cell))
    along = v / (2.4 * face.cell) + hashed(row) * 5.0
    plank = np.floor(along)
    base = _tinted(face.colours[0], hashed(plank, row), 0.2)
    joint = (u / (0.3 * face.cell) - row < 0.05) | (along - plank < 0.008)
    return blend(base, scaled(face.colours[0], 0.55), joint)


def _tiles(face: Face, u: Array, v: Array) -> Albedo:
    i, j = np.floor(u / face.cell), np.floor(v / face.cell)
    base = _tinted(face.colours[0], hashed(i, j), 0.07)
    return blend(base, face.colours[1], (u / face.cell - i < 0.04) | (v / face.cell - j < 0.04))


def _checks(face: Face, u: Array, v: Array) -> Albedo:
    odd = (np.floor(u / face.cell) + np.floor(v / face.cell)) % 2.0 == 1.0
    return blend(flat(face.colours[0], len(u)), face.colours[1], odd)


def _diamonds(face: Face, u: Array, v: Array) -> Albedo:
    a, b = u / face.cell, v / (1.6 * face.cell)
    inside = np.abs(a - np.round(a)) + np.abs(b - np.round(b)) < 0.3
    return blend(flat(face.colours[0], len(u)), face.colours[1], inside)


def _dots(face: Face, u: Array, v: Array) -> Albedo:
    row = np.floor(v / face.cell)
    a, b = u / face.cell + 0.5 * (row % 2.0), v / face.cell - row - 0.5
    return blend(flat(face.colours[0], len(u)), face.colours[1], (a - np.round(a)) ** 2 + b * b < 0.03)


def _carpet(face: Face, u: Array, v: Array) -> Albedo:
    return _tinted(face.colours[0], hashed(np.floor(u * (2.0 / face.cell)), np.floor(v * (2.0 / face.cell))), 0.1)


PATTERNS: dict[str, Callable[[Face, Array, Array], Albedo]] = {
    "plain": _plain,
    "cloudy": _cloudy,
    "stripes": _stripes,
    "wainscot": _wainscot,
    "bricks": _bricks,
    "planks": _planks,
    "tiles": _tiles,
    "checks": _checks,
    "diamonds": _diamonds,
    "dots": _dots,
    "carpet": _carpet,
}
ON_WALLS = {
    "plain": 0.2,
    "cloudy": 0.16,
    "stripes": 0.14,
    "wainscot": 0.16,
    "bricks": 0.1,
    "diamonds": 0.1,
    "dots": 0.08,
    "tiles": 0.06,
}
ON_FLOOR = {"planks": 0.4, "tiles": 0.2, "checks": 0.12, "carpet": 0.2, "cloudy": 0.08}
CELLS = {
    "cloudy": (0.6, 1.6), "stripes": (0.12, 0.4), "wainscot": (0.25, 0.5), "bricks": (0.22, 0.4), "diamonds": (0.3, 0.7),
    "dots": (0.2, 0.45), "tiles": (0.3, 0.7), "planks": (0.4, 0.8), "checks": (0.35, 0.7), "carpet": (0.08, 0.2),
}  # fmt: skip

# walls, accent, floor: pairs and triples that sit well together
SCHEMES: tuple[tuple[Colour, Colour, Colour], ...] = tuple(
    (srgb(*wall), srgb(*accent), srgb(*floor))
    for wall, accent, floor in (
        ((226, 220, 208), (146, 164, 140), (176, 136, 96)),
        ((206, 214, 220), (70, 96, 128), (120, 90, 66)),
        ((236, 222, 196), (190, 110, 82), (196, 176, 152)),
        ((232, 212, 208), (142, 92, 112), (190, 160, 128)),
        ((206, 224, 214), (64, 122, 122), (150, 146, 142)),
        ((198, 196, 192), (208, 162, 72), (146, 118, 92)),
        ((214, 208, 226), (108, 100, 150), (164, 150, 140)),
        ((222, 204, 180), (150, 72, 58), (132, 124, 116)),
        ((240, 236, 228), (96, 120, 92), (104, 78, 58)),
        ((182, 198, 210), (224, 214, 196), (174, 156, 132)),
        ((238, 208, 150), (186, 92, 62), (140, 100, 66)),
        ((134, 158, 150), (222, 206, 176), (98, 82, 72)),
        ((120, 134, 158), (220, 186, 150), (150, 128, 108)),
        ((206, 132, 112), (240, 222, 196), (118, 88, 70)),
    )
)


def _choice(rng: np.random.Generator, weights: dict[str, float]) -> str:
    total = sum(weights.values())
    return str(rng.choice(list(weights), p=[weight / total for weight in weights.values()]))


def _face(rng: np.random.Generator, pattern: str, first: Colour, second: Colour) -> Face:
    low, high = CELLS.get(pattern, (1.0, 1.0))
    return Face(pattern, (first, second), float(rng.uniform(low, high)))


def sample_room(rng: np.random.Generator) -> Room:
    """Draw a room: 6.2 to 9.5 m by 6.2 to 9.5 m, 2.5 to 3.4 m high, its x and z ranges starting at 0."""
    width, depth, height = rng.uniform(6.2, 9.5), rng.uniform(6.2, 9.5), rng.uniform(2.5, 3.4)
    wall, accent, floor = SCHEMES[rng.integers(len(SCHEMES))]
    pattern = _choice(rng, ON_WALLS)
    contrast = float(rng.uniform(0.08, 0.5))
    second = {
        "wainscot": accent,
        "bricks": mix(wall, srgb(228, 222, 212), 0.6),
        "tiles": scaled(wall, 0.7),
    }.get(pattern, mix(wall, accent, contrast))
    first = mix(accent, srgb(160, 86, 66), 0.5) if pattern == "bricks" else wall
    papered = _face(rng, pattern, first, second)
    # one wall may differ from the others
    feature = _face(rng, _choice(rng, ON_WALLS), accent, mix(accent, wall, contrast)) if rng.random() < 0.5 else papered
    special = int(rng.integers(4))
    walls = [feature if index == special else papered for index in range(4)]
    ground = _choice(rng, ON_FLOOR)
    floor_second = {"tiles": scaled(floor, 0.72), "checks": mix(floor, accent, 0.45)}.get(ground, scaled(floor, 0.8))
    below = _face(rng, ground, mix(floor, accent, 0.3) if ground == "carpet" else floor, floor_second)
    above = Face("plain", (mix(srgb(240, 238, 234), wall, 0.2),), 1.0)
    faces = (walls[0], walls[1], above, below, walls[2], walls[3])
    return Room(np.array([0.0, -height, 0.0]), np.array([width, 0.0, depth]), faces)
