"""Reprojection against rendered truth: the same scene as a photo put on the sphere, and rendered straight to the panorama.

Renderer and reprojection share the camera's rays and nothing else, so a wrong footprint, a shift by half a pixel, or a mirrored
axis in either shows as a difference between the two pictures. Both are rendered with 4 x 4 rays per pixel, averaged as they
are displayed. *Typical* is a furnished room as it comes, *sharp* the same room papered with checks of full contrast.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from projections import psnr
from rendered import planted, scenes

from builders.procedural import Renderer, plan_photo, render_panorama, render_photo, sample_scene
from builders.procedural.room import Face
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.reproject import photo_to_sphere, sphere_to_view

WIDTH, RAYS = 1024, 4
POSES = {"front": (20.0, -5.0, 0.0), "seam": (176.0, 10.0, 25.0), "zenith": (-60.0, 88.0, 40.0)}
CHECKS = Face("checks", ((0.02, 0.02, 0.02), (0.9, 0.85, 0.8)), 0.25)


def averaged(image):
    return cv2.resize(image, None, fx=1 / RAYS, fy=1 / RAYS, interpolation=cv2.INTER_AREA)


def photographed(scene, camera, rotation):
    return averaged(render_photo(scene, camera.resized(RAYS * camera.width, RAYS * camera.height), rotation))


@pytest.fixture(scope="module")
def rooms():
    """Scene and directly rendered panorama of each texture."""
    typical = sample_scene(360, 7, "around")
    sharp = replace(typical, room=replace(typical.room, faces=(CHECKS,) * 6))
    return {
        name: (scene, averaged(render_panorama(scene, RAYS * WIDTH)))
        for name, scene in (("typical", typical), ("sharp", sharp))
    }


def check_photo(room, camera, pose, decibels):
    scene, truth = room
    rotation = sphere.rotation_from_pose(*np.radians(pose))
    panorama, coverage = photo_to_sphere(photographed(scene, camera, rotation), camera, rotation, WIDTH)
    inside = coverage == 255
    assert inside.mean() > 0.05
    right = psnr(panorama, truth, inside)
    assert right >= decibels
    # the comparison can tell: a shift by one pixel is worse, in both directions
    for axis in (0, 1):
        for shift in (-1, 1):
            assert psnr(np.roll(panorama, shift, axis), truth, inside & np.roll(inside, shift, axis)) < right - 1.0


@pytest.mark.parametrize(("texture", "decibels"), [("typical", 40.0), ("sharp", 30.0)])
@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
def test_a_photo_on_the_sphere_is_the_rendered_panorama(rooms, pose, texture, decibels):
    check_photo(rooms[texture], Camera.from_fov("pinhole", 640, 480, np.radians(90.0)), pose, decibels)


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
@pytest.mark.parametrize(
    ("lens", "fov", "params"),
    [("brown-conrady", 80.0, (-0.12, 0.01)), ("equidistant", 150.0, ()), ("ucm", 120.0, (0.8,))],
)
def test_other_lenses_too(rooms, lens, fov, params, pose):
    check_photo(rooms["typical"], Camera.from_fov(lens, 640, 480, np.radians(fov), params=params), pose, 40.0)


def test_a_view_of_the_rendered_panorama_is_the_photo(rooms):
    scene, truth = rooms["typical"]
    camera = Camera.from_fov("pinhole", 320, 240, np.radians(90.0), side="width")
    for pose in POSES.values():
        rotation = sphere.rotation_from_pose(*np.radians(pose))
        view = sphere_to_view(truth, camera, rotation)
        assert psnr(view, photographed(scene, camera, rotation), np.ones(view.shape[:2], dtype=bool)) > 28.0


def test_the_gazed_object_sits_under_the_label():
    """Labels go photo pixel -> camera -> rotation -> sphere; there the renderer must meet what the person looks at, and the
    reprojected photo must show it: it is dyed in a colour that nothing else has."""
    seen = 0
    for scene in scenes(12):
        view, labels = plan_photo(scene, 0)
        for label in labels:
            gazed = label.figure.gaze.entity
            if gazed is None or not label.in_frame or label.flags.visibility != "visible":
                continue
            pixel = np.multiply(label.target, (view.camera.width, view.camera.height))
            # a pose that the photo was not taken in: label and pixels must move together
            moved = sphere.rotation_from_pose(2.9, 0.6, -0.8)
            direction = sphere.rotate(moved, view.camera.rays(pixel).directions)
            there = sphere.rotate(view.rotation @ moved.T, direction)
            solid = scene.solids[int(Renderer(scene).solids(there[None, None])[0, 0])]
            assert solid.entity == gazed
            photo = render_photo(planted(scene, gazed), view.camera, view.rotation)
            panorama, _ = photo_to_sphere(photo, view.camera, moved, 4096, antialias=False)
            x, y = sphere.pixel_from_direction(direction, 4096)
            red, green, blue = panorama[int(y), int(x)].astype(int)
            assert min(red, blue) > 2 * green + 40, "magenta"
            seen += 1
    assert seen >= 8
