"""Pictures: the same scene in every camera, supersampling against the true average, and what the renderer refuses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rendered import planted, scenes

from builders.procedural import Renderer, pixel_rays, plan_photo, render_panorama, render_photo, sample_scene
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import InputError


def test_a_pixel_alone_is_what_it_is_in_the_whole_picture():
    scene = scenes(1)[0]
    view, labels = plan_photo(scene, 0)
    marked = planted(scene, labels[0].figure.entity)
    rays = pixel_rays(view.camera)
    whole = render_photo(marked, view.camera, view.rotation)
    x0, y0, x1, y1 = np.array(labels[0].head_box).astype(int)
    np.testing.assert_array_equal(Renderer(marked).image(rays[y0:y1, x0:x1], view.rotation), whole[y0:y1, x0:x1])
    shown = np.all(whole == [253, 0, 253], axis=2)
    assert shown[y0:y1, x0:x1].mean() > 0.4
    panorama = render_panorama(marked, 512)
    np.testing.assert_array_equal(
        panorama[100:140, 30:90], Renderer(marked).image(sphere.cell_directions(512, 256)[100:140, 30:90])
    )


def test_photo_and_panorama_show_the_same_scene():
    for scene in scenes(2, seed=21):
        view, _ = plan_photo(scene, 0)
        photo = render_photo(scene, view.camera, view.rotation, supersample=2).astype(int)
        panorama = render_panorama(scene, 2048, supersample=2).astype(int)
        pixels, ahead = view.camera.project(sphere.rotate(view.rotation.T, sphere.cell_directions(2048, 1024)))
        inside = ahead & view.camera.contains(pixels)
        where = np.minimum(pixels[inside].astype(int), [view.camera.width - 1, view.camera.height - 1])
        difference = np.abs(photo[where[:, 1], where[:, 0]] - panorama[inside]).max(axis=1)
        assert inside.mean() > 0.03
        assert np.median(difference) <= 1
        assert np.mean(difference > 16) < 0.05  # edges fall on other pixels


def test_supersampling_nears_the_true_average():
    scene = scenes(1, seed=2)[0]
    view, _ = plan_photo(scene, 0)
    camera = view.camera.resized(view.camera.width // 2, view.camera.height // 2)
    fine = camera.resized(camera.width * 6, camera.height * 6)
    renderer = Renderer(scene)
    truth = cv2.resize(
        renderer.image(pixel_rays(fine), view.rotation).astype(np.float32) ** 2,
        (camera.width, camera.height),
        interpolation=cv2.INTER_AREA,
    )  # the display curve is a square root, up to its shoulder
    errors = [
        np.abs(np.sqrt(truth) - renderer.image(pixel_rays(camera), view.rotation, supersample=count)).mean()
        for count in (1, 2, 3)
    ]
    assert errors[0] > 1.8 * errors[1]
    assert errors[1] > errors[2]


def test_renderer_checks_what_it_is_given():
    scene = sample_scene(0, 0)
    with pytest.raises(InputError, match=r"finite array \(H, W, 3\); found the shape \(4, 3\)"):
        Renderer(scene).image(np.ones((4, 3)))
    with pytest.raises(InputError, match="1 values that are not finite"):
        Renderer(scene).image(np.array([[[0.0, np.nan, 1.0]]]))
    with pytest.raises(InputError, match="1 or more rays per pixel"):
        Renderer(scene).image(np.ones((2, 2, 3)), supersample=0)
    with pytest.raises(InputError, match="even number of pixels; found 5"):
        render_panorama(scene, 5)
    with pytest.raises(InputError, match="must be group or around"):
        sample_scene(0, 0, "ring")
    single = Renderer(scene).image(np.array([[[0.0, 0.0, 1.0]]]), supersample=3)
    assert single.shape == (1, 1, 3)


def test_any_camera_renders():
    """A fisheye sees beyond 180 degrees; its middle is what a pinhole sees there."""
    scene = scenes(4, "around")[-1]
    rotation = sphere.rotation_from_pose(0.4, -0.1, 0.2)
    wide = Camera.from_fov("equidistant", 240, 240, np.radians(200.0))
    directions, valid = wide.rays(np.stack(np.meshgrid(np.arange(240) + 0.5, np.arange(240) + 0.5), axis=-1))
    image = Renderer(scene).image(np.where(valid[..., None], directions, (0.0, 0.0, 1.0)), rotation)
    narrow = Camera.from_fov("pinhole", 61, 61, np.radians(20.0))
    same = Renderer(scene).image(wide.rays(wide.project(pixel_rays(narrow)).pixels).directions, rotation)
    np.testing.assert_array_equal(same, Renderer(scene).image(pixel_rays(narrow), rotation))
    assert image.std() > 10
