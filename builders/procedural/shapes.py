"""Solid shapes, and where rays meet them.

Conventions
-----------
Metres; world axes x right, y down, z forward as in :mod:`srgaze360.sphere`, so up is -y. A primitive is a canonical solid
seen through an affine map: world point = centre + to_world @ local point. Ray parameters are kept by affine maps, so a
distance found in local coordinates is one in the world. Rays are structures of arrays (x, y, z), any shape, float32 or
float64; their directions need not be of unit length. All solids are convex and rays start outside them.

Canonical solids
    ``ball``: unit sphere. ``box``: [-1, 1] cubed. ``drum``: |y| <= 1, radius 1 below (y = 1) and ``size[0]`` above.
    ``limb``: hull of two spheres on the y axis, at -``size[0]`` (radius ``size[1]``) and at +``size[0]`` (radius ``size[2]``),
    neither inside the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from builders.procedural.paint import Paint
from srgaze360 import sphere
from srgaze360.sphere import FloatArray

Shape = Literal["ball", "box", "drum", "limb"]
Array = NDArray[np.floating[Any]]
Rays = tuple[Array, Array, Array]
Size = tuple[float, float, float]

NO_SIZE: Size = (0.0, 0.0, 0.0)
NEAREST = 1e-5  # rays that start on a surface do not meet it
OUTLINE_POINTS = 48


@dataclass(frozen=True, eq=False)
class Primitive:
    """One painted solid. ``entity`` numbers the thing it belongs to, ``part`` names its place in it."""

    shape: Shape
    centre: FloatArray
    to_world: FloatArray
    to_local: FloatArray
    paint: Paint
    entity: int
    part: str
    size: Size = NO_SIZE


def primitive(
    shape: Shape, centre: ArrayLike, to_world: ArrayLike, paint: Paint, entity: int, part: str, size: Size = NO_SIZE
) -> Primitive:
    """Build a primitive from its affine map (3, 3)."""
    to_world = np.asarray(to_world, dtype=np.float64)
    return Primitive(shape, np.asarray(centre, dtype=np.float64), to_world, np.linalg.inv(to_world), paint, entity, part, size)


def frame_along(axis: ArrayLike, forward: ArrayLike) -> FloatArray:
    """Rotation (3, 3) whose columns are x, y, z axes with y along ``axis`` and z as near to ``forward`` as can be."""
    y = sphere.normalise(axis)
    z = np.asarray(forward, dtype=np.float64)
    z = z - y * (y @ z)
    if np.linalg.norm(z) < 1e-6:  # parallel: any z will do
        z = np.cross(y, [1.0, 0.0, 0.0] if abs(y[0]) < 0.9 else [0.0, 0.0, 1.0])
    z = sphere.normalise(z)
    return np.stack([np.cross(y, z), y, z], axis=1)


# --- rays ---------------------------------------------------------------------------------------------------------------


def _first(*candidates: tuple[Array, NDArray[np.bool_]]) -> Array:
    """Smallest ray parameter among candidates that are valid and ahead; infinite where none is."""
    best = np.full_like(candidates[0][0], np.inf)
    for distance, valid in candidates:
        np.minimum(best, distance, out=best, where=valid & (distance > NEAREST))
    return best


def _ball(origin: FloatArray, rays: Rays, _: Size, radius: float = 1.0) -> Array:
    (ox, oy, oz), (dx, dy, dz) = origin.tolist(), rays
    speed = dx * dx + dy * dy + dz * dz
    nearest = (dx * ox + dy * oy + dz * oz) / -speed
    # the miss distance is measured at the nearest point: b^2 - ac would lose its digits for small balls far away
    x, y, z = ox + nearest * dx, oy + nearest * dy, oz + nearest * dz
    inside = radius * radius - (x * x + y * y + z * z)
    distance = nearest - np.sqrt(np.maximum(inside, 0.0) / speed)
    return _first((distance, inside > 0.0))


def _box(origin: FloatArray, rays: Rays, _: Size) -> Array:
    near, far = [], []
    for start, step in zip(origin.tolist(), rays, strict=True):
        inverse = 1.0 / step
        low, high = (-1.0 - start) * inverse, (1.0 - start) * inverse
        near.append(np.minimum(low, high))
        far.append(np.maximum(low, high))
    enter, leave = np.maximum(np.maximum(*near[:2]), near[2]), np.minimum(np.minimum(*far[:2]), far[2])
    return _first((enter, enter <= leave))


def _lateral(origin: FloatArray, rays: Rays, middle: float, slope: float, low: float, high: float) -> list[Any]:
    """Both meetings with the surface of revolution of radius ``middle`` + ``slope`` y, for y between ``low`` and ``high``."""
    (ox, oy, oz), (dx, dy, dz) = origin.tolist(), rays
    radius, growth = middle + slope * oy, slope * dy
    a = dx * dx + dz * dz - growth * growth
    half_b = ox * dx + oz * dz - radius * growth
    c = ox * ox + oz * oz - radius * radius
    inside = half_b * half_b - a * c
    root = np.sqrt(np.maximum(inside, 0.0))
    candidates = []
    for distance in ((-half_b - root) / a, (-half_b + root) / a):
        y = oy + distance * dy
        candidates.append((distance, (inside > 0.0) & (y > low) & (y < high)))
    return candidates


def _drum(origin: FloatArray, rays: Rays, size: Size) -> Array:
    (ox, oy, oz), (dx, dy, dz) = origin.tolist(), rays
    candidates = _lateral(origin, rays, (1.0 + size[0]) / 2.0, (1.0 - size[0]) / 2.0, -1.0, 1.0)
    for level, radius in ((1.0, 1.0), (-1.0, size[0])):
        distance = (level - oy) / dy
        x, z = ox + distance * dx, oz + distance * dz
        candidates.append((distance, x * x + z * z <= radius * radius))
    return _first(*candidates)


def _limb(origin: FloatArray, rays: Rays, size: Size) -> Array:
    half, upper, lower = size
    # the hull's side is the cone that touches both spheres: rho cos = upper - (y + half) sin
    sine = (upper - lower) / (2.0 * half)
    cosine = np.sqrt(1.0 - sine * sine)
    side = _lateral(origin, rays, (upper - half * sine) / cosine, -sine / cosine, upper * sine - half, lower * sine + half)
    end = np.array([0.0, half, 0.0])
    above, below = _ball(origin + end, rays, size, upper), _ball(origin - end, rays, size, lower)
    return np.minimum(np.minimum(above, below), _first(*side))


_MEET: dict[Shape, Callable[[FloatArray, Rays, Size], Array]] = {"ball": _ball, "box": _box, "drum": _drum, "limb": _limb}


def _local(solid: Primitive, vectors: Rays) -> Rays:
    # written out: a matrix product would depend on the library's kernel and on its threads
    x, y, z = vectors
    mx, my, mz = (x * row[0] + y * row[1] + z * row[2] for row in solid.to_local.tolist())
    return mx, my, mz


def meet(solid: Primitive, origin: FloatArray, rays: Rays) -> Array:
    """Ray parameter at which rays from ``origin`` (3,) enter ``solid``, in units of their lengths; infinite on a miss."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _MEET[solid.shape](solid.to_local @ (origin - solid.centre), _local(solid, rays), solid.size)


# --- surfaces -----------------------------------------------------------------------------------------------------------


def _drum_normal(x: Array, y: Array, z: Array, size: Size) -> Rays:
    slope = (1.0 - size[0]) / 2.0
    rho = np.sqrt(x * x + z * z)
    on_cap = np.abs((1.0 + size[0]) / 2.0 + slope * y - rho) > 1.0 - np.abs(y)
    return np.where(on_cap, 0.0, x), np.where(on_cap, np.sign(y), -slope * rho), np.where(on_cap, 0.0, z)


def _limb_normal(x: Array, y: Array, z: Array, size: Size) -> Rays:
    half, upper, lower = size
    sine = (upper - lower) / (2.0 * half)
    # the normal leaves the axis at the centre of the sphere that touches the hull here
    leaves = np.clip(y - np.sqrt(x * x + z * z) * (sine / np.sqrt(1.0 - sine * sine)), -half, half)
    return x, y - leaves, z


def _box_normal(x: Array, y: Array, z: Array, _: Size) -> Rays:
    ax, ay, az = np.abs(x), np.abs(y), np.abs(z)
    on_x, on_y = (ax >= ay) & (ax >= az), (ay > ax) & (ay >= az)
    return np.where(on_x, np.sign(x), 0.0), np.where(on_y, np.sign(y), 0.0), np.where(on_x | on_y, 0.0, np.sign(z))


_NORMAL: dict[Shape, Callable[[Array, Array, Array, Size], Rays]] = {
    "ball": lambda x, y, z, _: (x, y, z),
    "box": _box_normal,
    "drum": _drum_normal,
    "limb": _limb_normal,
}


def surface(solid: Primitive, points: Rays) -> tuple[Rays, Rays]:
    """Local coordinates and unit world normals of world ``points`` on the surface of ``solid``."""
    cx, cy, cz = solid.centre.tolist()
    local = _local(solid, (points[0] - cx, points[1] - cy, points[2] - cz))
    nx, ny, nz = _NORMAL[solid.shape](*local, solid.size)
    # normals go by the transposed inverse of the map that points go by
    x, y, z = (nx * col[0] + ny * col[1] + nz * col[2] for col in solid.to_local.T.tolist())
    scale = 1.0 / np.sqrt(np.maximum(x * x + y * y + z * z, 1e-30))
    return local, (x * scale, y * scale, z * scale)


# --- extents ------------------------------------------------------------------------------------------------------------


def half_extents(solid: Primitive) -> FloatArray:
    """Half sizes (3,) of the box around ``solid``'s canonical form."""
    if solid.shape == "drum":
        return np.array([max(1.0, solid.size[0]), 1.0, max(1.0, solid.size[0])])
    if solid.shape != "limb":
        return np.ones(3)
    half, upper, lower = solid.size
    radius = max(upper, lower)
    return np.array([radius, half + radius, radius])


def covering_balls(solid: Primitive) -> tuple[FloatArray, FloatArray]:
    """Centres (n, 3) and radii (n,) of balls that together cover ``solid``: long and flat solids get several."""
    axes = solid.to_world * half_extents(solid)
    lengths = np.sqrt((axes * axes).sum(axis=0))
    counts = np.clip(np.ceil(lengths / max(float(lengths.min()), 0.15)), 1, 6).astype(int)
    if counts.max() == 1:
        return solid.centre[None], np.sqrt((lengths * lengths).sum())[None]
    steps = [(2.0 * np.arange(n) + 1.0) / n - 1.0 for n in counts]
    grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    return solid.centre + grid @ axes.T, np.full(len(grid), np.linalg.norm(lengths / counts))


def outline(solids: Sequence[Primitive], eye: FloatArray) -> FloatArray:
    """World points (n, 3) whose hull, seen from ``eye``, is the hull of the silhouettes of ``solids``.

    Exact for boxes; circles are sampled every 7.5 degrees, which falls short by 0.2 % of their radius at most.
    """
    corners = [solid for solid in solids if solid.shape in ("box", "drum")]
    points = [solid.centre + _rims(solid) @ solid.to_world.T for solid in corners]
    # the silhouette of a limb is the hull of those of the balls at its ends
    balls = [(solid.centre, solid.to_world) for solid in solids if solid.shape == "ball"]
    for solid in solids:
        if solid.shape == "limb":
            half, upper, lower = solid.size
            for height, radius in ((-half, upper), (half, lower)):
                balls.append((solid.centre + solid.to_world[:, 1] * height, solid.to_world * radius))
    if balls:
        points.append(_ball_outlines(np.stack([ball[0] for ball in balls]), np.stack([ball[1] for ball in balls]), eye))
    return np.concatenate(points)


def _rims(solid: Primitive) -> FloatArray:
    """Corners of a box, or both rims of a drum, in local coordinates."""
    if solid.shape == "box":
        return np.stack(np.meshgrid([-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]), axis=-1).reshape(-1, 3)
    angle = 2.0 * np.pi * np.arange(OUTLINE_POINTS) / OUTLINE_POINTS
    rim = np.stack([np.cos(angle), np.ones_like(angle), np.sin(angle)], axis=1)
    return np.concatenate([rim, rim * (solid.size[0], -1.0, solid.size[0])])


def _ball_outlines(centres: FloatArray, to_world: FloatArray, eye: FloatArray) -> FloatArray:
    """Points of the circles along which ellipsoids (m) are seen: where the unit sphere's tangents pass through the eye."""
    local_eye = np.linalg.solve(to_world, (eye - centres)[..., None])[..., 0]
    distance = np.linalg.norm(local_eye, axis=1, keepdims=True)
    axis = local_eye / distance
    helper = np.where(np.abs(axis[:, :1]) < 0.9, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    first = sphere.normalise(np.cross(axis, helper))
    second = np.cross(axis, first)
    angle = 2.0 * np.pi * np.arange(OUTLINE_POINTS)[:, None, None] / OUTLINE_POINTS
    ring = (np.cos(angle) * first + np.sin(angle) * second) * np.sqrt(np.maximum(1.0 - distance**-2, 0.0))
    points = np.einsum("mij,kmj->kmi", to_world, axis / distance + ring) + centres
    return np.asarray(points.reshape(-1, 3))
