"""Trained on one band of people, tested on all: from `train --where` to the table and the heat map of a board."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd
import pytest
from boards import Page, result
from building import run_command
from fakes import fake_dataset
from matplotlib.patches import Rectangle

from baselines.priors import HeadPrior
from baselines.training.runs import train_predictor
from leaderboard.band_plot import matrix_figure
from leaderboard.bands import EVERYBODY, BandMatrix
from leaderboard.board import add_record, build_board
from leaderboard.predicting import predict_split
from leaderboard.records import read_record
from leaderboard.scoring import score_file
from srgaze360.cli import main
from srgaze360.dataset import Dataset
from srgaze360.dataset_writer import write_dataset
from srgaze360.errors import InputError
from srgaze360.predictions import TrainingKey, read_predictions
from srgaze360.predictors import Predictor, TrainingJob, open_predictor, read_run

BANDS = ("0-30 deg", "30-60 deg", "60-90 deg")
PRIMARY = "angular_distance_deg"


# --- an oracle in plain trigonometry: no code of ours -----------------------------------------------------------------


def vector(lon_deg: pd.Series, lat_deg: pd.Series) -> np.ndarray:
    """x right, y down, z forward."""
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    return np.stack([np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)], axis=-1)


def frame(lon_deg: pd.Series, lat_deg: pd.Series) -> np.ndarray:
    """East, north and radial at each head, as the rows of (n, 3, 3)."""
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    east = np.stack([np.cos(lon), np.zeros_like(lon), -np.sin(lon)], axis=-1)
    north = np.stack([-np.sin(lat) * np.sin(lon), -np.cos(lat), -np.sin(lat) * np.cos(lon)], axis=-1)
    return np.stack([east, north, vector(lon_deg, lat_deg)], axis=1)


def band_of(lat_deg: pd.Series) -> pd.Series:
    return pd.cut(lat_deg.abs(), [0.0, 30.0, 60.0, 90.0001], right=False, labels=BANDS).astype(object)


def expected_errors(train: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """Angular distance, degrees, of each test person under a head prior fitted to some people of the train split."""
    known = train[train["gaze_lon_deg"].notna()]
    local = np.einsum(
        "nij,nj->ni",
        frame(known["head_lon_deg"], known["head_lat_deg"]),
        vector(known["gaze_lon_deg"], known["gaze_lat_deg"]),
    )
    mean = local.mean(axis=0)
    mean /= math.sqrt((mean**2).sum())
    guess = np.einsum("nij,i->nj", frame(test["head_lon_deg"], test["head_lat_deg"]), mean)
    cosine = (guess * vector(test["gaze_lon_deg"], test["gaze_lat_deg"])).sum(axis=-1)
    return pd.Series(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))), index=test.index)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset on disk whose suite *latitude* has people to train on, and whose targets lean away in its higher band."""
    made = fake_dataset(tmp_path_factory.mktemp("bands") / "made", people=180)
    table = made.annotations.copy()
    more = table[table["suite"] == "latitude"].copy()
    more = more.assign(
        split="train",
        **{name: "train-" + more[name] for name in ("sample_id", "panorama_id", "cluster_id")},
        gaze_lat_deg=more["gaze_lat_deg"].where(more["condition"] != "lat+60", (more["head_lat_deg"] + 20.0).clip(-89, 89)),
    )
    rows = pd.concat([table, more], ignore_index=True).astype(object)
    root = made.root.parent / "data"
    write_dataset(root, made.info, rows.where(rows.notna(), None).to_dict("records"))
    return Dataset.open(root)


@pytest.fixture(scope="module")
def places(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which methods were trained on bands, predicted, scored, put on a board and shown, each by its command."""
    folder = tmp_path_factory.mktemp("work")
    trained = {
        **{f"lat{n}": ["suite=mixed", f"target_latitude={band.removesuffix(' deg')}"] for n, band in enumerate(BANDS)},
        "mixed": ["suite=mixed"],
        **{condition: ["suite=latitude", f"condition={condition}"] for condition in ("lat+0", "lat+60")},
    }
    for run, where in trained.items():
        words = [word for one in where for word in ("--where", one)]
        file, record = folder / f"{run}.parquet", folder / f"{run}.json"
        command("train", "head-prior", "--data", data.root, "--out", folder / run, *words)
        command("predict", folder / run, "--data", data.root, "--out", file)
        command("score", file, "--data", data.root, "--out", record, "--resamples", 200)
        command("board", "add", record, "--board", folder / "board", "--tier", "re-run")
    command("board", "build", "--board", folder / "board", "--out", folder / "pages")
    return folder


def command(*words: object) -> None:
    with patch.object(sys, "argv", ["srgaze360", *map(str, words)]), pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, words


def test_a_matrix_from_the_command_line_is_that_of_pandas(data: Dataset, places: Path) -> None:
    table = data.annotations
    train, test = table[table["split"] == "train"], table[(table["split"] == "test") & table["gaze_lon_deg"].notna()]
    content = json.loads((places / "pages" / "board.json").read_text())
    shown = {one["key"]: one for one in content["tables"] if one["key"].startswith("bands")}
    headings = [one["title"] for one in shown.values()]
    assert headings == [
        "Trained on one band, tested on all: head-prior, condition (suite=latitude)",
        "Trained on one band, tested on all: head-prior, absolute latitude of the target (suite=mixed)",
    ]
    # latitude of the target: mixed people alone, to train on and to test on
    mixed, tested = train[train["suite"] == "mixed"], test[test["suite"] == "mixed"]
    names = {f"head-prior (target_latitude {band.removesuffix(' deg')}, mixed)": band for band in BANDS}
    cells = {(cell["predictor"], cell["group"]): cell for cell in shown["bands-2"]["cells"]}
    assert {name for name, _ in cells} == {*names, "head-prior (mixed)"}
    compared = 0
    for name in {name for name, _ in cells}:
        people = mixed[band_of(mixed["gaze_lat_deg"]) == names[name]] if name in names else mixed
        errors = expected_errors(people, tested)
        for band, own in errors.groupby(band_of(tested["gaze_lat_deg"])):
            cell = cells[name, band]
            assert cell["value"] == pytest.approx(own.mean(), abs=1e-6)
            assert cell["people"] == len(own)
            assert cell["clusters"] == tested.loc[own.index, "cluster_id"].nunique()
            assert cell["low"] < cell["value"] < cell["high"]
            compared += 1
    assert compared == 12
    # conditions of a suite
    tested = test[test["suite"] == "latitude"]
    for cell in shown["bands-1"]["cells"]:
        condition = next(name for name in ("lat+60", "lat+0") if f"({name}, latitude)" in cell["predictor"])
        people = train[(train["suite"] == "latitude") & (train["condition"] == condition)]
        own = expected_errors(people, tested)[tested["condition"] == cell["group"]]
        assert cell["value"] == pytest.approx(own.mean(), abs=1e-6)
    # the plot's numbers are those of the table
    plotted = pd.read_csv(places / "pages" / "plots" / "bands-2.csv")
    assert len(plotted) == 12
    for row in plotted.itertuples():
        assert row.value == pytest.approx(cells[row.predictor, row.tested_on]["value"])
        assert row.same_band == (row.trained_on == row.tested_on)
    assert plotted["trained_on"].drop_duplicates().tolist() == [*BANDS, EVERYBODY]
    assert plotted["tested_on"].drop_duplicates().tolist() == [*BANDS]


def test_run_header_and_record_say_what_was_trained_on(data: Dataset, places: Path) -> None:
    train = data.annotations[data.annotations["split"] == "train"]
    people = train[(train["suite"] == "mixed") & (band_of(train["gaze_lat_deg"]) == "30-60 deg")]
    run = read_run(places / "lat1")
    assert run.where == {"suite": ["mixed"], "target_latitude": ["30-60 deg"]}
    assert run.people == len(people)
    card = read_predictions(places / "lat1.parquet").header.predictor
    assert card == read_record(places / "lat1.json").predictor
    assert card.training == run.key
    assert card.training_data == [
        f"fake 1.0.0 (aaaaaaaaaaaa), train where suite=mixed, target_latitude=30-60 deg: {len(people)} people"
    ]
    everybody = read_run(places / "mixed")
    assert everybody.key.digest == run.key.digest
    assert everybody.key.where == {"suite": ["mixed"]}
    assert run.model_copy(update={"settings": {"size": "base"}}).key.digest != run.key.digest
    assert run.model_copy(update={"seed": 5}).key.digest == run.key.digest


def test_every_output_shows_the_matrix(places: Path) -> None:
    pages = places / "pages"
    text = (pages / "board.md").read_text()
    section = text.split("absolute latitude of the target (suite=mixed)")[1].split("\n## ")[0]
    assert "| Tested on | 0–30° | 30–60° | 60–90° | all | People | Clusters |" in section
    rows = [line for line in section.splitlines() if line.startswith(("| 0–30°", "| 30–60°", "| 60–90°"))]
    assert len(rows) == 3
    assert all(line.count("[") == 4 and line.count("**") == 2 for line in rows)
    assert r"\label{tab:srgaze360-bands-2}" in (pages / "board.tex").read_text()
    tidy = pd.read_csv(pages / "board.csv")
    assert (tidy["table"] == "bands-2").sum() == 12
    html = Page((pages / "index.html").read_text())
    assert [row[0].rstrip(" ‡") for row in html.tables["bands-2"][1:]] == ["0–30°", "30–60°", "60–90°"]
    for name in ("bands-1", "bands-2"):
        image = cv2.imread(str(pages / "plots" / f"{name}.png"))
        assert image.std() > 20  # something is drawn
        assert 1300 < image.shape[1] < 1500  # 7 inches at 200 dots
        assert "<image" not in (pages / "plots" / f"{name}.svg").read_text()
    assert "<image" not in (pages / "index.html").read_text()


# --- training ---------------------------------------------------------------------------------------------------------


def spied(monkeypatch: pytest.MonkeyPatch) -> list[TrainingJob]:
    seen: list[TrainingJob] = []
    fit = HeadPrior.train

    def spy(job: TrainingJob) -> Predictor:
        seen.append(job)
        return fit(job)

    monkeypatch.setattr(HeadPrior, "train", spy)
    return seen


def with_val(fake: Dataset) -> Dataset:
    rows = fake.annotations.copy()
    rows.loc[(rows["split"] == "train") & (rows.index % 4 == 0), "split"] = "val"
    return replace(fake, annotations=rows)


def test_val_is_restricted_alike(
    fake: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen, rows = spied(monkeypatch), with_val(fake)
    train_predictor("head-prior", rows, tmp_path / "side", where={"face": ["side"]})
    assert set(seen[0].data.annotations["face"]) == {"side"}
    assert seen[0].val is not None
    assert set(seen[0].val.annotations["face"]) == {"side"}
    known = rows.annotations
    assert len(seen[0].val) == ((known["split"] == "val") & (known["face"] == "side")).sum()
    assert capsys.readouterr().err == ""
    # nobody of val is left: nothing is chosen by the others
    no_side = known["split"].eq("val") & known["face"].eq("side")
    without = replace(rows, annotations=known[~no_side].reset_index(drop=True))
    train_predictor("head-prior", without, tmp_path / "none", where={"face": ["side"]})
    assert seen[1].val is None
    assert "Nobody of val is left where face=side: nothing is chosen by it." in capsys.readouterr().err


def test_a_run_of_another_restriction_is_not_gone_on_with(fake: Dataset, tmp_path: Path) -> None:
    train_predictor("head-prior", fake, tmp_path / "run", where={"face": ["side"]})
    with pytest.raises(InputError, match="--overwrite"):
        train_predictor("head-prior", fake, tmp_path / "run", where={"face": ["front"]})
    train_predictor("head-prior", fake, tmp_path / "run", where={"face": ["front"]}, overwrite=True)
    assert read_run(tmp_path / "run").where == {"face": ["front"]}


def test_faults_leave_nothing_behind(fake: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for where, complaint in (
        ("fase=side", "'fase' is unknown. Did you mean 'face'?"),
        ("face=top", "Expected a value of face that somebody has, found 'top'. Known: back, front, side."),
        ("face", "Expected --where in the form NAME=VALUE, found 'face'."),
    ):
        words = ("train", "head-prior", "--data", str(fake.root), "--out", str(tmp_path / "run"), "--where", where)
        ran = run_command(capsys, *words)
        assert ran.code == 2
        assert complaint in ran.err
    assert not (tmp_path / "run").exists()
    ran = run_command(
        capsys, "train", "random", "--data", str(fake.root), "--out", str(tmp_path / "run"), "--where", "face=side"
    )
    assert "has nothing to train" in ran.err


def test_long_restrictions_have_short_names(fake: Dataset, tmp_path: Path) -> None:
    photos = sorted(set(fake.select(split="train").annotations["cluster_id"]))[:20]
    names = []
    for number in (19, 20):
        train_predictor("head-prior", fake, tmp_path / f"run{number}", where={"cluster_id": photos[:number]})
        names.append(open_predictor(str(tmp_path / f"run{number}"))[1].name)
    assert all(len(name) <= 100 and name.startswith("head-prior (") for name in names)
    assert names[0] != names[1]


# --- which rows make a matrix -----------------------------------------------------------------------------------------


def key(group: str, **where: list[str]) -> TrainingKey:
    return TrainingKey(predictor="direction", digest=group, where=where)


def board_of(folder: Path, data: Dataset, rows: list[tuple[str, float, TrainingKey | None]], **rest: Any) -> list[BandMatrix]:
    for place, (name, spread, training) in enumerate(rows):
        (folder / str(place)).mkdir()
        seed = rest.get("seeds", {}).get(place)
        add_record(result(folder / str(place), data, name, spread, seed=seed, training=training), folder / "board")
    return build_board(folder / "board", folder / "pages").tables.matrices


@pytest.mark.usefixtures("no_plots")
def test_one_band_or_other_settings_make_no_matrix(fake: Dataset, tmp_path: Path) -> None:
    matrices = board_of(
        tmp_path,
        fake,
        [
            ("low", 0.2, key("a", head_latitude=["0-30 deg"])),
            ("high, other settings", 0.3, key("b", head_latitude=["60-90 deg"])),
            ("high, one suite", 0.3, key("a", head_latitude=["60-90 deg"], suite=["mixed"])),
            ("everybody", 0.3, key("a")),
            ("low again", 0.4, key("a", head_latitude=["0-30 deg"])),
            ("no axis", 0.5, key("c", hfov_deg=["40..60"])),
            ("no axis either", 0.6, key("c", hfov_deg=["60..80"])),
            ("untrained", 0.7, None),
        ],
    )
    assert matrices == []


@pytest.mark.usefixtures("no_plots")
def test_bands_join_over_seeds_and_may_hold_several_groups(fake: Dataset, tmp_path: Path) -> None:
    rows = [
        ("wide", 0.3, key("a", head_latitude=["30-60 deg", "60-90 deg"])),
        ("everybody", 0.4, key("a")),
        ("low", 0.2, key("a", head_latitude=["0-30 deg"])),
        ("low", 0.2, key("a", head_latitude=["0-30 deg"])),
        ("suites", 0.2, key("a", suite=["mixed"])),
        ("other suite", 0.2, key("a", suite=["latitude"])),
    ]
    suite, latitude = board_of(tmp_path, fake, rows, seeds={2: 1, 3: 2})
    assert (suite.axis, latitude.axis) == ("suite", "head_latitude")
    assert [(one.row.name, one.label, len(one.row.parts)) for one in latitude.trained] == [
        ("low", "0-30 deg", 2), ("wide", "30-60 deg, 60-90 deg", 1), ("everybody", EVERYBODY, 1),
    ]  # fmt: skip
    assert [group.group for group in latitude.groups] == [*BANDS]
    assert [one.label for one in suite.trained] == ["latitude", "mixed", EVERYBODY]
    assert [group.group for group in suite.groups] == ["latitude", "mixed"]
    text = (tmp_path / "pages" / "board.md").read_text()
    assert "| Tested on | 0–30° | 30–60°, 60–90° | all | People | Clusters |" in text
    assert "| Tested on | latitude | mixed | all | People | Clusters |" in text


def test_a_card_that_says_nonsense_shows_as_text(fake: Dataset, tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script>$x$ | **b**'
    rows = [
        (name, 0.2, TrainingKey(predictor=hostile, digest="a", where={"head_latitude": [band], "suite": [hostile]}))
        for name, band in (("one", hostile), ("two", "=1+1"), ("three", "0-30 deg"))
    ]
    (matrix,) = board_of(tmp_path, fake, rows)
    assert matrix.trained[0].label == "0-30 deg"  # known bands first
    page = (tmp_path / "pages" / "index.html").read_text()
    assert page.count("<script") == 1  # ours
    assert "alert(1)</script>" not in page
    assert hostile not in (tmp_path / "pages" / "board.md").read_text()
    table = pd.read_csv(tmp_path / "pages" / "plots" / "bands-1.csv")
    assert "'=1+1" in set(table["trained_on"])


# --- the heat map -----------------------------------------------------------------------------------------------------


def test_cells_say_their_numbers_and_frames_where_the_band_was_trained_on(data: Dataset, tmp_path: Path) -> None:
    rows = [
        ("low", 0.2, key("a", head_latitude=["0-30 deg"])),
        ("wide", 0.5, key("a", head_latitude=["30-60 deg", "60-90 deg"])),
        ("everybody", 0.8, key("a")),
    ]
    for place, (name, spread, training) in enumerate(rows):
        (tmp_path / str(place)).mkdir()
        add_record(result(tmp_path / str(place), data, name, spread, training=training), tmp_path / "board")
    tables = build_board(tmp_path / "board", tmp_path / "pages").tables
    (matrix,) = tables.matrices
    figure, numbers = matrix_figure(matrix, tables, [])
    axes = figure.axes[0]
    texts = {text.get_text(): text for text in axes.texts}
    for row in numbers.itertuples():
        assert f"{row.value:.2f}" in texts
        assert f"{row.low:.2f} to {row.high:.2f}" in texts
    # best of each line bold: 'low' is the most exact everywhere
    bold = {name for name, text in texts.items() if text.get_weight() == "bold"}
    assert bold == {f"{row.value:.2f}" for row in numbers.itertuples() if row.predictor == "low"}
    frames = [p for p in axes.patches if isinstance(p, Rectangle) and not p.get_fill() and p.get_linewidth() > 2.0]
    assert sorted((round(p.get_x() + 0.47), round(p.get_y() + 0.45)) for p in frames) == [(0, 0), (1, 1), (1, 2)]
    # darker is worse, on one scale
    cells = {
        (round(p.get_x() + 0.5), round(p.get_y() + 0.5)): sum(p.get_facecolor()[:3])
        for p in axes.patches
        if isinstance(p, Rectangle) and p.get_width() == 1.0
    }
    order = sorted(cells, key=lambda place: numbers["value"].to_numpy().reshape(3, 3)[place[1], place[0]])
    assert cells[order[0]] > cells[order[-1]] + 0.5
    assert axes.get_xlabel() == "trained on: absolute latitude of the head"
    assert [tick.get_text().split("\n")[0].rstrip(" ‡") for tick in axes.get_yticklabels()] == ["0–30°", "30–60°", "60–90°"]


def test_groups_without_a_number_are_hatched(fake: Dataset, tmp_path: Path) -> None:
    few = fake.annotations.drop(
        fake.annotations.index[
            (fake.annotations["split"] == "test")
            & (fake.annotations["suite"] == "mixed")
            & (fake.annotations["head_lat_deg"].abs() > 60)
        ][5:]
    )
    small = replace(fake, annotations=few.reset_index(drop=True))
    rows = [(name, 0.2, key("a", head_latitude=[band])) for name, band in (("low", "0-30 deg"), ("high", "60-90 deg"))]
    (matrix,) = board_of(tmp_path, small, rows)
    numbers = pd.read_csv(tmp_path / "pages" / "plots" / "bands-1.csv")
    assert numbers[numbers["tested_on"] == "60-90 deg"]["value"].isna().all()
    assert numbers[numbers["tested_on"] == "0-30 deg"]["value"].notna().all()
    (tables,) = [build_board(tmp_path / "board", tmp_path / "pages").tables]
    axes = matrix_figure(matrix, tables, [])[0].axes[0]
    assert sum(patch.get_hatch() == "///" for patch in axes.patches) == 2


def test_records_of_predict_and_score_in_python(data: Dataset, tmp_path: Path) -> None:
    """The same through the functions: a latitude prior knows nothing but the band it was trained on."""
    for band in BANDS:
        run = tmp_path / band[:2]
        train_predictor("latitude-prior", data, run, where={"target_latitude": [band]})
        predict_split(str(run), data, "test", run.with_suffix(".parquet"))
        score_file(run.with_suffix(".parquet"), data, "test", run.with_suffix(".json"), resamples=100)
        add_record(run.with_suffix(".json"), tmp_path / "board", tier="re-run")
    (matrix,) = build_board(tmp_path / "board", tmp_path / "pages").tables.matrices
    table = data.annotations
    for one in matrix.trained:
        guess = read_predictions(tmp_path / f"{one.bands[0][:2]}.parquet").table["gaze_lat_deg"]
        low, high = (float(end) for end in one.bands[0].removesuffix(" deg").split("-"))
        assert guess.min() == guess.max()
        assert low - 5.0 <= abs(guess[0]) <= high + 5.0  # the peak of a density with a kernel of 5 degrees
        for group in matrix.groups:
            rows = table[(table["split"] == "test") & (table["suite"] == "mixed") & table["gaze_lon_deg"].notna()]
            rows = rows[band_of(rows["gaze_lat_deg"]) == group.group]
            cosine = vector(rows["gaze_lon_deg"], rows["gaze_lat_deg"]) @ vector(pd.Series([0.0]), pd.Series([guess[0]]))[0]
            scores = next(scores for scores in one.row.record.groups if scores.key == group.key)
            assert scores.metrics[PRIMARY].value == pytest.approx(np.degrees(np.arccos(cosine)).mean(), abs=1e-6)
