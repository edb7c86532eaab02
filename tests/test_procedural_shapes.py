"""Solids and rays: meetings, normals, covers and outlines against definitions written out afresh; culling against none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendered import depth_inside, random_solid, rays_of, scenes

from builders.procedural import pixel_rays, plan_photo
from builders.procedural.shapes import covering_balls, frame_along, meet, outline, surface
from builders.procedural.trace import NOTHING, Tracer, bundled, unbundled
from srgaze360 import sphere
from srgaze360.cameras import Camera

SIZES = {"ball": [(0.0, 0.0, 0.0)], "box": [(0.0, 0.0, 0.0)], "drum": [(1.0, 0, 0), (0.3, 0, 0), (0.0, 0, 0), (1.4, 0, 0)],
         "limb": [(0.5, 0.3, 0.3), (0.6, 0.2, 0.5), (0.4, 0.5, 0.1)]}  # fmt: skip
KINDS = [(shape, size) for shape, sizes in SIZES.items() for size in sizes]


@pytest.mark.parametrize(("shape", "size"), KINDS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12)
def test_rays_enter_a_solid_where_it_begins(shape, size, seed):
    rng = np.random.default_rng(seed)
    solid = random_solid(rng, shape, size)
    origin = sphere.normalise(rng.normal(size=3)) * rng.uniform(4.0, 8.0)
    directions = sphere.normalise(solid.centre + rng.normal(size=(60, 3)) * 0.6 - origin) * rng.uniform(0.5, 2.0)
    distance = meet(solid, origin, rays_of(directions))
    hit = np.isfinite(distance)
    assert hit.any()
    points = origin + distance[hit, None] * directions[hit]
    assert np.abs(depth_inside(solid, points)).max() < 5e-4  # the oracle's limb is made of 65 balls
    steps = np.linspace(0.0, 20.0, 2001)[:, None]
    for ray, reached in zip(directions[:12], distance[:12], strict=True):
        inside = np.flatnonzero(depth_inside(solid, origin + steps * ray) > 1e-3)
        if len(inside):
            assert reached <= steps[inside[0], 0] + 1e-9
        if np.isfinite(reached):
            assert not (steps[inside, 0] < reached - 1e-3).any()


@pytest.mark.parametrize(("shape", "size"), KINDS)
def test_normals_point_out_and_are_square_to_the_surface(shape, size):
    rng = np.random.default_rng(3)
    for _ in range(5):
        solid = random_solid(rng, shape, size)
        origin = sphere.normalise(rng.normal(size=3)) * 6.0
        towards = sphere.normalise(solid.centre + rng.normal(size=(200, 3)) * 0.4 - origin)
        distance = meet(solid, origin, rays_of(towards))
        towards, distance = towards[np.isfinite(distance)], distance[np.isfinite(distance)]
        points = origin + distance[:, None] * towards
        _, normal = surface(solid, rays_of(points))
        normal = np.stack(normal, axis=-1)
        np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1.0, atol=1e-12)
        assert (depth_inside(solid, points + 1e-3 * normal) < 0.0).all()
        assert (np.sum(normal * towards, axis=-1) < 1e-6).all()  # only sides that face the eye are met
        beside = towards + 1e-6 * rng.normal(size=towards.shape)
        there = meet(solid, origin, rays_of(beside))
        ok = np.isfinite(there)
        step = (origin + there[ok, None] * beside[ok]) - points[ok]
        along = np.abs(np.sum(step * normal[ok], axis=-1)) / np.linalg.norm(step, axis=-1)
        assert np.quantile(along, 0.95) < 1e-3  # the rest straddles an edge or the rim


@pytest.mark.parametrize(("shape", "size"), KINDS)
def test_covers_and_outlines_contain_the_solid_tightly(shape, size):
    rng = np.random.default_rng(4)
    camera = Camera.from_fov("pinhole", 100, 100, 1.2)
    for _ in range(6):
        solid = random_solid(rng, shape, size)
        points = solid.centre + rng.uniform(-2.0, 2.0, (200_000, 3))
        points = points[depth_inside(solid, points) > 0.0]
        centres, radii = covering_balls(solid)
        nearest = np.min(np.linalg.norm(points[:, None] - centres, axis=-1) - radii, axis=1)
        assert nearest.max() <= 1e-9
        eye = np.array([0.1, -0.2, -7.0])
        edge, _ = camera.project(outline([solid], eye) - eye)
        seen, _ = camera.project(points - eye)
        span = edge.max(axis=0) - edge.min(axis=0)
        assert (seen.min(axis=0) >= edge.min(axis=0) - 0.003 * span).all()
        assert (seen.max(axis=0) <= edge.max(axis=0) + 0.003 * span).all()
        assert (seen.max(axis=0) - seen.min(axis=0) >= 0.85 * span).all()  # random points seldom reach the very edge


def test_frames_are_rotations_also_along_the_forward_axis():
    for axis in ([0, 1, 0], [0, 0, 1], [1, 2, -0.5], [0, 0, -3]):
        frame = frame_along(axis, [0.0, 0.0, 1.0])
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(frame) == pytest.approx(1.0)
        np.testing.assert_allclose(frame[:, 1], sphere.normalise(axis), atol=1e-12)


@pytest.mark.parametrize("shape", [(33, 47), (16, 16), (1, 1), (5, 160)])
def test_bundles_are_undone(shape):
    grid = np.arange(np.prod(shape)).reshape(shape)
    bundles = bundled(grid, 16)
    assert bundles.shape[1] == 256
    np.testing.assert_array_equal(unbundled(bundles, *shape, 16), grid)


def test_culling_changes_nothing():
    """Bundles, cones and balls against meeting every ray with every solid, for photos, panoramas and scattered rays."""
    rng = np.random.default_rng(0)
    for scene in scenes(2) + scenes(2, "around"):
        view, _ = plan_photo(scene, 0)
        photo = sphere.rotate(view.rotation, pixel_rays(view.camera)[::6, ::6])
        for directions in (photo, sphere.cell_directions(120, 60), sphere.normalise(rng.normal(size=(40, 40, 3)))):
            rays = rays_of(directions.astype(np.float32))
            _, index = scene.tracer.trace(scene.camera, tuple(bundled(part, 16) for part in rays))
            index = unbundled(index, *directions.shape[:2], 16)
            every = np.stack([meet(solid, scene.camera, rays) for solid in scene.solids])
            expected = np.where(np.isfinite(every.min(axis=0)), every.argmin(axis=0), NOTHING)
            np.testing.assert_array_equal(index, expected)
    assert Tracer([]).trace(np.zeros(3), tuple(np.ones((2, 4), np.float32) for _ in range(3)))[1].max() == NOTHING
