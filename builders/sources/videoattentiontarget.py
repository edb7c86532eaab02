"""VideoAttentionTarget: clips of television shows, every head tracked, one gaze point per head and frame.

Conventions
-----------
One text file per tracked person, ``annotations/<train|test>/<show>/<clip>/<person>.txt``, without a header, one row per frame:
``path,xmin,ymin,xmax,ymax,gazex,gazey``, all in pixels of the frame ``images/<show>/<clip>/<path>``. A gaze of ``-1,-1`` is
out of frame, its target unknown.

A photo is a frame with everyone tracked in it, a person the stem of the track's file, the cluster ``<show>/<clip>``. Frames
of a clip are ordered by the length of their names, then by name (numbers stay in order, padded with zeros or not).

What is mended, and counted in ``repaired`` (people in frames): inverted head boxes are swapped; where *one* gaze coordinate is
negative, it is set to 0 (Chong's rule for points slightly outside). Two negative ones that are not ``-1,-1`` are rejected:
the reference codes disagree about them, and the release has none. Points beyond the right and lower edge, and head boxes
that reach over any edge, are left to ``resolve_person``, which knows the frame's size. Hidden files are skipped.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, field_validator

from builders.sources.base import Listing, Person, Photo, Rejected, Source, SourceOptions, wrong_folder
from builders.sources.rows import (
    mark,
    mark_not_finite,
    path_faults,
    read_rows,
    rejected_rows,
    row_reference,
    skipped_rows,
    to_numbers,
)
from srgaze360.errors import InputError

KIND = "videoattentiontarget"
CITATION = """@inproceedings{chong2020detecting,
  author = {Chong, Eunji and Wang, Yongxin and Ruiz, Nataniel and Rehg, James M.},
  title = {Detecting Attended Visual Targets in Video},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages = {5396--5406},
  year = {2020}
}"""
LICENCE = (
    "Frames of broadcast television and films, whose rights stay with their owners: research use only; read the terms at the "
    "dataset's own site. Do not redistribute frames or labels."
)
OBTAIN = "linked from the README of https://github.com/ejcgt/attention-target-detection (videoattentiontarget.zip)."
LAYOUT = "annotations/{train,test}/<show>/<clip>/<person>.txt and images/<show>/<clip>/<frame>.jpg"

COLUMNS = ("path", "xmin", "ymin", "xmax", "ymax", "gazex", "gazey")
HEAD_BOX = ("xmin", "ymin", "xmax", "ymax")
SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")

INVERTED = "inverted head box swapped"
CLAMPED = "gaze slightly outside the photo moved to its edge"


class VideoAttentionTargetOptions(SourceOptions):
    """Which frames, and whose head boxes.

    ``stride``: every k-th frame of a clip is used, from its first, in the order of the labelled frames.

    ``smooth_window``: rows of the centred moving average over the four box columns of each track, taken over its usable
    rows before the stride, with the ends repeated; odd, and 0 is off. The reference evaluation uses 11, and so do most codes
    that compare with it (Gaze-LLE, PaGE, ViTGaze; not Tonini nor Sharingan): set 11 to stand beside their numbers. It is off
    here, because the boxes are then the released ones, and because a window counted in rows runs across gaps of a track and,
    in clips that were thinned before, over seconds: it moves the box off the head that says who is meant.
    """

    stride: int = Field(default=1, ge=1)
    smooth_window: int = Field(default=0, ge=0)

    @field_validator("smooth_window")
    @classmethod
    def _odd(cls, window: int) -> int:
        if window and window % 2 == 0:
            raise ValueError("smooth_window must be odd (a centred average), or 0 for none")
        return window


def read(root: Path, options: VideoAttentionTargetOptions) -> Listing:
    """List the frames and people of VideoAttentionTarget under ``root``; opens no frame.

    Raises
    ------
    InputError
        If no track file is where it should be, all are empty, or one is not text.
    """
    annotations = root / "annotations"
    texts = sorted(path.relative_to(root).as_posix() for path in annotations.rglob("*.txt") if not path.name.startswith("."))
    tracks = [file for file in texts if _is_track(file)]
    if not tracks:
        raise wrong_folder(root, LAYOUT, OBTAIN)
    rejected = [
        Rejected(KIND, file, "", "", "not a track: expected annotations/<train|test>/<show>/<clip>/<person>.txt")
        for file in texts
        if not _is_track(file)
    ]
    table, unused = _read_tracks(root, tracks)
    rejected += unused
    if table.empty:
        raise InputError(
            f"Expected rows of {len(COLUMNS)} comma separated columns ({','.join(COLUMNS)}) in the {len(tracks)} track files "
            f"of {annotations}; found none. Take the files from the dataset's release again."
        )
    faults = _faults(table)
    bad = faults != ""
    rejected += rejected_rows(KIND, table[bad], faults[bad])
    table = _mend(table[~bad], options.smooth_window)
    kept = _strided(table, options.stride)
    rejected += skipped_rows(KIND, table[~kept], options.stride)
    photos = _photos(table[kept])
    repaired = Counter(repair for photo in photos for person in photo.people for repair in person.repairs)
    return Listing(photos, tuple(rejected), repaired)


def _is_track(file: str) -> bool:
    parts = file.split("/")
    return len(parts) == 5 and parts[1] in SPLITS


def _read_tracks(root: Path, tracks: list[str]) -> tuple[pd.DataFrame, list[Rejected]]:
    """All tracks as one table in the order of files and rows, and the rows that do not have seven columns."""
    rejected: list[Rejected] = []
    sound: list[list[str]] = []
    places: list[tuple[str, int, str, str, str]] = []
    for file in tracks:
        _, split, show, clip, name = file.split("/")
        lines, rows = read_rows(root / file)
        if not rows:
            rejected.append(Rejected(KIND, file, "", Path(name).stem, "track file is empty"))
        for line, row in zip(lines, rows, strict=True):
            if len(row) == len(COLUMNS):
                sound.append(row)
                places.append((file, line, split, f"{show}/{clip}", Path(name).stem))
            else:
                reason = f"row has not {len(COLUMNS)} columns ({len(row)})"
                rejected.append(Rejected(KIND, row_reference(file, [line]), row[0], Path(name).stem, reason))
    data: dict[str, object] = {
        column: np.array([place[index] for place in places], dtype=object)
        for index, column in enumerate(("file", "line", "split", "clip", "person"))
    }
    for index, column in enumerate(COLUMNS):
        texts = np.array([row[index] for row in sound], dtype=object)
        if column == "path":
            data["frame"] = texts
        else:
            data[f"{column}_text"] = texts
            data[column] = to_numbers(texts)
    table = pd.DataFrame(data)
    return table.assign(image="images/" + table["clip"] + "/" + table["frame"]), rejected


def _faults(table: pd.DataFrame) -> NDArray[np.object_]:
    """Why each row cannot be used (``""`` where it can): the first fault found, in the order below."""
    faults = np.array(path_faults(table["image"].tolist()), dtype=object)
    everywhere = np.ones(len(table), dtype=bool)
    nested = table["frame"].str.contains("/", regex=False).to_numpy(dtype=bool)
    mark(faults, nested, "path is not the name of a frame")

    test = (table["split"] == "test").to_numpy()
    shared = table["clip"].isin(table.loc[test, "clip"]).to_numpy() & ~test
    mark(faults, shared, "the clip belongs to the test split too, and is kept there")

    for column in COLUMNS[1:]:
        mark_not_finite(faults, column, table[f"{column}_text"].tolist(), table[column].to_numpy(), everywhere)
    x, y = table["gazex"].to_numpy(), table["gazey"].to_numpy()
    negative = (x < 0) & (y < 0) & ~((x == -1) & (y == -1))
    points = zip(x[negative].tolist(), y[negative].tolist(), strict=True)
    mark(faults, negative, [f"gaze is negative in both coordinates, but not -1,-1 ({gx:g}, {gy:g})" for gx, gy in points])

    sound = faults == ""
    repeated = np.zeros(len(table), dtype=bool)
    repeated[sound] = table[sound].duplicated(["file", "frame"]).to_numpy()
    mark(faults, repeated, "the track has this frame already")
    return faults


def _mend(table: pd.DataFrame, window: int) -> pd.DataFrame:
    """Swap inverted boxes, smooth them along each track, move gaze points with one negative coordinate to the edge."""
    corners = table[list(HEAD_BOX)].to_numpy(dtype=np.float64)
    boxes = np.hstack([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])])
    inverted = (boxes != corners).any(axis=1)
    if window and len(boxes):
        ends = np.flatnonzero((table["file"] != table["file"].shift(-1)).to_numpy()) + 1
        boxes = np.vstack([smooth(track, window) for track in np.split(boxes, ends[:-1])])
    gaze = table[["gazex", "gazey"]].to_numpy(dtype=np.float64)
    inside = ~(gaze == -1).all(axis=1)
    clamped = inside & (gaze < 0).any(axis=1)
    gaze = np.maximum(gaze, 0.0)
    mended = table.assign(inside=inside, inverted=inverted, clamped=clamped, gazex=gaze[:, 0], gazey=gaze[:, 1])
    return mended.assign(**dict(zip(HEAD_BOX, boxes.T, strict=True)))


def smooth(track: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Centred moving average of ``window`` (odd) rows over the columns of a track (n, c), its ends repeated.

    The smoothing of the reference evaluation: ``smooth_by_conv`` of https://github.com/ejcgt/attention-target-detection.
    """
    padded = np.pad(track, ((window // 2, window // 2), (0, 0)), mode="edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, window, axis=0).mean(axis=-1))


def _frame_order(frame: str) -> tuple[int, str]:
    return len(frame), frame


def _strided(table: pd.DataFrame, stride: int) -> NDArray[np.bool_]:
    """Rows on every ``stride``-th labelled frame of their clip."""
    kept: set[str] = set()
    for clip, frames in table.groupby("clip")["frame"]:
        kept.update(f"{clip}/{frame}" for frame in sorted(set(frames), key=_frame_order)[::stride])
    return (table["clip"] + "/" + table["frame"]).isin(kept).to_numpy(dtype=bool)


def _photos(table: pd.DataFrame) -> tuple[Photo, ...]:
    """Frames sorted by path, their people by name."""
    table = table.sort_values(["image", "person"], kind="stable")
    columns = ("image", "split", "clip", "file", "line", "person", *HEAD_BOX, "gazex", "gazey", "inside", "inverted", "clamped")
    frames: dict[str, tuple[Literal["train", "test"], str, list[Person]]] = {}
    for image, split, clip, file, line, name, x0, y0, x1, y1, gx, gy, inside, inverted, clamped in zip(
        *(table[column].tolist() for column in columns), strict=True
    ):
        person = Person(
            person=name,
            row=row_reference(file, [line]),
            head_box=(x0, y0, x1, y1),
            head_unit="pixel",
            gaze=((gx, gy),) if inside else (),
            gaze_unit="pixel",
            in_frame=inside,
            repairs=(INVERTED,) * inverted + (CLAMPED,) * clamped,
        )
        frames.setdefault(image, (split, clip, []))[2].append(person)
    return tuple(Photo(image, split, clip, tuple(people)) for image, (split, clip, people) in frames.items())


SOURCE = Source(
    kind=KIND,
    title="VideoAttentionTarget",
    citation=CITATION,
    licence=LICENCE,
    obtain=OBTAIN,
    layout=LAYOUT,
    read=read,
    options=VideoAttentionTargetOptions,
)
