"""What holds for every source, for label files and panoramas, and the report on a source's folder."""

from __future__ import annotations

import importlib
import json
import pkgutil
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from building import run_command
from hypothesis import given
from hypothesis import strategies as st
from listings import lines_of, rows_of, train_row, write_labels, write_picture
from listings import test_row as gazefollow_test_row
from pydantic import ValidationError
from source_fixtures import FIXTURES

import builders.sources
from builders.sources import gazefollow, gazefollow360, panoramas, videoattentiontarget
from builders.sources.base import ResolvedPerson, Source, SourceOptions, resolve_person
from builders.sources.check import check_source
from builders.sources.gazefollow import TEST_FILE, TRAIN_FILE, GazeFollowOptions
from builders.sources.gazefollow360 import GazeFollow360Options
from builders.sources.rows import path_fault, read_rows, row_reference
from builders.sources.videoattentiontarget import VideoAttentionTargetOptions
from srgaze360.cameras import Camera
from srgaze360.errors import InputError
from srgaze360.safe_images import read_image, read_size

MODULES: dict[str, Source] = {
    name: module.SOURCE
    for name in sorted(info.name for info in pkgutil.iter_modules(builders.sources.__path__))
    if hasattr(module := importlib.import_module(f"builders.sources.{name}"), "SOURCE")
}
REGISTERED: dict[str, Source] = {
    point.name: point.load() for point in entry_points(group="srgaze360.sources") if point.value.startswith("builders.")
}
SOURCES = MODULES | REGISTERED


def test_sources_are_registered():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    registered = project["project"]["entry-points"]["srgaze360.sources"]
    assert registered == {name: f"builders.sources.{name}:SOURCE" for name in MODULES}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_states_its_facts_and_refuses_unknown_options(kind):
    source = SOURCES[kind]
    assert source.kind == kind
    assert all(text.strip() for text in (source.title, source.citation, source.licence, source.obtain, source.layout))
    assert source.options() == source.options()  # every option has a default: the folder alone is enough
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        source.options(no_such_option=1)


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_explains_a_wrong_folder(kind, tmp_path):
    source = SOURCES[kind]
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
        with pytest.raises(InputError, match=rf"(?s)Expected .*{folder} {text}\. .*get the data: ") as raised:
            source.read(tmp_path / folder, source.options())
        assert str(raised.value).endswith(source.obtain)


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_lists_a_folder_in_its_format_and_loses_no_row(kind, tmp_path):
    """Rows in = rows used + rows rejected, each once; what is listed fits its pictures; what is wrong is named."""
    assert kind in FIXTURES, f"write a fixture for the source {kind} in tests/source_fixtures.py"
    fixture, source = FIXTURES[kind], SOURCES[kind]
    rows = fixture.write(tmp_path)
    listing = source.read(tmp_path, source.options())
    assert listing.photos
    assert [photo.image for photo in listing.photos] == sorted(photo.image for photo in listing.photos)
    named = fixture.fault in {row.fault for row in listing.rejected} | set(listing.repaired)
    assert named, f"expected {fixture.fault!r} in {listing.rejected} or {listing.repaired}"
    assert all(row.source == kind and row.row and row.reason and "\n" not in row.reason for row in listing.rejected)
    if source.role == "background":
        assert not any(photo.people for photo in listing.photos)
        return
    assert rows_of(listing) == dict.fromkeys(rows, 1)
    for photo in listing.photos:
        assert not path_fault(photo.image)
        assert photo.cluster
        assert len({person.person for person in photo.people}) == len(photo.people) > 0
        width, height = read_size(tmp_path / photo.image)
        for person in photo.people:
            resolved = resolve_person(photo, person, width, height)
            assert isinstance(resolved, ResolvedPerson), resolved
            assert len(person.annotators) in (0, len(person.gaze))
        if photo.camera is not None:
            assert Camera.from_dict({**photo.camera, "width": width, "height": height}).hfov > 0


LABELS = {
    "childplay": "annotations/train/train-Vid_eo_100-110.csv",
    "gazefollow": TRAIN_FILE,
    "table": "labels.csv",
    "videoattentiontarget": "annotations/test/b/1_2/s00.txt",
}


JUNK = ("", " ", "nan", "-inf", "1e999", "-1", "1e17", "0.5", "x", "../x", "/x", "é\\", "\x00")


@pytest.mark.parametrize("kind", LABELS)
def test_text_labels_survive_junk_in_any_cell(kind, tmp_path):
    """Whatever stands in a cell: its row is used or rejected, once, and so is every other row."""
    rows, source, path = FIXTURES[kind].write(tmp_path), SOURCES[kind], tmp_path / LABELS[kind]
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    cells = lines[-1].split(",")
    spoilt = [",".join([*cells[:at], junk, *cells[at + 1 :]]) for at in range(len(cells)) for junk in JUNK]
    path.write_text("\n".join([*lines, *spoilt]), encoding="utf-8")
    rows |= {(LABELS[kind], number) for number in range(len(lines) + 1, len(lines) + len(spoilt) + 1)}
    listing = source.read(tmp_path, source.options())
    assert rows_of(listing) == dict.fromkeys(rows, 1)
    assert not any(path_fault(photo.image) for photo in listing.photos)


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_reads_the_same_twice(kind, tmp_path):
    FIXTURES[kind].write(tmp_path)
    source = SOURCES[kind]
    assert source.read(tmp_path, source.options()) == source.read(tmp_path, source.options())


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_can_be_checked(kind, tmp_path):
    FIXTURES[kind].write(tmp_path)
    source = SOURCES[kind]
    report = check_source(source, tmp_path, source.options(), True)
    assert report.complete, report.to_text()
    kinds = report.rejected | report.repaired
    assert kinds[FIXTURES[kind].fault].count == len(kinds[FIXTURES[kind].fault].first) > 0
    assert FIXTURES[kind].fault in report.to_text()
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()


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
        "absent_splits": ["test"],
        "missing": {"count": 1, "first": ["missing.jpg"]},
        "absent_folders": {},
        "unreadable": {"count": 1, "first": ["broken.jpg: photo is truncated (the JPEG has no end marker)"]},
        "repaired": {
            gazefollow.INVERTED: {"count": 2, "first": ["missing.jpg (7)", "sound.jpg (7@0.9,0.125)"]},
            "head box clipped": {"count": 1, "first": ["sound.jpg (7@0.9,0.125)"]},
        },
        "rejected": {
            "gaze_x is not a finite number": {"count": 2, "first": [f"{TRAIN_FILE}:6", f"{TRAIN_FILE}:7"]},
            "head box is empty or lies outside the photo": {"count": 1, "first": ["sound.jpg (7@0.8,0.125)"]},
        },
        "layout": gazefollow.LAYOUT,
        "obtain": gazefollow.OBTAIN.rstrip("."),
        "complete": False,
    }
    closed = check_source(gazefollow.SOURCE, tmp_path, GazeFollowOptions(), False)
    assert closed.splits["train"].people == 5
    assert (closed.missing.count, closed.unreadable.count, closed.complete) == (1, 0, False)
    assert {kind: found.count for kind, found in closed.repaired.items()} == {gazefollow.INVERTED: 2}
    assert {kind: found.count for kind, found in closed.rejected.items()} == {"gaze_x is not a finite number": 2}


def test_check_names_what_is_absent_and_where_it_is_from(tmp_path):
    """Of several label files one may be absent, of the photos a whole folder: neither is lost among 100,000 names."""
    write_labels(
        tmp_path, TEST_FILE, [gazefollow_test_row(path=f"test2/{number // 4:08d}/{number}.jpg") for number in range(8)]
    )
    for number in (4, 5, 6):
        write_picture(tmp_path / f"test2/00000001/{number}.jpg", 640, 480)
    rows = [train_row(path=f"train/{number:08d}/a.jpg") for number in range(9)]
    write_labels(tmp_path, "val.txt", rows)
    whole = check_source(gazefollow.SOURCE, tmp_path, GazeFollowOptions(train_file="val.txt"), False)
    assert (whole.absent_splits, whole.absent_folders) == ((), {"train": 9, "test2/00000000": 4})
    report = check_source(gazefollow.SOURCE, tmp_path, GazeFollowOptions(), False)
    assert report.absent_splits == ("train",)
    assert report.missing.count == 5
    assert report.missing.first == (*(f"test2/00000000/{number}.jpg" for number in range(4)), "test2/00000001/7.jpg")
    assert report.absent_folders == {"test2/00000000": 4}
    text = report.to_text()
    assert f"nothing for train: expected {gazefollow.LAYOUT}. To obtain it: {gazefollow.OBTAIN.rstrip('.')}" in text
    assert "missing photos: 5 (test2/00000000/0.jpg, " in text
    assert "     4  in the folder test2/00000000, which is not there\n  unreadable" in text
    (tmp_path / "train").mkdir()
    rows = [train_row(path=f"train/{folder}/{number}.jpg") for folder in "abcdefg" for number in range(2)]
    write_labels(tmp_path, TRAIN_FILE, rows)
    text = check_source(gazefollow.SOURCE, tmp_path, GazeFollowOptions(), False).to_text()
    assert "     6  in 3 more folders that are not there\n  unreadable" in text


def test_check_shows_the_first_five_of_each(tmp_path):
    write_labels(tmp_path, TRAIN_FILE, [train_row(path=f"{n}.jpg", gaze_y="x" if n else 0.5) for n in range(9)])
    write_labels(tmp_path, TEST_FILE, [gazefollow_test_row(path=f"t{n}.jpg", bbox_x_min=60, bbox_x_max=9) for n in range(6)])
    report = check_source(gazefollow.SOURCE, tmp_path, GazeFollowOptions(), False)
    (rejected,), (repaired,) = report.rejected.values(), report.repaired.values()
    assert (rejected.count, rejected.first) == (8, tuple(f"{TRAIN_FILE}:{line}" for line in range(2, 7)))
    assert (repaired.count, repaired.first) == (6, tuple(f"t{n}.jpg (7)" for n in range(5)))
    assert f"     8  gaze_y is not a finite number: {TRAIN_FILE}:2, " in report.to_text()
    assert f"{TRAIN_FILE}:6 and 3 more" in report.to_text()


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
    world = check_source(gazefollow360.SOURCE, real / "gazefollow360", GazeFollow360Options(), True)
    assert world.complete
    assert {split: counts.people for split, counts in world.splits.items()} == {"train": 2, "val": 1, "test": 1}
    background = check_source(panoramas.SOURCE, real / "panoramas", SourceOptions(), True)
    assert background.complete
    assert background.splits["train"].photos == 5


def test_real_panoramas_are_twice_as_wide_as_high(real):
    for photo in panoramas.read(real / "panoramas", SourceOptions()).photos:
        height, width, _ = read_image(real / "panoramas" / photo.image).shape
        assert width == 2 * height


def test_check_takes_options_of_the_source(tmp_path, capsys):
    FIXTURES["gazefollow"].write(tmp_path)

    def check(*words):
        return run_command(capsys, "sources", "check", "gazefollow", str(tmp_path), "--json", *words)

    assert set(json.loads(check().out)["splits"]) == {"train", "test"}
    assert set(json.loads(check("--set", "test_file=null").out)["splits"]) == {"train"}
    ran = check("--set", "test_fil=x")
    assert ran.code == 2
    text = " ".join(ran.err.split())
    assert "Expected valid options for source gazefollow, found: test_fil: Extra inputs are not permitted" in text
    assert "Its options: train_file, test_file, train_metadata, test_metadata" in text
    assert check("--set", "test_file").code == 2
