"""Every rule of lint finds the fault that is planted for it, in the row where it is planted, and no other fault anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import linting
import numpy as np
import pyarrow as pa
import pytest
from conftest import REPOSITORY
from linting import Rows, axis, direction, head, moved, new_findings, pick, plant, points_of, set_points

from annotation.lint.registry import rules
from annotation.lint.run import lint
from srgaze360 import sphere


@dataclass
class Planted:
    """A fault: what is edited, and where it must be found: ids, or nothing for the whole dataset."""

    rule: str
    where: str = ""
    evidence: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    pixels: bool = False


PLANTS: dict[str, Callable[[Rows], Planted]] = {}


def planted(plant: Callable[[Rows], Planted]) -> Callable[[Rows], Planted]:
    PLANTS[plant.__name__] = plant
    return plant


def at(row: dict[str, Any], rule: str, evidence: str = "", **options: Any) -> Planted:
    return Planted(rule, row["sample_id"], evidence, options)


def on(row: dict[str, Any], rule: str, evidence: str = "", pixels: bool = False, **options: Any) -> Planted:
    return Planted(rule, row["panorama_id"], evidence, options, pixels)


def everywhere(rule: str, evidence: str, **options: Any) -> Planted:
    return Planted(rule, "", evidence, options)


def mates(rows: Rows, row: dict[str, Any]) -> Rows:
    return [other for other in rows if other["panorama_id"] == row["panorama_id"]]


def upright(row: dict[str, Any]) -> bool:
    """Far from seam and poles, where a small change is one in a single thing."""
    far = max(abs(row["head_lon_deg"]), abs(row["gaze_lon_deg"] or 0.0)) < 120.0
    return far and row["head_u1"] < 0.95 and abs(row["head_lat_deg"]) < 25.0


def in_mixed(rows: Rows, **wanted: Any) -> dict[str, Any]:
    return next(row for row in rows if row["suite"] in ("mixed", "latitude", "lens") and upright(row)
                and all(row[name] == value for name, value in wanted.items()))  # fmt: skip


# --- structure --------------------------------------------------------------------------------------------------------


@planted
def a_column_is_missing(_: Rows) -> Planted:
    return everywhere("schema", "footprint: column is missing", table=lambda t: t.drop_columns(["footprint"]))


@planted
def a_column_has_another_type(_: Rows) -> Planted:
    def wider(table: pa.Table) -> pa.Table:
        return table.set_column(table.schema.get_field_index("width"), "width", table["width"].cast(pa.int64()))

    return everywhere("schema", "width: column is int64, not int32", table=wider)


@planted
def a_number_is_null(rows: Rows) -> Planted:
    def spoil(table: pa.Table) -> pa.Table:
        numbers = table["head_lon_deg"].to_pylist()
        numbers[7] = None
        index = table.schema.get_field_index("head_lon_deg")
        return table.set_column(index, "head_lon_deg", pa.array(numbers, pa.float64()))

    return at(rows[7], "unreadable-row", "head_lon_deg is null", table=spoil)


@planted
def a_number_is_infinite(rows: Rows) -> Planted:
    rows[9]["yaw_deg"] = float("inf")
    return at(rows[9], "unreadable-row", "yaw_deg is not a finite number", stale=True)


@planted
def an_annotation_has_three_numbers(rows: Rows) -> Planted:
    row = pick(rows, split="test", in_frame=True)
    row["gaze_points_deg"][1] = [1.0, 2.0, 3.0]
    return at(row, "unreadable-row", "gaze_points_deg holds what is no pair")


@planted
def half_a_consensus(rows: Rows) -> Planted:
    row = pick(rows, split="test", in_frame=True)
    row["gaze_lat_deg"] = None
    return at(row, "unreadable-row", "one of gaze_lon_deg and gaze_lat_deg is null")


@planted
def two_rows_have_one_id(rows: Rows) -> Planted:
    rows[1]["sample_id"] = rows[0]["sample_id"]
    return at(rows[0], "repeated-id", "2 rows have this id")


@planted
def a_path_leaves_the_folder(rows: Rows) -> Planted:
    row = pick(rows, suite="mixed", split="train")
    other = mates(rows, row)
    rows[:] = [one for one in rows if one not in other[1:]]
    row["image_path"] = "../secret.png"
    return at(row, "path", "'../secret.png'")


@planted
def a_split_is_mistyped(rows: Rows) -> Planted:
    row = pick(rows, suite="mixed", split="train")
    rows[:] = [one for one in rows if one not in mates(rows, row)[1:]]
    row["split"] = "tset"
    return at(row, "split", "'tset'")


@planted
def rows_of_a_panorama_disagree(rows: Rows) -> Planted:
    row = mates(rows, pick(rows, suite="mixed", split="test"))[1]
    row["photos"] = 2
    return at(row, "panorama", "photos is 2, in the panorama's first row 1")


@planted
def more_photos_than_said(rows: Rows) -> Planted:
    row = pick(rows, suite="crowd")
    for one in mates(rows, row):
        one["photos"] = 1
    return on(row, "panorama", "but photos is 1")


@planted
def the_record_counts_otherwise(_: Rows) -> Planted:
    def fewer(info: dict[str, Any]) -> None:
        info["splits"]["test"] = info["splits"]["test"].model_copy(update={"people": 3, "clusters": []})

    return everywhere("counts", "test: 154 people, not 3; other clusters than listed", info=fewer)


# --- units ------------------------------------------------------------------------------------------------------------


def scaled(rows: Rows, names: str, by: float = np.pi / 180.0) -> None:
    for row in rows:
        for name in names.split():
            if row[name] is not None:
                row[name] = row[name] * by


@planted
def heads_in_radians(rows: Rows) -> Planted:
    scaled(rows, "head_lon_deg head_lat_deg")
    return everywhere("units", "head_lon_deg, head_lat_deg: radians")


@planted
def heads_by_latitude_first(rows: Rows) -> Planted:
    for row in rows:
        row["head_lon_deg"], row["head_lat_deg"] = row["head_lat_deg"], row["head_lon_deg"]
    return everywhere("units", "head_lon_deg, head_lat_deg: latitude and longitude in each other's place")


@planted
def the_consensus_in_radians(rows: Rows) -> Planted:
    scaled(rows, "gaze_lon_deg gaze_lat_deg")
    return everywhere("units", "gaze_lon_deg, gaze_lat_deg: radians")


@planted
def annotations_in_radians(rows: Rows) -> Planted:
    for row in rows:
        row["gaze_points_deg"] = np.radians(np.array(row["gaze_points_deg"]).reshape(-1, 2)).tolist()
    return everywhere("units", "gaze_points_deg: radians")


@planted
def all_gaze_in_radians(rows: Rows) -> Planted:
    annotations_in_radians(rows)
    scaled(rows, "gaze_lon_deg gaze_lat_deg")
    return everywhere("units", "gaze_points_deg, gaze_lon_deg, gaze_lat_deg: radians")


@planted
def boxes_in_pixels(rows: Rows) -> Planted:
    scaled(rows, "head_u0 head_u1", linting.WIDTH)
    scaled(rows, "head_v0 head_v1", linting.WIDTH / 2)
    return everywhere("units", "head_u0, head_v0, head_u1, head_v1: pixels")


@planted
def poses_in_radians(rows: Rows) -> Planted:
    scaled(rows, "yaw_deg pitch_deg roll_deg tilt_pitch_deg tilt_roll_deg tilt_yaw_deg")
    return everywhere("units", "yaw_deg, pitch_deg, roll_deg, tilt_pitch_deg, tilt_roll_deg, tilt_yaw_deg: radians")


@planted
def fields_of_view_in_radians(rows: Rows) -> Planted:
    scaled(rows, "hfov_deg")
    return everywhere("units", "hfov_deg: radians")


@planted
def head_radii_in_radians(rows: Rows) -> Planted:
    scaled(rows, "head_radius_deg")
    return everywhere("units", "head_radius_deg: radians")


# --- heads ------------------------------------------------------------------------------------------------------------


@planted
def a_box_is_inverted(rows: Rows) -> Planted:
    row = in_mixed(rows)
    row["head_v0"], row["head_v1"] = row["head_v1"], row["head_v0"]
    return at(row, "head-box-inverted")


@planted
def a_box_across_the_seam_is_wrapped(rows: Rows) -> Planted:
    row = pick(rows, head_u1=lambda u1: u1 > 1.0, head_u0=lambda u0: u0 > 0.5)
    row["head_u1"] -= 1.0
    return at(row, "head-box-inverted", "with u1 + 1 it crosses the seam")


@planted
def a_box_is_empty(rows: Rows) -> Planted:
    row = in_mixed(rows)
    row["head_u1"] = row["head_u0"]
    return at(row, "head-box-empty")


@planted
def a_box_lies_outside(rows: Rows) -> Planted:
    row = in_mixed(rows)
    row["head_u0"], row["head_u1"] = row["head_u0"] - 1.0, row["head_u1"] - 1.0
    return at(row, "head-box-outside")


@planted
def a_seam_crossing_is_flattened(rows: Rows) -> Planted:
    row = pick(rows, head_u1=lambda u1: u1 > 1.0, head_u0=lambda u0: u0 > 0.5)
    row["head_u0"], row["head_u1"] = row["head_u1"] - 1.0, row["head_u0"]
    return at(row, "head-box-full-width", "sorted across the seam it would be 0.")


@planted
def a_box_holds_half_the_sphere(rows: Rows) -> Planted:
    row = in_mixed(rows)
    row.update(head_u0=0.0, head_v0=0.0, head_u1=1.0, head_v1=0.6)
    return at(row, "head-box-full-width")


@planted
def a_box_is_beside_its_head(rows: Rows) -> Planted:
    row = in_mixed(rows)
    width = row["head_u1"] - row["head_u0"]
    row["head_u0"], row["head_u1"] = row["head_u0"] + 1.2 * width, row["head_u1"] + 1.2 * width
    return at(row, "head-outside-box")


@planted
def a_head_is_enormous(rows: Rows) -> Planted:
    row = in_mixed(rows)
    row["head_radius_deg"] = 50.0
    return at(row, "head-size", "head_radius_deg is 50")


@planted
def a_radius_is_not_that_of_the_box(rows: Rows) -> Planted:
    row = in_mixed(rows)
    row["head_radius_deg"] *= 3.0
    return at(row, "head-radius")


@planted
def a_head_is_outside_its_photo(rows: Rows) -> Planted:
    row = in_mixed(rows, in_frame=False)
    row["head_lon_deg"] = row["head_lon_deg"] + (180.0 if row["head_lon_deg"] < 0 else -180.0)
    shift = 0.5 if row["head_u0"] < 0.5 else -0.5
    row["head_u0"], row["head_u1"] = row["head_u0"] + shift, row["head_u1"] + shift
    set_points(row, points_of(row))
    return at(row, "head-outside-photo", "the lens does not show that direction")


@planted
def a_person_is_there_twice(rows: Rows) -> Planted:
    row = in_mixed(rows)
    rows.insert(rows.index(row) + 1, {**row, "sample_id": row["sample_id"] + "-again"})
    return at(rows[rows.index(row) + 1], "repeated-person")


@planted
def two_people_have_one_head(rows: Rows) -> Planted:
    row = in_mixed(rows, in_frame=True)
    other = {**row, "sample_id": row["sample_id"] + "-other", "source_person": "other"}
    set_points(other, moved(row))
    rows.insert(rows.index(row) + 1, other)
    return at(other, "repeated-head", f"its head is that of {row['sample_id']}")


# --- gaze -------------------------------------------------------------------------------------------------------------


@planted
def a_longitude_is_beyond_its_range(rows: Rows) -> Planted:
    row = next(row for row in rows if any(lon < -170.0 for lon, _ in row["gaze_points_deg"]))
    for point in row["gaze_points_deg"]:
        point[0] = point[0] % 360.0 if point[0] < -170.0 else point[0]
    return at(row, "gaze-range", "|longitude| up to 18")


@planted
def a_consensus_is_off(rows: Rows) -> Planted:
    row = in_mixed(rows, in_frame=True)
    row["gaze_lon_deg"] += 0.01
    return at(row, "consensus", "deg from the mean of its")


@planted
def a_consensus_is_the_mean_of_longitudes(rows: Rows) -> Planted:
    """The mistake of averaging longitudes across the seam, on a row whose annotations lie on both sides of it."""
    row = pick(rows, suite="rotated")
    set_points(row, direction(np.array([170.0, 179.0, -175.0, -178.0]), np.array([5.0, 9.0, 2.0, 1.0])))
    lon, lat = np.mean(row["gaze_points_deg"], axis=0)
    row.update(gaze_lon_deg=float(lon), gaze_lat_deg=float(lat))
    row["crosses_seam"] = bool(sphere.arc_crosses_seam(head(row), direction(lon, lat)))
    return at(row, "consensus", "it is the mean of longitudes and of latitudes")


@planted
def a_consensus_is_missing(rows: Rows) -> Planted:
    row = in_mixed(rows, in_frame=True)
    row.update(gaze_lon_deg=None, gaze_lat_deg=None, gaze_band=None, crosses_seam=False)
    return at(row, "consensus-missing", "annotations, but no consensus")


@planted
def a_consensus_of_nothing(rows: Rows) -> Planted:
    row = in_mixed(rows, in_frame=False)
    row["gaze_points_deg"], row["gaze_annotators"] = [], []
    return at(row, "consensus-missing", "a consensus, but no annotation")


@planted
def an_annotator_is_missing(rows: Rows) -> Planted:
    row = in_mixed(rows, split="test", in_frame=True)
    row["gaze_annotators"] = row["gaze_annotators"][1:]
    return at(row, "annotators", "3 annotators, 4 annotations")


@planted
def an_annotator_annotates_twice(rows: Rows) -> Planted:
    row = in_mixed(rows, split="test", in_frame=True)
    row["gaze_annotators"] = ["a", "b", "b", "d"]
    return at(row, "annotator-twice", "'b' annotated more than once")


@planted
def a_gaze_is_in_its_own_head(rows: Rows) -> Planted:
    row = in_mixed(rows, split="test", in_frame=True)
    set_points(row, sphere.exp_map(head(row), np.radians([[0.1, 0.0], [0.0, 0.2], [-0.1, 0.1], [0.2, 0.2]])))
    return at(row, "gaze-in-own-head")


@planted
def annotations_are_those_of_somebody_else(rows: Rows) -> Planted:
    first, second = next(pair for row in rows if len(pair := mates(rows, row)) == 2 and all(one["in_frame"] for one in pair)
                         and row["split"] == "test" and row["suite"] == "latitude")  # fmt: skip
    set_points(second, points_of(first))
    return at(second, "copied-annotations", "its 4 annotations are those of")


@planted
def annotations_are_those_of_another_photo(rows: Rows) -> Planted:
    """The same fractions of two photos of one size, under other poses: nothing on the sphere is equal."""
    row = in_mixed(rows, suite="lens", condition="lens=pinhole", in_frame=True)
    others = (one for one in rows if one["condition"] == "lens=pinhole" and one["source_image"] > row["source_image"])
    other = next(one for one in others if one["camera"] == row["camera"] and one["in_frame"])
    poses = [np.radians([one["yaw_deg"], one["pitch_deg"], one["roll_deg"]]) for one in (row, other)]
    turns = [sphere.rotation_from_pose(*pose) for pose in poses]
    set_points(other, points_of(row) @ turns[0] @ turns[1].T)
    return at(other, "copied-annotations")


@planted
def a_gaze_is_that_of_somebody_else(rows: Rows) -> Planted:
    first, second = mates(rows, pick(rows, suite="mixed", split="train", in_frame=True))
    set_points(second, points_of(first))
    return at(second, "copied-gaze", f"its gaze is that of {first['sample_id']}")


@planted
def a_target_in_the_photo_has_no_annotation(rows: Rows) -> Planted:
    row = in_mixed(rows, in_frame=True)
    set_points(row, np.empty((0, 3)))
    return at(row, "in-frame-without-gaze")


@planted
def a_target_in_the_photo_is_outside_it(rows: Rows) -> Planted:
    row = in_mixed(rows, in_frame=True, split="test")
    points = points_of(row)
    points[2] = -axis(row)
    set_points(row, points)
    return at(row, "in-frame-outside-photo", "1 of 4 annotations: the lens does not show")


@planted
def a_target_beyond_the_photo_is_inside_it(rows: Rows) -> Planted:
    row = in_mixed(rows, in_frame=False)
    set_points(row, axis(row)[None])
    return at(row, "out-of-frame-inside-photo", "1 of 1 annotations lie inside")


@planted
def an_annotation_is_a_default(rows: Rows) -> Planted:
    row = pick(rows, suite="rotated")
    points = points_of(row)
    points[1] = [0.0, 0.0, 1.0]
    set_points(row, points)
    return at(row, "gaze-at-default", "exactly at the middle of the panorama")


@planted
def an_annotation_is_in_a_corner(rows: Rows) -> Planted:
    row = next(row for row in rows if row["condition"] == "lens=pinhole" and row["in_frame"] and upright(row))
    camera = linting.json.loads(row["camera"])
    corner = sphere.normalise([-camera["cx"] / camera["fx"], -camera["cy"] / camera["fy"], 1.0])
    turn = sphere.rotation_from_pose(*np.radians([row["yaw_deg"], row["pitch_deg"], row["roll_deg"]]))
    points = points_of(row)
    points[0] = turn @ corner
    set_points(row, points)
    return at(row, "gaze-at-default", "exactly in a corner of its photo")


# --- poses and conditions ---------------------------------------------------------------------------------------------


@planted
def a_field_of_view_is_not_the_cameras(rows: Rows) -> Planted:
    row = in_mixed(rows)
    row["hfov_deg"] += 1.0
    return at(row, "camera", "hfov_deg is")


@planted
def a_lens_is_not_the_cameras(rows: Rows) -> Planted:
    row = in_mixed(rows, lens="pinhole")
    row["lens"] = "equidistant"
    return at(row, "camera", "lens is 'equidistant', the camera's 'pinhole'")


@planted
def a_camera_cannot_be_read(rows: Rows) -> Planted:
    row = in_mixed(rows)
    row["camera"] = "{'lens': 'pinhole'}"
    return at(row, "camera", "camera is none: no JSON")


@planted
def a_seam_flag_is_wrong(rows: Rows) -> Planted:
    row = in_mixed(rows)
    row["crosses_seam"] = not row["crosses_seam"]
    return at(row, "seam-flag")


@planted
def a_pole_flag_is_wrong(rows: Rows) -> Planted:
    row = pick(rows, suite="pole")
    row["contains_pole"] = False
    return at(row, "pole-flag", "contains_pole is False, the photo's pose says True")


@planted
def a_pole_is_near_and_the_flag_says_no(rows: Rows) -> Planted:
    row = pick(rows, suite="pole")
    row["near_pole"] = False
    return at(row, "pole-flag", "near_pole is false, but a pole")


@planted
def a_band_is_wrong(rows: Rows) -> Planted:
    row = in_mixed(rows, head_band="0-30 deg")
    row["head_band"] = "60-90 deg"
    return at(row, "band", "head_band is '60-90 deg', its latitude says '0-30 deg'")


@planted
def a_condition_says_another_latitude(rows: Rows) -> Planted:
    row = pick(rows, condition="latitude=30")
    row["condition"] = "latitude=-30"
    return at(row, "condition", "latitude is 30, not -30")


@planted
def a_condition_says_another_pole(rows: Rows) -> Planted:
    row = pick(rows, condition="latitude=zenith")
    row["condition"] = "latitude=nadir"
    return at(row, "condition", "not nadir")


@planted
def a_condition_says_another_lens(rows: Rows) -> Planted:
    row = pick(rows, condition="lens=barrel")
    row["condition"] = "lens=pinhole"
    return at(row, "condition", "lens is brown-conrady (-0.12, 0.01, 0, 0, 0, 0, 0, 0), not pinhole")


@planted
def a_condition_says_another_background(rows: Rows) -> Planted:
    row = pick(rows, condition="background=black")
    row["condition"] = "background=photos"
    return at(row, "condition", "background is black, not photos")


@planted
def a_seam_condition_is_wrong(rows: Rows) -> Planted:
    row = pick(rows, condition="across")
    row["condition"] = "beside"
    return at(row, "condition", "condition is beside, crosses_seam True")


@planted
def a_suite_was_not_drawn_so(rows: Rows) -> Planted:
    row = pick(rows, suite="mixed", split="train")
    rows[:] = [one for one in rows if one not in mates(rows, row)[1:]]
    row["background"] = "purple"
    return at(row, "condition", "background is purple, not black or mean or mirrored")


# --- leakage ----------------------------------------------------------------------------------------------------------


def again(rows: Rows, row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A row on a panorama of its own, in the other split."""
    split = "test" if row["split"] == "train" else "train"
    name = row["panorama_id"] + "~again"
    other = {**row, "panorama_id": name, "sample_id": f"{name}-1", "image_path": f"panoramas/{split}/{name}.png"}
    other |= {"split": split, **changes}
    set_points(other, moved(row))
    rows.append(other)
    return other if split == "test" else row


def alone(rows: Rows) -> dict[str, Any]:
    """A person of train whose photo stands behind no others."""
    behind = {image for row in rows for image in row["background_images"]}
    return pick(rows, split="train", in_frame=True, source_image=lambda image: f"table/{image}" not in behind)


@planted
def a_panorama_is_in_two_splits(rows: Rows) -> Planted:
    row = mates(rows, alone(rows))[1]
    row["split"] = "test"
    return at(row, "panorama-in-two-splits", "is in test, and in train")


@planted
def a_person_is_in_two_splits(rows: Rows) -> Planted:
    return at(again(rows, alone(rows)), "person-in-two-splits", "person table/")


@planted
def a_photo_is_in_two_splits(rows: Rows) -> Planted:
    return at(again(rows, alone(rows), source_person="somebody"), "photo-in-two-splits", "photo table/")


@planted
def a_cluster_is_in_two_splits(rows: Rows) -> Planted:
    return at(again(rows, alone(rows), source_image="another.png"), "cluster-in-two-splits", "cluster table/")


@planted
def a_background_is_in_two_splits(rows: Rows) -> Planted:
    used = pick(rows, split="test", background="panorama")["background_images"]
    row = pick(rows, split="train")
    for one in mates(rows, row):
        one["background_images"] = used
    first = next(one for one in rows if one["split"] == "test" and used[0] in one["background_images"])
    return on(first, "background-in-two-splits", f"{used[0]} is in test, and in train")


@planted
def pixels_are_in_two_splits(rows: Rows) -> Planted:
    train, test = pick(rows, split="train"), pick(rows, split="test")

    def equal(entries: list[dict[str, Any]]) -> None:
        by_id = {entry["panorama_id"]: entry for entry in entries}
        by_id[test["panorama_id"]]["pixel_digest"] = by_id[train["panorama_id"]]["pixel_digest"]

    return on(test, "pixels-in-two-splits", f"are those of {train['panorama_id']} in train", entries=equal)


# --- files and pixels -------------------------------------------------------------------------------------------------


@planted
def the_manifest_misses_a_panorama(rows: Rows) -> Planted:
    return on(rows[0], "manifest", "does not list it", entries=lambda entries: entries.pop(0))


@planted
def the_manifest_has_a_panorama_elsewhere(rows: Rows) -> Planted:
    return on(rows[0], "manifest", "has it at 'x.png'", entries=lambda entries: entries[0].update(path="x.png"))


@planted
def the_manifest_has_another_panorama(rows: Rows) -> Planted:
    gone = mates(rows, rows[0])

    def keep(entries: list[dict[str, Any]]) -> None:
        entries.append({**entries[0], "panorama_id": gone[0]["panorama_id"]})

    rows[:] = [row for row in rows if row not in gone]
    return everywhere("manifest", "1 panoramas of manifest.jsonl have no people", entries=keep)


@planted
def the_record_has_another_digest(_: Rows) -> Planted:
    return everywhere("manifest", "label_digest of dataset.yaml", info=lambda info: info.update(label_digest="0" * 64))


@planted
def labels_changed_after_the_build(rows: Rows) -> Planted:
    row = in_mixed(rows, in_frame=True)
    row["gaze_lon_deg"] += 2e-6
    return on(row, "labels-changed", "in manifest.jsonl", stale=True)


@planted
def a_panorama_is_missing(rows: Rows) -> Planted:
    row = rows[0]
    return on(row, "image-missing", "no file", files=lambda out: (out / row["image_path"]).unlink())


@planted
def two_panoramas_share_a_file(rows: Rows) -> Planted:
    first, second = rows[0], next(row for row in rows if row["panorama_id"] != rows[0]["panorama_id"])
    for one in mates(rows, second):
        one["image_path"] = first["image_path"]
    return on(second, "image-shared")


@planted
def a_panorama_is_not_said_to_be_twice_as_wide(rows: Rows) -> Planted:
    for one in mates(rows, rows[0]):
        one["height"] = 200
    return on(rows[0], "size", "width 256, height 200")


def with_image(rows: Rows, rule: str, change: Callable[[np.ndarray], np.ndarray], evidence: str) -> Planted:
    row = rows[0]

    def spoil(out: Path) -> None:
        path = str(out / row["image_path"])
        cv2.imwrite(path, change(cv2.imread(path)))

    return on(row, rule, evidence, pixels=True, files=spoil)


@planted
def a_panorama_is_truncated(rows: Rows) -> Planted:
    def cut(out: Path) -> None:
        path = out / rows[0]["image_path"]
        path.write_bytes(path.read_bytes()[:-200])

    return on(rows[0], "image-unreadable", "panorama is truncated", pixels=True, files=cut)


@planted
def a_panorama_claims_to_be_immense(rows: Rows) -> Planted:
    """Only the header says so: it is not decoded."""

    def claim(out: Path) -> None:
        path = out / rows[0]["image_path"]
        content = bytearray(path.read_bytes())
        content[16:24] = (60_000).to_bytes(4) + (30_000).to_bytes(4)
        path.write_bytes(content)

    return on(rows[0], "image-size", "60000 x 30000 pixels, by its labels 256 x 128", pixels=True, files=claim)


@planted
def a_panorama_is_cropped(rows: Rows) -> Planted:
    return with_image(rows, "image-shape", lambda image: image[:100], "256 x 100 pixels")


@planted
def a_panorama_is_smaller(rows: Rows) -> Planted:
    return with_image(rows, "image-size", lambda image: cv2.resize(image, (128, 64)), "128 x 64 pixels")


@planted
def a_panorama_is_mirrored(rows: Rows) -> Planted:
    return with_image(rows, "pixels-changed", lambda image: image[:, ::-1], "in the manifest")


# --- the tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_found_and_nothing_else(name: str, clean: Path, tmp_path: Path) -> None:
    wanted: Planted | None = None
    rows: Rows = linting.pq.read_table(clean / linting.ANNOTATIONS_FILE).to_pylist()
    wanted = PLANTS[name](rows)
    options = {"stale": False, **wanted.options}
    out = plant(clean, tmp_path / "planted", lambda kept: kept.__setitem__(slice(None), rows), **options)
    found = new_findings(clean, out, pixels=wanted.pixels)
    assert [one.rule for one in found] == [wanted.rule], found
    assert (found[0].sample_id or found[0].panorama_id) == wanted.where
    assert wanted.evidence in found[0].evidence, found[0].evidence


def test_the_clean_dataset_is_clean(clean: Path) -> None:
    report = lint(clean, pixels=True)
    assert report.findings == [], report.table().to_string()
    assert report.not_run == {}
    assert set(report.run) == set(rules())


def test_every_rule_is_planted_and_documented() -> None:
    rows_of: dict[str, int] = {}
    text = (REPOSITORY / "tests" / "test_lint.py").read_text() + (REPOSITORY / "tests" / "test_lint_pixels.py").read_text()
    for name in rules():
        rows_of[name] = text.count(f'"{name}"')
    assert not [name for name, count in rows_of.items() if not count]
    page = (REPOSITORY / "docs" / "annotation" / "lint.md").read_text(encoding="utf-8")
    for name, rule in rules().items():
        line = f"| `{name}` | {rule.severity}{', `--pixels`' if rule.pixels else ''} | {rule.expected} |"
        assert line in page, f"docs/annotation/lint.md does not say {line}"
        assert rule.fix.endswith("."), f"{name} does not say what to do"
