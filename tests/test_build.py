"""Builds, end to end: labels lie on the pixels, digests do not depend on workers or kills, bad input has its outcome."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photos import write_gazefollow, write_panoramas, write_photo
from scipy.spatial.transform import Rotation

from builders.commands import open_sources
from builders.pipeline import BuildReport, build, plan_build
from builders.recipe import load_recipe
from builders.verify import verify
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError

SMALL = ("output.width=512", "output.format=png")
PLAIN = (*SMALL, "suites.mixed.draw.background=black")


def run_build(
    out: Path, *pairs: str, recipe: str = "suites", settings: tuple[str, ...] = PLAIN, workers: int = 1, **rest: Any
) -> BuildReport:
    loaded = load_recipe(recipe, settings)
    gaze, background = open_sources(pairs, loaded.sources)
    plan = plan_build(loaded, gaze, background, rest.pop("limit", None))
    return build(plan, loaded, gaze, background, out, workers=workers, **rest)


def rejected(out: Path) -> list[dict[str, str]]:
    with (out / "rejected.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


# --- exactness --------------------------------------------------------------------------------------------------------


def dot_direction(panorama: np.ndarray) -> sphere.FloatArray:
    """Centre of gravity, on the sphere, of the pixels whose colour is not grey."""
    colour = panorama.astype(np.float64)
    saturation = (colour[..., 0] + colour[..., 2]) / 2.0 - colour[..., 1]
    # a blurred extension may carry a tinge of the dot's colour; a third of the strongest is far above it
    saturation = np.clip(saturation - saturation.max() / 3.0, 0.0, None)
    height, width = saturation.shape
    weight = saturation * sphere.cell_solid_angles(width, height)
    assert weight.sum() > 0.0, "the dot is not on the panorama"
    return sphere.spherical_mean(sphere.cell_directions(width, height).reshape(-1, 3), weight.reshape(-1)).direction


def test_the_planted_dot_is_under_the_label_in_every_condition(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=9)
    write_panoramas(tmp_path / "pano")
    settings = ("output.width=1024", "output.format=png")
    run_build(tmp_path / "out", f"gazefollow={tmp_path / 'gf'}", f"panoramas={tmp_path / 'pano'}", settings=settings)
    data = Dataset.open(tmp_path / "out")
    assert set(data.suites) == {"mixed", "canonical", "fov", "latitude", "seam", "roll"}
    assert len(data) == 9 * (1 + 1 + 4 + 5 + 1 + 5)
    pixel = sphere.TWO_PI / 1024
    worst: dict[str, float] = {}
    for sample in data.samples():
        assert sample.gaze is not None
        found = dot_direction(sample.panorama())
        key = f"{sample.row['suite']}/{sample.row['condition']}"
        worst[key] = max(worst.get(key, 0.0), float(sphere.angle_between(found, sample.gaze)) / pixel)
    assert len(worst) == 1 + 1 + 4 + 5 + 1 + 5
    assert set(data.annotations["background"]) == {"black", "blur", "panorama"}
    assert max(worst.values()) < 1.0, worst
    # the bound above is the promise; a dot is found to a fraction of a pixel, so a shift by half a pixel must not hide in it
    assert float(np.median(list(worst.values()))) < 0.35, worst


def test_labels_and_flags_of_every_row_are_consistent(tmp_path: Path) -> None:
    planted = write_gazefollow(tmp_path / "gf", test=6)
    run_build(tmp_path / "out", f"gazefollow={tmp_path / 'gf'}")
    data = Dataset.open(tmp_path / "out")
    sizes = {item.path: item.size for item in planted}
    gazes = {item.path: item.gaze for item in planted}
    for sample in data.samples():
        row = sample.row
        seam = bool(sphere.arc_crosses_seam(sample.head, sample.gaze))
        assert row["crosses_seam"] == seam
        assert row["suite"] != "seam" or (row["condition"] == "across") == seam
        assert row["suite"] == "mixed" or row["suite"] == "seam" or not seam, "clear placements stay clear of the seam"
        u, v = sphere.pixel_from_direction(sample.head, 1, 1)
        u0, v0, u1, v1 = sample.head_box
        assert v0 < v < v1
        assert any(u0 < turn < u1 for turn in (u, u + 1.0))
        width, height = sizes[row["source_image"]]
        # the columns say how the photo lies: scipy and the stored camera bring the source's own label to the same place
        camera = Camera.from_dict(json.loads(row["camera"]))
        assert (camera.lens, list(camera.params)) == (row["lens"], list(row["lens_params"]))
        assert np.degrees(camera.hfov) == pytest.approx(row["hfov_deg"], abs=1e-9)
        ray = camera.rays(np.array(gazes[row["source_image"]]) * (width, height)).directions
        own, tilt = (
            Rotation.from_euler("YXZ", [row[f"{name}_deg"] for name in names], degrees=True)
            for names in (("yaw", "pitch", "roll"), ("tilt_yaw", "tilt_pitch", "tilt_roll"))
        )
        np.testing.assert_allclose(tilt.apply(own.apply(ray)), sample.gaze, atol=1e-9)
        if row["suite"] == "fov" and width >= height:
            assert row["hfov_deg"] == pytest.approx(float(row["condition"].removeprefix("fov=")), abs=1e-9)
        # 180 degrees of longitude over half the panorama's pixels, against the focal length of a pinhole
        if row["lens"] == "pinhole":
            focal = width / 2.0 / np.tan(np.radians(row["hfov_deg"]) / 2.0)
            assert row["minification"] == pytest.approx(focal / (512 / sphere.TWO_PI), rel=1e-6)
    assert (data.annotations[data.annotations["suite"] == "seam"]["condition"] == "across").all()


def test_footprint_is_the_solid_angle_of_the_photo(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=1)  # 640 x 480
    run_build(tmp_path / "out", f"gazefollow={tmp_path / 'gf'}", settings=(*PLAIN, "output.width=1024"))
    rows = Dataset.open(tmp_path / "out").annotations
    a, b = np.radians(60.0) / 2.0, np.arctan(np.tan(np.radians(30.0)) * 0.75)
    exact = 4.0 * np.arcsin(np.sin(a) * np.sin(b)) / (4.0 * np.pi)  # solid angle of a rectangular pyramid
    canonical = rows[rows["suite"].isin(["canonical", "roll", "seam"])]
    np.testing.assert_allclose(canonical["footprint"], exact, rtol=2e-3)
    assert not canonical["near_pole"].any()
    assert rows[rows["condition"] == "latitude=60"]["near_pole"].all()


def test_real_samples_build(real: Path, tmp_path: Path) -> None:
    report = run_build(
        tmp_path / "out",
        f"gazefollow={real / 'gazefollow'}",
        f"videoattentiontarget={real / 'videoattentiontarget'}",
        f"panoramas={real / 'panoramas'}",
        recipe="mixed",
        settings=("output.width=512",),
        workers=2,
    )
    assert {source.kind: source.photos for source in report.info.sources} == {"gazefollow": 8, "videoattentiontarget": 26}
    assert verify(tmp_path / "out") == []
    people = {
        (row["source"], row["source_image"], row["source_person"])
        for row in Dataset.open(tmp_path / "out").annotations.to_dict("records")
    }
    assert len(people) == 8 + 52


# --- reproducibility --------------------------------------------------------------------------------------------------


def test_workers_and_time_change_nothing(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", train=6, test=5, scale=4)
    pair = f"gazefollow={tmp_path / 'gf'}"
    one = run_build(tmp_path / "one", pair)
    two = run_build(tmp_path / "two", pair, workers=2)
    assert (one.info.label_digest, one.info.pixel_digest) == (two.info.label_digest, two.info.pixel_digest)
    assert (tmp_path / "one" / "manifest.jsonl").read_bytes() == (tmp_path / "two" / "manifest.jsonl").read_bytes()
    assert Dataset.open(tmp_path / "one").annotations.equals(Dataset.open(tmp_path / "two").annotations)
    other = run_build(tmp_path / "other", pair, settings=(*PLAIN, "seed=1"))
    assert other.info.label_digest != one.info.label_digest
    again = run_build(tmp_path / "one", pair)
    assert (again.made, again.kept) == (0, one.made)


def test_a_limit_keeps_ids_and_labels(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", train=6, test=5, scale=4)
    pair = f"gazefollow={tmp_path / 'gf'}"
    run_build(tmp_path / "all", pair)
    run_build(tmp_path / "some", pair, limit=2)
    everyone = Dataset.open(tmp_path / "all").annotations.set_index("sample_id")
    some = Dataset.open(tmp_path / "some").annotations.set_index("sample_id")
    assert 0 < len(some) < len(everyone)
    assert some.drop(columns="repairs").equals(everyone.loc[some.index].drop(columns="repairs"))
    assert {r["image"] for r in rejected(tmp_path / "some")} | set(some["source_image"]) == set(everyone["source_image"])


def test_killed_and_resumed_builds_are_the_same(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=12, scale=2)
    whole = run_build(tmp_path / "whole", f"gazefollow={tmp_path / 'gf'}")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "srgaze360", "build", "suites", "--source", f"gazefollow={tmp_path / 'gf'}"]
    command += ["--out", str(out), "--workers", "2", *(word for setting in PLAIN for word in ("--set", setting))]
    shards = out / ".build" / "shards"
    for wanted in (1, 3):  # killed after the first shard, and again, resumed, after the third
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(shards.glob("[0-9]*.json"))) < wanted and process.poll() is None:
            assert time.monotonic() < deadline, "the build makes no progress"
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = len(list(shards.glob("[0-9]*.json")))
    assert done >= 1
    if not (out / "dataset.yaml").exists():
        with pytest.raises(InputError, match="has no dataset.yaml.*the same build command resumes it"):
            Dataset.open(out)
    finished = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)
    assert report["kept"] > 32 * (done - 1)  # what was done is not done again; the last shard is a short one
    assert report["made"] + report["kept"] == whole.made
    info = Dataset.open(out).info
    assert (info.label_digest, info.pixel_digest) == (whole.info.label_digest, whole.info.pixel_digest)
    assert (out / "manifest.jsonl").read_bytes() == (tmp_path / "whole" / "manifest.jsonl").read_bytes()
    assert not list(out.rglob("*.tmp.*"))
    assert verify(out) == []


# --- the folder is safe -----------------------------------------------------------------------------------------------


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=2, scale=4)
    pair = f"gazefollow={tmp_path / 'gf'}"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="to be new, empty, or a build to resume, found there: thesis.tex"):
        run_build(tmp_path / "mine", pair)
    with pytest.raises(InputError, match="removes only what a build wrote, but .* also holds: thesis.tex"):
        run_build(tmp_path / "mine", pair, overwrite=True)
    run_build(tmp_path / "out", pair)
    with pytest.raises(InputError, match="begun with another recipe, other sources or another --limit"):
        run_build(tmp_path / "out", pair, settings=(*PLAIN, "seed=1"))
    assert run_build(tmp_path / "out", pair, settings=(*PLAIN, "seed=1"), overwrite=True).made > 0


def test_versions_are_not_mixed_in_one_build(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=2, scale=4)
    pair = f"gazefollow={tmp_path / 'gf'}"
    run_build(tmp_path / "out", pair)
    state = tmp_path / "out" / ".build" / "state.json"
    content = json.loads(state.read_text())
    content["pixels_depend_on"]["opencv-python"] = "4.14.0"
    state.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"other versions \(opencv-python 4.14.0 \(now 5"):
        run_build(tmp_path / "out", pair)


# --- bad input has a defined outcome ----------------------------------------------------------------------------------


def test_bad_photos_and_labels_are_rejected_with_reasons(tmp_path: Path) -> None:
    gf = tmp_path / "gf"
    planted = write_gazefollow(gf, test=8, annotators=1, scale=4)
    rows = (gf / "test_annotations_release.txt").read_text(encoding="utf-8-sig").splitlines()
    paths = [item.path for item in planted]
    (gf / paths[0]).unlink()
    (gf / paths[1]).write_bytes(b"this is no picture")
    (gf / paths[2]).write_bytes(b"")
    (gf / paths[3]).write_bytes((gf / paths[3]).read_bytes()[:200])
    fields = rows[4].split(",")
    fields[10:14] = [fields[12], fields[13], fields[10], fields[11]]
    rows[4] = ",".join(fields)  # inverted head box: repaired
    fields = rows[5].split(",")
    rows[5] = ",".join([*fields[:8], "nan", *fields[9:]])  # NaN gaze: rejected
    fields = rows[6].split(",")
    rows[6] = ",".join([*fields[:10], "900", "10", "950", "60", *fields[14:]])  # head box beyond the photo: rejected
    (gf / "test_annotations_release.txt").write_text("\n".join(rows))
    report = run_build(tmp_path / "out", f"gazefollow={gf}")
    data = Dataset.open(tmp_path / "out").annotations
    assert set(data["source_image"]) == {paths[4], paths[7]}
    repairs = data[data["source_image"] == paths[4]]["repairs"].iloc[0]
    assert any("inverted" in repair for repair in repairs)
    reasons = {row["image"]: row["reason"] for row in rejected(tmp_path / "out")}
    assert set(reasons) == {paths[0], paths[1], paths[2], paths[3], paths[5], paths[6]}
    for path, word in [(0, "missing"), (1, "photo"), (2, "empty"), (3, "photo"), (5, "gaze_x"), (6, "outside the photo")]:
        assert word in reasons[paths[path]], reasons[paths[path]]
    assert sum(report.reasons.values()) == len(rejected(tmp_path / "out"))
    # once per row, not once per suite: the fault is the photo's
    assert len(rejected(tmp_path / "out")) == 6


def test_a_label_the_lens_cannot_image_is_rejected_there_and_kept_elsewhere(tmp_path: Path) -> None:
    gf = tmp_path / "gf"
    write_gazefollow(gf, test=1, annotators=1)
    row = (gf / "test_annotations_release.txt").read_text(encoding="utf-8-sig").split(",")
    row[8:10] = ["0.999", "0.999"]
    (gf / "test_annotations_release.txt").write_text(",".join(row))
    fold = "lenses.folding={lens: brown-conrady, params: [-0.35, 0, 0, 0, 0, 0, 0, 0]}"
    settings = (*PLAIN, fold, "suites.roll={vary: {lens: [pinhole, folding]}, draw: {fov_deg: 88}}")
    run_build(tmp_path / "out", f"gazefollow={gf}", settings=settings)
    lost = rejected(tmp_path / "out")
    assert [(item["suite"], item["condition"], item["reason"]) for item in lost] == [
        ("roll", "lens=folding", "gaze lies beyond what the lens can image")
    ]
    assert "lens=pinhole" in set(Dataset.open(tmp_path / "out").annotations["condition"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda gf: (gf / "test_annotations_release.txt").write_text(""), "test_annotations_release.txt"),
        (lambda gf: (gf / "test_annotations_release.txt").unlink(), "annotations_release.txt"),
    ],
)
def test_empty_files_and_wrong_folders_stop_with_one_paragraph(tmp_path: Path, spoil: Any, message: str) -> None:
    write_gazefollow(tmp_path / "gf", test=1, scale=4)
    spoil(tmp_path / "gf")
    with pytest.raises(InputError, match=message) as raised:
        run_build(tmp_path / "out", f"gazefollow={tmp_path / 'gf'}")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_build_in_which_everything_is_rejected_says_why(tmp_path: Path) -> None:
    planted = write_gazefollow(tmp_path / "gf", test=2, scale=4)
    for item in planted:
        (tmp_path / "gf" / item.path).unlink()
    with pytest.raises(InputError, match=r"every source row was rejected. Reasons: .*missing.* \(2\)"):
        run_build(tmp_path / "out", f"gazefollow={tmp_path / 'gf'}")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["gazefollow"], "Expected --source KIND=DIR, found 'gazefollow'"),
        (["gazefolow=x"], "Unknown source 'gazefolow'. Did you mean 'gazefollow'"),
        ([], "Expected at least one --source with gaze labels"),
        (["gazefollow={gf}", "gazefollow={gf}"], "several folders for: gazefollow"),
    ],
)
def test_wrong_sources_are_explained(tmp_path: Path, pairs: list[str], message: str) -> None:
    write_gazefollow(tmp_path / "gf", test=1, scale=4)
    with pytest.raises(InputError, match=message):
        open_sources([pair.format(gf=tmp_path / "gf") for pair in pairs], {})


# --- verify -----------------------------------------------------------------------------------------------------------


def test_verify_finds_what_was_tampered_with(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=4, scale=4)
    out = tmp_path / "out"
    run_build(out, f"gazefollow={tmp_path / 'gf'}", settings=("output.width=256", "suites.mixed.draw.background=blur"))
    assert verify(out) == []
    entries = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    first, second, third = (out / entry["path"] for entry in entries[:3])
    first.write_bytes(first.read_bytes()[:-40])
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 1
    second.write_bytes(content)
    third.unlink()
    (out / "panoramas" / "test" / "stranger.jpg").write_bytes(b"x")
    data = Dataset.open(out)
    rows = data.annotations.to_dict("records")
    rows[9]["gaze_lon_deg"] += 2e-6
    from srgaze360.dataset import write_dataset

    write_dataset(
        out, data.info, [{k: v.tolist() if hasattr(v, "tolist") else v for k, v in row.items()} for row in map(_plain, rows)]
    )
    found = {(finding.level, finding.where) for finding in verify(out)}
    assert found == {
        ("files", entries[0]["path"]), ("files", entries[1]["path"]), ("files", entries[2]["path"]),
        ("files", "panoramas/test/stranger.jpg"), ("labels", rows[9]["panorama_id"]),
    }  # fmt: skip


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    from builders.verify import _plain as plain

    return {key: plain(value) for key, value in row.items()}


def test_giant_photos_do_not_stop_a_build(tmp_path: Path) -> None:
    """A header that claims more pixels than the limit is rejected before anything is decoded."""
    gf = tmp_path / "gf"
    planted = write_gazefollow(gf, test=2, scale=4)
    bomb = bytearray((gf / planted[0].path).read_bytes())
    bomb[16:24] = (60000).to_bytes(4, "big") * 2  # PNG header: width, height
    (gf / planted[0].path).write_bytes(bomb)
    run_build(tmp_path / "out", f"gazefollow={gf}")
    assert "60000 x 60000" in rejected(tmp_path / "out")[0]["reason"]


def test_blurred_extension_continues_the_photo_and_wraps(tmp_path: Path) -> None:
    del tmp_path
    from builders.backgrounds import blurred_extension

    canvas = np.zeros((128, 256, 3), dtype=np.uint8)
    coverage = np.zeros((128, 256), dtype=np.uint8)
    coverage[40:80, :20] = coverage[40:80, 236:] = 255
    canvas[coverage > 0] = (200, 100, 50)
    filled = blurred_extension(canvas, coverage)
    # a photo of one colour continues in that colour, everywhere
    assert np.abs(filled.astype(int) - [200, 100, 50]).max() <= 2
    # rolling the sphere rolls the fill: nothing happens at the seam
    canvas = np.where(coverage[..., None] > 0, np.arange(256, dtype=np.uint8)[None, :, None], 0).repeat(1, axis=2)
    canvas = np.ascontiguousarray(np.broadcast_to(canvas, (128, 256, 3)))
    turned = blurred_extension(np.roll(canvas, 128, axis=1), np.roll(coverage, 128, axis=1))
    assert np.abs(np.roll(turned, -128, axis=1).astype(int) - blurred_extension(canvas, coverage)).max() <= 1
    assert cv2.absdiff(turned[:, 0], turned[:, -1]).max() < 30


def test_photo_helper_plants_what_it_says(tmp_path: Path) -> None:
    write_photo(tmp_path / "p.png", (200, 100), (0.25, 0.6), np.random.default_rng(0), 5.0)
    image = cv2.imread(str(tmp_path / "p.png"))[..., ::-1].astype(float)
    saturation = np.clip((image[..., 0] + image[..., 2]) / 2 - image[..., 1] - 12, 0, None)
    y, x = np.mgrid[0:100, 0:200] + 0.5
    assert (saturation * x).sum() / saturation.sum() == pytest.approx(50.0, abs=0.1)
    assert (saturation * y).sum() / saturation.sum() == pytest.approx(60.0, abs=0.1)
