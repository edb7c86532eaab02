"""What interchange files come down to: people on panoramas, whatever the format, and the faults found on the way.

Conventions
-----------
Boxes are (u0, v0, u1, v1) as in :mod:`srgaze360.headbox`, points longitude and latitude in degrees. None says that a file does
not tell: the label stays as it is. ``where`` is the place in a file, for people: ``line 12``, ``annotations[3]``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from annotation.edits import Box
from srgaze360.errors import InputError, first_ids

Row = Mapping[str, Any]
_SHOWN = 5
_OTHER_SHAPE = 0.01  # by which the ratio of a picture's sides may differ from that of its panorama, relatively
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio puts eight digits before the names of uploaded files


class Point(NamedTuple):
    """An annotation of the gaze, and who gave it (empty: not known)."""

    lon_deg: float
    lat_deg: float
    annotator: str = ""


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person as a file has them. ``sample_id`` is empty for somebody who is new.

    ``annotator`` is who made the last change, ``comment`` what they say of it.
    """

    sample_id: str
    head_box: Box | None
    points: tuple[Point, ...] | None
    in_frame: bool | None = None
    ambiguous: bool | None = None
    rejected: bool = False
    annotator: str = ""
    comment: str = ""
    where: str = ""


@dataclass(frozen=True)
class Picture:
    """A panorama as a file has it; ``complete``: people who are not there were taken out."""

    panorama_id: str
    people: tuple[Person, ...]
    complete: bool
    where: str = ""


@dataclass(frozen=True)
class Content:
    """What was read from a file, and remarks on it (``notes``, whole sentences)."""

    pictures: tuple[Picture, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """A panorama of the dataset: its file relative to the dataset, its size in pixels, the rows of everyone on it."""

    panorama_id: str
    image_path: str
    width: int
    height: int
    rows: tuple[Row, ...]

    @cached_property
    def _by_id(self) -> dict[str, Row]:
        return {row["sample_id"]: row for row in self.rows}

    def row(self, sample_id: str) -> Row | None:
        """The row of a person on it, None where there is no such person."""
        return self._by_id.get(sample_id)


class Places:
    """The panoramas of a dataset, to be found by what tools call their images."""

    def __init__(self, rows: Iterable[Row]) -> None:
        own: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            own[row["panorama_id"]].append(row)
        self.by_id: dict[str, Place] = {
            name: Place(name, group[0]["image_path"], int(group[0]["width"]), int(group[0]["height"]), tuple(group))
            for name, group in own.items()
        }
        self._by_stem: dict[str, list[Place]] = defaultdict(list)
        for place in self.by_id.values():
            self._by_stem[PurePosixPath(place.image_path).stem].append(place)

    def find(self, name: str) -> Place | None:
        """The panorama that an image name, path or URL means, or None.

        The file's name decides, without its suffix, and without the eight digits that Label Studio puts before uploads; where
        several panoramas have it, as much of the path as it takes.
        """
        parts = PurePosixPath(_path_of(name)).parts
        if not parts:
            return None
        stems = [PurePosixPath(parts[-1]).stem, parts[-1]]  # some tools leave the suffix out
        stems += [match[1] for stem in stems if (match := _UPLOADED.fullmatch(stem))]
        found = next((self._by_stem[stem] for stem in stems if stem in self._by_stem), [])
        for length in range(2, len(parts) + 1):
            if len(found) < 2:
                break
            folders = parts[-length:-1]
            found = [place for place in found if PurePosixPath(place.image_path).parts[-length:-1] == folders] or found
        return found[0] if len(found) == 1 else None


def _path_of(name: str) -> str:
    """The path in an image's name: of a URL, that of its ``d`` (Label Studio's local files), or its own."""
    name = name.strip().replace("\\", "/")
    if "?" not in name and "://" not in name:
        return name
    try:
        split = urlsplit(name)
    except ValueError:  # no URL, after all
        return name
    told = parse_qs(split.query).get("d")
    return told[0] if told else unquote(split.path)


def annotations_of(row: Row) -> list[Point]:
    """The gaze points of a row, each with who gave it."""
    names = row["gaze_annotators"] or [""] * len(row["gaze_points_deg"])
    return [Point(lon, lat, name or "") for (lon, lat), name in zip(row["gaze_points_deg"], names, strict=True)]


def flag_text(flag: bool | None) -> str:
    """A flag as text: true, false, or empty."""
    return "" if flag is None else str(bool(flag)).lower()


@dataclass
class Faults:
    """Faults of a file, all told at once."""

    path: Path
    found: list[str] = field(default_factory=list)

    def add(self, where: str, fault: str) -> None:
        """Note a fault at a place in the file."""
        self.found.append(f"{where}: {fault}" if where else fault)

    def tell(self, expected: str) -> None:
        """Raise InputError where there are any; ``expected`` says what the file should be."""
        if not self.found:
            return
        count = len(self.found)
        told = "; ".join(self.found[:_SHOWN]) + (f"; and {count - _SHOWN} more" if count > _SHOWN else "")
        raise InputError(
            f"Expected {expected} in {self.path}, found {count} {'fault' if count == 1 else 'faults'}: {told}. Mend that, then "
            "import again."
        )


def found_place(places: Places, names: Sequence[str], where: str, faults: Faults) -> Place | None:
    """The panorama that one of some names means; a fault where none does."""
    told = [name for name in dict.fromkeys(names) if name.strip()]
    for name in told:
        place = places.by_id.get(name) or places.find(name)
        if place is not None:
            return place
    faults.add(where, f"image {first_ids(told, 2) or 'without a name'} is no panorama of the dataset")
    return None


def check_shape(place: Place, width: float, height: float, where: str, faults: Faults) -> bool:
    """Whether a picture of some size can be the panorama, larger or smaller; a fault where not."""
    fits = width > 0 and height > 0 and abs(width * place.height / (height * place.width) - 1.0) < _OTHER_SHAPE
    if not fits:
        faults.add(where, f"{width:g} x {height:g} pixels are not the shape of a panorama of {place.width} x {place.height}")
    return fits
