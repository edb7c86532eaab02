"""The conventions of srgaze360.sphere, each against something that does not share its code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation, Slerp

from srgaze360 import sphere
from srgaze360.errors import InputError

RAD = np.radians
FORWARD, RIGHT, DOWN = np.eye(3)[2], np.eye(3)[0], np.eye(3)[1]

angles = st.floats(-np.pi, np.pi)
latitudes = st.floats(-np.pi / 2, np.pi / 2)


def random_directions(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@st.composite
def directions(draw):
    lon, lat = draw(angles), draw(latitudes)
    return np.array([np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)])


# --- directions and pixels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lon", "lat", "expected"),
    [
        (0, 0, FORWARD),
        (90, 0, RIGHT),
        (-90, 0, -RIGHT),
        (-180, 0, -FORWARD),
        (0, 90, -DOWN),
        (0, -90, DOWN),
        (45, 0, [np.sqrt(0.5), 0, np.sqrt(0.5)]),
        (0, 30, [0, -0.5, np.sqrt(0.75)]),
    ],
)
def test_directions_of_known_angles(lon, lat, expected):
    direction = sphere.direction_from_lonlat(RAD(lon), RAD(lat))
    np.testing.assert_allclose(direction, expected, atol=1e-15)
    back_lon, back_lat = sphere.lonlat_from_direction(7.5 * np.asarray(expected, dtype=float))
    np.testing.assert_allclose([back_lon, back_lat], [RAD(lon) if abs(lat) < 90 else 0.0, RAD(lat)], atol=1e-15)


@pytest.mark.parametrize(
    ("lon", "lat", "x", "y"),
    [(0, 0, 1024, 512), (-180, 90, 0, 0), (180, 0, 0, 512), (90, 0, 1536, 512), (0, 45, 1024, 256), (-90, -45, 512, 768)],
)
def test_pixels_of_known_angles(lon, lat, x, y):
    np.testing.assert_allclose(sphere.pixel_from_lonlat(RAD(lon), RAD(lat), 2048), [x, y], atol=1e-9)


def test_pixel_grid_is_the_half_pixel_grid():
    # oracle: spell the convention out, pixel by pixel
    lon, lat = sphere.cell_lonlat(8, 4)
    for i in range(8):
        assert lon[i] == pytest.approx(2 * np.pi * ((i + 0.5) / 8 - 0.5), abs=1e-15)
    for j in range(4):
        assert lat[j] == pytest.approx(np.pi * (0.5 - (j + 0.5) / 4), abs=1e-15)
    cells = sphere.cell_directions(8, 4)
    np.testing.assert_allclose(sphere.pixel_from_direction(cells, 8)[1, 5], [5.5, 1.5], atol=1e-12)


@given(angles, latitudes, st.sampled_from([2, 512, 2048, 8192]))
def test_pixels_stay_on_the_panorama_and_come_back(lon, lat, width):
    x, y = sphere.pixel_from_lonlat(lon, lat, width)
    assert 0.0 <= x < width
    assert 0.0 <= y <= width / 2
    direction = sphere.direction_from_lonlat(lon, lat)
    assert sphere.angle_between(direction, sphere.direction_from_pixel([x, y], width)) < 1e-12


@pytest.mark.parametrize("lon", [np.pi, -np.pi, 3 * np.pi, np.nextafter(np.pi, 0), np.pi - 1e-15, np.nextafter(-np.pi, -4)])
def test_no_longitude_lands_on_the_right_edge(lon):
    assert -np.pi <= sphere.wrap_lon(lon) < np.pi
    assert 0.0 <= sphere.pixel_from_lonlat(lon, 0.0, 2048)[0] < 2048


@given(st.floats(-1e4, 1e4))
def test_wrapping_changes_longitude_by_whole_turns(lon):
    turns = (lon - float(sphere.wrap_lon(lon))) / (2 * np.pi)
    assert turns == pytest.approx(round(turns), abs=1e-9)


def test_pixels_beyond_the_seam_are_the_same_directions():
    pixels = np.array([[3.0, 100.0], [2047.5, 7.0]])
    beyond = sphere.direction_from_pixel(pixels + np.array([2048, 0]), 2048)
    np.testing.assert_allclose(beyond, sphere.direction_from_pixel(pixels, 2048), atol=1e-12)


def test_normalise_keeps_directions_and_marks_the_zero_vector():
    np.testing.assert_allclose(sphere.normalise([[3.0, 0, 4.0]]), [[0.6, 0, 0.8]], atol=1e-15)
    assert np.isnan(sphere.normalise([0.0, 0.0, 0.0])).all()


# --- solid angles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(8, 4), (128, 64), (2048, 1024)])
def test_solid_angles_of_cells(width, height):
    cells = sphere.cell_solid_angles(width, height)
    assert cells.sum() == pytest.approx(4 * np.pi, rel=1e-12)
    # a ring between two latitudes is 2 pi times the difference of their sines (Archimedes)
    edges = np.linspace(np.pi / 2, -np.pi / 2, height + 1)
    np.testing.assert_allclose(cells.sum(axis=1), 2 * np.pi * -np.diff(np.sin(edges)), rtol=1e-6)


def test_caps():
    assert sphere.cap_solid_angle(np.pi) == pytest.approx(4 * np.pi)
    assert sphere.cap_solid_angle(np.pi / 2) == pytest.approx(2 * np.pi)
    centre, radius = sphere.direction_from_lonlat(3.1, -1.3), RAD(25.0)
    inside = sphere.in_cap(sphere.cell_directions(1024, 512), centre, radius)
    covered = (inside * sphere.cell_solid_angles(1024, 512)).sum()
    assert covered == pytest.approx(2 * np.pi * (1 - np.cos(radius)), rel=2e-3)
    assert sphere.in_cap(RIGHT, FORWARD, np.pi / 2)
    assert not sphere.in_cap(RIGHT, FORWARD, np.pi / 2 - 1e-9)


# --- rotations --------------------------------------------------------------------------------------------------------


def test_each_angle_of_a_pose_turns_the_way_it_says():
    small = RAD(10)
    lon, lat = sphere.lonlat_from_direction(sphere.rotate(sphere.rotation_from_pose(small, 0, 0), FORWARD))
    np.testing.assert_allclose([lon, lat], [small, 0], atol=1e-15)  # yaw: right
    lon, lat = sphere.lonlat_from_direction(sphere.rotate(sphere.rotation_from_pose(0, small, 0), FORWARD))
    np.testing.assert_allclose([lon, lat], [0, small], atol=1e-15)  # pitch: up
    right_hand = sphere.rotate(sphere.rotation_from_pose(0, 0, small), RIGHT)
    assert right_hand[1] == pytest.approx(np.sin(small))  # roll clockwise: the right side goes down


def test_pose_matrix_is_scipys_intrinsic_yxz():
    rng = np.random.default_rng(1)
    yaw, pitch, roll = rng.uniform(-np.pi, np.pi, (3, 200))
    expected = Rotation.from_euler("YXZ", np.stack([yaw, pitch, roll], axis=-1)).as_matrix()
    np.testing.assert_allclose(sphere.rotation_from_pose(yaw, pitch, roll), expected, atol=1e-14)


@given(angles, st.floats(-np.pi / 2, np.pi / 2), angles)
def test_pose_comes_back(yaw, pitch, roll):
    matrix = sphere.rotation_from_pose(yaw, pitch, roll)
    np.testing.assert_allclose(sphere.rotation_from_pose(*sphere.pose_from_rotation(matrix)), matrix, atol=1e-11)


@given(angles, st.floats(-1.5, 1.5))
def test_optical_axis_points_at_yaw_and_pitch(yaw, pitch):
    axis = sphere.rotate(sphere.rotation_from_pose(yaw, pitch, 0.7), FORWARD)
    assert sphere.angle_between(axis, sphere.direction_from_lonlat(yaw, pitch)) < 1e-12


def test_pose_at_the_zenith_has_no_roll():
    yaw, pitch, roll = sphere.pose_from_rotation(sphere.rotation_from_pose(0.3, np.pi / 2, 0.2))
    assert (float(pitch), float(roll)) == (pytest.approx(np.pi / 2), 0.0)
    assert float(yaw) == pytest.approx(0.1)


# --- distances and frames ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-8, 1e-3, 1.0, np.pi / 2, np.pi - 1e-8, np.pi])
def test_angle_between_is_accurate_everywhere(angle):
    a = sphere.direction_from_lonlat(0.4, 0.0)
    b = sphere.direction_from_lonlat(0.4 + angle, 0.0)
    assert float(sphere.angle_between(a, 3.0 * b)) == pytest.approx(angle, abs=1e-15)


def test_angle_between_is_the_haversine_distance():
    a, b = random_directions(500, 2), random_directions(500, 3)
    (lon_a, lat_a), (lon_b, lat_b) = sphere.lonlat_from_direction(a), sphere.lonlat_from_direction(b)
    h = np.sin((lat_b - lat_a) / 2) ** 2 + np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_b - lon_a) / 2) ** 2
    np.testing.assert_allclose(sphere.angle_between(a, b), 2 * np.arcsin(np.sqrt(h)), atol=1e-7)


def test_tangent_frames_point_east_and_north():
    at = random_directions(300, 4)
    frame = sphere.tangent_frame(at)
    np.testing.assert_allclose(frame @ np.swapaxes(frame, -1, -2), np.broadcast_to(np.eye(3), frame.shape), atol=1e-14)
    lon, lat = sphere.lonlat_from_direction(at)
    step = 1e-6  # oracle: finite differences of longitude and latitude
    east = (sphere.direction_from_lonlat(lon + step, lat) - at) / (step * np.cos(lat)[:, None])
    north = (sphere.direction_from_lonlat(lon, lat + step) - at) / step
    np.testing.assert_allclose(frame[:, 0], east, atol=1e-4)
    np.testing.assert_allclose(frame[:, 1], north, atol=1e-5)
    np.testing.assert_allclose(np.cross(frame[:, 0], frame[:, 1]), -frame[:, 2], atol=1e-14)


def test_tangent_frame_at_the_poles_is_that_of_longitude_0():
    east, north, radial = sphere.tangent_frame(-DOWN)
    np.testing.assert_allclose([east, north, radial], [RIGHT, -FORWARD, -DOWN], atol=1e-15)


@pytest.mark.parametrize(
    ("target", "expected"), [((10, 0), (10, 0)), ((0, 20), (0, 20)), ((-30, 0), (-30, 0)), ((0, -90), (0, -90))]
)
def test_log_map_measures_degrees_east_and_north(target, expected):
    tangent = sphere.log_map(FORWARD, sphere.direction_from_lonlat(*RAD(target)))
    np.testing.assert_allclose(np.degrees(tangent), expected, atol=1e-12)


@given(directions(), directions())
def test_exp_map_undoes_log_map(base, target):
    tangent = sphere.log_map(base, target)
    assert np.linalg.norm(tangent) == pytest.approx(float(sphere.angle_between(base, target)), abs=1e-12)
    assert sphere.angle_between(sphere.exp_map(base, tangent), target) < 1e-7


def test_log_map_to_the_antipode_goes_north():
    np.testing.assert_allclose(sphere.log_map(FORWARD, -FORWARD), [0, np.pi], atol=1e-12)


# --- arcs -------------------------------------------------------------------------------------------------------------


def test_slerp_is_scipys():
    a, b = random_directions(50, 5), random_directions(50, 6)
    for start, end in zip(a, b, strict=True):
        turn, _ = Rotation.align_vectors(end[None], start[None])
        between = Slerp([0, 1], Rotation.concatenate([Rotation.identity(), turn]))([0.25, 0.5, 0.9]).apply(start)
        ours = sphere.slerp(start, end, [0.25, 0.5, 0.9])
        # align_vectors turns about a x b, the shortest way
        np.testing.assert_allclose(ours, between, atol=1e-9)


@given(directions(), directions(), st.floats(0, 1))
def test_slerp_divides_the_distance(a, b, fraction):
    whole = float(sphere.angle_between(a, b))
    point = sphere.slerp(a, b, fraction)
    assert float(sphere.angle_between(a, point)) == pytest.approx(fraction * whole, abs=1e-7)
    assert np.linalg.norm(point) == pytest.approx(1.0, abs=1e-12)


def test_arc_keeps_ends_and_spacing():
    a, b = random_directions(20, 7), random_directions(20, 8)
    arc = sphere.great_circle_arc(a, b, 9)
    assert arc.shape == (20, 9, 3)
    np.testing.assert_allclose(arc[:, [0, -1]], np.stack([a, b], axis=1), atol=1e-9)
    gaps = sphere.angle_between(arc[:, 1:], arc[:, :-1])
    np.testing.assert_allclose(gaps, np.repeat(sphere.angle_between(a, b)[:, None] / 8, 8, axis=1), atol=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "crosses"),
    [
        ((170, 0), (-170, 0), True),
        ((-170, 10), (170, -10), True),
        ((10, 0), (-10, 0), False),
        ((100, 0), (-100, 0), True),
        ((80, 0), (-80, 0), False),
        ((100, 80), (-100, 80), True),
        ((80, 80), (-80, 80), False),  # the short way passes this side of the pole
        ((179, 0), (170, 0), False),
    ],
)
def test_seam_crossings(a, b, crosses):
    ends = sphere.direction_from_lonlat(*RAD(a)), sphere.direction_from_lonlat(*RAD(b))
    assert bool(sphere.arc_crosses_seam(*ends)) is crosses
    assert bool(sphere.arc_crosses_seam(*ends[::-1])) is crosses


def test_seam_crossings_agree_with_walking_along_the_arc():
    a, b = random_directions(3000, 9), random_directions(3000, 10)
    lon, _ = sphere.lonlat_from_direction(sphere.great_circle_arc(a, b, 2001))
    jump = np.abs(np.diff(lon, axis=1)).max(axis=1)
    clear = (jump < 0.5) | (jump > 2 * np.pi - 0.5)  # next to a pole, longitude also leaps without any seam
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(jump[clear] > np.pi, sphere.arc_crosses_seam(a, b)[clear])


# --- means ------------------------------------------------------------------------------------------------------------


def test_mean_of_points_around_the_seam_is_on_the_seam():
    mean = sphere.spherical_mean(sphere.direction_from_lonlat(RAD([175.0, -175.0]), 0.0))
    np.testing.assert_allclose(mean.direction, -FORWARD, atol=1e-15)
    assert mean.resultant == pytest.approx(np.cos(RAD(5)))


def test_mean_of_antipodes_is_undefined():
    mean = sphere.spherical_mean([FORWARD, -FORWARD])
    assert np.isnan(mean.direction).all()
    assert mean.resultant == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("mean", [lambda d, w: sphere.spherical_mean(d, w).direction, sphere.geometric_median])
def test_weight_0_leaves_a_direction_out(mean):
    points = random_directions(5, 11) + 3 * FORWARD
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    padded = np.concatenate([points, [[0.0, 0.0, 0.0]], [[np.nan] * 3], [RIGHT]])
    weights = np.array([1, 2, 1, 1, 3, 0, 0, 0], dtype=float)
    np.testing.assert_allclose(mean(padded, weights), mean(points, weights[:5]), atol=1e-12)


@pytest.mark.parametrize("function", [sphere.spherical_mean, sphere.geometric_median])
@pytest.mark.parametrize("bad", [-1.0, np.nan])
def test_bad_weights_are_refused(function, bad):
    with pytest.raises(InputError, match="must be 0 or more"):
        function([FORWARD, RIGHT], [1.0, bad])


def cluster(rng, count, spread):
    base = rng.normal(size=3)
    return sphere.exp_map(base / np.linalg.norm(base), np.clip(rng.normal(size=(count, 2)) * spread, -0.5, 0.5))


def test_geometric_median_is_the_minimum_that_scipy_finds():
    rng = np.random.default_rng(12)
    for spread in (0.003, 0.1, 0.3):
        for _ in range(8):
            points = cluster(rng, rng.integers(3, 10), spread)
            weights = rng.uniform(0.2, 2.0, len(points))

            def cost(direction, points=points, weights=weights):
                return float(np.sum(weights * 2 * np.arcsin(np.linalg.norm(points - direction, axis=1) / 2)))

            ours = sphere.geometric_median(points, weights)
            found = minimize(
                lambda xy, o=ours, c=cost: c(sphere.exp_map(o, xy)),
                rng.normal(size=2) * spread,
                method="Nelder-Mead",
                options={"xatol": 1e-10, "fatol": 1e-13, "maxiter": 5000},
            )
            assert cost(ours) <= found.fun + 1e-9


def test_geometric_median_ignores_one_outlier_and_finds_data_points():
    points = sphere.direction_from_lonlat(RAD([0.0, 0.0, 40.0]), 0.0)
    np.testing.assert_allclose(sphere.geometric_median(points), FORWARD, atol=1e-15)
    heavy = sphere.direction_from_lonlat(RAD([0.0, 12.0]), RAD([3.0, -8.0]))
    np.testing.assert_allclose(sphere.geometric_median(heavy, [1.0, 1.4]), heavy[1], atol=1e-15)
    np.testing.assert_allclose(sphere.geometric_median([RIGHT]), RIGHT, atol=1e-15)


def test_geometric_median_of_a_symmetric_cross_is_its_centre():
    cross = sphere.exp_map(RIGHT, RAD([[5, 0], [-5, 0], [0, 9], [0, -9]]))
    assert sphere.angle_between(sphere.geometric_median(cross), RIGHT) < 1e-12


def test_geometric_median_is_vectorised():
    rng = np.random.default_rng(13)
    sets = np.stack([cluster(rng, 6, 0.2) for _ in range(12)]).reshape(3, 4, 6, 3)
    batch = sphere.geometric_median(sets)
    one_by_one = [[sphere.geometric_median(sets[i, j]) for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(batch, one_by_one, atol=1e-10)


@settings(max_examples=50)
@given(angles, st.floats(-1.5, 1.5), angles, st.integers(0, 10_000))
def test_means_turn_with_the_sphere(yaw, pitch, roll, seed):
    points = cluster(np.random.default_rng(seed), 5, 0.2)
    rotation = sphere.rotation_from_pose(yaw, pitch, roll)
    turned = sphere.rotate(rotation, points)
    for mean in (lambda d: sphere.spherical_mean(d).direction, sphere.geometric_median):
        assert sphere.angle_between(mean(turned), sphere.rotate(rotation, mean(points))) < 1e-6
