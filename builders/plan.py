"""The plan of a build: which photo goes on which sphere, under which condition, in which split.

Conventions
-----------
The plan is a pure function of the recipe and the source listings, made once over the sorted rows. Every draw is a function
of (seed, photo, axis); strata are dealt out by rank of a hash within (source, split, suite), so each gets its count.
``limit`` only chooses among the tasks of the full plan: it changes nobody's condition. Workers read tasks; they decide
nothing.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from builders.recipe import Draw, Levels, Recipe, Strata
from builders.sources.base import Listing, Photo, Rejected
from srgaze360.errors import InputError
from srgaze360.files import digest

# Backgrounds are dealt to splits in this order, so that even a few of them serve the two splits that are scored and trained on.
BACKGROUND_SPLITS = ("test", "train", "val", "train", "test")
VAL_KEY = "srgaze360-val"  # val depends on the cluster alone: the same in every recipe


@dataclass(frozen=True)
class Task:
    """One panorama to make. ``settings`` holds a value for every axis; ``key`` identifies the photo among all sources."""

    panorama_id: str
    split: str
    suite: str
    condition: str
    kind: str
    photo: Photo
    settings: Mapping[str, float | str]
    background_image: str | None = None

    @property
    def key(self) -> str:
        """The photo's identity: kind of source and path."""
        return f"{self.kind}/{self.photo.image}"


@dataclass(frozen=True)
class Plan:
    """All panoramas of a build, in their final order, and the source rows that no panorama uses."""

    tasks: tuple[Task, ...]
    unused: tuple[Rejected, ...]

    def digest(self) -> str:
        """Digest of what is to be built; a resumed build must have the same one."""
        return digest(
            [(task.panorama_id, task.photo.image, dict(task.settings), len(task.photo.people)) for task in self.tasks]
        )


def unit_hash(*keys: object) -> float:
    """Number in [0, 1) that is a function of ``keys`` alone, the same on every machine."""
    content = "\x1f".join(map(str, keys)).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:7], "big") / 2**56


def make_plan(
    recipe: Recipe, listings: Mapping[str, Listing], backgrounds: Listing | None = None, limit: int | None = None
) -> Plan:
    """Plan a build of ``recipe`` from source listings by kind.

    Parameters
    ----------
    recipe, listings
        What to build, and the photos of each source.
    backgrounds
        The panoramas of a background source; required if the recipe uses any.
    limit
        At most this many photos of each source and split, chosen by hash.

    Raises
    ------
    InputError
        Nothing can be built, or the recipe needs background panoramas for a split that has none.
    """
    recipe_digest = recipe.digest()
    background_pools = _background_pools(recipe, backgrounds)
    tasks: list[Task] = []
    unused: list[Rejected] = []
    for kind in sorted(listings):
        by_split = _by_split(kind, listings[kind].photos, recipe)
        for split, photos in sorted(by_split.items()):
            suites = [name for name, suite in recipe.suites.items() if split in suite.splits]
            kept = photos if limit is None else _limited(recipe, kind, photos, limit)
            kept_images = {photo.image for photo in kept}
            for photo in photos:
                if not suites:
                    unused += _rejections(kind, photo, f"no suite of recipe {recipe.name} uses split {split}")
                elif photo.image not in kept_images:
                    unused += _rejections(kind, photo, f"beyond --limit {limit}")
            for suite in suites:
                planned = _suite_tasks(recipe, recipe_digest, kind, split, suite, photos)
                tasks += [task for task in planned if task.photo.image in kept_images]
    tasks = [_with_background(recipe, task, background_pools) for task in tasks]
    if not tasks:
        found = ", ".join(f"{kind}: {len(listing.photos)} photos" for kind, listing in sorted(listings.items()))
        raise InputError(f"Recipe {recipe.name!r} has nothing to build from these sources ({found}). Check sources and suites.")
    return Plan(tuple(tasks), tuple(unused))


def _by_split(kind: str, photos: Sequence[Photo], recipe: Recipe) -> dict[str, list[Photo]]:
    """Photos by split, each list sorted by path; part of train becomes val, by a hash of the cluster."""
    found: dict[str, list[Photo]] = defaultdict(list)
    has_val = any(photo.split == "val" for photo in photos)
    for photo in sorted(photos, key=lambda photo: photo.image):
        split: str = photo.split
        if split == "train" and not has_val and unit_hash(VAL_KEY, kind, photo.cluster) < recipe.val_share:
            split = "val"
        found[split].append(photo)
    return found


def _limited(recipe: Recipe, kind: str, photos: Sequence[Photo], limit: int) -> list[Photo]:
    return sorted(photos, key=lambda photo: unit_hash(recipe.seed, f"{kind}/{photo.image}", "limit"))[:limit]


def _suite_tasks(
    recipe: Recipe, recipe_digest: str, kind: str, split: str, suite: str, photos: Sequence[Photo]
) -> Iterator[Task]:
    """Tasks of one suite on all photos of a split, photo by photo."""
    vary = recipe.suites[suite].vary
    copies = recipe.suites[suite].copies
    keys = [f"{kind}/{photo.image}" + (f"#{copy}" if copy else "") for photo in photos for copy in range(copies)]
    drawn = {axis: _drawn(recipe.seed, axis, draw, keys) for axis, draw in recipe.axes(suite).items() if axis not in vary}
    conditions = [dict(zip(vary, levels, strict=True)) for levels in itertools.product(*vary.values())]
    for index, key in enumerate(keys):
        photo = photos[index // copies]
        common = {axis: values[index] for axis, values in drawn.items()}
        for condition in conditions:
            name = ",".join(f"{axis.removesuffix('_deg')}={_level(level)}" for axis, level in condition.items()) or suite
            identity = digest([recipe_digest, suite, name, key])[:16]
            yield Task(identity, split, suite, name, kind, photo, {**common, **condition})


def _level(level: float | str) -> str:
    return level if isinstance(level, str) else f"{level:g}"


def _drawn(seed: int, axis: str, draw: Draw, keys: Sequence[str]) -> list[float | str]:
    """A value per key. Strata and levels are dealt out by the rank of a hash, so that each gets its count."""
    if not isinstance(draw, (Strata, Levels)):
        return [draw] * len(keys)
    choices: Sequence[Any] = draw.strata if isinstance(draw, Strata) else draw.levels
    order = sorted(range(len(keys)), key=lambda index: unit_hash(seed, keys[index], axis, "stratum"))
    chosen: list[Any] = [None] * len(keys)
    for rank, index in enumerate(order):
        choice = choices[rank % len(choices)]
        if isinstance(draw, Strata):
            low, high = choice
            choice = low + (high - low) * unit_hash(seed, keys[index], axis)
        chosen[index] = choice
    return chosen


def _background_pools(recipe: Recipe, backgrounds: Listing | None) -> dict[str, list[str]]:
    pools: dict[str, list[str]] = defaultdict(list)
    if backgrounds is None:
        if recipe.uses_background():
            raise InputError(
                f"Recipe {recipe.name!r} puts photos on panoramas, but no source of panoramas is given. Add --source "
                "panoramas=DIR (a folder of 2:1 images), or leave them out, e.g. --set "
                "'suites.mixed.draw.background={levels: [black, blur]}'."
            )
        return pools
    images = sorted((photo.image for photo in backgrounds.photos), key=lambda image: unit_hash("background", image))
    for rank, image in enumerate(images):
        pools[BACKGROUND_SPLITS[rank % len(BACKGROUND_SPLITS)]].append(image)
    return pools


def _with_background(recipe: Recipe, task: Task, pools: Mapping[str, Sequence[str]]) -> Task:
    if task.settings["background"] != "panorama":
        return task
    pool = pools.get(task.split, ())
    if not pool:
        raise InputError(
            f"Split {task.split} needs background panoramas of its own; the source has {sum(map(len, pools.values()))} "
            f"in all, dealt to: {', '.join(sorted(pools)) or 'no split'}. Add panoramas; 3 serve every split."
        )
    return replace(task, background_image=pool[int(unit_hash(recipe.seed, task.key, "background image") * len(pool))])


def _rejections(kind: str, photo: Photo, reason: str) -> list[Rejected]:
    return [Rejected(kind, person.row, photo.image, person.person, reason) for person in photo.people]
