"""Writing rendered photos as a folder in the layout of GazeFollow (extended).

Conventions
-----------
::

    train/<8 digits>/<8 digits>.jpg   test2/...   train_annotations_release.txt   test_annotations_release.txt
    procedural.csv   scenes.json   README.md

Annotation files have GazeFollow's columns and units: head box in pixels, all else fractions; a byte order mark, no header.
Train has one simulated annotator per person and ``inout`` (targets out of frame: gaze -1, -1); test has 8 to 10 per person
and lists only people whose target is in frame. Exact targets are in ``procedural.csv`` (see
:mod:`builders.procedural.sidecar`).

Every photo is a function of (seed, scene, number) and the settings: not of the number of photos, nor of workers. The folder is
written beside its place and renamed when complete, so a folder that is there is whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from builders.procedural.layout import sample_scene
from builders.procedural.photos import PhotoLabel, plan_photo, simulate_annotators
from builders.procedural.render import Renderer, pixel_rays
from builders.procedural.scene import Arrangement, Scene
from builders.procedural.sidecar import COLUMNS, SIDECAR_FILE, write_sidecar
from srgaze360.console import silent
from srgaze360.errors import EnvironmentProblem, InputError
from srgaze360.files import canonical_json, generator, write_bytes, write_text
from srgaze360.images import encode_image

TRAIN_FILE = "train_annotations_release.txt"
TEST_FILE = "test_annotations_release.txt"
SCENES_FILE = "scenes.json"
FOLDERS = {"train": "train", "test": "test2"}
SECOND_PHOTO_SHARE = 0.35
ANNOTATORS = (8, 10)
BOM = "\ufeff"

Cell = str | float | None


@dataclass(frozen=True)
class Settings:
    """What the content of a folder is a function of; see :func:`write_gazefollow_folder`."""

    photos: int
    seed: int
    test_share: float = 0.25
    arrangement: Arrangement = "group"
    noise_deg: float = 2.5
    supersample: int = 2
    quality: int = 92


@dataclass(frozen=True)
class Written:
    """What was written: number of photos, of scenes, of people, and of those whose target is out of frame."""

    photos: int
    scenes: int
    people: int
    out_of_frame: int


@dataclass(frozen=True)
class _Task:
    """The photos of one scene: numbers within the scene, and paths."""

    settings: Settings
    scene: int
    split: str
    photos: tuple[tuple[int, str], ...]
    root: Path


@dataclass(frozen=True)
class _Person:
    """A person's cells of the sidecar (without its id), of the annotation columns, and the annotated points."""

    sidecar: dict[str, Cell]
    body_and_eye: tuple[float, ...]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class _Photo:
    view: dict[str, Cell]
    people: tuple[_Person, ...]


def scene_name(index: int) -> str:
    """Name of a scene in files."""
    return f"scene-{index:06d}"


def write_gazefollow_folder(
    out: Path,
    photos: int,
    seed: int,
    *,
    test_share: float = 0.25,
    arrangement: Arrangement = "group",
    noise_deg: float = 2.5,
    supersample: int = 2,
    quality: int = 92,
    workers: int = 1,
    progress: Callable[[int], None] = silent,
) -> Written:
    """Render photos and write them with their labels.

    Parameters
    ----------
    out
        Folder to make; it must not exist, or be empty.
    photos
        Number of photos, 1 or more. Fewer photos with the same seed are a prefix of more.
    seed
        Whole number, 0 or more.
    test_share
        Share of *scenes* that are test, in [0, 1]; spread evenly over the sequence of scenes.
    arrangement
        ``"group"`` or ``"around"``; see :mod:`builders.procedural.layout`.
    noise_deg
        Standard deviation of annotators' errors along each axis, degrees as seen from the camera; 0 gives exact points.
    supersample
        Rays per pixel and axis where the picture has edges.
    quality
        JPEG quality, 1 to 100.
    workers
        Processes; 1 renders in this one. The content does not depend on it.
    progress
        Called with the number of photos just finished.

    Raises
    ------
    InputError
        ``out`` holds something, or an argument is out of range.
    EnvironmentProblem
        The system refused to write.
    """
    settings = Settings(photos, seed, test_share, arrangement, noise_deg, supersample, quality)
    _check(out, settings, workers)
    with _beside(out) as root:
        tasks = tuple(_tasks(settings, root))
        finished: list[list[_Photo]] = []
        for task, result in zip(tasks, _results(tasks, workers), strict=True):
            finished.append(result)
            progress(len(task.photos))
        return _write_labels(root, settings, tasks, finished)


def _check(out: Path, settings: Settings, workers: int) -> None:
    for name, value, low, high in (
        ("photos", settings.photos, 1, np.inf),
        ("seed", settings.seed, 0, np.inf),
        ("test_share", settings.test_share, 0, 1),
        ("noise_deg", settings.noise_deg, 0, 30),
        ("supersample", settings.supersample, 1, 8),
        ("quality", settings.quality, 1, 100),
        ("workers", workers, 1, np.inf),
    ):
        if not low <= value <= high:
            raise InputError(f"Expected {name} from {low:g} to {high:g} for rendered photos; found {value!r}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"Expected an empty or a new folder for rendered photos; {out} holds something. Name another one.")


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Yield a folder beside ``out`` that becomes ``out`` on success and is removed otherwise."""
    out = out.absolute()
    root = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(root, ignore_errors=True)  # left by a run that was killed
        root.mkdir(parents=True)
        yield root
        if out.exists():
            out.rmdir()
        root.rename(out)
    except OSError as error:
        raise EnvironmentProblem(
            f"Expected to write rendered photos to {out}, but the system refused: {error.strerror or error}. Check free space "
            f"and permissions of {out.parent}, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(root, ignore_errors=True)


# --- photos -------------------------------------------------------------------------------------------------------------


def _tasks(settings: Settings, root: Path) -> Iterator[_Task]:
    photo, scene = 0, 0
    while photo < settings.photos:
        rng = generator(settings.seed, "procedural photos", settings.arrangement, scene)
        count = min(1 + int(rng.random() < SECOND_PHOTO_SHARE), settings.photos - photo)
        # every scene where the running share passes a whole number is test
        test = int((scene + 1) * settings.test_share) > int(scene * settings.test_share)
        split = "test" if test else "train"
        paths = (f"{FOLDERS[split]}/{n // 1000:08d}/{n:08d}.jpg" for n in range(photo, photo + count))
        yield _Task(settings, scene, split, tuple(enumerate(paths)), root)
        photo, scene = photo + count, scene + 1


def _results(tasks: tuple[_Task, ...], workers: int) -> Iterator[list[_Photo]]:
    if workers == 1:
        yield from map(_make_scene, tasks)
        return
    # processes started afresh: forking a process that has threads can hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(_make_scene, tasks, chunksize=4)


def _make_scene(task: _Task) -> list[_Photo]:
    """Render and write the photos of one scene; runs in any process."""
    settings = task.settings
    scene = sample_scene(settings.seed, task.scene, settings.arrangement)
    renderer = Renderer(scene)
    made = []
    for number, path in task.photos:
        view, labels = plan_photo(scene, number)
        image = renderer.image(pixel_rays(view.camera), view.rotation, settings.supersample)
        write_bytes(task.root / path, encode_image(image, ".jpg", settings.quality))
        angles = {name: round(float(getattr(view, name)), 6) for name in ("yaw_deg", "pitch_deg", "roll_deg", "hfov_deg")}
        size: dict[str, Cell] = {"image": path, "width": view.camera.width, "height": view.camera.height, **angles}
        people = []
        for label in labels:
            rng = generator(settings.seed, "procedural annotators", scene.arrangement, scene.index, number, label.figure.entity)
            count = int(rng.integers(ANNOTATORS[0], ANNOTATORS[1] + 1)) if task.split == "test" else 1
            points = (
                simulate_annotators(rng, label, view.camera, count, settings.noise_deg) if label.in_frame else np.empty((0, 2))
            )
            people.append(
                _Person(
                    _sidecar_cells(scene, label, task.split, size),
                    tuple(round(value, 6) for value in (*label.body_box, *label.eye)),
                    tuple((round(float(x), 6), round(float(y), 6)) for x, y in points),
                )
            )
        made.append(_Photo(size, tuple(people)))
    return made


def _sidecar_cells(scene: Scene, label: PhotoLabel, split: str, size: dict[str, Cell]) -> dict[str, Cell]:
    gaze = label.figure.gaze
    target = (None, None) if label.target is None else tuple(round(value, 6) for value in label.target)
    values: tuple[Cell, ...] = (
        *(size["image"], "", scene_name(scene.index), split, str(label.in_frame).lower()),
        *(label.flags.face, label.flags.visibility, label.flags.sight_line, label.flags.target_kind),
        "bare surface" if gaze.entity is None else scene.entities[gaze.entity].name,
        *(round(value, 3) for value in label.head_box),
        *target,
        size["hfov_deg"],
        *(round(float(value), 6) for value in label.gaze),
        *(round(label.figure.distance, 4), round(label.head_distance, 4)),
    )
    return dict(zip(COLUMNS, values, strict=True))


# --- labels -------------------------------------------------------------------------------------------------------------


def _write_labels(root: Path, settings: Settings, tasks: tuple[_Task, ...], finished: list[list[_Photo]]) -> Written:
    annotations: dict[str, list[str]] = {"train": [], "test": []}
    sidecar: list[dict[str, Cell]] = []
    scenes = []
    for task, photos in zip(tasks, finished, strict=True):
        name = scene_name(task.scene)
        scenes.append({"scene": name, "index": task.scene, "split": task.split, "photos": [photo.view for photo in photos]})
        for person in (person for photo in photos for person in photo.people):
            cells = person.sidecar | {"person": str(len(sidecar))}
            sidecar.append(cells)
            annotations[task.split] += _annotation_rows(cells, person, name)
    for split, file in (("train", TRAIN_FILE), ("test", TEST_FILE)):
        if annotations[split]:
            write_text(root / file, BOM + "\n".join(annotations[split]) + "\n")
    write_sidecar(root / SIDECAR_FILE, sidecar)
    record = {"generator": "srgaze360 procedural scenes", "format": 1, "settings": asdict(settings), "scenes": scenes}
    write_text(root / SCENES_FILE, canonical_json(record) + "\n")
    out_of_frame = sum(cells["in_frame"] == "false" for cells in sidecar)
    written = Written(settings.photos, len(tasks), len(sidecar), out_of_frame)
    write_text(root / "README.md", _readme(settings, written))
    return written


def _annotation_rows(cells: dict[str, Cell], person: _Person, scene: str) -> list[str]:
    """Rows of the annotation file: one per point; in train one of gaze -1, -1 where the target is out of frame."""
    inside = cells["in_frame"] == "true"
    train = cells["split"] == "train"
    points = person.points if inside else ((-1, -1),) if train else ()
    start = (cells["image"], cells["person"], *person.body_and_eye)
    end = (*(cells[f"head_{corner}"] for corner in ("x_min", "y_min", "x_max", "y_max")), *((int(inside),) if train else ()))
    return [",".join(map(str, (*start, *point, *end, "procedural", scene))) for point in points]


def _readme(settings: Settings, written: Written) -> str:
    columns = "\n".join(f"| `{name}` | {column.meaning} |" for name, column in COLUMNS.items())
    return f"""# Rendered photos with exact gaze

{written.photos} photos of {written.scenes} made-up scenes with {written.people} labelled people ({written.out_of_frame} of whom
look at something out of frame), rendered by SRGaze360 with seed {settings.seed}. Nobody in them exists. Licence: MIT, as the
program that made them.

The layout is that of GazeFollow (extended): `{TRAIN_FILE}` (17 columns, one simulated annotator), `{TEST_FILE}` (16 columns,
{ANNOTATORS[0]} to {ANNOTATORS[1]} simulated annotators per person, people with a target in frame only). Annotators err by
{settings.noise_deg:g} degrees along each axis, four times as much in 6 of 100 cases. `{SCENES_FILE}` holds the settings, and
the camera of every photo; all photos of a scene are taken from one place. `{SIDECAR_FILE}` holds, for every person:

| column | meaning |
|---|---|
{columns}

Such scenes are for trying out and testing the program. Results on them say nothing about real photographs.
"""
