"""What holds for every source, for label files and panoramas, and the report on a source's folder."""

from __future__ import annotations

import importlib
import json
import pkgutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listings import lines_of, train_row, write_labels, write_picture
from pydantic import ValidationError

import builders.sources
from builders.check import check_source
from builders.images import read_image
from builders.sources import gazefollow, panoramas, videoattentiontarget
from builders.sources.base import SourceOptions
from builders.sources.gazefollow import TRAIN_FILE, GazeFollowOptions
from builders.sources.rows import path_fault, read_rows, row_reference
from builders.sources.videoattentiontarget import VideoAttentionTargetOptions
from srgaze360.errors import InputError

MODULES = {
    name: module
    for name in sorted(info.name for info in pkgutil.iter_modules(builders.sources.__path__))
    if hasattr(module := importlib.import_module(f"builders.sources.{name}"), "SOURCE")
}


def test_sources_are_registered():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    registered = project["project"]["entry-points"]["srgaze360.sources"]
    assert {"gazefollow", "videoattentiontarget", "panoramas"} <= set(MODULES)
    for name in MODULES:
        assert registered[name] == f"builders.sources.{name}:SOURCE"


@pytest.mark.parametrize("name", MODULES)
def test_every_source_states_its_facts_and_refuses_unknown_options(name):
    source = MODULES[name].SOURCE
    assert source.kind == name
    assert all(text.strip() for text in (source.title, source.citation, source.licence, source.obtain, source.layout))
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        source.options(no_such_option=1)


@pytest.mark.parametrize("name", MODULES)
def test_every_source_explains_a_wrong_folder(name, tmp_path):
    source = MODULES[name].SOURCE
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.md").touch()
    (tmp_path / "file").touch()
    found = {
        "absent": "does not exist",
        "empty": "is empty",
        "other": r"holds notes\.md",
        "file": "is a file",
    }
    for folder, text in found.items():
        with pytest.raises(InputError, match=rf"(?s)Expected .*{folder} {text}\. .*get the data: "):
            source.read(tmp_path / folder, source.options())


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("test2/00000000/a.jpg", ""),
        ("images/Hell's Kitchen/1_2/é.jpg", ""),
        ("a..b/c.jpg", ""),
        ("../a.jpg", "leaves"),
        ("a/../../b.jpg", "leaves"),
        ("/etc/passwd", "leaves"),
        ("C:/a.jpg", "leaves"),
        ("", "plain"),
        ("a//b.jpg", "plain"),
        ("./a.jpg", "plain"),
        ("a\\..\\b.jpg", "plain"),
        ("a\0.jpg", "plain"),
    ],
)
def test_paths_stay_in_their_folder(path, fault):
    assert fault in path_fault(path)
    assert bool(path_fault(path)) == bool(fault)


@given(st.sets(st.integers(1, 60), min_size=1))
def test_row_references_name_their_lines(lines):
    ordered = sorted(lines)
    assert lines_of(row_reference("a:b.txt", ordered)) == [("a:b.txt", line) for line in ordered]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_are_physical_lines(ending, mark, tmp_path):
    (tmp_path / "t.txt").write_bytes((mark + ending.join(["a,1", "", 'b,"2,3"', "  ", 'c,"4', "d"])).encode())
    assert read_rows(tmp_path / "t.txt") == ([1, 3, 5, 6], [["a", "1"], ["b", "2,3"], ["c", "4"], ["d"]])


def test_panoramas_are_found_sorted_and_held_to_their_shape(tmp_path):
    for name, width, height in [
        ("b.JPG", 64, 32), ("a/z.png", 65, 32), ("a/y.jpeg", 63, 32), ("wide.jpg", 66, 32), ("tall.png", 32, 64),
        (".hidden/a.jpg", 64, 32),
    ]:  # fmt: skip
        write_picture(tmp_path / name, width, height)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.txt").touch()
    listing = panoramas.read(tmp_path, SourceOptions())
    assert [photo.image for photo in listing.photos] == ["a/y.jpeg", "a/z.png", "b.JPG"]
    assert {(photo.split, photo.people) for photo in listing.photos} == {("train", ())}
    assert {bad.image: bad.reason for bad in listing.rejected} == {
        "empty.jpg": "photo is empty (0 bytes)",
        "tall.png": "panorama is not twice as wide as high (32 x 64 pixels)",
        "wide.jpg": "panorama is not twice as wide as high (66 x 32 pixels)",
    }


def test_check_reports_what_is_there_and_what_is_wrong(tmp_path):
    rows = [
        train_row(path="sound.jpg"),
        train_row(path="sound.jpg", eye_x=0.9, bbox_x_min=60, bbox_x_max=-9, inout=0),
        train_row(path="sound.jpg", eye_x=0.8, bbox_x_min=300, bbox_x_max=400),
        train_row(path="broken.jpg"),
        train_row(path="missing.jpg", bbox_x_min=60, bbox_x_max=10),
        train_row(path="nan.jpg", gaze_x="nan"),
        train_row(path="nan.jpg", gaze_x="n/a"),
    ]
    write_labels(tmp_path, TRAIN_FILE, rows)
    write_picture(tmp_path / "sound.jpg", 200, 100)
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "sound.jpg").read_bytes()[:-50])
    ticks: list[None] = []
    report = check_source(gazefollow.SOURCE, tmp_path, GazeFollowOptions(), True, advance=lambda: ticks.append(None)).to_dict()
    assert len(ticks) == 3
    assert report == json.loads(json.dumps(report))
    assert report == {
        "kind": "gazefollow",
        "root": str(tmp_path),
        "images_opened": True,
        "splits": {"train": {"photos": 1, "people": 2, "in_frame": 1, "annotations": 1}},
        "missing": 1,
        "first_missing": ["missing.jpg"],
        "unreadable": 1,
        "first_unreadable": ["broken.jpg: photo is truncated (the JPEG has no end marker)"],
        "repaired": {gazefollow.INVERTED: 2, "head box clipped": 1},
        "rejected": {"gaze_x is not a finite number": 2, "head box is empty or lies outside the photo": 1},
        "complete": False,
    }
    closed = check_source(gazefollow.SOURCE, tmp_path, GazeFollowOptions(), False)
    assert closed.splits["train"].people == 5
    assert (closed.missing, closed.unreadable, closed.complete) == (1, 0, False)
    assert closed.repaired == {gazefollow.INVERTED: 2}
    assert closed.rejected == {"gaze_x is not a finite number": 2}


def test_check_passes_a_whole_folder(tmp_path):
    write_picture(tmp_path / "a.jpg", 64, 32)
    assert check_source(panoramas.SOURCE, tmp_path, SourceOptions(), True).complete


def test_real_folders_check_out(real):
    gaze = check_source(gazefollow.SOURCE, real / "gazefollow", GazeFollowOptions(), True)
    assert gaze.complete
    assert (gaze.splits["test"].photos, gaze.splits["test"].annotations) == (8, 74)
    video = check_source(videoattentiontarget.SOURCE, real / "videoattentiontarget", VideoAttentionTargetOptions(), True)
    assert video.complete
    assert (video.splits["test"].photos, video.splits["test"].people, video.splits["test"].in_frame) == (26, 52, 43)
    background = check_source(panoramas.SOURCE, real / "panoramas", SourceOptions(), True)
    assert background.complete
    assert background.splits["train"].photos == 5


def test_real_panoramas_are_twice_as_wide_as_high(real):
    for photo in panoramas.read(real / "panoramas", SourceOptions()).photos:
        height, width, _ = read_image(real / "panoramas" / photo.image).shape
        assert width == 2 * height
