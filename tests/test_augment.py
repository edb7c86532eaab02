"""Augmentation: pixels, crops and labels move by one and the same matrix, at the seam and the poles too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sphere_pictures import NEAR_NADIR, PLACES, SEAM, ZENITH, decoded, dot_in, dotted, encoded, prepared, rays, same, subject

from baselines.data.augment import Change, apply, augment, colour_matrix, draw, plain
from baselines.data.crops import LARGEST_REACH, head_crop
from baselines.data.people import Person, Prepared
from baselines.data.prepared import prepare
from baselines.training.settings import AugmentSettings, DataSettings
from srgaze360 import sphere
from srgaze360.zoom import zoom

DATA = DataSettings(height=128, crop=32)
NOTHING = AugmentSettings(yaw=False, mirror=0.0, tilt_deg=0.0, colour=0.0, jitter=0.0)
WILD = AugmentSettings(yaw=True, mirror=0.5, tilt_deg=20.0, colour=0.0, jitter=0.3)
ZOOMING = WILD.model_copy(update={"zoom": 1.8, "zoomed": 1.0})
SEEDS = pytest.mark.parametrize("seed", range(12))
SAME_COLOURS = np.eye(3, 4)


@pytest.fixture(scope="module")
def compass() -> Prepared:
    """People in all the hard places on a panorama whose pixels say where they are; float32, so that nothing is rounded."""
    people = [subject(name, head, sphere.exp_map(head, np.array([0.9, 0.2]))) for name, head in PLACES.items()]
    people += [subject("large", PLACES["ahead"], None, radius=0.9), subject("small", SEAM, ZENITH, radius=0.03)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("baselines.data.prepared.read_panorama", lambda _: encoded(256, np.float32))
        return prepare(Path("nowhere"), people, DATA)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """One person on a picture of colours of all kinds."""
    return prepared(tmp_path_factory.mktemp("picture"), encoded(256), [subject("somebody", PLACES["anywhere"])], DATA)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def tolerance(person: Person) -> float:
    """Two bilinear interpolations: a small part of a pixel of the crop, radians."""
    return 2e-4 + 0.03 * 2.0 * float(np.tan(person.crop_reach)) / DATA.crop


def change_of(original: Prepared, settings: AugmentSettings, seed: int) -> Change:
    return draw(settings, original.panorama.shape[1], len(original.people), 127.5, rng_of(seed))


@SEEDS
def test_pixels_move_by_the_matrix(compass: Prepared, seed: int) -> None:
    change = change_of(compass, WILD, seed)
    moved = apply(change, compass, DATA)
    came_from = sphere.cell_directions(256, 128) @ change.matrix  # the inverse of M, as rows
    assert sphere.angle_between(decoded(moved.panorama), came_from).max() < 2e-4


@SEEDS
@pytest.mark.parametrize("settings", [WILD, ZOOMING], ids=["moved", "zoomed"])
def test_what_is_photo_moves_with_the_pixels(compass: Prepared, settings: AugmentSettings, seed: int) -> None:
    centre, cells = PLACES["anywhere"], sphere.cell_directions(128, 64)
    cap = np.where(sphere.angle_between(cells, centre) < 0.8, 255, 0).astype(np.uint8)
    change = change_of(compass, settings, seed)
    first, *others = compass.people
    moved, *unknown = (
        p.photo for p in apply(change, compass._replace(people=(first._replace(photo=cap), *others)), DATA).people
    )
    assert moved is not None
    assert all(photo is None for photo in unknown)
    about = compass.people[change.about].head
    distance = sphere.angle_between(zoom(cells @ change.matrix, about, 1.0 / change.factor), centre)
    far = abs(distance - 0.8) > 1.5 * np.pi / 64 * max(change.factor, 1.0 / change.factor)
    np.testing.assert_array_equal((moved > 127)[far], (distance < 0.8)[far])
    assert far.mean() > 0.7


@SEEDS
def test_crops_show_what_surrounds_the_moved_heads(compass: Prepared, seed: int) -> None:
    change = change_of(compass, WILD, seed)
    for person in apply(change, compass, DATA).people:
        expected = rays(person.head, person.crop_reach, 32) @ change.matrix
        assert person.crop.shape == (32, 32, 3)
        assert sphere.angle_between(decoded(person.crop), expected).max() < tolerance(person), person.sample_id


@SEEDS
def test_crops_are_those_cut_from_the_changed_panorama(compass: Prepared, seed: int) -> None:
    moved = augment(compass, WILD, DATA, rng_of(seed))
    for person in moved.people:
        cut = head_crop(moved.panorama, person.head, person.crop_reach, 32)
        assert sphere.angle_between(decoded(person.crop), decoded(cut)).max() < 1.5 * tolerance(person), person.sample_id


@SEEDS
def test_a_dot_at_the_target_stays_under_the_label(tmp_path: Path, seed: int) -> None:
    target = [SEAM, ZENITH, NEAR_NADIR, PLACES["anywhere"]][seed % 4]
    original = prepared(tmp_path, dotted(128, target, 0.05), [subject("somebody", PLACES["ahead"], target)], DATA)
    (person,) = (moved := augment(original, WILD, DATA, rng_of(seed))).people
    assert person.gaze is not None
    assert sphere.angle_between(dot_in(moved.panorama), person.gaze) < np.radians(0.15)  # a pixel is 1.4 degrees
    assert sphere.angle_between(sphere.spherical_mean(person.points).direction, person.gaze) < 1e-6


# --- zoom -------------------------------------------------------------------------------------------------------------


@SEEDS
def test_a_dot_at_the_target_stays_under_the_label_when_the_sphere_is_zoomed(tmp_path: Path, seed: int) -> None:
    target = [SEAM, ZENITH, NEAR_NADIR, PLACES["anywhere"]][seed % 4]
    original = prepared(tmp_path, dotted(128, target, 0.05), [subject("somebody", PLACES["ahead"], target)], DATA)
    change = change_of(original, ZOOMING, seed)
    (person,) = (moved := apply(change, original, DATA)).people
    assert abs(np.log(change.factor)) > 1e-3
    assert person.gaze is not None
    assert sphere.angle_between(dot_in(moved.panorama), person.gaze) < np.radians(0.4)  # the dot's middle is not the middle's
    # the azimuth at which the line leaves the head it is zoomed about stays that of M alone
    head = change.matrix @ original.people[0].head
    before, after = (sphere.normalise(sphere.log_map(head, gaze)) for gaze in (change.matrix @ target, person.gaze))
    np.testing.assert_allclose(before, after, atol=1e-9)


@SEEDS
def test_crops_of_a_zoomed_sphere_are_those_cut_from_it(compass: Prepared, seed: int) -> None:
    change = change_of(compass, ZOOMING, seed)
    moved = apply(change, compass, DATA)
    for before, person in zip(compass.people, moved.people, strict=True):
        cut = head_crop(moved.panorama, person.head, person.crop_reach, 32)
        apart = sphere.angle_between(decoded(person.crop), decoded(cut)).max()
        # heads are enlarged and turned, and bent by an amount of second order
        assert apart < 1.5 * tolerance(person) + 2.0 * before.radius**2, (person.sample_id, np.degrees(apart))


@SEEDS
def test_jitter_moves_the_head_and_not_the_gaze(compass: Prepared, seed: int) -> None:
    change = change_of(compass, WILD, seed)
    moved = apply(change, compass, DATA)
    shifts, scales = [], []
    for before, after in zip(compass.people, moved.people, strict=True):
        shifts.append(float(sphere.angle_between(change.matrix @ before.head, after.head)) / before.radius)
        scales.append(abs(np.log(after.radius / before.radius)))
        assert after.crop_reach == pytest.approx(min(DATA.crop_reach * after.radius, LARGEST_REACH))
        assert (before.gaze is None) == (after.gaze is None)
        if before.gaze is not None:
            np.testing.assert_allclose(after.gaze, change.matrix @ before.gaze, atol=1e-12)
            np.testing.assert_allclose(after.points, before.points @ change.matrix.T, atol=1e-12)
    assert max(shifts) > 0.05
    assert max(scales) > 0.05


@pytest.mark.parametrize("columns", [0, 1, 100, 255])
@pytest.mark.parametrize("mirror", [False, True])
def test_yaw_and_mirror_move_pixels_without_resampling(compass: Prepared, columns: int, mirror: bool) -> None:
    turn = sphere.rotation_from_pose(columns * 2.0 * np.pi / 256, 0.0, 0.0)
    moved = apply(Change(mirror, turn, SAME_COLOURS, np.zeros((len(compass.people), 3))), compass, DATA)
    flipped = compass.panorama[:, ::-1] if mirror else compass.panorama
    np.testing.assert_array_equal(moved.panorama, np.roll(flipped, columns, axis=1))
    for before, after in zip(plain(compass, DATA).people, moved.people, strict=True):
        if before.sample_id != "zenith":  # there, local north is not turned along
            np.testing.assert_array_equal(after.crop, before.crop[:, ::-1] if mirror else before.crop)


def test_the_mirror_takes_left_to_right(compass: Prepared) -> None:
    moved = apply(Change(True, np.eye(3), SAME_COLOURS, np.zeros((len(compass.people), 3))), compass, DATA)
    for before, after in zip(compass.people, moved.people, strict=True):
        np.testing.assert_allclose(after.head, before.head * [-1.0, 1.0, 1.0], atol=1e-15)
        if before.gaze is not None:
            np.testing.assert_allclose(after.gaze, before.gaze * [-1.0, 1.0, 1.0])


def test_with_nothing_switched_on_it_is_plain(compass: Prepared) -> None:
    assert same(augment(compass, NOTHING, DATA, rng_of(0)), plain(compass, DATA))


def test_plain_is_the_prepared_panorama_with_the_middle_of_the_crops(compass: Prepared) -> None:
    unchanged = plain(compass, DATA)
    assert unchanged.panorama is compass.panorama
    for before, after in zip(compass.people, unchanged.people, strict=True):
        np.testing.assert_array_equal(after.crop, before.crop[8:40, 8:40])
        assert sphere.angle_between(decoded(after.crop), rays(after.head, after.crop_reach, 32)).max() < tolerance(after)


@SEEDS
def test_even_the_largest_jitter_stays_within_the_stored_crop(compass: Prepared, seed: int) -> None:
    change = change_of(compass, WILD.model_copy(update={"jitter": 0.5}), seed)
    for person in apply(change, compass, DATA).people:
        expected = rays(person.head, person.crop_reach, 32) @ change.matrix
        assert sphere.angle_between(decoded(person.crop), expected).max() < tolerance(person), person.sample_id


# --- the draw ---------------------------------------------------------------------------------------------------------


def draws(settings: AugmentSettings, count: int = 1500) -> list[Change]:
    rng = np.random.default_rng(2)
    return [draw(settings, 256, 2, 127.5, rng) for _ in range(count)]


def test_tilt_is_half_normal_about_any_horizontal_axis() -> None:
    settings = NOTHING.model_copy(update={"tilt_deg": 10.0, "tilted": 1.0})
    up = np.array([change.turn @ ZENITH for change in draws(settings)])
    tilt = np.degrees(sphere.angle_between(up, ZENITH))
    assert tilt.mean() == pytest.approx(7.94, rel=0.05)  # 10 sqrt(2 / pi), less what is cut beyond 2.5 deviations
    assert tilt.max() <= 25.0 + 1e-9
    assert np.linalg.norm(sphere.normalise(up * [1.0, 0.0, 1.0]).mean(axis=0)) < 0.06  # no side is preferred
    # a pure tilt leaves its own axis where it is: the trace tells the angle of the whole rotation
    angles = [np.degrees(np.arccos(np.clip((np.trace(change.turn) - 1.0) / 2.0, -1.0, 1.0))) for change in draws(settings)]
    np.testing.assert_allclose(angles, tilt, atol=1e-5)


def test_a_share_of_panoramas_is_tilted_and_the_others_not_at_all() -> None:
    tilted = [not np.array_equal(change.turn, np.eye(3)) for change in draws(NOTHING.model_copy(update={"tilt_deg": 10.0}))]
    assert np.mean(tilted) == pytest.approx(0.5, abs=0.04)
    plain, always = (draws(WILD.model_copy(update={"tilted": share}), 20) for share in (0.0, 1.0))
    for one, other in zip(plain, always, strict=True):  # nothing else that is drawn depends on it
        assert (one.mirror, one.jitter.tolist()) == (other.mirror, other.jitter.tolist())


def test_a_share_of_panoramas_is_zoomed_about_any_head_by_either_way() -> None:
    changes = draws(NOTHING.model_copy(update={"zoom": 2.0}))
    zoomed = [change for change in changes if change.factor != 1.0]
    assert len(zoomed) / len(changes) == pytest.approx(0.5, abs=0.04)
    logs = np.log2([change.factor for change in zoomed])
    assert np.abs(logs).max() <= 1.0
    assert logs.mean() == pytest.approx(0.0, abs=0.06)
    assert logs.std() == pytest.approx(1.0 / np.sqrt(3.0), rel=0.05)  # uniform in the logarithm
    assert np.mean([change.about for change in zoomed]) == pytest.approx(0.5, abs=0.06)


def test_yaw_takes_whole_columns_all_around() -> None:
    ahead = np.array([change.turn[:, 2] for change in draws(NOTHING.model_copy(update={"yaw": True}))])
    columns = sphere.lonlat_from_direction(ahead)[0] * 256 / (2.0 * np.pi)
    np.testing.assert_allclose(columns, np.rint(columns), atol=1e-9)
    assert len(set(np.rint(columns))) > 250


def test_the_share_of_mirrored_panoramas() -> None:
    changes = draws(NOTHING.model_copy(update={"mirror": 0.3}))
    assert np.mean([change.mirror for change in changes]) == pytest.approx(0.3, abs=0.03)
    assert all(np.linalg.det(change.matrix) == pytest.approx(-1.0 if change.mirror else 1.0) for change in changes)


def test_one_setting_does_not_change_what_another_draws() -> None:
    for some, all_of_it in zip(draws(NOTHING.model_copy(update={"jitter": 0.3}), 20), draws(WILD, 20), strict=True):
        np.testing.assert_array_equal(some.jitter, all_of_it.jitter)


# --- colour -----------------------------------------------------------------------------------------------------------


def through(colour: tuple[float, float, float], matrix: np.ndarray) -> Any:
    return matrix @ np.array([*colour, 1.0])


def test_what_colour_changes_do() -> None:
    np.testing.assert_allclose(colour_matrix(1.0, 1.0, 1.0, 90.0), np.eye(3, 4), atol=1e-15)
    assert through((10, 20, 30), colour_matrix(2.0, 1.0, 1.0, 90.0)) == pytest.approx([20, 40, 60])
    assert through((90, 90, 90), colour_matrix(1.0, 0.5, 1.0, 90.0)) == pytest.approx([90, 90, 90])
    assert through((100, 100, 100), colour_matrix(1.0, 0.5, 1.0, 90.0)) == pytest.approx([95, 95, 95])
    assert through((255, 0, 0), colour_matrix(1.0, 1.0, 0.0, 90.0)) == pytest.approx([76.245] * 3)
    assert through((50, 50, 50), colour_matrix(1.0, 1.0, 1.7, 90.0)) == pytest.approx([50, 50, 50])


def test_panorama_and_crops_change_colour_alike(picture: Prepared) -> None:
    matrix = colour_matrix(1.2, 0.8, 0.5, 120.0)
    moved = apply(Change(False, np.eye(3), matrix, np.zeros((1, 3))), picture, DATA)
    for before, after in ((picture.panorama, moved.panorama), (plain(picture, DATA).people[0].crop, moved.people[0].crop)):
        assert after.dtype == np.uint8
        assert np.abs(after - np.clip(before @ matrix[:, :3].T + matrix[:, 3], 0.0, 255.0)).max() <= 1.0


def test_colours_do_change(picture: Prepared) -> None:
    moved = augment(picture, NOTHING.model_copy(update={"colour": 0.3}), DATA, rng_of(0))
    assert np.abs(moved.panorama.astype(int) - picture.panorama).max() > 10
