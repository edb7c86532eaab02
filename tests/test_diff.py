"""Comparing built datasets: planted differences are found, at their level, with their size; nothing else is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import fake_dataset
from photos import write_gazefollow
from test_build import run_build

from builders.publish_commands import diff as diff_command
from builders.publishing.diff import diff, grey_levels
from builders.publishing.export.base import plain
from srgaze360 import sphere
from srgaze360.dataset import COLUMNS, Dataset, DatasetInfo, panorama_label_digest
from srgaze360.dataset_writer import write_dataset
from srgaze360.errors import CheckFailed, InputError
from srgaze360.files import canonical_json, digest_file
from srgaze360.images import encode_image, read_panorama
from srgaze360.integrity import pixel_digest

Rows = list[dict[str, Any]]


def rows_of(root: Path) -> Rows:
    records = Dataset.open(root).annotations.to_dict("records")
    return [{str(name): plain(value) for name, value in row.items()} for row in records]


def rewrite(root: Path, rows: Rows, **info: Any) -> None:
    """Write rows and record anew, and the manifest that a build would have written with them."""
    kept = Dataset.open(root).info.model_dump() | info
    write_dataset(root, DatasetInfo(**kept), rows)
    entries = []
    for name in dict.fromkeys(row["panorama_id"] for row in rows):
        own = [row for row in rows if row["panorama_id"] == name]
        path = root / own[0]["image_path"]
        labels = panorama_label_digest([{key: row[key] for key in COLUMNS} for row in own])
        entries.append(
            {
                "path": own[0]["image_path"],
                "bytes": path.stat().st_size,
                "sha256": digest_file(path),
                "panorama_id": name,
                "label_digest": labels,
                "pixel_digest": pixel_digest(path.read_bytes()),
            }
        )
    (root / "manifest.jsonl").write_text("".join(canonical_json(entry) + "\n" for entry in entries), encoding="utf-8")


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal datasets of 24 panoramas and 48 people."""
    fake_dataset(tmp_path / "a", people=12, images=True)
    rewrite(tmp_path / "a", rows_of(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    return tmp_path / "a", tmp_path / "b"


def test_equal_datasets_are_equal(twins: tuple[Path, Path]) -> None:
    report = diff(*twins)
    assert (report.levels, report.matched, report.matched_by) == ([], 24, "id")
    assert report.to_dict()["equal"] is True
    assert "equal; 24 panoramas" in report.to_text()


def test_a_gaze_moved_by_half_a_degree_is_found_with_its_size(twins: tuple[Path, Path]) -> None:
    rows = rows_of(twins[1])
    row = next(row for row in rows if row["gaze_lon_deg"] is not None and row["split"] == "test")
    start = sphere.direction_from_lonlat(*np.radians([row["gaze_lon_deg"], row["gaze_lat_deg"]]))
    lonlat = sphere.lonlat_from_direction(sphere.exp_map(start, np.radians([0.3, 0.4])))
    row["gaze_lon_deg"], row["gaze_lat_deg"] = (float(np.degrees(angle)) for angle in lonlat)
    row["background"] = "blur"
    row["yaw_deg"] = round(row["yaw_deg"], 6)  # the digest rounds too: no difference
    rewrite(twins[1], rows)
    report = diff(*twins)
    assert report.levels == ["labels"]
    assert report.labels.samples.first == (row["sample_id"],)
    assert report.labels.panoramas.first == (row["panorama_id"],)
    assert report.labels.columns == {"gaze_lon_deg": 1, "gaze_lat_deg": 1, "background": 1}
    assert report.labels.moved_deg == {"head": 0.0, "gaze": pytest.approx(0.5, abs=1e-5), "annotation": 0.0}
    assert "differ first at the level of labels" in report.to_text()


def test_what_the_label_digest_rounds_away_is_no_difference(twins: tuple[Path, Path]) -> None:
    rows = rows_of(twins[1])
    for row in rows:
        row["head_radius_deg"] = round(row["head_radius_deg"], 6) + 1e-9
    rewrite(twins[1], rows)
    assert diff(*twins).levels == []


def test_points_gained_and_moved_are_found(twins: tuple[Path, Path]) -> None:
    rows = rows_of(twins[1])
    known = [row for row in rows if row["gaze_points_deg"]]
    known[0]["gaze_points_deg"][2][1] += 2.0  # along the meridian: two degrees
    known[1]["gaze_points_deg"].append([0.0, 0.0])
    rewrite(twins[1], rows)
    labels = diff(*twins).labels
    assert (labels.samples.count, labels.columns) == (2, {"gaze_points_deg": 2})
    assert labels.moved_deg["annotation"] == pytest.approx(2.0, abs=1e-5)


def test_rows_and_panoramas_of_one_side_are_named(twins: tuple[Path, Path]) -> None:
    rows = rows_of(twins[1])
    gone = rows[0]["panorama_id"]
    lost = rows[5]["sample_id"]
    rewrite(twins[1], [row for row in rows if row["panorama_id"] != gone and row["sample_id"] != lost])
    report = diff(*twins)
    assert (report.only_a.first, report.only_b.count) == ((gone,), 0)
    assert (report.labels.samples_only_a.first, report.labels.samples_only_b.count) == ((lost,), 0)
    assert report.levels == ["labels"]
    turned = diff(twins[1], twins[0])
    assert (turned.only_b.first, turned.labels.samples_only_b.first) == ((gone,), (lost,))


def change_pixels(root: Path, number: int, change: Callable[[np.ndarray], np.ndarray]) -> str:
    """Change a panorama, losslessly (decoders go by content, not by name)."""
    row = rows_of(root)[number]
    path = root / row["image_path"]
    path.write_bytes(encode_image(change(read_panorama(path)), ".png"))
    return str(row["panorama_id"])


def test_grey_levels_are_measured(twins: tuple[Path, Path]) -> None:
    def patch(image: np.ndarray) -> np.ndarray:
        image = np.clip(image, 0, 200)
        image[10:15, 20:30] += 7
        return image

    name = change_pixels(twins[0], 4, lambda image: np.clip(image, 0, 200))
    change_pixels(twins[1], 4, patch)
    for root in twins:
        rewrite(root, rows_of(root))
    report = diff(*twins)
    assert report.levels == ["pixels"]
    share = 50 / (64 * 128)
    assert report.pixels.worst == ((name, 7, pytest.approx(7 * share), pytest.approx(share)),)
    assert (report.pixels.maximum, report.pixels.measured, report.pixels.same_bytes) == (7, 1, 0)
    unmeasured = diff(*twins, pixels=False).pixels
    assert (unmeasured.panoramas.first, unmeasured.measured) == ((name,), 0)


def test_one_channel_is_enough_and_other_sizes_are_told_apart() -> None:
    one = np.zeros((4, 8, 3), dtype=np.uint8)
    other = one.copy()
    other[0, 0, 1] = 255
    assert grey_levels(one, other) == (255, pytest.approx(255 / 96), pytest.approx(1 / 32))
    assert grey_levels(one, np.zeros((8, 16, 3), dtype=np.uint8)) is None


def test_another_size_is_no_measurement(twins: tuple[Path, Path]) -> None:
    name = change_pixels(twins[1], 0, lambda image: image[::2, ::2])
    rewrite(twins[1], rows_of(twins[1]))
    pixels = diff(*twins).pixels
    assert (pixels.other_size.first, pixels.measured, pixels.panoramas.count) == ((name,), 0, 1)


def test_the_same_file_decoded_differently_is_called_that(twins: tuple[Path, Path]) -> None:
    lines = [json.loads(line) for line in (twins[1] / "manifest.jsonl").read_text().splitlines()]
    lines[3]["pixel_digest"] = "0" * 64
    (twins[1] / "manifest.jsonl").write_text("".join(canonical_json(line) + "\n" for line in lines))
    pixels = diff(*twins).pixels
    assert (pixels.panoramas.count, pixels.same_bytes, pixels.maximum) == (1, 1, 0)


def test_without_shared_ids_panoramas_are_matched_by_place(twins: tuple[Path, Path]) -> None:
    rows = rows_of(twins[1])
    for row in rows:
        row["panorama_id"], row["sample_id"] = "x" + row["panorama_id"], "x" + row["sample_id"]
    rows[7]["yaw_deg"] += 1.0
    rewrite(twins[1], rows, recipe_digest="1" * 64, recipe={"output": {"width": 256}, "seed": 1})
    rewrite(twins[0], rows_of(twins[0]), recipe={"output": {"width": 128, "format": "png"}, "seed": 1})
    report = diff(*twins)
    assert (report.matched_by, report.matched, report.only_a.count) == ("place", 24, 0)
    assert report.levels == ["recipe", "labels"]
    assert report.recipe == {"output.width": (128, 256), "output.format": ("png", "absent")}
    assert report.labels.columns == {"yaw_deg": 1}
    assert report.labels.samples.first == (rows[7]["sample_id"][1:],)
    assert report.labels.panoramas.first == (rows[7]["panorama_id"][1:],)


def test_versions_are_told_but_make_no_difference(twins: tuple[Path, Path]) -> None:
    rewrite(twins[1], rows_of(twins[1]), versions={"numpy": "9"}, name="other")
    report = diff(*twins)
    assert report.levels == []
    assert report.remarks == {"name": ("fake", "other"), "versions.numpy": ("absent", "9")}
    assert "not a difference by itself" in report.to_text()


def test_a_folder_that_is_no_dataset_is_refused(twins: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a built dataset in"):
        diff(twins[0], tmp_path / "nowhere")


def test_the_command_ends_with_1_where_something_differs(twins: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    diff_command(*twins, json=True)
    assert json.loads(capsys.readouterr().out)["equal"] is True
    rewrite(twins[1], rows_of(twins[1])[:-2])
    with pytest.raises(CheckFailed, match="differ, first at the level of labels"):
        diff_command(*twins)
    assert "panoramas only in A: 1" in capsys.readouterr().out


def test_builds_with_another_jpeg_quality_differ_in_recipe_and_pixels_only(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=3, scale=4)
    small = ("output.width=256", "output.format=jpeg", "suites.mixed.draw.background=black")
    for name, quality in (("a", 95), ("again", 95), ("b", 60)):
        settings = (*small, f"output.quality={quality}")
        run_build(tmp_path / name, f"gazefollow={tmp_path / 'gf'}", recipe="mixed", settings=settings)
    assert diff(tmp_path / "a", tmp_path / "again").levels == []
    report = diff(tmp_path / "a", tmp_path / "b")
    assert (report.levels, report.matched_by, report.matched) == (["recipe", "pixels"], "place", 3)
    assert report.recipe == {"output.quality": (95, 60)}
    assert report.labels.columns == {}
    assert 0.0 < report.pixels.mean < 4.0
