"""Datasets and rows for tests of interchange: three panoramas whose labels are known by heart, and random ones by the rules."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from sound import Row, rows_of, sound_dataset, write_sound

from annotation.interchange.comparing import Changes, compare
from annotation.interchange.formats import FORMATS
from annotation.interchange.records import Places
from annotation.versions import revise
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset

WIDTH, HEIGHT = 2048, 1024
ONE, TWO, THREE = "1a2b3c4d5e6f7081", "2b3c4d5e6f708192", "3c4d5e6f708192a3"

# sample: panorama, head box in pixels (x1 beyond the width across the seam), gaze points in degrees, annotators, in frame
PEOPLE: Mapping[str, tuple[str, tuple[float, float, float, float], list[list[float]], list[str], bool]] = {
    "plain": (ONE, (600.0, 480.0, 640.0, 530.0), [[-30.0, 10.0], [-31.0, 11.0], [-29.0, 9.0]], ["ann", "bob", "cid"], True),
    "seam": (ONE, (2028.0, 500.0, 2068.0, 540.0), [[170.0, 0.0], [170.0, 0.0]], [], True),  # two who said the same
    "pole": (TWO, (0.0, 0.0, 2048.0, 60.0), [[30.0, 90.0]], [], True),
    "nowhere": (TWO, (1200.0, 600.0, 1230.0, 640.0), [], [], False),
    "late": (THREE, (100.0, 300.0, 160.0, 380.0), [[-180.0, -20.0]], ["ann"], True),
}


def degrees_of(x: float, y: float) -> list[float]:
    """The slow way from a pixel to longitude and latitude."""
    return [360.0 * (x / WIDTH - 0.5), 180.0 * (0.5 - y / HEIGHT)]


def label(row: Row, box: Sequence[float], points: list[list[float]], names: list[str], in_frame: bool) -> Row:
    """A row with other labels, and all that follows from them, in plain NumPy."""
    middle = degrees_of(((box[0] + box[2]) / 2.0) % WIDTH, (box[1] + box[3]) / 2.0)
    if box[2] - box[0] == WIDTH:
        middle = [0.0, 90.0 if box[1] == 0.0 else -90.0]
    lonlat = np.radians(np.array(points).reshape(-1, 2))
    mean = sphere.direction_from_lonlat(lonlat[:, 0], lonlat[:, 1]).sum(axis=0)
    known = np.linalg.norm(mean) > 1e-9
    gaze = [float(v) for v in np.degrees(sphere.lonlat_from_direction(mean))] if known else [None, None]
    camera = Camera.equirectangular(WIDTH)  # everything is inside
    angles = dict.fromkeys(("yaw_deg", "pitch_deg", "roll_deg", "tilt_pitch_deg", "tilt_roll_deg", "tilt_yaw_deg"), 0.0)
    return {
        **row,
        **angles,
        **dict(zip(("head_u0", "head_v0", "head_u1", "head_v1"), np.array(box) / [WIDTH, HEIGHT, WIDTH, HEIGHT], strict=True)),
        "width": WIDTH,
        "height": HEIGHT,
        "head_lon_deg": middle[0],
        "head_lat_deg": middle[1],
        "gaze_points_deg": points,
        "gaze_annotators": names,
        "gaze_lon_deg": gaze[0],
        "gaze_lat_deg": gaze[1],
        "in_frame": in_frame,
        "camera": json.dumps(camera.to_dict()),
        "crosses_seam": False,
    }


def known_dataset(root: Path) -> Dataset:
    """The people of :data:`PEOPLE` on three panoramas of the test split."""
    data = sound_dataset(root, people=2)
    template = rows_of(root)[0]
    rows = []
    for sample, (panorama, *labels) in PEOPLE.items():
        path = f"panoramas/test/{panorama}.jpg"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if not (root / path).exists():
            shutil.copyfile(root / template["image_path"], root / path)
        names = {"sample_id": sample, "panorama_id": panorama, "image_path": path, "split": "test", "cluster_id": panorama}
        rows.append(label({**template, **names, "source_person": sample, "source_image": f"{panorama}.png"}, *labels))
    for other in {row["image_path"] for row in rows_of(root)}:
        (root / other).unlink()
    shutil.rmtree(root / "panoramas" / "train")
    return write_sound(root, data, rows)


def places_of(data: Dataset) -> Places:
    return Places(rows_of(data.root))


def changes_of(name: str, path: Path, data: Dataset, annotator: str = "") -> Changes:
    """What a file changes."""
    places = places_of(data)
    return compare(FORMATS[name].read(path, places, annotator), places, path, annotator)


def imported(name: str, path: Path, data: Dataset, out: Path, annotator: str = "") -> dict[str, Row]:
    """Import a file; the rows of the new version, by person."""
    changes = changes_of(name, path, data, annotator)
    revise(data, changes.edits, out, additions=changes.additions)
    return {row["sample_id"]: row for row in rows_of(out)}


# --- random people ----------------------------------------------------------------------------------------------------


@st.composite
def boxes(draw: Any) -> tuple[float, float, float, float]:
    """Head boxes: anywhere, across the seam, up to its very edge, and around either pole."""
    if draw(st.integers(0, 5)) == 0:
        reach = draw(st.floats(0.01, 0.4))
        u0 = draw(st.sampled_from([0.0, 0.0, 0.3]))
        return (u0, 0.0, u0 + 1.0, reach) if draw(st.booleans()) else (u0, 1.0 - reach, u0 + 1.0, 1.0)
    width = draw(st.floats(0.002, 0.3))
    u0 = draw(st.one_of(st.floats(0.0, 0.999), st.floats(1.0 - width, 0.9999), st.sampled_from([0.0, 1.0 - width])))
    height = draw(st.floats(0.002, 0.3))
    v0 = draw(st.one_of(st.floats(0.0, 1.0 - height), st.sampled_from([0.0, 1.0 - height])))
    return u0, v0, u0 + width, min(v0 + height, 1.0)


LON = st.one_of(st.floats(-180.0, 179.999999), st.sampled_from([-180.0, 179.9999999, 0.0, -0.0]))
LAT = st.one_of(st.floats(-90.0, 90.0), st.sampled_from([-90.0, 90.0, 0.0]))
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co")), max_size=8)


@st.composite
def labels(draw: Any) -> dict[str, Any]:
    """Labels of a person: many annotators or none, named or not, in or out of frame, asked for ambiguity or not."""
    points = [list(point) for point in draw(st.lists(st.tuples(LON, LAT), max_size=6))]
    names = draw(st.one_of(st.just([]), st.lists(NAMES, min_size=len(points), max_size=len(points))))
    return {
        "box": draw(boxes()),
        "points": points,
        "names": names if any(names) else [],
        "in_frame": draw(st.booleans()),
        "ambiguous": draw(st.sampled_from([None, True, False])),
    }


def rows_with(template: Row, people: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows of people with such labels, two a panorama."""
    rows = []
    for index, person in enumerate(people):
        box = np.array(person["box"]) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
        row = label(copy.deepcopy(template), box, person["points"], person["names"], person["in_frame"])
        panorama = f"{index // 2:016x}"
        row |= {"sample_id": f"{panorama}-{index:08x}", "panorama_id": panorama, "image_path": f"panoramas/test/{panorama}.png"}
        row |= dict(zip(("head_u0", "head_v0", "head_u1", "head_v1"), person["box"], strict=True))
        rows.append(row | {"ambiguous": person["ambiguous"]})
    return rows
