"""COCO keypoints and instances: one JSON file, without the panoramas; records as in :mod:`srgaze360.coco`.

Conventions
-----------
What is written is what ``srgaze360 export --format coco`` writes beside its panoramas, and either is read. Of a file that a
COCO editor has been through, ``bbox`` and the keypoint ``gaze`` are what the editor knows. Where the box is where ``head_box``
says, but for rounding, ``head_box`` holds, else the box. Where the keypoint is the consensus of ``gaze_points_deg``, these
hold; where it was moved, it is the only annotation from then on; where it was taken away (visibility 0), there is none. The
keypoint ``head`` is not read: the head's direction follows from its box.

Files without our fields are read as well: what is where the dataset has it is untouched, and an annotation without
``sample_id`` is somebody new. Our fields may stand under ``attributes``, where some editors keep what they do not know. COCO
instances know boxes alone: those of the category ``head`` are heads, and the gaze of whoever the dataset has stays as it is.
Other categories are counted and left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationInfo, field_validator

from annotation.applying import AMBIGUOUS, consensus
from annotation.interchange.pixels import pixel_of_point, same_pixels
from annotation.interchange.reading import Loose, Number, checked, json_place, read_json
from annotation.interchange.records import (
    Content,
    Faults,
    Person,
    Picture,
    Place,
    Places,
    Row,
    check_shape,
    flag_text,
    found_place,
)
from annotation.interchange.shapes import FLAGS, GAZE, HEAD, Shape, people_of_shapes
from srgaze360 import coco
from srgaze360.dataset import DatasetInfo
from srgaze360.files import canonical_json

WHAT = "COCO keypoints or instances (JSON with images, annotations and categories)"


def write(places: Iterable[Place], info: DatasetInfo) -> str:
    """The file of some panoramas."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, place in enumerate(places, start=1):
        images.append(coco.image(list(place.rows), image_id, place.image_path.removeprefix("panoramas/"), info))
        for row in place.rows:
            flag = {AMBIGUOUS: row[AMBIGUOUS]} if row.get(AMBIGUOUS) is not None else {}
            annotations += [part | flag for part in coco.person(row, image_id, len(annotations) + 1)]
    return canonical_json(coco.header(info, "labels") | {"images": images, "annotations": annotations})


# --- reading ----------------------------------------------------------------------------------------------------------

_Four = Annotated[list[Number], Field(min_length=4, max_length=4)]
_Two = Annotated[list[Number], Field(min_length=2, max_length=2)]


class _Image(Loose):
    id: int
    file_name: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    panorama_id: str = ""


class _Category(Loose):
    id: int
    name: str = ""
    keypoints: list[str] = Field(default_factory=list)


class _Annotation(Loose):
    id: int
    image_id: int
    category_id: int
    bbox: _Four
    keypoints: list[Number] = Field(default_factory=list)
    sample_id: str = ""
    head_box: _Four | None = None
    angles: str = ""  # as CVAT keeps them: an attribute of the box
    gaze_points_deg: list[_Two] | None = None
    gaze_annotators: list[str | None] | None = None
    in_frame: bool | None = None
    ambiguous: bool | None = None
    rejected: bool = False
    comment: str = ""

    @field_validator("in_frame", "ambiguous", "rejected", mode="before")
    @classmethod
    def _flag(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - any JSON value
        """Flags as attributes have them: text, of which some says that nobody was asked."""
        said = FLAGS.get(value.strip().lower(), value) if isinstance(value, str) else value
        return False if said is None and info.field_name == "rejected" else said


class _File(Loose):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


_FILE = TypeAdapter(_File)


def read(path: Path, places: Places, reviewer: str) -> Content:
    """The people in a COCO file.

    Raises
    ------
    InputError
        The file cannot be read or does not fit the dataset; all faults at once, with their places.
    """
    value = read_json(path, WHAT)
    if isinstance(value, dict) and isinstance(value.get("annotations"), list):
        value = value | {"annotations": [_with_attributes(item) for item in value["annotations"]]}
    file = checked(_FILE, value, path, WHAT)
    faults = Faults(path)
    own: dict[int, list[tuple[str, _Annotation]]] = defaultdict(list)
    known = {image.id for image in file.images}
    categories = {category.id: category for category in file.categories}
    gaze_at = {name: at for name, category in categories.items() if (at := _gaze_place(category)) is not None}
    others: Counter[str] = Counter()
    for index, annotation in enumerate(file.annotations):
        where = json_place(("annotations", index))
        if annotation.image_id not in known:
            faults.add(f"{where}.image_id", f"there is no image {annotation.image_id}")
        elif annotation.category_id not in categories:
            faults.add(f"{where}.category_id", f"there is no category {annotation.category_id}")
        elif annotation.category_id not in gaze_at:
            name = categories[annotation.category_id].name
            others[name] += 1
            if annotation.sample_id:
                faults.add(f"{where}.category_id", f"{annotation.sample_id} is of category {name!r}, not {HEAD!r}")
        else:
            own[annotation.image_id].append((where, annotation))
    for number, count in Counter(image.id for image in file.images).items():
        if count > 1:
            faults.add("images", f"{count} images have the id {number}")
    if others and not any(own.values()) and not faults.found:
        told = ", ".join(f"{count} of {name!r}" for name, count in others.most_common(5))
        faults.add("categories", f"none has a keypoint named {GAZE} or is named {HEAD}; annotations are {told}")
    pictures = []
    for index, image in enumerate(file.images):
        where = json_place(("images", index))
        place = found_place(places, [image.panorama_id, image.file_name], where, faults)
        if place is not None and check_shape(place, image.width, image.height, where, faults):
            people = _people(place, image, own[image.id], gaze_at, reviewer, faults)
            pictures.append(Picture(place.panorama_id, tuple(people), True, where))
    faults.tell(WHAT)
    notes = [
        f"Left out, being of other categories than {HEAD}: "
        + ", ".join(f"{n} of {name}" for name, n in others.most_common(5))
        + "."
    ]
    return Content(tuple(pictures), tuple(notes if others else ()))


def _gaze_place(category: _Category) -> int | None:
    """Where the keypoint of the gaze is among those of a category, -1 for heads without one, None for anything else."""
    if GAZE in category.keypoints:
        return category.keypoints.index(GAZE)
    return -1 if category.name.strip().lower() == HEAD else None


def _with_attributes(annotation: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(annotation, dict) and isinstance(annotation.get("attributes"), dict):
        return annotation["attributes"] | annotation
    return annotation


def _people(
    place: Place,
    image: _Image,
    annotations: Sequence[tuple[str, _Annotation]],
    gaze_at: Mapping[int, int],
    reviewer: str,
    faults: Faults,
) -> list[Person]:
    scale = place.width / image.width, place.height / image.height
    shapes: list[Shape] = []
    gazes: dict[str, _Gaze] = {}
    for where, annotation in annotations:
        group = annotation.sample_id or str(annotation.id)
        x, y, width, height = annotation.bbox
        corners = (x * scale[0], y * scale[1], (x + width) * scale[0], (y + height) * scale[1])
        words = {
            "sample_id": annotation.sample_id,
            "comment": annotation.comment,
            "angles": " ".join(map(repr, annotation.head_box or ())) or annotation.angles,
            **{name: flag_text(getattr(annotation, name)) for name in ("in_frame", "ambiguous", "rejected")},
        }
        shapes.append(Shape(HEAD, corners, words, group, where))
        gaze = gazes.setdefault(group, _Gaze(annotation, where, gaze_at[annotation.category_id] >= 0))
        at = 3 * gaze_at[annotation.category_id]
        if at < 0:
            continue
        if annotation.keypoints and len(annotation.keypoints) < at + 3:
            faults.add(f"{where}.keypoints", f"{len(annotation.keypoints)} numbers, too few for the keypoint gaze")
        elif annotation.keypoints and annotation.keypoints[at + 2] > 0:
            gaze.keypoint = (annotation.keypoints[at] * scale[0], annotation.keypoints[at + 1] * scale[1])
    for group, gaze in gazes.items():
        shapes += gaze.shapes(place, place.row(group), group, faults)
    return people_of_shapes(place, shapes, reviewer, faults)


@dataclass
class _Gaze:
    """The gaze of a person: all points, of the first annotation, and the pixel of the keypoint, of that which has one.

    ``told`` is whether the category has such a keypoint at all.
    """

    annotation: _Annotation
    where: str
    told: bool
    keypoint: tuple[float, float] | None = None

    def shapes(self, place: Place, row: Row | None, group: str, faults: Faults) -> list[Shape]:
        """All points where the keypoint is where it was written, else the keypoint, if there is one."""
        told: Row = {"gaze_points_deg": self.annotation.gaze_points_deg, "gaze_annotators": self.annotation.gaze_annotators}
        source = row if row and self.annotation.gaze_points_deg is None else told
        points = source["gaze_points_deg"] or []
        names = source["gaze_annotators"] or [""] * len(points)
        if len(names) != len(points):
            faults.add(f"{self.where}.gaze_annotators", f"{len(names)} names for {len(points)} gaze points")
            return []
        of_id = {"sample_id": self.annotation.sample_id}
        if points and (not self.told or self._unmoved(points, place, row)):
            return [
                Shape(
                    GAZE,
                    pixel_of_point(x, y, place.width, place.height),
                    of_id | {"annotator": name or "", "angles": f"{x!r} {y!r}"},
                    group,
                    self.where,
                )
                for (x, y), name in zip(points, names, strict=True)
            ]
        return [] if self.keypoint is None else [Shape(GAZE, self.keypoint, of_id, group, self.where)]

    def _unmoved(self, points: Sequence[Sequence[float]], place: Place, row: Row | None) -> bool:
        """Whether the keypoint is the consensus: of the points, or the one that the dataset has."""
        mean = consensus(points)
        written = [mean] + ([(row["gaze_lon_deg"], row["gaze_lat_deg"])] if row else [])
        for lon, lat in written:
            if lon is None or lat is None:
                if self.keypoint is None:
                    return True
            elif self.keypoint and same_pixels(self.keypoint, pixel_of_point(lon, lat, place.width, place.height), place.width):
                return True
        return False
