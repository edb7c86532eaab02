"""The tables of a rendered folder: ``procedural.csv`` beside photos, ``panoramas.csv`` for panoramas.

Conventions
-----------
Comma separated UTF-8 text with a header, one row per person; :data:`TABLES` says what each column holds.

``procedural.csv`` adds to the annotation files what only a renderer knows. There is a row for everybody whose head is in a
photo; (image, person) names the person in the annotation files too, where ``person`` is the column ``id``. People of test
photos whose target is out of frame are listed here only, as GazeFollow's own test set has none. A target is blank where it
has no place in the plane of the photo (it lies behind the camera).

``panoramas.csv`` holds all there is to know, annotations included: GazeFollow's files have no place for a head box across the
seam, nor for a target behind the person who takes the picture. Everybody is labelled, and every target is in the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from srgaze360.errors import InputError, first_ids
from srgaze360.files import write_text

SIDECAR_FILE = "procedural.csv"
PANORAMA_FILE = "panoramas.csv"

Cell = str | float | None
Kind = Literal["text", "choice", "number", "number or blank", "pixels", "points"]


class Column(NamedTuple):
    """A column: its kind, the values it may have (for choices), and what it says."""

    kind: Kind
    choices: tuple[str, ...]
    meaning: str


FLAG_COLUMNS: Mapping[str, Column] = {
    "face": Column("choice", ("front", "side", "back"), "side of the head that the camera sees (limits 60 and 120 degrees)"),
    "visibility": Column("choice", ("visible", "hidden"), "whether the camera position sees the target point"),
    "sight_line": Column("choice", ("clear", "blocked"), "whether the person sees it"),
    "target_kind": Column("choice", ("object", "person", "surface"), "what is looked at"),
    "target_name": Column("text", (), "its name"),
}
DISTANCE_COLUMNS: Mapping[str, Column] = {
    "target_distance_m": Column("number", (), "distance from the eyes to the target"),
    "head_distance_m": Column("number", (), "distance from the camera to the head"),
}
COLUMNS: Mapping[str, Column] = {
    "image": Column("text", (), "path of the photo, relative to this folder"),
    "person": Column("text", (), "id of the person, unique in this folder"),
    "scene": Column("text", (), "scene the photo was taken in: the unit of splitting"),
    "split": Column("choice", ("train", "test"), "split of the scene"),
    "in_frame": Column("choice", ("true", "false"), "whether the exact target lies inside the photo"),
    **FLAG_COLUMNS,
    "head_x_min": Column("number", (), "head box, pixels, as in the annotations"),
    "head_y_min": Column("number", (), "head box, pixels"),
    "head_x_max": Column("number", (), "head box, pixels"),
    "head_y_max": Column("number", (), "head box, pixels"),
    "target_x": Column("number or blank", (), "exact target, fraction of the width, outside [0, 1] where out of frame"),
    "target_y": Column("number or blank", (), "exact target, fraction of the height"),
    "hfov_deg": Column("number", (), "true horizontal field of view of the photo"),
    "gaze_x": Column("number", (), "unit vector from the eyes to the target in the camera's frame: x to the right"),
    "gaze_y": Column("number", (), "its y, down"),
    "gaze_z": Column("number", (), "its z, away from the camera"),
    **DISTANCE_COLUMNS,
}
PANORAMA_COLUMNS: Mapping[str, Column] = {
    "image": Column("text", (), "path of the panorama, relative to this folder"),
    "person": Column("text", (), "id of the person, unique in this folder"),
    "scene": Column("text", (), "scene the panorama shows: the unit of splitting, shared with no photo"),
    "split": Column("choice", ("train", "test"), "split of the scene"),
    "width": Column("pixels", (), "width of the panorama in pixels, twice its height"),
    **FLAG_COLUMNS,
    "head_x_min": Column("number", (), "head box, pixels"),
    "head_y_min": Column("number", (), "head box, pixels"),
    "head_x_max": Column("number", (), "head box, pixels; beyond the width where the box crosses the seam"),
    "head_y_max": Column("number", (), "head box, pixels"),
    "target_x": Column("number", (), "exact target, fraction of the width"),
    "target_y": Column("number", (), "exact target, fraction of the height"),
    "arc_deg": Column("number", (), "angle between head and target as the camera sees them"),
    **DISTANCE_COLUMNS,
    "annotations": Column("points", (), "simulated annotations: x y;x y;... in fractions of width and height"),
}
TABLES: Mapping[str, Mapping[str, Column]] = {SIDECAR_FILE: COLUMNS, PANORAMA_FILE: PANORAMA_COLUMNS}
HEAD_BOX = ("head_x_min", "head_y_min", "head_x_max", "head_y_max")


def points_text(points: Iterable[Iterable[float]]) -> str:
    """Cell of points (n, 2)."""
    return ";".join(f"{x!r} {y!r}" for x, y in points)


def points_of(text: str) -> tuple[tuple[float, float], ...]:
    """Points of a cell, one or more.

    Raises
    ------
    ValueError
        The cell holds something else.
    """
    pairs = [pair.split(" ") for pair in text.split(";")]
    return tuple((_finite(x), _finite(y)) for x, y in pairs)


def _text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _pixels(text: str) -> int:
    number = int(text)
    if number < 2 or number % 2:
        raise ValueError(text)
    return number


# what a cell of each kind becomes, and what it is called in errors; a ValueError says that it is none
PARSERS: Mapping[Kind, tuple[Callable[[str], object], str]] = {
    "text": (_text, "text"),
    "choice": (_text, "text"),
    "number": (_finite, "a finite number"),
    "number or blank": (lambda text: _finite(text) if text else math.nan, "a finite number"),
    "pixels": (_pixels, "an even number of pixels"),
    "points": (points_of, "points (x y;x y;...)"),
}


def write_table(path: Path, rows: Iterable[Mapping[str, Cell]]) -> None:
    """Write rows with the keys of :data:`TABLES` for the name of ``path``; None is a blank."""
    columns = TABLES[path.name]
    lines = [",".join(columns)]
    lines += [",".join("" if row[name] is None else str(row[name]) for name in columns) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def read_table(path: Path, advice: str) -> pd.DataFrame:
    """Read and check a table: one row per person; see :data:`PARSERS` for what cells become (text and choices stay text).

    Parameters
    ----------
    path
        The file; its name is a key of :data:`TABLES`.
    advice
        End of every error message: what to do.

    Raises
    ------
    InputError
        The file is missing, has other columns, or a cell holds what it must not; the first bad rows are named by line.
    """
    columns = TABLES[path.name]
    if not path.is_file():
        raise InputError(
            f"Expected {path.name} beside the pictures of a rendered folder, at {path}; there is no such file. {advice}"
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"Expected comma separated text in {path}; it cannot be read: {error}. {advice}") from None
    if list(table.columns) != list(columns):
        missing = [name for name in columns if name not in table.columns]
        unknown = [str(name) for name in table.columns if name not in columns]
        raise InputError(
            f"Expected the columns {', '.join(columns)} in {path}; missing: {', '.join(missing) or 'none'}; unknown: "
            f"{', '.join(unknown) or 'none'} (their order counts too). {advice}"
        )
    if table.empty:
        raise InputError(f"Expected a row for every person in {path}; found none. {advice}")
    for name, column in columns.items():
        table[name] = pd.Series(_parsed(path, name, table[name].tolist(), column, advice))
    blank = table["target_x"].isna() != table["target_y"].isna()
    twice = table.duplicated(["image", "person"])
    for bad, reason in ((blank, "half of a target point"), (twice, "a person listed before")):
        if bad.any():
            lines = first_ids(int(row) + 2 for row in bad.to_numpy().nonzero()[0])
            raise InputError(f"Expected sound rows in {path}; found {reason} in line {lines}. {advice}")
    return table


def _parsed(path: Path, name: str, texts: Sequence[str], column: Column, advice: str) -> list[object]:
    """Values of a column's cells."""
    parse, wanted = PARSERS[column.kind]
    values: list[object] = []
    bad: list[int] = []
    for row, text in enumerate(texts):
        try:
            values.append(parse(text))
        except ValueError:
            bad.append(row)
    if column.choices:
        bad, wanted = (
            [row for row, text in enumerate(texts) if text not in column.choices],
            f"one of {', '.join(column.choices)}",
        )
    if bad:
        raise InputError(
            f"Expected {wanted} in column {name} of {path}; found {texts[bad[0]]!r} in line "
            f"{first_ids(row + 2 for row in bad)}. {advice}"
        )
    return values
