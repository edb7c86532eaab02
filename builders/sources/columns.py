"""Tables of labels, CSV or Parquet, as columns of text: one form, whatever the file is.

Conventions
-----------
A cell is text; an absent one is ``""``. Numbers of a Parquet file are written in the shortest form that reads back to the same
number. Rows are numbered as a person would look them up: physical lines of a CSV file (the header is line 1), rows from 1 of a
Parquet file. CSV is UTF-8 with commas; a field may be quoted, but not across lines.

A small Parquet file can claim any number of rows, and a text can repeat for nothing: sizes are held to limits before and while
reading, and repeated texts are kept once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from builders.sources.rows import read_rows
from srgaze360.errors import InputError

MAX_BYTES = 1_000_000_000  # of a file, packed or unpacked
MAX_ROWS = 10_000_000
MAX_COLUMNS = 500
BATCH = 65_536

ColumnType = Literal["text", "number", "flag", "unknown"]


@dataclass(frozen=True)
class Columns:
    """A table: names as the file has them (also twice), text by name, the type that the file gives (CSV gives none).

    ``numbers`` are the rows' numbers; ``malformed`` has (number, width) of CSV lines that are not as wide as the header.
    """

    names: tuple[str, ...]
    texts: dict[str, NDArray[np.object_]]
    types: dict[str, ColumnType]
    numbers: list[int]
    malformed: tuple[tuple[int, int], ...] = ()


def read_columns(path: Path, advice: str) -> Columns:
    """Read a ``.csv`` or ``.parquet`` file; ``advice`` ends the error messages.

    Raises
    ------
    InputError
        The file is damaged, beyond the limits, or has columns that are neither text, numbers nor truth values.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise _too_large(path, f"{size / 1e6:.0f} MB", advice)
    return _read_parquet(path, advice) if path.suffix.lower() == ".parquet" else _read_csv(path)


def _too_large(path: Path, found: str, advice: str) -> InputError:
    return InputError(
        f"Expected a table of up to {MAX_ROWS} rows, {MAX_COLUMNS} columns and {MAX_BYTES / 1e6:g} MB (unpacked) at {path}; "
        f"found {found}. Split it into several folders. {advice}"
    )


def _read_csv(path: Path) -> Columns:
    numbers, rows = read_rows(path)
    names = tuple(name.strip() for name in rows[0]) if rows else ()
    body = list(zip(numbers[1:], rows[1:], strict=True))
    sound = [(number, row) for number, row in body if len(row) == len(names)]
    texts = {name: np.array([row[index].strip() for _, row in sound], dtype=object) for index, name in enumerate(names)}
    malformed = tuple((number, len(row)) for number, row in body if len(row) != len(names))
    return Columns(names, texts, dict.fromkeys(names, "unknown"), [number for number, _ in sound], malformed)


def _read_parquet(path: Path, advice: str) -> Columns:
    try:
        schema = pq.read_schema(path)
        strings = [field.name for field in schema if _type(field.type) == "text" and not pa.types.is_list(field.type)]
        with pq.ParquetFile(path, read_dictionary=strings) as file:
            claimed = file.metadata
            size = sum(claimed.row_group(index).total_byte_size for index in range(claimed.num_row_groups))
            if claimed.num_rows > MAX_ROWS or len(schema) > MAX_COLUMNS or size > MAX_BYTES:
                found = f"{claimed.num_rows} rows, {len(schema)} columns and {size / 1e6:.0f} MB"
                raise _too_large(path, found, advice)
            odd = [f"{field.name} ({field.type})" for field in schema if _type(field.type) is None]
            if odd:
                raise InputError(
                    f"Expected columns of text, numbers or truth values in {path}; found {', '.join(odd)}. Write them as text "
                    f"or numbers, or leave them out. {advice}"
                )
            if len(set(schema.names)) < len(schema):  # the caller says which
                return Columns(tuple(schema.names), {}, {}, [])
            return _collect(path, file, schema, advice)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"Expected a Parquet file at {path}; it cannot be read: {error}. Write it again. {advice}") from error


def _collect(path: Path, file: pq.ParquetFile, schema: pa.Schema, advice: str) -> Columns:
    parts: dict[str, list[NDArray[np.object_]]] = {name: [] for name in schema.names}
    size = 0
    for batch in file.iter_batches(BATCH):
        size += batch.nbytes
        if size > MAX_BYTES:
            raise _too_large(path, f"{size / 1e6:.0f} MB in its first rows", advice)
        for name in schema.names:
            parts[name].append(_texts(batch.column(name)))
    texts = {name: np.concatenate(part) if part else np.array([], dtype=object) for name, part in parts.items()}
    types: dict[str, ColumnType] = {field.name: _type(field.type) or "unknown" for field in schema}
    return Columns(tuple(schema.names), texts, types, list(range(1, file.metadata.num_rows + 1)))


def _type(kind: pa.DataType) -> ColumnType | None:
    """What a column of an Arrow type holds; None where it is of no use here. A list of numbers is text, as in a CSV file."""
    types = pa.types
    if types.is_dictionary(kind):
        return _type(kind.value_type)
    if types.is_list(kind) and types.is_floating(kind.value_type):
        return "text"
    if types.is_boolean(kind):
        return "flag"
    if types.is_integer(kind) or types.is_floating(kind):
        return "number"
    if types.is_null(kind):
        return "unknown"
    return "text" if types.is_string(kind) or types.is_large_string(kind) else None


def _texts(column: pa.Array) -> NDArray[np.object_]:
    """Text of an Arrow column."""
    if pa.types.is_dictionary(column.type):
        known = np.append(_texts(column.dictionary), "")
        return np.asarray(known[pc.fill_null(column.indices, len(known) - 1).to_numpy(zero_copy_only=False)])
    if pa.types.is_list(column.type):
        values = [" ".join(map(repr, entry)) if entry else "" for entry in column.to_pylist()]
    else:
        values = [(text or "").strip() for text in pc.cast(column, pa.string()).to_pylist()]
    return np.array(values, dtype=object)
