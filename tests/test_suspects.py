"""Suspects: formulas against references and properties; planted errors are found; files that cannot be used are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from building import run_command
from fakes import fake_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from linting import moved, points_of, set_points
from linting import plant as plant_in
from scipy.stats import multivariate_t

from annotation.suspects.opinions import read_opinions, trained_on
from annotation.suspects.quality import FLOOR, HELD, Opinion, label_quality, opinion, usual, with_agreement
from annotation.suspects.run import find_suspects, try_out
from annotation.suspects.trial import KINDS, MOVED, count, plant
from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.predictions import PredictionHeader, Predictions, PredictorCard, TrainingKey, write_predictions
from srgaze360.predictors import dataset_key

ANGLE = st.floats(0.0, np.pi)
SCALE = st.floats(float(FLOOR), 1.0)


def noisy(directions: np.ndarray, degrees: float | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Directions (n, 3) with normal noise of a standard deviation along each axis."""
    spread = np.radians(np.broadcast_to(degrees, len(directions)))[:, None]
    return sphere.exp_map(directions, rng.normal(size=(len(directions), 2)) * spread)


def write(
    path: Path, data: Dataset, directions: np.ndarray, split: str = "test", ids: Any = None, *, key: Any = None, **card: Any
) -> Path:
    """A predictions file."""
    lon, lat = np.degrees(sphere.lonlat_from_direction(directions))
    ids = data.annotations["sample_id"] if ids is None else ids
    table = pd.DataFrame({"sample_id": np.asarray(ids), "gaze_lon_deg": lon, "gaze_lat_deg": lat})
    predictor = PredictorCard(**{"name": path.stem, **card})
    write_predictions(
        path, Predictions(PredictionHeader(dataset=key or dataset_key(data), split=split, predictor=predictor), table)
    )
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset of 1,350 people in test and 450 in train, two thirds of whom have a label."""
    return fake_dataset(tmp_path_factory.mktemp("many") / "data", people=450)


# --- formulas ---------------------------------------------------------------------------------------------------------


@given(ANGLE, ANGLE, SCALE, ANGLE, st.sampled_from([0.0, 1.0, 9.0]))
def test_quality_is_bounded_and_falls_with_all_evidence(
    one: float, other: float, scale: float, apart: float, lint: float
) -> None:
    less, more = sorted((one, other))
    found = label_quality([less, more], scale, apart, 0.05, lint)
    assert np.all((found > 0.0) & (found <= 1.0))
    assert found[0] >= found[1]
    assert label_quality([one], scale, more, 0.05, lint) <= label_quality([one], scale, less, 0.05, lint)
    assert label_quality([one], scale, apart, 0.05, lint + 1.0) < label_quality([one], scale, apart, 0.05, lint)
    assert label_quality([one], 2.0 * scale, apart, 0.05, lint) >= label_quality([one], scale, apart, 0.05, lint)


def test_quality_is_the_survival_function_of_a_student_t() -> None:
    drawn = multivariate_t([0.0, 0.0], np.eye(2), df=2).rvs(200_000, random_state=np.random.default_rng(0))
    lengths = np.linalg.norm(drawn, axis=1)
    scale = float(np.median(lengths))
    assert scale == pytest.approx(np.sqrt(2.0), abs=0.01)
    for residual in (0.3, 1.0, 2.0, 5.0, 12.0):
        assert label_quality([residual], [scale])[0] == pytest.approx(np.mean(lengths > residual), abs=0.004)


def test_without_evidence_a_label_is_good() -> None:
    assert label_quality([np.nan], [np.nan])[0] == 1.0
    assert label_quality([0.0, np.nan], [0.1, np.nan], [np.nan, 0.05], 0.05).tolist() == [1.0, 1.0]


def test_annotators_who_are_apart_count_like_models_that_miss() -> None:
    apart = label_quality([0.0], [0.1], [np.hypot(0.3, 0.05)], 0.05)
    assert apart[0] == pytest.approx(label_quality([0.3], [0.1])[0])
    assert label_quality([0.2], [0.1], [0.04], 0.05) == label_quality([0.2], [0.1])  # closer than usual is no merit


def test_usual_angles_are_medians_of_the_groups() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(["easy", "hard"], 4000)
    angles = np.where(group == "easy", 0.05, 0.4) * rng.lognormal(0.0, 0.5, 8000)
    found = usual(angles, [group])
    for name in ("easy", "hard"):
        assert found[group == name] == pytest.approx(np.median(angles[group == name]), rel=0.02)  # HELD of 4,000 are shrunk
    assert usual(np.full(5, 1e-9), []).tolist() == [FLOOR] * 5
    assert not len(usual(np.zeros(0), [np.zeros(0)]))


def test_usual_angles_multiply_over_groupings_and_are_shrunk_in_small_groups() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 3, 30_000), rng.integers(0, 2, 30_000)
    true = 0.1 * np.array([0.5, 1.0, 2.0])[first] * np.array([1.0, 3.0])[second]
    found = usual(true * rng.lognormal(0.0, 0.7, len(true)), [first, second])
    assert found == pytest.approx(true, rel=0.04)
    alone = np.r_[np.full(5000, 0.1), np.full(5, 1.0)]
    codes = np.r_[np.zeros(5000), np.ones(5)]
    assert usual(alone, [codes])[-1] == pytest.approx(0.1 * 10.0 ** (5 / (5 + HELD)), rel=0.05)


def test_a_few_wrong_labels_hardly_move_what_is_usual() -> None:
    rng = np.random.default_rng(2)
    angles = np.abs(rng.normal(0.0, 0.1, 2000))
    spoiled = np.where(np.arange(2000) % 20 == 0, 2.0, angles)
    assert usual(spoiled, [np.zeros(2000)]) == pytest.approx(usual(angles, [np.zeros(2000)]), rel=0.08)


def case(people: int = 300, models: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions, who was seen, and a condition that makes models four times worse."""
    rng = np.random.default_rng(seed)
    labels = sphere.normalise(rng.normal(size=(people, 3)))
    hard = rng.integers(0, 2, people)
    answers = np.stack([noisy(labels, np.where(hard, 24.0, 6.0), rng) for _ in range(models)], axis=1)
    return labels, answers, np.zeros((people, models), dtype=bool), hard


def quality_of(said: Opinion) -> np.ndarray:
    return label_quality(said.residual, said.scale)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_turning_the_sphere_changes_nothing(seed: int) -> None:
    labels, answers, seen, hard = case(60)
    turn = sphere.rotation_from_pose(*np.random.default_rng(seed).uniform(-3, 3, 3))
    before, after = (opinion(a, b, seen, [hard]) for a, b in ((labels, answers), (labels @ turn.T, answers @ turn.T)))
    assert quality_of(after) == pytest.approx(quality_of(before), abs=1e-6)
    assert after.consensus == pytest.approx(before.consensus @ turn.T, abs=1e-6)


@pytest.mark.parametrize("models", [1, 2, 3, 5])
def test_quality_falls_as_a_label_is_moved_away_from_the_models(models: int) -> None:
    labels, answers, seen, hard = case(models=models)
    consensus = opinion(labels, answers, seen, [hard]).consensus[0]
    found = []
    for degrees in (40.0, 60.0, 90.0, 130.0, 180.0):
        labels[0] = sphere.exp_map(consensus, np.radians([degrees, 0.0]))
        found.append(quality_of(opinion(labels, answers, seen, [hard]))[0])
    assert np.all(np.diff(found) < 0.0)


def test_models_of_one_mind_are_stronger_evidence_than_models_that_disagree() -> None:
    labels, answers, seen, hard = case()
    label = labels[0]
    there = sphere.exp_map(label, np.radians([50.0, 0.0]))
    frame = [sphere.exp_map(there, np.radians([0.0, up])) for up in (-1.0, 0.0, 1.0)]
    wide = [sphere.exp_map(there, np.radians([0.0, up])) for up in (-60.0, 0.0, 60.0)]
    said = []
    for three in (frame, wide):
        answers[0] = three
        one = opinion(labels, answers, seen, [hard])
        assert np.degrees(one.residual[0]) == pytest.approx(50.0, abs=0.5)
        said.append(quality_of(one)[0])
    assert said[0] < 0.5 * said[1]
    assert with_agreement([0.0, 1.0, 3.0]) == pytest.approx([np.sqrt(0.75), 1.0, np.sqrt(3.0)])


def test_one_model_far_off_does_not_move_the_consensus_of_three() -> None:
    labels, answers, seen, hard = case()
    answers[0] = [labels[0], noisy(labels[:1], 1.0, np.random.default_rng(0))[0], -labels[0] + [0.2, 0.0, 0.0]]
    assert np.degrees(opinion(labels, answers, seen, [hard]).residual[0]) < 3.0


def test_labels_of_hard_conditions_are_not_wrong_because_models_are() -> None:
    labels, answers, seen, hard = case(600, models=1)
    hard[0] = 0
    labels[0] = sphere.exp_map(
        answers[0, 0], np.radians([40.0, 0.0])
    )  # an error among the easy ones, where 7 degrees are usual
    judged, blind = (quality_of(opinion(labels, answers, seen, codes)) for codes in ([hard], []))
    assert np.argmin(judged) == 0
    assert np.sum(blind < blind[0]) > 20
    assert np.median(judged[hard == 1]) == pytest.approx(np.median(judged[hard == 0]), abs=0.05)
    assert np.median(blind[hard == 1]) < np.median(blind[hard == 0]) - 0.3


def test_models_that_say_nothing_of_somebody_are_left_out_of_it() -> None:
    labels, answers, seen, hard = case()
    answers[0, 1], answers[1] = np.nan, np.nan
    said = opinion(labels, answers, seen, [hard])
    assert said.models[:3].tolist() == [2, 0, 3]
    assert np.isnan(said.residual[1])
    assert np.isnan(said.consensus[1]).all()
    assert np.isfinite(np.delete(quality_of(said), 1)).all()


# --- planting and counting --------------------------------------------------------------------------------------------


def test_planted_errors_are_of_their_kind_and_far_enough() -> None:
    rng = np.random.default_rng(0)
    labels = sphere.normalise(rng.normal(size=(400, 3)))
    panorama = np.arange(400) // 2
    planted = plant(labels, panorama, np.arange(400) >= 100, 0.2, rng)
    assert np.bincount(planted.kind[planted.kind >= 0]).tolist() == [15, 15, 15, 15]
    assert not np.any(planted.kind[:100] >= 0)
    wrong = planted.kind >= 0
    assert np.all(sphere.angle_between(planted.labels, labels)[wrong] >= MOVED)
    assert np.array_equal(planted.labels[~wrong], labels[~wrong])
    for row in np.flatnonzero(wrong):
        lon, lat = sphere.lonlat_from_direction(labels[row])
        new = sphere.lonlat_from_direction(planted.labels[row])
        kind = list(KINDS)[planted.kind[row]]
        if kind == "longitude mirrored":
            assert np.allclose(new, (-lon, lat))
        elif kind == "latitude's sign":
            assert np.allclose(new, (lon, -lat))
        elif kind == "label of somebody else there":
            assert np.array_equal(planted.labels[row], labels[row ^ 1])


def test_nobody_alone_on_a_panorama_gets_the_label_of_somebody_else() -> None:
    rng = np.random.default_rng(0)
    labels = sphere.normalise(rng.normal(size=(50, 3)))
    assert np.isnan(KINDS["label of somebody else there"](labels, np.arange(50), rng)).all()
    assert np.bincount(plant(labels, np.arange(50), np.ones(50, dtype=bool), 0.5, rng).kind + 1, minlength=5)[-1] == 0
    with pytest.raises(InputError, match=r"a share that spoils 4 labels or more for a trial, found 0.02 of 50"):
        plant(labels, np.arange(50), np.ones(50, dtype=bool), 0.02, rng)


def test_counting_agrees_with_a_count_by_hand() -> None:
    tried = count(np.array([0.01, 0.5, 0.02, 0.03, 0.9]), np.array([0, 3, -1, 0, -1]), 0.05, list("abcde"))
    assert (tried.labels, tried.planted, tried.suspects) == (5, 3, 3)
    assert tried.precision_at_k == pytest.approx(2 / 3)
    assert (tried.precision, tried.recall) == pytest.approx((2 / 3, 2 / 3))
    assert tried.average_precision == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert tried.by_kind["a random direction"] == (2, 2)
    assert tried.by_kind["label of somebody else there"] == (0, 1)


def test_errors_planted_in_a_clean_dataset_are_found(many: Dataset, tmp_path: Path) -> None:
    """The issue's test: 5 % of labels wrong in four ways, predictors that know the truth but for noise."""
    data = many.select(split="test")
    truth = np.where(np.isnan(data.gazes), [0.0, 0.0, 1.0], data.gazes)
    rng = np.random.default_rng(5)
    files = [write(tmp_path / f"{name}.parquet", data, noisy(truth, 5.0, rng)) for name in ("one", "two")]
    tries = [try_out(find_suspects(many, files, split="test"), 0.05, seed) for seed in range(5)]
    assert {tried.planted for tried in tries} == {45}
    assert all(tried.precision_at_k >= 0.9 for tried in tries), tries  # 0.8 is asked for
    assert all(tried.recall >= 0.75 for tried in tries)  # of 15 degrees and more, where 17 are below the limit
    assert all(tried.precision >= 0.9 for tried in tries)
    alone = try_out(find_suspects(many, files[:1], split="test"), 0.05, 0)
    assert alone.precision_at_k >= 0.85


# --- files ------------------------------------------------------------------------------------------------------------


def truth_of(data: Dataset) -> np.ndarray:
    return np.where(np.isnan(data.gazes), [0.0, 0.0, 1.0], data.gazes)


def file_of(folder: Path, data: Dataset, name: str = "one", seed: int = 0, **options: Any) -> Path:
    """Predictions of a model that knows the truth but for noise of 5 degrees."""
    return write(folder / f"{name}.parquet", data, noisy(truth_of(data), 5.0, np.random.default_rng(seed)), **options)


@pytest.mark.parametrize(
    ("text", "where", "splits"),
    [
        ([], {}, ""),
        (["GazeFollow"], {}, ""),
        (["fake-b 1.0.0 (aaaaaaaaaaaa), train: 60 people"], {}, ""),
        (["fake 1.0.0 (aaaaaaaaaaaa), train: 60 people"], {}, "train"),
        (["fake 0.9.0 (bbbbbbbbbbbb), train where suite=test: 60 people"], {}, "train"),
        (["FAKE, train and val"], {}, "train"),
        (["something", "our fork of fake"], {}, "train test"),
        (["fake 1.0.0 (aaaaaaaaaaaa), train where suite=mixed: 60 people"], {"suite": ["mixed"]}, "train"),
        (["fake 1.0.0 (aaaaaaaaaaaa), test where condition=lat+60: 60 people"], {"condition": ["lat+60"]}, "test"),
    ],
)
def test_headers_say_whom_a_model_was_trained_on(
    fake: Dataset, text: list[str], where: dict[str, list[str]], splits: str
) -> None:
    training = TrainingKey(predictor="x", digest="0", where=where) if where else None
    seen = trained_on(PredictorCard(name="x", training_data=text, training=training), fake, fake)
    assert seen.tolist() == fake.annotations["split"].isin(splits.split()).tolist()  # every photo of test is in every condition


def test_a_restricted_training_has_seen_the_clusters_that_it_was_restricted_to(fake: Dataset) -> None:
    key = TrainingKey(predictor="x", digest="0", where={"source_person": [str(n) for n in range(20)]})
    card = PredictorCard(
        name="x", training_data=["fake 1.0.0 (aaaaaaaaaaaa), train where source_person=0: 20 people"], training=key
    )
    seen = trained_on(card, fake, fake)
    people = fake.annotations[seen]
    assert set(people["split"]) == {"train"}
    assert sorted(map(int, people["source_person"])) == list(range(20))


def test_models_that_were_trained_on_somebody_are_asked_only_where_there_is_no_other(fake: Dataset, tmp_path: Path) -> None:
    train = fake.select(split="train")
    learnt = {"training_data": ["fake 1.0.0, train"]}
    fold = write(tmp_path / "fold.parquet", fake, truth_of(train)[:20], split="train", ids=train.annotations["sample_id"][:20])
    opinions = read_opinions([file_of(tmp_path, train, split="train", **learnt), fold], fake, train)
    assert opinions.names == ["one", "fold"]
    assert opinions.seen.sum(axis=0).tolist() == [60, 0]
    assert opinions.asked[:20].tolist() == [[False, True]] * 20
    assert opinions.asked[20:].tolist() == [[True, False]] * 40
    assert np.flatnonzero(opinions.only_seen).tolist() == list(range(20, 60))


def test_models_are_told_apart_by_seed_or_file(fake: Dataset, tmp_path: Path) -> None:
    def names(*cards: dict[str, Any]) -> list[str]:
        files = [
            write(tmp_path / f"f{n}.parquet", fake, noisy(truth_of(fake), n + 1.0, np.random.default_rng(n)), **card)
            for n, card in enumerate(cards)
        ]
        return list(read_opinions(files, fake, fake).names)

    assert names({"name": "a"}, {"name": "b", "seed": 1}) == ["a", "b"]
    assert names({"name": "a", "seed": 0}, {"name": "a", "seed": 1}) == ["a (seed 0)", "a (seed 1)"]
    assert names({"name": "a", "seed": 0}, {"name": "a", "seed": 0}) == ["a (f0)", "a (f1)"]


def test_files_that_cannot_be_used_are_refused(fake: Dataset, tmp_path: Path) -> None:
    test = fake.select(split="test")
    good = file_of(tmp_path, test)
    key = dataset_key(fake)
    ids = test.annotations["sample_id"].tolist()
    truth = truth_of(test)
    cases: dict[str, tuple[list[Path], str | None]] = {
        r"there is no such file": ([tmp_path / "none.parquet"], None),
        r"Expected predictions for fake 1.0.0 \(label digest aaaaaaaaaaaa\) in .*, found some for fake 1.0.1 \(bbbbbbbbbbbb\). "
        r"Predict again": (
            [file_of(tmp_path, test, "other", key=key.model_copy(update={"version": "1.0.1", "digest": "b" * 64}))], None,
        ),
        r"predictions for some of the 40 people in .*, found 180 for others \(split 'test': .*175 more": ([good], "train"),
        r"1 ids that the dataset does not have \(who\).*submission check": (
            [write(tmp_path / "who.parquet", test, truth, ids=[*ids[:-1], "who"])], None,
        ),
        r"1 ids with several rows": ([write(tmp_path / "twice.parquet", test, truth, ids=[*ids[:-1], ids[0]])], None),
        r"the same directions for 120 people in .*one.parquet and .*copy.parquet": (
            [good, file_of(tmp_path, test, "copy")], None,
        ),
    }  # fmt: skip
    for message, (files, split) in cases.items():
        with pytest.raises(InputError, match=message):
            find_suspects(fake, files, split=split)


def test_unknown_directions_and_points_in_photos_are_refused(fake: Dataset, tmp_path: Path) -> None:
    test = fake.select(split="test")
    file = file_of(tmp_path, test)
    table = pd.DataFrame({"sample_id": test.annotations["sample_id"], "gaze_lon_deg": 200.0, "gaze_lat_deg": np.nan})
    header = PredictionHeader(dataset=dataset_key(fake), split="test", predictor=PredictorCard(name="x"))
    write_predictions(file, Predictions(header, table))
    with pytest.raises(InputError, match="180 longitudes or latitudes out of range, or none"):
        find_suspects(fake, [file])
    flat = table.rename(columns={"gaze_lon_deg": "gaze_x", "gaze_lat_deg": "gaze_y"})
    write_predictions(file, Predictions(header.model_copy(update={"frame": "photo"}), flat))
    with pytest.raises(InputError, match="Expected predictions on the sphere in .*, found frame 'photo'"):
        find_suspects(fake, [file])


# --- the command ------------------------------------------------------------------------------------------------------


def test_suspects_of_a_built_dataset_from_the_command_line(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong labels written to a dataset, and one that lint sees too; the worst of them lead the list."""
    spoiled: list[str] = []

    def spoil(rows: list[dict[str, Any]]) -> None:
        alone = [row for row in rows if row["suite"] == "mixed" and row["gaze_points_deg"] and row["split"] == "test"]
        for row in alone[:3]:
            set_points(
                row, sphere.exp_map(points_of(row), np.radians(np.tile([-70.0, 20.0], (len(row["gaze_points_deg"]), 1))))
            )
            spoiled.append(row["sample_id"])
        set_points(alone[3], moved(alone[3], 0.2))

    root = plant_in(clean, tmp_path / "data", spoil)
    before, data = Dataset.open(clean), Dataset.open(root)
    test = data.select(split="test")
    truth = truth_of(before)[pd.Index(before.annotations["sample_id"]).get_indexer(test.annotations["sample_id"])]
    rng = np.random.default_rng(0)
    files = [str(write(tmp_path / f"{n}.parquet", test, noisy(truth, 4.0, rng), training_data=["clean, train"])) for n in "ab"]
    words = ["annotate", "suspects", str(root), "--predictions", *files, "--split", "test"]

    ran = run_command(capsys, *words, "--csv", str(tmp_path / "s.csv"), "--out", str(tmp_path / "out"))
    assert ran.code == 1
    assert re.search(
        r"error: \d+ of \d+ labels in .* have a quality below 0.05. Look at them, worst first", ran.err.replace("\n", " ")
    )
    assert "in-frame-outside-photo" in ran.out
    assert "a (a.parquet): " in ran.out
    table = pd.read_csv(tmp_path / "s.csv")
    assert set(table["sample_id"][:3]) == set(spoiled)
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert table["quality"].is_monotonic_increasing
    assert table["quality"].between(0.0, 1.0).all()
    assert {"residual_deg: a", "residual_deg: b", "dispersion_deg", "consensus_lon_deg", "findings", "in_sample"} <= set(table)
    assert (table["residual_deg"][:3] > 60.0).all()
    for name in ("suspects.csv", "scores.png", "scores.svg", "scores.csv", "worst.png"):
        assert (tmp_path / "out" / name).stat().st_size > 100

    ran = run_command(capsys, *words, "--json", "--below", "0")
    told = json.loads(ran.out)
    assert (ran.code, told["suspects"], told["without_predictions"]) == (0, 0, 0)
    assert [one["sample_id"] for one in told["people"]] == table["sample_id"].tolist()
    assert told["models"][0]["used"] == len(table)

    ran = run_command(capsys, *words[:-2], "--below", "0")
    assert re.search(r"warning \d+ labels have no prediction", ran.out)
    ran = run_command(capsys, *words[:5], "--trial", "0.1", "--split", "test")
    assert ran.code == 0
    assert re.search(r"among the \d+ worst labels: \d\.\d{3}", ran.out)
    ran = run_command(capsys, "annotate", "suspects", str(root))
    assert (ran.code, "Expected predictions files after --predictions" in ran.err) == (2, True)


def test_models_trained_on_the_labels_are_warned_of(fake: Dataset, tmp_path: Path) -> None:
    from annotation.suspects.report import lines

    train = fake.select(split="train")
    file = file_of(tmp_path, train, split="train", training_data=["fake 1.0.0 (aaaaaaaaaaaa), train: 60 people"])
    told = "\n".join(lines(find_suspects(fake, [file]), 5))
    assert "40 labels are judged only by models that were trained on them (mixed-mixed-train-photo0000-0" in told
    assert "one model cannot say whether it or the label is wrong" in told
    assert "trained on fake 1.0.0 (aaaaaaaaaaaa), train: 60 people" in told
