"""Several training seeds of a method: what may stand together, and that the row's numbers are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from boards import result
from fakes import fake_dataset

from leaderboard.board import add_record, build_board, record_paths
from leaderboard.records import read_record, read_samples, samples_path, write_record
from leaderboard.scoring import PRIMARY, PRIMARY_RAD
from leaderboard.seeds import Row, rows_of
from srgaze360.bootstrap import cluster_bootstrap
from srgaze360.dataset import Dataset
from srgaze360.errors import CheckFailed, InputError
from srgaze360.files import generator

SEEDS = (3, 1, 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return fake_dataset(tmp_path_factory.mktemp("seeds") / "data")


@pytest.fixture(scope="module")
def results(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three seeds of ``ours`` and one result of ``theirs``."""
    folder = tmp_path_factory.mktemp("results")
    ours = [result(folder, data, "ours", 0.2, seed=seed, heatmaps=True) for seed in SEEDS]
    return [*ours, result(folder, data, "theirs", 0.8)]


def load(path: Path):
    return (record := read_record(path)), read_samples(samples_path(path), record)


@pytest.fixture(scope="module")
def row(results: list[Path]) -> Row:
    rows = rows_of([load(path) for path in results])
    assert [one.name for one in rows] == ["theirs", "ours"]
    return rows[1]


# --- what may stand together ------------------------------------------------------------------------------------------


def test_seeds_stand_together_and_the_same_seed_does_not(results: list[Path], data: Dataset, tmp_path: Path) -> None:
    board = tmp_path / "board"
    for path in results:
        assert add_record(path, board).replaced == []
    assert len(record_paths(board)) == 4
    assert add_record(results[0], board).already_there

    other = result(tmp_path, data, "Ours", 0.3, seed=1)
    with pytest.raises(CheckFailed, match=r"another result of 'Ours' already, ours-[0-9a-f]{8}\.json with seed 1 \(--replace"):
        add_record(other, board)
    done = add_record(other, board, replace=True)
    assert [path.name[:5] for path in done.replaced] == ["ours-"]
    assert len(record_paths(board)) == 4
    found = {read_record(path).predictor.seed: path for path in record_paths(board) if path.name.startswith("ours")}
    assert set(found) == {1, 2, 3}
    assert found[1] == done.path


@pytest.mark.parametrize(
    ("seed", "card", "message"),
    [
        (9, {"reads": ["camera"]}, r"its columns read is \['camera'\], that of its other seeds is \[\]"),
        (9, {"training_data": ["test"]}, r"its training data is \['test'\], that of its other seeds is \[\]"),
        (None, {}, "can only stand together if each names its training seed"),
    ],
)
def test_what_is_not_one_method_is_refused(results, data, tmp_path, seed, card, message) -> None:
    board = tmp_path / "board"
    add_record(results[0], board)
    with pytest.raises(CheckFailed, match=message):
        add_record(result(tmp_path, data, "ours", 0.2, seed=seed, **card), board)
    assert len(record_paths(board)) == 1


def test_a_seed_put_there_twice_by_hand_is_found_when_building(results: list[Path], tmp_path: Path) -> None:
    board = tmp_path / "board"
    add_record(results[0], board)
    record, samples = load(results[0])
    write_record(board / "records" / "zzz.json", record.model_copy(update={"predictions_digest": "d" * 64}), samples)
    with pytest.raises(CheckFailed, match=r"zzz.json may not: another record there is of 'ours' with the same seed"):
        build_board(board, tmp_path / "out")


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_the_row_is_the_mean_over_seeds_and_its_interval_that_of_mean_errors(row: Row, results: list[Path]) -> None:
    tables = [load(path)[1] for path in results[:3]]
    mean = np.mean([table[PRIMARY] for table in tables], axis=0)
    compared = 0
    for scores in row.record.groups:
        if scores.by in BY_COLUMN:
            inside = (tables[0]["suite"] == scores.suite) & (tables[0][BY_COLUMN[scores.by]] == scores.group)
        else:
            inside = tables[0]["suite"] == scores.suite
        found = scores.metrics[PRIMARY]
        assert found.people == np.count_nonzero(~np.isnan(mean[inside]))
        if found.people < 10:
            assert found.value is None
            continue
        (interval,) = cluster_bootstrap(
            {"x": mean[inside]}, tables[0]["cluster_id"][inside].to_numpy(str), generator(0, "bootstrap"), n_resamples=200
        ).values()
        assert (found.value, found.low, found.high) == pytest.approx(interval[:3], abs=1e-12)
        assert scores.metrics[PRIMARY_RAD].value == pytest.approx(np.radians(interval.estimate))
        compared += 1
    assert compared > 10


BY_COLUMN = {"condition": "condition", "face": "group_face", "head_view": "group_head_view", "head_radius": "group_head_radius",
             "target_latitude": "group_target_latitude", "head_latitude": "group_head_latitude",
             "head_target_arc": "group_head_target_arc"}  # fmt: skip


def test_the_spread_is_that_of_the_seeds_own_means(row: Row, results: list[Path]) -> None:
    records = [read_record(path) for path in results[:3]]
    for metric in (PRIMARY, "hit@10", "auc"):
        values = [record.overall.metrics[metric].value for record in records]
        assert row.spread["overall", "mixed", "overall"][metric] == pytest.approx(np.std(values, ddof=1))
        assert row.record.overall.metrics[metric].value == pytest.approx(np.mean(values))
    conditions = {(s.by, s.suite, s.group) for s in records[0].conditions}
    assert conditions <= set(row.spread)
    # both stay what they are: the interval does not come from the spread
    estimate = row.record.overall.metrics[PRIMARY]
    assert estimate.high - estimate.low > 0.0
    assert [part.predictor.seed for part in row.parts] == [1, 2, 3]
    assert row.record.predictor.seed is None


def test_rows_in_another_order_are_the_same_people(row: Row, results: list[Path]) -> None:
    loaded = [load(path) for path in results[:3]]
    shuffled = [(r, table.sample(frac=1.0, random_state=7) if place == 2 else table) for place, (r, table) in enumerate(loaded)]
    (again,) = rows_of(shuffled)
    assert again.record.overall == row.record.overall
    assert again.spread == row.spread


def test_seeds_on_other_people_are_refused(results: list[Path]) -> None:
    (a, first), (b, second) = (load(path) for path in results[:2])
    with pytest.raises(InputError, match="results of all seeds on the same people, found 179, 180 people, 179 in common"):
        rows_of([(a, first), (b, second.iloc[1:])])


def test_two_methods_are_resampled_alike_and_metrics_of_the_set_averaged(results: list[Path]) -> None:
    """Beside another method with seeds, a row has the same numbers as alone; average precision is a mean without interval."""
    loaded = [load(path) for path in results[:3]]
    precision = [0.5, 0.6, 1.0]
    changed = []
    for (record, samples), value in zip(loaded, precision, strict=True):
        estimate = record.overall.metrics[PRIMARY].model_copy(update={"value": value})
        overall = record.overall.model_copy(update={"metrics": {**record.overall.metrics, "in_frame_ap": estimate}})
        changed.append((record.model_copy(update={"overall": overall}), samples))
    other = []
    for record, samples in loaded:
        card = record.predictor.model_copy(update={"name": "other"})
        other.append((record.model_copy(update={"predictor": card}), samples.assign(**{PRIMARY: samples[PRIMARY] * 2.0})))
    one, two = rows_of([*changed, *other])
    (alone,) = rows_of(loaded)
    precision_found = one.record.overall.metrics["in_frame_ap"]
    assert precision_found.value == pytest.approx(0.7)
    assert (precision_found.low, precision_found.high) == (None, None)
    assert one.record.overall.metrics[PRIMARY] == alone.record.overall.metrics[PRIMARY]
    doubled = two.record.overall.metrics[PRIMARY]
    assert doubled.low == pytest.approx(2.0 * alone.record.overall.metrics[PRIMARY].low)


# --- the pages --------------------------------------------------------------------------------------------------------


def test_pages_show_one_row_with_its_seeds(results: list[Path], tmp_path: Path) -> None:
    for path in results:
        add_record(path, tmp_path / "board")
    built = build_board(tmp_path / "board", tmp_path / "out")
    assert built.tables.ranks == {"ours": "1", "theirs": "2"}
    cell = built.tables.tables[0].lines[0].cells[0]
    assert cell.spread
    text = (tmp_path / "out" / "board.md").read_text()
    assert f"| 1 | ours (3 seeds) | **{cell.value}** ± {cell.spread} [{cell.interval[0]}, {cell.interval[1]}]" in text
    page = (tmp_path / "out" / "index.html").read_text()
    assert "3 seeds</span>" in page
    assert f"± {cell.spread}</span>" in page
    assert [f"<dt>Seed {seed}</dt>" in page for seed in (1, 2, 3)] == [True] * 3
    rows = pd.read_csv(tmp_path / "out" / "board.csv", dtype=str, keep_default_na=False)
    ours = rows[(rows.table == "ranking") & (rows.predictor == "ours") & (rows.metric == PRIMARY)].iloc[0]
    assert (ours.seeds, ours.seed_sd, ours.value) == ("3", cell.spread, cell.value)
    theirs = rows[(rows.table == "ranking") & (rows.predictor == "theirs") & (rows.metric == PRIMARY)].iloc[0]
    assert (theirs.seeds, theirs.seed_sd) == ("1", "")
