"""Where shards run, and what happens when a worker is lost.

Conventions
-----------
Workers are reached through ``concurrent.futures.Executor``: in this process, in processes of this machine, or on a
``dask.distributed`` cluster. A *call* is a function of no arguments that can be sent to a worker, does one shard, and may be
done again without harm. A bounded number of calls is in flight, so memory stays flat however many shards there are.

A worker that dies takes with it every shard that was in flight, guilty or not. They are tried again alone, one at a time: then
it is known whose fault it is. A shard that loses its worker :data:`Crew.attempts` times while alone is quarantined, and so is
one that raises; everything else goes on. Only an EnvironmentProblem (a full disk, other versions) stops the build at once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

from srgaze360.errors import EnvironmentProblem

T = TypeVar("T")
P = ParamSpec("P")
ATTEMPTS = 3
HOPELESS = 5  # shards quarantined before a single one was done: it is the machine, not the photos


@dataclass(frozen=True)
class Crew:
    """Workers of one kind.

    Attributes
    ----------
    start
        Opens an executor; with True, one that runs a single call at a time.
    in_flight
        Number of calls to submit before waiting for one; may change as a cluster grows.
    lost
        What a call raises when its worker died.
    attempts
        How often a shard that is alone may lose its worker before it is quarantined.
    """

    start: Callable[[bool], Executor]
    in_flight: Callable[[], int]
    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)
    attempts: int = ATTEMPTS


@dataclass
class Outcome:
    """What became of the shards: how many are done, which are quarantined and why, which were not tried."""

    done: int = 0
    quarantined: dict[int, str] = field(default_factory=dict)
    untried: list[int] = field(default_factory=list)

    @property
    def hopeless(self) -> bool:
        """Whether so much failed before anything succeeded that it makes no sense to go on."""
        return not self.done and len(self.quarantined) >= HOPELESS


def run_shards(
    shards: Iterable[int], call_of: Callable[[int], Callable[[], T]], crew: Crew, report: Callable[[int, T], None]
) -> Outcome:
    """Do every shard.

    Parameters
    ----------
    shards
        The shards to do, by number.
    call_of
        The call that does a shard.
    crew
        Who does them.
    report
        Told a shard and what its call returned, when it is done.

    Raises
    ------
    EnvironmentProblem
        As a call raised it, or because the cluster went away. What was done stays done.
    """
    waiting, suspects = deque(shards), deque[int]()
    charges: Counter[int] = Counter()
    outcome = Outcome()
    while (waiting or suspects) and not outcome.hopeless:
        alone = bool(suspects)
        with _opened(crew.start(alone)) as executor:
            lost = _drain(suspects if alone else waiting, call_of, executor, crew, alone, report, outcome)
        for shard in lost:
            charges[shard] += alone
            if charges[shard] >= crew.attempts:
                outcome.quarantined[shard] = f"its worker died {crew.attempts}x, nothing else in flight"
            else:
                suspects.append(shard)
    outcome.untried = sorted([*suspects, *waiting])
    return outcome


def _drain(
    queue: deque[int],
    call_of: Callable[[int], Callable[[], T]],
    executor: Executor,
    crew: Crew,
    alone: bool,
    report: Callable[[int, T], None],
    outcome: Outcome,
) -> list[int]:
    """Do the shards in ``queue`` until it is empty or a worker is lost; returns the shards that were in flight then."""
    flying: dict[Future[T], int] = {}
    lost: list[int] = []
    while flying or (queue and not lost and not outcome.hopeless):
        while queue and not lost and len(flying) < (1 if alone else crew.in_flight()):
            shard = queue.popleft()
            try:
                flying[executor.submit(call_of(shard))] = shard
            except crew.lost:
                lost.append(shard)
        for future in wait(flying, return_when=FIRST_COMPLETED).done:
            shard = flying.pop(future)
            try:
                result = future.result()
            except crew.lost:
                lost.append(shard)
            except EnvironmentProblem:
                raise
            except CancelledError:
                raise EnvironmentProblem(
                    "The workers went away while shards were in flight. What was done is kept: run the same command again."
                ) from None
            except Exception as error:  # noqa: BLE001 - whatever a shard raises is that shard's own matter, and is told
                outcome.quarantined[shard] = f"{type(error).__name__}: {error}"
            else:
                outcome.done += 1
                report(shard, result)
    return lost


@contextmanager
def _opened(executor: Executor) -> Iterator[Executor]:
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown(wait=True)


# --- crews ------------------------------------------------------------------------------------------------------------


class InProcess(Executor):
    """Does a call in this process when it is submitted."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The call's future, already done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
            future.set_exception(error)
        return future


def in_process() -> Crew:
    """No workers: the work is done here. A crash ends the build, and the same command goes on with it."""
    return Crew(start=lambda _: InProcess(), in_flight=lambda: 1)


def processes(workers: int) -> Crew:
    """Worker processes of this machine."""

    def start(alone: bool) -> Executor:
        # spawn, not fork: OpenCV's and Arrow's threads do not survive a fork
        return ProcessPoolExecutor(1 if alone else workers, mp_context=get_context("spawn"))

    return Crew(start, in_flight=lambda: 2 * workers)


@contextmanager
def dask_cluster(address: str) -> Iterator[Crew]:
    """The workers of the ``dask.distributed`` cluster whose scheduler is at ``address``.

    The scheduler itself tries a call on several workers before it gives it up (``distributed.scheduler.allowed-failures``).

    Raises
    ------
    EnvironmentProblem
        dask.distributed is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise EnvironmentProblem(
            f"--dask needs dask.distributed, which cannot be imported ({error}). Install it: pip install 'srgaze360[cluster]'."
        ) from error
    try:
        client: Any = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EnvironmentProblem(
            f"Expected a Dask scheduler at {address}, but none answers: {error}. Start one with `dask scheduler` and workers "
            "with `dask worker ADDRESS`, then give --dask ADDRESS as it prints it (tcp://host:port)."
        ) from error
    with client:
        yield Crew(
            start=lambda _: client.get_executor(pure=False),
            in_flight=lambda: 2 * max(1, sum(client.nthreads().values())),
            lost=(KilledWorker,),
            attempts=1,
        )


@contextmanager
def open_crew(workers: int, dask: str | None) -> Iterator[Crew]:
    """A Dask cluster if an address is given, else worker processes, else this process."""
    if dask is not None:
        with dask_cluster(dask) as crew:
            yield crew
    else:
        yield processes(workers) if workers > 1 else in_process()
