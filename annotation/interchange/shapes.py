"""Head boxes and gaze points as the shapes of drawing tools, and people from such shapes.

Conventions
-----------
A shape is a rectangle labelled ``head`` or a point labelled ``gaze``, in pixels (:mod:`annotation.interchange.pixels`), with
attributes, which are text: :data:`HEAD_ATTRIBUTES`, :data:`GAZE_ATTRIBUTES`. ``angles`` are what the shape stands for, exactly:
(u0, v0, u1, v1) of the *whole* head box, or longitude and latitude in degrees, as shortest decimals. A shape that is where its
``angles`` say, but for rounding, is untouched and means them; one that was moved means its pixels, and its annotator is then
whoever moved it. Where a tool has lost the ``angles``, what the dataset has of the person stands in for them.

Shapes of a person share the ``sample_id``. Those without one are somebody new, held together by ``group``; a point without
either belongs to the only person there is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from annotation.applying import AMBIGUOUS, BOX
from annotation.edits import Box
from annotation.interchange.pixels import (
    box_of_rectangles,
    pixel_of_point,
    point_of_pixel,
    rectangles_of_box,
    same_pixels,
    untouched_sides,
)
from annotation.interchange.records import Faults, Person, Place, Point, Row, annotations_of, flag_text

Label = Literal["head", "gaze"]

HEAD: Label = "head"
GAZE: Label = "gaze"
UNKNOWN = "unknown"  # of a flag: nobody was asked
FLAGS: Mapping[str, bool | None] = {"true": True, "false": False, UNKNOWN: None, "": None}


@dataclass(frozen=True)
class Attribute:
    """An attribute of shapes: ``choices`` where it is one of a few values, the first being that of a new shape."""

    name: str
    meaning: str
    choices: tuple[str, ...] = ()


_ID = Attribute("sample_id", "Whose it is. Leave it empty for somebody new.")
_ANGLES = Attribute("angles", "What the shape stands for, exactly. Not to be edited: move the shape.")
HEAD_ATTRIBUTES = (
    _ID,
    Attribute("in_frame", "The target lies inside its source photo.", ("true", "false")),
    Attribute("ambiguous", "People cannot agree on a target.", (UNKNOWN, "true", "false")),
    Attribute("rejected", "Take this person out of the dataset.", ("false", "true")),
    Attribute("comment", "Why."),
    _ANGLES,
)
GAZE_ATTRIBUTES = (_ID, Attribute("annotator", "Who gave this point."), Attribute("number", "Its place among them."), _ANGLES)


@dataclass(frozen=True)
class Shape:
    """A rectangle (x0, y0, x1, y1) or a point (x, y), in pixels, with attributes and the group it belongs to (empty: none)."""

    label: Label
    pixels: tuple[float, ...]
    attributes: Mapping[str, str]
    group: str = ""
    where: str = ""

    @property
    def sample_id(self) -> str:
        """Whose it is, as far as it says."""
        return self.attributes.get("sample_id", "").strip()


# --- from a dataset ---------------------------------------------------------------------------------------------------


def shapes_of_row(row: Row, group: str) -> list[Shape]:
    """The shapes of a person: one or two rectangles, and a point for every annotation."""
    width, height = int(row["width"]), int(row["height"])
    box = [row[side] for side in BOX]
    of_head = {
        "sample_id": row["sample_id"],
        "in_frame": flag_text(row["in_frame"]),
        "ambiguous": flag_text(row.get(AMBIGUOUS)) or UNKNOWN,
        "rejected": "false",
        "comment": "",
        "angles": _numbers(box),
    }
    shapes = [Shape(HEAD, rectangle, of_head, group) for rectangle in rectangles_of_box(box, width, height)]
    for number, (lon, lat, name) in enumerate(annotations_of(row), start=1):
        of_point = {"sample_id": row["sample_id"], "annotator": name, "number": str(number), "angles": _numbers((lon, lat))}
        shapes.append(Shape(GAZE, pixel_of_point(lon, lat, width, height), of_point, group))
    return shapes


def _numbers(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


# --- to people --------------------------------------------------------------------------------------------------------


def people_of_shapes(place: Place, shapes: Sequence[Shape], reviewer: str, faults: Faults) -> list[Person]:
    """The people of a panorama from its shapes; what does not fit is added to the faults.

    ``reviewer`` is who drew them (empty: not known).
    """
    heads: dict[str, list[Shape]] = defaultdict(list)
    groups: dict[str, str] = {}
    for index, shape in enumerate(shapes):
        if shape.label != HEAD:
            continue
        if shape.sample_id and place.row(shape.sample_id) is None:
            faults.add(shape.where, f"sample_id {shape.sample_id!r} is nobody on panorama {place.panorama_id}")
        name = shape.sample_id or (f"group {shape.group}" if shape.group else f"shape {index}")
        heads[name].append(shape)
        if shape.group:
            groups[shape.group] = name
    points: dict[str, list[Shape]] = defaultdict(list)
    for shape in shapes:
        if shape.label != GAZE:
            continue
        name = shape.sample_id or groups.get(shape.group) or (next(iter(heads)) if len(heads) == 1 else "")
        if name in heads:
            points[name].append(shape)
        else:
            whose = (
                f"of {shape.sample_id!r} has no head box"
                if shape.sample_id
                else "belongs to nobody: give it the sample_id of a head, or group it with one"
            )
            faults.add(shape.where, f"a gaze point {whose} (panorama {place.panorama_id})")
    found = (_person(place, own, points[name], reviewer, faults) for name, own in heads.items())
    return [person for person in found if person is not None]


def _person(place: Place, heads: Sequence[Shape], points: Sequence[Shape], reviewer: str, faults: Faults) -> Person | None:
    first = heads[0]
    sample_id = first.sample_id
    row = place.row(sample_id)
    try:
        said: dict[str, Any] = {name: _said_flag(heads, name) for name in ("in_frame", "ambiguous", "rejected")}
        box = _box(place, row, heads)
        ordered = sorted(enumerate(points), key=lambda item: (_order(item[1]), item[0]))
        gaze = [_point(place, row, shape, reviewer) for _, shape in ordered]
    except ValueError as error:
        faults.add(first.where, f"{sample_id or 'somebody new'} {error} (panorama {place.panorama_id})")
        return None
    return Person(
        sample_id=sample_id,
        head_box=box,
        points=tuple(gaze),
        in_frame=said["in_frame"],
        ambiguous=said["ambiguous"],
        rejected=bool(said["rejected"]),
        annotator=reviewer,
        comment=next((text for shape in heads if (text := shape.attributes.get("comment", "").strip())), ""),
        where=first.where,
    )


def _said_flag(shapes: Sequence[Shape], name: str) -> bool | None:
    """What the parts of a head say of a flag: of two that differ, the one that is not the value of a new shape."""
    texts = [shape.attributes.get(name, "").strip().lower() for shape in shapes]
    if unknown := [text for text in texts if text not in FLAGS]:
        raise ValueError(f"has {name} {unknown[0]!r}, which is neither true nor false")
    values = [FLAGS[text] for text in texts if FLAGS[text] is not None]
    default = next(attribute.choices[0] for attribute in HEAD_ATTRIBUTES if attribute.name == name)
    return next((value for value in values if value != FLAGS[default]), values[0] if values else None)


def _box(place: Place, row: Row | None, heads: Sequence[Shape]) -> Box:
    rectangles = [(shape.pixels[0], shape.pixels[1], shape.pixels[2], shape.pixels[3]) for shape in heads]
    exact = _angles(heads[0], 4) or ([row[side] for side in BOX] if row else None)
    if exact is not None:
        drawn = rectangles_of_box(exact, place.width, place.height)
        if len(drawn) == len(rectangles):
            pairs = list(zip(sorted(drawn), sorted(rectangles), strict=True))
            if all(same_pixels(one, other, place.width) for one, other in pairs):
                return exact[0], exact[1], exact[2], exact[3]
            rectangles = [untouched_sides(one, other) for one, other in pairs]
    return box_of_rectangles(rectangles, place.width, place.height)


def _point(place: Place, row: Row | None, shape: Shape, reviewer: str) -> Point:
    name = shape.attributes.get("annotator", "")
    exact = _angles(shape, 2)
    written = [Point(exact[0], exact[1], name)] if exact else [] if row is None else annotations_of(row)
    for point in written:
        if same_pixels(pixel_of_point(point.lon_deg, point.lat_deg, place.width, place.height), shape.pixels, place.width):
            return point
    lon, lat = point_of_pixel(shape.pixels[0], shape.pixels[1], place.width, place.height)
    return Point(lon, lat, reviewer if exact else name or reviewer)


def _angles(shape: Shape, count: int) -> Sequence[float] | None:
    """The numbers of the attribute ``angles``, None where there is none."""
    text = shape.attributes.get("angles", "").split()
    if not text:
        return None
    try:
        numbers = tuple(float(word) for word in text)
    except ValueError:
        numbers = ()
    low, high = ((0.0, 2.0), (-180.0, 180.0))[count == 2]
    if len(numbers) != count or not all(low <= number <= high for number in numbers):
        raise ValueError(f"has angles {' '.join(text)[:80]!r}, which are not {count} numbers as they were exported: empty them")
    return numbers


def _order(shape: Shape) -> float:
    number = shape.attributes.get("number", "").strip()
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else float("inf")
