"""Writing rendered photos as a folder in the layout of GazeFollow (extended), and rendered panoramas beside them.

Conventions
-----------
::

    train/<8 digits>/<8 digits>.jpg   test2/...   train_annotations_release.txt   test_annotations_release.txt
    procedural.csv   panoramas/<8 digits>/<8 digits>.jpg   panoramas.csv   scenes.json   README.md

Annotation files have GazeFollow's columns and units: head box in pixels, all else fractions; a byte order mark, no header.
Train has one simulated annotator per person and ``inout`` (targets out of frame: gaze -1, -1); test has 8 to 10 per person
and lists only people whose target is in frame. Exact targets are in ``procedural.csv``; all about panoramas is in
``panoramas.csv`` (see :mod:`builders.procedural.sidecar`).

The folder is written beside its place and renamed when complete, so a folder that is there is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from builders.procedural.annotators import ANNOTATORS
from builders.procedural.pictures import FIRST_PANORAMA_SCENE, MOST, Picture, Row, Settings, Task, make_pictures, scene_name
from builders.procedural.scene import Arrangement
from builders.procedural.sidecar import HEAD_BOX, PANORAMA_FILE, SIDECAR_FILE, TABLES, Cell, write_table
from builders.procedural.spread import check_empty, spread
from srgaze360.console import silent
from srgaze360.errors import InputError
from srgaze360.files import atomic_folder, canonical_json, generator, write_text

TRAIN_FILE = "train_annotations_release.txt"
TEST_FILE = "test_annotations_release.txt"
SCENES_FILE = "scenes.json"
FOLDERS = {"train": "train", "test": "test2"}
PANORAMA_FOLDER = "panoramas"
SECOND_PHOTO_SHARE = 0.35
BOM = "\ufeff"


@dataclass(frozen=True)
class Written:
    """What was written.

    ``people`` are those in photos, ``out_of_frame`` those of them whose target is not, ``people_around`` those in panoramas.
    """

    photos: int
    panoramas: int
    scenes: int
    people: int
    out_of_frame: int
    people_around: int


def write_gazefollow_folder(
    out: Path,
    photos: int,
    seed: int,
    *,
    panoramas: int = 0,
    width: int = 2048,
    test_share: float = 0.25,
    arrangement: Arrangement = "group",
    noise_deg: float = 2.5,
    supersample: int = 2,
    quality: int = 92,
    workers: int = 1,
    progress: Callable[[int], None] = silent,
) -> Written:
    """Render photos, and panoramas, and write them with their labels.

    Parameters
    ----------
    out
        Folder to make; it must not exist, or be empty.
    photos
        Number of photos. Fewer photos with the same seed are a prefix of more.
    seed
        Whole number, 0 or more.
    panoramas
        Number of panoramas of ``around`` scenes, one of each and none that a photo shows. Fewer are a prefix of more.
    width
        Width of the panoramas in pixels, even: twice their height.
    test_share
        Share of *scenes* that are test, in [0, 1]; spread evenly over the sequence of scenes.
    arrangement
        Of the photos: ``"group"`` or ``"around"``; see :mod:`builders.procedural.layout`.
    noise_deg
        Standard deviation of annotators' errors along each axis, degrees as seen from the camera; 0 gives exact points.
    supersample
        Rays per pixel and axis where the picture has edges.
    quality
        JPEG quality, 1 to 100.
    workers
        Processes; 1 renders in this one. The content does not depend on it.
    progress
        Called with the number of pictures just finished.

    Raises
    ------
    InputError
        ``out`` holds something, or an argument is out of range.
    EnvironmentProblem
        The system refused to write.
    """
    settings = Settings(photos, seed, panoramas, width, test_share, arrangement, noise_deg, supersample, quality)
    _check(settings, workers)
    check_empty(out, "rendered photos")
    with atomic_folder(out) as root:
        tasks = (*_photo_tasks(settings, root), *_panorama_tasks(settings, root))
        finished: list[list[Picture]] = []
        for task, pictures in zip(tasks, spread(make_pictures, tasks, workers), strict=True):
            finished.append(pictures)
            progress(len(task.paths))
        return _write_labels(root, settings, tasks, finished)


def _check(settings: Settings, workers: int) -> None:
    for name, value, low, high in (
        ("photos", settings.photos, 0, MOST),
        ("panoramas", settings.panoramas, 0, MOST),
        ("photos and panoramas", settings.photos + settings.panoramas, 1, np.inf),
        ("width", settings.width, 64, 16384),
        ("seed", settings.seed, 0, np.inf),
        ("test_share", settings.test_share, 0, 1),
        ("noise_deg", settings.noise_deg, 0, 30),
        ("supersample", settings.supersample, 1, 8),
        ("quality", settings.quality, 1, 100),
        ("workers", workers, 1, np.inf),
    ):
        if not low <= value <= high:
            raise InputError(f"Expected {name} from {low:g} to {high:g} for rendered pictures; found {value!r}.")


# --- scenes and their pictures ------------------------------------------------------------------------------------------


def _photo_tasks(settings: Settings, root: Path) -> Iterator[Task]:
    photo, scene = 0, 0
    while photo < settings.photos:
        rng = generator(settings.seed, "procedural photos", settings.arrangement, scene)
        count = min(1 + int(rng.random() < SECOND_PHOTO_SHARE), settings.photos - photo)
        split = _split(scene, settings.test_share)
        yield Task(settings, scene, split, tuple(_path(FOLDERS[split], n) for n in range(photo, photo + count)), root)
        photo, scene = photo + count, scene + 1


def _panorama_tasks(settings: Settings, root: Path) -> Iterator[Task]:
    for number in range(settings.panoramas):
        split, path = _split(number, settings.test_share), _path(PANORAMA_FOLDER, number)
        yield Task(settings, FIRST_PANORAMA_SCENE + number, split, (path,), root)


def _split(number: int, test_share: float) -> str:
    """Split of the ``number``-th scene: where the running share passes a whole number it is test."""
    return "test" if int((number + 1) * test_share) > int(number * test_share) else "train"


def _path(folder: str, number: int) -> str:
    return f"{folder}/{number // 1000:08d}/{number:08d}.jpg"


# --- labels -------------------------------------------------------------------------------------------------------------


def _write_labels(root: Path, settings: Settings, tasks: Sequence[Task], finished: Sequence[Sequence[Picture]]) -> Written:
    annotations: dict[str, list[str]] = {"train": [], "test": []}
    tables: dict[str, list[dict[str, Cell]]] = {SIDECAR_FILE: [], PANORAMA_FILE: []}
    scenes = []
    for task, pictures in zip(tasks, finished, strict=True):
        name, what = scene_name(task.scene), "panoramas" if task.panoramas else "photos"
        scenes.append({"scene": name, "index": task.scene, "split": task.split, what: [picture.view for picture in pictures]})
        table, prefix = tables[PANORAMA_FILE if task.panoramas else SIDECAR_FILE], "p" if task.panoramas else ""
        for person in (person for picture in pictures for person in picture.people):
            cells = person.cells | {"person": f"{prefix}{len(table)}"}
            table.append(cells)
            if not task.panoramas:
                annotations[task.split] += _annotation_rows(cells, person, name)
    for split, file in (("train", TRAIN_FILE), ("test", TEST_FILE)):
        if annotations[split]:
            write_text(root / file, BOM + "\n".join(annotations[split]) + "\n")
    for file, rows in tables.items():
        if rows:
            write_table(root / file, rows)
    record = {"generator": "srgaze360 procedural scenes", "format": 1, "settings": asdict(settings), "scenes": scenes}
    write_text(root / SCENES_FILE, canonical_json(record) + "\n")
    people, around = tables[SIDECAR_FILE], tables[PANORAMA_FILE]
    out_of_frame = sum(cells["in_frame"] == "false" for cells in people)
    written = Written(settings.photos, settings.panoramas, len(tasks), len(people), out_of_frame, len(around))
    write_text(root / "README.md", _readme(settings, written))
    return written


def _annotation_rows(cells: dict[str, Cell], person: Row, scene: str) -> list[str]:
    """Rows of the annotation file: one per point; in train one of gaze -1, -1 where the target is out of frame."""
    inside = cells["in_frame"] == "true"
    train = cells["split"] == "train"
    points = person.points if inside else ((-1, -1),) if train else ()
    start = (cells["image"], cells["person"], *person.body_and_eye)
    end = (*(cells[corner] for corner in HEAD_BOX), *((int(inside),) if train else ()))
    return [",".join(map(str, (*start, *point, *end, "procedural", scene))) for point in points]


def _readme(settings: Settings, written: Written) -> str:
    photos = f"""
## Photos

{written.people} labelled people, {written.out_of_frame} of whom look at something out of frame. The layout is that of
GazeFollow (extended): `{TRAIN_FILE}` (17 columns) and `{TEST_FILE}` (16 columns,
people with a target in frame only). All photos of a scene are taken from one place. `{SIDECAR_FILE}` holds, for every person:

{_columns(SIDECAR_FILE)}
"""
    panoramas = f"""
## Panoramas

{written.people_around} people: everybody is labelled, and every target is in the picture. {settings.width} x
{settings.width // 2} pixels, equirectangular: x / width = longitude / 360 + 0.5 and y / height = 0.5 - latitude / 180, in
degrees, (0, 0) at the upper left corner. `{PANORAMA_FILE}` holds, for every person:

{_columns(PANORAMA_FILE)}
"""
    return f"""# Rendered pictures with exact gaze

{written.photos} photos and {written.panoramas} panoramas of {written.scenes} made-up scenes, rendered by SRGaze360 with seed
{settings.seed}. Nobody in them exists. Licence: MIT, as the program that made them.

A scene is train or test as a whole; photos and panoramas never show the same one. Simulated annotators, one per person in
train and {ANNOTATORS[0]} to {ANNOTATORS[1]} in test, err by {settings.noise_deg:g} degrees along each axis as seen from the
camera, four times as much in 6 of 100 cases. `{SCENES_FILE}` holds the settings, and the camera of every picture.
{photos if written.photos else ""}{panoramas if written.panoramas else ""}
Such scenes are for trying out and testing the program. Results on them say nothing about real photographs.
"""


def _columns(file: str) -> str:
    rows = (f"| `{name}` | {column.meaning} |" for name, column in TABLES[file].items())
    return "\n".join(["| column | meaning |", "|---|---|", *rows])
