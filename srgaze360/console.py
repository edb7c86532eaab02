"""What people see while a command runs: progress bars on a terminal, log lines elsewhere, tables and messages.

Standard output carries results (tables, JSON), standard error everything else, so that ``--json`` output can be piped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from srgaze360.files import canonical_json

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)

Advance = Callable[[int], None]
LOG_EVERY_S = 10.0


def silent(_: int) -> None:
    """Advance nothing: the default of library functions that can report progress."""


_shown: list[Progress] = []  # the bars on the terminal, of which there can be one display at a time


@contextmanager
def _bars() -> Iterator[Progress]:
    """The display of bars: the one that is there, for what happens within a step, or a new one."""
    if _shown:
        yield _shown[0]
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR) as bars:
        _shown.append(bars)
        try:
            yield bars
        finally:
            _shown.clear()


@contextmanager
def progress(label: str, total: int) -> Iterator[Advance]:
    """Report progress over ``total`` steps; the yielded function takes the number of steps just done.

    May be used within itself: the inner steps get a bar below the outer one.
    """
    if ERR.is_terminal:
        with _bars() as bars:
            task = bars.add_task(label, total=total)
            yield lambda steps: bars.advance(task, steps)
        return
    started = logged = time.monotonic()
    done = 0

    def advance(steps: int) -> None:
        nonlocal done, logged
        done += steps
        now = time.monotonic()
        if now - logged >= LOG_EVERY_S:
            logged = now
            ERR.print(f"{label}: {done}/{total} ({done / (now - started):.1f}/s)", markup=False)

    yield advance
    ERR.print(f"{label}: {done}/{total} in {time.monotonic() - started:.1f} s", markup=False)


def say(text: str) -> None:
    """Tell the user something on standard error (rich markup allowed)."""
    ERR.print(text)


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print a JSON value on standard output."""
    OUT.print_json(canonical_json(value))
