"""Labels of rendered photos and panoramas against projections written out, rays walked step by step, and pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rendered import PLAIN, first_by_marching, head_mask, planted, scenes

from builders.procedural import (
    Renderer,
    View,
    gaze_flags,
    label_panorama,
    label_photo,
    panorama_label,
    pixel_rays,
    plan_photo,
    sample_scene,
)
from builders.procedural.figures import HAIR_PART, HEAD_PART
from builders.procedural.paint import albedo_of
from builders.procedural.shapes import primitive
from builders.procedural.trace import NOTHING
from srgaze360 import sphere


@pytest.fixture(scope="module")
def some_scenes():
    return scenes(6) + scenes(4, "around")


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
            figure = label.figure
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


def seen_from(scene, offset):
    """The scene with its camera at an offset (3,) from the first person's head."""
    return replace(scene, camera=scene.figures[0].body.head + np.array(offset))


@pytest.mark.parametrize(
    ("offset", "where"),
    [
        ((0.02, 0.0, 1.3), "seam"),
        ((-0.03, -0.1, 0.9), "seam"),
        ((0.25, -0.9, 0.1), "low"),
        ((0.1, -0.9, 0.25), "seam"),
        ((0.2, 0.9, -0.2), "high"),
    ],
)
def test_head_boxes_are_tight_across_the_seam_and_towards_the_poles(offset, where):
    """To the pixel of a picture so fine that the head is large in it; by rays through its pixels."""
    scene = seen_from(sample_scene(3, 0, "around"), offset)
    figure = scene.figures[0]
    label = panorama_label(scene, figure)
    width = 1536
    mask = head_mask(scene, figure, sphere.cell_directions(width, width // 2))
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    crosses = 0 in columns and width - 1 in columns
    if crosses:
        columns = (columns + width // 2) % width + width // 2
    shown = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    box = np.array(label.head_box) * (width, width / 2, width, width / 2)
    assert np.abs(box - shown).max() <= 1.0
    assert crosses == (label.head_box[2] > 1.0) == (where == "seam")
    lat = np.degrees(sphere.lonlat_from_direction(label.head)[1])
    assert {"low": lat < -60.0, "high": lat > 60.0, "seam": True}[where]


def test_the_pixel_under_a_panorama_label_shows_the_target():
    """The ray through the pixel's centre meets the target's entity, unless the flags say that the camera does not see it."""
    agreed = total = 0
    for scene in scenes(25, "around", seed=4):
        renderer = Renderer(scene)
        for label in label_panorama(scene):
            x, y, z = label.figure.gaze.point - scene.camera
            column = int(4096 * (np.arctan2(x, z) / (2.0 * np.pi) + 0.5))
            row = int(2048 * (0.5 - np.arctan2(-y, np.hypot(x, z)) / np.pi))
            lon, lat = 2.0 * np.pi * ((column + 0.5) / 4096 - 0.5), np.pi * (0.5 - (row + 0.5) / 2048)
            ray = np.array([np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)])
            index = int(renderer.solids(ray[None, None])[0, 0])
            met = None if index == NOTHING else scene.solids[index].entity
            agreed += (met == label.figure.gaze.entity) == (label.flags.visibility == "visible")
            total += 1
    assert total > 60
    assert agreed >= total - 1  # a person seen by the body counts as hidden, and a pixel is as wide as a phone is thick


def test_everybody_can_be_seen_in_panoramas():
    """Nothing hides a head: of the pixels that a head would cover alone, it covers most in the full scene."""
    directions = sphere.cell_directions(1024, 512)
    for scene in scenes(12, "around", seed=6):
        entities = np.array([solid.entity for solid in scene.solids] + [-1])
        shown = entities[Renderer(scene).solids(directions)]
        for figure in scene.figures:
            alone = head_mask(scene, figure, directions)
            assert alone.sum() > 100
            assert np.mean(shown[alone] == figure.entity) > 0.6
