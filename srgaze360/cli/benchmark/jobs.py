"""Steps side by side, each in a process of its own.

A step's process ends with the step, and so gives back all memory; where it dies (out of memory, a crash in a library), that
step has failed and the others go on. It dies with the benchmark: nothing is left at work in the folder after a kill. The record
is kept by the benchmark alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from srgaze360.errors import SRGaze360Error

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from srgaze360.cli.benchmark.config import BenchmarkConfig
    from srgaze360.cli.benchmark.plan import Step
    from srgaze360.cli.benchmark.steps import Made

LOGS = "logs"  # folder in that of the benchmark
CORES = os.cpu_count() or 1


class Outcome(NamedTuple):
    """How a step ended: what it made, or why it did not; its wall time in seconds; the exception, within one process."""

    made: Made | None
    error: str
    seconds: float
    cause: Exception | None = None


class Job(NamedTuple):
    """What a step's process is told: the benchmark, the step's name, how many threads are its own, and where it may talk."""

    config: BenchmarkConfig
    root: Path
    given: dict[str, Path]
    step: str
    threads: int
    log: Path


def attempt(work: Callable[[], Made]) -> Outcome:
    """Do a step's work and say how it ended."""
    started = time.perf_counter()
    try:
        return Outcome(work(), "", time.perf_counter() - started)
    except Exception as error:  # noqa: BLE001 - a method is somebody's research: it may fail in any way, and stops no other
        text = str(error) if isinstance(error, SRGaze360Error) else f"{type(error).__name__}: {error}"
        return Outcome(None, text, time.perf_counter() - started, error)


def side_by_side(
    jobs: Sequence[tuple[Step, Callable[[int], Job]]],
    count: int,
    end: Callable[[Step, Outcome], None],
) -> None:
    """Do steps, ``count`` at a time.

    Parameters
    ----------
    jobs
        Steps, each with a function that begins it: given a number of threads, it returns what the process is told.
    count
        How many processes there are at most.
    end
        Called with each step and its outcome when it has ended.
    """
    context = get_context("spawn")  # torch's threads do not survive a fork
    waiting = list(jobs)
    running: dict[Connection, tuple[Step, SpawnProcess, float]] = {}
    threads = max(1, CORES // count)
    try:
        while waiting or running:
            while waiting and len(running) < count:
                step, begin = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(begin(threads), theirs), name=step.name)
                process.start()
                theirs.close()  # so that the end of the process is the end of the pipe
                running[ours] = (step, process, time.perf_counter())
            ready = wait(list(running))
            for pipe in [pipe for pipe in running if pipe in ready]:
                step, process, started = running.pop(pipe)
                end(step, _outcome(pipe, process, started))
    finally:
        for _, process, _ in running.values():
            process.kill()
            process.join()


def _outcome(pipe: Connection, process: SpawnProcess, started: float) -> Outcome:
    try:
        outcome: Outcome = pipe.recv()  # from a process of ours
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        text = (
            f"Its process ended with {how} before the step was done. Signal 9 is most often a lack of memory: use fewer --jobs."
        )
        outcome = Outcome(None, text, time.perf_counter() - started)
    process.join()
    pipe.close()
    return outcome


def _work(job: Job, pipe: Connection) -> None:
    """A step's process."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    from srgaze360.cli.benchmark.plan import Plan
    from srgaze360.cli.benchmark.state import Ledger
    from srgaze360.cli.benchmark.steps import Bench
    from srgaze360.console import ERR

    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("a", encoding="utf-8") as log:
        ERR.file = log  # bars of several processes would overwrite one another
        _keep_to(job.threads)
        plan = Plan(job.config, Ledger(job.root), job.given)
        step = next(step for step in plan.steps if step.name == job.step)
        pipe.send(attempt(lambda: Bench(plan, job.root).make(step))._replace(cause=None))  # not every exception can be sent


def _keep_to(threads: int) -> None:
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _die_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        with suppress(OSError):
            wait([parent.sentinel])
        os._exit(1)
