"""Scores: closed forms, slow loops in plain Python, and what a record must not depend on."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from fakes import fake_dataset
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

from leaderboard.records import TIME_FIELDS, ScoreRecord, read_record, read_samples, samples_path
from leaderboard.scoring import PRIMARY, PRIMARY_RAD, ranking_suite, score_file
from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.errors import CheckFailed, InputError
from srgaze360.files import digest
from srgaze360.groups import BREAKDOWNS, breakdown_labels
from srgaze360.predictions import PredictionHeader, Predictions, PredictorCard, read_predictions, write_predictions
from srgaze360.predictors import dataset_key
from srgaze360.protocols import breakdown, spherical

ON_THE_SPHERE = [by for by in BREAKDOWNS if by not in ("reach", "head_height")]  # those are of people in photos


def submit(path: Path, data: Dataset, directions: Any, *, order: Any = None, name: str = "made-up", **columns: Any) -> Path:
    """Write predictions for the test split; ``columns`` may hold ``in_frame_score`` and ``heatmaps``."""
    rows = data.select(split="test").annotations
    lon, lat = sphere.lonlat_from_direction(directions)
    table = pd.DataFrame({"sample_id": rows["sample_id"], "gaze_lon_deg": np.degrees(lon), "gaze_lat_deg": np.degrees(lat)})
    maps = columns.pop("heatmaps", None)
    table = table.assign(**columns)
    if order is not None:
        table, maps = table.iloc[order].reset_index(drop=True), None if maps is None else maps[order]
    header = PredictionHeader(
        dataset=dataset_key(data),
        split="test",
        predictor=PredictorCard(name=name),
        heatmap_shape=(64, 128) if maps is None else maps.shape[1:],
    )
    write_predictions(path, Predictions(header, table, maps))
    return path


def guesses(data: Dataset, spread: float = 0.6) -> Any:
    """Directions near the truth, or near the head where the truth is unknown."""
    rows = data.select(split="test")
    known = np.where(np.isnan(rows.gazes), rows.heads, rows.gazes)
    return sphere.exp_map(known, np.random.default_rng(5).normal(size=(len(rows), 2)) * spread)


def with_target_kinds(data: Dataset) -> Dataset:
    """The dataset with a column that only procedural sources have."""
    kinds = np.resize(["object", "object", "person", "surface"], len(data))
    return replace(data, annotations=data.annotations.assign(target_kind=kinds))


def maps_of(directions: Any) -> Any:
    """Small heatmaps around directions."""
    cosine = np.einsum("nc,hwc->nhw", directions, sphere.cell_directions(16, 8))
    return np.exp(8.0 * (cosine - 1.0)).astype(np.float16)


# --- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sign", "expected"), [(1.0, 0.0), (-1.0, 180.0)])
def test_perfect_is_0_and_the_antipode_180(fake: Dataset, tmp_path: Path, sign: float, expected: float) -> None:
    rows = fake.select(split="test")
    truth = np.where(np.isnan(rows.gazes), rows.heads, rows.gazes)
    record = score_file(submit(tmp_path / "p.parquet", fake, sign * truth), fake, "test", tmp_path / "r.json", resamples=100)
    primary = record.overall.metrics[PRIMARY]
    # labels in the file are rounded to double precision in degrees, so the angle is exact to its square root
    assert primary.value == pytest.approx(expected, abs=1e-5)
    assert primary.low == pytest.approx(expected, abs=1e-5)
    assert (primary.people, primary.clusters) == (40, 30)
    assert record.overall.metrics[PRIMARY_RAD].value == pytest.approx(math.radians(expected), abs=1e-7)
    assert record.overall.metrics["hit@5"].value == (1.0 if sign > 0 else 0.0)
    assert record.overall.people == 60


def test_human_agrees_with_the_closed_form_of_known_noise(tmp_path: Path) -> None:
    """Annotations scatter by 0.05 rad per axis around the target.

    The distance of one of m annotations to the mean of the others is Rayleigh with variance 0.05^2 (1 + 1 / (m - 1)) per
    axis, to the order of the curvature (0.05^2); its mean is that deviation times sqrt(pi / 2).
    """
    data = fake_dataset(tmp_path / "data", people=450, annotators=4, seed=12)
    record = score_file("human", data, "test", tmp_path / "human.json", suite="mixed", resamples=100)
    expected = math.degrees(0.05 * math.sqrt(1.0 + 1.0 / 3.0) * math.sqrt(math.pi / 2.0))
    estimate = record.overall.metrics[PRIMARY]
    assert estimate.people == 300
    assert estimate.value == pytest.approx(expected, rel=0.05)  # three standard errors
    assert record.kind == "human"
    assert record.predictor.name == "human"
    assert "300 of 450 people have two or more annotations" in record.notes[0]


def test_human_agrees_with_a_slow_loop(fake: Dataset, tmp_path: Path) -> None:
    record = score_file("human", fake, "test", tmp_path / "human.json", resamples=100)
    sums: dict[str, list[float]] = defaultdict(list)
    for row in fake.select(split="test").annotations.to_dict("records"):
        points = [_vector(lon, lat) for lon, lat in row["gaze_points_deg"]]
        if points:
            parts = [_angle(p, _mean(points[:j] + points[j + 1 :])) for j, p in enumerate(points)]
            sums[row["suite"]].append(sum(parts) / len(parts))
    for scores in record.suites:
        found = scores.metrics[PRIMARY]
        assert found.value == pytest.approx(sum(sums[scores.suite]) / len(sums[scores.suite]), abs=1e-9)
        assert found.people == len(sums[scores.suite])
    samples = pd.read_parquet(samples_path(tmp_path / "human.json"))
    assert samples[PRIMARY].isna().sum() == 60  # out of frame, nobody annotated them


# --- slow loops -------------------------------------------------------------------------------------------------------

Vector = tuple[float, float, float]


def _vector(lon_deg: float, lat_deg: float) -> Vector:
    lon, lat = math.radians(lon_deg), math.radians(lat_deg)
    return math.cos(lat) * math.sin(lon), -math.sin(lat), math.cos(lat) * math.cos(lon)


def _mean(points: list[Vector]) -> Vector:
    summed = [sum(p[axis] for p in points) for axis in range(3)]
    norm = math.sqrt(sum(c * c for c in summed))
    return summed[0] / norm, summed[1] / norm, summed[2] / norm


def _angle(a: Vector, b: Vector) -> float:
    return math.degrees(math.acos(max(-1.0, min(1.0, sum(x * y for x, y in zip(a, b, strict=True))))))


def _between(value: float, limits: tuple[float, ...]) -> str:
    for low, high in pairwise(limits):
        if low <= value < high:
            return f"{low:g}-{high:g} deg"
    raise AssertionError


def _in_view(row: Mapping[str, Any], target: Vector) -> bool:
    """Turn the sphere until the head is at the front, then ask whether a 90 degree pinhole view shows the target."""
    lon, lat = math.radians(row["head_lon_deg"]), math.radians(row["head_lat_deg"])
    x, y, z = target
    x, z = x * math.cos(lon) - z * math.sin(lon), x * math.sin(lon) + z * math.cos(lon)
    y, z = y * math.cos(lat) + z * math.sin(lat), -y * math.sin(lat) + z * math.cos(lat)
    return z > 0.0 and abs(x / z) <= 1.0 and abs(y / z) <= 1.0


def test_groups_equal_a_slow_loop(tmp_path: Path) -> None:
    data = with_target_kinds(fake_dataset(tmp_path / "data", people=150, seed=2))
    directions = guesses(data)
    record = score_file(submit(tmp_path / "p.parquet", data, directions), data, "test", tmp_path / "r.json", resamples=100)

    errors: dict[tuple[str, str, str], list[tuple[float, float, float, str]]] = defaultdict(list)
    for row, direction in zip(data.select(split="test").annotations.to_dict("records"), directions.tolist(), strict=True):
        points = [_vector(lon, lat) for lon, lat in row["gaze_points_deg"]]
        if not points:
            continue
        target, guess = _mean(points), (direction[0], direction[1], direction[2])
        each = [_angle(guess, point) for point in points]
        entry = (_angle(guess, target), sum(each) / len(each), min(each), row["cluster_id"])
        errors["suite", row["suite"], row["suite"]].append(entry)
        errors["condition", row["suite"], row["condition"]].append(entry)
        if row["suite"] != "mixed":
            continue
        head = _vector(row["head_lon_deg"], row["head_lat_deg"])
        labels = {
            "overall": "overall",
            "target_latitude": _between(abs(math.degrees(math.asin(-target[1]))), breakdown.LATITUDE_BANDS),
            "head_latitude": _between(abs(row["head_lat_deg"]), breakdown.LATITUDE_BANDS),
            "head_radius": _between(row["head_radius_deg"], breakdown.HEAD_RADIUS_BANDS),
            "head_target_arc": _between(_angle(head, target), breakdown.ARC_BANDS),
            "head_view": breakdown.INSIDE_VIEW if _in_view(row, target) else breakdown.OUTSIDE_VIEW,
            "face": row["face"],
            "target_kind": row["target_kind"],
        }
        for by, name in labels.items():
            errors[by, "mixed", name].append(entry)

    compared = blank = 0
    for scores in [record.overall, *record.suites, *record.conditions, *record.breakdowns]:
        expected = errors[scores.by, scores.suite, scores.group]
        for place, metric in enumerate((PRIMARY, "angular_distance_mean_deg", "angular_distance_min_deg")):
            found = scores.metrics[metric]
            assert found.people == len(expected)
            assert found.clusters == len({entry[3] for entry in expected})
            if len(expected) < 10:
                assert (found.value, found.low, found.high) == (None, None, None)
                blank += 1
            else:
                assert found.value == pytest.approx(sum(float(e[place]) for e in expected) / len(expected), abs=1e-9)  # type: ignore[arg-type]
                assert found.low < found.value < found.high
                compared += 1
    assert compared > 40
    assert blank > 3
    # every group of the loop is reported
    reported = {(s.by, s.suite, s.group) for s in [record.overall, *record.suites, *record.conditions, *record.breakdowns]}
    assert {key for key, entries in errors.items() if entries} <= reported
    assert {scores.by for scores in record.breakdowns} == set(ON_THE_SPHERE)


def test_heatmap_metrics_are_means_over_the_ranking_suite(fake: Dataset, tmp_path: Path) -> None:
    directions = guesses(fake)
    maps = maps_of(directions)
    path = submit(tmp_path / "p.parquet", fake, directions, heatmaps=maps)
    record = score_file(path, fake, "test", tmp_path / "r.json", resamples=100)
    rows = fake.select(split="test")
    chosen = (rows.annotations["suite"] == "mixed").to_numpy()
    truth = rows.truth()
    expected = spherical.evaluate(directions[chosen], truth.points[chosen], truth.weights[chosen], heatmaps=maps[chosen])
    for name, value in expected.summary().items():
        assert record.overall.metrics[name].value == pytest.approx(value, abs=1e-9), name
    assert set(expected.summary()) == set(record.overall.metrics) - {PRIMARY_RAD}


def test_in_frame_ap_equals_scikit_learn_and_is_blank_where_it_says_nothing(fake: Dataset, tmp_path: Path) -> None:
    rows = fake.select(split="test").annotations
    score = np.random.default_rng(0).integers(0, 8, len(rows)) / 8.0  # with ties
    path = submit(tmp_path / "p.parquet", fake, guesses(fake), in_frame_score=score)
    record = score_file(path, fake, "test", tmp_path / "r.json", resamples=100)
    for scores in [record.overall, *record.conditions]:
        chosen = (rows["suite"] == scores.suite) & (rows["condition"].isin([scores.group]) | (scores.by == "overall"))
        found = scores.metrics["in_frame_ap"]
        assert found.value == pytest.approx(average_precision_score(rows["in_frame"][chosen], score[chosen]), abs=1e-12)
        assert (found.low, found.high, found.people) == (None, None, 60)
    assert not any("in-frame" in note for note in record.notes)

    inside = rows[rows["in_frame"]].reset_index(drop=True)
    data = replace(fake, annotations=inside)
    path = submit(tmp_path / "p.parquet", data, guesses(data), in_frame_score=np.linspace(0.0, 1.0, len(inside)))
    record = score_file(path, data, "test", tmp_path / "r.json", resamples=100)
    assert record.overall.metrics["in_frame_ap"].value is None


# --- what a record must not depend on, and what it must say -----------------------------------------------------------


def _content(record: ScoreRecord, *leave_out: str) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude={*TIME_FIELDS, *leave_out})


def test_the_order_of_rows_has_no_influence(fake: Dataset, tmp_path: Path) -> None:
    directions = guesses(fake)
    columns = {"heatmaps": maps_of(directions), "in_frame_score": np.linspace(0.0, 1.0, len(directions))}
    order = np.random.default_rng(1).permutation(len(directions))
    records = [
        score_file(
            submit(tmp_path / f"{name}.parquet", fake, directions, order=o, **columns),
            fake,
            "test",
            tmp_path / f"{name}.json",
            resamples=200,
        )
        for name, o in (("sorted", None), ("shuffled", order))
    ]
    assert _content(records[0], "predictions_digest") == _content(records[1], "predictions_digest")


def test_the_same_input_gives_the_same_record(fake: Dataset, tmp_path: Path) -> None:
    path = submit(tmp_path / "p.parquet", fake, guesses(fake))
    first, second, other = (
        score_file(path, fake, "test", tmp_path / f"{index}.json", resamples=200, seed=seed)
        for index, seed in enumerate((3, 3, 4))
    )
    assert _content(first) == _content(second)
    assert first.content_digest == second.content_digest
    assert samples_path(tmp_path / "0.json").read_bytes() == samples_path(tmp_path / "1.json").read_bytes()
    assert first.overall.metrics[PRIMARY].value == other.overall.metrics[PRIMARY].value
    assert first.overall.metrics[PRIMARY].low != other.overall.metrics[PRIMARY].low
    assert first.content_digest != other.content_digest


def test_the_record_is_written_and_read_back(fake: Dataset, tmp_path: Path) -> None:
    path = submit(tmp_path / "p.parquet", fake, guesses(fake), name="mine")
    steps: list[int] = []
    record = score_file(path, fake, "test", tmp_path / "r.json", resamples=150, advance=steps.append)
    assert sum(steps) == 180
    assert read_record(tmp_path / "r.json") == record
    assert "NaN" not in (tmp_path / "r.json").read_text()
    assert (record.protocol, record.protocol_version) == ("spherical", spherical.VERSION)
    assert (record.people, record.split_people, record.clusters, record.suite) == (180, 180, 30, None)
    assert record.dataset == dataset_key(fake)
    assert (record.resamples, record.seed, record.confidence) == (150, 0, 0.95)
    assert record.notes == [
        "No heatmaps: metrics that need them stay blank.",
        "No in-frame scores: in-frame average precision stays blank.",
    ]
    assert "auc" not in record.overall.metrics

    samples = read_samples(tmp_path / "r.samples.parquet", record)
    assert list(samples["sample_id"]) == list(fake.select(split="test").annotations["sample_id"])
    mixed = samples[samples["suite"] == "mixed"][PRIMARY]
    assert mixed.mean() == pytest.approx(record.overall.metrics[PRIMARY].value)
    samples.assign(**{PRIMARY: 0.0}).to_parquet(tmp_path / "r.samples.parquet")
    with pytest.raises(InputError, match="their digest differs from the record's"):
        read_samples(tmp_path / "r.samples.parquet", record)


def test_the_record_says_what_the_predictions_were_made_with(fake: Dataset, tmp_path: Path) -> None:
    path = submit(tmp_path / "p.parquet", fake, guesses(fake))
    plain = score_file(path, fake, "test", tmp_path / "r.json", resamples=100)
    assert plain.predicted_with == {}
    submitted = read_predictions(path)
    header = submitted.header.model_copy(update={"versions": {"torch": "2.13.0", "device": "cuda:0"}})
    write_predictions(path, replace(submitted, header=header))
    record = score_file(path, fake, "test", tmp_path / "s.json", resamples=100)
    assert record.predicted_with == {"torch": "2.13.0", "device": "cuda:0"}
    # records of before have the digests, and so the names on boards, that they had
    old = json.loads((tmp_path / "r.json").read_text())
    assert old.pop("predicted_with") == {}
    assert ScoreRecord.model_validate(old).content_digest == plain.content_digest
    assert plain.content_digest == digest({k: v for k, v in old.items() if k not in (*TIME_FIELDS, "tier")})
    assert record.content_digest != record.model_copy(update={"predicted_with": {}}).content_digest


def test_overall_is_the_ranking_suite_and_suites_are_not_pooled(fake: Dataset, tmp_path: Path) -> None:
    """Perfect on ``latitude``, wrong on ``mixed``: the overall number must be that of ``mixed``, intervals included."""
    rows = fake.select(split="test")
    truth = np.where(np.isnan(rows.gazes), rows.heads, rows.gazes)
    mixed = (rows.annotations["suite"] == "mixed").to_numpy()
    path = submit(tmp_path / "p.parquet", fake, np.where(mixed[:, None], guesses(fake), truth))
    record = score_file(path, fake, "test", tmp_path / "r.json", resamples=200)
    assert record.ranking_suite == "mixed"
    assert {scores.suite: scores.metrics[PRIMARY] for scores in record.suites}["mixed"] == record.overall.metrics[PRIMARY]
    assert {s.suite: s.metrics[PRIMARY].value for s in record.suites}["latitude"] == pytest.approx(0.0, abs=1e-5)
    assert record.overall.metrics[PRIMARY].value > 10.0
    assert {scores.suite for scores in record.breakdowns} == {"mixed"}
    assert [(s.suite, s.group) for s in record.conditions] == [
        ("latitude", "lat+0"),
        ("latitude", "lat+60"),
        ("mixed", "mixed"),
    ]


@pytest.mark.parametrize(
    ("suites", "expected"),
    [(["fov", "mixed"], "mixed"), (["background", "canonical", "fov"], "canonical"), (["roll", "fov"], "fov")],
)
def test_which_suite_ranks(fake: Dataset, suites: list[str], expected: str) -> None:
    table = fake.annotations.assign(suite=np.resize(suites, len(fake)))
    assert ranking_suite(replace(fake, annotations=table)) == expected


def test_conditions_come_in_the_order_of_the_recipe(fake: Dataset, tmp_path: Path) -> None:
    info = fake.info.model_copy(update={"suites": {"mixed": ["mixed"], "latitude": ["lat+60", "lat+0"]}})
    data = replace(fake, info=info)
    record = score_file(submit(tmp_path / "p.parquet", data, guesses(data)), data, "test", tmp_path / "r.json", resamples=100)
    assert [scores.group for scores in record.conditions] == ["lat+60", "lat+0", "mixed"]


def test_a_column_of_the_source_is_a_breakdown_where_it_is_there(fake: Dataset) -> None:
    rows = with_target_kinds(fake).select(split="test")
    assert list(breakdown_labels(rows)) == ON_THE_SPHERE
    without = replace(rows, annotations=rows.annotations.drop(columns="face"))
    assert list(breakdown_labels(without)) == [by for by in ON_THE_SPHERE if by != "face"]
    holes = replace(rows, annotations=rows.annotations.assign(face=[None, *rows.annotations["face"][1:]]))
    assert breakdown_labels(holes)["face"][0] == "unknown"


def test_faults_refuse_the_score_and_nothing_is_written(fake: Dataset, tmp_path: Path) -> None:
    path = submit(tmp_path / "p.parquet", fake, guesses(fake), in_frame_score=2.0, order=np.arange(1, 180))
    with pytest.raises(CheckFailed, match=r"2 kinds of fault(.|\n)*missing-id(.|\n)*1 without a row(.|\n)*in-frame-score"):
        score_file(path, fake, "test", tmp_path / "r.json")
    assert not list(tmp_path.glob("r*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "spheric"}, "Unknown protocol 'spheric'. Did you mean 'spherical'"),
        ({"suite": "mixd"}, "suite 'mixd'. Did you mean 'mixed'"),
        ({"out": "r.txt"}, "ends in .json"),
        ({"resamples": 10}, "At least 100"),
    ],
)
def test_wrong_use(fake: Dataset, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    out = tmp_path / options.pop("out", "r.json")
    path = submit(tmp_path / "p.parquet", fake, guesses(fake))
    with pytest.raises(InputError, match=message):
        score_file(path, fake, "test", out, **options)


def test_no_human_row_without_a_second_annotation(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path / "data", people=20, annotators=1)
    with pytest.raises(InputError, match="people with two or more annotations"):
        score_file("human", data, "test", tmp_path / "r.json")


@pytest.fixture
def score_command() -> Callable[..., Any]:
    from leaderboard.commands import score

    app = typer.Typer()
    app.command()(score)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_command_prints_a_table_or_the_record(fake: Dataset, tmp_path: Path, score_command: Callable[..., Any]) -> None:
    path = submit(tmp_path / "p.parquet", fake, guesses(fake), name="mine [bold]")
    words = (path, "--data", fake.root, "--split", "test", "--out", tmp_path / "r.json", "--resamples", 100)
    shown = score_command(*words)
    assert shown.exit_code == 0, shown.output
    record = read_record(tmp_path / "r.json")
    assert "mine [bold] on fake 1.0.0, test" in shown.stdout
    assert f"{record.overall.metrics[PRIMARY].value:.2f}" in shown.stdout
    assert "latitude, lat+60" in shown.stdout
    assert json.loads(score_command(*words, "--json").stdout)["predictions_digest"] == record.predictions_digest
    # a file named human is a file
    (tmp_path / "human").mkdir()
    missing = score_command(tmp_path / "human" / "human", *words[1:])
    assert isinstance(missing.exception, InputError)
