"""One panorama: photos placed on a sphere, their labels carried by the same cameras as their pixels.

Conventions
-----------
Photos and canvases are RGB, uint8. A panorama with people in it is a photo like any other, whose camera is equirectangular.
Whatever keeps a label from being used is returned as a rejection with a reason; nothing is raised for bad data, so one photo
never stops a build.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders.backgrounds import BACKGROUNDS, Backdrop, Placed, feathered
from builders.panorama.labels import NoLabelError, PhotoLabels, lift
from builders.panorama.pose import Pose, place_apart, solve_pose
from builders.panorama.records import NOTHING_AROUND, geometry, person_row
from builders.plan import Placement, Task, unit_hash
from builders.recipe import Recipe
from builders.sources.base import Rejected, ResolvedPerson, resolve_person
from srgaze360.cameras import Camera
from srgaze360.dataset import panorama_label_digest
from srgaze360.errors import InputError
from srgaze360.files import generator, path_inside, write_bytes
from srgaze360.images import encode_image
from srgaze360.integrity import pixel_digest
from srgaze360.reproject import Patch, composite, photo_to_patch
from srgaze360.safe_images import UnreadableImage, read_image

SUFFIXES = {"jpeg": ".jpg", "png": ".png"}
PANORAMA_SHAPE = 0.01  # by which a panorama's width may differ from twice its height, relatively


@dataclass(frozen=True)
class Job:
    """What every task of a build shares: the recipe, where the sources are by kind, where the dataset goes."""

    recipe: Recipe
    roots: Mapping[str, Path]
    out: Path


@dataclass(frozen=True)
class Made:
    """The outcome of a task: annotation rows, the manifest entry of the panorama (None if there is none), rejections."""

    rows: tuple[dict[str, Any], ...]
    entry: dict[str, Any] | None
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True)
class Opened:
    """A photo that was read, with its camera and the labels that the camera could carry."""

    placement: Placement
    image: NDArray[np.uint8]
    camera: Camera
    labels: tuple[PhotoLabels, ...]


@dataclass(frozen=True)
class Laid:
    """An opened photo at its place, and the patch of the panorama that it makes there."""

    opened: Opened
    pose: Pose
    patch: Patch

    @property
    def placed(self) -> Placed:
        """The photo and its place, as backgrounds see it."""
        return Placed(self.opened.image, self.opened.camera, self.pose.rotation)


class Unusable(Exception):
    """A photo that cannot be on this sphere; ``conditional`` if it might be on another."""

    def __init__(self, reason: str, *, conditional: bool) -> None:
        super().__init__(reason)
        self.conditional = conditional


def make_panorama(task: Task, job: Job) -> Made:
    """Carry out a task: write the panorama, return its rows."""
    rejected: list[Rejected] = []
    opened = [photo for item in task.placements if (photo := _open(task, item, job, rejected)) is not None]
    laid = _lay(task, opened, job.recipe, rejected)
    if len(laid) < min(2, len(task.placements)):  # one photo is no crowd
        for item in laid:
            rejected += _reject_all(task, item.opened.placement, "no other photo of its sphere could be used")
        return Made((), None, tuple(rejected))
    output = job.recipe.output
    try:
        canvas = _paint(task, job, laid)
    except UnreadableImage as error:
        where = ", ".join(image for _, image in task.backdrop)
        for item in laid:
            rejected += _reject_all(task, item.opened.placement, f"background cannot be read ({where}: {error})")
        return Made((), None, tuple(rejected))
    image_path = f"panoramas/{task.split}/{task.panorama_id}{SUFFIXES[output.format]}"
    rows = tuple(_rows(task, laid, image_path))
    content = encode_image(canvas, SUFFIXES[output.format], output.quality)
    write_bytes(job.out / image_path, content, sync=False)
    return Made(rows, _entry(task, image_path, content, rows), tuple(rejected))


def _entry(task: Task, image_path: str, content: bytes, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "path": image_path,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "panorama_id": task.panorama_id,
        "label_digest": panorama_label_digest(rows),
        "pixel_digest": pixel_digest(content),
    }


def _rows(task: Task, laid: Sequence[Laid], image_path: str) -> Iterable[dict[str, Any]]:
    for item in laid:
        shared = geometry(task, item.opened.camera, item.pose, item.patch) | {"image_path": image_path, "photos": len(laid)}
        for label in item.opened.labels:
            yield person_row(task, item.opened.placement, label, item.pose.rotation, shared)


# --- photos and people ------------------------------------------------------------------------------------------------


def _reject(task: Task, item: Placement, row: str, person: str, reason: str, *, conditional: bool) -> Rejected:
    rejected = Rejected(item.kind, row, item.photo.image, person, reason)
    return replace(rejected, suite=task.suite, condition=task.condition) if conditional else rejected


def _reject_all(task: Task, item: Placement, reason: str, *, conditional: bool = True) -> list[Rejected]:
    return [_reject(task, item, person.row, person.person, reason, conditional=conditional) for person in item.photo.people]


def _open(task: Task, item: Placement, job: Job, rejected: list[Rejected]) -> Opened | None:
    """Read a photo and lift its people; None, and the reasons in ``rejected``, where nobody is left."""
    try:
        image = _read(job, item)
        camera = photo_camera(item, job.recipe, image.shape[1], image.shape[0])
    except UnreadableImage as error:
        rejected += _reject_all(task, item, str(error), conditional=False)
        return None
    except Unusable as error:
        rejected += _reject_all(task, item, str(error), conditional=error.conditional)
        return None
    people = _resolve_people(task, item, image, rejected)
    labels = _lift_people(task, item, people, camera, rejected)
    return Opened(item, image, camera, tuple(labels)) if labels else None


def _read(job: Job, item: Placement) -> NDArray[np.uint8]:
    try:
        path = path_inside(job.roots[item.kind], item.photo.image)
    except InputError as error:
        raise Unusable(f"path leaves the source's folder ({error})", conditional=False) from None
    return read_image(path)


def _resolve_people(task: Task, item: Placement, image: NDArray[np.uint8], rejected: list[Rejected]) -> list[ResolvedPerson]:
    height, width = image.shape[:2]
    people = []
    for person in item.photo.people:
        resolved = resolve_person(item.photo, person, width, height)
        if isinstance(resolved, str):
            rejected.append(_reject(task, item, person.row, person.person, resolved, conditional=False))
        else:
            people.append(resolved)
    return people


def _lift_people(
    task: Task, item: Placement, people: Sequence[ResolvedPerson], camera: Camera, rejected: list[Rejected]
) -> list[PhotoLabels]:
    labels = []
    for resolved in people:
        person = resolved.person
        try:
            label = lift(resolved, camera)
        except NoLabelError as error:
            rejected.append(_reject(task, item, person.row, person.person, str(error), conditional=True))
            continue
        if label.lost:
            reason = f"gaze points lie beyond what the lens can image ({label.lost} of {len(resolved.gaze)})"
            rejected.append(_reject(task, item, person.row, person.person, reason, conditional=True))
        labels.append(label)
    return labels


def photo_camera(item: Placement, recipe: Recipe, width: int, height: int) -> Camera:
    """The camera through which a photo of ``width`` x ``height`` pixels is lifted to the sphere.

    Raises
    ------
    Unusable
        The lens cannot show the field of view, the photo's own camera is none, or a panorama is not twice as wide as high.
    """
    if item.photo.projection == "equirectangular":
        if abs(width - 2 * height) > PANORAMA_SHAPE * width:
            raise Unusable(f"panorama is not twice as wide as high ({width} x {height} pixels)", conditional=False)
        return Camera("equirectangular", width, height, width / (2.0 * np.pi), height / np.pi, width / 2.0, height / 2.0)
    name, known = str(item.settings["lens"]), item.photo.camera
    if name == "own" and known is not None:
        named = item.photo.size or (width, height)
        try:
            return Camera.from_dict({**known, "width": named[0], "height": named[1]}).resized(width, height)
        except InputError as error:
            raise Unusable(f"camera of the photo cannot be used ({error})", conditional=True) from None
    preset = recipe.lens(name)
    fov = float(np.radians(float(item.settings["fov_deg"])))
    try:
        return Camera.from_fov(preset.lens, width, height, fov, side="longer", params=preset.params)
    except InputError as error:
        raise Unusable(f"lens cannot take the field of view ({error})", conditional=True) from None


# --- places -----------------------------------------------------------------------------------------------------------


def _lay(task: Task, opened: Sequence[Opened], recipe: Recipe, rejected: list[Rejected]) -> list[Laid]:
    draws = [unit_hash(recipe.seed, photo.placement.key, "longitude_deg") for photo in opened]
    settings = [{**task.settings, **photo.placement.settings} for photo in opened]
    pitches = [unit_hash(recipe.seed, photo.placement.key, "latitude_deg") for photo in opened]
    poses: list[Pose | None] = [
        solve_pose(setting, photo.camera, photo.labels, draw, pitch)
        for setting, photo, draw, pitch in zip(settings, opened, draws, pitches, strict=True)
    ]
    if any(setting["longitude_deg"] == "apart" for setting in settings):
        poses = place_apart([photo.camera for photo in opened], [pose for pose in poses if pose is not None], draws)
    laid = []
    for photo, pose in zip(opened, poses, strict=True):
        if pose is None:
            rejected += _reject_all(task, photo.placement, "no room is left on the sphere beside the other photos")
            continue
        output = recipe.output
        patch = photo_to_patch(photo.image, photo.camera, pose.rotation, output.width, antialias=output.antialias)
        laid.append(Laid(photo, pose, patch))
    return laid


# --- pixels -----------------------------------------------------------------------------------------------------------


def _paint(task: Task, job: Job, laid: Sequence[Laid]) -> NDArray[np.uint8]:
    output = job.recipe.output
    canvas = np.zeros((output.width // 2, output.width, 3), dtype=np.uint8)
    for item in laid:
        composite(canvas, item.patch)
    name = str(task.settings.get("background", NOTHING_AROUND))
    if name in (NOTHING_AROUND, "black"):  # the canvas as it is
        return canvas
    coverage = np.zeros(canvas.shape[:2], dtype=np.uint8)
    for item in laid:
        composite(coverage, replace(item.patch, pixels=item.patch.coverage))
    background = BACKGROUNDS[name]
    backdrop = Backdrop(
        canvas=canvas,
        coverage=coverage,
        placed=[item.placed for item in laid],
        images=[read_image(path_inside(job.roots[kind], image)) for kind, image in task.backdrop],
        seed=generator(job.recipe.seed, "background", task.key),
    )
    fill = background.paint(backdrop)
    for item in laid:
        patch = item.patch
        if background.feathered:
            patch = feathered(patch, item.placed, output.feather_deg)
        composite(fill, patch)
    return fill
