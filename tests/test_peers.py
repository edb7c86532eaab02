"""Agreement with other libraries of reprojection."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import py360convert
import pytest
from projections import RAD, noise, psnr, scipy_rotation

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.reproject import sphere_to_view


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (30, 40), (180, 0), (-100, -60), (0, 90)])
def test_view_agrees_with_py360convert(yaw, pitch):
    panorama = cv2.GaussianBlur(noise(512, 1024), (0, 0), 2)
    camera = Camera.from_fov("pinhole", 400, 300, RAD(90))
    vertical = np.degrees(camera.vfov)
    theirs = py360convert.e2p(panorama, (90, vertical), yaw, pitch, (300, 400), mode="bilinear")
    # py360convert spreads its pixel centres from edge to edge: the view of a focal length (n - 1) / n as long
    stretched = replace(camera, fx=camera.fx * 399 / 400, fy=camera.fy * 299 / 300)
    rotation = scipy_rotation((yaw, pitch, 0))
    ours = sphere_to_view(panorama, stretched, rotation, antialias=False).astype(int)
    assert np.quantile(np.abs(ours - theirs), 0.999) <= 1
    # and ours, rightly spread, is never more than half a pixel of the view away from it
    exact = sphere_to_view(panorama, camera, rotation, antialias=False)
    assert psnr(exact, theirs, np.ones((300, 400), bool)) > 36


FACES = {"F": (0, 0), "R": (90, 0), "B": (180, 0), "L": (-90, 0), "U": (0, 90), "D": (0, -90)}


def off_by(camera, rotation, theirs):
    """Output pixels (H, W, 2) by which directions that a peer put into a view miss the pixel centres of the camera."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return camera.project(theirs.astype(np.float64) @ rotation).pixels - np.stack([x, y], axis=-1)


def edge_to_edge(count):
    """Offset of pixel centres spread over [0, n] from edge to edge: half a pixel at the border, nothing in the middle."""
    return np.arange(count) * count / (count - 1) - (np.arange(count) + 0.5)


@pytest.mark.parametrize("face", FACES)
def test_faces_of_py360converts_cubemap_differ_by_its_edge_error_only(face):
    directions = sphere.cell_directions(2048, 1024).astype(np.float32)
    theirs = py360convert.e2c(directions, face_w=128, mode="bilinear", cube_format="dict")[face]
    camera, rotation = Camera.from_fov("pinhole", 128, 128, RAD(90)), scipy_rotation((*FACES[face], 0))
    off = off_by(camera, rotation, theirs)
    expected = edge_to_edge(128)
    np.testing.assert_allclose(off[..., 0], np.broadcast_to(expected, (128, 128)), atol=0.02)
    np.testing.assert_allclose(off[..., 1], np.broadcast_to(expected[:, None], (128, 128)), atol=0.02)
    assert np.abs(off).max() <= 0.51
    assert np.abs(off[63:65, 63:65]).max() <= 0.015
    # and ours has none: the same directions, seen through the camera
    ours = sphere_to_view(directions, camera, rotation, antialias=False)
    assert np.abs(off_by(camera, rotation, ours)).max() < 1e-3


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (30, 40, 20), (180, 0, 0), (-100, -60, -45), (0, 90, 0)])
def test_py360converts_viewport_differs_by_its_edge_error_only(yaw, pitch, roll):
    directions = sphere.cell_directions(2048, 1024).astype(np.float32)
    camera = Camera.from_fov("pinhole", 160, 120, RAD(90))
    theirs = py360convert.e2p(directions, (90, np.degrees(camera.vfov)), yaw, pitch, (120, 160), roll, mode="bilinear")
    off = off_by(camera, scipy_rotation((yaw, pitch, roll)), theirs)
    np.testing.assert_allclose(off[..., 0], np.broadcast_to(edge_to_edge(160), (120, 160)), atol=0.02)
    np.testing.assert_allclose(off[..., 1], np.broadcast_to(edge_to_edge(120)[:, None], (120, 160)), atol=0.02)
