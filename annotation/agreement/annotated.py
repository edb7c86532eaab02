"""Who annotated what: the input of every statistic of agreement, from a built dataset or straight from a source's labels.

Conventions
-----------
Annotations are directions (n, m, 3) with weights (n, m), as the metric protocols take them. ``local`` are the same directions
in the frame of the photo that was annotated (x right, y down, z along its axis): what chance, bias and plots refer to, since
where a photo was put on the sphere says nothing of its annotators. Only people with two annotations or more can be compared.

A source's labels are lifted through a pinhole camera with the stated field of view: its photos need not be there. Their planar
annotations (n, m, 2), fractions of width and height, are kept beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from annotation.cameras import Cameras
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset, explain
from srgaze360.errors import InputError
from srgaze360.placement import POSE, world_from_photo
from srgaze360.registry import Registry
from srgaze360.sphere import BoolArray, FloatArray

SOURCES: Registry[Any] = Registry("srgaze360.sources", "source")
RANKING_SUITES = ("mixed", "canonical")
EDGE_PIXELS = 0.01  # a click on the very edge may come back as little beyond it
LIFTED_WIDTH = 1200  # pixels of the longer side of a photo without a size: labels are fractions, so it does not matter


@dataclass(frozen=True)
class Annotated:
    """People with two annotations or more.

    Attributes
    ----------
    title
        What was annotated, in words.
    ids, clusters
        (n,) of the people.
    points, weights
        Annotations (n, m, 3) on the sphere and their weights (n, m).
    local
        Annotations (n, m, 3) in the photo's frame.
    heads
        Directions (n, 3) of the heads in the photo's frame.
    inside
        (n, m) whether an annotation lies in the photo.
    names
        (n, m) who gave each annotation; empty where nobody says.
    planar, planar_heads
        Annotations (n, m, 2) and heads (n, 2) as fractions of the photo, where it was flat; else None.
    left_out
        Number of people with fewer than two annotations.
    """

    title: str
    ids: NDArray[np.str_]
    clusters: NDArray[np.str_]
    points: FloatArray
    weights: FloatArray
    local: FloatArray
    heads: FloatArray
    inside: BoolArray
    names: NDArray[np.object_]
    planar: FloatArray | None
    planar_heads: FloatArray | None
    left_out: int

    def __len__(self) -> int:
        return len(self.ids)


def of_dataset(data: Dataset, split: str | None = None, suite: str | None = None) -> Annotated:
    """The annotations of a dataset: one suite of it, since the suites show the same people; ``mixed`` unless told otherwise.

    Raises
    ------
    InputError
        There is no such split or suite, or nobody there has two annotations.
    """
    rows = data.select(split=split)
    if suite is None:
        suite = next((name for name in RANKING_SUITES if name in rows.suites), rows.suites[0])
    rows = rows.select(suite=suite)
    truth = rows.truth()
    several = truth.weights.sum(axis=1) > 1
    where = f"suite {suite}" + (f", split {split}" if split else "")
    if not several.any():
        raise InputError(
            f"Expected people with two annotations or more in {data.root} ({where}), found none among {len(rows)}. Test splits "
            "usually have several annotators; choose with --split and --suite."
        )
    kept = rows.annotations[several].reset_index(drop=True)
    points, weights = truth.points[several], truth.weights[several]
    turns = world_from_photo(kept[list(POSE)].to_numpy(dtype=np.float64))
    local = np.einsum("nji,nmj->nmi", turns, points)
    cameras, owner = Cameras(kept["camera"].tolist()), np.repeat(np.arange(len(kept)), points.shape[1])
    beyond = cameras.beyond(owner, cameras.project(owner, local.reshape(-1, 3)).pixels).reshape(weights.shape)
    names = np.full(weights.shape, "", dtype=object)
    for row, given in enumerate(kept["gaze_annotators"]):
        names[row, : len(given)] = given
    return Annotated(
        title=f"{data.info.name} {data.info.version}, {where}",
        ids=kept["sample_id"].to_numpy(dtype=str),
        clusters=kept["cluster_id"].to_numpy(dtype=str),
        points=points,
        weights=weights,
        local=local,
        heads=np.einsum("nji,nj->ni", turns, rows.heads[several]),
        inside=np.asarray(beyond <= EDGE_PIXELS),
        names=names,
        planar=None,
        planar_heads=None,
        left_out=int((~several).sum()),
    )


# --- a source's labels, without its photos ----------------------------------------------------------------------------


def of_source(
    kind: str, root: Path, options: Mapping[str, Any], *, fov_deg: float = 60.0, aspect: tuple[int, int] = (4, 3)
) -> Annotated:
    """The annotations of a registered source, lifted to the sphere through a pinhole camera; its photos are not opened.

    Parameters
    ----------
    kind, root, options
        The source (an entry point of the group ``srgaze360.sources``), its folder and its options.
    fov_deg, aspect
        What is assumed of every photo: the field of view of its longer side, degrees, and its width to height.

    Raises
    ------
    InputError
        There is no such source, its labels cannot be read, or nobody in them has two annotations in a flat photo, as fractions
        or in pixels of a size that the labels name.
    """
    source = SOURCES.get(kind)
    try:
        listing = source.read(root, source.options.model_validate(dict(options)))
    except ValidationError as error:
        raise InputError(f"Expected options of source {kind!r}, found: {explain(error)}. Change --set.") from None
    people = [
        (photo, person)
        for photo in listing.photos
        for person in photo.people
        if photo.projection == "perspective" and _scale(photo, person.gaze_unit) and person.in_frame
    ]
    chosen = [(photo, person) for photo, person in people if len(person.gaze) > 1]
    if not chosen:
        raise InputError(
            f"Expected people with two annotations or more in {root} (source {kind}), in flat photos, as fractions or in "
            f"pixels of a size that the labels name, found none among {len(people)}. GazeFollow has them in its test labels."
        )
    m = max(len(person.gaze) for _, person in chosen)
    planar, weights = np.zeros((len(chosen), m, 2)), np.zeros((len(chosen), m))
    names = np.full(weights.shape, "", dtype=object)
    heads = np.full((len(chosen), 2), np.nan)
    for row, (photo, person) in enumerate(chosen):
        given = len(person.gaze)
        planar[row, :given], weights[row, :given] = np.divide(person.gaze, _scale(photo, person.gaze_unit) or 1), 1.0
        names[row, : len(person.annotators)] = person.annotators
        x0, y0, x1, y1 = person.head_box
        if size := _scale(photo, person.head_unit):
            heads[row] = np.divide(((x0 + x1) / 2.0, (y0 + y1) / 2.0), size)
    size = (LIFTED_WIDTH, round(LIFTED_WIDTH * aspect[1] / aspect[0]))
    camera = Camera.from_fov("pinhole", *size, float(np.radians(fov_deg)), side="longer")
    points = camera.rays(planar * size).directions
    return Annotated(
        title=f"{source.title}, lifted at {aspect[0]}:{aspect[1]} and {fov_deg:g} degrees",
        ids=np.array([f"{photo.image}#{person.person}" for photo, person in chosen]),
        clusters=np.array([photo.cluster for photo, _ in chosen]),
        points=points,
        weights=weights,
        local=points,
        heads=camera.rays(heads * size).directions,
        inside=np.all((planar >= 0.0) & (planar <= 1.0), axis=-1),
        names=names,
        planar=planar,
        planar_heads=heads,
        left_out=len(people) - len(chosen),
    )


def _scale(photo: Any, unit: str) -> tuple[int, int] | None:  # noqa: ANN401 - a photo of a source, which another wing defines
    """What coordinates are divided by to be fractions of a photo; None where its size is not known."""
    return (1, 1) if unit == "fraction" else photo.size


def turned_to_heads(annotated: Annotated) -> FloatArray:
    """Annotations (n, m, 3) by where they are seen from the head's direction: (east, north, radial) of the head's frame."""
    return np.asarray(np.einsum("nij,nmj->nmi", sphere.tangent_frame(annotated.heads), annotated.local))
