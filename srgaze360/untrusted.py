"""Parquet files of strangers: opened with a limit on the memory that reading them may take, whatever they say about themselves.

A Parquet file of two kilobytes can make its reader ask for sixteen gigabytes: the sizes in its footer and in its pages are
claims, and runs, dictionaries and compression make much of little. Checking the claims is not enough, so the system is asked to
hold the limit. On Linux it does; elsewhere there is none, and a server needs a limit of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from srgaze360.errors import InputError

MAX_FOOTER_BYTES = 4 * 2**20  # lists of empty things in a footer take two hundred times their room once they are read
WORKING_BYTES = 2**29  # what decoding may take beside what it decodes
_RESERVE_BYTES = 2**30  # Arrow's allocator takes so much of the address space at once, where there is so much


@contextmanager
def memory_limit(extra: int) -> Iterator[None]:
    """Let the process grow by about ``extra`` bytes at most; what asks for more gets a ``MemoryError``, or an error of Arrow's.

    Counted is the address space of the whole process, other threads included, so it is meant for programs that do one thing at
    a time. What Arrow's allocator has reserved before, up to a gibibyte, comes on top. Linux only; elsewhere there is no limit.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    extra += _RESERVE_BYTES if extra >= _RESERVE_BYTES else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    there = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]  # if tighter, they stay
    try:
        resource.setrlimit(resource.RLIMIT_AS, (min([pages * resource.getpagesize() + extra, *there]), hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def open_parquet(path: Path, what: str, remedy: str, *, holds: int = 0) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file to be read with ``use_threads=False``: a thread of Arrow's that is refused memory ends the program.

    Parameters
    ----------
    path
        The file.
    what, remedy
        What it is expected to be, and what to do where it cannot be read, for errors.
    holds
        Bytes that what is read from it may take besides :data:`WORKING_BYTES`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    InputError
        Opening or reading it fails, or asks for more memory than it may take.
    """
    try:
        with memory_limit(WORKING_BYTES + holds):
            _check_footer(path)
            with pq.ParquetFile(path, thrift_string_size_limit=2**26, thrift_container_size_limit=2**20) as file:
                yield file
    except (InputError, FileNotFoundError):
        raise
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        if isinstance(error, MemoryError) or "bad_alloc" in str(error):
            raise InputError(
                f"Expected to read {path} with at most {WORKING_BYTES + holds} bytes of memory, but it asks for more than what "
                f"it can hold needs, or memory is short here. {remedy}"
            ) from None
        found = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"Expected {what} at {path}, but it cannot be read: {found}. {remedy}") from None


def _check_footer(path: Path) -> None:
    with path.open("rb") as stream:
        stream.seek(-8, os.SEEK_END)
        length, magic = int.from_bytes(stream.read(4), "little"), stream.read(4)
    if magic == b"PAR1" and MAX_FOOTER_BYTES < length < path.stat().st_size:
        raise InputError(
            f"Expected a footer of at most {MAX_FOOTER_BYTES} bytes in {path}, found {length}. Write it in larger row groups."
        )
