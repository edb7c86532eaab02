"""GazeFollow360: frames of 360-degree videos, one head box and one gaze point per record.

Conventions
-----------
Three MATLAB files, ``train_vali_test_data/{train,vali,test}_data.mat``: ``path`` (N strings, padded with spaces, relative to
``all the videos/``), ``face_box`` (N, 2, 2) = [[x1, y1], [x2, y2]] in *pixels* of the stored image, ``gaze`` (N, 2) in
fractions, origin at the upper left. Dimensions of size 1 may be missing. Every target is in the panorama. (The dataset's own
formulas let longitude grow to the left, 2 pi (1 - u): that is their sphere; the pixels are ordinary ones, u to the right.)

A row is a record, ``file:record`` from 1. Records of a panorama that have the same box are one person, named by the number of
the box among those of the panorama in that file.

Boxes whose x1 > x2 have two readings: the corners were swapped, or the head crosses the seam. The reference code sorts the
corners, which turns a head at the seam into a box around the rest of the world; labels that were sorted so stay so. They are
told apart by the panorama's width W, read from its header, and one margin: no head is wider than a quarter of a turn
(:data:`WIDEST`), unless it contains a pole.

- x1 <= x2, up to 3/4 W apart: as written.
- x1 <= x2, further apart: a sorted seam crossing; unrolled to (x2, x1 + W). A box that reaches the upper or lower edge may
  contain a pole, and stays as written.
- x1 > x2: the narrower reading, swapped or across the seam, if that is at most W / 4 wide. Else neither is a head: rejected.

Each repair is counted apart. Boxes across the seam leave here as x0 in [0, W] and x1 > W; ``resolve_person`` wraps them. Where
an image is missing its width is unknown, and x1 > x2 is taken as swapped (the builder rejects the panorama anyway).

The cluster is the video. The files do not name it, so it is derived from the path: without its extension and the number at its
end, or, where nothing else is left of the file's name, its folder (``a/b_0012.jpg`` and ``a/b/0012.jpg`` both give ``a/b``).
Frames of a video that several split files share stay in test, or else in val.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from builders.sources.base import Listing, Person, Photo, Rejected, Source, SourceOptions, wrong_folder
from builders.sources.matlab import read_matlab, texts
from builders.sources.panoramas import TOLERANCE
from builders.sources.rows import mark, path_faults, row_reference
from srgaze360.errors import InputError
from srgaze360.safe_images import UnreadableImage, read_size

KIND = "gazefollow360"
CITATION = """@inproceedings{li2021looking,
  author = {Li, Yunhao and Shen, Wei and Gao, Zhongpai and Zhu, Yucheng and Zhai, Guangtao and Guo, Guodong},
  title = {Looking Here or There? {G}aze Following in 360-Degree Images},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  pages = {3742--3751},
  year = {2021}
}"""
LICENCE = "Research only, free on request: read the terms at the dataset's own site. Do not redistribute frames or labels."
OBTAIN = "linked from https://michaelliyunhao.github.io/here-or-there, the project page of its authors."
LAYOUT = "train_vali_test_data/{train,vali,test}_data.mat and the folder 'all the videos' of panoramas"

FOLDER = "train_vali_test_data"
IMAGES = "all the videos"
FILES: dict[str, Literal["train", "val", "test"]] = {
    f"{FOLDER}/train_data.mat": "train",
    f"{FOLDER}/vali_data.mat": "val",
    f"{FOLDER}/test_data.mat": "test",
}
VARIABLES = ("path", "face_box", "gaze")
WIDEST = 0.25  # of the panorama's width

BOX = ("xa", "ya", "xb", "yb")  # the corners as written
Floats = NDArray[np.float64]

SWAPPED = "inverted head box swapped"
CROSSING = "head box with x1 > x2 taken across the seam"
FLATTENED = "head box around the world unrolled across the seam"
UNCLEAR = "head box is too wide for a head, swapped or across the seam"


class GazeFollow360Options(SourceOptions):
    """What is split and resampled together: the ``"video"`` that the path tells, or each ``"image"`` by itself."""

    cluster: Literal["video", "image"] = "video"


def read(root: Path, options: GazeFollow360Options) -> Listing:
    """List the panoramas and people of GazeFollow360 under ``root``; of images only the headers are read.

    Raises
    ------
    InputError
        If no label file is there, or one is not a MATLAB v5 file with the expected variables.
    """
    files = [name for name in FILES if (root / name).is_file()]
    if not files:
        raise wrong_folder(root, LAYOUT, OBTAIN)
    table = pd.concat([_read_file(root, name) for name in files], ignore_index=True)
    table["cluster"] = [image if options.cluster == "image" else _video(image) for image in table["image"]]
    table = _name_people(table)
    faults = _label_faults(table, options.cluster)
    sizes = {image: _size(root / image) for image in sorted(set(table["image"][faults == ""]))}
    width, height = np.array([sizes.get(image, (0, 0)) for image in table["image"]], dtype=np.float64).reshape(-1, 2).T
    corners = table[list(BOX)].to_numpy(dtype=np.float64)
    boxes, readings = read_boxes(np.where(np.isfinite(corners), corners, 0.0), width, height)
    _mark_image_faults(faults, table, boxes, readings, width, height)
    table = table.assign(**dict(zip(("x0", "y0", "x1", "y1"), boxes.T, strict=True)), reading=readings, fault=faults)
    records: list[dict[str, Any]] = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    rejected = [
        Rejected(KIND, row_reference(row["file"], [row["record"]]), row["image"], row["person"], row["fault"])
        for row in records
        if row["fault"]
    ]
    photos = _photos([row for row in records if not row["fault"]])
    repaired = Counter(repair for photo in photos for person in photo.people for repair in person.repairs)
    return Listing(photos, tuple(rejected), repaired)


def _read_file(root: Path, name: str) -> pd.DataFrame:
    """Records of one label file, as they stand."""
    advice = f"Take the file from the dataset's release again: {OBTAIN}"
    data = read_matlab(root / name, VARIABLES, advice)
    paths = texts(data["path"])
    numeric = all(data[variable].dtype.kind in "iuf" for variable in ("face_box", "gaze"))
    if not numeric or data["face_box"].size != 4 * len(paths) or data["gaze"].size != 2 * len(paths):
        found = ", ".join(f"{variable} {values.shape} {values.dtype}" for variable, values in data.items())
        raise InputError(
            f"Expected N strings in path, N x 2 x 2 numbers in face_box and N x 2 in gaze of {root / name}; found {found}. "
            f"{advice}"
        )
    corners = dict(zip(BOX, data["face_box"].astype(np.float64).reshape(-1, 4).T, strict=True))
    gaze = dict(zip(("gaze_x", "gaze_y"), data["gaze"].astype(np.float64).reshape(-1, 2).T, strict=True))
    images = np.array([f"{IMAGES}/{path}" for path in paths], dtype=object)
    return pd.DataFrame(
        {"file": name, "record": np.arange(1, len(paths) + 1), "split": FILES[name], "image": images} | corners | gaze
    )


def _video(image: str) -> str:
    folder, _, name = image.removeprefix(f"{IMAGES}/").rpartition("/")
    stem = re.sub(r"[\W_]*\d+$", "", Path(name).stem)
    return "/".join(part for part in (folder, stem) if part) or image


def _name_people(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``group`` (number of the person, in the order of first records) and ``person`` (name, unique in its image).

    Done before faulty records are dropped, so that a fault in one does not rename the others.
    """
    group = table.groupby(["image", "file", *BOX], sort=False, dropna=False).ngroup().to_numpy()
    first = ~pd.Series(group).duplicated().to_numpy()
    numbers = (table[first].groupby(["image", "file"], sort=False).cumcount() + 1).to_numpy()
    return table.assign(group=group, person=[str(number) for number in numbers[group]])


def _size(path: Path) -> tuple[int, int]:
    """Width and height of an image; (0, 0) where it cannot be told."""
    try:
        return read_size(path)
    except UnreadableImage:
        return 0, 0


def _label_faults(table: pd.DataFrame, cluster: str) -> NDArray[np.object_]:
    """Why each record cannot be used, as far as the labels tell (``""`` where it can)."""
    faults = np.array(path_faults(table["image"].tolist()), dtype=object)
    for kept, others in (("test", ("train", "val")), ("val", ("train",))):
        clusters = table.loc[(table["split"] == kept).to_numpy() & (faults == ""), "cluster"]
        shared = table["split"].isin(others).to_numpy() & table["cluster"].isin(clusters).to_numpy()
        mark(faults, shared, f"the {cluster} belongs to the {kept} split too, and is kept there")
    corners, gaze = table[list(BOX)].to_numpy(dtype=np.float64), table[["gaze_x", "gaze_y"]].to_numpy(dtype=np.float64)
    mark(faults, np.any(~np.isfinite(corners), axis=1), "head box is not finite")
    mark(faults, np.any(~np.isfinite(gaze), axis=1), "gaze is not finite")
    outside = np.any((gaze < 0) | (gaze > 1), axis=1)
    mark(faults, outside, [f"gaze lies outside the panorama ({x:g}, {y:g})" for x, y in gaze[outside].tolist()])
    return faults


def read_boxes(corners: Floats, width: Floats, height: Floats) -> tuple[Floats, NDArray[np.object_]]:
    """Tell swapped corners from heads that cross the seam, by the rule of this module's docstring.

    Parameters
    ----------
    corners
        (n, 4): x1, y1, x2, y2 as written, pixels.
    width, height
        (n,): size of the panorama; 0 where unknown.

    Returns
    -------
    boxes
        (n, 4): x0, y0, x1, y1 with x0 <= x1 (beyond the width across the seam) and y0 <= y1.
    readings
        (n,): the repair, ``""`` for none, or :data:`UNCLEAR`.
    """
    xa, ya, xb, yb = corners.T
    low, high, top, bottom = np.minimum(xa, xb), np.maximum(xa, xb), np.minimum(ya, yb), np.maximum(ya, yb)
    inner, widest = high - low, WIDEST * width
    across = width - inner  # width of the other reading
    known, ordered = width > 0, xa <= xb
    polar = (top <= 0) | (bottom >= height)
    flattened = known & ordered & (across > 0) & (across < widest) & ~polar
    crossing = known & ~ordered & (across > 0) & (across <= widest)
    readings = np.full(len(corners), "", dtype=object)
    readings[~ordered | (ya > yb)] = SWAPPED
    readings[known & ~ordered & (inner > widest)] = UNCLEAR
    readings[flattened], readings[crossing] = FLATTENED, CROSSING
    wrapped = flattened | crossing
    boxes = np.stack([np.where(wrapped, high, low), top, np.where(wrapped, low + width, high), bottom], axis=-1)
    return boxes, readings


def _mark_image_faults(
    faults: NDArray[np.object_],
    table: pd.DataFrame,
    boxes: Floats,
    readings: NDArray[np.object_],
    width: Floats,
    height: Floats,
) -> None:
    """Mark the faults that the panorama's size tells; none where it is unknown."""
    known = width > 0
    flat = known & (np.abs(width - 2 * height) > TOLERANCE)
    sizes = zip(width[flat].tolist(), height[flat].tolist(), strict=True)
    mark(faults, flat, [f"panorama is not twice as wide as high ({w:g} x {h:g} pixels)" for w, h in sizes])
    xa, ya, xb, yb = table[list(BOX)].to_numpy(dtype=np.float64).T
    beyond = known & ((np.maximum(xa, xb) <= 0) | (np.minimum(xa, xb) >= width))
    beyond |= known & ((np.maximum(ya, yb) <= 0) | (np.minimum(ya, yb) >= height))
    mark(faults, beyond, "head box lies beyond the panorama; was the image resized?")
    unclear = readings == UNCLEAR
    values = zip(xa[unclear].tolist(), xb[unclear].tolist(), width[unclear].tolist(), strict=True)
    mark(faults, unclear, [f"{UNCLEAR} (x1 {a:g}, x2 {b:g}, width {w:g})" for a, b, w in values])
    x0, y0, x1, y1 = boxes.T
    around = known & (x1 - x0 >= width) & (y0 > 0) & (y1 < height)
    mark(faults, around, "head box is as wide as the panorama, but reaches no pole")
    mark(faults, (x1 <= x0) | (y1 <= y0), "head box is empty")


def _photos(records: Sequence[Mapping[str, Any]]) -> tuple[Photo, ...]:
    """Panoramas sorted by path, their people in the order of their first records."""
    photos = []
    for image, rows in groupby(sorted(records, key=itemgetter("image", "group", "record")), key=itemgetter("image")):
        people = [list(own) for _, own in groupby(rows, key=itemgetter("group"))]
        first = people[0][0]
        photos.append(Photo(image, first["split"], first["cluster"], tuple(map(_person, people)), projection="equirectangular"))
    return tuple(photos)


def _person(rows: Sequence[Mapping[str, Any]]) -> Person:
    first = rows[0]
    return Person(
        person=first["person"],
        row=row_reference(first["file"], [row["record"] for row in rows]),
        head_box=(first["x0"], first["y0"], first["x1"], first["y1"]),
        head_unit="pixel",
        gaze=tuple((row["gaze_x"], row["gaze_y"]) for row in rows),
        gaze_unit="fraction",
        in_frame=True,
        repairs=(first["reading"],) if first["reading"] else (),
    )


SOURCE = Source(
    kind=KIND,
    title="GazeFollow360",
    citation=CITATION,
    licence=LICENCE,
    obtain=OBTAIN,
    layout=LAYOUT,
    read=read,
    options=GazeFollow360Options,
)
