"""Patches, compositing and painting: one picture, three ways."""

from __future__ import annotations

import numpy as np
import pytest
from projections import PINHOLE, POSES, noise, scipy_rotation

from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.reproject import composite, paint, photo_to_patch, photo_to_sphere


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("antialias", [False, True])
def test_compositing_on_black_is_photo_to_sphere(pose, antialias):
    photo, rotation = noise(480, 640), scipy_rotation(pose)
    expected, _ = photo_to_sphere(photo, PINHOLE, rotation, 512, antialias=antialias)
    panorama = np.zeros((256, 512, 3), np.uint8)
    composite(panorama, photo_to_patch(photo, PINHOLE, rotation, 512, antialias=antialias))
    np.testing.assert_array_equal(panorama, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 1, 3])
def test_compositing_blends_by_coverage(dtype, channels):
    rotation = scipy_rotation((178, 20, 10))
    photo, under = noise(480, 640, channels, dtype), noise(128, 256, channels, dtype, seed=1)
    patch = photo_to_patch(photo, PINHOLE, rotation, 256)
    black, mask = photo_to_sphere(photo, PINHOLE, rotation, 256)
    assert ((mask > 0) & (mask < 255)).any()
    panorama = under.copy()
    composite(panorama, patch)
    weight = (mask / 255.0).reshape(128, 256, *(1,) * (under.ndim - 2))
    scale = 1e-6 if dtype == np.float32 else 1.01
    np.testing.assert_allclose(panorama, black + (1 - weight) * under, atol=scale)
    np.testing.assert_array_equal(panorama[mask == 0], under[mask == 0])


def test_compositing_needs_the_same_kind_of_image():
    patch = photo_to_patch(noise(480, 640), PINHOLE, np.eye(3), 256)
    for other in (noise(128, 256, 4), noise(128, 256, 3, np.uint16), noise(128, 256, 0)):
        with pytest.raises(InputError, match="must have the same type and channels"):
            composite(other, patch)


def test_a_patch_fits_only_the_panorama_it_was_made_for():
    patch = photo_to_patch(noise(480, 640), PINHOLE, np.eye(3), 256)
    with pytest.raises(InputError, match="made for a panorama of 256 x 128 pixels; found 512 x 256"):
        composite(noise(256, 512), patch)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("pose", [(178, 20, 10), (0, 88, 30)])
def test_painting_is_compositing(dtype, channels, antialias, pose):
    rotation = scipy_rotation(pose)
    photo, under = noise(480, 640, channels, dtype), noise(128, 256, channels, dtype, seed=1)
    expected, painted = under.copy(), under.copy()
    patch = photo_to_patch(photo, PINHOLE, rotation, 256, antialias=antialias)
    composite(expected, patch)
    box = paint(painted, photo, PINHOLE, rotation, antialias=antialias)
    np.testing.assert_array_equal(painted, expected)
    assert box == patch.box
    outside = np.ones((128, 256), bool)
    for at in box.slices(256):
        outside[at] = False
    np.testing.assert_array_equal(painted[outside], under[outside])


def test_painting_a_folding_lens_leaves_what_it_does_not_see():
    camera = Camera("brown-conrady", 640, 480, 380.0, 380.0, 320.0, 240.0, (-0.3,))
    under = noise(256, 512, 3, np.float32, seed=1)
    expected, painted = under.copy(), under.copy()
    composite(expected, photo_to_patch(noise(480, 640, 3, np.float32), camera, scipy_rotation((10, 70, 20)), 512))
    paint(painted, noise(480, 640, 3, np.float32), camera, scipy_rotation((10, 70, 20)))
    np.testing.assert_array_equal(painted, expected)


def test_one_canvas_serves_many_photos():
    canvas, photo = np.zeros((256, 512, 3), np.uint8), noise(480, 640)
    for pose in POSES:
        box = paint(canvas, photo, PINHOLE, scipy_rotation(pose))
        np.testing.assert_array_equal(canvas, photo_to_sphere(photo, PINHOLE, scipy_rotation(pose), 512)[0])
        for at in box.slices(512):
            canvas[at] = 0
        assert not canvas.any()


def test_painting_needs_a_panorama_of_the_same_kind():
    with pytest.raises(InputError, match="photo and the panorama under it must have the same type and channels"):
        paint(noise(128, 256, 4), noise(480, 640), PINHOLE, np.eye(3))
    with pytest.raises(InputError, match="twice as wide as high"):
        paint(noise(100, 256), noise(480, 640), PINHOLE, np.eye(3))
