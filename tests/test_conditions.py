"""Every condition, end to end: the dot planted at the target is under the label, whatever is around it or turns the sphere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from photos import DOT, Planted, write_gazefollow, write_panoramas
from planted import AREAS, CELLS, HEAD, SIZED, WIDTH, canonical, dot_near, make_all, one_photo, only, run

from builders.building.pipeline import build, plan_build
from builders.commands import open_sources
from builders.panorama.compose import Unusable, photo_camera
from builders.plan import Placement
from builders.recipe import load_recipe
from builders.sources import gazefollow
from builders.sources.base import Listing, Person, Photo
from srgaze360 import headbox, sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset, Sample

# --- photos -----------------------------------------------------------------------------------------------------------


def test_the_dot_is_under_the_label_in_every_suite(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=8)
    write_panoramas(tmp_path / "pano")
    recipe = load_recipe("suites", SIZED)
    gaze, background = open_sources([f"gazefollow={tmp_path / 'gf'}", f"panoramas={tmp_path / 'pano'}"], {})
    build(plan_build(recipe, gaze, background), recipe, gaze, background, tmp_path / "out", workers=2)
    data = Dataset.open(tmp_path / "out")
    worst: dict[str, float] = {}
    for sample in data.samples():
        assert sample.gaze is not None
        key = f"{sample.row['suite']}/{sample.row['condition']}"
        worst[key] = max(worst.get(key, 0.0), dot_near(sample.panorama(), sample.gaze))
    assert {key.partition("/")[0] for key in worst} == set(recipe.suites) - {"rotated", "rendered"}
    assert len(worst) == 1 + 1 + 4 + 5 + 1 + 2 + 5 + 9 + 16 + 7 + 1
    assert max(worst.values()) < 1.0, worst
    assert float(np.median(list(worst.values()))) < 0.35, worst
    rows = data.annotations
    assert rows[rows["suite"] == "pole"]["contains_pole"].all()
    assert not rows[rows["suite"] == "canonical"]["contains_pole"].any()
    used = rows[rows["background"].isin(["panorama", "photos"])]["background_images"]
    assert used.str.len().min() >= 1
    assert rows[~rows["background"].isin(["panorama", "photos"])]["background_images"].str.len().max() == 0


def crowd(tmp_path: Path) -> tuple[Dataset, list[Planted]]:
    planted = write_gazefollow(tmp_path / "gf", test=8)
    only = [f"suites.{name}=null" for name in load_recipe("suites").suites if name != "crowd"]
    recipe = load_recipe("suites", [*SIZED, *only])
    return run(
        tmp_path / "out", recipe, gazefollow.read(tmp_path / "gf", gazefollow.GazeFollowOptions()), tmp_path / "gf"
    ), planted


def test_a_crowd_does_not_overlap_and_everyone_is_labelled(tmp_path: Path) -> None:
    data, planted = crowd(tmp_path)
    assert sorted(data.annotations.groupby("panorama_id").size()) == [2, 6]
    assert set(data.annotations["source_image"]) == {photo.path for photo in planted}
    assert (data.annotations.groupby("panorama_id")["cluster_id"].nunique() == 1).all()
    for _, people in data.annotations.groupby("panorama_id"):
        assert (people["photos"] == len(people)).all()
        covered = np.zeros(CELLS.shape[:2], dtype=int)
        for row in people.to_dict("records"):
            camera = Camera.from_dict(json.loads(row["camera"]))
            rotation = sphere.rotation_from_pose(*np.radians([row["yaw_deg"], row["pitch_deg"], row["roll_deg"]]))
            seen = camera.project(sphere.rotate(rotation.T, CELLS))
            inside = seen.valid & camera.contains(seen.pixels)
            area = np.sum(inside * AREAS)
            assert row["footprint"] == pytest.approx(area / (4.0 * np.pi), rel=0.01)
            covered += inside
        assert covered.max() == 1


def test_one_photo_is_no_crowd(tmp_path: Path) -> None:
    planted = write_gazefollow(tmp_path / "gf", test=3)
    for photo in planted[1:]:
        (tmp_path / "gf" / photo.path).write_bytes(b"no image")
    only = [f"suites.{name}=null" for name in load_recipe("suites").suites if name not in ("crowd", "canonical")]
    recipe = load_recipe("suites", [*SIZED, *only])
    listing = gazefollow.read(tmp_path / "gf", gazefollow.GazeFollowOptions())
    data = run(tmp_path / "out", recipe, listing, tmp_path / "gf")
    assert set(data.annotations["suite"]) == {"canonical"}
    assert "no other photo of its sphere could be used,crowd,crowd" in (tmp_path / "out" / "rejected.csv").read_text()


def test_the_seam_can_be_combined_with_conditions(tmp_path: Path) -> None:
    listing, root = one_photo(tmp_path)
    settings = ("suites.canonical.draw.longitude_deg=seam", "suites.canonical.vary.fov_deg=[40, 80]")
    data = run(tmp_path / "out", canonical("base.lens=pinhole", *settings), listing, root)
    assert sorted(data.annotations["condition"]) == ["fov=40", "fov=80"]
    assert data.annotations["crosses_seam"].all()


# --- photos whose camera or size is known -----------------------------------------------------------------------------


def test_a_known_camera_is_used_where_the_recipe_asks_for_it(tmp_path: Path) -> None:
    known = {"lens": "kannala-brandt", "fx": 500.0, "fy": 510.0, "cx": 330.0, "cy": 225.0, "params": [-0.02, 0.004, 0.0, 0.0]}
    listing, root = one_photo(tmp_path, camera=known)
    sample = next(iter(run(tmp_path / "own", canonical(), listing, root).samples()))
    camera = Camera.from_dict({**known, "width": 640, "height": 480})
    assert Camera.from_dict(json.loads(sample.row["camera"])) == camera
    assert sample.row["hfov_deg"] == pytest.approx(np.degrees(camera.hfov))
    rotation = sphere.rotation_from_pose(*np.radians([sample.row["yaw_deg"], 0.0, 0.0]))
    gaze = np.array(listing.photos[0].people[0].gaze[0]) * (640, 480)
    np.testing.assert_allclose(rotation @ camera.rays(gaze).directions, sample.gaze, atol=1e-9)
    assert dot_near(sample.panorama(), sample.gaze) < 0.5
    lens = ("base.lens=stereographic", "lenses.stereographic={lens: stereographic}")
    drawn = next(iter(run(tmp_path / "drawn", canonical(*lens), listing, root).samples()))
    assert drawn.row["lens"] == "stereographic"
    assert drawn.row["hfov_deg"] == pytest.approx(60.0)


def test_a_known_camera_is_one_of_the_size_that_the_annotation_names(tmp_path: Path) -> None:
    known = {"lens": "pinhole", "fx": 1000.0, "fy": 1020.0, "cx": 660.0, "cy": 450.0}
    listing, root = one_photo(tmp_path, camera=known, size=(1280, 960))
    ((_, made),) = make_all(root, load_recipe("suites", only("canonical")), listing, tmp_path / "out")
    camera = Camera.from_dict(json.loads(made.rows[0]["camera"]))
    assert (camera.width, camera.height) == (640, 480)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx((500.0, 510.0, 330.0, 225.0))


def test_pixels_beyond_the_fold_are_counted_and_never_shown(tmp_path: Path) -> None:
    listing, root = one_photo(tmp_path)
    strong = ("base.lens=strong", "lenses.strong={lens: brown-conrady, params: [-0.3]}", "base.fov_deg=88")
    sample = next(iter(run(tmp_path / "out", canonical(*strong), listing, root).samples()))
    camera = Camera.from_dict(json.loads(sample.row["camera"]))
    x, y = np.meshgrid(np.arange(320) * 2.0 + 1.0, np.arange(240) * 2.0 + 1.0)
    radius = np.hypot(x - camera.cx, y - camera.cy) / camera.fx
    # r (1 - 0.3 r^2) is largest at r = 1 / sqrt(0.9): no ray leads to a pixel further out
    beyond = np.mean(radius > 2.0 / 3.0 / np.sqrt(0.9))
    assert beyond > 0.03
    assert sample.row["fold_back"] == pytest.approx(beyond, abs=0.005)
    seen = camera.project(sphere.rotate(rotation_of(sample).T, sphere.cell_directions(WIDTH, WIDTH // 2)))
    shown = sample.panorama().max(axis=-1) > 0
    assert not (
        shown & ~cv2.dilate((seen.valid & camera.contains(seen.pixels)).astype(np.uint8), np.ones((3, 3))).astype(bool)
    ).any()
    assert dot_near(sample.panorama(), sample.gaze) < 1.0


def rotation_of(sample: Sample) -> sphere.FloatArray:
    """Pose of an upright sample."""
    return sphere.rotation_from_pose(*np.radians([sample.row[f"{name}_deg"] for name in ("yaw", "pitch", "roll")]))


def test_a_camera_that_is_none_is_a_reason(tmp_path: Path) -> None:
    listing, root = one_photo(tmp_path, camera={"lens": "pinhole", "fx": -5.0, "fy": 1.0, "cx": 1.0, "cy": 1.0})
    with pytest.raises(Exception, match=r"camera of the photo cannot be used \(1\)"):
        run(tmp_path / "out", canonical(), listing, root)


def test_labels_refer_to_the_size_their_annotation_names(tmp_path: Path) -> None:
    listing, root = one_photo(tmp_path)
    person = listing.photos[0].people[0]
    plain = next(iter(run(tmp_path / "plain", canonical(), listing, root).samples()))
    double = replace(person, head_box=tuple(3.0 * value for value in person.head_box))
    scaled = replace(listing, photos=(replace(listing.photos[0], people=(double,), size=(1920, 1440)),))
    sample = next(iter(run(tmp_path / "scaled", canonical(), scaled, root).samples()))
    np.testing.assert_allclose(sample.head_box, plain.head_box, atol=1e-12)
    assert list(sample.row["repairs"]) == ["labels scaled to the photo's size"]
    odd = replace(listing, photos=(replace(listing.photos[0], size=(640, 640)),))
    with pytest.raises(Exception, match=r"another shape than its annotation says \(1\)"):
        run(tmp_path / "odd", canonical(), odd, root)


# --- panoramas with people in them ------------------------------------------------------------------------------------


def write_around(root: Path, width: int = 2048) -> Listing:
    """Panoramas, each with a green head (a box in longitude and latitude) and a dot at its target; also across the seam."""
    height = width // 2
    places = [((0.2, 0.4), (0.7, 0.55)), ((0.985, 0.5), (0.4, 0.3)), ((0.5, 0.12), (0.51, 0.9)), ((0.3, 0.6), (0.999, 0.45))]
    directions = sphere.cell_directions(width, height)
    root.mkdir()
    photos = []
    for index, ((u0, v0), gaze) in enumerate(places):
        box = (u0 * width, v0 * height, (u0 + 0.04) * width, (v0 + 0.07) * height)
        image = np.full((height, width, 3), 110, dtype=np.uint8)
        columns = np.arange(round(box[0]), round(box[2])) % width
        image[round(box[1]) : round(box[3])][:, columns] = HEAD
        target = sphere.direction_from_pixel(np.array(gaze) * (width, height), width, height)
        image[sphere.angle_between(directions, target) < np.radians(1.5)] = DOT
        cv2.imwrite(str(root / f"{index}.png"), image[..., ::-1])
        x0, y0, x1, y1 = map(round, box)
        person = Person("p", str(index), (x0, y0, x1, y1), "pixel", (gaze,), "fraction", in_frame=True)
        photos.append(Photo(f"{index}.png", "test", str(index), (person,), projection="equirectangular"))
    return Listing(tuple(photos))


def test_rotated_panoramas_carry_boxes_and_gaze(tmp_path: Path) -> None:
    listing = write_around(tmp_path / "around")
    recipe = load_recipe("suites", [*SIZED, "suites.rotated.copies=6", "suites.mixed=null", "suites.background=null"])
    data = run(tmp_path / "out", recipe, listing, tmp_path / "around", kind="procedural")
    rotated = data.select(suite="rotated")
    assert len(rotated) == 24
    for sample in data.samples():
        assert sample.gaze is not None
        assert dot_near(sample.panorama(), sample.gaze) < 0.35
        check_box(sample)
        assert (sample.row["background"], sample.row["lens"], sample.row["hfov_deg"]) == ("none", "equirectangular", 360.0)
        assert sample.row["footprint"] == pytest.approx(1.0)
        assert sample.row["contains_pole"]
    arcs = sphere.angle_between(rotated.heads, rotated.gazes)
    assert np.degrees(arcs).max() > 120.0
    # upright: head and gaze where they were put, absolutely
    upright = sorted(data.select(suite="rendered").samples(), key=lambda sample: sample.row["source_image"])
    for sample, photo in zip(upright, listing.photos, strict=True):
        x0, y0, x1, y1 = photo.people[0].head_box
        np.testing.assert_allclose(sample.head_box, [x0 / 2048, y0 / 1024, x1 / 2048, y1 / 1024], atol=1e-9)
        u, v = photo.people[0].gaze[0]
        assert (sample.row["gaze_lon_deg"], sample.row["gaze_lat_deg"]) == pytest.approx((360 * u - 180, 90 - 180 * v))


def check_box(sample: Sample) -> None:
    """The box is that of the pixels of the head's colour, to a pixel and a half on each side."""
    image = sample.panorama().astype(np.float64)
    green = image[..., 1] - (image[..., 0] + image[..., 2]) / 2.0 > 127.0
    v, u = np.nonzero(green)
    u0, v0, u1, v1 = sample.head_box
    assert v.min() / (WIDTH // 2) == pytest.approx(v0, abs=1.5 / (WIDTH // 2))
    assert (v.max() + 1) / (WIDTH // 2) == pytest.approx(v1, abs=1.5 / (WIDTH // 2))
    if u1 - u0 < 0.5:  # around a pole a few pixels of a row are many degrees
        along = np.mod((u + 0.5) / WIDTH - u0 + 0.25, 1.0) - 0.25
        slack = 1.5 / WIDTH / np.sin(np.pi * np.clip([v0, v1], 0.02, 0.98)).min()
        assert along.min() - 0.5 / WIDTH == pytest.approx(0.0, abs=slack)
        assert along.max() + 0.5 / WIDTH == pytest.approx(u1 - u0, abs=slack)
    assert headbox.contains_direction(sample.head_box, sample.head)


def test_an_image_that_is_no_panorama_is_a_reason(tmp_path: Path) -> None:
    listing = write_around(tmp_path / "around")
    cv2.imwrite(str(tmp_path / "around" / "1.png"), np.zeros((100, 300, 3), dtype=np.uint8))
    recipe = load_recipe("suites", [*SIZED, "suites.mixed=null", "suites.background=null"])
    data = run(tmp_path / "out", recipe, listing, tmp_path / "around", kind="procedural")
    assert len(data) == 6
    assert "panorama is not twice as wide as high (300 x 100 pixels)" in (tmp_path / "out" / "rejected.csv").read_text()


def test_a_panorama_may_be_off_its_shape_by_a_hundredth() -> None:
    item = Placement("procedural", Photo("a.png", "test", "a", (), projection="equirectangular"), {})
    recipe = load_recipe("suites")
    camera = photo_camera(item, recipe, 400, 202)
    corners = np.array([[0.0, 101.0], [200.0, 0.0], [200.0, 202.0], [300.0, 101.0]])
    np.testing.assert_allclose(camera.rays(corners).directions, [[0, 0, -1], [0, -1, 0], [0, 1, 0], [1, 0, 0]], atol=1e-15)
    with pytest.raises(Unusable, match=r"not twice as wide as high \(400 x 203 pixels\)"):
        photo_camera(item, recipe, 400, 203)
