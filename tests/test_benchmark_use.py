"""Benchmarks in use: methods that fail or have no number, and the command with its wrong uses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from benchmarking import (
    ALL,
    FAILING,
    ORACLE,
    PlugIn,
    config_at,
    record_of,
    run_steps,
)
from building import run_command

from leaderboard.records import samples_path
from srgaze360.cli.benchmark.config import load_config
from srgaze360.cli.benchmark.plan import lacking
from srgaze360.cli.benchmark.state import Ledger, discard, locked
from srgaze360.errors import InputError
from srgaze360.predictors import PREDICTORS

pytestmark = pytest.mark.usefixtures("no_plots")  # they have tests of their own, and take longer than all the rest


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "error"), [("train", "ZeroDivisionError: the loss is not a number"), ("predict", "MemoryError: out of memory")]
)
def test_a_method_that_fails_does_not_stop_the_others(
    stage: str,
    error: str,
    finished_benchmark: Path,
    copied_benchmark: Path,
    tmp_path: Path,
    plug_in: PlugIn,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plug_in.add("failing", FAILING, "Failing")
    (tmp_path / "fails").write_text(stage)
    config = config_at(tmp_path, finished_benchmark, methods=["failing", "centre", "head-prior"])
    ran = run_command(capsys, "benchmark", str(config), "--out", str(copied_benchmark))
    assert ran.code == 1
    assert f"1 of 11 steps failed, the others are done: {stage}/failing-seed0: {error}" in ran.err.replace("\n", " ")
    table = pd.read_csv(copied_benchmark / "board" / "spherical" / "board.csv")
    assert set(table["predictor"]) == {"centre", "head-prior", "human"}
    record = record_of(copied_benchmark)
    assert record.steps[f"{stage}/failing-seed0"].error == error
    assert record.looks()["failing"] == 1 if stage == "predict" else "failing" not in record.looks()
    (tmp_path / "fails").write_text("")
    assert run_command(capsys, "benchmark", str(config), "--out", str(copied_benchmark)).code == 0
    assert "failing" in set(pd.read_csv(copied_benchmark / "board" / "spherical" / "board.csv")["predictor"])
    assert record_of(copied_benchmark).steps[f"{stage}/failing-seed0"].attempts == 2


def test_a_method_without_its_weights_has_no_number(
    finished_benchmark: Path, copied_benchmark: Path, tmp_path: Path, plug_in: PlugIn
) -> None:
    plug_in.add("oracle", ORACLE.replace("sizes =", "needs = 'pretrained weights'\n    sizes ="), "Oracle")
    bench = run_steps(config_at(tmp_path, finished_benchmark, methods=["oracle", "head-prior"]), copied_benchmark)
    assert not bench.failures
    assert not [name for name in record_of(copied_benchmark).steps if "oracle" in name]
    board = (copied_benchmark / "board" / "spherical" / "board.md").read_text()
    assert "needs pretrained weights" in board
    assert "oracle" not in set(pd.read_csv(copied_benchmark / "board" / "spherical" / "board.csv").dropna()["predictor"])


@pytest.mark.parametrize(
    ("backbone", "lacks"),
    [
        ("random:dinov2-tiny", "pretrained DINOv2 weights: those of random:dinov2-tiny are fresh"),
        ("hub:nobody/nothing", ""),  # asked for by name: it is the user's to have it
        ("local:weights", ""),
    ],
)
def test_what_a_method_lacks_is_said_in_words(tmp_path: Path, finished_benchmark: Path, backbone: str, lacks: str) -> None:
    method = {"name": "gazelle", "settings": {"model": {"backbone": backbone}}}
    config = load_config(str(config_at(tmp_path, finished_benchmark, methods=[method])))
    assert lacking(config, config.methods[0], PREDICTORS.get("gazelle")) == lacks


def test_rows_that_give_points_have_no_number_under_a_protocol_of_heatmaps(
    finished_benchmark: Path, copied_benchmark: Path, tmp_path: Path, plug_in: PlugIn
) -> None:
    plug_in.add("oracle", ORACLE, "Oracle")
    bench = run_steps(
        config_at(tmp_path, finished_benchmark, protocols=["gazefollow360"], methods=["oracle", "head-prior"]), copied_benchmark
    )
    assert not bench.failures
    states = {step.name: bench.plan.status(step).state for step in bench.plan.steps}
    assert states["score/gazefollow360/oracle-seed0"] == "no number"
    assert states["score/gazefollow360/head-prior-seed0"] == "done"
    assert "score/gazefollow360/human" not in states
    assert "gives no heatmaps" in (copied_benchmark / "board" / "gazefollow360" / "board.md").read_text()


def test_a_learnt_method_is_compared_with_every_trivial_one(
    finished_benchmark: Path, copied_benchmark: Path, tmp_path: Path, plug_in: PlugIn
) -> None:
    plug_in.add("oracle", ORACLE, "Oracle")
    bench = run_steps(
        config_at(tmp_path, finished_benchmark, methods=[{"name": "oracle", "seeds": [0, 1]}, "random", "head-prior"]),
        copied_benchmark,
    )
    comparisons = bench.comparisons()
    assert {(item.learnt, item.trivial, item.seeds) for item in comparisons} == {
        ("oracle", "random", 2), ("oracle", "head-prior", 2),
    }  # fmt: skip
    for item in comparisons:
        samples = pd.read_parquet(samples_path(copied_benchmark / "results" / "spherical" / f"{item.trivial}-seed0.json"))
        assert item.difference_deg == pytest.approx(-samples["angular_distance_deg"].mean(), abs=1e-4)
        assert item.verdict == "better"


# --- the command ------------------------------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(finished_benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("benchmark", str(finished_benchmark / "small.yaml"), "--dry-run")
    ran = run_command(capsys, *words, "--out", str(tmp_path / "new"))
    assert ran.code == 0
    assert ran.out.splitlines()[0].split() == ["to", "do", "build"]
    assert len(ran.out.splitlines()) == len(ALL)
    assert not (tmp_path / "new").exists()
    listed = json.loads(run_command(capsys, *words, "--out", str(finished_benchmark / "out"), "--json").out)
    assert {row["step"]: row["state"] for row in listed["steps"]} == dict.fromkeys(ALL, "done")


def test_one_row_up_to_one_stage(finished_benchmark: Path, copied_benchmark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("predictions", "results", "runs"):
        shutil.rmtree(copied_benchmark / folder)
    words = ("benchmark", str(finished_benchmark / "small.yaml"), "--out", str(copied_benchmark), "--only", "random", "--json")
    first = json.loads(run_command(capsys, *words, "--stop-after", "predict").out)
    assert [row["step"] for row in first["steps"]] == ["build", "predict/random-seed0", "predict/random-seed1"]
    assert not (copied_benchmark / "results").exists()
    second = json.loads(run_command(capsys, *words).out)
    assert set(pd.read_csv(copied_benchmark / "board" / "spherical" / "board.csv")["predictor"]) == {"random"}
    assert second["test_looks"] == {"head-prior": 1, "random": 4}
    assert not (copied_benchmark / "runs").exists()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--only", "randum"), "has no row 'randum'. Did you mean 'random'?"),
        (("--stop-after", "prdict"), "Unknown --stop-after 'prdict'. Did you mean 'predict'?"),
        (("--set", "dataset.sources={gazefollow: null}"), "found none for gazefollow. Add --source gazefollow=DIR"),
        (("--source", "gazefollow"), "Expected --source KIND=DIR, found 'gazefollow'"),
    ],
)
def test_wrong_use(
    words: tuple[str, ...], match: str, finished_benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run_command(capsys, "benchmark", str(finished_benchmark / "small.yaml"), "--out", str(tmp_path / "new"), *words)
    assert ran.code == 2
    assert match in ran.err.replace("\n", " ")


def test_other_folders_are_left_alone(finished_benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    ran = run_command(capsys, "benchmark", str(finished_benchmark / "small.yaml"), "--out", str(tmp_path))
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


def test_a_dataset_that_is_there_is_taken(finished_benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As built by somebody else, on a cluster: nothing of it is made again."""
    shutil.copytree(finished_benchmark / "out" / "dataset", tmp_path / "new" / "dataset")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "new").rglob("panoramas/**/*.jpg")}
    assert before
    words = ("benchmark", str(finished_benchmark / "small.yaml"), "--out", str(tmp_path / "new"), "--stop-after", "build")
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
