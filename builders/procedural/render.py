"""Rendering scenes by analytic ray casting: any camera, since it is rays that are given.

Conventions
-----------
Images are RGB, uint8, (H, W, 3). Directions (H, W, 3) are rays of a camera's own frame, of any length, as
``Camera.rays`` gives them; ``rotation`` (3, 3) is world_from_camera. Light is computed in linear colour; the display curve
comes last. Walls, floor and ceiling are lit by light baked once per scene on a grid of ``BAKE_CELL`` metres (lamp with a
soft shadow, daylight dimmed below things and in corners); solids are lit without shadows.

``supersample = k`` renders pixels whose surroundings differ (edges, fine texture) again with k x k rays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from builders.procedural.paint import albedo_of, between, column
from builders.procedural.room import CEILING, FLOOR, Room
from builders.procedural.scene import Scene
from builders.procedural.shapes import Rays, surface
from builders.procedural.trace import NOTHING, bundled, unbundled
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.sphere import FloatArray

Float32Array = NDArray[np.float32]
UInt8Array = NDArray[np.uint8]

BUNDLE = 16
CHUNK = 16384  # pixels shaded at a time: what they need stays in the processor's cache
BAKE_CELL = 0.1
LAMP_REACH = 3.2  # metres at which the lamp's light has halved
EXPOSURE = 1.25
EDGE_CONTRAST = 16  # of 255: pixels whose 3 x 3 surroundings span more are supersampled


def to_display(linear: Float32Array) -> UInt8Array:
    """Display values of linear light, any shape: exposure, a soft shoulder, square root."""
    display = np.empty(linear.shape, dtype=np.uint8)
    for start in range(0, linear.shape[-1], CHUNK):
        here = (..., slice(start, start + CHUNK))
        light = linear[here] * np.float32(EXPOSURE)
        light *= (1.0 + light * np.float32(0.16)) / (1.0 + light * np.float32(0.42))
        display[here] = np.sqrt(np.minimum(light, np.float32(1.0))) * np.float32(255.0) + np.float32(0.5)
    return display


@dataclass(frozen=True, eq=False)
class Renderer:
    """Renders one scene, from its own camera position. Light is baked at the first image and kept."""

    scene: Scene

    def image(self, directions: FloatArray, rotation: FloatArray | None = None, supersample: int = 1) -> UInt8Array:
        """Render the view along ``directions`` (H, W, 3); see the top of this module.

        Raises
        ------
        InputError
            The directions are no finite (H, W, 3) array, or ``supersample`` is below 1.
        """
        grid = _checked(directions)
        if supersample < 1:
            raise InputError(f"Supersampling must be 1 or more rays per pixel and axis; found {supersample}.")
        height, width = grid.shape[:2]
        turned = _turned(grid, rotation)
        rays = _bundles(turned)
        distance, index = self.scene.tracer.trace(self.scene.camera, rays)
        display = to_display(self._light(rays, distance, index)).reshape(3, -1, BUNDLE * BUNDLE)
        image = np.asarray(cv2.merge([unbundled(channel, height, width, BUNDLE) for channel in display]), dtype=np.uint8)
        if supersample > 1:
            self._refine(image, turned, unbundled(index, height, width, BUNDLE), supersample)
        return image

    def solids(self, directions: FloatArray, rotation: FloatArray | None = None) -> NDArray[np.int16]:
        """Index into ``scene.solids`` of what each pixel's central ray meets first, (H, W); -1 where it is the room."""
        grid = _checked(directions)
        _, index = self.scene.tracer.trace(self.scene.camera, _bundles(_turned(grid, rotation)))
        return np.asarray(unbundled(index, grid.shape[0], grid.shape[1], BUNDLE))

    def _refine(self, image: UInt8Array, turned: Rays, index: NDArray[np.int16], count: int) -> None:
        """Average the edge pixels of ``image`` over ``count`` x ``count`` rays, in place.

        The rays of a pixel are met with what the central rays of the pixel and of its four neighbours met.
        """
        height, width = image.shape[:2]
        grey, around = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.ones((3, 3), np.uint8)
        here = np.flatnonzero(cv2.dilate(grey, around) - cv2.erode(grey, around) > EDGE_CONTRAST)
        rows, columns = np.divmod(here, width)
        above, below = here - width * (rows > 0), here + width * (rows < height - 1)
        left, right = here - (columns > 0), here + (columns < width - 1)
        flat = np.ascontiguousarray(index).ravel()
        candidates = np.stack([flat[place] for place in (here, above, below, left, right)], axis=1)
        steps = ((np.arange(count) + 0.5) / count - 0.5).astype(np.float32)
        dy, dx = (part.ravel() for part in np.meshgrid(steps, steps, indexing="ij"))
        down = np.maximum((below - above) // width, 1).astype(np.float32)
        across = np.maximum(right - left, 1).astype(np.float32)
        parts = []
        for part in (part.ravel() for part in turned):
            # rays within a pixel from the neighbours' by first differences: exact to the square of a pixel's angle
            step_x, step_y = (part[right] - part[left]) / across, (part[below] - part[above]) / down
            parts.append(part[here][:, None] + step_x[:, None] * dx + step_y[:, None] * dy)
        rays = (parts[0], parts[1], parts[2])
        light = self._light(rays, *self.scene.tracer.trace_among(self.scene.camera, rays, candidates))
        mean = np.add.reduce([light[:, ray :: count * count] for ray in range(count * count)]) / np.float32(count * count)
        image.reshape(-1, 3)[here] = to_display(mean).T

    def _light(self, rays: Rays, distance: Float32Array, index: NDArray[np.int16]) -> Float32Array:
        """Linear light (3, rays) along rays from the camera that meet the solids of ``index`` at ``distance``."""
        light = np.empty((3, distance.size), dtype=np.float32)
        x, y, z = (part.reshape(-1) for part in rays)
        self._shade_solids(light, (x, y, z), distance.ravel(), index.ravel())
        missed = np.flatnonzero(index.ravel() == NOTHING)
        for start in range(0, len(missed), CHUNK):
            self._shade_room(light, (x, y, z), missed[start : start + CHUNK])
        return light

    # --- solids -----------------------------------------------------------------------------------------------------------

    def _shade_solids(self, light: Float32Array, rays: Rays, distance: Float32Array, index: NDArray[np.int16]) -> None:
        hit = np.flatnonzero(index != NOTHING)
        if not len(hit):
            return
        numbers = index[hit]
        order = np.argsort(numbers, kind="stable")
        hit, numbers = hit[order], numbers[order]
        far = distance[hit]
        points = tuple(
            part[hit] * far + np.float32(start) for part, start in zip(rays, self.scene.camera.tolist(), strict=True)
        )
        albedo = np.empty((3, len(hit)), dtype=np.float32)
        normal = tuple(np.empty(len(hit), dtype=np.float32) for _ in range(3))
        gloss, glow = np.empty(len(hit), dtype=np.float32), np.empty(len(hit), dtype=np.float32)
        present, starts = np.unique(numbers, return_index=True)
        for number, start, end in zip(present.tolist(), starts.tolist(), [*starts[1:].tolist(), len(hit)], strict=True):
            solid = self.scene.solids[number]
            here = slice(start, end)
            local, facing = surface(solid, (points[0][here], points[1][here], points[2][here]))
            for part, values in zip(normal, facing, strict=True):
                part[here] = values
            albedo[:, here] = albedo_of(solid.paint, *local)
            gloss[here], glow[here] = solid.paint.gloss, solid.paint.glow
        for start in range(0, len(hit), CHUNK):
            here = slice(start, start + CHUNK)
            at: Rays = (points[0][here], points[1][here], points[2][here])
            facing = (normal[0][here], normal[1][here], normal[2][here])
            light[:, hit[here]] = self._lit(at, facing, albedo[:, here], gloss[here], glow[here])

    def _lit(self, points: Rays, normal: Rays, albedo: Float32Array, gloss: Float32Array, glow: Float32Array) -> Float32Array:
        """Light from solids: of the lamp, with a highlight, from above and below, and a little from the camera."""
        lamp = self.scene.light
        nx, ny, nz = normal
        lx, ly, lz = (np.float32(at) - part for at, part in zip(lamp.position, points, strict=True))
        square = lx * lx + ly * ly + lz * lz
        near = 1.0 / np.sqrt(square)
        lx, ly, lz = lx * near, ly * near, lz * near
        cx, cy, cz = (np.float32(at) - part for at, part in zip(self.scene.camera.tolist(), points, strict=True))
        near = 1.0 / np.sqrt(cx * cx + cy * cy + cz * cz)
        cx, cy, cz = cx * near, cy * near, cz * near

        wrap = np.float32(0.3)
        direct = np.maximum(nx * lx + ny * ly + nz * lz + wrap, 0.0) / (1.0 + wrap) / (1.0 + square / LAMP_REACH**2)
        facing = np.maximum(nx * cx + ny * cy + nz * cz, 0.0)
        upward = 0.5 - 0.5 * ny
        # things are darker towards the floor they stand on
        grounded = 0.62 + 0.38 * np.clip(points[1] * np.float32(-2.0), 0.0, 1.0)
        lit = between(lamp.below, lamp.above, upward) * grounded + np.float32(0.12) * facing + column(lamp.lamp) * direct
        lit *= albedo
        hx, hy, hz = lx + cx, ly + cy, lz + cz
        shine = np.maximum(nx * hx + ny * hy + nz * hz, 0.0) / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-6)
        for _ in range(5):  # to the 32nd power
            shine = shine * shine
        lit += gloss * shine * np.float32(0.5) * column(lamp.lamp)
        return np.asarray(lit + (albedo - lit) * glow, dtype=np.float32)

    # --- room -------------------------------------------------------------------------------------------------------------

    def _shade_room(self, light: Float32Array, rays: Rays, hit: NDArray[np.intp]) -> None:
        room = self.scene.room
        rays = (rays[0][hit], rays[1][hit], rays[2][hit])
        distance, faces = room.meet(self.scene.camera, rays)
        for face in range(6):
            here = np.flatnonzero(faces == face)
            if not len(here):
                continue
            far = distance[here]
            u, v = (
                np.asarray(sign * (rays[axis][here] * far + float(self.scene.camera[axis])), dtype=np.float32)
                for axis, sign in room.face_axes(face)
            )
            light[:, hit[here]] = room.albedo(face, u, v) * _look_up(self._baked[face], room.face_limits(face), u, v)

    @cached_property
    def _baked(self) -> tuple[Float32Array, ...]:
        """Light that falls on the six faces, each (rows along v, columns along u, 3)."""
        room, lamp = self.scene.room, self.scene.light
        points = [_cells(room, face) for face in range(6)]
        lit = self._unshadowed(np.asarray(lamp.position), [cells for face, cells in enumerate(points) if face != CEILING])
        lit.insert(CEILING, np.full(points[CEILING].shape[:2], 0.4, dtype=np.float32))  # the lamp shines downwards
        middle = (room.low + room.high) / 2.0
        # light from straight above, out of the far distance: what stands on the floor darkens it
        (sky,) = self._unshadowed(np.array([middle[0], -60.0, middle[2]]), [points[FLOOR]])
        below = cv2.GaussianBlur(sky, (0, 0), 1.9, borderType=cv2.BORDER_REPLICATE)
        baked = []
        for face, cells in enumerate(points):
            normal = room.face_normal(face)
            to_lamp = np.asarray(lamp.position) - cells
            square = np.sum(to_lamp * to_lamp, axis=-1)
            shadow = cv2.GaussianBlur(lit[face], (0, 0), 1.3, borderType=cv2.BORDER_REPLICATE)
            direct = shadow * np.maximum(to_lamp @ normal, 0.0) / np.sqrt(square) / (1.0 + square / LAMP_REACH**2)
            around = np.asarray(lamp.below) + np.subtract(lamp.above, lamp.below) * (0.5 - 0.5 * normal[1])
            open_ = _openness(room, face, cells) * ((0.5 + 0.5 * below) if face == FLOOR else 1.0)
            baked.append(np.asarray(around * open_[..., None] + np.asarray(lamp.lamp) * direct[..., None], dtype=np.float32))
        return tuple(baked)

    def _unshadowed(self, light: FloatArray, faces: list[FloatArray]) -> list[Float32Array]:
        """Which points (H, W, 3) of each face a light at ``light`` reaches: 1 or 0, (H, W) each."""
        bundles = [
            [bundled((cells[..., axis] - light[axis]).astype(np.float32), BUNDLE) for axis in range(3)] for cells in faces
        ]
        x, y, z = (np.concatenate([bundle[axis] for bundle in bundles]) for axis in range(3))
        distance, _ = self.scene.tracer.trace(light, (x, y, z), without_small=True)
        reached = np.split((distance > 0.999).astype(np.float32), np.cumsum([len(bundle[0]) for bundle in bundles])[:-1])
        return [unbundled(part, cells.shape[0], cells.shape[1], BUNDLE) for part, cells in zip(reached, faces, strict=True)]


def _cells(room: Room, face: int) -> FloatArray:
    """Centres (rows along v, columns along u, 3) of the cells that light is baked for."""
    (u0, u1), (v0, v1) = room.face_limits(face)
    columns, rows = (max(round((end - start) / BAKE_CELL), 2) for start, end in ((u0, u1), (v0, v1)))
    u = u0 + (u1 - u0) * (np.arange(columns) + 0.5) / columns
    v = v0 + (v1 - v0) * (np.arange(rows) + 0.5) / rows
    return room.face_points(face, *np.meshgrid(u, v))


def _openness(room: Room, face: int, points: FloatArray) -> FloatArray:
    """Share (...) of the light from all around that is left near the edges of the room."""
    share = np.ones(points.shape[:-1])
    for axis in {0, 1, 2} - {face // 2}:
        for limit in (room.low, room.high):
            share *= 1.0 - 0.28 * np.exp(-np.abs(points[..., axis] - limit[axis]) / 0.3)
    return share


def _look_up(
    baked: Float32Array, limits: tuple[tuple[float, float], tuple[float, float]], u: Float32Array, v: Float32Array
) -> Float32Array:
    """Baked light (3, n) at coordinates (n,) of a face, bilinear between cell centres."""
    rows, columns = baked.shape[:2]
    (u0, u1), (v0, v1) = limits
    x = (u - np.float32(u0)) * np.float32(columns / (u1 - u0)) - np.float32(0.5)
    y = (v - np.float32(v0)) * np.float32(rows / (v1 - v0)) - np.float32(0.5)
    found = cv2.remap(baked, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found[0].T, dtype=np.float32)


def _checked(directions: FloatArray) -> Float32Array:
    grid = np.asarray(directions, dtype=np.float32)
    if grid.ndim != 3 or grid.shape[-1] != 3 or not np.all(np.isfinite(grid)):
        raise InputError(
            f"The directions to render must be a finite array (H, W, 3); found the shape {grid.shape} with "
            f"{int(np.count_nonzero(~np.isfinite(grid)))} values that are not finite. Leave out pixels without a ray."
        )
    return grid


def _turned(grid: Float32Array, rotation: FloatArray | None) -> Rays:
    x, y, z = (np.ascontiguousarray(grid[..., axis]) for axis in range(3))
    if rotation is None:
        return x, y, z
    first, second, third = (x * row[0] + y * row[1] + z * row[2] for row in np.asarray(rotation).tolist())
    return first, second, third


def _bundles(grid: Rays) -> Rays:
    x, y, z = (bundled(part, BUNDLE) for part in grid)
    return x, y, z


def pixel_rays(camera: Camera) -> FloatArray:
    """Rays (H, W, 3) through a camera's pixel centres; NaN where its lens sends none."""
    return camera.rays(_pixel_centres(camera.width, camera.height)).directions


@lru_cache(maxsize=8)
def _pixel_centres(width: int, height: int) -> FloatArray:
    return np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)


def render_photo(scene: Scene, camera: Camera, rotation: FloatArray, supersample: int = 1) -> UInt8Array:
    """Photo of a scene: RGB (H, W, 3). ``rotation`` (3, 3) is world_from_camera."""
    return Renderer(scene).image(pixel_rays(camera), rotation, supersample)


def render_panorama(scene: Scene, width: int, supersample: int = 1, rotation: FloatArray | None = None) -> UInt8Array:
    """Panorama of a scene from its camera position: RGB (width / 2, width, 3), longitude 0 along the world's z axis.

    ``rotation`` (3, 3), world_from_panorama, turns the sphere; labels (``label_panorama``) are for the unturned one.
    """
    if width < 2 or width % 2:
        raise InputError(f"The width of a panorama must be an even number of pixels; found {width}.")
    return Renderer(scene).image(sphere.cell_directions(width, width // 2), rotation, supersample)
