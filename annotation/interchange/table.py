"""CSV: a line for every annotation of the gaze, angles and fractions as they are.

Conventions
-----------
:data:`COLUMNS` are written; ``sample_id`` alone is required, and columns that are not there leave their labels as they are.
Lines of one ``sample_id`` are one person, a line without gaze somebody whose gaze is not known; what concerns the person is the
same in all of their lines. People who are not in the file stay as they are: ``rejected`` takes somebody out. A ``sample_id``
that begins with ``new`` is somebody new on the panorama of ``panorama_id``. Numbers are shortest decimals that read back; flags
are true, false or empty. UTF-8; commas, semicolons or tabs, whichever the first line has most of.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from annotation.applying import AMBIGUOUS, BOX
from annotation.edits import Box
from annotation.interchange.reading import check_file
from annotation.interchange.records import (
    Content,
    Faults,
    Person,
    Picture,
    Place,
    Places,
    Point,
    annotations_of,
    flag_text,
    found_place,
)
from annotation.interchange.shapes import FLAGS
from srgaze360.errors import InputError, first_ids

WHAT = "a table of labels (CSV with the column sample_id)"
COLUMNS = (
    *("sample_id", "panorama_id", "image_path", *BOX, "in_frame", "ambiguous", "rejected"),
    *("gaze_lon_deg", "gaze_lat_deg", "annotator", "comment"),
)
_NEW = "new"
_POINT = ("gaze_lon_deg", "gaze_lat_deg")


# --- writing ----------------------------------------------------------------------------------------------------------


def write(places: Iterable[Place]) -> str:
    """The table of some panoramas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place in places:
        for row in place.rows:
            person = [row["sample_id"], place.panorama_id, place.image_path, *(repr(row[side]) for side in BOX)]
            person += [flag_text(row["in_frame"]), flag_text(row.get(AMBIGUOUS)), "false"]
            points = [[repr(x), repr(y), name] for x, y, name in annotations_of(row)]
            writer.writerows([*person, *point, ""] for point in points or [["", "", ""]])
    return text.getvalue()


# --- reading ----------------------------------------------------------------------------------------------------------

_Line = tuple[str, Mapping[str, str]]  # where it is, its cells by column


def read(path: Path, places: Places, reviewer: str) -> Content:
    """The people in a table; ``reviewer`` is who made the changes (empty: not known).

    Raises
    ------
    InputError
        The table cannot be read or does not fit the dataset; all faults at once, with their lines.
    """
    check_file(path, WHAT)
    faults = Faults(path)
    of = {row["sample_id"]: place for place in places.by_id.values() for row in place.rows}
    lines: dict[str, list[_Line]] = defaultdict(list)
    strange = 0
    for where, cells in _lines(path):
        strange = len(cells.keys() - set(COLUMNS))
        if name := cells["sample_id"].strip():
            lines[name].append((where, cells))
        else:
            faults.add(where, "no sample_id")
    people: dict[str, list[Person]] = defaultdict(list)
    for name, own in lines.items():
        place = of.get(name)
        where, first = own[0]
        if place is None and name.startswith(_NEW):
            place = found_place(places, [first.get("panorama_id", ""), first.get("image_path", "")], where, faults)
        elif place is None:
            faults.add(where, f"sample_id {name!r} is nobody in the dataset (of somebody new it begins with {_NEW!r})")
        if place is None:
            continue
        try:
            people[place.panorama_id].append(_person("" if name not in of else name, own, reviewer))
        except ValueError as error:
            faults.add(where, f"{name} {error}")
    faults.tell(WHAT)
    pictures = tuple(Picture(name, tuple(own), False) for name, own in people.items())
    return Content(pictures, (f"{strange} columns are not known and were not read.",) if strange else ())


def _lines(path: Path) -> Iterable[_Line]:
    """Lines of a table with where they are."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=max(",;\t", key=first.count), strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            if "sample_id" not in columns or len(set(columns)) < len(columns):
                raise InputError(
                    f"Expected {WHAT} in {path}, each column once, found the columns {first_ids(columns, 30) or 'none'}. Name "
                    "them in the first line."
                )
            reader.fieldnames = columns
            for cells in reader:
                where = f"line {reader.line_num}"
                if None in cells or None in cells.values():
                    raise InputError(
                        f"Expected as many cells as columns in every line of {path}, found others in {where}. Mend it."
                    )
                yield where, cells
    except UnicodeDecodeError as error:
        raise InputError(f"Expected {WHAT} in {path}, but it is not UTF-8: {error}. Save it as UTF-8.") from None
    except csv.Error as error:
        raise InputError(f"Expected {WHAT} in {path}, but it cannot be read: {error}. Save it again.") from None


def _person(sample_id: str, lines: Sequence[_Line], reviewer: str) -> Person:
    _, first = lines[0]
    for where, cells in lines[1:]:
        differ = [name for name in (*BOX, "in_frame", "ambiguous", "rejected") if cells.get(name) != first.get(name)]
        if differ:
            raise ValueError(f"has another {differ[0]} in {where}")
    box = _box(first)
    if not sample_id and box is None:
        raise ValueError(f"is new, but has no head box ({', '.join(BOX)})")
    points = None
    if all(name in first for name in _POINT):
        points = tuple(point for _, cells in lines if (point := _point(cells)) is not None)
        if len(points) < len(lines) > 1:
            raise ValueError("has lines with and lines without a gaze point, or several without")
    flags: dict[str, Any] = {name: _read_flag(first, name) for name in ("in_frame", "ambiguous", "rejected")}
    return Person(
        sample_id=sample_id,
        head_box=box,
        points=points,
        in_frame=flags["in_frame"],
        ambiguous=flags["ambiguous"],
        rejected=bool(flags["rejected"]),
        annotator=reviewer,
        comment=next((text for _, cells in lines if (text := cells.get("comment", "").strip())), ""),
        where=lines[0][0],
    )


def _box(cells: Mapping[str, str]) -> Box | None:
    given = [name for name in BOX if cells.get(name, "").strip()]
    if not given:
        return None
    if len(given) < len(BOX):
        raise ValueError(f"has {given[0]}, but not all of {', '.join(BOX)}")
    u0, v0, u1, v1 = (_number(cells, name) for name in BOX)
    return u0, v0, u1, v1


def _point(cells: Mapping[str, str]) -> Point | None:
    given = [name for name in _POINT if cells[name].strip()]
    if not given:
        return None
    if len(given) < len(_POINT):
        raise ValueError(f"has {given[0]} alone")
    return Point(_number(cells, _POINT[0]), _number(cells, _POINT[1]), cells.get("annotator", ""))


def _number(cells: Mapping[str, str], name: str) -> float:
    try:
        return float(cells[name])
    except ValueError:
        raise ValueError(f"has {name} {cells[name][:40]!r}, which is not a number") from None


def _read_flag(cells: Mapping[str, str], name: str) -> bool | None:
    text = cells.get(name, "").strip().lower()
    if text not in FLAGS:
        raise ValueError(f"has {name} {text[:40]!r}, which is neither true, false nor empty")
    return FLAGS[text]
