"""Poses: absolute signs of every angle, and what is solved for: the seam, the poles, photos apart from each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifted import CAMERA, labels

from builders.panorama.pose import Pose, place_apart, solve_pose
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.footprint import contains_pole

UPRIGHT = {"tilt_pitch_deg": 0.0, "tilt_roll_deg": 0.0, "tilt_yaw_deg": 0.0}


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


inner = st.tuples(st.floats(30, 610), st.floats(30, 450))


@given(head=inner, gaze=inner, latitude=st.floats(-80, 80), roll=st.floats(-90, 90), draw=st.floats(0, 0.999))
@settings(max_examples=150)
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
@settings(max_examples=100)
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


def test_without_a_clear_place_any_longitude_will_do() -> None:
    upright = {"roll_deg": 0.0, "longitude_deg": "clear", **UPRIGHT}
    draws = np.array([0.0, 0.25, 0.9])
    edge = 90.0 - np.degrees(np.arctan(0.75))  # latitude at which the zenith is on the photo's upper edge
    for latitude in (90.0, edge + 0.5, -edge - 0.5):
        yaws = [solve_pose({"latitude_deg": latitude, **upright}, CAMERA, [], draw).yaw for draw in draws]
        np.testing.assert_allclose(np.degrees(yaws), 360.0 * (draws - 0.5), atol=1e-9)
    folded = Camera("brown-conrady", 640, 480, 320.0, 320.0, 320.0, 240.0, (-0.3, 0, 0, 0, 0, 0, 0, 0))
    assert not folded.rays(np.zeros((1, 2))).valid.any()  # its corners have no rays
    assert np.isfinite(solve_pose({"latitude_deg": 0.0, **upright}, folded, [], 0.5).rotation).all()


def test_tilt_turns_the_finished_sphere() -> None:
    upright = {"latitude_deg": 30.0, "roll_deg": 10.0, "longitude_deg": 40.0, **UPRIGHT}
    tilted = {**upright, "tilt_pitch_deg": 5.0, "tilt_roll_deg": -7.0, "tilt_yaw_deg": 90.0}
    tilt = sphere.rotation_from_pose(np.radians(90.0), np.radians(5.0), np.radians(-7.0))
    np.testing.assert_allclose(
        solve_pose(tilted, CAMERA, [], 0.0).rotation, tilt @ solve_pose(upright, CAMERA, [], 0.0).rotation, atol=1e-15
    )


# --- the poles --------------------------------------------------------------------------------------------------------


@given(
    pole=st.sampled_from(["zenith", "nadir"]),
    roll=st.floats(-180, 180),
    draw=st.floats(0, 0.999),
    fov=st.floats(20, 110),
    lens=st.sampled_from(["pinhole", "equidistant", "stereographic"]),
)
@settings(max_examples=150)
def test_the_pole_is_in_the_photo(pole: str, roll: float, draw: float, fov: float, lens: str) -> None:
    camera = Camera.from_fov(lens, 640, 480, np.radians(fov), side="longer")
    pose = solve_pose({"latitude_deg": pole, "roll_deg": roll, "longitude_deg": 30.0, **UPRIGHT}, camera, [], draw)
    assert contains_pole(camera, pose.rotation) == (pole == "zenith", pole == "nadir")
    assert pose.roll == pytest.approx(np.radians(roll))  # the roll stays as it was drawn
    assert pose.yaw == pytest.approx(np.radians(30.0))


def test_poles_reach_from_the_edge_of_the_photo_to_its_axis() -> None:
    # 640 x 480 at 90 degrees: the upper edge is atan(240 / 320) above the axis, 36.87 degrees
    fixed = {"latitude_deg": "zenith", "roll_deg": 0.0, "longitude_deg": 0.0, **UPRIGHT}
    distance = [90.0 - np.degrees(solve_pose(fixed, CAMERA, [], draw).pitch) for draw in (0.0, 0.5, 0.999999)]
    edge = np.degrees(np.arctan(0.75))
    np.testing.assert_allclose(distance, [0.9 * edge, 0.45 * edge, 0.0], atol=1e-3)
    down = {**fixed, "latitude_deg": "nadir"}
    assert np.degrees(solve_pose(down, CAMERA, [], 0.5).pitch) == pytest.approx(0.45 * edge - 90.0)
    # lying on its side, the photo's upper edge is its longer half width away: 45 degrees
    for roll in (90.0, -90.0):
        lying = solve_pose({**fixed, "roll_deg": roll}, CAMERA, [], 0.0)
        assert np.degrees(lying.pitch) == pytest.approx(90.0 - 0.9 * 45.0, abs=1e-3)
    # a fisheye of 250 degrees sees both poles from the horizon: any distance up to 90 degrees will do
    both = Camera.from_fov("equidistant", 640, 640, np.radians(250.0))
    distance = [90.0 - np.degrees(solve_pose(fixed, both, [], draw).pitch) for draw in (0.0, 0.999999)]
    np.testing.assert_allclose(distance, [81.0, 0.0], atol=1e-3)


# --- several photos ---------------------------------------------------------------------------------------------------


def footprint(camera: Camera, pose: Pose, width: int = 720) -> np.ndarray:
    """Cells of half a degree whose centre the photo covers: finer than what the photos were placed with."""
    seen = camera.project(sphere.rotate(pose.rotation.T, sphere.cell_directions(width, width // 2)))
    return np.asarray(seen.valid & camera.contains(seen.pixels))


@given(data=st.data())
@settings(max_examples=25)
def test_photos_that_are_placed_apart_do_not_overlap(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 6))
    numbers = st.floats(0, 0.999)
    cameras, poses, draws = [], [], []
    for _ in range(count):
        size = data.draw(st.sampled_from([(640, 480), (480, 640), (640, 360)]))
        cameras.append(Camera.from_fov("pinhole", *size, np.radians(40.0 + 20.0 * data.draw(numbers)), side="longer"))
        pitch, roll = np.radians(120.0 * data.draw(numbers) - 60.0), np.radians(60.0 * data.draw(numbers) - 30.0)
        poses.append(Pose(0.0, pitch, roll, 0.0, 0.0, 0.0))
        draws.append(data.draw(numbers))
    placed = place_apart(cameras, poses, draws)
    covered = [footprint(camera, pose) for camera, pose in zip(cameras, placed, strict=True) if pose is not None]
    assert len(covered) >= 2
    assert sum(mask.astype(int) for mask in covered).max() == 1  # type: ignore[union-attr]
    for before, after in zip(poses, placed, strict=True):
        assert after is None or after.roll == before.roll


def test_a_photo_without_room_is_told_of() -> None:
    huge = Camera.from_fov("equidistant", 640, 640, np.radians(250.0))
    poses = [Pose(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)] * 2
    first, second = place_apart([huge, huge], poses, [0.25, 0.5])
    assert first is not None
    assert np.degrees(first.yaw) == pytest.approx(90.0)  # nothing was in its way: the drawn yaw
    assert second is None


def test_where_a_latitude_is_full_the_next_ones_are_tried() -> None:
    # four bands of 80 x 30 degrees fill the horizon; 40 degrees off, the ends of a band rise into them; at 60, two fit
    band = Camera.from_fov("equidistant", 640, 240, np.radians(80.0), side="width")
    draws = [0.0, 0.25, 0.5, 0.75, 0.1, 0.6, 0.1]
    placed = place_apart([band] * 7, [Pose(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)] * 7, draws)
    found = [pose for pose in placed if pose is not None]
    assert [round(float(np.degrees(pose.pitch))) for pose in found] == [0, 0, 0, 0, -60, -60, 60]
    assert np.sum([footprint(band, pose) for pose in found], axis=0).max() == 1


def test_photos_stay_a_little_apart() -> None:
    small = Camera.from_fov("pinhole", 400, 400, np.radians(20.0))
    level = Pose(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    first, second = (pose for pose in place_apart([small] * 2, [level] * 2, [0.0, 0.01]) if pose is not None)
    # 20 cells of one degree, widened by two on either side of each
    assert np.degrees(second.yaw - first.yaw) == pytest.approx(24.0)
    # on either side of the zenith, 0.3 degrees from it each: on the grid of latitude and longitude they share no cell
    high = level._replace(pitch=np.radians(79.7))
    first, second = (pose for pose in place_apart([small] * 2, [high] * 2, [0.0, 0.5]) if pose is not None)
    assert np.degrees([first.pitch, second.pitch]) == pytest.approx([79.7, 59.7])


def test_clear_goes_around_what_the_lens_shows() -> None:
    """A strong lens has no ray in the photo's corners; what it shows is kept off the seam all the same."""
    camera = Camera.from_fov("brown-conrady", 640, 480, np.radians(88.0), params=(-0.3, 0, 0, 0, 0, 0, 0, 0))
    assert not camera.rays([[1.0, 1.0]]).valid.any()
    fixed = {"latitude_deg": 10.0, "roll_deg": 20.0, "longitude_deg": "clear", **UPRIGHT}
    back = sphere.direction_from_lonlat(np.pi, np.linspace(-np.pi / 2, np.pi / 2, 721)[1:-1])
    for draw in (0.0, 0.02, 0.5, 0.97, 0.999):
        seen = camera.project(sphere.rotate(solve_pose(fixed, camera, [], draw).rotation.T, back))
        assert not (seen.valid & camera.contains(seen.pixels)).any()


def test_the_pitch_at_a_pole_has_a_draw_of_its_own() -> None:
    fixed = {"latitude_deg": "zenith", "roll_deg": 0.0, "longitude_deg": "clear", **UPRIGHT}
    poses = [solve_pose(fixed, CAMERA, [], yaw, pitch) for yaw, pitch in ((0.2, 0.3), (0.2, 0.8), (0.7, 0.3))]
    assert poses[0].yaw == poses[1].yaw != poses[2].yaw
    assert poses[0].pitch == poses[2].pitch != poses[1].pitch
