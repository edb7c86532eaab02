"""Procedural scenes: geometry against independent oracles, labels against pixels, folders against what was asked for."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.procedural import (
    Renderer,
    gaze_flags,
    label_photo,
    panorama_label,
    pixel_rays,
    plan_photo,
    render_panorama,
    render_photo,
    sample_scene,
    write_gazefollow_folder,
)
from builders.procedural.figures import HAIR_PART, HEAD_PART
from builders.procedural.paint import Paint, albedo_of
from builders.procedural.photos import OUTLIER_FACTOR, OUTLIER_SHARE, View, simulate_annotators
from builders.procedural.rooms import without_people
from builders.procedural.shapes import covering_balls, frame_along, meet, outline, primitive, surface
from builders.procedural.sidecar import COLUMNS, SIDECAR_FILE
from builders.procedural.trace import NOTHING, Tracer, bundled, unbundled
from builders.sources.base import resolve_person
from builders.sources.procedural import SOURCE
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.errors import EnvironmentProblem, InputError

PLAIN = Paint(((0.5, 0.5, 0.5),))
PLANTED = Paint(((1.0, 0.0, 1.0),), glow=1.0)
SIZES = {"ball": [(0.0, 0.0, 0.0)], "box": [(0.0, 0.0, 0.0)], "drum": [(1.0, 0, 0), (0.3, 0, 0), (0.0, 0, 0), (1.4, 0, 0)],
         "limb": [(0.5, 0.3, 0.3), (0.6, 0.2, 0.5), (0.4, 0.5, 0.1)]}  # fmt: skip
KINDS = [(shape, size) for shape, sizes in SIZES.items() for size in sizes]


# --- oracles ------------------------------------------------------------------------------------------------------------


def depth_inside(solid, points):
    """How deep world points (..., 3) lie inside a solid, in local units; negative outside. From the shapes' definitions."""
    x, y, z = np.moveaxis(np.einsum("ij,...j->...i", np.linalg.inv(solid.to_world), points - solid.centre), -1, 0)
    if solid.shape == "ball":
        return 1.0 - np.sqrt(x * x + y * y + z * z)
    if solid.shape == "box":
        return 1.0 - np.maximum(np.maximum(abs(x), abs(y)), abs(z))
    if solid.shape == "drum":
        radius = solid.size[0] + (1.0 - solid.size[0]) * (y + 1.0) / 2.0
        return np.minimum(1.0 - abs(y), radius - np.hypot(x, z))
    half, upper, lower = solid.size  # the hull of two balls is the union of all balls between them
    shares = np.linspace(0.0, 1.0, 65)
    depths = [upper + (lower - upper) * s - np.sqrt(x * x + (y + half - 2 * half * s) ** 2 + z * z) for s in shares]
    return np.max(depths, axis=0)


def first_by_marching(scene, start, end, without=None, steps=3000):
    """Entity and part of the first solid on a segment, by walking along it in small steps."""
    ray = end - start
    shares = (np.arange(steps) + 0.5) / steps
    points = start + shares[:, None] * ray
    first, met = steps, None
    for solid in scene.solids:
        reach = np.linalg.norm(solid.to_world, axis=0).sum() * (max(solid.size) * 2 + 1)
        along = np.clip((solid.centre - start) @ ray / (ray @ ray), 0, 1)
        if solid.entity == without or np.linalg.norm(start + along * ray - solid.centre) > reach:
            continue
        inside = np.flatnonzero(depth_inside(solid, points) > 0.0)
        if len(inside) and inside[0] < first:
            first, met = inside[0], solid
    return met


def random_solid(rng, shape, size):
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    scale = rng.uniform(0.3, 1.5, 3) if shape != "limb" else np.array([1.0, 1.0, rng.uniform(0.5, 1.0)])
    return primitive(shape, rng.normal(size=3) * 0.3, turn * scale, PLAIN, 0, "whole", size)


def rays_of(directions):
    return tuple(directions[..., axis] for axis in range(3))


def scenes(count, arrangement="group", seed=11):
    return [sample_scene(seed, index, arrangement) for index in range(count)]


@pytest.fixture(scope="module")
def some_scenes():
    return scenes(6) + scenes(4, "around")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("rendered") / "photos"
    done = []
    written = write_gazefollow_folder(out, 12, 5, test_share=0.5, supersample=1, progress=done.append)
    assert written.photos == sum(done) == 12
    return out


@pytest.fixture
def copy(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_rows(path, rows, columns=tuple(COLUMNS)):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


# --- shapes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "size"), KINDS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
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


# --- tracing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(33, 47), (16, 16), (1, 1), (5, 160)])
def test_bundles_are_undone(shape):
    grid = np.arange(np.prod(shape)).reshape(shape)
    bundles = bundled(grid, 16)
    assert bundles.shape[1] == 256
    np.testing.assert_array_equal(unbundled(bundles, *shape, 16), grid)


def test_culling_changes_nothing(some_scenes):
    """Bundles, cones and balls against meeting every ray with every solid, for photos, panoramas and scattered rays."""
    rng = np.random.default_rng(0)
    for scene in some_scenes[::3]:
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


def test_flags_agree_with_walking_along_the_rays():
    """Visibility and sight line, against steps of two millimetres or so through solids defined afresh above."""
    agreed = total = 0
    for scene in scenes(7) + scenes(4, "around"):
        for figure in scene.figures:
            flags = gaze_flags(scene, figure)
            for start, without, flag in (
                (scene.camera, None, flags.visibility == "visible"),
                (figure.eye, figure.entity, flags.sight_line == "clear"),
            ):
                met = first_by_marching(scene, start, figure.gaze.point, without)
                own = met is not None and met.entity == figure.gaze.entity
                expected = met is None or (own and (figure.gaze.kind != "person" or met.part in (HEAD_PART, HAIR_PART)))
                agreed += expected == flag
                total += 1
            towards = sphere.angle_between(figure.head_rotation @ [0, 0, 1.0], scene.camera - figure.body.head)
            assert flags.face == ("front" if towards < np.pi / 3 else "side" if towards <= 2 * np.pi / 3 else "back")
    assert total > 50
    assert agreed >= total - 1  # a ray may graze a solid by less than a step


# --- labels and pixels --------------------------------------------------------------------------------------------------


def test_labels_are_projections_of_the_targets(some_scenes):
    """Photo labels by a pinhole written out here; panorama labels by arc tangents."""
    count = 0
    for scene in some_scenes:
        view, labels = plan_photo(scene, 0)
        yaw, pitch, roll = np.radians([view.yaw_deg, view.pitch_deg, view.roll_deg])
        cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
        right, down, ahead = np.array([cy, 0, -sy]), np.array([sy * sp, cp, cy * sp]), np.array([sy * cp, -sp, cy * cp])
        right, down = cr * right + sr * down, cr * down - sr * right
        size = np.array([view.camera.width, view.camera.height])
        longer = 2.0 * np.arctan(size.max() / 2.0 / view.camera.fx)
        assert np.radians(50.0) - 1e-9 <= longer <= np.radians(75.0) + 1e-9
        for label in labels:
            offset = label.figure.gaze.point - scene.camera
            if offset @ ahead <= 0.0:
                assert label.target is None
                assert not label.in_frame
                continue
            pixel = np.array([offset @ right, offset @ down]) / (offset @ ahead) * view.camera.fx + size / 2.0
            np.testing.assert_allclose(np.array(label.target) * size, pixel, atol=1e-6)
            assert label.in_frame == bool(np.all((pixel > 0) & (pixel < size)))
            gaze = label.figure.gaze.point - label.figure.eyes.mean(axis=0)
            np.testing.assert_allclose(label.gaze, np.array([right, down, ahead]) @ gaze / np.linalg.norm(gaze), atol=1e-12)
            x, y, z = offset
            lon, lat = np.arctan2(x, z), np.arctan2(-y, np.hypot(x, z))
            on_sphere = panorama_label(scene, label.figure)
            np.testing.assert_allclose(sphere.lonlat_from_direction(on_sphere.gaze), (lon, lat), atol=1e-12)
            assert on_sphere.flags == label.flags
            count += 1
    assert count > 15


def planted(scene, entity):
    return replace(scene, solids=tuple(replace(s, paint=PLANTED) if s.entity == entity else s for s in scene.solids))


def test_a_planted_target_shows_under_its_label_in_photo_and_panorama():
    shown = hidden = 0
    for scene in scenes(20):
        view, labels = plan_photo(scene, 0)
        for label in labels:
            if label.figure.gaze.kind != "object" or not label.in_frame:
                continue
            marked = planted(scene, label.figure.gaze.entity)
            x, y = (np.array(label.target) * [view.camera.width, view.camera.height]).astype(int)
            u, v = sphere.pixel_from_direction(panorama_label(marked, label.figure).gaze, 2048).astype(int)
            # rays are rendered one by one: a pixel alone is what it is in the whole picture (tested below)
            pixels = (
                Renderer(marked).image(pixel_rays(view.camera)[y : y + 1, x : x + 1], view.rotation),
                Renderer(marked).image(sphere.cell_directions(2048, 1024)[v : v + 1, u : u + 1]),
            )
            close = [np.abs(pixel[0, 0].astype(int) - [253, 0, 253]).max() <= 3 for pixel in pixels]
            assert close == [label.flags.visibility == "visible"] * 2, (scene.index, label.figure.gaze.entity)
            shown += close[0]
            hidden += not close[0]
    assert shown >= 15
    assert hidden >= 2


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


def head_mask(scene, figure, directions, rotation=None):
    head = tuple(s for s in scene.solids if s.entity == figure.entity and s.part == HEAD_PART)
    return Renderer(replace(scene, solids=head)).solids(directions, rotation) != NOTHING


def test_head_boxes_hold_the_head_tightly(some_scenes):
    count = seams = 0
    for scene in some_scenes + scenes(30, "around", seed=8):
        if scene.arrangement == "group":
            view, labels = plan_photo(scene, 0)
            for label in labels:
                rows, columns = np.nonzero(head_mask(scene, label.figure, pixel_rays(view.camera), view.rotation))
                shown = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                box = np.array(label.head_box)
                assert np.abs(box - shown).max() <= 1.0
                assert (box[:2] <= shown[:2] + 0.55).all()  # no pixel centre of the head lies outside
                assert (box[2:] >= shown[2:] - 0.55).all()
                count += 1
            continue
        for label in (panorama_label(scene, figure) for figure in scene.figures):
            crosses = label.head_box[2] > 1.0
            if not crosses and scene.seed == 8:
                continue
            figure = next(f for f in scene.figures if f.entity == label.entity)
            mask = np.roll(head_mask(scene, figure, sphere.cell_directions(2048, 1024)), 1024 * crosses, axis=1)
            rows, columns = np.nonzero(mask)
            shown = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / [2048, 1024, 2048, 1024]
            box = np.array(label.head_box) - np.array([0.5, 0, 0.5, 0]) * crosses
            assert np.abs((box - shown) * [2048, 1024, 2048, 1024]).max() <= 1.0
            middle = sphere.pixel_from_direction(label.head, 2048) / [2048, 1024]
            centre = (box[:2] + box[2:]) / 2.0
            np.testing.assert_allclose((middle + np.array([0.5 * crosses, 0])) % 1.0, centre, atol=1e-9)
            height = np.pi * (box[3] - box[1])
            assert 0.4 * height < label.head_radius < 0.75 * height
            seams += crosses
            count += 1
    assert count > 25
    assert seams >= 2


def test_heads_and_eyes_turn_to_the_target(some_scenes):
    for scene in some_scenes:
        for figure in scene.figures:
            eyeballs = [s for s in scene.solids if s.entity == figure.entity and s.paint.pattern == "eye"]
            assert len(eyeballs) == 2
            for eyeball in eyeballs:
                towards = figure.head_rotation @ eyeball.paint.numbers[:3]
                assert sphere.angle_between(towards, figure.gaze.point - eyeball.centre) < 1e-9
                pupil = sphere.normalise(eyeball.to_local @ (towards * 0.02))
                assert max(albedo_of(eyeball.paint, *pupil[:, None])[:, 0]) < 0.01
            np.testing.assert_allclose(np.mean([e.centre for e in eyeballs], axis=0), figure.eye, atol=1e-9)
            turned = sphere.angle_between(figure.head_rotation[:, 2], figure.gaze.point - figure.eye)
            assert np.degrees(turned) < 35.0


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


# --- scenes as a population ---------------------------------------------------------------------------------------------


def test_shares_of_flags_are_plausible():
    """About 120 photos, labelled without rendering: the population the module's docstrings promise."""
    counts, heads = Counter(), []
    for index in range(120):
        scene = sample_scene(77, index)
        assert 1 <= len(scene.figures) <= 4
        assert 4 <= sum(entity.kind == "object" for entity in scene.entities) <= 13
        _, labels = plan_photo(scene, 0)
        for label in labels:
            flags = label.flags
            counts.update(
                [flags.face, flags.visibility, flags.sight_line, flags.target_kind, "in" if label.in_frame else "out"]
            )
            heads.append(label.head_box[3] - label.head_box[1])
    total = len(heads)
    share = {name: count / total for name, count in counts.items()}
    assert total > 250
    limits = {
        "object": (0.55, 0.75), "person": (0.18, 0.38), "surface": (0.03, 0.13), "out": (0.09, 0.24), "front": (0.35, 0.6),
        "side": (0.28, 0.48), "back": (0.08, 0.26), "hidden": (0.04, 0.2), "blocked": (0.01, 0.12),
    }  # fmt: skip
    wrong = {name: share.get(name, 0.0) for name, (low, high) in limits.items() if not low <= share.get(name, 0.0) <= high}
    assert not wrong
    assert 30 < np.median(heads) < 50
    assert np.quantile(heads, 0.02) > 20


def test_around_scenes_have_people_and_targets_on_all_sides():
    arcs, lons = [], []
    for scene in scenes(40, "around"):
        for figure in scene.figures:
            label = panorama_label(scene, figure)
            arcs.append(float(np.degrees(sphere.angle_between(label.head, label.gaze))))
            lons.append(sphere.lonlat_from_direction(label.head)[0])
    assert np.mean(np.array(arcs) > 45.0) > 0.4
    assert np.max(arcs) > 150.0
    assert np.histogram(lons, bins=4, range=(-np.pi, np.pi))[0].min() > 0.12 * len(lons)


def test_a_scene_depends_on_its_seed_and_index_only():
    first, again = sample_scene(4, 2), sample_scene(4, 2)
    assert len(first.solids) == len(again.solids)
    for one, other in zip(first.solids, again.solids, strict=True):
        np.testing.assert_array_equal(one.to_world, other.to_world)
        assert one.paint == other.paint
    for other in (sample_scene(4, 3), sample_scene(5, 2), sample_scene(4, 2, "around")):
        assert not np.array_equal(first.camera, other.camera)
    one, two = plan_photo(first, 0)[0], plan_photo(first, 1)[0]
    assert one.yaw_deg != two.yaw_deg


def test_empty_rooms_hold_neither_people_nor_what_they_held():
    rooms = scenes(40)
    assert any(figure.held is not None for scene in rooms for figure in scene.figures)
    for scene in rooms:
        left = without_people(scene)
        gone = {figure.entity for figure in scene.figures} | {figure.held for figure in scene.figures}
        assert not gone & {solid.entity for solid in left.solids}
        assert {solid.entity for solid in scene.solids} - {solid.entity for solid in left.solids} == gone - {None}
        assert left.figures == ()


# --- annotators ---------------------------------------------------------------------------------------------------------


def label_at(x, y):
    scene = sample_scene(0, 0)
    _, labels = plan_photo(scene, 0)
    return replace(labels[0], target=(x, y), in_frame=True)


def test_annotators_err_as_promised():
    camera = Camera.from_fov("pinhole", 640, 480, np.radians(60.0))
    points = simulate_annotators(np.random.default_rng(1), label_at(0.55, 0.5), camera, 40_000, 2.0)
    exact = camera.rays([0.55 * 640, 240.0]).directions
    errors = np.degrees(sphere.log_map(exact, camera.rays(points * [640, 480]).directions))
    expected = 2.0 * np.sqrt(1.0 - OUTLIER_SHARE + OUTLIER_SHARE * OUTLIER_FACTOR**2)
    np.testing.assert_allclose(np.sqrt(np.mean(errors**2, axis=0)), expected, rtol=0.04)
    np.testing.assert_allclose(errors.mean(axis=0), 0.0, atol=0.06)
    assert np.median(np.hypot(*errors.T)) == pytest.approx(2.0 * np.sqrt(2.0 * np.log(2.0)), rel=0.08)


@pytest.mark.parametrize("target", [(0.0005, 0.0005), (0.9995, 0.5), (0.5, 0.9999)])
def test_annotators_click_inside_the_photo(target):
    camera = Camera.from_fov("pinhole", 640, 480, np.radians(60.0))
    points = simulate_annotators(np.random.default_rng(2), label_at(*target), camera, 500, 4.0)
    assert points.shape == (500, 2)
    assert ((points > 0.0) & (points < 1.0)).all()
    exact = simulate_annotators(np.random.default_rng(2), label_at(*target), camera, 3, 0.0)
    np.testing.assert_allclose(exact, np.tile(target, (3, 1)), atol=1e-12)


# --- folders ------------------------------------------------------------------------------------------------------------


def test_the_folder_is_what_was_asked_for(folder):
    """Read back by the source: the labels that the scenes have, photo by photo."""
    listing = SOURCE.read(folder, SOURCE.options())
    assert not listing.rejected
    assert not listing.repaired
    photos = {photo.image: photo for photo in listing.photos}
    record = json.loads((folder / "scenes.json").read_text())
    views = {view["image"]: (scene, view) for scene in record["scenes"] for view in scene["photos"]}
    assert len(views) == 12
    assert set(photos) == set(views) == {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}
    assert {scene["split"] for scene in record["scenes"]} == {"train", "test"}
    outside = 0
    for image, (entry, view) in views.items():
        scene = sample_scene(record["settings"]["seed"], entry["index"])
        number = [v["image"] for v in entry["photos"]].index(image)
        planned, labels = plan_photo(scene, number)
        assert view["hfov_deg"] == pytest.approx(planned.hfov_deg, abs=1e-6)
        pixels = cv2.imread(str(folder / image))
        assert pixels.shape[:2] == (view["height"], view["width"]) == (planned.camera.height, planned.camera.width)
        photo = photos[image]
        assert (photo.split, photo.cluster) == (entry["split"], entry["scene"])
        assert len(photo.people) == len(labels)
        for person, label in zip(photo.people, labels, strict=True):
            np.testing.assert_allclose(person.head_box, label.head_box, atol=1e-3)
            flags = label.flags
            assert {name: person.extras[name] for name in ("face", "visibility", "sight_line", "target_kind")} == vars(flags)
            assert person.in_frame == label.in_frame
            assert not isinstance(resolve_person(photo, person, view["width"], view["height"]), str)
            if label.in_frame:
                assert len(person.gaze) == 1 if photo.split == "train" else 8 <= len(person.gaze) <= 10
            elif label.target is None:
                assert person.gaze == ()
            else:
                np.testing.assert_allclose(person.gaze, [label.target], atol=1e-6)
                outside += 1
    assert outside >= 1
    assert len({p.person for photo in listing.photos for p in photo.people}) == sum(len(p.people) for p in listing.photos)


def test_annotation_files_have_the_layout_of_the_real_ones(folder, real):
    true = (real / "gazefollow" / "test_annotations_release.txt").read_bytes()
    made = (folder / "test_annotations_release.txt").read_bytes()
    assert made[:3] == true[:3] == b"\xef\xbb\xbf"
    ours, theirs = (data.decode("utf-8-sig").splitlines() for data in (made, true))
    assert {line.count(",") for line in ours} == {line.count(",") for line in theirs} == {15}
    train = (folder / "train_annotations_release.txt").read_text("utf-8-sig").splitlines()
    assert {line.count(",") for line in train} == {16}
    cells = [line.split(",") for line in train]
    assert {row[14] for row in cells} <= {"0", "1"}
    assert all(float(value) > 1.0 for row in cells for value in row[12:14])  # head boxes in pixels
    assert all(-0.001 <= float(value) <= 1.0 for row in cells for value in row[6:8])
    assert all(row[8:10] == ["-1", "-1"] for row in cells if row[14] == "0")
    assert ours[0].split("/")[0] == theirs[0].split("/")[0] == "test2"
    assert [len(part) for part in ours[0].split(",")[0].split("/")] == [5, 8, 12]
    people = {tuple(line.split(",")[:2]) for line in ours}
    rows = [row for row in read_rows(folder / SIDECAR_FILE) if row["split"] == "test"]
    assert people == {(row["image"], row["person"]) for row in rows if row["in_frame"] == "true"}


def test_without_noise_annotations_are_the_exact_targets(tmp_path):
    write_gazefollow_folder(tmp_path / "out", 2, 3, test_share=1.0, noise_deg=0.0, supersample=1)
    targets = {
        row["person"]: (float(row["target_x"]), float(row["target_y"]))
        for row in read_rows(tmp_path / "out" / SIDECAR_FILE)
        if row["target_x"]
    }
    listing = SOURCE.read(tmp_path / "out", SOURCE.options())
    people = [person for photo in listing.photos for person in photo.people if person.in_frame]
    assert people
    for person in people:
        np.testing.assert_allclose(person.gaze, np.tile(targets[person.person], (len(person.gaze), 1)), atol=1.1e-6)


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_content_depends_neither_on_workers_nor_on_how_many_are_asked_for(tmp_path):
    for name, photos, workers in (("one", 5, 1), ("two", 5, 2), ("fewer", 3, 1)):
        write_gazefollow_folder(tmp_path / name, photos, 9, supersample=2, workers=workers)
    one, two, fewer = (contents(tmp_path / name) for name in ("one", "two", "fewer"))
    assert one == two
    photos = [path for path in fewer if path.endswith(".jpg")]
    assert len(photos) == 3
    assert all(fewer[path] == one[path] for path in photos)
    assert one[SIDECAR_FILE].startswith(fewer[SIDECAR_FILE])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fewer", "one", "two"]  # nothing is left beside


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photos": 0}, "Expected photos from 1"),
        ({"seed": -1}, "Expected seed from 0"),
        ({"test_share": 1.5}, "Expected test_share from 0 to 1.*found 1.5"),
        ({"noise_deg": -2.0}, "Expected noise_deg from 0"),
        ({"supersample": 0}, "Expected supersample from 1"),
        ({"quality": 101}, "Expected quality from 1 to 100"),
        ({"workers": 0}, "Expected workers from 1"),
        ({"arrangement": "line"}, "must be group or around; found 'line'"),
    ],
)
def test_bad_arguments_leave_nothing_behind(tmp_path, change, message):
    arguments = {"photos": 1, "seed": 0} | change
    with pytest.raises(InputError, match=message):
        write_gazefollow_folder(tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="empty or a new folder.*holds something"):
        write_gazefollow_folder(tmp_path, 1, 0)
    with pytest.raises(InputError, match="holds something"):
        write_gazefollow_folder(tmp_path / "notes.txt", 1, 0)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="the system refused"):
        write_gazefollow_folder(tmp_path / "file" / "below", 1, 0)


def test_leftovers_of_a_killed_run_are_replaced(tmp_path):
    left = tmp_path / ".out.partial" / "train"
    left.mkdir(parents=True)
    (left / "old.jpg").write_bytes(b"")
    write_gazefollow_folder(tmp_path / "out", 1, 0, supersample=1)
    assert not (tmp_path / ".out.partial").exists()
    assert not (tmp_path / "out" / "train" / "old.jpg").exists()


def test_a_missing_or_foreign_sidecar_is_an_error(copy):
    sidecar = copy / SIDECAR_FILE
    rows = read_rows(sidecar)
    sidecar.unlink()
    with pytest.raises(InputError, match=r"Expected procedural\.csv beside the annotations.*write it again"):
        SOURCE.read(copy, SOURCE.options())
    write_rows(sidecar, rows, columns=[name for name in COLUMNS if name != "face"])
    with pytest.raises(InputError, match="missing: face; unknown: none"):
        SOURCE.read(copy, SOURCE.options())
    sidecar.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        SOURCE.read(copy, SOURCE.options())
    shutil.rmtree(copy)
    with pytest.raises(InputError, match="does not exist"):
        SOURCE.read(copy, SOURCE.options())


def annotated_row(rows):
    return next(row for row in rows if row["in_frame"] == "true")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[2].update(face="top"), "one of front, side, back in column face.*found 'top' in line 4"),
        (lambda rows: rows[1].update(hfov_deg="wide"), "finite number in column hfov_deg.*'wide' in line 3"),
        (lambda rows: rows[1].update(hfov_deg="nan"), "finite number in column hfov_deg"),
        (lambda rows: rows[0].update(scene=""), "text in column scene"),
        (lambda rows: rows[0].update(target_x="", target_y="0.5"), "half of a target point in line 2"),
        (lambda rows: rows.append(rows[3]), "a person listed before"),
        (lambda rows: rows.remove(annotated_row(rows)), "found 1 only in the annotations"),
        (lambda rows: rows[0].update(person="999"), "only in the annotations|only in the sidecar"),
        (lambda rows: rows.append({**annotated_row(rows), "person": "999"}), "1 only in the sidecar.*999"),
        (lambda rows: annotated_row(rows).update(head_x_min="1.5"), "another split, in-frame flag or head box"),
        (lambda rows: rows[0].update(image="../secret.jpg"), "leaves the source's folder|only in the annotations"),
        (lambda rows: rows[0].update(split="test" if rows[0]["split"] == "train" else "train"), "one split per scene"),
        (lambda rows: rows[1].update(scene="scene-999999"), "one scene per photo"),
    ],
)  # fmt: skip
def test_a_sidecar_that_does_not_fit_is_an_error(copy, spoil, message):
    rows = read_rows(copy / SIDECAR_FILE)
    spoil(rows)
    write_rows(copy / SIDECAR_FILE, rows)
    with pytest.raises(InputError, match=message):
        SOURCE.read(copy, SOURCE.options())


def test_rejected_annotations_are_listed_and_not_missed(copy):
    """A person whose label the common reader rejects is neither used nor taken for an inconsistency."""
    path = copy / "train_annotations_release.txt"
    lines = path.read_text("utf-8-sig").splitlines()
    cells = lines[0].split(",")
    cells[6] = "nowhere"
    path.write_text("\n".join([",".join(cells), *lines[1:]]) + "\n", encoding="utf-8-sig")
    listing = SOURCE.read(copy, SOURCE.options())
    assert [(row.image, row.person) for row in listing.rejected] == [(cells[0], cells[1])]
    assert cells[1] not in {person.person for photo in listing.photos for person in photo.people}


# --- renderer's own errors ----------------------------------------------------------------------------------------------


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


def test_any_camera_renders(some_scenes):
    """A fisheye sees beyond 180 degrees; its middle is what a pinhole sees there."""
    scene = some_scenes[-1]
    rotation = sphere.rotation_from_pose(0.4, -0.1, 0.2)
    wide = Camera.from_fov("equidistant", 240, 240, np.radians(200.0))
    directions, valid = wide.rays(np.stack(np.meshgrid(np.arange(240) + 0.5, np.arange(240) + 0.5), axis=-1))
    image = Renderer(scene).image(np.where(valid[..., None], directions, (0.0, 0.0, 1.0)), rotation)
    narrow = Camera.from_fov("pinhole", 61, 61, np.radians(20.0))
    same = Renderer(scene).image(wide.rays(wide.project(pixel_rays(narrow)).pixels).directions, rotation)
    np.testing.assert_array_equal(same, Renderer(scene).image(pixel_rays(narrow), rotation))
    assert image.std() > 10


def test_nobody_is_labelled_whose_head_is_hidden():
    """A wall put before the camera leaves no labels; so does looking away."""
    scene = scenes(1)[0]
    view, labels = plan_photo(scene, 0)
    assert labels
    ahead = view.rotation[:, 2]
    panel = primitive("box", scene.camera + 1.0 * ahead, view.rotation * (5.0, 5.0, 0.01), PLAIN, 10_000, "whole")
    assert label_photo(replace(scene, solids=(*scene.solids, panel)), view) == ()
    away = View(view.camera, view.yaw_deg + 180.0, view.pitch_deg, view.roll_deg)
    assert all(label.figure not in [old.figure for old in labels] for label in label_photo(scene, away))
