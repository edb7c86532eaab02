"""Things that workers do, in tests of workers: this module is imported in processes of their own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from srgaze360.errors import EnvironmentProblem


def tell(folder: Path, shard: int) -> None:
    with (folder / f"calls-{shard}").open("a") as stream:
        stream.write("x")


def told(folder: Path, shard: int) -> int:
    path = folder / f"calls-{shard}"
    return len(path.read_text()) if path.exists() else 0


def well(folder: Path, shard: int) -> int:
    tell(folder, shard)
    return shard * shard


def slowly(folder: Path, shard: int) -> int:
    time.sleep(0.05)
    return well(folder, shard)


def die(folder: Path, shard: int) -> int:
    tell(folder, shard)
    os.kill(os.getpid(), signal.SIGKILL)
    return -1


def die_once(folder: Path, shard: int) -> int:
    return die(folder, shard) if not told(folder, shard) else well(folder, shard)


def fail(folder: Path, shard: int) -> int:
    tell(folder, shard)
    raise ValueError(f"shard {shard} is not right")


def disk_is_full(folder: Path, shard: int) -> int:
    tell(folder, shard)
    raise EnvironmentProblem("no space left")


def poisoned_build_shard(job, expected, index, tasks):
    """Builds a shard, but kills its own process if the file ``poison`` beside the dataset names the shard."""
    from builders.building.shards import build_shard

    poison = job.out.parent / "poison"
    if poison.exists() and str(index) in poison.read_text().split():
        os.kill(os.getpid(), signal.SIGKILL)
    return build_shard(job, expected, index, tasks)
