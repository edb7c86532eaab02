"""Writing tables: in batches, with the columns that sources add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from fakes import fake_dataset

from srgaze360.dataset import COLUMNS, Dataset
from srgaze360.dataset_writer import ROWS_PER_GROUP, ExtraColumns, annotations_writer, write_dataset


def test_columns_that_sources_add_keep_their_type_or_become_text(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path / "a", people=2)
    base = {name: data.annotations.iloc[0][name] for name in COLUMNS}
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in base.items()}
    extras: list[dict[str, Any]] = [
        {"age": 3, "child": True, "pose": "sitting"},
        {"age": 4.5, "child": None, "pose": 7.0},  # another source says pose in numbers
        {},
    ]
    write_dataset(tmp_path / "b", data.info, [{**plain, "sample_id": f"s{i}", **extra} for i, extra in enumerate(extras)])
    table = Dataset.open(tmp_path / "b").annotations
    assert table["age"].tolist()[:2] == [3.0, 4.5]
    assert table["child"].tolist()[0] is True
    assert table["pose"].tolist()[:2] == ["sitting", "7.0"]
    assert table[["age", "child", "pose"]].isna().to_numpy()[2].all()


def test_the_file_does_not_depend_on_how_rows_come(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path / "a", people=2)
    rows = pq.read_table(tmp_path / "a" / "annotations.parquet").to_pylist() * 1500
    assert len(rows) > 2 * ROWS_PER_GROUP
    extras = ExtraColumns()
    extras.see(rows)
    written = []
    for number, size in enumerate((1, 777, len(rows))):
        root = tmp_path / str(number)
        root.mkdir()
        with annotations_writer(root, extras.schema()) as write:
            for start in range(0, len(rows), size):
                write(iter(rows[start : start + size]))
        written.append((root / "annotations.parquet").read_bytes())
    assert written[0] == written[1] == written[2]
    assert pq.read_table(tmp_path / "0" / "annotations.parquet").to_pylist() == rows
    assert pq.ParquetFile(tmp_path / "0" / "annotations.parquet").metadata.num_row_groups == -(-len(rows) // ROWS_PER_GROUP)
    assert data.info.name
