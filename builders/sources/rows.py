"""Label text files, read row by row without losing a row: lines, plain paths, numbers, references to rows.

Conventions
-----------
Line numbers are physical and start at 1; blank lines are no rows. A row reference is ``"file:12-20,25"``: the file's path
relative to the source's root, then its lines. A *fault* is a reason in words why a row cannot be used; ``""`` means sound.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from builders.sources.base import Rejected
from srgaze360.errors import InputError


def read_rows(path: Path) -> tuple[list[int], list[list[str]]]:
    """Read a comma separated text file: the number and the fields of every line that is not blank.

    UTF-8 with or without a byte order mark; any line ending; a field may be quoted, but not across lines.

    Raises
    ------
    InputError
        If the file is not UTF-8 text.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"Expected UTF-8 text in {path}; line {line} holds byte 0x{data[error.start]:02x}, which is none. "
            "Take the file from the dataset's release again, or convert it to UTF-8."
        ) from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line and not line.isspace()]
    return [number for number, _ in numbered], [_fields(line) for _, line in numbered]


def _fields(line: str) -> list[str]:
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line]))
    except csv.Error:
        return [line]


def to_numbers(texts: NDArray[np.object_]) -> NDArray[np.float64]:
    """Numbers (float64) from an array of text; NaN where the text is none."""
    return pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(dtype=np.float64)


def path_fault(path: str) -> str:
    """Say why ``path`` is not a plain POSIX path that stays inside its folder (``""`` if it is one)."""
    parts = path.split("/")
    if ".." in parts or path.startswith("/") or re.match("[A-Za-z]:", path):
        return f"path leaves the source's folder ({path!r})"
    if "" in parts or "." in parts or "\\" in path or not path.isprintable():
        return f"path is not a plain relative path ({path!r})"
    return ""


def path_faults(paths: Sequence[str]) -> list[str]:
    """:func:`path_fault` of many paths; each distinct one is looked at once."""
    faults = {path: path_fault(path) for path in set(paths)}
    return [faults[path] for path in paths]


def mark(faults: NDArray[np.object_], where: NDArray[np.bool_], reasons: Iterable[str] | str) -> None:
    """Write ``reasons`` (one, or one per true entry of ``where``) into ``faults`` where none is written yet."""
    rows = np.flatnonzero(where)
    texts = [reasons] * len(rows) if isinstance(reasons, str) else list(reasons)
    for row, text in zip(rows.tolist(), texts, strict=True):
        faults[row] = faults[row] or text


def mark_not_finite(
    faults: NDArray[np.object_], column: str, texts: Sequence[str], numbers: NDArray[np.float64], where: NDArray[np.bool_]
) -> None:
    """Mark the rows of ``where`` whose ``column`` is not a finite number, quoting what stands there."""
    bad = where & ~np.isfinite(numbers)
    mark(faults, bad, [f"{column} is not a finite number ({texts[row]!r})" for row in np.flatnonzero(bad).tolist()])


def row_reference(file: str, lines: Sequence[int]) -> str:
    """``"file:12-20,25"`` for ascending line numbers."""
    first, last = lines[0], lines[-1]
    if len(lines) == 1:
        return f"{file}:{first}"
    if last - first + 1 == len(lines):
        return f"{file}:{first}-{last}"
    numbers = np.asarray(lines)
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return f"{file}:" + ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def rejected_rows(
    kind: str, table: pd.DataFrame, reasons: NDArray[np.object_], image: str = "image", person: str = "person"
) -> list[Rejected]:
    """Every row of a table (``file``, ``line``, and the columns named by ``image`` and ``person``), with its reason."""
    rows = zip(*(table[column].tolist() for column in ("file", "line", image, person)), reasons.tolist(), strict=True)
    return [Rejected(kind, row_reference(file, [line]), path, name, reason) for file, line, path, name, reason in rows]


def skipped_rows(kind: str, table: pd.DataFrame, stride: int, person: str = "person") -> list[Rejected]:
    """One entry per file and person for the frames between strides: a choice of the user's, but no row vanishes."""
    reason = f"frames skipped (stride {stride})"
    return [
        Rejected(kind, row_reference(str(file), rows["line"].tolist()), "", str(name), reason)
        for (file, name), rows in table.groupby(["file", person])
    ]
