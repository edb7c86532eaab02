"""Rendered pictures: the folder that ``srgaze360 sources procedural`` writes, with exact gaze, also out of frame.

Conventions
-----------
The annotation files are GazeFollow's and are read as such; ``procedural.csv`` adds, for the same people, what only a renderer
knows. The cluster is the scene. ``gaze`` of people in frame are the simulated annotations; of people whose target is out of
frame it is the exact target in extended fractions (outside [0, 1]), or empty where the target lies behind the camera. People
of test photos whose target is out of frame stand in the sidecar only.

``panoramas.csv`` lists panoramas, everybody in them with simulated annotations, always in frame. A folder holds photos,
panoramas, or both; no scene is shown by both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from builders.procedural.sidecar import FLAG_COLUMNS, HEAD_BOX, PANORAMA_FILE, SIDECAR_FILE, read_table
from builders.sources.base import Listing, Person, Photo, Point, Source, SourceOptions, wrong_folder
from builders.sources.gazefollow import TEST_FILE, TRAIN_FILE, GazeFollowOptions, read_labels
from builders.sources.rows import path_faults
from srgaze360.errors import InputError, first_ids

KIND = "procedural"
CITATION = "SRGaze360: a toolkit for gaze following in 360-degree images. Scenes rendered by the program itself."
LICENCE = "MIT (made by this program; nobody in the pictures exists)"
OBTAIN = "srgaze360 sources procedural --out DIR --photos N --panoramas M --seed S writes such a folder."
LAYOUT = (
    "train_annotations_release.txt and/or test_annotations_release.txt, and procedural.csv, beside the folders train/ and "
    "test2/ of photos; and/or panoramas.csv beside the folder panoramas/"
)
PHOTO_PARTS = (TRAIN_FILE, TEST_FILE, SIDECAR_FILE, "train", "test2")  # where one of them is, all that belong to it must be
PANORAMA_PARTS = (PANORAMA_FILE, "panoramas")
EXTRAS = tuple(name for name in FLAG_COLUMNS if name != "target_name")
ADVICE = f"The files of a rendered folder belong together: write it again. {OBTAIN}"
BOX_TOLERANCE = 0.01  # pixels

Key = tuple[str, str]
Row = Mapping[str, Any]


def read(root: Path, _: SourceOptions) -> Listing:
    """List the photos, the panoramas and the people of a rendered folder; opens no picture.

    Raises
    ------
    InputError
        A file is missing or damaged, or two files contradict one another.
    """
    holds_photos, holds_panoramas = (any((root / part).exists() for part in parts) for parts in (PHOTO_PARTS, PANORAMA_PARTS))
    if not (holds_photos or holds_panoramas):
        raise wrong_folder(root, LAYOUT, OBTAIN)
    listing = _read_photos(root) if holds_photos else Listing(())
    panoramas = _read_panoramas(root) if holds_panoramas else ()
    shared = {photo.cluster for photo in listing.photos} & {panorama.cluster for panorama in panoramas}
    if shared:
        raise InputError(
            f"Expected no scene to be both in {SIDECAR_FILE} and in {PANORAMA_FILE} of {root}; found {len(shared)}: "
            f"{first_ids(sorted(shared))}. {ADVICE}"
        )
    pictures = sorted((*listing.photos, *panoramas), key=lambda picture: picture.image)
    return replace(listing, photos=tuple(pictures))


def _rows(root: Path, file: str, constant: Sequence[tuple[str, str]]) -> dict[Key, Row]:
    """Rows of a table by (image, person), each with its ``line``; ``constant``: (column, column within which it is one)."""
    path = root / file
    table = read_table(path, ADVICE)
    for name, within in constant:
        counts = table.groupby(within)[name].nunique()
        if (counts > 1).any():
            bad = first_ids(counts.index[counts > 1])
            raise InputError(f"Expected one {name} per {within} in {path}; found several for {bad}. {ADVICE}")
    for fault in sorted(set(path_faults(table["image"].tolist())) - {""}):
        raise InputError(f"Expected pictures inside {root}; found in {path}: {fault}. {ADVICE}")
    records = table.assign(line=range(2, len(table) + 2)).to_dict("records")
    return {(row["image"], row["person"]): {str(name): value for name, value in row.items()} for row in records}


# --- panoramas ----------------------------------------------------------------------------------------------------------


def _read_panoramas(root: Path) -> tuple[Photo, ...]:
    people: dict[str, list[Person]] = {}
    places: dict[str, Row] = {}
    for row in _rows(root, PANORAMA_FILE, (("split", "scene"), ("scene", "image"), ("width", "image"))).values():
        places[row["image"]] = row
        people.setdefault(row["image"], []).append(_person_around(row))
    return tuple(
        Photo(
            image=image,
            split=row["split"],
            cluster=row["scene"],
            people=tuple(people[image]),
            projection="equirectangular",
            size=(row["width"], row["width"] // 2),
        )
        for image, row in places.items()
    )


def _person_around(row: Row) -> Person:
    x0, y0, x1, y1 = (row[name] for name in HEAD_BOX)
    return Person(
        person=row["person"],
        row=f"{PANORAMA_FILE}:{row['line']}",
        head_box=(x0, y0, x1, y1),
        head_unit="pixel",
        gaze=row["annotations"],
        gaze_unit="fraction",
        in_frame=True,
        extras={"origin": "procedural", **_extras(row)},
    )


# --- photos -------------------------------------------------------------------------------------------------------------


def _read_photos(root: Path) -> Listing:
    listing = read_labels(root, GazeFollowOptions(), KIND, OBTAIN)
    rows = _rows(root, SIDECAR_FILE, (("split", "scene"), ("scene", "image")))
    annotated = {(photo.image, person.person): (photo, person) for photo in listing.photos for person in photo.people}
    rejected = {(row.image, row.person) for row in listing.rejected}
    _check_agreement(root, annotated, rows, rejected)

    people: dict[str, list[Person]] = {}
    for key, row in rows.items():
        if key in annotated:
            people.setdefault(key[0], []).append(_enriched(annotated[key][1], row))
        elif key not in rejected:
            people.setdefault(key[0], []).append(_unlisted(row))
    places = {str(row["image"]): row for row in rows.values()}
    photos = (Photo(image, places[image]["split"], places[image]["scene"], tuple(people[image])) for image in people)
    return replace(listing, photos=tuple(photos))


def _check_agreement(
    root: Path, annotated: Mapping[Key, tuple[Photo, Person]], rows: Mapping[Key, Row], rejected: set[Key]
) -> None:
    unknown = [key for key in annotated if key not in rows]
    # out-of-frame people of test photos are known to the sidecar alone
    absent = [
        key
        for key, row in rows.items()
        if key not in annotated and key not in rejected and not (row["split"] == "test" and row["in_frame"] == "false")
    ]
    differing = [key for key, pair in annotated.items() if key in rows and not _same(*pair, rows[key])]
    for keys, what in (
        (unknown, "only in the annotations"),
        (absent, "only in the sidecar"),
        (differing, "with another split, in-frame flag or head box in the sidecar"),
    ):
        if keys:
            people = first_ids(f"{image} person {name}" for image, name in keys)
            raise InputError(
                f"Expected the annotations in {root} and {SIDECAR_FILE} to tell of the same people; found {len(keys)} {what}: "
                f"{people}. {ADVICE}"
            )


def _same(photo: Photo, person: Person, row: Row) -> bool:
    box = np.array([row[name] for name in HEAD_BOX])
    return (
        photo.split == row["split"]
        and person.in_frame == (row["in_frame"] == "true")
        and bool(np.all(np.abs(box - person.head_box) <= BOX_TOLERANCE))
    )


def _out_of_frame_gaze(row: Row) -> tuple[Point, ...]:
    """Exact target in extended fractions; none where it lies behind the camera."""
    return () if math.isnan(row["target_x"]) else ((row["target_x"], row["target_y"]),)


def _extras(row: Row) -> dict[str, str | float | bool]:
    return {name: str(row[name]) for name in EXTRAS}


def _enriched(person: Person, row: Row) -> Person:
    """A person of the annotations with what the sidecar adds."""
    gaze = person.gaze if person.in_frame else _out_of_frame_gaze(row)
    return replace(person, gaze=gaze, extras={**person.extras, **_extras(row)})


def _unlisted(row: Row) -> Person:
    """A person of a test photo whose target is out of frame."""
    x0, y0, x1, y1 = (row[name] for name in HEAD_BOX)
    return Person(
        person=row["person"],
        row=f"{SIDECAR_FILE}:{row['line']}",
        head_box=(x0, y0, x1, y1),
        head_unit="pixel",
        gaze=_out_of_frame_gaze(row),
        gaze_unit="fraction",
        in_frame=False,
        extras={"origin": "procedural", **_extras(row)},
    )


SOURCE = Source(
    kind=KIND,
    title="Procedural scenes",
    citation=CITATION,
    licence=LICENCE,
    obtain=OBTAIN,
    layout=LAYOUT,
    read=read,
)
