"""Where photos go on the sphere: poses from settings, and poses that are solved for.

Conventions
-----------
Settings are degrees, by axis, as a plan draws them; poses are radians. A pose is the rotation world_from_photo (3, 3): the tilt
of the whole sphere after the camera's own yaw, pitch and roll (see :mod:`srgaze360.sphere`). ``draw`` in [0, 1) decides what a
setting leaves open. Poses that a suite asks for by name (the seam through an arc, a pole in a photo, photos apart from each
other) are solved for, not left to luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from builders.panorama.labels import PhotoLabels
from srgaze360 import headbox, sphere
from srgaze360.cameras import Camera
from srgaze360.footprint import contains_pole, outline

CLEARANCE = np.radians(1.0)  # between a footprint that is clear of the seam and the seam
POLE_MARGIN = 0.1  # of the way from a pole on the photo's edge to a pole on its optical axis
POLES = {"zenith": 1.0, "nadir": -1.0}
GRID = 360  # columns of the coarse sphere on which photos are kept apart: cells of one degree
GROWTH = 2  # cells by which a footprint is widened there, for what a cell's centre does not show
DROP_DEG = (0.0, -20.0, 20.0, -40.0, 40.0, -60.0, 60.0)  # tries around the drawn latitude, where it has no room left


class Pose(NamedTuple):
    """Angles of a photo on the sphere, radians: the camera's own, then those of the whole sphere."""

    yaw: float
    pitch: float
    roll: float
    tilt_pitch: float
    tilt_roll: float
    tilt_yaw: float

    @property
    def rotation(self) -> sphere.FloatArray:
        """world_from_photo (3, 3): the sphere's tilt after the camera's pose."""
        tilt = sphere.rotation_from_pose(self.tilt_yaw, self.tilt_pitch, self.tilt_roll)
        return np.asarray(tilt @ sphere.rotation_from_pose(self.yaw, self.pitch, self.roll))


def solve_pose(
    settings: Mapping[str, float | str],
    camera: Camera,
    people: Sequence[PhotoLabels],
    draw: float,
    pitch_draw: float | None = None,
) -> Pose:
    """Pose of a photo from the settings of photo and sphere.

    ``latitude_deg`` may be a number, or the pole that the photo shall contain (the pitch is then drawn uniformly among those at
    which it does). ``longitude_deg`` may be a number; ``clear``: the yaw at which the photo's footprint, drawn uniformly among
    the places where it fits, stays clear of the seam before the sphere is tilted (anywhere, if it has no such place); ``seam``:
    the yaw that puts the seam across the arc from head to gaze; or ``apart``: any. ``pitch_draw`` decides the pitch at a pole;
    it is ``draw`` unless given.
    """
    latitude, longitude = settings["latitude_deg"], settings["longitude_deg"]
    angles = {axis: float(np.radians(float(value))) for axis, value in settings.items() if axis in _NUMBERS}
    pose = Pose(
        yaw=0.0,
        pitch=_pole_pitch(camera, angles["roll_deg"], str(latitude), draw if pitch_draw is None else pitch_draw)
        if isinstance(latitude, str)
        else float(np.radians(latitude)),
        roll=angles["roll_deg"],
        tilt_pitch=angles["tilt_pitch_deg"],
        tilt_roll=angles["tilt_roll_deg"],
        tilt_yaw=angles["tilt_yaw_deg"],
    )
    if longitude == "clear":
        yaw = _clear_yaw(camera, pose, draw)
    elif longitude == "seam":
        yaw = _seam_yaw(pose, people, draw)
    elif isinstance(longitude, str):
        yaw = sphere.TWO_PI * (draw - 0.5)
    else:
        yaw = float(np.radians(longitude))
    return pose._replace(yaw=float(sphere.wrap_lon(yaw)))


_NUMBERS = ("roll_deg", "tilt_pitch_deg", "tilt_roll_deg", "tilt_yaw_deg")


# --- one photo --------------------------------------------------------------------------------------------------------


def _clear_yaw(camera: Camera, pose: Pose, draw: float) -> float:
    """Yaw at which the footprint does not cross the seam of the upright sphere, uniform among all such."""
    rotation = sphere.rotation_from_pose(0.0, pose.pitch, pose.roll)
    if camera.is_panorama or any(contains_pole(camera, rotation)):
        return sphere.TWO_PI * (draw - 0.5)
    border = sphere.rotate(rotation, outline(camera).rays.T)
    u0, _, u1, _ = headbox.box_of_outline(border, contains_zenith=False, contains_nadir=False)
    margin = CLEARANCE / sphere.TWO_PI
    room = 1.0 - (u1 - u0) - 2.0 * margin
    return float(sphere.TWO_PI * (draw * room + margin - u0 if room > 0.0 else draw - 0.5))


def _seam_yaw(pose: Pose, people: Sequence[PhotoLabels], draw: float) -> float:
    """Yaw at which the seam crosses the arc from head to gaze of as many people as possible.

    For each person the seam is put through the same fraction, in [0.25, 0.75], of that person's arc; the person for whom
    most arcs cross wins, the first among equals. Where nobody's gaze is known, the seam goes through the first head.
    """
    rotation = pose.rotation
    arcs = [(person.head, person.consensus) for person in people if person.consensus is not None]
    if not arcs:
        lon, _ = sphere.lonlat_from_direction(rotation @ people[0].head)
        return float(np.pi - lon)
    heads = sphere.rotate(rotation, np.stack([head for head, _ in arcs]))
    gazes = sphere.rotate(rotation, np.stack([gaze for _, gaze in arcs]))
    lon, _ = sphere.lonlat_from_direction(sphere.slerp(heads, gazes, np.full(len(arcs), 0.25 + 0.5 * draw)))
    yaws = np.pi - lon
    turned = sphere.rotation_from_pose(yaws, 0.0, 0.0)[:, None]
    crossings = sphere.arc_crosses_seam(sphere.rotate(turned, heads), sphere.rotate(turned, gazes)).sum(axis=1)
    return float(yaws[int(np.argmax(crossings))])


def _pole_pitch(camera: Camera, roll: float, pole: str, draw: float) -> float:
    """Pitch at which the photo contains a pole: uniform from just inside its edge to the pole on its optical axis.

    The largest distance from the axis at which the pole is still inside is found by bisection between neighbours of a grid.
    """
    sign = POLES[pole]
    up = np.array([0.0, -sign, 0.0])

    def outside(pitches: sphere.FloatArray) -> NDArray[np.bool_]:
        rotations = sphere.rotation_from_pose(0.0, sign * pitches, roll)
        seen = camera.project(np.swapaxes(rotations, -1, -2) @ up)
        return ~(seen.valid & camera.contains(seen.pixels))

    grid = np.linspace(0.0, np.pi / 2.0, 361)
    beyond = np.flatnonzero(outside(grid))
    if not len(beyond):
        edge = 0.0  # a fisheye that sees both poles from the horizon
    else:
        low, high = grid[beyond[-1]], grid[min(beyond[-1] + 1, len(grid) - 1)]
        for _ in range(40):
            middle = (low + high) / 2.0
            low, high = (middle, high) if outside(np.array([middle]))[0] else (low, middle)
        edge = float(high)
    return float(sign * (edge + (np.pi / 2.0 - edge) * (POLE_MARGIN + (1.0 - POLE_MARGIN) * draw)))


# --- several photos ---------------------------------------------------------------------------------------------------


def place_apart(cameras: Sequence[Camera], poses: Sequence[Pose], draws: Sequence[float]) -> list[Pose | None]:
    """Change yaws, and latitudes if need be, so that no two footprints overlap; None for a photo that finds no room.

    Photos are placed in turn: at its latitude, a photo takes the first yaw (in steps of a degree from a drawn one) where all of
    its footprint is free; else it tries latitudes up to 60 degrees away. Footprints are compared on cells of one degree and
    widened by two, so photos stay a little apart. The tilt turns all of them alike and is left out.
    """
    occupied = np.zeros((GRID // 2, GRID), dtype=bool)
    cells = sphere.cell_directions(GRID, GRID // 2)
    placed: list[Pose | None] = []
    for camera, pose, draw in zip(cameras, poses, draws, strict=True):
        found = None
        for drop in DROP_DEG:
            pitch = float(np.clip(pose.pitch + np.radians(drop), -np.pi / 2.0, np.pi / 2.0))
            mask = _footprint(camera, sphere.rotation_from_pose(0.0, pitch, pose.roll), cells)
            shift = _first_free(occupied, mask, int(draw * GRID))
            if shift is not None:
                occupied |= np.roll(mask, shift, axis=1)
                found = pose._replace(yaw=float(sphere.wrap_lon(sphere.TWO_PI * shift / GRID)), pitch=pitch)
                break
        placed.append(found)
    return placed


def _footprint(camera: Camera, rotation: sphere.FloatArray, cells: sphere.FloatArray) -> NDArray[np.bool_]:
    """Cells of the coarse sphere that a photo covers, widened by :data:`GROWTH` in all directions."""
    seen = camera.project(sphere.rotate(rotation.T, cells))
    mask = np.asarray(seen.valid & camera.contains(seen.pixels))
    for _ in range(GROWTH):
        mask = mask | np.roll(mask, 1, axis=1) | np.roll(mask, -1, axis=1)
        padded = np.pad(mask, ((1, 1), (0, 0)))
        mask = padded[:-2] | mask | padded[2:]
    for row in (0, -1):  # all cells of the last rows touch the pole
        mask[row] |= mask[row].any()
    return mask


def _first_free(occupied: NDArray[np.bool_], mask: NDArray[np.bool_], start: int) -> int | None:
    """First shift of ``mask``, from ``start`` on, that meets nothing occupied.

    The number of cells that meet is, for all shifts at once, the circular cross-correlation along the rows.
    """
    spectrum = np.fft.rfft(occupied, axis=1) * np.conj(np.fft.rfft(mask, axis=1))
    meeting = np.rint(np.fft.irfft(spectrum.sum(axis=0), n=GRID))
    shifts = (start + np.arange(GRID)) % GRID
    free = np.flatnonzero(meeting[shifts] == 0)
    return int(shifts[free[0]]) if len(free) else None
