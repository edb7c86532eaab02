"""ChildPlay: clips of children and adults at play, up to three people tracked, one gaze point per person and frame.

Conventions
-----------
One CSV file per clip, ``annotations/<train|val|test>/<clip>.csv``, with a header (:data:`COLUMNS`) and one row per person and
frame. Pixels of the frame, continuous (interpolated between key frames); the head box is x, y, *width, height*.

A clip is ``<video>_<start>-<end>``, with ``-downsampled`` appended where every other frame of a 60 Hz video was skipped; the
identifier of the video may hold ``_`` and ``-`` itself. ``frame`` counts from 1 within the clip. The frame's image is
``images/<clip>/<video>_<start + frame - 1>.jpg``, also in clips with skipped frames: the release's own script numbers what it
writes, not what it read. (Some copies have ``images/images/``.) A row whose frame lies after the last one of its clip (users
of the data report one) is rejected.

``gaze_class`` says what the gaze point means. The reference code bases (Sharingan, PaGE) take ``inside_visible`` as in frame,
``outside_frame`` as out of frame, and drop the others: so do we, with the class as the reason (see the options). A gaze of -1
is no point: in a class taken as in frame it is rejected, in a class taken as out of frame there is none to be used.

A photo is a frame with everyone usable in it. The cluster is the *video*: clips of one video show the same people in the same
room, so that scores on them are not independent and a split between them would leak. Negative widths and heights are swapped
and counted; boxes and points beyond the frame are left to ``resolve_person``, which knows the frame's size.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

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

KIND = "childplay"
CITATION = """@inproceedings{tafasca2023childplay,
  author = {Tafasca, Samy and Gupta, Anshul and Odobez, Jean-Marc},
  title = {{ChildPlay}: A New Benchmark for Understanding Children's Gaze Behaviour},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year = {2023}
}"""
LICENCE = (
    "Annotations: CC BY-NC 4.0, as those who pass them on state. Videos: their owners on YouTube; many show children. Do not "
    "redistribute frames."
)
OBTAIN = (
    "annotations, list of videos and extraction script: https://zenodo.org/records/8252535. The videos are downloaded from "
    "YouTube; the release's extract-clips-from-videos.py then writes the images (videos that are gone: ask its authors)."
)
LAYOUT = "annotations/{train,val,test}/<clip>.csv and images/<clip>/<video>_<frame>.jpg"

BOX = ("bbox_x", "bbox_y", "bbox_width", "bbox_height")
NUMBERS = ("frame", *BOX, "gaze_x", "gaze_y", "is_child")
COLUMNS = ("clip", "frame", "person_id", *BOX, "gaze_class", "gaze_x", "gaze_y", "is_child")
SPLITS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
CLIP = re.compile(r"(?P<video>.+)_(?P<start>\d{1,9})-(?P<end>\d{1,9})(?P<downsampled>-downsampled?)?")

INVERTED = "inverted head box swapped"

GazeClass = Literal["inside_visible", "outside_frame", "inside_occluded", "inside_uncertain", "eyes_closed", "gaze_shift"]
CLASSES: tuple[GazeClass, ...] = GazeClass.__args__  # type: ignore[attr-defined]


class ChildPlayOptions(SourceOptions):
    """Which gaze classes are used, and every how many labelled frames of a clip.

    ``in_frame`` and ``out_of_frame`` name the classes taken as such; the rest is rejected. ``stride``: frames a thirtieth of a
    second apart are nearly the same picture.
    """

    in_frame: tuple[GazeClass, ...] = ("inside_visible",)
    out_of_frame: tuple[GazeClass, ...] = ("outside_frame",)
    stride: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _disjoint(self) -> ChildPlayOptions:
        if set(self.in_frame) & set(self.out_of_frame):
            raise ValueError("a gaze class is in_frame or out_of_frame, not both")
        return self


def read(root: Path, options: ChildPlayOptions) -> Listing:
    """List the frames and people of ChildPlay under ``root``; opens no frame.

    Raises
    ------
    InputError
        If no annotation file is where it should be, or none has rows in the expected columns, or one is not text.
    """
    annotations = root / "annotations"
    texts = sorted(path.relative_to(root).as_posix() for path in annotations.rglob("*.csv") if not path.name.startswith("."))
    files = [file for file in texts if _is_clip(file)]
    if not files:
        raise wrong_folder(root, LAYOUT, OBTAIN)
    rejected = [
        Rejected(KIND, file, "", "", "not a clip's file: expected annotations/<train|val|test>/<clip>.csv")
        for file in texts
        if not _is_clip(file)
    ]
    table, unused = _read_files(root, files)
    rejected += unused
    if table.empty:
        raise InputError(
            f"Expected a header and rows with the columns {', '.join(COLUMNS)} in the {len(files)} files of {annotations}; "
            f"found none. Get the data again: {OBTAIN}"
        )
    folder = "images/images" if (root / "images" / "images").is_dir() else "images"
    table = _locate(table, folder)
    faults = _faults(table, options)
    bad = faults != ""
    rejected += rejected_rows(KIND, table[bad], faults[bad], person="person_id")
    table = table[~bad]
    # the rank of a frame among its clip's labelled frames: people who come and go do not shift it
    kept = (table.groupby("clip")["frame"].rank("dense") - 1) % options.stride == 0
    rejected += skipped_rows(KIND, table[~kept], options.stride, person="person_id")
    photos = _photos(table[kept], options)
    repaired = Counter(repair for photo in photos for person in photo.people for repair in person.repairs)
    return Listing(photos, tuple(rejected), repaired)


def _is_clip(file: str) -> bool:
    parts = file.split("/")
    return len(parts) == 3 and parts[1] in SPLITS


def _read_files(root: Path, files: list[str]) -> tuple[pd.DataFrame, list[Rejected]]:
    """All files as one table of text and numbers, in the order of files and rows; files and rows of another form apart."""
    rejected: list[Rejected] = []
    sound: list[tuple[object, ...]] = []
    for file in files:
        lines, rows = read_rows(root / file)
        header = [name.strip() for name in rows[0]] if rows else []
        if missing := [name for name in COLUMNS if header.count(name) != 1]:
            reason = f"file has not each column once ({', '.join(missing)})" if rows else "file is empty"
            rejected.append(Rejected(KIND, file, "", "", reason))
            continue
        if len(rows) == 1:
            rejected.append(Rejected(KIND, file, "", "", "file has a header and no rows"))
        places = [header.index(name) for name in COLUMNS]
        for line, row in zip(lines[1:], rows[1:], strict=True):
            if len(row) == len(header):
                sound.append((file, line, file.split("/")[1], *(row[place].strip() for place in places)))
            else:
                reason = f"row has not {len(header)} columns ({len(row)})"
                rejected.append(Rejected(KIND, row_reference(file, [line]), "", "", reason))
    table = pd.DataFrame(sound, columns=["file", "line", "split", *COLUMNS], dtype=object)
    texts = {f"{name}_text": table[name] for name in NUMBERS}
    return table.assign(**texts, **{name: to_numbers(table[name].to_numpy()) for name in NUMBERS}), rejected


def _locate(table: pd.DataFrame, folder: str) -> pd.DataFrame:
    """Add ``video`` (``""`` where the clip's name is none), ``length`` (frames in the clip) and ``image``."""
    parts = {clip: CLIP.fullmatch(clip) for clip in set(table["clip"])}
    videos = {clip: match["video"] if match else "" for clip, match in parts.items()}
    starts = {clip: int(match["start"]) if match else 0 for clip, match in parts.items()}
    lengths = {clip: _length(match) if match else 0 for clip, match in parts.items()}
    frame = table["frame"].where(np.isfinite(table["frame"]), 0.0)
    number = (frame.clip(-1e9, 1e9) + table["clip"].map(starts) - 1).astype("int64").astype("str")
    image = folder + "/" + table["clip"] + "/" + table["clip"].map(videos) + "_" + number + ".jpg"
    return table.assign(video=table["clip"].map(videos), length=table["clip"].map(lengths), image=image)


def _length(clip: re.Match[str]) -> int:
    span = int(clip["end"]) - int(clip["start"]) + 1
    return -(-span // 2) if clip["downsampled"] else span


def _faults(table: pd.DataFrame, options: ChildPlayOptions) -> NDArray[np.object_]:
    """Why each row cannot be used (``""`` where it can): the first fault found, in the order below."""
    faults = np.full(len(table), "", dtype=object)
    clip, kind = table["clip"], table["gaze_class"]
    everywhere = np.ones(len(table), dtype=bool)

    unnamed = (table["video"] == "").to_numpy()
    mark(faults, unnamed, [f"clip is not named <video>_<start>-<end> ({name!r})" for name in clip[unnamed]])
    nested = clip.str.contains("/", regex=False).to_numpy(dtype=bool)
    mark(faults, nested, "clip is not the name of a folder")
    for path, fault in zip(np.flatnonzero(faults == ""), path_faults(table["image"][faults == ""].tolist()), strict=True):
        faults[path] = fault
    mark(faults, (table["person_id"] == "").to_numpy(), "person_id is empty")

    unknown = ~kind.isin(CLASSES).to_numpy()
    mark(faults, unknown, [f"gaze_class is unknown ({name!r})" for name in kind[unknown]])
    unused = ~kind.isin((*options.in_frame, *options.out_of_frame)).to_numpy()
    mark(faults, unused, [f"gaze_class is {name}, which is not used" for name in kind[unused]])
    inside = kind.isin(options.in_frame).to_numpy()
    for column in NUMBERS:
        where = inside if column.startswith("gaze") else everywhere
        mark_not_finite(faults, column, table[f"{column}_text"].tolist(), table[column].to_numpy(dtype=np.float64), where)
    mark(faults, ~table["is_child"].isin((0, 1)).to_numpy(), "is_child is neither 0 nor 1")
    frame, length = table["frame"].to_numpy(dtype=np.float64), table["length"].to_numpy(dtype=np.float64)
    frame = np.where(np.isfinite(frame), frame, 0.0)
    mark(faults, frame % 1 != 0, "frame is not a whole number")
    beyond = (frame < 1) | (frame > length)
    texts = zip(frame[beyond].tolist(), length[beyond].tolist(), strict=True)
    mark(faults, beyond, [f"frame lies outside its clip (frame {number:g} of {count:g})" for number, count in texts])
    pointless = inside & ((table["gaze_x"] == -1) | (table["gaze_y"] == -1)).to_numpy()
    mark(faults, pointless, "gaze_class says in frame, but the gaze is -1")

    for kept in ("test", "val"):
        others = table["split"].isin(SPLITS[: SPLITS.index(kept)]).to_numpy()
        videos = table.loc[(table["split"] == kept).to_numpy() & (faults == ""), "video"]
        shared = others & table["video"].isin(videos).to_numpy()
        mark(faults, shared, f"the video belongs to the {kept} split too, and is kept there")
    sound = faults == ""
    repeated = np.zeros(len(table), dtype=bool)
    repeated[sound] = table[sound].duplicated(["image", "person_id"]).to_numpy()
    mark(faults, repeated, "the person has this frame already")
    return faults


def _photos(table: pd.DataFrame, options: ChildPlayOptions) -> tuple[Photo, ...]:
    """Frames sorted by path, their people by name."""
    table = table.sort_values(["image", "person_id"], kind="stable")
    first = table[["bbox_x", "bbox_y"]].to_numpy(dtype=np.float64)
    other = first + table[["bbox_width", "bbox_height"]].to_numpy(dtype=np.float64)
    boxes = np.hstack([np.minimum(first, other), np.maximum(first, other)])
    inverted = (other < first).any(axis=1)
    columns = ("image", "split", "video", "file", "line", "person_id", "gaze_class", "is_child", "gaze_x", "gaze_y")
    frames: dict[str, tuple[Literal["train", "val", "test"], str, list[Person]]] = {}
    for image, split, video, file, line, name, gaze_class, is_child, gx, gy, box, swapped in zip(
        *(table[column].tolist() for column in columns), boxes.tolist(), inverted.tolist(), strict=True
    ):
        inside = gaze_class in options.in_frame
        person = Person(
            person=name,
            row=row_reference(file, [line]),
            head_box=(box[0], box[1], box[2], box[3]),
            head_unit="pixel",
            gaze=((gx, gy),) if inside else (),
            gaze_unit="pixel",
            in_frame=inside,
            extras={"gaze_class": gaze_class, "is_child": is_child == 1},
            repairs=(INVERTED,) * swapped,
        )
        frames.setdefault(image, (split, video, []))[2].append(person)
    return tuple(Photo(image, split, video, tuple(people)) for image, (split, video, people) in frames.items())


SOURCE = Source(
    kind=KIND,
    title="ChildPlay",
    citation=CITATION,
    licence=LICENCE,
    obtain=OBTAIN,
    layout=LAYOUT,
    read=read,
    options=ChildPlayOptions,
)
