"""Labels on the sphere: absolute directions, and poses that are solved for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.labels import NoLabelError, PhotoLabels, lift, solve_pose
from builders.sources.base import Person, ResolvedPerson
from srgaze360 import sphere
from srgaze360.cameras import Camera

UPRIGHT = {"tilt_pitch_deg": 0.0, "tilt_roll_deg": 0.0, "tilt_yaw_deg": 0.0}
CAMERA = Camera.from_fov("pinhole", 640, 480, np.radians(90.0), side="width")


def labels(
    head: tuple[float, float], gaze: tuple[float, float] | None, camera: Camera = CAMERA, size: float = 40.0
) -> PhotoLabels:
    x, y = head
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    points = () if gaze is None else (gaze,)
    person = Person("p", "row", box, "pixel", points, "pixel", gaze is not None)
    return lift(ResolvedPerson(person, box, points, ()), camera)


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


def test_poses_are_absolute() -> None:
    """Signs of all six angles, by where the axes of the camera end up: a consistent error would hide from every round trip."""

    def turned(axis: tuple[float, float, float], **angles: float) -> sphere.FloatArray:
        rest = {"latitude_deg": 0.0, "longitude_deg": 0.0, "roll_deg": 0.0, **UPRIGHT}
        return solve_pose({**rest, **angles}, CAMERA, [], 0.0).rotation @ np.array(axis)

    ahead, right, down = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    np.testing.assert_allclose(turned(ahead, longitude_deg=90.0), right, atol=1e-15)  # the axis looks right
    np.testing.assert_allclose(turned(down, latitude_deg=90.0), ahead, atol=1e-15)  # looking up, the feet are ahead
    np.testing.assert_allclose(turned(right, roll_deg=90.0), down, atol=1e-15)  # clockwise: the right side goes down
    np.testing.assert_allclose(turned(ahead, tilt_yaw_deg=90.0), right, atol=1e-15)
    np.testing.assert_allclose(turned(down, tilt_pitch_deg=90.0), ahead, atol=1e-15)
    np.testing.assert_allclose(turned(right, tilt_roll_deg=90.0), down, atol=1e-15)
    lon, lat = np.degrees(sphere.lonlat_from_direction(turned(ahead, longitude_deg=40.0, latitude_deg=-30.0, roll_deg=77.0)))
    assert (float(lon), float(lat)) == pytest.approx((40.0, -30.0))


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


inner = st.tuples(st.floats(30, 610), st.floats(30, 450))


@given(head=inner, gaze=inner, latitude=st.floats(-80, 80), roll=st.floats(-90, 90), draw=st.floats(0, 0.999))
@settings(max_examples=150, deadline=None)
def test_the_seam_is_put_across_the_arc(
    head: tuple[float, float], gaze: tuple[float, float], latitude: float, roll: float, draw: float
) -> None:
    person = labels(head, gaze)
    pose = solve_pose({"latitude_deg": latitude, "roll_deg": roll, "longitude_deg": "seam", **UPRIGHT}, CAMERA, [person], draw)
    a, b = pose.rotation @ person.head, pose.rotation @ person.consensus
    through = sphere.slerp(a, b, 0.25 + 0.5 * draw)
    assert abs(through[0]) < 1e-9  # the chosen point of the arc lies in the plane of the seam,
    assert through[2] <= 1e-12  # on its far side
    sideways = abs(np.cross(a, b) @ [1.0, 0.0, 0.0])
    if sideways > 1e-6 and abs(a[0]) > 1e-6 and abs(b[0]) > 1e-6:
        assert sphere.arc_crosses_seam(a, b) == (a[0] * b[0] < 0.0)


def test_most_people_win_the_seam() -> None:
    people = [
        labels((100.0, 100.0), (150.0, 300.0)),
        labels((300.0, 100.0), (420.0, 300.0)),
        labels((420.0, 120.0), (300.0, 310.0)),
    ]
    pose = solve_pose({"latitude_deg": 0.0, "roll_deg": 0.0, "longitude_deg": "seam", **UPRIGHT}, CAMERA, people, 0.5)
    crossing = [bool(sphere.arc_crosses_seam(pose.rotation @ p.head, pose.rotation @ p.consensus)) for p in people]
    assert crossing == [False, True, True]


def test_without_a_known_gaze_the_seam_goes_through_the_head() -> None:
    person = labels((100.0, 100.0), None)
    pose = solve_pose({"latitude_deg": 20.0, "roll_deg": 5.0, "longitude_deg": "seam", **UPRIGHT}, CAMERA, [person], 0.3)
    lon, _ = sphere.lonlat_from_direction(pose.rotation @ person.head)
    assert abs(abs(lon) - np.pi) < 1e-9


@given(latitude=st.floats(-40, 40), roll=st.floats(-30, 30), draw=st.floats(0, 0.999), fov=st.floats(30, 100))
@settings(max_examples=100, deadline=None)
def test_clear_keeps_the_footprint_off_the_seam(latitude: float, roll: float, draw: float, fov: float) -> None:
    camera = Camera.from_fov("pinhole", 640, 480, np.radians(fov), side="longer")
    pose = solve_pose({"latitude_deg": latitude, "roll_deg": roll, "longitude_deg": "clear", **UPRIGHT}, camera, [], draw)
    back = sphere.direction_from_lonlat(np.pi, np.linspace(-np.pi / 2, np.pi / 2, 721)[1:-1])
    seen = camera.project(sphere.rotate(pose.rotation.T, back))
    inside = seen.valid & camera.contains(seen.pixels)
    poles = camera.project(sphere.rotate(pose.rotation.T, np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])))
    if not (poles.valid & camera.contains(poles.pixels)).any():
        assert not inside.any()


def test_clear_longitudes_spread_over_the_whole_range() -> None:
    fixed = {"latitude_deg": 0.0, "roll_deg": 0.0, "longitude_deg": "clear", **UPRIGHT}
    yaws = [solve_pose(fixed, CAMERA, [], draw).yaw for draw in (0.0, 0.5, 0.999999)]
    np.testing.assert_allclose(np.degrees(yaws), [-134.0, 0.0, 134.0], atol=0.01)


def test_tilt_turns_the_finished_sphere() -> None:
    upright = {"latitude_deg": 30.0, "roll_deg": 10.0, "longitude_deg": 40.0, **UPRIGHT}
    tilted = {**upright, "tilt_pitch_deg": 5.0, "tilt_roll_deg": -7.0, "tilt_yaw_deg": 90.0}
    tilt = sphere.rotation_from_pose(np.radians(90.0), np.radians(5.0), np.radians(-7.0))
    np.testing.assert_allclose(
        solve_pose(tilted, CAMERA, [], 0.0).rotation, tilt @ solve_pose(upright, CAMERA, [], 0.0).rotation, atol=1e-15
    )
