"""Rendered photos: the folder that ``srgaze360 sources procedural`` writes, with exact gaze, also out of frame.

Conventions
-----------
The annotation files are GazeFollow's and are read as such; ``procedural.csv`` adds, for the same people, what only a renderer
knows. The cluster is the scene. ``gaze`` of people in frame are the simulated annotations; of people whose target is out of
frame it is the exact target in extended fractions (outside [0, 1]), or empty where the target lies behind the camera. People
of test photos whose target is out of frame stand in the sidecar only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from builders.procedural.sidecar import HEAD_BOX, SIDECAR_FILE, read_sidecar
from builders.sources.base import Listing, Person, Photo, Point, Source, SourceOptions
from builders.sources.gazefollow import GazeFollowOptions, read_labels
from builders.sources.rows import path_faults
from srgaze360.errors import InputError, first_ids

KIND = "procedural"
CITATION = "SRGaze360: a toolkit for gaze following in 360-degree images. Scenes rendered by the program itself."
LICENCE = "MIT (made by this program; nobody in the photos exists)"
OBTAIN = "srgaze360 sources procedural --out DIR --photos N --seed S writes such a folder."
LAYOUT = (
    "train_annotations_release.txt and/or test_annotations_release.txt, and procedural.csv, beside the folders train/ and "
    "test2/ of photos"
)
EXTRAS = ("face", "visibility", "sight_line", "target_kind")
ADVICE = f"The files of a rendered folder belong together: write it again. {OBTAIN}"
BOX_TOLERANCE = 0.01  # pixels

Key = tuple[str, str]
Row = Mapping[str, Any]


def read(root: Path, _: SourceOptions) -> Listing:
    """List the photos and people of a rendered folder; opens no photo.

    Raises
    ------
    InputError
        A file is missing or damaged, or annotations and sidecar do not tell of the same people.
    """
    listing = read_labels(root, GazeFollowOptions(), KIND, OBTAIN)
    rows = _sidecar_rows(root)
    annotated = {(photo.image, person.person): (photo, person) for photo in listing.photos for person in photo.people}
    rejected = {(row.image, row.person) for row in listing.rejected}
    _check_agreement(root, annotated, rows, rejected)

    people: dict[str, list[Person]] = {}
    for key, row in rows.items():
        if key in annotated:
            people.setdefault(key[0], []).append(_enriched(annotated[key][1], row))
        elif key not in rejected:
            people.setdefault(key[0], []).append(_unlisted(row))
    scenes = {str(row["image"]): row for row in rows.values()}
    photos = (Photo(image, scenes[image]["split"], scenes[image]["scene"], tuple(people[image])) for image in sorted(people))
    return Listing(tuple(photos), listing.rejected, listing.repaired)


def _sidecar_rows(root: Path) -> dict[Key, Row]:
    """Rows of the sidecar by (image, person), each with its ``line``."""
    path = root / SIDECAR_FILE
    table = read_sidecar(path, ADVICE)
    for name, parts, whole in (("split", "scene", "scene"), ("scene", "image", "photo")):
        counts = table.groupby(parts)[name].nunique()
        if (counts > 1).any():
            bad = first_ids(counts.index[counts > 1])
            raise InputError(f"Expected one {name} per {whole} in {path}; found several for {bad}. {ADVICE}")
    for fault in sorted(set(path_faults(table["image"].tolist())) - {""}):
        raise InputError(f"Expected photos inside {root}; found in {path}: {fault}. {ADVICE}")
    records = table.assign(line=range(2, len(table) + 2)).to_dict("records")
    return {(row["image"], row["person"]): {str(name): value for name, value in row.items()} for row in records}


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
