"""Work done ahead in other processes, results in order: what reads and augments while a network computes.

Conventions
-----------
Workers are started afresh (forking a process that has threads can hang), are given the task once and its keys one by one, and
use one thread each. Tensors come back through shared memory. ``workers`` = 0 does the work here, when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader

from srgaze360.errors import EnvironmentProblem, SRGaze360Error

Key = TypeVar("Key")
Result = TypeVar("Result")

AHEAD = 2  # results that each worker may have ready


class _Task(Generic[Key, Result]):
    """The task as something to be indexed; errors that users are meant to see come back as results."""

    def __init__(self, make: Callable[[Key], Result]) -> None:
        self._make = make

    def __getitem__(self, key: Key) -> Result | SRGaze360Error:
        try:
            return self._make(key)
        except SRGaze360Error as error:
            return error


def ahead(make: Callable[[Key], Result], keys: Iterable[Key], workers: int) -> Iterator[Result]:
    """Results of ``make`` for keys, in their order.

    Parameters
    ----------
    make
        A function of a key; it is sent to the workers once, so it may carry what it needs.
    keys
        Read lazily, ``2 * workers`` ahead of what is asked for.
    workers
        Processes; 0 for none.

    Raises
    ------
    SRGaze360Error
        As ``make`` raised it, in its place in the order.
    EnvironmentProblem
        A worker died.
    """
    if workers == 0:
        yield from map(make, keys)
        return
    loader = DataLoader(
        _Task(make),
        sampler=keys,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=AHEAD,
        multiprocessing_context="spawn",
        worker_init_fn=_one_thread,
        generator=torch.Generator(),  # or starting workers would draw from the generator that the network draws from
    )
    results = iter(loader)
    while True:
        try:
            result = next(results)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error) or str(error).startswith("Caught "):
                raise  # of a worker that lives, and whose work failed
            raise EnvironmentProblem(
                f"Expected {workers} worker processes to read ahead, but one died: {str(error).splitlines()[0]}. Memory or "
                "shared memory (/dev/shm) may have run out: use fewer workers (`--set train.workers=0` for none)."
            ) from error
        if isinstance(result, SRGaze360Error):
            raise result
        yield result


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)


def _as_it_is(result: Any) -> Any:  # noqa: ANN401 - whatever the task makes
    return result
