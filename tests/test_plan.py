"""The plan: strata get their counts, suites are paired, nothing depends on order, limit or further sources."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from builders.plan import Plan, Task, make_plan, unit_hash
from builders.recipe import Recipe, load_recipe
from builders.sources.base import Listing, Person, Photo
from srgaze360.errors import InputError


def listing(train: int = 40, test: int = 45, prefix: str = "") -> Listing:
    person = Person("0", "row", (0.1, 0.1, 0.2, 0.2), "fraction", ((0.5, 0.5),), "fraction", True)
    photos = [Photo(f"{prefix}train/{i:03d}.jpg", "train", f"{prefix}train/{i // 2}", (person,)) for i in range(train)]
    photos += [Photo(f"{prefix}test/{i:03d}.jpg", "test", f"{prefix}test/{i}", (person,)) for i in range(test)]
    return Listing(tuple(photos))


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("suites")


BACKGROUNDS = Listing(tuple(Photo(f"b{i}.jpg", "train", f"b{i}", ()) for i in range(5)))


def settings_of(task: Task) -> dict[str, float | str]:
    """Settings of the sphere and of its first photo."""
    return {**task.settings, **task.placements[0].settings}


def image_of(task: Task) -> str:
    return task.placements[0].photo.image


def plan(recipe: Recipe, sources: dict[str, Listing], limit: int | None = None) -> Plan:
    return make_plan(recipe, sources, BACKGROUNDS, limit)


def test_every_stratum_of_mixed_has_its_count(recipe: Recipe) -> None:
    tasks = [t for t in plan(recipe, {"gazefollow": listing()}).tasks if t.suite == "mixed" and t.split == "test"]
    assert len(tasks) == 45
    for axis, spec in recipe.suites["mixed"].draw.items():
        values = [settings_of(t)[axis] for t in tasks]
        if hasattr(spec, "strata"):
            counts = [sum(low <= value < high for value in values) for low, high in spec.strata]  # type: ignore[operator]
            assert sum(counts) == 45, axis
            assert max(counts) - min(counts) <= 1, axis
        else:
            share = Counter(spec.levels)
            expected = {level: 45 * n / len(spec.levels) for level, n in share.items()}
            found = Counter(values)
            assert all(abs(found[level] - expected[level]) <= share[level] for level in expected), (axis, found)


def test_strata_of_different_axes_are_not_locked_together(recipe: Recipe) -> None:
    tasks = plan(recipe, {"gazefollow": listing(test=900)}).tasks
    mixed = [settings_of(t) for t in tasks if t.suite == "mixed" and t.split == "test"]
    pairs = Counter((item["lens"], item["background"]) for item in mixed)
    assert len(pairs) == 9 * 7
    assert min(pairs.values()) > 3  # 12.9 expected for single lenses


def test_suites_share_photos_and_differ_in_one_axis(recipe: Recipe) -> None:
    tasks = plan(recipe, {"gazefollow": listing()}).tasks
    base = {image_of(t): settings_of(t) for t in tasks if t.suite == "canonical"}
    assert len(base) == 45
    varied = {
        "fov": {"fov_deg", "lens"},
        "latitude": {"latitude_deg"},
        "roll": {"roll_deg"},
        "seam": {"longitude_deg"},
        "pole": {"latitude_deg"},
        "lens": {"lens", "fov_deg"},
        "tilt16": {"tilt_pitch_deg", "tilt_roll_deg", "tilt_yaw_deg"},
        "background": {"background"},
    }
    for suite, axes in varied.items():
        members = [t for t in tasks if t.suite == suite]
        conditions = {t.condition for t in members}
        assert len(conditions) == np.prod([len(levels) for levels in recipe.suites[suite].vary.values()])
        assert Counter(image_of(t) for t in members) == Counter(list(base) * len(conditions))
        for task in members:
            mine = settings_of(task)
            assert {axis for axis in mine if mine[axis] != base[image_of(task)][axis]} <= axes


def test_order_of_rows_limit_and_other_sources_change_nothing(recipe: Recipe) -> None:
    full = {t.panorama_id: settings_of(t) for t in plan(recipe, {"gazefollow": listing()}).tasks}
    rows = listing()
    backwards = replace(rows, photos=rows.photos[::-1])
    assert [t.panorama_id for t in plan(recipe, {"gazefollow": backwards}).tasks] == list(full)
    for other in (
        plan(recipe, {"gazefollow": listing()}, limit=7),
        plan(recipe, {"gazefollow": listing(), "videoattentiontarget": listing(prefix="v/")}),
    ):
        ours = {t.panorama_id: settings_of(t) for t in other.tasks if t.placements[0].kind == "gazefollow"}
        assert ours.items() <= full.items()
    limited = plan(recipe, {"gazefollow": listing()}, limit=7)
    assert Counter(t.split for t in limited.tasks if t.suite == "mixed") == {"train": 7, "val": 2, "test": 7}


def test_every_person_is_used_or_listed(recipe: Recipe) -> None:
    made = plan(recipe, {"gazefollow": listing()}, limit=7)
    used = {item.photo.image for t in made.tasks for item in t.placements}
    unused = {r.image for r in made.unused}
    assert used | unused == {p.image for p in listing().photos}
    assert not used & unused
    assert {r.reason for r in made.unused} == {"beyond --limit 7"}


def test_val_is_made_of_whole_clusters_and_is_the_same_in_every_recipe(recipe: Recipe) -> None:
    def val(recipe: Recipe) -> set[str]:
        return {t.placements[0].photo.cluster for t in plan(recipe, {"gazefollow": listing()}).tasks if t.split == "val"}

    assert val(recipe)
    assert val(recipe) == val(load_recipe("mixed", ["seed=1"]))
    train = {t.placements[0].photo.cluster for t in plan(recipe, {"gazefollow": listing()}).tasks if t.split == "train"}
    assert not val(recipe) & train


def test_ids_are_unique_and_fixed(recipe: Recipe) -> None:
    tasks = plan(recipe, {"gazefollow": listing()}).tasks
    assert len({t.panorama_id for t in tasks}) == len(tasks)
    # absolute: a changed hash would orphan every published dataset
    assert unit_hash("a", 1) == pytest.approx(0.5141306901658262, abs=1e-15)


def test_backgrounds_are_split_too(recipe: Recipe) -> None:
    pools: dict[str, set[str]] = {}
    for task in plan(recipe, {"gazefollow": listing(train=200, test=200)}).tasks:
        if task.settings["background"] == "panorama":
            (kind, image) = task.backdrop[0]
            assert kind == "panoramas"
            pools.setdefault(task.split, set()).add(image)
    assert {split: len(pool) for split, pool in pools.items()} == {"train": 2, "val": 1, "test": 2}
    assert sum(map(len, pools.values())) == len(set.union(*pools.values()))


def test_missing_backgrounds_are_explained(recipe: Recipe) -> None:
    with pytest.raises(InputError, match="no source of panoramas is given. Add --source panoramas=DIR"):
        make_plan(recipe, {"gazefollow": listing()}, None)
    one = replace(BACKGROUNDS, photos=BACKGROUNDS.photos[:1])
    with pytest.raises(InputError, match="the source has 1 in all, dealt to: test. Add panoramas"):
        make_plan(recipe, {"gazefollow": listing()}, one)
    settings = recipe.without_panoramas()  # what the error advises
    with pytest.raises(InputError, match=re.escape(" ".join(f"--set '{setting}'" for setting in settings))):
        make_plan(recipe, {"gazefollow": listing()}, None)
    assert make_plan(load_recipe("suites", settings), {"gazefollow": listing()}, None).tasks
    assert make_plan(load_recipe("suites", ["suites.mixed=null", "suites.background=null"]), {"gazefollow": listing()}).tasks


def test_nothing_to_build_is_an_error(recipe: Recipe) -> None:
    with pytest.raises(InputError, match=r"has nothing to build from these sources \(gazefollow: 0 photos\)"):
        make_plan(recipe, {"gazefollow": Listing(())}, BACKGROUNDS)


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


def crowds(recipe: Recipe, rows: Listing, **rest: int) -> list[Task]:
    return [t for t in plan(recipe, {"gazefollow": rows}, **rest).tasks if t.suite == "crowd"]


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


# --- identities -------------------------------------------------------------------------------------------------------


def test_the_digest_is_of_everything_that_is_to_be_built(recipe: Recipe) -> None:
    made = plan(recipe, {"gazefollow": listing(test=3)})
    first, *rest = made.tasks
    item = first.placements[0]
    changed = [
        replace(first, panorama_id="0123456789abcdef"),
        replace(first, settings={**first.settings, "tilt_yaw_deg": 1.0}),
        replace(first, backdrop=(("panoramas", "another.jpg"),)),
        replace(first, placements=(replace(item, settings={**item.settings, "roll_deg": 1.0}),)),
        replace(first, placements=(replace(item, photo=replace(item.photo, people=item.photo.people * 2)),)),
        replace(first, placements=(replace(item, photo=replace(item.photo, image="another.jpg")),)),
    ]
    digests = {Plan((task, *rest), made.unused).digest() for task in (first, *changed)}
    assert len(digests) == 1 + len(changed)
    assert Plan((*rest, first), made.unused).digest() not in digests  # the order is that of the dataset
    assert plan(recipe, {"gazefollow": listing(test=3)}).digest() in digests


def test_copies_of_a_photo_are_spheres_of_their_own() -> None:
    thrice = load_recipe("mixed", ["suites.mixed.copies=3", "suites.mixed.draw.background=black"])
    tasks = make_plan(thrice, {"gazefollow": listing(train=0, test=5)}).tasks
    assert Counter(map(image_of, tasks)) == {f"test/{i:03d}.jpg": 3 for i in range(5)}
    for distinct in ({t.panorama_id for t in tasks}, {t.key for t in tasks}, {settings_of(t)["fov_deg"] for t in tasks}):
        assert len(distinct) == 15
    assert {t.cluster_id for t in tasks} == {f"gazefollow/test/{i}" for i in range(5)}


def test_a_source_with_a_val_split_of_its_own_keeps_its_train_whole(recipe: Recipe) -> None:
    rows = listing(train=100, test=0)
    own = replace(rows, photos=(*rows.photos, replace(rows.photos[0], image="val/000.jpg", split="val", cluster="val/0")))
    splits = Counter(t.split for t in plan(recipe, {"gazefollow": own}).tasks)
    assert splits == {"train": 100, "val": 1}
    assert 5 < Counter(t.split for t in plan(recipe, {"gazefollow": rows}).tasks)["val"] < 20  # a tenth of 100


def test_ids_tell_recipes_suites_and_companions_apart(recipe: Recipe) -> None:
    rows = {"gazefollow": listing(train=0, test=6)}
    ids = {t.panorama_id for t in plan(recipe, rows).tasks}
    assert not ids & {t.panorama_id for t in plan(load_recipe("suites", ["output.width=512"]), rows).tasks}
    twice = load_recipe("suites", ["suites.again={draw: {lens: own}, vary: {fov_deg: [40, 60, 80, 100]}}"])
    tasks = plan(twice, rows).tasks  # the same conditions under two names
    assert len({t.panorama_id for t in tasks}) == len(tasks)
    people = {p.cluster: p for p in rows["gazefollow"].photos}
    pairs = [crowds(recipe, Listing((people["test/0"], people[f"test/{i}"])))[0] for i in range(1, 6)]
    assert len({t.key for t in pairs}) < 5, "some of them begin with the same photo"
    assert len({t.panorama_id for t in pairs}) == 5


def test_clusters_of_two_sources_are_never_one(recipe: Recipe) -> None:
    rows = listing(train=0, test=8)  # two sources that happen to name their photos alike
    tasks = plan(recipe, {"gazefollow": rows, "goo": rows}).tasks
    clusters = {kind: {t.cluster_id for t in tasks if t.placements[0].kind == kind} for kind in ("gazefollow", "goo")}
    assert len(clusters["gazefollow"]) == len(clusters["goo"]) == 8 + 2
    assert not clusters["gazefollow"] & clusters["goo"]


# --- draws ------------------------------------------------------------------------------------------------------------


def test_conditions_are_the_levels_that_a_task_is_made_with(recipe: Recipe) -> None:
    tasks = plan(recipe, {"gazefollow": listing(train=0, test=2)}).tasks
    for suite, axis, name in (("fov", "fov_deg", "fov"), ("lens", "lens", "lens"), ("background", "background", "background")):
        levels = recipe.suites[suite].vary[axis]
        made = [(t.condition, settings_of(t)[axis]) for t in tasks if t.suite == suite]
        expected = [(f"{name}={level if isinstance(level, str) else int(level)}", level) for level in levels]
        assert made == expected * 2
    tilts = [(t.condition, t.settings["tilt_yaw_deg"]) for t in tasks if t.suite == "tilt16"]
    assert ("tilt_pitch=5,tilt_roll=0,tilt_yaw=270", 270.0) in tilts


def test_axes_with_equally_many_strata_are_drawn_independently() -> None:
    """Equal numbers matter: ranks modulo 7 and modulo 10 look independent even where all axes share one order."""
    two = "{strata: [[0, 1], [10, 11]]}"
    drawn = load_recipe("mixed", [f"suites.mixed.draw={{fov_deg: {{strata: [[40, 41], [50, 51]]}}, roll_deg: {two}}}"])
    tasks = make_plan(drawn, {"gazefollow": listing(train=0, test=400)}).tasks
    fov, roll = (np.array([t.placements[0].settings[axis] for t in tasks], dtype=float) for axis in ("fov_deg", "roll_deg"))
    for a, b in ((fov > 45.0, roll > 5.0), (fov % 10.0, roll % 10.0)):  # the strata, and the places within them
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.2  # four standard deviations
    # nor do strata follow the order of the photos
    assert abs(np.corrcoef(fov[:-1] > 45.0, fov[1:] > 45.0)[0, 1]) < 0.2


def test_everything_that_is_drawn_follows_the_seed() -> None:
    def drawn(seed: int) -> list[set[object]]:
        changed = load_recipe("suites", [f"seed={seed}", "suites.roll.sample=10"])
        tasks = plan(changed, {"gazefollow": listing(train=0, test=60)}).tasks
        mixed = [t for t in tasks if t.suite == "mixed"]
        return [
            {(image_of(t), settings_of(t)["lens"]) for t in mixed},
            {(image_of(t), float(settings_of(t)["roll_deg"]) % 20.0) for t in mixed},
            {(image_of(t), t.backdrop) for t in tasks if t.condition == "background=photos"},
            {(image_of(t), t.backdrop) for t in tasks if t.condition == "background=panorama"},
            {frozenset(item.photo.image for item in t.placements) for t in tasks if t.suite == "crowd"},
            {image_of(t) for t in tasks if t.suite == "roll"},
        ]

    assert drawn(1) == drawn(1)
    for first, second in zip(drawn(1), drawn(2), strict=True):
        assert len(first) == len(second)
        assert first != second
    assert drawn(1)[-1] != {f"test/{i:03d}.jpg" for i in range(10)}, "a sample is no prefix"


def test_the_sphere_of_a_crowd_is_that_of_its_first_photo() -> None:
    turned = load_recipe("suites", ["suites.crowd.draw.tilt_yaw_deg={strata: [[0, 360]]}"])
    for task in crowds(turned, listing(train=0, test=20)):
        first = task.placements[0]
        assert task.key == first.key
        assert task.settings["tilt_yaw_deg"] == pytest.approx(360.0 * unit_hash(turned.seed, first.key, "tilt_yaw_deg"))


def test_samples_count_photos_and_panoramas_apart() -> None:
    rows = listing(train=0, test=20)
    panoramas = tuple(replace(p, image=f"360/{p.image}", projection="equirectangular") for p in rows.photos)
    sampled = load_recipe("suites", ["suites.roll.sample=8", "suites.rotated.sample=6"])
    tasks = plan(sampled, {"procedural": replace(rows, photos=rows.photos + panoramas)}).tasks
    assert len({image_of(t) for t in tasks if t.suite == "roll"}) == 8
    assert len({image_of(t) for t in tasks if t.suite == "rotated"}) == 6


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


# --- what a resumed build may not mix ---------------------------------------------------------------------------------


def test_the_digest_of_a_plan_knows_the_labels(recipe: Recipe) -> None:
    rows = listing(train=0, test=3)
    before = plan(recipe, {"gazefollow": rows}).digest()
    first = rows.photos[0]
    person = first.people[0]
    changes = [
        replace(first, people=(replace(person, gaze=((0.9, 0.1),)),)),
        replace(first, people=(replace(person, head_box=(0.1, 0.1, 0.2, 0.3)),)),
        replace(first, camera={"lens": "pinhole", "fx": 1.0, "fy": 1.0, "cx": 1.0, "cy": 1.0}),
        replace(first, size=(20, 10)),
        replace(first, cluster="another"),
    ]
    for changed in changes:
        assert plan(recipe, {"gazefollow": Listing((changed, *rows.photos[1:]))}).digest() != before
    assert plan(recipe, {"gazefollow": Listing(rows.photos[::-1])}).digest() == before


def test_photos_beyond_every_sample_are_listed_as_such() -> None:
    names = load_recipe("suites").suites
    sampled = load_recipe("suites", [*(f"suites.{n}=null" for n in names if n != "canonical"), "suites.canonical.sample=3"])
    unused = make_plan(sampled, {"gazefollow": listing(train=0, test=5)}).unused
    assert [r.reason for r in unused] == ["beyond the sample of every suite of recipe suites"] * 2


def test_photos_are_found_among_many_panoramas(recipe: Recipe) -> None:
    rows = listing(train=0, test=200)
    around = tuple(replace(photo, projection="equirectangular") for photo in rows.photos[2:])
    made = plan(recipe, {"gazefollow": Listing((*rows.photos[:2], *around))})
    behind = {t.backdrop for t in made.tasks if t.condition == "background=photos"}
    assert behind == {(("gazefollow", rows.photos[0].image),), (("gazefollow", rows.photos[1].image),)}
