"""The build: from a recipe and sources to a dataset, in shards that survive being killed.

Conventions
-----------
A shard is a run of consecutive tasks of the plan and is idempotent: panoramas are written beside and renamed, then the shard's
record (rows, manifest entries, rejections) is written the same way to ``.build/shards``. A shard with a record is done. When
all are, the records are merged in plan order, so the dataset does not depend on the number of workers, on their order, or on
how often the build was stopped; ``dataset.yaml`` comes last and says that the dataset is complete.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2

from builders.card import write_card
from builders.compose import Job, Made, make_panorama
from builders.images import silence_opencv
from builders.plan import Plan, Task, make_plan
from builders.recipe import Recipe
from builders.sources.base import Listing, Rejected, Source
from srgaze360.console import silent
from srgaze360.dataset import (
    ANNOTATIONS_FILE,
    INFO_FILE,
    MANIFEST_FILE,
    REJECTED_FILE,
    SPLITS,
    DatasetInfo,
    SourceInfo,
    SplitInfo,
    read_info,
    write_dataset,
)
from srgaze360.errors import EnvironmentProblem, InputError, first_ids
from srgaze360.files import TEMPORARY_PATTERN, canonical_json, digest, read_json, write_text
from srgaze360.sampler import SAMPLER_ID
from srgaze360.versions import environment

SHARD_SIZE = 32
WORK = ".build"
STATE_FILE = "state.json"
OWN_FILES = (ANNOTATIONS_FILE, INFO_FILE, MANIFEST_FILE, REJECTED_FILE, "README.md", "LICENSES.md")
OWN_FOLDERS = ("panoramas", WORK)


@dataclass(frozen=True)
class SourceFolder:
    """A source, the folder that holds it, and what was found there."""

    source: Source
    root: Path
    listing: Listing


@dataclass(frozen=True)
class BuildReport:
    """What a build made: the dataset's record, panoramas made now and before, rejections counted by reason."""

    info: DatasetInfo
    made: int
    kept: int
    reasons: Mapping[str, int]


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
    workers: int = 1,
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
    workers
        Worker processes; 1 works in this process.
    overwrite
        Remove another dataset or build found in ``out`` first.
    advance
        Told the number of panoramas just done.

    Raises
    ------
    InputError
        ``out`` holds something else, or nothing can be built.
    EnvironmentProblem
        Workers died, or the disk refused.
    """
    state = {"plan": plan.digest(), "sampler": SAMPLER_ID, "pixels_depend_on": _pixels_depend_on()}
    finished = _prepare(out, state, overwrite=overwrite)
    if finished is not None:
        advance(len(plan.tasks))
        return BuildReport(finished, 0, len(plan.tasks), _reason_counts(_read_rejected(out)))
    job = Job(recipe, {f.source.kind: f.root for f in (*gaze, *([background] if background else []))}, out)
    shards = [plan.tasks[start : start + SHARD_SIZE] for start in range(0, len(plan.tasks), SHARD_SIZE)]
    pending = [index for index in range(len(shards)) if not _shard_path(out, index).exists()]
    kept = len(plan.tasks) - sum(len(shards[index]) for index in pending)
    advance(kept)
    _run(job, shards, pending, workers, advance)
    info = _finalise(out, plan, recipe, gaze, background, len(shards), name or recipe.name)
    return BuildReport(info, len(plan.tasks) - kept, kept, _reason_counts(_read_rejected(out)))


# --- the folder -------------------------------------------------------------------------------------------------------


def _prepare(out: Path, state: Mapping[str, Any], *, overwrite: bool) -> DatasetInfo | None:
    """Make ``out`` ready for this build; the record of the dataset if it is already there, complete."""
    state_path = out / WORK / STATE_FILE
    if overwrite:
        _remove_own(out)
    elif state_path.exists():
        found = read_json(state_path, "build state")
        if found != json.loads(canonical_json(state)):
            raise InputError(
                f"{out} holds a build that was begun with {_difference(found, state)}. Give another --out, or --overwrite to "
                "build anew there."
            )
        if (out / INFO_FILE).exists():
            return read_info(out)
    elif out.is_dir() and any(out.iterdir()):
        found_names = first_ids(sorted(path.name for path in out.iterdir()))
        raise InputError(
            f"Expected --out {out} to be new, empty, or a build to resume, found there: {found_names}. Give another folder."
        )
    write_text(state_path, canonical_json(state))
    return None


def _pixels_depend_on() -> dict[str, str]:
    """What decides pixels beside the recipe: versions of the libraries, and the processor's instruction sets."""
    versions = environment()
    return {name: versions[name] for name in ("numpy", "opencv-python")} | {"cpu": cv2.getCPUFeaturesLine()}


def _difference(found: Any, state: Mapping[str, Any]) -> str:  # noqa: ANN401 - JSON
    if not isinstance(found, dict) or found.get("plan") != state["plan"]:
        return "another recipe, other sources or another --limit"
    old, new = found.get("pixels_depend_on", {}), state["pixels_depend_on"]
    changed = [f"{name} {old.get(name)} (now {value})" for name, value in new.items() if old.get(name) != value]
    return f"other versions ({first_ids(changed) or found.get('sampler')}), whose pixels may differ"


def _remove_own(out: Path) -> None:
    """Remove what builds write, and nothing else."""
    if not out.exists():
        return
    others = sorted(path.name for path in out.iterdir() if path.name not in {*OWN_FILES, *OWN_FOLDERS})
    if others:
        raise InputError(
            f"--overwrite removes only what a build wrote, but {out} also holds: {first_ids(others)}. Move that away."
        )
    for folder in OWN_FOLDERS:
        shutil.rmtree(out / folder, ignore_errors=True)
    for file in OWN_FILES:
        (out / file).unlink(missing_ok=True)


def _shard_path(out: Path, index: int) -> Path:
    return out / WORK / "shards" / f"{index:06d}.json"


# --- the work ---------------------------------------------------------------------------------------------------------


def build_shard(job: Job, index: int, tasks: Sequence[Task]) -> int:
    """Carry out one shard and write its record; returns the number of tasks."""
    made = [make_panorama(task, job) for task in tasks]
    write_text(_shard_path(job.out, index), json.dumps([_made_to_json(item) for item in made], separators=(",", ":")))
    return len(tasks)


def _made_to_json(made: Made) -> dict[str, Any]:
    return {"rows": made.rows, "entry": made.entry, "rejected": [asdict(item) for item in made.rejected]}


def _start_worker() -> None:
    cv2.setNumThreads(1)
    silence_opencv()


def _run(
    job: Job, shards: Sequence[Sequence[Task]], pending: Sequence[int], workers: int, advance: Callable[[int], None]
) -> None:
    if workers <= 1 or len(pending) <= 1:
        _start_worker()
        for index in pending:
            advance(build_shard(job, index, shards[index]))
        return
    # spawn, not fork: OpenCV's and Arrow's threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        waiting: set[Future[int]] = set()
        try:
            for index in pending:
                if len(waiting) >= 2 * workers:  # bounded, so memory stays flat however many shards there are
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        advance(future.result())
                waiting.add(pool.submit(build_shard, job, index, shards[index]))
            for future in list(waiting):
                advance(future.result())
        except BrokenProcessPool as error:
            raise EnvironmentProblem(
                "A worker process died (killed, or out of memory?). What was done is kept: run the same command again to go "
                "on, with fewer --workers if memory is short."
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


# --- the end ----------------------------------------------------------------------------------------------------------


def _finalise(
    out: Path,
    plan: Plan,
    recipe: Recipe,
    gaze: Sequence[SourceFolder],
    background: SourceFolder | None,
    shards: int,
    name: str,
) -> DatasetInfo:
    rows: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    rejected = [item for folder in gaze for item in folder.listing.rejected] + list(plan.unused)
    if background is not None:
        rejected += background.listing.rejected
    for made in _shard_records(out, shards):
        rows += made["rows"]
        entries += [made["entry"]] if made["entry"] else []
        rejected += [Rejected(**item) for item in made["rejected"]]
    if not rows:
        counts = "; ".join(f"{reason} ({count})" for reason, count in _reason_counts(rejected).items())
        raise InputError(
            f"Nothing could be built: every source row was rejected. Reasons: {counts}. Mend the source, then build again."
        )
    _write_rejected(out, rejected)
    write_text(out / MANIFEST_FILE, "".join(canonical_json(entry) + "\n" for entry in entries))
    info = DatasetInfo(
        name=name,
        version=recipe.version,
        recipe=recipe.model_dump(mode="json"),
        recipe_digest=recipe.digest(),
        sampler=SAMPLER_ID,
        seed=recipe.seed,
        versions=environment() | _pixels_depend_on(),
        sources=[_source_info(folder, rows) for folder in gaze],
        backgrounds=[_source_info(background, rows)] if background is not None else [],
        splits=_split_infos(rows),
        suites=_conditions(rows),
        rejected=len(set(rejected)),
        label_digest=digest(sorted(entry["label_digest"] for entry in entries)),
        pixel_digest=digest(sorted(entry["pixel_digest"] for entry in entries)),
    )
    write_card(out, info, rows, _reason_counts(rejected))
    write_dataset(out, info, rows)
    shutil.rmtree(out / WORK / "shards")
    for leftover in (out / "panoramas").rglob(TEMPORARY_PATTERN):
        leftover.unlink(missing_ok=True)
    return info


def _shard_records(out: Path, shards: int) -> Iterator[dict[str, Any]]:
    for index in range(shards):
        yield from read_json(_shard_path(out, index), "shard record")


def _source_info(folder: SourceFolder, rows: Sequence[Mapping[str, Any]]) -> SourceInfo:
    """Photos and people of a source that are in the dataset."""
    source = folder.source
    used = [row for row in rows if row["source"] == source.kind] if source.role == "gaze" else rows
    people = {(row["source_image"], row["source_person"]) for row in used} if source.role == "gaze" else set()
    return SourceInfo(
        kind=source.kind,
        title=source.title,
        licence=source.licence,
        citation=source.citation,
        photos=len(_images(source, used)),
        people=len(people),
        repaired=dict(folder.listing.repaired),
    )


def _images(source: Source, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    if source.role == "gaze":
        return {row["source_image"] for row in rows}
    return {image for row in rows for image in row["background_images"] if image.startswith(f"{source.kind}/")}


def _conditions(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Conditions of each suite, in the recipe's order: that of the rows."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        found.setdefault(row["suite"], {}).setdefault(row["condition"])
    return {suite: list(conditions) for suite, conditions in found.items()}


def _split_infos(rows: Sequence[Mapping[str, Any]]) -> dict[str, SplitInfo]:
    grouped: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["split"]].append(row)
    return {
        split: SplitInfo(
            panoramas=len({row["panorama_id"] for row in grouped[split]}),
            people=len(grouped[split]),
            clusters=sorted({row["cluster_id"] for row in grouped[split]}),
        )
        for split in SPLITS
        if split in grouped
    }


def _write_rejected(out: Path, rejected: Sequence[Rejected]) -> None:
    names = [field.name for field in fields(Rejected)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(sorted(tuple(getattr(item, name) for name in names) for item in set(rejected)))
    write_text(out / REJECTED_FILE, text.getvalue())


def _read_rejected(out: Path) -> list[Rejected]:
    with (out / REJECTED_FILE).open(encoding="utf-8", newline="") as stream:
        return [Rejected(**row) for row in csv.DictReader(stream)]


def _reason_counts(rejected: Sequence[Rejected]) -> dict[str, int]:
    """Rejections by reason, most frequent first."""
    return dict(Counter(item.fault for item in set(rejected)).most_common())
