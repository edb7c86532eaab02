"""What of a panorama is photo: against the pixels of built panoramas, and where it can be said in advance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fakes import fake_dataset
from photos import write_gazefollow
from planted import only, run
from sphere_pictures import encoded, prepared, subject

from baselines.data.photos import photo_map, photos_of, with_photos
from baselines.training.settings import DataSettings
from builders.recipe import load_recipe
from builders.sources import gazefollow
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.images import read_panorama
from srgaze360.placement import Photo

SQUARE = Camera.from_fov("pinhole", 200, 200, np.radians(60.0))


def test_maps_are_what_is_not_background_in_panoramas_of_every_lens_tilt_and_pole(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=6)
    recipe = load_recipe("suites", only("tilt16", "lens", "pole", "crowd"))
    listing = gazefollow.read(tmp_path / "gf", gazefollow.GazeFollowOptions())
    data = run(tmp_path / "out", recipe, listing, tmp_path / "gf")
    found, seen = photos_of(data), 0
    for _, rows in data.annotations.groupby("panorama_id"):
        facts = rows.iloc[0]
        if facts["background"] != "black" or len(rows) < facts["photos"]:
            continue
        panorama = read_panorama(tmp_path / "out" / facts["image_path"])
        height = panorama.shape[0]
        maps = np.array([found[name].footprint(height) for name in rows["sample_id"]])
        assert maps.sum(axis=0).max() == 1  # photos do not overlap
        photo = maps.any(axis=0)
        around = [np.roll(photo, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        edge = np.any(around, axis=0) & ~np.all(around, axis=0)
        wrong = photo != (panorama.max(axis=-1) > 8)
        assert not (wrong & ~edge).any(), facts[["suite", "condition"]].to_dict()
        assert (photo & ~edge).any()
        seen += 1
    assert seen >= 50


def test_a_square_photo_ahead_at_the_seam_and_at_the_zenith() -> None:
    cells = sphere.cell_directions(128, 64)
    half = np.tan(np.radians(30.0))
    for pose in ((0.0, 0.0, 0.0), (np.pi, 0.0, 0.0), (0.3, np.pi / 2, 0.0)):
        photo = Photo(SQUARE, sphere.rotation_from_pose(*pose))
        found = photo_map(photo)
        assert found.shape == (64, 128)
        x, y, z = np.moveaxis(cells @ photo.world_from_photo, -1, 0)
        np.testing.assert_array_equal(found, np.where((z > 0) & (abs(x) <= half * z) & (abs(y) <= half * z), 255, 0))
        # a pyramid of half-angles a and b has the solid angle 4 asin(sin a sin b)
        area = (sphere.cell_solid_angles(512, 256) * photo.footprint(256)).sum()
        assert abs(area / (4.0 * np.arcsin(0.25)) - 1.0) < 0.01


def test_a_panorama_is_photo_everywhere() -> None:
    assert Photo(Camera.equirectangular(256), sphere.rotation_from_pose(1.0, 0.5, 0.2)).footprint(32).all()


def test_everybody_has_the_photo_of_their_own_row(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path, people=12)
    found = photos_of(data)
    assert list(found) == data.annotations["sample_id"].tolist()
    for row in data.annotations.itertuples():
        tilt = sphere.rotation_from_pose(*np.radians([row.tilt_yaw_deg, row.tilt_pitch_deg, row.tilt_roll_deg]))
        pose = sphere.rotation_from_pose(*np.radians([row.yaw_deg, row.pitch_deg, row.roll_deg]))
        np.testing.assert_allclose(found[row.sample_id].world_from_photo, tilt @ pose, atol=1e-12)
        assert found[row.sample_id].camera.width == 640


def test_people_of_one_photo_share_its_map_and_who_is_not_known_has_none(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    page = prepared(
        tmp_path, encoded(64), [subject(name, sphere.cell_directions(4, 2)[0, 1]) for name in names], DataSettings()
    )
    one, other = (Photo(SQUARE, sphere.rotation_from_pose(yaw, 0.2, 0.0)) for yaw in (0.0, 2.0))
    a, b, c, d = with_photos(page, {"a": one, "b": other, "c": one}).people
    assert a.photo is c.photo
    np.testing.assert_array_equal(a.photo, photo_map(one))
    np.testing.assert_array_equal(b.photo, photo_map(other))
    assert d.photo is None
