"""One task at a time: what is in its rows, what is around its photos, and what is rejected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from photos import write_gazefollow
from planted import make_all, only

from builders.recipe import load_recipe
from builders.sources import gazefollow
from builders.sources.base import Listing
from srgaze360 import sphere

# --- one task at a time: what is in its rows, and what is rejected ----------------------------------------------------


def photos_of(tmp_path: Path, count: int) -> tuple[Listing, Path]:
    write_gazefollow(tmp_path / "gf", test=count)  # 640 x 480, 480 x 640, 600 x 400
    return gazefollow.read(tmp_path / "gf", gazefollow.GazeFollowOptions()), tmp_path / "gf"


def test_only_reasons_that_lie_in_the_condition_name_it(tmp_path: Path) -> None:
    listing, root = photos_of(tmp_path, 3)
    (root / listing.photos[1].image).write_bytes(b"no image")
    person = replace(listing.photos[0].people[0], gaze=((0.5, 0.5),), annotators=("a",))
    people = (
        replace(person, person="sound"),
        replace(person, person="headless", row="2", head_box=(9.0, 9.0, 9.0, 20.0)),
        replace(person, person="in the corner", row="3", head_box=(1.0, 1.0, 20.0, 20.0)),
        replace(person, person="of two minds", row="4", gaze=((0.001, 0.001), (0.4, 0.5)), annotators=("b", "c")),
        replace(person, person="looking away", row="5", gaze=((0.999, 0.999),)),
    )
    rows = replace(listing, photos=(replace(listing.photos[0], people=people), *listing.photos[1:]))
    strong = ("lenses.strong={lens: brown-conrady, params: [-0.3]}", "suites.fov={vary: {lens: [pinhole, strong]}}")
    recipe = load_recipe("suites", [*only("fov"), *strong, "base.fov_deg=88"])
    done = make_all(root, recipe, rows, tmp_path / "out")
    corner, unread = rows.photos[0].image, rows.photos[1].image
    found = {(r.image, r.person, r.condition): (r.row, r.suite, r.fault) for _, made in done for r in made.rejected}
    lens, reason = "what the lens can image", found.pop((unread, rows.photos[1].people[0].person, ""))[2]
    assert reason
    assert found == {
        (corner, "headless", ""): ("2", "", "head box is empty or lies outside the photo"),
        (corner, "in the corner", "lens=strong"): ("3", "fov", f"head box reaches beyond {lens}"),
        (corner, "of two minds", "lens=strong"): ("4", "fov", f"gaze points lie beyond {lens}"),
        (corner, "looking away", "lens=strong"): ("5", "fov", f"gaze lies beyond {lens}"),
    }
    used = {
        task.condition: {row["source_person"]: row for row in made.rows}
        for task, made in done
        if made.rows[:1] and made.rows[0]["source_image"] == corner
    }
    assert set(used["lens=pinhole"]) == {person.person for person in people} - {"headless"}
    assert set(used["lens=strong"]) == {"sound", "of two minds"}
    partly = used["lens=strong"]["of two minds"]
    assert (len(partly["gaze_points_deg"]), partly["gaze_annotators"]) == (1, ["c"])
    assert len(used["lens=pinhole"]["of two minds"]["gaze_points_deg"]) == 2
    assert len({row["sample_id"] for _, made in done for row in made.rows}) == sum(len(made.rows) for _, made in done)


def test_a_lens_that_cannot_take_the_field_of_view_is_a_reason_there(tmp_path: Path) -> None:
    listing, root = photos_of(tmp_path, 2)
    recipe = load_recipe("suites", [*only("fov"), "suites.fov={draw: {lens: pinhole}, vary: {fov_deg: [60, 200]}}"])
    lying, none, standing, _ = (made for _, made in make_all(root, recipe, listing, tmp_path / "out"))
    assert (len(lying.rows), lying.rejected) == (1, ())
    assert lying.rows[0]["hfov_deg"] == pytest.approx(60.0)
    # 480 x 640: 60 degrees are those of the longer side
    assert standing.rows[0]["hfov_deg"] == pytest.approx(2.0 * np.degrees(np.arctan(0.75 * np.tan(np.radians(30.0)))))
    assert (none.rows, none.entry) == ((), None)
    (rejected,) = none.rejected
    assert (rejected.fault, rejected.suite, rejected.condition) == ("lens cannot take the field of view", "fov", "fov=200")


def test_photos_that_are_missing_from_a_crowd_are_not_counted(tmp_path: Path) -> None:
    listing, root = photos_of(tmp_path, 5)
    (root / listing.photos[2].image).unlink()
    crowded = ("suites.crowd.draw.lens=stereographic", "lenses.stereographic={lens: stereographic}")
    recipe = load_recipe("suites", [*only("crowd"), *crowded, "suites.crowd.draw.fov_deg=150"])
    ((task, made),) = make_all(root, recipe, listing, tmp_path / "out")
    assert len(task.placements) == 5
    reasons = {r.image: (r.fault, r.suite) for r in made.rejected}
    missing = reasons.pop(listing.photos[2].image)
    assert missing[1] == "", "a photo that is missing is so everywhere"
    assert len(made.rows) + len(reasons) == 4
    assert 1 <= len(made.rows) < 4, "four photos of 150 degrees have no room"
    assert set(reasons.values()) == {("no room is left on the sphere beside the other photos", "crowd")}
    assert {row["photos"] for row in made.rows} == {len(made.rows)}


def test_a_background_that_cannot_be_read_is_a_reason_there(tmp_path: Path) -> None:
    listing, root = photos_of(tmp_path, 2)
    (root / listing.photos[1].image).write_bytes(b"no image")
    recipe = load_recipe("suites", [*only("background"), "suites.background.vary.background=[black, photos]"])
    done = {(task.key, task.condition): made for task, made in make_all(root, recipe, listing, tmp_path / "out")}
    first = f"gazefollow/{listing.photos[0].image}"
    assert len(done[first, "background=black"].rows) == 1
    behind = done[first, "background=photos"]
    assert (behind.rows, behind.entry) == ((), None)
    assert [(r.fault, r.suite, r.condition) for r in behind.rejected] == [
        ("background cannot be read", "background", "background=photos")
    ]


def test_the_feather_is_for_backgrounds_that_show_a_scene(tmp_path: Path) -> None:
    listing, root = photos_of(tmp_path, 2)
    pixels: dict[str, list[str]] = {}
    for width in (0, 2, 12):
        levels = "suites.background.vary.background=[blur, photos]"
        recipe = load_recipe("suites", [*only("background"), levels, f"output.feather_deg={width}", "seed=1"])
        for task, made in make_all(root, recipe, listing, tmp_path / str(width)):
            assert made.entry is not None
            pixels.setdefault(f"{task.key} {task.condition}", []).append(made.entry["pixel_digest"])
    for name, digests in pixels.items():
        assert len(set(digests)) == (1 if "blur" in name else 3), name


def test_random_backgrounds_and_places_differ_between_photos_and_seeds(tmp_path: Path) -> None:
    listing, root = photos_of(tmp_path, 1)
    # the same picture under two names
    (root / "again.png").write_bytes((root / listing.photos[0].image).read_bytes())
    twice = replace(listing, photos=(listing.photos[0], replace(listing.photos[0], image="again.png", cluster="again")))
    found = []
    for seed in (1, 2):
        fixed = load_recipe("suites", [*only("canonical"), "base.background=noise", "base.longitude_deg=0", f"seed={seed}"])
        found += [made.entry["pixel_digest"] for _, made in make_all(root, fixed, twice, tmp_path / "out") if made.entry]
        placed = load_recipe("suites", [*only("canonical"), f"seed={seed}"])
        found += [made.rows[0]["yaw_deg"] for _, made in make_all(root, placed, twice, tmp_path / "out")]
    assert len(found) == len(set(found)) == 8


def test_rows_say_where_on_the_sphere_head_and_gaze_are(tmp_path: Path) -> None:
    """Of a person looking up, at the latitude of the photo's centre: bands, flags and radius from angles known beforehand."""
    listing, root = photos_of(tmp_path, 1)  # 640 x 480, 60 degrees: a focal length of 320 / tan 30
    focal = 320.0 / np.tan(np.radians(30.0))
    up = (0.5, (240.0 - focal * np.tan(np.radians(20.0))) / 480.0)
    one = replace(listing.photos[0].people[0], head_box=(310.0, 230.0, 330.0, 250.0), gaze=(up,), annotators=())
    away = replace(one, person="away", gaze=(), in_frame=False)
    rows = replace(listing, photos=(replace(listing.photos[0], people=(one, away)),))
    latitudes = "suites.latitude.vary.latitude_deg=[-75, 0, 15, 55, 65]"
    recipe = load_recipe("suites", [*only("latitude"), latitudes])
    found = [made.rows for _, made in make_all(root, recipe, rows, tmp_path / "out")]
    bands = [(row["head_band"], row["gaze_band"]) for row, _ in found]
    near, middle, far = "0-30 deg", "30-60 deg", "60-90 deg"
    assert bands == [(far, middle), (near, near), (near, middle), (middle, far), (far, far)]
    for latitude, (row, unknown) in zip((-75, 0, 15, 55, 65), found, strict=True):
        assert (row["suite"], row["condition"]) == ("latitude", f"latitude={latitude}")
        assert row["head_lat_deg"] == pytest.approx(latitude)
        assert row["gaze_lat_deg"] == pytest.approx(latitude + 20.0)
        assert row["gaze_lon_deg"] == pytest.approx(row["head_lon_deg"])
        np.testing.assert_allclose(row["gaze_points_deg"], [[row["gaze_lon_deg"], row["gaze_lat_deg"]]])
        assert row["head_radius_deg"] == pytest.approx(np.degrees(np.arctan(10.0 / focal)))
        assert (row["in_frame"], unknown["in_frame"]) == (True, False)
        assert (unknown["gaze_band"], unknown["gaze_lat_deg"], unknown["gaze_points_deg"]) == (None, None, [])
        # the middle of the nearer edge is half the field of view, 23.41 degrees, from the centre
        reach = abs(latitude) + np.degrees(np.arctan(240.0 / focal))
        assert row["near_pole"] == (reach > 80.0)
        assert row["contains_pole"] == (reach > 90.0)
    # a pinhole is coarsest on its axis, and its corners are finer: pixels per radian grow with the square of the secant
    row = found[1][0]
    assert row["minification"] == pytest.approx(focal / (256 / sphere.TWO_PI), rel=1e-6)
    corner = 1.0 + (320.0**2 + 240.0**2) / focal**2
    assert row["worst_minification"] == pytest.approx(row["minification"] * corner, rel=0.02)


def test_the_background_of_a_crowd_is_made_from_all_its_photos(tmp_path: Path) -> None:
    listing, root = photos_of(tmp_path, 2)
    for photo, colour in zip(listing.photos, ((240, 0, 0), (0, 0, 240)), strict=True):
        cv2.imwrite(str(root / photo.image), np.full((300, 300, 3), colour, dtype=np.uint8))
    settings = ("suites.crowd.draw.background=mean", "suites.crowd.draw.fov_deg=60")
    ((_, made),) = make_all(root, load_recipe("suites", [*only("crowd"), *settings]), listing, tmp_path / "out")
    assert made.entry is not None
    pixels = cv2.imread(str(tmp_path / "out" / made.entry["path"])).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    np.testing.assert_allclose(colours[np.argmax(counts)], (120, 0, 120), atol=2)  # equal areas of either colour


def test_seam_as_a_level_and_people_of_one_name_are_told_apart(tmp_path: Path) -> None:
    listing, root = photos_of(tmp_path, 2)
    named = tuple(replace(p, people=(replace(p.people[0], person="p"),)) for p in listing.photos)
    level = "suites.seam={vary: {longitude_deg: [seam, 0]}}"
    recipe = load_recipe("suites", [*only("seam", "crowd"), level])
    rows = [row for _, made in make_all(root, recipe, replace(listing, photos=named), tmp_path / "out") for row in made.rows]
    assert {row["condition"] for row in rows} == {"longitude=seam", "longitude=0", "crowd"}
    assert len({row["sample_id"] for row in rows}) == len(rows) == 6
