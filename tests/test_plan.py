"""The plan: strata get their counts, suites are paired, nothing depends on order, limit or further sources."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from planning import BACKGROUNDS, crowds, image_of, listing, plan, settings_of

from builders.plan import Plan, make_plan, unit_hash
from builders.recipe import Recipe, load_recipe
from builders.sources.base import Listing
from srgaze360.errors import InputError


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("suites")


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
