"""Steps side by side, each in a process of its own.

A step's process ends with the step, and so gives back all memory; where it dies (out of memory, a crash in a library), that
step has failed and the others go on. It dies with the benchmark: nothing is left at work in the folder after a kill. The record
is kept by the benchmark alone.
"""

from __future__ import annotations

import os
import signal
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
LOOK_S = 1.0  # between looks at whether processes are alive
LINGER_S = 5.0  # that a process may take to end once its step is done


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
    running: dict[Connection, _Running] = {}
    count = min(count, len(waiting))
    threads = max(1, CORES // max(count, 1))
    try:
        while waiting or running:
            while waiting and len(running) < count:
                step, begin = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(begin(threads), theirs), name=step.name)
                process.start()
                theirs.close()
                running[ours] = _Running(step, process, time.perf_counter())
            # a process of the step's own may hold its pipe open after it died, so its end is looked for as well
            ready = wait(list(running), timeout=LOOK_S)
            for pipe in [pipe for pipe, one in running.items() if pipe in ready or one.process.exitcode is not None]:
                one = running.pop(pipe)
                end(one.step, _outcome(pipe, one))
    finally:
        for one in running.values():
            one.process.kill()
            one.process.join()


class _Running(NamedTuple):
    step: Step
    process: SpawnProcess
    started: float


def _outcome(pipe: Connection, one: _Running) -> Outcome:
    """What a step's process said before it ended, or that it said nothing."""
    outcome: Outcome | None = None
    with suppress(EOFError, OSError):
        if pipe.poll():
            outcome = pipe.recv()  # from a process of ours
    one.process.join(LINGER_S)  # a thread that a method left behind must not hold up what is done
    if one.process.exitcode is None:
        one.process.kill()
        one.process.join()
    pipe.close()
    if outcome is not None:
        return outcome
    code = one.process.exitcode or 0
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    hint = " Signal 9 is most often a lack of memory: use fewer --jobs." if code == -9 else ""
    return Outcome(None, f"Its process ended with {how} before the step was done.{hint}", time.perf_counter() - one.started)


def _work(job: Job, pipe: Connection) -> None:
    """A step's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the benchmark's to answer: it ends its processes
    threading.Thread(target=_die_with_parent, daemon=True).start()
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("a", encoding="utf-8") as log:
        # all that is said, by whom ever: bars of several processes would overwrite one another, and results go to stdout
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        pipe.send(attempt(lambda: _made(job))._replace(cause=None))  # not every exception can be sent


def _made(job: Job) -> Made:
    from srgaze360.cli.benchmark.plan import Plan
    from srgaze360.cli.benchmark.state import Ledger
    from srgaze360.cli.benchmark.steps import Bench

    _keep_to(job.threads)
    plan = Plan(job.config, Ledger(job.root), job.given)
    step = next(step for step in plan.steps if step.name == job.step)
    return Bench(plan, job.root).make(step)


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
