"""Checks of predictions files: every fault planted alone and all together, and the worked example of the docs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from typer.testing import CliRunner

from leaderboard.submission_commands import submission
from leaderboard.submissions import RULES, check_file, check_predictions, checked
from srgaze360.dataset import Dataset
from srgaze360.errors import CheckFailed, InputError
from srgaze360.predictions import DatasetKey, PredictionHeader, Predictions, PredictorCard, read_predictions, write_predictions
from srgaze360.predictors import dataset_key

DOCS = REPOSITORY / "docs" / "submissions.md"


def valid(data: Dataset, *, heatmaps: bool = True) -> Predictions:
    """Predictions for the test split in which nothing is wrong; angles touch their limits."""
    ids = data.select(split="test").annotations["sample_id"]
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "sample_id": ids,
            "gaze_lon_deg": rng.uniform(-180.0, 180.0, len(ids)),
            "gaze_lat_deg": rng.uniform(-90.0, 90.0, len(ids)),
            "in_frame_score": rng.uniform(0.0, 1.0, len(ids)),
        }
    )
    table.loc[:3, ["gaze_lon_deg", "gaze_lat_deg", "in_frame_score"]] = [
        [180.0, 90.0, 0.0],
        [-180.0, -90.0, 1.0],
        [0.0, 0.0, 0.5],
        [-0.0, -0.0, -0.0],
    ]
    header = PredictionHeader(
        dataset=dataset_key(data), split="test", predictor=PredictorCard(name="planted"), heatmap_shape=(4, 8)
    )
    maps = rng.uniform(0.0, 1.0, (len(ids), 4, 8)).astype(np.float16) if heatmaps else None
    return Predictions(header, table, maps)


def _rekey(predictions: Predictions, **changes: str) -> Predictions:
    key = predictions.header.dataset.model_copy(update=changes)
    return replace(predictions, header=predictions.header.model_copy(update={"dataset": key}))


def _cells(predictions: Predictions, rows: list[int], value: float, *, whole: bool = False) -> Predictions:
    maps = np.array(predictions.heatmaps)
    maps[rows, (slice(None) if whole else 2), (slice(None) if whole else 3)] = value
    return replace(predictions, heatmaps=maps)


def _value(predictions: Predictions, rows: list[int], column: str, value: float) -> Predictions:
    table = predictions.table.copy()
    table.loc[rows, column] = value
    return replace(predictions, table=table)


def _without(predictions: Predictions, rows: list[int]) -> Predictions:
    kept = [index for index in range(len(predictions.table)) if index not in rows]
    return replace(predictions, table=predictions.table.iloc[kept].reset_index(drop=True), heatmaps=predictions.heatmaps[kept])


def _renamed(predictions: Predictions, rows: list[int], names: list[str]) -> Predictions:
    table = predictions.table.copy()
    table.loc[rows, "sample_id"] = names
    return replace(predictions, table=table)


def _twice(predictions: Predictions, rows: list[int]) -> Predictions:
    order = [*range(len(predictions.table)), *rows]
    return replace(
        predictions, table=predictions.table.iloc[order].reset_index(drop=True), heatmaps=predictions.heatmaps[order]
    )


def _in_photos(predictions: Predictions) -> Predictions:
    header = predictions.header.model_copy(update={"frame": "photo"})
    return replace(predictions, header=header, table=predictions.table.assign(gaze_x=0.5, gaze_y=0.5))


SEVEN = [10, 20, 30, 40, 50, 60, 70]


def _more(start: int) -> list[int]:
    return [start + row for row in SEVEN]


# code -> (how it is planted, rows it concerns; None: a fault of the header)
PLANTED: dict[str, tuple[Callable[[Predictions], Predictions], list[int] | None]] = {
    "dataset-name": (lambda p: _rekey(p, name="other {dataset}"), None),
    "dataset-version": (lambda p: _rekey(p, version="9.9.9"), None),
    "dataset-digest": (lambda p: _rekey(p, digest="c" * 64), None),
    "frame": (lambda p: _in_photos(p), None),
    "split": (lambda p: replace(p, header=p.header.model_copy(update={"split": "val"})), None),
    "heatmap-shape": (
        lambda p: replace(
            p, header=p.header.model_copy(update={"heatmap_shape": (8, 4)}), heatmaps=p.heatmaps.transpose(0, 2, 1)
        ),
        None,
    ),
    "not-finite": (lambda p: _value(p, _more(1), "gaze_lat_deg", np.inf), _more(1)),
    "longitude-range": (lambda p: _value(p, _more(2), "gaze_lon_deg", 180.0001), _more(2)),
    "latitude-range": (lambda p: _value(p, _more(3), "gaze_lat_deg", -90.0001), _more(3)),
    "in-frame-score": (lambda p: _value(p, _more(4), "in_frame_score", np.nan), _more(4)),
    "heatmap-not-finite": (lambda p: _cells(p, _more(5), np.nan), _more(5)),
    "heatmap-negative": (lambda p: _cells(p, _more(6), -1.0), _more(6)),
    "heatmap-constant": (lambda p: _cells(p, _more(7), 0.0, whole=True), _more(7)),
    "duplicate-id": (lambda p: _twice(p, SEVEN), SEVEN),
    "missing-id": (lambda p: _without(p, [100, 101, 102, 103, 104, 105, 106]), [100, 101, 102, 103, 104, 105, 106]),
}


def test_every_rule_is_planted_and_documented() -> None:
    assert {*PLANTED, "unknown-id", "photo-range"} == set(RULES)  # the last is planted in tests/test_photo_frame.py
    documented = set(re.findall(r"`([a-z-]+)`", DOCS.read_text(encoding="utf-8")))
    assert set(RULES) <= documented


def test_what_is_right_has_no_faults(fake: Dataset) -> None:
    assert check_predictions(valid(fake), fake, "test") == []
    assert check_predictions(valid(fake, heatmaps=False), fake, "test") == []


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_fault_is_the_one_reported(fake: Dataset, code: str) -> None:
    plant, rows = PLANTED[code]
    right = valid(fake)
    (fault,) = check_predictions(plant(right), fake, "test")
    assert fault.code == code
    if rows is None:
        assert (fault.count, fault.ids) == (1, [])
    else:
        assert fault.count == 7
        assert fault.ids == list(right.table["sample_id"].iloc[rows[:5]])
        assert "and 2 more" in str(fault)
    assert fault.expected in str(fault)
    assert fault.remedy in str(fault)


def test_an_unknown_id_is_also_a_missing_one(fake: Dataset) -> None:
    of_train = fake.select(split="train").annotations["sample_id"].iloc[0]
    missing, unknown = check_predictions(_renamed(valid(fake), [5, 6], [of_train, "stranger"]), fake, "test")
    assert (missing.code, missing.count) == ("missing-id", 2)
    assert missing.ids == list(valid(fake).table["sample_id"].iloc[[5, 6]])
    assert (unknown.code, unknown.count, unknown.ids) == ("unknown-id", 2, [of_train, "stranger"])


def test_all_faults_at_once_are_all_reported(fake: Dataset, tmp_path: Path) -> None:
    wrong = valid(fake)
    together = {code: plant for code, (plant, _) in PLANTED.items() if code != "frame"}  # of another frame are other columns
    for plant in together.values():
        wrong = plant(wrong)
    wrong = _renamed(wrong, [0], ["stranger"])
    faults = check_predictions(wrong, fake, "test")
    assert [fault.code for fault in faults] == [code for code in RULES if code in together or code == "unknown-id"]
    counts = {fault.code: fault.count for fault in faults}
    assert counts["missing-id"] == 8  # seven left out, one renamed
    assert counts["duplicate-id"] == 7
    assert counts["unknown-id"] == 1
    assert counts["longitude-range"] == counts["heatmap-negative"] == counts["in-frame-score"] == 7

    path = tmp_path / "wrong.parquet"
    write_predictions(path, wrong)
    with pytest.raises(CheckFailed, match=r"15 kinds of fault") as caught:
        checked(path, fake, "test")
    assert all(f"[{fault.code}]" in str(caught.value) for fault in faults)


def test_180_is_accepted_and_more_is_not(fake: Dataset) -> None:
    right = valid(fake)
    assert not check_predictions(_value(right, [0], "gaze_lon_deg", 180.0), fake, "test")
    (fault,) = check_predictions(_value(right, [0, 1], "gaze_lon_deg", 359.5), fake, "test")
    assert fault.found == "2 with gaze_lon_deg from 359.5 to 359.5"
    assert "Subtract 360" in fault.remedy


def test_a_suite_needs_its_own_people_and_accepts_those_of_others(fake: Dataset) -> None:
    everybody = valid(fake)
    mixed = set(fake.select(split="test", suite="mixed").annotations["sample_id"])
    others = [index for index, name in enumerate(everybody.table["sample_id"]) if name not in mixed]
    assert not check_predictions(everybody, fake, "test", "mixed")
    assert not check_predictions(_without(everybody, others), fake, "test", "mixed")
    (fault,) = check_predictions(_without(everybody, others), fake, "test")
    assert (fault.code, fault.count) == ("missing-id", len(others))


def test_checked_aligns_by_id(fake: Dataset, tmp_path: Path) -> None:
    right = valid(fake)
    order = np.random.default_rng(3).permutation(len(right.table))
    write_predictions(
        tmp_path / "p.parquet",
        replace(right, table=right.table.iloc[order].reset_index(drop=True), heatmaps=right.heatmaps[order]),
    )
    found = checked(tmp_path / "p.parquet", fake, "test")
    pd.testing.assert_frame_equal(found.predictions.table, right.table)
    np.testing.assert_array_equal(found.predictions.heatmaps, right.heatmaps)
    assert list(found.data.annotations["sample_id"]) == list(right.table["sample_id"])


def test_unknown_split_is_bad_input(fake: Dataset, tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", valid(fake))
    with pytest.raises(InputError, match=r"split 'tset'.*Did you mean 'test'"):
        check_file(tmp_path / "p.parquet", fake, "tset")


def _run(*words: Any) -> Any:
    return CliRunner().invoke(submission, [str(word) for word in words], catch_exceptions=True)


def test_command_says_all_and_exits_with_0_1_2(fake: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, valid(fake))
    right = _run("check", path, "--data", fake.root, "--split", "test", "--json")
    assert right.exit_code == 0
    assert json.loads(right.stdout)["valid"] is True

    write_predictions(path, PLANTED["longitude-range"][0](PLANTED["duplicate-id"][0](valid(fake))))
    wrong = _run("check", path, "--data", fake.root, "--split", "test")
    assert wrong.exit_code == 1
    assert "2 kinds of fault" in wrong.stdout
    assert "[duplicate-id]" in wrong.stdout
    assert "[longitude-range]" in wrong.stdout
    report = json.loads(_run("check", path, "--data", fake.root, "--split", "test", "--json").stdout)
    assert [fault["code"] for fault in report["faults"]] == ["duplicate-id", "longitude-range"]
    assert report["rows"] == 187
    assert report["expected_people"] == 180

    path.write_bytes(b"PAR1 not really")
    unreadable = _run("check", path, "--data", fake.root, "--split", "test")
    assert isinstance(unreadable.exception, InputError)
    assert unreadable.exception.exit_code == 2


def test_the_worked_example_of_the_docs_is_valid(fake: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "srgaze360 import" not in code
    assert "import srgaze360" not in code
    assert len([line for line in code.splitlines() if line and not line.startswith(("import", "from"))]) <= 20
    (tmp_path / "mydata").symlink_to(fake.root)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(DOCS), "exec"), {})  # noqa: S102 - the very text that people copy
    report = check_file(Path("predictions.parquet"), fake, "test")
    assert report.valid
    assert report.rows == 180
    assert report.notes == ["No in-frame scores: in-frame average precision stays blank."]
    read = read_predictions(Path("predictions.parquet"))
    assert read.header.dataset == DatasetKey(name="fake", version="1.0.0", digest="a" * 64)
    # its heatmaps peak in the cell of its points
    row, column = np.unravel_index(read.heatmaps[7].argmax(), (64, 128))
    assert abs(90.0 - (row + 0.5) * 180 / 64 - read.table["gaze_lat_deg"][7]) <= 90 / 64
    assert abs((column + 0.5) * 360 / 128 - 180.0 - read.table["gaze_lon_deg"][7]) <= 180 / 128
