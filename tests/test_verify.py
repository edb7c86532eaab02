"""Verifying a dataset: every change is found, at the level where it lies."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
from building import many, run_build
from photos import write_gazefollow

from builders.building.verify import verify
from srgaze360.dataset import Dataset
from srgaze360.dataset_writer import write_dataset


def test_verify_finds_what_was_tampered_with(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=4, scale=4)
    out = tmp_path / "out"
    run_build(out, f"gazefollow={tmp_path / 'gf'}", recipe="mixed", settings=many(4))
    assert verify(out) == []
    entries = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    first, second, third = (out / entry["path"] for entry in entries[:3])
    first.write_bytes(first.read_bytes()[:-40])
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 1
    second.write_bytes(content)
    third.unlink()
    (out / "panoramas" / "test" / "stranger.jpg").write_bytes(b"x")
    data = Dataset.open(out)
    rows = pq.read_table(out / "annotations.parquet").to_pylist()
    rows[9]["gaze_lon_deg"] += 2e-6
    write_dataset(out, data.info, rows)
    found = {(finding.level, finding.where) for finding in verify(out)}
    assert found == {
        ("files", entries[0]["path"]), ("files", entries[1]["path"]), ("files", entries[2]["path"]),
        ("files", "panoramas/test/stranger.jpg"), ("labels", rows[9]["panorama_id"]),
        ("files", "annotations.parquet"),
    }  # fmt: skip
