"""What lint is made of: cameras of many rows, thumbnails of photos, perceptual hashes; and the command that shows it all."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import linting
import numpy as np
import pyarrow.parquet as pq
import pytest
from building import run_build, run_command

from annotation.cameras import Cameras
from annotation.lint.conditions import expected
from annotation.lint.labels import Labels
from annotation.lint.pixels import look_alikes, perceptual_hashes
from annotation.lint.run import COLUMNS, lint
from builders.recipe import load_recipe
from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.files import canonical_json
from srgaze360.lenses import LENSES

# --- cameras ----------------------------------------------------------------------------------------------------------


def some_cameras() -> list[Camera]:
    params = {"brown-conrady": (-0.1, 0.02, 0.001, -0.002), "kannala-brandt": (-0.02, 0.004), "ucm": (0.8,)}
    made = [
        Camera(name, 640, 480, 300.0 + place, 310.0, 325.0, 236.0, params.get(name, ()))
        for place, name in enumerate(name for name in LENSES if name != "equirectangular")
    ]
    return [*made, Camera.equirectangular(512), Camera("pinhole", 480, 640, 500.0, 500.0, 240.0, 320.0)]


def test_cameras_of_rows_agree_with_each_camera_alone() -> None:
    known = some_cameras()
    rng = np.random.default_rng(0)
    index = rng.integers(0, len(known), 400)
    cameras = Cameras([canonical_json(known[i].to_dict()) for i in index])
    rows = np.arange(400)
    directions = rng.normal(size=(400, 3))
    pixels = rng.uniform(-100, 700, (400, 2))
    projected, lifted, beyond = cameras.project(rows, directions), cameras.rays(rows, pixels), cameras.beyond(rows, pixels)
    across, longer = cameras.fields_of_view()
    for row, camera in enumerate(known[i] for i in index):
        one = camera.project(directions[row])
        assert projected.valid[row] == one.valid
        np.testing.assert_allclose(projected.pixels[row], one.pixels, atol=1e-9)
        np.testing.assert_allclose(lifted.directions[row], camera.rays(pixels[row]).directions, atol=1e-12)
        assert (beyond[row] == 0.0) == camera.contains(pixels[row])
        np.testing.assert_allclose(across[row], camera.hfov, atol=1e-12)
        np.testing.assert_allclose(longer[row], camera.hfov if camera.width >= camera.height else camera.vfov, atol=1e-12)
        assert cameras.is_panorama()[row] == camera.is_panorama


def test_texts_that_are_no_camera_have_none() -> None:
    good = canonical_json(some_cameras()[0].to_dict())
    cameras = Cameras(["{", good, '{"lens": "pinhole"}', good, "[1]", "null"])
    assert cameras.known().tolist() == [False, True, False, True, False, False]
    assert {cameras.distinct[place] for place in cameras.faults} == {None}
    assert "missing: width, height" in cameras.faults[2]
    assert np.isnan(cameras.project(np.arange(6), np.tile([0.0, 0.0, 1.0], (6, 1))).pixels[[0, 2, 4, 5]]).all()
    assert np.isinf(cameras.beyond(np.array([0]), np.array([[1.0, 1.0]]))).all()


# --- conditions -------------------------------------------------------------------------------------------------------


def test_what_conditions_ask_for_is_read_from_name_and_recipe() -> None:
    recipe = load_recipe("suites").model_dump(mode="json")
    latitude = expected(recipe, "latitude", "latitude=-60")
    assert latitude["latitude_deg"] == [-60.0]
    assert latitude["roll_deg"] == [0.0]
    assert "lens" not in latitude
    assert "fov_deg" not in latitude  # the lens may be the photo's own
    mixed = expected(recipe, "mixed", "mixed")
    assert mixed["fov_deg"] == [(40.0, 60.0), (60.0, 80.0), (80.0, 100.0)]
    assert ("ucm", (0.8,)) in mixed["lens"]
    assert expected(recipe, "fov", "fov=80")["fov_deg"] == [80.0]
    assert expected(recipe, "pole", "latitude=zenith")["latitude_deg"] == ["zenith"]
    crowd = expected(recipe, "crowd", "crowd")
    assert "latitude_deg" not in crowd  # changed where there was no room
    assert "longitude_deg" not in crowd
    assert expected({}, "any", "roll=15,tilt_yaw=270") == {"roll_deg": [15.0], "tilt_yaw_deg": [270.0]}
    assert expected({"suites": 3}, "any", "my own words, and=more") == {}


# --- photos that look alike -------------------------------------------------------------------------------------------


def picture(seed: int, size: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rough = cv2.resize(rng.uniform(20, 220, (7, 7)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(rough, 0, 255).astype(np.uint8)


def test_perceptual_hashes_follow_their_definition() -> None:
    """Against a slow transform written out: the coefficients' sums of cosines."""
    image = picture(3).astype(np.float64)
    scale = np.where(np.arange(8) == 0, 0.5, 1.0) ** 0.5
    wave = scale[:, None] * np.cos(np.pi * (2 * np.arange(32)[None] + 1) * np.arange(8)[:, None] / 64)
    low = (wave @ image @ wave.T).ravel()
    np.testing.assert_array_equal(perceptual_hashes(picture(3)[None])[0], low > np.median(low))


def test_pictures_that_look_alike_are_told_from_others() -> None:
    originals = np.stack([picture(seed) for seed in range(60)])
    rng = np.random.default_rng(1)
    copies = np.clip(originals[[5, 17, 40]] * 0.8 + 20 + rng.normal(0, 2, (3, 32, 32)), 0, 255).astype(np.uint8)
    found = look_alikes(copies, originals)
    assert [(a, b) for a, b, _, _ in found] == [(0, 5), (1, 17), (2, 40)]
    assert all(bits <= 10 and correlation > 0.98 for _, _, bits, correlation in found)
    assert look_alikes(copies[:, :, ::-1], originals) == []  # mirrored: not found, and said so
    assert look_alikes(copies[:0], originals) == []


def test_a_photo_looks_the_same_under_every_condition(clean: Path) -> None:
    labels = Labels.open(clean)
    photo = labels.codes("source", "source_image")
    seen = {row: picture for one in labels.panoramas for row, picture in one.thumbnails.items()}
    rows = np.array(sorted(seen))
    stack = np.stack([seen[row] for row in rows])
    flat = stack.reshape(len(rows), -1).astype(float)
    alike = np.corrcoef(flat)
    same = photo[rows][:, None] == photo[rows][None]
    assert alike[same].min() > 0.95
    assert alike[~same].max() < 0.9


def test_a_photo_stored_twice_leaks(tmp_path: Path) -> None:
    """The same photo in train and, half as large and as another file, in test, under other conditions."""
    linting.write_table(tmp_path / "table", photos=8, panoramas=0)
    twin = cv2.imread(str(tmp_path / "table" / "003.png"))
    with (tmp_path / "table" / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for row in [row for row in rows if row["image"] == "003.png"]:
        half = {name: float(row[name]) / 2 + 0.1 for name in row if name.startswith(("head_", "gaze_"))}  # drawn anew
        rows.append({**row, **half, "image": "twin.jpg", "split": "test"})
    cv2.imwrite(str(tmp_path / "table" / "twin.jpg"), cv2.resize(twin, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    with (tmp_path / "table" / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    settings = ("output.width=512", "output.format=jpeg", "val_share=0", "suites.mixed.draw.background=black")
    run_build(tmp_path / "out", f"table={tmp_path / 'table'}", recipe="mixed", settings=settings)
    assert lint(tmp_path / "out").findings == []
    found = lint(tmp_path / "out", pixels=True).findings
    assert [one.rule for one in found] == ["photo-look-alike"]
    assert "twin.jpg (test) looks like 003.png (train)" in found[0].evidence


# --- the command ------------------------------------------------------------------------------------------------------


def with_faults(rows: linting.Rows) -> None:
    for row in rows[:5]:
        row["head_radius_deg"] = 60.0
    row = linting.pick(rows, split="test", in_frame=True)
    row["gaze_annotators"] = ["a", "a", "b", "c"]


def test_the_command_shows_findings_and_fails(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = linting.plant(clean, tmp_path / "planted", with_faults)
    ran = run_command(capsys, "annotate", "lint", str(out), "--csv", str(tmp_path / "found.csv"))
    assert ran.code == 1
    assert "5 errors, 1 warnings" in ran.out
    assert "error head-size (5)" in ran.out
    assert "… and 2 more" in ran.out
    assert "To do: Draw the box again" in ran.out
    assert "warning annotator-twice (1)" in ran.out
    assert "rules open the panoramas and were not run: give --pixels" in ran.out
    assert "5 errors in the labels of" in ran.err
    with (tmp_path / "found.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["rule"] for row in rows] == ["head-size"] * 5 + ["annotator-twice"]
    told = json.loads(run_command(capsys, "annotate", "lint", str(out), "--json").out)
    assert (told["errors"], told["warnings"], len(told["findings"])) == (5, 1, 6)
    assert told["findings"][0]["sample_id"] == rows[0]["sample_id"]


def test_warnings_alone_do_not_fail_and_rules_can_be_chosen(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = linting.plant(clean, tmp_path / "planted", with_faults)
    assert run_command(capsys, "annotate", "lint", str(out), "--skip", "head-size").code == 0
    ran = run_command(capsys, "annotate", "lint", str(out), "--only", "consensus", "--only", "band")
    assert (ran.code, "2 rules: 0 errors" in ran.out) == (0, True)
    ran = run_command(capsys, "annotate", "lint", str(out), "--only", "consensis")
    assert (ran.code, "Unknown rule 'consensis'. Did you mean 'consensus'?" in ran.err) == (2, True)


def in_radians(rows: linting.Rows) -> None:
    for row in rows:
        row.update({name: float(np.radians(row[name])) for name in ("head_lon_deg", "head_lat_deg")})


def test_rules_that_cannot_look_say_so(clean: Path, tmp_path: Path) -> None:
    report = lint(linting.plant(clean, tmp_path / "planted", in_radians))
    assert [one.rule for one in report.findings] == ["units"]
    assert report.not_run["head-outside-box"] == "needs head_lat_deg, head_lon_deg (units)"
    assert "consensus" in report.run


def test_what_is_no_dataset_is_refused(clean: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Expected a built dataset in .* but it has no dataset.yaml"):
        lint(tmp_path)
    shutil.copy(clean / "dataset.yaml", tmp_path)
    with pytest.raises(InputError, match=r"annotations.parquet, but there is no such file"):
        lint(tmp_path)
    (tmp_path / "annotations.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"Expected a Parquet file at .* cannot be read"):
        lint(tmp_path)
    pq.write_table(pq.read_table(clean / "annotations.parquet").drop_columns(["sample_id"]), tmp_path / "annotations.parquet")
    with pytest.raises(InputError, match="Expected the columns sample_id and panorama_id"):
        lint(tmp_path)


def test_real_builds_have_no_errors(real: Path, tmp_path: Path) -> None:
    kinds = {"gazefollow": "gazefollow", "videoattentiontarget": "videoattentiontarget", "goo": "goosynth"}
    for kind, folder in kinds.items():
        settings = ("output.width=512", "suites.mixed.draw.background=black")
        run_build(tmp_path / kind, f"{kind}={real / folder}", recipe="mixed", settings=settings, limit=8)
        report = lint(tmp_path / kind, pixels=True)
        assert report.people >= 8
        assert report.count("error") == 0, report.table().to_string()
