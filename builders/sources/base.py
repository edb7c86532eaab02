"""What every source of photos with gaze labels hands to the builder.

Conventions
-----------
Photo coordinates are continuous, (0, 0) at the upper left corner, x right, y down. A label is in ``"pixel"`` units of the
photo or in ``"fraction"`` of its width and height, as its dataset has it; it is resolved once the photo is opened and its
size is known (:func:`resolve_person`). Readers open no images: a listing of 100,000 photos takes seconds.

A source module states its facts first, as constants (citation, licence, how to obtain it, its layout and traps), then its
options, then one function ``read(root, options) -> Listing``. Nothing vanishes: a row is in ``photos`` or in ``rejected``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from srgaze360.errors import InputError, first_ids
from srgaze360.photo_labels import PhotoLabels

Unit = Literal["pixel", "fraction"]
Projection = Literal["perspective", "equirectangular"]
Box = tuple[float, float, float, float]
Point = tuple[float, float]
SCALED = "labels scaled to the photo's size"
CLIPPED = "head box clipped"
SMALLEST = 1e-3  # pixels: a box with a thinner side is nobody's head, and has no outline on the sphere


class SourceOptions(BaseModel):
    """Options of a source that has none; others derive from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Rejected:
    """A source row (or photo, or person) that is not used, and why.

    ``reason`` is one line: the kind of fault and, where it helps, what was found, in parentheses: ``"gaze_x is not a finite
    number ('n/a')"``. ``suite`` and ``condition`` are given where the row is used elsewhere, but not there.
    """

    source: str
    row: str
    image: str
    person: str
    reason: str
    suite: str = ""
    condition: str = ""

    @property
    def fault(self) -> str:
        """The kind of fault: ``reason`` without what was found, so that rejected rows can be counted."""
        return self.reason.partition(" (")[0]


@dataclass(frozen=True)
class Person:
    """One person in a photo, as labelled.

    ``gaze`` has one point per annotation; it is empty where the target is unknown. With ``in_frame`` false the points, if
    any, lie outside the photo (procedural data knows them). ``annotators`` names who gave each point, or is empty. ``eye`` is
    where the eyes are, fractions of the photo, where the source says it.
    ``extras`` become columns of the dataset's annotations. ``repairs`` names what the reader had to mend.
    """

    person: str
    row: str
    head_box: Box
    head_unit: Unit
    gaze: tuple[Point, ...]
    gaze_unit: Unit
    in_frame: bool
    annotators: tuple[str, ...] = ()
    extras: Mapping[str, str | float | bool] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()
    eye: Point | None = None


@dataclass(frozen=True)
class Photo:
    """One photo (or panorama) and everyone labelled in it.

    Attributes
    ----------
    image
        POSIX path relative to the source's root.
    split, cluster
        The source's own split; the unit of splitting and of the bootstrap (photo, clip or scene), unique within the source.
    projection
        ``"equirectangular"`` for a whole panorama. Its pixel columns are periodic: a head box may have x1 beyond the width.
    size
        Width and height that the annotation names, where it names them: ``"pixel"`` labels and ``camera`` refer to it. None:
        they refer to the photo as stored.
    camera
        What is known of the photo's camera, in the keys of ``Camera.to_dict`` without width and height; None if nothing is.
    """

    image: str
    split: Literal["train", "val", "test"]
    cluster: str
    people: tuple[Person, ...]
    projection: Projection = "perspective"
    size: tuple[int, int] | None = None
    camera: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Listing:
    """Everything a source holds: photos sorted by path, rejected rows, and what was repaired, by kind."""

    photos: tuple[Photo, ...]
    rejected: tuple[Rejected, ...] = ()
    repaired: Mapping[str, int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Source:
    """A source of photos: facts first, then its reader.

    ``obtain`` says in a sentence or two where a person gets the data; ``layout`` names the files expected under the root.
    ``role`` is ``"gaze"`` (photos with labels) or ``"background"`` (panoramas behind the photos: people empty).
    """

    kind: str
    title: str
    citation: str
    licence: str
    obtain: str
    layout: str
    read: Callable[[Path, Any], Listing]
    options: type[SourceOptions] = SourceOptions
    role: Literal["gaze", "background"] = "gaze"

    def photo_labels(self, root: Path, split: str) -> PhotoLabels:
        """People of a split as the planar protocols score them (:mod:`builders.sources.photo_labels`)."""
        from builders.sources.photo_labels import photo_labels

        return photo_labels(self, root, split)


@dataclass(frozen=True)
class ResolvedPerson:
    """A person in the pixels of the opened photo: head box (x0, y0, x1, y1) inside it, gaze points (n pairs)."""

    person: Person
    head_box: Box
    gaze: tuple[Point, ...]
    repairs: tuple[str, ...]


def wrong_folder(root: Path, expected: str, obtain: str) -> InputError:
    """Error for a folder that is not what its source expects: what was expected, what lies there, how to get the data."""
    if not root.exists():
        found = f"{root} does not exist"
    elif not root.is_dir():
        found = f"{root} is a file"
    else:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())
        found = f"{root} holds {first_ids(names)}" if names else f"{root} is empty"
    return InputError(f"Expected {expected}; {found}. Point at the folder that holds it, or get the data: {obtain}")


def resolve_person(photo: Photo, person: Person, width: int, height: int) -> ResolvedPerson | str:
    """Bring a person's labels to pixels of the opened photo, ``width`` x ``height``; a reason to reject it, where that fails.

    Labels that refer to another size of the same shape are scaled and marked :data:`SCALED`. A head box that reaches beyond a
    photo is clipped to it and marked :data:`CLIPPED`; in a panorama its columns wrap instead (x0 in [0, width), x1 <= x0 +
    width). An empty head box, labels that are not finite, in-frame gaze points outside the photo, and an annotation that names
    a size of another shape are reasons to reject.
    """
    named = photo.size or (width, height)
    if min(named) < 1:
        return f"annotation names a size that is none ({named[0]} x {named[1]} pixels)"
    if abs(named[0] * height - named[1] * width) > max(named[0], width, named[1], height):  # one pixel of either side
        return f"photo has another shape than its annotation says ({width} x {height} pixels, not {named[0]} x {named[1]})"
    scaled = named != (width, height) and "pixel" in (person.head_unit, person.gaze_unit)
    repairs = (*person.repairs, SCALED) if scaled else person.repairs
    scale = {"pixel": (width / named[0], height / named[1]), "fraction": (float(width), float(height))}
    sx, sy = scale[person.head_unit]
    x0, y0, x1, y1 = person.head_box
    box = (x0 * sx, y0 * sy, x1 * sx, y1 * sy)
    if not all(map(math.isfinite, box)):
        return "head box is not finite"
    if photo.projection == "equirectangular":
        turns = math.floor(box[0] / width) * width
        left = min(max(box[0] - turns, 0.0), math.nextafter(width, 0.0))
        inside = (left, max(box[1], 0.0), left + min(box[2] - box[0], float(width)), min(box[3], float(height)))
        mended = (inside[1], inside[3]) != (box[1], box[3]) or box[2] - box[0] > width
    else:
        inside = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height)))
        mended = inside != box
    if inside[2] - inside[0] < SMALLEST or inside[3] - inside[1] < SMALLEST:
        return "head box is empty or lies outside the photo"
    if mended:
        repairs = (*repairs, CLIPPED)
    gx, gy = scale[person.gaze_unit]
    gaze = tuple((x * gx, y * gy) for x, y in person.gaze)
    if not all(math.isfinite(value) for point in gaze for value in point):
        return "gaze is not finite"
    if person.in_frame and not gaze:
        return "gaze is marked in frame but no point is given"
    if person.in_frame and not all(0.0 <= x <= width and 0.0 <= y <= height for x, y in gaze):
        return "gaze is marked in frame but lies outside the photo"
    return ResolvedPerson(person, inside, gaze, repairs)
