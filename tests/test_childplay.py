"""ChildPlay reader: the true format with planted faults, frames found by their numbers, no row lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from listings import people_of, reasons, rows_of
from pydantic import ValidationError

from builders.sources import childplay
from builders.sources.base import Listing, Person
from builders.sources.childplay import COLUMNS, ChildPlayOptions
from srgaze360.errors import InputError

CLIP = "4yWav-Yq9_Ks_405-451"
SOUND = {
    "clip": CLIP, "frame": 1, "person_id": 1, "bbox_x": 851.0, "bbox_y": 197.5, "bbox_width": 254.0, "bbox_height": 316.0,
    "gaze_class": "inside_visible", "gaze_x": 579.677, "gaze_y": 625.563, "is_child": 1,
}  # fmt: skip
OUTSIDE = {"gaze_class": "outside_frame", "gaze_x": -1, "gaze_y": -1}


def write_clip(
    root: Path, rows: list[dict | str], clip: str = CLIP, split: str = "test", header: str = ",".join(COLUMNS)
) -> str:
    file = f"annotations/{split}/{clip}.csv"
    lines = [row if isinstance(row, str) else ",".join(str(v) for v in (SOUND | {"clip": clip} | row).values()) for row in rows]
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text("".join(line + "\n" for line in [header, *lines]), encoding="utf-8")
    return file


def read_clips(root: Path, **options) -> Listing:
    return childplay.read(root, ChildPlayOptions(**options))


def test_childplay_frames_with_everyone_in_them(tmp_path):
    file = write_clip(tmp_path, [{}, {"person_id": 2, "is_child": 0, **OUTSIDE}, {"frame": 47}])
    listing = read_clips(tmp_path)
    assert not listing.rejected
    first, last = listing.photos
    assert (first.split, first.cluster, first.projection) == ("test", "4yWav-Yq9_Ks", "perspective")
    assert first.people == (
        Person(
            person="1", row=f"{file}:2", head_box=(851.0, 197.5, 1105.0, 513.5), head_unit="pixel", gaze=((579.677, 625.563),),
            gaze_unit="pixel", in_frame=True, extras={"gaze_class": "inside_visible", "is_child": True},
        ),
        Person(
            person="2", row=f"{file}:3", head_box=(851.0, 197.5, 1105.0, 513.5), head_unit="pixel", gaze=(), gaze_unit="pixel",
            in_frame=False, extras={"gaze_class": "outside_frame", "is_child": False},
        ),
    )  # fmt: skip
    assert (first.image, last.image) == (f"images/{CLIP}/4yWav-Yq9_Ks_405.jpg", f"images/{CLIP}/4yWav-Yq9_Ks_451.jpg")


@pytest.mark.parametrize("suffix", ["-downsampled", "-downsample"])
def test_childplay_skipped_frames_keep_consecutive_names(suffix, tmp_path):
    """7508 to 8408 are 901 frames, of which the release writes 451, numbered from 7508 without gaps (its own README)."""
    clip = f"smwfiZd8HLc_7508-8408{suffix}"
    write_clip(tmp_path, [{}, {"frame": 451}, {"frame": 452}], clip=clip)
    listing = read_clips(tmp_path)
    assert [photo.image for photo in listing.photos] == [f"images/{clip}/smwfiZd8HLc_{number}.jpg" for number in (7508, 7958)]
    assert reasons(listing) == ["frame lies outside its clip (frame 452 of 451)"]


def test_childplay_images_may_be_a_folder_deeper(tmp_path):
    write_clip(tmp_path, [{}])
    (tmp_path / "images" / "images").mkdir(parents=True)
    assert read_clips(tmp_path).photos[0].image == f"images/images/{CLIP}/4yWav-Yq9_Ks_405.jpg"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"gaze_class": "gaze_shift"}, "gaze_class is gaze_shift, which is not used"),
        ({"gaze_class": "inside_occluded", "gaze_x": -1, "gaze_y": -1}, "gaze_class is inside_occluded, which is not used"),
        ({"gaze_class": "inside_uncertain"}, "gaze_class is inside_uncertain, which is not used"),
        ({"gaze_class": "eyes_closed"}, "gaze_class is eyes_closed, which is not used"),
        ({"gaze_class": "Inside"}, "gaze_class is unknown ('Inside')"),
        ({"gaze_x": -1, "gaze_y": -1.0}, "gaze_class says in frame, but the gaze is -1"),
        ({"gaze_x": "-1.0"}, "gaze_class says in frame, but the gaze is -1"),
        ({"gaze_y": "nan"}, "gaze_y is not a finite number ('nan')"),
        ({"bbox_width": ""}, "bbox_width is not a finite number ('')"),
        ({"frame": 48}, "frame lies outside its clip (frame 48 of 47)"),
        ({"frame": 0}, "frame lies outside its clip (frame 0 of 47)"),
        ({"frame": 2.5}, "frame is not a whole number"),
        ({"frame": "1e300"}, "frame lies outside its clip (frame 1e+300 of 47)"),
        ({"is_child": 2}, "is_child is neither 0 nor 1"),
        ({"person_id": ""}, "person_id is empty"),
        ({"clip": "no interval"}, "clip is not named <video>_<start>-<end> ('no interval')"),
        ({"clip": "../../x_1-9"}, "clip is not the name of a folder"),
        ({"clip": "a\\b_1-9"}, r"path is not a plain relative path ('images/a\\b_1-9/a\\b_2.jpg')"),
        ("a,b,c", "row has not 11 columns (3)"),
        ({"frame": 1}, "the person has this frame already"),
    ],
)
def test_childplay_faulty_rows_are_rejected_with_line_and_reason(row, reason, tmp_path):
    faulty = row if isinstance(row, str) else {"frame": 2} | row
    file = write_clip(tmp_path, [{}, faulty, {"frame": 3}])
    listing = read_clips(tmp_path)
    assert [(bad.source, bad.row, bad.reason) for bad in listing.rejected] == [("childplay", f"{file}:3", reason)]
    assert rows_of(listing) == {(file, line): 1 for line in (2, 3, 4)}


def test_childplay_classes_are_a_choice(tmp_path):
    shifting, hidden = {"gaze_class": "gaze_shift"}, {"gaze_class": "inside_occluded", "gaze_x": -1, "gaze_y": -1}
    write_clip(tmp_path, [{}, {"frame": 2, **shifting}, {"frame": 3, **hidden}, {"frame": 4, **OUTSIDE}])
    listing = read_clips(tmp_path, in_frame=("inside_visible", "gaze_shift", "inside_occluded"), out_of_frame=())
    assert [person.extras["gaze_class"] for person in people_of(listing)] == ["inside_visible", "gaze_shift"]
    assert reasons(listing) == [
        "gaze_class says in frame, but the gaze is -1",
        "gaze_class is outside_frame, which is not used",
    ]
    closed = read_clips(tmp_path, out_of_frame=("inside_occluded", "gaze_shift"))
    assert [(person.in_frame, person.gaze) for person in people_of(closed)][1:] == [(False, ()), (False, ())]


def test_childplay_negative_extents_are_swapped_and_counted(tmp_path):
    write_clip(tmp_path, [{"bbox_width": -10.0, "bbox_x": 30.0}])
    listing = read_clips(tmp_path)
    assert people_of(listing)[0].head_box == (20.0, 197.5, 30.0, 513.5)
    assert listing.repaired == {childplay.INVERTED: 1}


def test_childplay_stride_counts_the_labelled_frames_of_the_clip(tmp_path):
    """The second person is absent from the first two frames; frame 9 comes before 10."""
    rows = [{"frame": frame, "person_id": 1} for frame in (8, 9, 10, 11, 12)]
    file = write_clip(tmp_path, [*rows, *({"frame": frame, "person_id": 2} for frame in (10, 11, 12))])
    listing = read_clips(tmp_path, stride=2)
    assert [photo.image.rpartition("_")[2] for photo in listing.photos] == ["412.jpg", "414.jpg", "416.jpg"]
    assert [(bad.row, bad.person, bad.reason) for bad in listing.rejected] == [
        (f"{file}:3,5", "1", "frames skipped (stride 2)"),
        (f"{file}:8", "2", "frames skipped (stride 2)"),
    ]
    assert set(rows_of(listing).values()) == {1}


def test_childplay_a_video_stays_in_one_split(tmp_path):
    """Clips of one video show the same people: train loses what test has, and val too."""
    for split, clip in (
        ("test", "a_b_1-9"),
        ("train", "a_b_10-19"),
        ("val", "c_1-9"),
        ("train", "c_10-19"),
        ("train", "d_1-9"),
    ):
        write_clip(tmp_path, [{}], clip=clip, split=split)
    listing = read_clips(tmp_path)
    assert {(photo.cluster, photo.split) for photo in listing.photos} == {("a_b", "test"), ("c", "val"), ("d", "train")}
    assert sorted(reasons(listing)) == [
        "the video belongs to the test split too, and is kept there",
        "the video belongs to the val split too, and is kept there",
    ]


def test_childplay_files_of_another_form(tmp_path):
    bare = write_clip(tmp_path, [], clip="a_1-9")
    with pytest.raises(InputError, match=r"Expected a header and rows with the columns clip, .*1 files of .*; found none"):
        read_clips(tmp_path)
    sound = write_clip(tmp_path, [{}])
    lacking = write_clip(tmp_path, [{}], clip="b_1-9", header=",".join(COLUMNS).replace("is_child", "child"))
    empty = tmp_path / "annotations" / "val" / "e_1-9.csv"
    empty.parent.mkdir()
    empty.touch()
    (tmp_path / "annotations" / "splits.csv").write_text("clip,split\n", encoding="utf-8")
    (tmp_path / "annotations" / "test" / "._hidden.csv").write_bytes(b"\xff")
    listing = read_clips(tmp_path)
    assert [person.row for person in people_of(listing)] == [f"{sound}:2"]
    assert {(bad.row, bad.fault) for bad in listing.rejected} == {
        (bare, "file has a header and no rows"),
        (lacking, "file has not each column once"),
        ("annotations/val/e_1-9.csv", "file is empty"),
        ("annotations/splits.csv", "not a clip's file: expected annotations/<train|val|test>/<clip>.csv"),
    }


@pytest.mark.parametrize("options", [{"stride": 0}, {"in_frame": ["nobody"]}, {"out_of_frame": ["inside_visible"]}])
def test_childplay_options_are_checked(options):
    with pytest.raises(ValidationError, match=r"greater than or equal to 1|Input should be|not both"):
        ChildPlayOptions(**options)
