"""Submissions damaged at random: none crashes the check, none that is invalid is accepted."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import fake_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_submissions import valid

from leaderboard.submissions import check_file, checked
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.predictions import Predictions, read_predictions, write_predictions

FORMATS = ("parquet", "csv", "jsonl", "zip")
ANYTHING = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.integers(), st.text(max_size=8), st.booleans(), st.none(),
    st.lists(st.integers(), max_size=2), st.just(10**400), st.just("1e999"), st.just("\ud800"),
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path, dict[str, bytes]]:
    """A dataset, a folder to work in, and a valid submission in every format, as bytes."""
    folder = tmp_path_factory.mktemp("fuzz")
    data = fake_dataset(folder / "data", people=6)
    predictions = valid(data)
    write_predictions(folder / "p.parquet", predictions)
    with zipfile.ZipFile(folder / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "p.parquet", "p.parquet")
    predictions.table.to_csv(folder / "p.csv", index=False)
    predictions.table.to_json(folder / "p.jsonl", orient="records", lines=True)
    (folder / "header.json").write_text(predictions.header.model_dump_json())
    return data, folder, {name: (folder / f"p.{name}").read_bytes() for name in (*FORMATS,)}


def same(one: Predictions, other: Predictions) -> bool:
    """Whether two submissions answer alike."""
    a, b = (p.table.sort_values("sample_id").reset_index(drop=True) for p in (one, other))
    alike = list(a["sample_id"]) == list(b["sample_id"]) and one.header.dataset == other.header.dataset
    return alike and np.allclose(a[["gaze_lon_deg", "gaze_lat_deg"]], b[["gaze_lon_deg", "gaze_lat_deg"]], atol=1e-9)


def in_range(predictions: Predictions) -> bool:
    """What a valid submission's values are, said once more without the checker's code."""
    lon, lat = predictions.table["gaze_lon_deg"].to_numpy(), predictions.table["gaze_lat_deg"].to_numpy()
    fine = bool(np.all(np.abs(lon) <= 180.0) and np.all(np.abs(lat) <= 90.0))
    if predictions.heatmaps is not None:
        maps = predictions.heatmaps.astype(np.float64)
        fine &= bool(np.isfinite(maps).all() and (maps >= 0.0).all() and (np.ptp(maps, axis=(1, 2)) > 0.0).all())
    return fine


def judge(path: Path, data: Dataset) -> None:
    """A damaged file is refused with an error of ours, reported with faults, or still a complete and valid answer."""
    try:
        report = check_file(path, data, "test")
    except InputError:
        return
    if not report.valid:
        assert all(fault.count >= 1 and fault.remedy for fault in report.faults)
        return
    accepted = checked(path, data, "test")
    wanted = list(data.select(split="test").annotations["sample_id"])
    assert list(accepted.predictions.table["sample_id"]) == wanted
    assert in_range(accepted.predictions)


def damage_bytes(whole: Any, kind: str, draw: Any) -> None:
    data, folder, contents = whole
    content = bytearray(contents[kind])
    for _ in range(draw.draw(st.integers(1, 4))):
        how = draw.draw(st.sampled_from(["flip", "cut", "drop", "double", "noise"]))
        at = draw.draw(st.integers(0, max(len(content) - 1, 0)))
        if how == "flip" and content:
            content[at] ^= 1 << draw.draw(st.integers(0, 7))
        elif how == "cut":
            del content[at:]
        elif how == "drop":
            del content[at : at + draw.draw(st.integers(1, 64))]
        elif how == "double":
            content[at:at] = content[at : at + draw.draw(st.integers(1, 64))]
        else:
            content[at : at + 8] = draw.draw(st.binary(min_size=8, max_size=8))
    path = folder / f"damaged.{kind}"
    path.write_bytes(bytes(content))
    (folder / f"damaged.{kind}.json").write_bytes((folder / "header.json").read_bytes())
    judge(path, data)


def damage_values(whole: Any, draw: Any) -> None:
    """Values of rows, and of the header, replaced by anything JSON can say; rows dropped, doubled and renamed."""
    data, folder, _ = whole
    rows = [json.loads(line) for line in (folder / "p.jsonl").read_text().splitlines()]
    header = json.loads((folder / "header.json").read_text())
    for _ in range(draw.draw(st.integers(1, 3))):
        how = draw.draw(st.sampled_from(["value", "drop", "double", "rename", "header", "column", "row"]))
        at = draw.draw(st.integers(0, len(rows) - 1)) if rows else 0
        row = rows[at] if rows and isinstance(rows[at], dict) else None
        if how == "value" and row:
            row[draw.draw(st.sampled_from(sorted(row)))] = draw.draw(ANYTHING)
        elif how == "drop" and rows:
            del rows[at]
        elif how == "double" and rows:
            rows.append(rows[at])
        elif how == "rename" and row:
            row["sample_id"] = draw.draw(ANYTHING)
        elif how == "header":
            place = draw.draw(st.sampled_from([header, header["dataset"], header["predictor"]]))
            if isinstance(place, dict) and place:
                place[draw.draw(st.sampled_from(sorted(place)))] = draw.draw(ANYTHING)
        elif how == "column" and row:
            row.pop(draw.draw(st.sampled_from(sorted(row))))
        elif how == "row" and rows:
            rows[at] = draw.draw(ANYTHING)
        if not isinstance(header.get("dataset"), dict) or not isinstance(header.get("predictor"), dict):
            break
    path = folder / "changed.jsonl"
    path.write_bytes("\n".join(json.dumps(row) for row in rows).encode())
    (folder / "changed.jsonl.json").write_text(json.dumps(header))
    judge(path, data)


def check(whole: Any, draw: Any) -> None:
    how = draw.draw(st.sampled_from([*FORMATS, "values", "values"]))
    damage_values(whole, draw) if how == "values" else damage_bytes(whole, how, draw)


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@given(draw=st.data())
@settings(max_examples=150, derandomize=True, suppress_health_check=QUIET)
def test_damaged_submissions(whole: Any, draw: Any) -> None:
    check(whole, draw)


@pytest.mark.slow
@given(draw=st.data())
@settings(max_examples=4000, suppress_health_check=QUIET)
def test_many_damaged_submissions(whole: Any, draw: Any) -> None:
    check(whole, draw)


def test_undamaged_ones_are_accepted(whole: Any) -> None:
    data, folder, _ = whole
    original = read_predictions(folder / "p.parquet")
    for kind in FORMATS:
        (folder / f"p.{kind}.json").write_bytes((folder / "header.json").read_bytes())
        assert same(checked(folder / f"p.{kind}", data, "test").predictions, original), kind
