"""A table of the user's own labels: ``labels.csv`` or ``labels.parquet`` beside the photos.

Conventions
-----------
One row per annotation; rows of one ``image`` and ``person`` are several annotations of one person, whose head box and further
columns are those of the first row. Coordinates are pixels of the photo or fractions of its size (``units``), the origin at the
upper left. ``table_columns.COLUMNS`` says what each column means. Columns that are not listed there become columns of the
dataset: numbers, truth values or text, by the file's type (Parquet) or by what all their cells are (CSV).

What a column says of a photo (split, cluster, units, projection, size, camera) must be the same in all its rows, or the photo
is rejected: which row is right cannot be known. In a panorama, a head box across the seam has ``head_x1`` beyond the width;
swapped corners are mended in photos only, because in a panorama they could mean the seam. Intrinsics are pixels of the size
that ``width`` and ``height`` name (of the stored photo, where they name none), in continuous coordinates: OpenCV's cx and cy
plus 0.5.

Where ``in_frame`` is false, a gaze point is the known target beyond the photo's edge; an empty one, or -1,-1 as other datasets
write it, is an unknown one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from builders.sources.base import Listing, Person, Photo, Projection, Rejected, Source, SourceOptions, Unit, wrong_folder
from builders.sources.columns import ColumnType, read_columns
from builders.sources.rows import path_fault, row_reference, to_numbers
from builders.sources.table_columns import (
    CHOICES,
    FLAGS,
    GAZE,
    HEAD_BOX,
    SIZE,
    check_header,
    check_units,
    in_frame,
    known_columns,
    known_target,
    row_faults,
)
from srgaze360.errors import InputError

KIND = "table"
CITATION = "No single source: cite the origin of the photos and labels in the table."
LICENCE = "The user's own photos and labels: their licences pass to the dataset that is built with them."
OBTAIN = "write the table yourself; docs/datasets.md explains its columns."
LAYOUT = "labels.csv or labels.parquet, and the photos that its column image names, relative to the folder"
ADVICE = "The columns are explained in docs/datasets.md."
FILES = ("labels.csv", "labels.parquet")
ROW = ("line", "image", "person", "annotator", "split", "cluster", "units", "projection", *SIZE, *HEAD_BOX, *GAZE)

INVERTED = "inverted head box swapped"
DIFFERING = "head boxes differ between annotations, the first used"
DIFFERING_EXTRAS = "further columns differ between annotations, the first used"

Extra = str | float | bool | None


class TableOptions(SourceOptions):
    """Which file, where there are both; and what holds where the table has no such column."""

    file: str | None = None
    split: Literal["train", "val", "test"] = "train"
    units: Unit = "pixel"
    projection: Projection = "perspective"

    @field_validator("file")
    @classmethod
    def _table_inside_the_root(cls, name: str | None) -> str | None:
        if name is not None and (fault := path_fault(name)):
            raise ValueError(fault)
        if name is not None and not name.lower().endswith((".csv", ".parquet")):
            raise ValueError("file must be a .csv or a .parquet")
        return name


def read(root: Path, options: TableOptions) -> Listing:
    """List the photos and people of a table under ``root``; opens no photo.

    Raises
    ------
    InputError
        There is no table, or there are two; it is damaged, or its columns are not usable.
    """
    name = _file(root, options)
    source = read_columns(root / name, ADVICE)
    extras = check_header(root / name, source)
    table = known_columns(source, {choice: str(getattr(options, choice)) for choice in CHOICES} | {"in_frame": "true"})
    check_units(root / name, table)
    faults, cameras = row_faults(table)
    typed = {column: typed_values(source.texts[column], source.types[column]) for column in extras}
    further = list(zip(*typed.values(), strict=True)) if typed else [()] * len(table)

    facts = zip(*(table[column].tolist() for column in ROW), strict=True)
    rows: list[dict[str, Any]] = [
        {
            **dict(zip(ROW, values, strict=True)),
            "inside": inside,
            "camera": camera,
            "extras": dict(zip(typed, more, strict=True)),
        }
        for values, inside, camera, more in zip(facts, in_frame(table).tolist(), cameras, further, strict=True)
    ]
    rejected = [
        Rejected(KIND, row_reference(name, [line]), "", "", f"row has not {len(source.names)} columns ({width})")
        for line, width in source.malformed
    ]
    rejected += [
        Rejected(KIND, row_reference(name, [row["line"]]), row["image"], row["person"], fault)
        for row, fault in zip(rows, faults, strict=True)
        if fault
    ]
    photos = _photos(name, [row for row, fault in zip(rows, faults, strict=True) if not fault])
    repaired = Counter(repair for photo in photos for person in photo.people for repair in person.repairs)
    return Listing(photos, tuple(rejected), repaired)


def _file(root: Path, options: TableOptions) -> str:
    named = (options.file,) if options.file else FILES
    found = [name for name in named if (root / name).is_file()]
    if not found:
        raise wrong_folder(root, f"the table {options.file}, named by the option file" if options.file else LAYOUT, OBTAIN)
    if len(found) > 1:
        raise InputError(
            f"Expected one table in {root}; found {' and '.join(found)}. Remove one, or name it by the option file."
        )
    return found[0]


def typed_values(texts: NDArray[np.object_], kind: ColumnType) -> list[Extra]:
    """Cells of a further column as ``kind``, or as what all that are not empty have in common; None where empty."""
    written = [str(text) for text in texts if text != ""]
    if kind == "unknown":
        numbers = to_numbers(np.array(written, dtype=object))
        flags = all(text.lower() in ("true", "false") for text in written)
        kind = "flag" if flags else "number" if np.isfinite(numbers).all() else "text"
    if kind == "flag":
        return [FLAGS[text.lower()] if text else None for text in texts]
    if kind == "number":
        return [value if np.isfinite(value) else None for value in to_numbers(texts).tolist()]
    return [str(text) or None for text in texts]


def _photos(file: str, rows: Sequence[Mapping[str, Any]]) -> tuple[Photo, ...]:
    """Photos sorted by path, their people in the order of their first rows, annotations in the order of the rows."""
    photos = []
    for image, group in groupby(sorted(rows, key=itemgetter("image")), key=itemgetter("image")):
        people: dict[str, list[Mapping[str, Any]]] = {}
        for row in group:
            people.setdefault(row["person"], []).append(row)
        photos.append(_photo(image, next(iter(people.values()))[0], [_person(file, own) for own in people.values()]))
    return tuple(photos)


def _photo(image: str, row: Mapping[str, Any], people: Sequence[Person]) -> Photo:
    size = (int(row["width"]), int(row["height"])) if np.isfinite(row["width"]) else None
    return Photo(image, row["split"], row["cluster"], tuple(people), row["projection"], size, row["camera"])


def _person(file: str, rows: Sequence[Mapping[str, Any]]) -> Person:
    first = rows[0]
    boxes = [tuple(row[name] for name in HEAD_BOX) for row in rows]
    x0, y0, x1, y1 = boxes[0]
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    repairs = (INVERTED,) * (box != boxes[0]) + (DIFFERING,) * (len(set(boxes)) > 1)
    repairs += (DIFFERING_EXTRAS,) * any(row["extras"] != first["extras"] for row in rows)
    pointed = [row for row in rows if row["inside"] or known_target(row["gaze_x"], row["gaze_y"])]
    annotators = tuple(row["annotator"] for row in pointed)
    return Person(
        person=first["person"],
        row=row_reference(file, [row["line"] for row in rows]),
        head_box=box,
        head_unit=first["units"],
        gaze=tuple((row["gaze_x"], row["gaze_y"]) for row in pointed),
        gaze_unit=first["units"],
        in_frame=first["inside"],
        annotators=annotators if any(annotators) else (),
        extras={name: value for name, value in first["extras"].items() if value is not None},
        repairs=repairs,
    )


SOURCE = Source(
    kind=KIND,
    title="A table of one's own",
    citation=CITATION,
    licence=LICENCE,
    obtain=OBTAIN,
    layout=LAYOUT,
    read=read,
    options=TableOptions,
)
