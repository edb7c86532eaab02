"""The spread of errors over the rotations of the sphere: closed forms, and that every person counts once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from boards import predictions
from fakes import fake_dataset

from leaderboard.board import add_record, build_board
from leaderboard.records import read_samples, samples_path
from leaderboard.rotations import RANGE, SD, rotation_metrics
from leaderboard.scoring import PRIMARY, score_file
from srgaze360.dataset import Dataset
from srgaze360.predictions import PredictorCard


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The suite ``latitude`` taken for ``tilt16``: its two conditions show the same people twice."""
    made = fake_dataset(tmp_path_factory.mktemp("rotations") / "data", people=60)
    rows = made.annotations.copy()
    rows.loc[rows["suite"] == "latitude", "suite"] = "tilt16"
    return replace(made, annotations=rows)


def test_spread_and_range_in_closed_form(data: Dataset) -> None:
    test = data.select(split="test")
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.0, 50.0, len(test))
    errors[np.flatnonzero((test.annotations["suite"] == "tilt16").to_numpy())[:3]] = np.nan
    found = rotation_metrics(test, errors)
    rows = test.annotations.assign(error=errors, sd=found[SD], range=found[RANGE])
    assert rows.loc[rows["suite"] != "tilt16", ["sd", "range"]].isna().all().all()
    people = 0
    for _, own in rows[rows["suite"] == "tilt16"].groupby(["source_image", "source_person"]):
        values = own["error"].dropna().to_numpy()
        told = own.dropna(subset="sd")
        if len(values) < 2:
            assert told.empty
            continue
        assert len(own) == 2
        assert len(told) == 1
        assert told["range"].item() == pytest.approx(abs(values[0] - values[1]))
        assert told["sd"].item() == pytest.approx(abs(values[0] - values[1]) / np.sqrt(2.0))
        people += 1
    assert people == 57


def test_there_is_nothing_without_the_suite(data: Dataset) -> None:
    mixed = data.select(split="test", suite="mixed")
    assert rotation_metrics(mixed, np.ones(len(mixed))) == {}


def test_score_and_board_show_it(data: Dataset, tmp_path: Path) -> None:
    for name, spread in (("steady", 0.01), ("shaky", 0.6)):
        file = predictions(tmp_path / f"{name}.parquet", data, spread, PredictorCard(name=name))
        record = score_file(file, data, "test", tmp_path / f"{name}.json", resamples=200)
        samples = read_samples(samples_path(tmp_path / f"{name}.json"), record)
        (group,) = [suite for suite in record.suites if suite.group == "tilt16"]
        assert group.metrics[SD].value == pytest.approx(samples[SD].mean())
        assert group.metrics[SD].people == samples[SD].notna().sum() == 40  # of 60, a third has no known target
        assert group.metrics[PRIMARY].people == 80
        assert record.overall.metrics[SD].value is None
        add_record(tmp_path / f"{name}.json", tmp_path / "board")
    built = build_board(tmp_path / "board", tmp_path / "pages")
    (table,) = [table for table in built.tables.tables if table.key == "rotations"]
    assert [line.label for line in table.lines] == ["steady", "shaky"]
    assert [cell.metric for cell in table.lines[0].cells] == [PRIMARY, SD, RANGE]
    assert float(table.lines[0].cells[1].value) < 2.0 < float(table.lines[1].cells[1].value)
    assert "Under rotation of the sphere" in (tmp_path / "pages" / "index.html").read_text()
