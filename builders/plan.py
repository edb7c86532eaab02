"""The plan of a build: which photos go on which sphere, under which condition, in which split.

Conventions
-----------
The plan is a pure function of the recipe and the source listings, made once over the sorted rows. Every draw is a function
of (seed, photo, axis); strata are dealt out by rank of a hash within (source, split, suite), so each gets its count.
``limit`` only chooses among the tasks of the full plan: it changes nobody's condition. Workers read tasks; they decide
nothing.

Several photos share a sphere by fixed groups: the clusters of a split, in the order of a hash, are cut into groups as large as
the suite allows, and the n-th sphere of a group holds the n-th photo of each of its clusters. The group is then the cluster.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from builders.backgrounds.scenes import FACES
from builders.recipe import PHOTO_AXES, Draw, Levels, Recipe, Strata, level_name
from builders.sources.base import Listing, Photo, Rejected
from srgaze360.errors import InputError
from srgaze360.files import digest

# Backgrounds are dealt to splits in this order, so that even a few of them serve the two splits that are scored and trained on.
BACKGROUND_SPLITS = ("test", "train", "val", "train", "test")
VAL_KEY = "srgaze360-val"  # val depends on the cluster alone: the same in every recipe
BACKGROUND_PHOTOS = len(FACES)
PROJECTIONS = {"photos": "perspective", "panoramas": "equirectangular"}

Setting = float | str


@dataclass(frozen=True)
class Placement:
    """A photo on a sphere; ``settings`` holds a value for every axis of the photo."""

    kind: str
    photo: Photo
    settings: Mapping[str, Setting]
    copy: int = 0

    @property
    def key(self) -> str:
        """The photo's identity among all sources, and which copy of it this is."""
        return f"{self.kind}/{self.photo.image}" + (f"#{self.copy}" if self.copy else "")


@dataclass(frozen=True)
class Task:
    """One panorama to make.

    ``settings`` holds a value for every axis of the sphere; ``cluster_id`` the unit of splitting and of the bootstrap;
    ``backdrop`` the images behind the photos, as (kind of source, path).
    """

    panorama_id: str
    split: str
    suite: str
    condition: str
    placements: tuple[Placement, ...]
    settings: Mapping[str, Setting]
    cluster_id: str
    backdrop: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """Key of the sphere's own draws: its first photo's."""
        return self.placements[0].key


@dataclass(frozen=True)
class Plan:
    """All panoramas of a build, in their final order, and the source rows that no panorama (of some suite) uses."""

    tasks: tuple[Task, ...]
    unused: tuple[Rejected, ...]

    def digest(self) -> str:
        """Digest of what is to be built, labels included; a resumed build must have the same one."""
        photos = {id(item.photo): item.photo for task in self.tasks for item in task.placements}
        known = {key: digest(repr(photo)) for key, photo in photos.items()}  # once for all suites
        return digest(
            [
                (
                    *(task.panorama_id, task.split, task.cluster_id, dict(task.settings), task.backdrop),
                    [(item.key, dict(item.settings), known[id(item.photo)]) for item in task.placements],
                )
                for task in self.tasks
            ]
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
        At most this many photos of each source and split, chosen by hash; of spheres that hold several, whole ones.

    Raises
    ------
    InputError
        Nothing can be built, the recipe needs background panoramas for a split that has none, or it is a standard dataset made
        from other sources.
    """
    _check_sources(recipe, listings)
    recipe_digest = recipe.digest()
    panoramas = _background_pools(recipe, backgrounds)
    tasks: list[Task] = []
    unused: list[Rejected] = []
    for kind in sorted(listings):
        for split, photos in sorted(_by_split(kind, listings[kind].photos, recipe).items()):
            planned = [
                task
                for suite in recipe.suites
                if split in recipe.suites[suite].splits and kind in (recipe.suites[suite].sources or (kind,))
                for task in _limited(recipe, limit, list(_suite_tasks(recipe, recipe_digest, kind, split, suite, photos)))
            ]
            used = {item.photo.image for task in planned for item in task.placements}
            unused += _alone(recipe, kind, split, photos, planned, limit)
            unused += _unused(recipe, kind, split, [photo for photo in photos if photo.image not in used], limit)
            for task in planned:
                with_backdrop = _with_backdrop(recipe, task, panoramas, kind, photos)
                if with_backdrop is None:
                    unused += _without_backdrop(task)
                else:
                    tasks.append(with_backdrop)
    if not tasks:
        found = ", ".join(f"{kind}: {len(listing.photos)} photos" for kind, listing in sorted(listings.items()))
        raise InputError(f"Recipe {recipe.name!r} has nothing to build from these sources ({found}). Check sources and suites.")
    return Plan(tuple(tasks), tuple(unused))


def _check_sources(recipe: Recipe, listings: Mapping[str, Listing]) -> None:
    if recipe.made_from and set(recipe.made_from) != set(listings):
        raise InputError(
            f"Recipe {recipe.name!r} is a standard dataset, made from {', '.join(sorted(recipe.made_from))} and nothing else; "
            f"found {', '.join(sorted(listings)) or 'no source'}. Give --source KIND=DIR for exactly these kinds, or write a "
            "recipe of your own that extends it under another name, with made_from: []."
        )


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


def _limited(recipe: Recipe, limit: int | None, tasks: list[Task]) -> list[Task]:
    """Tasks of at most ``limit`` photos, or of as many spheres as hold that many; the same photos in every suite."""
    if limit is None or not tasks:
        return tasks
    most = max(len(task.placements) for task in tasks)
    first = {task.placements[0].photo.image for task in tasks}
    kept = set(_ranked(recipe, tasks[0].placements[0].kind, first)[: -(-limit // most)])
    return [task for task in tasks if task.placements[0].photo.image in kept]


def _ranked(recipe: Recipe, kind: str, images: Iterable[str]) -> list[str]:
    """Images in the order in which samples and limits take them: a smaller one is part of every larger one."""
    return sorted(images, key=lambda image: unit_hash(recipe.seed, f"{kind}/{image}", "limit"))


# --- conditions -------------------------------------------------------------------------------------------------------


def _suite_tasks(
    recipe: Recipe, recipe_digest: str, kind: str, split: str, suite: str, photos: Sequence[Photo]
) -> Iterator[Task]:
    """Tasks of one suite on the photos of a split: sphere by sphere, and on each sphere condition by condition."""
    chosen = recipe.suites[suite]
    pool = _pool(recipe, suite, kind, photos)
    items = [Placement(kind, photo, {}, copy) for photo in pool for copy in range(chosen.copies)]
    keys = [item.key for item in items]
    axes = {axis: draw for axis, draw in recipe.axes(suite).items() if axis not in chosen.vary}
    drawn = {axis: _drawn(recipe.seed, axis, draw, keys) for axis, draw in axes.items()}
    settings = {key: {axis: values[index] for axis, values in drawn.items()} for index, key in enumerate(keys)}
    conditions = [dict(zip(chosen.vary, levels, strict=True)) for levels in itertools.product(*chosen.vary.values())]
    for cluster_id, group in _spheres(recipe, kind, items, chosen.photos):
        for condition in conditions:
            name = ",".join(f"{axis.removesuffix('_deg')}={level_name(level)}" for axis, level in condition.items()) or suite
            yield Task(
                panorama_id=digest([recipe_digest, suite, name, *(item.key for item in group)])[:16],
                split=split,
                suite=suite,
                condition=name,
                placements=tuple(
                    replace(item, settings=_of_photo(settings[item.key] | condition, wanted=True)) for item in group
                ),
                settings=_of_photo(settings[group[0].key] | condition, wanted=False),
                cluster_id=cluster_id,
            )


def _pool(recipe: Recipe, suite: str, kind: str, photos: Sequence[Photo]) -> list[Photo]:
    """The photos that a suite takes."""
    chosen = recipe.suites[suite]
    pool = [photo for photo in photos if photo.projection == PROJECTIONS[chosen.takes]]
    if chosen.sample is not None:
        kept = set(_ranked(recipe, kind, (photo.image for photo in pool))[: chosen.sample])
        pool = [photo for photo in pool if photo.image in kept]
    return pool


def _of_photo(settings: Mapping[str, Setting], *, wanted: bool) -> dict[str, Setting]:
    """The settings that belong to the photo, or those that belong to the sphere."""
    return {axis: value for axis, value in settings.items() if (axis in PHOTO_AXES) is wanted}


def _spheres(recipe: Recipe, kind: str, items: Sequence[Placement], most: int) -> Iterator[tuple[str, Sequence[Placement]]]:
    """Photos that share a sphere, and their cluster."""
    if most == 1:
        yield from ((f"{kind}/{item.photo.cluster}", (item,)) for item in items)
        return
    clusters: dict[str, list[Placement]] = defaultdict(list)
    for item in items:
        clusters[item.photo.cluster].append(item)
    names = sorted(clusters, key=lambda name: unit_hash(recipe.seed, kind, name, "group"))
    for start in range(0, len(names), most):
        group = names[start : start + most]
        cluster_id = f"{kind}/group-{digest(group)[:12]}"
        for together in itertools.zip_longest(*(clusters[name] for name in group)):
            found = [item for item in together if item is not None]
            if len(found) > 1:  # one photo is no crowd, and two frames of a clip show the same people
                yield cluster_id, found


def _drawn(seed: int, axis: str, draw: Draw, keys: Sequence[str]) -> list[Setting]:
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


# --- backgrounds ------------------------------------------------------------------------------------------------------


def _background_pools(recipe: Recipe, backgrounds: Listing | None) -> dict[str, list[str]]:
    pools: dict[str, list[str]] = defaultdict(list)
    if backgrounds is None:
        if settings := recipe.without_panoramas():
            without = " ".join(f"--set '{setting}'" for setting in settings)
            raise InputError(
                f"Recipe {recipe.name!r} puts photos on panoramas, but no source of panoramas is given. Add --source "
                f"panoramas=DIR (a folder of 2:1 images), or leave them out: {without}"
            )
        return pools
    images = sorted((photo.image for photo in backgrounds.photos), key=lambda image: unit_hash("background", image))
    for rank, image in enumerate(images):
        pools[BACKGROUND_SPLITS[rank % len(BACKGROUND_SPLITS)]].append(image)
    return pools


def _with_backdrop(
    recipe: Recipe, task: Task, panoramas: Mapping[str, Sequence[str]], kind: str, photos: Sequence[Photo]
) -> Task | None:
    """The task with the images behind its photos; None where its split has no other photo to put there."""
    background = task.settings.get("background")
    if background == "photos":
        others = _other_photos(recipe, task, photos)
        return replace(task, backdrop=tuple((kind, image) for image in others)) if others else None
    if background != "panorama":
        return task
    pool = panoramas.get(task.split, ())
    if not pool:
        raise InputError(
            f"Split {task.split} needs background panoramas of its own; the source has {sum(map(len, panoramas.values()))} "
            f"in all, dealt to: {', '.join(sorted(panoramas)) or 'no split'}. Add panoramas; 3 serve every split."
        )
    image = pool[int(unit_hash(recipe.seed, task.key, "background image") * len(pool))]
    return replace(task, backdrop=(("panoramas", image),))


def _other_photos(recipe: Recipe, task: Task, photos: Sequence[Photo]) -> list[str]:
    """Up to six other photos of the same split: of other clusters, where the draws find any."""
    own = {item.photo.image for item in task.placements}
    clusters = {item.photo.cluster for item in task.placements}
    tries = (unit_hash(recipe.seed, task.key, "background photo", turn) for turn in range(8 * BACKGROUND_PHOTOS))
    flat = [photo for photo in photos if photo.projection == "perspective"]
    sound = [photo for value in tries if (photo := flat[int(value * len(flat))]).image not in own]
    foreign = [photo.image for photo in sound if photo.cluster not in clusters] or [photo.image for photo in sound]
    return list(dict.fromkeys(foreign))[:BACKGROUND_PHOTOS]


# --- what is not used -------------------------------------------------------------------------------------------------


def _unused(recipe: Recipe, kind: str, split: str, photos: Sequence[Photo], limit: int | None) -> Iterator[Rejected]:
    takes = {
        PROJECTIONS[suite.takes]
        for suite in recipe.suites.values()
        if split in suite.splits and kind in (suite.sources or (kind,))
    }
    for photo in photos:
        reason = f"beyond the sample of every suite of recipe {recipe.name}" if limit is None else f"beyond --limit {limit}"
        if photo.projection not in takes:
            what = "panoramas" if photo.projection == "equirectangular" else "photos"
            reason = f"no suite of recipe {recipe.name} uses {what} of source {kind} in split {split}"
        yield from (Rejected(kind, person.row, photo.image, person.person, reason) for person in photo.people)


def _alone(
    recipe: Recipe, kind: str, split: str, photos: Sequence[Photo], planned: Sequence[Task], limit: int | None
) -> Iterator[Rejected]:
    """Photos that found nobody to share a sphere with; under a limit that cannot be told from being beyond it."""
    reason = "no other cluster of its split has a photo left to share a sphere with"
    for name, suite in recipe.suites.items():
        if suite.photos == 1 or split not in suite.splits or kind not in (suite.sources or (kind,)) or limit is not None:
            continue
        shared = {item.photo.image for task in planned if task.suite == name for item in task.placements}
        for photo in _pool(recipe, name, kind, photos):
            if photo.image not in shared:
                yield from (Rejected(kind, p.row, photo.image, p.person, reason, name, name) for p in photo.people)


def _without_backdrop(task: Task) -> Iterator[Rejected]:
    reason = "the split has no other photo to put behind this one"
    for item in task.placements:
        for person in item.photo.people:
            yield Rejected(item.kind, person.row, item.photo.image, person.person, reason, task.suite, task.condition)
