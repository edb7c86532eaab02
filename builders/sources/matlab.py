"""MATLAB v5 label files, read within limits.

Conventions
-----------
A file is a header of 128 bytes and a sequence of elements, each a tag (type and number of bytes, uint32) and its data, which
may be packed (zlib). What an element unpacks to is said by the tag inside it, so a small file that claims gigabytes is known
before anything is unpacked. Nothing in such a file is run. Format: "MAT-File Level 5", in MathWorks' "MAT-File Format".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from srgaze360.errors import InputError

MAX_BYTES = 256_000_000  # of a label file, packed or unpacked
HEADER = 128
ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}  # version 0x0100 and the mark of the byte order
COMPRESSED = 15


def read_matlab(path: Path, variables: Iterable[str], advice: str) -> dict[str, NDArray[Any]]:
    """Read ``variables`` of a MATLAB v5 file as arrays of at least two dimensions, text as one string per row.

    Parameters
    ----------
    advice
        What to do about a file that cannot be used; ends the error message.

    Raises
    ------
    InputError
        The file is no MATLAB v5 file, is damaged, lacks a variable, or is larger, packed or unpacked, than :data:`MAX_BYTES`.
    """
    wanted = list(variables)
    found: list[str] = []
    data: dict[str, Any] = {}
    size = path.stat().st_size
    try:
        unpacked = _unpacked_size(path.read_bytes()) if size <= MAX_BYTES else size
        if unpacked <= MAX_BYTES:
            found = [str(name) for name, _, _ in scipy.io.whosmat(path)]
            data = scipy.io.loadmat(path, variable_names=wanted, squeeze_me=False)
    except Exception as error:  # damaged files make the parser fail in every way
        raise InputError(
            f"Expected a MATLAB v5 file at {path}; it cannot be read ({type(error).__name__}: {error}). {advice}"
        ) from error
    if unpacked > MAX_BYTES:
        raise InputError(
            f"Expected a label file of up to {MAX_BYTES / 1e6:g} MB; {path} unpacks to {unpacked / 1e6:.0f} MB. {advice}"
        )
    if missing := [name for name in wanted if name not in found]:
        raise InputError(
            f"Expected the variables {', '.join(wanted)} in {path}; missing: {', '.join(missing)}; there: "
            f"{', '.join(found) or 'none'}. {advice}"
        )
    return {name: np.asarray(data[name]) for name in wanted}


def texts(values: NDArray[Any]) -> list[str]:
    """Strings of a MATLAB char matrix (one per row) or of a cell array of strings, without the padding at their ends."""
    return ["".join(np.ravel(np.asarray(entry)).astype("str").tolist()).rstrip(" \0") for entry in np.ravel(values)]


def _unpacked_size(data: bytes) -> int:
    """Bytes that all elements of a file claim to unpack to."""
    order = ORDERS.get(data[HEADER - 4 : HEADER])
    if order is None:
        raise ValueError("not a MATLAB v5 header; newer files are saved so with -v7, not -v7.3")
    total, position = 0, HEADER
    while position + 8 <= len(data):
        kind, count = struct.unpack(f"{order}II", data[position : position + 8])
        position += 8
        if kind == COMPRESSED:
            tag = zlib.decompressobj().decompress(data[position : position + count], 8)
            total += struct.unpack(f"{order}II", tag)[1]
        else:
            total += count
        position += count
    return total
