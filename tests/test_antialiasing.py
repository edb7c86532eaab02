"""Anti-aliasing, against densely supersampled truth."""

from __future__ import annotations

import numpy as np
import pytest
from projections import RAD, psnr, scipy_rotation, texture

from srgaze360 import maps, reproject
from srgaze360.cameras import Camera
from srgaze360.reproject import photo_to_sphere, sphere_to_view


@pytest.mark.parametrize("pitch", [0, 60, 85])
@pytest.mark.parametrize(("sharp", "decibels"), [(False, 40), (True, 38.5)])
def test_antialiased_photo_against_8_by_8_samples(sharp, decibels, pitch):
    camera = Camera.from_fov("pinhole", 960, 540, RAD(75))
    photo = texture(540, 960, sharp)
    rotation = scipy_rotation((20, pitch, 15))
    assert maps.minification(camera, 1024) == pytest.approx(3.84, abs=0.01)
    truth = np.zeros((512, 1024, 3), np.float32)
    full, covered = photo_to_sphere(photo, camera, rotation, 8192, antialias=False)
    for row in range(0, 512, 64):  # in strips, to save memory
        truth[row : row + 64] = full[8 * row : 8 * row + 512].reshape(64, 8, 1024, 8, 3).mean(axis=(1, 3), dtype=np.float32)
    inside = covered.reshape(512, 8, 1024, 8).min(axis=(1, 3)) == 255
    ours, mask = photo_to_sphere(photo, camera, rotation, 1024)
    assert (mask[inside] == 255).all()
    aliased, _ = photo_to_sphere(photo, camera, rotation, 1024, antialias=False)
    assert psnr(ours, truth, inside) >= decibels
    assert psnr(ours, truth, inside) > psnr(aliased, truth, inside) + 6


def test_coverage_is_the_share_of_the_pixel():
    camera = Camera.from_fov("pinhole", 960, 540, RAD(75))
    rotation = scipy_rotation((3, 4, 5))
    _, mask = photo_to_sphere(np.full((540, 960), 200, np.uint8), camera, rotation, 512)  # 4 x 4 samples
    panorama, _ = photo_to_sphere(np.full((540, 960), 200, np.uint8), camera, rotation, 512)
    _, fine = photo_to_sphere(np.full((540, 960), 1, np.uint8), camera, rotation, 8192, antialias=False)
    share = fine.reshape(256, 16, 512, 16).mean(axis=(1, 3)) / 255
    assert np.abs(mask / 255 - share).max() < 0.2
    assert abs(mask.mean() / 255 - share.mean()) < 1e-3 * share.mean()
    assert ((mask > 0) & (mask < 255)).sum() > 100
    np.testing.assert_allclose(panorama, 200 * (mask / 255), atol=1.01)  # premultiplied, and constant inside


def test_view_is_antialiased_when_it_shrinks_the_panorama():
    panorama = texture(1024, 2048, sharp=True)
    small = Camera.from_fov("pinhole", 128, 128, RAD(90))
    large = small.resized(1024, 1024)
    rotation = scipy_rotation((30, 10, 5))
    truth = sphere_to_view(panorama, large, rotation, antialias=False).reshape(128, 8, 128, 8, 3).mean(axis=(1, 3))
    everywhere = np.ones((128, 128), bool)
    ours = psnr(sphere_to_view(panorama, small, rotation), truth, everywhere)
    assert ours > 35
    assert ours > psnr(sphere_to_view(panorama, small, rotation, antialias=False), truth, everywhere) + 6


@pytest.mark.parametrize(("m", "k"), [(0.2, 1), (1.5, 1), (1.51, 2), (2, 2), (3.99, 2), (4, 2), (4.01, 3), (8, 4), (8.1, 5)])
def test_rule_of_supersampling(m, k):
    assert reproject.supersampling(m) == k
