"""One panorama: a photo placed on a sphere, its labels carried by the same camera as its pixels.

Conventions
-----------
Photos and canvases are RGB, uint8. Whatever keeps a label from being used is returned as a rejection with a
reason; nothing is raised for bad data, so one photo never stops a build.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders.backgrounds import blurred_extension, panorama_fill
from builders.images import UnreadableImage, read_image
from builders.labels import NoLabelError, PhotoLabels, Pose, lift, solve_pose
from builders.plan import Task, unit_hash
from builders.recipe import Recipe
from builders.sources.base import Rejected, ResolvedPerson, resolve_person
from srgaze360 import headbox, sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import label_digest
from srgaze360.errors import InputError
from srgaze360.files import canonical_json, digest, digest_pixels, path_inside, write_bytes
from srgaze360.images import decode_rgb, encode_image
from srgaze360.maps import minification
from srgaze360.reproject import Patch, composite, photo_to_patch

SUFFIXES = {"jpeg": ".jpg", "png": ".png"}
NEAR_POLE_DEG = 10.0


@dataclass(frozen=True)
class Job:
    """What every task of a build shares: the recipe, where the sources are, where the dataset goes."""

    recipe: Recipe
    roots: Mapping[str, Path]
    background_root: Path | None
    out: Path


@dataclass(frozen=True)
class Made:
    """The outcome of a task: annotation rows, the manifest entry of the panorama (None if there is none), rejections."""

    rows: tuple[dict[str, Any], ...]
    entry: dict[str, Any] | None
    rejected: tuple[Rejected, ...]


def make_panorama(task: Task, job: Job) -> Made:
    """Carry out a task: write the panorama, return its rows."""
    try:
        photo = read_image(path_inside(job.roots[task.kind], task.photo.image))
    except UnreadableImage as error:
        return Made((), None, tuple(_reject_all(task, str(error))))
    people, rejected = _resolve_people(task, photo)
    try:
        camera = _camera(task, job.recipe, photo)
    except InputError as error:
        return Made((), None, tuple(_reject_all(task, f"lens cannot take the field of view ({error})", conditional=True)))
    labels, more = _lift_people(task, people, camera)
    rejected += more
    if not labels:
        return Made((), None, tuple(rejected))
    draw = unit_hash(job.recipe.seed, task.key, "longitude_deg")
    pose = solve_pose(task.settings, camera, labels, draw)
    output = job.recipe.output
    patch = photo_to_patch(photo, camera, pose.rotation, output.width, antialias=output.antialias)
    try:
        canvas = _canvas(task, job, patch)
    except UnreadableImage as error:
        reason = f"background cannot be read ({task.background_image}: {error})"
        return Made((), None, tuple(rejected + _reject_all(task, reason, conditional=True)))
    image_path = f"panoramas/{task.split}/{task.panorama_id}{SUFFIXES[output.format]}"
    geometry = _geometry(task, camera, pose, patch, output.width)
    rows = tuple(_row(task, label, pose.rotation, geometry, image_path) for label in labels)
    content = encode_image(canvas, SUFFIXES[output.format], output.quality)
    write_bytes(job.out / image_path, content, sync=False)
    return Made(rows, _entry(task, image_path, content, rows), tuple(rejected))


def pixel_digest(content: bytes) -> str:
    """Digest of an encoded panorama as a reader sees it: decoded, RGB."""
    pixels = decode_rgb(content)
    return "undecodable" if pixels is None else digest_pixels(pixels)


def panorama_label_digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Digest of all labels on a panorama."""
    return digest([label_digest(row) for row in rows])


def _entry(task: Task, image_path: str, content: bytes, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "path": image_path,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "panorama_id": task.panorama_id,
        "label_digest": panorama_label_digest(rows),
        "pixel_digest": pixel_digest(content),
    }


# --- people -----------------------------------------------------------------------------------------------------------


def _reject(task: Task, row: str, person: str, reason: str, *, conditional: bool) -> Rejected:
    rejected = Rejected(task.kind, row, task.photo.image, person, reason)
    return replace(rejected, suite=task.suite, condition=task.condition) if conditional else rejected


def _reject_all(task: Task, reason: str, *, conditional: bool = False) -> list[Rejected]:
    return [_reject(task, person.row, person.person, reason, conditional=conditional) for person in task.photo.people]


def _resolve_people(task: Task, photo: NDArray[np.uint8]) -> tuple[list[ResolvedPerson], list[Rejected]]:
    height, width = photo.shape[:2]
    people, rejected = [], []
    for person in task.photo.people:
        resolved = resolve_person(person, width, height)
        if isinstance(resolved, str):
            rejected.append(_reject(task, person.row, person.person, resolved, conditional=False))
        else:
            people.append(resolved)
    return people, rejected


def _lift_people(task: Task, people: Sequence[ResolvedPerson], camera: Camera) -> tuple[list[PhotoLabels], list[Rejected]]:
    labels, rejected = [], []
    for resolved in people:
        person = resolved.person
        try:
            label = lift(resolved, camera)
        except NoLabelError as error:
            rejected.append(_reject(task, person.row, person.person, str(error), conditional=True))
            continue
        if label.lost:
            reason = f"gaze points lie beyond what the lens can image ({label.lost} of {len(resolved.gaze)})"
            rejected.append(_reject(task, person.row, person.person, reason, conditional=True))
        labels.append(label)
    return labels, rejected


def _camera(task: Task, recipe: Recipe, photo: NDArray[np.uint8]) -> Camera:
    height, width = photo.shape[:2]
    preset = recipe.lens(str(task.settings["lens"]))
    fov = float(np.radians(float(task.settings["fov_deg"])))
    return Camera.from_fov(preset.lens, width, height, fov, side="longer", params=preset.params)


# --- pixels -----------------------------------------------------------------------------------------------------------


def _canvas(task: Task, job: Job, patch: Patch) -> NDArray[np.uint8]:
    width = job.recipe.output.width
    canvas = np.zeros((width // 2, width, 3), dtype=np.uint8)
    background = task.settings["background"]
    if background == "panorama" and task.background_image is not None and job.background_root is not None:
        panorama = read_image(path_inside(job.background_root, task.background_image))
        canvas = panorama_fill(panorama, width, unit_hash(job.recipe.seed, task.key, "background turn"))
    elif background == "blur":
        coverage = np.zeros((width // 2, width), dtype=np.uint8)
        composite(canvas, patch)
        composite(coverage, replace(patch, pixels=patch.coverage))
        canvas = blurred_extension(canvas, coverage)
    composite(canvas, patch)
    return canvas


# --- rows -------------------------------------------------------------------------------------------------------------


def _geometry(task: Task, camera: Camera, pose: Pose, patch: Patch, width: int) -> dict[str, Any]:
    """The columns that describe how the photo lies on the sphere; the same for everyone on it."""
    degrees = {f"{name}_deg": float(np.degrees(value)) for name, value in pose._asdict().items()}
    height = width // 2
    rows = patch.y0 + np.flatnonzero(patch.coverage.any(axis=1))
    lat = np.degrees(sphere.cell_lonlat(width, height)[1])
    cells = sphere.cell_solid_angles(1, height)[:, 0] / width
    covered = patch.coverage.sum(axis=1, dtype=np.float64) / 255.0
    share = float(covered @ cells[patch.y0 : patch.y0 + len(covered)] / (4.0 * np.pi))
    return {
        **degrees,
        "width": width,
        "height": height,
        "hfov_deg": float(np.degrees(camera.hfov)),
        "lens": camera.lens,
        "lens_params": list(camera.params),
        "camera": canonical_json(camera.to_dict()),
        "background": str(task.settings["background"]),
        "background_image": task.background_image,
        "near_pole": bool(np.any(np.abs(lat[rows]) > 90.0 - NEAR_POLE_DEG)),
        "minification": float(minification(camera, width)),
        "footprint": share,
    }


def _degrees(direction: sphere.FloatArray) -> tuple[float, float]:
    lon, lat = sphere.lonlat_from_direction(direction)
    return float(np.degrees(lon)), float(np.degrees(lat))


def _row(
    task: Task, label: PhotoLabels, rotation: sphere.FloatArray, geometry: Mapping[str, Any], image_path: str
) -> dict[str, Any]:
    person = label.resolved.person
    head = rotation @ label.head
    consensus = label.consensus
    gaze = None if consensus is None else rotation @ consensus
    u0, v0, u1, v1 = (float(value) for value in headbox.box_of_outline(sphere.rotate(rotation, label.outline)))
    head_lon, head_lat = _degrees(head)
    gaze_lon, gaze_lat = (None, None) if gaze is None else _degrees(gaze)
    crosses = gaze is not None and bool(sphere.arc_crosses_seam(head, gaze))
    seam_solved = task.settings["longitude_deg"] == "seam" and "longitude_deg" not in task.condition
    return {
        **person.extras,
        **geometry,
        "sample_id": f"{task.panorama_id}-{digest([person.person])[:8]}",
        "panorama_id": task.panorama_id,
        "image_path": image_path,
        "split": task.split,
        "suite": task.suite,
        "condition": ("across" if crosses else "beside") if seam_solved else task.condition,
        "source": task.kind,
        "source_image": task.photo.image,
        "source_person": person.person,
        "cluster_id": f"{task.kind}/{task.photo.cluster}",
        "head_u0": u0,
        "head_v0": v0,
        "head_u1": u1,
        "head_v1": v1,
        "head_lon_deg": head_lon,
        "head_lat_deg": head_lat,
        "head_radius_deg": float(np.degrees(label.head_radius)),
        "gaze_lon_deg": gaze_lon,
        "gaze_lat_deg": gaze_lat,
        "gaze_points_deg": [list(_degrees(point)) for point in sphere.rotate(rotation, label.gaze)],
        "gaze_annotators": list(label.annotators),
        "in_frame": person.in_frame,
        "crosses_seam": crosses,
        "repairs": list(label.resolved.repairs),
    }
