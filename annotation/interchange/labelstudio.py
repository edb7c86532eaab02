"""Label Studio: a JSON list of tasks with annotations, and the labelling configuration that a project needs to show them.

Conventions
-----------
A person is a region ``rectanglelabels`` (two of them across the seam) and a region ``keypointlabels`` for every annotation, in
per cent of the picture. Their attributes are those of :mod:`annotation.interchange.shapes`, as per-region text and choices: a
result with the same ``id`` as the region, named by ``from_name``. Somebody new is held together by the ``parentID`` of points,
or by a relation. Rectangles are turned clockwise about their upper left corner (``rotation``, degrees).

A task without annotations, or whose annotations were all cancelled, was not worked on: it changes nothing. A task with one
annotation says who is on the panorama. Several annotations of a task (several people's work; ``completions`` in files of old)
are pooled: of every person the head box and flags of whoever saved last, and the gaze points of all, each once; somebody is
gone only if nobody has them, and new people are those of whoever saved last. Whoever completed an annotation
(``completed_by``) is the annotator of the points that they set or moved. Predictions and drafts are not read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import AliasChoices, Field, TypeAdapter, field_validator

from annotation.interchange.pixels import upright
from annotation.interchange.reading import Loose, Number, checked, json_place, read_json
from annotation.interchange.records import Content, Faults, Person, Picture, Place, Places, Point, found_place
from annotation.interchange.shapes import (
    GAZE,
    GAZE_ATTRIBUTES,
    HEAD,
    HEAD_ATTRIBUTES,
    Label,
    Shape,
    people_of_shapes,
    shapes_of_row,
)
from srgaze360.errors import InputError
from srgaze360.files import canonical_json

WHAT = "tasks of Label Studio (its JSON export, a list of tasks with data and annotations, not JSON-MIN)"
LOCAL_FILES = "/data/local-files/?d="  # of a Label Studio whose document root is the dataset's folder
_TYPES: dict[str, tuple[Label, str]] = {HEAD: (HEAD, "rectanglelabels"), GAZE: (GAZE, "keypointlabels")}
_POINT_WIDTH = 0.25  # per cent of the width: how large a point is drawn


# --- writing ----------------------------------------------------------------------------------------------------------


def write(places: Iterable[Place], images: str = LOCAL_FILES) -> str:
    """The file of some panoramas; ``images`` is what the paths of their files are put behind."""
    return canonical_json([_task(place, images) for place in places])


def _task(place: Place, images: str) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    for row in place.rows:
        for number, shape in enumerate(shapes_of_row(row, "")):
            results += _results(place, shape, f"{row['sample_id']}.{number}")
    row = place.rows[0]
    told = {name: row[name] for name in ("panorama_id", "split", "suite", "condition")}
    return {
        "data": {"image": images + quote(place.image_path), **told},
        "annotations": [{"result": results, "was_cancelled": False, "ground_truth": False}],
    }


def _results(place: Place, shape: Shape, region: str) -> list[dict[str, Any]]:
    """A region, and a result for each of its attributes that is not empty."""
    sizes = (place.width, place.height)
    percent = [100.0 * value / sizes[axis % 2] for axis, value in enumerate(shape.pixels)]
    where: dict[str, Any] = {"x": percent[0], "y": percent[1]}
    if shape.label == HEAD:
        where |= {"width": percent[2] - percent[0], "height": percent[3] - percent[1], "rotation": 0}
    else:
        where |= {"width": _POINT_WIDTH}
    common = {
        "id": region,
        "to_name": "image",
        "original_width": place.width,
        "original_height": place.height,
        "image_rotation": 0,
        "origin": "manual",
    }
    kind = _TYPES[shape.label][1]
    found = [common | {"from_name": shape.label, "type": kind, "value": where | {kind: [shape.label]}}]
    choices = {attribute.name for attribute in HEAD_ATTRIBUTES if attribute.choices}
    for name, text in shape.attributes.items():
        if text:
            kind, key = ("choices", "choices") if name in choices else ("textarea", "text")
            found.append(common | {"from_name": name, "type": kind, "value": where | {key: [text]}})
    return found


def write_config() -> str:
    """The labelling configuration of a project that shows these tasks."""
    lines = ["<View>", '  <Image name="image" value="$image" zoom="true" zoomControl="true"/>']
    lines += ['  <RectangleLabels name="head" toName="image"><Label value="head" background="#d55e00"/></RectangleLabels>']
    lines += ['  <KeyPointLabels name="gaze" toName="image"><Label value="gaze" background="#0072b2"/></KeyPointLabels>']
    declared = {attribute.name: (attribute, HEAD) for attribute in HEAD_ATTRIBUTES}
    declared |= {attribute.name: (attribute, GAZE) for attribute in GAZE_ATTRIBUTES if attribute.name not in declared}
    for name, (attribute, label) in declared.items():
        of_both = name in {other.name for other in GAZE_ATTRIBUTES} and label == HEAD
        when = 'visibleWhen="region-selected"' + ("" if of_both else f' whenTagName="{label}"')
        lines += [f"  <View {when}>", f'    <Header size="6" value="{name}: {escape(attribute.meaning)}"/>']
        if attribute.choices:
            choices = "".join(f'<Choice value="{value}"/>' for value in attribute.choices)
            lines += [f'    <Choices name="{name}" toName="image" perRegion="true" choice="single">{choices}</Choices>']
        else:
            editable = "false" if name == "angles" else "true"
            lines += [f'    <TextArea name="{name}" toName="image" perRegion="true" maxSubmissions="1" editable="{editable}"/>']
        lines += ["  </View>"]
    return "\n".join([*lines, "</View>", ""])


# --- reading ----------------------------------------------------------------------------------------------------------


class _Value(Loose):
    x: Number = 0.0
    y: Number = 0.0
    width: Number = 0.0
    height: Number = 0.0
    rotation: Number = 0.0
    rectanglelabels: list[str] = Field(default_factory=list)
    keypointlabels: list[str] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)
    text: list[str] = Field(default_factory=list)
    choices: list[str] = Field(default_factory=list)

    @field_validator("text", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        return [value] if isinstance(value, str) else value


class _Result(Loose):
    type: str = ""
    id: str = ""
    from_name: str = ""
    value: _Value = Field(default_factory=_Value)
    parent_id: str = Field(default="", validation_alias=AliasChoices("parentID", "parent_id"))
    from_id: str = ""
    to_id: str = ""

    @field_validator("parent_id", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        return "" if value is None else value


class _User(Loose):
    id: int | str = ""
    email: str = ""
    username: str = ""


class _Work(Loose):
    result: list[_Result] = Field(default_factory=list)
    was_cancelled: bool | None = False
    completed_by: _User | int | str | None = None
    created_at: str | int | float | None = ""
    updated_at: str | int | float | None = ""

    @property
    def by(self) -> str:
        """Who did it, by mail address, name or number."""
        user = self.completed_by
        if isinstance(user, _User):
            return user.email or user.username or str(user.id)
        return "" if user is None else str(user)


class _Task(Loose):
    data: dict[str, Any]
    annotations: list[_Work] = Field(default_factory=list, validation_alias=AliasChoices("annotations", "completions"))


_FILE = TypeAdapter(list[_Task])


def read(path: Path, places: Places, reviewer: str) -> Content:
    """The people in a file of Label Studio; ``reviewer`` stands where a task does not say who worked on it.

    Raises
    ------
    InputError
        The file cannot be read or does not fit the dataset; all faults at once, with their places.
    """
    value = read_json(path, WHAT)
    if isinstance(value, list) and value and all(isinstance(item, dict) and "annotation_id" in item for item in value):
        raise InputError(
            f"Expected {WHAT} in {path}, found JSON-MIN. It does not say which region a sample_id is of, so nobody could be "
            "told from somebody new. Export the project again as JSON."
        )
    tasks = checked(_FILE, value, path, WHAT)
    faults = Faults(path)
    notes = _Notes()
    pictures = []
    for index, task in enumerate(tasks):
        where = json_place((index, "data"))
        names = [value for value in task.data.values() if isinstance(value, str)]
        place = found_place(places, [str(task.data.get("image", "")), *names], where, faults)
        work = sorted(
            (item for item in enumerate(task.annotations) if not item[1].was_cancelled), key=lambda item: _when(item[1])
        )
        notes.skipped += not work
        if place is None or not work:
            continue
        everybody = []
        for number, item in work:
            shapes = _shapes(place, item, json_place((index, "annotations", number)), notes)
            everybody.append(people_of_shapes(place, shapes, item.by or reviewer, faults))
        notes.pooled += len(work) > 1
        pictures.append(Picture(place.panorama_id, tuple(_pooled(everybody, notes)), True, where))
    faults.tell(WHAT)
    return Content(tuple(pictures), tuple(notes.sentences()))


class _Notes:
    """Counts of what is worth a remark."""

    def __init__(self) -> None:
        self.skipped = self.pooled = self.turned = self.others = self.unsure = self.earlier = 0

    def sentences(self) -> list[str]:
        """The remarks."""
        told = {
            f"{self.skipped} tasks have no finished annotation: their panoramas stay as they are.": self.skipped,
            f"{self.pooled} tasks have several annotations, which were pooled.": self.pooled,
            f"{self.unsure} people are missing in some annotations of their task and were kept.": self.unsure,
            f"{self.earlier} new people are in earlier annotations of a task only and were left out.": self.earlier,
            f"{self.turned} boxes are rotated; the upright box around each was taken.": self.turned,
            f"{self.others} regions are neither rectangles labelled head nor points labelled gaze; left out.": self.others,
        }
        return [sentence for sentence, count in told.items() if count]


def _when(work: _Work) -> tuple[bool, float, str]:
    """When an annotation was saved last, to sort by: dates as ISO 8601 text, or seconds in files of old."""
    moment = work.updated_at or work.created_at or ""
    return (True, 0.0, moment) if isinstance(moment, str) else (False, float(moment), "")


def _shapes(place: Place, work: _Work, where: str, notes: _Notes) -> list[Shape]:
    """The shapes of an annotation, each with the attributes of its region."""
    attributes: dict[str, dict[str, str]] = {}
    regions: list[tuple[int, _Result, Label | None]] = []
    partner: dict[str, str] = {}
    for number, result in enumerate(work.result):
        value = result.value
        named = [*value.rectanglelabels, *value.keypointlabels, *value.labels]
        if result.type == "relation":
            partner |= {result.from_id: result.to_id, result.to_id: result.from_id}
        elif value.text or value.choices:
            attributes.setdefault(result.id, {})[result.from_name] = "\n".join(value.text or value.choices)
        elif named:
            drawn = HEAD if value.rectanglelabels or (value.labels and value.height) else GAZE
            regions.append((number, result, drawn if drawn in named else None))
        elif result.type not in ("rectangle", "keypoint"):  # shapes apart from their labels, under the same id
            notes.others += 1
    boxes = {result.id for _, result, label in regions if label == HEAD}
    notes.others += len(attributes.keys() - {result.id for _, result, _ in regions})
    shapes = []
    for number, result, label in regions:
        if label is None:
            notes.others += 1
            continue
        of_region = dict(attributes.get(result.id, {}))
        pixels = _pixels(place, result.value, label)
        if label == HEAD and result.value.rotation % 360.0:
            pixels = upright((pixels[0], pixels[1], pixels[2], pixels[3]), result.value.rotation, about_corner=True)
            of_region.pop("angles", None)
            notes.turned += 1
        group = next((name for name in (result.parent_id, partner.get(result.id, "")) if name in boxes), result.id)
        shapes.append(Shape(label, pixels, of_region, group, f"{where}.result[{number}]"))
    return shapes


def _pixels(place: Place, value: _Value, label: Label) -> tuple[float, ...]:
    x, y = value.x * place.width / 100.0, value.y * place.height / 100.0
    if label == GAZE:
        return x, y
    return x, y, x + value.width * place.width / 100.0, y + value.height * place.height / 100.0


def _pooled(everybody: Sequence[Sequence[Person]], notes: _Notes) -> list[Person]:
    """The people of several annotations of a task, the latest last."""
    latest: dict[str, Person] = {}
    points: dict[str, list[Point]] = defaultdict(list)
    seen: Counter[str] = Counter()
    for people in everybody:
        for person in (person for person in people if person.sample_id):
            before = latest.get(person.sample_id)
            latest[person.sample_id] = person if before is None else _later(before, person)
            there = Counter(points[person.sample_id])
            for point in person.points or ():  # two equal ones of one annotation are two, the same ones of another are not
                if there[point]:
                    there[point] -= 1
                else:
                    points[person.sample_id].append(point)
            seen[person.sample_id] += 1
    notes.unsure += sum(count < len(everybody) for count in seen.values())
    notes.earlier += sum(not person.sample_id for people in everybody[:-1] for person in people)
    pooled = [replace(person, points=tuple(points[name])) for name, person in latest.items()]
    return pooled + [person for person in everybody[-1] if not person.sample_id]


def _later(before: Person, person: Person) -> Person:
    """A person as saved last, with the flags that only an earlier annotation has."""
    return replace(
        person,
        in_frame=before.in_frame if person.in_frame is None else person.in_frame,
        ambiguous=before.ambiguous if person.ambiguous is None else person.ambiguous,
    )
