"""The sampler: what its id promises, types and channels, and that blocks and tricks do not show."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from projections import PINHOLE, RAD, noise, scipy_rotation

from srgaze360 import reproject, sampler
from srgaze360.cameras import Camera
from srgaze360.errors import EnvironmentProblem
from srgaze360.reproject import photo_to_patch, photo_to_sphere, sphere_to_view

# --- the sampler's identity -------------------------------------------------------------------------------------------


def test_installed_opencv_samples_as_the_sampler_id_says():
    assert reproject.SAMPLER_ID == "opencv-5/linear-f32/supersample-1"
    errors = reproject.check_sampler()
    assert len(errors) == 12
    assert max(errors.values()) < 0.002


def test_a_sampler_that_rounds_to_fixed_point_is_found_out(monkeypatch):
    exact = cv2.remap

    def fixed_point(image, u, v, interpolation, **options):
        return exact(image, *cv2.convertMaps(u, v, cv2.CV_16SC2), interpolation, **options)

    monkeypatch.setattr(cv2, "remap", fixed_point)
    errors = reproject.sampler_errors()
    assert min(errors.values()) > 0.01
    with pytest.raises(EnvironmentProblem, match="needs OpenCV 5 with exact bilinear interpolation"):
        reproject.check_sampler()


def test_another_major_version_is_found_out(monkeypatch):
    monkeypatch.setattr(cv2, "__version__", "4.14.0")
    with pytest.raises(EnvironmentProblem, match=r"found OpenCV 4\.14\.0"):
        reproject.check_sampler()


# --- types, sizes, blocks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("antialias", [False, True])
def test_channels_are_independent(dtype, channels, antialias):
    photo, rotation = noise(120, 160, channels, dtype), scipy_rotation((170, 60, 20))
    camera = PINHOLE.resized(160, 120)
    panorama, mask = photo_to_sphere(photo, camera, rotation, 128, antialias=antialias)
    assert panorama.dtype == dtype
    assert panorama.shape == (64, 128, *photo.shape[2:])
    view = sphere_to_view(panorama, camera, rotation)
    assert (view.dtype, view.shape) == (dtype, photo.shape)
    for channel in range(channels):
        alone, mask_alone = photo_to_sphere(photo[..., channel], camera, rotation, 128, antialias=antialias)
        np.testing.assert_array_equal(mask, mask_alone)
        np.testing.assert_allclose(panorama[..., channel], alone, atol=1e-6 if dtype == np.float32 else 1)


def test_views_into_arrays_are_welcome():
    photo, rotation = noise(480, 640), scipy_rotation((10, 20, 30))
    expected, _ = photo_to_sphere(photo, PINHOLE, rotation, 256)
    backwards, _ = photo_to_sphere(np.ascontiguousarray(photo[:, :, ::-1])[:, :, ::-1], PINHOLE, rotation, 256)
    np.testing.assert_array_equal(expected, backwards)


@pytest.mark.parametrize("samples", [1, 777, 1 << 14, 1 << 24])
def test_blocks_do_not_show(samples, monkeypatch):
    photo, rotation = noise(270, 480), scipy_rotation((170, 50, 20))
    camera = Camera.from_fov("equidistant", 480, 270, RAD(120))
    width = 64 if samples == 1 else 512
    expected = photo_to_sphere(photo, camera, rotation, width)
    monkeypatch.setattr(reproject, "_BLOCK_SAMPLES", samples)
    again = photo_to_sphere(photo, camera, rotation, width)
    np.testing.assert_array_equal(expected[0], again[0])
    np.testing.assert_array_equal(expected[1], again[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_fourth_channel_that_is_carried_along_for_speed_does_not_show(dtype, monkeypatch):
    photo, panorama = noise(48, 64, 3, dtype), noise(256, 512, 3, dtype)
    rotation = scipy_rotation((170, 50, 20))
    camera = PINHOLE.resized(64, 48)
    results = []
    for many in (0, 1 << 40):
        monkeypatch.setattr(sampler, "_MANY_SAMPLES", many)
        results.append((*photo_to_sphere(photo, camera, rotation, 256), sphere_to_view(panorama, PINHOLE, rotation)))
    for with_fourth, without in zip(*results, strict=True):
        np.testing.assert_array_equal(with_fourth, without)


def test_wide_panoramas_are_made_in_pieces():
    photo = np.full((48, 64), 9, np.uint8)
    camera = Camera.from_fov("pinhole", 64, 48, RAD(0.4))
    patch = photo_to_patch(photo, camera, scipy_rotation((0, 90, 0)), 40_000, antialias=False)
    assert patch.pixels.shape[1] == 40_000  # the zenith, wider than the 32767 pixels that cv2.remap writes at a time
    assert (patch.pixels[:10] == 9).all()
    assert (patch.coverage[:10] == 255).all()
