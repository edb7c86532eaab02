"""Reprojection against rendered truth: the same scene as a photo put on the sphere, and rendered straight to the panorama.

Renderer and reprojection share the camera's rays and nothing else, so a wrong footprint, a shift by half a pixel, or a mirrored
axis in either shows as a difference between the two pictures.
"""

from __future__ import annotations

import numpy as np
import pytest

from builders.procedural import render_panorama, render_photo, sample_scene
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.reproject import photo_to_sphere, sphere_to_view

WIDTH = 1024


def psnr(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    error = (a.astype(np.float64) - b.astype(np.float64))[mask]
    return float(10.0 * np.log10(255.0**2 / np.mean(error**2)))


@pytest.fixture(scope="module")
def scene():  # type: ignore[no-untyped-def]
    return sample_scene(360, 7, "around")


@pytest.fixture(scope="module")
def truth(scene) -> np.ndarray:  # type: ignore[no-untyped-def]
    return render_panorama(scene, WIDTH, supersample=4)


@pytest.mark.parametrize(
    ("lens", "fov", "params"),
    [
        ("pinhole", 90.0, ()),
        ("brown-conrady", 80.0, (-0.12, 0.01, 0.001, -0.002, 0.0, 0.0, 0.0, 0.0)),
        ("equidistant", 150.0, ()),
        ("ucm", 120.0, (0.8,)),
    ],
)
@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"), [(20.0, -5.0, 0.0), (176.0, 10.0, 25.0), (-60.0, 88.0, 40.0)], ids=["front", "seam", "zenith"]
)
def test_a_photo_on_the_sphere_is_the_rendered_panorama(  # type: ignore[no-untyped-def]
    scene, truth: np.ndarray, lens: str, fov: float, params: tuple[float, ...], yaw: float, pitch: float, roll: float
) -> None:
    camera = Camera.from_fov(lens, 640, 480, np.radians(fov), side="width", params=params)
    rotation = sphere.rotation_from_pose(*np.radians([yaw, pitch, roll]))
    photo = render_photo(scene, camera, rotation, supersample=4)
    panorama, coverage = photo_to_sphere(photo, camera, rotation, WIDTH)
    inside = coverage == 255
    assert inside.mean() > 0.05
    right = psnr(panorama, truth, inside)
    assert right > 40.0
    # the comparison can tell: a shift by one pixel is worse, in both directions
    for axis in (0, 1):
        for shift in (-1, 1):
            assert psnr(np.roll(panorama, shift, axis), truth, inside & np.roll(inside, shift, axis)) < right - 1.0


def test_a_view_of_the_rendered_panorama_is_the_photo(scene, truth: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    camera = Camera.from_fov("pinhole", 320, 240, np.radians(90.0), side="width")
    for pose in ((20.0, -5.0, 0.0), (176.0, 10.0, 25.0), (-60.0, 80.0, 40.0)):
        rotation = sphere.rotation_from_pose(*np.radians(pose))
        photo = render_photo(scene, camera, rotation, supersample=4)
        view = sphere_to_view(truth, camera, rotation)
        assert psnr(view, photo, np.ones(photo.shape[:2], dtype=bool)) > 28.0
