"""The errors users see, and the exit codes they carry.

Conventions
-----------
Every message is one paragraph: what was expected, what was found (which file, which ids, how many), what to do next.
The command line prints the message alone; ``--debug`` adds the traceback. Codes: 0 fine, 1 findings or a failed check,
2 wrong use or bad input, 3 environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class SRGaze360Error(Exception):
    """Base of every error this project raises on purpose."""

    exit_code = 2


class InputError(SRGaze360Error, ValueError):
    """Bad input or wrong use: a file, an option or an array is not what was expected (exit code 2)."""

    exit_code = 2


class CheckFailed(SRGaze360Error):
    """A check ran to its end and found something (exit code 1)."""

    exit_code = 1


class EnvironmentProblem(SRGaze360Error, RuntimeError):
    """The machine, not the input, is at fault: a missing library, a wrong version, a full disk (exit code 3)."""

    exit_code = 3


def first_ids(ids: Iterable[object], shown: int = 5) -> str:
    """List the first few ids for an error message, e.g. ``"a, b, c and 14 more"``."""
    items = [str(item) for item in ids]
    text = ", ".join(items[:shown])
    return text if len(items) <= shown else f"{text} and {len(items) - shown} more"


def suggestion(name: str, known: Sequence[str]) -> str:
    """End an "unknown name" message: the closest known name if there is one, then all of them."""
    close = get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(sorted(known)) or 'none'}."
