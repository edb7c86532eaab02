"""Exports that carry the panoramas themselves: COCO, GazeFollow360, WebDataset; and what holds for every format."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tarfile
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from fakes import fake_dataset
from photos import write_gazefollow
from test_build import run_build

from builders.publish_commands import export as export_command
from builders.publishing.export.formats import FORMATS, export
from srgaze360.dataset import Dataset
from srgaze360.errors import EnvironmentProblem, InputError
from srgaze360.files import digest_file

SMALL: dict[str, dict[str, Any]] = {"viewport": {"width": 48, "height": 32}, "cubemap": {"face_width": 16}}


def content(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): digest_file(path) for path in sorted(root.rglob("*")) if path.is_file()}


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """48 people on 24 panoramas of 128 x 64; every third has no known gaze; one head is put across the seam."""
    made = fake_dataset(tmp_path / "data", people=12, images=True)
    (made.root / "LICENSES.md").write_text("terms\n", encoding="utf-8")
    (made.root / "CITATION.cff").write_text("title: fake\n", encoding="utf-8")
    rows = made.annotations
    at = rows.index[rows["in_frame"]][3]
    # 0.95 ... 1.03: 6.4 pixels left of the seam, 3.84 right of it; the head's direction is on the left
    rows.loc[at, ["head_u0", "head_u1", "head_v0", "head_v1"]] = [0.95, 1.03, 0.4, 0.5]
    rows.loc[at, ["head_lon_deg", "head_lat_deg"]] = [360.0 * 0.49, 9.0]
    return made


def across(data: Dataset) -> dict[str, Any]:
    [row] = data.annotations[data.annotations["head_u1"] == 1.03].to_dict("records")
    return {str(name): value for name, value in row.items()}


# --- every format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_reads_only_carries_its_papers_and_repeats_itself(data: Dataset, tmp_path: Path, name: str) -> None:
    before = content(data.root)
    options = SMALL.get(name, {})
    report = export(data, name, tmp_path / "one", options)
    export(data, name, tmp_path / "deep" / "two", options)
    assert content(data.root) == before
    assert content(tmp_path / "one") == content(tmp_path / "deep" / "two")
    assert (tmp_path / "one" / "LICENSES.md").read_text() == "terms\n"
    assert (tmp_path / "one" / "CITATION.cff").is_file()
    readme = (tmp_path / "one" / "README.md").read_text()
    assert data.info.label_digest in readme
    assert all(note in readme for note in report.notes)
    assert len(csv_rows(tmp_path / "one" / "left_out.csv")) == sum(report.left_out.values())
    json.dumps(report.to_dict())
    assert not list(tmp_path.rglob("*.tmp*"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_panorama_stops_the_export_and_leaves_nothing(data: Dataset, tmp_path: Path, name: str) -> None:
    (data.root / data.annotations["image_path"].iloc[-1]).unlink()
    with pytest.raises(InputError, match="Expected a panorama at"):
        export(data, name, tmp_path / "out", SMALL.get(name, {}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_folder_in_use_is_refused(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"to be new or empty, found there: mine\.txt"):
        export(data, "coco", tmp_path / "out")
    for inside in (data.root, data.root / "export", data.root.parent):
        with pytest.raises(InputError, match="apart from the dataset"):
            export(data, "coco", inside)
    with pytest.raises(InputError, match="to be a folder, found a file"):
        export(data, "coco", tmp_path / "out" / "mine.txt")
    (tmp_path / "empty").mkdir()
    assert export(data, "coco", tmp_path / "empty").files["people"] == 48


def test_a_system_that_refuses_is_an_environment_problem(data: Dataset, tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(EnvironmentProblem, match="No space left on device"):
        export(data, "coco", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_wrong_use_is_told(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'coco'"):
        export(data, "cocoo", tmp_path / "out")
    with pytest.raises(InputError, match="coco has no option 'shard_size'. Known: link"):
        export(data, "coco", tmp_path / "out", {"shard_size": 3})
    with pytest.raises(InputError, match="valid options for the format webdataset, found: shard_size"):
        export(data, "webdataset", tmp_path / "out", {"shard_size": 0})
    (data.root / "LICENSES.md").unlink()
    with pytest.raises(InputError, match="without the terms of its photos"):
        export(data, "coco", tmp_path / "out")


def test_a_path_in_the_annotations_cannot_leave_the_folders(data: Dataset, tmp_path: Path) -> None:
    data.annotations.loc[0, "image_path"] = "../outside.jpg"
    with pytest.raises(InputError, match="stays inside"):
        export(data, "coco", tmp_path / "out")
    data.annotations.loc[0, "image_path"] = "panoramas/x.jpg"
    data.annotations.loc[0, "panorama_id"] = "../../climber"
    with pytest.raises(InputError, match="stays inside"):
        export(data, "coco", tmp_path / "out")
    with pytest.raises(InputError, match="ids without '.' and '/'"):
        export(data, "webdataset", tmp_path / "out")


def test_the_command_exports_a_selection(data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_command(data.root, "webdataset", tmp_path / "out", split="test", suite="latitude", shard_size=5, json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["files"] == {"shards": 3, "panoramas": 12, "people": 24}
    export_command(data.root, "gazefollow360", tmp_path / "gf", split="train")
    assert "left out 4: the direction of the gaze is not known" in capsys.readouterr().out


# --- COCO -------------------------------------------------------------------------------------------------------------


def coco_index(path: Path) -> tuple[dict[str, Any], dict[int, Any], dict[int, Any], dict[int, list[Any]]]:
    """What the COCO API's createIndex does with a file, and what it takes for granted."""
    dataset = json.loads(path.read_text(encoding="utf-8"))
    by_image: dict[int, list[Any]] = defaultdict(list)
    for annotation in dataset["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    annotations = {annotation["id"]: annotation for annotation in dataset["annotations"]}
    images = {image["id"]: image for image in dataset["images"]}
    categories = {category["id"]: category for category in dataset["categories"]}
    assert len(annotations) == len(dataset["annotations"])
    assert len(images) == len(dataset["images"])
    assert set(by_image) <= set(images)
    for annotation in annotations.values():
        keypoints = categories[annotation["category_id"]]["keypoints"]
        assert len(annotation["keypoints"]) == 3 * len(keypoints)
        assert annotation["num_keypoints"] == sum(v > 0 for v in annotation["keypoints"][2::3])
        x, y, width, height = annotation["bbox"]
        image = images[annotation["image_id"]]
        assert 0 <= x < x + width <= image["width"] + 1e-3
        assert 0 <= y < y + height <= image["height"] + 1e-3
        assert annotation["area"] == pytest.approx(width * height, abs=1e-2)
        assert annotation["segmentation"] == [[x, y, pytest.approx(x + width), y, pytest.approx(x + width),
                                               pytest.approx(y + height), x, pytest.approx(y + height)]]  # fmt: skip
        assert annotation["iscrowd"] == 0
    return dataset, annotations, images, by_image


def test_coco_is_what_its_api_expects_and_lies_on_the_labels(data: Dataset, tmp_path: Path) -> None:
    report = export(data, "coco", tmp_path / "out")
    seen: set[str] = set()
    for split in ("train", "test"):
        dataset, annotations, images, _ = coco_index(tmp_path / "out" / "annotations" / f"heads_{split}.json")
        assert dataset["licenses"] == [{"id": 1, "name": "Fake: MIT", "url": ""}]
        for image in images.values():
            source = data.root / "panoramas" / split / f"{image['panorama_id']}.jpg"
            assert digest_file(tmp_path / "out" / "images" / image["file_name"]) == digest_file(source)
        rows = {row["sample_id"]: row for row in data.annotations.to_dict("records")}
        for annotation in annotations.values():
            row = rows[annotation["sample_id"]]
            if annotation["part"] > 1 or annotation["parts"] > 1:
                continue
            seen.add(annotation["sample_id"])
            hx, hy, hv, gx, gy, gv = annotation["keypoints"]
            assert (hx, hy) == (
                pytest.approx(128 * (row["head_lon_deg"] / 360 + 0.5), abs=1e-3),
                pytest.approx(64 * (0.5 - row["head_lat_deg"] / 180), abs=1e-3),
            )
            x, y, width, height = annotation["bbox"]
            assert [x, y, x + width, y + height] == pytest.approx(
                [128 * row["head_u0"], 64 * row["head_v0"], 128 * row["head_u1"], 64 * row["head_v1"]], abs=1e-3
            )
            assert hv == 2
            if row["in_frame"]:
                assert gv == 2
                assert gx == pytest.approx(128 * (row["gaze_lon_deg"] / 360 + 0.5), abs=1e-3)
                assert len(annotation["gaze_points"]) == 5
            else:
                assert (gx, gy, gv, annotation["gaze_points"]) == (0, 0, 0, [])
    assert len(seen) == 48 - report.files["annotations"] + 48  # those that are cut at the seam are two annotations


def test_coco_cuts_a_head_at_the_seam_into_two_annotations_of_one_person(data: Dataset, tmp_path: Path) -> None:
    row = across(data)
    export(data, "coco", tmp_path / "out")
    _, annotations, _, _ = coco_index(tmp_path / "out" / "annotations" / f"heads_{row['split']}.json")
    left, right = [item for item in annotations.values() if item["sample_id"] == row["sample_id"]]
    assert left["bbox"] == pytest.approx([121.6, 25.6, 6.4, 6.4])
    assert right["bbox"] == pytest.approx([0.0, 25.6, 3.84, 6.4])
    assert (left["part"], right["part"], left["parts"]) == (1, 2, 2)
    assert left["head_box"] == right["head_box"] == [0.95, 0.4, 1.03, 0.5]
    assert left["num_keypoints"] == 2
    assert right["keypoints"] == [0, 0, 0, 0, 0, 0]


def test_coco_marks_a_target_outside_its_photo_as_not_visible(data: Dataset, tmp_path: Path) -> None:
    at = data.annotations.index[data.annotations["in_frame"]][0]
    data.annotations.loc[at, "in_frame"] = False
    row = data.annotations.loc[at]
    export(data, "coco", tmp_path / "out")
    _, annotations, _, _ = coco_index(tmp_path / "out" / "annotations" / f"heads_{row['split']}.json")
    [found] = [item for item in annotations.values() if item["sample_id"] == row["sample_id"]]
    assert found["keypoints"][5] == 1
    assert found["in_frame"] is False


def test_links_share_the_file_and_copies_do_not(data: Dataset, tmp_path: Path) -> None:
    source = data.root / data.annotations["image_path"].iloc[0]
    for name, link in (("linked", True), ("copied", False)):
        export(data, "coco", tmp_path / name, {"link": link})
        target = tmp_path / name / "images" / source.relative_to(data.root / "panoramas")
        assert source.samefile(target) == link


# --- GazeFollow360 ----------------------------------------------------------------------------------------------------


def read_as_its_loaders_do(root: Path, split: str) -> list[tuple[Path, list[int], list[float]]]:
    """The way from file to labels that the public loaders share: squeeze, rstrip, corners by min and max."""
    path = root / "train_vali_test_data" / f"{split}_data.mat"
    metadata = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    found = []
    for index in range(metadata["gaze"].shape[0]):
        scene = root / "all the videos" / str(metadata["path"][index]).rstrip()
        x_min, y_min, x_max, y_max = list(map(int, metadata["face_box"][index].reshape(-1)))
        box = [min(x_min, x_max), min(y_min, y_max), max(x_min, x_max), max(y_min, y_max)]
        found.append((scene, box, metadata["gaze"][index].tolist()))
    return found


def test_gazefollow360_is_read_by_its_own_loaders(data: Dataset, tmp_path: Path) -> None:
    report = export(data, "gazefollow360", tmp_path / "out")
    listing = csv_rows(tmp_path / "out" / "samples.csv")
    rows = {row["sample_id"]: row for row in data.annotations.to_dict("records")}
    kept = {name for name, row in rows.items() if row["in_frame"]}
    assert {line["sample_id"] for line in listing} == kept
    assert report.files["records"] == len(kept) == 32
    left_out = csv_rows(tmp_path / "out" / "left_out.csv")
    assert {line["sample_id"] for line in left_out} == set(rows) - kept
    assert {line["reason"] for line in left_out} == {"the direction of the gaze is not known"}
    for split in ("train", "test"):
        records = read_as_its_loaders_do(tmp_path / "out", split)
        lines = [line for line in listing if line["split"] == split]
        assert len(records) == len(lines)
        for (scene, box, gaze), line in zip(records, lines, strict=True):
            row = rows[line["sample_id"]]
            assert digest_file(scene) == digest_file(data.root / row["image_path"])
            assert gaze == pytest.approx([row["gaze_lon_deg"] / 360 + 0.5, 0.5 - row["gaze_lat_deg"] / 180], abs=1e-12)
            assert 0 <= box[0] < box[2] <= 128
            assert 0 <= box[1] < box[3] <= 64
            if line["cut"] == "0":
                exact = np.array([row["head_u0"], row["head_v0"], row["head_u1"], row["head_v1"]]) * [128, 64, 128, 64]
                outwards = np.array([1, 1, -1, -1]) * (exact - box)
                assert np.all((outwards >= -1e-5) & (outwards < 1.0))


def test_gazefollow360_writes_the_wider_piece_of_a_head_at_the_seam(data: Dataset, tmp_path: Path) -> None:
    row = across(data)
    export(data, "gazefollow360", tmp_path / "out")
    [line] = [item for item in csv_rows(tmp_path / "out" / "samples.csv") if item["sample_id"] == row["sample_id"]]
    assert (line["cut"], line["head_u0"], line["head_u1"]) == ("1", "0.95", "1.03")
    _, box, _ = read_as_its_loaders_do(tmp_path / "out", row["split"])[int(line["record"])]
    assert box == [121, 25, 128, 32]


def test_gazefollow360_labels_are_dated_by_nobody(data: Dataset, tmp_path: Path) -> None:
    export(data, "gazefollow360", tmp_path / "out")
    header = (tmp_path / "out" / "train_vali_test_data" / "test_data.mat").read_bytes()[:116]
    assert header == b"MATLAB 5.0 MAT-file, written by srgaze360".ljust(116)


def test_gazefollow360_has_no_targets_outside_the_photo(data: Dataset, tmp_path: Path) -> None:
    at = data.annotations.index[data.annotations["in_frame"]][0]
    data.annotations.loc[at, "in_frame"] = False
    assert export(data, "gazefollow360", tmp_path / "out").left_out["the target lies outside its source photo"] == 1
    data.annotations["in_frame"] = False
    with pytest.raises(InputError, match="found none among 48"):
        export(data, "gazefollow360", tmp_path / "none")


def test_gazefollow360_comes_back_through_the_source_reader(data: Dataset, tmp_path: Path) -> None:
    reader = pytest.importorskip("builders.sources.gazefollow360")
    export(data, "gazefollow360", tmp_path / "out")
    listing = reader.read(tmp_path / "out", reader.SOURCE.options())
    assert listing.rejected == ()
    lines = csv_rows(tmp_path / "out" / "samples.csv")
    rows = {row["sample_id"]: row for row in data.annotations.to_dict("records")}
    expected = sorted((line["path"], round(rows[line["sample_id"]]["gaze_lon_deg"] / 360 + 0.5, 9)) for line in lines)
    found = sorted(
        (photo.image.removeprefix("all the videos/"), round(point[0], 9))
        for photo in listing.photos for person in photo.people for point in person.gaze
    )  # fmt: skip
    assert found == expected


# --- WebDataset -------------------------------------------------------------------------------------------------------


def test_webdataset_shards_are_sorted_anonymous_and_indexed(data: Dataset, tmp_path: Path) -> None:
    export(data, "webdataset", tmp_path / "out", {"shard_size": 5})
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [(shard["path"], shard["samples"]) for shard in index["shards"]] == [
        ("train-000000.tar", 5), ("train-000001.tar", 1),
        ("test-000000.tar", 5), ("test-000001.tar", 5), ("test-000002.tar", 5), ("test-000003.tar", 3),
    ]  # fmt: skip
    names: list[str] = []
    for shard in index["shards"]:
        path = tmp_path / "out" / shard["path"]
        assert (digest_file(path), path.stat().st_size) == (shard["sha256"], shard["bytes"])
        assert b"ustar" in path.read_bytes()[:512]
        with tarfile.open(path) as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode) == (
                    0,
                    0,
                    0,
                    "",
                    "",
                    0o644,
                )
                assert member.pax_headers == {}
                names.append(f"{shard['split']}/{member.name}")
    assert len(names) == 48
    for split in ("train", "test"):
        own = [name for name in names if name.startswith(split)]
        assert own == sorted(own, key=lambda name: (name.partition(".")[0], name.endswith(".json")))


def test_webdataset_bytes_do_not_depend_on_when_and_by_whom(data: Dataset, tmp_path: Path) -> None:
    export(data, "webdataset", tmp_path / "one")
    for path in data.root.rglob("*.jpg"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    export(data, "webdataset", tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.skipif(find_spec("webdataset") is None, reason="webdataset is not installed (extra: publish)")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the package leaves shards open
def test_webdataset_reads_them(data: Dataset, tmp_path: Path) -> None:
    import webdataset

    export(data, "webdataset", tmp_path / "out", {"shard_size": 5})
    shards = sorted(str(path) for path in (tmp_path / "out").glob("test-*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    rows = data.select(split="test").annotations
    assert len(samples) == rows["panorama_id"].nunique() == 18
    for sample in samples:
        own = rows[rows["panorama_id"] == sample["__key__"]]
        assert sample["jpg"] == (data.root / own["image_path"].iloc[0]).read_bytes()
        assert sample["json"]["panorama"]["condition"] == own["condition"].iloc[0]
        assert [person["sample_id"] for person in sample["json"]["people"]] == own["sample_id"].tolist()
        for person, (_, row) in zip(sample["json"]["people"], own.iterrows(), strict=True):
            assert set(person) == set(own.columns)
            assert person["head_u1"] == row["head_u1"]
            assert (person["gaze_lon_deg"] is None) == (not row["in_frame"])
            assert person["gaze_points_deg"] == [list(point) for point in row["gaze_points_deg"]]


# --- a build ----------------------------------------------------------------------------------------------------------


def test_a_build_goes_out_in_every_format(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", train=2, test=2, scale=4)
    settings = ("output.width=256", "output.format=png", "suites.mixed.draw.background=black")
    run_build(tmp_path / "data", f"gazefollow={tmp_path / 'gf'}", recipe="mixed", settings=settings)
    data = Dataset.open(tmp_path / "data")
    for name in FORMATS:
        assert export(data, name, tmp_path / name, SMALL.get(name, {})).left_out == {}
    assert read_as_its_loaders_do(tmp_path / "gazefollow360", "test")[0][0].suffix == ".png"
