"""Work spread over processes, results in order; and the folder it is written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import cv2

from srgaze360.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(make: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Results of ``make`` for all ``items``, in their order; ``workers`` = 1 stays in this process."""
    if workers == 1:
        yield from map(make, items)
        return
    # processes started afresh: forking a process that has threads can hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(make, items)


def check_empty(out: Path, what: str) -> None:
    """Raise :class:`InputError` where a folder to be made holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"Expected an empty or a new folder for {what}; {out} holds something. Name another one.")
