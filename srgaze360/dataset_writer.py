"""Writing a dataset: ``annotations.parquet`` in batches, holding a few thousand rows at most, then ``dataset.yaml``.

Conventions
-----------
The schema is :data:`srgaze360.dataset.COLUMNS`; further keys of a row become further columns, sorted by name. Their types are
decided by all values of a column, so a stream of rows is gone through twice: first :class:`ExtraColumns` looks at every row,
then :func:`annotations_writer` writes them. ``dataset.yaml`` is written last: its presence says that the dataset is complete.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from srgaze360.dataset import ANNOTATIONS_FILE, COLUMNS, INFO_FILE, DatasetInfo
from srgaze360.files import atomic_path, write_text

Row = Mapping[str, Any]
ROWS_PER_GROUP = 2048  # of a Parquet file: what is held in memory, and what a reader reads at once


class ExtraColumns:
    """The columns beside :data:`COLUMNS` and the kinds of values seen in them."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[type]] = defaultdict(set)

    def see(self, rows: Iterable[Row]) -> None:
        """Take note of the values in some rows."""
        for row in rows:
            for name in row.keys() - COLUMNS.keys():
                self._kinds[name] |= {type(row[name])} - {type(None)}

    def schema(self) -> pa.Schema:
        """Schema of all columns. One of numbers becomes double, one of truth values bool, any other string."""
        fields = [pa.field(name, column.type, column.nullable) for name, column in COLUMNS.items()]
        fields += [pa.field(name, _arrow_type(self._kinds[name])) for name in sorted(self._kinds)]
        return pa.schema(fields)


def _arrow_type(kinds: set[type]) -> pa.DataType:
    if kinds == {bool}:
        return pa.bool_()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


@contextmanager
def annotations_writer(root: Path, schema: pa.Schema) -> Iterator[Callable[[Iterable[Row]], None]]:
    """Write ``annotations.parquet`` of the dataset in folder ``root``; the yielded function takes the next rows.

    The file depends on the rows and their order, not on how many come at a time; it appears when all are written.
    """
    waiting: list[Row] = []
    with atomic_path(root / ANNOTATIONS_FILE) as temporary, _open(temporary, schema) as file:

        def flush() -> None:
            group, waiting[:] = waiting[:ROWS_PER_GROUP], waiting[ROWS_PER_GROUP:]
            file.write_table(_table(group, schema))

        def write(rows: Iterable[Row]) -> None:
            waiting.extend(rows)
            while len(waiting) >= ROWS_PER_GROUP:
                flush()

        yield write
        if waiting:
            flush()


def _open(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays([_array(rows, field) for field in schema], schema=schema)


def _array(rows: Sequence[Row], field: pa.Field) -> pa.Array:
    values = [row.get(field.name) for row in rows]
    if field.type == pa.string():  # two sources may hold different things under one name
        values = [value if value is None or isinstance(value, str) else str(value) for value in values]
    elif field.type == pa.float64():  # whole numbers beyond 2^53 are refused otherwise
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, type=field.type)


def write_info(root: Path, info: DatasetInfo) -> None:
    """Write ``dataset.yaml`` of the dataset in folder ``root``."""
    content = json.loads(info.model_dump_json())
    write_text(root / INFO_FILE, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))


def write_dataset(root: Path, info: DatasetInfo, rows: Sequence[Row]) -> None:
    """Write the table and the record of a dataset whose rows fit in memory."""
    extras = ExtraColumns()
    extras.see(rows)
    with annotations_writer(root, extras.schema()) as write:
        write(rows)
    write_info(root, info)
