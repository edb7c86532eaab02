"""Predictions in photos: submissions against a source folder, planar protocols from files, and boards of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from building import run_command
from listings import test_row as row
from listings import train_row, write_labels, write_picture
from source_fixtures import write_gazefollow360, write_videoattentiontarget

from builders.sources import gazefollow as source
from leaderboard.scoring import score_file
from leaderboard.submissions import LIMITS, check_file
from srgaze360.errors import InputError
from srgaze360.photo_labels import ASKED, PhotoLabels, is_source, open_photo_labels
from srgaze360.predictions import FRAMES, PredictionHeader, Predictions, PredictorCard, read_predictions, write_predictions
from srgaze360.protocols import gazefollow, videoattentiontarget

PEOPLE, ANNOTATIONS = 24, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GazeFollow in small: 12 test photos of two people each, five annotations a person, of unequal shape."""
    root = tmp_path_factory.mktemp("photos") / "gf"
    rng = np.random.default_rng(4)
    rows = []
    for person in range(PEOPLE):
        eye, target = rng.uniform(0.3, 0.6, 2), rng.uniform(0.2, 0.8, 2)
        for _ in range(ANNOTATIONS - person % 2):
            x, y = np.clip(target + rng.normal(0.0, 0.05, 2), 0.0, 1.0)
            path = f"test2/00000000/{person // 2:02d}.jpg"
            rows.append(
                row(path=path, id=person, eye_x=eye[0], eye_y=eye[1], gaze_x=x, gaze_y=y, source="COCO", meta=path[-6:])
            )
    for number in range(PEOPLE // 2):
        write_picture(root / f"test2/00000000/{number:02d}.jpg", 160, 120 if number % 2 else 96)
    write_picture(root / "train/00000000/a.jpg", 160, 120)
    write_labels(root, source.TEST_FILE, rows)
    write_labels(root, source.TRAIN_FILE, [train_row()])
    return root


@pytest.fixture
def labels(folder: Path) -> PhotoLabels:
    return open_photo_labels(f"gazefollow={folder}", "test")


def predicted(labels: PhotoLabels, path: Path, *, heatmaps: bool = True, order: int = 1) -> Predictions:
    """A predictions file whose rows stand in another order than the labels."""
    rng = np.random.default_rng(8)
    points = rng.uniform(0.0, 1.0, (len(labels), 2))
    table = pd.DataFrame({"sample_id": labels.annotations["sample_id"], "gaze_x": points[:, 0], "gaze_y": points[:, 1]})
    maps = rng.uniform(0.0, 1.0, (len(labels), 64, 64)).astype(np.float16) if heatmaps else None
    shuffled = np.random.default_rng(order).permutation(len(labels))
    table = table.iloc[shuffled].reset_index(drop=True)
    header = PredictionHeader(dataset=labels.key, split="test", predictor=PredictorCard(name="planar"), frame="photo")
    made = Predictions(header, table, None if maps is None else maps[shuffled])
    write_predictions(path, made)
    return made


# --- labels -----------------------------------------------------------------------------------------------------------


def test_labels_are_the_source_s_own_in_fractions(folder: Path, labels: PhotoLabels) -> None:
    text = source.read_annotations(folder / source.TEST_FILE, "test")
    assert len(labels) == PEOPLE
    for index, person in labels.annotations.iterrows():
        own = text[(text["path"] == person["image"]) & (text["id"] == person["person"])]
        at = labels.weights[index] > 0.0
        assert at.sum() == len(own)
        np.testing.assert_allclose(labels.points[index][at], own[["gaze_x", "gaze_y"]].to_numpy(float), atol=1e-12)
        np.testing.assert_allclose(labels.eyes[index], own[["eye_x", "eye_y"]].to_numpy(float)[0], atol=1e-12)
    first = labels.annotations.iloc[0]
    assert first["sample_id"] == "test2/00000000/00.jpg#0"
    assert (first["width"], first["height"], first["cluster_id"]) == (160, 96, "gazefollow/COCO/00.jpg")


def test_digests_follow_the_labels_and_not_the_folder(folder: Path, labels: PhotoLabels, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.symlink_to(folder)
    assert open_photo_labels(f"gazefollow={moved}", "test").key == labels.key
    changed = labels.points.copy()
    changed[3, 0, 0] += 1e-4
    assert replace(labels, points=changed).key != labels.key
    changed = labels.points.copy()
    changed[labels.weights == 0.0] += 0.5  # where nobody annotated
    assert replace(labels, points=changed).key == labels.key


def test_pixels_and_people_out_of_frame(tmp_path: Path) -> None:
    write_videoattentiontarget(tmp_path)
    found = open_photo_labels(f"videoattentiontarget={tmp_path}", "test")
    assert list(found.annotations["in_frame"]) == [True, False]
    np.testing.assert_allclose(found.points[0, 0], (300 / 640, 200 / 480))
    np.testing.assert_allclose(found.weights, [[1.0], [0.0]])
    np.testing.assert_allclose(found.eyes[0], ((9 + 60) / 2 / 640, (9 + 60) / 2 / 480))  # the middle of the head box


def test_a_source_must_be_whole_and_of_photos(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Nobody in gazefollow at .* is in split 'val'. Known: test, train"):
        open_photo_labels(f"gazefollow={folder}", "val")
    with pytest.raises(InputError, match=r"Unknown source 'gazefolow'. Did you mean 'gazefollow'"):
        open_photo_labels(f"gazefolow={folder}", "test")
    for name in (source.TEST_FILE, source.TRAIN_FILE):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(InputError, match=r"the 12 photos of split 'test' .* 12 cannot be read: .*00.jpg \(photo is missing\)"):
        open_photo_labels(f"gazefollow={tmp_path}", "test")
    (tmp_path / "spheres").mkdir()
    write_gazefollow360(tmp_path / "spheres")
    with pytest.raises(InputError, match=r"found panoramas in gazefollow360 .* Build a dataset"):
        open_photo_labels(f"gazefollow360={tmp_path / 'spheres'}", "test")


def test_a_folder_with_an_equals_sign_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert not is_source(str(tmp_path / "a=b"))
    assert is_source("gazefollow=/data")


# --- submissions ------------------------------------------------------------------------------------------------------


def test_files_in_photos_are_read_back(labels: PhotoLabels, tmp_path: Path) -> None:
    made = predicted(labels, tmp_path / "p.parquet")
    assert made.header.heatmap_shape == FRAMES["photo"].heatmap_shape == (64, 64)
    found = read_predictions(tmp_path / "p.parquet")
    np.testing.assert_array_equal(found.points, made.points)
    np.testing.assert_array_equal(found.heatmaps, made.heatmaps)
    made.table.to_csv(tmp_path / "p.csv", index=False)
    (tmp_path / "p.csv.json").write_text(made.header.model_dump_json())
    np.testing.assert_allclose(read_predictions(tmp_path / "p.csv").points, made.points)
    assert check_file(tmp_path / "p.csv", labels, "test").valid


def test_faults_in_photos(labels: PhotoLabels, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    made = predicted(labels, path)
    sizes = labels.annotations.set_index("sample_id").loc[made.table["sample_id"], ["width", "height"]].to_numpy()
    pixels = made.table.assign(gaze_x=made.table["gaze_x"] * sizes[:, 0], gaze_y=-0.25)
    write_predictions(path, replace(made, table=pixels))
    one, other = check_file(path, labels, "test").faults
    assert (one.code, other.code) == ("photo-range", "photo-range")
    assert one.count == int((pixels["gaze_x"] > 1.0).sum())
    assert "with gaze_x from" in one.found
    assert (other.count, other.found) == (PEOPLE, f"{PEOPLE} with gaze_y from -0.25 to -0.25")
    assert "Divide pixels by the photo's size" in one.remedy
    assert {limit.code for limit in LIMITS.values()} == {"photo-range", "longitude-range", "latitude-range"}


def test_the_other_frame_is_refused(labels: PhotoLabels, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table = predicted(labels, path).table
    header = PredictionHeader(dataset=labels.key, split="test", predictor=PredictorCard(name="on the sphere"))
    write_predictions(path, Predictions(header, table.assign(gaze_lon_deg=0.0, gaze_lat_deg=0.0)))
    (fault,) = check_file(path, labels, "test").faults
    assert (fault.code, fault.found) == ("frame", "'sphere' instead of 'photo'")
    write_predictions(path, Predictions(header.model_copy(update={"frame": "photo"}), table.drop(columns="gaze_y")))
    with pytest.raises(InputError, match="Expected the columns sample_id, gaze_x, gaze_y .* missing gaze_y"):
        check_file(path, labels, "test")


# --- scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compat", [None, *gazefollow.COMPAT])
def test_scores_are_the_protocol_s(labels: PhotoLabels, tmp_path: Path, compat: str | None) -> None:
    path = tmp_path / "p.parquet"
    made = predicted(labels, path)
    name = "gazefollow" if compat is None else f"gazefollow/{compat}"
    record = score_file(path, labels, "test", tmp_path / "r.json", protocol=name, resamples=200)
    place = [list(made.table["sample_id"]).index(one) for one in labels.annotations["sample_id"]]
    sizes = labels.annotations[["height", "width"]].to_numpy()
    wanted = gazefollow.evaluate(
        made.points[place],
        labels.points,
        labels.weights,
        eyes=labels.eyes,
        heatmaps=made.heatmaps[place],
        image_sizes=sizes,
        compat=compat,
    )
    assert record.protocol == name
    assert (record.people, record.clusters, record.overall.people) == (PEOPLE, PEOPLE // 2, PEOPLE)
    for metric, values in wanted.per_sample.items():
        assert record.overall.metrics[metric].value == pytest.approx(values.mean(), abs=1e-12), metric
    reach = [group for group in record.breakdowns if group.by == "reach"]
    assert sum(group.people for group in reach) == PEOPLE
    assert [group.group for group in reach] == ["0-0.1", "0.1-0.2", "0.2-0.4", "0.4-1.5"]


def test_in_frame_scores_and_targets_out_of_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    lines = []
    for number in range(30):
        target = "-1,-1" if number % 3 == 0 else f"{rng.integers(0, 640)},{rng.integers(0, 480)}"
        lines.append(f"{number}.jpg,9,9,60,60,{target}")
        write_picture(tmp_path / f"images/b/1_2/{number}.jpg", 640, 480)
    track = tmp_path / "annotations/test/b/1_2/s00.txt"
    track.parent.mkdir(parents=True)
    track.write_text("\n".join(lines) + "\n")
    labels = open_photo_labels(f"videoattentiontarget={tmp_path}", "test")
    path = tmp_path / "p.parquet"
    made = predicted(labels, path)
    scores = rng.uniform(0.0, 1.0, len(labels))
    write_predictions(path, replace(made, table=made.table.assign(in_frame_score=scores)))
    record = score_file(path, labels, "test", tmp_path / "r.json", protocol="videoattentiontarget", resamples=200)
    by_id = labels.annotations.set_index("sample_id")
    place = [list(by_id.index).index(one) for one in made.table["sample_id"]]
    inside = labels.annotations["in_frame"].to_numpy()[place]
    wanted = videoattentiontarget.evaluate(
        made.points, labels.points[place, 0], inside, heatmaps=made.heatmaps, in_frame_score=scores
    )
    assert record.overall.metrics["distance"].value == pytest.approx(np.nanmean(wanted.per_sample["distance"]), abs=1e-12)
    assert record.overall.metrics["distance"].people == 20
    assert record.overall.metrics["in_frame_ap"].value == pytest.approx(wanted.over_set["in_frame_ap"], abs=1e-12)


def test_annotators_have_a_row(labels: PhotoLabels, tmp_path: Path) -> None:
    record = score_file("human", labels, "test", tmp_path / "h.json", protocol="gazefollow", resamples=200)
    wanted = gazefollow.human(labels.points, labels.weights, eyes=labels.eyes)
    assert record.overall.metrics["distance_mean"].value == pytest.approx(wanted["distance_mean"].mean(), abs=1e-12)
    with pytest.raises(InputError, match=r"videoattentiontarget protocol has no human row.*under the gazefollow protocol"):
        score_file("human", labels, "test", tmp_path / "h.json", protocol="videoattentiontarget")


def test_what_cannot_be_scored_says_so(labels: PhotoLabels, fake: object, tmp_path: Path) -> None:
    path, out = tmp_path / "p.parquet", tmp_path / "r.json"
    predicted(labels, path, heatmaps=False)
    with pytest.raises(InputError, match="Expected a built dataset for the spherical protocol, found a source of photos"):
        score_file(path, labels, "test", out)
    with pytest.raises(InputError, match=r"Expected a source of photos \(--data KIND=DIR, .*found a built dataset"):
        score_file(path, fake, "test", out, protocol="gazefollow")  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=r"Expected heatmaps in .* the gazefollow/chong protocol.* under the gazefollow protocol"
    ):
        score_file(path, labels, "test", out, protocol="gazefollow/chong")
    with pytest.raises(InputError, match=r"found 24 people with more. Score them with --protocol gazefollow"):
        score_file(path, labels, "test", out, protocol="videoattentiontarget")
    with pytest.raises(InputError, match=r"Unknown protocol 'gazefollow/chongg'. Did you mean 'gazefollow/chong'"):
        score_file(path, labels, "test", out, protocol="gazefollow/chongg")
    with pytest.raises(InputError, match=r"have no suites, found suite 'lens'. Leave --suite out"):
        score_file(path, labels, "test", out, protocol="gazefollow", suite="lens")


# --- from the command line --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_plots")
def test_from_the_people_of_a_source_to_a_board(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What somebody does who has a planar method: list the people, predict, pack, check, score, rank."""
    data = f"gazefollow={folder}"
    people = tmp_path / "people.csv"
    assert run_command(capsys, "sources", "people", "gazefollow", str(folder), "--out", str(people)).code == 0
    asked = pd.read_csv(people)
    assert list(asked.columns) == list(ASKED)
    assert len(asked) == PEOPLE
    middle = asked.assign(gaze_x=(asked["head_u0"] + asked["head_u1"]) / 2, gaze_y=(asked["head_v0"] + asked["head_v1"]) / 2)
    for name, table in {"at the head": middle, "centre": asked.assign(gaze_x=0.5, gaze_y=0.5)}.items():
        points = tmp_path / "points.csv"
        table[["sample_id", "gaze_x", "gaze_y"]].to_csv(points, index=False)
        packed = tmp_path / f"{name}.parquet"
        ran = run_command(capsys, "submission", "pack", str(points), "--data", data, "--name", name, "--out", str(packed))
        assert ran.code == 0, ran.err
        assert run_command(capsys, "submission", "check", str(packed), "--data", data).code == 0
        result = tmp_path / f"{name}.json"
        words = ("score", str(packed), "--data", data, "--protocol", "gazefollow", "--out", str(result), "--resamples", "200")
        ran = run_command(capsys, *words)
        assert ran.code == 0, ran.err
        assert "Distance to the mean" in ran.out
        assert run_command(capsys, "board", "add", str(result), "--board", str(tmp_path / "board")).code == 0
    centre = json.loads((tmp_path / "centre.json").read_text())
    labels = open_photo_labels(data, "test")
    w = labels.weights[..., None]
    mean = (labels.points * w).sum(axis=1) / w.sum(axis=1)
    assert centre["overall"]["metrics"]["distance_to_mean"]["value"] == pytest.approx(np.hypot(*(mean - 0.5).T).mean())
    ran = run_command(capsys, "board", "build", "--board", str(tmp_path / "board"), "--out", str(tmp_path / "site"))
    assert ran.code == 0, ran.err
    text = (tmp_path / "site" / "board.md").read_text()
    assert "Distance from eyes to target" in text
    assert "## By condition" not in text  # photos have none
    assert "As published, not re-run" in text  # of GazeFollow's test split
    assert "Gaze-LLE" in text
    assert text.index("| centre") < text.index("| at the head") or "| 1 |" in text
    words = ("score", "human", "--data", data, "--protocol", "gazefollow", "--out", str(tmp_path / "h.json"))
    assert run_command(capsys, *words, "--resamples", "200").code == 0
    assert run_command(capsys, "board", "add", str(tmp_path / "h.json"), "--board", str(tmp_path / "board")).code == 0


def test_another_code_base_shares_no_board(
    folder: Path, labels: PhotoLabels, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted(labels, tmp_path / "p.parquet")
    for compat in ((), ("--compat", "chong")):
        out = tmp_path / f"r{len(compat)}.json"
        words = ("score", str(tmp_path / "p.parquet"), "--data", f"gazefollow={folder}", "--protocol", "gazefollow")
        assert run_command(capsys, *words, *compat, "--out", str(out), "--resamples", "200").code == 0
    board = str(tmp_path / "board")
    assert run_command(capsys, "board", "add", str(tmp_path / "r0.json"), "--board", board).code == 0
    refused = run_command(capsys, "board", "add", str(tmp_path / "r2.json"), "--board", board)
    assert refused.code == 1
    assert "protocol is 'gazefollow/chong', the board's is 'gazefollow'" in " ".join(refused.err.split())


def test_real_photos_are_scored(real: Path, tmp_path: Path) -> None:
    labels = open_photo_labels(f"gazefollow={real / 'gazefollow'}", "test")
    centre = Predictions(
        PredictionHeader(dataset=labels.key, split="test", predictor=PredictorCard(name="centre"), frame="photo"),
        pd.DataFrame({"sample_id": labels.annotations["sample_id"], "gaze_x": 0.5, "gaze_y": 0.5}),
    )
    write_predictions(tmp_path / "p.parquet", centre)
    record = score_file(tmp_path / "p.parquet", labels, "test", tmp_path / "r.json", protocol="gazefollow", resamples=200)
    assert record.people == len(labels) >= 8
    assert record.dataset.name == "gazefollow"
