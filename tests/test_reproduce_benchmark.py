"""`srgaze360 reproduce procedural-benchmark`: a run of one's own beside the published records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from building import run_command

from leaderboard.records import ScoreRecord
from srgaze360.cli.reproduce_benchmark import compare_results, read_results
from srgaze360.errors import InputError

PUBLISHED = Path(__file__).parent.parent / "docs" / "results" / "procedural"


@pytest.fixture(scope="module")
def published() -> list[ScoreRecord]:
    return read_results(PUBLISHED)


def moved(record: ScoreRecord, by: float, digest: str = "") -> ScoreRecord:
    metrics = dict(record.overall.metrics)
    primary = metrics["angular_distance_deg"]
    metrics["angular_distance_deg"] = primary.model_copy(update={"value": primary.value + by})
    key = record.dataset.model_copy(update={"digest": digest or record.dataset.digest})
    return record.model_copy(update={"overall": record.overall.model_copy(update={"metrics": metrics}), "dataset": key})


def test_published_records_reproduce_themselves(published: list[ScoreRecord]) -> None:
    rows, sd = compare_results(published, published)
    assert {row.reproduced for row in rows} == {"yes"}
    assert [row.published for row in rows] == sorted(row.published for row in rows)
    assert 0.0 < sd < 1.0
    assert {row.predictor: row.seeds for row in rows}["mmrgaze360"] == 3


def test_what_learns_may_differ_by_the_spread_of_its_seeds_and_what_counts_may_not(published: list[ScoreRecord]) -> None:
    _, sd = compare_results(published, published)
    names = {record.predictor.name for record in published}
    error = {name: (2.0 / sum(record.predictor.name == name for record in published)) ** 0.5 * sd for name in names}
    for times, learnt in ((1.9, "within seeds"), (2.1, "no")):
        own = [moved(record, times * error[record.predictor.name] + 0.0001) for record in published]
        verdicts = {row.predictor: row.reproduced for row in compare_results(published, own)[0]}
        assert verdicts["mmrgaze360"] == verdicts["lian2018"] == learnt
        assert verdicts["head-prior"] == verdicts["random"] == verdicts["human"] == "no"


def test_methods_that_were_not_run_are_said(published: list[ScoreRecord]) -> None:
    own = [record for record in published if record.predictor.name != "saliency"]
    rows = {row.predictor: row for row in compare_results(published, own)[0]}
    assert (rows["saliency"].own, rows["saliency"].reproduced) == (None, "not run")


def test_another_dataset_is_no_reproduction(published: list[ScoreRecord]) -> None:
    with pytest.raises(InputError, match=r"one dataset, split, suite and protocol, found 2: .*Build the dataset"):
        compare_results(published, [moved(record, 0.0, "f" * 64) for record in published])


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "run" / "results" / "spherical"
    shutil.copytree(PUBLISHED / "records", results)
    words = ("reproduce", "procedural-benchmark", "--results", str(tmp_path / "run"), "--published", str(PUBLISHED))
    ran = run_command(capsys, *words)
    assert ran.code == 0, ran.err
    assert "Standard deviation over seeds, pooled:" in ran.out
    path = next(path for path in results.glob("head-prior*.json"))
    path.write_text(moved(ScoreRecord.model_validate_json(path.read_text()), 1.0).model_dump_json())
    ran = run_command(capsys, *words, "--json")
    assert ran.code == 1
    rows = {row["predictor"]: row["reproduced"] for row in json.loads(ran.out)["rows"]}
    assert rows["head-prior"] == "no"
    assert rows["mmrgaze360"] == "yes"
    ran = run_command(capsys, *words[:3], str(tmp_path), *words[4:])
    assert ran.code == 2
    assert "Expected score records (.json)" in ran.err
    ran = run_command(capsys, "reproduce", "procedural-benchmark")
    assert ran.code == 2
    assert "Expected --results for procedural-benchmark" in ran.err
