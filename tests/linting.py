"""A clean dataset built from a table of labels, and copies of it in which one thing is wrong and all else is made to fit."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from building import run_build
from photos import write_panoramas

from annotation.lint.run import Finding, lint
from builders.recipe import load_recipe
from srgaze360 import sphere
from srgaze360.dataset import ANNOTATIONS_FILE, MANIFEST_FILE, DatasetInfo, SplitInfo, read_info
from srgaze360.dataset_writer import write_dataset, write_info
from srgaze360.files import canonical_json, digest
from srgaze360.integrity import stored_label_digests
from srgaze360.protocols.breakdown import latitude_band

Rows = list[dict[str, Any]]
SUITES = ("mixed", "latitude", "seam", "pole", "lens", "background", "crowd", "rotated")
WIDTH = 256
NOTHING: Callable[[Any], object] = bool


def write_table(root: Path, photos: int = 10, panoramas: int = 4, seed: int = 0) -> None:
    """Photos with two people each, named annotators in test, every fourth target beyond the photo; and panoramas."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(photos + panoramas):
        whole = number >= photos
        width, height = (256, 128) if whole else ((160, 120), (120, 160), (150, 100))[number % 3]
        name, split = f"{number:03d}.png", "train" if number % 2 else "test"
        texture = cv2.resize(rng.uniform(20, 230, (9, 9, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        root.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.clip(texture, 0, 255).astype(np.uint8))
        focal = 140.0 if number == 1 else None  # a camera that the source knows
        for person in range(2):
            beyond = person == 1 and number % 4 == 2 and not whole
            centre = np.array([width * (0.25 + 0.45 * person), height * rng.uniform(0.2, 0.4)]) + rng.uniform(-3, 3, 2)
            half = np.array([0.06, 0.08]) * min(width, height) * rng.uniform(0.8, 1.2)
            target = np.array([width * 1.4 if beyond else width * rng.uniform(0.2, 0.8), height * rng.uniform(0.55, 0.85)])
            for annotator in "abcd" if split == "test" and not beyond else ("",):
                x, y = target + rng.normal(0.0, 2.0, 2)
                rows.append({
                    "image": name, "person": f"p{person}", "head_x0": centre[0] - half[0], "head_y0": centre[1] - half[1],
                    "head_x1": centre[0] + half[0], "head_y1": centre[1] + half[1], "gaze_x": x, "gaze_y": y,
                    "annotator": annotator, "in_frame": not beyond, "split": split,
                    "projection": "equirectangular" if whole else "perspective", "fx": focal, "fy": focal,
                    "cx": focal and width / 2, "cy": focal and height / 2,
                })  # fmt: skip
    with (root / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def build_clean(folder: Path) -> Path:
    """Build the clean dataset in a folder."""
    write_table(folder / "table")
    write_panoramas(folder / "panoramas", 5)
    settings = [f"output.width={WIDTH}", "output.format=png", "val_share=0"]
    settings += ["suites.background.vary.background=[black, panorama, photos]", "suites.lens.vary.lens=[pinhole, barrel]"]
    settings += [f"suites.{name}=null" for name in load_recipe("suites").suites if name not in SUITES]
    pairs = (f"table={folder / 'table'}", f"panoramas={folder / 'panoramas'}")
    run_build(folder / "clean", *pairs, settings=tuple(settings))
    return folder / "clean"


# --- planting ---------------------------------------------------------------------------------------------------------


def plant(
    clean: Path,
    out: Path,
    edit: Callable[[Rows], object] = NOTHING,
    *,
    table: Callable[[pa.Table], pa.Table] | None = None,
    entries: Callable[[list[dict[str, Any]]], object] = NOTHING,
    info: Callable[[dict[str, Any]], object] = NOTHING,
    files: Callable[[Path], object] = NOTHING,
    stale: bool = False,
) -> Path:
    """Copy a dataset with its rows edited; counts, digests and manifest follow, so that the fault planted is the only one.

    ``table`` edits the table after the rows, ``entries`` those of the manifest, ``info`` the record, ``files`` the folder.
    ``stale`` leaves the digests of labels as they were.
    """
    shutil.copytree(clean, out, ignore=shutil.ignore_patterns(".build"))
    rows: Rows = pq.read_table(clean / ANNOTATIONS_FILE).to_pylist()
    edit(rows)
    old = [json.loads(line) for line in (clean / MANIFEST_FILE).read_text().splitlines()]
    record = read_info(clean)
    write_dataset(out, record, rows)
    if table is not None:
        pq.write_table(table(pq.read_table(out / ANNOTATIONS_FILE)), out / ANNOTATIONS_FILE)
    by_id = {entry["panorama_id"]: entry for entry in old}
    made = []
    labels = {} if stale or table is not None else dict(stored_label_digests(out / ANNOTATIONS_FILE))
    for row in list({row["panorama_id"]: row for row in reversed(rows)}.values())[::-1]:
        like = by_id.get(row["panorama_id"]) or by_id[row["panorama_id"].partition("~")[0]]
        name = row["panorama_id"]
        made.append({**like, "panorama_id": name, "path": row["image_path"],
                     "label_digest": labels.get(name, like["label_digest"])})  # fmt: skip
        if not (out / row["image_path"]).exists() and ".." not in row["image_path"]:
            shutil.copy(clean / like["path"], out / row["image_path"])
    entries(made)
    (out / MANIFEST_FILE).write_text("".join(canonical_json(entry) + "\n" for entry in made))
    facts = record.model_dump()
    facts |= {what: digest(sorted(entry[what] for entry in made)) for what in ("label_digest", "pixel_digest")}
    facts["splits"] = {split: _split([row for row in rows if row["split"] == split]) for split in {r["split"] for r in rows}}
    info(facts)
    write_info(out, DatasetInfo.model_validate(facts))
    files(out)
    return out


def _split(rows: Rows) -> SplitInfo:
    panoramas = {row["panorama_id"] for row in rows}
    return SplitInfo(panoramas=len(panoramas), people=len(rows), clusters=sorted({row["cluster_id"] for row in rows}))


@cache
def _known(clean: Path, pixels: bool) -> set[tuple[str, str, str]]:
    return {(one.rule, one.sample_id, one.panorama_id) for one in lint(clean, pixels=pixels).findings}


def new_findings(clean: Path, planted: Path, *, pixels: bool = False) -> list[Finding]:
    """What lint says of a planted copy that it does not say of the clean dataset."""
    found = lint(planted, pixels=pixels).findings
    return [one for one in found if (one.rule, one.sample_id, one.panorama_id) not in _known(clean, pixels)]


# --- edits of rows ----------------------------------------------------------------------------------------------------


def pick(rows: Rows, **wanted: Any) -> dict[str, Any]:
    """The first row whose columns have the wanted values; a function decides for itself."""
    for row in rows:
        if all(value(row[name]) if callable(value) else row[name] == value for name, value in wanted.items()):
            return row
    raise AssertionError(f"no row with {wanted}")


def head(row: dict[str, Any]) -> np.ndarray:
    return direction(row["head_lon_deg"], row["head_lat_deg"])


def direction(lon_deg: float, lat_deg: float) -> np.ndarray:
    return sphere.direction_from_lonlat(np.radians(lon_deg), np.radians(lat_deg))


def axis(row: dict[str, Any]) -> np.ndarray:
    """Direction of a photo's optical axis."""
    angles = {name: np.radians(row[f"{name}_deg"]) for name in ("yaw", "pitch", "roll", "tilt_yaw", "tilt_pitch", "tilt_roll")}
    tilt = sphere.rotation_from_pose(angles["tilt_yaw"], angles["tilt_pitch"], angles["tilt_roll"])
    turn = tilt @ sphere.rotation_from_pose(angles["yaw"], angles["pitch"], angles["roll"])
    return np.asarray(turn[:, 2])


def set_points(row: dict[str, Any], points: np.ndarray) -> None:
    """Give a row other annotations (m, 3), and everything that follows from them."""
    row["gaze_points_deg"] = np.degrees(np.stack(sphere.lonlat_from_direction(points), axis=-1)).tolist()
    row["gaze_annotators"] = row["gaze_annotators"][: len(points)]
    if not len(points):
        row.update(gaze_lon_deg=None, gaze_lat_deg=None, gaze_band=None, crosses_seam=False)
        return
    gaze = sphere.spherical_mean(points).direction
    lon, lat = np.degrees(sphere.lonlat_from_direction(gaze))
    row.update(gaze_lon_deg=float(lon), gaze_lat_deg=float(lat), gaze_band=str(latitude_band(gaze[None])[0]))
    row["crosses_seam"] = bool(sphere.arc_crosses_seam(head(row), gaze))


def points_of(row: dict[str, Any]) -> np.ndarray:
    return np.array([direction(*point) for point in row["gaze_points_deg"]]).reshape(-1, 3)


def moved(row: dict[str, Any], by_deg: float = 0.3) -> np.ndarray:
    """A row's annotations, all a little to the side."""
    points = points_of(row)
    return sphere.exp_map(points, np.broadcast_to(np.radians([by_deg, by_deg]), (len(points), 2)))
