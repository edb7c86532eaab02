"""Boards of the gazefollow360 protocol, and methods without a number."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from boards import result
from fakes import fake_dataset
from typer.testing import CliRunner

from leaderboard.board import add_notice, add_record, beside, build_board, build_boards, record_paths
from leaderboard.protocols import PROTOCOLS
from leaderboard.records import read_record, read_samples, samples_path
from leaderboard.scoring import score_file
from srgaze360.dataset import Dataset
from srgaze360.errors import CheckFailed, InputError
from srgaze360.predictions import read_predictions
from srgaze360.protocols import gazefollow360

PRIMARY = "distance_64_corner_rad"
HOSTILE = '<script>alert("x")</script> | **bold**'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A made-up dataset that bears the name of GazeFollow360."""
    made = fake_dataset(tmp_path_factory.mktemp("protocols") / "data", people=40)
    return replace(made, info=made.info.model_copy(update={"name": "GazeFollow360"}))


@pytest.fixture(scope="module")
def results(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("results")
    kinds = {"near": 0.1, "far": 1.0}
    return [result(folder, data, name, spread, heatmaps=True, protocol="gazefollow360") for name, spread in kinds.items()]


@pytest.fixture(scope="module")
def pages(results: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for path in results:
        add_record(path, folder / "board")
    add_notice(folder / "board", "gazelle", "A frozen encoder.", "Ryan et al., 2025", "needs weights")
    add_notice(folder / "board", HOSTILE, "", "", "needs <b>more</b>")
    build_board(folder / "board", folder / "out")
    return folder / "out"


# --- scoring ----------------------------------------------------------------------------------------------------------


def test_every_metric_is_in_a_table_and_looks_alike_in_all_protocols() -> None:
    seen: dict[str, tuple[str, str, str]] = {}
    for protocol in PROTOCOLS.values():
        for name, metric in protocol.metrics.items():
            look = (metric.unit, metric.better, protocol.labels[name])
            assert seen.setdefault(name, look) == look, (protocol.name, name)
    for protocol in PROTOCOLS.values():
        assert set(protocol.labels) == set(protocol.metrics)
        shown = [name for table in protocol.tables for name in table.metrics if not (table.suite and name == protocol.primary)]
        assert sorted(shown) == sorted(protocol.metrics)  # every metric in one table, the primary in that of a suite as well
        assert protocol.tables[0].metrics[0] == protocol.primary
        assert len(set(protocol.labels.values())) >= len(protocol.labels) - 1  # degrees and radians share a label


def test_scores_are_those_of_the_protocol(data: Dataset, results: list[Path]) -> None:
    record = read_record(results[1])
    assert (record.protocol, record.protocol_version) == ("gazefollow360", gazefollow360.VERSION)
    assert set(record.overall.metrics) == set(gazefollow360.METRICS)
    rows, file = data.select(split="test"), read_predictions(results[1].with_suffix(".parquet"))
    truth = rows.truth()
    sizes = np.tile([64, 128], (len(rows), 1))
    expected = gazefollow360.evaluate(
        file.directions, truth.points, truth.weights, heatmaps=file.heatmaps, image_sizes=sizes
    ).per_sample
    samples = read_samples(samples_path(results[1]), record)
    mixed = (samples["suite"] == "mixed").to_numpy()
    for name, values in expected.items():
        np.testing.assert_array_equal(samples[name], values)
        assert record.overall.metrics[name].value == pytest.approx(np.nanmean(values[mixed]))
        assert record.overall.metrics[name].low < record.overall.metrics[name].value


def test_points_alone_and_annotators_cannot_be_scored(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Expected heatmaps in .*points-None.parquet, because the gazefollow360 protocol"):
        result(tmp_path, data, "points", 0.2, protocol="gazefollow360")
    with pytest.raises(InputError, match="gazefollow360 protocol has no human row: it scores heatmaps"):
        score_file("human", data, "test", tmp_path / "human.json", protocol="gazefollow360")
    with pytest.raises(InputError, match="Unknown protocol 'gazefolow360'. Did you mean 'gazefollow360'"):
        score_file("human", data, "test", tmp_path / "human.json", protocol="gazefolow360")
    assert not list(tmp_path.glob("*.json"))


def test_command_prints_its_metrics(data: Dataset, results: list[Path], tmp_path: Path) -> None:
    from leaderboard.commands import score
    from srgaze360.dataset_writer import write_dataset

    rows = data.annotations.to_dict("records")
    write_dataset(tmp_path / "data", data.info, rows)
    app = typer.Typer()
    app.command()(score)
    words = [results[0].with_suffix(".parquet"), "--data", tmp_path / "data", "--out", tmp_path / "r.json", "--resamples", 100]
    shown = CliRunner().invoke(app, [str(word) for word in (*words, "--protocol", "gazefollow360")])
    assert shown.exit_code == 0, shown.output
    assert re.search(r"Distance, 64 × 64\s+corner", re.sub(r" {2,}.*", "", shown.stdout))
    assert f"{read_record(results[0]).overall.metrics[PRIMARY].value:.3f}" in shown.stdout
    assert "NSS" not in shown.stdout


# --- boards -----------------------------------------------------------------------------------------------------------


def test_one_board_one_protocol(data: Dataset, results: list[Path], tmp_path: Path) -> None:
    add_record(results[0], tmp_path / "board")
    other = result(tmp_path, data, "spherical", 0.3, heatmaps=True)
    with pytest.raises(CheckFailed, match="its protocol is 'spherical', the board's is 'gazefollow360'"):
        add_record(other, tmp_path / "board")
    content = json.loads(results[0].read_text())
    for group in [content["overall"], *content["suites"], *content["conditions"], *content["breakdowns"]]:
        del group["metrics"][PRIMARY]
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(content))
    samples_path(broken).write_bytes(samples_path(results[0]).read_bytes())
    with pytest.raises(CheckFailed, match="lacks the primary metric of its protocol, 'gazefollow360'"):
        add_record(broken, tmp_path / "new")


def test_pages_are_in_radians_and_rank_by_the_primary_metric(results: list[Path], pages: Path) -> None:
    text, page = (pages / "board.md").read_text(), (pages / "index.html").read_text()
    value = read_record(results[0]).overall.metrics[PRIMARY].value
    assert f"| 1 | near | **{value:.3f}** [" in text
    assert "Mean great-circle distance in radians" in text
    assert "AUC, 19 × 19 box at 64 × 64 ↑" in text
    assert "angular distance" not in text
    assert "one positive pixel" in page
    assert "mean great-circle distance (radians)" in page
    for name in ("ranking", "decoding", "conditions", "breakdowns"):
        assert f'<section id="{name}"' in page
    assert '<section id="hits"' not in page


# --- notices ----------------------------------------------------------------------------------------------------------


def test_notices_come_below_the_rows_without_number_or_rank(pages: Path) -> None:
    text, page = (pages / "board.md").read_text(), (pages / "index.html").read_text()
    ranking = text.split("## Ranking")[1].split("\n## ")[0]
    lines = [line for line in ranking.splitlines() if line.startswith("|")]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1", "| 2", "| –", "| –"]
    assert "| – | gazelle | *needs weights* |" in ranking
    assert not re.search(r"\d", next(line for line in lines if "gazelle" in line))
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert text.count("gazelle") == 1
    assert HOSTILE not in text
    assert page.count("<script") == 1  # ours
    assert "needs &lt;b&gt;more&lt;/b&gt;" in page
    assert '<tr class="notice" data-name="gazelle"' in page
    (row,) = [r for r in csv.DictReader(io.StringIO((pages / "board.csv").read_text())) if r["predictor"] == "gazelle"]
    assert {name for name, value in row.items() if value} == {"table", "predictor", "note"}
    assert row["note"] == "needs weights"


def test_a_result_takes_the_place_of_a_notice(results: list[Path], tmp_path: Path) -> None:
    board = tmp_path / "board"
    first = add_notice(board, "Near", "", "", "needs weights")
    assert add_notice(board, "near", "", "", "still needs weights") == first
    assert json.loads(first.read_text())["reason"] == "still needs weights"
    add_record(results[0], board)
    assert not first.exists()
    with pytest.raises(CheckFailed, match=r"without a result on the board .*, but 'NEAR' has near-[0-9a-f]{8}.json"):
        add_notice(board, "NEAR", "", "", "needs weights")
    with pytest.raises(CheckFailed, match="kept for the annotators"):
        add_notice(board, "human", "", "", "no annotators")
    assert len(record_paths(board)) == 1


@pytest.mark.parametrize(("name", "reason"), [("", "x"), ("x", ""), ("x" * 101, "x"), ("x", "y" * 201)])
def test_notices_that_say_nothing_or_too_much(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(InputError, match="a notice with a name and a short reason, found: (name|reason)"):
        add_notice(tmp_path / "board", name, "", "", reason)


def test_a_broken_notice_is_named_and_notices_alone_are_no_board(results: list[Path], tmp_path: Path) -> None:
    board = tmp_path / "board"
    path = add_notice(board, "../../etc", "", "", "x")
    assert path.parent == board / "notices"
    with pytest.raises(InputError, match="Expected a board with records"):
        build_board(board, tmp_path / "out")
    add_record(results[0], board)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"Expected a notice \(schema 1\) in .*json, found: name: Field required"):
        build_board(board, tmp_path / "out")


def test_boards_of_several_protocols_lead_to_each_other(data: Dataset, results: list[Path], tmp_path: Path) -> None:
    boards = {"gazefollow360": tmp_path / "theirs", "spherical": tmp_path / "ours"}
    add_record(results[0], boards["gazefollow360"])
    add_record(result(tmp_path, data, "near", 0.1), boards["spherical"])
    built = build_boards(list(boards.values()), tmp_path / "pages")
    assert [one.tables.facts["Protocol"].split()[0] for one in built] == list(boards)
    for name, other in (("gazefollow360", "spherical"), ("spherical", "gazefollow360")):
        html = (tmp_path / "pages" / name / "index.html").read_text()
        assert f'<a aria-current="page">{name}</a>' in html
        (link,) = re.findall(r'<nav.*<a href="([^"]+)">', html)
        assert (tmp_path / "pages" / name / link).resolve() == tmp_path / "pages" / other / "index.html"
    with pytest.raises(InputError, match="boards of different protocols .* found spherical, spherical"):
        build_boards([boards["spherical"], boards["spherical"]], tmp_path / "again")
    assert not (tmp_path / "again").exists()
    alone = build_boards([boards["spherical"]], tmp_path / "alone")
    assert "<nav" not in (tmp_path / "alone" / "index.html").read_text()
    assert alone[0].files[0] == tmp_path / "alone" / "index.html"


def test_links_from_folders_within_folders() -> None:
    folders = {"gazefollow": "gazefollow", "gazefollow/chong": "gazefollow/chong"}
    assert beside("gazefollow", folders) == {"gazefollow/chong": "../gazefollow/chong/index.html"}
    assert beside("gazefollow/chong", folders) == {"gazefollow": "../../gazefollow/index.html"}
