"""GazeFollow, extended text or original MATLAB labels: web photos, one gaze point per person (train) or about ten (test).

Conventions
-----------
Comma separated text without a header, UTF-8 with a byte order mark, one row per annotation. Eye, gaze and body box are
fractions of the photo, the head box is in its pixels: mixed units in one row. ``inout`` (train only) is 1 where the target
is inside the photo, 0 where it is outside (the gaze columns then mean nothing), -1 where the label is invalid.

A person is one (path, eye): the rows of all annotators of a person share both, and several people may share a photo. The
person's name is the ``id`` of its first row, with the eye appended where two people of a photo would share it.

What is mended, and counted in ``repaired`` (people): inverted head boxes are swapped; of head boxes that differ between
annotators the first is used. Head corners outside the photo are left to ``resolve_person``, which knows the photo's size.
What is rejected, with the line: see ``_faults``. The text's body box is not used, nor checked.

Original labels have no head boxes: they are estimated, as ``gazefollow_mat`` says, and the people counted in ``repaired``.

**Clusters.** The 4,782 test paths are 3,018 photos, one stored under up to 8 paths. ``source`` and ``meta`` tell: the dataset
and the file name that the photo has there (where ``meta`` is no file name, as in train, it is ignored). The cluster is
``<source>/<meta>`` where they are known, else the photo's path: a function of the row, not of its neighbours or their order.
Where a label file does not tell, the original labels do, if they lie beside it. A photo of a test cluster is no train photo.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import compress
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import field_validator, model_validator

from builders.sources import gazefollow_mat
from builders.sources.base import Listing, Person, Photo, Rejected, Source, SourceOptions, Unit, wrong_folder
from builders.sources.rows import (
    mark,
    mark_not_finite,
    path_fault,
    path_faults,
    read_rows,
    rejected_rows,
    row_reference,
    to_numbers,
)
from srgaze360.errors import InputError, first_ids

KIND = "gazefollow"
CITATION = r"""@inproceedings{recasens2015looking,
  author = {Recasens, Adri{\`a} and Khosla, Aditya and Vondrick, Carl and Torralba, Antonio},
  title = {Where are they looking?},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {28},
  year = {2015}
}
@inproceedings{chong2018connecting,
  author = {Chong, Eunji and Ruiz, Nataniel and Wang, Yongxin and Zhang, Yun and Rozga, Agata and Rehg, James M.},
  title = {Connecting Gaze, Scene, and Attention: Generalized Attention Estimation via Joint Modeling of Gaze and
    Scene Saliency},
  booktitle = {European Conference on Computer Vision},
  year = {2018}
}"""
LICENCE = (
    "Labels: non-commercial research, as its users state; read the terms at the dataset's own site. Photos: those of their "
    "origins (COCO, SUN, PASCAL VOC, ImageNet, Places, Stanford 40 Actions). Do not redistribute either."
)
OBTAIN = (
    "GazeFollow *extended* (with head boxes and in/out labels) is linked from the README of "
    "https://github.com/ejcgt/attention-target-detection; the original at http://gazefollow.csail.mit.edu has no head boxes."
)
LAYOUT = (
    "train_annotations_release.txt and/or test_annotations_release.txt (or, without head boxes, train_annotations.mat and/or "
    "test2_annotations.mat), beside the folders train/ and test2/ of photos"
)

TRAIN_FILE = "train_annotations_release.txt"
TEST_FILE = "test_annotations_release.txt"
TRAIN_ORIGINAL = "train_annotations.mat"
TEST_ORIGINAL = "test2_annotations.mat"
HEAD_BOX = ("bbox_x_min", "bbox_y_min", "bbox_x_max", "bbox_y_max")
TRAIN_COLUMNS = (
    *("path", "id", "body_bbox_x", "body_bbox_y", "body_bbox_w", "body_bbox_h", "eye_x", "eye_y", "gaze_x", "gaze_y"),
    *(*HEAD_BOX, "inout", "source", "meta"),
)
TEST_COLUMNS = tuple(column for column in TRAIN_COLUMNS if column != "inout")

INVERTED = "inverted head box swapped"
DIFFERING = "head boxes differ between annotations, the first used"
ESTIMATED = "head box estimated from eye and body"

FILE_NAME = r".*[^./]\.[A-Za-z]{2,5}"

Split = Literal["train", "test"]


class GazeFollowOptions(SourceOptions):
    """Names of files under the root; ``None`` leaves one out.

    ``train_file``, ``test_file``: the labels; a name that ends in ``.mat`` is read as original ones. If neither of the default
    files is there, the original ones are read.

    ``train_metadata``, ``test_metadata``: the original labels that name a photo's origin, and so its cluster, where the text
    does not. They are opened only then.

    A default file may be absent; a file that was named must exist. A recipe that is to give everyone the same dataset names
    the label files, and names the metadata or leaves it out.
    """

    train_file: str | None = TRAIN_FILE
    test_file: str | None = TEST_FILE
    train_metadata: str | None = TRAIN_ORIGINAL
    test_metadata: str | None = TEST_ORIGINAL

    @field_validator("*")
    @classmethod
    def _inside_the_root(cls, name: str | None) -> str | None:
        if name is not None and (fault := path_fault(name)):
            raise ValueError(fault)
        return name

    @model_validator(mode="after")
    def _two_different_files(self) -> GazeFollowOptions:
        if self.train_file == self.test_file:
            raise ValueError("train_file and test_file must differ, and one of them must be named")
        return self


def read(root: Path, options: GazeFollowOptions) -> Listing:
    """List the photos and people of GazeFollow under ``root``; opens no photo.

    Raises
    ------
    InputError
        If no label file is there, or one is empty, is not text, or has no row of the expected number of columns.
    """
    return read_labels(root, options, KIND, OBTAIN)


def read_labels(root: Path, options: GazeFollowOptions, kind: str, obtain: str) -> Listing:
    """:func:`read`, for any ``kind`` of source that is stored in the GazeFollow layout."""
    files = _label_files(root, options, obtain)
    tables, rejected = [], []
    for split, name in files:
        table, malformed = (_read_original if name.endswith(".mat") else _read_text)(root, name, split, kind)
        tables.append(_with_clusters(root, table, split, options, obtain))
        rejected += malformed
    table = _name_people(pd.concat(tables, ignore_index=True))
    faults = _faults(table)
    bad = faults != ""
    rejected += rejected_rows(kind, table[bad], faults[bad], image="path")
    photos = _photos(table[~bad])
    repaired = Counter(repair for photo in photos for person in photo.people for repair in person.repairs)
    return Listing(photos, tuple(rejected), repaired)


def read_annotations(path: Path, split: Split) -> pd.DataFrame:
    """One label file, text or ``.mat``, as a row per annotation, as it stands: neither photos nor ranges are looked at.

    Columns ``path``, ``eye_x``, ``eye_y``, ``gaze_x``, ``gaze_y`` (fractions; NaN where a text is no number), ``inout``,
    ``cluster`` (the photo's origin where the file tells it, else its path) and ``group`` (number of the person) are among them.

    Raises
    ------
    InputError
        There is no such file, it is of another form, or rows of it are malformed.
    """
    if not path.is_file():
        raise InputError(f"Expected GazeFollow labels at {path}, but there is no such file. {OBTAIN}")
    table, malformed = (_read_original if path.suffix == ".mat" else _read_text)(path.parent, path.name, split, KIND)
    if malformed:
        raise InputError(
            f"Expected every row of {path} to be a person's labels, found {len(malformed)} that are not: "
            f"{first_ids([f'{item.row} ({item.reason})' for item in malformed])}. Take the file from the release again."
        )
    return _name_people(_with_clusters(path.parent, table, split, GazeFollowOptions(), OBTAIN))


def _label_files(root: Path, options: GazeFollowOptions, obtain: str) -> list[tuple[Split, str]]:
    """Label files to read: those of the options that are there, or else the original ones."""
    named: tuple[tuple[Split, str | None, str], ...] = (
        ("train", options.train_file, TRAIN_ORIGINAL),
        ("test", options.test_file, TEST_ORIGINAL),
    )
    for split, name, _ in named:
        _must_exist(root, f"{split}_file", name, options, obtain)
    files = [(split, name) for split, name, _ in named if name is not None and (root / name).is_file()]
    if not files:
        files = [(split, original) for split, name, original in named if name is not None and (root / original).is_file()]
    if not files:
        raise wrong_folder(root, LAYOUT, obtain)
    return files


def _must_exist(root: Path, option: str, name: str | None, options: GazeFollowOptions, obtain: str) -> None:
    if name is not None and option in options.model_fields_set and not (root / name).is_file():
        raise wrong_folder(root, f"the label file {name}, named by the option {option}", obtain)


def _read_original(root: Path, name: str, split: Split, kind: str) -> tuple[pd.DataFrame, list[Rejected]]:
    """One file of original labels in the form of :func:`_read_text`; a row's ``line`` is the number of its entry."""
    table, malformed = gazefollow_mat.read_people(root / name, split)
    if table.empty and not malformed:
        raise InputError(f"Expected labels in {root / name}; it has no entry. Take it from the dataset's release again.")
    texts = {f"{column}_text": table[column].map(repr) for column in ("eye_x", "eye_y", "gaze_x", "gaze_y", *HEAD_BOX)}
    table = table.rename(columns={"number": "line"}).assign(
        file=name, split=split, unit="fraction", id=table["number"].astype(str), inout=1.0, inout_text="1", **texts
    )
    return table, [Rejected(kind, row_reference(name, [line]), path, "", reason) for line, path, reason in malformed]


def _with_clusters(root: Path, table: pd.DataFrame, split: Split, options: GazeFollowOptions, obtain: str) -> pd.DataFrame:
    """Add ``cluster``: the photo's name of origin where it is known, else its path."""
    option = f"{split}_metadata"
    metadata: str | None = getattr(options, option)
    _must_exist(root, option, metadata, options, obtain)
    paths = table["path"]
    clusters = (table["source"] + "/" + table["meta"]).where(table["meta"].str.fullmatch(FILE_NAME), "")
    if metadata is not None and (clusters == "").any() and (root / metadata).is_file():
        origins = gazefollow_mat.read_origins(root / metadata, split)
        told = {path: f"{source}/{meta}" for path, (source, meta) in origins.items() if re.fullmatch(FILE_NAME, meta)}
        clusters = clusters.where(clusters != "", paths.map(told).fillna(""))
    clusters = clusters.where(clusters != "", paths)
    # rows of a photo that name several origins, or not all of them one, go to the name that sorts first
    return table.assign(cluster=clusters.groupby(paths).transform("min"))


def _read_text(root: Path, name: str, split: Split, kind: str) -> tuple[pd.DataFrame, list[Rejected]]:
    """One label file as a table of text and numbers, and its rows that have the wrong number of columns.

    Train has 17 columns and test 16, but either is read in either form (data that are rendered know ``inout`` of their test
    people too): the more frequent width in a file is its form, so that one damaged row cannot be taken for the other form.
    """
    lines, rows = read_rows(root / name)
    if not rows:
        raise InputError(f"Expected labels in {root / name}; the file is empty. Take it from the dataset's release again.")
    own, other = (TRAIN_COLUMNS, TEST_COLUMNS) if split == "train" else (TEST_COLUMNS, TRAIN_COLUMNS)
    widths = Counter(map(len, rows))
    columns = own if widths[len(own)] >= widths[len(other)] else other
    if not widths[len(columns)]:
        raise InputError(
            f"Expected rows of {len(own)} comma separated columns ({own[0]}, {own[1]}, … {own[-1]}) in {root / name}; found "
            f"{len(rows)} rows, most of {widths.most_common(1)[0][0]} columns. The original GazeFollow labels have no head "
            "boxes: use the extended ones."
        )
    sound = [len(row) == len(columns) for row in rows]
    malformed = [
        Rejected(kind, row_reference(name, [line]), row[0], "", f"row has not {len(columns)} columns ({len(row)})")
        for line, row, good in zip(lines, rows, sound, strict=True)
        if not good
    ]
    rows = list(compress(rows, sound))
    # the text of a numeric column is kept, so that a faulty one can be quoted; object arrays spare pandas a conversion
    data: dict[str, object] = {"file": name, "split": split, "unit": "pixel", "line": list(compress(lines, sound))}
    for index, column in enumerate(columns):
        texts = np.array([row[index] for row in rows], dtype=object)
        if column in ("path", "id", "source", "meta"):
            data[column] = texts
        elif column.startswith(("eye", "gaze", "bbox", "inout")):
            data[f"{column}_text"] = texts
            data[column] = to_numbers(texts)
    if "inout" not in data:
        data |= {"inout_text": "1", "inout": 1.0}
    return pd.DataFrame(data), malformed


def _name_people(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``group`` (number of the person, in the order of first rows) and ``person`` (name, unique within the photo).

    Done before faulty rows are dropped, so that a fault in one annotation does not rename the person.
    """
    group = table.groupby(["path", "eye_x", "eye_y"], sort=False, dropna=False).ngroup().to_numpy()
    first = ~pd.Series(group).duplicated().to_numpy()
    people = table.loc[first, ["path", "id", "eye_x_text", "eye_y_text"]].astype("str")
    people = people.apply(lambda column: column.str.strip())
    shared = people.duplicated(["path", "id"], keep=False)
    names = people["id"].where(~shared, people["id"] + "@" + people["eye_x_text"] + "," + people["eye_y_text"]).to_numpy()
    return table.assign(group=group, person=names[group])


def _faults(table: pd.DataFrame) -> NDArray[np.object_]:
    """Why each row cannot be used (``""`` where it can): the first fault found, in the order below."""
    faults = np.array(path_faults(table["path"].tolist()), dtype=object)
    everywhere = np.ones(len(table), dtype=bool)

    def numbers(column: str) -> NDArray[np.float64]:
        return table[column].to_numpy(dtype=np.float64)

    test = (table["split"] == "test").to_numpy()
    shared = (
        table["path"].isin(table.loc[test, "path"]) | table["cluster"].isin(table.loc[test, "cluster"])
    ).to_numpy() & ~test
    mark(faults, shared, "the photo belongs to the test split too, and is kept there")

    inout = numbers("inout")
    mark_not_finite(faults, "inout", table["inout_text"].tolist(), inout, everywhere)
    mark(faults, inout == -1, "inout is -1, the mark of an invalid label")
    mark(faults, ~np.isin(inout, (-1, 0, 1)), "inout is none of 1, 0 and -1")
    inside = inout == 1
    for column in ("eye_x", "eye_y", *HEAD_BOX):
        mark_not_finite(faults, column, table[f"{column}_text"].tolist(), numbers(column), everywhere)
    for column in ("gaze_x", "gaze_y"):
        mark_not_finite(faults, column, table[f"{column}_text"].tolist(), numbers(column), inside)
    x, y = numbers("gaze_x"), numbers("gaze_y")
    outside = inside & ~((x >= 0) & (x <= 1) & (y >= 0) & (y <= 1))
    points = zip(x[outside].tolist(), y[outside].tolist(), strict=True)
    mark(faults, outside, [f"gaze is marked in frame but lies outside the photo ({gx:g}, {gy:g})" for gx, gy in points])

    group = table["group"].to_numpy()
    agreed_inside = np.bincount(group, weights=inside & (faults == ""), minlength=1)[group] > 0
    mark(faults, ~inside & agreed_inside, "marked out of frame, while another annotation of the same person is in frame")
    return faults


def _photos(table: pd.DataFrame) -> tuple[Photo, ...]:
    """Photos sorted by path, their people in the order of their first rows, the points of each in the order of the rows."""
    if table.empty:
        return ()
    path_codes, _ = pd.factorize(table["path"], sort=True)
    table = table.iloc[np.lexsort((table["line"], table["group"], path_codes))]
    group = table["group"].to_numpy()
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], len(group))

    corners = table[list(HEAD_BOX)].to_numpy(dtype=np.float64)
    low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
    boxes = np.hstack([low, high])
    inverted = np.logical_or.reduceat((boxes != corners).any(axis=1), starts)
    differing = np.logical_or.reduceat((boxes != np.repeat(boxes[starts], ends - starts, axis=0)).any(axis=1), starts)

    heads = table.iloc[starts]
    columns = (heads[column].tolist() for column in ("path", "split", "cluster", "file", "person", "source", "unit"))
    points = list(zip(table["gaze_x"].tolist(), table["gaze_y"].tolist(), strict=True))
    eyes = zip(heads["eye_x"].tolist(), heads["eye_y"].tolist(), strict=True)
    lines = table["line"].tolist()
    people: dict[tuple[str, Split, str], list[Person]] = {}
    units: dict[str, Unit] = {"pixel": "pixel", "fraction": "fraction"}
    for path, split, cluster, file, name, origin, unit, start, end, box, eye, inside, swapped, unequal in zip(
        *columns,
        starts.tolist(),
        ends.tolist(),
        boxes[starts].tolist(),
        eyes,
        (heads["inout"] == 1).tolist(),
        inverted.tolist(),
        differing.tolist(),
        strict=True,
    ):
        person = Person(
            person=name,
            row=row_reference(file, sorted(set(lines[start:end]))),
            head_box=(box[0], box[1], box[2], box[3]),
            head_unit=units[unit],
            gaze=tuple(points[start:end]) if inside else (),
            gaze_unit="fraction",
            in_frame=inside,
            extras={"origin": origin} if origin else {},
            repairs=(INVERTED,) * swapped + (DIFFERING,) * unequal + (ESTIMATED,) * (unit == "fraction"),
            eye=eye,
        )
        people.setdefault((path, split, cluster), []).append(person)
    return tuple(Photo(*key, tuple(group)) for key, group in people.items())


SOURCE = Source(
    kind=KIND,
    title="GazeFollow (extended)",
    citation=CITATION,
    licence=LICENCE,
    obtain=OBTAIN,
    layout=LAYOUT,
    read=read,
    options=GazeFollowOptions,
)
