"""The plan: strata get their counts, suites are paired, nothing depends on order, limit or further sources."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from builders.plan import Plan, make_plan, unit_hash
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


def plan(recipe: Recipe, sources: dict[str, Listing], limit: int | None = None) -> Plan:
    return make_plan(recipe, sources, BACKGROUNDS, limit)


def test_every_stratum_of_mixed_has_its_count(recipe: Recipe) -> None:
    tasks = [t for t in plan(recipe, {"gazefollow": listing()}).tasks if t.suite == "mixed" and t.split == "test"]
    assert len(tasks) == 45
    for axis, spec in recipe.suites["mixed"].draw.items():
        values = [t.settings[axis] for t in tasks]
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
    pairs = Counter((t.settings["lens"], t.settings["background"]) for t in tasks if t.suite == "mixed" and t.split == "test")
    assert len(pairs) == 8 * 3
    assert min(pairs.values()) > 15  # 33 expected for single lenses


def test_suites_share_photos_and_differ_in_one_axis(recipe: Recipe) -> None:
    tasks = plan(recipe, {"gazefollow": listing()}).tasks
    base = {t.photo.image: t.settings for t in tasks if t.suite == "canonical"}
    assert len(base) == 45
    varied = {"fov": "fov_deg", "latitude": "latitude_deg", "roll": "roll_deg", "seam": "longitude_deg"}
    for suite, axis in varied.items():
        members = [t for t in tasks if t.suite == suite]
        assert Counter(t.photo.image for t in members) == Counter(list(base) * len({t.condition for t in members}))
        for task in members:
            differing = {a for a in task.settings if task.settings[a] != base[task.photo.image][a]}
            assert differing <= {axis}


def test_order_of_rows_limit_and_other_sources_change_nothing(recipe: Recipe) -> None:
    full = {t.panorama_id: dict(t.settings) for t in plan(recipe, {"gazefollow": listing()}).tasks}
    rows = listing()
    backwards = replace(rows, photos=rows.photos[::-1])
    assert [t.panorama_id for t in plan(recipe, {"gazefollow": backwards}).tasks] == list(full)
    for other in (
        plan(recipe, {"gazefollow": listing()}, limit=7),
        plan(recipe, {"gazefollow": listing(), "videoattentiontarget": listing(prefix="v/")}),
    ):
        ours = {t.panorama_id: dict(t.settings) for t in other.tasks if t.kind == "gazefollow"}
        assert ours.items() <= full.items()
    limited = plan(recipe, {"gazefollow": listing()}, limit=7)
    assert Counter(t.split for t in limited.tasks if t.suite == "mixed") == {"train": 7, "val": 2, "test": 7}


def test_every_person_is_used_or_listed(recipe: Recipe) -> None:
    made = plan(recipe, {"gazefollow": listing()}, limit=7)
    used = {t.photo.image for t in made.tasks}
    unused = {r.image for r in made.unused}
    assert used | unused == {p.image for p in listing().photos}
    assert not used & unused
    assert {r.reason for r in made.unused} == {"beyond --limit 7"}


def test_val_is_made_of_whole_clusters_and_is_the_same_in_every_recipe(recipe: Recipe) -> None:
    def val(recipe: Recipe) -> set[str]:
        return {t.photo.cluster for t in plan(recipe, {"gazefollow": listing()}).tasks if t.split == "val"}

    assert val(recipe)
    assert val(recipe) == val(load_recipe("mixed", ["seed=1"]))
    assert not val(recipe) & {t.photo.cluster for t in plan(recipe, {"gazefollow": listing()}).tasks if t.split == "train"}


def test_ids_are_unique_and_fixed(recipe: Recipe) -> None:
    tasks = plan(recipe, {"gazefollow": listing()}).tasks
    assert len({t.panorama_id for t in tasks}) == len(tasks)
    # absolute: a changed hash would orphan every published dataset
    assert unit_hash("a", 1) == pytest.approx(0.5141306901658262, abs=1e-15)


def test_backgrounds_are_split_too(recipe: Recipe) -> None:
    pools: dict[str, set[str]] = {}
    for task in plan(recipe, {"gazefollow": listing(train=200, test=200)}).tasks:
        if task.background_image is not None:
            pools.setdefault(task.split, set()).add(task.background_image)
    assert {split: len(pool) for split, pool in pools.items()} == {"train": 2, "val": 1, "test": 2}
    assert sum(map(len, pools.values())) == len(set.union(*pools.values()))


def test_missing_backgrounds_are_explained(recipe: Recipe) -> None:
    with pytest.raises(InputError, match="no source of panoramas is given. Add --source panoramas=DIR"):
        make_plan(recipe, {"gazefollow": listing()}, None)
    one = replace(BACKGROUNDS, photos=BACKGROUNDS.photos[:1])
    with pytest.raises(InputError, match="the source has 1 in all, dealt to: test. Add panoramas"):
        make_plan(recipe, {"gazefollow": listing()}, one)
    plain = load_recipe("suites", ["suites.mixed.draw.background=black"])
    assert make_plan(plain, {"gazefollow": listing()}, None).tasks


def test_nothing_to_build_is_an_error(recipe: Recipe) -> None:
    with pytest.raises(InputError, match=r"has nothing to build from these sources \(gazefollow: 0 photos\)"):
        make_plan(recipe, {"gazefollow": Listing(())}, BACKGROUNDS)
