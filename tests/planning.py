"""Plans from listings made by hand: what tests of plans start from."""

from __future__ import annotations

from builders.plan import Plan, Task, make_plan
from builders.recipe import Recipe
from builders.sources.base import Listing, Person, Photo


def listing(train: int = 40, test: int = 45, prefix: str = "") -> Listing:
    person = Person("0", "row", (0.1, 0.1, 0.2, 0.2), "fraction", ((0.5, 0.5),), "fraction", True)
    photos = [Photo(f"{prefix}train/{i:03d}.jpg", "train", f"{prefix}train/{i // 2}", (person,)) for i in range(train)]
    photos += [Photo(f"{prefix}test/{i:03d}.jpg", "test", f"{prefix}test/{i}", (person,)) for i in range(test)]
    return Listing(tuple(photos))


BACKGROUNDS = Listing(tuple(Photo(f"b{i}.jpg", "train", f"b{i}", ()) for i in range(5)))


def settings_of(task: Task) -> dict[str, float | str]:
    """Settings of the sphere and of its first photo."""
    return {**task.settings, **task.placements[0].settings}


def image_of(task: Task) -> str:
    return task.placements[0].photo.image


def plan(recipe: Recipe, sources: dict[str, Listing], limit: int | None = None) -> Plan:
    return make_plan(recipe, sources, BACKGROUNDS, limit)


def crowds(recipe: Recipe, rows: Listing, **rest: int) -> list[Task]:
    return [t for t in plan(recipe, {"gazefollow": rows}, **rest).tasks if t.suite == "crowd"]
