"""Exports that render: cube faces by py360convert and viewports; the labels lie on the pixels, to a fraction of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import py360convert
import pytest
from fakes import fake_dataset
from scipy.spatial.transform import Rotation

from builders.publishing.export.cubemap import FACES, POSES_DEG, ROTATIONS, face_camera, locate
from builders.publishing.export.formats import export
from builders.publishing.export.viewport import view_labels
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset
from srgaze360.images import decode_rgb, write_image

WIDTH = 512


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Panoramas, 512 wide, that are black but for a white spot at the first known gaze on each: an isotropic Gaussian."""
    made = fake_dataset(tmp_path / "data", people=12, images=True)
    (made.root / "LICENSES.md").write_text("terms\n", encoding="utf-8")
    made.annotations["width"], made.annotations["height"] = WIDTH, WIDTH // 2
    cells = sphere.cell_directions(WIDTH, WIDTH // 2)
    for path, index in made.annotations.groupby("image_path").groups.items():
        targets = made.gazes[index]
        spot = targets[~np.isnan(targets).any(axis=1)][0]
        angle = sphere.angle_between(cells, spot)
        grey = np.rint(255.0 * np.exp(-0.5 * (angle / np.radians(2.0)) ** 2)).astype(np.uint8)
        write_image(made.root / str(path), np.repeat(grey[..., None], 3, axis=2), 100)
    return made


def spot_directions(image: np.ndarray, camera: Camera) -> sphere.FloatArray:
    """Mean direction of an image's bright pixels in the camera frame, weighted by brightness and solid angle."""
    y, x = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    rays = camera.rays(np.stack([x, y], axis=-1)).directions
    weight = np.clip(image.astype(np.float64).mean(axis=2) - 40.0, 0.0, None) * rays[..., 2] ** 3
    return sphere.spherical_mean(rays.reshape(-1, 3), weight.reshape(-1)).direction


# --- cubemap ----------------------------------------------------------------------------------------------------------


def test_the_face_camera_is_what_py360convert_paints() -> None:
    """A panorama that holds its own directions: every pixel of every face shows the ray of the stated camera."""
    width, panorama = 65, sphere.cell_directions(2048, 1024).astype(np.float32)
    faces: Any = py360convert.e2c(panorama, face_w=width, mode="bilinear", cube_format="list")
    y, x = np.mgrid[0:width, 0:width] + 0.5
    for index, face in enumerate(FACES):
        shown = sphere.normalise(faces[index])
        rays = face_camera(width).rays(np.stack([x, y], axis=-1)).directions
        error = np.degrees(sphere.angle_between(sphere.rotate(ROTATIONS[index], rays), shown))
        assert error.max() < 0.02, face  # its maps count 1/32 of a panorama pixel (0.18 degrees)


def test_a_face_of_exactly_90_degrees_is_half_a_pixel_off_at_its_edges_and_nowhere_more() -> None:
    width = 256
    exact, painted = Camera.from_fov("pinhole", width, width, np.pi / 2), face_camera(width)
    pixels = np.array([[0.5, 128.0], [128.0, 128.0], [255.5, 0.5], [64.0, 192.0]])
    shift = exact.project(painted.rays(pixels).directions).pixels - pixels
    expected = np.array([[-0.5, 0.0], [0.0, 0.0], [0.5, -0.5], [-0.25, 0.25]])
    assert shift == pytest.approx(expected, abs=0.01)


def test_faces_look_where_they_say() -> None:
    """By hand: x right, y down, z forward; above the front face is the upper one, whose lower edge meets it."""
    camera = face_camera(101)
    cases = {
        (0, 0, 1): ("F", 50.5, 50.5), (1, 0, 0): ("R", 50.5, 50.5), (0, 0, -1): ("B", 50.5, 50.5),
        (-1, 0, 0): ("L", 50.5, 50.5), (0, -1, 0): ("U", 50.5, 50.5), (0, 1, 0): ("D", 50.5, 50.5),
        (0.5, 0, 1): ("F", 75.5, 50.5), (1, 0.5, 0): ("R", 50.5, 75.5), (1, 0, -0.5): ("R", 75.5, 50.5),
        (0, -1, 0.5): ("U", 50.5, 75.5), (0, 1, 0.5): ("D", 50.5, 25.5), (0.5, 0, -1): ("B", 25.5, 50.5),
    }  # fmt: skip
    faces, pixels = locate(sphere.normalise(np.array(list(cases), dtype=float)), camera)
    assert faces == [face for face, _, _ in cases.values()]
    assert pixels == pytest.approx(np.array([[x, y] for _, x, y in cases.values()]))
    assert set(POSES_DEG) == set(FACES)


def test_every_direction_is_on_a_face() -> None:
    directions = sphere.normalise(np.random.default_rng(1).normal(size=(5000, 3)))
    camera = face_camera(32)
    faces, pixels = locate(directions, camera)
    assert set(faces) == set(FACES)
    assert camera.contains(pixels).all()


@pytest.mark.parametrize("layout", ["list", "dice", "horizon"])
def test_cubemap_labels_lie_on_the_spots(data: Dataset, tmp_path: Path, layout: str) -> None:
    export(data, "cubemap", tmp_path / "out", {"layout": layout, "quality": 100})
    width, checked = WIDTH // 4, 0
    camera = face_camera(width)
    for split in data.splits:
        content = json.loads((tmp_path / "out" / "labels" / f"{split}.json").read_text())
        assert (Camera.from_dict(content["camera"]), content["layout"]) == (camera, layout)
        for panorama in content["panoramas"]:
            gaze = next(person["gaze"] for person in panorama["people"] if person["gaze"])
            if not all(12.0 < value < width - 12.0 for value in gaze["pixel"]):
                continue  # part of the spot is on another face
            picture = read_any(tmp_path / "out" / panorama["images"][gaze["face"]])
            corner = content["faces"][gaze["face"]]
            face = picture[corner["y"] : corner["y"] + width, corner["x"] : corner["x"] + width]
            assert face.shape == (width, width, 3)
            found = camera.project(spot_directions(face, camera)).pixels
            assert found == pytest.approx(gaze["pixel"], abs=0.15)
            checked += 1
    assert checked >= 6


def read_any(path: Path) -> np.ndarray:
    image = decode_rgb(path.read_bytes())
    assert image is not None
    return image


# --- viewport ---------------------------------------------------------------------------------------------------------


def test_viewport_labels_lie_on_the_spots(data: Dataset, tmp_path: Path) -> None:
    report = export(data, "viewport", tmp_path / "out", {"fov_deg": 100.0, "width": 160, "height": 120, "quality": 100})
    known_rows = data.annotations[data.annotations["in_frame"]]
    spots = set(known_rows.groupby("image_path")["sample_id"].first())
    inside = checked = known = 0
    for split in data.splits:
        content = json.loads((tmp_path / "out" / "labels" / f"{split}.json").read_text())
        camera = Camera.from_dict(content["camera"])
        assert np.degrees(camera.hfov) == pytest.approx(100.0)
        for label in content["people"]:
            assert label["head"] == [80.0, 60.0]
            known += label["inside"] is not None
            inside += label["inside"] is True
            if label["sample_id"] not in spots or not label["inside"]:
                continue
            if not (10.0 < label["gaze"][0] < 150.0 and 10.0 < label["gaze"][1] < 110.0):
                continue  # part of the spot is outside
            found = camera.project(spot_directions(read_any(tmp_path / "out" / label["image"]), camera)).pixels
            assert found == pytest.approx(label["gaze"], abs=0.2)
            checked += 1
    assert checked >= 4
    assert report.notes[1] == f"The target is known for {known} people and inside the view for {inside} of them (`inside`)."
    assert report.files == {"views": len(data)}


def test_inside_is_what_a_90_degree_view_shows() -> None:
    """Against scipy's rotations and the tangent of the half angle."""
    rng = np.random.default_rng(2)
    camera = Camera.from_fov("pinhole", 64, 64, np.pi / 2)
    heads, gazes = sphere.normalise(rng.normal(size=(2, 400, 3)))
    outcomes = set()
    for head, gaze in zip(heads, gazes, strict=True):
        lon, lat = sphere.lonlat_from_direction(head)
        label = view_labels(row(gaze), head, gaze, camera)
        into = Rotation.from_euler("YX", [lon, lat]).inv()  # intrinsic, about y (down) to the right, about x upwards
        x, y, z = into.apply(gaze)
        assert into.apply(head) == pytest.approx([0, 0, 1], abs=1e-12)
        expected = bool(z > 0 and abs(x) <= z and abs(y) <= z)
        assert label["inside"] is expected
        assert (label["gaze"] is None) == (z <= 0)
        assert (label["gaze_points"] == [None]) == (z <= 0)
        if expected:
            assert label["gaze"] == pytest.approx([32 + 32 * x / z, 32 + 32 * y / z], abs=1e-3)
        outcomes.add((expected, z > 0))
    assert outcomes == {(True, True), (False, True), (False, False)}


def row(gaze: sphere.FloatArray, radius: float = 5.0) -> dict[str, Any]:
    lon, lat = np.degrees(sphere.lonlat_from_direction(gaze))
    points = [] if np.isnan(gaze).any() else [[lon, lat]]
    return {"sample_id": "s", "panorama_id": "p", "head_radius_deg": radius, "in_frame": True, "gaze_points_deg": points}


def test_an_unknown_gaze_is_null_and_the_head_box_bounds_its_cap() -> None:
    camera = Camera.from_fov("pinhole", 64, 64, np.pi / 2)
    unknown = np.full(3, np.nan)
    label = view_labels(row(unknown, 20.0), np.array([0.0, 0.0, -1.0]), unknown, camera)
    assert (label["gaze"], label["inside"], label["gaze_points"]) == (None, None, [])
    reach = 32 * np.tan(np.radians(20.0))
    assert label["head_box"] == pytest.approx([32 - reach, 32 - reach, 32 + reach, 32 + reach], abs=1e-3)
    near = view_labels(row(unknown, 60.0), np.array([0.0, 0.0, -1.0]), unknown, camera)
    assert near["head_box"] == [0.0, 0.0, 64.0, 64.0]
    assert view_labels(row(unknown, 95.0), np.array([0.0, 1.0, 0.0]), unknown, camera)["head_box"] == [0.0, 0.0, 64.0, 64.0]
