"""Builds, end to end: labels lie on the pixels, and every column says what is so."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from building import PLAIN, run_build
from photos import write_gazefollow, write_panoramas, write_photo
from scipy.spatial.transform import Rotation

from builders.building.verify import verify
from builders.recipe import load_recipe
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset


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


def test_the_planted_dot_is_under_the_label_under_mixed_conditions(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=9)
    write_panoramas(tmp_path / "pano")
    settings = ("output.width=1024", "output.format=png", "suites.mixed.draw.background={levels: [black, blur, panorama]}")
    settings += ("suites.mixed.copies=4",)
    pairs = (f"gazefollow={tmp_path / 'gf'}", f"panoramas={tmp_path / 'pano'}")
    run_build(tmp_path / "out", *pairs, recipe="mixed", settings=settings)
    data = Dataset.open(tmp_path / "out")
    assert len(data) == 9 * 4
    pixel = sphere.TWO_PI / 1024
    worst: dict[str, float] = {}
    for sample in data.samples():
        assert sample.gaze is not None
        found = dot_direction(sample.panorama())
        key = " ".join(str(sample.row[name]) for name in ("lens", "background", "panorama_id"))
        worst[key] = max(worst.get(key, 0.0), float(sphere.angle_between(found, sample.gaze)) / pixel)
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
        clear = row["suite"] in {"canonical", "fov", "latitude", "roll"}
        assert not (clear and seam), "clear placements stay clear of the seam"
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
    """All sources at once, and the standard recipes on their own."""
    folders = {kind: real / kind for kind in ("gazefollow", "videoattentiontarget", "gazefollow360", "panoramas")}
    folders["goo"] = real / "goosynth"
    report = run_build(
        tmp_path / "out",
        *(f"{kind}={folder}" for kind, folder in folders.items()),
        recipe="suites",
        settings=("output.width=256", *(f"suites.{name}=null" for name in ("fov", "latitude", "roll", "lens", "tilt16"))),
        workers=2,
    )
    photos = {source.kind: source.photos for source in report.info.sources}
    assert photos == {"gazefollow": 8, "videoattentiontarget": 26, "goo": 16, "gazefollow360": 1}
    assert {source.kind: source.photos for source in report.info.backgrounds} == {"panoramas": 2}  # those of the test split
    assert set(report.info.suites) == {"mixed", "canonical", "seam", "pole", "background", "crowd", "rotated"}
    assert verify(tmp_path / "out") == []
    rows = Dataset.open(tmp_path / "out").annotations
    people = set(zip(rows["source"], rows["source_image"], rows["source_person"], strict=True))
    assert len(people) == 8 + 52 + 16 + 1


@pytest.mark.parametrize(
    ("recipe", "kind", "folder", "people"),
    [
        ("srgaze360-1.0", "gazefollow", "gazefollow", 3),
        ("srgaze360-vat-1.0", "videoattentiontarget", "videoattentiontarget", 6),
        ("srgaze360-goo-1.0", "goo", "goosynth", 3),
        ("srgaze360-gazefollow360-1.0", "gazefollow360", "gazefollow360", 4),
    ],
)
def test_standard_recipes_build_from_real_samples(
    recipe: str, kind: str, folder: str, people: int, real: Path, tmp_path: Path
) -> None:
    report = run_build(
        tmp_path / "out", f"{kind}={real / folder}", recipe=recipe, settings=("output.width=128",), workers=2, limit=3
    )
    rows = Dataset.open(tmp_path / "out").annotations
    rows = rows[rows["suite"] != "crowd"]  # which takes whole spheres
    assert len(set(zip(rows["source_image"], rows["source_person"], strict=True))) == people
    assert set(report.info.suites) == set(load_recipe(recipe).suites) - ({"crowd"} if kind == "videoattentiontarget" else set())


def test_photo_helper_plants_what_it_says(tmp_path: Path) -> None:
    write_photo(tmp_path / "p.png", (200, 100), (0.25, 0.6), np.random.default_rng(0), 5.0)
    image = cv2.imread(str(tmp_path / "p.png"))[..., ::-1].astype(float)
    saturation = np.clip((image[..., 0] + image[..., 2]) / 2 - image[..., 1] - 12, 0, None)
    y, x = np.mgrid[0:100, 0:200] + 0.5
    assert (saturation * x).sum() / saturation.sum() == pytest.approx(50.0, abs=0.1)
    assert (saturation * y).sum() / saturation.sum() == pytest.approx(60.0, abs=0.1)
