"""Photos of a scene: where the camera looks, who is in the picture, and their exact labels.

Conventions
-----------
A view is a function of (scene, number) alone. Photos are taken from the scene's camera position, so they are parts of its
panorama. Photo coordinates are continuous pixels or fractions of width and height, (0, 0) at the upper left corner; targets
out of frame have *extended* fractions, outside [0, 1], and none where they lie behind the camera. Angles in degrees say so.
A person is labelled where most of the head is in the picture and at least half of it can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from builders.procedural.figures import HEAD_PART
from builders.procedural.scene import Figure, Flags, Scene, gaze_flags, outlines
from builders.procedural.shapes import meet
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import CheckFailed
from srgaze360.files import generator
from srgaze360.sphere import FloatArray

SIZES: tuple[tuple[int, int], ...] = ((640, 480), (480, 640), (640, 360), (640, 427))
SIZE_SHARES = (0.74, 0.1, 0.08, 0.08)
FOV_DEG = (50.0, 75.0)  # of the longer side
HEAD_INSIDE = 0.75  # share of a labelled head's box that lies in the picture
HEAD_SEEN = 0.5  # share of a labelled head that nothing hides
ATTEMPTS = 60

Box = tuple[float, float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class View:
    """A camera and where it looks; yaw 0 is along the world's z axis."""

    camera: Camera
    yaw_deg: float
    pitch_deg: float
    roll_deg: float

    @property
    def rotation(self) -> FloatArray:
        """world_from_camera (3, 3)."""
        return sphere.rotation_from_pose(*np.radians([self.yaw_deg, self.pitch_deg, self.roll_deg]))

    @property
    def hfov_deg(self) -> float:
        """Horizontal field of view."""
        return float(np.degrees(self.camera.hfov))


@dataclass(frozen=True, eq=False)
class PhotoLabel:
    """Exact label of a person in a photo.

    ``head_box`` is (x0, y0, x1, y1) in pixels, inside the photo; ``body_box`` (x, y, width, height), ``eye`` and ``target``
    are fractions, the target extended or None; ``gaze`` is the unit 3-D gaze in the camera's frame, from eyes to target.
    """

    figure: Figure
    head_box: Box
    body_box: Box
    eye: Point
    target: Point | None
    in_frame: bool
    gaze: FloatArray
    flags: Flags
    head_distance: float


def plan_photo(scene: Scene, number: int) -> tuple[View, tuple[PhotoLabel, ...]]:
    """View of photo ``number`` of a scene and the labels of everybody in it, at least one person."""
    for attempt in range(ATTEMPTS):
        view = _sample_view(scene, number, attempt)
        labels = label_photo(scene, view)
        if labels:
            return view, labels
    raise CheckFailed(
        f"Expected a view of scene {scene.index} (seed {scene.seed}) that shows somebody's head; found none in {ATTEMPTS} "
        "attempts. Take another seed, and report this one."
    )


def _sample_view(scene: Scene, number: int, attempt: int) -> View:
    rng = generator(scene.seed, "procedural photo", scene.arrangement, scene.index, number, attempt)
    width, height = SIZES[rng.choice(len(SIZES), p=SIZE_SHARES)]
    chosen: Sequence[Figure] = scene.figures
    if attempt or number or scene.arrangement == "around":
        chosen = [scene.figures[rng.integers(len(scene.figures))]]
    middle = scene.front_deg if scene.arrangement == "group" else _lonlat_deg(scene, chosen[0].body.head)[0]
    lons, lats = [], []
    for figure in chosen:
        for point in (figure.body.head, figure.gaze.point):
            lon, lat = _lonlat_deg(scene, point)
            offset = float(np.degrees(sphere.wrap_lon(np.radians(lon - middle))))
            if point is figure.body.head or abs(offset) < 40.0:
                lons.append(offset)
                lats.append(lat)
    wanted = np.radians(max(lons) - min(lons) + rng.uniform(9.0, 20.0))
    # the angle is that of the longer side: of a portrait it is the height
    longer = 2.0 * np.arctan(np.tan(min(wanted, 2.0) / 2.0) * max(width, height) / width)
    fov_deg = float(np.clip(np.degrees(longer), rng.uniform(FOV_DEG[0], 64.0), FOV_DEG[1]))
    spread = 2.0 if attempt == 0 and number == 0 else 7.0
    return View(
        Camera.from_fov("pinhole", width, height, float(np.radians(fov_deg)), side="longer"),
        yaw_deg=float(middle + (max(lons) + min(lons)) / 2.0 + rng.normal(0.0, spread)),
        pitch_deg=float(np.clip((max(lats) + min(lats)) / 2.0, -15.0, 4.0) + rng.normal(0.0, 1.5)),
        roll_deg=float(rng.normal(0.0, 1.5)),
    )


def _lonlat_deg(scene: Scene, point: FloatArray) -> tuple[float, float]:
    lon, lat = sphere.lonlat_from_direction(scene.direction(point))
    return float(np.degrees(lon)), float(np.degrees(lat))


def label_photo(scene: Scene, view: View) -> tuple[PhotoLabel, ...]:
    """Labels of everybody whose head is in the picture and can be seen, in the order of the scene's figures."""
    labels = (_label(scene, view, figure) for figure in scene.figures)
    return tuple(label for label in labels if label is not None)


def _label(scene: Scene, view: View, figure: Figure) -> PhotoLabel | None:
    camera, to_camera = view.camera, view.rotation.T
    edge, ahead = camera.project(sphere.rotate(to_camera, outlines(scene, figure, HEAD_PART)))
    if not ahead.all():
        return None
    low, high = edge.min(axis=0), edge.max(axis=0)
    size = np.array([camera.width, camera.height], dtype=np.float64)
    inside_low, inside_high = np.clip(low, 0.0, size), np.clip(high, 0.0, size)
    if np.prod(inside_high - inside_low) < HEAD_INSIDE * np.prod(high - low):
        return None
    if _seen(scene, view, figure, inside_low, inside_high) < HEAD_SEEN:
        return None
    body, valid = camera.project(sphere.rotate(to_camera, outlines(scene, figure)))
    body = body[valid]
    body_low, body_high = body.min(axis=0) / size, body.max(axis=0) / size
    points = np.stack([figure.eye, figure.gaze.point])
    (eye, target), (_, in_front) = camera.project(sphere.rotate(to_camera, scene.direction(points)))
    eye, target = np.clip(eye / size, 0.0, 1.0), target / size
    return PhotoLabel(
        figure=figure,
        head_box=_box(inside_low, inside_high),
        body_box=_box(body_low, body_high - body_low),
        eye=(float(eye[0]), float(eye[1])),
        target=(float(target[0]), float(target[1])) if in_front else None,
        in_frame=bool(in_front and np.all((target > 0.0) & (target < 1.0))),
        gaze=to_camera @ sphere.normalise(figure.gaze.point - figure.eye),
        flags=gaze_flags(scene, figure),
        head_distance=float(np.linalg.norm(figure.body.head - scene.camera)),
    )


def _box(first: FloatArray, second: FloatArray) -> Box:
    return float(first[0]), float(first[1]), float(second[0]), float(second[1])


def _seen(scene: Scene, view: View, figure: Figure, low: FloatArray, high: FloatArray) -> float:
    """Share of a head's rays (a 16 x 16 grid over its box) on which nothing but their own body comes first."""
    steps = (np.arange(16) + 0.5) / 16.0
    x, y = np.meshgrid(low[0] + steps * (high[0] - low[0]), low[1] + steps * (high[1] - low[1]))
    grid = sphere.rotate(view.rotation, view.camera.rays(np.stack([x, y], axis=-1)).directions)
    rx, ry, rz = (grid[..., axis].reshape(1, -1).astype(np.float32) for axis in range(3))
    head = [solid for solid in scene.solids if solid.entity == figure.entity and solid.part == HEAD_PART]
    on_head = np.any([np.isfinite(meet(solid, scene.camera, (rx, ry, rz))) for solid in head], axis=0)
    _, index = scene.tracer.trace(scene.camera, (rx, ry, rz))
    own = np.array([solid.entity == figure.entity for solid in scene.solids] + [False])  # the last stands for NOTHING
    return float(np.mean(own[index[on_head]])) if on_head.any() else 0.0
