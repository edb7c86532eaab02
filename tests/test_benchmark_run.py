"""Benchmarks: what is done is skipped, a change redoes what depends on it, and a kill spoils nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmarking import (
    ALL,
    ORACLE,
    PREDICT,
    ROWS,
    SCORE,
    PlugIn,
    config_at,
    left_to_do,
    make_plan,
    record_of,
    run_steps,
    write_config,
)
from building import run_command

from leaderboard.records import read_record
from srgaze360.cli.benchmark.state import Ledger, discard
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.predictors import read_run

pytestmark = pytest.mark.usefixtures("no_plots")  # they have tests of their own, and take longer than all the rest


def outcome(out: Path) -> dict[str, Any]:
    """What two equal benchmarks share: the contents of their records, and the board."""
    records = {path.name: read_record(path).content_digest for path in sorted((out / "results").rglob("[!.]*.json"))}
    board = out / "board" / "spherical"
    return {"records": records, **{name: (board / name).read_bytes() for name in ("board.csv", "comparison.json")}}


# --- a whole benchmark ------------------------------------------------------------------------------------------------


def test_a_benchmark_leaves_a_record_for_every_number(finished_benchmark: Path) -> None:
    out = finished_benchmark / "out"
    record = record_of(out)
    assert set(record.steps) == ALL
    assert all(step.finished and step.seconds is not None and step.versions for step in record.steps.values())
    assert record.trials == 3
    data = Dataset.open(out / "dataset")
    table = pd.read_csv(out / "board" / "spherical" / "board.csv")
    for row in ROWS:
        result = read_record(out / "results" / "spherical" / f"{row}.json")
        assert (result.predictor.name, result.predictor.seed) == (row[:-6], int(row[-1]))
        assert result.dataset.digest == data.info.label_digest
        assert result.resamples == 100
        assert record.steps[f"score/spherical/{row}"].product == result.content_digest
        assert (
            record.steps[f"score/spherical/{row}"].facts["angular_distance_deg"]
            == result.overall.metrics["angular_distance_deg"].value
        )
        assert record.steps[f"predict/{row}"].product == result.predictions_digest
        assert record.steps[f"predict/{row}"].facts["people_per_second"] > 0
    assert set(table["predictor"]) == {"head-prior", "random", "human"}
    assert data.info.name == "mixed-custom"


def test_every_look_at_the_test_split_is_logged(finished_benchmark: Path) -> None:
    record = record_of(finished_benchmark / "out")
    assert record.looks() == {"head-prior": 1, "random": 2}
    runs = {(run.row, run.seed): run.run for run in record.test_runs}
    assert runs == {
        ("head-prior", 0): record.steps["train/head-prior-seed0"].product, ("random", 0): None, ("random", 1): None,
    }  # fmt: skip
    assert all(run.split == "test" and run.when for run in record.test_runs)


def test_a_finished_benchmark_does_nothing(finished_benchmark: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished_benchmark / "out").rglob("*")}
    bench = run_steps(finished_benchmark / "small.yaml", finished_benchmark / "out")
    assert not left_to_do(bench.plan)
    assert {path: path.stat().st_mtime_ns for path in (finished_benchmark / "out").rglob("*")} == before


# --- digests tell what is redone --------------------------------------------------------------------------------------


def test_rows_trained_on_bands_make_a_matrix(finished_benchmark: Path, copied_benchmark: Path, tmp_path: Path) -> None:
    methods = [
        "head-prior",
        {"name": "head-prior", "label": "low", "train_on": {"head_latitude": "0-30"}},
        {"name": "head-prior", "label": "high", "train_on": {"head_latitude": ["30-60", "60-90"]}},
    ]
    config = config_at(tmp_path, finished_benchmark, methods=methods)
    bench = run_steps(config, copied_benchmark)
    assert not bench.failures
    assert not left_to_do(make_plan(config, copied_benchmark))
    runs = {label: read_run(copied_benchmark / "runs" / f"{label}-seed0") for label in ("head-prior", "low", "high")}
    assert [run.where for run in runs.values()] == [
        {}, {"head_latitude": ["0-30 deg"]}, {"head_latitude": ["30-60 deg", "60-90 deg"]},
    ]  # fmt: skip
    assert runs["low"].people + runs["high"].people == runs["head-prior"].people
    content = json.loads((copied_benchmark / "board" / "spherical" / "board.json").read_text())
    (matrix,) = [table for table in content["tables"] if table["key"].startswith("bands")]
    assert matrix["title"] == "Trained on one band, tested on all: head-prior, absolute latitude of the head"
    assert {cell["predictor"] for cell in matrix["cells"]} == {"low", "high", "head-prior"}
    # another band trains, predicts and scores that row again, and the row of everybody not
    methods[1]["train_on"] = {"head_latitude": "30-60"}  # type: ignore[index]
    assert left_to_do(make_plan(config_at(tmp_path, finished_benchmark, methods=methods), copied_benchmark)) == {
        "train/low-seed0", "predict/low-seed0", "score/spherical/low-seed0", "board/spherical",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "settings", "redone"),
    [
        ({}, (), set()),
        ({"title": "Another"}, (), set()),
        ({"device": "cpu"}, (), set()),
        ({"budget": {"steps": 9, "trials": 3}}, (), set()),  # nothing here is trained in steps
        ({"methods": ["random"]}, (), {"board/spherical"}),
        ({"resamples": 200}, (), {*SCORE, "score/spherical/human", "board/spherical"}),
        ({"human": False}, (), {"board/spherical"}),
        (
            {"methods": ["head-prior", {"name": "random", "seeds": [0, 2]}]},
            (),
            {"predict/random-seed2", "score/spherical/random-seed2", "board/spherical"},
        ),
        (
            {"methods": [{"name": "head-prior", "seeds": [5]}, {"name": "random", "seeds": [0, 1]}]},
            (),
            {"train/head-prior-seed5", "predict/head-prior-seed5", "score/spherical/head-prior-seed5", "board/spherical"},
        ),
        (
            {"methods": [{"name": "head-prior", "note": "as it is"}, {"name": "random", "seeds": [0, 1]}]},
            (),
            {"score/spherical/head-prior-seed0", "board/spherical"},
        ),
        ({"test": {"split": "val", "seed": 360}}, (), {*PREDICT, *SCORE, "score/spherical/human", "board/spherical"}),
        ({}, ("dataset.limit=4",), ALL),
        ({"test": {"seed": 1}}, ("dataset.set=[seed=1]",), ALL),
    ],
)
def test_a_change_redoes_what_depends_on_it(
    changes: dict[str, Any], settings: tuple[str, ...], redone: set[str], finished_benchmark: Path, tmp_path: Path
) -> None:
    plan = make_plan(config_at(tmp_path, finished_benchmark, **changes), finished_benchmark / "out", *settings)
    assert left_to_do(plan) == redone


def test_settings_redo_the_learnt_row_they_belong_to(
    finished_benchmark: Path, copied_benchmark: Path, tmp_path: Path, plug_in: PlugIn
) -> None:
    plug_in.add("oracle", ORACLE, "Oracle")
    methods = ["oracle", {"name": "oracle", "label": "wide", "size": "large"}, "head-prior"]
    run_steps(config_at(tmp_path, finished_benchmark, methods=methods), copied_benchmark)
    settings = read_run(copied_benchmark / "runs" / "wide-seed0").settings
    assert settings == {"size": "large", "train": {"steps": 7, "panoramas": 16}}
    state = json.loads((copied_benchmark / "runs" / "oracle-seed0" / "state.json").read_text())
    assert state == {
        "settings": {**settings, "size": "tiny"}, "seed": 0, "device": "auto", "cache": str(copied_benchmark / "cache"),
    }  # fmt: skip

    def redone(row: str) -> set[str]:
        return {f"train/{row}-seed0", f"predict/{row}-seed0", f"score/spherical/{row}-seed0"}

    methods[1]["settings"] = {"model": {"width": 32}}  # type: ignore[index]
    assert left_to_do(make_plan(config_at(tmp_path, finished_benchmark, methods=methods), copied_benchmark)) == {
        *redone("wide"),
        "board/spherical",
    }
    plan = make_plan(
        config_at(tmp_path, finished_benchmark, methods=methods[::2], budget={"steps": 8, "trials": 3}), copied_benchmark
    )
    assert left_to_do(plan) == {*redone("oracle"), "board/spherical"}
    assert plan.status(plan.steps[1]).why == "changed: settings"
    plan = make_plan(
        config_at(tmp_path, finished_benchmark, methods=methods[::2], budget={"steps": 7, "trials": 4}), copied_benchmark
    )
    assert left_to_do(plan) == {"score/spherical/oracle-seed0", "board/spherical"}  # its card says the trials


def test_what_is_lost_is_made_again_and_no_more(finished_benchmark: Path, copied_benchmark: Path) -> None:
    (copied_benchmark / "predictions" / "random-seed0.parquet").unlink()
    plan = make_plan(finished_benchmark / "small.yaml", copied_benchmark)
    step = next(step for step in plan.steps if step.name == "predict/random-seed0")
    assert plan.status(step).why == "lost or changed: predictions/random-seed0.parquet"
    bench = run_steps(finished_benchmark / "small.yaml", copied_benchmark)
    assert not left_to_do(bench.plan)
    before, after = record_of(finished_benchmark / "out"), record_of(copied_benchmark)
    assert [name for name in ALL if before.steps[name] != after.steps[name]] == ["predict/random-seed0"]
    assert after.looks() == {"head-prior": 1, "random": 3}
    assert outcome(copied_benchmark) == outcome(finished_benchmark / "out")


def test_weights_that_are_lost_are_trained_again(finished_benchmark: Path, copied_benchmark: Path) -> None:
    lost = next(path for path in (copied_benchmark / "runs" / "head-prior-seed0").iterdir() if path.name != "run.json")
    lost.unlink()
    bench = run_steps(finished_benchmark / "small.yaml", copied_benchmark)
    assert lost.is_file()
    assert not bench.failures
    assert not left_to_do(bench.plan)
    assert outcome(copied_benchmark) == outcome(finished_benchmark / "out")


def test_a_dataset_that_was_changed_is_an_error_and_stays(finished_benchmark: Path, copied_benchmark: Path) -> None:
    table = copied_benchmark / "dataset" / "annotations.parquet"
    table.write_bytes(table.read_bytes() + b"x")
    for _ in range(2):
        with pytest.raises(InputError, match=r"as it was built, found that .*annotations.parquet.* lost or was changed"):
            run_steps(finished_benchmark / "small.yaml", copied_benchmark)
    assert table.is_file()
    shutil.rmtree(copied_benchmark / "dataset")  # as it says
    assert not run_steps(finished_benchmark / "small.yaml", copied_benchmark).failures
    assert outcome(copied_benchmark) == outcome(finished_benchmark / "out")


def test_a_mistyped_source_costs_no_dataset(finished_benchmark: Path, copied_benchmark: Path, tmp_path: Path) -> None:
    for place in ("typo", "typo2"):  # a folder without that source
        (tmp_path / place).mkdir()
        with pytest.raises(InputError, match="gazefollow"):
            run_steps(write_config(tmp_path / place), copied_benchmark)
        assert Dataset.open(copied_benchmark / "dataset").splits
    assert not run_steps(finished_benchmark / "small.yaml", copied_benchmark).failures
    assert outcome(copied_benchmark) == outcome(finished_benchmark / "out")


def test_a_dataset_that_was_put_there_is_not_removed(finished_benchmark: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished_benchmark / "out" / "dataset", out / "dataset")
    assert not run_steps(finished_benchmark / "small.yaml", out, last="build").failures
    config = config_at(tmp_path, finished_benchmark, test={"seed": 1})
    settings = ("dataset.set=[output.width=64, suites.mixed.draw.background=black, val_share=0.3, seed=1]",)
    with pytest.raises(InputError, match="dataset"):
        run_steps(config, out, *settings)
    assert Dataset.open(out / "dataset").info.seed == 360


def test_another_recipe_replaces_the_dataset_and_what_came_of_it(
    finished_benchmark: Path, copied_benchmark: Path, tmp_path: Path
) -> None:
    config = config_at(tmp_path, finished_benchmark, test={"seed": 1})
    settings = ("dataset.set=[output.width=64, suites.mixed.draw.background=black, val_share=0.3, seed=1]",)
    bench = run_steps(config, copied_benchmark, *settings)
    assert not bench.failures
    assert not left_to_do(bench.plan)
    assert Dataset.open(copied_benchmark / "dataset").info.seed == 1
    old, new = (read_run(out / "runs" / "head-prior-seed0") for out in (finished_benchmark / "out", copied_benchmark))
    assert old.dataset.digest != new.dataset.digest == Dataset.open(copied_benchmark / "dataset").info.label_digest


# --- killed -----------------------------------------------------------------------------------------------------------


def finished(out: Path) -> int:
    """How many steps a benchmark that is at work has finished."""
    try:
        return sum(step["finished"] is not None for step in json.loads((out / "benchmark.json").read_text())["steps"].values())
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("kills", [(4,), pytest.param((0, 0, 1, 2, 5, 7, 9), marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_the_same(kills: tuple[int, ...], finished_benchmark: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(len(kills))
    out = tmp_path / "out"
    words = [
        sys.executable,
        "-m",
        "srgaze360",
        "benchmark",
        str(finished_benchmark / "small.yaml"),
        "--out",
        str(out),
        "--workers",
        "1",
    ]
    for steps in kills:  # so many steps are finished at least when it is killed, a moment later
        process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while (finished(out) < steps or not (out / "benchmark.json").exists()) and process.poll() is None:
            assert time.monotonic() < deadline, "the benchmark makes no progress"
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.3))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    last = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert {step["state"] for step in json.loads(last.stdout)["steps"]} == {"done"}
    assert outcome(out) == outcome(finished_benchmark / "out")
    assert not [path for path in (out / "board").iterdir() if path.name.startswith(".")]


class Killed(BaseException):
    """What ends a process at once."""


@pytest.mark.parametrize("stage", ["train", "score"])
def test_stopped_between_a_product_and_its_record(
    stage: str, finished_benchmark: Path, copied_benchmark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Ledger, name: str, *rest: Any) -> None:
        if name.startswith(stage):
            raise Killed
        real(self, name, *rest)

    real = Ledger.finish
    shutil.rmtree(copied_benchmark / "runs")
    for folder in ("predictions", "results", "board"):
        discard(copied_benchmark / folder)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish", killed)
        with pytest.raises(Killed):
            run_steps(finished_benchmark / "small.yaml", copied_benchmark)
    assert not run_steps(finished_benchmark / "small.yaml", copied_benchmark).failures
    assert outcome(copied_benchmark) == outcome(finished_benchmark / "out")


def test_a_run_of_other_settings_is_no_beginning(
    finished_benchmark: Path, copied_benchmark: Path, tmp_path: Path, plug_in: PlugIn
) -> None:
    """Stopped after the old run was removed, or begun under other versions: the training starts afresh."""
    plug_in.add("oracle", ORACLE, "Oracle")
    config = config_at(tmp_path, finished_benchmark, methods=["oracle", "head-prior"])
    run_steps(config, copied_benchmark, last="train")
    run = copied_benchmark / "runs" / "oracle-seed0"
    stopped = read_run(run).model_copy(update={"versions": {"numpy": "0.1"}, "facts": {}})
    (run / "run.json").rename(run / "started.json")
    (run / "started.json").write_text(stopped.model_dump_json())
    (run / "half").write_text("of another")
    bench = run_steps(config, copied_benchmark)
    assert not bench.failures
    assert not (run / "half").exists()
    assert read_run(run).versions != stopped.versions


def test_what_a_kill_leaves_of_the_very_first_files_is_no_obstacle(
    finished_benchmark: Path, copied_benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".benchmark.77.tmp.json").write_text("{")
    words = ("benchmark", str(finished_benchmark / "small.yaml"))
    assert run_command(capsys, *words, "--out", str(tmp_path / "new"), "--dry-run").code == 0
    shutil.rmtree(copied_benchmark / "runs" / "head-prior-seed0")
    (copied_benchmark / "runs" / "head-prior-seed0").mkdir()
    (copied_benchmark / "runs" / "head-prior-seed0" / ".started.77.tmp.json").write_text("{")
    assert run_command(capsys, *words, "--out", str(copied_benchmark)).code == 0
    assert outcome(copied_benchmark) == outcome(finished_benchmark / "out")
