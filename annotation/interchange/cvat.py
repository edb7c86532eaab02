"""CVAT for images 1.1: one XML file, and the labels that a task needs to hold it.

Conventions
-----------
A person is a ``box`` labelled ``head`` (two of them across the seam) and a ``points`` element labelled ``gaze`` for every
annotation, held together by ``sample_id`` and ``group_id``. Their attributes are those of
:mod:`annotation.interchange.shapes`; a task must declare them: the second file is for its "raw" label constructor. Images are
named by their file alone, which CVAT matches with the end of a frame's path.

CVAT writes coordinates to a hundredth of a pixel, and turns boxes clockwise about their middle (``rotation``, degrees). Tracks
are of videos, and are refused; other shapes and labels are counted and left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path, PurePosixPath

from annotation.interchange.pixels import upright
from annotation.interchange.reading import Element, read_xml
from annotation.interchange.records import Content, Faults, Picture, Place, Places, check_shape, found_place
from annotation.interchange.shapes import (
    GAZE,
    GAZE_ATTRIBUTES,
    HEAD,
    HEAD_ATTRIBUTES,
    Attribute,
    Shape,
    people_of_shapes,
    shapes_of_row,
)
from srgaze360.dataset import DatasetInfo
from srgaze360.errors import InputError
from srgaze360.files import canonical_json

WHAT = "annotations of CVAT for images 1.1 (XML)"
LABELS = {HEAD: ("rectangle", HEAD_ATTRIBUTES, "#d55e00"), GAZE: ("points", GAZE_ATTRIBUTES, "#0072b2")}
DECIMALS = 4
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# --- writing ----------------------------------------------------------------------------------------------------------


def write(places: Iterable[Place], info: DatasetInfo) -> str:
    """The file of some panoramas.

    Raises
    ------
    InputError
        A text has a character that XML cannot hold.
    """
    pictures = list(places)
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", "  <meta>", "    <task>"]
    lines += [f"      <name>{_text(f'{info.name} {info.version}')}</name>", f"      <size>{len(pictures)}</size>"]
    lines += ["      <mode>annotation</mode>", "      <overlap>0</overlap>", "      <labels>"]
    for name, (kind, attributes, colour) in LABELS.items():
        lines += [f"        <label><name>{name}</name><color>{colour}</color><type>{kind}</type><attributes>"]
        lines += [_declared(attribute) for attribute in attributes]
        lines += ["        </attributes></label>"]
    lines += ["      </labels>", "    </task>", "  </meta>"]
    for number, place in enumerate(pictures):
        file = PurePosixPath(place.image_path).name
        lines.append(f'  <image id="{number}" name="{_text(file)}" width="{place.width}" height="{place.height}">')
        for group, row in enumerate(place.rows, start=1):
            lines += [_drawn(shape) for shape in shapes_of_row(row, str(group))]
        lines.append("  </image>")
    return "\n".join([*lines, "</annotations>", ""])


def write_labels() -> str:
    """Labels and their attributes, for the "raw" constructor of a CVAT task."""
    labels = [
        {
            "name": name,
            "type": kind,
            "color": colour,
            "attributes": [
                {
                    "name": attribute.name,
                    "mutable": False,
                    "input_type": _input(attribute),
                    "default_value": (attribute.choices or ("",))[0],
                    "values": list(attribute.choices or ("",)),
                }
                for attribute in attributes
            ],
        }
        for name, (kind, attributes, colour) in LABELS.items()
    ]
    return canonical_json(labels) + "\n"


def _input(attribute: Attribute) -> str:
    return "select" if attribute.choices else "text"


def _declared(attribute: Attribute) -> str:
    fields = {
        "name": attribute.name,
        "mutable": "False",
        "input_type": _input(attribute),
        "default_value": (attribute.choices or ("",))[0],
        "values": "\n".join(attribute.choices),
    }
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items())
    return f"          <attribute>{inner}</attribute>"


def _drawn(shape: Shape) -> str:
    numbers = [f"{round(value, DECIMALS):.{DECIMALS}f}" for value in shape.pixels]
    if shape.label == HEAD:
        tag = "box"
        sides = " ".join(f'{side}="{value}"' for side, value in zip(("xtl", "ytl", "xbr", "ybr"), numbers, strict=True))
    else:
        tag, sides = "points", f'points="{",".join(numbers)}"'
    attributes = "".join(f'<attribute name="{name}">{_text(value)}</attribute>' for name, value in shape.attributes.items())
    common = f'label="{shape.label}" source="manual" occluded="0" {sides} z_order="0" group_id="{shape.group}"'
    return f"    <{tag} {common}>{attributes}</{tag}>"


def _text(value: str) -> str:
    if bad := _NOT_XML.search(value):
        raise InputError(
            f"Expected text that XML can hold, found the character {bad[0]!r} in {value!r}. Export as JSON or CSV."
        )
    return escape(value.replace("\r", "&#13;")).replace("&amp;#13;", "&#13;")


# --- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path, places: Places, reviewer: str) -> Content:
    """The people in a file of CVAT; ``reviewer`` is who worked on it (empty: not known).

    Raises
    ------
    InputError
        The file cannot be read or does not fit the dataset; all faults at once, with their lines.
    """
    faults = Faults(path)
    others: Counter[str] = Counter()
    turned = heads = 0
    pictures = []
    for element in read_xml(path, WHAT, "annotations", ("image", "track")):
        if element.name == "track":
            raise InputError(
                f"Expected {WHAT} in {path}, found a track in {element.where}: the file is of CVAT for video. Export the task "
                "again, as CVAT for images 1.1."
            )
        place = found_place(places, [element.attributes.get("name", "")], element.where, faults)
        size = _number(element, "width", faults), _number(element, "height", faults)
        if place is None or not check_shape(place, *size, element.where, faults):
            continue
        scale = place.width / size[0], place.height / size[1]
        shapes: list[Shape] = []
        for child in element.children:
            found = _shapes(child, scale, faults)
            shapes += found
            turned += child.name == "box" and bool(found) and "rotation" in child.attributes
            others[f"{child.name} labelled {child.attributes.get('label')}"] += not found
        heads += sum(shape.label == HEAD for shape in shapes)
        people = people_of_shapes(place, shapes, reviewer, faults)
        pictures.append(Picture(place.panorama_id, tuple(people), True, element.where))
    faults.tell(WHAT)
    others = +others
    told = ", ".join(f"{count} {name}" for name, count in others.most_common(5))
    if others and not heads:
        raise InputError(
            f"Expected boxes labelled {HEAD} in {path}, found none, but {told}. Import only files whose labels are {HEAD} "
            f"(boxes) and {GAZE} (points)."
        )
    notes = [f"{turned} boxes are rotated; the upright box around each was taken."] if turned else []
    notes += [f"Left out, being neither boxes labelled {HEAD} nor points labelled {GAZE}: {told}."] if others else []
    return Content(tuple(pictures), tuple(notes))


def _shapes(element: Element, scale: tuple[float, float], faults: Faults) -> list[Shape]:
    """The shapes of an element: one for a head box, one for each of its gaze points, none for anything else."""
    label = element.attributes.get("label")
    attributes = {child.attributes.get("name", ""): child.text for child in element.children if child.name == "attribute"}
    group = element.attributes.get("group_id", "0")
    group = "" if group == "0" else group
    if (element.name, label) == ("box", HEAD):
        corners = tuple(_number(element, side, faults) for side in ("xtl", "ytl", "xbr", "ybr"))
        rotation = _number(element, "rotation", faults) if "rotation" in element.attributes else 0.0
        if rotation:
            corners = upright((corners[0], corners[1], corners[2], corners[3]), rotation, about_corner=False)
            attributes.pop("angles", None)
        pixels = tuple(value * scale[axis % 2] for axis, value in enumerate(corners))
        return [Shape(HEAD, pixels, attributes, group, element.where)]
    if (element.name, label) == ("points", GAZE):
        shapes = []
        for pair in element.attributes.get("points", "").split(";"):
            try:
                x, y = (_finite(word) for word in pair.split(","))
            except ValueError:
                faults.add(element.where, f"points {pair[:40]!r}, which is not x,y")
            else:
                shapes.append(Shape(GAZE, (x * scale[0], y * scale[1]), attributes, group, element.where))
        return shapes
    return []


def _number(element: Element, name: str, faults: Faults) -> float:
    try:
        return _finite(element.attributes[name])
    except KeyError:
        faults.add(element.where, f"<{element.name}> has no {name}")
    except ValueError:
        faults.add(element.where, f"{name}={element.attributes[name][:40]!r} of <{element.name}> is not a number")
    return 0.0


def _finite(text: str) -> float:
    value = float(text)
    if not abs(value) < 1e9:  # pixels; NaN is not
        raise ValueError(text)
    return value
