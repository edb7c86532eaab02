"""MATLAB v5 label files, read within limits.

Conventions
-----------
A file is a header of 128 bytes and a sequence of elements, each a tag (type and number of bytes, uint32) and its data, which
may be packed (zlib). Before a file is read, packed elements are unpacked piece by piece and counted, and what they claim to
unpack to is read off the tag inside: a small file that grows to gigabytes, or says so, is refused, and so is one whose
variables claim more entries than any dataset has. Nothing in such a file is run. Format: "MAT-File Level 5", in MathWorks'
"MAT-File Format".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from srgaze360.errors import InputError

MAX_BYTES = 256 * 2**20  # of a label file; GazeFollow's test labels have 0.7 MB
MAX_UNPACKED_BYTES = 2**30
MAX_ENTRIES = 10_000_000  # of a variable; GazeFollow has 130,339 people
HEADER = 128
ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}  # version 0x0100 and the mark of the byte order
COMPRESSED = 15
PIECE = 2**20


def read_matlab(path: Path, variables: Iterable[str], advice: str) -> dict[str, NDArray[Any]]:
    """Read ``variables`` of a MATLAB v5 file as arrays of at least two dimensions, text as one string per row.

    Parameters
    ----------
    path, variables
        The file, and the names of what is wanted of it.
    advice
        What to do about a file that cannot be used; ends the error message.

    Raises
    ------
    InputError
        The file is no MATLAB v5 file, is damaged, lacks a variable, or exceeds a limit of this module.
    """
    wanted = list(variables)
    shapes: dict[str, tuple[int, ...]] = {}
    data: dict[str, Any] = {}
    large: list[str] = []
    try:
        small = path.stat().st_size <= MAX_BYTES and _unpacked_size(path.read_bytes()) <= MAX_UNPACKED_BYTES
        if small:
            shapes = {str(name): shape for name, shape, _ in scipy.io.whosmat(path)}
            large = [name for name in wanted if prod(map(int, shapes.get(name, ()))) > MAX_ENTRIES]
        if small and not large:
            data = scipy.io.loadmat(path, variable_names=wanted, squeeze_me=False)
    except Exception as error:  # damaged files make the parser fail in every way
        raise InputError(
            f"Expected a MATLAB v5 file at {path}; it cannot be read ({type(error).__name__}: {error}). {advice}"
        ) from error
    if not small:
        raise InputError(
            f"Expected a label file of up to {MAX_BYTES >> 20} MiB, and {MAX_UNPACKED_BYTES >> 20} MiB unpacked, at {path}; "
            f"it is larger. {advice}"
        )
    if large:
        raise InputError(f"Expected at most {MAX_ENTRIES} entries in {path}; {', '.join(large)} claims more. {advice}")
    if missing := [name for name in wanted if name not in shapes]:
        raise InputError(
            f"Expected the variables {', '.join(wanted)} in {path}; missing: {', '.join(missing)}; there: "
            f"{', '.join(shapes) or 'none'}. {advice}"
        )
    return {name: np.asarray(data[name]) for name in wanted}


def texts(values: NDArray[Any]) -> list[str]:
    """Strings of a MATLAB char matrix (one per row) or of a cell array of strings, without the padding at their ends."""
    return ["".join(np.ravel(np.asarray(entry)).astype("str").tolist()).rstrip(" \0") for entry in np.ravel(values)]


def _unpacked_size(data: bytes) -> int:
    """Bytes of a file with all its elements unpacked, or a number beyond the limit."""
    order = ORDERS.get(data[HEADER - 4 : HEADER])
    if order is None:
        raise ValueError("not a MATLAB v5 header; newer files are saved so with -v7, not -v7.3")
    total, position = len(data), HEADER
    while position + 8 <= len(data) and total <= MAX_UNPACKED_BYTES:
        kind, count = struct.unpack_from(f"{order}II", data, position)
        position += 8
        if kind == COMPRESSED:
            packed = data[position : position + count]
            claimed = struct.unpack(f"{order}II", zlib.decompressobj().decompress(packed, 8))[1]
            total += max(claimed, _inflated_size(packed, MAX_UNPACKED_BYTES - total))
        position += count
    return total


def _inflated_size(data: bytes, limit: int) -> int:
    """Bytes that ``data`` inflates to, or a number beyond ``limit``; raises zlib.error where it is damaged."""
    inflater, total = zlib.decompressobj(), 0
    while total <= limit and data and not inflater.eof:
        total += len(inflater.decompress(data, PIECE))
        data = inflater.unconsumed_tail
    return total
