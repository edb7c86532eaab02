"""Plots of many conditions: how they fall into pages, that nothing is lost or cut, and what small groups show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from boards import result
from fakes import fake_dataset

from leaderboard.arranging import board_tables
from leaderboard.board import add_record, build_board
from leaderboard.condition_plot import ACROSS, PAGE_IN, condition_plots, pages, rows_of_panels
from leaderboard.plots import save_plots, series
from leaderboard.records import Estimate, GroupScores, read_record, read_samples, samples_path
from leaderboard.seeds import Row, rows_of
from leaderboard.tables import BoardTables
from srgaze360.figures import STYLE

PRIMARY = "angular_distance_deg"


def group(suite: str, name: str, value: float | None = 12.0, people: int = 200) -> GroupScores:
    interval = (None, None) if value is None else (0.9 * value, 1.1 * value)
    found = Estimate(value=value, low=interval[0], high=interval[1], people=people, clusters=people // 2)
    return GroupScores(by="condition", suite=suite, group=name, people=people, clusters=people // 2, metrics={PRIMARY: found})


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    folder = tmp_path_factory.mktemp("rows")
    data = fake_dataset(folder / "data", people=30)
    results = [result(folder, data, name, spread) for name, spread in (("near", 0.1), ("far", 0.8), ("farther", 1.6))]
    return rows_of([(record := read_record(path), read_samples(samples_path(path), record)) for path in results])


def with_conditions(rows: list[Row], groups: list[GroupScores]) -> BoardTables:
    """A board of three predictors whose records have these conditions, the later ones with larger errors."""
    tables = board_tables(rows)
    changed = []
    for place, row in enumerate(tables.rows, start=1):
        own = [
            g if g.metrics[PRIMARY].value is None else group(g.suite, g.group, place * g.metrics[PRIMARY].value, g.people)
            for g in groups
        ]
        changed.append(replace(row, record=row.record.model_copy(update={"conditions": own})))
    return replace(tables, rows=changed)


def test_pages_keep_suites_whole_where_they_fit() -> None:
    groups = [group(suite, f"{suite}={n}") for suite, count in (("a", 5), ("b", 4), ("c", 20), ("d", 1)) for n in range(count)]
    found = pages(groups, 8)
    assert [one for page in found for one in page] == groups
    assert [[one.suite for one in page] for page in found] == [["a"] * 5, ["b"] * 4, ["c"] * 8, ["c"] * 8, [*"cccc", "d"]]
    assert pages([], 8) == []


@pytest.mark.parametrize("predictors", [1, 3, 14, 40, 200])
def test_a_page_has_room_for_a_row_at_least(predictors: int) -> None:
    assert rows_of_panels(predictors) >= 1


def test_many_conditions_are_pages_of_paper_and_lose_no_number(rows: list[Row], tmp_path: Path) -> None:
    room = ACROSS * rows_of_panels(3)
    groups = [group("tilt16", f"tilt_pitch={n},tilt_roll=5,tilt_yaw={90 * n}", 2.0 + n) for n in range(room + 3)]
    board = with_conditions(rows, [*groups, group("mixed", "mixed")])
    plots = condition_plots(board)
    assert list(plots) == ["conditions-1", "conditions-2"]
    pictures = save_plots(board, tmp_path, plots)
    table = pd.concat([pd.read_csv(tmp_path / f"{name}.csv") for name in plots])
    assert len(table) == 3 * (room + 4)
    assert set(table["group"]) == {one.group for one in board.records[0].conditions}
    for name, picture in zip(plots, pictures, strict=True):
        height, width = cv2.imread(str(tmp_path / f"{name}.png")).shape[:2]
        assert width == 1400
        assert height <= PAGE_IN * 200
        assert "1 of 2" in picture.title or "2 of 2" in picture.title
    # a name is whole: conditions of tilt16 differ in its end alone
    assert all(f"tilt_yaw={90 * n}" in pictures[0].svg for n in range(room))


def test_every_number_is_drawn_in_its_place_with_its_interval(rows: list[Row]) -> None:
    board = with_conditions(rows, [group("fov", "fov=40", 5.0), group("fov", "fov=100", 20.0)])
    (plot,) = condition_plots(board).values()
    with mpl.rc_context(STYLE):
        drawn = plot.draw(board, series(board.rows))
    assert drawn is not None
    for axes, expected in zip(drawn.figure.axes, (5.0, 20.0), strict=True):
        points = [container.lines[0].get_xydata()[0] for container in axes.containers]
        assert np.allclose(points, [(expected, 0), (2 * expected, 1), (3 * expected, 2)])
        bars = [container.lines[2][0].get_segments()[0] for container in axes.containers]
        assert np.allclose([bar[:, 0] for bar in bars], [(0.9 * e * expected, 1.1 * e * expected) for e in (1, 2, 3)])
        low, high = axes.get_xlim()
        assert low <= 0.9 * 5.0
        assert high >= 1.1 * 60.0


def test_small_groups_show_how_many_and_no_number(rows: list[Row], tmp_path: Path) -> None:
    board = with_conditions(rows, [group("fov", "fov=40", None, people=9), group("fov", "fov=100", 20.0, people=40)])
    (picture,) = save_plots(board, tmp_path, condition_plots(board))
    assert "9 / 4 ‡" in picture.svg
    assert "40 / 20 ‡" in picture.svg
    assert picture.svg.count("too few people") == 1


def test_a_board_of_too_few_people_has_no_plots_and_says_why(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path / "data", people=6)
    for name, spread in (("near", 0.1), ("far", 0.8)):
        add_record(result(tmp_path, data, name, spread), tmp_path / "board")
    built = build_board(tmp_path / "board", tmp_path / "pages")
    assert not (tmp_path / "pages" / "plots").exists()  # an axis of numbers that nobody has says nothing
    page = (tmp_path / "pages" / "index.html").read_text()
    assert "fewer than 10 people in every group" in page
    assert "<figure>" not in page
    assert all(cell.value == "" for table in built.tables.tables for cell in table.cells)
