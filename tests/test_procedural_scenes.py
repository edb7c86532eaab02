"""Scenes as populations: who looks where, what is above and below, and what a scene depends on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from rendered import depth_inside, scenes

from builders.procedural import panorama_label, plan_photo, sample_scene
from builders.procedural.rooms import without_people
from builders.procedural.shapes import half_extents
from builders.procedural.things import HANGING


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


@pytest.fixture(scope="module")
def around():
    """(head lon, head lat, target lat, arc) of everybody in 120 scenes, degrees, by plain trigonometry; and how faces turn."""
    rows, faces = [], Counter()
    for scene in scenes(120, "around"):
        for figure in scene.figures:
            label = panorama_label(scene, figure)
            (hx, hy, hz), (tx, ty, tz) = label.head, figure.gaze.point - scene.camera
            distance = np.sqrt(tx * tx + ty * ty + tz * tz)
            arc = np.arccos(np.clip((hx * tx + hy * ty + hz * tz) / distance, -1.0, 1.0))
            rows.append([np.arctan2(hx, hz), np.arcsin(-hy), np.arcsin(-ty / distance), arc])
            faces[label.flags.face] += 1
    return np.degrees(rows).T, faces


def test_around_scenes_have_people_and_targets_on_all_sides(around):
    lons, head_lats, lats, arcs = around[0]
    assert len(arcs) > 300
    assert np.mean(arcs > 60.0) > 0.5
    assert np.mean(arcs > 90.0) > 0.3
    assert np.mean(arcs > 120.0) > 0.12
    assert np.mean(arcs < 30.0) > 0.1
    assert np.mean(lats > 45.0) > 0.06
    assert np.mean(lats < -45.0) > 0.06
    assert np.mean(lats > 60.0) > 0.015
    assert np.mean(lats < -60.0) > 0.01
    assert np.histogram(lons, bins=4, range=(-180, 180))[0].min() > 0.2 * len(lons)
    assert np.ptp(np.quantile(head_lats, [0.05, 0.95])) > 25.0


def test_faces_turn_all_ways_in_around_scenes(around):
    faces = around[1]
    assert min(faces[side] for side in ("front", "side", "back")) > 0.04 * sum(faces.values())


def test_what_hangs_is_clear_of_camera_lamp_and_people():
    hanging = 0
    for scene in scenes(40, "around"):
        lamp = np.array(scene.light.position)
        for solid in scene.solids:
            assert depth_inside(solid, scene.camera) < 0.0
            if scene.entities[solid.entity].name not in HANGING:
                continue
            hanging += 1
            assert depth_inside(solid, lamp) < 0.0
            lowest = solid.centre[1] + np.abs(solid.to_world * half_extents(solid)).sum(axis=1)[1]
            assert lowest < scene.camera[1] - 0.1
            for figure in scene.figures:
                assert np.linalg.norm(solid.centre - figure.body.head) > 0.2
    assert hanging > 100
    names = Counter(entity.name for scene in scenes(40, "around") for entity in scene.entities)
    assert all(names[name] > 5 for name in HANGING)
    assert not set(HANGING) & {entity.name for scene in scenes(40) for entity in scene.entities}


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
