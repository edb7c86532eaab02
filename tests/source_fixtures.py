"""Every source in small: a folder in its true format, with sound rows and one that cannot be used or has to be mended.

One entry of :data:`FIXTURES` per kind; ``tests/test_sources.py`` walks them, and fails for a source that has none.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from listings import test_row as gazefollow_test_row
from listings import train_row, write_labels, write_picture

from builders.procedural import sidecar
from builders.sources import childplay, gazefollow

SIZE = (640, 480)

Rows = set[tuple[str, int]]


@dataclass(frozen=True)
class Fixture:
    """``write`` fills a folder and names all its rows; ``fault`` is the kind of what is wrong, rejected or repaired."""

    write: Callable[[Path], Rows]
    fault: str


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def write_gazefollow(root: Path) -> Rows:
    rows = [train_row(), train_row(eye_x=0.5, inout=0), train_row(eye_x=0.75, gaze_x="nan")]
    write_labels(root, gazefollow.TRAIN_FILE, rows)
    write_labels(root, gazefollow.TEST_FILE, [gazefollow_test_row(), gazefollow_test_row(gaze_x=0.25)])
    for image in ("train/00000000/a.jpg", "test2/00000000/t.jpg"):
        write_picture(root / image, *SIZE)
    return {(gazefollow.TRAIN_FILE, line) for line in (1, 2, 3)} | {(gazefollow.TEST_FILE, line) for line in (1, 2)}


def write_procedural(root: Path) -> Rows:
    """A rendered folder: the annotations are GazeFollow's, the sidecar has every column of its own table."""
    write_labels(root, gazefollow.TRAIN_FILE, [train_row(), train_row(id=8, eye_x=0.5, gaze_x="nan")])
    write_picture(root / "train/00000000/a.jpg", *SIZE)
    known = {
        "image": "train/00000000/a.jpg", "person": "7", "scene": "s", "split": "train", "in_frame": "true",
        "head_x_min": "10", "head_y_min": "20", "head_x_max": "60", "head_y_max": "80", "target_x": "0.75", "target_y": "0.5",
        "hfov_deg": "60", "gaze_x": "0", "gaze_y": "0", "gaze_z": "1", "target_name": "cup",
    }  # fmt: skip
    cells = {name: known.get(name) or (column.choices or ("1",))[0] for name, column in sidecar.COLUMNS.items()}
    write_lines(root / sidecar.SIDECAR_FILE, [",".join(cells), ",".join(cells.values())])
    return {(gazefollow.TRAIN_FILE, 1), (gazefollow.TRAIN_FILE, 2)}


def write_videoattentiontarget(root: Path) -> Rows:
    rows: Rows = set()
    for split, clip in (("train", "a/1_2"), ("test", "b/1_2")):
        file = f"annotations/{split}/{clip}/s00.txt"
        write_lines(root / file, ["1.jpg,9,9,60,60,300,200", "2.jpg,60,60,9,9,-1,-1"])
        for frame in ("1.jpg", "2.jpg"):
            write_picture(root / "images" / clip / frame, *SIZE)
        rows |= {(file, 1), (file, 2)}
    return rows


def write_childplay(root: Path) -> Rows:
    rows: Rows = set()
    header = ",".join(childplay.COLUMNS)
    for split in ("train", "val", "test"):
        clip = f"{split}-Vid_eo_100-110"
        file = f"annotations/{split}/{clip}.csv"
        labels = ("inside_visible,300.5,200.5,1", "outside_frame,-1,-1,0", "eyes_closed,-1,-1,1")
        write_lines(root / file, [header, *(f"{clip},{n},1,9,9,51,51,{label}" for n, label in enumerate(labels, 1))])
        for number in (100, 101):
            write_picture(root / "images" / clip / f"{split}-Vid_eo_{number}.jpg", *SIZE)
        rows |= {(file, line) for line in (2, 3, 4)}
    return rows


def write_goo(root: Path) -> Rows:
    entry = {
        "filename": "0.png", "width": 640, "height": 480,
        "ann": {"bboxes": np.array([[10, 20, 30, 40], [320, 96, 400, 192]], np.float32), "labels": np.array([3, 25])},
        "envparams": {"cab": 1, "hum": 20, "light": 0.1, "cam": 49, "env": 6}, "gaze_item": 3, "gazeIdx": 0, "gaze_cx": 20,
        "gaze_cy": 30, "hx": 360, "hy": 140, "occluded": 0,
    }  # fmt: skip
    entries = [entry, entry | {"filename": "1.png", "gazeIdx": -1, "gaze_item": -1, "occluded": 1}, entry | {"filename": 3}]
    (root / "test.pickle").write_bytes(pickle.dumps(entries, 4))
    for image in ("0.png", "1.png"):
        write_picture(root / "images" / image, *SIZE)
    return {("test.pickle", number) for number in (1, 2, 3)}


def write_gazefollow360(root: Path) -> Rows:
    rows: Rows = set()
    for split in ("train", "vali", "test"):
        file = f"train_vali_test_data/{split}_data.mat"
        (root / file).parent.mkdir(exist_ok=True)
        data = {
            "path": np.array([f"{split}/v_{number}.png".ljust(30) for number in (1, 2, 3)]),
            "face_box": np.array([[[10, 20], [30, 50]], [[390, 50], [15, 20]], [[10, 20], [30, 50]]], np.int32),
            "gaze": np.array([[0.25, 0.5], [1.0, 0.0], [0.5, 1.5]]),
        }
        scipy.io.savemat(root / file, data)
        for number in (1, 2, 3):
            write_picture(root / f"all the videos/{split}/v_{number}.png", 400, 200)
        rows |= {(file, number) for number in (1, 2, 3)}
    return rows


def write_table(root: Path) -> Rows:
    lines = [
        "image,person,head_x0,head_y0,head_x1,head_y1,gaze_x,gaze_y,annotator,split,lens,fx,fy,cx,cy,age",
        "a.jpg,p,9,9,60,60,300,200,x,train,pinhole,500,500,320,240,7",
        "a.jpg,p,9,9,60,60,310,200,y,train,pinhole,500,500,320,240,7",
        "b.jpg,p,9,9,60,60,300,200,x,test,,,,,,",
        "b.jpg,q,9,9,60,60,300,200,x,tset,,,,,,",
    ]
    write_lines(root / "labels.csv", lines)
    for image in ("a.jpg", "b.jpg"):
        write_picture(root / image, *SIZE)
    return {("labels.csv", line) for line in (2, 3, 4, 5)}


def write_panoramas(root: Path) -> Rows:
    """Backgrounds have no rows; the one that is no panorama is named as a file."""
    write_picture(root / "a.jpg", 64, 32)
    write_picture(root / "flat.jpg", 64, 48)
    return set()


FIXTURES = {
    "childplay": Fixture(write_childplay, "gaze_class is eyes_closed, which is not used"),
    "gazefollow": Fixture(write_gazefollow, "gaze_x is not a finite number"),
    "gazefollow360": Fixture(write_gazefollow360, "gaze lies outside the panorama"),
    "goo": Fixture(write_goo, "filename is not text"),
    "panoramas": Fixture(write_panoramas, "panorama is not twice as wide as high"),
    "procedural": Fixture(write_procedural, "gaze_x is not a finite number"),
    "table": Fixture(write_table, "split is none of train, val, test"),
    "videoattentiontarget": Fixture(write_videoattentiontarget, "inverted head box swapped"),
}
