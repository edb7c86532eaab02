"""Jobs side by side, each in a process of its own: steps of a benchmark, trainings of the demo.

A job's process ends with the job, and so gives back all memory; where it dies (out of memory, a crash in a library), that job
has failed and the others go on. It dies with the command: nothing is left at work in a folder after a kill. What is noted of
jobs is noted by the command alone.
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
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from srgaze360.errors import SRGaze360Error

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

T = TypeVar("T")

CORES = os.cpu_count() or 1
LOOK_S = 1.0  # between looks at whether processes are alive
LINGER_S = 5.0  # that a process may take to end once its job is done


class Outcome(NamedTuple, Generic[T]):
    """How a job ended: what it made, or why it did not; its wall time in seconds; the exception, within one process."""

    made: T | None
    error: str
    seconds: float
    cause: Exception | None = None


class Job(NamedTuple, Generic[T]):
    """Something to do in a process of its own.

    Attributes
    ----------
    name
        Of the process.
    work
        What is done there: a function that can be sent to it.
    log
        The file for all that is said there.
    begin
        Called here before the process starts.
    end
        Called here with the outcome when it has ended.
    """

    name: str
    work: Callable[[], T]
    log: Path
    begin: Callable[[], None]
    end: Callable[[Outcome[T]], None]


def attempt(work: Callable[[], T]) -> Outcome[T]:
    """Do a job's work and say how it ended."""
    started = time.perf_counter()
    try:
        return Outcome(work(), "", time.perf_counter() - started)
    except Exception as error:  # noqa: BLE001 - a method is somebody's research: it may fail in any way, and stops no other
        text = str(error) if isinstance(error, SRGaze360Error) else f"{type(error).__name__}: {error}"
        return Outcome(None, text, time.perf_counter() - started, error)


def side_by_side(jobs: Sequence[Job[Any]], count: int) -> None:
    """Do jobs in their order, at most ``count`` at a time; the cores are shared among so many."""
    context = get_context("spawn")  # torch's threads do not survive a fork
    waiting = list(jobs)
    running: dict[Connection, _Running] = {}
    count = min(count, len(waiting))
    threads = max(1, CORES // max(count, 1))
    try:
        while waiting or running:
            while waiting and len(running) < count:
                job = waiting.pop(0)
                job.begin()
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(job.work, threads, job.log, theirs), name=job.name)
                process.start()
                theirs.close()
                running[ours] = _Running(job, process, time.perf_counter())
            # a process of the job's own may hold its pipe open after it died, so its end is looked for as well
            ready = wait(list(running), timeout=LOOK_S)
            for pipe in [pipe for pipe, one in running.items() if pipe in ready or one.process.exitcode is not None]:
                one = running.pop(pipe)
                one.job.end(_outcome(pipe, one))
    finally:
        for one in running.values():
            one.process.kill()
            one.process.join()


class _Running(NamedTuple):
    job: Job[Any]
    process: SpawnProcess
    started: float


def _outcome(pipe: Connection, one: _Running) -> Outcome[Any]:
    """What a job's process said before it ended, or that it said nothing."""
    outcome: Outcome[Any] | None = None
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
    hint = " Signal 9 is most often a lack of memory: do fewer at a time." if code == -9 else ""
    return Outcome(None, f"Its process ended with {how} before it was done.{hint}", time.perf_counter() - one.started)


def _work(work: Callable[[], Any], threads: int, path: Path, pipe: Connection) -> None:
    """A job's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command's to answer: it ends its processes
    threading.Thread(target=_die_with_parent, daemon=True).start()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log:
        # all that is said, by whom ever: bars of several processes would overwrite one another, and results go to stdout
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        _keep_to(threads)
        pipe.send(attempt(work)._replace(cause=None))  # not every exception can be sent


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
