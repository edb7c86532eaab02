"""The build: from a recipe and sources to a dataset, in shards that survive being killed.

Conventions
-----------
A build is begun (its folder gets a record of what is to be made), its shards are done, in any order and anywhere, and when all
are, it is finalised. Each step can be stopped at any moment and done again: the dataset does not depend on the number of
workers, on their kind, on their order, or on how often the build was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from builders.building import shards
from builders.building.executors import Outcome, open_crew, run_shards
from builders.building.finalise import count_reasons, finalise
from builders.building.folder import (
    BuildRecord,
    SourceRecord,
    begin,
    machine,
    missing_shards,
    read_rejected,
    say_shards,
)
from builders.panorama.compose import Job
from builders.plan import Plan, make_plan
from builders.recipe import Recipe
from builders.sources.base import Rejected
from builders.sources.folders import SourceFolder
from srgaze360.console import silent
from srgaze360.dataset import INFO_FILE, REJECTED_FILE, DatasetInfo, read_info
from srgaze360.errors import EnvironmentProblem, first_ids
from srgaze360.versions import environment


@dataclass(frozen=True)
class BuildReport:
    """What a build made: the dataset's record, panoramas made now and before, rejections counted by reason."""

    info: DatasetInfo
    made: int
    kept: int
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class PartReport:
    """What one part of a build made: panoramas made now, and found done; shards of all parts, and those still missing."""

    made: int
    kept: int
    shards: int
    missing: int


def plan_build(recipe: Recipe, gaze: Sequence[SourceFolder], background: SourceFolder | None, limit: int | None = None) -> Plan:
    """Plan a build; see :func:`builders.plan.make_plan`."""
    listings = {folder.source.kind: folder.listing for folder in gaze}
    return make_plan(recipe, listings, background.listing if background else None, limit)


def build(
    plan: Plan,
    recipe: Recipe,
    gaze: Sequence[SourceFolder],
    background: SourceFolder | None,
    out: Path,
    *,
    name: str | None = None,
    limit: int | None = None,
    command: str = "",
    workers: int = 1,
    dask: str | None = None,
    overwrite: bool = False,
    advance: Callable[[int], None] = silent,
) -> BuildReport:
    """Build a dataset in folder ``out``, or go on with a build that was stopped.

    Parameters
    ----------
    plan, recipe, gaze, background
        What to build (:func:`plan_build` of the others), the sources of photos, and that of backgrounds if one is used.
    out
        The dataset's folder; made if absent.
    name
        The dataset's name if it is not the recipe's.
    limit
        The limit the plan was made with: recorded, so that a repair can plan the same.
    command
        The command line, for messages.
    workers
        Worker processes; 1 works in this process, which then shares the fate of a worker.
    dask
        Address of a Dask scheduler, whose workers are used instead.
    overwrite
        Remove another dataset or build found in ``out`` first.
    advance
        Told the number of panoramas just done.

    Raises
    ------
    InputError
        ``out`` holds something else, or nothing can be built.
    EnvironmentProblem
        Some shards cannot be built here (the rest is done and kept), or the disk refused.
    """
    record = _record(plan, recipe, gaze, background, name or recipe.name, limit, command)
    record = begin(out, record, _unused(plan, gaze, background), overwrite=overwrite)
    if (out / INFO_FILE).exists():
        advance(record.panoramas)
        return BuildReport(read_info(out), 0, record.panoramas, count_reasons(read_rejected(out / REJECTED_FILE)))
    job = make_job(recipe, gaze, background, out)
    kept = _build_shards(plan, job, record, range(record.shards), workers, dask, advance)
    info, reasons = finalise(out, record)
    return BuildReport(info, record.panoramas - kept, kept, reasons)


def build_part(
    plan: Plan,
    recipe: Recipe,
    gaze: Sequence[SourceFolder],
    background: SourceFolder | None,
    out: Path,
    part: tuple[int, int],
    *,
    name: str | None = None,
    limit: int | None = None,
    command: str = "",
    workers: int = 1,
    dask: str | None = None,
    advance: Callable[[int], None] = silent,
) -> PartReport:
    """Do the shards of part (i, n), 1 <= i <= n, and stop; ``merge`` makes the dataset when all parts are done.

    Parts may run at the same time in the same folder. Shard k, from 0, belongs to part k mod n + 1. For the rest see
    :func:`build`.
    """
    record = _record(plan, recipe, gaze, background, name or recipe.name, limit, command)
    record = begin(out, record, _unused(plan, gaze, background), overwrite=False)
    own = shards.part_shards(len(plan.tasks), part)
    kept = _build_shards(plan, make_job(recipe, gaze, background, out), record, own, workers, dask, advance)
    return PartReport(shards.part_size(plan, part) - kept, kept, record.shards, len(missing_shards(out, record.shards)))


def make_job(recipe: Recipe, gaze: Sequence[SourceFolder], background: SourceFolder | None, out: Path) -> Job:
    """What every task shares. Paths are absolute: workers may have another working folder."""
    folders = [*gaze, *([background] if background else [])]
    return Job(recipe, {folder.source.kind: folder.root.resolve() for folder in folders}, out.resolve())


def _record(
    plan: Plan,
    recipe: Recipe,
    gaze: Sequence[SourceFolder],
    background: SourceFolder | None,
    name: str,
    limit: int | None,
    command: str,
) -> BuildRecord:
    here = machine()
    return BuildRecord(
        plan=plan.digest(),
        machine=here,
        name=name,
        recipe=recipe.model_dump(mode="json"),
        limit=limit,
        panoramas=len(plan.tasks),
        shards=shards.shard_count(len(plan.tasks)),
        sources=[
            SourceRecord(
                kind=folder.source.kind,
                title=folder.source.title,
                licence=folder.source.licence,
                citation=folder.source.citation,
                role=folder.source.role,
                root=str(folder.root.resolve()),
                repaired=dict(folder.listing.repaired),
            )
            for folder in (*gaze, *([background] if background else []))
        ],
        versions=environment(),
        command=command,
    )


def _unused(plan: Plan, gaze: Sequence[SourceFolder], background: SourceFolder | None) -> list[Rejected]:
    folders = [*gaze, *([background] if background else [])]
    return [*plan.unused, *(item for folder in folders for item in folder.listing.rejected)]


def _build_shards(
    plan: Plan,
    job: Job,
    record: BuildRecord,
    own: Sequence[int],
    workers: int,
    dask: str | None,
    advance: Callable[[int], None],
) -> int:
    """Do those of the given shards that are not done; returns the number of panoramas that were."""
    missing = set(missing_shards(job.out, record.shards))
    pending = [index for index in own if index in missing]
    kept = sum(len(shards.shard_tasks(plan, index)) for index in own if index not in missing)
    advance(kept)

    def call_of(index: int) -> partial[int]:
        return partial(shards.build_shard, job, record.machine, index, shards.shard_tasks(plan, index))

    with open_crew(workers, dask) as crew:
        outcome = run_shards(pending, call_of, crew, lambda _, tasks: advance(tasks))
    if outcome.quarantined:
        raise EnvironmentProblem(_quarantine(plan, record, outcome))
    return kept


def _quarantine(plan: Plan, record: BuildRecord, outcome: Outcome) -> str:
    """The paragraph about shards that cannot be built."""
    lost = outcome.quarantined
    placed = (item for index in lost for task in shards.shard_tasks(plan, index) for item in task.placements)
    photos = dict.fromkeys(f"{item.kind}/{item.photo.image}" for item in placed)
    why = "; ".join(f"{index}: {reason}" for index, reason in list(lost.items())[:3])
    untried = f" Not one shard could be done, so {len(outcome.untried)} were not tried." if outcome.untried else ""
    return (
        f"Expected to build all {record.shards} shards, but {len(lost)} cannot be built here: {say_shards(sorted(lost))} "
        f"({why}{'; ...' if len(lost) > 3 else ''}), with {len(photos)} photos: {first_ids(photos)}.{untried} What could be "
        "done is done and kept. The same command tries these again: give it more memory or fewer --workers. If a photo is at "
        "fault, mend its file, or remove it: then it is rejected with a reason."
    )
