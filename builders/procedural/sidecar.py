"""``procedural.csv``: what a rendered folder knows about every person beyond the GazeFollow columns.

Conventions
-----------
Comma separated UTF-8 text with a header, one row per person whose head is in a photo; (image, person) names the person in
the annotation files too, where ``person`` is the column ``id``. People of test photos whose target is out of frame are listed
here only, as GazeFollow's own test set has none. :data:`COLUMNS` says what each column holds; a cell is blank where a target
has no place in the plane of the photo (it lies behind the camera).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from srgaze360.errors import InputError, first_ids
from srgaze360.files import write_text

SIDECAR_FILE = "procedural.csv"


class Column(NamedTuple):
    """A column: its kind, the values it may have (for choices), and what it says."""

    kind: Literal["text", "choice", "number", "number or blank"]
    choices: tuple[str, ...]
    meaning: str


COLUMNS: Mapping[str, Column] = {
    "image": Column("text", (), "path of the photo, relative to this folder"),
    "person": Column("text", (), "id of the person, unique in this folder"),
    "scene": Column("text", (), "scene the photo was taken in: the unit of splitting"),
    "split": Column("choice", ("train", "test"), "split of the scene"),
    "in_frame": Column("choice", ("true", "false"), "whether the exact target lies inside the photo"),
    "face": Column("choice", ("front", "side", "back"), "side of the head that the camera sees (limits 60 and 120 degrees)"),
    "visibility": Column("choice", ("visible", "hidden"), "whether the camera position sees the target point"),
    "sight_line": Column("choice", ("clear", "blocked"), "whether the person sees it"),
    "target_kind": Column("choice", ("object", "person", "surface"), "what is looked at"),
    "target_name": Column("text", (), "its name"),
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
    "target_distance_m": Column("number", (), "distance from the eyes to the target"),
    "head_distance_m": Column("number", (), "distance from the camera to the head"),
}
HEAD_BOX = ("head_x_min", "head_y_min", "head_x_max", "head_y_max")


def write_sidecar(path: Path, rows: Iterable[Mapping[str, str | float | None]]) -> None:
    """Write rows with the keys of :data:`COLUMNS`; None is a blank."""
    lines = [",".join(COLUMNS)]
    lines += [",".join("" if row[name] is None else str(row[name]) for name in COLUMNS) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def read_sidecar(path: Path, advice: str) -> pd.DataFrame:
    """Read and check a sidecar: one row per person, text columns as text, numbers as float64 (blanks are NaN).

    Parameters
    ----------
    path
        The file.
    advice
        End of every error message: what to do.

    Raises
    ------
    InputError
        The file is missing, has other columns, or a cell holds what it must not; the first bad rows are named by line.
    """
    if not path.is_file():
        raise InputError(
            f"Expected {path.name} beside the annotations of a rendered folder, at {path}; there is no such file. {advice}"
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"Expected comma separated text in {path}; it cannot be read: {error}. {advice}") from None
    if list(table.columns) != list(COLUMNS):
        missing = [name for name in COLUMNS if name not in table.columns]
        unknown = [str(name) for name in table.columns if name not in COLUMNS]
        raise InputError(
            f"Expected the columns {', '.join(COLUMNS)} in {path}; missing: {', '.join(missing) or 'none'}; unknown: "
            f"{', '.join(unknown) or 'none'} (their order counts too). {advice}"
        )
    for name, column in COLUMNS.items():
        texts = table[name].tolist()
        _check(path, name, texts, [_allowed(column, text) for text in texts], column, advice)
        if column.kind.startswith("number"):
            table[name] = [float(text) if text else math.nan for text in texts]
    blank = table["target_x"].isna() != table["target_y"].isna()
    twice = table.duplicated(["image", "person"])
    for bad, reason in ((blank, "half of a target point"), (twice, "a person listed before")):
        if bad.any():
            lines = first_ids(int(row) + 2 for row in bad.to_numpy().nonzero()[0])
            raise InputError(f"Expected sound rows in {path}; found {reason} in line {lines}. {advice}")
    return table


def _allowed(column: Column, text: str) -> bool:
    if column.kind == "text":
        return bool(text)
    if column.kind == "choice":
        return text in column.choices
    if not text:
        return column.kind == "number or blank"
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _check(path: Path, name: str, texts: Sequence[str], allowed: Sequence[bool], column: Column, advice: str) -> None:
    bad = [row for row, good in enumerate(allowed) if not good]
    if bad:
        wanted = {"text": "text", "choice": f"one of {', '.join(column.choices)}"}.get(column.kind, "a finite number")
        raise InputError(
            f"Expected {wanted} in column {name} of {path}; found {texts[bad[0]]!r} in line "
            f"{first_ids(row + 2 for row in bad)}. {advice}"
        )
