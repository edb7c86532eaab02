"""GazeFollow360: the layout of Li et al. (ICCV 2021), so that its existing loaders run on this data.

Conventions
-----------
::

    all the videos/<split>/<panorama_id>.jpg
    train_vali_test_data/{train,vali,test}_data.mat
        path      (N,)       characters padded with spaces, relative to "all the videos"
        face_box  (N, 2, 2)  [[x1, y1], [x2, y2]], whole pixels
        gaze      (N, 2)     [x / W, y / H] in [0, 1], the consensus of all annotations
    samples.csv              which record is which sample, with the exact head box

The format knows one target inside the panorama per record. Rows without a known direction, and those whose target lies outside
its source photo (nothing of it is to be seen), are left out and listed in ``left_out.csv``.

Its loaders sort the corners of a box by min and max, so a box written across the seam (x2 < x1) would become nearly as wide as
the panorama. A head that crosses the seam is therefore written as the *wider of its two pieces*; ``samples.csv`` marks it
(``cut`` = 1) and has the uncut box, u1 > 1. Corners are rounded outwards, so the box covers the head. Loaders that squeeze
arrays (``squeeze_me``) cannot read a split of a single record.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.io import savemat

from builders.publishing.export.base import ExportOptions, LeftOut, Written, by_split, panoramas, write_csv
from srgaze360 import headbox
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.files import path_inside, place_image, write_bytes

IMAGES = "all the videos"
LABELS = "train_vali_test_data"
SPLIT_FILES = {"train": "train_data.mat", "val": "vali_data.mat", "test": "test_data.mat"}
HEADER_TEXT = b"MATLAB 5.0 MAT-file, written by srgaze360".ljust(116)
UNKNOWN = "the direction of the gaze is not known"
OUTSIDE = "the target lies outside its source photo"
HEADER = ("split", "record", "path", "sample_id", "head_u0", "head_v0", "head_u1", "head_v1", "cut")


class GazeFollow360Options(ExportOptions):
    """``link``: hard-link the panoramas instead of copying them."""

    link: bool = Field(default=False)


def write(data: Dataset, folder: Path, options: GazeFollow360Options, advance: Callable[[int], None]) -> Written:
    """Write the GazeFollow360 layout of a dataset.

    Raises
    ------
    InputError
        No row has a target that the format could hold.
    """
    written = Written()
    listing: list[list[object]] = []
    for split, items in by_split(panoramas(data)).items():
        paths: list[str] = []
        boxes: list[NDArray[np.int32]] = []
        gazes: list[tuple[float, float]] = []
        for item in items:
            path, before = f"{split}/{item.name}", len(paths)
            for row in item.rows:
                if reason := _unfit(row):
                    written.left_out.append(LeftOut(row["sample_id"], split, reason))
                    continue
                box, cut = _face_box(row)
                listing.append([split, len(paths), path, row["sample_id"], *_head_box(row), int(cut)])
                paths.append(path)
                boxes.append(box)
                gazes.append((row["gaze_lon_deg"] / 360.0 + 0.5, 0.5 - row["gaze_lat_deg"] / 180.0))
            if len(paths) > before:
                place_image(item.path, path_inside(folder, f"{IMAGES}/{path}"), link=options.link)
                written.files["panoramas"] += 1
            advance(1)
        if paths:
            # a rectangular array of characters: MATLAB's only kind of string array, hence the padding
            content = {"path": np.array(paths), "face_box": np.stack(boxes), "gaze": np.array(gazes)}
            write_bytes(folder / LABELS / SPLIT_FILES[split], _mat_file(content))
            written.files["records"] += len(paths)
    if not listing:
        raise InputError(
            f"Expected rows whose gaze target is known and inside its photo in {data.root}, found none among {len(data)}: "
            "the GazeFollow360 format holds no others. Choose another split or suite, or another format."
        )
    write_csv(folder / "samples.csv", HEADER, listing)
    written.notes += [
        f"{sum(bool(line[-1]) for line in listing)} heads cross the seam and are written as the wider of their two pieces; "
        "`samples.csv` marks them (`cut`) and has every exact head box, u1 > 1 across the seam.",
        "`gaze` is the consensus of all annotations: the format has room for one point per record.",
        f"Panoramas are {'hard links: do not edit them in place' if options.link else 'copies'}; those without a record stay "
        "away.",
    ]
    return written


def _mat_file(content: Mapping[str, NDArray[Any]]) -> bytes:
    """A MATLAB 5 file; its free header text, where scipy writes the time of day, says who made it instead."""
    stream = io.BytesIO()
    savemat(stream, dict(content))  # type: ignore[arg-type]  # it takes streams; the stubs know paths only
    return HEADER_TEXT + stream.getvalue()[len(HEADER_TEXT) :]


def _unfit(row: Mapping[str, Any]) -> str:
    """Why the format cannot hold a row; empty where it can."""
    if row["gaze_lon_deg"] is None:
        return UNKNOWN
    return "" if row["in_frame"] else OUTSIDE


def _head_box(row: Mapping[str, Any]) -> list[float]:
    return [row[f"head_{side}"] for side in ("u0", "v0", "u1", "v1")]


def _face_box(row: Mapping[str, Any]) -> tuple[NDArray[np.int32], bool]:
    """Corners (2, 2) in whole pixels, rounded outwards, and whether the box was cut at the seam."""
    rectangles = headbox.pixel_rectangles(_head_box(row), row["width"], row["height"])
    x0, y0, x1, y1 = max(rectangles, key=lambda rectangle: rectangle[2] - rectangle[0])
    # a box that ends on a whole pixel but for the rounding of its fractions ends there
    corners = [[np.floor(x0 + 1e-6), np.floor(y0 + 1e-6)], [np.ceil(x1 - 1e-6), np.ceil(y1 - 1e-6)]]
    return np.array(corners, dtype=np.int32), len(rectangles) > 1
