"""What a file changes in a dataset: edits, additions, and remarks.

Conventions
-----------
An edit holds what differs from the dataset, and nothing else. People of a complete picture whom the file does not have were
taken out. A file without anybody takes nobody out: it is refused, for that is what comes out of a tool that labels were never
loaded into.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from annotation.applying import AMBIGUOUS, BOX, same_box, same_points
from annotation.edits import Addition, Edit
from annotation.interchange.records import Content, Faults, Person, Picture, Place, Places, Row, annotations_of
from srgaze360.errors import InputError


class Changes(NamedTuple):
    """What a file changes, and whole sentences about it."""

    edits: list[Edit]
    additions: list[Addition]
    notes: list[str]


def compare(content: Content, places: Places, path: Path, reviewer: str) -> Changes:
    """Edits and additions that make a dataset what a file says.

    Raises
    ------
    InputError
        The file has nobody on any panorama, or a panorama twice.
    """
    if not any(picture.people for picture in content.pictures):
        raise InputError(
            f"Expected people on the {len(content.pictures)} panoramas in {path}, found nobody. Where labels were never loaded "
            "into the tool, load them; to take people out, leave the others in."
        )
    faults = Faults(path)
    first: dict[str, Picture] = {}
    for picture in content.pictures:
        before = first.setdefault(picture.panorama_id, picture)
        if before is not picture:
            faults.add(picture.where, f"panorama {picture.panorama_id} is there already ({before.where})")
    faults.tell("every panorama once")
    changes = Changes([], [], list(content.notes))
    silent: Counter[str] = Counter()
    for picture in content.pictures:
        place = places.by_id[picture.panorama_id]
        for person in picture.people:
            _take(person, place, changes, silent)
        present = {person.sample_id for person in picture.people}
        if picture.complete:
            changes.edits.extend(
                Edit(sample_id=row["sample_id"], rejected=True, annotator=reviewer, comment=f"not in {path.name}")
                for row in place.rows
                if row["sample_id"] not in present
            )
    changes.notes.extend(f"{count} comments without a change are not kept." for count in silent.values() if count)
    return changes


def _take(person: Person, place: Place, changes: Changes, silent: Counter[str]) -> None:
    row = place.row(person.sample_id)
    points, names = _points(person)
    if row is not None:
        nothing = Edit(sample_id=person.sample_id, annotator=person.annotator, comment=person.comment)
        edit = _edit(replace(nothing, rejected=person.rejected), person, row)
        if edit == nothing:
            silent["comments"] += bool(person.comment)
        else:
            changes.edits.append(edit)
    elif person.head_box is not None and not person.rejected:
        changes.additions.append(
            Addition(
                panorama_id=place.panorama_id,
                head_box=person.head_box,
                gaze_points_deg=points,
                gaze_annotators=names,
                in_frame=person.in_frame,
                ambiguous=person.ambiguous,
                annotator=person.annotator,
                comment=person.comment,
            )
        )


def _points(person: Person) -> tuple[list[list[float]], list[str]]:
    """Points of a person, and who gave them; no names where none is known."""
    points, names = person.points or (), [point.annotator for point in person.points or ()]
    return [[point.lon_deg, point.lat_deg] for point in points], names if any(names) else []


def _edit(edit: Edit, person: Person, row: Row) -> Edit:
    """An edit with what of a person is not as in the dataset."""
    if person.head_box is not None and not same_box(person.head_box, [row[side] for side in BOX]):
        edit = replace(edit, head_box=person.head_box)
    if person.points is not None:
        points, names = _points(person)
        known = [point.annotator for point in annotations_of(row)]
        if not same_points(row["gaze_points_deg"], points) or (known if any(known) else []) != names:
            edit = replace(edit, gaze_points_deg=points, gaze_annotators=names)
    if person.in_frame is not None and person.in_frame != row["in_frame"]:
        edit = replace(edit, in_frame=person.in_frame)
    if person.ambiguous is not None and person.ambiguous != row.get(AMBIGUOUS):
        edit = replace(edit, ambiguous=person.ambiguous)
    return edit
