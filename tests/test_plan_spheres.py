"""The plan of spheres: samples, photos that share one, panoramas, photos behind photos, and rows that no sphere takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from planning import crowds, image_of, listing, plan

from builders.plan import make_plan
from builders.recipe import Recipe, load_recipe
from builders.sources.base import Listing, Person, Photo
from srgaze360.errors import InputError


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("suites")


# --- samples, groups, panoramas, other photos -------------------------------------------------------------------------


def test_suites_of_a_sample_share_their_photos() -> None:
    sampled = load_recipe("suites", ["suites.fov.sample=9", "suites.roll.sample=9", "suites.pole.sample=5"])
    tasks = plan(sampled, {"gazefollow": listing()}).tasks
    images = {suite: {image_of(t) for t in tasks if t.suite == suite} for suite in ("fov", "roll", "pole", "mixed")}
    assert images["fov"] == images["roll"]
    assert images["pole"] < images["fov"] < images["mixed"]
    assert [len(images[suite]) for suite in ("fov", "pole")] == [9, 5]
    limited = {image_of(t) for t in plan(sampled, {"gazefollow": listing()}, limit=4).tasks if t.suite == "fov"}
    assert len(limited) == 4
    assert limited < images["pole"]


def test_photos_that_share_a_sphere_come_from_one_fixed_group(recipe: Recipe) -> None:
    tasks = crowds(recipe, listing(test=45))
    assert sorted(len(t.placements) for t in tasks) == [3] + [6] * 7  # 45 photos, a cluster each
    images = [item.photo.image for t in tasks for item in t.placements]
    assert len(images) == len(set(images)) == 45
    assert len({t.cluster_id for t in tasks}) == 8
    # every photo keeps draws of its own
    assert len({item.settings["fov_deg"] for t in tasks for item in t.placements}) == 45
    rows = listing(test=45)
    backwards = replace(rows, photos=rows.photos[::-1])
    assert [t.panorama_id for t in crowds(recipe, backwards)] == [t.panorama_id for t in tasks]
    some = crowds(recipe, listing(test=45), limit=12)
    assert len(some) == 2
    assert {t.panorama_id for t in some} < {t.panorama_id for t in tasks}


def test_frames_of_a_clip_stay_in_its_group(recipe: Recipe) -> None:
    person = Person("0", "row", (0.1, 0.1, 0.2, 0.2), "fraction", ((0.5, 0.5),), "fraction", True)
    frames = [Photo(f"{clip}/{i}.jpg", "test", f"clip{clip}", (person,)) for clip in range(8) for i in range(3 + clip % 2)]
    tasks = crowds(recipe, Listing(tuple(frames)))
    groups: dict[str, set[str]] = {}
    for task in tasks:
        clusters = [item.photo.cluster for item in task.placements]
        assert len(clusters) == len(set(clusters)), "two frames of a clip on one sphere"
        groups.setdefault(task.cluster_id, set()).update(clusters)
    assert sorted(map(len, groups.values())) == [2, 6]
    assert not set.intersection(*groups.values())
    used = [item.photo.image for t in tasks for item in t.placements]
    assert len(used) == len(set(used))
    unused = [r for r in plan(recipe, {"gazefollow": Listing(tuple(frames))}).unused if r.suite == "crowd"]
    assert {r.reason for r in unused} <= {"no other cluster of its split has a photo left to share a sphere with"}
    assert {r.image for r in unused} | set(used) == {photo.image for photo in frames}
    assert not {r.image for r in unused} & set(used)
    one_clip = plan(recipe, {"gazefollow": Listing(tuple(frames[:3]))})
    assert "crowd" not in {t.suite for t in one_clip.tasks}
    assert len([r for r in one_clip.unused if r.suite == "crowd"]) == 3


def test_suites_take_photos_or_panoramas_of_the_sources_they_name(recipe: Recipe) -> None:
    rows = listing(train=0, test=6)
    panoramas = replace(
        rows, photos=tuple(replace(p, image=f"360/{p.image}", projection="equirectangular") for p in rows.photos)
    )
    both = replace(rows, photos=rows.photos + panoramas.photos)
    tasks = plan(recipe, {"procedural": both, "gazefollow": panoramas}).tasks
    for task in tasks:
        whole = task.placements[0].photo.projection == "equirectangular"
        assert whole == (task.suite in ("rotated", "rendered"))
        assert ("background" in task.settings) == (not whole)
        assert not whole or set(task.placements[0].settings) == {"latitude_deg", "longitude_deg", "roll_deg"}
    kinds = {
        suite: Counter(t.placements[0].kind for t in tasks if t.suite == suite) for suite in ("rotated", "rendered", "fov")
    }
    assert kinds["rotated"] == {"procedural": 6, "gazefollow": 6}
    assert kinds["rendered"] == {"procedural": 6}
    assert kinds["fov"] == {"procedural": 24}
    flat = plan(load_recipe("mixed"), {"gazefollow": both})
    assert {r.reason for r in flat.unused} == {"no suite of recipe mixed uses panoramas of source gazefollow in split test"}
    assert {r.image for r in flat.unused} == {p.image for p in panoramas.photos}


def test_photos_behind_a_photo_are_others_of_its_split(recipe: Recipe) -> None:
    rows = listing(train=60, test=60)
    by_image = {p.image: p for p in rows.photos}
    tasks = [t for t in plan(recipe, {"gazefollow": rows}).tasks if t.settings.get("background") == "photos"]
    assert {t.split for t in tasks} == {"train", "val", "test"}
    splits = {image_of(t): t.split for t in plan(recipe, {"gazefollow": rows}).tasks}
    for task in tasks:
        images = [image for kind, image in task.backdrop if kind == "gazefollow"]
        assert 1 <= len(images) == len(set(images)) <= 6
        assert {splits[image] for image in images} == {task.split}
        assert task.placements[0].photo.cluster not in {by_image[image].cluster for image in images}
    alone = listing(train=0, test=1)
    made = plan(recipe, {"gazefollow": alone})
    assert "background=photos" not in {t.condition for t in made.tasks}
    reasons = {r.reason for r in made.unused if r.condition == "background=photos"}
    assert reasons == {"the split has no other photo to put behind this one"}


def test_a_standard_dataset_is_made_from_its_own_source() -> None:
    standard = load_recipe("srgaze360-1.0")
    assert make_plan(standard, {"gazefollow": listing()}).tasks
    with pytest.raises(InputError, match="made from gazefollow and nothing else; found childplay, gazefollow"):
        make_plan(standard, {"gazefollow": listing(), "childplay": listing()})
    with pytest.raises(InputError, match="made from gazefollow and nothing else; found childplay"):
        make_plan(standard, {"childplay": listing()})


def test_a_standard_dataset_of_two_sources_needs_both() -> None:
    two = load_recipe("srgaze360-1.0", ["made_from=[gazefollow, goo]"])
    with pytest.raises(InputError, match="made from gazefollow, goo and nothing else; found gazefollow"):
        make_plan(two, {"gazefollow": listing()})
    assert make_plan(two, {"gazefollow": listing(), "goo": listing()}).tasks


# --- groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_spheres_of_a_group_are_one_cluster_however_long_its_clips(seed: int) -> None:
    person = listing(train=0, test=1).photos[0].people
    frames = [Photo(f"{clip}/{i}.jpg", "test", f"clip{clip}", person) for clip in range(6) for i in range(clip + 1)]
    tasks = crowds(load_recipe("suites", [f"seed={seed}"]), Listing(tuple(frames)))
    # clips of 1 to 6 frames: the n-th sphere holds the clips with n frames; the last frame of the longest is alone
    assert [len(t.placements) for t in tasks] == [6, 5, 4, 3, 2]
    assert len({t.cluster_id for t in tasks}) == 1


def test_a_limit_below_a_sphere_makes_one_sphere(recipe: Recipe) -> None:
    for limit, spheres in ((1, 1), (6, 1), (7, 2)):
        assert len(crowds(recipe, listing(train=0, test=45), limit=limit)) == spheres


def test_only_photos_that_a_crowd_wanted_are_told_that_they_were_alone() -> None:
    def alone(rows: dict[str, Listing], *settings: str) -> list[tuple[str, str]]:
        made = plan(load_recipe("suites", settings), rows)
        return [(r.source, r.image) for r in made.unused if r.suite == "crowd"]

    rows = listing(train=6, test=7)  # a seventh photo of the test split has nobody to be with
    assert len(alone({"gazefollow": rows})) == 1
    assert {image.partition("/")[0] for _, image in alone({"gazefollow": rows})} == {"test"}
    assert alone({"gazefollow": rows}, "suites.crowd.sample=6") == []
    both = {"gazefollow": rows, "goo": rows}
    assert {kind for kind, _ in alone(both, "suites.crowd.sources=[goo]")} == {"goo"}


# --- photos behind photos, what is not used ---------------------------------------------------------------------------


def test_six_photos_are_behind_a_photo_where_the_split_has_them(recipe: Recipe) -> None:
    rows = listing(train=0, test=60)
    panoramas = tuple(replace(p, image=f"360/{p.image}", projection="equirectangular") for p in rows.photos)
    tasks = plan(recipe, {"gazefollow": replace(rows, photos=rows.photos + panoramas)}).tasks
    behind = [[image for _, image in t.backdrop] for t in tasks if t.condition == "background=photos"]
    assert {len(set(images)) for images in behind} == {6}
    assert not {image for images in behind for image in images if image.startswith("360/")}, "a panorama behind a photo"


def test_photos_behind_a_crowd_are_of_none_of_its_clusters() -> None:
    recipe = load_recipe("suites", ["suites.crowd.draw.background=photos"])
    person = listing(train=0, test=1).photos[0].people
    frames = Listing(tuple(Photo(f"{c}/{i}.jpg", "test", f"clip{c}", person) for c in range(12) for i in range(3)))
    for task in crowds(recipe, frames):
        own = {item.photo.image.partition("/")[0] for item in task.placements}
        assert len(own) == 6
        assert task.backdrop
        assert not own & {image.partition("/")[0] for _, image in task.backdrop}


def test_a_split_of_one_cluster_shows_its_other_photos(recipe: Recipe) -> None:
    rows = listing(train=0, test=5)
    one = replace(rows, photos=tuple(replace(p, cluster="the only clip") for p in rows.photos))
    behind = [t for t in plan(recipe, {"gazefollow": one}).tasks if t.condition == "background=photos"]
    assert len(behind) == 5
    for task in behind:
        assert {image for _, image in task.backdrop} == {p.image for p in rows.photos} - {image_of(task)}


def test_backgrounds_are_dealt_by_a_hash_and_not_by_their_order(recipe: Recipe) -> None:
    many = Listing(tuple(Photo(f"b{i:02d}.jpg", "train", f"b{i}", ()) for i in range(50)))
    tasks = make_plan(recipe, {"gazefollow": listing(train=0, test=600)}, many).tasks
    used = {t.backdrop[0][1] for t in tasks if t.settings.get("background") == "panorama"}
    assert len(used) == 20  # two in five are of the test split
    assert {int(image[1:3]) % 5 for image in used} == set(range(5))


def test_rows_that_no_suite_wants_are_all_listed() -> None:
    person = Person("0", "row", (0.1, 0.1, 0.2, 0.2), "fraction", ((0.5, 0.5),), "fraction", True)
    two = (person, replace(person, person="1", row="next row"))
    rows = Listing(tuple(replace(p, people=two) for p in listing(train=4, test=4).photos))
    only = [f"suites.{name}=null" for name in load_recipe("suites").suites if name not in ("canonical", "fov")]
    recipe = load_recipe(
        "suites", [*only, "suites.fov={sources: [goo], splits: [train]}", "suites.canonical.sources=[gazefollow]"]
    )
    made = plan(recipe, {"gazefollow": rows, "goo": rows})
    used = {(t.placements[0].kind, t.split) for t in made.tasks}
    assert used - {("goo", "val")} == {("gazefollow", "test"), ("goo", "train")}
    unused = {(r.source, r.image, r.row): r.reason for r in made.unused}
    for kind in ("gazefollow", "goo"):
        for photo in rows.photos:
            if (kind, photo.split) not in used:
                for person in photo.people:
                    reason = unused[kind, photo.image, person.row]
                    assert reason.startswith(f"no suite of recipe suites uses photos of source {kind} in split ")
