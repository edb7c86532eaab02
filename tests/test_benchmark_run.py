"""Benchmarks: what is done is skipped, a change redoes what depends on it, and neither a kill nor a failure spoils anything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmarking import FAILING, ORACLE, PlugIn, left_to_do, make_plan, record_of, run_steps, write_config, write_source
from building import run_command

from leaderboard.records import read_record, samples_path
from srgaze360.cli.benchmark.state import Ledger, discard, locked
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.predictors import read_run

ROWS = ("head-prior-seed0", "random-seed0", "random-seed1")
PREDICT = {f"predict/{row}" for row in ROWS}
SCORE = {f"score/spherical/{row}" for row in ROWS}
ALL = {"build", "train/head-prior-seed0", *PREDICT, *SCORE, "score/spherical/human", "board/spherical"}


@pytest.fixture(scope="module", autouse=True)
def _no_plots() -> Iterator[None]:
    """Boards without their plots: they have tests of their own, and take longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leaderboard.plots.save_plots", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source, a configuration and, in ``out``, its finished benchmark."""
    folder = tmp_path_factory.mktemp("benchmark")
    write_source(folder)
    bench = run_steps(write_config(folder), folder / "out")
    assert not bench.failures
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The finished benchmark, to change; the source stays where it was."""
    shutil.copytree(made / "out", tmp_path / "out")
    return tmp_path / "out"


def config_at(folder: Path, made: Path, **changes: Any) -> Path:
    path = write_config(folder, **changes)
    path.write_text(path.read_text().replace(str(folder / "gf"), str(made / "gf")))
    return path


def outcome(out: Path) -> dict[str, Any]:
    """What two equal benchmarks share: the contents of their records, and the board."""
    records = {path.name: read_record(path).content_digest for path in sorted((out / "results").rglob("[!.]*.json"))}
    board = out / "board" / "spherical"
    return {"records": records, **{name: (board / name).read_bytes() for name in ("board.csv", "comparison.json")}}


# --- a whole benchmark ------------------------------------------------------------------------------------------------


def test_a_benchmark_leaves_a_record_for_every_number(made: Path) -> None:
    out = made / "out"
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


def test_every_look_at_the_test_split_is_logged(made: Path) -> None:
    record = record_of(made / "out")
    assert record.looks() == {"head-prior": 1, "random": 2}
    runs = {(run.row, run.seed): run.run for run in record.test_runs}
    assert runs == {
        ("head-prior", 0): record.steps["train/head-prior-seed0"].product, ("random", 0): None, ("random", 1): None,
    }  # fmt: skip
    assert all(run.split == "test" and run.when for run in record.test_runs)


def test_a_finished_benchmark_does_nothing(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (made / "out").rglob("*")}
    bench = run_steps(made / "small.yaml", made / "out")
    assert not left_to_do(bench.plan)
    assert {path: path.stat().st_mtime_ns for path in (made / "out").rglob("*")} == before


# --- digests tell what is redone --------------------------------------------------------------------------------------


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
    changes: dict[str, Any], settings: tuple[str, ...], redone: set[str], made: Path, tmp_path: Path
) -> None:
    plan = make_plan(config_at(tmp_path, made, **changes), made / "out", *settings)
    assert left_to_do(plan) == redone


def test_settings_redo_the_learnt_row_they_belong_to(made: Path, copy: Path, tmp_path: Path, plug_in: PlugIn) -> None:
    plug_in.add("oracle", ORACLE, "Oracle")
    methods = ["oracle", {"name": "oracle", "label": "wide", "size": "large"}, "head-prior"]
    run_steps(config_at(tmp_path, made, methods=methods), copy)
    settings = read_run(copy / "runs" / "wide-seed0").settings
    assert settings == {"size": "large", "train": {"steps": 7, "panoramas": 16}}
    state = json.loads((copy / "runs" / "oracle-seed0" / "state.json").read_text())
    assert state == {
        "settings": {**settings, "size": "tiny"}, "seed": 0, "device": "auto", "cache": str(copy / "cache"),
    }  # fmt: skip

    def redone(row: str) -> set[str]:
        return {f"train/{row}-seed0", f"predict/{row}-seed0", f"score/spherical/{row}-seed0"}

    methods[1]["settings"] = {"model": {"width": 32}}  # type: ignore[index]
    assert left_to_do(make_plan(config_at(tmp_path, made, methods=methods), copy)) == {*redone("wide"), "board/spherical"}
    plan = make_plan(config_at(tmp_path, made, methods=methods[::2], budget={"steps": 8, "trials": 3}), copy)
    assert left_to_do(plan) == {*redone("oracle"), "board/spherical"}
    assert plan.status(plan.steps[1]).why == "changed: settings"
    plan = make_plan(config_at(tmp_path, made, methods=methods[::2], budget={"steps": 7, "trials": 4}), copy)
    assert left_to_do(plan) == {"score/spherical/oracle-seed0", "board/spherical"}  # its card says the trials


def test_what_is_lost_is_made_again_and_no_more(made: Path, copy: Path) -> None:
    (copy / "predictions" / "random-seed0.parquet").unlink()
    plan = make_plan(made / "small.yaml", copy)
    step = next(step for step in plan.steps if step.name == "predict/random-seed0")
    assert plan.status(step).why == "lost or changed: predictions/random-seed0.parquet"
    bench = run_steps(made / "small.yaml", copy)
    assert not left_to_do(bench.plan)
    before, after = record_of(made / "out"), record_of(copy)
    assert [name for name in ALL if before.steps[name] != after.steps[name]] == ["predict/random-seed0"]
    assert after.looks() == {"head-prior": 1, "random": 3}
    assert outcome(copy) == outcome(made / "out")


def test_weights_that_are_lost_are_trained_again(made: Path, copy: Path) -> None:
    lost = next(path for path in (copy / "runs" / "head-prior-seed0").iterdir() if path.name != "run.json")
    lost.unlink()
    bench = run_steps(made / "small.yaml", copy)
    assert lost.is_file()
    assert not bench.failures
    assert not left_to_do(bench.plan)
    assert outcome(copy) == outcome(made / "out")


def test_a_dataset_that_was_changed_is_an_error_and_stays(made: Path, copy: Path) -> None:
    table = copy / "dataset" / "annotations.parquet"
    table.write_bytes(table.read_bytes() + b"x")
    for _ in range(2):
        with pytest.raises(InputError, match=r"as it was built, found that .*annotations.parquet.* lost or was changed"):
            run_steps(made / "small.yaml", copy)
    assert table.is_file()
    shutil.rmtree(copy / "dataset")  # as it says
    assert not run_steps(made / "small.yaml", copy).failures
    assert outcome(copy) == outcome(made / "out")


def test_a_mistyped_source_costs_no_dataset(made: Path, copy: Path, tmp_path: Path) -> None:
    for place in ("typo", "typo2"):  # a folder without that source
        (tmp_path / place).mkdir()
        with pytest.raises(InputError, match="gazefollow"):
            run_steps(write_config(tmp_path / place), copy)
        assert Dataset.open(copy / "dataset").splits
    assert not run_steps(made / "small.yaml", copy).failures
    assert outcome(copy) == outcome(made / "out")


def test_a_dataset_that_was_put_there_is_not_removed(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(made / "out" / "dataset", out / "dataset")
    assert not run_steps(made / "small.yaml", out, last="build").failures
    config = config_at(tmp_path, made, test={"seed": 1})
    settings = ("dataset.set=[output.width=64, suites.mixed.draw.background=black, val_share=0.3, seed=1]",)
    with pytest.raises(InputError, match="dataset"):
        run_steps(config, out, *settings)
    assert Dataset.open(out / "dataset").info.seed == 360


def test_another_recipe_replaces_the_dataset_and_what_came_of_it(made: Path, copy: Path, tmp_path: Path) -> None:
    config = config_at(tmp_path, made, test={"seed": 1})
    settings = ("dataset.set=[output.width=64, suites.mixed.draw.background=black, val_share=0.3, seed=1]",)
    bench = run_steps(config, copy, *settings)
    assert not bench.failures
    assert not left_to_do(bench.plan)
    assert Dataset.open(copy / "dataset").info.seed == 1
    old, new = (read_run(out / "runs" / "head-prior-seed0") for out in (made / "out", copy))
    assert old.dataset.digest != new.dataset.digest == Dataset.open(copy / "dataset").info.label_digest


# --- killed -----------------------------------------------------------------------------------------------------------


def finished(out: Path) -> int:
    """How many steps a benchmark that is at work has finished."""
    try:
        return sum(step["finished"] is not None for step in json.loads((out / "benchmark.json").read_text())["steps"].values())
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("kills", [(4,), pytest.param((0, 0, 1, 2, 5, 7, 9), marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_the_same(kills: tuple[int, ...], made: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(len(kills))
    out = tmp_path / "out"
    words = [sys.executable, "-m", "srgaze360", "benchmark", str(made / "small.yaml"), "--out", str(out), "--workers", "1"]
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
    assert outcome(out) == outcome(made / "out")
    assert not [path for path in (out / "board").iterdir() if path.name.startswith(".")]


class Killed(BaseException):
    """What ends a process at once."""


@pytest.mark.parametrize("stage", ["train", "score"])
def test_stopped_between_a_product_and_its_record(stage: str, made: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Ledger, name: str, *rest: Any) -> None:
        if name.startswith(stage):
            raise Killed
        real(self, name, *rest)

    real = Ledger.finish
    shutil.rmtree(copy / "runs")
    for folder in ("predictions", "results", "board"):
        discard(copy / folder)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish", killed)
        with pytest.raises(Killed):
            run_steps(made / "small.yaml", copy)
    assert not run_steps(made / "small.yaml", copy).failures
    assert outcome(copy) == outcome(made / "out")


def test_a_run_of_other_settings_is_no_beginning(made: Path, copy: Path, tmp_path: Path, plug_in: PlugIn) -> None:
    """Stopped after the old run was removed, or begun under other versions: the training starts afresh."""
    plug_in.add("oracle", ORACLE, "Oracle")
    config = config_at(tmp_path, made, methods=["oracle", "head-prior"])
    run_steps(config, copy, last="train")
    run = copy / "runs" / "oracle-seed0"
    stopped = read_run(run).model_copy(update={"versions": {"numpy": "0.1"}, "facts": {}})
    (run / "run.json").rename(run / "started.json")
    (run / "started.json").write_text(stopped.model_dump_json())
    (run / "half").write_text("of another")
    bench = run_steps(config, copy)
    assert not bench.failures
    assert not (run / "half").exists()
    assert read_run(run).versions != stopped.versions


def test_what_a_kill_leaves_of_the_very_first_files_is_no_obstacle(
    made: Path, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".benchmark.77.tmp.json").write_text("{")
    words = ("benchmark", str(made / "small.yaml"))
    assert run_command(capsys, *words, "--out", str(tmp_path / "new"), "--dry-run").code == 0
    shutil.rmtree(copy / "runs" / "head-prior-seed0")
    (copy / "runs" / "head-prior-seed0").mkdir()
    (copy / "runs" / "head-prior-seed0" / ".started.77.tmp.json").write_text("{")
    assert run_command(capsys, *words, "--out", str(copy)).code == 0
    assert outcome(copy) == outcome(made / "out")


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlugIn:
    return PlugIn(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("stage", "error"), [("train", "ZeroDivisionError: the loss is not a number"), ("predict", "MemoryError: out of memory")]
)
def test_a_method_that_fails_does_not_stop_the_others(
    stage: str, error: str, made: Path, copy: Path, tmp_path: Path, plug_in: PlugIn, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_in.add("failing", FAILING, "Failing")
    (tmp_path / "fails").write_text(stage)
    config = config_at(tmp_path, made, methods=["failing", "centre", "head-prior"])
    ran = run_command(capsys, "benchmark", str(config), "--out", str(copy))
    assert ran.code == 1
    assert f"1 of 11 steps failed, the others are done: {stage}/failing-seed0: {error}" in ran.err.replace("\n", " ")
    table = pd.read_csv(copy / "board" / "spherical" / "board.csv")
    assert set(table["predictor"]) == {"centre", "head-prior", "human"}
    record = record_of(copy)
    assert record.steps[f"{stage}/failing-seed0"].error == error
    assert record.looks()["failing"] == 1 if stage == "predict" else "failing" not in record.looks()
    (tmp_path / "fails").write_text("")
    assert run_command(capsys, "benchmark", str(config), "--out", str(copy)).code == 0
    assert "failing" in set(pd.read_csv(copy / "board" / "spherical" / "board.csv")["predictor"])
    assert record_of(copy).steps[f"{stage}/failing-seed0"].attempts == 2


def test_a_method_without_its_weights_has_no_number(made: Path, copy: Path, tmp_path: Path, plug_in: PlugIn) -> None:
    plug_in.add("oracle", ORACLE.replace("sizes =", "needs = 'pretrained weights'\n    sizes ="), "Oracle")
    bench = run_steps(config_at(tmp_path, made, methods=["oracle", "head-prior"]), copy)
    assert not bench.failures
    assert not [name for name in record_of(copy).steps if "oracle" in name]
    board = (copy / "board" / "spherical" / "board.md").read_text()
    assert "needs pretrained weights" in board
    assert "oracle" not in set(pd.read_csv(copy / "board" / "spherical" / "board.csv").dropna()["predictor"])


def test_rows_that_give_points_have_no_number_under_a_protocol_of_heatmaps(
    made: Path, copy: Path, tmp_path: Path, plug_in: PlugIn
) -> None:
    plug_in.add("oracle", ORACLE, "Oracle")
    bench = run_steps(config_at(tmp_path, made, protocols=["gazefollow360"], methods=["oracle", "head-prior"]), copy)
    assert not bench.failures
    states = {step.name: bench.plan.status(step).state for step in bench.plan.steps}
    assert states["score/gazefollow360/oracle-seed0"] == "no number"
    assert states["score/gazefollow360/head-prior-seed0"] == "done"
    assert "score/gazefollow360/human" not in states
    assert "gives no heatmaps" in (copy / "board" / "gazefollow360" / "board.md").read_text()


def test_a_learnt_method_is_compared_with_every_trivial_one(made: Path, copy: Path, tmp_path: Path, plug_in: PlugIn) -> None:
    plug_in.add("oracle", ORACLE, "Oracle")
    bench = run_steps(config_at(tmp_path, made, methods=[{"name": "oracle", "seeds": [0, 1]}, "random", "head-prior"]), copy)
    comparisons = bench.comparisons()
    assert {(item.learnt, item.trivial, item.seeds) for item in comparisons} == {
        ("oracle", "random", 2), ("oracle", "head-prior", 2),
    }  # fmt: skip
    for item in comparisons:
        samples = pd.read_parquet(samples_path(copy / "results" / "spherical" / f"{item.trivial}-seed0.json"))
        assert item.difference_deg == pytest.approx(-samples["angular_distance_deg"].mean(), abs=1e-4)
        assert item.verdict == "better"


# --- the command ------------------------------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("benchmark", str(made / "small.yaml"), "--dry-run")
    ran = run_command(capsys, *words, "--out", str(tmp_path / "new"))
    assert ran.code == 0
    assert ran.out.splitlines()[0].split() == ["to", "do", "build"]
    assert len(ran.out.splitlines()) == len(ALL)
    assert not (tmp_path / "new").exists()
    listed = json.loads(run_command(capsys, *words, "--out", str(made / "out"), "--json").out)
    assert {row["step"]: row["state"] for row in listed["steps"]} == dict.fromkeys(ALL, "done")


def test_one_row_up_to_one_stage(made: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("predictions", "results", "runs"):
        shutil.rmtree(copy / folder)
    words = ("benchmark", str(made / "small.yaml"), "--out", str(copy), "--only", "random", "--json")
    first = json.loads(run_command(capsys, *words, "--stop-after", "predict").out)
    assert [row["step"] for row in first["steps"]] == ["build", "predict/random-seed0", "predict/random-seed1"]
    assert not (copy / "results").exists()
    second = json.loads(run_command(capsys, *words).out)
    assert set(pd.read_csv(copy / "board" / "spherical" / "board.csv")["predictor"]) == {"random"}
    assert second["test_looks"] == {"head-prior": 1, "random": 4}
    assert not (copy / "runs").exists()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--only", "randum"), "has no row 'randum'. Did you mean 'random'?"),
        (("--stop-after", "prdict"), "Unknown --stop-after 'prdict'. Did you mean 'predict'?"),
        (("--set", "dataset.sources={gazefollow: null}"), "found none for gazefollow. Add --source gazefollow=DIR"),
        (("--source", "gazefollow"), "Expected --source KIND=DIR, found 'gazefollow'"),
    ],
)
def test_wrong_use(words: tuple[str, ...], match: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_command(capsys, "benchmark", str(made / "small.yaml"), "--out", str(tmp_path / "new"), *words)
    assert ran.code == 2
    assert match in ran.err.replace("\n", " ")


def test_other_folders_are_left_alone(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    ran = run_command(capsys, "benchmark", str(made / "small.yaml"), "--out", str(tmp_path))
    assert ran.code == 2
    assert "or the folder of a benchmark to go on with, found there: thesis.tex" in ran.err.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "benchmark.json").write_text("{}{")
    with pytest.raises(InputError, match="record of a benchmark .* cannot be read"):
        Ledger(tmp_path / "bad")
    (tmp_path / "bad" / "benchmark.json").write_text('{"steps": 3}')
    with pytest.raises(InputError, match="Expected the record of a benchmark in .*found: steps"):
        Ledger(tmp_path / "bad")


def test_a_dataset_that_is_there_is_taken(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As built by somebody else, on a cluster: nothing of it is made again."""
    shutil.copytree(made / "out" / "dataset", tmp_path / "new" / "dataset")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "new").rglob("panoramas/**/*.jpg")}
    assert before
    words = ("benchmark", str(made / "small.yaml"), "--out", str(tmp_path / "new"), "--stop-after", "build")
    ran = run_command(capsys, *words)
    assert ran.code == 0, ran.err
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_two_benchmarks_do_not_share_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InputError, match="no other benchmark at work in .*, but one is"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_discarding_takes_all_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / ".run.old").mkdir()  # left by a kill
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("run", "link", "never-there"):
        discard(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
