"""The pictures of one scene, rendered and written, and the rows that say what is in them.

Conventions
-----------
Every picture is a function of (settings, scene, number): not of the number of pictures, nor of workers. Photos and panoramas
never show the same scene, in any arrangement: the scenes of panoramas are numbered from ``FIRST_PANORAMA_SCENE``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from builders.procedural.annotators import annotator_count, clicks_on_panorama, clicks_on_photo
from builders.procedural.layout import sample_scene
from builders.procedural.panoramas import label_panorama
from builders.procedural.photos import PhotoLabel, plan_photo
from builders.procedural.render import Renderer, pixel_rays, render_panorama
from builders.procedural.scene import Arrangement, Figure, Flags, Scene
from builders.procedural.sidecar import HEAD_BOX, Cell, points_text
from srgaze360 import sphere
from srgaze360.files import generator, write_bytes
from srgaze360.images import encode_image

FIRST_PANORAMA_SCENE = 2_000_000  # rooms without people begin at 1,000,000
MOST = 999_999  # photos, and panoramas


@dataclass(frozen=True)
class Settings:
    """What the content of a folder is a function of; see :func:`~builders.procedural.write.write_gazefollow_folder`."""

    photos: int
    seed: int
    panoramas: int = 0
    width: int = 2048
    test_share: float = 0.25
    arrangement: Arrangement = "group"
    noise_deg: float = 2.5
    supersample: int = 2
    quality: int = 92


@dataclass(frozen=True)
class Task:
    """The pictures of one scene: its number, and their paths below ``root``."""

    settings: Settings
    scene: int
    split: str
    paths: tuple[str, ...]
    root: Path

    @property
    def panoramas(self) -> bool:
        """Whether the pictures are panoramas."""
        return self.scene >= FIRST_PANORAMA_SCENE


@dataclass(frozen=True)
class Row:
    """A person's cells of the table (without its id); for photos, cells of the annotation columns and the points too."""

    cells: dict[str, Cell]
    body_and_eye: tuple[float, ...] = ()
    points: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Picture:
    """What ``scenes.json`` says of a picture, and everybody in it."""

    view: dict[str, Cell]
    people: tuple[Row, ...]


def scene_name(index: int) -> str:
    """Name of a scene in files."""
    return f"scene-{index:06d}"


def make_pictures(task: Task) -> list[Picture]:
    """Render and write the pictures of one scene; runs in any process."""
    if task.panoramas:
        scene = sample_scene(task.settings.seed, task.scene, "around")
        return [_make_panorama(task, scene, path) for path in task.paths]
    scene = sample_scene(task.settings.seed, task.scene, task.settings.arrangement)
    renderer = Renderer(scene)
    return [_make_photo(task, renderer, number, path) for number, path in enumerate(task.paths)]


def _make_photo(task: Task, renderer: Renderer, number: int, path: str) -> Picture:
    settings, scene = task.settings, renderer.scene
    view, labels = plan_photo(scene, number)
    image = renderer.image(pixel_rays(view.camera), view.rotation, settings.supersample)
    write_bytes(task.root / path, encode_image(image, ".jpg", settings.quality))
    angles = {name: round(float(getattr(view, name)), 6) for name in ("yaw_deg", "pitch_deg", "roll_deg", "hfov_deg")}
    size: dict[str, Cell] = {"image": path, "width": view.camera.width, "height": view.camera.height, **angles}
    people = []
    for label in labels:
        rng = generator(settings.seed, "procedural annotators", scene.arrangement, scene.index, number, label.figure.entity)
        count = annotator_count(rng, task.split)
        points = np.empty((0, 2))
        if label.in_frame and label.target is not None:
            points = clicks_on_photo(rng, label.target, view.camera, count, settings.noise_deg)
        cells = _photo_cells(task, scene, path, label) | {"hfov_deg": angles["hfov_deg"]}
        people.append(Row(cells, _rounded((*label.body_box, *label.eye), 6), tuple(_pair(point, 6) for point in points)))
    return Picture(size, tuple(people))


def _photo_cells(task: Task, scene: Scene, path: str, label: PhotoLabel) -> dict[str, Cell]:
    target = (None, None) if label.target is None else _rounded(label.target, 6)
    return {
        **_common_cells(task, scene, path, label.figure, label.flags),
        "in_frame": str(label.in_frame).lower(),
        **dict(zip(HEAD_BOX, _rounded(label.head_box, 3), strict=True)),
        **dict(zip(("target_x", "target_y"), target, strict=True)),
        **dict(zip(("gaze_x", "gaze_y", "gaze_z"), _rounded(label.gaze, 6), strict=True)),
    }


def _make_panorama(task: Task, scene: Scene, path: str) -> Picture:
    settings, width = task.settings, task.settings.width
    image = render_panorama(scene, width, settings.supersample)
    write_bytes(task.root / path, encode_image(image, ".jpg", settings.quality))
    people = []
    for label in label_panorama(scene):
        rng = generator(settings.seed, "procedural annotators", "panorama", scene.index, label.figure.entity)
        points = clicks_on_panorama(rng, label.gaze, annotator_count(rng, task.split), settings.noise_deg)
        box = np.array(label.head_box) * (width, width / 2, width, width / 2)
        target = sphere.pixel_from_direction(label.gaze, width) / (width, width / 2)
        cells: dict[str, Cell] = {
            **_common_cells(task, scene, path, label.figure, label.flags),
            "width": width,
            **dict(zip(HEAD_BOX, _rounded(box, 6), strict=True)),
            **dict(zip(("target_x", "target_y"), _rounded(target, 9), strict=True)),
            "arc_deg": round(float(np.degrees(label.arc)), 6),
            "annotations": points_text(_pair(point, 9) for point in points),
        }
        people.append(Row(cells))
    view: dict[str, Cell] = {"image": path, "width": width, "camera_height_m": round(-float(scene.camera[1]), 4)}
    return Picture(view, tuple(people))


def _common_cells(task: Task, scene: Scene, path: str, figure: Figure, flags: Flags) -> dict[str, Cell]:
    """Cells that photos and panoramas share."""
    entity = figure.gaze.entity
    return {
        "image": path,
        "scene": scene_name(scene.index),
        "split": task.split,
        "face": flags.face,
        "visibility": flags.visibility,
        "sight_line": flags.sight_line,
        "target_kind": flags.target_kind,
        "target_name": "bare surface" if entity is None else scene.entities[entity].name,
        "target_distance_m": round(figure.distance, 4),
        "head_distance_m": round(float(np.linalg.norm(figure.body.head - scene.camera)), 4),
    }


def _rounded(values: Iterable[float], digits: int) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in values)


def _pair(point: Iterable[float], digits: int) -> tuple[float, float]:
    x, y = _rounded(point, digits)
    return x, y
