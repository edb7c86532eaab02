"""A shard: a run of consecutive tasks of the plan, done by one worker, whole or not at all.

Conventions
-----------
Shards are idempotent: panoramas are written beside and renamed, then the shard's record is written the same way. A shard with a
record is done. The functions here are sent to workers with everything they need; nothing that a shard makes depends on who
does it, when, or how often.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import cv2

from builders.building.folder import ShardRecord, differences, machine, record_path, write_shard
from builders.panorama.compose import Job, make_panorama
from builders.plan import Plan, Task
from srgaze360.errors import EnvironmentProblem
from srgaze360.safe_images import silence_opencv

SHARD_SIZE = 32


def shard_count(panoramas: int) -> int:
    """Number of shards that so many panoramas make."""
    return -(-panoramas // SHARD_SIZE)


def part_shards(panoramas: int, part: tuple[int, int]) -> range:
    """The shards of part (i, n), 1 <= i <= n: every n-th, so that the parts are as long as each other."""
    i, n = part
    return range(i - 1, shard_count(panoramas), n)


def part_size(plan: Plan, part: tuple[int, int]) -> int:
    """Number of panoramas in part (i, n)."""
    return sum(len(shard_tasks(plan, index)) for index in part_shards(len(plan.tasks), part))


def shard_tasks(plan: Plan, index: int) -> tuple[Task, ...]:
    """The tasks of a shard."""
    return plan.tasks[index * SHARD_SIZE : (index + 1) * SHARD_SIZE]


def build_shard(job: Job, expected: Mapping[str, str], index: int, tasks: Sequence[Task]) -> int:
    """Carry out one shard and write its record; returns the number of tasks.

    Raises
    ------
    EnvironmentProblem
        This worker does not see the build's folder, makes other pixels than ``expected``, or its disk refuses.
    """
    prepare_worker(job, expected)
    made = tuple(make_panorama(task, job) for task in tasks)
    write_shard(job.out, index, ShardRecord(machine(), made))
    return len(tasks)


def remake_panoramas(
    job: Job, expected: Mapping[str, str], tasks: Sequence[Task], entries: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Make some panoramas of a shard again; returns those that come out other than their manifest entries say, by id."""
    prepare_worker(job, expected)
    return [task.panorama_id for task in tasks if make_panorama(task, job).entry != entries[task.panorama_id]]


def prepare_worker(job: Job, expected: Mapping[str, str]) -> None:
    """Bring this process into the state in which shards are made; raises EnvironmentProblem where it cannot be."""
    cv2.setNumThreads(1)
    silence_opencv()
    where = f"worker {os.getpid()} on {socket.gethostname()}"
    if not record_path(job.out).exists():
        raise EnvironmentProblem(
            f"Expected {where} to see {record_path(job.out)}, but the file is not there. All workers need the dataset's folder "
            "and the sources under the same paths: put them on a shared file system."
        )
    if changed := differences(expected, machine()):
        raise EnvironmentProblem(
            f"Expected {where} to make the same pixels as the machine that began the build, but it has {changed}. Install the "
            "same versions everywhere, or leave such machines out."
        )
