"""Labels on the sphere: absolute directions of head, outline and gaze."""

from __future__ import annotations

import numpy as np
import pytest
from lifted import CAMERA, labels

from builders.panorama.labels import NoLabelError, PhotoLabels, lift
from builders.sources.base import Person, ResolvedPerson
from srgaze360.cameras import Camera


def test_directions_are_those_of_the_camera() -> None:
    # at 90 degrees across 640 pixels the focal length is 320: 320 pixels right of the centre is 45 degrees
    found = labels((320.0, 240.0), (640.0, 240.0))
    np.testing.assert_allclose(found.head, [0.0, 0.0, 1.0], atol=1e-15)
    assert found.consensus is not None
    np.testing.assert_allclose(found.consensus, [np.sqrt(0.5), 0.0, np.sqrt(0.5)], atol=1e-15)
    assert found.head_radius == pytest.approx(np.arctan(20.0 / 320.0))


def test_the_consensus_is_the_mean_of_every_annotation() -> None:
    points = ((100.0, 200.0), (140.0, 220.0), (180.0, 260.0))
    person = Person("p", "row", (300, 220, 340, 260), "pixel", points, "pixel", in_frame=True, annotators=("a", "b", "c"))
    found = lift(ResolvedPerson(person, person.head_box, points, ()), CAMERA)
    rays = np.array([[(x - 320.0) / 320.0, (y - 240.0) / 320.0, 1.0] for x, y in points])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    np.testing.assert_allclose(found.gaze, rays, atol=1e-15)
    np.testing.assert_allclose(found.consensus, rays.sum(axis=0) / np.linalg.norm(rays.sum(axis=0)), atol=1e-15)
    assert found.annotators == ("a", "b", "c")


def test_labels_beyond_the_fold_have_no_direction() -> None:
    folded = Camera("brown-conrady", 640, 480, 320.0, 320.0, 320.0, 240.0, (-0.3, 0, 0, 0, 0, 0, 0, 0))
    with pytest.raises(NoLabelError, match="head box reaches beyond"):
        labels((30.0, 30.0), (320.0, 240.0), folded)
    with pytest.raises(NoLabelError, match="gaze lies beyond"):
        labels((320.0, 240.0), (5.0, 5.0), folded)


def test_targets_outside_the_photo_are_lifted_where_the_lens_can() -> None:
    def outside(gaze: tuple[float, float], camera: Camera) -> PhotoLabels:
        person = Person("p", "row", (300, 220, 340, 260), "pixel", (gaze,), "pixel", in_frame=False)
        return lift(ResolvedPerson(person, person.head_box, (gaze,), ()), camera)

    # 554.26 = 320 tan 60: twice as far as the edge of the photo is not twice the angle
    found = outside((320.0 + 320.0 * np.sqrt(3.0), 240.0), CAMERA).consensus
    assert found is not None
    np.testing.assert_allclose(found, [np.sin(np.pi / 3), 0.0, 0.5], atol=1e-12)
    sine = Camera.from_fov("orthographic", 640, 480, np.radians(120.0), side="width")
    beyond = outside((720.0, 240.0), sine)
    assert beyond.consensus is None
    assert beyond.lost == 0


def test_points_beyond_the_lens_are_lost_with_their_annotators() -> None:
    folded = Camera("brown-conrady", 640, 480, 320.0, 320.0, 320.0, 240.0, (-0.3, 0, 0, 0, 0, 0, 0, 0))
    points = ((5.0, 5.0), (320.0, 240.0), (635.0, 475.0))
    person = Person("p", "row", (300, 220, 340, 260), "pixel", points, "pixel", in_frame=True, annotators=("a", "b", "c"))
    found = lift(ResolvedPerson(person, person.head_box, points, ()), folded)
    np.testing.assert_allclose(found.gaze, [[0.0, 0.0, 1.0]], atol=1e-15)
    assert (found.annotators, found.lost) == (("b",), 2)
    # nothing of the head may be beyond it: here one corner is, and no side's middle
    box = (100.0, 100.0, 320.0, 380.0)
    middles = folded.rays(np.array([[210.0, 240.0], [100.0, 240.0], [320.0, 240.0], [210.0, 100.0], [210.0, 380.0]]))
    assert middles.valid.all()
    assert not folded.rays(np.array([[100.0, 100.0]])).valid.any()
    with pytest.raises(NoLabelError, match="head box reaches beyond"):
        lift(ResolvedPerson(person, box, points, ()), folded)


def test_opposite_gazes_have_no_consensus() -> None:
    around = Camera("equirectangular", 400, 200, 200.0 / np.pi, 200.0 / np.pi, 200.0, 100.0)
    points = ((100.0, 100.0), (300.0, 100.0))  # to the left and to the right
    person = Person("p", "row", (190, 90, 210, 110), "pixel", points, "pixel", in_frame=True)
    found = lift(ResolvedPerson(person, person.head_box, points, ()), around)
    np.testing.assert_allclose(found.gaze, [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], atol=1e-15)
    assert found.consensus is None


def test_the_outline_follows_the_box_and_the_radius_is_the_mean_of_four_sides() -> None:
    box = (0.0, 180.0, 480.0, 300.0)
    person = Person("p", "row", box, "pixel", (), "pixel", in_frame=False)
    found = lift(ResolvedPerson(person, box, (), ()), CAMERA)
    assert found.outline.shape == (4 * 32, 3)
    pixels = 320.0 * found.outline[:, :2] / found.outline[:, 2:] + (320.0, 240.0)
    steps = np.linalg.norm(np.diff(pixels, axis=0, append=pixels[:1]), axis=1)
    np.testing.assert_allclose(steps, np.repeat([480.0 / 32, 120.0 / 32] * 2, 32))  # clockwise, evenly, and closed
    np.testing.assert_allclose([pixels.min(axis=0), pixels.max(axis=0)], [box[:2], box[2:]], atol=1e-9)
    middle = np.array([-80.0, 0.0, 320.0])
    sides = np.array([[-320.0, 0.0, 320.0], [160.0, 0.0, 320.0], [-80.0, -60.0, 320.0], [-80.0, 60.0, 320.0]])
    cosines = sides @ middle / np.linalg.norm(sides, axis=1) / np.linalg.norm(middle)
    assert found.head_radius == pytest.approx(np.arccos(cosines).mean())
