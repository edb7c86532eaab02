"""Repairing a built dataset: what is missing or damaged is made again, and nothing else.

Conventions
-----------
The truth is what the build recorded: shard records, each with its checksum, in ``.build``. A panorama whose file is not as its
record says is made again from the sources, and must come out as recorded; a shard whose record is damaged is made again whole;
then the tables are written anew from the records. Files that no build wrote are left alone, and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from builders.building import shards
from builders.building.executors import open_crew, run_shards
from builders.building.finalise import finalise
from builders.building.folder import BuildRecord, differences, machine, read_record, read_shard, shard_path
from builders.building.pipeline import make_job, plan_build
from builders.building.verify import check_panorama
from builders.panorama.compose import Job
from builders.plan import Plan
from builders.recipe import Recipe
from builders.sources.folders import open_source
from srgaze360.console import silent
from srgaze360.dataset import read_info
from srgaze360.errors import EnvironmentProblem, InputError, first_ids

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Repaired:
    """What was made again: panoramas one by one, whole shards, and the tables (always, when anything was wrong)."""

    panoramas: int
    shards: int


def repair(
    root: Path,
    roots: Mapping[str, Path] | None = None,
    *,
    other_versions: bool = False,
    workers: int = 1,
    advance: Callable[[int], None] = silent,
) -> Repaired:
    """Make again what is missing or damaged in the dataset in folder ``root``.

    Parameters
    ----------
    root
        The dataset's folder, with its ``.build``.
    roots
        Where sources are now, by kind, if not where the build found them.
    other_versions
        Go on where this machine's versions make other pixels. What is made again may then differ, and with it the dataset's
        pixel digest; ``dataset.yaml`` names both versions.
    workers
        Worker processes.
    advance
        Told the number of panoramas just checked or made.

    Raises
    ------
    InputError
        There are no records of the build, or a source has moved or changed.
    EnvironmentProblem
        This machine would make other pixels, or cannot make them.
    """
    record = read_record(root)
    damaged, whole = _damage(root, record, advance)
    if damaged or whole:
        here = machine()
        if (changed := differences(record.machine, here)) and not other_versions:
            raise EnvironmentProblem(
                f"{len(damaged)} panoramas and {len(whole)} shards of {root} must be made again, but this machine has "
                f"{changed}, whose pixels may differ. Repair it where it was built, or accept that with --other-versions."
            )
        plan, job = _plan_again(root, record, roots or {})
        if changed:
            whole, damaged = sorted({*whole, *_shards_of(plan, damaged)}), {}
        _remake(plan, job, here, damaged, whole, workers, advance)
    expected = None
    if not other_versions:
        with suppress(InputError):
            expected = read_info(root)
    try:
        finalise(root, record, expected)
    except InputError:
        _forget(root, whole)  # made from sources that are not what they were: no truth for the next repair
        raise
    return Repaired(len(damaged), len(whole))


def _damage(root: Path, record: BuildRecord, advance: Callable[[int], None]) -> tuple[dict[str, Entry], list[int]]:
    """Recorded entries of panoramas whose files are not as they say, by id; and shards without a sound record."""
    damaged: dict[str, Entry] = {}
    whole = []
    for index in range(record.shards):
        try:
            shard = read_shard(root, index)
        except InputError:
            whole.append(index)
            continue
        entries = [made.entry for made in shard.made if made.entry is not None]
        damaged |= {entry["panorama_id"]: entry for entry in entries if check_panorama(root, entry, pixels=False)}
        advance(len(shard.made))
    return damaged, whole


def _plan_again(root: Path, record: BuildRecord, roots: Mapping[str, Path]) -> tuple[Plan, Job]:
    """The plan of the recorded build, from its sources as they are now."""
    if unknown := sorted(roots.keys() - {source.kind for source in record.sources}):
        raise InputError(
            f"{root} was not built from {', '.join(unknown)}, but from {', '.join(source.kind for source in record.sources)}. "
            "Give --source for these alone."
        )
    recipe = Recipe.model_validate(record.recipe)
    places = {source.kind: roots.get(source.kind, Path(source.root)) for source in record.sources}
    if gone := [kind for kind, place in places.items() if not place.is_dir()]:
        raise InputError(
            f"To repair {root}, expected its sources where they are said to be, but there is no folder for "
            f"{', '.join(f'{kind} at {places[kind]}' for kind in gone)}. Say where they are now: srgaze360 verify {root} "
            f"--repair {' '.join(f'--source {kind}=DIR' for kind in gone)}"
        )
    folders = {kind: open_source(kind, place, recipe.sources.get(kind, {})) for kind, place in places.items()}
    gaze = [folder for folder in folders.values() if folder.source.role == "gaze"]
    background = next((folder for folder in folders.values() if folder.source.role == "background"), None)
    plan = plan_build(recipe, gaze, background, record.limit)
    if plan.digest() != record.plan:
        raise InputError(
            f"To repair {root}, expected its sources as they were when it was built, but their photos or labels have changed, "
            f"or this version plans otherwise (built with srgaze360 {record.versions.get('srgaze360')}). Sources: "
            f"{', '.join(f'{kind} at {place}' for kind, place in places.items())}. Give the right folders with --source "
            "KIND=DIR, or build anew with --overwrite."
        )
    return plan, make_job(recipe, gaze, background, root)


def _shards_of(plan: Plan, ids: Mapping[str, Entry]) -> list[int]:
    return sorted({position // shards.SHARD_SIZE for position, task in enumerate(plan.tasks) if task.panorama_id in ids})


def _remake(
    plan: Plan,
    job: Job,
    here: Mapping[str, str],
    damaged: Mapping[str, Entry],
    whole: list[int],
    workers: int,
    advance: Callable[[int], None],
) -> None:
    _forget(job.out, whole)

    def call_of(index: int) -> Callable[[], list[str]]:
        tasks = shards.shard_tasks(plan, index)
        if index in whole:
            return partial(_rebuild, job, here, index, tasks)
        tasks = tuple(task for task in tasks if task.panorama_id in damaged)
        return partial(
            shards.remake_panoramas, job, here, tasks, {task.panorama_id: damaged[task.panorama_id] for task in tasks}
        )

    changed: list[str] = []

    def report(index: int, others: list[str]) -> None:
        changed.extend(others)
        advance(len(shards.shard_tasks(plan, index)) if index in whole else 0)

    affected = sorted({*whole, *_shards_of(plan, damaged)})
    with open_crew(workers, None) as crew:
        outcome = run_shards(affected, call_of, crew, report)
    if outcome.quarantined:
        raise EnvironmentProblem(
            f"Some shards of {job.out} could not be made again: "
            f"{first_ids(f'{index} ({why})' for index, why in outcome.quarantined.items())}. What could be is repaired; the "
            "same command tries the rest again."
        )
    if changed:
        raise InputError(
            f"{len(changed)} panoramas of {job.out} came out otherwise than they were: {first_ids(changed)}. Their source "
            "photos have changed since. Give the photos as they were with --source KIND=DIR, or build anew with --overwrite."
        )


def _forget(root: Path, whole: Iterable[int]) -> None:
    for index in whole:
        shard_path(root, index).unlink(missing_ok=True)


def _rebuild(job: Job, here: Mapping[str, str], index: int, tasks: tuple[Any, ...]) -> list[str]:
    shards.build_shard(job, here, index, tasks)
    return []
